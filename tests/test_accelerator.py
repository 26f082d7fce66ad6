"""Designs and dataflows: what is refused, and in what words."""

from __future__ import annotations

import math
import re
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from dse.hardware.accelerator import BUFFER_ARRANGEMENTS, PARAMETERS, Accelerator, buffer_groups
from dse.hardware.dataflow import DATAFLOWS, Dataflow, SpatialOption, dataflow_named


@pytest.mark.parametrize("name", [p.name for p in PARAMETERS.values() if p.kind == "count"])
@pytest.mark.parametrize("value", [0, -4, 2.5, math.nan, math.inf, True, None, "8"])
def test_whole_parameters(name, value):
    with pytest.raises(ValueError, match=rf"Accelerator: {name} must be a whole number >= 1, got {value!r}"):
        Accelerator(**{name: value})


@pytest.mark.parametrize("name", [p.name for p in PARAMETERS.values() if p.kind == "positive"])
@pytest.mark.parametrize("value", [0, -1.5, math.nan, math.inf, True, None, "8"])
def test_positive_parameters(name, value):
    with pytest.raises(ValueError, match=rf"Accelerator: {name} must be a positive number, got {value!r}"):
        Accelerator(**{name: value})


def test_whole_floats_are_taken_as_integers():
    design = Accelerator(rows=8.0, cols=np.float64(4))
    assert (design.rows, design.cols, type(design.rows)) == (8, 4, int) and design == Accelerator(rows=8, cols=4)


BAD = {
    "interconnect must be one of broadcast, systolic, got 'mesh'": {"interconnect": "mesh"},
    "buffers must be one of W+I+O, W+I/O, W/I+O, W+O/I, W/I/O, got 'WIO'": {"buffers": "WIO"},
    "double_buffered is a subset of 'WIO', got 'WX'": {"double_buffered": "WX"},
    "bypass is a subset of 'WIO', got 'weights'": {"bypass": "weights"},
    "resident_activation_fraction must be at least 0 and below 1, got 1": {"resident_activation_fraction": 1},
    "resident_activation_fraction must be at least 0 and below 1, got -0.1": {"resident_activation_fraction": -0.1},
    "resident_activation_fraction must be at least 0 and below 1, got nan": {"resident_activation_fraction": math.nan},
    "buffer W holds 16 bytes, less than one word of its 32-byte port; raise": {"weight_buffer_kib": 1 / 64},
    "buffer O has 999 banks for a port of 32 bytes": {"output_buffer_banks": 999},
    "unknown dataflow 'magic'; the known ones are weight_stationary,": {"dataflow": "magic"},
}


@pytest.mark.parametrize("message", BAD)
def test_refused(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Accelerator(**BAD[message])


def test_shares_of_a_joint_buffer_add_up():
    """A share may be less than a word of its port: the joint buffer is what counts."""
    tiny = {"weight_buffer_kib": 1 / 64, "input_buffer_kib": 1}
    assert Accelerator(buffers="W+I/O", **tiny).weight_buffer_kib == 1 / 64
    with pytest.raises(ValueError, match="buffer W holds 16 bytes"):
        Accelerator(buffers="W/I+O", **tiny)
    assert buffer_groups("W+I/O") == ("WI", "O")
    for arrangement in BUFFER_ARRANGEMENTS:
        assert sorted("".join(buffer_groups(arrangement))) == ["I", "O", "W"]


def test_a_design_is_a_value():
    design = Accelerator(rows=8)
    assert design == replace(Accelerator(), rows=8) and hash(design) == hash(replace(Accelerator(), rows=8))
    with pytest.raises(FrozenInstanceError):
        design.rows = 4
    assert design.macs_per_cycle == 8 * 16
    assert list(design.parameters()) == [field.name for field in fields(Accelerator)]
    assert Accelerator(**design.parameters()) == design


# ---------------------------------------------------------------------------------------------------------------------
# Dataflows.


BAD_OPTIONS = {
    "rows='C': give a tuple of loops such as ('C',)": {"rows": "C", "cols": ("K",)},
    "cols=('M',): unknown loop 'M'; write a loop, B G K C OY OX FY FX, alone": {"rows": ("C",), "cols": ("M",)},
    "rows=('C', 'C'): a loop is listed twice on one axis": {"rows": ("C", "C"), "cols": ("K",)},
    "stationary=(): give one or more of W, I, O": {"rows": ("C",), "cols": ("K",), "stationary": ()},
    "stationary=('X',): give one or more of W, I, O": {"rows": ("C",), "cols": ("K",), "stationary": ("X",)},
    "flatten_reduction unrolls C, FY and FX together: list only C": {
        "rows": ("C", "FY"),
        "cols": ("K",),
        "flatten_reduction": True,
    },
}


@pytest.mark.parametrize("message", BAD_OPTIONS)
def test_refused_spatial_options(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SpatialOption(**BAD_OPTIONS[message])


def test_refused_dataflows():
    for name, options in (("", (SpatialOption(("C",), ("K",)),)), ("empty", ())):
        with pytest.raises(ValueError, match="a Dataflow needs a name and at least one SpatialOption"):
            Dataflow(name, options)


def test_dataflows_by_name_and_by_value():
    for name, dataflow in DATAFLOWS.items():
        assert dataflow_named(name) is dataflow and str(dataflow) == name
        assert Accelerator(dataflow=name).dataflow is dataflow
    own = Dataflow("own", [SpatialOption(("OX",), ("K", "G"))])
    assert Accelerator(dataflow=own).dataflow is own and own.options == (SpatialOption(("OX",), ("K", "G")),)

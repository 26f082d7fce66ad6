"""Spatial options with sub-axes, caps and restricted mappings: how they are written, fit, and refuse mappings."""

from __future__ import annotations

import copy
import json
import math
import pickle
import re
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import TECHNOLOGY, accelerators, layers, mappings, spatial_options, subsets

import dse
import problems
from dse.analysis.changes import changes
from dse.analysis.explanation import explain
from dse.analysis.operation_kinds import choices
from dse.commands.design_by_text import choose, from_toml, toml_text
from dse.costs import kernels as k
from dse.costs import mapping as mapping_module
from dse.costs.fixed_mapping import FixedMappingSpace
from dse.costs.kernel_rows import columns_of, design_rows, option_rows
from dse.costs.mapping import Mapping
from dse.costs.restrictions import check_restrictions
from dse.costs.traffic import all_times_moved, padding, traffic
from dse.hardware.accelerator import Accelerator
from dse.hardware.dataflow import (
    DATAFLOWS,
    DEFAULT_DATAFLOWS,
    DRAM_ORDERS,
    Dataflow,
    SpatialOption,
    Unrolled,
    plain_dataflow,
    plain_options,
)
from dse.hardware.dataflow_file import dataflow_of_plain
from dse.hardware.space import Category, DesignSpace, default_space
from dse.networks.layers import LOOPS, MacLayer
from dse.simultaneous.division import Division
from dse.tuning.proposals import steps_of
from problems import GeomeanDNN, SimultaneousDNNs, SingleDNN

ARRAY = SpatialOption(("K32", "C2"), ("OX4", "OY4"), ("O",))
FAMILY = SpatialOption(
    ("K<=8", "C"), ("OX",), ("W", "O"), whole_rows=True, dram_orders=("PKR",), once="OW", bypass="", least_dram=True
)
MINE = Dataflow("mine", (ARRAY, FAMILY))
BIG = Accelerator(rows=64, cols=16, dataflow=MINE)


@st.composite
def restricted(draw) -> SpatialOption:
    """Any spatial option, with any restrictions."""
    return replace(
        draw(spatial_options()),
        whole_rows=draw(st.booleans()),
        dram_orders=tuple(draw(st.lists(st.sampled_from(["".join(p) for p in permutations("PKR")]), max_size=3))),
        once=draw(subsets("WIO")),
        bypass=draw(st.one_of(st.none(), subsets("WIO"))),
        least_dram=draw(st.booleans()),
    )


# ---------------------------------------------------------------------------------------------------------------------
# How they are written.


def test_entries_are_read():
    assert ARRAY.rows == ("K32", "C2") and ARRAY.on_rows == (Unrolled("K", 32, True), Unrolled("C", 2, True))
    assert FAMILY.on_rows == (Unrolled("K", 8), Unrolled("C")) and FAMILY.on_rows[1].most == math.inf
    assert SpatialOption(("K <= 08", "OY 4"), ["FX12"]) == SpatialOption(("K<=8", "OY4"), ("FX12",))
    assert MINE.least_array == (64, 16) and DATAFLOWS["flexible"].least_array == (1, 1)


def test_equal_by_meaning():
    assert FAMILY.once == "WO" and FAMILY.dram_orders == ("KPR",)
    assert FAMILY == replace(FAMILY, dram_orders=("KPR", "PKR"), once="WO") and hash(FAMILY) == hash(replace(FAMILY))
    assert replace(FAMILY, rows=("K8", "C")) != FAMILY != replace(FAMILY, bypass=None)


def test_an_option_without_restrictions_is_told_as_before():
    """So that runs of before are known: their manifests hold these forms, and hashes of spaces the text."""
    option = DATAFLOWS["row_stationary"].options[0]
    assert repr(option) == (
        "SpatialOption(rows=('FY', 'C', 'K'), cols=('OY', 'K'), stationary=('W',), flatten_reduction=False, "
        "forwards_inputs=True)"
    )
    plain = {"rows": ["C"], "cols": ["K"], "stationary": ["W"], "flatten_reduction": False, "forwards_inputs": False}
    assert plain_options(Dataflow("a", (SpatialOption(("C",), ("K",)),))) == [plain]
    assert default_space().hash.startswith("7543b6a3ceb8")


def test_restrictions_are_told_where_they_are():
    assert plain_options(MINE)[1] == {
        "rows": ["K<=8", "C"], "cols": ["OX"], "stationary": ["W", "O"], "flatten_reduction": False,
        "forwards_inputs": False, "whole_rows": True, "dram_orders": ["KPR"], "once": "WO", "bypass": "",
        "least_dram": True,
    }  # fmt: skip


@settings(max_examples=200)
@given(restricted())
def test_copies_are_equal(option):
    flow = Dataflow("own", (option,))
    for other in (
        eval(repr(option), {"SpatialOption": SpatialOption}),
        pickle.loads(pickle.dumps(option)),
        copy.deepcopy(option),
        replace(option),
        dataflow_of_plain(json.loads(json.dumps(plain_dataflow(flow)))).options[0],
    ):
        assert other == option and hash(other) == hash(option) and repr(other) == repr(option)
        assert other.on_rows == option.on_rows and other.on_cols == option.on_cols


@settings(max_examples=60)
@given(st.lists(restricted(), min_size=1, max_size=3))
def test_files_of_designs_and_spaces_are_read_back_equal(tmp_path_factory, options):
    flow, folder = Dataflow("own", tuple(options)), tmp_path_factory.mktemp("files")
    rows, cols = flow.least_array
    design = Accelerator(rows=rows, cols=cols, dataflow=flow, bypass="WIO")
    (folder / "chip.toml").write_text(toml_text(design))
    assert from_toml(folder / "chip.toml") == design
    for space in (
        DesignSpace({"rows": [rows, 2 * rows]}, design),
        DesignSpace({"rows": [rows, 2 * rows], "dataflow": [flow, "flexible"]}, replace(design, dataflow="flexible")),
    ):
        space.to_toml(folder / "space.toml")
        again = DesignSpace.from_toml(folder / "space.toml")
        assert again == space and again.hash == space.hash and again.content() == space.content()


def test_a_run_is_read_back_and_resumed_and_distinguished(tmp_path):
    space = DesignSpace({"rows": [64, 128], "cols": [16, 32]}, BIG)
    run = dse.explore(SingleDNN("ptb_lstm_medium", space=space), evaluations=4, population=4, out=tmp_path / "run")
    assert choose(f"{tmp_path / 'run'}:0").design.dataflow == MINE
    assert DesignSpace.from_toml(tmp_path / "run" / "space.toml") == space
    assert problems.resume(tmp_path / "run").designs.equals(run.designs)
    other = DesignSpace({"rows": [64, 128], "cols": [16, 32]}, replace(BIG, dataflow=Dataflow("mine", (ARRAY,))))
    with pytest.raises(ValueError, match="fixed dataflow"):
        dse.explore(SingleDNN("ptb_lstm_medium", space=other), evaluations=4, population=4, out=tmp_path / "run")


FORM = "write a loop, B G K C OY OX FY FX, alone or as in 'K32' (a sub-axis of 32 places) or 'K<=8' (a factor"
BAD_OPTIONS = {
    "rows='K32': give a tuple of loops such as ('K32',)": {"rows": "K32"},
    "rows=('K0',): 'K0' leaves K no place; give at least 1 or leave it out": {"rows": ("K0",)},
    "rows=('C', 'K<=0'): 'K<=0' leaves K no place": {"rows": ("C", "K<=0")},
    f"cols=('M4',): unknown loop 'M'; {FORM}": {"cols": ("M4",)},
    f"cols=('K=8',): cannot read 'K=8'; {FORM}": {"cols": ("K=8",)},
    f"cols=('K<=8<=4',): cannot read 'K<=8<=4'; {FORM}": {"cols": ("K<=8<=4",)},
    f"cols=('K<=2.5',): cannot read 'K<=2.5'; {FORM}": {"cols": ("K<=2.5",)},
    f"cols=('K-4',): cannot read 'K-4'; {FORM}": {"cols": ("K-4",)},
    "cols=('K99999999999999999999',): cannot read 'K9999": {"cols": ("K" + "9" * 20,)},
    "cols=(3,): cannot read 3": {"cols": (3,)},
    "rows=('B', 'G', 'K4', 'C', 'OY'): at most four loops an axis": {"rows": ("B", "G", "K4", "C", "OY")},
    "cols=('K4', 'K'): a loop is listed twice on one axis": {"cols": ("K4", "K")},
    "cols=('K4', 'K<=4'): a loop is listed twice on one axis": {"cols": ("K4", "K<=4")},
    "flatten_reduction unrolls C, FY and FX together: list only C": {"cols": ("FX3",), "flatten_reduction": True},
    "dram_orders='PKR': give a tuple of orders such as ('PKR',)": {"dram_orders": "PKR"},
    "dram_orders=('PK',): 'PK' is no order of P, K and R, such as 'PKR'": {"dram_orders": ("PK",)},
    "dram_orders=('KRP', 'PKK'): 'PKK' is no order": {"dram_orders": ("KRP", "PKK")},
    "dram_orders=(3,): 3 is no order": {"dram_orders": (3,)},
    "once='WX': give a subset of 'WIO'": {"once": "WX"},
    "once=None: give a subset of 'WIO'": {"once": None},
    "bypass=True: give a subset of 'WIO'": {"bypass": True},
    "whole_rows=1: give True or False": {"whole_rows": 1},
    "least_dram='yes': give True or False": {"least_dram": "yes"},
}


@pytest.mark.parametrize("message", BAD_OPTIONS)
def test_refused_options(message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        SpatialOption(**{"rows": ("C",), "cols": ("K",)} | BAD_OPTIONS[message])
    assert "\n" not in str(error.value)


BAD_FILES = {
    'option 0: once must be a text such as "W", got 3': "once = 3",
    'option 0: bypass must be a text such as "W", got [': 'bypass = ["W"]',
    "option 0: dram_orders must be a list of texts such as [\"C\"], got 'PKR'": 'dram_orders = "PKR"',
    "option 0: whole_rows must be true or false, got 1": "whole_rows = 1",
    "option 0: dram_orders=('PKK',): 'PKK' is no order of P, K and R": 'dram_orders = ["PKK"]',
    "option 0: key 'whole_row' is unknown; did you mean 'whole_rows'?": "whole_row = true",
    "option 0: rows=('K0',): 'K0' leaves K no place": 'rows = ["K0"]',
}


@pytest.mark.parametrize("message", BAD_FILES)
def test_a_bad_option_of_a_file_is_one_clear_line(message, tmp_path):
    written = {"rows": '["C"]', "cols": '["K"]', "stationary": '["W"]'}
    key, _, value = BAD_FILES[message].partition(" = ")
    entries = ", ".join(f"{name} = {text}" for name, text in (written | {key: value}).items())
    (tmp_path / "chip.toml").write_text(f'[design]\ndataflow = "own"\n[dataflows.own]\noptions = [{{{entries}}}]\n')
    with pytest.raises(ValueError, match=re.escape(f"[dataflows.own]: {message}")) as error:
        from_toml(tmp_path / "chip.toml")
    assert "chip.toml" in str(error.value) and "\n" not in str(error.value)


# ---------------------------------------------------------------------------------------------------------------------
# Orders of the DRAM loops.


def test_every_order_is_the_one_with_its_innermost_group():
    assert DRAM_ORDERS == tuple("".join(order) for order in mapping_module.DRAM_ORDERS[: k.N_ORDERS])
    for order in map("".join, permutations("PKR")):
        (held,) = replace(FAMILY, dram_orders=(order,)).dram_orders
        assert held in DRAM_ORDERS and held[-1] == order[-1]
    assert replace(FAMILY, dram_orders=("RKP", "RPK", "PKR")).dram_orders == ()
    assert replace(FAMILY, dram_orders=("PKR", "RKP")).dram_orders == ("KRP", "KPR")


@settings(max_examples=100)
@given(layers(), accelerators(), st.data())
def test_orders_that_are_the_same_move_the_same_bytes(layer, design, data):
    """Wherever the innermost group has several trips."""
    mapping = data.draw(mappings(layer, design))
    trips = {group: 1 for group in "GPKR"}
    for d, (n, _, _) in mapping.dram_loops(layer).items():
        trips[mapping_module.group_of(d)] *= n
    for order, held in product(permutations("PKR"), DRAM_ORDERS):
        if order[-1] == held[-1] and trips[order[-1]] > 1:
            one, other = (traffic(layer, design, replace(mapping, dram_order=tuple(x))) for x in (order, held))
            assert one == other


# ---------------------------------------------------------------------------------------------------------------------
# Columns of the kernel.


def test_columns_of_an_option():
    array, family = option_rows(MINE)
    loops = [LOOPS.index(d) for d in ("K", "C", "OX", "OY")]
    assert array[k.OPT_ROWS : k.OPT_ROWS + 8].tolist() == [*loops[:2], -1, -1, *loops[2:], -1, -1]
    none = np.inf
    assert array[k.OPT_CAP : k.OPT_CAP + 8].tolist() == [32, 2, none, none, 4, 4, none, none]
    assert array[k.OPT_FIXED : k.OPT_FIXED + 8].tolist() == [1, 1, 0, 0, 1, 1, 0, 0]
    rest = [k.OPT_WHOLE_ROWS, k.OPT_ORDERS, k.OPT_ONCE, k.OPT_BYPASS, k.OPT_LEAST_DRAM]
    assert array[rest].tolist() == [0, 7, 0, -1, 0]
    assert family[k.OPT_CAP : k.OPT_CAP + 8].tolist() == [8, *[none] * 7]
    assert not family[k.OPT_FIXED : k.OPT_FIXED + 8].any()
    assert family[rest].tolist() == [1, 4, 5, 0, 1]
    orders = [option_rows(Dataflow("a", (replace(ARRAY, dram_orders=(order,)),)))[0] for order in ("RKP", "RPK", "PKR")]
    assert [row[k.OPT_ORDERS] for row in orders] == [1, 2, 4]
    assert option_rows(Dataflow("a", (replace(ARRAY, bypass="IO"),)))[0, k.OPT_BYPASS] == 6


def test_columns_of_options_without_restrictions_are_as_before():
    for flow in map(DATAFLOWS.get, (*DEFAULT_DATAFLOWS, "row_stationary_sets", "flexible")):
        for row, option in zip(option_rows(flow), flow.options, strict=True):
            assert np.isinf(row[k.OPT_CAP : k.OPT_CAP + 8]).all() and not row[k.OPT_FIXED : k.OPT_FIXED + 8].any()
            assert row[k.OPT_WHOLE_ROWS :].tolist() == [0, 7, 0, -1, 0]
            assert row[k.OPT_ROWS : k.OPT_ROWS + len(option.rows)].tolist() == [LOOPS.index(d) for d in option.rows]


# ---------------------------------------------------------------------------------------------------------------------
# Designs.

TOO_FEW = "option 0 of dataflow 'mine' has sub-axes of K32 x C2 = 64 places on rows, but the design has rows=16; raise"
OPEN = Dataflow("open", (SpatialOption(("C",), ("K",), bypass="WO"),))
CLOSED = "option 0 of dataflow 'open' lets O bypass the buffers, but the design has bypass='W'; set bypass='WO'"


def one_line(error, *parts):
    text = str(error.value)
    assert "\n" not in text and len(text) < 300 and all(part in text for part in parts), text


def test_a_design_has_the_sub_axes_of_its_dataflow():
    with pytest.raises(ValueError, match=re.escape(f"Accelerator: {TOO_FEW}")):
        Accelerator(rows=16, dataflow=MINE)
    with pytest.raises(ValueError, match=r"OX4 x OY4 = 16 places on cols, but the design has cols=15; raise cols"):
        replace(BIG, cols=15)
    assert replace(BIG, rows=65).dataflow == MINE
    capped = Dataflow("capped", (SpatialOption(("K<=512",), ("C<=512",)),))
    assert Accelerator(rows=1, cols=1, dataflow=capped).rows == 1


def test_a_design_allows_the_bypass_of_its_dataflow():
    with pytest.raises(ValueError, match=re.escape(f"Accelerator: {CLOSED}")):
        Accelerator(dataflow=OPEN, bypass="W")
    with pytest.raises(ValueError, match="lets W and O bypass the buffers, but the design has bypass=''; set bypass="):
        Accelerator(dataflow=OPEN)
    assert Accelerator(dataflow=OPEN, bypass="WIO").dataflow == OPEN


def test_columns_of_designs_are_held_to_the_same():
    """They need not come from designs, nor from a space."""
    columns = columns_of([BIG, replace(BIG, rows=16, dataflow="flexible"), replace(BIG, cols=32)])
    design_rows(columns, TECHNOLOGY)
    with pytest.raises(ValueError, match=re.escape(TOO_FEW)):
        design_rows(columns | {"rows": np.array([64.0, 64, 16])}, TECHNOLOGY)
    columns = columns_of([Accelerator(), Accelerator(dataflow=OPEN, bypass="WIO")])
    with pytest.raises(ValueError, match=re.escape(CLOSED)):
        design_rows(columns | {"bypass": np.array(["", "W"], dtype=object)}, TECHNOLOGY)


def test_a_space_tells_levels_that_do_not_go_together():
    base = replace(BIG, dataflow="weight_stationary")
    for rows in ([16, 64], Category(64, 16)):
        with pytest.raises(ValueError, match="'mine'") as error:
            DesignSpace({"rows": rows, "dataflow": ["weight_stationary", MINE]}, base)
        one_line(error, TOO_FEW)
    with pytest.raises(ValueError, match="some levels do not go together") as error:
        DesignSpace({"bypass": ["WIO", "W"], "dataflow": ["weight_stationary", OPEN]})
    one_line(error, CLOSED)
    with pytest.raises(ValueError, match="variable 'rows', level 16") as error:
        DesignSpace({"rows": [16, 64]}, BIG)
    one_line(error, TOO_FEW)
    space = DesignSpace({"rows": [64, 128], "dataflow": ["weight_stationary", MINE]}, base)
    assert space.dataflows == (DATAFLOWS["weight_stationary"], MINE)
    for x in space.all_designs():
        space.design(x)


def test_a_file_tells_the_same(tmp_path):
    text = toml_text(BIG)
    (tmp_path / "chip.toml").write_text(text.replace("rows = 64", "rows = 16"))
    with pytest.raises(ValueError, match=r"chip\.toml") as error:
        from_toml(tmp_path / "chip.toml")
    one_line(error, TOO_FEW)
    (tmp_path / "chip.toml").write_text(text)
    with pytest.raises(ValueError, match="Accelerator") as error:
        choose(str(tmp_path / "chip.toml"), ["rows=16"])
    one_line(error, TOO_FEW)


def test_what_tries_other_designs_leaves_out_those_that_cannot_be():
    tried = [design for _, _, design in choices(BIG)]
    assert {(d.rows, d.cols) for d in tried} == {(64, 16)} and len(tried) > 10
    assert not any(change.parameters.get("rows", 64) < 64 for change in changes(BIG))


def test_idle_places_are_told_with_the_limit(monkeypatch):
    layer = MacLayer("small", K=16, C=2, OX=4, OY=4)
    flow = Dataflow("array", (ARRAY,))
    mapping = Mapping({"K": 16, "C": 2, "OX": 4, "OY": 4}, {}, {"K": 16, "C": 2, "OX": 4, "OY": 4}, stationary="O")
    base = dse.evaluate(replace(BIG, dataflow=flow), layer, mapping=mapping)
    monkeypatch.setattr("dse.analysis.explanation.evaluate", lambda *args, **options: base)
    idle = explain(base.design, base.network).layers["idle"][0]
    assert idle.startswith("K=16 on K32 C=2 on C2 leaves 32 of 64 rows idle")


def test_channels_are_proposed_at_steps_of_the_sub_axis():
    layer = MacLayer("small", K=16, C=2, OX=4, OY=4)
    for option, step in ((ARRAY, 32), (replace(ARRAY, rows=("K<=8", "C2")), 8), (replace(ARRAY, rows=("K", "C2")), 64)):
        mapping = Mapping({"K": 4}, {}, {"OX": 4, "OY": 4, "K": 4}, stationary="O")
        found = dse.evaluate(replace(BIG, dataflow=Dataflow("array", (option,))), layer, mapping=mapping)
        assert steps_of(found, ["small"], "K") == {4, step}


# ---------------------------------------------------------------------------------------------------------------------
# Sub-arrays.

MIX = [dse.Network.from_layers([MacLayer("a", K=64, C=8, OX=4)], name) for name in ("one", "two")]


def test_a_sub_array_has_the_sub_axes_of_its_dataflow():
    with pytest.raises(ValueError, match=r"sub-array 0: Accelerator: option 0 .* but the design has cols=8"):
        Division((1, 1)).of(BIG)
    parts = Division((1, 1), dataflows=(None, "weight_stationary")).of(replace(BIG, cols=32))
    assert [str(part.dataflow) for part in parts] == ["mine", "weight_stationary"]


def test_designs_whose_sub_arrays_are_too_narrow_are_infeasible():
    space = DesignSpace({"cols": [16, 32], "rows": [64, 128]}, BIG)
    simultaneous = SimultaneousDNNs(MIX, space=space, policies=("partition",), shares=(1.0, 2.0), dataflows=("same",))
    X = simultaneous.space.sample(40, np.random.default_rng(0))
    columns, found = simultaneous.space.columns(X), simultaneous.evaluate_designs(X)
    halves = (columns["cols"] == 32) & (columns["columns_share_1"] == columns["columns_share_2"])
    assert (found.feasible == halves).all() and 0 < halves.sum() < 40
    assert np.isfinite(found.metrics["makespan_s"]).all()


def test_dataflows_of_sub_arrays_that_no_design_has_are_told():
    space = DesignSpace({"cols": [8, 16], "rows": [16, 128]})
    with pytest.raises(ValueError, match="some levels do not go together") as error:
        SimultaneousDNNs(MIX, space=space, dataflows=("same", MINE))
    one_line(error, TOO_FEW)


# ---------------------------------------------------------------------------------------------------------------------
# Factors on the axes.


def splits(factor, loops):
    """Every way of writing a factor as a product over `loops` entries."""
    if loops == 1:
        return [(factor,)]
    return [(f, *rest) for f in range(1, factor + 1) if factor % f == 0 for rest in splits(factor // f, loops - 1)]


def fits_somehow(option, design, factors):
    """By enumeration: whether the factors fit the axes, entry by entry."""
    axes = [(axis, u) for axis, loops in enumerate((option.on_rows, option.on_cols)) for u in loops]
    places = {d: [i for i, (_, u) in enumerate(axes) if u.loop == d] for d in LOOPS}
    if any(factors[d] > 1 and not places[d] for d in LOOPS):
        return False
    used = [d for d in LOOPS if places[d]]
    for chosen in product(*(splits(factors[d], len(places[d])) for d in used)):
        taken, sizes = [1, 1], [0] * len(axes)
        for d, parts in zip(used, chosen, strict=True):
            for i, part in zip(places[d], parts, strict=True):
                sizes[i] = part
        for (axis, u), size in zip(axes, sizes, strict=True):
            taken[axis] *= u.most if u.own else size
        within = all(size <= u.most for (_, u), size in zip(axes, sizes, strict=True))
        if within and taken[0] <= design.rows and taken[1] <= design.cols:
            return True
    return False


@settings(max_examples=400)
@given(spatial_options(), st.data())
def test_factors_on_the_axes_are_those_of_an_enumeration(option, data):
    flow = Dataflow("own", (option,))
    rows, cols = (least + data.draw(st.integers(0, 5)) for least in flow.least_array)
    design = Accelerator(rows=rows, cols=cols, dataflow=flow)
    listed = {u.loop for u in (*option.on_rows, *option.on_cols)}
    factors = {d: data.draw(st.integers(1, 6 if d in listed else 1)) for d in LOOPS}
    mapping = Mapping(factors, {}, {})
    if not fits_somehow(option, design, factors):
        with pytest.raises(ValueError, match="do not fit"):
            mapping.on_axes(design)
        return
    on_rows, on_cols = mapping.on_axes(design)
    assert list(on_rows) == [u.loop for u in option.on_rows] and list(on_cols) == [u.loop for u in option.on_cols]
    assert all(on_rows.get(d, 1) * on_cols.get(d, 1) == factors[d] for d in LOOPS)
    for loops, used, places in ((option.on_rows, on_rows, rows), (option.on_cols, on_cols, cols)):
        assert all(used[u.loop] <= u.most for u in loops)
        assert math.prod(u.most if u.own else used[u.loop] for u in loops) <= places


def test_a_factor_beyond_its_cap_or_sub_axis_is_refused():
    assert Mapping({"K": 20, "OX": 3}, {}, {}).on_axes(BIG) == ({"K": 20, "C": 1}, {"OX": 3, "OY": 1})
    assert Mapping({"K": 8, "C": 8}, {}, {}, option=1).on_axes(BIG)[0] == {"K": 8, "C": 8}
    for option, factors in ((0, {"K": 33}), (0, {"C": 3}), (0, {"OX": 8}), (1, {"K": 9}), (1, {"K": 7, "C": 10})):
        with pytest.raises(ValueError, match="do not fit 64 rows of K") as error:
            Mapping(factors, {}, {}, option=option).on_axes(BIG)
        assert ("K32 C2 and 16 columns of OX4 OY4" if option == 0 else "K<=8 C and") in str(error.value)
    both = Dataflow("both", (SpatialOption(("K4",), ("K<=3",)),))
    design = Accelerator(rows=8, cols=8, dataflow=both)
    assert Mapping({"K": 6}, {}, {}).on_axes(design) == ({"K": 3}, {"K": 2})
    assert Mapping({"C": 8, "K": 12}, {}, {}, lanes=8).on_axes(design) == ({"K": 4}, {"K": 3})
    with pytest.raises(ValueError, match="K=16 do not fit 8 rows of K4 and 8 columns of K<=3"):
        Mapping({"K": 16}, {}, {}).on_axes(design)


# ---------------------------------------------------------------------------------------------------------------------
# Mappings that are given.

LAYER = MacLayer("conv", K=8, C=8, OY=4, OX=8)
WHOLE = {d: getattr(LAYER, d) for d in LOOPS}


def given_mapping(option=None, bypass="", dram_order="KRP", **tile):
    flow = Dataflow("mine", (SpatialOption(("C",), ("K",), **(option or {})),))
    roomy = {f"{x}_register_bytes": 1024 for x in ("weight", "input", "output")}
    design = Accelerator(rows=8, cols=8, dataflow=flow, bypass="WIO").with_parameters(roomy)
    mapping = Mapping({"C": 2, "K": 2}, {}, WHOLE | tile, dram_order=tuple(dram_order), bypass=bypass)
    return dse.evaluate(design, LAYER, mapping=mapping)


REFUSED = {
    "buffers: whole rows of outputs, OX=8, but the tile has OX=4": ({"whole_rows": True}, {"OX": 4}),
    "buffers: nothing bypasses them, but here W does": ({"bypass": ""}, {"bypass": "W"}),
    "buffers: WO bypasses them, but here I does": ({"bypass": "OW"}, {"bypass": "I"}),
    "buffers: W bypasses them, but here nothing does": ({"bypass": "W"}, {}),
    "DRAM loops: those of R (P: B OY OX, R: C FY FX) are innermost, but here they are K C OY": (
        {"dram_orders": ("PKR",)}, {"OY": 1, "K": 4, "C": 4}),
    "DRAM loops: those of P or K (P: B OY OX, R: C FY FX) are innermost, but here they are K OY C": (
        {"dram_orders": ("RPK", "KRP")}, {"OY": 1, "K": 4, "C": 4, "dram_order": "KPR"}),
    "DRAM loops: those of P (P: B OY OX, R: C FY FX) are innermost, but here they are OY K OX": (
        {"dram_orders": ("KRP",)}, {"OY": 1, "OX": 2, "K": 4, "dram_order": ("OY", "K", "OX")}),
    "DRAM link: O crosses it once, but here 2 times": (
        {"once": "O"}, {"C": 4, "OX": 4, "dram_order": "PRK", "K": 4}),
    "DRAM link: W crosses it once, but here 4 times": ({"once": "WIO"}, {"OY": 1, "K": 4, "dram_order": "PRK"}),
    "DRAM link: I crosses it once, but here 4 times": ({"once": "I"}, {"bypass": "I"}),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_a_mapping_that_its_option_does_not_allow_names_the_level(message):
    option, mapping = REFUSED[message]
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        given_mapping(option, **mapping)
    one_line(error, "mapping of 'conv' breaks option 0 of dataflow 'mine': ")
    given_mapping({}, **mapping)


def test_a_given_mapping_keeps_stationary_and_bypass_to_the_design():
    """What the wires do not keep, or nothing lets past the buffers, was costed all the same."""
    design = Accelerator(rows=8, cols=8, dataflow="weight_stationary", bypass="W")
    for mapping, text in (
        (Mapping({}, {}, WHOLE, stationary="O"), "array: its wires keep W stationary, but here O is"),
        (Mapping({}, {}, WHOLE, bypass="WI"), "buffers: the design lets W bypass them, but here I does"),
    ):
        with pytest.raises(ValueError, match=re.escape(f"dataflow 'weight_stationary': {text}")):
            dse.evaluate(design, LAYER, mapping=mapping)


def test_where_nothing_keeps_to_once_the_design_is_infeasible_and_the_link_named():
    """It was reported feasible, with a mapping that its own check refuses."""
    flow = Dataflow("f", (SpatialOption(("G",), (), ("O",), once="WIO"),))
    least = {f"{x}_buffer_width_bytes": 16 for x in ("weight", "input", "output")}
    small = {f"{x}_buffer_kib": 1 / 16 for x in ("weight", "input", "output")}
    design = Accelerator(rows=4, cols=4, dataflow=flow, bypass="W", **least, **small)
    for effort in ("default", "complete"):
        done = dse.evaluate(design, MacLayer("l", K=30, C=30, OX=30), effort=effort)
        assert not done.feasible and done.overflow == 1
        assert done.misfits == {
            "l": "DRAM link, option 0 asks that W and I and O cross it once, and no mapping that fits the buffers does"
        }


def test_a_sub_axis_may_stand_after_the_loops_that_share_its_axis():
    """It took places that the shared loop had taken already; its own loop nest was then refused."""
    layer = MacLayer("l", K=8, C=8, OX=8)
    for rows in (("OX", "C2"), ("C2", "OX")):
        design = Accelerator(rows=8, cols=2, dataflow=Dataflow("f", (SpatialOption(rows, ("K",), ("O",)),)))
        done = dse.evaluate(design, layer, effort="complete", slack=None)
        mapping = done.mappings["l"]
        assert mapping.spatial[LOOPS.index("OX")] <= 4
        assert dse.evaluate(design, layer, mapping=mapping.loop_nest(layer, design)).cycles == done.cycles < 34


ALLOWED = (
    ({"whole_rows": True}, {"OX": 20, "K": 2}),
    ({"bypass": "WO"}, {"bypass": "OW"}),
    ({"dram_orders": ("PKR",)}, {"OY": 1, "K": 4, "C": 4, "dram_order": "PKR"}),
    ({"dram_orders": ("PKR",)}, {"OY": 1, "K": 4, "C": 4, "dram_order": "KPR"}),
    ({"dram_orders": ("PKR",)}, {"OY": 1, "K": 4, "dram_order": "RKP"}),  # R has one trip: the outer two are free
    ({"dram_orders": ("PRK", "KRP")}, {"OY": 1, "K": 4, "C": 4, "dram_order": "PRK"}),
    ({"dram_orders": ("KRP",)}, {"OY": 1, "OX": 2, "K": 4, "dram_order": ("K", "OY", "OX")}),
    ({"once": "O"}, {"C": 4, "K": 4, "dram_order": "KPR"}),
    ({"once": "WIO"}, {"OY": 1}),
    ({"once": "I"}, {"OY": 1, "K": 4, "dram_order": "PRK"}),
)


@pytest.mark.parametrize(("option", "mapping"), ALLOWED)
def test_a_mapping_that_its_option_allows_costs_what_it_costs_without(option, mapping):
    assert given_mapping(option, **mapping).cycles == given_mapping({}, **mapping).cycles


def test_what_is_on_chip_does_not_cross_the_link():
    """Weights that stay for the next inference may be read by the array again and again, and need no bypass."""
    flow = Dataflow("mine", (SpatialOption(("C",), ("K",), once="W", bypass="W"),))
    design = Accelerator(rows=8, cols=8, dataflow=flow, bypass="W", resident_weights=True, output_register_bytes=4)
    mapping = Mapping({"C": 2, "K": 2}, {}, WHOLE | {"OY": 1, "K": 4}, dram_order=("P", "R", "K"))
    assert dse.evaluate(design, LAYER, mapping=mapping).layers["dram_weight_bytes"][0] == 0
    with pytest.raises(ValueError, match="buffers: W bypasses them"):
        dse.evaluate(replace(design, resident_weights=False), LAYER, mapping=mapping)


def test_reloading_at_every_step_is_a_crossing():
    flow = Dataflow("mine", (SpatialOption(("C",), ("K",), once="I"),))
    mapping = Mapping({"C": 2, "K": 2}, {}, WHOLE | {"OY": 1, "K": 4}, dram_order=("P", "R", "K"))
    for reload in (False, True):
        design = Accelerator(rows=8, cols=8, dataflow=flow, reload_every_tile=reload)
        if reload:
            with pytest.raises(ValueError, match="DRAM link: I crosses it once, but here 2 times"):
                check_restrictions(LAYER, design, mapping)
        else:
            check_restrictions(LAYER, design, mapping)


@settings(max_examples=150)
@given(layers(), accelerators(), st.sampled_from("WIO"), st.data())
def test_once_is_what_the_traffic_says(layer, design, operand, data):
    """No tile twice: weights move once, no partial sum returns; of inputs the shared rows may."""
    mapping = data.draw(mappings(layer, design))
    option = replace(mapping.spatial_option(design), once=operand, whole_rows=False)
    flow = Dataflow("own", tuple(option if i == mapping.option else o for i, o in enumerate(design.dataflow.options)))
    try:
        check_restrictions(layer, replace(design, dataflow=flow), mapping)
        allowed = True
    except ValueError as error:
        allowed = False
        assert f"DRAM link: {operand} crosses it once" in str(error)
    plain = replace(design, padded_tiles="", feature_map_compression=1.0)
    moved, words = traffic(layer, plain, mapping), plain.weight_bits if layer.static_weights else plain.activation_bits
    if operand == "W":
        assert allowed == (moved["dram_w"] == layer.weight_elements * words / 8)
    elif operand == "O":
        assert allowed == (moved["dram_o_read"] == 0)
    else:
        array, tiles = all_times_moved(layer, plain, mapping)
        assert allowed == ((array if "I" in mapping.bypass else tiles)["I"] == 1)


# ---------------------------------------------------------------------------------------------------------------------
# Frozen mappings.


def test_frozen_mappings_refuse_restrictions_that_they_do_not_keep_to():
    for name, value in (("whole_rows", True), ("dram_orders", ("PKR",)), ("once", "O"), ("bypass", "W")):
        flow = Dataflow("mine", (SpatialOption(("C",), ("K",), **{name: value}),))
        space = DesignSpace({"rows": [8, 16], "dataflow": ["weight_stationary", flow]}, Accelerator(bypass="W"))
        with pytest.raises(ValueError, match=rf"option 0 of dataflow 'mine' restricts mappings \({name}\)"):
            FixedMappingSpace(space)
        with pytest.raises(ValueError, match="let the mapper choose"):
            GeomeanDNN(["ptb_lstm_medium", "wide_deep"], space=space, mapping="fixed")
    fine = Dataflow("mine", (SpatialOption(("C8",), ("K<=4",), bypass="", least_dram=True), FAMILY))
    FixedMappingSpace(DesignSpace({"rows": [8, 16], "dataflow": ["weight_stationary", fine]}))


def test_padded_tiles_are_as_wide_as_the_cap_of_a_loop():
    """64 x 6 weights in two tiles of 4 channels: 8 / 6; the whole axis would be 32 / 6."""
    layer, factors = MacLayer("layer", "Gemm", K=64, C=6, OX=4), {"C": 4, "K": 16}
    for loop in ("C<=4", "C4"):
        flow = Dataflow("mine", (SpatialOption((loop,), ("K",), ("W",)),))
        design = Accelerator(rows=16, cols=16, macs_per_pe=1, dataflow=flow, padded_tiles="W")
        mapping = Mapping(factors, register={}, buffer={"K": 64, "C": 6, "OX": 4})
        assert padding(layer, design, mapping)["W"] == pytest.approx(8 / 6)
        moved = dse.evaluate(design, layer, mapping=mapping).layers["dram_weight_bytes"][0]
        assert moved == pytest.approx(64 * 8)

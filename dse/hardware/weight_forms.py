"""Narrow and 2:4 sparse weights on hardware that makes use of them: lanes, bits that a weight takes, logic and energy.

A layer may need weights of few bits, or state that two of each four along C are zero: that is its `WeightForm`.  A
design may make use of it.  What it then does differs in four numbers, `Weights`; everything else of the model stays.

*Narrow* (`Accelerator.narrow_weight_bits`): a multiplier is built of several that are as wide as the activations on one
side and narrow on the other.  Their products are shifted and added to one of full width, or added as they are: a dot
product of several channels, so that lanes multiply along C (Bit Fusion, Sharma et al., ISCA 2018: a unit of 8 bits is
two of 8 by 4; that their products are added is recalled.  Serial ones trade width for time alike: Stripes, Judd et al.,
MICRO 2016, and Loom, Sharify et al., DAC 2018).

*2:4* (`Accelerator.sparse_weights`): of each four weights along C the two that are not zero are kept, each with 2 bits
that tell its place; a multiplexer before each multiplier picks its input among four (NVIDIA Ampere; Mishra et al.,
arXiv 2104.08378).  All inputs are brought to the PE.  So a multiplier covers two channels a cycle, and lanes multiply
along C too.  A group that tiles, PEs or lanes divide is taken to count by its share, and a PE of one multiplier to take
a group in two cycles.

A layer in a form that a design does not support is kept, also in DRAM, and computed at the width of the design,
zeros included: nothing there packs or unpacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dse.hardware.accelerator import Accelerator
from dse.hardware.technology import Technology
from dse.networks.layers import MacLayer, Network

Columns = Mapping[str, np.ndarray]

METADATA_BITS = 2
"""That tell which of its group a kept weight of a 2:4 layer is [bit] (Mishra et al., arXiv 2104.08378)."""

KEPT_SHARE = 0.5
"""Of the weights of a 2:4 layer that are kept [1]."""

PICKED_AMONG = 4
"""Inputs among which the multiplexer before a multiplier picks."""


class WeightForm(NamedTuple):
    """What a layer states of its constant weights: the bits that they need, 0 for any, and whether they are 2:4."""

    bits: int = 0
    sparse: bool = False


AS_THE_DESIGN = WeightForm()
"""The form of a layer that states nothing: dense weights as wide as the accelerator's."""


def weight_form(layer: MacLayer) -> WeightForm:
    """The form of a layer's weights."""
    return WeightForm(layer.weight_bits, layer.weight_sparsity == "2:4")


class Weights(NamedTuple):
    """What a design makes of the weights of a layer, zeros counted among them; each a number or (n,).

    Parameters
    ----------
    lanes : weights that the multipliers of a PE cover in a cycle, along C [1].
    bits : that a weight takes in DRAM, buffers and registers, metadata included [bit].
    width : that the multipliers work at [bit].
    kept : share that is multiplied [1].
    weight_register_bytes, input_register_bytes : of a PE, for such weights [byte]: the bits of the metadata beside each
        kept weight, and at least a word of the inputs for each lane (`more_logic` counts both).
    """

    lanes: Any
    bits: Any
    width: Any
    kept: Any
    weight_register_bytes: Any
    input_register_bytes: Any


def weights_of(columns: Columns, form: WeightForm = AS_THE_DESIGN) -> Weights:
    """What designs make of weights in a form, each (n,).

    Parameters
    ----------
    columns : one array of shape (n,) for each `Accelerator` parameter.
    """
    number, sparse = _reader(columns), _is_sparse(columns)
    several, native, inputs = _parts(columns), number("weight_bits"), number("input_register_bytes")
    narrow = (several > 1) & (0 < form.bits) & (form.bits <= number("narrow_weight_bits"))
    pruned = sparse & form.sparse
    width = np.where(narrow, number("narrow_weight_bits"), native)
    lanes = number("macs_per_pe") * np.where(narrow, several, 1.0) / np.where(pruned, KEPT_SHARE, 1.0)
    kept = np.where(pruned, KEPT_SHARE, 1.0)
    bits = np.where(pruned, (width + METADATA_BITS) * KEPT_SHARE, width)
    registers = number("weight_register_bytes")
    return Weights(
        lanes,
        bits,
        width,
        kept,
        np.where(pruned, registers * (width + METADATA_BITS) / width, registers),
        np.where(narrow | pruned, np.maximum(inputs, lanes * number("activation_bits") / 8), inputs),
    )


@lru_cache(maxsize=1024)
def weights_on(form: WeightForm, design: Accelerator) -> Weights:
    """What a design makes of weights in a form, as numbers."""
    columns = {name: np.array([getattr(design, name)]) for name in _READ}
    return Weights(*(float(values[0]) for values in weights_of(columns, form)))


def full_macs(network: Network, design: Accelerator) -> float:
    """MACs of one inference by the cycles of multipliers that they take [1]: less than one each of narrow weights.

    Their number where no layer has such weights that the design makes use of.
    """
    macs: dict[WeightForm, int] = {}
    for layer in network.mac_layers:
        form = weight_form(layer)
        macs[form] = macs.get(form, 0) + layer.macs
    return sum(count * design.macs_per_pe / weights_on(form, design).lanes for form, count in macs.items())


def told_weights(layer: MacLayer, design: Accelerator) -> str:
    """What a layer states of its weights and what the design makes of it, in words; "" where it states nothing."""
    form = weight_form(layer)
    if form == AS_THE_DESIGN:
        return ""
    said = [f"{form.bits} bit"] * (form.bits > 0) + ["2:4"] * form.sparse
    found = weights_on(form, design)
    if found == weights_on(AS_THE_DESIGN, design):
        return f"weights {', '.join(said)}: no use on this design"
    return (
        f"weights {', '.join(said)}: {found.lanes:g} channels of a PE a cycle instead of {design.macs_per_pe}, "
        f"{found.bits:g} bit a weight instead of {design.weight_bits}"
    )


def most_lanes(columns: Columns) -> np.ndarray:
    """Inputs that a PE takes in a cycle at most, over all forms of weights, (n,)."""
    return _reader(columns)("macs_per_pe") * _parts(columns) / np.where(_is_sparse(columns), KEPT_SHARE, 1.0)


def metadata_bits(columns: Columns) -> np.ndarray:
    """Bits beside the weight registers of a PE that tell the places of kept weights, (n,): of the narrowest weights."""
    number, several = _reader(columns), _parts(columns)
    narrowest = np.where(several > 1, number("narrow_weight_bits"), number("weight_bits"))
    return np.where(_is_sparse(columns), 8 * number("weight_register_bytes") * METADATA_BITS / narrowest, 0.0)


def multiplier_logic(columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Multiplexers and adders that each multiplier has beside its cells, for the two properties, each (n,) [bit].

    Narrow: for each part but one a multiplexer of its input (its own, or that of all), one of its product (shifted or
    not), and an adder of a whole product.  The cells of the parts together are those of the whole.  2:4: of each part
    the multiplexer that picks its input.
    """
    number, more = _reader(columns), _parts(columns) - 1
    activation = number("activation_bits")
    multiplexers = more * (activation + (activation + number("narrow_weight_bits")))
    picks = (more + 1) * (PICKED_AMONG - 1) * activation
    adders = more * (activation + number("weight_bits"))
    return multiplexers + np.where(_is_sparse(columns), picks, 0.0), adders


def mac_pj(
    columns: Columns, technology: Technology, form: WeightForm = AS_THE_DESIGN, of_activations: bool = False
) -> np.ndarray:
    """Energy of one multiply-accumulate [pJ], (n,): the mean over those of kept weights and of zeros, which take none.

    The multipliers at their width with the adder tree of the PE (`Technology.mac_energy_pj`), and `multiplier_logic`;
    the sum of narrow products is part of the tree.

    Parameters
    ----------
    of_activations : the second operand is an activation.
    """
    number, found = _reader(columns), weights_of(columns, form)
    second = number("activation_bits") if of_activations else found.width
    multipliers = found.lanes * found.kept  # that work side by side
    multiplexers, adders = multiplier_logic(columns)
    joined = np.where(found.width < number("weight_bits"), 0.0, adders)
    plain_pj = technology.mac_energy_pj(second, number("activation_bits"), number("accumulator_bits"), multipliers)
    own = number("macs_per_pe") / multipliers  # multipliers of full width that a product takes
    return found.kept * (plain_pj + technology.logic_energy_pj(0, own * multiplexers, joined))


_READ = (
    "macs_per_pe", "weight_bits", "activation_bits", "narrow_weight_bits", "sparse_weights", "weight_register_bytes",
    "input_register_bytes",
)  # fmt: skip
"""Parameters that decide `Weights`."""


def _reader(columns: Columns) -> Callable[[str], np.ndarray]:
    return lambda name: np.asarray(columns[name], dtype=np.float64)


def _is_sparse(columns: Columns) -> np.ndarray:
    return np.equal(np.asarray(columns["sparse_weights"], dtype=object), "2:4").astype(bool)


def _parts(columns: Columns) -> np.ndarray:
    """Narrow multipliers of which each multiplier is built, (n,); 1 where it is one of full width."""
    number = _reader(columns)
    narrow, native = number("narrow_weight_bits"), number("weight_bits")
    return np.where((narrow > 0) & (narrow < native), np.floor(native / np.maximum(narrow, 1.0)), 1.0)

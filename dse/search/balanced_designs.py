"""Designs whose parts suit each other: a first population, and the ends of the scale on which fronts are compared.

An array of P multipliers gets a DRAM link that feeds it when each byte serves some hundred MACs, ports a few words wide
for each of the sqrt(P) words along its edge, buffers of some KiB for each of these, and a vector lane for each 32
multipliers.  Several factors around these ratios, so that no network need be known.
"""

from __future__ import annotations

import itertools

import numpy as np

from dse.hardware.space import DesignSpace

MACS_A_BYTE = (64, 128, 256)
"""Multiplications for each byte of the DRAM link: of convolutional networks 50 to 300 where little is fetched twice."""

EDGE_KIB = (2.0, 6.0)
"""Capacity of all buffers for each word along the edge of the array [KiB]."""

EDGE_PORT_BYTES = 2.0
"""Port of each operand for each word along the edge of the array [byte/cycle]: a word to take and one to fill."""

MULTIPLIERS_A_LANE = 32
REGISTER_WORDS = (1, 4)
"""Words of weights and inputs in a PE for each of its multipliers."""

ONE_BUFFER = "W+I+O"
"""Arrangement that suits every layer: operands share the room as each layer needs."""

ENDS = 8
"""Designs at each end among the `anchors`, and as many in between."""


def balanced_designs(space: DesignSpace, count: int) -> np.ndarray:
    """Up to `count` balanced designs of a space, (k, n_var), none twice, the same for every call.

    Sides and multipliers of the array take all their levels; parameters that are choices, and such as are not named
    above, take their levels in turn.
    """
    sides = [_values(space, name) for name in ("rows", "cols", "macs_per_pe")]
    designs = itertools.product(*sides, MACS_A_BYTE, EDGE_KIB, REGISTER_WORDS)
    square = [design for design in designs if max(design[:2]) <= 2 * min(design[:2])]
    if not square:
        square = list(itertools.product(*sides, MACS_A_BYTE, EDGE_KIB, REGISTER_WORDS))
    rng = np.random.default_rng(len(square))
    X = _genes(space, rng.permutation(np.array(square, dtype=float)))
    X = space.canonical(X)
    _, first = np.unique(X, axis=0, return_index=True)
    return X[np.sort(first)][:count]


def anchors(space: DesignSpace) -> np.ndarray:
    """Designs that fix the scale of a space, (k, n_var): the least and the largest of several choices, and balanced
    ones."""
    levels, ordered = np.asarray(space.n_levels), ~np.asarray(space.is_category)
    rng = np.random.default_rng(0)
    ends = rng.integers(0, levels, size=(2 * ENDS, space.n_var))
    ends[:ENDS, ordered] = 0
    ends[ENDS:, ordered] = levels[ordered] - 1
    X = space.canonical(np.concatenate([ends, balanced_designs(space, ENDS)]))
    _, first = np.unique(X, axis=0, return_index=True)
    return X[np.sort(first)]


def _values(space: DesignSpace, name: str) -> list[float]:
    """The values that a parameter takes in a space."""
    if name in space.names:
        variable = space.variables[space.names.index(name)]
        return [float(x) for x in variable.levels]  # type: ignore[arg-type]  # sizes of an array are numbers
    return [float(getattr(space.base, name))]


def _genes(space: DesignSpace, designs: np.ndarray) -> np.ndarray:
    """Genes of designs (n, 6): rows, cols, multipliers of a PE, MACs a byte, KiB and words of registers."""
    rows, cols, macs, macs_a_byte, edge_kib, words = designs.T
    multipliers = rows * cols * macs
    edge = np.sqrt(multipliers)
    wanted = {"rows": rows, "cols": cols, "macs_per_pe": macs, "dram_gbps": multipliers / macs_a_byte,
              "vector_lanes": multipliers / MULTIPLIERS_A_LANE, "weight_register_bytes": words * macs,
              "input_register_bytes": words * macs, "output_register_bytes": 4.0 * words}  # fmt: skip
    for operand in ("weight", "input", "output"):
        wanted[f"{operand}_buffer_kib"] = edge_kib * edge / 3
        wanted[f"{operand}_buffer_width_bytes"] = EDGE_PORT_BYTES * edge
        wanted[f"{operand}_buffer_banks"] = np.ones_like(edge)
    at = np.arange(len(designs))
    turn, genes = at, []
    for variable in space.variables:
        if variable.name == "buffers" and ONE_BUFFER in variable.levels:
            genes.append(np.full(len(at), variable.levels.index(ONE_BUFFER)))
        elif variable.name in wanted and not variable.is_category:
            genes.append(_nearest(np.array(variable.levels, dtype=float), wanted[variable.name]))
        else:
            turn, level = np.divmod(turn, len(variable.levels))
            genes.append(level)
            turn = turn + at  # so that the last variables turn too
    return np.stack(genes, axis=1).astype(np.int64)


def _nearest(levels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Which level is nearest to what is wanted (n,), by their ratio; (n,)."""
    apart = np.full((len(wanted), len(levels)), np.inf)
    above = levels > 0
    apart[:, above] = np.abs(np.log(levels[above] / wanted[:, None]))
    return apart.argmin(axis=1)

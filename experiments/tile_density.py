"""Are the mapper's candidate tiles dense enough?  Finer ones, and what they change on random default-space designs.

python experiments/tile_density.py [designs]

Prints the mean and worst relative gain in latency and the change of energy: ResNet-50 with 2^j against 2^j and 3 x 2^j
steps, on random designs and on the exact front of results/reference, and three smaller layers with 2^j against 2^j and
every whole number of steps up to 24.
"""

import sys
from pathlib import Path

import numpy as np

from dse import MacLayer, Network, Technology, default_space, load_network, small_space
from dse.costs.batches import kernel_totals
from dse.costs.kernel_rows import DEFAULT_SLACK, TILE_SIZES, design_rows, mapper_mode, network_tables
from dse.costs.kernels import CYCLES, ENERGY_PJ, OVERFLOW
from dse.runs.tables import genes_of, read_table

FRONT = Path("results/reference/resnet50_small_space/exact_front.csv")

SMALL = (
    MacLayer("convolution", K=120, C=120, OY=30, OX=30, FY=3, FX=3, pad_y=1, pad_x=1, IY=30, IX=30),
    MacLayer("strided", K=124, C=96, OY=28, OX=28, FY=5, FX=5, stride_y=2, stride_x=2, pad_y=2, pad_x=2, IY=56, IX=56),
    MacLayer("product", B=31, OX=31, C=124, K=124),
)

FINE = np.unique([*TILE_SIZES, *range(1, 25)])
"""A superset of `TILE_SIZES`, with 26 sizes below the 124 steps of the longest loop: the kernel takes 31."""


def totals(
    network: Network, sizes: np.ndarray, columns: dict, objective: str, slack: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cycles and energy [pJ] of each of the designs in `columns` that fit, under candidate tiles `sizes`."""
    tables = network_tables(network)
    rows, options = design_rows(columns, Technology.at(45))
    out, _ = kernel_totals(rows, options, tables.arguments, *mapper_mode(objective, slack), sizes)
    fits = out[:, OVERFLOW] == 0
    return out[fits, CYCLES], out[fits, ENERGY_PJ]


def report(title: str, network: Network, finer: np.ndarray, columns: dict) -> None:
    """One line an objective: how much less time and energy the finer candidates take."""
    for objective, slack in (("latency", 0.0), ("latency", DEFAULT_SLACK), ("energy", 0.0)):
        cycles, energy = totals(network, TILE_SIZES, columns, objective, slack)
        fine_cycles, fine_energy = totals(network, finer, columns, objective, slack)
        less, saved = 1 - fine_cycles / cycles, 1 - fine_energy / energy
        print(
            f"{title:24} {objective:8} slack {slack:3.0%}  {len(less):3} designs  "
            f"less time: mean {less.mean():6.2%} worst {less.max():6.2%} above 1 %: {(less > 0.01).mean():4.0%}  "
            f"less energy: mean {saved.mean():6.2%} worst {saved.max():6.2%}"
        )


if __name__ == "__main__":
    designs = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    space, small = default_space(), small_space()
    sample = space.columns(space.sample(designs, np.random.default_rng(0)))
    front = small.columns(genes_of(read_table(FRONT), small))
    resnet50, threes = load_network("resnet50"), np.unique([*TILE_SIZES, *(3 * TILE_SIZES)])
    report("ResNet-50, + 3 2^j", resnet50, threes, sample)
    report("same, on the exact front", resnet50, threes, front)
    for layer in SMALL:
        report(f"{layer.name}, + 1 .. 24", Network("one", (layer,)), FINE, sample)

"""Which lines of kernel, area and leakage the smallest probes do not reach.  A script of its own: compilation is off.

Usage: NUMBA_DISABLE_JIT=1 python tests/probe_coverage.py.  It prints the number of a line and the line, and then which
changes of the kernel the same probes notice: a name, and the first number that changed.  A change that makes the model
fail ends the script: it is no change of a number, and another one must be made.
"""

from __future__ import annotations

from pathlib import Path

import coverage
import numpy as np

DESIGNS = (0, 22, 27, 19, 35, 21, 45, 39, 13, 49, 11)
"""Numbers of probe designs that reach every line together, the quickest of those that do; found greedily."""

watched = coverage.Coverage(include=["*/dse/costs/kernels.py", "*/dse/hardware/area.py"], data_file=None)
watched.start()

from dse.costs import kernels, probes  # noqa: E402
from dse.hardware import area  # noqa: E402
from dse.hardware.technology import Technology  # noqa: E402

LATER = 4
"""Designs with parameters that came later, likewise."""


def values_of_the_smallest():
    """What the smallest probes compute."""
    return probes.probe_values(Technology.at(45), DESIGNS) | probes.later_values(Technology.at(45), LATER)


before = values_of_the_smallest()
watched.stop()
for module in (kernels, area):
    source = Path(module.__file__).read_text(encoding="utf-8").split("\n")
    for number in watched.analysis2(module.__file__)[3]:
        print("unreached", Path(module.__file__).name, number, source[number - 1].strip())

CHANGES = (
    "_ceil_div", "_extent", "_outside", "axis_sum", "_padding", "tile_capacity", "_stop_cycles", "_edge", "_skew",
    "register_overflow", "buffer_overflow", "array_axis_sum", "dram_axis_sum", "_access_padding", "_step_words",
)  # fmt: skip
for name in CHANGES:
    real = getattr(kernels, name)
    setattr(kernels, name, lambda *arguments, real=real: real(*arguments) * 1.01 + 0.01)
    probes.probe_values.cache_clear()
    probes.later_values.cache_clear()
    after = values_of_the_smallest()  # a change that ends in an error shows nothing: it fails
    print("changed", name, next((n for n in before if not np.array_equal(before[n], after[n])), "nothing"))
    setattr(kernels, name, real)

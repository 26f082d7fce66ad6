"""Which lines of kernel, logic, area and power the smallest probes miss.  A script of its own: compilation is off.

Usage: NUMBA_DISABLE_JIT=1 python tests/probe_coverage.py.  It prints the number of a line and the line, and then which
changes of the kernel the same probes notice: a name, and the first number that changed.  A change that makes the model
fail ends the script: it is no change of a number, and another one must be made.
"""

from __future__ import annotations

from pathlib import Path

import coverage
import numpy as np

DESIGNS = (19, 10, 2, 48, 4, 55, 59, 27, 3, 54, 11, 51, 64)
"""Numbers of probe designs that reach every line together, the quickest of those that do; found greedily."""

NOTICING = DESIGNS[:2]
"""Those that notice a change of the model."""

watched = coverage.Coverage(
    include=["*/dse/costs/kernels.py", *(f"*/dse/hardware/{name}.py" for name in ("logic", "area", "power"))],
    data_file=None,
)
watched.start()

from dse.costs import kernels, probes  # noqa: E402
from dse.hardware import area, logic, power  # noqa: E402
from dse.hardware.technology import Technology  # noqa: E402


def values_of(designs):
    """What the probes of some designs compute."""
    return probes.probe_values(Technology.at(45), designs, probes.COMPLETE_DESIGNS if designs == DESIGNS else ())


values_of(DESIGNS)
watched.stop()
for module in (kernels, logic, area, power):
    source = Path(module.__file__).read_text(encoding="utf-8").split("\n")
    for number in watched.analysis2(module.__file__)[3]:
        print("unreached", Path(module.__file__).name, number, source[number - 1].strip())

CHANGES = (
    "_extent", "_outside", "axis_sum", "_padding", "tile_capacity", "_stop_cycles", "_edge", "_skew",
    "register_overflow", "buffer_overflow", "array_axis_sum", "dram_axis_sum", "_access_padding", "_step_words",
)  # fmt: skip
before = values_of(NOTICING)
for name in CHANGES:
    real = getattr(kernels, name)
    setattr(kernels, name, lambda *arguments, real=real: real(*arguments) * 1.01 + 0.01)
    probes.probe_values.cache_clear()
    after = values_of(NOTICING)  # a change that ends in an error shows nothing: it fails
    print("changed", name, next((n for n in before if not np.array_equal(before[n], after[n])), "nothing"))
    setattr(kernels, name, real)

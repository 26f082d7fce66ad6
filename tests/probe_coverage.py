"""Which lines of kernel, logic, area and power the smallest probes miss.  A script of its own: compilation is off.

Usage: PYTHONPATH=. python tests/probe_coverage.py, three minutes, after every change of these files or of the probes.
It writes `probe_coverage.txt`, which `test_identity.py` reads: what it was made of, the number of each line that no
probe reaches and the line, and then which changes of the kernel the same probes notice: a name, and the first number
that changed.  A change that makes the model fail ends the script: it is no change of a number, and another one must be
made.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

DESIGNS = (19, 10, 2, 48, 4, 55, 59, 27, 3, 54, 11, 51, 64)
"""Numbers of probe designs that reach every line together, the quickest of those that do; found greedily."""

NOTICING = DESIGNS[:2]
"""Those that notice a change of the model."""

CHANGES = (
    "_extent", "_outside", "axis_sum", "_padding", "tile_capacity", "_stop_cycles", "_edge", "_skew",
    "register_overflow", "buffer_overflow", "array_axis_sum", "dram_axis_sum", "_access_padding", "_step_words",
)  # fmt: skip

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).with_suffix(".txt")
SOURCES = ("costs/kernels.py", "costs/probes.py", "hardware/logic.py", "hardware/area.py", "hardware/power.py")


def made_of():
    """Hash of the sources, and of this script."""
    files = [*(ROOT / "dse" / name for name in SOURCES), Path(__file__)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def main():
    """Write `probe_coverage.txt`."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # before the kernel is imported
    import coverage

    watched = coverage.Coverage(
        include=["*/dse/costs/kernels.py", *(f"*/dse/hardware/{name}.py" for name in ("logic", "area", "power"))],
        data_file=None,
    )
    watched.start()
    from dse.costs import kernels, probes
    from dse.hardware import area, logic, power
    from dse.hardware.technology import Technology

    def values_of(designs):
        """What the probes of some designs compute."""
        return probes.probe_values(Technology.at(45), designs, probes.COMPLETE_DESIGNS if designs == DESIGNS else ())

    values_of(DESIGNS)
    watched.stop()
    lines = [f"sources {made_of()}"]
    for module in (kernels, logic, area, power):
        source = Path(module.__file__).read_text(encoding="utf-8").split("\n")
        for number in watched.analysis2(module.__file__)[3]:
            lines.append(f"unreached {Path(module.__file__).name} {number} {source[number - 1].strip()}")
    before = values_of(NOTICING)
    for name in CHANGES:
        real = getattr(kernels, name)
        setattr(kernels, name, lambda *arguments, real=real: real(*arguments) * 1.01 + 0.01)
        probes.probe_values.cache_clear()
        after = values_of(NOTICING)  # a change that ends in an error shows nothing: it fails
        first = next((n for n in before if not np.array_equal(before[n], after[n])), "nothing")
        lines.append(f"changed {name} {first}")
        setattr(kernels, name, real)
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

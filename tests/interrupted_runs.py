"""Ends runs in every bad way and continues them.  A script of its own, so that real signals hit a real process.

Usage: interrupted_runs.py DIRECTORY.  Each case is run in forked children until one of them ends by itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from standin import StandIn  # noqa: E402

import dse.runs.design_log  # noqa: E402
import dse.runs.files  # noqa: E402
from dse.search.search_loop import Interrupted, explore  # noqa: E402

ARGUMENTS = {"evaluations": 300, "population": 20, "seed": 3, "exhaustive": True}
WRITE = os.write


def problem() -> StandIn:
    """Slow enough to be hit anywhere."""
    return StandIn(small=True, delay_s=0.002)


def kill_self(signal_number: int = signal.SIGKILL) -> None:
    """End this process here."""
    os.kill(os.getpid(), signal_number)


def after_seconds(delay_s: float, signal_number: int) -> None:
    """The signal comes at any moment."""
    threading.Thread(target=lambda: (time.sleep(delay_s), kill_self(signal_number)), daemon=True).start()


def in_nth_write(n: int, keep: float) -> None:
    """Killed in the middle of the n-th write of a log, a share of it written."""
    count = [0]

    def write(file: int, data: bytes) -> int:
        count[0] += 1
        if count[0] == n:
            WRITE(file, bytes(data)[: int(len(data) * keep)])
            kill_self()
        return WRITE(file, data)

    dse.runs.design_log.os = type("os", (), {**vars(os), "write": staticmethod(write)})


def before_nth_replace(n: int) -> None:
    """Killed when a temporary file is written but not yet renamed."""
    count = [0]

    def replace(source: str, target: str) -> None:
        count[0] += 1
        if count[0] == n:
            kill_self()
        os.rename(source, target)

    dse.runs.files.os = type("os", (), {**vars(os), "replace": staticmethod(replace)})


def child(out: Path, trouble) -> int:
    """Run in a child with the trouble in store; its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            trouble()
            explore(problem(), out=out, **ARGUMENTS)
            code = 0
        except Interrupted as error:
            print(error)
            code = 3
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(base: Path) -> None:
    """Run every case; print one line each: name, how its children ended."""
    cases = {"whole": []}
    for n, keep in ((1, 0.0), (1, 0.01), (1, 0.5), (4, 0.999), (7, 1.0), (14, 0.3)):
        cases[f"write_{n}_{keep}"] = [lambda n=n, keep=keep: in_nth_write(n, keep)]
    for n in (1, 2, 3, 4, 5, 6, 7):
        cases[f"replace_{n}"] = [lambda n=n: before_nth_replace(n)]
    cases["kill_often"] = [lambda d=d: after_seconds(d, signal.SIGKILL) for d in (0.005, 0.02, 0.05, 0.03, 0.1, 0.08)]
    cases["interrupt"] = [lambda d=d: after_seconds(d, signal.SIGINT) for d in (0.02, 0.04, 0.1)]
    for name, troubles in cases.items():
        codes = [child(base / name, trouble) for trouble in [*troubles, lambda: None]]
        print(name, *codes, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Set up once for all tests: a fresh numba cache and a hypothesis profile that is the same on every machine."""

import atexit
import os
import shutil
import tempfile

from hypothesis import HealthCheck, settings


def _fresh_numba_cache() -> None:
    """Compile into a new folder, before `dse` is imported; worker processes inherit it."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    folder, owner = tempfile.mkdtemp(prefix="numba-cache-"), os.getpid()
    os.environ["NUMBA_CACHE_DIR"] = folder
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))


_fresh_numba_cache()
os.environ.setdefault("DSE_NO_FIGURES", "1")  # of runs: half the time of a small one; where they matter, it is unset
settings.register_profile(
    "same-everywhere",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.load_profile("same-everywhere")

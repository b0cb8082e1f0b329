"""One thread, and the same hypothesis examples everywhere, without a time limit (machines are shared)."""

import gc
import os

# Before numpy and torch are imported: on tiny data threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("reproducible", deadline=None, derandomize=True, database=None)
settings.load_profile("reproducible")


def pytest_collection_finish():
    """Keep modules and tests, millions of objects, out of every collection of garbage (statsmodels asks for one)."""
    gc.freeze()

"""One thread, and the same hypothesis examples everywhere, without a time limit (machines are shared)."""

import os

# Before numpy and torch are imported: on tiny data threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("reproducible", deadline=None, derandomize=True, database=None)
settings.load_profile("reproducible")

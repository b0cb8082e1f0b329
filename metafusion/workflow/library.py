"""The library beside the Snakefile is the one that runs, in every job, installed or not."""

import os
from pathlib import Path


def put_first(root: Path) -> None:
    """Put a folder first on the path of every Python process that is started from now on."""
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(root), *filter(None, known)]))

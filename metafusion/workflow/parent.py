"""A job ends with the Snakemake that started it: the next one runs it again, and two would write the same files."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "METAFUSION_SNAKEMAKE"
"""In the environment of jobs: the space of process numbers, and Snakemake's number in it."""
SECONDS = 0.5
"""How often a job looks whether its Snakemake is still there."""


def announce() -> None:
    """Tell all processes started from now on that this one is their Snakemake."""
    os.environ[VARIABLE] = f"{_space()} {os.getpid()}"


def end_if_alone() -> None:
    """Kill this process if its Snakemake ended while it read its libraries: nothing has been written yet."""
    snakemake = _announced()
    if snakemake is not None and not _alive(snakemake):
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def never_alone() -> Iterator[None]:
    """Kill this process when the Snakemake that started it ends, however that ends."""
    snakemake, ended = _announced(), threading.Event()
    if snakemake is None:
        yield
        return
    # A shell may stand between the two.
    direct = os.getppid() == snakemake

    def watch() -> None:
        while _alive(snakemake) and (not direct or os.getppid() == snakemake):
            if ended.wait(SECONDS):
                return
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _announced() -> int | None:
    """Return the number of Snakemake; None if there is none, or processes have other numbers: in some containers."""
    space, _, number = os.environ.get(VARIABLE, "").rpartition(" ")
    return int(number) if number and space == _space() else None


def _alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _space() -> str:
    """Name the space of process numbers; only Linux has several."""
    space = Path("/proc/self/ns/pid")
    return os.readlink(space) if os.path.lexists(space) else ""

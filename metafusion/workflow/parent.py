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


@contextmanager
def never_alone() -> Iterator[None]:
    """Kill this process when the Snakemake that started it has ended, however that ended.

    Nothing is watched where no Snakemake was announced, or where processes have other numbers: in some containers.
    """
    space, _, number = os.environ.get(VARIABLE, "").rpartition(" ")
    if not number or space != _space():
        yield
        return
    snakemake, ended = int(number), threading.Event()
    # A shell may stand between the two.
    direct = os.getppid() == snakemake

    def watch() -> None:
        while _alive(snakemake) and (not direct or os.getppid() == snakemake):
            if ended.wait(SECONDS):
                return
        os.kill(os.getpid(), signal.SIGKILL)

    if not _alive(snakemake):
        # It ended while this process read its libraries; nothing has been written yet.
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


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

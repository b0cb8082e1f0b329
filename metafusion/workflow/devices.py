"""One GPU for one job: whoever trains on a GPU holds a lock on it, which dies with the process."""

import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import torch

from metafusion.cohort.runtime import device_of
from metafusion.errors import UserError

SECONDS = 1.0
"""Between two looks at devices that are all taken."""
_held: list[TextIO] = []
"""Open until this process ends: the locks that it holds."""


def device_for(name: str, given: bool, say: Callable[[str], None]) -> torch.device:
    """Return where a job trains, and hold it until the process ends if it is a GPU.

    Which GPUs there are, ``CUDA_VISIBLE_DEVICES`` and the scheduler say: PyTorch shows only those. Of them, the job
    takes one that no other job of the same person on this machine holds, and waits if all are taken.

    Parameters
    ----------
    name : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    given : bool
        Whether Snakemake gave the job a GPU (its resource ``gpu``); asked with ``auto`` only.
    say : callable
        Takes what was chosen, and why.

    Raises
    ------
    UserError
        A GPU is asked for that is not there.
    """
    if name == "auto" and not given:
        # Two jobs that were not given the GPU would fill it together.
        name = "cpu"
    device = device_of(name)
    if device.type == "cpu":
        why = ": device is 'auto', but PyTorch finds no GPU here" if name == "auto" else ""
        say(f"training on cpu{why}")
        return device
    names = [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]
    index = take(names, device.index, lock_folder(), say)
    torch.cuda.set_device(index)
    say(f"training on cuda:{index} ({torch.cuda.get_device_name(index)}, {names[index]})")
    return torch.device("cuda", index)


def take(
    names: list[str], wanted: int | None, folder: Path, say: Callable[[str], None], seconds: float = SECONDS
) -> int:
    """Lock one of some devices for this process, and wait if other processes have them all.

    Parameters
    ----------
    names : list of str
        What tells each device from all others of the machine, whatever number a process sees it under.
    wanted : int or None
        The only one that will do.
    folder : Path
        Holds a file a device.
    say : callable
        Told once if the process has to wait.
    seconds : float
        Between two looks.

    Returns
    -------
    int
        Its place among the names.
    """
    places = range(len(names)) if wanted is None else [wanted]
    waiting = False
    while True:
        for place in places:
            file = (folder / names[place]).open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            _held.append(file)
            return place
        if not waiting:
            waiting = True
            say(f"waiting for a GPU: other jobs have taken all {len(places)} (locks in {folder})")
        time.sleep(seconds)


def lock_folder() -> Path:
    """Return the folder of the locks, of one person on one machine; in an allocation of Slurm, of that alone.

    A scheduler that gives one device to two allocations, in shares, so lets both work.
    """
    allocation = os.environ.get("SLURM_JOB_ID", "")
    folder = Path(tempfile.gettempdir()) / f"metafusion-gpus-{os.getuid()}{'-' * bool(allocation)}{allocation}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise UserError(f"{folder}: belongs to somebody else; remove it, or set TMPDIR to a folder of your own")
    return folder

"""Where and how a training runs: device, memory, saved states, a line of progress. None of it belongs to the method."""

import ctypes
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from metafusion.errors import UserError
from metafusion.files import whole

RESERVE = 700 * 2**20
"""Bytes that Python, its libraries and the tables around a training take."""


class Checkpoint:
    """States of a training on disk, from which a killed job goes on.

    Parameters
    ----------
    folder : path
        Holds one safetensors file a run of epochs; made when the first is saved.
    key : str
        Says what is trained, by which code. States with another key are never used.
    seconds : float
        Least time between two states.
    clock : callable
        Seconds since any moment.
    """

    def __init__(
        self, folder: str | Path, key: str, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self.key, self.seconds, self.clock = Path(folder), key, seconds, clock
        self.last = clock()

    def keyed(self, more: str) -> "Checkpoint":
        """Return the same for a training that also this tells from others."""
        digest = hashlib.sha256(f"{self.key}\0{more}".encode()).hexdigest()
        narrowed = Checkpoint(self.folder, digest, self.seconds, self.clock)
        narrowed.last = self.last
        return narrowed

    @property
    def due(self) -> bool:
        return self.clock() - self.last >= self.seconds

    def has(self, label: str) -> bool:
        return self._file(label).exists()

    def save(self, label: str, tensors: dict[str, Tensor]) -> None:
        """Save the state of a run, whole or not at all."""
        with whole(self._file(label)) as unfinished:
            safetensors.torch.save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
                unfinished,
                metadata={"key": self.key},
            )
        self.last = self.clock()

    def load(self, label: str) -> dict[str, Tensor] | None:
        """Return the state of a run; None where there is none, or one of another training."""
        try:
            with safetensors.safe_open(self._file(label), framework="pt") as file:
                if (file.metadata() or {}).get("key") != self.key:
                    return None
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except (FileNotFoundError, safetensors.SafetensorError):
            # A damaged state is worth as much as none: the run begins anew.
            return None

    def clear(self) -> None:
        """Delete all states, when the training is stored."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _file(self, label: str) -> Path:
        return self.folder / f"{label}.safetensors"


class Progress:
    """A line now and then, for a person at a terminal.

    Parameters
    ----------
    label : str
        What is trained.
    stream : text stream
        Nothing is written where it is no terminal.
    seconds : float
        Least time between two lines.
    clock : callable
        Seconds since any moment.
    """

    def __init__(
        self,
        label: str,
        stream: TextIO | None = None,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label, self.stream, self.seconds, self.clock = label, stream or sys.stderr, seconds, clock
        self.start = self.last = clock()
        self.wanted = self.stream.isatty()

    @property
    def due(self) -> bool:
        return self.wanted and self.clock() - self.last >= self.seconds

    def say(self, words: str, done: float) -> None:
        """Write a line: what is going on, and how long the rest will take if it goes on like this.

        Parameters
        ----------
        words : str
        done : float in (0, 1]
            Share of the work that is done.
        """
        self.last = self.clock()
        left = (self.last - self.start) * (1 - done) / done
        shown = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        print(f"{self.label}: {words}, {shown} left", file=self.stream, flush=True)


@dataclass(frozen=True)
class Runtime:
    """Where and how a training runs.

    Attributes
    ----------
    device : torch.device
    memory : int or None
        Bytes that a training may take on its device; None for no limit.
    checkpoint : Checkpoint or None
    progress : Progress or None
    graphs : bool
        Whether steps on a GPU are recorded as CUDA graphs.
    say : callable
        Takes messages for the log.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    memory: int | None = None
    checkpoint: Checkpoint | None = None
    progress: Progress | None = None
    graphs: bool = True
    say: Callable[[str], None] = lambda words: None


def device_of(name: str) -> torch.device:
    """Return the device of a name: ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:1``.

    Raises
    ------
    UserError
        A GPU is asked for that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UserError(
                f"device: {name!r} was asked for, but this machine shows {count} GPUs to PyTorch {torch.__version__}; "
                "set 'device: auto' or 'cpu' in config/config.yaml, or install a build of PyTorch for CUDA"
            )
    return device


KEPT = 2**30
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt."""


def prepare(device: torch.device, tf32: bool) -> None:
    """Set what makes products on a GPU repeatable, and how exact they are; on a CPU, keep freed memory for reuse."""
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        # What a step frees, the next takes again: page faults in between were a tenth of the time.
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, KEPT)
    if device.type == "cuda":
        # Read by cuBLAS when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cuda.matmul.fp32_precision = "tf32" if tf32 else "ieee"
        torch.backends.cudnn.conv.fp32_precision = "tf32" if tf32 else "ieee"
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def memory_of(device: torch.device, memory_mb: int, gpu_share: float) -> int:
    """Return the bytes that a training may take: of the job's memory, or of the GPU's (all of it, not what is free)."""
    if device.type == "cuda":
        return int(gpu_share * torch.cuda.get_device_properties(device).total_memory)
    return memory_mb * 10**6 - RESERVE

"""How a training job runs: from the configuration and the resources of a Snakemake job."""

from logging import Logger
from pathlib import Path
from typing import Any

import torch

from metafusion.cohort.runtime import Checkpoint, Progress, Runtime, memory_of, prepare
from metafusion.config.models import Study
from metafusion.workflow.devices import device_for
from metafusion.workflow.job import NOTED


def runtime_of(snakemake: Any, log: Logger, states: Path | None = None) -> Runtime:
    """Return device, memory, saved states and progress of a job.

    The device and its precision are parameters of the rule, because results depend on them. How often states are saved,
    and what a GPU may be filled with, are not: they are read from the configuration here, so that a change of them runs
    nothing again.

    Parameters
    ----------
    snakemake : Snakemake's object
        ``params.device``, ``params.tf32``, ``params.code``; ``resources.mem_mb`` and ``resources.gpu``: with 'auto' a
        GPU is taken only if the job was given one.
    log : Logger
    states : Path or None
        Folder of saved states; None to save none.
    """
    device = device_for(snakemake.params.device, bool(snakemake.resources.get("gpu")), log.info)
    prepare(device, snakemake.params.tf32)
    share, minutes, graphs = (
        snakemake.config.get(name, Study.model_fields[name].default)
        for name in ("gpu_memory_share", "checkpoint_minutes", "cuda_graphs")
    )
    names = ", ".join(f"{name} {value}" for name, value in snakemake.wildcards.items())
    NOTED["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return Runtime(
        device=device,
        memory=memory_of(device, snakemake.resources.mem_mb, share),
        checkpoint=Checkpoint(states, str(snakemake.params.code), 60 * minutes) if states else None,
        progress=Progress(names),
        graphs=graphs,
        say=log.info,
    )

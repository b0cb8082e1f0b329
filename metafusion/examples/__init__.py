"""Simulated data in the layouts that users bring, where the committed experiments look for them.

One module a layout: ``recordings``, ``nwb``, ``spike_times``, ``odor_rats``. Each has ``place`` (the folder that it
makes), ``experiment`` (the committed experiment that reads it) and ``fill``. No number in the data was measured on
anybody.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from metafusion.config.source import SIMULATED
from metafusion.errors import UserError
from metafusion.files import whole_folder

KINDS = ("recordings", "nwb", "spike_times", "odor_rats")

SAID = """Simulated data: everything in this folder was made by

    python -m metafusion.examples {kind} --seed {seed}

and no number in it was measured on anybody. It is there to try the layout and the workflow. What is made of these files
says that they are simulated, as long as this file is beside them. Delete the whole folder before you put your own files
here.
"""


def generate(kind: str, folder: Path | str = ".", seed: int = 1, **settings: Any) -> tuple[Path, str]:
    """Write simulated data where a committed experiment looks for them.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS`.
    folder : path
        Where the ``Snakefile`` runs, and below which the experiment names its files.
    seed : int
        The same seed gives the same data.
    settings
        Of the module's ``fill``, such as fewer ``trials``.

    Returns
    -------
    path, str
        The folder that was made, and the name of the experiment.

    Raises
    ------
    UserError
        The folder to be made is there already, or cannot be made; a package is missing. Nothing was written then.
    """
    module = import_module(f"metafusion.examples.{kind}")
    path = Path(folder) / module.place(**settings)
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder; make it, or choose another")
    try:
        with whole_folder(path) as unfinished:
            module.fill(unfinished, seed, **settings)
            (unfinished / SIMULATED).write_text(SAID.format(kind=kind, seed=seed), encoding="utf-8")
    except PermissionError as fault:
        raise UserError(f"{path}: cannot be written ({fault.strerror}); choose another folder") from None
    return path, module.experiment(**settings)

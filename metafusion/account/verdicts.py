"""What a check of the data finds: its row in ``leakage.tsv``, and the targets that it may look at."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from metafusion.account.data import Data

COLUMNS = ["check", "what", "where", "value", "level", "meaning"]
OK, SUSPECT, ERROR = "ok", "suspect", "error"
FEWEST = 5
"""Samples with and without a class (in regression: of either half) that a feature must have to be judged."""


@dataclass(frozen=True)
class Target:
    """The targets of some training samples.

    Attributes
    ----------
    where : str
        Which samples they are, in words.
    numbers : ndarray of float64, shape (samples,)
        Regression: the targets; otherwise of no meaning.
    members : ndarray of bool, shape (samples, contrasts)
        Classification: who is in a class, for each class that is held against the rest; regression: no column.
    names : list of str
        Of those classes.
    """

    where: str
    numbers: np.ndarray
    members: np.ndarray
    names: list[str]

    @classmethod
    def of(cls, samples: pd.DataFrame, data: Data) -> "Target":
        """Take the targets of some of the training samples."""
        what = "subjects" if samples["subject"].is_unique else "samples"
        where = f"training part of seed {data.seeds[0]}, {len(samples)} {what}"
        if not data.classes:
            numbers = samples["target"].to_numpy(float)
            return cls(where, numbers, np.zeros((len(samples), 0), bool), [])
        classes = sorted(samples["target"].unique())
        # One against the other says the same as the other against the one.
        names = classes[1:] if len(classes) == 2 else classes
        members = samples["target"].to_numpy(object)[:, None] == np.array(names, object)
        return cls(where, np.zeros(len(samples)), members, names)

    @property
    def classes(self) -> bool:
        """Whether the target is a class."""
        return bool(self.names)

    def against(self, number: int) -> str:
        """Say what is told apart by the contrast of a number."""
        return f"class {self.names[number]!r} from the rest" if self.classes else "large targets from small ones"


def verdict(check: str, what: str, where: str, value: float, level: str, meaning: str) -> dict:
    """Return a row of :data:`COLUMNS`."""
    return dict(zip(COLUMNS, (check, what, where, round(float(value), 6), level, meaning), strict=True))


def level_of(suspect: bool) -> str:
    """Return the level of what is suspect, or not."""
    return SUSPECT if suspect else OK


def patterns_of(flags: np.ndarray) -> list[np.ndarray]:
    """Return the numbers of the columns that are the same, group by group, in the order of each group's first."""
    packed = pd.Series([column.tobytes() for column in np.packbits(flags, axis=0).T], dtype="object")
    return [np.array(numbers) for numbers in packed.groupby(packed, sort=False).groups.values()]

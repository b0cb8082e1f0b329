"""Students: one for every combination of representations and heads, except those that see nothing."""

from dataclasses import dataclass
from itertools import product

import pandas as pd

from metafusion.config.models import Cohort, Head

ABSENT = "absent"


@dataclass(frozen=True)
class Student:
    """A fusion model, known by the representation it uses of each modality, and by its head.

    Attributes
    ----------
    choices : tuple of (modality, representation name) pairs
        In the order of the modalities; absent ones included.
    head : Head or None
        None for the cohort's main head.
    """

    choices: tuple[tuple[str, str], ...]
    head: Head | None = None

    @property
    def name(self) -> str:
        """A name that does not change with the company, e.g. ``proteins=raw|csf=absent`` or ``csf=raw|head=linear``."""
        words = [f"{modality}={choice}" for modality, choice in self.choices]
        return "|".join(words + ([f"head={self.head.name}"] if self.head else []))

    @property
    def views(self) -> list[tuple[str, str]]:
        """The (modality, representation name) pairs that the student sees."""
        return [(modality, choice) for modality, choice in self.choices if choice != ABSENT]


def all_students(
    names: dict[str, list[str]], more_heads: list[Head] | None = None, modalities: list[int] | None = None
) -> list[Student]:
    """List the cohort: every combination of one representation a modality, minus all-absent, with every head.

    Parameters
    ----------
    names : dict of str to list of str
        For each modality the names of its representations, wide ones first (see ``Representations.names``).
    more_heads : list of Head
        Beside the main one.
    modalities : list of int
        How many modalities a student may see; None or empty: any number.

    Returns
    -------
    list of Student
        Those with the main head first; the last modality varies fastest.

    Examples
    --------
    >>> [student.name for student in all_students({"a": ["raw", "absent"], "b": ["pca2", "absent"]})]
    ['a=raw|b=pca2', 'a=raw|b=absent', 'a=absent|b=pca2']
    >>> [student.name for student in all_students({"a": ["raw", "absent"], "b": ["pca2", "absent"]}, modalities=[2])]
    ['a=raw|b=pca2']
    """
    combinations = product(*([(modality, choice) for choice in choices] for modality, choices in names.items()))
    allowed = set(modalities or range(1, len(names) + 1))
    seeing = [choices for choices in combinations if sum(choice != ABSENT for _, choice in choices) in allowed]
    return [Student(choices, head) for head in (None, *(more_heads or [])) for choices in seeing]


def only(modalities: list[str], within: list[str]) -> Student:
    """Return the student that sees some modalities raw and the others not: a single modality, or early fusion."""
    return Student(tuple((name, "raw" if name in modalities else ABSENT) for name in within))


def table(students: list[Student], settings: Cohort) -> pd.DataFrame:
    """Return one row a student: its number, name, head and the representation it uses of each modality."""
    rows = [
        {"student": number, "name": student.name, "head": (student.head or settings.heads[0]).name}
        | dict(student.choices)
        for number, student in enumerate(students)
    ]
    return pd.DataFrame(rows)

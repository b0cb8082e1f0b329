"""Students: one for every combination of representations, except the one that sees nothing."""

from dataclasses import dataclass
from itertools import product

import pandas as pd

from metafusion.representations import Representation, name_of


@dataclass(frozen=True)
class Student:
    """A fusion model, known by the representation it uses of each modality.

    Attributes
    ----------
    choices : tuple of (modality, representation) pairs
        In the order of the modalities; absent ones included.
    """

    choices: tuple[tuple[str, Representation], ...]

    @property
    def name(self) -> str:
        """A name that does not change with the company, e.g. ``proteins=raw|csf=absent``."""
        return "|".join(f"{modality}={name_of(choice)}" for modality, choice in self.choices)

    @property
    def views(self) -> list[tuple[str, str]]:
        """The (modality, representation name) pairs that the student sees."""
        return [(modality, name_of(choice)) for modality, choice in self.choices if choice != "absent"]


def all_students(sizes: dict[str, list[Representation]]) -> list[Student]:
    """List the cohort: every combination of one representation a modality, minus all-absent.

    Parameters
    ----------
    sizes : dict of str to list
        For each modality its representations.

    Returns
    -------
    list of Student
        Wide representations first (raw, then descending numbers, then absent), the last modality varying fastest.

    Examples
    --------
    >>> [student.name for student in all_students({"a": ["raw", "absent"], "b": ["absent", 2]})]
    ['a=raw|b=pca2', 'a=raw|b=absent', 'a=absent|b=pca2']
    """
    ordered = {modality: sorted(choices, key=_narrowness) for modality, choices in sizes.items()}
    combinations = product(*([(modality, choice) for choice in choices] for modality, choices in ordered.items()))
    return [Student(choices) for choices in combinations if any(choice != "absent" for _, choice in choices)]


def _narrowness(choice: Representation) -> float:
    return {"raw": float("-inf"), "absent": float("inf")}.get(choice, -choice if isinstance(choice, int) else 0)


def only(modalities: list[str], within: list[str]) -> Student:
    """Return the student that sees some modalities raw and the others not: a single modality, or early fusion."""
    return Student(tuple((name, "raw" if name in modalities else "absent") for name in within))


def table(students: list[Student]) -> pd.DataFrame:
    """Return one row a student: its number, name and the representation it uses of each modality."""
    rows = [
        {"student": number, "name": student.name} | {modality: name_of(choice) for modality, choice in student.choices}
        for number, student in enumerate(students)
    ]
    return pd.DataFrame(rows)

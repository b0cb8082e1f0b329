"""What OASIS-1 and OASIS-2 share: one table of scans, with its traps, and volumes beside it."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metafusion.config.oasis import CLINICAL, Oasis
from metafusion.config.volumes import T1W
from metafusion.errors import UserError
from metafusion.preprocess.tables import column_names, read_user_table, require_column, shortened
from metafusion.samples import Assembled
from metafusion.sources import volumes
from metafusion.sources.features import write_features

log = logging.getLogger("metafusion")

NAMES = {
    "sample": ("ID", "MRI ID", "MR ID"),
    "subject": ("Subject ID",),
    "sex": ("M/F", "Sex", "Gender"),
    "hand": ("Hand",),
    "age": ("Age",),
    "educ": ("Educ",),
    "ses": ("SES",),
    "mmse": ("MMSE",),
    "cdr": ("CDR",),
    "etiv": ("eTIV",),
    "nwbv": ("nWBV",),
    "asf": ("ASF",),
    "group": ("Group",),
}
"""What each column is called in the tables, in whatever case; the first name is the usual one."""

TEXT = ("sample", "subject", "sex", "hand", "group")

TYPES = {"sex": "categorical", "hand": "categorical", "age": "numeric", "educ": "numeric", "ses": "ordinal"}

RANGES = {
    "age": (18, 110),
    "educ": (0, 30),
    "ses": (1, 5),
    "mmse": (0, 30),
    "cdr": (0, 3),
    "etiv": (800, 2500),
    "nwbv": (0.4, 1),
    "asf": (0.5, 2),
}
"""Smallest and largest possible values: a copy that lost its decimal points lies outside."""

RATINGS = (0.0, 0.5, 1.0, 2.0, 3.0)

PEOPLE = ("age", "sex", "educ", "ses", "mmse", "cdr")
"""Who the samples are, as far as the table says."""


def preprocess(source: Oasis, unit: str, chunk: str, acquired: None, folder: Path) -> None:
    """Preprocess a chunk of volumes, or write the features of ``clinical`` or ``mri_table``.

    Parameters
    ----------
    source : Oasis
    unit : {'t1w', 'clinical', 'mri_table'}
    chunk : str
        Of ``t1w`` the chunk's number; 'all' for the others.
    acquired : None
        There is nothing acquired.
    folder : Path

    Raises
    ------
    UserError
        The table cannot be used; see :func:`read`. Volumes: see :mod:`metafusion.preprocess.mri`.
    """
    if unit == T1W:
        # What is wrong with the table should show before hours of work on volumes, not after.
        _described(source)
        volumes.preprocess_volumes(source, chunk, folder)
        return
    columns = source.clinical if unit == CLINICAL else source.mri_table
    if "mmse" in columns:
        log.warning(
            "%s: 'mmse' is a feature. It says nearly what the label says: clinicians see it, or tests like it, when "
            "they rate the CDR. How well it predicts the label says little about the rest",
            unit,
        )
    table = read(source, columns)
    types = {name: TYPES[name] for name in columns if name in TYPES}
    write_features(unit, table["sample"], table[list(columns)], source.table, folder, types)


def assemble(source: Oasis, acquired: None, preprocessed: Mapping[str, Sequence[Path]]) -> Assembled:
    """Join the table and the volumes; see :func:`metafusion.sources.volumes.join`.

    Parameters
    ----------
    source : Oasis
    acquired : None
    preprocessed : mapping of str to sequence of Path
        For each unit the folders that :func:`preprocess` filled.

    Returns
    -------
    Assembled
        Target: ``impaired`` or ``control``; or the CDR as ``0``, ``0.5`` or ``1+``; or the group.
    """
    table = _described(source)
    if source.label == "group":
        log.warning(
            "label: 'group' looks ahead: Converted means that a later visit was the first with a CDR above 0, so the "
            "label of an early visit is known from a later one"
        )
    features, broken = volumes.read_features(source, preprocessed)
    known = [name for name in PEOPLE if name in table]
    origin = f"{source.table}: column {NAMES[_label_column(source)][0]!r} (label: {source.label})"
    reason = "not the first scan or visit of the person"
    rows = table[["sample", "target", *known]]
    return volumes.join(source, rows, table[["sample", "subject", "session"]], features, broken, origin, reason)


def _label_column(source: Oasis) -> str:
    return "group" if source.label == "group" else "cdr"


def _described(source: Oasis) -> pd.DataFrame:
    """Return names, ``target`` and who it is, of every row of the table."""
    column = _label_column(source)
    table = read(source, [column], PEOPLE)
    return table.assign(target=table["group"] if column == "group" else _rated(table["cdr"], source.label))


def read(source: Oasis, needed: Iterable[str], wanted: Iterable[str] = ()) -> pd.DataFrame:
    """Read columns of the table under names of their own, and check them.

    Parameters
    ----------
    source : Oasis
    needed : iterable of str
        Names of :data:`NAMES`.
    wanted : iterable of str, optional
        Those that may be absent.

    Returns
    -------
    DataFrame
        ``sample``, ``subject``, ``session``, then the columns; numbers are float64.

    Raises
    ------
    UserError
        A column is absent, holds text instead of numbers or impossible values; a scan has no name, one of another
        form, or stands twice.
    """
    path, header = source.table, column_names(source.table)
    known = {name.casefold(): name for name in header}
    columns = {}
    for name in dict.fromkeys(["sample", "subject", *needed, *wanted]):
        column = next((known[alias.casefold()] for alias in NAMES[name] if alias.casefold() in known), None)
        if column is None and (name == "sample" or name in needed):
            require_column(path, NAMES[name][-1 if name == "sample" else 0], header, f"{name} of {source.kind}")
        if column is not None:
            columns[name] = column
    text = [column for name, column in columns.items() if name in TEXT]
    content = read_user_table(path, columns=list(columns.values()), text=text)
    table = pd.DataFrame({name: content[column] for name, column in columns.items()})
    for name in table.columns.intersection(list(RANGES)):
        _check_numbers(path, table[name].rename(columns[name]), *RANGES[name])
    if "cdr" in table:
        _check_ratings(path, table["cdr"].rename(columns["cdr"]))
    return _with_names(source, table, columns)


def _with_names(source: Oasis, table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return the table with subject and session, as the names of the scans tell them."""
    path, names = source.table, table["sample"]
    parts = names.str.extract(rf"^{source.label_pattern.pattern}$")
    wrong = parts[0].isna()
    if wrong.any():
        row = names.index[wrong][0]
        raise UserError(
            f"{path}: column {columns['sample']!r}, row {row}: found {names.fillna('nothing')[row]!r}, expected the "
            f"name of a scan, such as {source.example}; correct or remove the row"
        )
    if names.duplicated().any():
        twice = shortened(sorted(set(names[names.duplicated()])))
        raise UserError(f"{path}: column {columns['sample']!r}: scans that stand twice: {twice}; keep one row a scan")
    if "subject" in table and (other := (table["subject"] != parts[0])).any():
        row = names.index[other][0]
        raise UserError(
            f"{path}: row {row}: the scan {names[row]!r} is said to be of subject {table['subject'][row]!r}; expected "
            f"{parts[0][row]!r}; correct the row"
        )
    return table.assign(subject=parts[0], session="MR" + parts[1]).reset_index(drop=True)


def _check_numbers(path: Path, column: pd.Series, low: float, high: float) -> None:
    if column.dtype == "str":
        row = column.first_valid_index()
        raise UserError(
            f"{path}: column {column.name!r}, row {row}: found {column[row]!r}, expected numbers from {low} to {high}; "
            "correct the table"
        )
    outside = column.notna() & ~column.between(low, high)
    if outside.any():
        row = column.index[outside][0]
        raise UserError(
            f"{path}: column {column.name!r}, row {row}: {column[row]:g} is impossible; expected a number from {low} "
            f"to {high}, or N/A; if the copy has lost its decimal points or has other columns, take the original table"
        )


def _check_ratings(path: Path, column: pd.Series) -> None:
    strange = column.notna() & ~column.isin(RATINGS)
    if strange.any():
        row = column.index[strange][0]
        raise UserError(
            f"{path}: column {column.name!r}, row {row}: {column[row]:g} is no CDR; expected one of "
            f"{', '.join(f'{rating:g}' for rating in RATINGS)}, or N/A; correct the table"
        )


def _rated(cdr: pd.Series, label: str) -> pd.Series:
    """Return the class of each rating; missing where there is none."""
    if label == "impaired":
        return pd.Series(np.where(cdr > 0, "impaired", "control"), cdr.index, dtype="str").where(cdr.notna())
    words = np.select([cdr == 0, cdr == 0.5], ["0", "0.5"], "1+")
    return pd.Series(words, cdr.index, dtype="str").where(cdr.notna())

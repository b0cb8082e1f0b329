"""Your own data: a table of samples, and one CSV, TSV or Parquet file a modality.

The files are the user's and are only read, so there is nothing to acquire.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metafusion.config.sources import ModalityTable, SampleTable, Tables
from metafusion.errors import UserError, did_you_mean
from metafusion.files import read_table
from metafusion.preprocess.tables import column_names, read_user_table, require_column, shortened
from metafusion.samples import Assembled, no_exclusions
from metafusion.sources.features import FEATURES, as_words_or_numbers, write_features

log = logging.getLogger("metafusion")

PART_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


def preprocess(source: Tables, modality: str, chunk: str, acquired: Path | None, folder: Path) -> None:
    """Read the table of one modality and write its features.

    Parameters
    ----------
    source : Tables
        The configuration.
    modality : str
        Name of the modality.
    chunk : str
        Always ``"all"``.
    acquired : None
        There is nothing acquired.
    folder : Path
        Gets ``features.parquet``: ``sample``, then float32 columns, one row a row of the table; and ``columns.tsv``,
        which says what became of each column: ``modality``, then as :func:`metafusion.preprocess.tables.typed_features`
        tells it.

    Raises
    ------
    UserError
        The table cannot be read or used; the message says why and what to do.
    """
    table = source.modalities[modality]
    key = f"modality {modality}"
    id_column = table.id or source.samples.id
    chosen = _feature_columns(source.samples, table, id_column, key)
    _check_named(table, chosen, key)
    content = read_user_table(
        table.file, table.missing, [id_column, *chosen], text=[id_column], missing_by_column=table.missing_by_column
    )
    _check_ids(content[id_column], table.file, "aggregate the rows of a sample, or keep one row a sample")
    write_features(
        modality,
        content[id_column],
        content[chosen],
        table.file,
        folder,
        table.types,
        table.levels,
        table.missing_indicators,
    )


def assemble(source: Tables, acquired: Path | None, preprocessed: Mapping[str, Sequence[Path]]) -> Assembled:
    """Join the sample table and the features of the modalities.

    Samples keep the order of the sample table. A sample is out if it has no target or is in no modality. A row without
    any value does not count as having the modality.

    Parameters
    ----------
    source : Tables
        The configuration.
    acquired : None
        There is nothing acquired.
    preprocessed : mapping of str to sequence of Path
        For each modality the folder that :func:`preprocess` filled.

    Returns
    -------
    Assembled
        The target is text, or int64 if all its values are integers, or float64. Exclusions have a row for a sample that
        is out (empty ``modality``), for a modality that a sample lacks, and for a row of a modality whose sample is not
        in the sample table.

    Raises
    ------
    UserError
        Sample names are missing or stand twice, a target is infinite, a part is none of train, validation and test, no
        sample is left, or a modality has no sample in common with the sample table.
    """
    table = source.samples
    everyone, people = _read_samples(table)
    features, exclusions = {}, []
    for modality, folders in preprocessed.items():
        file = source.modalities[modality].file
        rows = pd.concat([read_table(Path(folder) / FEATURES) for folder in folders], ignore_index=True)
        _check_overlap(modality, rows["sample"], file, everyone["sample"], table.file)
        unknown = rows.loc[~rows["sample"].isin(everyone["sample"]), "sample"]
        exclusions.append(_excluded(unknown, f"not in the sample table {table.file}", modality))
        features[modality] = rows.set_index("sample")

    with_target = everyone["target"].notna()
    if not with_target.any():
        raise UserError(
            f"{table.file}: column {table.target!r} (target) has no value in any row; expected one for each sample"
        )
    full = {name: rows.index[rows.notna().any(axis=1)] for name, rows in features.items()}
    in_any = everyone["sample"].isin([sample for samples in full.values() for sample in samples])
    out = [
        _excluded(everyone.loc[~with_target], "no target"),
        _excluded(everyone.loc[with_target & ~in_any], "in no modality"),
    ]

    samples = everyone[with_target & in_any].reset_index(drop=True)
    samples["target"] = _narrowed(samples["target"])
    _check_subjects(samples, table)
    for modality, rows in features.items():
        file = source.modalities[modality].file
        there = samples["sample"].isin(full[modality])
        if not there.any():
            raise UserError(
                f"{file}: modality {modality} has no value for any sample of {table.file} that has a "
                "target; expected some; check the file, or remove the modality"
            )
        known = samples["sample"].isin(rows.index)
        out.append(_excluded(samples[~known], f"no row in {file}", modality))
        out.append(_excluded(samples[known & ~there], f"no value in {file}", modality))
        features[modality] = rows.loc[samples.loc[there, "sample"]].reset_index()
    listed = pd.concat([no_exclusions(), *out, *exclusions], ignore_index=True)
    log.info("%d of %d samples of %s are in", len(samples), len(everyone), table.file)
    origin = f"{source.samples.file}: column {source.samples.target!r} (target)"
    return Assembled(samples, features, listed, origin, people)


def _feature_columns(samples: SampleTable, table: ModalityTable, id_column: str, key: str) -> list[str]:
    """Return the columns of a modality's table that become features."""
    header = dict.fromkeys(column_names(table.file))
    require_column(table.file, id_column, header, f"id of {key}")
    for setting, columns in (("columns", table.columns), ("drop", table.drop)):
        for column in columns or ():
            require_column(table.file, column, header, f"{setting} of {key}")
    # A column of this name is the answer, or says whose sample it is, whatever file it stands in.
    roles = {samples.id: "id", samples.part: "part", samples.subject: "subject", samples.target: "target"}
    roles = {name: f"the {role} of the sample table" for name, role in roles.items()} | {id_column: f"the id of {key}"}
    _refuse_twins(roles, table, header, key)
    for column in table.columns or ():
        if column in roles:
            raise UserError(
                f"{table.file}: columns of {key}: {column!r} is {roles[column]} and cannot be a feature; remove it "
                "from 'columns' (or rename the column in the file, if it is something else)"
            )
    wanted = dict.fromkeys(header if table.columns is None else table.columns)
    dropped = set(table.drop)
    chosen = [column for column in wanted if column not in roles and column not in dropped]
    for column in wanted:
        if column in roles and column != id_column and column not in dropped:
            log.info("%s: %s: %r is %s and no feature", key, table.file, column, roles[column])
    if not chosen:
        raise UserError(
            f"{table.file}: {key} has no feature column; found {shortened(list(header), most=20)}; look at "
            "'columns' and 'drop'"
        )
    return chosen


def _refuse_twins(roles: Mapping[str, str], table: ModalityTable, header: Iterable[str], key: str) -> None:
    """Raise UserError if a feature's name is that of the target, or of who it is, but for upper and lower case."""
    known = {name.casefold(): name for name in roles if name is not None}
    for column in header if table.columns is None else table.columns:
        twin = known.get(column.casefold(), column)
        if twin != column and column not in roles and column not in table.drop:
            raise UserError(
                f"{table.file}: {key}: column {column!r} may be {roles[twin]} ({twin!r}) under another name; expected "
                "it not to be a feature; name it in 'drop', or rename it in the file if it is something else"
            )


def _check_named(table: ModalityTable, chosen: list[str], key: str) -> None:
    """Raise UserError if a setting names a column that does not become a feature."""
    header = dict.fromkeys(column_names(table.file))
    for setting in ("types", "levels", "missing_by_column"):
        for column in getattr(table, setting):
            require_column(table.file, column, header, f"{setting} of {key}")
            if column not in chosen:
                raise UserError(
                    f"{table.file}: {setting} of {key}: {column!r} is no feature column; expected one of the columns "
                    f"used; remove it from {setting!r}, or look at 'columns' and 'drop'"
                )


def _check_ids(ids: pd.Series, file: Path, remedy: str) -> None:
    """Raise UserError if a name is missing or stands twice."""
    if ids.isna().any():
        rows = shortened(list(ids.index[ids.isna()]))
        raise UserError(f"{file}: column {ids.name!r} (id) has no value in row {rows}; name or remove these rows")
    counts = ids[ids.duplicated(keep=False)].value_counts(sort=False)
    if len(counts):
        found = shortened([f"{name!r} ({count} rows)" for name, count in counts.items()])
        raise UserError(f"{file}: column {ids.name!r} (id) must be unique, found {found}; {remedy}")


def _check_overlap(modality: str, found: pd.Series, file: Path, expected: pd.Series, sample_file: Path) -> None:
    if not found.isin(expected).any():
        raise UserError(
            f"modality {modality}: no sample of {file} (such as {_examples(found)}) is in the sample table "
            f"{sample_file} (such as {_examples(expected)}); expected the same names in both, letter by letter; usual "
            "causes are a prefix ('sub-01' and '01'), leading zeros or another id column"
        )


def _examples(names: pd.Series) -> str:
    return ", ".join(map(repr, names.iloc[:3]))


def _read_samples(table: SampleTable) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return sample, subject, target and, if set, given_part of every row of the sample table; and people."""
    header = column_names(table.file)
    roles = {"id": table.id, "target": table.target, "subject": table.subject, "part": table.part}
    columns = {role: column for role, column in roles.items() if column is not None}
    for role, column in columns.items():
        require_column(table.file, column, header, f"{role} of the samples")
    for column in table.people.values():
        require_column(table.file, column, header, "people of the samples")
    for column in table.missing_by_column:
        require_column(table.file, column, header, "missing_by_column of the samples")
    if len({*columns.values()} | {table.id}) < len(columns) - (table.subject == table.id):
        raise UserError(f"{table.file}: id, target, subject and part must be different columns, found {columns}")
    names = [column for role, column in columns.items() if role != "target"]
    wanted = [*columns.values(), *table.people.values()]
    content = read_user_table(table.file, table.missing, wanted, names, table.missing_by_column)
    _check_ids(content[table.id], table.file, "keep one row a sample; 'subject' may name the person of several samples")
    samples = pd.DataFrame(
        {
            "sample": content[table.id],
            "subject": content[table.subject or table.id],
            "target": _target(content[table.target], table.file),
        }
    )
    if table.part is not None:
        samples["given_part"] = _parts(content[table.part], table.file)
    people = {name: as_words_or_numbers(content[column]) for name, column in table.people.items()}
    described = pd.DataFrame({"sample": content[table.id]} | people)
    return samples.reset_index(drop=True), described.reset_index(drop=True)


def _target(column: pd.Series, file: Path) -> pd.Series:
    column = as_words_or_numbers(column)
    if column.dtype != "str" and (infinite := np.isinf(column)).any():
        raise UserError(
            f"{file}: column {column.name!r} (target), row {column.index[infinite][0]}: the value is infinite; "
            "expected a finite number; leave the cell empty if the target is unknown"
        )
    return column


def _narrowed(target: pd.Series) -> pd.Series:
    """Return integers as such: class 1 is called 1, not 1.0."""
    if target.dtype != "str" and (target % 1 == 0).all() and (target.abs() < 2**53).all():
        return target.astype("int64")
    return target


def _parts(column: pd.Series, file: Path) -> pd.Series:
    words = column.str.casefold()
    wrong = words.notna() & ~words.isin(PART_NAMES)
    if wrong.any():
        word = column[wrong].iloc[0]
        raise UserError(
            f"{file}: column {column.name!r} (part), row {column.index[wrong][0]}: found {word!r}, expected train, "
            f"validation or test, or an empty cell; {did_you_mean(word.casefold(), PART_NAMES)}"
        )
    return words.map(PART_NAMES).astype("str")


def _check_subjects(samples: pd.DataFrame, table: SampleTable) -> None:
    lacking = samples.loc[samples["subject"].isna(), "sample"]
    if len(lacking):
        raise UserError(
            f"{table.file}: column {table.subject!r} (subject) has no value for {shortened(list(lacking))}; a "
            "sample of unknown subject might stand on two sides of a split; fill it, or remove the rows"
        )


def _excluded(who: pd.DataFrame | pd.Series, reason: str, modality: str = "") -> pd.DataFrame:
    """Return rows for the table of exclusions. ``who`` is samples, or names of samples whose subject is unknown."""
    samples = who if isinstance(who, pd.DataFrame) else pd.DataFrame({"sample": who, "subject": ""})
    rows = samples[["sample", "subject"]].fillna("")
    return rows.assign(modality=modality, reason=reason).astype("str")

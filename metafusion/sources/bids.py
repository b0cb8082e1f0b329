"""Any folder in the layout of BIDS: T1-weighted volumes, maps, and tables of participants, sessions and tests.

The files are the user's and are only read, so there is nothing to acquire. Gorgolewski et al. 2016, Sci. Data 3:160044.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from metafusion.config.bids import (
    KEYS,
    SESSION,
    SUBJECT,
    USUAL_PEOPLE,
    Bids,
    checked_label,
    sample_name,
    with_prefix,
)
from metafusion.config.volumes import T1W
from metafusion.errors import UserError
from metafusion.preprocess.tables import column_names, read_user_table, require_column, shortened
from metafusion.samples import Assembled
from metafusion.sources import volumes
from metafusion.sources.features import as_words_or_numbers, write_features

log = logging.getLogger("metafusion")


def preprocess(source: Bids, unit: str, chunk: str, acquired: None, folder: Path) -> None:
    """Preprocess a chunk of volumes or maps, or write the features of a table.

    Parameters
    ----------
    source : Bids
    unit : str
        ``t1w``, or the name of a map or a table.
    chunk : str
        Of volumes and maps the chunk's number; 'all' for tables.
    acquired : None
        There is nothing acquired.
    folder : Path

    Raises
    ------
    UserError
        The table cannot be used. Volumes: see :mod:`metafusion.preprocess.mri`.
    """
    if unit == T1W:
        # What is wrong with the table should show before hours of work on volumes, not after.
        _described(source)
        volumes.preprocess_volumes(source, chunk, folder)
    elif unit in source.maps:
        volumes.preprocess_maps(source, unit, chunk, folder)
    else:
        _preprocess_table(source, unit, folder)


def _preprocess_table(source: Bids, name: str, folder: Path) -> None:
    settings = source.tables[name]
    if settings.file is None:
        chosen = [column for column in settings.columns or [] if column not in settings.drop]
        table, path = read_people(source, chosen, settings.missing), source.people_table
    else:
        path = source.folder / settings.file
        header = dict.fromkeys(column_names(path))
        for key, columns in (("columns", settings.columns), ("drop", settings.drop)):
            for column in columns or ():
                require_column(path, column, header, f"{key} of tables.{name}")
        wanted = list(header) if settings.columns is None else settings.columns
        if settings.columns is None and source.target in header:
            log.info("%s: %s: %r is the target and no feature", name, path, source.target)
        left = {*KEYS, source.target, *settings.drop}
        chosen = [column for column in dict.fromkeys(wanted) if column not in left]
        for column in chosen:
            if role := source.role_of(column):
                raise UserError(
                    f"{path}: tables.{name}: column {column!r} {role} and can be no feature; name it in 'drop' (or, if "
                    "it is something else, rename it in the file)"
                )
        table = read_rows(path, chosen, settings.missing)
    if not chosen:
        raise UserError(f"{path}: tables.{name} has no feature column; look at 'columns' and 'drop'")
    write_features(
        name,
        table["sample"],
        table[chosen],
        path,
        folder,
        settings.types,
        settings.levels,
        settings.missing_indicators,
    )


def assemble(source: Bids, acquired: None, preprocessed: Mapping[str, Sequence[Path]]) -> Assembled:
    """Join participants, sessions, volumes and tables; see :func:`metafusion.sources.volumes.join`.

    A sample is a session of a person, or the person where no session is known. What a table says of a person holds for
    all sessions of which it says nothing.

    Parameters
    ----------
    source : Bids
    acquired : None
    preprocessed : mapping of str to sequence of Path
        For each unit the folders that :func:`preprocess` filled.

    Returns
    -------
    Assembled
    """
    rows = _described(source)
    features, broken = volumes.read_features(source, preprocessed)
    known = [*rows["sample"], *(name for modality in source.tables for name in features[modality]["sample"])]
    visits = _visits(source, known)
    for modality in source.tables:
        features[modality] = _spread(features[modality], visits)
    origin = f"{source.people_table}: column {source.target!r} (target)"
    return volumes.join(
        source, _spread(rows, visits), visits, features, broken, origin, "not among the sessions asked for"
    )


def _described(source: Bids) -> pd.DataFrame:
    """Return ``sample``, ``target`` and the columns of people, of every row of participants and sessions."""
    people = _people_columns(source)
    table = read_people(source, list(dict.fromkeys([source.target, *people.values()])), source.missing)
    rows = pd.DataFrame({"sample": table["sample"], "target": as_words_or_numbers(table[source.target])})
    return rows.assign(**{name: as_words_or_numbers(table[column]) for name, column in people.items()})


def _visits(source: Bids, names: Iterable[str]) -> pd.DataFrame:
    """Return sample, subject and session of every session known, and of people without one."""
    scans = [scan.sample for listing in source.listings.values() for scan in listing.samples]
    found = pd.DataFrame({"sample": pd.unique(pd.Series([*names, *scans], dtype="str"))})
    found[["subject", "session"]] = found["sample"].str.partition("_")[[0, 2]]
    with_sessions = set(found.loc[found["session"] != "", "subject"])
    # A row of a person is of all their sessions, and a sample only where none is known or a volume has no session.
    person = (found["session"] == "") & found["subject"].isin(with_sessions) & ~found["sample"].isin(scans)
    return found[~person].reset_index(drop=True)


def _spread(table: pd.DataFrame, visits: pd.DataFrame) -> pd.DataFrame:
    """Give rows of people to those of their sessions that have no row of their own."""
    direct = table[table["sample"].isin(visits["sample"])]
    rest = visits.loc[~visits["sample"].isin(table["sample"]), ["sample", "subject"]]
    of_people = table.rename(columns={"sample": "subject"})
    return pd.concat([direct, rest.merge(of_people, on="subject").drop(columns="subject")], ignore_index=True)


def _people_columns(source: Bids) -> dict[str, str]:
    """Return the columns that say who the samples are, by their names in the results."""
    if source.people:
        return source.people
    header = {*column_names(source.people_table)}.union(*map(column_names, source.session_tables))
    return {name: name for name in USUAL_PEOPLE if name in header and name != source.target}


def read_people(source: Bids, columns: Sequence[str], missing: Iterable[str] = ()) -> pd.DataFrame:
    """Read columns of the table of participants and of the tables of sessions, if there are any.

    Parameters
    ----------
    source : Bids
    columns : sequence of str
        Each in one of the tables at least.
    missing : iterable of str, optional
        Codes for missing values.

    Returns
    -------
    DataFrame
        ``sample`` (a person or a session, each once), and the columns. What the table of a subject's sessions does not
        say of a session is as in the row of the table of participants that is of the session, or else of the person.

    Raises
    ------
    UserError
        A table cannot be used, a column is in none of them, or holds words in one and numbers in another.
    """
    path = source.people_table
    header = dict.fromkeys(column_names(path))
    headers = {file: set(column_names(file)) for file in source.session_tables}
    for column in columns:
        if not any(column in names for names in headers.values()):
            require_column(path, column, header)
    parts = {path: read_rows(path, [column for column in columns if column in header], missing)}
    for file, names in headers.items():
        # Also one without any of the columns: which sessions there are must not depend on what is asked of them.
        own = [column for column in columns if column in names]
        parts[file] = read_rows(file, own, missing, file.parent.name)
    kinds = {
        column: _kind(column, {file: part[column] for file, part in parts.items() if column in part})
        for column in columns
    }
    parts = {
        file: part.astype({name: kinds[name] for name in part.columns.drop("sample")}) for file, part in parts.items()
    }
    people, *sessions = [part.set_index("sample") for part in parts.values()]
    samples = people.index.append([part.index for part in sessions]).unique()
    known = pd.concat(sessions).reindex(samples) if sessions else pd.DataFrame(index=samples)
    # The table of participants may have a row of the same session, or one of the person.
    for whose in (samples, samples.str.partition("_").get_level_values(0)):
        for column in people:
            general = people[column].reindex(whose).set_axis(samples)
            known[column] = known[column].fillna(general) if column in known else general
    return known[list(columns)].astype(kinds).reset_index()


def read_rows(
    path: Path, columns: Sequence[str], missing: Iterable[str] = (), subject: str | None = None
) -> pd.DataFrame:
    """Read columns of a table with ``participant_id``, ``session_id`` or both.

    Parameters
    ----------
    path : path
    columns : sequence of str
    missing : iterable of str, optional
        Codes for missing values.
    subject : str, optional
        Whose table of sessions it is.

    Returns
    -------
    DataFrame
        ``sample``: ``sub-01``, or ``sub-01_ses-1`` where the table has sessions; then the columns.

    Raises
    ------
    UserError
        The table cannot be read, a name is missing, or a sample has two rows.
    """
    header = dict.fromkeys(column_names(path))
    if "sample" in columns:
        raise UserError(f"{path}: a column used must not be called 'sample'; rename it in the table")
    require_column(path, KEYS[0] if subject is None else KEYS[1], header)
    keys = [key for key in KEYS if key in header]
    for column in columns:
        require_column(path, column, header)
    content = read_user_table(path, missing, list(dict.fromkeys([*keys, *columns])), text=keys)
    labels = {
        key: _labels(path, content[key], prefix)
        for key, prefix in zip(KEYS, (SUBJECT, SESSION), strict=True)
        if key in keys
    }
    subjects = labels.get(KEYS[0], [subject] * len(content))
    sessions = labels.get(KEYS[1], [""] * len(content))
    if subject and (others := sorted({*subjects} - {subject})):
        raise UserError(
            f"{path}: column {KEYS[0]!r} holds {shortened(others)}, expected {subject} only, as the file is named; "
            "correct the table, or its name"
        )
    samples = pd.Series(list(map(sample_name, subjects, sessions)), content.index, dtype="str")
    if samples.duplicated().any():
        twice = shortened(sorted(set(samples[samples.duplicated()])))
        raise UserError(
            f"{path}: more than one row for {twice}; keep one row a person, or add the column 'session_id' and keep "
            "one a session"
        )
    table = content[list(columns)]
    return pd.concat([samples.rename("sample"), table], axis=1)


def _labels(path: Path, column: pd.Series, prefix: str) -> list[str]:
    """Return names with their prefix, or raise UserError where one is lacking or not allowed."""
    for row, name in column.items():
        if pd.isna(name):
            raise UserError(f"{path}: column {column.name!r} has no value in row {row}; name or remove the row")
        checked_label(with_prefix(name, prefix), f"{path}: column {column.name!r}, row {row}")
    return [with_prefix(name, prefix) for name in column]


def _kind(column: str, parts: Mapping[Path, pd.Series]) -> str:
    """Return a column's dtype in all tables; where it has no value, it may be anything.

    Raises
    ------
    UserError
        It holds words in one table and numbers in another.
    """
    kinds = {str(part.dtype): file for file, part in parts.items() if part.notna().any()}
    if len(kinds) > 1:
        found = " and ".join(f"{_KINDS[kind]} in {file}" for kind, file in kinds.items())
        raise UserError(
            f"column {column!r} holds {found}; expected the same in all tables; correct one, or put what stands for "
            "missing values in 'missing'"
        )
    return next(iter(kinds), "float64")


_KINDS = {"str": "words", "float64": "numbers", "boolean": "true and false"}

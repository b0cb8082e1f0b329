"""Reading tables that people made: CSV, TSV or Parquet, with all that spreadsheets and exports do to them."""

import codecs
import csv
import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from metafusion.errors import UserError, did_you_mean

log = logging.getLogger("metafusion")

MISSING = ("", ".", "?", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null")
"""Cells that count as missing in every table, without the white space around them. Case matters: 'none' is a word."""

MOST_LEVELS = 50
"""Most different words in a text column; with more it is probably an identifier or free text."""

MOST_CODES = 10
"""Most different whole numbers in a column that may be codes of categories; the log names such columns."""

COLUMNS = ("column", "type", "origin", "features", "missing", "levels")
"""Columns of the account of a table's columns."""

NEARLY_ALL = 0.9
"""Share of a column's cells that must be numbers (or dates) for the remaining ones to be taken for mistakes."""

_POINT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf(inity)?", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?([0-9]+,?[0-9]*|,[0-9]+)([eE][+-]?[0-9]+)?", re.IGNORECASE)
_OTHER_NOTATION = re.compile(r"[+-]?([0-9]+[.,][0-9]+|[0-9]{1,3}([.,' \u00a0\u202f][0-9]{3})+([.,][0-9]+)?)")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?")
_CENSORED = re.compile(r"([<>≤≥~]=?|=)\s*[+-]?[0-9]+([.,][0-9]+)?")
_DATE = re.compile(
    r"([0-9]{4}([-/.])[0-9]{1,2}\2[0-9]{1,2}|[0-9]{1,2}([-/.])[0-9]{1,2}\3[0-9]{2,4})([T ][0-9]{1,2}:.*)?"
)
_DATE_REMEDY = "turn it into a number, such as an age or the days since a visit, or do not use the column"


@dataclass(frozen=True)
class _TextFile:
    """How a text file is written down: encoding, separator and header (an empty name: a column without one)."""

    encoding: str
    separator: str
    header: list[str]


def column_names(path: str | Path) -> list[str]:
    """Return the names of a user table's columns, without reading the rows.

    White space around a name does not belong to it. Columns without a name (the row numbers that pandas and R write)
    are left out.

    Raises
    ------
    UserError
        The file is missing, empty, corrupt or of another kind, or two columns have the same name.
    """
    return [name for name in _header(Path(path)) if name]


def read_user_table(
    path: str | Path,
    missing: Iterable[str] = (),
    columns: Sequence[str] | None = None,
    text: Sequence[str] = (),
    missing_by_column: Mapping[str, Iterable[str]] | None = None,
) -> pd.DataFrame:
    """Read a table that a user made.

    A column is a column of numbers if all its cells are, of booleans if all are ``true`` or ``false``, and otherwise of
    text. Words in a Parquet file are read as those in a CSV file are, but a categorical column of words stays text.

    Parameters
    ----------
    path : path
        A ``.csv`` file (separated by comma, semicolon or tab: it is found out), a ``.tsv`` or ``.txt`` file (by tabs)
        or a ``.parquet`` file. Text is UTF-8 with or without a byte-order mark, UTF-16 with one, or else latin-1. In a
        file with semicolons, a column may have decimal commas.
    missing : iterable of str, optional
        Codes for missing values beside :data:`MISSING`, compared as text and as numbers: ``'-4'`` is also -4.0.
    columns : sequence of str, optional
        Columns to read; all by default. The others are not looked at, so their mistakes do no harm.
    text : sequence of str, optional
        Columns to be kept as text, such as identifiers: ``007`` stays ``007``, and integers of a Parquet file become
        their digits, also where gaps made them floats. The codes in ``missing`` do not hold here.
    missing_by_column : mapping of str to iterable of str, optional
        Codes of single columns, beside those in ``missing``. Columns that are not read may be among them.

    Returns
    -------
    DataFrame, shape (rows, columns)
        Columns of dtype float64, boolean or str. The index is the row in the file for messages: in text the header is
        row 1 and blank lines do not count; in Parquet the first row is 1. Rows without any content are left out.

    Raises
    ------
    UserError
        The file is missing, empty, corrupt, of another kind or without rows; a row has too few or too many cells; a
        column is unknown, or stands twice, or holds dates, or numbers among which a few cells are text.
    """
    path = Path(path)
    header = _header(path)
    if "" in header:
        log.info("%s: %d columns without a name are not used", path, header.count(""))
    names = list(filter(None, header))
    known = dict.fromkeys(names)
    for name in [*(columns or ()), *text]:
        require_column(path, name, known)
    columns = names if columns is None else list(dict.fromkeys(columns))
    if _is_parquet(path):
        content, first_row, decimal_commas = _read_parquet(path, columns), 1, False
    else:
        form = _text_file(path)
        content, first_row, decimal_commas = _read_text(path, form, columns), 2, form.separator == ";"

    rows = pd.RangeIndex(first_row, first_row + content.num_rows)
    full = rows[_rows_with_content(content)]
    if not len(full):
        raise UserError(f"{path}: the table has a header but no rows; expected at least one; export it again")
    typing = _Typing(path, tuple(missing), missing_by_column or {}, decimal_commas, rows)
    typed = {
        name: typing.as_text(name, content[name]) if name in text else typing.column(name, content[name])
        for name in columns
    }
    return pd.DataFrame(typed, index=rows).loc[full]


def require_column(path: str | Path, name: str, known: Collection[str], key: str = "") -> None:
    """Raise UserError, with a suggestion, unless a table has the column.

    Parameters
    ----------
    path : path
        The table's file, for the message.
    name : str
        The column.
    known : collection of str
        The table's columns; a mapping or a set is searched fastest.
    key : str, optional
        The setting that asks for the column, for the message.
    """
    if name in known:
        return
    asked = f" ({key})" if key else ""
    same = [other for other in known if other.casefold() == name.strip().casefold()]
    only = next(iter(known)) if len(known) == 1 else ""
    if "," in only or ";" in only:
        hint = f"its header is one column, {only!r}; save the table with tabs, or as .csv"
    elif same:
        hint = f"did you mean {same[0]!r}?"
    elif len(known) <= 40:
        hint = did_you_mean(name, known)
    else:
        near = get_close_matches(name, known, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        hint += f"It has {len(known)} columns, the first are {', '.join(islice(known, 10))}"
    raise UserError(f"{path}: no column {name!r}{asked}; {hint}")


def typed_features(
    table: pd.DataFrame,
    types: Mapping[str, str],
    levels: Mapping[str, Sequence[object]],
    path: str | Path,
    missing_indicators: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turn columns of numbers, booleans and words into float32 features, row by row.

    A numeric column is its own feature; booleans are 0 and 1. An ordinal column of words becomes the places of its
    words in ``levels``, from 0; one of numbers stays as it is, unless it has levels. A categorical column becomes one
    column ``column=level`` a level, with 0 and 1. What is missing is missing in all of them.

    Parameters
    ----------
    table : DataFrame, shape (rows, columns)
        As :func:`read_user_table` returns it, without identifiers.
    types : mapping of str to {"numeric", "ordinal", "categorical"}
        Types of columns. Those that are not named are ordinal if they have levels, categorical if they hold words, and
        numeric otherwise.
    levels : mapping of str to sequence
        All values that an ordinal or categorical column may have, in order. By default those that it has, sorted.
    path : path
        The table's file, for messages.
    missing_indicators : bool, optional
        Whether a column with gaps also becomes a feature ``column is missing``, with 0 and 1. A row without any value
        has none of these either: it is absent, not known to be empty.

    Returns
    -------
    features : DataFrame, shape (rows, features)
        float32, NaN where missing, with the index of ``table``. Columns without any value have no feature.
    columns : DataFrame
        What became of each column: ``column``, ``type``, ``origin`` (given or inferred), ``features`` (how many),
        ``missing`` (rows without a value), ``levels`` (joined by ``|``).

    Raises
    ------
    UserError
        A type or level names no column, or does not fit what the column holds; a value is infinite or too large for
        float32, a column has more than :data:`MOST_LEVELS` levels, two features get the same name, or none is left.
    """
    for setting, named in (("types", types), ("levels", levels)):
        for name in named:
            require_column(path, name, dict.fromkeys(table), setting)
    features: dict[str, np.ndarray] = {}
    account = []
    nowhere = table.isna().all(axis=1).to_numpy()
    for name in table:
        column = table[name]
        absent = column.isna().to_numpy()
        kind, origin = _type_of(column, types, levels)
        known: Sequence[str] = ()
        made = {}
        if not absent.all():
            made, known = _FEATURES[kind](path, column, levels.get(name))
            if missing_indicators and absent.any():
                made[f"{name} is missing"] = np.where(nowhere, np.nan, absent).astype(np.float32)
        for feature, values in made.items():
            if feature in features:
                raise UserError(f"{path}: two features would be called {feature!r}; rename or drop a column")
            features[feature] = values
        account.append((name, kind, origin, len(made), int(absent.sum()), "|".join(known)))
    columns = pd.DataFrame(account, columns=list(COLUMNS))
    _tell(path, table, columns)
    if not features:
        raise UserError(f"{path}: no column with values is left to be a feature; look at 'columns' and 'drop'")
    return pd.DataFrame(features, index=table.index), columns


def shortened(words: Sequence[object], most: int = 3) -> str:
    """Join words with commas, the first few only."""
    rest = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(map(str, words[:most])) + rest


def _type_of(column: pd.Series, types: Mapping[str, str], levels: Mapping[str, Sequence[object]]) -> tuple[str, str]:
    """Return a column's type, and whether it was given or inferred."""
    if column.name in types:
        return types[column.name], "given"
    if column.name in levels:
        return "ordinal", "given"
    return ("categorical" if column.dtype == "str" else "numeric"), "inferred"


def _tell(path: str | Path, table: pd.DataFrame, columns: pd.DataFrame) -> None:
    """Say which types were inferred, and what looks like a mistake."""
    empty = columns["missing"] == len(table)
    if empty.any():
        names = shortened(list(columns.loc[empty, "column"]), most=20)
        log.info("%s: %d columns without any value are dropped: %s", path, empty.sum(), names)
    inferred = columns[(columns["origin"] == "inferred") & ~empty]
    for kind, group in inferred.groupby("type"):
        log.info("%s: %d columns inferred to be %s: %s", path, len(group), kind, shortened(list(group["column"]), 20))
    numeric = inferred.loc[inferred["type"] == "numeric", "column"]
    codes = [name for name in numeric if _may_be_codes(table[name])]
    if codes:
        log.info(
            "%s: %d columns hold 3 to %d different whole numbers and are taken for quantities: %s; if they are codes "
            "of categories, say so in 'types'",
            path,
            len(codes),
            MOST_CODES,
            shortened(codes, most=20),
        )


def _may_be_codes(column: pd.Series) -> bool:
    if column.dtype == "boolean":
        return False
    values = column.dropna().unique()
    return 3 <= len(values) <= MOST_CODES and bool((values % 1 == 0).all())


def _numeric(
    path: str | Path, column: pd.Series, levels: Sequence[object] | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    if levels is not None:
        raise UserError(
            f"{path}: column {column.name!r} has levels and the type numeric; expected 'ordinal' or 'categorical'"
        )
    if column.dtype == "str":
        row = column.first_valid_index()
        raise UserError(
            f"{path}: column {column.name!r}, row {row}: {column[row]!r}; expected numbers, as its type is numeric; "
            "make it ordinal (with 'levels') or categorical, or put the words in 'missing'"
        )
    return {column.name: _numbers(path, column)}, []


def _ordinal(
    path: str | Path, column: pd.Series, levels: Sequence[object] | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    if levels is not None:
        words, known = _words_and_levels(path, column, levels)
        places = words.map({level: place for place, level in enumerate(known)}).to_numpy(np.float32, na_value=np.nan)
        return {column.name: places}, known
    if column.dtype == "str":
        found = shortened([repr(word) for word in sorted(column.dropna().unique())])
        raise UserError(
            f"{path}: column {column.name!r} is ordinal and holds words ({found}); expected their order; write "
            f"'levels: {{{column.name}: [lowest, ..., highest]}}'"
        )
    return {column.name: _numbers(path, column)}, []


def _categorical(
    path: str | Path, column: pd.Series, levels: Sequence[object] | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    words, known = _words_and_levels(path, column, levels)
    if len(known) > MOST_LEVELS:
        what = "text" if column.dtype == "str" else "categorical"
        raise UserError(
            f"{path}: column {column.name!r} is {what} of {len(known)} different values, such as "
            f"{shortened(known)}; expected at most {MOST_LEVELS}. It is probably "
            "an identifier or free text: name it in 'drop', or group its values"
        )
    absent = words.isna().to_numpy()
    cells = words.to_numpy(dtype=object)
    made = {f"{column.name}={level}": np.where(absent, np.nan, cells == level).astype(np.float32) for level in known}
    return made, known


_FEATURES = {"numeric": _numeric, "ordinal": _ordinal, "categorical": _categorical}


def _words_and_levels(
    path: str | Path, column: pd.Series, levels: Sequence[object] | None
) -> tuple[pd.Series, list[str]]:
    """Return the cells as words, and the words that they may be: the given ones, or those found, sorted."""
    if column.dtype == "str":
        words = column
    else:
        _numbers(path, column)  # refuses what is infinite
        words = column.map(_written, na_action="ignore").astype("str")
    if levels is None:
        found = sorted(column.dropna().unique().tolist())
        return words, [word if isinstance(word, str) else _written(word) for word in found]
    known = [_written(level, column.dtype != "str") for level in levels]
    strange = words.notna() & ~words.isin(known)
    if strange.any():
        row = words.index[strange][0]
        others = f" ({int(strange.sum())} rows hold others than these)" if strange.sum() > 1 else ""
        raise UserError(
            f"{path}: column {column.name!r}, row {row}: found {words[row]!r}, expected one of its levels "
            f"{', '.join(known)}{others}; add it to 'levels', or to the codes for missing values"
        )
    return words, known


def _written(value: object, number: bool = True) -> str:
    """Return a level as a word. Among numbers, 1.0 and the word '1.0' are the level 1."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, str) and not (number and _POINT.fullmatch(value.strip())):
        return value.strip()
    exact = float(value)
    return str(int(exact)) if exact.is_integer() else repr(exact)


def _numbers(path: str | Path, column: pd.Series) -> np.ndarray:
    exact = column.to_numpy(dtype=float, na_value=np.nan)
    with np.errstate(over="ignore"):
        single = exact.astype(np.float32)
    if (at := np.flatnonzero(np.isinf(single))).size:
        value = exact[at[0]]
        others = f", as are {at.size - 1} more" if at.size > 1 else ""
        fault = "is infinite" if np.isinf(value) else "is too large for a 32-bit number (3.4e38)"
        raise UserError(
            f"{path}: column {column.name!r}, row {column.index[at[0]]}: {value:g} {fault}{others}; "
            "expected finite numbers; leave the cells empty if the values are unknown, or name the column in 'drop'"
        )
    return single


# Files


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _check_file(path: Path) -> None:
    """Raise UserError unless the path is that of a file that may hold a table."""
    if not path.exists():
        raise UserError(f"{path}: no such file; paths start at the folder in which the program runs ({Path.cwd()})")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; expected a CSV, TSV or Parquet file")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: may not be read; expected a file that you may read; change its permissions")
    ending = path.suffix.lower()
    if ending not in (".csv", ".tsv", ".txt", ".parquet"):
        raise UserError(
            f"{path}: found a file ending in {ending!r}; expected .csv, .tsv, .txt or .parquet; save it as CSV"
        )
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; expected a header and rows; export it again")


def _header(path: Path) -> list[str]:
    _check_file(path)
    return _parquet_header(path) if _is_parquet(path) else _text_file(path).header


def _parquet_header(path: Path) -> list[str]:
    with _corruption_told(path):
        schema = pq.read_schema(path)
    return _checked_header(path, ["" if name.startswith("__index_level_") else name for name in schema.names])


def _read_parquet(path: Path, columns: Sequence[str]) -> pa.Table:
    with _corruption_told(path):
        stored = {name.strip(): name for name in pq.read_schema(path).names}
        # A column 'a' asked for brings 'a.b' along, as if it were inside of it: hence the selection afterwards.
        content = pq.ParquetFile(path).read(columns=[stored[name] for name in columns], use_threads=False)
        return content.select([stored[name] for name in columns]).rename_columns(list(columns))


@contextmanager
def _corruption_told(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on damaged files into a UserError."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: corrupt, truncated or no Parquet file ({error}); write it anew") from None


def _text_file(path: Path) -> _TextFile:
    encoding = _encoding(path)
    separator = _separator(path, encoding) if path.suffix.lower() == ".csv" else "\t"
    records = _records(path, encoding, separator)
    return _TextFile(encoding, separator, _checked_header(path, next(records)))


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4096)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        if b"\0" in start:
            raise UserError(f"{path}: is no text file, perhaps a spreadsheet with a wrong ending; save it as CSV")
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            decoder.decode(start)
            while piece := file.read(1 << 20):
                decoder.decode(piece)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            log.info("%s: is not UTF-8 and is read as latin-1", path)
            return "latin-1"
    return "utf-8-sig"


def _records(path: Path, encoding: str, separator: str) -> Iterator[list[str]]:
    """Yield the records that are not blank, the header first."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            records = (record for record in csv.reader(file, delimiter=separator) if any(map(str.strip, record)))
            header = next(records, None)
            if header is None:
                raise UserError(f"{path}: the file is empty; expected a header and rows; export it again")
            yield header
            yield from records
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: not readable as a table ({error}); look for a quotation mark that is not closed"
        ) from None


def _separator(path: Path, encoding: str) -> str:
    """Return the separator that cuts the header and the first rows into equally many cells, the more the better."""
    widths = {mark: _widths(path, encoding, mark) for mark in ",;\t"}
    even = {mark: width[0] for mark, width in widths.items() if width[0] > 1 and len(set(width)) == 1}
    # If no separator cuts evenly, a row is faulty: the header then tells the separator, and reading names the row.
    candidates = even or {mark: width[0] for mark, width in widths.items()}
    best = max(candidates.values())
    marks = [mark for mark, width in candidates.items() if width == best]
    if best > 1 and len(marks) > 1:
        found = " and ".join(repr(mark) for mark in marks)
        raise UserError(
            f"{path}: the separator may be {found}; expected one of them; save the table as .tsv (with tabs)"
        )
    return marks[0]


def _widths(path: Path, encoding: str, separator: str) -> list[int]:
    try:
        return [len(record) for record in islice(_records(path, encoding, separator), 50)]
    except UserError:
        return [0]


def _checked_header(path: Path, header: Sequence[str]) -> list[str]:
    names = [name.strip() for name in header]
    twice = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if twice:
        listed = shortened([repr(name) for name in twice])
        raise UserError(f"{path}: column names that stand more than once: {listed}; rename or remove the columns")
    if not any(names):
        raise UserError(f"{path}: the first row has no column names; expected a header")
    return names


def _read_text(path: Path, form: _TextFile, columns: Sequence[str]) -> pa.Table:
    faulty = []

    def refuse(row: pa_csv.InvalidRow) -> str:
        faulty.append(row)
        return "error"

    places = {name: str(place) for place, name in enumerate(form.header)}
    wanted = [places[name] for name in columns]
    try:
        content = pa_csv.read_csv(
            path,
            # The header is read as a row like any other, so that every row's number is that in the file. A row must fit
            # into a block. Rows are numbered only if one thread reads them.
            read_options=pa_csv.ReadOptions(
                column_names=[str(place) for place in range(len(form.header))],
                encoding="utf8" if form.encoding == "utf-8-sig" else form.encoding,
                block_size=1 << 26,
                use_threads=False,
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=form.separator, newlines_in_values=True, invalid_row_handler=refuse
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False, include_columns=wanted
            ),
        )
    except (pa.ArrowException, UnicodeError) as error:
        if not faulty:
            raise UserError(f"{path}: not readable as a table ({error})") from None
        row = faulty[0]
        raise UserError(
            f"{path}: row {row.number} has {row.actual_columns} cells, the header has {row.expected_columns}: "
            f"{row.text[:80]!r}; put cells that contain the separator {form.separator!r} in quotation marks, and look "
            "for quotation marks that are not closed"
        ) from None
    return content.slice(1).rename_columns(list(columns))


def _rows_with_content(content: pa.Table) -> np.ndarray:
    """Return which rows have a cell that is neither null nor an empty text."""
    full = np.zeros(content.num_rows, dtype=bool)
    for column in content.columns:
        if full.all():
            break
        filled = pc.is_valid(column)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            filled = pc.and_kleene(filled, pc.not_equal(pc.utf8_trim_whitespace(column), ""))
            filled = pc.fill_null(filled, False)
        full |= filled.to_numpy()
    return full


# Columns


class _Codes:
    """Codes for missing values: as words, and as the numbers that they are."""

    def __init__(self, codes: Iterable[str]) -> None:
        self.words = {code.strip() for code in codes}
        self.numbers = {float(code) for code in self.words if _POINT.fullmatch(code)}

    def left_out(self, values: np.ndarray) -> np.ndarray:
        """Make the codes among numbers missing, in place."""
        values[np.isin(values, list(self.numbers))] = np.nan
        return values


class _Typing:
    """Give the columns of one table their types."""

    def __init__(
        self,
        path: Path,
        codes: tuple[str, ...],
        codes_by_column: Mapping[str, Iterable[str]],
        decimal_commas: bool,
        rows: pd.RangeIndex,
    ) -> None:
        self.path = path
        self.codes = _Codes(codes)
        self.codes_by_column = {name: _Codes([*codes, *own]) for name, own in codes_by_column.items()}
        self.decimal_commas = decimal_commas
        self.rows = rows
        self.notations: dict[str, str] = {}
        """A column that shows each decimal mark in use."""

    def codes_of(self, name: str) -> "_Codes":
        return self.codes_by_column.get(name, self.codes)

    def column(self, name: str, cells: pa.ChunkedArray) -> pd.Series:
        """Return a column as float64, boolean or str."""
        kind = cells.type
        if pa.types.is_dictionary(kind):
            return self._words(self.as_text(name, cells), known_as_text=True)
        if _is_text(kind):
            values = None if self.decimal_commas else self._plain_numbers(cells, self.codes_of(name))
            return (
                self._words(self.as_text(name, cells))
                if values is None
                else pd.Series(values, index=self.rows, name=name)
            )
        if pa.types.is_boolean(kind):
            return cells.to_pandas(types_mapper=_nullable).set_axis(self.rows).rename(name)
        if (
            pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_decimal(kind)
            or pa.types.is_null(kind)
        ):
            return pd.Series(self.codes_of(name).left_out(_floats(cells)), index=self.rows, name=name)
        if pa.types.is_temporal(kind):
            raise UserError(f"{self.path}: column {name!r} holds dates or times ({kind}); {_DATE_REMEDY}")
        raise UserError(
            f"{self.path}: column {name!r} holds {kind}; expected numbers, booleans or text; do not use the column, or "
            "write one column a number"
        )

    def _plain_numbers(self, cells: pa.ChunkedArray, codes: "_Codes") -> np.ndarray | None:
        """Return the cells as numbers, or None if one is none: what :meth:`_words` does, fast for the usual column."""
        words = pc.utf8_trim_whitespace(cells.cast(pa.large_string()))
        absent = pc.is_in(words, value_set=pa.array(sorted({*MISSING, *codes.words}), words.type))
        try:
            numbers = pc.if_else(absent, None, words).cast(pa.float64())
        except pa.ArrowInvalid:
            return None
        values = _floats(numbers)
        # Spellings of "not a number" that are not in MISSING are words.
        if np.isnan(values).sum() > numbers.null_count:
            return None
        return codes.left_out(values)

    def as_text(self, name: str, cells: pa.ChunkedArray) -> pd.Series:
        """Return a column as text, as it stands there but for white space around it."""
        kind = cells.type
        if pa.types.is_dictionary(kind):
            return self.as_text(name, cells.cast(kind.value_type))
        if pa.types.is_floating(kind):
            # Integers with gaps are stored as floats: 1.0 stands for 1.
            values = _floats(cells)
            words = ["" if np.isnan(v) else str(int(v)) if v.is_integer() else repr(v) for v in values.tolist()]
        else:
            try:
                words = cells.cast(pa.large_string()).to_pylist()
            except pa.ArrowException:
                raise UserError(f"{self.path}: column {name!r} holds {kind}; expected text or numbers") from None
        # One object a different word keeps long columns small.
        clean = {word: _cleaned(word) for word in set(words)}
        return pd.Series([clean[word] for word in words], index=self.rows, name=name, dtype="str")

    def _words(self, column: pd.Series, known_as_text: bool = False) -> pd.Series:
        """Return a column of words as what its words are; ``column`` is text in which the usual words are missing."""
        place, found = pd.factorize(column)
        words = [str(word) for word in found]
        codes = self.codes_of(column.name)
        coded = np.array([word in codes.words or self._value(word) in codes.numbers for word in words] + [True])
        known = ~coded[place]
        counts = np.bincount(place[known], minlength=len(words))
        counted = {word: int(count) for word, count in zip(words, counts, strict=True) if count}
        if not counted:
            return pd.Series(np.nan, index=self.rows, name=column.name)
        if known_as_text:
            return column.where(known)
        if {word.casefold() for word in counted} <= {"true", "false"}:
            return column.where(known).map(lambda word: word.casefold() == "true", na_action="ignore").astype("boolean")
        for notation in (_POINT, _COMMA) if self.decimal_commas else (_POINT,):
            if all(map(notation.fullmatch, counted)):
                self._note_decimal_mark(column.name, counted)
                values = np.array([_float(word) if word in counted else np.nan for word in words] + [np.nan])
                return pd.Series(values[place], index=self.rows, name=column.name)
        self._refuse_mixture(column.where(known), counted)
        return column.where(known)

    def _value(self, word: str) -> float | None:
        number = _POINT.fullmatch(word) or (self.decimal_commas and _COMMA.fullmatch(word))
        return _float(word) if number else None

    def _note_decimal_mark(self, name: str, words: Iterable[str]) -> None:
        for mark in ".,":
            if self.decimal_commas and any(mark in word for word in words):
                self.notations.setdefault(mark, name)
        if len(self.notations) > 1:
            raise UserError(
                f"{self.path}: column {self.notations[',']!r} has decimal commas, column {self.notations['.']!r} has "
                "points; expected one decimal mark in a table (and none for thousands); mend one of the columns, or do "
                "not use it"
            )

    def _refuse_mixture(self, column: pd.Series, counted: dict[str, int]) -> None:
        """Raise UserError if words stand among numbers, if numbers are written in another way, or if they are dates."""
        total = sum(counted.values())

        def share(*patterns: re.Pattern) -> float:
            return sum(n for word, n in counted.items() if any(p.fullmatch(word) for p in patterns)) / total

        plain = max((_POINT, _COMMA) if self.decimal_commas else (_POINT,), key=share)
        numbers = share(plain)
        cell = next(word for word in column.dropna() if not plain.fullmatch(word))
        where = f"{self.path}: column {column.name!r}, row {column.index[column == cell][0]}: {cell!r}"
        if share(_DATE) >= NEARLY_ALL:
            raise UserError(f"{where} is a date; {_DATE_REMEDY}")
        other = share(plain, _OTHER_NOTATION)
        if max(numbers, other) >= NEARLY_ALL or (
            numbers >= 0.5 and share(plain, _OTHER_NOTATION, _CENSORED) >= NEARLY_ALL
        ):
            if (
                not self.decimal_commas
                and share(_POINT, _DECIMAL_COMMA) >= NEARLY_ALL
                and _DECIMAL_COMMA.fullmatch(cell)
            ):
                raise UserError(
                    f"{where} has a comma; expected numbers with a point: write {cell.replace(',', '.')} if it is a "
                    "decimal comma, or save the table as .csv with semicolons between the cells, where such are read; "
                    "leave it out if it parts thousands"
                )
            raise UserError(
                f"{where}: expected a plain number such as {'1,5' if plain is _COMMA else '1.5'} ({numbers:.0%} of the "
                "cells are); leave the cell empty if it stands for a missing value (or name it in 'missing', where the "
                "source has this key), or correct the table, or do not use the column"
            )


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _nullable(kind: pa.DataType) -> pd.BooleanDtype | None:
    return pd.BooleanDtype() if pa.types.is_boolean(kind) else None


def _floats(cells: pa.ChunkedArray) -> np.ndarray:
    exact = cells.cast(pa.float64(), safe=False)
    return np.array(pc.fill_null(exact, np.nan).to_numpy(), dtype=float)


def _float(word: str) -> float:
    return float(word.replace(",", "."))


def _cleaned(word: str | None) -> str | None:
    word = "" if word is None else word.strip()
    return None if word in MISSING else word

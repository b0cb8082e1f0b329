"""Reading and writing artefacts: parquet, TSV, JSON and safetensors, whole or not at all."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import safetensors.numpy

from metafusion.errors import DamagedError, UserError

TEXT = (
    "sample",
    "subject",
    "modality",
    "reason",
    "class",
    "name",
    "part",
    "method",
    "family",
    "metric",
    "mark",
    "head",
    "column",
    "level",
    "true",
    "given",
    "representation",
)
"""Columns that are text in every table of this project: the sample 007 must not become 7."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield a path of the same name in a hidden folder beside ``path``; the file takes its place only if all went well.

    Whatever a writer leaves beside its file is deleted with the folder, and what a killed process left there when the
    same file is written again.

    Raises
    ------
    UserError
        The disk or the quota is full, or the folder is read-only.
    """
    path = Path(path)
    folder = path.with_name(f".{path.name}.unfinished")
    try:
        _delete(folder)
        folder.mkdir(parents=True)
        unfinished = folder / path.name
        yield unfinished
        # safetensors makes files for their owner only; results are shared as any other file is.
        os.umask(mask := os.umask(0))
        os.chmod(unfinished, 0o666 & ~mask)
        # Onto the disk before it takes its place: a power cut leaves it whole, and a full network disk is noticed here.
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except (OSError, safetensors.SafetensorError) as error:
        if said := _no_room(error):
            raise UserError(f"{path}: {said}, then run again") from None
        raise
    finally:
        # On a disk that has become read-only it stays until the file is written again.
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty hidden folder beside ``path``, which takes its place only if all went well.

    Raises
    ------
    UserError
        ``path`` is there already, or the disk or the quota is full, or it is read-only.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.unfinished")
    if path.exists() or path.is_symlink():
        raise UserError(f"{path}: is there already, and nothing is overwritten; move it away, or choose another folder")
    try:
        _delete(unfinished)
        unfinished.mkdir(parents=True)
        yield unfinished
        os.rename(unfinished, path)
    except OSError as error:
        if said := _no_room(error):
            raise UserError(f"{path}: {said}, then run again") from None
        raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _delete(folder: Path) -> None:
    if folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _no_room(error: Exception) -> str | None:
    """Say what to do if the disk is full or read-only."""
    # safetensors gives no number.
    number = getattr(error, "errno", None) or (f"os error {errno.ENOSPC})" in str(error) and errno.ENOSPC)
    if number in NO_ROOM:
        return "the disk, or your share of it, is full; make room"
    if number == errno.EROFS:
        return "the disk is read-only; make it writable, or choose another folder"
    return None


def file_name(words: str) -> str:
    """Return a name for a file of something that people named: their words, as far as a name can hold them.

    Examples
    --------
    >>> file_name("age")
    'age'
    >>> file_name("../sex: m/f")
    '_sex_ m_f_a2889e29'
    """
    plain = re.sub(r"[^\w \-]+", "_", words)[:80]
    # What was changed is told from other words that would become the same.
    return plain if plain == words else f"{plain}_{hashlib.sha256(words.encode()).hexdigest()[:8]}"


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as parquet or TSV, by the ending of the path. The index is not written."""
    with whole(path) as unfinished:
        if str(path).endswith(".parquet"):
            pq.write_table(pa.Table.from_pandas(table, preserve_index=False), unfinished)
        else:
            table.to_csv(unfinished, sep="\t", index=False, lineterminator="\n")


def read_table(
    path: str | Path, columns: list[str] | None = None, rows: tuple[str, pd.Series] | None = None
) -> pd.DataFrame:
    """Read a parquet or TSV table of this project; of a parquet only the rows whose column holds one of some values."""
    try:
        if str(path).endswith(".parquet"):
            filters = None if rows is None else [(rows[0], "in", set(rows[1]))]
            return pd.read_parquet(path, columns=columns, filters=filters)
        text = dict.fromkeys(TEXT, "str")
        _refuse_cut(Path(path))
        return pd.read_csv(path, sep="\t", usecols=columns, keep_default_na=False, na_values=[""], dtype=text)
    except FileNotFoundError:
        raise DamagedError(path, "no such file") from None
    except (pa.ArrowInvalid, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise DamagedError(path, f"corrupt or truncated ({error}); delete it and run again") from None


def column_names(path: str | Path) -> list[str]:
    """Return the names of a parquet table's columns, without reading the table."""
    try:
        return pq.read_schema(path).names
    except FileNotFoundError:
        raise DamagedError(path, "no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DamagedError(path, f"corrupt or truncated ({error}); delete it and run again") from None


def _refuse_cut(path: Path) -> None:
    """Raise ParserError if a TSV has no end of its last line, or zeros as after a power cut: pandas reads both."""
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        raise pd.errors.ParserError("the last line has no end")
    if b"\0" in content:
        raise pd.errors.ParserError("bytes that are zero")


def read_many(paths: list[str]) -> pd.DataFrame:
    """Read tables of the same columns, one below the other."""
    return pd.concat([read_table(path) for path in paths], ignore_index=True)


def write_json(content: Any, path: str | Path) -> None:
    """Write JSON with sorted keys."""
    with whole(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DamagedError(path, "no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamagedError(path, f"corrupt or truncated ({error}); delete it and run again") from None


def write_arrays(arrays: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Write named arrays as safetensors."""
    with whole(path) as unfinished:
        # safetensors takes the memory as it lies, so strided views must be copied first.
        safetensors.numpy.save_file({name: np.ascontiguousarray(a) for name, a in sorted(arrays.items())}, unfinished)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read named arrays from safetensors."""
    try:
        return safetensors.numpy.load_file(path)
    except FileNotFoundError:
        raise DamagedError(path, "no such file") from None
    except safetensors.SafetensorError as error:
        raise DamagedError(path, f"corrupt or truncated ({error}); delete it and run again") from None

"""Reading and writing artefacts: parquet, TSV, JSON and safetensors, whole or not at all."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import safetensors.numpy

from metafusion.errors import UserError

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


@contextmanager
def whole(path: str | Path) -> Callable[[], Path]:
    """Yield a temporary path beside ``path``, which takes its place only if all went well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        # safetensors makes files for their owner only; results are shared as any other file is.
        os.umask(mask := os.umask(0))
        os.chmod(unfinished, 0o666 & ~mask)
        os.replace(unfinished, path)
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()


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
        return pd.read_csv(path, sep="\t", usecols=columns, keep_default_na=False, na_values=[""], dtype=text)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: corrupt or truncated ({error}); delete it and run again") from None


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
        raise UserError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: corrupt or truncated ({error}); delete it and run again") from None


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
        raise UserError(f"{path}: no such file") from None
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: corrupt or truncated ({error}); delete it and run again") from None

"""What sources of the user's own tables share: writing features, and values that are none."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from metafusion.errors import UserError
from metafusion.files import write_table
from metafusion.preprocess.tables import typed_features

log = logging.getLogger("metafusion")

FEATURES = "features.parquet"
COLUMNS = "columns.tsv"


def write_features(
    modality: str,
    samples: pd.Series,
    table: pd.DataFrame,
    path: Path,
    folder: Path,
    types: Mapping[str, str] | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
    missing_indicators: bool = False,
) -> None:
    """Write the features of a modality that comes from a table, and what became of each column.

    Parameters
    ----------
    modality : str
    samples : Series of str
        Whose each row is.
    table : DataFrame, shape (rows, columns)
        As :func:`metafusion.preprocess.tables.read_user_table` returns it.
    path : path
        The table's file, for messages.
    folder : path
        Gets ``features.parquet`` (``sample``, then float32 columns) and ``columns.tsv`` (``modality``, then as
        :func:`metafusion.preprocess.tables.typed_features` tells it).
    types, levels, missing_indicators
        See :func:`metafusion.preprocess.tables.typed_features`.

    Raises
    ------
    UserError
        A column cannot become a feature.
    """
    features, columns = typed_features(table, types or {}, levels or {}, path, missing_indicators)
    if "sample" in features:
        raise UserError(f"{path}: a feature must not be called 'sample'; rename the column, or name it in 'drop'")
    features.insert(0, "sample", samples)
    write_table(features, Path(folder) / FEATURES)
    columns.insert(0, "modality", modality)
    write_table(columns, Path(folder) / COLUMNS)
    log.info("%s: %d rows, %d features from %s", modality, len(features), features.shape[1] - 1, path)


def as_words_or_numbers(column: pd.Series) -> pd.Series:
    """Return numbers and words as they are; true and false are words."""
    if column.dtype == "boolean":
        return column.map({True: "true", False: "false"}, na_action="ignore").astype("str")
    return column

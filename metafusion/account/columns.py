"""What preprocessing said of columns and volumes, from the folders of its chunks."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from metafusion.account.data import Data
from metafusion.files import read_table

MOST = 1000
"""Columns of a modality that are listed one by one."""


def columns_table(data: Data, preprocessed: Mapping[str, Sequence[Path]]) -> pd.DataFrame:
    """List the columns of every modality.

    Parameters
    ----------
    data : Data
    preprocessed : dict of str to list of Path
        Folders of chunks. A ``columns.tsv`` in one says of each column of the user's table what became of it.

    Returns
    -------
    DataFrame
        ``modality``, ``column``, and what the tables in the folders have. A modality that none speaks of has its
        features as columns, ``type`` 'numeric', ``features`` 1, and ``missing``: samples that have the modality, but no
        value. One of more than :data:`MOST` features has one row for all. Columns that say nothing are left out.
    """
    parts = []
    for unit, folders in preprocessed.items():
        for path in dict.fromkeys(folder / "columns.tsv" for folder in folders):
            if path.exists():
                table = read_table(path)
                if "modality" not in table:
                    table.insert(0, "modality", unit)
                parts.append(table)
    said = set(pd.concat(parts)["modality"]) if parts else set()
    samples = data.checked["sample"]
    for name in (name for name in data.modalities if name not in said):
        view = data.view(name, samples)
        missing = pd.isna(view.matrix[view.present]).sum(axis=0)
        rows = {"column": view.columns, "type": "numeric", "features": 1, "missing": missing}
        if len(view.columns) > MOST:
            rows = {"column": ["all"], "type": "numeric", "features": len(view.columns), "missing": missing.sum()}
        table = pd.DataFrame(rows)
        table.insert(0, "modality", name)
        parts.append(table)
    table = pd.concat(parts, ignore_index=True).drop_duplicates(ignore_index=True)
    used = table["modality"].isin(data.modalities)
    return table[used].dropna(axis=1, how="all").reset_index(drop=True)


def quality_of(
    preprocessed: Mapping[str, Sequence[Path]], read: Callable[[Sequence[Path]], pd.DataFrame]
) -> pd.DataFrame:
    """Return the quality of all volumes; no row where no chunk has a ``quality.tsv``."""
    folders = [folder for chunks in preprocessed.values() for folder in chunks if (folder / "quality.tsv").exists()]
    return read(folders) if folders else pd.DataFrame({"sample": pd.Series(dtype="str")})

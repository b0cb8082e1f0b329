"""Packaged sets whose samples come as ready features in several views: what their kinds of source share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from metafusion.config.source import Source
from metafusion.files import read_table, write_table
from metafusion.samples import Assembled
from metafusion.sources.wheels import verify

SAMPLES = "samples.parquet"


@dataclass(frozen=True)
class Views:
    """A packaged set of views.

    Attributes
    ----------
    read : callable
        Maps the paths of wheels by name to the samples (``sample``, ``subject``, ``target``) and, by view, a DataFrame
        of numbers with the same rows.
    """

    read: Callable[[Mapping[str, Path]], tuple[pd.DataFrame, dict[str, pd.DataFrame]]]

    def acquire(self, source: Source, folder: Path, wheels: Mapping[str, Path], draws: Sequence[int] = ()) -> None:
        """Unpack ``samples.parquet`` and a parquet a view.

        Raises
        ------
        UserError
            A wheel is not the one that is expected.
        """
        for name in source.wheels:
            verify(name, wheels[name])
        samples, views = self.read(wheels)
        for name, values in views.items():
            table = pd.concat([samples[["sample"]], values.astype(np.float32)], axis=1)
            write_table(table, Path(folder) / f"{name}.parquet")
        write_table(samples, Path(folder) / SAMPLES)

    def preprocess(self, source: Source, modality: str, chunk: str, acquired: Path, folder: Path) -> None:
        """Write ``features.parquet`` of one view: ``sample``, then float32 columns, as they came."""
        write_table(read_table(Path(acquired) / f"{modality}.parquet"), Path(folder) / "features.parquet")

    def assemble(self, source: Source, acquired: Path, preprocessed: Mapping[str, Sequence[Path]]) -> Assembled:
        """Join the views."""
        features = {
            name: pd.concat([read_table(Path(folder) / "features.parquet") for folder in folders], ignore_index=True)
            for name, folders in preprocessed.items()
        }
        return Assembled(read_table(Path(acquired) / SAMPLES), features)


def numbered(name: str, number: int) -> pd.Series:
    """Return the names of so many samples.

    Examples
    --------
    >>> numbered("digit", 2).tolist()
    ['digit_0001', 'digit_0002']
    """
    return pd.Series([f"{name}_{place:04d}" for place in range(1, number + 1)], dtype="str")

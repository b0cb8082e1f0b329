"""What the account is made from: samples, parts of every seed, and features, one modality at a time."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from metafusion.files import read_table
from metafusion.parts import parts_of
from metafusion.samples import feature_matrix, original_ids


@dataclass(frozen=True)
class View:
    """One modality of some samples, in their order.

    Attributes
    ----------
    name : str
        Of the modality.
    matrix : ndarray of float32, shape (samples, columns)
        NaN where a value is missing; whole rows where the modality is.
    present : ndarray of bool, shape (samples,)
    columns : list of str
    """

    name: str
    matrix: np.ndarray
    present: np.ndarray
    columns: list[str]


@dataclass(frozen=True)
class Data:
    """Samples, people and parts of an experiment.

    Attributes
    ----------
    samples : DataFrame
        All samples: ``sample``, ``subject``, ``target``, ...
    people : DataFrame
        ``sample``, then what is known of the people.
    splits : DataFrame
        ``sample``, and ``seed_{seed}`` for every seed of the experiment; missing where a seed does not use a sample.
    features : Path
        Folder with one parquet a modality.
    modalities : list of str
        Those used.
    classes : bool
        Whether the target is a class.
    unit : {'subject', 'sample'}
        What is split.
    """

    samples: pd.DataFrame
    people: pd.DataFrame
    splits: pd.DataFrame
    features: Path
    modalities: list[str]
    classes: bool
    unit: str

    @property
    def seeds(self) -> list[int]:
        """All seeds, in order."""
        return sorted(int(column.removeprefix("seed_")) for column in self.splits.columns.drop("sample"))

    @property
    def drawn(self) -> bool:
        """Whether every seed, or every permutation of the labels, is another data set."""
        return "draw" in self.samples

    @property
    def class_counts(self) -> dict[str, int]:
        """Samples of each class; empty in regression."""
        return self.samples["target"].value_counts().sort_index().to_dict() if self.classes else {}

    @property
    def checked(self) -> pd.DataFrame:
        """The samples that are checked: all; those of the first seed only where others have their own."""
        if not self.drawn:
            return self.samples
        return self.samples[self.samples["sample"].isin(self.parts["sample"])].reset_index(drop=True)

    @property
    def parts(self) -> pd.DataFrame:
        """``sample`` and ``part`` of the first seed."""
        return parts_of(self.splits, self.seeds[0])

    @property
    def training(self) -> pd.DataFrame:
        """The first seed's training samples. Their targets are the only ones that the checks read."""
        parts = self.parts
        trained = parts.loc[parts["part"] == "train", "sample"]
        return self.samples[self.samples["sample"].isin(trained)].reset_index(drop=True)

    def parts_of_every_seed(self, samples: pd.Series) -> pd.DataFrame:
        """Return the parts of some samples, one column a seed; seeds that use none of them are left out."""
        found = self.splits.set_index("sample").reindex(samples)
        return found.dropna(axis=1, how="all").reset_index(drop=True)

    def one_a_subject(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Return the first sample of each subject, as those of one are no independent evidence; with 'sample' all."""
        return samples.drop_duplicates("subject").reset_index(drop=True) if self.unit == "subject" else samples

    def view(self, modality: str, samples: pd.Series) -> View:
        """Read one modality of some samples."""
        return View(modality, *feature_matrix(self.features, modality, samples))

    def having(self) -> dict[str, set[str]]:
        """Return the samples that have each modality."""
        ids, found = original_ids(self.samples["sample"]), {}
        for name in self.modalities:
            stored = read_table(self.features / f"{name}.parquet", ["sample"])["sample"]
            found[name] = set(self.samples.loc[ids.isin(stored).to_numpy(), "sample"])
        return found


def joined(splits: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Join the splits of all blocks: one row a sample, one column a seed."""
    return pd.concat([table.set_index("sample") for table in splits], axis=1).rename_axis("sample").reset_index()

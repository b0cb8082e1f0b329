"""A stored block of seeds, read back without the need of torch (written by metafusion.cohort.block)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from metafusion.cross_fitting import fold_numbers
from metafusion.files import read_arrays, read_table
from metafusion.parts import parts_of


@dataclass
class StoredSeed:
    """One seed of a stored block: what the choice of ensembles needs (see :class:`metafusion.cohort.loop.Trained`)."""

    seed: int
    parts: pd.DataFrame
    predictions: np.ndarray
    seen: np.ndarray
    losses: np.ndarray
    chosen: int
    penalties: list[float]
    fold: np.ndarray | None = None

    @cached_property
    def validation(self) -> np.ndarray:
        """Rows of the samples that choose."""
        return np.flatnonzero(self.parts["part"] == "validation")


def read(
    predictions: str | Path,
    selection: str | Path,
    splits: pd.DataFrame,
    seeds: list[int],
    folds: pd.DataFrame | None = None,
) -> Iterator[StoredSeed]:
    """Read a stored block, seed by seed, without the padding.

    With folds (cross-fitting) what is not tested has predictions by who has not seen it, and so validates.
    """
    arrays, choices = read_arrays(predictions), read_table(selection)
    for index, seed in enumerate(seeds):
        parts = parts_of(splits, seed)
        if folds is not None:
            parts["part"] = parts["part"].replace("train", "validation")
        here = choices[choices["seed"] == seed]
        losses = here.pivot(index="penalty", columns="student", values="validation_loss").to_numpy()
        chosen = here.groupby("penalty", sort=True)["chosen"].first()
        count = len(parts)
        yield StoredSeed(
            seed=seed,
            parts=parts,
            predictions=arrays["predictions"][index][:, :, :count],
            seen=arrays["seen"][index][:, :count],
            losses=losses,
            chosen=int(np.flatnonzero(chosen)[0]),
            penalties=chosen.index.tolist(),
            fold=None if folds is None else fold_numbers(splits, folds, seed),
        )

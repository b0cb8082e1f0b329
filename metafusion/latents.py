"""Latents of a block of seeds: fitted, stored and read back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from metafusion.files import read_arrays, write_arrays
from metafusion.representations import Representation, latents
from metafusion.splits import parts_of

Features = Callable[[str, pd.Series], tuple[np.ndarray, np.ndarray, list[str]]]


def extract(
    splits: pd.DataFrame,
    seeds: list[int],
    modality: str,
    features: Features,
    sizes: list[Representation],
    scaling: str,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Fit and apply every representation of a modality, for every seed of a block.

    Parameters
    ----------
    splits : DataFrame
        ``sample`` and one column a seed (see metafusion.splits).
    seeds : list of int
    modality : str
    features : callable
        Maps a modality and samples to (values, present, column names); see metafusion.samples.feature_matrix.
    sizes, scaling
        See :func:`metafusion.representations.fit`.

    Returns
    -------
    latents : dict of str to ndarray
        ``seed_{seed}/{representation}``, float32, shape (samples of the seed, width), and ``seed_{seed}/present``,
        bool. Rows are in the order of :func:`metafusion.splits.parts_of`.
    transforms : dict of str to ndarray
        ``seed_{seed}/{what}``: the fitted numbers (see metafusion.representations.Transform).
    """
    mapped, fitted = {}, {}
    for seed in seeds:
        parts = parts_of(splits, seed)
        values, present, _ = features(modality, parts["sample"])
        training = (parts["part"] == "train").to_numpy()
        views, transform = latents(values, present, training, sizes, scaling, f"modality {modality!r}, seed {seed}")
        mapped |= {f"seed_{seed}/{name}": view for name, view in views.items()} | {f"seed_{seed}/present": present}
        fitted |= {f"seed_{seed}/{name}": array for name, array in transform.arrays().items()}
    return mapped, fitted


def write(folder: str | Path, modality: str, mapped: dict[str, np.ndarray], fitted: dict[str, np.ndarray]) -> None:
    """Write a modality's latents, and the fitted transforms beside them."""
    write_arrays(mapped, Path(folder) / f"{modality}.safetensors")
    write_arrays(fitted, Path(folder) / f"{modality}.transform.safetensors")


def read(folder: str | Path, modalities: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """Read the latents of a block, by modality."""
    return {modality: read_arrays(Path(folder) / f"{modality}.safetensors") for modality in modalities}

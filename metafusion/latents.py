"""Latents of a block of seeds: fitted, stored and read back."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from metafusion import fronts
from metafusion.config.fronts import FitOn
from metafusion.config.models import Representations
from metafusion.errors import UserError
from metafusion.files import read_arrays, write_arrays
from metafusion.parts import PARTS_TO_FIT_ON, parts_of
from metafusion.preprocess.trials import array_shape
from metafusion.representations import latents
from metafusion.samples import original_ids

log = logging.getLogger("metafusion")

Features = Callable[[str, pd.Series], tuple[np.ndarray, np.ndarray, list[str]]]
Extractors = dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]]


def extract(
    splits: pd.DataFrame,
    seeds: list[int],
    modality: str,
    features: Features,
    choice: Representations,
    others: Mapping[str, Representations] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Fit and apply the representations of a modality that need no target, for every seed of a block.

    Parameters
    ----------
    splits : DataFrame
        ``sample`` and one column a seed (see metafusion.splits).
    seeds : list of int
    modality : str
    features : callable
        Maps a modality and samples to (values, present, column names); see metafusion.samples.feature_matrix.
    choice : Representations
        See :func:`metafusion.representations.fit`.
    others : mapping of str to Representations
        Those of the other modalities; only ``extractor: pls`` looks at them.

    Returns
    -------
    latents : dict of str to ndarray
        ``seed_{seed}/{representation}``, float32, shape (samples of the seed, width), and ``seed_{seed}/present``,
        bool. Rows are in the order of :func:`metafusion.parts.parts_of`.
    transforms : dict of str to ndarray
        ``seed_{seed}/{what}``: the fitted numbers (see metafusion.representations.Transform). With ``conv1d`` also
        ``shape``, that of the array, as configured or as the columns say.

    Raises
    ------
    UserError
        The columns do not say the shape that is asked for, or see :func:`metafusion.representations.fit`.
    """
    mapped, fitted = {}, {}
    left_out: Counter[str] = Counter()
    if choice.leaks:
        log.warning("%s: representations are fitted on everything, the test part included", modality)
    shared, ids = (others or {}) if choice.extractor == "pls" else {}, None
    for seed in seeds:
        parts = parts_of(splits, seed)
        # Seeds that split the same samples, in permutations too, share their features: a wide table is slow to read.
        if ids is None or not ids.equals(original_ids(parts["sample"])):
            ids = original_ids(parts["sample"])
            values, present, names = features(modality, parts["sample"])
            beside = {name: features(name, parts["sample"]) for name in shared}
            if choice.extractor == "conv1d" and not choice.shape:
                choice = choice.model_copy(update={"shape": _shape_in(names, choice, modality)})
        fitting, before = _fitted_on(parts, choice, choice.fit_on)
        where = f"modality {modality!r}, seed {seed}"
        columns = []
        for name, other in shared.items():
            # As they are before any component; the mean stands for who lacks the modality.
            raw = other.model_copy(update={"sizes": ["raw"], "extractor": "pca"})
            theirs, there, called = beside[name]
            rows, first = _fitted_on(parts, raw, choice.fit_on)
            found, _ = latents(theirs, there, rows, raw, f"modality {name!r}, seed {seed}", called, first)
            columns.append(found["raw"])
        views, transform = latents(
            values, present, fitting, choice, where, names, before, np.hstack(columns) if columns else None
        )
        left_out.update(fronts.left_out(transform.front, names))
        mapped |= {f"seed_{seed}/{name}": view for name, view in views.items()} | {f"seed_{seed}/present": present}
        fitted |= {f"seed_{seed}/{name}": array for name, array in transform.arrays().items()}
    if choice.extractor == "conv1d":
        fitted["shape"] = np.array(choice.shape)
    if left_out:
        listed = ", ".join(f"{name} ({count})" for name, count in left_out.items())
        log.info("%s: 'before: active' leaves out, in so many of %d seeds: %s", modality, len(seeds), listed)
    return mapped, fitted


def _fitted_on(parts: pd.DataFrame, choice: Representations, fit_on: FitOn) -> tuple[np.ndarray, np.ndarray]:
    """Return which samples scaling and components are fitted on, and which what comes before them."""
    return tuple(
        parts["part"].isin(PARTS_TO_FIT_ON[which]).to_numpy() for which in (fit_on, choice.before.fit_on or fit_on)
    )


def _shape_in(names: list[str], choice: Representations, modality: str) -> list[int]:
    try:
        channels, times = array_shape(names)
    except UserError as error:
        raise UserError(
            f"modality {modality!r}: its columns do not say the shape that 'extractor: conv1d' needs: {error}; give "
            "'shape: [channels, times]' in 'representations'"
        ) from None
    return [channels, times] if choice.before.kind == "none" else [choice.before.components, channels]


def with_shape(choice: Representations, fitted: dict[str, np.ndarray]) -> Representations:
    """Return a modality's representations with the shape that :func:`extract` found."""
    return choice.model_copy(update={"shape": fitted["shape"].tolist()}) if "shape" in fitted else choice


def with_shapes(folder: str | Path, chosen: dict[str, Representations]) -> dict[str, Representations]:
    """Return representations by modality with the shapes that were found when their latents were made."""
    return {
        name: with_shape(choice, read_arrays(Path(folder) / f"{name}.transform.safetensors"))
        if choice.extractor == "conv1d"
        else choice
        for name, choice in chosen.items()
    }


def write(folder: str | Path, modality: str, mapped: dict[str, np.ndarray], fitted: dict[str, np.ndarray]) -> None:
    """Write a modality's latents, and the fitted transforms beside them."""
    write_arrays(mapped, Path(folder) / f"{modality}.safetensors")
    write_arrays(fitted, Path(folder) / f"{modality}.transform.safetensors")


def read(folder: str | Path, modalities: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """Read the latents of a block, by modality."""
    return {modality: read_arrays(Path(folder) / f"{modality}.safetensors") for modality in modalities}


def write_extractors(folder: str | Path, modality: str, layers: dict[str, np.ndarray]) -> None:
    """Write a modality's trained extractors (see metafusion.extractors)."""
    write_arrays(layers, Path(folder) / f"{modality}.extractor.safetensors")


def read_extractors(folder: str | Path, representations: dict[str, Representations], seed: int) -> Extractors:
    """Read the extractors that were trained for a seed.

    Returns
    -------
    dict of (modality, representation) to list of (weight, bias)
        One pair a layer, down to the representation; shapes as in ``nn.Linear`` and ``nn.Conv3d``.
    """
    found: Extractors = {}
    for modality, choice in representations.items():
        if not choice.learnt:
            continue
        arrays = read_arrays(Path(folder) / f"{modality}.extractor.safetensors")
        for number in choice.numbers:
            name = f"{choice.extractor}{number}"
            prefix = f"seed_{seed}/{name if choice.extractor == 'autoencoder' else choice.extractor}"
            count = depth_of(choice, number)
            found[modality, name] = [
                (arrays[f"{prefix}/{depth}.weight"], arrays[f"{prefix}/{depth}.bias"]) for depth in range(count)
            ]
    return found


def depth_of(choice: Representations, number: int) -> int:
    """Return how many layers of an extractor lead to its latent variables of a number."""
    convolutions = len(choice.channels) if choice.extractor in ("conv1d", "conv3d") else 0
    latent = 1 if choice.extractor == "autoencoder" else choice.numbers.index(number) + 1
    return convolutions + len(choice.hidden) + latent

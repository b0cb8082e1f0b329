"""Simulated modalities with private and shared latent variables (Liang, Qu, Shahbaba 2025, simulation study)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.preprocessing import StandardScaler

from metafusion.config.source import TRUTH
from metafusion.config.sources import Simulation
from metafusion.files import read_arrays, write_arrays
from metafusion.samples import Assembled


@dataclass
class Draw:
    """One simulated data set.

    Attributes
    ----------
    observed : tuple of ndarray of float32, shapes (samples, width of the modality)
    response : ndarray of float64, shape (samples,)
    latents : tuple of ndarray
        Private latents of each modality, and the shared ones last, shapes (samples, number).
    """

    observed: tuple[np.ndarray, ...]
    response: np.ndarray
    latents: tuple[np.ndarray, ...]


def draw(settings: Simulation, seed: int) -> Draw:
    """Draw a data set.

    Latents X1, X2, ..., S are N(0, 1). A modality observes ``noise * N(0, 1) + (1 - noise) * Z([Xm, S] T)``, with
    loadings T of N(0, 1) and Z the column-wise standardisation over all samples (part of the generator, so not a leak).
    The response is ``sum_k a_k g_k(latents_k)' b_k + a_I sum_ij B_ij X1_i X2_j``, coefficients uniform on (-3, 3),
    where a random share of the products matters. There is no noise in it, unless ``response_noise`` is r > 0: then the
    response is ``sqrt(1 - r)`` of its z-score and ``sqrt(r)`` of N(0, 1), drawn last.

    Two slips of the authors' code are repeated on request only. ``interaction_coefficients: integers`` cuts the B_ij
    towards 0, so that they are -2 to 2. ``random_streams: reseeded`` draws the authors' numbers: numpy's older
    generator (Mersenne Twister), started again from the seed once coefficients and loadings are drawn, so that latents
    and noise are made of the same random numbers as these. With :func:`metafusion.splits.split_samples` and its
    ``random_state='seed'`` these are their data and their parts.

    Parameters
    ----------
    settings : Simulation
    seed : int
        Of the stream from which everything is drawn: coefficients, loadings, latents, noise.

    References
    ----------
    Liang, Qu, Shahbaba 2025, arXiv 2507.20089.
    """
    start = np.random.RandomState if settings.random_streams == "reseeded" else np.random.default_rng
    random = start(seed)
    private, shared = settings.private_latents, settings.shared_latents
    sizes = (*private, shared)
    coefficients = [random.uniform(-3, 3, size) for size in sizes]
    interactions = np.zeros(private[:2])
    # A modality alone has nobody to interact with.
    products = interactions.size if len(private) > 1 else 0
    mattering = random.permutation(products)[: round(settings.interaction_fraction * products)]
    drawn = random.uniform(-3, 3, len(mattering))
    interactions.flat[mattering] = np.trunc(drawn) if settings.interaction_coefficients == "integers" else drawn
    loadings = [
        random.standard_normal((size + shared, width)) for size, width in zip(private, settings.widths, strict=True)
    ]
    if settings.random_streams == "reseeded":
        random = start(seed)
    latents = tuple(random.standard_normal((settings.samples, size)) for size in sizes)
    observed = tuple(
        (
            noise * random.standard_normal((settings.samples, width))
            + (1 - noise) * StandardScaler().fit_transform(np.hstack([latents[m], latents[-1]]) @ loadings[m])
        ).astype(np.float32)
        for m, (noise, width) in enumerate(zip(settings.noise, settings.widths, strict=True))
    )
    transformed = [_transform(values, how) for values, how in zip(latents, settings.transforms, strict=True)]
    response = sum(a * x @ b for a, x, b in zip(settings.strengths, transformed, coefficients, strict=True))
    if products:
        between = np.einsum("ni,ij,nj->n", latents[0], interactions, latents[1])
        response = response + settings.interaction_strength * between
    share = settings.response_noise
    if share > 0:
        known = StandardScaler().fit_transform(response[:, None])[:, 0]
        response = np.sqrt(1 - share) * known + np.sqrt(share) * random.standard_normal(settings.samples)
    return Draw(observed, response, latents)


def _transform(values: np.ndarray, how: str) -> np.ndarray:
    return values if how == "linear" else np.square(values) - values


def classes_of_response(response: np.ndarray, shares: list[float]) -> np.ndarray:
    """Cut a response into classes: the lowest share of the samples is ``class_1``, the next ``class_2``, and so on.

    Where the cuts lie follows from all samples. This is how the classes are defined, so it is no leak.

    Parameters
    ----------
    response : ndarray, shape (samples,)
    shares : list of float
        Of the classes; they sum to 1.

    Returns
    -------
    ndarray of str, shape (samples,)
    """
    ends = np.rint(np.cumsum(shares) * len(response))[:-1]
    numbers = np.searchsorted(ends, stats.rankdata(response, method="ordinal") - 1, side="right")
    return np.array([f"class_{number + 1}" for number in numbers])


def acquire(source: Simulation, folder: Path, wheels: dict[str, Path], draws: list[int]) -> None:
    """Draw the data set of every seed.

    ``draw_{seed}.safetensors`` holds ``first``, ``second``, ... (samples, width), ``response`` (samples,) and
    ``truth``, all latent variables side by side (samples, number).
    """
    del wheels
    for seed in draws:
        drawn = draw(source, seed)
        arrays = dict(zip(source.modality_names, drawn.observed, strict=True))
        arrays |= {"response": drawn.response, TRUTH: np.hstack(drawn.latents).astype(np.float32)}
        write_arrays(arrays, Path(folder) / f"draw_{seed}.safetensors")


def assemble(source: Simulation, acquired: Path, preprocessed: dict[str, list[Path]]) -> Assembled:
    """Join the draws: each sample belongs to one seed (column ``draw``), and is a subject of its own.

    Beside the modalities stands ``truth``, the latent variables.
    """
    del preprocessed
    samples, features = [], {name: [] for name in (*source.modality_names, TRUTH)}
    for file in sorted(Path(acquired).glob("draw_*.safetensors"), key=_seed_of):
        arrays, seed = read_arrays(file), _seed_of(file)
        names = [f"draw{seed:05d}_{number:05d}" for number in range(len(arrays["response"]))]
        response = arrays["response"]
        target = classes_of_response(response, source.classes) if source.classes else response
        samples.append(pd.DataFrame({"sample": names, "subject": names, "target": target, "draw": seed}))
        for modality, tables in features.items():
            columns = [f"x{number:04d}" for number in range(arrays[modality].shape[1])]
            tables.append(pd.DataFrame(arrays[modality], columns=columns))
    joined = pd.concat(samples, ignore_index=True)
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in features.items()}
    return Assembled(joined, {name: pd.concat([joined["sample"], table], axis=1) for name, table in tables.items()})


def _seed_of(file: Path) -> int:
    return int(file.stem.removeprefix("draw_"))

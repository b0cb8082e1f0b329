"""Representations of a modality: raw features and PCA of several sizes, all fitted on the training part only."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from metafusion.errors import UserError

Representation = Literal["raw", "absent"] | int


def name_of(representation: Representation) -> str:
    """Return the name of a representation: ``raw``, ``absent`` or ``pca40``."""
    return representation if isinstance(representation, str) else f"pca{representation}"


@dataclass(frozen=True)
class Transform:
    """What was fitted for one modality on one training part: enough to map new samples.

    Attributes
    ----------
    medians : ndarray, shape (columns,)
        Stand in for a value missing inside the modality.
    kept : ndarray of bool, shape (columns,)
        Columns that vary in the training part; the others are dropped.
    centre, scale : ndarray, shape (kept columns,)
        Subtracted from and divided out of the kept columns (0 and 1 without scaling).
    absent : ndarray, shape (kept columns,)
        Training mean after scaling; stands for a sample that lacks the modality.
    components : ndarray, shape (largest size, kept columns)
        Principal axes, strongest first. Smaller sizes are prefixes.
    """

    medians: np.ndarray
    kept: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    absent: np.ndarray
    components: np.ndarray

    def apply(self, values: np.ndarray, present: np.ndarray, representation: Representation) -> np.ndarray:
        """Map samples to a representation.

        Parameters
        ----------
        values : ndarray, shape (samples, columns)
            Features; NaN where missing.
        present : ndarray of bool, shape (samples,)
            Which samples have the modality.
        representation : 'raw' or int
            All features, or so many principal components.

        Returns
        -------
        ndarray of float32, shape (samples, width)
        """
        filled = np.where(np.isnan(values), self.medians, values)[:, self.kept]
        scaled = np.where(present[:, None], (filled - self.centre) / self.scale, self.absent)
        if representation == "raw":
            return scaled.astype(np.float32)
        return ((scaled - self.absent) @ self.components[:representation].T).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fitted numbers by name, for storage."""
        return dict(vars(self))


def fit(values: np.ndarray, sizes: list[Representation], scaling: str, where: str) -> Transform:
    """Fit imputation, scaling and PCA on the training samples that have the modality.

    Parameters
    ----------
    values : ndarray, shape (training samples, columns)
        Features; NaN where missing.
    sizes : list
        The representations wanted.
    scaling : 'standard' or 'none'
        Whether columns become z-scores.
    where : str
        Words for messages, e.g. "modality 'csf', seed 3".

    Raises
    ------
    UserError
        No varying column, or more components than training samples or columns.

    Notes
    -----
    Columns without any value, or constant, in the training part are dropped: they carry no information that could be
    learnt, and must not bring in what only other parts know.
    """
    if len(values) < 2:
        raise UserError(f"{where}: {len(values)} training samples have this modality; at least 2 are needed")
    known = ~np.isnan(values).all(axis=0)
    columns = values.astype(np.float64)
    medians = np.zeros(values.shape[1])
    try:
        medians[known] = SimpleImputer(strategy="median").fit(columns[:, known]).statistics_
        filled = np.where(np.isnan(columns), medians, columns)
        kept = VarianceThreshold().fit(filled).get_support()
    except ValueError:
        raise UserError(f"{where}: no feature varies within the training part; remove the modality") from None
    filled = filled[:, kept]
    scaler = StandardScaler(with_mean=scaling == "standard", with_std=scaling == "standard").fit(filled)
    width = filled.shape[1]
    centre = scaler.mean_ if scaling == "standard" else np.zeros(width)
    scale = scaler.scale_ if scaling == "standard" else np.ones(width)
    scaled = (filled - centre) / scale
    numbers = [size for size in sizes if isinstance(size, int)]
    largest = max(numbers, default=0)
    if largest > min(scaled.shape):
        raise UserError(
            f"{where}: {largest} PCA components were asked for, but {scaled.shape[0]} training samples with {width} "
            f"varying features allow at most {min(scaled.shape)}; lower the sizes in 'representations'"
        )
    # The exact solver, once at the largest size: components nest, and its result does not depend on a random start.
    components = PCA(largest, svd_solver="full").fit(scaled).components_ if largest else np.zeros((0, width))
    return Transform(medians, kept, centre, scale, scaled.mean(axis=0), components)


def latents(
    values: np.ndarray, present: np.ndarray, training: np.ndarray, sizes: list[Representation], scaling: str, where: str
) -> tuple[dict[str, np.ndarray], Transform]:
    """Fit on the training samples and map all samples to every representation, the raw one always included.

    Parameters
    ----------
    values : ndarray, shape (samples, columns)
    present, training : ndarray of bool, shape (samples,)
        Which samples have the modality, and which belong to the training part.
    sizes, scaling, where
        See :func:`fit`.

    Returns
    -------
    dict of str to ndarray of float32, shape (samples, width)
        By the representation's name.
    Transform
    """
    transform = fit(values[training & present], sizes, scaling, where)
    # The comparators use raw features whether or not a student does.
    wanted = dict.fromkeys(["raw", *[size for size in sizes if size != "absent"]])
    mapped = {name_of(size): transform.apply(values, present, size) for size in wanted}
    for name, array in mapped.items():
        if not np.isfinite(array).all():
            raise UserError(
                f"{where}: {name} leaves the numbers after scaling; a feature hardly varies in the training "
                "part and is extreme in a sample: remove it, or set 'scaling: none'"
            )
    return mapped, transform

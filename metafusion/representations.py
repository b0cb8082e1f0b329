"""Representations of a modality that need no target: raw features, PCA, and what it shares with the others (PLS)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from sklearn.cross_decomposition import PLSSVD
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from metafusion import fronts
from metafusion.config.models import Representations
from metafusion.errors import UserError


@dataclass(frozen=True)
class Transform:
    """What was fitted for one modality on one training part: enough to map new samples.

    Attributes
    ----------
    medians : ndarray, shape (columns,)
        Stand in for a value missing inside the modality.
    front : ChannelPca, TangentSpace, Active or None
        What is made of the filled-in columns first (see metafusion.fronts); None for nothing. From here on, columns
        are those that come out of it.
    kept : ndarray of bool, shape (columns,)
        Columns that vary in the training part; the others are dropped. All, if they are places of an array.
    centre, scale : ndarray, shape (kept columns,)
        Subtracted from and divided out of the kept columns (0 and 1 without scaling). Places of an array that do not
        vary have an infinite scale, so that they become 0.
    absent : ndarray, shape (kept columns,)
        Training mean after scaling; stands for a sample that lacks the modality.
    components : ndarray, shape (largest size, kept columns)
        Principal axes, or directions shared with other modalities, strongest first. Smaller sizes are prefixes.
    """

    medians: np.ndarray
    front: fronts.AnyFitted | None
    kept: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    absent: np.ndarray
    components: np.ndarray

    def apply(self, values: np.ndarray, present: np.ndarray, number: int | None = None) -> np.ndarray:
        """Map samples to a representation.

        Parameters
        ----------
        values : ndarray, shape (samples, columns)
            Features; NaN where missing.
        present : ndarray of bool, shape (samples,)
            Which samples have the modality.
        number : int or None
            So many of the components; None for all features.

        Returns
        -------
        ndarray of float32, shape (samples, width)
        """
        # Only who has the modality: the others may be nothing that a front can work on.
        filled = np.where(np.isnan(values[present]), self.medians, values[present])
        filled = filled if self.front is None else self.front.apply(filled)
        scaled = np.tile(self.absent, (len(values), 1))
        scaled[present] = (filled[:, self.kept] - self.centre) / self.scale
        if number is None:
            return scaled.astype(np.float32)
        return ((scaled - self.absent) @ self.components[:number].T).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fitted numbers by name, for storage."""
        plain = {name: value for name, value in vars(self).items() if name != "front"}
        before = {} if self.front is None else fronts.arrays(self.front)
        return plain | {f"before.{name}": value for name, value in before.items()}


def fit(
    values: np.ndarray,
    choice: Representations,
    where: str,
    names: Sequence[str] = (),
    before: np.ndarray | None = None,
    others: np.ndarray | None = None,
) -> Transform:
    """Fit imputation, what comes before, scaling and components on the samples to fit on that have the modality.

    Parameters
    ----------
    values : ndarray, shape (samples to fit on, columns)
        Features; NaN where missing.
    choice : Representations
        The representations wanted, and how columns are scaled.
    where : str
        Words for messages, e.g. "modality 'csf', seed 3".
    names : sequence of str
        Names of the columns; only a front reads them.
    before : ndarray, shape (other samples to fit on, columns), or None
        Samples to fit the front on; None for ``values``.
    others : ndarray, shape (samples to fit on, columns of all other modalities), or None
        Filled in and scaled; with ``extractor: pls`` only.

    Raises
    ------
    UserError
        No varying column, more components than training samples or columns, columns that do not fill the shape of an
        array, or columns that the front cannot work on.

    Notes
    -----
    Columns without any value, or constant, in the training part are dropped: they carry no information that could be
    learnt, and must not bring in what only other parts know. Places of an array become 0 instead.
    """
    if len(values) < 2:
        raise UserError(f"{where}: {len(values)} training samples have this modality; at least 2 are needed")
    known = ~np.isnan(values).all(axis=0)
    nothing = UserError(f"{where}: no feature varies within the training part; remove the modality")
    if not known.any():
        raise nothing
    columns = values.astype(np.float64)
    medians = np.zeros(values.shape[1])
    medians[known] = SimpleImputer(strategy="median").fit(columns[:, known]).statistics_
    filled, front = np.where(np.isnan(columns), medians, columns), None
    if choice.before.kind != "none":
        others = values if before is None else before
        others = np.where(np.isnan(others), medians, others.astype(np.float64))
        front = fronts.fit(others, names, choice.before, where)
        filled = front.apply(filled)
    try:
        varying = VarianceThreshold().fit(filled).get_support()
    except ValueError:
        raise nothing from None
    if choice.shape and prod(choice.shape) != filled.shape[1]:
        after = f" after 'before: {choice.before.kind}'" if front else ""
        raise UserError(
            f"{where}: 'shape: {choice.shape}' has {prod(choice.shape)} places, but there are {filled.shape[1]} "
            f"features{after}; correct it in 'representations'"
        )
    kept = np.ones_like(varying) if choice.shape else varying
    filled = filled[:, kept]
    width = filled.shape[1]
    centre, scale = np.zeros(width), np.ones(width)
    if choice.scaling == "standard":
        scaler = StandardScaler().fit(filled)
        centre, scale = scaler.mean_, scaler.scale_
    scale = np.where(varying[kept], scale, np.inf)
    scaled = (filled - centre) / scale
    largest = max(choice.components, default=0)
    shared = others if choice.extractor == "pls" else None
    if shared is None and choice.extractor == "pls":
        raise ValueError("what is shared with other modalities cannot be found without them")
    most = min(*scaled.shape, *(() if shared is None else shared.shape))
    if largest > most:
        beside = "" if shared is None else f", and {shared.shape[1]} of the other modalities,"
        raise UserError(
            f"{where}: {largest} {choice.extractor.upper()} components were asked for, but {scaled.shape[0]} training "
            f"samples with {width} varying features{beside} allow at most {most}; lower the sizes in 'representations'"
        )
    if not largest:
        components = np.zeros((0, width))
    elif shared is not None:
        components = shared_directions(scaled, shared, largest)
    else:
        # The exact solver, once at the largest size: components nest, and do not depend on a random start.
        components = PCA(largest, svd_solver="full").fit(scaled).components_
    return Transform(medians, front, kept, centre, scale, scaled.mean(axis=0), components)


def shared_directions(own: np.ndarray, others: np.ndarray, number: int) -> np.ndarray:
    """Return the directions of a modality whose covariance with directions of the others is largest.

    Parameters
    ----------
    own, others : ndarray, shape (samples, columns) and (samples, other columns)
    number : int

    Returns
    -------
    ndarray, shape (number, columns)
        Orthonormal, the largest covariance first: the left singular vectors of the cross-covariance matrix. Smaller
        numbers are prefixes.

    References
    ----------
    Wegelin (2000), A survey of partial least squares (PLS) methods, with emphasis on the two-block case: "PLS-SVD".
    """
    # Where there are more columns than samples, their scores say the same, and the matrix stays small.
    axes = np.eye(own.shape[1])
    if own.shape[1] > len(own):
        rotation = PCA(svd_solver="full").fit(own)
        own, axes = rotation.transform(own), rotation.components_
    if others.shape[1] > len(others):
        others = PCA(svd_solver="full").fit_transform(others)
    return PLSSVD(number, scale=False).fit(own, others).x_weights_.T @ axes


def latents(
    values: np.ndarray,
    present: np.ndarray,
    fitting: np.ndarray,
    choice: Representations,
    where: str,
    names: Sequence[str] = (),
    before: np.ndarray | None = None,
    others: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], Transform]:
    """Fit, and map all samples to raw features, which are always included, and to their components.

    Parameters
    ----------
    values : ndarray, shape (samples, columns)
    present, fitting : ndarray of bool, shape (samples,)
        Which samples have the modality, and which belong to the part to fit on.
    choice, where, names
        See :func:`fit`.
    before : ndarray of bool, shape (samples,), or None
        Which samples belong to the part to fit the front on; None for ``fitting``.
    others : ndarray, shape (samples, columns of all other modalities), or None
        See :func:`fit`.

    Returns
    -------
    dict of str to ndarray of float32, shape (samples, width)
        By the representation's name.
    Transform
    """
    fitted_before = None if before is None else values[before & present]
    fitted_others = None if others is None else others[fitting & present]
    transform = fit(values[fitting & present], choice, where, names, fitted_before, fitted_others)
    # The comparators use raw features whether or not a student does.
    mapped = {"raw": transform.apply(values, present)}
    for number in choice.components:
        mapped[f"{choice.extractor}{number}"] = transform.apply(values, present, number)
    for name, array in mapped.items():
        if not np.isfinite(array).all():
            raise UserError(
                f"{where}: {name} leaves the numbers after scaling; a feature hardly varies in the training "
                "part and is extreme in a sample: remove it, or set 'scaling: none'"
            )
    return mapped, transform

"""What comes before scaling: channel-wise PCA, covariance in the tangent space, active columns; fitted on some samples.

Every front is fitted on filled-in columns of the samples that it is given and no others, and then maps each sample by
itself.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from sklearn.decomposition import PCA

from metafusion.config.fronts import Front
from metafusion.errors import UserError
from metafusion.preprocess.trials import array_axes, array_shape

_SECONDS = re.compile(r"_t-?\d+\.\d+$")
"""How the name of a cell of an array ends. Times have decimals, so that a unit called ``hc_t3`` is none."""
MOST_REMEMBERED = 1000
_REMEMBERED: dict[tuple[bytes, tuple[int, ...], str], tuple[np.ndarray, bool]] = {}
"""Covariances of single samples, which depend on nothing else."""


@dataclass(frozen=True)
class ChannelPca:
    """Principal components of each channel's time course.

    Attributes
    ----------
    centre : ndarray, shape (channels, times)
        Mean time courses.
    axes : ndarray, shape (channels, components, times)
        Principal axes of each channel, strongest first; 0 where the samples fitted on do not differ any more.
    """

    centre: np.ndarray
    axes: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Map samples x (channels · times) to samples x (components · channels), the first components first."""
        courses = values.reshape(len(values), *self.centre.shape) - self.centre
        scores = courses.transpose(1, 0, 2) @ self.axes.transpose(0, 2, 1)
        return scores.transpose(1, 2, 0).reshape(len(values), -1)


@dataclass(frozen=True)
class TangentSpace:
    """Covariances over time, in the tangent space at their Riemannian mean.

    Attributes
    ----------
    reference : ndarray, shape (channels, channels)
        The mean.
    estimator : str
        See :class:`metafusion.config.fronts.Front`.
    where : str
        Words for messages.
    """

    reference: np.ndarray
    estimator: str
    where: str

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Map samples x (channels · times) to samples x (channels · (channels + 1) / 2).

        The columns are the upper triangle of the logarithm, row by row; beside the diagonal multiplied by the square
        root of 2, so that lengths stay.
        """
        from pyriemann.geometry.tangentspace import tangent_space

        channels = len(self.reference)
        if not len(values):
            return np.zeros((0, channels * (channels + 1) // 2))
        covariances = _covariances(values.reshape(len(values), channels, -1), self.estimator, self.where)
        return tangent_space(covariances, self.reference, metric="riemann")


@dataclass(frozen=True)
class Active:
    """Columns that vary and are not silent.

    Attributes
    ----------
    active : ndarray of bool, shape (columns,)
    """

    active: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Keep the active columns."""
        return values[:, self.active]


AnyFitted = ChannelPca | TangentSpace | Active


def fit(values: np.ndarray, columns: Sequence[str], front: Front, where: str) -> AnyFitted:
    """Fit a front on samples.

    Parameters
    ----------
    values : ndarray of float64, shape (samples to fit on, columns)
        Without missing values.
    columns : sequence of str
        Their names. Those of an array of channels and times, channel by channel, are as
        :func:`metafusion.preprocess.trials.array_names` writes them.
    front : Front
        Any kind but 'none'.
    where : str
        Words for messages, e.g. "modality 'lfp', seed 3".

    Raises
    ------
    UserError
        Fewer than two samples, columns that are no array, more components than samples or times allow, a covariance
        without an inverse, or nothing active.

    References
    ----------
    Barachant, Bonnet, Congedo, Jutten 2012, IEEE Transactions on Biomedical Engineering 59(4) (tangent space).
    """
    if len(values) < 2:
        raise UserError(f"{where}: {len(values)} samples to fit 'before' on have this modality; at least 2 are needed")
    if front.kind == "active":
        return _active(values, columns, front, where)
    try:
        channels, times = array_shape(columns)
    except UserError as error:
        raise UserError(
            f"{where}: 'before: {front.kind}' needs an array of channels and times: {error}; or remove 'before'"
        ) from None
    courses = values.reshape(len(values), channels, times)
    if front.kind == "channel_pca":
        return _channel_pca(courses, front.components, where)
    from pyriemann.geometry.mean import mean_riemann

    covariances = _covariances(courses, front.estimator, where)
    return TangentSpace(mean_riemann(covariances), front.estimator, where)


def arrays(fitted: AnyFitted) -> dict[str, np.ndarray]:
    """Return the fitted numbers by name, for storage."""
    return {name: value for name, value in vars(fitted).items() if isinstance(value, np.ndarray)}


def left_out(fitted: AnyFitted | None, columns: Sequence[str]) -> list[str]:
    """Name the columns that a front leaves out; of an array, the units."""
    if not isinstance(fitted, Active):
        return []
    return list(dict.fromkeys(np.array(_units(columns))[~fitted.active].tolist()))


def _channel_pca(courses: np.ndarray, components: int, where: str) -> ChannelPca:
    samples, channels, times = courses.shape
    # As many samples as components leave nothing to the last one: their differences from the mean have one rank less.
    most = min(samples - 1, times)
    if components > most:
        raise UserError(
            f"{where}: 'before: channel_pca' was asked for {components} components a channel, but {samples} samples to "
            f"fit on with {times} times allow at most {most}; lower 'components' in 'before'"
        )
    centre, axes = courses.mean(axis=0), np.zeros((channels, components, times))
    for channel in range(channels):
        course = courses[:, channel]
        if (course == course[0]).all():
            continue
        # The exact solver, whose result does not depend on a random start.
        pca = PCA(components, svd_solver="full").fit(course)
        strengths = pca.singular_values_
        lasting = strengths > strengths[0] * max(course.shape) * np.finfo(np.float64).eps
        axes[channel, lasting] = pca.components_[lasting]
    return ChannelPca(centre, axes)


def _covariance(course: np.ndarray, estimator: str) -> tuple[np.ndarray, bool]:
    """Return a sample's covariance, and whether it has an inverse. Remembered: every seed asks for it again."""
    from pyriemann.geometry.covariance import covariances

    # By a digest: the courses themselves would be kept, too, and are large.
    key = blake2b(course.tobytes()).digest(), course.shape, estimator
    if key not in _REMEMBERED:
        if len(_REMEMBERED) == MOST_REMEMBERED:
            _REMEMBERED.clear()
        found = covariances(course[np.newaxis], estimator=estimator)[0]
        strengths = np.linalg.eigvalsh(found)
        _REMEMBERED[key] = found, strengths[0] > strengths[-1] * len(course) * np.finfo(np.float64).eps
    return _REMEMBERED[key]


def _covariances(courses: np.ndarray, estimator: str, where: str) -> np.ndarray:
    """Return the covariance of the channels over time, of each sample by itself."""
    found = [_covariance(course, estimator) for course in courses]
    bad = np.array([not invertible for _, invertible in found])
    if bad.any():
        _, channels, times = courses.shape
        remedy = (
            "set 'estimator: oas' in 'before', or use fewer channels"
            if estimator == "scm"
            else "leave out samples in which every channel is flat"
        )
        raise UserError(
            f"{where}: 'before: tangent_space' finds a covariance without an inverse in {bad.sum()} of {len(bad)} "
            f"samples ({channels} channels, {times} times, 'estimator: {estimator}'), as with few times, an average "
            f"reference or a flat channel; {remedy}"
        )
    return np.stack([covariance for covariance, _ in found])


def _units(columns: Sequence[str]) -> list[str]:
    """Return what each column is of: the unit or channel of an array's cell, else the column itself."""
    if not all(_SECONDS.search(column) for column in columns):
        return list(columns)
    units, times = array_axes(columns)
    return [unit for unit in units for _ in times]


def _active(values: np.ndarray, columns: Sequence[str], front: Front, where: str) -> Active:
    unit_of = np.unique(np.array(_units(columns)), return_inverse=True)[1]
    number = unit_of.max() + 1
    rate = np.bincount(unit_of, values.mean(axis=0), number) / np.bincount(unit_of, minlength=number)
    variance = np.zeros(number)
    np.maximum.at(variance, unit_of, values.var(axis=0))
    active = variance > front.minimum_variance
    limits = f"the largest variance is {variance.max():.3g}, and more than {front.minimum_variance:g} is needed"
    if front.minimum_rate is not None:
        active &= rate >= front.minimum_rate
        limits += f"; the largest mean is {rate.max():.3g}, and at least {front.minimum_rate:g} is needed"
    if not active.any():
        raise UserError(
            f"{where}: 'before: active' leaves nothing of {number} columns or units ({limits}); lower "
            "'minimum_variance' or 'minimum_rate' in 'before'"
        )
    return Active(active[unit_of])

"""Spike trains cut into trials: count them in bins, and describe each trial by counts or rates of every unit.

Nothing here uses one trial to change another. Times are in seconds; counts have shape (trials, units, bins).
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d

from metafusion.config.trials import SpikeFeatures, exact
from metafusion.errors import UserError
from metafusion.preprocess.tables import shortened
from metafusion.preprocess.trials import array_names

log = logging.getLogger("metafusion")

NEARLY = 1e-9
"""Seconds before an edge at which a spike still counts as on it: far less than a sample of any recording, and more than
the last bits that sums of times lose."""


def bin_edges(window: tuple[float, float], bin_width: float) -> np.ndarray:
    """Return the edges of equal bins that fill a window: ``start + k * width``, without the drift of floats.

    Parameters
    ----------
    window : (float, float)
        Start (inside) and stop (outside) in seconds.
    bin_width : float
        In seconds.

    Returns
    -------
    ndarray, shape (bins + 1,)

    Raises
    ------
    UserError
        The window is no whole number of bins.

    Examples
    --------
    >>> bin_edges((0, 0.4), 0.1).tolist()
    [0.0, 0.1, 0.2, 0.3, 0.4]
    """
    (start, stop), width = map(exact, window), exact(bin_width)
    bins = (stop - start) / width
    if bins < 1 or bins.denominator != 1:
        raise UserError(
            f"bin_width: {bin_width:g} s does not divide the window from {window[0]:g} to {window[1]:g} s, which has "
            f"{float(bins):.4g} bins; expected a whole number of them; change the window or the width"
        )
    return np.array([float(start + k * width) for k in range(int(bins) + 1)])


def bin_spikes(
    spike_times: Sequence[np.ndarray], onsets: np.ndarray, window: tuple[float, float], bin_width: float
) -> np.ndarray:
    """Count the spikes of every unit in equal bins around every onset.

    A spike on an edge (or less than :data:`NEARLY` seconds before it) belongs to the later bin, so that every spike
    from the start of the window to its stop is in one bin, and one on the stop in none. Trials may overlap: a spike
    then counts in each.

    Parameters
    ----------
    spike_times : sequence of ndarray, length units
        Times of each unit's spikes in seconds, in any order.
    onsets : ndarray, shape (trials,)
        In seconds, by the same clock.
    window : (float, float)
        Start (inside) and stop (outside) in seconds from the onset.
    bin_width : float
        In seconds; must divide the window.

    Returns
    -------
    ndarray of int32, shape (trials, units, bins)

    Raises
    ------
    UserError
        The bins do not fill the window; a time is not finite.

    Examples
    --------
    >>> bin_spikes([np.array([0.1, 0.3, 0.35])], np.array([0.0]), (0, 0.4), 0.1).tolist()
    [[[0, 1, 0, 2]]]
    """
    onsets = np.asarray(onsets, dtype=float)
    edges = onsets[:, None] + bin_edges(window, bin_width)
    counts = np.empty((len(onsets), len(spike_times), edges.shape[1] - 1), dtype=np.int32)
    for number, times in enumerate(spike_times):
        times = np.sort(np.asarray(times, dtype=float))
        if not (np.isfinite(edges).all() and np.isfinite(times).all()):
            raise UserError("a time of a spike or an onset is not finite; expected seconds; remove it")
        # Times of a clock that counts from long ago have fewer decimals.
        largest = max(np.abs(edges).max(initial=0), np.abs(times[[0, -1]]).max() if len(times) else 0)
        before = np.searchsorted(times, edges - max(NEARLY, 4 * np.spacing(largest)), side="left")
        counts[:, number] = np.diff(before, axis=1)
    return counts


def silent_units(counts: np.ndarray, units: Sequence[str]) -> list[str]:
    """Return the names of the units without a spike in any trial."""
    return [unit for unit, any_spike in zip(units, counts.any(axis=(0, 2)), strict=True) if not any_spike]


def spike_features(
    counts: np.ndarray, edges: np.ndarray, units: Sequence[str], settings: SpikeFeatures
) -> pd.DataFrame:
    """Describe every trial by the spikes of each unit.

    The count is of the whole window, of bins of it, or of bins after each spike was spread by a gaussian. The gaussian
    is reflected at the ends of the window, so it loses no spike and looks at nothing outside. A rate is the count over
    the duration. The transforms come last, and are meant for counts.

    Parameters
    ----------
    counts : ndarray of integers, shape (trials, units, bins)
    edges : ndarray, shape (bins + 1,)
        In seconds.
    units : sequence of str, length units
    settings : SpikeFeatures

    Returns
    -------
    DataFrame, shape (trials, units or units * bins)
        float32; columns ``{unit}``, or ``{unit}_t{seconds}`` (centre of the bin), all bins of a unit together. A count
        has no unit, a rate is per second.

    Raises
    ------
    UserError
        The bins asked for are not made of whole bins of ``edges``.

    References
    ----------
    Anscombe 1948, Biometrika 35:246 (2 sqrt(x + 3/8) of a Poisson number has nearly the variance 1).
    """
    # 64 bits before any sum: counts may come as uint8.
    values = np.asarray(counts).astype(np.float64)
    edges = np.asarray(edges, dtype=float)
    if settings.count == "total":
        edges = edges[[0, -1]]
        values = values.sum(axis=-1, keepdims=True)
    else:
        if settings.count == "smoothed":
            values = _smoothed(values, edges, settings.smoothing)
        values, edges = _merged(values, edges, settings)
    if settings.rate:
        values = values / np.diff(edges)
    if settings.transform == "square_root":
        values = np.sqrt(values)
    elif settings.transform == "anscombe":
        values = 2 * np.sqrt(values + 3 / 8)
    names = list(units) if settings.count == "total" else array_names(units, (edges[:-1] + edges[1:]) / 2)
    return pd.DataFrame(values.reshape(len(values), -1).astype(np.float32), columns=names)


def _smoothed(values: np.ndarray, edges: np.ndarray, smoothing: float) -> np.ndarray:
    widths = np.diff(edges)
    if not np.allclose(widths, widths[0], rtol=1e-6, atol=0):
        raise UserError(
            f"smoothing: bins of {widths.min():g} to {widths.max():g} s cannot be smoothed; expected equal bins"
        )
    return gaussian_filter1d(values, smoothing / widths.mean(), axis=-1, mode="reflect")


def _merged(values: np.ndarray, edges: np.ndarray, settings: SpikeFeatures) -> tuple[np.ndarray, np.ndarray]:
    """Sum neighbouring bins to those that are asked for."""
    if not (settings.bins or settings.bin_width):
        return values, edges
    bins = settings.bins or (edges[-1] - edges[0]) / settings.bin_width
    asked = np.linspace(edges[0], edges[-1], max(round(bins), 1) + 1)
    places = np.abs(edges[:, None] - asked).argmin(axis=0)
    whole = abs(bins - round(bins)) < 1e-6 and len(set(places)) == len(places)
    if not whole or not np.allclose(edges[places], asked, rtol=0, atol=NEARLY):
        what = f"bins: {settings.bins}" if settings.bins else f"bin_width: {settings.bin_width:g} s"
        raise UserError(
            f"{what} cannot be made of the {len(edges) - 1} bins of {np.diff(edges).mean():g} s, from {edges[0]:g} to "
            f"{edges[-1]:g} s, in which the spikes were counted; take bins of some whole ones, or count in finer bins"
        )
    return np.add.reduceat(values, places[:-1], axis=-1), edges[places]


def name_silent(counts: np.ndarray, units: Sequence[str], where: str) -> list[str]:
    """Log and return the units without a spike in any trial: they say nothing, and a filter may drop them."""
    silent = silent_units(counts, units)
    if silent:
        log.warning(
            "%s: %d of %d units have no spike in any trial: %s", where, len(silent), len(units), shortened(silent, 20)
        )
    return silent

"""What the simulated examples are made of: rhythms, ramps, and the times of spikes."""

import numpy as np
from scipy.signal import butter, sosfiltfilt

from metafusion.sources.odor_simulated import pink

__all__ = ["pink", "place_in", "rhythm", "spike_times"]


def rhythm(draw: np.random.Generator, shape: tuple[int, ...], rate: float, band: tuple[float, float]) -> np.ndarray:
    """Draw noise of a band of frequencies (Hz) along the last axis, with a standard deviation of 1."""
    sections = butter(2, band, "bandpass", fs=rate, output="sos")
    values = sosfiltfilt(sections, draw.normal(size=shape))
    return values / values.std(axis=-1, keepdims=True)


def place_in(values: np.ndarray, rate: float, onset: float, course: tuple[list[float], list[float]]) -> None:
    """Add a course to a signal in place, around an event.

    Parameters
    ----------
    values : ndarray, shape (times,)
    rate : float
    onset : float
        Of the event, in s.
    course : pair of lists
        Times in s from the event, and the values there; linear in between, and nothing outside.
    """
    times = np.arange(len(values)) / rate - onset
    values += np.interp(times, *course, left=0, right=0)


def spike_times(draw: np.random.Generator, rates: np.ndarray, step: float) -> list[np.ndarray]:
    """Draw the spikes of Poisson units.

    Parameters
    ----------
    draw : Generator
    rates : ndarray, shape (units, bins)
        In spikes per second.
    step : float
        Width of a bin in s; the first begins at 0.

    Returns
    -------
    list of ndarray
        Of each unit the times in s, ascending, in whole tenths of a millisecond.
    """
    bins = np.arange(rates.shape[1])
    counts = draw.poisson(rates * step)
    trains = [np.repeat(bins, row) + draw.uniform(size=row.sum()) for row in counts]
    return [np.sort(np.floor(train * step * 1e4) / 1e4) for train in trains]

"""A simulated rat in the odour sequence task, in exactly the layout of the recorded ones (see :mod:`.odor_rats`).

Poisson units fire in a field of time, more or less so by the odour. The LFP is 1/f noise, partly shared by the
tetrodes, with a burst of theta and one of gamma whose time and place say the odour. No number stems from an animal.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metafusion.config.odor import ODORS, OdorSimulated
from metafusion.files import whole
from metafusion.samples import Assembled
from metafusion.sources import odor_rats

BINS, WIDTH, START = 400, 0.01, -2.0
"""Bins of every trial, their width and the beginning of the first one, in s from the poke."""

THETA, GAMMA = 8.0, 32.0
"""Frequencies of the bursts in Hz."""
BURSTS = {THETA: (0.12, 0.12), GAMMA: (0.08, 0.05)}
"""Of each burst: amplitude in mV at a strength of 1 on the tetrode that has most of it, and half width (one standard
deviation) in s."""
FIRST_BURST, NEXT_BURST = 0.10, 0.09
"""When the burst of the first odour is, and how much later that of each further one, in s from the poke."""
JITTER = 0.5
"""Standard deviation of a burst's phase from trial to trial, in rad."""
BACKGROUND, SHARED = 0.15, 0.6
"""Standard deviation of the LFP's background in mV, and the share of its variance that all tetrodes have in common."""

FIELD, TUNING = 0.15, 0.6
"""Half width of a unit's field in s; standard deviation, over units and odours, of the log rate inside it at a strength
of 1."""


def centres() -> np.ndarray:
    """Return the middle of each bin in s from the poke, shape (bins,)."""
    return START + (np.arange(BINS) + 0.5) * WIDTH


def acquire(source: OdorSimulated, folder: Path, wheels: Mapping[str, Path], draws: Sequence[int] = ()) -> None:
    """Write the rat's three files as a recorded rat's.

    Parameters
    ----------
    source : OdorSimulated
    folder : path
        Empty. Gets ``<Rat>/<rat>_lfp_data_sampled.npy`` (float32, trial x time x tetrode, mV),
        ``<rat>_spike_data_binned.npy`` (uint8, trial x unit x time) and ``<rat>_trial_info.npy`` (int64, trial x 4).
    wheels, draws
        Unused.
    """
    info = trials(source)
    odors = info[:, 3] - 1
    arrays = {"lfp": lfp(source, odors), "spikes": spikes(source, odors), "trials": info}
    for name, path in source.files(Path(folder)).items():
        with whole(path) as unfinished, unfinished.open("wb") as file:
            np.save(file, arrays[name], allow_pickle=False)


def trials(source: OdorSimulated) -> np.ndarray:
    """Draw the trials in the order of the session.

    Returns
    -------
    ndarray of int64, shape (trials, 4)
        Correct (0, 1), in sequence (0, 1), position (1 to 5) and odour (1 to 5). In sequence, the odour is the
        position's; out of sequence it is another. Positions and odours of the further trials are drawn evenly.
    """
    draw = np.random.default_rng([source.random_state, 0])
    odors = np.repeat([ODORS.index(name) + 1 for name in source.trials], list(source.trials.values()))
    known = np.array([ODORS.index(name) + 1 for name in source.trials])
    wrong = draw.choice(known, source.incorrect)
    # The first odour of a sequence is always the right one.
    places = draw.integers(2, len(ODORS) + 1, source.out_of_sequence)
    strange = np.array([draw.choice(known[known != place]) for place in places], dtype=int)
    rows = [
        *([1, 1, odor, odor] for odor in odors),
        *([0, 1, odor, odor] for odor in wrong),
        *([1, 0, place, odor] for place, odor in zip(places, strange, strict=True)),
    ]
    return draw.permutation(np.array(rows, dtype=np.int64))


def responses(alike: Sequence[Sequence[str]]) -> np.ndarray:
    """Return for each odour the one whose response it has: itself, or the first of those that are alike.

    Examples
    --------
    >>> responses([["C", "D"]]).tolist()
    [0, 1, 2, 2, 4]
    """
    same = np.arange(len(ODORS))
    for group in alike:
        numbers = [ODORS.index(name) for name in group]
        same[numbers] = min(numbers)
    return same


def lfp(source: OdorSimulated, odors: np.ndarray) -> np.ndarray:
    """Draw the local field potential.

    Parameters
    ----------
    source : OdorSimulated
    odors : ndarray of int, shape (trials,)
        From 0.

    Returns
    -------
    ndarray of float32, shape (trials, bins, channels)
        In mV.
    """
    draw = np.random.default_rng([source.random_state, 1])
    count, channels, times = len(odors), source.channels, centres()
    common = pink(draw, (count, 1, BINS))
    values = BACKGROUND * (np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * pink(draw, (count, channels, BINS)))
    response = responses(source.lfp_alike)[odors]
    for frequency, (amplitude, width) in BURSTS.items():
        # How much of the burst each tetrode has, and where in the wave it is, by odour.
        gains = draw.uniform(0.2, 1, (len(ODORS), channels))
        phases = draw.uniform(-np.pi, np.pi, (len(ODORS), channels))
        middle = (FIRST_BURST + NEXT_BURST * response)[:, None, None]
        jitter = JITTER * draw.normal(size=(count, 1, 1))
        wave = np.cos(2 * np.pi * frequency * (times - middle) + phases[response][..., None] + jitter)
        envelope = np.exp(-0.5 * ((times - middle) / width) ** 2)
        values += source.lfp_strength * amplitude * gains[response][..., None] * envelope * wave
    return values.transpose(0, 2, 1).astype(np.float32)


def pink(draw: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw noise along the last axis whose power falls as 1/f, with a variance of 1 (on average), at any rate."""
    frequencies = np.fft.rfftfreq(shape[-1], WIDTH)
    gain = np.zeros(len(frequencies))
    gain[1:] = frequencies[1:] ** -0.5
    # By Parseval, white noise through this gain has the mean of its squares (both sides of the spectrum) as variance.
    gain /= np.sqrt((2 * np.sum(gain[1:-1] ** 2) + gain[-1] ** 2) / shape[-1])
    return np.fft.irfft(gain * np.fft.rfft(draw.normal(size=shape)), shape[-1])


def rates(source: OdorSimulated) -> np.ndarray:
    """Draw how often each unit fires. Before the poke it does not depend on the odour.

    Returns
    -------
    ndarray, shape (odours, units, bins)
        Spikes per second. The last ``silent_units`` have none.
    """
    return np.where(centres() < 0, _rates(source, informed=False), _rates(source, informed=True))


def _rates(source: OdorSimulated, informed: bool) -> np.ndarray:
    draw = np.random.default_rng([source.random_state, 2])
    baseline = np.exp(draw.normal(np.log(3.0), 0.7, source.units))
    fields = np.exp(-0.5 * ((centres() - draw.uniform(-0.25, 0.75, source.units)[:, None]) / FIELD) ** 2)
    tuning = TUNING * draw.normal(size=(len(ODORS), source.units))[responses(source.spikes_alike)]
    # Everybody fires more in the field; which odour it is only changes how much more.
    heights = 1.0 + source.spike_strength * informed * tuning[..., None]
    values = baseline[:, None] * np.exp(fields * heights)
    values[:, source.units - source.silent_units :] = 0
    return values


def spikes(source: OdorSimulated, odors: np.ndarray) -> np.ndarray:
    """Draw the spike counts.

    Parameters
    ----------
    source : OdorSimulated
    odors : ndarray of int, shape (trials,)
        From 0.

    Returns
    -------
    ndarray of uint8, shape (trials, units, bins)
    """
    draw = np.random.default_rng([source.random_state, 3])
    expected = _rates(source, informed=True) * WIDTH
    counts = np.stack([draw.poisson(expected[odor]) for odor in odors])
    # A stream of its own, so that what happens before the poke does not change what comes after it.
    draw, before = np.random.default_rng([source.random_state, 4]), centres() < 0
    expected = _rates(source, informed=False)[..., before] * WIDTH
    counts[..., before] = np.stack([draw.poisson(expected[odor]) for odor in odors])
    return np.minimum(counts, np.iinfo(np.uint8).max).astype(np.uint8)


def preprocess(source: OdorSimulated, unit: str, chunk: str, acquired: Path, folder: Path) -> None:
    """Read the files as those of a recorded rat; see :func:`metafusion.sources.odor_rats.preprocess`."""
    odor_rats.preprocess(source, unit, chunk, acquired, folder)


def assemble(source: OdorSimulated, acquired: Path, preprocessed: Mapping[str, Sequence[Path]]) -> Assembled:
    """Join what was preprocessed; see :func:`metafusion.sources.odor_rats.assemble`."""
    return odor_rats.assemble(source, acquired, preprocessed)


def look(
    source: OdorSimulated, samples: pd.DataFrame, preprocessed: Mapping[str, Sequence[Path]], folder: Path
) -> None:
    """Draw the trials; see :func:`metafusion.sources.odor_rats.look`."""
    odor_rats.look(source, samples, preprocessed, folder)

"""A simulated session of a rat that smells odours: tables of spike times, units and trials, and the LFP beside them.

Units of the hippocampus (CA1) and of the prefrontal cortex (PFC) fire in the first half second after the poke, more or
less so by the odour; CA1 does not tell C from D, and PFC does not tell A from B. The LFP has bursts of theta and gamma
whose size and place depend on the odour. No number stems from an animal.
"""

from pathlib import Path

import mne
import numpy as np
import pandas as pd

from metafusion.examples.draws import pink, rhythm, spike_times
from metafusion.files import write_table
from metafusion.preprocess.signals import forget_machine

ODOURS = ["A", "B", "C", "D"]
ALIKE = {"CA1": {"D": "C"}, "PFC": {"B": "A"}}
"""By region: odours to which the units respond as to another."""
CHANNELS = [f"{region}_{number}" for region in ALIKE for number in (1, 2, 3)]
RATE = 600.0  # Hz
STEP = 0.005
"""Bins in which rates change, in s."""

UNITS = {"CA1": 18, "PFC": 14}
SILENT = 2
"""Units of each region that never fire: the last ones."""
TUNING = 0.45
"""Standard deviation, over units and odours, of the log rate in the field of time."""
BACKGROUND, SHARED = 0.12, 0.6
"""Standard deviation of the LFP's 1/f background in mV, and the share of its variance that all channels share."""
BURSTS = {(6, 10): 0.10, (50, 80): 0.02}
"""Amplitude in mV by band in Hz."""


def place(**_: int) -> Path:
    """Return where the experiment looks."""
    return Path("data/spikes_and_lfp")


def experiment(**_: int) -> str:
    """Return the experiment that reads it."""
    return "spikes_and_lfp"


def fill(folder: Path, seed: int, trials: int = 200) -> None:
    """Write the four files of a session into an empty folder.

    Parameters
    ----------
    folder : path
        Gets ``rat1_day1_spikes.tsv`` (``unit``, ``time`` in s), ``rat1_day1_units.tsv`` (``unit``, ``region``),
        ``rat1_day1_trials.tsv`` (``poke`` in s, ``odour``, ``correct``) and ``rat1_day1_raw.fif``.
    seed : int
    trials : int
        Pokes. Some are of the odour E, some are not correct, one begins before the one before has ended, and over one
        the LFP has an artefact.
    """
    draw = np.random.default_rng([seed, 0])
    odours = np.resize([*ODOURS * 4, "E"], trials)[draw.permutation(trials)]
    pokes = np.round(3 + np.cumsum(draw.uniform(1.2, 1.8, trials)), 4)
    pokes[trials // 2] = pokes[trials // 2 - 1] + 0.3
    correct = (draw.uniform(size=trials) > 0.1).astype(int)
    # The two that show why trials are left out are not left out for something else.
    used = [trials // 2 - 1, trials // 2, trials // 3]
    odours[used], correct[used] = ["A", "B", "C"], 1
    write_table(pd.DataFrame({"poke": pokes, "odour": odours, "correct": correct}), folder / "rat1_day1_trials.tsv")
    length = float(np.ceil(pokes[-1] + 3))
    spikes, units = [], []
    for number, region in enumerate(UNITS):
        rates = draw_rates(np.random.default_rng([seed, 1, number]), region, pokes, odours, length)
        trains = spike_times(np.random.default_rng([seed, 2, number]), rates, STEP)
        names = [f"{region}_{unit}" for unit in range(1, len(trains) + 1)]
        units.append(pd.DataFrame({"unit": names, "region": region}))
        spikes += [pd.DataFrame({"unit": name, "time": train}) for name, train in zip(names, trains, strict=True)]
    write_table(pd.concat(units), folder / "rat1_day1_units.tsv")
    write_table(pd.concat(spikes).sort_values("time", kind="stable").round(4), folder / "rat1_day1_spikes.tsv")
    values = draw_lfp(np.random.default_rng([seed, 3]), pokes, odours, length)
    start = round(pokes[trials // 3] * RATE)
    values[:, start + 30 : start + 60] += 6.0
    info = mne.create_info(CHANNELS, RATE, "eeg", verbose="WARNING")
    info["description"] = "simulated by metafusion.examples"
    path = folder / "rat1_day1_raw.fif"
    mne.io.RawArray(values * 1e-3, info, verbose="WARNING").save(path, fmt="single", verbose="WARNING")
    forget_machine(path)


def draw_rates(
    draw: np.random.Generator, region: str, pokes: np.ndarray, odours: np.ndarray, length: float
) -> np.ndarray:
    """Draw how often each unit of a region fires.

    Returns
    -------
    ndarray, shape (units, bins of :data:`STEP`)
        In spikes per second.
    """
    count = UNITS[region]
    rates = np.exp(draw.normal(np.log(4.0), 0.6, count))[:, None] * np.ones((1, round(length / STEP)))
    middles = draw.uniform(0.1, 0.45, count)
    tuning = {odour: 1 + TUNING * draw.normal(size=count) for odour in [*ODOURS, "E"]}
    times = np.arange(-0.4, 1.2, STEP) + STEP / 2
    fields = np.exp(-0.5 * ((times - middles[:, None]) / 0.12) ** 2)
    for poke, odour in zip(pokes, odours, strict=True):
        heights = tuning[ALIKE[region].get(odour, odour)]
        start = round(poke / STEP) - round(0.4 / STEP)
        rates[:, start : start + len(times)] *= np.exp(heights[:, None] * fields)
    rates[count - SILENT :] = 0
    return rates


def draw_lfp(draw: np.random.Generator, pokes: np.ndarray, odours: np.ndarray, length: float) -> np.ndarray:
    """Draw the local field potential.

    Returns
    -------
    ndarray, shape (channels, times)
        In mV.
    """
    count = round(length * RATE)
    shape = (len(CHANNELS), count)
    values = BACKGROUND * (np.sqrt(SHARED) * pink(draw, (1, count)) + np.sqrt(1 - SHARED) * pink(draw, shape))
    gains = {odour: draw.uniform(0.45, 1.55, (len(BURSTS), len(CHANNELS))) for odour in [*ODOURS, "E"]}
    times = np.arange(count) / RATE
    for number, (band, amplitude) in enumerate(BURSTS.items()):
        envelope = np.zeros(shape)
        for poke, odour in zip(pokes, odours, strict=True):
            near = slice(max(0, round((poke - 0.2) * RATE)), round((poke + 0.8) * RATE))
            burst = np.exp(-0.5 * ((times[near] - poke - 0.25) / 0.12) ** 2)
            # No two bursts are of one size.
            envelope[:, near] += np.outer(gains[odour][number] * np.exp(0.4 * draw.normal()), burst)
        values += amplitude * (0.4 + envelope) * rhythm(draw, (count,), RATE, band)
    return values + 0.03 * np.sin(2 * np.pi * 50 * times)

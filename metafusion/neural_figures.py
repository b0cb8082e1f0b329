"""Figures of trials by class: spikes, mean responses and spectrograms, and all that a session has of them.

What is shown where there is no room for everything is chosen without a look at the classes, and the title says how.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from textwrap import wrap

import matplotlib as mpl
import mne
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from metafusion.config.odor import LFP
from metafusion.config.source import Source
from metafusion.config.trials import SignalFeatures
from metafusion.preprocess.signals import time_course
from metafusion.sources.trials import Session, read_session
from metafusion.svg import save

STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 9}
# Okabe and Ito's colours, which people with colour-blindness can tell apart; with more classes the lines change, too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":", "-.")
SESSIONS, UNITS, CHANNELS = 3, 6, 6
"""How many sessions, units and channels are drawn."""
SPECTRA, NAMED_SPECTRA, CLASSES = 2, 4, 6
"""How many channels have spectrograms, and how many of those whose bands are features; and how many classes."""
HIGHEST = 100.0
"""Highest frequency of a spectrogram in Hz."""
RASTER = 16
"""Trials of a class in a raster."""
FEWEST, WIDEST, FINEST = 10, 50, 300
"""Stretches of time in a PSTH, at least and at most, and points in a mean response, at most."""
_OF_TIME = re.compile(r"(_t-?\d+\.\d+|_cos|_sin)$")
"""How the name of a feature of a band may end."""
PANEL = 2.6
"""Width of a panel in inches."""
REACH = 5.2
"""Standard deviations of a wavelet to either side of its middle that fit into a trial: MNE's 5, and some samples."""
BAND = 1.96
"""Standard errors to either side: 95 %."""


def draw_session_figures(
    source: Source, samples: pd.DataFrame, preprocessed: Mapping[str, Sequence[Path]], folder: Path
) -> None:
    """Draw what the first sessions hold: ``responses``, ``spectrogram`` and ``spikes``, as far as there is such.

    The ``look`` of sources whose chunks are sessions (see :mod:`metafusion.sources.trials`). Trials of a given test
    part are left out, and those that are no samples. Where there are several sessions, each has figures of its own,
    such as ``responses_2.svg`` of the second in order: units and channels may differ between them. The report shows
    these, and names of sessions may be those of people.

    Parameters
    ----------
    source : Source
    samples : DataFrame
        As assembled: ``sample``, ``target``, and where known ``given_part``.
    preprocessed : mapping of str to sequence of Path
        The folders of the sessions, by the unit of preprocessing.
    folder : Path
        Where the figures go.
    """
    seen = samples[samples["given_part"].ne("test")] if "given_part" in samples else samples
    numbers = pd.api.types.is_float_dtype(seen["target"])
    labels = pd.Series("all trials" if numbers else seen["target"].astype("str"), seen.index).set_axis(seen["sample"])
    folders = [path for paths in preprocessed.values() for path in paths]
    held_out = ", without the test trials" if len(seen) < len(samples) else ""
    simulated = ", simulated" if source.simulated else ""
    some = f" ({SESSIONS} of {len(folders)} sessions are drawn)" if len(folders) > SESSIONS else ""
    drawn = 0
    for number, session in enumerate(map(read_session, folders), start=1):
        if drawn == SESSIONS:
            break
        which = "" if len(folders) == 1 else f"_{number}"
        words = f"session {number} of {len(folders)}{some}{simulated}{held_out}"
        figures = dict(_figures_of(session, labels, words, _bands_of(source)))
        for name, figure in figures.items():
            save(figure, Path(folder) / f"{name}{which}.svg")
        drawn += bool(figures)


def _bands_of(source: Source) -> dict[str, list[str]]:
    """Return the names of the bands that are features, by modality."""
    groups = {LFP: getattr(source, LFP, None)} | getattr(source, "modalities", {}) | getattr(source, "signals", {})
    return {name: [*group.bands, *group.phase] for name, group in groups.items() if isinstance(group, SignalFeatures)}


def channels_with_bands(
    channels: Sequence[str], features: Mapping[str, Collection[str]], bands: Mapping[str, Sequence[str]]
) -> list[int]:
    """Return the places of the channels that have a band among the features.

    Parameters
    ----------
    channels : sequence of str
    features : mapping of str to collection of str
        Names of the columns, by modality.
    bands : mapping of str to sequence of str
        Names of the bands, by modality.

    Examples
    --------
    >>> channels_with_bands(["C3", "C4", "Cz"], {"mu": ["sample", "C4_mu", "Cz_mu_t0.25"]}, {"mu": ["mu"]})
    [1, 2]
    """
    known = {_OF_TIME.sub("", column) for columns in features.values() for column in columns}
    wanted = {band for modality, names in bands.items() if modality in features for band in names}
    return [place for place, channel in enumerate(channels) if any(f"{channel}_{band}" in known for band in wanted)]


def _figures_of(
    session: Session, labels: pd.Series, words: str, bands: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Figure]]:
    if session.epochs is not None:
        epochs, rate = session.epochs, session.epochs.info["sfreq"]
        data, names = _known(epochs.get_data(copy=True), labels.reindex(epochs.metadata["sample"]))
        if len(names):
            units = list(map(unit_of_type, epochs.get_channel_types()))
            yield "responses", responses(data, epochs.times, epochs.ch_names, units, names, words)
            highest = min(HIGHEST, 0.4 * rate, epochs.info["lowpass"])
            frequencies = frequencies_for(data.shape[-1] / rate, highest)
            if len(frequencies):
                named = channels_with_bands(epochs.ch_names, session.features, bands)
                yield (
                    "spectrogram",
                    spectrograms(data, epochs.times, rate, epochs.ch_names, names, frequencies, words, named),
                )
    if session.spikes is not None:
        spikes = session.spikes
        counts, names = _known(spikes.counts, labels.reindex(spikes.samples))
        if len(names):
            yield "spikes", rasters(counts, spikes.edges, spikes.units, names, words)


def _known(trials: np.ndarray, labels: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the trials that have a label, and their labels."""
    known = labels.notna().to_numpy()
    return trials[known], labels[known].to_numpy()


def unit_of_type(kind: str) -> tuple[str, float, str]:
    """Return the unit in which a type of channel is shown, how many of it are a volt or tesla, and what it measures."""
    if kind == "mag":
        return "fT", 1e15, "magnetic field"
    return ("fT/cm", 1e13, "field gradient") if kind == "grad" else ("µV", 1e6, "potential")


def spread(count: int, most: int) -> np.ndarray:
    """Return places that are spread evenly over a list, the first and the last among them; all, if there is room.

    Examples
    --------
    >>> spread(3, 6).tolist(), spread(10, 4).tolist(), spread(9, 1).tolist()
    ([0, 1, 2], [0, 3, 6, 9], [4])
    """
    if most == 1:
        return np.array([count // 2])
    return np.round(np.linspace(0, count - 1, min(count, most))).astype(int)


def most_active(counts: np.ndarray, most: int) -> np.ndarray:
    """Return the units with most spikes over all trials, in their order in ``counts``.

    Parameters
    ----------
    counts : ndarray of integers, shape (trials, units, bins)
    most : int
    """
    totals = counts.sum(axis=(0, 2), dtype=np.int64)
    return np.sort(np.argsort(-totals, kind="stable")[:most])


def psth(counts: np.ndarray, edges: np.ndarray, most: int = WIDEST) -> tuple[np.ndarray, np.ndarray]:
    """Return the rate of every trial in stretches of time: bins, or as many bins together as keep to ``most``.

    Parameters
    ----------
    counts : ndarray of integers, shape (trials, units, bins)
    edges : ndarray, shape (bins + 1,)
        In seconds, ascending.
    most : int, optional
        Stretches at most. The last one may be shorter than the others.

    Returns
    -------
    rates : ndarray, shape (trials, units, stretches)
        Spikes per second.
    edges : ndarray, shape (stretches + 1,)
    """
    starts = np.arange(0, counts.shape[-1], ceil(counts.shape[-1] / most))
    wide = np.append(edges[starts], edges[-1])
    return np.add.reduceat(counts, starts, axis=-1, dtype=np.int64) / np.diff(wide), wide


def mean_and_band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over trials, and how far its 95 % band goes to either side (0 with one trial)."""
    if len(values) < 2:
        return values.mean(axis=0), np.zeros(values.shape[1:])
    return values.mean(axis=0), BAND * values.std(axis=0, ddof=1) / np.sqrt(len(values))


def rasters(
    counts: np.ndarray, edges: np.ndarray, units: Sequence[str], labels: Sequence[str], words: str = ""
) -> Figure:
    """Draw spikes by trial, and below them the mean rate by class with its 95 % band, of the most active units.

    Parameters
    ----------
    counts : ndarray of integers, shape (trials, units, bins)
    edges : ndarray, shape (bins + 1,)
        In seconds.
    units : sequence of str
    labels : sequence of str
        Class of each trial.
    words : str, optional
        What the title says of the data.
    """
    labels = np.asarray(labels)
    shown = most_active(counts, UNITS)
    # With fewer trials the stretches are longer, so that each holds about as many spikes.
    fewest = min((labels == label).sum() for label in np.unique(labels))
    rates, wide = psth(counts[:, shown], edges, int(np.clip(fewest, FEWEST, WIDEST)))
    width = 1000 * (wide[1] - wide[0])
    centres = (edges[1:] + edges[:-1]) / 2
    columns = min(3, len(shown))
    pairs = ceil(len(shown) / columns)
    some = any((labels == label).sum() > RASTER for label in labels)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_width(columns), 1.2 + 3.4 * pairs), layout="constrained")
        axes = figure.subplots(
            2 * pairs, columns, squeeze=False, sharex=True, gridspec_kw={"height_ratios": [3, 2] * pairs}
        )
        for place, unit in enumerate(shown):
            row, column = divmod(place, columns)
            above, below = axes[2 * row, column], axes[2 * row + 1, column]
            _draw_raster(above, counts[:, unit], centres, labels)
            above.set_title(_titled("unit", units[unit]))
            for label, colour, line in _styles(labels):
                mean, half = mean_and_band(rates[labels == label, place])
                below.stairs(mean, wide, baseline=None, color=colour, linestyle=line)
                below.fill_between(
                    wide,
                    np.append(mean - half, (mean - half)[-1]),
                    np.append(mean + half, (mean + half)[-1]),
                    step="post",
                    color=colour,
                    alpha=0.2,
                    linewidth=0,
                )
            below.set_ylim(bottom=0)
            below.set_xlabel("time in the trial (s)")
            above.set_ylabel("trials" if column == 0 else "")
            below.set_ylabel(f"spikes per second,\nbins of {width:.3g} ms" if column == 0 else "")
        for axis in axes[-2:].T[len(shown) - (pairs - 1) * columns :].ravel():
            axis.set_axis_off()
        _head(
            figure,
            words,
            f"{_of(len(shown), len(units), 'unit')}{', those with most spikes' if len(shown) < len(units) else ''}",
            f"above: bins of {1000 * (edges[1] - edges[0]):.3g} ms with a spike"
            + (f", in up to {RASTER} trials of a class, spread evenly" if some else ""),
            f"below: mean rate over {width:.3g} ms and 95 % band ({BAND} standard errors)",
        )
        _legend(figure, labels)
    return figure


def _draw_raster(axes: Axes, counts: np.ndarray, centres: np.ndarray, labels: np.ndarray) -> None:
    """Draw a mark where a trial has a spike, class below class."""
    height = 0
    for label, colour, _ in _styles(labels):
        own = np.flatnonzero(labels == label)
        own = own[spread(len(own), RASTER)]
        trial, place = np.nonzero(counts[own])
        # One path for all marks: what separates them is no number.
        x = np.column_stack([centres[place]] * 2 + [np.full(len(place), np.nan)]).ravel()
        y = np.column_stack([height + trial + 0.1, height + trial + 0.9, np.full(len(place), np.nan)]).ravel()
        axes.plot(x, y, color=colour, linewidth=0.8, solid_capstyle="butt")
        height += len(own)
    axes.set(ylim=(height, 0), yticks=[])
    axes.tick_params(labelbottom=False)


def responses(
    data: np.ndarray,
    times: np.ndarray,
    channels: Sequence[str],
    units: Sequence[tuple[str, float, str]],
    labels: Sequence[str],
    words: str = "",
) -> Figure:
    """Draw the mean signal by class with its 95 % band, of a few channels.

    Parameters
    ----------
    data : ndarray, shape (trials, channels, samples)
        In volt or tesla.
    times : ndarray, shape (samples,)
        In seconds.
    channels : sequence of str
    units : sequence of (str, float, str)
        Of each channel, see :func:`unit_of_type`.
    labels : sequence of str
        Class of each trial.
    words : str, optional
        What the title says of the data.
    """
    labels = np.asarray(labels)
    shown = spread(len(channels), CHANNELS)
    together = ceil(len(times) / FINEST)
    data, centres = time_course(data[:, shown], times, ceil(len(times) / together))
    columns = min(3, len(shown))
    rows = ceil(len(shown) / columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_width(columns), 1.2 + 2.2 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
        for place, (axis, channel) in enumerate(zip(axes, shown, strict=False)):
            unit, factor, quantity = units[channel]
            for label, colour, line in _styles(labels):
                mean, half = mean_and_band(data[labels == label, place] * factor)
                axis.plot(centres, mean, color=colour, linestyle=line, linewidth=1.2)
                axis.fill_between(centres, mean - half, mean + half, color=colour, alpha=0.2, linewidth=0)
            axis.axhline(0, color="0.7", linewidth=0.8, zorder=0)
            axis.set(
                title=_titled("channel", channels[channel]),
                xlabel="time in the trial (s)",
                ylabel=f"{quantity} ({unit})",
            )
            axis.tick_params(labelbottom=True)
        for axis in axes[len(shown) :]:
            axis.set_axis_off()
        _head(
            figure,
            words,
            _of(len(shown), len(channels), "channel") + _evenly(shown, channels),
            f"mean and 95 % band ({BAND} standard errors)",
            f"a point is the mean of {together} samples" if together > 1 else "",
        )
        _legend(figure, labels)
    return figure


def frequencies_for(duration: float, highest: float) -> np.ndarray:
    """Return frequencies in Hz, evenly spaced on a logarithmic scale, whose wavelets fit into trials; maybe none.

    Parameters
    ----------
    duration : float
        Of a trial, in seconds.
    highest : float
        In Hz.
    """
    # At least two cycles.
    lowest = max(2.0, 2 * REACH * 2 / (2 * np.pi * duration))
    return np.geomspace(lowest, highest, 24) if highest > 1.5 * lowest else np.empty(0)


def power_by_class(
    data: np.ndarray, rate: float, labels: Sequence[str], frequencies: np.ndarray, step: int = 1
) -> tuple[list[str], np.ndarray]:
    """Return the mean Morlet power of each class in dB against that of all trials and times, by channel and frequency.

    Wavelets have a third as many cycles as their frequency in Hz, at least 2, and at most 7 or what fits into a trial.

    Parameters
    ----------
    data : ndarray, shape (trials, channels, samples)
    rate : float
        Samples per second.
    labels : sequence of str
        Class of each trial.
    frequencies : ndarray
        In Hz.
    step : int, optional
        Take every so many samples.

    Returns
    -------
    classes : list of str
    decibels : ndarray, shape (classes, channels, frequencies, times)
        NaN within two standard deviations of the wavelet of the ends of the trial, where it reaches beyond them, and
        where the channel is flat.

    References
    ----------
    Tallon-Baudry, Bertrand 1999, Trends Cogn. Sci. 3:151 (the wavelets).
    """
    labels = np.asarray(labels)
    longest = data.shape[-1] / rate * 2 * np.pi * frequencies / (2 * REACH)
    cycles = np.minimum(np.clip(frequencies / 3, 2, 7), longest)
    classes, sizes = np.unique(labels, return_counts=True)
    power = np.stack(
        [
            mne.time_frequency.tfr_array_morlet(
                data[labels == label], rate, frequencies, cycles, decim=step, output="avg_power", verbose="ERROR"
            )
            for label in classes
        ]
    )
    times = np.arange(data.shape[-1])[::step] / rate
    margin = 2 * cycles / (2 * np.pi * frequencies)
    inside = (times >= margin[:, None]) & (times <= (data.shape[-1] - 1) / rate - margin[:, None])
    power = np.where(inside & (power > 0), power, np.nan)
    everything = np.average(power, axis=0, weights=sizes)
    held = np.isfinite(everything)
    sums = np.where(held, everything, 0).sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return list(classes), 10 * np.log10(power / (sums / held.sum(axis=-1, keepdims=True)))


def spectrograms(
    data: np.ndarray,
    times: np.ndarray,
    rate: float,
    channels: Sequence[str],
    labels: Sequence[str],
    frequencies: np.ndarray,
    words: str = "",
    named: Sequence[int] = (),
) -> Figure:
    """Draw :func:`power_by_class` of a few channels: one row a channel, one column a class.

    Parameters
    ----------
    data : ndarray, shape (trials, channels, samples)
    times : ndarray, shape (samples,)
        In seconds.
    rate : float
        Samples per second.
    channels : sequence of str
    labels : sequence of str
        Class of each trial.
    frequencies : ndarray
        In Hz, evenly spaced on a logarithmic scale.
    words : str, optional
        What the title says of the data.
    named : sequence of int, optional
        Places of the channels to choose from, as their bands are features; by default all.
    """
    labels = np.asarray(labels)
    shown = np.asarray(named)[spread(len(named), NAMED_SPECTRA)] if len(named) else spread(len(channels), SPECTRA)
    step = ceil(len(times) / 120)
    classes, decibels = power_by_class(data[:, shown], rate, labels, frequencies, step)
    columns = min(len(classes), CLASSES)
    limit = max(1.0, float(np.nanpercentile(np.abs(decibels), 99))) if np.isfinite(decibels).any() else 1.0
    colours = mpl.colormaps["RdBu_r"].with_extremes(bad="0.85")
    seconds = times[::step]
    half = (seconds[1] - seconds[0]) / 2 if len(seconds) > 1 else 0.5 / rate
    extent = (seconds[0] - half, seconds[-1] + half, -0.5, len(frequencies) - 0.5)
    ticks = [tick for tick in (2, 5, 10, 20, 50, 100) if frequencies[0] <= tick <= frequencies[-1] * 1.0001]
    places = np.interp(np.log(ticks), np.log(frequencies), np.arange(len(frequencies)))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_width(columns, 2.1) + 0.6, 1.1 + 2.1 * len(shown)), layout="constrained")
        axes = figure.subplots(len(shown), columns, squeeze=False, sharex=True, sharey=True)
        for row, column in np.ndindex(axes.shape):
            axis = axes[row, column]
            image = axis.imshow(
                decibels[column, row],
                extent=extent,
                origin="lower",
                aspect="auto",
                interpolation="none",
                cmap=colours,
                vmin=-limit,
                vmax=limit,
            )
            axis.set_yticks(places, ticks)
            axis.xaxis.set_major_locator(MaxNLocator(4))
            if row == 0:
                axis.set_title(f"{_short(classes[column])}\n{_of_trials(labels == classes[column])}")
            if row == len(shown) - 1:
                axis.set_xlabel("time in the trial (s)")
            if column == 0:
                axis.set_ylabel(f"{_titled('channel', channels[shown[row]])}\nfrequency (Hz)")
        figure.colorbar(image, ax=axes, label="power (dB)", aspect=30)
        _head(
            figure,
            words,
            _of(len(shown), len(channels), "channel")
            + (_among(shown, named, channels) if len(named) else _evenly(shown, channels)),
            f"{columns} of {len(classes)} classes" if columns < len(classes) else "",
            "Morlet power against the mean over all trials and times; grey: too near to the ends",
        )
    return figure


def _styles(labels: np.ndarray) -> Iterator[tuple[str, str, str]]:
    """Yield each class with a colour and a kind of line."""
    for number, label in enumerate(np.unique(labels)):
        yield label, COLOURS[number % len(COLOURS)], LINES[number // len(COLOURS) % len(LINES)]


def _of_trials(members: np.ndarray) -> str:
    return f"{members.sum()} trial{'' if members.sum() == 1 else 's'}"


def _legend(figure: Figure, labels: np.ndarray) -> None:
    handles = [
        Line2D([], [], color=colour, linestyle=line, label=f"{_short(label)} ({_of_trials(labels == label)})")
        for label, colour, line in _styles(labels)
    ]
    # A letter takes about 0.075 inches, the line before it and the gap after it 0.6.
    widest = 0.6 + 0.075 * max(len(handle.get_label()) for handle in handles)
    columns = max(1, int(figure.get_figwidth() / widest))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def _head(figure: Figure, words: str, *parts: str) -> None:
    text = "; ".join(part for part in (words, *parts) if part)
    figure.suptitle("\n".join(wrap(text, int(13 * figure.get_figwidth()))), fontsize=9)


def _width(columns: int, panel: float = PANEL) -> float:
    """Return the width of a figure in inches; titles need some."""
    return max(4.5, 0.5 + panel * columns)


def _of(shown: int, count: int, thing: str) -> str:
    if shown == count:
        return f"{count} {thing}{'' if count == 1 else 's'}"
    return f"{shown} of {count} {thing}s"


def _evenly(shown: np.ndarray, channels: Sequence[str]) -> str:
    return ", spread evenly over their list" if len(shown) < len(channels) else ""


def _among(shown: np.ndarray, named: Sequence[int], channels: Sequence[str]) -> str:
    if len(named) == len(channels):
        return _evenly(shown, channels)
    if len(shown) == len(named):
        return ", of which bands are features"
    return f", spread evenly over the {len(named)} of which bands are features"


def _titled(thing: str, name: str) -> str:
    """Return a name for a panel, which says what a mere number is the number of."""
    return _short(f"{thing} {name}" if str(name).isdecimal() else name)


def _short(name: str, most: int = 22) -> str:
    """Cut a long name in its middle, and take its dollars for dollars: matplotlib reads formulas between them."""
    name = str(name) if len(name) <= most else f"{name[: most // 2]}…{name[len(name) - most // 2 + 1 :]}"
    return name.replace("$", r"\$")

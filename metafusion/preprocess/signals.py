"""Recordings: clean them, cut them into trials, read and write these, and describe each trial by numbers.

Nothing here uses one trial to change another. The functions that take arrays want shape (trials, channels, samples).
"""

import logging
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, log2
from pathlib import Path
from typing import Literal

import mne
import numpy as np
import pandas as pd
from scipy.signal import hilbert, resample_poly

from metafusion.config.trials import PLAUSIBLE, Band, Cleaning, SignalFeatures, Window
from metafusion.errors import DamagedError, UserError, did_you_mean
from metafusion.files import whole
from metafusion.preprocess.trials import array_names, counted, seconds_in_names

log = logging.getLogger("metafusion")

_TAG = struct.Struct(">iIii")
_ID_TYPE, _NEXT_IN_LINE, _NO_NEXT = 31, 0, -1
_ID = struct.Struct(">5i")

_BUTTERWORTH = {"order": 4, "ftype": "butter", "output": "sos"}
_NO_SIGNAL = frozenset({"stim", "syst", "exci", "ias", "chpi", "gof"})
"""Types of channels that are neither filtered nor cut."""
_REFERABLE = ("eeg", "ecog", "seeg", "dbs")
_BREAKS = ("edge", "bad boundary", "boundary", "new segment")
"""How annotations begin that say before which sample a recording was interrupted (mne, EEGLAB, BrainVision)."""
_SKIPS = "bad_acq_skip"
"""The same for stretches in which nothing was recorded (MEGIN)."""
_WAVELET = 10 / (2 * np.pi)
"""Length of MNE's wavelets in cycles, for each cycle that they are said to have: five deviations to each side."""
_TAPERS = 7
"""Tapers of MNE's default half bandwidth, of which there are no more than samples."""
_TOO_SHORT = "BAD_too_short_to_filter"


def read_epochs(path: str | Path) -> mne.BaseEpochs:
    """Read trials (FIF, values in volt) into memory.

    Raises
    ------
    UserError
        No such file, or it is corrupt or truncated.
    """
    try:
        with open(path, "rb") as file:
            for _ in _tags(file):
                pass
        return mne.read_epochs(path, preload=True, verbose="WARNING")
    except FileNotFoundError:
        raise DamagedError(path, "no such file") from None
    except (ValueError, OSError, RuntimeError, LookupError, TypeError, MemoryError, struct.error) as fault:
        raise DamagedError(path, f"corrupt or truncated ({fault}); delete it and run again") from None


def write_epochs(epochs: mne.BaseEpochs, path: str | Path) -> None:
    """Write trials as FIF in single precision; the same trials give the same bytes."""
    with whole(path) as unfinished:
        epochs.save(unfinished, verbose="WARNING")
        forget_machine(unfinished)


def forget_machine(path: Path) -> None:
    """Set machine and time in the identifiers of a FIF file to zero: they differ between runs and say who ran it."""
    with open(path, "r+b") as file:
        for position, type_ in list(_tags(file)):
            if type_ == _ID_TYPE:
                file.seek(position)
                version = _ID.unpack(file.read(_ID.size))[0]
                file.seek(position)
                file.write(_ID.pack(version, 0, 0, 0, 0))


def _tags(file) -> Iterator[tuple[int, int]]:
    """Yield position and type of the data of each tag of a FIF file; ValueError where it ends before its last tag."""
    size = file.seek(0, os.SEEK_END)
    position, following = 0, _NEXT_IN_LINE
    while following != _NO_NEXT:
        file.seek(position)
        head = file.read(_TAG.size)
        if len(head) < _TAG.size:
            raise ValueError(f"ends at byte {size}, before its last tag")
        _, type_, length, following = _TAG.unpack(head)
        start = position + _TAG.size
        if not (0 <= length <= size - start and (following <= 0 or following > position)):
            raise ValueError(f"the tag at byte {position} does not fit into {size} bytes")
        yield start, type_
        position = following if following > 0 else start + length


def pick_channels(epochs: mne.BaseEpochs, channels: list[str], where: str) -> mne.BaseEpochs:
    """Return a copy with some channels, in the order asked for.

    Raises
    ------
    UserError
        An unknown channel, with a suggestion; ``where`` says which setting it stands in.
    """
    for name in channels:
        if name not in epochs.ch_names:
            raise UserError(f"{where}: unknown channel {name!r}; {did_you_mean(name, epochs.ch_names)}")
    if len(set(channels)) < len(channels):
        raise UserError(f"{where}: each channel may stand once, found {channels}")
    return epochs.copy().pick(channels, verbose="WARNING").reorder_channels(channels)


def filter_resample_baseline(
    epochs: mne.BaseEpochs,
    highpass: float | None,
    lowpass: float | None,
    resample: float,
    baseline: tuple[float, float] | None,
) -> mne.BaseEpochs:
    """Filter, resample and baseline-correct every trial by itself.

    The filter is a Butterworth of order 4 run forwards and backwards (no delay): on trials of seconds a finite filter
    with a low edge would be longer than the trial. Trials are continued by reflection at their ends, which bends about
    ``1 / edge`` seconds at each; the resampling continues them in the same way. It keeps the first sample where it is,
    and every later one on a multiple of ``1 / resample`` from there, whatever the length of trials.

    Parameters
    ----------
    epochs : Epochs
        Trials in memory.
    highpass, lowpass : float or None
        Half-power edges of one pass in Hz; None for none.
    resample : float
        Sampling rate of the result in Hz, at most that of the trials.
    baseline : (float, float) or None
        Interval in seconds whose mean is subtracted, by trial and channel.

    Returns
    -------
    Epochs
        A copy.

    Raises
    ------
    UserError
        Edges or rates that do not fit each other or the recording, or a baseline outside the trials.
    """
    rate = epochs.info["sfreq"]
    _refuse_edges(rate, {"highpass": highpass, "lowpass": lowpass})
    if highpass is not None and lowpass is not None and highpass >= lowpass:
        raise UserError(f"highpass: {highpass:g} Hz must lie under lowpass ({lowpass:g} Hz)")
    _refuse_upsampling(rate, resample)
    epochs = epochs.copy()
    if highpass is not None or lowpass is not None:
        epochs.filter(highpass, lowpass, method="iir", iir_params=dict(_BUTTERWORTH), verbose="WARNING")
    if resample < rate:
        epochs = _resampled(epochs, resample)
    if baseline is not None:
        first, last = baseline
        if not epochs.tmin <= first < last <= epochs.tmax:
            raise UserError(
                f"baseline: {first:g} to {last:g} s does not lie inside the trials, "
                f"which run from {epochs.tmin:g} to {epochs.tmax:g} s"
            )
        epochs.apply_baseline((first, last), verbose="WARNING")
    return epochs


def _resampled(epochs: mne.BaseEpochs, resample: float) -> mne.BaseEpochs:
    """Resample trials by Fourier transform, with no shift and no drift.

    MNE (as scipy) makes the number of samples whole, and stretches a trial of 897 samples at 256 Hz over 448 at 128 Hz;
    its padding adds a shift of up to half a sample. Neither happens where trials and padding are whole steps long.
    """
    ratio = _ratio(resample / epochs.info["sfreq"])
    length = len(epochs.times)
    kept, step = ceil(length * ratio), ratio.denominator
    lacking = -length % step
    if lacking:
        data = np.pad(epochs.get_data(), ((0, 0), (0, 0), (0, lacking)), mode="reflect", reflect_type="odd")
        events, tmin, names, table = epochs.events, epochs.tmin, epochs.event_id, epochs.metadata
        epochs = mne.EpochsArray(data, epochs.info, events, tmin, names, metadata=table, verbose="WARNING")
    # As much as MNE's own choice, which makes the length a power of two.
    length += lacking
    padding = (2 ** ceil(log2(length + 2 * min(length // 8, 100))) - length) // 2
    epochs.resample(resample, method="fft", npad=-(-padding // step) * step, pad="auto", verbose="WARNING")
    return epochs.crop(tmax=epochs.times[kept - 1], verbose="WARNING") if lacking else epochs


def _refuse_edges(rate: float, edges: Mapping[str, float | None]) -> None:
    for name, edge in edges.items():
        if edge is not None and not 0 < edge < rate / 2:
            raise UserError(
                f"{name}: {edge:g} Hz does not fit a recording of {rate:g} Hz; it must lie under {rate / 2:g}"
            )


def _refuse_upsampling(rate: float, resample: float) -> None:
    if resample > rate:
        raise UserError(f"resample: {resample:g} Hz is more than the recording has ({rate:g} Hz); it adds nothing")


def refuse_different_rates(rates: Mapping[str, float]) -> None:
    """Raise UserError unless all sessions have one sampling rate.

    Parameters
    ----------
    rates : mapping of str to float
        Rate of the trials in Hz, by session.
    """
    found: dict[float, list[str]] = {}
    for session, rate in rates.items():
        found.setdefault(round(rate, 6), []).append(session)
    if len(found) > 1:
        what = "; ".join(
            f"{rate:g} Hz in {', '.join(sessions[:5])}{', ...' if len(sessions) > 5 else ''}"
            for rate, sessions in sorted(found.items())
        )
        raise UserError(
            f"the sampling rate differs between sessions: {what}; set 'resample' to {min(found):g} Hz or less"
        )


def clean(raw: mne.io.BaseRaw, settings: Cleaning, session: str) -> mne.io.BaseRaw:
    """Deal with bad channels, apply the file's projections (SSP), set the reference, and filter a recording.

    The filters run over the recording before it is cut, so that what they do to the ends stays out of the trials. They
    are MNE's finite ones (Hamming window, no delay), and run over every unbroken stretch by itself: from one annotated
    interruption, or sample that is not a number, to the next. A stretch that is shorter than the filter is not
    filtered, but annotated as bad, so that :func:`cut` leaves out its trials.

    Parameters
    ----------
    raw : Raw
        Stays as it is. If it is not loaded yet, there is only one recording in memory.
    settings : Cleaning
        Up to ``lowpass``; what follows there is for :func:`cut`.
    session : str
        Name of the session, whose bad channels are looked up.

    Returns
    -------
    Raw
        A copy in memory without the channels that are dropped, as they are bad or the reference.

    Raises
    ------
    UserError
        Unknown channels; a reference of mixed types, or of a type that has none; no positions to interpolate with; a
        channel without a number; edges over half the sampling rate; a recording that is shorter than the filter.
    """
    raw = raw.copy().load_data(verbose="WARNING")
    _deal_with_bad_channels(raw, settings, session)
    # Before channels are mixed, so that the one that is no number is named.
    not_numbers = _not_numbers(raw, session)
    raw.apply_proj(verbose="WARNING")
    _set_reference(raw, settings.reference, session)
    rate = raw.info["sfreq"]
    steps = _filters(settings, rate)
    if not steps:
        return raw
    shortest = max(step.length for step in steps)
    stretches = _stretches(raw, not_numbers)
    long = [(start, stop) for start, stop in stretches if stop - start >= shortest]
    if not long:
        raise UserError(
            f"session {session!r}: its longest unbroken stretch lasts "
            f"{max((stop - start for start, stop in stretches), default=0) / rate:.3g} s, and the filter "
            f"{shortest / rate:.3g} s; raise highpass, leave out the notch, or leave out the session"
        )
    for channel in _signal_channels(raw):
        # One channel at a time: filtering makes copies.
        values = raw.get_data(picks=[channel])
        for start, stop in long:
            for step in steps:
                values[:, start:stop] = step.run(values[:, start:stop])
        raw[[channel], :] = values
    for start, stop in stretches:
        if stop - start < shortest:
            raw.annotations.append(start / rate + raw.first_time, (stop - start) / rate, _TOO_SHORT)
    if len(long) < len(stretches):
        log.info(
            "session %s: %d of %d unbroken stretches are shorter than the filter (%.3g s) and left out",
            session,
            len(stretches) - len(long),
            len(stretches),
            shortest / rate,
        )
    return raw


def length_of_filters(settings: Cleaning, rate: float) -> int:
    """Return how many samples the notch and the band-pass filter of :func:`clean` have together; 0 without any.

    Half as many on each side of a trial can change it.
    """
    return sum(step.length for step in _filters(settings, rate))


def _signal_channels(raw: mne.io.BaseRaw) -> list[str]:
    types = zip(raw.ch_names, raw.get_channel_types(), strict=True)
    return [name for name, type_ in types if type_ not in _NO_SIGNAL]


def _deal_with_bad_channels(raw: mne.io.BaseRaw, settings: Cleaning, session: str) -> None:
    listed = [*settings.bad_channels.get("all", []), *settings.bad_channels.get(session, [])]
    _refuse_unknown_channels(listed, raw.ch_names, session, "bad_channels")
    bad = [name for name in raw.ch_names if name in {*listed, *raw.info["bads"]}]
    if not bad:
        return
    if len(bad) == len(raw.ch_names):
        raise UserError(f"session {session!r}: all {len(bad)} channels are bad; leave out the session")
    if settings.bad_channels_become == "dropped":
        raw.drop_channels(bad)
    else:
        raw.info["bads"] = bad
        try:
            raw.interpolate_bads(reset_bads=True, on_bad_position="raise", verbose="WARNING")
        except (ValueError, RuntimeError) as fault:
            raise UserError(
                f"session {session!r}: bad channels {', '.join(bad)} cannot be interpolated ({fault}); set "
                "'bad_channels_become: dropped', or use a file with the positions of all electrodes"
            ) from None
    log.info("session %s: bad channels %s: %s", session, settings.bad_channels_become, ", ".join(bad))


def _refuse_unknown_channels(names: Sequence[str], known: Sequence[str], session: str, key: str) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"session {session!r}, {key}: unknown channel {name!r}; {did_you_mean(name, known)}")


def _set_reference(raw: mne.io.BaseRaw, reference: Literal["average"] | list[str] | None, session: str) -> None:
    if reference is None:
        return
    types = dict(zip(raw.ch_names, raw.get_channel_types(), strict=True))
    present = [type_ for type_ in _REFERABLE if type_ in types.values()]
    if reference == "average":
        if not present:
            raise UserError(
                f"session {session!r}, reference: none of its channels is of type {', '.join(_REFERABLE)}; set null"
            )
        for type_ in present:
            raw.set_eeg_reference("average", ch_type=type_, verbose="WARNING")
        return
    _refuse_unknown_channels(reference, raw.ch_names, session, "reference")
    found = {types[name] for name in reference}
    if len(found) > 1 or not found <= set(_REFERABLE):
        raise UserError(
            f"session {session!r}, reference: channels {', '.join(reference)} are of type {', '.join(sorted(found))}; "
            f"expected one of {', '.join(_REFERABLE)}"
        )
    if [types[name] for name in types if name not in reference].count(*found) == 0:
        raise UserError(f"session {session!r}, reference: no other channel of type {', '.join(found)} is left")
    raw.set_eeg_reference(list(dict.fromkeys(reference)), ch_type=found.pop(), verbose="WARNING")
    raw.drop_channels(list(dict.fromkeys(reference)))


@dataclass(frozen=True)
class _Filter:
    length: int
    run: Callable[[np.ndarray], np.ndarray]


def _filters(settings: Cleaning, rate: float) -> list[_Filter]:
    """Return the notch and the band-pass filter that the settings ask for, with their lengths in samples."""
    steps = []
    if settings.notch:
        _refuse_edges(rate, {f"notch, {line:g} Hz": line for line in settings.notch})
        lines = np.array(settings.notch)
        widths, margin = lines / 200, 0.5  # MNE's own: width of a notch, and half of its transition band, in Hz
        if (lines + widths / 2 + margin).max() >= rate / 2:
            raise UserError(f"notch: {lines.max():g} Hz is too near to half the sampling rate of {rate:g} Hz")
        length = mne.filter.create_filter(
            None,
            rate,
            lines + widths / 2 + margin,
            lines - widths / 2 - margin,
            l_trans_bandwidth=margin,
            h_trans_bandwidth=margin,
            verbose="WARNING",
        ).size
        steps.append(
            _Filter(
                length,
                lambda values: mne.filter.notch_filter(values, rate, lines, notch_widths=widths, verbose="WARNING"),
            )
        )
    if settings.highpass is not None or settings.lowpass is not None:
        edges = settings.highpass, settings.lowpass
        _refuse_edges(rate, dict(zip(("highpass", "lowpass"), edges, strict=True)))
        length = mne.filter.create_filter(None, rate, *edges, verbose="WARNING").size
        steps.append(_Filter(length, lambda values: mne.filter.filter_data(values, rate, *edges, verbose="WARNING")))
    return steps


def _stretches(raw: mne.io.BaseRaw, not_numbers: np.ndarray) -> list[tuple[int, int]]:
    """Return the stretches, as first sample and sample after the last, that are unbroken and all numbers."""
    usable = ~not_numbers
    breaks = set()
    for start, stop, description in _annotated(raw):
        if description.startswith((*_BREAKS, _SKIPS)):
            breaks.add(start)
            usable[start:stop] = False
    change = np.flatnonzero(np.diff(usable)) + 1
    edges = sorted({0, len(usable), *change.tolist(), *(at for at in breaks if 0 < at < len(usable))})
    return [(start, stop) for start, stop in pairwise(edges) if usable[start]]


def _not_numbers(raw: mne.io.BaseRaw, session: str) -> np.ndarray:
    """Say of every sample whether a channel that is cut has something there that is no finite number."""
    spoilt = np.zeros(raw.n_times, dtype=bool)
    for channel in _signal_channels(raw):
        lost = ~np.isfinite(raw.get_data(picks=[channel])[0])
        if lost.all():
            raise UserError(
                f"session {session!r}: channel {channel!r} holds no number at all; list it under 'bad_channels'"
            )
        spoilt |= lost
    return spoilt


def _annotated(raw: mne.io.BaseRaw) -> list[tuple[int, int, str]]:
    """Return the annotations: first sample, sample after the last, and description in lower case.

    Breaks have no samples: they stand before their first. (The duration that EEGLAB gives them is that of what was
    taken out.)
    """
    found = []
    columns = raw.annotations.onset - raw.first_time, raw.annotations.duration, raw.annotations.description
    for onset, duration, description in zip(*columns, strict=True):
        begin, end = onset * raw.info["sfreq"], (onset + duration) * raw.info["sfreq"]
        words = str(description).lower()
        if words.startswith(_BREAKS):
            # Some programs write the moment between two samples.
            start = stop = ceil(begin - 0.01)
        else:
            start = floor(begin + 0.01)
            stop = max(ceil(end - 0.01), start + 1)
        found.append((max(start, 0), max(stop, 0), words))
    return found


def cut(
    raw: mne.io.BaseRaw,
    events: pd.DataFrame,
    window: Window,
    *,
    baseline: Window | None = None,
    resample: float | None = None,
    reject: Mapping[str, float] | None = None,
    flat: Mapping[str, float] | None = None,
    overlap: Literal["exclude", "allow"] = "exclude",
    session: str = "",
) -> tuple[mne.BaseEpochs, pd.DataFrame]:
    """Cut a clean recording into trials around events.

    A trial uses the samples from the start of the window to its end and, if there is a baseline, all from the earlier
    start to the later stop of the two; only those of the window are returned. Resampling (a polyphase filter against
    aliasing) uses some more on both sides, so that its ends stay outside, and keeps the event on a sample, at 0 s.
    Trials are left out for the first of these reasons: another event at the same sample, out of the recording, over an
    interruption, over samples that are not numbers, over an annotation that begins with BAD, amplitude, overlap. A
    trial that is left out overlaps no other.

    Parameters
    ----------
    raw : Raw
        From :func:`clean`, or as recorded.
    events : DataFrame
        ``label``, and ``onset_sample`` (0 is the first sample of the recording), or ``onset`` (seconds after it), of
        which the nearest sample is taken. Other columns are handed on.
    window : (float, float)
        Seconds from the event; the start belongs to the trial, the stop does not.
    baseline : (float, float), optional
        Seconds from the event; the mean of these samples is subtracted by trial and channel, after resampling.
    resample : float, optional
        Sampling rate of the trials in Hz, at most that of the recording.
    reject, flat : mapping of str to float, optional
        Largest and least range by type of channel, in volt (tesla, tesla per metre).
    overlap : {"exclude", "allow"}
        Whether a trial that begins before an earlier one has ended is left out.
    session : str
        For messages.

    Returns
    -------
    epochs : Epochs
        In the order of time. Its metadata are the rows of ``events`` and ``number``, their place there from 0,
        ``onset_sample`` and ``overlaps``, whether it shares samples with another trial that was kept.
    excluded : DataFrame
        The other rows, with ``number``, ``onset_sample`` and ``reason``, in the order of the events.

    Raises
    ------
    UserError
        No event, or none left; settings that do not fit the recording.
    """
    where = f"session {session!r}: " if session else ""
    if events.empty:
        raise UserError(f"{where}there are no events to cut trials around")
    rate = raw.info["sfreq"]
    grid = _Grid(rate, resample)
    span = (min(window[0], baseline[0]), max(window[1], baseline[1])) if baseline else window
    inside_window = grid.inside(window, span[0], f"{where}window")
    inside_baseline = grid.inside(baseline, span[0], f"{where}baseline") if baseline else None
    table = _with_onsets(events, rate, where)
    onsets = table["onset_sample"].to_numpy()
    starts, stops = onsets + ceil(span[0] * rate - 1e-6), onsets + ceil(span[1] * rate - 1e-6)
    not_numbers = _not_numbers(raw, session)
    reasons = _reasons(raw, not_numbers, onsets, starts, stops)

    sound = [number for number in np.argsort(onsets, kind="stable") if reasons[number] is None]
    channels = _signal_channels(raw)
    data = grid.cut(raw, channels, onsets[sound], starts[sound], _stretches(raw, not_numbers), span)
    if inside_baseline is not None:
        data -= data[..., inside_baseline].mean(axis=-1, keepdims=True)

    types = [raw.get_channel_types(picks=[name])[0] for name in channels]
    units = told_of_units(data, types, f"{raw.filenames[0]}: " if raw.filenames[0] else where)
    faults = out_of_range(data, types, reject or {}, flat or {}, where)
    for number, fault in zip(sound, faults, strict=True):
        reasons[number] = fault
    places = [place for place, number in enumerate(sound) if reasons[number] is None]
    shared = _overlaps([(starts[sound[place]], stops[sound[place]]) for place in places], overlap)
    if overlap == "exclude":
        for place, overlapping in zip(places, shared, strict=True):
            if overlapping:
                reasons[sound[place]] = "overlaps an earlier trial"
        places = [place for place, overlapping in zip(places, shared, strict=True) if not overlapping]
        shared = [False] * len(places)
    elif any(shared):
        log.warning("%s%d trials share samples with another trial", where, sum(shared))

    excluded = table.assign(reason=pd.Series(reasons, index=table.index, dtype="str"))[[r is not None for r in reasons]]
    excluded = excluded.reset_index(drop=True)
    if not places:
        raise UserError(
            f"{where}no trial is left of {len(table)} events: {counted(excluded['reason'])}; "
            f"{units or 'mend the window or the limits, or leave out the session'}"
        )
    constant = np.ptp(data[places][..., inside_window], axis=-1).max(axis=0) == 0
    if constant.any():
        named = ", ".join(name for name, still in zip(channels, constant, strict=True) if still)
        log.warning("%schannels that do not vary in any trial: %s; name them in bad_channels", where, named)
    metadata = table.iloc[[sound[place] for place in places]].assign(overlaps=shared).reset_index(drop=True)
    codes = {label: code for code, label in enumerate(sorted(set(metadata["label"])), start=1)}
    moments = metadata["onset_sample"] + raw.first_samp
    epochs = mne.EpochsArray(
        data[places][..., inside_window],
        _info(raw, channels, grid.rate),
        events=np.column_stack([moments, np.zeros_like(moments), metadata["label"].map(codes)]),
        event_id=codes,
        tmin=grid.index(window[0]) / grid.rate,
        metadata=metadata,
        verbose="WARNING",
    )
    return epochs, excluded


class _Grid:
    """The samples of a trial: every 1 / rate seconds, one of them on the event (index 0)."""

    def __init__(self, recorded: float, resample: float | None):
        self.up = self.down = 1
        self.rate = recorded
        if resample is not None and resample != recorded:
            _refuse_upsampling(recorded, resample)
            ratio = _ratio(resample / recorded)
            self.up, self.down = ratio.numerator, ratio.denominator
            self.rate = resample

    def index(self, second: float) -> int:
        """Return the first sample at a second or after it."""
        return ceil(second * self.rate - 1e-6)

    def inside(self, window: Window, start: float, where: str) -> slice:
        """Return which samples of a trial that begins at ``start`` seconds lie in a window."""
        first = self.index(start)
        inside = slice(self.index(window[0]) - first, self.index(window[1]) - first)
        if inside.start == inside.stop:
            raise UserError(
                f"{where}: no sample at {self.rate:g} Hz lies between {window[0]:g} and {window[1]:g} s; widen it"
            )
        return inside

    def cut(
        self,
        raw: mne.io.BaseRaw,
        channels: list[str],
        onsets: np.ndarray,
        starts: np.ndarray,
        stretches: Sequence[tuple[int, int]],
        span: Window,
    ) -> np.ndarray:
        """Return trials of shape (trials, channels, samples), each of which begins and ends in one of the stretches."""
        first, last = self.index(span[0]), self.index(span[1])
        data = np.empty((len(onsets), len(channels), last - first))
        for place, (onset, start) in enumerate(zip(onsets.tolist(), starts.tolist(), strict=True)):
            within = next(stretch for stretch in stretches if stretch[0] <= start < stretch[1])
            data[place] = self._cut_one(raw, channels, onset, first, last, within)
        return data

    def _cut_one(
        self, raw: mne.io.BaseRaw, channels: list[str], onset: int, first: int, last: int, within: tuple[int, int]
    ) -> np.ndarray:
        """Return the samples ``first`` to before ``last`` of the trial around a sample of the recording.

        What the filter would need from outside the unbroken stretch ``within`` is continued by point reflection.
        """
        if self.up == self.down:
            return raw[channels, onset + first : onset + last][0]
        # scipy's filter reaches ten times the longer step to each side. Beginning a multiple of `down` before the event
        # keeps the event on a sample of the result.
        reach = 10 * max(self.up, self.down) / self.up + 1
        steps = floor((first * self.down / self.up - reach) / self.down)
        start = onset + steps * self.down
        stop = onset + ceil(last * self.down / self.up + reach)
        inside = raw[channels, max(start, within[0]) : min(stop, within[1])][0]
        missing = max(within[0] - start, 0), max(stop - within[1], 0)
        if any(missing):
            inside = np.pad(inside, ((0, 0), missing), mode="reflect", reflect_type="odd")
        skipped = first - steps * self.up
        return resample_poly(inside, self.up, self.down, axis=-1)[:, skipped : skipped + last - first]


def _ratio(wanted: float) -> Fraction:
    """Return the simplest fraction within a millionth of a ratio of two sampling rates."""
    for limit in (10, 100, 1000, 10_000, 100_000):
        ratio = Fraction(wanted).limit_denominator(limit)
        if ratio and abs(float(ratio) / wanted - 1) < 1e-6:
            return ratio
    raise UserError(f"resample: no simple fraction is near the ratio of the rates, {wanted:.9g}; take another rate")


def _with_onsets(events: pd.DataFrame, rate: float, where: str) -> pd.DataFrame:
    table = events.reset_index(drop=True).assign(number=np.arange(len(events)))
    if "onset_sample" not in table:
        onsets = pd.to_numeric(table["onset"]).to_numpy(dtype=float)
        if not np.isfinite(onsets).all():
            row = int(np.flatnonzero(~np.isfinite(onsets))[0]) + 1
            raise UserError(f"{where}event {row} has no onset; expected seconds")
        table["onset_sample"] = np.floor(onsets * rate + 0.5).astype(int)
    return table.assign(label=table["label"].astype("str"))


def _reasons(
    raw: mne.io.BaseRaw, not_numbers: np.ndarray, onsets: np.ndarray, starts: np.ndarray, stops: np.ndarray
) -> list[str | None]:
    """Say why trials cannot be cut; None where they can."""
    lost = np.concatenate([[0], np.cumsum(not_numbers)])
    annotated = _annotated(raw)
    seen: set[int] = set()
    reasons: list[str | None] = []
    for onset, start, stop in zip(onsets.tolist(), starts.tolist(), stops.tolist(), strict=True):
        if onset in seen:
            reasons.append("another event at the same sample")
        elif start < 0 or stop > raw.n_times:
            reasons.append("reaches out of the recording")
        else:
            meets = [words for begin, end, words in annotated if begin < stop and end > start]
            if any(words.startswith((*_BREAKS, _SKIPS)) for words in meets):
                reasons.append("over an interruption of the recording")
            elif lost[stop] > lost[start]:
                reasons.append("samples that are not numbers")
            else:
                bad = [words for words in meets if words.startswith("bad")]
                reasons.append(f"marked in the recording as {bad[0]}" if bad else None)
        seen.add(onset)
    return reasons


def told_of_units(data: np.ndarray, types: Sequence[str], where: str) -> str:
    """Warn of channels whose usual range no signal of their type has, and return the words; '' if all have one.

    Parameters
    ----------
    data : ndarray, shape (trials, channels, samples)
        In volt (tesla, tesla per metre).
    types : sequence of str, length channels
    where : str
        For messages.
    """
    told = []
    ranges = np.ptp(data, axis=-1)
    for type_ in dict.fromkeys(types):
        least, most, unit = PLAUSIBLE.get(type_, (0.0, np.inf, ""))
        own = ranges[:, [one == type_ for one in types]]
        # Channels that do not vary are spoken of elsewhere.
        usual = float(np.median(own[own > 0])) if (own > 0).any() else least
        if least <= usual <= most:
            continue
        small = {"V": {"uV": 1e-6, "mV": 1e-3, "nV": 1e-9}, "T": {"fT": 1e-15, "pT": 1e-12}}
        steps = (small | {"T/m": {"fT/cm": 1e-13, "fT/m": 1e-15}})[unit]
        like = [name for name, step in steps.items() if usual > most and least <= usual * step <= most]
        guess = f", and they may be numbers of {' or '.join(like)}, or z-scores" if like else ""
        told.append(
            f"channels of type {type_} have a range of {usual:.3g} {unit} in a trial (median), expected {least:g} to "
            f"{most:g} {unit}{guess}: if the file holds another unit than {unit}, write it again in {unit}; 'reject' "
            f"and 'flat' compare with {unit}"
        )
    if told:
        log.warning("%s%s", where, "; ".join(told))
    return "; ".join(told)


def out_of_range(
    data: np.ndarray, types: Sequence[str], reject: Mapping[str, float], flat: Mapping[str, float], where: str = ""
) -> list[str | None]:
    """Say of every trial whether the range of a channel is under or over the limit for its type.

    Parameters
    ----------
    data : ndarray, shape (trials, channels, times)
    types : sequence of str, length channels
    reject, flat : mapping of str to float
        Limits by type, in the unit of the data.
    where : str
        Begins messages.

    Raises
    ------
    UserError
        There is a limit for a type that no channel has.
    """
    for key, limits in (("reject", reject), ("flat", flat)):
        for type_ in limits:
            if type_ not in types:
                raise UserError(f"{where}{key}: no channel of type {type_!r}; {did_you_mean(type_, set(types))}")
    reasons: list[str | None] = [None] * len(data)
    if not len(data):
        return reasons
    ranges = np.ptp(data, axis=-1)
    for limits, beyond, words in ((flat, np.less, "under"), (reject, np.greater, "over")):
        for type_, limit in limits.items():
            hit = beyond(ranges[:, [own == type_ for own in types]], limit).any(axis=1)
            reasons = [
                f"range of a channel of type {type_} {words} {limit:g}" if bad and reason is None else reason
                for reason, bad in zip(reasons, hit, strict=True)
            ]
    return reasons


def _overlaps(intervals: Sequence[tuple[int, int]], overlap: Literal["exclude", "allow"]) -> list[bool]:
    """Say of intervals in the order of time which share samples with another one, or with an earlier one that stays."""
    if overlap == "allow":
        shared = [False] * len(intervals)
        for place, (earlier, later) in enumerate(pairwise(intervals)):
            if later[0] < earlier[1]:
                shared[place] = shared[place + 1] = True
        return shared
    shared, until = [], None
    for start, stop in intervals:
        shared.append(until is not None and start < until)
        until = until if shared[-1] else stop
    return shared


def _info(raw: mne.io.BaseRaw, channels: Sequence[str], rate: float) -> mne.Info:
    """Describe the channels at another rate; who was recorded and when is left out."""
    info = mne.create_info(list(channels), rate, raw.get_channel_types(picks=channels), verbose="WARNING")
    for own, name in zip(info["chs"], channels, strict=True):
        own.update(deepcopy(raw.info["chs"][raw.ch_names.index(name)]))
    return info


def time_course(data: np.ndarray, times: np.ndarray, bins: int, key: str = "bins") -> tuple[np.ndarray, np.ndarray]:
    """Average every trial and channel over equal stretches of time.

    Parameters
    ----------
    data : ndarray, shape (trials, channels, samples)
    times : ndarray, shape (samples,)
        In seconds, ascending.
    bins : int
        Number of stretches. Where it does not divide the samples, some have one sample more.
    key : str, optional
        The setting that asks for them, for the message.

    Returns
    -------
    means : ndarray, shape (trials, channels, bins)
    centres : ndarray, shape (bins,)
        Mean time of each stretch in seconds.

    Raises
    ------
    UserError
        More bins than samples.

    Examples
    --------
    >>> means, centres = time_course(np.array([[[1.0, 3.0, 5.0, 7.0]]]), np.arange(4.0), 2)
    >>> means.tolist(), centres.tolist()
    ([[[2.0, 6.0]]], [0.5, 2.5])
    """
    if bins > len(times):
        raise UserError(
            f"{key}: {bins} are more than the {len(times)} samples of a trial; take fewer, or resample less"
        )
    edges = np.round(np.linspace(0, len(times), bins + 1)).astype(int)
    stretches = [slice(start, stop) for start, stop in pairwise(edges)]
    means = [data[..., stretch].mean(axis=-1) for stretch in stretches]
    return np.stack(means, axis=-1), np.array([times[stretch].mean() for stretch in stretches])


def band_power(data: np.ndarray, rate: float, bands: Mapping[str, tuple[float, float]]) -> np.ndarray:
    """Mean power spectral density of every trial and channel in some frequency bands.

    Multitaper estimate after the mean is taken off (MNE's default half bandwidth: 4 / duration).

    Parameters
    ----------
    data : ndarray, shape (trials, channels, samples)
    rate : float
        Samples per second.
    bands : mapping of str to (float, float)
        Lower edge (inside) and upper edge (outside) in Hz.

    Returns
    -------
    ndarray, shape (trials, channels, bands)
        In the data's unit squared per Hz. Times the width of a band it is the power therein.

    Raises
    ------
    UserError
        Fewer samples than tapers, a band above half the rate, or one between two frequencies of the estimate.

    References
    ----------
    Thomson 1982, Proc. IEEE 70:1055 (multitaper); Slepian 1978 (the tapers).
    """
    if data.shape[-1] < _TAPERS:
        raise UserError(
            f"bands: trials of {data.shape[-1]} samples are too short for their power, which needs {_TAPERS}; take "
            "longer trials, or resample less"
        )
    density, frequencies = mne.time_frequency.psd_array_multitaper(data, rate, normalization="full", verbose="WARNING")
    return np.stack(
        [density[..., _inside(frequencies, name, *edges)].mean(axis=-1) for name, edges in bands.items()], -1
    )


def _inside(frequencies: np.ndarray, name: str, low: float, high: float) -> np.ndarray:
    inside = (frequencies >= low) & (frequencies < high)
    if high > frequencies[-1]:
        raise UserError(
            f"bands.{name}: {low:g} to {high:g} Hz cannot be estimated: half the sampling rate of the trials is "
            f"{frequencies[-1]:g} Hz; end the band there, or resample less"
        )
    if not inside.any():
        raise UserError(
            f"bands.{name}: {low:g} to {high:g} Hz cannot be estimated: trials of this length show steps of "
            f"{frequencies[1]:.3g} Hz, none of them inside; widen the band, or take longer trials"
        )
    return inside


def morlet_power(
    data: np.ndarray, times: np.ndarray, rate: float, bands: Mapping[str, Band], bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Power spectral density by Morlet wavelets, averaged over some bands and over equal stretches of time.

    The wavelets have half as many cycles as their frequency in Hz, but at most 7, and not more than fit into a trial,
    and at least 3. Their frequencies are at most one standard deviation (frequency / cycles) of the lowest apart. Every
    trial stands alone: within half a wavelet of its ends, where it is continued by zeros after its mean was taken off,
    less power is found.

    Parameters
    ----------
    data : ndarray, shape (trials, channels, samples)
    times : ndarray, shape (samples,)
        In seconds.
    rate : float
        Samples per second.
    bands : mapping of str to (float, float)
        Lower and upper edge in Hz.
    bins : int
        Stretches of time.

    Returns
    -------
    power : ndarray, shape (trials, channels, bands, bins)
        In the data's unit squared per Hz: that of white noise of variance s is 2 s / rate, but near the ends.
    centres : ndarray, shape (bins,)
        In seconds.

    Raises
    ------
    UserError
        A band above half the rate, a wavelet of 3 cycles longer than the trial, more bins than samples.

    References
    ----------
    Tallon-Baudry et al. 1997, J. Neurosci. 17:722 (scaling of the wavelets).
    """
    centred = data - data.mean(axis=-1, keepdims=True)
    duration = data.shape[-1] / rate
    blocks = []
    for name, (low, high) in bands.items():
        _refuse_edges_of_band(name, low, high, rate)
        count = ceil((high - low) * _cycles(low, duration) / low)
        frequencies = low + (high - low) * (np.arange(count) + 0.5) / count
        cycles = _cycles(frequencies, duration)
        if cycles.min() < 3:
            least = 3 * _WAVELET / frequencies.min()
            raise UserError(
                f"bands.{name}: a Morlet wavelet of {frequencies.min():.3g} Hz lasts {least:.3g} s or more, and a "
                f"trial {duration:.3g} s; take longer trials, a higher band, or 'power: multitaper'"
            )
        means = []
        for trial in centred:
            # One trial at a time: an array by frequency and sample of all of them may not fit into memory.
            power = mne.time_frequency.tfr_array_morlet(
                trial[np.newaxis], rate, frequencies, n_cycles=cycles, output="power", verbose="WARNING"
            )
            means.append(power[0].mean(axis=1) / rate)
        course, centres = time_course(np.stack(means), times, bins, "power_bins")
        blocks.append(course)
    return np.stack(blocks, axis=2), centres


def _cycles(frequencies: np.ndarray | float, duration: float) -> np.ndarray:
    frequencies = np.asarray(frequencies)
    # A rounding error must not make a wavelet longer than the trial.
    return np.minimum(np.clip(frequencies / 2, 3, 7), frequencies * duration / _WAVELET * (1 - 1e-9))


def _refuse_edges_of_band(name: str, low: float, high: float, rate: float) -> None:
    if high > rate / 2:
        raise UserError(
            f"bands.{name}: {low:g} to {high:g} Hz does not fit trials of {rate:g} Hz; it must end at {rate / 2:g} Hz; "
            "lower it, or resample less"
        )


def band_phase(data: np.ndarray, rate: float, bands: Mapping[str, Band]) -> np.ndarray:
    """Phase of every trial and channel in some frequency bands, as unit vectors.

    The trial is filtered to the band (Butterworth of order 4, forwards and backwards) and made analytic (Hilbert). The
    turning of the band's centre frequency is taken out, and what remains is averaged around the middle of the trial,
    with a Hann window of 2 / width of the band, at most the trial: so no frequency in the band turns on and cancels
    itself. The result is the phase (samples - 1) / 2 after the first sample: for a cosine of any frequency in the band,
    what its argument is there.

    Parameters
    ----------
    data : ndarray, shape (trials, channels, samples)
    rate : float
        Samples per second.
    bands : mapping of str to (float, float)
        Lower and upper edge in Hz.

    Returns
    -------
    ndarray, shape (trials, channels, bands, 2)
        Cosine and sine; NaN where there is nothing.

    Raises
    ------
    UserError
        A band that ends at half the rate or above, or trials shorter than two cycles of its lower edge.
    """
    samples = data.shape[-1]
    seconds = (np.arange(samples) - (samples - 1) / 2) / rate
    phases = []
    for name, (low, high) in bands.items():
        if high >= rate / 2:
            raise UserError(
                f"phase.{name}: {low:g} to {high:g} Hz does not fit trials of {rate:g} Hz; it must end under "
                f"{rate / 2:g} Hz; lower it, or resample less"
            )
        if samples / rate < 2 / low - 1e-9:
            raise UserError(
                f"phase.{name}: trials of {samples / rate:.3g} s hold less than two cycles of {low:g} Hz; "
                "take longer trials or a higher band"
            )
        filtered = mne.filter.filter_data(
            data, rate, low, high, method="iir", iir_params=dict(_BUTTERWORTH), verbose="WARNING"
        )
        width = min(2 / (high - low), samples / rate)
        window = np.where(np.abs(seconds) < width / 2, 1 + np.cos(2 * np.pi * seconds / width), 0)
        still = np.exp(-2j * np.pi * (low + high) / 2 * seconds)
        # One trial at a time, as the analytic signal of all of them takes four times their memory.
        mean = np.empty(data.shape[:2], dtype=complex)
        for place, trial in enumerate(filtered):
            mean[place] = (hilbert(trial, axis=-1) * (window * still)).sum(axis=-1)
        length = np.abs(mean)
        phase = np.divide(mean, length, out=np.full_like(mean, complex(np.nan, np.nan)), where=length > 0)
        phases.append(np.stack([phase.real, phase.imag], axis=-1))
    return np.stack(phases, axis=2)


def signal_features(
    data: np.ndarray, times: np.ndarray, rate: float, channels: Sequence[str], settings: SignalFeatures
) -> pd.DataFrame:
    """Describe every trial by numbers, using nothing of the others.

    Parameters
    ----------
    data : ndarray, shape (trials, channels, samples)
        In the unit that the features shall have.
    times : ndarray, shape (samples,)
        In seconds.
    rate : float
        Samples per second.
    channels : sequence of str
    settings : SignalFeatures

    Returns
    -------
    DataFrame
        A row a trial, float32. Time courses ``{channel}_t{seconds}`` in the data's unit (channel by channel: C order of
        channel and time), then log10 of the power spectral density ``{channel}_{band}``, or
        ``{channel}_{band}_t{seconds}`` of stretches of time, in the unit squared per Hz, then the phase
        ``{channel}_{band}_cos`` and ``_sin``. Power and phase are NaN where a trial is flat, or has samples that are
        not finite.

    Raises
    ------
    UserError
        Settings that do not fit the trials, two columns of one name, or arrays that do not fit each other.
    """
    data = np.asarray(data, dtype=float)
    if data.ndim != 3 or data.shape[1:] != (len(channels), len(times)):
        raise UserError(
            f"trials of shape {data.shape} do not fit {len(channels)} channels and {len(times)} times; expected "
            "(trials, channels, samples)"
        )
    blocks: list[np.ndarray] = []
    names: list[str] = []
    if settings.samples:
        blocks.append(data)
        names += array_names(channels, times)
    if settings.bins:
        means, centres = time_course(data, times, settings.bins)
        blocks.append(means)
        names += array_names(channels, centres)
    silent = ~np.isfinite(data).all(axis=-1) | (np.ptp(data, axis=-1) == 0)
    sound = np.where(silent[..., np.newaxis], 0, data)
    if settings.bands:
        if settings.power == "morlet":
            power, centres = morlet_power(sound, times, rate, settings.bands, settings.power_bins)
        else:
            power, centres = band_power(sound, rate, settings.bands)[..., np.newaxis], times[:1]
        heard = ~silent[..., np.newaxis, np.newaxis] & (power > 0)
        blocks.append(np.log10(np.where(heard, power, np.nan)))
        ends = [f"_t{second}" for second in seconds_in_names(centres)] if settings.power_bins > 1 else [""]
        names += [f"{channel}_{band}{end}" for channel in channels for band in settings.bands for end in ends]
    if settings.phase:
        phase = band_phase(sound, rate, settings.phase)
        blocks.append(np.where(silent[..., np.newaxis, np.newaxis], np.nan, phase))
        names += [
            f"{channel}_{band}_{part}" for channel in channels for band in settings.phase for part in ("cos", "sin")
        ]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise UserError(f"two features would be called {twice[0]!r}; rename channels or bands")
    values = np.concatenate([block.reshape(len(data), -1) for block in blocks], axis=1, dtype=np.float32)
    return pd.DataFrame(values, columns=names)

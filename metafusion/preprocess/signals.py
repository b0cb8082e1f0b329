"""Recordings cut into trials: read and write them, filter them, and describe each trial by numbers.

Nothing here uses one trial to change another. The functions that take arrays want shape (trials, channels, samples).
"""

import os
import struct
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import mne
import numpy as np

from metafusion.errors import UserError, did_you_mean
from metafusion.files import whole

_TAG = struct.Struct(">iIii")
_ID_TYPE, _NEXT_IN_LINE, _NO_NEXT = 31, 0, -1
_ID = struct.Struct(">5i")


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
        raise UserError(f"{path}: no such file") from None
    except (ValueError, OSError, RuntimeError, LookupError, TypeError, MemoryError, struct.error) as fault:
        raise UserError(f"{path}: corrupt or truncated ({fault}); delete it and run again") from None


def write_epochs(epochs: mne.BaseEpochs, path: str | Path) -> None:
    """Write trials as FIF in single precision; the same trials give the same bytes."""
    path = Path(path)
    # MNE wants the ending -epo.fif, so the unfinished file stands in a folder with an unfinished name.
    with whole(path) as unfinished:
        named = unfinished.with_name(f".unfinished.{path.name}")
        try:
            epochs.save(named, overwrite=True, verbose="WARNING")
            _forget_machine(named)
            os.replace(named, unfinished)
        finally:
            named.unlink(missing_ok=True)


def _forget_machine(path: Path) -> None:
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
    ``1 / edge`` seconds at each; the resampling continues them in the same way.

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
    for name, edge in (("highpass", highpass), ("lowpass", lowpass)):
        if edge is not None and not 0 < edge < rate / 2:
            raise UserError(
                f"{name}: {edge:g} Hz does not fit a recording of {rate:g} Hz; it must lie under {rate / 2:g}"
            )
    if highpass is not None and lowpass is not None and highpass >= lowpass:
        raise UserError(f"highpass: {highpass:g} Hz must lie under lowpass ({lowpass:g} Hz)")
    if resample > rate:
        raise UserError(f"resample: {resample:g} Hz is more than the recording has ({rate:g} Hz); it adds nothing")
    epochs = epochs.copy()
    if highpass is not None or lowpass is not None:
        butterworth = {"order": 4, "ftype": "butter", "output": "sos"}
        epochs.filter(highpass, lowpass, method="iir", iir_params=butterworth, verbose="WARNING")
    if resample < rate:
        epochs.resample(resample, method="fft", npad="auto", pad="auto", verbose="WARNING")
    if baseline is not None:
        first, last = baseline
        if not epochs.tmin <= first < last <= epochs.tmax:
            raise UserError(
                f"baseline: {first:g} to {last:g} s does not lie inside the trials, "
                f"which run from {epochs.tmin:g} to {epochs.tmax:g} s"
            )
        epochs.apply_baseline((first, last), verbose="WARNING")
    return epochs


def time_course(data: np.ndarray, times: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Average every trial and channel over equal stretches of time.

    Parameters
    ----------
    data : ndarray, shape (trials, channels, samples)
    times : ndarray, shape (samples,)
        In seconds, ascending.
    bins : int
        Number of stretches. Where it does not divide the samples, some have one sample more.

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
        raise UserError(f"bins: {bins} are more than the {len(times)} samples of a trial; take fewer, or resample less")
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
        A band above half the rate, or between two frequencies of the estimate.

    References
    ----------
    Thomson 1982, Proc. IEEE 70:1055 (multitaper); Slepian 1978 (the tapers).
    """
    density, frequencies = mne.time_frequency.psd_array_multitaper(data, rate, normalization="full", verbose="WARNING")
    return np.stack(
        [density[..., _inside(frequencies, name, *edges)].mean(axis=-1) for name, edges in bands.items()], -1
    )


def _inside(frequencies: np.ndarray, name: str, low: float, high: float) -> np.ndarray:
    inside = (frequencies >= low) & (frequencies < high)
    if high > frequencies[-1] or not inside.any():
        raise UserError(
            f"band {name!r}: {low:g} to {high:g} Hz cannot be estimated; trials of this length and rate show 0 to "
            f"{frequencies[-1]:g} Hz in steps of {frequencies[1]:.3g} Hz"
        )
    return inside

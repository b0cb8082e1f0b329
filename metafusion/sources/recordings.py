"""Recordings of the user's own: read in any format of MNE, cleaned, cut into trials, and described by numbers.

The files are the user's and are only read, so there is nothing to acquire. A session is a chunk: its runs are cleaned
and cut one by one, and joined. Reading is MNE's (Gramfort et al. 2013, Front. Neurosci. 7:267); the layout is that of
BIDS (Pernet et al. 2019, Sci. Data 6:103; Niso et al. 2018, 5:180110; Holdgraf et al. 2019, 6:102).
"""

import configparser
import logging
import re
import struct
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import reduce
from pathlib import Path

import mne
import numpy as np
import pandas as pd
from scipy.io.matlab import MatReadError

from metafusion.config.recordings import RecordedChannels, RecordedSession, Recording, Recordings, as_whole
from metafusion.config.trials import SignalFeatures
from metafusion.errors import DAMAGED, BrokenInputError, UserError, did_you_mean, told_of
from metafusion.files import read_json, read_table, write_json, write_table
from metafusion.neural_figures import draw_session_figures
from metafusion.preprocess import signals
from metafusion.preprocess.tables import column_names, read_user_table, require_column, shortened
from metafusion.preprocess.trials import counted
from metafusion.samples import Assembled, no_exclusions
from metafusion.sources.trials import assemble_sessions, sample_names, with_samples, write_session

log = logging.getLogger("metafusion")

EVENTS, LACKING, FAULT = "events.tsv", "lacking.json", "fault.json"
NO_EVENTS = "none of the events asked for"

UNITS = {"mag": "fT", "grad": "fT/cm"} | dict.fromkeys(("eeg", "eog", "ecg", "emg", "seeg", "ecog", "dbs"), "uV")
"""Units of features by type of channel; the others stay as they are in the file."""

BIDS_TYPES = {
    **{name.upper(): name for name in ("eeg", "ecog", "seeg", "dbs", "eog", "ecg", "emg", "resp", "gsr", "misc")},
    "VEOG": "eog",
    "HEOG": "eog",
    "TRIG": "stim",
    "TEMP": "temperature",
    "PPG": "bio",
    "REF": "eeg",
    **dict.fromkeys(("AUDIO", "EYEGAZE", "PUPIL", "SYSCLOCK", "ADC", "DAC", "HLU", "FITERR", "OTHER"), "misc"),
}
"""Types in tables of channels, and what MNE calls them. Those of MEG (MEGMAG, MEGGRADPLANAR, ...) are in the files."""

FEW_TIMES = 5
"""Onsets so many times the length of a recording are in another unit, in which they fill this part of it or more."""

_UNREADABLE = (*DAMAGED, RuntimeError, AttributeError, struct.error, configparser.Error, MatReadError)
"""What MNE raises for a damaged file; NotImplementedError is a RuntimeError."""


class BrokenSessionError(BrokenInputError):
    """A session that cannot be used."""


@dataclass
class Run:
    """Trials of one recording.

    Attributes
    ----------
    epochs : Epochs
        Cleaned.
    trials : DataFrame
        ``sample`` and ``target`` of each.
    excluded : DataFrame
        ``sample`` and ``reason``.
    events : DataFrame
        ``event``, ``count``: all that stand in the recording.
    rate : float
        Of the trials, in Hz.
    regions : dict of str to str
        Of channels, where they are known.
    bad : set of str
        Channels that are there and not used.
    """

    epochs: mne.BaseEpochs
    trials: pd.DataFrame
    excluded: pd.DataFrame
    events: pd.DataFrame
    rate: float
    regions: dict[str, str]
    bad: set[str]


def preprocess(source: Recordings, unit: str, chunk: str, acquired: None, folder: Path) -> None:
    """Clean a session, cut it into trials, and make the features of all modalities.

    Parameters
    ----------
    source : Recordings
    unit : str
        ``session``.
    chunk : str
        The session's name.
    acquired : None
        There is nothing acquired.
    folder : path
        Gets the files of :mod:`metafusion.sources.trials`, ``events.tsv`` (``event``, ``class``, ``count``: what stands
        in the recordings) and ``lacking.json`` (by modality, what it asks for in vain); of a broken session
        ``fault.json`` instead of both.

    Raises
    ------
    UserError
        A channel is missing and ``missing_channels`` is 'stop', or the session cannot be used and ``on_broken`` is.
    """
    session = source.session(chunk)
    folder = Path(folder)
    try:
        runs = _runs(source, session)
    except BrokenSessionError as error:
        if source.on_broken == "stop":
            raise
        log.warning("session %s is left out: %s", chunk, error)
        broken = no_exclusions()
        broken.loc[0] = [chunk, session.subject, "", error.reason]
        nothing = pd.DataFrame({key: pd.Series(dtype="str") for key in ("sample", "subject", "session", "target")})
        write_session(folder, nothing, {}, broken)
        write_json(str(error), folder / FAULT)
        return
    trials = pd.concat([run.trials for run in runs], ignore_index=True)
    epochs = with_samples(_joined(runs, source, chunk), trials["sample"])
    trials = trials.assign(subject=session.subject, session=chunk)
    features, lacking = {}, {}
    for modality, group in source.modalities.items():
        where = f"session {chunk}: modality {modality!r}"
        channels, lacking[modality] = _chosen(epochs, group, runs, where, source)
        if channels:
            with told_of(f"session {chunk}: modalities.{modality}"):
                features[modality] = features_of(epochs, channels, group)
    excluded = pd.concat([run.excluded for run in runs], ignore_index=True)
    excluded = excluded.assign(subject=session.subject, modality="")
    write_session(
        folder,
        trials[["sample", "subject", "session", "target"]],
        features,
        excluded,
        epochs,
        facts={"rate": round(runs[0].rate, 6), "samples of a trial": len(epochs.times)},
    )
    counts = pd.concat([run.events for run in runs]).groupby("event", sort=True)["count"].sum().reset_index()
    counts.insert(1, "class", counts["event"].map(source.events.class_of))
    write_table(counts, folder / EVENTS)
    write_json(lacking, folder / LACKING)
    if len(excluded):
        log.info("session %s: left out: %s", chunk, counted(excluded["reason"]))
    log.info("session %s: %d trials at %g Hz, %d channels", chunk, len(trials), runs[0].rate, len(epochs.ch_names))


def _runs(source: Recordings, session: RecordedSession) -> list[Run]:
    runs: dict[Path, Run] = {}
    without: list[BrokenSessionError] = []
    events = 0
    for recording in session.recordings:
        try:
            run = _run(source, session, recording, events)
        except BrokenSessionError as error:
            # A run of another condition takes nothing from the others.
            if error.reason != NO_EVENTS or source.on_broken == "stop":
                raise
            without.append(error)
            continue
        runs[recording.file] = run
        events += len(run.epochs) + len(run.excluded)
    if not runs:
        raise without[0]
    for error in without:
        log.warning("session %s: a run is left out: %s", session.name, error)
    rates = {run.rate for run in runs.values()}
    if len(rates) > 1:
        files = "; ".join(f"{run.rate:g} Hz in {file}" for file, run in runs.items())
        raise BrokenSessionError(
            f"session {session.name}: its runs differ in their sampling rate: {files}; set 'resample' in 'cleaning' to "
            f"{min(rates):g} or less",
            "runs differ in their sampling rate",
        )
    return list(runs.values())


def _run(source: Recordings, session: RecordedSession, recording: Recording, before: int) -> Run:
    """Clean and cut one recording; ``before`` is the number of events in earlier runs of the session."""
    path = recording.file
    opened = open_recording(path)
    regions = _described_by_tables(opened, source, recording)
    cut_already = isinstance(opened, mne.BaseEpochs)
    events = _of_epochs(opened) if cut_already else _events(opened, source, recording)
    counts = events["event"].value_counts().sort_index().rename_axis("event").reset_index(name="count")
    events = events.assign(label=events["event"].map(source.events.class_of)).dropna(subset="label")
    if events.empty:
        listed = ", ".join(f"{row.event!r} ({row.count} times)" for row in counts.itertuples(name="Row", index=False))
        where = "" if cut_already else f" ({_place_of_events(source, recording)})"
        raise BrokenSessionError(
            f"{path}: none of the events asked for ({', '.join(source.events.class_of)}) is there{where}; found "
            f"{listed or 'no event at all'}; correct 'classes' in 'events'",
            NO_EVENTS,
        )
    events = events.assign(sample=sample_names(session.subject, session.name, before + 1 + np.arange(len(events))))
    faults = pd.Series(None, events.index, dtype="object")
    faults[events["onset_sample"].isna()] = "event without an onset"
    if not cut_already:
        classes = events.groupby("onset_sample")["label"].transform("nunique")
        faults[classes > 1] = "two classes at the same sample"
    timed, unclear = events[faults.isna()], events.assign(reason=faults)[faults.notna()]
    settings = source.cleaning
    bad = _mark_bad(opened, source, session.name)
    _drop_idle(opened, source, regions)
    with _session_faults("cannot be cleaned or cut into trials", path):
        if cut_already:
            epochs, excluded = _clean_epochs(opened, timed, source)
        else:
            timed = timed.astype({"onset_sample": int}).reset_index(drop=True)
            cleaned = signals.clean(opened, settings.model_copy(update={"bad_channels": {}}), session.name)
            epochs, excluded = signals.cut(
                cleaned,
                timed,
                source.window,
                baseline=settings.baseline,
                resample=settings.resample,
                reject=settings.reject,
                flat=settings.flat,
                overlap=settings.overlap,
                session=session.name,
            )
    trials = epochs.metadata.rename(columns={"label": "target"})[["sample", "target"]]
    excluded = pd.concat([unclear, excluded])[["sample", "reason"]].sort_values("sample", ignore_index=True)
    return Run(epochs, trials, excluded, counts, float(epochs.info["sfreq"]), regions, bad - set(epochs.ch_names))


@contextmanager
def _session_faults(reason: str, path: Path | None = None) -> Iterator[None]:
    """Turn what is wrong with a recording into a fault of its session; ``path`` is said if messages do not say it."""
    try:
        yield
    except BrokenSessionError:
        raise
    except UserError as error:
        raise BrokenSessionError(f"{path}: {error}" if path else str(error), reason) from None


# Reading


def open_recording(path: Path) -> mne.io.BaseRaw | mne.BaseEpochs:
    """Open a recording, or epochs (in memory), and make sure that it can be read to its end.

    Parameters
    ----------
    path : Path
        In any format that MNE reads. Epochs are ``-epo.fif`` or ``_epo.fif``, and ``.set`` with more than one trial.

    Raises
    ------
    BrokenSessionError
        No such file, or it is damaged, truncated or of another format than its name says.
    """
    if not path.exists():
        # Data sets that were got without their contents (DataLad, git-annex) are links to nothing.
        raise BrokenSessionError(
            f"{path}: {'a link to nothing' if path.is_symlink() else 'no such file'}; expected the recording; get it "
            "first, for example with 'datalad get'",
            "file is not there",
        )
    with _damage_told(path):
        if path.suffix.casefold() in (".edf", ".bdf"):
            _refuse_truncated_edf(path)
        elif path.suffix.casefold() == ".vhdr":
            _refuse_truncated_brainvision(path)
        if _holds_epochs(path):
            reader = mne.read_epochs_eeglab if path.suffix.casefold() == ".set" else mne.read_epochs
            return reader(path, verbose="WARNING").load_data()
        raw = mne.io.read_raw(path, preload=False, verbose="WARNING")
        if path.suffix.casefold() == ".set":
            _refuse_truncated_fdt(path, raw)
        elif path.suffix.casefold() == ".vhdr":
            _tell_lost_markers(path, raw)
        # All of the file, but one channel in memory only.
        raw.get_data(picks=[0])
        return raw


def _holds_epochs(path: Path) -> bool:
    if path.suffix.casefold() == ".set":
        try:
            mne.io.read_raw_eeglab(path, preload=False, verbose="ERROR")
        except TypeError:
            # What MNE says to a file with more than one trial.
            return True
        return False
    return path.name.removesuffix(".gz").endswith(("-epo.fif", "_epo.fif"))


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Turn what MNE raises into a fault of the session."""
    try:
        with _warnings_told(path):
            yield
    except BrokenSessionError:
        raise
    except ImportError as fault:
        raise BrokenSessionError(
            f"{path}: reading this format needs a further package ({fault}); install it, or convert the file to .fif",
            "format cannot be read",
        ) from None
    except FileNotFoundError as fault:
        raise BrokenSessionError(
            f"{path}: names a file with its data that is not there ({fault.filename or fault}); put it where it is "
            f"expected, or correct its name in {path.name}",
            "file is not there",
        ) from None
    except _UNREADABLE as fault:
        words = " ".join(str(fault).split()) or type(fault).__name__
        raise BrokenSessionError(
            f"{path}: cannot be read: corrupt or truncated, or of another format than its name says ({words}); copy or "
            "export it again",
            "file cannot be read",
        ) from None


@contextmanager
def _warnings_told(path: Path) -> Iterator[None]:
    """Turn MNE's warnings into lines of the log, and the one of a file that ends early into a fault."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield
    for words in dict.fromkeys(" ".join(str(warning.message).split()) for warning in told):
        if "Invalid tag" in words:
            raise BrokenSessionError(
                f"{path}: truncated: it ends before its last tag ({words}); copy it again", "file cannot be read"
            )
        if "outside data range" in words:
            log.warning("%s: %s Events after its end are lost; if it is truncated, copy it again", path, words)
        elif "no annotations" in words:
            log.warning("%s: %s Copy that file, too", path, words)
        elif "naming conventions" not in words:
            log.info("%s: %s", path, words)


def _refuse_truncated_edf(path: Path) -> None:
    """Raise BrokenSessionError if a file of EDF or BDF is shorter than its header says; MNE would read what is there.

    Kemp et al. 1992, Electroencephalogr. Clin. Neurophysiol. 82:391.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        main = file.read(256)
        signals_count = int(main[252:256])
        file.seek(256 + 216 * signals_count)
        lengths = [int(file.read(8)) for _ in range(signals_count)]
    records, width = int(main[236:244]), 3 if path.suffix.casefold() == ".bdf" else 2
    expected = int(main[184:192]) + records * sum(lengths) * width
    # Where the number of records is not known (-1), the file was never closed, and its end is its end.
    if records >= 0 and size < expected:
        raise _truncated(path, size, f"{expected} for {records} data records")


def _truncated(path: Path, size: int, expected: str) -> BrokenSessionError:
    return BrokenSessionError(
        f"{path}: truncated: it has {size} bytes, expected {expected}; copy it again", "file cannot be read"
    )


_BYTES = {"INT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4, "IEEE_FLOAT_64": 8}


def _header_of_brainvision(path: Path) -> dict[str, str]:
    header = path.read_bytes().decode("latin-1")
    return dict(re.findall(r"^(\w+)[ \t]*=[ \t]*(.+?)[ \t\r]*$", header, re.MULTILINE))


def _refuse_truncated_brainvision(path: Path) -> None:
    """Raise BrokenSessionError if data of BrainVision are shorter than the header says, or end within a sample.

    Most headers do not say how long they are, and MNE reads what is there. That a file is missing is said by MNE.
    """
    known = _header_of_brainvision(path)
    data = path.parent / known.get("DataFile", "").replace("$b", path.stem)
    width = _BYTES.get(known.get("BinaryFormat", ""))
    if known.get("DataFormat", "").upper() != "BINARY" or width is None or not data.is_file():
        return
    size, sample = data.stat().st_size, width * int(known["NumberOfChannels"])
    told = f"{known['NumberOfChannels']} channels of {width} bytes, as {path} says"
    if size < (expected := int(known.get("DataPoints", 0)) * sample):
        raise _truncated(data, size, f"{expected} for {known['DataPoints']} samples of {told}")
    if size % sample:
        raise _truncated(data, size, f"whole samples of {told}")


def _tell_lost_markers(path: Path, raw: mne.io.BaseRaw) -> None:
    """Name the markers of BrainVision after the end of the data: they are no annotations of the recording."""
    markers = path.parent / _header_of_brainvision(path).get("MarkerFile", "").replace("$b", path.stem)
    if not markers.is_file():
        return
    found, length = mne.read_annotations(markers, sfreq=raw.info["sfreq"]), raw.n_times / raw.info["sfreq"]
    late = Counter(str(one["description"]) for one in found if one["onset"] >= length)
    if late:
        listed = ", ".join(f"{name!r} ({count} times)" for name, count in sorted(late.items()))
        log.warning(
            "%s: %d of %d markers lie after the end of the data (%g s): %s; the data file is probably truncated",
            *(markers, late.total(), len(found), length, listed),
        )


def _refuse_truncated_fdt(path: Path, raw: mne.io.BaseRaw) -> None:
    """Raise BrokenSessionError if the data beside EEGLAB's .set are shorter than it says."""
    for file in map(Path, filter(None, raw.filenames)):
        expected = 4 * len(raw.ch_names) * raw.n_times
        if file.suffix.casefold() == ".fdt" and file.stat().st_size < expected:
            raise _truncated(
                file,
                file.stat().st_size,
                f"{expected} for {raw.n_times} samples of {len(raw.ch_names)} channels, as {path} says",
            )


# Tables beside a recording


def _described_by_tables(
    opened: mne.io.BaseRaw | mne.BaseEpochs, source: Recordings, recording: Recording
) -> dict[str, str]:
    """Set types and bad channels as the tables say, in place, and return the regions of channels."""
    types, regions = {}, {}
    if recording.channels:
        with _session_faults("table of channels cannot be used"):
            table = _table_of(recording.channels, opened.ch_names, ["type", "status", source.region_column])
            types = _types(table, recording.channels)
            if "status" in table:
                marked = table.loc[table["status"].str.casefold() == "bad", "name"]
                opened.info["bads"] = [*dict.fromkeys([*opened.info["bads"], *marked])]
            regions |= _regions(table, source.region_column)
    if recording.electrodes:
        with _session_faults("table of electrodes cannot be used"):
            table = _table_of(recording.electrodes, opened.ch_names, [source.region_column])
            regions |= _regions(table, source.region_column)
    for pattern, type_ in source.channel_types.items():
        fitting = [name for name in opened.ch_names if fnmatchcase(name, pattern)]
        if not fitting:
            log.warning("%s: channel_types: no channel is called %s", recording.file, pattern)
        types |= dict.fromkeys(fitting, type_)
    known = dict(zip(opened.ch_names, opened.get_channel_types(), strict=True))
    changed = {name: type_ for name, type_ in types.items() if known[name] != type_}
    with _session_faults("types of channels cannot be set", recording.file), _warnings_told(recording.file):
        try:
            opened.set_channel_types(changed, on_unit_change="ignore", verbose="WARNING")
        except (ValueError, RuntimeError) as fault:
            raise UserError(f"types of channels cannot be set: {fault}; correct them") from None
    return regions


def _table_of(path: Path, channels: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Read ``name`` and those columns that there are, of the channels that the recording has."""
    header = dict.fromkeys(column_names(path))
    require_column(path, "name", header)
    there = ["name", *(column for column in columns if column in header)]
    table = read_user_table(path, columns=there, text=there)
    if twice := sorted(set(table.loc[table["name"].duplicated(), "name"])):
        raise UserError(f"{path}: more than one row of channel {shortened(twice)}; keep one each")
    known = table["name"].isin(channels)
    if not known.any():
        raise UserError(
            f"{path}: none of its {len(table)} names, such as {table['name'].iloc[0]!r}, is a channel of the recording "
            f"({shortened(list(channels), 5)}); expected the same names; correct the table"
        )
    if not known.all():
        log.warning("%s: not in the recording: %s", path, shortened(list(table.loc[~known, "name"]), 10))
    return table[known]


def _types(table: pd.DataFrame, path: Path) -> dict[str, str]:
    """Return the types that a table names. Those of MEG are left to the file, which also knows their coils."""
    if "type" not in table:
        return {}
    written = table.set_index("name")["type"].dropna().str.upper()
    for name, word in written.items():
        if word not in BIDS_TYPES and not word.startswith("MEG"):
            known = did_you_mean(word, [*BIDS_TYPES, "MEGMAG", "MEGGRADAXIAL", "MEGGRADPLANAR"])
            raise UserError(f"{path}: channel {name!r} is of no known type: {word!r}; {known}; correct the table")
    return {name: BIDS_TYPES[word] for name, word in written.items() if word in BIDS_TYPES}


def _regions(table: pd.DataFrame, column: str) -> dict[str, str]:
    return {} if column not in table else table.set_index("name")[column].dropna().to_dict()


# Events


def _place_of_events(source: Recordings, recording: Recording) -> str:
    places = {"table": f"{recording.events}, column {source.events.column!r}", "annotations": "annotations"}
    return places.get(source.events.where, "channel of triggers")


def _events(raw: mne.io.BaseRaw, source: Recordings, recording: Recording) -> pd.DataFrame:
    """Return all events: ``event`` (text), ``onset_sample`` from the first sample on (NaN where it is not known)."""
    if source.events.where == "table":
        return _events_of_table(raw, source, recording)
    if source.events.where == "annotations":
        found, codes = mne.events_from_annotations(raw, _number_of_each(raw), regexp=None, verbose="WARNING")
        names = {code: as_whole(str(name)) for name, code in codes.items()}
    else:
        found = _triggers(raw, source, recording)
        names = {code: str(code) for code in found[:, 2]}
    onsets = found[:, 0] - raw.first_samp
    return pd.DataFrame({"event": [names[code] for code in found[:, 2]], "onset_sample": onsets.astype(float)})


def _number_of_each(raw: mne.io.BaseRaw) -> dict[str, int]:
    """Number all descriptions: MNE's own way passes over some."""
    return {name: code for code, name in enumerate(sorted(set(raw.annotations.description)), start=1)}


def _events_of_table(raw: mne.io.BaseRaw, source: Recordings, recording: Recording) -> pd.DataFrame:
    path, column = recording.events, source.events.column
    if path is None:
        found = f"{len(raw.annotations)} annotations"
        if stim := _stim_channels(raw):
            found += f" and {shortened(stim)} of type stim"
        raise BrokenSessionError(
            f"{recording.file}: no table of events beside it; expected a file such as ..._events.tsv with 'onset' and "
            f"{column!r}; the recording itself has {found}: they are used with 'where: annotations' or 'where: stim'",
            "no table of events",
        )
    with _session_faults("table of events cannot be used"):
        header = dict.fromkeys(column_names(path))
        require_column(path, "onset", header)
        require_column(path, column, header, "column of events")
        table = read_user_table(path, columns=["onset", column], text=[column])
        if not pd.api.types.is_numeric_dtype(table["onset"]):
            raise UserError(f"{path}: column 'onset' holds words, expected seconds; correct the table")
    table = table.dropna(subset=column)
    with _session_faults("table of events cannot be used"):
        _tell_late(table["onset"], raw, path)
    onsets = np.floor(table["onset"].to_numpy(float) * raw.info["sfreq"] + 0.5)
    return pd.DataFrame({"event": [as_whole(word) for word in table[column]], "onset_sample": onsets})


def _tell_late(onsets: pd.Series, raw: mne.io.BaseRaw, path: Path) -> None:
    """Say how many events lie after the end of the recording.

    Raises
    ------
    UserError
        They are most of them, and all would lie inside if the onsets were in another unit.
    """
    rate, length = raw.info["sfreq"], raw.n_times / raw.info["sfreq"]
    late = int((onsets >= length).sum())
    if not late:
        return
    found = (
        f"{path}: {late} of {onsets.notna().sum()} events lie after the end of the recording: onsets from "
        f"{onsets.min():g} to {onsets.max():g}, and it lasts {length:g} s"
    )
    # The unit in which the last event comes nearest to the end.
    ends = {f"samples (at {rate:g} Hz)": onsets.max() / rate, "milliseconds": onsets.max() / 1000}
    fitting = {unit: end for unit, end in ends.items() if FEW_TIMES * end > length >= end}
    if 2 * late > onsets.notna().sum() and onsets.max() > FEW_TIMES * length and fitting:
        nearest = max(fitting.values())
        units = " or ".join(unit for unit, end in fitting.items() if end == nearest)
        raise UserError(f"{found}; they look like {units}, expected seconds; write 'onset' in seconds")
    log.warning("%s: they are left out; the recording may be truncated, or the table that of another", found)


def _stim_channels(raw: mne.io.BaseRaw) -> list[str]:
    return [raw.ch_names[pick] for pick in mne.pick_types(raw.info, meg=False, stim=True, exclude=[])]


def _triggers(raw: mne.io.BaseRaw, source: Recordings, recording: Recording) -> np.ndarray:
    channel, there = source.events.channel, _stim_channels(raw)
    if channel is None and len(there) == 1:
        channel = there[0]
    if channel is None or channel not in raw.ch_names:
        asked = f"channel {channel!r}" if channel else "one channel of type stim"
        guess = did_you_mean(channel, raw.ch_names) if channel else f"Known: {', '.join(raw.ch_names)}"
        raise BrokenSessionError(
            f"{recording.file}: expected {asked} for the events, found {shortened(there, 10) or 'none'} of type stim; "
            f"name it in 'channel' of 'events', or take events from elsewhere. {guess}",
            "channel of triggers is missing",
        )
    with _warnings_told(recording.file):
        return mne.find_events(
            raw,
            stim_channel=channel,
            shortest_event=1,
            mask=source.events.mask,
            mask_type="and",
            verbose="WARNING",
        )


def _of_epochs(epochs: mne.BaseEpochs) -> pd.DataFrame:
    """Return the events of epochs; ``place`` is that of the epoch."""
    names = {code: name for name, code in epochs.event_id.items()}
    codes, onsets = epochs.events[:, 2], epochs.events[:, 0]
    events = [as_whole(str(names[code])) for code in codes]
    return pd.DataFrame({"event": events, "onset_sample": onsets.astype(float), "place": np.arange(len(codes))})


# Channels


def _mark_bad(opened: mne.io.BaseRaw | mne.BaseEpochs, source: Recordings, session: str) -> set[str]:
    """Add the channels that the settings call bad to those of the file, in place, and return all of them."""
    listed = source.cleaning.bad_channels
    for key in ("all", session):
        for name in listed.get(key, ()):
            if name not in opened.ch_names:
                raise UserError(
                    f"session {session}: cleaning.bad_channels.{key}: no channel {name!r}; "
                    f"{did_you_mean(name, opened.ch_names)}"
                )
    names = [*opened.info["bads"], *listed.get("all", ()), *listed.get(session, ())]
    opened.info["bads"] = list(dict.fromkeys(names))
    return set(names)


def _drop_idle(opened: mne.io.BaseRaw | mne.BaseEpochs, source: Recordings, regions: Mapping[str, str]) -> None:
    """Drop channels of types that nobody asks for, in place: what is wrong with them does no harm then."""
    types = dict(zip(opened.ch_names, opened.get_channel_types(), strict=True))
    settings = source.cleaning
    wanted = {*settings.reject, *settings.flat}
    if settings.reference is not None:
        wanted |= {"eeg", "ecog", "seeg", "dbs"}
    for group in source.modalities.values():
        wanted |= {types[name] for name in _fitting(types, group, regions)}
    idle = [name for name, type_ in types.items() if type_ not in wanted]
    if len(idle) < len(types):
        opened.drop_channels(idle)


def _fitting(types: Mapping[str, str], group: RecordedChannels, regions: Mapping[str, str]) -> list[str]:
    """Return the channels of a modality, in the order of the recording."""
    return [
        name
        for name, type_ in types.items()
        if (not group.types or type_ in group.types)
        and (not group.channels or any(name == one or fnmatchcase(name, one) for one in group.channels))
        and (not group.regions or regions.get(name) in group.regions)
    ]


def _asked(group: RecordedChannels) -> list[tuple[str, str]]:
    """Return what a modality asks for, one by one: (key, type or name or region)."""
    return [(key, one) for key in ("types", "channels", "regions") for one in getattr(group, key)]


def _chosen(
    epochs: mne.BaseEpochs, group: RecordedChannels, runs: Sequence[Run], where: str, source: Recordings
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the channels of a modality in a session, and what is asked for and not there.

    Raises
    ------
    UserError
        Something is not there, and ``missing_channels`` is 'stop'.
    """
    types = dict(zip(epochs.ch_names, epochs.get_channel_types(), strict=True))
    regions = {name: region for run in runs for name, region in run.regions.items() if name in types}
    there = {"types": set(types.values()), "channels": set(types), "regions": set(regions.values())}
    channels = _fitting(types, group, regions)
    lacking = [
        (key, one)
        for key, one in _asked(group)
        if one not in there[key] and not (key == "channels" and any(fnmatchcase(name, one) for name in types))
    ]
    if source.missing_channels == "exclude":
        if lacking or not channels:
            named = ", ".join(f"{one!r} ({key})" for key, one in lacking)
            log.warning("%s: %s", where, f"not there: {named}" if named else "no channel meets all conditions")
        return channels, lacking
    if channels and not lacking:
        return channels, lacking
    remedy = "correct the settings, or set 'missing_channels: exclude' to do without"
    bad = sorted(set().union(*(run.bad for run in runs)))
    if hit := [one for key, one in lacking if key == "channels" and one in bad]:
        raise UserError(
            f"{where}: channel {shortened(hit)} is bad in this session; {remedy}, or set 'bad_channels_become: "
            "interpolated' in 'cleaning'"
        )
    listed = {
        "types": ", ".join(f"{type_} ({count})" for type_, count in sorted(Counter(types.values()).items())),
        "regions": ", ".join(sorted(there["regions"])) or f"none, as no table has {source.region_column!r}",
    }
    dropped = f"; bad, and not used: {', '.join(bad)}" if bad else ""
    if not lacking:
        told = f"types: {listed['types']}; regions: {listed['regions']}"
        raise UserError(f"{where}: no channel meets all its conditions; the session has {told}{dropped}; {remedy}")
    key, one = lacking[0]
    known = f"{did_you_mean(one, types)}" if key == "channels" else f"the session has {key}: {listed[key]}"
    raise UserError(f"{where}: {key}: no channel fits {one!r}; {known}{dropped}; {remedy}")


def _joined(runs: Sequence[Run], source: Recordings, session: str) -> mne.BaseEpochs:
    """Join the trials of the runs of a session, with the channels that all have."""
    first = runs[0].epochs
    if len(runs) == 1:
        return first
    common = [name for name in first.ch_names if all(name in run.epochs.ch_names for run in runs)]
    lost = sorted(set().union(*(run.epochs.ch_names for run in runs)) - set(common))
    if lost and source.missing_channels == "stop":
        raise UserError(
            f"session {session}: channels that not all of its {len(runs)} runs have, or that are bad in some: "
            f"{shortened(lost, 10)}; name the runs to use in 'runs', or set 'missing_channels: exclude' to do without"
        )
    if not common:
        raise UserError(f"session {session}: its {len(runs)} runs have no channel in common; name one in 'runs'")
    if lost:
        log.warning("session %s: channels that some runs lack are left out: %s", session, ", ".join(lost))
    data = np.concatenate([run.epochs.get_data(picks=common) for run in runs])
    return mne.EpochsArray(
        data,
        first.copy().pick(common, verbose="WARNING").reorder_channels(common).info,
        events=np.column_stack([np.arange(len(data)), np.zeros((len(data), 2), int)]),
        event_id={"trial": 0},
        tmin=first.tmin,
        verbose="WARNING",
    )


def features_of(epochs: mne.BaseEpochs, channels: Sequence[str], group: SignalFeatures) -> pd.DataFrame:
    """Describe some channels of every trial by numbers, in the units of :data:`UNITS`.

    Returns
    -------
    DataFrame
        ``sample`` (of the epochs' metadata), then the columns of
        :func:`metafusion.preprocess.signals.signal_features`.
    """
    types = set(epochs.get_channel_types(picks=list(channels)))
    units = {type_: unit for type_, unit in UNITS.items() if type_ in types}
    data = epochs.get_data(picks=list(channels), units=units or None)
    table = signals.signal_features(data, epochs.times, epochs.info["sfreq"], list(channels), group)
    table.insert(0, "sample", list(epochs.metadata["sample"]))
    return table


# Epochs that were cut before


def _clean_epochs(
    epochs: mne.BaseEpochs, events: pd.DataFrame, source: Recordings
) -> tuple[mne.BaseEpochs, pd.DataFrame]:
    """Do for epochs what cleaning and cutting do for a recording, as far as it can be done to trials one by one."""
    settings = source.cleaning
    for key in ("notch", "reference"):
        if getattr(settings, key):
            raise UserError(f"{key}: is for continuous recordings; do it before epochs are cut, and leave it out here")
    if settings.bad_channels_become == "interpolated" and epochs.info["bads"]:
        raise UserError(
            f"bad channels {', '.join(epochs.info['bads'])}: interpolate them before epochs are cut, or set "
            "'bad_channels_become: dropped'"
        )
    epochs = epochs.drop_channels(epochs.info["bads"])
    start, stop = source.window
    rate = epochs.info["sfreq"]
    for key, interval in (("window", source.window), ("baseline", settings.baseline)):
        # Half a sample, as times are rounded; an epoch ends one sample after its last.
        if interval and not epochs.tmin - 0.5 / rate <= interval[0] < interval[1] <= epochs.tmax + 1.5 / rate:
            raise UserError(
                f"{key}: {interval[0]:g} to {interval[1]:g} s is more than its epochs have ({epochs.tmin:g} to "
                f"{epochs.tmax:g} s); narrow it"
            )
    reasons = pd.Series("", events.index, dtype="str")
    lost = ~np.isfinite(epochs.get_data(copy=False)).all(axis=(1, 2))
    reasons[lost[events["place"]]] = "samples that are not numbers"
    events = events.assign(reason=reasons)
    sound = events[reasons == ""].reset_index(drop=True)
    units = ""
    if len(sound):
        cleaned = signals.filter_resample_baseline(
            epochs[sound["place"].tolist()], settings.highpass, settings.lowpass, settings.resample or rate, None
        )
        if settings.baseline is not None:
            cleaned.apply_baseline(_ends(cleaned, "baseline", *settings.baseline), verbose="WARNING")
        cleaned.crop(*_ends(cleaned, "window", start, stop), verbose="WARNING")
        data, types = cleaned.get_data(copy=False), cleaned.get_channel_types()
        units = signals.told_of_units(data, types, f"{epochs.filename}: ")
        faults = signals.out_of_range(data, types, settings.reject, settings.flat)
        sound["reason"] = [fault or "" for fault in faults]
        if settings.overlap == "exclude" and _say_when(epochs):
            span = (start, stop, *(settings.baseline or ()))
            # Events count samples of the recording, of which epochs may have kept every second only. MNE knows that
            # rate, under no public name.
            _mark_overlaps(sound, (max(span) - min(span)) * epochs._raw_sfreq)
        left = sound.index[sound["reason"] == ""]
    excluded = pd.concat([events[reasons != ""], sound[sound["reason"] != ""]]).sort_values("place")
    if len(excluded) == len(events):
        remedy = units or "mend the limits, or leave out the session"
        raise UserError(f"no trial is left of {len(events)}: {counted(excluded['reason'])}; {remedy}")
    kept = cleaned[left.tolist()]
    with mne.use_log_level("WARNING"):
        kept.metadata = sound.loc[left].reset_index(drop=True)
    return kept, excluded


def _ends(epochs: mne.BaseEpochs, key: str, start: float, stop: float) -> tuple[float, float]:
    """Return the times of the first and the last sample from ``start`` to before ``stop``."""
    inside = epochs.times[(epochs.times >= start - 1e-6) & (epochs.times < stop - 1e-6)]
    if not len(inside):
        raise UserError(f"{key}: its epochs have no sample between {start:g} and {stop:g} s; widen it")
    return inside[0], inside[-1]


def _say_when(epochs: mne.BaseEpochs) -> bool:
    """Return whether the events of epochs are those of the recording; if not, log it."""
    # Epochs made from arrays have made-up events, one sample apart, and some may have been dropped since. EEGLAB counts
    # the samples of its epochs one after the other.
    apart = np.diff(np.sort(epochs.events[:, 0]))
    known = not len(apart) or (np.median(apart) > 1 and Path(epochs.filename).suffix.casefold() != ".set")
    if not known:
        log.warning("the file does not say when its epochs were; whether they overlap is not known")
    return known


def _mark_overlaps(sound: pd.DataFrame, length: float) -> None:
    """Mark trials that begin before an earlier one has ended, in place.

    ``length`` is that of a trial, its baseline included, in samples of the recording.
    """
    last = -np.inf
    for place, onset in sound.loc[sound["reason"] == "", "onset_sample"].sort_values().items():
        if onset < last + length - 1e-6:
            sound.loc[place, "reason"] = "overlaps an earlier trial"
        else:
            last = onset


# Joining


def assemble(source: Recordings, acquired: None, preprocessed: Mapping[str, Sequence[Path]]) -> Assembled:
    """Join sessions; see :func:`metafusion.sources.trials.assemble_sessions`.

    Raises
    ------
    UserError
        No session can be used, an event is in none of them, or sessions differ in channels or sampling rate.
    """
    folders = [Path(folder) for folder in preprocessed["session"]]
    sound = [folder for folder in folders if not (folder / FAULT).exists()]
    if not sound:
        first = read_json(folders[0] / FAULT)
        raise UserError(f"none of the {len(folders)} sessions can be used; the first: {first}")
    _refuse_unknown_events(source, sound)
    _refuse_unknown_channels(source, sound)
    return assemble_sessions(folders, source.modality_names, source.missing_channels)


def _refuse_unknown_events(source: Recordings, folders: Sequence[Path]) -> None:
    tables = [read_table(folder / EVENTS).astype({"event": "str"}) for folder in folders]
    counts = reduce(lambda one, other: one.add(other, fill_value=0), (t.set_index("event")["count"] for t in tables))
    lost = [event for event in source.events.class_of if event not in counts.index]
    if lost:
        listed = ", ".join(f"{event!r} ({int(count)} times)" for event, count in counts.items())
        raise UserError(
            f"events.classes: {shortened(lost, 10)} is in none of the {len(folders)} sessions; found {listed}; correct "
            "or remove it"
        )


def _refuse_unknown_channels(source: Recordings, folders: Sequence[Path]) -> None:
    """Raise UserError where all sessions lack what a modality asks for: a channel may be missing in some only."""
    lacking = [read_json(folder / LACKING) for folder in folders]
    for modality, group in source.modalities.items():
        for key, one in _asked(group):
            if all([key, one] in session[modality] for session in lacking):
                raise UserError(
                    f"modality {modality!r}: {key}: {one!r} is in none of the {len(folders)} sessions; correct or "
                    "remove it"
                )


look = draw_session_figures

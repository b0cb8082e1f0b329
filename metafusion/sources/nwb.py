"""Files of Neurodata Without Borders: spikes, signals and trials of a session each.

The files are the user's and are only read, so there is nothing to acquire. Of signals, the stretches around trials are
read, not the whole file. Rübel et al. 2022, eLife 11:e78362.
"""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pandas as pd

from metafusion.config.spikes import Nwb
from metafusion.errors import UserError, did_you_mean
from metafusion.neural_figures import draw_session_figures
from metafusion.preprocess import signals
from metafusion.preprocess.tables import MISSING, require_column, shortened
from metafusion.sources.spike_sessions import Signal, assemble, choose_channels, select_trials, write_spike_session

__all__ = ["assemble", "look", "preprocess"]

log = logging.getLogger("metafusion")

look = draw_session_figures

LOCATION = "location"
"""Column of electrodes that names their region; units have that of their electrodes."""

LABELS = ("channel_name", "label")
"""Columns of electrodes that may name them."""

TYPE = "seeg"
"""What MNE takes the channels for: electrodes in the brain."""

BREAK = "EDGE boundary"

AT_ONCE = 100_000
"""Samples that are read at once: a file may have hundreds of channels of which few are used."""


def preprocess(source: Nwb, unit: str, chunk: str, acquired: None, folder: Path) -> None:
    """Count the spikes of a file, cut its signals, and make the features of all modalities.

    ``chunk`` is the session's name. ``folder`` gets the files of :mod:`metafusion.sources.trials`, and
    ``silent_units.tsv``.

    Raises
    ------
    UserError
        There is no ``pynwb``, the file cannot be read or lacks what is asked for, or the settings do not fit it.
    """
    path = source.sessions[chunk]
    units, trains, signal = pd.DataFrame({"name": pd.Series(dtype="str")}), [], None
    with opened(path) as file:
        subject = subject_of(file, source, chunk)
        trials, excluded = select_trials(
            read_trials(file, source, path), source.trials, source.span, source.cleaning.overlap, str(path)
        )
        if source.spikes:
            units, trains = read_units(file, source, path)
        if source.signals:
            signal = read_signal(file, source, trials["onset"].to_numpy(), chunk, path)
    write_spike_session(source, chunk, subject, trials, excluded, units, trains, signal, Path(folder), str(path))


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file; what goes wrong in reading it becomes a UserError."""
    try:
        from hdmf.build.errors import BuildError, ConstructError
        from pynwb import NWBHDF5IO
    except ImportError:
        raise UserError(
            f"{path}: reading files of NWB needs pynwb, which is not installed; run '.venv/bin/pip install pynwb'"
        ) from None
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with warnings.catch_warnings(), ExitStack() as stack:
        # They speak of versions and of what is not used here.
        warnings.simplefilter("ignore")
        try:
            file = stack.enter_context(NWBHDF5IO(str(path), "r", load_namespaces=True)).read()
        except (OSError, LookupError, TypeError, ValueError, RuntimeError, BuildError, ConstructError) as fault:
            raise UserError(_unreadable(path, fault)) from None
        try:
            yield file
        except (OSError, RuntimeError) as fault:
            # Data are read when they are asked for.
            raise UserError(_unreadable(path, fault)) from None


def _unreadable(path: Path, fault: Exception) -> str:
    first = " ".join(str(fault).split()) or type(fault).__name__
    return f"{path}: cannot be read: corrupt, truncated, or no file of NWB ({first}); copy or export it again"


def subject_of(file: Any, source: Nwb, session: str) -> str:
    """Return whose the session is, in letters that a name may have."""
    known = file.subject.subject_id if file.subject is not None else None
    subject = source.subjects.get(session) or re.sub(r"[^A-Za-z0-9_-]+", "_", known or "").strip("_-")
    if not subject:
        raise UserError(
            f"{source.sessions[session]}: does not say whose it is (subject_id); expected a name, as no subject may be "
            f"on two sides of a split; write 'subjects: {{{session}: name}}'"
        )
    return subject


def read_trials(file: Any, source: Nwb, path: Path) -> pd.DataFrame:
    """Read the columns of the table of trials that are asked for, a row a trial.

    Raises
    ------
    UserError
        There is no such table or column, the table is empty, or a column is no plain one.
    """
    settings = source.trials
    tables = dict(file.intervals or {})
    if settings.table not in tables:
        raise UserError(
            f"{path}: no table of intervals {settings.table!r} (trials.table); {did_you_mean(settings.table, tables)}"
        )
    table = tables[settings.table]
    if not len(table):
        raise UserError(f"{path}: the table {settings.table!r} has no row; expected one a trial; name another table")
    asked = {"onset": [settings.onset], "label": [settings.label], "keep": settings.keep, "drop": settings.drop}
    asked["part"] = [settings.part] if settings.part else []
    columns = {}
    for key, names in asked.items():
        for name in names:
            require_column(path, name, dict.fromkeys(table.colnames), f"trials.{key}, table {settings.table!r}")
            columns[name] = _plain(table[name][:], name, f"{path}: table {settings.table!r}")
    return pd.DataFrame(columns)


def _plain(values: Any, name: str, where: str) -> pd.Series:
    """Return the cells of a column as booleans, numbers or text, as they are in a table of the user's own."""
    cells = [cell.decode() if isinstance(cell, bytes) else cell for cell in list(values)]
    if not all(np.isscalar(cell) or cell is None for cell in cells):
        raise UserError(
            f"{where}: a cell of column {name!r} holds {type(cells[0]).__name__}; expected a number or a word; name "
            "another column"
        )
    if all(isinstance(cell, bool | np.bool_) for cell in cells):
        return pd.Series(cells, name=name, dtype="boolean")
    if all(isinstance(cell, int | float | np.number) and not isinstance(cell, bool) for cell in cells):
        return pd.Series(cells, name=name, dtype="float64")
    words = [None if cell is None or str(cell).strip() in MISSING else str(cell).strip() for cell in cells]
    return pd.Series(words, name=name, dtype="str")


def read_units(file: Any, source: Nwb, path: Path) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Read the table of units: ``name``, what modalities ask for, and the times of spikes in s.

    A unit has the location of its electrodes, or else of their group; more than one are joined by ``|``.

    Raises
    ------
    UserError
        There are no units, no times of spikes, or not the columns that are asked for; two units have one name.
    """
    table = file.units
    if table is None or not len(table):
        raise UserError(f"{path}: has no table of units; expected spikes; set 'spikes: {{}}' to use signals only")
    if "spike_times" not in table.colnames:
        raise UserError(f"{path}: the table of units has no times of spikes; found {shortened(table.colnames, 10)}")
    asked = list(dict.fromkeys(column for group in source.spikes.values() for column in group.where))
    known = dict.fromkeys([*table.colnames, LOCATION])
    if source.unit_column is None:
        names = pd.Series([str(number) for number in table.id[:]], dtype="str")
    else:
        require_column(path, source.unit_column, known, "unit_column")
        names = _plain(table[source.unit_column][:], source.unit_column, f"{path}: units").map(_as_name)
    if names.isna().any() or names.duplicated().any():
        twice = shortened(list(names[names.duplicated()].unique()))
        found = f"{twice} more than once" if twice else "a unit without a name"
        raise UserError(
            f"{path}: the table of units has {found}; expected a name a unit; name another column in 'unit_column', or "
            "null for their numbers"
        )
    units = {"name": names.to_numpy()}
    for column in asked:
        require_column(path, column, known, "spikes.where")
        if column == LOCATION and LOCATION not in table.colnames:
            units[column] = [_location(table, row, path) for row in range(len(table))]
        elif column == "electrode_group":
            units[column] = [group.name for group in table[column][:]]
        else:
            units[column] = _plain(table[column][:], column, f"{path}: units")
    trains = [np.sort(np.asarray(table.get_unit_spike_times(row), dtype=float)) for row in range(len(table))]
    for name, train in zip(names, trains, strict=True):
        if not np.isfinite(train).all():
            raise UserError(
                f"{path}: unit {name!r} has {(~np.isfinite(train)).sum()} times of spikes that are no numbers; "
                "expected seconds; export the file again"
            )
    return pd.DataFrame(units), trains


def _as_name(cell: object) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _location(table: Any, row: int, path: Path) -> str:
    if "electrodes" in table.colnames:
        found = table["electrodes"][row][LOCATION]
    elif "electrode_group" in table.colnames:
        found = [table["electrode_group"][row].location]
    else:
        raise UserError(
            f"{path}: spikes.where asks for the location of units, and the file does not say which electrodes they are "
            f"of; expected a column 'electrodes' or 'electrode_group'; found {shortened(table.colnames, 20)}"
        )
    return "|".join(dict.fromkeys(map(str, found)))


def find_series(file: Any, name: str | None, path: Path) -> Any:
    """Return an ElectricalSeries by its name, the name of what holds it, or its path in the file.

    Raises
    ------
    UserError
        There is none, or more than one of the name; lists those that are there.
    """
    from pynwb.ecephys import ElectricalSeries

    found = {_path_of(one): one for one in file.objects.values() if isinstance(one, ElectricalSeries)}
    # Cut-out spikes are no signal.
    found = {place: one for place, one in found.items() if one.neurodata_type != "SpikeEventSeries"}
    if not found:
        raise UserError(f"{path}: has no ElectricalSeries; expected signals; set 'signals: {{}}' to use spikes only")
    fitting = [place for place in found if name is None or name in (place, *place.split("/"))]
    if len(fitting) != 1:
        which = "no ElectricalSeries" if not fitting else f"{len(fitting)} ElectricalSeries"
        asked = f" {name!r}" if name else ""
        raise UserError(f"{path}: {which}{asked}; name one of them in 'series': {', '.join(sorted(found))}")
    return found[fitting[0]]


def _path_of(series: Any) -> str:
    """Return where a series stands in its file, such as ``processing/ecephys/LFP/LFP``."""
    return series.data.name.strip("/").removesuffix("/data")


def read_signal(file: Any, source: Nwb, onsets: np.ndarray, session: str, path: Path) -> Signal:
    """Read what filtering and cutting need of a series: the stretches around trials, of the channels used, in volt.

    Parameters
    ----------
    file : NWBFile
    source : Nwb
    onsets : ndarray, shape (trials,)
        In s, by the clock of the file.
    session : str
    path : Path

    Returns
    -------
    Signal
        The stretches one after the other, with a break between them, also where the series has a gap.

    Raises
    ------
    UserError
        There is no such series or channel, or its times cannot be used.
    """
    series = find_series(file, source.series, path)
    where = f"{path}: {_path_of(series)}"
    names, regions = _electrodes(series, where)
    types = dict.fromkeys(names, TYPE)
    columns = np.arange(len(names))
    if source.cleaning.reference is None:
        # An average would need the others, too.
        used = {
            name
            for modality, group in source.signals.items()
            for name in choose_channels(types, regions, group, f"{where}: signals.{modality}")
        }
        bad = source.cleaning.bad_channels
        used |= {name for key in ("all", session) for name in bad.get(key, ()) if name in types}
        columns = np.flatnonzero([name in used for name in names])
    rate, places, gaps = _times(series, onsets, where)
    # The onset itself has to be there, too.
    span = [*source.window, *(source.cleaning.baseline or ()), 0.0]
    count = series.data.shape[0]
    first = places + np.floor(min(span) * rate).astype(int) - 1
    last = places + np.ceil(max(span) * rate).astype(int) + 1
    # A sample of tolerance on each side: which trials fit is decided when they are cut.
    inside = (first > -3) & (last < count + 3)
    margin = _margin(source, rate)
    stretches = _merged(np.maximum(first - margin, 0)[inside], np.minimum(last + margin, count)[inside])
    if not stretches:
        raise UserError(
            f"{where}: no trial lies in the signal: {len(onsets)} trials from {onsets.min():g} to {onsets.max():g} s, "
            f"signal from {_begin(series):g} s on for {count / rate:g} s; correct the times, or name another series"
        )
    lengths = [stop - start for start, stop in stretches]
    begins = np.concatenate([[0], np.cumsum(lengths)])
    data = np.empty((len(columns), begins[-1]))
    for begin, (start, stop) in zip(begins, stretches, strict=False):
        for place in range(start, stop, AT_ONCE):
            piece = _in_volt(series, place, min(place + AT_ONCE, stop), columns).T
            data[:, begin + place - start :][:, : piece.shape[1]] = piece
    info = mne.create_info([names[column] for column in columns], rate, TYPE, verbose="WARNING")
    raw = mne.io.RawArray(data, info, verbose="WARNING")
    breaks = [*begins[1:-1]]
    moved = np.empty(len(onsets))
    for number, place in enumerate(places):
        if inside[number]:
            within = min(max(place, 0), count - 1)
            at = next(k for k, (start, stop) in enumerate(stretches) if start <= within < stop)
            moved[number] = begins[at] + place - stretches[at][0]
        else:
            # Far before the first sample, each at another one: out of the recording.
            moved[number] = -1e6 - number
    for gap in gaps:
        breaks += [begins[k] + gap - start for k, (start, stop) in enumerate(stretches) if start < gap < stop]
    raw.set_annotations(mne.Annotations(np.array(sorted(breaks)) / rate, 0.0, BREAK), verbose="WARNING")
    log.info("%s: read %d of %d samples, %d of %d channels", where, sum(lengths), count, len(columns), len(names))
    return Signal(raw, moved / rate, regions)


def _electrodes(series: Any, where: str) -> tuple[list[str], dict[str, str]]:
    """Return the names of the channels of a series, and their regions where they are known."""
    rows = np.asarray(series.electrodes.data[:])
    table = series.electrodes.table
    names: list[str] = []
    for column in LABELS:
        if not names and column in table.colnames:
            words = [str(table[column][int(row)]) for row in rows]
            names = words if len(set(words)) == len(words) else []
    names = names or [str(table.id[int(row)]) for row in rows]
    if len(set(names)) < len(names):
        raise UserError(f"{where}: an electrode stands twice among its channels; expected each once; mend the file")
    if LOCATION not in table.colnames:
        return names, {}
    return names, {name: str(table[LOCATION][int(row)]) for name, row in zip(names, rows, strict=True)}


def _begin(series: Any) -> float:
    if series.timestamps is not None:
        return float(series.timestamps[0])
    return float(series.starting_time or 0.0)


def _times(series: Any, onsets: np.ndarray, where: str) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the sampling rate in Hz, the sample nearest to each onset, and the first samples after gaps."""
    if series.timestamps is None:
        rate = float(series.rate)
        return rate, np.floor((onsets - _begin(series)) * rate + 0.5).astype(int), np.empty(0, int)
    times = np.asarray(series.timestamps[:], dtype=float)
    steps = np.diff(times)
    if len(times) < 2 or not np.isfinite(times).all() or steps.min() <= 0:
        raise UserError(f"{where}: its timestamps do not ascend; expected one a sample; export the file again")
    step = float(np.median(steps))
    gaps = np.flatnonzero(steps > 1.5 * step) + 1
    if len(gaps):
        log.warning("%s: %d gaps in its timestamps; trials over a gap are left out", where, len(gaps))
    after = np.searchsorted(times, onsets)
    before = np.clip(after - 1, 0, len(times) - 1)
    nearest = np.where(onsets - times[before] < times[np.clip(after, 0, len(times) - 1)] - onsets, before, after)
    # Outside, as if it went on at the same pace.
    outside = np.floor((onsets - np.where(onsets < times[0], times[0], times[-1])) / step + 0.5).astype(int)
    nearest = np.where(onsets < times[0], outside, np.where(onsets > times[-1], len(times) - 1 + outside, nearest))
    # The rate is written with few digits: timestamps are rounded.
    return round(1 / step, 6), nearest.astype(int), gaps


def _margin(source: Nwb, rate: float) -> int:
    """Return how many samples on each side of a trial are read, so that filters and resampling do the same to it as in
    the whole signal.
    """
    # Half of it would do in the middle of the signal. Near its ends, a stretch must not be shorter than the filter.
    filters = signals.length_of_filters(source.cleaning, rate)
    resampling = 0 if source.cleaning.resample is None else 12 * rate / min(rate, source.cleaning.resample)
    return int(filters + resampling) + 2


def _merged(starts: np.ndarray, stops: np.ndarray) -> list[tuple[int, int]]:
    """Join stretches that touch or overlap."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(zip(starts.tolist(), stops.tolist(), strict=True)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


def _in_volt(series: Any, start: int, stop: int, columns: np.ndarray) -> np.ndarray:
    """Read a stretch, samples x channels."""
    values = np.asarray(series.data[start:stop]).reshape(stop - start, -1)[:, columns].astype(float)
    factors = np.ones(len(columns)) if series.channel_conversion is None else series.channel_conversion[:][columns]
    return values * series.conversion * factors + (series.offset or 0.0)

"""Spike times of the user's own in tables, beside a table of trials and, if there is one, a continuous recording.

The files are the user's and are only read, so there is nothing to acquire. A session is a chunk.
"""

import logging
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import mne
import numpy as np
import pandas as pd

from metafusion.config.recordings import as_whole
from metafusion.config.spikes import SpikeSession, SpikeTimes, TrialTable
from metafusion.config.volumes import natural
from metafusion.errors import UserError, did_you_mean
from metafusion.neural_figures import draw_session_figures
from metafusion.preprocess.tables import column_names, read_user_table, require_column, shortened
from metafusion.sources.recordings import open_recording
from metafusion.sources.spike_sessions import Signal, assemble, select_trials, write_spike_session

__all__ = ["assemble", "look", "preprocess"]

log = logging.getLogger("metafusion")

look = draw_session_figures


def preprocess(source: SpikeTimes, unit: str, chunk: str, acquired: None, folder: Path) -> None:
    """Count the spikes of a session, cut its recording, and make the features of all modalities.

    ``chunk`` is the session's name. ``folder`` gets the files of :mod:`metafusion.sources.trials`, and
    ``silent_units.tsv``.

    Raises
    ------
    UserError
        A file cannot be used, or the settings do not fit it.
    """
    session = source.sessions[chunk]
    table = read_trials(session.trials, source.trials)
    trials, excluded = select_trials(table, source.trials, source.span, source.cleaning.overlap, str(session.trials))
    units, trains = pd.DataFrame({"name": pd.Series(dtype="str")}), []
    if source.spikes:
        trains_by_unit = read_spikes(source, session)
        units = read_units(source, session, trains_by_unit)
        trains = [trains_by_unit.get(name, np.empty(0)) for name in units["name"]]
    signal = None
    if source.signals and session.recording:
        signal = Signal(_opened(session.recording, source), trials["onset"].to_numpy() - session.recording_start)
    write_spike_session(
        source,
        chunk,
        session.subject or chunk,
        trials,
        excluded,
        units,
        trains,
        signal,
        Path(folder),
        str(session.spikes),
        session.spikes_recorded,
    )


def _opened(path: Path, source: SpikeTimes) -> mne.io.BaseRaw:
    """Open a recording, and set the types of its channels."""
    raw = open_recording(path)
    if isinstance(raw, mne.BaseEpochs):
        raise UserError(f"{path}: holds epochs; expected a continuous recording, which is cut around the trials here")
    types = {}
    for pattern, type_ in source.channel_types.items():
        fitting = [name for name in raw.ch_names if fnmatchcase(name, pattern)]
        if not fitting:
            raise UserError(
                f"{path}: channel_types: no channel is called {pattern!r}; {did_you_mean(pattern, raw.ch_names)}"
            )
        types |= dict.fromkeys(fitting, type_)
    raw.set_channel_types(types, on_unit_change="ignore", verbose="WARNING")
    return raw


def read_trials(path: Path, columns: TrialTable) -> pd.DataFrame:
    """Read the columns of a table of trials that are asked for.

    Raises
    ------
    UserError
        The table cannot be read, or a column is not in it.
    """
    header = dict.fromkeys(column_names(path))
    asked = {"onset": [columns.onset], "label": [columns.label], "keep": columns.keep, "drop": columns.drop}
    asked["part"] = [columns.part] if columns.part else []
    for key, names in asked.items():
        for name in names:
            require_column(path, name, header, f"trials.{key}")
    wanted = list(dict.fromkeys(name for names in asked.values() for name in names))
    return read_user_table(path, columns=wanted, text=asked["part"])


def read_spikes(source: SpikeTimes, session: SpikeSession) -> dict[str, np.ndarray]:
    """Read the times of each unit's spikes in s, by the clock of the trials, in ascending order.

    Raises
    ------
    UserError
        The table cannot be read, a spike has no unit, or no time that is a number.
    """
    path, name, time = session.spikes, source.unit_column, source.time_column
    header = dict.fromkeys(column_names(path))
    require_column(path, name, header, "unit_column")
    require_column(path, time, header, "time_column")
    table = read_user_table(path, columns=[name, time], text=[name])
    table[name] = _as_names(table[name])
    if not pd.api.types.is_numeric_dtype(table[time]) or table[time].dtype == "boolean":
        raise UserError(
            f"{path}: column {time!r} holds {table[time].dropna().iloc[0]!r}; expected times of spikes; name another "
            "in time_column"
        )
    for column, what in ((name, "the name of a unit"), (time, "a time")):
        bad = table[column].isna() if column == name else ~np.isfinite(table[column])
        if bad.any():
            raise UserError(
                f"{path}: column {column!r} has no {'name' if column == name else 'finite number'} in {bad.sum()} of "
                f"{len(table)} rows, the first is row {table.index[bad][0]}; expected {what}; remove these rows, or "
                "export the table again"
            )
    seconds = table[time].to_numpy() / source.ticks_per_second
    if (seconds < 0).any():
        log.warning(
            "%s: %d spikes have negative times; they count where a trial reaches them", path, (seconds < 0).sum()
        )
    seconds = seconds + session.spikes_offset
    order = np.argsort(seconds, kind="stable")
    names = table[name].iloc[order]
    return {str(unit): seconds[order][places] for unit, places in names.groupby(names).indices.items()}


def _as_names(column: pd.Series) -> pd.Series:
    """Return names of units: a column of whole numbers that had gaps once may hold 7.0 where another table has 7."""
    return column.map(as_whole, na_action="ignore").astype("str")


def read_units(source: SpikeTimes, session: SpikeSession, spiking: Mapping[str, Iterable[float]]) -> pd.DataFrame:
    """Read the units that are used: ``name``, and the columns that modalities ask for.

    Without a table of units, these are all units with a spike, in natural order.

    Raises
    ------
    UserError
        The table cannot be read, names a unit twice, or knows no unit that has a spike.
    """
    asked = list(dict.fromkeys(column for group in source.spikes.values() for column in group.where))
    if session.units is None:
        if asked:
            raise UserError(
                f"{session.spikes}: spikes.where asks for {asked[0]!r}, and the session has no table of units; name it "
                "in 'units', or choose units by their names"
            )
        return pd.DataFrame({"name": sorted(spiking, key=natural)}, dtype="str")
    path, name = session.units, source.unit_column
    header = dict.fromkeys(column_names(path))
    require_column(path, name, header, "unit_column")
    for column in asked:
        require_column(path, column, header, "spikes.where")
    table = read_user_table(path, columns=[name, *asked], text=[name])
    table[name] = _as_names(table[name])
    if table[name].isna().any():
        raise UserError(
            f"{path}: column {name!r} has no name in row {table.index[table[name].isna()][0]}; name the unit"
        )
    twice = table[name][table[name].duplicated()].unique()
    if len(twice):
        raise UserError(
            f"{path}: {shortened(list(twice))} stands more than once in column {name!r}; expected a row a unit; number "
            "units of several tetrodes or probes anew, in both tables"
        )
    unknown = sorted(set(spiking) - set(table[name]), key=natural)
    if len(unknown) == len(spiking):
        raise UserError(
            f"{path}: has none of the units of {session.spikes}: found {shortened(list(table[name]))} here and "
            f"{shortened(unknown)} there; write their names in one way"
        )
    if unknown:
        log.info(
            "%s: %d units are not in %s and not used: %s", session.spikes, len(unknown), path, shortened(unknown, 10)
        )
    return table.rename(columns={name: "name"}).reset_index(drop=True)

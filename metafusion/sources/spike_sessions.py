"""What sources with spikes share: which trials and units are used, and a session's folder made of them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import mne
import numpy as np
import pandas as pd

from metafusion.config.spikes import SpikeSource, TrialTable, UnitGroup
from metafusion.config.trials import SignalFeatures, Window
from metafusion.errors import UserError, did_you_mean, told_of
from metafusion.files import write_table
from metafusion.preprocess import signals
from metafusion.preprocess.spikes import bin_edges, bin_spikes, name_silent, spike_features
from metafusion.preprocess.tables import require_column, shortened
from metafusion.preprocess.trials import counted
from metafusion.samples import Assembled
from metafusion.sources.features import as_words_or_numbers
from metafusion.sources.recordings import features_of
from metafusion.sources.trials import Spikes, assemble_sessions, sample_names, with_samples, write_session

log = logging.getLogger("metafusion")

SILENT = "silent_units.tsv"
"""Units without a spike in any trial: ``session``, ``name``, ``spikes`` (in the whole session)."""

NO_ONSET, NO_LABEL, OVERLAP = "no onset", "no label", "overlaps an earlier trial"
NOT_RECORDED = "reaches out of the recording of spikes"

LONG = 100
"""Where spikes go on so many times longer than trials, or the other way round, they are likely in another unit."""


@dataclass
class Signal:
    """The signal beside the spikes of a session.

    Attributes
    ----------
    raw : Raw or None
        May hold stretches only, with the annotation ``EDGE boundary`` between them. None once it was cleaned.
    onsets : ndarray, shape (trials,)
        Of the trials that are used, in s from the first sample of ``raw``.
    regions : dict of str to str
        Of channels, where they are known.
    """

    raw: mne.io.BaseRaw | None
    onsets: np.ndarray
    regions: dict[str, str] = field(default_factory=dict)


def select_trials(
    table: pd.DataFrame, columns: TrialTable, span: Window, overlap: str, where: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Say which rows of a table of trials are used.

    Parameters
    ----------
    table : DataFrame
        The columns that are named in ``columns``, a row a trial.
    columns : TrialTable
    span : (float, float)
        Seconds from the onset, of all that a trial uses.
    overlap : {"exclude", "allow"}
        Whether a trial that begins before an earlier one (that is used) has ended is left out.
    where : str
        The table, for messages.

    Returns
    -------
    trials : DataFrame
        ``number`` (of the row, from 1), ``onset`` (s), ``target`` and, if there is such a column, ``given_part``.
    excluded : DataFrame
        ``number`` and ``reason`` of the others: the first that holds of what ``columns`` asks for, no onset, no label,
        overlap.

    Raises
    ------
    UserError
        A column cannot be used, values to keep are not there, or no trial is left.
    """
    onsets = _seconds(table[columns.onset], where, "an onset")
    target = as_words_or_numbers(table[columns.label]).reset_index(drop=True)
    reasons = np.full(len(table), "", dtype=object)

    def leave_out(these: np.ndarray, reason: str) -> None:
        reasons[these & (reasons == "")] = reason

    for column, values in columns.keep.items():
        leave_out(~_is_among(table[column], values, f"{where}: keep"), f"{column} is none of {', '.join(values)}")
    for column in columns.drop:
        leave_out(_is_true(table[column], where), f"marked in {column}")
    leave_out(np.isnan(onsets), NO_ONSET)
    leave_out(target.isna().to_numpy(), NO_LABEL)
    overlapping = _overlapping(onsets, reasons == "", span)
    if overlap == "exclude":
        leave_out(overlapping, OVERLAP)
    elif overlapping.any():
        log.warning("%s: %d trials begin before an earlier one has ended", where, overlapping.sum())
    used = reasons == ""
    counts = counted(reasons[~used])
    if not used.any():
        raise UserError(f"{where}: none of {len(table)} trials is left: {counts}; mend the table or the settings")
    if counts:
        log.info("%s: %d of %d trials are used; left out: %s", where, used.sum(), len(table), counts)
    trials = pd.DataFrame({"number": np.arange(1, len(table) + 1), "onset": onsets, "target": target})
    if columns.part is not None:
        trials["given_part"] = table[columns.part].astype("str").to_numpy()
    excluded = trials[["number"]].assign(reason=pd.Series(reasons, dtype="str"))
    return trials[used].reset_index(drop=True), excluded[~used].reset_index(drop=True)


def _seconds(column: pd.Series, where: str, what: str) -> np.ndarray:
    """Return a column of times; ones that are missing stay so."""
    if not pd.api.types.is_numeric_dtype(column) or column.dtype == "boolean":
        first = column.dropna().iloc[0] if column.notna().any() else "nothing"
        raise UserError(f"{where}: column {column.name!r} holds {first!r}; expected {what} in seconds; name another")
    times = column.to_numpy(dtype=float, na_value=np.nan)
    if np.isinf(times).any():
        raise UserError(f"{where}: column {column.name!r} holds an infinite time; correct it, or leave the cell empty")
    return times


def _is_among(column: pd.Series, values: Sequence[str], where: str) -> np.ndarray:
    """Say which cells are one of some values, as text or as numbers: 1 is also 1.0."""
    found = [_as_written(cell) for cell in as_words_or_numbers(column)]
    wanted = [_as_written(_number(value)) for value in values]
    if column.dtype == "boolean":
        wanted = [{"1": "true", "0": "false"}.get(value, value) for value in wanted]
    known = {cell for cell in found if cell}
    for value in wanted:
        if value not in known:
            raise UserError(f"{where}.{column.name}: {value!r} is in no row; {did_you_mean(value, known)}")
    return np.array([cell in wanted for cell in found])


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _as_written(cell: object) -> str:
    """Return a cell as text, a whole number without decimals; nothing where it is missing."""
    if pd.isna(cell):
        return ""
    if isinstance(cell, float | np.floating | int | np.integer) and float(cell).is_integer():
        return str(int(cell))
    return str(cell)


def _is_true(column: pd.Series, where: str) -> np.ndarray:
    if column.dtype == "boolean" or pd.api.types.is_numeric_dtype(column):
        return column.astype("float64").fillna(0).to_numpy() != 0
    raise UserError(
        f"{where}: drop: column {column.name!r} holds {column.dropna().iloc[0]!r}; expected true and false, or 0 and "
        "1; name the values of trials that are used in 'keep'"
    )


def _overlapping(onsets: np.ndarray, used: np.ndarray, span: Window) -> np.ndarray:
    """Say which of the trials used begin before an earlier one, which does not overlap itself, has ended."""
    overlapping = np.zeros(len(onsets), dtype=bool)
    until = -np.inf
    for place in np.argsort(onsets, kind="stable"):
        if used[place]:
            # A nanosecond is no overlap: sums of times lose their last bits.
            overlapping[place] = onsets[place] + span[0] < until - 1e-9
            until = until if overlapping[place] else onsets[place] + span[1]
    return overlapping


def units_of_group(units: pd.DataFrame, group: UnitGroup, modality: str, where: str) -> np.ndarray:
    """Return the places of a modality's units.

    Parameters
    ----------
    units : DataFrame
        ``name``, and the columns that the group may ask for.
    group : UnitGroup
    modality, where : str
        For messages.

    Raises
    ------
    UserError
        A column or name is unknown, or no unit meets all conditions; lists those that are there.
    """
    chosen = np.zeros(len(units), dtype=bool)
    for pattern in group.units:
        fitting = np.array([fnmatchcase(name, pattern) for name in units["name"]], dtype=bool)
        if not fitting.any():
            raise UserError(
                f"{where}: spikes.{modality}: no unit is called {pattern!r}; {did_you_mean(pattern, units['name'])}"
            )
        chosen |= fitting
    for column, values in group.where.items():
        require_column(where, column, dict.fromkeys(units.columns.drop("name")), f"spikes.{modality}.where")
        chosen &= _is_among(units[column], values, f"{where}: spikes.{modality}.where")
    if not chosen.any():
        raise UserError(f"{where}: spikes.{modality}: none of {len(units)} units meets all conditions; ask for less")
    return np.flatnonzero(chosen)


def write_spike_session(
    source: SpikeSource,
    session: str,
    subject: str,
    trials: pd.DataFrame,
    excluded: pd.DataFrame,
    units: pd.DataFrame,
    trains: Sequence[np.ndarray],
    signal: Signal | None,
    folder: Path,
    where: str,
    spikes_recorded: Window | None = None,
) -> None:
    """Make features of all modalities of a session, and write its folder (see :mod:`metafusion.sources.trials`).

    Parameters
    ----------
    source : SpikeSource
    session, subject : str
    trials, excluded : DataFrame
        From :func:`select_trials`.
    units : DataFrame, a row a unit
        ``name``, and what groups ask for. Empty where the source uses no spikes.
    trains : sequence of ndarray, length units
        Times of each unit's spikes in s, by the clock of the trials.
    signal : Signal, optional
    folder : Path
        Gets the files, and ``silent_units.tsv``.
    where : str
        The file of the spikes, for messages.
    spikes_recorded : (float, float), optional
        From when to when there are spikes, in s.

    Raises
    ------
    UserError
        Settings that do not fit the session, or no spike in any trial.
    """
    names = sample_names(subject, session, [*trials["number"], *excluded["number"]])
    trials = trials.assign(sample=names[: len(trials)], subject=subject, session=session)
    out = [_exclusions(names[len(trials) :], subject, "", list(excluded["reason"]))]
    features: dict[str, pd.DataFrame] = {}
    spikes = epochs = None
    if source.spikes:
        spikes, lacking, silent = _count(source, session, trials, units, trains, where, spikes_recorded)
        write_table(silent, Path(folder) / SILENT)
        if "sample" in spikes.units:
            raise UserError(f"{where}: a unit must not be called 'sample'; rename it")
        for modality, group in source.spikes.items():
            places = units_of_group(units.iloc[: len(spikes.units)], group, modality, where)
            with told_of(f"session {session}: spikes.{modality}"):
                features[modality] = spike_features(
                    spikes.counts[:, places], spikes.edges, [spikes.units[place] for place in places], group
                )
            features[modality].insert(0, "sample", list(spikes.samples))
            out.append(_exclusions(lacking, subject, modality, [NOT_RECORDED] * len(lacking)))
    if source.signals and signal is not None:
        epochs, chosen, rejected = _cut(source, session, trials, signal)
        for modality, group in source.signals.items():
            with told_of(f"session {session}: signals.{modality}"):
                features[modality] = features_of(epochs, chosen[modality], group)
            out.append(_exclusions(list(rejected["sample"]), subject, modality, list(rejected["reason"])))
    columns = ["sample", "subject", "session", "target", *(["given_part"] if "given_part" in trials else [])]
    facts = {} if epochs is None else {"rate": round(epochs.info["sfreq"], 3), "samples of a trial": len(epochs.times)}
    write_session(folder, trials[columns], features, pd.concat(out, ignore_index=True), epochs, spikes, facts)


def _exclusions(samples: Sequence[str], subject: str, modality: str, reasons: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"sample": samples, "subject": subject, "modality": modality, "reason": reasons}, dtype="str")


def _count(
    source: SpikeSource,
    session: str,
    trials: pd.DataFrame,
    units: pd.DataFrame,
    trains: Sequence[np.ndarray],
    where: str,
    spikes_recorded: Window | None,
) -> tuple[Spikes, list[str], pd.DataFrame]:
    """Return counts of the trials that have spikes, the names of the others, and the units that are silent."""
    onsets = trials["onset"].to_numpy()
    start, stop = onsets + source.window[0], onsets + source.window[1]
    first, last = spikes_recorded or (-np.inf, np.inf)
    seen = (start >= first - 1e-9) & (stop <= last + 1e-9)
    if not seen.any():
        raise UserError(
            f"{where}: spikes were recorded from {first:g} to {last:g} s, and trials last from {start.min():g} to "
            f"{stop.max():g} s; expected some in common; correct spikes_recorded"
        )
    counts = bin_spikes(trains, onsets[seen], source.window, source.bin_width)
    _refuse_other_clock(source, counts, trains, start[seen], stop[seen], where)
    name_silent(counts, list(units["name"]), f"session {session}")
    silent = ~counts.any(axis=(0, 2))
    table = pd.DataFrame(
        {"session": session, "name": units["name"], "spikes": [len(train) for train in trains]}, index=units.index
    )[silent]
    samples = trials["sample"]
    edges = bin_edges(source.window, source.bin_width)
    return Spikes(list(samples[seen]), counts, edges, list(units["name"])), list(samples[~seen]), table


def _refuse_other_clock(
    source: SpikeSource,
    counts: np.ndarray,
    trains: Sequence[np.ndarray],
    start: np.ndarray,
    stop: np.ndarray,
    where: str,
) -> None:
    """Raise UserError where spikes and trials hardly meet, and say what the times look like."""
    times = np.concatenate([*trains, np.empty(0)])
    if not len(times):
        raise UserError(f"{where}: there is no spike; expected some; correct the file or its columns")
    empty = ~counts.any(axis=(1, 2))
    ratio = max(abs(times.min()), abs(times.max())) / max(np.abs(start).max(), np.abs(stop).max())
    found = (
        f"spikes last from {times.min():g} to {times.max():g} s, and trials from {start.min():g} to {stop.max():g} s"
    )
    hint = source.hint_of_clocks(ratio, LONG)
    if empty.all():
        raise UserError(f"{where}: no unit has a spike in any trial: {found}; {hint}")
    if empty.mean() > 0.5 and not 1 / LONG <= ratio <= LONG:
        raise UserError(f"{where}: no unit has a spike in {empty.sum()} of {len(empty)} trials: {found}; {hint}")
    outside = ((stop <= times.min()) | (start > times.max())).sum()
    if outside:
        log.warning(
            "%s: %d trials lie before the first or after the last spike of all units; if nothing was recorded there, "
            "they should not count as silent",
            where,
            outside,
        )
    elif empty.any():
        log.info("%s: no unit has a spike in %d of %d trials", where, empty.sum(), len(empty))


def _cut(
    source: SpikeSource, session: str, trials: pd.DataFrame, signal: Signal
) -> tuple[mne.BaseEpochs, dict[str, list[str]], pd.DataFrame]:
    """Return the clean trials, the channels of each modality, and the other trials with ``sample`` and ``reason``."""
    settings = source.cleaning
    known = dict(zip(signal.raw.ch_names, signal.raw.get_channel_types(), strict=True))
    clean = signals.clean(signal.raw, settings, session)
    # Large, and of no more use.
    signal.raw = None
    chosen = {}
    for modality, group in source.signals.items():
        where = f"session {session}: signals.{modality}"
        asked = choose_channels(known, signal.regions, group, where)
        chosen[modality] = [name for name in asked if name in clean.ch_names]
        if not chosen[modality]:
            raise UserError(f"{where}: all of its channels are bad, or the reference ({shortened(asked)}); name others")
    types = zip(clean.ch_names, clean.get_channel_types(), strict=True)
    wanted = {name for names in chosen.values() for name in names}
    # Whatever trials are rejected by stays, too.
    kept = [name for name, type_ in types if name in wanted or type_ in {*settings.reject, *settings.flat}]
    events = pd.DataFrame({"label": trials["target"].astype("str"), "onset": signal.onsets, "sample": trials["sample"]})
    epochs, rejected = signals.cut(
        clean.pick(kept, verbose="WARNING"),
        events,
        source.window,
        baseline=settings.baseline,
        resample=settings.resample,
        reject=settings.reject,
        flat=settings.flat,
        # That was seen to for all modalities at once.
        overlap="allow",
        session=session,
    )
    if len(rejected):
        log.info("session %s: the signal is left out: %s", session, counted(rejected["reason"]))
    return with_samples(epochs, epochs.metadata["sample"]), chosen, rejected


def choose_channels(
    types: Mapping[str, str], regions: Mapping[str, str], group: SignalFeatures, where: str
) -> list[str]:
    """Return the channels of a modality, in the order of the recording.

    Parameters
    ----------
    types : mapping of str to str
        Type of every channel of the recording.
    regions : mapping of str to str
        Of channels, where they are known.
    group : RecordedChannels or NwbSignals
    where : str
        For messages.

    Raises
    ------
    UserError
        A name, type or region is not in the recording, or no channel meets all conditions; lists those that are there.
    """
    for pattern in group.channels:
        if not any(fnmatchcase(name, pattern) for name in types):
            raise UserError(f"{where}.channels: no channel is called {pattern!r}; {did_you_mean(pattern, types)}")
    chosen = {
        name for name in types if not group.channels or any(fnmatchcase(name, pattern) for pattern in group.channels)
    }
    for key, of_channels in (("types", types), ("regions", regions)):
        wanted = getattr(group, key, [])
        there = set(of_channels.values())
        for word in wanted:
            if word not in there:
                raise UserError(f"{where}.{key}: no channel has {word!r}; {did_you_mean(word, there)}")
        chosen &= {name for name in types if not wanted or of_channels.get(name) in wanted}
    if not chosen:
        raise UserError(
            f"{where}: none of {len(types)} channels meets all conditions; they are {shortened(list(types), 20)}"
        )
    return [name for name in types if name in chosen]


def assemble(source: SpikeSource, acquired: None, preprocessed: Mapping[str, Sequence[Path]]) -> Assembled:
    """Join the sessions; a trial without a modality that is required is out."""
    (folders,) = preprocessed.values()
    assembled = assemble_sessions(folders, source.modality_names, source.missing_channels)
    lacking = {
        name: ~assembled.samples["sample"].isin(assembled.features[name]["sample"]).to_numpy()
        for name in source.require
    }
    out = np.zeros(len(assembled.samples), dtype=bool)
    rows = [assembled.exclusions]
    for name, absent in lacking.items():
        new = assembled.samples.loc[absent & ~out, ["sample", "subject"]]
        rows.append(new.assign(modality="", reason=f"without {name}"))
        out |= absent
    assembled.samples = assembled.samples[~out].reset_index(drop=True)
    assembled.exclusions = pd.concat(rows, ignore_index=True)
    return assembled

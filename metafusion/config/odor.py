"""Rats in the odour sequence task: recorded ones, and a simulated one in the same layout."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from metafusion.config.base import Settings
from metafusion.config.source import Positive, Source, called_simulated
from metafusion.config.trials import SignalFeatures, SpikeFeatures, Window, exact

ODORS = ("A", "B", "C", "D", "E")
"""Names of the odours; the files have the numbers from 1."""
OdorName = Literal["A", "B", "C", "D", "E"]

LFP, SPIKES = "lfp", "spikes"
UNIT = "session"
"""The unit of preprocessing: one job makes both modalities of a rat."""

Axis = Literal["trial", "time", "channel"]
UnitAxis = Literal["trial", "time", "unit"]
Column = Annotated[int, Field(ge=0)] | None
SafeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class TrialColumns(Settings):
    """Which column of the table of trials says what, counted from 0."""

    correct: Column = Field(default=0, description="Whether the response was correct (0, 1); null if nothing says so.")
    in_sequence: Column = Field(
        default=1, description="Whether the odour came in its place of the sequence (0, 1); null if nothing says so."
    )
    position: Column = Field(default=2, description="Place in the sequence (1 to 5); null if nothing says so.")
    odor: Column = Field(default=3, description="Code of the odour, or of any other class; null if nothing says so.")


class OdorLayout(Settings):
    """How the files are to be read. The defaults are those of the published recordings."""

    start: float = Field(
        default=-2.0, allow_inf_nan=False, description="Beginning of the first bin in seconds from the poke."
    )
    bin_width: Positive = Field(default=0.01, description="Width of a bin of the spike counts in seconds.")
    lfp_rate: Positive | None = Field(
        default=None, description="Samples of the LFP per second; null for one sample a bin of the spikes."
    )
    lfp_axes: list[Axis] = Field(
        default=["trial", "time", "channel"], description="What the three axes of the LFP's array are, in order."
    )
    spike_axes: list[UnitAxis] = Field(
        default=["trial", "unit", "time"], description="What the three axes of the spikes' array are, in order."
    )
    lfp_unit: Literal["V", "mV", "uV"] = Field(
        default="mV", description="Unit of the LFP, for figures only: features have the unit of the file."
    )
    columns: TrialColumns = Field(default=TrialColumns(), description="Columns of the table of trials.")
    trusted_pickles: bool = Field(
        default=False,
        description="Whether arrays of Python objects are read. They can run any code on your machine when they are "
        "read: only say true of files whose maker you trust.",
    )

    @field_validator("lfp_axes", "spike_axes")
    @classmethod
    def _each_axis_once(cls, axes: list[str]) -> list[str]:
        if len(axes) != 3 or len(set(axes)) != 3:
            raise ValueError(f"an array has three axes, each named once, found {axes}")
        return axes


class OdorSpikes(SpikeFeatures):
    """What is made of the spikes of each unit, trial by trial."""

    count: Literal["mean", "total", "bins", "smoothed"] = Field(
        default="mean",
        description="'mean': the mean count of the bins in the window, as the paper. 'total': their sum. 'bins': one a "
        "bin of time. 'smoothed': one a bin, after the bins are smoothed with a Gaussian.",
    )

    @model_validator(mode="after")
    def _mean_stands_alone(self) -> Self:
        if self.count == "mean" and (self.rate or self.transform != "none"):
            raise ValueError("'rate' and 'transform' are of counts, not of their mean; add 'count: total'")
        if self.count in ("mean", "total") and (self.bins or self.bin_width):
            raise ValueError(f"'bins' and 'bin_width' have no meaning with 'count: {self.count}'; add 'count: bins'")
        return self

    @property
    def shared(self) -> SpikeFeatures:
        """The settings as other sources have them; for the mean those of the sum."""
        values = self.model_dump()
        return SpikeFeatures(**(values | {"count": "total"} if self.count == "mean" else values))


class OdorTask(Source):
    """What is decoded from a rat's files, and what is made of them; needs a ``rat`` and a ``layout``."""

    can_be_drawn: ClassVar = True
    published_representations: ClassVar = {
        LFP: {"scaling": "none", "before": {"fit_on": "everything"}},
        SPIKES: {"scaling": "none"},
    }

    label: Literal["odor", "sequence"] = Field(
        default="odor",
        description="What is decoded: the odour (or whatever class its column codes), or whether it came in sequence.",
    )
    classes: dict[int, Annotated[str, Field(min_length=1)]] | None = Field(
        default=None,
        description="Names of the codes that are classes; trials with other codes are out, and codes of one name are "
        "one class. null: {1: A, 2: B, 3: C, 4: D}; with 'label: sequence' {0: out_of_sequence, 1: in_sequence}.",
    )
    correct_only: bool = Field(default=True, description="Whether only trials with a correct response are used.")
    in_sequence_only: bool | None = Field(
        default=None,
        description="Whether only trials in sequence are used; null: so, unless that is what is decoded.",
    )
    positions: list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="Places in the sequence whose trials are used, such as [2, 3, 4, 5]; null for all."
    )
    window: Window | None = Field(
        default=None,
        description="Time that is decoded from, in seconds from the poke: the start belongs to it, the stop does not. "
        "null: what 'bins' say, or [0, 0.5].",
    )
    bins: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]] | None = Field(
        default=None,
        description="The same in bins of the files, the second one outside: [200, 250]. Instead of 'window'.",
    )
    margin: float = Field(
        default=0.5, ge=0, allow_inf_nan=False, description="Seconds before and after the window that figures show."
    )
    lfp: SignalFeatures | None = Field(
        default=SignalFeatures(samples=True),
        description="What is made of the LFP; null to do without it.",
    )
    spikes: OdorSpikes | None = Field(
        default=OdorSpikes(), description="What is made of the spikes; null to do without them."
    )
    drop: list[str] = Field(
        default=[], description="Channels and units not to use, by their names in the features: [tetrode_03, unit_017]."
    )
    not_finite: Literal["exclude", "stop"] = Field(
        default="exclude",
        description="What to do with trials whose LFP has NaN or infinite samples in the window: they are without that "
        "modality, and listed; or an error.",
    )

    @model_validator(mode="after")
    def _window_and_bins_agree(self) -> Self:
        start, width = exact(self.layout.start), exact(self.layout.bin_width)
        if self.window is None:
            bins = self.bins or tuple(int((exact(edge) - start) / width) for edge in (0.0, 0.5))
            if bins[0] >= bins[1]:
                raise ValueError(f"bins: {list(bins)} hold nothing; the first must be below the second")
            object.__setattr__(self, "window", tuple(float(start + bin_ * width) for bin_ in bins))
        if self.window[0] < self.layout.start:
            raise ValueError(
                f"window: {self.window[0]:g} to {self.window[1]:g} s begins before the trials, which begin at "
                f"{self.layout.start:g} s; move the window, or correct 'layout.start'"
            )
        bins = [(exact(edge) - start) / width for edge in self.window]
        if any(edge.denominator != 1 for edge in bins):
            raise ValueError(
                f"window: {self.window[0]:g} to {self.window[1]:g} s are no edges of bins of {self.layout.bin_width:g} "
                f"s that begin at {self.layout.start:g} s; move the window, or correct 'layout'"
            )
        found = int(bins[0]), int(bins[1])
        if self.bins is not None and self.bins != found:
            raise ValueError(
                f"window: {self.window[0]:g} to {self.window[1]:g} s are the bins {list(found)}, not {list(self.bins)}"
                "; give 'window' or 'bins', not both"
            )
        object.__setattr__(self, "bins", found)
        return self

    @model_validator(mode="after")
    def _has_a_modality(self) -> Self:
        if not self.modality_names:
            raise ValueError("'lfp: null' and 'spikes: null' leave no modality; keep one of them")
        return self

    @model_validator(mode="after")
    def _label_is_known(self) -> Self:
        columns = self.layout.columns
        code = "odor" if self.label == "odor" else "in_sequence"
        needs = {
            f"label: {self.label}": code,
            **({"correct_only": "correct"} if self.correct_only else {}),
            **({"in_sequence_only": "in_sequence"} if self.keeps_in_sequence_only else {}),
            **({"positions": "position"} if self.positions is not None else {}),
        }
        for setting, column in needs.items():
            if getattr(columns, column) is None:
                raise ValueError(
                    f"{setting!r} needs layout.columns.{column}, which is null; name it, or change {setting!r}"
                )
        if self.label == "sequence" and self.in_sequence_only:
            raise ValueError("'label: sequence' needs trials out of sequence; remove 'in_sequence_only'")
        if len(set(self.names_of_codes.values())) < 2:
            raise ValueError(f"classes: decoding needs two classes, found {self.names_of_codes}")
        return self

    def with_window(self, window: tuple[float, float]) -> dict[str, Any]:
        return {"window": list(window), "bins": None}

    @property
    def keeps_in_sequence_only(self) -> bool:
        """Whether trials out of sequence are out."""
        return self.label == "odor" if self.in_sequence_only is None else self.in_sequence_only

    @property
    def names_of_codes(self) -> dict[int, str]:
        """The classes by their codes."""
        if self.classes is not None:
            return self.classes
        if self.label == "sequence":
            return {0: "out_of_sequence", 1: "in_sequence"}
        return dict(enumerate(ODORS[:4], start=1))

    @property
    def modality_names(self) -> list[str]:
        return [name for name in (LFP, SPIKES) if getattr(self, name) is not None]

    @property
    def chunks(self) -> dict[str, list[str]]:
        return {UNIT: [self.rat]}

    @property
    def prefix_of_files(self) -> str:
        """What the names of the rat's files begin with."""
        return self.rat.lower()

    def files(self, root: Path) -> dict[str, Path]:
        """Return the rat's files below a root: of the modalities in use, and ``trials``."""
        names = {LFP: "lfp_data_sampled", SPIKES: "spike_data_binned", "trials": "trial_info"}
        used = [*self.modality_names, "trials"]
        return {one: root / self.rat / f"{self.prefix_of_files}_{names[one]}.npy" for one in used}


class OdorRats(OdorTask):
    """LFP and spikes of a rat's hippocampus while it smells a sequence of odours (Shahbaba et al. 2022, on Dryad).

    One animal. Modalities: ``lfp``, ``spikes``. Any recording in the same three arrays will do, whatever their sizes.
    """

    kind: Literal["odor_rats"] = Field(description="Which kind of source this is.")
    folder: Path = Field(description="Folder that holds one folder an animal.")
    rat: SafeName = Field(description="The animal: the name of its folder.")
    prefix: SafeName | None = Field(
        default=None, description="What the names of its files begin with; null for the animal's in lower case."
    )
    layout: OdorLayout = Field(default=OdorLayout(), description="How the files are to be read.")

    @property
    def prefix_of_files(self) -> str:
        return self.prefix or super().prefix_of_files

    @property
    def simulated(self) -> bool:
        return called_simulated(self.user_files)

    @property
    def user_files(self) -> list[Path]:
        return list(self.files(self.folder).values())


class OdorSimulated(OdorTask):
    """A simulated rat in the odour sequence task, in the layout of the recorded ones. Modalities: ``lfp``, ``spikes``.

    Poisson units with fields of odour and time; an LFP of 1/f noise with bursts of theta and gamma. By default of the
    size of the rat Mitt.
    """

    kind: Literal["odor_simulated"] = Field(description="Which kind of source this is.")
    simulated: ClassVar = True
    rat: SafeName = Field(default="Simulated", description="Name of the animal.")
    trials: dict[OdorName, Annotated[int, Field(ge=0)]] = Field(
        default={"A": 66, "B": 57, "C": 47, "D": 37, "E": 23},
        min_length=2,
        description="Trials of each odour, correct and in sequence.",
    )
    incorrect: int = Field(default=20, ge=0, description="Further trials in sequence with an incorrect response.")
    out_of_sequence: int = Field(default=25, ge=0, description="Further trials out of sequence, correct.")
    units: int = Field(default=104, ge=1, description="Units recorded, silent ones included.")
    silent_units: int = Field(default=32, ge=0, description="Units that never fire: the last ones.")
    channels: int = Field(default=21, ge=1, description="Tetrodes whose LFP is recorded.")
    spike_strength: float = Field(
        default=0.4, ge=0, allow_inf_nan=False, description="How much the odour changes rates; 0: not at all."
    )
    lfp_strength: float = Field(
        default=0.3, ge=0, allow_inf_nan=False, description="Amplitude of the bursts that tell odours; 0: none at all."
    )
    spikes_alike: list[Annotated[list[OdorName], Field(min_length=2)]] = Field(
        default=[], description="Groups of odours that the spikes do not tell apart: [[C, D]]."
    )
    lfp_alike: list[Annotated[list[OdorName], Field(min_length=2)]] = Field(
        default=[], description="Groups of odours that the LFP does not tell apart."
    )
    random_state: int = Field(default=1, ge=0, description="Seed of the simulated rat and its session.")

    @field_validator("spikes_alike", "lfp_alike")
    @classmethod
    def _groups_share_nothing(cls, groups: list[list[str]]) -> list[list[str]]:
        named = [name for group in groups for name in group]
        if len(set(named)) < len(named):
            raise ValueError(f"each odour may stand in one group, once, found {groups}")
        return groups

    @model_validator(mode="after")
    def _some_units_fire(self) -> Self:
        if self.silent_units >= self.units:
            raise ValueError(f"silent_units: {self.silent_units} of {self.units} units; at least one must fire")
        return self

    @property
    def layout(self) -> OdorLayout:
        """The layout of the recorded rats."""
        return OdorLayout()

    def settings_of(self, modality: str, chunk: str) -> dict[str, Any]:
        # What is drawn is in the files already.
        return self.model_dump(mode="json", include=set(OdorTask.model_fields) | {"rat"})

"""What is made of trials: settings that every kind of source with recordings shares."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, FiniteFloat, ValidationInfo, field_validator, model_validator

from metafusion.config.base import Settings
from metafusion.config.source import Name, Positive


def exact(number: float) -> Fraction:
    """Return the number that a float stands for: 0.1 is a tenth here, and 1 / 3 a third, which no float is."""
    return Fraction(number).limit_denominator(10**9)


def _ascending(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] >= interval[1]:
        raise ValueError(f"runs from {interval[0]:g} to {interval[1]:g}; the lower number must come first")
    return interval


def _is_no_table_of_trials(name: str) -> str:
    if name == "trials":
        raise ValueError("a modality cannot be called 'trials', as the table of a session's trials is; rename it")
    return name


ModalityName = Annotated[Name, AfterValidator(_is_no_table_of_trials)]
"""Name of a modality, and of its table in the folder of a session (see :mod:`metafusion.sources.trials`)."""
Window = Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_ascending)]
"""Interval of time in seconds: the start belongs to it, the stop does not."""
Band = Annotated[tuple[Positive, Positive], AfterValidator(_ascending)]
"""Band of frequencies in Hz: the lower edge belongs to it, the upper does not."""


_ELECTRODES = dict.fromkeys(("eeg", "eog"), (1e-7, 1e-2, "V")) | dict.fromkeys(
    ("ecg", "emg", "seeg", "ecog", "dbs"), (1e-7, 1e-1, "V")
)
PLAUSIBLE = _ELECTRODES | {"mag": (1e-14, 1e-6, "T"), "grad": (1e-13, 1e-4, "T/m")}
"""By type of channel, between what the range (largest minus smallest value) of a trial lies, and its unit. Generous:
from less than the noise of an amplifier to more than any artefact that a trial may have and still be of use."""


class SignalFeatures(Settings):
    """What is made of the channels of a modality, trial by trial.

    'samples' and 'bins' are two resolutions of one thing, so only one of them may be asked for.
    """

    samples: bool = Field(
        default=False,
        description="Whether every sample of every channel is a feature: an array of channels x time for 'conv1d', for "
        "a PCA of each channel, and for covariances.",
    )
    bins: int = Field(
        default=0, ge=0, description="Equal stretches of time whose mean is a feature, per channel; 0 for none."
    )
    bands: dict[Name, Band] = Field(
        default={},
        description="Frequency bands in Hz, lower edge first, whose log10 power is a feature, per channel: "
        "{theta: [4, 8]}; {} for none.",
    )
    power: Literal["multitaper", "morlet"] = Field(
        default="multitaper",
        description="How power is estimated: over the whole trial by multitaper, or by Morlet wavelets, which also say "
        "when it was there, but need trials longer than the wavelets.",
    )
    power_bins: int = Field(
        default=1, ge=1, description="Equal stretches of time in which the Morlet power is averaged, per band."
    )
    phase: dict[Name, Band] = Field(
        default={},
        description="Frequency bands in Hz whose phase is two features, its cosine and sine, per channel; {} for none. "
        "It is the mean phase in the middle of the trial, of the signal filtered to the band.",
    )

    @model_validator(mode="after")
    def _make_something(self) -> Self:
        if not (self.samples or self.bins or self.bands or self.phase):
            raise ValueError("a modality needs samples, bins, bands or phase; with none of them it has no feature")
        if self.samples and self.bins:
            raise ValueError("a modality has either samples or bins; make two modalities to have both")
        if self.power_bins > 1 and self.power != "morlet":
            raise ValueError(f"power_bins: {self.power_bins} stretches of time need 'power: morlet'")
        return self


class SpikeFeatures(Settings):
    """What is made of the spikes of a modality's units, trial by trial."""

    count: Literal["total", "bins", "smoothed"] = Field(
        default="total",
        description="'total': one count a unit and trial. 'bins': one a bin of time. 'smoothed': one a bin, after the "
        "bins are smoothed with a Gaussian.",
    )
    bins: int | None = Field(
        default=None, ge=1, description="Number of equal bins of the window; null where 'bin_width' says it."
    )
    bin_width: Positive | None = Field(
        default=None, description="Width of a bin in seconds; null where 'bins' says how many there are."
    )
    smoothing: Positive | None = Field(
        default=None, description="Standard deviation of the Gaussian in seconds; needed with 'count: smoothed' only."
    )
    rate: bool = Field(default=False, description="Whether counts are divided by the time they were counted in.")
    transform: Literal["none", "square_root", "anscombe"] = Field(
        default="none",
        description="What is done to counts, so that their variance depends less on their mean: nothing, sqrt(x), or "
        "2 sqrt(x + 3/8).",
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.bins is not None and self.bin_width is not None:
            raise ValueError("give bins or bin_width, not both")
        if (self.count == "smoothed") != (self.smoothing is not None):
            raise ValueError("'smoothing' (in seconds) and 'count: smoothed' go together")
        return self


def refuse_bands_that_are_filtered_out(cleaning: "Cleaning", groups: Mapping[str, SignalFeatures]) -> None:
    """Raise ValueError if a band of a modality reaches beyond the low-pass, or half the rate after resampling."""
    edges = {"lowpass": cleaning.lowpass, "half of resample": cleaning.resample and cleaning.resample / 2}
    for name, group in groups.items():
        for band, (_, high) in {**group.bands, **group.phase}.items():
            for key, edge in edges.items():
                if edge is not None and high > edge:
                    raise ValueError(
                        f"{name}: band {band!r} reaches to {high:g} Hz, beyond {key} ({edge:g} Hz), where nothing is "
                        "left to see; lower the band, or raise that"
                    )


class Cleaning(Settings):
    """How a continuous recording is cleaned before it is cut, and which trials are left out. In this order."""

    bad_channels: dict[str, list[str]] = Field(
        default={},
        description="Channels to leave out, by session, or under 'all' for every session; besides those that the file "
        "marks as bad.",
    )
    bad_channels_become: Literal["dropped", "interpolated"] = Field(
        default="dropped",
        description="'interpolated': made anew from their neighbours at the same moment, which needs the positions of "
        "the electrodes in the file.",
    )
    reference: Literal["average"] | list[str] | None = Field(
        default=None,
        description="New reference of EEG, ECoG, SEEG or DBS channels: 'average' (by type, without bad channels), or "
        "channels whose mean is subtracted and which are then dropped; null to keep that of the recording.",
    )
    notch: list[Positive] = Field(default=[], description="Frequencies in Hz to remove, e.g. [50, 100]; [] for none.")
    highpass: Positive | None = Field(default=None, description="High-pass edge in Hz; null for none.")
    lowpass: Positive | None = Field(default=None, description="Low-pass edge in Hz; null for none.")
    resample: Positive | None = Field(
        default=None,
        description="Sampling rate of the trials in Hz; null to keep that of the recording. Sessions that differ in "
        "their rate need one.",
    )
    baseline: Window | None = Field(
        default=None,
        description="Interval in seconds around the event whose mean is subtracted, per trial and channel; it may lie "
        "outside the window. null for none.",
    )
    flat: dict[str, Positive] = Field(
        default={},
        description="Least range (largest minus smallest value) by type of channel, in volt (tesla for mag, tesla per "
        "metre for grad): a trial with a channel under it is left out. {eeg: 1e-6} is one microvolt.",
    )
    reject: dict[str, Positive] = Field(
        default={}, description="Largest range by type of channel, in the same units: {eeg: 150e-6, eog: 250e-6}."
    )
    overlap: Literal["exclude", "allow"] = Field(
        default="exclude",
        description="What becomes of a trial that begins before an earlier one has ended: it is left out, or kept. "
        "Trials that share samples can stand on two sides of a split.",
    )

    @field_validator("flat", "reject")
    @classmethod
    def _are_ranges_of_signals(cls, limits: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        for type_, limit in limits.items():
            least, most, unit = PLAUSIBLE.get(type_, (0.0, math.inf, ""))
            # A small 'flat' leaves out what does not vary at all.
            if limit > most or (info.field_name == "reject" and limit < least):
                example = {"V": "200 uV are 200e-6", "T": "4000 fT are 4000e-15", "T/m": "4000 fT/cm are 4000e-13"}
                raise ValueError(
                    f"{type_}: no trial has a range of {limit:g} {unit}; expected {least:g} to {most:g}, as the unit "
                    f"is {unit}: {example[unit]}"
                )
        return limits

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.highpass is not None and self.lowpass is not None and self.highpass >= self.lowpass:
            raise ValueError(f"highpass ({self.highpass:g} Hz) must lie under lowpass ({self.lowpass:g} Hz)")
        if self.reference == []:
            raise ValueError("reference: name at least one channel, or null to keep that of the recording")
        return self

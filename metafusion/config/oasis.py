"""The OASIS brains: cross-sectional (1) and longitudinal (2)."""

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from metafusion.config.mri import MriPreprocessing
from metafusion.config.volumes import (
    T1W,
    ChunkSize,
    Exclude,
    Listing,
    Pattern,
    Preprocessing,
    Require,
    Scan,
    Visit,
    VolumeSource,
    first_of_each,
    volume_files,
)
from metafusion.errors import UserError

CLINICAL, MRI_TABLE = "clinical", "mri_table"

Clinical = Literal["age", "sex", "hand", "educ", "ses", "mmse"]
Morphometry = Literal["etiv", "nwbv", "asf"]

ANSWERS = {"cdr": "'cdr' is the label", "group": "'group' is made from the label"}
"""Columns that are never features, and why."""

WHICH_FILES = (
    "Which files of the folder are the volumes, one a scan: a pattern with stars. By default, of OASIS-1 those in "
    "Talairach space with a corrected bias field and without the skull; of OASIS-2 the first image of each visit, as "
    "the scanner made it."
)


class Oasis(VolumeSource):
    """What both have in common."""

    label_pattern: ClassVar[re.Pattern]
    """Name of a scan; its first group is the subject, its second the scan's or visit's number."""
    example: ClassVar[str]

    kind: str = Field(description="Which kind of source this is.")
    table: Path = Field(description="The table of scans: CSV (as it comes), TSV or Parquet.")
    folder: Path | None = Field(
        default=None, description="Folder that holds the volumes, at any depth; null for the table alone."
    )
    volumes: Pattern = Field(default="**/*.nii.gz", description=WHICH_FILES)
    clinical: list[Clinical] = Field(
        default=["age", "sex", "educ", "ses"],
        description="Columns of the table that are the modality 'clinical'; [] for none. 'mmse' says nearly what the "
        "label says. 'cdr' is the label and refused.",
    )
    mri_table: list[Morphometry] = Field(
        default=["etiv", "nwbv", "asf"],
        description="Columns of the table that were measured on the MRI, and are the modality 'mri_table'; [] for "
        "none.",
    )
    require: Require = Field(default=[])
    exclude: Exclude = Field(default=[])
    chunk_size: ChunkSize = 10
    preprocessing: Preprocessing = MriPreprocessing()

    @field_validator("clinical", "mri_table", mode="before")
    @classmethod
    def _refuse_answers(cls, given: Any) -> Any:
        words = [name.casefold() for name in given if isinstance(name, str)] if isinstance(given, list) else []
        for name in words:
            if name in ANSWERS:
                raise ValueError(f"{ANSWERS[name]} and can be no feature; remove it")
        if len(set(words)) < len(words):
            raise ValueError(f"each column may stand once, found {given}")
        return given

    @field_validator("clinical", mode="before")
    @classmethod
    def _refuse_morphometry(cls, given: Any) -> Any:
        for name in given if isinstance(given, list) else []:
            if str(name).casefold() in ("etiv", "nwbv", "asf"):
                raise ValueError(f"{name!r} was measured on the MRI and is not clinical; it belongs to 'mri_table'")
        return given

    @model_validator(mode="after")
    def _has_a_modality(self) -> "Oasis":
        if not self.modality_names:
            raise ValueError("there is no modality; give a 'folder' with volumes, or columns in 'clinical'")
        return self

    @property
    def first_only(self) -> bool:
        """Whether of each person the first scan or visit is used only."""
        raise TypeError(f"{type(self).__name__} does not say")

    @property
    def has_volumes(self) -> bool:
        return self.folder is not None

    @property
    def table_names(self) -> list[str]:
        return [name for name in (CLINICAL, MRI_TABLE) if getattr(self, name)]

    @property
    def user_files(self) -> list[Path]:
        return [self.table]

    @property
    def label_proxies(self) -> dict[str, list[str]]:
        return {CLINICAL: ["mmse"]} if "mmse" in self.clinical else {}

    def kept(self, visits: Iterable[Visit]) -> set[str]:
        visits = list(visits)
        return first_of_each(visits) if self.first_only else {visit.sample for visit in visits}

    @cached_property
    def listings(self) -> dict[str, Listing]:
        return {} if self.folder is None else {T1W: self._listing(self.folder)}

    def _listing(self, folder: Path) -> Listing:
        scans: dict[str, Scan] = {}
        for path in volume_files(folder, [self.volumes], "volumes"):
            scan = self._scan(path, folder)
            if scan.sample in scans:
                raise UserError(
                    f"{folder}: two volumes of {scan.sample}: {scans[scan.sample].path} and {path}; expected one a "
                    "scan; narrow the pattern in 'volumes'"
                )
            scans[scan.sample] = scan
        return self.listing(list(scans.values()), [], folder)

    def _scan(self, path: Path, folder: Path) -> Scan:
        names = list(self.label_pattern.finditer(str(path.relative_to(folder))))
        if not names:
            raise UserError(
                f"{path}: has no name of a scan in its path, such as {self.example}; correct 'volumes', or move the "
                "file away"
            )
        return Scan(names[-1][0], names[-1][1], f"MR{names[-1][2]}", path)


class Oasis1(Oasis):
    """OASIS-1, cross-sectional: T1w volumes and a table of people aged 18 to 96 (on request from its website).

    Modalities: ``t1w`` (where there is a ``folder``), ``clinical``, ``mri_table``.
    """

    label_pattern: ClassVar = re.compile(r"(OAS1_\d{4})_MR(\d+)")
    example: ClassVar = "OAS1_0001_MR1"

    kind: Literal["oasis1"] = Field(description="Which kind of source this is.")
    volumes: Pattern = Field(default="**/OAS1_*_t88_masked_gfc.*", description=WHICH_FILES)
    scans: Literal["first", "all"] = Field(
        default="first", description="'first': one scan a person. 'all': also the repeat scans (MR2) of 20 people."
    )
    label: Literal["impaired", "cdr"] = Field(
        default="impaired",
        description="'impaired': CDR above 0, or 0 (control). 'cdr': CDR 0, 0.5, and 1 or more. Those without a CDR "
        "are out.",
    )

    @property
    def first_only(self) -> bool:
        return self.scans == "first"


class Oasis2(Oasis):
    """OASIS-2, longitudinal: 150 people aged 60 to 96 with two visits or more (on request from its website).

    Modalities: ``t1w`` (where there is a ``folder``), ``clinical``, ``mri_table``.
    """

    label_pattern: ClassVar = re.compile(r"(OAS2_\d{4})_MR(\d+)")
    example: ClassVar = "OAS2_0001_MR1"

    kind: Literal["oasis2"] = Field(description="Which kind of source this is.")
    volumes: Pattern = Field(default="**/OAS2_*_MR*/RAW/mpr-1.*", description=WHICH_FILES)
    visits: Literal["first", "all"] = Field(
        default="first", description="'first': the first visit of each person. 'all': every visit is a sample."
    )
    label: Literal["impaired", "cdr", "group"] = Field(
        default="impaired",
        description="'impaired': CDR above 0, or 0 (control). 'cdr': CDR 0, 0.5, and 1 or more. 'group': Demented, "
        "Nondemented or Converted, which is known from later visits, too.",
    )

    @property
    def first_only(self) -> bool:
        return self.visits == "first"

"""NACC: the visits of the Uniform Data Set, and the table of MRI morphometry."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from metafusion.config.source import Code, Name, Source
from metafusion.errors import did_you_mean

MORPHOMETRY = "morphometry"
"""The group of all numbers in the MRI table; every other group is of visits."""


def _columns(categorical: str = "", ordinal: str = "", numeric: str = "") -> dict[str, str]:
    words = {"categorical": categorical, "ordinal": ordinal, "numeric": numeric}
    return {column: kind for kind, listed in words.items() for column in listed.split()}


GROUPS: dict[str, dict[str, str]] = {
    "demographics": _columns("NACCNIHR PRIMLANG SEX", "HISPANIC MARISTAT NACCLIVS INDEPEND RESIDENC", "NACCAGE EDUC"),
    "health_history": _columns(
        ordinal="TOBAC30 TOBAC100 NACCTBI DEP2YRS DEPOTHR ANYMEDS NACCAAAS NACCAANX NACCAC NACCACEI NACCADEP NACCAHTN "
        "NACCANGI NACCAPSY NACCBETA NACCCCBS NACCDBMD NACCDIUR NACCEMD NACCEPMD NACCHTNC NACCLIPL NACCNSD NACCPDMD "
        "NACCVASD NACCAMD PACKSPER CVHATT CVAFIB CVANGIO CVBYPASS CBTIA CVPACE CVCHF CVOTHR CBSTROKE SEIZURES NCOTHR "
        "DIABETES HYPERTEN HYPERCHO B12DEF THYROID INCONTU INCONTF ALCOHOL ABUSOTHR PSYCDIS",
        numeric="SMOKYRS NACCSTYR NACCTIYR",
    ),
    "family_history": _columns(ordinal="NACCFADM NACCFFTD NACCFAM NACCMOM NACCDAD"),
    "gds": _columns(
        ordinal="NOGDS SATIS DROPACT EMPTY BORED SPIRITS AFRAID HAPPY HELPLESS STAYHOME MEMPROB WONDRFUL WRTHLESS "
        "ENERGY HOPELESS BETTER NACCGDS"
    ),
    "faq": _columns(ordinal="BILLS TAXES SHOPPING GAMES STOVE MEALPREP EVENTS PAYATTN REMDATES TRAVEL"),
    "npi": _columns(
        ordinal="DELSEV HALLSEV AGITSEV DEPDSEV ANXSEV ELATSEV APASEV DISNSEV IRRSEV MOTSEV NITESEV APPSEV"
    ),
    "physical": _columns(
        ordinal="NACCNREX FOCLSYM FOCLSIGN DECSUB VISION VISCORR VISWCORR HEARING HEARAID HEARWAID",
        numeric="HEIGHT WEIGHT BPSYS BPDIAS HRATE NACCBMI",
    ),
    "neuropsychology": _columns(
        ordinal="MMSEORDA MMSEORLO",
        numeric="NACCMMSE MEMUNITS DIGIF DIGIFLEN DIGIB DIGIBLEN ANIMALS VEG BOSTON TRAILA TRAILB",
    ),
    MORPHOMETRY: {},
}
"""Columns of the visits by group, with their types.

Yes and no are 0 and 1, so one ordinal column says what two categorical ones would.
"""

LISTED = {column: kind for group in GROUPS.values() for column, kind in group.items()}

NEVER_FEATURES = (
    (r"CDR.*|MEMORY|ORIENT|JUDGMENT|COMMUN|HOMEHOBB|PERSCARE|COMPORT", "is part of the CDR, the label in disguise"),
    (
        r"NACCUDSD|NORMCOG|NACCNORM|DEMENTED|NACCIDEM|IMPNOMCI|MCI[A-Z0-9]*|NACCMCI[A-Z]|NACCTMCI|NACCETPR|NACCALZ[DP]|"
        r"NACCLBD[A-Z]|NACCPPA[A-Z]*|NACCBVFT|(PROBAD|POSSAD|ALZDIS|DLB|LBDIS|VASC|VASCPS|CVD|FTD|FTLD[A-Z]*|PSP|CORT|"
        r"MSA|PRION|DYSILL|MEDS|DEMUN|DEP|HUNT|BRNINJ|COGOTH[23]?|ESSTREM|DOWNS|HYCEPH|EPILEP|NEOP|HIV|OTHCOG|IMPSUB|"
        r"ALCDEM)(IF)?|AMNDEM|NAMNDEM|PCA|PPAPH",
        "is the diagnosis, or made from it",
    ),
    (r"NACCID|NACCADC|NACCVNUM|NACCAVST|NACCNVST|NACCDAYS|PACKET|FORMVER|VISIT(YR|MO|DAY)|SCANDT", "says who or when"),
)
"""Columns of both tables that cannot be features, as patterns, and why."""

FINE = {
    "patient_profile": ["demographics", "health_history", "family_history"],
    "behavioral_assessment": ["gds", "faq", "npi"],
    "clinical_evaluation": ["physical", "neuropsychology"],
    "mri": [MORPHOMETRY],
}


def _nearest(column: str, used: Iterable[str]) -> str:
    near = get_close_matches(column, used, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else "name it in 'modalities', or remove it here"


def reason_against(column: str) -> str | None:
    """Return why a column can be no feature, or None if it can."""
    for pattern, reason in NEVER_FEATURES:
        if re.fullmatch(pattern, column, re.IGNORECASE):
            return reason
    return None


class Nacc(Source):
    """Cognitive diagnosis in the data of the National Alzheimer's Coordinating Center (on request, naccdata.org).

    A sample is an MRI scan with the participant's closest visit on or before it. Four modalities by default, as in
    Liang, Qu, Shahbaba 2025: ``patient_profile``, ``behavioral_assessment``, ``clinical_evaluation`` and ``mri``.
    """

    kind: Literal["nacc"] = Field(description="Which kind of source this is.")
    visits: Path = Field(description="Table of UDS visits, such as investigator_nacc72.csv.")
    mri: Path = Field(description="Table of SCAN MRI morphometry, such as investigator_scan_mrisbm_nacc71.csv.")
    window_days: int = Field(default=540, ge=0, description="A visit may be so many days before the scan, no more.")
    scans: Literal["all", "first"] = Field(
        default="all",
        description="Scans of a participant that are samples: all that can be, or the first of them. Participants are "
        "on one side of a split in any case.",
    )
    modalities: dict[Name, Annotated[list[str], Field(min_length=1)]] = Field(
        default=FINE,
        min_length=1,
        description="Groups of columns in each modality: demographics, health_history, family_history, gds, faq, npi, "
        "physical, neuropsychology, and morphometry (the MRI table, a modality of its own). Single columns of the "
        "visits may stand beside groups.",
    )
    drop: list[str] = Field(default=[], description="Columns of either table not to use.")
    types: dict[str, Literal["numeric", "ordinal", "categorical"]] = Field(
        default={}, description="Types of columns of the visits, instead of the built-in ones."
    )
    missing_by_column: dict[str, list[Code]] = Field(
        default={},
        description="Codes for missing values in single columns of the visits, instead of the built-in ones; -4 is "
        "missing everywhere.",
    )
    npi_without_symptom: Literal["zero", "missing"] = Field(
        default="zero",
        description="Severity of a symptom that is not there (code 8 in the NPI columns): no severity, or missing.",
    )
    missing_indicators: bool = Field(
        default=False,
        description="Whether each column with gaps also becomes a feature that says where they are. They may give the "
        "diagnosis away.",
    )

    @field_validator("modalities")
    @classmethod
    def _columns_may_be_features(cls, modalities: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, content in modalities.items():
            for one in content:
                # Columns of NACC are in capital letters.
                if one not in GROUPS and one == one.lower():
                    raise ValueError(f"{name}: {one!r} is no group of columns; {did_you_mean(one, GROUPS)}")
                if one not in GROUPS and (reason := reason_against(one)):
                    raise ValueError(f"{name}: {one!r} {reason}, and never a feature; remove it")
            if MORPHOMETRY in content and len(content) > 1:
                raise ValueError(f"{name}: {MORPHOMETRY!r} is another table, and must be a modality of its own")
            columns = [column for one in content for column in GROUPS.get(one, {one: ""})]
            if twice := sorted({column for column in columns if columns.count(column) > 1}):
                raise ValueError(f"{name}: columns that stand more than once: {', '.join(twice)}")
        return modalities

    @model_validator(mode="after")
    def _something_is_left(self) -> "Nacc":
        for name, content in self.modalities.items():
            if content != [MORPHOMETRY] and not self.columns_of(name):
                raise ValueError(f"drop: no column is left in modality {name!r}; drop fewer, or remove the modality")
        used = {column for name in self.modalities for column in self.columns_of(name)}
        for setting in ("types", "missing_by_column"):
            for column in getattr(self, setting):
                if column not in used:
                    raise ValueError(f"{setting}: {column!r} is in no modality; {_nearest(column, used)}")
        return self

    def columns_of(self, modality: str) -> list[str]:
        """Return the columns of visits that a modality asks for."""
        listed = [column for one in self.modalities[modality] for column in GROUPS.get(one, {one: ""})]
        return [column for column in listed if column not in self.drop]

    @property
    def modality_names(self) -> list[str]:
        return list(self.modalities)

    @property
    def chunks(self) -> dict[str, list[str]]:
        # The tables are large: one job reads each of them once, and makes all modalities.
        return {"nacc": ["all"]}

    @property
    def user_files(self) -> list[Path]:
        return [self.visits, self.mri]

"""Any folder in the layout of BIDS, with tables and maps beside the volumes."""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from metafusion.config.columns import ColumnType, People, TypedColumns
from metafusion.config.mri import MriPreprocessing
from metafusion.config.source import Code, Name
from metafusion.config.volumes import (
    T1W,
    VOLUME,
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
    natural,
    require_folder,
    volume_files,
)
from metafusion.errors import UserError

SUBJECT, SESSION = "sub-", "ses-"
LABEL = re.compile(r"(sub|ses)-[A-Za-z0-9]+")
FURTHER = re.compile(r"[A-Za-z0-9]+-[^_]*|T1w")
"""What may follow the subject in a file's name, before its last word; a cut name of a subject is none."""

KEYS = ("participant_id", "session_id")
"""Columns that say whose a row is."""

USUAL_PEOPLE = ("age", "sex", "site")


def sample_name(subject: str, session: str) -> str:
    """Return what a session of a subject is called, as in the names of files."""
    return f"{subject}_{session}" if session else subject


def with_prefix(name: str, prefix: str) -> str:
    """Return a label as names of files have it: some tables leave its prefix away."""
    return name if name.startswith(prefix) else prefix + name


def checked_label(name: str, where: str) -> str:
    """Return a name of a subject or a session if it is one in BIDS, such as ``sub-01``.

    Parameters
    ----------
    name : str
    where : str
        Where it was found, for the message.

    Raises
    ------
    UserError
        It has other characters than letters and digits: it might be cut short, and two people become one.
    """
    if not LABEL.fullmatch(name):
        kind = name[:4]
        raise UserError(
            f"{where}: found the name {name!r}, expected {kind!r} and letters and digits only, as BIDS wants it, such "
            f"as {kind}01; rename it everywhere, in tables and in paths, for example by leaving out other characters"
        )
    return name


class BidsTable(TypedColumns):
    """A modality made of columns of a table."""

    file: Path | None = Field(
        default=None,
        description="The table, from the folder on, such as phenotype/tests.tsv; null for 'participants' (and the "
        "sessions' tables), where 'columns' must be said.",
    )
    columns: list[str] | None = Field(
        default=None, description="Columns to use; null for all but the target and those that say whose a row is."
    )
    drop: list[str] = Field(default=[], description="Columns not to use.")
    types: dict[str, ColumnType] = Field(
        default={}, description="Types of columns, as for 'kind: tables'; the others are inferred."
    )
    levels: dict[str, list[str]] = Field(
        default={}, description="Values of ordinal columns, lowest first, as for 'kind: tables'."
    )
    missing: list[Code] = Field(default=[], description="Codes for missing values besides n/a, e.g. ['-4', '999'].")
    missing_indicators: bool = Field(
        default=False,
        description="Whether each column with gaps also becomes a feature that says where they are. They may give the "
        "target away.",
    )

    @model_validator(mode="after")
    def _columns_of_participants_are_named(self) -> "BidsTable":
        if self.file is None and not self.columns:
            raise ValueError("without a 'file', the table is that of the participants, and 'columns' must be named")
        return self


class Bids(VolumeSource):
    """A folder in the layout of BIDS: T1w volumes, the table of participants, and what you name beside them.

    Modalities: ``t1w``, and those named in ``tables`` and ``maps``. A sample is a session, or a person where there are
    no sessions.
    """

    kind: Literal["bids"] = Field(description="Which kind of source this is.")
    folder: Path = Field(description="The folder with the subjects' folders.")
    participants: Path = Field(
        default=Path("participants.tsv"),
        description="Table with 'participant_id' and the target, and 'session_id' where it has a row a session; from "
        "the folder on. The subjects' tables of sessions are read, too: their values go before those of the person.",
    )
    target: str = Field(description="Column to be predicted: classes or numbers.")
    missing: list[Code] = Field(
        default=[], description="Codes for missing values in the target and in people, besides n/a, e.g. ['-4', '999']."
    )
    people: People = Field(
        default={},
        description="Columns that say who the samples are, for tables of participants, subgroups and checks, never for "
        "training: a list, or a mapping of names to columns. By default age, sex and site, where there are such.",
    )
    volumes: list[Pattern] = Field(
        default=["sub-*/anat/*_T1w.*", "sub-*/ses-*/anat/*_T1w.*"],
        description="Which files of the folder are the T1w volumes: patterns with stars; [] for none.",
    )
    sessions: Literal["all", "first"] | list[str] = Field(
        default="all",
        description="Sessions that are samples: 'all', 'first' of each person, or some, as [ses-1]. The "
        "first is that of all sessions found, in names of volumes and in tables.",
    )
    runs: Literal["first"] | list[str] = Field(
        default="first",
        description="Which of several volumes of a session: 'first' by name, or by words in the name, best first, as "
        "[run-2, run-1]. A volume with none of these words is not used.",
    )
    tables: dict[Name, BidsTable] = Field(default={}, description="Modalities made of tables, by a name of their own.")
    maps: dict[Name, Pattern] = Field(
        default={},
        description="Modalities made of maps in the space of the template, by a name of their own: a pattern of files, "
        "one a sample. Features are the means by region.",
    )
    require: Require = Field(default=[])
    exclude: Exclude = Field(default=[])
    chunk_size: ChunkSize = 10
    preprocessing: Preprocessing = MriPreprocessing(align="affine")

    @field_validator("preprocessing", mode="before")
    @classmethod
    def _scans_are_aligned(cls, given: Any) -> Any:
        # Scans lie where the head lay; 'none' is for those that other software has brought to MNI space.
        return {"align": "affine"} | given if isinstance(given, dict) else given

    @field_validator("sessions")
    @classmethod
    def _sessions_have_their_prefix(cls, given: str | list[str]) -> str | list[str]:
        return given if isinstance(given, str) else [with_prefix(name, "ses-") for name in given]

    @model_validator(mode="after")
    def _modalities_are_apart(self) -> "Bids":
        names = self.modality_names
        if not names:
            raise ValueError("there is no modality; name 'volumes', 'tables' or 'maps'")
        for name in [*self.tables, *self.maps]:
            if names.count(name) > 1 or name in (T1W, VOLUME):
                raise ValueError(f"the name {name!r} stands for two modalities; rename one")
        for name, table in self.tables.items():
            for column in table.columns or ():
                if role := self.role_of(column):
                    raise ValueError(f"tables.{name}.columns: {column!r} {role} and can be no feature; remove it")
        return self

    @model_validator(mode="after")
    def _people_are_no_targets(self) -> "Bids":
        if "target" in self.people:
            raise ValueError("people: no column may be called 'target'; write {other_name: target}")
        return self

    def role_of(self, column: str) -> str:
        """Say why a column can be no feature, whatever table it stands in and in whatever case; '' if it can."""
        roles = {self.target: "the target"} | dict.fromkeys(KEYS, "the name of a person or a session")
        for name, role in roles.items():
            if name.casefold() == column.casefold():
                return f"is {role}" if name == column else f"is {role}, {name!r}, but for case,"
        return ""

    @property
    def has_volumes(self) -> bool:
        return bool(self.volumes)

    @property
    def table_names(self) -> list[str]:
        return list(self.tables)

    @property
    def map_names(self) -> list[str]:
        return list(self.maps)

    @property
    def people_table(self) -> Path:
        """The table of participants."""
        return self.folder / self.participants

    @cached_property
    def session_tables(self) -> list[Path]:
        """The tables of sessions, one a subject at most.

        Raises
        ------
        UserError
            One is not named after the subject in whose folder it lies.
        """
        tables = sorted(self.folder.glob("sub-*/sub-*_sessions.tsv"), key=lambda path: natural(str(path)))
        for path in tables:
            subject = checked_label(path.name.removesuffix("_sessions.tsv"), str(path))
            if subject != path.parent.name:
                raise UserError(
                    f"{path}: lies in the folder of another subject, {path.parent.name}; expected "
                    f"{path.parent.name}_sessions.tsv; rename it, or move it"
                )
        return tables

    @cached_property
    def user_files(self) -> list[Path]:
        # Without the folder, the message that its table is missing would lead astray.
        require_folder(self.folder)
        return list(dict.fromkeys(file for name in [None, *self.tables] for file in self.files_of_table(name)))

    def files_of_table(self, name: str | None) -> list[Path]:
        file = self.tables[name].file if name else None
        return [self.people_table, *self.session_tables] if file is None else [self.folder / file]

    @cached_property
    def listings(self) -> dict[str, Listing]:
        listed = {T1W: self._listing(self.volumes, "volumes", self.runs)} if self.volumes else {}
        return listed | {name: self._listing([pattern], f"maps.{name}", None) for name, pattern in self.maps.items()}

    def _listing(self, patterns: Sequence[str], key: str, runs: str | list[str] | None) -> Listing:
        by_sample: dict[str, list[Scan]] = {}
        for path in volume_files(self.folder, patterns, key):
            scan = self._scan(path, key)
            by_sample.setdefault(scan.sample, []).append(scan)
        used: list[Scan] = []
        left: list[tuple[Scan, str]] = []
        for scans in by_sample.values():
            if runs is None and len(scans) > 1:
                raise UserError(
                    f"{self.folder}: two maps of {scans[0].sample}: {scans[0].path} and {scans[1].path}; expected one "
                    f"a sample; narrow the pattern in {key!r}"
                )
            best = _ranked(scans, runs or "first")[:1]
            used += best
            reason = "another run of the session" if best else "no run of the session that is asked for"
            left += [(_as_run(scan), reason) for scan in scans if scan not in best]
        if not used:
            raise UserError(
                f"{self.folder}: none of the {len(left)} volumes, such as {left[0][0].path.name}, has one of the words "
                f"of 'runs' in its name ({', '.join(runs or [])}); correct them"
            )
        return self.listing(used, left, self.folder)

    def kept(self, visits: Iterable[Visit]) -> set[str]:
        if self.sessions == "all":
            return {visit.sample for visit in visits}
        if self.sessions == "first":
            return first_of_each(visits)
        return {visit.sample for visit in visits if visit.session in self.sessions}

    def _scan(self, path: Path, key: str) -> Scan:
        subjects, sessions = _labels(path, path.relative_to(self.folder))
        if not subjects:
            raise UserError(
                f"{path}: has no name of a subject in its path, such as sub-01; correct {key!r}, or move the file away"
            )
        for names in (subjects, sessions):
            if len(set(names)) > 1:
                raise UserError(
                    f"{path}: may be of {' or of '.join(dict.fromkeys(names))}; expected the same name all along the "
                    f"path; correct {key!r}, or rename the file or its folders"
                )
        session = sessions[-1] if sessions else ""
        return Scan(sample_name(subjects[-1], session), subjects[-1], session, path)


def _labels(path: Path, place: Path) -> tuple[list[str], list[str]]:
    """Return the names of subjects and of sessions in a path.

    Parameters
    ----------
    path : Path
        For messages.
    place : Path
        The same, from the folder of the data on.

    Raises
    ------
    UserError
        A name is none that BIDS allows, or it is unclear where it ends.
    """
    found: dict[str, list[str]] = {SUBJECT: [], SESSION: []}
    for part in place.parts:
        words = part.split(".")[0].split("_")
        if part == place.name:
            # Programs put letters in front of what they make: mwp1sub-01_T1w.nii.
            words[0] = re.sub(r"^[A-Za-z0-9]+(?=sub-)", "", words[0])
        for number, word in enumerate(words):
            for prefix, names in found.items():
                if word.startswith(prefix):
                    names.append(checked_label(word, str(path)))
            # sub-002_S_0295 is no sub-002. A folder of the subject's own says where the name ends.
            if word.startswith(SUBJECT) and word not in place.parts[:-1]:
                _refuse_cut_name(path, word, words[number + 1 :])
    return found[SUBJECT], found[SESSION]


def _refuse_cut_name(path: Path, subject: str, rest: Sequence[str]) -> None:
    wrong = [word for word in rest[:-1] if not FURTHER.fullmatch(word)]
    if wrong or (rest and not rest[-1][:1].isalpha()):
        name = "_".join([subject, *rest])
        raise UserError(
            f"{path}: in {name!r} it is unclear where the name of the subject ends; expected 'sub-' and letters and "
            "digits only, as BIDS wants it, then parts such as '_ses-1'; rename it, in tables, too, or, if the "
            f"subject is {subject}, put the file into a folder {subject}/"
        )


def _ranked(scans: Sequence[Scan], runs: str | list[str]) -> list[Scan]:
    """Return the volumes of a sample that may be used, best first."""
    if runs == "first":
        return list(scans)
    # run-1 must not find run-10.
    words = [re.compile(rf"(^|[_.]){re.escape(word)}([_.]|$)") for word in runs]
    return [scan for word in words for scan in scans if word.search(scan.path.name)]


def _as_run(scan: Scan) -> Scan:
    """Return a volume under a name of its own, as another one has the sample's."""
    return Scan(scan.path.name, scan.subject, scan.session, scan.path)

"""What sources of volumes in the user's own folders share before data are read: whose each file is, and chunks."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from glob import glob
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from metafusion.config.mri import MriPreprocessing
from metafusion.config.source import Source
from metafusion.errors import UserError, did_you_mean

T1W = "t1w"
VOLUME = "volume"
ENDINGS = (".nii.gz", ".nii", ".hdr", ".img", ".mgz", ".mgh")
"""Files of volumes, in any case. Of a pair, the header stands for both."""

MOST_FILES_LOOKED_AT = 20_000
"""Where nothing was found, so many files of a folder are looked at to say what is there instead."""


def _below(pattern: str) -> str:
    if pattern.startswith("/") or ".." in pattern.split("/"):
        raise ValueError(f"{pattern!r} leads out of the folder; expected a pattern below it, such as '**/*.nii.gz'")
    return pattern


Pattern = Annotated[str, AfterValidator(_below)]
Require = Annotated[
    list[str],
    Field(
        description="Modalities that a sample must have, such as t1w; others may be lacking. A sample without one of "
        "these is out."
    ),
]
Exclude = Annotated[
    list[str],
    Field(
        description="Samples whose volumes and maps are not used, by their names in quality.tsv: those that a person "
        "has thrown out after a look at the pictures."
    ),
]
ChunkSize = Annotated[
    int,
    Field(
        ge=1,
        description="Subjects that one preprocessing job takes, on average at most: they are dealt by a hash of their "
        "names, so that a new subject changes one chunk.",
    ),
]
Preprocessing = Annotated[MriPreprocessing, Field(description="How the volumes become features.")]


@dataclass(frozen=True)
class Visit:
    """A sample and whose it is; ``session`` is empty where there is none."""

    sample: str
    subject: str
    session: str


@dataclass(frozen=True)
class Scan(Visit):
    """A volume in the user's folder: its path, of a pair of files that of the header."""

    path: Path

    @property
    def files(self) -> list[Path]:
        """Files that hold the volume, as far as they are there."""
        return [path for path in dict.fromkeys((self.path, _other_half(self.path, ".hdr", ".img"))) if path.exists()]


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes
    ----------
    scans : list of Scan
        Volumes that are used, one a sample, in natural order of their paths.
    unwanted : list of Scan
        Volumes of sessions that are not asked for.
    runs : list of (Scan, str)
        Volumes beside the one that is used of a session, and why each is not; their names are those of files.
    lost : list of Scan
        Volumes that are not there, though their names are: links to nothing.
    thrown : list of Scan
        Volumes that the configuration leaves out by name.
    """

    scans: list[Scan]
    unwanted: list[Scan]
    runs: list[tuple[Scan, str]]
    lost: list[Scan]
    thrown: list[Scan]

    @property
    def samples(self) -> list[Scan]:
        """One volume of every sample found, used or not."""
        return [*self.scans, *self.unwanted, *self.lost, *self.thrown]


class VolumeSource(Source):
    """T1-weighted volumes and tables of the user's own.

    A kind has the fields ``require``, ``exclude``, ``chunk_size`` and ``preprocessing``, after those that are its own.
    """

    @model_validator(mode="after")
    def _requires_what_there_is(self) -> "VolumeSource":
        for name in self.require:
            if name not in self.modality_names:
                raise ValueError(f"require: no modality {name!r}; {did_you_mean(name, self.modality_names)}")
        return self

    @property
    def has_volumes(self) -> bool:
        """Whether there are T1-weighted volumes at all."""
        return True

    @property
    def table_names(self) -> list[str]:
        """Modalities that come from tables."""
        return []

    @property
    def map_names(self) -> list[str]:
        """Modalities that come from maps beside the volumes."""
        return []

    @property
    def modality_names(self) -> list[str]:
        small = [VOLUME] if self.has_volumes and self.preprocessing.volume else []
        return [*([T1W] if self.has_volumes else []), *small, *self.map_names, *self.table_names]

    @cached_property
    def listings(self) -> dict[str, Listing]:
        """The volumes of each unit (``t1w``, and maps by name), listed once."""
        raise TypeError(f"{type(self).__name__} lists no volumes")

    def kept(self, visits: Iterable[Visit]) -> set[str]:
        """Return the samples that are asked for, of all that were found."""
        raise TypeError(f"{type(self).__name__} does not choose")

    def listing(self, scans: Sequence[Scan], runs: Sequence[tuple[Scan, str]], folder: Path) -> Listing:
        """Return the listing of a folder's volumes, one a sample.

        Raises
        ------
        UserError
            No volume is of a session that is asked for, or all those volumes are links to nothing.
        """
        kept = self.kept(scans)
        wanted = [scan for scan in scans if scan.sample in kept]
        if not wanted:
            raise UserError(
                f"{folder}: none of the volumes is asked for, such as that of {scans[0].sample}; correct what is asked "
                "for in the source, or the names of the files"
            )
        thrown = [scan for scan in wanted if scan.sample in self.exclude]
        wanted = [scan for scan in wanted if scan.sample not in self.exclude]
        if not wanted:
            raise UserError(f"{folder}: 'exclude' leaves none of the {len(thrown)} volumes; name fewer")
        there = {scan.sample for scan in wanted if scan.files}
        lost = [scan for scan in wanted if scan.sample not in there]
        if not there:
            raise UserError(
                f"{folder}: all {len(lost)} volumes are links to nothing, such as {lost[0].path}; expected their "
                "contents; get them first, for example with 'datalad get'"
            )
        unwanted = [scan for scan in scans if scan.sample not in kept]
        return Listing([scan for scan in wanted if scan.sample in there], unwanted, list(runs), lost, thrown)

    @cached_property
    def scans_of_chunks(self) -> dict[str, dict[str, list[Scan]]]:
        """The volumes of each chunk of each unit."""
        subjects = {scan.subject for listing in self.listings.values() for scan in listing.scans}
        return {unit: dealt(listing.scans, len(subjects), self.chunk_size) for unit, listing in self.listings.items()}

    def scans_of(self, unit: str, chunk: str) -> list[Scan]:
        """Return the volumes of a chunk.

        Raises
        ------
        UserError
            There is no such chunk: the folder has other subjects than when the run was planned.
        """
        chunks = self.scans_of_chunks[unit]
        if chunk not in chunks:
            raise UserError(
                f"{unit}: no chunk {chunk}: the volumes are now dealt into {len(chunks)}; the folder has changed since "
                "the run was planned; start the run again"
            )
        return chunks[chunk]

    @property
    def chunks(self) -> dict[str, list[str]]:
        for file in self.atlas_files if self.listings else []:
            if not file.is_file():
                raise UserError(f"preprocessing: {file}: no such file; expected the atlas, or the names of its labels")
        known = {scan.sample for listing in self.listings.values() for scan in listing.samples}
        for name in self.exclude:
            if name not in known:
                raise UserError(f"exclude: no volume of {name!r} was found; {did_you_mean(name, known)}")
        volumes = {unit: list(chunks) for unit, chunks in self.scans_of_chunks.items()}
        return volumes | {name: ["all"] for name in self.table_names}

    def settings_of(self, modality: str, chunk: str) -> dict[str, Any]:
        if modality == T1W or modality in self.map_names:
            # Which volumes those of a chunk are is said by its files.
            return self.model_dump(mode="json", include={"kind", "preprocessing"})
        return self.model_dump(mode="json", exclude={"volumes", "require", "chunk_size", "preprocessing"})

    def inputs_of(self, modality: str, chunk: str) -> list[Path]:
        if modality in self.scans_of_chunks:
            volumes = [file for scan in self.scans_of(modality, chunk) for file in scan.files]
            return [*volumes, *self.atlas_files]
        return self.files_of_table(modality)

    @property
    def atlas_files(self) -> list[Path]:
        """The user's atlas, and the names of its labels."""
        return [file for file in (self.preprocessing.atlas, self.preprocessing.atlas_labels) if file]

    def files_of_table(self, name: str) -> list[Path]:
        """The user's tables that a modality is made from."""
        return self.user_files


def dealt(scans: Sequence[Scan], subjects: int, chunk_size: int) -> dict[str, list[Scan]]:
    """Deal volumes into chunks; all volumes of a subject are together.

    The chunk of a subject follows from its name and the number of chunks alone, which is the smallest power of two that
    is enough: a new subject comes into one chunk and leaves the others as they are, unless it is one too many for all.

    Parameters
    ----------
    scans : sequence of Scan
    subjects : int
        How many there are.
    chunk_size : int
        Subjects of a chunk, on average at most.

    Returns
    -------
    dict of str to list of Scan
        By the chunks' names, '000', '001', ...; some may be empty.
    """
    count = 1 << max(0, (-(-subjects // chunk_size) - 1).bit_length())
    chunks: dict[str, list[Scan]] = {f"{number:03d}": [] for number in range(count)}
    for scan in scans:
        number = int(hashlib.sha256(scan.subject.encode()).hexdigest(), 16) % count
        chunks[f"{number:03d}"].append(scan)
    return chunks


def require_folder(folder: Path) -> None:
    """Raise UserError unless a folder is there."""
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "no such folder"
        raise UserError(
            f"{folder}: {found}; expected the folder with the volumes; correct 'folder' (paths are relative to the "
            f"folder where the program runs, {Path.cwd()}, or absolute)"
        )


def volume_files(folder: Path, patterns: Sequence[str], key: str) -> list[Path]:
    """Return the volumes below a folder whose path matches one of some patterns, in natural order.

    Parameters
    ----------
    folder : Path
    patterns : sequence of str
        ``*`` stands for anything in a name, ``**`` for any folders between.
    key : str
        The setting that holds the patterns, for messages.

    Raises
    ------
    UserError
        There is no such folder, or no such volume.
    """
    require_folder(folder)
    # Unlike pathlib's, this glob goes through linked folders, such as discs elsewhere, and takes no hidden files.
    names = chain.from_iterable(glob(pattern, root_dir=folder, recursive=True) for pattern in patterns)
    matches = [folder / name for name in names]
    found = {_other_half(path, ".img", ".hdr") for path in matches if is_volume(path)}
    if not found:
        looked = " or ".join(map(str, (folder / pattern for pattern in patterns)))
        raise UserError(f"{folder}: no volume found; looked for {looked}; {_instead(folder)}; correct {key!r}")
    return sorted(found, key=lambda path: natural(str(path)))


def is_volume(path: Path) -> bool:
    """Return whether a name is that of a volume."""
    return path.name.casefold().endswith(ENDINGS)


def _other_half(path: Path, ending: str, other: str) -> Path:
    """Return the other file of a pair if a path has the ending, and else the path."""
    if path.suffix.casefold() != ending:
        return path
    return path.with_suffix(other.upper() if path.suffix.isupper() else other)


def natural(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts numbers inside names by their size: run-2 before run-10; no two names have the same."""
    # Text and numbers take turns, so that like is compared with like.
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def first_of_each(visits: Iterable[Visit]) -> set[str]:
    """Return the samples that come first, in natural order, of each subject's."""
    first: dict[str, str] = {}
    for visit in sorted(visits, key=lambda visit: natural(visit.sample)):
        first.setdefault(visit.subject, visit.sample)
    return set(first.values())


def _instead(folder: Path) -> str:
    """Say what a folder holds."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    if not names:
        return "the folder is empty"
    listed = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    files = islice((path for path in folder.rglob("*") if is_volume(path)), MOST_FILES_LOOKED_AT)
    volumes = list(files)
    if not volumes:
        return f"it holds {listed}, and no {', '.join(ENDINGS)} anywhere"
    return f"it holds {listed}, and {len(volumes)} other volumes, such as {min(volumes).relative_to(folder)}"

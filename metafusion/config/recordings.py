"""Recordings of the user's own: EEG, MEG, intracranial, in any format that MNE reads."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from metafusion.config.base import Settings
from metafusion.config.bids import sample_name, with_prefix
from metafusion.config.source import Code, Source, called_simulated
from metafusion.config.trials import (
    Cleaning,
    ModalityName,
    SignalFeatures,
    Window,
    refuse_bands_that_are_filtered_out,
)
from metafusion.config.volumes import Pattern, natural
from metafusion.errors import UserError, did_you_mean

ENDINGS = (".fif", ".fif.gz", ".edf", ".bdf", ".set", ".vhdr", ".gdf")
"""Files of recordings, in any case."""

DATATYPES = ("eeg", "meg", "ieeg")

TYPES = (
    *("mag", "grad", "ref_meg", "eeg", "seeg", "ecog", "dbs", "eog", "ecg", "emg", "resp", "gsr", "temperature", "bio"),
    *("stim", "misc", "eyegaze", "pupil"),
)
"""Types of channels, as MNE calls them."""

SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
PLACES = ("subject", "session")
"""What may stand in braces in a pattern of files."""


def _known_type(name: str) -> str:
    if name not in TYPES:
        raise ValueError(f"no type of channel {name!r}; {did_you_mean(name.lower(), TYPES)}")
    return name


def _safe(name: str) -> str:
    if not SAFE.fullmatch(name):
        raise ValueError(
            f"the name {name!r} may hold letters, digits, - and _ only, and begins with none of the latter"
        )
    return name


def _listed(given: Any) -> Any:
    return given if isinstance(given, list) else [given]


def as_whole(code: str) -> str:
    """Write whole numbers in one way: tables have 1.0 for 1 where a column has gaps."""
    return re.sub(r"^([+-]?\d+)\.0*$", r"\1", code.strip())


ChannelType = Annotated[str, AfterValidator(_known_type)]
SafeName = Annotated[str, AfterValidator(_safe)]
Event = Annotated[Code, AfterValidator(as_whole)]


class Events(Settings):
    """Where the events stand, and what each of them is."""

    where: Literal["table", "annotations", "stim"] = Field(
        default="table",
        description="'table': an events.tsv beside the recording. 'annotations': in the file (markers of BrainVision, "
        "EDF+, BDF+, GDF, EEGLAB). 'stim': a channel of triggers. Files of epochs bring their events with them.",
    )
    column: str = Field(default="trial_type", description="Column of the table that says what an event is.")
    channel: str | None = Field(
        default=None, description="Channel of triggers; null where there is only one of type 'stim'."
    )
    mask: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Bits of the channel of triggers that count, such as 255; null for all."
    )
    classes: dict[str, Annotated[list[Event], BeforeValidator(_listed), Field(min_length=1)]] = Field(
        min_length=2,
        description="Events of each class, by name or code: {left: [1, left/easy], right: 2}. Other events are not "
        "used.",
    )

    @field_validator("classes", mode="before")
    @classmethod
    def _are_two_or_more(cls, given: Any) -> Any:
        if isinstance(given, dict) and len(given) < 2:
            found = f"only {', '.join(map(repr, given))}" if given else "none"
            raise ValueError(f"decoding needs two classes or more, found {found}; name the events of another")
        return given

    @model_validator(mode="after")
    def _events_have_one_class(self) -> "Events":
        seen: dict[str, str] = {}
        for name, events in self.classes.items():
            for event in events:
                if event in seen:
                    raise ValueError(f"classes: event {event!r} stands under {seen[event]!r} and {name!r}; keep one")
                seen[event] = name
        return self

    @property
    def class_of(self) -> dict[str, str]:
        return {event: name for name, events in self.classes.items() for event in events}


class RecordedChannels(SignalFeatures):
    """A modality: channels of a recording, and what is made of them. A channel must meet all conditions given."""

    types: list[ChannelType] = Field(
        default=[], description=f"Types of channels: {', '.join(TYPES)}. [] for any, if names or regions are given."
    )
    channels: list[str] = Field(
        default=[], description="Names of channels, or patterns of names such as 'C*' and 'LA[1-4]'. [] for any."
    )
    regions: list[str] = Field(
        default=[], description="Regions, as the table of electrodes or of channels names them. [] for any."
    )

    @model_validator(mode="after")
    def _chooses(self) -> "RecordedChannels":
        if not (self.types or self.channels or self.regions):
            raise ValueError("name types, channels or regions, such as 'types: [eeg]'")
        return self


class ListedSession(Settings):
    """A session that is named in the configuration."""

    file: Path = Field(description="The recording, or epochs (-epo.fif, or a .set with epochs).")
    subject: SafeName = Field(description="Whose it is.")
    events: Path | None = Field(default=None, description="Table of events (onset in s, and what it is).")
    channels: Path | None = Field(
        default=None, description="Table of channels, as in BIDS: name, and type, status (good or bad) or a region."
    )
    electrodes: Path | None = Field(default=None, description="Table of electrodes, as in BIDS: name and a region.")


class Layout(Settings):
    """Patterns of files below the folder, with {subject} and {session} in them."""

    file: Pattern = Field(
        description="The recordings, such as '{subject}/{session}_raw.fif'; * stands for anything in a name. Without "
        "{session}, a subject has one."
    )
    events: Pattern | None = Field(
        default=None, description="Their tables of events: '{subject}/{session}_events.tsv'."
    )
    channels: Pattern | None = Field(default=None, description="Their tables of channels.")
    electrodes: Pattern | None = Field(default=None, description="Their tables of electrodes.")
    subject: SafeName | None = Field(default=None, description="Whose they all are, where 'file' has no {subject}.")

    @model_validator(mode="after")
    def _names_subjects(self) -> "Layout":
        for key in ("file", "events", "channels", "electrodes"):
            for word in re.findall(r"{(.*?)}", getattr(self, key) or ""):
                if word not in PLACES:
                    raise ValueError(f"{key}: {{{word}}} stands for nothing; {did_you_mean(word, PLACES)}")
        if ("{subject}" in self.file) == (self.subject is not None):
            raise ValueError("write {subject} into 'file', or say in 'subject' whose the files all are")
        if "{subject}" not in self.file and "{session}" not in self.file:
            raise ValueError("file: write {session} into it, so that the sessions have names")
        return self


@dataclass(frozen=True)
class Recording:
    """A file of a session, and the tables beside it, where there are any."""

    file: Path
    events: Path | None = None
    channels: Path | None = None
    electrodes: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All files that say something of the recording, and are there."""
        tables = (self.events, self.channels, self.electrodes)
        known = [self.file, *_companions(self.file), *(table for table in tables if table)]
        return [path for path in dict.fromkeys(known) if path.exists()]


@dataclass(frozen=True)
class RecordedSession:
    """A session: whose it is, and its recordings (runs), in order."""

    name: str
    subject: str
    recordings: tuple[Recording, ...]


class Recordings(Source):
    """Recordings of your own (EEG, MEG, intracranial) in files that MNE reads, cut into trials around events.

    Name one of: ``folder`` (in the layout of BIDS), ``folder`` and ``layout`` (any other), ``sessions`` (one by one).
    """

    kind: Literal["recordings"] = Field(description="Which kind of source this is.")
    can_be_drawn: ClassVar = True
    folder: Path | None = Field(default=None, description="The folder with the recordings; null with 'sessions'.")
    layout: Layout | None = Field(
        default=None, description="Where the files lie in the folder; null for the layout of BIDS."
    )
    sessions: dict[SafeName, ListedSession] = Field(
        default={}, description="Sessions by name, where there is no folder."
    )
    datatypes: list[Literal["eeg", "meg", "ieeg"]] = Field(
        default=list(DATATYPES), min_length=1, description="BIDS: kinds of recordings to use."
    )
    tasks: list[str] | None = Field(
        default=None, description="BIDS: tasks to use, such as [rest]; null where the folder has one only."
    )
    runs: list[Code] | None = Field(
        default=None, description="BIDS: runs to use; null for all. The runs of a session are joined."
    )
    subjects: Annotated[list[Code], Field(min_length=1)] | None = Field(
        default=None, description="Subjects to use, such as [sub-01], or [01] in the layout of BIDS; null for all."
    )
    exclude: list[str] = Field(default=[], description="Sessions to leave out, such as sub-01_ses-2.")
    events: Events = Field(description="Where the events stand, and which class each is of.")
    window: Window = Field(description="What of the recording a trial is: seconds from the event on, e.g. [-0.2, 0.8].")
    cleaning: Cleaning = Field(default=Cleaning(), description="How recordings are cleaned, and trials rejected.")
    channel_types: dict[str, ChannelType] = Field(
        default={},
        description="Types of channels by name or pattern, where the files know no better (EDF calls all 'eeg'): "
        "{EOG*: eog}. They go before a table of channels.",
    )
    region_column: str = Field(
        default="region", description="Column of the table of electrodes, or else of channels, that names the region."
    )
    modalities: dict[ModalityName, RecordedChannels] = Field(
        min_length=1, description="Channels and what is made of them, one a modality."
    )
    missing_channels: Literal["stop", "exclude"] = Field(
        default="stop",
        description="What a channel does that some session lacks, or that is bad there: it stops the run, or it is "
        "left out in all sessions. A session without any channel of a modality stops the run, or lacks the modality.",
    )
    on_broken: Literal["exclude", "stop"] = Field(
        default="exclude",
        description="What a session does that cannot be used, such as a truncated file or one without the events: it "
        "is excluded with its reason, or it stops the run.",
    )

    @field_validator("runs")
    @classmethod
    def _runs_have_no_prefix(cls, given: list[str] | None) -> list[str] | None:
        return None if given is None else [_plain(run.removeprefix("run-")) for run in given]

    @field_validator("tasks")
    @classmethod
    def _tasks_have_no_prefix(cls, given: list[str] | None) -> list[str] | None:
        return None if given is None else [task.removeprefix("task-") for task in given]

    @model_validator(mode="after")
    def _files_are_named_once(self) -> "Recordings":
        refuse_bands_that_are_filtered_out(self.cleaning, self.modalities)
        if (self.folder is None) == (not self.sessions):
            raise ValueError("name 'folder' or 'sessions', one of them")
        if self.layout and self.folder is None:
            raise ValueError("layout: it needs a 'folder'")
        if self.layout or self.sessions:
            for key in ("datatypes", "tasks", "runs"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(f"{key!r} is for folders in the layout of BIDS; remove it")
        return self

    @property
    def modality_names(self) -> list[str]:
        return list(self.modalities)

    @cached_property
    def found(self) -> dict[str, RecordedSession]:
        """The sessions that are used, by name, in natural order.

        Raises
        ------
        UserError
            There is none, a file is not there, or two are of one session.
        """
        if self.sessions:
            sessions = [self._listed(name, one) for name, one in self.sessions.items()]
        else:
            if not self.folder.is_dir():
                state = "is a file" if self.folder.exists() else "no such folder"
                raise UserError(
                    f"{self.folder}: {state}; expected the folder with the recordings; correct 'folder' (paths are "
                    f"relative to the folder where the program runs, {Path.cwd()}, or absolute)"
                )
            sessions = list(self._of_layout(self.layout) if self.layout else self._of_bids())
        sessions = {one.name: one for one in sorted(sessions, key=lambda one: natural(one.name))}
        for name in self.exclude:
            if name not in sessions:
                raise UserError(f"exclude: no session {name!r} was found; {did_you_mean(name, sessions)}")
        wanted = self._subjects_among({one.subject for one in sessions.values()})
        chosen = {name: one for name, one in sessions.items() if one.subject in wanted}
        kept = {name: one for name, one in chosen.items() if name not in self.exclude}
        if not kept:
            raise UserError(f"exclude: it leaves none of the {len(chosen)} sessions; name fewer")
        for session, bad in self.cleaning.bad_channels.items():
            if session != "all" and session not in sessions:
                guess = did_you_mean(session, ["all", *sessions])
                raise UserError(
                    f"cleaning.bad_channels: no session {session!r} was found; {guess}; correct the name above "
                    f"{', '.join(bad)}"
                )
        return kept

    def _subjects_among(self, known: Collection[str]) -> Collection[str]:
        """Return the subjects asked for; 01, and 1, is sub-01."""
        if self.subjects is None:
            return known
        found: set[str] = set()
        for word in self.subjects:
            fitting = {word} & {*known} or {
                one for one in known if _plain(one.removeprefix("sub-")) == _plain(word.removeprefix("sub-"))
            }
            if not fitting:
                where = f"{self.folder}: " if self.folder else ""
                raise UserError(f"{where}subjects: no recording of {word!r}; {did_you_mean(word, known)}")
            found |= fitting
        return found

    def _listed(self, name: str, one: ListedSession) -> RecordedSession:
        for key in ("file", "events", "channels", "electrodes"):
            path = getattr(one, key)
            if path and not path.exists():
                raise UserError(f"sessions.{name}.{key}: {path}: no such file; correct the path")
        return RecordedSession(name, one.subject, (Recording(one.file, one.events, one.channels, one.electrodes),))

    def _of_layout(self, layout: Layout) -> Iterator[RecordedSession]:
        expression = _expression(layout.file)
        names = (Path(name).as_posix() for name in glob(_wild(layout.file), root_dir=self.folder, recursive=True))
        matches = [match for name in sorted(names, key=natural) if (match := expression.fullmatch(name))]
        if not matches:
            raise UserError(f"{self.folder}: no file fits layout.file ({layout.file}); {_instead(self.folder)}")
        seen: dict[str, str] = {}
        for match in matches:
            words = {"subject": layout.subject} | match.groupdict()
            parts = [words["subject"], words.get("session")]
            name = "_".join(part for part in parts if part)
            if not SAFE.fullmatch(name):
                raise UserError(
                    f"{self.folder / match.string}: found the session {name!r}, expected letters, digits, - and _ "
                    "only; correct layout.file, or rename the file"
                )
            if name in seen:
                raise _two_files(name, self.folder / seen[name], self.folder / match.string, "layout.file")
            seen[name] = match.string
            tables = {key: self._filled(layout, key, words) for key in ("events", "channels", "electrodes")}
            yield RecordedSession(name, words["subject"], (Recording(self.folder / match.string, **tables),))

    def _filled(self, layout: Layout, key: str, words: Mapping[str, str | None]) -> Path | None:
        """Return the table beside a file; one that is not there is none."""
        pattern = getattr(layout, key)
        if pattern is None:
            return None
        for place, word in words.items():
            pattern = pattern.replace(f"{{{place}}}", word or "")
        found = sorted(glob(pattern, root_dir=self.folder, recursive=True))
        if len(found) > 1:
            raise UserError(f"{self.folder}: {len(found)} files fit layout.{key} ({pattern}); expected one; narrow it")
        return self.folder / found[0] if found else None

    def _of_bids(self) -> Iterator[RecordedSession]:
        listed = list(_bids_files(self.folder, self.datatypes))
        if not listed:
            wanted = " or ".join(f"sub-*/[ses-*/]{kind}/*_{kind}.*" for kind in self.datatypes)
            raise UserError(f"{self.folder}: no recording found; looked for {wanted}; {_instead(self.folder)}")
        tasks = list(dict.fromkeys(entities.get("task", "") for _, entities in listed))
        for task in self.tasks or ():
            if task not in tasks:
                raise UserError(f"{self.folder}: tasks: no recording of task {task!r}; {did_you_mean(task, tasks)}")
        if self.tasks is None and len(tasks) > 1:
            raise UserError(
                f"{self.folder}: recordings of {len(tasks)} tasks ({', '.join(tasks)}); name some in 'tasks'"
            )
        runs = {_plain(entities.get("run", "")) for _, entities in listed}
        for run in self.runs or ():
            if run not in runs:
                raise UserError(f"{self.folder}: runs: no run {run!r}; {did_you_mean(run, runs)}")
        grouped: dict[str, list[tuple[Path, dict[str, str]]]] = {}
        for path, entities in listed:
            chosen = self.tasks is None or entities.get("task", "") in self.tasks
            if chosen and (self.runs is None or _plain(entities.get("run", "")) in self.runs):
                session = f"ses-{entities['ses']}" if "ses" in entities else ""
                grouped.setdefault(sample_name(f"sub-{entities['sub']}", session), []).append((path, entities))
        if not grouped:
            raise UserError(
                f"{self.folder}: no recording is of the tasks and runs asked for; correct 'tasks' or 'runs'"
            )
        for name, files in grouped.items():
            if not SAFE.fullmatch(name):
                raise UserError(
                    f"{files[0][0]}: found the session {name!r}, expected letters, digits, - and _ only; rename the "
                    "folders and the file"
                )
            seen: dict[tuple[str, str], Path] = {}
            for path, entities in files:
                run = entities.get("task", ""), entities.get("run", "")
                if run in seen:
                    raise _two_files(name, seen[run], path, "datatypes, tasks and runs")
                seen[run] = path
            recordings = tuple(_with_tables(path, entities, self.folder) for path, entities in files)
            yield RecordedSession(name, with_prefix(files[0][1]["sub"], "sub-"), recordings)

    @property
    def chunks(self) -> dict[str, list[str]]:
        return {"session": list(self.found)}

    @cached_property
    def user_files(self) -> list[Path]:
        return list(dict.fromkeys(file for one in self.found.values() for run in one.recordings for file in run.files))

    @property
    def simulated(self) -> bool:
        return called_simulated(self.user_files)

    def settings_of(self, modality: str, chunk: str) -> dict[str, Any]:
        # Which files those of a session are is said by its inputs.
        places = {"folder", "layout", "sessions", "datatypes", "tasks", "runs", "subjects", "exclude"}
        return self.model_dump(mode="json", exclude=places) | {"subject": self.session(chunk).subject}

    def inputs_of(self, modality: str, chunk: str) -> list[Path]:
        return [file for recording in self.session(chunk).recordings for file in recording.files]

    def session(self, chunk: str) -> RecordedSession:
        """Return a session by its name.

        Raises
        ------
        UserError
            There is none: the folder has changed since the run was planned.
        """
        if chunk not in self.found:
            raise UserError(
                f"no session {chunk!r}; {did_you_mean(chunk, self.found)}; the folder has changed since the run was "
                "planned; start the run again"
            )
        return self.found[chunk]


def _plain(run: str) -> str:
    """Return a run's number without leading zeros: run-01 is asked for as 1, too."""
    return run.lstrip("0") or "0" if run.isdecimal() else run


def _two_files(session: str, first: Path, second: Path, key: str) -> UserError:
    return UserError(
        f"two files of session {session}: {first} and {second}; expected one, or runs with other numbers; narrow "
        f"{key}, or move one away"
    )


def _wild(pattern: str) -> str:
    return re.sub(r"{.*?}", "*", pattern)


def _expression(pattern: str) -> re.Pattern[str]:
    """Return a pattern of files as an expression; a place that stands twice must be the same in both."""
    parts, seen = [], set()
    for part in re.split(r"({\w+}|\*\*/|\*|\?)", pattern):
        if part.startswith("{"):
            name = part[1:-1]
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)")
            seen.add(name)
        else:
            parts.append({"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part)))
    return re.compile("".join(parts))


def is_recording(path: Path) -> bool:
    """Return whether a name is that of a recording."""
    return path.name.casefold().endswith(ENDINGS)


def _stem(path: Path) -> str:
    """Return a name without its ending."""
    ending = next((one for one in sorted(ENDINGS, key=len, reverse=True) if path.name.casefold().endswith(one)), "")
    return path.name[: len(path.name) - len(ending)] if ending else path.stem


def _entities(stem: str) -> dict[str, str]:
    """Return the labels in a name of BIDS: sub-01_task-rest_eeg has sub and task."""
    return dict(word.split("-", 1) for word in stem.split("_") if "-" in word)


def _bids_files(folder: Path, datatypes: Iterable[str]) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the recordings of a folder and the labels in their names; of a file in parts only the first."""
    for kind in datatypes:
        names = [
            name for depth in ("sub-*", "sub-*/ses-*") for name in glob(f"{depth}/{kind}/*_{kind}.*", root_dir=folder)
        ]
        for path in sorted((folder / name for name in names), key=lambda path: natural(path.as_posix())):
            if not is_recording(path):
                continue
            entities = _entities(_stem(path))
            if _plain(entities.get("split", "1")) != "1":
                continue
            above = _entities("_".join(part for part in path.relative_to(folder).parts[:-2]))
            named = {key: entities[key] for key in ("sub", "ses") if key in entities}
            if named != above:
                raise UserError(
                    f"{path}: its name says {named or 'nothing'} and its folders {above}; expected the same; rename or "
                    "move it"
                )
            yield path, entities


def _with_tables(path: Path, entities: Mapping[str, str], root: Path) -> Recording:
    tables = {key: _nearest(path, entities, root, key) for key in ("events", "channels", "electrodes")}
    return Recording(path, **tables)


def _nearest(path: Path, entities: Mapping[str, str], root: Path, suffix: str) -> Path | None:
    """Return the table of a recording: in its folder, or else above it, of what has most of its labels.

    BIDS calls this inheritance; electrodes may also have a space of their own.
    """
    free = {"space"} if suffix == "electrodes" else set()
    folder = path.parent
    while True:
        fitting = []
        for table in sorted(folder.glob(f"*{suffix}.tsv")):
            labels = _entities(table.stem)
            own = {key: label for key, label in labels.items() if key not in free}
            if table.stem.split("_")[-1] == suffix and own.items() <= entities.items():
                fitting.append((-len(own), table))
        if fitting:
            return min(fitting)[1]
        if folder == root or root not in folder.parents:
            return None
        folder = folder.parent


def _companions(path: Path) -> Sequence[Path]:
    """Return the further files of a recording: data and markers of BrainVision and EEGLAB, parts of a long FIF."""
    stem, ending = _stem(path), path.suffix.casefold()
    if ending == ".set":
        return [path.with_suffix(".fdt")]
    if ending in (".fif", ".gz"):
        parts = [*path.parent.glob(f"{stem}-[0-9]*.fif*")]
        if "split-01" in stem:
            parts += path.parent.glob(f"{stem.replace('split-01', 'split-*')}.fif*")
        return sorted(set(parts) - {path})
    if ending != ".vhdr" or not path.is_file():
        return []
    header = path.read_bytes().decode("latin-1")
    named = re.findall(r"^(?:DataFile|MarkerFile)\s*=\s*(.+?)\s*$", header, re.MULTILINE | re.IGNORECASE)
    return [path.parent / name.replace("$b", stem) for name in named]


def _instead(folder: Path) -> str:
    """Say what a folder holds."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return f"the folder holds {shown or 'nothing'}; correct the settings of the source"

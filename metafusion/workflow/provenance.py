"""What results were made from: a record beside them, and whether it still holds.

All in the record but ``run`` follows from configuration, data, code and packages, so it is the same again when these
are. ``run`` holds what differs from one run to the next: times, machines, the commit of the code.
"""

import hashlib
import importlib.metadata
import json
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import metafusion
from metafusion.errors import UserError
from metafusion.files import read_json
from metafusion.workflow.code import code_hash
from metafusion.workflow.layout import LAYOUT, RECORD, refuse_other_layout

ROOT = Path(metafusion.__file__).parents[1]
"""The folder that holds the library, the scripts and the requirements."""
OVERVIEW = "provenance.tsv"
SHOWN = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "mne", "nilearn", "snakemake")
"""Packages that the overview names."""


def checksums(paths: Iterable[str | Path], root: Path | None = None) -> dict[str, dict[str, Any]]:
    """Return ``bytes`` and ``sha256`` of files, and of all files below folders, by path.

    Files are read piece by piece, so their size does not matter.

    Parameters
    ----------
    paths : iterable of path
    root : Path, optional
        Names are relative to this folder; as they are given without it.

    Raises
    ------
    UserError
        A file cannot be read.
    """
    found = {}
    for path in map(Path, paths):
        for file in sorted(_files_below(path)) if path.is_dir() else [path]:
            name = file.relative_to(root) if root else file
            try:
                with open(file, "rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                    found[name.as_posix()] = {"bytes": content.tell(), "sha256": digest}
            except OSError as fault:
                raise UserError(f"{file}: cannot be read ({fault.strerror}); expected a file to be hashed") from None
    return found


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder; neither unfinished ones nor Snakemake's mark of a folder's time."""
    for path in folder.rglob("*"):
        unfinished = any(part.endswith(".unfinished") for part in path.relative_to(folder).parts)
        if path.is_file() and not unfinished and path.name != ".snakemake_timestamp":
            yield path


def digest_of(content: Any) -> str:
    """Return the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def packages(requirements: Path) -> dict[str, str | None]:
    """Return the installed version of every pinned requirement; None for those that are not installed."""
    names = re.findall(r"^([\w.\-]+)==", requirements.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: _version(name) for name in names}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def checkout(root: Path) -> dict[str, Any] | None:
    """Return the commit of the code, and whether files differ from it; None where it is no checkout by itself."""
    try:
        # Code that was copied into somebody's own repository is not what that one's commit says.
        if _git(root, "rev-parse", "--show-prefix"):
            return None
        return {"commit": _git(root, "rev-parse", "HEAD"), "dirty": bool(_git(root, "status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def notes_of(logs: Path, outputs: Iterable[str]) -> list[dict[str, Any]]:
    """Return what the jobs that made some outputs noted beside their logs, in the order of their start."""
    wanted = set(outputs)
    notes = [read_json(path) for path in sorted(logs.rglob("*.json"))] if logs.is_dir() else []
    return sorted((note for note in notes if wanted & set(note["outputs"])), key=lambda note: note["started"])


def record(
    folder: Path,
    outputs: Sequence[str],
    inputs: Mapping[str, Mapping[str, Any]],
    stages: Mapping[str, Mapping[str, Any]],
    configuration: Mapping[str, Any],
    settings: Mapping[str, Any],
    notes: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the record of an experiment's results.

    Parameters
    ----------
    folder : Path
        ``results/{experiment}``.
    outputs : sequence of str
        Files and folders below it that were made.
    inputs : mapping
        :func:`checksums` of what they were made from: the user's files, and wheels.
    stages : mapping
        By name of the stage: ``code``, the hash of its code, ``script``, and ``modules``, those that are imported by
        name (see :func:`metafusion.workflow.code.code_hash`).
    configuration, settings : mapping
        Of the experiment as resolved, and of how jobs run.
    notes : sequence of mapping
        See :func:`notes_of`.
    """
    return {
        "layout": LAYOUT,
        "metafusion": metafusion.__version__,
        "experiment": folder.name,
        "configuration": dict(configuration),
        "settings": dict(settings),
        "seeds": configuration["seeds"],
        "code": {name: dict(stage) for name, stage in stages.items()},
        "python": platform.python_version(),
        "packages": packages(ROOT / "requirements.txt"),
        "inputs": dict(inputs),
        "outputs": checksums(outputs, folder),
        "run": {"checkout": checkout(ROOT), "stages": list(notes)},
    }


def overview(content: Mapping[str, Any]) -> pd.DataFrame:
    """Return a record as ``item`` and ``value``, without the name of any file, person or machine: for the report."""
    run, installed = content["run"], content["packages"]
    git, stages = run["checkout"], run["stages"]
    dirty = " with changes" if git and git["dirty"] else ""
    devices = sorted({note["device"] for note in stages if note.get("device")})
    seconds: dict[str, float] = {}
    for note in stages:
        seconds[note["rule"]] = seconds.get(note["rule"], 0.0) + note["seconds"]
    rows = [
        ("metafusion", content["metafusion"]),
        ("commit", git["commit"] + dirty if git else "not a checkout"),
        ("layout of the results", content["layout"]),
        ("Python", content["python"]),
        *((name, installed[name] or "not installed") for name in SHOWN if name in installed),
        ("packages, sha256 of all versions", digest_of(installed)),
        ("configuration, sha256", digest_of(content["configuration"])),
        ("seeds", ", ".join(map(str, content["seeds"]))),
        ("threads of a job", content["settings"]["threads"]),
        ("device of training", ", ".join(devices) or "not noted"),
        *((f"{what}, {key}", value) for what in ("inputs", "outputs") for key, value in _totals(content[what])),
        *((f"code of {name}", stage["code"]) for name, stage in content["code"].items()),
        *((f"seconds of {name}, all jobs", f"{seconds[name]:.1f}") for name in sorted(seconds)),
    ]
    return pd.DataFrame([(item, str(value)) for item, value in rows], columns=["item", "value"])


def _totals(files: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Any]]:
    sums = sorted(file["sha256"] for file in files.values())
    size = sum(file["bytes"] for file in files.values())
    # Of the contents alone: names of files may be those of people.
    return [("files", len(files)), ("bytes", size), ("sha256 of all contents", digest_of(sums))]


def findings(folder: str | Path, root: Path) -> list[str]:
    """Compare results with their record.

    Parameters
    ----------
    folder : path
        ``results/{experiment}``. Relative paths of inputs count from the current folder, as they did in the run.
    root : Path
        The code to compare with, see :data:`ROOT`.

    Returns
    -------
    list of str
        A line for each file, package or stage that is not as recorded; empty if all is.

    Raises
    ------
    UserError
        There is no record, or none that can be read.
    """
    folder = Path(folder)
    path = folder / RECORD
    if not path.exists():
        raise UserError(f"{path}: no such file; expected the record of a finished run; run the experiment first")
    refuse_other_layout(folder)
    content = read_json(path)
    try:
        return [
            *_changed("output", content["outputs"], folder),
            *(f"output {_shown(name)}: made by nothing of the record" for name in unknown(content, folder)),
            *_changed("input", content["inputs"], Path()),
            *_other_packages(content, root),
            *_other_code(content, root),
        ]
    except (KeyError, TypeError, AttributeError) as fault:
        raise UserError(f"{path}: is no complete record ({fault!r}); delete the file and run again") from None


def _shown(name: str) -> str:
    """Return a name on one line."""
    return name if name.isprintable() else repr(name)


def _changed(what: str, files: Mapping[str, Mapping[str, Any]], folder: Path) -> Iterator[str]:
    for name, recorded in files.items():
        path = folder / name
        if not path.is_file():
            yield f"{what} {_shown(name)}: missing"
            continue
        # A file of another length need not be read.
        same = path.stat().st_size == recorded["bytes"]
        if not same or checksums([path])[path.as_posix()]["sha256"] != recorded["sha256"]:
            yield f"{what} {_shown(name)}: changed"


def unknown(content: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the files in a folder of results that nothing of its record made."""
    there = {path.relative_to(folder).as_posix() for path in _files_below(folder)}
    return sorted(there - set(content["outputs"]) - {RECORD, OVERVIEW})


def _other_packages(content: Mapping[str, Any], root: Path) -> Iterator[str]:
    if content["python"] != platform.python_version():
        yield f"Python: {content['python']} was used, {platform.python_version()} is here"
    now = packages(root / "requirements.txt")
    for name in sorted(content["packages"] | now):
        # What was pinned then or is pinned now.
        then, here = content["packages"].get(name), _version(name)
        if then != here:
            yield f"package {name}: {then or 'none'} was used, {here or 'none'} is here"


def _other_code(content: Mapping[str, Any], root: Path) -> Iterator[str]:
    for name, stage in content["code"].items():
        script = root / "scripts" / f"{stage['script']}.py"
        if not script.is_file() or code_hash(script, root, tuple(stage["modules"])) != stage["code"]:
            yield f"code of {name}: other than what was recorded"
    for note in content["run"]["stages"]:
        known = {stage["code"] for stage in content["code"].values() if stage["script"] == note["rule"]}
        if note["code"] and known and note["code"] not in known:
            yield f"code of {note['rule']}: {_shown(note['outputs'][0])} was made by another than was recorded"

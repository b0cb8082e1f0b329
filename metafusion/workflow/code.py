"""Which code a job depends on, as one hash: Snakemake itself tracks only the time of the script."""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "metafusion"


@cache
def code_hash(script: Path, root: Path, extra: tuple[str, ...] = ()) -> str:
    """Hash the contents of a script and of every library module that it imports, directly or not.

    Snakemake looks at the time of the script, which says nothing where files keep the times of their origin (archives,
    ``cp -p``, ``rsync -t``).

    Parameters
    ----------
    script : Path
        Where the walk starts.
    root : Path
        Folder that holds the package.
    extra : tuple of str
        Modules that are imported by a computed name, e.g. ``metafusion.sources.tables``.

    Returns
    -------
    str
        First 16 hexadecimal digits of a SHA-256.
    """
    digest = hashlib.sha256()
    for path in [script, *sorted(modules_of(script, root, extra))]:
        digest.update(str(path.relative_to(root)).encode() + b"\0" + _content(path) + b"\0")
    return digest.hexdigest()[:16]


def modules_of(script: Path, root: Path, extra: tuple[str, ...] = ()) -> set[Path]:
    """Return the files of the library modules that a script imports, directly or not."""
    found: set[Path] = set()
    waiting = [path for name in extra for path in _files_of(name, root)] + _imports(script, root)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imports(path, root)
    return found


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()


@cache
def _imports(path: Path, root: Path) -> list[Path]:
    names = set()
    for node in ast.walk(ast.parse(_content(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from package import name` may name a module or something inside one.
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return [file for name in sorted(names) for file in _files_of(name, root)]


def _files_of(name: str, root: Path) -> list[Path]:
    """Return the module's file and those of the packages around it, which Python runs on the way."""
    if name.split(".")[0] != PACKAGE:
        return []
    parts = name.split(".")
    files = []
    for depth in range(1, len(parts) + 1):
        stem = root.joinpath(*parts[:depth])
        files += [file for file in (stem / "__init__.py", stem.with_suffix(".py")) if file.is_file()]
    return files

"""Pages of the documentation with generated parts, between marks: ``<!-- begin: name -->``, ``<!-- end: name -->``."""

import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from metafusion.errors import UserError
from metafusion.files import whole

PART = re.compile(r"(<!-- begin: (?P<name>[\w@+]+) -->\n).*?(<!-- end: (?P=name) -->)", re.DOTALL)


def tables_of(results: Path) -> dict[str, str]:
    """Return the tables of all comparisons, in Markdown, by the comparison's name."""
    return {path.parent.name: path.read_text(encoding="utf-8") for path in results.glob("comparisons/*/table.md")}


def parts_of(document: Path) -> list[str]:
    """Return the names of a document's generated parts."""
    return [found["name"] for found in PART.finditer(document.read_text(encoding="utf-8"))]


def fill(text: str, parts: dict[str, str], names: Collection[str] = ()) -> str:
    """Return the document with these of its generated parts anew, all of them if none is named.

    Raises
    ------
    UserError
        The document lacks a part that is named, or what fills it is not given.
    """
    unknown = set(names) - {found["name"] for found in PART.finditer(text)}
    if unknown:
        raise UserError(f"part {min(unknown)!r}: the page has none of that name")

    def part(found: re.Match) -> str:
        name = found["name"]
        if names and name not in names:
            return found[0]
        if name not in parts:
            raise UserError(
                f"part {name!r}: nothing to fill it with; known: {', '.join(sorted(parts)) or 'none'}. Run what makes "
                "it, or name the parts to fill"
            )
        return f"{found[1]}\n{parts[name].strip()}\n\n{found[3]}"

    return PART.sub(part, text)


def rewrite(document: Path, parts: dict[str, str], names: Collection[str] = ()) -> None:
    """Fill a document in its place; see :func:`fill`."""
    filled = fill(document.read_text(encoding="utf-8"), parts, names)
    with whole(document) as unfinished:
        unfinished.write_text(filled, encoding="utf-8")


def from_command_line(main: Callable[[Path, Path, list[str]], None], document: str) -> None:
    """Call a page's ``main`` with what the command line names: results, document, parts; end with a clear message."""
    given = sys.argv[1:]
    try:
        main(Path(given[0] if given else "results"), Path((given[1:] or [document])[0]), given[2:])
    except UserError as error:
        sys.exit(f"ERROR: {error}")

"""Pages of the documentation with generated parts, between marks: ``<!-- begin: name -->``, ``<!-- end: name -->``."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from metafusion.errors import UserError
from metafusion.files import whole

PART = re.compile(r"(<!-- begin: (?P<name>[\w@+]+) -->\n).*?(<!-- end: (?P=name) -->)", re.DOTALL)


def tables_of(results: Path) -> dict[str, str]:
    """Return the tables of all comparisons, in Markdown, by the comparison's name."""
    return {path.parent.name: path.read_text(encoding="utf-8") for path in results.glob("comparisons/*/table.md")}


def fill(text: str, parts: dict[str, str]) -> str:
    """Return the document with each of its generated parts anew.

    Raises
    ------
    UserError
        The document has a part that is not given.
    """

    def part(found: re.Match) -> str:
        if found["name"] not in parts:
            raise UserError(f"part {found['name']!r}: nothing to fill it with; known: {', '.join(sorted(parts))}")
        return f"{found[1]}\n{parts[found['name']].strip()}\n\n{found[3]}"

    return PART.sub(part, text)


def rewrite(document: Path, parts: dict[str, str]) -> None:
    """Fill a document in its place."""
    filled = fill(document.read_text(encoding="utf-8"), parts)
    with whole(document) as unfinished:
        unfinished.write_text(filled, encoding="utf-8")


def from_command_line(main: Callable[[Path, Path], None], document: str) -> None:
    """Call a page's ``main`` with what the command line names: results, and the document; end with a clear message."""
    given = sys.argv[1:]
    try:
        main(Path(given[0] if given else "results"), Path((given[1:] or [document])[0]))
    except UserError as error:
        sys.exit(f"ERROR: {error}")

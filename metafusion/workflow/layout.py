"""Which results folders this code can bring up to date.

Whatever lies in a results folder is made anew when the code behind it changes, so an older layout needs no care as long
as every file of it is still written under its name, or read by nothing. A change for which that is not enough raises
:data:`LAYOUT` and :data:`OLDEST` together: such folders are refused with a reason. The frame around every script
imports this module, so a change of either number runs everything again.
"""

from pathlib import Path

from metafusion.errors import UserError
from metafusion.files import read_json

LAYOUT = 1
"""Number of the layout of ``results/{experiment}/`` that this code writes."""
OLDEST = 1
"""The oldest that a normal run brings up to date."""
RECORD = "provenance.json"


def refuse_other_layout(folder: Path) -> None:
    """Raise UserError if the results in a folder were made by code that this cannot go on from.

    Results without a record are unfinished, or older than records; a normal run makes anew what differs.
    """
    path = folder / RECORD
    if not path.exists():
        return
    record = read_json(path)
    found = record.get("layout") if isinstance(record, dict) else None
    if not isinstance(found, int):
        raise UserError(f"{path}: says no layout of these results; delete the file and run again")
    if found > LAYOUT:
        raise UserError(
            f"{folder}: made by a newer metafusion (layout {found}; this one writes {LAYOUT}); take that one, or let "
            "<results> name another folder (pathvars)"
        )
    if found < OLDEST:
        raise UserError(
            f"{folder}: made by a metafusion too old to go on from (layout {found}, the oldest is {OLDEST}); move the "
            "folder away, so that everything is made anew"
        )


def refuse_unknown(folder: Path, target: str) -> None:
    """Raise UserError for results of which Snakemake keeps no note; ``target`` is one of them."""
    raise UserError(
        f"{folder}: holds results, but Snakemake's notes in .snakemake do not know {target}, so that nobody can tell "
        "by which code and settings they were made; bring the folder .snakemake that belongs to them, or move the "
        "results away, so that everything is made anew"
    )

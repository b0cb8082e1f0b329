"""Figures as files."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from metafusion.files import whole

STYLE = {"svg.hashsalt": "metafusion", "svg.fonttype": "path"}


def save(figure: Figure, path: str | Path) -> None:
    """Write an SVG whose bytes depend on its content only."""
    with whole(path) as unfinished, mpl.rc_context(STYLE):
        figure.savefig(unfinished, format="svg", metadata={"Date": None})

"""The flow figure: boxes from the samples found to those used, and to each modality."""

from textwrap import wrap

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE = {"font.size": 9}
LINE, PADDING, GAP = 0.17, 0.11, 0.2
"""Heights in inches: a line of text, the room above and below it in a box, and what lies between two boxes."""
MAIN, SIDE, BETWEEN = 3.1, 3.5, 0.45
"""Widths in inches: of the boxes on the left and on the right, and the way from one to the other."""
FILLS = {"main": "#E8F1FA", "side": "#FFFFFF", "modality": "#FDF3E3"}


def flow_figure(flow: pd.DataFrame, classes: dict[str, int], title: str) -> Figure:
    """Draw the flow of samples as in the flow charts of clinical studies.

    Down the left stand the samples that are left, to the right those that fell out, reason by reason. Below the last
    box stand the modalities: how many samples have each, and why the others do not.

    Parameters
    ----------
    flow : DataFrame
        See :func:`metafusion.account.flow.flow_table`.
    classes : dict of str to int
        Samples used of each class; empty in regression.
    title : str
    """
    flow = flow.fillna({"modality": ""})
    main, *modalities = [rows for _, rows in flow.groupby("modality", sort=False)]
    left, right = _main_boxes(main, classes), _losses(main)
    heights = [_height(left[0])]
    for number, lost in enumerate(right, start=1):
        heights += [_height(lost), _height(left[number])]
    beside = [_modality_boxes(rows) for rows in modalities]
    rows = [max(_height(one), _height(why)) if why else _height(one) for one, why in beside]
    heading = wrap(title, 88)
    height = sum(heights) + sum(rows) + GAP * (len(heights) + len(rows) + 1) + 0.22 * len(heading)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(MAIN + BETWEEN + SIDE + 0.2, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, figure.get_figwidth()), ylim=(0, height))
        axes.axis("off")
        axes.text(0.1, height - 0.1, "\n".join(heading), va="top", fontsize=9)
        _draw(axes, height - 0.22 * len(heading) - GAP / 2, (left, right), beside)
    return figure


def _draw(axes: Axes, top: float, column: tuple[list, list], beside: list) -> None:
    left, right = column
    x, side = 0.1, 0.1 + MAIN + BETWEEN
    middle = x + MAIN / 2
    bottom = _box(axes, x, top, MAIN, left[0], "main")
    for lost, after in zip(right, left[1:], strict=True):
        start, top = bottom, bottom - GAP
        bottom = _box(axes, side, top, SIDE, lost, "side")
        centre = (top + bottom) / 2
        _arrow(axes, (middle, centre), (side, centre))
        top = bottom - GAP
        _arrow(axes, (middle, start), (middle, top))
        bottom = _box(axes, x, top, MAIN, after, "main")
    spine = 0.1 + 0.12
    for one, why in beside:
        top = bottom - GAP
        tall = max(_height(one), _height(why) if why else 0)
        end = _box(axes, x + 0.35, top, MAIN - 0.35, one, "modality", tall)
        centre = (top + end) / 2
        axes.plot([spine, spine], [bottom, centre], color="k", lw=0.8)
        _arrow(axes, (spine, centre), (x + 0.35, centre))
        if why:
            _box(axes, side, top, SIDE, why, "side", tall)
            _arrow(axes, (x + MAIN, centre), (side, centre))
        # The line beside the boxes goes on from one to the next.
        axes.plot([spine, spine], [centre, end], color="k", lw=0.8 if (one, why) != beside[-1] else 0)
        bottom = end


def _main_boxes(rows: pd.DataFrame, classes: dict[str, int]) -> list[list[str]]:
    last = len(rows) - 1
    boxes = []
    for number, row in enumerate(rows.itertuples()):
        word = "Used" if number == last else "Found" if number == 0 else "Left"
        boxes.append([f"{word}: {_counts(row.samples_left, row.subjects_left)}"])
    if last == 0:
        boxes = [["Found and used:", _counts(rows["samples_left"].iloc[0], rows["subjects_left"].iloc[0])]]
    boxes[-1] += _wrapped([f"{name}: {count}" for name, count in classes.items()], 44)
    return boxes


def _losses(rows: pd.DataFrame) -> list[list[str]]:
    return [
        [*wrap(f"Out: {row.reason}", 50), _lost(row.samples_lost, row.subjects_lost)]
        for row in rows.iloc[1:].itertuples()
    ]


def _modality_boxes(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the lines of a modality, and of what its samples lack."""
    name, last = rows["modality"].iloc[0], rows.iloc[-1]
    why = [line for row in rows.iloc[1:].itertuples() for line in wrap(f"{row.reason}: {row.samples_lost}", 50)]
    return [f"{name}:", _counts(last.samples_left, last.subjects_left)], (["Without it:", *why] if why else [])


def _counts(samples: int, subjects: int) -> str:
    return f"{samples} sample{'' if samples == 1 else 's'} of {subjects} subject{'' if subjects == 1 else 's'}"


def _lost(samples: int, subjects: int) -> str:
    """Say how many fell out; a subject may stay with other samples."""
    if samples == subjects:
        return _counts(samples, subjects)
    stay = "their subjects stay" if not subjects else f"with them {subjects} subject{'' if subjects == 1 else 's'}"
    return f"{samples} sample{'' if samples == 1 else 's'}; {stay}"


def _wrapped(words: list[str], width: int) -> list[str]:
    """Join words by commas, in lines that are not too long; many classes are cut short."""
    shown = words if len(words) <= 12 else [*words[:11], f"and {len(words) - 11} more classes"]
    return wrap(", ".join(shown), width)


def _height(lines: list[str]) -> float:
    return LINE * len(lines) + 2 * PADDING


def _box(axes: Axes, x: float, top: float, width: float, lines: list[str], kind: str, height: float = 0) -> float:
    """Draw a box with its upper edge at a height, and return that of its lower edge."""
    bottom = top - max(height, _height(lines))
    axes.add_patch(mpl.patches.Rectangle((x, bottom), width, top - bottom, fc=FILLS[kind], ec="k", lw=0.8))
    axes.text(x + PADDING, (top + bottom) / 2, "\n".join(lines), va="center", ha="left", fontsize=9, linespacing=1.3)
    return bottom


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "lw": 0.8, "fc": "k", "shrinkA": 0, "shrinkB": 0})

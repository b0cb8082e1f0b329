"""Groups of people: who is in which, for scores of each group. Nothing is trained on them."""

import logging
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from metafusion.errors import UserError, did_you_mean

log = logging.getLogger("metafusion")

UNKNOWN = "unknown"
"""The level of samples without a value."""
OTHERS = "others"
"""The level of the values that are not among the most frequent ones, where there are too many."""
MOST_LEVELS = 20
"""Of the values of a column, with 'others' and without 'unknown'."""
OF_SAMPLES = ("site", "session")
"""Columns that samples may have themselves."""


def levels_of(
    samples: pd.DataFrame, people: pd.DataFrame, subgroups: Mapping[str, Sequence[float] | None]
) -> dict[str, pd.Series]:
    """Tell the level of every sample in every column.

    Parameters
    ----------
    samples : DataFrame
        ``sample``, and perhaps ``site`` and ``session``.
    people : DataFrame
        ``sample``, then what is known of them.
    subgroups : mapping of str to sequence of float or None
        Columns, with ascending cut points for bands: [65, 75] makes 'below 65', '65 to below 75', '75 and above'.
        None: every value is a level; of more than 20, the 19 with most samples, and ``others``.

    Returns
    -------
    dict of str to Series
        By column an ordered categorical over ``sample``, in the order of ``samples``; ``others`` comes last, but for
        ``unknown``, where there is no value.

    Raises
    ------
    UserError
        A column is not known, or cut points are given for one that holds no numbers.

    Examples
    --------
    >>> people = pd.DataFrame({"sample": ["a", "b", "c"], "age": [71, 65, np.nan]})
    >>> levels_of(people[["sample"]], people, {"age": [65, 70]})["age"].tolist()
    ['70 and above', '65 to below 70', 'unknown']
    """
    known = people.set_index("sample").reindex(samples["sample"])
    for name in OF_SAMPLES:
        if name in samples and name not in known:
            known[name] = samples[name].to_numpy()
    found = {}
    for column, points in subgroups.items():
        if column not in known:
            raise UserError(f"subgroups: nothing is known of {column!r}; {did_you_mean(column, known.columns)}")
        values = known[column]
        found[column] = _values(column, values) if points is None else _bands(column, values, points)
    return found


def _values(column: str, values: pd.Series) -> pd.Series:
    counts = values.value_counts().sort_index()
    words = {value: _word(value) for value in counts.index}
    if len(counts) > MOST_LEVELS:
        # Of values as frequent as each other the first ones.
        kept = counts.sort_values(ascending=False, kind="stable").index[: MOST_LEVELS - 1]
        numeric = pd.api.types.is_numeric_dtype(values)
        hint = f"; cut points make bands: {{{column}: [{_word(values.median())}]}}" if numeric else ""
        log.info(
            "subgroups: %r has %d values: the %d with most samples are groups, the others (%d samples) are one%s",
            column,
            len(counts),
            len(kept),
            counts.drop(kept).sum(),
            hint,
        )
        words |= dict.fromkeys(counts.index.drop(kept), OTHERS)
    names = dict.fromkeys(word for word in words.values() if word != OTHERS)
    return _categorical(values.map(words), [*names, OTHERS])


def _word(value: object) -> str:
    """Write a value; whole numbers without a fraction, however large."""
    return f"{value:.0f}" if isinstance(value, (float, np.floating)) and float(value).is_integer() else str(value)


def _bands(column: str, values: pd.Series, points: Sequence[float]) -> pd.Series:
    present = values.dropna()
    if len(present) and (not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)):
        raise UserError(
            f"subgroups: {column!r} holds {present.iloc[0]!r}, no numbers that cut points could divide; "
            f"write '{column}: null' for one group a value"
        )
    points = [float(point) for point in points]
    inner = [f"{_word(low)} to below {_word(high)}" for low, high in pairwise(points)]
    words = np.array([f"below {_word(points[0])}", *inner, f"{_word(points[-1])} and above"], dtype=object)
    bands = pd.Series(words[np.searchsorted(points, pd.to_numeric(values), side="right")], index=values.index)
    return _categorical(bands.where(values.notna()), list(words))


def _categorical(levels: pd.Series, names: list[str]) -> pd.Series:
    names = [name for name in names if (levels == name).any()]
    filled = levels.astype(object).where(levels.notna(), UNKNOWN)
    if levels.isna().any() and UNKNOWN not in names:
        names.append(UNKNOWN)
    return filled.astype(pd.CategoricalDtype(names, ordered=True))

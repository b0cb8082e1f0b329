"""Features that tell the target by themselves."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from metafusion.account.data import View
from metafusion.account.verdicts import FEWEST, Target, level_of, patterns_of, verdict
from metafusion.config.checks import Checks

AT_ONCE = 2**22
"""Numbers that are ranked at a time, to bound the memory."""
RESAMPLES = 1999
"""Of permutations, of sites and of categories, whose tables may be too sparse for the chi-squared distribution."""
TWO_LEVELS = 2
"""Levels of a category that are one column twice, which is judged by itself."""


def single_features(view: View, target: Target, checks: Checks) -> list[dict]:
    """Name the columns that tell the label alone, by ranks; where there are none, the strongest one.

    Parameters
    ----------
    view : View
        Of training samples.
    target : Target
    checks : Checks
        ``auc``; regression: ``correlation``.
    """
    if target.classes:
        strength, contrast, p = _areas_of(view.matrix, target)
    else:
        strength, p = _correlations(view.matrix, target.numbers)
        contrast = np.zeros(len(strength), int)
    suspect = strength >= _limit(target, checks)[0]
    by_chance = suspect & (np.minimum(1, p * len(p)) > checks.significance)
    table = pd.DataFrame({"name": view.columns, "strength": strength, "contrast": contrast, "by_chance": by_chance})
    return _strongest("single feature", "column", view.name, table, target, checks)


def single_categories(view: View, target: Target, checks: Checks) -> list[dict]:
    """Name the categories that tell the label by all their levels together; where there are none, the strongest one.

    A code of several levels may determine the label though no single level does. What is judged is how well the others
    of the same level foretell a sample: its prediction is their share of the class (regression: their mean rank), and
    that of all samples where nobody shares the level. The sample itself does not count, so levels that are rare tell
    nothing by chance, as they would if it did.

    Parameters
    ----------
    view : View
        Of training samples, one a subject: visits of one share their levels and their label.
    target : Target
    checks : Checks
        ``auc``; regression: ``correlation``.

    Returns
    -------
    list of dict
        None where no source column has three levels or more.
    """
    rows = [(name, codes, *_of_category(codes, target)) for name, codes in _categories(view)]
    table = pd.DataFrame(rows, columns=["name", "codes", "strength", "contrast"])
    limit, _ = _limit(target, checks)
    table["by_chance"] = [
        row.strength >= limit
        and _share_by_chance(row.codes, row.contrast, row.strength, target) * len(table) > checks.significance
        for row in table.itertuples()
    ]
    return _strongest("single category", "category", view.name, table, target, checks) if len(table) else []


def _limit(target: Target, checks: Checks) -> tuple[float, str]:
    return (checks.auc, "auc") if target.classes else (checks.correlation, "correlation")


def _strongest(check: str, noun: str, where: str, table: pd.DataFrame, target: Target, checks: Checks) -> list[dict]:
    """Return a row for each suspect, strongest first, or else for the strongest.

    Parameters
    ----------
    check, noun, where : str
    table : DataFrame
        ``name``, ``strength``, ``contrast``, and ``by_chance``: whether a suspect may be one by chance.
    target : Target
    checks : Checks
    """
    (limit, key), count = _limit(target, checks), len(table)
    table = table.sort_values("strength", ascending=False, kind="stable")
    suspects = table["strength"] >= limit
    rows = []
    for row in (table[suspects] if suspects.any() else table.head(1)).itertuples():
        measure = "AUC" if target.classes else "|Spearman|" if noun == "column" else "correlation of ranks"
        of = f" of {target.against(row.contrast)}" if target.classes else ""
        said = f"{measure} {row.strength:.3f}{of} by this {noun} alone ({target.where})"
        if suspects.any():
            said += (
                f", checks.{key} is {limit:g}. Fine, and nothing to be done, if it was measured without the label, as "
                "when a neuron or channel answers to the class; drop it if it is the label in other words, or followed "
                "from it"
            )
            if row.by_chance:
                said += f"; with so few samples chance may do this in one of {count} {_plural(noun)}"
        elif np.isnan(row.strength):
            said = f"no {noun} could be judged: each needs {FEWEST} values of either side ({target.where})"
        else:
            said = f"the strongest of {count} {_plural(noun)}: {said}"
        rows.append(verdict(check, row.name, where, row.strength, level_of(bool(suspects.any())), said))
    return rows


def _plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def _categories(view: View) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every source column of three levels or more, and the level of each sample (-1 where it is missing).

    Levels are columns ``name=level`` of 0 and 1, of which each sample has one 1, or gaps in all of them.
    """
    levels: dict[str, list[int]] = {}
    for number, column in enumerate(view.columns):
        name, mark, _ = column.partition("=")
        if mark:
            levels.setdefault(name, []).append(number)
    for name, numbers in levels.items():
        values = view.matrix[:, numbers]
        known = ~np.isnan(values).any(axis=1)
        one_hot = np.isin(values[known], (0, 1)).all() and (values[known].sum(axis=1) == 1).all()
        if len(numbers) > TWO_LEVELS and one_hot:
            yield name, np.where(known, values.argmax(axis=1), -1)


def _of_category(codes: np.ndarray, target: Target) -> tuple[float, int]:
    """Return how well a category foretells the target, see :func:`single_categories`, and the contrast it does best."""
    known = codes >= 0
    numbers = target.members[known].T if target.classes else [stats.rankdata(target.numbers[known])]
    found = [_foretold(codes[known, None], one)[0] for one in numbers]
    return (np.nan, 0) if np.isnan(found).all() else (float(np.nanmax(found)), int(np.nanargmax(found)))


def _share_by_chance(codes: np.ndarray, contrast: int, strength: float, target: Target) -> float:
    """Return the share of permutations in which a category foretells as well, times the contrasts to choose from."""
    known = codes >= 0
    numbers = target.members[known, contrast] if target.classes else stats.rankdata(target.numbers[known])
    same = np.broadcast_to(codes[known, None], (len(numbers), RESAMPLES))
    random = np.random.default_rng(0)
    drawn = (_foretold(random.permuted(same[:, part], axis=0), numbers) for part in _slices(same))
    return float(np.mean(np.concatenate(list(drawn)) >= strength - 1e-12)) * max(1, len(target.names))


def _foretold(codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return how well numbers follow from those of the others with the same code.

    Parameters
    ----------
    codes : ndarray of int, shape (samples, categories)
    numbers : ndarray, shape (samples,)
        Bool: who is in a class. Otherwise ranks.

    Returns
    -------
    ndarray, shape (categories,)
        Area under the curve, at least 0.5; correlation, at least 0. NaN with too few samples, see :data:`FEWEST`.
    """
    others = np.empty(codes.shape)
    for place, code in enumerate(codes.T):
        sizes, sums = np.bincount(code)[code], np.bincount(code, numbers)[code]
        others[:, place] = np.where(sizes > 1, (sums - numbers) / np.maximum(sizes - 1, 1), numbers.mean())
    if numbers.dtype == bool:
        return np.maximum(areas(others, numbers[:, None])[0][0], 0.5)
    if len(numbers) < 2 * FEWEST:
        return np.full(codes.shape[1], np.nan)
    spread = others.std(axis=0) * numbers.std()
    product = (numbers - numbers.mean()) @ (others - others.mean(axis=0)) / len(numbers)
    return np.maximum(np.nan_to_num(product / np.where(spread > 0, spread, np.nan)), 0)


def _slices(values: np.ndarray) -> Iterator[slice]:
    size = max(1, AT_ONCE // max(1, len(values)))
    return (slice(start, start + size) for start in range(0, values.shape[1], size))


def _areas_of(values: np.ndarray, target: Target) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each column's largest area under the curve (0.5 to 1), its contrast, and the area's p by chance."""
    parts = []
    for columns in _slices(values):
        area, inside, rest = areas(values[:, columns], target.members)
        folded = np.maximum(area, 1 - area)
        best = np.nan_to_num(folded).argmax(axis=0)
        chosen = best, np.arange(len(best))
        # The variance without ties is the larger one, so that p is too large rather than too small.
        deviation = np.sqrt((inside + rest + 1) / (12 * np.maximum(inside * rest, 1)))
        p = 2 * stats.norm.sf((folded - 0.5) / deviation)
        parts.append((folded[chosen], best, p[chosen] * len(target.names)))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def areas(values: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute areas under ROC curves from ranks.

    Parameters
    ----------
    values : ndarray, shape (samples, columns)
        NaN where missing; such samples do not count for the column.
    members : ndarray of bool, shape (samples, contrasts)

    Returns
    -------
    area, inside, rest : ndarray, shape (contrasts, columns)
        The chance that a member has a larger value than another sample, ties counting half (NaN with fewer than
        :data:`FEWEST` on a side); and the numbers of members and of others that have a value.
    """
    present = ~np.isnan(values)
    # Missing values rank above all others, whose ranks they so leave alone.
    ranks = np.where(present, stats.rankdata(np.where(present, values, np.inf), axis=0), 0)
    weights = members.T.astype(float)
    inside = weights @ present
    rest = present.sum(axis=0) - inside
    judged = (inside >= FEWEST) & (rest >= FEWEST)
    area = (weights @ ranks - inside * (inside + 1) / 2) / np.where(judged, inside * rest, np.nan)
    return area, inside, rest


def _correlations(values: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return |Spearman| of each column with the target where it has a value (NaN where too few do), and its p."""
    strength, p = np.full((2, values.shape[1]), np.nan)
    missing = np.isnan(values)
    for columns in patterns_of(missing):
        rows = ~missing[:, columns[0]]
        if rows.sum() < 2 * FEWEST:
            continue
        ranks = stats.zscore(stats.rankdata(numbers[rows]))
        for part in _slices(values[:, columns]):
            some = columns[part]
            others = stats.rankdata(values[np.ix_(rows, some)], axis=0)
            spread = others.std(axis=0)
            product = ranks @ (others - others.mean(axis=0)) / rows.sum()
            strength[some] = np.abs(np.nan_to_num(product / np.where(spread > 0, spread, np.nan)))
        bounded = np.minimum(strength[columns], 1 - 1e-12)
        t = bounded * np.sqrt((rows.sum() - 2) / (1 - bounded**2))
        p[columns] = 2 * stats.t.sf(t, rows.sum() - 2)
    return strength, p

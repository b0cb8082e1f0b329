"""Values that are missing, or may stand for missing ones, and whether gaps tell the target."""

from collections.abc import Sequence

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from metafusion.account.data import View
from metafusion.account.verdicts import OK, SUSPECT, Target, level_of, patterns_of, verdict
from metafusion.config.checks import Checks

CODES = (-4, -8, -9, -88, -99, -777, -888, -999, -9999, 88, 99, 777, 888, 995, 996, 997, 998, 999, 8888, 9999)
"""Numbers that tables often hold where there is no value."""
FEWEST_CODES = 2
"""Samples that must have one of these for it to be taken for a code."""


def missing_codes(view: View) -> list[dict]:
    """Name the columns in which a usual code for a missing value lies apart from all other values.

    A negative code counts where no other value is negative, a positive one where it is twice the largest or more. No
    target is looked at.
    """
    codes = np.float32(CODES)
    counts = np.stack([(view.matrix == code).sum(axis=0) for code in codes])
    rows = []
    for column in np.flatnonzero((counts >= FEWEST_CODES).any(axis=0)):
        values = view.matrix[:, column]
        others = values[~np.isnan(values) & ~np.isin(values, codes)]
        if not len(others):
            continue
        for number in np.flatnonzero(counts[:, column] >= FEWEST_CODES):
            code = CODES[number]
            apart = others.min() >= 0 if code < 0 else code >= 2 * others.max() > 0
            if apart:
                said = (
                    f"{counts[number, column]} samples have {code}, and the values of the others lie from "
                    f"{others.min():g} to {others.max():g}: if it stands for a missing value, name it in 'missing'"
                )
                rows.append(verdict("missing code", view.columns[column], view.name, code, SUSPECT, said))
    if not rows:
        said = "no column holds a number that looks like a code for a missing value"
        rows.append(verdict("missing code", "any column", view.name, 0, OK, said))
    return rows


def missing_values(view: View, target: Target, checks: Checks) -> list[dict]:
    """Name the columns whose gaps tell the label, among samples that have the modality.

    Parameters
    ----------
    view : View
        Of training samples, one a subject.
    target : Target
    checks : Checks
    """
    rows = np.flatnonzero(view.present)
    missing = np.isnan(view.matrix[rows])
    some = np.flatnonzero(missing.any(axis=0) & ~missing.all(axis=0))
    if not len(some):
        said = f"no column has gaps ({target.where})"
        return [verdict("missing values", "any column", view.name, 0.5, OK, said)]
    patterns = [some[numbers] for numbers in patterns_of(missing[:, some])]
    names = [
        view.columns[columns[0]] + (f" and {len(columns) - 1} columns missing with it" if len(columns) > 1 else "")
        for columns in patterns
    ]
    flags = missing[:, [columns[0] for columns in patterns]]
    few = Target(target.where, target.numbers[rows], target.members[rows], target.names)
    return _gaps("missing values", names, [view.name] * len(names), flags, few, checks, only_strongest=True)


def missing_modalities(having: dict[str, np.ndarray], target: Target, checks: Checks) -> list[dict]:
    """Say for each modality whether its absence tells the label; ``having``: bool, one a training sample."""
    flags = ~np.stack(list(having.values()), axis=1)
    return _gaps("missing modality", ["the modality"] * len(having), list(having), flags, target, checks)


def _gaps(
    check: str,
    names: Sequence[str],
    where: Sequence[str],
    flags: np.ndarray,
    target: Target,
    checks: Checks,
    only_strongest: bool = False,
) -> list[dict]:
    """Return a row a pattern of gaps; with ``only_strongest`` of those that are not suspect only the strongest."""
    area, contrast = _areas_of_gaps(flags, target)
    p = np.ones(len(area))
    # Holm's correction counts all patterns; those that are too weak to be suspect need no test.
    for number in np.flatnonzero(area >= checks.missing_auc):
        p[number] = _p_of_gap(flags[:, number], target, contrast[number])
    corrected = multipletests(p, method="holm")[1]
    suspect = (area >= checks.missing_auc) & (corrected < checks.significance)
    order = np.argsort(-area, kind="stable")
    if only_strongest:
        order = order[suspect[order]] if suspect.any() else order[:1]
    rows = []
    for number in order if only_strongest else range(len(area)):
        gap, side = flags[:, number], target.members[:, contrast[number]] if target.classes else None
        said = f"missing in {gap.sum()} of {len(gap)}"
        if target.classes:
            said = (
                f"missing in {gap[side].mean():.0%} of class {target.names[contrast[number]]!r} and in "
                f"{gap[~side].mean():.0%} of the rest"
            )
        said += f"; AUC {area[number]:.3f} of {target.against(contrast[number])} by the gaps alone ({target.where})"
        if suspect[number]:
            said += f", p = {corrected[number]:.2g} after Holm: a model can read the label off the gaps"
        elif not gap.any():
            said = f"nobody lacks it ({target.where})"
        elif only_strongest:
            said = f"the strongest of {len(area)} patterns of gaps: {said}"
        rows.append(verdict(check, names[number], where[number], area[number], level_of(suspect[number]), said))
    return rows


def _areas_of_gaps(flags: np.ndarray, target: Target) -> tuple[np.ndarray, np.ndarray]:
    """Return the area under the curve (0.5 to 1) of each pattern of gaps as the only predictor, and its contrast."""
    flags = flags.astype(float)
    if target.classes:
        inside = target.members.T.astype(float)
        counts = np.stack([inside.sum(axis=1), (1 - inside).sum(axis=1)])[:, :, None]
        shares = np.stack([inside @ flags, (1 - inside) @ flags]) / np.where(counts > 0, counts, np.nan)
        area = 0.5 + np.abs(np.nan_to_num(shares[0] - shares[1])) / 2
        return area.max(axis=0), area.argmax(axis=0)
    sums, with_gap = stats.rankdata(target.numbers) @ flags, flags.sum(axis=0)
    pairs = with_gap * (len(flags) - with_gap)
    area = (sums - with_gap * (with_gap + 1) / 2) / np.where(pairs > 0, pairs, np.nan)
    return np.nan_to_num(np.maximum(area, 1 - area), nan=0.5), np.zeros(flags.shape[1], int)


def _p_of_gap(gap: np.ndarray, target: Target, contrast: int) -> float:
    """Return Fisher's p, times the number of classes to choose from; regression: that of Mann and Whitney."""
    if not target.classes:
        return float(stats.mannwhitneyu(target.numbers[gap], target.numbers[~gap]).pvalue)
    side = target.members[:, contrast]
    counts = [[(gap & side).sum(), (~gap & side).sum()], [(gap & ~side).sum(), (~gap & ~side).sum()]]
    return min(1.0, float(stats.fisher_exact(counts).pvalue) * len(target.names))

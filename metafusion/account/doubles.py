"""Samples that are the same as another."""

import hashlib

import numpy as np
import pandas as pd

from metafusion.account.data import View
from metafusion.account.verdicts import OK, SUSPECT, verdict

DOUBLES = ["check", "where", "group", "sample"]
NOT_SHARED = 2
"""Columns in which equal rows must have a value that nobody else has, so that coarse values do not explain them."""


def identical_rows(view: View, samples: pd.DataFrame, seen: pd.DataFrame) -> dict:
    """Look for samples whose features are the same, number for number; a row, and under ``doubles`` who they are.

    Coarse values (age, sex, answers) agree by chance. So equal rows are suspect only if they share, in two columns or
    more, a value that no other sample has.

    Parameters
    ----------
    view : View
        Of all samples.
    samples : DataFrame
    seen : DataFrame, shape (samples, seeds)
        The part of each sample in each seed.
    """
    known = view.present & ~np.isnan(view.matrix).all(axis=1)
    # -0 and 0 are one number, and so is every NaN.
    values = np.where(np.isnan(view.matrix), np.float32(np.nan), view.matrix + np.float32(0))
    hashes = [
        hashlib.sha256(row.tobytes()).hexdigest() if one else None for row, one in zip(values, known, strict=True)
    ]
    group = pd.Series(hashes, dtype="object")
    alike = group.duplicated(keep=False) & group.notna()
    own = _shared_with_nobody(values, group.where(alike))
    suspect = alike & group.isin(own.index[own >= NOT_SHARED])
    coarse = int((alike & ~suspect).sum())
    also = f"; {coarse} more rows are alike in values that others share, too" if coarse else ""
    return _twice("identical rows", view.name, group.where(suspect), samples, seen, int(known.sum()), also)


def _shared_with_nobody(values: np.ndarray, group: pd.Series) -> pd.Series:
    """Count, for every group of equal rows, the columns whose value the group shares with nobody."""
    first = group.dropna().drop_duplicates()
    sizes = group.value_counts().reindex(first.to_numpy())
    count = np.zeros(len(first), int)
    for column in values.T if len(first) else ():
        ordered = np.sort(column)
        mine = column[first.index]
        same = np.searchsorted(ordered, mine, "right") - np.searchsorted(ordered, mine, "left")
        count += (same == sizes.to_numpy()) & ~np.isnan(mine)
        if (count >= NOT_SHARED).all():
            break
    return pd.Series(count, index=first.to_numpy())


def identical_volumes(quality: pd.DataFrame, samples: pd.DataFrame, seen: pd.DataFrame) -> dict:
    """Look for samples whose volumes have the same voxels, by the hash of their content; as :func:`identical_rows`."""
    hashes = quality.drop_duplicates("sample").set_index("sample")["content_hash"]
    group = samples["sample"].map(hashes).astype("object")
    twice = group.where(group.duplicated(keep=False))
    return _twice("identical volumes", "volumes", twice, samples, seen, int(group.notna().sum()))


def _twice(
    check: str, where: str, group: pd.Series, samples: pd.DataFrame, seen: pd.DataFrame, known: int, also: str = ""
) -> dict:
    """Count the samples of groups that are in several parts; ``group`` is missing for samples without a double."""
    group = group.reset_index(drop=True)
    parts = seen[group.notna()].groupby(group.dropna()).transform("nunique") > 1
    crossing = int(parts.sum().max()) if len(parts) else 0
    people = samples["subject"].reset_index(drop=True).groupby(group).nunique()
    said = f"{int(group.notna().sum())} of {known} samples are the same as another"
    if len(people):
        said += f" (named in doubles.tsv), {int((people > 1).sum())} groups of them under several subjects"
    said += f"; {crossing} of them are also in another part of a seed (most of {seen.shape[1]}){also}"
    if crossing:
        said += "; remove the doubles, or give them one subject"
    row = verdict(check, "samples also in another part", where, crossing, SUSPECT if crossing else OK, said)
    named = pd.DataFrame({"group": group, "sample": samples["sample"].reset_index(drop=True)}).dropna(subset="group")
    # Numbered in the order of their first sample.
    named["group"] = named["group"].factorize()[0] + 1
    doubles = named.sort_values("group", kind="stable").assign(check=check, where=where)
    return row | {"doubles": doubles.to_dict("records")}

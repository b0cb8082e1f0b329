"""A permutation test of the whole pipeline: labels that say nothing, and how often they decode as well."""

from dataclasses import replace

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from metafusion.config.models import Shuffle
from metafusion.errors import UserError
from metafusion.methods import HIGHER_IS_BETTER, family_of
from metafusion.samples import REPEATED, Assembled
from metafusion.statistics import LEVEL, values_by_seed

LABELS_STREAM = 2
"""Purpose of the random stream of a permutation; those of splits are 0 and 1."""
FEWEST_EXCHANGED = 0.5
"""Share of samples (or of subjects) that must stand among others of another label."""
FEWEST_PERMUTATIONS = 19
"""Below which no p can be 0.05 or less: the smallest is 1 / (1 + permutations)."""
COLUMNS = [
    "method",
    "family",
    "metric",
    "observed",
    "mean",
    "low",
    "high",
    "p",
    "p_corrected",
    "permutations",
    "splits",
]


def shuffled(assembled: Assembled, settings: Shuffle, permutations: int, unit: str) -> Assembled:
    """Repeat the samples once for each permutation, as draws with exchanged labels.

    Features are not repeated: samples of a permutation have those of the sample itself, by the beginning of their ids
    (see :func:`metafusion.samples.feature_matrix`).

    Parameters
    ----------
    assembled : Assembled
        As :func:`metafusion.samples.check` returns it.
    settings : Shuffle
        Within what labels are exchanged. Always within the same part of an official split, too, so that class counts
        of parts stay.
    permutations : int
        Each has a random stream of its own: more of them leave those before as they are.
    unit : 'subject' or 'sample'
        What is split. With 'subject', where all samples of every subject have one label, subjects exchange labels as a
        whole, because theirs are no independent samples.

    Returns
    -------
    Assembled
        ``sample`` ends in ``~permutation1``, ...; ``draw`` is that number; all else stays.

    Raises
    ------
    UserError
        Hardly anything could be exchanged: in most groups all labels are the same.
    """
    samples = assembled.samples
    subjects, groups = samples["subject"], _groups(samples, settings.within)
    whole = unit == "subject" and samples["target"].groupby(subjects).nunique().max() == 1
    blocks = subjects if whole else samples["sample"]
    labels = samples["target"].groupby(blocks, sort=True).first()
    # A subject is exchanged with those that stand in the same groups.
    stands = pd.Series(groups).groupby(blocks.to_numpy(), sort=True).agg(lambda some: tuple(sorted(set(some))))
    groups = pd.factorize(stands.to_numpy())[0]
    mixed = labels.groupby(groups).transform("nunique") > 1
    if mixed.mean() < FEWEST_EXCHANGED:
        what = "subjects, whose samples all have one label," if whole else "samples"
        raise UserError(
            f"shuffle.within: {settings.within}: only {mixed.sum()} of {len(mixed)} {what} stand among others of "
            "another label, so that hardly anything would change, and p would say nothing; a wider 'within' exchanges "
            "more, but is right only if what it mixes (sessions, subjects) differs in nothing but the label"
        )
    parts = []
    for permutation in range(1, permutations + 1):
        exchanged = pd.Series(_exchanged(labels.to_numpy(), groups, permutation), index=labels.index)
        target = blocks.map(exchanged).astype(samples["target"].dtype)
        parts.append(_repeated(samples, permutation).assign(target=target, draw=permutation))
    people = [_repeated(assembled.people, permutation) for permutation in range(1, permutations + 1)]
    return replace(assembled, samples=pd.concat(parts, ignore_index=True), people=pd.concat(people, ignore_index=True))


def _repeated(table: pd.DataFrame, permutation: int) -> pd.DataFrame:
    return table.assign(sample=table["sample"] + f"{REPEATED}{permutation}")


def _groups(samples: pd.DataFrame, within: str) -> np.ndarray:
    """Return the number of the group of each sample, within which labels are exchanged."""
    keys = {"session": ["subject", "session"], "subject": ["subject"], "everything": []}[within]
    if within == "session" and "session" not in samples:
        keys = []
    keys += ["given_part"] if "given_part" in samples else []
    if not keys:
        return np.zeros(len(samples), int)
    # Whoever has no session, or no given part, is a group, too.
    return samples.groupby(keys, sort=True, dropna=False).ngroup().to_numpy()


def _exchanged(labels: np.ndarray, groups: np.ndarray, permutation: int) -> np.ndarray:
    """Return the labels, shuffled within every group."""
    random = np.random.default_rng([permutation, LABELS_STREAM])
    found = labels.copy()
    for group in np.unique(groups):
        here = np.flatnonzero(groups == group)
        found[here] = labels[random.permutation(here)]
    return found


def statistics_of(scores: pd.DataFrame, metric: str, splits: int) -> pd.DataFrame:
    """Return the mean of a measure over the test parts of each permutation's seeds.

    Parameters
    ----------
    scores : DataFrame
        ``method``, ``family``, ``seed``, ``part``, ``metric``, ``value``.
    metric : str
    splits : int
        Seeds 1 to ``splits`` share the first permutation, and so on.

    Returns
    -------
    DataFrame, shape (permutations, methods)
        NaN where a method has no value in one of the seeds.
    """
    values = values_by_seed(scores, metric)
    return values.groupby((values.index - 1) // splits + 1).agg(lambda some: some.mean(skipna=False))


def permutation_table(
    observed: pd.DataFrame, shuffled: pd.DataFrame, metrics: list[str], splits: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare what methods reach with what they reach where labels say nothing.

    Parameters
    ----------
    observed, shuffled : DataFrame
        Scores, see :func:`statistics_of`, of the experiment and of the same with shuffled labels.
    metrics : list of str
        In the order wanted.
    splits : int
        Seeds that share a permutation. The observed statistic is the mean over as many, 1 to ``splits``.

    Returns
    -------
    DataFrame
        ``method``, ``family``, ``metric``, ``observed``; ``mean``, ``low`` and ``high`` under permutation (its middle
        95 %); ``p``, one-sided: (1 + permutations at least as good) / (1 + permutations), so that it is never 0;
        ``p_corrected``, after Holm over the methods of the metric that have a p, but for references (prior, oracle),
        which are not tested; ``permutations`` in which the method has a value; ``splits``. Smallest p first within each
        metric.
    DataFrame
        ``method``, ``metric``, ``permutation``, ``value``: the statistic of every permutation.

    Raises
    ------
    UserError
        The experiment lacks one of the seeds 1 to ``splits``.

    References
    ----------
    Holm 1979; Phipson, Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9, 39; Ojala, Garriga 2010, JMLR 11, 1833-1863.
    """
    rows, under = [], []
    for metric in metrics:
        sign = 1 if HIGHER_IS_BETTER[metric] else -1
        first = observed[observed["seed"].between(1, splits)]
        if first["seed"].nunique() < splits:
            raise UserError(
                f"the permutations have {splits} seeds each, and the experiment itself lacks some of the seeds 1 to "
                f"{splits}; run it with these"
            )
        found, null = statistics_of(first, metric, splits).iloc[0], statistics_of(shuffled, metric, splits)
        for method in (name for name in found.index if name in null):
            values, value = null[method].dropna().to_numpy(), found[method]
            # Means of the same numbers in another order differ in their last bits.
            better = np.sum(sign * values >= sign * value - 1e-12 * max(1.0, abs(value)))
            known = len(values) > 0 and not np.isnan(value)
            ends = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(values) else [np.nan, np.nan]
            p = (1 + better) / (1 + len(values)) if known else np.nan
            mean = values.mean() if len(values) else np.nan
            rows.append((method, family_of(method), metric, value, mean, *ends, p, np.nan, len(values), splits))
        long = null.rename_axis("permutation").reset_index().melt("permutation", var_name="method")
        under.append(long.assign(metric=metric))
    table = pd.DataFrame(rows, columns=COLUMNS)
    for _, rows in table[table["p"].notna() & (table["family"] != "reference")].groupby("metric"):
        table.loc[rows.index, "p_corrected"] = multipletests(rows["p"], method="holm")[1]
    table["place"] = table["metric"].map(metrics.index)
    table = table.sort_values(["place", "p", "method"], kind="stable", ignore_index=True).drop(columns="place")
    return table, pd.concat(under, ignore_index=True)[["method", "metric", "permutation", "value"]]


def too_few(permutations: int) -> str:
    """Return a warning where no p can be small, else nothing."""
    if permutations >= FEWEST_PERMUTATIONS:
        return ""
    smallest = f"{1 / (1 + permutations):.2g}"
    return f"{permutations} permutations are few: p cannot be below {smallest}; take {FEWEST_PERMUTATIONS} or more"

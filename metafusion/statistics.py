"""How sure is a mean, and do methods differ? Intervals over seeds, comparisons paired by seed, and ranks."""

import numpy as np
import pandas as pd
import scikit_posthocs
from scipy import stats
from statsmodels.stats.multitest import multipletests

from metafusion.methods import IS_STUDENT

LEVEL = 0.95
"""Of the intervals."""
FEWEST_FOR_P = 6
"""Seeds below which no test can speak: the smallest p of a signed-rank test of five is 2 / 2^5 = 0.06."""
RESAMPLES = 9999
"""Of the bootstrap."""
COLUMNS = ["method", "reference", "difference", "low", "high", "p", "p_corrected", "seeds"]


def mean_intervals(values: pd.DataFrame, by: list[str], test_to_train: float | None = None) -> pd.DataFrame:
    """Return intervals of means over seeds at level 0.95, by Student's t.

    Parameters
    ----------
    values : DataFrame
        ``by``, and one ``value`` a seed; NaN is no value.
    by : list of str
    test_to_train : float, optional
        Leave it out where every seed has samples of its own: then this is the plain interval. Where all seeds split the
        same samples anew, give the number of test samples divided by that of all others: the variance of the mean
        grows by it, as :func:`paired_differences` has it after Nadeau and Bengio.

    Returns
    -------
    DataFrame
        ``by``, ``low`` and ``high``: NaN for fewer than two values, and where all are the same, as nothing varies.
    """
    grouped = values.groupby(by, sort=True)["value"]
    mean, seeds = grouped.mean(), grouped.count()
    error = np.sqrt((1 / seeds + (test_to_train or 0.0)) * grouped.var())
    known = (seeds > 1) & (grouped.max() > grouped.min())
    half = (stats.t.ppf((1 + LEVEL) / 2, (seeds - 1).where(known)) * error).where(known)
    return pd.DataFrame({"low": mean - half, "high": mean + half}).reset_index()


def values_by_seed(scores: pd.DataFrame, metric: str, without: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return one measure of the test part by seed and method, without the students.

    Parameters
    ----------
    scores : DataFrame
        ``method``, ``family``, ``seed``, ``part``, ``metric``, ``value``.
    metric : str
    without : tuple of str
        Families to leave out.

    Returns
    -------
    DataFrame, shape (seeds, methods)
        NaN where a method has no value.
    """
    wanted = (scores["part"] == "test") & (scores["metric"] == metric) & ~scores["family"].isin(without)
    return scores[wanted & ~scores["method"].str.match(IS_STUDENT)].pivot(
        index="seed", columns="method", values="value"
    )


def paired_differences(
    values: pd.DataFrame, reference: str, higher_is_better: bool, test_to_train: float | None = None
) -> pd.DataFrame:
    """Compare every method with one of them, seed by seed.

    Parameters
    ----------
    values : DataFrame, shape (seeds, methods)
        One measure; NaN where a method has no value.
    reference : str
        The column that the others are compared with.
    higher_is_better : bool
        Which end of the table is the better one; differences keep their sign.
    test_to_train : float, optional
        Leave it out where every seed has samples of its own, as in a simulation: then seeds are independent, and their
        differences are resampled. Where all seeds split the same samples anew, their differences are correlated, and
        what holds for independent ones is too narrow and too sure: give the number of test samples divided by that of
        all others, for the interval and the test of Nadeau and Bengio, who take the correlation to be the share of the
        test part. It does not help where the test part is the same in every seed.

    Returns
    -------
    DataFrame
        A row for each method but the reference, the best first.

        ``method``, ``reference``
        ``difference``
            Mean of method - reference over the seeds that have both, in the unit of the measure.
        ``low``, ``high``
            Interval of the mean difference at level 0.95: bias-corrected accelerated bootstrap over seeds (where all
            differences are equal, that number), the same whenever it is computed; or, with ``test_to_train``, of the
            corrected resampled t. NaN for fewer than two seeds. Of fewer than about ten seeds a bootstrap is too
            narrow.
        ``p``
            Two-sided: Wilcoxon's signed-rank test, or the corrected resampled t-test. NaN for fewer than six seeds, for
            which the former cannot fall below 0.05; 1 where all differences are 0.
        ``p_corrected``
            After Holm, over the methods of this table that have a ``p``.
        ``seeds``
            That have both.

        With ``test_to_train``, interval and p are NaN where all differences are the same number, not 0: as nothing
        varies, seeds say nothing (two methods without chance on an official split).

    References
    ----------
    Efron 1987 (BCa); Wilcoxon 1945; Holm 1979; Nadeau, Bengio 2003, Machine Learning 52, 239-281.
    """
    rows = []
    for method in values.columns.drop(reference):
        both = values[[method, reference]].dropna().to_numpy(np.float64)
        rows.append((method, reference, *_compared(seedwise_differences(both), test_to_train), np.nan, len(both)))
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"method": "str", "reference": "str"})
    tested = table["p"].notna()
    if tested.any():
        table.loc[tested, "p_corrected"] = multipletests(table.loc[tested, "p"], method="holm")[1]
    return table.sort_values(
        ["difference", "method"], ascending=[not higher_is_better, True], kind="stable", ignore_index=True
    )


def seedwise_differences(both: np.ndarray) -> np.ndarray:
    """Return first - second column of (seeds, 2), without the round-off that the signed-rank test takes for ranks."""
    # The size of a usual value: a single huge one, of training that left the numbers, must not make the others 0.
    size = np.median(np.abs(both).max(axis=1)) if len(both) else 0.0
    return np.round(both[:, 0] - both[:, 1], 12 - int(np.floor(np.log10(max(size, 1e-100)))))


def _compared(differences: np.ndarray, test_to_train: float | None) -> tuple[float, float, float, float]:
    """Return the mean difference, both ends of its interval, and p."""
    seeds = len(differences)
    mean = differences.mean() if seeds else np.nan
    if seeds < 2:
        return mean, np.nan, np.nan, np.nan
    if not differences.any():
        low, high, p = 0.0, 0.0, 1.0
    elif test_to_train is None:
        low, high = _bootstrapped(differences)
        p = stats.wilcoxon(differences).pvalue
    else:
        low, high, p = _corrected_resampled_t(differences, test_to_train)
    return mean, low, high, p if seeds >= FEWEST_FOR_P else np.nan


def _bootstrapped(differences: np.ndarray) -> tuple[float, float]:
    if np.ptp(differences) == 0:
        # BCa is not defined: every resample has the same mean.
        return float(differences[0]), float(differences[0])
    # The same seeds are drawn for every method, so that intervals do not depend on who else is in the table.
    low, high = stats.bootstrap(
        (differences,),
        np.mean,
        confidence_level=LEVEL,
        n_resamples=RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(low), float(high)


def _corrected_resampled_t(differences: np.ndarray, test_to_train: float) -> tuple[float, float, float]:
    """Return both ends of the interval, and p, with the variance of a mean of correlated differences."""
    seeds = len(differences)
    # Round-off in the mean makes a spread of equal numbers.
    if np.ptp(differences) == 0:
        return np.nan, np.nan, np.nan
    error = np.sqrt((1 / seeds + test_to_train) * differences.var(ddof=1))
    mean = differences.mean()
    low, high = stats.t.interval(LEVEL, seeds - 1, loc=mean, scale=error)
    return float(low), float(high), float(2 * stats.t.sf(abs(mean) / error, seeds - 1))


def ranking(values: pd.DataFrame, higher_is_better: bool) -> tuple[pd.Series, float, pd.DataFrame]:
    """Rank methods within every seed, and tell which ranks differ.

    Pairs are compared after Nemenyi, whose critical difference depends on mean ranks alone, as a critical-difference
    diagram needs it, and which can tell methods apart with ten seeds, where signed-rank tests of all pairs cannot after
    their correction. Its price: whether two methods differ depends on who else is ranked (Benavoli et al. 2016). For a
    statement about two methods take :func:`paired_differences`. Seeds count as independent.

    Parameters
    ----------
    values : DataFrame, shape (seeds, methods)
        One measure. A method without a value in a seed in which others have one (it diverged) has the last rank there;
        seeds in which nobody has one are left out.
    higher_is_better : bool

    Returns
    -------
    Series
        Mean rank over seeds by method, 1 the best; ties share the mean of their ranks. The best first.
    float
        p of Friedman's test that all methods rank alike. NaN for fewer than three methods or two seeds, 1 where all
        methods are equal in every seed.
    DataFrame, shape (methods, methods)
        p of every pair, corrected for all pairs; in the order of the Series, 1 on the diagonal. NaN beside it for fewer
        than two seeds.

    References
    ----------
    Demšar 2006, JMLR 7, 1-30; Benavoli, Corani, Mangili 2016, JMLR 17(5), 1-10.
    """
    values = values.dropna(how="all")
    ranks = values.rank(axis=1, ascending=not higher_is_better, na_option="bottom")
    mean = ranks.mean().sort_values(kind="stable")
    ranks = ranks[mean.index]
    seeds, methods = ranks.shape
    if seeds < 2:
        pairs = np.where(np.eye(methods, dtype=bool), 1.0, np.nan)
        return mean, float("nan"), pd.DataFrame(pairs, index=mean.index, columns=mean.index)
    pairs = pd.DataFrame(scikit_posthocs.posthoc_nemenyi_friedman(ranks.to_numpy()))
    friedman = float("nan")
    if methods > 2:
        equal = (ranks.to_numpy() == ranks.to_numpy()[:, :1]).all()
        friedman = 1.0 if equal else float(stats.friedmanchisquare(*ranks.to_numpy().T).pvalue)
    return mean, friedman, pairs.set_axis(mean.index).set_axis(mean.index, axis=1)

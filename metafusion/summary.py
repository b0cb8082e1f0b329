"""Tables over seeds."""

import numpy as np
import pandas as pd

from metafusion.methods import HIGHER_IS_BETTER, INDEPENDENT, IS_STUDENT, LIMITS, STUDENT, family_of
from metafusion.statistics import mean_intervals, paired_differences, ranking, values_by_seed

REFERENCES = ("meta_fusion", "early_fusion", "independent_meta_fusion")
"""Methods that all others are compared with."""
FEWEST_TESTED = 10
"""Samples of a subgroup in the test part of a seed, below which its measures are left out there."""


def summarise(scores: pd.DataFrame, metrics: list[str], test_to_train: float | None = None) -> pd.DataFrame:
    """Mean, standard error and interval of every method over seeds, on the test part.

    Parameters
    ----------
    scores : DataFrame
        ``method``, ``family``, ``seed``, ``part``, ``metric``, ``value``.
    metrics : list of str
        In the order wanted.
    test_to_train : float, optional
        Where seeds share their samples, see :func:`metafusion.statistics.mean_intervals`.

    Returns
    -------
    DataFrame
        ``method``, ``family``, ``metric``, ``mean``, ``se`` (sample standard deviation / sqrt(seeds); missing for one
        seed), ``low``, ``high`` (95 % interval of the mean, cut where the measure ends), ``seeds``, ``mark``: ``best``,
        or ``within_se`` for means within one standard error (the best method's) of the best. The prior, a reference,
        competes like any other; the oracle, which is told the truth, does not, nor does a method without a value in
        some seeds. Best first within each metric.
    """
    test = scores[(scores["part"] == "test") & ~scores["method"].str.match(IS_STUDENT)]
    table = _with_intervals(test, ["metric", "method", "family"], test_to_train)
    parts = [_mark(table[table["metric"] == metric], HIGHER_IS_BETTER[metric]) for metric in metrics]
    columns = ["method", "family", "metric", "mean", "se", "low", "high", "seeds", "mark"]
    return pd.concat(parts, ignore_index=True)[columns]


def _over_seeds(values: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return ``by``, ``mean``, ``se`` and ``seeds`` of a table with one ``value`` a seed; NaN is no value."""
    table = values.groupby(by, sort=True)["value"].agg(mean="mean", se="sem", seeds="count")
    return table.reset_index()


def _with_intervals(values: pd.DataFrame, by: list[str], test_to_train: float | None) -> pd.DataFrame:
    """Return the columns of :func:`_over_seeds`, ``low`` and ``high``, which stay where the measure can be."""
    table = _over_seeds(values, by).merge(mean_intervals(values, by, test_to_train), on=by)
    limits = np.array([LIMITS.get(metric, (0, 1)) for metric in table["metric"]]).reshape(-1, 2)
    return table.assign(low=table["low"].clip(lower=limits[:, 0]), high=table["high"].clip(upper=limits[:, 1]))


def _mark(table: pd.DataFrame, higher: bool) -> pd.DataFrame:
    table = table.sort_values(["mean", "method"], ascending=[not higher, True], kind="stable")
    # A method that diverged in some seeds has its mean over the others, which may be the easy ones.
    honest = (table["method"] != "oracle") & (table["seeds"] == table["seeds"].max())
    best = table[honest].iloc[0]
    error = 0 if np.isnan(best["se"]) else best["se"]
    # Exactly one error away counts, and rounding must not decide.
    near = (table["mean"] - best["mean"]).abs() <= error * (1 + 1e-9)
    marks = np.where(table["mean"] == best["mean"], "best", np.where(near, "within_se", ""))
    return table.assign(mark=np.where(honest, marks, ""))


def students_table(scores: pd.DataFrame, students: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Mean and standard error of every student over seeds, on the test part.

    Returns
    -------
    DataFrame
        The columns of ``students``, then ``cohort`` (``chosen_penalty`` or ``independent``), ``metric``, ``mean``,
        ``se``, ``seeds``: those in which the student has a score, which it has not where it diverged.
    """
    test = scores[(scores["part"] == "test") & scores["method"].str.match(IS_STUDENT) & scores["metric"].isin(metrics)]
    numbers = test["method"].str.extract(rf"{STUDENT}(\d+)$")[0].astype(int)
    cohort = np.where(test["family"] == "student", "chosen_penalty", "independent")
    table = _over_seeds(test.assign(student=numbers, cohort=cohort), ["student", "cohort", "metric"])
    return students.merge(table, on="student")[[*students.columns, "cohort", "metric", "mean", "se", "seeds"]]


def penalties_table(selection: pd.DataFrame) -> pd.DataFrame:
    """How often each penalty was chosen, and the mean validation loss of the top cluster at it.

    Parameters
    ----------
    selection : DataFrame
        ``seed``, ``penalty``, ``student``, ``teaching``, ``top_cluster``, ``validation_loss``, ``diverged``,
        ``chosen``.

    Returns
    -------
    DataFrame
        ``penalty``, ``top_cluster_loss`` (mean over the seeds in which nobody of the top cluster diverged), ``chosen``
        (number of seeds), ``seeds`` (all), ``teachers`` (mean number), ``diverged`` (number of students, over all
        seeds).
    """
    runs = ["seed", "penalty"]
    top = selection[selection["top_cluster"] == 1].groupby(runs)["validation_loss"].mean()
    seeds = selection.groupby(runs, sort=True).agg(
        chosen=("chosen", "first"),
        teachers=("teaching", lambda weights: (weights > 0).sum()),
        diverged=("diverged", "sum"),
    )
    # A loss that is infinite tells of a run that is out, not of a penalty.
    seeds["loss"] = top.where(np.isfinite(top))
    table = seeds.groupby("penalty").agg(
        top_cluster_loss=("loss", "mean"),
        chosen=("chosen", "sum"),
        seeds=("loss", "size"),
        teachers=("teachers", "mean"),
        diverged=("diverged", "sum"),
    )
    return table.reset_index()


def differences_table(scores: pd.DataFrame, metrics: list[str], test_to_train: float | None = None) -> pd.DataFrame:
    """Compare all methods with those of :data:`REFERENCES` that there are, seed by seed, on the test part.

    Parameters
    ----------
    scores : DataFrame
        ``method``, ``family``, ``seed``, ``part``, ``metric``, ``value``.
    metrics : list of str
        In the order wanted.
    test_to_train : float, optional
        Where seeds share their samples, see :func:`metafusion.statistics.paired_differences`.

    Returns
    -------
    DataFrame
        ``metric``, then the columns of :func:`metafusion.statistics.paired_differences`. Holm's correction is over the
        methods that are compared with one reference in one metric.
    """
    tables = []
    for metric in metrics:
        values = values_by_seed(scores, metric)
        for reference in (name for name in REFERENCES if name in values):
            table = paired_differences(values, reference, HIGHER_IS_BETTER[metric], test_to_train)
            tables.append(table.assign(metric=metric))
    table = pd.concat(tables, ignore_index=True)
    return table[["metric", *table.columns.drop("metric")]]


def mutual_learning_table(
    scores: pd.DataFrame, selection: pd.DataFrame, metrics: list[str], test_to_train: float | None = None
) -> pd.DataFrame:
    """Tell what mutual learning added: each ensemble at the chosen penalty against the same without one, by seed.

    Parameters
    ----------
    scores, metrics, test_to_train
        See :func:`differences_table`.
    selection : DataFrame
        See :func:`penalties_table`.

    Returns
    -------
    DataFrame
        ``metric``, ``method``, ``gain`` (positive: better with mutual learning; mean over seeds, in the unit of the
        metric), ``low``, ``high``, ``p``, ``p_corrected`` (over the ensembles of one metric), ``seeds``, ``taught``
        (seeds that chose a penalty above 0; in the others both are the same), as
        :func:`metafusion.statistics.paired_differences` has them. In the order of the methods' names, Meta Fusion
        first.
    """
    chosen = selection[selection["chosen"] == 1].groupby("seed")["penalty"].first()
    tables = []
    for metric in metrics:
        values = values_by_seed(scores, metric)
        sign = 1 if HIGHER_IS_BETTER[metric] else -1
        pairs = {name: f"{INDEPENDENT}{name}" for name in values if f"{INDEPENDENT}{name}" in values}
        gains = pd.DataFrame({name: sign * (values[name] - values[other]) for name, other in pairs.items()})
        # The interval of one gain is that of its difference from none.
        found = paired_differences(gains.assign(none=0.0), "none", True, test_to_train)
        found = found.rename(columns={"difference": "gain"}).drop(columns="reference").sort_values("method")
        first = (found["method"] != "meta_fusion").sort_values(kind="stable").index
        tables.append(found.loc[first].assign(metric=metric, taught=int((chosen > 0).sum())))
    columns = ["metric", "method", "gain", "low", "high", "p", "p_corrected", "seeds", "taught"]
    return pd.concat(tables, ignore_index=True)[columns]


def usage_table(members: pd.DataFrame, students: pd.DataFrame, modalities: list[str]) -> pd.DataFrame:
    """Tell which representations of each modality the greedy ensemble relies on.

    Parameters
    ----------
    members : DataFrame
        ``seed``, ``method``, ``student``, ``weight``.
    students : DataFrame
        ``student``, and its representation of each modality.
    modalities : list of str

    Returns
    -------
    DataFrame
        ``method`` (``meta_fusion``, and the same of the independent cohort), ``modality``, ``representation``,
        ``students`` (share of the cohort that uses it), ``weight`` (of the members that use it, the ensemble's whole
        weight being 1: mean over seeds), ``se``, ``seeds``, ``chosen`` (seeds in which a member uses it). Within a
        method and modality, ``students`` sum to 1, and so do weights; in the order of the students.
    """
    rows = []
    for method in ("meta_fusion", f"{INDEPENDENT}meta_fusion"):
        here = members[members["method"] == method].merge(students, on="student", how="left")
        shares = here["weight"] / here.groupby("seed")["weight"].transform("sum")
        for modality in modalities:
            by_seed = shares.groupby([here["seed"], here[modality]]).sum().unstack(fill_value=0.0)
            for representation in dict.fromkeys(students[modality]):
                share = (students[modality] == representation).mean()
                values = by_seed.get(representation, pd.Series(0.0, index=by_seed.index))
                told = values.mean(), values.sem(), len(values), int((values > 0).sum())
                rows.append((method, modality, representation, share, *told))
    columns = ["method", "modality", "representation", "students", "weight", "se", "seeds", "chosen"]
    return pd.DataFrame(rows, columns=columns)


def shared_by_seeds(samples: pd.DataFrame, manifest: pd.DataFrame) -> float | None:
    """Return what the statistics over seeds need to know of how these share their samples.

    Parameters
    ----------
    samples : DataFrame
        May have ``draw``.
    manifest : DataFrame
        See :func:`tested_to_others`.

    Returns
    -------
    float or None
        None where every seed has a draw of its own. Else :func:`tested_to_others`. This holds for random splits, and
        for folds and sessions, whose training parts overlap as much (of K folds, it is 1/(K - 1)).
    """
    own = "draw" in samples and samples["draw"].nunique() >= manifest["seed"].nunique()
    return None if own else tested_to_others(manifest)


def tested_to_others(manifest: pd.DataFrame) -> float:
    """Return the number of test samples divided by that of all others, as a mean over seeds.

    Parameters
    ----------
    manifest : DataFrame
        ``seed``, ``part``, ``samples``, see :func:`metafusion.splits.manifest`.
    """
    tested = manifest["part"] == "test"
    counts = manifest.groupby(["seed", tested])["samples"].sum().unstack()
    return float((counts[True] / counts[False]).mean())


def ranks_table(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean rank of every method over seeds, on the test part; references (prior, oracle) do not compete.

    Returns
    -------
    DataFrame
        ``method``, ``mean_rank`` (1 is the best), ``seeds`` (in which anybody has a value), ``friedman_p`` (the same in
        every row), see :func:`metafusion.statistics.ranking`. Best first.
    """
    values = values_by_seed(scores, metric, without=("reference",))
    ranks, p, _ = ranking(values, HIGHER_IS_BETTER[metric])
    table = ranks.rename_axis("method").reset_index(name="mean_rank")
    return table.assign(seeds=len(values.dropna(how="all")), friedman_p=p)


def by_penalty_table(scores: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Mean and standard error over seeds of every student and every ensemble at every penalty, on the test part.

    Parameters
    ----------
    scores : DataFrame
        ``seed``, ``penalty``, ``method``, ``part``, ``metric``, ``value``.
    metrics : list of str
        In the order wanted.

    Returns
    -------
    DataFrame
        ``penalty``, ``method``, ``metric``, ``mean``, ``se``, ``seeds`` (those with a value: a student that diverged
        has none).
    """
    table = _over_seeds(scores[scores["part"] == "test"], ["penalty", "method", "metric"])
    tables = [table[table["metric"] == metric] for metric in metrics]
    return pd.concat(tables, ignore_index=True)


def by_students_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard error over seeds of ensembles of some of the students, by their number.

    Parameters
    ----------
    scores : DataFrame
        ``seed``, ``students`` (their number), ``draw`` (which students), ``method``, ``metric``, ``value``.

    Returns
    -------
    DataFrame
        ``students``, ``method``, ``metric``, ``mean``, ``se``, ``seeds``: of each seed's mean over draws, since draws
        within one seed are not independent.
    """
    by = ["students", "method", "metric"]
    return _over_seeds(scores.groupby([*by, "seed"], as_index=False)["value"].mean(), by)


def subgroups_table(scores: pd.DataFrame, metrics: list[str], test_to_train: float | None = None) -> pd.DataFrame:
    """Mean, standard error and interval over seeds of every method in every group of people, on the test part.

    Parameters
    ----------
    scores : DataFrame
        See :func:`metafusion.evaluation.by_subgroup`.
    metrics : list of str
        In the order wanted.
    test_to_train : float, optional
        See :func:`summarise`.

    Returns
    -------
    DataFrame
        ``column``, ``level``, ``method``, ``family``, ``metric``, ``mean``, ``se``, ``low``, ``high``, ``seeds``: over
        the seeds in whose test part the group has 10 samples or more, and whatever else the measure needs; then
        ``samples`` and ``subjects``, the group's mean numbers in the test parts of all seeds. Columns and levels are in
        the order of ``scores``, methods in that of their names.
    """
    by = ["column", "level", "method", "metric"]
    counts = scores.groupby(by)[["samples", "subjects"]].mean().reset_index()
    enough = scores.assign(value=scores["value"].where(scores["samples"] >= FEWEST_TESTED))
    table = _with_intervals(enough, by, test_to_train).merge(counts, on=by)
    pairs = dict.fromkeys(scores[["column", "level"]].itertuples(index=False, name=None))
    places = {pair: place for place, pair in enumerate(pairs)}
    table = table.assign(family=[family_of(method) for method in table["method"]])
    table["place"] = [places[pair] for pair in zip(table["column"], table["level"], strict=True)]
    table["rank"] = table["metric"].map(metrics.index)
    table = table.sort_values(["place", "rank", "method"], kind="stable", ignore_index=True)
    means = ["mean", "se", "low", "high", "seeds", "samples", "subjects"]
    return table[["column", "level", "method", "family", "metric", *means]]

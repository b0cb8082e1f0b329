"""Tables over seeds."""

import numpy as np
import pandas as pd

from metafusion.methods import HIGHER_IS_BETTER, IS_STUDENT, STUDENT


def summarise(scores: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Mean and standard error of every method over seeds, on the test part.

    Parameters
    ----------
    scores : DataFrame
        ``method``, ``family``, ``seed``, ``part``, ``metric``, ``value``.
    metrics : list of str
        In the order wanted.

    Returns
    -------
    DataFrame
        ``method``, ``family``, ``metric``, ``mean``, ``se`` (sample standard deviation / sqrt(seeds); missing for one
        seed), ``seeds``, ``mark``: ``best``, or ``within_se`` for means within one standard error (the best method's)
        of the best. The prior, a reference, competes like any other. Best first within each metric.
    """
    test = scores[(scores["part"] == "test") & ~scores["method"].str.match(IS_STUDENT)]
    groups = test.groupby(["metric", "method", "family"], sort=True)["value"]
    table = groups.agg(mean="mean", sd="std", seeds="count").reset_index()
    table["se"] = table["sd"] / np.sqrt(table["seeds"])
    parts = [_mark(table[table["metric"] == metric], HIGHER_IS_BETTER[metric]) for metric in metrics]
    return pd.concat(parts, ignore_index=True)[["method", "family", "metric", "mean", "se", "seeds", "mark"]]


def _mark(table: pd.DataFrame, higher: bool) -> pd.DataFrame:
    table = table.sort_values(["mean", "method"], ascending=[not higher, True], kind="stable")
    best = table.iloc[0]
    error = 0 if np.isnan(best["se"]) else best["se"]
    # Exactly one error away counts, and rounding must not decide.
    near = (table["mean"] - best["mean"]).abs() <= error * (1 + 1e-9)
    marks = np.where(table["mean"] == best["mean"], "best", np.where(near, "within_se", ""))
    return table.assign(mark=marks)


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
    groups = test.assign(student=numbers, cohort=cohort).groupby(["student", "cohort", "metric"], sort=True)["value"]
    table = groups.agg(mean="mean", sd="std", seeds="count").reset_index()
    table["se"] = table.pop("sd") / np.sqrt(table["seeds"])
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


def confusion(predictions: pd.DataFrame, samples: pd.DataFrame, classes: list[str], method: str) -> pd.DataFrame:
    """Share of the test samples of each class that a method gives to each class, pooled over seeds.

    Returns
    -------
    DataFrame, shape (classes, classes)
        Rows: the true class; each sums to 1.
    """
    here = predictions[(predictions["method"] == method) & (predictions["part"] == "test")]
    true = here.merge(samples[["sample", "target"]], on="sample", how="left")["target"]
    logits = here[[f"logit_{name}" for name in classes]].to_numpy()
    guessed = pd.Categorical(np.array(classes)[logits.argmax(axis=1)], categories=classes)
    counts = pd.crosstab(pd.Categorical(true, categories=classes), guessed, dropna=False)
    return counts.div(counts.sum(axis=1).clip(lower=1), axis=0)

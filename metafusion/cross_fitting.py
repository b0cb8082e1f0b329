"""Cross-fitting: K cohorts a seed, so that everything is chosen on predictions of samples that a cohort has not seen.

The samples of a seed that are not tested are dealt to K folds. A *run* is a seed with another split: run k hides fold k
together with the test part, decides on the next fold (its validation part), and learns from the others. If a cohort has
nothing to decide, no fold is spared for that: run k learns from all but fold k. Runs are trained like seeds. Afterwards
each sample has a prediction of the one run that it was hidden from (out of fold), and the test part has K of each,
which are averaged. Or a further run, which learns from all that is not tested (*refit*), answers for the test part.
"""

from itertools import chain

import numpy as np
import pandas as pd
from scipy.special import log_softmax, logsumexp

from metafusion.config.models import Task
from metafusion.parts import parts_of

MOST_RUNS = 2**32
"""Runs have smaller numbers: clusters' random starts take no larger ones."""


def draw_folds(
    samples: pd.DataFrame, splits: pd.DataFrame, seeds: list[int], folds: int, unit: str, stratify: bool, classes: bool
) -> pd.DataFrame:
    """Deal the samples that a seed does not test to folds, whole subjects where these are split.

    Parameters
    ----------
    samples : DataFrame
        ``sample``, ``subject``, ``target``.
    splits : DataFrame
        See :func:`metafusion.splits.split_samples`. Train and validation are not told apart.
    seeds : list of int
    folds : int
        Their number.
    unit, stratify, classes
        See :func:`metafusion.splits.split_samples`.

    Returns
    -------
    DataFrame
        ``sample`` and one column ``seed_{seed}``: the fold, counted from 0; missing where it is tested, or not used.

    Raises
    ------
    UserError
        Fewer units, or units of a class, than folds.
    """
    # Imported here: who reads folds need not wait for scikit-learn.
    from metafusion.splits import folds_of

    table = pd.DataFrame({"sample": splits["sample"]})
    rows = samples.set_index("sample").loc[splits["sample"]].reset_index()
    for seed in seeds:
        learnt = splits[f"seed_{seed}"].isin(["train", "validation"])
        dealt = pd.Series(pd.NA, index=rows.index, dtype="Int64")
        dealt[learnt] = folds_of(rows[learnt], folds, unit, stratify and classes, seed).astype("Int64")
        table[f"seed_{seed}"] = dealt
    return table


def seeds_of(folds: pd.DataFrame) -> list[int]:
    """Return the seeds of a table of folds."""
    return [int(column.removeprefix("seed_")) for column in folds.columns.drop("sample")]


def runs_of(seed: int, folds: int) -> list[int]:
    """Return the numbers of a seed's runs, which name their random streams; no other seed has one of them."""
    return [seed * folds + fold for fold in range(folds)]


def refit_of(seed: int) -> int:
    """Return the number of a seed's run that hides no fold; no fold's run of any seed has it."""
    return MOST_RUNS - 1 - seed


def is_refit(run: int, seeds: list[int]) -> bool:
    """Return whether a run is the one of a seed that hides no fold."""
    return run in map(refit_of, seeds)


def splits_of_runs(
    splits: pd.DataFrame, folds: pd.DataFrame, number: int, decides: bool, refit: bool = False
) -> pd.DataFrame:
    """Return the splits of all runs: ``sample`` and one column ``seed_{run}``.

    Parameters
    ----------
    splits, folds : DataFrame
        See :func:`draw_folds`.
    number : int
        Number of folds, 3 at least.
    decides : bool
        Whether the next fold is spared as a validation part. Otherwise the run's own fold stands in its place, so that
        its losses are known; nothing may depend on them.
    refit : bool
        Whether there is a run more, which learns from all that is not tested.
    """
    columns = {}
    for seed in seeds_of(folds):
        fold, part = folds[f"seed_{seed}"], splits[f"seed_{seed}"]
        for place, run in enumerate(runs_of(seed, number)):
            mine = pd.Series("train", index=splits.index, dtype="str")
            own, following = ((fold == one).fillna(False) for one in (place, (place + 1) % number))
            mine[following if decides else own] = "validation"
            mine[(part == "test").fillna(False)] = "test"
            if decides:
                mine[own] = "test"
            columns[f"seed_{run}"] = mine.where(part.notna())
        if refit:
            columns[f"seed_{refit_of(seed)}"] = part.replace("validation", "train")
    return pd.concat([splits[["sample"]], pd.DataFrame(columns)], axis=1)


def with_runs(
    splits: pd.DataFrame,
    seeds: list[int],
    folds: pd.DataFrame | None,
    number: int,
    decides: bool,
    refit: bool = False,
) -> tuple[pd.DataFrame, list[int]]:
    """Return the splits of all runs, and the runs, in place of splits and seeds; without folds these themselves."""
    if folds is None:
        return splits, seeds
    runs = [[*runs_of(seed, number), *([refit_of(seed)] if refit else [])] for seed in seeds_of(folds)]
    return splits_of_runs(splits, folds, number, decides, refit), list(chain.from_iterable(runs))


def fold_numbers(splits: pd.DataFrame, folds: pd.DataFrame, seed: int) -> np.ndarray:
    """Return the fold of each sample that a seed uses, -1 in the test part; in the order of :func:`parts_of`."""
    column = folds.set_index("sample")[f"seed_{seed}"]
    return column.loc[parts_of(splits, seed)["sample"]].fillna(-1).to_numpy(np.int64)


def pool_outputs(outputs: np.ndarray, fold: np.ndarray, task: Task) -> np.ndarray:
    """Put the outputs of a seed's runs together.

    Parameters
    ----------
    outputs : ndarray, shape (folds, ..., samples, outputs)
        Logits or predictions of each run.
    fold : ndarray of int, shape (samples,)
        -1 in the test part.
    task : 'classification' or 'regression'

    Returns
    -------
    ndarray, shape (..., samples, outputs)
        Of samples with a fold what the run says that they were hidden from; of the others the mean over runs, in
        classification of probabilities (and then their logarithms).
    """
    tested, pooled = fold < 0, np.empty(outputs.shape[1:], outputs.dtype)
    for place in range(len(outputs)):
        pooled[..., fold == place, :] = outputs[place][..., fold == place, :]
    answers = outputs[..., tested, :].astype(np.float64)
    if task == "classification":
        pooled[..., tested, :] = logsumexp(log_softmax(answers, axis=-1), axis=0) - np.log(len(outputs))
    else:
        pooled[..., tested, :] = answers.mean(axis=0)
    return pooled


def pool_answers(
    answers: dict[int, dict[str, np.ndarray]], splits: pd.DataFrame, folds: pd.DataFrame | None, number: int, task: Task
) -> dict[int, dict[str, np.ndarray]]:
    """Pool what methods answer in each run; without folds, nothing changes.

    Parameters
    ----------
    answers : dict of int to dict of str to ndarray, shape (samples, outputs)
        By run and method.
    splits, folds : DataFrame
        See :func:`draw_folds`.
    number : int
        Number of folds.
    task : 'classification' or 'regression'

    Returns
    -------
    dict of int to dict of str to ndarray, shape (samples, outputs)
        By seed and method, see :func:`pool_outputs`. A method that diverged in a run has no answer at all (NaN).
    """
    if folds is None:
        return answers
    pooled = {}
    for seed in seeds_of(folds):
        runs, fold = [answers[run] for run in runs_of(seed, number)], fold_numbers(splits, folds, seed)
        outputs = {method: np.stack([run[method] for run in runs]) for method in runs[0]}
        pooled[seed] = {
            method: np.full_like(each[0], np.nan) if np.isnan(each).any() else pool_outputs(each, fold, task)
            for method, each in outputs.items()
        }
    return pooled

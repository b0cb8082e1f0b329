"""Ensembles chosen on the validation part, and every method's score. Nothing else reads the test part's targets."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from metafusion import ensembles
from metafusion.cohort.stored import StoredSeed
from metafusion.config.models import Ensemble, Task
from metafusion.errors import UserError
from metafusion.methods import INDEPENDENT, STUDENT, family_of
from metafusion.metrics import measure
from metafusion.predictions import answers_of, long_predictions
from metafusion.samples import PARTS
from metafusion.targets import classes_of, numbers_of


def evaluate(
    samples: pd.DataFrame,
    seeds: Iterable[StoredSeed],
    comparators: list[pd.DataFrame],
    task: Task,
    metrics: list[str],
    settings: Ensemble,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Choose ensembles and score every method, for every seed of a block.

    Parameters
    ----------
    samples : DataFrame
        ``sample``, ``target``.
    seeds : iterable of StoredSeed
        The trained cohort of each seed.
    comparators : list of DataFrame
        Predictions of the other methods, see :func:`long_predictions`.
    task, metrics, settings
        As configured.

    Returns
    -------
    members : DataFrame
        ``seed``, ``method``, ``student``, ``weight``.
    predictions : DataFrame
        Of ensembles and comparators, see :func:`long_predictions`.
    scores : DataFrame
        Of ensembles, comparators and students, see :func:`score`.
    """
    classes = classes_of(samples, task)
    by_sample = samples.set_index("sample")
    members, predictions, scores = [], [], []
    for cohort in seeds:
        parts, seed = cohort.parts, cohort.seed
        targets = numbers_of(by_sample.loc[parts["sample"]], classes)
        rows = np.flatnonzero(parts["part"] == "validation")
        answers, chosen = ensemble_answers(
            cohort.predictions, cohort.seen, cohort.losses, cohort.chosen, rows, targets[rows], task, settings
        )
        for table in comparators:
            answers |= answers_of(table, seed, parts["sample"])
        _refuse_not_finite(answers, seed)
        students = student_answers(cohort.predictions, cohort.seen, cohort.chosen)
        members.append(chosen.assign(seed=seed)[["seed", "method", "student", "weight"]])
        predictions.append(long_predictions(answers, parts, classes, seed))
        scores.append(score(answers, targets, parts["part"], metrics, seed))
        # Students are many; their learning curves tell of the other parts.
        scores.append(score(students, targets, parts["part"], metrics, seed, only=("test",)))
    return tuple(pd.concat(tables, ignore_index=True) for tables in (members, predictions, scores))


def _refuse_not_finite(answers: dict[str, np.ndarray], seed: int) -> None:
    for method, outputs in answers.items():
        broken = int((~np.isfinite(outputs)).any(axis=1).sum())
        if broken:
            raise UserError(
                f"seed {seed}: {method} has no finite prediction for {broken} samples; look for extreme "
                "values among the features"
            )


def ensemble_answers(
    predictions: np.ndarray,
    seen: np.ndarray,
    losses: np.ndarray,
    chosen: int,
    validation: np.ndarray,
    validation_targets: np.ndarray,
    task: Task,
    settings: Ensemble,
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Choose the ensembles of the cohort and of the independent cohort, and let them answer for all samples.

    Parameters
    ----------
    predictions : ndarray, shape (penalties, students, samples, outputs)
    seen : ndarray of bool, shape (students, samples)
    losses : ndarray, shape (penalties, students)
        Best validation task losses.
    chosen : int
        Index of the chosen penalty. Index 0 is the independent cohort.
    validation : ndarray of int
        Rows of the validation part.
    validation_targets : ndarray, shape (validation samples,)
    task, settings
        As configured.

    Returns
    -------
    dict of str to ndarray, shape (samples, outputs)
        By method: ``meta_fusion``, ``best_single``, ``simple_average``, ``weighted_average``, and each again with
        ``independent_`` before it, selected anew on that cohort.
    DataFrame
        ``method``, ``student``, ``weight`` of every member.
    """
    answers, members = {}, []
    for prefix, index in (("", chosen), (INDEPENDENT, 0)):
        weights = ensembles.choose(
            predictions[index][:, validation], losses[index], seen[:, validation], validation_targets, task, settings
        )
        for kind, weight in weights.items():
            answers[prefix + kind] = ensembles.combine(predictions[index], weight, seen)
            chosen_students = np.flatnonzero(weight)
            members.append(
                pd.DataFrame({"method": prefix + kind, "student": chosen_students, "weight": weight[chosen_students]})
            )
    return answers, pd.concat(members, ignore_index=True)


def student_answers(predictions: np.ndarray, seen: np.ndarray, chosen: int) -> dict[str, np.ndarray]:
    """Return what each student answers: ``student_<number>`` at the chosen penalty, ``independent_student_<number>``.

    Samples of which a student sees nothing are NaN.
    """
    return {
        f"{prefix}{STUDENT}{number}": np.where(seen[number][:, None], predictions[index][number], np.nan)
        for prefix, index in (("", chosen), (INDEPENDENT, 0))
        for number in range(predictions.shape[1])
    }


def score(
    answers: dict[str, np.ndarray],
    targets: np.ndarray,
    parts: pd.Series,
    metrics: list[str],
    seed: int,
    only: tuple[str, ...] = PARTS,
) -> pd.DataFrame:
    """Score every method on every part.

    Parameters
    ----------
    answers : dict of str to ndarray, shape (samples, outputs)
        Rows that are NaN are left out (a student that sees nothing of the sample).
    targets : ndarray, shape (samples,)
    parts : Series of str, length samples
    metrics : list of str
    seed : int
    only : tuple of str
        The parts wanted.

    Returns
    -------
    DataFrame
        ``method``, ``family``, ``seed``, ``part``, ``metric``, ``value``.
    """
    rows = []
    for method, outputs in answers.items():
        known = ~np.isnan(outputs).any(axis=1)
        for part in only:
            here = (parts == part).to_numpy() & known
            for metric in metrics:
                value = measure(metric, outputs[here], targets[here]) if here.any() else float("nan")
                rows.append((method, family_of(method), seed, part, metric, value))
    return pd.DataFrame(rows, columns=["method", "family", "seed", "part", "metric", "value"])

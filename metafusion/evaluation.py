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

REMEDY = "lower cohort.learning_rate, or set 'scaling: standard' for the modalities"
"""What helps where training diverged."""


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
        answers, chosen = ensemble_answers(cohort, targets[_validation_of(cohort)], task, settings)
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
        # A comparator that diverged has no answer at all, and no score: the others still count.
        if broken and not np.isnan(outputs).all():
            raise UserError(
                f"seed {seed}: {method} has no finite prediction for {broken} samples; look for extreme "
                "values among the features"
            )


def ensemble_answers(
    cohort: StoredSeed, validation_targets: np.ndarray, task: Task, settings: Ensemble
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Choose the ensembles of the cohort and of the independent cohort, and let them answer for all samples.

    Students that diverged (their loss is infinite) have no part in it.

    Parameters
    ----------
    cohort : StoredSeed
        Index 0 of its penalties is the independent cohort.
    validation_targets : ndarray, shape (validation samples,)
    task, settings
        As configured.

    Returns
    -------
    dict of str to ndarray, shape (samples, outputs)
        By method: ``meta_fusion``, ``best_single``, ``simple_average``, ``weighted_average``, and each again with
        ``independent_`` before it, selected anew on that cohort; ``independent_meta_fusion`` with
        ``independent_list: reused`` has the members of ``meta_fusion``.
    DataFrame
        ``method``, ``student``, ``weight`` of every member.

    Raises
    ------
    UserError
        All students that see some sample diverged.
    """
    rows = _validation_of(cohort)
    answers, members, selected = {}, [], {}
    for prefix, index in (("", cohort.chosen), (INDEPENDENT, 0)):
        outputs, losses = cohort.predictions[index], cohort.losses[index]
        trained = np.isfinite(losses)
        seen = cohort.seen[trained]
        _refuse_unanswered(seen, cohort.seed)
        weights = ensembles.choose(
            outputs[trained][:, rows], losses[trained], seen[:, rows], validation_targets, task, settings
        )
        weights = {kind: _among_all(weight, trained) for kind, weight in weights.items()}
        if settings.independent_list == "reused" and index != cohort.chosen:
            weights["meta_fusion"] = _reused(selected["meta_fusion"], losses, cohort.seed)
        for kind, weight in weights.items():
            answers[prefix + kind] = ensembles.combine(outputs[trained], weight[trained], seen)
            chosen_students = np.flatnonzero(weight)
            members.append(
                pd.DataFrame({"method": prefix + kind, "student": chosen_students, "weight": weight[chosen_students]})
            )
        selected = weights
    return answers, pd.concat(members, ignore_index=True)


def _validation_of(cohort: StoredSeed) -> np.ndarray:
    return np.flatnonzero(cohort.parts["part"] == "validation")


def _among_all(weights: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Return the weights of some students with those of the others, 0, between them."""
    full = np.zeros(len(trained))
    full[trained] = weights
    return full


def _refuse_unanswered(seen: np.ndarray, seed: int) -> None:
    """Raise UserError where no student that can answer sees a sample; ``seen`` has shape (students, samples)."""
    mute = int((~seen.any(axis=0)).sum())
    if mute:
        which = "all students" if mute == seen.shape[1] else f"all students that see anything of {mute} samples"
        raise UserError(f"seed {seed}: {which} diverged, so that nobody can answer; {REMEDY}")


def _reused(selected: np.ndarray, losses: np.ndarray, seed: int) -> np.ndarray:
    if not np.isfinite(losses[selected > 0]).any():
        raise UserError(
            f"seed {seed}: all members of meta_fusion diverged in the independent cohort, so that their list cannot be "
            f"reused; set 'independent_list: selected', or {REMEDY}"
        )
    return ensembles.reweighted(selected, losses)


def student_answers(predictions: np.ndarray, seen: np.ndarray, chosen: int) -> dict[str, np.ndarray]:
    """Return what each student answers: ``student_<number>`` at the chosen penalty, ``independent_student_<number>``.

    Samples of which a student sees nothing are NaN, and so are all of a student that diverged.
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
        Rows that are NaN are left out (a student that sees nothing of the sample, or diverged).
    targets : ndarray, shape (samples,)
    parts : Series of str, length samples
    metrics : list of str
    seed : int
    only : tuple of str
        The parts wanted.

    Returns
    -------
    DataFrame
        ``method``, ``family``, ``seed``, ``part``, ``metric``, ``value`` (NaN where no row is left).
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

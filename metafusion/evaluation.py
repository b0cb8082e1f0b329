"""Ensembles chosen on the validation part, and every method's score. Nothing else reads the test part's targets."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

from metafusion import ensembles
from metafusion.calibration import calibrate, cross_entropies
from metafusion.cohort.stored import StoredSeed
from metafusion.config.models import Ensemble, Task
from metafusion.errors import UserError
from metafusion.methods import INDEPENDENT, STUDENT, family_of
from metafusion.metrics import measure_all
from metafusion.predictions import answers_of, long_predictions
from metafusion.samples import PARTS
from metafusion.subgroups import levels_of
from metafusion.targets import classes_of, numbers_of, positive_number
from metafusion.thresholds import with_thresholds

REUSED = "meta_fusion_reused"
"""The greedy ensemble with the members of the chosen penalty's."""
DRAWS = 20
"""Random sets of students of each size, for the error against their number."""
COMPARED = ("meta_fusion", "best_single", "simple_average")
"""Ensembles whose error against the number of students is told."""


def evaluate(
    samples: pd.DataFrame,
    seeds: Iterable[StoredSeed],
    comparators: list[pd.DataFrame],
    task: Task,
    metrics: list[str],
    settings: Ensemble,
    positive: str | None = None,
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
    task, metrics, settings, positive
        As configured.

    Returns
    -------
    members : DataFrame
        ``seed``, ``method``, ``student``, ``weight``.
    predictions : DataFrame
        Of ensembles and comparators, see :func:`long_predictions`. With ``thresholds``, ``meta_fusion_thresholds``
        is Meta Fusion with other decisions, see :func:`metafusion.thresholds.with_thresholds`.
    scores : DataFrame
        Of ensembles, comparators and students, see :func:`score`.
    """
    classes = classes_of(samples, task)
    number = positive_number(classes, positive)
    members, predictions, scores = [], [], []
    for cohort in seeds:
        parts, seed = cohort.parts, cohort.seed
        targets = _targets_of(samples, cohort, classes)
        answers, chosen = ensemble_answers(cohort, targets[cohort.validation], task, settings)
        if settings.thresholds != "none":
            known = (parts["part"] == "validation").to_numpy()
            for name in ("meta_fusion", f"{INDEPENDENT}meta_fusion"):
                decided = with_thresholds(answers[name], targets, known, cohort.fold)
                answers[f"{name}_thresholds"] = decided
        for table in comparators:
            answers |= answers_of(table, seed, parts["sample"])
        _refuse_not_finite(answers, seed)
        students = student_answers(cohort.predictions, cohort.seen, cohort.chosen)
        members.append(chosen.assign(seed=seed)[["seed", "method", "student", "weight"]])
        predictions.append(long_predictions(answers, parts, classes, seed))
        scores.append(score(answers, targets, parts["part"], metrics, seed, number))
        # Students are many; their learning curves tell of the other parts.
        scores.append(score(students, targets, parts["part"], metrics, seed, number, only=("test",)))
    return tuple(pd.concat(tables, ignore_index=True) for tables in (members, predictions, scores))


def calibrated(
    samples: pd.DataFrame, seeds: Iterable[StoredSeed], task: Task, settings: Ensemble
) -> Iterator[StoredSeed]:
    """Calibrate the students of each seed on the samples that choose, if that is wanted.

    Parameters
    ----------
    samples, seeds, task, settings
        See :func:`evaluate`.

    Yields
    ------
    StoredSeed
        With other predictions, and the losses that belong to them.
    """
    classes = classes_of(samples, task)
    for cohort in seeds:
        if settings.calibration == "none":
            yield cohort
            continue
        targets, rows = _targets_of(samples, cohort, classes), cohort.validation
        known = (cohort.parts["part"] == "validation").to_numpy()
        outputs = calibrate(cohort.predictions, cohort.seen, targets, known, cohort.fold)
        losses = cross_entropies(outputs[:, :, rows], cohort.seen[:, rows], targets[rows])
        yield replace(cohort, predictions=outputs, losses=np.where(np.isinf(cohort.losses), np.inf, losses))


def _refuse_not_finite(answers: dict[str, np.ndarray], seed: int) -> None:
    for method, outputs in answers.items():
        broken = int((~np.isfinite(outputs)).any(axis=1).sum())
        # A comparator that diverged has no answer at all, and no score: the others still count.
        if broken and not np.isnan(outputs).all():
            raise UserError(
                f"seed {seed}: {method} has no finite prediction for {broken} samples; look for extreme "
                "values among the features"
            )


def by_penalty(
    samples: pd.DataFrame,
    seeds: Iterable[StoredSeed],
    task: Task,
    metrics: list[str],
    settings: Ensemble,
    positive: str | None = None,
) -> pd.DataFrame:
    """Score ensembles and students at every penalty, not the chosen one alone.

    Parameters
    ----------
    samples, seeds, task, metrics, settings, positive
        See :func:`evaluate`.

    Returns
    -------
    DataFrame
        ``seed``, ``penalty``, ``method``, ``part`` (``test``), ``metric``, ``value``. Methods are those of
        :func:`metafusion.ensembles.choose`, chosen on the validation part at that penalty, and ``student_<number>``.
        NaN for a student that diverged; ensembles are those of the others, scored on the samples that these see, and
        none where all diverged.
    """
    classes = classes_of(samples, task)
    number = positive_number(classes, positive)
    tables = []
    for cohort in seeds:
        targets = _targets_of(samples, cohort, classes)
        for index, penalty in enumerate(cohort.penalties):
            trained = np.flatnonzero(np.isfinite(cohort.losses[index]))
            answers = _each_student(cohort.predictions[index], cohort.seen)
            if len(trained):
                known = targets[cohort.validation]
                answers |= _chosen_among(trained, cohort, index, known, task, settings)[0]
            table = score(answers, targets, cohort.parts["part"], metrics, cohort.seed, number, only=("test",))
            tables.append(table.assign(penalty=penalty))
    columns = ["seed", "penalty", "method", "part", "metric", "value"]
    return pd.concat(tables, ignore_index=True)[columns]


def by_subgroup(
    samples: pd.DataFrame,
    people: pd.DataFrame,
    predictions: pd.DataFrame,
    task: Task,
    metrics: list[str],
    subgroups: Mapping[str, Sequence[float] | None],
    positive: str | None = None,
) -> pd.DataFrame:
    """Score ensembles and comparators in groups of people, on the test part. Students are left out: they are many.

    Parameters
    ----------
    samples : DataFrame
        ``sample``, ``subject``, ``target``.
    people : DataFrame
        ``sample``, then what is known of them.
    predictions : DataFrame
        See :func:`evaluate`.
    task, metrics, subgroups, positive
        As configured.

    Returns
    -------
    DataFrame
        ``seed``, ``column``, ``level``, ``method``, ``metric``, ``value``, and of how many ``samples`` and
        ``subjects``: those that the method answers for. A row for every level in every seed; values are NaN where they
        cannot be measured.

    Raises
    ------
    UserError
        See :func:`metafusion.subgroups.levels_of` and :func:`metafusion.targets.positive_number`.
    """
    classes = classes_of(samples, task)
    number = positive_number(classes, positive)
    levels = levels_of(samples, people, subgroups)
    indexed = samples.set_index("sample")
    outputs = predictions.columns[4:]
    tested = predictions[(predictions["part"] == "test") & predictions[outputs].notna().all(axis=1)]
    rows = []
    for (seed, method), table in tested.groupby(["seed", "method"], sort=False):
        here = indexed.loc[table["sample"]]
        targets, answers = numbers_of(here, classes), table[outputs].to_numpy()
        for column, of_all in levels.items():
            of_these = of_all.loc[table["sample"]].to_numpy()
            for level in of_all.cat.categories:
                inside = of_these == level
                values = measure_all(metrics, answers[inside], targets[inside], number)
                counts = int(inside.sum()), here["subject"][inside].nunique()
                rows += [(seed, column, level, method, metric, value, *counts) for metric, value in values.items()]
    columns = ["seed", "column", "level", "method", "metric", "value", "samples", "subjects"]
    kinds = dict.fromkeys(["column", "level", "method", "metric"], "str") | dict.fromkeys(
        ["seed", "samples", "subjects"], "int64"
    )
    return pd.DataFrame(rows, columns=columns).astype(kinds | {"value": "float64"})


def by_students(
    samples: pd.DataFrame,
    seeds: Iterable[StoredSeed],
    task: Task,
    metric: str,
    settings: Ensemble,
    positive: str | None = None,
) -> pd.DataFrame:
    """Score ensembles of fewer students, at the chosen penalty: what does a larger cohort bring?

    The students are not trained anew: what the others taught them, they have learnt. Numbers are 1, 2, 4, 8, ... and
    all that did not diverge. Of each number there are 20 sets, drawn at random, or every set where there are no more.

    Parameters
    ----------
    samples, seeds, task, settings, positive
        See :func:`evaluate`.
    metric : str

    Returns
    -------
    DataFrame
        ``seed``, ``students`` (their number), ``draw`` (number of the set, from 0), ``method`` (``meta_fusion``,
        ``best_single``, ``simple_average``, chosen on the validation part within the set), ``metric``, ``value`` on the
        samples of the test part of which one of the set sees something; NaN where there are none.
    """
    classes = classes_of(samples, task)
    positive_class = positive_number(classes, positive)
    # One share of all students each: hundreds of sets are chosen from, and only their comparison counts.
    one_share = {"bags": 1, "bag_share": 1.0, "shrinkage": settings.shrinkage[:1]}
    quick = settings.model_copy(update=one_share) if settings.selection == "bagged" else settings
    # Not among those told of.
    quick = quick.model_copy(update={"stacked_average": False})
    rows = []
    for cohort in seeds:
        targets = _targets_of(samples, cohort, classes)
        tested = (cohort.parts["part"] == "test").to_numpy()
        trained = np.flatnonzero(np.isfinite(cohort.losses[cohort.chosen]))
        for number, draw, students in _some_sets(trained, cohort.seed):
            answers, _ = _chosen_among(
                students, cohort, cohort.chosen, targets[cohort.validation], task, quick, only=COMPARED
            )
            for method, outputs in answers.items():
                value = _measured(outputs, targets, tested, [metric], positive_class)[metric]
                rows.append((cohort.seed, number, draw, method, metric, value))
    return pd.DataFrame(rows, columns=["seed", "students", "draw", "method", "metric", "value"])


def _some_sets(students: np.ndarray, seed: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield sets of students: their size, their number among those of that size, their members in ascending order."""
    sizes = [2**power for power in range(len(students).bit_length()) if 2**power < len(students)]
    for size in [*sizes, len(students)]:
        if comb(len(students), size) <= DRAWS:
            sets = [np.array(members) for members in combinations(students, size)]
        else:
            # A stream for each size: more students do not change the sets of few.
            random = np.random.default_rng([seed, size])
            sets = [np.sort(random.choice(students, size, replace=False)) for _ in range(DRAWS)]
        yield from ((size, draw, members) for draw, members in enumerate(sets))


def _targets_of(samples: pd.DataFrame, cohort: StoredSeed, classes: list[str]) -> np.ndarray:
    return numbers_of(samples.set_index("sample").loc[cohort.parts["sample"]], classes)


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
        By method: those of :func:`metafusion.ensembles.choose`, and each again with ``independent_`` before it,
        selected anew on that cohort; then ``independent_meta_fusion_reused``, the independent cohort with the members
        of ``meta_fusion`` (NaN where all of them diverged there). With ``independent_list: reused`` that is
        ``independent_meta_fusion`` itself.
    DataFrame
        ``method``, ``student``, ``weight`` of every member.

    Raises
    ------
    UserError
        All students that see some sample diverged.
    """
    answers, weights = {}, {}
    for prefix, index in (("", cohort.chosen), (INDEPENDENT, 0)):
        students = np.flatnonzero(ensembles.answering(cohort.losses[index], cohort.seen, cohort.seed))
        said, chosen = _chosen_among(students, cohort, index, validation_targets, task, settings)
        answers |= {prefix + kind: outputs for kind, outputs in said.items()}
        weights |= {prefix + kind: weight for kind, weight in chosen.items()}
    reused = INDEPENDENT + ("meta_fusion" if settings.independent_list == "reused" else REUSED)
    answers[reused], weights[reused] = _reused(weights["meta_fusion"], cohort, settings)
    members = [
        pd.DataFrame({"method": method, "student": np.flatnonzero(weight), "weight": weight[weight > 0]})
        for method, weight in weights.items()
    ]
    return answers, pd.concat(members, ignore_index=True)


def _chosen_among(
    students: np.ndarray,
    cohort: StoredSeed,
    index: int,
    validation_targets: np.ndarray,
    task: Task,
    settings: Ensemble,
    only: tuple[str, ...] = (),
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Choose ensembles among some students at a penalty's index; none of them may have diverged.

    Returns
    -------
    dict of str to ndarray, shape (samples, outputs)
        What each ensemble, or each of ``only``, says; NaN for samples of which none of the students sees anything.
    dict of str to ndarray, shape (all students,)
        Their weights.
    """
    outputs, losses, seen = cohort.predictions[index, students], cohort.losses[index, students], cohort.seen[students]
    heard = seen.any(axis=0)
    validation = cohort.validation
    rows, targets = validation[heard[validation]], validation_targets[heard[validation]]
    fold = None if cohort.fold is None else cohort.fold[rows]
    chosen = ensembles.choose(
        outputs[:, rows], losses, seen[:, rows], targets, task, settings, random_state=cohort.seed, fold=fold
    )
    answers, weights = {}, {}
    for kind in only or chosen:
        answers[kind] = np.full(outputs.shape[1:], np.nan)
        said = ensembles.answer(kind, outputs[:, heard], chosen[kind], seen[:, heard], settings.average)
        answers[kind][heard] = said
        weights[kind] = np.zeros(len(cohort.seen))
        weights[kind][students] = chosen[kind]
    return answers, weights


def _reused(members: np.ndarray, cohort: StoredSeed, settings: Ensemble) -> tuple[np.ndarray, np.ndarray]:
    """Let the members of an ensemble answer as they do in the independent cohort; return answers and weights."""
    outputs, losses = cohort.predictions[0], cohort.losses[0]
    if not np.isfinite(losses[members > 0]).any():
        if settings.independent_list == "reused":
            raise UserError(
                f"seed {cohort.seed}: all members of meta_fusion diverged in the independent cohort, so that their "
                f"list cannot be reused; set 'independent_list: selected', or {ensembles.REMEDY}"
            )
        return np.full(outputs.shape[1:], np.nan), np.zeros(len(members))
    weights = ensembles.reweighted(members, losses, settings.selection)
    trained = np.isfinite(losses)
    said = ensembles.combine(outputs[trained], weights[trained], cohort.seen[trained], settings.average)
    return said, weights


def student_answers(predictions: np.ndarray, seen: np.ndarray, chosen: int) -> dict[str, np.ndarray]:
    """Return what each student answers: ``student_<number>`` at the chosen penalty, ``independent_student_<number>``.

    Samples of which a student sees nothing are NaN, and so are all of a student that diverged.
    """
    return {
        prefix + student: outputs
        for prefix, index in (("", chosen), (INDEPENDENT, 0))
        for student, outputs in _each_student(predictions[index], seen).items()
    }


def _each_student(predictions: np.ndarray, seen: np.ndarray) -> dict[str, np.ndarray]:
    """Return what each student answers at one penalty; ``predictions`` of shape (students, samples, outputs)."""
    return {
        f"{STUDENT}{number}": np.where(seen[number][:, None], outputs, np.nan)
        for number, outputs in enumerate(predictions)
    }


def score(
    answers: dict[str, np.ndarray],
    targets: np.ndarray,
    parts: pd.Series,
    metrics: list[str],
    seed: int,
    positive: int | None = None,
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
    positive : int, optional
        The number of the class that is asked for, see :func:`metafusion.metrics.measure_all`.
    only : tuple of str
        The parts wanted.

    Returns
    -------
    DataFrame
        ``method``, ``family``, ``seed``, ``part``, ``metric``, ``value`` (NaN where no row is left).
    """
    rows = []
    inside = {part: (parts == part).to_numpy() for part in only}
    for method, outputs in answers.items():
        for part in only:
            values = _measured(outputs, targets, inside[part], metrics, positive)
            rows += [(method, family_of(method), seed, part, metric, value) for metric, value in values.items()]
    return pd.DataFrame(rows, columns=["method", "family", "seed", "part", "metric", "value"])


def _measured(
    outputs: np.ndarray, targets: np.ndarray, inside: np.ndarray, metrics: list[str], positive: int | None
) -> dict[str, float]:
    """Measure what a method says of some samples, those aside of which it says nothing (NaN)."""
    here = inside & ~np.isnan(outputs).any(axis=1)
    return measure_all(metrics, outputs[here], targets[here], positive)

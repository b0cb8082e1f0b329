"""Plain models in their strongest ordinary form: tuned by cross-validation over all that is not tested, all alike.

Every model tries :data:`BUDGET` candidates on the same folds, by whole subjects where these are split, and the best of
them learns once more on everything that is not tested.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import log_softmax
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from metafusion import ensembles
from metafusion.comparators.probabilities import log_probabilities
from metafusion.config.fronts import Front
from metafusion.config.models import Representations, Task
from metafusion.cross_fitting import fold_numbers
from metafusion.parts import parts_of
from metafusion.representations import latents
from metafusion.targets import classes_of, numbers_of, without_test

BUDGET = 12
"""Candidates of every model, the super learner among them."""

STRENGTHS = np.logspace(-5, 2, BUDGET)
"""Of linear models and of the super learner: ``C``, or 1 / ``alpha``, from the strongest penalty to the weakest."""

MIXTURES = [(ratio, penalty) for ratio in (0.2, 0.8) for penalty in np.logspace(-0.5, -3, BUDGET // 2)]
"""Of elastic nets: the share of the absolute values in the penalty, and the penalty for a mean loss of z-scores."""

TREES = [(leaves, number) for leaves in (3, 8) for number in (5, 10, 20, 40, 80, 160)]
"""Of gradient boosting: leaves a tree, and number of trees."""

LEARNING_RATE = 0.1
"""Of gradient boosting."""

Fit = Callable[[np.ndarray, np.ndarray, np.ndarray, list[int]], np.ndarray]
"""Learns from features and targets; answers for other features, shape (candidates wanted, samples, outputs)."""
Features = Callable[[str, pd.Series], tuple[np.ndarray, np.ndarray, list[str]]]


@dataclass(frozen=True)
class Raw:
    """What the models of one seed learn from: features as they are, because each fold prepares them by itself.

    Attributes
    ----------
    columns : dict of modality to ndarray of float32, shape (samples, columns)
        NaN where missing.
    present : dict of modality to ndarray of bool, shape (samples,)
    names : dict of modality to list of str
        Names of the columns.
    targets : ndarray, shape (samples,)
        Class numbers or numbers; 0 in the test part.
    fold : ndarray of int, shape (samples,)
        -1 in the test part.
    outputs : int
        Number of classes, or 1.
    """

    columns: Mapping[str, np.ndarray]
    present: Mapping[str, np.ndarray]
    names: Mapping[str, list[str]]
    targets: np.ndarray
    fold: np.ndarray
    outputs: int

    @property
    def learnt(self) -> np.ndarray:
        """Which samples are not tested, shape (samples,)."""
        return self.fold >= 0


def collect(
    samples: pd.DataFrame,
    splits: pd.DataFrame,
    folds: pd.DataFrame,
    features: Features,
    modalities: list[str],
    seed: int,
    task: Task,
) -> Raw:
    """Collect what one seed's models learn from; the test part's targets are not in it.

    Parameters
    ----------
    samples : DataFrame
        ``sample``, ``target``.
    splits, folds : DataFrame
        See :func:`metafusion.cross_fitting.draw_folds`.
    features : callable
        Maps a modality and samples to (values, present, column names); see metafusion.samples.feature_matrix.
    """
    parts, classes = parts_of(splits, seed), classes_of(samples, task)
    targets = numbers_of(samples.set_index("sample").loc[parts["sample"]], classes)
    found = {name: features(name, parts["sample"]) for name in modalities}
    values, present, names = ({name: each[place] for name, each in found.items()} for place in range(3))
    fold = fold_numbers(splits, folds, seed)
    return Raw(values, present, names, without_test(targets, parts["part"]), fold, len(classes) or 1)


def train(raw: Raw, before: Mapping[str, Front], task: Task, seed: int) -> dict[str, np.ndarray]:
    """Tune all models of one seed.

    Columns are prepared as ``raw`` is for students (median for gaps, ``before``, z-scores), but fitted on what a model
    learns from: on the other folds while it is tuned, in the end on all that is not tested. A sample that lacks a
    modality has its mean to linear models, and missing values to trees. Models of one modality learn from the samples
    that have it.

    Parameters
    ----------
    raw : Raw
    before : dict of str to Front
        What is made of each modality's columns before they are scaled.
    task : 'classification' or 'regression'
    seed : int
        Of the solver of elastic nets and of the trees.

    Returns
    -------
    dict of str to ndarray, shape (samples, outputs)
        ``tuned_logistic_regression`` or ``tuned_ridge_regression``, the same with ``_<modality>``,
        ``tuned_elastic_net``, ``tuned_boosting``, ``tuned_late_fusion`` (mean of the linear models of the modalities
        that a sample has, of their probabilities) and ``super_learner`` (logistic regression on the log probabilities
        of all but late fusion, or ridge regression with weights that are not negative). Log probabilities or
        predictions: out of fold, or in the test part those of the model that learnt from all folds.

    Raises
    ------
    UserError
        A modality of which a fold leaves fewer than two samples to learn from, or no column that varies;
        or a column that leaves the numbers after scaling.

    References
    ----------
    Zou, Hastie 2005 (elastic net); van der Laan, Polley, Hubbard 2007 (super learner); Breiman 1996 (stacking).
    """
    modalities, classes = list(raw.columns), raw.outputs
    everything = np.ones(len(raw.fold), dtype=bool)
    views = views_by_fold(raw, before, seed)
    if task == "classification":
        linear, name = partial(_logistic, classes=classes), "tuned_logistic_regression"
        elastic = partial(_elastic_classes, classes=classes, seed=seed)
        trees = partial(_trees_of_classes, classes=classes, seed=seed)
    else:
        linear, name, elastic, trees = _ridge, "tuned_ridge_regression", _elastic_numbers, partial(_trees, seed=seed)

    def tuned(fit: Fit, used: list[str], seen: np.ndarray, gaps: bool = False) -> np.ndarray:
        return tune(fit, joined(views, raw, used, gaps), raw, seen, task)

    answers = {f"{name}_{modality}": tuned(linear, [modality], raw.present[modality]) for modality in modalities}
    single = np.stack(list(answers.values()))
    if len(modalities) > 1:
        answers[name] = tuned(linear, modalities, everything)
    answers["tuned_elastic_net"] = tuned(elastic, modalities, everything)
    answers["tuned_boosting"] = tuned(trees, modalities, everything, gaps=True)
    super_learner = _super_learner(np.stack(list(answers.values())), raw, task)
    if len(modalities) > 1:
        answers["tuned_late_fusion"] = _late_fusion(single, np.stack(list(raw.present.values())), task)
    return answers | {"super_learner": super_learner}


def fits(folds: int) -> int:
    """Return how often each model is fitted for a seed: every candidate on every fold, and the best one on all."""
    return BUDGET * folds + 1


def views_by_fold(raw: Raw, before: Mapping[str, Front], seed: int) -> dict[int | None, dict[str, np.ndarray]]:
    """Prepare all samples' columns for each fold on the others, and (None) on all that is not tested; by modality."""
    return {place: _views(raw, before, place, seed) for place in [*range(raw.fold.max() + 1), None]}


def _views(raw: Raw, before: Mapping[str, Front], place: int | None, seed: int) -> dict[str, np.ndarray]:
    """Return all samples' columns as prepared on the samples of all folds but one, by modality."""
    learning = raw.learnt & (raw.fold != place)
    views = {}
    for name, values in raw.columns.items():
        where = f"modality {name!r}, seed {seed}" + ("" if place is None else f", without fold {place}")
        choice = Representations(sizes=["raw"], before=before[name])
        found, _ = latents(values, raw.present[name], learning, choice, where, raw.names[name])
        views[name] = found["raw"].astype(np.float64)
    return views


def joined(
    views: Mapping[int | None, Mapping[str, np.ndarray]], raw: Raw, used: list[str], gaps: bool = False
) -> dict[int | None, np.ndarray]:
    """Put the columns of modalities side by side, for each fold; ``gaps``: missing where a modality is absent."""
    if not gaps:
        return {place: np.hstack([view[name] for name in used]) for place, view in views.items()}
    return {
        place: np.hstack([np.where(raw.present[name][:, None], view[name], np.nan) for name in used])
        for place, view in views.items()
    }


def tune(fit: Fit, features: Mapping[int | None, np.ndarray], raw: Raw, seen: np.ndarray, task: Task) -> np.ndarray:
    """Choose the candidate with the smallest loss out of fold, and answer for all samples.

    Parameters
    ----------
    features : dict of fold, or None for all folds, to ndarray, shape (samples, columns)
        As prepared without this fold.
    seen : ndarray of bool, shape (samples,)
        Which samples a model may learn from and is judged by.
    """
    answers = np.empty((BUDGET, len(raw.fold), raw.outputs))
    judged = raw.learnt & seen
    for place, columns in features.items():
        if place is None:
            continue
        rows, held = judged & (raw.fold != place), raw.fold == place
        answers[:, held] = fit(columns[rows], raw.targets[rows], columns[held], list(range(BUDGET)))
    losses = [ensembles.task_loss(each[judged], raw.targets[judged], task) for each in answers]
    best = int(np.argmin(losses))
    answer = answers[best]
    tested, columns = ~raw.learnt, features[None]
    if tested.any():
        answer[tested] = fit(columns[judged], raw.targets[judged], columns[tested], [best])[0]
    return answer


def _super_learner(answers: np.ndarray, raw: Raw, task: Task) -> np.ndarray:
    """Stack the models' answers, shape (models, samples, outputs), which are out of fold where there are folds."""
    if task == "classification":
        # A probability of 0 must not drown the others.
        columns = np.maximum(log_softmax(answers, axis=-1), np.log(1e-3))
        columns = columns - columns.mean(axis=-1, keepdims=True)
        # The last class follows from the others.
        columns = np.hstack(list(columns[..., :-1]))
        fit = partial(_logistic, classes=raw.outputs)
    else:
        columns, fit = answers[..., 0].T, partial(_ridge, positive=True)
    prepared = {}
    for place in [*range(raw.fold.max() + 1), None]:
        learning = raw.learnt & (raw.fold != place)
        scale = columns[learning].std() or 1.0
        prepared[place] = (columns - columns[learning].mean(axis=0)) / scale
    return tune(fit, prepared, raw, np.ones(len(raw.fold), dtype=bool), task)


def _late_fusion(single: np.ndarray, present: np.ndarray, task: Task) -> np.ndarray:
    equal = np.ones(len(single))
    if task == "regression":
        return ensembles.combine(single, equal, present)
    probabilities = np.exp(log_softmax(single, axis=-1))
    return np.log(ensembles.combine(probabilities, equal, present))


def _logistic(
    features: np.ndarray, targets: np.ndarray, asked: np.ndarray, wanted: list[int], *, classes: int
) -> np.ndarray:
    model = LogisticRegression(max_iter=5000, warm_start=True)
    return _of_classes(model, [{"C": STRENGTHS[one]} for one in wanted], features, targets, asked, classes)


def _elastic_classes(
    features: np.ndarray, targets: np.ndarray, asked: np.ndarray, wanted: list[int], *, classes: int, seed: int
) -> np.ndarray:
    model = LogisticRegression(solver="saga", max_iter=1000, tol=1e-3, warm_start=True, random_state=seed)
    chosen = [MIXTURES[one] for one in wanted]
    settings = [{"l1_ratio": ratio, "C": 1 / (penalty * len(features))} for ratio, penalty in chosen]
    return _of_classes(model, settings, features, targets, asked, classes)


def _of_classes(
    model: LogisticRegression,
    settings: list[dict[str, float]],
    features: np.ndarray,
    targets: np.ndarray,
    asked: np.ndarray,
    classes: int,
) -> np.ndarray:
    known = np.unique(targets)
    if len(known) < 2:
        return np.stack([log_probabilities(np.ones((len(asked), 1)), known, classes)] * len(settings))
    # One after the other, each from where the one before came to.
    return np.stack(
        [
            log_probabilities(model.set_params(**one).fit(features, targets).predict_proba(asked), known, classes)
            for one in settings
        ]
    )


def _ridge(
    features: np.ndarray, targets: np.ndarray, asked: np.ndarray, wanted: list[int], *, positive: bool = False
) -> np.ndarray:
    models = [Ridge(alpha=1 / STRENGTHS[one], positive=positive) for one in wanted]
    return np.stack([model.fit(features, targets).predict(asked)[:, None] for model in models])


def _elastic_numbers(features: np.ndarray, targets: np.ndarray, asked: np.ndarray, wanted: list[int]) -> np.ndarray:
    # In z-scores of the target, so that penalties mean the same for every unit.
    unit = StandardScaler().fit(targets[:, None])
    known, model = unit.transform(targets[:, None])[:, 0], ElasticNet(max_iter=5000, warm_start=True)
    answers = []
    for one in wanted:
        ratio, penalty = MIXTURES[one]
        model.set_params(l1_ratio=ratio, alpha=penalty).fit(features, known)
        answers.append(unit.inverse_transform(model.predict(asked)[:, None]))
    return np.stack(answers)


def _trees_of_classes(
    features: np.ndarray, targets: np.ndarray, asked: np.ndarray, wanted: list[int], *, classes: int, seed: int
) -> np.ndarray:
    known = np.unique(targets)
    if len(known) < 2:
        return np.stack([log_probabilities(np.ones((len(asked), 1)), known, classes)] * len(wanted))
    staged = _stages(HistGradientBoostingClassifier, "staged_predict_proba", features, targets, asked, wanted, seed)
    return np.stack([log_probabilities(each, known, classes) for each in staged])


def _trees(features: np.ndarray, targets: np.ndarray, asked: np.ndarray, wanted: list[int], *, seed: int) -> np.ndarray:
    staged = _stages(HistGradientBoostingRegressor, "staged_predict", features, targets, asked, wanted, seed)
    return np.stack(staged)[..., None]


def _stages(
    kind: type,
    method: str,
    features: np.ndarray,
    targets: np.ndarray,
    asked: np.ndarray,
    wanted: list[int],
    seed: int,
) -> list[np.ndarray]:
    """Return what the candidates wanted answer; those with the same leaves are stages of one model."""
    chosen = [TREES[one] for one in wanted]
    answers = {}
    for leaves in dict.fromkeys(leaves for leaves, _ in chosen):
        numbers = [number for own, number in chosen if own == leaves]
        # Early stopping would draw a validation part of its own.
        model = kind(
            learning_rate=LEARNING_RATE,
            max_iter=max(numbers),
            max_leaf_nodes=leaves,
            early_stopping=False,
            random_state=seed,
        ).fit(features, targets)
        staged = enumerate(getattr(model, method)(asked), start=1)
        answers |= {(leaves, number): each for number, each in staged if number in numbers}
    return [answers[one] for one in chosen]

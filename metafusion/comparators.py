"""What people use today, on the same splits: single modalities, early and late fusion, linear models."""

import numpy as np
from scipy.special import log_softmax
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from metafusion import ensembles
from metafusion.cohort import packed
from metafusion.cohort.loop import Data
from metafusion.cohort.students import only
from metafusion.config.models import Cohort, Task

STRENGTHS = np.logspace(-4, 2, 13)
"""Grid of the inverse strength of the linear comparators' penalty; the validation part chooses."""


def networks(data: Data, modalities: list[str], settings: Cohort, task: Task, seed: int) -> dict[str, np.ndarray]:
    """Train the students' network alone on raw features: each modality, and all of them (early fusion); fuse late.

    Budget, initial weights and mini-batches are those of an independent student, so that early fusion *is* the student
    that sees everything raw, trained alone.

    Returns
    -------
    dict of str to ndarray, shape (samples, outputs)
        ``modality_<name>``, ``early_fusion``, ``late_fusion`` (mean of probabilities, returned as their logarithm; mean
        of predictions in regression) and, in regression, ``late_fusion_stacked`` (least squares on the validation
        part). A sample without the modality gets the prior of the training part.
    """
    students = [only([name], modalities) for name in modalities]
    if len(modalities) > 1:
        students.append(only(modalities, modalities))
    alone = settings.model_copy(update={"penalties": [0.0]})
    trained = packed.train({seed: data}, students, alone, task)[seed]
    outputs, seen = trained.predictions[0], trained.seen
    fallback = _prior(data, task)
    answers = {
        f"modality_{name}": np.where(seen[i][:, None], outputs[i], fallback) for i, name in enumerate(modalities)
    }
    if len(modalities) == 1:
        return answers
    answers["early_fusion"] = outputs[-1]
    single, single_seen = outputs[:-1], seen[:-1]
    equal = np.full(len(modalities), 1 / len(modalities))
    if task == "classification":
        probabilities = np.exp(log_softmax(single.astype(np.float64), axis=-1))
        answers["late_fusion"] = np.log(ensembles.combine(probabilities, equal, single_seen))
    else:
        answers["late_fusion"] = ensembles.combine(single, equal, single_seen)
        columns = np.stack([answers[f"modality_{name}"][:, 0] for name in modalities], axis=1)
        rows = data.validation.numpy()
        stack = LinearRegression().fit(columns[rows], data.targets.numpy()[rows, 0])
        answers["late_fusion_stacked"] = stack.predict(columns)[:, None]
    return answers


def linear(data: Data, modalities: list[str], task: Task) -> dict[str, np.ndarray]:
    """Fit logistic or ridge regression on raw features: all of them, and each modality; and the prior.

    The strength of the penalty is chosen from :data:`STRENGTHS` by the validation loss, as the networks choose their
    epoch.

    Returns
    -------
    dict of str to ndarray, shape (samples, outputs)
        ``logistic_regression`` or ``ridge_regression``, the same with ``_<modality>``, and ``prior``. A sample without
        the modality gets the prior of the training part.
    """
    name = "logistic_regression" if task == "classification" else "ridge_regression"
    fallback = _prior(data, task)
    samples = len(next(iter(data.present.values())))
    answers = {"prior": np.tile(fallback, (samples, 1))}
    views = {f"{name}_{modality}": [modality] for modality in modalities}
    if len(modalities) > 1:
        views[name] = modalities
    for method, used in views.items():
        student = only(used, modalities)
        seen = data.seen_by(student).numpy()
        answers[method] = np.where(
            seen[:, None], _best_linear(data.input_of(student).numpy(), seen, data, task), fallback
        )
    return answers


def _best_linear(features: np.ndarray, seen: np.ndarray, data: Data, task: Task) -> np.ndarray:
    features = features.astype(np.float64)
    targets = _flat_targets(data)
    training, validation = (rows[seen[rows]] for rows in (data.training.numpy(), data.validation.numpy()))
    if task == "classification":
        candidates = _logistic(features, targets, training, data.outputs)
    else:
        candidates = _ridge(features, targets, training)
    losses = [ensembles.task_loss(outputs[validation], targets[validation], task) for outputs in candidates]
    return candidates[int(np.argmin(losses))]


def _logistic(features: np.ndarray, targets: np.ndarray, rows: np.ndarray, classes: int) -> list[np.ndarray]:
    """Return log probabilities of every strength, each of shape (samples, classes)."""
    # A modality that few samples have may miss a class in training; its probability is then 0, kept finite.
    least = np.log(np.finfo(np.float32).tiny)
    found = np.unique(targets[rows])
    if len(found) < 2:
        return [np.where(np.arange(classes) == found, 0.0, least)[None].repeat(len(features), axis=0)]
    candidates = []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=5000).fit(features[rows], targets[rows])
        logs = np.full((len(features), classes), least)
        logs[:, model.classes_] = model.predict_log_proba(features)
        candidates.append(np.maximum(logs, least))
    return candidates


def _ridge(features: np.ndarray, targets: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Return predictions of every strength, each of shape (samples, 1)."""
    # One target a strength, so that all strengths share one matrix of products.
    copies = np.repeat(targets[rows, None], len(STRENGTHS), axis=1)
    model = Ridge(alpha=1 / STRENGTHS, solver="cholesky").fit(features[rows], copies)
    return list(model.predict(features).T[:, :, None])


def _prior(data: Data, task: Task) -> np.ndarray:
    """Return the training part's log class frequencies, or its mean, shape (1, outputs)."""
    rows = data.training.numpy()
    targets = _flat_targets(data)[rows]
    nothing = np.zeros((len(rows), 1))
    if task == "classification":
        return np.log(DummyClassifier(strategy="prior").fit(nothing, targets).predict_proba(nothing[:1]))
    return DummyRegressor().fit(nothing, targets).predict(nothing[:1]).reshape(1, 1)


def _flat_targets(data: Data) -> np.ndarray:
    return data.targets.numpy().reshape(len(data.targets))


def train(
    family: str, data: Data, modalities: list[str], settings: Cohort, task: Task, seed: int
) -> dict[str, np.ndarray]:
    """Train one family of comparators: ``networks`` or ``linear``; see there."""
    if family == "networks":
        return networks(data, modalities, settings, task, seed)
    return linear(data, modalities, task)

"""Logistic and ridge regression on all features and on each modality, and the prior."""

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from metafusion import ensembles
from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.students import only
from metafusion.comparators.options import Options
from metafusion.comparators.prior import prior
from metafusion.comparators.probabilities import log_probabilities
from metafusion.config.models import Task
from metafusion.errors import UserError

STRENGTHS = np.logspace(-4, 2, 13)
"""Grid of the inverse strength of the linear comparators' penalty; the validation part chooses."""


def train(data: dict[int, SeedData], modalities: list[str], options: Options) -> dict[int, dict[str, np.ndarray]]:
    """Fit logistic or ridge regression on raw features: all of them, and each modality; and the prior.

    The strength of the penalty is chosen from :data:`STRENGTHS` by the validation loss, as the networks choose their
    epoch.

    Parameters
    ----------
    data : dict of int to SeedData
        By seed.
    modalities : list of str
    options : Options
        Nothing but ``task`` is read.

    Returns
    -------
    dict of int to dict of str to ndarray, shape (samples, outputs)
        By seed: ``logistic_regression`` or ``ridge_regression``, the same with ``_<modality>``, and ``prior``. A sample
        without the modality gets the prior of the training part.
    """
    return {seed: _answers(one, modalities, options.task) for seed, one in data.items()}


def _answers(data: SeedData, modalities: list[str], task: Task) -> dict[str, np.ndarray]:
    targets = data.targets.astype(np.float64) if task == "regression" else data.targets
    name = "logistic_regression" if task == "classification" else "ridge_regression"
    fallback = prior(targets[data.training], task, data.outputs)
    samples = len(next(iter(data.present.values())))
    answers = {"prior": np.tile(fallback, (samples, 1))}
    views = {f"{name}_{modality}": [modality] for modality in modalities}
    if len(modalities) > 1:
        views[name] = modalities
    for method, used in views.items():
        student = only(used, modalities)
        seen = data.seen_by(student)
        answers[method] = np.where(seen[:, None], _best_linear(data.input_of(student), seen, data, task), fallback)
    return answers


def _best_linear(features: np.ndarray, seen: np.ndarray, data: SeedData, task: Task) -> np.ndarray:
    features = features.astype(np.float64)
    targets = data.targets
    training, validation = (rows[seen[rows]] for rows in (data.training, data.validation))
    if not len(training) or not len(validation):
        part = "validation" if len(training) else "training"
        raise UserError(
            f"no {part} sample has a modality that a linear comparator sees; remove it, or enlarge the part"
        )
    if task == "classification":
        candidates = _logistic(features, targets, training, data.outputs)
    else:
        candidates = _ridge(features, targets, training)
    losses = [ensembles.task_loss(outputs[validation], targets[validation], task) for outputs in candidates]
    return candidates[int(np.argmin(losses))]


def _logistic(features: np.ndarray, targets: np.ndarray, rows: np.ndarray, classes: int) -> list[np.ndarray]:
    """Return log probabilities of every strength, each of shape (samples, classes)."""
    known = np.unique(targets[rows])
    if len(known) < 2:
        return [log_probabilities(np.ones((len(features), 1)), known, classes)]
    models = [
        LogisticRegression(C=strength, max_iter=5000).fit(features[rows], targets[rows]) for strength in STRENGTHS
    ]
    return [log_probabilities(model.predict_proba(features), known, classes) for model in models]


def _ridge(features: np.ndarray, targets: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Return predictions of every strength, each of shape (samples, 1)."""
    # One target a strength, so that all strengths share one matrix of products.
    copies = np.repeat(targets[rows, None], len(STRENGTHS), axis=1)
    model = Ridge(alpha=1 / STRENGTHS, solver="cholesky").fit(features[rows], copies)
    return list(model.predict(features).T[:, :, None])

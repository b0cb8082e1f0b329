"""Gradient boosting of trees on all features side by side."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from metafusion import ensembles
from metafusion.cohort.seed_data import SeedData
from metafusion.comparators.options import Options
from metafusion.comparators.probabilities import log_probabilities
from metafusion.config.models import Task

SETTINGS = {
    "learning_rate": 0.1,
    "max_iter": 300,
    "max_leaf_nodes": 6,
    # Early stopping would draw a validation part of its own.
    "early_stopping": False,
    "random_state": 0,
}
"""Of scikit-learn's model; the validation part chooses how many of the trees count."""


def train(data: dict[int, SeedData], modalities: list[str], options: Options) -> dict[int, dict[str, np.ndarray]]:
    """Fit gradient boosting on the raw features of all modalities.

    Trees and learning rate are those of :data:`SETTINGS`; the number of trees is chosen by the validation loss, as the
    networks choose their epoch.

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
        By seed: ``gradient_boosting``, log probabilities or predictions. The trees themselves send samples that lack a
        modality to one side.

    References
    ----------
    Friedman 2001 (gradient boosting); Ke et al. 2017 (histograms of features).
    """
    return {
        seed: {"gradient_boosting": _best_boosting(_features(one, modalities), one, options.task)}
        for seed, one in data.items()
    }


def _features(data: SeedData, modalities: list[str]) -> np.ndarray:
    """Return all raw features, missing where the modality is absent; shape (samples, columns)."""
    views = [np.where(data.present[name][:, None], data.views[name, "raw"], np.nan) for name in modalities]
    return np.concatenate(views, axis=1)


def _best_boosting(features: np.ndarray, data: SeedData, task: Task) -> np.ndarray:
    targets = data.targets[data.validation]
    candidates = _boosted(features, data, task)
    losses = [ensembles.task_loss(outputs[data.validation], targets, task) for outputs in candidates]
    return candidates[int(np.argmin(losses))]


def _boosted(features: np.ndarray, data: SeedData, task: Task) -> list[np.ndarray]:
    """Return the outputs of every number of trees, each of shape (samples, outputs)."""
    rows = data.training
    if task == "regression":
        model = HistGradientBoostingRegressor(**SETTINGS).fit(features[rows], data.targets[rows])
        return [outputs[:, None] for outputs in model.staged_predict(features)]
    known = np.unique(data.targets[rows])
    if len(known) < 2:
        return [log_probabilities(np.ones((len(features), 1)), known, data.outputs)]
    model = HistGradientBoostingClassifier(**SETTINGS).fit(features[rows], data.targets[rows])
    return [log_probabilities(staged, known, data.outputs) for staged in model.staged_predict_proba(features)]

"""Decisions where classes are not equally frequent: how far a class is raised before the largest wins."""

import numpy as np
from scipy.special import log_softmax

ROUNDS = 10
"""Times that all classes are gone through at most; of two classes, one is enough."""


def best_offsets(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return what to add to each class's logit for the largest balanced accuracy on some samples.

    The first class has 0. The others are gone through in turn, each with the best of all numbers given those of the
    others, until none changes. Of numbers that are equally good, the one nearest 0 is taken. For two classes this is
    the threshold of Youden's index.

    Parameters
    ----------
    logits : ndarray, shape (samples, classes)
    targets : ndarray of int, shape (samples,)
        Class numbers; a class may be missing.

    Returns
    -------
    ndarray, shape (classes,)

    References
    ----------
    Youden 1950 (index for rating diagnostic tests).
    """
    offsets = np.zeros(logits.shape[1])
    weights = 1 / np.bincount(targets)[targets]
    for _ in range(ROUNDS):
        before = offsets.copy()
        for number in range(1, len(offsets)):
            offsets[number] = _best_offset(logits + offsets, targets, number, weights) + offsets[number]
        if (offsets == before).all():
            break
    return offsets


def _best_offset(logits: np.ndarray, targets: np.ndarray, number: int, weights: np.ndarray) -> float:
    """Return what to add to one class's logits; samples count by their weights."""
    others = logits.copy()
    others[:, number] = -np.inf
    # The class wins where more is added than it lacks.
    lacking, rival = others.max(axis=1) - logits[:, number], others.argmax(axis=1)
    change = np.where(targets == number, weights, np.where(targets == rival, -weights, 0))
    edges, places = np.unique(lacking, return_inverse=True)
    values = np.concatenate([[0], np.cumsum(np.bincount(places, weights=change))])
    lows, highs = np.concatenate([[-np.inf], edges]), np.concatenate([edges, [np.inf]])
    # Between two edges in the middle, beyond the last ones by 1; where nothing need change, by nothing.
    middles = np.concatenate([[edges[0] - 1], (edges[:-1] + edges[1:]) / 2, [edges[-1] + 1]])
    middles = np.where((lows < 0) & (highs > 0), 0, middles)
    best = values >= values.max() - 1e-12
    return float(min(middles[best], key=abs))


def with_thresholds(
    outputs: np.ndarray, targets: np.ndarray, known: np.ndarray, fold: np.ndarray | None = None
) -> np.ndarray:
    """Raise the classes of an answer by :func:`best_offsets`.

    Parameters
    ----------
    outputs : ndarray, shape (samples, classes)
        Logits, or logarithms of probabilities. Rows that are NaN stay so, and decide nothing.
    targets : ndarray of int, shape (samples,)
        Looked at where ``known`` holds only.
    known : ndarray of bool, shape (samples,)
        The samples that choose: the validation part, or all with predictions out of fold.
    fold : ndarray of int, shape (samples,), optional
        With it, the offsets of a sample that chooses come from the samples of the other folds.

    Returns
    -------
    ndarray, shape (samples, classes)
        Logarithms of probabilities that sum to 1; no longer those of the classes' frequencies.
    """
    usable = known & np.isfinite(outputs).all(axis=1)
    offsets = np.zeros(outputs.shape)
    if usable.any():
        offsets[:] = best_offsets(outputs[usable], targets[usable])
    for one in [] if fold is None else np.unique(fold[known]):
        others = usable & (fold != one)
        offsets[known & (fold == one)] = best_offsets(outputs[others], targets[others]) if others.any() else 0
    return log_softmax(outputs + offsets, axis=1)

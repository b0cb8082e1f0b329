"""Temperature scaling of students: how sure they are, without a change of what they find most probable."""

import numpy as np
from scipy.special import log_softmax

TEMPERATURES = 2.0 ** np.linspace(-4, 4, 65)
"""What logits may be divided by. Neighbours differ by 9 %: near its minimum, a cross-entropy hardly changes."""


def calibrate(
    outputs: np.ndarray, seen: np.ndarray, targets: np.ndarray, known: np.ndarray, fold: np.ndarray | None = None
) -> np.ndarray:
    """Divide each student's logits by the temperature with the smallest cross-entropy on samples of known class.

    One number a student is found on a grid: scikit-learn's ``CalibratedClassifierCV(method="temperature")`` finds the
    same, within a step of the grid, for one fitted classifier at a time, and a cohort has thousands.

    Parameters
    ----------
    outputs : ndarray, shape (..., students, samples, classes)
        Logits; a student that diverged has NaN, and keeps them.
    seen : ndarray of bool, shape (students, samples)
        A student is calibrated on what it sees.
    targets : ndarray of int, shape (samples,)
        Class numbers; looked at where ``known`` holds only.
    known : ndarray of bool, shape (samples,)
        The samples to calibrate on: the validation part, or all with predictions out of fold.
    fold : ndarray of int, shape (samples,), optional
        With it, a sample's temperature comes from the samples of the other folds, so that its own class has no say.

    Returns
    -------
    ndarray, shape of ``outputs``

    References
    ----------
    Guo, Pleiss, Sun, Weinberger 2017 (temperature scaling).
    """
    rows = np.flatnonzero(known)
    logits, answers = outputs[..., rows, :].astype(np.float64), targets[rows][:, None]
    groups = np.zeros(len(rows), np.int64) if fold is None else np.unique(fold[rows], return_inverse=True)[1]
    # (temperatures, ..., students, folds): sums of losses, so that any fold can be left out.
    members = np.eye(groups.max() + 1)[groups]
    sums = np.stack([_losses(logits / one, answers, seen[:, rows]) @ members for one in TEMPERATURES])
    total = sums.sum(axis=-1)
    scaled = outputs / _best(total)[..., None, None]
    if fold is not None:
        others = _best(total[..., None] - sums)
        scaled[..., rows, :] = logits / others[..., groups][..., None]
    return scaled.astype(outputs.dtype)


def cross_entropies(outputs: np.ndarray, seen: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean cross-entropy in nats of each student over what it sees, shape (..., students).

    Parameters
    ----------
    outputs : ndarray, shape (..., students, samples, classes)
        Logits.
    seen : ndarray of bool, shape (students, samples)
    targets : ndarray of int, shape (samples,)
    """
    return _losses(outputs.astype(np.float64), targets[:, None], seen).sum(axis=-1) / np.maximum(seen.sum(axis=-1), 1)


def _losses(logits: np.ndarray, targets: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Cross-entropy of every sample, shape (..., students, samples); 0 where a student sees nothing."""
    losses = -np.take_along_axis(log_softmax(logits, axis=-1), np.broadcast_to(targets, (*logits.shape[:-1], 1)), -1)
    return np.where(seen, losses[..., 0], 0)


def _best(sums: np.ndarray) -> np.ndarray:
    """Return the temperature of the smallest sum along the first axis; 1 where there is none."""
    finite = np.isfinite(sums).all(axis=0)
    return np.where(finite, TEMPERATURES[np.where(np.isfinite(sums), sums, np.inf).argmin(axis=0)], 1.0)

"""Ensembles of students: weights chosen on validation data, and how weighted students answer together."""

from collections.abc import Callable
from math import floor

import numpy as np
from scipy.special import log_softmax

from metafusion.config.models import Ensemble, Task

Loss = Callable[[np.ndarray], float]


def combine(outputs: np.ndarray, weights: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Weighted mean of the students' outputs (logits in classification).

    A student has no say in a sample of which it sees nothing: the weights are normalised over the members that do.
    Where no member does, all students that do answer, alike.

    Parameters
    ----------
    outputs : ndarray, shape (students, samples, outputs)
        Those without a vote may be anything, NaN among it.
    weights : ndarray, shape (students,)
        Not negative, at least one positive.
    seen : ndarray of bool, shape (students, samples)
        Each sample is seen by at least one student.

    Returns
    -------
    ndarray, shape (samples, outputs)
    """
    votes = weights[:, None] * seen
    silent = votes.sum(axis=0) == 0
    votes = np.where(silent, seen, votes)
    votes = votes / votes.sum(axis=0)
    voters = np.flatnonzero(votes.any(axis=1))
    votes = votes[voters]
    # 0 * NaN is NaN: who has no vote must have no output either.
    voted = np.where(votes[:, :, None] > 0, outputs[voters], 0).astype(np.float64)
    return np.einsum("sn,sno->no", votes, voted)


def task_loss(outputs: np.ndarray, targets: np.ndarray, task: Task) -> float:
    """Mean cross-entropy in nats (targets: class numbers), or mean squared error (targets: numbers).

    Parameters
    ----------
    outputs : ndarray, shape (samples, outputs)
    targets : ndarray, shape (samples,)
    """
    if task == "classification":
        return float(-log_softmax(outputs, axis=1)[np.arange(len(targets)), targets].mean())
    return float(np.square(outputs[:, 0] - targets).mean())


def greedy(outputs: np.ndarray, losses: np.ndarray, seen: np.ndarray, loss: Loss, settings: Ensemble) -> np.ndarray:
    """Forward selection of students without replacement, weighted by the inverse of their validation loss.

    Keep the best share of the students, start with the best few, and add the one that lowers the ensemble's validation
    loss most, until none does.

    Parameters
    ----------
    outputs : ndarray, shape (students, validation samples, outputs)
    losses : ndarray, shape (students,)
        Validation task losses.
    seen : ndarray of bool, shape (students, validation samples)
    loss : callable
        Loss of combined outputs, shape (validation samples, outputs), on the validation part.
    settings : Ensemble
        Share kept, size of the start, most members.

    Returns
    -------
    ndarray, shape (students,)
        Weights that sum to 1; 0 for those not chosen. The start is never dropped.

    References
    ----------
    Caruana et al. 2004 (ensemble selection); Liang, Qu, Shahbaba 2025, arXiv 2507.20089.
    """
    ranked = np.argsort(losses, kind="stable")
    # Small cohorts keep at least one student and start with no more than they keep.
    kept = ranked[: max(1, floor(settings.keep * len(losses) + 1e-9))]
    start = min(settings.start, settings.most)
    members, candidates = list(kept[:start]), list(kept[start:])

    def weights_of(chosen: list[int]) -> np.ndarray:
        mask = np.zeros(len(losses))
        mask[chosen] = 1
        return _normalised(mask * inverse(losses))

    best = loss(combine(outputs, weights_of(members), seen))
    while candidates and len(members) < min(len(kept), settings.most):
        trials = [loss(combine(outputs, weights_of([*members, one]), seen)) for one in candidates]
        winner = int(np.argmin(trials))
        if trials[winner] >= best:
            break
        best = trials[winner]
        members.append(candidates.pop(winner))
    return weights_of(members)


def inverse(losses: np.ndarray) -> np.ndarray:
    """Inverse of losses, 0 for infinite ones; a loss of 0 counts as the smallest normal number: weights stay finite."""
    return 1 / np.maximum(losses, np.finfo(np.float32).tiny)


def reweighted(members: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Weigh the members of an ensemble by the inverse of other losses.

    Parameters
    ----------
    members : ndarray, shape (students,)
        Positive where a student is a member.
    losses : ndarray, shape (students,)
        At least one member's is finite; members whose loss is not are dropped.

    Returns
    -------
    ndarray, shape (students,)
        Weights that sum to 1.
    """
    return _normalised((members > 0) * inverse(losses))


def _normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()


def choose(
    outputs: np.ndarray, losses: np.ndarray, seen: np.ndarray, targets: np.ndarray, task: Task, settings: Ensemble
) -> dict[str, np.ndarray]:
    """Choose the weights of every kind of ensemble on the validation part.

    Parameters
    ----------
    outputs : ndarray, shape (students, validation samples, outputs)
    losses : ndarray, shape (students,)
        Best validation task losses.
    seen : ndarray of bool, shape (students, validation samples)
        Each sample is seen by at least one student.
    targets : ndarray, shape (validation samples,)
    task, settings
        As configured.

    Returns
    -------
    dict of str to ndarray, shape (students,)
        ``meta_fusion`` (greedy), ``best_single``, ``simple_average``, ``weighted_average``; each sums to 1.
    """
    count = len(losses)
    return {
        "meta_fusion": greedy(outputs, losses, seen, lambda mixed: task_loss(mixed, targets, task), settings),
        "best_single": np.eye(count)[int(np.argmin(losses))],
        "simple_average": np.full(count, 1 / count),
        "weighted_average": _normalised(inverse(losses)),
    }

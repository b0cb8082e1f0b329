"""Ensembles of students: weights chosen on validation data, and how weighted students answer together."""

from collections.abc import Callable
from math import floor

import numpy as np
from scipy.special import log_softmax

from metafusion.config.models import Ensemble, Task
from metafusion.errors import UserError

Loss = Callable[[np.ndarray], float]

REMEDY = "lower cohort.learning_rate, or set 'scaling: standard' for the modalities"
"""What helps where training diverged."""
VOTES = ("majority_vote", "weighted_vote")
"""Ensembles whose students say a class, not how sure they are of it."""


def answering(losses: np.ndarray, seen: np.ndarray, seed: int) -> np.ndarray:
    """Return which students can answer: those that did not diverge.

    Parameters
    ----------
    losses : ndarray, shape (students,)
        Best validation task losses; infinite where a student diverged.
    seen : ndarray of bool, shape (students, samples)
    seed : int
        For the message.

    Returns
    -------
    ndarray of bool, shape (students,)

    Raises
    ------
    UserError
        All students that see some sample diverged.
    """
    trained = np.isfinite(losses)
    mute = int((~seen[trained].any(axis=0)).sum())
    if mute:
        which = "all students" if mute == seen.shape[1] else f"all students that see anything of {mute} samples"
        raise UserError(f"seed {seed}: {which} diverged, so that nobody can answer; {REMEDY}")
    return trained


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


def vote(outputs: np.ndarray, weights: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Logarithms of the shares of the students' votes; each student votes for its most probable class.

    A student has no vote on a sample of which it sees nothing. Classes with equal votes come out equal, so that the
    first of them wins, as with the mode in the authors' code. One more vote, as large as the largest, is divided evenly
    among the classes: it changes no order, and keeps the logarithm of a class without votes finite.

    Parameters
    ----------
    outputs : ndarray, shape (students, samples, classes)
        Logits. Those without a vote may be anything.
    weights : ndarray, shape (students,)
        Positive.
    seen : ndarray of bool, shape (students, samples)

    Returns
    -------
    ndarray, shape (samples, classes)
    """
    classes = outputs.shape[2]
    # Equal votes become 1 each, and are counted without rounding: a tie must stay one.
    ballots = (weights / weights.max())[:, None] * seen
    votes = (ballots[:, :, None] * np.eye(classes)[outputs.argmax(axis=2)]).sum(axis=0)
    return np.log((votes + 1 / classes) / (ballots.sum(axis=0)[:, None] + 1))


def answer(kind: str, outputs: np.ndarray, weights: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return what an ensemble of a kind says: its students' votes, or their weighted mean (see :func:`choose`)."""
    return (vote if kind in VOTES else combine)(outputs, weights, seen)


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
        ``meta_fusion`` (greedy), ``best_single``, ``simple_average``, ``weighted_average``; in classification also
        ``majority_vote`` and ``weighted_vote``, with the weights of the two averages. Each sums to 1.
    """
    count = len(losses)
    equal, weighted = np.full(count, 1 / count), _normalised(inverse(losses))
    weights = {
        "meta_fusion": greedy(outputs, losses, seen, lambda mixed: task_loss(mixed, targets, task), settings),
        "best_single": np.eye(count)[int(np.argmin(losses))],
        "simple_average": equal,
        "weighted_average": weighted,
    }
    if task == "classification":
        weights |= dict(zip(VOTES, (equal, weighted), strict=True))
    return weights

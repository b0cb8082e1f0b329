"""Ensembles of students: weights chosen on validation data, and how weighted students answer together."""

from collections.abc import Callable
from math import floor
from typing import Literal

import numpy as np
from scipy.special import log_softmax, softmax

from metafusion.config.models import Ensemble, Task
from metafusion.errors import UserError

Loss = Callable[[np.ndarray], float]
Average = Literal["outputs", "probabilities"]
Selection = Literal["greedy", "bagged"]

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


def combine(outputs: np.ndarray, weights: np.ndarray, seen: np.ndarray, average: Average = "outputs") -> np.ndarray:
    """Weighted mean of the students' outputs (logits in classification), or of their probabilities.

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
    average : 'outputs' or 'probabilities'
        The latter for logits alone.

    Returns
    -------
    ndarray, shape (samples, outputs)
        Of probabilities the logarithms.
    """
    votes = weights[:, None] * seen
    silent = votes.sum(axis=0) == 0
    votes = np.where(silent, seen, votes)
    votes = votes / votes.sum(axis=0)
    voters = np.flatnonzero(votes.any(axis=1))
    votes = votes[voters]
    # 0 * NaN is NaN: who has no vote must have no output either.
    voted = np.where(votes[:, :, None] > 0, outputs[voters], 0).astype(np.float64)
    if average == "outputs":
        return np.einsum("sn,sno->no", votes, voted)
    return _logarithm(np.einsum("sn,sno->no", votes, softmax(voted, axis=2)))


def _logarithm(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))


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


def answer(
    kind: str, outputs: np.ndarray, weights: np.ndarray, seen: np.ndarray, average: Average = "outputs"
) -> np.ndarray:
    """Return what an ensemble of a kind says: its students' votes, or their weighted mean (see :func:`choose`)."""
    return vote(outputs, weights, seen) if kind in VOTES else combine(outputs, weights, seen, average)


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
    # Small cohorts start with no more than they keep.
    kept = _kept(losses, settings)
    start = min(settings.start, settings.most)
    members, candidates = list(kept[:start]), list(kept[start:])

    def weights_of(chosen: list[int]) -> np.ndarray:
        mask = np.zeros(len(losses))
        mask[chosen] = 1
        return _normalised(mask * inverse(losses))

    best = loss(combine(outputs, weights_of(members), seen, settings.average))
    while candidates and len(members) < min(len(kept), settings.most):
        trials = [loss(combine(outputs, weights_of([*members, one]), seen, settings.average)) for one in candidates]
        winner = int(np.argmin(trials))
        if trials[winner] >= best:
            break
        best = trials[winner]
        members.append(candidates.pop(winner))
    return weights_of(members)


def bagged(
    outputs: np.ndarray,
    losses: np.ndarray,
    seen: np.ndarray,
    targets: np.ndarray,
    task: Task,
    settings: Ensemble,
    random_state: int,
    fold: np.ndarray | None = None,
) -> np.ndarray:
    """Forward selection with replacement from random shares of the students, averaged over the shares.

    From each share, start with its best few, and add whom the ensemble's loss on the samples that choose asks for,
    members among them, ``most`` times at most; the best ensemble on the way counts. How often a student was taken is
    its weight. Where ``shrinkage`` offers several, the weights are chosen with each part of the samples left out in
    turn, and the part left out says how far they should go towards equal ones of the share ``keep`` of the students.

    Parameters
    ----------
    outputs, losses, seen, settings
        See :func:`greedy`. Logits are averaged as probabilities.
    targets : ndarray, shape (samples,)
        Class numbers or numbers.
    task : 'classification' or 'regression'
    random_state : int
        Of the shares.
    fold : ndarray of int, shape (samples,), optional
        The parts to leave out; else :data:`PARTS_TO_SHRINK` random ones.

    Returns
    -------
    ndarray, shape (students,)
        Weights that sum to 1.

    References
    ----------
    Caruana et al. 2004 (ensemble selection); Caruana, Munson, Niculescu-Mizil 2006 (bagging of it).
    """
    said = _of_target(outputs, seen, targets, task)
    everybody = np.ones(len(targets), dtype=bool)
    weights = _bagged(said, losses, seen, targets, everybody, task, settings, random_state)
    equal = np.zeros(len(losses))
    equal[_kept(losses, settings)] = 1
    equal = _normalised(equal)
    if len(settings.shrinkage) == 1:
        return (1 - settings.shrinkage[0]) * weights + settings.shrinkage[0] * equal
    if fold is None:
        fold = np.random.default_rng([random_state, 1]).permutation(len(targets)) % PARTS_TO_SHRINK
    sums = np.zeros(len(settings.shrinkage))
    for one in np.unique(fold):
        away = fold == one
        errors = np.where(seen & ~away, _pointwise(said, targets, task), 0).sum(axis=1)
        counts = (seen & ~away).sum(axis=1)
        known = np.divide(errors, counts, out=np.full(len(losses), np.inf), where=counts > 0)
        others = _bagged(said, known, seen, targets, ~away, task, settings, random_state)
        for place, shrinkage in enumerate(settings.shrinkage):
            mixed = (1 - shrinkage) * others + shrinkage * equal
            votes = mixed[:, None] * seen[:, away]
            votes = np.where(votes.sum(axis=0) == 0, seen[:, away], votes)
            value = (votes * said[:, away]).sum(axis=0) / votes.sum(axis=0)
            sums[place] += _pointwise(value, targets[away], task).sum()
    chosen = settings.shrinkage[int(np.argmin(sums))]
    return (1 - chosen) * weights + chosen * equal


PARTS_TO_SHRINK = 5
"""Parts of the samples that are left out in turn where there are no folds."""


def _kept(losses: np.ndarray, settings: Ensemble) -> np.ndarray:
    """Return the best share of the students, best first; at least one."""
    return np.argsort(losses, kind="stable")[: max(1, floor(settings.keep * len(losses) + 1e-9))]


def _of_target(outputs: np.ndarray, seen: np.ndarray, targets: np.ndarray, task: Task) -> np.ndarray:
    """Return what a loss needs: each student's probability of the true class, or its prediction; 0 where unseen."""
    if task == "classification":
        said = softmax(outputs.astype(np.float64), axis=2)[:, np.arange(len(targets)), targets]
    else:
        said = outputs[:, :, 0].astype(np.float64)
    return np.where(seen, said, 0)


def _pointwise(said: np.ndarray, targets: np.ndarray, task: Task) -> np.ndarray:
    return -_logarithm(said) if task == "classification" else np.square(said - targets)


def _bagged(
    said: np.ndarray,
    losses: np.ndarray,
    seen: np.ndarray,
    targets: np.ndarray,
    rows: np.ndarray,
    task: Task,
    settings: Ensemble,
    random_state: int,
) -> np.ndarray:
    """Return weights by selections from random shares of the students, by some samples (``rows``)."""
    random, weights = np.random.default_rng([random_state, 0]), np.zeros(len(losses))
    ranked = _kept(losses, settings)
    size = max(1, round(settings.bag_share * len(ranked)))
    heard, answers = seen[:, rows].astype(np.float64), targets[rows]
    fallback = said[:, rows].sum(axis=0) / np.maximum(heard.sum(axis=0), 1)
    for _ in range(settings.bags):
        # In order of rank, so that a tie goes to the better student.
        share = ranked[np.sort(random.choice(len(ranked), size, replace=False))]
        counts = _with_replacement(said[share][:, rows], heard[share], answers, fallback, task, settings)
        weights[share] += counts / counts.sum()
    return _normalised(weights)


def _with_replacement(
    said: np.ndarray, heard: np.ndarray, targets: np.ndarray, fallback: np.ndarray, task: Task, settings: Ensemble
) -> np.ndarray:
    """Return how often each student is taken; they come best first."""
    start = min(settings.start, settings.most, len(said))
    counts = np.zeros(len(said))
    counts[:start] = 1
    total, votes = said[:start].sum(axis=0), heard[:start].sum(axis=0)
    everywhere = bool(heard.all())
    # Where everybody sees all samples, one row of votes serves for all trials, and nobody needs the fallback.
    heard = heard[0] if everywhere else heard

    def loss(total: np.ndarray, votes: np.ndarray) -> np.ndarray:
        mixed = total / votes if everywhere else np.where(votes > 0, total / np.maximum(votes, 1), fallback)
        return _pointwise(mixed, targets, task).mean(axis=-1)

    best, lowest = counts.copy(), float(loss(total, votes))
    for _ in range(settings.most - start):
        trials = loss(total + said, votes + heard)
        winner = int(np.argmin(trials))
        counts[winner] += 1
        total, votes = total + said[winner], votes + (heard if everywhere else heard[winner])
        if trials[winner] < lowest:
            best, lowest = counts.copy(), float(trials[winner])
    return best


def non_negative(outputs: np.ndarray, seen: np.ndarray, targets: np.ndarray, task: Task) -> np.ndarray:
    """Weights by non-negative least squares of the targets on the students' probabilities or predictions.

    Parameters
    ----------
    outputs : ndarray, shape (students, samples, outputs)
    seen : ndarray of bool, shape (students, samples)
        Where a student sees nothing, the mean of those that do stands in for it.
    targets : ndarray, shape (samples,)
    task : 'classification' or 'regression'

    Returns
    -------
    ndarray, shape (students,)
        They sum to 1; equal where all are 0.

    References
    ----------
    Breiman 1996 (stacked regressions).
    """
    # Imported here: it takes a while, and few ask for it.
    from scipy.optimize import nnls

    if task == "classification":
        said, wanted = softmax(outputs.astype(np.float64), axis=2), np.eye(outputs.shape[2])[targets]
    else:
        said, wanted = outputs.astype(np.float64), targets[:, None]
    heard = seen[:, :, None]
    mean = np.where(heard, said, 0).sum(axis=0) / heard.sum(axis=0)
    weights, _ = nnls(np.where(heard, said, mean).reshape(len(said), -1).T, wanted.ravel())
    return _normalised(weights if weights.any() else np.ones(len(said)))


def inverse(losses: np.ndarray) -> np.ndarray:
    """Inverse of losses, 0 for infinite ones; a loss of 0 counts as the smallest normal number: weights stay finite."""
    return 1 / np.maximum(losses, np.finfo(np.float32).tiny)


def reweighted(members: np.ndarray, losses: np.ndarray, selection: Selection = "greedy") -> np.ndarray:
    """Weigh the members of an ensemble by the inverse of other losses; where they are bagged, leave them as they are.

    Parameters
    ----------
    members : ndarray, shape (students,)
        Positive where a student is a member.
    losses : ndarray, shape (students,)
        At least one member's is finite; members whose loss is not are dropped.
    selection : 'greedy' or 'bagged'
        How members were selected.

    Returns
    -------
    ndarray, shape (students,)
        Weights that sum to 1.
    """
    if selection == "bagged":
        return _normalised(members * np.isfinite(losses))
    return _normalised((members > 0) * inverse(losses))


def _normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()


def choose(
    outputs: np.ndarray,
    losses: np.ndarray,
    seen: np.ndarray,
    targets: np.ndarray,
    task: Task,
    settings: Ensemble,
    random_state: int = 0,
    fold: np.ndarray | None = None,
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
    random_state, fold
        See :func:`bagged`; only that reads them.

    Returns
    -------
    dict of str to ndarray, shape (students,)
        ``meta_fusion`` (greedy or bagged), ``best_single``, ``simple_average``, ``weighted_average``, if wanted
        ``stacked_average`` (see :func:`non_negative`); in classification also ``majority_vote`` and ``weighted_vote``,
        with the weights of the two averages. Each sums to 1.
    """
    count = len(losses)
    equal, weighted = np.full(count, 1 / count), _normalised(inverse(losses))
    weights = {
        "meta_fusion": bagged(outputs, losses, seen, targets, task, settings, random_state, fold)
        if settings.selection == "bagged"
        else greedy(outputs, losses, seen, lambda mixed: task_loss(mixed, targets, task), settings),
        "best_single": np.eye(count)[int(np.argmin(losses))],
        "simple_average": equal,
        "weighted_average": weighted,
    }
    if settings.stacked_average:
        weights["stacked_average"] = non_negative(outputs, seen, targets, task)
    if task == "classification":
        weights |= dict(zip(VOTES, (equal, weighted), strict=True))
    return weights

"""Task losses and the divergence between students."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from metafusion.config.models import Task


def task_losses(outputs: Tensor, targets: Tensor, task: Task, class_weights: Tensor | None = None) -> Tensor:
    """Loss of every sample: cross-entropy in nats, or squared error averaged over outputs.

    Parameters
    ----------
    outputs : Tensor, shape (..., samples, outputs)
        Logits or predictions.
    targets : Tensor, shape (..., samples) of class numbers, or (..., samples, outputs)
        Leading axes are broadcast against those of the outputs.
    class_weights : Tensor, shape (classes,), or (..., classes) with the leading axes of the targets, optional
        What the losses of samples of each class are multiplied by.

    Returns
    -------
    Tensor, shape (..., samples)
    """
    if task == "classification":
        logs = functional.log_softmax(outputs, dim=-1)
        losses = -logs.gather(-1, targets.expand(logs.shape[:-1]).unsqueeze(-1)).squeeze(-1)
        if class_weights is None:
            return losses
        return losses * class_weights.expand(*targets.shape[:-1], -1).gather(-1, targets)
    return (outputs - targets).square().mean(dim=-1)


def pair_divergences(outputs: Tensor, peers: Tensor, task: Task) -> Tensor:
    """Divergence of outputs from peers, for every sample: KL(peer || student) in nats, or mean squared difference.

    Parameters
    ----------
    outputs, peers : Tensor, shape (..., samples, outputs)
        Logits or predictions, broadcast against each other. Peers are constants: no gradient flows into them.

    Returns
    -------
    Tensor, shape (..., samples)

    References
    ----------
    Liang, Qu, Shahbaba 2025, arXiv 2507.20089; Zhang et al. 2018 (deep mutual learning).
    """
    peers = peers.detach()
    if task == "classification":
        logs = functional.log_softmax(outputs, dim=-1)
        peer_logs = functional.log_softmax(peers, dim=-1)
        return (peer_logs.exp() * (peer_logs - logs)).sum(dim=-1)
    return (outputs - peers).square().mean(dim=-1)


def mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the last axis of the values where the mask holds; 0 where it holds nowhere. The others may be NaN."""
    return torch.where(mask, values, 0).sum(dim=-1) / mask.sum(dim=-1).clamp(min=1)


def divergence_of(
    student: int,
    outputs: Tensor,
    peers: list[Tensor],
    teaching: Tensor,
    seen: Tensor,
    task: Task,
    normaliser: Literal["others", "all"] = "others",
) -> Tensor:
    """Divergence of one student from the teachers, averaged over the batch: the definition, peer by peer.

    Parameters
    ----------
    student : int
        Number of the student.
    outputs : Tensor, shape (batch, outputs)
        What it says.
    peers : list of Tensor, shape (batch, outputs)
        What everybody says; constants.
    teaching : Tensor, shape (students,)
        Weight of each student as a teacher, not negative.
    seen : Tensor of bool, shape (students, batch)
        Which student sees which sample.
    task, normaliser
        For each sample the divergences are averaged by the teachers' weights, normalised over the *other* students
        that see the sample, or over all that do.

    Returns
    -------
    Tensor, shape ()
        0 if nobody else teaches.
    """
    pulls, total = torch.zeros_like(outputs[:, 0]), torch.zeros_like(outputs[:, 0])
    for number, peer in enumerate(peers):
        weight = teaching[number] * seen[number].to(outputs.dtype)
        if number != student:
            # Who does not teach may be infinitely far away.
            pulls = pulls + torch.where(weight > 0, weight * pair_divergences(outputs, peer, task), 0)
        if number != student or normaliser == "all":
            total = total + weight
    return mean_where(pulls / torch.where(total > 0, total, 1), seen[student])


def mixed_divergence(
    outputs: Tensor, teaching: Tensor, task: Task, normaliser: Literal["others", "all"] = "others"
) -> Tensor:
    """Divergence of every student from the weighted mean of its teachers, in closed form, without a loop over pairs.

    Parameters
    ----------
    outputs : Tensor, shape (..., K, B, outputs)
        Logits or predictions. As peers they are constants: no gradient flows into them.
    teaching : Tensor, shape (..., K, B)
        Weight of each student as a teacher of each sample, not negative. What those with weight 0 say may be anything,
        NaN included, and reaches nobody else.
    task, normaliser
        See :func:`divergence_of`.

    Returns
    -------
    Tensor, shape (..., K, B)
        ``sum_{j != i} w_j D(f_i, f_j) / sum_{j != i} w_j``; 0 where nobody else teaches. With 'all', the normaliser is
        ``sum_j w_j``.

    Notes
    -----
    A student's divergence from itself is 0 and has no gradient, so sums over all students serve for sums over the
    others; only the normaliser may leave the student out. KL: ``sum_j w_j KL(p_j || p_i) = sum_j w_j (sum_c p_jc log
    p_jc) - sum_c (sum_j w_j p_jc) log p_ic``. Squares: ``sum_j w_j (f_i - f_j)^2 = W (f_i - m)^2 + sum_j w_j (f_j -
    m)^2`` with the weighted mean m, which does not lose digits as the expanded square would.
    """
    weights = teaching.unsqueeze(-1)
    total = weights.sum(dim=-3, keepdim=True)
    if task == "classification":
        logs = functional.log_softmax(outputs, dim=-1)
        peers = torch.where(weights > 0, logs.detach(), 0)
        mixture = (weights * peers.exp()).sum(dim=-3, keepdim=True)
        negative_entropy = (weights * peers.exp() * peers).sum(dim=(-3, -1)).unsqueeze(-2)
        sums = negative_entropy - (mixture * logs).sum(dim=-1)
    else:
        peers = torch.where(weights > 0, outputs.detach(), 0)
        mean = (weights * peers).sum(dim=-3, keepdim=True) / torch.where(total > 0, total, 1)
        spread = (weights * (peers - mean).square()).sum(dim=-3, keepdim=True)
        sums = (total * (outputs - mean).square() + spread).mean(dim=-1)
    everybody = teaching.sum(dim=-2, keepdim=True)
    others = everybody - teaching
    # A lone teacher's own remainder is rounding, not a teacher.
    alone = others <= 1e-6 * everybody
    norm = everybody if normaliser == "all" else others
    return torch.where(alone, 0, sums / torch.where(alone, 1, norm))

"""Task losses and the divergence between students."""

import torch
from torch import Tensor
from torch.nn import functional

from metafusion.config.models import Task


def task_losses(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """Loss of every sample: cross-entropy in nats, or squared error averaged over outputs.

    Parameters
    ----------
    outputs : Tensor, shape (..., samples, outputs)
        Logits or predictions.
    targets : Tensor, shape (samples,) of class numbers, or (samples, outputs)

    Returns
    -------
    Tensor, shape (..., samples)
    """
    if task == "classification":
        logs = functional.log_softmax(outputs, dim=-1)
        return -logs.gather(-1, targets.expand(logs.shape[:-1]).unsqueeze(-1)).squeeze(-1)
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
    """Mean over the last axis of the values where the mask holds; 0 where it holds nowhere."""
    mask = mask.to(values.dtype)
    return (values * mask).sum(dim=-1) / mask.sum(dim=-1).clamp(min=1)


def divergence_of(student: int, outputs: Tensor, peers: Tensor, teaching: Tensor, seen: Tensor, task: Task) -> Tensor:
    """Divergence of one student from the teachers, averaged over the batch.

    For each sample the teachers' divergences are averaged by their weights, normalised over the *other* students that
    see the sample.

    Parameters
    ----------
    student : int
        Number of the student.
    outputs : Tensor, shape (batch, outputs)
        What it says.
    peers : Tensor, shape (students, batch, outputs)
        What everybody says; constants.
    teaching : Tensor, shape (students,)
        Weight of each student as a teacher, not negative.
    seen : Tensor of bool, shape (students, batch)
        Which student sees which sample.

    Returns
    -------
    Tensor, shape ()
        0 if nobody else teaches.
    """
    weights = teaching[:, None] * seen.to(peers.dtype)
    weights[student] = 0
    total = weights.sum(dim=0)
    each = pair_divergences(outputs, peers, task)
    mixed = (weights * each).sum(dim=0) / torch.where(total > 0, total, 1)
    return mean_where(mixed, seen[student])

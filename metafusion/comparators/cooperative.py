"""Cooperative learning: one predictor a modality, whose sum is the answer, and which are drawn towards each other."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Literal

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch import Tensor
from torch.nn import functional

from metafusion import ensembles
from metafusion.cohort.loop import Data, refuse_blind
from metafusion.cohort.networks import Network, dropout_by_batch, initial_state, layers_of, networks_of, shrink, stream
from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.students import only
from metafusion.cohort.train import unit_of
from metafusion.comparators.linear import STRENGTHS
from metafusion.comparators.options import Options
from metafusion.config.models import Cohort

Scheme = Literal["direct", "backfitting", "joint"]
Residual = Literal["included", "left_out"]


def train(data: dict[int, SeedData], modalities: list[str], options: Options) -> dict[int, dict[str, np.ndarray]]:
    """Train cooperative learning with networks, in three schemes, and its linear version.

    All minimise ``mean (y - sum_m f_m)^2 + agreement * sum_{m<l} mean (f_m - f_l)^2``; the weight of the agreement is
    chosen from ``cooperative.agreements`` by the validation error of the sum, the first of equals. A predictor has no
    part, neither in the sum nor in an agreement, in samples without its modality.

    Parameters
    ----------
    data : dict of int to SeedData
        By seed; the targets are numbers.
    modalities : list of str
        Two or more; three and more agree in pairs.
    options : Options
        With ``cohort`` and ``cooperative``.

    Returns
    -------
    dict of int to dict of str to ndarray, shape (samples, 1)
        By seed: ``cooperative_direct``, ``cooperative_backfitting``, ``cooperative_joint`` (see :func:`fit_networks`;
        the last for agreements below 1, and not there if there are none) and ``cooperative_linear`` (see
        :func:`fit_linear`). NaN where networks diverged at every agreement.

    Raises
    ------
    UserError
        A modality is in no training or in no validation sample.

    References
    ----------
    Ding, Li, Narasimhan, Tibshirani 2022, Cooperative learning for multiview analysis, PNAS 119(38) e2202113119.
    """
    answers = {}
    for seed, one in data.items():
        given = options.cooperative
        candidates = {
            "direct": [("direct", agreement) for agreement in given.agreements],
            "backfitting": [("backfitting", agreement) for agreement in given.agreements],
            "joint": [("joint", agreement) for agreement in given.agreements if agreement < 1],
        }
        fit = partial(fit_networks, one, modalities, options.cohort, seed, joint_residual=given.joint_residual)
        answers[seed] = {
            f"cooperative_{name}": _best([fit(*which) for which in several], one)
            for name, several in candidates.items()
            if several
        }
        linear = [outputs for agreement in given.agreements for outputs in _linear(one, modalities, agreement)]
        answers[seed]["cooperative_linear"] = _best(linear, one)
    return answers


def _best(candidates: list[np.ndarray], data: SeedData) -> np.ndarray:
    targets = data.targets[data.validation]
    losses = [ensembles.task_loss(outputs[data.validation], targets, "regression") for outputs in candidates]
    return candidates[int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))]


def fit_networks(
    data: SeedData,
    modalities: list[str],
    settings: Cohort,
    seed: int,
    scheme: Scheme,
    agreement: float,
    joint_residual: Residual = "included",
) -> np.ndarray:
    """Train cooperating networks at one agreement.

    Heads, initial weights, mini-batches and epochs are those of the other network comparators: each network starts as
    the one of ``modality_<name>``, the joint one as early fusion's. The epoch with the best validation error of the sum
    is kept.

    Parameters
    ----------
    data : SeedData
    modalities : list of str
    settings : Cohort
    seed : int
        Of initial weights, mini-batches and dropout.
    scheme : 'direct', 'backfitting' or 'joint'
        'direct': all networks take a step together down the objective of :func:`train`. 'backfitting': within a
        mini-batch each in turn takes a step down that objective, the others' newest predictions being constants.
        'joint': back-fitting with a further network, first in turn, that sees all modalities and adds to the sum; its
        own objective is ``mean (y - sum)^2 + agreement / (1 - agreement) * mean f_joint^2``.
    agreement : float
        Not negative; below 1 with 'joint'.
    joint_residual : 'included' or 'left_out'
        Whether the other networks' squared error is that of the whole sum, or (the authors' slip) of the sum without
        the joint network.

    Returns
    -------
    ndarray, shape (samples, 1)
        The sum, in the target's unit; NaN if a network diverged.

    References
    ----------
    Ding et al. 2022 for the objective; Liang, Qu, Shahbaba 2025, arXiv 2507.20089, for the joint network.
    """
    scaled = settings.target_scaling == "standard"
    centre, scale = unit_of(data) if scaled else (0.0, 1.0)
    tensors = Data.of(replace(data, targets=(data.targets - centre) / scale))
    students = [only([name], modalities) for name in modalities]
    if scheme == "joint":
        students.insert(0, only(modalities, modalities))
    networks = networks_of(students, {}, settings)
    refuse_blind(torch.stack([tensors.seen_by(network) for network in networks]), tensors, networks, seed)
    members = [_Member(network, tensors, settings, seed) for network in networks]
    sums = _Cooperation(members, tensors, settings, seed, scheme, agreement, joint_residual).train()
    return sums.numpy()[:, None] * scale + centre


class _Member:
    """One of the networks, with its own optimiser."""

    def __init__(self, network: Network, data: Data, settings: Cohort, seed: int) -> None:
        self.network, self.data, self.seen = network, data, data.seen_by(network)
        state = initial_state(network, data.widths, data.outputs, settings.stream_of(seed), {}, data.dtype)
        self.layers = layers_of(state, "head")
        self.weights, biases = ([layer[place].requires_grad_() for layer in self.layers] for place in (0, 1))
        self.parameters = [*self.weights, *biases]
        groups = [
            {"params": self.weights, "weight_decay": network.weight_decay},
            {"params": biases, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
        self.inputs = torch.cat([data.views[branch.key] for branch in network.branches], dim=1)
        self.keep()

    def keep(self) -> None:
        """Remember the present weights as the best."""
        self.best = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def restore(self) -> None:
        for parameter, best in zip(self.parameters, self.best, strict=True):
            parameter.copy_(best)

    def __call__(self, rows: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """Return predictions, shape (rows,); 0 for samples without the modality."""
        hidden = self.inputs[rows]
        for depth, (weight, bias) in enumerate(self.layers):
            hidden = functional.linear(hidden, weight, bias)
            if depth < len(self.layers) - 1:
                hidden = hidden.relu()
                hidden = hidden * masks[depth] if masks else hidden
        return torch.where(self.seen[rows], hidden[:, 0], 0)


class _Cooperation:
    """The networks of one scheme at one agreement; see :func:`fit_networks`."""

    def __init__(
        self,
        members: list[_Member],
        data: Data,
        settings: Cohort,
        seed: int,
        scheme: Scheme,
        agreement: float,
        joint_residual: Residual,
    ) -> None:
        self.members, self.data, self.settings, self.scheme = members, data, settings, scheme
        self.agreement, self.joint_residual = agreement, joint_residual
        self.name = settings.stream_of(seed)
        self.targets = data.targets[:, 0]
        self.first = int(scheme == "joint")
        self.step = self._step_together if scheme == "direct" else self._step_in_turn

    def train(self) -> Tensor:
        """Return the sum for all samples at the best epoch, shape (samples,)."""
        everything = torch.arange(len(self.targets))
        order = stream(self.name, "batches")
        least, best_epoch = torch.inf, 0
        for epoch in range(1, self.settings.budget + 1):
            shuffled = torch.randperm(len(self.data.training), generator=order)
            batches = self.data.training[shuffled].split(self.settings.batch_size)
            for rows, masks in zip(batches, self._masks(epoch, batches), strict=True):
                self.step(rows, masks)
            loss = self._validation_loss()
            if not np.isfinite(loss):
                return torch.full_like(self.targets, torch.nan)
            if loss < least:
                least, best_epoch = loss, epoch
                for member in self.members:
                    member.keep()
            if self.settings.patience and epoch - best_epoch >= self.settings.patience:
                break
        for member in self.members:
            member.restore()
        with torch.no_grad():
            return sum(member(everything) for member in self.members)

    def _masks(self, epoch: int, batches: Sequence[Tensor]) -> list[list[list[Tensor]]]:
        """Return the dropout of every batch, member and layer; nothing where there is none."""
        sizes = [len(rows) for rows in batches]
        several = [
            dropout_by_batch(member.network, self.name, epoch, sizes, self.data.dtype) for member in self.members
        ]
        return [list(of_batch) for of_batch in zip(*several, strict=True)]

    @torch.no_grad()
    def _validation_loss(self) -> float:
        rows = self.data.validation
        said = sum(member(rows) for member in self.members)
        return float((self.targets[rows] - said).square().mean())

    def _step_together(self, rows: Tensor, masks: list[list[Tensor]]) -> None:
        outputs = [member(rows, mask) for member, mask in zip(self.members, masks, strict=True)]
        pairs = combinations(range(len(outputs)), 2)
        loss = self._error(outputs, rows)
        loss = loss + self.agreement * sum(self._distance(outputs, pair, rows) for pair in pairs)
        gradients = torch.autograd.grad(loss, [one for member in self.members for one in member.parameters])
        given = iter(gradients)
        for member in self.members:
            self._move(member, [next(given) for _ in member.parameters])

    def _step_in_turn(self, rows: Tensor, masks: list[list[Tensor]]) -> None:
        # A network is not changed before its turn, so that what it said at first is still what it says then.
        outputs = [member(rows, mask) for member, mask in zip(self.members, masks, strict=True)]
        for turn, member in enumerate(self.members):
            heard = [output if other == turn else output.detach() for other, output in enumerate(outputs)]
            self._move(member, torch.autograd.grad(self._loss_in_turn(turn, heard, rows), member.parameters))
            if turn + 1 < len(self.members):
                with torch.no_grad():
                    outputs[turn] = member(rows, masks[turn])

    def _loss_in_turn(self, turn: int, outputs: list[Tensor], rows: Tensor) -> Tensor:
        if turn < self.first:
            shrinkage = self.agreement / (1 - self.agreement)
            return self._error(outputs, rows) + shrinkage * outputs[turn].square().mean()
        counted = outputs[self.first :] if self.joint_residual == "left_out" else outputs
        others = [other for other in range(self.first, len(outputs)) if other != turn]
        distances = sum(self._distance(outputs, (turn, other), rows) for other in others)
        return self._error(counted, rows) + self.agreement * distances

    def _error(self, outputs: list[Tensor], rows: Tensor) -> Tensor:
        return (self.targets[rows] - sum(outputs)).square().mean()

    def _distance(self, outputs: list[Tensor], pair: tuple[int, int], rows: Tensor) -> Tensor:
        one, other = pair
        both = self.members[one].seen[rows] & self.members[other].seen[rows]
        return torch.where(both, (outputs[one] - outputs[other]).square(), 0).mean()

    def _move(self, member: _Member, gradients: Sequence[Tensor]) -> None:
        for parameter, gradient in zip(member.parameters, gradients, strict=True):
            parameter.grad = gradient
        member.optimiser.step()
        shrink(member.weights, self.settings.learning_rate * member.network.sparsity)


def _linear(data: SeedData, modalities: list[str], agreement: float) -> list[np.ndarray]:
    """Return predictions of every strength of the ridge penalty, each of shape (samples, 1)."""
    rows = data.training
    centred = []
    for name in modalities:
        view, present = data.views[name, "raw"].astype(np.float64), data.present[name]
        middle = view[rows[present[rows]]].mean(axis=0)
        # A sample without the modality has no part in the sum.
        centred.append(np.where(present[:, None], view - middle, 0))
    mean = data.targets[rows].mean()
    present = [data.present[name][rows] for name in modalities]
    coefficients = fit_linear(
        [one[rows] for one in centred], data.targets[rows] - mean, agreement, 1 / STRENGTHS, present
    )
    return list((np.hstack(centred) @ coefficients.T + mean).T[:, :, None])


def fit_linear(
    features: Sequence[np.ndarray],
    targets: np.ndarray,
    agreement: float,
    strengths: float | Sequence[float],
    present: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """Solve linear cooperative learning with a ridge penalty, directly.

    Minimises ``sum (y - sum_m X_m b_m)^2 + agreement * sum_{m<l} sum (X_m b_m - X_l b_l)^2 + strength * sum_m |b_m|^2``
    as one ridge regression on augmented data: below ``[X_1, X_2]`` and ``y`` stand ``sqrt(agreement) [-X_1, X_2]`` and
    0, once for each pair.

    Parameters
    ----------
    features : sequence of ndarray, shape (samples, columns of the modality)
        Centred: there is no intercept.
    targets : ndarray, shape (samples,)
        Centred.
    agreement : float
        Not negative.
    strengths : float, or several
        Of the ridge penalty; not negative.
    present : sequence of ndarray of bool, shape (samples,), or None
        By modality, the samples that have it; the features of the others are 0. Two modalities need to agree only on
        samples that have both. None: all have all.

    Returns
    -------
    ndarray, shape (strengths, columns of all modalities)
        Coefficients b_1, b_2, ... side by side; shape (columns,) for a single strength.

    References
    ----------
    Ding et al. 2022, PNAS 119(38) e2202113119 (there with the lasso).
    """
    everybody = np.ones(len(targets), dtype=bool)
    present = [everybody] * len(features) if present is None else present
    blocks = [np.hstack(features)]
    for one, other in combinations(range(len(features)), 2) if agreement > 0 else ():
        rows = present[one] & present[other]
        signs = {one: -np.sqrt(agreement), other: np.sqrt(agreement)}
        blocks.append(np.hstack([signs.get(m, 0.0) * view[rows] for m, view in enumerate(features)]))
    augmented = np.vstack(blocks)
    answer = np.concatenate([targets, np.zeros(len(augmented) - len(targets))])
    alphas = np.atleast_1d(strengths)
    # One target a strength, so that all strengths share one matrix of products.
    copies = np.repeat(answer[:, None], len(alphas), axis=1)
    found = Ridge(alpha=alphas, solver="cholesky", fit_intercept=False).fit(augmented, copies).coef_
    return found.reshape(*np.shape(strengths), -1)

"""The cohort, trained by a plain loop over students: slow, obvious, and the oracle of the packed engine."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from metafusion.cohort.losses import divergence_of, mean_where, task_losses
from metafusion.cohort.networks import (
    Convolution,
    Layers,
    Network,
    dropout_by_batch,
    initial_state,
    layers_of,
    shrink,
    stream,
)
from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.teachers import choose_penalty, inverse_weights, teaching_weights
from metafusion.config.models import Cohort, Task
from metafusion.errors import DivergedError, UserError
from metafusion.targets import balancing_weights


@dataclass
class Data:
    """What one seed learns from.

    Attributes
    ----------
    views : dict of (modality, representation) to Tensor, shape (samples, width)
    present : dict of modality to Tensor of bool, shape (samples,)
    targets : Tensor, shape (samples,) of class numbers, or (samples, 1)
        Those of the test part are never looked at, and should not be given (any filler does).
    training, validation : Tensor of int
        Rows of the parts.
    outputs : int
        Number of classes, or of numbers to predict.
    layers : dict of (modality, extractor) to list of (weight, bias)
        Extractors that were trained before.
    class_weights : Tensor, shape (outputs,), or None
        What the task loss of a sample of each class is multiplied by; None: 1.
    """

    views: dict[tuple[str, str], Tensor]
    present: dict[str, Tensor]
    targets: Tensor
    training: Tensor
    validation: Tensor
    outputs: int
    layers: dict[tuple[str, str], Layers] = field(default_factory=dict)
    class_weights: Tensor | None = None

    def weighted(self, settings: Cohort, task: Task) -> "Data":
        """Return the same with balanced classes, if that is wanted; only the training part's targets are looked at."""
        if not settings.balanced or task != "classification":
            return self
        weights = balancing_weights(self.targets[self.training].numpy(), self.outputs)
        return replace(self, class_weights=torch.from_numpy(weights).to(self.dtype))

    @classmethod
    def of(cls, data: SeedData) -> "Data":
        """Return the same as tensors; numbers as targets get the views' type and shape (samples, numbers)."""
        views = {view: torch.from_numpy(array) for view, array in data.views.items()}
        targets = torch.from_numpy(data.targets)
        if targets.is_floating_point():
            targets = targets.to(next(iter(views.values())).dtype).reshape(len(targets), -1)
        return cls(
            views=views,
            present={modality: torch.from_numpy(array) for modality, array in data.present.items()},
            targets=targets,
            training=torch.from_numpy(data.training),
            validation=torch.from_numpy(data.validation),
            outputs=data.outputs,
            layers={
                name: [(torch.from_numpy(weight), torch.from_numpy(bias)) for weight, bias in layers]
                for name, layers in data.layers.items()
            },
        )

    @property
    def dtype(self) -> torch.dtype:
        return next(iter(self.views.values())).dtype

    @property
    def widths(self) -> dict[tuple[str, str], int]:
        """Width of every view."""
        return {key: view.shape[1] for key, view in self.views.items()}

    def seen_by(self, network: Network) -> Tensor:
        """Return which samples have at least one of the network's modalities, shape (samples,)."""
        return torch.stack([self.present[branch.modality] for branch in network.branches]).any(dim=0)


@dataclass
class Trained:
    """A cohort trained at every penalty, for one seed.

    Attributes
    ----------
    predictions : ndarray, shape (penalties, students, samples, outputs)
        Logits or predictions of every student at its own best epoch, for all samples; NaN where it diverged.
    seen : ndarray of bool, shape (students, samples)
        Which student sees at least one modality of which sample; where it sees none, its prediction means nothing.
    losses : ndarray, shape (penalties, students)
        Best validation task losses; infinite where a student diverged.
    best_epochs : ndarray of int, shape (penalties, students)
        Counted from 1; 0 where a student diverged.
    teaching : ndarray, shape (penalties, students)
        Weights as teachers, after the last epoch where they follow the epochs. Those of penalty 0 are what the
        independent cohort decided.
    top : ndarray of bool, shape (students,)
        The top cluster, over which the penalty is chosen.
    chosen : int
        Index of the chosen penalty.
    history : DataFrame
        ``penalty``, ``student``, ``epoch``, ``task_loss``, ``divergence``, ``validation_loss``.
    weights : list of (dict of str to Tensor) or None
        The students' networks at the chosen penalty (see networks.initial_state); None where one diverged.
    weights_at : dict of int to list
        The same by the penalty's index, for all of them; empty unless asked for.
    """

    predictions: np.ndarray
    seen: np.ndarray
    losses: np.ndarray
    best_epochs: np.ndarray
    teaching: np.ndarray
    top: np.ndarray
    chosen: int
    history: pd.DataFrame
    weights: list[dict[str, Tensor] | None]
    weights_at: dict[int, list[dict[str, Tensor] | None]] = field(default_factory=dict)


def epochs_at(penalty: float, settings: Cohort) -> int:
    """Return how many epochs a penalty's own run has."""
    if not _is_first(penalty, settings):
        return settings.budget
    if settings.warm_start:
        return settings.epochs
    return settings.epochs if settings.equal_budget else 2 * settings.epochs


def starts_warm(penalty: float, settings: Cohort) -> bool:
    """Return whether a penalty goes on from the best states of the independent cohort."""
    return settings.warm_start and _is_first(penalty, settings)


def _is_first(penalty: float, settings: Cohort) -> bool:
    return penalty == min((one for one in settings.penalties if one > 0), default=None)


def refuse_blind(seen: Tensor, data: Data, networks: list[Network], seed: int) -> None:
    """Raise UserError if a student sees no training or no validation sample; ``seen`` has shape (students, samples)."""
    for part, rows in (("training", data.training), ("validation", data.validation)):
        blind = ~seen[:, rows].any(dim=1)
        if blind.any():
            name = networks[int(blind.int().argmax())].name
            raise UserError(
                f"seed {seed}: no {part} sample has a modality of student {name!r}; too few samples have it; "
                "remove it, or enlarge the part"
            )


def refuse_all_diverged(losses: np.ndarray, seed: int) -> None:
    """Raise DivergedError if nobody of an independent cohort has a finite loss; shape (students,)."""
    if not np.isfinite(losses).any():
        raise DivergedError(
            f"seed {seed}: the loss of every student is not a number, without any penalty; lower the learning_rate, "
            "or set 'scaling: standard' for the modalities"
        )


class _Student(nn.Module):
    """A student's network, and all that belongs to its own training."""

    def __init__(self, network: Network, data: Data, settings: Cohort, seed: int) -> None:
        super().__init__()
        state = initial_state(network, data.widths, data.outputs, settings.stream_of(seed), data.layers, data.dtype)
        self.network = network
        self.extractors = nn.ModuleDict(
            {
                branch.modality: _sequence(
                    layers_of(state, f"extractors.{branch.modality}"), branch.ends_in_relu, branch.convolution
                )
                for branch in network.branches
                if branch.widths
            }
        )
        self.head = _sequence(layers_of(state, "head"), ends_in_relu=False)
        self.load_state_dict(state)
        self.weights = decayed = [parameter for name, parameter in self.named_parameters() if name.endswith("weight")]
        others = [parameter for name, parameter in self.named_parameters() if name.endswith("bias")]
        groups = [{"params": decayed, "weight_decay": network.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate)
        self.seen = data.seen_by(network)
        self.alive, self.failed, self.stopped = True, False, False
        self.loss, self.best_epoch = np.inf, 0
        self.keep()

    def keep(self) -> None:
        """Remember the present state as the best."""
        self.best = copy.deepcopy(self.state_dict()), copy.deepcopy(self.optimiser.state_dict())

    def step(self, loss: Tensor, learning_rate: float) -> None:
        """Learn from a loss: a step of AdamW, and one of the weights towards 0."""
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        shrink(self.weights, learning_rate * self.network.sparsity)

    def forward(self, data: Data, rows: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        inputs = []
        for branch in self.network.branches:
            view = data.views[branch.key][rows]
            if branch.convolution:
                view = view.reshape(-1, *branch.convolution.shape)
            inputs.append(self.extractors[branch.modality](view) if branch.widths else view)
        hidden = torch.cat(inputs, dim=1)
        depth = 0
        for layer in self.head:
            hidden = layer(hidden)
            if isinstance(layer, nn.ReLU) and masks:
                hidden, depth = hidden * masks[depth], depth + 1
        return hidden

    @torch.no_grad()
    def validation_loss(self, data: Data, task: Task) -> float:
        losses = task_losses(self(data, data.validation), data.targets[data.validation], task, data.class_weights)
        return float(mean_where(losses, self.seen[data.validation]))


def _sequence(layers: Layers, ends_in_relu: bool, convolution: Convolution | None = None) -> nn.Sequential:
    modules: list[nn.Module] = []
    for weight, _ in layers:
        if weight.ndim > 2:
            kind = nn.Conv1d if convolution.axes == 1 else nn.Conv3d
            modules.append(kind(weight.shape[1], weight.shape[0], convolution.kernel, 2, convolution.kernel // 2))
        else:
            if modules and isinstance(modules[-2], nn.modules.conv._ConvNd):
                modules.append(nn.Flatten())
            modules.append(nn.Linear(*reversed(weight.shape)))
        modules.append(nn.ReLU())
    return nn.Sequential(*(modules if ends_in_relu else modules[:-1])).to(layers[0][0].dtype)


def train(data: Data, networks: list[Network], settings: Cohort, task: Task, seed: int) -> Trained:
    """Train a cohort at every penalty, by default each from the same initial weights and on the same mini-batches.

    Penalty 0 comes first: its validation losses decide who teaches at the others.

    Parameters
    ----------
    data : Data
    networks : list of Network
        One a student.
    settings : Cohort
    task : 'classification' or 'regression'
    seed : int
        Of initial weights, batches, dropout and clustering.

    Raises
    ------
    UserError
        All students diverge without a penalty, or one sees no training or validation sample.

    References
    ----------
    Liang, Qu, Shahbaba 2025, arXiv 2507.20089.
    """
    data = data.weighted(settings, task)
    seen = torch.stack([data.seen_by(network) for network in networks])
    refuse_blind(seen, data, networks, seed)

    def run(penalty: float, weights: np.ndarray, epochs: int, warm: list[_Student] | None = None) -> _Run:
        students = [_Student(network, data, settings, seed) for network in networks]
        for student, source in zip(students, warm or [], strict=False):
            weights_then, optimiser_then = source.best
            student.load_state_dict(weights_then)
            student.optimiser.load_state_dict(copy.deepcopy(optimiser_then))
            student.alive = not source.failed
        return _train_at(penalty, weights, students, epochs, data, settings, task, seed)

    runs = [run(0.0, np.zeros(len(networks)), settings.budget)]
    refuse_all_diverged(runs[0].losses, seed)
    weights, top = teaching_weights(runs[0].losses, settings, random_state=seed)
    runs[0].teaching = weights
    for penalty in settings.penalties[1:]:
        source = None
        if starts_warm(penalty, settings):
            source = run(0.0, np.zeros(len(networks)), settings.epochs).students
        runs.append(run(penalty, weights, epochs_at(penalty, settings), source))
    losses = np.stack([run.losses for run in runs])
    chosen = choose_penalty(losses, top)
    return Trained(
        predictions=np.stack([run.predictions for run in runs]),
        seen=seen.numpy(),
        losses=losses,
        best_epochs=np.stack([run.best_epochs for run in runs]),
        teaching=np.stack([run.teaching for run in runs]),
        top=top,
        chosen=chosen,
        history=pd.concat([run.history for run in runs], ignore_index=True),
        weights=[None if student.failed else student.best[0] for student in runs[chosen].students],
    )


@dataclass
class _Run:
    students: list[_Student]
    predictions: np.ndarray
    losses: np.ndarray
    best_epochs: np.ndarray
    teaching: np.ndarray
    history: pd.DataFrame


def _train_at(
    penalty: float,
    weights: np.ndarray,
    students: list[_Student],
    epochs: int,
    data: Data,
    settings: Cohort,
    task: Task,
    seed: int,
) -> _Run:
    teaching = torch.as_tensor(weights, dtype=data.dtype)
    name = settings.stream_of(seed)
    order = stream(name, "batches")
    history = []
    for epoch in range(1, epochs + 1):
        batches = data.training[torch.randperm(len(data.training), generator=order)].split(settings.batch_size)
        masks = [
            dropout_by_batch(student.network, name, epoch, [len(rows) for rows in batches], data.dtype)
            for student in students
        ]
        sums = np.zeros((2, len(students)))
        for number, rows in enumerate(batches):
            seen = torch.stack([student.seen[rows] for student in students])
            # Peers speak as they were before this step, whoever is updated first.
            outputs = [student(data, rows, mask[number]) for student, mask in zip(students, masks, strict=True)]
            for i, student in enumerate(students):
                student.alive = student.alive and bool(torch.isfinite(outputs[i][seen[i]]).all())
            alive = torch.tensor([student.alive for student in students])
            peers = [
                output.detach() if student.alive else torch.zeros_like(output)
                for student, output in zip(students, outputs, strict=True)
            ]
            for i, student in enumerate(students):
                losses = task_losses(outputs[i], data.targets[rows], task, data.class_weights)
                loss = mean_where(losses, seen[i])
                sums[0, i] += int(seen[i].sum()) * float(loss.detach())
                if penalty > 0:
                    pull = divergence_of(i, outputs[i], peers, teaching * alive, seen, task, settings.normaliser)
                    sums[1, i] += int(seen[i].sum()) * float(pull.detach())
                    loss = loss + penalty * pull
                student.step(loss, settings.learning_rate)
        validation = np.array([student.validation_loss(data, task) for student in students])
        for student, loss in zip(students, validation, strict=True):
            student.alive = student.alive and bool(np.isfinite(loss))
            # What happens after a student has stopped does not spoil its result.
            student.failed = student.failed or not (student.alive or student.stopped)
            better = settings.kept_epoch == "last" or loss < student.loss
            if student.alive and not student.stopped and better:
                student.loss, student.best_epoch = loss, epoch
                student.keep()
            late = settings.patience and epoch - student.best_epoch >= settings.patience
            student.stopped = student.stopped or bool(late) or student.failed
        # Means over the samples that a student sees.
        count = [int(student.seen[data.training].sum()) for student in students]
        table = {"task_loss": sums[0] / count, "divergence": sums[1] / count, "validation_loss": validation}
        known = [student.alive for student in students]
        table = {name: np.where(known, values, np.nan) for name, values in table.items()}
        history.append(pd.DataFrame({"penalty": penalty, "student": range(len(students)), "epoch": epoch} | table))
        if penalty > 0 and settings.teaching == "adaptive":
            weights = np.zeros(len(students))
            if any(known):
                weights[known] = inverse_weights(validation[known], settings.exponent)
            teaching = torch.as_tensor(weights, dtype=data.dtype)
        if settings.patience and all(student.stopped for student in students):
            break
    return _finished(students, teaching, pd.concat(history, ignore_index=True), data)


@torch.no_grad()
def _finished(students: list[_Student], teaching: Tensor, history: pd.DataFrame, data: Data) -> _Run:
    everything = torch.arange(len(data.targets))
    predictions = []
    for student in students:
        student.load_state_dict(student.best[0])
        outputs = student(data, everything)
        predictions.append(torch.full_like(outputs, torch.nan) if student.failed else outputs)
    return _Run(
        students,
        torch.stack(predictions).numpy(),
        np.array([np.inf if student.failed else student.loss for student in students]),
        np.array([0 if student.failed else student.best_epoch for student in students]),
        teaching.numpy(),
        history,
    )

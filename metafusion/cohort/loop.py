"""The cohort, trained by a plain loop over students: slow, obvious, and the oracle of any faster engine."""

import copy
import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from metafusion.cohort.losses import divergence_of, mean_where, task_losses
from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.students import Student
from metafusion.cohort.teachers import choose_penalty, teaching_weights
from metafusion.config.models import Cohort, Task
from metafusion.errors import UserError


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
        Number of classes, or 1.
    """

    views: dict[tuple[str, str], Tensor]
    present: dict[str, Tensor]
    targets: Tensor
    training: Tensor
    validation: Tensor
    outputs: int

    @classmethod
    def of(cls, data: SeedData) -> "Data":
        """Return the same as tensors; numbers as targets get the views' type and shape (samples, 1)."""
        views = {view: torch.from_numpy(array) for view, array in data.views.items()}
        targets = torch.from_numpy(data.targets)
        if targets.is_floating_point():
            targets = targets.to(next(iter(views.values())).dtype)[:, None]
        return cls(
            views=views,
            present={modality: torch.from_numpy(array) for modality, array in data.present.items()},
            targets=targets,
            training=torch.from_numpy(data.training),
            validation=torch.from_numpy(data.validation),
            outputs=data.outputs,
        )

    def input_of(self, student: Student) -> Tensor:
        """Return what a student sees, shape (samples, width)."""
        return torch.cat([self.views[view] for view in student.views], dim=1)

    def seen_by(self, student: Student) -> Tensor:
        """Return which samples have at least one of the student's modalities, shape (samples,)."""
        return torch.stack([self.present[modality] for modality, _ in student.views]).any(dim=0)


@dataclass
class Trained:
    """A cohort trained at every penalty, for one seed.

    Attributes
    ----------
    predictions : ndarray, shape (penalties, students, samples, outputs)
        Logits or predictions of every student at its own best epoch, for all samples.
    seen : ndarray of bool, shape (students, samples)
        Which student sees at least one modality of which sample; where it sees none, its prediction means nothing.
    losses : ndarray, shape (penalties, students)
        Best validation task losses.
    best_epochs : ndarray of int, shape (penalties, students)
        Counted from 1.
    teaching : ndarray, shape (students,)
        Weights as teachers.
    chosen : int
        Index of the penalty with the best top cluster.
    history : DataFrame
        ``penalty``, ``student``, ``epoch``, ``task_loss``, ``divergence``, ``validation_loss``.
    weights : list of dict of str to Tensor
        The students' networks at the chosen penalty.
    """

    predictions: np.ndarray
    seen: np.ndarray
    losses: np.ndarray
    best_epochs: np.ndarray
    teaching: np.ndarray
    chosen: int
    history: pd.DataFrame
    weights: list[dict[str, Tensor]]


def stream(*parts: object) -> torch.Generator:
    """Return a random stream that belongs to these words alone, whoever else draws."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def new_head(
    width: int, hidden: list[int], outputs: int, generator: torch.Generator, dtype: torch.dtype
) -> nn.Sequential:
    """Return an MLP with ReLU between its layers and torch's usual uniform start, drawn from the generator."""
    widths = [width, *hidden, outputs]
    layers: list[nn.Module] = []
    for inputs, units in pairwise(widths):
        layer = nn.utils.skip_init(nn.Linear, inputs, units, dtype=dtype)
        bound = inputs**-0.5
        nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def train(data: Data, students: list[Student], settings: Cohort, task: Task, seed: int) -> Trained:
    """Train a cohort at every penalty, each from the same initial weights and on the same mini-batches.

    Penalty 0 comes first: its validation losses decide who teaches at the others.

    Parameters
    ----------
    data : Data
    students : list of Student
    settings : Cohort
        Hidden widths, epochs, batch size, learning rate, penalties (ascending, the first 0).
    task : 'classification' or 'regression'
    seed : int
        Of initial weights, batches and clustering. Initial weights belong to the student's name, not to its company.

    Raises
    ------
    UserError
        The loss of a student is not a number.

    References
    ----------
    Liang, Qu, Shahbaba 2025, arXiv 2507.20089.
    """
    inputs = [data.input_of(student) for student in students]
    seen = torch.stack([data.seen_by(student) for student in students])
    refuse_blind(seen, data, students, seed)
    teaching = torch.zeros(len(students), dtype=inputs[0].dtype)
    runs = []
    for penalty in settings.penalties:
        run = _train_at(penalty, teaching, inputs, seen, data, students, settings, task, seed)
        if penalty == 0:
            teaching = torch.as_tensor(
                teaching_weights(run.losses, settings.most_clusters, random_state=seed), dtype=teaching.dtype
            )
        runs.append(run)
    losses = np.stack([run.losses for run in runs])
    chosen = choose_penalty(losses, teaching.numpy())
    return Trained(
        predictions=np.stack([run.predictions for run in runs]),
        seen=seen.numpy(),
        losses=losses,
        best_epochs=np.stack([run.best_epochs for run in runs]),
        teaching=teaching.numpy(),
        chosen=chosen,
        history=pd.concat([run.history for run in runs], ignore_index=True),
        weights=runs[chosen].weights,
    )


def refuse_blind(seen: Tensor, data: Data, students: list[Student], seed: int) -> None:
    """Raise UserError if a student sees no training or no validation sample; ``seen`` has shape (students, samples)."""
    for part, rows in (("training", data.training), ("validation", data.validation)):
        blind = ~seen[:, rows].any(dim=1)
        if blind.any():
            name = students[int(blind.int().argmax())].name
            raise UserError(
                f"seed {seed}: no {part} sample has a modality of student {name!r}; too few samples have it; "
                "remove it, or enlarge the part"
            )


def not_a_number(seed: int, penalty: float, student: Student, epoch: int) -> str:
    """Return what to say when training has left the numbers."""
    return (
        f"seed {seed}, penalty {penalty:g}: the loss of student {student.name!r} is not a number at epoch {epoch}; "
        "lower cohort.learning_rate, or set 'scaling: standard' for its modalities"
    )


@dataclass
class _Run:
    predictions: np.ndarray
    losses: np.ndarray
    best_epochs: np.ndarray
    history: pd.DataFrame
    weights: list[dict[str, Tensor]]


def _train_at(
    penalty: float,
    teaching: Tensor,
    inputs: list[Tensor],
    seen: Tensor,
    data: Data,
    students: list[Student],
    settings: Cohort,
    task: Task,
    seed: int,
) -> _Run:
    everyone = range(len(students))
    heads = [
        new_head(x.shape[1], settings.hidden, data.outputs, stream(seed, "weights", student.name), x.dtype)
        for x, student in zip(inputs, students, strict=True)
    ]
    # Adam works element by element, so one optimiser for all students is the same as one for each.
    parameters = [parameter for head in heads for parameter in head.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=settings.learning_rate, fused=True)
    order = stream(seed, "batches")
    best = [copy.deepcopy(head.state_dict()) for head in heads]
    losses, best_epochs = np.full(len(students), np.inf), np.zeros(len(students), dtype=np.int64)
    history = []
    for epoch in range(1, settings.epochs + 1):
        shuffled = data.training[torch.randperm(len(data.training), generator=order)]
        sums, divergences = np.zeros(len(students)), np.zeros(len(students))
        for rows in shuffled.split(settings.batch_size):
            outputs = [head(x[rows]) for head, x in zip(heads, inputs, strict=True)]
            # Peers speak as they were before this step, whoever is updated first.
            peers = torch.stack(outputs).detach()
            tasks = [mean_where(task_losses(outputs[i], data.targets[rows], task), seen[i, rows]) for i in everyone]
            total = sum(tasks)
            if penalty > 0:
                pulls = [divergence_of(i, outputs[i], peers, teaching, seen[:, rows], task) for i in everyone]
                total = total + penalty * sum(pulls)
                divergences += seen[:, rows].sum(dim=1).numpy() * torch.stack(pulls).detach().numpy()
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
            drawn = seen[:, rows].sum(dim=1).numpy()
            sums += drawn * torch.stack(tasks).detach().numpy()
        validation = _validation_losses(heads, inputs, seen, data, task)
        if not np.isfinite(validation).all():
            broken = students[int(np.argmin(np.isfinite(validation)))]
            raise UserError(not_a_number(seed, penalty, broken, epoch))
        for i in np.flatnonzero(validation < losses):
            losses[i], best_epochs[i], best[i] = validation[i], epoch, copy.deepcopy(heads[i].state_dict())
        # Means over the samples that a student sees.
        count = seen[:, data.training].sum(dim=1).numpy()
        history.append(
            pd.DataFrame(
                {
                    "penalty": penalty,
                    "student": np.array(everyone),
                    "epoch": epoch,
                    "task_loss": sums / count,
                    "divergence": divergences / count,
                    "validation_loss": validation,
                }
            )
        )
    for head, state in zip(heads, best, strict=True):
        head.load_state_dict(state)
    with torch.no_grad():
        predictions = torch.stack([head(x) for head, x in zip(heads, inputs, strict=True)]).numpy()
    return _Run(predictions, losses, best_epochs, pd.concat(history, ignore_index=True), best)


@torch.no_grad()
def _validation_losses(
    heads: list[nn.Sequential], inputs: list[Tensor], seen: Tensor, data: Data, task: Task
) -> np.ndarray:
    rows = data.validation
    losses = [
        mean_where(task_losses(head(x[rows]), data.targets[rows], task), seen[i, rows])
        for i, (head, x) in enumerate(zip(heads, inputs, strict=True))
    ]
    return torch.stack(losses).double().numpy()

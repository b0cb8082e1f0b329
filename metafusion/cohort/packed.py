"""The cohort as one tensor program: seeds, penalties and students together, with the loop's results.

Axes, in this order: S seeds, P penalties, K students, N samples. The first layer is one product a view: all students
that see the same representation of a modality share it. Deeper layers are batched products over S * P * K. Rows that
pad a seed with fewer samples, and columns that pad a seed with fewer features, are masked or zero and never learn.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.adam import adam

from metafusion.cohort import loop
from metafusion.cohort.loop import Data, Trained, stream
from metafusion.cohort.losses import mean_where
from metafusion.cohort.students import Student
from metafusion.cohort.teachers import choose_penalty, teaching_weights
from metafusion.config.models import Cohort, Task
from metafusion.errors import UserError

CACHE = 8 * 2**20
"""Bytes of weights that are trained together. Larger groups were measured to be slower: they leave the cache."""
PIECE = 64
"""Rows that go through the networks at once where nothing is learnt: activations of more leave the cache."""


def train(data: dict[int, Data], students: list[Student], settings: Cohort, task: Task) -> dict[int, Trained]:
    """Train the cohorts of several seeds at every penalty.

    Parameters
    ----------
    data : dict of int to Data
        By seed.
    students, settings, task
        See :func:`metafusion.cohort.loop.train`, which does the same one student at a time.

    Returns
    -------
    dict of int to Trained
        By seed, in the order given.

    Raises
    ------
    UserError
        The loss of a student is not a number, or a student sees no training or validation sample.
    """
    trained: dict[int, Trained] = {}
    # Seeds with another number of mini-batches take other numbers of steps, and would wait for each other.
    steps = {seed: -(-len(one.training) // settings.batch_size) for seed, one in data.items()}
    for count in sorted(set(steps.values())):
        seeds = [seed for seed in data if steps[seed] == count]
        trained |= _train_together({seed: data[seed] for seed in seeds}, students, settings, task)
    return {seed: trained[seed] for seed in data}


def _train_together(data: dict[int, Data], students: list[Student], settings: Cohort, task: Task) -> dict[int, Trained]:
    packed = _pack(data, students)
    for index, (seed, one) in enumerate(data.items()):
        loop.refuse_blind(packed.seen[index, :, : len(one.targets)], one, students, seed)
    alone = _Run(packed, students, [0.0], torch.zeros(len(data), len(students)), settings, task)
    alone.train()
    teaching = np.stack(
        [
            teaching_weights(losses, settings.most_clusters, random_state=seed)
            for seed, losses in zip(data, alone.losses[:, 0], strict=True)
        ]
    )
    runs = [alone]
    for penalties in _together([penalty for penalty in settings.penalties if penalty > 0], alone.bytes):
        mutual = _Run(packed, students, penalties, torch.from_numpy(teaching), settings, task)
        mutual.train()
        runs.append(mutual)
    # Which run, and which place in it, holds each penalty.
    places = [(run, p) for run in runs for p in range(len(run.penalties))]
    losses = np.concatenate([run.losses for run in runs], axis=1)
    epochs = np.concatenate([run.best_epochs for run in runs], axis=1)
    predictions = np.concatenate([run.predictions() for run in runs], axis=1)
    trained = {}
    for index, (seed, one) in enumerate(data.items()):
        chosen = choose_penalty(losses[index], teaching[index])
        samples = len(one.targets)
        trained[seed] = Trained(
            predictions=predictions[index, :, :, :samples],
            seen=packed.seen[index, :, :samples].numpy(),
            losses=losses[index],
            best_epochs=epochs[index],
            teaching=teaching[index],
            chosen=chosen,
            history=pd.concat([run.history(index) for run in runs], ignore_index=True),
            weights=places[chosen][0].weights(index, places[chosen][1]),
        )
    return trained


def _together(penalties: list[float], size: int) -> list[list[float]]:
    """Group penalties so that the weights of a group stay in the cache; those of one take ``size`` bytes."""
    most = max(1, CACHE // size)
    return [penalties[start : start + most] for start in range(0, len(penalties), most)]


@dataclass
class _Packed:
    """The data of several seeds, padded to a common number of samples and columns.

    ``views``: (S, N, width) by (modality, representation). ``widths``: the true widths, by view and seed. ``seen``:
    (S, K, N). ``targets``: (S, N) or (S, N, 1). ``training`` and ``validation``: rows of each seed.
    """

    seeds: list[int]
    views: dict[tuple[str, str], Tensor]
    widths: dict[tuple[str, str], list[int]]
    seen: Tensor
    targets: Tensor
    training: list[Tensor]
    validation: list[Tensor]
    outputs: int


def _pack(data: dict[int, Data], students: list[Student]) -> _Packed:
    several = list(data.values())
    used = list(dict.fromkeys(view for student in students for view in student.views))
    seen = [torch.stack([one.seen_by(student) for student in students], dim=1) for one in several]
    return _Packed(
        seeds=list(data),
        views={view: _pad([one.views[view] for one in several]) for view in used},
        widths={view: [one.views[view].shape[1] for one in several] for view in used},
        seen=_pad(seen).transpose(1, 2).contiguous(),
        targets=_pad([one.targets for one in several]),
        training=[one.training for one in several],
        validation=[one.validation for one in several],
        outputs=several[0].outputs,
    )


def _pad(tensors: list[Tensor]) -> Tensor:
    """Stack tensors of the same number of axes, filled up with zeros to the largest size of each axis."""
    shape = [max(sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True)]
    stacked = tensors[0].new_zeros((len(tensors), *shape))
    for room, tensor in zip(stacked, tensors, strict=True):
        room[tuple(slice(size) for size in tensor.shape)] = tensor
    return stacked


def _pad_rows(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return row numbers, shape (S, most), and which of them are real."""
    real = _pad([torch.ones(len(some), dtype=torch.bool) for some in rows])
    return _pad(rows), real


class _Run:
    """All students of all seeds, at one or several penalties, from their initial weights to their best epochs."""

    def __init__(
        self,
        packed: _Packed,
        students: list[Student],
        penalties: list[float],
        teaching: Tensor,
        settings: Cohort,
        task: Task,
    ) -> None:
        self.packed, self.students, self.settings, self.task = packed, students, settings, task
        self.dtype = next(iter(packed.views.values())).dtype
        self.penalties = penalties
        self.teaching = teaching.to(self.dtype)
        self.shape = (len(packed.seeds), len(penalties), len(students))
        self.views_of: dict[str, list[tuple[str, str]]] = {}
        for view in packed.views:
            self.views_of.setdefault(view[0], []).append(view)
        self.users = {view: [k for k, student in enumerate(students) if view in student.views] for view in packed.views}
        self.order = {modality: self._order(views) for modality, views in self.views_of.items()}
        self.parameters = self._initial()
        self.bytes = sum(tensor.numel() * tensor.element_size() for tensor in self.parameters.values())

    def _order(self, views: list[tuple[str, str]]) -> Tensor:
        """Where each student finds its part among the products of a modality's views; the last place holds zeros."""
        place = [user for view in views for user in self.users[view]]
        return torch.tensor([place.index(k) if k in place else len(place) for k in range(len(self.students))])

    def _initial(self) -> dict[object, Tensor]:
        """Pack the same initial weights that the loop draws: first layers by view, then (S, P, K, in, out) a layer."""
        seeds, penalties, count = self.shape
        widths = [*self.settings.hidden, self.packed.outputs]
        weights: dict[object, Tensor] = {
            view: torch.zeros(seeds, 1, len(self.users[view]), table.shape[2], widths[0], dtype=self.dtype)
            for view, table in self.packed.views.items()
        }
        weights["bias", 0] = torch.zeros(seeds, 1, count, 1, widths[0], dtype=self.dtype)
        for depth, (inputs, units) in enumerate(pairwise(widths), start=1):
            weights["weight", depth] = torch.zeros(seeds, 1, count, inputs, units, dtype=self.dtype)
            weights["bias", depth] = torch.zeros(seeds, 1, count, 1, units, dtype=self.dtype)
        for s, seed in enumerate(self.packed.seeds):
            for k, student in enumerate(self.students):
                columns = [self.packed.widths[view][s] for view in student.views]
                head = loop.new_head(
                    sum(columns),
                    self.settings.hidden,
                    self.packed.outputs,
                    stream(seed, "weights", student.name),
                    self.dtype,
                )
                linears = [layer for layer in head if isinstance(layer, torch.nn.Linear)]
                pieces = linears[0].weight.detach().T.split(columns)
                for view, piece in zip(student.views, pieces, strict=True):
                    weights[view][s, 0, self.users[view].index(k), : len(piece)] = piece
                for depth, layer in enumerate(linears):
                    weights["bias", depth][s, 0, k, 0] = layer.bias.detach()
                    if depth:
                        weights["weight", depth][s, 0, k] = layer.weight.detach().T
        return {name: torch.nn.Parameter(tensor.repeat(1, penalties, 1, 1, 1)) for name, tensor in weights.items()}

    def forward(self, rows: Tensor, parameters: dict[object, Tensor]) -> Tensor:
        """Outputs of all students for some rows of each seed (S, B); shape (S, P, K, B, outputs)."""
        seeds, penalties, count = self.shape
        batch = rows.shape[1]
        hidden = parameters["bias", 0]
        units = hidden.shape[-1]
        picked = torch.arange(seeds)[:, None], rows
        for modality, views in self.views_of.items():
            products = []
            for view in views:
                users = len(self.users[view])
                # (S, B, width) @ (S, width, P * users * units): one large product for all who share the view.
                weight = parameters[view].permute(0, 3, 1, 2, 4).reshape(seeds, -1, penalties * users * units)
                product = torch.bmm(self.packed.views[view][picked], weight)
                products.append(product.view(seeds, batch, penalties, users, units))
            products.append(products[0].new_zeros(seeds, batch, penalties, 1, units))
            joined = torch.cat(products, dim=3).permute(0, 2, 3, 1, 4)
            hidden = hidden + joined.index_select(2, self.order[modality])
        for depth in range(1, len(self.settings.hidden) + 1):
            weight, bias = parameters["weight", depth], parameters["bias", depth]
            flat = functional.relu(hidden).reshape(-1, batch, weight.shape[-2])
            hidden = torch.baddbmm(bias.flatten(0, 2), flat, weight.flatten(0, 2))
        return hidden.view(seeds, penalties, count, batch, -1)

    def train(self) -> None:
        """Run all epochs; keep every student's best."""
        step = _Adam(list(self.parameters.values()), self.settings.learning_rate)
        orders = [stream(seed, "batches") for seed in self.packed.seeds]
        penalties = torch.tensor(self.penalties, dtype=self.dtype)[:, None]
        self.best = {name: tensor.detach().clone() for name, tensor in self.parameters.items()}
        best_losses = torch.full(self.shape, torch.inf, dtype=self.dtype)
        best_epochs = torch.zeros(self.shape, dtype=torch.int64)
        counts = torch.stack(
            [seen[:, rows].sum(dim=1) for seen, rows in zip(self.packed.seen, self.packed.training, strict=True)]
        )
        self._curves = []
        for epoch in range(1, self.settings.epochs + 1):
            shuffled = [
                rows[torch.randperm(len(rows), generator=order)]
                for rows, order in zip(self.packed.training, orders, strict=True)
            ]
            rows, real = _pad_rows(shuffled)
            tasks_sum, pulls_sum = torch.zeros(2, *self.shape, dtype=self.dtype)
            size = self.settings.batch_size
            for batch, here in zip(rows.split(size, dim=1), real.split(size, dim=1), strict=True):
                tasks, pulls, drawn = self._losses(self.forward(batch, self.parameters), batch, here)
                (tasks + penalties * pulls).sum().backward()
                step()
                tasks_sum += drawn * tasks.detach()
                pulls_sum += drawn * pulls.detach()
            validation = self._validate()
            self._refuse_broken(validation, epoch)
            better = validation < best_losses
            best_losses = torch.where(better, validation, best_losses)
            best_epochs = torch.where(better, epoch, best_epochs)
            self._keep(better)
            self._curves.append(torch.stack([tasks_sum / counts[:, None], pulls_sum / counts[:, None], validation]))
        self.losses, self.best_epochs = best_losses.double().numpy(), best_epochs.numpy()

    def _losses(self, outputs: Tensor, batch: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Task loss and divergence of every student on a mini-batch, and how many samples it sees: each (S, P, K)."""
        picked = torch.arange(len(batch))[:, None], batch
        seen = self.packed.seen.transpose(1, 2)[picked].transpose(1, 2) & real[:, None, :]
        seen = seen[:, None].expand(-1, self.shape[1], -1, -1)
        tasks = mean_where(_task_losses(outputs, self.packed.targets[picked], self.task), seen)
        if self.penalties == [0.0]:
            return tasks, torch.zeros_like(tasks), seen.sum(dim=-1)
        teaching = self.teaching[:, None, :, None] * seen.to(self.dtype)
        return tasks, mean_where(mixed_divergence(outputs, teaching, self.task), seen), seen.sum(dim=-1)

    @torch.no_grad()
    def _validate(self) -> Tensor:
        rows, real = _pad_rows(self.packed.validation)
        picked = torch.arange(len(rows))[:, None], rows
        seen = self.packed.seen.transpose(1, 2)[picked].transpose(1, 2) & real[:, None, :]
        outputs = self._answers(rows, self.parameters)
        losses = _task_losses(outputs, self.packed.targets[picked], self.task)
        return mean_where(losses, seen[:, None].expand(-1, self.shape[1], -1, -1))

    @torch.no_grad()
    def _answers(self, rows: Tensor, parameters: dict[object, Tensor]) -> Tensor:
        return torch.cat([self.forward(some, parameters) for some in rows.split(PIECE, dim=1)], dim=3)

    def _refuse_broken(self, validation: Tensor, epoch: int) -> None:
        broken = (~torch.isfinite(validation)).nonzero()
        if len(broken):
            s, p, k = broken[0].tolist()
            raise UserError(loop.not_a_number(self.packed.seeds[s], self.penalties[p], self.students[k], epoch))

    @torch.no_grad()
    def _keep(self, better: Tensor) -> None:
        """Copy the weights of the students that became better."""
        for name, tensor in self.parameters.items():
            mask = better[..., self.users[name]] if name in self.users else better
            torch.where(mask[..., None, None], tensor, self.best[name], out=self.best[name])

    def predictions(self) -> np.ndarray:
        """Outputs at the best epochs for all samples, shape (S, P, K, N, outputs)."""
        samples = self.packed.seen.shape[2]
        return self._answers(torch.arange(samples).expand(self.shape[0], -1), self.best).numpy()

    def history(self, s: int) -> pd.DataFrame:
        """Return the learning curves of a seed, as the loop does."""
        curves = torch.stack(self._curves)[:, :, s].double().numpy()
        epochs, students = len(curves), curves.shape[-1]
        index = pd.MultiIndex.from_product(
            [self.penalties, range(1, epochs + 1), range(students)], names=["penalty", "epoch", "student"]
        )
        values = curves.transpose(2, 0, 3, 1).reshape(-1, 3)
        table = pd.DataFrame(values, index, columns=["task_loss", "divergence", "validation_loss"]).reset_index()
        return table[["penalty", "student", "epoch", "task_loss", "divergence", "validation_loss"]]

    def weights(self, s: int, p: int) -> list[dict[str, Tensor]]:
        """Return every student's network at its best epoch, named as the loop's ``nn.Sequential`` would."""
        return [self._weights_of(s, p, k, student) for k, student in enumerate(self.students)]

    def _weights_of(self, s: int, p: int, k: int, student: Student) -> dict[str, Tensor]:
        first = [
            self.best[view][s, p, self.users[view].index(k), : self.packed.widths[view][s]] for view in student.views
        ]
        state = {"0.weight": torch.cat(first).T.contiguous(), "0.bias": self.best["bias", 0][s, p, k, 0].clone()}
        for depth in range(1, len(self.settings.hidden) + 1):
            # Every other module of the sequence is a ReLU.
            state[f"{2 * depth}.weight"] = self.best["weight", depth][s, p, k].T.contiguous()
            state[f"{2 * depth}.bias"] = self.best["bias", depth][s, p, k, 0].clone()
        return state


class _Adam:
    """Adam with torch's defaults, one fused call a step, by torch's functional form.

    ``torch.optim.Adam`` does the same, but loads the compiler when it is made, which costs every job two seconds.
    """

    def __init__(self, parameters: list[Tensor], learning_rate: float) -> None:
        self.parameters = parameters
        self.learning_rate = learning_rate
        self.means = [torch.zeros_like(parameter) for parameter in parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in parameters]
        self.steps = [torch.zeros(()) for _ in parameters]

    @torch.no_grad()
    def __call__(self) -> None:
        """Take one step along the gradients, and clear them."""
        adam(
            self.parameters,
            [parameter.grad for parameter in self.parameters],
            self.means,
            self.squares,
            [],
            self.steps,
            foreach=False,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
        for parameter in self.parameters:
            parameter.grad = None


def _task_losses(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """Loss of every sample, shape (S, P, K, B), for targets of shape (S, B) or (S, B, 1)."""
    if task == "classification":
        logs = functional.log_softmax(outputs, dim=-1)
        classes = targets[:, None, None, :, None].expand(*logs.shape[:-1], 1)
        return -logs.gather(-1, classes).squeeze(-1)
    return (outputs - targets[:, None, None]).square().mean(dim=-1)


def mixed_divergence(outputs: Tensor, teaching: Tensor, task: Task) -> Tensor:
    """Divergence of every student from the weighted mean of its teachers, in closed form, without a loop over pairs.

    Parameters
    ----------
    outputs : Tensor, shape (..., K, B, outputs)
        Logits or predictions. As peers they are constants: no gradient flows into them.
    teaching : Tensor, shape (..., K, B)
        Weight of each student as a teacher of each sample, not negative.

    Returns
    -------
    Tensor, shape (..., K, B)
        ``sum_{j != i} w_j D(f_i, f_j) / sum_{j != i} w_j``; 0 where nobody else teaches.

    Notes
    -----
    A student's divergence from itself is 0 and has no gradient, so sums over all students serve for sums over the
    others; only the normaliser leaves the student out. KL: ``sum_j w_j KL(p_j || p_i) = sum_j w_j (sum_c p_jc log p_jc)
    - sum_c (sum_j w_j p_jc) log p_ic``. Squares: ``sum_j w_j (f_i - f_j)^2 = W (f_i - m)^2 + sum_j w_j (f_j - m)^2``
    with the weighted mean m, which does not lose digits as the expanded square would.
    """
    weights = teaching.unsqueeze(-1)
    total = weights.sum(dim=-3, keepdim=True)
    if task == "classification":
        logs = functional.log_softmax(outputs, dim=-1)
        peers = logs.detach()
        mixture = (weights * peers.exp()).sum(dim=-3, keepdim=True)
        negative_entropy = (weights * peers.exp() * peers).sum(dim=(-3, -1)).unsqueeze(-2)
        sums = negative_entropy - (mixture * logs).sum(dim=-1)
    else:
        peers = outputs.detach()
        mean = (weights * peers).sum(dim=-3, keepdim=True) / torch.where(total > 0, total, 1)
        spread = (weights * (peers - mean).square()).sum(dim=-3, keepdim=True)
        sums = (total * (outputs - mean).square() + spread).mean(dim=-1)
    others = teaching.sum(dim=-2, keepdim=True) - teaching
    # A lone teacher's own remainder is rounding, not a teacher.
    alone = others <= 1e-6 * teaching.sum(dim=-2, keepdim=True)
    return torch.where(alone, 0, sums / torch.where(alone, 1, others))

"""The cohort as one tensor program: seeds, penalties and students together, with the loop's results.

Axes, in this order: S seeds, P penalties, K students, B or N samples. Rows that pad a seed with fewer samples are
masked. Nothing couples two students but the divergence, and nothing couples two seeds or penalties at all.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.optim.adam import adam

from metafusion.cohort import loop
from metafusion.cohort.loop import Data, Trained, epochs_at, starts_warm
from metafusion.cohort.losses import mean_where, mixed_divergence, task_losses
from metafusion.cohort.memory import parts_of_block, weights_of
from metafusion.cohort.networks import Network, dropout_masks, initial_state, stream
from metafusion.cohort.program import Parameters, Program, pad
from metafusion.cohort.runtime import Runtime
from metafusion.cohort.teachers import choose_penalty, teaching_weights
from metafusion.config.models import Cohort, Task

CACHE = 8 * 2**20
"""Bytes of weights that a CPU trains together. Larger groups were measured to be slower: they leave the cache."""
PIECE = 64
"""Rows that go through the networks at once where nothing is learnt: activations of more leave a CPU's cache."""
WARM_UP = 3
"""Steps on a GPU before one is recorded."""


def train(
    data: dict[int, Data],
    networks: list[Network],
    settings: Cohort,
    task: Task,
    runtime: Runtime | None = None,
    *,
    every_penalty: bool = False,
) -> dict[int, Trained]:
    """Train the cohorts of several seeds at every penalty.

    Parameters
    ----------
    data : dict of int to Data
        By seed. A fold is a seed with another split.
    networks, settings, task
        See :func:`metafusion.cohort.loop.train`, which does the same one student at a time.
    runtime : Runtime
        Device, memory, saved states and progress.
    every_penalty : bool
        Whether to return the networks at every penalty (``weights_at``), not at the chosen one alone.

    Returns
    -------
    dict of int to Trained
        By seed, in the order given.

    Raises
    ------
    UserError
        All students of a seed diverge without a penalty, one sees no training or validation sample, or the memory is
        too small.
    """
    runtime = runtime or Runtime()
    data = {seed: one.weighted(settings, task) for seed, one in data.items()}
    for seed, one in data.items():
        loop.refuse_blind(torch.stack([one.seen_by(network) for network in networks]), one, networks, seed)
    if runtime.checkpoint:
        key = _fingerprint(data, networks, settings, task, runtime)
        runtime = replace(runtime, checkpoint=runtime.checkpoint.keyed(key))
    together = _most_together(data, networks, settings, runtime)
    parts = parts_of_block(data, networks, settings, together, runtime.memory)
    if len(parts) > 1:
        runtime.say(f"{len(data)} seeds do not fit the memory at once: trained in {len(parts)} parts")
    # Seeds with another number of mini-batches take other numbers of steps, and would wait for each other.
    groups = [group for part in parts for group in _alike({seed: data[seed] for seed in part}, settings)]
    work = _Work(runtime, total=len(data) * sum(_epochs(settings)))
    trained: dict[int, Trained] = {}
    for number, seeds in enumerate(groups):
        here = {seed: data[seed] for seed in seeds}
        group = _Group(here, networks, settings, task, runtime, work, f"group{number}", together)
        trained |= group.train(every_penalty)
    return {seed: trained[seed] for seed in data}


def _fingerprint(data: dict[int, Data], networks: list[Network], settings: Cohort, task: Task, runtime: Runtime) -> str:
    """Return what tells a training from every other, so that no state is taken for another training's."""
    precision = torch.backends.cuda.matmul.fp32_precision
    machine = (runtime.device, precision, runtime.memory, torch.get_num_threads(), torch.__version__)
    digest = hashlib.sha256(repr((settings, networks, task, machine)).encode())
    for seed, one in data.items():
        layers = [tensor for layers in one.layers.values() for layer in layers for tensor in layer]
        tensors = [*one.views.values(), *one.present.values(), one.targets, one.training, one.validation, *layers]
        digest.update(repr((seed, list(one.views), list(one.present), list(one.layers))).encode())
        for tensor in tensors:
            digest.update(repr(tensor.shape).encode())
            digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()


def _most_together(data: dict[int, Data], networks: list[Network], settings: Cohort, runtime: Runtime) -> int:
    """Return how many penalties are trained together: on a CPU as many as stay in the cache."""
    most = max(1, len(settings.penalties) - 1)
    if runtime.device.type != "cpu":
        return most
    one = next(iter(data.values()))
    size = one.dtype.itemsize * sum(weights_of(network, one.widths, one.outputs) for network in networks)
    return max(1, min(most, CACHE // (size * len(data))))


def _alike(data: dict[int, Data], settings: Cohort) -> list[list[int]]:
    steps = {seed: -(-len(one.training) // settings.batch_size) for seed, one in data.items()}
    return [[seed for seed in data if steps[seed] == count] for count in sorted(set(steps.values()))]


def _epochs(settings: Cohort) -> list[int]:
    """Epochs of every run that a seed needs, one penalty each."""
    warm = [settings.epochs for penalty in settings.penalties if starts_warm(penalty, settings)]
    # A warm start goes on from 'epochs' epochs; where the independent cohort has more, that is a run of its own.
    return [epochs_at(penalty, settings) for penalty in settings.penalties] + (warm if _needs_source(settings) else [])


def _needs_source(settings: Cohort) -> bool:
    return settings.warm_start and settings.budget > settings.epochs


class _Work:
    """How much is done of all that is to be done, in epochs of one seed at one penalty."""

    def __init__(self, runtime: Runtime, total: int) -> None:
        self.progress, self.total, self.done = runtime.progress, total, 0

    def skip(self, run: "_Run", epochs: int) -> None:
        """Leave out epochs that need no work, of a saved state, or after a cohort has ended: they take no time."""
        self.total -= epochs * run.shape[0] * run.shape[1]

    def epoch(self, run: "_Run") -> None:
        self.done += run.shape[0] * run.shape[1]
        if self.progress and self.progress.due:
            self.progress.say(run.words(), min(1.0, self.done / self.total))


@dataclass
class _Packed:
    """The data of several seeds, padded to a common number of samples and columns.

    ``views``: (S, N, width) by (modality, representation). ``seen``: (S, N, K). ``targets``: (S, N) or (S, N, numbers).
    ``training`` and ``validation``: rows of each seed. ``class_weights``: (S, classes), or None.
    """

    seeds: list[int]
    views: dict[tuple[str, str], Tensor]
    seen: Tensor
    targets: Tensor
    training: list[Tensor]
    validation: list[Tensor]
    class_weights: Tensor | None

    @classmethod
    def of(cls, data: dict[int, Data], networks: list[Network], device: torch.device) -> "_Packed":
        several = list(data.values())
        used = dict.fromkeys(branch.key for network in networks for branch in network.branches)
        seen = [torch.stack([one.seen_by(network) for network in networks], dim=1) for one in several]
        return cls(
            seeds=list(data),
            views={view: pad([one.views[view] for one in several]).to(device) for view in used},
            seen=pad(seen).to(device),
            targets=pad([one.targets for one in several]).to(device),
            training=[one.training for one in several],
            validation=[one.validation for one in several],
            class_weights=None
            if several[0].class_weights is None
            else torch.stack([one.class_weights for one in several]).to(device),
        )


class _Group:
    """Seeds with equal numbers of mini-batches, at all penalties."""

    def __init__(
        self,
        data: dict[int, Data],
        networks: list[Network],
        settings: Cohort,
        task: Task,
        runtime: Runtime,
        work: _Work,
        label: str,
        together: int,
    ) -> None:
        self.data, self.networks, self.settings, self.task = data, networks, settings, task
        self.runtime, self.work, self.label, self.together = runtime, work, label, together
        self.packed = _Packed.of(data, networks, runtime.device)
        self.top: Tensor | None = None
        several = list(data.values())
        self.program = Program(networks, [one.widths for one in several], several[0].outputs, runtime.device)
        self.states = [
            [
                initial_state(network, one.widths, one.outputs, settings.stream_of(seed), one.layers, one.dtype)
                for network in networks
            ]
            for seed, one in data.items()
        ]

    def train(self, every_penalty: bool) -> dict[int, Trained]:
        settings, count = self.settings, len(self.networks)
        nobody = np.zeros((len(self.data), count))
        alone = self._run([0.0], nobody, settings.budget, "alone", moments=settings.warm_start)
        for seed, losses in zip(self.data, alone.losses[:, 0], strict=True):
            loop.refuse_all_diverged(losses, seed)
        decided = [
            teaching_weights(losses, settings, random_state=seed)
            for seed, losses in zip(self.data, alone.losses[:, 0], strict=True)
        ]
        teaching, top = (np.stack(parts) for parts in zip(*decided, strict=True))
        self.top = torch.from_numpy(top).to(self.runtime.device)
        runs = [alone]
        alone.teaching_then = teaching[:, None]
        for penalties in self._groups_of_penalties():
            source = None
            if starts_warm(penalties[0], settings):
                source = alone
                if _needs_source(settings):
                    source = self._run([0.0], nobody, settings.epochs, "source", moments=True)
            label = "penalty" + "_".join(repr(penalty) for penalty in penalties)
            runs.append(self._run(penalties, teaching, epochs_at(penalties[0], settings), label, source=source))
        return self._results(runs, top, every_penalty)

    def _run(self, penalties: list[float], teaching: np.ndarray, epochs: int, label: str, **options: object) -> "_Run":
        run = _Run(self, penalties, teaching, epochs, f"{self.label}_{label}", **options)
        run.train()
        return run

    def _groups_of_penalties(self) -> list[list[float]]:
        """Group penalties that can be trained together: equal epochs and starts, and few enough for the cache."""
        groups: list[list[float]] = []
        for penalty in self.settings.penalties[1:]:
            kind = epochs_at(penalty, self.settings), starts_warm(penalty, self.settings)
            last = groups[-1][-1] if groups else None
            alike = last is not None and kind == (epochs_at(last, self.settings), starts_warm(last, self.settings))
            if alike and len(groups[-1]) < self.together:
                groups[-1].append(penalty)
            else:
                groups.append([penalty])
        return groups

    def _results(self, runs: list["_Run"], top: np.ndarray, every_penalty: bool) -> dict[int, Trained]:
        # Which run, and which place in it, holds each penalty.
        places = [(run, p) for run in runs for p in range(len(run.penalties))]
        losses, epochs, teaching, predictions = (
            np.concatenate(parts, axis=1)
            for parts in zip(
                *((run.losses, run.best_epochs, run.teaching_then, run.predictions()) for run in runs), strict=True
            )
        )
        trained = {}
        for s, (seed, one) in enumerate(self.data.items()):
            chosen = choose_penalty(losses[s], top[s])
            samples = len(one.targets)
            trained[seed] = Trained(
                predictions=predictions[s, :, :, :samples],
                seen=self.packed.seen[s, :samples].T.cpu().numpy(),
                losses=losses[s],
                best_epochs=epochs[s],
                teaching=teaching[s],
                top=top[s],
                chosen=chosen,
                history=pd.concat([run.history(s) for run in runs], ignore_index=True),
                weights=places[chosen][0].weights(s, places[chosen][1]),
                weights_at={p: run.weights(s, place) for p, (run, place) in enumerate(places)} if every_penalty else {},
            )
        return trained


@dataclass
class _Batch:
    """Some samples of each seed.

    ``views``: (S, B, width) each. ``targets``: (S, B) or (S, B, numbers). ``seen``: (S, P, K, B). ``masks``: see
    :meth:`Program.forward`.
    """

    views: dict[tuple[str, str], Tensor]
    targets: Tensor
    seen: Tensor
    masks: dict[str, list[Tensor]]

    def part(self, start: int, stop: int) -> "_Batch":
        """Return some of the samples, without a copy."""
        views = {name: view[:, start:stop] for name, view in self.views.items()}
        masks = {h: [mask[..., start:stop, :] for mask in layers] for h, layers in self.masks.items()}
        return _Batch(views, self.targets[:, start:stop], self.seen[..., start:stop], masks)

    def tensors(self) -> list[Tensor]:
        return [*self.views.values(), self.targets, self.seen]


class _Run:
    """All students of all seeds at one or several penalties, from their initial weights to their best epochs.

    Parameters
    ----------
    group : _Group
    penalties : list of float
    teaching : ndarray, shape (S, K)
    epochs : int
    label : str
        Of its saved state.
    moments : bool
        Whether the best epoch's state of Adam is kept, for a run that goes on from there.
    source : _Run or None
        The run that this one goes on from.
    """

    def __init__(
        self,
        group: _Group,
        penalties: list[float],
        teaching: np.ndarray,
        epochs: int,
        label: str,
        *,
        moments: bool = False,
        source: "_Run | None" = None,
    ) -> None:
        self.group, self.program, self.packed = group, group.program, group.packed
        self.settings, self.task, self.device = group.settings, group.task, group.runtime.device
        self.penalties, self.epochs, self.label = penalties, epochs, label
        self.shape = (len(self.packed.seeds), len(penalties), len(group.networks))
        self.dtype = next(iter(self.packed.views.values())).dtype
        self.seeds = torch.arange(self.shape[0], device=self.device)[:, None]
        self.strength = torch.tensor(penalties, dtype=self.dtype, device=self.device)[:, None]
        weights = torch.as_tensor(teaching, dtype=self.dtype, device=self.device)
        self.teaching = weights[:, None].repeat(1, len(penalties), 1)
        packed = self.program.pack(group.states, len(penalties)) if source is None else source.best
        self.parameters = {name: tensor.clone().requires_grad_() for name, tensor in packed.items()}
        self.step = _Adam(self, source)
        self.best = {name: tensor.detach().clone() for name, tensor in self.parameters.items()}
        kept = (self.step.means, self.step.squares) if moments else ()
        self.best_moments = [{name: tensor.clone() for name, tensor in moments.items()} for moments in kept]
        self.best_losses = torch.full(self.shape, torch.inf, dtype=self.dtype, device=self.device)
        self.best_at = torch.zeros(self.shape, dtype=torch.int64, device=self.device)
        self.alive = torch.ones(self.shape, dtype=torch.bool, device=self.device)
        if source is not None:
            self.alive &= ~source.failed
        self.failed, self.stopped = torch.zeros_like(self.alive), torch.zeros_like(self.alive)
        self.ends = torch.zeros(self.shape[:2], dtype=torch.int64, device=self.device)
        self.validation = self._fetch(*(tensor.to(self.device) for tensor in _pad_rows(self.packed.validation)))
        self.sums = torch.zeros(2, *self.shape, dtype=self.dtype, device=self.device)
        self.curves: list[Tensor] = []
        self.orders = [stream(self.settings.stream_of(seed), "batches") for seed in self.packed.seeds]

    def train(self) -> None:
        """Run all epochs; keep every student's best."""
        self._restore()
        counts = torch.stack(
            [
                seen[rows].sum(dim=0)
                for seen, rows in zip(self.packed.seen, self._on_device(self.packed.training), strict=True)
            ]
        )
        advance = _Recorded(self) if self.device.type == "cuda" else self._advance
        work, checkpoint = self.group.work, self.group.runtime.checkpoint
        while len(self.curves) < self.epochs and not self._all_stopped():
            epoch = len(self.curves) + 1
            self.sums.zero_()
            for batch in self._batches(epoch):
                advance(batch)
            self._close(epoch, counts)
            work.epoch(self)
            if checkpoint and checkpoint.due:
                checkpoint.save(self.label, self._state())
        work.skip(self, self.epochs - len(self.curves))
        if checkpoint and (checkpoint.due or checkpoint.has(self.label)):
            checkpoint.save(self.label, self._state())
        self.losses = torch.where(self.failed, torch.inf, self.best_losses).double().cpu().numpy()
        self.best_epochs = torch.where(self.failed, 0, self.best_at).cpu().numpy()
        self.teaching_then = self.teaching.cpu().numpy()
        # What only training needs makes room for the next run.
        del self.step, self.parameters

    def _on_device(self, several: list[Tensor]) -> list[Tensor]:
        return [tensor.to(self.device) for tensor in several]

    def _batches(self, epoch: int) -> Iterator["_Batch"]:
        """Yield the mini-batches of an epoch."""
        shuffled = [
            rows[torch.randperm(len(rows), generator=order)]
            for rows, order in zip(self.packed.training, self.orders, strict=True)
        ]
        rows, real = _pad_rows(shuffled)
        size = self.settings.batch_size
        if self.device.type == "cuda":
            # Every step has the same shape, so that one recorded step serves for all.
            missing = -rows.shape[1] % size
            rows, real = (torch.nn.functional.pad(tensor, (0, missing)) for tensor in (rows, real))
        # Rows are fetched once an epoch: mini-batches are then slices.
        epoch_long = self._fetch(rows.to(self.device), real.to(self.device))
        epoch_long.masks = self._masks(epoch, rows.shape[1])
        for start in range(0, rows.shape[1], size):
            batch = epoch_long.part(start, min(start + size, rows.shape[1]))
            batch.masks = {h: self._on_device(masks) for h, masks in batch.masks.items()}
            yield batch

    def _fetch(self, rows: Tensor, real: Tensor) -> "_Batch":
        """Return some rows of each seed (S, B), of which not all are real."""
        seen = (self.packed.seen[self.seeds, rows] & real[..., None]).transpose(1, 2)[:, None]
        views = {view: table[self.seeds, rows] for view, table in self.packed.views.items()}
        return _Batch(views, self.packed.targets[self.seeds, rows], seen.expand(-1, self.shape[1], -1, -1), {})

    def _masks(self, epoch: int, batch: int) -> dict[str, list[Tensor]]:
        """Draw the dropout of an epoch, as the heads need it: (S, 1, U, B, units) a layer."""
        masks = {}
        for h, head in self.program.heads.items():
            dropping = [(u, self.group.networks[k]) for u, k in enumerate(head.users) if self.group.networks[k].dropout]
            if not dropping:
                continue
            shape = self.shape[0], 1, len(head.users), batch
            masks[h] = [torch.ones(*shape, units, dtype=self.dtype) for units in head.hidden]
            for s, (seed, rows) in enumerate(zip(self.packed.seeds, self.packed.training, strict=True)):
                for u, network in dropping:
                    drawn = dropout_masks(network, self.settings.stream_of(seed), epoch, len(rows), self.dtype)
                    for mask, own in zip(masks[h], drawn, strict=True):
                        mask[s, 0, u, : len(own)] = own
        return masks

    def _advance(self, batch: "_Batch") -> None:
        """Take one step of all students on a mini-batch. No value comes back to the host."""
        seen = batch.seen
        outputs = self.program.forward(batch.views, self.parameters, batch.masks)
        finite = torch.isfinite(outputs.detach()).all(dim=-1)
        self.alive &= (finite | ~seen).all(dim=-1)
        tasks = mean_where(self._task_losses(outputs, batch.targets), seen)
        drawn = seen.sum(dim=-1)
        self.sums[0] += drawn * tasks.detach()
        total = tasks
        if any(self.penalties):
            teaching = (self.teaching * self.alive).unsqueeze(-1) * seen
            divergences = mixed_divergence(outputs, teaching, self.task, self.settings.normaliser)
            pulls = mean_where(divergences, seen)
            self.sums[1] += drawn * pulls.detach()
            total = tasks + self.strength * pulls
        # A student's weights are in its own summand only, so one that diverged spoils no other's gradient.
        total.sum().backward()
        self.step()

    @torch.no_grad()
    def _close(self, epoch: int, counts: Tensor) -> None:
        """End an epoch: validate, keep who became better, note the curves, and let teachers' weights follow."""
        validation = self._validate()
        self.alive &= torch.isfinite(validation)
        self.failed |= ~self.alive & ~self.stopped
        better = torch.ones_like(self.alive) if self.settings.kept_epoch == "last" else validation < self.best_losses
        better = better & self.alive & ~self.stopped
        self.best_losses = torch.where(better, validation, self.best_losses)
        self.best_at = torch.where(better, epoch, self.best_at)
        self._keep(better)
        curves = torch.stack([self.sums[0] / counts[:, None], self.sums[1] / counts[:, None], validation])
        self.curves.append(torch.where(self.alive, curves, torch.nan))
        running = ~self.stopped.all(dim=-1)
        self.ends += running
        if self.settings.patience:
            self.stopped |= (epoch - self.best_at >= self.settings.patience) | self.failed
        if self.settings.teaching == "adaptive" and any(self.penalties):
            follow = running[..., None] & self.alive.any(dim=-1, keepdim=True)
            self.teaching = self.teaching.copy_(torch.where(follow, self._adapted(validation), self.teaching))

    def _validate(self) -> Tensor:
        losses = self._task_losses(self._answers(self.validation, self.parameters), self.validation.targets)
        return mean_where(losses, self.validation.seen)

    def _task_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of every sample, shape (S, P, K, B), for targets of shape (S, B) or (S, B, numbers)."""
        weights = self.packed.class_weights
        weights = None if weights is None else weights[:, None, None]
        return task_losses(outputs, targets[:, None, None], self.task, weights)

    @torch.no_grad()
    def _answers(self, batch: "_Batch", parameters: Parameters) -> Tensor:
        """Outputs without dropout, shape (S, P, K, B, outputs)."""
        rows = batch.targets.shape[1]
        size = PIECE if self.device.type == "cpu" else rows
        parts = [batch.part(start, min(start + size, rows)) for start in range(0, rows, size)]
        return torch.cat([self.program.forward(part.views, parameters) for part in parts], dim=3)

    def _adapted(self, validation: Tensor) -> Tensor:
        """Weights proportional to ``losses ** -exponent``, as :func:`teachers.inverse_weights`, 0 for who diverged."""
        floored = torch.where(self.alive, validation, torch.inf).clamp(min=torch.finfo(torch.float32).tiny)
        weights = (floored / floored.amin(dim=-1, keepdim=True)) ** -self.settings.exponent
        weights = torch.where(self.alive, weights, 0)
        return weights / weights.sum(dim=-1, keepdim=True)

    def _keep(self, better: Tensor) -> None:
        """Copy the weights of the students that became better; of Adam's moments, too, where they are wanted."""
        means, squares = self.step.means, self.step.squares
        for name, tensor in self.parameters.items():
            mask = better.index_select(2, self.program.users[name])
            mask = mask.reshape(*mask.shape, *[1] * (tensor.ndim - 3))
            torch.where(mask, tensor, self.best[name], out=self.best[name])
            for moments, best in zip((means, squares), self.best_moments, strict=False):
                torch.where(mask, moments[name], best[name], out=best[name])

    def _all_stopped(self) -> bool:
        return bool(self.settings.patience) and bool(self.stopped.all())

    def words(self) -> str:
        """Say where the training is, for a person."""
        penalties = " and ".join(f"{penalty:g}" for penalty in self.penalties)
        alive = f"{int(self.alive.sum())} of {self.alive.numel()} students alive"
        # Which students are the top cluster is known after the independent cohort.
        top, whose = self.group.top, "students'" if self.group.top is None else "top cluster's"
        loss = self.curves[-1][2] if top is None else torch.where(top[:, None], self.curves[-1][2], torch.nan)
        return (
            f"penalty {penalties}, epoch {len(self.curves)} of {self.epochs}, {alive}, {whose} mean validation loss "
            f"{float(loss.nanmean()):.4g}"
        )

    def _state(self) -> dict[str, Tensor]:
        """Everything that the next epochs depend on, and what is already known."""
        state = {
            "best_losses": self.best_losses,
            "best_at": self.best_at,
            "alive": self.alive,
            "failed": self.failed,
            "stopped": self.stopped,
            "ends": self.ends,
            "teaching": self.teaching,
            "curves": torch.stack(self.curves),
            "steps": self.step.counter,
        }
        state |= {f"order/{s}": order.get_state() for s, order in enumerate(self.orders)}
        for kind, tensors in self._tables().items():
            state |= {f"{kind}/{name}": tensor for name, tensor in tensors.items()}
        return state

    def _tables(self) -> dict[str, Parameters]:
        tables = {"weights": self.parameters, "means": self.step.means, "squares": self.step.squares, "best": self.best}
        return tables | {f"best_moments{i}": tensors for i, tensors in enumerate(self.best_moments)}

    @torch.no_grad()
    def _restore(self) -> None:
        """Go on from a saved state, if there is one."""
        state = self.group.runtime.checkpoint.load(self.label) if self.group.runtime.checkpoint else None
        if state is None:
            return
        for name in ("best_losses", "best_at", "alive", "failed", "stopped", "ends", "teaching"):
            getattr(self, name).copy_(state[name])
        self.curves = [curves.to(self.device) for curves in state["curves"]]
        self.step.counter.copy_(state["steps"])
        for s, order in enumerate(self.orders):
            order.set_state(state[f"order/{s}"])
        for kind, tensors in self._tables().items():
            for name, tensor in tensors.items():
                tensor.copy_(state[f"{kind}/{name}"])
        self.group.work.skip(self, len(self.curves))
        self.group.runtime.say(f"{self.label}: going on after epoch {len(self.curves)}")

    def predictions(self) -> np.ndarray:
        """Outputs at the best epochs for all samples, shape (S, P, K, N, outputs); NaN for who diverged."""
        everything = _Batch(self.packed.views, self.packed.targets, self.packed.seen, {})
        outputs = self._answers(everything, self.best)
        return torch.where(self.failed[..., None, None], torch.nan, outputs).cpu().numpy()

    def history(self, s: int) -> pd.DataFrame:
        """Return the learning curves of a seed, as the loop does."""
        curves = torch.stack(self.curves)[:, :, s].double().cpu().numpy()
        epochs, students = len(curves), curves.shape[-1]
        index = pd.MultiIndex.from_product(
            [self.penalties, range(1, epochs + 1), range(students)], names=["penalty", "epoch", "student"]
        )
        values = curves.transpose(2, 0, 3, 1).reshape(-1, 3)
        table = pd.DataFrame(values, index, columns=["task_loss", "divergence", "validation_loss"]).reset_index()
        ends = dict(zip(self.penalties, self.ends[s].tolist(), strict=True))
        table = table[table["epoch"] <= table["penalty"].map(ends)]
        return table[["penalty", "student", "epoch", "task_loss", "divergence", "validation_loss"]]

    def weights(self, s: int, p: int) -> list[dict[str, Tensor] | None]:
        """Return every student's network at its best epoch; None for who diverged."""
        failed = self.failed[s, p].tolist()
        return [None if failed[k] else self.program.state(self.best, s, p, k) for k in range(self.shape[2])]


class _Adam:
    """Adam with torch's defaults and decoupled weight decay, one fused call a step, by torch's functional form.

    ``torch.optim.AdamW`` does the same, but loads the compiler when it is made, which costs every job two seconds. In a
    run that goes on from the best states of another, each student has another number of steps behind it, and so a
    counter of its own.
    """

    def __init__(self, run: _Run, source: _Run | None) -> None:
        self.run, device = run, run.device
        named = run.parameters
        self.means, self.squares = (
            [{name: torch.zeros_like(tensor) for name, tensor in named.items()} for _ in range(2)]
            if source is None
            else [{name: tensor.clone() for name, tensor in moments.items()} for moments in source.best_moments]
        )
        if source is None:
            self.places = [(name, None) for name in named]
            self.counter = torch.zeros(len(named), device=device)
        else:
            self.places = [(name, place) for name, tensor in named.items() for place in np.ndindex(*tensor.shape[:3])]
            batches = -(-len(run.packed.training[0]) // run.settings.batch_size)
            best = (source.best_at * batches).cpu()
            users = {name: run.program.users[name].tolist() for name in named}
            taken = [best[s, p, users[name][u]] for name, (s, p, u) in self.places]
            self.counter = torch.stack(taken).float().to(device)
        rate = run.settings.learning_rate
        self.decays = self._by_user("weight_decay", lambda decay: 1 - rate * decay)
        self.shrinks = self._by_user("sparsity", lambda sparsity: rate * sparsity)

    def _by_user(self, what: str, change: Callable[[Tensor], Tensor]) -> Parameters:
        """Return what a setting of the network does to each student's weights, where it does something."""
        found = {}
        for name, tensor in self.run.parameters.items():
            users = self.run.program.users[name].tolist()
            own = torch.tensor([getattr(self.run.group.networks[k], what) for k in users], dtype=torch.float64)
            if ".weight" in name and own.any():
                found[name] = change(own).to(tensor.dtype).reshape(-1, *[1] * (tensor.ndim - 3)).to(tensor.device)
        return found

    @torch.no_grad()
    def __call__(self) -> None:
        """Take one step along the gradients, and clear them."""
        named = self.run.parameters
        for name, factors in self.decays.items():
            named[name].mul_(factors)
        gradients = {name: tensor.grad for name, tensor in named.items()}
        adam(
            *(self._listed(tensors) for tensors in (named, gradients, self.means, self.squares)),
            [],
            list(self.counter.unbind()),
            foreach=False,
            capturable=self.run.device.type == "cuda",
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.run.settings.learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
        for name, threshold in self.shrinks.items():
            # Soft thresholds that differ along an axis, in place: what is nearer to 0 than that is taken to 0.
            named[name].sub_(named[name].clamp(-threshold, threshold))
        for tensor in named.values():
            tensor.grad = None

    def _listed(self, tensors: Parameters) -> list[Tensor]:
        return [tensors[name] if place is None else tensors[name][place] for name, place in self.places]


class _Recorded:
    """A run's step on a GPU, recorded once as a graph and played again: no time is lost between its many kernels."""

    def __init__(self, run: _Run) -> None:
        self.run, self.steps, self.graph = run, 0, None

    def __call__(self, batch: _Batch) -> None:
        """Take one step; see :meth:`_Run._advance`."""
        if batch.masks or not self.run.group.runtime.graphs:
            self.run._advance(batch)
        elif self.graph is None and self.steps < WARM_UP:
            # As torch asks for: steps before a recording run beside the main stream.
            self.steps += 1
            beside = torch.cuda.Stream(self.run.device)
            beside.wait_stream(torch.cuda.current_stream(self.run.device))
            with torch.cuda.stream(beside):
                self.run._advance(batch)
            torch.cuda.current_stream(self.run.device).wait_stream(beside)
        else:
            if self.graph is None:
                views = {name: view.clone() for name, view in batch.views.items()}
                self.batch = _Batch(views, batch.targets.clone(), batch.seen.clone(), {})
                self.graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self.graph):
                    self.run._advance(self.batch)
            for room, tensor in zip(self.batch.tensors(), batch.tensors(), strict=True):
                room.copy_(tensor)
            self.graph.replay()


def _pad_rows(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return row numbers, shape (S, most), and which of them are real."""
    real = pad([torch.ones(len(some), dtype=torch.bool) for some in rows])
    return pad(rows), real

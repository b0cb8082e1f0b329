"""Many networks as one tensor program: layers of the same shape are batched over seeds, penalties and students.

Axes, in this order: S seeds, P penalties, U users (those students that have a layer of this shape), B samples. Students
with the same extractor, and students with the same head, share one batched product a layer; no layer is padded for
another's sake. Only a seed with fewer features is padded, with zeros: the weights of such columns have no gradient.
"""

from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from metafusion.cohort.networks import Branch, Convolution, Network, layers_of, named

Parameters = dict[str, Tensor]
"""By layer; the first three axes are S, P and U."""
State = dict[str, Tensor]
"""The weights of one network, see :func:`metafusion.cohort.networks.initial_state`."""


@dataclass
class _Extractor:
    """Extractors of one shape, and the students that have one."""

    branch: Branch
    users: list[int] = field(default_factory=list)


@dataclass
class _Source:
    """A part of a head's input: a view, or what an extractor makes.

    ``branches``: by student, which of its branches this is. ``picks``: its place among the extractor's users.
    """

    view: tuple[str, str]
    extractor: str = ""
    branches: dict[int, int] = field(default_factory=dict)
    picks: list[int] = field(default_factory=list)


@dataclass
class _Head:
    """Heads of one shape, and the students that have one."""

    hidden: tuple[int, ...]
    users: list[int] = field(default_factory=list)
    sources: dict[str, _Source] = field(default_factory=dict)


class Program:
    """Networks of several seeds and penalties, laid out for batched products.

    Parameters
    ----------
    networks : list of Network
        One a student.
    widths : list of dict
        By seed: the number of columns of each view, (modality, representation).
    outputs : int
        Classes, or numbers to predict.
    device : torch.device
    """

    def __init__(
        self, networks: list[Network], widths: list[dict[tuple[str, str], int]], outputs: int, device: torch.device
    ) -> None:
        self.networks, self.widths, self.outputs, self.device = networks, widths, outputs, device
        self.views = list(dict.fromkeys(branch.key for network in networks for branch in network.branches))
        self.extractors: dict[str, _Extractor] = {}
        self.heads: dict[str, _Head] = {}
        for k, network in enumerate(networks):
            self._place(k, network)
        order = [k for head in self.heads.values() for k in head.users]
        self.order = None if order == sorted(order) else self._index([order.index(k) for k in range(len(order))])
        self.places = {
            (h, name): (self._index([head.users.index(k) for k in source.branches]), self._index(source.picks))
            for h, head in self.heads.items()
            for name, source in head.sources.items()
        }
        self.users = {name: self._index(users) for name, users in self._users().items()}

    def _index(self, numbers: list[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int64, device=self.device)

    def _place(self, k: int, network: Network) -> None:
        """Put a network's layers among those of the same shape."""
        head = self.heads.setdefault(f"head{network.hidden}", _Head(network.hidden))
        head.users.append(k)
        for number, branch in enumerate(network.branches):
            name, extractor, pick = f"{branch.modality}.{branch.view}", "", 0
            if branch.widths:
                name = extractor = f"extractor.{branch.modality}.{branch.extractor}"
                users = self.extractors.setdefault(extractor, _Extractor(branch)).users
                users.append(k)
                pick = len(users) - 1
            source = head.sources.setdefault(name, _Source(branch.key, extractor))
            source.branches[k] = number
            source.picks.append(pick)

    def _users(self) -> dict[str, list[int]]:
        """For each parameter, the students along its third axis."""
        users = {}
        for e, extractor in self.extractors.items():
            for depth in range(self._depth(extractor.branch)):
                users |= dict.fromkeys([f"{e}.{depth}.weight", f"{e}.{depth}.bias"], extractor.users)
        for h, head in self.heads.items():
            users |= {f"{h}.0.weight.{name}": list(source.branches) for name, source in head.sources.items()}
            for depth in range(len(head.hidden) + 1):
                users |= dict.fromkeys([f"{h}.{depth}.bias"] + ([f"{h}.{depth}.weight"] if depth else []), head.users)
        return users

    def pack(self, states: list[list[State]], penalties: int) -> Parameters:
        """Lay out the states of all networks (by seed, then student), alike for all of P penalties."""
        by_user: dict[str, list[list[Tensor]]] = {name: [[] for _ in states] for name in self.users}
        for s, seed in enumerate(states):
            for k, state in enumerate(seed):
                for name, tensor in self._spread(s, k, state).items():
                    by_user[name][s].append(tensor)
        packed = {name: pad([torch.stack(users) for users in seeds]) for name, seeds in by_user.items()}
        return {
            name: tensor.unsqueeze(1).repeat(1, penalties, *[1] * (tensor.ndim - 1)).to(self.device)
            for name, tensor in packed.items()
        }

    def _spread(self, s: int, k: int, state: State) -> Parameters:
        """Return a network's weights under the names of the parameters that they are part of."""
        network, named = self.networks[k], {}
        columns = []
        for branch in network.branches:
            if not branch.widths:
                columns.append(self.widths[s][branch.key])
                continue
            columns.append(branch.widths[-1])
            name = f"extractor.{branch.modality}.{branch.extractor}"
            for depth, layer in enumerate(layers_of(state, f"extractors.{branch.modality}")):
                named |= {f"{name}.{depth}.weight": _turned(layer[0]), f"{name}.{depth}.bias": _row(layer)}
        h = f"head{network.hidden}"
        for depth, layer in enumerate(layers_of(state, "head")):
            named[f"{h}.{depth}.bias"] = _row(layer)
            if depth:
                named[f"{h}.{depth}.weight"] = _turned(layer[0])
                continue
            parts = layer[0].split(columns, dim=1)
            for name, source in self.heads[h].sources.items():
                if k in source.branches:
                    named[f"{h}.0.weight.{name}"] = _turned(parts[source.branches[k]])
        return named

    def state(self, parameters: Parameters, s: int, p: int, k: int) -> State:
        """Return the weights of one network, without padding, as :func:`initial_state` names and shapes them."""

        def layer(name: str) -> tuple[Tensor, Tensor]:
            return self._own(parameters, f"{name}.weight", s, p, k), self._own(parameters, f"{name}.bias", s, p, k)[0]

        network, state, parts = self.networks[k], {}, []
        h = f"head{network.hidden}"
        for branch in network.branches:
            width = self.widths[s][branch.key]
            if branch.widths:
                name = f"extractor.{branch.modality}.{branch.extractor}"
                layers = [layer(f"{name}.{depth}") for depth in range(self._depth(branch))]
                if not branch.convolution:
                    layers[0] = layers[0][0][:, :width], layers[0][1]
                state |= named(f"extractors.{branch.modality}", layers)
                parts.append(self._own(parameters, f"{h}.0.weight.{name}", s, p, k))
            else:
                name = f"{h}.0.weight.{branch.modality}.{branch.view}"
                parts.append(self._own(parameters, name, s, p, k)[:, :width])
        first = torch.cat(parts, dim=1), self._own(parameters, f"{h}.0.bias", s, p, k)[0]
        deeper = [layer(f"{h}.{depth}") for depth in range(1, len(network.hidden) + 1)]
        return state | named("head", [first, *deeper])

    def _own(self, parameters: Parameters, name: str, s: int, p: int, k: int) -> Tensor:
        place = self.users[name].tolist().index(k)
        return _turned(parameters[name][s, p, place].detach().cpu(), bias=name.endswith("bias")).contiguous()

    @staticmethod
    def _depth(branch: Branch) -> int:
        return len(branch.widths) + (len(branch.convolution.channels) if branch.convolution else 0)

    def forward(
        self, views: dict[tuple[str, str], Tensor], parameters: Parameters, masks: dict[str, list[Tensor]] | None = None
    ) -> Tensor:
        """Outputs of all students.

        Parameters
        ----------
        views : dict of (modality, representation) to Tensor, shape (S, B, width)
        parameters : dict of str to Tensor
        masks : dict of str to list of Tensor, shape (S, 1, U, B, units)
            What the hidden layers of a head are multiplied by (dropout).

        Returns
        -------
        Tensor, shape (S, P, K, B, outputs)
        """
        extracted = {
            name: self._extract(name, extractor, views, parameters) for name, extractor in self.extractors.items()
        }
        outputs = [
            self._head(h, head, views, extracted, parameters, (masks or {}).get(h)) for h, head in self.heads.items()
        ]
        joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
        return joined if self.order is None else joined.index_select(2, self.order)

    def _extract(
        self, name: str, extractor: _Extractor, views: dict[tuple[str, str], Tensor], parameters: Parameters
    ) -> Tensor:
        """What an extractor makes of its view, shape (S, P, U, B, width)."""
        branch, view, first = extractor.branch, views[extractor.branch.key], 0
        _, penalties, users = parameters[f"{name}.0.weight"].shape[:3]
        hidden = view[:, None, None].expand(-1, penalties, users, -1, -1)
        if branch.convolution:
            first = len(branch.convolution.channels)
            hidden = self._convolve(name, branch.convolution, hidden, parameters)
        for depth in range(first, self._depth(branch)):
            hidden = _linear(hidden, parameters[f"{name}.{depth}.weight"], parameters[f"{name}.{depth}.bias"])
            if branch.ends_in_relu or depth < self._depth(branch) - 1:
                hidden = functional.relu(hidden)
        return hidden

    @staticmethod
    def _convolve(name: str, plan: Convolution, inputs: Tensor, parameters: Parameters) -> Tensor:
        """Convolve for every seed, penalty and user at once, as groups of channels."""
        *leading, batch, _ = inputs.shape
        groups = prod(leading)
        layers = [
            (parameters[f"{name}.{depth}.weight"].flatten(0, 3), parameters[f"{name}.{depth}.bias"].flatten())
            for depth in range(len(plan.channels))
        ]
        # (S, P, U, B, columns) -> (B, S * P * U * channels, lengths)
        arrays = inputs.flatten(0, 2).transpose(0, 1).reshape(batch, groups * plan.shape[0], *plan.shape[1:])
        maps = plan.apply(arrays, layers, groups)
        return maps.reshape(batch, groups, -1).transpose(0, 1).reshape(*leading, batch, -1)

    def _head(
        self,
        h: str,
        head: _Head,
        views: dict[tuple[str, str], Tensor],
        extracted: dict[str, Tensor],
        parameters: Parameters,
        masks: list[Tensor] | None,
    ) -> Tensor:
        batch = views[self.views[0]].shape[1]
        bias = parameters[f"{h}.0.bias"]
        hidden = bias.expand(-1, -1, -1, batch, -1).clone()
        for name, source in head.sources.items():
            weight = parameters[f"{h}.0.weight.{name}"]
            places, picks = self.places[h, name]
            if source.extractor:
                inputs = extracted[source.extractor]
                if inputs.shape[2] > len(picks):
                    inputs = inputs.index_select(2, picks)
            else:
                inputs = views[source.view][:, None, None].expand(-1, *weight.shape[1:3], -1, -1)
            hidden.index_add_(2, places, _product(inputs, weight))
        for depth in range(1, len(head.hidden) + 1):
            hidden = hidden.relu_()
            if masks is not None:
                hidden = hidden * masks[depth - 1]
            hidden = _linear(hidden, parameters[f"{h}.{depth}.weight"], parameters[f"{h}.{depth}.bias"])
        return hidden


def _product(inputs: Tensor, weight: Tensor) -> Tensor:
    """(S, P, U, B, in) @ (S, P, U, in, out), as one batch of products."""
    product = torch.bmm(_batch(inputs), weight.flatten(0, 2))
    return product.view(*weight.shape[:3], *product.shape[1:])


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same, plus a bias of shape (S, P, U, 1, out)."""
    product = torch.baddbmm(bias.flatten(0, 2), _batch(inputs), weight.flatten(0, 2))
    return product.view(*weight.shape[:3], *product.shape[1:])


def _batch(inputs: Tensor) -> Tensor:
    """Flatten the first three axes; what all users share is not copied, where that can be said in strides."""
    return inputs.reshape(-1, *inputs.shape[3:])


def _turned(tensor: Tensor, bias: bool = False) -> Tensor:
    """Turn the weight of a linear layer from (units, inputs) to (inputs, units), or back."""
    return tensor if bias or tensor.ndim > 2 else tensor.T


def _row(layer: tuple[Tensor, Tensor]) -> Tensor:
    """Return the bias of a layer so that it can be added to (B, units); of a convolution as it is, one a channel."""
    return layer[1][None]


def pad(tensors: list[Tensor]) -> Tensor:
    """Stack tensors of the same number of axes, filled up with zeros to the largest size of each axis."""
    shape = [max(sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True)]
    stacked = tensors[0].new_zeros((len(tensors), *shape))
    for room, tensor in zip(stacked, tensors, strict=True):
        room[tuple(slice(size) for size in tensor.shape)] = tensor
    return stacked

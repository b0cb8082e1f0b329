"""What each student's network is made of, and the weights it starts from: shared by the packed engine and the loop."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from metafusion.cohort.students import Student
from metafusion.config.models import Cohort, Head, Representations

Layers = list[tuple[Tensor, Tensor]]
"""Weight (units, inputs) and bias (units,) of each layer of an extractor."""


@dataclass(frozen=True)
class Convolution:
    """Convolutions over features that are an array, each followed by ReLU; every step of 2 halves the axes.

    Attributes
    ----------
    shape : tuple of int
        Channels, then one length (times) or three (a volume).
    channels : tuple of int
        Of each convolution.
    kernel : int
        Length along every axis, odd; the edges are padded with zeros.
    """

    shape: tuple[int, ...]
    channels: tuple[int, ...]
    kernel: int

    @property
    def axes(self) -> int:
        return len(self.shape) - 1

    @property
    def width(self) -> int:
        """Number of values that the last convolution gives."""
        lengths = self.shape[1:]
        for _ in self.channels:
            lengths = [-(-length // 2) for length in lengths]
        return self.channels[-1] * prod(lengths)

    def apply(self, inputs: Tensor, layers: Layers, groups: int = 1) -> Tensor:
        """Convolve; inputs (samples, groups * channels, ...), weights of all groups along the first axis."""
        convolve = functional.conv1d if self.axes == 1 else functional.conv3d
        for weight, bias in layers:
            inputs = functional.relu(convolve(inputs, weight, bias, stride=2, padding=self.kernel // 2, groups=groups))
        return inputs


@dataclass(frozen=True)
class Branch:
    """How a network sees one modality.

    Attributes
    ----------
    modality : str
    view : str
        The representation that it reads, as stored by the stage latents.
    widths : tuple of int
        Layers of its own extractor on top of that, trained with the network; () where it has none.
    extractor : str
        Name of that extractor. Students that share it start from the same weights of it.
    ends_in_relu : bool
        Whether ReLU follows the extractor's last layer, as it follows every other.
    convolution : Convolution or None
        What comes before those layers, for features that are an array.
    """

    modality: str
    view: str
    widths: tuple[int, ...] = ()
    extractor: str = ""
    ends_in_relu: bool = False
    convolution: Convolution | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.modality, self.view


@dataclass(frozen=True)
class Network:
    """A student's network: branches side by side, and a head of linear layers with ReLU between them.

    Attributes
    ----------
    name : str
        Its initial weights belong to this name (and the seed), not to its company.
    branches : tuple of Branch
    hidden : tuple of int
        Widths of the head's hidden layers.
    weight_decay, sparsity, dropout : float
    """

    name: str
    branches: tuple[Branch, ...]
    hidden: tuple[int, ...]
    weight_decay: float = 0.0
    sparsity: float = 0.0
    dropout: float = 0.0


def stream(*parts: object) -> torch.Generator:
    """Return a random stream that belongs to these words alone, whoever else draws."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def networks_of(
    students: list[Student], representations: dict[str, Representations], settings: Cohort
) -> list[Network]:
    """Return the network of every student.

    Parameters
    ----------
    students : list of Student
    representations : dict of str to Representations
        By modality; may lack those of which students see raw features or principal components only.
    settings : Cohort
        The main head, and what a frozen extractor is.
    """
    used: set[tuple[str, str]] = set()
    networks = []
    for student in students:
        branches = []
        for view in student.views:
            first = settings.frozen_extractors == "first_user_trains" and view not in used
            used.add(view)
            branches.append(_branch(*view, representations.get(view[0]), first))
        head = student.head or settings.heads[0]
        held = head.model_dump(exclude={"hidden"}, include=set(Head.model_fields))
        networks.append(Network(student.name, tuple(branches), tuple(head.hidden), **held))
    return networks


def _branch(modality: str, name: str, choice: Representations | None, first: bool) -> Branch:
    if name == "raw" or choice is None or choice.linear:
        return Branch(modality, name)
    number = int(name.removeprefix(choice.extractor))
    if choice.extractor == "separate":
        return Branch(modality, "raw", (*choice.hidden, number), name)
    if not (choice.fine_tune or first):
        return Branch(modality, name)
    if choice.extractor == "autoencoder":
        return Branch(modality, "raw", (*choice.hidden, number), name)
    return encoder_branch(modality, choice, number)


def encoder_branch(modality: str, choice: Representations, number: int) -> Branch:
    """Return an encoder's layers down to the one with this number of units."""
    larger = [size for size in choice.numbers if size >= number]
    convolution = None
    if choice.extractor != "encoder":
        convolution = Convolution(shape_of(choice), tuple(choice.channels), choice.kernel)
    name = f"{choice.extractor}{number}"
    return Branch(modality, "raw", (*choice.hidden, *larger), name, True, convolution)


def shape_of(choice: Representations) -> tuple[int, ...]:
    """Return the shape of a modality's array, channels first; a volume without channels has one."""
    return (1, *choice.shape) if choice.extractor == "conv3d" and len(choice.shape) == 3 else tuple(choice.shape)


def initial_state(
    network: Network,
    widths: dict[tuple[str, str], int],
    outputs: int,
    seed: str,
    given: dict[tuple[str, str], Layers],
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Return the weights that a network starts from: torch's usual uniform start, or those of a trained extractor.

    Parameters
    ----------
    network : Network
    widths : dict
        Width of every view.
    outputs : int
    seed : str
        See :meth:`metafusion.config.models.Cohort.stream_of`.
    given : dict of (modality, extractor) to Layers
        Extractors trained before; the others are drawn.
    dtype : torch.dtype

    Returns
    -------
    dict of str to Tensor
        ``extractors.{modality}.{i}.weight``, ``head.{i}.weight`` and the biases, named as in ``nn.Sequential``, where
        every other module is a ReLU. Drawn in single precision, whatever ``dtype``.
    """
    state: dict[str, Tensor] = {}
    joined = 0
    for branch in network.branches:
        joined += branch.widths[-1] if branch.widths else widths[branch.key]
        if not branch.widths:
            continue
        layers = given.get((branch.modality, branch.extractor))
        if layers is None:
            layers = _extractor(branch, widths[branch.key], stream(seed, "weights", branch.modality, branch.extractor))
        state |= named(f"extractors.{branch.modality}", layers)
    layers = _dense([joined, *network.hidden, outputs], stream(seed, "weights", network.name))
    return {name: tensor.to(dtype) for name, tensor in (state | named("head", layers)).items()}


def _extractor(branch: Branch, width: int, generator: torch.Generator) -> Layers:
    if branch.convolution is None:
        return _dense([width, *branch.widths], generator)
    plan = branch.convolution
    kernel = [plan.kernel] * plan.axes
    shapes = [(units, inputs, *kernel) for inputs, units in pairwise([plan.shape[0], *plan.channels])]
    return [_drawn(shape, generator) for shape in shapes] + _dense([plan.width, *branch.widths], generator)


def _dense(widths: list[int], generator: torch.Generator) -> Layers:
    return [_drawn((units, inputs), generator) for inputs, units in pairwise(widths)]


def _drawn(shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw weight and bias of a layer as torch does: uniform within the inverse root of the number of inputs."""
    bound = prod(shape[1:]) ** -0.5
    weight = torch.empty(shape).uniform_(-bound, bound, generator=generator)
    return weight, torch.empty(shape[0]).uniform_(-bound, bound, generator=generator)


def named(prefix: str, layers: Layers) -> dict[str, Tensor]:
    """Name layers as in ``nn.Sequential``, with ReLU between them, and a flattening after convolutions."""
    named, place, flat = {}, 0, layers[0][0].ndim == 2
    for weight, bias in layers:
        if weight.ndim == 2 and not flat:
            place, flat = place + 1, True
        named |= {f"{prefix}.{place}.weight": weight, f"{prefix}.{place}.bias": bias}
        place += 2
    return named


def layers_of(state: dict[str, Tensor], prefix: str) -> Layers:
    """Return the layers below a prefix of a network's state, first one first."""
    depths = sorted(
        int(name.removeprefix(f"{prefix}.").removesuffix(".weight"))
        for name in state
        if name.startswith(f"{prefix}.") and name.endswith(".weight")
    )
    return [(state[f"{prefix}.{depth}.weight"], state[f"{prefix}.{depth}.bias"]) for depth in depths]


@torch.no_grad()
def shrink(weights: list[Tensor], threshold: float) -> None:
    """Move weights towards 0 in place, all by the same, where they stay (soft threshold)."""
    if threshold:
        for weight in weights:
            weight.copy_(functional.softshrink(weight, threshold))


def dropout_masks(network: Network, seed: str, epoch: int, samples: int, dtype: torch.dtype) -> list[Tensor]:
    """Return what each hidden layer of a head is multiplied by in an epoch: 0 or 1 / (1 - dropout).

    Parameters
    ----------
    network : Network
        Its name and the seed own the random stream.
    seed : str
        See :meth:`metafusion.config.models.Cohort.stream_of`.
    epoch : int
    samples : int
        As many as the epoch's mini-batches have together.
    dtype : torch.dtype

    Returns
    -------
    list of Tensor, shape (samples, units)
        By layer; samples in the order in which the mini-batches see them.
    """
    generator = stream(seed, "dropout", network.name, epoch)
    keep = 1 - network.dropout
    return [(torch.rand(samples, units, generator=generator) < keep).to(dtype) / keep for units in network.hidden]


def dropout_by_batch(
    network: Network, seed: str, epoch: int, batches: list[int], dtype: torch.dtype
) -> list[list[Tensor]]:
    """Return the masks of an epoch's dropout, cut into its mini-batches.

    Parameters
    ----------
    network, seed, epoch, dtype
        See :func:`dropout_masks`.
    batches : list of int
        Samples of each mini-batch.

    Returns
    -------
    list of list of Tensor, shape (samples of the mini-batch, units)
        By mini-batch and layer; no layer where the network has no dropout.
    """
    if not network.dropout:
        return [[] for _ in batches]
    layers = [mask.split(batches) for mask in dropout_masks(network, seed, epoch, sum(batches), dtype)]
    return [[layer[number] for layer in layers] for number in range(len(batches))]

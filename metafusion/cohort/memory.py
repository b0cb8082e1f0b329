"""What a training takes, estimated before it starts, and the parts into which a block is divided to fit."""

from math import prod

from metafusion.cohort.loop import Data
from metafusion.cohort.networks import Network
from metafusion.config.models import Cohort
from metafusion.errors import UserError

COPIES = 5
"""Weights, gradients, two moments of Adam, and the best epoch's weights."""
WARM_COPIES = 2
"""The best epoch's moments, from which a warm start goes on."""
SLACK = 1.5
"""What allocators and temporary copies add. Peaks of the benchmark's settings were measured to be within it."""


def weights_of(network: Network, widths: dict[tuple[str, str], int], outputs: int) -> int:
    """Return the number of weights and biases of a network."""
    count = joined = 0
    for branch in network.branches:
        inputs = widths[branch.key]
        if branch.convolution:
            plan, inputs = branch.convolution, branch.convolution.width
            channels = plan.shape[0]
            for units in plan.channels:
                count += units * (channels * plan.kernel**plan.axes + 1)
                channels = units
        for units in branch.widths:
            count, inputs = count + units * (inputs + 1), units
        joined += inputs
    for units in (*network.hidden, outputs):
        count, joined = count + units * (joined + 1), units
    return count


def activations_of(network: Network, outputs: int) -> int:
    """Return the number of units of a network, of which each sample of a mini-batch has a value."""
    maps = 0
    for branch in network.branches:
        if branch.convolution:
            lengths = branch.convolution.shape[1:]
            maps += prod(branch.convolution.shape)
            for units in branch.convolution.channels:
                lengths = [-(-length // 2) for length in lengths]
                maps += units * prod(lengths)
    return maps + sum(sum(branch.widths) for branch in network.branches) + sum(network.hidden) + outputs


def bytes_of_seed(data: Data, networks: list[Network], settings: Cohort, together: int) -> int:
    """Estimate the bytes that one seed takes, with so many penalties trained together.

    Penalties that are trained already keep their best weights until the penalty is chosen.
    """
    size = data.dtype.itemsize
    weights = sum(weights_of(network, data.widths, data.outputs) for network in networks)
    copies = COPIES + (WARM_COPIES if settings.warm_start else 0)
    trained = weights * (copies * together + len(settings.penalties))
    used = {branch.key for network in networks for branch in network.branches}
    columns = sum(data.widths[key] for key in used)
    rows = max(settings.batch_size, 64)
    inputs = sum(data.widths[branch.key] for network in networks for branch in network.branches)
    # Twice each: values forward, gradients backward.
    passing = 2 * rows * together * (sum(activations_of(network, data.outputs) for network in networks) + inputs)
    samples = len(data.targets)
    answers = 2 * len(settings.penalties) * len(networks) * samples * data.outputs
    views = 2 * samples * columns
    # Drawn for a whole epoch.
    dropped = len(data.training) * sum(sum(network.hidden) for network in networks if network.dropout)
    curves = 100 * 2 * settings.epochs * len(settings.penalties) * len(networks)
    return int(SLACK * (size * (trained + passing + answers + views + dropped) + curves))


def parts_of_block(
    data: dict[int, Data], networks: list[Network], settings: Cohort, together: int, memory: int | None
) -> list[list[int]]:
    """Divide the seeds of a block into parts that fit the memory, one after the other; all in one without a limit.

    Raises
    ------
    UserError
        Not even one seed fits.
    """
    if memory is None:
        return [list(data)]
    parts: list[list[int]] = []
    left = 0
    for seed, one in data.items():
        needed = bytes_of_seed(one, networks, settings, together)
        if needed > memory:
            raise UserError(
                f"seed {seed}: training {len(networks)} students takes about {needed / 1e6:.0f} MB, but "
                f"{max(memory, 0) / 1e6:.0f} MB are allowed; raise 'memory_mb' in config/config.yaml (a GPU: "
                "'gpu_memory_share'), or use fewer or smaller representations"
            )
        if not parts or needed > left:
            parts.append([])
            left = memory
        parts[-1].append(seed)
        left -= needed
    return parts

"""What a training takes, compared with the networks themselves, and the parts into which a block is divided."""

import sys

import pytest
import torch
from cohorts import PLAIN, assert_same, cohort, run_python, some_data
from torch import nn

from metafusion.cohort import loop, packed
from metafusion.cohort.memory import activations_of, bytes_of_seed, parts_of_block, weights_of
from metafusion.cohort.runtime import Runtime
from metafusion.config.models import Representations
from metafusion.errors import UserError

DENSE = {
    "a": Representations(sizes=["raw", 3, 2, "absent"], extractor="encoder", fine_tune=True, hidden=[4]),
    "b": Representations(sizes=["raw", 2, "absent"], extractor="separate"),
}
ARRAYS = {
    "a": Representations(sizes=[3, 2], extractor="conv1d", shape=[2, 3], channels=[2, 5], fine_tune=True),
    "b": Representations(sizes=[2], extractor="conv3d", shape=[2, 2, 1], channels=[3], fine_tune=True, hidden=[4]),
}
of_each_kind = pytest.mark.parametrize("representations", [PLAIN, DENSE, ARRAYS], ids=["plain", "dense", "arrays"])


@of_each_kind
def test_weights_are_counted_as_torch_has_them(representations):
    networks, chosen = cohort(representations, more_heads=[{"hidden": []}])
    data = some_data(3, "classification", representations)
    for network in networks:
        student = loop._Student(network, data, chosen, 3)
        found = weights_of(network, data.widths, data.outputs)
        assert found == sum(parameter.numel() for parameter in student.parameters())


@of_each_kind
def test_activations_are_counted_as_torch_makes_them(representations):
    networks, chosen = cohort(representations, more_heads=[{"hidden": []}])
    data = some_data(3, "classification", representations)
    for network in networks:
        student, made = loop._Student(network, data, chosen, 3), []
        for layer in student.modules():
            if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv3d):
                layer.register_forward_hook(lambda layer, inputs, output, made=made: made.append(output.numel()))
        student(data, torch.tensor([0]))
        # Every student's copy of an array that convolutions read.
        arrays = sum(data.widths[branch.key] for branch in network.branches if branch.convolution)
        assert activations_of(network, data.outputs) == sum(made) + arrays


def seeds(count):
    return {seed: some_data(seed, "regression", samples=37 + seed) for seed in range(1, count + 1)}


def test_a_block_without_a_limit_is_not_divided():
    networks, chosen = cohort()
    assert parts_of_block(seeds(4), networks, chosen, 1, None) == [[1, 2, 3, 4]]


def test_a_block_is_divided_into_parts_that_fit():
    networks, chosen = cohort()
    data = seeds(5)
    sizes = {seed: bytes_of_seed(one, networks, chosen, 1) for seed, one in data.items()}
    assert parts_of_block(data, networks, chosen, 1, sum(sizes.values())) == [[1, 2, 3, 4, 5]]
    assert parts_of_block(data, networks, chosen, 1, sizes[4] + sizes[5] - 1) == [[1, 2], [3, 4], [5]]
    assert parts_of_block(data, networks, chosen, 1, sizes[5]) == [[1], [2], [3], [4], [5]]


@pytest.mark.parametrize("memory", [-5_000_000, 0, 1000])
def test_a_seed_that_does_not_fit_is_a_mistake_of_the_user(memory):
    networks, chosen = cohort()
    expected = r"seed 1: training 5 students takes about \d+ MB, but 0 MB are allowed; raise 'memory_mb'"
    with pytest.raises(UserError, match=expected):
        parts_of_block(seeds(2), networks, chosen, 1, memory)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_block_trained_in_parts_gives_the_same_results(task):
    changes = {"penalties": [0, 0.5, 3], "dropout": 0.2, "teaching": "adaptive"}
    networks, chosen = cohort(DENSE, **changes)
    data = {seed: some_data(seed, task, DENSE, widths=(6 + seed, 4), samples=37 + seed) for seed in (1, 2, 3)}
    together = packed.train(data, networks, chosen, task)
    said = []
    most = max(bytes_of_seed(one, networks, chosen, together=2) for one in data.values())
    divided = packed.train(data, networks, chosen, task, Runtime(memory=most, say=said.append))
    assert said == ["3 seeds do not fit the memory at once: trained in 3 parts"]
    assert list(divided) == [1, 2, 3]
    for seed, one in together.items():
        assert_same(divided[seed], one, 1e-9)


def test_more_of_anything_needs_more_memory():
    networks, chosen = cohort()
    data = seeds(1)[1]
    least = bytes_of_seed(data, networks, chosen, 1)
    assert bytes_of_seed(data, networks, chosen, 2) > least
    assert bytes_of_seed(data, networks * 2, chosen, 1) > 1.9 * least
    assert bytes_of_seed(data, networks, cohort(warm_start=True)[1], 1) > least
    assert bytes_of_seed(data, networks, cohort(epochs=100)[1], 1) > least
    assert bytes_of_seed(data, networks, cohort(batch_size=500)[1], 1) > least
    assert bytes_of_seed(some_data(1, "regression", samples=500), networks, chosen, 1) > least


MEASURED = """
from pathlib import Path
import torch
from cohorts import cohort, some_data
from metafusion.cohort import packed
from metafusion.cohort.memory import bytes_of_seed
from metafusion.config.models import Representations

def kilobytes(name):
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0])

wide = {name: Representations(sizes=["raw", 300, 200, "absent"]) for name in "ab"}
parts = {"samples": 250, "training": 128, "validation": 64, "widths": (400, 400)}
data = {1: some_data(1, "regression", wide, dtype=torch.float32, **parts)}
networks, chosen = cohort(wide, hidden=[400, 300], batch_size=64, epochs=1, penalties=[0, 1])
# What torch and scikit-learn load when first used is no part of a training.
packed.train({1: some_data(1, "regression")}, *cohort(), "regression")
Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS")
packed.train(data, networks, chosen, "regression")
together = packed._most_together(data, networks, chosen, packed.Runtime())
print(bytes_of_seed(data[1], networks, chosen, together), 1024 * (kilobytes("VmHWM") - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count a process's memory otherwise")
def test_a_training_takes_about_as_much_memory_as_was_estimated():
    estimated, taken = map(int, run_python("-c", MEASURED).split())
    assert 50e6 < taken <= estimated <= 3 * taken

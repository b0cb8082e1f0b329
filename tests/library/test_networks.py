"""What a student's network is made of, and the weights it starts from."""

import math

import numpy as np
import pytest
import torch
from cohorts import cohort, some_data, with_trained_extractors
from torch import nn
from torch.nn import functional

from metafusion.cohort.networks import (
    Branch,
    Convolution,
    Network,
    dropout_masks,
    initial_state,
    layers_of,
    named,
    stream,
)
from metafusion.config.models import Representations


def branches_of(choice, **changes):
    """Return the branch of each student that sees one modality in each of its representations."""
    networks, _ = cohort({"a": choice}, **changes)
    return [network.branches[0] for network in networks]


def encoder(**changes):
    return Representations(**{"sizes": ["raw", 3, 2], "extractor": "encoder", "hidden": [8, 7]} | changes)


def test_principal_components_are_seen_as_they_are_stored():
    assert branches_of(Representations(sizes=["raw", 2])) == [Branch("a", "raw"), Branch("a", "pca2")]


def test_a_separate_extractor_ends_linearly():
    _, found = branches_of(Representations(sizes=["raw", 3], extractor="separate", hidden=[9, 8]))
    assert found == Branch("a", "raw", (9, 8, 3), "separate3", ends_in_relu=False)


def test_a_frozen_encoder_is_seen_as_it_is_stored():
    assert branches_of(encoder()) == [Branch("a", "raw"), Branch("a", "encoder3"), Branch("a", "encoder2")]


def test_an_encoder_is_sliced_from_the_widest_down_and_ends_in_relu():
    assert branches_of(encoder(fine_tune=True))[1:] == [
        Branch("a", "raw", (8, 7, 3), "encoder3", ends_in_relu=True),
        Branch("a", "raw", (8, 7, 3, 2), "encoder2", ends_in_relu=True),
    ]


def test_the_first_user_of_a_frozen_extractor_trains_it():
    networks, _ = cohort({"a": encoder(), "b": encoder()}, frozen_extractors="first_user_trains")
    trained = {
        (branch.modality, branch.extractor): network.name
        for network in networks
        for branch in network.branches
        if branch.widths
    }
    assert trained == {
        ("a", "encoder3"): "a=encoder3|b=raw",
        ("a", "encoder2"): "a=encoder2|b=raw",
        ("b", "encoder3"): "a=raw|b=encoder3",
        ("b", "encoder2"): "a=raw|b=encoder2",
    }
    assert sum(bool(branch.widths) for network in networks for branch in network.branches) == 4


def test_an_autoencoder_is_trained_further_down_to_its_middle():
    choice = Representations(sizes=["raw", 3], extractor="autoencoder", hidden=[5], fine_tune=True)
    assert branches_of(choice)[1] == Branch("a", "raw", (5, 3), "autoencoder3", ends_in_relu=False)


@pytest.mark.parametrize(
    ("extractor", "shape", "expected"),
    [("conv1d", [2, 9], (2, 9)), ("conv3d", [4, 5, 6], (1, 4, 5, 6)), ("conv3d", [2, 4, 5, 6], (2, 4, 5, 6))],
)
def test_convolutions_come_before_the_layers_of_an_encoder(extractor, shape, expected):
    choice = Representations(sizes=[4, 2], extractor=extractor, shape=shape, channels=[3, 5], fine_tune=True)
    found = branches_of(choice)
    assert [branch.convolution for branch in found] == [Convolution(expected, (3, 5), 3)] * 2
    assert [branch.widths for branch in found] == [(4,), (4, 2)]


@pytest.mark.parametrize(("shape", "expected"), [((2, 9), 5 * 3), ((1, 4, 5, 6), 5 * 1 * 2 * 2), ((1, 1), 5)])
def test_the_width_of_convolutions_is_that_of_what_torch_makes(shape, expected):
    plan = Convolution(shape, (3, 5), 3)
    kind = nn.Conv1d if len(shape) == 2 else nn.Conv3d
    made = kind(3, 5, 3, 2, 1)(kind(shape[0], 3, 3, 2, 1)(torch.zeros(1, *shape)))
    assert plan.width == made.numel() == expected


def test_every_convolution_is_followed_by_relu():
    plan, random = Convolution((2, 9), (3, 5), 3), torch.Generator().manual_seed(1)
    inputs = torch.randn(4, 2, 9, generator=random)
    layers = [(torch.randn(*shape, generator=random), torch.zeros(shape[0])) for shape in [(3, 2, 3), (5, 3, 3)]]
    expected = inputs
    for weight, bias in layers:
        expected = functional.conv1d(functional.pad(expected, (1, 1)), weight, bias, stride=2).clamp(min=0)
    torch.testing.assert_close(plan.apply(inputs, layers), expected)


def test_every_head_has_its_own_depth_width_decay_sparsity_and_dropout():
    networks, _ = cohort(
        {"a": Representations(sizes=["raw"])},
        weight_decay=0.1,
        more_heads=[{"hidden": []}, {"hidden": [7], "dropout": 0.5, "sparsity": 0.2}],
    )
    found = [(network.hidden, network.weight_decay, network.sparsity, network.dropout) for network in networks]
    assert found == [((5, 4), 0.1, 0.0, 0.0), ((), 0.0, 0.0, 0.0), ((7,), 0.0, 0.2, 0.5)]


# Initial weights

CHAIN = Network("a=separate3", (Branch("a", "raw", (40, 3), "separate3"), Branch("b", "raw")), (30,))
WIDTHS = {("a", "raw"): 50, ("b", "raw"): 20}


def start(network=CHAIN, seed=1, given=None):
    return initial_state(network, WIDTHS, 2, seed, given or {}, torch.float64)


def test_states_are_named_as_torch_names_a_sequence():
    expected = {"extractors.a.0": (40, 50), "extractors.a.2": (3, 40), "head.0": (30, 23), "head.2": (2, 30)}
    found = start()
    assert {name: tuple(tensor.shape) for name, tensor in found.items() if name.endswith("weight")} == {
        f"{name}.weight": shape for name, shape in expected.items()
    }
    assert {name: len(tensor) for name, tensor in found.items() if name.endswith("bias")} == {
        f"{name}.bias": shape[0] for name, shape in expected.items()
    }


def test_initial_weights_are_uniform_within_the_inverse_root_of_the_inputs():
    # As torch draws them; of a uniform distribution the standard deviation is its bound over the root of 3.
    for name, tensor in start().items():
        inputs = start()[name.replace("bias", "weight")].shape[1]
        assert tensor.abs().max() <= inputs**-0.5
        if tensor.numel() > 500:
            assert tensor.std().item() == pytest.approx((3 * inputs) ** -0.5, rel=0.05)
            assert tensor.abs().max() > 0.95 * inputs**-0.5


def test_initial_weights_belong_to_the_seed_and_the_name():
    first = start()
    again, other_seed = start(), start(seed=2)
    other_name = start(Network("other", CHAIN.branches, CHAIN.hidden))
    for name in first:
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other_seed[name])
    assert not torch.equal(first["head.0.weight"], other_name["head.0.weight"])
    # Students that share an extractor start from the same weights of it.
    assert torch.equal(first["extractors.a.0.weight"], other_name["extractors.a.0.weight"])


def test_a_network_goes_on_from_extractors_that_were_trained():
    layers = [(torch.ones(40, 50), torch.zeros(40)), (torch.ones(3, 40), torch.zeros(3))]
    found, drawn = start(given={("a", "separate3"): layers}), start()
    assert found["extractors.a.0.weight"].eq(1).all()
    assert found["extractors.a.2.bias"].eq(0).all()
    assert torch.equal(found["head.0.weight"], drawn["head.0.weight"])


@pytest.mark.parametrize("fine_tune", [True, False])
def test_only_fine_tuned_students_hold_weights_of_an_encoder(fine_tune):
    choice = {"a": encoder(fine_tune=fine_tune)}
    networks, _ = cohort(choice)
    data = with_trained_extractors(some_data(3, "regression", choice), networks, seed=1)
    held = [name for network in networks for name in initial_state(network, data.widths, 1, 3, data.layers, data.dtype)]
    # Three layers of the student of 3 variables, four of that of 2; weight and bias each.
    assert sum(name.startswith("extractors.") for name in held) == (14 if fine_tune else 0)


def test_named_layers_are_read_back_in_order():
    layers = [(torch.rand(2, 1, 3), torch.rand(2))] + [(torch.rand(1, 2), torch.rand(1)) for _ in range(6)]
    found = layers_of({"head.0.weight": torch.rand(1)} | named("extractors.a", layers), "extractors.a")
    assert len(found) == 7
    assert all(a is b for pair, own in zip(found, layers, strict=True) for a, b in zip(pair, own, strict=True))


# Random streams


def test_a_stream_belongs_to_its_words():
    draws = {words: torch.rand(3, generator=stream(*words)).tolist() for words in [(1, "a"), (1, "b"), (2, "a"), (12,)]}
    assert len({tuple(draw) for draw in draws.values()}) == 4
    assert torch.rand(3, generator=stream(1, "a")).tolist() == draws[1, "a"]
    assert torch.rand(3, generator=stream("ab", "c")).tolist() != torch.rand(3, generator=stream("a", "bc")).tolist()


def test_dropout_leaves_out_a_share_and_scales_the_rest():
    network = Network("x", (), (200, 50), dropout=0.25)
    masks = dropout_masks(network, 3, 1, 138, torch.float64)
    assert [tuple(mask.shape) for mask in masks] == [(138, 200), (138, 50)]
    values = torch.cat([mask.flatten() for mask in masks])
    np.testing.assert_allclose(values.unique(), [0, 4 / 3], rtol=1e-12)
    # Four standard errors of a share of this many draws.
    share = (values == 0).double().mean().item()
    assert share == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / len(values)))


def test_dropout_is_drawn_anew_for_every_seed_epoch_batch_and_student():
    def drawn(name="x", seed=3, epoch=1, batch=0):
        masks = dropout_masks(Network(name, (), (20,), dropout=0.5), seed, epoch, 16, torch.float64)
        return masks[0].split(8)[batch]

    masks = [drawn(), drawn(name="y"), drawn(seed=4), drawn(epoch=2), drawn(batch=1)]
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 5
    assert torch.equal(drawn(), drawn())

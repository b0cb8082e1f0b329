"""The packed engine equals the loop, from the same initial weights and batches, whatever the cohort."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cohorts import PLAIN, assert_same, by_loop, cohort, some_data, with_trained_extractors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metafusion.cohort import packed
from metafusion.config.models import Head, Representations

RAW = {name: Representations(sizes=["raw", "absent"]) for name in "ab"}
SEPARATE = {
    "a": Representations(sizes=["raw", 3, 2, "absent"], extractor="separate", hidden=[4]),
    "b": Representations(sizes=[2, "absent"], extractor="separate"),
}
FROZEN = {
    "a": Representations(sizes=["raw", 3, 2, "absent"], extractor="encoder", hidden=[4]),
    "b": Representations(sizes=[2, "absent"], extractor="autoencoder"),
}
TUNED = {
    "a": Representations(sizes=["raw", 3, 2, "absent"], extractor="encoder", fine_tune=True, hidden=[4]),
    "b": Representations(sizes=[2, "absent"], extractor="autoencoder", fine_tune=True, hidden=[3]),
}
CONVOLVED = {
    "a": Representations(sizes=["raw", 3, 2], extractor="conv1d", shape=[2, 3], channels=[2, 3], fine_tune=True),
    "b": Representations(sizes=[2, "absent"], extractor="conv3d", shape=[2, 2, 1], channels=[2], fine_tune=True),
}
CONVOLVED_CHANNELS = {
    "a": Representations(sizes=[2], extractor="conv3d", shape=[2, 3, 1, 1], channels=[3], hidden=[3], fine_tune=True),
    "b": Representations(sizes=[1, "absent"], extractor="conv1d", shape=[1, 4], channels=[2], kernel=1),
}
HEADS = [{"hidden": []}, {"hidden": [7], "weight_decay": 0.3, "sparsity": 0.2}, {"hidden": [5, 4], "dropout": 0.3}]
COHORTS = {
    "plain": (PLAIN, {}),
    "linear students": (PLAIN, {"hidden": []}),
    "heads of several shapes": (RAW, {"more_heads": HEADS}),
    "weight decay": (PLAIN, {"weight_decay": 0.5}),
    "dropout": (PLAIN, {"dropout": 0.4}),
    "separate": (SEPARATE, {}),
    "frozen": (FROZEN, {}),
    "frozen, first user trains": (FROZEN, {"frozen_extractors": "first_user_trains"}),
    "fine-tuned": (TUNED, {}),
    "convolutions": (CONVOLVED, {}),
    "convolutions over channels": (CONVOLVED_CHANNELS, {}),
    "balanced": (PLAIN, {"balanced": True}),
    "taught by all alike": (PLAIN, {"teaching": "none"}),
    "taught by fixed weights": (PLAIN, {"teaching": "fixed", "exponent": 2}),
    "taught adaptively": (PLAIN, {"teaching": "adaptive", "exponent": 3}),
    "taught by the worst": (PLAIN, {"teaching": "worst_cluster"}),
    "clusters by elbow": (PLAIN, {"clusters": "elbow"}),
    "normalised over all": (PLAIN, {"normaliser": "all"}),
    "warm start": (PLAIN, {"warm_start": True, "penalties": [0, 0.99, 3]}),
    "warm start, unequal budget": (PLAIN, {"warm_start": True, "equal_budget": False, "penalties": [0, 0.99, 3]}),
    "unequal budget": (PLAIN, {"equal_budget": False, "penalties": [0, 0.99, 3]}),
    "patience": (PLAIN, {"patience": 2, "epochs": 9, "learning_rate": 0.1, "teaching": "adaptive"}),
    "last epoch": (PLAIN, {"kept_epoch": "last", "epochs": 9, "learning_rate": 0.3, "teaching": "none"}),
    "everything": (
        TUNED,
        {"warm_start": True, "dropout": 0.2, "weight_decay": 0.1, "sparsity": 0.3, "patience": 1, "normaliser": "all"},
    ),
}


def data_of(seed, task, representations, **changes):
    """An array has the same number of places everywhere and cannot be ragged."""
    array = any(choice.shape for choice in representations.values())
    return some_data(seed, task, representations, **changes | ({"widths": (6, 4)} if array else {}))


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("name", COHORTS)
def test_packed_engine_equals_the_loop(name, task):
    representations, changes = COHORTS[name]
    networks, chosen = cohort(representations, **changes)
    # Ragged: other numbers of samples and columns, and a last batch of 9 beside one of 11.
    data = {
        3: data_of(3, task, representations),
        4: data_of(4, task, representations, samples=40, training=23, validation=8, widths=(7, 4)),
    }
    together = packed.train(data, networks, chosen, task)
    # The smaller one is padded; other tests compare all.
    assert_same(together[3], by_loop({3: data[3]}, networks, chosen, task)[3], 1e-9)


@pytest.mark.parametrize(("balanced", "odds"), [(False, 4.0), (True, 1.0)])
def test_a_student_that_knows_nothing_says_the_frequencies_of_the_classes_or_equal_ones(balanced, odds):
    quick = {"hidden": [], "epochs": 200, "batch_size": 20, "learning_rate": 0.05, "penalties": [0]}
    networks, chosen = cohort(**quick, kept_epoch="last", teaching="none", balanced=balanced)
    data = some_data(1, "classification", training=20, missing=0)
    views = {key: torch.zeros_like(view) for key, view in data.views.items()}
    targets = torch.ones_like(data.targets)
    targets[data.training[:4]] = 0
    blind = replace(data, views=views, targets=targets, outputs=2)
    said = packed.train({1: blind}, networks, chosen, "classification")[1].predictions[0, 0, 0]
    # 16 of 20 samples are of class 1.
    assert np.exp(said[1] - said[0]) == pytest.approx(odds, rel=0.02)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("representations", [TUNED, CONVOLVED], ids=["dense", "convolutions"])
def test_packed_engine_equals_the_loop_from_trained_extractors(representations, task):
    networks, chosen = cohort(representations, epochs=2)
    drawn, given_layers = data_of(3, task, representations), data_of(3, task, representations)
    data = {3: with_trained_extractors(given_layers, networks, seed=1)}
    together = packed.train(data, networks, chosen, task)
    assert_same(together[3], by_loop(data, networks, chosen, task)[3], 1e-9)
    assert not np.allclose(together[3].losses, packed.train({3: drawn}, networks, chosen, task)[3].losses)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_packed_engine_equals_the_loop_in_single_precision(task):
    networks, chosen = cohort(TUNED, dropout=0.2, more_heads=[{"hidden": []}])
    data = {3: some_data(3, task, TUNED, dtype=torch.float32)}
    one, other = packed.train(data, networks, chosen, task)[3], by_loop(data, networks, chosen, task)[3]
    assert one.predictions.dtype == np.float32
    np.testing.assert_allclose(one.losses, other.losses, rtol=1e-4)


def test_seeds_with_other_numbers_of_batches_are_trained_in_one_call():
    networks, chosen = cohort()
    data = {seed: some_data(seed, "regression", training=rows) for seed, rows in [(7, 25), (3, 9), (5, 29)]}
    together = packed.train(data, networks, chosen, "regression")
    assert list(together) == [7, 3, 5]
    for seed, one in by_loop(data, networks, chosen, "regression").items():
        assert_same(together[seed], one, 1e-9)


@st.composite
def cohorts(draw):
    """Any cohort: all that can be chosen, together."""
    representations = draw(st.sampled_from([PLAIN, SEPARATE, FROZEN, TUNED, CONVOLVED]))
    head = st.fixed_dictionaries(
        {
            "hidden": st.lists(st.integers(1, 6), max_size=2),
            "weight_decay": st.sampled_from([0.0, 0.2]),
            "sparsity": st.sampled_from([0.0, 0.5]),
            "dropout": st.sampled_from([0.0, 0.3]),
        }
    )
    main, *more = draw(st.lists(head, min_size=1, max_size=2, unique_by=lambda head: Head(**head).name))
    changes = main | {
        "more_heads": more,
        "epochs": 2,
        "batch_size": draw(st.integers(5, 30)),
        "penalties": draw(st.sampled_from([[0], [0, 1], [0, 0.5, 2]])),
        "teaching": draw(st.sampled_from(["clustering", "worst_cluster", "fixed", "adaptive", "none"])),
        "clusters": draw(st.sampled_from(["silhouette", "elbow"])),
        "exponent": draw(st.sampled_from([0.0, 1.0, 4.0])),
        "normaliser": draw(st.sampled_from(["others", "all"])),
        "warm_start": draw(st.booleans()),
        "equal_budget": draw(st.booleans()),
        "patience": draw(st.sampled_from([0, 1])),
        "frozen_extractors": draw(st.sampled_from(["frozen", "first_user_trains"])),
    }
    task = draw(st.sampled_from(["classification", "regression"]))
    missing = draw(st.sampled_from([0.0, 0.3]))
    data = {}
    for seed in draw(st.lists(st.integers(0, 10_000), min_size=1, max_size=2, unique=True)):
        training = draw(st.integers(8, 25))
        widths = draw(st.integers(3, 7)), draw(st.integers(2, 5))
        data[seed] = data_of(
            seed, task, representations, samples=training + 12, training=training, widths=widths, missing=missing
        )
    return representations, changes, task, data


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
@given(cohorts())
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_packed_engine_equals_the_loop_for_any_cohort(drawn):
    representations, changes, task, data = drawn
    networks, chosen = cohort(representations, **changes)
    together = packed.train(data, networks, chosen, task)
    for seed, one in by_loop(data, networks, chosen, task).items():
        assert_same(together[seed], one, 1e-8)

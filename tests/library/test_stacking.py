"""Stacking: what the network learns from, against a plain loop, and what must not change it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from metafusion.cohort.networks import Branch, Network, initial_state, stream
from metafusion.cohort.stored import StoredSeed
from metafusion.config.models import Cohort
from metafusion.errors import UserError
from metafusion.stacking import stack

METHODS = ["stacking", "independent_stacking"]
SETTINGS = Cohort(batch_size=16)
PLAIN = Cohort(batch_size=16, target_scaling="none")
PARTS = pd.DataFrame(
    {"sample": [f"s{i:03}" for i in range(100)], "part": ["train"] * 60 + ["validation"] * 20 + ["test"] * 20}
)
TRAINING, VALIDATION, TEST = slice(0, 60), slice(60, 80), slice(80, 100)


def some_cohort(task="regression", students=4, seed=1, chosen=1, spread=0.5):
    """Students around the target, each with errors of its own, at two penalties; all of them see everything."""
    random = np.random.default_rng(seed)
    if task == "regression":
        targets = random.standard_normal(100)
        signal = targets[:, None]
    else:
        labels = random.integers(0, 3, 100)
        targets = np.array(["a", "b", "c"], dtype=object)[labels]
        signal = 2 * np.eye(3)[labels]
    predictions = (signal + spread * random.standard_normal((2, students, *signal.shape))).astype(np.float32)
    samples = pd.DataFrame({"sample": PARTS["sample"], "target": targets})
    losses = np.full((2, students), 1.0)
    return StoredSeed(seed, PARTS, predictions, np.ones((students, 100), bool), losses, chosen, [0.0, 3.0]), samples


def stacked(cohort, samples, settings=SETTINGS, task="regression", epochs=4, learning_rate=0.05):
    return stack(cohort, samples, settings, task, epochs, learning_rate)


def by_loop(inputs, targets, loss, seed, epochs, learning_rate, batch_size, outputs):
    """One hidden layer as wide as its input, Adam, mini-batches, the best validation epoch: literally."""
    width = inputs.shape[1]
    network = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))
    plan = Network("stacking", (Branch("students", "x"),), (width,))
    start = initial_state(plan, {("students", "x"): width}, outputs, str(seed), {}, torch.float32)
    network.load_state_dict({name.removeprefix("head."): tensor for name, tensor in start.items()})
    adam = torch.optim.Adam(network.parameters(), lr=learning_rate)
    order = stream(str(seed), "batches")
    best, kept = np.inf, None
    for _ in range(epochs):
        for rows in torch.arange(100)[TRAINING][torch.randperm(60, generator=order)].split(batch_size):
            adam.zero_grad()
            loss(network(inputs[rows]), targets[rows]).backward()
            adam.step()
        with torch.no_grad():
            everything = network(inputs)
            now = float(loss(everything[VALIDATION], targets[VALIDATION]))
        if now < best:
            best, kept = now, everything.numpy()
    return kept


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("learning_rate", [0.01, 0.1])
def test_stacking_is_a_network_of_one_layer_trained_on_the_outputs(task, learning_rate):
    cohort, samples = some_cohort(task)
    found = stacked(cohort, samples, PLAIN, task, epochs=6, learning_rate=learning_rate)
    assert list(found) == METHODS
    for method, index in zip(METHODS, (1, 0), strict=True):
        inputs = torch.from_numpy(np.concatenate(list(cohort.predictions[index]), axis=1))
        if task == "regression":
            targets, loss, outputs = torch.tensor(samples["target"].to_numpy(np.float32))[:, None], nn.MSELoss(), 1
        else:
            targets, loss, outputs = (
                torch.tensor(samples["target"].map({"a": 0, "b": 1, "c": 2})),
                nn.CrossEntropyLoss(),
                3,
            )
        expected = by_loop(inputs, targets, loss, 1, 6, learning_rate, 16, outputs)
        np.testing.assert_allclose(found[method], expected, rtol=1e-3, atol=1e-4)


def test_targets_of_the_test_part_are_not_looked_at():
    cohort, samples = some_cohort()
    other = samples.assign(target=[*samples["target"][:80], *([1e6] * 20)])
    for before, after in zip(stacked(cohort, samples).values(), stacked(cohort, other).values(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_targets_of_the_training_part_are_learnt_from():
    cohort, samples = some_cohort()
    other = samples.assign(target=[*-samples["target"][:60], *samples["target"][60:]])
    assert not np.allclose(stacked(cohort, samples)["stacking"], stacked(cohort, other)["stacking"], atol=0.1)


def test_stacking_puts_right_what_averages_cannot():
    # Two students whose difference is the target, and two that know nothing.
    random = np.random.default_rng(0)
    cohort, samples = some_cohort()
    target, common = samples["target"].to_numpy(), random.standard_normal(100)
    outputs = np.stack([common + target, common, *random.standard_normal((2, 100))])
    predictions = np.stack([outputs, outputs])[..., None].astype(np.float32)
    answers = stacked(replace(cohort, predictions=predictions), samples, epochs=60)["stacking"]
    single = np.square(outputs - target)[:, TEST].mean(axis=1)
    assert np.square(answers[TEST, 0] - target[TEST]).mean() < 0.25 * single.min()


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_students_that_diverged_have_no_part_in_it(task):
    cohort, samples = some_cohort(task)
    predictions, losses = cohort.predictions.copy(), cohort.losses.copy()
    predictions[0, 2], losses[0, 2] = np.nan, np.inf
    found = stacked(replace(cohort, predictions=predictions, losses=losses), samples, task=task)
    rest = [0, 1, 3]
    fewer = replace(cohort, predictions=predictions[:, rest], losses=losses[:, rest], seen=cohort.seen[rest])
    for method, expected in (("stacking", cohort), ("independent_stacking", fewer)):
        np.testing.assert_allclose(found[method], stacked(expected, samples, task=task)[method], rtol=1e-4, atol=1e-5)


def test_where_a_student_sees_nothing_the_mean_of_the_others_stands_in():
    cohort, samples = some_cohort()
    seen = cohort.seen.copy()
    seen[1, ::2] = seen[2, ::4] = False
    means = cohort.predictions.copy()
    means[:, 1, ::2] = cohort.predictions[:, [0, 2, 3], ::2].mean(axis=1)
    means[:, 1, ::4] = means[:, 2, ::4] = cohort.predictions[:, [0, 3], ::4].mean(axis=1)
    unseen = cohort.predictions.copy()
    # What a student says of samples that it does not see means nothing.
    unseen[:, ~seen] = 1e9
    expected = stacked(replace(cohort, predictions=means), samples)
    found = stacked(replace(cohort, predictions=unseen, seen=seen), samples)
    for method in METHODS:
        np.testing.assert_allclose(found[method], expected[method], rtol=1e-3, atol=1e-4)
    assert not np.allclose(expected["stacking"], stacked(cohort, samples)["stacking"], atol=1e-3)


def test_the_unit_of_the_target_does_not_matter_where_targets_are_scaled():
    cohort, samples = some_cohort()
    far = replace(cohort, predictions=cohort.predictions * 1000 + 5000)
    other = samples.assign(target=samples["target"] * 1000 + 5000)
    for settings, alike in ((SETTINGS, True), (PLAIN, False)):
        before, after = stacked(cohort, samples, settings), stacked(far, other, settings)
        close = np.allclose(after["stacking"], before["stacking"] * 1000 + 5000, rtol=1e-3, atol=5)
        assert close is alike


def test_both_say_the_same_if_the_independent_cohort_is_chosen():
    found = stacked(*some_cohort(chosen=0))
    np.testing.assert_array_equal(found["stacking"], found["independent_stacking"])
    found = stacked(*some_cohort(chosen=1))
    assert not np.allclose(found["stacking"], found["independent_stacking"], atol=1e-3)


def test_another_repetition_starts_from_other_weights_and_the_same_one_from_the_same():
    cohort, samples = some_cohort()
    first, again = stacked(cohort, samples), stacked(cohort, samples)
    other = stacked(cohort, samples, Cohort(batch_size=16, repetition=1))
    np.testing.assert_array_equal(first["stacking"], again["stacking"])
    assert not np.allclose(first["stacking"], other["stacking"], atol=1e-3)


def test_nothing_but_batches_scaling_and_streams_of_the_cohort_counts():
    cohort, samples = some_cohort()
    other = Cohort(
        batch_size=16, hidden=[3], dropout=0.5, weight_decay=1.0, epochs=1, learning_rate=1.0, patience=1,
        penalties=[0, 1], warm_start=True, more_heads=[{"hidden": []}],
    )  # fmt: skip
    # Long and rough enough that patience would end it early.
    long = {"epochs": 40, "learning_rate": 0.2}
    for method, answers in stacked(cohort, samples, **long).items():
        np.testing.assert_array_equal(stacked(cohort, samples, other, **long)[method], answers)


def test_stacking_that_diverges_has_no_answer():
    cohort, samples = some_cohort()
    broken = cohort.predictions.copy()
    broken[1, 0, TRAINING] = 1e38
    found = stacked(replace(cohort, predictions=broken), samples, PLAIN)
    assert np.isnan(found["stacking"]).all()
    assert np.isfinite(found["independent_stacking"]).all()
    broken[0, 0, TRAINING] = 1e38
    found = stacked(replace(cohort, predictions=broken), samples, PLAIN)
    assert list(found) == METHODS
    assert all(np.isnan(answers).all() and answers.shape == (100, 1) for answers in found.values())


def test_samples_that_only_diverged_students_see_are_refused():
    cohort, samples = some_cohort()
    seen, losses = cohort.seen.copy(), cohort.losses.copy()
    seen[1:, 7], losses[1, 0] = False, np.inf
    with pytest.raises(UserError, match=r"^seed 1: all students that see anything of 1 samples diverged"):
        stacked(replace(cohort, seen=seen, losses=losses), samples)

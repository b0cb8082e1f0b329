"""The cohort: the packed engine against the loop, and what both promise."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metafusion.cohort import loop, packed
from metafusion.cohort.losses import divergence_of
from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.students import all_students
from metafusion.cohort.train import train as train_any_unit
from metafusion.config.models import Cohort
from metafusion.errors import UserError

SIZES = {"a": ["raw", 2, "absent"], "b": ["raw", 1, "absent"]}
FAST = {"hidden": [5, 4], "epochs": 4, "batch_size": 8, "penalties": [0, 0.99, 3], "learning_rate": 0.01}


def some_data(seed, task, *, samples=37, training=21, validation=9, widths=(6, 3), missing=0.2, dtype=torch.float64):
    """Random views whose raw part predicts the target a little; some samples lack a modality."""
    random = np.random.default_rng(seed)
    views, present = {}, {}
    signal = np.zeros(samples)
    for (modality, sizes), width in zip(SIZES.items(), widths, strict=True):
        raw = random.standard_normal((samples, width))
        here = random.random(samples) >= missing
        present[modality] = torch.from_numpy(here)
        signal += raw[:, 0] * here
        for size in sizes:
            if size != "absent":
                name = size if size == "raw" else f"pca{size}"
                table = np.where(here[:, None], raw if size == "raw" else raw[:, :size], 0)
                views[modality, name] = torch.from_numpy(table).to(dtype)
    # Nobody may lack everything: the contract of samples.
    present["a"] |= ~present["b"]
    rows = torch.from_numpy(random.permutation(samples))
    if task == "classification":
        targets = torch.from_numpy(np.digitize(signal, [-0.5, 0.5])).long()
        outputs = 3
    else:
        targets, outputs = torch.from_numpy(signal[:, None]).to(dtype), 1
    parts = rows[:training], rows[training : training + validation]
    return loop.Data(views, present, targets, *parts, outputs)


def assert_same(one: loop.Trained, other: loop.Trained, tolerance: float) -> None:
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(one.losses, other.losses, **close)
    np.testing.assert_array_equal(one.best_epochs, other.best_epochs)
    np.testing.assert_allclose(one.teaching, other.teaching, **close)
    np.testing.assert_allclose(one.predictions, other.predictions, **close)
    np.testing.assert_array_equal(one.seen, other.seen)
    assert one.chosen == other.chosen
    keys = ["penalty", "epoch", "student"]
    histories = [run.history.sort_values(keys).reset_index(drop=True) for run in (one, other)]
    pd.testing.assert_frame_equal(*histories, check_exact=False, rtol=tolerance, atol=tolerance)
    for first, second in zip(one.weights, other.weights, strict=True):
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_allclose(first[name], second[name], **close)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("hidden", [[], [5], [5, 4]])
def test_packed_engine_equals_the_loop(task, hidden):
    students, chosen = all_students(SIZES), Cohort(**FAST | {"hidden": hidden})
    data = {seed: some_data(seed, task) for seed in (3, 4)}
    together = packed.train(data, students, chosen, task)
    for seed, one in data.items():
        assert_same(together[seed], loop.train(one, students, chosen, task, seed), 1e-9)


def test_packed_engine_equals_the_loop_in_single_precision():
    students, chosen = all_students(SIZES), Cohort(**FAST)
    data = some_data(3, "classification", dtype=torch.float32)
    one = packed.train({3: data}, students, chosen, "classification")[3]
    other = loop.train(data, students, chosen, "classification", 3)
    np.testing.assert_allclose(one.losses, other.losses, rtol=1e-4)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    task=st.sampled_from(["classification", "regression"]),
    training=st.lists(st.integers(5, 25), min_size=1, max_size=3),
    widths=st.tuples(st.integers(2, 7), st.integers(1, 5)),
    missing=st.sampled_from([0.0, 0.3]),
    batch=st.integers(3, 30),
    seed=st.integers(0, 10_000),
)
def test_packed_engine_equals_the_loop_for_any_sizes(task, training, widths, missing, batch, seed):
    students, chosen = all_students(SIZES), Cohort(**FAST | {"batch_size": batch, "epochs": 2, "hidden": [3]})
    data = {
        seed + i: some_data(
            seed + i, task, training=count, samples=count + 12, widths=(widths[0] + i, widths[1]), missing=missing
        )
        for i, count in enumerate(training)
    }
    together = packed.train(data, students, chosen, task)
    for number, one in data.items():
        assert_same(together[number], loop.train(one, students, chosen, task, number), 1e-8)


def test_a_student_at_penalty_0_does_not_depend_on_its_company():
    students, alone = all_students(SIZES), Cohort(**FAST | {"penalties": [0]})
    data = some_data(3, "classification")
    crowd = packed.train({3: data, 9: some_data(9, "classification")}, students, alone, "classification")[3]
    single = packed.train({3: data}, students[2:3], alone, "classification")[3]
    np.testing.assert_allclose(single.predictions[0, 0], crowd.predictions[0, 2], rtol=1e-9)
    np.testing.assert_allclose(single.losses[0, 0], crowd.losses[0, 2], rtol=1e-9)


@pytest.mark.parametrize("engine", ["loop", "packed"])
def test_targets_of_the_test_part_change_nothing(engine):
    students, chosen = all_students(SIZES), Cohort(**FAST)
    data, poisoned = some_data(5, "regression"), some_data(5, "regression")
    test = np.setdiff1d(np.arange(37), torch.cat([data.training, data.validation]).numpy())
    assert len(test)
    poisoned.targets[test] = 1e6
    both = [
        loop.train(one, students, chosen, "regression", 5)
        if engine == "loop"
        else packed.train({5: one}, students, chosen, "regression")[5]
        for one in (data, poisoned)
    ]
    np.testing.assert_array_equal(both[0].predictions, both[1].predictions)


def test_every_penalty_starts_from_the_same_weights_and_batches():
    students, chosen = all_students(SIZES), Cohort(**FAST | {"penalties": [0, 1e-12]})
    trained = loop.train(some_data(3, "classification"), students, chosen, "classification", 3)
    np.testing.assert_allclose(trained.predictions[0], trained.predictions[1], rtol=1e-6)


def test_a_strong_penalty_pulls_students_together():
    students, chosen = all_students(SIZES), Cohort(**FAST | {"penalties": [0, 50], "epochs": 15})
    trained = packed.train({3: some_data(3, "regression", missing=0)}, students, chosen, "regression")[3]
    spread = trained.predictions[..., 0].std(axis=1).mean(axis=1)
    assert spread[1] < 0.7 * spread[0]


def test_the_best_epoch_of_each_student_is_kept():
    students, chosen = all_students(SIZES), Cohort(**FAST | {"epochs": 12, "learning_rate": 0.1})
    data = some_data(3, "regression", missing=0)
    trained = packed.train({3: data}, students, chosen, "regression")[3]
    curves = trained.history.pivot_table(index=["penalty", "student"], columns="epoch", values="validation_loss")
    np.testing.assert_allclose(trained.losses.ravel(), curves.min(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(trained.best_epochs.ravel(), curves.to_numpy().argmin(axis=1) + 1)
    rows = data.validation
    errors = (trained.predictions[:, :, rows] - data.targets[rows].numpy()) ** 2
    np.testing.assert_allclose(errors.mean(axis=(2, 3)), trained.losses, rtol=1e-9)
    assert (trained.best_epochs < 12).any()


def test_stored_weights_give_the_stored_predictions():
    students, chosen = all_students(SIZES), Cohort(**FAST)
    data = some_data(3, "regression")
    trained = packed.train({3: data}, students, chosen, "regression")[3]
    for k, student in enumerate(students):
        x = data.input_of(student)
        head = loop.new_head(x.shape[1], chosen.hidden, 1, torch.Generator(), torch.float64)
        head.load_state_dict(trained.weights[k])
        np.testing.assert_allclose(head(x).detach(), trained.predictions[trained.chosen, k], rtol=1e-9)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_closed_form_of_the_divergence_equals_the_sum_over_pairs(task):
    random = torch.Generator().manual_seed(1)
    outputs = torch.randn(4, 6, 3 if task == "classification" else 1, dtype=torch.float64, generator=random)
    seen = torch.rand(4, 6, generator=random) > 0.3
    teaching = torch.tensor([0.5, 0.5, 0, 0], dtype=torch.float64)
    one, other = outputs.clone().requires_grad_(), outputs.clone().requires_grad_()
    mixed = packed.mixed_divergence(one, teaching[:, None] * seen, task)
    closed = torch.stack([loop.mean_where(mixed[i], seen[i]) for i in range(4)])
    pairs = torch.stack([divergence_of(i, other[i], other.detach(), teaching, seen, task) for i in range(4)])
    torch.testing.assert_close(closed, pairs)
    closed.sum().backward()
    pairs.sum().backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_a_lone_teacher_is_not_pulled():
    outputs = torch.randn(3, 5, 2, dtype=torch.float64)
    teaching = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)[:, None].expand(3, 5)
    assert packed.mixed_divergence(outputs, teaching, "classification")[1].abs().max() == 0


@pytest.mark.parametrize("engine", ["loop", "packed"])
def test_a_diverging_student_is_named(engine):
    students, chosen = all_students(SIZES), Cohort(**FAST | {"learning_rate": 1e30})
    data = some_data(3, "regression", dtype=torch.float32)
    engines = {
        "loop": lambda: loop.train(data, students, chosen, "regression", 3),
        "packed": lambda: packed.train({3: data}, students, chosen, "regression"),
    }
    with pytest.raises(UserError, match=r"student 'a=.*' is not a number.*learning_rate"):
        engines[engine]()


def test_a_student_without_validation_samples_is_named():
    students, chosen = all_students(SIZES), Cohort(**FAST)
    data = some_data(3, "regression")
    data.present["b"][data.validation] = False
    with pytest.raises(UserError, match="no validation sample has a modality of student 'a=absent"):
        packed.train({3: data}, students, chosen, "regression")


def seed_data(scale=1.0, shift=0.0):
    random = np.random.default_rng(4)
    raw = random.standard_normal((60, 4)).astype(np.float32)
    targets = (raw[:, 0] + 0.1 * random.standard_normal(60)) * scale + shift
    targets[50:] = 0
    views = {("a", "raw"): raw[:, :2], ("b", "raw"): raw[:, 2:]}
    present = {name: np.ones(60, dtype=bool) for name in "ab"}
    return SeedData(views, present, targets, np.arange(36), np.arange(36, 50), 1)


BOTH = all_students({"a": ["raw", "absent"], "b": ["raw", "absent"]})


def test_the_unit_of_the_target_does_not_matter():
    chosen = Cohort(hidden=[5], epochs=6, batch_size=8, learning_rate=0.01)
    plain = train_any_unit({1: seed_data()}, BOTH, chosen, "regression")[1]
    moved = train_any_unit({1: seed_data(scale=100, shift=2700)}, BOTH, chosen, "regression")[1]
    np.testing.assert_allclose(moved.predictions, 100 * plain.predictions + 2700, rtol=1e-4)
    np.testing.assert_allclose(moved.losses, 1e4 * plain.losses, rtol=1e-3)
    assert moved.chosen == plain.chosen


def test_weights_come_back_in_the_unit_of_the_target():
    chosen = Cohort(hidden=[5], epochs=6, batch_size=8, learning_rate=0.01)
    data = seed_data(scale=3, shift=27)
    trained = train_any_unit({1: data}, BOTH, chosen, "regression")[1]
    head = loop.new_head(4, [5], 1, torch.Generator(), torch.float32)
    head.load_state_dict(trained.weights[0])
    outputs = head(torch.from_numpy(data.input_of(BOTH[0]))).detach().numpy()
    np.testing.assert_allclose(outputs, trained.predictions[trained.chosen, 0], rtol=1e-5)
    errors = ((outputs[36:50, 0] - data.targets[36:50]) ** 2).mean()
    np.testing.assert_allclose(trained.losses[trained.chosen, 0], errors, rtol=1e-4)


def test_without_scaling_the_target_is_learnt_as_it_is():
    chosen = Cohort(hidden=[5], epochs=6, batch_size=8, learning_rate=0.01, target_scaling="none")
    data = seed_data(scale=3, shift=27)
    trained = train_any_unit({1: data}, BOTH, chosen, "regression")[1]
    direct = packed.train({1: loop.Data.of(data)}, BOTH, chosen, "regression")[1]
    np.testing.assert_array_equal(trained.predictions, direct.predictions)


@pytest.mark.parametrize("engine", ["loop", "packed"])
def test_the_training_loss_is_the_mean_over_what_a_student_sees(engine):
    chosen = Cohort(hidden=[5], epochs=1, batch_size=4, learning_rate=1e-12, penalties=[0])
    data = some_data(6, "regression", missing=0.6)
    if engine == "loop":
        trained = loop.train(data, BOTH, chosen, "regression", 6)
    else:
        trained = packed.train({6: data}, BOTH, chosen, "regression")[6]
    rows = data.training.numpy()
    errors = (trained.predictions[0, :, rows, 0] - data.targets.numpy()[rows]) ** 2
    seen = trained.seen[:, rows].T
    expected = (errors * seen).sum(axis=0) / seen.sum(axis=0)
    np.testing.assert_allclose(trained.history.sort_values("student")["task_loss"], expected, rtol=1e-6)

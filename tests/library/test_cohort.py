"""What a training promises: independence of the company, containment, best epochs, units, and the same bytes again."""

import logging
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from cohorts import ENGINES, PLAIN, assert_same, by_loop, cohort, of_students, run_python, some_data

from metafusion.cohort import block, loop, packed
from metafusion.cohort.loop import Data
from metafusion.cohort.networks import layers_of, networks_of
from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.students import all_students
from metafusion.cohort.train import train
from metafusion.config.models import Cohort, Representations
from metafusion.errors import UserError
from metafusion.files import read_arrays, read_table

by_each_engine = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)

MIXED = {
    "a": Representations(sizes=["raw", 3, "absent"], extractor="separate", hidden=[4]),
    "b": Representations(sizes=["raw", 2, "absent"], extractor="encoder", fine_tune=True),
}
BUSY = {"dropout": 0.2, "weight_decay": 0.1, "more_heads": [{"hidden": []}], "epochs": 4}


def curves_of(trained, column="validation_loss"):
    """Return the learning curves, one row a penalty and student, one column an epoch."""
    return trained.history.pivot_table(index=["penalty", "student"], columns="epoch", values=column, dropna=False)


# Company


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_student_without_penalty_does_not_depend_on_its_company(task):
    networks, chosen = cohort(MIXED, penalties=[0], **BUSY)
    data = some_data(3, task, MIXED)
    crowd = packed.train({9: some_data(9, task, MIXED, training=23), 3: data}, networks, chosen, task)[3]
    for kept in ([2], [9, 4, 0]):
        few = packed.train({3: data}, [networks[k] for k in kept], chosen, task)[3]
        expected = of_students(crowd, kept)
        # Who teaches, and whose best cluster it is, the company may decide.
        assert_same(replace(few, teaching=expected.teaching, top=expected.top), expected, 1e-9)


def test_other_seeds_and_penalties_change_nothing_at_a_penalty():
    networks, chosen = cohort(MIXED, penalties=[0, 0.5, 3], **BUSY)
    _, fewer = cohort(MIXED, penalties=[0, 3], **BUSY)
    data = {seed: some_data(seed, "classification", MIXED, widths=(6, 4 + seed)) for seed in (4, 3)}
    crowd = packed.train(data, networks, chosen, "classification")[3]
    alone = packed.train({3: data[3]}, networks, fewer, "classification")[3]
    np.testing.assert_allclose(alone.predictions, crowd.predictions[[0, 2]], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(alone.losses, crowd.losses[[0, 2]], rtol=1e-9)
    np.testing.assert_allclose(alone.teaching, crowd.teaching[[0, 2]], rtol=1e-9)


def test_the_number_of_penalties_trained_together_changes_nothing(monkeypatch):
    networks, chosen = cohort(MIXED, penalties=[0, 0.5, 3], **BUSY)
    data = {3: some_data(3, "regression", MIXED)}
    together = packed.train(data, networks, chosen, "regression")[3]
    monkeypatch.setattr(packed, "CACHE", 1)
    assert_same(packed.train(data, networks, chosen, "regression")[3], together, 1e-9)


def test_the_number_of_rows_answered_at_once_changes_nothing(monkeypatch):
    networks, chosen = cohort(MIXED, **BUSY)
    data = {3: some_data(3, "regression", MIXED)}
    whole = packed.train(data, networks, chosen, "regression")[3]
    monkeypatch.setattr(packed, "PIECE", 7)
    assert_same(packed.train(data, networks, chosen, "regression")[3], whole, 1e-9)


def test_the_number_of_threads_changes_nothing():
    # Large enough that torch does use both.
    networks, chosen = cohort(hidden=[128], batch_size=128, epochs=1)
    data = {3: some_data(3, "classification", widths=(300, 200), samples=320, training=256, validation=32)}
    before, trained = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            trained.append(packed.train(data, networks, chosen, "classification")[3])
    finally:
        torch.set_num_threads(before)
    assert_same(*trained, 1e-9)


DIGEST = """
import hashlib, sys
from pathlib import Path
import torch
from test_cohort import store_a_block
torch.set_num_threads(1)
for path in sorted(store_a_block(sys.argv[1]).iterdir()):
    print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
"""


def store_a_block(folder):
    """Train and store a small block in single precision, as a job does."""
    networks, chosen = cohort(MIXED, penalties=[0, 1], teaching="adaptive", **BUSY)
    students = all_students({name: choice.names for name, choice in MIXED.items()}, chosen.more_heads)
    data = {seed: some_data(seed, "classification", MIXED, dtype=torch.float32) for seed in (3, 4)}
    block.write(folder, students, chosen, packed.train(data, networks, chosen, "classification"))
    return Path(folder)


def test_the_same_configuration_gives_the_same_bytes(tmp_path):
    # In another process, in which Python orders sets differently.
    printed = run_python("-c", DIGEST, tmp_path / "there", PYTHONHASHSEED="1")
    here = sorted(store_a_block(tmp_path / "here").iterdir())
    assert len(here) == 5
    assert printed.splitlines() == [f"{path.name} {sha256(path.read_bytes()).hexdigest()}" for path in here]


# Containment

ALONE_WITH_B = 4
"""Number of the student 'a=absent|b=raw' of PLAIN; students 0, 2 and 4 see b."""


def spoilt(task, scale, dtype=torch.float32):
    """Data whose view of b has huge numbers: who sees it leaves the numbers."""
    data = some_data(3, task, dtype=dtype, missing=0)
    data.views["b", "raw"] *= scale
    return data


# A squared error overflows at once; the outputs themselves overflow.
HUGE = pytest.mark.parametrize(
    ("task", "scale"), [("regression", 1e30), ("regression", 1e38), ("classification", 3e38)]
)


@HUGE
@pytest.mark.parametrize("teaching", ["clustering", "worst_cluster", "fixed", "adaptive", "none"])
def test_students_that_diverge_leave_the_others_as_they_would_be_without_them(task, scale, teaching):
    networks, chosen = cohort(penalties=[0, 1], teaching=teaching, epochs=3)
    data = spoilt(task, scale)
    trained = packed.train({3: data}, networks, chosen, task)[3]
    assert np.isinf(trained.losses).tolist() == [[True, False, True, False, True]] * 2
    without = packed.train({3: data}, [networks[k] for k in (1, 3)], chosen, task)[3]
    found = of_students(trained, [1, 3])
    # They never taught, so with a penalty, too, nothing is different.
    np.testing.assert_allclose(found.predictions, without.predictions, rtol=1e-5)
    np.testing.assert_allclose(found.losses, without.losses, rtol=1e-5)
    np.testing.assert_allclose(found.teaching, without.teaching, rtol=1e-5)
    assert found.top.tolist() == without.top.tolist()
    assert trained.chosen == without.chosen


@by_each_engine
@HUGE
def test_a_student_that_diverges_has_no_result_and_no_say(engine, task, scale):
    networks, chosen = cohort(penalties=[0, 1], teaching="adaptive")
    trained = engine({3: spoilt(task, scale)}, networks, chosen, task)[3]
    failed, fine = [0, 2, 4], [1, 3]
    assert np.isnan(trained.predictions[:, failed]).all()
    assert np.isfinite(trained.predictions[:, fine]).all()
    assert np.isinf(trained.losses[:, failed]).all()
    assert (trained.best_epochs[:, failed] == 0).all()
    assert (trained.best_epochs[:, fine] > 0).all()
    assert (trained.teaching[:, failed] == 0).all()
    np.testing.assert_allclose(trained.teaching.sum(axis=1), 1, rtol=1e-6)
    assert not trained.top[failed].any()
    assert [state is None for state in trained.weights] == [True, False, True, False, True]
    last = curves_of(trained)[chosen.epochs].unstack("student")
    assert last[failed].isna().all(axis=None)
    assert last[fine].notna().all(axis=None)


@pytest.mark.parametrize("changes", [{}, {"warm_start": True}, {"patience": 1, "epochs": 6}, {"teaching": "adaptive"}])
@pytest.mark.parametrize(("task", "scale"), [("regression", 1e250), ("classification", 1e308)])
def test_packed_engine_equals_the_loop_when_students_diverge(task, scale, changes):
    networks, chosen = cohort(**{"teaching": "none", "penalties": [0, 1]} | changes)
    data = {3: spoilt(task, scale, dtype=torch.float64), 4: some_data(4, task)}
    together = packed.train(data, networks, chosen, task)
    assert np.isinf(together[3].losses[:, ALONE_WITH_B]).all()
    for seed, one in by_loop(data, networks, chosen, task).items():
        assert_same(together[seed], one, 1e-9)


# A decay so strong that weights change by a factor of 1 - 0.01 * 1e12 a step: they leave the numbers after some epochs.
EXPLODING = {"hidden": [], "weight_decay": 1e12}
TWO = {name: Representations(sizes=["raw"]) for name in "ab"}


def test_packed_engine_equals_the_loop_when_a_student_diverges_late():
    networks, chosen = cohort(TWO, more_heads=[EXPLODING], warm_start=True, teaching="adaptive", epochs=9)
    data = {3: some_data(3, "regression", TWO)}
    one = by_loop(data, networks, chosen, "regression")[3]
    assert 1 < one.history.query("penalty == 0 and student == 1")["validation_loss"].count() < 9
    assert_same(packed.train(data, networks, chosen, "regression")[3], one, 1e-9)


@by_each_engine
@pytest.mark.parametrize("patience", [0, 2])
def test_what_happens_after_a_student_has_stopped_does_not_spoil_its_result(engine, patience):
    networks, chosen = cohort(TWO, more_heads=[EXPLODING], patience=patience, epochs=9, penalties=[0])
    trained = engine({3: some_data(3, "regression", TWO)}, networks, chosen, "regression")[3]
    curve = trained.history.query("student == 1")["validation_loss"].to_numpy()
    assert np.isfinite(curve[:2]).all()
    assert np.isnan(curve[-1])
    # The other became better to the end, so that the cohort went on.
    assert trained.best_epochs[0].tolist() == [9, 1 if patience else 0]
    assert np.isfinite(trained.losses[0]).tolist() == [True, patience > 0]


@by_each_engine
def test_a_teacher_that_diverges_later_stops_teaching(engine):
    # Gradients of its own loss are huge numbers; those of the penalty leave the numbers. All taught alike until then.
    networks, chosen = cohort(penalties=[0, 1e8], teaching="none", epochs=3)
    trained = engine({3: spoilt("regression", 1e17)}, networks, chosen, "regression")[3]
    assert np.isfinite(trained.losses[0]).all()
    assert np.isinf(trained.losses[1, ALONE_WITH_B])
    assert np.isfinite(trained.losses[1, [1, 3]]).all()
    assert np.isfinite(trained.predictions[1, [1, 3]]).all()
    curves = curves_of(trained, "divergence").loc[1e8]
    assert np.isfinite(curves.loc[[1, 3]]).all(axis=None)
    # Who is left agrees: without the other in the mixture, nothing pulls them 1e17 away.
    assert (curves.loc[[1, 3], 3] < 1e3).all()
    assert trained.chosen == 0


@by_each_engine
def test_if_every_student_diverges_the_user_is_told_what_to_do(engine):
    networks, chosen = cohort(learning_rate=1e30)
    data = {3: some_data(3, "regression", dtype=torch.float32)}
    with pytest.raises(UserError, match=r"seed 3: the loss of every student is not a number.*learning_rate"):
        engine(data, networks, chosen, "regression")


@by_each_engine
@pytest.mark.parametrize("part", ["training", "validation"])
def test_a_student_that_sees_nobody_is_named(engine, part):
    networks, chosen = cohort()
    data = some_data(3, "regression")
    data.present["b"][getattr(data, part)] = False
    with pytest.raises(UserError, match=rf"seed 3: no {part} sample has a modality of student 'a=absent\|b=raw'"):
        engine({3: data}, networks, chosen, "regression")


def stored(tmp_path, caplog):
    networks, chosen = cohort(penalties=[0, 1])
    students = all_students({name: choice.names for name, choice in PLAIN.items()})
    data = {3: spoilt("regression", 1e30), 4: some_data(4, "regression", dtype=torch.float32, samples=40)}
    trained = packed.train(data, networks, chosen, "regression")
    block.write(tmp_path, students, chosen, trained)
    with caplog.at_level(logging.INFO):
        block.log(students, chosen, trained, logging.getLogger("cohort"))
    return trained


def test_a_student_that_diverges_is_named_in_the_log(tmp_path, caplog):
    stored(tmp_path, caplog)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    # Three students at two penalties; nobody of seed 4.
    assert len(warnings) == 6
    assert sum("student a=absent|b=raw diverged" in words for words in warnings) == 2
    assert sum("penalty 1:" in words for words in warnings) == 3
    assert all("seed 3" in words and "learning_rate" in words for words in warnings)
    assert any("seed 4: 5 students, penalty" in record.getMessage() for record in caplog.records)


def test_a_stored_block_says_who_diverged(tmp_path, caplog):
    trained = stored(tmp_path, caplog)
    selection = read_table(tmp_path / "selection.tsv")
    assert list(selection) == block.SELECTION
    assert len(selection) == 2 * 2 * 5
    failed = selection[selection["diverged"] == 1]
    assert set(zip(failed["seed"], failed["student"], strict=True)) == {(3, 0), (3, 2), (3, 4)}
    assert np.isinf(failed["validation_loss"]).all()
    assert (failed["best_epoch"] == 0).all()
    assert (failed[["teaching", "top_cluster"]] == 0).all(axis=None)
    assert (selection.groupby(["seed", "penalty"])["chosen"].nunique() == 1).all()
    predictions = read_arrays(tmp_path / "predictions.safetensors")["predictions"]
    np.testing.assert_array_equal(predictions[0, :, :, :37], trained[3].predictions)
    assert np.isnan(predictions[0, :, :, 37:]).all()
    weights = read_arrays(tmp_path / "weights.safetensors")
    assert {name.split("/")[1] for name in weights if name.startswith("seed_3/")} == {"student_1", "student_3"}
    assert len({name.split("/")[1] for name in weights if name.startswith("seed_4/")}) == 5


# What is learnt

EVERY_KIND = {
    "a": Representations(sizes=["raw", 4, "absent"], extractor="conv1d", shape=[1, 6], channels=[6], fine_tune=True),
    "b": Representations(sizes=["raw", 3, "absent"], extractor="separate", hidden=[8]),
}


@pytest.mark.parametrize(("task", "representations"), [("classification", EVERY_KIND), ("regression", MIXED)])
def test_every_student_beats_chance_on_data_with_signal(representations, task):
    networks, chosen = cohort(
        representations,
        hidden=[16],
        more_heads=[{"hidden": []}, {"hidden": [8, 8], "dropout": 0.2}],
        epochs=10,
        batch_size=16,
        learning_rate=0.01,
    )
    data = some_data(
        5,
        task,
        representations,
        samples=600,
        training=240,
        validation=80,
        widths=(6, 4),
        missing=0,
        dtype=torch.float32,
    )
    trained = packed.train({5: data}, networks, chosen, task)[5]
    rows = np.setdiff1d(np.arange(600), torch.cat([data.training, data.validation]).numpy())
    found, truth = trained.predictions[:, :, rows], data.targets.numpy()[rows]
    if task == "classification":
        majority = np.bincount(truth).max() / len(truth)
        accuracy = (found.argmax(axis=-1) == truth).mean(axis=-1)
        assert accuracy.min() > majority + 0.1
    else:
        # Of the two equal sources of the target's variance, every student sees at least one.
        explained = 1 - ((found - truth) ** 2).mean(axis=(2, 3)) / truth.var()
        assert explained.min() > 0.2


@by_each_engine
def test_every_penalty_starts_from_the_same_weights_and_batches(engine):
    networks, chosen = cohort(penalties=[0, 1e-12], dropout=0.3)
    trained = engine({3: some_data(3, "classification")}, networks, chosen, "classification")[3]
    np.testing.assert_allclose(trained.predictions[0], trained.predictions[1], rtol=1e-6)


@by_each_engine
def test_a_repetition_trains_the_same_seed_from_other_weights(engine):
    data = {3: some_data(3, "regression", missing=0)}
    found = []
    for repetition in (0, 1, 2):
        networks, chosen = cohort(MIXED, repetition=repetition, **BUSY)
        found.append(engine(data, networks, chosen, "regression")[3])
    curves = np.stack([curves_of(one, "task_loss").to_numpy() for one in found])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (np.abs(curves[one] - curves[other]) > 1e-6).all()
    # The problem is the same, and so is what can be seen of it.
    assert all((one.seen == found[0].seen).all() for one in found)


def test_both_engines_agree_on_a_repetition():
    data = {3: some_data(3, "regression")}
    networks, chosen = cohort(MIXED, repetition=2, **BUSY)
    both = [engine(data, networks, chosen, "regression")[3] for engine in ENGINES.values()]
    assert_same(*both, 1e-6)


def test_a_strong_penalty_pulls_students_together():
    networks, chosen = cohort(penalties=[0, 50], epochs=15)
    trained = packed.train({3: some_data(3, "regression", missing=0)}, networks, chosen, "regression")[3]
    spread = trained.predictions[..., 0].std(axis=1).mean(axis=1)
    assert spread[1] < 0.7 * spread[0]


@by_each_engine
def test_targets_of_the_test_part_change_nothing(engine):
    networks, chosen = cohort()
    data, poisoned = some_data(5, "regression"), some_data(5, "regression")
    test = np.setdiff1d(np.arange(37), torch.cat([data.training, data.validation]).numpy())
    assert len(test)
    poisoned.targets[test] = 1e6
    both = [engine({5: one}, networks, chosen, "regression")[5] for one in (data, poisoned)]
    assert_same(*both, 0)


@by_each_engine
def test_the_training_loss_is_the_mean_over_what_a_student_sees(engine):
    networks, chosen = cohort(epochs=1, batch_size=4, learning_rate=1e-12, penalties=[0])
    data = some_data(6, "regression", missing=0.6)
    trained = engine({6: data}, networks, chosen, "regression")[6]
    rows = data.training.numpy()
    errors = (trained.predictions[0, :, rows, 0] - data.targets.numpy()[rows]) ** 2
    seen = trained.seen[:, rows].T
    expected = (errors * seen).sum(axis=0) / seen.sum(axis=0)
    np.testing.assert_allclose(trained.history.sort_values("student")["task_loss"], expected, rtol=1e-6)


@by_each_engine
@pytest.mark.parametrize("decay", [0.0, 5.0])
def test_weight_decay_shrinks_weights_and_spares_biases(engine, decay):
    # Where a modality is always 0, its weights have no gradient: decay alone moves them, by 1 - rate * decay a step.
    networks, chosen = cohort(hidden=[], penalties=[0], weight_decay=decay, epochs=3)
    data = some_data(3, "regression", missing=0)
    data.views["b", "raw"][:] = 0
    start = loop.initial_state(networks[4], data.widths, 1, 3, {}, torch.float64)
    trained = engine({3: data}, networks, chosen, "regression")[3]
    steps = 2 * trained.best_epochs[0, 4]
    found = trained.weights[4]
    np.testing.assert_allclose(found["head.0.weight"], start["head.0.weight"] * (1 - 0.01 * decay) ** steps, rtol=1e-12)
    # Adam's first steps are as long as the learning rate, with decay or without.
    moved = abs(float(found["head.0.bias"] - start["head.0.bias"]))
    assert 0 < moved <= 0.01 * steps * (1 + 1e-6)


@by_each_engine
def test_sparsity_takes_weights_to_zero_in_equal_steps_and_spares_biases(engine):
    # As above: without a gradient, each step takes rate * sparsity off a weight's distance from 0, until it is there.
    networks, chosen = cohort(hidden=[], penalties=[0], sparsity=6.0, epochs=3)
    data = some_data(3, "regression", missing=0)
    data.views["b", "raw"][:] = 0
    start = loop.initial_state(networks[4], data.widths, 1, 3, {}, torch.float64)
    trained = engine({3: data}, networks, chosen, "regression")[3]
    steps, found = 2 * trained.best_epochs[0, 4], trained.weights[4]
    before = start["head.0.weight"].numpy()
    expected = np.sign(before) * np.maximum(np.abs(before) - 0.01 * 6 * steps, 0)
    np.testing.assert_allclose(found["head.0.weight"], expected, rtol=1e-12)
    assert 0 < (expected == 0).sum() < expected.size
    assert float(found["head.0.bias"]) != 0


# Epochs


@pytest.mark.parametrize("changes", [{}, {"patience": 3}], ids=["all epochs", "patience"])
def test_the_best_epoch_of_each_student_is_kept(changes):
    networks, chosen = cohort(epochs=12, learning_rate=0.1, **changes)
    data = some_data(3, "regression", missing=0)
    trained = packed.train({3: data}, networks, chosen, "regression")[3]
    rows = data.validation
    errors = (trained.predictions[:, :, rows] - data.targets[rows].numpy()) ** 2
    np.testing.assert_allclose(errors.mean(axis=(2, 3)), trained.losses, rtol=1e-9)
    if not changes:
        curves = curves_of(trained)
        np.testing.assert_allclose(trained.losses.ravel(), curves.min(axis=1), rtol=1e-12)
        np.testing.assert_array_equal(trained.best_epochs.ravel(), curves.to_numpy().argmin(axis=1) + 1)
    assert (trained.best_epochs < 12).any()


def best_with_patience(curve, patience):
    best = 0
    for epoch, loss in enumerate(curve):
        if loss < curve[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return best


@by_each_engine
def test_a_student_out_of_patience_keeps_its_result_while_others_go_on(engine):
    networks, chosen = cohort(epochs=25, learning_rate=0.1, patience=2, penalties=[0])
    trained = engine({3: some_data(3, "regression", missing=0)}, networks, chosen, "regression")[3]
    curves = curves_of(trained).to_numpy()
    expected = np.array([best_with_patience(curve, 2) for curve in curves])
    np.testing.assert_array_equal(trained.best_epochs[0], expected + 1)
    np.testing.assert_allclose(trained.losses[0], curves[range(5), expected], rtol=1e-12)
    # The test would see nothing if nobody became better later, or the cohort never ended early.
    assert (curves.min(axis=1) < trained.losses[0]).any()
    assert curves.shape[1] == (expected + 1).max() + 2 < 25


def test_without_patience_nobody_stops():
    networks, chosen = cohort(epochs=25, learning_rate=0.1, patience=0, penalties=[0])
    trained = packed.train({3: some_data(3, "regression", missing=0)}, networks, chosen, "regression")[3]
    assert curves_of(trained).shape[1] == 25


# Rows: independent cohort, first penalty above 0, second; E = 3 epochs. See "The two protocols" of meta-fusion.md.
@by_each_engine
@pytest.mark.parametrize(
    ("warm_start", "equal_budget", "expected"),
    [(False, True, [3, 3, 3]), (False, False, [3, 6, 3]), (True, True, [6, 3, 6]), (True, False, [3, 3, 3])],
)
def test_epochs_of_every_penalty(engine, warm_start, equal_budget, expected):
    networks, chosen = cohort(
        hidden=[], epochs=3, penalties=[0, 0.5, 2], warm_start=warm_start, equal_budget=equal_budget
    )
    trained = engine({3: some_data(3, "regression")}, networks[:2], chosen, "regression")[3]
    assert trained.history.groupby("penalty")["epoch"].max().tolist() == expected


@pytest.mark.parametrize("equal_budget", [True, False])
def test_a_warm_start_goes_on_from_the_independent_cohort(equal_budget):
    changes = {"epochs": 10, "penalties": [0, 1e-9], "equal_budget": equal_budget}
    data = {3: some_data(3, "regression", missing=0)}
    networks, warm = cohort(warm_start=True, **changes)
    trained = packed.train(data, networks, warm, "regression")[3]
    first = curves_of(trained, "task_loss")[1].unstack("student")
    late = curves_of(trained, "task_loss")[10].loc[0]
    # At its first epoch it is about as good as the independent cohort at its tenth, and far better than at its first.
    assert (first.loc[1e-9] < 0.5 * first.loc[0] + 0.5 * late).all()
    cold = packed.train(data, networks, cohort(**changes)[1], "regression")[3]
    again = curves_of(cold, "task_loss")[1].unstack("student")
    np.testing.assert_allclose(again.loc[1e-9], again.loc[0], rtol=1e-6)


# Weights and units


def answer(network, state, data):
    """Run a stored student by hand, with torch's own functions."""
    inputs = []
    for branch in network.branches:
        hidden = data.views[branch.key]
        layers = layers_of(state, f"extractors.{branch.modality}")
        for depth, (weight, bias) in enumerate(layers):
            if weight.ndim > 2:
                shaped = hidden.reshape(-1, *branch.convolution.shape) if depth == 0 else hidden
                convolve = torch.nn.functional.conv1d if weight.ndim == 3 else torch.nn.functional.conv3d
                hidden = convolve(shaped, weight, bias, stride=2, padding=weight.shape[-1] // 2).relu()
                continue
            hidden = hidden.flatten(1) @ weight.T + bias
            if branch.ends_in_relu or depth < len(layers) - 1:
                hidden = hidden.relu()
        inputs.append(hidden)
    hidden = torch.cat(inputs, dim=1)
    *inner, (weight, bias) = layers_of(state, "head")
    for units, offset in inner:
        hidden = (hidden @ units.T + offset).relu()
    return hidden @ weight.T + bias


@pytest.mark.parametrize("representations", [MIXED, EVERY_KIND], ids=["encoder", "convolution"])
def test_stored_weights_give_the_stored_predictions(representations):
    networks, chosen = cohort(representations, **BUSY)
    data = {3: some_data(3, "regression", representations), 4: some_data(4, "regression", representations, samples=39)}
    for seed, trained in packed.train(data, networks, chosen, "regression").items():
        for k, network in enumerate(networks):
            found = answer(network, trained.weights[k], data[seed])
            np.testing.assert_allclose(found, trained.predictions[trained.chosen, k], rtol=1e-9, atol=1e-12)


def seed_data(scale=1.0, shift=0.0):
    random = np.random.default_rng(4)
    raw = random.standard_normal((60, 4)).astype(np.float32)
    targets = (raw[:, 0] + 0.1 * random.standard_normal(60)) * scale + shift
    targets[50:] = 0
    views = {("a", "raw"): raw[:, :2], ("b", "raw"): raw[:, 2:]}
    present = {name: np.ones(60, dtype=bool) for name in "ab"}
    return SeedData(views, present, targets, np.arange(36), np.arange(36, 50), 1)


BOTH = all_students({"a": ["raw", "absent"], "b": ["raw", "absent"]})
SLOW = {"hidden": [5], "epochs": 6, "batch_size": 8, "learning_rate": 0.01}


def test_the_unit_of_the_target_does_not_matter():
    chosen = Cohort(**SLOW)
    plain = train({1: seed_data()}, BOTH, {}, chosen, "regression")[1]
    moved = train({1: seed_data(scale=100, shift=2700)}, BOTH, {}, chosen, "regression")[1]
    np.testing.assert_allclose(moved.predictions, 100 * plain.predictions + 2700, rtol=1e-4)
    np.testing.assert_allclose(moved.losses, 1e4 * plain.losses, rtol=1e-3)
    assert moved.chosen == plain.chosen


def test_weights_come_back_in_the_unit_of_the_target():
    chosen, data = Cohort(**SLOW), seed_data(scale=3, shift=27)
    trained = train({1: data}, BOTH, {}, chosen, "regression")[1]
    outputs = answer(networks_of(BOTH, {}, chosen)[0], trained.weights[0], Data.of(data)).numpy()
    np.testing.assert_allclose(outputs, trained.predictions[trained.chosen, 0], rtol=1e-5)
    errors = ((outputs[36:50, 0] - data.targets[36:50]) ** 2).mean()
    np.testing.assert_allclose(trained.losses[trained.chosen, 0], errors, rtol=1e-4)


def test_a_student_that_diverges_has_no_result_in_the_unit_of_the_target_either():
    chosen, data = Cohort(**SLOW | {"penalties": [0]}), seed_data(scale=3, shift=27)
    data.views["b", "raw"] = data.views["b", "raw"] * np.float32(1e30)
    trained = train({1: data}, BOTH, {}, chosen, "regression")[1]
    assert np.isinf(trained.losses).tolist() == [[True, False, True]]
    assert trained.weights[0] is None
    assert np.isnan(trained.predictions[0, [0, 2]]).all()


def test_without_scaling_the_target_is_learnt_as_it_is():
    chosen, data = Cohort(**SLOW | {"target_scaling": "none"}), seed_data(scale=3, shift=27)
    trained = train({1: data}, BOTH, {}, chosen, "regression")[1]
    direct = packed.train({1: Data.of(data)}, networks_of(BOTH, {}, chosen), chosen, "regression")[1]
    assert_same(trained, direct, 0)


def test_the_last_epoch_is_kept_where_that_is_asked_for():
    # Steps so large that the best epoch is not the last.
    networks, chosen = cohort(epochs=9, learning_rate=0.3)
    data = some_data(3, "regression")
    best = packed.train({3: data}, networks, chosen, "regression")[3]
    last = packed.train({3: data}, networks, chosen.model_copy(update={"kept_epoch": "last"}), "regression")[3]
    assert (best.best_epochs[0] < 9).any()
    assert (last.best_epochs == 9).all()
    curves = last.history[(last.history["penalty"] == 0) & (last.history["epoch"] == 9)]
    assert last.losses[0] == pytest.approx(curves["validation_loss"].to_numpy())

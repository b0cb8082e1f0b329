"""TabM among the comparators: tuned as the plain models are, and what it must not see."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from metafusion.comparators import tabm, tuned
from metafusion.config.fronts import Front
from metafusion.errors import UserError

pytest.importorskip("tabm")
BEFORE = {"blood": Front(), "scan": Front()}
FOLD = np.array([*np.tile([0, 1, 2], 30), *[-1] * 30])
LEARNT = FOLD >= 0
OWN = list(tabm.CANDIDATES)
FEW = [(width, epochs) for width in (8, 16) for epochs in (1, 2, 4, 8, 16, 32)]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(tabm, "CANDIDATES", FEW)
    monkeypatch.setattr(tabm, "LEARNING_RATE", 0.02)


def some_data(task):
    """The target is a product over two modalities, which no linear model finds."""
    random = np.random.default_rng(1)
    columns = {"blood": random.normal(5, 3, (len(FOLD), 3)), "scan": random.normal(0, 0.1, (len(FOLD), 1))}
    signal = (columns["blood"][:, 0] - 5) * columns["scan"][:, 0]
    targets = np.where(LEARNT, (signal > 0).astype(np.int64) if task == "classification" else 1000 + 100 * signal, 0)
    columns = {name: values.astype(np.float32) for name, values in columns.items()}
    present = {name: np.ones(len(FOLD), dtype=bool) for name in columns}
    names = {name: [f"{name}{place}" for place in range(values.shape[1])] for name, values in columns.items()}
    outputs = 2 if task == "classification" else 1
    return tuned.Raw(columns, present, names, targets, FOLD, outputs), signal


def test_the_budget_is_that_of_every_tuned_model():
    assert len(set(OWN)) == len(set(tuned.TREES)) == tuned.BUDGET


def test_it_finds_what_modalities_say_together():
    data, signal = some_data("classification")
    answers = tabm.train(data, BEFORE, "classification", 1)["tabm"]
    np.testing.assert_allclose(logsumexp(answers, axis=1), 0, atol=1e-6)
    linear = tuned.train(data, BEFORE, "classification", 1)["tuned_logistic_regression"]
    right = [np.mean(found[~LEARNT].argmax(axis=1) == (signal[~LEARNT] > 0)) for found in (answers, linear)]
    assert right[0] > 0.8 > right[1]


def test_numbers_are_in_the_units_of_the_target():
    data, signal = some_data("regression")
    answers = tabm.train(data, BEFORE, "regression", 1)["tabm"]
    assert answers.shape == (len(FOLD), 1)
    rest = answers[~LEARNT, 0] - (1000 + 100 * signal[~LEARNT])
    assert np.mean(rest**2) < 0.3 * np.var(100 * signal)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_candidate_is_a_stage_of_a_longer_training(task):
    data, _ = some_data(task)
    features = np.hstack(list(data.columns.values()))
    kinds = {"task": task, "classes": data.outputs, "seed": 3}
    known, asked = (features[LEARNT], data.targets[LEARNT]), features[~LEARNT]
    all_of_them = tabm._fit(*known, asked, list(range(12)), **kinds)
    for one in (0, 4, 8):
        np.testing.assert_array_equal(tabm._fit(*known, asked, [one], **kinds)[0], all_of_them[one])


def test_networks_are_averaged_by_their_probabilities():
    outputs = torch.tensor([[[0.0, 0.0], [20.0, 0.0]]])
    many = outputs.repeat(1, tabm.NETWORKS // 2, 1)
    np.testing.assert_allclose(np.exp(tabm._mean(many, 2)), [[0.75, 0.25]], atol=1e-6)
    np.testing.assert_allclose(tabm._mean(many[..., :1], 1), [[10.0]])


def test_no_model_learns_from_the_fold_or_the_test_part_that_it_answers_for():
    data, _ = some_data("classification")
    before = tabm.train(data, BEFORE, "classification", 1)["tabm"]
    # Among targets of one fold, only answers for the other folds and for the test part can change; the choice may.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tabm, "tune", lambda fit, features, raw, seen, task: _first_candidate(fit, features, raw))
        first = tabm.train(data, BEFORE, "classification", 1)["tabm"]
        changed = replace(data, targets=np.where(FOLD == 1, 1 - data.targets, data.targets))
        other = tabm.train(changed, BEFORE, "classification", 1)["tabm"]
    np.testing.assert_array_equal(first[FOLD == 1], other[FOLD == 1])
    assert not np.array_equal(first[FOLD == 0], other[FOLD == 0])
    shifted = {name: np.where(LEARNT[:, None], values, values + 7) for name, values in data.columns.items()}
    after = tabm.train(replace(data, columns=shifted), BEFORE, "classification", 1)["tabm"]
    np.testing.assert_array_equal(before[LEARNT], after[LEARNT])


def _first_candidate(fit, features, raw):
    answers = np.empty((len(raw.fold), raw.outputs))
    for place in (0, 1, 2):
        rows, held = raw.learnt & (raw.fold != place), raw.fold == place
        answers[held] = fit(features[place][rows], raw.targets[rows], features[place][held], [3])[0]
    return answers


def test_the_same_seed_gives_the_same_bytes_and_leaves_other_draws_alone():
    data, _ = some_data("classification")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = tabm.train(data, BEFORE, "classification", 1)["tabm"]
    assert torch.rand(1) == expected
    np.testing.assert_array_equal(first, tabm.train(data, BEFORE, "classification", 1)["tabm"])
    assert not np.array_equal(first, tabm.train(data, BEFORE, "classification", 2)["tabm"])


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tabm", None)
    with pytest.raises(UserError, match=r"pip install '\.\[tabm\]'"):
        tabm.train(some_data("regression")[0], BEFORE, "regression", 1)

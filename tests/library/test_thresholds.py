"""Thresholds of decisions: against scikit-learn's ROC curve, a closed form, a search, and who has a say in them."""

import numpy as np
import pytest
from scipy.special import log_softmax, logit
from sklearn.metrics import balanced_accuracy_score, roc_curve

from metafusion.thresholds import best_offsets, with_thresholds


def drawn(seed, counts, apart=1.0):
    """Logits of samples, whose own class is a little larger; classes are not equally frequent."""
    random = np.random.default_rng(seed)
    targets = random.permutation(np.repeat(np.arange(len(counts)), counts))
    logits = random.standard_normal((len(targets), len(counts))) + np.log(counts)
    logits[np.arange(len(targets)), targets] += apart
    return logits, targets


def reached(logits, targets):
    return balanced_accuracy_score(targets, logits.argmax(axis=1))


@pytest.mark.parametrize("seed", range(5))
def test_of_two_classes_the_threshold_is_that_of_youdens_index(seed):
    logits, targets = drawn(seed, [60, 12])
    false, true, _ = roc_curve(targets, logits[:, 1] - logits[:, 0], drop_intermediate=False)
    found = logits + best_offsets(logits, targets)
    assert reached(found, targets) == pytest.approx((1 + (true - false).max()) / 2)
    assert reached(found, targets) > reached(logits, targets)


def test_what_is_already_best_is_not_changed():
    logits = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 0.5]])
    assert best_offsets(logits, np.array([0, 0, 1])).tolist() == [0, 0]
    # 1 must be raised by more than 1 and less than 2 to take the second sample and leave the first.
    assert best_offsets(logits, np.array([0, 1, 1])).tolist() == [0, 1.5]


def test_calibrated_probabilities_are_raised_by_the_ratio_of_the_frequencies():
    # Normal scores at -1 and 1 with deviation 1, one sample in ten of class 1: log odds 2 x + log(1/9), and the best
    # threshold of x is 0, that is, log odds are raised by log 9.
    random = np.random.default_rng(0)
    targets = np.repeat([0, 1], [90_000, 10_000])
    scores = random.standard_normal(100_000) + 2 * targets - 1
    odds = 2 * scores + logit(0.1)
    assert best_offsets(np.stack([0 * odds, odds], axis=1), targets)[1] == pytest.approx(np.log(9), abs=0.2)


@pytest.mark.parametrize("seed", range(3))
def test_of_three_classes_no_single_offset_can_be_bettered(seed):
    logits, targets = drawn(seed, [40, 15, 8])
    offsets = best_offsets(logits, targets)
    best = reached(logits + offsets, targets)
    assert best > reached(logits, targets)
    for number in (1, 2):
        for step in np.linspace(-6, 6, 61):
            assert reached(logits + offsets + step * (np.arange(3) == number), targets) <= best + 1e-12


def test_the_class_of_a_sample_has_no_say_in_its_own_thresholds_and_the_test_part_in_none():
    logits, targets = drawn(1, [50, 14])
    fold = np.arange(len(targets)) % 4 - 1
    known = fold >= 0
    before = with_thresholds(logits, targets, known, fold)
    noise = np.where(fold == 1, 1 - targets, targets)
    after = with_thresholds(logits, noise, known, fold)
    assert (after[fold == 1] == before[fold == 1]).all()
    assert (after[fold == 2] != before[fold == 2]).any()
    assert (after[~known] != before[~known]).any()
    tested = np.where(known, targets, 1 - targets)
    assert (with_thresholds(logits, tested, known, fold) == before).all()
    # Each fold has the offset of the others, the test part that of all.
    for rows, others in ((fold == 1, known & (fold != 1)), (~known, known)):
        offsets = best_offsets(logits[others], targets[others])
        np.testing.assert_allclose(before[rows], log_softmax(logits[rows] + offsets, axis=1))


def test_without_folds_the_validation_part_decides_and_what_has_no_answer_stays_without():
    logits, targets = drawn(2, [30, 9])
    known = np.arange(len(targets)) < 20
    logits[3] = np.nan
    found = with_thresholds(logits, targets, known)
    assert np.isnan(found[3]).all()
    rest = known & (np.arange(len(targets)) != 3)
    expected = log_softmax(logits + best_offsets(logits[rest], targets[rest]), axis=1)
    np.testing.assert_allclose(found, expected)
    nobody = with_thresholds(np.full((4, 2), np.nan), np.array([0, 1, 0, 1]), np.ones(4, bool))
    assert np.isnan(nobody).all()

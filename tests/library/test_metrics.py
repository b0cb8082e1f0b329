"""Measures against values computed by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metafusion.methods import HIGHER_IS_BETTER, LABELS, LIMITS
from metafusion.metrics import calibration_error, calibration_error_by_chance, measure, measure_all


def logits(*probabilities):
    return np.log(np.array(probabilities, dtype=float)) - 2.5


# Guesses 0, 0, 1, 1, 1 for targets 0, 0, 0, 1, 0.
TWO = logits((0.9, 0.1), (0.6, 0.4), (0.3, 0.7), (0.2, 0.8), (0.45, 0.55))
TWO_TARGETS = np.array([0, 0, 0, 1, 0])
# Guesses 0, 1, 2, 0, 1 for targets 0, 1, 1, 2, 2.
THREE = logits((0.7, 0.2, 0.1), (0.1, 0.8, 0.1), (0.2, 0.3, 0.5), (0.5, 0.1, 0.4), (0.25, 0.5, 0.25))
THREE_TARGETS = np.array([0, 1, 1, 2, 2])
# Guesses 1, 0, 0, 1, 1, 0, 0 for three of class 1 and four of class 0.
ILL = logits((0.22, 0.78), (0.72, 0.28), (0.92, 0.08), (0.42, 0.58), (0.28, 0.72), (0.78, 0.22), (0.95, 0.05))
ILL_TARGETS = np.array([1, 1, 1, 0, 0, 0, 0])
NUMBERS = np.array([[1.0], [2.0], [6.0]])
NUMBER_TARGETS = np.array([2.0, 2.0, 5.0])


@pytest.mark.parametrize(
    ("metric", "outputs", "targets", "expected"),
    [
        ("accuracy", TWO, TWO_TARGETS, 3 / 5),
        ("accuracy", THREE, THREE_TARGETS, 2 / 5),
        # Recalls: 2 of 4 and 1 of 1; 1 of 1, 1 of 2 and 0 of 2.
        ("balanced_accuracy", TWO, TWO_TARGETS, (1 / 2 + 1) / 2),
        ("balanced_accuracy", THREE, THREE_TARGETS, (1 + 1 / 2 + 0) / 3),
        ("log_loss", TWO, TWO_TARGETS, -math.log(0.9 * 0.6 * 0.3 * 0.8 * 0.45) / 5),
        ("log_loss", THREE, THREE_TARGETS, -math.log(0.7 * 0.8 * 0.3 * 0.4 * 0.25) / 5),
        # The one positive has the highest probability of all.
        ("roc_auc", TWO, TWO_TARGETS, 1.0),
        # Pairs won by the class against the rest: 4 of 4; .8 wins 3, .3 wins 2 (.2, .1 lost to .5); .4 and .25.
        ("roc_auc", THREE, THREE_TARGETS, (4 / 4 + 5 / 6 + 4 / 6) / 3),
        ("sensitivity", ILL, ILL_TARGETS, 1 / 3),
        ("specificity", ILL, ILL_TARGETS, 2 / 4),
        # Each class against the rest: of the samples of another class, who is not taken for it.
        ("sensitivity", THREE, THREE_TARGETS, (1 + 1 / 2 + 0) / 3),
        ("specificity", THREE, THREE_TARGETS, (3 / 4 + 2 / 3 + 2 / 3) / 3),
        # Of two classes the squares of one, of three the sum of all: 0.14, 0.06, 0.78, 0.62 and 0.875.
        ("brier", TWO, TWO_TARGETS, (0.01 + 0.16 + 0.49 + 0.04 + 0.3025) / 5),
        ("brier", THREE, THREE_TARGETS, 2.475 / 5),
        # In one bin .78, .72, .72 and .78, two of them right; in one .92 and .95, one right; by itself .58, wrong.
        ("ece", ILL, ILL_TARGETS, ((3 - 2) + (0.92 + 0.95 - 1) + 0.58) / 7),
        ("mse", NUMBERS, NUMBER_TARGETS, (1 + 0 + 1) / 3),
        ("mae", NUMBERS, NUMBER_TARGETS, 2 / 3),
        # Around the mean 3: 1 + 1 + 4.
        ("r2", NUMBERS, NUMBER_TARGETS, 1 - 2 / 6),
    ],
)
def test_a_measure_has_the_value_computed_by_hand(metric, outputs, targets, expected):
    assert measure(metric, outputs, targets) == pytest.approx(expected, rel=1e-9)


def test_a_tie_counts_half_in_the_area_under_the_curve():
    outputs = logits((0.5, 0.5), (0.5, 0.5), (0.9, 0.1))
    assert measure("roc_auc", outputs, np.array([0, 1, 0])) == pytest.approx((0.5 + 1) / 2)


@pytest.mark.parametrize(("outputs", "targets"), [(TWO, np.zeros(5, int)), (THREE, np.array([0, 1, 1, 0, 0]))])
def test_the_area_under_the_curve_is_missing_where_a_class_is(outputs, targets):
    assert math.isnan(measure("roc_auc", outputs, targets))


def test_cross_entropy_is_known_where_a_class_is_missing():
    expected = -math.log(0.9 * 0.6) / 2
    assert measure("log_loss", TWO[:2], np.array([0, 0])) == pytest.approx(expected, rel=1e-9)


def test_balanced_accuracy_is_over_the_classes_that_occur():
    assert measure("balanced_accuracy", THREE[:3], np.array([0, 1, 1])) == pytest.approx((1 + 1 / 2) / 2)


@pytest.mark.parametrize(
    ("positive", "sensitivity", "specificity"),
    [(0, 1, 3 / 4), (1, 1 / 2, 2 / 3), (2, 0, 2 / 3), (None, 1 / 2, 25 / 36)],
)
def test_sensitivity_is_of_the_class_asked_for(positive, sensitivity, specificity):
    found = measure_all(["sensitivity", "specificity", "balanced_accuracy"], THREE, THREE_TARGETS, positive)
    assert found == pytest.approx(
        {"sensitivity": sensitivity, "specificity": specificity, "balanced_accuracy": 1 / 2}, rel=1e-9
    )


def test_of_two_classes_sensitivity_and_specificity_change_places_with_the_positive_class():
    names = ["sensitivity", "specificity"]
    first, second = (measure_all(names, ILL, ILL_TARGETS, positive) for positive in (0, 1))
    assert first == {"sensitivity": second["specificity"], "specificity": second["sensitivity"]}
    assert measure_all(names, ILL, ILL_TARGETS) == second


@pytest.mark.parametrize(
    ("metric", "rows", "other", "value"),
    [
        ("sensitivity", slice(3, 7), "specificity", 2 / 4),
        ("specificity", slice(0, 3), "sensitivity", 1 / 3),
    ],
)
def test_of_a_class_that_does_not_occur_nothing_is_said(metric, rows, other, value):
    assert math.isnan(measure(metric, ILL[rows], ILL_TARGETS[rows]))
    assert measure(other, ILL[rows], ILL_TARGETS[rows]) == pytest.approx(value)


def test_the_mean_over_classes_leaves_out_those_that_do_not_occur():
    # Classes 0 and 1 occur, and one of two of the latter is taken for class 2, which has no sample: recalls 1 and 1/2;
    # nobody is taken for 0 or 1 wrongly, and two of three are not taken for 2.
    found = measure_all(["sensitivity", "specificity"], THREE[:3], THREE_TARGETS[:3])
    assert found == pytest.approx({"sensitivity": 3 / 4, "specificity": (1 + 1 + 2 / 3) / 3})


@pytest.mark.parametrize(("outputs", "expected"), [(TWO[:2], (0.01 + 0.16) / 2), (THREE[:1], 0.14)])
def test_the_brier_score_is_known_where_a_class_is_missing(outputs, expected):
    assert measure("brier", outputs, np.zeros(len(outputs), int)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("confidences", "expected"),
    [
        # 1 - p if right, p if wrong.
        ([0.75], 2 * 0.75 * 0.25),
        # In bins of their own.
        ([0.75, 0.95], (2 * 0.75 * 0.25 + 2 * 0.95 * 0.05) / 2),
        # In one bin: both right or one, |1.5 - 2| and |1.5 - 1|; none: 1.5.
        ([0.75, 0.75], ((1 - 0.0625) * 0.5 + 0.0625 * 1.5) / 2),
        ([1.0, 1.0], 0),
    ],
)
def test_the_calibration_error_by_chance_is_that_of_answers_as_probable_as_they_are_said_to_be(confidences, expected):
    probabilities = np.array([[confidence, 1 - confidence] for confidence in confidences])
    found = calibration_error_by_chance(probabilities)
    # Four standard errors of a mean of a thousand draws that lie within 1.
    assert found == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(1000))
    assert found == calibration_error_by_chance(probabilities[:, ::-1])


def test_chance_explains_less_the_more_samples_there_are():
    few, many = (np.tile([0.8, 0.2], (samples, 1)) for samples in (25, 2500))
    # The mean distance of a mean of so many answers from what is expected.
    for probabilities in (few, many):
        expected = math.sqrt(2 / math.pi * 0.16 / len(probabilities))
        assert calibration_error_by_chance(probabilities) == pytest.approx(expected, rel=0.1)


def test_confidence_that_is_right_as_often_as_it_says_has_no_calibration_error():
    answers = np.tile([0.8, 0.2], (10, 1))
    assert calibration_error(answers, np.array([0] * 8 + [1] * 2)) == pytest.approx(0)
    assert calibration_error(answers, np.array([0] * 3 + [1] * 7)) == pytest.approx(0.5)


def test_an_edge_belongs_to_the_bin_below_it():
    # 0.5 ends the fifth bin and 0.52 lies in the sixth; 0.52 and 0.58 share it.
    right, wrong = 0, 1
    apart = calibration_error(np.array([[0.5, 0.5], [0.52, 0.48]]), np.array([right, wrong]))
    together = calibration_error(np.array([[0.58, 0.42], [0.52, 0.48]]), np.array([right, wrong]))
    assert apart == pytest.approx((0.5 + 0.52) / 2)
    assert together == pytest.approx((0.58 + 0.52 - 1) / 2)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(1, 1000), min_size=3, max_size=3), st.integers(0, 2)), min_size=1))
def test_the_calibration_error_is_that_of_a_plain_loop(samples):
    probabilities = np.array([np.array(weights) / sum(weights) for weights, _ in samples])
    targets = np.array([target for _, target in samples])
    bins = {}
    for row, target in zip(probabilities.tolist(), targets, strict=True):
        bins.setdefault(math.ceil(max(row) * 10), []).append((max(row), row.index(max(row)) == target))
    expected = 0
    for rows in bins.values():
        confidence, right = (sum(column) / len(rows) for column in zip(*rows, strict=True))
        expected += abs(confidence - right) * len(rows) / len(samples)
    assert calibration_error(probabilities, targets) == pytest.approx(expected, abs=1e-12)


CLASSIFICATION = [name for name in HIGHER_IS_BETTER if name not in ("mse", "mae", "r2")]


@pytest.mark.parametrize("metric", CLASSIFICATION)
def test_logits_may_be_shifted_by_any_number_a_sample(metric):
    shift = np.array([[100.0], [-30.0], [0.0], [5.0], [700.0]])
    assert measure(metric, TWO + shift, TWO_TARGETS) == pytest.approx(measure(metric, TWO, TWO_TARGETS), rel=1e-9)


def test_single_precision_logits_are_measured_as_well():
    found = measure("log_loss", THREE.astype(np.float32), THREE_TARGETS)
    assert found == pytest.approx(-math.log(0.7 * 0.8 * 0.3 * 0.4 * 0.25) / 5, rel=1e-5)


def test_the_worst_answers_score_worse_in_the_direction_that_is_said():
    targets = np.array([0, 1, 0, 1])
    good, bad = logits((0.9, 0.1), (0.1, 0.9)), logits((0.1, 0.9), (0.9, 0.1))
    for metric in CLASSIFICATION:
        better = measure(metric, np.tile(good, (2, 1)), targets) - measure(metric, np.tile(bad, (2, 1)), targets)
        assert (better > 0) == HIGHER_IS_BETTER[metric]
    for metric in ("mse", "mae", "r2"):
        better = measure(metric, NUMBER_TARGETS[:, None], NUMBER_TARGETS) - measure(metric, NUMBERS, NUMBER_TARGETS)
        assert (better > 0) == HIGHER_IS_BETTER[metric]


def test_every_measure_has_a_label():
    assert LABELS.keys() == HIGHER_IS_BETTER.keys()


@pytest.mark.parametrize("outputs", [ILL, THREE, logits((1e-9, 1 - 1e-9), (1 - 1e-9, 1e-9))])
def test_no_measure_leaves_its_limits(outputs):
    targets = np.arange(len(outputs)) % outputs.shape[1]
    for metric, value in measure_all(CLASSIFICATION, outputs, targets).items():
        low, high = LIMITS.get(metric, (0, 1))
        assert low <= value <= high
    # The worst answers that there are have the worst Brier score: 1 for two classes, 2 for more.
    worst = logits((1e-12, 1 - 2e-12, 1e-12))
    assert measure("brier", worst, np.array([0])) == pytest.approx(2)
    assert measure("brier", worst[:, :2], np.array([0])) == pytest.approx(1)


@pytest.mark.parametrize(("metric", "width"), [*((metric, 2) for metric in CLASSIFICATION), ("mse", 1), ("r2", 1)])
def test_nothing_is_said_of_no_samples(metric, width):
    assert math.isnan(measure(metric, np.zeros((0, width)), np.zeros(0, int)))


def test_one_number_has_an_error_and_no_share_of_variance():
    found = measure_all(["mse", "r2"], np.array([[2.0]]), np.array([3.0]))
    assert found["mse"] == 1
    assert math.isnan(found["r2"])

"""Measures against values computed by hand."""

import math

import numpy as np
import pytest

from metafusion.methods import HIGHER_IS_BETTER, LABELS
from metafusion.metrics import measure


def logits(*probabilities):
    return np.log(np.array(probabilities, dtype=float)) - 2.5


# Guesses 0, 0, 1, 1, 1 for targets 0, 0, 0, 1, 0.
TWO = logits((0.9, 0.1), (0.6, 0.4), (0.3, 0.7), (0.2, 0.8), (0.45, 0.55))
TWO_TARGETS = np.array([0, 0, 0, 1, 0])
# Guesses 0, 1, 2, 0, 1 for targets 0, 1, 1, 2, 2.
THREE = logits((0.7, 0.2, 0.1), (0.1, 0.8, 0.1), (0.2, 0.3, 0.5), (0.5, 0.1, 0.4), (0.25, 0.5, 0.25))
THREE_TARGETS = np.array([0, 1, 1, 2, 2])
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


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "roc_auc", "log_loss"])
def test_logits_may_be_shifted_by_any_number_a_sample(metric):
    shift = np.array([[100.0], [-30.0], [0.0], [5.0], [700.0]])
    assert measure(metric, TWO + shift, TWO_TARGETS) == pytest.approx(measure(metric, TWO, TWO_TARGETS), rel=1e-9)


def test_single_precision_logits_are_measured_as_well():
    found = measure("log_loss", THREE.astype(np.float32), THREE_TARGETS)
    assert found == pytest.approx(-math.log(0.7 * 0.8 * 0.3 * 0.4 * 0.25) / 5, rel=1e-5)


def test_the_worst_answers_score_worse_in_the_direction_that_is_said():
    targets = np.array([0, 1, 0, 1])
    good, bad = logits((0.9, 0.1), (0.1, 0.9)), logits((0.1, 0.9), (0.9, 0.1))
    for metric in ("accuracy", "balanced_accuracy", "roc_auc", "log_loss"):
        better = measure(metric, np.tile(good, (2, 1)), targets) - measure(metric, np.tile(bad, (2, 1)), targets)
        assert (better > 0) == HIGHER_IS_BETTER[metric]
    for metric in ("mse", "mae", "r2"):
        better = measure(metric, NUMBER_TARGETS[:, None], NUMBER_TARGETS) - measure(metric, NUMBERS, NUMBER_TARGETS)
        assert (better > 0) == HIGHER_IS_BETTER[metric]


def test_every_measure_has_a_label():
    assert LABELS.keys() == HIGHER_IS_BETTER.keys()

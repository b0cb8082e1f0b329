"""Classifiers that do not know every class."""

import numpy as np

from metafusion.comparators.probabilities import TINY, log_probabilities


def test_probabilities_stand_in_the_columns_of_their_classes():
    logs = log_probabilities(np.array([[0.25, 0.75], [0.5, 0.5]]), np.array([0, 2]), 3)
    np.testing.assert_allclose(np.exp(logs), [[0.25, TINY, 0.75], [0.5, TINY, 0.5]])


def test_impossible_classes_stay_finite():
    logs = log_probabilities(np.array([[0.0, 1.0]]), np.array([0, 1]), 2)
    np.testing.assert_allclose(logs, [[np.log(TINY), 0.0]])

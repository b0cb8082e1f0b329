"""Who teaches, and which penalty is chosen."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from metafusion.cohort.teachers import choose_penalty, teaching_weights


def weights(losses, most=10, seed=1):
    return teaching_weights(np.array(losses, dtype=float), most, random_state=seed)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.10, 0.11, 0.12, 0.90, 0.91, 0.92], [1 / 3, 1 / 3, 1 / 3, 0, 0, 0]),
        ([5.0, 1.0, 5.1, 1.1, 5.2], [0, 1 / 2, 0, 1 / 2, 0]),
        ([9.0, 9.1, 0.5, 9.2, 9.05], [0, 0, 1, 0, 0]),
        ([1.0, 1.01, 5.0, 5.01, 9.0, 9.01], [1 / 2, 1 / 2, 0, 0, 0, 0]),
        ([10.0, 0.1, 10.0, 0.1], [0, 1 / 2, 0, 1 / 2]),
    ],
)
def test_the_members_of_the_best_cluster_teach_alike(losses, expected):
    np.testing.assert_allclose(weights(losses), expected, rtol=1e-12)


@pytest.mark.parametrize("losses", [[0.3], [0.3, 0.7], [0.4, 0.4, 0.4], [0.5, 0.5, 0.5, 0.5, 0.5]])
def test_with_too_few_distinct_losses_everybody_teaches_alike(losses):
    np.testing.assert_allclose(weights(losses), np.full(len(losses), 1 / len(losses)))


def test_the_number_of_clusters_has_a_limit():
    # Three tight pairs: three clusters are best, but of two clusters one must hold two pairs.
    losses = [1.0, 1.001, 2.0, 2.001, 9.0, 9.001]
    assert np.count_nonzero(weights(losses, most=3)) == 2
    assert np.count_nonzero(weights(losses, most=2)) == 4


def oracle(losses, most, seed):
    """The definition, with scikit-learn: best silhouette of 2..most clusters, the cluster of smallest mean."""
    points = np.array(losses)[:, None]
    fits = {}
    for clusters in range(2, min(most, len(losses) - 1) + 1):
        labels = KMeans(n_clusters=clusters, random_state=seed).fit(points).labels_
        fits[clusters] = (silhouette_score(points, labels), labels)
    if not fits:
        return np.full(len(losses), 1 / len(losses))
    best = max(fits, key=lambda clusters: (fits[clusters][0], -clusters))
    labels = fits[best][1]
    top = min(
        set(labels), key=lambda label: np.mean([x for x, own in zip(losses, labels, strict=True) if own == label])
    )
    return np.where(labels == top, 1 / np.sum(labels == top), 0)


@settings(max_examples=15)
@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=14, unique_by=lambda x: round(x, 3)), st.integers(0, 100))
def test_weights_are_those_of_clustering_with_scikit_learn(losses, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(weights(losses, 10, seed), oracle(losses, 10, seed), rtol=1e-12)


@settings(max_examples=15)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.2000001, 1.0, 3.0]), min_size=1, max_size=10))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_weights_sum_to_one_and_the_best_student_teaches(losses):
    found = weights(losses)
    assert found.sum() == pytest.approx(1)
    assert found[int(np.argmin(losses))] > 0


def test_the_first_of_equally_good_penalties_is_chosen():
    assert choose_penalty(np.array([[2.0, 4.0], [3.0, 3.0], [4.0, 2.0]]), np.array([0.5, 0.5])) == 0


def test_the_penalty_with_the_best_top_cluster_is_chosen():
    losses = np.array([[1.0, 1.0, 9.0], [0.5, 1.2, 9.0], [0.9, 0.9, 1.0]])
    assert choose_penalty(losses, np.array([0.5, 0.5, 0.0])) == 1


def test_students_outside_the_top_cluster_have_no_say_in_the_penalty():
    losses = np.array([[1.0, 5.0], [1.1, 0.0]])
    assert choose_penalty(losses, np.array([1.0, 0.0])) == 0


def test_a_later_tie_goes_to_the_smaller_penalty():
    assert choose_penalty(np.array([[3.0], [1.0], [1.0]]), np.array([1.0])) == 1


def test_rounding_does_not_choose_the_penalty():
    assert choose_penalty(np.array([[1.0], [1.0 - 1e-9]]), np.array([1.0])) == 0


def test_a_real_difference_does_choose_the_penalty():
    assert choose_penalty(np.array([[1.0], [0.9999]]), np.array([1.0])) == 1

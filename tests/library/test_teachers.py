"""Who teaches, and which penalty is chosen."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from metafusion.cohort.teachers import choose_penalty, inverse_weights, teaching_weights
from metafusion.config.models import Cohort

ALL_SCHEMES = ["clustering", "worst_cluster", "fixed", "adaptive", "none"]


def decide(losses, seed=1, **changes):
    return teaching_weights(np.array(losses, dtype=float), Cohort(**changes), random_state=seed)


def weights(losses, most=10, seed=1, **changes):
    return decide(losses, seed, most_clusters=most, **changes)[0]


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


TWO_GROUPS = [0.10, 0.90, 0.11, 0.91, 0.92]


def test_the_worst_cluster_can_teach():
    np.testing.assert_allclose(weights(TWO_GROUPS, teaching="worst_cluster"), [0, 1 / 3, 0, 1 / 3, 1 / 3], rtol=1e-12)


@pytest.mark.parametrize("teaching", ["clustering", "worst_cluster"])
def test_the_penalty_is_chosen_over_the_best_cluster_whoever_teaches(teaching):
    assert decide(TWO_GROUPS, teaching=teaching)[1].tolist() == [True, False, True, False, False]


@pytest.mark.parametrize("teaching", ["fixed", "adaptive", "none"])
def test_without_clusters_the_penalty_is_chosen_over_everybody(teaching):
    assert decide(TWO_GROUPS, teaching=teaching)[1].all()


@pytest.mark.parametrize(
    ("exponent", "expected"), [(0, [1 / 3, 1 / 3, 1 / 3]), (1, [4 / 7, 2 / 7, 1 / 7]), (2, [16 / 21, 4 / 21, 1 / 21])]
)
def test_fixed_weights_are_inverse_to_the_losses(exponent, expected):
    np.testing.assert_allclose(weights([1, 2, 4], teaching="fixed", exponent=exponent), expected, rtol=1e-12)


@pytest.mark.parametrize("teaching", ["adaptive", "none"])
def test_everybody_teaches_alike_at_first_or_always(teaching):
    np.testing.assert_allclose(weights([1, 2, 4, 9], teaching=teaching, exponent=3), [1 / 4] * 4, rtol=1e-12)


def test_inverse_weights_stay_finite_for_tiny_losses_and_high_powers():
    np.testing.assert_allclose(inverse_weights(np.array([1e-30, 2e-30, 1.0]), 10), [1, 2**-10, 0], atol=1e-3)
    np.testing.assert_allclose(inverse_weights(np.array([0.0, 0.0, 1.0]), 1), [1 / 2, 1 / 2, 0], atol=1e-12)


# By silhouette, three tight pairs are three clusters. Sums of squares within clusters fall from 119.9 at one to 0.81 at
# two (the first two pairs are 0.9 apart) and to about 0 at three: nearly all of the fall is over at two, the elbow.
PAIRS = [0.1, 0.11, 1.0, 1.01, 10.0, 10.01]


@pytest.mark.parametrize(("clusters", "teachers"), [("silhouette", 2), ("elbow", 4)])
def test_clusters_are_counted_by_silhouette_or_elbow(clusters, teachers):
    expected = [1 / teachers] * teachers + [0] * (6 - teachers)
    np.testing.assert_allclose(weights(PAIRS, clusters=clusters), expected, rtol=1e-12)


# Five losses at each of 1, 2 and 3: sums of squares 10, 2.5 and nearly 0, so 1, 1/4, 0, ... of the first. The line from
# one cluster to ten passes 8/9 and 7/9 at two and three: the curve is 0.64 below it at two, and 0.78 at three.
def test_the_elbow_is_where_the_curve_is_farthest_below_the_line():
    losses = np.repeat([1.0, 2.0, 3.0], 5) + np.tile(np.arange(5) * 1e-4, 3)
    np.testing.assert_allclose(weights(losses, clusters="elbow"), [1 / 5] * 5 + [0] * 10, rtol=1e-12)


@pytest.mark.parametrize("losses", [[0.3], [0.3, 0.7], [0.4, 0.4, 0.4]])
@pytest.mark.parametrize("teaching", ["clustering", "worst_cluster"])
def test_with_too_few_losses_to_bend_everybody_teaches_alike(losses, teaching):
    found, top = decide(losses, clusters="elbow", teaching=teaching)
    np.testing.assert_allclose(found, np.full(len(losses), 1 / len(losses)))
    assert top.all()


@pytest.mark.parametrize("clusters", ["silhouette", "elbow"])
@pytest.mark.parametrize("teaching", ALL_SCHEMES)
def test_students_that_diverged_neither_teach_nor_belong_to_a_cluster(teaching, clusters):
    losses = [np.inf, *TWO_GROUPS[:2], np.inf, *TWO_GROUPS[2:]]
    found, top = decide(losses, teaching=teaching, clusters=clusters)
    known, top_known = decide(TWO_GROUPS, teaching=teaching, clusters=clusters)
    assert found[[0, 3]].tolist() == [0, 0]
    assert not top[[0, 3]].any()
    np.testing.assert_allclose(found[[1, 2, 4, 5, 6]], known, rtol=1e-12)
    assert top[[1, 2, 4, 5, 6]].tolist() == top_known.tolist()


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.2000001, 1.0, 3.0, np.inf]), min_size=1, max_size=10),
    st.sampled_from(ALL_SCHEMES),
    st.sampled_from(["silhouette", "elbow"]),
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_with_every_scheme_weights_sum_to_one(losses, teaching, clusters):
    losses = [*losses, 0.5]
    found, top = decide(losses, teaching=teaching, clusters=clusters)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    assert top[int(np.argmin(losses))]


def members(*flags):
    return np.array(flags, dtype=bool)


def test_the_first_of_equally_good_penalties_is_chosen():
    assert choose_penalty(np.array([[2.0, 4.0], [3.0, 3.0], [4.0, 2.0]]), members(1, 1)) == 0


def test_the_penalty_with_the_best_top_cluster_is_chosen():
    losses = np.array([[1.0, 1.0, 9.0], [0.5, 1.2, 9.0], [0.9, 0.9, 1.0]])
    assert choose_penalty(losses, members(1, 1, 0)) == 1


def test_students_outside_the_top_cluster_have_no_say_in_the_penalty():
    assert choose_penalty(np.array([[1.0, 5.0], [1.1, 0.0]]), members(1, 0)) == 0


def test_a_penalty_at_which_one_of_the_top_cluster_diverged_is_out():
    losses = np.array([[1.0, 1.0, np.inf], [0.1, np.inf, 0.1], [0.9, 0.9, np.inf]])
    assert choose_penalty(losses, members(1, 1, 0)) == 2


def test_a_later_tie_goes_to_the_smaller_penalty():
    assert choose_penalty(np.array([[3.0], [1.0], [1.0]]), members(1)) == 1


def test_rounding_does_not_choose_the_penalty():
    assert choose_penalty(np.array([[1.0], [1.0 - 1e-9]]), members(1)) == 0


def test_a_real_difference_does_choose_the_penalty():
    assert choose_penalty(np.array([[1.0], [0.9999]]), members(1)) == 1

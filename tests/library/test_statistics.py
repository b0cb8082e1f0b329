"""Do methods differ? Closed forms, a published example, and slow implementations of our own."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metafusion.statistics import paired_differences, ranking, values_by_seed


def against_zero(*methods):
    """Values of methods, and of a reference that is always 0, so that differences are what is given."""
    return pd.DataFrame({f"m{number}": values for number, values in enumerate(methods)}).assign(reference=0.0)


def compared(values, **options):
    return paired_differences(values, "reference", True, **options).set_index("method")


def row_of(*differences, **options):
    return compared(against_zero(differences), **options).loc["m0"]


def signed_rank_p(differences):
    """Two-sided p of the signed-rank test by going through all signs; no difference is 0."""
    ranks = stats.rankdata(np.abs(differences))
    middle = ranks.sum() / 2
    found = abs(ranks[np.array(differences) > 0].sum() - middle)
    sums = [np.dot(ranks, signs) for signs in itertools.product((0, 1), repeat=len(ranks))]
    return np.mean(np.abs(np.array(sums) - middle) >= found - 1e-9)


def scores_of(*rows):
    return pd.DataFrame(rows, columns=["method", "family", "seed", "part", "metric", "value"])


def test_values_stand_by_seed_and_method_without_students_and_other_parts():
    scores = scores_of(
        ("b", "network", 2, "test", "mse", 1.0),
        ("b", "network", 1, "test", "mse", 2.0),
        ("a", "cohort", 1, "test", "mse", 3.0),
        ("a", "cohort", 1, "validation", "mse", 9.0),
        ("a", "cohort", 1, "test", "mae", 9.0),
        ("student_3", "student", 1, "test", "mse", 9.0),
        ("prior", "reference", 1, "test", "mse", 4.0),
    )
    found = values_by_seed(scores, "mse")
    assert found["b"].to_dict() == {1: 2.0, 2: 1.0}
    assert found["a"].dropna().to_dict() == {1: 3.0}
    assert list(found) == ["a", "b", "prior"]
    assert list(values_by_seed(scores, "mse", without=("reference",))) == ["a", "b"]


def test_the_difference_is_the_mean_over_the_seeds_that_both_have():
    values = pd.DataFrame({"reference": [1.0, 2.0, math.nan, 4.0], "m": [2.0, 5.0, 9.0, math.nan]})
    row = compared(values).loc["m"]
    assert (row["difference"], row["seeds"], row["reference"]) == (2.0, 2, "reference")


@pytest.mark.parametrize(("higher", "order"), [(True, ["b", "a", "none"]), (False, ["a", "b", "none"])])
def test_the_best_method_comes_first_and_one_without_values_last(higher, order):
    values = pd.DataFrame({"reference": [2.0, 2.0], "none": [math.nan] * 2, "a": [1.0, 1.0], "b": [3.0, 3.0]})
    assert paired_differences(values, "reference", higher)["method"].tolist() == order


SKEWED = [0.1, 0.2, 0.3, 0.35, 0.5, 0.6, 0.9, 1.4, 2.5, 6.0]


def bca_of(values, resamples=40000):
    """BCa interval of the mean after Efron 1987, with other random numbers."""
    values = np.array(values)
    random = np.random.default_rng(123)
    means = np.sort(values[random.integers(len(values), size=(resamples, len(values)))].mean(axis=1))
    bias = stats.norm.ppf(np.mean(means < values.mean()))
    left_out = np.array([np.delete(values, index).mean() for index in range(len(values))])
    away = left_out.mean() - left_out
    acceleration = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    ends = []
    for z in stats.norm.ppf([0.025, 0.975]):
        ends.append(np.quantile(means, stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))))
    return ends, np.quantile(means, [0.025, 0.975])


def test_the_interval_is_the_bias_corrected_accelerated_bootstrap():
    expected, percentiles = bca_of(SKEWED)
    row = row_of(*SKEWED)
    # Two bootstraps of the same values differ by their random numbers: about 0.03 at the upper end.
    assert [row["low"], row["high"]] == pytest.approx(expected, abs=0.1)
    assert abs(row["high"] - percentiles[1]) > 0.25


def test_the_interval_of_a_method_does_not_depend_on_the_others():
    alone = compared(against_zero(SKEWED)).loc["m0", ["low", "high"]]
    beside = compared(against_zero(SKEWED, SKEWED[::-1], np.ones(10))).loc["m0", ["low", "high"]]
    assert alone.tolist() == beside.tolist()


def test_where_all_differences_are_equal_the_interval_is_that_number():
    row = row_of(*[0.25] * 7)
    assert row[["difference", "low", "high"]].tolist() == [0.25] * 3


@pytest.mark.parametrize(
    "differences",
    [[1, 2, 3, 4, 5, 6], [1, -2, 3, 4, 5, 6, -7, 8], [-0.1, 0.2, -0.3, -0.4, 0.5, -0.6, -0.7], [1, 2, -3, -4, 5, 6]],
)
def test_p_is_that_of_the_signed_rank_test(differences):
    assert row_of(*differences)["p"] == pytest.approx(signed_rank_p(differences), rel=1e-12)


def test_six_seeds_that_agree_have_the_smallest_p_they_can():
    assert row_of(1, 2, 3, 4, 5, 6)["p"] == 2 / 2**6


def test_round_off_makes_no_ranks():
    # In decimals five differences are 0.05, one is -0.05 and one 0; in binary most have a size of their own.
    values = pd.DataFrame(
        {"m": [0.85, 0.8, 0.75, 0.65, 0.1 + 0.2, 0.3, 0.7], "reference": [0.8, 0.75, 0.7, 0.6, 0.3, 0.25, 0.75]}
    )
    equal = pd.DataFrame({"m": [1, 1, 1, 1, 0, 1, -1], "reference": [0] * 7})
    assert compared(values).loc["m", "p"] == compared(equal).loc["m", "p"]


def test_a_seed_that_blew_up_does_not_hide_the_others():
    differences = [1e30, -1, -2, -3, -4, -5, -6]
    assert row_of(*differences)["p"] == pytest.approx(signed_rank_p([7, -1, -2, -3, -4, -5, -6]), rel=1e-12)


def holm(p):
    """Holm's step-down correction, step by step."""
    corrected, largest = [0.0] * len(p), 0.0
    for place, index in enumerate(np.argsort(p)):
        largest = max(largest, min(1.0, (len(p) - place) * p[index]))
        corrected[index] = largest
    return corrected


def test_p_is_corrected_after_holm_over_the_methods_that_have_one():
    table = compared(
        against_zero(
            [1, 2, 3, 4, 5, 6, 7, 8],
            [-1, 2, 3, 4, 5, 6, 7, 8],
            [-1, -2, 3, 4, 5, 6, 7, 8],
            [-1, 2, -3, 4, -5, 6, -7, 8],
            [math.nan] * 8,
        )
    )
    untested = table.loc["m4"]
    assert math.isnan(untested["p"])
    assert math.isnan(untested["p_corrected"])
    table = table.drop("m4")
    assert table["p_corrected"].tolist() == pytest.approx(holm(table["p"].to_numpy()))
    # 2 / 2^8 is the smallest of four.
    assert table.loc["m0", "p_corrected"] == pytest.approx(4 * 2 / 2**8)


@pytest.mark.parametrize("options", [{}, {"test_to_train": 0.25}])
def test_methods_that_are_equal_in_every_seed_do_not_differ(options):
    row = row_of(*[0.0] * 6, **options)
    assert row[["difference", "low", "high", "p", "p_corrected"]].tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("options", [{}, {"test_to_train": 0.25}])
@pytest.mark.parametrize(("seeds", "interval", "p"), [(0, False, False), (1, False, False), (2, True, False)])
def test_few_seeds_have_no_interval_and_no_p(seeds, interval, p, options):
    row = row_of(*[float(number) for number in range(1, seeds + 1)], **options)
    assert row["seeds"] == seeds
    assert row[["low", "high"]].notna().tolist() == [interval] * 2
    assert row[["p", "p_corrected"]].notna().tolist() == [p] * 2


@pytest.mark.parametrize("options", [{}, {"test_to_train": 0.25}])
def test_p_begins_with_six_seeds(options):
    found = [pd.notna(row_of(*range(1, seeds + 1), **options)["p"]) for seeds in (5, 6)]
    assert found == [False, True]


def test_the_reference_alone_has_no_rows():
    assert paired_differences(pd.DataFrame({"reference": [1.0, 2.0]}), "reference", True).empty


@given(
    st.lists(st.lists(st.floats(-100, 100), min_size=3, max_size=3), min_size=2, max_size=9),
    st.sampled_from([None, 0.25]),
)
@settings(max_examples=15, deadline=None)
def test_turned_around_a_comparison_says_the_opposite(values, test_to_train):
    table = pd.DataFrame(values, columns=["a", "b", "c"])
    one = paired_differences(table, "a", True, test_to_train).set_index("method").loc["b"]
    other = paired_differences(table, "b", True, test_to_train).set_index("method").loc["a"]
    assert one["difference"] == pytest.approx(-other["difference"], abs=1e-9)
    assert one["p"] == pytest.approx(other["p"], nan_ok=True)
    if not math.isnan(one["low"]):
        assert one["low"] - 1e-9 <= one["difference"] <= one["high"] + 1e-9


DIFFERENCES = [0.3, -0.1, 0.4, 0.2, 0.5, -0.2, 0.6]


def test_without_a_test_part_the_corrected_test_is_the_paired_t_test():
    row = row_of(*DIFFERENCES, test_to_train=0.0)
    plain = stats.ttest_1samp(DIFFERENCES, 0)
    interval = plain.confidence_interval(0.95)
    assert row[["low", "high", "p"]].tolist() == pytest.approx([interval.low, interval.high, plain.pvalue])


def test_the_corrected_interval_is_wider_by_the_factor_of_nadeau_and_bengio():
    plain, corrected = (row_of(*DIFFERENCES, test_to_train=ratio) for ratio in (0.0, 0.25))
    factor = math.sqrt((1 / 7 + 0.25) / (1 / 7))
    assert corrected["high"] - corrected["low"] == pytest.approx(factor * (plain["high"] - plain["low"]))


def test_the_corrected_interval_covers_where_differences_are_correlated_and_the_bootstrap_does_not():
    # Equally correlated normal differences, correlation 0.2 as for a test part of a fifth: the corrected t is exact.
    seeds, repeats, correlation = 10, 600, 0.2
    random = np.random.default_rng(5)
    shared, own = random.normal(size=(1, repeats)), random.normal(size=(seeds, repeats))
    values = pd.DataFrame(math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own).assign(reference=0.0)
    covered = {}
    for name, options in {"corrected": {"test_to_train": 0.2 / 0.8}, "plain": {}}.items():
        table = compared(values.iloc[:, -101:] if name == "plain" else values, **options)
        covered[name] = ((table["low"] < 0) & (table["high"] > 0)).mean()
    assert covered["corrected"] == pytest.approx(0.95, abs=0.02)
    assert covered["plain"] < 0.8


def test_where_nothing_varies_over_seeds_that_share_samples_nothing_is_claimed():
    row = row_of(*[0.1] * 8, test_to_train=0.25)
    assert row["difference"] == pytest.approx(0.1)
    assert row[["low", "high", "p", "p_corrected"]].isna().all()


# Demšar 2006, table 6: area under the ROC curve of C4.5 and three ways of tuning it on 14 data sets. The
# last two of 'voting' are printed alike, 0.975, but ranked 2 and 3.
DEMSAR = pd.DataFrame(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.97501, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ],
    columns=["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"],
)


def test_mean_ranks_are_those_of_a_published_example():
    ranks, _, _ = ranking(DEMSAR, True)
    assert ranks.index.tolist() == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    assert ranks.round(3).tolist() == [1.964, 2.000, 2.893, 3.143]


def test_pairs_differ_as_in_the_published_example():
    _, _, pairs = ranking(DEMSAR, True)
    # Critical differences there: 1.25 at 0.05, which no pair reaches; 1.12 at 0.10, which C4.5 and the best two do.
    near = {frozenset(pair) for pair in itertools.combinations(pairs, 2) if pairs.loc[pair] < 0.10}
    assert near == {frozenset({"C4.5", "C4.5+m"}), frozenset({"C4.5", "C4.5+m+cf"})}
    assert (pairs.to_numpy() > 0.05).all()
    assert (pairs.to_numpy() == pairs.to_numpy().T).all()
    assert np.diag(pairs).tolist() == [1.0] * 4


def test_friedmans_p_is_that_of_its_formula():
    # No ties: chi2 = 12 / (n k (k + 1)) sum R^2 - 3 n (k + 1), with rank sums 4, 8, 12 of four seeds: 8; p = exp(-4).
    values = pd.DataFrame([[1.0, 2.0, 3.0]] * 4, columns=list("abc"))
    assert ranking(values, False)[1] == pytest.approx(math.exp(-4))


def test_the_p_of_a_pair_is_that_of_the_studentized_range():
    values = pd.DataFrame([[1.0, 2.0, 3.0]] * 4, columns=list("abc"))
    _, _, pairs = ranking(values, False)
    # Two methods of two ranks apart: q = 2 / sqrt(k (k + 1) / (12 n)) = 2 / sqrt(12 / 48).
    assert pairs.loc["a", "c"] == pytest.approx(stats.studentized_range.sf(4, 3, np.inf))


@pytest.mark.parametrize(("higher", "best"), [(True, "b"), (False, "a")])
def test_rank_one_is_the_best(higher, best):
    ranks, _, _ = ranking(pd.DataFrame({"a": [1.0, 1.0], "b": [2.0, 2.0]}), higher)
    assert ranks.to_dict()[best] == 1.0


def test_equal_methods_share_the_mean_of_their_ranks():
    ranks, _, _ = ranking(pd.DataFrame({"a": [0.5, 0.5], "b": [0.5, 0.5], "c": [0.9, 0.1]}), True)
    # c is first, then third; a and b share 2 and 3, then 1 and 2.
    assert ranks.to_dict() == {"a": 2.0, "b": 2.0, "c": 2.0}


def test_a_method_that_diverged_is_last_and_a_seed_without_any_value_is_left_out():
    values = pd.DataFrame(
        {"a": [1.0, math.nan, 1.0], "b": [2.0, math.nan, 2.0], "c": [0.0, math.nan, math.nan]}, index=[1, 2, 3]
    )
    ranks, _, _ = ranking(values, False)
    assert ranks.to_dict() == {"a": 1.5, "b": 2.5, "c": 2.0}


def test_methods_that_are_always_equal_rank_alike():
    _, p, pairs = ranking(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [1.0, 2.0]}), True)
    assert p == 1.0
    assert (pairs.to_numpy() == 1.0).all()


@pytest.mark.parametrize(("seeds", "methods"), [(0, 3), (1, 3), (5, 2), (5, 1)])
def test_friedmans_test_needs_two_seeds_and_three_methods(seeds, methods):
    values = DEMSAR.iloc[:seeds, :methods]
    ranks, p, pairs = ranking(values, True)
    assert math.isnan(p)
    assert pairs.shape == (methods, methods)
    assert pairs.index.tolist() == pairs.columns.tolist() == ranks.index.tolist()


def test_pairs_of_a_single_seed_are_not_compared():
    _, _, pairs = ranking(DEMSAR.head(1), True)
    assert np.isnan(pairs.to_numpy()).sum() == 12


@given(st.lists(st.integers(-5, 5), min_size=3, max_size=6, unique=True), st.integers(2, 5))
@settings(max_examples=20, deadline=None)
def test_only_the_order_within_a_seed_counts(values, seeds):
    table = pd.DataFrame([np.roll(values, seed * (seed + 1) // 2) for seed in range(seeds)])
    stretched = table.astype(float).apply(lambda row: np.exp(row) * (1 + row.name), axis=1)
    one, other = ranking(table, True), ranking(stretched, True)
    pd.testing.assert_series_equal(one[0], other[0])
    assert one[1] == pytest.approx(other[1], nan_ok=True)
    pd.testing.assert_frame_equal(one[2], other[2])
    turned = ranking(-table, False)
    pd.testing.assert_series_equal(one[0], turned[0])

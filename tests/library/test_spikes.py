"""Spikes in bins: exact edges, none lost, and the numbers made of them."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metafusion.config.trials import SpikeFeatures
from metafusion.errors import UserError
from metafusion.preprocess.spikes import bin_edges, bin_spikes, name_silent, silent_units, spike_features
from metafusion.preprocess.trials import array_shape

TENTHS = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
COUNTS = np.array([[[0, 1, 2, 3], [0, 0, 0, 0]], [[4, 0, 0, 0], [0, 0, 0, 0]]])
"""Two trials of a unit that fires and of a silent one, in four bins."""


def features(counts=COUNTS, edges=TENTHS, units=("a", "b"), **settings):
    return spike_features(counts, edges, units, SpikeFeatures(**settings))


# Bins


def test_edges_of_many_tenths_do_not_drift():
    assert bin_edges((0, 100), 0.1).tolist() == [float(f"{k // 10}.{k % 10}") for k in range(1001)]


def test_edges_may_start_before_the_onset():
    assert bin_edges((-0.3, 0.3), 0.2).tolist() == [-0.3, -0.1, 0.1, 0.3]


@pytest.mark.parametrize("width", [0.3, 2.0])
def test_bins_that_do_not_fill_the_window_are_refused(width):
    with pytest.raises(UserError, match=r"bin_width: .* does not divide the window from 0 to 1 s"):
        bin_edges((0, 1), width)


def test_a_spike_on_an_edge_belongs_to_the_later_bin_and_one_on_the_stop_to_none():
    times = np.array([1.0, 1.25, 1.5, 2.0])
    assert bin_spikes([times], [1.0], (0, 1), 0.25).tolist() == [[[1, 1, 1, 0]]]


@pytest.mark.parametrize("spike", [0.3, 0.1 * 3, 0.1 + 0.1 + 0.1, 3 / 10])
@pytest.mark.parametrize("start", [0.0, -0.2])
def test_last_bits_of_a_time_do_not_move_a_spike_across_an_edge(spike, start):
    counts = bin_spikes([np.array([spike])], [0.0], (start, 0.4), 0.1)[0, 0]
    assert np.flatnonzero(counts).tolist() == [round((0.3 - start) * 10)]


def test_samples_of_a_clock_that_no_float_writes_exactly_fall_where_integers_say():
    # 30 kHz, bins of 300 samples: spike and onset are thirds of something, and their difference is a whole bin.
    onsets, spikes = np.arange(1, 4000, 7) * 10_000, np.arange(0, 40_000_000, 300 * 7) + 100
    counts = bin_spikes([spikes / 30_000], onsets / 30_000, (0, 0.1), 0.01)[:, 0]
    expected = np.stack([np.bincount((s := spikes - o)[(s >= 0) & (s < 3000)] // 300, minlength=10) for o in onsets])
    np.testing.assert_array_equal(counts, expected)


def test_times_of_a_clock_that_counts_from_1970_are_binned_alike():
    # There a float is 2.4e-7 s from the next, and a spike on an edge may be rounded to before it.
    second = 1_700_000_000
    onsets = np.array([float(f"{second}.{k:02d}") for k in range(60)])
    spikes = np.array([float(f"{second}.{k:02d}") for k in range(10, 90, 10)])
    counts = bin_spikes([spikes], onsets, (0, 0.3), 0.01)[:, 0]
    expected = [[(onset + k) % 10 == 0 and 10 <= onset + k < 90 for k in range(30)] for onset in range(60)]
    np.testing.assert_array_equal(counts, expected)


def test_counts_agree_with_the_histogram_of_numpy():
    random = np.random.default_rng(1)
    trains = [random.uniform(0, 100, size) for size in (0, 5, 800)]
    onsets = np.array([3.0, 40.0, 41.0, 97.0])
    counts = bin_spikes(trains, onsets, (-1, 4), 1)
    for trial, onset in enumerate(onsets):
        for unit, times in enumerate(trains):
            np.testing.assert_array_equal(counts[trial, unit], np.histogram(times, onset + np.arange(-1, 5))[0])


@given(
    st.lists(st.lists(st.integers(-50, 150), max_size=30), min_size=1, max_size=3),
    st.lists(st.integers(0, 100), min_size=1, max_size=4),
    st.integers(1, 12),
    st.sampled_from([0.01, 0.1, 1 / 32, 1.0]),
)
def test_every_spike_of_the_window_is_in_the_bin_that_whole_numbers_say(trains, onsets, bins, width):
    counts = bin_spikes([np.array(t) * width for t in trains], np.array(onsets) * width, (0, bins * width), width)
    expected = [[[train.count(onset + k) for k in range(bins)] for train in trains] for onset in onsets]
    np.testing.assert_array_equal(counts, expected)


def test_a_shift_of_the_onset_by_one_bin_shifts_the_counts_by_one_bin():
    times = np.random.default_rng(2).uniform(0, 10, 300)
    early, late = bin_spikes([times], [4.0, 4.01], (0, 1), 0.01)[:, 0]
    np.testing.assert_array_equal(early[1:], late[:-1])
    assert early.sum() > 10


def test_the_order_of_spikes_does_not_matter_and_they_are_left_as_they_are():
    times = np.array([0.35, 0.1, 0.3])
    assert bin_spikes([times], [0.0], (0, 0.4), 0.1).tolist() == [[[0, 1, 0, 2]]]
    assert times.tolist() == [0.35, 0.1, 0.3]


def test_trials_that_overlap_share_spikes():
    assert bin_spikes([np.array([1.5])], [1.0, 1.4], (0, 1), 1).ravel().tolist() == [1, 1]


@pytest.mark.parametrize(("times", "onsets"), [([np.nan], [0.0]), ([np.inf], [0.0]), ([0.0], [np.nan])])
def test_times_that_are_no_numbers_are_refused(times, onsets):
    with pytest.raises(UserError, match="not finite"):
        bin_spikes([np.array(times)], np.array(onsets), (0, 1), 1)


# Silent units


def test_units_without_a_spike_in_any_trial_are_named(caplog):
    assert silent_units(COUNTS, ["a", "b"]) == ["b"]
    assert silent_units(np.array([[[0, 0]], [[0, 1]]]), ["once"]) == []
    with caplog.at_level(logging.WARNING, "metafusion"):
        assert name_silent(COUNTS, ["a", "b"], "rat1") == ["b"]
    assert "rat1: 1 of 2 units have no spike in any trial: b" in caplog.text


# Features


def test_the_total_is_the_sum_over_the_bins():
    table = features()
    assert list(table) == ["a", "b"]
    assert table.to_numpy().tolist() == [[6, 0], [4, 0]]
    assert (table.dtypes == np.float32).all()


def test_bins_of_a_unit_stand_together_and_are_named_by_their_centres():
    table = features(count="bins")
    assert list(table) == [f"{unit}_t{time}" for unit in "ab" for time in ("0.05", "0.15", "0.25", "0.35")]
    np.testing.assert_array_equal(table.to_numpy(), COUNTS.reshape(2, 8))


@pytest.mark.parametrize("asked", [{"bins": 2}, {"bin_width": 0.2}])
def test_neighbouring_bins_are_summed_to_wider_ones(asked):
    table = features(count="bins", **asked)
    assert list(table) == ["a_t0.10", "a_t0.30", "b_t0.10", "b_t0.30"]
    assert table.to_numpy().tolist() == [[1, 5, 0, 0], [4, 0, 0, 0]]


@pytest.mark.parametrize("asked", [{"bins": 3}, {"bins": 8}, {"bin_width": 0.15}, {"bin_width": 1.0}])
def test_bins_that_would_cut_those_of_the_counts_are_refused(asked):
    with pytest.raises(UserError, match=r"cannot be made of the 4 bins of 0\.1 s, from 0 to 0\.4 s"):
        features(count="bins", **asked)


def test_edges_that_drift_as_those_of_a_users_file_can_be_merged_all_the_same():
    drifting = np.cumsum(np.full(401, 0.01)) - 2.01
    table = features(np.ones((1, 1, 400), np.uint8), drifting, ["a"], count="bins", bin_width=0.1)
    assert table.to_numpy().tolist() == [[10.0] * 40]


def test_a_rate_is_the_count_over_the_duration():
    np.testing.assert_allclose(features(rate=True)["a"], [6 / 0.4, 4 / 0.4])
    np.testing.assert_allclose(features(count="bins", bins=2, rate=True)["a_t0.30"], [5 / 0.2, 0])


def test_counts_of_eight_bits_do_not_overflow():
    counts = np.full((1, 1, 400), 255, np.uint8)
    edges = np.arange(401) * 0.01
    assert features(counts, edges, ["a"]).to_numpy().tolist() == [[102_000.0]]
    assert features(counts, edges, ["a"], count="bins", bins=2).to_numpy().tolist() == [[51_000.0] * 2]
    np.testing.assert_allclose(features(counts, edges, ["a"], count="smoothed", smoothing=0.03), 255, rtol=1e-6)


def test_the_transforms_are_those_of_the_textbook():
    np.testing.assert_allclose(features(transform="square_root")["a"], [6**0.5, 2], rtol=1e-6)
    np.testing.assert_allclose(features(transform="anscombe")["a"], [2 * 6.375**0.5, 2 * 4.375**0.5], rtol=1e-6)


def test_the_anscombe_transform_of_a_poisson_number_has_the_variance_one():
    counts = np.random.default_rng(3).poisson(20, (20_000, 1, 1))
    assert features(counts, np.array([0.0, 1.0]), ["a"], transform="anscombe")["a"].var() == pytest.approx(1, abs=0.03)


def test_a_single_spike_is_spread_as_the_gaussian_says():
    counts = np.zeros((1, 1, 101), np.uint8)
    counts[0, 0, 50] = 1
    table = features(counts, np.arange(102) * 0.01, ["a"], count="smoothed", smoothing=0.05)
    steps = np.arange(-10, 11)
    expected = np.exp(-(steps**2) / (2 * 5**2))
    np.testing.assert_allclose(table.to_numpy()[0, 40:61], expected / (5 * np.sqrt(2 * np.pi)), rtol=1e-3)


@given(st.lists(st.integers(0, 3), min_size=4, max_size=40), st.floats(0.01, 0.3))
def test_smoothing_loses_no_spike_also_at_the_ends(counts, smoothing):
    edges = np.arange(len(counts) + 1) * 0.02
    table = features(np.array([[counts]]), edges, ["a"], count="smoothed", smoothing=smoothing)
    assert table.to_numpy().sum() == pytest.approx(sum(counts), abs=1e-3)


def test_one_trial_does_not_change_another():
    one = features(COUNTS[:1], count="smoothed", smoothing=0.1, rate=True)
    np.testing.assert_array_equal(one, features(count="smoothed", smoothing=0.1, rate=True)[:1])


def test_bins_that_are_not_equal_cannot_be_smoothed():
    with pytest.raises(UserError, match="expected equal bins"):
        features(edges=np.array([0.0, 0.1, 0.2, 0.3, 0.5]), count="smoothed", smoothing=0.1)


def test_names_of_bins_are_those_of_an_array_of_units_and_time():
    table = features(np.ones((1, 2, 8), int), np.arange(9) / 1000, count="bins")
    assert array_shape(list(table)) == (2, 8)

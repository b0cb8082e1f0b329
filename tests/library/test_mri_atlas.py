"""Regions: packaged parcels, and the labels of an atlas of the user's own."""

import nibabel as nib
import numpy as np
import pytest
from heads import head, reoriented, stored

from metafusion.config.mri import MriPreprocessing
from metafusion.errors import UserError
from metafusion.preprocess import mri
from metafusion.preprocess.atlas import regions
from metafusion.preprocess.template import brain_mask

SETTINGS = MriPreprocessing(resolution=6.0, parcels=4)

# Corners in mm of two boxes inside the brain, and their volumes in ml.
BOXES = {7: ((-40, -40, 10), (-10, 0, 40), 30 * 40 * 30 / 1000), 3: ((13, -23, 5), (31, 8, 38), 18 * 31 * 33 / 1000)}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """Two boxes in a NIfTI file of 1 mm."""
    return stored(boxes(1.0), tmp_path_factory.mktemp("atlas") / "boxes.nii.gz")


def boxes(size, shift=0.0, dtype=np.uint8):
    affine = nib.affines.from_matvec(np.eye(3) * size, np.array([-95.5, -130.5, -70.5]) + (size - 1) / 2)
    shape = tuple(int(190 // size) for _ in range(3))
    where = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    labels = np.zeros(shape, dtype=dtype)
    for label, (low, high, _) in BOXES.items():
        labels[((where > low) & (where < high)).all(axis=-1)] = label
    affine[:3, 3] += shift
    return nib.Nifti1Image(labels, affine)


def names_file(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def settings_of(atlas, labels=None, **changes):
    return SETTINGS.model_copy(update={"atlas": atlas, "atlas_labels": labels} | changes)


def test_parcels_are_mirror_images_of_each_other():
    place = regions(SETTINGS)
    left, right = place.centres[:4], place.centres[4:]
    assert place.names[0] == "left_01"
    assert place.names[4] == "right_01"
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=6)
    assert (np.diff(left[:, 1]) > 0).all()


def test_more_parcels_than_voxels_are_refused():
    with pytest.raises(UserError, match=r"preprocessing\.parcels: found 5000"):
        regions(MriPreprocessing(resolution=6.0, parcels=5000))


def test_a_grid_without_pure_voxels_is_refused():
    with pytest.raises(UserError, match=r"preprocessing\.resolution: at 20 mm only \d+ voxels"):
        regions(MriPreprocessing(resolution=20.0, parcels=1))


@pytest.mark.parametrize("resolution", [4.5, 6.0])
def test_regions_have_the_volume_that_the_atlas_gives_them(atlas, resolution):
    place = regions(settings_of(atlas, resolution=resolution))
    assert place.names == ["region_3", "region_7"]
    expected = [BOXES[3][2], BOXES[7][2]]
    np.testing.assert_allclose(place.weights.sum(axis=1) * place.voxel_ml, expected, rtol=1e-6)
    middle = [np.mean(BOXES[label][:2], axis=0) for label in (3, 7)]
    np.testing.assert_allclose(place.centres, middle, atol=1.0)


def test_an_atlas_may_be_coarser_than_the_grid_and_of_any_orientation_and_number_format(tmp_path):
    coarse = boxes(3.0, dtype=np.float32)
    place = regions(settings_of(stored(reoriented(coarse, "LPI"), tmp_path / "turned.nii"), resolution=2.0))
    labels = coarse.get_fdata()
    expected = [(labels == label).sum() * 3.0**3 / 1000 for label in (3, 7)]
    np.testing.assert_allclose(place.weights.sum(axis=1) * place.voxel_ml, expected, rtol=1e-6)


# Every voxel is a quarter grey matter.
def test_grey_matter_and_intensity_are_those_of_the_region(atlas):
    place = regions(settings_of(atlas))
    shares = np.zeros((3, *place.brain.shape))
    shares[1] = 0.25
    normal = np.full(place.brain.shape, 0.7, dtype=np.float32)
    features = dict(zip(mri.feature_names(settings_of(atlas)), mri.describe(normal, shares, place), strict=True))
    assert features["grey_region_3"] == pytest.approx(BOXES[3][2] / 4, rel=1e-3)
    assert features["grey_region_7"] == pytest.approx(BOXES[7][2] / 4, rel=1e-3)
    assert features["intensity_region_7"] == pytest.approx(0.7)


def test_names_come_from_the_file_of_labels(atlas, tmp_path, caplog):
    labels = names_file(
        tmp_path / "names.tsv", "\ufeffindex\tname\tcolour\n0\tnothing\tx\n7\tLeft box\tx\n3\tright\tx\n9\tnobody\tx\n"
    )
    assert regions(settings_of(atlas, labels)).names == ["right", "Left box"]
    assert "1 names without a label" in caplog.text
    assert "nobody" in caplog.text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("number\tname\n3\ta\n7\tb\n", "found columns number, name; expected a TSV"),
        ("index\tname\n3\ta\n", r"no name for 1 labels of .*boxes\.nii\.gz \(7\)"),
        ("index\tname\n3\ta\n7\ta\n", "name 'a' is empty or stands more than once"),
        ("index\tname\n3\ta\n3\tb\n7\tc\n", "index .*3.* is empty or stands more than once"),
        ("index\tname\n3\t\n7\tb\n", "name '' is empty"),
        ("index\tname\nthree\ta\n7\tb\n", "other than whole numbers"),
        ("", "cannot be read"),
    ],
)
def test_a_file_of_labels_that_cannot_be_used_is_refused(atlas, tmp_path, text, complaint):
    labels = names_file(tmp_path / "names.tsv", text)
    with pytest.raises(UserError, match=rf"preprocessing\.atlas_labels: .*names\.tsv: .*{complaint}"):
        regions(settings_of(atlas, labels))


def test_an_absent_file_of_labels_or_atlas_is_named(atlas, tmp_path):
    with pytest.raises(UserError, match=r"atlas_labels: .*gone\.tsv: no such file"):
        regions(settings_of(atlas, tmp_path / "gone.tsv"))
    with pytest.raises(UserError, match=r"preprocessing\.atlas: .*gone\.nii: .*no such file"):
        regions(settings_of(tmp_path / "gone.nii"))


@pytest.mark.parametrize("shift", [(60, 0, 0), (95.5, 130.5, 70.5), (0, 0, 400)])
def test_an_atlas_in_another_space_is_refused(tmp_path, shift):
    path = stored(boxes(2.0, np.array(shift)), tmp_path / "elsewhere.nii")
    with pytest.raises(UserError, match=r"preprocessing\.atlas: .*elsewhere\.nii: .*another space"):
        regions(settings_of(path))


def test_an_atlas_without_origin_is_refused(tmp_path):
    labels = boxes(2.0)
    path = stored(nib.AnalyzeImage(labels.get_fdata(dtype=np.float32), None), tmp_path / "bare.img")
    with pytest.raises(UserError, match=r"preprocessing\.atlas: .*bare\.img: an Analyze header.*affine"):
        regions(settings_of(path))


def test_a_map_of_probabilities_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"preprocessing\.atlas: .*found numbers such as .*probabilities"):
        regions(settings_of(stored(head(6.0), tmp_path / "map.nii")))


def test_a_region_outside_the_brain_is_refused(tmp_path):
    labels = boxes(2.0)
    data = np.asarray(labels.dataobj).copy()
    data[:2, :2, :2] = 11
    path = stored(nib.Nifti1Image(data, labels.affine), tmp_path / "corner.nii")
    with pytest.raises(UserError, match=r"1 of 3 regions lie outside the MNI brain \(region_11\)"):
        regions(settings_of(path))


def test_a_wrong_atlas_is_no_fault_of_the_volume(tmp_path):
    with pytest.raises(UserError, match=r"preprocessing\.atlas"):
        mri.preprocess_volumes({"a": tmp_path / "a.nii"}, settings_of(tmp_path / "gone.nii"), tmp_path / "out")


def test_names_without_an_atlas_are_refused(tmp_path):
    with pytest.raises(ValueError, match="atlas_labels: names without an atlas"):
        MriPreprocessing(atlas_labels=tmp_path / "names.tsv")


def test_the_brain_of_the_template_is_on_the_grid_that_is_asked_for():
    mask = brain_mask(4.5)
    assert nib.affines.voxel_sizes(mask.affine).tolist() == [4.5] * 3
    # The brain of the template holds 1.88 l at 1 mm.
    assert mask.get_fdata().sum() * 4.5**3 / 1e6 == pytest.approx(1.88, rel=0.02)

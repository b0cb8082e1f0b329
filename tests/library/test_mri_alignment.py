"""Alignment with the template: a volume that was turned, scaled and moved comes back."""

import nibabel as nib
import numpy as np
import pytest
from heads import analyze, head, stored
from scipy.spatial.transform import Rotation

from metafusion.config.mri import MriPreprocessing
from metafusion.errors import UserError
from metafusion.preprocess import mri
from metafusion.preprocess.alignment import offset, place
from metafusion.preprocess.template import brain_mask, template
from metafusion.preprocess.volumes import on_grid, read_volume

SIZE = 5.0
TURNED = (8.0, -4.0, 5.0)


def moved(scale, shift, angles=TURNED):
    """The affine that takes the template's places to those of the volume."""
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return nib.affines.from_matvec(scale * turn, shift)


def volume_of(motion, folder):
    image = head(SIZE)
    return read_volume(
        stored(nib.Nifti1Image(image.get_fdata(dtype=np.float32), motion @ image.affine), folder / "a.nii")
    )


def error_in_mm(placed, motion):
    """How far the brain's places lie from where they belong, on average."""
    mask = brain_mask(8.0)
    where = nib.affines.apply_affine(mask.affine, np.argwhere(mask.get_fdata()))
    back = placed.image.affine @ np.linalg.inv(motion @ head(SIZE).affine) @ motion
    return np.linalg.norm(nib.affines.apply_affine(back, where) - where, axis=1).mean()


def dice(image):
    """Overlap of the volume's brain with the template's."""
    mask = brain_mask(4.0)
    brain = mask.get_fdata() > 0
    found = on_grid(image, mask.affine, mask.shape) > 0.1 * 500
    return 2 * (found & brain).sum() / (found.sum() + brain.sum())


@pytest.mark.parametrize(("scale", "shift"), [(1.0, (6.0, -3000.0, 500.0)), (1.05, (-12.0, 20.0, 40.0))])
def test_a_volume_comes_back_to_the_template(tmp_path, scale, shift):
    motion = moved(scale, shift)
    volume = volume_of(motion, tmp_path)
    assert dice(volume.image) < 0.9
    placed = place(volume, "affine")
    assert error_in_mm(placed, motion) < 1.0
    assert dice(placed.image) > dice(head(SIZE)) - 0.02
    assert placed.scale == pytest.approx(scale**-3, rel=0.03)
    np.testing.assert_array_equal(placed.image.get_fdata(), volume.image.get_fdata())


def test_a_volume_without_origin_is_only_shifted(tmp_path):
    image = head(SIZE)
    volume = read_volume(analyze(image, tmp_path / "a.img"))
    placed = place(volume, "none")
    np.testing.assert_allclose(placed.image.affine[:3, :3], np.eye(3) * SIZE, atol=1e-9)
    assert np.abs(placed.image.affine[:3, 3] - image.affine[:3, 3]).max() < 0.5
    assert placed.scale == 1
    # The middle of the field of view lies at (0, -18, 22) mm or so.
    assert placed.shift_mm == pytest.approx(np.linalg.norm(image.affine[:3, 3] - volume.image.affine[:3, 3]), abs=1)


def test_with_none_a_volume_that_has_an_origin_stays_where_it_is(tmp_path):
    volume = volume_of(moved(1.0, (5.0, 0, 0)), tmp_path)
    placed = place(volume, "none")
    np.testing.assert_array_equal(placed.image.affine, volume.image.affine)
    assert (placed.shift_mm, placed.scale) == (0, 1)


def test_the_offset_is_that_of_the_header():
    image = head(SIZE)
    affine = nib.affines.from_matvec(np.eye(3), [12.0, -16.0, 0.0]) @ image.affine
    assert offset(nib.Nifti1Image(image.get_fdata(dtype=np.float32), affine)) == pytest.approx(20, abs=4)
    assert offset(image) <= 4


def test_the_same_volume_is_aligned_to_the_same_bytes(tmp_path):
    settings = MriPreprocessing(resolution=6.0, parcels=4, align="affine", bias="n4")
    image = volume_of(moved(1.0, (4.0, 0, 0)), tmp_path).path
    first, second = (mri.preprocess_volume(image, settings) for _ in range(2))
    assert first.features.tobytes() == second.features.tobytes()
    assert first.normal.to_bytes() == second.normal.to_bytes()
    assert first.quality["similarity"] > 0.9
    assert first.quality["shift_mm"] > 0


def test_what_cannot_be_found_in_the_volume_is_refused(tmp_path):
    # One bright corner in the dark.
    data = np.zeros((40, 40, 40), dtype=np.float32)
    data[:2, :2, :2] = 100
    path = stored(nib.Nifti1Image(data, np.diag([5.0, 5, 5, 1])), tmp_path / "corner.nii")
    with pytest.raises(UserError, match=r"corner\.nii: .*(cannot be aligned|alignment would|fills)"):
        mri.preprocess_volume(path, MriPreprocessing(resolution=6.0, parcels=4, align="affine"))


def test_the_template_lies_on_itself():
    grey = template("grey", SIZE)
    assert grey.shape == brain_mask(SIZE).shape
    assert np.abs(grey - grey[::-1]).mean() < 0.05

"""Reading volumes: formats, headers that cannot be trusted, and files that are no volumes."""

import gzip
import hashlib

import nibabel as nib
import numpy as np
import pytest
from heads import analyze, head, reoriented, stored

from metafusion.errors import UserError
from metafusion.preprocess.volumes import BrokenVolumeError, on_grid, read_volume


@pytest.fixture(scope="module")
def image():
    """A volume, not to be changed."""
    return head(6.0)


def with_forms(image, sform, qform, codes=(2, 2)):
    changed = nib.Nifti1Image(image.get_fdata(dtype=np.float32), image.affine)
    changed.set_sform(sform, codes[0])
    changed.set_qform(qform, codes[1])
    return changed


def test_orientation_is_brought_to_ras(image, tmp_path):
    for codes in ("LPS", "AIR"):
        volume = read_volume(stored(reoriented(image, codes), tmp_path / f"{codes}.nii.gz"))
        assert volume.orientation == codes
        np.testing.assert_array_equal(volume.image.get_fdata(), image.get_fdata())
        np.testing.assert_allclose(volume.image.affine, image.affine, atol=1e-4)


@pytest.mark.parametrize(("byte_order", "dtype"), [(">", "i2"), ("<", "i2"), (">", "f4"), ("<", "u1")])
def test_analyze_of_any_byte_order_and_number_format_holds_the_same_voxels(tmp_path, byte_order, dtype):
    small = nib.Nifti1Image(np.arange(9 * 10 * 11).reshape(9, 10, 11) % 250, np.eye(4), dtype="i4")
    path = analyze(small, tmp_path / "a.img", byte_order, dtype)
    assert path.read_bytes()[:4] == (348).to_bytes(4, {">": "big", "<": "little"}[byte_order])
    volume = read_volume(path)
    assert volume.shape == (9, 10, 11)
    np.testing.assert_array_equal(volume.image.get_fdata(), small.get_fdata())


def test_analyze_has_no_origin_and_its_sides_are_warned_of(image, tmp_path):
    volume = read_volume(analyze(image, tmp_path / "a.img"))
    assert not volume.has_origin
    assert volume.space == "unknown"
    assert "left and right cannot be trusted" in volume.space_warning


def test_an_analyze_of_spm_keeps_its_origin(image, tmp_path):
    path = stored(nib.Spm99AnalyzeImage(image.get_fdata(dtype=np.float32), image.affine), tmp_path / "spm.img")
    volume = read_volume(path)
    assert volume.has_origin
    assert volume.space_warning == ""
    np.testing.assert_allclose(volume.image.affine, image.affine, atol=1e-3)


def test_an_analyze_with_an_origin_in_the_header_is_warned_of_its_sides_only(image, tmp_path):
    header = nib.Spm99AnalyzeHeader()
    header.set_data_dtype("f4")
    header["origin"][:3] = [4, 5, 6]
    data = image.get_fdata(dtype=np.float32)
    path = stored(nib.Spm99AnalyzeImage(data, None, header), tmp_path / "origin.img")
    path.with_suffix(".mat").unlink(missing_ok=True)
    volume = read_volume(path)
    assert volume.has_origin
    assert "left and right cannot be trusted" in volume.space_warning


def test_a_nifti_without_any_form_has_no_origin(image, tmp_path):
    volume = read_volume(stored(with_forms(image, None, None, (0, 0)), tmp_path / "none.nii"))
    assert not volume.has_origin
    assert "neither sform nor qform" in volume.space_warning
    assert "left and right cannot be trusted" in volume.space_warning


def test_one_form_is_enough_and_says_the_space(image, tmp_path):
    for name, codes, space in (("s", (4, 0), "mni"), ("q", (0, 1), "scanner")):
        volume = read_volume(stored(with_forms(image, image.affine, image.affine, codes), tmp_path / f"{name}.nii"))
        assert (volume.has_origin, volume.space_warning, volume.space) == (True, "", space)


def test_forms_that_disagree_are_warned_of(image, tmp_path):
    moved = image.affine.copy()
    moved[1, 3] += 15
    volume = read_volume(stored(with_forms(image, image.affine, moved), tmp_path / "moved.nii"))
    assert volume.space_warning == "sform and qform lie up to 15 mm apart in the same header; the sform is used"
    np.testing.assert_allclose(volume.image.affine, image.affine, atol=1e-4)


def test_forms_that_are_mirror_images_are_warned_of(image, tmp_path):
    mirrored = np.diag([-1.0, 1, 1, 1]) @ image.affine
    volume = read_volume(stored(with_forms(image, image.affine, mirrored), tmp_path / "mirrored.nii"))
    assert "mirror images of each other: left and right cannot be trusted" in volume.space_warning


def test_rounding_of_forms_is_not_warned_of(image, tmp_path):
    near = image.affine.copy()
    near[:3, 3] += 0.4
    assert read_volume(stored(with_forms(image, image.affine, near), tmp_path / "near.nii")).space_warning == ""


def test_nan_is_background_and_counted(image, tmp_path):
    data = image.get_fdata(dtype=np.float32).copy()
    data[:3] = np.nan
    volume = read_volume(stored(nib.Nifti1Image(data, image.affine), tmp_path / "nan.nii"))
    assert volume.nan_share == pytest.approx(3 / data.shape[0])
    assert (volume.image.get_fdata()[:3] == 0).all()


# The oracle is the hash that the contract describes, of numbers that stand in the test.
def test_the_content_hash_is_that_of_shape_and_voxels(tmp_path):
    data = np.arange(8 * 9 * 10, dtype=np.float32).reshape(8, 9, 10)
    expected = hashlib.sha256(b"(8, 9, 10)" + data.astype("<f4").tobytes()).hexdigest()
    plain = nib.Nifti1Image(data, np.eye(4))
    assert read_volume(stored(plain, tmp_path / "a.nii")).content_hash == expected
    assert read_volume(stored(reoriented(plain, "LPI"), tmp_path / "b.nii.gz")).content_hash == expected
    assert read_volume(analyze(plain, tmp_path / "c.img")).content_hash == expected
    other = data.copy()
    other[4, 4, 4] += 1
    assert read_volume(stored(nib.Nifti1Image(other, np.eye(4)), tmp_path / "d.nii")).content_hash != expected


def test_a_coarser_grid_takes_means_of_what_lies_in_its_voxels():
    # Every other voxel bright: no point of the coarse grid may show it.
    data = np.indices((40, 40, 40)).sum(axis=0) % 2
    coarse = on_grid(nib.Nifti1Image(data.astype(np.float32), np.eye(4)), np.diag([4.0, 4, 4, 1]), (10, 10, 10))
    np.testing.assert_allclose(coarse[2:-2, 2:-2, 2:-2], 0.5, atol=0.01)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.9999])
def test_a_truncated_file_is_named(image, tmp_path, kept):
    path = stored(image, tmp_path / "short_T1w.nii.gz")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(UserError, match=r"short_T1w\.nii\.gz.*truncated.*copy"):
        read_volume(path)


@pytest.mark.parametrize("name", ["short.nii", "short.img"])
def test_a_truncated_uncompressed_file_is_named(image, tmp_path, name):
    image = image if name.endswith("nii") else nib.AnalyzeImage(image.get_fdata(dtype=np.float32), None)
    path = stored(image, tmp_path / name)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(UserError, match=rf"{name}.*truncated"):
        read_volume(path)


def test_a_damaged_byte_is_found_by_the_checksum(image, tmp_path):
    path = stored(image, tmp_path / "damaged.nii.gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged\.nii\.gz.*corrupt"):
        read_volume(path)


@pytest.mark.parametrize(
    ("data", "complaint", "reason"),
    [
        (np.zeros((20, 20, 20)), "every voxel is 0", "MRI is empty"),
        (np.full((20, 20, 20), 7.0), "every voxel is 7", "MRI is empty"),
        (np.full((20, 20, 20), np.nan), "no number at all", "MRI holds no intensities"),
        (np.where(np.arange(8000).reshape(20, 20, 20) == 5, np.inf, 1.0), "infinite", "MRI holds no intensities"),
        (np.random.default_rng(0).random((20, 20, 20, 3)), "expected one 3D volume", "MRI is no single 3D volume"),
        (np.random.default_rng(0).random((20, 20, 1)), "not a slice", "MRI is too small"),
        (np.random.default_rng(0).random((20, 20)), "expected one 3D volume", "MRI is no single 3D volume"),
    ],
)
def test_what_is_no_head_is_refused(tmp_path, data, complaint, reason):
    path = stored(nib.Nifti1Image(data.astype(np.float32), np.eye(4)), tmp_path / "odd.nii.gz")
    with pytest.raises(BrokenVolumeError, match=rf"odd\.nii\.gz.*{complaint}") as caught:
        read_volume(path)
    assert caught.value.reason == reason


def test_files_that_are_no_volumes_are_refused(tmp_path):
    (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"not a volume"))
    with pytest.raises(UserError, match=r"text\.nii\.gz"):
        read_volume(tmp_path / "text.nii.gz")
    with pytest.raises(UserError, match=r"absent\.nii.*no such file"):
        read_volume(tmp_path / "absent.nii")


def test_half_of_a_pair_is_refused(image, tmp_path):
    path = analyze(image, tmp_path / "half.img")
    path.with_suffix(".img").unlink()
    with pytest.raises(BrokenVolumeError, match=r"half\.hdr.*no such file.*half\.img"):
        read_volume(path)


def test_a_singular_affine_is_refused(image, tmp_path):
    flat = image.affine.copy()
    flat[2] = flat[1]
    changed = nib.Nifti1Image(image.get_fdata(dtype=np.float32), None)
    changed.header.set_sform(flat, 2)
    path = tmp_path / "flat.nii"
    changed.header["qform_code"] = 0
    path.write_bytes(nib.Nifti1Image(changed.get_fdata(dtype=np.float32), None, changed.header).to_bytes())
    with pytest.raises(BrokenVolumeError, match=r"flat\.nii.*affine.*singular"):
        read_volume(path)

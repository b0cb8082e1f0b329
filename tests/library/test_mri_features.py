"""Features of a volume: the same however it is stored, close to what it is made of, and falling with atrophy."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from heads import analyze, head, reoriented, stored
from nilearn.image import resample_img
from scipy import ndimage

from metafusion.config.mri import MriPreprocessing
from metafusion.config.sources import MriSimulated
from metafusion.errors import UserError
from metafusion.preprocess import mri
from metafusion.preprocess.atlas import regions
from metafusion.preprocess.template import brain_mask, template
from metafusion.preprocess.tissues import normalise, segment
from metafusion.sources import mri_simulated

SETTINGS = MriPreprocessing(parcels=6)
COARSE = MriPreprocessing(resolution=6.0, parcels=4)


@pytest.fixture(scope="module")
def image():
    """A volume of 2 mm, not to be changed."""
    return head(2.0)


@pytest.fixture(scope="module")
def expected(image, tmp_path_factory):
    return volumes_and_intensities(image, tmp_path_factory.mktemp("plain") / "plain.nii")


def features_of(path, settings=SETTINGS):
    return pd.Series(mri.preprocess_volume(path, settings).features, mri.feature_names(settings))


def volumes_and_intensities(image, path):
    features = features_of(stored(image, path))
    return features[features.index.str.match("grey_|intensity_|fraction_grey|fraction_white")]


def assert_unchanged(found, expected, share=0.02):
    assert np.abs(found / expected - 1).max() < share


@pytest.mark.parametrize("codes", ["LAS", "LPI", "RPI", "PIR", "SLA"])
def test_flips_and_turns_by_90_degrees_change_nothing(image, expected, tmp_path, codes):
    found = volumes_and_intensities(reoriented(image, codes), tmp_path / "turned.nii")
    assert_unchanged(found, expected, 1e-4)


@pytest.mark.parametrize("size", [(2.5, 2.5, 2.5), (1.5, 2.0, 3.0), (3.0, 3.0, 3.0)])
def test_the_voxel_size_hardly_matters(image, expected, tmp_path, size):
    # Made from the tissues, not from the volume: voxels hold means of what is in them, as a scanner's do.
    fine = head(1.5)
    width = np.sqrt(np.square(size) / 1.5**2 - 1) / np.sqrt(8 * np.log(2))
    blurred = nib.Nifti1Image(ndimage.gaussian_filter(fine.get_fdata(dtype=np.float32), width), fine.affine)
    other = resample_img(blurred, np.diag(size), interpolation="continuous", force_resample=True, copy_header=True)
    assert_unchanged(volumes_and_intensities(other, tmp_path / "other.nii"), expected)


def test_numbers_of_16_bits_and_a_trailing_axis_hardly_matter(image, expected, tmp_path):
    integers = nib.Nifti1Image(np.rint(image.get_fdata()).astype(np.int16)[..., None], image.affine)
    assert_unchanged(volumes_and_intensities(integers, tmp_path / "integers.nii.gz"), expected, 0.005)


def test_scaled_integers_are_scaled(image, expected, tmp_path):
    scaled = nib.Nifti1Image(image.get_fdata() / 1000, image.affine)
    scaled.set_data_dtype(np.uint8)
    assert_unchanged(volumes_and_intensities(scaled, tmp_path / "scaled.nii"), expected)


def test_an_analyze_file_without_origin_gives_the_same(tmp_path):
    image = head(3.0)
    expected = volumes_and_intensities(image, tmp_path / "plain.nii")
    found = features_of(analyze(image, tmp_path / "oasis.img"))[expected.index]
    assert_unchanged(found, expected)


def test_the_scale_of_intensities_does_not_matter(image, expected, tmp_path):
    brighter = nib.Nifti1Image(image.get_fdata(dtype=np.float32) * 37, image.affine)
    assert_unchanged(volumes_and_intensities(brighter, tmp_path / "brighter.nii"), expected, 1e-3)


@pytest.fixture(scope="module")
def biased(tmp_path_factory):
    """A flat volume, and the same one brighter in front, by 80 %."""
    folder, image = tmp_path_factory.mktemp("bias"), head(4.0)
    ramp = np.exp(np.linspace(-0.3, 0.3, image.shape[1]))[None, :, None]
    changed = nib.Nifti1Image(np.float32(image.get_fdata() * ramp), image.affine)
    return stored(image, folder / "flat.nii"), stored(changed, folder / "biased.nii")


@pytest.mark.parametrize(("bias", "removed"), [("polynomial", True), ("n4", True), ("none", False)])
def test_a_bias_field_is_removed(biased, bias, removed):
    settings = SETTINGS.model_copy(update={"bias": bias})
    flat, found = (features_of(path, settings).filter(regex="^grey_") for path in biased)
    assert (np.abs(found / flat - 1).max() < 0.05) == removed


# Known by construction: the volume is mixed from these maps.
def test_the_tissues_are_those_that_the_volume_is_made_of(image, tmp_path):
    found = features_of(stored(image, tmp_path / "image.nii"))
    place = regions(SETTINGS)
    grey, white = (template(name, 4.0)[place.brain] for name in ("grey", "white"))
    assert found["fraction_grey"] + found["fraction_white"] == pytest.approx((grey + white).mean(), abs=0.02)
    assert found["fraction_white"] == pytest.approx(white.mean(), abs=0.06)
    regional = place.weights @ grey * 4.0**3 / 1000
    assert np.corrcoef(found.filter(regex="^grey_"), regional)[0, 1] > 0.98


def test_a_voxel_between_two_tissues_holds_both():
    place = regions(COARSE)
    normal = np.zeros(place.brain.shape, dtype=np.float32)
    inside = np.argwhere(place.brain)[:7]
    normal[tuple(inside.T)] = [0.1, 0.3, 0.45, 0.6, 0.9, 1.0, 1.4]
    shares = segment(normal, place, (0.3, 0.6, 1.0))[:, *inside.T]
    expected = [[1, 0, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.25, 0.75], [0, 0, 1], [0, 0, 1]]
    np.testing.assert_allclose(shares.T, expected, atol=1e-6)


def test_normalised_white_matter_is_1_and_nothing_is_outside_the_brain():
    place = regions(COARSE)
    data = np.where(place.brain, np.float32(40), np.float32(7))
    for bias in ("polynomial", "n4", "none"):
        normal = normalise(data, place, bias)
        np.testing.assert_allclose(normal[place.brain], 1, rtol=1e-3)
        assert (normal[~place.brain] == 0).all()


# Grey matter beside fluid becomes fluid, by hand and apart from the simulated source.
def test_brain_tissue_falls_with_atrophy_of_the_template(tmp_path):
    tissues = head(3.0, noise=0.0).get_fdata()
    grey, brain = template("grey", 3.0), brain_mask(3.0)
    draw = np.random.default_rng(1)
    levels = np.linspace(0, 1, 6)
    found = []
    for level in levels:
        lost = 0.5 * level * np.clip(grey, 0, 1)
        data = np.maximum(tissues * (1 - lost) + 150 * lost + 10 * draw.normal(size=tissues.shape), 0)
        features = features_of(stored(nib.Nifti1Image(data.astype(np.float32), brain.affine), tmp_path / "one.nii"))
        found.append(features["fraction_grey"] + features["fraction_white"])
    assert (np.diff(found) < 0).all()
    assert np.corrcoef(levels, found)[0, 1] < -0.95


@pytest.mark.parametrize("number", [0, 3])
def test_brain_tissue_falls_with_simulated_atrophy(tmp_path, number):
    source = MriSimulated(kind="mri_simulated", voxel_size=4.0)
    levels = np.linspace(0, 1, 5)
    table = pd.DataFrame(
        [
            features_of(stored(mri_simulated.simulate_volume(source, number, level), tmp_path / "one.nii"))
            for level in levels
        ]
    )
    tissue = table["fraction_grey"] + table["fraction_white"]
    assert (tissue.diff().dropna() < 0).all()
    assert np.corrcoef(levels, tissue)[0, 1] < -0.95
    assert table["csf_ventricles"].is_monotonic_increasing
    assert table.filter(regex="^grey_").iloc[-1].sum() < table.filter(regex="^grey_").iloc[0].sum()


@pytest.mark.parametrize("shift", [90, -3000])
def test_a_volume_elsewhere_than_in_mni_space_is_refused(tmp_path, shift):
    image = head(6.0)
    affine = image.affine.copy()
    affine[:3, 3] += shift
    path = stored(nib.Nifti1Image(image.get_fdata(dtype=np.float32), affine), tmp_path / "away.nii.gz")
    with pytest.raises(UserError, match=r"away\.nii\.gz: fills .* of the MNI brain.*'align: affine'"):
        mri.preprocess_volume(path, COARSE)


def test_a_volume_that_ends_within_the_brain_is_refused(tmp_path):
    image = head(6.0)
    half = nib.Nifti1Image(image.get_fdata(dtype=np.float32)[:, :, 16:], image.affine)
    half.affine[2, 3] += 16 * 6.0
    with pytest.raises(UserError, match=r"half\.nii: fills [1-5]\d% of the MNI brain"):
        mri.preprocess_volume(stored(half, tmp_path / "half.nii"), COARSE)


def test_a_volume_whose_grey_matter_is_brighter_than_its_white_is_refused(tmp_path):
    image = head(6.0)
    data = image.get_fdata(dtype=np.float32)
    turned = np.where(data > 100, 800 - data, 0).astype(np.float32)
    with pytest.raises(UserError, match=r"t2w\.nii: (no contrast between tissues|correlates with the template).* T1"):
        mri.preprocess_volume(stored(nib.Nifti1Image(turned, image.affine), tmp_path / "t2w.nii"), COARSE)


def test_a_brain_of_one_brightness_is_refused(tmp_path):
    mask = brain_mask(6.0)
    data = 300 * mask.get_fdata(dtype=np.float32) + template("t1", 6.0)
    with pytest.raises(UserError, match=r"flat\.nii: no contrast between tissues \(grey matter is 1\.00 times"):
        mri.preprocess_volume(stored(nib.Nifti1Image(data, mask.affine), tmp_path / "flat.nii"), COARSE)


def test_noise_is_refused(tmp_path):
    data = np.random.default_rng(0).random(brain_mask(6.0).shape).astype(np.float32)
    with pytest.raises(UserError, match=r"noise\.nii: correlates with the template's brain by -?0\.[01]"):
        mri.preprocess_volume(stored(nib.Nifti1Image(data, brain_mask(6.0).affine), tmp_path / "noise.nii"), COARSE)


def test_an_offset_in_the_header_is_warned_of(tmp_path):
    image = head(6.0)
    affine = image.affine.copy()
    affine[1, 3] += 20
    moved = nib.Nifti1Image(image.get_fdata(dtype=np.float32), affine)
    found = mri.preprocess_volume(stored(moved, tmp_path / "moved.nii"), COARSE)
    assert "lies about 20 mm off the template: set 'align'" in found.quality["space_warning"]
    assert mri.preprocess_volume(stored(image, tmp_path / "image.nii"), COARSE).quality["space_warning"] == ""

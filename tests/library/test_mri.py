"""Reading and describing T1-weighted volumes, and the simulated MRI source."""

import gzip
import shutil
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from metafusion.config.mri import MriPreprocessing
from metafusion.config.sources import MriSimulated
from metafusion.errors import UserError
from metafusion.files import read_table
from metafusion.preprocess import mri
from metafusion.sources import mri_simulated

SETTINGS = MriPreprocessing(resolution=6.0, parcels=4)


def source_of(**changes):
    given = {"subjects": 9, "voxel_size": 6.0, "chunk_size": 5, "without_mri": 0.2, "preprocessing": SETTINGS}
    return MriSimulated(kind="mri_simulated", **(given | changes))


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def preprocess_all(source, acquired, folder):
    done = {}
    for modality, chunks in source.chunks.items():
        done[modality] = [folder / modality / chunk for chunk in chunks]
        for chunk, place in zip(chunks, done[modality], strict=True):
            place.mkdir(parents=True)
            mri_simulated.preprocess(source, modality, chunk, acquired, place)
    return done


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A small cohort, acquired and preprocessed; not to be changed."""
    folder, source = tmp_path_factory.mktemp("cohort"), source_of()
    mri_simulated.acquire(source, folder / "acquired", {}, [])
    return SimpleNamespace(
        source=source,
        acquired=folder / "acquired",
        preprocessed=preprocess_all(source, folder / "acquired", folder / "preprocessed"),
    )


@pytest.fixture
def anatomy(cohort):
    """One subject's volume, RAS and float32."""
    return mri.read_volume(next(cohort.acquired.glob("sub-*/anat/*_T1w.nii.gz")))


def reoriented(image, codes):
    codes = nib.orientations.axcodes2ornt(codes)
    return image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), codes))


def stored(image, path):
    nib.save(image, path)
    return path


@pytest.mark.parametrize("codes", ["LAS", "LPI", "PIR"])
def test_features_do_not_depend_on_orientation(anatomy, tmp_path, codes):
    expected, _ = mri.preprocess_volume(stored(anatomy, tmp_path / "ras.nii.gz"), SETTINGS)
    found, _ = mri.preprocess_volume(stored(reoriented(anatomy, codes), tmp_path / "other.nii.gz"), SETTINGS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_features_do_not_depend_on_a_trailing_axis_or_on_scaled_integers(anatomy, tmp_path):
    expected, _ = mri.preprocess_volume(stored(anatomy, tmp_path / "plain.nii"), SETTINGS)
    data = anatomy.get_fdata()[..., None]
    integers = nib.Nifti1Image(data, anatomy.affine)
    integers.set_data_dtype(np.int16)
    found, _ = mri.preprocess_volume(stored(integers, tmp_path / "integers.nii.gz"), SETTINGS)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_features_do_not_depend_on_the_scale_of_intensities(anatomy, tmp_path):
    expected, _ = mri.preprocess_volume(stored(anatomy, tmp_path / "plain.nii"), SETTINGS)
    brighter = nib.Nifti1Image(anatomy.get_fdata(dtype=np.float32) * 37, anatomy.affine)
    found, _ = mri.preprocess_volume(stored(brighter, tmp_path / "brighter.nii"), SETTINGS)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_features_hardly_depend_on_the_voxel_size(tmp_path):
    mask = mri.brain_mask(2.0)
    features = []
    for size in (2.0, 3.0):
        image = nib.Nifti1Image(mri_simulated._tissues(size), mri.brain_mask(size).affine)
        features.append(mri.preprocess_volume(stored(image, tmp_path / f"{size:g}mm.nii.gz"), SETTINGS)[0])
    assert mask.shape != mri.brain_mask(3.0).shape
    np.testing.assert_allclose(features[1], features[0], atol=0.06)


def test_a_bias_field_is_removed(anatomy, tmp_path):
    expected, _ = mri.preprocess_volume(stored(anatomy, tmp_path / "plain.nii"), SETTINGS)
    ramp = np.linspace(0.8, 1.2, anatomy.shape[1])[None, :, None]
    biased = nib.Nifti1Image(np.float32(anatomy.get_fdata() * ramp), anatomy.affine)
    found, _ = mri.preprocess_volume(stored(biased, tmp_path / "biased.nii"), SETTINGS)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_big_endian_analyze_is_read_and_moved_onto_the_template(tmp_path):
    data = mri_simulated._tissues(3.0)
    affine = mri.brain_mask(3.0).affine
    expected, _ = mri.preprocess_volume(stored(nib.Nifti1Image(data, affine), tmp_path / "mni.nii"), SETTINGS)
    header = nib.AnalyzeHeader(endianness=">")
    header.set_data_dtype(">i2")
    flipped = np.rint(data[::-1] * 1000).astype(np.int16)[..., None]
    image = nib.AnalyzeImage(flipped, None, header)
    image.header.set_zooms((3.0, 3.0, 3.0, 1.0))
    image = nib.AnalyzeImage(flipped, image.header.get_best_affine(), image.header)
    path = stored(image, tmp_path / "oasis.img").with_suffix(".hdr")
    assert path.read_bytes()[:4] == (348).to_bytes(4, "big")
    found, _ = mri.preprocess_volume(path, SETTINGS)
    assert np.corrcoef(found, expected)[0, 1] > 0.97


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.9999])
def test_a_truncated_file_is_named(cohort, tmp_path, kept):
    content = next(cohort.acquired.glob("sub-*/anat/*_T1w.nii.gz")).read_bytes()
    path = tmp_path / "short_T1w.nii.gz"
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(UserError, match=r"short_T1w\.nii\.gz.*truncated.*copy"):
        mri.read_volume(path)


@pytest.mark.parametrize("name", ["short.nii", "short.img"])
def test_a_truncated_uncompressed_file_is_named(anatomy, tmp_path, name):
    image = anatomy if name.endswith("nii") else nib.AnalyzeImage(anatomy.get_fdata(dtype=np.float32), None)
    path = stored(image, tmp_path / name)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(UserError, match=rf"{name}.*truncated"):
        mri.read_volume(path)


def test_a_damaged_byte_is_found_by_the_checksum(cohort, tmp_path):
    content = bytearray(next(cohort.acquired.glob("sub-*/anat/*_T1w.nii.gz")).read_bytes())
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "damaged.nii.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged\.nii\.gz.*corrupt"):
        mri.read_volume(path)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (np.zeros((20, 20, 20)), "every voxel is 0"),
        (np.full((20, 20, 20), 7.0), "every voxel is 7"),
        (np.full((20, 20, 20), np.nan), "no number at all"),
        (np.where(np.arange(8000).reshape(20, 20, 20) == 5, np.inf, 1.0), "infinite"),
        (np.random.default_rng(0).random((20, 20, 20, 3)), "expected one 3D volume"),
        (np.random.default_rng(0).random((20, 20, 1)), "not a slice"),
        (np.random.default_rng(0).random((20, 20)), "expected one 3D volume"),
    ],
)
def test_what_is_no_head_is_refused(tmp_path, data, complaint):
    path = stored(nib.Nifti1Image(data.astype(np.float32), np.eye(4)), tmp_path / "odd.nii.gz")
    with pytest.raises(UserError, match=rf"odd\.nii\.gz.*{complaint}"):
        mri.read_volume(path)


def test_files_that_are_no_volumes_are_refused(tmp_path):
    (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"not a volume"))
    with pytest.raises(UserError, match=r"text\.nii\.gz"):
        mri.read_volume(tmp_path / "text.nii.gz")
    with pytest.raises(UserError, match=r"absent\.nii.*no such file"):
        mri.read_volume(tmp_path / "absent.nii")


def test_a_volume_elsewhere_than_in_mni_space_is_refused(anatomy, tmp_path):
    affine = anatomy.affine.copy()
    affine[:3, 3] += 90
    path = stored(nib.Nifti1Image(anatomy.get_fdata(dtype=np.float32), affine), tmp_path / "away.nii.gz")
    with pytest.raises(UserError, match=r"away\.nii\.gz: fills .* register"):
        mri.preprocess_volume(path, SETTINGS)


def test_parcels_are_mirror_images_of_each_other():
    place = mri.regions(6.0, 4)
    left, right = place.centres[:4], place.centres[4:]
    assert place.names[0] == "left_01"
    assert place.names[4] == "right_01"
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=6)
    assert (np.diff(left[:, 1]) > 0).all()


def test_more_parcels_than_voxels_are_refused():
    with pytest.raises(UserError, match=r"preprocessing\.parcels: found 5000"):
        mri.regions(6.0, 5000)


def test_atrophy_widens_ventricles_and_thins_grey_matter(tmp_path):
    source = source_of(voxel_size=4.0)
    table = []
    for atrophy in (0.1, 1.0):
        for number in range(3):
            image = mri_simulated.simulate_volume(source, number, atrophy)
            table.append(mri.preprocess_volume(stored(image, tmp_path / "one.nii.gz"), SETTINGS)[0])
    names = mri.feature_names(SETTINGS)
    healthy, ill = (pd.DataFrame(rows, columns=names).mean() for rows in (table[:3], table[3:]))
    assert ill["csf_ventricles"] > healthy["csf_ventricles"]
    assert ill["csf_periventricular"] > healthy["csf_periventricular"]
    assert ill["fraction_grey"] < healthy["fraction_grey"]
    assert ill["fraction_csf"] > healthy["fraction_csf"]


def test_acquire_and_preprocess_give_the_same_bytes_twice(cohort, tmp_path):
    mri_simulated.acquire(cohort.source, tmp_path / "acquired", {}, [])
    again = preprocess_all(cohort.source, tmp_path / "acquired", tmp_path / "preprocessed")
    assert bytes_of(tmp_path / "acquired") == bytes_of(cohort.acquired)
    for modality, folders in again.items():
        for new, old in zip(folders, cohort.preprocessed[modality], strict=True):
            assert bytes_of(new) == bytes_of(old)


def test_a_subject_does_not_depend_on_the_others(cohort, tmp_path):
    larger = source_of(subjects=12, without_mri=0.0, chunk_size=2)
    mri_simulated.acquire(larger, tmp_path / "acquired", {}, [])
    small, large = bytes_of(cohort.acquired), bytes_of(tmp_path / "acquired")
    volumes = [name for name in small if name.endswith(".nii.gz")]
    assert all(small[name] == large[name] for name in volumes)
    chunk = tmp_path / "chunk"
    mri_simulated.preprocess(larger, "t1w", "001", tmp_path / "acquired", chunk)
    alone = read_table(chunk / "features.parquet").set_index("sample")
    together = pd.concat([read_table(f / "features.parquet") for f in cohort.preprocessed["t1w"]]).set_index("sample")
    shared = alone.index.intersection(together.index)
    assert len(shared) > 0
    pd.testing.assert_frame_equal(alone.loc[shared], together.loc[shared])


def test_the_cohort_is_balanced_labelled_as_simulated_and_partly_without_mri(cohort):
    people = pd.read_csv(cohort.acquired / "participants.tsv", sep="\t")
    assert people["diagnosis"].value_counts().tolist() == [3, 3, 3]
    assert "SIMULATED" in (cohort.acquired / "dataset_description.json").read_text()
    assert len(list(cohort.acquired.glob("sub-*/anat/*_T1w.nii.gz"))) == 7


def test_a_missing_mri_is_among_the_exclusions(cohort):
    found = mri_simulated.assemble(cohort.source, cohort.acquired, cohort.preprocessed)
    absent = set(found.samples["sample"]) - set(found.features["t1w"]["sample"])
    assert len(absent) == 2
    assert set(found.exclusions["sample"]) == absent
    assert set(found.exclusions["modality"]) == {"t1w"}
    assert set(found.exclusions["reason"]) == {"no T1w image"}
    for table in found.features.values():
        assert (table.dtypes.iloc[1:] == np.float32).all()


def test_without_diagnosis_or_any_modality_a_subject_is_out(cohort, tmp_path):
    acquired = shutil.copytree(cohort.acquired, tmp_path / "acquired")
    people = pd.read_csv(acquired / "participants.tsv", sep="\t", dtype="str", keep_default_na=False)
    scanned = people["participant_id"].map(lambda name: mri_simulated.t1w_file(acquired, name).exists())
    unnamed, empty = people["participant_id"][scanned].iloc[0], people["participant_id"][~scanned].iloc[0]
    people.loc[people["participant_id"] == unnamed, "diagnosis"] = "n/a"
    people.to_csv(acquired / "participants.tsv", sep="\t", index=False)
    scores = pd.read_csv(acquired / "phenotype" / "cognition.tsv", sep="\t", dtype="str", keep_default_na=False)
    scores.loc[scores["participant_id"] == empty, scores.columns[1:]] = "n/a"
    scores.to_csv(acquired / "phenotype" / "cognition.tsv", sep="\t", index=False)
    folder = tmp_path / "cognition"
    mri_simulated.preprocess(cohort.source, "cognition", "all", acquired, folder)

    found = mri_simulated.assemble(cohort.source, acquired, cohort.preprocessed | {"cognition": [folder]})
    out = found.exclusions[found.exclusions["modality"] == ""].set_index("sample")["reason"]
    assert out.to_dict() == {unnamed: "no diagnosis", empty: "no modality"}
    for table in (found.samples, *found.features.values()):
        assert not {unnamed, empty} & set(table["sample"])


def test_a_chunk_without_any_mri_has_an_empty_table_with_all_columns(cohort, tmp_path):
    acquired = tmp_path / "acquired"
    acquired.mkdir()
    shutil.copy(cohort.acquired / "participants.tsv", acquired)
    mri_simulated.preprocess(cohort.source, "t1w", "000", acquired, tmp_path / "chunk")
    table = read_table(tmp_path / "chunk" / "features.parquet")
    assert len(table) == 0
    assert list(table.columns) == ["sample", *mri.feature_names(SETTINGS)]


def test_the_figure_has_the_same_bytes_twice(cohort, tmp_path):
    samples = mri_simulated.assemble(cohort.source, cohort.acquired, cohort.preprocessed).samples
    for name in ("first", "second"):
        mri_simulated.look(cohort.source, samples, cohort.preprocessed, tmp_path / name)
    assert (tmp_path / "first" / "template_slice.svg").stat().st_size > 1000
    assert bytes_of(tmp_path / "first") == bytes_of(tmp_path / "second")

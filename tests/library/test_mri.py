"""The simulated MRI source, from volumes to samples."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from metafusion.config.mri import MriPreprocessing
from metafusion.config.sources import MriSimulated
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


def test_acquire_and_preprocess_give_the_same_bytes_twice(cohort, tmp_path):
    mri_simulated.acquire(cohort.source, tmp_path / "acquired", {}, [])
    again = preprocess_all(cohort.source, cohort.acquired, tmp_path / "preprocessed")
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


def test_people_have_the_age_and_sex_of_the_participants(cohort):
    written = pd.read_csv(cohort.acquired / "participants.tsv", sep="\t", dtype="str", keep_default_na=False)
    people = mri_simulated.assemble(cohort.source, cohort.acquired, cohort.preprocessed).people
    assert list(people.columns) == ["sample", "age", "sex"]
    assert people["sample"].tolist() == written["participant_id"].tolist()
    assert people["age"].map("{:g}".format).tolist() == written["age"].replace("n/a", "nan").tolist()
    assert people["sex"].fillna("n/a").tolist() == written["sex"].tolist()


def test_a_broken_volume_is_among_the_exclusions_with_its_reason(cohort, tmp_path):
    acquired = shutil.copytree(cohort.acquired, tmp_path / "acquired")
    broken = min(acquired.glob("sub-*/anat/*_T1w.nii.gz"))
    broken.write_bytes(broken.read_bytes()[:-3000])
    mri_simulated.preprocess(cohort.source, "t1w", "000", acquired, tmp_path / "chunk")
    folders = [tmp_path / "chunk", *cohort.preprocessed["t1w"][1:]]
    found = mri_simulated.assemble(cohort.source, acquired, cohort.preprocessed | {"t1w": folders})
    reasons = found.exclusions.set_index("sample")["reason"]
    assert reasons[broken.parts[-3]] == "MRI file is truncated or corrupt"
    assert (reasons.drop(broken.parts[-3]) == "no T1w image").all()
    assert broken.parts[-3] not in set(found.features["t1w"]["sample"])


def test_a_small_volume_becomes_a_modality(cohort, tmp_path):
    source = source_of(preprocessing=SETTINGS.model_copy(update={"volume": 18.0}))
    assert source.modality_names == ["t1w", "volume", "cognition"]
    mri_simulated.preprocess(source, "t1w", "001", cohort.acquired, tmp_path)
    found = mri_simulated.assemble(source, cohort.acquired, cohort.preprocessed | {"t1w": [tmp_path]})
    assert set(found.features) == {"t1w", "volume", "cognition"}
    assert found.features["volume"]["sample"].tolist() == found.features["t1w"]["sample"].tolist()
    assert found.features["volume"].shape[1] == 1 + np.prod(mri.volume_shape(source.preprocessing))
    assert set(found.exclusions["modality"]) == {"t1w", "volume"}


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


def test_an_atlas_is_an_input_of_the_volumes_only(tmp_path):
    source = source_of(preprocessing=SETTINGS.model_copy(update={"atlas": tmp_path / "atlas.nii"}))
    assert source.inputs_of("t1w", "000") == [tmp_path / "atlas.nii"]
    assert source.inputs_of("cognition", "all") == []
    assert source_of().inputs_of("t1w", "000") == []

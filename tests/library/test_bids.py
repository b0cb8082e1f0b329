"""Folders in the layout of BIDS: which volumes are taken, whose they are, and what tables say of them."""

import logging
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from lookalikes import write_analyze, write_bids, write_nifti, write_rows

from metafusion.config.load import load_experiment, validate
from metafusion.config.models import Experiment
from metafusion.config.mri import MriPreprocessing
from metafusion.config.sources import Bids
from metafusion.errors import UserError
from metafusion.files import read_table, write_table
from metafusion.preprocess import mri
from metafusion.preprocess.atlas import regions
from metafusion.preprocess.template import brain_mask, template
from metafusion.sources import bids, volumes

ROOT = Path(__file__).parents[2]
COARSE = {"resolution": 6.0, "parcels": 4, "align": "none"}
TABLES = {"tests": {"file": "phenotype/tests.tsv", "drop": ["note"]}, "profile": {"columns": ["age", "sex"]}}
WHOLE = {
    "target": "diagnosis",
    "tables": TABLES,
    "maps": {"grey": "derivatives/cat12/**/mwp1sub-*_T1w.nii*"},
    "chunk_size": 2,
    "preprocessing": COARSE | {"volume": 30},
}


def source_of(folder, **options):
    return validate(Bids, {"kind": "bids", "folder": str(folder), "target": "diagnosis"} | options, "mine.yaml")


def prepared(source, folder, units=None):
    done = {}
    for unit, chunks in source.chunks.items():
        if units is None or unit in units:
            done[unit] = [folder / unit / chunk for chunk in chunks]
            for chunk, place in zip(chunks, done[unit], strict=True):
                place.mkdir(parents=True)
                bids.preprocess(source, unit, chunk, None, place)
    return done


def tables_alone(folder, place, **options):
    """Assemble a folder without its volumes."""
    source = source_of(folder, volumes=[], **({"tables": {"profile": {"columns": ["age"]}}} | options))
    return bids.assemble(source, None, prepared(source, place))


def out(assembled):
    rows = assembled.exclusions[assembled.exclusions["modality"] == ""]
    return dict(zip(rows["sample"], rows["reason"], strict=True))


def lacking(assembled, modality):
    rows = assembled.exclusions[assembled.exclusions["modality"] == modality]
    return dict(zip(rows["sample"], rows["reason"], strict=True))


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    """The look-alike with its volumes, maps and tables, preprocessed; not to be changed."""
    folder = tmp_path_factory.mktemp("bids")
    source = source_of(write_bids(folder / "data", each=2), **WHOLE)
    with pytest.MonkeyPatch.context() as patch:
        # Pictures take half of the time and are tested elsewhere.
        patch.setattr(mri, "draw", lambda *_: None)
        return source, prepared(source, folder / "done")


def test_samples_are_those_chosen_by_hand(brains):
    source, folders = brains
    found = bids.assemble(source, None, folders)
    sessions = [f"sub-{number:02d}_ses-{session}" for number in range(1, 5) for session in (1, 2)]
    assert sorted(found.samples["sample"]) == [*sessions, "sub-92"]
    samples = found.samples.set_index("sample")
    assert samples.loc["sub-02_ses-1"].tolist() == ["sub-02", "ses-1", "AD"]
    assert samples.loc["sub-92"].tolist() == ["sub-92", "", "AD"]
    assert out(found) == {
        "sub-01_ses-1_run-2_T1w.nii.gz": "another run of the session",
        **dict.fromkeys(["sub-93_ses-1", "sub-93_ses-2"], "no row in the table"),
        **dict.fromkeys(["sub-91_ses-1", "sub-91_ses-2"], "no label"),
    }
    assert lacking(found, "t1w") == {"sub-92": "no T1w volume"}
    assert lacking(found, "volume") == {"sub-92": "no T1w volume"}
    assert lacking(found, "grey") == {"sub-92": "no map"}
    assert lacking(found, "tests") == {"sub-92": "no row in the modality's table"}
    assert len(found.exclusions) == 5 + 4


def test_a_table_of_people_holds_for_all_their_sessions_and_a_table_of_sessions_goes_before_it(brains):
    source, folders = brains
    found = bids.assemble(source, None, folders)
    recall = found.features["tests"].set_index("sample")["recall"]
    assert recall[["sub-03_ses-1", "sub-03_ses-2", "sub-04_ses-2"]].tolist() == [2, 2, 3]
    ages = found.features["profile"].set_index("sample")["age"]
    # The first session of sub-01 says n/a and the second 62; participants.tsv says 60.
    assert ages[["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1", "sub-02_ses-2"]].tolist() == [60, 62, 61, 61]
    people = found.people.set_index("sample")
    assert people["age"]["sub-01_ses-2"] == 62
    assert people["sex"].isna()["sub-01_ses-1"]
    assert people["sex"]["sub-02_ses-2"] == "M"


def test_volumes_of_several_shapes_have_the_same_features(brains):
    source, folders = brains
    quality = mri.quality_table(folders["t1w"])
    assert len(set(quality["shape"])) > 1
    found = bids.assemble(source, None, folders)
    assert len(found.features["t1w"]) == len(found.features["volume"]) == 8
    assert list(found.features["t1w"])[1:] == mri.feature_names(source.preprocessing)
    assert found.features["volume"].shape[1] - 1 == np.prod(mri.volume_shape(source.preprocessing))


def test_maps_become_means_by_region(brains, tmp_path):
    source, folders = brains
    found = pd.concat([read_table(folder / "features.parquet") for folder in folders["grey"]], ignore_index=True)
    assert found["sample"].str.startswith("sub-").all()
    assert len(found) == 12
    # A map that is 0.25 on the left and 0.75 on the right, on a grid that has nothing to do with ours.
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = -100, -130, -90
    left = (np.arange(41) * 5 - 100 < 0)[:, None, None]
    halves = np.broadcast_to(np.where(left, 0.25, 0.75), (41, 50, 40)).astype(np.float32)
    name = "derivatives/cat12/sub-01/anat/mwp1sub-01_T1w.nii"
    write_nifti(nib.Nifti1Image(halves, affine), tmp_path / name)
    outside = nib.Nifti1Image(halves, affine + np.array([[0, 0, 0, 500.0], *[[0, 0, 0, 0]] * 3]))
    write_nifti(outside, tmp_path / name.replace("sub-01", "sub-02"))
    place = tmp_path / "done"
    place.mkdir()
    alone = source_of(tmp_path, volumes=[], maps=source.maps, preprocessing=COARSE)
    bids.preprocess(alone, "grey", "000", None, place)
    (row,) = read_table(place / "features.parquet").set_index("sample").itertuples()
    place_of = regions(MriPreprocessing(**COARSE))
    for region, centre in zip(place_of.names, place_of.centres, strict=True):
        if abs(centre[0]) > 25:
            assert getattr(row, f"mean_{region}") == pytest.approx(0.25 if centre[0] < 0 else 0.75, abs=0.06)
    assert row.Index == "sub-01"
    (lost,) = read_table(place / "excluded.tsv").itertuples()
    assert (lost.sample, lost.reason) == ("sub-02", "map does not lie in the MNI brain")
    with pytest.raises(UserError, match=r"mwp1sub-02_T1w\.nii.*MNI space"):
        bids.preprocess(
            source_of(tmp_path, volumes=[], maps=source.maps, preprocessing=COARSE | {"on_broken": "stop"}),
            "grey",
            "000",
            None,
            place,
        )


def test_maps_whose_place_is_unknown_or_doubtful_are_told(tmp_path, caplog):
    grey = nib.Nifti1Image(template("grey", 4.0), brain_mask(4.0).affine)
    for subject, shift in (("sub-01", 0), ("sub-02", 70)):
        affine = grey.affine + np.array([*[[0, 0, 0, 0]] * 2, [0, 0, 0, shift], [0, 0, 0, 0]])
        write_nifti(nib.Nifti1Image(grey.dataobj, affine), tmp_path / f"{subject}.nii")
    contradicting = nib.Nifti1Image(grey.dataobj, grey.affine)
    contradicting.set_qform(grey.affine + np.array([[0, 0, 0, 30.0], *[[0, 0, 0, 0]] * 3]), code=1)
    contradicting.set_sform(grey.affine, code=4)
    nib.save(contradicting, tmp_path / "sub-03.nii")
    write_analyze(grey, tmp_path / "sub-04.img")
    source = source_of(tmp_path, volumes=[], maps={"grey": "sub-*"}, preprocessing=COARSE)
    with caplog.at_level(logging.WARNING, "metafusion"):
        bids.preprocess(source, "grey", "000", None, tmp_path)
    (lost,) = read_table(tmp_path / "excluded.tsv").itertuples()
    assert (lost.sample, lost.reason) == ("sub-04", "map has no origin")
    assert "sub-04.hdr" in lost.detail
    told = {record.getMessage().split(":")[0]: record.getMessage() for record in caplog.records}
    assert set(told) == {"sub-02", "sub-03", "sub-04 is left out"}
    assert "values lie inside the template's brain" in told["sub-02"]
    assert "sform and qform lie up to 30 mm apart" in told["sub-03"]


CELLS = st.sampled_from([None, "n/a", "1"])
"""No row, no value or a value."""


@settings(max_examples=15)
@given(people=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=2, max_size=6), strict=st.booleans())
def test_who_is_in_and_who_is_out_are_all_that_was_found(tmp_path_factory, people, strict):
    folder = tmp_path_factory.mktemp("found")
    names = [f"sub-{number}" for number in range(len(people))]
    # Two people without gaps, as a table without any value is refused.
    people = {"sub-a": ("1", "1", "1"), "sub-b": ("1", "1", "1")} | dict(zip(names, people, strict=True))
    for place, file in enumerate(("participants.tsv", "one.tsv", "two.tsv")):
        rows = [{"participant_id": name, "x": cells[place]} for name, cells in people.items() if cells[place]]
        write_rows(folder / file, ("participant_id", "x"), rows, "n/a")
    for file in ("one.tsv", "two.tsv"):
        (folder / file).write_text((folder / file).read_text().replace("\tx\n", "\ty\n"))
    tables = {"one": {"file": "one.tsv"}, "two": {"file": "two.tsv"}}
    required = ["two"] if strict else []
    found = tables_alone(folder, folder / "done", target="x", tables=tables, require=required)
    expected = {
        name
        for name, (label, one, two) in people.items()
        if label == "1" and "1" in (one, two) and (two == "1" or not strict)
    }
    assert set(found.samples["sample"]) == expected
    assert set(out(found)) == {name for name, cells in people.items() if any(cells)} - expected
    lacks_one = {name for name in expected if people[name][1] != "1"}
    assert set(lacking(found, "one")) == lacks_one
    assert set(found.features["one"]["sample"]) == expected - lacks_one
    assert len(found.exclusions) == len(found.exclusions.drop_duplicates(["sample", "modality"]))


# Which volumes


def test_the_experiment_for_a_bids_folder_takes_what_its_page_lists(brains, tmp_path):
    experiment = load_experiment(ROOT / "config/experiments/alzheimers_bids.yaml")
    assert experiment.source.preprocessing.align == "affine"
    # The volumes were worked on for other tests, at another resolution; here are the tables that the page has.
    whole, done = brains
    memory = [
        {"participant_id": "sub-01", "examiner": "B", "recall": 8, "naming": -4},
        {"participant_id": "sub-02", "examiner": "A", "recall": 3, "naming": 12},
    ]
    shutil.copytree(whole.folder, tmp_path / "data")
    write_rows(tmp_path / "data/phenotype/memory.tsv", tuple(memory[0]), memory, "n/a")
    changes = {"folder": tmp_path / "data", "chunk_size": whole.chunk_size, "preprocessing": whole.preprocessing}
    source = experiment.source.model_copy(update=changes)
    tables = prepared(source, tmp_path, experiment.source.tables)
    found = bids.assemble(source, None, {"t1w": done["t1w"]} | tables)

    assert set(found.features) - {"volume"} == set(experiment.representations)
    sessions = [f"sub-{number:02d}_ses-{session}" for number in range(1, 5) for session in (1, 2)]
    assert found.samples["sample"].tolist() == sessions
    assert found.samples["target"].tolist() == [*["control"] * 2, *["AD"] * 2] * 2
    assert experiment.positive in set(found.samples["target"])
    assert out(found)["sub-92"] == "no T1w volume"
    recalled = found.features["memory"].set_index("sample")
    assert list(recalled) == ["recall", "naming"]
    np.testing.assert_array_equal(recalled.loc["sub-01_ses-2"], [8, np.nan])
    assert recalled.index.tolist() == sessions[:4]
    profile = found.features["profile"].set_index("sample")
    assert list(profile) == ["age", "sex=F", "sex=M", "education"]
    assert profile.loc["sub-02_ses-2"].tolist() == [61, 0, 1, 11]
    assert len(found.features["t1w"]) == 8
    assert set(experiment.subgroups) <= set(found.people)


def test_what_the_page_adds_to_the_experiment_is_valid():
    page = (ROOT / "docs/data/bids.md").read_text()
    added = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    given = yaml.safe_load((ROOT / "config/experiments/alzheimers_bids.yaml").read_text())
    both = {key: given[key] | added[key] for key in added}
    experiment = validate(Experiment, given | both, "docs/data/bids.md")
    assert set(experiment.representations) == set(experiment.source.modality_names)


def scans_of(folder, **options):
    (listing,) = source_of(folder, **options).listings.values()
    return [str(scan.path.relative_to(folder)) for scan in listing.scans]


def test_runs_are_taken_by_name_or_as_listed(tmp_path):
    runs = [f"sub-01/anat/sub-01_run-{run}_T1w.nii.gz" for run in (1, 2, 10)]
    touched(tmp_path, *runs, "sub-02/anat/sub-02_run-10_T1w.nii.gz", "sub-02/anat/._sub-02_run-1_T1w.nii.gz")
    assert scans_of(tmp_path) == [runs[0], "sub-02/anat/sub-02_run-10_T1w.nii.gz"]
    assert scans_of(tmp_path, runs=["run-10", "run-2"]) == [runs[2], "sub-02/anat/sub-02_run-10_T1w.nii.gz"]
    # run-1 is not run-10.
    assert scans_of(tmp_path, runs=["run-1"]) == [runs[0]]
    with pytest.raises(UserError, match=r"none of the 4 volumes.*'runs'.*run-3"):
        scans_of(tmp_path, runs=["run-3"])


def test_sessions_are_all_the_first_or_as_listed(tmp_path):
    sessions = [f"sub-01/ses-{session}/anat/sub-01_ses-{session}_T1w.nii" for session in (2, 10)]
    touched(tmp_path, *sessions)
    assert scans_of(tmp_path) == sessions
    assert scans_of(tmp_path, sessions="first") == sessions[:1]
    assert scans_of(tmp_path, sessions=["10"]) == scans_of(tmp_path, sessions=["ses-10"]) == sessions[1:]
    with pytest.raises(UserError, match=r"none of the volumes is asked for.*sub-01_ses-2"):
        scans_of(tmp_path, sessions=["ses-3"])


def found_in(folder, name):
    (scan,) = source_of(touched(folder, name), volumes=["**/*.nii"]).listings["t1w"].scans
    return scan.subject, scan.session


@pytest.mark.parametrize(
    ("name", "subject", "session"),
    [
        ("derivatives/analyses-v1/sub-01/anat/sub-01_T1w.nii", "sub-01", ""),
        ("nosub-7/sub-01/anat/sub-01_T1w.nii", "sub-01", ""),
        ("cat12/ses-2/sub-01/mwp1sub-01_ses-2_run-1_T1w.nii", "sub-01", "ses-2"),
        ("fs/sub-01_ses-2.long.sub-01/mri/T1.nii", "sub-01", "ses-2"),
        ("fsl/sub-01_T1w.anat/T1_brain.nii", "sub-01", ""),
        ("flat/sub-01_T1w_brain.nii", "sub-01", ""),
        ("sub-01/grey_matter_of_sub-01_in_mni_space.nii", "sub-01", ""),
    ],
)
def test_subject_and_session_are_whole_words_of_the_path(tmp_path, name, subject, session):
    assert found_in(tmp_path, name) == (subject, session)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sub-pat-01/anat/sub-pat-01_T1w.nii", ["'sub-pat-01'", "letters and digits only", "rename"]),
        ("sub-é1/anat/sub-é1_T1w.nii", ["'sub-é1'", "letters and digits only"]),
        ("sub-_3/anat/sub-_3_T1w.nii", ["'sub-'", "letters and digits only"]),
        ("sub-01/ses-a-1/anat/sub-01_ses-a-1_T1w.nii", ["'ses-a-1'", "letters and digits only"]),
        ("sub-002_S_0295/anat/T1.nii", ["'sub-002_S_0295'", "unclear where the name of the subject ends", "rename"]),
        ("flat/sub-002_S_0295_T1w.nii", ["'sub-002_S_0295_T1w'", "unclear"]),
        ("flat/sub-pat_01.nii", ["'sub-pat_01'", "unclear"]),
        ("sub-01/anat/sub-02_T1w.nii", ["may be of sub-01 or of sub-02", "the same name"]),
        ("sub-01/ses-1/anat/sub-01_ses-2_T1w.nii", ["may be of ses-1 or of ses-2"]),
    ],
)
def test_a_path_whose_person_is_unclear_is_refused(tmp_path, name, words):
    with pytest.raises(UserError) as error:
        found_in(tmp_path, name)
    for word in [name, *words]:
        assert word in str(error.value)


def test_volumes_of_freesurfer_and_endings_in_capitals_are_found(tmp_path):
    names = [f"sub-0{number}/anat/sub-0{number}_T1w" for number in range(1, 5)]
    files = [name + ending for name, ending in zip(names, (".mgz", ".NII.GZ", ".Nii", ".HDR"), strict=True)]
    touched(tmp_path, *files, names[3] + ".IMG", names[0] + ".json")
    assert scans_of(tmp_path) == files
    source = source_of(tmp_path)
    pair = [str(file.relative_to(tmp_path)) for file in source.inputs_of("t1w", "000")[-2:]]
    assert pair == [names[3] + ".HDR", names[3] + ".IMG"]
    only_data = source_of(tmp_path, volumes=["**/*.IMG"]).listings["t1w"].scans
    assert [scan.path.name for scan in only_data] == ["sub-04_T1w.HDR"]


@pytest.mark.parametrize("order", [1, -1])
def test_names_that_differ_in_leading_zeros_only_have_one_order(tmp_path, monkeypatch, order):
    files = ["sub-01/anat/sub-01_T1w.nii", "sub-1/anat/sub-1_T1w.nii", "sub-001/anat/sub-001_T1w.nii"]
    touched(tmp_path, *files)
    monkeypatch.setattr("metafusion.config.volumes.glob", lambda *_, **__: files[::order])
    assert scans_of(tmp_path) == ["sub-001/anat/sub-001_T1w.nii", files[0], files[1]]


def test_derivatives_are_named_by_a_pattern(tmp_path):
    stem = "sub-01_space-MNI152NLin2009cAsym_desc-preproc_T1w.nii.gz"
    touched(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", f"derivatives/fmriprep/sub-01/anat/{stem}")
    wanted = "derivatives/fmriprep/sub-*/**/anat/*_desc-preproc_T1w.nii.gz"
    assert scans_of(tmp_path, volumes=[wanted]) == [f"derivatives/fmriprep/sub-01/anat/{stem}"]


def test_a_folder_without_volumes_says_what_was_looked_for_and_what_is_there(tmp_path):
    touched(tmp_path, "participants.tsv", "subject1/T1.nii.gz")
    with pytest.raises(UserError) as error:
        _ = source_of(tmp_path).chunks
    for word in ("no volume found", "sub-*/ses-*/anat/*_T1w.*", "participants.tsv, subject1/", "subject1/T1.nii.gz"):
        assert word in str(error.value)


def test_a_missing_folder_is_told_before_its_table(tmp_path):
    for ask in ("user_files", "chunks"):
        with pytest.raises(UserError, match=r"nowhere: no such folder.*'folder'"):
            getattr(source_of(tmp_path / "nowhere"), ask)


def test_two_maps_of_a_sample_and_files_of_nobody_are_refused(tmp_path):
    touched(tmp_path, "maps/sub-01_a.nii", "maps/sub-01_b.nii", "other/group.nii")
    with pytest.raises(UserError, match=r"two maps of sub-01.*narrow.*'maps\.grey'"):
        _ = source_of(tmp_path, volumes=[], maps={"grey": "maps/*.nii"}).chunks
    with pytest.raises(UserError, match=r"group\.nii: has no name of a subject.*'maps\.grey'"):
        _ = source_of(tmp_path, volumes=[], maps={"grey": "other/*.nii"}).chunks


def test_volumes_are_aligned_unless_the_user_says_that_they_are(tmp_path):
    assert source_of(tmp_path).preprocessing.align == "affine"
    assert source_of(tmp_path, preprocessing={"resolution": 2.0}).preprocessing.align == "affine"
    assert source_of(tmp_path, preprocessing={"align": "none"}).preprocessing.align == "none"


def test_volumes_that_a_person_throws_out_are_not_preprocessed_and_their_samples_keep_the_rest(tmp_path):
    names = ("sub-01", "sub-02", "sub-03")
    rows = [{"participant_id": name, "diagnosis": "AD", "age": 70 + number} for number, name in enumerate(names)]
    write_rows(tmp_path / "participants.tsv", ("participant_id", "diagnosis", "age"), rows, "n/a")
    touched(tmp_path, *(f"{name}/anat/{name}_T1w.nii" for name in names))
    options = {"exclude": ["sub-02"], "tables": {"profile": {"columns": ["age"]}}, "preprocessing": COARSE}
    source = source_of(tmp_path, **options)
    assert [file.name for file in source.inputs_of("t1w", "000")] == ["sub-01_T1w.nii", "sub-03_T1w.nii"]
    found = bids.assemble(source, None, prepared(source, tmp_path / "done"))
    assert found.samples["sample"].tolist() == list(names)
    # The other two are empty files.
    assert lacking(found, "t1w")["sub-02"] == "volume left out by name"
    assert set(lacking(found, "t1w")) == set(names)
    with pytest.raises(UserError, match=r"exclude: no volume of 'sub-2' was found; did you mean 'sub-02'"):
        _ = source_of(tmp_path, exclude=["sub-2"]).chunks
    with pytest.raises(UserError, match="'exclude' leaves none of the 3 volumes"):
        _ = source_of(tmp_path, exclude=list(names)).chunks


def test_a_mistake_in_the_table_shows_before_any_volume_is_worked_on(tmp_path):
    touched(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    (tmp_path / "participants.tsv").write_text("participant_id,diagnosis\nsub-01,AD\n")
    with pytest.raises(UserError, match=r"participants\.tsv: no column .* its header is one column, .*with tabs"):
        bids.preprocess(source_of(tmp_path), "t1w", "000", None, tmp_path / "done")
    (tmp_path / "participants.tsv").write_text("participant_id\tdiagnoses\nsub-01\tAD\n")
    with pytest.raises(UserError, match=r"participants\.tsv: no column 'diagnosis'.*did you mean 'diagnoses'"):
        bids.preprocess(source_of(tmp_path), "t1w", "000", None, tmp_path / "done")
    assert not (tmp_path / "done").exists()


def test_who_has_a_broken_volume_and_nothing_else_is_out_for_that(tmp_path):
    rows = [{"participant_id": name, "diagnosis": "AD", "age": age} for name, age in (("sub-01", 70), ("sub-02", None))]
    write_rows(tmp_path / "participants.tsv", ("participant_id", "diagnosis", "age"), rows, "n/a")
    touched(tmp_path, *(f"{name}/anat/{name}_T1w.nii" for name in ("sub-01", "sub-02")))
    source = source_of(tmp_path, tables={"profile": {"columns": ["age"]}}, preprocessing=COARSE)
    found = bids.assemble(source, None, prepared(source, tmp_path / "done"))
    assert found.samples["sample"].tolist() == ["sub-01"]
    broken = read_table(tmp_path / "done/t1w/000/excluded.tsv").set_index("sample")["reason"]
    assert out(found) == {"sub-02": broken["sub-02"]}


def test_links_to_nothing_are_named(tmp_path):
    write_rows(tmp_path / "participants.tsv", ("participant_id", "diagnosis"), [{"participant_id": "sub-01"}], "n/a")
    touched(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/x")
    os.symlink("nowhere", tmp_path / "sub-02/anat/sub-02_T1w.nii.gz")
    source = source_of(tmp_path)
    assert [scan.sample for scan in source.listings["t1w"].lost] == ["sub-02"]
    assert [file.name for file in source.inputs_of("t1w", "000")] == ["sub-01_T1w.nii.gz"]
    (tmp_path / "sub-01/anat/sub-01_T1w.nii.gz").unlink()
    os.symlink("nowhere", tmp_path / "sub-01/anat/sub-01_T1w.nii.gz")
    with pytest.raises(UserError, match=r"all 2 volumes are links to nothing.*datalad get"):
        _ = source_of(tmp_path).chunks


def test_an_atlas_is_an_input_of_the_volumes_and_must_be_there(tmp_path):
    touched(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    source = source_of(tmp_path, preprocessing={"atlas": str(tmp_path / "atlas.nii.gz")})
    with pytest.raises(UserError, match=r"preprocessing: .*atlas\.nii\.gz: no such file"):
        _ = source.chunks
    assert source.inputs_of("t1w", "000")[-1] == tmp_path / "atlas.nii.gz"


def test_a_folder_that_changed_after_planning_is_told(tmp_path):
    touched(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    write_rows(tmp_path / "participants.tsv", ("participant_id", "diagnosis"), [{"participant_id": "sub-01"}], "n/a")
    with pytest.raises(UserError, match=r"t1w: no chunk 003.*changed since the run was"):
        bids.preprocess(source_of(tmp_path), "t1w", "003", None, tmp_path / "done")


# Tables


def people_of(folder, rows, header=("participant_id", "age", "diagnosis")):
    write_rows(folder / "participants.tsv", header, rows, "n/a")
    return folder


ROWS = [
    {"participant_id": f"sub-{number:02d}", "age": 60 + number, "diagnosis": "AD" if number % 2 else "control"}
    for number in range(1, 5)
]


def test_names_without_their_prefix_are_understood(tmp_path):
    rows = [row | {"participant_id": row["participant_id"][4:], "session_id": "1"} for row in ROWS]
    people_of(tmp_path, rows, ("participant_id", "session_id", "age", "diagnosis"))
    found = tables_alone(tmp_path, tmp_path / "done")
    assert found.samples["sample"].tolist() == [f"sub-{number:02d}_ses-1" for number in range(1, 5)]
    assert found.samples["subject"].tolist() == [f"sub-{number:02d}" for number in range(1, 5)]


@pytest.mark.parametrize("name", ["sub-002_S_0295", "002_S_0295", "sub-pat-01", "é1", "_3", "sub-"])
@pytest.mark.parametrize("key", ["participant_id", "session_id"])
def test_names_in_tables_are_refused_if_they_might_be_cut(tmp_path, name, key):
    rows = [row | {"session_id": "1"} for row in ROWS]
    rows[1] |= {key: name.replace("sub-", "ses-") if key == "session_id" else name}
    people_of(tmp_path, rows, ("participant_id", "session_id", "age", "diagnosis"))
    with pytest.raises(UserError) as error:
        tables_alone(tmp_path, tmp_path / "done")
    prefix = key[:3].replace("par", "sub") + "-"
    whole = prefix + name.removeprefix("sub-")
    for word in ("participants.tsv", f"{key!r}, row 3", f"found the name {whole!r}", "letters and digits", "rename"):
        assert word in str(error.value)


def test_a_table_of_sessions_belongs_to_the_subject_of_its_folder(tmp_path):
    people_of(tmp_path, ROWS)
    for name, words in (("sub-02", "folder of another subject, sub-01"), ("sub-01_S_2", "'sub-01_S_2'")):
        table = tmp_path / f"sub-01/{name}_sessions.tsv"
        write_rows(table, ("session_id", "age"), [{"session_id": "1", "age": 5}], "n/a")
        with pytest.raises(UserError, match=f"{name}_sessions.*{words}"):
            tables_alone(tmp_path, tmp_path / name)
        table.unlink()
    rows = [{"participant_id": "sub-02", "session_id": "1"}]
    write_rows(tmp_path / "sub-01/sub-01_sessions.tsv", ("participant_id", "session_id"), rows, "n/a")
    with pytest.raises(UserError, match=r"sub-01_sessions\.tsv: column 'participant_id' holds sub-02, expected sub-01"):
        tables_alone(tmp_path, tmp_path / "done")


def write_sessions(folder, subject, *rows):
    """Write a subject's table of sessions; each row has a session and an age, and maybe a diagnosis."""
    header = ("session_id", "age", "diagnosis")[: max(map(len, rows))]
    named = [dict(zip(header, row, strict=False)) for row in rows]
    write_rows(folder / subject / f"{subject}_sessions.tsv", header, named, "n/a")


def test_each_session_is_one_row_where_both_tables_tell_of_sessions(tmp_path):
    rows = [
        {"participant_id": subject, "session_id": f"ses-{session}", "age": age, "diagnosis": word}
        for subject, session, age, word in [
            ("sub-01", 1, 61, "AD"),
            ("sub-01", 2, 62, "AD"),
            ("sub-02", 1, 71, "control"),
            ("sub-03", 1, 81, "AD"),
        ]
    ]
    people_of(tmp_path, rows, ("participant_id", "session_id", "age", "diagnosis"))
    write_sessions(tmp_path, "sub-01", ("ses-2", "n/a", "control"), ("ses-3", 63, "AD"), ("ses-1", 60.5, "n/a"))
    write_sessions(tmp_path, "sub-02", ("ses-1", "n/a", "n/a"))
    found = tables_alone(tmp_path, tmp_path / "done")
    told = found.samples.merge(found.people[["sample", "age"]], on="sample").drop(columns=["subject", "session"])
    assert told.to_numpy().tolist() == [
        ["sub-01_ses-1", "AD", 60.5],
        ["sub-01_ses-2", "control", 62],
        ["sub-02_ses-1", "control", 71],
        ["sub-03_ses-1", "AD", 81],
        ["sub-01_ses-3", "AD", 63],
    ]
    ages = found.features["profile"].set_index("sample")["age"]
    assert ages.to_dict() == {sample: age for sample, _, age in told.to_numpy()}


def test_rows_that_stand_twice_never_come_together(tmp_path):
    source = source_of(people_of(tmp_path, ROWS), volumes=[], tables={"profile": {"columns": ["age"]}})
    rows = pd.DataFrame({"sample": ["sub-01", "sub-01"], "target": ["AD", "control"]})
    visits = pd.DataFrame({"sample": ["sub-01"], "subject": ["sub-01"], "session": [""]})
    features = {"profile": pd.DataFrame({"sample": ["sub-01"], "age": np.float32([61])})}
    with pytest.raises(ValueError, match="more than one row: sub-01"):
        volumes.join(source, rows, visits, features, {}, "participants.tsv", "not asked for")


@pytest.mark.parametrize("columns", [["age"], ["weight"]])
def test_the_first_session_is_the_same_whatever_columns_are_used(tmp_path, columns):
    header = ("participant_id", "weight", "diagnosis")
    people_of(tmp_path, [row | {"weight": number} for number, row in enumerate(ROWS[:2])], header)
    for subject in ("sub-01", "sub-02"):
        write_sessions(tmp_path, subject, ("ses-1", 60), ("ses-2", 61))
    tests = [{"participant_id": "sub-01", "session_id": "ses-2", "recall": 5}]
    write_rows(tmp_path / "tests.tsv", ("participant_id", "session_id", "recall"), tests, "n/a")
    tables = {"profile": {"columns": columns}, "tests": {"file": "tests.tsv"}}
    found = tables_alone(tmp_path, tmp_path / "done", tables=tables, sessions="first", people=["diagnosis"])
    assert found.samples["sample"].tolist() == ["sub-01_ses-1", "sub-02_ses-1"]
    assert out(found) == dict.fromkeys(["sub-01_ses-2", "sub-02_ses-2"], "not among the sessions asked for")


def test_volumes_with_and_without_a_session_are_two_samples_of_the_person(tmp_path):
    people_of(tmp_path, ROWS[:2])
    names = ["sub-01", "sub-01_ses-2", "sub-02_ses-1"]
    paths = ["sub-01/anat/sub-01", "sub-01/ses-2/anat/sub-01_ses-2", "sub-02/ses-1/anat/sub-02_ses-1"]
    touched(tmp_path, *(f"{path}_T1w.nii" for path in paths))
    chunk = tmp_path / "chunk"
    write_table(pd.DataFrame({"sample": names, "grey": np.float32([1, 2, 3])}), chunk / "features.parquet")
    write_table(pd.DataFrame({"sample": [], "reason": []}, dtype="str"), chunk / "excluded.tsv")
    found = bids.assemble(source_of(tmp_path), None, {"t1w": [chunk]})
    samples = found.samples.sort_values("sample")
    assert samples["sample"].tolist() == names
    assert samples["session"].tolist() == ["", "ses-2", "ses-1"]
    assert samples["target"].tolist() == ["AD", "AD", "control"]
    assert found.exclusions.empty


def test_the_target_may_be_said_by_session(tmp_path):
    people_of(
        tmp_path, [{"participant_id": f"sub-{number}", "age": 70} for number in (1, 2)], ("participant_id", "age")
    )
    for number, diagnoses in ((1, ("control", "AD")), (2, ("control", "n/a"))):
        rows = [{"session_id": f"ses-{place}", "diagnosis": word} for place, word in enumerate(diagnoses, start=1)]
        write_rows(tmp_path / f"sub-{number}/sub-{number}_sessions.tsv", ("session_id", "diagnosis"), rows, "n/a")
    found = tables_alone(tmp_path, tmp_path / "done")
    assert found.samples["target"].tolist() == ["control", "AD", "control"]
    assert out(found) == {"sub-2_ses-2": "no label"}
    first = tables_alone(tmp_path, tmp_path / "first", sessions="first")
    assert first.samples["sample"].tolist() == ["sub-1_ses-1", "sub-2_ses-1"]
    assert out(first) == dict.fromkeys(["sub-1_ses-2", "sub-2_ses-2"], "not among the sessions asked for")


def test_codes_for_missing_values_hold_where_they_are_named(tmp_path):
    rows = [ROWS[0] | {"diagnosis": "unknown"}, ROWS[1] | {"age": -4}, *ROWS[2:]]
    people_of(tmp_path, rows)
    tables = {"profile": {"columns": ["age"], "missing": ["-4"], "missing_indicators": True}}
    found = tables_alone(tmp_path, tmp_path / "done", tables=tables, missing=["unknown"])
    assert out(found) == {"sub-01": "no label", "sub-02": "no value in the table"}


def test_a_target_of_numbers_stays_one_and_the_site_is_known(tmp_path):
    header = ("participant_id", "age", "diagnosis", "site")
    people_of(tmp_path, [row | {"site": f"site{number % 2}"} for number, row in enumerate(ROWS)], header)
    tables = {"profile": {"columns": ["diagnosis"]}}
    found = tables_alone(tmp_path, tmp_path / "done", target="age", tables=tables, people={"centre": "site"})
    assert found.samples["target"].tolist() == [61, 62, 63, 64]
    assert list(found.people) == ["sample", "centre"]
    usual = tables_alone(tmp_path, tmp_path / "usual", tables={"profile": {"columns": ["age"]}})
    assert list(usual.people) == ["sample", "age", "site"]
    assert usual.people["site"].tolist() == ["site0", "site1", "site0", "site1"]


def test_the_target_is_no_feature(tmp_path, caplog):
    write_rows(people_of(tmp_path, ROWS) / "phenotype/tests.tsv", ("participant_id", "diagnosis", "age"), ROWS, "n/a")
    with caplog.at_level(logging.INFO, "metafusion"):
        found = tables_alone(tmp_path, tmp_path / "done", tables={"tests": {"file": "phenotype/tests.tsv"}})
    assert list(found.features["tests"]) == ["sample", "age"]
    assert "'diagnosis' is the target and no feature" in caplog.text


@pytest.mark.parametrize("name", ["Diagnosis", "DIAGNOSIS", "Session_ID"])
def test_the_target_under_another_case_is_refused_unless_it_is_dropped(tmp_path, name):
    rows = [row | {name: row["diagnosis"]} for row in ROWS]
    write_rows(people_of(tmp_path, ROWS) / "tests.tsv", ("participant_id", name, "age"), rows, "n/a")
    with pytest.raises(UserError, match=rf"tests\.tsv: tables\.tests: column '{name}' is the .*but for case.*'drop'"):
        tables_alone(tmp_path, tmp_path / "done", tables={"tests": {"file": "tests.tsv"}})
    dropped = {"tests": {"file": "tests.tsv", "drop": [name]}}
    found = tables_alone(tmp_path, tmp_path / "again", tables=dropped)
    assert list(found.features["tests"]) == ["sample", "age"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tables": {"profile": {"columns": ["age", "diagnosis"]}}}, ["tables.profile", "'diagnosis' is the target"]),
        ({"tables": {"a": {"columns": ["DIAGNOSIS"]}}}, ["tables.a.columns: 'DIAGNOSIS' is the target, 'diagnosis'"]),
        ({"tables": {"a": {"columns": ["x"], "levels": {"x": ["low"]}}}}, ["tables.a.levels", "two levels or more"]),
        (
            {"tables": {"a": {"columns": ["x"], "types": {"x": "numeric"}, "levels": {"x": ["low", "high"]}}}},
            ["levels: 'x' is numeric"],
        ),
        ({"people": ["sample"]}, ["people", "'sample'", "{other_name: sample}"]),
        ({"people": {"target": "age"}}, ["people", "'target'"]),
        ({"tables": {"profile": {}}}, ["tables.profile", "'columns' must be named"]),
        ({"tables": {"t1w": {"columns": ["age"]}}}, ["'t1w' stands for two modalities"]),
        ({"volumes": []}, ["there is no modality"]),
        ({"volumes": ["/data/*.nii"]}, ["leads out of the folder"]),
        ({"require": ["tw1"]}, ["require", "did you mean 't1w'"]),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(tmp_path, options, words):
    with pytest.raises(UserError) as error:
        source_of(tmp_path, **options)
    for word in ["mine.yaml", *words]:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([*ROWS, ROWS[0]], {}, ["participants.tsv", "more than one row for sub-01", "session_id"]),
        ([*ROWS, {"age": 3}], {}, ["participants.tsv", "'participant_id' has no value in row 6"]),
        (ROWS, {"target": "dx"}, ["participants.tsv", "no column 'dx'", "diagnosis"]),
        (ROWS, {"tables": {"a": {"columns": ["Age"]}}}, ["participants.tsv", "no column 'Age'", "did you mean 'age'"]),
        ([{"participant_id": "sub-01", "age": 3}], {}, ["participants.tsv", "'diagnosis'", "no row has a value"]),
    ],
)
def test_a_mistake_in_participants_is_named(tmp_path, rows, options, words):
    people_of(tmp_path, rows)
    with pytest.raises(UserError) as error:
        tables_alone(tmp_path, tmp_path / "done", **options)
    for word in words:
        assert word in str(error.value)


def test_words_in_one_table_and_numbers_in_another_are_refused(tmp_path):
    people_of(tmp_path, ROWS)
    write_rows(
        tmp_path / "sub-01/sub-01_sessions.tsv", ("session_id", "age"), [{"session_id": "1", "age": "old"}], "n/a"
    )
    with pytest.raises(UserError, match=r"'age' holds numbers in .*participants\.tsv and words in .*sub-01_sessions"):
        tables_alone(tmp_path, tmp_path / "done")


def test_volumes_of_other_people_than_the_table_s_are_refused(brains, tmp_path):
    _, folders = brains
    people_of(tmp_path, [row | {"participant_id": f"P{number}"} for number, row in enumerate(ROWS)])
    touched(tmp_path, *(f"sub-0{number}/anat/sub-0{number}_T1w.nii" for number in (1, 2)))
    with pytest.raises(UserError, match=r"none of the 2 volumes.*sub-01, sub-02.*sub-P0.*the same names"):
        bids.assemble(source_of(tmp_path), None, {"t1w": folders["t1w"]})

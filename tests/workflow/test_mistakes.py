"""Mistakes of users: one clear message, exit code not 0, before any training, nothing half-written."""

import copy
import re

import pandas as pd
import pytest
import torch
from conftest import TABLES, Study, write_tables

pytestmark = pytest.mark.workflow


def changed(experiment=TABLES, /, **keys):
    experiment = copy.deepcopy(experiment)
    for path, value in keys.items():
        *parents, last = path.split("__")
        place = experiment
        for parent in parents:
            place = place[parent]
        place[last] = value
    return experiment


def edit(folder, change):
    path = folder / "data/samples.csv"
    change(pd.read_csv(path)).to_csv(path, index=False)


# One for each way of finding them; the others are in the tests of the library.
CONFIGURATION = {
    "misspelt key": (changed(cohort__epoch=3), ["tiny.yaml: cohort", "'epoch'", "did you mean 'epochs'"]),
    "missing file": (
        changed(source__modalities__scan__file="data/scans.tsv"),
        ["tiny.yaml", "data/scans.tsv: no such file", "relative to the folder"],
    ),
}


@pytest.mark.parametrize("case", CONFIGURATION)
def test_a_mistake_in_the_configuration_stops_before_any_job(tables_study, case):
    experiment, words = CONFIGURATION[case]
    tables_study.write({"tiny": experiment})
    printed = tables_study.fail()
    for word in words:
        assert word in printed
    assert "Traceback" not in printed
    assert not (tables_study.folder / "results").exists()


def _truncate(folder):
    path = folder / "data/blood.parquet"
    pd.read_csv(folder / "data/blood.csv").to_parquet(path)
    path.write_bytes(path.read_bytes()[:200])


# One modality is enough.
BLOOD = changed(representations={"blood": ["raw", 2]}, source__modalities={"blood": {"file": "data/blood.csv"}})
# One for each rule that finds mistakes, and for each way of finding them; the others are in the tests of the library.
DATA = {
    "constant target": (
        BLOOD,
        lambda folder: edit(folder, lambda table: table.assign(diagnosis="well")),
        "assemble_samples",
        ["data/samples.csv: column 'diagnosis' (target): constant", "'well'"],
    ),
    "unknown positive class": (
        changed(BLOOD, positive="ill"),
        lambda folder: None,
        "assemble_samples",
        ["positive: the target has no class 'ill'", "Known:"],
    ),
    "unknown column of subgroups": (
        changed(BLOOD, subgroups={"agee": [70]}, source__samples__people={"age": "years"}),
        lambda folder: edit(folder, lambda table: table.assign(years=70)),
        "assemble_samples",
        ["subgroups: nothing is known of 'agee'", "did you mean 'age'"],
    ),
    "too many components": (
        changed(BLOOD, representations__blood=["raw", 5, 200]),
        lambda folder: None,
        "split_samples",
        ["blood: sizes 200, at most 5 (", "lower these sizes"],
    ),
    "truncated parquet": (
        changed(BLOOD, source__modalities__blood__file="data/blood.parquet"),
        _truncate,
        "preprocess_chunk",
        ["blood.parquet"],
    ),
    "subject in two given parts": (
        BLOOD,
        lambda folder: edit(folder, lambda table: table.assign(part=["train", "test"] + ["train"] * (len(table) - 2))),
        "assemble_samples",
        ["more than one part", "'p00'", "split: {unit: sample}"],
    ),
}


def name_of(case):
    return case.replace(" ", "_")


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A run of all mistakes in data, an experiment each: the study, what it printed, and what of each experiment."""
    study = Study(tmp_path_factory.mktemp("spoilt"))
    experiments = {}
    for case, (experiment, spoil, *_) in DATA.items():
        folder = study.folder / name_of(case)
        folder.mkdir()
        write_tables(folder)
        spoil(folder)
        source = experiment["source"]
        experiments[folder.name] = changed(
            experiment,
            source__samples__file=f"{folder.name}/{source['samples']['file']}",
            source__modalities__blood__file=f"{folder.name}/{source['modalities']['blood']['file']}",
        )
    study.write(experiments)
    targets = [f"results/{name}/cohort/1-2/selection.tsv" for name in experiments]
    printed = study.fail("--keep-going", *targets)
    said = re.findall(r"^ERROR in (\w+) \(experiment (\w+).*?\):\n(.*?)\n\(log: ", printed, re.MULTILINE | re.DOTALL)
    return study, printed, {name: (rule, message) for rule, name, message in said}


@pytest.mark.parametrize("case", DATA)
def test_a_mistake_in_the_data_is_said_and_leaves_nothing_behind(spoilt, case):
    study, _, said = spoilt
    *_, rule, words = DATA[case]
    found, message = said[name_of(case)]
    assert found == rule
    for word in words:
        assert word in message
    results = study.folder / "results" / name_of(case)
    failed = {"assemble_samples": ["samples.parquet", "features"], "split_samples": ["splits/*"]}
    assert [path for pattern in failed.get(rule, ["preprocessed/*/*"]) for path in results.glob(pattern)] == []
    assert list(results.rglob("*.unfinished")) == []


def test_mistakes_in_the_data_stop_before_training_and_are_said_once(spoilt):
    _, printed, said = spoilt
    assert len(said) == printed.count("ERROR in ") == printed.count("Error in rule") == len(DATA)
    assert "Traceback" not in printed
    assert "rule train_cohort" not in printed


MRI = {
    "title": "A tiny simulated cohort",
    "task": "classification",
    "source": {
        "kind": "mri_simulated",
        "subjects": 9,
        "voxel_size": 8,
        "preprocessing": {"resolution": 8, "parcels": 2, "on_broken": "stop"},
    },
    "representations": {"t1w": ["raw", "absent"]},
}


def test_a_truncated_volume_is_named(study):
    study.write({"cut": MRI})
    study.succeed("resources/sources/cut")
    file = min((study.folder / "resources/sources/cut").rglob("sub-*T1w.nii.gz"))
    file.write_bytes(file.read_bytes()[:-3000])
    printed = study.fail()
    assert "Error in rule preprocess_chunk" in printed
    assert file.name in printed
    assert "Traceback" not in printed
    assert "rule train_cohort" not in printed
    assert not list((study.folder / "results/cut/preprocessed").glob("t1w/*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_said_so(copy_of):
    printed = copy_of.fail("results/tiny/cohort/1-2/selection.tsv", "--config", "device=cuda")
    assert "ERROR in train_cohort (experiment tiny, block 1-2)" in printed
    assert "device: 'cuda' was asked for, but this machine shows 0 GPUs" in printed
    assert "Traceback" not in printed

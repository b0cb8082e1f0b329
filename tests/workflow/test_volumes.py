"""Volumes in a folder of the user's: broken ones do not stop a job, and nothing is preprocessed again in vain."""

import os
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.workflow

EXPERIMENT = {
    "title": "A tiny BIDS folder",
    "task": "classification",
    "source": {
        "kind": "bids",
        "folder": "data",
        "target": "diagnosis",
        "chunk_size": 3,
        "preprocessing": {"resolution": 8, "parcels": 2, "align": "none"},
    },
    "representations": {"t1w": ["raw", "absent"]},
}
CHUNKS = [f"results/tiny/preprocessed/t1w/00{number}" for number in (0, 1)]


def write_volume(study, name):
    path = study.folder / "data" / name / "anat" / f"{name}_T1w.nii"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no volume")


def chunks_run(printed):
    return {line.split("chunk=")[1] for line in printed.splitlines() if "modality=t1w, chunk=" in line}


def test_a_chunk_reruns_with_its_own_volumes_and_settings_and_with_no_others(study):
    for number in range(1, 6):
        write_volume(study, f"sub-{number}")
    (study.folder / "data/participants.tsv").write_text("participant_id\tdiagnosis\tx\nsub-1\tAD\t1\n")
    study.write({"tiny": EXPERIMENT})
    assert chunks_run(study.succeed(*CHUNKS)) == {"000", "001"}
    excluded = [pd.read_csv(study.folder / chunk / "excluded.tsv", sep="\t") for chunk in CHUNKS]
    assert sorted(name for table in excluded for name in table["sample"]) == [f"sub-{n}" for n in range(1, 6)]

    # What a chunk is made from are its volumes, and no table.
    os.utime(study.folder / "data/participants.tsv")
    assert chunks_run(study.succeed(*CHUNKS, "--dry-run")) == set()
    study.change("tiny", source=EXPERIMENT["source"] | {"target": "x", "require": ["t1w"]})
    assert chunks_run(study.succeed(*CHUNKS, "--dry-run")) == set()
    study.change(
        "tiny", source=EXPERIMENT["source"] | {"preprocessing": {"resolution": 6, "parcels": 2, "align": "none"}}
    )
    assert chunks_run(study.succeed(*CHUNKS, "--dry-run")) == {"000", "001"}
    study.write({"tiny": EXPERIMENT})
    write_volume(study, "sub-6")
    assert len(chunks_run(study.succeed(*CHUNKS, "--dry-run"))) == 1


def test_who_is_a_sample_is_known_from_the_volumes_and_the_table_of_oasis(study, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "library")
    from lookalikes import write_oasis1

    table = write_oasis1(study.folder / "data", each=2)
    source = {"kind": "oasis1", "folder": "data", "table": f"data/{table.name}", "require": ["t1w"], "chunk_size": 100}
    alone = {"clinical": [], "mri_table": [], "preprocessing": EXPERIMENT["source"]["preprocessing"]}
    study.write({"tiny": EXPERIMENT | {"source": source | alone, "seeds": 1}})
    study.succeed("results/tiny/tables/flow.tsv")

    results = study.folder / "results/tiny"
    samples = pd.read_parquet(results / "samples.parquet").set_index("sample")["target"].to_dict()
    controls, impaired = (1, 2, 92), (3, 4, 5, 6)
    expected = {f"OAS1_{number:04d}_MR1": "control" for number in controls}
    assert samples == expected | {f"OAS1_{number:04d}_MR1": "impaired" for number in impaired}
    exclusions = pd.read_csv(results / "exclusions.tsv", sep="\t", keep_default_na=False)
    assert dict(zip(exclusions["sample"], exclusions["reason"], strict=True)) == {
        "OAS1_0091_MR2": "not the first scan or visit of the person",
        "OAS1_0092_MR2": "not the first scan or visit of the person",
        "OAS1_0094_MR1": "no row in the table",
        "OAS1_0091_MR1": "no label",
        "OAS1_0093_MR1": "no T1w volume",
        "OAS1_0095_MR1": "MRI file is truncated or corrupt",
    }
    flow = pd.read_csv(results / "tables/flow.tsv", sep="\t", keep_default_na=False)
    whole = flow[flow["modality"] == ""]
    assert whole["samples_left"].tolist() == [13, 11, 10, 9, 8, 7]
    assert (results / "figures/flow.svg").exists()

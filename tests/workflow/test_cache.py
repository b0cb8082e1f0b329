"""The cache between workflows: public data and what is made of them come out of it, and nothing of a user goes in."""

import pytest
from conftest import TABLES, Study, write_tables

# Beside make faults, as it runs whole workflows twice for a key that few set.
pytestmark = [pytest.mark.workflow, pytest.mark.faults]

MRI = {
    "title": "A tiny simulated cohort",
    "task": "classification",
    "source": {
        "kind": "mri_simulated",
        "subjects": 9,
        "voxel_size": 8,
        "chunk_size": 5,
        "preprocessing": {"resolution": 8, "parcels": 2},
    },
    "representations": {"t1w": ["raw", "absent"]},
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(folder))
    return folder


def study_in(folder, experiments):
    folder.mkdir()
    study = Study(folder)
    study.write(experiments)
    return study


def test_public_data_and_their_preprocessing_are_taken_from_the_cache(tmp_path, cache):
    first = study_in(tmp_path / "first", {"one": MRI})
    first.succeed("--cache", "--until", "preprocess_chunk")
    made = first.bytes_of("one/preprocessed/*/*/[!.]*")
    chunks = list((first.folder / "results/one/preprocessed").glob("*/*"))
    # Chunks are told from one another, and from the data that they are made from.
    assert len(list(cache.iterdir())) == 1 + len(chunks) == 4
    second = study_in(tmp_path / "second", {"two": MRI})
    second.succeed("--cache", "--until", "preprocess_chunk")
    # Snakemake makes an empty log for a job that did not run.
    logs = list((second.folder / "logs").rglob("*.log"))
    assert [path.stat().st_size for path in logs] == [0] * 4
    # Snakemake's own mark stands in folders that came out of the cache only.
    taken = second.bytes_of("two/preprocessed/*/*/[!.]*")
    assert {name.replace("two/", "one/", 1): content for name, content in taken.items()} == made
    assert len(list(cache.iterdir())) == 4


def test_nothing_of_a_users_data_goes_into_the_cache(tmp_path, cache):
    study = study_in(tmp_path / "mine", {"tiny": TABLES})
    write_tables(study.folder)
    study.succeed("--cache", "--until", "preprocess_chunk")
    assert len(list((study.folder / "results/tiny/preprocessed").iterdir())) == 2
    assert list(cache.iterdir()) == []

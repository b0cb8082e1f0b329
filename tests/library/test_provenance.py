"""The record of what results were made from, and what is found when it no longer holds."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from metafusion.config.bids import Bids
from metafusion.config.models import Experiment
from metafusion.errors import UserError
from metafusion.workflow import layout, provenance, verify

ROOT = Path(__file__).parents[2]
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""SHA-256 of 'abc', as FIPS 180-2 gives it."""
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""That of nothing."""


def lay(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder of results with a record, made by code of its own, from a file of a user's."""
    monkeypatch.chdir(tmp_path)
    lay(
        tmp_path,
        {
            "code/metafusion/__init__.py": "",
            "code/metafusion/work.py": "thing = 1\n",
            "code/scripts/train.py": "import metafusion.work\n",
            "code/requirements.txt": "numpy==1.0\nno-such-package==1.0\n",
            "data/table.csv": "abc",
            "results/one/tables/summary.tsv": "abc",
            "results/one/features/blood.parquet": "",
            "results/one/features/.snakemake_timestamp": "",
            "results/one/cohort/1/.unfinished/state.safetensors": "half",
            "logs/one/train/1.json": json.dumps(note("results/one/features")),
            "logs/one/train/2.json": json.dumps(note("results/one/of_another_configuration")),
        },
    )
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "code")
    content = recorded(tmp_path)
    (tmp_path / "results/one/provenance.json").write_text(json.dumps(content))
    (tmp_path / "results/one/provenance.tsv").write_text("")
    return tmp_path / "results/one"


def note(output, **more):
    said = {"rule": "train", "outputs": [output], "code": None, "started": "2026-01-01", "seconds": 2.5, "threads": 1}
    return {**said, "device": "cpu", **more}


def recorded(root, **configuration):
    outputs = ["results/one/tables/summary.tsv", "results/one/features"]
    code = provenance.code_hash(root / "code/scripts/train.py", root / "code")
    return provenance.record(
        Path("results/one"),
        outputs,
        provenance.checksums(["data/table.csv"]),
        {"train": {"script": "train", "modules": [], "code": code}},
        {"seeds": [1, 2], **configuration},
        {"threads": 3},
        provenance.notes_of(Path("logs/one"), outputs),
    )


def test_sums_of_files_and_folders_are_those_of_the_standard(results):
    content = json.loads((results / "provenance.json").read_text())
    assert content["outputs"] == {
        "tables/summary.tsv": {"bytes": 3, "sha256": ABC},
        "features/blood.parquet": {"bytes": 0, "sha256": EMPTY},
    }
    assert content["inputs"] == {"data/table.csv": {"bytes": 3, "sha256": ABC}}


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.csv: cannot be read \(No such file"):
        provenance.checksums([tmp_path / "gone.csv"])


def test_a_record_says_versions_and_what_is_not_installed(results):
    import numpy

    content = json.loads((results / "provenance.json").read_text())
    assert content["packages"] == {"numpy": numpy.__version__, "no-such-package": None}
    assert content["layout"] == layout.LAYOUT


def test_only_notes_of_what_is_there_are_taken(results):
    content = json.loads((results / "provenance.json").read_text())
    assert [one["outputs"] for one in content["run"]["stages"]] == [["results/one/features"]]


def test_a_record_without_its_run_is_the_same_again(results, tmp_path):
    first, second = recorded(tmp_path), recorded(tmp_path)
    assert {**first, "run": None} == {**second, "run": None}


def test_nothing_is_found_where_all_is_as_recorded(results, tmp_path):
    assert provenance.findings(results, tmp_path / "code") == []


CHANGES = {
    "a table": (lambda root: (root / "results/one/tables/summary.tsv").write_text("abd"), "output tables/summary.tsv"),
    "a longer table": (
        lambda root: (root / "results/one/tables/summary.tsv").write_text("abcd"),
        "output tables/summary.tsv",
    ),
    "an input": (lambda root: (root / "data/table.csv").write_text("ABC"), "input data/table.csv"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_file_is_found(results, tmp_path, what):
    change, said = CHANGES[what]
    change(tmp_path)
    assert provenance.findings(results, tmp_path / "code") == [f"{said}: changed"]


def test_missing_and_unknown_files_are_found_each_on_a_line(results, tmp_path):
    (results / "features/blood.parquet").unlink()
    (tmp_path / "data/table.csv").unlink()
    lay(results, {"tables/old.tsv": "", "features/a\nb": ""})
    assert sorted(provenance.findings(results, tmp_path / "code")) == [
        "input data/table.csv: missing",
        r"output 'features/a\nb': made by nothing of the record",
        "output features/blood.parquet: missing",
        "output tables/old.tsv: made by nothing of the record",
    ]


@pytest.mark.parametrize("file", ["metafusion/work.py", "scripts/train.py"])
def test_other_code_is_found(results, tmp_path, file, monkeypatch):
    from metafusion.workflow import code

    (tmp_path / "code" / file).write_text("import metafusion.work  # edited\n")
    # Content is read once a process.
    code._content.cache_clear()
    code._imports.cache_clear()
    assert provenance.findings(results, tmp_path / "code") == ["code of train: other than what was recorded"]


def test_a_job_of_other_code_than_its_stage_is_found(results, tmp_path):
    (tmp_path / "logs/one/train/1.json").write_text(json.dumps(note("results/one/features", code="f" * 16)))
    (results / "provenance.json").write_text(json.dumps(recorded(tmp_path)))
    (said,) = provenance.findings(results, tmp_path / "code")
    assert said == "code of train: results/one/features was made by another than was recorded"


def test_other_packages_are_found(results, tmp_path):
    path = results / "provenance.json"
    content = json.loads(path.read_text())
    content["packages"] = {"numpy": "1.2.3", "no-such-package": None}
    content["python"] = "2.7.0"
    path.write_text(json.dumps(content))
    with (tmp_path / "code/requirements.txt").open("a") as pins:
        pins.write("pandas==1.0\n")
    python, numpy, pandas = provenance.findings(results, tmp_path / "code")
    assert pandas.startswith("package pandas: none was used, ")
    assert python.startswith("Python: 2.7.0 was used, 3.")
    assert numpy.startswith("package numpy: 1.2.3 was used, ")


def test_verify_says_a_line_a_finding_and_ends_with_its_code(results, capsys, monkeypatch):
    assert verify.main(["results"]) == 0
    assert capsys.readouterr().out == "results/one: as recorded\n"
    (results / "tables/summary.tsv").unlink()
    assert verify.main(["results/one"]) == 1
    assert capsys.readouterr().out == "results/one: output tables/summary.tsv: missing\n"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"layout": 1}', '{"layout": "x"}'])
def test_what_is_no_record_is_said_to_be_none(results, content, capsys):
    (results / "provenance.json").write_text(content)
    assert verify.main([str(results)]) == 1
    printed = capsys.readouterr()
    assert "provenance.json" in printed.out
    assert "delete" in printed.out


def test_results_without_a_record_cannot_be_verified(tmp_path, capsys):
    assert verify.main([str(tmp_path)]) == 1
    assert "no such file" in capsys.readouterr().out


def test_the_overview_names_no_file_and_nobody(results, tmp_path):
    lay(tmp_path, {"results/one/tables/sub-01.tsv": "", "data/sub-02.csv": ""})
    content = recorded(tmp_path, source={"exclude": ["sub-03"], "folder": "/home/alice"})
    content["inputs"] = provenance.checksums(["data/sub-02.csv"])
    content["outputs"] = provenance.checksums([results / "tables/sub-01.tsv"], results)
    table = provenance.overview(content)
    text = table.to_csv()
    assert not any(word in text for word in ("sub-", "alice", "table.csv"))
    shown = dict(zip(table["item"], table["value"], strict=True))
    assert shown["seeds"] == "1, 2"
    assert shown["device of training"] == "cpu"
    assert shown["seconds of train, all jobs"] == "2.5"
    assert shown["inputs, files"] == "1"


def test_a_checkout_says_its_commit_and_whether_it_was_changed(tmp_path):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", "-C", tmp_path, *who, *words], check=True, capture_output=True, text=True).stdout

    assert provenance.checkout(tmp_path) is None
    lay(tmp_path, {"a.txt": "", "below/b.txt": ""})
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    assert provenance.checkout(tmp_path) == {"commit": git("rev-parse", "HEAD").strip(), "dirty": False}
    (tmp_path / "a.txt").write_text("edited")
    assert provenance.checkout(tmp_path)["dirty"]
    # A copy of the code in somebody's own repository.
    assert provenance.checkout(tmp_path / "below") is None


def stamped(folder, number):
    folder.mkdir(exist_ok=True)
    (folder / "provenance.json").write_text(json.dumps({"layout": number}))
    return folder


def test_a_layout_of_newer_code_is_refused_and_so_is_one_too_old(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "LAYOUT", 5)
    monkeypatch.setattr(layout, "OLDEST", 3)
    layout.refuse_other_layout(tmp_path)
    for number in (3, 4, 5):
        layout.refuse_other_layout(stamped(tmp_path, number))
    with pytest.raises(UserError, match=r"newer metafusion \(layout 6; this one writes 5\)"):
        layout.refuse_other_layout(stamped(tmp_path, 6))
    with pytest.raises(UserError, match=r"too old to go on from \(layout 2, the oldest is 3\); move the folder away"):
        layout.refuse_other_layout(stamped(tmp_path, 2))


def test_the_inputs_of_a_source_are_all_files_that_anything_is_made_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lay(tmp_path, {"people.tsv": "", "atlas.nii.gz": "", "labels.tsv": ""})
    source = {"kind": "mri_simulated", "preprocessing": {"atlas": "atlas.nii.gz", "atlas_labels": "labels.tsv"}}
    given = {"title": "", "task": "classification", "source": source, "representations": {"t1w": ["raw"]}}
    found = Experiment.model_validate(given).source.input_files
    assert [str(path) for path in found] == ["atlas.nii.gz", "labels.tsv"]


def test_volumes_and_the_table_beside_them_are_inputs(tmp_path):
    lay(tmp_path, {"sub-01/anat/sub-01_T1w.nii.gz": "x", "participants.tsv": "participant_id\tdx\nsub-01\ta\n"})
    source = Bids.model_validate({"kind": "bids", "folder": tmp_path, "target": "dx"})
    found = {str(path.relative_to(tmp_path)) for path in source.input_files}
    assert found == {"participants.tsv", "sub-01/anat/sub-01_T1w.nii.gz"}


def test_large_files_are_read_piece_by_piece(tmp_path, monkeypatch):
    read = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: read.append(file.name) or digest(file, name))
    lay(tmp_path, {"a": "abc"})
    assert provenance.checksums([tmp_path / "a"])[str(tmp_path / "a")]["sha256"] == ABC
    assert read == [str(tmp_path / "a")]


def test_the_page_names_every_key_of_a_record(results):
    page = (ROOT / "docs/provenance.md").read_text()
    content = json.loads((results / "provenance.json").read_text())
    assert [key for key in [*content, *content["run"]] if f"`{key}`" not in page] == []

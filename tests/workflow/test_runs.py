"""Whole runs: what comes out, that it comes out twice the same, and that nothing is done twice."""

import base64
import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.workflow

from conftest import SIMULATION, TABLES, write_tables  # noqa: E402

TABLES_OUT = ["summary", "scores", "differences", "ranks", "students", "penalties", "by_penalty", "by_students"]
TABLES_OUT += ["mutual_learning", "by_subgroup", "splits", "exclusions"]
TABLES_OUT += ["flow", "participants", "leakage", "columns", "quality", "tripod_ai"]
FIGURES_OUT = ["methods", "critical_difference", "cohort", "penalties", "number_of_students", "learning_curves"]
FIGURES_OUT += ["predictions", "reliability", "flow"]


def test_every_table_and_figure_is_there(finished):
    for experiment in ("tiny", "drawn"):
        folder = finished.folder / "results" / experiment
        for name in TABLES_OUT:
            assert (folder / f"tables/{name}.tsv").stat().st_size > 0
        for name in FIGURES_OUT:
            assert "<svg" in (folder / f"figures/{name}.svg").read_text()[:500]


def test_the_summary_has_every_method_with_its_family_and_marks(finished):
    table = pd.read_csv(finished.folder / "results/tiny/tables/summary.tsv", sep="\t", keep_default_na=False)
    assert list(table.columns) == ["method", "family", "metric", "mean", "se", "low", "high", "seeds", "mark"]
    ensembles = ["meta_fusion", "best_single", "simple_average", "weighted_average", "stacking"]
    ensembles += ["majority_vote", "weighted_vote"]
    expected = {
        *ensembles,
        "independent_meta_fusion_reused",
        *(f"independent_{name}" for name in ensembles),
        "early_fusion",
        "late_fusion",
        "prior",
    }
    expected |= {"modality_blood", "modality_scan"}
    expected |= {"logistic_regression", "logistic_regression_blood", "logistic_regression_scan"}
    assert set(table["method"]) == expected
    assert (table["seeds"] == 2).all()
    assert set(table["mark"]) <= {"best", "within_se", ""}
    assert (table[table["mark"] == "best"].groupby("metric").size() >= 1).all()


def test_all_numbers_of_the_tables_are_finite(finished):
    for path in finished.folder.glob("results/*/tables/*.tsv"):
        # Two seeds are too few for a test, and two equal differences have no interval.
        undefined = ["p", "p_corrected", "friedman_p", "low", "high"]
        table = pd.read_csv(path, sep="\t").drop(columns=undefined, errors="ignore")
        assert np.isfinite(table.select_dtypes("number").to_numpy()).all(), path


def test_extractors_are_stored_where_they_are_trained(finished):
    found = sorted(str(path.relative_to(finished.folder)) for path in finished.folder.rglob("*.extractor.safetensors"))
    latents = "results/drawn/latents/1-2"
    assert found == [f"{latents}/first.extractor.safetensors", f"{latents}/second.extractor.safetensors"]
    shapes = {name: array.shape for name, array in load_file(finished.folder / found[0]).items()}
    assert shapes == {
        f"seed_{seed}/encoder/{depth}.{kind}": shape
        for seed in (1, 2)
        for depth, kind, shape in [
            (0, "weight", (5, 12)),
            (0, "bias", (5,)),
            (1, "weight", (3, 5)),
            (1, "bias", (3,)),
        ]
    }
    views = load_file(finished.folder / latents / "second.safetensors")
    assert {name: array.shape for name, array in views.items() if name.startswith("seed_1/")} == {
        "seed_1/conv1d3": (80, 3),
        "seed_1/raw": (80, 8),
        "seed_1/present": (80,),
    }


@pytest.mark.parametrize(
    ("block", "trained", "frozen"), [("tiny/cohort/1-2", "scan", "blood"), ("drawn/cohort/1-2", "second", "first")]
)
def test_students_store_extractors_of_their_own_and_not_what_they_share(finished, block, trained, frozen):
    names = list(load_file(finished.folder / "results" / block / "weights.safetensors"))
    assert any(f"/extractors.{trained}." in name for name in names)
    assert not any(f"/extractors.{frozen}." in name for name in names)


def test_students_and_selection_have_the_documented_columns(finished):
    folder = finished.folder / "results/drawn/cohort/1-2"
    students = pd.read_csv(folder / "students.tsv", sep="\t")
    assert list(students.columns) == ["student", "name", "head", "first", "second"]
    assert students.groupby("head", sort=False).size().to_dict() == {"6": 11, "linear": 11, "4_dropout0.2": 11}
    assert students["name"].is_unique
    selection = pd.read_csv(folder / "selection.tsv", sep="\t")
    assert list(selection.columns) == [
        "seed",
        "penalty",
        "student",
        "teaching",
        "top_cluster",
        "validation_loss",
        "best_epoch",
        "diverged",
        "chosen",
    ]
    assert len(selection) == 2 * 3 * 33
    assert (selection["diverged"] == 0).all()
    assert selection["best_epoch"].between(1, 3).all()
    np.testing.assert_allclose(selection.groupby(["seed", "penalty"])["teaching"].sum(), 1)
    assert (selection[selection["chosen"] == 1].groupby("seed").size() == 33).all()


def test_no_unfinished_state_is_left(finished):
    assert list(finished.folder.rglob("*.unfinished")) == []


def test_the_run_says_where_results_are_and_marks_simulated_data(finished):
    assert "results in results/tiny/" in finished.printed
    assert re.search(r"A tiny simulation \(SIMULATED data\b", finished.printed)
    assert re.search(r"meta_fusion +\d", finished.printed)


def test_missing_scans_are_among_the_exclusions(finished):
    table = pd.read_csv(finished.folder / "results/tiny/tables/exclusions.tsv", sep="\t", keep_default_na=False)
    assert (table["modality"] == "scan").sum() == 6


def test_no_subject_crosses_a_split(finished):
    results = finished.folder / "results/tiny"
    samples = pd.read_parquet(results / "samples.parquet").set_index("sample")
    for seed in (1, 2):
        splits = pd.read_parquet(results / "splits/1-2.parquet")
        parts = splits.groupby(splits["sample"].map(samples["subject"]))[f"seed_{seed}"].nunique()
        assert (parts == 1).all()


def test_a_second_run_does_nothing(finished):
    assert "Nothing to be done" in finished.succeed()


def test_test_rows_influence_nothing_that_is_fitted_or_chosen(finished, copy_of):
    """All test rows become noise: fitted artefacts and predictions of the other parts stay, bit for bit."""
    _spoil_test_rows(copy_of.folder)
    table = "tiny/predictions/1-2.parquet"
    copy_of.succeed(f"results/{table}")
    fitted = ("latents/*/*.transform.*", "cohort/*/history*", "cohort/*/weights*", "cohort/*/sel*", "ensembles/*")
    first, second = (one.bytes_of(*(f"tiny/{kind}" for kind in fitted)) for one in (finished, copy_of))
    assert len(first) == 6
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    both = [pd.read_parquet(one.folder / "results" / table) for one in (finished, copy_of)]
    kept = [table[table["part"] != "test"].reset_index(drop=True) for table in both]
    pd.testing.assert_frame_equal(*kept, check_exact=True)
    tested = [table.loc[table["part"] == "test"].iloc[:, 4].to_numpy() for table in both]
    assert (tested[0] != tested[1]).any(), "the noise did not reach the test rows, so nothing was shown"


def _spoil_test_rows(folder):
    samples = pd.read_csv(folder / "data/samples.csv")
    test = samples["part"] == "test"
    assert test.sum() == 16
    # Other classes too, but each class as often: the class list belongs to the problem, not to the fit.
    samples.loc[test, "diagnosis"] = samples.loc[test, "diagnosis"].to_numpy()[::-1]
    samples.to_csv(folder / "data/samples.csv", index=False)
    for file, separator in (("blood.csv", ","), ("scan.tsv", "\t")):
        table = pd.read_csv(folder / "data" / file, sep=separator)
        rows = table["id"].isin(samples.loc[test, "id"])
        table.loc[rows, table.columns[1:]] = -1000 * table.loc[rows, table.columns[1:]] + 7
        table.to_csv(folder / "data" / file, index=False, sep=separator)


def verified(study, *folders):
    """Verify results with the code of a study; return the exit code and the lines."""
    command = [sys.executable, "-m", "metafusion.workflow.verify", *(folders or ["results"])]
    environment = os.environ | {"PYTHONPATH": str(study.repository)}
    done = subprocess.run(command, cwd=study.folder, env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_a_finished_run_is_as_recorded_with_all_its_files(finished):
    assert verified(finished) == (0, ["results/drawn: as recorded", "results/tiny: as recorded"])
    content = json.loads((finished.folder / "results/tiny/provenance.json").read_text())
    assert set(content["inputs"]) == {"data/samples.csv", "data/blood.csv", "data/scan.tsv"}
    assert content["configuration"]["cohort"]["epochs"] == TABLES["cohort"]["epochs"]
    assert content["configuration"]["cohort"]["patience"] == 0, "a default, as resolved"
    ran = {(note["rule"], note.get("device")) for note in content["run"]["stages"]}
    assert {("train_cohort", "cpu"), ("split_samples", None), ("stack_students", None)} <= ran
    assert all(note["code"] and note["seconds"] > 0 and note["threads"] == 1 for note in content["run"]["stages"])
    assert {note["rule"] for note in content["run"]["stages"]} == {
        stage["script"] for stage in content["code"].values()
    }


def test_what_was_changed_by_hand_is_found(copy_of):
    results = copy_of.folder / "results/tiny"
    (results / "tables/summary.tsv").write_text("better\n")
    (results / "tables/more.tsv").write_text("")
    (results / "cohort/1-2/weights.safetensors").unlink()
    code, lines = verified(copy_of, "results/tiny")
    assert code == 1
    assert sorted(lines) == [
        "results/tiny: output cohort/1-2/weights.safetensors: missing",
        "results/tiny: output tables/more.tsv: made by nothing of the record",
        "results/tiny: output tables/summary.tsv: changed",
    ]


def test_the_report_holds_every_figure_with_its_caption_and_names_nobody(copy_of):
    page = report_of(copy_of)
    named = ["methods compared", "ranks of the methods", "the cohort", "penalties chosen", "number of students"]
    named += ["learning curves", "predictions", "differences between methods", "ranks of methods"]
    named += ["what the results were made from", "flow of samples", "participants", "leakage and suspects"]
    named += ["TRIPOD+AI items", "groups of people", "everything by penalty"]
    for words in named:
        assert words in page
    samples = pd.read_parquet(copy_of.folder / "results/tiny/samples.parquet")
    names = {*samples["sample"], *samples["subject"]}
    assert [name for name in names if name in page] == []
    # The same where it is allowed: those without a scan are among the exclusions.
    allowed = report_of(copy_of, "--config", "ids_in_report=true")
    assert {name for name in samples["sample"] if name in allowed} == {
        f"p{n}_{m}" for n in (27, 28, 29) for m in (1, 2)
    }


def test_what_a_run_without_mistakes_says_names_nobody(finished):
    said = {"terminal": finished.printed}
    said |= {str(path): path.read_text() for path in (finished.folder / "logs").rglob("*") if path.is_file()}
    samples = pd.read_parquet(finished.folder / "results/tiny/samples.parquet")
    assert len(said) > 20
    assert [
        (where, name) for name in {*samples["sample"], *samples["subject"]} for where in said if name in said[where]
    ] == []


def report_of(study, *options):
    """The report, and all tables in it, as text."""
    study.succeed("--report", "report.html", *options)
    page = (study.folder / "report.html").read_text()
    inside = re.findall(r"data:text/[^,;]*[^,]*;base64,([A-Za-z0-9+/=]+)", page)
    assert len(inside) > 10
    return page + "".join(base64.b64decode(text).decode() for text in inside)


def test_as_published_is_another_run_of_the_same_data(finished, copy_of):
    copy_of.change("tiny", protocol="as_published", comparators=[])
    copy_of.succeed("results/tiny/ensembles/1-2.tsv")
    before, after = (one.folder / "results/tiny" for one in (finished, copy_of))
    subjects = pd.read_parquet(after / "samples.parquet").set_index("sample")["subject"]
    crossing = {}
    for name, folder in (("corrected", before), ("as_published", after)):
        splits = pd.read_parquet(folder / "splits/1-2.parquet")
        parts = splits.groupby(splits["sample"].map(subjects))["seed_1"].nunique()
        crossing[name] = int((parts > 1).sum())
        members = pd.read_csv(folder / "ensembles/1-2.tsv", sep="\t").groupby("method")["student"].agg(set)
        selection = pd.read_csv(folder / "cohort/1-2/selection.tsv", sep="\t")
        assert np.isfinite(selection["validation_loss"]).all()
        # There it is the method's only list; otherwise the reused one stands beside it.
        assert ("independent_meta_fusion_reused" in members) == (name == "corrected")
        reused = members.get("independent_meta_fusion_reused", members["independent_meta_fusion"])
        assert reused == members["meta_fusion"]
    assert crossing["corrected"] == 0
    assert crossing["as_published"] > 0
    for name in ("latents/1-2/blood.transform.safetensors", "cohort/1-2/predictions.safetensors", "ensembles/1-2.tsv"):
        assert (before / name).read_bytes() != (after / name).read_bytes()


def job_of(run, rule):
    """The process of a rule's script below a running Snakemake, or None."""
    for process in run.children(recursive=True):
        try:
            if any(word.endswith(f".{rule}.py") for word in process.cmdline()):
                return process
        except psutil.Error:
            # It ended while being asked.
            continue
    return None


def test_a_killed_training_goes_on_and_ends_as_if_it_had_not_been_killed(copy_of):
    copy_of.change("tiny", cohort=TABLES["cohort"] | {"epochs": 100, "dropout": 0.1, "penalties": [0, 1]})
    target = "results/tiny/cohort/1-2/predictions.safetensors"
    states = copy_of.folder / "results/tiny/cohort/1-2/.unfinished"
    run = copy_of.start(target, "--config", "checkpoint_minutes=0.00001")
    try:
        # Two states: the first run of epochs is over, the second one is under way.
        while len(list(states.glob("*.safetensors"))) < 2:
            assert run.poll() is None, "the training ended before it could be killed"
            time.sleep(0.01)
        job_of(run, "train_cohort").kill()
        assert run.wait(60) != 0
        # A kill may also hit a state that is being saved.
        (states / ".group0_penalty2.safetensors.unfinished").write_bytes(b"half")
    finally:
        if run.poll() is None:
            run.kill()
    assert not (copy_of.folder / target).exists()
    copy_of.succeed(target)
    assert re.findall(r"going on after epoch (\d+)", copy_of.log("train_cohort", "tiny/1-2"))[0] == "100"
    continued = copy_of.bytes_of("tiny/cohort/1-2/*")
    assert not states.exists()
    copy_of.succeed(target, "--forcerun", "train_cohort")
    assert "going on" not in copy_of.log("train_cohort", "tiny/1-2")
    undisturbed = copy_of.bytes_of("tiny/cohort/1-2/*")
    assert sorted(continued) == sorted(undisturbed)
    assert len(continued) == 5
    assert [name for name in undisturbed if continued[name] != undisturbed[name]] == []


def test_a_block_that_does_not_fit_the_memory_is_said_so_and_trained_in_parts(copy_of):
    copy_of.change("drawn", cohort=SIMULATION["cohort"] | {"hidden": [128, 128]})
    target = "results/drawn/cohort/1-2/predictions.safetensors"
    printed = copy_of.fail(target, "--set-resources", "train_cohort:mem_mb=735")
    needed, allowed = re.search(
        r"ERROR in train_cohort \(experiment drawn, block 1-2\):\nseed 1: training 33 students takes about (\d+) MB, "
        r"but (\d+) MB are allowed; raise 'memory_mb' in config/config.yaml",
        printed,
    ).groups()
    assert int(needed) > int(allowed)
    assert "Traceback" not in printed
    assert copy_of.bytes_of("drawn/cohort/1-2/*") == {}
    results = []
    for memory in (4000, 735 + int(1.5 * int(needed))):
        copy_of.succeed(target, "--forcerun", "train_cohort", "--set-resources", f"train_cohort:mem_mb={memory}")
        arrays = load_file(copy_of.folder / target)
        results.append((copy_of.log("train_cohort", "drawn/1-2"), arrays["predictions"]))
    (whole, expected), (parted, found) = results
    assert "parts" not in whole
    assert "2 seeds do not fit the memory at once: trained in 2 parts" in parted
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_student_that_diverges_is_named_and_left_out_and_the_others_finish(study):
    """Students that see a modality of enormous numbers as it is leave the numbers; the others do not."""
    write_tables(study.folder, diagnosis=np.arange(60) % 7)
    path = study.folder / "data/scan.tsv"
    scan = pd.read_csv(path, sep="\t", index_col="id")
    (1e25 * scan).to_csv(path, sep="\t")
    changes = {
        "task": "regression",
        "representations": {"blood": ["raw", 2, "absent"], "scan": {"sizes": ["raw", "absent"], "scaling": "none"}},
        "seeds": 1,
        "comparators": ["networks", "linear"],
        "metrics": ["mse"],
    }
    study.write({"wild": TABLES | changes})
    study.succeed("results/wild/tables/summary.tsv")
    folder = study.folder / "results/wild"
    students = pd.read_csv(folder / "cohort/1/students.tsv", sep="\t")
    selection = pd.read_csv(folder / "cohort/1/selection.tsv", sep="\t")
    wild = students["student"][students["scan"] == "raw"].tolist()
    assert len(wild) == 3
    assert (selection["diverged"] == selection["student"].isin(wild)).all()
    assert (np.isinf(selection["validation_loss"]) == selection["diverged"]).all()
    assert (selection["teaching"][selection["diverged"] == 1] == 0).all()
    log = study.log("train_cohort", "wild/1")
    for name in students["name"]:
        said = [f"seed 1, penalty {penalty:g}: student {name} diverged" in log for penalty in (0, 0.99, 3)]
        assert said == [("scan=raw" in name)] * 3
    members = pd.read_csv(folder / "ensembles/1.tsv", sep="\t")
    assert not members["student"].isin(wild).any()
    summary = pd.read_csv(folder / "tables/summary.tsv", sep="\t").set_index("method")
    # Who reads the enormous numbers as they are has no score; stacking reads those of nobody who diverged.
    without = summary.index[summary["mean"].isna()]
    assert {"early_fusion", "modality_scan", "late_fusion"} <= set(without)
    assert np.isfinite(summary.loc[["meta_fusion", "stacking", "modality_blood", "prior"], "mean"]).all()
    assert "early_fusion diverged and has no score" in study.log("train_comparators", "wild/networks_1")
    shown = pd.read_csv(folder / "tables/students.tsv", sep="\t")
    assert set(wild) <= set(shown["student"])

"""Whole runs: what comes out, that it comes out twice the same, and that nothing is done twice."""

import re
import time

import pandas as pd
import pytest

pytestmark = pytest.mark.workflow

from conftest import SIMULATION, TABLES, Study, write_tables  # noqa: E402

TABLES_OUT = ["summary", "scores", "students", "penalties", "splits", "exclusions"]
FIGURES_OUT = ["methods", "cohort", "learning_curves", "predictions"]


def test_every_table_and_figure_is_there(finished):
    for experiment in ("tiny", "drawn"):
        folder = finished.folder / "results" / experiment
        for name in TABLES_OUT:
            assert (folder / f"tables/{name}.tsv").stat().st_size > 0
        for name in FIGURES_OUT:
            assert "<svg" in (folder / f"figures/{name}.svg").read_text()[:500]


def test_the_summary_has_every_method_with_its_family_and_marks(finished):
    table = pd.read_csv(finished.folder / "results/tiny/tables/summary.tsv", sep="\t", keep_default_na=False)
    assert list(table.columns) == ["method", "family", "metric", "mean", "se", "seeds", "mark"]
    ensembles = ["meta_fusion", "best_single", "simple_average", "weighted_average"]
    expected = {*ensembles, *(f"independent_{name}" for name in ensembles), "early_fusion", "late_fusion", "prior"}
    expected |= {"modality_blood", "modality_scan"}
    expected |= {"logistic_regression", "logistic_regression_blood", "logistic_regression_scan"}
    assert set(table["method"]) == expected
    assert (table["seeds"] == 2).all()
    assert set(table["mark"]) <= {"best", "within_se", ""}
    assert (table[table["mark"] == "best"].groupby("metric").size() >= 1).all()


def test_the_run_says_where_results_are_and_marks_simulated_data(finished):
    assert "results in results/tiny/" in finished.printed
    assert re.search(r"A tiny simulation \(SIMULATED data\)", finished.printed)
    assert re.search(r"meta_fusion +\d", finished.printed)


def test_missing_scans_are_among_the_exclusions(finished):
    table = pd.read_csv(finished.folder / "results/tiny/tables/exclusions.tsv", sep="\t", keep_default_na=False)
    assert (table["modality"] == "scan").sum() == 6


def test_no_subject_crosses_a_split(finished):
    results = finished.folder / "results/tiny"
    samples = pd.read_parquet(results / "samples.parquet").set_index("sample")
    for seed in (1, 2):
        splits = pd.read_parquet(results / f"splits/{seed}.parquet")
        parts = splits.groupby(splits["sample"].map(samples["subject"]))[f"seed_{seed}"].nunique()
        assert (parts == 1).all()


def test_a_second_run_does_nothing_and_quickly(finished):
    start = time.monotonic()
    printed = finished.succeed()
    assert "Nothing to be done" in printed
    assert time.monotonic() - start < 10


def test_one_core_and_two_give_the_same_bytes(finished, tmp_path):
    again = Study(tmp_path)
    write_tables(again.folder)
    again.write({"tiny": TABLES, "drawn": SIMULATION})
    again.succeed(cores=1)
    patterns = ("*/tables/*", "*/predictions/*", "*/scores/*", "*/cohort/*/*", "*/latents/*/*", "*/figures/*")
    first, second = finished.bytes_of(*patterns), again.bytes_of(*patterns)
    assert first.keys() == second.keys()
    assert len(first) > 40
    assert [name for name in first if first[name] != second[name]] == []


def test_test_rows_influence_nothing_that_is_fitted_or_chosen(tmp_path):
    """All test rows become noise: fitted artefacts and predictions of the other parts stay, bit for bit."""
    runs = []
    for name in ("plain", "noise"):
        (tmp_path / name).mkdir()
        one = Study(tmp_path / name)
        parts = ["test" if number >= 44 else "" for number in range(60)]
        write_tables(one.folder, part=parts)
        if name == "noise":
            _spoil_test_rows(one.folder)
        experiment = TABLES | {"source": TABLES["source"] | {"samples": TABLES["source"]["samples"] | {"part": "part"}}}
        one.write({"tiny": experiment})
        one.succeed()
        runs.append(one)
    fitted = ("tiny/latents/*/*.transform.*", "tiny/cohort/*/history*", "tiny/cohort/*/weights*", "tiny/cohort/*/sel*")
    fitted += ("tiny/ensembles/*", "tiny/splits/*.parquet", "tiny/tables/penalties.tsv")
    first, second = (one.bytes_of(*fitted) for one in runs)
    assert len(first) >= 15
    assert [name for name in first if first[name] != second[name]] == []
    for seed in (1, 2):
        tables = [pd.read_parquet(one.folder / f"results/tiny/predictions/{seed}.parquet") for one in runs]
        kept = [table[table["part"] != "test"].reset_index(drop=True) for table in tables]
        pd.testing.assert_frame_equal(*kept, check_exact=True)
        tested = [table.loc[table["part"] == "test"].iloc[:, 4].to_numpy() for table in tables]
        assert (tested[0] != tested[1]).any(), "the noise did not reach the test rows, so nothing was shown"


def _spoil_test_rows(folder):
    samples = pd.read_csv(folder / "data/samples.csv")
    test = samples["part"] == "test"
    # Other classes too, but each class as often: the class list belongs to the problem, not to the fit.
    samples.loc[test, "diagnosis"] = samples.loc[test, "diagnosis"].to_numpy()[::-1]
    samples.to_csv(folder / "data/samples.csv", index=False)
    for file, separator in (("blood.csv", ","), ("scan.tsv", "\t")):
        table = pd.read_csv(folder / "data" / file, sep=separator)
        rows = table["id"].isin(samples.loc[test, "id"])
        table.loc[rows, table.columns[1:]] = -1000 * table.loc[rows, table.columns[1:]] + 7
        table.to_csv(folder / "data" / file, index=False, sep=separator)


def test_the_report_holds_every_figure_with_its_caption(copy_of):
    copy_of.succeed("--report", "report.html")
    page = (copy_of.folder / "report.html").read_text()
    for words in ("methods compared", "the cohort", "learning curves", "predictions", "exclusions"):
        assert words in page

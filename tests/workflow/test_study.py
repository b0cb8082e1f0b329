"""A study of simulations: all comparators, a variant, comparisons across experiments, and an interruption."""

import contextlib
import re
import shutil
import time

import numpy as np
import pandas as pd
import psutil
import pytest

pytestmark = pytest.mark.workflow

from conftest import COMPARED, COMPARISONS, SETTING  # noqa: E402

from metafusion.parts import parts_of  # noqa: E402

ENSEMBLES = ["meta_fusion", "best_single", "simple_average", "weighted_average", "stacking"]
NETWORKS = ["modality_first", "modality_second", "early_fusion", "late_fusion", "late_fusion_stacked"]
DOUBLE = ["early_fusion_double_budget", "late_fusion_double_budget", "late_fusion_stacked_double_budget"]
LINEAR = ["ridge_regression", "ridge_regression_first", "ridge_regression_second", "prior"]
TUNED = ["tuned_ridge_regression", "tuned_ridge_regression_first", "tuned_ridge_regression_second", "tuned_late_fusion"]
TUNED += ["tuned_elastic_net", "tuned_boosting", "super_learner"]
COOPERATIVE = [f"cooperative_{kind}" for kind in ("direct", "backfitting", "joint", "linear")]


def table_of(study, path):
    return pd.read_csv(study.folder / "results" / path, sep="\t", keep_default_na=False, na_values=["nan", ""])


def selection_of_the_variant(study):
    parts = [table_of(study, f"setting@worst/cohort/{block}/selection.tsv") for block in ("1-2", "3")]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("experiment", COMPARED)
def test_the_summary_has_every_comparator_and_ensemble(compared, experiment):
    expected = [*ENSEMBLES, *(f"independent_{name}" for name in ENSEMBLES), "independent_meta_fusion_reused"]
    expected += [*NETWORKS, *LINEAR]
    if experiment == "setting":
        expected += [*DOUBLE, *COOPERATIVE, "gradient_boosting", "oracle", *TUNED]
    table = table_of(compared, f"{experiment}/tables/summary.tsv")
    assert sorted(table.loc[table["metric"] == "mse", "method"]) == sorted(expected)
    assert (table["seeds"] == 3).all()
    assert np.isfinite(table["mean"]).all()


def test_a_variant_has_the_data_and_splits_of_its_experiment_but_a_training_of_its_own(compared):
    usual, variant = (compared.folder / "results" / name for name in COMPARED)
    for name in ("samples.parquet", "features/first.parquet", "features/truth.parquet"):
        assert (usual / name).read_bytes() == (variant / name).read_bytes()
    whole, *parts = (
        pd.read_parquet(path) for path in (usual / "splits/1-3.parquet", *variant.glob("splits/*.parquet"))
    )
    for seed in (1, 2, 3):
        (part,) = [table for table in parts if f"seed_{seed}" in table]
        here = [parts_of(table, seed) for table in (whole, part)]
        pd.testing.assert_frame_equal(*here)
    before = table_of(compared, "setting/cohort/1-3/selection.tsv")
    after = selection_of_the_variant(compared)
    independent = before["penalty"] == 0
    columns = ["seed", "student", "validation_loss", "best_epoch"]
    pd.testing.assert_frame_equal(before.loc[independent, columns], after.loc[independent, columns])
    assert (before.loc[~independent, "teaching"] != after.loc[~independent, "teaching"]).any()


def test_experiments_and_seeds_can_be_named_on_the_command_line(study):
    study.write({"setting": SETTING})
    options = ("experiments=setting@as_published,setting@warm_start", "seeds=5")
    printed = study.succeed("--dry-run", "--config", *options)
    blocks = re.findall(r"^rule train_cohort:.*?experiment=(\S+), block=(\S+)", printed, flags=re.MULTILINE | re.DOTALL)
    assert sorted(blocks) == [("setting@as_published", "1-5"), ("setting@warm_start", "1-5")]


def test_a_mistake_in_a_variant_stops_before_any_job(study):
    study.write({"setting": SETTING})
    printed = study.fail("--config", "experiments=setting@warm_strat")
    assert "setting.yaml: no variant 'warm_strat'; did you mean 'warm_start'?" in printed
    assert "Traceback" not in printed
    assert not (study.folder / "results").exists()


def test_every_penalty_and_number_of_students_is_scored(compared):
    by_penalty = table_of(compared, "setting/tables/by_penalty.tsv")
    assert set(by_penalty["penalty"]) == {0, 1}
    assert {"meta_fusion", "best_single", "student_0"} <= set(by_penalty["method"])
    by_students = table_of(compared, "setting/tables/by_students.tsv")
    assert sorted(set(by_students["students"])) == [1, 2, 4, 5]
    assert set(by_students["metric"]) == {"mse"}
    for table in (by_penalty, by_students):
        assert (table["seeds"] == 3).all()
        assert np.isfinite(table[["mean", "se"]]).all(axis=None)


def test_the_whole_cohort_has_the_scores_of_the_summary_wherever_it_stands(compared):
    """At the chosen penalty and with all students, both tables have what was chosen."""
    scores = table_of(compared, "setting@worst/tables/scores.tsv")
    scores = scores[(scores["part"] == "test") & (scores["metric"] == "mse")]
    scores = scores.set_index(["seed", "method"])["value"]
    selection = selection_of_the_variant(compared)
    chosen = selection[selection["chosen"] == 1].groupby("seed")["penalty"].first()
    folder = compared.folder / "results/setting@worst"
    by_penalty = pd.concat([pd.read_parquet(folder / f"by_penalty/{block}.parquet") for block in ("1-2", "3")])
    by_students = pd.concat([pd.read_parquet(folder / f"by_students/{block}.parquet") for block in ("1-2", "3")])
    for method in ("meta_fusion", "best_single", "simple_average"):
        for seed in (1, 2, 3):
            here = by_penalty[(by_penalty["seed"] == seed) & (by_penalty["method"] == method)]
            found = here.set_index(["penalty", "metric"])["value"]
            assert found[chosen[seed], "mse"] == pytest.approx(scores[seed, method], rel=1e-6)
            assert found[0, "mse"] == pytest.approx(scores[seed, f"independent_{method}"], rel=1e-6)
            every = by_students[(by_students["seed"] == seed) & (by_students["method"] == method)]
            every = every.loc[every["students"] == 5, "value"]
            np.testing.assert_allclose(every, scores[seed, method], rtol=1e-6)


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_a_comparison_has_tables_and_figures_that_say_the_data_are_simulated(compared, comparison):
    folder = compared.folder / "results/comparisons" / comparison
    table = pd.read_csv(folder / "table.tsv", sep="\t")
    assert len(table) > 0
    figures = sorted(folder.glob("figures/*.svg"))
    assert len(figures) >= 2
    for text in [(folder / "table.md").read_text(), *(figure.read_text() for figure in figures)]:
        assert "simulated" in text.lower()


def test_the_means_of_a_comparison_are_those_of_the_experiments(compared):
    table = table_of(compared, "comparisons/both/table.tsv")
    for experiment in COMPARED:
        summary = table_of(compared, f"{experiment}/tables/summary.tsv").set_index(["method", "metric"])["mean"]
        here = table[table["experiment"] == experiment].set_index(["method", "metric"])["mean"]
        assert {"meta_fusion", "early_fusion", "stacking"} <= set(here.index.get_level_values("method"))
        for key, mean in here.items():
            assert mean == pytest.approx(summary[key], rel=1e-9)


def test_the_lead_of_an_ablation_is_the_mean_difference_over_common_seeds(compared):
    table = table_of(compared, "comparisons/switch/table.tsv")
    leads = {}
    for experiment in COMPARED:
        scores = table_of(compared, f"{experiment}/tables/scores.tsv")
        scores = scores[(scores["part"] == "test") & (scores["metric"] == "mse")]
        values = scores.pivot(index="seed", columns="method", values="value")
        leads[experiment] = values["early_fusion"] - values["meta_fusion"]
    rows = table[table["rival"] == "early_fusion"].set_index("experiment")
    for experiment in COMPARED:
        row = rows.loc[[experiment]].iloc[0]
        assert row["lead"] == pytest.approx(leads[experiment].mean(), rel=1e-9)
    change = (leads["setting@worst"] - leads["setting"]).mean()
    assert rows.loc["setting@worst", "change"] == pytest.approx(change, rel=1e-9)


def test_a_second_run_of_a_study_does_nothing(compared):
    assert "Nothing to be done" in compared.succeed()


LATER = (
    "latents",
    "cohort",
    "comparators",
    "stacking",
    "ensembles",
    "predictions",
    "answers",
    "scores",
    "by_penalty",
    "by_students",
)
KEPT = "results/setting@worst/scores/*.parquet"


def test_a_study_that_was_killed_goes_on_with_what_is_missing_and_ends_the_same(compared, copy_of_compared):
    """Two blocks of a variant are missing; the run is killed when one of them is scored.

    All this is on one core, where the first run had two.
    """
    study = copy_of_compared
    results = study.folder / "results"
    for name in (*LATER, "tables", "figures"):
        shutil.rmtree(results / "setting@worst" / name)
    shutil.rmtree(results / "comparisons")
    # One after the other, so that one of the two is not yet scored.
    run = study.start("--cores", "1")
    try:
        while not (scored := list(study.folder.glob(KEPT))):
            assert run.poll() is None, "the study ended before it could be killed"
            time.sleep(0.05)
    finally:
        for process in [*run.children(recursive=True), run]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    run.wait(60)
    assert not list(results.glob("comparisons/*/table.tsv")), "the study was over before it was killed"
    (block,) = {path.stem for path in scored}
    done = {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file() and block in path.parts[-2:]}
    study.succeed("--unlock")
    printed = study.succeed(cores=1)
    again = re.findall(r"^rule train_cohort:.*?experiment=(\S+), block=(\S+)", printed, flags=re.MULTILINE | re.DOTALL)
    assert set(again) <= {("setting@worst", other) for other in ("1-2", "3") if other != block}
    assert {path: path.stat().st_mtime_ns for path in done} == done
    patterns = ("*/*/*", "*/*/*/*", "comparisons/*/*", "comparisons/*/figures/*")
    first, second = (one.bytes_of(*patterns) for one in (compared, study))
    assert sorted(first) == sorted(second)
    assert len([name for name in first if name.startswith("setting@worst")]) > 50
    assert [name for name in first if first[name] != second[name]] == []


def test_a_block_whose_results_are_gone_is_the_only_one_made_again(copy_of_compared):
    folder = copy_of_compared.folder / "results/setting@worst"
    for name in LATER:
        for path in folder.glob(f"{name}/**/3*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(folder / "tables")
    printed = copy_of_compared.succeed("--dry-run")
    jobs = re.findall(r"^rule (\w+):(.*?)(?=^\[|\Z)", printed, flags=re.MULTILINE | re.DOTALL)
    named = [(rule, re.search(r"experiment=(\S+?)(,|$)", text, flags=re.MULTILINE)) for rule, text in jobs]
    blocks = {
        (rule, re.search(r"block=(\S+?)(,|$)", text, flags=re.MULTILINE)[1]) for rule, text in jobs if "block=" in text
    }
    assert {name for name, _ in blocks} == {
        *("extract_latents", "train_cohort", "train_comparators", "stack_students", "evaluate_block")
    }
    assert {block for _, block in blocks} == {"3"}
    assert {found[1] for _, found in named if found} == {"setting@worst"}


def test_snakemake_looks_for_jobs_when_one_has_ended_and_not_all_the_time(compared):
    looks, ended = (compared.printed.count(words) for words in ("Resources before job selection", "Finished jobid"))
    # With its limit of jobs a second it looked 776 times for 43 jobs.
    assert 10 < looks <= ended + 1


def test_tabm_is_tuned_on_the_same_folds_and_stands_in_the_tables(copy_of):
    pytest.importorskip("tabm")
    # Three folds are the fewest, and its fits are most of this test.
    split = {"stratify": False, "cross_fitting": 3}
    copy_of.change("drawn", comparators=["networks", "tabm"], seeds=1, split=split)
    copy_of.succeed("results/drawn/tables/summary.tsv", "results/drawn/provenance.json")
    summary = pd.read_csv(copy_of.folder / "results/drawn/tables/summary.tsv", sep="\t").set_index("method")
    assert summary.loc["tabm", "family"] == "tuned"
    assert summary.loc["tabm", "mean"] < summary.loc["modality_second", "mean"]
    assert "12 candidates a model on 3 folds, 37 fits" in copy_of.log("tune_comparators", "drawn/tabm_1")

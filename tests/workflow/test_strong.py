"""A run under the protocol strong: folds from the split to the tables."""

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file

pytestmark = pytest.mark.workflow


def test_the_protocol_strong_chooses_out_of_fold_and_its_tables_are_whole(copy_of):
    copy_of.change("tiny", protocol="strong")
    copy_of.succeed("results/tiny/tables/summary.tsv")
    results = copy_of.folder / "results/tiny"
    subjects = pd.read_parquet(results / "samples.parquet").set_index("sample")["subject"]
    splits, folds = (
        pd.read_parquet(results / f"{name}/1-2.parquet").set_index("sample") for name in ("splits", "folds")
    )
    assert set(splits["seed_1"]) == {"train", "test"}
    assert (folds["seed_1"].isna() == (splits["seed_1"] == "test")).all()
    of_people = folds["seed_1"].groupby(subjects)
    assert of_people.min().equals(of_people.max())
    # Five runs a seed, each with latents of its own.
    latents = load_file(results / "latents/1-2/blood.safetensors")
    assert {name.split("/")[0] for name in latents} == {f"seed_{run}" for run in range(5, 15)}
    weights = load_file(results / "cohort/1-2/weights.safetensors")
    assert {name.split("/")[2] for name in weights} == {f"fold_{fold}" for fold in range(5)}

    predictions = pd.read_parquet(results / "predictions/1-2.parquet")
    assert set(predictions["part"]) == {"validation", "test"}
    assert predictions.groupby(["method", "seed"])["sample"].nunique().unique().tolist() == [60]
    summary = pd.read_csv(results / "tables/summary.tsv", sep="\t")
    assert {"meta_fusion", "stacked_average", "logistic_regression", "early_fusion"} <= set(summary["method"])
    assert "stacking" not in set(summary["method"])
    assert np.isfinite(summary["mean"]).all()
    # What is stored as a student's loss is that of its answers out of fold, before they are calibrated.
    selection = pd.read_csv(results / "cohort/1-2/selection.tsv", sep="\t")
    assert np.isfinite(selection["validation_loss"]).all()
    assert (selection["best_epoch"] == 3).all()
    assert "Nothing to be done" in copy_of.succeed("results/tiny/tables/summary.tsv")

    # One cohort more a seed answers for the test part.
    content = yaml.safe_load((copy_of.folder / "config/experiments/tiny.yaml").read_text())
    copy_of.change("tiny", cohort=content["cohort"] | {"refit": True})
    copy_of.succeed("results/tiny/tables/summary.tsv")
    weights = load_file(results / "cohort/1-2/weights.safetensors")
    assert {name.split("/")[2] for name in weights} == {*(f"fold_{fold}" for fold in range(5)), "refit"}
    again = pd.read_parquet(results / "predictions/1-2.parquet")
    for part, method, same in (
        ("validation", "meta_fusion", True),
        ("test", "meta_fusion", False),
        ("test", "logistic_regression", True),
    ):
        then, now = (table[(table["part"] == part) & (table["method"] == method)] for table in (predictions, again))
        assert now["sample"].tolist() == then["sample"].tolist()
        said, before = (table.filter(like="logit_").to_numpy() for table in (now, then))
        assert np.allclose(said, before, atol=1e-4) == same

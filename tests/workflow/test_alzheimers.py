"""The packaged experiment on NACC's tables, from made-up files to the summary and the account of the data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

pytestmark = pytest.mark.workflow

PEOPLE = 60
"""Besides those of the list made by hand: enough of each class to train on."""


@pytest.fixture
def nacc(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "library")
    import nacc_lookalike

    return nacc_lookalike


def read(path):
    return pd.read_csv(path, sep="\t", keep_default_na=False)


def test_the_experiment_on_nacc_runs_from_its_tables_to_the_summary(study, nacc):
    folder = study.folder / "data/nacc"
    folder.mkdir(parents=True)
    crowd = nacc.crowd(PEOPLE)
    nacc.write(folder, *(pd.concat(tables) for tables in zip((nacc.visits(), nacc.scans()), crowd, strict=True)))
    experiment = yaml.safe_load((ROOT / "config/experiments/alzheimers_nacc.yaml").read_text())
    # As it stands, but for the time that it takes.
    for choice in [*experiment["representations"].values(), experiment["cohort"]]:
        choice["epochs"] = 1
    experiment |= {"ensemble": {"stacking_epochs": 0}, "comparators": ["linear"]}
    study.write({"alzheimers_nacc": experiment}, seeds=2)
    results = study.folder / "results/alzheimers_nacc"
    study.succeed(*(f"results/alzheimers_nacc/tables/{name}.tsv" for name in ("summary", "flow")))

    samples = pd.read_parquet(results / "samples.parquet").set_index("sample")
    assert len(samples) == len(nacc.SAMPLES) + PEOPLE
    assert samples["target"][list(nacc.SAMPLES)].tolist() == [diagnosis for _, _, diagnosis in nacc.SAMPLES.values()]
    out = read(results / "tables/exclusions.tsv")[["sample", "subject", "modality", "reason"]]
    assert sorted(out.itertuples(index=False, name=None)) == sorted(nacc.OUT)
    flow = read(results / "tables/flow.tsv")
    # Two without a date, two twice, one of nobody, four without a visit, one without a diagnosis.
    left = [len(nacc.SCANS) + PEOPLE - number for number in (0, 2, 4, 5, 9, 10)]
    assert flow.loc[flow["modality"] == "", "samples_left"].tolist() == left

    columns = set(read(results / "tables/columns.tsv")["column"])
    assert {"NACCAGE", "NACCMMSE", "LHIPPO"} <= columns
    features = {name for path in results.glob("features/*.parquet") for name in pd.read_parquet(path).columns}
    assert len(features) > 100
    assert [name for name in columns | features if name.split("=")[0] in nacc.OTHERS or "CDR" in name] == []

    splits = pd.read_parquet(results / "splits/1-2.parquet").set_index("sample")
    parts = splits.groupby(samples["subject"])[["seed_1", "seed_2"]].nunique()
    assert len(parts) == len(samples) - 1, "one participant has two scans"
    assert (parts == 1).all(axis=None)
    summary = read(results / "tables/summary.tsv").set_index(["metric", "method"])
    assert (summary["seeds"].astype(int) == 2).all()
    assert np.isfinite(summary.loc["accuracy"].loc[["meta_fusion", "logistic_regression", "prior"], "mean"]).all()

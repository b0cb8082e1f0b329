"""Recordings of the user's own, from files to tables, and what a corrected subject runs again."""

import re

import mne
import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.workflow

RATE = 100
SUBJECTS = {"first": "p1", "second": "p2"}
ONSETS = 1.0 + 1.5 * np.arange(24)
"""Seconds of the events of a session, which lasts 38 s."""
LABELS = ["left", "right"] * 12

EXPERIMENT = {
    "title": "Two tiny recordings",
    "task": "classification",
    "source": {
        "kind": "recordings",
        "sessions": {name: {"file": f"data/{name}_raw.fif", "subject": one} for name, one in SUBJECTS.items()},
        "events": {"where": "annotations", "classes": {"left": "left", "right": "right"}},
        "window": [0.0, 0.5],
        "modalities": {
            "course": {"channels": ["C*"], "samples": True},
            "power": {"channels": ["O*"], "bands": {"alpha": [8, 12]}},
        },
        "cleaning": {"resample": 50},
    },
    "representations": {
        "course": {"sizes": ["raw", 2], "extractor": "conv1d", "channels": [3], "epochs": 2},
        "power": {"sizes": ["raw", "absent"], "fit_on": "everything"},
    },
    "cohort": {"hidden": [8], "epochs": 30, "batch_size": 8, "learning_rate": 0.01, "penalties": [0]},
    "ensemble": {"stacking_epochs": 0},
    "split": {"unit": "sample"},
    "seeds": 2,
    "seeds_per_block": 2,
    "comparators": ["linear"],
    "metrics": ["accuracy"],
}


def write_recording(path, seed):
    """Noise of 3 microvolt; after 'left' C3 is 20 higher for half a second, after 'right' C4 is."""
    values = np.random.default_rng(seed).normal(size=(4, 38 * RATE)) * 3
    for onset, label in zip(ONSETS, LABELS, strict=True):
        start = round(onset * RATE)
        values[LABELS.index(label), start : start + RATE // 2] += 20
    raw = mne.io.RawArray(values * 1e-6, mne.create_info(["C3", "C4", "O1", "O2"], RATE, "eeg"), verbose="ERROR")
    raw.set_annotations(mne.Annotations(ONSETS, 0, LABELS))
    raw.save(path, verbose="ERROR")


def test_recordings_are_decoded_and_a_corrected_subject_leaves_no_old_name(study):
    (study.folder / "data").mkdir()
    for seed, name in enumerate(SUBJECTS):
        write_recording(study.folder / f"data/{name}_raw.fif", seed)
    study.write({"mine": EXPERIMENT})
    study.succeed(*(f"results/mine/tables/{name}.tsv" for name in ("summary", "leakage")))
    results = study.folder / "results/mine"
    samples = pd.read_parquet(results / "samples.parquet")
    assert samples.groupby(["subject", "session", "target"]).size().to_dict() == {
        (subject, name, label): 12 for name, subject in SUBJECTS.items() for label in ("left", "right")
    }
    # Channels by times: 25 at 50 Hz, which the convolution reads from the names.
    assert pd.read_parquet(results / "features/course.parquet").shape == (48, 1 + 2 * 25)
    summary = pd.read_csv(results / "tables/summary.tsv", sep="\t").set_index("method")["mean"]
    # What was put in is seven times the noise, and the power of other channels says nothing.
    assert (summary[["meta_fusion", "logistic_regression_course"]] > 0.9).all()
    assert summary["logistic_regression_power"] < 0.8
    confusion = pd.read_csv(results / "tables/confusion.tsv", sep="\t").set_index("method")
    assert confusion.loc["meta_fusion", "count"].sum() == 2 * 10
    leakage = pd.read_csv(results / "tables/leakage.tsv", sep="\t").set_index("check")
    assert leakage.loc["fitted on everything", "where"] == "power"

    sessions = EXPERIMENT["source"]["sessions"]
    corrected = sessions | {"second": sessions["second"] | {"subject": "p3"}}
    study.change("mine", source=EXPERIMENT["source"] | {"sessions": corrected})
    printed = study.succeed("results/mine/samples.parquet")
    assert re.findall(r"chunk=(\w+)", printed) == ["second"]
    assert set(pd.read_parquet(results / "samples.parquet")["subject"]) == {"p1", "p3"}
    folder = results / "preprocessed/session/second"
    for path in (results / "samples.parquet", results / "features/power.parquet", folder / "trials.parquet"):
        assert not pd.read_parquet(path)["sample"].str.startswith("p2").any()
    assert "p2" not in set(mne.read_epochs(folder / "trials-epo.fif", verbose="ERROR").metadata["sample"].str[:2])
    # All that was made of the old names is made again.
    rerun = re.findall(r"^(?:local)?rule (\w+):", study.succeed("--dry-run"), flags=re.MULTILINE)
    assert {"split_samples", "describe_data", "extract_latents", "train_cohort", "evaluate_block"} <= set(rerun)

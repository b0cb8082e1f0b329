"""The cohorts of a seed's folds as one: what is hidden stays hidden, and students are judged out of fold."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from metafusion.cohort import block
from metafusion.cohort.pool import pool_block, pool_cohorts
from metafusion.cohort.seed_data import collect
from metafusion.cohort.stored import read
from metafusion.cohort.students import all_students
from metafusion.cohort.train import train
from metafusion.config.models import Cohort, Representations
from metafusion.cross_fitting import draw_folds, fold_numbers, is_refit, refit_of, with_runs
from metafusion.errors import DivergedError
from metafusion.parts import parts_of
from metafusion.splits import split_samples

SETTINGS = Cohort(hidden=[], epochs=3, batch_size=8, penalties=[0, 1], learning_rate=0.05)
CHOICES = {"a": Representations(sizes=["raw", "absent"]), "b": Representations(sizes=["raw", "absent"])}
STUDENTS = all_students({name: choice.names for name, choice in CHOICES.items()})


LAST = SETTINGS.model_copy(update={"kept_epoch": "last", "teaching": "none"})


def made(task: str, change: dict[str, object] | None = None, settings: Cohort = SETTINGS) -> dict:
    """Train a seed with four folds on 40 samples; ``change`` gives other targets by sample."""
    random = np.random.default_rng(0)
    raw = {name: random.standard_normal((40, 3)).astype(np.float32) for name in "ab"}
    signal = raw["a"][:, 0] + raw["b"][:, 0]
    targets = signal if task == "regression" else np.where(signal > 0, "yes", "no")
    samples = pd.DataFrame({"sample": [f"s{i:02}" for i in range(40)], "target": targets})
    samples["subject"] = samples["sample"]
    splits = split_samples(samples, [2], validation_fraction=0.25, cross_fitting=4, classes=task != "regression")
    folds = draw_folds(samples, splits, [2], 4, "subject", True, task != "regression")
    if change:
        samples["target"] = samples["sample"].map(change).fillna(samples["target"])
    runs, numbers = with_runs(splits, [2], folds, 4, settings.decides, settings.refit)
    views = {
        name: {f"seed_{run}/raw": raw[name] for run in numbers}
        | {f"seed_{run}/present": np.ones(40, bool) for run in numbers}
        for name in "ab"
    }
    data = {run: collect(samples, runs, views, run, task, refit=is_refit(run, [2])) for run in numbers}
    trained = train(data, STUDENTS, CHOICES, settings, task, every_penalty=True)
    pooled = pool_block(trained, samples, splits, folds, 4, settings, task)
    return {"samples": samples, "splits": splits, "folds": folds, "trained": trained, "pooled": pooled[2]}


BALANCED = LAST.model_copy(update={"balanced": True})
CASES = [(task, settings) for task in ("classification", "regression") for settings in (SETTINGS, LAST)]
REFIT = LAST.model_copy(update={"refit": True})
CASES += [("classification", BALANCED), ("classification", REFIT)]


@pytest.fixture(
    scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1].kept_epoch}-{case[1].balanced}-{case[1].refit}"
)
def case(request) -> tuple[str, Cohort, dict]:
    task, settings = request.param
    return task, settings, made(task, settings=settings)


@pytest.fixture
def one(case) -> tuple[str, dict]:
    return case[0], case[2]


def test_the_target_of_a_hidden_sample_changes_its_own_run_in_nothing(case):
    task, settings, before = case
    hidden = before["folds"].loc[before["folds"]["seed_2"] == 1, "sample"]
    old = before["samples"].set_index("sample")["target"]
    other = {name: -9.0 if task == "regression" else {"yes": "no", "no": "yes"}[old[name]] for name in hidden}
    after = made(task, other, settings)
    same, changed = before["trained"][9], after["trained"][9]
    assert (same.predictions == changed.predictions).all()
    # Where nothing is decided, the losses are those of the hidden samples themselves.
    assert (same.losses == changed.losses).all() == settings.decides
    for p in range(2):
        for mine, theirs in zip(same.weights_at[p], changed.weights_at[p], strict=True):
            assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert (before["trained"][10].predictions != after["trained"][10].predictions).any()
    # And so its prediction of the hidden samples is what it was.
    rows = fold_numbers(before["splits"], before["folds"], 2) == 1
    assert (before["pooled"].predictions[:, :, rows] == after["pooled"].predictions[:, :, rows]).all()


def test_targets_of_the_test_part_change_nothing(case):
    task, settings, before = case
    tested = before["splits"].loc[before["splits"]["seed_2"] == "test", "sample"]
    old = before["samples"].set_index("sample")["target"]
    after = made(task, dict.fromkeys(tested, -9.0 if task == "regression" else "no"), settings)
    assert (old[tested] != after["samples"].set_index("sample")["target"][tested]).any()
    assert (before["pooled"].predictions == after["pooled"].predictions).all()
    assert (before["pooled"].losses == after["pooled"].losses).all()


def test_losses_are_means_over_all_samples_by_the_run_that_has_not_seen_them(case):
    task, settings, found = case
    parts, folds = parts_of(found["splits"], 2), found["folds"].set_index("sample")["seed_2"]
    target = found["samples"].set_index("sample")["target"]
    known = target[folds.index[folds.notna()]]
    # Balanced: half of the loss is of each of the two classes.
    weights = len(known) / (2 * known.value_counts()) if settings.balanced else dict.fromkeys(known, 1)
    for p in range(2):
        for k in range(len(STUDENTS)):
            wrong = []
            for row, name in enumerate(parts["sample"]):
                if pd.isna(folds[name]):
                    continue
                said = found["trained"][8 + int(folds[name])].predictions[p, k, row].astype(float)
                if task == "regression":
                    wrong.append((said[0] - target[name]) ** 2)
                else:
                    loss = np.log(np.exp(said).sum()) - said[["no", "yes"].index(target[name])]
                    wrong.append(weights[target[name]] * loss)
            assert found["pooled"].losses[p, k] == pytest.approx(np.mean(wrong), rel=1e-5)


def test_the_penalty_of_the_best_students_out_of_fold_is_chosen(one):
    pooled = one[1]["pooled"]
    assert pooled.chosen == int(np.argmin(pooled.losses[:, pooled.top].mean(axis=1)))
    assert pooled.top[np.argmin(pooled.losses[0])]


def test_networks_of_all_runs_are_kept_at_the_penalty_chosen_out_of_fold(one):
    found = one[1]
    for fold in range(4):
        mine = found["trained"][8 + fold].weights_at[found["pooled"].chosen][0]
        assert all(torch.equal(mine[name], found["pooled"].weights[0][f"fold_{fold}/{name}"]) for name in mine)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_refit_answers_for_the_test_part_and_decides_nothing(task):
    folded, refitted = made(task, settings=LAST), made(task, settings=REFIT)
    tested = fold_numbers(folded["splits"], folded["folds"], 2) < 0
    before, after = folded["pooled"], refitted["pooled"]
    assert (before.predictions[:, :, ~tested] == after.predictions[:, :, ~tested]).all()
    assert (before.losses == after.losses).all()
    assert (before.history == after.history).all(axis=None)
    assert (before.predictions[:, :, tested] != after.predictions[:, :, tested]).any()
    refit = refitted["trained"][refit_of(2)]
    assert (after.predictions[:, :, tested] == refit.predictions[:, :, tested]).all()
    # It has learned from the samples of every fold.
    for fold in range(4):
        names = folded["folds"].loc[folded["folds"]["seed_2"] == fold, "sample"]
        other = made(task, {names.iloc[0]: -9.0 if task == "regression" else "no"}, REFIT)["trained"][refit_of(2)]
        changed = refitted["samples"].set_index("sample").loc[names.iloc[0], "target"] not in (-9.0, "no")
        assert (other.predictions != refit.predictions).any() == changed
    own = refit.weights_at[after.chosen][0]
    assert all(torch.equal(own[name], after.weights[0][f"refit/{name}"]) for name in own)


def test_who_diverged_in_the_refit_is_out():
    found = made("regression", settings=REFIT)
    runs, refit = [found["trained"][run] for run in range(8, 12)], found["trained"][refit_of(2)]
    losses = refit.losses.copy()
    losses[1, 0] = np.inf
    fold = fold_numbers(found["splits"], found["folds"], 2)
    targets = found["samples"]["target"].to_numpy()
    pooled = pool_cohorts(runs, targets, fold, REFIT, "regression", 2, replace(refit, losses=losses))
    assert np.isinf(pooled.losses[1, 0])
    assert np.isfinite(np.delete(pooled.losses.ravel(), len(STUDENTS))).all()


def test_who_diverged_in_one_run_is_out():
    found = made("regression")
    runs = [found["trained"][run] for run in range(8, 12)]
    losses = runs[2].losses.copy()
    losses[1, 0] = np.inf
    runs[2] = replace(runs[2], losses=losses)
    fold = fold_numbers(found["splits"], found["folds"], 2)
    targets = found["samples"]["target"].to_numpy()
    pooled = pool_cohorts(runs, targets, fold, SETTINGS, "regression", 2)
    assert np.isinf(pooled.losses[1, 0])
    assert np.isnan(pooled.predictions[1, 0]).all()
    assert np.isfinite(np.delete(pooled.losses.ravel(), 3)).all()
    runs[2] = replace(runs[2], losses=np.full_like(losses, np.inf))
    with pytest.raises(DivergedError, match="seed 2"):
        pool_cohorts(runs, targets, fold, SETTINGS, "regression", 2)


def test_a_pooled_block_is_read_back_with_its_samples_as_those_that_choose(one, tmp_path):
    found = one[1]
    block.write(tmp_path, STUDENTS, SETTINGS, {2: found["pooled"]})
    predictions, selection = tmp_path / "predictions.safetensors", tmp_path / "selection.tsv"
    (stored,) = read(predictions, selection, found["splits"], [2], found["folds"])
    assert set(stored.parts["part"]) == {"validation", "test"}
    assert (stored.fold[stored.parts["part"] == "test"] == -1).all()
    assert stored.losses == pytest.approx(found["pooled"].losses)


def test_training_samples_stand_for_validation_samples_in_a_refit_only():
    samples = pd.DataFrame({"sample": list("abcd"), "target": ["x", "y", "x", "y"]})
    splits = pd.DataFrame({"sample": list("abcd"), "seed_1": ["train", "train", "train", "test"]})
    judged = splits.replace({"seed_1": {"test": "validation"}})
    assert collect(samples, splits, {}, 1, "classification", refit=True).validation.tolist() == [0, 1, 2]
    assert collect(samples, judged, {}, 1, "classification").validation.tolist() == [3]
    for table, refit in ((splits, False), (judged, True)):
        with pytest.raises(ValueError, match="validation samples, in a run that is"):
            collect(samples, table, {}, 1, "classification", refit=refit)

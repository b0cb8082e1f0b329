"""Cross-fitting: who is hidden from whom, and what becomes of the runs' answers."""

import numpy as np
import pandas as pd
import pytest

from metafusion.config.models import Experiment
from metafusion.cross_fitting import (
    draw_folds,
    fold_numbers,
    pool_answers,
    pool_outputs,
    refit_of,
    runs_of,
    with_runs,
)
from metafusion.errors import UserError
from metafusion.splits import split_samples

SUBJECTS = 40


def people(visits: int = 2) -> pd.DataFrame:
    """40 subjects with some visits each, every fourth of them ill."""
    subjects = np.repeat(np.arange(SUBJECTS), visits)
    return pd.DataFrame(
        {
            "sample": [f"s{subject:02}_{visit}" for subject in range(SUBJECTS) for visit in range(visits)],
            "subject": [f"s{subject:02}" for subject in subjects],
            "target": np.where(subjects % 4 == 0, "ill", "well"),
        }
    )


@pytest.fixture(scope="module")
def drawn() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    samples = people()
    splits = split_samples(samples, [3, 4], validation_fraction=0.25, cross_fitting=5)
    return samples, splits, draw_folds(samples, splits, [3, 4], 5, "subject", True, True)


def test_what_is_not_tested_trains_and_nothing_validates(drawn):
    _, splits, _ = drawn
    assert set(splits["seed_3"]) == {"train", "test"}
    assert (splits["seed_3"] == "test").sum() == 16


def test_every_sample_that_is_not_tested_is_in_one_fold_and_subjects_stay_whole(drawn):
    samples, splits, folds = drawn
    for seed in ("seed_3", "seed_4"):
        assert (folds[seed].isna() == (splits[seed] == "test")).all()
        assert set(folds[seed].dropna()) == set(range(5))
        of_subjects = folds.groupby(samples["subject"])[seed]
        assert of_subjects.min().equals(of_subjects.max())


def test_folds_keep_the_class_proportions(drawn):
    samples, _, folds = drawn
    ill = samples.loc[samples["target"] == "ill"].groupby(folds["seed_3"])["subject"].nunique()
    # 8 of 32 subjects in 5 folds.
    assert set(ill) <= {1, 2}
    assert ill.sum() == 8


def test_seeds_and_folds_draw_from_streams_of_their_own(drawn):
    samples, splits, folds = drawn
    alone = draw_folds(samples, splits, [4], 5, "subject", True, True)
    pd.testing.assert_series_equal(alone["seed_4"], folds["seed_4"])
    assert not folds["seed_3"].equals(folds["seed_4"])


def test_a_run_hides_its_fold_stops_on_the_next_and_learns_from_the_others(drawn):
    _, splits, folds = drawn
    runs, numbers = with_runs(splits, [3, 4], folds, 5, True)
    assert numbers == [15, 16, 17, 18, 19, 20, 21, 22, 23, 24]
    for place, run in enumerate(runs_of(3, 5)):
        part, fold = runs[f"seed_{run}"], folds["seed_3"]
        assert (part[fold == place] == "test").all()
        assert (part[fold == (place + 1) % 5] == "validation").all()
        assert (part[fold.notna() & ~fold.isin([place, (place + 1) % 5])] == "train").all()
        assert (part[fold.isna()] == "test").all()


def test_where_nothing_is_decided_a_run_learns_from_all_but_its_own_fold(drawn):
    _, splits, folds = drawn
    runs, _ = with_runs(splits, [3, 4], folds, 5, False)
    for place, run in enumerate(runs_of(3, 5)):
        part, fold = runs[f"seed_{run}"], folds["seed_3"]
        assert (part[fold == place] == "validation").all()
        assert (part[fold.notna() & (fold != place)] == "train").all()
        assert (part[fold.isna()] == "test").all()


@pytest.mark.parametrize("decides", [False, True])
def test_one_run_more_learns_from_all_that_is_not_tested(drawn, decides):
    _, splits, folds = drawn
    runs, numbers = with_runs(splits, [3, 4], folds, 5, decides, True)
    before, of_folds = with_runs(splits, [3, 4], folds, 5, decides)
    assert numbers == [*of_folds[:5], refit_of(3), *of_folds[5:], refit_of(4)]
    assert len(set(numbers)) == 12
    pd.testing.assert_frame_equal(runs[before.columns], before)
    for seed in (3, 4):
        assert runs[f"seed_{refit_of(seed)}"].equals(splits[f"seed_{seed}"])


def test_samples_of_other_draws_stay_out_of_a_run():
    samples = pd.concat([people(1).assign(draw=1), people(1).assign(draw=2)], ignore_index=True)
    samples["sample"] = [f"{name}_{draw}" for name, draw in zip(samples["sample"], samples["draw"], strict=True)]
    splits = split_samples(samples, [1, 2], validation_fraction=0.25, cross_fitting=4)
    folds = draw_folds(samples, splits, [1, 2], 4, "subject", True, True)
    runs, _ = with_runs(splits, [1, 2], folds, 4, True)
    assert (runs["seed_4"].notna() == (samples["draw"] == 1)).all()
    assert len(fold_numbers(splits, folds, 2)) == SUBJECTS


def test_a_class_with_fewer_subjects_than_folds_is_named():
    samples = people()
    splits = split_samples(samples, [1], validation_fraction=0.25, cross_fitting=9)
    with pytest.raises(UserError, match="class 'ill' has 8 subjects, too few for 9 folds; set 'cross_fitting: 8'"):
        draw_folds(samples, splits, [1], 9, "subject", True, True)


def test_who_has_a_fold_gets_the_answer_of_its_run_and_the_others_the_mean():
    outputs = np.arange(2 * 3 * 4 * 1, dtype=np.float64).reshape(2, 3, 4, 1)
    pooled = pool_outputs(outputs, np.array([1, -1, 0, -1]), "regression")
    assert (pooled[:, 0] == outputs[1][:, 0]).all()
    assert (pooled[:, 2] == outputs[0][:, 2]).all()
    assert (pooled[:, [1, 3]] == (outputs[0] + outputs[1])[:, [1, 3]] / 2).all()


def test_probabilities_are_averaged_not_logits():
    outputs = np.log([[[0.9, 0.1]], [[0.5, 0.5]]])
    pooled = pool_outputs(outputs, np.array([-1]), "classification")
    assert np.exp(pooled)[0] == pytest.approx([0.7, 0.3])


def test_a_method_that_diverged_in_a_run_has_no_answer(drawn):
    _, splits, folds = drawn
    answers = {run: {"good": np.ones((80, 1)), "bad": np.ones((80, 1))} for run in range(15, 25)}
    answers[17]["bad"] = np.full((80, 1), np.nan)
    pooled = pool_answers(answers, splits, folds, 5, "regression")
    assert np.isnan(pooled[3]["bad"]).all()
    assert (pooled[3]["good"] == 1).all()
    assert (pooled[4]["bad"] == 1).all()


def experiment(task: str = "classification", **changes) -> Experiment:
    return Experiment(title="t", task=task, source={"kind": "ad_data"}, representations={"csf": ["raw"]}, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split": {"cross_fitting": 2}}, "which takes 3 or more, found 2"),
        ({"split": {"cross_fitting": 5}}, "stacking_epochs"),
        ({"cohort": {"refit": True}}, "nothing left to decide by"),
        ({"protocol": "strong", "cohort": {"refit": True, "kept_epoch": "best"}}, "it takes 'split.cross_fitting'"),
        ({"protocol": "strong", "seeds": [2**32 // 6]}, "must be below 715827882"),
        ({"split": {"cross_fitting": 5, "validation_fraction": 0.5}}, "'validation_fraction' has no meaning"),
        ({"ensemble": {"selection": "bagged"}}, "set 'average: probabilities', too"),
        ({"ensemble": {"bags": 3}}, "'bags' has no meaning with 'selection: greedy'"),
        ({"protocol": "strong", "ensemble": {"independent_list": "reused"}}, "set 'selected'"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        experiment(**changes)


def test_the_protocol_fills_in_what_is_not_given():
    strong = experiment(protocol="strong", cohort={"epochs": 7}, split={"test_fraction": 0.3})
    assert (strong.split.cross_fitting, strong.split.test_fraction) == (5, 0.3)
    assert (strong.cohort.epochs, strong.cohort.hidden) == (7, [])
    assert strong.ensemble.selection == "bagged"


def test_numbers_have_no_probabilities_under_the_protocol():
    strong = experiment(protocol="strong", task="regression")
    assert (strong.ensemble.average, strong.ensemble.calibration) == ("outputs", "none")
    assert strong.ensemble.selection == "bagged"

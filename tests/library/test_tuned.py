"""Tuned comparators: scikit-learn by hand, equal budgets, and what a model must not see."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metafusion.comparators import tuned
from metafusion.config.fronts import Front
from metafusion.errors import UserError

TASKS = ["classification", "regression"]
FOLD = np.array([*np.tile([0, 1, 2], 24), *[-1] * 18])
LEARNT, TESTED = FOLD >= 0, FOLD < 0
BEFORE = {"blood": Front(), "scan": Front()}
STRENGTHS = [10 ** (-5 + 7 * step / 11) for step in range(12)]
FEW_TREES = [1, 2, 4, 8, 16, 32]
CANDIDATES = {name: list(getattr(tuned, name)) for name in ("STRENGTHS", "MIXTURES", "TREES")}
NAME = {"classification": "tuned_logistic_regression", "regression": "tuned_ridge_regression"}


@pytest.fixture(autouse=True, scope="module")
def _few_trees():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuned, "TREES", [(leaves, number) for leaves in (3, 8) for number in FEW_TREES])
        yield


def some_data(task, missing=0.0, gaps=0.0, classes=2):
    random = np.random.default_rng(3)
    columns = {"blood": random.normal(5, 3, (len(FOLD), 4)), "scan": random.normal(0, 0.1, (len(FOLD), 2))}
    signal = columns["blood"][:, 0] / 3 + 10 * columns["scan"][:, 0] + 0.8 * random.standard_normal(len(FOLD))
    present = {name: random.random(len(FOLD)) >= missing for name in columns}
    present["scan"] |= ~present["blood"]
    for name, values in columns.items():
        values[random.random(values.shape) < gaps] = np.nan
        values[~present[name]] = np.nan
    columns = {name: values.astype(np.float32) for name, values in columns.items()}
    names = {name: [f"{name}{place}" for place in range(values.shape[1])] for name, values in columns.items()}
    targets = 100 * signal
    if task == "classification":
        targets = np.searchsorted(np.quantile(signal, np.arange(1, classes) / classes), signal).astype(np.int64)
    targets = np.where(TESTED, 0, targets).astype(targets.dtype)
    return tuned.Raw(columns, present, names, targets, FOLD, classes if task == "classification" else 1)


@cache
def usual(task, missing=0.0, gaps=0.0):
    return tuned.train(some_data(task, missing, gaps), BEFORE, task, 1)


def side_by_side(data):
    return np.hstack([data.columns[name] for name in BEFORE]).astype(np.float64)


def searched(model, grid, features, data, scoring):
    """Return what scikit-learn's own search finds: out of fold, and for the test part after learning on all."""
    search = GridSearchCV(model, grid, scoring=scoring, cv=PredefinedSplit(FOLD[LEARNT]))
    search.fit(features[LEARNT], data.targets[LEARNT])
    method = "predict_proba" if scoring == "neg_log_loss" else "predict"
    held = cross_val_predict(
        search.best_estimator_, features[LEARNT], data.targets[LEARNT], cv=search.cv, method=method
    )
    return held, getattr(search, method)(features[TESTED])


def prepared(model):
    return make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), model)


def test_logistic_regression_is_what_a_search_over_the_folds_finds():
    data = some_data("classification", gaps=0.1)
    model = prepared(LogisticRegression(max_iter=5000, tol=1e-7))
    expected = searched(model, {"logisticregression__C": STRENGTHS}, side_by_side(data), data, "neg_log_loss")
    found = softmax(usual("classification", gaps=0.1)["tuned_logistic_regression"], axis=1)
    np.testing.assert_allclose(found[LEARNT], expected[0], atol=2e-3)
    np.testing.assert_allclose(found[TESTED], expected[1], atol=2e-3)


@pytest.mark.parametrize("method", ["tuned_ridge_regression", "tuned_elastic_net", "tuned_boosting"])
def test_a_model_of_numbers_is_what_a_search_over_the_folds_finds(method):
    data = some_data("regression", gaps=0.1)
    if method == "tuned_ridge_regression":
        model, grid = prepared(Ridge()), {"ridge__alpha": [1 / strength for strength in STRENGTHS]}
    elif method == "tuned_elastic_net":
        net = prepared(ElasticNet(max_iter=5000, tol=1e-7))
        model = TransformedTargetRegressor(net, transformer=StandardScaler())
        name = "regressor__elasticnet__"
        grid = {f"{name}l1_ratio": [0.2, 0.8], f"{name}alpha": [10 ** (-0.5 - step / 2) for step in range(6)]}
    else:
        model = prepared(HistGradientBoostingRegressor(learning_rate=0.1, early_stopping=False))
        name = "histgradientboostingregressor__"
        grid = {f"{name}max_leaf_nodes": [3, 8], f"{name}max_iter": FEW_TREES}
    expected = searched(model, grid, side_by_side(data), data, "neg_mean_squared_error")
    found, spread = usual("regression", gaps=0.1)[method][:, 0], data.targets[LEARNT].std()
    np.testing.assert_allclose(found[LEARNT], expected[0], atol=2e-3 * spread)
    np.testing.assert_allclose(found[TESTED], expected[1], atol=2e-3 * spread)


def test_an_absent_modality_is_missing_to_trees():
    data, name = some_data("regression", missing=0.3), "histgradientboostingregressor__"
    model = make_pipeline(StandardScaler(), HistGradientBoostingRegressor(learning_rate=0.1, early_stopping=False))
    grid = {f"{name}max_leaf_nodes": [3, 8], f"{name}max_iter": FEW_TREES}
    held, _ = searched(model, grid, side_by_side(data), data, "neg_mean_squared_error")
    found = usual("regression", missing=0.3)["tuned_boosting"][LEARNT, 0]
    np.testing.assert_allclose(found, held, atol=2e-3 * data.targets[LEARNT].std())


def test_the_super_learner_of_numbers_weighs_the_models_out_of_fold():
    data, answers = some_data("regression", missing=0.3), usual("regression", missing=0.3)
    models = ["tuned_ridge_regression_blood", "tuned_ridge_regression_scan", "tuned_ridge_regression"]
    columns = np.hstack([answers[name] for name in [*models, "tuned_elastic_net", "tuned_boosting"]])
    scale = columns[LEARNT].std()
    grid = {"alpha": [1 / strength for strength in STRENGTHS]}
    _, expected = searched(Ridge(positive=True), grid, columns / scale, data, "neg_mean_squared_error")
    np.testing.assert_allclose(answers["super_learner"][TESTED, 0], expected, rtol=1e-3)


def test_the_super_learner_of_numbers_turns_no_model_around():
    data = some_data("regression")
    truth, error = np.random.default_rng(0).normal(0, data.targets.std(), (2, len(FOLD)))
    truth[LEARNT] = data.targets[LEARNT]
    # Their difference would be perfect.
    answers = np.stack([truth + error, error])[..., None]
    found = tuned._super_learner(answers, data, "regression")[TESTED, 0]
    assert np.corrcoef(found, answers[0][TESTED, 0])[0, 1] == pytest.approx(1)


@pytest.mark.parametrize("task", TASKS)
def test_the_super_learner_knows_more_than_any_modality(task):
    data, answers = some_data(task), usual(task)

    def loss(outputs):
        if task == "regression":
            return np.mean((outputs[LEARNT, 0] - data.targets[LEARNT]) ** 2)
        return -np.log(softmax(outputs[LEARNT], axis=1)[np.arange(LEARNT.sum()), data.targets[LEARNT]]).mean()

    single = [loss(answers[name]) for name in answers if name.endswith(("blood", "scan"))]
    assert loss(answers["super_learner"]) < 0.95 * min(single)


def test_late_fusion_is_the_mean_over_the_modalities_that_a_sample_has():
    data, answers = some_data("classification", missing=0.3), usual("classification", missing=0.3)
    blood, scan = (softmax(answers[f"tuned_logistic_regression_{name}"], axis=1) for name in BEFORE)
    found = softmax(answers["tuned_late_fusion"], axis=1)
    has = data.present
    for rows, expected in (
        (has["blood"] & has["scan"], (blood + scan) / 2),
        (has["blood"] & ~has["scan"], blood),
        (~has["blood"], scan),
    ):
        assert rows.any()
        np.testing.assert_allclose(found[rows], expected[rows], rtol=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_every_method_answers_every_sample(task):
    answers = usual(task, missing=0.3)
    linear = [f"{NAME[task]}_blood", f"{NAME[task]}_scan", NAME[task]]
    expected = [*linear, "tuned_elastic_net", "tuned_boosting", "tuned_late_fusion", "super_learner"]
    assert list(answers) == expected
    for outputs in answers.values():
        assert outputs.shape == (len(FOLD), 2 if task == "classification" else 1)
        assert np.isfinite(outputs).all()


def test_one_modality_has_nothing_to_fuse():
    data = some_data("regression")
    alone = replace(data, columns={"scan": data.columns["scan"]}, present={"scan": data.present["scan"]})
    answers = tuned.train(alone, BEFORE, "regression", 1)
    assert list(answers) == ["tuned_ridge_regression_scan", "tuned_elastic_net", "tuned_boosting", "super_learner"]
    name = "tuned_ridge_regression_scan"
    np.testing.assert_array_equal(answers[name], usual("regression")[name])


def test_models_have_equal_budgets_and_no_candidate_twice():
    for candidates in CANDIDATES.values():
        assert len(set(candidates)) == len(candidates) == tuned.BUDGET == 12
    assert tuned.fits(5) == 61


@pytest.mark.parametrize("task", TASKS)
def test_every_model_is_fitted_on_the_same_folds_as_often_as_the_budget_says(task, monkeypatch):
    tune, budgets = tuned.tune, []

    def counted(fit, features, raw, seen, task):
        wanted = []

        def spied(known, targets, asked, candidates):
            wanted.append(len(candidates))
            return fit(known, targets, asked, candidates)

        answer = tune(spied, features, raw, seen, task)
        budgets.append(sum(wanted))
        return answer

    monkeypatch.setattr(tuned, "tune", counted)
    tuned.train(some_data(task), BEFORE, task, 1)
    assert budgets == [tuned.fits(3)] * 6


def test_no_model_learns_from_the_fold_that_it_answers_for():
    numbers, asked_for = np.arange(len(FOLD), dtype=float)[:, None], []
    data = replace(some_data("regression"), targets=np.where(TESTED, 0, numbers[:, 0]))
    seen = np.arange(len(FOLD)) % 5 > 0

    def fit(known, targets, asked, wanted):
        rows, answering = known[:, 0].astype(int), asked[:, 0].astype(int)
        np.testing.assert_array_equal(targets, rows)
        assert len(np.unique(FOLD[answering])) == 1
        assert not set(FOLD[rows]) & {FOLD[answering[0]], -1}
        assert seen[rows].all()
        asked_for.extend(answering)
        return np.zeros((len(wanted), len(asked), 1))

    tuned.tune(fit, dict.fromkeys([0, 1, 2, None], numbers), data, seen, "regression")
    assert sorted(asked_for) == list(range(len(FOLD)))


def test_the_candidate_with_the_smallest_loss_out_of_fold_answers():
    data = replace(some_data("regression"), targets=np.where(TESTED, 0.0, 7.0))

    def fit(known, targets, asked, wanted):
        return np.stack([np.full((len(asked), 1), abs(one - 4) + 7.0) for one in wanted])

    numbers = np.zeros((len(FOLD), 1))
    found = tuned.tune(fit, dict.fromkeys([0, 1, 2, None], numbers), data, LEARNT, "regression")
    np.testing.assert_array_equal(found, 7.0)


@pytest.mark.parametrize("task", TASKS)
def test_features_of_test_samples_change_no_other_answer(task):
    data = some_data(task, missing=0.3)
    random = np.random.default_rng(0)
    noise = {name: values.copy() for name, values in data.columns.items()}
    for name, values in noise.items():
        values[TESTED & data.present[name]] = 50 * random.standard_normal(values.shape[1])
    found = tuned.train(replace(data, columns=noise), BEFORE, task, 1)
    for method, outputs in usual(task, missing=0.3).items():
        np.testing.assert_array_equal(found[method][LEARNT], outputs[LEARNT])
        assert not np.array_equal(found[method][TESTED], outputs[TESTED])


def test_features_of_a_fold_change_no_model_that_answers_for_it():
    """Scaling included: a fold's own columns may change only what is asked, not how."""
    data = some_data("regression")
    shifted = {name: np.where((FOLD == 1)[:, None], 1e3, values) for name, values in data.columns.items()}
    before = tuned._views(data, BEFORE, 1, 1)
    after = tuned._views(replace(data, columns=shifted), BEFORE, 1, 1)
    for name in BEFORE:
        np.testing.assert_array_equal(after[name][FOLD != 1], before[name][FOLD != 1])


def test_a_modality_has_no_say_about_samples_that_lack_it():
    data = some_data("classification", missing=0.3)
    drawn = np.random.default_rng(0).normal(0, 9, (len(FOLD), 4)).astype(np.float32)
    noise = {**data.columns, "blood": np.where(data.present["blood"][:, None], data.columns["blood"], drawn)}
    found = tuned.train(replace(data, columns=noise), BEFORE, "classification", 1)
    for method, outputs in usual("classification", missing=0.3).items():
        np.testing.assert_array_equal(found[method], outputs)


def test_targets_of_test_samples_are_not_collected():
    ids = [f"s{number}" for number in range(12)]
    samples = pd.DataFrame({"sample": ids, "subject": ids, "target": ["ill", "well"] * 6})
    parts = ["train"] * 6 + ["validation"] * 2 + ["test"] * 3 + [None]
    splits = pd.DataFrame({"sample": ids[::-1], "seed_4": parts})
    folds = pd.DataFrame({"sample": ids[::-1], "seed_4": pd.array([0, 1] * 4 + [None] * 4, "Int64")})

    def features(modality, wanted):
        values = np.array([[float(name[1:])] for name in wanted], np.float32)
        return values, np.ones(len(wanted), bool), ["number"]

    found = tuned.collect(samples, splits, folds, features, ["scan"], 4, "classification")
    np.testing.assert_array_equal(found.columns["scan"][:, 0], np.arange(11, 0, -1))
    np.testing.assert_array_equal(found.targets, [1, 0] * 4 + [0] * 3)
    np.testing.assert_array_equal(found.fold, [0, 1] * 4 + [-1] * 3)
    assert found.outputs == 2


def test_a_class_that_a_fold_keeps_to_itself_is_as_good_as_impossible_there():
    data = some_data("classification", classes=2)
    targets = np.where(FOLD == 0, 2, data.targets)
    answers = tuned.train(replace(data, targets=targets, outputs=3), BEFORE, "classification", 1)
    for outputs in answers.values():
        assert np.isfinite(outputs).all()
    for method in ("tuned_logistic_regression", "tuned_elastic_net", "tuned_boosting"):
        chances = softmax(answers[method], axis=1)
        assert chances[FOLD == 0, 2].max() < 1e-30
        assert chances[TESTED, 2].min() > 1e-6


def test_folds_with_a_single_class_are_learnt_from():
    data = some_data("classification", classes=2)
    targets = np.where(FOLD == 0, 1, 0)
    answers = tuned.train(replace(data, targets=targets, outputs=2), BEFORE, "classification", 1)
    assert all(np.isfinite(outputs).all() for outputs in answers.values())


def test_a_modality_without_samples_to_learn_from_is_named():
    data = some_data("regression")
    present = {**data.present, "scan": FOLD == 1}
    with pytest.raises(UserError, match="modality 'scan', seed 1, without fold 1: 0 training samples"):
        tuned.train(replace(data, present=present), BEFORE, "regression", 1)


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_bytes(task):
    again = tuned.train(some_data(task), BEFORE, task, 1)
    for method, outputs in usual(task).items():
        assert again[method].tobytes() == outputs.tobytes()

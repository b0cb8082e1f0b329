"""The comparators: closed forms, scikit-learn directly, and the promises about budget and leakage."""

import math
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.students import all_students
from metafusion.cohort.train import train as train_cohort
from metafusion.comparators import boosting as boosting_family
from metafusion.comparators import double_budget as double_family
from metafusion.comparators import linear as linear_family
from metafusion.comparators import networks as networks_family
from metafusion.comparators import oracle as oracle_family
from metafusion.comparators.options import Options
from metafusion.config.models import Cohort, Head
from metafusion.config.sources import Simulation
from metafusion.errors import UserError
from metafusion.sources.simulation import draw

MODALITIES = ["blood", "scan"]
SETTINGS = Cohort(hidden=[6, 4], epochs=6, batch_size=8, learning_rate=0.02, target_scaling="none")
TRAINING, VALIDATION = np.arange(36), np.arange(36, 50)
TASKS = ["classification", "regression"]
STRENGTHS = [10.0 ** (-4 + 6 * step / 12) for step in range(13)]


def some_data(task, seed=0, missing=0.0, classes=3, samples=60):
    """Two raw modalities that say something of the target; the last ten samples are the test part."""
    random = np.random.default_rng(seed)
    raw = {"blood": random.standard_normal((samples, 4)), "scan": random.standard_normal((samples, 2))}
    present = {name: random.random(samples) >= missing for name in raw}
    present["scan"] |= ~present["blood"]
    signal = sum(raw[name][:, 0] * present[name] for name in raw) + 0.3 * random.standard_normal(samples)
    if task == "classification":
        targets = np.searchsorted(np.quantile(signal, np.arange(1, classes) / classes), signal)
        targets, outputs = targets.astype(np.int64), classes
    else:
        targets, outputs = signal, 1
    views = {(name, "raw"): np.where(present[name][:, None], raw[name], 0) for name in raw}
    return SeedData(views, present, targets, TRAINING, VALIDATION, outputs)


@cache
def usual_networks(task, missing=0.0):
    return networks(some_data(task, missing=missing), task)


@cache
def usual_cohort(task):
    students = all_students({name: ["raw", "absent"] for name in MODALITIES})
    trained = train_cohort({1: some_data(task)}, students, {}, SETTINGS, task)[1]
    return dict(zip((student.name for student in students), trained.predictions[0], strict=True))


def raw_of(data, *modalities):
    return np.concatenate([data.views[name, "raw"] for name in modalities], axis=1)


def options_of(task, settings=SETTINGS, late_fusion="probabilities", truth=None):
    return Options(task=task, cohort=settings, late_fusion=late_fusion, truth=truth)


def answers_of(family, data, task, modalities=MODALITIES, **options):
    return family.train({1: data}, modalities, options_of(task, **options))[1]


def networks(data, task, *others, **options):
    return answers_of(networks_family, data, task, *others, **options)


def linear(data, task, *others):
    return answers_of(linear_family, data, task, *others)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("method", "student"),
    [
        ("early_fusion", "blood=raw|scan=raw"),
        ("modality_blood", "blood=raw|scan=absent"),
        ("modality_scan", "blood=absent|scan=raw"),
    ],
)
def test_a_network_is_the_student_that_sees_the_same_trained_alone(task, method, student):
    np.testing.assert_allclose(usual_networks(task)[method], usual_cohort(task)[student], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_late_fusion_of_classes_is_the_mean_of_the_probabilities(missing):
    data, found = some_data("classification", missing=missing), usual_networks("classification", missing)
    seen = np.stack([data.present[name] for name in MODALITIES]).astype(float)
    probabilities = np.stack([softmax(found[f"modality_{name}"], axis=1) for name in MODALITIES])
    expected = (probabilities * seen[:, :, None]).sum(axis=0) / seen.sum(axis=0)[:, None]
    np.testing.assert_allclose(softmax(found["late_fusion"], axis=1), expected, rtol=1e-6)


def test_late_fusion_of_classes_can_be_the_mean_of_the_logits():
    data = some_data("classification", missing=0.4)
    found = networks(data, "classification", late_fusion="outputs")
    usual = usual_networks("classification", 0.4)
    logits = [found[f"modality_{name}"] for name in MODALITIES]
    blood, scan = (data.present[name] for name in MODALITIES)
    for rows, expected in (
        (blood & scan, (logits[0] + logits[1]) / 2),
        (blood & ~scan, logits[0]),
        (~blood & scan, logits[1]),
    ):
        assert rows.any()
        np.testing.assert_allclose(found["late_fusion"][rows], expected[rows], rtol=1e-9)
    assert not np.allclose(softmax(found["late_fusion"], axis=1), softmax(usual["late_fusion"], axis=1), atol=1e-3)


def test_the_kind_of_late_fusion_changes_nothing_else():
    found = networks(some_data("classification"), "classification", late_fusion="outputs")
    usual = usual_networks("classification")
    assert list(found) == list(usual)
    for method in found.keys() - {"late_fusion"}:
        np.testing.assert_array_equal(found[method], usual[method])


@pytest.mark.parametrize("late_fusion", ["probabilities", "outputs"])
def test_late_fusion_of_numbers_is_their_mean(late_fusion):
    found = networks(some_data("regression"), "regression", late_fusion=late_fusion)
    expected = (found["modality_blood"] + found["modality_scan"]) / 2
    np.testing.assert_allclose(found["late_fusion"], expected, rtol=1e-9)


def test_late_fusion_of_numbers_leaves_an_absent_modality_out():
    data, found = some_data("regression", missing=0.4), usual_networks("regression", 0.4)
    only_scan = ~data.present["blood"]
    assert only_scan.any()
    np.testing.assert_allclose(found["late_fusion"][only_scan], found["modality_scan"][only_scan], rtol=1e-9)


def test_stacked_late_fusion_is_least_squares_on_the_validation_part():
    data, found = some_data("regression", missing=0.4), usual_networks("regression", 0.4)
    columns = np.hstack([found["modality_blood"], found["modality_scan"]])
    stack = LinearRegression().fit(columns[36:50], data.targets[36:50])
    np.testing.assert_allclose(found["late_fusion_stacked"][:, 0], stack.predict(columns), rtol=1e-9)


def test_classes_have_no_stacked_late_fusion():
    assert set(usual_networks("classification")) == {
        "modality_blood",
        "modality_scan",
        "early_fusion",
        "late_fusion",
    }


@pytest.mark.parametrize("task", TASKS)
def test_one_modality_has_nothing_to_fuse(task):
    assert set(networks(some_data(task), task, ["blood"])) == {"modality_blood"}
    name = {"classification": "logistic_regression", "regression": "ridge_regression"}[task]
    assert set(linear(some_data(task), task, ["blood"])) == {"prior", f"{name}_blood"}


@pytest.mark.parametrize("family", [networks_family, double_family, linear_family, boosting_family])
@pytest.mark.parametrize("task", TASKS)
def test_targets_of_the_test_part_change_nothing(family, task):
    data = some_data(task)
    before = answers_of(family, data, task)
    data.targets[50:] = 0
    after = answers_of(family, data, task)
    assert {name: array.tobytes() for name, array in before.items()} == {
        name: array.tobytes() for name, array in after.items()
    }


@pytest.mark.parametrize("task", TASKS)
def test_features_of_the_test_part_change_no_other_answer(task):
    data = some_data(task)
    before = usual_networks(task) | linear(data, task)
    for view in data.views.values():
        view[50:] += 3
    after = networks(data, task) | linear(data, task)
    for method in before:
        np.testing.assert_allclose(after[method][:50], before[method][:50], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("task", TASKS)
def test_samples_without_the_modality_get_the_prior(task):
    data = some_data(task, missing=0.4)
    found = usual_networks(task, 0.4) | linear(data, task)
    absent = ~data.present["blood"]
    assert absent.any()
    name = {"classification": "logistic_regression", "regression": "ridge_regression"}[task]
    for method in ("modality_blood", f"{name}_blood"):
        np.testing.assert_allclose(found[method][absent], found["prior"][absent], rtol=1e-6)
        assert not np.isclose(found[method][~absent], found["prior"][~absent]).any()


def test_the_prior_of_classes_is_the_log_frequency_in_the_training_part():
    data = some_data("classification")
    data.targets[:] = [0] * 18 + [1] * 9 + [2] * 9 + [2] * 24
    found = linear(data, "classification")["prior"]
    np.testing.assert_allclose(found, np.tile([math.log(1 / 2), math.log(1 / 4), math.log(1 / 4)], (60, 1)))


def test_the_prior_of_numbers_is_the_mean_of_the_training_part():
    data = some_data("regression")
    expected = data.targets[:36].mean()
    np.testing.assert_allclose(linear(data, "regression")["prior"], np.full((60, 1), expected))


def ridge_by_hand(features, targets, alpha):
    """Normal equations, the intercept left unpunished by centring."""
    x, y = features[:36], targets[:36]
    centred = x - x.mean(axis=0)
    slopes = np.linalg.solve(centred.T @ centred + alpha * np.eye(x.shape[1]), centred.T @ (y - y.mean()))
    return y.mean() + (features - x.mean(axis=0)) @ slopes


@pytest.mark.parametrize(
    ("method", "used"),
    [("ridge_regression", MODALITIES), ("ridge_regression_blood", ["blood"]), ("ridge_regression_scan", ["scan"])],
)
def test_ridge_regression_solves_the_normal_equations_at_the_best_strength(method, used):
    data = some_data("regression", seed=3)
    targets = data.targets
    candidates = [ridge_by_hand(raw_of(data, *used), targets, 1 / strength) for strength in STRENGTHS]
    errors = [np.mean((answer[36:50] - targets[36:50]) ** 2) for answer in candidates]
    expected = candidates[int(np.argmin(errors))]
    np.testing.assert_allclose(linear(data, "regression")[method][:, 0], expected, rtol=1e-8)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    ("method", "used"), [("logistic_regression", MODALITIES), ("logistic_regression_scan", ["scan"])]
)
def test_logistic_regression_is_that_of_scikit_learn_at_the_best_strength(method, used, classes):
    data = some_data("classification", seed=4, classes=classes)
    features, targets = raw_of(data, *used), data.targets
    best, least = None, np.inf
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=5000).fit(features[:36], targets[:36])
        probabilities = model.predict_proba(features)
        error = -np.log(probabilities[np.arange(36, 50), targets[36:50]]).mean()
        if error < least:
            best, least = probabilities, error
    np.testing.assert_allclose(softmax(linear(data, "classification")[method], axis=1), best, rtol=1e-6)


def test_strengths_span_what_is_said():
    np.testing.assert_allclose(linear_family.STRENGTHS, STRENGTHS)


def test_a_class_that_a_modality_never_saw_in_training_is_improbable_but_finite():
    data = some_data("classification")
    unseen = (data.targets == 2) & (np.arange(60) < 36)
    data.present["blood"] = ~unseen
    found = linear(data, "classification")["logistic_regression_blood"]
    assert np.isfinite(found).all()
    seen = data.present["blood"]
    assert (softmax(found, axis=1)[seen, 2] < 1e-30).all()
    np.testing.assert_allclose(softmax(found, axis=1)[seen].sum(axis=1), 1)


def test_a_modality_that_saw_one_class_in_training_answers_that_class():
    data = some_data("classification")
    data.present["blood"] = (data.targets == 1) | (np.arange(60) >= 36)
    found = linear(data, "classification")["logistic_regression_blood"]
    assert np.isfinite(found).all()
    assert (found[data.present["blood"]].argmax(axis=1) == 1).all()


@pytest.mark.parametrize("task", TASKS)
def test_every_answer_has_a_row_a_sample_and_a_column_an_output(task):
    found = usual_networks(task, 0.4) | linear(some_data(task, missing=0.4), task)
    shapes = {array.shape for array in found.values()}
    assert shapes == {(60, 3 if task == "classification" else 1)}


def test_logistic_answers_are_log_probabilities():
    found = linear(some_data("classification"), "classification")["logistic_regression"]
    np.testing.assert_allclose(log_softmax(found, axis=1), found, atol=1e-6)


@pytest.mark.parametrize(
    "changed",
    [
        {"penalties": [0.0, 5.0]},
        {"more_heads": [Head(hidden=[3])]},
        {"teaching": "none"},
        {"warm_start": True, "equal_budget": False},
        {"warm_start": True, "epochs": 3},
    ],
    ids=str,
)
def test_networks_have_the_main_head_and_the_budget_and_nothing_else_of_the_cohort(changed):
    found = networks(some_data("regression"), "regression", settings=SETTINGS.model_copy(update=changed))
    assert list(found) == list(usual_networks("regression"))
    for method, outputs in usual_networks("regression").items():
        np.testing.assert_array_equal(found[method], outputs)


def test_networks_have_twice_the_epochs_where_every_method_gets_the_budget_of_the_warm_start():
    warm = networks(some_data("regression"), "regression", settings=SETTINGS.model_copy(update={"warm_start": True}))
    assert not np.allclose(warm["early_fusion"], usual_networks("regression")["early_fusion"], atol=1e-3)


@pytest.mark.parametrize("family", [networks_family, double_family, linear_family, boosting_family])
@pytest.mark.parametrize("task", TASKS)
def test_a_seed_gets_the_same_answers_in_any_company(family, task):
    data = {seed: some_data(task, seed) for seed in (3, 1, 7)}
    together = family.train(data, MODALITIES, options_of(task))
    assert list(together) == [3, 1, 7]
    for seed, one in data.items():
        alone = family.train({seed: one}, MODALITIES, options_of(task))[seed]
        assert list(together[seed]) == list(alone)
        for method, outputs in alone.items():
            np.testing.assert_allclose(together[seed][method], outputs, rtol=1e-6, atol=1e-9)


def test_the_networks_of_all_seeds_are_trained_at_once_and_nothing_beside_them(monkeypatch):
    calls = []

    def counted(data, students, representations, settings, task):
        calls.append((sorted(data), len(students), settings.penalties, settings.heads))
        return train_cohort(data, students, representations, settings, task)

    monkeypatch.setattr(networks_family, "train_cohort", counted)
    data = {seed: some_data("regression", seed) for seed in (1, 2)}
    cohort = SETTINGS.model_copy(update={"more_heads": [Head(hidden=[3])]})
    networks_family.train(data, MODALITIES, options_of("regression", cohort))
    assert calls == [([1, 2], 3, [0.0], [Head(hidden=SETTINGS.hidden)])]


def test_a_network_that_diverged_has_no_answer_and_the_others_are_as_ever():
    data = {seed: some_data("regression", seed) for seed in (3, 5)}
    sound = networks_family.train(data, MODALITIES, options_of("regression"))
    # Squares of such numbers are none.
    data[5].views["scan", "raw"][:] *= 1e200
    found = networks_family.train(data, MODALITIES, options_of("regression"))
    broken = {method for method, outputs in found[5].items() if np.isnan(outputs).all()}
    assert broken == {"modality_scan", "early_fusion", "late_fusion", "late_fusion_stacked"}
    for method in set(found[5]) - broken:
        np.testing.assert_allclose(found[5][method], sound[5][method], rtol=1e-6)
    for method in found[3]:
        np.testing.assert_allclose(found[3][method], sound[3][method], rtol=1e-6)


def test_a_seed_whose_networks_all_diverged_has_no_answers_and_the_other_seeds_are_as_ever():
    data = {seed: some_data("regression", seed) for seed in (3, 5)}
    sound = networks_family.train(data, MODALITIES, options_of("regression"))
    for view in data[5].views.values():
        view[:] *= 1e200
    found = networks_family.train(data, MODALITIES, options_of("regression"))
    assert sorted(found[5]) == sorted(sound[5])
    assert all(np.isnan(outputs).all() for outputs in found[5].values())
    for method in found[3]:
        np.testing.assert_allclose(found[3][method], sound[3][method], rtol=1e-6)


def test_an_oracle_that_diverged_has_no_answer():
    data = {seed: some_data("regression", seed) for seed in (3, 5)}
    truth = {seed: np.float32(one.views["scan", "raw"]) for seed, one in data.items()}
    truth[5] = truth[5] * np.float32(1e30)
    found = oracle_family.train(data, MODALITIES, options_of("regression", truth=truth))
    assert np.isnan(found[5]["oracle"]).all()
    assert np.isfinite(found[3]["oracle"]).all()


def test_late_fusion_of_extreme_samples_stays_finite():
    data = some_data("classification")
    for view in data.views.values():
        view[55:] = 1e6
    assert np.isfinite(networks(data, "classification")["late_fusion"]).all()


def test_a_mapping_serves_for_settings_as_a_rule_passes_them():
    options = Options(task="regression", cohort=SETTINGS.model_dump(mode="json"))
    assert options.cohort == SETTINGS


@pytest.mark.parametrize("task", TASKS)
def test_a_doubled_budget_is_that_of_networks_with_twice_the_epochs(task):
    longer = networks(some_data(task), task, settings=SETTINGS.model_copy(update={"epochs": 2 * SETTINGS.epochs}))
    found = answers_of(double_family, some_data(task), task)
    fused = {method for method in longer if method.startswith(("early", "late"))}
    assert set(found) == {f"{method}_double_budget" for method in fused}
    for method in fused:
        np.testing.assert_array_equal(found[f"{method}_double_budget"], longer[method])
    assert not np.allclose(found["early_fusion_double_budget"], usual_networks(task)["early_fusion"], atol=1e-3)


def test_a_doubled_budget_doubles_that_of_a_warm_start():
    warm = SETTINGS.model_copy(update={"warm_start": True, "epochs": 3})
    found = answers_of(double_family, some_data("regression"), "regression", settings=warm)
    expected = answers_of(double_family, some_data("regression"), "regression")
    np.testing.assert_array_equal(found["early_fusion_double_budget"], expected["early_fusion_double_budget"])


def test_a_doubled_budget_of_one_modality_is_refused():
    with pytest.raises(UserError, match="'double_budget' needs two modalities"):
        answers_of(double_family, some_data("regression"), "regression", ["blood"])


@pytest.mark.parametrize("task", TASKS)
def test_the_oracle_is_an_independent_student_of_the_true_latents(task):
    data = some_data(task, missing=0.4)
    truth = np.random.default_rng(7).standard_normal((60, 3))
    knowing = replace(data, views={("truth", "raw"): truth}, present={"truth": np.ones(60, dtype=bool)})
    student = all_students({"truth": ["raw"]})
    expected = train_cohort({1: knowing}, student, {}, SETTINGS, task)[1].predictions[0, 0]
    found = answers_of(oracle_family, data, task, truth={1: truth})
    assert list(found) == ["oracle"]
    np.testing.assert_allclose(found["oracle"], expected, rtol=1e-9, atol=1e-9)


def steps(missing=0.0, samples=400):
    """A target of steps to both sides: nothing for a line. The last hundred are the test part."""
    random = np.random.default_rng(5)
    raw = {"blood": random.standard_normal((samples, 3)), "scan": random.standard_normal((samples, 2))}
    present = {"blood": np.ones(samples, dtype=bool), "scan": random.random(samples) >= missing}
    signal = np.sign(np.abs(raw["blood"][:, 0]) - 0.7) + np.sign(np.abs(raw["scan"][:, 1]) - 0.7)
    targets = signal + 0.1 * random.standard_normal(samples)
    views = {(name, "raw"): array for name, array in raw.items()}
    return SeedData(views, present, targets, np.arange(200), np.arange(200, 300), 1)


def boosting(data, task="regression"):
    return answers_of(boosting_family, data, task)["gradient_boosting"]


def test_boosting_learns_what_no_line_can():
    data = steps()
    error = np.mean((boosting(data)[300:, 0] - data.targets[300:]) ** 2)
    straight = np.mean((linear(data, "regression")["ridge_regression"][300:, 0] - data.targets[300:]) ** 2)
    assert error < 0.5 < 1.5 < straight


def test_boosting_takes_as_many_trees_as_the_validation_part_likes_best():
    data = steps()
    features = raw_of(data, *MODALITIES)

    def with_trees(number):
        settings = boosting_family.SETTINGS | {"max_iter": number}
        return HistGradientBoostingRegressor(**settings).fit(features[:200], data.targets[:200]).predict(features)

    found = boosting(data)[:, 0]
    numbers = [1, 5, 20, 60, 150, boosting_family.SETTINGS["max_iter"]]
    errors = [np.mean((with_trees(number)[200:300] - data.targets[200:300]) ** 2) for number in numbers]
    assert np.mean((found[200:300] - data.targets[200:300]) ** 2) <= min(errors)
    assert len({round(error, 12) for error in errors}) == len(numbers)


def test_boosting_does_not_look_at_the_features_of_an_absent_modality():
    data = steps(missing=0.5)
    before = boosting(data)
    data.views["scan", "raw"][~data.present["scan"]] = 100
    np.testing.assert_array_equal(boosting(data), before)


def test_boosting_of_classes_gives_finite_log_probabilities_of_every_class():
    data = steps()
    targets = (data.targets > 1).astype(np.int64)
    targets[200:202] = 2
    found = boosting(replace(data, targets=targets, outputs=3), "classification")
    assert np.isfinite(found).all()
    # The third class is not in the training part.
    np.testing.assert_allclose(np.exp(found[:, :2]).sum(axis=1), 1)
    assert (np.exp(found[:, 2]) < 1e-30).all()
    assert (found[:200].argmax(axis=1) == targets[:200]).mean() > 0.9


def test_boosting_of_a_single_class_answers_that_class():
    data = replace(steps(), targets=np.ones(400, dtype=np.int64), outputs=2)
    found = boosting(data, "classification")
    assert np.isfinite(found).all()
    assert (found.argmax(axis=1) == 1).all()


FIRST_SETTING = Simulation(
    kind="simulation",
    samples=4000,
    widths=[60, 60],
    private_latents=[20, 30],
    shared_latents=0,
    noise=[0.4, 0.4],
    transforms=["linear", "linear", "linear"],
    strengths=[1, 1, 0],
    interaction_strength=0,
    interaction_fraction=0,
)
"""Setting 1.1 with fewer columns, of which what is reached by the latents does not depend."""


def effects_of(drawn):
    """What each modality adds to the response: the coefficients are solved for, as the response has no noise."""
    coefficients = np.linalg.lstsq(np.hstack(drawn.latents[:2]), drawn.response, rcond=None)[0]
    return drawn.latents[0] @ coefficients[:20], drawn.latents[1] @ coefficients[20:], coefficients


def seed_data_of(drawn):
    views = {("blood", "raw"): drawn.observed[0], ("scan", "raw"): drawn.observed[1]}
    present = dict.fromkeys(MODALITIES, np.ones(4000, dtype=bool))
    return SeedData(views, present, drawn.response, np.arange(2000), np.arange(2000, 2500), 1)


def test_late_fusion_of_perfect_single_predictions_misses_a_quarter_of_the_variance(monkeypatch):
    drawn = draw(FIRST_SETTING, 1)
    first, second, _ = effects_of(drawn)
    perfect = np.stack([first, second, first + second])[:, :, None]

    def told(data, students, representations, settings, task):
        return {1: SimpleNamespace(predictions=perfect[None], seen=np.ones((3, 4000), dtype=bool))}

    monkeypatch.setattr(networks_family, "train_cohort", told)
    found = networks(seed_data_of(drawn), "regression")
    # The mean of both is half the response, so that the other half is missed: Var(y) / 4.
    error = np.mean((found["late_fusion"][:, 0] - drawn.response) ** 2)
    assert error == pytest.approx(drawn.response.var() / 4, rel=1e-2)
    # The sum, which is right, is in reach of the stack.
    np.testing.assert_allclose(found["late_fusion_stacked"][:, 0], drawn.response, atol=1e-8)


def test_single_modalities_of_setting_1_1_cannot_be_better_than_what_the_other_one_adds():
    floors = []
    for seed in range(1, 41):
        coefficients = effects_of(draw(FIRST_SETTING.model_copy(update={"samples": 60, "widths": [2, 2]}), seed))[2]
        floors.append([np.square(coefficients[20:]).sum(), np.square(coefficients[:20]).sum()])
    # Coefficients are uniform on (-3, 3), of variance 3: 30 of them missed by the first modality, 20 by the second.
    spread = np.sqrt(np.array([30, 20]) * (81 / 5 - 9) / 40)
    assert (np.abs(np.mean(floors, axis=0) - [90, 60]) < 4 * spread).all()


def test_ridge_regression_on_a_single_modality_of_setting_1_1_comes_near_its_floor():
    drawn = draw(FIRST_SETTING.model_copy(update={"noise": [0.05, 0.05]}), 1)
    first, second, _ = effects_of(drawn)
    found = linear(seed_data_of(drawn), "regression")
    for name, missed in (("blood", second), ("scan", first)):
        error = np.mean((found[f"ridge_regression_{name}"][2500:, 0] - drawn.response[2500:]) ** 2)
        assert 0.97 < error / np.mean(missed[2500:] ** 2) < 1.1

"""Ensembles and scores of a block, and tables of predictions."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from metafusion.cohort.stored import StoredSeed
from metafusion.config.models import Ensemble
from metafusion.errors import UserError
from metafusion.evaluation import (
    by_penalty,
    by_students,
    by_subgroup,
    ensemble_answers,
    evaluate,
    score,
    student_answers,
)
from metafusion.files import read_table, write_table
from metafusion.methods import family_of
from metafusion.predictions import answers_of, long_predictions
from metafusion.targets import classes_of, numbers_of, positive_number, without_test
from metafusion.thresholds import with_thresholds

PARTS = pd.DataFrame({"sample": list("abcdef"), "part": ["train"] * 2 + ["validation"] * 2 + ["test"] * 2})
KINDS = ["meta_fusion", "best_single", "simple_average", "weighted_average"]


@pytest.mark.parametrize(
    ("method", "family"),
    [
        ("meta_fusion", "cohort"),
        ("best_single", "cohort"),
        ("weighted_average", "cohort"),
        ("independent_meta_fusion", "independent"),
        ("student_12", "student"),
        ("independent_student_0", "independent_student"),
        ("logistic_regression", "linear"),
        ("logistic_regression_csf", "linear"),
        ("ridge_regression_first", "linear"),
        ("prior", "reference"),
        ("tuned_logistic_regression_csf", "tuned"),
        ("tuned_late_fusion", "tuned"),
        ("super_learner", "tuned"),
        ("modality_csf", "network"),
        ("early_fusion", "network"),
        ("late_fusion_stacked", "network"),
        ("modality_student_survey", "network"),
        ("logistic_regression_student_survey", "linear"),
    ],
)
def test_the_family_of_a_method_follows_from_its_name(method, family):
    assert family_of(method) == family


def test_predictions_become_one_row_a_sample_and_one_column_a_class():
    answers = {"m": np.arange(12.0).reshape(6, 2)}
    table = long_predictions(answers, PARTS, ["ill", "well"], 7)
    assert list(table.columns) == ["method", "seed", "sample", "part", "logit_ill", "logit_well"]
    assert table.iloc[3].tolist() == ["m", 7, "d", "validation", 6.0, 7.0]


def test_predictions_of_numbers_have_one_column():
    table = long_predictions({"m": np.arange(6.0)[:, None]}, PARTS, [], 7)
    assert table["prediction"].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("classes", [[], ["ill", "well"]])
def test_predictions_survive_the_long_table_and_its_file(tmp_path, classes):
    random = np.random.default_rng(0)
    width = len(classes) or 1
    by_seed = {
        seed: {name: random.standard_normal((6, width)).astype(np.float32) for name in ("z", "a")} for seed in (1, 2)
    }
    tables = [long_predictions(answers, PARTS, classes, seed) for seed, answers in by_seed.items()]
    write_table(pd.concat(tables, ignore_index=True), tmp_path / "p.parquet")
    stored = read_table(tmp_path / "p.parquet")
    for seed, answers in by_seed.items():
        found = answers_of(stored, seed, PARTS["sample"])
        assert list(found) == ["z", "a"]
        for method in answers:
            np.testing.assert_array_equal(found[method], answers[method])


def test_answers_come_in_the_order_of_the_samples_asked_for():
    table = long_predictions({"m": np.arange(6.0)[:, None]}, PARTS, [], 1)
    found = answers_of(table, 1, pd.Series(["f", "a", "c"]))["m"]
    assert found.tolist() == [[5], [0], [2]]


def test_scores_are_computed_in_every_part_by_itself():
    outputs = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]])
    targets = np.array([1.0, 4.0, 3.0, 3.0, 0.0, 5.0])
    found = score({"prior": outputs}, targets, PARTS["part"], ["mse", "mae"], 3)
    values = {(row.part, row.metric): row.value for row in found.itertuples()}
    assert values == {
        ("train", "mse"): 2.0,
        ("train", "mae"): 1.0,
        ("validation", "mse"): 0.5,
        ("validation", "mae"): 0.5,
        ("test", "mse"): 13.0,
        ("test", "mae"): 3.0,
    }
    assert set(zip(found["method"], found["family"], found["seed"], strict=True)) == {("prior", "reference", 3)}


def test_samples_without_an_answer_are_left_out_of_the_score():
    outputs = np.array([[0.0], [np.nan], [0.0], [0.0], [0.0], [np.nan]])
    found = score({"student_0": outputs}, np.array([2.0, 9, 1, 1, 3, 9]), PARTS["part"], ["mse"], 1)
    assert found["value"].tolist() == [4.0, 1.0, 9.0]


def test_a_part_without_any_answer_has_no_score():
    outputs = np.array([[0.0]] * 4 + [[np.nan]] * 2)
    found = score({"student_0": outputs}, np.ones(6), PARTS["part"], ["mse"], 1)
    assert found["value"].isna().tolist() == [False, False, True]


def some_cohort(seed=1, chosen=1, students=4):
    """Two penalties at which students differ, on six samples; the last student sees half of them."""
    random = np.random.default_rng(seed)
    seen = np.ones((students, 6), dtype=bool)
    seen[-1, ::2] = False
    predictions = random.standard_normal((2, students, 6, 1)).astype(np.float32)
    targets = random.standard_normal(6)
    errors = np.square(predictions[:, :, 2:4, 0] - targets[2:4]) * seen[:, 2:4]
    losses = errors.sum(axis=2) / seen[:, 2:4].sum(axis=1)
    samples = pd.DataFrame({"sample": list("abcdef"), "target": targets})
    return StoredSeed(seed, PARTS, predictions, seen, losses, chosen, [0.0, 0.99]), samples


LOOSE = Ensemble(keep=1, start=1)
REUSED = Ensemble(keep=1, start=1, independent_list="reused")


def answers_and_members(cohort, samples, settings=LOOSE):
    return ensemble_answers(cohort, samples["target"].to_numpy()[2:4], "regression", settings)


def members_of(table, method):
    return table[table["method"] == method].set_index("student")["weight"].to_dict()


def without(cohort, penalty, *diverged):
    """The cohort with some students that diverged at a penalty."""
    predictions, losses = cohort.predictions.copy(), cohort.losses.copy()
    predictions[penalty, list(diverged)] = np.nan
    losses[penalty, list(diverged)] = np.inf
    return replace(cohort, predictions=predictions, losses=losses)


def test_every_ensemble_is_there_for_the_chosen_and_the_independent_cohort():
    answers, members = answers_and_members(*some_cohort())
    expected = [*KINDS, *(f"independent_{kind}" for kind in KINDS), "independent_meta_fusion_reused"]
    assert list(answers) == expected
    assert list(members["method"].unique()) == expected


def test_weights_of_the_members_of_an_ensemble_sum_to_one():
    _, members = answers_and_members(*some_cohort())
    assert (members["weight"] > 0).all()
    np.testing.assert_allclose(members.groupby("method")["weight"].sum(), 1)


@pytest.mark.parametrize("seed", range(5))
def test_each_cohort_answers_with_its_own_best_student(seed):
    cohort, samples = some_cohort(seed)
    answers, members = answers_and_members(cohort, samples)
    for method, penalty in (("best_single", 1), ("independent_best_single", 0)):
        best = int(np.argmin(cohort.losses[penalty]))
        assert members.loc[members["method"] == method, "student"].tolist() == [best]
        seen = cohort.seen[best]
        np.testing.assert_allclose(answers[method][seen], cohort.predictions[penalty, best][seen], rtol=1e-6)


def test_the_independent_ensemble_is_selected_anew():
    differing = 0
    for seed in range(10):
        _, members = answers_and_members(*some_cohort(seed))
        chosen = members.groupby("method")["student"].agg(frozenset)
        differing += chosen["meta_fusion"] != chosen["independent_meta_fusion"]
    assert differing > 0


@pytest.mark.parametrize(
    ("settings", "method"), [(REUSED, "independent_meta_fusion"), (LOOSE, "independent_meta_fusion_reused")]
)
@pytest.mark.parametrize("seed", range(10))
def test_the_list_of_the_chosen_penalty_is_reused_with_independent_weights(seed, settings, method):
    cohort, samples = some_cohort(seed)
    answers, table = answers_and_members(cohort, samples, settings)
    list_of_chosen = sorted(members_of(table, "meta_fusion"))
    inverse = {student: 1 / cohort.losses[0, student] for student in list_of_chosen}
    expected = {student: value / sum(inverse.values()) for student, value in inverse.items()}
    assert members_of(table, method) == pytest.approx(expected)
    for sample in range(6):
        voters = [student for student in expected if cohort.seen[student, sample]]
        mean = sum(expected[i] * cohort.predictions[0, i, sample, 0] for i in voters)
        if voters:
            mean /= sum(expected[i] for i in voters)
            assert answers[method][sample, 0] == pytest.approx(mean, rel=1e-6)


def test_a_reused_list_changes_the_independent_greedy_ensemble_only():
    cohort, samples = some_cohort(3)
    selected, reused = (answers_and_members(cohort, samples, settings)[1] for settings in (LOOSE, REUSED))
    assert set(selected["method"]) - set(reused["method"]) == {"independent_meta_fusion_reused"}
    differing = [
        method for method in reused["method"].unique() if members_of(selected, method) != members_of(reused, method)
    ]
    assert differing == ["independent_meta_fusion"]


def test_a_reused_list_whose_members_all_diverged_alone_is_refused_with_a_remedy():
    cohort, samples = some_cohort(3)
    one = Ensemble(keep=1, start=1, most=1, independent_list="reused")
    list_of_chosen = members_of(answers_and_members(cohort, samples, one)[1], "meta_fusion")
    with pytest.raises(UserError, match=r"^seed 3: all members of meta_fusion diverged.*independent_list: selected"):
        answers_and_members(without(cohort, 0, *list_of_chosen), samples, one)


def test_a_reused_list_whose_members_all_diverged_alone_has_no_score_where_it_stands_beside_the_selected_one():
    cohort, samples = some_cohort(3)
    one = Ensemble(keep=1, start=1, most=1)
    list_of_chosen = members_of(answers_and_members(cohort, samples, one)[1], "meta_fusion")
    broken = without(cohort, 0, *list_of_chosen)
    members, _, scores = evaluate(samples, [broken], [], "regression", ["mse"], one)
    assert "independent_meta_fusion_reused" not in set(members["method"])
    missing = scores[scores["value"].isna()]["method"].unique()
    (one_student,) = list_of_chosen
    assert sorted(missing) == ["independent_meta_fusion_reused", f"independent_student_{one_student}"]


@pytest.mark.parametrize("penalty", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_ensembles_are_those_of_a_cohort_without_the_students_that_diverged(seed, penalty):
    cohort, samples = some_cohort(seed, students=5)
    best = int(np.argmin(cohort.losses[penalty]))
    rest = [student for student in range(5) if student != best]
    smaller = replace(
        cohort, predictions=cohort.predictions[:, rest], seen=cohort.seen[rest], losses=cohort.losses[:, rest]
    )
    found, members = answers_and_members(without(cohort, penalty, best), samples)
    expected, fewer = answers_and_members(smaller, samples)
    # At the other penalty the student stays.
    for method in KINDS if penalty == 1 else [f"independent_{kind}" for kind in KINDS]:
        np.testing.assert_array_equal(found[method], expected[method])
        renamed = {rest[student]: weight for student, weight in members_of(fewer, method).items()}
        assert members_of(members, method) == renamed
    del found["independent_meta_fusion_reused"]
    assert all(np.isfinite(answer).all() for answer in found.values())


def test_a_member_of_a_reused_list_that_diverged_alone_has_no_weight():
    cohort, samples = some_cohort(3)
    everybody = Ensemble(keep=1, start=4, independent_list="reused")
    answers, table = answers_and_members(without(cohort, 0, 1), samples, everybody)
    assert sorted(members_of(table, "meta_fusion")) == [0, 1, 2, 3]
    assert sorted(members_of(table, "independent_meta_fusion")) == [0, 2, 3]
    assert np.isfinite(answers["independent_meta_fusion"]).all()


def test_a_cohort_that_diverged_as_a_whole_is_refused_with_seed_and_remedy():
    cohort, samples = some_cohort(seed=8)
    with pytest.raises(UserError, match=r"^seed 8: all students diverged.*lower cohort\.learning_rate"):
        evaluated(samples, [without(cohort, 1, 0, 1, 2, 3)])


def test_samples_that_only_diverged_students_see_are_refused_with_seed_number_and_remedy():
    cohort, samples = some_cohort(seed=8)
    # Samples a and c are seen by students 0 and 1, of which both diverged.
    cohort.seen[2, [0, 2]] = False
    with pytest.raises(UserError, match=r"^seed 8: all students that see anything of 2 samples diverged.*lower cohort"):
        evaluated(samples, [without(cohort, 1, 0, 1)])
    evaluated(samples, [without(cohort, 1, 0)])


def test_a_student_that_diverged_has_no_score_and_the_others_keep_theirs():
    cohort, samples = some_cohort()
    before, after = (evaluated(samples, [one])[2] for one in (cohort, without(cohort, 1, 2)))
    of_student = after["method"] == "student_2"
    assert after[of_student]["value"].isna().all()
    others = after["family"].isin(["student", "independent_student"]) & ~of_student
    assert others.sum() == 7
    pd.testing.assert_frame_equal(after[others], before[others])


def test_if_the_independent_cohort_is_chosen_both_say_the_same():
    answers, _ = answers_and_members(*some_cohort(chosen=0))
    for kind in KINDS:
        np.testing.assert_array_equal(answers[kind], answers[f"independent_{kind}"])


def test_ensemble_answers_are_weighted_by_their_members():
    cohort, samples = some_cohort()
    answers, members = answers_and_members(cohort, samples)
    weights = members[members["method"] == "weighted_average"].set_index("student")["weight"]
    for sample in range(6):
        voters = [student for student in weights.index if cohort.seen[student, sample]]
        expected = sum(weights[i] * cohort.predictions[1, i, sample, 0] for i in voters) / weights[voters].sum()
        assert answers["weighted_average"][sample, 0] == pytest.approx(expected, rel=1e-6)


def test_students_answer_only_for_what_they_see():
    cohort, _ = some_cohort()
    answers = student_answers(cohort.predictions, cohort.seen, cohort.chosen)
    assert np.isnan(answers["student_3"][:, 0]).tolist() == [True, False] * 3
    np.testing.assert_array_equal(answers["student_3"][1::2], cohort.predictions[1, 3, 1::2])
    np.testing.assert_array_equal(answers["independent_student_0"], cohort.predictions[0, 0])
    assert len(answers) == 8


def comparator(seeds, methods=("prior",)):
    tables = [
        long_predictions({method: np.full((6, 1), float(seed)) for method in methods}, PARTS, [], seed)
        for seed in seeds
    ]
    return pd.concat(tables, ignore_index=True)


def evaluated(samples, cohorts, comparators=()):
    return evaluate(samples, cohorts, list(comparators), "regression", ["mse"], LOOSE)


def test_targets_of_the_test_part_change_test_scores_only():
    cohort, samples = some_cohort()
    other = samples.assign(target=[*samples["target"][:4], 50.0, -70.0])
    before, after = (evaluated(table, [cohort], [comparator([1])]) for table in (samples, other))
    pd.testing.assert_frame_equal(before[0], after[0])
    pd.testing.assert_frame_equal(before[1], after[1])
    tested = before[2]["part"] == "test"
    pd.testing.assert_frame_equal(before[2][~tested], after[2][~tested])
    assert (before[2][tested]["value"] != after[2][tested]["value"]).all()


def test_a_comparator_is_scored_by_what_it_said_for_the_seed():
    cohort, samples = some_cohort(seed=2)
    _, _, scores = evaluated(samples, [cohort], [comparator([1, 2])])
    found = scores[(scores["method"] == "prior") & (scores["part"] == "test")]["value"].item()
    assert found == pytest.approx(np.mean((2.0 - samples["target"].to_numpy()[4:]) ** 2))


def test_every_method_is_scored_in_every_part_and_students_in_the_test_part():
    samples = some_cohort()[1]
    cohorts = [some_cohort(seed)[0] for seed in (1, 2)]
    _, predictions, scores = evaluated(samples, cohorts, [comparator([1, 2]), comparator([1, 2], ["early_fusion"])])
    assert not scores.duplicated(["method", "seed", "part", "metric"]).any()
    # 9 ensembles, 2 comparators, 8 students; predictions hold all but the students.
    counts = scores.groupby(["seed", "part"]).size()
    assert counts.to_dict() == {
        (seed, part): 19 if part == "test" else 11 for seed in (1, 2) for part in ("train", "validation", "test")
    }
    assert predictions.groupby(["seed", "sample"]).size().tolist() == [11] * 12


def test_predictions_and_members_are_those_of_the_seed():
    samples = some_cohort()[1]
    cohorts = [some_cohort(seed)[0] for seed in (1, 2)]
    together = evaluated(samples, cohorts)
    alone = evaluated(samples, cohorts[1:])
    for whole, part in zip(together, alone, strict=True):
        pd.testing.assert_frame_equal(whole[whole["seed"] == 2].reset_index(drop=True), part)


def test_votes_are_ensembles_of_classes():
    random = np.random.default_rng(0)
    predictions = random.standard_normal((2, 3, 6, 3)).astype(np.float32)
    cohort = StoredSeed(1, PARTS, predictions, np.ones((3, 6), bool), random.uniform(1, 2, (2, 3)), 1, [0.0, 0.99])
    answers, members = ensemble_answers(cohort, np.array([0, 2]), "classification", LOOSE)
    for prefix, index in (("", 1), ("independent_", 0)):
        favourites = predictions[index].argmax(axis=2)
        shares = np.stack([(favourites == label).sum(axis=0) for label in range(3)], axis=1)
        np.testing.assert_array_equal(answers[f"{prefix}majority_vote"].argmax(axis=1), shares.argmax(axis=1))
        inverse = 1 / cohort.losses[index]
        expected = dict(enumerate(inverse / inverse.sum()))
        assert members_of(members, f"{prefix}weighted_vote") == pytest.approx(expected)


def test_decisions_with_thresholds_stand_beside_the_ensemble_only_where_they_are_wanted():
    random = np.random.default_rng(0)
    predictions = random.standard_normal((2, 3, 6, 2)).astype(np.float32)
    losses = random.uniform(1, 2, (2, 3))
    cohort = StoredSeed(1, PARTS, predictions, np.ones((3, 6), bool), losses, 1, [0.0, 0.99])
    samples = pd.DataFrame({"sample": list("abcdef"), "target": ["no", "no", "no", "yes", "no", "yes"]})
    usual, decided = (
        evaluate(samples, [cohort], [], "classification", ["accuracy"], LOOSE.model_copy(update=changes))[1:]
        for changes in ({}, {"thresholds": "balanced_accuracy"})
    )
    names = [set(tables[1]["method"]) for tables in (usual, decided)]
    assert names[1] - names[0] == {"meta_fusion_thresholds", "independent_meta_fusion_thresholds"}
    kept = decided[0][~decided[0]["method"].str.contains("thresholds")].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, usual[0])
    for name in ("meta_fusion", "independent_meta_fusion"):
        of_method = decided[0].set_index("method").iloc[:, 3:]
        said, other = (of_method.loc[one].to_numpy() for one in (name, f"{name}_thresholds"))
        known = (PARTS["part"] == "validation").to_numpy()
        targets = (samples["target"] == "yes").to_numpy().astype(int)
        np.testing.assert_allclose(other, with_thresholds(said, targets, known), atol=1e-6)


def penalties_of(samples, cohorts, **changes):
    options = {"task": "regression", "metrics": ["mse"], "settings": LOOSE} | changes
    return by_penalty(samples, cohorts, **options)


def values_of(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    return table.set_index("method")["value"]


@pytest.mark.parametrize("chosen", [0, 1])
def test_every_penalty_is_scored_as_if_it_were_the_chosen_one(chosen):
    cohorts = [some_cohort(seed, chosen)[0] for seed in (1, 2)]
    samples = some_cohort()[1]
    found = penalties_of(samples, cohorts)
    assert list(found.columns) == ["seed", "penalty", "method", "part", "metric", "value"]
    assert set(found["part"]) == {"test"}
    for cohort in cohorts:
        for index, penalty in enumerate([0.0, 0.99]):
            _, _, scores = evaluated(samples, [replace(cohort, chosen=index)])
            expected = values_of(scores[scores["family"].isin(["cohort", "student"])], part="test")
            values = values_of(found, seed=cohort.seed, penalty=penalty)
            pd.testing.assert_series_equal(values[expected.index], expected)
            assert len(values) == len(expected) == 8


def test_a_penalty_at_which_all_diverged_has_no_ensembles():
    cohort, samples = some_cohort(chosen=0)
    found = penalties_of(samples, [without(cohort, 1, 0, 1, 2, 3)])
    values = values_of(found, penalty=0.99)
    assert list(values.index) == [f"student_{number}" for number in range(4)]
    assert values.isna().all()
    assert values_of(found, penalty=0.0).notna().all()


def test_samples_that_only_diverged_students_see_are_left_out_at_that_penalty():
    cohort, samples = some_cohort(chosen=0)
    cohort.seen[:3, 4] = [True, False, False]
    cohort.seen[3, 4] = False
    found = values_of(penalties_of(samples, [without(cohort, 1, 0)]), penalty=0.99)
    other = samples.assign(target=[*samples["target"][:4], 1e6, samples["target"][5]])
    pd.testing.assert_series_equal(found, values_of(penalties_of(other, [without(cohort, 1, 0)]), penalty=0.99))
    assert np.isfinite(found.drop("student_0")).all()


def larger_cohort(students, seed=1, seen_by_all=True):
    random = np.random.default_rng(seed)
    count = 30
    parts = pd.DataFrame({"sample": [f"s{i}" for i in range(count)], "part": ["train", "validation", "test"] * 10})
    targets = random.standard_normal(count)
    noise = random.standard_normal((2, students, count)) * random.uniform(0.5, 2, (1, students, 1))
    predictions = (targets + noise)[..., None].astype(np.float32)
    validation = parts["part"] == "validation"
    losses = np.square(predictions[..., 0] - targets)[:, :, validation].mean(axis=2)
    seen = np.ones((students, count), bool)
    samples = pd.DataFrame({"sample": parts["sample"], "target": targets})
    return StoredSeed(seed, parts, predictions, seen, losses, 1, [0.0, 0.99]), samples


def students_of(samples, cohorts, settings=LOOSE):
    return by_students(samples, cohorts, "regression", "mse", settings)


@pytest.mark.parametrize(
    ("students", "draws"),
    [
        (1, {1: 1}),
        (2, {1: 2, 2: 1}),
        (6, {1: 6, 2: 15, 4: 15, 6: 1}),
        (8, {1: 8, 2: 20, 4: 20, 8: 1}),
        (24, {1: 20, 2: 20, 4: 20, 8: 20, 16: 20, 24: 1}),
    ],
)
def test_sets_of_students_double_until_all_are_there(students, draws):
    cohort, samples = larger_cohort(students)
    found = students_of(samples, [cohort])
    assert list(found.columns) == ["seed", "students", "draw", "method", "metric", "value"]
    for method in ("meta_fusion", "best_single", "simple_average"):
        table = found[found["method"] == method]
        assert table.groupby("students").size().to_dict() == draws
        assert not table.duplicated(["students", "draw"]).any()
    assert len(found) == 3 * sum(draws.values())


def test_all_students_together_are_the_ensembles_of_the_cohort():
    cohort, samples = larger_cohort(9)
    found = values_of(students_of(samples, [cohort]), students=9)
    scores = values_of(evaluated(samples, [cohort])[2], part="test")
    pd.testing.assert_series_equal(found, scores[found.index])


def test_of_few_students_every_set_is_scored():
    cohort, samples = larger_cohort(5)
    found = students_of(samples, [cohort])
    tested = cohort.parts["part"] == "test"
    targets = samples["target"].to_numpy()[tested]
    answers = cohort.predictions[1, :, tested, 0].T
    for size in (1, 2, 4):
        for method, expected in (
            ("simple_average", lambda members: answers[members].mean(axis=0)),
            ("best_single", lambda members: answers[min(members, key=lambda one: cohort.losses[1, one])]),
        ):
            by_hand = [np.mean((expected(list(m)) - targets) ** 2) for m in combinations(range(5), size)]
            values = found[(found["students"] == size) & (found["method"] == method)].sort_values("draw")["value"]
            np.testing.assert_allclose(values, by_hand, rtol=1e-5)


def test_sets_of_students_are_those_of_the_seed_and_differ_between_seeds():
    cohort, samples = larger_cohort(10)
    alone, again = students_of(samples, [cohort]), students_of(samples, [replace(cohort, seed=5), cohort])
    pd.testing.assert_frame_equal(alone, again[again["seed"] == 1].reset_index(drop=True))
    other = again[again["seed"] == 5]
    assert (other[other["students"] == 4]["value"].to_numpy() != alone[alone["students"] == 4]["value"]).mean() > 0.5


def test_students_that_diverged_are_in_no_set():
    cohort, samples = larger_cohort(6)
    found = students_of(samples, [without(cohort, 1, 2)])
    rest = [0, 1, 3, 4, 5]
    smaller = replace(
        cohort, predictions=cohort.predictions[:, rest], seen=cohort.seen[rest], losses=cohort.losses[:, rest]
    )
    pd.testing.assert_frame_equal(found, students_of(samples, [smaller]))


def test_a_set_of_students_is_scored_on_what_it_sees():
    cohort, samples = larger_cohort(2)
    tested = np.flatnonzero(cohort.parts["part"] == "test")
    cohort.seen[1, tested[:6]] = False
    found = students_of(samples, [cohort])
    values = values_of(found, students=1, draw=1)
    targets = samples["target"].to_numpy()
    expected = np.mean((cohort.predictions[1, 1, tested[6:], 0] - targets[tested[6:]]) ** 2)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_a_set_of_students_is_chosen_on_what_it_sees():
    cohort, samples = larger_cohort(6)
    unseen = int(np.flatnonzero(cohort.parts["part"] == "validation")[0])
    cohort.seen[1:, unseen] = False
    elsewhere = replace(
        cohort, parts=cohort.parts.assign(part=cohort.parts["part"].mask(cohort.parts.index == unseen, "train"))
    )
    found, expected = (students_of(samples, [one]) for one in (cohort, elsewhere))
    # Sets are in the order of their members: those without student 0 come last.
    last = {1: 1, 2: 5, 4: 10}
    compared = [found["students"].eq(size) & found["draw"].ge(draw) for size, draw in last.items()]
    rows = np.any(compared, axis=0)
    assert rows.sum() == 3 * (5 + 10 + 5)
    pd.testing.assert_frame_equal(found[rows], expected[rows])
    assert found["value"].notna().all()


def test_targets_of_the_test_part_choose_no_student_of_a_set():
    cohort, samples = larger_cohort(8)
    tested = cohort.parts["part"] == "test"
    answers = cohort.predictions[1, :, tested, 0].T
    winners = []
    for shift in (0, 50):
        targets = samples["target"] + shift * tested
        errors = np.square(answers - targets[tested].to_numpy()).mean(axis=1)
        found = students_of(samples.assign(target=targets), [cohort])
        values = found[found["method"] == "best_single"]["value"].to_numpy()
        winners.append(np.abs(values[:, None] - errors).argmin(axis=1).tolist())
    assert winners[0] == winners[1]
    assert len(set(winners[0])) > 2


SAMPLES = pd.DataFrame({"sample": list("abc"), "target": ["well", "ill", "well"]})


def test_classes_are_in_alphabetical_order_and_numbers_have_none():
    assert classes_of(SAMPLES, "classification") == ["ill", "well"]
    assert classes_of(SAMPLES, "regression") == []


def test_classes_become_their_numbers():
    found = numbers_of(SAMPLES, ["ill", "well"])
    assert (found.tolist(), found.dtype) == ([1, 0, 1], np.int64)


def test_a_part_that_lacks_a_class_keeps_the_numbers_of_the_others():
    assert numbers_of(SAMPLES.iloc[[0, 2]], ["ill", "well"]).tolist() == [1, 1]


def test_a_target_of_no_class_is_refused():
    with pytest.raises(ValueError, match="none of the classes"):
        numbers_of(SAMPLES, ["ill", "odd"])


@pytest.mark.parametrize("targets", [np.array([3, 4, 5]), np.array([3.5, 4.5, 5.5])])
def test_targets_of_the_test_part_are_taken_away(targets):
    found = without_test(targets, pd.Series(["train", "test", "validation"]))
    assert found.tolist() == [targets[0], 0, targets[2]]
    assert found.dtype == targets.dtype


def classes_cohort(seed=0):
    """Two penalties, three students and twelve samples of two classes, half of them tested."""
    random = np.random.default_rng(seed)
    parts = pd.DataFrame({"sample": list("abcdefghijkl"), "part": ["train"] * 2 + ["validation"] * 4 + ["test"] * 6})
    predictions = random.standard_normal((2, 3, 12, 2)).astype(np.float32)
    losses = random.uniform(1, 2, (2, 3))
    samples = pd.DataFrame({"sample": parts["sample"], "target": ["ill", "well", "well"] * 4})
    samples["subject"] = samples["sample"]
    return StoredSeed(seed, parts, predictions, np.ones((3, 12), bool), losses, 1, [0.0, 0.99]), samples


ASKED = ("sensitivity", "specificity")


@pytest.mark.parametrize("positive", ["ill", "well", None])
def test_sensitivity_is_that_of_the_class_named_in_every_table_of_scores(positive):
    cohort, samples = classes_cohort()
    _, predictions, scores = evaluate(samples, [cohort], [], "classification", list(ASKED), LOOSE, positive)
    penalties = by_penalty(samples, [cohort], "classification", list(ASKED), LOOSE, positive)
    groups = by_subgroup(
        samples, samples[["sample"]].assign(all=1), predictions, "classification", list(ASKED), {"all": None}, positive
    )
    numbers = by_students(samples, [cohort], "classification", "sensitivity", LOOSE, positive)
    # Guesses of the second student at the chosen penalty, and the truth, of the six samples of the test part.
    guesses = np.array(["ill", "well"])[cohort.predictions[1, 1, 6:].argmax(axis=1)]
    truth = samples["target"].to_numpy()[6:]
    recalls = {name: (guesses[truth == name] == name).mean() for name in ("ill", "well")}
    assert recalls == {"ill": 1 / 2, "well": 3 / 4}
    first = positive or "well"
    expected = {"sensitivity": recalls[first], "specificity": recalls["ill" if first == "well" else "well"]}
    for table in (scores, penalties[penalties["penalty"] == 0.99]):
        found = table[(table["method"] == "student_1") & (table["part"] == "test")].set_index("metric")["value"]
        assert found.to_dict() == pytest.approx(expected)
    # All are in one group, so it has the scores of everybody.
    tested = scores[(scores["part"] == "test") & ~scores["family"].str.endswith("student")]
    pd.testing.assert_series_equal(
        groups.set_index(["method", "metric"])["value"], tested.set_index(["method", "metric"])["value"]
    )
    ensembles = tested[tested["method"] == "meta_fusion"].set_index("metric")["value"]
    assert ensembles["sensitivity"] != ensembles["specificity"]
    everybody = numbers[(numbers["students"] == 3) & (numbers["method"] == "meta_fusion")]["value"].item()
    assert (
        everybody == tested[(tested["method"] == "meta_fusion") & (tested["metric"] == "sensitivity")]["value"].item()
    )


def test_an_unknown_positive_class_is_refused_with_those_that_there_are():
    cohort, samples = classes_cohort()
    with pytest.raises(UserError, match=r"positive: the target has no class 'sick'; .*Known: ill, well"):
        evaluate(samples, [cohort], [], "classification", list(ASKED), LOOSE, "sick")
    assert positive_number(["ill", "well"], "well") == 1
    assert positive_number(["ill", "well"], None) is None


def answered(method, seed, **errors):
    """Test predictions of a method that are wrong by so much for each sample, whose targets are 0."""
    rows = [(method, seed, sample, "test", error) for sample, error in errors.items()]
    return pd.DataFrame(rows, columns=["method", "seed", "sample", "part", "prediction"])


GROUPED = pd.DataFrame({"sample": list("abcde"), "subject": ["p", "p", "q", "r", "s"], "target": [0.0] * 5})
GROUPS = pd.DataFrame(
    {"sample": list("abcde"), "age": [50.0, 51.0, 60.0, 70.0, np.nan], "sex": ["f", "f", "m", "m", "m"]}
)


def groups_of(predictions, **subgroups):
    table = by_subgroup(GROUPED, GROUPS, predictions, "regression", ["mae"], subgroups or {"age": [55], "sex": None})
    assert set(table["metric"]) == {"mae"}
    return {
        (row.seed, row.method, row.column, row.level): (row.value, row.samples, row.subjects)
        for row in table.itertuples()
    }


def test_groups_are_scored_on_their_own_samples_of_the_test_part():
    predictions = pd.concat(
        [
            answered("m", 1, a=1.0, b=3.0, c=5.0, e=8.0),
            answered("m", 1, d=99.0).assign(part="train"),
            answered("n", 2, d=7.0),
        ]
    )
    nan = pytest.approx(float("nan"), nan_ok=True)
    assert groups_of(predictions) == {
        # Samples a and b are of one subject.
        (1, "m", "age", "below 55"): (2.0, 2, 1),
        (1, "m", "age", "55 and above"): (5.0, 1, 1),
        (1, "m", "age", "unknown"): (8.0, 1, 1),
        (1, "m", "sex", "f"): (2.0, 2, 1),
        (1, "m", "sex", "m"): (6.5, 2, 2),
        # Groups that a seed does not test have a row without a value.
        (2, "n", "age", "below 55"): (nan, 0, 0),
        (2, "n", "age", "55 and above"): (7.0, 1, 1),
        (2, "n", "age", "unknown"): (nan, 0, 0),
        (2, "n", "sex", "f"): (nan, 0, 0),
        (2, "n", "sex", "m"): (7.0, 1, 1),
    }


def test_samples_that_a_method_has_no_answer_for_are_in_no_group():
    found = groups_of(answered("m", 1, a=1.0, b=float("nan"), c=4.0), sex=None)
    assert found == {(1, "m", "sex", "f"): (1.0, 1, 1), (1, "m", "sex", "m"): (4.0, 1, 1)}


def test_without_groups_there_is_a_table_with_columns_and_no_rows(tmp_path):
    table = by_subgroup(GROUPED, GROUPS, answered("m", 1, a=1.0), "regression", ["mae"], {})
    write_table(table, tmp_path / "none.parquet")
    found = read_table(tmp_path / "none.parquet")
    assert found.columns.tolist() == ["seed", "column", "level", "method", "metric", "value", "samples", "subjects"]
    assert len(found) == 0


def test_levels_that_look_like_numbers_are_text_in_a_file(tmp_path):
    people = GROUPS.assign(code=[1, 2, 1, 2, 1])
    table = by_subgroup(GROUPED, people, answered("m", 1, a=1.0, b=2.0), "regression", ["mae"], {"code": None})
    write_table(table, tmp_path / "groups.tsv")
    assert read_table(tmp_path / "groups.tsv")["level"].tolist() == ["1", "2"]

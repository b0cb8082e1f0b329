"""Tables and figures over seeds, by hand."""

import math

import pandas as pd
import pytest
import score_tables

from metafusion import figures, summary
from metafusion.files import read_table, write_table
from metafusion.summary import (
    by_penalty_table,
    by_students_table,
    differences_table,
    mutual_learning_table,
    penalties_table,
    ranks_table,
    students_table,
    subgroups_table,
    summarise,
)


def scores_of(values, metric="accuracy", part="test", family="cohort"):
    """Scores of methods: a list of values, one a seed."""
    return score_tables.scores_of(values, metric, {part: 1.0}, family)


def test_mean_and_standard_error_over_seeds():
    row = summarise(scores_of({"a": [1.0, 2.0, 6.0]}, "mse"), ["mse"]).iloc[0]
    # Deviations -2, -1, 3: variance 14 / 2, standard error sqrt(7 / 3).
    assert (row["mean"], row["seeds"]) == (3.0, 3)
    assert row["se"] == pytest.approx(math.sqrt(7 / 3))


def test_one_seed_has_no_standard_error():
    row = summarise(scores_of({"a": [0.5], "b": [0.4]}), ["accuracy"]).iloc[0]
    assert math.isnan(row["se"])
    assert row["mark"] == "best"


T_OF_THREE = 4.302652729749464
"""The 97.5 % quantile of Student's t with two degrees of freedom: sqrt(2) 0.95 / sqrt(1 - 0.95^2)."""


def test_the_quantile_of_the_intervals_is_right():
    assert math.sqrt(2) * 0.95 / math.sqrt(1 - 0.95**2) == pytest.approx(T_OF_THREE)


@pytest.mark.parametrize("shared", [None, 0.25])
def test_a_mean_has_students_interval_which_is_wider_where_seeds_share_samples(shared):
    row = summarise(scores_of({"a": [0.5, 0.6, 0.7]}), ["accuracy"], shared).iloc[0]
    # Variance 0.01 of each seed; of the mean a third of it, and as much as the test part's share more.
    half = T_OF_THREE * math.sqrt(0.01 * (1 / 3 + (shared or 0)))
    assert (row["low"], row["high"]) == (pytest.approx(0.6 - half), pytest.approx(0.6 + half))


@pytest.mark.parametrize(
    ("metric", "values", "low", "high"),
    [
        ("accuracy", [0.8, 0.9, 1.0], 0.9 - T_OF_THREE * math.sqrt(0.01 / 3), 1),
        ("mse", [1.0, 2.0, 6.0], 0, 3 + T_OF_THREE * math.sqrt(7 / 3)),
        ("r2", [0.9, 0.0, -0.9], -T_OF_THREE * math.sqrt(0.81 / 3), 1),
        ("brier", [0.1, 0.3, 0.2], 0, 0.2 + T_OF_THREE * math.sqrt(0.01 / 3)),
        ("brier", [1.2, 1.4, 1.6], 1.4 - T_OF_THREE * math.sqrt(0.04 / 3), 1.4 + T_OF_THREE * math.sqrt(0.04 / 3)),
    ],
)
def test_an_interval_ends_where_the_measure_does(metric, values, low, high):
    row = summarise(scores_of({"a": values}, metric), [metric]).iloc[0]
    assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("values", [[0.5], [0.1, 0.1, 0.1], [0.5, float("nan")], [float("nan")] * 2])
def test_seeds_that_say_nothing_of_their_spread_make_no_interval(values):
    row = summarise(scores_of({"a": values, "b": [0.3, 0.2]}), ["accuracy"]).set_index("method").loc["a"]
    assert row[["low", "high"]].isna().all()


# The best of 'accuracy' has mean 0.8 and standard error 0.1: values 0.7 and 0.9 deviate by 0.1, se = 0.1414 / 1.414.
ACCURACIES = {"good": [0.71, 0.71], "best": [0.7, 0.9], "far": [0.69, 0.69], "equal": [0.8, 0.8]}


def marks(scores, metric):
    return summarise(scores, [metric]).set_index("method")["mark"].to_dict()


def test_methods_within_one_standard_error_of_the_best_are_marked():
    found = marks(scores_of({name: ACCURACIES[name] for name in ("good", "best", "far")}), "accuracy")
    assert found == {"best": "best", "good": "within_se", "far": ""}


def test_the_smallest_is_best_where_less_is_better():
    found = marks(scores_of({"a": [1.0, 3.0], "b": [2.9, 2.9], "c": [3.1, 3.1]}, "mse"), "mse")
    assert found == {"a": "best", "b": "within_se", "c": ""}


def test_the_standard_error_that_counts_is_that_of_the_best():
    found = marks(scores_of({"sure": [0.8, 0.8], "unsure": [0.3, 1.2]}), "accuracy")
    assert found == {"sure": "best", "unsure": ""}


def test_equal_means_are_all_best():
    found = marks(scores_of({"a": [0.5, 0.75], "b": [0.75, 0.5]}), "accuracy")
    assert found == {"a": "best", "b": "best"}


@pytest.mark.parametrize(("metric", "order"), [("accuracy", ["c", "a", "b"]), ("mse", ["b", "a", "c"])])
def test_the_best_comes_first(metric, order):
    table = summarise(scores_of({"a": [0.5, 0.5], "b": [0.2, 0.2], "c": [0.9, 0.9]}, metric), [metric])
    assert table["method"].tolist() == order


def test_metrics_come_in_the_order_wanted():
    both = pd.concat([scores_of({"a": [0.5]}), scores_of({"a": [0.3]}, "log_loss")])
    assert summarise(both, ["log_loss", "accuracy"])["metric"].tolist() == ["log_loss", "accuracy"]


@pytest.mark.parametrize("part", ["train", "validation"])
def test_only_the_test_part_counts(part):
    both = pd.concat([scores_of({"a": [0.5]}), scores_of({"a": [1.0]}, part=part)])
    assert summarise(both, ["accuracy"])["mean"].tolist() == [0.5]


def test_students_are_in_a_table_of_their_own():
    both = scores_of({"meta_fusion": [0.5], "student_3": [0.9], "independent_student_3": [0.9]})
    assert summarise(both, ["accuracy"])["method"].tolist() == ["meta_fusion"]


def test_a_modality_called_student_is_no_student():
    both = scores_of({"modality_student_survey": [0.5], "meta_fusion": [0.6]})
    assert len(summarise(both, ["accuracy"])) == 2


def test_seeds_without_a_value_are_left_out():
    row = summarise(scores_of({"a": [0.5, float("nan"), 0.7]}, "roc_auc"), ["roc_auc"]).iloc[0]
    assert (row["mean"], row["seeds"]) == (pytest.approx(0.6), 2)
    # Two values 0.1 from their mean: deviation 0.1414, standard error 0.1.
    assert row["se"] == pytest.approx(0.1)


def test_a_method_without_any_value_comes_last_and_unmarked():
    table = summarise(scores_of({"a": [float("nan")] * 2, "b": [0.4, 0.6]}, "roc_auc"), ["roc_auc"])
    assert table["method"].tolist() == ["b", "a"]
    assert table["mark"].tolist() == ["best", ""]


def test_a_method_that_lacks_a_seed_is_not_marked_however_good():
    table = summarise(scores_of({"lucky": [1.0, float("nan")], "a": [2.0, 4.0], "b": [9.0, 9.0]}, "mse"), ["mse"])
    assert table["method"].tolist() == ["lucky", "a", "b"]
    assert table["mark"].tolist() == ["", "best", ""]


def test_the_oracle_keeps_its_place_but_has_no_mark():
    scores = scores_of({"oracle": [1.0, 2.0], "a": [1.0, 3.0], "b": [2.9, 2.9], "prior": [2.8, 2.8]}, "mse")
    table = summarise(scores, ["mse"])
    assert table["method"].tolist() == ["oracle", "a", "prior", "b"]
    assert table["mark"].tolist() == ["", "best", "within_se", "within_se"]


def test_methods_are_compared_with_the_references_that_there_are_in_every_metric():
    values = {
        "a": [0.5, 0.7],
        "meta_fusion": [0.6, 0.6],
        "independent_meta_fusion": [0.4, 0.5],
        "student_1": [1.0, 1.0],
    }
    other = {name: [-value for value in several] for name, several in values.items()}
    both = pd.concat([scores_of(values), scores_of(other, "log_loss"), scores_of({"a": [9.0]}, "mse")])
    table = differences_table(both, ["log_loss", "accuracy"])
    assert table.columns.tolist()[:4] == ["metric", "method", "reference", "difference"]
    found = [(row.metric, row.reference, row.method, round(row.difference, 9)) for row in table.itertuples()]
    # Log loss is the better the lower, and here the negative accuracy: the same order, the opposite differences.
    accuracy = [
        ("meta_fusion", "a", 0.0),
        ("meta_fusion", "independent_meta_fusion", -0.15),
        ("independent_meta_fusion", "a", 0.15),
        ("independent_meta_fusion", "meta_fusion", 0.15),
    ]
    expected = [("log_loss", reference, method, -value) for reference, method, value in accuracy]
    assert found == expected + [("accuracy", *row) for row in accuracy]


def test_early_fusion_is_a_reference_where_it_is_there():
    table = differences_table(scores_of({"early_fusion": [0.5], "meta_fusion": [0.6]}), ["accuracy"])
    found = [(row.reference, row.method, round(row.difference, 9)) for row in table.itertuples()]
    assert found == [("meta_fusion", "early_fusion", -0.1), ("early_fusion", "meta_fusion", 0.1)]


def test_differences_are_corrected_within_one_reference_and_metric():
    values = {name: [place + seed**2 / 100 * place for seed in range(8)] for place, name in enumerate("abcd", start=1)}
    values |= {"meta_fusion": [0.0] * 8, "early_fusion": [0.5] * 8}
    table = differences_table(scores_of(values, "mse"), ["mse"])
    found = table[table["reference"] == "meta_fusion"]
    # All five methods lie above the reference in all eight seeds: p = 2 / 2^8, five times that after Holm.
    assert found["p_corrected"].tolist() == pytest.approx([5 * 2 / 2**8] * 5)


@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("log_loss", -1)])
def test_what_mutual_learning_added_is_paired_with_the_same_ensemble_without_it(metric, sign):
    values = {
        "meta_fusion": [0.5, 0.7, 0.9],
        "independent_meta_fusion": [0.5, 0.6, 0.6],
        "independent_meta_fusion_reused": [0.0, 0.0, 0.0],
        "best_single": [0.4, 0.4, 0.4],
        "independent_best_single": [0.5, 0.5, 0.5],
        "early_fusion": [0.1, 0.2, 0.3],
    }
    selection = pd.DataFrame(
        [
            (seed, penalty, int(penalty == best))
            for seed, best in ((1, 0.0), (2, 3.0), (3, 0.5))
            for penalty in (0.0, 0.5, 3.0)
        ],
        columns=["seed", "penalty", "chosen"],
    )
    table = mutual_learning_table(scores_of(values, metric), selection, [metric], 0.25)
    assert table["method"].tolist() == ["meta_fusion", "best_single"]
    first, second = table.itertuples()
    # Differences 0, 0.1, 0.3: mean 0.4 / 3, variance (0.1 - 0.16 / 3) / 2.
    half = T_OF_THREE * math.sqrt((0.1 - 0.16 / 3) / 2 * (1 / 3 + 0.25))
    assert first.gain == pytest.approx(sign * 0.4 / 3)
    assert (first.low, first.high) == pytest.approx((first.gain - half, first.gain + half))
    assert (first.seeds, first.taught) == (3, 2)
    assert second.gain == pytest.approx(-0.1 * sign)


def test_seeds_that_share_samples_have_wider_intervals():
    values = scores_of({"a": [0.5, 0.7, 0.6, 0.9, 0.4, 0.8], "meta_fusion": [0.4, 0.7, 0.4, 0.5, 0.5, 0.5]})
    own, shared = (differences_table(values, ["accuracy"], ratio).iloc[0] for ratio in (None, 0.25))
    assert own["difference"] == shared["difference"]
    assert shared["high"] - shared["low"] > 1.3 * (own["high"] - own["low"])


def test_the_test_part_is_counted_against_all_others_in_every_seed():
    manifest = pd.DataFrame(
        [
            (1, "train", "ill", 4),
            (1, "train", "well", 5),
            (1, "validation", "ill", 1),
            (1, "test", "ill", 2),
            (1, "test", "well", 3),
            (2, "train", "ill", 8),
            (2, "validation", "ill", 2),
            (2, "test", "ill", 4),
        ],
        columns=["seed", "part", "class", "samples"],
    )
    # 5 / 10 and 4 / 10.
    assert summary.tested_to_others(manifest) == pytest.approx(0.45)


def test_ranks_are_of_competitors_only():
    scores = pd.concat(
        [
            scores_of({"a": [0.5, 0.9, 0.9], "b": [0.6, 0.8, 0.7], "c": [0.4, 0.2, 0.1]}),
            scores_of({"student_0": [1.0] * 3}, family="student"),
            scores_of({"prior": [0.0, 0.85, 0.8], "oracle": [1.0] * 3}, family="reference"),
        ]
    )
    table = ranks_table(scores, "accuracy")
    assert table["method"].tolist() == ["a", "b", "c"]
    assert table["mean_rank"].tolist() == pytest.approx([4 / 3, 5 / 3, 3])
    assert table["seeds"].tolist() == [3] * 3
    # Rank sums 4, 5, 9 of n = 3 seeds, k = 3 methods: chi2 = 12 / (n k (k + 1)) 122 - 3 n (k + 1) = 14 / 3.
    assert table["friedman_p"].tolist() == pytest.approx([math.exp(-7 / 3)] * 3)


def test_every_penalty_has_a_mean_of_every_method_on_the_test_part():
    scores = pd.concat(
        [
            scores_of({"meta_fusion": [1.0, 3.0], "student_0": [5.0, float("nan")]}, "mse").assign(penalty=0.0),
            scores_of({"meta_fusion": [2.0, 2.0], "student_0": [4.0, 8.0]}, "mse").assign(penalty=0.5),
            scores_of({"meta_fusion": [9.0, 9.0]}, "mse", part="validation").assign(penalty=0.5),
            scores_of({"meta_fusion": [0.5, 0.7]}, "mae").assign(penalty=0.5),
        ]
    ).drop(columns="family")
    table = by_penalty_table(scores, ["mse", "mae"])
    found = [tuple(row) for row in table.fillna(-1.0).itertuples(index=False)]
    assert table.columns.tolist() == ["penalty", "method", "metric", "mean", "se", "seeds"]
    # Two values one from their mean have standard error 1.
    assert found == [
        (0.0, "meta_fusion", "mse", 2.0, pytest.approx(1), 2),
        (0.0, "student_0", "mse", 5.0, -1.0, 1),
        (0.5, "meta_fusion", "mse", 2.0, 0.0, 2),
        (0.5, "student_0", "mse", 6.0, pytest.approx(2), 2),
        (0.5, "meta_fusion", "mae", pytest.approx(0.6), pytest.approx(0.1), 2),
    ]


def test_draws_within_a_seed_count_as_one_value():
    rows = [
        *[(1, 2, draw, "meta_fusion", "mse", value) for draw, value in enumerate([1.0, 2.0, 3.0])],
        *[(2, 2, draw, "meta_fusion", "mse", value) for draw, value in enumerate([3.0, 5.0])],
        (1, 4, 0, "meta_fusion", "mse", 1.0),
        (1, 4, 0, "best_single", "mse", 7.0),
    ]
    scores = pd.DataFrame(rows, columns=["seed", "students", "draw", "method", "metric", "value"])
    table = by_students_table(scores)
    found = [tuple(row) for row in table.fillna(-1.0).itertuples(index=False)]
    assert table.columns.tolist() == ["students", "method", "metric", "mean", "se", "seeds"]
    # Seeds have means 2 and 4: mean 3, standard error 1, however many draws they have.
    assert found == [
        (2, "meta_fusion", "mse", 3.0, pytest.approx(1), 2),
        (4, "best_single", "mse", 7.0, -1.0, 1),
        (4, "meta_fusion", "mse", 1.0, -1.0, 1),
    ]


def groups_of(*rows):
    """Rows of seed, level, value and samples, of a method in one column and metric."""
    table = pd.DataFrame(rows, columns=["seed", "level", "value", "samples"])
    table = table.assign(column="age", method="meta_fusion", metric="accuracy", subjects=table["samples"] - 1)
    return table[["seed", "column", "level", "method", "metric", "value", "samples", "subjects"]]


def test_groups_count_in_the_seeds_that_test_ten_samples_of_them():
    nan = float("nan")
    scores = groups_of(
        (1, "old", 0.6, 10),
        (1, "a few", 1.0, 9),
        (2, "old", 0.9, 9),
        (2, "a few", nan, 0),
        (3, "old", 0.62, 14),
        (3, "a few", 1.0, 3),
    )
    table = subgroups_table(scores, ["accuracy"], 0.25)
    assert table["level"].tolist() == ["old", "a few"]
    old, few = (row for _, row in table.iterrows())
    # Two values 0.01 from their mean: variance 0.0002, standard error 0.01; t of two seeds is tan(0.475 pi).
    half = math.tan(0.475 * math.pi) * math.sqrt(0.0002 * (1 / 2 + 0.25))
    assert old[["mean", "se", "low", "high"]].tolist() == pytest.approx([0.61, 0.01, 0.61 - half, 0.61 + half])
    assert old[["seeds", "samples", "subjects", "family"]].tolist() == [2, 11, 10, "cohort"]
    assert few[["mean", "se", "low", "high"]].isna().all()
    assert few[["seeds", "samples", "subjects"]].tolist() == [0, 4, 3]


def test_groups_keep_their_order_and_metrics_that_wanted():
    both = [groups_of((seed, level, 0.5, 20)) for seed in (1, 2) for level in ("young", "old", "unknown")]
    scores = pd.concat([*both, *(table.assign(metric="mse", column="a") for table in both)], ignore_index=True)
    scores = pd.concat([scores, scores.assign(method="early_fusion")], ignore_index=True)
    scores.loc[scores["metric"] == "mse", "metric"] = "log_loss"
    more = pd.concat(
        [scores, scores.assign(metric=scores["metric"].map({"accuracy": "log_loss", "log_loss": "accuracy"}))]
    )
    table = subgroups_table(more, ["log_loss", "accuracy"])
    groups = [("age", level) for level in ("young", "old", "unknown")] + [
        ("a", level) for level in ("young", "old", "unknown")
    ]
    assert list(zip(table["column"], table["level"], table["metric"], table["method"], strict=True)) == [
        (*group, metric, method)
        for group in groups
        for metric in ("log_loss", "accuracy")
        for method in ("early_fusion", "meta_fusion")
    ]


def test_no_groups_make_a_table_with_columns_only(tmp_path):
    write_table(subgroups_table(groups_of(), ["accuracy"]), tmp_path / "by_subgroup.tsv")
    found = read_table(tmp_path / "by_subgroup.tsv")
    means = ["mean", "se", "low", "high", "seeds", "samples", "subjects"]
    assert found.columns.tolist() == ["column", "level", "method", "family", "metric", *means]
    assert found.empty


def test_students_have_a_row_for_each_cohort():
    scores = pd.concat(
        [
            scores_of({"student_0": [0.5, 0.7], "student_10": [0.9, 0.9]}, family="student"),
            scores_of({"independent_student_10": [0.2, 0.4]}, family="independent_student"),
            scores_of({"meta_fusion": [0.1, 0.1]}),
        ]
    )
    names = pd.DataFrame({"student": [0, 10], "name": ["a=raw", "a=pca3"], "a": ["raw", "pca3"]})
    table = students_table(scores, names, ["accuracy"])
    found = {(row.student, row.cohort): (row.name, row.mean, row.se) for row in table.itertuples(index=False)}
    assert found == {
        (0, "chosen_penalty"): ("a=raw", pytest.approx(0.6), pytest.approx(0.1)),
        (10, "chosen_penalty"): ("a=pca3", pytest.approx(0.9), pytest.approx(0)),
        (10, "independent"): ("a=pca3", pytest.approx(0.3), pytest.approx(0.1)),
    }


def test_a_modality_called_student_is_in_no_table_of_students():
    scores = pd.concat([scores_of({"student_0": [0.5]}, family="student"), scores_of({"modality_student_x": [0.6]})])
    table = students_table(scores, pd.DataFrame({"student": [0], "name": ["student_x=raw"]}), ["accuracy"])
    assert table["mean"].tolist() == [0.5]


def test_a_student_that_diverged_has_its_mean_over_the_other_seeds():
    values = {"student_0": [0.5, float("nan"), 0.7], "student_1": [float("nan")] * 3}
    students = pd.DataFrame({"student": [0, 1], "name": ["a=raw", "a=pca3"]})
    table = students_table(scores_of(values, family="student"), students, ["accuracy"]).set_index("student")
    assert table["seeds"].tolist() == [2, 0]
    # Two values 0.1 from their mean: standard error 0.1.
    assert table.loc[0, ["mean", "se"]].tolist() == [pytest.approx(0.6), pytest.approx(0.1)]
    assert table.loc[1, ["mean", "se"]].isna().all()


def test_heads_stand_in_the_table_of_students():
    students = pd.DataFrame({"student": [0, 1], "name": ["a=raw", "a=raw|head=8"], "head": ["linear", "8"]})
    scores = scores_of({"student_0": [0.5], "student_1": [0.7]}, family="student")
    assert students_table(scores, students, ["accuracy"])["head"].tolist() == ["linear", "8"]


SELECTION = ["seed", "penalty", "student", "teaching", "top_cluster", "validation_loss", "diverged", "chosen"]


def selection_of(*rows):
    return pd.DataFrame(rows, columns=SELECTION)


TWO_SEEDS = (
    (1, 0.0, 0, 0.5, 1, 1.0, 0, 0),
    (1, 0.0, 1, 0.5, 1, 3.0, 0, 0),
    (1, 0.0, 2, 0.0, 0, 9.0, 0, 0),
    (1, 3.0, 0, 0.5, 1, 1.0, 0, 1),
    (1, 3.0, 1, 0.5, 1, 2.0, 0, 1),
    (1, 3.0, 2, 0.0, 0, 9.0, 0, 1),
    (2, 0.0, 0, 1.0, 1, 4.0, 0, 0),
    (2, 0.0, 1, 0.0, 0, 7.0, 0, 0),
    (2, 3.0, 0, 1.0, 1, 2.0, 0, 1),
    (2, 3.0, 1, 0.0, 0, 8.0, 0, 1),
)


def test_penalties_count_how_often_they_were_chosen():
    found = penalties_table(selection_of(*TWO_SEEDS)).to_dict("records")
    # Top clusters of penalty 0: mean 2 (two teachers), and 4 (one); of penalty 3: mean 1.5, and 2.
    assert found == [
        {"penalty": 0.0, "top_cluster_loss": 3.0, "chosen": 0, "seeds": 2, "teachers": 1.5, "diverged": 0},
        {"penalty": 3.0, "top_cluster_loss": 1.75, "chosen": 2, "seeds": 2, "teachers": 1.5, "diverged": 0},
    ]


def test_teachers_outside_the_top_cluster_are_counted_but_their_loss_is_not_that_of_the_top():
    # The worst cluster teaches, and at penalty 3 in one seed nobody does.
    found = penalties_table(
        selection_of(
            (1, 0.0, 0, 0.0, 1, 1.0, 0, 1),
            (1, 0.0, 1, 0.5, 0, 8.0, 0, 1),
            (1, 0.0, 2, 0.5, 0, 9.0, 0, 1),
            (2, 0.0, 0, 0.0, 1, 3.0, 0, 1),
            (2, 0.0, 1, 0.0, 0, 8.0, 0, 1),
            (2, 0.0, 2, 0.0, 0, 9.0, 0, 1),
        )
    )
    assert found[["top_cluster_loss", "teachers"]].to_numpy().tolist() == [[2.0, 1.0]]


def test_a_seed_whose_top_cluster_diverged_is_no_part_of_the_mean_loss_of_that_penalty(tmp_path):
    broken = selection_of(*TWO_SEEDS)
    gone = (broken["seed"] == 1) & (broken["penalty"] == 3) & (broken["student"] > 0)
    broken.loc[gone, ["validation_loss", "diverged"]] = [math.inf, 1]
    write_table(broken, tmp_path / "selection.tsv")
    found = penalties_table(read_table(tmp_path / "selection.tsv"))
    assert found["top_cluster_loss"].tolist() == [3.0, 2.0]
    assert found["diverged"].tolist() == [0, 2]
    assert found["seeds"].tolist() == [2, 2]


WORDS = figures.Words("A study", "accuracy", simulated=False)


def cohort_figure(students, modalities=("a", "b")):
    return figures.cohort(students.assign(metric="accuracy"), list(modalities), WORDS)


def students_of(*rows):
    """Rows of name, representations of a and b, head, cohort, mean and seeds."""
    return pd.DataFrame(rows, columns=["student", "a", "b", "head", "cohort", "mean", "seeds"])


def cells_of(axes):
    """What stands in the cells of a heat map, by row and column."""
    rows, columns = (
        [label.get_text() for label in labels] for labels in (axes.get_yticklabels(), axes.get_xticklabels())
    )
    return {
        (rows[round(text.get_position()[1])], columns[round(text.get_position()[0])]): text.get_text()
        for text in axes.texts
    }


BOTH = ("independent", "chosen_penalty")


def test_the_heat_map_has_a_column_for_each_head_where_there_are_several(tmp_path):
    table = students_of(
        *[(0, "raw", "pca2", "64", cohort, 0.5, 3) for cohort in BOTH],
        *[(1, "raw", "pca2", "128", cohort, 0.625, 3) for cohort in BOTH],
        *[(2, "absent", "pca2", "128", cohort, 0.75, 3) for cohort in BOTH],
    )
    # As read from its file, where heads look like numbers.
    write_table(table, tmp_path / "students.tsv")
    figure = cohort_figure(read_table(tmp_path / "students.tsv"))
    expected = {("raw", "pca2\n64"): ".500", ("raw", "pca2\n128"): ".625", ("absent", "pca2\n128"): ".750"}
    assert [cells_of(axes) for axes in figure.axes[:2]] == [expected, expected]
    assert figure.axes[0].get_xlabel() == "b / head"


@pytest.mark.parametrize("columns", [["head"], []])
def test_the_heat_map_says_nothing_of_the_only_head(columns):
    table = students_of(*[(0, "raw", "pca2", "64", cohort, 0.5, 3) for cohort in BOTH]).drop(columns=columns)
    figure = cohort_figure(table)
    assert cells_of(figure.axes[0]) == {("raw", "pca2"): ".500"}
    assert figure.axes[0].get_xlabel() == "b"


def test_the_heat_map_of_one_modality_and_several_heads_has_the_heads_as_columns():
    table = students_of(
        *[(0, "raw", "", "linear", cohort, 0.5, 3) for cohort in BOTH],
        *[(1, "raw", "", "64", cohort, 0.75, 3) for cohort in BOTH],
    )
    assert cells_of(cohort_figure(table, ["a"]).axes[1]) == {("raw", "linear"): ".500", ("raw", "64"): ".750"}


def test_the_heat_map_crosses_a_student_without_a_score_and_says_over_how_many_seeds_it_is(tmp_path):
    table = students_of(
        (0, "raw", "raw", "64", "independent", 0.5, 3),
        (0, "raw", "raw", "64", "chosen_penalty", float("nan"), 0),
        (1, "raw", "absent", "64", "independent", 0.5, 3),
        (1, "raw", "absent", "64", "chosen_penalty", 0.75, 2),
        *[(2, "absent", "raw", "64", cohort, 0.5, 3) for cohort in BOTH],
    )
    figure = cohort_figure(table)
    assert cells_of(figure.axes[1]) == {
        ("raw", "raw"): "×",
        ("raw", "absent"): ".750",
        ("absent", "raw"): ".500",
    }
    assert figure.get_suptitle().endswith("mean over 0 to 3 seeds")
    figures.save(figure, tmp_path / "cohort.svg")


def test_the_heat_map_can_be_drawn_where_no_student_has_a_score(tmp_path):
    table = students_of(*[(0, "raw", "raw", "64", cohort, float("nan"), 0) for cohort in BOTH])
    figures.save(cohort_figure(table), tmp_path / "cohort.svg")


def history_of(losses, penalty=0.0, seed=1):
    """Curves of students: for each a list of validation losses, one an epoch; training losses are 1 less."""
    return pd.DataFrame(
        [
            (seed, penalty, student, epoch, loss - 1, loss)
            for student, several in losses.items()
            for epoch, loss in enumerate(several, start=1)
        ],
        columns=["seed", "penalty", "student", "epoch", "task_loss", "validation_loss"],
    )


def curves_of(axes):
    return {line.get_label(): [list(axis) for axis in line.get_data()] for line in axes.get_lines()}


def test_learning_curves_show_the_top_cluster_whoever_teaches():
    selection = selection_of((1, 0.0, 0, 0.0, 1, 2.0, 0, 1), (1, 0.0, 1, 1.0, 0, 6.0, 0, 1))
    figure = figures.learning_curves(history_of({0: [4.0, 2.0], 1: [8.0, 6.0]}), selection, WORDS)
    assert curves_of(figure.axes[0]) == {
        "top cluster, validation": [[1, 2], [4, 2]],
        "top cluster, training": [[1, 2], [3, 1]],
        "other students, validation": [[1, 2], [8, 6]],
        "other students, training": [[1, 2], [7, 5]],
    }


def test_learning_curves_leave_out_who_diverged_at_the_penalty_and_say_so(tmp_path):
    selection = selection_of(
        *[(1, 0.0, student, 0.5, 1, 2.0, 0, 1) for student in range(3)],
        (1, 3.0, 0, 0.5, 1, 2.0, 0, 0),
        (1, 3.0, 1, 0.5, 1, math.inf, 1, 0),
        (1, 3.0, 2, 0.5, 1, 6.0, 0, 0),
    )
    history = pd.concat(
        [
            history_of({0: [4.0, 2.0], 1: [1.0, 3.0], 2: [4.0, 4.0]}),
            history_of({0: [4.0, 2.0], 1: [1e30, math.nan], 2: [8.0, 6.0]}, penalty=3.0),
        ]
    )
    figure = figures.learning_curves(history, selection, WORDS)
    found = [curves_of(axes)["top cluster, validation"][1] for axes in figure.axes]
    assert found == [[3.0, 3.0], [6.0, 4.0]]
    assert "1 of 6 trainings diverged" in figure.get_suptitle().replace("\n", " ")
    figures.save(figure, tmp_path / "curves.svg")


def test_the_legend_of_learning_curves_has_what_any_panel_shows():
    # At penalty 0 everybody outside the top cluster diverged.
    selection = selection_of(
        (1, 0.0, 0, 1.0, 1, 2.0, 0, 1),
        (1, 0.0, 1, 0.0, 0, math.inf, 1, 1),
        (1, 3.0, 0, 1.0, 1, 2.0, 0, 0),
        (1, 3.0, 1, 0.0, 0, 6.0, 0, 0),
    )
    history = pd.concat([history_of({0: [4.0], 1: [math.nan]}), history_of({0: [4.0], 1: [8.0]}, penalty=3.0)])
    (legend,) = figures.learning_curves(history, selection, WORDS).legends
    assert len(legend.get_texts()) == 4


@pytest.mark.parametrize(("second", "said"), [([1.0, 2.0], "over 2 seeds"), ([1.0], "over up to 2 seeds")])
def test_learning_curves_say_where_a_seed_has_fewer_epochs(second, said):
    selection = selection_of((1, 0.0, 0, 1.0, 1, 2.0, 0, 1), (2, 0.0, 0, 1.0, 1, 2.0, 0, 1))
    history = pd.concat([history_of({0: [4.0, 2.0]}), history_of({0: second}, seed=2)])
    title = figures.learning_curves(history, selection, WORDS).get_suptitle().replace("\n", " ")
    assert title.endswith(said)

"""Tables over seeds, by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from metafusion.summary import confusion, penalties_table, students_table, summarise


def scores_of(values, metric="accuracy", part="test", family="cohort"):
    """Scores of methods: a list of values, one a seed."""
    rows = [
        (method, family, seed, part, metric, value)
        for method, several in values.items()
        for seed, value in enumerate(several, start=1)
    ]
    return pd.DataFrame(rows, columns=["method", "family", "seed", "part", "metric", "value"])


def test_mean_and_standard_error_over_seeds():
    row = summarise(scores_of({"a": [1.0, 2.0, 6.0]}, "mse"), ["mse"]).iloc[0]
    # Deviations -2, -1, 3: variance 14 / 2, standard error sqrt(7 / 3).
    assert (row["mean"], row["seeds"]) == (3.0, 3)
    assert row["se"] == pytest.approx(math.sqrt(7 / 3))


def test_one_seed_has_no_standard_error():
    row = summarise(scores_of({"a": [0.5], "b": [0.4]}), ["accuracy"]).iloc[0]
    assert math.isnan(row["se"])
    assert row["mark"] == "best"


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


def test_penalties_count_how_often_they_were_chosen():
    columns = ["seed", "penalty", "student", "teaching", "validation_loss", "best_epoch", "chosen"]
    rows = [
        (1, 0.0, 0, 0.5, 1.0, 1, 0),
        (1, 0.0, 1, 0.5, 3.0, 1, 0),
        (1, 0.0, 2, 0.0, 9.0, 1, 0),
        (1, 3.0, 0, 0.5, 1.0, 1, 1),
        (1, 3.0, 1, 0.5, 2.0, 1, 1),
        (1, 3.0, 2, 0.0, 9.0, 1, 1),
        (2, 0.0, 0, 1.0, 4.0, 1, 0),
        (2, 0.0, 1, 0.0, 7.0, 1, 0),
        (2, 3.0, 0, 1.0, 2.0, 1, 1),
        (2, 3.0, 1, 0.0, 8.0, 1, 1),
    ]
    found = penalties_table(pd.DataFrame(rows, columns=columns)).to_dict("records")
    # Top clusters of penalty 0: mean 2 (two teachers), and 4 (one); of penalty 3: mean 1.5, and 2.
    assert found == [
        {"penalty": 0.0, "top_cluster_loss": 3.0, "chosen": 0, "seeds": 2, "teachers": 1.5},
        {"penalty": 3.0, "top_cluster_loss": 1.75, "chosen": 2, "seeds": 2, "teachers": 1.5},
    ]


@pytest.fixture
def answered():
    samples = pd.DataFrame({"sample": list("pqrst"), "target": ["ill", "ill", "well", "well", "ill"]})
    rows = [
        ("m", 1, "p", "test", 2.0, 1.0),
        ("m", 1, "q", "test", 0.0, 1.0),
        ("m", 1, "r", "test", 0.0, 1.0),
        ("m", 2, "p", "test", 3.0, 1.0),
        ("m", 2, "s", "test", 0.0, 1.0),
        ("m", 2, "t", "train", 0.0, 9.0),
        ("other", 1, "p", "test", 0.0, 9.0),
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "sample", "part", "logit_ill", "logit_well"]), samples


def test_confusion_is_the_share_of_each_true_class_pooled_over_seeds(answered):
    found = confusion(*answered, ["ill", "well"], "m")
    np.testing.assert_allclose(found.to_numpy(), [[2 / 3, 1 / 3], [0, 1]])


def test_confusion_has_a_row_and_a_column_for_a_class_that_never_occurs(answered):
    predictions, samples = answered
    predictions = predictions.assign(logit_other=-9.0)
    found = confusion(predictions, samples, ["ill", "other", "well"], "m")
    np.testing.assert_allclose(found.to_numpy(), [[2 / 3, 0, 1 / 3], [0, 0, 0], [0, 0, 1]])

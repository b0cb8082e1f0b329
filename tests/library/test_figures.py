"""What the figures show, read back from them."""

import numpy as np
import pandas as pd
import pytest
import score_tables

from metafusion import figures
from metafusion.methods import family_of
from metafusion.predictions import against_truth

WORDS = figures.Words("A study", "mse", simulated=False)


def scores_of(values, metric="mse"):
    return score_tables.scores_of(values, metric)


def texts_of(axes):
    return sorted(text.get_text().strip() for text in axes.texts)


def summary_of(values):
    rows = [(name, family_of(name), "mse", mean, 0.1, mean - 0.3, mean + 0.4, 5) for name, mean in values.items()]
    return pd.DataFrame(rows, columns=["method", "family", "metric", "mean", "se", "low", "high", "seeds"])


def test_every_family_of_methods_has_a_colour_of_its_own():
    names = ["meta_fusion", "independent_best_single", "early_fusion", "ridge_regression", "prior", "gradient_boosting"]
    families = {family_of(name) for name in [*names, "cooperative_joint", "tuned_boosting"]}
    assert families == set(figures.COLOURS) == set(figures.FAMILIES)
    assert len(set(figures.COLOURS.values())) == len(families)


@pytest.mark.parametrize(("prior", "scale"), [(307.0, "log"), (5.0, "linear")])
def test_errors_stand_on_a_logarithmic_axis_only_where_they_differ_much(prior, scale):
    figure = figures.methods(summary_of({"meta_fusion": 4.0, "early_fusion": 4.5, "prior": prior}), WORDS)
    assert figure.axes[0].get_xscale() == scale


def test_measures_that_may_be_negative_stand_on_a_linear_axis():
    summary = summary_of({"meta_fusion": 0.9, "prior": -0.001}).assign(metric="r2")
    figure = figures.methods(summary, figures.Words("A study", "r2", simulated=False))
    assert figure.axes[0].get_xscale() == "linear"


def test_every_method_has_a_dot_at_its_mean_beside_its_name():
    means = {"meta_fusion": 4.0, "cooperative_joint": 4.2, "gradient_boosting": 5.0, "oracle": 3.0, "prior": 9.0}
    (axes,) = figures.methods(summary_of(means), WORDS).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    dots = {
        names[round(y)]: x for container in axes.containers for x, y in zip(*container.lines[0].get_data(), strict=True)
    }
    assert dots == means
    lines = [collection for collection in axes.collections if len(collection.get_segments()) == len(means)]
    (intervals,) = [collection.get_segments() for collection in lines]
    found = {names[round(line[0, 1])]: tuple(line[:, 0]) for line in intervals}
    assert found == {name: (mean - 0.3, mean + 0.4) for name, mean in means.items()}


def test_an_interval_that_ends_at_zero_can_stand_on_a_logarithmic_axis(tmp_path):
    summary = summary_of({"meta_fusion": 4.0, "prior": 300.0}).assign(low=[0.0, 200.0])
    figure = figures.methods(summary, WORDS)
    figures.save(figure, tmp_path / "methods.svg")
    left, right = figure.axes[0].get_xlim()
    assert 1 < left < 4 < 300 < right < 1000


def test_ranks_are_means_over_seeds_and_references_are_left_out(tmp_path):
    # Meta Fusion is second, first, first; early fusion third, third, second; the linear model first, second, third.
    values = {
        "meta_fusion": [2.0, 1.0, 1.0],
        "early_fusion": [3.0, 3.0, 2.0],
        "ridge_regression": [1.0, 2.0, 3.0],
        "oracle": [0.0, 0.0, 0.0],
    }
    figure = figures.critical_difference(scores_of(values), WORDS)
    assert texts_of(figure.axes[0]) == ["(2.7) early_fusion", "meta_fusion (1.3)", "ridge_regression (2.0)"]
    assert "over 3 seeds" in figure.get_suptitle()
    figures.save(figure, tmp_path / "ranks.svg")


def bars_of(figure):
    """The ends of the bars that join methods in a diagram of ranks."""
    return [line.get_xdata() for line in figure.axes[0].get_lines() if line.get_color() == "k"]


def test_only_methods_that_cannot_be_told_apart_are_joined():
    order = np.arange(20)
    clear = {"meta_fusion": order * 1.0, "early_fusion": order + 0.1, "late_fusion": order + 0.2}
    # Mean ranks are 1 apart; Nemenyi's critical difference of 3 methods and 20 seeds is 2.343 sqrt(12/120) = 0.74.
    assert bars_of(figures.critical_difference(scores_of(clear), WORDS)) == []
    equal = dict.fromkeys(clear, order * 1.0)
    (joined,) = bars_of(figures.critical_difference(scores_of(equal), WORDS))
    assert len(joined) == 3


def test_ranks_of_one_seed_say_that_they_cannot_be_compared(tmp_path):
    figure = figures.critical_difference(scores_of({"meta_fusion": [1.0], "early_fusion": [2.0]}), WORDS)
    assert "two seeds" in texts_of(figure.axes[0])[0]
    figures.save(figure, tmp_path / "ranks.svg")


def test_thirty_methods_that_are_alike_can_be_drawn(tmp_path):
    same = {f"cooperative_{number}": [1.0, 2.0] for number in range(30)}
    figures.save(figures.critical_difference(scores_of(same), WORDS), tmp_path / "ranks.svg")


def test_the_share_of_seeds_stands_over_each_penalty():
    penalties = pd.DataFrame({"penalty": [0.0, 0.99, 3.0], "chosen": [0, 3, 1], "seeds": [4, 4, 4]})
    (axes,) = figures.chosen_penalties(penalties, WORDS).axes
    assert [bar.get_height() for bar in axes.patches] == [0, 0.75, 0.25]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.99", "3"]
    # Wilson's interval of 0 of 4 ends at z^2 / (n + z^2) with z = 1.96.
    (segments,) = [collection.get_segments() for collection in axes.collections]
    assert segments[0][:, 1] == pytest.approx([0, 1.959964**2 / (4 + 1.959964**2)])


def test_the_number_of_students_is_drawn_for_the_main_measure():
    rows = [
        (n, "meta_fusion", metric, value / n, 0.1, 5) for n in (4, 1, 2) for metric, value in (("mse", 8), ("r2", 1))
    ]
    table = pd.DataFrame(rows, columns=["students", "method", "metric", "mean", "se", "seeds"])
    (axes,) = figures.number_of_students(table, WORDS).axes
    line = axes.containers[0].lines[0]
    assert [list(values) for values in line.get_data()] == [[1, 2, 4], [8, 4, 2]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4"]


def test_titles_call_simulated_data_simulated_once():
    assert figures.Words("Six settings", "mse", simulated=True).heading == "Six settings (simulated data)"
    assert figures.Words("Six simulated settings", "mse", simulated=True).heading == "Six simulated settings"
    assert figures.Words("A study", "mse", simulated=False).heading == "A study"
    mixed = figures.Words("Several sets", "mse", simulated=True, mixed=True)
    assert mixed.heading == "Several sets (partly simulated data)"


def test_figures_with_room_for_few_show_the_best_beside_the_usual_methods():
    order = ["oracle", "independent_meta_fusion", "best_single", "cooperative_joint", "meta_fusion", "modality_first"]
    summary = summary_of(dict.fromkeys([*order, "ridge_regression", "prior"], 1.0))
    assert figures.shown_methods(summary, "mse") == ["meta_fusion", "ridge_regression", "cooperative_joint"]
    alone = summary_of({"meta_fusion": 1.0, "early_fusion": 2.0, "modality_first": float("nan"), "prior": 3.0})
    assert figures.shown_methods(alone, "mse") == ["meta_fusion", "early_fusion"]


def test_methods_are_shown_for_what_they_predict_where_none_has_a_value():
    nothing = summary_of(dict.fromkeys(["meta_fusion", "modality_first", "prior"], float("nan")))
    assert figures.shown_methods(nothing, "mse") == ["meta_fusion", "modality_first"]


CLASSES = figures.Words("A study", "accuracy", simulated=False)


def said(method, rows):
    """Test predictions of seed, sample and probabilities of the classes."""
    table = pd.DataFrame([(method, seed, sample, "test", *np.log(several)) for seed, sample, *several in rows])
    classes = ["ill", "well", "worse"][: table.shape[1] - 4]
    return table.set_axis(["method", "seed", "sample", "part", *(f"logit_{name}" for name in classes)], axis=1)


def reliability_of(predictions, targets, words=CLASSES, **options):
    samples = pd.DataFrame({"sample": list(targets), "target": list(targets.values())})
    methods = list(predictions["method"].unique())
    return figures.reliability(against_truth(predictions, samples), methods, words, **options)


def points_of(axes):
    """Dots and ends of the bars of the only series with bars."""
    (bars,) = axes.containers
    dots, _, (ends,) = bars.lines
    return [tuple(pair) for pair in np.round(dots.get_xydata(), 6)], [segment[:, 1] for segment in ends.get_segments()]


TWO_CLASSES = {"a": "ill", "b": "well", "c": "well", "d": "ill"}
PREDICTED = said(
    "meta_fusion",
    [(1, "a", 0.78, 0.22), (1, "b", 0.74, 0.26), (2, "b", 0.72, 0.28), (2, "c", 0.45, 0.55), (2, "d", 0.41, 0.59)],
)


def test_the_share_of_the_positive_class_stands_over_its_mean_predicted_probability(tmp_path):
    figure = reliability_of(PREDICTED, TWO_CLASSES, positive="ill")
    dots, _ = points_of(figure.axes[0])
    # Of three predictions in (.7, .8] one is for a person who is ill, of two in (.4, .5] one.
    assert dots == [(0.43, 0.5), (round((0.78 + 0.74 + 0.72) / 3, 6), round(1 / 3, 6))]
    assert figure.axes[0].get_ylabel() == "share of ill"
    assert "5 test predictions of 4 samples, 2 seeds" in figure.get_suptitle().replace("\n", " ")
    figures.save(figure, tmp_path / "reliability.svg")


def wilson(share, count):
    z = 1.959963984540054
    centre, half = share + z**2 / (2 * count), z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return (centre - half) / (1 + z**2 / count), (centre + half) / (1 + z**2 / count)


def test_intervals_of_a_share_count_each_sample_once():
    _, (first, second) = points_of(reliability_of(PREDICTED, TWO_CLASSES, positive="ill").axes[0])
    assert first == pytest.approx(wilson(1 / 2, 2))
    # Of the three predictions two are of sample b.
    assert second == pytest.approx(wilson(1 / 3, 2))


def test_without_a_positive_class_the_last_of_two_counts():
    dots, _ = points_of(reliability_of(PREDICTED, TWO_CLASSES).axes[0])
    assert dots == [(round((0.22 + 0.26 + 0.28) / 3, 6), round(2 / 3, 6)), (0.57, 0.5)]


THREE_CLASSES = {"a": "ill", "b": "well", "c": "worse"}
OF_THREE = said("meta_fusion", [(1, "a", 0.5, 0.3, 0.2), (1, "b", 0.05, 0.84, 0.11), (1, "c", 0.88, 0.07, 0.05)])


@pytest.mark.parametrize(
    ("positive", "expected"),
    [
        # .84 is right, .88 wrong.
        (None, [(0.5, 1.0), (0.86, 0.5)]),
        ("worse", [(0.05, 1.0), (0.155, 0.0)]),
    ],
)
def test_of_three_classes_the_most_probable_one_counts_or_the_positive_one(positive, expected):
    targets = THREE_CLASSES
    dots, _ = points_of(reliability_of(OF_THREE, targets, positive=positive).axes[0])
    assert dots == expected


def test_the_calibration_error_over_a_panel_is_a_mean_over_seeds():
    # Seed 1: .78 and .74 in one bin, one of them right: |1.52 - 1| / 2 = .26. Seed 2: .72 is wrong; .55 and .59 share a
    # bin, one of them right: (.72 + .14) / 3. Means: .2733 with .0133 to both sides.
    figure = reliability_of(PREDICTED, TWO_CLASSES)
    assert figure.axes[0].get_title().startswith("meta_fusion\nECE 0.273 ± 0.013 (by chance ")
    one = reliability_of(PREDICTED[PREDICTED["seed"] == 1], TWO_CLASSES)
    said, chance = one.axes[0].get_title().split(" (by chance ")
    assert said == "meta_fusion\nECE 0.260"
    # Both right: |1.52 - 2| / 2, with a probability of .78 * .74; one: |1.52 - 1| / 2; none: 1.52 / 2.
    expected = 0.5772 * 0.24 + 0.3656 * 0.26 + 0.0572 * 0.76
    assert float(chance.removesuffix(")")) == pytest.approx(expected, abs=0.02)


def test_every_method_has_a_panel_and_a_histogram_of_its_own_predictions():
    other = said("early_fusion", [(1, "a", 0.09, 0.91), (1, "b", 0.11, 0.89)])
    trained = said("early_fusion", [(1, "c", 0.7, 0.3)]).assign(part="train")
    diverged = other.assign(seed=2, logit_ill=np.nan, logit_well=np.nan)
    figure = reliability_of(pd.concat([PREDICTED, other, trained, diverged]), TWO_CLASSES, positive="ill")
    counts = [sum(bar.get_height() for bar in axes.patches) for axes in figure.axes[2:]]
    assert counts == [5, 2]
    assert points_of(figure.axes[1])[0] == [(0.09, 1.0), (0.11, 0.0)]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_method_that_diverged_in_every_seed_has_an_empty_panel(tmp_path, task):
    here, targets = PREDICTED, TWO_CLASSES
    if task == "regression":
        here = PREDICTED.drop(columns="logit_well").rename(columns={"logit_ill": "prediction"})
        targets = {name: float(place) for place, name in enumerate(TWO_CLASSES)}
    gone = here.assign(method="early_fusion", **{here.columns[-1]: np.nan})
    figure = reliability_of(pd.concat([here, gone]), targets)
    figures.save(figure, tmp_path / "reliability.svg")
    assert figure.axes[1].get_title() == "early_fusion\nno prediction"


def test_numbers_stand_in_bins_of_as_many_predictions_each(tmp_path):
    random = np.random.default_rng(0)
    predicted = random.permutation(40) * 1.0
    targets = {f"s{i}": 2 * value + (i % 2) for i, value in enumerate(predicted)}
    rows = [("meta_fusion", 1, f"s{i}", "test", value) for i, value in enumerate(predicted)]
    table = pd.DataFrame(rows, columns=["method", "seed", "sample", "part", "prediction"])
    figure = reliability_of(table, targets, WORDS)
    figures.save(figure, tmp_path / "reliability.svg")
    dots, ends = points_of(figure.axes[0])
    truth = pd.Series(targets.values(), index=predicted)
    expected = [truth[[4 * k, 4 * k + 1, 4 * k + 2, 4 * k + 3]] for k in range(10)]
    np.testing.assert_allclose(dots, [(4 * k + 1.5, one.mean()) for k, one in enumerate(expected)])
    np.testing.assert_allclose(
        ends, [one.mean() + np.array([-1.96, 1.96]) * one.std() / 2 for one in expected], rtol=1e-4
    )


def test_predictions_that_are_all_the_same_number_can_be_drawn(tmp_path):
    rows = [("prior", 1, f"s{i}", "test", 3.0) for i in range(4)]
    table = pd.DataFrame(rows, columns=["method", "seed", "sample", "part", "prediction"])
    figure = reliability_of(table, {f"s{i}": float(i) for i in range(4)}, WORDS)
    figures.save(figure, tmp_path / "reliability.svg")
    assert points_of(figure.axes[0])[0] == [(3.0, 1.5)]


GROUP_COLUMNS = ["column", "level", "method", "family", "metric", "mean", "se", "low", "high", "seeds", "samples"]


def groups_figure(*rows, summary=None):
    table = pd.DataFrame([(*row[:3], "cohort", "mse", *row[3:]) for row in rows], columns=GROUP_COLUMNS)
    everybody = summary_of({"meta_fusion": 4.0, "early_fusion": 5.0}) if summary is None else summary
    return figures.subgroups(table, "age", everybody, ["meta_fusion", "early_fusion"], WORDS)


def test_groups_stand_below_everybody_with_their_numbers(tmp_path):
    nan = float("nan")
    figure = groups_figure(
        ("age", "young", "meta_fusion", 3.0, 0.1, 2.5, 3.5, 5, 20.4),
        ("age", "young", "early_fusion", 6.0, 0.1, 5.5, 6.5, 4, 20.4),
        ("age", "old", "meta_fusion", nan, nan, nan, nan, 0, 3.0),
        ("age", "old", "early_fusion", nan, nan, nan, nan, 0, 3.0),
        ("sex", "male", "meta_fusion", 9.0, 0.1, 8.5, 9.5, 5, 30.0),
    )
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["everybody\n(5 seeds)", "young\n(20.4 tested, 4 to 5 seeds)", "old\n(3 tested, 0 seeds)"]
    drawn = {line.get_label(): line.get_xdata() for line in axes.get_lines() if line.get_marker() != "None"}
    np.testing.assert_array_equal(drawn["meta_fusion"], [4, 3, nan])
    np.testing.assert_array_equal(drawn["early_fusion"], [5, 6, nan])
    # The upper end of the axis is the upper edge of the figure.
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    figures.save(figure, tmp_path / "age.svg")


def test_groups_of_which_none_is_large_enough_can_be_drawn(tmp_path):
    nan = float("nan")
    figures.save(groups_figure(("age", "old", "meta_fusion", nan, nan, nan, nan, 0, 3.0)), tmp_path / "age.svg")


def test_figures_without_any_value_of_the_main_measure_can_be_drawn(tmp_path):
    words = figures.Words("A study", "roc_auc", simulated=False)
    nothing = summary_of(dict.fromkeys(["meta_fusion", "early_fusion"], float("nan")))
    nothing = nothing.assign(metric="roc_auc", low=np.nan, high=np.nan, seeds=0)
    shown = figures.shown_methods(nothing, "roc_auc")
    samples = pd.DataFrame({"sample": list("abc"), "target": ["ill", "ill", "well"]})
    rows = [(1, "a", 0.7, 0.3), (1, "b", 0.6, 0.4)]
    predictions = pd.concat([said(name, rows) for name in shown])
    figure = figures.reliability(against_truth(predictions, samples), shown, words)
    assert points_of(figure.axes[0])[0] == [(0.3, 0.0), (0.4, 0.0)]
    figures.save(figure, tmp_path / "reliability.svg")
    groups = pd.DataFrame([("age", "old", *nothing.iloc[0][:9], 2.0)], columns=GROUP_COLUMNS)
    figures.save(figures.subgroups(groups, "age", nothing, shown, words), tmp_path / "age.svg")
    figures.save(figures.methods(nothing, words), tmp_path / "methods.svg")


@pytest.mark.parametrize("kind", ["reliability", "subgroups"])
def test_an_empty_figure_says_why(tmp_path, kind):
    if kind == "reliability":
        figure = reliability_of(PREDICTED.iloc[:0], TWO_CLASSES)
    else:
        table = pd.DataFrame(columns=GROUP_COLUMNS)
        figure = figures.subgroups(table, "age", summary_of({}), [], WORDS)
    assert texts_of(figure.axes[0]) == ["nothing to show: no method has an answer"]
    figures.save(figure, tmp_path / "empty.svg")

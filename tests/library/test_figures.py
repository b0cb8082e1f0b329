"""What the figures show, read back from them."""

import numpy as np
import pandas as pd
import pytest

from metafusion import figures
from metafusion.methods import family_of

WORDS = figures.Words("A study", "mse", simulated=False)


def scores_of(values, metric="mse"):
    """Test scores of methods: a list of values, one a seed."""
    rows = [
        (method, family_of(method), seed, "test", metric, value)
        for method, several in values.items()
        for seed, value in enumerate(several, start=1)
    ]
    return pd.DataFrame(rows, columns=["method", "family", "seed", "part", "metric", "value"])


def texts_of(axes):
    return sorted(text.get_text().strip() for text in axes.texts)


def summary_of(values):
    rows = [(name, family_of(name), "mse", mean, 0.1, 5) for name, mean in values.items()]
    return pd.DataFrame(rows, columns=["method", "family", "metric", "mean", "se", "seeds"])


def test_every_family_of_methods_has_a_colour_of_its_own():
    names = ["meta_fusion", "independent_best_single", "early_fusion", "ridge_regression", "prior", "gradient_boosting"]
    families = {family_of(name) for name in [*names, "cooperative_joint"]}
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

"""Several sets side by side: leads by hand, ranks over sets, learning curves, and the packaged study."""

import numpy as np
import pandas as pd
import pytest
import score_tables
import yaml
from scipy import stats

from metafusion import benchmark, comparison_figures
from metafusion.comparison_kinds import Material, make
from metafusion.config.load import load_study, read_yaml
from metafusion.config.models import without_size
from metafusion.errors import UserError
from metafusion.figures import Words, save
from metafusion.workflow.compared import shared_metrics

WORDS = Words("Sets", "accuracy", simulated=False)
ONE = {
    "meta_fusion": [0.8, 0.9],
    "independent_meta_fusion": [0.8, 0.8],
    "early_fusion": [0.7, 0.9],
    "modality_left": [0.6, 0.6],
    "logistic_regression_left": [0.6, 0.8],
    "logistic_regression": [0.5, 0.7],
    "best_single": [0.99, 0.99],
    "prior": [0.5, 0.5],
}
TWO = {
    "meta_fusion": [0.5, 0.5],
    "independent_meta_fusion": [0.5, 0.5],
    "early_fusion": [0.7, 0.8],
    "modality_right": [0.6, 0.6],
    "logistic_regression": [0.6, 0.6],
    "prior": [0.5, 0.5],
}
"""Of the second set nobody has another main measure."""


def scores_of(values, metric="accuracy"):
    return score_tables.scores_of(values, metric, {"test": 1.0, "validation": 0.1})


def sets_of(*values, metric="accuracy", shared=0.25):
    scores = {f"set {number}": scores_of(one, metric) for number, one in enumerate(values, start=1)}
    return benchmark.sets_table(scores, [metric], dict.fromkeys(scores, shared))


def row_of(table, experiment, method):
    (row,) = table[(table["experiment"] == experiment) & (table["method"] == method)].itertuples()
    return row


def test_the_lead_of_a_set_is_paired_by_seed_with_its_error_and_corrected_interval():
    row = row_of(sets_of(ONE), "set 1", "early_fusion")
    # Differences 0.1 and 0: mean 0.05, variance 0.005.
    assert (row.lead, row.lead_se) == pytest.approx((0.05, np.sqrt(0.005 / 2)))
    half = stats.t.ppf(0.975, 1) * np.sqrt((1 / 2 + 0.25) * 0.005)
    assert (row.low, row.high) == pytest.approx((0.05 - half, 0.05 + half))


def test_where_lower_is_better_a_lead_is_positive_all_the_same():
    table = sets_of({"meta_fusion": [1.0, 2.0], "early_fusion": [2.0, 5.0]}, metric="log_loss")
    row = row_of(table, "set 1", "early_fusion")
    assert row.lead == pytest.approx(2)
    assert row.low < 2 < row.high
    assert row_of(table, "set 1", "meta_fusion").mark == "best"


def test_the_rival_is_the_best_comparator_and_no_ensemble_or_reference():
    table = sets_of(ONE, TWO)
    assert table.loc[table["rival"] == "best", ["experiment", "method"]].to_numpy().tolist() == [
        ["set 1", "early_fusion"],
        ["set 2", "early_fusion"],
    ]
    assert "best_single" not in set(table["method"])
    # A comparator that diverged in a seed may have been lucky with the others.
    lucky = ONE | {"early_fusion": [np.nan, 0.99]}
    table = sets_of(lucky)
    assert table.loc[table["rival"] == "best", "method"].tolist() == ["logistic_regression_left"]


def test_ranks_are_over_sets_among_the_methods_that_all_have():
    table = sets_of(ONE, TWO)
    ranks = table.drop_duplicates("method").set_index("method")["mean_rank"].dropna().to_dict()
    # Set 1: meta 0.85, independent and early 0.8, linear 0.6. Set 2: early 0.75, linear 0.6, both ensembles 0.5.
    expected = {"meta_fusion": (1 + 3.5) / 2, "independent_meta_fusion": (2.5 + 3.5) / 2}
    assert ranks == pytest.approx(expected | {"early_fusion": (2.5 + 1) / 2, "logistic_regression": (4 + 2) / 2})


def test_p_is_corrected_over_the_methods_of_a_set():
    random = np.random.default_rng(0)
    names = ("meta_fusion", "early_fusion", "late_fusion", "logistic_regression")
    table = sets_of({name: random.random(8) for name in names}).dropna(subset=["p"])
    ordered = table.sort_values("p")
    assert len(ordered) == 3
    expected = np.minimum(1, np.maximum.accumulate(ordered["p"] * [3, 2, 1]))
    np.testing.assert_allclose(ordered["p_corrected"], expected)


def test_the_text_has_every_set_the_best_comparator_and_what_mutual_learning_added():
    text = benchmark.sets_markdown(sets_of(ONE, TWO), WORDS)
    methods, against, added = [part for part in text.split("\n\n") if part.startswith("|")]
    first, second = methods.splitlines()[2:]
    assert first.startswith("| set 1 | ")
    assert [line.split("|")[2].strip() for line in added.splitlines()[2:]] == ["0.05 [-0.73, 0.83]", "0"]
    assert "0.70 (0.10) `logistic_regression_left` |" in first
    assert "| 0.6 `modality_right` " in second
    assert [line.rpartition("|")[0].rpartition("|")[2].strip() for line in against.splitlines()[2:]] == [
        "level",
        "below",
    ]
    assert len(added.splitlines()) == 4
    assert "chosen by these same test parts" in text


@pytest.mark.parametrize(("lead", "word"), [(-0.011, "below"), (-0.009, "level"), (0.019, "level"), (0.021, "above")])
def test_a_lead_stands_by_its_standard_error(lead, word):
    assert benchmark.standing(lead, 0.01) == word


@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("log_loss", -1)])
def test_what_a_variant_adds_is_paired_by_seed_over_those_that_all_have(metric, sign, tmp_path):
    first, other = [0.5, 0.5, 0.5, 0.6, 0.6, 0.6], [0.6, 0.7, 0.8, 0.7, 0.8, 0.9]
    scores = {"corrected": scores_of({"meta_fusion": [*first, 0.1], "early_fusion": [*other, 0.9]}, metric)}
    scores |= {"bagged": scores_of({"meta_fusion": other}, metric), "same": scores_of({"meta_fusion": first}, metric)}
    table = benchmark.switches_table(scores, [metric])
    reference, bagged, same = table.itertuples()
    assert (reference.experiment, reference.seeds, np.isnan(reference.gain)) == ("corrected", 6, True)
    assert reference.mean == pytest.approx(0.55)
    # Differences 0.1, 0.2, 0.3 twice; all of one sign: p = 2 / 2^6, doubled by Holm.
    assert bagged.gain == pytest.approx(sign * 0.2)
    assert (bagged.p, bagged.p_corrected) == pytest.approx((2 / 2**6, 4 / 2**6))
    assert sign * bagged.low > 0 < sign * bagged.high
    assert (same.gain, same.p_corrected) == (0, 1)
    words = Words("Switches", metric, simulated=False)
    lines = benchmark.switches_markdown(table, words).splitlines()[4:]
    assert [line.split("|")[1].strip() for line in lines] == ["corrected", "bagged", "same"]
    figure = comparison_figures.switches(table, words)
    points = [line.get_xdata() for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(np.concatenate(points).astype(float), [0, sign * 0.2], atol=1e-12)
    save(figure, tmp_path / "gains.svg")
    late = scores["bagged"].assign(seed=scores["bagged"]["seed"] + 100)
    with pytest.raises(UserError, match="corrected, late: no seed in common"):
        benchmark.switches_table({"corrected": scores["corrected"], "late": late}, [metric])


def test_switches_are_told_by_cross_entropy_too():
    accuracy = scores_of({"meta_fusion": [0.5, 0.6], "prior": [0.5, 0.5]})
    losses = {"corrected": [0.7, 0.6], "bagged": [0.5, 0.5]}
    scores = {
        name: pd.concat([accuracy, scores_of({"meta_fusion": values}, "log_loss")]) for name, values in losses.items()
    }
    text = benchmark.switches_markdown(benchmark.switches_table(scores, ["accuracy", "log_loss"]), WORDS)
    first, second = text.split("By cross-entropy")
    assert "| bagged    | 0.550 (0.050) | 0 " in first
    assert "| bagged    | 0.5 " in second
    assert "| 0.150 [0.100, 0.200] |" in second


def splits_of(train, test):
    rows = [(seed, part, count) for seed in (1, 2) for part, count in (("train", train), ("test", test))]
    return pd.DataFrame(rows, columns=["seed", "part", "samples"])


def test_a_curve_has_the_samples_that_are_not_tested_in_order():
    scores = {name: scores_of(ONE) for name in ("a", "a@50", "b@50", "b")}
    splits = {name: splits_of(50 if "@" in name else 200, 40) for name in scores}
    table = benchmark.sizes_table(scores, splits, {name: without_size(name) for name in scores}, ["accuracy"])
    points = table[["curve", "experiment", "samples"]].drop_duplicates().to_numpy().tolist()
    assert points == [["a", "a@50", 50], ["a", "a", 200], ["b", "b@50", 50], ["b", "b", 200]]
    text = benchmark.sizes_markdown(table, WORDS)
    assert "| 50        | **0.850 (0.050)** | **0.8** " in text
    assert "a:" in text.splitlines()


def material(scores, splits):
    samples = dict.fromkeys(scores, pd.DataFrame({"sample": ["s"]}))
    nothing = dict.fromkeys(scores, pd.DataFrame())
    return Material(
        scores=scores,
        by_penalty=nothing,
        students=nothing,
        splits=splits,
        samples=samples,
        confusion=nothing,
        windows=dict.fromkeys(scores),
        permuted=dict.fromkeys(scores, 0),
        curves={name: without_size(name) for name in scores},
        metrics=["accuracy"],
        modalities=["left"],
        words=WORDS,
    )


def test_both_kinds_draw_what_they_tell(tmp_path):
    scores = {"a": scores_of(ONE), "b": scores_of(TWO)}
    splits = {"a": splits_of(80, 20), "b": splits_of(60, 40)}
    table, _, figures = make("sets", material(scores, splits))
    # Each set has its own share of test samples: 20/80 in the first.
    assert row_of(table, "a", "early_fusion").high == pytest.approx(
        row_of(sets_of(ONE, TWO), "set 1", "early_fusion").high
    )
    assert row_of(table, "b", "early_fusion").high > row_of(sets_of(ONE, TWO), "set 2", "early_fusion").high
    assert "over 2 sets" in figures["ranks"].get_suptitle()
    best, *_ = figures["leads"].axes
    assert best.get_title() == "over best comparator"
    points = [line for line in best.get_lines() if line.get_marker() == "o" and len(line.get_xdata())]
    np.testing.assert_allclose(points[0].get_xdata(), [0.05, -0.25])
    sizes = {"a@50": scores_of(TWO), "a": scores_of(ONE)}
    _, _, drawn = make("sizes", material(sizes, {"a@50": splits_of(50, 20), "a": splits_of(80, 20)}))
    curve = drawn["sizes"].axes[0].containers[0].lines[0]
    np.testing.assert_allclose(np.array(curve.get_data(), float), [[50, 80], [0.5, 0.85]])
    for name, figure in {**figures, **drawn}.items():
        save(figure, tmp_path / f"{name}.svg")


def test_a_curve_of_one_point_is_refused(tmp_path):
    (tmp_path / "experiments").mkdir()
    content = {"title": "", "task": "classification", "source": {"kind": "ad_data"}}
    content["representations"] = {"csf": ["raw"]}
    (tmp_path / "experiments/people.yaml").write_text(yaml.safe_dump(content))
    names = ["people", "people@100", "people@100+strong"]
    comparison = {"kind": "sizes", "title": "", "experiments": names}
    with pytest.raises(UserError, match="people@100\\+strong stands there with one number of samples"):
        load_study({"experiments": names, "comparisons": {"one": comparison}}, tmp_path)


def test_the_packaged_study_compares_what_it_runs_with_ten_seeds_and_five_folds(request):
    root = request.config.rootpath
    content = read_yaml(root / "config/config.yaml") | read_yaml(root / "config/strength_study.yaml")
    study = load_study(content, root / "config")
    compared = {name for one in study.settings.comparisons.values() for name in one.experiments.values()}
    assert compared == set(study.experiments)
    for name, one in study.settings.comparisons.items():
        assert shared_metrics({of: study.experiments[of].metrics for of in one.experiments.values()}, name)
        if one.kind != "switches":
            for of in one.experiments.values():
                experiment = study.experiments[of]
                assert (len(experiment.seeds), experiment.split.cross_fitting) == (10, 5)

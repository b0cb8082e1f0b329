"""Comparisons across experiments: tables by hand, what Markdown says, and what figures show."""

import math

import numpy as np
import pandas as pd
import pytest
import score_tables
from scipy import stats

from metafusion import comparison_figures, comparisons
from metafusion.config.load import load_study, read_yaml
from metafusion.errors import UserError
from metafusion.figures import Words, save
from metafusion.workflow.compared import shared_metrics

WORDS = Words("Things compared", "mse", simulated=True)


def scores_of(metric="mse", **values):
    """Scores on the test part, and better ones on the validation part; a list of values a method, one a seed."""
    return score_tables.scores_of(values, metric, {"test": 1.0, "validation": 0.1})


def rows_of(markdown):
    """Cells of the tables in a text: for each table a list of rows, the header first."""
    tables = [part.splitlines() for part in markdown.split("\n\n") if part.startswith("|")]
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for number, line in enumerate(table) if number != 1]
        for table in tables
    ]


# Of setting 'easy': means 2, 4, 3, 3; deviations of 1 to each side, so that the standard error is 1.
EASY = {
    "meta_fusion": [1.0, 3.0],
    "early_fusion": [3.0, 5.0],
    "best_single": [2.0, 4.0],
    "independent_meta_fusion": [2.0, 4.0],
    "oracle": [0.0, 0.5],
}


def test_methods_and_ensembles_are_marked_each_in_their_own_table():
    table = comparisons.settings_table({"easy": scores_of(**EASY)}, ["mse"])
    marks = {(row.table, row.method): row.mark for row in table.itertuples()}
    assert marks == {
        ("methods", "meta_fusion"): "best",
        ("methods", "independent_meta_fusion"): "within_se",
        ("methods", "early_fusion"): "",
        ("methods", "oracle"): "",
        ("ensembles", "meta_fusion"): "best",
        ("ensembles", "best_single"): "within_se",
        ("ensembles", "independent_meta_fusion"): "within_se",
    }
    assert set(table["experiment"]) == {"easy"}


def test_the_markdown_of_settings_has_a_column_an_experiment_and_bold_marks():
    table = comparisons.settings_table(
        {"easy": scores_of(**EASY), "hard": scores_of(meta_fusion=[50.0, 54.0], modality_a=[60.0, 60.0])}, ["mse"]
    )
    text = comparisons.settings_markdown(table, WORDS)
    methods, ensembles = rows_of(text)
    assert methods[0] == ["methods", "easy (2 seeds)", "hard (2 seeds)"]
    # Means and standard errors by hand: 52 and 2; 2 and 1.
    assert methods[1:] == [
        ["modality_a", "", "60"],
        ["early_fusion", "4.0 (1.0)", ""],
        ["independent_meta_fusion", "**3.0 (1.0)**", ""],
        ["meta_fusion", "**2.0 (1.0)**", "**52.0 (2.0)**"],
        ["oracle", "0.25 (0.25)", ""],
    ]
    assert [row[0] for row in ensembles] == ["ensembles", "independent_meta_fusion", "meta_fusion", "best_single"]
    assert text.startswith("**Things compared (simulated data).** Test mean squared error (lower is better).")


def test_measures_that_an_experiment_lacks_are_left_out():
    both = pd.concat([scores_of(meta_fusion=[1.0]), scores_of("r2", meta_fusion=[0.5])])
    table = comparisons.settings_table({"a": both, "b": scores_of(meta_fusion=[2.0])}, ["mse", "r2"])
    found = table[table["table"] == "methods"]
    assert [(row.experiment, row.metric, row.mean) for row in found.itertuples()] == [
        ("a", "mse", 1.0),
        ("a", "r2", 0.5),
        ("b", "mse", 2.0),
    ]


SEEDS = np.arange(8)
REFERENCE = {
    "meta_fusion": 10 + SEEDS,
    "early_fusion": 13 + 2 * SEEDS,
    "independent_meta_fusion": 12 + SEEDS,
    "independent_meta_fusion_reused": 11 + SEEDS,
}
# Meta Fusion is worse by 1, and early fusion better by 1, 2, ...: the lead shrinks by 2, 3, ..., 9.
VARIANT = REFERENCE | {"meta_fusion": 11 + SEEDS, "early_fusion": 12 + SEEDS}


def ablation(variant=VARIANT, **others):
    scores = {"s": scores_of(**REFERENCE), "s@warm_start": scores_of(**variant)} | others
    return comparisons.ablation_table(scores, "mse")


def test_leads_and_their_changes_are_paired_by_seed():
    table = ablation().set_index(["rival", "variant"])
    early = table.loc["early_fusion"]
    # Leads of the reference: 3 + seed, mean 6.5; of the variant: 1, always.
    assert early["lead"].to_dict() == {"s": 6.5, "warm_start": 1.0}
    assert early.loc["warm_start", "change"] == pytest.approx(-5.5)
    # Wilcoxon's smallest p of eight seeds, all of one sign: 2 / 2^8.
    assert early.loc["warm_start", "p"] == pytest.approx(2 / 2**8)
    low, high = early.loc["s", ["low", "high"]]
    bootstrapped = stats.bootstrap((3.0 + SEEDS,), np.mean, rng=np.random.default_rng(5)).confidence_interval
    assert (low, high) == pytest.approx((bootstrapped.low, bootstrapped.high), abs=0.15)
    assert math.isnan(early.loc["s", "change"])


def test_the_reused_list_is_a_variant_of_the_reference():
    table = ablation()
    found = table[table["variant"] == "independent_list"]
    (row,) = found.itertuples()
    # The independent ensemble is worse by 2, with the reused list by 1: the lead shrinks by 1.
    assert (row.rival, row.experiment, row.lead, row.change) == ("independent_meta_fusion", "s", 1.0, -1.0)
    assert (row.meta_fusion, row.rival_value) == (13.5, 14.5)


def test_round_off_is_no_lead():
    same = REFERENCE | {"independent_meta_fusion": [value * (1 + 2e-16) for value in REFERENCE["meta_fusion"]]}
    table = comparisons.ablation_table({"s": scores_of(**same)}, "mse").set_index("rival")
    assert tuple(table.loc["independent_meta_fusion", ["lead", "low", "high"]].iloc[0]) == (0, 0, 0)


def test_where_higher_is_better_the_lead_is_still_positive_for_meta_fusion():
    values = {"meta_fusion": [0.9] * 6, "early_fusion": [0.7] * 6}
    table = comparisons.ablation_table({"s": scores_of("accuracy", **values)}, "accuracy")
    assert table["lead"].tolist() == [pytest.approx(0.2)]


def test_p_is_corrected_over_the_variants_of_one_rival():
    table = ablation(**{"s@split": scores_of(**VARIANT)})
    early = table[(table["rival"] == "early_fusion") & table["p"].notna()]
    # Holm: two equal p are both doubled.
    assert early["p_corrected"].tolist() == pytest.approx([4 / 2**8] * 2)


def test_a_variant_that_is_trained_takes_the_place_of_the_one_that_is_read_off():
    table = ablation(**{"s@independent_list": scores_of(**VARIANT)})
    found = table[(table["variant"] == "independent_list") & (table["rival"] == "independent_meta_fusion")]
    assert found["experiment"].tolist() == ["s@independent_list"]


def test_only_seeds_that_all_experiments_have_count():
    fewer = {method: values[:6] for method, values in VARIANT.items()}
    table = ablation(fewer)
    assert set(table["seeds"]) == {6}
    # Leads 3 ... 8 of the first six seeds.
    assert table.loc[0, "lead"] == pytest.approx(5.5)


def test_experiments_without_a_common_seed_are_refused():
    one, other = scores_of(**REFERENCE), scores_of(**REFERENCE)
    with pytest.raises(UserError, match="s, s@x: no seed in common; give these"):
        comparisons.ablation_table({"s": one, "s@x": other.assign(seed=other["seed"] + 100)}, "mse")


def test_rivals_that_were_not_trained_have_no_rows():
    table = comparisons.ablation_table({"s": scores_of(meta_fusion=[1.0] * 6, early_fusion=[2.0] * 6)}, "mse")
    assert table["rival"].tolist() == ["early_fusion"]


def test_the_markdown_of_an_ablation_has_a_table_for_each_rival():
    table = ablation()
    early, independent = rows_of(comparisons.ablation_markdown(table, WORDS))
    assert [row[0] for row in early[1:]] == ["s", "warm_start"]
    assert [row[0] for row in independent[1:]] == ["s", "warm_start", "independent_list"]
    assert early[0][2:4] == ["meta_fusion", "early_fusion"]
    assert early[1][5:] == ["–", "–"]
    # p is 0.0078: bold.
    assert early[2][5].startswith("**-5.50 [")
    assert early[2][6] == "0.0078"


def teaching_table():
    rows = [
        (penalty, method, metric, value + penalty * slope, 1.0, 4)
        for penalty in (0.0, 1.0, 5.0)
        for method, value, slope in (("meta_fusion", 50, -1), ("best_single", 60, 0), ("student_0", 70, -2))
        for metric in ("mse", "r2")
    ]
    adaptive = pd.DataFrame(rows, columns=["penalty", "method", "metric", "mean", "se", "seeds"])
    adversarial = adaptive.assign(mean=adaptive["mean"] + 10 * adaptive["penalty"])
    return comparisons.penalties_table({"small": adaptive, "small@adversarial": adversarial}, "mse")


def test_the_independent_cohort_is_the_first_experiment_at_penalty_0():
    table = teaching_table()
    found = {(row.teaching, row.penalty): row.mean for row in table[table["method"] == "meta_fusion"].itertuples()}
    assert found == {
        ("adaptive", 1.0): 49.0,
        ("adaptive", 5.0): 45.0,
        ("independent", 0.0): 50.0,
        ("adversarial", 1.0): 59.0,
        ("adversarial", 5.0): 95.0,
    }


@pytest.mark.parametrize("taken", ["adaptive", "independent", "twice"])
def test_a_teaching_that_is_called_as_another_is_refused(taken):
    given = pd.DataFrame(
        [(penalty, "meta_fusion", "mse", 1.0, 1.0, 4) for penalty in (0.0, 1.0)],
        columns=["penalty", "method", "metric", "mean", "se", "seeds"],
    )
    others = {"small@twice": given, "twice": given} if taken == "twice" else {f"small@{taken}": given}
    with pytest.raises(UserError, match=f"'{taken}' stands for another teaching"):
        comparisons.penalties_table({"small": given} | others, "mse")


def test_students_that_diverged_do_not_count_in_the_seeds_of_ensembles():
    table = teaching_table()
    table.loc[table["method"] == "student_0", "seeds"] = 1
    assert "Mean over 4 seeds" in comparisons.penalties_markdown(table, WORDS)


def test_the_markdown_of_penalties_marks_what_is_near_the_best():
    meta, best = rows_of(comparisons.penalties_markdown(teaching_table(), WORDS))
    assert meta == [
        ["who teaches", "penalty 0", "penalty 1", "penalty 5"],
        ["adaptive", "", "49.0 (1.0)", "**45.0 (1.0)**"],
        ["independent", "50.0 (1.0)", "", ""],
        ["adversarial", "", "59.0 (1.0)", "95.0 (1.0)"],
    ]
    # At all penalties 60, so that all of the experiment itself are best.
    assert [cell.startswith("**60") for row in best[1:] for cell in row[1:] if cell] == [True] * 3 + [False] * 2


def test_students_are_compared_at_the_largest_penalty():
    names = pd.DataFrame({"student": [0, 0], "first": ["raw"] * 2, "metric": ["mse", "r2"], "mean": [1, 2]})
    found, largest = comparisons.students_by_teaching(teaching_table(), names)
    assert largest == 5
    assert {row.panel: (row.first, row.mean) for row in found.itertuples()} == {
        "adaptive": ("raw", 60.0),
        "independent": ("raw", 70.0),
        "adversarial": ("raw", 110.0),
    }


def test_students_keep_the_order_of_the_cohort():
    students = range(12)
    rows = [(float(penalty), f"student_{n}", "mse", 1.0, 1.0, 4) for penalty in (0, 1) for n in map(str, students)]
    given = pd.DataFrame(rows, columns=["penalty", "method", "metric", "mean", "se", "seeds"]).sort_values("method")
    names = pd.DataFrame({"student": students, "first": [f"pca{40 - n}" for n in students]})
    table = comparisons.penalties_table({"small": given}, "mse")
    found, _ = comparisons.students_by_teaching(table, names)
    assert list(dict.fromkeys(found["first"])) == names["first"].tolist()
    assert list(dict.fromkeys(found["panel"])) == ["adaptive", "independent"]


def test_experiments_with_different_main_measures_are_not_compared():
    with pytest.raises(UserError, match=r"comparisons\.odd: .*a: mse, b: accuracy.*first entry of 'metrics'"):
        shared_metrics({"a": ["mse", "r2"], "b": ["accuracy"]}, "odd")
    assert shared_metrics({"a": ["mse", "r2"], "b": ["mse"]}, "even") == ["mse", "r2"]


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (4.2519, 0.0518, "4.252 (0.052)"),
        (53.32, 1.27, "53.3 (1.3)"),
        (1234.0, 56.7, "1234 (57)"),
        (0.7512, float("nan"), "0.751"),
        (float("nan"), float("nan"), "–"),
    ],
)
def test_means_have_as_many_decimals_as_their_error(mean, error, text):
    assert comparisons.with_error(mean, error) == text


def test_the_figure_of_settings_has_a_panel_an_experiment_with_the_same_rows(tmp_path):
    scores = {name: scores_of(**EASY) for name in ("a", "b", "c")} | {"d": scores_of(meta_fusion=[50.0, 54.0])}
    table = comparisons.settings_table(scores, ["mse"])
    figure = comparison_figures.by_setting(table, "methods", WORDS)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == [f"{name}\n(2 seeds)" for name in "abcd"]
    names = [label.get_text() for label in shown[0].get_yticklabels()]
    found = {
        names[round(y)]: x
        for container in shown[3].containers
        for x, y in zip(*container.lines[0].get_data(), strict=True)
    }
    assert found == {"meta_fusion": 52.0}
    assert "simulated" in figure.get_suptitle()
    save(figure, tmp_path / "methods.svg")


def test_the_figure_of_changes_fills_what_is_below_0_05(tmp_path):
    figure = comparison_figures.ablation(ablation(), "change", WORDS)
    early, independent = figure.axes
    fills = {
        (line.get_xdata()[0], line.get_markerfacecolor())
        for line in early.get_lines()
        if line.get_marker() == "o"
        if len(line.get_xdata())
    }
    assert fills == {(-5.5, comparison_figures.COLOURS["cohort"])}
    assert independent.get_title() == "over independent_meta_fusion"
    save(figure, tmp_path / "changes.svg")


def test_an_ablation_of_few_seeds_can_be_drawn(tmp_path):
    table = comparisons.ablation_table(
        {
            "s": scores_of(meta_fusion=[1.0], early_fusion=[2.0]),
            "s@x": scores_of(meta_fusion=[1.0], early_fusion=[2.5]),
        },
        "mse",
    )
    for value in ("lead", "change"):
        save(comparison_figures.ablation(table, value, WORDS), tmp_path / f"{value}.svg")
    assert "| x " in comparisons.ablation_markdown(table, WORDS)


def test_the_figure_of_penalties_shows_the_independent_cohort_as_a_level(tmp_path):
    figure = comparison_figures.by_penalty(teaching_table(), WORDS)
    meta, best = figure.axes
    assert (meta.get_title(), best.get_title()) == ("meta_fusion", "best_single")
    (level,) = [line.get_ydata() for line in meta.get_lines() if line.get_linestyle() == "--"]
    assert list(level) == [50, 50]
    curves = [list(container.lines[0].get_ydata()) for container in meta.containers]
    assert curves == [[49, 45], [59, 95]]
    save(figure, tmp_path / "penalties.svg")


def test_heat_maps_of_teaching_share_their_colours(tmp_path):
    names = pd.DataFrame({"student": [0], "first": ["raw"], "second": ["absent"], "head": ["64"]})
    figure = comparison_figures.students(teaching_table(), names, ["first", "second"], WORDS)
    maps = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in maps] == [
        "adaptive (penalty 5)",
        "independent (penalty 0)",
        "adversarial (penalty 5)",
    ]
    assert {axes.images[0].get_clim() for axes in maps} == {(60.0, 110.0)}
    save(figure, tmp_path / "students.svg")


def test_the_packaged_study_is_valid_and_compares_what_it_runs(request):
    root = request.config.rootpath
    content = read_yaml(root / "config/config.yaml") | read_yaml(root / "config/simulation_study.yaml")
    study = load_study(content, root / "config")
    compared = {name for one in study.settings.comparisons.values() for name in one.experiments.values()}
    assert compared == set(study.experiments) - {"simulation_four"}
    for name, one in study.settings.comparisons.items():
        assert shared_metrics({of: study.experiments[of].metrics for of in one.experiments.values()}, name)[0] == "mse"

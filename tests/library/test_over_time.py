"""Decoding over time: windows as variants, chance by hand, and comparisons that are refused before they cost hours."""

import numpy as np
import pandas as pd
import pytest
import score_tables
import yaml
from scipy import stats

from metafusion import comparison_figures, comparisons
from metafusion.comparison_kinds import Material, make
from metafusion.config.load import load_study
from metafusion.config.models import Windows
from metafusion.errors import UserError
from metafusion.figures import Words, save

WORDS = Words("When", "accuracy", simulated=True)
RAT = {
    "title": "A rat",
    "task": "classification",
    "source": {"kind": "odor_simulated"},
    "representations": {"spikes": ["raw"]},
    "windows": {"width": 0.2, "step": 0.1, "start": -0.2, "stop": 0.3},
    "seeds": 2,
    "variants": {"few": {"cohort": {"epochs": 2}}},
}


PEOPLE = {"source": {"kind": "ad_data"}, "representations": {"csf": ["raw"]}}


@pytest.fixture
def study(tmp_path):
    """Write experiments, and read the study of some names and one comparison."""
    (tmp_path / "experiments").mkdir()

    def read(names, compared=None, kind="over_time", /, **changes):
        (tmp_path / "experiments/rat.yaml").write_text(yaml.safe_dump(RAT | changes))
        table = {
            "title": "",
            "task": "classification",
            "source": {"kind": "ad_data"},
            "representations": {"csf": ["raw"]},
        }
        (tmp_path / "experiments/people.yaml").write_text(yaml.safe_dump(table))
        comparison = {"kind": kind, "title": "", "experiments": compared}
        return load_study({"experiments": names} | ({"comparisons": {"one": comparison}} if compared else {}), tmp_path)

    return read


def test_windows_slide_by_their_step_and_end_in_time():
    windows = Windows(width=0.2, step=0.1, start=-0.2, stop=0.3).each
    assert windows == {"t1": (-0.2, 0.0), "t2": (-0.1, 0.1), "t3": (0.0, 0.2), "t4": (0.1, 0.3)}
    # A last one that would end too late is none; steps that no binary number can hold lose none.
    assert len(Windows(width=0.2, step=0.1, start=0, stop=0.39).each) == 2
    assert list(Windows(width=0.1, step=0.1, start=0, stop=0.3).each.values()) == [(0, 0.1), (0.1, 0.2), (0.2, 0.3)]
    with pytest.raises(ValueError, match=r"no window of 0\.5 s lies between 0 and 0.4 s"):
        Windows(width=0.5, step=0.1, start=0, stop=0.4)


def test_an_experiment_stands_for_all_its_windows(study):
    loaded = study(["rat@windows"], {"here": "rat@windows"})
    names = ["rat@t1", "rat@t2", "rat@t3", "rat@t4"]
    assert list(loaded.experiments) == names
    found = [loaded.experiments[name].source.time_window for name in names]
    assert found == [(-0.2, 0.0), (-0.1, 0.1), (0.0, 0.2), (0.1, 0.3)]
    assert all(loaded.experiments[name].windows is None for name in names)
    assert loaded.settings.comparisons["one"].experiments == {f"here {name[4:]}": name for name in names}


def test_windows_and_other_variants_go_together(study):
    names = ["rat@windows+few", "rat@windows+few+shuffled"]
    loaded = study(names, names)
    assert list(loaded.experiments)[3:5] == ["rat@t4+few", "rat@t1+few+shuffled"]
    last = loaded.experiments["rat@t4+few+shuffled"]
    assert (last.source.time_window, last.cohort.epochs, len(last.seeds)) == ((0.1, 0.3), 2, 100)
    assert last.shuffle is not None
    assert list(loaded.settings.comparisons["one"].experiments.values()) == list(loaded.experiments)


@pytest.mark.parametrize(
    ("names", "compared", "kind", "message"),
    [
        (["people@windows"], None, "over_time", "people.yaml has no key 'windows'"),
        (["people"], ["people"], "over_time", "comparisons.one: experiments: people: its source has no window in time"),
        (["rat@windows+shuffled"], ["rat@windows+shuffled"], "over_time", "all have shuffled labels"),
        (["rat@t1", "rat@t1+few"], ["rat@t1", "rat@t1+few"], "over_time", r"rat@t1, rat@t1\+few have the same window"),
        (["rat", "rat@few"], ["rat", "rat@few"], "permutation", "found rat and rat@few; name 'experiment' and"),
        (["rat", "rat@shuffled"], ["rat@shuffled", "rat"], "permutation", "found rat@shuffled and rat"),
        (["rat", "rat@few+shuffled"], ["rat", "rat@few+shuffled"], "permutation", "differ in more than shuffled"),
        (["rat@t1", "rat@t2+few"], ["rat@t1", "rat@t2+few"], "over_time", "in more than its window"),
        (["rat"], ["rat"], "permutation", "a permutation test needs two.*found 1"),
        (["rat@t9"], None, "over_time", "no variant 't9'"),
    ],
)
def test_comparisons_that_cannot_be_made_are_refused_at_once(study, names, compared, kind, message):
    with pytest.raises(UserError, match=message):
        study(names, compared, kind)


def test_the_experiment_needs_the_seeds_of_the_first_permutation(study):
    shuffled = {"shuffle": {"splits": 4}, "seeds": 40}
    with pytest.raises(UserError, match=r"rat@own takes 4 seeds a permutation.*seeds 1 to 4 of rat"):
        study(["rat", "rat@own"], ["rat", "rat@own"], "permutation", variants={"own": shuffled})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants": {"windows": {}}}, "windows: taken by"),
        ({"variants": {"shuffled": {}}}, "shuffled: taken by"),
        ({"variants": {"t2": {"seeds": 1}}}, "t2: taken by a window"),
        (
            {"source": {"kind": "ad_data"}, "representations": {"csf": ["raw"]}},
            "windows: 'kind: ad_data' has no window",
        ),
    ],
)
def test_windows_that_cannot_be_are_refused(study, changes, message):
    with pytest.raises(UserError, match=message):
        study(["rat"], **changes)


def test_a_simulation_whose_seeds_have_data_of_their_own_is_not_shuffled(study):
    with pytest.raises(UserError, match="shuffle: 'kind: simulation' draws new data for every seed already"):
        study(
            ["rat@shuffled"],
            source={"kind": "simulation"},
            task="regression",
            representations={"first": ["raw"]},
            windows=None,
        )


@pytest.mark.parametrize(
    ("split", "seeds", "splits", "permuted"),
    [({}, 7, 1, 100), ({"scheme": "folds", "folds": 3}, 6, 3, 102), ({"scheme": "sessions"}, 8, 8, 160)],
)
def test_permutations_are_whole_ones_and_enough(study, split, seeds, splits, permuted):
    loaded = study(["rat@shuffled"], split=split | {"unit": "sample"}, seeds=seeds).experiments["rat@shuffled"]
    assert (loaded.splits_per_permutation, len(loaded.seeds)) == (splits, permuted)


def scores_of(metric="accuracy", **values):
    return score_tables.scores_of(values, metric)


EARLY = scores_of(meta_fusion=[0.2, 0.3], modality_spikes=[0.2, 0.2], prior=[0.25, 0.25])
LATE = scores_of(meta_fusion=[0.9, 0.7], modality_spikes=[0.6, 0.8], prior=[0.25, 0.25])
WINDOW = {"late": (0.0, 0.2), "early": (-0.2, 0.0)}
TESTED = {name: pd.Series({"A": 30, "B": 10}) for name in WINDOW}


def rows_of(table, method):
    return table[table["method"] == method].set_index("experiment")


def test_windows_stand_in_order_with_the_binomial_range_of_chance():
    table = comparisons.over_time_table(
        {"late": LATE, "early": EARLY}, WINDOW, dict.fromkeys(WINDOW, 0), TESTED, ["accuracy"], None
    )
    meta = rows_of(table, "meta_fusion")
    assert list(meta.index) == ["early", "late"]
    assert meta["time"].tolist() == pytest.approx([-0.1, 0.1])
    assert meta["mean"].tolist() == pytest.approx([0.25, 0.8])
    # Three of four are A, 40 were tested: the middle 95 % of Binomial(40, 3/4), in shares.
    low, high = stats.binom(40, 0.75).interval(0.95)
    assert meta["chance"].unique().tolist() == [0.75]
    assert meta[["chance_low", "chance_high"]].to_numpy()[0] == pytest.approx([low / 40, high / 40])
    # Student's t of two values 0.2 apart: 12.7062 standard errors of 0.1.
    assert meta.loc["late", "high"] == 1.0
    assert meta.loc["early", "high"] == pytest.approx(0.25 + 12.7062 * 0.05, abs=1e-4)


def test_shuffled_labels_in_the_same_window_are_the_chance_there():
    null = scores_of(meta_fusion=[0.1, 0.3, 0.2, 0.4], modality_spikes=[0.5] * 4, prior=[0.25] * 4)
    table = comparisons.over_time_table(
        {"late": LATE, "early": EARLY, "null": null},
        WINDOW | {"null": (0.0, 0.2)},
        {"late": 0, "early": 0, "null": 2},
        TESTED | {"null": TESTED["late"]},
        ["accuracy"],
    )
    meta = rows_of(table, "meta_fusion")
    assert list(meta.index) == ["early", "late"]
    assert meta["chance_from"].tolist() == ["binomial", "permutations"]
    # Two permutations of two splits: means 0.2 and 0.3.
    assert meta.loc["late", "chance"] == pytest.approx(0.25)
    assert meta.loc["late", ["chance_low", "chance_high"]].tolist() == pytest.approx([0.2025, 0.2975])
    assert rows_of(table, "modality_spikes").loc["late", "chance"] == 0.5


def test_other_measures_have_no_binomial_chance():
    scores = {"late": scores_of("roc_auc", meta_fusion=[0.8, 0.9])}
    table = comparisons.over_time_table(scores, WINDOW, {"late": 0}, TESTED, ["roc_auc"])
    assert table["chance_from"].isna().all()
    assert table[["chance", "chance_low", "chance_high"]].isna().all(axis=None)


def empty(names):
    return dict.fromkeys(names, pd.DataFrame())


def material(scores, permuted, windows, confusion=None):
    splits = pd.DataFrame({"seed": [1, 1], "part": ["train", "test"], "samples": [30, 10]})
    return Material(
        scores=scores,
        by_penalty=empty(scores),
        students=empty(scores),
        splits=dict.fromkeys(scores, splits),
        samples=dict.fromkeys(scores, pd.DataFrame({"sample": ["a"]})),
        confusion=confusion or {},
        windows=windows,
        permuted=permuted,
        curves={},
        metrics=["accuracy"],
        modalities=["spikes"],
        words=WORDS,
    )


def test_a_comparison_over_time_has_a_figure_and_a_text(tmp_path):
    confusion = pd.DataFrame({"method": "meta_fusion", "true": ["A", "A", "B", "B"], "samples": [30, 30, 10, 10]})
    given = material({"late": LATE, "early": EARLY}, dict.fromkeys(WINDOW, 0), WINDOW, dict.fromkeys(WINDOW, confusion))
    table, text, figures = make("over_time", given)
    assert table["chance"].unique().tolist() == [0.75]
    assert "-0.2 to 0" in text
    # Of the mean 0.8, no more than binomial chance; the interval is wide and cut at 1.
    assert "**0.8" not in text
    save(figures["over_time"], tmp_path / "figure.svg")
    drawn = (tmp_path / "figure.svg").read_text()
    wanted = ["simulated data", "2 seeds", "binomial", "windows of 0.2 s", "modality_spikes", "chance, 95 %"]
    assert [word for word in wanted if word not in drawn] == []


def test_a_permutation_test_is_made_of_both_experiments():
    null = scores_of(meta_fusion=[0.1, 0.2, 0.3, 0.4], modality_spikes=[0.2] * 4, prior=[0.25] * 4)
    given = material({"late": LATE, "null": null}, {"late": 0, "null": 2}, {"late": None, "null": None})
    table, text, figures = make("permutation", given)
    assert table.set_index("method").loc["meta_fusion", ["observed", "p"]].tolist() == pytest.approx([0.8, 1 / 3])
    assert list(figures) == ["permutation"]
    assert "2 permutations are few" in text


def test_a_figure_over_time_without_chance_says_so(tmp_path):
    scores = {"late": scores_of("roc_auc", meta_fusion=[0.8, 0.9])}
    table = comparisons.over_time_table(scores, WINDOW, {"late": 0}, TESTED, ["roc_auc"])
    save(comparison_figures.over_time(table, Words("When", "roc_auc", False)), tmp_path / "figure.svg")
    assert "no range of chance is known" in (tmp_path / "figure.svg").read_text()
    assert np.isfinite(table["mean"]).all()

"""The account of the data: flow, participants, columns and the items of TRIPOD+AI."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from metafusion.account import figures
from metafusion.account.columns import columns_table, quality_of
from metafusion.account.data import Data, joined
from metafusion.account.flow import flow_table
from metafusion.account.participants import participants_table
from metafusion.account.tripod import ITEMS, LEFT, Setting, tripod_table
from metafusion.account.verdicts import COLUMNS
from metafusion.config.models import Experiment
from metafusion.config.sources import AdData
from metafusion.files import read_table, write_table
from metafusion.svg import save
from metafusion.workflow.summaries import summaries

USED = pd.DataFrame(
    {
        "sample": ["a1", "a2", "b1", "c1", "d1"],
        "subject": ["a", "a", "b", "c", "d"],
        "target": ["sick", "sick", "well", "well", "sick"],
    }
)
# Found: these five, and the six of the rows with an empty modality.
EXCLUSIONS = pd.DataFrame(
    [
        ("a3", "a", "", "no visit"),
        ("e1", "e", "", "no diagnosis"),
        ("e2", "e", "", "no visit"),
        ("f1", "f", "", "no visit"),
        ("g1", "g", "", "broken"),
        ("g2", "g", "", "broken"),
        ("c1", "c", "mri", "no scan"),
        ("a1", "a", "mri", "broken scan"),
        ("d1", "d", "mri", "no scan"),
        ("d1", "d", "mri", "broken scan"),
        # A second scan of somebody who has one.
        ("b1", "b", "mri", "broken scan"),
        # Whoever is out lacks nothing any more.
        ("g1", "g", "mri", "no scan"),
    ],
    columns=["sample", "subject", "modality", "reason"],
)
HAVING = {"mri": {"a2", "b1"}, "blood": {"a1", "a2", "b1", "c1"}}


def rows_of(table, modality):
    return [tuple(row)[2:] for row in table[table["modality"] == modality].itertuples(index=False)]


def test_samples_fall_out_reason_by_reason_in_the_order_of_the_exclusions():
    assert rows_of(flow_table(USED, EXCLUSIONS, HAVING), "") == [
        ("found", 0, 0, 11, 7),
        # a has other samples; of e one is left; f is gone.
        ("no visit", 3, 1, 8, 6),
        ("no diagnosis", 1, 1, 7, 5),
        ("broken", 2, 1, 5, 4),
    ]


def test_a_modality_is_counted_from_the_samples_used_to_those_that_have_it():
    table = flow_table(USED, EXCLUSIONS, HAVING)
    assert rows_of(table, "mri") == [
        ("used", 0, 0, 5, 4),
        # Who lacks it for two reasons counts once, for the first; a keeps its other sample.
        ("no scan", 2, 2, 3, 2),
        ("broken scan", 1, 0, 2, 2),
    ]
    assert rows_of(table, "blood") == [("used", 0, 0, 5, 4), ("not given", 1, 1, 4, 3)]


def test_the_flow_is_the_same_from_the_file(tmp_path):
    write_table(EXCLUSIONS, tmp_path / "exclusions.tsv")
    again = flow_table(USED, read_table(tmp_path / "exclusions.tsv"), HAVING)
    pd.testing.assert_frame_equal(again, flow_table(USED, EXCLUSIONS, HAVING))


def test_a_sample_of_nobody_known_is_a_subject_of_its_own():
    rows = EXCLUSIONS.iloc[[1, 2]].assign(subject=None)
    assert rows_of(flow_table(USED, rows, {}), "")[0] == ("found", 0, 0, 7, 6)


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["x", "y", "z"])), max_size=12),
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
)
def test_what_is_left_is_what_was_before_less_what_was_lost_and_ends_with_those_used(out, used):
    samples = pd.DataFrame({"sample": [f"u{i}" for i in range(len(used))], "subject": list(map(str, used))})
    rows = [(f"o{i}", str(subject), "", reason) for i, (subject, reason) in enumerate(out)]
    table = flow_table(samples, pd.DataFrame(rows, columns=EXCLUSIONS.columns, dtype="str"), {})
    for unit, total in (("samples", len(out) + len(used)), ("subjects", len({*used, *(one for one, _ in out)}))):
        left, lost = table[f"{unit}_left"], table[f"{unit}_lost"]
        assert left[0] == total
        assert (left.shift().iloc[1:] - lost.iloc[1:]).tolist() == left.iloc[1:].tolist()
    assert table["samples_left"].iloc[-1] == len(used)
    assert table["subjects_left"].iloc[-1] == len(set(used))


def texts_of(figure):
    return "\n".join(text.get_text() for text in figure.axes[0].texts)


def test_the_figure_has_every_count_and_reason():
    flow = flow_table(USED, EXCLUSIONS, HAVING)
    text = texts_of(figures.flow_figure(flow, {"sick": 3, "well": 2}, "A study (simulated data)"))
    for words in ("Found: 11 samples of 7 subjects", "Used: 5 samples of 4 subjects", "sick: 3, well: 2"):
        assert words in text
    assert "Out: no visit\n3 samples; with them 1 subject" in text
    assert "Out: no diagnosis\n1 sample of 1 subject" in text
    assert "mri:\n2 samples of 2 subjects" in text
    assert "no scan: 2\nbroken scan: 1" in text
    assert "A study (simulated data)" in text


@pytest.mark.parametrize("count", [0, 1, 10])
def test_boxes_hold_their_text_and_do_not_touch(count):
    reasons = [f"reason {number} " + "that is told in many words " * (number % 4) for number in range(count)]
    rows = pd.DataFrame(
        [(f"x{i}", f"x{i}", "", reason) for i, reason in enumerate(reasons)], columns=EXCLUSIONS.columns
    )
    figure = figures.flow_figure(flow_table(USED, rows, HAVING), {"sick": 3, "well": 2}, "A study")
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [patch.get_window_extent(renderer) for patch in figure.axes[0].patches]
    assert len(boxes) == 1 + 2 * count + 2 + 2
    assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[:i])
    outline, held = figure.bbox.padded(1), 0
    for text in figure.axes[0].texts:
        if text.get_text():
            extent = text.get_window_extent(renderer)
            assert outline.contains(*extent.min)
            assert outline.contains(*extent.max)
            around = [box for box in boxes if box.contains(extent.x0, extent.y0)]
            held += len(around)
            assert all(box.contains(*extent.max) for box in around)
    assert held == len(boxes)


def test_the_figure_is_the_same_file_twice(tmp_path):
    flow = flow_table(USED, EXCLUSIONS, HAVING)
    for name in ("one.svg", "two.svg"):
        save(figures.flow_figure(flow, {}, "A study"), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


PEOPLE = pd.DataFrame(
    {
        "sample": ["d1", "c1", "b1", "a2", "a1"],
        "age": [74.0, np.nan, 61.0, 99.0, 70.0],
        "sex": ["F", "M", None, "F", "F"],
    }
)


def cells(table, variable, level=""):
    (row,) = table[(table["variable"] == variable) & (table["level"] == level)].to_dict("records")
    return row


def test_participants_are_described_by_class_one_row_a_subject():
    table = participants_table(USED, PEOPLE, HAVING, classes=True)
    assert list(table.columns) == ["variable", "level", "missing", "overall", "sick", "well", "SMD (sick,well)"]
    assert (cells(table, "subjects")["overall"], cells(table, "subjects")["sick"]) == ("4", "2")
    assert (cells(table, "samples")["overall"], cells(table, "samples")["sick"]) == ("5", "3")
    # 70 and 74; the second sample of a, aged 99, does not count. Deviations: sqrt(8) and, over 70, 74 and 61, 6.66.
    assert cells(table, "age")["sick"] == "72.0 (2.8)"
    assert (cells(table, "age")["overall"], cells(table, "age")["missing"]) == ("68.3 (6.7)", "1")
    assert (cells(table, "sex", "F")["sick"], cells(table, "sex", "F")["missing"]) == ("2 (100.0)", "1")
    assert cells(table, "sex", "M")["well"] == "1 (100.0)"
    # a has an MRI by its second sample.
    assert cells(table, "has mri", "yes")["overall"] == "2 (50.0)"
    assert cells(table, "has blood", "yes")["well"] == "2 (100.0)"


def test_a_subject_with_samples_of_several_classes_stands_in_each_and_once_among_all():
    # Trials of two people who have both classes, and of one who has left ones only.
    trials = [("a", "left"), ("a", "right"), ("a", "left"), ("b", "right"), ("b", "left"), ("c", "left"), ("c", "left")]
    samples = pd.DataFrame(trials, columns=["subject", "target"]).assign(sample=list("stuvwxy"))
    people = pd.DataFrame({"sample": samples["sample"], "age": [20.0, 20, 20, 30, 30, 43, 43]})
    people["sex"] = ["f", "f", "f", "m", "m", None, None]
    table = participants_table(samples, people, {"lfp": {"t", "v", "x"}}, classes=True)
    counts = {name: cells(table, "subjects")[name] for name in ("overall", "left", "right")}
    assert counts == {"overall": "3", "left": "3", "right": "2"}
    assert [cells(table, "samples")[name] for name in ("overall", "left", "right")] == ["7", "5", "2"]
    # The mean of 20, 30 and 43 is 31, and their deviation 11.5; of 20 and 30 it is 7.1.
    assert cells(table, "age")["overall"].startswith("31")
    assert cells(table, "age")["right"] == "25.0 (7.1)"
    assert [cells(table, "sex", "f")[name] for name in ("missing", "overall", "right")] == ["1", "1 (50.0)", "1 (50.0)"]
    # a and b have it in their right trials, c in a left one.
    has = cells(table, "has lfp", "yes")
    assert [has[name] for name in ("overall", "left", "right")] == ["3 (100.0)", "1 (33.3)", "2 (100.0)"]


def test_the_standardised_difference_is_that_of_its_formula():
    values = np.array([1.0, 2.0, 3.0, 4.0, 6.0, 9.0])
    samples = pd.DataFrame({"sample": list("abcdef"), "subject": list("abcdef"), "target": ["x"] * 3 + ["y"] * 3})
    table = participants_table(samples, pd.DataFrame({"sample": list("abcdef"), "age": values}), {}, classes=True)
    pooled = np.sqrt((values[:3].var(ddof=1) + values[3:].var(ddof=1)) / 2)
    assert float(cells(table, "age")["SMD (x,y)"]) == pytest.approx((values[3:].mean() - 2) / pooled, abs=5e-4)


def test_without_covariates_there_are_counts_only():
    table = participants_table(USED, USED[["sample"]], HAVING, classes=True)
    assert table["variable"].tolist() == ["subjects", "samples", "has mri", "has blood"]


def test_a_number_to_be_predicted_is_described_itself():
    samples = USED.assign(target=[1.0, 5.0, 2.0, 3.0, 6.0])
    table = participants_table(samples, PEOPLE, HAVING, classes=False)
    assert list(table.columns) == ["variable", "level", "missing", "overall"]
    assert cells(table, "target")["overall"] == "3.0 (2.2)"


def test_columns_may_have_the_names_that_the_table_uses_itself():
    samples = USED.assign(target=[1.0, 5.0, 2.0, 3.0, 6.0])
    people = pd.DataFrame({"sample": USED["sample"], "n": [3.0, 9, 1, 2, 6], "target": [7.0, 9, 8, 9, 8]})
    people["has mri"] = ["maybe", "never", "never", "maybe", "maybe"]
    table = participants_table(samples, people, HAVING, classes=False)
    # The second sample of a subject does not count.
    assert cells(table, "n")["overall"] == "3.0 (2.2)"
    assert cells(table, "target (people)")["overall"] == "8.00 (0.82)"
    assert cells(table, "target")["overall"] == "3.0 (2.2)"
    assert cells(table, "has mri", "maybe")["overall"] == "3 (75.0)"
    assert cells(table, "has mri", "yes")["overall"] == "2 (50.0)"
    by_class = participants_table(USED, people, HAVING, classes=True)
    assert cells(by_class, "target")["overall"] == "8.00 (0.82)"
    assert cells(by_class, "n")["well"] == "1.5 (0.7)"


def test_columns_stand_in_their_order_however_many_there_are():
    names = [f"answer {number}" for number in range(12)]
    people = USED[["sample"]].assign(**{name: [1.0, 2, 3, 4, 5] for name in names})
    table = participants_table(USED, people, HAVING, classes=True)
    assert table["variable"].tolist() == ["subjects", "samples", *names, "has mri", "has blood"]


def test_where_samples_are_split_every_sample_is_described():
    table = participants_table(USED, PEOPLE, HAVING, classes=True, unit="sample")
    assert cells(table, "age")["sick"] == "81 (16)"
    assert cells(table, "has mri", "yes")["overall"] == "2 (40.0)"


def test_a_class_of_which_nothing_is_known_is_described_by_its_counts():
    samples = pd.concat([USED, pd.DataFrame({"sample": ["x", "y"], "subject": ["x", "y"], "target": ["new", "new"]})])
    table = participants_table(samples, PEOPLE, HAVING, classes=True)
    assert list(table.columns[-3:]) == ["SMD (new,sick)", "SMD (new,well)", "SMD (sick,well)"]
    assert cells(table, "subjects")["new"] == "2"
    assert cells(table, "age")["missing"] == "3"
    assert cells(table, "sex", "F")["new"].startswith("0 (")


def test_codes_and_sites_are_counted():
    people = pd.DataFrame(
        {"sample": USED["sample"], "male": [1.0, 1.0, 0.0, np.nan, 1.0], "site": [11, 11, 12, 13, 14]}
    )
    table = participants_table(USED, people, {}, classes=True)
    assert [cells(table, "male", code)["overall"] for code in "01"] == ["1 (33.3)", "2 (66.7)"]
    assert cells(table, "site", "13")["well"] == "1 (50.0)"


def test_small_numbers_keep_two_digits_of_their_deviation():
    people = pd.DataFrame({"sample": USED["sample"], "ratio": [0.991, 0.0, 0.993, 0.992, 0.994]})
    assert cells(participants_table(USED, people, {}, classes=True), "ratio")["overall"] == "0.9925 (0.0013)"


def test_classes_named_as_columns_are_told_apart():
    samples = USED.assign(target=["Missing", "Missing", "overall", "overall", "Missing"])
    table = participants_table(samples, PEOPLE, {}, classes=True)
    assert cells(table, "samples")["class Missing"] == "3"
    assert cells(table, "samples")["class overall"] == "2"


@pytest.fixture
def data(tmp_path):
    features = pd.DataFrame({"sample": ["a1", "a2", "b1"], "x": [1.0, np.nan, 3.0], "y": [1.0, 2.0, 3.0]})
    write_table(features, tmp_path / "features" / "mri.parquet")
    write_table(features.assign(sample=["a1", "b1", "c1"]), tmp_path / "features" / "blood.parquet")
    splits = USED[["sample"]].assign(
        seed_1=["train", "train", "train", "validation", "test"],
        seed_2=["test", "test", "train", "train", "validation"],
    )
    return Data(USED, PEOPLE, splits, tmp_path / "features", ["mri", "blood"], classes=True, unit="subject")


def test_columns_are_those_that_preprocessing_speaks_of_and_else_the_features(data, tmp_path):
    said = pd.DataFrame({"column": ["sex"], "type": ["categorical"], "features": [2], "missing": [1]})
    write_table(said, tmp_path / "preprocessed" / "mri" / "all" / "columns.tsv")
    folders = {name: [tmp_path / "preprocessed" / name / "all"] for name in data.modalities}
    table = columns_table(data, folders)
    assert table.to_numpy().tolist() == [
        ["mri", "sex", "categorical", 2, 1],
        ["blood", "x", "numeric", 1, 1],
        ["blood", "y", "numeric", 1, 0],
    ]


def test_a_unit_of_several_modalities_names_them_itself(data, tmp_path):
    said = pd.DataFrame({"modality": ["blood", "mri", "other"], "column": ["u", "v", "w"]})
    write_table(said, tmp_path / "visits" / "all" / "columns.tsv")
    table = columns_table(data, {"visits": [tmp_path / "visits" / "all"]})
    assert table.to_numpy().tolist() == [["blood", "u"], ["mri", "v"]]


def test_quality_is_read_where_there_are_volumes_only(tmp_path):
    write_table(pd.DataFrame({"sample": ["a1"]}), tmp_path / "one" / "quality.tsv")
    asked = []
    quality_of({"t1w": [tmp_path / "one", tmp_path / "two"]}, asked.append)
    assert asked == [[tmp_path / "one"]]
    assert list(quality_of({"t1w": [tmp_path / "two"]}, asked.append).columns) == ["sample"]


def test_blocks_of_splits_are_joined_by_sample():
    one = pd.DataFrame({"sample": ["a", "b"], "seed_1": ["train", "test"]})
    two = pd.DataFrame({"sample": ["b", "c"], "seed_2": ["train", "test"]})
    table = joined([one, two]).set_index("sample")
    assert table.loc["b"].tolist() == ["test", "train"]
    assert table.loc["a"].isna().tolist() == [False, True]


SPLIT = Experiment(
    title="", task="classification", source=AdData(kind="ad_data"), representations={"csf": ["raw"]}
).split


def items_of(data):
    flow = flow_table(data.samples, EXCLUSIONS, data.having())
    leakage = pd.DataFrame([("single feature", "x", "mri", 0.99, "suspect", "")], columns=COLUMNS)
    setting = Setting("study", "A study", "nacc", True, SPLIT.model_dump())
    table = tripod_table(data, flow, columns_table(data, {}), leakage, setting)
    return table, table.set_index("item")["text"]


def test_items_are_filled_with_the_numbers_of_the_run(data):
    _, text = items_of(data)
    assert "simulated" in text["1"]
    assert text["10"] == "5 samples of 4 subjects"
    assert text["6b"] == "left out, with numbers of samples: no visit (3); no diagnosis (1); broken (2)"
    assert text["8a"] == "classes: sick, well"
    assert "mri (2), blood (2)" in text["9a"]
    assert "mri (2), blood (2);" in text["11"]
    assert "2 splits (seeds) by subject" in text["12a"]
    assert text["13"] == "shares of the classes: sick 60.0%, well 40.0%"
    assert "train 3 (sick 2, well 1); validation 1 (well 1); test 1 (sick 1)" in text["21"]
    assert text["26"].startswith("1 of 1 rows")


def test_items_are_left_to_the_authors_where_the_run_knows_nothing(data):
    table, text = items_of(data)
    assert len(table) == len(ITEMS) == len(set(table["item"]))
    assert ((table["text"] == LEFT) == (table["by"] == "authors")).all()
    assert text["17"] == "to be written by the authors"


def test_numbers_to_be_predicted_have_no_classes_among_the_items(data):
    samples = USED.assign(target=[1.0, 2.0, 3.0, 4.0, 5.0])
    _, text = items_of(
        Data(samples, PEOPLE, data.splits, data.features, data.modalities, classes=False, unit="subject")
    )
    assert text["8a"] == "a number, from 1 to 5, mean 3"
    assert text["13"] == "no classes"


@pytest.mark.parametrize(
    ("levels", "line"),
    [
        (["ok", "ok"], "checks of the data: 0 suspect"),
        (["suspect", "ok"], "checks of the data: 1 suspect (single feature 1): see "),
        (["suspect", "error"], "checks of the data: 2 suspect (single feature 1, subject overlap 1): see "),
    ],
)
def test_the_end_of_a_run_says_how_many_suspects_there_are(tmp_path, levels, line):
    folder = tmp_path / "study" / "tables"
    row = {
        "method": "prior",
        "family": "reference",
        "metric": "accuracy",
        "mean": 0.5,
        "se": 0.1,
        "seeds": 2,
        "mark": "",
    }
    write_table(pd.DataFrame([row]), folder / "summary.tsv")
    checks = pd.DataFrame({"check": ["single feature", "subject overlap"], "level": levels})
    write_table(checks, folder / "leakage.tsv")
    experiment = Experiment(
        title="", task="classification", source=AdData(kind="ad_data"), representations={"csf": ["raw"]}
    )
    printed = summaries(tmp_path, {"study": experiment}).splitlines()
    assert sum(one.strip().startswith(line) for one in printed) == 1
    assert (str(folder / "leakage.tsv") in printed[-1]) == ("suspect" in levels)


def test_the_end_of_a_run_counts_the_volumes_to_look_at(tmp_path):
    names = ["method", "family", "metric", "mean", "se", "seeds", "mark"]
    write_table(pd.DataFrame([["prior", "reference", "accuracy", 0.5, 0.1, 2, ""]], columns=names), tmp_path / "s.tsv")
    folder = tmp_path / "study/tables"
    folder.mkdir(parents=True)
    (tmp_path / "s.tsv").rename(folder / "summary.tsv")
    warnings = {"space_warning": ["lies far off", "", "no origin"], "outlier": ["", "", "grey_ml"]}
    write_table(pd.DataFrame({"sample": ["a", "b", "c"], **warnings}), folder / "quality.tsv")
    gains = {"metric": "accuracy", "method": ["meta_fusion", "best_single"], "gain": [0.0123, 0.5], "seeds": 10}
    gains |= {"low": [-0.01, 0.4], "high": [0.03, 0.6], "taught": 7}
    write_table(pd.DataFrame(gains), folder / "mutual_learning.tsv")
    experiment = Experiment(
        title="", task="classification", source=AdData(kind="ad_data"), representations={"csf": ["raw"]}
    )
    printed = summaries(tmp_path, {"study": experiment})
    assert (
        "mutual learning added 0.0123 to meta_fusion (better if positive, 95 % interval -0.0100 to 0.0300); 7 of 10"
        in (printed)
    )
    assert printed.endswith(f"volumes: 3 used, 2 with a warning, 1 unlike the others: see {folder / 'quality.tsv'}")


def test_the_page_on_checks_names_every_check_and_key():
    from metafusion.config.checks import Checks

    page = (Path(__file__).parents[2] / "docs" / "checks.md").read_text()
    for key in Checks.model_fields:
        assert f"`checks.{key}`" in page or f"`{key}`" in page

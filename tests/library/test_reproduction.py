"""The generated parts of the account of the study: the comparison with the authors' code, and the filling of marks."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from metafusion.errors import UserError
from metafusion.files import write_table
from metafusion.pages import fill
from metafusion.reproduction import against_authors, as_markdown, main, read_trainings

THEIRS = pd.DataFrame(
    {
        "experiment": ["a", "a", "a", "b"],
        "seed": [1, 2, 1, 1],
        "method": ["meta_fusion", "meta_fusion", "early_fusion", "meta_fusion"],
        "mse": [3.0, 5.0, 9.0, 1.0],
    }
)


def trainings(values, method="meta_fusion", experiment="a", seed=1):
    return pd.DataFrame(
        {
            "experiment": experiment,
            "repetition": range(len(values)),
            "method": method,
            "seed": seed,
            "value": values,
        }
    )


def test_interval_is_students_for_one_more_training():
    values = [8.0, 10.0, 9.0, 9.5, 8.5]
    (row,) = against_authors(trainings(values, "early_fusion"), THEIRS).itertuples()
    # The interval is the acceptance region of the two-sample t test of one value against five.
    for bound in (row.low, row.high):
        spread = np.std(values, ddof=1) * np.sqrt(1 + 1 / 5)
        assert stats.t.sf(abs(bound - np.mean(values)) / spread, df=4) == pytest.approx(0.025)
    assert (row.authors, row.mean, row.seeds, row.trainings) == (9.0, 9.0, 1, 5)
    assert row.within


def test_mean_over_seeds_comes_before_the_spread_over_trainings():
    # The seeds differ much, the trainings do not: only the latter is the spread.
    ours = pd.concat([trainings([1.0, 1.2]), trainings([9.0, 9.2], seed=2)])
    (row,) = against_authors(ours, THEIRS).itertuples()
    assert (row.authors, row.seeds) == (4.0, 2)
    assert row.mean == pytest.approx(5.1)
    assert row.sd == pytest.approx(np.std([5.0, 5.2], ddof=1))


def test_an_error_of_theirs_outside_the_interval_is_told():
    table = against_authors(trainings([1.0, 1.1, 0.9], "early_fusion"), THEIRS)
    assert not table["within"].any()
    assert "| 9 | 1 (0.1) |" in as_markdown(table)
    assert "**no**" in as_markdown(table)


def test_methods_and_seeds_of_one_side_only_are_left_out():
    ours = pd.concat([trainings([1.0, 2.0]), trainings([5.0, 5.0], seed=7), trainings([1.0, 1.5], "stacking")])
    table = against_authors(ours, THEIRS)
    assert list(table["method"]) == ["meta_fusion"]
    assert table["mean"].item() == 1.5


def test_a_method_trained_once_has_no_interval_and_is_left_out():
    ours = pd.concat([trainings([1.0, 2.0]), trainings([9.0], "early_fusion")])
    assert list(against_authors(ours, THEIRS)["method"]) == ["meta_fusion"]


def test_parts_between_marks_are_filled_and_the_rest_stays():
    text = "# Title\n<!-- begin: one -->\nold | \\1\n<!-- end: one -->\nprose\n<!-- begin: two -->\n<!-- end: two -->\n"
    filled = fill(text, {"one": "new \\1\n", "two": "2", "three": "3"})
    assert filled == (
        "# Title\n<!-- begin: one -->\n\nnew \\1\n\n<!-- end: one -->\n"
        "prose\n<!-- begin: two -->\n\n2\n\n<!-- end: two -->\n"
    )
    assert fill(filled, {"one": "new \\1", "two": "2"}) == filled


def test_parts_that_are_named_are_filled_and_the_others_stay():
    text = "<!-- begin: one -->\nold\n<!-- end: one -->\n<!-- begin: two -->\nold\n<!-- end: two -->\n"
    filled = fill(text, {"two": "new"}, ["two"])
    assert filled == text[: text.index("<!-- begin: two")] + "<!-- begin: two -->\n\nnew\n\n<!-- end: two -->\n"
    with pytest.raises(UserError, match="'three': the page has none of that name"):
        fill(text, {"three": "new"}, ["three"])


def test_a_part_without_results_is_refused_and_the_document_stays(tmp_path):
    document = tmp_path / "reproduction.md"
    document.write_text("<!-- begin: corrected -->\nold\n<!-- end: corrected -->\n")
    with pytest.raises(UserError, match="part 'corrected': nothing to fill it with"):
        main(tmp_path, document)
    assert "old" in document.read_text()


def test_trainings_are_read_by_repetition(tmp_path):
    for name, value in (
        ("x@as_published", 50.0),
        ("x@as_published+repetition_0", 1.0),
        ("x@as_published+repetition_2", 3.0),
    ):
        scores = pd.DataFrame(
            {
                "method": ["meta_fusion"] * 3,
                "family": "cohort",
                "seed": 4,
                "part": ["test", "validation", "test"],
                "metric": ["mse", "mse", "r2"],
                "value": [value, 99.0, 98.0],
            }
        )
        write_table(scores, tmp_path / name / "tables" / "scores.tsv")
    table = read_trainings(tmp_path, "x")
    assert list(table["repetition"]) == [0, 2]
    assert list(table["value"]) == [1.0, 3.0]


def test_no_repetition_names_the_command(tmp_path):
    with pytest.raises(UserError, match=r"config/authors_check\.yaml"):
        read_trainings(tmp_path, "x")

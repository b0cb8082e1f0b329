"""Groups of people: who is in which."""

import logging

import numpy as np
import pandas as pd
import pytest

from metafusion.errors import UserError
from metafusion.subgroups import levels_of

PEOPLE = pd.DataFrame(
    {
        "sample": list("abcdef"),
        "age": [64.9, 65.0, 74.9, 75.0, np.nan, 90.0],
        "sex": ["male", "female", None, "female", "male", "male"],
        "visit": [2, 10, 2, 10, 2, 2],
        "field": [1.5, 3.0, 3.0, 1.5, 3.0, np.nan],
    }
)
SAMPLES = pd.DataFrame({"sample": list("fedcba"), "site": ["x", "y", "x", "y", "x", "y"]})


def levels(**subgroups):
    return {name: found.to_dict() for name, found in levels_of(SAMPLES, PEOPLE, subgroups).items()}


def test_a_band_begins_with_its_cut_point():
    assert levels(age=[65, 75]) == {
        "age": {
            "a": "below 65",
            "b": "65 to below 75",
            "c": "65 to below 75",
            "d": "75 and above",
            "e": "unknown",
            "f": "75 and above",
        }
    }


def test_one_cut_point_makes_two_bands():
    assert set(levels(age=[70.5])["age"].values()) == {"below 70.5", "70.5 and above", "unknown"}


def test_without_cut_points_every_value_is_a_level_and_numbers_are_text():
    assert levels(sex=None, field=None) == {
        "sex": {"a": "male", "b": "female", "c": "unknown", "d": "female", "e": "male", "f": "male"},
        "field": {"a": "1.5", "b": "3", "c": "3", "d": "1.5", "e": "3", "f": "unknown"},
    }


@pytest.mark.parametrize(
    ("column", "points", "expected"),
    [
        ("age", [60, 65, 80, 100], ["60 to below 65", "65 to below 80", "80 to below 100", "unknown"]),
        ("visit", None, ["2", "10"]),
        ("sex", None, ["female", "male", "unknown"]),
    ],
)
def test_levels_are_those_that_occur_in_their_order(column, points, expected):
    found = levels_of(SAMPLES, PEOPLE, {column: points})[column]
    assert found.cat.categories.tolist() == expected


def test_the_site_of_samples_makes_groups_where_people_have_none():
    assert levels(site=None)["site"] == {"f": "x", "e": "y", "d": "x", "c": "y", "b": "x", "a": "y"}
    own = levels_of(SAMPLES, PEOPLE.assign(site="z"), {"site": None})["site"]
    assert set(own) == {"z"}


def test_a_sample_that_nothing_is_known_of_is_in_the_group_of_unknowns():
    more = pd.concat([SAMPLES, pd.DataFrame({"sample": ["new"], "site": ["x"]})], ignore_index=True)
    found = levels_of(more, PEOPLE, {"sex": None, "age": [70]})
    assert [found[name]["new"] for name in ("sex", "age")] == ["unknown", "unknown"]


@pytest.mark.parametrize(
    ("subgroups", "words"),
    [
        ({"sexx": None}, ["'sexx'", "did you mean 'sex'", "age", "visit", "site"]),
        ({"sample": None}, ["nothing is known of 'sample'"]),
        ({"sex": [1.0]}, ["'sex'", "'male'", "write 'sex: null'"]),
    ],
)
def test_groups_that_cannot_be_made_are_refused_with_a_remedy(subgroups, words):
    with pytest.raises(UserError) as refused:
        levels_of(SAMPLES, PEOPLE, subgroups)
    assert all(word in str(refused.value) for word in words)


def counted(values):
    """Return the levels of a column of values, in their order, with the number of samples of each."""
    people = pd.DataFrame({"sample": [f"s{i}" for i in range(len(values))], "site": values})
    return levels_of(people[["sample"]], people, {"site": None})["site"].value_counts(sort=False).to_dict()


def test_of_too_many_values_the_most_frequent_are_groups_and_the_rest_are_one(caplog):
    # Two of each of 18 sites, one of each of 4 more, of which the first by name is kept, and one unknown.
    values = [f"c{i:02}" for i in range(10, 28)] * 2 + ["d3", "d1", "others", "d2", None]
    with caplog.at_level(logging.INFO):
        found = counted(values)
    assert found == {f"c{i:02}": 2 for i in range(10, 28)} | {"d1": 1, "others": 3, "unknown": 1}
    assert list(found)[-3:] == ["d1", "others", "unknown"]
    assert "'site' has 22 values: the 19 with most samples are groups, the others (3 samples) are one" in caplog.text


def test_twenty_values_are_twenty_groups(caplog):
    with caplog.at_level(logging.INFO):
        assert counted(range(20)) == {str(i): 1 for i in range(20)}
    assert not caplog.text


def test_of_too_many_numbers_it_is_said_that_cut_points_make_bands(caplog):
    with caplog.at_level(logging.INFO):
        found = counted(np.arange(21.0))
    assert list(found) == [*map(str, range(19)), "others"]
    assert "cut points make bands: {site: [10]}" in caplog.text


def test_large_numbers_that_differ_are_groups_that_differ():
    assert counted([1000001.0, 1000002.0, 1000001.0, 0.1234567, 0.1234568]) == {
        "0.1234567": 1,
        "0.1234568": 1,
        "1000001": 2,
        "1000002": 1,
    }
    people = PEOPLE.assign(age=[1000000.0, 1000001, 1000002, 1000001, 1000002, 1000002])
    found = levels_of(SAMPLES, people, {"age": [1000001, 1000002]})["age"]
    assert found.cat.categories.tolist() == ["below 1000001", "1000001 to below 1000002", "1000002 and above"]


@pytest.mark.parametrize("nothing", [np.nan, None])
def test_cut_points_for_a_column_without_a_value_put_everybody_among_the_unknowns(nothing):
    people = PEOPLE.assign(age=nothing)
    assert set(levels_of(SAMPLES, people, {"age": [65]})["age"]) == {"unknown"}

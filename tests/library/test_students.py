"""The cohort's list of students."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metafusion.cohort.students import Student, all_students, only, table
from metafusion.config.models import Cohort, Head, Representations


def students_of(sizes, more_heads=None):
    names = {modality: Representations(sizes=one).names for modality, one in sizes.items()}
    return all_students(names, more_heads)


def test_students_are_all_combinations_but_the_one_that_sees_nothing():
    students = students_of({"a": ["raw", 4, "absent"], "b": [3, "absent"]})
    assert [student.name for student in students] == [
        "a=raw|b=pca3",
        "a=raw|b=absent",
        "a=pca4|b=pca3",
        "a=pca4|b=absent",
        "a=absent|b=pca3",
    ]


def test_wide_representations_come_first_however_they_are_listed():
    students = students_of({"a": ["absent", 5, 40, "raw", 20]})
    assert [student.name for student in students] == ["a=raw", "a=pca40", "a=pca20", "a=pca5"]


choices = st.lists(
    st.sampled_from(["raw", "absent", "pca8", "pca5", "encoder3", "separate2"]), min_size=1, max_size=5, unique=True
)
heads = st.lists(
    st.builds(Head, hidden=st.lists(st.integers(1, 3), max_size=2), dropout=st.sampled_from([0.0, 0.5])),
    max_size=3,
    unique_by=lambda head: head.name,
)


@given(st.dictionaries(st.sampled_from("abcd"), choices, min_size=1), heads)
def test_the_cohort_has_as_many_students_as_combinations(names, more_heads):
    combinations = prod(len(choice) for choice in names.values())
    blind = all("absent" in choice for choice in names.values())
    students = all_students(names, more_heads)
    assert (
        len(students) == len({student.name for student in students}) == (combinations - blind) * (1 + len(more_heads))
    )


@given(st.dictionaries(st.sampled_from("abcd"), choices, min_size=1), heads)
def test_every_student_sees_something(names, more_heads):
    assert all(student.views for student in all_students(names, more_heads))


@given(st.dictionaries(st.sampled_from("abcd"), choices, min_size=1), heads, st.sets(st.integers(1, 4), min_size=1))
def test_students_that_see_other_numbers_of_modalities_are_left_out(names, more_heads, numbers):
    everybody = all_students(names, more_heads)
    chosen = all_students(names, more_heads, sorted(numbers))
    assert chosen == [student for student in everybody if len(student.views) in numbers]


def test_every_student_is_there_with_every_head():
    head = Head(hidden=[8], dropout=0.5)
    found = students_of({"a": ["raw", "absent"], "b": [2]}, [head, Head(hidden=[])])
    assert [student.name for student in found] == [
        "a=raw|b=pca2",
        "a=absent|b=pca2",
        "a=raw|b=pca2|head=8_dropout0.5",
        "a=absent|b=pca2|head=8_dropout0.5",
        "a=raw|b=pca2|head=linear",
        "a=absent|b=pca2|head=linear",
    ]
    assert [student.head for student in found[1:3]] == [None, head]


# Meta Fusion, simulation 1.1: five sizes a modality, raw and absent among them; NACC: 5 x 2 x 2 x 5, never all absent.
@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ({"a": ["raw", 400, 300, 200, "absent"], "b": ["raw", 300, 200, 100, "absent"]}, 24),
        ({"a": [80, 70, 60, 50, "absent"], "b": [90, 80, 70, 60, "absent"]}, 24),
        (
            {
                "history": ["raw", 70, 50, 30, "absent"],
                "survey": ["raw", 30],
                "testing": ["raw", 20],
                "mri": ["raw", 90, 60, 30, "absent"],
            },
            100,
        ),
        ({"lfp": ["raw", 300, 250, 200, "absent"], "spikes": ["raw", 40, 30, 20, 15, "absent"]}, 29),
        ({"lfp": ["raw", 100, "absent"], "spikes": ["raw", 70, 65, 60, 55, 50, 45, "absent"]}, 23),
    ],
)
def test_cohorts_of_the_paper_have_their_published_sizes(sizes, count):
    assert len(students_of(sizes)) == count


def test_a_student_sees_what_is_not_absent():
    student = Student((("a", "raw"), ("b", "absent"), ("c", "pca7")))
    assert student.views == [("a", "raw"), ("c", "pca7")]


def test_the_student_of_everything_raw_is_early_fusion():
    sizes = {"a": ["raw", 2, "absent"], "b": ["raw", "absent"]}
    assert only(["a", "b"], ["a", "b"]) == students_of(sizes)[0]


def test_the_student_of_one_raw_modality_is_in_the_cohort():
    sizes = {"a": ["raw", 2, "absent"], "b": ["raw", "absent"]}
    assert only(["b"], ["a", "b"]).name in {student.name for student in students_of(sizes)}


def test_the_table_has_one_numbered_row_a_student():
    settings = Cohort(hidden=[6, 3], more_heads=[Head(hidden=[])])
    found = table(students_of({"a": ["raw", "absent"], "b": [2]}, settings.more_heads), settings)
    assert found.to_dict("records") == [
        {"student": 0, "name": "a=raw|b=pca2", "head": "6_3", "a": "raw", "b": "pca2"},
        {"student": 1, "name": "a=absent|b=pca2", "head": "6_3", "a": "absent", "b": "pca2"},
        {"student": 2, "name": "a=raw|b=pca2|head=linear", "head": "linear", "a": "raw", "b": "pca2"},
        {"student": 3, "name": "a=absent|b=pca2|head=linear", "head": "linear", "a": "absent", "b": "pca2"},
    ]

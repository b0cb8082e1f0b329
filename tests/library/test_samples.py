"""The contract of samples and features: what is accepted, what is refused, and what comes back from the files."""

import numpy as np
import pandas as pd
import pytest

from metafusion.errors import UserError
from metafusion.files import read_table
from metafusion.samples import Assembled, check, feature_matrix, no_exclusions, refuse_overlap, write


def cohort(count=8, **columns):
    """Return samples s0, s1, ... of subjects p0, p1, ..., half of them healthy, half ill."""
    table = {
        "sample": [f"s{number}" for number in range(count)],
        "subject": [f"p{number}" for number in range(count)],
        "target": ["healthy" if number < count / 2 else "ill" for number in range(count)],
    }
    return pd.DataFrame(table | columns)


def features_of(ids, **columns):
    values = columns or {"x": np.arange(len(ids), dtype=np.float32)}
    return pd.DataFrame({"sample": list(ids), **values})


def assembled(samples=None, **features):
    samples = cohort() if samples is None else samples
    return Assembled(samples, features or {"blood": features_of(samples["sample"])})


def checked(made, task="classification", unit="subject"):
    return check(made, task, list(made.features), unit)


def refusal(made, task="classification", unit="subject", modalities=None):
    with pytest.raises(UserError) as caught:
        check(made, task, modalities or list(made.features), unit)
    return str(caught.value)


def test_no_sample_is_refused():
    assert "no sample is left" in refusal(assembled(cohort(0)))


def test_duplicate_samples_are_named():
    samples = cohort(sample=["s0", "s1", "s2", "s1", "s4", "s5", "s6", "s6"])
    message = refusal(assembled(samples, blood=features_of(["s0"])))
    assert "samples: 2 sample ids stand more than once (s1, s6)" in message


def test_duplicate_ids_within_a_modality_are_named():
    message = refusal(assembled(blood=features_of(["s0", "s1", "s0"])))
    assert "modality 'blood': 1 sample ids stand more than once (s0)" in message


def test_a_modality_that_was_not_assembled_is_named_with_the_nearest():
    message = refusal(assembled(), modalities=["blod"])
    assert "modality 'blod' was not assembled; did you mean 'blood'?" in message


def test_a_modality_without_any_of_the_samples_is_named():
    message = refusal(assembled(blood=features_of(["s0"]), scan=features_of(["other"])))
    assert "modality 'scan' has no sample in common" in message


def test_a_modality_without_features_is_named():
    message = refusal(assembled(blood=pd.DataFrame({"sample": ["s0", "s1"]})))
    assert "modality 'blood' has no feature" in message


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_features_are_named(value):
    table = features_of(["s0", "s1"], fine=[1.0, np.nan], wild=[0.0, value])
    message = refusal(assembled(blood=table))
    assert "modality 'blood': infinite values in wild;" in message


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_numbers_too_large_for_single_precision_are_refused_as_infinite():
    message = refusal(assembled(blood=features_of(["s0", "s1"], wild=[0.0, 1e39])))
    assert "infinite values in wild" in message


def test_missing_values_inside_a_modality_are_accepted():
    table = checked(assembled(blood=features_of(cohort()["sample"], x=[np.nan, *range(7)]))).features["blood"]
    assert table["x"].isna().tolist() == [True] + [False] * 7


@pytest.mark.parametrize("missing", [None, np.nan])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_missing_targets_are_named(task, missing):
    values = [1.0] * 4 + [2.0] * 4 if task == "regression" else ["a"] * 4 + ["b"] * 4
    values[2] = values[5] = missing
    assert "target: missing for 2 samples (s2, s5)" in refusal(assembled(cohort(target=values)), task)


def test_a_constant_class_is_refused():
    assert "target: constant (every sample is 'ill')" in refusal(assembled(cohort(target="ill")))


def test_a_constant_number_is_refused():
    assert "target: constant (2.5 for every sample)" in refusal(assembled(cohort(target=2.5)), "regression")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_number_is_refused_with_its_sample(value):
    message = refusal(assembled(cohort(target=[0.0, 1.0, 2.0, value, 4.0, 5.0, 6.0, 7.0])), "regression")
    assert "target of sample 's3'" in message
    assert "finite" in message


def test_an_infinite_number_is_shown_as_a_user_would_write_it():
    message = refusal(assembled(cohort(target=[0.0, 1.0, 2.0, np.inf, 4.0, 5.0, 6.0, 7.0])), "regression")
    assert "is inf: regression" in message


def test_text_as_a_number_is_refused_with_its_sample():
    message = refusal(assembled(cohort(target=["1", "2", "high", "4", "5", "6", "7", "8"])), "regression")
    assert "target of sample 's2' is 'high'" in message
    assert "task: classification" in message


def test_infinity_is_no_class():
    assert "infinite" in refusal(assembled(cohort(target=[0.0] * 4 + [np.inf] * 4)))


def test_a_class_with_two_subjects_is_refused_with_its_count():
    message = refusal(assembled(cohort(target=["a"] * 6 + ["b"] * 2)))
    assert "fewer than 3 subjects ('b': 2)" in message


def test_samples_of_one_subject_count_once_towards_a_class():
    samples = cohort(target=["a"] * 4 + ["b"] * 4, subject=["p0", "p1", "p2", "p3", "q", "q", "q", "r"])
    assert "fewer than 3 subjects ('b': 2)" in refusal(assembled(samples))


def test_where_samples_are_the_unit_each_counts_towards_a_class():
    samples = cohort(subject="the rat")
    assert len(checked(assembled(samples), unit="sample").samples) == 8


def test_where_samples_are_the_unit_a_rare_class_is_refused():
    samples = cohort(subject="the rat", target=["a"] * 6 + ["b"] * 2)
    assert "fewer than 3 samples ('b': 2)" in refusal(assembled(samples), unit="sample")


def test_many_rare_classes_suggest_regression():
    message = refusal(assembled(cohort(30, target=np.arange(30) / 7)))
    assert "task: regression" in message


def test_few_rare_classes_do_not_suggest_regression():
    assert "task: regression" not in refusal(assembled(cohort(target=["a"] * 6 + ["b"] * 2)))


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ([0.0] * 4 + [1.0] * 4, {"0", "1"}),
        ([0] * 4 + [2] * 4, {"0", "2"}),
        ([0.5] * 4 + [1.0] * 4, {"0.5", "1.0"}),
        ([True] * 4 + [False] * 4, {"True", "False"}),
    ],
)
def test_classes_become_text(given, labels):
    assert set(checked(assembled(cohort(target=given))).samples["target"]) == labels


def test_numbers_written_as_text_become_numbers():
    samples = checked(assembled(cohort(target=list("12345678"))), "regression").samples
    assert samples["target"].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]


def test_an_unknown_given_part_is_refused_with_the_allowed_ones():
    message = refusal(assembled(cohort(given_part=["train"] * 6 + ["validate", None])))
    assert "given_part: 'validate' is no part; allowed: train, validation, test" in message


def test_a_subject_in_two_given_parts_is_refused():
    samples = cohort(
        subject=["a", "b", "c", "c", "e", "f", "g", "h"], given_part=["train", None, "train", "test"] + [None] * 4
    )
    message = refusal(assembled(samples))
    assert "the given split: 1 subjects stand in more than one part (subject 'c' in test, train)" in message


def test_where_samples_are_the_unit_a_subject_may_stand_in_two_given_parts():
    samples = cohort(subject="the rat", given_part=["train", "test"] * 4)
    assert len(checked(assembled(samples), unit="sample").samples) == 8


def test_a_subject_in_one_part_is_no_overlap():
    refuse_overlap(pd.Series(["a", "a", "b"]), pd.Series(["train", "train", "test"]), "here")


def test_overlap_counts_the_subjects_and_says_where():
    subjects = pd.Series(["a", "a", "b", "b", "c"])
    parts = pd.Series(["train", "test", "validation", "test", "test"])
    with pytest.raises(UserError, match="seed 3: 2 subjects stand in more than one part"):
        refuse_overlap(subjects, parts, "seed 3")


def test_samples_without_any_modality_move_to_the_exclusions():
    ids = cohort()["sample"]
    made = checked(assembled(blood=features_of(ids[1:5]), scan=features_of(ids[4:])))
    assert made.samples["sample"].tolist() == [f"s{number}" for number in range(1, 8)]
    assert made.exclusions.to_numpy().tolist() == [["s0", "p0", "", "in none of the modalities used"]]


def test_exclusions_made_before_are_kept():
    early = no_exclusions()
    early.loc[0] = ["s99", "p99", "blood", "broken"]
    samples = cohort()
    made = checked(Assembled(samples, {"blood": features_of(samples["sample"][1:])}, early))
    assert made.exclusions["sample"].tolist() == ["s99", "s0"]


def test_features_of_unknown_samples_are_dropped():
    made = checked(assembled(blood=features_of([*cohort()["sample"], "stranger"])))
    assert "stranger" not in set(made.features["blood"]["sample"])


def test_modalities_not_asked_for_are_dropped():
    ids = cohort()["sample"]
    made = check(assembled(blood=features_of(ids), scan=features_of(ids)), "classification", ["scan"])
    assert list(made.features) == ["scan"]


def test_features_become_single_precision():
    assert checked(assembled(blood=features_of(cohort()["sample"], x=range(8)))).features["blood"]["x"].dtype == "f4"


def test_samples_come_in_the_order_of_their_ids():
    shuffled = cohort().sample(frac=1, random_state=1)
    assert checked(assembled(shuffled)).samples["sample"].tolist() == [f"s{number}" for number in range(8)]


def test_what_was_given_is_not_changed():
    made = assembled(cohort(target=[0.0] * 4 + [1.0] * 4))
    before = made.samples.copy(deep=True), made.features["blood"].copy(deep=True)
    checked(made)
    pd.testing.assert_frame_equal(made.samples, before[0])
    pd.testing.assert_frame_equal(made.features["blood"], before[1])


def test_classes_that_differ_in_case_or_white_space_only_are_refused():
    target = ["control"] * 3 + ["Control "] * 2 + ["ill"] * 3
    message = refusal(assembled(cohort(target=target)))
    assert "differ in case or white space only ('Control ': 2 samples, 'control': 3 samples)" in message


def test_a_sample_without_a_subject_is_refused():
    message = refusal(assembled(cohort(subject=[None, *(f"p{number}" for number in range(1, 8))])))
    assert "no subject is known for 1 (s0)" in message


def test_a_modality_that_nobody_has_says_what_became_of_its_samples():
    early = no_exclusions()
    early.loc[0] = ["s0", "p0", "scan", "cannot be read"]
    samples = cohort()
    features = {"blood": features_of(samples["sample"]), "scan": features_of([])}
    message = refusal(Assembled(samples, features, early))
    assert "modality 'scan' has no sample in common with the samples (cannot be read (1 times))" in message


def test_people_are_one_row_a_sample_in_the_order_of_the_samples():
    made = assembled()
    made.people = pd.DataFrame({"sample": ["stranger", "s1", "s0"], "age": [99.0, 71.0, 70.0]})
    people = checked(made).people
    assert people["sample"].tolist() == [f"s{number}" for number in range(8)]
    assert people["age"].tolist()[:2] == [70.0, 71.0]
    assert people["age"].isna().sum() == 6


def test_a_source_that_knows_nothing_of_people_has_their_samples_only():
    assert checked(assembled()).people.columns.tolist() == ["sample"]


def test_a_sample_twice_among_the_people_is_refused():
    made = assembled()
    made.people = pd.DataFrame({"sample": ["s1", "s1"], "age": [70.0, 71.0]})
    assert "people: 1 sample ids stand more than once (s1)" in refusal(made)


@pytest.fixture
def stored(tmp_path):
    table = features_of(["s2", "s0", "s5"], x=np.float32([2, 0, 5]), y=np.float32([np.nan, 10, 15]))
    made = assembled(blood=table)
    made.people = pd.DataFrame({"sample": made.samples["sample"], "age": np.arange(8.0)})
    names = ("samples.parquet", "features", "people.parquet", "exclusions.tsv")
    write(made, *(tmp_path / name for name in names))
    return tmp_path


def test_people_survive_the_file(stored):
    people = read_table(stored / "people.parquet")
    assert people["sample"].tolist() == [f"s{number}" for number in range(8)]
    assert people["age"].tolist() == list(range(8))


def test_features_come_in_the_order_asked_for(stored):
    values, _, _ = feature_matrix(stored / "features", "blood", pd.Series(["s5", "s2", "s0"]))
    np.testing.assert_array_equal(values, np.float32([[5, 15], [2, np.nan], [0, 10]]))


def test_samples_without_the_modality_are_absent_rows(stored):
    values, present, _ = feature_matrix(stored / "features", "blood", pd.Series(["s1", "s2", "s3"]))
    assert present.tolist() == [False, True, False]
    assert np.isnan(values[[0, 2]]).all()


def test_features_come_with_their_names_in_single_precision(stored):
    values, _, names = feature_matrix(stored / "features", "blood", pd.Series(["s0"]))
    assert (names, values.dtype) == (["x", "y"], np.float32)


def test_samples_survive_the_file(stored):
    pd.testing.assert_frame_equal(read_table(stored / "samples.parquet"), cohort(), check_dtype=False)


def test_an_empty_table_of_exclusions_keeps_its_columns(stored):
    assert list(read_table(stored / "exclusions.tsv").columns) == ["sample", "subject", "modality", "reason"]


def test_a_class_that_is_too_small_is_told_with_what_was_left_out_before():
    samples = pd.DataFrame(
        {"sample": [f"s{n}" for n in range(12)], "subject": ["p", "q"] * 6, "target": ["a", "a", "b", "b"] * 3}
    )
    features = {"x": pd.DataFrame({"sample": samples["sample"], "f": np.arange(12, dtype=np.float32)})}
    out = pd.DataFrame({"sample": ["r"] * 2, "subject": "r", "modality": "", "reason": "file cannot be read"})
    words = r"'b': 2.*set 'split: \{unit: sample\}'. Left out before: file cannot be read \(2 times\); the logs"
    with pytest.raises(UserError, match=words):
        check(Assembled(samples, features, out), "classification", ["x"])
    assert len(check(Assembled(samples, features, out), "classification", ["x"], "sample").samples) == 12

"""Splits: no subject on two sides, the proportions asked for, and seeds that do not touch each other."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from metafusion.cross_fitting import draw_folds
from metafusion.errors import UserError
from metafusion.parts import parts_of
from metafusion.splits import manifest, split_samples

FRACTIONS = {"test_fraction": 0.2, "validation_fraction": 0.25}


def table_of(sizes, targets):
    """Return samples of subjects; subject i has sizes[i] samples, each with target targets[i]."""
    rows = [
        (f"p{subject:03d}_{visit}", f"p{subject:03d}", target)
        for subject, (size, target) in enumerate(zip(sizes, targets, strict=True))
        for visit in range(size)
    ]
    return pd.DataFrame(rows, columns=["sample", "subject", "target"])


@st.composite
def cohorts(draw):
    """Cohorts of up to three classes, each with at least 12 subjects of one to four samples."""
    counts = draw(st.lists(st.integers(12, 25), min_size=2, max_size=3))
    targets = [f"class {number}" for number, count in enumerate(counts) for _ in range(count)]
    targets = draw(st.permutations(targets))
    sizes = draw(st.lists(st.integers(1, 4), min_size=len(targets), max_size=len(targets)))
    return table_of(sizes, targets)


few = settings(max_examples=12)
fractions = st.floats(0.15, 0.6)
seeds = st.integers(0, 2**31)


def assignment(splits, seed):
    return dict(zip(*parts_of(splits, seed).T.to_numpy(), strict=True))


@few
@given(cohorts(), fractions, fractions, seeds, st.booleans())
def test_all_samples_of_a_subject_are_in_one_part(samples, test, validation, seed, stratify):
    splits = split_samples(samples, [seed], test_fraction=test, validation_fraction=validation, stratify=stratify)
    parts = parts_of(splits, seed).merge(samples, on="sample", validate="one_to_one")
    assert len(parts[["subject", "part"]].drop_duplicates()) == samples["subject"].nunique()


@few
@given(cohorts(), fractions, fractions, seeds, st.sampled_from(["subject", "sample"]))
def test_every_sample_is_in_exactly_one_known_part(samples, test, validation, seed, unit):
    splits = split_samples(samples, [seed], test_fraction=test, validation_fraction=validation, unit=unit)
    parts = parts_of(splits, seed)
    assert sorted(parts["sample"]) == sorted(samples["sample"])
    assert set(parts["part"]) == {"train", "validation", "test"}


@few
@given(cohorts(), fractions, fractions, seeds, st.sampled_from(["subject", "sample"]), st.booleans())
def test_parts_have_the_proportions_asked_for(samples, test, validation, seed, unit, stratify):
    splits = split_samples(
        samples, [seed], test_fraction=test, validation_fraction=validation, unit=unit, stratify=stratify
    )
    parts = parts_of(splits, seed).merge(samples, on="sample").drop_duplicates(unit)["part"].value_counts()
    units = samples[unit].nunique()
    assert abs(parts["test"] - test * units) < 1
    assert abs(parts["validation"] - validation * (units - parts["test"])) < 1


@few
@given(cohorts(), fractions, fractions, seeds)
def test_classes_keep_their_proportions_to_within_one_subject(samples, test, validation, seed):
    splits = split_samples(samples, [seed], test_fraction=test, validation_fraction=validation)
    joined = parts_of(splits, seed).merge(samples, on="sample").drop_duplicates("subject")
    rest = joined
    for part in ("test", "validation"):
        here = rest[rest["part"] == part]
        expected = rest["target"].value_counts() * len(here) / len(rest)
        found = here["target"].value_counts().reindex(expected.index, fill_value=0)
        assert ((found - expected).abs() <= 1).all()
        rest = rest[rest["part"] != part]


@few
@given(cohorts(), st.lists(seeds, min_size=2, max_size=3, unique=True))
def test_other_seeds_and_their_order_change_nothing(samples, several):
    together = split_samples(samples, several, **FRACTIONS)
    backwards = split_samples(samples, several[::-1], **FRACTIONS)
    for seed in several:
        alone = assignment(split_samples(samples, [seed], **FRACTIONS), seed)
        assert assignment(together, seed) == alone
        assert assignment(backwards, seed) == alone


@few
@given(cohorts(), seeds, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_nothing(samples, seed, random):
    order = list(range(len(samples)))
    random.shuffle(order)
    shuffled = samples.iloc[order].reset_index(drop=True)
    straight = assignment(split_samples(samples, [seed], **FRACTIONS), seed)
    assert assignment(split_samples(shuffled, [seed], **FRACTIONS), seed) == straight


@few
@given(cohorts(), seeds)
def test_rows_of_the_split_are_in_the_order_of_the_samples(samples, seed):
    assert split_samples(samples, [seed], **FRACTIONS)["sample"].tolist() == samples["sample"].tolist()


def test_seeds_give_different_splits():
    samples = table_of([1] * 40, ["a", "b"] * 20)
    splits = split_samples(samples, list(range(10)), **FRACTIONS)
    assert len({tuple(splits[f"seed_{seed}"]) for seed in range(10)}) == 10


def test_every_sample_is_in_the_test_part_about_as_often_as_asked_for():
    samples = table_of([1] * 20, ["a", "b"] * 10)
    splits = split_samples(samples, list(range(100)), **FRACTIONS)
    often = (splits.drop(columns="sample") == "test").sum(axis=1)
    # Binomial(100, 0.2): standard deviation 4. Beyond four of them one of 20 samples lies in one of 800 cases.
    assert often.between(20 - 4 * 4, 20 + 4 * 4).all()


@st.composite
def cohorts_with_given_parts(draw, parts):
    samples = draw(cohorts())
    subjects = samples["subject"].unique()
    words = draw(st.lists(st.sampled_from(parts), min_size=len(subjects), max_size=len(subjects)))
    return samples.assign(given_part=samples["subject"].map(dict(zip(subjects, words, strict=True))).astype(object))


@few
@given(cohorts_with_given_parts([None, None, None, "test"]), seeds)
def test_a_given_test_part_is_kept_and_nothing_is_added_to_it(samples, seed):
    assume((samples["given_part"] == "test").any())
    free = samples[samples["given_part"].isna()].drop_duplicates("subject")
    assume((free["target"].value_counts().reindex(samples["target"].unique(), fill_value=0) >= 5).all())
    found = assignment(split_samples(samples, [seed], **FRACTIONS), seed)
    given_test = set(samples.loc[samples["given_part"] == "test", "sample"])
    assert {sample for sample, part in found.items() if part == "test"} == given_test


@few
@given(cohorts_with_given_parts([None, None, "train", "validation", "test"]), seeds)
def test_every_given_part_is_kept(samples, seed):
    for part in ("train", "validation", "test"):
        here = samples.loc[samples["given_part"] == part, "target"]
        assume(set(here) == set(samples["target"]))
    found = assignment(split_samples(samples, [seed], **FRACTIONS), seed)
    named = samples[samples["given_part"].notna()]
    assert [found[sample] for sample in named["sample"]] == named["given_part"].tolist()


@few
@given(cohorts(), seeds)
def test_the_validation_part_does_not_depend_on_whether_the_test_part_was_drawn_or_given(samples, seed):
    drawn = assignment(split_samples(samples, [seed], **FRACTIONS), seed)
    given_part = [part if part == "test" else None for part in samples["sample"].map(drawn)]
    assert assignment(split_samples(samples.assign(given_part=given_part), [seed], **FRACTIONS), seed) == drawn


def test_where_test_and_validation_are_given_all_others_train():
    samples = table_of([1] * 8, ["a", "b"] * 4).assign(
        given_part=["test", "test", "validation", "validation", None, None, None, None]
    )
    splits = split_samples(samples, [1], **FRACTIONS)
    assert splits["seed_1"].tolist() == ["test"] * 2 + ["validation"] * 2 + ["train"] * 4


def test_a_given_test_part_leaves_the_validation_fraction_of_the_others():
    samples = table_of([1] * 50, ["a", "b"] * 25).assign(given_part=["test"] * 10 + [None] * 40)
    splits = split_samples(samples, [1], test_fraction=0.2, validation_fraction=0.25)
    assert splits["seed_1"].value_counts().to_dict() == {"train": 30, "test": 10, "validation": 10}


def test_samples_given_to_train_are_in_no_other_part():
    samples = table_of([1] * 40, ["a", "b"] * 20).assign(given_part=["train"] * 10 + [None] * 30)
    splits = split_samples(samples, list(range(20)), **FRACTIONS)
    assert (splits.iloc[:10, 1:] == "train").all(axis=None)


def test_a_given_part_of_one_sample_holds_for_its_whole_subject():
    samples = table_of([2] * 20, ["a", "b"] * 10).assign(given_part=None)
    samples.loc[0, "given_part"] = "test"
    samples.loc[2, "given_part"] = "test"
    found = assignment(split_samples(samples, [1], **FRACTIONS), 1)
    assert [found["p000_1"], found["p001_1"]] == ["test", "test"]


def test_a_subject_in_two_given_parts_is_refused():
    samples = table_of([2] + [1] * 30, ["a", "b"] * 15 + ["a"]).assign(given_part=None)
    samples.loc[[0, 1], "given_part"] = ["train", "test"]
    with pytest.raises(UserError, match="subject 'p000'"):
        split_samples(samples, [1], **FRACTIONS)


def test_a_subject_of_several_classes_counts_as_its_most_frequent_one():
    # Ten subjects are 'b' twice and 'a' once; as 'a' (their first sample) classes would be 20 to 0.
    mixed = [(f"m{i}_{j}", f"m{i}", "abb"[j]) for i in range(10) for j in range(3)]
    pure = [(f"p{i}_0", f"p{i}", "a") for i in range(10)]
    samples = pd.DataFrame([*mixed, *pure], columns=["sample", "subject", "target"])
    for seed in range(10):
        splits = split_samples(samples, [seed], test_fraction=0.2, validation_fraction=0.25)
        tested = samples.loc[splits[f"seed_{seed}"] == "test", "subject"].unique()
        assert sorted(subject[0] for subject in tested) == ["m", "m", "p", "p"]


def test_samples_as_units_are_drawn_within_one_subject():
    samples = pd.DataFrame({"sample": [f"t{i:02d}" for i in range(40)], "subject": "rat", "target": ["a", "b"] * 20})
    counts = split_samples(samples, [1], unit="sample", **FRACTIONS)["seed_1"].value_counts().to_dict()
    assert counts == {"train": 24, "validation": 8, "test": 8}


def test_regression_needs_no_classes():
    samples = table_of([1] * 40, np.linspace(0, 1, 40))
    counts = split_samples(samples, [1], classes=False, **FRACTIONS)["seed_1"].value_counts().to_dict()
    assert counts == {"train": 24, "validation": 8, "test": 8}


def test_too_few_units_to_stratify_are_refused_with_a_remedy():
    samples = table_of([1] * 9, ["a"] * 3 + ["b"] * 3 + ["c"] * 3)
    with pytest.raises(UserError, match=r"9 subjects are too few to draw 0\.2 .* test part .*split\.test_fraction"):
        split_samples(samples, [1], **FRACTIONS)


def test_too_few_units_for_a_part_are_refused():
    with pytest.raises(UserError, match="too few to draw"):
        split_samples(table_of([5], [1.0]), [1], classes=False, **FRACTIONS)


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        (["train"] * 4 + ["validation"] * 4, "test"),
        (["validation", "test"] * 4, "train"),
    ],
)
def test_given_parts_that_leave_a_part_empty_are_refused(parts, missing):
    samples = table_of([1] * 8, ["a", "a", "b", "b"] * 2).assign(given_part=parts)
    with pytest.raises(UserError, match=f"seed 1: the {missing} part is empty"):
        split_samples(samples, [1], **FRACTIONS)


def test_a_class_of_the_test_part_that_nobody_trains_on_is_refused():
    samples = table_of([1] * 22, ["a", "b"] * 10 + ["rare"] * 2).assign(given_part=[None] * 20 + ["test"] * 2)
    with pytest.raises(UserError, match=r"seed 1: classes \['rare'\] of the test part are not in the training part"):
        split_samples(samples, [1], **FRACTIONS)


def test_a_seed_without_a_draw_of_its_own_is_refused():
    samples = table_of([1] * 20, np.arange(20.0)).assign(draw=[1] * 10 + [2] * 10)
    with pytest.raises(UserError, match="seed 3: no sample belongs to this seed's draw"):
        split_samples(samples, [1, 3], classes=False, **FRACTIONS)


def test_a_seed_uses_the_samples_of_its_own_draw_only():
    samples = table_of([1] * 20, np.arange(20.0)).assign(draw=[1] * 10 + [2] * 10)
    splits = split_samples(samples, [1, 2], classes=False, **FRACTIONS)
    assert parts_of(splits, 1)["sample"].tolist() == samples["sample"][:10].tolist()
    assert parts_of(splits, 2)["sample"].tolist() == samples["sample"][10:].tolist()


def test_samples_that_no_seed_of_the_block_uses_are_left_out():
    samples = table_of([1] * 20, np.arange(20.0)).assign(draw=[1] * 10 + [2] * 10)
    assert len(split_samples(samples, [2], classes=False, **FRACTIONS)) == 10


@pytest.fixture
def small():
    samples = pd.DataFrame(
        {
            "sample": ["a1", "a2", "b1", "c1", "d1", "d2"],
            "subject": ["a", "a", "b", "c", "d", "d"],
            "target": ["x", "x", "y", "x", "y", "x"],
        }
    )
    parts = {"sample": samples["sample"], "seed_7": ["train", "train", "train", "validation", "test", "test"]}
    return samples, pd.DataFrame(parts)


def test_the_manifest_counts_samples_and_subjects_by_class(small):
    found = manifest(*small, classes=True).drop(columns="subjects_in_other_parts").to_numpy().tolist()
    assert found == [
        [7, "train", "x", 2, 1],
        [7, "train", "y", 1, 1],
        [7, "validation", "x", 1, 1],
        [7, "test", "x", 1, 1],
        [7, "test", "y", 1, 1],
    ]


def test_the_manifest_of_a_regression_counts_all_together(small):
    found = manifest(*small, classes=False)[["part", "class", "samples", "subjects"]].to_numpy().tolist()
    assert found == [["train", "all", 3, 2], ["validation", "all", 1, 1], ["test", "all", 2, 1]]


def test_the_manifest_shows_subjects_in_other_parts(small):
    samples, splits = small
    splits = splits.assign(seed_7=["train", "test", "train", "validation", "test", "test"])
    found = manifest(samples, splits, classes=False).set_index("part")["subjects_in_other_parts"].to_dict()
    assert found == {"train": 1, "validation": 0, "test": 1}


@few
@given(cohorts(), seeds)
def test_the_manifest_shows_no_crossing_subject_where_subjects_are_split(samples, seed):
    splits = split_samples(samples, [seed], **FRACTIONS)
    assert (manifest(samples, splits, classes=True)["subjects_in_other_parts"] == 0).all()


def test_the_manifest_leaves_other_draws_out(small):
    samples, splits = small
    splits = splits.assign(seed_8=[None, None, None, "train", "test", "validation"])
    found = manifest(samples, splits, classes=False).groupby("seed")["samples"].sum().to_dict()
    assert found == {7: 6, 8: 3}


def test_validation_samples_come_from_a_given_training_part_where_nothing_is_free():
    names = [f"s{number:02d}" for number in range(40)]
    samples = pd.DataFrame({"sample": names, "subject": names, "target": ["a", "b"] * 20})
    samples["given_part"] = ["train"] * 30 + ["test"] * 10
    splits = split_samples(samples, [1, 2], test_fraction=0.2, validation_fraction=0.2)
    for seed in (1, 2):
        column = splits[f"seed_{seed}"]
        assert (column[30:] == "test").all()
        assert (column[:30] == "validation").sum() == 6


def splits_by_the_seed(samples, several, **options):
    return split_samples(samples, several, random_state="seed", classes=False, unit="sample", **(FRACTIONS | options))


@few
@given(st.integers(20, 120), fractions, fractions, seeds)
def test_with_random_state_seed_both_parts_are_those_of_train_test_split_with_the_seed(count, test, validation, seed):
    samples = table_of([1] * count, np.arange(float(count)))
    names = samples["sample"].to_numpy()
    rest, tested = train_test_split(names, test_size=test, random_state=seed)
    trained, validated = train_test_split(rest, test_size=validation, random_state=seed)
    expected = {"train": set(trained), "validation": set(validated), "test": set(tested)}
    parts = parts_of(splits_by_the_seed(samples, [seed], test_fraction=test, validation_fraction=validation), seed)
    assert parts.groupby("part")["sample"].agg(set).to_dict() == expected


def test_with_random_state_seed_classes_can_be_kept_in_proportion():
    samples = table_of([1] * 60, ["a", "b", "b"] * 20)
    splits = split_samples(samples, [4], random_state="seed", **FRACTIONS)
    counts = splits.merge(samples, on="sample").groupby(["seed_4", "target"]).size().to_dict()
    assert counts == {
        ("train", "a"): 12,
        ("train", "b"): 24,
        ("validation", "a"): 4,
        ("validation", "b"): 8,
        ("test", "a"): 4,
        ("test", "b"): 8,
    }


def test_the_random_state_matters():
    samples = table_of([1] * 40, np.arange(40.0))
    usual = split_samples(samples, [1], classes=False, unit="sample", **FRACTIONS)
    assert (usual["seed_1"] != splits_by_the_seed(samples, [1])["seed_1"]).any()


def test_with_random_state_seed_other_seeds_and_their_order_change_nothing():
    samples = table_of([1] * 40, np.arange(40.0))
    together, backwards = (splits_by_the_seed(samples, several) for several in ([1, 2, 9], [9, 2, 1]))
    for seed in (1, 2, 9):
        alone = assignment(splits_by_the_seed(samples, [seed]), seed)
        assert assignment(together, seed) == alone
        assert assignment(backwards, seed) == alone


def test_with_random_state_seed_a_given_test_part_is_kept():
    samples = table_of([1] * 50, np.arange(50.0)).assign(given_part=["test"] * 10 + [None] * 40)
    found = splits_by_the_seed(samples, [1])["seed_1"]
    assert (found[:10] == "test").all()
    assert found[10:].value_counts().to_dict() == {"train": 30, "validation": 10}


def test_subjects_that_have_all_classes_are_not_kept_in_proportion():
    # Three subjects; a lost trial puts one class ahead in one of them, which says nothing of the subject.
    samples = pd.DataFrame({"subject": [f"p{n}" for n in range(6) for _ in range(8)], "target": ["a", "b"] * 24})
    samples = samples.assign(sample=[f"s{n:02d}" for n in range(48)]).drop(index=0).reset_index(drop=True)
    parts = split_samples(samples, [1], test_fraction=0.3, validation_fraction=0.3)["seed_1"]
    assert set(parts) == {"train", "validation", "test"}
    assert parts.groupby(samples["subject"]).nunique().eq(1).all()


def test_a_seed_uses_as_many_subjects_as_wanted_with_the_proportions_of_all():
    samples = table_of([2] * 80, ["ill", "well", "well", "well"] * 20)
    splits = split_samples(samples, [1, 2], **FRACTIONS, units=40)
    drawn = {}
    for seed in (1, 2):
        parts = parts_of(splits, seed).merge(samples, on="sample")
        drawn[seed] = set(parts["subject"])
        assert len(parts) == 80
        assert parts.drop_duplicates("subject")["target"].value_counts().to_dict() == {"ill": 10, "well": 30}
        assert parts["part"].value_counts().to_dict() == {"train": 48, "validation": 16, "test": 16}
        assert parts.loc[parts["part"] == "test", "target"].value_counts().to_dict() == {"ill": 4, "well": 12}
    assert len(drawn[1]) == 40
    assert drawn[1] != drawn[2]


def test_single_samples_are_drawn_where_these_are_split():
    samples = table_of([3] * 40, ["ill", "well"] * 20)
    splits = split_samples(samples, [1], **FRACTIONS, unit="sample", units=50)
    parts = parts_of(splits, 1).merge(samples, on="sample")
    assert len(parts) == len(splits) == 50
    assert parts["target"].value_counts().to_dict() == {"ill": 25, "well": 25}


def test_what_a_seed_uses_does_not_depend_on_other_seeds():
    samples = table_of([1] * 60, ["ill", "well"] * 30)
    together = split_samples(samples, [1, 2], **FRACTIONS, units=30)
    alone = split_samples(samples, [2], **FRACTIONS, units=30)
    pd.testing.assert_frame_equal(parts_of(together, 2), parts_of(alone, 2))


def test_all_units_are_split_as_without_a_number():
    samples = table_of([1] * 40, ["ill", "well"] * 20)
    expected = split_samples(samples, [1], **FRACTIONS)
    pd.testing.assert_frame_equal(split_samples(samples, [1], **FRACTIONS, units=40), expected)


def test_an_official_part_stays_with_the_samples_drawn():
    samples = table_of([1] * 60, ["ill", "well"] * 30)
    samples["given_part"] = np.where(np.arange(60) < 20, "test", None)
    parts = parts_of(split_samples(samples, [1], **FRACTIONS, units=30), 1).merge(samples, on="sample")
    assert len(parts) == 30
    assert ((parts["part"] == "test") == (parts["given_part"] == "test")).all()


@pytest.mark.parametrize("random_state", ["independent", "seed"])
def test_smaller_training_parts_are_among_larger_ones_and_the_test_part_stays(random_state):
    samples = table_of([2] * 100, ["ill", "well", "well", "well", "well"] * 20)
    of_all = parts_of(split_samples(samples, [1, 2], **FRACTIONS, random_state=random_state), 1)
    tested = set(of_all.loc[of_all["part"] == "test", "sample"])
    previous = set()
    # By hand: 16 of 80 subjects that are not tested are ill, so 2 of 10, 3 of 15, 8 of 40.
    for count, ill in ((10, 2), (15, 3), (40, 8), (80, 16)):
        splits = split_samples(samples, [1, 2], **FRACTIONS, random_state=random_state, untested_units=count)
        parts = parts_of(splits, 1).merge(samples, on="sample")
        assert set(parts.loc[parts["part"] == "test", "sample"]) == tested
        kept = parts[parts["part"] != "test"]
        people = kept.drop_duplicates("subject")["target"].value_counts().to_dict()
        assert (len(kept), people) == (2 * count, {"ill": ill, "well": count - ill})
        assert set(kept["sample"]) > previous
        previous = set(kept["sample"])
        other = parts_of(splits, 2).merge(samples, on="sample")
        assert count == 80 or set(other.loc[other["part"] != "test", "sample"]) != previous
    assert previous | tested == set(samples["sample"])


def test_the_validation_part_and_the_folds_are_drawn_from_what_is_kept():
    samples = table_of([1] * 100, ["ill", "well"] * 50)
    parts = parts_of(split_samples(samples, [1], **FRACTIONS, untested_units=40), 1)
    assert parts["part"].value_counts().to_dict() == {"train": 30, "validation": 10, "test": 20}
    crossed = split_samples(samples, [1], **FRACTIONS, untested_units=40, cross_fitting=5)
    assert parts_of(crossed, 1)["part"].value_counts().to_dict() == {"train": 40, "test": 20}
    folds = draw_folds(samples, crossed, [1], 5, "subject", True, True).dropna()
    assert folds["seed_1"].value_counts().to_dict() == dict.fromkeys(range(5), 8)
    assert set(folds["sample"]) == set(parts.loc[parts["part"] != "test", "sample"])


def test_an_official_test_part_stays_whole_where_the_others_are_cut():
    samples = table_of([1] * 60, ["ill", "well"] * 30)
    samples["given_part"] = np.where(np.arange(60) < 20, "test", None)
    parts = parts_of(split_samples(samples, [1], **FRACTIONS, untested_units=12), 1).merge(samples, on="sample")
    assert (parts["part"] == "test").sum() == (parts["given_part"] == "test").sum() == 20
    assert parts.loc[parts["part"] != "test", "target"].value_counts().to_dict() == {"ill": 6, "well": 6}


def test_without_stratification_any_units_are_kept():
    samples = table_of([1] * 200, ["ill", "well"] * 100)
    ill = []
    for seed in range(1, 21):
        splits = split_samples(samples, [seed], **FRACTIONS, stratify=False, untested_units=40)
        kept = parts_of(splits, seed).merge(samples, on="sample").query("part != 'test'")
        assert len(kept) == 40
        ill.append((kept["target"] == "ill").sum())
    assert len(set(ill)) > 3
    assert np.mean(ill) == pytest.approx(20, abs=4 * np.sqrt(40 / 4 / 20))


def test_more_untested_units_than_there_are_are_refused():
    samples = table_of([2] * 20, ["ill", "well"] * 10)
    with pytest.raises(UserError, match=r"seed 1: 16 subjects are not tested, fewer than 'split\.untested_units: 17'"):
        split_samples(samples, [1], **FRACTIONS, untested_units=17)


def test_more_units_than_there_are_are_refused():
    samples = table_of([2] * 20, ["ill", "well"] * 10)
    with pytest.raises(UserError, match=r"seed 1: there are 20 subjects, fewer than 'split\.units: 21'"):
        split_samples(samples, [1], **FRACTIONS, units=21)


def test_units_too_few_for_the_classes_are_refused():
    samples = table_of([1] * 30, ["a", "b", "c"] * 10)
    with pytest.raises(UserError, match="2 of 30 subjects cannot be drawn with the class proportions of all"):
        split_samples(samples, [1], **FRACTIONS, units=2)

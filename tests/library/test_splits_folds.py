"""Folds and sessions: everybody is tested once, nobody crosses, and what cannot be is said."""

from itertools import chain

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import LeaveOneGroupOut

from metafusion.config.models import Experiment, Split
from metafusion.errors import UserError
from metafusion.parts import parts_of
from metafusion.splits import manifest, split_samples
from metafusion.summary import shared_by_seeds

FOLDS = {"scheme": "folds", "validation_fraction": 0.25}
SESSIONS = {"scheme": "sessions", "validation_fraction": 0.25, "unit": "sample"}


def trials_of(classes, sessions=1, subjects=1):
    """Trials numbered on; trial i has class i modulo their number, then sessions and subjects in turn."""
    number = np.arange(len(classes))
    return pd.DataFrame(
        {
            "sample": [f"t{place:03d}" for place in number],
            "subject": [f"p{place % subjects}" for place in number],
            "target": classes,
            "session": [f"day{place % sessions}" for place in number],
        }
    )


def those_tested(splits, seed):
    parts = parts_of(splits, seed)
    return set(parts.loc[parts["part"] == "test", "sample"])


@settings(max_examples=15)
@given(st.integers(2, 5), st.integers(1, 2), st.booleans())
def test_the_folds_of_a_repetition_test_every_trial_once(folds, repetitions, stratify):
    samples = trials_of(["a", "b", "c"] * 9)
    seeds = list(range(1, folds * repetitions + 1))
    splits = split_samples(samples, seeds, folds=folds, stratify=stratify, unit="sample", **FOLDS)
    for repetition in range(repetitions):
        tested = [those_tested(splits, repetition * folds + fold + 1) for fold in range(folds)]
        assert sorted(chain.from_iterable(tested)) == sorted(samples["sample"])


@settings(max_examples=15)
@given(st.integers(2, 6), st.lists(st.integers(1, 4), min_size=12, max_size=20))
def test_no_subject_is_tested_in_one_fold_and_trained_on_in_the_same_seed(folds, sizes):
    rows = [
        (f"p{who:02d}_{visit}", f"p{who:02d}", "ab"[who % 2]) for who, size in enumerate(sizes) for visit in range(size)
    ]
    samples = pd.DataFrame(rows, columns=["sample", "subject", "target"])
    splits = split_samples(samples, list(range(1, folds + 1)), folds=folds, **FOLDS)
    assert manifest(samples, splits, classes=True)["subjects_in_other_parts"].max() == 0
    tested = [
        who.split("_")[0]
        for seed in range(1, folds + 1)
        for who in {s.split("_")[0] for s in those_tested(splits, seed)}
    ]
    assert sorted(tested) == sorted(set(samples["subject"]))


def test_every_fold_has_the_proportions_of_all():
    samples = trials_of(["a"] * 30 + ["b"] * 15 + ["c"] * 5)
    splits = split_samples(samples, [1, 2, 3, 4, 5], folds=5, unit="sample", **FOLDS)
    by_part = splits.merge(samples, on="sample")
    for seed in range(1, 6):
        tested = by_part.loc[by_part[f"seed_{seed}"] == "test", "target"].value_counts()
        assert tested.to_dict() == {"a": 6, "b": 3, "c": 1}
        # A quarter of the 40 others, with their proportions 24 : 12 : 4.
        validated = by_part.loc[by_part[f"seed_{seed}"] == "validation", "target"].value_counts()
        assert validated.to_dict() == {"a": 6, "b": 3, "c": 1}


def test_another_repetition_has_other_folds():
    samples = trials_of(["a", "b"] * 12)
    splits = split_samples(samples, list(range(1, 7)), folds=3, unit="sample", **FOLDS)
    first, second = ({frozenset(those_tested(splits, seed)) for seed in seeds} for seeds in ([1, 2, 3], [4, 5, 6]))
    assert not first & second


def test_folds_do_not_depend_on_the_company_of_their_seed():
    samples = trials_of(["a", "b"] * 12)
    together = split_samples(samples, [4, 5, 6], folds=3, unit="sample", **FOLDS)
    alone = split_samples(samples, [5], folds=3, unit="sample", **FOLDS)
    pd.testing.assert_series_equal(together["seed_5"], alone["seed_5"])


def test_a_session_is_tested_as_a_whole():
    samples = trials_of(["a", "b", "c"] * 16, sessions=4)
    splits = split_samples(samples, [1, 2, 3, 4], **SESSIONS)
    left_out = LeaveOneGroupOut().split(samples, groups=samples["session"])
    for seed, (_, tested) in enumerate(left_out, start=1):
        assert those_tested(splits, seed) == set(samples["sample"].iloc[tested])
        assert set(splits[f"seed_{seed}"]) == {"train", "validation", "test"}


def test_permutations_have_the_same_folds_and_sessions_in_their_turn():
    one = trials_of(["a", "a", "b", "b"] * 4, sessions=2)
    both = pd.concat([one.assign(sample=one["sample"] + f"~{draw}", draw=draw) for draw in (1, 2)], ignore_index=True)
    splits = split_samples(both, [1, 2, 3, 4], **SESSIONS, seeds_per_draw=2)
    for seed, session, draw in ((1, "day0", 1), (2, "day1", 1), (3, "day0", 2), (4, "day1", 2)):
        expected = set(both.loc[(both["session"] == session) & (both["draw"] == draw), "sample"])
        assert those_tested(splits, seed) == expected
    folds = split_samples(both, [1, 2, 3, 4], folds=2, unit="sample", **FOLDS, seeds_per_draw=2)
    for draw in (1, 2):
        tested = those_tested(folds, 2 * draw - 1) | those_tested(folds, 2 * draw)
        assert tested == set(both.loc[both["draw"] == draw, "sample"])


def test_the_correction_of_folds_is_that_of_their_size():
    # Of K folds, the test part is 1/(K - 1) of the others; permutations that share a draw share its samples.
    samples = trials_of(["a", "b"] * 10)
    counts = manifest(samples, split_samples(samples, [1, 2, 3, 4], folds=4, unit="sample", **FOLDS), True)
    assert shared_by_seeds(samples, counts) == pytest.approx(1 / 3)
    assert shared_by_seeds(samples.assign(draw=[1, 2] * 10), counts) == pytest.approx(1 / 3)
    assert shared_by_seeds(samples.assign(draw=[1, 2, 3, 4] * 5), counts) is None


@pytest.mark.parametrize(
    ("samples", "options", "parts"),
    [
        (
            trials_of(["a"] * 20 + ["b"] * 4),
            FOLDS | {"folds": 5, "unit": "sample"},
            ["class 'b' has 4 samples", "5 folds", "'folds: 4'", "stratify: false"],
        ),
        (trials_of(["a", "b"]), FOLDS | {"folds": 5, "unit": "sample", "stratify": False}, ["2 samples", "5 folds"]),
        (trials_of(["a", "b"] * 6), SESSIONS, ["one (day0)", "scheme: folds"]),
        (trials_of(["a", "b"] * 6, 2).assign(session=None), SESSIONS, ["12 of 12 samples have no session", "repeated"]),
        (trials_of(["a", "b"] * 6, 3).drop(columns="session"), SESSIONS, ["no session"]),
        (
            trials_of(["a", "b"] * 6, 3),
            SESSIONS | {"unit": "subject"},
            ["session 'day0'", "p0", "other sessions", "unit: sample", "folds"],
        ),
        (
            trials_of(["a", "b"] * 6, 3).assign(given_part=["test"] * 4 + [None] * 8),
            SESSIONS,
            ["4 samples have an official part", "scheme: repeated"],
        ),
    ],
)
def test_what_cannot_be_split_so_is_said(samples, options, parts):
    with pytest.raises(UserError) as caught:
        split_samples(samples, [1], **options)
    assert [part for part in parts if part not in str(caught.value)] == []


def test_there_are_no_more_seeds_than_sessions():
    samples = trials_of(["a", "b"] * 9, sessions=3)
    with pytest.raises(UserError, match=r"seed 4: there are 3 sessions \(day0, day1, day2\).*'seeds: 3'"):
        split_samples(samples, [3, 4], **SESSIONS)


def experiment(**keys):
    base = {"title": "", "task": "classification", "source": {"kind": "ad_data"}, "representations": {"csf": ["raw"]}}
    return Experiment.model_validate(base | keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"split": {"scheme": "folds", "folds": 4}, "seeds": 6}, "takes 4 seeds in a row.*'seeds: 8'"),
        ({"split": {"scheme": "folds"}, "seeds": [2, 3, 4, 5, 6]}, "takes 5 seeds in a row"),
        ({"split": {"scheme": "sessions"}, "seeds": [0, 1]}, "count from 1"),
        ({"split": {"folds": 4}}, "'folds' has no meaning with 'scheme: repeated'"),
        ({"split": {"scheme": "folds", "units": 9}}, "'units' has no meaning with 'scheme: folds'"),
        ({"split": {"scheme": "folds", "test_fraction": 0.1}}, "'test_fraction' has no meaning with 'scheme: folds'"),
        ({"shuffle": {"splits": 2}, "seeds": 5}, "each permutation takes 2 seeds.*'seeds: 6'"),
        (
            {"split": {"scheme": "folds", "folds": 3}, "shuffle": {"splits": 2}, "seeds": 6},
            "2 is no multiple of the 3 folds",
        ),
        ({"split": {"scheme": "sessions"}, "shuffle": {}}, "say how many sessions"),
    ],
)
def test_seeds_that_do_not_fit_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        experiment(**keys)


def test_whole_repetitions_are_taken_wherever_they_begin():
    assert experiment(split={"scheme": "folds", "folds": 3}, seeds=[4, 5, 6]).seeds == [4, 5, 6]
    assert experiment(split={"scheme": "folds", "folds": 3}, shuffle={}, seeds=6).splits_per_permutation == 3


def test_a_dumped_split_can_be_read_again():
    split = Split(scheme="folds", folds=3)
    assert Split(**split.model_dump()) == split

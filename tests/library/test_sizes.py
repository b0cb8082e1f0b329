"""Sizes that the samples and columns cannot give: all said at once, and none that can be had."""

import numpy as np
import pandas as pd
import pytest

from metafusion.errors import UserError
from metafusion.files import write_table
from metafusion.preprocess.trials import array_names
from metafusion.sizes import refuse_large_sizes

PARTS = {1: (12, 4, 4), 2: (11, 5, 4)}
"""Samples of each part, by seed."""


@pytest.fixture
def splits():
    names = [f"s{number:02d}" for number in range(20)]
    parts = {f"seed_{seed}": np.repeat(["train", "validation", "test"], counts) for seed, counts in PARTS.items()}
    return pd.DataFrame({"sample": names} | parts)


@pytest.fixture
def features(tmp_path, splits):
    def write(name, columns, rows=slice(None)):
        table = pd.DataFrame(0.0, index=range(20), columns=columns).astype(np.float32)
        write_table(table.assign(sample=splits["sample"])[["sample", *columns]][rows], tmp_path / f"{name}.parquet")

    write("narrow", ["a", "b", "c"])
    write("wide", [f"c{number}" for number in range(50)])
    # The first four of the training samples lack it.
    write("some", [f"c{number}" for number in range(50)], slice(4, None))
    write("array", array_names(["x", "y"], np.arange(30) / 100))
    return tmp_path


def wanted(*numbers, shared=False, fit_on="train", kind="none", components=15, before=None):
    return {
        "numbers": list(numbers),
        "shared": shared,
        "fit_on": fit_on,
        "before": {"kind": kind, "components": components, "fit_on": before},
    }


def check(splits, features, seeds=(1, 2), **representations):
    refuse_large_sizes(splits, list(seeds), features, representations)


def test_all_modalities_and_sizes_that_are_too_large_are_told_at_once(splits, features):
    with pytest.raises(UserError) as caught:
        check(splits, features, narrow=wanted(4, 3), wide=wanted(30, 12, 11), some=wanted(8, 7), array=wanted(2))
    assert str(caught.value) == (
        "representations: more components than the data have: "
        "narrow: sizes 4, at most 3 (11 samples to fit on in seed 2, 3 columns); "
        "wide: sizes 30, 12, at most 11 (11 samples to fit on in seed 2, 50 columns); "
        "some: sizes 8, at most 7 (7 samples to fit on in seed 2, 50 columns); lower these sizes or components"
    )


def test_sizes_that_can_just_be_had_are_taken(splits, features):
    check(splits, features, narrow=wanted(3), wide=wanted(11), some=wanted(7))
    check(splits, features, seeds=[1], wide=wanted(12), some=wanted(8))
    check(splits, features, wide=wanted(16, fit_on="train_and_validation"), some=wanted(16, fit_on="everything"))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        # Of 11 samples, the courses of a channel have 10 directions; of two channels there are then 20 columns.
        (wanted(kind="channel_pca", components=11), r"array: before: 11 components a channel, at most 10 \(11 samples"),
        (wanted(11, kind="channel_pca", components=5), r"array: sizes 11, at most 10 \(11 samples .* 10 columns\)"),
        (wanted(4, kind="tangent_space"), r"array: sizes 4, at most 3 \(.* 3 columns\)"),
        (wanted(kind="channel_pca", components=31, before="everything"), r"31 components .* at most 19 \(20 samples"),
    ],
)
def test_what_comes_before_counts(splits, features, choice, message):
    with pytest.raises(UserError, match=message):
        check(splits, features, array=choice)


def test_what_comes_before_and_fits_is_taken(splits, features):
    check(splits, features, array=wanted(10, kind="channel_pca", components=10))
    check(splits, features, array=wanted(3, kind="tangent_space"))
    # What is no array is told by who fits it.
    check(splits, features, narrow=wanted(2, kind="tangent_space"))


def test_permutations_have_the_features_of_their_samples(splits, features):
    repeated = splits.assign(sample=splits["sample"] + "~permutation1")
    check(repeated, features, some=wanted(7))
    with pytest.raises(UserError, match="some: sizes 8, at most 7"):
        check(repeated, features, some=wanted(8))


def test_what_is_shared_has_no_more_components_than_the_others_have_columns(splits, features):
    check(splits, features, wide=wanted(3, shared=True), narrow=wanted())
    check(splits, features, wide=wanted(6, shared=True), narrow=wanted(), array=wanted(kind="tangent_space"))
    with pytest.raises(UserError, match=r"wide: sizes 4, at most 3 \(.* 50 columns, 3 columns of the other modalities"):
        check(splits, features, wide=wanted(4, 3, shared=True), narrow=wanted())
    # The others' columns count for who shares with them only.
    check(splits, features, wide=wanted(4), narrow=wanted())


def test_features_that_are_damaged_are_named(splits, features):
    (features / "wide.parquet").write_bytes(bytes(100))
    with pytest.raises(UserError, match=r"wide\.parquet: corrupt or truncated .* delete it and run again"):
        check(splits, features, wide=wanted(4))
    (features / "wide.parquet").unlink()
    with pytest.raises(UserError, match=r"wide\.parquet: no such file"):
        check(splits, features, wide=wanted(4))

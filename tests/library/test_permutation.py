"""Shuffled labels: counts that stay, features that stay, and p values by hand."""

import numpy as np
import pandas as pd
import pytest
import score_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metafusion import comparison_figures, comparisons
from metafusion.config.models import Shuffle
from metafusion.errors import UserError
from metafusion.figures import Words, save
from metafusion.permutation import permutation_table, shuffled, too_few
from metafusion.samples import Assembled, check, feature_matrix, first_permutation, write

WORDS = Words("Odours", "accuracy", simulated=True)


def assembled_of(samples, **columns):
    """Samples with one feature, their number."""
    feature = pd.DataFrame({"sample": samples["sample"], "x": np.arange(len(samples), dtype=np.float32)})
    people = pd.DataFrame({"sample": samples["sample"], "age": np.arange(len(samples))})
    return Assembled(samples.assign(**columns), {"lfp": feature}, people=people)


def trials(target, **columns):
    ids = [f"t{place:02d}" for place in range(len(target))]
    return pd.DataFrame({"sample": ids, "subject": "rat", "target": pd.Series(target, dtype="str")}).assign(**columns)


def labels_in(repeated, permutation):
    return repeated.samples.loc[repeated.samples["draw"] == permutation, "target"].tolist()


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["p", "q"]), st.sampled_from(["m", "n", None])), min_size=8
    ),
    st.sampled_from(["session", "subject", "everything"]),
)
def test_a_permutation_keeps_the_counts_of_its_groups_and_of_official_parts(rows, within):
    target, subject, session = zip(*rows, strict=True)
    part = pd.Series((["train", "test", None] * len(rows))[: len(rows)], dtype="object")
    samples = trials(target, subject=list(subject), session=pd.Series(session, dtype="object"), given_part=part)
    try:
        repeated = shuffled(assembled_of(samples), Shuffle(within=within), 3, "sample").samples
    except UserError:
        return
    keys = {"session": ["subject", "session"], "subject": ["subject"], "everything": []}[within] + [
        "given_part",
        "target",
    ]
    for _, one in repeated.groupby("draw"):
        expected = samples.groupby(keys, dropna=False).size()
        pd.testing.assert_series_equal(one.groupby(keys, dropna=False).size(), expected)


def test_more_permutations_leave_those_before_as_they_are():
    given_ = assembled_of(trials(["a", "b", "c", "d"] * 5))
    few, many = (shuffled(given_, Shuffle(), number, "sample") for number in (2, 6))
    assert labels_in(few, 2) == labels_in(many, 2)
    assert len({tuple(labels_in(many, number)) for number in range(1, 7)}) == 6


def test_labels_land_everywhere_alike():
    # One of ten labels differs: over 400 permutations each place has it about 40 times.
    given_ = assembled_of(trials(["rare"] + ["other"] * 9))
    repeated = shuffled(given_, Shuffle(), 400, "sample").samples
    places = repeated.loc[repeated["target"] == "rare", "sample"].str.slice(0, 3).value_counts()
    assert len(places) == 10
    assert stats.chisquare(places).pvalue > 0.001


def test_without_sessions_all_trials_are_of_one():
    given_ = assembled_of(trials(["a", "b", "c", "d"] * 5))
    one = shuffled(given_, Shuffle(within="session"), 1, "sample")
    assert labels_in(one, 1) == labels_in(shuffled(given_, Shuffle(within="everything"), 1, "sample"), 1)


def test_subjects_with_one_label_each_exchange_it_as_a_whole():
    samples = trials(["ill", "ill", "well", "well", "well", "ill"], subject=["p", "p", "q", "q", "q", "r"])
    repeated = shuffled(assembled_of(samples), Shuffle(within="everything"), 20, "subject").samples
    by_subject = repeated.groupby(["draw", "subject"])["target"].agg(["nunique", "first"])
    assert (by_subject["nunique"] == 1).all()
    assert (by_subject["first"].eq("ill").groupby("draw").sum() == 2).all()
    assert by_subject["first"].groupby("subject").nunique().tolist() == [2, 2, 2]
    # Where trials are split, they are exchanged one by one.
    single = shuffled(assembled_of(samples), Shuffle(within="everything"), 20, "sample").samples
    assert single.groupby(["draw", "subject"])["target"].nunique().max() == 2


@pytest.mark.parametrize(("within", "unit"), [("session", "sample"), ("subject", "sample"), ("subject", "subject")])
def test_labels_that_nothing_can_change_are_refused(within, unit):
    samples = trials(["a", "a", "b", "b"], subject=["p", "p", "q", "q"], session="one")
    with pytest.raises(UserError, match=f"within: {within}: only 0 of .* a wider 'within'"):
        shuffled(assembled_of(samples), Shuffle(within=within), 2, unit)


def test_a_permutation_that_would_change_two_labels_of_forty_is_refused():
    # Whoever has one label is exchanged with nobody, since one subject has two.
    subjects = [f"p{number:02d}" for number in range(20) for _ in range(2)]
    labels = ["a", "b", *(["a", "a", "b", "b"] * 10)[2:]]
    samples = trials(labels, subject=subjects, session="one")
    with pytest.raises(UserError, match="only 2 of 40 samples stand among others of another label"):
        shuffled(assembled_of(samples), Shuffle(), 2, "subject")


def test_the_account_is_of_the_first_permutation():
    samples = trials(["a", "b", "a", "b"], subject=["p", "p", "q", "q"], session="one")
    repeated = shuffled(assembled_of(samples), Shuffle(), 3, "sample")
    out = pd.DataFrame({"sample": ["x"], "subject": ["p"], "modality": ["lfp"], "reason": ["why"]})
    first, people, exclusions = first_permutation(repeated.samples, repeated.people, out)
    assert first["sample"].tolist() == [f"{name}~permutation1" for name in samples["sample"]]
    assert people["sample"].tolist() == first["sample"].tolist()
    assert exclusions["sample"].tolist() == ["x~permutation1"]
    assert first_permutation(samples, samples, out)[2] is out


def test_numbers_are_shuffled_too():
    samples = trials(["0"] * 4).assign(target=[0.5, 1.5, 2.5, 3.5])
    repeated = shuffled(assembled_of(samples), Shuffle(), 3, "sample").samples
    assert repeated["target"].dtype == np.float64
    assert repeated.groupby("draw")["target"].apply(sorted).tolist() == [[0.5, 1.5, 2.5, 3.5]] * 3


def test_features_and_people_are_those_of_the_sample_itself(tmp_path):
    checked = check(assembled_of(trials(["a", "b"] * 5)), "classification", ["lfp"], "sample")
    repeated = shuffled(checked, Shuffle(), 2, "sample")
    write(repeated, tmp_path / "s.parquet", tmp_path / "features", tmp_path / "p.parquet", tmp_path / "e.tsv")
    second = repeated.samples.loc[repeated.samples["draw"] == 2, "sample"].iloc[::-1]
    values, present, _ = feature_matrix(tmp_path / "features", "lfp", second)
    assert values[:, 0].tolist() == list(range(9, -1, -1))
    assert present.all()
    assert repeated.people.set_index("sample")["age"].loc[second].tolist() == list(range(9, -1, -1))
    assert len(pd.read_parquet(tmp_path / "features/lfp.parquet")) == 10


def test_ids_that_look_like_a_permutations_are_refused():
    samples = trials(["a", "b"] * 5).replace({"sample": {"t03": "x~permutation1"}})
    with pytest.raises(UserError, match=r"1 sample ids contain '~permutation' .*rename"):
        check(assembled_of(samples), "classification", ["lfp"], "sample")


def scores_of(metric="accuracy", **values):
    return score_tables.scores_of(values, metric, {"test": 1.0, "train": 1.0})


def test_p_counts_the_permutations_that_are_as_good():
    observed = scores_of(meta_fusion=[0.9, 0.7, 0.1], early_fusion=[0.5, 0.5, 0.9], prior=[0.25, 0.25, 0.25])
    # Means of two splits: 0.2, 0.8, 0.3 and 0.5, 0.4, 0.6.
    null = scores_of(
        meta_fusion=[0.1, 0.3, 1.0, 0.6, 0.3, 0.3],
        early_fusion=[0.4, 0.6, 0.3, 0.5, 0.6, 0.6],
        prior=[0.25] * 6,
    )
    table, values = permutation_table(observed, null, ["accuracy"], 2)
    rows = table.set_index("method")
    # Observed: the mean of seeds 1 and 2.
    assert rows["observed"].round(9).to_dict() == {"meta_fusion": 0.8, "early_fusion": 0.5, "prior": 0.25}
    assert rows["p"].to_dict() == {"meta_fusion": 2 / 4, "early_fusion": 3 / 4, "prior": 1.0}
    assert rows["mean"].round(9).to_dict() == {"meta_fusion": round(1.3 / 3, 9), "early_fusion": 0.5, "prior": 0.25}
    assert rows[["permutations", "splits"]].drop_duplicates().to_numpy().tolist() == [[3, 2]]
    meta = values[values["method"] == "meta_fusion"].set_index("permutation")["value"]
    assert meta.round(9).to_dict() == {1: 0.2, 2: 0.8, 3: 0.3}


def test_p_is_corrected_after_holm_over_methods_by_measure_and_not_over_references():
    # Of 99 permutations 0, 1, 1 and 49 are as good: p is 1, 2, 2 and 50 hundredths.
    better = {"meta_fusion": 0, "early_fusion": 1, "late_fusion": 1, "modality_lfp": 49, "prior": 98}
    names = ("accuracy", "roc_auc")
    observed = [scores_of(name, **{method: [0.5] for method in better}) for name in names]
    null = [scores_of(name, **{method: [0.9] * n + [0.1] * (99 - n) for method, n in better.items()}) for name in names]
    # The last measure has one method less.
    null[1], observed[1] = (one[1][one[1]["method"] != "late_fusion"] for one in (null, observed))
    table, _ = permutation_table(pd.concat(observed), pd.concat(null), list(names), 1)
    found = table.set_index(["metric", "method"])["p_corrected"]
    # Smallest first, times 4, 3, 2 and 1, none below the one before.
    expected = {"meta_fusion": 0.04, "early_fusion": 0.06, "late_fusion": 0.06, "modality_lfp": 0.5, "prior": np.nan}
    assert found["accuracy"].to_dict() == pytest.approx(expected, nan_ok=True)
    expected = {"meta_fusion": 0.03, "early_fusion": 0.04, "modality_lfp": 0.5, "prior": np.nan}
    assert found["roc_auc"].to_dict() == pytest.approx(expected, nan_ok=True)


def test_of_errors_the_small_ones_are_good():
    table, _ = permutation_table(
        scores_of("mse", early_fusion=[1.0]), scores_of("mse", early_fusion=[0.5, 2, 3]), ["mse"], 1
    )
    assert table["p"].tolist() == [2 / 4]


def test_a_planted_effect_has_the_smallest_p_there_is():
    null = scores_of(meta_fusion=np.linspace(0.2, 0.3, 49))
    table, _ = permutation_table(scores_of(meta_fusion=[1.0]), null, ["accuracy"], 1)
    assert table["p"].tolist() == [1 / 50]
    assert table[["low", "high"]].to_numpy()[0] == pytest.approx(np.quantile(np.linspace(0.2, 0.3, 49), [0.025, 0.975]))


def test_under_pure_noise_p_is_uniform():
    # A decoder that answers at random: observed and permuted accuracies are of the same kind.
    random = np.random.default_rng(1)
    observed, *others = random.binomial(60, 0.25, (20, 100)) / 60
    names = [f"modality_m{number}" for number in range(100)]
    null = scores_of(**dict(zip(names, np.transpose(others), strict=True)))
    table, _ = permutation_table(
        scores_of(**{name: [one] for name, one in zip(names, observed, strict=True)}), null, ["accuracy"], 1
    )
    found = table["p"]
    assert len(found) == 100
    # Ties make p too large, never too small.
    for level in (0.05, 0.1, 0.25, 0.5):
        assert stats.binomtest(int((found <= level).sum()), 100, level, alternative="greater").pvalue > 0.01
    assert np.mean(found) == pytest.approx(0.53, abs=0.08)


def test_a_method_that_diverged_counts_fewer_permutations():
    null = scores_of(meta_fusion=[0.1, np.nan, 0.2], early_fusion=[0.1, 0.2, 0.3])
    observed = scores_of(meta_fusion=[0.5], early_fusion=[np.nan])
    rows = permutation_table(observed, null, ["accuracy"], 1)[0].set_index("method")
    assert (rows.loc["meta_fusion", "permutations"], rows.loc["meta_fusion", "p"]) == (2, 1 / 3)
    assert np.isnan(rows.loc["early_fusion", "p"])


def test_too_few_permutations_are_said(tmp_path):
    assert too_few(19) == ""
    assert "p cannot be below 0.1; take 19" in too_few(9)
    null = scores_of(meta_fusion=np.linspace(0.1, 0.4, 9), prior=[0.25] * 9)
    table, values = permutation_table(scores_of(meta_fusion=[0.9], prior=[0.25]), null, ["accuracy"], 1)
    text = comparisons.permutation_markdown(table, WORDS)
    assert "9 permutations are few" in text
    assert "| meta_fusion | 0.9        | 0.250 [0.108, 0.393] | 0.1 | 0.1             |" in text
    save(comparison_figures.permutation(table, values, WORDS), tmp_path / "figure.svg")
    drawn = (tmp_path / "figure.svg").read_text()
    assert [text for text in ("p = 0.1", "9 permutations are few", "simulated data") if text not in drawn] == []


def test_seeds_that_the_experiment_lacks_are_named():
    with pytest.raises(UserError, match="lacks some of the seeds 1 to 2"):
        permutation_table(scores_of(meta_fusion=[0.5]), scores_of(meta_fusion=[0.1, 0.2]), ["accuracy"], 2)

"""The leakage guard: planted faults are named, noise is not, and the test part's targets are never read."""

import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact, spearmanr
from sklearn.metrics import roc_auc_score

from metafusion.account import leakage, single
from metafusion.account.data import Data
from metafusion.account.leakage import leakage_tables, say
from metafusion.account.single import areas
from metafusion.account.verdicts import COLUMNS
from metafusion.config.checks import Checks
from metafusion.files import write_table
from metafusion.splits import split_samples

NO_VOLUMES = pd.DataFrame({"sample": pd.Series(dtype="str")})
CHECKS = Checks()
SIZE = 120


def cohort(size=SIZE, visits=1, classes=("sick", "well")):
    """Return samples of subjects whose classes take turns."""
    rows = [
        (f"s{number:03d}_{visit}", f"s{number:03d}", classes[number % len(classes)])
        for number in range(size)
        for visit in range(visits)
    ]
    return pd.DataFrame(rows, columns=["sample", "subject", "target"])


class Study:
    """Samples and features on a disk, as the rule finds them."""

    def __init__(self, folder):
        self.folder = folder
        self.samples = cohort()
        self.people = None
        self.features = {}
        self.classes, self.unit, self.seeds = True, "subject", [1, 2]
        self.splits = None

    def noise(self, columns=6, seed=0):
        return np.random.default_rng(seed).standard_normal((len(self.samples), columns))

    def give(self, name, values, rows=None):
        """Give some samples a modality: an array, or a table of named columns."""
        table = pd.DataFrame(values)
        table.columns = [f"c{column}" if isinstance(column, int) else column for column in table.columns]
        table.insert(0, "sample", self.samples["sample"].to_numpy())
        self.features[name] = table if rows is None else table[rows]

    def data(self):
        for name, table in self.features.items():
            write_table(table, self.folder / f"{name}.parquet")
        if self.splits is None:
            options = {"test_fraction": 0.2, "validation_fraction": 0.25, "unit": self.unit}
            self.splits = split_samples(self.samples, self.seeds, classes=self.classes, **options)
        people = self.samples[["sample"]] if self.people is None else self.people
        return Data(self.samples, people, self.splits, self.folder, list(self.features), self.classes, self.unit)

    def check(self, checks=CHECKS, quality=NO_VOLUMES, **known):
        leakage, self.doubles = leakage_tables(self.data(), quality, checks, **known)
        return leakage

    @property
    def trained(self):
        """Which samples train in the first seed."""
        data = self.data()
        return self.samples["sample"].isin(data.training["sample"]).to_numpy()

    @property
    def sick(self):
        return (self.samples["target"] == "sick").to_numpy()


@pytest.fixture
def study(tmp_path, monkeypatch):
    # Enough for a p of 0.005, and quick.
    for module in (leakage, single):
        monkeypatch.setattr(module, "RESAMPLES", 199)
    return Study(tmp_path)


def rows_of(table, check, **chosen):
    rows = table[table["check"] == check]
    for column, value in chosen.items():
        rows = rows[rows[column] == value]
    return rows


def only(table, check, **chosen):
    (row,) = rows_of(table, check, **chosen).to_dict("records")
    return row


def test_noise_has_no_suspect_and_a_row_for_every_check(study):
    study.give("blood", study.noise())
    study.give("scan", study.noise(seed=1), rows=np.arange(SIZE) % 10 > 0)
    table = study.check()
    assert list(table.columns) == COLUMNS
    assert (table["level"] == "ok").all()
    for check in ("identical rows", "single feature", "missing code", "missing values", "missing modality"):
        assert rows_of(table, check)["where"].tolist() == ["blood", "scan"]
    assert set(table["check"].head(2)) == {"subject overlap", "repeat samples"}
    assert np.isfinite(table["value"]).all()


def test_subjects_of_several_samples_are_counted_and_stay_together(study):
    study.samples = pd.concat([cohort(30, visits=2), cohort(50).iloc[30:]], ignore_index=True)
    study.give("blood", study.noise())
    table = study.check()
    assert only(table, "subject overlap")["value"] == 0
    assert only(table, "repeat samples")["value"] == 30
    assert "30 subjects have 60 samples" in only(table, "repeat samples")["meaning"]


@pytest.mark.parametrize(("unit", "level"), [("subject", "error"), ("sample", "suspect")])
def test_a_subject_in_two_parts_is_counted_in_its_worst_seed(study, unit, level):
    study.samples, study.unit = cohort(30, visits=2), unit
    study.give("blood", study.noise())
    parts = np.repeat(["train"] * 20 + ["validation"] * 5 + ["test"] * 5, 2)
    worse = parts.copy()
    worse[[0, 2, 4]] = "test"
    study.splits = study.samples[["sample"]].assign(seed_1=parts, seed_2=worse)
    found = only(study.check(), "subject overlap")
    assert (found["value"], found["level"]) == (3, level)


def test_one_subject_on_all_sides_is_as_asked_for(study):
    study.samples = study.samples.assign(subject="the rat")
    study.unit = "sample"
    study.give("lfp", study.noise())
    found = only(study.check(), "subject overlap")
    assert (found["value"], found["level"]) == (1, "ok")


def test_equal_rows_are_counted_where_they_cross_parts(study):
    values = study.noise()
    values[[10, 20, 30]] = values[[50, 60, 70]]
    # Minus zero is zero, and a gap is a gap.
    values[10, 0], values[50, 0] = 0.0, -0.0
    values[[20, 60], 1] = np.nan
    study.give("blood", values)
    study.give("scan", study.noise(seed=1))
    parts = np.array(["train"] * 40 + ["test"] * 80, dtype=object)
    parts[45] = "validation"
    crossing_less = parts.copy()
    crossing_less[[50, 60]] = "train"
    study.splits = study.samples[["sample"]].assign(seed_1=crossing_less, seed_2=parts)
    table = study.check()
    found = only(table, "identical rows", where="blood")
    assert (found["value"], found["level"]) == (6, "suspect")
    # The report shows the meaning, so it names nobody.
    assert "s010" not in found["meaning"]
    named = study.doubles.groupby("group")["sample"].agg(" = ".join).tolist()
    assert named[:3] == ["s010_0 = s050_0", "s020_0 = s060_0", "s030_0 = s070_0"]
    assert set(study.doubles["check"] + study.doubles["where"]) == {"identical rowsblood"}
    assert only(table, "identical rows", where="scan")["value"] == 0


def test_equal_rows_of_one_subject_do_not_cross(study):
    study.samples = cohort(60, visits=2)
    study.give("blood", np.repeat(np.random.default_rng(0).standard_normal((60, 4)), 2, axis=0))
    found = only(study.check(), "identical rows")
    assert (found["value"], found["level"]) == (0, "ok")
    assert "120 of 120 samples are the same as another" in found["meaning"]
    assert "0 groups of them under several subjects" in found["meaning"]


def test_coarse_values_agree_by_chance(study):
    random = np.random.default_rng(0)
    study.give("profile", {"age": random.integers(60, 80, SIZE), "male": random.integers(0, 2, SIZE)})
    table = study.features["profile"]
    alike = table.duplicated(["age", "male"], keep=False).sum()
    assert alike > 80
    found = only(study.check(), "identical rows")
    assert (found["value"], found["level"]) == (0, "ok")
    assert f"{alike} more rows are alike" in found["meaning"]


def test_samples_without_any_value_are_no_doubles(study):
    values = study.noise()
    values[:30] = np.nan
    study.give("blood", values)
    assert only(study.check(), "identical rows")["meaning"].startswith("0 of 90 samples")


def test_volumes_of_the_same_voxels_are_counted_where_they_cross_parts(study):
    study.give("t1w", study.noise())
    parts = np.array(["train"] * 60 + ["validation"] * 30 + ["test"] * 30)
    study.splits = study.samples[["sample"]].assign(seed_1=parts)
    hashes = [f"h{number}" for number in range(SIZE)]
    hashes[0], hashes[1], hashes[61], hashes[119] = "same", "twin", "same", "same"
    hashes[2] = "twin"
    quality = pd.DataFrame({"sample": study.samples["sample"], "content_hash": hashes})
    stranger = pd.DataFrame({"sample": ["stranger"], "content_hash": ["h5"]})
    found = only(study.check(quality=pd.concat([quality, stranger])), "identical volumes")
    # Two groups, of which one crosses: with three samples.
    assert (found["value"], found["level"]) == (3, "suspect")
    assert found["meaning"].startswith("5 of 120 samples are the same as another")
    assert study.doubles["group"].tolist() == [1, 1, 1, 2, 2]
    names = study.samples["sample"].iloc[[0, 61, 119, 1, 2]].tolist()
    assert study.doubles["sample"].tolist() == names


columns_of_values = st.lists(
    st.lists(st.sampled_from([0.0, 1.0, 2.5, -3.0, 4.0, np.nan]), min_size=24, max_size=24), min_size=1, max_size=4
)


@settings(max_examples=25)
@given(columns_of_values, st.integers(0, 2**31))
def test_areas_are_those_of_scikit_learn(columns, seed):
    values = np.array(columns).T
    members = np.random.default_rng(seed).permutation(np.arange(24) % 2 == 0)[:, None]
    area, inside, rest = areas(values, members)
    for number, column in enumerate(values.T):
        known = ~np.isnan(column)
        counts = (members[known].sum(), (~members[known]).sum())
        assert (inside[0, number], rest[0, number]) == counts
        expected = roc_auc_score(members[known, 0], column[known]) if min(counts) >= 5 else np.nan
        np.testing.assert_allclose(area[0, number], expected, atol=1e-12)


def test_a_proxy_of_the_label_is_named_with_its_area_on_the_training_part(study):
    values = study.noise()
    values[:, 2] -= 4 * study.sick
    values[::7, 2] = np.nan
    study.give("blood", values)
    study.give("scan", study.noise(seed=1))
    table = study.check()
    found = only(table, "single feature", level="suspect")
    assert (found["what"], found["where"]) == ("c2", "blood")
    known = study.trained & ~np.isnan(values[:, 2])
    expected = roc_auc_score(~study.sick[known], np.float32(values[known, 2]))
    assert found["value"] == pytest.approx(expected, abs=1e-6)
    assert expected > 0.95
    assert rows_of(table, "single feature", where="scan")["level"].tolist() == ["ok"]


def test_the_strongest_column_is_shown_where_none_is_suspect(study):
    values = study.noise()
    values[:, 4] += study.sick
    study.give("blood", values)
    found = only(study.check(), "single feature")
    assert (found["what"], found["level"]) == ("c4", "ok")


def test_a_limit_can_be_set(study):
    values = study.noise()
    values[:, 4] += study.sick
    study.give("blood", values)
    area = only(study.check(), "single feature")["value"]
    assert only(study.check(Checks(auc=area - 1e-5)), "single feature")["level"] == "suspect"
    assert only(study.check(Checks(auc=area + 1e-5)), "single feature")["level"] == "ok"


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_one_class_against_the_rest_is_enough_to_be_suspect(study, name):
    study.samples = cohort(classes=("a", "b", "c"))
    values = study.noise()
    values[:, 1] = values[:, 1] / 10 + np.where(study.samples["target"] == name, 1, 0)
    study.give("blood", values)
    found = only(study.check(), "single feature", level="suspect")
    assert (found["what"], found["value"]) == ("c1", 1)
    assert f"class {name!r} from the rest" in found["meaning"]


def test_targets_outside_the_training_part_are_not_read(study):
    study.give("blood", study.noise(40))
    study.give("scan", study.noise(5, seed=1), rows=np.arange(SIZE) % 4 > 0)
    study.people = study.samples[["sample"]].assign(site=np.resize(["x", "y", "z"], SIZE))
    before = study.check()
    others = np.flatnonzero(~study.trained)
    study.samples.loc[others, "target"] = study.samples["target"].to_numpy()[np.roll(others, 1)]
    assert not study.samples["target"].equals(cohort()["target"])
    pd.testing.assert_frame_equal(study.check(), before)


def test_too_few_values_are_not_judged(study):
    values = study.noise(1)
    values[9:] = np.nan
    study.give("blood", values)
    found = only(study.check(), "single feature")
    assert found["level"] == "ok"
    assert "no column could be judged" in found["meaning"]


def test_with_few_samples_it_is_said_that_chance_may_do_it(study):
    study.samples, study.seeds = cohort(24), [1]
    study.give("blood", study.noise(1500))
    found = rows_of(study.check(), "single feature", level="suspect")
    assert len(found) > 0
    assert found["meaning"].str.contains("chance may do this").all()


def one_hot(codes, name="code"):
    """Return a column a level, in which samples without a code have gaps."""
    codes = pd.Series(codes, dtype="object")
    table = pd.get_dummies(codes, prefix=name, prefix_sep="=", dtype=float)
    return table.where(codes.notna(), np.nan)


def test_a_code_that_tells_the_label_by_no_single_level_is_named(study):
    codes = np.random.default_rng(0).integers(0, 3, SIZE) * 2 + study.sick
    study.give("clinic", one_hot(codes))
    table = study.check()
    assert only(table, "single feature")["level"] == "ok"
    found = only(table, "single category")
    assert (found["what"], found["where"], found["value"], found["level"]) == ("code", "clinic", 1, "suspect")
    assert "chance may do this" not in found["meaning"]


@pytest.mark.parametrize("classes", [("sick", "well"), ("a", "b", "c")])
def test_a_category_is_judged_by_the_others_of_each_level(study, classes):
    study.samples = cohort(classes=classes)
    random = np.random.default_rng(1)
    codes = np.where(random.random(SIZE) < 0.6, pd.factorize(study.samples["target"])[0], random.integers(3, 30, SIZE))
    codes = pd.Series(codes, dtype="object").where(random.random(SIZE) > 0.1)
    study.give("clinic", one_hot(codes))
    known = study.trained & codes.notna().to_numpy()
    codes, target = codes[known].to_numpy(int), study.samples["target"][known].to_numpy()
    best = 0
    for name in classes:
        shares = []
        for place, code in enumerate(codes):
            others = [target[i] == name for i in range(len(codes)) if codes[i] == code and i != place]
            shares.append(np.mean(others) if others else np.mean(target == name))
        best = max(best, roc_auc_score(target == name, shares))
    found = only(study.check(), "single category")
    assert 0.6 < best < 0.95
    assert (found["value"], found["level"]) == (pytest.approx(best, abs=1e-6), "ok")


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("levels", [3, 40, 1000])
def test_categories_of_noise_are_not_suspect_however_rare_their_levels(study, classes, levels):
    if not classes:
        regression(study)
    random = np.random.default_rng(2)
    codes = {f"v{number}": random.integers(0, levels, SIZE) for number in range(5)}
    study.give("clinic", pd.concat([one_hot(one, name) for name, one in codes.items()], axis=1))
    found = only(study.check(), "single category")
    assert found["level"] == "ok"
    assert found["value"] < (0.75 if classes else 0.5)
    assert "the strongest of 5 categories" in found["meaning"]


def test_in_regression_a_code_of_bands_of_the_target_is_named_whatever_their_order(study):
    target = regression(study)
    bands = pd.qcut(target, 6, labels=False)
    study.give("clinic", one_hot(np.array([3, 0, 5, 2, 1, 4])[bands]))
    table = study.check(Checks(correlation=0.9))
    assert only(table, "single feature")["level"] == "ok"
    found = only(table, "single category")
    assert (found["what"], found["level"]) == ("code", "suspect")
    # Of ranks in six bands that are as large as each other, 35 / 36 of the variance lies between them.
    assert found["value"] == pytest.approx(np.sqrt(35 / 36), abs=0.01)


def test_levels_that_only_visits_of_one_subject_share_tell_nothing(study):
    study.samples = cohort(60, visits=2)
    study.give("clinic", one_hot(study.samples["subject"].to_numpy()))
    found = only(study.check(), "single category")
    assert (found["value"], found["level"]) == (0.5, "ok")


def test_of_many_categories_of_few_samples_it_is_said_that_chance_may_do_it(study):
    study.samples = cohort(12)
    study.splits = study.samples[["sample"]].assign(seed_1="train")
    study.seeds = [1]
    # Six pairs, each of one class: one in C(12, 6) / C(6, 3) = 46 ways to deal them does it.
    pairs = np.array([0, 3, 0, 3, 1, 4, 1, 4, 2, 5, 2, 5])
    study.give("clinic", one_hot(pairs))
    found = only(study.check(), "single category", level="suspect")
    assert (found["value"], "chance may do this in one of 1 categories" in found["meaning"]) == (1, True)


def test_columns_that_are_no_levels_of_one_category_are_judged_by_themselves_only(study):
    noise = study.noise(3)
    study.give("blood", {"a=1": noise[:, 0], "a=2": noise[:, 1], "a=3": noise[:, 2]})
    study.give("profile", one_hot(np.arange(SIZE) % 3 % 2, "sex"))
    assert rows_of(study.check(), "single category").empty


def regression(study):
    study.classes = False
    study.samples = study.samples.assign(target=np.random.default_rng(5).standard_normal(SIZE))
    return study.samples["target"].to_numpy()


def test_in_regression_a_copy_of_the_target_is_named_by_its_ranks(study):
    target = regression(study)
    values = study.noise()
    values[:, 3] = -np.exp(target)
    values[:, 4] = target + 0.8 * values[:, 4]
    values[::5, 3:5] = np.nan
    values[:, 5] = 1
    study.give("blood", values)
    study.give("scan", values[:, [0, 4]])
    table = study.check()
    found = only(table, "single feature", level="suspect")
    assert (found["what"], found["where"], found["value"]) == ("c3", "blood", 1)
    weaker = only(table, "single feature", where="scan")
    known = study.trained & ~np.isnan(values[:, 4])
    expected = spearmanr(np.float32(values[known, 4]), target[known]).statistic
    assert weaker["value"] == pytest.approx(expected, abs=1e-6)


def test_gaps_that_follow_the_label_are_named_once_for_all_columns_that_have_them(study):
    values = study.noise()
    random = np.random.default_rng(1).random((SIZE, 2))
    gap = study.sick & (random[:, 0] < 0.7)
    values[np.ix_(gap, [1, 4])] = np.nan
    values[random[:, 1] < 0.3, 2] = np.nan
    study.give("tests", values)
    table = study.check()
    found = only(table, "missing values", level="suspect")
    assert found["what"] == "c1 and 1 columns missing with it"
    expected = roc_auc_score(study.sick[study.trained], gap[study.trained])
    assert found["value"] == pytest.approx(expected, abs=1e-6)


def test_gaps_at_random_are_not_called_suspect_however_many_there_are(study):
    study.samples, study.seeds = cohort(40), [1]
    values = study.noise(400)
    values[np.random.default_rng(2).random(values.shape) < 0.3] = np.nan
    study.give("tests", values)
    found = only(study.check(), "missing values")
    # The strongest of them alone would pass for one.
    assert found["value"] > CHECKS.missing_auc
    assert found["level"] == "ok"


def test_a_modality_that_one_class_lacks_is_suspect(study):
    lacking = study.sick & (np.random.default_rng(3).random(SIZE) < 0.6)
    study.give("blood", study.noise())
    study.give("scan", study.noise(seed=1), rows=~lacking)
    table = study.check()
    found = only(table, "missing modality", level="suspect")
    sick, gap = study.sick[study.trained], lacking[study.trained]
    assert found["where"] == "scan"
    assert found["value"] == pytest.approx(roc_auc_score(sick, gap), abs=1e-6)
    counts = [[(gap & ~sick).sum(), (~gap & ~sick).sum()], [(gap & sick).sum(), (~gap & sick).sum()]]
    # Who lacks the modality has no gap in it.
    assert only(table, "missing values", where="scan")["meaning"].startswith("no column has gaps")
    # Holm: the other modality is there for all, so its p is 1, and this one counts twice.
    assert f"p = {2 * fisher_exact(counts).pvalue:.2g} after Holm" in found["meaning"]


def test_in_regression_gaps_of_small_targets_are_suspect(study):
    target = regression(study)
    values = study.noise()
    gap = (target < -0.3) & (np.random.default_rng(4).random(SIZE) < 0.8)
    values[gap, 0] = np.nan
    study.give("tests", values)
    found = only(study.check(), "missing values", level="suspect")
    expected = roc_auc_score(gap[study.trained], -target[study.trained])
    assert found["value"] == pytest.approx(expected, abs=1e-6)


def test_several_samples_of_a_subject_are_no_more_evidence_than_one(study):
    """Gaps of 3 of 9 subjects against none of 9 prove nothing, also if each has ten visits."""
    study.samples = cohort(18, visits=10)
    values = study.noise()
    values[study.samples["subject"].isin(["s000", "s002", "s004", "s006"]), 0] = np.nan
    study.give("tests", values)
    parts = np.where(study.samples["subject"] > "s015", "test", "train")
    study.splits = study.samples[["sample"]].assign(seed_1=parts)
    found = only(study.check(), "missing values")
    assert found["value"] == pytest.approx(0.75)
    assert found["level"] == "ok"
    assert "16 subjects" in found["meaning"]


@pytest.mark.parametrize("place", ["people", "samples"])
def test_a_site_that_has_one_class_only_is_suspect(study, place):
    study.give("blood", study.noise())
    site = np.where(study.sick, "clinic", "village")
    site[::10] = None
    if place == "people":
        study.people = study.samples[["sample"]].assign(site=site)
    else:
        study.samples = study.samples.assign(site=site)
    found = only(study.check(), "site by label")
    assert (found["value"], found["level"]) == (1, "suspect")


def test_many_small_sites_are_not_suspect_by_chance(study):
    study.give("blood", study.noise())
    study.people = study.samples[["sample"]].assign(site=np.random.default_rng(0).integers(0, 30, SIZE))
    found = only(study.check(), "site by label")
    # So many sites are associated with anything.
    assert found["value"] > CHECKS.site
    assert found["level"] == "ok"


def test_in_regression_a_site_of_large_targets_is_suspect(study):
    target = regression(study)
    study.give("blood", study.noise())
    site = np.where(target > 0, "north", "south")
    study.people = study.samples[["sample"]].assign(site=site)
    found = only(study.check(), "site by label")
    assert found["level"] == "suspect"
    # With all ranks of one site above the other's, n m (n + m)^2 / 4 of the variance (n + m)((n + m)^2 - 1) / 12 is
    # between them.
    north, total = (site[study.trained] == "north").sum(), study.trained.sum()
    assert found["value"] == pytest.approx(np.sqrt(3 * north * (total - north) / (total**2 - 1)), abs=1e-6)


def test_one_site_says_nothing(study):
    study.give("blood", study.noise())
    study.people = study.samples[["sample"]].assign(site="here")
    assert only(study.check(), "site by label")["level"] == "ok"


def test_without_sites_there_is_no_row_of_them(study):
    study.give("blood", study.noise())
    assert rows_of(study.check(), "site by label").empty


def test_where_every_seed_draws_its_own_samples_those_of_the_first_are_checked(study):
    study.classes = False
    study.samples = pd.DataFrame(
        {
            "sample": [f"d{n}" for n in range(SIZE)],
            "target": np.arange(SIZE, dtype=float),
            "draw": np.arange(SIZE) // 60 + 1,
        }
    )
    study.samples["subject"] = study.samples["sample"]
    values = study.noise()
    # The second seed's copy of the target concerns the first seed in nothing.
    values[60:, 0] = np.arange(60)
    study.give("first", values)
    table = study.check()
    assert (table["level"] == "ok").all()
    assert "36 subjects" in only(table, "single feature")["meaning"]
    assert only(table, "subject overlap")["where"] == "all 2 seeds"
    assert only(table, "identical rows")["meaning"].startswith("0 of 60 samples")


def test_every_suspect_is_warned_of_but_not_for_pages(study, caplog):
    values = study.noise(14)
    values[:, :12] += 9 * study.sick[:, None]
    study.give("blood", values)
    with caplog.at_level(logging.INFO):
        say(study.check(), logging.getLogger("metafusion"))
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 11
    assert warned[0].startswith("suspect: single feature, blood, c")
    assert warned[-1] == "suspect: single feature, blood: 2 more, see leakage.tsv"


def test_representations_that_are_fitted_on_everything_are_suspect(study):
    study.give("lfp", study.noise())
    found = only(study.check(leaking=["lfp"]), "fitted on everything")
    assert (found["where"], found["level"]) == ("lfp", "suspect")
    assert "'fit_on: everything'" in found["meaning"]
    assert rows_of(study.check(), "fitted on everything").empty


def test_what_the_source_knows_to_be_nearly_the_label_is_suspect_where_it_is_used(study):
    study.give("clinical", study.noise())
    table = study.check(proxies={"clinical": ["mmse"], "another": ["cdr"]})
    assert only(table, "label proxy", what="mmse")["level"] == "suspect"
    assert len(rows_of(table, "label proxy")) == 1


@pytest.mark.parametrize(
    ("code", "others", "suspect"),
    [
        (-4, (0, 30), True),
        (-4, (-10, 30), False),
        (99, (0, 30), True),
        (99, (0, 60), False),
        (-5, (0, 30), False),
    ],
)
def test_a_number_that_stands_apart_as_codes_for_missing_values_do_is_named(study, code, others, suspect):
    # Halves are never codes.
    values = np.linspace(*others, len(study.samples)).round() + 0.5 * (np.arange(len(study.samples)) > 3)
    values[[0, -1]] = others
    values[[5, 9]] = code
    study.give("tests", {"memory": values})
    (row,) = rows_of(study.check(), "missing code").to_dict("records")
    assert (row["level"], row["what"]) == (("suspect", "memory") if suspect else ("ok", "any column"))
    if suspect:
        assert row["meaning"].startswith(f"2 samples have {code}, ")


def test_one_number_alone_is_no_code(study):
    values = np.linspace(0.5, 30.5, len(study.samples))
    values[7] = 999
    study.give("tests", {"memory": values})
    assert rows_of(study.check(), "missing code")["level"].tolist() == ["ok"]


def by_sessions(study, seeds):
    study.samples = cohort(48).assign(session=[f"day{number % 4 + 1}" for number in range(48)])
    study.give("lfp", study.noise())
    study.splits = split_samples(study.samples, seeds, validation_fraction=0.25, scheme="sessions", unit="sample")
    table = study.check(scheme="sessions")
    return table[table["check"] == "sessions tested"].to_dict("records")


def test_fewer_seeds_than_sessions_are_told_without_the_names_of_sessions(study):
    (row,) = by_sessions(study, [1, 3])
    assert (row["level"], row["value"]) == ("suspect", 2)
    assert row["meaning"].startswith("2 of 4 sessions are never tested: scores are of the others only; set")
    assert "day" not in row["meaning"]
    assert "'seeds: 4'" in row["meaning"]


def test_as_many_seeds_as_sessions_are_well(study):
    (row,) = by_sessions(study, [1, 2, 3, 4])
    assert (row["level"], row["value"], row["meaning"]) == ("ok", 0, "each of 4 sessions is tested")


def test_other_schemes_say_nothing_of_sessions(study):
    study.give("lfp", study.noise())
    assert "sessions tested" not in set(study.check()["check"])


def test_a_strong_feature_is_told_what_it_is_and_when_it_is_fine(study):
    values = study.noise()
    values[:, 2] += 9 * study.sick
    study.give("units", values)
    table = study.check()
    (row,) = table[(table["check"] == "single feature") & (table["level"] == "suspect")].to_dict("records")
    assert row["what"] == "c2"
    for words in (
        "by this column alone",
        "checks.auc is 0.95",
        "Fine, and nothing to be done, if",
        "a neuron or channel",
    ):
        assert words in row["meaning"]

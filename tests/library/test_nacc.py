"""NACC on look-alike tables: who is a sample, which visit it has, what its features are, and what is refused."""

import logging
import random
import re
import tempfile
from pathlib import Path

import nacc_lookalike as nacc
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from metafusion import samples as contract
from metafusion.config.load import load_experiment
from metafusion.config.sources import Nacc
from metafusion.errors import UserError
from metafusion.samples import Assembled
from metafusion.sources.nacc import SPECIAL_CODES, assemble, preprocess
from metafusion.subgroups import levels_of

ROOT = Path(__file__).parents[2]
COARSE = {
    "patient_profile": ["demographics", "health_history", "family_history"],
    "assessment": ["gds", "faq", "npi", "physical", "neuropsychology"],
    "mri": ["morphometry"],
}


def run(
    folder: Path, visit_table: pd.DataFrame | None = None, scan_table: pd.DataFrame | None = None, **options
) -> Assembled:
    source = Nacc.model_validate(nacc.write(folder, visit_table, scan_table) | options)
    place = folder / "preprocessed"
    place.mkdir(exist_ok=True)
    preprocess(source, "nacc", "all", None, place)
    return assemble(source, None, {"nacc": [place]})


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Assembled:
    """Return what comes out with all settings as they are; nobody may change it."""
    return run(tmp_path_factory.mktemp("plain"))


def table_of(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "preprocessed" / name, sep="\t", keep_default_na=False)


def cell(result: Assembled, modality: str, column: str, sample: str = "NACC000017_2020-09-01") -> float:
    return result.features[modality].set_index("sample").loc[sample, column]


# The cohort


def test_the_samples_are_those_of_the_list_made_by_hand(tmp_path):
    result = run(tmp_path)
    assert dict(zip(result.samples["sample"], result.samples["target"], strict=True)) == {
        sample: label for sample, (_, _, label) in nacc.SAMPLES.items()
    }
    assert (result.samples["subject"] == result.samples["sample"].str[:10]).all()
    matches = table_of(tmp_path, "matches.tsv").set_index("sample")
    found = {sample: (row.visit_date, row.days, row.target) for sample, row in matches.iterrows()}
    assert found == nacc.SAMPLES


def test_every_scan_that_is_out_is_counted_with_its_reason(plain):
    assert [tuple(row) for row in plain.exclusions.to_numpy()] == nacc.OUT
    gone = (plain.exclusions["modality"] == "").sum()
    assert len(plain.samples) + gone == len(nacc.SCANS)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_rows_matters_only_where_nothing_else_decides(tmp_path, seed):
    """NACC000002 has two equally complete scans on one date, NACC000009 two rows of one visit."""
    shuffled = random.Random(seed)
    visits, scans = list(nacc.VISITS), list(nacc.SCANS)
    shuffled.shuffle(visits)
    shuffled.shuffle(scans)
    result = run(tmp_path, nacc.visits(visits), nacc.scans(scans))
    found = dict(zip(result.samples["sample"], result.samples["target"], strict=True))
    expected = {sample: label for sample, (_, _, label) in nacc.SAMPLES.items()}
    del found["NACC000009_2020-02-01"], expected["NACC000009_2020-02-01"]
    assert found == expected
    reasons = result.exclusions["reason"].value_counts().to_dict()
    assert reasons == pd.Series([reason for *_, reason in nacc.OUT]).value_counts().to_dict()


def test_the_first_scan_that_can_be_used_may_be_the_only_one(tmp_path):
    result = run(tmp_path, scans="first")
    assert set(result.samples["sample"]) == set(nacc.SAMPLES) - {"NACC000014_2022-02-01"}
    last = result.exclusions[result.exclusions["modality"] == ""].iloc[-1]
    assert last.tolist() == [
        "NACC000014_2022-02-01",
        "NACC000014",
        "",
        "not the first usable scan of the participant",
    ]


def test_the_window_counts_days_and_includes_its_edge(tmp_path):
    days = {sample: days for sample, (_, days, _) in nacc.SAMPLES.items()}
    for window in (0, 12, 539):
        result = run(tmp_path, window_days=window)
        assert set(result.samples["sample"]) == {sample for sample, elapsed in days.items() if elapsed <= window}


def test_of_duplicate_scans_the_most_complete_and_then_the_first_is_used(plain):
    assert cell(plain, "mri", "LHIPPO", "NACC000002_2019-06-15") == np.float32(3.3)


def test_people_are_described_at_the_visit(plain):
    people = plain.people.set_index("sample")
    assert list(people) == ["age", "sex", "education", "site"]
    assert people.loc["NACC000001_2021-03-09"].tolist() == [81, "male", 12, "186"]
    assert people.loc["NACC000002_2019-06-15"].tolist() == [72, "female", 16, "186"]
    assert np.isnan(people.loc["NACC000017_2020-09-01", "education"])


def test_american_dates_and_parquet_give_the_same_samples(plain, tmp_path):
    scans = nacc.scans()
    scans["SCANDT"] = pd.to_datetime(scans["SCANDT"]).dt.strftime("%m/%d/%Y").fillna("-4")
    american = run(tmp_path, scan_table=scans)
    scans["SCANDT"] = pd.to_datetime(nacc.scans()["SCANDT"])
    scans = (
        scans.astype(dict.fromkeys(nacc.MORPHOMETRY, object))
        .replace("", None)
        .astype(dict.fromkeys(nacc.MORPHOMETRY, float))
    )
    scans.to_parquet(tmp_path / "scans.parquet")
    nacc.visits().to_parquet(tmp_path / "visits.parquet")
    source = Nacc(kind="nacc", visits=tmp_path / "visits.parquet", mri=tmp_path / "scans.parquet")
    (tmp_path / "parquet").mkdir()
    preprocess(source, "nacc", "all", None, tmp_path / "parquet")
    parquet = assemble(source, None, {"nacc": [tmp_path / "parquet"]})
    for other in (american, parquet):
        pd.testing.assert_frame_equal(other.samples, plain.samples)
        for name, table in plain.features.items():
            pd.testing.assert_frame_equal(other.features[name], table)


def test_the_same_tables_give_the_same_bytes(tmp_path):
    source = Nacc.model_validate(nacc.write(tmp_path))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        preprocess(source, "nacc", "all", None, tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*"))
    assert len(files) == 9
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_a_crowd_is_ready_to_be_split(tmp_path):
    result = run(tmp_path, *nacc.crowd(40))
    checked = contract.check(result, "classification", list(result.features))
    assert checked.samples["target"].value_counts().to_dict() == dict.fromkeys(
        ["normal", "impaired_not_mci", "mci", "dementia"], 10
    )
    assert checked.people["site"].isin(["186", "289", "4967"]).all()


DAYS = st.integers(0, 1000)
PERSON = st.sampled_from(["NACC000001", "NACC000002", "NACC000003"])


@given(
    seen=st.lists(
        st.tuples(PERSON, DAYS, st.sampled_from([-4, 1, 2, 3, 4])), min_size=1, max_size=8, unique_by=lambda v: v[:2]
    ),
    scanned=st.lists(st.tuples(PERSON, DAYS), min_size=1, max_size=6, unique=True),
    window=st.integers(0, 600),
)
@settings(max_examples=15, deadline=None)
def test_each_scan_has_the_visit_that_a_search_through_all_finds(seen, scanned, window):
    start = pd.Timestamp("2015-01-31")
    days = [start + pd.Timedelta(days=day) for _, day, _ in seen]
    visits = [
        (name, date.year, date.month, date.day, 1, label, {"EDUC": row})
        for row, (date, (name, _, label)) in enumerate(zip(days, seen, strict=True))
    ]
    scans = [(name, str((start + pd.Timedelta(days=day)).date()), {}) for name, day in scanned]
    expected = {}
    for (name, day), (_, scan_date, _) in zip(scanned, scans, strict=True):
        before = [(at, row) for row, (who, at, _) in enumerate(seen) if who == name and 0 <= day - at <= window]
        if before and seen[max(before)[1]][2] != -4:
            expected[f"{name}_{scan_date}"] = max(before)[1]
    with tempfile.TemporaryDirectory() as folder:
        settings_of_run = {"modalities": {"row": ["EDUC"]}, "window_days": window}
        tables = nacc.visits(visits), nacc.scans(scans)
        if not expected:
            with pytest.raises(UserError, match="is a sample"):
                run(Path(folder), *tables, **settings_of_run)
            return
        result = run(Path(folder), *tables, **settings_of_run)
    found = result.features["row"]
    assert dict(zip(found["sample"], found["EDUC"], strict=True)) == expected
    assert len(expected) + (result.exclusions["modality"] == "").sum() == len(scans)


# Features


def test_the_four_modalities_have_the_columns_of_the_paper(tmp_path):
    account = _account(run(tmp_path), tmp_path)
    assert {name: len(columns) for name, columns in account.items()} == {
        "patient_profile": 66,
        "behavioral_assessment": 39,
        "clinical_evaluation": 29,
        "mri": len(nacc.MORPHOMETRY),
    }
    assert account["patient_profile"] == nacc.PROFILE
    assert account["behavioral_assessment"] == nacc.BEHAVIOUR
    assert account["clinical_evaluation"] == nacc.CLINICAL
    assert account["mri"] == nacc.MORPHOMETRY


def _account(result: Assembled, folder: Path) -> dict[str, list[str]]:
    columns = table_of(folder, "columns.tsv")
    return {name: columns.loc[columns["modality"] == name, "column"].tolist() for name in result.features}


def test_coarse_modalities_are_unions_of_the_fine_ones(plain, tmp_path):
    coarse = run(tmp_path, modalities=COARSE)
    assert list(coarse.features) == ["patient_profile", "assessment", "mri"]
    both = plain.features["behavioral_assessment"].merge(plain.features["clinical_evaluation"], how="outer")
    pd.testing.assert_frame_equal(
        coarse.features["assessment"].sort_values("sample", ignore_index=True),
        both.sort_values("sample", ignore_index=True),
    )


MISSING = {
    # code: columns in which it says that there is no value, and columns in which it is one
    -4: ("SEX NACCAGE SMOKYRS SATIS DELSEV TRAVEL HEIGHT TRAILB NACCMMSE NACCAMD ANYMEDS", ""),
    8: ("SATIS BILLS TRAVEL VISWCORR HEARWAID DECSUB CVHATT", "PRIMLANG NACCAMD EDUC NACCMMSE ANIMALS NACCGDS TRAILA"),
    9: (
        "PRIMLANG HISPANIC TOBAC100 NACCFAM SATIS BILLS DELSEV VISION INCONTU",
        "NACCAMD EDUC SMOKYRS NACCMMSE DIGIF ANIMALS NACCGDS TRAILA MEMUNITS",
    ),
    88: ("SMOKYRS NACCGDS NACCMMSE HEIGHT", "NACCAGE BPDIAS HRATE TRAILA TRAILB WEIGHT"),
    99: ("EDUC NACCNIHR SMOKYRS", "NACCAGE BPDIAS HRATE TRAILA TRAILB WEIGHT"),
    95: ("NACCMMSE MEMUNITS DIGIBLEN ANIMALS VEG BOSTON MMSEORDA", "NACCAGE TRAILA TRAILB BPSYS"),
    98: ("NACCMMSE MEMUNITS DIGIF DIGIFLEN DIGIB VEG BOSTON MMSEORLO", "NACCAGE TRAILA TRAILB BPSYS"),
    888: ("WEIGHT BPSYS BPDIAS HRATE NACCBMI", ""),
    995: ("TRAILA TRAILB", ""),
    998: ("TRAILA TRAILB", ""),
    8888: ("NACCSTYR NACCTIYR", ""),
    9999: ("NACCSTYR NACCTIYR", ""),
    88.8: ("HEIGHT", "NACCBMI WEIGHT"),
    888.8: ("NACCBMI", ""),
}


def test_codes_are_missing_by_column(tmp_path):
    everything = [*nacc.PROFILE, *nacc.BEHAVIOUR, *nacc.CLINICAL]
    rows = [("NACC000001", 2020, 1, 1, 1, 1, {})]
    rows += [(f"NACC{code}", 2020, 1, 1, 1, 1, dict.fromkeys(everything, code)) for code in MISSING]
    scans = [(name, "2020-01-02", {}) for name, *_ in rows]
    # All columns are numbers here, so that what is read can be seen as it is.
    types = dict.fromkeys(["NACCNIHR", "PRIMLANG", "SEX"], "numeric")
    result = run(tmp_path, nacc.visits(rows), nacc.scans(scans), types=types)
    tables = [table.set_index("sample") for name, table in result.features.items() if name != "mri"]
    values = pd.concat(tables, axis=1).reindex(result.samples["sample"])
    for code, (missing, kept) in MISSING.items():
        row = values.loc[f"NACC{code}_2020-01-02"]
        assert row[missing.split()].isna().all(), code
        assert (row[kept.split()] == np.float32(code)).all(), code


def test_a_symptom_that_is_not_there_has_no_severity(plain, tmp_path):
    assert [cell(plain, "behavioral_assessment", name) for name in ("DELSEV", "AGITSEV")] == [0, 3]
    assert np.isnan(cell(plain, "behavioral_assessment", "HALLSEV"))
    result = run(tmp_path, npi_without_symptom="missing")
    assert np.isnan(cell(result, "behavioral_assessment", "DELSEV"))


def test_categories_have_a_feature_a_level(plain):
    assert [cell(plain, "patient_profile", f"PRIMLANG={level}") for level in (1, 8)] == [0, 1]
    assert [cell(plain, "patient_profile", f"SEX={level}") for level in (1, 2)] == [1, 0]
    assert np.isnan(cell(plain, "patient_profile", "NACCNIHR=1"))
    assert cell(plain, "patient_profile", "NACCSTYR") == 2015


def test_types_and_codes_can_be_changed_and_columns_dropped_and_added(tmp_path):
    modalities = {"more": ["demographics", "MOCATOTS"], "mri": ["morphometry"]}
    result = run(
        tmp_path,
        modalities=modalities,
        types={"MARISTAT": "categorical"},
        missing_by_column={"MOCATOTS": ["88"], "PRIMLANG": ["8", "9"]},
        drop=["NACCNIHR", "ICV"],
    )
    features = list(result.features["more"])
    assert "MARISTAT=1" in features
    assert features[-1] == "MOCATOTS"
    assert not [name for name in features if name.startswith("NACCNIHR")]
    assert "ICV" not in result.features["mri"]
    assert np.isnan(cell(result, "more", "PRIMLANG=1"))


def test_gaps_may_become_features(tmp_path):
    result = run(tmp_path, missing_indicators=True)
    assert cell(result, "clinical_evaluation", "TRAILA is missing") == 1
    assert cell(result, "clinical_evaluation", "TRAILA is missing", "NACC000001_2021-03-09") == 0
    assert "NACC000018_2020-09-01" not in result.features["clinical_evaluation"]["sample"].tolist()


def test_the_label_in_disguise_and_identifiers_are_no_features(tmp_path):
    scans = nacc.scans().assign(CDRGLOB=0.5, QUALITY="good")
    result = run(tmp_path, scan_table=scans)
    assert list(result.features["mri"]) == ["sample", *nacc.MORPHOMETRY]
    listed = {name.partition("=")[0] for table in result.features.values() for name in table}
    assert not listed & {"CDRSUM", "CDRGLOB", "MEMORY", "NACCALZD", "NACCUDSD", "NACCVNUM", "NACCADC", "VISITYR"}
    columns = table_of(tmp_path, "columns.tsv").set_index("column")
    assert columns.loc["QUALITY", "type"] == "text"


# Other freezes


def test_absent_columns_are_told_and_the_others_used(tmp_path, caplog):
    visits = nacc.visits().drop(columns=["CVPACE", "NACCMMSE", "SEX", "EDUC", "NACCVNUM"])
    with caplog.at_level(logging.WARNING, logger="metafusion"):
        result = run(tmp_path, visits)
    assert "modality patient_profile: 3 of 66 columns are absent from this freeze: SEX, EDUC, CVPACE" in caplog.text
    assert "modality clinical_evaluation: 1 of 29 columns are absent from this freeze: NACCMMSE" in caplog.text
    columns = table_of(tmp_path, "columns.tsv")
    absent = columns[columns["type"] == "absent"]
    assert absent["column"].tolist() == ["SEX", "EDUC", "CVPACE", "NACCMMSE"]
    assert (absent["features"] == 0).all()
    assert list(result.people) == ["sample", "age", "site"]
    assert len(result.samples) == len(nacc.SAMPLES)


def test_a_modality_without_any_of_its_columns_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"nacc72\.csv: modality clinical_evaluation: none of its 29 columns"):
        run(tmp_path, nacc.visits().drop(columns=nacc.CLINICAL))


# Mistakes


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"modalities": {"a": ["CDRSUM"]}}, "'CDRSUM' is part of the CDR, the label in disguise, and never a feature"),
        ({"modalities": {"a": ["gds", "MEMORY"]}}, "'MEMORY' is part of the CDR"),
        ({"modalities": {"a": ["NACCUDSD"]}}, "'NACCUDSD' is the diagnosis"),
        ({"modalities": {"a": ["NACCALZD"]}}, "'NACCALZD' is the diagnosis"),
        ({"modalities": {"a": ["PROBADIF"]}}, "'PROBADIF' is the diagnosis"),
        ({"modalities": {"a": ["NACCLBDE"]}}, "'NACCLBDE' is the diagnosis"),
        ({"modalities": {"a": ["NACCADC"]}}, "'NACCADC' says who or when"),
        ({"modalities": {"a": ["fac"]}}, "'fac' is no group of columns; did you mean 'faq'"),
        ({"modalities": {"a": ["gds", "morphometry"]}}, "'morphometry' is another table"),
        ({"modalities": {"a": ["gds", "SATIS"]}}, "stand more than once: SATIS"),
        ({"modalities": {"a": []}}, "at least 1 item"),
        ({"modalities": {"a": ["EDUC"]}, "drop": ["EDUC"]}, "no column is left in modality 'a'"),
        ({"types": {"EDUK": "numeric"}}, "types: 'EDUK' is in no modality; did you mean 'EDUC'"),
        ({"missing_by_column": {"MOCATOTS": ["88"]}}, "'MOCATOTS' is in no modality; name it in 'modalities'"),
        ({"window_days": -1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_read(option, message):
    with pytest.raises(ValidationError, match=message):
        Nacc.model_validate({"kind": "nacc", "visits": "v.csv", "mri": "m.csv"} | option)


def _changed(table: pd.DataFrame, row: int, **cells: object) -> pd.DataFrame:
    """Return a table with other cells in a row, counted as in the file."""
    table = table.astype(dict.fromkeys(cells, object))
    for name, value in cells.items():
        table.loc[row - 2, name] = value
    return table


@pytest.mark.parametrize(
    ("row", "cells", "message"),
    [
        (3, {"SCANDT": "9 March"}, "'SCANDT', row 3: '9 March' is no date; expected year-month-day or month/day/year"),
        (3, {"SCANDT": "2021-02-30"}, "row 3: '2021-02-30' is no date"),
        (3, {"SCANDT": "13/01/2021"}, "row 3: '13/01/2021' is no date"),
        (4, {"NACCID": ""}, "column 'NACCID' has no value in row 4"),
    ],
)
def test_faulty_cells_of_scans_are_named(tmp_path, row, cells, message):
    with pytest.raises(UserError, match=r"mrisbm_nacc71\.csv: .*" + re.escape(message)):
        run(tmp_path, scan_table=_changed(nacc.scans(), row, **cells))


@pytest.mark.parametrize(
    ("row", "cells", "message"),
    [
        (5, {"NACCUDSD": 5}, "'NACCUDSD' (diagnosis), row 5: found 5.0; expected 1 to 4"),
        (4, {"NACCID": ""}, "column 'NACCID' has no value in row 4"),
        (4, {"EDUC": "sixteen"}, "column 'EDUC', row 4: 'sixteen': expected a plain number"),
    ],
)
def test_faulty_cells_of_visits_are_named(tmp_path, row, cells, message):
    with pytest.raises(UserError, match=r"nacc72\.csv: .*" + re.escape(message)):
        run(tmp_path, _changed(nacc.visits(), row, **cells))


def test_words_as_months_are_refused(tmp_path):
    with pytest.raises(UserError, match="column 'VISITMO', row 2: 'May'; expected whole numbers"):
        run(tmp_path, nacc.visits().assign(VISITMO="May"))


@pytest.mark.parametrize("column", ["NACCID", "NACCUDSD", "VISITYR", "VISITMO", "VISITDAY"])
def test_a_table_of_visits_without_its_keys_is_refused(tmp_path, column):
    with pytest.raises(UserError, match=rf"nacc72\.csv: no column '{column}' \(the visits of NACC\)"):
        run(tmp_path, nacc.visits().drop(columns=column))


def test_swapped_tables_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"mrisbm_nacc71\.csv: no column 'SCANDT' \(the MRI table of NACC\)"):
        run(tmp_path, nacc.scans(), nacc.visits())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": ["ICVV"]}, r"no column 'ICVV' \(drop\); did you mean 'ICV'"),
        ({"modalities": {"a": ["MOCATOT"]}}, r"no column 'MOCATOT' \(modality a\); did you mean 'MOCATOTS'"),
        ({"drop": nacc.MORPHOMETRY}, r"mrisbm_nacc71\.csv: no column of numbers"),
    ],
)
def test_columns_that_are_not_there_are_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path, **options)


def test_tables_without_a_common_participant_are_refused_with_the_reasons(tmp_path):
    scans = nacc.scans()
    scans["NACCID"] = "X" + scans["NACCID"]
    with pytest.raises(
        UserError,
        match=r"none of the 22 scans is a sample: no date of the scan \(2\); duplicate scan \(2\); participant not in "
        r"the table of visits \(18\); expected scans of participants of .*nacc72\.csv",
    ):
        run(tmp_path, scan_table=scans)


# Experiments and their page


def test_the_experiments_use_the_modalities_as_the_paper_does():
    fine = load_experiment(ROOT / "config/experiments/alzheimers_nacc.yaml")
    assert {name: choice.sizes for name, choice in fine.representations.items()} == {
        "patient_profile": ["raw", 70, 50, 30, "absent"],
        "behavioral_assessment": ["raw", 30],
        "clinical_evaluation": ["raw", 20],
        "mri": ["raw", 90, 60, 30, "absent"],
    }
    assert {choice.extractor for choice in fine.representations.values()} == {"encoder"}
    assert [choice.hidden for choice in fine.representations.values()] == [[128], [64], [64], [128]]
    assert fine.cohort.epochs == 15
    assert fine.cohort.hidden == [64, 32]
    assert len(fine.seeds) == 100
    coarse = load_experiment(ROOT / "config/experiments/alzheimers_nacc_coarse.yaml")
    assert coarse.source.modalities == COARSE
    assert {choice.sizes[-1] for choice in coarse.representations.values()} == {"absent"}


@pytest.mark.parametrize("name", ["alzheimers_nacc", "alzheimers_nacc_coarse"])
def test_the_groups_of_the_experiments_are_known_of_people(plain, name):
    wanted = load_experiment(ROOT / "config/experiments" / f"{name}.yaml").subgroups
    groups = levels_of(plain.samples, plain.people, wanted)
    assert set(groups) == {"sex", "age", "site"}
    assert set(groups["sex"]) == {"male", "female"}
    assert set(groups["site"]) == {"186"}
    assert groups["age"]["NACC000001_2021-03-09"] == "75 and above"


def test_the_page_lists_every_code():
    page = (ROOT / "docs/data/nacc.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([0-9., ]+) \| ([A-Z0-9 ]+) \|", page, flags=re.MULTILINE)
    listed = {column: set(codes.split(", ")) for codes, columns in rows for column in columns.split()}
    assert listed == {column: set(codes) for column, codes in SPECIAL_CODES.items()}

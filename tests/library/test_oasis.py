"""OASIS-1 and OASIS-2: who becomes a sample, with which label, and what their tables' traps do."""

import logging
import shutil

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lookalikes import (
    OASIS1_HEADER,
    OASIS2_HEADER,
    head,
    oasis1_row,
    oasis1_volume,
    write_nifti,
    write_oasis1,
    write_oasis2,
    write_rows,
)

from metafusion.config.load import validate
from metafusion.config.sources import Oasis1, Oasis2
from metafusion.config.volumes import Scan, dealt
from metafusion.errors import UserError
from metafusion.files import read_table
from metafusion.preprocess import mri
from metafusion.sources import oasis1, oasis2

COARSE = {"resolution": 6.0, "parcels": 4}
REPEAT = "not the first scan or visit of the person"


def prepared(source, science, folder):
    """Preprocess every chunk and return the folders by unit."""
    done = {}
    for unit, chunks in source.chunks.items():
        done[unit] = [folder / unit / chunk for chunk in chunks]
        for chunk, place in zip(chunks, done[unit], strict=True):
            place.mkdir(parents=True)
            science.preprocess(source, unit, chunk, None, place)
    return done


def out(assembled):
    """Return who is out, and why; samples that are in and these are all that was found."""
    rows = assembled.exclusions[assembled.exclusions["modality"] == ""]
    assert rows["sample"].is_unique
    assert not set(rows["sample"]) & set(assembled.samples["sample"])
    return dict(zip(rows["sample"], rows["reason"], strict=True))


def lacking(assembled, modality):
    rows = assembled.exclusions[assembled.exclusions["modality"] == modality]
    return dict(zip(rows["sample"], rows["reason"], strict=True))


# OASIS-1


@pytest.fixture(scope="module")
def first_oasis(tmp_path_factory):
    """The look-alike of OASIS-1 and its preprocessed volumes; not to be changed."""
    folder = tmp_path_factory.mktemp("oasis1")
    table = write_oasis1(folder / "data", each=1)
    source = Oasis1(kind="oasis1", folder=folder / "data", table=table, chunk_size=4, preprocessing=COARSE)
    with pytest.MonkeyPatch.context() as patch:
        # Pictures take half of the time and are tested elsewhere.
        patch.setattr(mri, "draw", lambda *_: None)
        return source, prepared(source, oasis1, folder / "done")


def with_changes(source, **changes):
    return type(source).model_validate(
        source.model_dump(exclude={"preprocessing"}) | {"preprocessing": COARSE} | changes
    )


def scan(number, again=1):
    return f"OAS1_{number:04d}_MR{again}"


def test_samples_of_oasis1_are_those_chosen_by_hand(first_oasis):
    source, folders = first_oasis
    found = oasis1.assemble(source, None, folders)
    targets = dict(zip(found.samples["sample"], found.samples["target"], strict=True))
    controls, patients = [1, 92], [2, 3, 93, 95]
    expected = {scan(number): "control" for number in controls} | {scan(number): "impaired" for number in patients}
    assert targets == expected
    assert out(found) == {
        scan(91, 2): REPEAT,
        scan(92, 2): REPEAT,
        scan(94): "no row in the table",
        scan(91): "no label",
    }
    assert list(dict.fromkeys(out(found).values())) == [REPEAT, "no row in the table", "no label"]
    assert lacking(found, "t1w") == {scan(93): "no T1w volume", scan(95): "MRI file is truncated or corrupt"}
    assert len(found.exclusions) == 6
    assert set(found.features) == {"t1w", "clinical", "mri_table"}
    assert not any(column.casefold().startswith(("cdr", "mmse")) for t in found.features.values() for column in t)


def test_a_sample_without_a_required_volume_is_out(first_oasis):
    source, folders = first_oasis
    found = oasis1.assemble(with_changes(source, require=["t1w"]), None, folders)
    assert set(found.samples["sample"]) == {scan(number) for number in (1, 2, 3, 92)}
    assert out(found)[scan(93)] == "no T1w volume"
    assert lacking(found, "t1w") == {}


def test_volumes_in_nifti_give_what_the_analyze_pairs_give(first_oasis, tmp_path):
    source, folders = first_oasis
    expected = pd.concat([read_table(folder / "features.parquet") for folder in folders["t1w"]]).set_index("sample")
    for number, atrophy in ((1, 0.0), (2, 0.5)):
        write_nifti(head(number, atrophy), tmp_path / "nifti" / f"{scan(number)}.nii.gz")
    changed = with_changes(source, folder=tmp_path / "nifti", volumes="*.nii.gz", chunk_size=10)
    place = tmp_path / "done"
    place.mkdir()
    oasis1.preprocess(changed, "t1w", "000", None, place)
    assert {path.name for path in place.glob("*.nii.gz")} == {f"{scan(1)}_T1w.nii.gz", f"{scan(2)}_T1w.nii.gz"}
    found = read_table(place / "features.parquet").set_index("sample")
    assert list(found.index) == [scan(1), scan(2)]
    # Without an origin the pairs are brought onto the template.
    for sample in found.index:
        assert found.loc[sample].corr(expected.loc[sample]) > 0.97


# The table, without volumes


@pytest.fixture
def table_of(tmp_path):
    """Return a function that writes rows as a table of OASIS-1 and returns a source without volumes."""

    def make(rows, header=OASIS1_HEADER, **options):
        write_rows(tmp_path / "oasis.csv", header, rows, "N/A")
        return Oasis1(kind="oasis1", table=tmp_path / "oasis.csv", **options)

    return make


def assembled(source, science, folder):
    shutil.rmtree(folder, ignore_errors=True)
    return science.assemble(source, None, prepared(source, science, folder))


ROWS = [oasis1_row(scan(number), cdr, number) for number, cdr in enumerate([0.0, 0.5, 1.0, 2.0, None], start=1)]


@settings(max_examples=5)
@given(header=st.permutations(OASIS1_HEADER))
def test_the_order_of_the_columns_does_not_matter(tmp_path_factory, header):
    tables = []
    for order in (OASIS1_HEADER, header):
        folder = tmp_path_factory.mktemp("order")
        write_rows(folder / "oasis.csv", order, ROWS, "N/A")
        assert (folder / "oasis.csv").read_bytes().startswith(b"\xef\xbb\xbf")
        tables.append(assembled(Oasis1(kind="oasis1", table=folder / "oasis.csv"), oasis1, folder / "done"))
    pd.testing.assert_frame_equal(tables[0].samples, tables[1].samples)
    for modality, features in tables[0].features.items():
        pd.testing.assert_frame_equal(features, tables[1].features[modality])


def test_features_are_those_of_the_table(table_of, tmp_path):
    found = assembled(table_of(ROWS, clinical=["age", "sex", "hand", "educ", "ses"]), oasis1, tmp_path / "done")
    clinical = found.features["clinical"].set_index("sample")
    assert list(clinical) == ["age", "sex=F", "sex=M", "hand=R", "educ", "ses"]
    assert clinical.loc[scan(1)].tolist() == [71, 0, 1, 1, 2, 2]
    assert clinical.loc[scan(2), ["age", "sex=F", "educ"]].tolist() == [72, 1, 3]
    assert clinical["ses"].isna().tolist() == [False, True, True, True]
    mri = found.features["mri_table"].set_index("sample")
    assert list(mri) == ["etiv", "nwbv", "asf"]
    assert mri.loc[scan(3)].tolist() == pytest.approx([1403, 0.747, 1.2])
    assert set(found.people) == {"sample", "age", "sex", "educ", "ses", "mmse", "cdr"}


def test_classes_of_the_cdr(table_of, tmp_path):
    found = assembled(table_of(ROWS, label="cdr"), oasis1, tmp_path / "done")
    assert found.samples["target"].tolist() == ["0", "0.5", "1+", "1+"]
    assert out(found) == {scan(5): "no label"}


def test_repeat_scans_are_the_same_person(table_of, tmp_path):
    rows = [*ROWS, oasis1_row(scan(1, 2), 0.0, 1)]
    first = assembled(table_of(rows), oasis1, tmp_path / "done")
    both = assembled(table_of(rows, scans="all"), oasis1, tmp_path / "done")
    assert out(first)[scan(1, 2)] == REPEAT
    assert scan(1, 2) not in out(both)
    subjects = both.samples.set_index("sample")["subject"]
    assert subjects[scan(1)] == subjects[scan(1, 2)] == "OAS1_0001"


def test_mmse_is_a_feature_only_if_asked_for_and_the_log_says_what_it_is(table_of, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "metafusion"):
        without = assembled(table_of(ROWS), oasis1, tmp_path / "done")
        assert "mmse" not in caplog.text
        having = assembled(table_of(ROWS, clinical=["age", "mmse"]), oasis1, tmp_path / "done")
    assert "mmse" not in without.features["clinical"]
    assert having.features["clinical"]["mmse"].tolist() == [29, 26, 23, 17]
    assert "says nearly what the label says" in caplog.text


def test_the_account_of_the_data_is_told_of_mmse(table_of):
    assert table_of(ROWS, clinical=["age", "mmse"]).label_proxies == {"clinical": ["mmse"]}
    assert table_of(ROWS).label_proxies == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clinical": ["age", "CDR"]}, ["clinical", "is the label", "remove"]),
        ({"mri_table": ["cdr"]}, ["mri_table", "is the label"]),
        ({"clinical": ["eTIV"]}, ["'eTIV'", "not clinical", "mri_table"]),
        ({"clinical": ["age", "age"]}, ["once"]),
        ({"clinical": ["weight"]}, ["clinical", "weight"]),
        ({"clinical": [], "mri_table": []}, ["no modality"]),
        ({"require": ["t1w"]}, ["require", "no modality 't1w'"]),
        ({"folder": "data", "volumes": "../x/*.img"}, ["leads out of the folder"]),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(changes, words):
    with pytest.raises(UserError) as error:
        validate(Oasis1, {"kind": "oasis1", "table": "oasis.csv"} | changes, "mine.yaml")
    for word in ["mine.yaml", *words]:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"CDR": 5}, ["'CDR', row 3", "5", "0 to 3", "decimal points"]),
        ({"CDR": 1.5}, ["'CDR', row 3", "1.5 is no CDR", "0, 0.5, 1, 2, 3"]),
        ({"nWBV": 743}, ["'nWBV', row 3", "743", "decimal points"]),
        ({"ID": "OAS2_0001_MR1"}, ["'ID', row 3", "OAS2_0001_MR1", "such as OAS1_0001_MR1"]),
        ({"ID": "N/A"}, ["'ID', row 3", "nothing"]),
        ({"ID": scan(1)}, ["twice", scan(1), "one row a scan"]),
    ],
)
def test_a_damaged_row_is_named(table_of, tmp_path, changes, words):
    rows = [ROWS[0], ROWS[1] | changes, *ROWS[2:]]
    with pytest.raises(UserError) as error:
        assembled(table_of(rows), oasis1, tmp_path / "done")
    for word in ["oasis.csv", *words]:
        assert word in str(error.value)


def test_an_absent_column_is_named(table_of, tmp_path):
    header = [name for name in OASIS1_HEADER if name != "SES"]
    with pytest.raises(UserError, match=r"oasis\.csv: no column 'SES' \(ses of oasis1\)"):
        assembled(table_of(ROWS, header), oasis1, tmp_path / "done")
    # Nobody needs the MMSE.
    header = [name for name in OASIS1_HEADER if name != "MMSE"]
    assert "mmse" not in assembled(table_of(ROWS, header), oasis1, tmp_path / "done").people


def test_a_table_without_any_label_is_refused(table_of, tmp_path):
    with pytest.raises(UserError, match=r"oasis\.csv: column 'CDR'.*no row has a value"):
        assembled(table_of([oasis1_row(scan(1), None, 1)], clinical=["age"]), oasis1, tmp_path / "done")


# OASIS-2


@pytest.fixture(scope="module")
def second_oasis(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oasis2")
    return Oasis2(kind="oasis2", folder=folder, table=write_oasis2(folder), preprocessing=COARSE)


def tables_alone(source, **changes):
    return with_changes(source, folder=None, **changes)


def visit(number, which):
    return f"OAS2_{number:04d}_MR{which}"


def test_the_first_visit_is_used_of_each_subject(second_oasis, tmp_path):
    found = assembled(tables_alone(second_oasis), oasis2, tmp_path / "done")
    assert found.samples["sample"].tolist() == [visit(number, 1) for number in range(1, 8)]
    assert found.samples["target"].tolist() == ["control"] * 3 + ["impaired"] * 3 + ["control"]
    assert out(found) == {visit(number, 3 if number == 2 else 2): REPEAT for number in range(1, 8)}


def test_all_visits_of_a_subject_stay_together(second_oasis, tmp_path):
    found = assembled(tables_alone(second_oasis, visits="all"), oasis2, tmp_path / "done")
    assert len(found.samples) == 14
    assert found.samples["subject"].nunique() == 7
    assert found.samples["session"].tolist()[:4] == ["MR1", "MR2", "MR1", "MR3"]
    targets = found.samples.set_index("sample")["target"]
    assert (targets[visit(7, 1)], targets[visit(7, 2)]) == ("control", "impaired")


def test_the_group_as_label_is_said_to_look_ahead(second_oasis, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "metafusion"):
        found = assembled(tables_alone(second_oasis, label="group"), oasis2, tmp_path / "done")
    assert found.samples["target"].tolist() == ["Nondemented"] * 3 + ["Demented"] * 3 + ["Converted"]
    assert "looks ahead" in caplog.text


def test_a_scan_of_another_subject_is_refused(tmp_path):
    table = write_oasis2(tmp_path, each=1)
    table.write_text(
        table.read_text(encoding="utf-8-sig").replace("OAS2_0001,OAS2_0001_MR2", "OAS2_0002,OAS2_0001_MR2")
    )
    with pytest.raises(UserError, match=r"row 3: .*'OAS2_0001_MR2'.*'OAS2_0002'; expected 'OAS2_0001'"):
        assembled(Oasis2(kind="oasis2", table=table), oasis2, tmp_path / "done")


def test_raw_pairs_are_listed_by_visit(second_oasis):
    (listing,) = second_oasis.listings.values()
    assert [scan.sample for scan in listing.scans] == [visit(number, 1) for number in range(1, 8)]
    assert len(listing.unwanted) == 6
    everything = with_changes(second_oasis, visits="all")
    assert len(everything.listings["t1w"].scans) == 13
    assert {scan.path.name for scan in everything.listings["t1w"].scans} == {"mpr-1.nifti.hdr"}
    files = everything.inputs_of("t1w", everything.chunks["t1w"][0])
    assert {file.name for file in files} == {"mpr-1.nifti.hdr", "mpr-1.nifti.img"}


def test_the_header_of_oasis2_has_the_real_names():
    assert {"Subject ID", "MRI ID", "Group", "Visit", "EDUC", "CDR"} <= set(OASIS2_HEADER)


# Planning


def test_a_missing_folder_is_named(tmp_path):
    source = Oasis1(kind="oasis1", folder=tmp_path / "nowhere", table=tmp_path / "oasis.csv")
    with pytest.raises(UserError, match=r"nowhere: no such folder.*'folder'"):
        _ = source.chunks


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ([], ["the folder is empty"]),
        (["notes.txt"], ["it holds notes.txt", "no .nii.gz"]),
        (["disc1/OAS1_0001_MR1/RAW/OAS1_0001_MR1_mpr-1_anon.img"], ["disc1/", "1 other volumes", "mpr-1_anon.img"]),
    ],
)
def test_a_folder_without_volumes_says_what_was_looked_for_and_what_is_there(tmp_path, there, words):
    folder = tmp_path / "oasis"
    folder.mkdir()
    for name in there:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    with pytest.raises(UserError) as error:
        _ = Oasis1(kind="oasis1", folder=folder, table=tmp_path / "oasis.csv").chunks
    for word in ["no volume found", "OAS1_*_t88_masked_gfc.*", "'volumes'", *words]:
        assert word in str(error.value)


def test_two_volumes_of_a_scan_are_refused(tmp_path):
    path = oasis1_volume(tmp_path, scan(1))
    path.parent.mkdir(parents=True)
    for ending in (".hdr", ".img", ".nii.gz"):
        path.with_name(path.name + ending).touch()
    source = Oasis1(kind="oasis1", folder=tmp_path, table=tmp_path / "oasis.csv")
    with pytest.raises(UserError, match=rf"two volumes of {scan(1)}.*narrow"):
        _ = source.chunks
    assert list(with_changes(source, volumes="**/*_gfc.nii.gz").chunks["t1w"]) == ["000"]


@given(
    subjects=st.sets(st.integers(0, 10**6), min_size=1, max_size=60),
    chunk_size=st.integers(1, 9),
    newcomer=st.integers(10**6 + 1, 10**7),
)
@settings(max_examples=40)
def test_a_new_subject_changes_one_chunk(subjects, chunk_size, newcomer):
    def scans(names):
        return [Scan(f"{name}_MR{again}", str(name), "", None) for name in sorted(names) for again in (1, 2)]

    before = dealt(scans(subjects), len(subjects), chunk_size)
    after = dealt(scans(subjects | {newcomer}), len(subjects) + 1, chunk_size)
    assert len(before) * chunk_size >= len(subjects)
    assert len(before) == 1 or len(before) * chunk_size < 2 * len(subjects) + chunk_size
    assert len(before) & (len(before) - 1) == 0
    assert sorted(one.sample for chunk in before.values() for one in chunk) == sorted(s.sample for s in scans(subjects))
    for subject in map(str, subjects):
        assert sum(any(one.subject == subject for one in chunk) for chunk in before.values()) == 1
    if len(after) == len(before):
        changed = [name for name in before if before[name] != after[name]]
        assert len(changed) == 1


def test_chunks_are_the_same_on_every_machine():
    # sha256(b"OAS1_0001") ends in an even digit and sha256(b"OAS1_0003") in an odd one.
    import hashlib

    ends = {name: int(hashlib.sha256(name.encode()).hexdigest()[-1], 16) % 2 for name in ("OAS1_0001", "OAS1_0003")}
    chunks = dealt([Scan(name, name, "", None) for name in ends], 2, 1)
    assert {one.subject: int(chunk) for chunk, scans in chunks.items() for one in scans} == ends

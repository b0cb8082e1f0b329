"""The user's own tables: what is read, what is refused, and how samples and modalities are joined."""

import logging
import re
import tempfile
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metafusion.config.load import load_experiment
from metafusion.config.sources import Tables
from metafusion.errors import UserError
from metafusion.preprocess.tables import MISSING, column_names, read_user_table, typed_features
from metafusion.samples import Assembled
from metafusion.sources.tables import assemble, preprocess

ROOT = Path(__file__).parents[2]
SAMPLES = "id,diagnosis\n01,AD\n02,control\n03,AD\n"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def source_of(samples: Path, modalities: dict, **options: object) -> Tables:
    tables = {name: table if isinstance(table, dict) else {"file": table} for name, table in modalities.items()}
    return Tables.model_validate(
        {"kind": "tables", "samples": {"file": samples, "target": "diagnosis", **options}, "modalities": tables}
    )


def features_of(source: Tables, modality: str = "mri") -> pd.DataFrame:
    """Return the features of one modality, indexed by sample."""
    with tempfile.TemporaryDirectory() as folder:
        preprocess(source, modality, "all", None, Path(folder))
        features = pd.read_parquet(Path(folder) / "features.parquet")
    assert features.columns[0] == "sample"
    assert (features.dtypes.iloc[1:] == np.float32).all()
    return features.set_index("sample")


def assembled(source: Tables, folder: Path) -> Assembled:
    folders = {}
    for modality in source.modality_names:
        place = folder / "preprocessed" / modality
        place.mkdir(parents=True)
        preprocess(source, modality, "all", None, place)
        folders[modality] = [place]
    return assemble(source, None, folders)


@pytest.fixture
def mri(tmp_path):
    """Return a function that makes features of a CSV text, or of another file, with the samples 01, 02 and 03."""
    samples = write(tmp_path, "samples.csv", SAMPLES)

    def make(content: str | Path, name: str = "mri.csv", **options: object) -> pd.DataFrame:
        path = content if isinstance(content, Path) else write(tmp_path, name, content)
        return features_of(source_of(samples, {"mri": {"file": path, **options}}))

    return make


# Reading: encodings, separators, numbers


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_letters_are_read_in_every_usual_encoding(tmp_path, encoding):
    path = write(tmp_path, "t.csv", "id,größe\nJosé,1\n".encode(encoding))
    table = read_user_table(path, text=["id"])
    assert list(table) == ["id", "größe"]
    assert table["id"].tolist() == ["José"]


@pytest.mark.parametrize(
    ("name", "mark"), [("t.csv", ","), ("t.csv", ";"), ("t.csv", "\t"), ("t.tsv", "\t"), ("t.txt", "\t")]
)
def test_every_usual_separator_is_found(tmp_path, name, mark):
    path = write(tmp_path, name, "id,a,b\nx,1,2\ny,3,4\n".replace(",", mark))
    assert read_user_table(path, columns=["a", "b"]).to_numpy().tolist() == [[1, 2], [3, 4]]


def test_a_separator_inside_quotation_marks_is_part_of_the_cell(tmp_path):
    path = write(tmp_path, "t.csv", 'id,note\nx,"a;b;c, ""d""\nnext line"\ny,"e;f;g"\n')
    assert read_user_table(path)["note"].tolist() == ['a;b;c, "d"\nnext line', "e;f;g"]


def test_commas_inside_the_cells_do_not_make_the_comma_a_separator(tmp_path):
    path = write(tmp_path, "t.csv", "id;a;b\nx;1,5;2,5\ny;3,0;4\n")
    assert read_user_table(path, columns=["a", "b"]).to_numpy().tolist() == [[1.5, 2.5], [3, 4]]


def test_a_separator_that_cannot_be_told_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"t\.csv: the separator may be ',' and ';'.*\.tsv"):
        read_user_table(write(tmp_path, "t.csv", "a,b;c\n1,2;3\n"))


def test_a_file_of_one_column_needs_no_separator(tmp_path):
    assert read_user_table(write(tmp_path, "t.csv", "a\n1\n2\n"))["a"].tolist() == [1, 2]


def test_a_wide_table_is_read(tmp_path):
    width = 30_000
    names = [f"feature_{number}" for number in range(width)]
    path = write(tmp_path, "t.csv", f"id,{','.join(names)}\nx,{','.join('1' * width)}\n")
    assert column_names(path) == ["id", *names]
    assert read_user_table(path, columns=["id", names[-1]])[names[-1]].tolist() == [1]


def test_decimal_commas_and_points_in_one_table_are_refused(tmp_path):
    path = write(tmp_path, "t.csv", "id;a;b\nx;1,5;1.234\ny;3,0;2.000\n")
    with pytest.raises(UserError, match="'a' has decimal commas, column 'b' has points"):
        read_user_table(path)


def test_numbers_keep_every_digit(tmp_path):
    values = [0.1, 1e-300, 123456789.123456789, -2.5e17, 5e-324]
    path = write(tmp_path, "t.csv", "a\n" + "\n".join(map(repr, values)) + "\n+7\n.5\n3.\n")
    assert read_user_table(path)["a"].tolist() == [*values, 7, 0.5, 3]


def test_white_space_around_names_and_cells_does_not_count(tmp_path):
    path = write(tmp_path, "t.csv", " id , a \n x , 1 \n y , NA \n")
    table = read_user_table(path)
    assert list(table) == ["id", "a"]
    assert table["id"].tolist() == ["x", "y"]
    np.testing.assert_array_equal(table["a"], [1, np.nan])


def test_blank_rows_and_nameless_columns_are_left_out(tmp_path, caplog):
    path = write(tmp_path, "t.csv", ",id,a,\n0,x,1,\n\n,,,\n1,y,2,\n,,,\n")
    with caplog.at_level(logging.INFO, logger="metafusion"):
        table = read_user_table(path)
    assert table.to_numpy().tolist() == [["x", 1], ["y", 2]]
    assert "2 columns without a name are not used" in caplog.text


# Reading: missing values


@pytest.mark.parametrize("word", MISSING)
def test_the_usual_words_for_missing_are_missing(tmp_path, word):
    table = read_user_table(write(tmp_path, "t.csv", f'id,number,text\nx,"{word}","{word}"\ny,1,b\n'))
    assert table.isna().to_numpy().tolist() == [[False, True, True], [False, False, False]]


@pytest.mark.parametrize("word", ["none", "na", "missing", "-", "N.A.", "0", "-1"])
def test_other_words_are_not_missing(tmp_path, word):
    assert read_user_table(write(tmp_path, "t.csv", f"id,a\nx,{word}\ny,b\n")).notna().all(axis=None)


@pytest.mark.parametrize("cell", ["-4", "-4.0", "-4.00", " -4 ", "-4e0", "unknown"])
def test_codes_for_missing_are_compared_as_text_and_as_numbers(tmp_path, cell):
    path = write(tmp_path, "t.csv", f"id,number,text\nx,{cell},{cell}\ny,4,-4x\nz,-40,Unknown\n")
    table = read_user_table(path, missing=["-4", "unknown"])
    np.testing.assert_array_equal(table["number"], [np.nan, 4, -40])
    assert table["text"].isna().tolist() == [True, False, False]
    assert table["text"].tolist()[1:] == ["-4x", "Unknown"]


@pytest.mark.parametrize("kind", ["int64", "float64", "str", "category"])
def test_codes_for_missing_hold_in_parquet(tmp_path, kind):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": pd.Series([1, -4, 2]).astype(kind if kind != "category" else "str").astype(kind)}).to_parquet(
        path
    )
    assert read_user_table(path, missing=["-4.0"])["a"].isna().tolist() == [False, True, False]


def test_codes_for_missing_do_not_touch_the_ids(tmp_path):
    table = read_user_table(write(tmp_path, "t.csv", "id,a\n-4,-4\n1,1\n"), missing=["-4"], text=["id"])
    assert table["id"].tolist() == ["-4", "1"]


# Reading: what is refused


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
def test_an_empty_file_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=rf"{name}: the file is empty"):
        read_user_table(write(tmp_path, name, b""))


def test_a_file_of_blank_lines_is_refused(tmp_path):
    with pytest.raises(UserError, match="is empty"):
        read_user_table(write(tmp_path, "t.csv", "\n \n"))


@pytest.mark.parametrize("content", ["id,a", "id,a\n", "id,a\n\n,\n"])
def test_a_table_without_rows_is_refused(tmp_path, content):
    with pytest.raises(UserError, match=r"t\.csv: .*no rows"):
        read_user_table(write(tmp_path, "t.csv", content))


def test_a_parquet_table_without_rows_is_refused(tmp_path):
    pd.DataFrame({"id": pd.Series(dtype="str")}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"t\.parquet: .*no rows"):
        read_user_table(tmp_path / "t.parquet")


def test_a_missing_file_a_folder_and_a_spreadsheet_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"absent\.csv: no such file"):
        read_user_table(tmp_path / "absent.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match=r"folder\.csv: is a folder"):
        read_user_table(tmp_path / "folder.csv")
    with pytest.raises(UserError, match=r"t\.xlsx: .*save it as CSV"):
        read_user_table(write(tmp_path, "t.xlsx", b"PK\x03\x04"))
    with pytest.raises(UserError, match=r"t\.csv: is no text file.*save it as CSV"):
        read_user_table(write(tmp_path, "t.csv", b"PK\x03\x04\x14\x00\x06\x00"))


def test_a_damaged_parquet_file_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"id": ["x"] * 100, "a": np.arange(100.0)}).to_parquet(path)
    whole = path.read_bytes()
    for damaged in (whole[:200], whole[:-8] + b"\0" * 8, b"id,a\nx,1\n"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"t\.parquet: corrupt"):
            read_user_table(path)


def test_a_parquet_file_with_damaged_pages_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": np.random.default_rng(1).normal(size=2000)}).to_parquet(path)
    content = bytearray(path.read_bytes())
    content[4:120] = b"\xff" * 116
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"t\.parquet: corrupt"):
        read_user_table(path)


def test_columns_of_the_same_name_are_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"t\.csv: column names that stand more than once: 'a', 'b';"):
        read_user_table(write(tmp_path, "t.csv", "id,a,b, a,c,b\nx,1,2,3,4,5\n"))
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"t\.parquet: column names .*'a'"):
        read_user_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("row", ["y,3", "y,3,4,5"])
def test_a_row_with_too_few_or_too_many_cells_is_refused_by_its_number(tmp_path, row):
    with pytest.raises(UserError, match=rf"row 3 has {row.count(',') + 1} cells, the header has 3: '{row}'"):
        read_user_table(write(tmp_path, "t.csv", f"id,a,b\nx,1,2\n{row}\nz,5,6\n"))


def test_a_quotation_mark_that_is_not_closed_is_refused(tmp_path):
    with pytest.raises(UserError, match="quotation marks"):
        read_user_table(write(tmp_path, "t.csv", 'id,a,b\nx,1,2\n"y,3,4\nz,5,6\n'))


@pytest.mark.parametrize(
    ("cells", "faulty", "row"),
    [
        (["250"] * 18 + [">1700", "300"], ">1700", 20),
        (["250", "9.5", ">1700", "<8"] * 5, ">1700", 4),
        (['"1,234.5"', '"2,500.0"', "3"] * 5, "1,234.5", 2),
        (["250"] * 9 + ["pending"], "pending", 11),
    ],
)
def test_text_among_numbers_is_refused_with_row_and_cell(tmp_path, cells, faulty, row):
    path = write(tmp_path, "t.csv", "id,PTAU\n" + "".join(f"s{n},{cell}\n" for n, cell in enumerate(cells)))
    with pytest.raises(UserError, match=rf"t\.csv: column 'PTAU', row {row}: '{faulty}': expected a plain .*'missing'"):
        read_user_table(path)


@pytest.mark.parametrize(("cells", "row"), [(["250"] * 18 + ['"1,5"', "300"], 20), (['"1,5"', '"2,5"'] * 5, 2)])
def test_commas_in_numbers_are_told_with_what_to_write(tmp_path, cells, row):
    path = write(tmp_path, "t.csv", "id,PTAU\n" + "".join(f"s{n},{cell}\n" for n, cell in enumerate(cells)))
    with pytest.raises(UserError, match=rf"t\.csv: column 'PTAU', row {row}: '1,5' has a comma; .*write 1\.5 if it is"):
        read_user_table(path)


def test_text_among_few_numbers_is_text(tmp_path):
    cells = ["1", "2", "3", "mild", "severe"] * 4
    path = write(tmp_path, "t.csv", "a\n" + "\n".join(cells) + "\n")
    assert read_user_table(path)["a"].tolist() == cells


def test_age_bands_are_text(tmp_path):
    cells = ["<65", "65-74", ">=75"] * 4
    assert read_user_table(write(tmp_path, "t.csv", "a\n" + "\n".join(cells) + "\n"))["a"].tolist() == cells


def test_missing_codes_mend_text_among_numbers(tmp_path):
    path = write(tmp_path, "t.csv", "a\n" + "250\n" * 18 + ">1700\n")
    assert read_user_table(path, missing=[">1700"])["a"].notna().sum() == 18


def test_the_mistakes_of_columns_that_are_not_asked_for_do_no_harm(tmp_path):
    path = write(tmp_path, "t.csv", "id,a,b\n" + "x,1,2\n" * 20 + "y,>3,4\n")
    assert read_user_table(path, columns=["b"])["b"].sum() == 44


@pytest.mark.parametrize("day", ["2021-03-04", "2021-03-04 10:30:00", "3/4/2021", "04.03.2021", "2021/03/04"])
def test_dates_are_refused(tmp_path, day):
    with pytest.raises(UserError, match=r"column 'visit', row 2: .* is a date; turn it into a number"):
        read_user_table(write(tmp_path, "t.csv", f"id,visit\nx,{day}\ny,\n"))


@pytest.mark.parametrize("value", [datetime(2021, 3, 4), date(2021, 3, 4), pd.Timedelta("1h")])
def test_dates_in_parquet_are_refused(tmp_path, value):
    pd.DataFrame({"id": ["x"], "visit": [value]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"column 'visit' holds dates or times .*; turn it into a number"):
        read_user_table(tmp_path / "t.parquet")


def test_lists_in_parquet_are_refused(tmp_path):
    pd.DataFrame({"id": ["x"], "curve": [[1.0, 2.0]]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="column 'curve' holds list"):
        read_user_table(tmp_path / "t.parquet")


# Reading: ids


def test_ids_are_text_exactly_as_they_stand(tmp_path):
    table = read_user_table(write(tmp_path, "t.csv", "id,a\n007,1\n1.0,2\n1e3,3\nTRUE,4\n"), text=["id"])
    assert table["id"].tolist() == ["007", "1.0", "1e3", "TRUE"]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (pd.Series([7, 2**60 + 1]), ["7", "1152921504606846977"]),
        (pd.Series([7.0, 10.0]), ["7", "10"]),
        (pd.Series([7, 10], dtype="Int32"), ["7", "10"]),
        (pd.Series([1.5, 2.0]), ["1.5", "2"]),
        (pd.Series(["007", " 8 "]), ["007", "8"]),
        (pd.Series(["007", "8"], dtype="category"), ["007", "8"]),
    ],
)
def test_ids_of_parquet_become_their_text(tmp_path, ids, words):
    pd.DataFrame({"id": ids}).to_parquet(tmp_path / "t.parquet")
    assert read_user_table(tmp_path / "t.parquet", text=["id"])["id"].tolist() == words


def test_a_gap_in_float_ids_is_missing_and_the_others_are_integers(tmp_path):
    pd.DataFrame({"id": [1.0, np.nan, 3.0], "a": [1, 2, 3]}).to_parquet(tmp_path / "t.parquet")
    ids = read_user_table(tmp_path / "t.parquet", text=["id"])["id"]
    assert ids.tolist()[::2] == ["1", "3"]
    assert ids.isna().tolist() == [False, True, False]


# Reading: Parquet as CSV


def test_words_in_parquet_are_read_as_those_in_csv(tmp_path):
    table = pd.DataFrame({"a": ["1", "NA", " 2.5"], "b": ["yes", "n/a", "no"], "c": ["True", "false", ""]})
    table.to_parquet(tmp_path / "t.parquet")
    table.to_csv(tmp_path / "t.csv", index=False)
    pd.testing.assert_frame_equal(
        read_user_table(tmp_path / "t.parquet").reset_index(drop=True),
        read_user_table(tmp_path / "t.csv").reset_index(drop=True),
    )


def test_a_category_in_parquet_stays_text_though_it_looks_like_numbers(tmp_path):
    pd.DataFrame({"site": pd.Categorical(["1", "2", "1"])}).to_parquet(tmp_path / "t.parquet")
    assert read_user_table(tmp_path / "t.parquet")["site"].tolist() == ["1", "2", "1"]


def test_columns_of_parquet_are_found_with_white_space_and_points_in_their_names(tmp_path):
    pd.DataFrame({" a ": [1.0], "a.b": [2.0], "id": ["x"]}, index=[5]).to_parquet(tmp_path / "t.parquet")
    table = read_user_table(tmp_path / "t.parquet")
    assert list(table) == ["a", "a.b", "id"]
    assert read_user_table(tmp_path / "t.parquet", columns=["id", "a"]).to_numpy().tolist() == [["x", 1.0]]


# Features


@settings(deadline=None, max_examples=30)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 6), st.integers(1, 4)),
        elements=st.one_of(st.floats(-3e38, 3e38), st.just(np.nan), st.integers(-9, 9).map(float)),
    )
)
def test_csv_tsv_and_parquet_give_the_same_features(values):
    if np.isnan(values).all():
        values[0, 0] = 1.0
    columns = [f"x{number}" for number in range(values.shape[1])]
    table = pd.DataFrame(values, columns=columns)
    table.insert(0, "id", [f"{row:02d}" for row in range(len(table))])
    expected = values[:, ~np.isnan(values).all(axis=0)].astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table.to_csv(folder / "t.csv", index=False)
        table.to_csv(folder / "semicolon.csv", index=False, sep=";", decimal=",")
        table.to_csv(folder / "t.tsv", index=False, sep="\t", na_rep="n/a")
        table.to_parquet(folder / "t.parquet")
        for file in ("t.csv", "semicolon.csv", "t.tsv", "t.parquet"):
            features = features_of(source_of(folder / "absent.csv", {"mri": folder / file}))
            np.testing.assert_array_equal(features.to_numpy(), expected)
            assert features.index.tolist() == table["id"].tolist()


def test_text_becomes_one_column_a_level(mri):
    features = mri("id,APOE\n01,E3E4\n02,\n03,E3E3\n04,E3E4\n")
    assert list(features) == ["APOE=E3E3", "APOE=E3E4"]
    np.testing.assert_array_equal(features["APOE=E3E4"], [1, np.nan, 0, 1])
    np.testing.assert_array_equal(features["APOE=E3E3"], [0, np.nan, 1, 0])


def test_booleans_become_zero_and_one(mri, tmp_path):
    np.testing.assert_array_equal(mri("id,male\n01,TRUE\n02,false\n03,\n")["male"], [1, 0, np.nan])
    path = tmp_path / "b.parquet"
    pd.DataFrame({"id": ["01", "02", "03"], "male": pd.array([True, False, None], dtype="boolean")}).to_parquet(path)
    np.testing.assert_array_equal(mri(path)["male"], [1, 0, np.nan])


def test_a_text_column_with_too_many_levels_is_refused(mri):
    rows = "".join(f"{number:02d},word {number},1\n" for number in range(51))
    with pytest.raises(UserError, match=r"column 'note' is text of 51 different values, .*'drop'"):
        mri("id,note,a\n" + rows)
    assert list(mri("id,note,a\n" + rows, drop=["note"])) == ["a"]
    assert mri("id,note,a\n" + rows.replace("word 50", "word 49")).shape[1] == 51


@pytest.mark.parametrize("value", ["inf", "-Infinity", "1e999"])
def test_infinite_values_are_refused_with_column_and_row(mri, value):
    with pytest.raises(UserError, match=r"column 'b', row 3: -?inf is infinite; expected"):
        mri(f"id,a,b\n01,1,1\n02,2,{value}\n")


def test_values_too_large_for_float32_are_refused(mri):
    with pytest.raises(UserError, match=r"column 'a', row 2: 1e\+39 is too large"):
        mri("id,a\n01,1e39\n")


def test_infinite_values_in_parquet_are_refused(mri, tmp_path):
    pd.DataFrame({"id": ["01", "02"], "a": [1, -np.inf]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"column 'a', row 2: -inf is infinite"):
        mri(tmp_path / "t.parquet")


def test_columns_without_any_value_are_dropped_and_told(mri, caplog):
    with caplog.at_level(logging.INFO, logger="metafusion"):
        assert list(mri("id,a,b,c\n01,1,,NA\n02,2,-4,.\n", missing=["-4"])) == ["a"]
    assert "2 columns without any value are dropped: b, c" in caplog.text


def test_a_table_without_feature_columns_is_refused(mri):
    with pytest.raises(UserError, match=r"mri\.csv: modality mri has no feature column"):
        mri("id\n01\n")
    with pytest.raises(UserError, match="no feature column"):
        mri("id,a\n01,1\n", drop=["a"])
    with pytest.raises(UserError, match="no column with values is left"):
        mri("id,a\n01,NA\n")


def test_only_the_requested_columns_become_features(mri):
    content = "id,a,b,c\n01,1,2,x\n02,3,4,y\n"
    assert list(mri(content, columns=["c", "a"])) == ["c=x", "c=y", "a"]
    assert list(mri(content, drop=["c"])) == ["a", "b"]


@pytest.mark.parametrize("setting", ["columns", "drop"])
def test_an_unknown_column_is_refused_with_a_suggestion(mri, setting):
    with pytest.raises(
        UserError, match=rf"no column 'hipocampus' \({setting} of modality mri\); did you mean 'hippocampus'"
    ):
        mri("id,hippocampus\n01,1\n", **{setting: ["hipocampus"]})


def test_an_unknown_id_is_refused_with_a_suggestion(mri):
    with pytest.raises(UserError, match=r"no column 'id' \(id of modality mri\); did you mean 'ID'"):
        mri("ID,a\n01,1\n")


def test_an_unknown_column_of_a_wide_table_does_not_list_all(mri):
    names = ",".join(f"roi_{number}" for number in range(500))
    with pytest.raises(UserError, match=r"did you mean 'roi_.*501 columns") as error:
        mri(f"id,{names}\n01{',1' * 500}\n", columns=["roi_500"])
    assert len(str(error.value)) < 400


def test_ids_that_stand_twice_are_refused_and_listed(mri):
    with pytest.raises(UserError, match=r"mri\.csv: .*'02' \(2 rows\), '01' \(3 rows\); aggregate"):
        mri("id,a\n02,1\n01,1\n01,2\n02,3\n01,4\n03,1\n")


def test_a_row_without_an_id_is_refused(mri):
    with pytest.raises(UserError, match=r"mri\.csv: column 'id' \(id\) has no value in row 3"):
        mri("id,a\n01,1\n,2\n")


def test_features_of_the_same_name_are_refused(mri):
    with pytest.raises(UserError, match="two features would be called 'a=x'"):
        mri("id,a,a=x\n01,x,1\n02,y,2\n")
    with pytest.raises(UserError, match="must not be called 'sample'"):
        mri("id,sample\n01,1\n")


ONE_FILE = "id,person,official,diagnosis,age,sex\n01,p1,train,AD,70,F\n02,p2,test,control,60,M\n03,p1,train,AD,65,F\n"


def test_id_target_subject_and_part_are_no_features(tmp_path):
    path = write(tmp_path, "all.csv", ONE_FILE)
    source = source_of(path, {"mri": path}, subject="person", part="official")
    assert list(features_of(source)) == ["age", "sex=F", "sex=M"]


@pytest.mark.parametrize(("column", "role"), [("diagnosis", "target"), ("person", "subject"), ("official", "part")])
def test_asking_for_the_target_as_a_feature_is_refused(tmp_path, column, role):
    path = write(tmp_path, "all.csv", ONE_FILE)
    source = source_of(path, {"mri": {"file": path, "columns": ["age", column]}}, subject="person", part="official")
    with pytest.raises(UserError, match=f"'{column}' is the {role} of the sample table and cannot be a feature"):
        features_of(source)


def test_a_copy_of_the_target_in_another_file_is_no_feature(mri, caplog):
    with caplog.at_level(logging.INFO, logger="metafusion"):
        assert list(mri("id,a,diagnosis\n01,1,AD\n02,2,control\n")) == ["a"]
    assert "'diagnosis' is the target of the sample table and no feature" in caplog.text


def test_the_target_under_a_name_in_other_letters_is_refused_unless_it_is_dropped(tmp_path):
    people = write(tmp_path, "people.csv", "id,diagnosis\n01,AD\n02,control\n")
    file = write(tmp_path, "mri.csv", "id,a,Diagnosis\n01,1,AD\n02,2,control\n")
    with pytest.raises(UserError, match=r"mri\.csv: modality mri: column 'Diagnosis' may be the target .*'drop'"):
        features_of(source_of(people, {"mri": file}))
    assert list(features_of(source_of(people, {"mri": {"file": file, "drop": ["Diagnosis"]}}))) == ["a"]
    assert list(features_of(source_of(people, {"mri": {"file": file, "columns": ["a"]}}))) == ["a"]


def test_preprocessing_twice_gives_the_same_bytes(tmp_path):
    path = write(tmp_path, "all.csv", ONE_FILE)
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        preprocess(source_of(path, {"mri": path}), "mri", "all", None, tmp_path / folder)
    first, second = (tmp_path / folder / "features.parquet" for folder in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


# Samples


def test_a_sample_without_a_subject_column_is_its_own_subject(tmp_path):
    samples = write(tmp_path, "samples.csv", SAMPLES)
    result = assembled(source_of(samples, {"mri": write(tmp_path, "mri.csv", "id,a\n03,3\n01,1\n02,2\n")}), tmp_path)
    assert result.samples.to_dict("list") == {
        "sample": ["01", "02", "03"],
        "subject": ["01", "02", "03"],
        "target": ["AD", "control", "AD"],
    }
    assert result.features["mri"].to_dict("list") == {"sample": ["01", "02", "03"], "a": [1, 2, 3]}
    assert result.features["mri"]["a"].dtype == np.float32
    assert result.exclusions.empty
    assert list(result.exclusions) == ["sample", "subject", "modality", "reason"]


def test_subjects_and_official_parts_are_read(tmp_path):
    content = (
        "id,who,official,diagnosis\n1,7,Train,1\n2,7,VALID,2\n3,8,val,1\n4,8,Validation,2\n5,9,test,1\n6,9,n/a,2\n"
    )
    samples = write(tmp_path, "samples.csv", content)
    mri = write(tmp_path, "mri.csv", "id,a\n" + "".join(f"{number},{number}\n" for number in range(1, 7)))
    result = assembled(source_of(samples, {"mri": mri}, subject="who", part="official"), tmp_path).samples
    assert result["subject"].tolist() == ["7", "7", "8", "8", "9", "9"]
    assert result["given_part"].tolist()[:5] == ["train", "validation", "validation", "validation", "test"]
    assert result["given_part"].isna().tolist() == [False] * 5 + [True]


def test_an_unknown_part_is_refused(tmp_path):
    samples = write(tmp_path, "samples.csv", "id,diagnosis,official\n01,AD,train\n02,AD,holdout\n")
    source = source_of(samples, {"mri": write(tmp_path, "mri.csv", "id,a\n01,1\n")}, part="official")
    with pytest.raises(UserError, match=r"column 'official' \(part\), row 3: found 'holdout', expected train"):
        assembled(source, tmp_path)


@pytest.mark.parametrize(
    ("cells", "expected", "kind"),
    [
        (["1", "2.0", "NA"], [1, 2], "int64"),
        (["1.5", "2", "-4"], [1.5, 2.0], "float64"),
        (["true", "FALSE", "?"], ["true", "false"], "str"),
        (["AD", "1", "-4.0"], ["AD", "1"], "str"),
    ],
)
def test_targets_are_numbers_or_text_and_samples_without_one_are_out(tmp_path, cells, expected, kind):
    rows = "".join(f"0{number},{cell}\n" for number, cell in enumerate(cells, 1))
    samples = write(tmp_path, "samples.csv", "id,diagnosis\n" + rows)
    mri = write(tmp_path, "mri.csv", "id,a\n01,1\n02,2\n03,3\n")
    result = assembled(source_of(samples, {"mri": mri}, missing=["-4"]), tmp_path)
    assert result.samples["target"].tolist() == expected
    assert result.samples["target"].dtype == kind
    assert result.features["mri"]["sample"].tolist() == ["01", "02"]
    assert result.exclusions.to_numpy().tolist() == [["03", "03", "", "no target"]]


def test_an_infinite_target_is_refused(tmp_path):
    samples = write(tmp_path, "samples.csv", "id,diagnosis\n01,1\n02,inf\n")
    with pytest.raises(UserError, match=r"samples\.csv: column 'diagnosis' \(target\), row 3: the value is infinite"):
        assembled(source_of(samples, {"mri": write(tmp_path, "mri.csv", "id,a\n01,1\n")}), tmp_path)


def test_a_target_without_any_value_is_refused(tmp_path):
    samples = write(tmp_path, "samples.csv", "id,diagnosis\n01,\n02,NA\n")
    with pytest.raises(UserError, match=r"column 'diagnosis' \(target\) has no value in any row"):
        assembled(source_of(samples, {"mri": write(tmp_path, "mri.csv", "id,a\n01,1\n")}), tmp_path)


def test_samples_that_stand_twice_are_refused(tmp_path):
    samples = write(tmp_path, "samples.csv", "id,diagnosis\n01,AD\n02,AD\n01,AD\n")
    with pytest.raises(UserError, match=r"samples\.csv: column 'id' \(id\) must be unique, found '01' \(2 rows\)"):
        assembled(source_of(samples, {"mri": write(tmp_path, "mri.csv", "id,a\n01,1\n")}), tmp_path)


def test_a_sample_of_unknown_subject_is_refused(tmp_path):
    samples = write(tmp_path, "samples.csv", "id,who,diagnosis\n01,p1,AD\n02,,AD\n")
    source = source_of(samples, {"mri": write(tmp_path, "mri.csv", "id,a\n01,1\n02,2\n")}, subject="who")
    with pytest.raises(UserError, match=r"column 'who' \(subject\) has no value for 02"):
        assembled(source, tmp_path)


@pytest.mark.parametrize(("option", "column"), [("target", "diagnosi"), ("subject", "person"), ("part", "official")])
def test_an_unknown_column_of_the_sample_table_is_refused(tmp_path, option, column):
    source = source_of(
        write(tmp_path, "samples.csv", SAMPLES), {"mri": write(tmp_path, "mri.csv", "id,a\n01,1\n")}, **{option: column}
    )
    with pytest.raises(UserError, match=rf"samples\.csv: no column '{column}' \({option} of the samples\)"):
        assembled(source, tmp_path)


def test_one_column_in_two_roles_is_refused_unless_every_sample_is_a_subject(tmp_path):
    samples = write(tmp_path, "samples.csv", SAMPLES)
    mri = write(tmp_path, "mri.csv", "id,a\n01,1\n")
    assert len(assembled(source_of(samples, {"mri": mri}, subject="id"), tmp_path).samples) == 1
    with pytest.raises(UserError, match="must be different columns"):
        assemble(source_of(samples, {"mri": mri}, subject="diagnosis"), None, {})


# Joining


def test_exclusions_say_who_is_out_and_which_modality_is_absent(tmp_path):
    samples = write(tmp_path, "samples.csv", "id,who,diagnosis\n01,p1,AD\n02,p2,AD\n03,p3,\n04,p4,control\n05,p5,AD\n")
    mri = write(tmp_path, "mri.csv", "id,a\n01,1\n03,3\n02,2\n09,9\n")
    csf = write(tmp_path, "csf.csv", "code,b,c\n05,NA,NA\n01,1,2\n02,,\n")
    source = source_of(samples, {"mri": mri, "csf": {"file": csf, "id": "code"}}, subject="who")
    result = assembled(source, tmp_path)
    assert result.samples["sample"].tolist() == ["01", "02"]
    assert result.features["mri"]["sample"].tolist() == ["01", "02"]
    assert result.features["csf"].to_dict("list") == {"sample": ["01"], "b": [1], "c": [2]}
    assert result.exclusions.to_numpy().tolist() == [
        ["03", "p3", "", "no target"],
        ["04", "p4", "", "in no modality"],
        ["05", "p5", "", "in no modality"],
        ["02", "p2", "csf", f"no value in {csf}"],
        ["09", "", "mri", f"not in the sample table {samples}"],
    ]


def test_a_sample_without_a_row_is_kept_without_the_modality(tmp_path):
    samples = write(tmp_path, "samples.csv", SAMPLES)
    mri = write(tmp_path, "mri.csv", "id,a\n01,1\n02,2\n03,3\n")
    csf = write(tmp_path, "csf.csv", "id,b\n03,3\n01,1\n")
    result = assembled(source_of(samples, {"mri": mri, "csf": csf}), tmp_path)
    assert result.samples["sample"].tolist() == ["01", "02", "03"]
    assert result.features["csf"]["sample"].tolist() == ["01", "03"]
    assert result.exclusions.to_numpy().tolist() == [["02", "02", "csf", f"no row in {csf}"]]


def test_modalities_without_a_common_sample_are_refused_with_examples(tmp_path):
    samples = write(tmp_path, "samples.csv", SAMPLES)
    mri = write(tmp_path, "mri.csv", "id,a\nsub-01,1\nsub-02,2\n")
    with pytest.raises(
        UserError, match=r"mri\.csv \(such as 'sub-01', 'sub-02'\).*samples\.csv \(such as '01', '02', '03'\)"
    ):
        assembled(source_of(samples, {"mri": mri}), tmp_path)


def test_a_modality_of_samples_without_a_target_only_is_refused(tmp_path):
    samples = write(tmp_path, "samples.csv", "id,diagnosis\n01,AD\n02,\n")
    mri = write(tmp_path, "mri.csv", "id,a\n01,1\n")
    csf = write(tmp_path, "csf.csv", "id,b\n02,1\n")
    with pytest.raises(UserError, match=r"csf\.csv: modality csf has no value for any sample"):
        assembled(source_of(samples, {"mri": mri, "csf": csf}), tmp_path)


def test_integer_ids_of_parquet_meet_the_ids_of_csv(tmp_path):
    samples = write(tmp_path, "samples.csv", "id,diagnosis\n1,AD\n2,control\n")
    pd.DataFrame({"id": [2, 1], "a": [20, 10]}).to_parquet(tmp_path / "mri.parquet")
    result = assembled(source_of(samples, {"mri": tmp_path / "mri.parquet"}), tmp_path)
    assert result.features["mri"].to_dict("list") == {"sample": ["1", "2"], "a": [10, 20]}


def test_a_messy_clinical_export_is_read(tmp_path):
    """As exports are: a byte-order mark, semicolons, decimal commas, N/A, -4, other column orders, a blank last row."""
    samples = write(
        tmp_path,
        "visits.csv",
        b"\xef\xbb\xbfCDR;Subject ID;ID;split\r\n0,5;OAS2_1;001_MR1;train\r\n0;OAS2_1;001_MR2;train\r\n"
        b"N/A;OAS2_2;002_MR1;test\r\n-4;OAS2_3;003_MR1;\r\n1;OAS2_4;004_MR1;Test\r\n;;;\r\n",
    )
    clinical = write(
        tmp_path,
        "clinical.csv",
        b"\xef\xbb\xbfAge ;M/F;ID; SES;MMSE;delay\r\n74,5;F;001_MR1;-4;28;N/A\r\n75;F;001_MR2;2;-4,0;\r\n"
        b"N/A;N/A;004_MR1;3;25;-4\r\n",
    )
    volumes = write(tmp_path, "volumes.tsv", "hippocampus\tname\n3500.5\t004_MR1\nn/a\t001_MR1\n3100\t001_MR2\n")
    source = source_of(
        samples,
        {"clinical": {"file": clinical, "missing": ["-4"]}, "mri": {"file": volumes, "id": "name"}},
        id="ID",
        target="CDR",
        subject="Subject ID",
        part="split",
        missing=["-4"],
    )
    result = assembled(source, tmp_path)
    assert result.samples.to_dict("list") == {
        "sample": ["001_MR1", "001_MR2", "004_MR1"],
        "subject": ["OAS2_1", "OAS2_1", "OAS2_4"],
        "target": [0.5, 0.0, 1.0],
        "given_part": ["train", "train", "test"],
    }
    features = result.features["clinical"].set_index("sample")
    assert list(features) == ["Age", "M/F=F", "SES", "MMSE"]
    np.testing.assert_array_equal(
        features, np.array([[74.5, 1, np.nan, 28], [75, 1, 2, np.nan], [np.nan, np.nan, 3, 25]], dtype=np.float32)
    )
    assert result.features["mri"].to_dict("list") == {"sample": ["001_MR2", "004_MR1"], "hippocampus": [3100.0, 3500.5]}
    assert result.exclusions[["sample", "modality", "reason"]].to_numpy().tolist() == [
        ["002_MR1", "", "no target"],
        ["003_MR1", "", "no target"],
        ["001_MR1", "mri", f"no value in {volumes}"],
    ]


def test_the_documented_example_works(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "data" / "tables.md").read_text(encoding="utf-8")
    page = page.partition("## ADNI")[0]
    files = dict(re.findall(r"`(my/[\w.]+)`:\n\n```\w+\n(.*?)```", page, flags=re.DOTALL))
    assert sorted(files) == ["my/clinical.csv", "my/memory.yaml", "my/mri.csv", "my/samples.csv"]
    (tmp_path / "my").mkdir()
    for name, content in files.items():
        write(tmp_path, name, content)
    monkeypatch.chdir(tmp_path)
    result = assembled(load_experiment(Path("my/memory.yaml")).source, tmp_path)
    assert len(result.samples) == 5
    assert {name: table.shape for name, table in result.features.items()} == {"mri": (4, 5), "clinical": (5, 4)}
    rows = result.exclusions.fillna("").to_numpy().tolist()
    assert [f"| {' | '.join(row)} |".replace("|  |", "| |") in page for row in rows] == [True] * 3


@pytest.mark.parametrize("word", MISSING[1:])
def test_every_word_for_missing_is_documented(word):
    page = (ROOT / "docs" / "data" / "tables.md").read_text(encoding="utf-8")
    assert f"`{word}`" in page


# Types of columns


def account_of(source: Tables, modality: str = "mri") -> pd.DataFrame:
    """Return what the source says became of each column, by column."""
    with tempfile.TemporaryDirectory() as folder:
        preprocess(source, modality, "all", None, Path(folder))
        account = pd.read_csv(Path(folder) / "columns.tsv", sep="\t", keep_default_na=False)
    assert (account["modality"] == modality).all()
    return account.drop(columns="modality").set_index("column")


TYPED = "id,score,severity,site,male,none\n01,1.5,mild,3,true,\n02,,severe,11,false,\n03,4,,3,,\n04,2,absent,,true,\n"


def test_numbers_become_categories_where_the_configuration_says_so(mri):
    features = mri(TYPED, columns=["site"], types={"site": "categorical"})
    assert list(features) == ["site=3", "site=11"]
    np.testing.assert_array_equal(features["site=3"], [1, 0, 1, np.nan])
    np.testing.assert_array_equal(features["site=11"], [0, 1, 0, np.nan])


def test_ordinal_words_become_their_places(mri):
    order = ["absent", "mild", "moderate", "severe"]
    features = mri(TYPED, columns=["severity"], levels={"severity": order})
    np.testing.assert_array_equal(features["severity"], [1, 3, np.nan, 0])


def test_ordinal_numbers_stay_numbers_unless_they_have_levels(mri):
    np.testing.assert_array_equal(mri(TYPED, columns=["site"], types={"site": "ordinal"})["site"], [3, 11, 3, np.nan])
    np.testing.assert_array_equal(
        mri(TYPED, columns=["site"], levels={"site": ["11", "3.0"]})["site"], [1, 0, 1, np.nan]
    )


def test_levels_of_a_category_are_features_even_where_nobody_has_them(mri):
    levels = {"severity": ["severe", "moderate", "mild", "absent"]}
    features = mri(TYPED, columns=["severity"], types={"severity": "categorical"}, levels=levels)
    assert list(features) == ["severity=severe", "severity=moderate", "severity=mild", "severity=absent"]
    np.testing.assert_array_equal(features["severity=moderate"], [0, 0, np.nan, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"types": {"severity": "numeric"}}, r"'severity', row 2: 'mild'; expected numbers, as its type is numeric"),
        ({"types": {"severity": "ordinal"}}, r"'severity' is ordinal and holds words .*write 'levels: \{severity"),
        (
            {"levels": {"severity": ["mild", "severe"]}},
            r"'severity', row 5: found 'absent', expected one of its levels mild, severe; add it",
        ),
        ({"levels": {"site": ["3", "4"]}}, r"'site', row 3: found '11', expected one of its levels 3, 4"),
        ({"types": {"sevrity": "ordinal"}}, r"no column 'sevrity' \(types of modality mri\); did you mean 'severity'"),
        ({"drop": ["site"], "types": {"site": "ordinal"}}, r"types of modality mri: 'site' is no feature column"),
        ({"missing_by_column": {"id": ["9"]}}, r"missing_by_column of modality mri: 'id' is no feature column"),
    ],
)
def test_types_and_levels_that_do_not_fit_the_column_are_refused(mri, options, message):
    with pytest.raises(UserError, match=r"mri\.csv.*" + message):
        mri(TYPED, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"types": {"a": "nominal"}}, "types.a: Input should be 'numeric', 'ordinal' or 'categorical'"),
        ({"types": {"a": "numeric"}, "levels": {"a": ["x", "y"]}}, "'a' is numeric; remove its levels"),
        ({"levels": {"a": ["x", "x"]}}, "a: expected two levels or more, each once, found"),
        ({"levels": {"a": ["x"]}}, "a: expected two levels or more"),
    ],
)
def test_types_and_levels_that_make_no_sense_are_refused_at_once(tmp_path, options, message):
    path = tmp_path / "e.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "title": "t",
                "task": "classification",
                "source": {
                    "kind": "tables",
                    "samples": {"file": "s.csv", "target": "y"},
                    "modalities": {"mri": {"file": "m.csv", **options}},
                },
                "representations": {"mri": ["raw"]},
            }
        )
    )
    with pytest.raises(UserError, match=message):
        load_experiment(path)


def test_the_account_says_what_became_of_each_column(tmp_path):
    samples, path = write(tmp_path, "samples.csv", SAMPLES), write(tmp_path, "mri.csv", TYPED)
    order = ["absent", "mild", "severe"]
    source = source_of(
        samples, {"mri": {"file": path, "levels": {"severity": order}, "types": {"site": "categorical"}}}
    )
    account = account_of(source)
    assert account.index.tolist() == ["score", "severity", "site", "male", "none"]
    assert account["type"].tolist() == ["numeric", "ordinal", "categorical", "numeric", "numeric"]
    assert account["origin"].tolist() == ["inferred", "given", "given", "inferred", "inferred"]
    assert account["features"].tolist() == [1, 1, 2, 1, 0]
    assert account["missing"].tolist() == [1, 1, 1, 1, 4]
    assert account["levels"].tolist() == ["", "absent|mild|severe", "3|11", "", ""]


def test_inferred_types_and_numbers_that_may_be_codes_are_told(mri, caplog):
    rows = "".join(f"{number:02d},{number % 3},{number % 2},{number / 8},w{number % 2}\n" for number in range(12))
    with caplog.at_level(logging.INFO, logger="metafusion"):
        mri("id,stage,flag,score,word\n" + rows)
    assert "3 columns inferred to be numeric: stage, flag, score" in caplog.text
    assert "1 columns inferred to be categorical: word" in caplog.text
    assert "whole numbers and are taken for quantities: stage; if they are codes" in caplog.text


def test_missing_indicators_say_where_the_gaps_are(mri):
    content = "id,a,b,c\n01,1,x,1\n02,,y,2\n03,3,,3\n"
    features = mri(content, missing_indicators=True)
    assert list(features) == ["a", "a is missing", "b=x", "b=y", "b is missing", "c"]
    np.testing.assert_array_equal(features["a is missing"], [0, 1, 0])
    np.testing.assert_array_equal(features["b is missing"], [0, 0, 1])
    assert list(mri(content)) == ["a", "b=x", "b=y", "c"]


def test_a_row_without_values_lacks_the_modality_with_indicators_too(tmp_path):
    samples = write(tmp_path, "samples.csv", SAMPLES)
    path = write(tmp_path, "mri.csv", "id,a,b\n01,1,\n02,,\n03,,3\n")
    result = assembled(source_of(samples, {"mri": {"file": path, "missing_indicators": True}}), tmp_path)
    assert result.features["mri"]["sample"].tolist() == ["01", "03"]
    assert result.features["mri"]["a is missing"].tolist() == [0, 1]


def test_codes_of_one_column_are_values_in_the_others(mri):
    content = "id,mmse,age,word\n01,88,88,x\n02,30,-4,z\n03,-4.0,70,z\n"
    features = mri(content, missing=["-4"], missing_by_column={"mmse": ["88"], "word": ["x"]})
    np.testing.assert_array_equal(features["mmse"], [np.nan, 30, np.nan])
    np.testing.assert_array_equal(features["age"], [88, np.nan, 70])
    assert list(features) == ["mmse", "age", "word=z"]
    np.testing.assert_array_equal(features["word=z"], [np.nan, 1, 1])


def test_codes_of_a_column_hold_in_files_with_decimal_commas(tmp_path):
    path = write(tmp_path, "t.csv", "id;a;b\n1;0,5;8\n2;8,0;x\n3;9;8,0\n")
    table = read_user_table(path, ["9"], missing_by_column={"a": ["8"], "b": ["x"]})
    np.testing.assert_array_equal(table["a"], [0.5, np.nan, np.nan])
    np.testing.assert_array_equal(table["b"], [8, np.nan, 8])


@given(
    cells=st.lists(st.sampled_from(["low", "mid", "high", ""]), min_size=2, max_size=8).filter(lambda c: any(c)),
    indicators=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_categories_and_places_tell_the_same(cells, indicators):
    """The place of the only 1 among the categories is the ordinal's value, and gaps are gaps in both."""
    table = pd.DataFrame({"a": pd.Series([cell or None for cell in cells], dtype="str"), "b": 1.0})
    order = ["low", "mid", "high"]
    places, _ = typed_features(table, {}, {"a": order}, "t.csv", indicators)
    levels, _ = typed_features(table, {"a": "categorical"}, {"a": order}, "t.csv", indicators)
    hot = levels[[f"a={word}" for word in order]].to_numpy()
    gaps = np.array([cell == "" for cell in cells])
    np.testing.assert_array_equal(np.isnan(hot), np.tile(gaps[:, None], 3))
    np.testing.assert_array_equal(np.isnan(places["a"]), gaps)
    np.testing.assert_array_equal(hot[~gaps].sum(axis=1), 1)
    np.testing.assert_array_equal(hot[~gaps].argmax(axis=1), places["a"].to_numpy()[~gaps])


# People


def test_people_are_described_beside_the_samples(tmp_path):
    samples = write(
        tmp_path,
        "samples.csv",
        "id,diagnosis,AGE,SEX,SITE,left\n03,AD,71.5,F,7,true\n01,AD,-4,M,8,false\n02,AD,66,NA,7,\n",
    )
    mri = write(tmp_path, "mri.csv", "id,a\n01,1\n02,2\n03,3\n")
    people = {"age": "AGE", "sex": "SEX", "site": "SITE", "left": "left"}
    result = assembled(source_of(samples, {"mri": mri}, people=people, missing_by_column={"AGE": ["-4"]}), tmp_path)
    assert list(result.people) == ["sample", "age", "sex", "site", "left"]
    assert result.people["sample"].tolist() == ["03", "01", "02"]
    np.testing.assert_array_equal(result.people["age"], [71.5, np.nan, 66])
    assert result.people["sex"].tolist()[:2] == ["F", "M"]
    assert result.people["sex"].isna().tolist() == [False, False, True]
    assert result.people["left"].tolist()[:2] == ["true", "false"]
    assert list(result.features) == ["mri"]


def test_people_may_be_a_list_of_columns(tmp_path):
    samples = write(tmp_path, "samples.csv", "id,diagnosis,age\n01,AD,70\n02,control,60\n")
    mri = write(tmp_path, "mri.csv", "id,a\n01,1\n02,2\n")
    assert assembled(source_of(samples, {"mri": mri}, people=["age"]), tmp_path).people.to_dict("list") == {
        "sample": ["01", "02"],
        "age": [70, 60],
    }


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"people": ["aage"]}, r"no column 'aage' \(people of the samples\)"),
        ({"missing_by_column": {"aage": ["9"]}}, r"no column 'aage' \(missing_by_column of the samples\)"),
    ],
)
def test_unknown_columns_of_people_are_refused(tmp_path, option, message):
    samples = write(tmp_path, "samples.csv", "id,diagnosis,age\n01,AD,70\n02,control,60\n")
    source = source_of(samples, {"mri": write(tmp_path, "mri.csv", "id,a\n01,1\n")}, **option)
    with pytest.raises(UserError, match=r"samples\.csv: " + message):
        assembled(source, tmp_path)


ADNI = """\
RID,VISCODE,EXAMDATE,DX,DX_bl,AGE,PTGENDER,PTEDUCAT,PTETHCAT,PTMARRY,APOE4,SITE,ABETA,TAU,PTAU,Ventricles,Hippocampus,\
WholeBrain,Entorhinal,Fusiform,MidTemp,ICV
2,bl,2005-09-08,CN,CN,74.3,Male,16,Not Hisp/Latino,Married,0,11,>1700,239.7,22.8,118233,8336,1229740,4177,165,279,198
2,m06,2006-03-06,CN,CN,74.3,Male,16,Not Hisp/Latino,Married,0,11,1650,240,23,118300,8330,1229000,4170,165,279,198
3,bl,2005-09-12,Dementia,AD,81.3,Male,18,Not Hisp/Latino,Married,1,11,741.5,239.7,<8,84599,5319,1129830,1791,155,184,192
4,bl,2005-11-08,MCI,LMCI,67.5,Female,10,Unknown,-4,,22,1501,153.1,13.3,39605,,1154980,3983,190,196,168
"""


def test_the_experiment_of_adni_takes_the_table_that_its_page_prepares(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "data" / "tables.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "adni").mkdir(parents=True)
    write(tmp_path / "data" / "adni", "ADNIMERGE.csv", ADNI)
    exec(re.search(r"```python\n(.*?)```", page, flags=re.DOTALL)[1], {})
    experiment = load_experiment(ROOT / "config/experiments/alzheimers_adnimerge.yaml")
    result = assembled(experiment.source, tmp_path)
    assert set(result.features) == set(experiment.representations)
    assert dict(zip(result.samples["sample"], result.samples["target"], strict=True)) == {
        "2": "CN",
        "3": "Dementia",
        "4": "MCI",
    }
    assert result.features["csf"]["ABETA"].tolist() == [1700, 741.5, 1501]
    assert result.features["csf"].loc[1, "PTAU"] == 8
    profile = result.features["profile"].set_index("sample")
    assert list(profile) == [
        *["AGE", "PTGENDER=Female", "PTGENDER=Male", "PTEDUCAT", "PTETHCAT=Not Hisp/Latino", "PTMARRY=Married", "APOE4"]
    ]
    assert np.isnan(profile.loc["4", "PTMARRY=Married"])
    assert list(result.features["mri"])[1:] == ADNI.splitlines()[0].split(",")[-7:]
    assert result.features["mri"].set_index("sample").loc["4"].isna().sum() == 1
    assert result.people["sex"].tolist() == ["Male", "Male", "Female"]
    assert set(experiment.subgroups) <= set(result.people)
    assert len(result.exclusions) == 0


def test_values_beyond_the_limits_of_adni_may_be_missing(mri):
    page = (ROOT / "docs" / "data" / "tables.md").read_text(encoding="utf-8")
    codes = yaml.safe_load(re.search(r"^ +(missing_by_column: \{ABETA.*)$", page, flags=re.MULTILINE)[1])
    content = "id,ABETA,TAU,PTAU\n01,>1700,<80,<8\n02,800,200,20\n"
    with pytest.raises(UserError, match=r"'ABETA', row 2: '>1700': expected a plain number"):
        mri(content)
    np.testing.assert_array_equal(mri(content, **codes), [[np.nan] * 3, [800, 200, 20]])

"""Artefacts: whole or not at all, the same bytes twice, and never misread."""

import errno
import os

import numpy as np
import pandas as pd
import pytest
from safetensors import SafetensorError

from metafusion import files
from metafusion.errors import UserError
from metafusion.files import (
    file_name,
    read_arrays,
    read_json,
    read_many,
    read_table,
    whole,
    write_arrays,
    write_json,
    write_table,
)

TABLE = pd.DataFrame({"sample": ["a", "b", "c"], "value": [1.5, np.nan, 3.0], "count": [1, 2, 3]})
ARRAYS = {"weights": np.arange(6, dtype=np.float32).reshape(2, 3), "seen": np.array([True, False])}


def everything_in(folder):
    return sorted(path.name for path in folder.iterdir())


def write_half(path, error):
    with whole(path) as unfinished:
        unfinished.write_text("half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_nothing(tmp_path, error):
    with pytest.raises(error):
        write_half(tmp_path / "out.txt", error)
    assert everything_in(tmp_path) == []


def test_an_interrupted_write_keeps_what_was_there_before(tmp_path):
    (tmp_path / "out.txt").write_text("before")
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "out.txt", RuntimeError)
    assert everything_in(tmp_path) == ["out.txt"]
    assert (tmp_path / "out.txt").read_text() == "before"


def test_nothing_is_at_the_target_before_all_is_written(tmp_path):
    with whole(tmp_path / "out.txt") as unfinished:
        unfinished.write_text("half")
        assert not (tmp_path / "out.txt").exists()
    assert everything_in(tmp_path) == ["out.txt"]


def half_written(*arguments, **options):
    """Stand in for a writer that fails after some bytes."""
    path = next(argument for argument in arguments if hasattr(argument, "write_bytes"))
    path.write_bytes(b"PAR1 and then the disk was full")
    raise OSError("no space left on device")


@pytest.mark.parametrize(
    ("writer", "name", "write", "content"),
    [
        ("pq.write_table", "out.parquet", write_table, TABLE),
        ("safetensors.numpy.save_file", "out.safetensors", write_arrays, ARRAYS),
    ],
)
def test_a_writer_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch, writer, name, write, content):
    monkeypatch.setattr(f"metafusion.files.{writer}", half_written)
    with pytest.raises(OSError, match="no space left"):
        write(content, tmp_path / name)
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "full; make room, then run again"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "full; make room, then run again"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "full; make room, then run again"),
        (OSError(errno.EROFS, "Read-only file system"), "read-only; make it writable"),
    ],
)
def test_a_disk_that_takes_no_more_is_said_in_words_that_name_the_file(tmp_path, error, said):
    with pytest.raises(UserError, match=rf"out\.txt: the disk.* is {said}"):
        write_half(tmp_path / "out.txt", error)
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), SafetensorError("another")])
def test_other_errors_of_writing_stay_what_they_are(tmp_path, error):
    with pytest.raises(type(error)) as raised:
        write_half(tmp_path / "out.txt", error)
    assert raised.value is error


def test_what_a_killed_process_left_goes_when_the_file_is_written_again(tmp_path):
    left = tmp_path / ".out.json.unfinished"
    left.mkdir()
    # As safetensors names its own temporary files.
    (left / ".tmpA1b2C3").write_bytes(b"half")
    write_json([1], tmp_path / "out.json")
    # As earlier versions of the library left it.
    (tmp_path / ".more.json.unfinished").write_bytes(b"half")
    write_json([2], tmp_path / "more.json")
    assert everything_in(tmp_path) == ["more.json", "out.json"]


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    steps = []
    for name in ("fsync", "replace"):
        done = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, name=name, done=done: (steps.append(name), done(*given)))
    write_json([1], tmp_path / "out.json")
    assert steps == ["fsync", "replace"]


def test_content_that_is_no_json_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_json({"a": object()}, tmp_path / "out.json")
    assert everything_in(tmp_path) == []


def test_folders_are_made_on_the_way(tmp_path):
    write_json([1], tmp_path / "deep" / "down" / "out.json")
    assert read_json(tmp_path / "deep" / "down" / "out.json") == [1]


@pytest.mark.parametrize("name", ["t.parquet", "t.tsv"])
def test_a_table_survives_its_file(tmp_path, name):
    write_table(TABLE, tmp_path / name)
    pd.testing.assert_frame_equal(read_table(tmp_path / name), TABLE, check_dtype=False)


def test_words_that_pandas_takes_for_missing_survive_a_tsv(tmp_path):
    table = pd.DataFrame({"name": ["NA", "null", "None", "nan"]})
    write_table(table, tmp_path / "t.tsv")
    assert read_table(tmp_path / "t.tsv")["name"].tolist() == ["NA", "null", "None", "nan"]


@pytest.mark.parametrize("name", ["t.parquet", "t.tsv"])
def test_the_index_of_a_table_is_not_written(tmp_path, name):
    write_table(TABLE.set_index(pd.Index([7, 8, 9], name="row")), tmp_path / name)
    assert list(read_table(tmp_path / name).columns) == ["sample", "value", "count"]


@pytest.mark.parametrize("name", ["t.parquet", "t.tsv"])
def test_some_columns_of_a_table_can_be_read(tmp_path, name):
    write_table(TABLE, tmp_path / name)
    assert list(read_table(tmp_path / name, ["sample", "count"]).columns) == ["sample", "count"]


def test_some_rows_of_a_parquet_can_be_read(tmp_path):
    write_table(TABLE, tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet", rows=("sample", pd.Series(["c", "a", "z"])))
    assert found["sample"].tolist() == ["a", "c"]


def test_many_tables_are_read_one_below_the_other(tmp_path):
    for name in ("one", "two"):
        write_table(TABLE.assign(block=name), tmp_path / f"{name}.parquet")
    found = read_many([str(tmp_path / "two.parquet"), str(tmp_path / "one.parquet")])
    assert found["block"].tolist() == ["two"] * 3 + ["one"] * 3
    assert found.index.tolist() == list(range(6))


def test_arrays_survive_their_file(tmp_path):
    write_arrays(ARRAYS, tmp_path / "a.safetensors")
    found = read_arrays(tmp_path / "a.safetensors")
    assert {name: (array.dtype, array.tolist()) for name, array in found.items()} == {
        name: (array.dtype, array.tolist()) for name, array in ARRAYS.items()
    }


@pytest.mark.parametrize("view", [np.s_[::2], np.s_[:, ::-1], np.s_[:, 1]])
def test_strided_arrays_survive_their_file(tmp_path, view):
    array = np.arange(24.0).reshape(6, 4)
    write_arrays({"view": array[view], "turned": array.T}, tmp_path / "a.safetensors")
    found = read_arrays(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(found["view"], array[view])
    np.testing.assert_array_equal(found["turned"], array.T)


def test_the_same_content_makes_the_same_bytes_whatever_its_order(tmp_path):
    write_arrays(ARRAYS, tmp_path / "1.safetensors")
    write_arrays(dict(reversed(ARRAYS.items())), tmp_path / "2.safetensors")
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()
    write_json({"a": 1, "b": 2}, tmp_path / "1.json")
    write_json({"b": 2, "a": 1}, tmp_path / "2.json")
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


@pytest.mark.parametrize("name", ["t.parquet", "t.tsv"])
def test_the_same_table_makes_the_same_bytes(tmp_path, name):
    write_table(TABLE, tmp_path / f"1{name}")
    write_table(TABLE.copy(), tmp_path / f"2{name}")
    assert (tmp_path / f"1{name}").read_bytes() == (tmp_path / f"2{name}").read_bytes()


READERS = {"x.parquet": read_table, "x.tsv": read_table, "x.safetensors": read_arrays, "x.json": read_json}
WRITERS = {
    "x.parquet": (write_table, TABLE),
    "x.safetensors": (write_arrays, ARRAYS),
    "x.json": (write_json, list(range(50))),
}


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(UserError, match=rf"{name}: no such file"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95])
def test_a_truncated_file_is_named_with_a_remedy(tmp_path, name, share):
    path = tmp_path / name
    write, content = WRITERS[name]
    write(content, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=rf"{name}: corrupt or truncated .* delete it and run again"):
        READERS[name](path)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_lacks_its_last_bytes_is_named(tmp_path, name):
    path = tmp_path / name
    write, content = WRITERS[name]
    write(content, path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(UserError, match=rf"{name}: corrupt or truncated"):
        READERS[name](path)


@pytest.mark.parametrize("name", READERS)
def test_a_file_of_other_content_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xfe\x81 no such thing" * 20)
    with pytest.raises(UserError, match=rf"{name}: corrupt or truncated"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("cut", [lambda content: content[:-1], lambda content: content[:9] + bytes(8) + content[17:]])
def test_a_tsv_that_is_cut_or_holds_zeros_is_named(tmp_path, cut):
    write_table(TABLE, tmp_path / "x.tsv")
    content = cut((tmp_path / "x.tsv").read_bytes())
    # pandas reads it as a table.
    (tmp_path / "x.tsv").write_bytes(content)
    assert len(pd.read_csv(tmp_path / "x.tsv", sep="\t"))
    with pytest.raises(UserError, match=r"x\.tsv: corrupt or truncated .* delete it and run again"):
        read_table(tmp_path / "x.tsv")


def test_an_empty_tsv_is_named(tmp_path):
    (tmp_path / "x.tsv").touch()
    with pytest.raises(UserError, match=r"x\.tsv: corrupt or truncated"):
        read_table(tmp_path / "x.tsv")


@pytest.mark.parametrize("words", ["../up", "a/b", "a" * 300, "a\nb", "..", "", "ü:ö", "a\0b", "$(x)"])
def test_words_of_people_become_names_of_files_in_the_folder(tmp_path, words):
    path = tmp_path / f"{file_name(words)}.svg"
    path.write_text("")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.parent == tmp_path


def test_words_that_differ_become_names_that_differ():
    words = ["a/b", "a_b", "a:b", "a" * 300, "a" * 301, "sex", "age at visit"]
    assert len({file_name(one) for one in words}) == len(words)
    assert [file_name(one) for one in words[-2:]] == ["sex", "age at visit"]


def test_no_reader_can_unpickle():
    assert not hasattr(files, "pickle")
    with pytest.raises(TypeError):
        read_arrays("x.safetensors", allow_pickle=True)


def test_ids_of_digits_stay_text_in_a_tsv(tmp_path):
    table = pd.DataFrame({"sample": ["007", "010"], "class": ["01", "true"], "head": ["64", "8_0"]})
    table["samples"] = [3, 4]
    write_table(table, tmp_path / "t.tsv")
    back = read_table(tmp_path / "t.tsv")
    assert list(back["sample"]) == ["007", "010"]
    assert list(back["class"]) == ["01", "true"]
    assert list(back["head"]) == ["64", "8_0"]
    assert list(back["samples"]) == [3, 4]

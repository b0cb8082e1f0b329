"""Configurations, tables and names broken at random: one clear refusal or a right result, never a traceback.

``METAFUSION_FUZZ=2000`` takes so many examples of each test, others in every run; see docs/provenance.md.
"""

import copy
import csv
import io
import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metafusion.config.bids import Bids
from metafusion.config.load import load_experiment, load_study, read_yaml, validate
from metafusion.config.models import Experiment
from metafusion.config.recordings import Recordings
from metafusion.config.sources import Tables
from metafusion.errors import UserError
from metafusion.samples import check
from metafusion.sources.tables import assemble, preprocess

ROOT = Path(__file__).parents[2]
MANY = int(os.environ.get("METAFUSION_FUZZ", "0"))


def examples(few):
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=MANY or few, derandomize=not MANY, suppress_health_check=slow)


# Names as people give them, and as nobody should.
NASTY = [
    "a b",
    "it's",
    '"quoted"',
    "x;rm -rf ~",
    "$(touch harm)",
    "`touch harm`",
    "a\nb",
    "a\tb",
    "a\rb",
    "{experiment}",
    "{{}}",
    "%s%n",
    "..",
    "../../up",
    "/etc/passwd",
    "~",
    "-rf",
    "*",
    "ünïcode",
    "名前",
    "e\u0301",
    "\u202eevil",
    "\ufeffbom",
    "a\u2028b",
    "",
    " ",
    "nan",
    "None",
    "true",
    "1e999",
    "=1+1",
    "a" * 300,
    "a|b",
    "a=b",
    "sample",
    "target",
    "a~permutation1",
]
words = st.sampled_from(NASTY) | st.text(max_size=12)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-3, 5)
    | st.sampled_from([2**31, 2**63, 2**64, -(2**70), 10**400])
    | st.floats()
    | words
    | st.dates()
    | st.binary(max_size=4)
)
anything = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3))

PACKAGED = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "config/experiments").glob("*.yaml"))
}


def places(content, path=()):
    """All keys and indices of nested values."""
    found = []
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in pairs:
        found += [(*path, key), *places(value, (*path, key))]
    return found


@st.composite
def broken(draw, valid):
    """A mapping with up to three values replaced, removed or added."""
    content = copy.deepcopy(valid)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        *parents, last = draw(st.sampled_from(places(content) or [("title",)]))
        place = content
        for parent in parents:
            place = place[parent]
        how = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if how == "remove":
            del place[last]
        elif how == "add" and isinstance(place, dict):
            place[draw(words | st.sampled_from(sorted(Experiment.model_fields)))] = draw(anything)
        else:
            place[last] = draw(anything)
    return content


def refused_or(result, *kinds):
    """The result of a call, or None where it was refused with a message."""
    said = "nothing"
    try:
        found = result()
    except UserError as error:
        found, said = None, str(error).strip()
    assert said
    assert found is None or isinstance(found, kinds)
    return found


@examples(120)
@given(st.sampled_from(sorted(PACKAGED)).flatmap(lambda name: broken(PACKAGED[name])))
def test_a_broken_experiment_is_refused_or_can_be_read_again(content):
    experiment = refused_or(lambda: validate(Experiment, content, "x.yaml"), Experiment)
    if experiment:
        again = validate(Experiment, experiment.model_dump(mode="json"), "again.yaml")
        assert again.model_dump_json() == experiment.model_dump_json()
        refused_or(lambda: experiment.source.chunks, dict)
        refused_or(lambda: experiment.source.input_files, list)


STUDY = {
    "experiments": ["alzheimers_csf", "simulation_1_1@warm_start", "eeg_scp2@shuffled"],
    "threads": 2,
    "device": "cpu",
    "comparisons": {"one": {"kind": "settings", "title": "t", "experiments": ["alzheimers_csf"]}},
}


@examples(80)
@given(broken(STUDY))
def test_a_broken_study_is_refused_or_names_folders_below_the_results(content):
    loaded = refused_or(lambda: load_study(content, ROOT / "config"), object)
    if loaded:
        for name in [*loaded.experiments, *loaded.settings.comparisons]:
            assert Path(name).name == name
            assert name not in ("", ".", "..")
            assert name.isprintable()


@examples(150)
@given(st.text(max_size=60) | st.binary(max_size=60) | anything.map(lambda given: yaml.safe_dump(given)))
def test_any_file_is_a_mapping_or_no_yaml(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        refused_or(lambda: read_yaml(path), dict)
        assert refused_or(lambda: load_experiment(path), Experiment) is None


DOCUMENTS = {
    "a date that is none": "a: 2020-99-99",
    "deep": "[" * 1_000,
    "deep mapping": "{a: " * 1_000,
    "a number of many digits": "a: " + "9" * 5000,
    "aliases that double": "a0: [1]\n" + "".join(f"a{n}: &b{n} [*b{n - 1}, *b{n - 1}]\n" for n in range(1, 40)),
    "aliases that double and hold": "b0: &b0 [1]\n"
    + "".join(f"b{n}: &b{n} [*b{n - 1}, *b{n - 1}]\n" for n in range(1, 40)),
    "aliases that double in a variant": "\n".join(
        ["title: &b0 x", *(f"b{n}: &b{n} [*b{n - 1}, *b{n - 1}]" for n in range(1, 40)), "variants: {x: {y: *b39}}"]
    ),
    "a list in itself": "a: &a [*a]",
    "a mapping in itself": "a: &a {b: *a}",
    "a word for a number": "a: !!int x",
    "nothing for a number": "a: !!int ''",
    "a word for a truth": "a: !!bool maybe",
    "a word for a time": "a: !!timestamp x",
    "an object": "a: !!python/object/apply:os.system [true]",
    "a tuple": "a: !!python/tuple [1]",
    "a tag": "a: !thing 1",
    "two documents": "a: 1\n---\na: 2",
    "nothing": "",
    "bytes in a variant": "title: x\nvariants: {a: {title: !!binary gA==}}",
    "a key that is a list": "[a]: 1",
    "a merge of nothing": "<<: 1",
    "a set": "a: !!set {b}",
    "not a number": "a: .nan\nb: -.inf",
    "a null byte": "a: \0",
    "binary": "a: !!binary =====",
    "a number of sixties": "a: 190:20:30",
    "an omap": "a: !!omap [b]",
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_document_is_more_than_a_mapping_of_plain_values(tmp_path, document):
    path = tmp_path / "x.yaml"
    path.write_text(DOCUMENTS[document])
    refused_or(lambda: read_yaml(path), dict)
    assert refused_or(lambda: load_experiment(path), Experiment) is None


cells = st.sampled_from([*NASTY, "1", "2", "-4", "3.5", "1,5", "NA", "inf", "1e40", "2020-01-01"]) | st.text(max_size=5)


@st.composite
def grids(draw):
    """A table as it should be, in which some cells, names of columns or whole rows are replaced."""
    header = ["id", "diagnosis", *draw(st.permutations(["a", "b", "c d"]))[: draw(st.integers(1, 3))]]
    count = draw(st.integers(6, 9))
    rows = [
        [f"s{number}", "xy"[number % 2], *draw(st.lists(st.sampled_from("1234"), min_size=3, max_size=3))]
        for number in range(count)
    ]
    rows = [row[: len(header)] for row in rows]
    for _ in range(draw(st.sampled_from([0, 0, 1, 2, 3]))):
        line = draw(st.sampled_from([*rows, *rows, header]))
        line[draw(st.integers(0, len(header) - 1))] = draw(cells)
    if draw(st.integers(0, 9)) == 0:
        draw(st.sampled_from(rows)).append("extra")
    rows = draw(st.permutations(rows))
    return header, rows[: draw(st.sampled_from([len(rows)] * 9 + [0]))]


@st.composite
def files(draw):
    """Bytes of a table and the ending of its name."""
    ending = draw(st.sampled_from([".csv", ".tsv", ".txt", ".parquet"]))
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=80)), ending
    header, rows = draw(grids())
    if ending == ".parquet":
        kinds = [pa.string(), pa.float64(), pa.int64(), pa.bool_(), pa.date32(), pa.list_(pa.int8()), pa.null()]
        made = {}
        for place, name in enumerate(dict.fromkeys(header)):
            column = [row[place] for row in rows]
            kind = draw(st.sampled_from([*[pa.string()] * 30, *kinds]))
            try:
                made[name] = pa.array(column, pa.string()).cast(kind)
            except (pa.ArrowException, UnicodeEncodeError):
                made[name] = pa.nulls(len(column), kind)
        buffer = io.BytesIO()
        try:
            pq.write_table(pa.table(made), buffer)
        except UnicodeEncodeError:
            return b"", ending
        content = buffer.getvalue()
    else:
        text = io.StringIO(newline="")
        separator = draw(st.sampled_from(",;\t")) if ending == ".csv" else "\t"
        ends = draw(st.sampled_from(["\n", "\r\n", "\r"]))
        csv.writer(text, delimiter=separator, lineterminator=ends).writerows([header, *rows])
        encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
        content = text.getvalue().encode(encoding, "surrogatepass")
    cut = draw(st.integers(0, 19)) == 0
    return content[: draw(st.integers(0, len(content)))] if cut else content, ending


@examples(120)
@given(
    files(),
    files(),
    st.sampled_from(["classification", "classification", "regression"]),
    st.just({}) | st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["numeric", "ordinal", "categorical"])),
    st.booleans(),
)
def test_any_tables_are_refused_or_become_samples_and_features(samples, scan, task, types, indicators):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = []
        for stem, (content, ending) in (("samples", samples), ("scan", scan)):
            names.append(folder / (stem + ending))
            names[-1].write_bytes(content)
        source = Tables.model_validate(
            {
                "kind": "tables",
                "samples": {"file": names[0], "target": "diagnosis"},
                "modalities": {"scan": {"file": names[1], "types": types, "missing_indicators": indicators}},
            }
        )
        out = folder / "scan"
        out.mkdir()

        def all_of_it():
            preprocess(source, "scan", "all", None, out)
            return check(assemble(source, None, {"scan": [out]}), task, ["scan"])

        found = refused_or(all_of_it, object)
        if found is None:
            return
        table, features = found.samples, found.features["scan"]
        assert table["sample"].is_unique
        assert table["sample"].str.len().gt(0).all()
        assert table["target"].notna().all()
        assert features["sample"].is_unique
        assert set(features["sample"]) <= set(table["sample"])
        values = features.drop(columns="sample").to_numpy()
        assert values.dtype == np.float32
        assert not np.isinf(values).any()


labels = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8)
file_names = (
    st.sampled_from(["01", "B2", "c3"])
    | st.sampled_from([name for name in NASTY if name and "/" not in name and len(name) < 200])
    | labels
)


@examples(40)
@given(st.lists(file_names, min_size=1, max_size=3), st.booleans())
def test_a_folder_of_any_names_is_refused_or_gives_chunks_that_stay_inside(names, sessions):
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for name in names:
            folder = root / f"sub-{name}" / (f"ses-{name}" if sessions else "")
            stem = f"sub-{name}_ses-{name}" if sessions else f"sub-{name}"
            for kind, file in (("anat", f"{stem}_T1w.nii.gz"), ("eeg", f"{stem}_task-rest_eeg.edf")):
                try:
                    (folder / kind).mkdir(parents=True, exist_ok=True)
                    (folder / kind / file).write_bytes(b"x")
                except OSError:
                    continue
        pd.DataFrame({"participant_id": [f"sub-{name}" for name in names], "dx": "a"}).to_csv(
            root / "participants.tsv", sep="\t", index=False
        )
        named = {
            "events": {"classes": {"go": "a", "stop": "b"}},
            "modalities": {"a": {"types": ["eeg"], "bins": 2}},
            "window": (0, 1),
        }
        sources = [
            lambda: Bids.model_validate({"kind": "bids", "folder": root, "target": "dx"}),
            lambda: Recordings.model_validate({"kind": "recordings", "folder": root, **named}),
        ]
        for source in sources:
            try:
                made = source()
            except ValueError:
                continue
            chunks = refused_or(partial(getattr, made, "chunks"), dict) or {}
            for chunk in (chunk for several in chunks.values() for chunk in several):
                assert Path(chunk).name == chunk
                assert chunk not in (".", "..")
                # Snakemake fills in braces, and messages are lines.
                assert not set(chunk) & set("{}\n\r\0")
            for file in refused_or(partial(getattr, made, "input_files"), list) or []:
                assert root in Path(file).parents


ENTRIES = ["a" * 300, "a\0b", "\ud800", "../../etc/passwd", "..", "/none/x.yaml", "", "simulation_1_1@../x", "x@y@z"]
FILES = [
    "a b",
    "it's",
    "x;y",
    "$(touch harm)",
    "`x`",
    "a\nb",
    "{experiment}",
    "<results>",
    "..",
    ".hidden",
    "-rf",
    "a,b",
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_is_no_experiment_is_refused(entry):
    with pytest.raises(UserError) as refused:
        load_study({"experiments": [entry]}, ROOT / "config")
    str(refused.value).encode()


@pytest.mark.parametrize("name", FILES)
def test_an_experiment_is_called_as_no_command_and_no_other_folder(tmp_path, name):
    text = (ROOT / "config/experiments/simulation_1_1.yaml").read_text()
    (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(UserError, match="results are named after the file; expected letters, digits, - and _ before"):
        load_study({"experiments": [str(tmp_path / f"{name}.yaml")]})
    (tmp_path / "Ünï_1.2-b.yaml").write_text(text)
    assert list(load_study({"experiments": [str(tmp_path / "Ünï_1.2-b.yaml")]}).experiments) == ["Ünï_1.2-b"]


def study_of(folder, file):
    source = {"kind": "tables", "samples": {"file": str(file), "target": "t"}, "modalities": {"m": {"file": str(file)}}}
    content = {"title": "", "task": "classification", "source": source, "representations": {"m": ["raw"]}}
    (folder / "x.yaml").write_text(yaml.safe_dump(content))
    return load_study({"experiments": [str(folder / "x.yaml")]})


@pytest.mark.parametrize("name", ["{experiment}", "scan {1}", "<results>", "a\nb"])
def test_a_file_whose_path_snakemake_would_change_is_refused(tmp_path, name):
    (tmp_path / f"{name}.csv").write_text("id,t\n")
    with pytest.raises(UserError, match="found a brace, an angle bracket or a line break, expected none in the path"):
        study_of(tmp_path, tmp_path / f"{name}.csv")


@pytest.mark.parametrize(
    "name", ["a b", "it's", '"x"', "x;rm -rf ~", "$(touch harm)", "`x`", "名", "-rf", "*", "a|b", "~"]
)
def test_a_file_may_have_any_other_name(tmp_path, name):
    (tmp_path / f"{name}.csv").write_text("id,t\n")
    source = study_of(tmp_path, tmp_path / f"{name}.csv").experiments["x"].source
    assert source.input_files == [tmp_path / f"{name}.csv"]


@pytest.mark.parametrize("path", ["a" * 300, "x/" * 3000, "a\0b", "\ud800", "", ".", "/", "/proc/self"])
def test_a_path_that_is_none_is_refused(tmp_path, path):
    with pytest.raises(UserError):
        study_of(tmp_path, path)


def test_bytes_are_no_value_of_a_configuration():
    content = PACKAGED["simulation_1_1"] | {"variants": {"a": {"description": b"\x80"}}}
    with pytest.raises(UserError, match=r"x\.yaml: b'\\x80': found bytes, a null byte or half a character"):
        validate(Experiment, content, "x.yaml")


@pytest.mark.parametrize("name", ["a{b}", "a b", "a\nb", "$(x)", "a;b"])
def test_a_recorded_session_whose_folder_would_be_odd_is_refused(tmp_path, name):
    folder = tmp_path / f"sub-{name}/eeg"
    folder.mkdir(parents=True)
    (folder / f"sub-{name}_task-rest_eeg.edf").write_bytes(b"x")
    named = {"events": {"classes": {"go": "a", "stop": "b"}}, "window": (0, 1)}
    channels = {"modalities": {"a": {"types": ["eeg"], "bins": 2}}}
    source = Recordings.model_validate({"kind": "recordings", "folder": tmp_path, **named, **channels})
    with pytest.raises(UserError, match=r"found the session .* expected letters, digits, - and _ only; rename the"):
        _ = source.chunks

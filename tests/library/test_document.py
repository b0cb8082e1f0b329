"""The generated documentation of the configuration says what the models say."""

import copy
import inspect
import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from metafusion.config import (
    bids,
    checks,
    document,
    fronts,
    models,
    mri,
    nacc,
    oasis,
    odor,
    packaged,
    recordings,
    source,
    sources,
    spikes,
    trials,
    volumes,
)
from metafusion.config.base import Settings
from metafusion.config.load import load_experiment, load_study, read_yaml, validate
from metafusion.config.models import Experiment, Study
from metafusion.errors import UserError

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
PACKAGED = sorted((CONFIG / "experiments").glob("*.yaml"))
MODELS = [
    model
    for module in (
        *(models, checks, mri, source, sources, bids, nacc, oasis, volumes),
        *(fronts, odor, packaged, recordings, spikes, trials),
    )
    for _, model in inspect.getmembers(module, inspect.isclass)
    if issubclass(model, Settings) and model.__module__ == module.__name__
]
BASES = (
    *(source.Source, volumes.VolumeSource, oasis.Oasis),
    *(odor.TrialColumns, packaged.PackagedTrials, spikes.SpikeSource),
)
SMALLEST = {
    "title": "Smallest",
    "task": "classification",
    "source": {"kind": "ad_data"},
    "representations": {"csf": ["raw"]},
}
TABLES = {
    "kind": "tables",
    "samples": {"file": "samples.csv", "target": "diagnosis"},
    "modalities": {"csf": {"file": "csf.csv"}},
}


@pytest.fixture(scope="module")
def experiment_schema():
    return Draft202012Validator(json.loads((CONFIG / "schemas/experiment.schema.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def config_schema():
    return Draft202012Validator(json.loads((CONFIG / "schemas/config.schema.json").read_text(encoding="utf-8")))


def changed(keys: str, value: object) -> dict:
    """Return the smallest experiment with one key changed."""
    content = copy.deepcopy(SMALLEST)
    *above, last = keys.split(".")
    inner = content
    for key in above:
        inner = inner.setdefault(key, {})
    inner[last] = value
    return content


@pytest.mark.parametrize("name", document.files())
def test_a_generated_file_has_not_drifted_from_the_models(name):
    found = (CONFIG / name).read_text(encoding="utf-8")
    assert found == document.files()[name], "run: python -m metafusion.config.document"


def test_no_schema_is_left_over_that_nothing_generates():
    found = {path.relative_to(CONFIG).as_posix() for path in (CONFIG / "schemas").iterdir()}
    assert found == {name for name in document.files() if name.startswith("schemas/")}


def test_writing_makes_the_files_that_are_in_the_repository(tmp_path):
    paths = document.write(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == list(document.files())
    assert all(path.read_bytes() == (CONFIG / path.relative_to(tmp_path)).read_bytes() for path in paths)


def test_writing_elsewhere_than_beside_the_snakefile_is_refused(tmp_path):
    with pytest.raises(UserError, match="folder of the Snakefile"):
        document.write(tmp_path / "config")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_has_a_description(model):
    assert [name for name, field in model.model_fields.items() if not (field.description or "").strip()] == []


@pytest.mark.parametrize("model", [model for model in MODELS if model not in BASES], ids=lambda m: m.__name__)
def test_every_key_of_every_mapping_stands_in_the_readme_with_its_description(model):
    lines = document.readme().splitlines()
    for name, field in model.model_fields.items():
        meaning = field.description.replace("<", "\\<")
        assert any(line.startswith(f"| `{name}` |") and line.endswith(f"| {meaning} |") for line in lines)


def test_a_mapping_inside_a_list_has_a_table_of_its_own_in_the_readme():
    section = document.readme().split("#### `cohort`: `more_heads`, each\n")[1].split("\n#")[0]
    keys = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert keys == list(models.Head.model_fields)


@pytest.mark.parametrize("schema", ["experiment_schema", "config_schema"])
def test_a_schema_is_valid_itself(schema, request):
    Draft202012Validator.check_schema(request.getfixturevalue(schema).schema)


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_a_packaged_experiment_satisfies_schema_and_models(path, experiment_schema):
    experiment_schema.validate(read_yaml(path))
    assert load_experiment(path).title


def test_the_packaged_config_satisfies_schema_and_models(config_schema):
    content = read_yaml(CONFIG / "config.yaml")
    config_schema.validate(content)
    assert set(load_study(content, CONFIG).experiments) <= {path.stem for path in PACKAGED}


def test_the_default_experiment_satisfies_the_schema(experiment_schema):
    experiment_schema.validate(yaml.safe_load(document.default_experiment()))


def test_the_default_experiment_says_what_holds_without_it():
    content = yaml.safe_load(document.default_experiment())
    required = {name: content[name] for name, field in Experiment.model_fields.items() if field.is_required()}
    assert validate(Experiment, content, "all keys") == validate(Experiment, required, "required keys")
    assert set(content) == set(Experiment.model_fields)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ("seeds", 7),
        ("seeds", [0, 5]),
        ("representations.csf", ["raw", 2, "absent"]),
        ("representations.csf", {"sizes": [2], "scaling": "none"}),
        ("source", TABLES),
        ("metrics", ["roc_auc"]),
        ("cohort", {"penalties": [0, 1]}),
        ("cohort", {"hidden": [], "more_heads": [{"hidden": [8], "dropout": 0.5}, {"weight_decay": 0.1}]}),
        ("cohort", {"teaching": "worst_cluster", "clusters": "elbow"}),
        ("representations.csf", {"sizes": ["raw", 2], "extractor": "encoder", "hidden": [8], "fine_tune": True}),
        ("protocol", "as_published"),
        ("comparators", ["networks", "boosting"]),
        ("cooperative", {"agreements": [0.5], "joint_residual": "left_out"}),
        ("ensemble", {"stacking_epochs": 0}),
        ("split", {"random_state": "seed"}),
        ("variants", {"long": {"cohort": {"epochs": 100}}, "more": {"seeds": 9}}),
    ],
)
def test_schema_and_models_both_accept_what_is_right(keys, value, experiment_schema):
    content = changed(keys, value)
    experiment_schema.validate(content)
    validate(Experiment, content, "test")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ("epochs", 3),
        ("cohort", {"epoch": 3}),
        ("cohort", {"epochs": 0}),
        ("cohort", {"learning_rate": 0}),
        ("task", "clustering"),
        ("title", None),
        ("source", {"kind": "ad_date"}),
        ("source", {}),
        ("source", TABLES | {"modalities": {}}),
        ("source", TABLES | {"samples": {"file": "samples.csv"}}),
        ("representations.csf", ["rew"]),
        ("representations.csf", [0]),
        ("representations.csf", [2, 2]),
        ("representations.csf", []),
        ("representations.csf", {"scaling": "none"}),
        ("representations.csf", {"sizes": [2], "extractor": "umap"}),
        ("representations.csf", {"sizes": [2], "fit_on": "all"}),
        ("cohort", {"more_heads": [{"width": [8]}]}),
        ("cohort", {"more_heads": [{"dropout": 1}]}),
        ("cohort", {"patience": -1}),
        ("protocol", "published"),
        ("late_fusion", "logits"),
        ("seeds", 0),
        ("seeds", []),
        ("seeds", [-1]),
        ("seeds", [3, 3]),
        ("split", {"test_fraction": 1}),
        ("split", {"random_state": 3}),
        ("metrics", ["f1"]),
        ("comparators", ["coop"]),
        ("cooperative", {"agreements": []}),
        ("cooperative", {"agreements": [-0.5]}),
        ("cooperative", {"joint_residual": "forgotten"}),
        ("cohort", {"repetition": -1}),
        ("ensemble", {"stacking_learning_rate": 0}),
        ("variants", {"a": 3}),
        ("source", {"kind": "simulation", "widths": []}),
    ],
)
def test_schema_and_models_both_refuse_what_is_wrong(keys, value, experiment_schema):
    content = changed(keys, value)
    assert not experiment_schema.is_valid(content)
    with pytest.raises(UserError):
        validate(Experiment, content, "test")


COMPARISON = {"kind": "settings", "title": "Two", "experiments": ["a"]}


@pytest.mark.parametrize(
    "content",
    [
        {"experiments": "a"},
        {"experiments": "a, b@as_published"},
        {"experiments": ["a"], "seeds": 100},
        {"experiments": ["a", "b@x"], "comparisons": {"two": COMPARISON | {"experiments": ["b@x", "a"]}}},
    ],
)
def test_schema_and_models_both_accept_a_right_config(content, config_schema):
    config_schema.validate(content)
    validate(Study, content, "test")


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"experiments": []},
        {"experiments": ["a"], "cores": 3},
        {"experiments": ["a"], "device": "gpu"},
        {"experiments": ["a"], "memory_mb": 10},
        {"experiments": ["a"], "gpu_memory_share": 1.5},
        {"experiments": 3},
        {"experiments": ["a"], "seeds": 0},
        {"experiments": ["a"], "comparisons": {"two": COMPARISON | {"kind": "means"}}},
        {"experiments": ["a"], "comparisons": {"two": COMPARISON | {"experiments": []}}},
    ],
)
def test_schema_and_models_both_refuse_a_wrong_config(content, config_schema):
    assert not config_schema.is_valid(content)
    with pytest.raises(UserError):
        validate(Study, content, "test")

"""The configuration: what is accepted, what is refused, and what a refusal tells the user."""

import copy
import re
from functools import reduce
from pathlib import Path

import numpy as np
import pytest

from metafusion.cohort.students import all_students
from metafusion.cohort.teachers import teaching_weights
from metafusion.config import models
from metafusion.config.load import load_experiment, load_study, read_yaml, validate
from metafusion.config.models import Cohort, Experiment, Representations, Study, with_variant
from metafusion.config.packaged import ChannelGroup
from metafusion.config.sources import AdData, MriSimulated, Simulation
from metafusion.errors import UserError, did_you_mean

EXPERIMENTS = Path(__file__).parents[2] / "config/experiments"

LINES = {
    "title": "title: A test",
    "task": "task: classification",
    "source": "source: {kind: ad_data}",
    "representations": "representations: {csf: [raw, absent], proteins: [raw, 3]}",
}
CLASSIFICATION = [
    "accuracy",
    "balanced_accuracy",
    "roc_auc",
    "log_loss",
    "sensitivity",
    "specificity",
    "brier",
    "ece",
]
REGRESSION = ["mse", "mae", "r2"]


@pytest.fixture
def load(tmp_path):
    """Load an experiment whose lines are the usual ones, with some replaced or added."""

    def load_with(extra="", **replaced):
        path = tmp_path / "mine.yaml"
        path.write_text("\n".join([*(LINES | replaced).values(), extra]) + "\n", encoding="utf-8")
        return load_experiment(path)

    return load_with


def refusal(load, extra="", **replaced):
    with pytest.raises(UserError) as caught:
        load(extra, **replaced)
    return str(caught.value)


@pytest.mark.parametrize(
    ("extra", "where", "unknown", "meant"),
    [
        ("metric: [accuracy]", "", "metric", "metrics"),
        ("cohort: {epoch: 3}", "cohort: ", "epoch", "epochs"),
        ("split: {test_fractoin: 0.2}", "split: ", "test_fractoin", "test_fraction"),
        ("ensemble: {kept: 0.5}", "ensemble: ", "kept", "keep"),
        ("cohort: {more_heads: [{drop_out: 0.5}]}", "cohort.more_heads.0: ", "drop_out", "dropout"),
        ("protocol: as_published\ncohort: {warm_strat: true}", "cohort: ", "warm_strat", "warm_start"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(load, tmp_path, extra, where, unknown, meant):
    expected = f"{tmp_path / 'mine.yaml'}: {where}unknown key {unknown!r}; did you mean {meant!r}?"
    assert refusal(load, extra).startswith(expected)


def test_an_unknown_key_of_a_source_is_named_with_the_nearest_known_one(load):
    message = refusal(load, source="source: {kind: simulation, sample: 40}")
    assert "unknown key 'sample'; did you mean 'samples'?" in message


def test_an_unknown_key_of_a_representation_is_named_with_the_nearest_known_one(load):
    message = refusal(load, representations="representations: {csf: {sizes: [raw], scale: none}}")
    assert "representations.csf: unknown key 'scale'; did you mean 'scaling'?" in message


def test_a_key_like_none_known_lists_what_is_known(load):
    message = refusal(load, "cooperative: {zzz: 1}")
    assert message.endswith("cooperative: unknown key 'zzz'; Known: agreements, joint_residual")


@pytest.mark.parametrize(
    ("extra", "key", "found", "allowed"),
    [
        ("cohort: {epochs: 0}", "cohort.epochs", "0", ["1"]),
        ("cohort: {epochs: many}", "cohort.epochs", "'many'", ["integer"]),
        ("cohort: {learning_rate: 0}", "cohort.learning_rate", "0", ["greater than 0"]),
        ("cohort: {hidden: [8, 0]}", "cohort.hidden.1", "0", ["1"]),
        ("cohort: {penalties: [0, -1]}", "cohort.penalties.1", "-1", ["0"]),
        ("cohort: {most_clusters: 1}", "cohort.most_clusters", "1", ["2"]),
        ("cohort: {patience: -1}", "cohort.patience", "-1", ["0"]),
        ("cohort: {exponent: -0.5}", "cohort.exponent", "-0.5", ["0"]),
        ("cohort: {dropout: 1}", "cohort.dropout", "1", ["less than 1"]),
        ("cohort: {weight_decay: -1}", "cohort.weight_decay", "-1", ["0"]),
        ("cohort: {modalities_per_student: [0]}", "cohort.modalities_per_student.0", "0", ["1"]),
        ("cohort: {more_heads: [{hidden: [0]}]}", "cohort.more_heads.0.hidden.0", "0", ["1"]),
        ("cohort: {teaching: best}", "cohort.teaching", "'best'", ["'clustering'", "'adaptive'", "'none'"]),
        ("cohort: {clusters: gap}", "cohort.clusters", "'gap'", ["'silhouette'", "'elbow'"]),
        ("cohort: {normaliser: top}", "cohort.normaliser", "'top'", ["'others'", "'all'"]),
        ("ensemble: {independent_list: new}", "ensemble.independent_list", "'new'", ["'selected'", "'reused'"]),
        ("late_fusion: logits", "late_fusion", "'logits'", ["'probabilities'", "'outputs'"]),
        ("protocol: published", "protocol", "'published'", ["'corrected'", "'as_published'"]),
        ("split: {unit: subjects}", "split.unit", "'subjects'", ["'subject'", "'sample'"]),
        ("split: {test_fraction: 1}", "split.test_fraction", "1", ["less than 1"]),
        ("split: {validation_fraction: 0}", "split.validation_fraction", "0", ["greater than 0"]),
        ("ensemble: {keep: 1.5}", "ensemble.keep", "1.5", ["less than or equal to 1"]),
        ("ensemble: {start: 0}", "ensemble.start", "0", ["1"]),
        ("comparators: [lasso]", "comparators.0", "'lasso'", ["'networks'", "'linear'"]),
        ("metrics: [acuracy]", "metrics.0", "'acuracy'", [f"'{name}'" for name in CLASSIFICATION + REGRESSION]),
        ("seeds: many", "seeds", "'many'", ["list"]),
        ("seeds: true", "seeds", "True", ["list"]),
        ("seeds_per_block: 0", "seeds_per_block", "0", ["1"]),
    ],
)
def test_a_wrong_value_names_file_key_what_was_found_and_what_is_allowed(load, tmp_path, extra, key, found, allowed):
    message = refusal(load, extra)
    assert message.startswith(f"{tmp_path / 'mine.yaml'}: {key}: ")
    assert message.endswith(f"found {found}")
    assert all(word in message for word in allowed)


def test_a_wrong_task_names_both_tasks(load):
    message = refusal(load, task="task: clustering")
    assert "task: " in message
    assert "'classification' or 'regression'; found 'clustering'" in message


def test_an_unknown_kind_of_source_names_the_known_ones(load):
    message = refusal(load, source="source: {kind: ad_dta}")
    assert (
        "source.kind: no kind 'ad_dta'; did you mean 'ad_data'? Known: ad_data, bids, digits_halves, eeg_scp" in message
    )


def test_codes_for_missing_values_may_be_numbers(load):
    lines = (
        "{kind: tables, samples: {file: a.csv, target: dx, missing: [-4, '9', 1.5]}, modalities: {csf: {file: a.csv}}}"
    )
    source = load(source=f"source: {lines}", representations="representations: {csf: [raw]}").source
    assert source.samples.missing == ["-4", "9", "1.5"]


def test_every_mistake_gets_its_own_line(load):
    message = refusal(load, "cohort: {epochs: 0, batch_size: 0}\nseeds_per_block: 0")
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize("key", sorted(LINES))
def test_a_missing_key_is_named(load, key):
    assert re.search(rf"mine\.yaml: {key}: Field required", refusal(load, **{key: ""}))


@pytest.mark.parametrize(
    ("extra", "key", "line"), [("title: Again", "title", 5), ("cohort: {epochs: 1,\n  epochs: 2}", "epochs", 6)]
)
def test_a_key_that_stands_twice_is_refused_with_its_line(load, tmp_path, extra, key, line):
    message = refusal(load, extra)
    assert message.startswith(f"{tmp_path / 'mine.yaml'}: ")
    assert f"the key {key!r} stands twice" in message
    assert f"line {line}," in message


@pytest.mark.parametrize("content", ["- a\n- b\n", "", "just words\n"])
def test_yaml_that_is_no_mapping_is_refused(tmp_path, content):
    (tmp_path / "odd.yaml").write_text(content)
    with pytest.raises(UserError, match=r"odd\.yaml: expected 'key: value' lines"):
        read_yaml(tmp_path / "odd.yaml")


@pytest.mark.parametrize("content", [b"a: [1\n", b"\xff\xfe\x00", b"a: b: c\n", b"? [a, b]\n: 1\n"])
def test_unreadable_yaml_is_refused_with_the_file(tmp_path, content):
    (tmp_path / "odd.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"odd\.yaml: not readable as YAML"):
        read_yaml(tmp_path / "odd.yaml")


def test_a_template_that_nobody_filled_in_is_refused_with_the_file(tmp_path):
    (tmp_path / "odd.yaml").write_text("title: {{ name }}\n")
    with pytest.raises(UserError, match=r"odd\.yaml: not readable as YAML"):
        read_yaml(tmp_path / "odd.yaml")


def test_yaml_merge_keys_work(tmp_path):
    (tmp_path / "merged.yaml").write_text("one: &base {a: 1, b: 2}\ntwo: {<<: *base, b: 3}\n")
    assert read_yaml(tmp_path / "merged.yaml")["two"] == {"a": 1, "b": 3}


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    (tmp_path / "marked.yaml").write_bytes("﻿title: x\n".encode())
    assert read_yaml(tmp_path / "marked.yaml") == {"title": "x"}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        read_yaml(tmp_path / "none.yaml")


def test_an_unknown_modality_in_the_representations_is_named_with_the_nearest(load):
    message = refusal(load, representations="representations: {csv: [raw]}")
    assert "unknown modality 'csv'; did you mean 'csf'? Known: csf, profile, proteins" in message


def test_no_modality_at_all_is_refused_with_the_known_ones(load):
    message = refusal(load, representations="representations: {}")
    assert message.endswith("at least one modality is needed; known: proteins, csf, profile")


@pytest.mark.parametrize("size", ["0", "-3", "2.5", "true", "rwa", "[1]", "null"])
def test_what_is_no_representation_is_refused_with_what_is(load, size):
    message = refusal(load, representations=f"representations: {{csf: [raw, {size}]}}")
    assert "representations.csf.sizes.1: " in message
    assert "allowed: 'raw', a positive number of latent variables, 'absent'" in message


def test_a_representation_may_not_stand_twice(load):
    assert "each representation may stand once" in refusal(load, representations="representations: {csf: [3, raw, 3]}")


def test_a_modality_may_not_be_absent_only(load):
    assert "always absent" in refusal(load, representations="representations: {csf: [absent]}")


def test_a_list_of_representations_means_the_same_as_a_mapping_with_sizes():
    assert Representations.model_validate(["raw", 4]) == Representations.model_validate({"sizes": ["raw", 4]})


@pytest.mark.parametrize(
    ("task", "metric", "fitting"),
    [("classification", "mse", CLASSIFICATION), ("regression", "accuracy", REGRESSION)],
)
def test_a_metric_of_the_other_task_is_refused_with_those_that_fit(load, task, metric, fitting):
    message = refusal(load, f"metrics: [{metric}]", task=f"task: {task}")
    assert f"{metric!r} does not fit {task}; allowed: {', '.join(fitting)}" in message


@pytest.mark.parametrize(("task", "fitting"), [("classification", CLASSIFICATION), ("regression", REGRESSION)])
def test_without_metrics_all_of_the_task_are_used(load, task, fitting):
    assert load(task=f"task: {task}").metrics == fitting


@pytest.mark.parametrize(("given", "expected"), [("AD", "AD"), ("1", "1"), ("null", None)])
def test_the_positive_class_is_text(load, given, expected):
    assert load(f"positive: {given}").positive == expected


def test_a_positive_class_that_yaml_takes_for_true_must_stand_in_quotes(load):
    assert "put the class in quotes" in refusal(load, "positive: yes")
    assert load("positive: 'yes'").positive == "yes"


def test_a_positive_class_of_numbers_is_refused(load):
    message = refusal(load, "positive: AD", task="task: regression")
    assert "positive: only 'task: classification' has classes; remove it" in message


def test_subgroups_are_values_of_a_column_or_bands_of_it(load):
    found = load("subgroups: {sex: null, age: [65, 75.5], 'Years of school': [12]}").subgroups
    assert found == {"sex": None, "age": [65.0, 75.5], "Years of school": [12.0]}


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ("[75, 65]", "cut points must ascend, found [75.0, 65.0]"),
        ("[65, 65]", "cut points must ascend"),
        ("[]", "at least 1"),
        ("[.inf]", "finite"),
        ("old", "'old'"),
    ],
)
def test_bands_that_cannot_be_made_are_refused(load, points, words):
    message = refusal(load, f"subgroups: {{age: {points}}}")
    assert "subgroups.age" in message
    assert words in message


def test_metrics_stay_in_the_order_given(load):
    assert load("metrics: [log_loss, accuracy]").metrics == ["log_loss", "accuracy"]


def test_seeds_as_a_number_count_from_one(load):
    assert load("seeds: 4").seeds == [1, 2, 3, 4]


def test_seeds_as_a_list_stay_as_they_are(load):
    assert load("seeds: [7, 0, 3]").seeds == [7, 0, 3]


@pytest.mark.parametrize("seeds", ["[1, 2, 1]", "[-1, 2]", "[]", "0"])
def test_repeated_negative_or_no_seeds_are_refused(load, seeds):
    assert "mine.yaml: seeds: " in refusal(load, f"seeds: {seeds}")


def test_a_seed_that_is_accepted_can_be_clustered_with(load):
    try:
        seed = load("seeds: [4294967296]").seeds[0]
    except UserError:
        return
    weights, _ = teaching_weights(np.array([1.0, 1.1, 3.0, 3.2]), Cohort(), random_state=seed)
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("seeds", "size", "blocks"),
    [
        ("5", 5, {"1-5": [1, 2, 3, 4, 5]}),
        ("5", 2, {"1-2": [1, 2], "3-4": [3, 4], "5": [5]}),
        ("3", 1, {"1": [1], "2": [2], "3": [3]}),
        ("2", 100, {"1-2": [1, 2]}),
        ("[1, 3, 5, 6]", 2, {"1-3": [1, 3], "5-6": [5, 6]}),
        ("[2, 1]", 2, {"1-2": [1, 2]}),
        ("[9, 1, 5]", 2, {"1-5": [1, 5], "9": [9]}),
    ],
)
def test_blocks_take_seeds_in_ascending_order_and_are_named_by_their_ends(load, seeds, size, blocks):
    assert load(f"seeds: {seeds}\nseeds_per_block: {size}").blocks == blocks


def test_the_name_of_a_block_is_short_enough_for_a_file(load):
    name = next(iter(load(f"seeds: {list(range(1, 200, 2))}\nseeds_per_block: 100").blocks))
    assert len(f".{name}.parquet.unfinished") <= 255


def test_penalties_ascend_from_zero(load):
    assert load("cohort: {penalties: [3, 0, 0.99]}").cohort.penalties == [0, 0.99, 3]


@pytest.mark.parametrize(("penalties", "word"), [("[1, 3]", "must contain 0"), ("[0, 1, 1]", "stand once")])
def test_penalties_without_zero_or_twice_are_refused(load, penalties, word):
    assert word in refusal(load, f"cohort: {{penalties: {penalties}}}")


def test_settings_cannot_be_changed(load):
    with pytest.raises(ValueError, match="frozen"):
        load().cohort.epochs = 3


SIMULATED = {
    "title": "t",
    "task": "regression",
    "source": {"kind": "simulation"},
    "representations": {"first": ["raw", 8], "second": {"sizes": ["raw", "absent"], "scaling": "none"}},
}
# Each switch: where it stands, what it is by default and what the authors' code does.
SWITCHES = [
    ("cohort.warm_start", False, True),
    ("cohort.equal_budget", True, False),
    ("cohort.normaliser", "others", "all"),
    ("cohort.frozen_extractors", "frozen", "first_user_trains"),
    ("cohort.target_scaling", "standard", "none"),
    ("ensemble.independent_list", "selected", "reused"),
    ("split.unit", "subject", "sample"),
    ("split.stratify", True, False),
    ("split.random_state", "independent", "seed"),
    ("cooperative.agreements", [0, 0.5, 2], [0, 0.99]),
    ("cooperative.joint_residual", "included", "left_out"),
    ("late_fusion", "probabilities", "outputs"),
    ("representations.first.fit_on", "train", "train_and_validation"),
    ("representations.second.fit_on", "train", "train_and_validation"),
    ("source.interaction_coefficients", "real", "integers"),
    ("source.random_streams", "one", "reseeded"),
]
KEYS = [key for key, _, _ in SWITCHES]


def simulated(protocol, changed=None):
    """Load the simulated experiment with one key given, and return every switch by its key."""
    content = copy.deepcopy(SIMULATED) | ({"protocol": protocol} if protocol else {})
    for keys, value in (changed or {}).items():
        *above, last = keys.split(".")
        inner = content
        for key in above:
            if isinstance(inner.get(key), list):
                inner[key] = {"sizes": inner[key]}
            inner = inner.setdefault(key, {})
        inner[last] = value
    dumped = validate(Experiment, content, "f.yaml").model_dump()
    return {keys: reduce(lambda inner, key: inner[key], keys.split("."), dumped) for keys in KEYS}


@pytest.mark.parametrize("protocol", [None, "corrected"])
def test_without_a_protocol_everything_is_corrected(protocol):
    assert simulated(protocol) == {key: corrected for key, corrected, _ in SWITCHES}


def test_as_published_sets_every_switch_to_what_the_authors_do():
    assert simulated("as_published") == {key: published for key, _, published in SWITCHES}


@pytest.mark.parametrize(("key", "corrected", "published"), SWITCHES, ids=KEYS)
def test_a_switch_given_by_hand_wins_over_the_protocol_and_leaves_the_others(key, corrected, published):
    everything = {name: value for name, _, value in SWITCHES}
    assert simulated("as_published", {key: corrected}) == everything | {key: corrected}
    nothing = {name: value for name, value, _ in SWITCHES}
    assert simulated("corrected", {key: published}) == nothing | {key: published}


def test_as_published_leaves_what_is_no_switch_at_its_default():
    usual, published = (
        validate(Experiment, SIMULATED | {"protocol": protocol}, "f.yaml").model_dump()
        for protocol in ("corrected", "as_published")
    )

    def flat(inner, before=""):
        if not isinstance(inner, dict):
            return {before[1:]: inner}
        return {key: value for name, one in inner.items() for key, value in flat(one, f"{before}.{name}").items()}

    differing = {key for key, value in flat(usual).items() if flat(published)[key] != value}
    assert differing == {*KEYS, "protocol"}


def test_as_published_does_not_change_the_content_it_was_given():
    content = copy.deepcopy(SIMULATED) | {"protocol": "as_published", "cohort": {"epochs": 3}}
    before = copy.deepcopy(content)
    validate(Experiment, content, "f.yaml")
    assert content == before


@pytest.mark.parametrize("protocol", ["corrected", "as_published"])
def test_a_checked_experiment_written_out_is_the_same_again(protocol):
    one = validate(Experiment, SIMULATED | {"protocol": protocol, "cohort": {"normaliser": "others"}}, "f.yaml")
    assert validate(Experiment, one.model_dump(mode="json"), "f.yaml") == one


def test_as_published_knows_nothing_of_other_sources(load):
    assert load("protocol: as_published").source == AdData(kind="ad_data")


@pytest.mark.parametrize("line", ["cohort: 3", "split: [sample]", "cohort:"])
def test_as_published_does_not_hide_a_section_that_is_no_mapping(load, line):
    assert f"mine.yaml: {line.split(':')[0]}: " in refusal(load, f"protocol: as_published\n{line}")


def representations(sizes=("raw", 8, "absent"), **keys):
    return validate(Representations, {"sizes": list(sizes)} | keys, "f.yaml")


SHAPES = {"conv1d": [4, 30], "conv3d": [8, 9, 10]}
GIVEN = {
    "hidden": [16],
    "epochs": 7,
    "learning_rate": 0.01,
    "batch_size": 8,
    "fine_tune": True,
    "shape": [4, 30],
    "channels": [4],
    "kernel": 5,
}
FITTING = {
    "pca": [],
    "separate": ["hidden"],
    "encoder": ["hidden", "epochs", "learning_rate", "batch_size", "fine_tune"],
    "autoencoder": ["hidden", "epochs", "learning_rate", "batch_size", "fine_tune"],
    "conv1d": list(GIVEN),
    "conv3d": list(GIVEN),
}


def extractor(kind, **keys):
    shape = {"shape": SHAPES[kind]} if kind in SHAPES else {}
    return representations(extractor=kind, **(shape | keys))


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, fitting in FITTING.items() for key in fitting])
def test_a_key_that_fits_the_extractor_is_taken(kind, key):
    value = SHAPES[kind] if key == "shape" else GIVEN[key]
    assert getattr(extractor(kind, **{key: value}), key) == value


@pytest.mark.parametrize(
    ("kind", "key"), [(kind, key) for kind, fitting in FITTING.items() for key in GIVEN if key not in fitting]
)
def test_a_key_without_a_meaning_for_the_extractor_is_refused(kind, key):
    with pytest.raises(UserError, match=f"{key!r} has no meaning with 'extractor: {kind}'; remove it"):
        extractor(kind, **{key: GIVEN[key]})


@pytest.mark.parametrize("kind", FITTING)
def test_representations_written_out_are_the_same_again(kind):
    one = extractor(kind)
    assert validate(Representations, one.model_dump(mode="json"), "f.yaml") == one


@pytest.mark.parametrize("shape", [[120], [8, 9, 10]])
def test_conv1d_needs_channels_and_times(shape):
    with pytest.raises(UserError, match=r"needs 'shape: \[channels, times\]'"):
        representations(extractor="conv1d", shape=shape)


def test_conv1d_may_leave_its_shape_to_the_columns():
    assert representations(extractor="conv1d").shape == []
    assert representations(extractor="conv1d", before={"kind": "channel_pca", "components": 3}).shape == []


@pytest.mark.parametrize("shape", [None, [8, 9], [1, 1, 8, 9, 10]])
def test_conv3d_needs_three_lengths_with_or_without_channels(shape):
    with pytest.raises(UserError, match=r"needs 'shape: \[x, y, z\] or \[channels, x, y, z\]'"):
        representations(extractor="conv3d", **({"shape": shape} if shape else {}))


@pytest.mark.parametrize(("kind", "shape"), [("conv1d", [4, 30]), ("conv3d", [8, 9, 10]), ("conv3d", [2, 8, 9, 10])])
def test_shapes_that_fit_the_convolution_are_taken(kind, shape):
    assert representations(extractor=kind, shape=shape).shape == shape


@pytest.mark.parametrize(("kernel", "word"), [(4, "kernel must be odd"), (0, "kernel: ")])
def test_a_kernel_is_odd_and_positive(kernel, word):
    with pytest.raises(UserError, match=word):
        extractor("conv1d", kernel=kernel)


def test_representations_are_named_wide_ones_first_whatever_their_order():
    assert representations(["absent", 8, "raw", 40], extractor="encoder").names == [
        "raw",
        "encoder40",
        "encoder8",
        "absent",
    ]
    assert representations([3, 20]).names == ["pca20", "pca3"]


@pytest.mark.parametrize(("kind", "learnt"), [("pca", False), ("separate", False), ("encoder", True), ("conv3d", True)])
def test_only_extractors_that_are_trained_before_the_students_are_learnt(kind, learnt):
    assert extractor(kind).learnt == learnt


def test_an_extractor_that_makes_nothing_is_not_learnt():
    assert not representations(["raw", "absent"], extractor="encoder").learnt


def test_heads_are_named_by_what_they_are():
    heads = [{"hidden": []}, {"hidden": [8], "weight_decay": 0.01, "sparsity": 0.2}, {"dropout": 0.5}]
    cohort = validate(Cohort, {"hidden": [16, 8], "more_heads": heads}, "f.yaml")
    assert [head.name for head in cohort.heads] == ["16_8", "linear", "8_decay0.01_sparse0.2", "64_32_dropout0.5"]


def test_nothing_is_shared_with_no_other_modality():
    given = read_yaml(EXPERIMENTS / "uci_digits_6.yaml")
    given["representations"] = {"pixels": {"sizes": ["raw", 3], "extractor": "pls"}}
    given["cohort"] = {}
    with pytest.raises(UserError, match=r"representations.pixels: 'extractor: pls' looks for what is shared"):
        validate(Experiment, given, "f.yaml")


def test_no_student_can_see_more_modalities_than_there_are_or_fewer_than_are_always_there():
    given = read_yaml(EXPERIMENTS / "uci_digits_6.yaml")
    given["cohort"]["modalities_per_student"] = [1, 7]
    with pytest.raises(UserError, match=r"no student can see 7; with these representations they see 1 to 6 modalities"):
        validate(Experiment, given, "f.yaml")
    given["cohort"]["modalities_per_student"] = [1]
    given["representations"]["pixels"] = ["raw"]
    given["representations"]["zernike"] = ["raw", 3]
    with pytest.raises(UserError, match=r"no student can see 1; with these representations they see 2 to 6 modalities"):
        validate(Experiment, given, "f.yaml")


@pytest.mark.parametrize("heads", [[{"hidden": [64, 32]}], [{}], [{"hidden": [8]}, {"dropout": 0, "hidden": [8]}]])
def test_a_head_may_stand_once_the_main_one_among_them(heads):
    with pytest.raises(UserError, match="more_heads: each head may stand once, found 64_32, "):
        validate(Cohort, {"more_heads": heads}, "f.yaml")


@pytest.mark.parametrize(
    ("warm_start", "equal_budget", "budget"), [(False, True, 7), (True, False, 7), (False, False, 7), (True, True, 14)]
)
def test_the_budget_doubles_with_a_warm_start_that_all_are_to_match(warm_start, equal_budget, budget):
    assert Cohort(epochs=7, warm_start=warm_start, equal_budget=equal_budget).budget == budget


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_a_device_is_the_processor_or_a_gpu(device):
    assert validate(Study, {"experiments": ["a"], "device": device}, "c.yaml").device == device


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:one", "cuda1", "CPU", "cpu:0"])
def test_what_is_no_device_is_refused(device):
    with pytest.raises(UserError, match=rf"^c\.yaml: device: .*found '{device}'$"):
        validate(Study, {"experiments": ["a"], "device": device}, "c.yaml")


@pytest.mark.parametrize(
    ("key", "value"),
    [("memory_mb", 999), ("gpu_memory_share", 0), ("gpu_memory_share", 1.1), ("checkpoint_minutes", 0)],
)
def test_limits_of_a_job_that_cannot_be_kept_are_refused(key, value):
    with pytest.raises(UserError, match=rf"^c\.yaml: {key}: "):
        validate(Study, {"experiments": ["a"], key: value}, "c.yaml")


@pytest.mark.parametrize("interval", [(8, 4), (4, 4)])
def test_a_frequency_band_must_ascend(interval):
    with pytest.raises(ValueError, match="the lower number must come first"):
        ChannelGroup(channels=["Cz"], bands={"odd": interval})


def test_a_channel_group_without_any_feature_is_refused():
    with pytest.raises(ValueError, match="samples, bins, bands or phase"):
        ChannelGroup(channels=["Cz"], bins=0, bands={})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"widths": [0, 3]}, "widths.0: Input should be greater than or equal to 1; found 0"),
        ({"widths": []}, "widths: expected at least 1, found 0: []"),
        ({"widths": [2] * 9}, "widths: expected at most 8, found 9: [2, 2"),
        ({"private_latents": [0, 0]}, "there must be at least one latent variable"),
        ({"private_latents": [3, 0]}, "private_latents: modality 'second' has no latent variable to observe"),
        ({"private_latents": [-1, 3]}, "private_latents.0: Input should be greater than or equal to 0; found -1"),
        ({"classes": [0.5, 0.4]}, "classes: shares of two classes or more must sum to 1, found [0.5, 0.4]"),
        ({"response_noise": 1.5}, "response_noise: Input should be less than or equal to 1; found 1.5"),
    ],
)
def test_a_simulation_without_variables_or_latents_is_refused(wrong, words):
    with pytest.raises(UserError, match=re.escape(words)):
        validate(Simulation, {"kind": "simulation"} | wrong, "f.yaml")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cohort": {"balanced": True}}, "cohort.balanced: only 'task: classification' has classes"),
        ({"ensemble": {"thresholds": "balanced_accuracy"}}, "ensemble.thresholds: only 'task: classification'"),
    ],
)
def test_numbers_have_no_classes_to_balance(change, said):
    with pytest.raises(UserError, match=re.escape(said)):
        validate(Experiment, SIMULATED | change, "f.yaml")


@pytest.mark.parametrize(
    ("task", "shares", "words"),
    [
        ("classification", [], "'task: classification' needs the share of each class"),
        ("regression", [0.5, 0.5], "'task: regression' has no classes"),
    ],
)
def test_classes_of_a_simulation_must_fit_the_task(task, shares, words):
    content = read_yaml(EXPERIMENTS / "simulation_classes.yaml") | {"task": task}
    content["source"] |= {"classes": shares}
    with pytest.raises(UserError, match=words):
        validate(Experiment, content, "f.yaml")


FOUR = {
    "kind": "simulation",
    "widths": [4, 3, 2, 1],
    "private_latents": [2, 2, 2, 2],
    "noise": [0, 0, 0, 0],
    "transforms": ["linear"] * 5,
    "strengths": [1, 1, 1, 1, 0],
}


@pytest.mark.parametrize("key", ["private_latents", "noise", "transforms", "strengths"])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_list_of_a_simulation_that_does_not_fit_its_widths_is_refused_with_the_number_wanted(key, change):
    values = FOUR[key][:-1] if change < 0 else [*FOUR[key], FOUR[key][0]]
    shared = " and one for the shared latents" if key in ("transforms", "strengths") else ""
    with pytest.raises(UserError, match=rf"^f\.yaml: {key}: 4 widths need 4 values{shared}, found \["):
        validate(Simulation, FOUR | {key: values}, "f.yaml")


def test_modalities_of_a_simulation_are_as_many_as_its_widths():
    assert validate(Simulation, FOUR, "f.yaml").modality_names == ["first", "second", "third", "fourth"]
    assert Simulation(kind="simulation").modality_names == ["first", "second"]


@pytest.mark.parametrize(("subjects", "size", "count"), [(60, 15, 4), (61, 15, 5), (9, 15, 1)])
def test_chunks_of_simulated_mri_cover_all_subjects(subjects, size, count):
    chunks = MriSimulated(kind="mri_simulated", subjects=subjects, chunk_size=size).chunks
    assert chunks["t1w"] == [f"{number:03d}" for number in range(count)]


def test_only_simulations_say_so():
    assert (AdData.simulated, Simulation.simulated, MriSimulated.simulated) == (False, True, True)


@pytest.fixture
def study_folder(tmp_path):
    (tmp_path / "experiments").mkdir()
    for name in ("one", "two"):
        (tmp_path / "experiments" / f"{name}.yaml").write_text("\n".join(LINES.values()) + "\n")
    return tmp_path


def test_a_study_loads_the_experiments_it_names(study_folder):
    study = load_study({"experiments": ["two", "one"], "threads": 2}, study_folder)
    assert list(study.experiments) == ["two", "one"]
    assert isinstance(study.experiments["one"], Experiment)
    assert study.settings.threads == 2


def test_a_study_loads_an_experiment_by_its_path(study_folder):
    path = study_folder / "elsewhere.yaml"
    path.write_text("\n".join(LINES.values()) + "\n")
    assert list(load_study({"experiments": [str(path)]}, study_folder).experiments) == ["elsewhere"]


def test_a_misspelt_experiment_is_named_with_the_nearest(study_folder):
    with pytest.raises(UserError, match=r"twoo\.yaml: no such file; did you mean 'two'\? Known: one, two"):
        load_study({"experiments": ["twoo"]}, study_folder)


def test_two_experiments_of_one_name_are_refused(study_folder):
    other = study_folder / "one.yaml"
    other.write_text("\n".join(LINES.values()) + "\n")
    with pytest.raises(UserError, match="'one' stands twice"):
        load_study({"experiments": ["one", str(other)]}, study_folder)


def test_a_mistake_in_an_experiment_of_a_study_names_its_file(study_folder):
    (study_folder / "experiments" / "two.yaml").write_text("\n".join([*LINES.values(), "seeds: 0"]) + "\n")
    with pytest.raises(UserError, match=r"two\.yaml: seeds: "):
        load_study({"experiments": ["one", "two"]}, study_folder)


def test_a_missing_file_of_the_user_is_named_before_anything_runs(study_folder):
    tables = "source: {kind: tables, samples: {file: people.csv, target: dx}, modalities: {csf: {file: csf.csv}}}"
    lines = LINES | {"source": tables, "representations": "representations: {csf: [raw]}"}
    (study_folder / "experiments" / "mine.yaml").write_text("\n".join(lines.values()) + "\n")
    with pytest.raises(UserError, match=r"mine\.yaml: source: people\.csv: no such file\n.*csv: no such file"):
        load_study({"experiments": ["mine"]}, study_folder)


def test_a_mistake_in_the_study_names_its_file(study_folder):
    with pytest.raises(UserError, match=r"config\.yaml: unknown key 'experiment'; did you mean 'experiments'\?"):
        load_study({"experiment": ["one"]}, study_folder)


def test_a_study_without_experiments_is_refused():
    with pytest.raises(ValueError, match="at least 1 item"):
        Study(experiments=[])


def test_a_suggestion_is_made_only_where_something_is_near():
    assert did_you_mean("zzz", ["b", "a"]) == "Known: a, b"
    assert did_you_mean("epoch", ["hidden", "epochs"]) == "did you mean 'epochs'? Known: epochs, hidden"
    assert did_you_mean("x", []) == "Known: none"


BASIC = {
    "title": "t",
    "task": "classification",
    "source": {
        "kind": "tables",
        "samples": {"file": "s.csv", "target": "y"},
        "modalities": {"student": {"file": "a.csv"}, "blood": {"file": "b.csv"}},
    },
}


def test_a_modality_named_as_a_column_of_the_tables_is_refused():
    with pytest.raises(UserError, match="a modality cannot be called 'student'"):
        validate(Experiment, BASIC | {"representations": {"student": ["raw"]}}, "f.yaml")


@pytest.mark.parametrize("key", ["metrics", "comparators"])
def test_a_name_listed_twice_is_refused(key):
    twice = {"metrics": ["accuracy", "accuracy"], "comparators": ["linear", "linear"]}[key]
    with pytest.raises(UserError, match=f"{key}: each may stand once"):
        validate(Experiment, BASIC | {"representations": {"blood": ["raw"]}, key: twice}, "f.yaml")


def test_cooperative_learning_is_refused_where_it_has_no_meaning(load):
    assert "'cooperative' is for 'task: regression'" in refusal(load, "comparators: [cooperative]")
    message = refusal(
        load,
        "comparators: [cooperative]",
        task="task: regression",
        representations="representations: {csf: [raw]}",
    )
    assert "'cooperative' needs two modalities or more" in message


def test_an_oracle_is_refused_where_no_truth_is_known(load):
    message = refusal(load, "comparators: [oracle]")
    assert message.endswith("'oracle' needs 'kind: simulation', whose latent variables are known")
    assert validate(Experiment, SIMULATED | {"comparators": ["oracle"]}, "f.yaml").comparators == ["oracle"]


def test_a_modality_cannot_have_the_name_of_the_truth():
    content = copy.deepcopy(BASIC)
    content["source"]["modalities"]["truth"] = content["source"]["modalities"].pop("student")
    with pytest.raises(UserError, match="a modality cannot be called 'truth'"):
        validate(Experiment, content | {"representations": {"truth": ["raw"]}}, "f.yaml")


@pytest.mark.parametrize(("repetition", "stream"), [(0, "7"), (1, "7/1"), (12, "7/12")])
def test_a_repetition_has_streams_of_its_own_and_none_has_the_seeds(repetition, stream):
    assert Cohort(repetition=repetition).stream_of(7) == stream


def test_repetitions_and_seeds_share_no_stream():
    streams = [Cohort(repetition=number).stream_of(seed) for number in range(12) for seed in range(25)]
    assert len(set(streams)) == len(streams)


@pytest.mark.parametrize("switch", [name for name in models.SWITCHES if name != "as_published"])
def test_a_switch_changes_its_own_keys_only(switch):
    """Of a switch alone, all that differs from ``corrected`` is as in ``as_published``."""
    found = switched(switch)
    differing = {key for key, corrected, _ in SWITCHES if found[key] != corrected}
    published = {key: value for key, _, value in SWITCHES}
    assert differing == {key for key in KEYS if switch in key.split(".")}
    assert all(found[key] == published[key] for key in differing)


def switched(variant, content=SIMULATED):
    dumped = validate(Experiment, with_variant(content, variant), "f.yaml").model_dump()
    return {keys: reduce(lambda inner, key: inner[key], keys.split("."), dumped) for keys in KEYS}


def test_every_switch_together_is_the_protocol_as_published():
    everything = "+".join(name for name in models.SWITCHES if name != "as_published")
    assert switched(everything) == {key: published for key, _, published in SWITCHES}


def test_the_variant_as_published_is_the_line_in_the_file():
    asked, written = (
        validate(Experiment, content, "f.yaml").model_dump(exclude={"title"})
        for content in (with_variant(SIMULATED, "as_published"), SIMULATED | {"protocol": "as_published"})
    )
    assert asked == written


def test_a_variant_changes_the_keys_it_names_and_leaves_those_beside_them():
    content = SIMULATED | {
        "cohort": {"epochs": 3, "hidden": [8, 4]},
        "variants": {"long": {"cohort": {"epochs": 9}, "seeds": 2, "representations": {"first": ["raw"]}}},
    }
    found = with_variant(content, "long")
    assert found["cohort"] == {"epochs": 9, "hidden": [8, 4]}
    assert found["seeds"] == 2
    assert found["representations"] == SIMULATED["representations"] | {"first": ["raw"]}
    assert found["source"] == SIMULATED["source"]
    assert found["title"] == "t [long]"
    assert "variants" not in found


def test_variants_joined_by_plus_are_made_one_after_the_other():
    content = SIMULATED | {"variants": {"long": {"cohort": {"epochs": 9}}, "longer": {"cohort": {"epochs": 99}}}}
    assert with_variant(content, "long+longer+warm_start")["cohort"] == {"epochs": 99, "warm_start": True}
    assert with_variant(content, "longer+long")["cohort"] == {"epochs": 9}


def test_a_number_is_the_variant_with_so_many_units_besides_those_tested():
    found = with_variant(SIMULATED, "50+strong")
    assert found["split"]["untested_units"] == 50
    assert validate(Experiment, found, "f.yaml").split.cross_fitting == 5
    with pytest.raises(UserError, match="untested_units: Input should be greater than or equal to 1; found 0"):
        validate(Experiment, with_variant(SIMULATED, "0"), "f.yaml")


def test_a_variant_of_the_files_own_hides_a_switch_of_that_name():
    content = SIMULATED | {"variants": {"warm_start": {"cohort": {"epochs": 9}}}}
    assert with_variant(content, "warm_start")["cohort"] == {"epochs": 9}


def test_a_variant_does_not_change_the_content_it_was_given():
    content = copy.deepcopy(SIMULATED) | {"variants": {"long": {"cohort": {"epochs": 9}}}}
    before = copy.deepcopy(content)
    with_variant(content, "long+fit_on+as_published")
    assert content == before


@pytest.fixture
def variants_folder(study_folder):
    lines = [*LINES.values(), "variants: {long: {cohort: {epochs: 99}}, same: {cohort: {epochs: 30}}, bad: {seeds: 0}}"]
    (study_folder / "experiments/one.yaml").write_text("\n".join(lines) + "\n")
    return study_folder


def test_a_variant_is_an_experiment_with_a_name_of_its_own(variants_folder):
    study = load_study({"experiments": ["one", "one@long", "one@long+warm_start"]}, variants_folder)
    assert list(study.experiments) == ["one", "one@long", "one@long+warm_start"]
    epochs = {name: one.cohort.epochs for name, one in study.experiments.items()}
    assert epochs == {"one": 30, "one@long": 99, "one@long+warm_start": 99}
    assert [one.cohort.warm_start for one in study.experiments.values()] == [False, False, True]
    assert study.experiments["one@long"].title == "A test [long]"


def test_a_variant_of_a_file_elsewhere_is_called_after_the_file(variants_folder):
    path = variants_folder / "experiments/one.yaml"
    assert list(load_study({"experiments": [f"{path}@long"]}, variants_folder).experiments) == ["one@long"]


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("lnog", r"one\.yaml: no variant 'lnog'; did you mean 'long'\? Known: .*as_published.*long"),
        ("warm_strat", "did you mean 'warm_start'"),
        ("long+", "no variant ''; "),
        ("same", r"one\.yaml@same: this variant changes nothing in the experiment; leave it out"),
        ("corrected", "no variant 'corrected'"),
        ("bad", r"one\.yaml@bad: seeds: "),
        ("random_streams", r"one\.yaml@random_streams: source.* unknown key 'random_streams'"),
    ],
)
def test_a_variant_that_is_unknown_wrong_or_without_effect_is_refused(variants_folder, variant, words):
    with pytest.raises(UserError, match=words):
        load_study({"experiments": [f"one@{variant}"]}, variants_folder)


def test_a_mistake_in_the_file_itself_is_not_told_of_the_variant(variants_folder):
    (variants_folder / "experiments/two.yaml").write_text("\n".join([*LINES.values(), "seeds: 0"]) + "\n")
    with pytest.raises(UserError, match=r"two\.yaml: seeds: "):
        load_study({"experiments": ["two@warm_start"]}, variants_folder)


def test_a_name_of_a_variant_is_fit_for_a_folder(load):
    assert "variants.a/b" in refusal(load, "variants: {a/b: {seeds: 3}}")
    assert "variants.a+b" in refusal(load, "variants: {a+b: {seeds: 3}}")


def test_experiments_can_be_one_text_with_commas(study_folder):
    assert list(load_study({"experiments": "two, one"}, study_folder).experiments) == ["two", "one"]
    assert list(load_study({"experiments": "one"}, study_folder).experiments) == ["one"]


def test_the_number_of_seeds_of_the_study_wins_over_every_file(variants_folder):
    study = load_study({"experiments": ["one", "two", "one@long"], "seeds": 7}, variants_folder)
    assert [one.seeds for one in study.experiments.values()] == [[1, 2, 3, 4, 5, 6, 7]] * 3


def test_the_folder_of_comparisons_is_no_experiment(study_folder):
    (study_folder / "experiments/comparisons.yaml").write_text("\n".join(LINES.values()) + "\n")
    with pytest.raises(UserError, match="the name 'comparisons' is taken"):
        load_study({"experiments": ["comparisons"]}, study_folder)


def compared(*experiments, listed=("one", "my/two.yaml@warm_start"), **labelled):
    comparison = {"kind": "settings", "title": "Both", "experiments": labelled or list(experiments)}
    return validate(Study, {"experiments": list(listed), "comparisons": {"both": comparison}}, "c.yaml")


def test_a_comparison_names_experiments_as_the_results_are_called():
    found = compared("two@warm_start", "one").comparisons["both"].experiments
    assert list(found.items()) == [("two@warm_start", "two@warm_start"), ("one", "one")]


def test_experiments_of_a_comparison_may_have_labels():
    assert compared(warm="two@warm_start").comparisons["both"].experiments == {"warm": "two@warm_start"}
    with pytest.raises(UserError, match=r"comparisons\.both: 'three' is none of the study's"):
        compared(warm="three")


def test_an_experiment_stands_once_in_a_comparison():
    with pytest.raises(UserError, match="each experiment may stand once"):
        compared("one", "one")


def test_an_experiment_stands_once_under_two_labels():
    with pytest.raises(UserError, match="each may stand once, found one, one"):
        compared(first="one", second="one")


def test_an_ablation_needs_two_experiments():
    comparison = {"kind": "ablation", "title": "t", "experiments": ["one"]}
    with pytest.raises(UserError, match="an ablation needs a variant"):
        validate(Study, {"experiments": ["one"], "comparisons": {"alone": comparison}}, "c.yaml")


@pytest.mark.parametrize("name", ["fit_on", "100"])
def test_a_variant_may_not_be_called_as_a_switch(name):
    given = SIMULATED | {"variants": {name: {"representations": {"first": {"fit_on": "train"}}}}}
    with pytest.raises(UserError, match=f"{name}: taken by a switch between the protocols"):
        validate(Experiment, given, "one.yaml")


def test_a_study_says_how_many_seeds_a_job_takes(study_folder):
    study = load_study({"experiments": ["one"], "seeds": 5, "seeds_per_block": 2}, study_folder)
    assert list(study.experiments["one"].blocks) == ["1-2", "3-4", "5"]


def test_folders_may_be_called_with_an_at_sign(tmp_path):
    folder = tmp_path / "me@home"
    folder.mkdir()
    (folder / "mine.yaml").write_text("\n".join(LINES.values()) + "\n")
    study = load_study({"experiments": [f"{folder}/mine.yaml", f"{folder}/mine.yaml@warm_start"]}, tmp_path)
    assert list(study.experiments) == ["mine", "mine@warm_start"]


def test_double_budget_needs_something_to_fuse():
    alone = SIMULATED | {"representations": {"first": ["raw"]}, "comparators": ["double_budget"]}
    with pytest.raises(UserError, match="'double_budget' is of early and late fusion, which need two modalities"):
        validate(Experiment, alone, "one.yaml")


@pytest.mark.parametrize(
    ("unknown", "words"), [("two@warm", "did you mean 'two@warm_start'"), ("three", "Known: one, two@warm_start")]
)
def test_a_comparison_of_an_experiment_that_does_not_run_is_refused(unknown, words):
    with pytest.raises(UserError, match=rf"comparisons\.both: '{unknown}' is none of the study's .*{words}"):
        compared("one", unknown)


@pytest.mark.parametrize("name", ["two words", "a/b", "1st"])
def test_a_name_of_a_comparison_is_fit_for_a_folder(name):
    comparison = {"kind": "settings", "title": "Both", "experiments": ["one"]}
    with pytest.raises(UserError, match=rf"comparisons\.{name}"):
        validate(Study, {"experiments": ["one"], "comparisons": {name: comparison}}, "c.yaml")


EARLY_SIZES = [80, 70, 60, 50, "absent"], [90, 80, 70, 60, "absent"]
LATE_SIZES = [120, 100, 80, 60, "absent"], [120, 100, 80, 60, "absent"]
LINEAR_SIZES = ["raw", 400, 300, 200, "absent"], ["raw", 300, 200, 100, "absent"]
LINEAR, QUADRATIC = ["linear"] * 3, ["linear", "linear", "quadratic"]
PUBLISHED = {
    # Widths, private latents, shared, noise, transforms, strengths, of products, number of products.
    "1_1": ([500, 400], [20, 30], 0, [0.4, 0.4], LINEAR, [1, 1, 0], 0, 0),
    "1_2": ([2000, 100], [20, 20], 0, [0.1, 0.1], ["quadratic", "linear", "linear"], [1, 1, 0], 1, 40),
    "1_3": ([2000, 100], [20, 20], 0, [0.5, 0.1], ["quadratic", "linear", "linear"], [1, 1, 0], 1, 40),
    "2_1": ([500, 400], [50, 30], 20, [0.4, 0.4], LINEAR, [0, 0, 1], 0, 0),
    "2_2": ([2000, 400], [50, 30], 20, [0.3, 0.3], QUADRATIC, [0, 0, 1], 0, 0),
    "2_3": ([2000, 400], [50, 30], 20, [0.5, 0.3], QUADRATIC, [0, 0, 1], 0, 0),
    "negative_small": ([2000, 400], [50, 30], 20, [0.3, 0.3], QUADRATIC, [0, 0, 1], 0, 0),
    "negative_large": ([2000, 400], [50, 30], 20, [0.3, 0.3], QUADRATIC, [0, 0, 1], 0, 0),
    "four": (
        [300, 200, 100, 50],
        [20, 20, 10, 10],
        0,
        [0.5, 0.1, 0.2, 0.1],
        ["quadratic", *["linear"] * 4],
        [1, 1, 1, 1, 0],
        0,
        0,
    ),
}
NEGATIVE = [0, 1, 3, 5, 10]
COHORTS = {
    # Representations, extractor, head, epochs, penalties, students.
    "1_1": (LINEAR_SIZES, "separate", [128, 64], 10, [0, 0.99, 3], 24),
    "1_2": (EARLY_SIZES, "pca", [300, 200, 100], 30, [0, 0.99, 3], 24),
    "1_3": (EARLY_SIZES, "pca", [300, 200, 100], 30, [0, 0.99, 3], 24),
    "2_1": (LINEAR_SIZES, "separate", [128, 64], 30, [0, 0.99, 3], 24),
    "2_2": (LATE_SIZES, "pca", [300, 200, 100], 30, [0, 0.99, 3], 24),
    "2_3": (LATE_SIZES, "pca", [300, 200, 100], 30, [0, 0.99, 3], 24),
    "negative_small": (([80, 60, 50, "absent"], [60, "absent"]), "pca", [300, 200, 100], 30, NEGATIVE, 7),
    "negative_large": (
        ([100, 80, 60, 50, "absent"], [100, 80, 60, "absent"]),
        "pca",
        [300, 200, 100],
        30,
        NEGATIVE,
        19,
    ),
    "four": (([50, 30], [80, 50, 30], [30], [20]), "pca", [300, 200, 100], 10, [0, 0.99, 3], 6),
}


@pytest.mark.parametrize("protocol", ["", "as_published"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_data_of_a_packaged_simulation_have_the_authors_constants(name, protocol):
    widths, private, shared, noise, transforms, strengths, products, number = PUBLISHED[name]
    source = load_experiment(EXPERIMENTS / f"simulation_{name}.yaml", protocol).source
    assert (source.samples, source.widths, source.private_latents) == (2000, widths, private)
    assert (source.shared_latents, source.noise, source.transforms) == (shared, noise, transforms)
    assert (source.strengths, source.interaction_strength) == (strengths, products)
    assert source.interaction_fraction * private[0] * private[1] == pytest.approx(number)


@pytest.mark.parametrize("protocol", ["", "as_published"])
@pytest.mark.parametrize("name", COHORTS)
def test_cohorts_of_a_packaged_simulation_have_the_authors_constants(name, protocol):
    sizes, extractor, hidden, epochs, penalties, students = COHORTS[name]
    found = load_experiment(EXPERIMENTS / f"simulation_{name}.yaml", protocol)
    assert [one.sizes for one in found.representations.values()] == list(sizes)
    assert {one.extractor for one in found.representations.values()} == {extractor}
    assert [one.hidden for one in found.representations.values()] == [[256] if extractor == "separate" else []] * len(
        sizes
    )
    assert {one.scaling for one in found.representations.values()} == {"none"}
    cohort = found.cohort
    assert (cohort.hidden, cohort.epochs, cohort.penalties) == (hidden, epochs, penalties)
    assert (cohort.learning_rate, cohort.batch_size, cohort.teaching) == (0.001, 64, "clustering")
    assert (cohort.weight_decay, cohort.dropout, cohort.target_scaling) == (0, 0, "none")
    assert len(all_students({name: one.names for name, one in found.representations.items()})) == students
    assert (found.split.test_fraction, found.split.validation_fraction, found.metrics[0]) == (0.2, 0.2, "mse")
    assert (found.ensemble.stacking_epochs, found.ensemble.stacking_learning_rate) == (10, 0.1)


@pytest.mark.parametrize("name", ["negative_small", "negative_large"])
def test_the_study_of_negative_learning_has_a_variant_that_learns_from_the_worst(name):
    path = EXPERIMENTS / f"simulation_{name}.yaml"
    usual, adversarial = (load_experiment(path, variant) for variant in ("", "adversarial"))
    assert adversarial.cohort == usual.cohort.model_copy(update={"teaching": "worst_cluster"})

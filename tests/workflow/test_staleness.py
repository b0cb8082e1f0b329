"""What reruns after an edit: what it can change, and nothing else."""

import os
import re
import shutil

import pytest
import yaml
from conftest import ROOT, SIMULATION, TABLES, Study, write_tables

pytestmark = pytest.mark.workflow

AFTER_EVALUATE = {"evaluate_block", "aggregate_tables", "draw_figures", "all"}


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """A finished study that runs from its own copy of the code."""
    repository = tmp_path_factory.mktemp("repository")
    for name in ("Snakefile", "environment.yaml"):
        shutil.copy(ROOT / name, repository)
    for name in ("metafusion", "scripts", "rules", "profiles"):
        shutil.copytree(ROOT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
    study = Study(tmp_path_factory.mktemp("study"), repository)
    write_tables(study.folder)
    one_seed = {"seeds": 1}
    study.write({"tiny": TABLES | one_seed, "drawn": SIMULATION | one_seed})
    study.succeed()
    return study


def would_rerun(study):
    """Rules (with their experiment) that a dry run lists."""
    printed = study.succeed("--dry-run")
    jobs = re.findall(r"^(?:local)?rule (\w+):(.*?)(?=^\[|\Z)", printed, flags=re.MULTILINE | re.DOTALL)
    return {(rule, (re.search(r"experiment=(\w+)", text) or [None, None])[1]) for rule, text in jobs}


def both(*rules):
    return {(rule, experiment) for rule in rules for experiment in ("tiny", "drawn")} | {("all", None)}


def in_tiny(*rules):
    return {(rule, "tiny") for rule in rules} | {("all", None)}


def edit_code(study, module):
    """Add a line that changes nothing but the content; return what undoes it."""
    path = study.repository / module
    before, times = path.read_text(), path.stat()
    path.write_text(before + "\n# edited\n")

    def undo():
        path.write_text(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    return undo


LATER = ("evaluate_block", "aggregate_tables", "draw_figures")
EDITS = {
    "metafusion/figures.py": both("draw_figures"),
    "metafusion/summary.py": both("aggregate_tables", "draw_figures"),
    "metafusion/evaluation.py": both(*LATER),
    "metafusion/ensembles.py": both("train_comparators", *LATER),
    "metafusion/comparators/linear.py": both("train_comparators", *LATER),
    "metafusion/cohort/packed.py": both("train_cohort", "train_comparators", *LATER),
    "metafusion/representations.py": both("extract_latents", "train_cohort", "train_comparators", *LATER),
    "metafusion/cohort/loop.py": both("train_cohort", "train_comparators", *LATER),
}
FAMILIES = {"metafusion/comparators/linear.py": {"linear"}, "metafusion/cohort/packed.py": {"networks"}}


@pytest.mark.parametrize("module", EDITS)
def test_an_edit_of_a_module_reruns_what_depends_on_it(edited, module):
    undo = edit_code(edited, module)
    try:
        assert would_rerun(edited) == EDITS[module]
    finally:
        undo()


@pytest.mark.parametrize("module", FAMILIES)
def test_an_edit_reruns_the_families_of_comparators_that_depend_on_it(edited, module):
    undo = edit_code(edited, module)
    try:
        printed = edited.succeed("--dry-run")
    finally:
        undo()
    assert set(re.findall(r"family=(\w+)", printed)) == FAMILIES[module]


def test_an_edit_of_a_source_reruns_its_experiment_only(edited):
    undo = edit_code(edited, "metafusion/sources/tables.py")
    try:
        rules = {rule for rule, experiment in would_rerun(edited) if experiment == "drawn"}
        assert rules == set()
        assert ("preprocess_chunk", "tiny") in would_rerun(edited)
    finally:
        undo()


def test_nothing_is_stale_without_an_edit(edited):
    assert would_rerun(edited) == set()


SETTINGS = {
    "title": ({"title": "Another title"}, in_tiny("draw_figures")),
    "ensemble": ({"ensemble": {"start": 2}}, in_tiny(*LATER)),
    "cohort": ({"cohort": TABLES["cohort"] | {"epochs": 4}}, in_tiny("train_cohort", "train_comparators", *LATER)),
    "split": (
        {"split": {"test_fraction": 0.3}},
        in_tiny("split_samples", "extract_latents", "train_cohort", "train_comparators", *LATER),
    ),
}


@pytest.mark.parametrize("key", SETTINGS)
def test_a_changed_setting_reruns_what_reads_it(edited, key):
    change, expected = SETTINGS[key]
    path = edited.folder / "config/experiments/tiny.yaml"
    before = path.read_text()
    path.write_text(yaml.safe_dump(yaml.safe_load(before) | change))
    try:
        assert would_rerun(edited) == expected
    finally:
        path.write_text(before)


def test_one_more_seed_trains_its_own_block_only(edited):
    path = edited.folder / "config/experiments/tiny.yaml"
    before = path.read_text()
    path.write_text(yaml.safe_dump(yaml.safe_load(before) | {"seeds": 2}))
    try:
        printed = edited.succeed("--dry-run")
    finally:
        path.write_text(before)
    blocks = re.findall(r"^rule train_cohort:.*?block=(\S+)", printed, flags=re.MULTILINE | re.DOTALL)
    assert blocks == ["2"]

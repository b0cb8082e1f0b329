"""What reruns after an edit: what it can change, and nothing else.

Only `drawn` has extractors that are trained, and only `tiny` stacks its students.
"""

import base64
import copy
import os
import re
import shutil

import pytest
import yaml
from conftest import ROOT, SIMULATION, TABLES

from metafusion.workflow.layout import LAYOUT

pytestmark = pytest.mark.workflow


def would_rerun(study, *options):
    """Rules (with their experiment) that a dry run lists."""
    return rules_in(study.succeed("--dry-run", *options))


def rules_in(printed):
    jobs = re.findall(r"^(?:local)?rule (\w+):(.*?)(?=^\[|\Z)", printed, flags=re.MULTILINE | re.DOTALL)
    return {(rule, (re.search(r"experiment=(\w+)", text) or [None, None])[1]) for rule, text in jobs}


def both(*rules):
    return in_one("tiny", *rules) | in_one("drawn", *rules)


def in_one(experiment, *rules):
    stacked = {("stack_students", "tiny")} if experiment == "tiny" and "train_cohort" in rules else set()
    # What was made anew is written down anew.
    return {(rule, experiment) for rule in (*rules, "record_provenance")} | stacked | {("all", None)}


def with_extractors(*rules):
    """What reruns if the training of networks changes: also the latents, where networks are extractors."""
    return both(*rules) | {("extract_latents", "drawn")}


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
TRAINED = ("train_cohort", "train_comparators", *LATER)
EDITS = {
    "metafusion/figures.py": both("draw_figures"),
    "metafusion/summary.py": both("aggregate_tables", "draw_figures"),
    "metafusion/evaluation.py": both(*LATER),
    "metafusion/ensembles.py": both("train_comparators", *LATER) | in_one("tiny", "stack_students"),
    "metafusion/comparators/linear.py": both("train_comparators", *LATER),
    "metafusion/stacking.py": in_one("tiny", "stack_students", *LATER),
    "metafusion/cohort/block.py": both("train_cohort", *LATER),
    "metafusion/cohort/packed.py": with_extractors(*TRAINED),
    "metafusion/representations.py": both("extract_latents", *TRAINED),
    "metafusion/extractors.py": in_one("drawn", "extract_latents", *TRAINED),
}
FAMILIES = {"metafusion/comparators/linear.py": {"linear"}, "metafusion/cohort/packed.py": {"networks"}}


@pytest.fixture(scope="module")
def printed_after(finished):
    """A function that returns what a dry run prints after an edit of a module, asked once."""
    printed = {}

    def dry_run(module):
        if module not in printed:
            undo = edit_code(finished, module)
            try:
                printed[module] = finished.succeed("--dry-run")
            finally:
                undo()
        return printed[module]

    return dry_run


@pytest.mark.parametrize("module", EDITS)
def test_an_edit_of_a_module_reruns_what_depends_on_it(printed_after, module):
    assert rules_in(printed_after(module)) == EDITS[module]


@pytest.mark.parametrize("module", FAMILIES)
def test_an_edit_reruns_the_families_of_comparators_that_depend_on_it(printed_after, module):
    assert set(re.findall(r"experiment=tiny, .*?family=(\w+)", printed_after(module))) == FAMILIES[module]


def test_an_edit_of_a_source_reruns_its_experiment_only(printed_after):
    found = rules_in(printed_after("metafusion/sources/tables.py"))
    assert {rule for rule, experiment in found if experiment == "drawn"} == set()
    assert ("preprocess_chunk", "tiny") in found


def drawn_cohort(**keys):
    return {"drawn": {"cohort": SIMULATION["cohort"] | keys}}


def published(**without):
    """The tiny experiment as published but for keys that are given: all that matter to it, less some."""
    keys = {
        "cohort": {
            **TABLES["cohort"],
            "warm_start": False,
            "equal_budget": True,
            "normaliser": "others",
            "frozen_extractors": "frozen",
            "target_scaling": "standard",
        },
        "ensemble": {"independent_list": "selected"},
        "split": {"unit": "subject", "stratify": True, "random_state": "independent"},
        "late_fusion": "probabilities",
        "representations": copy.deepcopy(TABLES["representations"]),
    }
    keys["representations"]["blood"] = {"sizes": TABLES["representations"]["blood"], "fit_on": "train"}
    keys["representations"]["scan"]["fit_on"] = "train"
    for key, names in without.items():
        for name in names:
            del keys[key][name]
    return {"tiny": {"protocol": "as_published", **keys}}


SETTINGS = {
    "title": ({"tiny": {"title": "Another title"}}, in_one("tiny", "describe_data", "draw_figures")),
    "ensemble": ({"tiny": {"ensemble": {"start": 2}}}, in_one("tiny", *LATER)),
    # Who is told of apart is no part of a training, though mistakes in it show before one.
    "positive class": ({"tiny": {"positive": "sick"}}, in_one("tiny", *LATER)),
    "subgroups": ({"tiny": {"subgroups": {"age": [70]}}}, in_one("tiny", *LATER)),
    "stacking": ({"tiny": {"ensemble": {"stacking_epochs": 3}}}, in_one("tiny", "stack_students", *LATER)),
    "stacking switched off": ({"tiny": {"ensemble": {"stacking_epochs": 0}}}, in_one("tiny", *LATER)),
    "cohort": ({"tiny": {"cohort": TABLES["cohort"] | {"epochs": 4}}}, in_one("tiny", *TRAINED)),
    "what nobody uses": (
        {
            # No comparator of the experiment, and a variant that nobody asked for.
            "drawn": {"cooperative": {"agreements": [0]}},
            "tiny": {"variants": {"long": {"cohort": {"epochs": 99}}}},
        },
        set(),
    ),
    "split": (
        {"tiny": {"split": {"test_fraction": 0.3, "random_state": "seed"}}},
        in_one("tiny", "split_samples", "describe_data", "extract_latents", *TRAINED),
    ),
    "cohort beside learnt extractors": (
        drawn_cohort(epochs=4, hidden=[7], patience=2, repetition=1),
        in_one("drawn", *TRAINED),
    ),
    "scaling of the target that extractors learn": (
        drawn_cohort(target_scaling="none"),
        in_one("drawn", "extract_latents", *TRAINED),
    ),
    "measures": ({"tiny": {"metrics": ["log_loss", "accuracy"]}}, in_one("tiny", *LATER)),
    "checks of the data": ({"tiny": {"checks": {"auc": 0.9}}}, in_one("tiny", "describe_data")),
    "representations": (
        {"tiny": {"representations": TABLES["representations"] | {"blood": ["raw", 3, "absent"]}}},
        in_one("tiny", "extract_latents", *TRAINED),
    ),
    # The other families stay as they are.
    "one comparator more": (
        {"tiny": {"comparators": ["networks", "linear", "boosting"]}},
        in_one("tiny", "train_comparators", *LATER),
    ),
    # Figures name the protocol.
    "as published with every key given": (published(), in_one("tiny", "draw_figures")),
    "as published in one key of the ensembles": (published(ensemble=["independent_list"]), in_one("tiny", *LATER)),
    # Networks that are trained alone know no teachers.
    "as published in one key of the cohort": (
        published(cohort=["normaliser"]),
        in_one("tiny", "train_cohort", *LATER),
    ),
    "as published in one key of the split": (
        published(split=["stratify"]),
        in_one("tiny", "split_samples", "describe_data", "extract_latents", *TRAINED),
    ),
}


@pytest.mark.parametrize("key", SETTINGS)
def test_a_changed_setting_reruns_what_reads_it(finished, key):
    changes, expected = SETTINGS[key]
    paths = {experiment: finished.folder / f"config/experiments/{experiment}.yaml" for experiment in changes}
    before = {path: path.read_text() for path in paths.values()}
    for experiment, change in changes.items():
        finished.change(experiment, **change)
    try:
        assert would_rerun(finished) == expected
    finally:
        for path, text in before.items():
            path.write_text(text)


ORDER = [
    "preprocess_chunk",
    "assemble_samples",
    "split_samples",
    "describe_data",
    "extract_latents",
    "train_cohort",
    "train_comparators",
    "stack_students",
    "evaluate_block",
    "aggregate_tables",
    "draw_figures",
]


def in_words(expected):
    """The rules of an edit as the page on architecture lists them."""
    tiny, drawn = ({rule for rule, one in expected if one == name} for name in ("tiny", "drawn"))
    remarks = dict.fromkeys(tiny - drawn, " (where students are stacked)")
    remarks |= dict.fromkeys(drawn - tiny, " (where networks extract)")
    only_one = not tiny or not drawn
    named = [f"`{rule}`{'' if only_one else remarks.get(rule, '')}" for rule in ORDER if rule in tiny | drawn]
    return ", ".join(named) or "nothing"


def test_the_page_on_architecture_says_what_each_of_these_edits_reruns():
    page = (ROOT / "docs/architecture.md").read_text()
    rows = dict(re.findall(r"^\| (.*?) \| (.*?) \|$", page.partition("| edit | runs again |")[2], flags=re.MULTILINE))
    expected = {f"`{module}`": in_words(rules) for module, rules in EDITS.items()}
    expected |= {key: in_words(rules) for key, (_, rules) in SETTINGS.items()}
    assert {edit: rows.get(edit) for edit in expected} == expected


def test_how_a_training_runs_is_no_part_of_its_result(finished):
    settings = ("checkpoint_minutes=3", "memory_mb=9000", "gpu_memory_share=0.5", "cuda_graphs=false")
    assert would_rerun(finished, "--config", *settings) == set()


def test_the_precision_of_a_gpu_matters_where_networks_may_be_trained_on_one(finished):
    # Stacking follows the training of its students.
    expected = in_one("drawn", "extract_latents", *TRAINED) | in_one("tiny", "train_cohort", *LATER)
    assert would_rerun(finished, "--config", "tf32=true") == expected


@pytest.mark.parametrize("way", ["profile", "auto"])
def test_networks_are_trained_on_a_gpu_where_there_are_some(finished, way):
    options = {
        "profile": ["--workflow-profile", str(finished.repository / "profiles/gpu")],
        "auto": ["--resources", "gpu=2", "--forceall"],
    }
    printed = finished.succeed("--dry-run", *options[way])
    asking = set()
    for rule, text in re.findall(r"^(?:local)?rule (\w+):(.*?)(?=^\[|\Z)", printed, flags=re.MULTILINE | re.DOTALL):
        experiment = re.search(r"experiment=(\w+)", text)
        if re.search(r"resources: .*gpu=1", text):
            asking.add((rule, experiment[1]))
    assert asking == {("train_cohort", "tiny"), ("train_cohort", "drawn"), ("extract_latents", "drawn")}


def test_one_more_seed_trains_its_own_block_only(finished):
    path = finished.folder / "config/experiments/tiny.yaml"
    before = path.read_text()
    path.write_text(yaml.safe_dump(yaml.safe_load(before) | {"seeds": 3}))
    try:
        printed = finished.succeed("--dry-run")
    finally:
        path.write_text(before)
    blocks = re.findall(r"^rule train_cohort:.*?block=(\S+)", printed, flags=re.MULTILINE | re.DOTALL)
    assert blocks == ["3"]


def test_a_script_with_an_old_time_reruns_its_stage(finished):
    """As archives and copies that keep times bring it; Snakemake itself looks at the time only."""
    undo = edit_code(finished, "scripts/evaluate_block.py")
    os.utime(finished.repository / "scripts/evaluate_block.py", (0, 0))
    try:
        assert would_rerun(finished) == both(*LATER)
    finally:
        undo()


def test_a_change_of_the_layout_makes_everything_anew(printed_after):
    made = {rule for rule, experiment in rules_in(printed_after("metafusion/workflow/layout.py")) if experiment}
    assert made >= {"preprocess_chunk", "assemble_samples", "train_cohort", "describe_data", "record_provenance"}


def test_results_that_snakemake_has_no_note_of_are_refused(copy_of):
    shutil.rmtree(copy_of.folder / ".snakemake/metadata")
    printed = copy_of.fail("--dry-run")
    assert "results/tiny: holds results, but Snakemake's notes in .snakemake do not know" in printed
    assert "move the results away" in printed
    # As a job leaves it that was killed.
    note = base64.urlsafe_b64encode(b"results/tiny/samples.parquet").decode()
    (copy_of.folder / ".snakemake/incomplete" / note).touch()
    copy_of.write({"tiny": TABLES})
    assert ("assemble_samples", "tiny") in would_rerun(copy_of)


def test_results_of_a_newer_layout_are_refused(copy_of):
    path = copy_of.folder / "results/drawn/provenance.json"
    path.write_text(path.read_text().replace(f'"layout": {LAYOUT}', f'"layout": {LAYOUT + 1}'))
    printed = copy_of.fail("--dry-run")
    assert f"results/drawn: made by a newer metafusion (layout {LAYOUT + 1}" in printed
    assert "Traceback" not in printed

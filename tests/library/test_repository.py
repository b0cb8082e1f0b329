"""What the files of the repository promise each other."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import metafusion

ROOT = Path(__file__).parents[2]
PINS = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line]
RULES = [
    (path.name, name)
    for path in sorted((ROOT / "rules").glob("*.smk"))
    for name in re.findall(r"^rule (\w+):", path.read_text(), flags=re.MULTILINE)
]


def test_every_requirement_is_pinned():
    assert [pin for pin in PINS if not re.fullmatch(r"[A-Za-z0-9_.\-]+==[0-9][\w.]*", pin)] == []


def test_the_conda_environment_holds_exactly_the_requirements():
    environment = yaml.safe_load((ROOT / "environment.yaml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == PINS


def test_the_container_holds_exactly_the_requirements():
    text = (ROOT / "Containerfile").read_text()
    assert re.findall(r"^COPY (.*)$", text, flags=re.MULTILINE) == ["requirements.txt /opt/metafusion/requirements.txt"]
    installed = re.findall(r"pip install (.*?)(?: \\\n|; fi)", text)
    # No package but these, unless the builder names more.
    index = '${INDEX:+--extra-index-url "$INDEX"}'
    wanted = f"--no-cache-dir --no-deps {index} --requirement /opt/metafusion/requirements.txt"
    assert installed == [wanted, "--no-cache-dir $PLUGINS"]
    environment = yaml.safe_load((ROOT / "environment.yaml").read_text())
    (python,) = [entry for entry in environment["dependencies"] if str(entry).startswith("python=")]
    assert f"/python:{python.partition('=')[2]}-slim" in text


@pytest.mark.parametrize(("module", "rule"), RULES)
def test_a_rule_names_the_conda_environment(module, rule):
    text = (ROOT / "rules" / module).read_text()
    body = text[text.index(f"rule {rule}:") :].partition("script:")[0]
    assert re.search(r'conda:\s+"../environment.yaml"', body)


def test_the_environment_runs_the_pinned_versions():
    done = subprocess.run(
        [sys.executable, "-m", "pip", "freeze", "--exclude-editable"], capture_output=True, text=True, check=True
    )
    installed = {line.split("+")[0].lower() for line in done.stdout.splitlines()}
    assert {pin.lower() for pin in PINS} <= installed


@pytest.mark.parametrize(("module", "rule"), RULES)
def test_a_rule_its_script_and_its_log_carry_the_same_name(module, rule):
    assert (ROOT / "scripts" / f"{rule}.py").exists()
    text = (ROOT / "rules" / module).read_text()
    body = text[text.index(f"rule {rule}:") :]
    assert f'"../scripts/{rule}.py"' in body
    assert re.search(rf'log:\s+"<logs>/(\{{experiment\}}/)?{rule}[./]', body)


@pytest.mark.parametrize("path", sorted((ROOT / "scripts").glob("*.py")), ids=lambda path: path.stem)
def test_scripts_are_thin(path):
    assert len(path.read_text().splitlines()) <= 42


def test_the_library_knows_of_snakemake_in_the_folder_workflow_alone():
    modules = [path for path in (ROOT / "metafusion").rglob("*.py") if path.parent.name != "workflow"]
    found = []
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                names += [f"{node.module}.{name}" for name in names]
            known = [name for name in names if f"{name}.".startswith(("snakemake", "metafusion.workflow."))]
            found += [(str(path.relative_to(ROOT)), name) for name in known]
    assert len(modules) > 100
    assert found == []


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)[1]
    assert citation["version"] == project == metafusion.__version__


def test_the_python_example_of_the_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    scope = {}
    exec(code, scope)
    assert scope["trained"].predictions.shape == (3, 3, 200, 2)


def test_the_experiment_of_the_readme_is_valid():
    from metafusion.config.models import Experiment

    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    experiment = Experiment.model_validate(yaml.safe_load(text))
    assert experiment.source.modality_names == ["mri", "blood"]


def rows_of_table(page, first_column):
    """Cells of the rows of a page's table whose header begins with a column, without the marks of code."""
    lines = (ROOT / page).read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").replace("`", "").split("|")])
    return rows


def value_at(settings, key):
    for name in key.split("."):
        settings = next(iter(settings.values())) if name == "*" else settings[name]
    return settings


@pytest.mark.parametrize(("protocol", "column"), [("corrected", 1), ("as_published", 2)])
def test_the_table_of_protocols_says_what_each_key_becomes(protocol, column):
    from metafusion.config.models import Experiment

    given = {"title": "", "task": "regression", "source": {"kind": "simulation"}, "representations": {"first": ["raw"]}}
    found = Experiment.model_validate(given | {"protocol": protocol}).model_dump()
    for row in rows_of_table("docs/method.md", "key"):
        assert value_at(found, row[0]) == yaml.safe_load(row[column]), row[0]


def test_the_table_of_protocols_has_every_switch():
    from metafusion.config.models import Experiment

    def leaves(settings, path=()):
        if not isinstance(settings, dict):
            return {".".join(path): settings}
        below = (leaves(value, (*path, name)) for name, value in settings.items())
        return {key: value for part in below for key, value in part.items()}

    given = {"title": "", "task": "regression", "source": {"kind": "simulation"}, "representations": {"first": ["raw"]}}
    corrected, published = (
        leaves(Experiment.model_validate(given | {"protocol": name}).model_dump())
        for name in ("corrected", "as_published")
    )
    switches = {key for key in corrected if corrected[key] != published[key]} - {"protocol"}
    listed = {row[0].replace("*", "first") for row in rows_of_table("docs/method.md", "key")}
    assert listed == switches


def test_the_table_of_epochs_says_how_long_each_cohort_trains():
    from metafusion.cohort.loop import epochs_at
    from metafusion.config.models import Cohort

    rows = rows_of_table("docs/method.md", "`warm_start`")
    assert len(rows) == 4
    for warm, equal, *said in rows:
        settings = Cohort(epochs=7, warm_start=warm == "true", equal_budget=equal == "true")
        epochs = [*(epochs_at(penalty, settings) for penalty in settings.penalties), settings.budget]
        assert epochs == [{"E": 7, "2E": 14}[cell.split()[0]] for cell in said]


def test_the_contract_of_the_selection_names_its_columns():
    from metafusion.cohort.block import SELECTION

    (row,) = [line for line in (ROOT / "docs/architecture.md").read_text().splitlines() if "`selection.tsv` |" in line]
    without_remarks = re.sub(r"\([^()]*\)", "", row.split("|")[2])
    assert re.findall(r"`(\w+)`", without_remarks) == SELECTION


def test_the_page_on_scaling_has_every_key_of_how_jobs_run():
    from metafusion.config.models import Study

    described = {row[0] for row in rows_of_table("docs/scaling.md", "key")}
    # These say what runs, where its files are, and what of them is shown.
    others = {"experiments", "seeds", "comparisons", "pathvars", "ids_in_report"}
    assert described == set(Study.model_fields) - others


def test_the_page_on_scaling_has_every_key_and_option_of_the_benchmark():
    page, code = (ROOT / "docs/scaling.md").read_text(), (ROOT / "benchmarks/cohort.py").read_text()
    measure = next(
        node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef) and node.name == "measure"
    )
    (found,) = [node.value for node in ast.walk(measure) if isinstance(node, ast.Return)]
    names = [key.value for key in found.keys] + re.findall(r'add_argument\("(--[\w-]+)"', code)
    assert len(names) > 20
    assert [name for name in names if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    "profile", sorted((ROOT / "profiles").glob("*/config.yaml")), ids=lambda path: path.parent.name
)
def test_what_a_profile_sets_is_a_known_key(profile):
    from metafusion.config.models import Study

    given = dict(entry.split("=", 1) for entry in yaml.safe_load(profile.read_text()).get("config", []))
    Study.model_validate({"experiments": ["any"]} | given)


def test_the_profile_for_slurm_groups_rules_that_there_are_and_the_page_says_which():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    rules, groups = {name for _, name in RULES}, profile["groups"]
    assert set(profile["set-resources"]) | set(groups) <= rules
    taking_turns = {name for name, given in profile["set-resources"].items() if given.get("one_of_a_group") == 1}
    assert taking_turns == set(groups)
    assert (profile["resources"], profile["set-resource-scopes"]) == (
        {"one_of_a_group": 1},
        {"one_of_a_group": "local"},
    )
    # What the page has by group; rules without one stand alone or run where Snakemake does.
    told = {name: row[2] for row in rows_of_table("docs/scaling.md", "rules") for name in row[0].split(", ")}
    assert told.keys() == rules
    assert {name: group for name, group in told.items() if group not in ("", "any executor")} == groups
    components = {
        group: row[1] for row in rows_of_table("docs/scaling.md", "rules") if (group := row[2]) in groups.values()
    }
    assert {group: words.split()[0] for group, words in components.items()} == {
        group: {10: "ten", 1: "an"}[profile["group-components"].get(group, 1)] for group in components
    }


def test_the_tests_that_pages_name_are_there():
    named = {name for page in (ROOT / "docs").rglob("*.md") for name in re.findall(r"`(test_\w+)`", page.read_text())}
    there = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) >= 5
    assert {name for name in named if f"def {name}(" not in there} == set()


def test_links_of_the_pages_lead_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "config/README.md"]
    broken = [
        (str(page.relative_to(ROOT)), link)
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []

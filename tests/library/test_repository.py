"""What the files of the repository promise each other."""

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
    assert len(path.read_text().splitlines()) <= 40


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


def test_links_of_the_pages_lead_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "config/README.md"]
    broken = [
        (str(page.relative_to(ROOT)), link)
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []

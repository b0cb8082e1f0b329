"""Real Snakemake runs on tiny data, each in a folder of its own."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from filelock import FileLock

ROOT = Path(__file__).parents[2]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")


def pytest_collection_modifyitems(items):
    """Runs of Snakemake come first, so that what is left for the end is short, and no worker waits for another."""
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)


@dataclass
class Study:
    """A folder with a configuration, and the means to run it."""

    folder: Path
    repository: Path = ROOT

    def write(self, experiments: dict[str, dict], /, **study: object) -> None:
        """Write config/config.yaml and one file an experiment."""
        (self.folder / "config/experiments").mkdir(parents=True, exist_ok=True)
        for name, experiment in experiments.items():
            (self.folder / f"config/experiments/{name}.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False))
        names = {"experiments": list(experiments)}
        (self.folder / "config/config.yaml").write_text(yaml.safe_dump(names | study, sort_keys=False))

    def run(self, *options: str, cores: int = 2) -> subprocess.CompletedProcess:
        """Run Snakemake; standard output and error together."""
        return subprocess.run(
            [SNAKEMAKE, "-s", self.repository / "Snakefile", "--cores", str(cores), *options],
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )

    def succeed(self, *options: str, cores: int = 2) -> str:
        """Run Snakemake and see it succeed; return what it printed."""
        done = self.run(*options, cores=cores)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start(self, *options: str) -> psutil.Popen:
        """Start Snakemake and do not wait for it."""
        command = [SNAKEMAKE, "-s", self.repository / "Snakefile", "--cores", "2", *options]
        return psutil.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def change(self, name: str, **keys: object) -> None:
        """Give keys of an experiment's file other values."""
        path = self.folder / f"config/experiments/{name}.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys, sort_keys=False))

    def log(self, rule: str, job: str) -> str:
        """Return what a job wrote into its log."""
        return (self.folder / f"logs/{job.split('/')[0]}/{rule}/{job.split('/')[1]}.log").read_text()

    def fail(self, *options: str) -> str:
        """Run Snakemake and see it fail; return what it printed."""
        done = self.run(*options)
        assert done.returncode != 0, done.stdout
        return done.stdout

    def bytes_of(self, *patterns: str) -> dict[str, bytes]:
        """Contents of the files that match, by path below results/."""
        results = self.folder / "results"
        files = [file for pattern in patterns for file in results.glob(pattern) if file.is_file()]
        return {str(file.relative_to(results)): file.read_bytes() for file in sorted(files)}


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


TABLES = {
    "title": "A tiny study",
    "task": "classification",
    "source": {
        "kind": "tables",
        "samples": {
            "file": "data/samples.csv",
            "id": "id",
            "target": "diagnosis",
            "subject": "person",
            "part": "part",
        },
        "modalities": {"blood": {"file": "data/blood.csv"}, "scan": {"file": "data/scan.tsv"}},
    },
    "representations": {
        "blood": ["raw", 2, "absent"],
        "scan": {"sizes": ["raw", 2, "absent"], "extractor": "separate", "hidden": [3]},
    },
    "cohort": {"hidden": [6], "epochs": 3, "batch_size": 16},
    "seeds": 2,
    "seeds_per_block": 2,
    "metrics": ["accuracy", "log_loss"],
}
"""An experiment on a user's own tables, with given test samples and no networks trained before the students."""

SIMULATION = {
    "title": "A tiny simulation",
    "task": "regression",
    "source": {"kind": "simulation", "samples": 80, "widths": [12, 8], "private_latents": [3, 3]},
    "representations": {
        "first": {"sizes": ["raw", 5, 3, "absent"], "extractor": "encoder", "epochs": 2, "scaling": "none"},
        "second": {
            "sizes": ["raw", 3, "absent"],
            "extractor": "conv1d",
            "shape": [2, 4],
            "channels": [3],
            "epochs": 2,
            "fine_tune": True,
        },
    },
    "cohort": {"hidden": [6], "more_heads": [{"hidden": []}, {"hidden": [4], "dropout": 0.2}], "epochs": 3},
    "split": {"stratify": False},
    "ensemble": {"stacking_epochs": 0},
    "seeds": 2,
    "metrics": ["mse"],
}
"""An experiment whose extractors are trained before the students, with several heads, and without stacking."""

SETTING = {
    "title": "A tiny setting",
    "task": "regression",
    "source": {"kind": "simulation", "samples": 60, "widths": [8, 6], "private_latents": [3, 3]},
    "representations": {
        "first": {
            "sizes": ["raw", 3, "absent"],
            "extractor": "conv1d",
            "shape": [2, 4],
            "channels": [2],
            "epochs": 1,
        },
        "second": ["raw", "absent"],
    },
    "cohort": {"hidden": [5], "epochs": 2, "batch_size": 16, "penalties": [0, 1]},
    "split": {"stratify": False},
    "seeds": 3,
    "comparators": ["networks", "double_budget", "linear", "boosting", "cooperative", "oracle", "tuned"],
    "metrics": ["mse", "r2"],
    "variants": {
        "worst": {
            "cohort": {"teaching": "worst_cluster"},
            "comparators": ["networks", "linear"],
            "seeds_per_block": 2,
        }
    },
}
"""A setting of a simulation study with all comparators, and a variant of its own in two blocks of seeds."""

COMPARED = ["setting", "setting@worst"]
COMPARISONS = {
    "both": {"kind": "settings", "title": "Two settings", "experiments": COMPARED},
    "switch": {"kind": "ablation", "title": "One switch", "experiments": COMPARED},
    "negative": {"kind": "penalties", "title": "Who teaches", "experiments": COMPARED},
}


def write_tables(folder: Path, subjects: int = 30, seed: int = 0, **samples_columns: object) -> None:
    """Write a sample table and two modalities with signal: two samples a person, some to test, some without a scan."""
    random = np.random.default_rng(seed)
    people = np.repeat([f"p{number:02d}" for number in range(subjects)], 2)
    names = [f"{person}_{visit}" for person, visit in zip(people, [1, 2] * subjects, strict=True)]
    sick = np.repeat(np.arange(subjects) % 2, 2)
    data = folder / "data"
    data.mkdir(exist_ok=True)
    samples = pd.DataFrame({"id": names, "person": people, "diagnosis": np.where(sick, "sick", "well")})
    samples["part"] = np.where(np.arange(len(names)) < 16, "test", "")
    samples.assign(**samples_columns).to_csv(data / "samples.csv", index=False)
    blood = pd.DataFrame(random.standard_normal((len(names), 5)), columns=list("abcde"))
    blood["a"] += sick
    blood.insert(0, "id", names)
    blood.to_csv(data / "blood.csv", index=False)
    scan = pd.DataFrame(random.standard_normal((len(names), 4)), columns=list("wxyz"))
    scan["w"] -= sick
    scan.insert(0, "id", names)
    scan.iloc[:-6].to_csv(data / "scan.tsv", index=False, sep="\t")


@pytest.fixture
def tables_study(study):
    """A study on tiny tables, not yet run."""
    write_tables(study.folder)
    study.write({"tiny": TABLES})
    return study


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """A copy of the code, which tests may edit if they undo it."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("Snakefile", "environment.yaml", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    for name in ("metafusion", "scripts", "rules", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def made_once(
    base: Path, worker: str, name: str, repository: Path, make: Callable[[Study], None], *options: str
) -> Study:
    """Return a run of this worker's own, of which the costly part was made once for all workers."""
    shared = (base if worker == "master" else base.parent) / f"shared_{name}"
    with FileLock(f"{shared}.lock"):
        if not (shared / "printed").exists():
            shutil.rmtree(shared, ignore_errors=True)
            shared.mkdir()
            study = Study(shared, repository)
            make(study)
            (shared / "printed").write_text(study.succeed(*options))
    study = copied(Study(shared, repository), base / name)
    study.printed = (study.folder / "printed").read_text()
    return study


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id, repository):
    """A finished run of both tiny experiments, to be looked at and not to be changed."""

    def make(study):
        write_tables(study.folder)
        study.write({"tiny": TABLES, "drawn": SIMULATION})

    return made_once(tmp_path_factory.getbasetemp(), worker_id, "finished", repository, make)


@pytest.fixture(scope="session")
def compared(tmp_path_factory, worker_id, repository):
    """A finished study of a setting, a variant of it and all comparisons, to be looked at and not to be changed."""

    def make(study):
        study.write({"setting": SETTING}, experiments=COMPARED, comparisons=COMPARISONS)

    return made_once(tmp_path_factory.getbasetemp(), worker_id, "compared", repository, make, "--verbose")


def copied(study: Study, folder: Path) -> Study:
    """Copy a finished run into a folder that may be changed."""
    # copytree keeps the times of files, by which Snakemake judges.
    shutil.copytree(study.folder, folder)
    return Study(folder, study.repository)


@pytest.fixture
def copy_of(finished, tmp_path):
    """The finished run of the tiny experiments again."""
    return copied(finished, tmp_path / "copy")


@pytest.fixture
def copy_of_compared(compared, tmp_path):
    """The finished study of a setting again."""
    return copied(compared, tmp_path / "copy")

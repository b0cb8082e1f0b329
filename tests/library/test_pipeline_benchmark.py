"""The benchmark of the pipeline: how it counts the time of jobs. What it measures takes minutes, and is run by hand."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/pipeline.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_of_the_pipeline", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_time_is_counted_once_for_each_job_and_split_into_work_and_start(benchmark, tmp_path):
    notes = tmp_path / ".snakemake/metadata"
    notes.mkdir(parents=True)
    # Two outputs of one job, a second job of the same rule, and two that a cache had, one with an empty log.
    made = [("a", "1.log", 10.0, 14.0), ("b", "1.log", 10.0, 14.0), ("c", "2.log", 11.0, 14.5)]
    for name, log, start, end in [*made, ("d", "3.log", 11.0, 11.5), ("e", "4.log", 11.0, 11.5)]:
        record = {"rule": "train_cohort", "log": [log], "starttime": start, "endtime": end}
        (notes / name).write_text(json.dumps(record))
    (tmp_path / "1.log").write_text("2026 INFO training on cpu\n2026 INFO worked 1.50 s\n")
    (tmp_path / "2.log").write_text("2026 INFO worked 2.25 s\n")
    (tmp_path / "3.log").touch()
    assert benchmark.of_rules(tmp_path) == {"train_cohort": {"jobs": 2, "wall_s": 7.5, "work_s": 3.75}}


def test_the_page_on_scaling_has_every_option_and_key(benchmark):
    page = (ROOT / "docs/scaling.md").read_text()
    names = re.findall(r'add_argument\("(--[\w-]+)"', SCRIPT.read_text())
    names += ["demo_wall_s", "rules", "compute_share", "dry_run", "jobs", "wall_s", "work_s", "cpu_s"]
    assert len(names) == 12
    assert [name for name in names if f"`{name}`" not in page] == []

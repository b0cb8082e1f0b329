"""The benchmark of the pipeline: how it counts the time of jobs. What it measures takes minutes, and is run by hand."""

import importlib.util
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from metafusion.workflow.job import job

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
    (tmp_path / "1.log").write_text(
        "2026 INFO training on cpu\n2026 INFO worked 1.50 s; of processors, start 0.50 s, work 1.25 s\n"
    )
    (tmp_path / "2.log").write_text("2026 INFO worked 2.25 s; of processors, start 0.75 s, work 2.00 s\n")
    (tmp_path / "3.log").touch()
    assert benchmark.of_rules(tmp_path) == {
        "train_cohort": {"jobs": 2, "wall_s": 7.5, "work_s": 3.75, "start_cpu_s": 1.25, "work_cpu_s": 3.25}
    }


def test_the_log_of_a_job_says_its_times_as_the_benchmark_reads_them(benchmark, tmp_path):
    given = SimpleNamespace(rule="any", params=SimpleNamespace(), log=[str(tmp_path / "log")], input=[], output=[])
    began, started = time.process_time(), time.perf_counter()
    with job(given):
        while time.process_time() < began + 0.3:
            pass
    worked, start, work = map(float, benchmark.SAID.search((tmp_path / "log").read_text()).groups())
    assert 0.3 <= work <= worked + 0.05 <= time.perf_counter() - started + 0.1
    assert start == pytest.approx(began, abs=0.1)


def test_the_page_on_scaling_has_every_option_and_key(benchmark):
    page = (ROOT / "docs/scaling.md").read_text()
    names = re.findall(r'add_argument\("(--[\w-]+)"', SCRIPT.read_text())
    names += ["demo_wall_s", "rules", "compute_share", "compute_share_cpu", "dry_run", "jobs", "cpu_s"]
    names += ["demo_cpu_s", *benchmark.SECONDS]
    assert len(names) == 16
    assert [name for name in names if f"`{name}`" not in page] == []

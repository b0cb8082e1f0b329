"""Measure what is not computing: the start-up of jobs in a run, and building the graph of many jobs (dry runs).

    python benchmarks/pipeline.py --json
    python benchmarks/pipeline.py --jobs 1000 10000 --experiments none
    python benchmarks/pipeline.py --experiments alzheimers_csf --cores 2 --jobs

`rules` has, for each rule of a real run of packaged experiments, its jobs, their wall time as Snakemake recorded it,
and the part of it in which they worked, as their logs say; the rest is the start of Python and imports. `start_cpu_s`
and `work_cpu_s` are the same in processor time, which other programs on the machine hardly change. `compute_share` and
`compute_share_cpu` are the shares of work over all jobs. A dry run is of six settings of a simulation, with as many
seeds as make about so many jobs. Compare within one run: machines are noisy, and processor times less so than wall
times.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PACKAGED = "alzheimers_csf,eeg_scp,mri_atrophy,simulation_four"
SETTINGS = 6
SECONDS = ("wall_s", "work_s", "start_cpu_s", "work_cpu_s")
"""What is summed over the jobs of a rule."""
SAID = re.compile(r"worked ([\d.]+) s; of processors, start ([\d.]+) s, work ([\d.]+) s$", flags=re.MULTILINE)
"""The last line of a job's log."""
JOBS_PER_SEED, JOBS_PER_EXPERIMENT = 7, 5
"""Of an experiment with two families of comparators, and seeds in blocks of one."""


def snakemake(folder: Path, *options: str) -> tuple[str, float, float]:
    """Run the workflow in a folder; return what it printed, and seconds by the clock and of the processors."""
    command = [Path(sys.executable).with_name("snakemake"), "-s", ROOT / "Snakefile", *options]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout + done.stderr, wall, cpu


def dry_run(jobs: int) -> dict[str, float]:
    """Time a dry run of about so many jobs."""
    seeds = max(1, round((jobs / SETTINGS - JOBS_PER_EXPERIMENT) / JOBS_PER_SEED))
    experiment = {
        "title": "Many jobs",
        "task": "regression",
        "source": {"kind": "simulation", "samples": 100, "widths": [12, 8], "private_latents": [3, 3]},
        "representations": {"first": ["raw", 3], "second": ["raw", 3]},
        "comparators": ["networks", "linear"],
        "split": {"stratify": False},
        "metrics": ["mse"],
        "seeds": seeds,
        "seeds_per_block": 1,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config/experiments").mkdir(parents=True)
        names = [f"setting_{number}" for number in range(SETTINGS)]
        for one in names:
            (folder / f"config/experiments/{one}.yaml").write_text(yaml.safe_dump(experiment))
        (folder / "config/config.yaml").write_text(yaml.safe_dump({"experiments": names}))
        printed, wall, cpu = snakemake(folder, "--dry-run", "--cores", "all", "--quiet", "rules")
    found = int(re.search(r"^total +(\d+)$", printed, flags=re.MULTILINE)[1])
    return {"jobs": found, "wall_s": round(wall, 2), "cpu_s": round(cpu, 2)}


def run(experiments: str, cores: str) -> dict[str, object]:
    """Run packaged experiments from nothing (the wheels aside), and say what their jobs did with their time."""
    os.environ.setdefault("METAFUSION_WHEELS", str(ROOT / "resources/wheels"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config").symlink_to(ROOT / "config")
        _, wall, cpu = snakemake(folder, "--cores", cores, "--config", f"experiments={experiments}")
        rules = of_rules(folder)
    spent, worked, starting, working = (sum(rule[key] for rule in rules.values()) for key in SECONDS)
    return {
        "demo_wall_s": round(wall, 1),
        "demo_cpu_s": round(cpu, 1),
        "rules": rules,
        "compute_share": round(worked / spent, 3),
        "compute_share_cpu": round(working / (starting + working), 3),
    }


def of_rules(folder: Path) -> dict[str, dict[str, float]]:
    """Return the jobs of each rule of a finished run, and their times (s), see :data:`SECONDS`.

    What came from a cache counts nowhere: no script ran, so its log is empty or missing.
    """
    jobs = {}
    for path in (folder / ".snakemake/metadata").iterdir():
        record = json.loads(path.read_text())
        if record["log"]:
            jobs[record["log"][0]] = record["rule"], record["endtime"] - record["starttime"]
    rules: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(("jobs", *SECONDS), 0))
    for log, (rule, wall) in jobs.items():
        said = (folder / log).read_text() if (folder / log).exists() else ""
        if not (found := SAID.search(said)):
            continue
        for key, value in zip(("jobs", *SECONDS), (1, wall, *map(float, found.groups())), strict=True):
            rules[rule][key] = round(rules[rule][key] + value, 2)
    return dict(sorted(rules.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", default=PACKAGED, help="packaged ones to run, or none")
    parser.add_argument("--cores", default="all")
    parser.add_argument("--jobs", type=int, nargs="*", default=[1000, 10000], help="of each dry run, about")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    chosen = parser.parse_args()
    found = {} if chosen.experiments == "none" else run(chosen.experiments, chosen.cores)
    found["dry_run"] = [dry_run(jobs) for jobs in chosen.jobs]
    if chosen.json:
        print(json.dumps(found))
        return
    for rule, row in found.pop("rules", {}).items():
        print(rule, *(f"{key} {value}" for key, value in row.items()), sep="\t")
    for row in found.pop("dry_run"):
        print("dry_run", *(f"{key} {value}" for key, value in row.items()), sep="\t")
    print("\n".join(f"{key}\t{value}" for key, value in found.items()))


if __name__ == "__main__":
    main()

"""A real Slurm of two nodes on this machine: the tables of local runs, also after cancelled jobs and a lost node."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests/slurm/throwaway.sh"
LACKING = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
# This Slurm keeps no accounts.
OPTIONS = ["--slurm-no-account", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.workflow,
    pytest.mark.skipif(bool(LACKING), reason=f"Slurm is not installed: no {', '.join(LACKING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="slurmd must be started by root"),
]


@pytest.fixture(scope="module")
def slurm():
    """Start a throw-away Slurm; the environment that points at it."""
    # Not pytest's folder: the path of a socket must be short.
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    try:
        # Ports of its own, also where another worker, or a person, tries the same.
        ports = os.environ | {"SLURM_TEST_PORT": str(20000 + 10 * (os.getpid() % 3000))}
        done = subprocess.run([SCRIPT, "start", folder], env=ports, check=True, capture_output=True, text=True)
        printed = done.stdout
        assert printed.startswith("export PATH=")
        yield os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True)
        shutil.rmtree(folder)


def jobs(slurm: dict[str, str]) -> dict[str, str]:
    """Slurm's running jobs: the comment that the executor gives them, which names the rule, by their number."""
    printed = subprocess.run(
        ["squeue", "--noheader", "--states=RUNNING", "--format=%i %k"],
        env=slurm,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {number: comment for number, _, comment in (line.partition(" ") for line in printed.splitlines())}


def test_tables_are_those_of_local_runs_though_jobs_are_cancelled_and_a_node_drained(slurm, tables_study, tmp_path):
    wanted = "results/tiny/tables/summary.tsv"
    tables_study.change("tiny", seeds=3, seeds_per_block=1, comparators=["linear"])
    local = []
    for cores in (1, 2):
        folder = tmp_path.with_name(f"{tmp_path.name}_on_{cores}")
        local.append(type(tables_study)(shutil.copytree(tables_study.folder, folder)))
        local[-1].succeed(wanted, cores=cores)
    snakemake = [Path(sys.executable).with_name("snakemake"), "-s", ROOT / "Snakefile"]
    profile = ["--workflow-profile", ROOT / "profiles/slurm", *OPTIONS]
    told, seen = tables_study.folder / "told", {}
    with told.open("w") as out:
        run = subprocess.Popen(
            [*snakemake, *profile, wanted], cwd=tables_study.folder, env=slurm, stdout=out, stderr=subprocess.STDOUT
        )
        cancelled, drained = [], False
        while run.poll() is None:
            running = jobs(slurm)
            seen |= running
            training = [number for number, comment in running.items() if "train_cohort" in comment]
            # While several jobs run: one of them is cancelled, later another one and a node is drained.
            if len(running) > 1 and training and not cancelled:
                cancelled = training[:1]
                subprocess.run(["scancel", *cancelled], env=slurm, check=True)
            elif len(running) > 1 and set(training) - set(cancelled) and not drained:
                drained = True
                drain = ["scontrol", "update", "nodename=n1", "state=drain", "reason=test"]
                subprocess.run(drain, env=slurm, check=True)
                cancelled += list(set(training) - set(cancelled))[:1]
                subprocess.run(["scancel", cancelled[-1]], env=slurm, check=True)
            time.sleep(0.2)
    assert run.returncode == 0, told.read_text()
    assert len(cancelled) == 2, told.read_text()
    assert told.read_text().count("Trying to restart job") >= 2
    # The small jobs of all blocks came together.
    assert sum("split_samples" in comment for comment in seen.values()) == 1
    assert sum("preprocess_chunk" in comment for comment in seen.values()) == 1
    tables = local[0].bytes_of("tiny/tables/*")
    assert tables
    assert local[1].bytes_of("tiny/tables/*") == tables
    assert tables_study.bytes_of("tiny/tables/*") == tables


def test_experiments_acquire_and_are_compared_in_shared_jobs(slurm, compared, copy_of_compared):
    for name in ("results", "resources/sources", ".snakemake"):
        shutil.rmtree(copy_of_compared.folder / name)
    wanted = [f"results/comparisons/{name}/table.tsv" for name in ("both", "switch", "negative")]
    snakemake = [Path(sys.executable).with_name("snakemake"), "-s", ROOT / "Snakefile"]
    profile = ["--workflow-profile", ROOT / "profiles/slurm", *OPTIONS]
    told, seen = copy_of_compared.folder / "told", {}
    with told.open("w") as out:
        run = subprocess.Popen(
            [*snakemake, *profile, *wanted],
            cwd=copy_of_compared.folder,
            env=slurm,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        while run.poll() is None:
            seen |= jobs(slurm)
            time.sleep(0.2)
    assert run.returncode == 0, told.read_text()
    for rule in ("acquire_source", "compare_experiments"):
        assert sum(rule in comment for comment in seen.values()) == 1, seen
    tables = compared.bytes_of("comparisons/*/table.tsv")
    assert len(tables) == 3
    assert copy_of_compared.bytes_of("comparisons/*/table.tsv") == tables

"""A real Slurm of two nodes on this machine: the tables of a local run, also after a cancelled job and a lost node."""

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
    """Slurm's running jobs: number by the comment that the executor gives them, which names the rule."""
    printed = subprocess.run(
        ["squeue", "--noheader", "--states=RUNNING", "--format=%i %k"],
        env=slurm,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {comment: number for number, _, comment in (line.partition(" ") for line in printed.splitlines())}


def test_tables_are_those_of_a_local_run_though_a_job_is_cancelled_and_a_node_drained(slurm, tables_study, tmp_path):
    wanted = "results/tiny/tables/summary.tsv"
    tables_study.change("tiny", seeds_per_block=1, comparators=["linear"])
    local = type(tables_study)(shutil.copytree(tables_study.folder, tmp_path.with_name(f"{tmp_path.name}_local")))
    local.succeed(wanted)
    snakemake = [Path(sys.executable).with_name("snakemake"), "-s", ROOT / "Snakefile"]
    profile = ["--workflow-profile", ROOT / "profiles/slurm", *OPTIONS]
    told = tables_study.folder / "told"
    with told.open("w") as out:
        run = subprocess.Popen(
            [*snakemake, *profile, wanted], cwd=tables_study.folder, env=slurm, stdout=out, stderr=subprocess.STDOUT
        )
        cancelled = None
        while run.poll() is None:
            training = [number for comment, number in jobs(slurm).items() if "train_cohort" in comment]
            if training and not cancelled:
                (cancelled, *_) = training
                subprocess.run(["scancel", cancelled], env=slurm, check=True)
                drain = ["scontrol", "update", "nodename=n1", "state=drain", "reason=test"]
                subprocess.run(drain, env=slurm, check=True)
            time.sleep(0.2)
    assert run.returncode == 0, told.read_text()
    assert cancelled, told.read_text()
    assert "Trying to restart job" in told.read_text()
    tables = local.bytes_of("tiny/tables/*")
    assert tables
    assert tables_study.bytes_of("tiny/tables/*") == tables

"""What stands around every script: one message for a person's mistake, and no job that outlives its Snakemake."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from metafusion.errors import DamagedError, UserError
from metafusion.files import read_arrays
from metafusion.workflow.job import job

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fails(tmp_path):
    """A function that lets a job fail with an error; what its log says then."""

    def run(error, *inputs):
        snakemake = SimpleNamespace(
            rule="train_cohort",
            input=list(map(str, inputs)),
            output=[],
            params=SimpleNamespace(),
            wildcards={"experiment": "tiny"},
            log=[str(tmp_path / "job.log")],
        )
        with pytest.raises(SystemExit) as ended, job(snakemake):
            raise error
        assert ended.value.code == 1
        return (tmp_path / "job.log").read_text()

    return run


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3 TiB"),
        RuntimeError("[...] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("can't start new thread"),
    ],
)
def test_a_lack_of_memory_is_said_with_what_to_do(fails, error):
    said = fails(error)
    assert "ERROR train_cohort (experiment tiny):\nout of memory" in said
    assert str(error) in said
    assert "--set-resources train_cohort:mem_mb=" in said
    assert "Traceback" not in said


def test_another_error_of_the_program_keeps_its_traceback(tmp_path):
    snakemake = SimpleNamespace(rule="any", input=[], output=[], params=None, log=[str(tmp_path / "log")])
    with pytest.raises(RuntimeError, match="a bug"), job(snakemake):
        raise RuntimeError("a bug")
    assert "Traceback" in (tmp_path / "log").read_text()


def test_garbage_is_collected_from_where_the_work_begins(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import metafusion.workflow.imports\n"
        "import gc\n"
        "from types import SimpleNamespace\n"
        "from metafusion.workflow.job import job\n"
        "assert not gc.isenabled()\n"
        "params, paths = SimpleNamespace(), dict(input=[], output=[], wildcards={})\n"
        f"with job(SimpleNamespace(rule='any', params=params, log=['{tmp_path}/job.log'], **paths)):\n"
        "    assert gc.isenabled() and gc.get_freeze_count() > 10_000 > len(gc.get_objects())\n"
    )
    done = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_damaged_file_of_a_folder_names_the_folder_to_delete(fails, tmp_path):
    folder, file = tmp_path / "latents/1", tmp_path / "latents/1/blood.safetensors"
    folder.mkdir(parents=True)
    file.write_bytes(b"cut")
    with pytest.raises(DamagedError) as cut:
        read_arrays(file)
    said = fails(cut.value, tmp_path / "samples.parquet", folder)
    assert f"{file}: corrupt or truncated" in said
    assert f"{folder}/ is made as a whole: delete that folder" in said
    file.unlink()
    with pytest.raises(DamagedError) as gone:
        read_arrays(file)
    said = fails(gone.value, folder)
    assert f"{file}: no such file" in said
    assert "delete that folder" in said


def test_a_damaged_file_that_a_rule_makes_by_itself_is_all_there_is_to_delete(fails, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "samples.parquet"
    assert "delete that folder" not in fails(DamagedError(file, "cut; delete it"), file, tmp_path / "elsewhere")
    assert "delete that folder" not in fails(UserError(f"{tmp_path}/elsewhere/x"), tmp_path / "elsewhere")


def test_a_job_whose_snakemake_has_ended_before_it_begins_writes_nothing(tmp_path):
    late = f"""
import os
from types import SimpleNamespace
from metafusion.workflow.job import job
from metafusion.workflow.parent import _space
with open("/proc/sys/kernel/pid_max") as file:
    os.environ["METAFUSION_SNAKEMAKE"] = f"{{_space()}} {{int(file.read()) - 1}}"
with job(SimpleNamespace(rule="any", input=[], output=[], params=None, log=[{str(tmp_path / "log")!r}])):
    pass
"""
    done = subprocess.run([sys.executable, "-c", late], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "log").exists()


WAITING = """
import os, sys, time
from metafusion.workflow.parent import never_alone
with never_alone():
    print(os.getpid(), flush=True)
    time.sleep(30)
"""
STARTING = f"""
import os, subprocess, sys
from metafusion.workflow.parent import announce
announce() if sys.argv[1] == "announced" else None
subprocess.run({{"shell": ["bash", "-c", 'python="$1"; "$python" -c "$2"; true', "bash", sys.executable, {WAITING!r}],
    "direct": [sys.executable, "-c", {WAITING!r}]}}[sys.argv[2]])
"""


def ends(process, seconds=8):
    """Whether a process that is not our child has gone, or waits to be asked for its end."""
    stat = Path(f"/proc/{process}/stat")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("way", ["direct", "shell"])
@pytest.mark.parametrize("announced", [True, False])
def test_a_job_ends_with_the_snakemake_that_started_it(announced, way):
    words = ["announced" if announced else "unannounced", way]
    environment = {name: value for name, value in os.environ.items() if name != "METAFUSION_SNAKEMAKE"}
    with subprocess.Popen(
        [sys.executable, "-c", STARTING, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as snakemake:
        number = int(snakemake.stdout.readline())
        assert not ends(number, seconds=0.8)
        snakemake.kill()
        snakemake.wait()
        try:
            assert ends(number, seconds=8 if announced else 1.2) == announced
        finally:
            if not announced:
                os.kill(number, signal.SIGKILL)

"""Jobs that are forked from a process that has read the libraries: as if Snakemake had started them."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from metafusion.workflow import forks

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="forks need Linux")
SERVER = "from metafusion.workflow import forks; forks.LIBRARIES = {libraries}; forks.serve({name!r}, {parent})"


def wait_for(condition, seconds=20):
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def listens(name):
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(f"\0{name}") == 0


def gone(process):
    return not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def server(monkeypatch):
    """A process to fork from that has read one library, and tells scripts of it that are started from now on."""
    name = f"test-{os.getpid()}-{time.monotonic_ns()}"
    code = SERVER.format(libraries=("colorsys", "there_is_no_such_library"), name=name, parent=os.getpid())
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    wait_for(lambda: listens(name))
    monkeypatch.setenv(forks.VARIABLE, name)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def script(tmp_path):
    """A function that starts a script of some lines; the first is that of every script of ours."""

    def start(*lines, arguments=(), **options):
        file = tmp_path / f"a script of one's own {len(list(tmp_path.iterdir()))}.py"
        file.write_text("\n".join(["import metafusion.workflow.imports", "import os, sys", *lines]))
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | options.pop("environment", {})
        command = [sys.executable, file, *arguments]
        return subprocess.Popen(command, env=environment, text=True, stdout=-1, stderr=-1, **options)

    return start


FORKED = "assert 'colorsys' in sys.modules"
ALONE = "assert 'colorsys' not in sys.modules"


def test_a_fork_is_what_snakemake_started_in_all_that_a_script_sees(server, script, tmp_path):
    where = tmp_path / "with spaces; $(and) more"
    where.mkdir()
    told = [
        FORKED,
        "import json",
        "seen = [os.getcwd(), sys.argv[1:], os.environ['ODD'], __name__, sys.stdin.read(), os.environ.get('HOME')]",
        "print(json.dumps(seen)); print('and an error', file=sys.stderr)",
    ]
    odd = {"ODD": "a\nb \udcff ü"}
    run = script(*told, arguments=["--x", "ü"], cwd=where, environment=odd, stdin=subprocess.PIPE)
    printed, error = run.communicate("typed")
    assert (run.returncode, error) == (0, "and an error\n")
    assert json.loads(printed) == [str(where), ["--x", "ü"], odd["ODD"], "__main__", "typed", os.environ.get("HOME")]
    # What one did, the next does not see.
    script(FORKED, "os.environ['LEFT'] = 'x'; sys.left = 1; os.chdir('/')").wait()
    assert script("assert 'LEFT' not in os.environ and not hasattr(sys, 'left') and os.getcwd() != '/'").wait() == 0


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit(7)", 7, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('no such file')", 1, "no such file\n"),
        ("raise ValueError('broken')", 1, "ValueError: broken\n"),
        ("os.kill(os.getpid(), 9)", 128 + 9, ""),
    ],
)
def test_a_script_ends_as_its_fork_does(server, script, line, code, said):
    run = script(FORKED, line)
    _, error = run.communicate()
    assert run.returncode == code
    assert error.endswith(said)
    assert bool(error) == bool(said)


def test_the_time_of_the_process_that_snakemake_started_counts(server, script):
    lines = ["from metafusion.workflow import forks", "import time", "print(forks.cpu_before, time.process_time())"]
    printed, _ = script(FORKED, *lines).communicate()
    before, own = map(float, printed.split())
    assert before > 0.01
    assert own < 5
    assert forks.cpu_before == 0


def test_forks_run_side_by_side(server, script, tmp_path):
    waits = f"import time, pathlib\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.02)"
    runs = [script(FORKED, waits) for _ in range(3)]
    assert script(FORKED).wait() == 0
    assert [run.poll() for run in runs] == [None] * 3
    (tmp_path / "go").touch()
    assert [run.wait() for run in runs] == [0] * 3


def test_a_killed_script_takes_its_fork_along(server, script, tmp_path):
    run = script(FORKED, "print(os.getpid(), flush=True)", "import time; time.sleep(60)")
    fork = int(run.stdout.readline())
    assert fork != run.pid
    run.kill()
    wait_for(lambda: gone(fork))
    # Who is left still forks, and no process waits for its end for long.
    assert script(FORKED).wait() == 0
    wait_for(lambda: not psutil.Process(server.pid).children())


def test_nothing_outlives_the_process_that_is_forked_from(server, script):
    run = script(FORKED, "print(os.getpid(), flush=True)", "import time; time.sleep(60)")
    fork = int(run.stdout.readline())
    server.kill()
    _, error = run.communicate()
    assert run.returncode == 1
    assert "has ended" in error
    wait_for(lambda: gone(fork))
    assert script(ALONE).wait() == 0


def test_the_process_ends_with_its_snakemake(tmp_path):
    # Their parent ends at once.
    code = SERVER.format(libraries=(), name=f"test-{tmp_path}", parent="{parent}")
    starts = tmp_path / "starts.py"
    starts.write_text(
        "import os, subprocess, sys\n"
        f"code = {code!r}.format(parent=os.getpid())\n"
        "options = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(subprocess.Popen([sys.executable, '-c', code], **options).pid)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, starts], env=environment, capture_output=True, text=True, check=True)
    wait_for(lambda: gone(int(done.stdout)))


def test_a_script_goes_on_alone_where_nobody_listens(script, monkeypatch):
    for told in ("no", "nobody-of-this-name"):
        monkeypatch.setenv(forks.VARIABLE, told)
        assert script(ALONE).wait() == 0
    monkeypatch.delenv(forks.VARIABLE)
    assert script(ALONE).wait() == 0


def test_a_script_whose_files_are_closed_goes_on_alone(server, script):
    assert script(ALONE, preexec_fn=lambda: os.close(0)).wait() == 0
    assert script(FORKED).wait() == 0


def test_a_process_of_another_user_gets_no_job(server, script, tmp_path):
    other = "import metafusion.workflow.forks as forks; forks._user = lambda connection: -1"
    assert script(ALONE, environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"}).wait() == 1
    (tmp_path / "sitecustomize.py").write_text(other)
    assert script(ALONE, environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"}).wait() == 0


@pytest.mark.parametrize(("told", "jobs"), [("no", 1000), ("", forks.ENOUGH - 1)])
def test_no_process_is_started_for_few_jobs_or_against_a_persons_wish(monkeypatch, told, jobs):
    monkeypatch.setenv(forks.VARIABLE, told)
    monkeypatch.setattr(subprocess, "Popen", None)
    forks.start(jobs)
    assert forks.VARIABLE not in os.environ


def test_what_rules_read_has_been_read():
    found = subprocess.run(
        [sys.executable, "-c", READS], cwd=ROOT, env=os.environ | forks.ONE_THREAD, capture_output=True, text=True
    )
    assert found.stderr == ""
    threads, missed = json.loads(found.stdout)
    # Arrow's allocator has one, and knows of forks.
    assert set(threads) <= {"python", "python3", "jemalloc_bg_thd"}
    # For downloads, and what pydantic reads when it needs it: read in no time.
    assert set(missed) <= {"annotated_types", "certifi", "charset_normalizer", "idna", "requests", "urllib3"}


READS = """
import importlib, json, pkgutil, sys
from pathlib import Path
from metafusion.workflow.forks import LIBRARIES
for name in LIBRARIES:
    importlib.import_module(name)
threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
before = set(sys.modules)
import metafusion
for module in pkgutil.walk_packages(metafusion.__path__, "metafusion."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
new = {name.partition(".")[0] for name in set(sys.modules) - before}
known = {name.partition(".")[0] for name in before} | {*sys.stdlib_module_names, "metafusion"}
print(json.dumps([threads, sorted(new - known)]))
"""
"""Packages that scripts read and the process does not; single modules of those that it knows do not matter."""

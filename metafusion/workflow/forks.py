"""Jobs of this machine are forked from one process that has read the libraries, so that a start costs a tenth.

Snakemake starts a Python for every job, and each would read the same libraries again for one to three seconds.
:func:`start` lets one process read them once, beside the first jobs. A script asks for it when it begins
(:func:`hand_over`): if it is there, the job goes on in a fork of it, with the environment, folder and files of the
process that Snakemake started, which waits for its end. If it is not, the script goes on by itself. Only libraries are
read beforehand, so that a job always runs the code of this package as it stands.
"""

import atexit
import gc
import importlib
import json
import logging
import os
import runpy
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from ctypes import CDLL
from typing import NoReturn

VARIABLE = "METAFUSION_FORKS"
"""In the environment of jobs: the name of the process to ask. Set to ``no`` by a person, every job starts by itself."""
LIBRARIES = (
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "pydantic",
    "safetensors.numpy",
    "yaml",
    "scipy.signal",
    "scipy.stats",
    "sklearn.cluster",
    "sklearn.cross_decomposition",
    "sklearn.ensemble",
    "sklearn.feature_selection",
    "sklearn.linear_model",
    "sklearn.mixture",
    "sklearn.model_selection",
    "torch",
    "snakemake.script",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "nibabel",
    "scikit_posthocs",
    "statsmodels.stats.multitest",
    "statsmodels.stats.proportion",
    "tableone",
    "SimpleITK",
    "mne",
    "nilearn.image",
)
"""What several rules read, what most of them read first."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
"""A process with threads must not be forked. A job sets its own number."""
ENOUGH = 10
"""Jobs that bring in what reading all libraries costs, about three seconds."""
SECONDS = 0.5
"""How often the process looks whether its Snakemake is still there."""
PARENT_DEATH_SIGNAL = 1
"""Of prctl(2): the child of a process that ends is to get a signal."""
cpu_before = 0.0
"""In a fork: processor time (s) that the process took that Snakemake started."""


def start(jobs: int) -> None:
    """Start the process, and let jobs that are started from now on know of it; not for few, and only on Linux.

    Parameters
    ----------
    jobs : int
        How many will run.
    """
    told = os.environ.pop(VARIABLE, "")
    if told == "no" or jobs < ENOUGH or not hasattr(os, "pidfd_open"):
        return
    name = secrets.token_hex(16)
    code = f"from metafusion.workflow.forks import serve; serve({name!r}, {os.getpid()})"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, env=os.environ | ONE_THREAD)
    os.environ[VARIABLE] = name
    atexit.register(_stop, process)


def _stop(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()


def hand_over() -> None:
    """Let the rest of this script run in a fork, and end as that ends; return if there is nobody to fork from."""
    name = os.environ.get(VARIABLE, "no")
    if name == "no":
        return
    request = {
        "argv": sys.argv,
        "path": sys.path,
        "folder": os.getcwd(),
        "environment": {key: value for key, value in os.environ.items() if key != VARIABLE},
        "cpu": time.process_time(),
    }
    sys.stdout.flush()
    with socket.socket(socket.AF_UNIX) as server:
        try:
            # A name in memory: no file remains, however the run ends.
            server.connect(f"\0{name}")
            # Below three, it stands for one of the files, which somebody has closed.
            if _user(server) != os.getuid() or server.fileno() < 3:
                return
            socket.send_fds(server, [b"."], [0, 1, 2])
        except OSError:
            # It still reads, or is gone.
            return
        server.sendall(json.dumps(request).encode() + b"\n")
        answer = server.recv(16)
    if not answer:
        print("the process that starts jobs has ended (out of memory?): run again", file=sys.stderr, flush=True)
    code = int(answer or 1)
    # As a shell says it of a signal.
    os._exit(code if code >= 0 else 128 - code)


def serve(name: str, snakemake: int) -> None:
    """Read the libraries; then fork for everyone who asks, until Snakemake ends.

    Parameters
    ----------
    name : str
        What to be called, see :func:`start`.
    snakemake : int
        Number of the process that started this one.
    """
    # Control-C is for Snakemake, which lets its jobs end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    for library in LIBRARIES:
        # The job that needs one that is missing says so.
        with suppress(ImportError):
            importlib.import_module(library)
    # Forks share what is not written to, and the collector writes.
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"\0{name}")
    listener.listen(socket.SOMAXCONN)
    listener.settimeout(SECONDS)
    while os.getppid() == snakemake:
        with suppress(TimeoutError):
            waiting, _ = listener.accept()
            if not _fork():
                listener.close()
                _keep(waiting)
            waiting.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _keep(waiting: socket.socket) -> NoReturn:
    """Fork once more for the job, say how it ended, and kill it if nobody waits for it any longer."""
    if _user(waiting) != os.getuid():
        os._exit(1)
    _, files, _, _ = socket.recv_fds(waiting, 1, 3)
    with waiting.makefile("rb") as stream:
        asked = stream.readline()
    # Who asks may have been killed meanwhile, or goes on alone.
    if not asked.endswith(b"\n"):
        os._exit(1)
    request = json.loads(asked)
    process = _fork()
    if not process:
        waiting.close()
        _run(files, **request)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(process)
    # Its end without an answer is all that could be heard of who waits: it was killed.
    if ended not in select.select([waiting, ended], [], [])[0]:
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with suppress(BrokenPipeError):
        waiting.sendall(str(code).encode())
    os._exit(0)


def _run(
    files: list[int], argv: list[str], path: list[str], folder: str, environment: dict[str, str], cpu: float
) -> NoReturn:
    """Run a script as if Snakemake had started it here."""
    global cpu_before
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:], sys.path[:], cpu_before = argv, path, cpu
    try:
        runpy.run_path(argv[0], run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if code and ended.code is not code:
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    # Python would clear all that was read, object by object; that takes longer than the fork did.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _fork() -> int:
    """Fork; the new process is killed when this one ends, however that ends."""
    before = os.getpid()
    process = os.fork()
    if not process:
        CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != before:
            os._exit(1)
    return process


def _user(connection: socket.socket) -> int:
    """Return whose process is at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return user

"""What every script does around its work: names, log, threads, a note of how it ran, and errors without tracebacks."""

import gc
import logging
import platform
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from metafusion.errors import DamagedError, UserError
from metafusion.files import write_json
from metafusion.workflow import forks
from metafusion.workflow.layout import LAYOUT
from metafusion.workflow.parent import end_if_alone, never_alone

NOTED: dict[str, Any] = {}
"""What else a job wants to have noted of how it ran, such as its device."""
NO_MEMORY = ("can't allocate memory", "can't start new thread")
"""What PyTorch and Python say of it as a RuntimeError."""


@contextmanager
def job(snakemake: Any) -> Iterator[tuple[Any, Any, Any, logging.Logger]]:
    """Yield (input, output, params, log) of a Snakemake job.

    Messages and warnings go to the rule's log. A UserError ends the job with its message alone; so does a lack of
    memory. Numerical libraries get ``params.threads`` threads (1 if there is none): a number from the configuration,
    because it can change the last bits of a result, and what happens to be free must not. The job ends with the
    Snakemake that started it.

    When all went well, a note of how the job ran stands beside its log, for the record of the experiment.
    """
    # What was imported stays, so nobody needs to look at it again (see metafusion.workflow.imports).
    gc.freeze()
    gc.enable()
    end_if_alone()
    threads = int(getattr(snakemake.params, "threads", 1))
    log = _log_to(snakemake.log[0])
    note = Path(snakemake.log[0]).with_suffix(".json")
    note.unlink(missing_ok=True)
    started, clock, of_start = datetime.now(UTC), time.perf_counter(), time.process_time()
    try:
        if "torch" in sys.modules:
            import torch

            torch.set_num_threads(threads)
            # As use_deterministic_algorithms(True), which reads the compiler too, for two seconds.
            torch.set_deterministic_debug_mode("error")
            # That would also fill with NaN all memory that is written next: a tenth of a training's time.
            torch.utils.deterministic.fill_uninitialized_memory = False
        with never_alone(), threadpool_limits(threads):
            yield snakemake.input, snakemake.output, snakemake.params, log
        seconds = round(time.perf_counter() - clock, 3)
        of_work = time.process_time() - of_start
        gc.freeze()
        of_start += forks.cpu_before
        log.info("worked %.2f s; of processors, start %.2f s, work %.2f s", seconds, of_start, of_work)
        write_json(_note(snakemake, threads) | {"started": started.isoformat(), "seconds": seconds}, note)
    except Exception as error:
        said = _said(error, snakemake)
        if said is None:
            log.exception("%s failed", snakemake.rule)
            raise
        names = ", ".join(f"{name} {value}" for name, value in snakemake.wildcards.items())
        log.error(f"{snakemake.rule} ({names}):\n{said}")
        sys.exit(1)


def _said(error: Exception, snakemake: Any) -> str | None:
    """Return the one message for a person; None for an error of the program, which needs its traceback."""
    if isinstance(error, DamagedError):
        return str(error) + _whole_folder(error.path, snakemake.input)
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    ):
        return (
            f"out of memory ({str(error) or 'the system gave no more'}); run fewer jobs at once (--cores), allow this "
            f"rule more where a scheduler limits it (--set-resources {snakemake.rule}:mem_mb=...), or, if it trains, "
            "choose fewer 'seeds_per_block'"
        )
    return None


def _whole_folder(path: str, inputs: Iterable[str]) -> str:
    """Say which folder to delete if a file lies in one that a rule makes as a whole: Snakemake looks at that only."""
    for folder in inputs:
        if Path(folder).is_dir() and Path(folder) in Path(path).parents:
            return f"\n{folder}/ is made as a whole: delete that folder, and run again"
    return ""


class _Log(logging.FileHandler):
    """A log that says on the terminal what it cannot write, on a full disk for example."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the name is logging's)
        print(self.format(record), file=sys.stderr)


def _note(snakemake: Any, threads: int) -> dict[str, Any]:
    return {
        "rule": snakemake.rule,
        "outputs": list(map(str, snakemake.output)),
        "layout": LAYOUT,
        "code": getattr(snakemake.params, "code", None),
        "threads": threads,
        "machine": platform.node(),
        "processor": platform.machine(),
        **NOTED,
    }


def _log_to(path: str) -> logging.Logger:
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    handler = _Log(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log = logging.getLogger("metafusion")
    log.setLevel(logging.INFO)
    return log

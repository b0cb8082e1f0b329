"""What every script does around its work: names, log, threads, a note of how it ran, and errors without tracebacks."""

import logging
import platform
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from metafusion.errors import UserError
from metafusion.files import write_json
from metafusion.workflow.layout import LAYOUT

NOTED: dict[str, Any] = {}
"""What else a job wants to have noted of how it ran, such as its device."""


@contextmanager
def job(snakemake: Any) -> Iterator[tuple[Any, Any, Any, logging.Logger]]:
    """Yield (input, output, params, log) of a Snakemake job.

    Messages and warnings go to the rule's log. A UserError ends the job with its message alone. Numerical libraries get
    ``params.threads`` threads (1 if there is none): a number from the configuration, because it can change the last
    bits of a result, and what happens to be free must not.

    When all went well, a note of how the job ran stands beside its log, for the record of the experiment.
    """
    threads = int(getattr(snakemake.params, "threads", 1))
    log = _log_to(snakemake.log[0])
    note = Path(snakemake.log[0]).with_suffix(".json")
    note.unlink(missing_ok=True)
    started, clock = datetime.now(UTC), time.perf_counter()
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
    try:
        with threadpool_limits(threads):
            yield snakemake.input, snakemake.output, snakemake.params, log
        seconds = round(time.perf_counter() - clock, 3)
        write_json(_note(snakemake, threads) | {"started": started.isoformat(), "seconds": seconds}, note)
    except UserError as error:
        names = ", ".join(f"{name} {value}" for name, value in snakemake.wildcards.items())
        message = f"{snakemake.rule} ({names}):\n{error}"
        log.error(message)
        sys.exit(1)
    except Exception:
        log.exception("%s failed", snakemake.rule)
        raise


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
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log = logging.getLogger("metafusion")
    log.setLevel(logging.INFO)
    return log

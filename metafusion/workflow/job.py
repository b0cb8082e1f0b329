"""What every script does around its work: names, log, threads, and errors without tracebacks."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

from metafusion.errors import UserError


@contextmanager
def job(snakemake: Any) -> Iterator[tuple[Any, Any, Any, logging.Logger]]:
    """Yield (input, output, params, log) of a Snakemake job.

    Messages and warnings go to the rule's log. A UserError ends the job with its message alone. Numerical libraries get
    ``params.threads`` threads (1 if there is none): a number from the configuration, because it can change the last
    bits of a result, and what happens to be free must not.
    """
    threads = int(getattr(snakemake.params, "threads", 1))
    log = _log_to(snakemake.log[0])
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
    try:
        with threadpool_limits(threads):
            yield snakemake.input, snakemake.output, snakemake.params, log
    except UserError as error:
        names = ", ".join(f"{name} {value}" for name, value in snakemake.wildcards.items())
        message = f"{snakemake.rule} ({names}):\n{error}"
        log.error(message)
        sys.exit(1)
    except Exception:
        log.exception("%s failed", snakemake.rule)
        raise


def _log_to(path: str) -> logging.Logger:
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log = logging.getLogger("metafusion")
    log.setLevel(logging.INFO)
    return log

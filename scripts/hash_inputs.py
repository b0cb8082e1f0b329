"""Rule hash_inputs: SHA-256 of the user's files, read piece by piece."""

import metafusion.workflow.imports  # noqa: F401

from metafusion.files import write_json
from metafusion.workflow.job import job
from metafusion.workflow.provenance import checksums

with job(snakemake) as (input, output, params, log):
    found = checksums(input.files)
    write_json(found, output.checksums)
    log.info("%d files, %d bytes", len(found), sum(file["bytes"] for file in found.values()))

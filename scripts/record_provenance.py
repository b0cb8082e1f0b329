"""Rule record_provenance: what the results of an experiment were made from."""

import metafusion.workflow.imports  # noqa: F401

from pathlib import Path

from metafusion.files import read_json, write_json, write_table
from metafusion.workflow import provenance
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    folder = Path(output.record).parent
    inputs = (read_json(input.checksums) if input.checksums else {}) | provenance.checksums(input.wheels)
    notes = provenance.notes_of(Path(snakemake.log[0]).parent, input.results)
    configured = params.configured
    record = provenance.record(
        folder, input.results, inputs, params.stages, configured["experiment"], configured["settings"], notes
    )
    write_json(record, output.record)
    write_table(provenance.overview(record), output.overview)
    log.info("%d results, %d inputs", len(record["outputs"]), len(record["inputs"]))
    if unknown := provenance.unknown(record, folder):
        log.warning(
            "%d files in %s are made by no rule as configured now, see docs/provenance.md", len(unknown), folder
        )

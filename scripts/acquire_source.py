"""Rule acquire_source: the source's files as they are."""

import metafusion.workflow.imports  # noqa: F401

from pathlib import Path

from metafusion.sources import science_of
from metafusion.sources.parse import source_from
from metafusion.sources.wheels import verify
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    source = source_from(params.source)
    wheels = dict(zip(source.wheels, map(Path, input.wheels), strict=True))
    for name, wheel in wheels.items():
        # A wheel may have been put there by hand.
        verify(name, wheel)
    folder = Path(output.folder)
    folder.mkdir(parents=True, exist_ok=True)
    science_of(source.kind).acquire(source, folder, wheels, list(params.draws))
    log.info("%d files in %s", sum(file.is_file() for file in folder.rglob("*")), folder)

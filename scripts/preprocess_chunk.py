"""Rule preprocess_chunk: one chunk of one modality, by itself."""

import metafusion.workflow.imports  # noqa: F401

from pathlib import Path

from metafusion.sources import science_of
from metafusion.sources.parse import source_from
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    source = source_from(params.source)
    acquired = Path(input.acquired) if input.acquired else None
    folder = Path(output.folder)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = snakemake.wildcards
    science_of(source.kind).preprocess(source, chosen.modality, chosen.chunk, acquired, folder)
    log.info("%s, chunk %s: %d files", chosen.modality, chosen.chunk, len(list(folder.iterdir())))

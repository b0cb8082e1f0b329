"""Rule split_samples: who trains, who validates, who tests, for every seed of a block."""

import metafusion.workflow.imports  # noqa: F401

from metafusion.files import read_table, write_table
from metafusion.sizes import refuse_large_sizes
from metafusion.splits import manifest, split_samples
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    samples = read_table(input.samples)
    classes = params.task == "classification"
    split = params.split | {"seeds_per_draw": params.seeds_per_draw}
    splits = split_samples(samples, params.seeds, **split, classes=classes)
    refuse_large_sizes(splits, params.seeds, input.features, params.sizes)
    counts = manifest(samples, splits, classes)
    write_table(splits, output.splits)
    write_table(counts, output.manifest)
    log.info("%d samples, %d subjects, %d seeds", len(samples), samples["subject"].nunique(), len(params.seeds))
    log.info("subjects in more than one part: %d", counts["subjects_in_other_parts"].max())

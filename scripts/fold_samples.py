"""Rule fold_samples: the folds of cross-fitting, or of tuning, for every seed of a block."""

import metafusion.workflow.imports  # noqa: F401

from metafusion.cross_fitting import draw_folds, with_runs
from metafusion.files import read_table, write_table
from metafusion.sizes import refuse_large_sizes
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    samples, splits, split = read_table(input.samples), read_table(input.splits), params.split
    classes = params.task == "classification"
    number, unit, stratify = params.folds, split["unit"], split["stratify"]
    folds = draw_folds(samples, splits, params.seeds, number, unit, stratify, classes)
    if params.cross_fitting[0]:
        runs, numbers = with_runs(splits, params.seeds, folds, *params.cross_fitting)
        refuse_large_sizes(runs, numbers, input.features, params.sizes, "run")
    write_table(folds, output.folds)
    log.info("%d folds for %d seeds", number, len(params.seeds))

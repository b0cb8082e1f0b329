"""Rule train_comparators: one family of plain methods, for every seed of a block."""

import pandas as pd

from metafusion import comparators, latents
from metafusion.cohort import block
from metafusion.config.models import Cohort
from metafusion.evaluation import long_predictions
from metafusion.files import read_table, write_table
from metafusion.splits import parts_of
from metafusion.targets import classes_of
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    samples, splits = read_table(input.samples), read_table(input.splits)
    views = latents.read(input.latents, params.modalities)
    tables = []
    for seed in params.seeds:
        data = block.data_of_seed(samples, splits, views, seed, params.task)
        answers = comparators.train(
            snakemake.wildcards.family, data, params.modalities, Cohort(**params.cohort), params.task, seed
        )
        tables.append(long_predictions(answers, parts_of(splits, seed), classes_of(samples, params.task), seed))
        log.info("seed %d: %s", seed, ", ".join(answers))
    write_table(pd.concat(tables, ignore_index=True), output.predictions)

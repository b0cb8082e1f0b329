"""Rule stack_students: a network on top of the students, for every seed of a block."""

import metafusion.workflow.imports  # noqa: F401

import numpy as np
import pandas as pd

from metafusion.cohort import stored
from metafusion.config.models import Cohort
from metafusion.files import read_table, write_table
from metafusion.predictions import long_predictions
from metafusion.stacking import stack
from metafusion.targets import classes_of
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    samples, splits = read_table(input.samples), read_table(input.splits)
    classes, settings, chosen = classes_of(samples, params.task), Cohort(**params.cohort), params.stacking
    epochs, learning_rate = chosen["stacking_epochs"], chosen["stacking_learning_rate"]
    tables = []
    for cohort in stored.read(input.predictions, input.selection, splits, params.seeds):
        answers = stack(cohort, samples, settings, params.task, epochs, learning_rate)
        tables.append(long_predictions(answers, cohort.parts, classes, cohort.seed))
        for method in (method for method, outputs in answers.items() if np.isnan(outputs).all()):
            log.warning("seed %d: %s diverged (lower ensemble.stacking_learning_rate may help)", cohort.seed, method)
    write_table(pd.concat(tables, ignore_index=True), output.predictions)
    log.info("students of %d seeds stacked", len(params.seeds))

"""Rule tune_comparators: one family of models, tuned by cross-validation, for every seed of a block."""

import metafusion.workflow.imports  # noqa: F401

from functools import partial
from importlib import import_module

import pandas as pd

from metafusion.comparators.tuned import BUDGET, collect, fits
from metafusion.config.fronts import Front
from metafusion.files import read_table, write_table
from metafusion.parts import parts_of
from metafusion.predictions import long_predictions
from metafusion.samples import feature_matrix
from metafusion.targets import classes_of
from metafusion.workflow.job import job

family = import_module(f"metafusion.comparators.{snakemake.wildcards.family}")

with job(snakemake) as (input, output, params, log):
    samples, splits, folds = (read_table(path) for path in (input.samples, input.splits, input.folds))
    features, task = partial(feature_matrix, input.features), params.task
    before = {name: Front(**keys) for name, keys in params.before.items()}
    log.info("budget: %d candidates a model on %d folds, %d fits", BUDGET, params.folds, fits(params.folds))
    classes, tables = classes_of(samples, task), []
    for seed in params.seeds:
        raw = collect(samples, splits, folds, features, list(before), seed, task)
        answers = family.train(raw, before, task, seed)
        tables.append(long_predictions(answers, parts_of(splits, seed), classes, seed))
        log.info("seed %d: %s", seed, ", ".join(answers))
    write_table(pd.concat(tables, ignore_index=True), output.predictions)

"""Rule train_comparators: one family of plain methods, for every seed of a block."""

import metafusion.workflow.imports  # noqa: F401

from importlib import import_module

import numpy as np
import pandas as pd

from metafusion import latents
from metafusion.cohort.seed_data import collect
from metafusion.comparators.options import Options
from metafusion.config.source import TRUTH
from metafusion.cross_fitting import pool_answers, with_runs
from metafusion.files import read_table, write_table
from metafusion.parts import parts_of
from metafusion.predictions import long_predictions
from metafusion.samples import feature_matrix
from metafusion.targets import classes_of
from metafusion.workflow.job import job

# By name, so that the linear family does not wait for torch.
family = import_module(f"metafusion.comparators.{snakemake.wildcards.family}")

with job(snakemake) as (input, output, params, log):
    samples, splits = read_table(input.samples), read_table(input.splits)
    folds, (number, decides) = read_table(input.folds) if input.folds else None, params.cross_fitting
    runs, seeds = with_runs(splits, params.seeds, folds, number, decides)
    views, task = latents.read(input.latents, params.modalities), params.settings["task"]
    data = {seed: collect(samples, runs, views, seed, task) for seed in seeds}
    truth = None
    if features := input.get("features"):
        truth = {seed: feature_matrix(features, TRUTH, parts_of(runs, seed)["sample"])[0] for seed in seeds}
    answers = family.train(data, params.modalities, Options(truth=truth, **params.settings))
    answers = pool_answers(answers, splits, folds, number, task)
    classes, tables = classes_of(samples, task), []
    for seed, by_method in answers.items():
        tables.append(long_predictions(by_method, parts_of(splits, seed), classes, seed))
        log.info("seed %d: %s", seed, ", ".join(by_method))
        for method in (method for method, outputs in by_method.items() if np.isnan(outputs).all()):
            log.warning("seed %d: %s diverged and has no score (lower cohort.learning_rate may help)", seed, method)
    write_table(pd.concat(tables, ignore_index=True), output.predictions)

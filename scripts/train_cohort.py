"""Rule train_cohort: all students, penalties and seeds of a block."""

import metafusion.workflow.imports  # noqa: F401

from pathlib import Path

from metafusion import latents
from metafusion.cohort import block
from metafusion.cohort.pool import pool_block
from metafusion.cohort.seed_data import collect
from metafusion.cohort.students import all_students
from metafusion.cohort.train import train
from metafusion.config.models import Cohort, Representations
from metafusion.cross_fitting import is_refit, with_runs
from metafusion.files import read_table
from metafusion.workflow.job import job
from metafusion.workflow.training import runtime_of

with job(snakemake) as (input, output, params, log):
    folder = Path(output.students).parent
    runtime = runtime_of(snakemake, log, folder / ".unfinished")
    samples, splits = read_table(input.samples), read_table(input.splits)
    folds, number = read_table(input.folds) if input.folds else None, params.cross_fitting[0]
    runs, seeds = with_runs(splits, params.seeds, folds, *params.cross_fitting)
    chosen = {name: Representations(**choice) for name, choice in params.representations.items()}
    chosen = latents.with_shapes(input.latents, chosen)
    settings = Cohort(**params.cohort)
    names = {name: choice.names for name, choice in chosen.items()}
    students = all_students(names, settings.more_heads, settings.modalities_per_student)
    views = latents.read(input.latents, list(chosen))
    data = {}
    for seed in seeds:
        layers = latents.read_extractors(input.latents, chosen, seed)
        data[seed] = collect(samples, runs, views, seed, params.task, layers, is_refit(seed, params.seeds))
    trained = train(data, students, chosen, settings, params.task, runtime, every_penalty=number > 0)
    trained = pool_block(trained, samples, splits, folds, number, settings, params.task)
    block.write(folder, students, settings, trained)
    runtime.checkpoint.clear()
    block.log(students, settings, trained, log)

"""Rule train_cohort: all students, penalties and seeds of a block."""

from pathlib import Path

from metafusion import latents
from metafusion.cohort import block
from metafusion.cohort.seed_data import collect
from metafusion.cohort.students import all_students
from metafusion.cohort.train import train
from metafusion.config.models import Cohort
from metafusion.files import read_table
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    samples, splits = read_table(input.samples), read_table(input.splits)
    views = latents.read(input.latents, list(params.sizes))
    students, settings = all_students(params.sizes), Cohort(**params.cohort)
    data = {seed: collect(samples, splits, views, seed, params.task) for seed in params.seeds}
    trained = train(data, students, settings, params.task)
    block.write(Path(output.students).parent, students, settings.penalties, trained)
    for seed, one in trained.items():
        log.info("seed %d: %d students, penalty %g chosen", seed, len(students), settings.penalties[one.chosen])

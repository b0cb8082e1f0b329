"""Rule evaluate_block: ensembles chosen on the validation part, every method scored."""

import metafusion.workflow.imports  # noqa: F401

from metafusion import evaluation
from metafusion.cohort import stored
from metafusion.config.models import Ensemble
from metafusion.files import read_table, write_table
from metafusion.predictions import against_truth
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    samples, splits, settings = read_table(input.samples), read_table(input.splits), Ensemble(**params.ensemble)
    folds = read_table(input.folds) if input.folds else None
    cohorts = stored.read(input.predictions, input.selection, splits, params.seeds, folds)
    seeds = list(evaluation.calibrated(samples, cohorts, params.task, settings))
    others = [read_table(path) for path in (*input.comparators, *input.stacking)]
    task, metrics, positive = params.task, params.metrics, params.positive
    members, predictions, scores = evaluation.evaluate(samples, seeds, others, task, metrics, settings, positive)
    write_table(members, output.ensembles)
    write_table(predictions, output.predictions)
    write_table(against_truth(predictions, samples), output.answers)
    write_table(scores, output.scores)
    write_table(evaluation.by_penalty(samples, seeds, task, metrics, settings, positive), output.by_penalty)
    write_table(evaluation.by_students(samples, seeds, task, metrics[0], settings, positive), output.by_students)
    people, subgroups = read_table(input.people), params.subgroups
    by_subgroup = evaluation.by_subgroup(samples, people, predictions, task, metrics, subgroups, positive)
    write_table(by_subgroup, output.by_subgroup)
    log.info("%d methods scored for %d seeds", predictions["method"].nunique(), len(params.seeds))

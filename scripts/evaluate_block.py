"""Rule evaluate_block: ensembles chosen on the validation part, every method scored."""

from metafusion import evaluation
from metafusion.cohort import stored
from metafusion.config.models import Ensemble
from metafusion.files import read_table, write_table
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    samples, splits = read_table(input.samples), read_table(input.splits)
    seeds = stored.read(input.predictions, input.selection, splits, params.seeds)
    comparators = [read_table(path) for path in input.comparators]
    members, predictions, scores = evaluation.evaluate(
        samples, seeds, comparators, params.task, params.metrics, Ensemble(**params.ensemble)
    )
    write_table(members, output.ensembles)
    write_table(predictions, output.predictions)
    write_table(scores, output.scores)
    log.info("%d methods scored for %d seeds", predictions["method"].nunique(), len(params.seeds))

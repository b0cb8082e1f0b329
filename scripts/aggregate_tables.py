"""Rule aggregate_tables: tables over all seeds of an experiment."""

from metafusion import summary
from metafusion.files import read_many, read_table, write_table
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    scores = read_many(input.scores)
    splits = read_many(input.manifests)
    # Where each seed draws its own samples, they are independent.
    shared = None if "draw" in read_table(input.samples) else summary.tested_to_others(splits)
    overall = summary.summarise(scores, params.metrics, shared)
    write_table(overall, output.summary)
    write_table(scores, output.scores)
    write_table(summary.students_table(scores, read_table(input.students[0]), params.metrics), output.students)
    write_table(summary.penalties_table(read_many(input.selection)), output.penalties)
    write_table(summary.differences_table(scores, params.metrics, shared), output.differences)
    write_table(summary.ranks_table(scores, params.metrics[0]), output.ranks)
    write_table(summary.by_penalty_table(read_many(input.by_penalty), params.metrics), output.by_penalty)
    write_table(summary.by_students_table(read_many(input.by_students)), output.by_students)
    groups = summary.subgroups_table(read_many(input.by_subgroup), params.metrics, shared)
    write_table(groups, output.by_subgroup)
    write_table(splits, output.splits)
    write_table(read_table(input.exclusions), output.exclusions)
    log.info("\n%s", overall.to_string(index=False))

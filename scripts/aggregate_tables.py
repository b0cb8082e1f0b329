"""Rule aggregate_tables: tables over all seeds of an experiment."""

from metafusion import summary
from metafusion.files import read_many, read_table, write_table
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    scores = read_many(input.scores)
    overall = summary.summarise(scores, params.metrics)
    write_table(overall, output.summary)
    write_table(scores, output.scores)
    write_table(summary.students_table(scores, read_table(input.students[0]), params.metrics), output.students)
    write_table(summary.penalties_table(read_many(input.selection)), output.penalties)
    write_table(read_many(input.manifests), output.splits)
    write_table(read_table(input.exclusions), output.exclusions)
    log.info("\n%s", overall.to_string(index=False))

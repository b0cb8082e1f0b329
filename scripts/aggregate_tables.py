"""Rule aggregate_tables: tables over all seeds of an experiment."""

import metafusion.workflow.imports  # noqa: F401

from metafusion import summary
from metafusion.confusion import confusion_table
from metafusion.files import read_many, read_table, write_table
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    scores, splits, samples = read_many(input.scores), read_many(input.manifests), read_table(input.samples)
    shared = summary.shared_by_seeds(samples, splits)
    overall = summary.summarise(scores, params.metrics, shared)
    write_table(overall, output.summary)
    write_table(scores, output.scores)
    students = read_table(input.students[0])
    write_table(summary.students_table(scores, students, params.metrics), output.students)
    write_table(summary.usage_table(read_many(input.ensembles), students, params.modalities), output.usage)
    write_table(confusion_table(read_many(input.answers)), output.confusion)
    selection = read_many(input.selection)
    write_table(summary.penalties_table(selection), output.penalties)
    gains = summary.mutual_learning_table(scores, selection, params.metrics, shared)
    write_table(gains, output.mutual_learning)
    write_table(summary.differences_table(scores, params.metrics, shared), output.differences)
    write_table(summary.ranks_table(scores, params.metrics[0]), output.ranks)
    write_table(summary.by_penalty_table(read_many(input.by_penalty), params.metrics), output.by_penalty)
    write_table(summary.by_students_table(read_many(input.by_students)), output.by_students)
    groups = summary.subgroups_table(read_many(input.by_subgroup), params.metrics, shared)
    write_table(groups, output.by_subgroup)
    write_table(splits, output.splits)
    write_table(read_table(input.exclusions), output.exclusions)
    log.info("\n%s", overall.to_string(index=False))

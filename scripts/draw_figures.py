"""Rule draw_figures: figures of the results, and of the data where the source draws them."""

import metafusion.workflow.imports  # noqa: F401

from pathlib import Path

from metafusion import figures
from metafusion.files import file_name, read_many, read_table
from metafusion.sources import science_of
from metafusion.sources.parse import source_from
from metafusion.workflow.chunks import by_modality
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    source = source_from(params.source)
    samples = read_table(input.samples)
    words = figures.Words(params.title, params.metrics[0], source.simulated, params.protocol)
    summary, answers, confusion = read_table(input.summary), read_many(input.answers), read_table(input.confusion)
    figures.save(figures.methods(summary, words), output.methods)
    figures.save(figures.cohort(read_table(input.students), params.modalities, words), output.cohort)
    figures.save(figures.learning_curves(read_many(input.history), read_many(input.selection), words), output.curves)
    figures.save(figures.critical_difference(read_table(input.scores), words), output.ranks)
    figures.save(figures.chosen_penalties(read_table(input.penalties), words), output.penalties)
    figures.save(figures.number_of_students(read_table(input.by_students), words), output.number)
    figures.save(figures.answers(answers, confusion, words), output.answers)
    shown = figures.shown_methods(summary, words.metric)
    figures.save(figures.reliability(answers, shown, words, params.positive), output.reliability)
    figures.save(figures.confusions(confusion, answers["seed"].nunique(), words), output.confusion)
    figures.save(figures.usage(read_table(input.usage), words), output.usage)
    groups = Path(output.subgroups)
    groups.mkdir(parents=True)
    table = read_table(input.by_subgroup)
    for column in table["column"].unique():
        drawn = figures.subgroups(table, column, summary, shown, words)
        figures.save(drawn, groups / f"{file_name(column)}.svg")
    folder = Path(output.data)
    folder.mkdir(parents=True)
    if input.preprocessed:
        science_of(source.kind).look(source, samples, by_modality(input.preprocessed), folder)
    log.info("figures of %s drawn", params.title)

"""Rule compare_experiments: tables and figures across experiments."""

from pathlib import Path

from metafusion import comparison_figures as draw
from metafusion import comparisons, summary
from metafusion.figures import Words, save
from metafusion.files import read_table, whole, write_table
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    kind, title, labels = (params.comparison[key] for key in ("kind", "title", "experiments"))
    words = Words(title, params.metrics[0], params.simulated)
    scores, by_penalty = (
        dict(zip(labels, map(read_table, paths), strict=True)) for paths in (input.scores, input.by_penalty)
    )
    if kind == "settings":
        table = comparisons.settings_table(scores, params.metrics)
        text = comparisons.settings_markdown(table, words)
        figures = {which: draw.by_setting(table, which, words) for which in comparisons.TABLES}
    elif kind == "ablation":
        own = "draw" in read_table(input.samples[0])
        shared = None if own else summary.tested_to_others(read_table(input.splits[0]))
        table = comparisons.ablation_table(scores, words.metric, shared)
        text = comparisons.ablation_markdown(table, words)
        figures = {f"{value}s": draw.ablation(table, value, words) for value in ("lead", "change")}
    else:
        table = comparisons.penalties_table(by_penalty, words.metric)
        text = comparisons.penalties_markdown(table, words)
        students = draw.students(table, read_table(input.students[0]), params.modalities, words)
        figures = {"penalties": draw.by_penalty(table, words), "students": students}
    write_table(table, output.table)
    with whole(output.markdown) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    Path(output.figures).mkdir(parents=True)
    for name, figure in figures.items():
        save(figure, Path(output.figures) / f"{name}.svg")
    log.info("\n%s", text)

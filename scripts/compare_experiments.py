"""Rule compare_experiments: tables and figures across experiments."""

import metafusion.workflow.imports  # noqa: F401

from functools import partial
from pathlib import Path

from metafusion.comparison_kinds import Material, make
from metafusion.config.models import without_size
from metafusion.figures import Words, save
from metafusion.files import read_table, whole, write_table
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    kind, title, labels = (params.comparison[key] for key in ("kind", "title", "experiments"))
    by_label = partial(zip, labels, strict=True)
    names = ("scores", "by_penalty", "students", "splits", "samples", "confusion")
    tables = {name: dict(by_label(map(read_table, input[name]))) for name in names}
    simulated, real = any(params.simulated), not all(params.simulated)
    windows = {label: window and tuple(window) for label, window in by_label(params.windows)}
    table, text, figures = make(
        kind,
        Material(
            **tables,
            windows=windows,
            permuted=dict(by_label(params.permuted)),
            curves={label: without_size(name) for label, name in labels.items()},
            metrics=params.metrics,
            modalities=params.modalities,
            words=Words(title, params.metrics[0], simulated, mixed=simulated and real),
        ),
    )
    write_table(table, output.table)
    with whole(output.markdown) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    Path(output.figures).mkdir(parents=True)
    for name, figure in figures.items():
        save(figure, Path(output.figures) / f"{name}.svg")
    log.info("\n%s", text)

"""Rule assemble_samples: samples, features and exclusions, checked."""

import metafusion.workflow.imports  # noqa: F401

from pathlib import Path

from metafusion import samples
from metafusion.config.models import Shuffle
from metafusion.sources import science_of
from metafusion.sources.parse import source_from
from metafusion.subgroups import levels_of
from metafusion.targets import classes_of, positive_number
from metafusion.workflow.chunks import by_modality
from metafusion.workflow.job import job

with job(snakemake) as (input, output, params, log):
    source = source_from(params.source)
    acquired = Path(input.acquired) if input.acquired else None
    assembled = science_of(source.kind).assemble(source, acquired, by_modality(input.preprocessed))
    checked = samples.check(assembled, params.task, params.modalities, params.unit)
    # Refused here, too, where they cannot be: before the training, not after it.
    positive_number(classes_of(checked.samples, params.task), params.reported["positive"])
    levels_of(checked.samples, checked.people, params.reported["subgroups"])
    if params.shuffle:
        # Imported here: experiments without it need not wait for libraries of statistics.
        from metafusion.permutation import shuffled

        checked = shuffled(checked, Shuffle(**params.shuffle), params.permutations, params.unit)
        log.info("labels shuffled: %d permutations", params.permutations)
    samples.write(checked, output.samples, output.features, output.people, output.exclusions)
    log.info("%d samples, %d subjects", len(checked.samples), checked.samples["subject"].nunique())
    for name, table in checked.features.items():
        log.info("modality %s: %d samples, %d features", name, len(table), table.shape[1] - 1)
    log.info("%d rows of exclusions", len(checked.exclusions))

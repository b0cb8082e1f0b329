"""Rule extract_latents: representations fitted on the training part, for every modality and seed of a block."""

import metafusion.workflow.imports  # noqa: F401

from functools import partial
from importlib import import_module

from metafusion import latents
from metafusion.cohort.seed_data import collect
from metafusion.config.models import Representations
from metafusion.cross_fitting import is_refit, with_runs
from metafusion.files import read_table
from metafusion.samples import feature_matrix
from metafusion.workflow.job import job

chosen = {name: Representations(**choice) for name, choice in snakemake.params.representations.items()}
# By name, so that experiments without networks as extractors do not wait for torch.
learnt = any(choice.learnt for choice in chosen.values())
extractors = import_module("metafusion.extractors") if learnt else None
training = import_module("metafusion.workflow.training") if learnt else None

with job(snakemake) as (input, output, params, log):
    samples, folds = read_table(input.samples), read_table(input.folds) if input.folds else None
    splits, seeds = with_runs(read_table(input.splits), params.seeds, folds, *params.cross_fitting)
    features = partial(feature_matrix, input.features)
    for modality, choice in chosen.items():
        others = {name: other for name, other in chosen.items() if name != modality}
        mapped, fitted = latents.extract(splits, seeds, modality, features, choice, others)
        if choice.learnt:
            data = {}
            for seed in seeds:
                refit = is_refit(seed, params.seeds)
                data[seed] = collect(samples, splits, {modality: mapped}, seed, params.task, refit=refit)
            runtime = training.runtime_of(snakemake, log)
            choice = latents.with_shape(choice, fitted)
            more, layers = extractors.extract(data, modality, choice, params.target_scaling, params.task, runtime)
            mapped |= more
            latents.write_extractors(output.folder, modality, layers)
        latents.write(output.folder, modality, mapped, fitted)
        log.info("%s: %s for %d seeds", modality, ", ".join(choice.names), len(params.seeds))

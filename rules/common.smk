"""
What all rules share: the configuration as checked, and the small functions that tell a job what it needs.

needs   config, the functions of metafusion.config and metafusion.workflow
makes   no file
"""

import os
import sys
import time
from pathlib import Path
from typing import get_args

ROOT = Path(workflow.basedir)
STARTED = time.time()
sys.path.insert(0, str(ROOT))

from snakemake.exceptions import WorkflowError

from metafusion.config.load import load_study
from metafusion.config.models import Comparator
from metafusion.config.source import TRUTH
from metafusion.errors import UserError
from metafusion.sources.wheels import WHEELS
from metafusion.workflow.cached import told_to_cache
from metafusion.workflow.code import code_hash
from metafusion.workflow.compared import shared_metrics
from metafusion.workflow.library import put_first
from metafusion.workflow.parent import announce
from metafusion.workflow.summaries import mistakes, summaries

put_first(ROOT)
announce()


def container_of(image):
    """The image of all jobs; refused if containers are asked for and there is none, as jobs would run without."""
    methods = {method.name for method in workflow.deployment_settings.deployment_method}
    if image is None and "APPTAINER" in methods:
        raise WorkflowError(
            "--sdm apptainer: no image is named, and none is published; make one with Containerfile, "
            "and name it in config/config.yaml: 'container: metafusion.sif'"
        )
    return image


try:
    study = load_study(config)
except UserError as error:
    raise WorkflowError(str(error)) from None

# With 'device: auto' training takes a GPU where --resources gpu=N says that there are some.
GPUS = study.settings.gpus_of(workflow.global_resources.get("gpu").value)

# The cache between workflows: for public data only. A rule is cached as a whole or not at all.
CACHE = "SNAKEMAKE_OUTPUT_CACHE" in os.environ
PUBLIC = not any(one.source.user_files for one in study.experiments.values())


# For every rule; read with --sdm apptainer only.
container: container_of(study.settings.container)


wildcard_constraints:
    experiment="|".join(map(re.escape, study.experiments)),
    block=r"[0-9]+(-[0-9]+)?",
    modality=r"[A-Za-z][A-Za-z0-9_]*",
    comparison="|".join(map(re.escape, study.settings.comparisons)) or "none",
    family="|".join(get_args(Comparator)),


def experiment_of(wildcards):
    return study.experiments[wildcards.experiment]


def code_of(script, source=False, family=False, extractors=False):
    """
    Hash of the library code that a script imports, and of what it imports by name: a source's kind, a family, networks
    as extractors where there are any.
    """

    def code(wildcards):
        extra = []
        if source:
            extra.append(f"metafusion.sources.{experiment_of(wildcards).source.kind}")
        if family:
            extra.append(f"metafusion.comparators.{wildcards.family}")
        if extractors and trains_extractors(wildcards):
            extra += ["metafusion.extractors", "metafusion.workflow.training"]
        return code_hash(ROOT / "scripts" / f"{script}.py", ROOT, tuple(extra))

    return code


def setting(name, **options):
    """A part of the experiment's configuration, as plain values."""

    def value(wildcards):
        return experiment_of(wildcards).model_dump(mode="json", **options)[name]

    return value


def reported(wildcards, input):
    """
    Keys that only say what is reported. Snakemake does not compare params of functions that see the input, so a change
    of these reruns what reports, and no training after a rule that merely checks them.
    """
    keys = experiment_of(wildcards).model_dump(mode="json")
    return {name: keys[name] for name in ("positive", "subgroups")}


def seeds_of_block(wildcards):
    return experiment_of(wildcards).blocks[wildcards.block]


def seeds_per_draw_of(wildcards):
    """Seeds that share a draw of the samples: those of a permutation; in a simulation each seed has its own."""
    experiment = experiment_of(wildcards)
    return experiment.splits_per_permutation if experiment.shuffle else 1


def permutations_of(wildcards):
    """Number of permutations of the labels; 0 without, so that a further seed assembles nothing again."""
    experiment = experiment_of(wildcards)
    return (
        -(-max(experiment.seeds) // experiment.splits_per_permutation)
        if experiment.shuffle
        else 0
    )


def trains_extractors(wildcards):
    chosen = experiment_of(wildcards).representations.values()
    return any(choice.learnt for choice in chosen)


def target_scaling_of(wildcards):
    """For extractors that are trained on the target; other experiments need not know."""
    scaling = experiment_of(wildcards).cohort.target_scaling
    return scaling if trains_extractors(wildcards) else "none"


def device_for_extractors(wildcards):
    return study.settings.device if trains_extractors(wildcards) else "cpu"


def tf32_for_extractors(wildcards):
    return trains_extractors(wildcards) and study.settings.tf32


def gpus_for_extractors(wildcards):
    return GPUS if trains_extractors(wildcards) else 0


def modalities_of(wildcards):
    return list(experiment_of(wildcards).representations)


def assembled_tables_of(wildcards):
    """The modalities, and the truth of a simulation, which only an oracle reads."""
    truth = [TRUTH] if experiment_of(wildcards).source.has_truth else []
    return modalities_of(wildcards) + truth


def of_blocks(path):
    """Paths of all blocks of an experiment, for an input function."""

    def paths(wildcards):
        return expand(
            path, experiment=wildcards.experiment, block=experiment_of(wildcards).blocks
        )

    return paths


def acquired_folder(wildcards):
    """The folder that acquire_source fills; nothing where the files are the user's own."""
    return (
        []
        if experiment_of(wildcards).source.user_files
        else "<resources>/sources/{experiment}"
    )


def user_files(wildcards):
    return [str(file) for file in experiment_of(wildcards).source.user_files]


def files_of_chunk(wildcards):
    """The user's files that one chunk of a modality is made from."""
    source = experiment_of(wildcards).source
    return [str(file) for file in source.inputs_of(wildcards.modality, wildcards.chunk)]


def settings_of_chunk(wildcards):
    """What of the source's settings a chunk depends on; compared, so that only a change of these reruns it."""
    return experiment_of(wildcards).source.settings_of(wildcards.modality)


def source_of_chunk(wildcards, input):
    """All settings of the source. Snakemake does not compare params of functions that see the input."""
    return experiment_of(wildcards).source.model_dump(mode="json")


def cached(wildcards, input):
    """For the cache only. Snakemake does not compare params of functions that see the input."""
    return told_to_cache(wildcards.items()) if CACHE else None


def wheels_of(wildcards):
    return [
        f"<resources>/wheels/{WHEELS[name].file}"
        for name in experiment_of(wildcards).source.wheels
    ]


def draws_of(wildcards):
    """Seeds, where every seed is another data set; adding one must not touch sources that do not depend on it."""
    experiment = experiment_of(wildcards)
    return experiment.seeds if experiment.source.kind == "simulation" else []


def preprocessed_chunks(wildcards):
    chunks = experiment_of(wildcards).source.chunks
    return [
        f"<results>/{wildcards.experiment}/preprocessed/{modality}/{chunk}"
        for modality in chunks
        for chunk in chunks[modality]
    ]


def comparators_of(wildcards):
    families = experiment_of(wildcards).comparators
    return [
        f"<results>/{wildcards.experiment}/comparators/{family}/{wildcards.block}.parquet"
        for family in families
    ]


def stacking_of(wildcards):
    """The stacked students' predictions; nothing where stacking is switched off."""
    wanted = experiment_of(wildcards).ensemble.stacking_epochs > 0
    path = f"<results>/{wildcards.experiment}/stacking/{wildcards.block}.parquet"
    return [path] if wanted else []


def all_preprocessed(wildcards):
    """The chunks of a source that draws its data; nothing for sources that draw none."""
    return (
        preprocessed_chunks(wildcards)
        if experiment_of(wildcards).source.can_be_drawn
        else []
    )


def results_of_all(wildcards):
    """What `snakemake` makes when no target is named."""
    outputs = [
        *rules.aggregate_tables.output,
        *rules.draw_figures.output,
        *rules.describe_data.output,
    ]
    of_experiments = [
        path
        for output in outputs
        for path in expand(str(output), experiment=study.experiments)
    ]
    return of_experiments + [
        path
        for output in rules.compare_experiments.output
        for path in expand(str(output), comparison=study.settings.comparisons)
    ]


def comparison_of(wildcards):
    return study.settings.comparisons[wildcards.comparison]


def compared(wildcards):
    """The experiments of a comparison, by name."""
    names = comparison_of(wildcards).experiments.values()
    return {name: study.experiments[name] for name in names}


def of_compared(path):
    """Paths of all experiments of a comparison, for an input function."""

    def paths(wildcards):
        return expand(path, experiment=compared(wildcards))

    return paths


def some_simulated(wildcards):
    return any(one.source.simulated for one in compared(wildcards).values())


def windows_of_compared(wildcards):
    """The stretch of a trial (s) that each experiment of a comparison decodes; null where its source knows no time."""
    return [one.source.time_window for one in compared(wildcards).values()]


def splits_of_shuffled(wildcards):
    """For each experiment of a comparison, how many seeds share a permutation of its labels; 0 without shuffling."""
    return [
        one.splits_per_permutation if one.shuffle else 0
        for one in compared(wildcards).values()
    ]


def modalities_of_first(wildcards):
    first, *_ = compared(wildcards).values()
    return list(first.representations)


def metrics_of_compared(wildcards):
    """The measures of the first experiment, the main one first, which the others must share."""
    metrics = {name: one.metrics for name, one in compared(wildcards).items()}
    try:
        return shared_metrics(metrics, wildcards.comparison)
    except UserError as error:
        raise WorkflowError(str(error)) from None


def category_of(wildcards):
    """The experiment's name in the report; it says when the data are simulated."""
    simulated = experiment_of(wildcards).source.simulated
    return (
        f"{wildcards.experiment} (simulated data)"
        if simulated
        else wildcards.experiment
    )


def print_mistakes():
    print(f"\n{mistakes(Path(workflow.pathvars.items['logs']), STARTED)}\n")


def print_summaries():
    print(summaries(Path(workflow.pathvars.items["results"]), study.experiments))

"""
What all rules share: the configuration as checked, and the small functions that tell a job what it needs.

needs   config, the functions of metafusion.config and metafusion.workflow
makes   no file
"""

import functools
import hashlib
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

ROOT = Path(workflow.basedir)
STARTED = time.time()
sys.path.insert(0, str(ROOT))

from snakemake.exceptions import WorkflowError
from snakemake.persistence.file import FilePersistence

from metafusion.config.load import load_study
from metafusion.config.models import TUNED, Comparator
from metafusion.config.source import TRUTH
from metafusion.errors import UserError
from metafusion.sources.wheels import WHEELS
from metafusion.workflow.cached import told_to_cache
from metafusion.workflow.code import code_hash
from metafusion.workflow.compared import shared_metrics
from metafusion.workflow.forks import start as start_forks
from metafusion.workflow.layout import refuse_other_layout, refuse_unknown
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


def look_only_when_a_job_ends():
    """
    Take Snakemake's limit of 100 started jobs a second off jobs of this machine. To keep to it, Snakemake looks at all
    jobs that are ready once a second, and for each job that ended once a second more: a study of many jobs then keeps
    it busy, and the end of a run waits for it. A limit that somebody set stays.
    """
    limit = workflow.scheduler.job_rate_limiter
    if workflow.local_exec and limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def read_libraries_once():
    """Fork jobs of this machine from one process; not those in containers or environments, which have others."""
    if workflow.local_exec and not workflow.deployment_settings.deployment_method:
        start_forks(len(workflow.dag))


def refuse_results_of_others():
    """
    Refuse results that this code cannot go on from, and those that Snakemake has no note of: it would keep them,
    whatever code and settings they were made by.
    """
    notes = FilePersistence(nolock=True)
    for name in study.experiments:
        folder = Path(workflow.pathvars.items["results"]) / name
        refuse_other_layout(folder)
        samples = str(folder / "samples.parquet")
        # Of a job that was killed there is another note.
        known = notes._read_record(samples) or notes._filter_incomplete_keys([samples])
        if Path(samples).exists() and not known:
            refuse_unknown(folder, samples)


try:
    study = load_study(config)
    # Jobs of a run need not ask again, and notes of a job are taken when it has ended.
    if workflow.is_main_process:
        refuse_results_of_others()
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
    Hash of a script, of the library code that it imports, and of what it imports by name: a source's kind, a family,
    networks as extractors where there are any.
    """

    def code(wildcards):
        extra = modules_by_name(wildcards, source, family, extractors)
        return code_hash(ROOT / "scripts" / f"{script}.py", ROOT, extra)

    CODE[script] = {"source": source, "family": family, "extractors": extractors}
    return code


CODE = {}


def modules_by_name(wildcards, source, family, extractors):
    """The modules that a script of an experiment imports by a computed name."""
    modules = []
    if source:
        modules.append(f"metafusion.sources.{experiment_of(wildcards).source.kind}")
    if family:
        modules.append(f"metafusion.comparators.{wildcards.family}")
    if extractors and trains_extractors(wildcards):
        modules += ["metafusion.extractors", "metafusion.workflow.training"]
    return tuple(modules)


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


def sizes_to_check(wildcards, input):
    """
    The linear components that are asked for, by modality. No split depends on them, so they are not compared: see
    reported.
    """
    return {
        name: {
            "numbers": choice.components,
            "shared": choice.extractor == "pls",
            "fit_on": choice.fit_on,
            "before": choice.before.model_dump(),
        }
        for name, choice in experiment_of(wildcards).representations.items()
    }


def seeds_of_block(wildcards):
    return experiment_of(wildcards).blocks[wildcards.block]


def cross_fitting_of(wildcards):
    """Number of folds, and whether a run spares one for decisions."""
    experiment = experiment_of(wildcards)
    return [experiment.split.cross_fitting, experiment.decides]


def students_cross_fitting_of(wildcards):
    """The same, and whether a run hides no fold."""
    return [*cross_fitting_of(wildcards), experiment_of(wildcards).cohort.refit]


def tuning_folds_of(wildcards):
    return experiment_of(wildcards).split.tuning_folds


def folds_of_block(wildcards):
    """The folds of cross-fitting; nothing without."""
    return (
        "<results>/{experiment}/folds/{block}.parquet"
        if experiment_of(wildcards).split.cross_fitting
        else []
    )


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


def leaking_of(wildcards):
    """The modalities with representations that are fitted on everything."""
    chosen = experiment_of(wildcards).representations
    return [name for name, choice in chosen.items() if choice.leaks]


def before_of(wildcards):
    """What is made of each modality's columns before they are scaled, by modality."""
    chosen = experiment_of(wildcards).representations
    return {name: one.before.model_dump(mode="json") for name, one in chosen.items()}


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
    return experiment_of(wildcards).source.settings_of(
        wildcards.modality, wildcards.chunk
    )


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
        *rules.record_provenance.output,
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


def deals_folds(experiment):
    return experiment.split.cross_fitting > 0 or any(
        family in TUNED for family in experiment.comparators
    )


def results_of_experiment(wildcards):
    """Everything that the stages of an experiment leave in its folder."""
    experiment = experiment_of(wildcards)
    stages = [
        rules.assemble_samples,
        rules.split_samples,
        rules.describe_data,
        rules.extract_latents,
        rules.train_cohort,
        rules.train_comparators,
        rules.evaluate_block,
        rules.aggregate_tables,
        rules.draw_figures,
    ]
    if experiment.ensemble.stacking_epochs:
        stages.append(rules.stack_students)
    if deals_folds(experiment):
        stages.append(rules.fold_samples)
    patterns = [str(output) for stage in stages for output in stage.output]
    # Patterns without a block or a family come out once for each.
    made = expand(
        patterns,
        experiment=wildcards.experiment,
        block=experiment.blocks,
        family=experiment.comparators,
    )
    return list(dict.fromkeys([*preprocessed_chunks(wildcards), *made]))


def stages_of_experiment(wildcards):
    """For each stage of an experiment its script, the modules that it imports by name, and the hash of all its code."""
    experiment, found = experiment_of(wildcards), {}
    for script, options in CODE.items():
        for family in experiment.comparators if options["family"] else [""]:
            job = SimpleNamespace(experiment=wildcards.experiment, family=family)
            modules = modules_by_name(job, **options)
            found[f"{script} {family}".strip()] = {
                "script": script,
                "modules": list(modules),
                "code": code_hash(ROOT / "scripts" / f"{script}.py", ROOT, modules),
            }
    skipped = ["compare_experiments", "record_provenance", "hash_inputs"]
    skipped += [] if experiment.ensemble.stacking_epochs else ["stack_students"]
    # Families that are tuned have a rule of their own.
    skipped += [f"train_comparators {family}" for family in TUNED]
    skipped += [
        f"tune_comparators {family}"
        for family in get_args(Comparator)
        if family not in TUNED
    ]
    skipped += [] if deals_folds(experiment) else ["fold_samples"]
    skipped += ["acquire_source"] if experiment.source.user_files else []
    skipped += [] if experiment.source.chunks else ["preprocess_chunk"]
    return {name: stage for name, stage in found.items() if name not in skipped}


def configured(wildcards, input):
    """
    The configuration as resolved, and how jobs run. Snakemake does not compare params of functions that see the input:
    a key that changes no result records nothing anew.
    """
    study_keys = {"experiments", "seeds", "comparisons", "pathvars"}
    return {
        "experiment": experiment_of(wildcards).model_dump(mode="json"),
        "settings": study.settings.model_dump(mode="json", exclude=study_keys),
    }


@functools.cache
def files_by_list():
    """The user's own files of all experiments, by a hash of their names: what several share is hashed once."""
    lists = [
        list(map(str, one.source.input_files)) for one in study.experiments.values()
    ]
    return {digest_of_names(files): files for files in lists if files}


def digest_of_names(files):
    return hashlib.sha256(
        "\0".join(files).encode("utf-8", "surrogateescape")
    ).hexdigest()[:16]


def hashed_inputs_of(wildcards):
    files = list(map(str, experiment_of(wildcards).source.input_files))
    return f"<resources>/checksums/{digest_of_names(files)}.json" if files else []


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


def simulated_of_compared(wildcards):
    """For each experiment of a comparison, whether its data are simulated."""
    return [one.source.simulated for one in compared(wildcards).values()]


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


def naming_people(path, **shown):
    """An output with the names of samples and subjects: in the report only where the study allows it."""
    return report(path, **shown) if study.settings.ids_in_report else path


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

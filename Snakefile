"""
Meta Fusion: several modalities of the same samples, a cohort of fusion models, and every comparison on the same splits.

needs   config/config.yaml, which names the experiments, and config/experiments/{name}.yaml
makes   <results>/{experiment}/tables, <results>/{experiment}/figures and everything before them, and
        <results>/comparisons/{comparison} where config/config.yaml names comparisons
"""

from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


report: "rules/report/workflow.rst"


pathvars:
    results="results",
    resources="resources",
    logs="logs",


include: "rules/common.smk"
include: "rules/acquire.smk"
include: "rules/preprocess.smk"
include: "rules/assemble.smk"
include: "rules/split.smk"
include: "rules/describe.smk"
include: "rules/latents.smk"
include: "rules/train.smk"
include: "rules/compare.smk"
include: "rules/stack.smk"
include: "rules/evaluate.smk"
include: "rules/aggregate.smk"
include: "rules/provenance.smk"
include: "rules/compare_experiments.smk"


rule all:
    default_target: True
    input:
        results_of_all,


onstart:
    look_only_when_a_job_ends()
    read_libraries_once()


onsuccess:
    print_summaries()


onerror:
    print_mistakes()

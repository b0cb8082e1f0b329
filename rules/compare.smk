"""
Train what people use today, on the same splits and latents.

needs   <results>/{experiment}/samples.parquet, splits/{block}.parquet, latents/{block}/; for an oracle features/;
        for tuned comparators folds/{block}.parquet and features/ in place of latents
makes   <results>/{experiment}/comparators/{family}/{block}.parquet, the predictions of all methods of the family
"""

# A change of any other setting does not train a family again. Networks that are trained alone know no penalty.
ALONE = {
    "hidden",
    "weight_decay",
    "dropout",
    "epochs",
    "batch_size",
    "learning_rate",
    "patience",
    "target_scaling",
    "warm_start",
    "equal_budget",
    "repetition",
}
READ_BY_FAMILY = {
    "networks": {"task": True, "cohort": ALONE, "late_fusion": True},
    "double_budget": {"task": True, "cohort": ALONE, "late_fusion": True},
    "linear": {"task": True},
    "boosting": {"task": True},
    "cooperative": {"task": True, "cohort": ALONE, "cooperative": True},
    "oracle": {"task": True, "cohort": ALONE},
}


rule train_comparators:
    input:
        samples="<results>/{experiment}/samples.parquet",
        splits="<results>/{experiment}/splits/{block}.parquet",
        folds=folds_of_block,
        latents="<results>/{experiment}/latents/{block}",
        # The truth is among them; the other families read latents.
        features=branch(
            lambda wildcards: wildcards.family == "oracle",
            then="<results>/{experiment}/features",
            otherwise=[],
        ),
    output:
        predictions="<results>/{experiment}/comparators/{family}/{block}.parquet",
    log:
        "<logs>/{experiment}/train_comparators/{family}_{block}.log",
    wildcard_constraints:
        family="|".join(READ_BY_FAMILY),
    conda:
        "../environment.yaml"
    threads: study.settings.threads
    params:
        code=code_of("train_comparators", family=True),
        settings=lambda wildcards: experiment_of(wildcards).model_dump(
            mode="json", include=READ_BY_FAMILY[wildcards.family]
        ),
        modalities=modalities_of,
        cross_fitting=cross_fitting_of,
        seeds=seeds_of_block,
        threads=study.settings.threads,
    script:
        "../scripts/train_comparators.py"


rule tune_comparators:
    input:
        samples="<results>/{experiment}/samples.parquet",
        splits="<results>/{experiment}/splits/{block}.parquet",
        folds="<results>/{experiment}/folds/{block}.parquet",
        # Latents are fitted on a run's training part; these models learn from other parts.
        features="<results>/{experiment}/features",
    output:
        predictions="<results>/{experiment}/comparators/{family}/{block}.parquet",
    log:
        "<logs>/{experiment}/tune_comparators/{family}_{block}.log",
    wildcard_constraints:
        family="|".join(TUNED),
    conda:
        "../environment.yaml"
    threads: study.settings.threads
    params:
        code=code_of("tune_comparators", family=True),
        task=setting("task"),
        before=before_of,
        folds=tuning_folds_of,
        seeds=seeds_of_block,
        threads=study.settings.threads,
    script:
        "../scripts/tune_comparators.py"

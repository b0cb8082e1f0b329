"""
Train the cohort: all students, all penalties, all seeds of a block.

needs   <results>/{experiment}/samples.parquet, splits/{block}.parquet, latents/{block}/
makes   <results>/{experiment}/cohort/{block}/ with students, history, weights, predictions and selection
"""


rule train_cohort:
    input:
        samples="<results>/{experiment}/samples.parquet",
        splits="<results>/{experiment}/splits/{block}.parquet",
        folds=folds_of_block,
        latents="<results>/{experiment}/latents/{block}",
    output:
        students="<results>/{experiment}/cohort/{block}/students.tsv",
        history="<results>/{experiment}/cohort/{block}/history.parquet",
        weights="<results>/{experiment}/cohort/{block}/weights.safetensors",
        predictions="<results>/{experiment}/cohort/{block}/predictions.safetensors",
        selection="<results>/{experiment}/cohort/{block}/selection.tsv",
    log:
        "<logs>/{experiment}/train_cohort/{block}.log",
    # The longest jobs start first, so that the last core does not wait for them alone.
    priority: 10
    conda:
        "../environment.yaml"
    threads: study.settings.threads
    # A profile may say otherwise; a block that does not fit is trained in parts.
    resources:
        mem_mb=study.settings.memory_mb,
        gpu=GPUS,
    params:
        code=code_of("train_cohort"),
        cohort=setting("cohort"),
        device=study.settings.device,
        representations=setting("representations"),
        cross_fitting=students_cross_fitting_of,
        seeds=seeds_of_block,
        task=setting("task"),
        tf32=study.settings.tf32,
        threads=study.settings.threads,
    script:
        "../scripts/train_cohort.py"

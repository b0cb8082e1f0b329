"""
Train what people use today, on the same splits and latents.

needs   <results>/{experiment}/samples.parquet, splits/{block}.parquet, latents/{block}/
makes   <results>/{experiment}/comparators/{family}/{block}.parquet, the predictions of all methods of the family
"""


rule train_comparators:
    input:
        samples="<results>/{experiment}/samples.parquet",
        splits="<results>/{experiment}/splits/{block}.parquet",
        latents="<results>/{experiment}/latents/{block}",
    output:
        predictions="<results>/{experiment}/comparators/{family}/{block}.parquet",
    log:
        "<logs>/{experiment}/train_comparators/{family}_{block}.log",
    conda:
        "../environment.yaml"
    threads: study.settings.threads
    params:
        code=code_of("train_comparators", family=True),
        cohort=setting("cohort"),
        task=setting("task"),
        late_fusion=setting("late_fusion"),
        modalities=modalities_of,
        seeds=seeds_of_block,
        threads=study.settings.threads,
    script:
        "../scripts/train_comparators.py"

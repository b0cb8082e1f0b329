"""
Fit the representations of every modality on the training part of each seed, and map all samples.
Networks that are extractors are trained here; the targets of the test part are hidden from them.

needs   <results>/{experiment}/samples.parquet, features/, splits/{block}.parquet
makes   <results>/{experiment}/latents/{block}/{modality}.safetensors, the fitted transforms and trained extractors beside them
"""


rule extract_latents:
    input:
        samples="<results>/{experiment}/samples.parquet",
        features="<results>/{experiment}/features",
        splits="<results>/{experiment}/splits/{block}.parquet",
        folds=folds_of_block,
    output:
        folder=directory("<results>/{experiment}/latents/{block}"),
    log:
        "<logs>/{experiment}/extract_latents/{block}.log",
    conda:
        "../environment.yaml"
    threads: study.settings.threads
    resources:
        mem_mb=study.settings.memory_mb,
        gpu=gpus_for_extractors,
    params:
        code=code_of("extract_latents", extractors=True),
        device=device_for_extractors,
        representations=setting("representations"),
        cross_fitting=students_cross_fitting_of,
        seeds=seeds_of_block,
        target_scaling=target_scaling_of,
        task=setting("task"),
        tf32=tf32_for_extractors,
        threads=study.settings.threads,
    script:
        "../scripts/extract_latents.py"

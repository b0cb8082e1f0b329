"""
Fit the representations of every modality on the training part of each seed, and map all samples.

needs   <results>/{experiment}/samples.parquet, features/, splits/{block}.parquet
makes   <results>/{experiment}/latents/{block}/{modality}.safetensors, the fitted transforms beside them
"""


rule extract_latents:
    input:
        features="<results>/{experiment}/features",
        splits="<results>/{experiment}/splits/{block}.parquet",
    output:
        folder=directory("<results>/{experiment}/latents/{block}"),
    log:
        "<logs>/{experiment}/extract_latents/{block}.log",
    conda:
        "../environment.yaml"
    threads: study.threads
    params:
        code=code_of("extract_latents"),
        representations=setting("representations"),
        seeds=seeds_of_block,
        threads=study.threads,
    script:
        "../scripts/extract_latents.py"

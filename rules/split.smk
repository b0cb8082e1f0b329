"""
Split the samples of an experiment into train, validation and test, and refuse representations too large for them; deal
what is not tested to folds, for cross-fitting and for comparators that are tuned by cross-validation.

needs   <results>/{experiment}/samples.parquet, features/
makes   <results>/{experiment}/splits/{block}.parquet, one column a seed, and a manifest with counts beside it;
        folds/{block}.parquet, where an experiment wants cross-fitting or such comparators
"""


rule split_samples:
    input:
        samples="<results>/{experiment}/samples.parquet",
        features="<results>/{experiment}/features",
    output:
        splits="<results>/{experiment}/splits/{block}.parquet",
        manifest="<results>/{experiment}/splits/{block}.tsv",
    log:
        "<logs>/{experiment}/split_samples/{block}.log",
    # The account of the data waits for all of them.
    priority: 20
    conda:
        "../environment.yaml"
    params:
        code=code_of("split_samples"),
        split=setting("split"),
        task=setting("task"),
        seeds=seeds_of_block,
        seeds_per_draw=seeds_per_draw_of,
        sizes=sizes_to_check,
    script:
        "../scripts/split_samples.py"


rule fold_samples:
    input:
        samples="<results>/{experiment}/samples.parquet",
        features="<results>/{experiment}/features",
        splits="<results>/{experiment}/splits/{block}.parquet",
    output:
        folds="<results>/{experiment}/folds/{block}.parquet",
    log:
        "<logs>/{experiment}/fold_samples/{block}.log",
    conda:
        "../environment.yaml"
    params:
        code=code_of("fold_samples"),
        cross_fitting=cross_fitting_of,
        split=setting("split"),
        folds=tuning_folds_of,
        task=setting("task"),
        seeds=seeds_of_block,
        sizes=sizes_to_check,
    script:
        "../scripts/fold_samples.py"

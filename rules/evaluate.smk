"""
Choose the ensembles on the validation part and score every method. The only rule that scores the test part.

needs   <results>/{experiment}/samples.parquet, people.parquet, splits/{block}.parquet, cohort/{block}/,
        comparators/*/{block}.parquet, stacking/{block}.parquet unless it is switched off
makes   <results>/{experiment}/ensembles/{block}.tsv, predictions/{block}.parquet, answers/{block}.parquet (for the test
        part, beside the truth), scores/{block}.parquet, and scores at every penalty (by_penalty/{block}.parquet), of
        fewer students (by_students/{block}.parquet) and of groups of people (by_subgroup/{block}.parquet)
"""


rule evaluate_block:
    input:
        samples="<results>/{experiment}/samples.parquet",
        people="<results>/{experiment}/people.parquet",
        splits="<results>/{experiment}/splits/{block}.parquet",
        folds=folds_of_block,
        predictions="<results>/{experiment}/cohort/{block}/predictions.safetensors",
        selection="<results>/{experiment}/cohort/{block}/selection.tsv",
        comparators=comparators_of,
        stacking=stacking_of,
    output:
        ensembles="<results>/{experiment}/ensembles/{block}.tsv",
        predictions="<results>/{experiment}/predictions/{block}.parquet",
        answers="<results>/{experiment}/answers/{block}.parquet",
        scores="<results>/{experiment}/scores/{block}.parquet",
        by_penalty="<results>/{experiment}/by_penalty/{block}.parquet",
        by_students="<results>/{experiment}/by_students/{block}.parquet",
        by_subgroup="<results>/{experiment}/by_subgroup/{block}.parquet",
    log:
        "<logs>/{experiment}/evaluate_block/{block}.log",
    conda:
        "../environment.yaml"
    params:
        code=code_of("evaluate_block"),
        ensemble=setting("ensemble"),
        task=setting("task"),
        metrics=setting("metrics"),
        positive=setting("positive"),
        subgroups=setting("subgroups"),
        seeds=seeds_of_block,
    script:
        "../scripts/evaluate_block.py"

"""
Stack the students: a small network learns, on the training part, how to put their answers together.

needs   <results>/{experiment}/samples.parquet, splits/{block}.parquet, cohort/{block}/
makes   <results>/{experiment}/stacking/{block}.parquet, predictions as those of a comparator
"""


rule stack_students:
    input:
        samples="<results>/{experiment}/samples.parquet",
        splits="<results>/{experiment}/splits/{block}.parquet",
        predictions="<results>/{experiment}/cohort/{block}/predictions.safetensors",
        selection="<results>/{experiment}/cohort/{block}/selection.tsv",
    output:
        predictions="<results>/{experiment}/stacking/{block}.parquet",
    log:
        "<logs>/{experiment}/stack_students/{block}.log",
    conda:
        "../environment.yaml"
    threads: study.settings.threads
    params:
        code=code_of("stack_students"),
        cohort=setting("cohort"),
        # Only what this rule uses of the ensembles: another choice of members stacks nothing anew.
        stacking=setting(
            "ensemble",
            include={"ensemble": {"stacking_epochs", "stacking_learning_rate"}},
        ),
        seeds=seeds_of_block,
        task=setting("task"),
        threads=study.settings.threads,
    script:
        "../scripts/stack_students.py"

"""
Across experiments: what config/config.yaml names under comparisons.

needs   <results>/{experiment}/tables/*.tsv and samples.parquet of the experiments compared
makes   <results>/comparisons/{comparison}/table.tsv, table.md, figures/*.svg
"""


rule compare_experiments:
    input:
        scores=of_compared("<results>/{experiment}/tables/scores.tsv"),
        by_penalty=of_compared("<results>/{experiment}/tables/by_penalty.tsv"),
        students=of_compared("<results>/{experiment}/tables/students.tsv"),
        splits=of_compared("<results>/{experiment}/tables/splits.tsv"),
        samples=of_compared("<results>/{experiment}/samples.parquet"),
        confusion=of_compared("<results>/{experiment}/tables/confusion.tsv"),
    output:
        table=report(
            "<results>/comparisons/{comparison}/table.tsv",
            caption="report/comparison_table.rst",
            category="Comparisons",
            subcategory="{comparison}",
            labels={"what": "table"},
        ),
        markdown="<results>/comparisons/{comparison}/table.md",
        figures=report(
            directory("<results>/comparisons/{comparison}/figures"),
            patterns=["{name}.svg"],
            caption="report/comparison_figures.rst",
            category="Comparisons",
            subcategory="{comparison}",
            labels={"what": "{name}"},
        ),
    log:
        "<logs>/compare_experiments/{comparison}.log",
    conda:
        "../environment.yaml"
    params:
        code=code_of("compare_experiments"),
        comparison=lambda wildcards: comparison_of(wildcards).model_dump(mode="json"),
        metrics=metrics_of_compared,
        permuted=splits_of_shuffled,
        simulated=simulated_of_compared,
        windows=windows_of_compared,
        modalities=modalities_of_first,
    script:
        "../scripts/compare_experiments.py"

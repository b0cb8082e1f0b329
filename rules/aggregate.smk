"""
Over seeds: tables, figures and what the report shows.

needs   <results>/{experiment}/scores/*.parquet, predictions/*.parquet, cohort/*/, splits/*.tsv, exclusions.tsv
makes   <results>/{experiment}/tables/*.tsv, figures/*.svg
"""


rule aggregate_tables:
    input:
        scores=of_blocks("<results>/{experiment}/scores/{block}.parquet"),
        students=of_blocks("<results>/{experiment}/cohort/{block}/students.tsv"),
        selection=of_blocks("<results>/{experiment}/cohort/{block}/selection.tsv"),
        manifests=of_blocks("<results>/{experiment}/splits/{block}.tsv"),
        exclusions="<results>/{experiment}/exclusions.tsv",
    output:
        summary=report(
            "<results>/{experiment}/tables/summary.tsv",
            caption="report/summary.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "methods compared"},
        ),
        scores="<results>/{experiment}/tables/scores.tsv",
        students=report(
            "<results>/{experiment}/tables/students.tsv",
            caption="report/students.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "students"},
        ),
        penalties=report(
            "<results>/{experiment}/tables/penalties.tsv",
            caption="report/penalties.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "penalties"},
        ),
        splits=report(
            "<results>/{experiment}/tables/splits.tsv",
            caption="report/splits.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "splits"},
        ),
        exclusions=report(
            "<results>/{experiment}/tables/exclusions.tsv",
            caption="report/exclusions.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "exclusions"},
        ),
    log:
        "<logs>/{experiment}/aggregate_tables.log",
    conda:
        "../environment.yaml"
    params:
        code=code_of("aggregate_tables"),
        metrics=setting("metrics"),
    script:
        "../scripts/aggregate_tables.py"


rule draw_figures:
    input:
        summary="<results>/{experiment}/tables/summary.tsv",
        scores="<results>/{experiment}/tables/scores.tsv",
        students="<results>/{experiment}/tables/students.tsv",
        history=of_blocks("<results>/{experiment}/cohort/{block}/history.parquet"),
        selection=of_blocks("<results>/{experiment}/cohort/{block}/selection.tsv"),
        predictions=of_blocks("<results>/{experiment}/predictions/{block}.parquet"),
        samples="<results>/{experiment}/samples.parquet",
        preprocessed=all_preprocessed,
    output:
        methods=report(
            "<results>/{experiment}/figures/methods.svg",
            caption="report/methods.rst",
            category=category_of,
            subcategory="Figures",
            labels={"figure": "methods compared"},
        ),
        cohort=report(
            "<results>/{experiment}/figures/cohort.svg",
            caption="report/cohort.rst",
            category=category_of,
            subcategory="Figures",
            labels={"figure": "the cohort"},
        ),
        curves=report(
            "<results>/{experiment}/figures/learning_curves.svg",
            caption="report/learning_curves.rst",
            category=category_of,
            subcategory="Figures",
            labels={"figure": "learning curves"},
        ),
        answers=report(
            "<results>/{experiment}/figures/predictions.svg",
            caption="report/predictions.rst",
            category=category_of,
            subcategory="Figures",
            labels={"figure": "predictions"},
        ),
        data=report(
            directory("<results>/{experiment}/figures/data"),
            patterns=["{name}.svg"],
            caption="report/data.rst",
            category=category_of,
            subcategory="Data",
            labels={"figure": "{name}"},
        ),
    log:
        "<logs>/{experiment}/draw_figures.log",
    conda:
        "../environment.yaml"
    params:
        code=code_of("draw_figures", source=True),
        title=setting("title"),
        task=setting("task"),
        metrics=setting("metrics"),
        source=setting("source"),
        modalities=modalities_of,
        protocol=setting("protocol"),
    script:
        "../scripts/draw_figures.py"

"""
Over seeds: tables, figures and what the report shows.

needs   <results>/{experiment}/scores/*.parquet, by_penalty/*.parquet, by_students/*.parquet, by_subgroup/*.parquet,
        answers/*.parquet, ensembles/*.tsv, cohort/*/, splits/*.tsv, samples.parquet, exclusions.tsv
makes   <results>/{experiment}/tables/*.tsv, figures/*.svg
"""


rule aggregate_tables:
    input:
        scores=of_blocks("<results>/{experiment}/scores/{block}.parquet"),
        by_penalty=of_blocks("<results>/{experiment}/by_penalty/{block}.parquet"),
        by_students=of_blocks("<results>/{experiment}/by_students/{block}.parquet"),
        by_subgroup=of_blocks("<results>/{experiment}/by_subgroup/{block}.parquet"),
        students=of_blocks("<results>/{experiment}/cohort/{block}/students.tsv"),
        selection=of_blocks("<results>/{experiment}/cohort/{block}/selection.tsv"),
        ensembles=of_blocks("<results>/{experiment}/ensembles/{block}.tsv"),
        answers=of_blocks("<results>/{experiment}/answers/{block}.parquet"),
        manifests=of_blocks("<results>/{experiment}/splits/{block}.tsv"),
        samples="<results>/{experiment}/samples.parquet",
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
        mutual_learning=report(
            "<results>/{experiment}/tables/mutual_learning.tsv",
            caption="report/mutual_learning.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "what mutual learning added"},
        ),
        differences=report(
            "<results>/{experiment}/tables/differences.tsv",
            caption="report/differences.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "differences between methods"},
        ),
        ranks=report(
            "<results>/{experiment}/tables/ranks.tsv",
            caption="report/ranks.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "ranks of methods"},
        ),
        by_penalty=report(
            "<results>/{experiment}/tables/by_penalty.tsv",
            caption="report/by_penalty.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "everything by penalty"},
        ),
        by_students=report(
            "<results>/{experiment}/tables/by_students.tsv",
            caption="report/by_students.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "number of students"},
        ),
        by_subgroup=report(
            "<results>/{experiment}/tables/by_subgroup.tsv",
            caption="report/by_subgroup.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "groups of people"},
        ),
        confusion=report(
            "<results>/{experiment}/tables/confusion.tsv",
            caption="report/confusion.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "confusion of classes"},
        ),
        usage=report(
            "<results>/{experiment}/tables/usage.tsv",
            caption="report/usage.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "what the ensemble uses"},
        ),
        splits=report(
            "<results>/{experiment}/tables/splits.tsv",
            caption="report/splits.rst",
            category=category_of,
            subcategory="Tables",
            labels={"table": "splits"},
        ),
        exclusions=naming_people(
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
        modalities=modalities_of,
    script:
        "../scripts/aggregate_tables.py"


rule draw_figures:
    input:
        summary="<results>/{experiment}/tables/summary.tsv",
        scores="<results>/{experiment}/tables/scores.tsv",
        students="<results>/{experiment}/tables/students.tsv",
        penalties="<results>/{experiment}/tables/penalties.tsv",
        by_students="<results>/{experiment}/tables/by_students.tsv",
        by_subgroup="<results>/{experiment}/tables/by_subgroup.tsv",
        confusion="<results>/{experiment}/tables/confusion.tsv",
        usage="<results>/{experiment}/tables/usage.tsv",
        history=of_blocks("<results>/{experiment}/cohort/{block}/history.parquet"),
        selection=of_blocks("<results>/{experiment}/cohort/{block}/selection.tsv"),
        answers=of_blocks("<results>/{experiment}/answers/{block}.parquet"),
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
        ranks=report(
            "<results>/{experiment}/figures/critical_difference.svg",
            caption="report/critical_difference.rst",
            category=category_of,
            subcategory="Figures",
            labels={"figure": "ranks of the methods"},
        ),
        penalties=report(
            "<results>/{experiment}/figures/penalties.svg",
            caption="report/chosen_penalties.rst",
            category=category_of,
            subcategory="Figures",
            labels={"figure": "penalties chosen"},
        ),
        number=report(
            "<results>/{experiment}/figures/number_of_students.svg",
            caption="report/number_of_students.rst",
            category=category_of,
            subcategory="Figures",
            labels={"figure": "number of students"},
        ),
        answers=report(
            "<results>/{experiment}/figures/predictions.svg",
            caption="report/predictions.rst",
            category=category_of,
            subcategory="Figures",
            labels={"figure": "predictions"},
        ),
        reliability=report(
            "<results>/{experiment}/figures/reliability.svg",
            caption="report/reliability.rst",
            category=category_of,
            subcategory="Figures",
            labels={"figure": "reliability"},
        ),
        confusion=report(
            "<results>/{experiment}/figures/confusion.svg",
            caption="report/confusion.rst",
            category=category_of,
            subcategory="Figures",
            labels={"figure": "confusion of classes"},
        ),
        usage=report(
            "<results>/{experiment}/figures/usage.svg",
            caption="report/usage.rst",
            category=category_of,
            subcategory="Figures",
            labels={"figure": "what the ensemble uses"},
        ),
        subgroups=report(
            directory("<results>/{experiment}/figures/subgroups"),
            patterns=["{name}.svg"],
            caption="report/subgroups.rst",
            category=category_of,
            subcategory="Figures",
            labels={"figure": "groups by {name}"},
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
        metrics=setting("metrics"),
        positive=setting("positive"),
        source=setting("source"),
        modalities=modalities_of,
        protocol=setting("protocol"),
    script:
        "../scripts/draw_figures.py"

"""
Give account of the data before any model: who is in and why, who the people are, and what could leak.

needs   <results>/{experiment}/samples.parquet, features/, people.parquet, exclusions.tsv, splits/*.parquet,
        preprocessed/*/*
makes   <results>/{experiment}/tables/{flow,participants,leakage,doubles,columns,quality,tripod_ai}.tsv, figures/flow.svg
"""


rule describe_data:
    input:
        samples="<results>/{experiment}/samples.parquet",
        features="<results>/{experiment}/features",
        people="<results>/{experiment}/people.parquet",
        exclusions="<results>/{experiment}/exclusions.tsv",
        splits=of_blocks("<results>/{experiment}/splits/{block}.parquet"),
        preprocessed=preprocessed_chunks,
    output:
        flow=report(
            "<results>/{experiment}/tables/flow.tsv",
            caption="report/flow_table.rst",
            category=category_of,
            subcategory="Data",
            labels={"table": "flow of samples"},
        ),
        participants=report(
            "<results>/{experiment}/tables/participants.tsv",
            caption="report/participants.rst",
            category=category_of,
            subcategory="Data",
            labels={"table": "participants"},
        ),
        leakage=report(
            "<results>/{experiment}/tables/leakage.tsv",
            caption="report/leakage.rst",
            category=category_of,
            subcategory="Data",
            labels={"table": "leakage and suspects"},
        ),
        doubles="<results>/{experiment}/tables/doubles.tsv",
        columns=report(
            "<results>/{experiment}/tables/columns.tsv",
            caption="report/columns.rst",
            category=category_of,
            subcategory="Data",
            labels={"table": "columns"},
        ),
        quality=naming_people(
            "<results>/{experiment}/tables/quality.tsv",
            caption="report/quality.rst",
            category=category_of,
            subcategory="Data",
            labels={"table": "quality of volumes"},
        ),
        tripod_ai=report(
            "<results>/{experiment}/tables/tripod_ai.tsv",
            caption="report/tripod_ai.rst",
            category=category_of,
            subcategory="Data",
            labels={"table": "TRIPOD+AI items"},
        ),
        figure=report(
            "<results>/{experiment}/figures/flow.svg",
            caption="report/flow.rst",
            category=category_of,
            subcategory="Data",
            labels={"figure": "flow of samples"},
        ),
    log:
        "<logs>/{experiment}/describe_data.log",
    # Before training, where cores are few: what is suspect should show before hours of compute.
    priority: 20
    conda:
        "../environment.yaml"
    params:
        code=code_of("describe_data", source=True),
        title=setting("title"),
        task=setting("task"),
        split=setting("split"),
        checks=setting("checks"),
        kind=lambda wildcards: experiment_of(wildcards).source.kind,
        simulated=lambda wildcards: experiment_of(wildcards).source.simulated,
        proxies=lambda wildcards: experiment_of(wildcards).source.label_proxies,
        leaking=leaking_of,
        modalities=modalities_of,
    script:
        "../scripts/describe_data.py"

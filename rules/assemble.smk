"""
Join the chunks to samples and features, check them, and say who is not in and why.

needs   <results>/{experiment}/preprocessed/*/*, <resources>/sources/{experiment}/ or the user's files
makes   <results>/{experiment}/samples.parquet, features/{modality}.parquet, people.parquet,
        exclusions.tsv
"""


rule assemble_samples:
    input:
        acquired=acquired_folder,
        files=user_files,
        preprocessed=preprocessed_chunks,
    output:
        samples="<results>/{experiment}/samples.parquet",
        features=directory("<results>/{experiment}/features"),
        people="<results>/{experiment}/people.parquet",
        exclusions="<results>/{experiment}/exclusions.tsv",
    log:
        "<logs>/{experiment}/assemble_samples.log",
    conda:
        "../environment.yaml"
    params:
        code=code_of("assemble_samples", source=True),
        source=setting("source"),
        task=setting("task"),
        unit=lambda wildcards: experiment_of(wildcards).split.unit,
        modalities=assembled_tables_of,
        shuffle=setting("shuffle"),
        permutations=permutations_of,
        reported=reported,
    script:
        "../scripts/assemble_samples.py"

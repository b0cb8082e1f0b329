"""
Bring each chunk (a session, some subjects, or a table) of a modality into shape, using nothing of other chunks.

needs   <resources>/sources/{experiment}/ or the user's files
makes   <results>/{experiment}/preprocessed/{modality}/{chunk}/
"""


rule preprocess_chunk:
    input:
        acquired=acquired_folder,
        files=files_of_chunk,
    output:
        folder=directory("<results>/{experiment}/preprocessed/{modality}/{chunk}"),
    log:
        "<logs>/{experiment}/preprocess_chunk/{modality}_{chunk}.log",
    # Never with data that may be under an agreement, not even those of another experiment of the study.
    cache: CACHE and PUBLIC
    conda:
        "../environment.yaml"
    params:
        cached=cached,
        code=code_of("preprocess_chunk", source=True),
        settings=settings_of_chunk,
        source=source_of_chunk,
    script:
        "../scripts/preprocess_chunk.py"

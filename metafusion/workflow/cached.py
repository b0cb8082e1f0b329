"""What the cache between workflows must know of a job beyond its rule and params: Snakemake hashes no wildcards."""

import platform
from collections.abc import Iterable
from importlib.metadata import version

PACKAGES = (
    "mne",
    "nibabel",
    "nilearn",
    "numpy",
    "pandas",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "scipy",
    "SimpleITK",
)
"""Those whose version can change what is acquired or preprocessed."""


def told_to_cache(wildcards: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return what tells a job's result from others of the same rule, code and settings.

    Parameters
    ----------
    wildcards : iterable of (name, value)
        The name of the experiment has no say: experiments on the same data share what is cached.
    """
    which = {name: value for name, value in wildcards if name != "experiment"}
    return which | {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}

"""OASIS-1: T1-weighted volumes and a table of 416 people aged 18 to 96, some with Alzheimer's disease.

The files are the user's and are only read, so there is nothing to acquire. Marcus et al. 2007, J. Cogn. Neurosci.
19(9):1498-1507.
"""

from metafusion.sources.oasis import assemble, preprocess

__all__ = ["assemble", "preprocess"]

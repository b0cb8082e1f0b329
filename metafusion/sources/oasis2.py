"""OASIS-2: T1-weighted volumes and a table of 150 people aged 60 to 96 with several visits.

The files are the user's and are only read, so there is nothing to acquire. Marcus et al. 2010, J. Cogn. Neurosci.
22(12):2677-2684.
"""

from metafusion.sources.oasis import assemble, preprocess

__all__ = ["assemble", "preprocess"]

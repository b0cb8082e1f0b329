"""Handwritten digits cut in two (real images; scikit-learn's ``load_digits``): the left and the right half.

1797 images of 8 x 8 pixels, which scikit-learn ships: the test part of a set of handwritten digits of the UCI archive.
Who wrote which is not known. The cut is ours: neither half holds the whole digit.

References
----------
Alpaydin, Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_digits

from metafusion.sources.views import Views, numbered

SIDE = 8
HALVES = {"left": range(SIDE // 2), "right": range(SIDE // 2, SIDE)}
"""Columns of pixels."""


def read(wheels: Mapping[str, Path]) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Return the samples and the halves; names of pixels are those of scikit-learn, ``pixel_{row}_{column}``."""
    digits = load_digits(as_frame=True)
    ids = numbered("digit", len(digits.data))
    samples = pd.DataFrame({"sample": ids, "subject": ids, "target": digits.target.astype("str")})
    halves = {
        name: digits.data[[f"pixel_{row}_{column}" for row in range(SIDE) for column in columns]]
        for name, columns in HALVES.items()
    }
    return samples, halves


SET = Views(read)
acquire, preprocess, assemble = SET.acquire, SET.preprocess, SET.assemble

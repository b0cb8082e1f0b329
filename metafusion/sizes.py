"""Whether the sizes of representations can be had at all: said when the samples are split, before hours of compute."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from metafusion.errors import UserError
from metafusion.files import read_table
from metafusion.parts import PARTS_TO_FIT_ON, parts_of
from metafusion.preprocess.trials import array_shape
from metafusion.samples import original_ids


def refuse_large_sizes(
    splits: pd.DataFrame,
    seeds: Sequence[int],
    features: str | Path,
    representations: Mapping[str, Mapping[str, Any]],
    called: str = "seed",
) -> None:
    """Refuse more principal components than the samples to fit on and the columns of a modality can have.

    Columns that do not vary are known to who fits only, so that fewer may be possible than is said here.

    Parameters
    ----------
    splits : DataFrame
        See metafusion.splits.
    seeds : sequence of int
    features : path
        Folder with ``{modality}.parquet``.
    representations : mapping of str to mapping
        By modality: ``numbers`` of components, ``fit_on``, and ``before`` (``kind``, ``components``, ``fit_on``), as in
        :class:`metafusion.config.models.Representations`.
    called : str
        What the seeds are, for the message: with cross-fitting they are runs.

    Raises
    ------
    UserError
        One message for all modalities.
    """
    faults = []
    for modality, choice in representations.items():
        before = choice["before"]
        if not choice["numbers"] and before["kind"] != "channel_pca":
            continue
        path = Path(features) / f"{modality}.parquet"
        columns = [name for name in pq.read_schema(path).names if name != "sample"]
        having = read_table(path, ["sample"])["sample"]
        width = len(columns)
        if before["kind"] in ("channel_pca", "tangent_space"):
            try:
                channels, times = array_shape(columns)
            except UserError:
                # Who fits it says what is wrong.
                continue
            if before["kind"] == "tangent_space":
                width = channels * (channels + 1) // 2
            else:
                count, seed = _fewest(splits, seeds, having, before["fit_on"] or choice["fit_on"])
                # A channel's courses differ from their mean in one direction less than there are.
                if before["components"] > (most := min(count - 1, times)):
                    faults.append(
                        f"{modality}: before: {before['components']} components a channel, at most {most} ({count} "
                        f"samples to fit on in {called} {seed}, {times} times)"
                    )
                width = channels * before["components"]
        count, seed = _fewest(splits, seeds, having, choice["fit_on"])
        most = min(count, width)
        large = [number for number in choice["numbers"] if number > most]
        if large:
            faults.append(
                f"{modality}: sizes {', '.join(map(str, large))}, at most {most} ({count} samples to fit on in "
                f"{called} {seed}, {width} columns)"
            )
    if faults:
        raise UserError(
            f"representations: more principal components than the data have: {'; '.join(faults)}; lower these sizes or "
            "components"
        )


def _fewest(splits: pd.DataFrame, seeds: Sequence[int], having: pd.Series, fit_on: str) -> tuple[int, int]:
    """Return the smallest number of samples to fit on that have the modality, and its first seed."""
    counts = []
    for seed in seeds:
        parts = parts_of(splits, seed)
        there = original_ids(parts["sample"]).isin(having) & parts["part"].isin(PARTS_TO_FIT_ON[fit_on])
        counts.append((int(there.sum()), seed))
    return min(counts, key=lambda pair: pair[0])

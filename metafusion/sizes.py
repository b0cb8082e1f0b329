"""Whether the sizes of representations can be had at all: said when the samples are split, before hours of compute."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from metafusion.errors import UserError
from metafusion.files import column_names, read_table
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
    """Refuse more linear components than the samples to fit on and the columns can have.

    Columns that do not vary are known to who fits only, so that fewer may be possible than is said here.

    Parameters
    ----------
    splits : DataFrame
        See metafusion.splits.
    seeds : sequence of int
    features : path
        Folder with ``{modality}.parquet``.
    representations : mapping of str to mapping
        By modality: ``numbers`` of components, whether they are ``shared`` with the other modalities (partial least
        squares), ``fit_on``, and ``before`` (``kind``, ``components``, ``fit_on``), as in
        :class:`metafusion.config.models.Representations`.
    called : str
        What the seeds are, for the message: with cross-fitting they are runs.

    Raises
    ------
    UserError
        One message for all modalities.
    """
    faults = []
    widths = {name: _width(_columns(features, name), choice["before"]) for name, choice in representations.items()}
    for modality, choice in representations.items():
        before, width = choice["before"], widths[modality]
        fits_before = before["kind"] == "channel_pca"
        if (not choice["numbers"] and not fits_before) or width is None:
            continue
        having = read_table(_path(features, modality), ["sample"])["sample"]
        if fits_before:
            count, seed = _fewest(splits, seeds, having, before["fit_on"] or choice["fit_on"])
            _, times = array_shape(_columns(features, modality))
            # A channel's courses differ from their mean in one direction less than there are.
            if before["components"] > (most := min(count - 1, times)):
                faults.append(
                    f"{modality}: before: {before['components']} components a channel, at most {most} ({count} "
                    f"samples to fit on in {called} {seed}, {times} times)"
                )
        count, seed = _fewest(splits, seeds, having, choice["fit_on"])
        most, beside = min(count, width), ""
        others = [other for name, other in widths.items() if name != modality]
        if choice["shared"] and None not in others:
            most, beside = min(most, sum(others)), f", {sum(others)} columns of the other modalities"
        large = [number for number in choice["numbers"] if number > most]
        if large:
            faults.append(
                f"{modality}: sizes {', '.join(map(str, large))}, at most {most} ({count} samples to fit on in "
                f"{called} {seed}, {width} columns{beside})"
            )
    if faults:
        raise UserError(
            f"representations: more components than the data have: {'; '.join(faults)}; lower these sizes or components"
        )


def _path(features: str | Path, modality: str) -> Path:
    return Path(features) / f"{modality}.parquet"


def _columns(features: str | Path, modality: str) -> list[str]:
    return [name for name in column_names(_path(features, modality)) if name != "sample"]


def _width(columns: list[str], before: Mapping[str, Any]) -> int | None:
    """Return the number of columns after what comes before; None if it needs an array and they are none."""
    if before["kind"] not in ("channel_pca", "tangent_space"):
        return len(columns)
    try:
        channels, _ = array_shape(columns)
    except UserError:
        # Who fits it says what is wrong.
        return None
    return channels * (channels + 1) // 2 if before["kind"] == "tangent_space" else channels * before["components"]


def _fewest(splits: pd.DataFrame, seeds: Sequence[int], having: pd.Series, fit_on: str) -> tuple[int, int]:
    """Return the smallest number of samples to fit on that have the modality, and its first seed."""
    counts = []
    for seed in seeds:
        parts = parts_of(splits, seed)
        there = original_ids(parts["sample"]).isin(having) & parts["part"].isin(PARTS_TO_FIT_ON[fit_on])
        counts.append((int(there.sum()), seed))
    return min(counts, key=lambda pair: pair[0])

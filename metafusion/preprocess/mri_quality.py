"""What lets a person throw out failures: measures of each volume, robust limits, and a picture."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import ndimage

from metafusion.files import read_table, whole

LIMIT = 5.0
"""How many scaled median absolute deviations from the median an ordinary volume may be."""

LEAST_SPREAD = 0.005
"""Where all volumes are alike, the deviation is taken for this share of the median."""

FEWEST = 5
"""Volumes from which limits can be said."""

JUDGED = {
    "similarity": "low",
    "contrast": "both",
    "coverage": "low",
    "csf_ml": "both",
    "grey_ml": "both",
    "white_ml": "both",
    "scale": "both",
}
"""Measures with limits, and on which side."""

CUTS = (("axial", 2, 14.0), ("coronal", 1, -18.0), ("sagittal", 0, 8.0))
"""Slices of the picture: name, axis, and where it cuts, in mm."""

TICKS = (-100, -50, 0, 50, 100)
"""Marks on the axes, in mm."""

OUTLINES = {"CSF": (0, "deepskyblue", "blue"), "white matter": (2, "orange", "orange")}
"""Tissues whose outlines are drawn, their colours, and what to call these: between them lies the grey matter."""


def quality_table(folders: Sequence[Path]) -> pd.DataFrame:
    """Join ``quality.tsv`` of all chunks and say which volumes are unusual.

    Parameters
    ----------
    folders : sequence of path
        Folders that :func:`metafusion.preprocess.mri.preprocess_volumes` filled.

    Returns
    -------
    DataFrame
        The columns of ``quality.tsv``, and ``outlier``: words that say which measure lies more than 5 scaled median
        absolute deviations from the median of all volumes; empty for an ordinary volume, or where there are fewer than
        5 of them. Labels are not looked at.
    """
    tables = [read_table(Path(folder) / "quality.tsv") for folder in folders]
    # An empty table has no types, and would take them from the others.
    table = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    table["space_warning"] = table["space_warning"].astype("str").where(table["space_warning"].notna(), "")
    words = [[] for _ in range(len(table))]
    for measure, side in JUDGED.items() if len(table) >= FEWEST else ():
        values = table[measure].to_numpy(float)
        middle = np.nanmedian(values)
        spread = 1.4826 * np.nanmedian(np.abs(values - middle))
        distance = (values - middle) / max(spread, LEAST_SPREAD * abs(middle), 1e-12)
        for row in np.flatnonzero(np.abs(distance) > LIMIT):
            if distance[row] < 0 or side == "both":
                how = "low" if distance[row] < 0 else "high"
                words[row].append(f"{measure} {how} ({values[row]:.4g}, median {middle:.4g})")
    table["outlier"] = pd.Series(["; ".join(found) for found in words], dtype="str")
    return table


def draw(
    image: nib.Nifti1Image, level: float, shares: np.ndarray, affine: np.ndarray, title: str, path: str | Path
) -> None:
    """Draw three slices of a volume with the outlines of its tissues; the same volume gives the same bytes.

    Parameters
    ----------
    image : Nifti1Image, shape (x, y, z)
        The volume as it lies on the template, with its own voxels.
    level : float
        Intensity of white matter.
    shares : array, shape (3, x', y', z')
        Shares of CSF, grey and white matter on the common grid.
    affine : array, shape (4, 4)
        Of the common grid.
    title : str
    path : path
        PNG.
    """
    figure = Figure(figsize=(9.6, 3.9), dpi=100, facecolor="black")
    FigureCanvasAgg(figure)
    data = image.get_fdata(dtype=np.float32, caching="unchanged")
    corner = affine[:3, 3]
    opposite = nib.affines.apply_affine(affine, np.array(shares.shape[1:]) - 1)
    for number, (name, along, position) in enumerate(CUTS):
        others = [axis for axis in range(3) if axis != along]
        ticks = [np.arange(corner[axis], opposite[axis] + 0.5) for axis in others]
        across, up = ticks
        # A fixed place and few ticks: laying them out would take longer than all the rest.
        axes = figure.add_axes((0.06 + 0.32 * number, 0.12, 0.27, 0.74), facecolor="black")
        cut = _cut(data, image.affine, along, position, ticks)
        extent = [across[0] - 0.5, across[-1] + 0.5, up[0] - 0.5, up[-1] + 0.5]
        axes.imshow(cut.T / level, cmap="gray", origin="lower", extent=extent, vmin=0, vmax=1.3)
        lines = [(shares[tissue], colour) for tissue, colour, _ in OUTLINES.values()]
        for share, colour in [*lines, (shares.sum(axis=0), "limegreen")]:
            edge = _cut(share, affine, along, position, ticks)
            if edge.min() < 0.5 < edge.max():
                axes.contour(across, up, edge.T, levels=[0.5], colors=colour, linewidths=0.8)
        x, y = ("xyz"[axis] for axis in others)
        axes.set_xticks([tick for tick in TICKS if across[0] < tick < across[-1]])
        axes.set_yticks([tick for tick in TICKS if up[0] < tick < up[-1]])
        axes.set_title(f"{name}, {'xyz'[along]} = {position:g} mm", color="white", fontsize=9)
        axes.set_xlabel(f"{x} (mm)", color="white", fontsize=8)
        axes.set_ylabel(f"{y} (mm)", color="white", fontsize=8, labelpad=0)
        axes.tick_params(colors="white", labelsize=7)
    legend = ", ".join(f"{word}: {name}" for name, (_, _, word) in OUTLINES.items())
    # A name may hold signs that would be read as mathematics.
    figure.suptitle(
        f"{title}   ({legend}, green: the template's brain; the person's left is at negative x)",
        color="white",
        fontsize=9,
        parse_math=False,
    )
    with whole(path) as unfinished:
        figure.savefig(unfinished, format="png", metadata={"Software": None})


def _cut(data: np.ndarray, affine: np.ndarray, along: int, position: float, ticks: Sequence[np.ndarray]) -> np.ndarray:
    """Look up the values of a plane in mm, shape (ticks across, ticks up)."""
    plane = [*np.meshgrid(*ticks, indexing="ij")]
    plane.insert(along, np.full_like(plane[0], position))
    where = np.stack(plane).reshape(3, -1).T
    index = nib.affines.apply_affine(np.linalg.inv(affine), where).T
    return ndimage.map_coordinates(data, index, order=1, mode="constant").reshape(plane[0].shape)

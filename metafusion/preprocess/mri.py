"""T1-weighted volumes of any format and orientation, one at a time: common grid, tissues, features by region.

Nothing here looks at two volumes at once, but :func:`quality_table`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage
from threadpoolctl import threadpool_limits

from metafusion.config.mri import MriPreprocessing
from metafusion.files import read_table, write_table
from metafusion.preprocess import alignment, tissues
from metafusion.preprocess.atlas import DEEP_REGIONS, Regions, regions
from metafusion.preprocess.mri_quality import draw, quality_table
from metafusion.preprocess.template import brain_mask, template
from metafusion.preprocess.tissues import BACKGROUND, TISSUES
from metafusion.preprocess.volumes import BrokenVolumeError, on_grid, read_volume, write_volume

__all__ = [
    "feature_names",
    "preprocess_volume",
    "preprocess_volumes",
    "quality_table",
    "read_chunks",
    "volume_grid",
    "volume_shape",
]

log = logging.getLogger("metafusion")

LEAST_COVERAGE = 0.6
"""Share of the MNI brain that a volume must fill."""

LEAST_SIMILARITY = 0.1
"""Correlation with the template inside its brain below which a volume is no head that lies there."""

MOST_CONTRAST = 0.95
"""Grey matter must be darker than this, where white matter is 1."""

FAR = 12.0
"""A volume that seems to lie so far off the template, in mm, is warned of."""

MEASURES = ("nan_share", "coverage", "similarity", "contrast", "csf_ml", "grey_ml", "white_ml", "shift_mm", "scale")
"""Numbers of ``quality.tsv``."""

QUALITY = ("sample", "file", "shape", "voxel_size", "orientation", "space", "space_warning", *MEASURES, "content_hash")
"""Columns of ``quality.tsv``."""


@dataclass(frozen=True)
class Preprocessed:
    """What becomes of one volume.

    Attributes
    ----------
    features : array of float32, shape (features,)
        Named by :func:`feature_names`.
    normal : Nifti1Image, float32
        On the common grid, without bias and skull, white matter at 1.
    quality : dict
        A row of ``quality.tsv``, without ``sample``.
    shares : array of float32, shape (3, x, y, z)
        Shares of CSF, grey and white matter on the common grid.
    placed : Nifti1Image, float32
        The volume's own voxels, as they lie on the template.
    level : float
        Intensity of its white matter.
    """

    features: np.ndarray
    normal: nib.Nifti1Image
    quality: dict[str, object]
    shares: np.ndarray
    placed: nib.Nifti1Image
    level: float


def feature_names(settings: MriPreprocessing) -> list[str]:
    """Return the names of the features, in order."""
    names = regions(settings).names
    return [
        *(f"grey_{name}" for name in names),
        *(f"intensity_{name}" for name in names),
        *(f"csf_{name}" for name in DEEP_REGIONS),
        *(f"fraction_{tissue}" for tissue in TISSUES),
    ]


def describe(normal: np.ndarray, shares: np.ndarray, place: Regions) -> np.ndarray:
    """Return the features of one volume, in the order of :func:`feature_names`, as float32.

    Volumes of grey matter and of CSF are in ml, on the template where the volume was aligned by an affine; intensities
    are relative to the subject's white matter; fractions are of the template's brain.
    """
    inside = place.weights.sum(axis=1)
    return np.concatenate(
        [
            place.weights @ shares[1][place.brain] * place.voxel_ml,
            place.weights @ normal[place.brain] / inside,
            [shares[0][place.deep[name]].sum() * place.voxel_ml for name in DEEP_REGIONS],
            shares[:, place.brain].mean(axis=1),
        ]
    ).astype(np.float32)


def preprocess_volume(path: str | Path, settings: MriPreprocessing) -> Preprocessed:
    """Turn one T1-weighted file into features.

    Parameters
    ----------
    path : path
        Anything that :func:`metafusion.preprocess.volumes.read_volume` reads.
    settings : MriPreprocessing

    Returns
    -------
    Preprocessed

    Raises
    ------
    BrokenVolumeError
        If the file cannot be used: it cannot be read or aligned, does not fill the MNI brain, is unlike it, or its
        tissues have no contrast.
    UserError
        If the atlas cannot be used.
    """
    place = regions(settings)
    volume = read_volume(path)
    # The threads of the linear algebra would show in the last bits.
    with threadpool_limits(1):
        warning = volume.space_warning
        placed = alignment.place(volume, settings.align)
        if settings.align == "none" and volume.has_origin and (far := alignment.offset(volume.image)) > FAR:
            here = f"lies about {far:.0f} mm off the template: set 'align', or check the picture"
            warning = f"{warning}; {here}" if warning else here
        data = on_grid(placed.image, place.affine, place.brain.shape)
        level = float(np.median(data[place.white_core]))
        coverage = np.mean(data[place.brain] > BACKGROUND * level) if level > 0 else 0.0
        if coverage < LEAST_COVERAGE:
            raise BrokenVolumeError(
                f"{path}: fills {coverage:.0%} of the MNI brain, expected at least {LEAST_COVERAGE:.0%}; "
                "register the volume to MNI space, set 'align: affine', or exclude the scan",
                "MRI does not fill the template's brain",
            )
        normal = tissues.normalise(data, place, settings.bias)
        similarity = _similarity(normal, place, settings.resolution)
        if not similarity >= LEAST_SIMILARITY:
            raise BrokenVolumeError(
                f"{path}: correlates with the template's brain by {similarity:.2f}, expected at least "
                f"{LEAST_SIMILARITY:g}: no T1w volume of a head, or it lies elsewhere; set 'align: affine', or exclude "
                "the scan",
                "MRI is unlike the template",
            )
        contrast = float(np.median(normal[place.grey_core]))
        pure = tissues.levels(normal, place)
        if contrast > MOST_CONTRAST or not pure[0] < pure[1] < pure[2]:
            raise BrokenVolumeError(
                f"{path}: no contrast between tissues (grey matter is {contrast:.2f} times as bright as white, CSF "
                f"{pure[0]:.2f} times), expected grey matter below {MOST_CONTRAST:g} and CSF darker still; give a "
                "T1-weighted volume, or exclude the scan",
                "MRI has no contrast between tissues",
            )
        shares = tissues.segment(normal, place, pure)
    quality = {
        "file": str(path),
        "shape": "x".join(map(str, volume.shape)),
        "voxel_size": "x".join(f"{size:.4g}" for size in volume.voxel_size),
        "orientation": volume.orientation,
        "space": volume.space,
        "space_warning": warning,
        "nan_share": volume.nan_share,
        "coverage": float(coverage),
        "similarity": similarity,
        "contrast": contrast,
        **{f"{t}_ml": float(share.sum()) * place.voxel_ml for t, share in zip(TISSUES, shares, strict=True)},
        "shift_mm": placed.shift_mm,
        "scale": placed.scale,
        "content_hash": volume.content_hash,
    }
    features = describe(normal, shares, place)
    return Preprocessed(features, nib.Nifti1Image(normal, place.affine), quality, shares, placed.image, level)


def _similarity(normal: np.ndarray, place: Regions, resolution: float) -> float:
    """Correlation with the template inside the brain."""
    return float(np.corrcoef(normal[place.brain], template("t1", resolution)[place.brain])[0, 1])


def preprocess_volumes(files: Mapping[str, Path], settings: MriPreprocessing, folder: str | Path) -> None:
    """Preprocess some volumes, one after the other.

    Parameters
    ----------
    files : dict of str to path
        The T1-weighted file of each sample; may be empty.
    settings : MriPreprocessing
    folder : path
        Gets ``features.parquet``, with ``settings.volume`` also ``volume.parquet``, ``quality.tsv``, ``excluded.tsv``
        (volumes that cannot be used: ``sample``, ``reason``, ``detail``), and for each volume ``{sample}_T1w.nii.gz``
        (normalised, on the common grid) and ``{sample}.png``.

    Raises
    ------
    UserError
        If the atlas cannot be used, or with ``on_broken: stop`` a volume.
    """
    folder = Path(folder)
    # What is wrong with the settings is no volume's fault.
    names = feature_names(settings)
    features, small, quality, excluded = {}, {}, [], []
    for sample, path in files.items():
        try:
            done = preprocess_volume(path, settings)
        except BrokenVolumeError as error:
            if settings.on_broken == "stop":
                raise
            log.warning("%s is excluded: %s", sample, error)
            excluded.append((sample, error.reason, str(error)))
            continue
        if done.quality["space_warning"]:
            log.warning("%s: %s: %s", sample, path, done.quality["space_warning"])
        write_volume(done.normal, folder / f"{sample}_T1w.nii.gz")
        draw(done.placed, done.level, done.shares, done.normal.affine, sample, folder / f"{sample}.png")
        features[sample] = done.features
        quality.append({"sample": sample, **done.quality})
        if settings.volume:
            small[sample] = on_grid(done.normal, *volume_grid(settings)).ravel()
    write_table(_table(features, names), folder / "features.parquet")
    if settings.volume:
        voxels = [f"v_{x}_{y}_{z}" for x, y, z in np.ndindex(volume_shape(settings))]
        write_table(_table(small, voxels), folder / "volume.parquet")
    write_table(pd.DataFrame(quality, columns=QUALITY).round(dict.fromkeys(MEASURES, 6)), folder / "quality.tsv")
    write_table(pd.DataFrame(excluded, columns=["sample", "reason", "detail"]), folder / "excluded.tsv")


def _table(rows: Mapping[str, np.ndarray], names: Sequence[str]) -> pd.DataFrame:
    values = np.reshape([*rows.values()], (len(rows), len(names))).astype(np.float32)
    table = pd.DataFrame(values, columns=names)
    table.insert(0, "sample", pd.Series([*rows], dtype="str"))
    return table


def volume_grid(settings: MriPreprocessing) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return affine and shape of the small volume: a box around the MNI brain."""
    mask = brain_mask(settings.volume)
    box = ndimage.find_objects(mask.get_fdata().astype(int))[0]
    start = [side.start for side in box]
    affine = nib.affines.from_matvec(mask.affine[:3, :3], nib.affines.apply_affine(mask.affine, start))
    return affine, tuple(side.stop - side.start for side in box)


def volume_shape(settings: MriPreprocessing) -> tuple[int, int, int]:
    """Return the shape (x, y, z) of the small volume, for ``representations: {volume: {shape: ...}}``."""
    return volume_grid(settings)[1]


def read_chunks(folders: Sequence[Path]) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Read what :func:`preprocess_volumes` wrote for all chunks.

    Returns
    -------
    features : dict of str to DataFrame
        Under 't1w', and 'volume' where there is one: ``sample``, then float32 columns.
    excluded : DataFrame
        Columns ``sample`` and ``reason``: volumes that could not be used.
    """
    folders = [Path(folder) for folder in folders]
    found = {"t1w": "features.parquet", "volume": "volume.parquet"}
    features = {
        modality: pd.concat([read_table(folder / name) for folder in folders], ignore_index=True)
        for modality, name in found.items()
        if all((folder / name).exists() for folder in folders)
    }
    excluded = pd.concat([read_table(folder / "excluded.tsv") for folder in folders], ignore_index=True)
    return features, excluded[["sample", "reason"]].astype("str")

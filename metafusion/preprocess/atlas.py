"""Regions of the brain on the common grid: packaged parcels, or the labels of an atlas in MNI space."""

import logging
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage, sparse
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from metafusion.config.mri import MriPreprocessing
from metafusion.errors import UserError
from metafusion.preprocess.template import brain_mask, template, ventricles
from metafusion.preprocess.volumes import BrokenVolumeError, on_grid, read_volume

log = logging.getLogger("metafusion")

DEEP_REGIONS = ("ventricles", "periventricular")

FEWEST_VOXELS = 20
"""White matter alone, from which brightness can be told."""

LEAST_INSIDE = 0.7
"""Share of an atlas's labelled volume that must lie inside the MNI brain."""

MOST_LABELS = 1_000_000
"""Largest number of a label."""

LEAST_EXTENT = 0.5
"""Share of the MNI brain that the field of view of an atlas must hold."""


@dataclass(frozen=True)
class Regions:
    """Regions of the common grid.

    Attributes
    ----------
    brain : array of bool, shape (x, y, z)
    weights : sparse array, shape (regions, voxels of the brain)
        Share of each voxel that belongs to each region.
    names : list of str
    deep : dict of str to array of bool, shape (x, y, z)
        The ventricles, and the tissue around them.
    white_core, grey_core : array of bool, shape (x, y, z)
        Voxels that are white or grey matter in nearly everyone.
    affine : array, shape (4, 4)
    voxel_ml : float
        Volume of a voxel in ml.
    """

    brain: np.ndarray
    weights: sparse.csr_array
    names: list[str]
    deep: dict[str, np.ndarray]
    white_core: np.ndarray
    grey_core: np.ndarray
    affine: np.ndarray
    voxel_ml: float

    @property
    def centres(self) -> np.ndarray:
        """Mean MNI coordinates of each region in mm, shape (regions, 3)."""
        where = nib.affines.apply_affine(self.affine, np.argwhere(self.brain))
        return self.weights @ where / self.weights.sum(axis=1)[:, None]


def regions(settings: MriPreprocessing) -> Regions:
    """Return the regions that the settings ask for: those of ``atlas``, or the packaged parcels.

    Raises
    ------
    UserError
        If the atlas or its names cannot be used, or there are more parcels than voxels can fill.
    """
    if settings.atlas is None:
        return _packaged(settings.resolution, settings.parcels)
    return _of_atlas(settings.resolution, settings.atlas, settings.atlas_labels)


def _on(resolution: float, weights: sparse.csr_array, names: list[str]) -> Regions:
    mask = brain_mask(resolution)
    brain = mask.get_fdata() > 0
    white_core = (template("white", resolution) > 0.9) & brain
    if white_core.sum() < FEWEST_VOXELS:
        raise UserError(
            f"preprocessing.resolution: at {resolution:g} mm only {white_core.sum()} voxels are white matter alone, "
            f"expected at least {FEWEST_VOXELS}; lower 'resolution', for example to 4"
        )
    grey = np.where(brain, template("grey", resolution), 0)
    return Regions(
        brain=brain,
        weights=weights,
        names=names,
        deep=_deep_regions(resolution),
        white_core=white_core,
        # Grey matter is thin, so that on a coarse grid no voxel holds nothing else.
        grey_core=grey > np.quantile(grey[brain], 0.9),
        affine=mask.affine,
        voxel_ml=resolution**3 / 1000,
    )


@lru_cache(maxsize=4)
def _packaged(resolution: float, parcels: int) -> Regions:
    """Divide the MNI152 grey matter into compact parcels, alike on both sides.

    Parcels are k-means clusters of the voxels' coordinates, named ``left_01``, ... from the back of the brain to the
    front, then ``right_01``, ...: mirror images of the left.
    """
    mask = brain_mask(resolution)
    brain = mask.get_fdata() > 0
    grey = (template("grey", resolution) > 0.5) & brain
    where = nib.affines.apply_affine(mask.affine, np.argwhere(grey))
    # The template is symmetric, so both halves are clustered as one and a parcel has a twin on the other side.
    folded = np.column_stack([np.abs(where[:, 0]), where[:, 1:]])
    if parcels * 4 > len(where):
        raise UserError(
            f"preprocessing.parcels: found {parcels} per hemisphere, but only {len(where)} voxels are grey matter "
            f"at a resolution of {resolution:g} mm; lower 'parcels' or 'resolution'"
        )
    with threadpool_limits(1):
        clusters = KMeans(parcels, n_init=1, random_state=0).fit(folded)
    lateral, front, up = clusters.cluster_centers_.round(1).T
    rank = np.argsort(np.lexsort((lateral, up, front)))
    region = rank[clusters.labels_] + parcels * (where[:, 0] > 0)
    names = [f"{side}_{number:02d}" for side in ("left", "right") for number in range(1, parcels + 1)]
    voxels = np.flatnonzero(grey[brain])
    weights = sparse.coo_array((np.ones(len(voxels)), (region, voxels)), shape=(len(names), brain.sum()))
    return _on(resolution, weights.tocsr(), names)


def _deep_regions(resolution: float) -> dict[str, np.ndarray]:
    mask = brain_mask(resolution)
    fine = ventricles()
    distance = ndimage.distance_transform_edt(fine.get_fdata() == 0, sampling=2.0)
    nearby = nib.Nifti1Image((distance < 10).astype(np.float32), fine.affine)
    core = on_grid(fine, mask.affine, mask.shape) > 0.4
    ring = (on_grid(nearby, mask.affine, mask.shape) > 0.5) & (mask.get_fdata() > 0) & ~core
    return {"ventricles": core, "periventricular": ring}


@lru_cache(maxsize=4)
def _of_atlas(resolution: float, path: Path, names_path: Path | None) -> Regions:
    """Take the labels of an atlas as regions, in the order of their numbers."""
    labels, affine = _read_labels(path)
    present = np.unique(labels)
    present = present[present > 0]
    names = _names(path, present, names_path)
    _check_space(path, labels, affine)
    brain = brain_mask(resolution).get_fdata() > 0
    region = np.zeros(present[-1] + 1, dtype=np.int64)
    region[present] = np.arange(len(present)) + 1
    weights = _shares(region[labels], affine, brain, brain_mask(resolution).affine, len(present))
    empty = [name for name, volume in zip(names, weights.sum(axis=1), strict=True) if volume == 0]
    if empty:
        shown = ", ".join(empty[:5])
        raise UserError(
            f"{path}: {len(empty)} of {len(names)} regions lie outside the MNI brain ({shown}); remove these labels, "
            "or bring the atlas to MNI space"
        )
    return _on(resolution, weights, names)


def _read_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, shape (x, y, z), and affine of an atlas."""
    try:
        volume = read_volume(path)
    except BrokenVolumeError as error:
        raise UserError(f"preprocessing.atlas: {error}") from None
    if not volume.has_origin:
        raise UserError(
            f"preprocessing.atlas: {path}: {volume.space_warning}; expected a NIfTI file that says where it lies in "
            "MNI space; save the atlas with its affine"
        )
    if volume.space_warning:
        log.warning("preprocessing.atlas: %s: %s", path, volume.space_warning)
    data = volume.image.get_fdata(dtype=np.float32)
    odd = data[(data != np.round(data)) | (data < 0) | (data > MOST_LABELS)]
    if odd.size:
        raise UserError(
            f"preprocessing.atlas: {path}: found numbers such as {odd[0]:g}, expected whole numbers from 0 (outside) "
            f"to {MOST_LABELS}; give the file of labels, not of probabilities or intensities"
        )
    return data.astype(np.int64), volume.image.affine


def _names(path: Path, present: np.ndarray, names_path: Path | None) -> list[str]:
    if names_path is None:
        return [f"region_{number}" for number in present]
    expected = "expected a TSV file with columns 'index' (whole numbers) and 'name', each once"
    try:
        table = pd.read_csv(names_path, sep="\t", dtype={"name": "str"}, encoding="utf-8-sig", keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"preprocessing.atlas_labels: {names_path}: no such file; {expected}") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"preprocessing.atlas_labels: {names_path}: cannot be read ({error}); {expected}") from None
    if not {"index", "name"} <= set(table.columns):
        raise UserError(
            f"preprocessing.atlas_labels: {names_path}: found columns {', '.join(map(str, table.columns))}; {expected}"
        )
    table["name"] = table["name"].str.strip()
    if not pd.api.types.is_integer_dtype(table["index"]):
        raise UserError(f"preprocessing.atlas_labels: {names_path}: 'index' holds other than whole numbers; {expected}")
    known = table[table["index"].isin(present)]
    for column in ("index", "name"):
        twice = known[column][known[column].duplicated() | (known[column].astype("str") == "")]
        if len(twice):
            raise UserError(
                f"preprocessing.atlas_labels: {names_path}: {column} {twice.iloc[0]!r} is empty or stands more than "
                f"once; {expected}"
            )
    unnamed = np.setdiff1d(present, known["index"])
    if len(unnamed):
        raise UserError(
            f"preprocessing.atlas_labels: {names_path}: no name for {len(unnamed)} labels of {path} "
            f"({', '.join(map(str, unnamed[:5]))}); add them, or set 'atlas_labels: null'"
        )
    absent = table.loc[~table["index"].isin(present) & (table["index"] != 0), "name"]
    if len(absent):
        log.warning("%s: %d names without a label in %s (%s)", names_path, len(absent), path, ", ".join(absent[:5]))
    return known.set_index("index")["name"].loc[present].tolist()


def _check_space(path: Path, labels: np.ndarray, affine: np.ndarray) -> None:
    """Refuse an atlas that lies elsewhere than the MNI brain."""
    mask = brain_mask(4.0)
    inside = mask.get_fdata() > 0
    where = nib.affines.apply_affine(mask.affine, np.argwhere(inside))
    extent = (_look_up(np.ones_like(labels), affine, where) > 0).mean()
    if extent < LEAST_EXTENT:
        raise UserError(
            f"preprocessing.atlas: {path}: its field of view holds {extent:.0%} of the MNI brain, expected at least "
            f"{LEAST_EXTENT:.0%}; the atlas lies in another space than the volumes; bring it to MNI space"
        )
    labelled = np.argwhere(labels > 0)
    # Some ten thousand voxels tell as much as ten million.
    labelled = nib.affines.apply_affine(affine, labelled[:: max(1, len(labelled) // 20_000)])
    near = ndimage.binary_dilation(inside).astype(np.int64)
    share = (_look_up(near, mask.affine, labelled) > 0).mean()
    if share < LEAST_INSIDE:
        raise UserError(
            f"preprocessing.atlas: {path}: {share:.0%} of its labelled volume lies inside the MNI brain, expected at "
            f"least {LEAST_INSIDE:.0%}; the atlas lies in another space than the volumes; bring it to MNI space"
        )


def _look_up(labels: np.ndarray, affine: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return the label of the nearest voxel for places in mm, shape (places, 3); 0 outside."""
    # Halves always go up: rounding to even numbers would favour every other voxel.
    index = np.floor(nib.affines.apply_affine(np.linalg.inv(affine), where) + 0.5).astype(np.int64)
    inside = ((index >= 0) & (index < labels.shape)).all(axis=1)
    found = np.zeros(len(where), dtype=np.int64)
    found[inside] = labels[tuple(index[inside].T)]
    return found


def _shares(
    region: np.ndarray, affine: np.ndarray, brain: np.ndarray, grid: np.ndarray, count: int
) -> sparse.csr_array:
    """Return the share of each voxel of the brain that belongs to each region.

    Every voxel of the atlas is cut into smaller ones, and each of these falls into a voxel of the brain: so regions
    keep their volume on any grid.
    """
    sizes, resolution = nib.affines.voxel_sizes(affine), nib.affines.voxel_sizes(grid)[0]
    # An even number, so that no middle lies on the edge of two voxels where both grids share their places.
    pieces = 2 * np.ceil(sizes / resolution).astype(int)
    labelled = np.argwhere(region)
    row = region[tuple(labelled.T)] - 1
    number = np.zeros(brain.shape, dtype=np.int64)
    number[brain] = np.arange(1, brain.sum() + 1)
    volume = abs(np.linalg.det(affine[:3, :3])) / pieces.prod() / resolution**3
    total = sparse.csr_array((count, int(brain.sum())))
    for step in product(*[(np.arange(cuts) + 0.5) / cuts - 0.5 for cuts in pieces]):
        column = _look_up(number, grid, nib.affines.apply_affine(affine, labelled + step))
        inside = column > 0
        entries = (np.full(inside.sum(), volume), (row[inside], column[inside] - 1))
        total = total + sparse.coo_array(entries, shape=total.shape).tocsr()
    return total

"""T1-weighted volumes of any format and orientation, one subject at a time: common grid, tissues, features by region.

Volumes must lie in MNI (or Talairach) space roughly, as nothing is registered here. Only Analyze files, which have no
origin, are moved onto the template.
"""

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nilearn import datasets
from nilearn.image import resample_img
from scipy import ndimage
from scipy.signal import correlate
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from metafusion.config.mri import MriPreprocessing
from metafusion.errors import UserError
from metafusion.files import whole, write_table

TISSUES = ("csf", "grey", "white")
DEEP_REGIONS = ("ventricles", "periventricular")

FWHM = 2 * np.sqrt(2 * np.log(2))
"""Full width at half maximum of a Gaussian, in standard deviations."""

BACKGROUND = 0.1
"""Below this share of the white matter's intensity there is no tissue."""

LEAST_COVERAGE = 0.6
"""Share of the MNI brain that a volume must fill."""

# A damaged file shows itself as any of these, depending on where the damage is.
_UNREADABLE = (ImageFileError, HeaderDataError, EOFError, OSError, zlib.error, ValueError, TypeError, KeyError)


def read_volume(path: str | Path) -> nib.Nifti1Image:
    """Read a volume of any format that nibabel knows, in canonical orientation (RAS+).

    Parameters
    ----------
    path : path
        NIfTI, gzipped or not, or Analyze (the ``.hdr`` or the ``.img``). Trailing axes of length 1 are removed; NaN, as
        SPM writes it, is taken for background (0).

    Returns
    -------
    Nifti1Image, float32, shape (x, y, z)
        With scaling factors applied.

    Raises
    ------
    UserError
        If the file is absent, truncated, corrupt, no single 3D volume, constant or not finite.
    """
    path = Path(path)
    try:
        _check_gzip(path)
        image = nib.squeeze_image(nib.load(path))
        data = image.get_fdata(dtype=np.float32, caching="unchanged")
        affine = np.asarray(image.affine, dtype=float)
    except FileNotFoundError as error:
        missing = getattr(error, "filename", None) or error
        raise UserError(f"{path}: cannot be read: no such file ({missing}); copy it there or list another") from None
    except _UNREADABLE as error:
        raise UserError(
            f"{path}: truncated, corrupt or no volume ({error}); expected NIfTI or Analyze; "
            "copy or convert the file anew"
        ) from None
    if data.ndim != 3:
        raise UserError(
            f"{path}: found shape {data.shape}, expected one 3D volume; "
            "extract or average the T1w volume and save it alone"
        )
    if min(data.shape) < 8:
        raise UserError(
            f"{path}: found shape {data.shape}, expected a 3D volume with at least 8 voxels along each axis; "
            "give the whole volume, not a slice"
        )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UserError(f"{path}: the affine in the header is singular or not finite; convert the volume anew")
    if np.isinf(data).any() or np.isnan(data).all():
        raise UserError(
            f"{path}: found infinite values or no number at all, expected intensities; convert the volume anew"
        )
    data = np.nan_to_num(data, nan=0.0)
    if data.min() == data.max():
        raise UserError(
            f"{path}: every voxel is {data.flat[0]:g}, expected an image of a head; exclude the scan or copy it anew"
        )
    return nib.as_closest_canonical(nib.Nifti1Image(data, affine))


def _check_gzip(path: Path) -> None:
    # nibabel stops reading after the last voxel and so never sees the checksum.
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass


def write_volume(image: nib.Nifti1Image, path: str | Path) -> None:
    """Write a ``.nii.gz`` whole or not at all; the same image gives the same bytes."""
    with whole(path) as unfinished:
        unfinished.write_bytes(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))


def on_grid(image: nib.Nifti1Image, affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Resample a volume; where the grid is coarser, blur first, so that noise is averaged and not picked.

    Parameters
    ----------
    image : Nifti1Image, shape (x, y, z)
    affine : array, shape (4, 4)
        From voxels of the new grid to mm.
    shape : tuple of int

    Returns
    -------
    array of float32, shape ``shape``
        Zero outside the field of view.
    """
    fine = nib.affines.voxel_sizes(image.affine)
    coarse = nib.affines.voxel_sizes(affine)
    sigma = np.sqrt(np.maximum(coarse**2 - fine**2, 0)) / FWHM / fine
    blurred = ndimage.gaussian_filter(image.get_fdata(dtype=np.float32, caching="unchanged"), sigma, truncate=3)
    moved = resample_img(
        nib.Nifti1Image(blurred, image.affine),
        target_affine=affine,
        target_shape=shape,
        interpolation="linear",
        force_resample=True,
        copy_header=True,
    )
    return moved.get_fdata(dtype=np.float32)


@lru_cache(maxsize=8)
def brain_mask(resolution: float) -> nib.Nifti1Image:
    """Return the MNI152 brain mask; its grid is the common grid of this resolution (mm, not only whole numbers)."""
    mask = datasets.load_mni152_brain_mask(resolution=1)
    affine = nib.affines.from_matvec(np.eye(3) * resolution, mask.affine[:3, 3])
    shape = tuple(int(size) for size in np.ceil(np.array(mask.shape) / resolution))
    mask = nib.Nifti1Image(mask.get_fdata(dtype=np.float32), mask.affine)
    return nib.Nifti1Image((on_grid(mask, affine, shape) > 0.5).astype(np.float32), affine)


@lru_cache(maxsize=16)
def template(name: str, resolution: float) -> np.ndarray:
    """Return an MNI152 template on the common grid.

    Parameters
    ----------
    name : {'t1', 'grey', 'white'}
        T1-weighted intensity without the skull, or the probability of a tissue; all between 0 and 1.
    resolution : float
        Voxel size in mm.

    Returns
    -------
    array of float32, shape (x, y, z)
    """
    load = {
        "t1": datasets.load_mni152_template,
        "grey": datasets.load_mni152_gm_template,
        "white": datasets.load_mni152_wm_template,
    }[name]
    mask = brain_mask(resolution)
    return on_grid(load(resolution=1), mask.affine, mask.shape)


@lru_cache(maxsize=2)
def ventricles() -> nib.Nifti1Image:
    """Return the ventricles of the template, at 2 mm: dark voxels far inside the brain, in parts of over 2 ml."""
    mask = brain_mask(2.0)
    depth = ndimage.distance_transform_edt(mask.get_fdata() > 0, sampling=2.0)
    dark = (template("t1", 2.0) < 0.5) & (depth > 25)
    parts, _ = ndimage.label(dark)
    millilitres = np.bincount(parts.ravel()) * 2.0**3 / 1000
    large = millilitres > 2
    large[0] = False
    return nib.Nifti1Image(large[parts].astype(np.float32), mask.affine)


@dataclass(frozen=True)
class Regions:
    """Regions of the common grid.

    Attributes
    ----------
    brain : array of bool, shape (x, y, z)
    parcels : array of int, shape (x, y, z)
        0 outside, else 1 + the place of the parcel in ``names``.
    names : list of str
        ``left_01``, ... from the back of the brain to the front, then ``right_01``, ...: mirror images of the left.
    centres : array, shape (parcels, 3)
        Mean MNI coordinates of each parcel in mm.
    deep : dict of str to array of bool, shape (x, y, z)
        The ventricles, and the tissue around them.
    white_core : array of bool, shape (x, y, z)
        Voxels that are white matter in nearly everyone.
    affine : array, shape (4, 4)
    """

    brain: np.ndarray
    parcels: np.ndarray
    names: list[str]
    centres: np.ndarray
    deep: dict[str, np.ndarray]
    white_core: np.ndarray
    affine: np.ndarray


@lru_cache(maxsize=4)
def regions(resolution: float, parcels: int) -> Regions:
    """Divide the MNI152 grey matter into compact parcels, alike on both sides.

    Parameters
    ----------
    resolution : float
        Voxel size of the common grid in mm.
    parcels : int
        Parcels per hemisphere: k-means clusters of the voxels' coordinates.

    Returns
    -------
    Regions
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
    labels = np.zeros(brain.shape, dtype=np.int32)
    labels[grey] = 1 + rank[clusters.labels_] + parcels * (where[:, 0] > 0)
    names = [f"{side}_{number:02d}" for side in ("left", "right") for number in range(1, parcels + 1)]
    centres = np.array([where[labels[grey] == label].mean(axis=0) for label in range(1, len(names) + 1)])
    return Regions(
        brain=brain,
        parcels=labels,
        names=names,
        centres=centres,
        deep=_deep_regions(resolution),
        white_core=(template("white", resolution) > 0.9) & brain,
        affine=mask.affine,
    )


def _deep_regions(resolution: float) -> dict[str, np.ndarray]:
    mask = brain_mask(resolution)
    fine = ventricles()
    distance = ndimage.distance_transform_edt(fine.get_fdata() == 0, sampling=2.0)
    nearby = nib.Nifti1Image((distance < 10).astype(np.float32), fine.affine)
    core = on_grid(fine, mask.affine, mask.shape) > 0.4
    ring = (on_grid(nearby, mask.affine, mask.shape) > 0.5) & (mask.get_fdata() > 0) & ~core
    return {"ventricles": core, "periventricular": ring}


def feature_names(settings: MriPreprocessing) -> list[str]:
    """Return the names of the features, in order."""
    names = regions(settings.resolution, settings.parcels).names
    return [
        *(f"grey_{name}" for name in names),
        *(f"intensity_{name}" for name in names),
        *(f"csf_{name}" for name in DEEP_REGIONS),
        *(f"fraction_{tissue}" for tissue in TISSUES),
    ]


def normalise(data: np.ndarray, place: Regions) -> np.ndarray:
    """Remove a smooth bias field and bring the white matter to 1.

    A quadratic polynomial of the coordinates is fitted to the logarithm of the intensity where the template has white
    matter only; outliers are left out in a second fit. Ten numbers a subject: too stiff for regions.

    Parameters
    ----------
    data : array, shape (x, y, z)
        Intensities on the common grid.
    place : Regions

    Returns
    -------
    array of float32, shape (x, y, z)
        Zero outside the brain.
    """
    level = np.median(data[place.white_core])
    usable = place.white_core & (data > 0.5 * level) & (data < 2 * level)
    terms = _quadratic_terms(place)
    design, target = terms[usable[place.brain]], np.log(data[usable])
    kept = np.ones(len(target), dtype=bool)
    for _ in range(2):
        weights = np.linalg.lstsq(design[kept], target[kept], rcond=None)[0]
        residual = np.abs(target - design @ weights)
        kept = residual <= 3 * 1.4826 * np.median(residual) + 1e-6
    field = np.exp(np.clip(terms @ weights, np.log(level / 3), np.log(level * 3)))
    normal = np.zeros(data.shape, dtype=np.float32)
    normal[place.brain] = data[place.brain] / field
    return normal


def _quadratic_terms(place: Regions) -> np.ndarray:
    x, y, z = (nib.affines.apply_affine(place.affine, np.argwhere(place.brain)) / 100).T
    return np.column_stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z])


def segment(normal: np.ndarray, place: Regions) -> np.ndarray:
    """Probability of each tissue by a Gaussian mixture of this subject's own intensities.

    Parameters
    ----------
    normal : array, shape (x, y, z)
        Intensities with white matter at 1.
    place : Regions

    Returns
    -------
    array of float32, shape (3, x, y, z)
        CSF, grey, white; zero outside the brain. Voxels of the brain without signal count as CSF.
    """
    tissue = place.brain & (normal > BACKGROUND)
    # One common width keeps the order of the tissues; all initial values are given, so nothing is drawn at random.
    mixture = GaussianMixture(
        3,
        covariance_type="tied",
        weights_init=[0.15, 0.5, 0.35],
        means_init=[[0.4], [0.75], [1.0]],
        precisions_init=[[1 / 0.08**2]],
        reg_covar=1e-4,
        tol=1e-3,
        max_iter=200,
        random_state=0,
    ).fit(normal[tissue][:, None])
    order = np.argsort(mixture.means_[:, 0])
    posterior = np.zeros((3, *normal.shape), dtype=np.float32)
    posterior[0, place.brain] = 1
    posterior[:, tissue] = mixture.predict_proba(normal[tissue][:, None])[:, order].T
    return posterior


def describe(normal: np.ndarray, posterior: np.ndarray, place: Regions) -> np.ndarray:
    """Return the features of one subject, in the order of :func:`feature_names`, as float32.

    Shares of tissue lie between 0 and 1; intensities are relative to the subject's white matter.
    """
    numbers = np.arange(1, len(place.names) + 1)
    whole_brain = posterior[:, place.brain].mean(axis=1)
    return np.concatenate(
        [
            ndimage.mean(posterior[1], place.parcels, numbers),
            ndimage.mean(normal, place.parcels, numbers),
            [posterior[0, place.deep[name]].mean() for name in DEEP_REGIONS],
            whole_brain,
        ]
    ).astype(np.float32)


def preprocess_volume(path: str | Path, settings: MriPreprocessing) -> tuple[np.ndarray, nib.Nifti1Image]:
    """Turn one T1-weighted file into features.

    Parameters
    ----------
    path : path
        Anything that :func:`read_volume` reads.
    settings : MriPreprocessing

    Returns
    -------
    features : array of float32, shape (features,)
        Named by :func:`feature_names`.
    volume : Nifti1Image, float32
        On the common grid, without bias and skull, white matter at 1.

    Raises
    ------
    UserError
        If the file cannot be used; see :func:`read_volume`. Also if it does not fill the MNI brain.
    """
    image = read_volume(path)
    place = regions(settings.resolution, settings.parcels)
    # The threads of the linear algebra would show in the last bits.
    with threadpool_limits(1):
        if not _has_origin(path):
            image = _moved_onto_template(image)
        data = on_grid(image, place.affine, place.brain.shape)
        level = np.median(data[place.white_core])
        coverage = np.mean(data[place.brain] > BACKGROUND * level) if level > 0 else 0.0
        if coverage < LEAST_COVERAGE:
            raise UserError(
                f"{path}: fills {coverage:.0%} of the MNI brain, expected at least {LEAST_COVERAGE:.0%}; "
                "register the volume to MNI space, or exclude the scan"
            )
        normal = normalise(data, place)
        features = describe(normal, segment(normal, place), place)
    return features, nib.Nifti1Image(normal, place.affine)


def preprocess_volumes(files: Mapping[str, Path], settings: MriPreprocessing, folder: str | Path) -> None:
    """Write ``features.parquet`` and ``{sample}_T1w.nii.gz`` of each sample into ``folder``.

    Parameters
    ----------
    files : dict of str to path
        The T1-weighted file of each sample; may be empty.
    settings : MriPreprocessing
    folder : path
    """
    folder = Path(folder)
    rows = []
    for sample, path in files.items():
        features, volume = preprocess_volume(path, settings)
        write_volume(volume, folder / f"{sample}_T1w.nii.gz")
        rows.append(features)
    names = feature_names(settings)
    table = pd.DataFrame(np.reshape(rows, (len(rows), len(names))).astype(np.float32), columns=names)
    table.insert(0, "sample", pd.Series(list(files), dtype="str"))
    write_table(table, folder / "features.parquet")


def _has_origin(path: str | Path) -> bool:
    image = nib.load(path)
    if isinstance(image, nib.Nifti1Pair) or not isinstance(image, nib.AnalyzeImage):
        return True
    # SPM keeps the origin, in voxels, in a field that plain Analyze uses for the name of the originator.
    return isinstance(image, nib.Spm99AnalyzeImage) and bool(np.any(image.header["origin"][:3]))


def _moved_onto_template(image: nib.Nifti1Image, resolution: float = 4.0, furthest: float = 48.0) -> nib.Nifti1Image:
    """Shift a volume to where it correlates best with the template."""
    mask = brain_mask(resolution)
    centred = template("t1", resolution) - template("t1", resolution).mean()
    match = correlate(on_grid(image, mask.affine, mask.shape), centred, mode="same", method="fft")
    centre = np.array(match.shape) // 2
    reach = int(furthest // resolution)
    near = match[tuple(slice(c - reach, c + reach + 1) for c in centre)]
    shift = (np.array(np.unravel_index(near.argmax(), near.shape)) - reach) * resolution
    affine = image.affine.copy()
    affine[:3, 3] -= shift
    return nib.Nifti1Image(image.get_fdata(dtype=np.float32), affine)

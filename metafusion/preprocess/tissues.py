"""Brightness, bias field and tissues of one volume on the common grid."""

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 (the name that its manual uses)
from sklearn.mixture import GaussianMixture

from metafusion.preprocess.atlas import Regions

TISSUES = ("csf", "grey", "white")

BACKGROUND = 0.1
"""Below this share of the white matter's intensity there is no tissue."""

DARKEST = 0.02
"""Share of the brain's voxels that are taken for pure CSF."""

USUAL_GREY = 0.7
"""Intensity of grey matter in T1-weighted volumes, where white matter is 1."""

MOST_VOXELS = 100_000
"""Voxels that the mixture is fitted to, at most."""

FIELD_STEP = 8.0
"""Voxel size in mm at which N4 looks at a volume: the field is smooth, and a finer grid takes longer to no avail."""


def normalise(data: np.ndarray, place: Regions, bias: str = "polynomial") -> np.ndarray:
    """Remove a smooth bias field and bring the white matter to 1.

    Parameters
    ----------
    data : array, shape (x, y, z)
        Intensities on the common grid.
    place : Regions
    bias : {'polynomial', 'n4', 'none'}
        'polynomial': a quadratic polynomial of the coordinates is fitted to the logarithm of the intensity where the
        template has white matter only; outliers are left out in a second fit. Ten numbers a subject: too stiff for
        regions. 'n4': Tustison et al. 2010, by SimpleITK, in one thread.

    Returns
    -------
    array of float32, shape (x, y, z)
        Zero outside the brain.
    """
    level = np.median(data[place.white_core])
    if bias == "polynomial":
        field = _polynomial(data, place, level)
    elif bias == "n4":
        field = _n4(data, place, level)
        field *= np.median((data[place.brain] / field)[place.white_core[place.brain]])
    else:
        field = level
    normal = np.zeros(data.shape, dtype=np.float32)
    normal[place.brain] = data[place.brain] / field
    return normal


def _polynomial(data: np.ndarray, place: Regions, level: float) -> np.ndarray:
    usable = place.white_core & (data > 0.5 * level) & (data < 2 * level)
    terms = _quadratic_terms(place)
    design, target = terms[usable[place.brain]], np.log(data[usable])
    kept = np.ones(len(target), dtype=bool)
    for _ in range(2):
        weights = np.linalg.lstsq(design[kept], target[kept], rcond=None)[0]
        residual = np.abs(target - design @ weights)
        kept = residual <= 3 * 1.4826 * np.median(residual) + 1e-6
    return np.exp(np.clip(terms @ weights, np.log(level / 3), np.log(level * 3)))


def _quadratic_terms(place: Regions) -> np.ndarray:
    x, y, z = (nib.affines.apply_affine(place.affine, np.argwhere(place.brain)) / 100).T
    return np.column_stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z])


def _n4(data: np.ndarray, place: Regions, level: float) -> np.ndarray:
    """Return the bias field in the brain's voxels, up to a factor."""
    # N4 works on logarithms, and CSF that is nearly black would rule them.
    tissue = place.brain & (data > BACKGROUND * level)
    step = max(1, round(FIELD_STEP / nib.affines.voxel_sizes(place.affine)[0]))
    whole = sitk.GetImageFromArray(np.ascontiguousarray(data / level, dtype=np.float32))
    mask = sitk.GetImageFromArray(tissue.astype(np.uint8))
    method = sitk.N4BiasFieldCorrectionImageFilter()
    method.SetNumberOfThreads(1)
    method.SetMaximumNumberOfIterations([30, 30, 30])
    method.Execute(sitk.Shrink(whole, [step] * 3), sitk.Shrink(mask, [step] * 3))
    return np.exp(sitk.GetArrayFromImage(method.GetLogBiasFieldAsImage(whole))[place.brain])


def levels(normal: np.ndarray, place: Regions) -> tuple[float, float, float]:
    """Return the intensities of pure CSF, grey and white matter.

    White matter is 1 by normalisation. Grey matter lies halfway between the middle one of three Gaussians fitted to
    this subject's intensities and what is usual: the first alone would follow grey matter that becomes darker
    everywhere and so hide its loss, the second alone would take a scanner's contrast for loss. CSF is the darkest 2 %
    of the brain that is not background: a Gaussian's mean would follow the blur of the grid.
    """
    values = np.sort(normal[place.brain & (normal > BACKGROUND)])
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
    ).fit(values[:: -(-len(values) // MOST_VOXELS)][:, None])
    means = np.sort(mixture.means_[:, 0])
    return float(min(np.quantile(values, DARKEST), means[0])), float(means[1] + USUAL_GREY) / 2, 1.0


def segment(normal: np.ndarray, place: Regions, pure: tuple[float, float, float]) -> np.ndarray:
    """Return the share of each tissue in each voxel: a voxel between two levels holds both tissues.

    Parameters
    ----------
    normal : array, shape (x, y, z)
        Intensities with white matter at 1.
    place : Regions
    pure : tuple of float
        Intensities of CSF, grey and white matter; see :func:`levels`.

    Returns
    -------
    array of float32, shape (3, x, y, z)
        CSF, grey, white; zero outside the brain. Voxels of the brain without signal count as CSF.
    """
    shares = np.zeros((3, *normal.shape), dtype=np.float32)
    for share, only in zip(shares, np.eye(3), strict=True):
        share[place.brain] = np.interp(normal[place.brain], pure, only)
    return shares

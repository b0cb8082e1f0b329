"""Bringing a volume onto the MNI152 template by its header alone: no voxel is changed."""

from dataclasses import dataclass
from functools import lru_cache

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 (the name that its manual uses)
from scipy import ndimage
from scipy.signal import correlate

from metafusion.preprocess.template import brain_mask, template
from metafusion.preprocess.volumes import BrokenVolumeError, Volume, on_grid

COARSE = 4.0
"""Voxel size at which starting places are compared, in mm."""

FINE = 2.0
"""Voxel size of the template in the registration, in mm; larger for a coarser volume."""

FURTHEST = 48.0
"""How far around a starting place is searched, in mm."""

MARGIN = 6.0
"""How far around the template's brain the volumes are compared, in mm."""

SHARE = 0.3
"""Share of the voxels that are compared."""

LEVELS = ((4, 4.0), (2, 2.0), (1, 0.0))
"""Shrink factor and blur in mm of each level of the registration."""

LARGEST_SCALE = 1.6
"""A brain that must grow or shrink by more than this along an axis is no brain that was found."""


@dataclass(frozen=True)
class Placed:
    """A volume on the template.

    Attributes
    ----------
    image : Nifti1Image, shape (x, y, z)
        The same voxels with another affine.
    shift_mm : float
        How far the centre of the template's brain moved.
    scale : float
        By what the brain's volume was multiplied.
    """

    image: nib.Nifti1Image
    shift_mm: float
    scale: float


def place(volume: Volume, align: str) -> Placed:
    """Bring a volume onto the template.

    The registration maximises the mutual information (Mattes et al. 2003) inside the template's brain and a margin,
    from coarse to fine, with SimpleITK in one thread. It starts where the volume correlates best with the template,
    around the place that the header says, and around the middle of the intensities.

    Parameters
    ----------
    volume : Volume
    align : {'none', 'affine'}
        'none' leaves volumes that have an origin where they are; others are shifted.

    Raises
    ------
    BrokenVolumeError
        If no place was found where the volume is alike.
    """
    if align == "none" and volume.has_origin:
        return Placed(volume.image, 0.0, 1.0)
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    # The order of sums over threads would show in the last bits.
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        onto_volume = _register(volume, align)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise BrokenVolumeError(
            f"{volume.path}: cannot be aligned with the template ({reason}); expected a T1w volume of a whole head or "
            "brain; align it by hand, or exclude the scan",
            "MRI cannot be aligned",
        ) from None
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    scales = np.linalg.svd(onto_volume[:3, :3], compute_uv=False)
    if max(scales.max(), 1 / scales.min()) > LARGEST_SCALE:
        raise BrokenVolumeError(
            f"{volume.path}: the alignment would scale it by {1 / scales.max():.2f} to {1 / scales.min():.2f}, "
            f"expected less than {LARGEST_SCALE:g} either way; align it by hand, or exclude the scan",
            "MRI cannot be aligned",
        )
    onto_template = np.linalg.inv(onto_volume)
    moved = nib.affines.apply_affine(onto_volume, _centre()) - _centre()
    data = volume.image.get_fdata(dtype=np.float32, caching="unchanged")
    return Placed(
        image=nib.Nifti1Image(data, onto_template @ volume.image.affine),
        shift_mm=float(np.linalg.norm(moved)),
        scale=float(np.linalg.det(onto_template[:3, :3])),
    )


def offset(image: nib.Nifti1Image) -> float:
    """Return how far a volume should be shifted to lie on the template, in steps of 4 mm."""
    return float(np.linalg.norm(_best_shift(image)))


@lru_cache(maxsize=1)
def _centre() -> np.ndarray:
    mask = brain_mask(COARSE)
    return nib.affines.apply_affine(mask.affine, ndimage.center_of_mass(mask.get_fdata()))


def _best_shift(image: nib.Nifti1Image) -> np.ndarray:
    """Return the shift in mm after which a volume correlates best with the template."""
    mask = brain_mask(COARSE)
    centred = template("t1", COARSE) - template("t1", COARSE).mean()
    match = correlate(on_grid(image, mask.affine, mask.shape), centred, mode="same", method="fft")
    centre = np.array(match.shape) // 2
    reach = int(FURTHEST // COARSE)
    near = match[tuple(slice(c - reach, c + reach + 1) for c in centre)]
    return (reach - np.array(np.unravel_index(near.argmax(), near.shape))) * COARSE


def _shifted(image: nib.Nifti1Image, shift: np.ndarray) -> nib.Nifti1Image:
    data = image.get_fdata(dtype=np.float32, caching="unchanged")
    return nib.Nifti1Image(data, nib.affines.from_matvec(np.eye(3), shift) @ image.affine)


def _register(volume: Volume, align: str) -> np.ndarray:
    """Return the affine from the template's coordinates to the volume's, shape (4, 4)."""
    # A template sharper than the volume would make its brain look large.
    resolution = max(FINE, round(float(max(volume.voxel_size)), 1))
    fixed, mask = _fixed(resolution), _mask(resolution)
    moving = _moving(volume.image, resolution)
    method = _method(mask)
    starts = _starts(volume.image)
    unlikeness = [_unlikeness(method, fixed, moving, shift) for shift in starts]
    shift = -starts[int(np.argmin(unlikeness))]
    if align == "none":
        found = _refined(method, fixed, moving, sitk.TranslationTransform(3, shift.tolist()))
        return nib.affines.from_matvec(np.eye(3), found.GetOffset())
    turned = sitk.Euler3DTransform(_centre().tolist(), 0.0, 0.0, 0.0, shift.tolist())
    turned = _refined(method, fixed, moving, turned)
    scaled = sitk.AffineTransform(3)
    scaled.SetCenter(turned.GetCenter())
    scaled.SetMatrix(turned.GetMatrix())
    scaled.SetTranslation(turned.GetTranslation())
    scaled = _refined(method, fixed, moving, scaled)
    matrix = np.reshape(scaled.GetMatrix(), (3, 3))
    origin = np.array(scaled.TransformPoint((0.0, 0.0, 0.0)))
    return nib.affines.from_matvec(matrix, origin)


def _starts(image: nib.Nifti1Image) -> list[np.ndarray]:
    """Return shifts in mm that may bring a volume near the template."""
    data = image.get_fdata(dtype=np.float32, caching="unchanged")
    # Every fourth voxel will do.
    middle = 4 * np.array(ndimage.center_of_mass(np.clip(data[::4, ::4, ::4], 1e-6, None)))
    shifts = [np.zeros(3), _centre() - nib.affines.apply_affine(image.affine, middle)]
    found = [shift + _best_shift(_shifted(image, shift)) for shift in shifts]
    return [*shifts, *found]


def _unlikeness(
    method: sitk.ImageRegistrationMethod, fixed: sitk.Image, moving: sitk.Image, shift: np.ndarray
) -> float:
    method.SetInitialTransform(sitk.TranslationTransform(3, (-shift).tolist()))
    try:
        return method.MetricEvaluate(fixed, moving)
    except RuntimeError:
        # Nothing of the volume lies inside the template's brain.
        return np.inf


def _method(mask: sitk.Image) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(mask)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SHARE, seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=0.01, numberOfIterations=100, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([factor for factor, _ in LEVELS])
    method.SetSmoothingSigmasPerLevel([blur for _, blur in LEVELS])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method


def _refined(
    method: sitk.ImageRegistrationMethod, fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform
) -> sitk.Transform:
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)
    return start


def _fixed(resolution: float) -> sitk.Image:
    return _as_itk(template("t1", resolution), brain_mask(resolution).affine)


def _mask(resolution: float) -> sitk.Image:
    mask = brain_mask(resolution)
    near = ndimage.distance_transform_edt(mask.get_fdata() == 0, sampling=resolution) <= MARGIN
    return _as_itk(near.astype(np.uint8), mask.affine)


def _moving(image: nib.Nifti1Image, resolution: float) -> sitk.Image:
    """Resample a volume to upright voxels of the template's size: an affine with shear is no image to ITK."""
    corners = np.array(np.meshgrid(*[[0, size - 1] for size in image.shape])).reshape(3, -1).T
    places = nib.affines.apply_affine(image.affine, corners)
    shape = np.ceil(np.ptp(places, axis=0) / resolution).astype(int) + 1
    affine = nib.affines.from_matvec(np.eye(3) * resolution, places.min(axis=0))
    return _as_itk(on_grid(image, affine, tuple(int(count) for count in shape)), affine)


def _as_itk(data: np.ndarray, affine: np.ndarray) -> sitk.Image:
    """Hand a volume with upright voxels to ITK, whose arrays have the last axis first."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.T))
    image.SetSpacing([float(step) for step in np.diag(affine)[:3]])
    image.SetOrigin([float(place) for place in affine[:3, 3]])
    return image

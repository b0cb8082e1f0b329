"""Reading volumes of any format and orientation, what their headers say, resampling, and writing."""

import gzip
import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nilearn.image import resample_img
from nilearn.image.resampling import BoundingBoxError
from scipy import ndimage

from metafusion.errors import DAMAGED, BrokenInputError
from metafusion.files import whole

FWHM = 2 * np.sqrt(2 * np.log(2))
"""Full width at half maximum of a Gaussian, in standard deviations."""

TOLERANCE = 1.0
"""How far two statements of a header may lie apart, in mm."""

UNKNOWN = "unknown"
"""The space of a volume whose header names none."""

SPACES = {0: UNKNOWN, 1: "scanner", 2: "aligned", 3: "talairach", 4: "mni", 5: "template"}
"""What the codes of NIfTI headers mean."""


class BrokenVolumeError(BrokenInputError):
    """A volume that cannot be used."""


@dataclass(frozen=True)
class Volume:
    """A volume and what its file says.

    Attributes
    ----------
    image : Nifti1Image, float32, shape (x, y, z)
        In canonical orientation (RAS+), scaling factors applied, 0 where the file has NaN.
    path : Path
    shape : tuple of int
        As stored.
    voxel_size : tuple of float
        In mm, as stored.
    orientation : str
        Directions of the stored axes, such as 'LAS'.
    space : str
        What the header calls its coordinates: a value of :data:`SPACES`.
    has_origin : bool
        Whether the header says where the volume lies.
    space_warning : str
        Why places, left and right cannot be trusted; empty where nothing speaks against them.
    nan_share : float
        Share of voxels that were NaN.
    content_hash : str
        SHA-256 of shape and voxels in canonical orientation: equal for copies in another format or orientation.
    """

    image: nib.Nifti1Image
    path: Path
    shape: tuple[int, ...]
    voxel_size: tuple[float, ...]
    orientation: str
    space: str
    has_origin: bool
    space_warning: str
    nan_share: float
    content_hash: str


def read_volume(path: str | Path) -> Volume:
    """Read a volume of any format that nibabel knows.

    Parameters
    ----------
    path : path
        NIfTI, gzipped or not, or Analyze (the ``.hdr`` or the ``.img``), of any orientation, voxel size, number format
        and byte order. Trailing axes of length 1 are removed; NaN, as SPM writes it, is taken for background (0).

    Returns
    -------
    Volume

    Raises
    ------
    BrokenVolumeError
        If the file is absent, truncated, corrupt, no single 3D volume, constant or not finite.
    """
    path = Path(path)
    try:
        _check_gzip(path)
        stored = nib.load(path)
        image = nib.squeeze_image(stored)
        data = image.get_fdata(dtype=np.float32, caching="unchanged")
        affine = np.asarray(image.affine, dtype=float)
    except FileNotFoundError as error:
        missing = getattr(error, "filename", None) or error
        raise BrokenVolumeError(
            f"{path}: cannot be read: no such file ({missing}); copy it there or list another", "MRI file is absent"
        ) from None
    except (*DAMAGED, ImageFileError, HeaderDataError) as error:
        raise BrokenVolumeError(
            f"{path}: truncated, corrupt or no volume ({error}); expected NIfTI or Analyze; "
            "copy or convert the file anew",
            "MRI file is truncated or corrupt",
        ) from None
    _check_shape(path, data)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise BrokenVolumeError(
            f"{path}: the affine in the header is singular or not finite; convert the volume anew",
            "MRI header is damaged",
        )
    absent = np.isnan(data)
    data = _without_gaps(path, data, absent)
    origin, warning = _judge_header(stored)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(data, affine))
    return Volume(
        image=canonical,
        path=path,
        shape=data.shape,
        voxel_size=tuple(float(size) for size in nib.affines.voxel_sizes(affine)),
        orientation="".join(nib.aff2axcodes(affine)),
        space=_space(stored),
        has_origin=origin,
        space_warning=warning,
        nan_share=float(absent.mean()),
        content_hash=_hash(canonical.get_fdata(dtype=np.float32, caching="unchanged")),
    )


def _check_gzip(path: Path) -> None:
    # nibabel stops reading after the last voxel and so never sees the checksum.
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass


def _check_shape(path: Path, data: np.ndarray) -> None:
    if data.ndim != 3:
        raise BrokenVolumeError(
            f"{path}: found shape {data.shape}, expected one 3D volume; "
            "extract or average the T1w volume and save it alone",
            "MRI is no single 3D volume",
        )
    if min(data.shape) < 8:
        raise BrokenVolumeError(
            f"{path}: found shape {data.shape}, expected a 3D volume with at least 8 voxels along each axis; "
            "give the whole volume, not a slice",
            "MRI is too small",
        )


def _without_gaps(path: Path, data: np.ndarray, absent: np.ndarray) -> np.ndarray:
    if np.isinf(data).any() or absent.all():
        raise BrokenVolumeError(
            f"{path}: found infinite values or no number at all, expected intensities; convert the volume anew",
            "MRI holds no intensities",
        )
    data = np.where(absent, np.float32(0), data)
    if data.min() == data.max():
        raise BrokenVolumeError(
            f"{path}: every voxel is {data.flat[0]:g}, expected an image of a head; exclude the scan or copy it anew",
            "MRI is empty",
        )
    return data


def _hash(data: np.ndarray) -> str:
    digest = hashlib.sha256(str(data.shape).encode())
    digest.update(np.ascontiguousarray(data, dtype="<f4"))
    return digest.hexdigest()


def _space(stored: nib.spatialimages.SpatialImage) -> str:
    if not isinstance(stored, nib.Nifti1Pair):
        return UNKNOWN
    code = int(stored.header["sform_code"]) or int(stored.header["qform_code"])
    return SPACES.get(code, UNKNOWN)


def _judge_header(stored: nib.spatialimages.SpatialImage) -> tuple[bool, str]:
    """Return whether a header says where the volume lies, and what speaks against trusting it."""
    if isinstance(stored, nib.Nifti1Pair):
        return _judge_nifti(stored)
    if not isinstance(stored, nib.AnalyzeImage):
        return True, ""
    by_spm = isinstance(stored, nib.Spm99AnalyzeImage)
    if by_spm and not np.allclose(stored.affine, stored.header.get_best_affine()):
        # A .mat file of the same name holds the affine.
        return True, ""
    # SPM keeps the origin, in voxels, in a field that plain Analyze uses for the name of the originator.
    origin = by_spm and bool(np.any(stored.header["origin"][:3]))
    lacking = "left and right" if origin else "left and right, or origin"
    return origin, f"an Analyze header has no {lacking}: left and right cannot be trusted"


def _judge_nifti(stored: nib.Nifti1Pair) -> tuple[bool, str]:
    header = stored.header
    sform = header.get_sform(coded=True)[0]
    try:
        qform = header.get_qform(coded=True)[0]
    except HeaderDataError:
        return True, "the qform is damaged: the sform is used"
    if sform is None and qform is None:
        return False, "neither sform nor qform is set: left and right cannot be trusted"
    if sform is None or qform is None:
        return True, ""
    corners = np.array(np.meshgrid(*[[0, size - 1] for size in stored.shape[:3]])).reshape(3, -1).T
    apart = np.abs(nib.affines.apply_affine(sform, corners) - nib.affines.apply_affine(qform, corners)).max()
    mirrored = np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0
    if apart <= TOLERANCE and not mirrored:
        return True, ""
    how = "and are mirror images of each other: left and right cannot be trusted" if mirrored else "in the same header"
    return True, f"sform and qform lie up to {apart:.0f} mm apart {how}; the sform is used"


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
    data = image.get_fdata(dtype=np.float32, caching="unchanged")
    if image.shape == tuple(shape) and np.allclose(image.affine, affine):
        return data
    fine = nib.affines.voxel_sizes(image.affine)
    coarse = nib.affines.voxel_sizes(affine)
    sigma = np.sqrt(np.maximum(coarse**2 - fine**2, 0)) / FWHM / fine
    blurred = ndimage.gaussian_filter(data, sigma, truncate=3)
    with warnings.catch_warnings():
        # Of a mask, the share of each voxel is wanted.
        warnings.filterwarnings("ignore", "Resampling binary images")
        try:
            moved = resample_img(
                nib.Nifti1Image(blurred, image.affine),
                target_affine=affine,
                target_shape=shape,
                interpolation="linear",
                force_resample=True,
                copy_header=True,
            )
        except BoundingBoxError:
            # The volume lies elsewhere.
            return np.zeros(shape, dtype=np.float32)
    return moved.get_fdata(dtype=np.float32)

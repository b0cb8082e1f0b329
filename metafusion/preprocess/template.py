"""The MNI152 template that nilearn ships, and the common grid that all volumes are brought to."""

from functools import lru_cache

import nibabel as nib
import numpy as np
from nilearn import datasets
from scipy import ndimage

from metafusion.preprocess.volumes import on_grid


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

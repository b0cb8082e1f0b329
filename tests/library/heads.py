"""Volumes for tests of the MRI preprocessing: made from the template, written in any format."""

import nibabel as nib
import numpy as np

from metafusion.preprocess.template import brain_mask
from metafusion.sources.mri_simulated import mixed_tissues


def head(size=3.0, noise=0.02):
    """The template's tissues with noise, RAS and float32, on the template."""
    data = mixed_tissues(size)
    data = data + noise * np.random.default_rng(0).normal(size=data.shape)
    return nib.Nifti1Image(np.maximum(500 * data, 0).astype(np.float32), brain_mask(size).affine)


def reoriented(image, codes):
    """Flip and turn the axes; the header follows."""
    codes = nib.orientations.axcodes2ornt(codes)
    return image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), codes))


def stored(image, path):
    nib.save(image, path)
    return path


def analyze(image, path, byte_order=">", dtype="i2"):
    """Write an Analyze pair as OASIS has them: big-endian, a trailing axis, x from right to left, no origin."""
    header = nib.AnalyzeHeader(endianness=byte_order)
    header.set_data_dtype(byte_order + dtype)
    data = np.rint(image.get_fdata()[::-1]).astype(dtype)[..., None]
    pair = nib.AnalyzeImage(data, None, header)
    pair.header.set_zooms((*nib.affines.voxel_sizes(image.affine), 1.0))
    nib.save(nib.AnalyzeImage(data, pair.header.get_best_affine(), pair.header), path)
    return path.with_suffix(".hdr")

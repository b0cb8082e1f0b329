"""Time the preprocessing of one T1-weighted volume of 176 x 208 x 176 voxels of 1 mm, on one core.

    python benchmarks/mri.py --json
    python benchmarks/mri.py --align affine --bias n4 --resolution 2 --json

The volume is simulated from the template: bias field, noise, and turned by 5 degrees where it is to be aligned; int16
in a gzipped file. `wall_s` is the time from the file to features, picture and tables; `first_s` is what the job needs
once (the template and the regions), `peak_mb` the memory of the whole process.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import tempfile
import time
from pathlib import Path

SHAPE = (176, 208, 176)


def make(path: Path, turned: bool) -> None:
    """Write the volume."""
    import nibabel as nib
    import numpy as np
    from nibabel.eulerangles import euler2mat

    from metafusion.preprocess.template import brain_mask
    from metafusion.preprocess.volumes import on_grid
    from metafusion.sources.mri_simulated import mixed_tissues

    draw = np.random.default_rng(0)
    image = nib.Nifti1Image(mixed_tissues(1.0), brain_mask(1.0).affine)
    affine = nib.affines.from_matvec(np.eye(3), [-88.0, -122.0, -74.0])
    data = on_grid(image, affine, SHAPE) * np.linspace(0.8, 1.2, SHAPE[1])[:, None]
    data = np.hypot(data + 0.03 * draw.normal(size=SHAPE), 0.03 * draw.normal(size=SHAPE))
    turn = nib.affines.from_matvec(euler2mat(*np.deg2rad([5.0, 0.0, 5.0])) if turned else np.eye(3))
    nib.save(nib.Nifti1Image(np.rint(data * 700).astype(np.int16), turn @ affine), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--align", choices=["none", "affine"], default="none")
    parser.add_argument("--bias", choices=["polynomial", "n4", "none"], default="polynomial")
    parser.add_argument("--resolution", type=float, default=4.0, help="voxel size of the common grid in mm")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sub-1_T1w.nii.gz"
        # In a process of its own, so that its memory is not counted.
        maker = multiprocessing.get_context("spawn").Process(target=make, args=(path, options.align != "none"))
        maker.start()
        maker.join()

        from metafusion.config.mri import MriPreprocessing
        from metafusion.files import read_table
        from metafusion.preprocess import mri

        settings = MriPreprocessing(align=options.align, bias=options.bias, resolution=options.resolution)
        start = time.perf_counter()
        mri.feature_names(settings)
        ready, cpu = time.perf_counter(), time.process_time()
        mri.preprocess_volumes({"sub-1": path}, settings, Path(folder) / "out")
        end, cpu = time.perf_counter(), time.process_time() - cpu
        quality = read_table(Path(folder) / "out" / "quality.tsv").iloc[0]

    found = {
        "shape": "x".join(map(str, SHAPE)),
        "align": options.align,
        "bias": options.bias,
        "resolution": options.resolution,
        "wall_s": round(end - ready, 2),
        "cpu_s": round(cpu, 2),
        "first_s": round(ready - start, 2),
        # Linux counts in KiB, macOS in bytes.
        "peak_mb": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if platform.system() == "Darwin" else 1 << 10)
        ),
        "similarity": float(quality["similarity"]),
    }
    print(json.dumps(found) if options.json else "\n".join(f"{key:12} {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()

"""Tiny made-up folders in the layouts of OASIS-1, OASIS-2 and BIDS, with the traps of the real ones."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np

from metafusion.config.sources import MriSimulated
from metafusion.sources import mri_simulated


@lru_cache(maxsize=64)
def head(number: int, atrophy: float, voxel_size: float = 6.0) -> nib.Nifti1Image:
    """Return a simulated head, skull-stripped, in MNI space; its shape differs from one number to the next."""
    source = MriSimulated(kind="mri_simulated", voxel_size=voxel_size, random_state=7)
    return nib.as_closest_canonical(nib.squeeze_image(mri_simulated.simulate_volume(source, number, atrophy)))


def write_analyze(image: nib.Nifti1Image, path: Path) -> None:
    """Write a pair as OASIS-1 has it: Analyze 7.5, big-endian int16, a trailing axis of 1, no origin."""
    data = np.rint(image.get_fdata() / image.get_fdata().max() * 3000).astype(np.int16)[..., None]
    header = nib.AnalyzeHeader(endianness=">")
    header.set_data_dtype(">i2")
    header.set_data_shape(data.shape)
    header.set_zooms((*image.header.get_zooms()[:3], 1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.AnalyzeImage(data, header.get_best_affine(), header), path)


def write_nifti(image: nib.Nifti1Image, path: Path) -> None:
    """Write a volume, a pair if the path ends in .img."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = nib.Nifti1Pair if path.suffix == ".img" else nib.Nifti1Image
    nib.save(kind(np.asanyarray(image.dataobj), image.affine), path)


def write_rows(path: Path, header: Sequence[str], rows: Sequence[Mapping[str, object]], missing: str) -> None:
    """Write a table with commas or, for .tsv, with tabs; what a row does not have is missing."""
    mark = "\t" if path.suffix == ".tsv" else ","
    lines = [header, *([str(row.get(name, missing)) for name in header] for row in rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    # A byte-order mark, as spreadsheets write it.
    encoding = "utf-8" if path.suffix == ".tsv" else "utf-8-sig"
    path.write_text("".join(mark.join(line) + "\n" for line in lines), encoding=encoding)


# OASIS-1

OASIS1_HEADER = ("ID", "M/F", "Hand", "Age", "Educ", "SES", "MMSE", "CDR", "eTIV", "nWBV", "ASF", "Delay")


def oasis1_row(name: str, cdr: float | None, number: int, **changes: object) -> dict[str, object]:
    """Return a row of the table; the young (without CDR) lack what OASIS-1 did not ask them."""
    row = {"ID": name, "M/F": "FM"[number % 2], "Hand": "R", "eTIV": 1400 + number, "ASF": 1.2, "Delay": "N/A"}
    row |= {"Age": 70 + number % 20, "nWBV": 0.75 - 0.001 * number} if cdr is not None else {"Age": 25, "nWBV": 0.85}
    if cdr is not None:
        row |= {"Educ": 1 + number % 5, "MMSE": 29 - 6 * cdr, "CDR": cdr, "SES": "N/A" if cdr else 1 + number % 5}
    return row | changes


def oasis1_volume(folder: Path, name: str) -> Path:
    """Return where a processed volume lies, without its ending; odd subjects are on the first disc."""
    disc = f"disc{2 - int(name[5:9]) % 2}"
    return folder / disc / name / "PROCESSED/MPRAGE/T88_111" / f"{name}_mpr_n4_anon_111_t88_masked_gfc"


def write_oasis1(folder: Path, each: int = 3, header: Sequence[str] = OASIS1_HEADER) -> Path:
    """Write a folder like OASIS-1 and return its table.

    Subjects 1 to ``each`` are controls, then come as many with CDR 0.5 and with CDR 1, all with a volume. Then the
    traps: 91 is young, and has a repeat scan; 92 has a repeat scan with a CDR; 93 has no volume; 94 has a volume and no
    row; the volume of 95 is truncated.
    """
    rows, volumes = [], []
    for number in range(1, 3 * each + 1):
        cdr = (0.0, 0.5, 1.0)[(number - 1) // each]
        rows.append(oasis1_row(f"OAS1_{number:04d}_MR1", cdr, number))
        volumes.append((f"OAS1_{number:04d}_MR1", cdr))
    rows += [oasis1_row(f"OAS1_0091_MR{scan}", None, 91) for scan in (1, 2)]
    rows += [oasis1_row(f"OAS1_0092_MR{scan}", 0.0, 92) for scan in (1, 2)]
    rows += [oasis1_row("OAS1_0093_MR1", 0.5, 93), oasis1_row("OAS1_0095_MR1", 0.5, 95)]
    twice = [(f"OAS1_{number:04d}_MR{scan}", 0.0) for number in (91, 92) for scan in (1, 2)]
    for name, atrophy in [*volumes, *twice, ("OAS1_0094_MR1", 0.0), ("OAS1_0095_MR1", 0.5)]:
        path = oasis1_volume(folder, name)
        image = head(int(name[5:9]), atrophy)
        write_analyze(image, path.with_name(path.name + ".img"))
        # The volume with the skull, a picture and the raw images lie about, too.
        for other in (
            path.with_name(path.name.replace("masked_", "") + ".hdr"),
            path.with_name(path.name + "_cor.gif"),
        ):
            other.write_bytes(b"")
        raw = path.parents[3] / "RAW" / f"{name}_mpr-1_anon.img"
        raw.parent.mkdir()
        raw.write_bytes(b"")
    broken = oasis1_volume(folder, "OAS1_0095_MR1")
    data = broken.with_name(broken.name + ".img")
    data.write_bytes(data.read_bytes()[:1000])
    write_rows(folder / "oasis_cross-sectional.csv", header, rows, "N/A")
    return folder / "oasis_cross-sectional.csv"


# OASIS-2

OASIS2_HEADER = (
    *("Subject ID", "MRI ID", "Group", "Visit", "MR Delay", "M/F", "Hand", "Age", "EDUC", "SES", "MMSE", "CDR"),
    *("eTIV", "nWBV", "ASF"),
)


def write_oasis2(folder: Path, each: int = 3) -> Path:
    """Write a folder like OASIS-2 and return its table.

    Subjects 1 to ``each`` are nondemented, then come as many demented, then one who converts at the second visit. All
    have two visits, the second of which is the scanner's third for subject 2; all have volumes but the first subject at
    the second visit.
    """
    rows = []
    for number in range(1, 2 * each + 2):
        group = "Converted" if number > 2 * each else "Demented" if number > each else "Nondemented"
        for visit in (1, 3 if number == 2 else 2):
            cdr = 0.5 if group == "Demented" or (group == "Converted" and visit > 1) else 0.0
            name = f"OAS2_{number:04d}_MR{visit}"
            row = {
                "Subject ID": name[:9],
                "MRI ID": name,
                "Group": group,
                "Visit": visit,
                "MR Delay": 400 * (visit - 1),
            }
            row |= {"M/F": "MF"[number % 2], "Hand": "R", "Age": 70 + number, "EDUC": 12 + number, "CDR": cdr}
            row |= {"MMSE": 29 - 6 * cdr, "SES": "" if cdr else 2, "eTIV": 1500, "nWBV": 0.7, "ASF": 1.1}
            rows.append(row)
            if (number, visit) != (1, 2):
                for image in ("mpr-1", "mpr-2"):
                    path = folder / "OAS2_RAW_PART1" / name / "RAW" / f"{image}.nifti.img"
                    write_nifti(head(number, cdr), path)
    write_rows(folder / "oasis_longitudinal.csv", OASIS2_HEADER, rows, "")
    return folder / "oasis_longitudinal.csv"


# BIDS


def write_bids(folder: Path, each: int = 3, sessions: Sequence[str] = ("ses-1", "ses-2")) -> Path:
    """Write a folder like those of BIDS and return it.

    Of subjects sub-01, sub-02, ... the odd are controls and the even patients, ``each`` of either. All have a volume a
    session, of two shapes; sub-01 has two runs in the first session. Then the traps: sub-91 has no diagnosis, sub-92 no
    volume, sub-93 no row in participants.tsv. Grey-matter maps lie in derivatives, tests in phenotype; a table of
    sessions says the age of sub-01 at the second.
    """
    people = [f"sub-{number:02d}" for number in range(1, 2 * each + 1)]
    rows = [
        {
            "participant_id": name,
            "age": 60 + number,
            "sex": "FM"[number % 2],
            "diagnosis": ("control", "AD")[number % 2],
            "education": 10 + number,
        }
        | ({} if number else {"sex": "n/a"})
        for number, name in enumerate(people)
    ]
    rows += [{"participant_id": "sub-91", "age": 50}, {"participant_id": "sub-92", "age": 51, "diagnosis": "AD"}]
    header = ("participant_id", "sex", "age", "education", "diagnosis")
    write_rows(folder / "participants.tsv", header, rows, "n/a")
    for number, name in enumerate([*people, "sub-91", "sub-93"]):
        for session in sessions or ("",):
            place = folder / name / session / "anat"
            stem = "_".join(filter(None, (name, session)))
            image = head(number, float(number % 2))
            run = "_run-1" if (name, session) == ("sub-01", "ses-1") else ""
            write_nifti(image, place / f"{stem}{run}_T1w.nii{'.gz' if number % 2 else ''}")
            if run:
                write_nifti(image, place / f"{stem}_run-2_T1w.nii.gz")
            grey = nib.Nifti1Image(np.float32(image.get_fdata() / image.get_fdata().max()), image.affine)
            write_nifti(grey, folder / "derivatives/cat12" / name / session / "anat" / f"mwp1{stem}_T1w.nii.gz")
    tests = [{"participant_id": name, "recall": number, "note": "n/a"} for number, name in enumerate(people)]
    write_rows(folder / "phenotype/tests.tsv", ("participant_id", "recall", "note"), tests, "n/a")
    if sessions:
        visits = [{"session_id": session, "age": 60 + 2 * place} for place, session in enumerate(sessions)]
        visits[0]["age"] = "n/a"
        write_rows(folder / "sub-01/sub-01_sessions.tsv", ("session_id", "age"), visits, "n/a")
    (folder / "dataset_description.json").write_text('{"Name": "SIMULATED", "BIDSVersion": "1.9.0"}\n')
    return folder

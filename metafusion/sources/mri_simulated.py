"""Simulated T1-weighted volumes in a BIDS folder, and simulated cognitive scores.

Made from the MNI152 templates that nilearn ships (skull-stripped). No number here stems from a patient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.eulerangles import euler2mat
from scipy import ndimage
from threadpoolctl import threadpool_limits

from metafusion.config.sources import MriSimulated
from metafusion.errors import UserError
from metafusion.files import read_table, write_json, write_table
from metafusion.preprocess import mri
from metafusion.preprocess.template import brain_mask, template, ventricles
from metafusion.preprocess.volumes import on_grid, write_volume
from metafusion.samples import Assembled

SCORES = {
    "recall_immediate": (24.0, 5.0, 1.0),
    "recall_delayed": (9.0, 3.0, 1.2),
    "recognition": (13.0, 2.0, 0.9),
    "naming": (27.0, 3.0, 0.6),
    "fluency": (20.0, 5.0, 0.8),
    "digit_span": (7.0, 1.5, 0.4),
    "digit_symbol": (45.0, 10.0, 0.8),
    "trails": (40.0, 15.0, -0.7),
}
"""Mean and deviation of each score in controls, and how strongly it falls with decline (trails, in seconds, rises)."""

ORIENTATIONS = ("RAS", "LAS", "LPI")

HIPPOCAMPI = ((-26.0, -22.0, -16.0), (26.0, -22.0, -16.0))
PRECUNEUS = ((0.0, -62.0, 38.0),)

CSF, GREY, WHITE = 0.28, 0.68, 1.0
"""Intensities of the tissues before any disturbance."""

FIELD_OF_VIEW = np.array([[-84.0, 84.0], [-120.0, 84.0], [-78.0, 90.0]])
"""Corners of the simulated volumes in mm; holds the MNI brain and a margin."""


@dataclass(frozen=True)
class Person:
    """What is drawn of a subject before any image: everything else follows from it and from noise."""

    name: str
    diagnosis: str
    age: float
    sex: str
    atrophy: float
    decline: float
    misses_mri: float


def participants(source: MriSimulated) -> tuple[list[Person], list[bool]]:
    """Draw the cohort; diagnoses take turns, so that they are balanced.

    Returns
    -------
    people : list of Person
    scanned : list of bool
        Who has an MRI.
    """
    people = [_person(source, number) for number in range(source.subjects)]
    absent = round(source.without_mri * len(people))
    unlucky = sorted(people, key=lambda person: person.misses_mri)[:absent]
    return people, [person not in unlucky for person in people]


def _person(source: MriSimulated, number: int) -> Person:
    draw = np.random.default_rng([source.random_state, number, 0])
    classes = len(source.diagnoses)
    level = (number % classes) / (classes - 1)
    age = draw.normal(73, 6)
    frailty = draw.normal()
    atrophy = 0.2 + 0.8 * level + 0.012 * (age - 73) + 0.06 * frailty + 0.12 * draw.normal()
    decline = level + 0.09 * frailty + 0.2 * draw.normal()
    return Person(
        name=f"sub-{number + 1:03d}",
        diagnosis=source.diagnoses[number % classes],
        age=float(np.clip(round(age), 50, 95)),
        sex=draw.choice(["F", "M"]).item(),
        atrophy=max(atrophy, 0.0),
        decline=decline,
        misses_mri=draw.random(),
    )


def acquire(source: MriSimulated, folder: Path, wheels: Mapping[str, Path], draws: Sequence[int]) -> None:
    """Write the cohort as a BIDS folder.

    Parameters
    ----------
    source : MriSimulated
    folder : path
        Empty. Gets ``dataset_description.json``, ``participants.tsv``, ``phenotype/cognition.tsv`` and
        ``sub-*/anat/sub-*_T1w.nii.gz``.
    wheels, draws
        Unused.
    """
    folder = Path(folder)
    people, scanned = participants(source)
    write_json(
        {
            "Name": "SIMULATED T1-weighted volumes and cognitive scores",
            "BIDSVersion": "1.9.0",
            "DatasetType": "raw",
            "GeneratedBy": [{"Name": "metafusion", "Description": "SIMULATED from the MNI152 templates of nilearn"}],
        },
        folder / "dataset_description.json",
    )
    _write_bids(
        pd.DataFrame([_participant(source, i, person) for i, person in enumerate(people)]), folder / "participants.tsv"
    )
    _write_bids(
        pd.DataFrame([_scores(source, i, person) for i, person in enumerate(people)]),
        folder / "phenotype" / "cognition.tsv",
    )
    # The threads of the linear algebra would show in the last bits.
    with threadpool_limits(1):
        for number, (person, has_mri) in enumerate(zip(people, scanned, strict=True)):
            if has_mri:
                write_volume(simulate_volume(source, number, person.atrophy), t1w_file(folder, person.name))


def t1w_file(folder: Path, name: str) -> Path:
    """Return where BIDS puts the T1-weighted volume of a participant."""
    return Path(folder) / name / "anat" / f"{name}_T1w.nii.gz"


def _participant(source: MriSimulated, number: int, person: Person) -> dict:
    draw = np.random.default_rng([source.random_state, number, 1])
    return {
        "participant_id": person.name,
        "age": None if draw.random() < 0.03 else f"{person.age:.0f}",
        "sex": None if draw.random() < 0.03 else person.sex,
        "diagnosis": person.diagnosis,
    }


def _scores(source: MriSimulated, number: int, person: Person) -> dict:
    draw = np.random.default_rng([source.random_state, number, 2])
    row = {"participant_id": person.name}
    for name, (mean, deviation, fall) in SCORES.items():
        score = mean + deviation * (draw.normal() - 2.2 * fall * person.decline)
        row[name] = None if draw.random() < 0.04 else f"{max(score, 0.0):.1f}"
    return row


def _write_bids(table: pd.DataFrame, path: Path) -> None:
    write_table(table.fillna("n/a"), path)


@dataclass(frozen=True)
class Anatomy:
    """Maps on the grid of the templates; the first is a spline's coefficients, the others plain values."""

    affine: np.ndarray
    head: np.ndarray
    t1: np.ndarray
    vulnerable: np.ndarray
    from_ventricles: np.ndarray
    away: np.ndarray


@lru_cache(maxsize=2)
def anatomy(resolution: float) -> Anatomy:
    """Prepare the template for deformation.

    ``vulnerable`` is the share of a voxel lost to CSF at an atrophy of 1, ``from_ventricles`` the signed distance in mm
    and ``away`` its unit gradient.
    """
    mask = brain_mask(resolution)
    brain = mask.get_fdata() > 0
    where = np.moveaxis(nib.affines.apply_affine(mask.affine, np.moveaxis(np.indices(brain.shape), 0, -1)), -1, 0)
    hot = sum(_bump(where, centre, 16.0) for centre in HIPPOCAMPI) + 0.5 * sum(_bump(where, c, 22.0) for c in PRECUNEUS)
    inside = ventricles()
    full = inside.get_fdata() > 0
    signed = ndimage.distance_transform_edt(~full, sampling=2.0) - ndimage.distance_transform_edt(full, sampling=2.0)
    smooth = nib.Nifti1Image(ndimage.gaussian_filter(signed, 1).astype(np.float32), inside.affine)
    distance = on_grid(smooth, mask.affine, brain.shape)
    gradient = np.stack(np.gradient(distance, resolution))
    return Anatomy(
        affine=mask.affine,
        head=ndimage.binary_dilation(brain, iterations=max(1, round(9 / resolution))),
        t1=ndimage.spline_filter(mixed_tissues(resolution), order=3).astype(np.float32),
        vulnerable=(_beside_csf(resolution) * (0.55 + 0.6 * hot)).astype(np.float32),
        from_ventricles=distance,
        away=gradient / np.maximum(np.linalg.norm(gradient, axis=0), 0.2),
    )


def mixed_tissues(resolution: float) -> np.ndarray:
    """Mix the tissues: the averaged T1 template itself has less contrast than one person's brain."""
    grey, white = template("grey", resolution), template("white", resolution)
    brain = on_grid(brain_mask(1.0), brain_mask(resolution).affine, grey.shape)
    rest = np.clip(brain - grey - white, 0, 1)
    return (CSF * rest + GREY * grey + WHITE * white).astype(np.float32)


def _beside_csf(resolution: float) -> np.ndarray:
    """Grey matter that touches CSF or the outside: where the cortex becomes thinner."""
    grey, white = template("grey", resolution), template("white", resolution)
    fluid = ndimage.gaussian_filter(1 - np.clip(grey + white, 0, 1), 3.0 / resolution)
    return grey * np.clip(2.5 * fluid, 0, 1)


def _bump(where: np.ndarray, centre: tuple[float, float, float], width: float) -> np.ndarray:
    squared = sum((axis - place) ** 2 for axis, place in zip(where, centre, strict=True))
    return np.exp(-squared / (2 * width**2))


def simulate_volume(source: MriSimulated, number: int, atrophy: float) -> nib.Nifti1Image:
    """Make the T1-weighted volume of one subject.

    The template is shifted, turned, scaled and warped a little; its ventricles are pushed outwards by up to 5 mm and a
    share of its grey matter becomes CSF, most around the hippocampi. Then come a bias field, Rician noise, and
    an arbitrary scale, voxel size, orientation and number format.

    Parameters
    ----------
    source : MriSimulated
    number : int
        Place of the subject in the cohort: the volume depends on no other.
    atrophy : float
        0 for none, 1 for severe.

    Returns
    -------
    Nifti1Image, int16 or float32, shape (x, y, z) or (x, y, z, 1)
    """
    draw = np.random.default_rng([source.random_state, number, 3])
    atlas = anatomy(source.voxel_size)
    voxel = source.voxel_size * draw.choice([0.9, 1.0, 1.1])
    shape = tuple(np.ceil((FIELD_OF_VIEW[:, 1] - FIELD_OF_VIEW[:, 0]) / voxel).astype(int))
    affine = nib.affines.from_matvec(np.eye(3) * voxel, FIELD_OF_VIEW[:, 0] + draw.uniform(0, voxel, 3))

    where = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1)).reshape(-1, 3).T
    waves = _waves(shape)
    near = _sample(atlas, atlas.head.astype(np.float32), where, order=0) > 0.5
    warp = np.stack([_smooth(draw, waves, 0.8) for _ in range(3)]).reshape(3, -1)[:, near]
    place = _placed(draw, where[:, near]) + warp
    swelling = 5.0 * atrophy * np.exp(draw.normal(0, 0.12))
    away = np.stack([_sample(atlas, axis, place) for axis in atlas.away])
    place = place - away * swelling * np.exp(-np.abs(_sample(atlas, atlas.from_ventricles, place)) / 14)

    loss = np.clip(atrophy * np.exp(draw.normal(0, 0.15)) * _sample(atlas, atlas.vulnerable, place), 0, 0.9)
    tissue = np.maximum(_sample(atlas, atlas.t1, place, order=3), 0)
    signal = np.zeros(len(near))
    signal[near] = tissue + loss * (np.minimum(CSF, tissue) - tissue)

    data = signal.reshape(shape) * np.exp(_smooth(draw, [wave[:, :3] for wave in waves], 0.08))
    noise = draw.uniform(0.015, 0.035)
    data = np.hypot(data + noise * draw.normal(size=shape), noise * draw.normal(size=shape))
    data *= 900 * np.exp(draw.normal(0, 0.4))
    return _stored(draw, data, affine)


def _sample(atlas: Anatomy, values: np.ndarray, place: np.ndarray, order: int = 1) -> np.ndarray:
    index = nib.affines.apply_affine(np.linalg.inv(atlas.affine), place.T).T
    return ndimage.map_coordinates(values, index, order=order, mode="nearest", prefilter=False)


def _placed(draw: np.random.Generator, where: np.ndarray) -> np.ndarray:
    """Scale (1.5 %), turn (1 degree) and shift (1 mm) at random: what an affine registration to MNI space leaves."""
    centre = np.array([0.0, -18.0, 10.0])
    angles = np.deg2rad(draw.normal(0, 1, 3))
    turn = euler2mat(*angles)
    matrix = turn @ np.diag(np.exp(draw.normal(0, 0.015, 3)))
    return matrix @ (where - centre[:, None]) + (centre + draw.normal(0, 1, 3))[:, None]


def _waves(shape: tuple[int, ...], count: int = 4) -> list[np.ndarray]:
    """Return the first cosines along each axis: the basis of smooth random fields."""
    return [np.cos(np.pi * np.outer((np.arange(size) + 0.5) / size, np.arange(count))) for size in shape]


def _smooth(draw: np.random.Generator, waves: list[np.ndarray], deviation: float) -> np.ndarray:
    """Draw a smooth field with this standard deviation (on average over draws and voxels)."""
    scale = deviation / np.sqrt(np.prod([np.mean(wave**2, axis=0).sum() for wave in waves]))
    field = draw.normal(scale=scale, size=[wave.shape[1] for wave in waves])
    for wave in waves:
        # Each product moves the next axis to the front, so that three of them restore the order.
        field = np.tensordot(field, wave, axes=(0, 1))
    return field


def _stored(draw: np.random.Generator, data: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    """Bring a volume into the format that this subject's scanner happens to write."""
    if draw.random() < 0.5:
        image = nib.Nifti1Image(np.clip(np.rint(data), 0, 32767).astype(np.int16), affine)
    else:
        image = nib.Nifti1Image(data.astype(np.float32), affine)
    codes = nib.orientations.axcodes2ornt(draw.choice(ORIENTATIONS))
    image = image.as_reoriented(nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), codes))
    if draw.random() < 0.2:
        image = nib.Nifti1Image(np.asanyarray(image.dataobj)[..., None], image.affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"SIMULATED"
    return image


def preprocess(source: MriSimulated, modality: str, chunk: str, acquired: Path, folder: Path) -> None:
    """Write ``features.parquet`` of one chunk, and for ``t1w`` the preprocessed volumes.

    Parameters
    ----------
    source : MriSimulated
    modality : {'t1w', 'cognition'}
    chunk : str
        ``t1w``: '000' for the first ``chunk_size`` participants, and so on; those without a volume are skipped.
        ``cognition``: 'all'.
    acquired, folder : path

    Raises
    ------
    UserError
        If a file is absent or damaged; with ``on_broken: exclude`` not where it is a volume.
    """
    if modality == "cognition":
        scores = _read_bids(Path(acquired) / "phenotype" / "cognition.tsv").rename(columns={"participant_id": "sample"})
        numbers = scores.columns.drop("sample")
        write_table(scores.astype(dict.fromkeys(numbers, np.float32)), Path(folder) / "features.parquet")
        return
    start = int(chunk) * source.chunk_size
    names = _read_bids(Path(acquired) / "participants.tsv")["participant_id"].iloc[start : start + source.chunk_size]
    files = {name: t1w_file(acquired, name) for name in names if t1w_file(acquired, name).exists()}
    mri.preprocess_volumes(files, source.preprocessing, folder)


def _read_bids(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise UserError(f"{path}: no such file; expected a BIDS table")
    table = pd.read_csv(path, sep="\t", dtype={"participant_id": "str"}, keep_default_na=False, na_values=["n/a"])
    if "participant_id" not in table or table["participant_id"].duplicated().any():
        raise UserError(f"{path}: expected a column 'participant_id' that names every participant once")
    return table


def assemble(source: MriSimulated, acquired: Path, preprocessed: Mapping[str, Sequence[Path]]) -> Assembled:
    """Join participants and features; say who lacks what.

    Parameters
    ----------
    source : MriSimulated
    acquired : path
    preprocessed : dict of str to list of path
        Folders of the chunks of each modality.

    Returns
    -------
    Assembled
        Without participants who have no diagnosis or no modality at all. People have ``age`` (years) and ``sex``.
    """
    people = _read_bids(Path(acquired) / "participants.tsv").set_index("participant_id")
    scores = [read_table(Path(folder) / "features.parquet") for folder in preprocessed["cognition"]]
    features, broken = mri.read_chunks(preprocessed["t1w"])
    features["cognition"] = pd.concat(scores, ignore_index=True)
    features = {modality: table.dropna(how="all", subset=table.columns[1:]) for modality, table in features.items()}
    present = pd.DataFrame(
        {modality: people.index.isin(table["sample"]) for modality, table in features.items()}, people.index
    )

    undiagnosed = people["diagnosis"].isna()
    kept = ~undiagnosed & present.any(axis=1)
    reasons = {"t1w": "no T1w image", "volume": "no T1w image", "cognition": "no cognitive score"}
    found_broken = dict(zip(broken["sample"], broken["reason"], strict=True))
    lacking = [
        (name, modality, reasons[modality] if modality == "cognition" else found_broken.get(name, reasons[modality]))
        for modality in present
        for name in people.index[kept & ~present[modality]]
    ]
    out = [(name, "", "no diagnosis" if undiagnosed[name] else "no modality") for name in people.index[~kept]]
    exclusions = pd.DataFrame(out + lacking, columns=["sample", "modality", "reason"], dtype="str")
    exclusions.insert(1, "subject", exclusions["sample"])
    names = people.index[kept]
    samples = pd.DataFrame(
        {"sample": names, "subject": names, "target": people.loc[kept, "diagnosis"].to_numpy()}, dtype="str"
    )
    kept_features = {
        modality: table[table["sample"].isin(names)].reset_index(drop=True) for modality, table in features.items()
    }
    described = people.loc[kept, ["age", "sex"]].rename_axis("sample").reset_index()
    return Assembled(samples, kept_features, exclusions, people=described)


def look(source: MriSimulated, samples: pd.DataFrame, preprocessed: Mapping[str, Sequence[Path]], folder: Path) -> None:
    """Draw ``template_slice.svg``: the mean brain, and where the last diagnosis differs from the first.

    Parameters
    ----------
    source : MriSimulated
    samples : DataFrame
        With columns ``sample`` and ``target``.
    preprocessed : dict of str to list of path
    folder : path
    """
    groups = {name: _Mean() for name in source.diagnoses}
    targets = dict(zip(samples["sample"], samples["target"], strict=True))
    affine = brain_mask(source.preprocessing.resolution).affine
    for chunk in preprocessed["t1w"]:
        for path in sorted(Path(chunk).glob("*_T1w.nii.gz")):
            if (name := path.name.removesuffix("_T1w.nii.gz")) in targets:
                groups[targets[name]].add(nib.load(path).get_fdata())
    first, last = groups[source.diagnoses[0]], groups[source.diagnoses[-1]]
    everyone = [group for group in groups.values() if group.count]
    count = sum(group.count for group in everyone)
    if not count:
        return
    mean = sum(group.total for group in everyone) / count
    settings = {"svg.hashsalt": "metafusion", "svg.fonttype": "path", "font.size": 9, "image.interpolation": "nearest"}
    with plt.rc_context(settings):
        figure = _draw(mean, _clear_difference(first, last), affine)
        numbers = ", ".join(f"{group.count} {name}" for name, group in groups.items())
        figure.suptitle(
            f"Simulated data: mean T1w volume of {count} subjects ({numbers})\n"
            f"colour: {source.diagnoses[-1]} minus {source.diagnoses[0]}, where more than 2 standard errors from 0"
        )
        path = Path(folder) / "template_slice.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


class _Mean:
    """Sums of volumes, so that only one is in memory."""

    def __init__(self) -> None:
        self.count, self.total, self.squares = 0, 0.0, 0.0

    def add(self, volume: np.ndarray) -> None:
        self.count += 1
        self.total = self.total + volume
        self.squares = self.squares + volume**2

    @property
    def mean(self) -> np.ndarray:
        return self.total / self.count

    @property
    def squared_error(self) -> np.ndarray:
        return np.maximum(self.squares - self.count * self.mean**2, 0) / (self.count - 1) / self.count


def _clear_difference(first: _Mean, last: _Mean) -> np.ndarray | None:
    """Difference of the means, masked where it is within two standard errors; None where a group is too small."""
    if min(first.count, last.count) < 2:
        return None
    difference = last.mean - first.mean
    return np.ma.masked_where(np.abs(difference) <= 2 * np.sqrt(first.squared_error + last.squared_error), difference)


def _draw(mean: np.ndarray, difference: np.ndarray | None, affine: np.ndarray) -> plt.Figure:
    figure, axes = plt.subplots(1, 3, figsize=(10, 4.2), layout="constrained")
    cuts = (("axial", 2, 14.0, "x", "y"), ("coronal", 1, -18.0, "x", "z"), ("sagittal", 0, 8.0, "y", "z"))
    edges = [affine[i, 3] + affine[i, i] * (np.array([0, size]) - 0.5) for i, size in enumerate(mean.shape)]
    shown = None
    for axis, (title, along, position, across, up) in zip(axes, cuts, strict=True):
        index = round((position - affine[along, 3]) / affine[along, along])
        others = [i for i in range(3) if i != along]
        extent = [*edges[others[0]], *edges[others[1]]]
        axis.imshow(mean.take(index, axis=along).T, cmap="gray", origin="lower", extent=extent, vmin=0, vmax=1.2)
        if difference is not None:
            limit = max(float(np.abs(difference).max()), 1e-6)
            cut = np.ma.take(difference, index, axis=along).T
            shown = axis.imshow(cut, cmap="RdBu_r", origin="lower", extent=extent, vmin=-limit, vmax=limit, alpha=0.8)
        axis.set_title(f"{title}, {'xyz'[along]} = {affine[along, 3] + index * affine[along, along]:.0f} mm")
        axis.set(xlabel=f"{across} (mm)", ylabel=f"{up} (mm)")
    if shown is not None:
        figure.colorbar(shown, ax=axes, label="difference of intensity (white matter = 1)", shrink=0.8)
    return figure

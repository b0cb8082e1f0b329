"""What sources of volumes in the user's own folders share: chunks of volumes, tables beside them, and joining both."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metafusion.config.volumes import T1W, VOLUME, VolumeSource
from metafusion.errors import UserError
from metafusion.files import read_table, write_table
from metafusion.preprocess import atlas, mri
from metafusion.preprocess.tables import shortened
from metafusion.preprocess.volumes import BrokenVolumeError, on_grid, read_volume
from metafusion.samples import Assembled, no_exclusions
from metafusion.sources.features import FEATURES

log = logging.getLogger("metafusion")

EXCLUDED = "excluded.tsv"

LEAST_INSIDE = 0.6
"""Share of a map's values inside the template's brain below which it is warned of; a map of grey matter that lies 40 mm
off has so little."""


def preprocess_volumes(source: VolumeSource, chunk: str, folder: Path) -> None:
    """Preprocess the T1-weighted volumes of a chunk of subjects; see :func:`metafusion.preprocess.mri`."""
    scans = source.scans_of(T1W, chunk)
    mri.preprocess_volumes({scan.sample: scan.path for scan in scans}, source.preprocessing, folder)


def preprocess_maps(source: VolumeSource, name: str, chunk: str, folder: Path) -> None:
    """Write the regional means of a chunk of maps, such as probabilities of grey matter.

    Parameters
    ----------
    source : VolumeSource
    name : str
        Unit of the maps.
    chunk : str
    folder : path
        Gets ``features.parquet`` (``sample``, then ``mean_{region}`` for each region of the preprocessing) and
        ``excluded.tsv`` (``sample``, ``reason``, ``detail``).

    Raises
    ------
    UserError
        A map cannot be used, and ``preprocessing.on_broken`` is 'stop'.
    """
    settings = source.preprocessing
    place = atlas.regions(settings)
    rows, excluded = {}, []
    for scan in source.scans_of(name, chunk):
        try:
            rows[scan.sample], warnings = _regional_means(scan.path, place)
        except BrokenVolumeError as error:
            if settings.on_broken == "stop":
                raise
            log.warning("%s is left out: %s", scan.sample, error)
            excluded.append((scan.sample, error.reason, str(error)))
            continue
        for warning in warnings:
            log.warning("%s: %s: %s", scan.sample, scan.path, warning)
    values = np.reshape(list(rows.values()), (len(rows), len(place.names))).astype(np.float32)
    table = pd.DataFrame(values, columns=[f"mean_{region}" for region in place.names])
    table.insert(0, "sample", pd.Series(list(rows), dtype="str"))
    write_table(table, Path(folder) / FEATURES)
    write_table(pd.DataFrame(excluded, columns=["sample", "reason", "detail"], dtype="str"), Path(folder) / EXCLUDED)


def _regional_means(path: Path, place: atlas.Regions) -> tuple[np.ndarray, list[str]]:
    """Return a map's mean in each region, and what speaks against its place."""
    volume = read_volume(path)
    if not volume.has_origin:
        raise BrokenVolumeError(
            f"{path}: the header does not say where the map lies ({volume.space_warning}); expected a map in MNI space "
            "with sform or qform; write it anew as NIfTI with the program that made it, or exclude this one",
            "map has no origin",
        )
    data = on_grid(volume.image, place.affine, place.brain.shape)[place.brain]
    if not data.any():
        raise BrokenVolumeError(
            f"{path}: every voxel inside the MNI brain is 0; expected a map in MNI space; name the normalised maps, or "
            "exclude this one",
            "map does not lie in the MNI brain",
        )
    warnings = [volume.space_warning] if volume.space_warning else []
    everywhere = np.abs(volume.image.get_fdata(dtype=np.float32, caching="unchanged")).sum(dtype=float)
    everywhere *= abs(np.linalg.det(volume.image.affine[:3, :3]))
    inside = np.abs(data).sum(dtype=float) * abs(np.linalg.det(place.affine[:3, :3])) / everywhere
    if inside < LEAST_INSIDE:
        warnings.append(f"only {inside:.0%} of its values lie inside the template's brain: is it in MNI space?")
    return place.weights @ data / place.weights.sum(axis=1), warnings


def read_features(
    source: VolumeSource, preprocessed: Mapping[str, Sequence[Path]]
) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Read what was written for the chunks of volumes, maps and tables.

    Returns
    -------
    features : dict of str to DataFrame
        By modality.
    broken : dict of str to DataFrame
        Columns ``sample`` and ``reason``, by modality: volumes that could not be used.
    """
    features, broken = {}, {}
    for unit, folders in preprocessed.items():
        if unit in source.listings:
            made, excluded = mri.read_chunks(folders)
            for name, table in made.items():
                modality = unit if name == T1W else name
                features[modality], broken[modality] = table, excluded
        else:
            tables = [read_table(Path(folder) / FEATURES) for folder in folders]
            features[unit] = pd.concat(tables, ignore_index=True)
    return features, broken


def join(
    source: VolumeSource,
    rows: pd.DataFrame,
    visits: pd.DataFrame,
    features: Mapping[str, pd.DataFrame],
    broken: Mapping[str, pd.DataFrame],
    origin: str,
    not_asked_for: str,
) -> Assembled:
    """Join volumes and tables to samples, and say of everything found that is not used why.

    A sample is what a table, a volume or a map is of. It is in if it is asked for, has a row in the table, a label, all
    modalities that are required, and any at all.

    Parameters
    ----------
    source : VolumeSource
    rows : DataFrame
        One row a sample: ``sample``, ``target`` (missing where unknown), and who it is, in columns of any name.
    visits : DataFrame
        Everything found: ``sample``, ``subject``, ``session``; samples of volumes and maps may be among them or not.
    features : mapping of str to DataFrame
        For each modality ``sample`` and float32 columns.
    broken : mapping of str to DataFrame
        For modalities of volumes ``sample`` and ``reason``.
    origin : str
        File and column of the target.
    not_asked_for : str
        Reason of samples that the source does not keep.

    Returns
    -------
    Assembled
        Exclusions in the order in which samples fall out; then the modalities that samples lack. Samples that are in
        and rows without a modality are all that was found, each once.

    Raises
    ------
    UserError
        No volume belongs to a row of the table, or no sample has a label.
    """
    found = _all_found(source, visits)
    rows = rows.set_index("sample")
    if not rows.index.is_unique:
        raise ValueError(f"samples with more than one row: {shortened(list(rows.index[rows.index.duplicated()]))}")
    _refuse_strangers(source, rows)
    if rows["target"].isna().all():
        raise UserError(f"{origin}: no row has a value; expected one for each sample; name another column")
    full = {name: table.dropna(how="all", subset=table.columns[1:]) for name, table in features.items()}
    has = pd.DataFrame({name: found["sample"].isin(table["sample"]) for name, table in full.items()}, found.index)
    why = {name: _why_lacking(source, name, found["sample"], features, broken) for name in features}

    reason = pd.Series(None, found.index, dtype="object")
    falls = [
        (found["sample"].isin(source.kept(found.itertuples())), not_asked_for),
        (found["sample"].isin(rows.index), "no row in the table"),
        (found["sample"].isin(rows.index[rows["target"].notna()]), "no label"),
        *((has[name], why[name]) for name in source.require),
        (has.any(axis=1), _why_nothing(found["sample"], why, broken)),
    ]
    out = []
    for stays, because in falls:
        falling = reason.isna() & ~stays
        reason = reason.mask(falling, because)
        out.append(found.assign(modality="", reason=reason)[falling])
    runs = [
        (scan.sample, scan.subject, "", because)
        for listing in source.listings.values()
        for scan, because in listing.runs
    ]
    names = no_exclusions().columns
    lacking = [found.assign(modality=name, reason=why[name])[reason.isna() & ~has[name]] for name in features]
    listed = [pd.DataFrame(runs, columns=names), *(table[names] for table in (*out, *lacking))]
    exclusions = pd.concat(listed, ignore_index=True).astype("str")

    used = found[reason.isna()].reset_index(drop=True)
    described = rows.loc[used["sample"]].reset_index()
    samples = used[["sample", "subject"]].assign(target=used["sample"].map(rows["target"]))
    if (used["session"] != "").any():
        samples.insert(2, "session", used["session"])
    inside = {name: table[table["sample"].isin(used["sample"])].reset_index(drop=True) for name, table in full.items()}
    log.info("%d of %d samples found are in", len(used), len(found))
    return Assembled(samples, inside, exclusions, origin, described.drop(columns="target"))


def _all_found(source: VolumeSource, visits: pd.DataFrame) -> pd.DataFrame:
    """Return sample, subject and session of all that was found, each once."""
    scans = [
        (scan.sample, scan.subject, scan.session) for listing in source.listings.values() for scan in listing.samples
    ]
    names = ["sample", "subject", "session"]
    found = pd.concat([visits[names], pd.DataFrame(scans, columns=names, dtype="str")], ignore_index=True)
    return found.drop_duplicates("sample", ignore_index=True)


def _refuse_strangers(source: VolumeSource, rows: pd.DataFrame) -> None:
    """Raise UserError if no volume has a row in the table: the two then name people in different ways."""
    for unit, listing in source.listings.items():
        names = [scan.sample for scan in listing.scans]
        if not rows.index.isin(names).any():
            raise UserError(
                f"{unit}: none of the {len(names)} volumes in {source.folder} (such as {shortened(names)}) has a row "
                f"in {source.user_files[0]} (such as {shortened(list(rows.index))}); expected the same names in both; "
                "correct the table, or the names of the files"
            )


def _why_nothing(
    samples: pd.Series, why: Mapping[str, pd.Series], broken: Mapping[str, pd.DataFrame]
) -> str | pd.Series:
    """Return the reason for which a sample has no modality: why it lacks the only one, or why its volume is broken."""
    if len(why) == 1:
        return next(iter(why.values()))
    reasons = pd.Series("in no modality", samples.index, dtype="object")
    for name, table in broken.items():
        reasons = reasons.mask((reasons == "in no modality") & samples.isin(table["sample"]), why[name])
    return reasons


def _why_lacking(
    source: VolumeSource,
    modality: str,
    samples: pd.Series,
    features: Mapping[str, pd.DataFrame],
    broken: Mapping[str, pd.DataFrame],
) -> pd.Series:
    """Return the reason for which each sample lacks a modality, if it does."""
    if modality in broken:
        unit = T1W if modality == VOLUME else modality
        listing = source.listings[unit]
        lost = dict.fromkeys((scan.sample for scan in listing.lost), "volume is a link to nothing")
        lost |= dict.fromkeys((scan.sample for scan in listing.thrown), "volume left out by name")
        known = dict(zip(broken[modality]["sample"], broken[modality]["reason"], strict=True)) | lost
        none = "no T1w volume" if unit == T1W else "no map"
        return samples.map(lambda sample: known.get(sample, none))
    there = samples.isin(features[modality]["sample"])
    return there.map({True: "no value in the table", False: "no row in the modality's table"})

"""NACC: each MRI scan with the participant's closest visit on or before it.

The files are the user's, by an agreement with NACC, and are only read. One job reads each of the two tables once, joins
them and writes all modalities; nothing of that is fitted on samples.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from metafusion.config.nacc import GROUPS, LISTED, MORPHOMETRY, Nacc, reason_against
from metafusion.errors import UserError
from metafusion.files import read_table, write_table
from metafusion.preprocess.tables import column_names, read_user_table, require_column, shortened, typed_features
from metafusion.samples import Assembled, no_exclusions

log = logging.getLogger("metafusion")

SUBJECT, SITE, LABEL, NUMBER = "NACCID", "NACCADC", "NACCUDSD", "NACCVNUM"
YEAR, MONTH, DAY = "VISITYR", "VISITMO", "VISITDAY"
SCAN_DATE = "SCANDT"

LABELS = {1: "normal", 2: "impaired_not_mci", 3: "mci", 4: "dementia"}
SEXES = {1: "male", 2: "female"}
PEOPLE = {"age": "NACCAGE", "sex": "SEX", "education": "EDUC"}

NOT_AVAILABLE = ("-4", "-4.4")
"""Missing in every column of both tables: the question is not in this version of the form, or was not put."""

_WORDS = ("8", "9")
_COULD_NOT = ("95", "96", "97", "98")
_CODES = (
    (("99",), "NACCNIHR EDUC"),
    (("9",), "PRIMLANG"),
    (_WORDS, "HISPANIC MARISTAT NACCLIVS INDEPEND RESIDENC"),
    (_WORDS, "TOBAC30 TOBAC100 NACCTBI DEP2YRS DEPOTHR ANYMEDS PACKSPER CVHATT CVAFIB CVANGIO CVBYPASS CBTIA CVPACE"),
    (_WORDS, "CVCHF CVOTHR CBSTROKE SEIZURES NCOTHR DIABETES HYPERTEN HYPERCHO B12DEF THYROID INCONTU INCONTF ALCOHOL"),
    (_WORDS, "ABUSOTHR PSYCDIS NACCFADM NACCFFTD NACCFAM NACCMOM NACCDAD"),
    (("88", "99"), "SMOKYRS"),
    (("8888", "9999"), "NACCSTYR NACCTIYR"),
    (_WORDS, "NOGDS SATIS DROPACT EMPTY BORED SPIRITS AFRAID HAPPY HELPLESS STAYHOME MEMPROB WONDRFUL WRTHLESS ENERGY"),
    (_WORDS, "HOPELESS BETTER BILLS TAXES SHOPPING GAMES STOVE MEALPREP EVENTS PAYATTN REMDATES TRAVEL"),
    (("88",), "NACCGDS"),
    (_WORDS, "DELSEV HALLSEV AGITSEV DEPDSEV ANXSEV ELATSEV APASEV DISNSEV IRRSEV MOTSEV NITESEV APPSEV"),
    (_WORDS, "NACCNREX FOCLSYM FOCLSIGN DECSUB VISION VISCORR VISWCORR HEARING HEARAID HEARWAID"),
    (("88", "88.8", "99", "99.9"), "HEIGHT"),
    (("888", "999"), "WEIGHT BPSYS BPDIAS HRATE"),
    (("888", "888.8"), "NACCBMI"),
    (_COULD_NOT, "MMSEORDA MMSEORLO MEMUNITS DIGIF DIGIFLEN DIGIB DIGIBLEN ANIMALS VEG BOSTON"),
    (("88", *_COULD_NOT), "NACCMMSE"),
    (("995", "996", "997", "998"), "TRAILA TRAILB"),
)
SPECIAL_CODES = {column: codes for codes, columns in _CODES for column in columns.split()}
"""Codes that say why there is no value, by column, beside :data:`NOT_AVAILABLE`.

Columns that are not here have no other code. All codes lie outside the values that the column can have, so one that a
version of the form does not use does no harm.
"""

NO_SYMPTOM = 8
"""Code of the NPI's severities for a symptom that is not there."""

IDENTIFIERS = re.compile(r"NACCID|NACCADC|NACCVNUM|SCANDT|LONI.*|.*DESCRIPTION.*|FREESURFER.*VERSION.*", re.IGNORECASE)
"""Columns of the MRI table that say whose and which scan it is."""

_ISO = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})([T ].*)?")
_AMERICAN = re.compile(r"(?P<month>[0-9]{1,2})/(?P<day>[0-9]{1,2})/(?P<year>[0-9]{4})")

NO_DATE = "no date of the scan"
DUPLICATE = "duplicate scan"
NO_VISITS = "participant not in the table of visits"
NO_VISIT_IN_TIME = "no visit on or before the scan within the window"
NO_LABEL = "no diagnosis at the visit"
NOT_FIRST = "not the first usable scan of the participant"


def preprocess(source: Nacc, modality: str, chunk: str, acquired: Path | None, folder: Path) -> None:
    """Join scans and visits, and write all modalities.

    A visit of unknown day counts as on the last day of its month, so that it is surely not after the scan. Of visits of
    a participant on one date, the one with the highest NACCVNUM is taken, then the last in the file. Of scans of a
    participant on one date, the one with the fewest missing values is taken, then the first in the file.

    Parameters
    ----------
    source : Nacc
        The configuration.
    modality, chunk : str
        Always ``"nacc"`` and ``"all"``.
    acquired : None
        There is nothing acquired.
    folder : Path
        Gets ``samples.parquet`` and ``people.parquet``, ``features/{modality}.parquet``, ``exclusions.tsv``,
        ``columns.tsv`` (of all modalities), and ``matches.tsv``: which visit each sample has.

    Raises
    ------
    UserError
        A table cannot be read or lacks a column that is needed, a date or diagnosis is none, a modality has none of its
        columns, or no scan has a visit.
    """
    folder = Path(folder)
    scans, morphometry, words = _read_scans(source)
    visits = _read_visits(source)
    chosen, exclusions = _join(source, scans, morphometry.isna().sum(axis=1), visits)
    at_visit = visits.loc[chosen["visit"]].set_axis(chosen["sample"])

    accounts = []
    for name, content in source.modalities.items():
        if content == [MORPHOMETRY]:
            values = morphometry.loc[chosen.index].set_axis(chosen["sample"])
            features, account = typed_features(values, {}, {}, source.mri, source.missing_indicators)
            account = _with(account, "text", "inferred", words.loc[chosen.index].isna().sum())
        else:
            features, account = _features_of_visits(source, name, at_visit)
        full = features[features.notna().any(axis=1)]
        write_table(full.rename_axis("sample").reset_index(), folder / "features" / f"{name}.parquet")
        account.insert(0, "modality", name)
        accounts.append(account)
        lacking = chosen[~chosen["sample"].isin(full.index)]
        exclusions.append(_excluded(lacking, "no value in the modality", name))
        log.info("%s: %d samples, %d features", name, len(full), full.shape[1])

    write_table(pd.concat(accounts, ignore_index=True), folder / "columns.tsv")
    write_table(pd.concat([no_exclusions(), *exclusions], ignore_index=True), folder / "exclusions.tsv")
    write_table(_people(at_visit), folder / "people.parquet")
    write_table(chosen[["sample", "subject", "target"]], folder / "samples.parquet")
    matches = chosen[["sample", "subject", "scan_date", "visit_date", "days", "target"]]
    write_table(matches.assign(row_of_scan=chosen.index, row_of_visit=chosen["visit"]), folder / "matches.tsv")


def assemble(source: Nacc, acquired: Path | None, preprocessed: Mapping[str, Sequence[Path]]) -> Assembled:
    """Hand on what :func:`preprocess` joined.

    A sample is a scan, called by participant and date, such as ``NACC000001_2021-03-09``. The target is ``normal``,
    ``impaired_not_mci``, ``mci`` or ``dementia``. Exclusions have one row a scan that is out.
    """
    [folder] = preprocessed["nacc"]
    features = {name: read_table(Path(folder) / "features" / f"{name}.parquet") for name in source.modality_names}
    exclusions = read_table(Path(folder) / "exclusions.tsv").fillna("").astype("str")
    return Assembled(
        read_table(Path(folder) / "samples.parquet"),
        features,
        exclusions,
        f"{source.visits}: column {LABEL!r}",
        read_table(Path(folder) / "people.parquet"),
    )


# Reading


def _read_scans(source: Nacc) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return subject and date of every scan, the columns of numbers, and those of words."""
    path = source.mri
    header = dict.fromkeys(column_names(path))
    for name in (SUBJECT, SCAN_DATE):
        require_column(path, name, header, "the MRI table of NACC")
    wanted = [name for name in header if not IDENTIFIERS.fullmatch(name) and name not in source.drop]
    allowed = [name for name in wanted if not reason_against(name)]
    for name in sorted({*wanted} - {*allowed}):
        log.info("%s: %r %s and is no feature", path, name, reason_against(name))
    table = read_user_table(path, NOT_AVAILABLE, [SUBJECT, SCAN_DATE, *allowed], text=[SUBJECT, SCAN_DATE])
    words = [name for name in allowed if table[name].dtype == "str"]
    if words:
        log.info("%s: %d columns of words are no features: %s", path, len(words), shortened(words, most=20))
    numbers = table[[name for name in allowed if name not in words]]
    if numbers.empty:
        raise UserError(
            f"{path}: no column of numbers; expected the morphometry of the scans; look at 'mri' and 'drop'"
        )
    _refuse_unnamed(table[SUBJECT], path)
    scans = pd.DataFrame({"subject": table[SUBJECT], "scan_date": _scan_dates(table[SCAN_DATE], path)})
    return scans, numbers, table[words]


def _read_visits(source: Nacc) -> pd.DataFrame:
    """Return the visits: keys, the columns that modalities use, people; ``subject``, ``visit_date`` and ``target``."""
    path = source.visits
    header = dict.fromkeys(column_names(path))
    for name in (SUBJECT, YEAR, MONTH, DAY, LABEL):
        require_column(path, name, header, "the visits of NACC")
    for name in source.drop:
        require_column(path, name, header | LISTED | dict.fromkeys(column_names(source.mri)), "drop")
    wanted = {SUBJECT, YEAR, MONTH, DAY, LABEL, *PEOPLE.values()} | {SITE, NUMBER}
    for modality in source.modalities:
        for name in source.columns_of(modality):
            if name not in LISTED:
                require_column(path, name, header, f"modality {modality}")
            wanted.add(name)
    codes = dict(SPECIAL_CODES)
    if source.npi_without_symptom == "zero":
        codes |= {name: [code for code in codes[name] if code != str(NO_SYMPTOM)] for name in GROUPS["npi"]}
    codes |= source.missing_by_column
    text = [name for name in (SUBJECT, SITE) if name in header]
    table = read_user_table(path, NOT_AVAILABLE, [name for name in header if name in wanted], text, codes)
    _refuse_unnamed(table[SUBJECT], path)
    if source.npi_without_symptom == "zero":
        symptoms = [name for name in GROUPS["npi"] if name in table]
        table[symptoms] = table[symptoms].replace(NO_SYMPTOM, 0)
    return table.assign(subject=table[SUBJECT], visit_date=_visit_dates(table, path), target=_labels(table, path))


def _refuse_unnamed(subjects: pd.Series, path: Path) -> None:
    if subjects.isna().any():
        rows = shortened(list(subjects.index[subjects.isna()]))
        raise UserError(
            f"{path}: column {SUBJECT!r} has no value in row {rows}; expected the participant of every row; the "
            "file may be damaged: download it again"
        )


def _scan_dates(cells: pd.Series, path: Path) -> pd.Series:
    cells = cells.where(~cells.isin(NOT_AVAILABLE))
    parts = [cells.str.extract(f"^{form.pattern}$")[["year", "month", "day"]] for form in (_ISO, _AMERICAN)]
    found = parts[0].fillna(parts[1]).astype(float)
    dates = pd.to_datetime(found, errors="coerce")
    wrong = cells.notna() & dates.isna()
    if wrong.any():
        row = cells.index[wrong][0]
        raise UserError(
            f"{path}: column {SCAN_DATE!r}, row {row}: {cells[row]!r} is no date; expected year-month-day or "
            "month/day/year, such as 2021-03-09 or 3/9/2021; correct the cell, or leave it empty"
        )
    return dates


def _visit_dates(table: pd.DataFrame, path: Path) -> pd.Series:
    """Return the dates of visits; of those of unknown day the last day of the month, missing without a month."""
    for name in (YEAR, MONTH, DAY):
        if table[name].dtype == "str":
            row = table[name].first_valid_index()
            raise UserError(
                f"{path}: column {name!r}, row {row}: {table.loc[row, name]!r}; expected whole numbers, as NACC gives "
                "year, month and day of a visit"
            )
    year, month, day = (table[name].astype(float) for name in (YEAR, MONTH, DAY))
    dated = year.between(1900, 2100) & month.between(1, 12)
    first = pd.to_datetime({"year": year.where(dated), "month": month.where(dated), "day": 1}, errors="coerce")
    last = first + pd.offsets.MonthEnd(0)
    known = dated & (day >= 1) & (day <= last.dt.day)
    if not dated.all():
        log.info("%s: %d visits without year and month are not used", path, (~dated).sum())
    if (dated & ~known).any():
        log.info("%s: %d visits of unknown day count as on the last of the month", path, (dated & ~known).sum())
    return last.where(~known, first + pd.to_timedelta(day.where(known, 1) - 1, unit="D"))


def _labels(table: pd.DataFrame, path: Path) -> pd.Series:
    codes = table[LABEL]
    wrong = codes.notna() & ~codes.isin(list(LABELS))
    if wrong.any():
        row = codes.index[wrong][0]
        raise UserError(
            f"{path}: column {LABEL!r} (diagnosis), row {row}: found {codes[row]}; expected 1 to 4, or -4 where it is "
            "unknown"
        )
    return codes.map(LABELS).astype("str")


# The cohort


def _join(
    source: Nacc, scans: pd.DataFrame, gaps: pd.Series, visits: pd.DataFrame
) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Find the visit of every scan.

    Returns
    -------
    chosen : DataFrame
        Indexed by the scan's row: ``sample``, ``subject``, ``scan_date``, ``visit`` (its row), ``visit_date``, ``days``
        from visit to scan, and ``target``.
    exclusions : list of DataFrame
        Scans that are out, in the order in which they fall out.
    """
    out = []

    def leave_out(left: pd.DataFrame, gone: pd.Series, reason: str) -> pd.DataFrame:
        out.append(_excluded(left[gone], reason))
        return left[~gone]

    days = scans["scan_date"].dt.strftime("%Y-%m-%d")
    scans = scans.assign(sample=scans["subject"] + "_" + days.fillna("undated"), gaps=gaps)
    left = leave_out(scans, scans["scan_date"].isna(), NO_DATE)
    best_first = left.sort_values("gaps", kind="stable")
    left = leave_out(left, best_first.duplicated(["subject", "scan_date"]).reindex(left.index), DUPLICATE)
    left = leave_out(left, ~left["subject"].isin(visits["subject"]), NO_VISITS)

    dated = visits[visits["visit_date"].notna()]
    keys = ["visit_date", NUMBER] if NUMBER in dated else ["visit_date"]
    dated = dated.sort_values(keys, kind="stable", na_position="first").rename_axis("visit").reset_index()
    found = pd.merge_asof(
        left.rename_axis("scan").reset_index().sort_values("scan_date", kind="stable"),
        dated[["subject", "visit_date", "target", "visit"]],
        left_on="scan_date",
        right_on="visit_date",
        by="subject",
        tolerance=pd.Timedelta(days=source.window_days),
    )
    left = found.set_index("scan").loc[left.index]
    left = leave_out(left, left["visit_date"].isna(), NO_VISIT_IN_TIME)
    left = leave_out(left, left["target"].isna(), NO_LABEL)
    if source.scans == "first":
        in_time = left.sort_values("scan_date", kind="stable")
        left = leave_out(left, in_time.duplicated("subject").reindex(left.index), NOT_FIRST)

    without = len(set(visits["subject"]) - set(scans["subject"]))
    log.info("%d of %d scans are samples; %d participants of the visits have no scan", len(left), len(scans), without)
    if left.empty:
        reasons = "; ".join(f"{table['reason'].iloc[0]} ({len(table)})" for table in out if len(table))
        raise UserError(
            f"{source.mri}: none of the {len(scans)} scans is a sample: {reasons}; expected scans of participants of "
            f"{source.visits}; check that both tables are of one request, and 'window_days' ({source.window_days})"
        )
    elapsed = (left["scan_date"] - left["visit_date"]).dt.days
    return left.assign(days=elapsed, visit=left["visit"].astype("int64")).drop(columns="gaps"), out


def _excluded(scans: pd.DataFrame, reason: str, modality: str = "") -> pd.DataFrame:
    rows = scans[["sample", "subject"]].assign(modality=modality, reason=reason).astype("str")
    if reason in (NO_DATE, DUPLICATE):
        # The name of the scan that is in, or of another without a date, needs the row beside it.
        rows["sample"] += "_row" + scans.index.astype("str")
    return rows.reset_index(drop=True)


def _features_of_visits(source: Nacc, modality: str, at_visit: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return features of the visits, and the account of their columns, with those that this freeze does not have."""
    listed = source.columns_of(modality)
    there = [name for name in listed if name in at_visit]
    absent = [name for name in listed if name not in at_visit]
    if not there:
        raise UserError(
            f"{source.visits}: modality {modality}: none of its {len(listed)} columns is in the table; expected "
            f"{shortened(listed, most=10)}; the freeze may have other columns: name them in 'modalities', or remove "
            "the modality"
        )
    if absent:
        log.warning(
            "%s: modality %s: %d of %d columns are absent from this freeze: %s",
            source.visits,
            modality,
            len(absent),
            len(listed),
            ", ".join(absent),
        )
    types = {name: kind for name, kind in (LISTED | source.types).items() if name in there}
    features, account = typed_features(at_visit[there], types, {}, source.visits, source.missing_indicators)
    return features, _with(account, "absent", "listed", pd.Series(len(at_visit), index=absent))


def _with(account: pd.DataFrame, kind: str, origin: str, missing: pd.Series) -> pd.DataFrame:
    """Add columns that are no features to the account; ``missing`` is a number for each, by its name."""
    rows = [(name, kind, origin, 0, int(count), "") for name, count in missing.items()]
    return pd.concat([account, pd.DataFrame(rows, columns=account.columns)], ignore_index=True)


def _people(at_visit: pd.DataFrame) -> pd.DataFrame:
    """Return who the samples are, at the visit: age and education in years, sex, and the centre."""
    people = {name: at_visit[column] for name, column in PEOPLE.items() if column in at_visit}
    if "sex" in people:
        people["sex"] = people["sex"].map(SEXES).astype("str")
    if SITE in at_visit:
        people["site"] = at_visit[SITE].where(~at_visit[SITE].isin(NOT_AVAILABLE))
    return pd.DataFrame(people, index=at_visit.index).rename_axis("sample").reset_index()

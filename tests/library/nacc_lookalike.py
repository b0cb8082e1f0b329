"""Tables that look like NACC's: real names and codes, made-up people, and every trap that the real files hold."""

import random
from datetime import date, timedelta
from pathlib import Path

import pandas as pd


def _names(listed: str) -> list[str]:
    return listed.split()


PROFILE = _names("""
NACCNIHR PRIMLANG SEX HISPANIC MARISTAT NACCLIVS INDEPEND RESIDENC NACCAGE EDUC TOBAC30 TOBAC100 NACCTBI DEP2YRS
DEPOTHR ANYMEDS NACCAAAS NACCAANX NACCAC NACCACEI NACCADEP NACCAHTN NACCANGI NACCAPSY NACCBETA NACCCCBS NACCDBMD
NACCDIUR NACCEMD NACCEPMD NACCHTNC NACCLIPL NACCNSD NACCPDMD NACCVASD NACCAMD PACKSPER CVHATT CVAFIB CVANGIO CVBYPASS
CBTIA CVPACE CVCHF CVOTHR CBSTROKE SEIZURES NCOTHR DIABETES HYPERTEN HYPERCHO B12DEF THYROID INCONTU INCONTF ALCOHOL
ABUSOTHR PSYCDIS SMOKYRS NACCSTYR NACCTIYR NACCFADM NACCFFTD NACCFAM NACCMOM NACCDAD
""")
BEHAVIOUR = _names("""
NOGDS SATIS DROPACT EMPTY BORED SPIRITS AFRAID HAPPY HELPLESS STAYHOME MEMPROB WONDRFUL WRTHLESS ENERGY HOPELESS
BETTER NACCGDS BILLS TAXES SHOPPING GAMES STOVE MEALPREP EVENTS PAYATTN REMDATES TRAVEL DELSEV HALLSEV AGITSEV DEPDSEV
ANXSEV ELATSEV APASEV DISNSEV IRRSEV MOTSEV NITESEV APPSEV
""")
CLINICAL = _names("""
NACCNREX FOCLSYM FOCLSIGN DECSUB VISION VISCORR VISWCORR HEARING HEARAID HEARWAID HEIGHT WEIGHT BPSYS BPDIAS HRATE
NACCBMI MMSEORDA MMSEORLO NACCMMSE MEMUNITS DIGIF DIGIFLEN DIGIB DIGIBLEN ANIMALS VEG BOSTON TRAILA TRAILB
""")
USUAL = {
    "NACCAGE": 72, "EDUC": 16, "HEIGHT": 66, "WEIGHT": 160, "BPSYS": 130, "BPDIAS": 75, "HRATE": 65, "NACCBMI": 25.8,
    "NACCMMSE": 29, "TRAILA": 35, "TRAILB": 88, "ANIMALS": 19, "VEG": 14, "BOSTON": 27, "SMOKYRS": 88, "NACCSTYR": 8888,
    "NACCTIYR": 8888, "SEX": 2,
}  # fmt: skip
"""Cells of whoever has none of their own; all other columns hold 1."""
OTHERS = {"PACKET": "I", "FORMVER": 3, "CDRSUM": 0.5, "CDRGLOB": 0.5, "MEMORY": 0.5, "NACCALZD": 8, "MOCATOTS": 27}
"""Columns of the visits that no modality lists, with the label in disguise among them."""
MORPHOMETRY = ["CEREBRUMTCV", "LHIPPO", "RHIPPO", "LH_ENTORHINAL_CT", "RH_ENTORHINAL_CT", "ICV"]
VOLUMES = [1050.5, 3.4, 3.6, 2.9, 3.1, 1500]

VISITS = [
    # participant, year, month, day, NACCVNUM, NACCUDSD, other cells
    # 1: the closest visit by any side is after the scan.
    ("NACC000001", 2021, 4, 1, 2, 1, {}),
    ("NACC000001", 2020, 10, 1, 1, 4, {"NACCAGE": 81, "SEX": 1, "EDUC": 12}),
    ("NACC000002", 2019, 6, 15, 1, 3, {}),
    ("NACC000003", 2018, 2, 3, 1, 1, {}),
    # 4 and 5: at the edge of the window. 2020-06-25 is 540 days after 2019-01-02.
    ("NACC000004", 2019, 1, 2, 1, 1, {}),
    ("NACC000005", 2019, 1, 1, 1, 1, {}),
    # 7: without a scan.
    ("NACC000007", 2019, 1, 1, 1, 1, {}),
    # 8: two visits on one date, the later one first in the file. 9: two rows of one visit.
    ("NACC000008", 2020, 1, 20, 2, 3, {}),
    ("NACC000008", 2020, 1, 20, 1, 1, {}),
    ("NACC000009", 2020, 1, 20, 1, 1, {}),
    ("NACC000009", 2020, 1, 20, 1, 4, {}),
    # 10: a visit in the month of the scan may be after it. 11: one in the month before cannot. 2020 is a leap year.
    ("NACC000010", 2020, 5, -4, 2, 4, {}),
    ("NACC000010", 2019, 11, 3, 1, 2, {}),
    ("NACC000011", 2020, 2, 99, 1, 1, {}),
    ("NACC000012", 2020, 3, 1, 2, -4, {}),
    ("NACC000012", 2019, 12, 1, 1, 1, {}),
    ("NACC000013", 2019, 9, 9, 1, 1, {}),
    ("NACC000014", 2018, 1, 10, 1, 2, {}),
    ("NACC000014", 2021, 1, 10, 2, 3, {}),
    # 15: numbers of visits do not follow their dates.
    ("NACC000015", 2020, 7, 7, 1, 4, {}),
    ("NACC000015", 2019, 7, 7, 2, 3, {}),
    ("NACC000016", -4, -4, 3, 1, 1, {}),
    # 17: special codes; 18: nothing but -4.
    ("NACC000017", 2020, 8, 8, 1, 2, {"EDUC": 99, "SMOKYRS": 99, "TRAILA": 995, "TRAILB": 998, "NACCMMSE": 88,
     "ANIMALS": 97, "VEG": 88, "DELSEV": 8, "HALLSEV": 9, "AGITSEV": 3, "BILLS": 8, "TAXES": 9, "PRIMLANG": 8,
     "HISPANIC": 9, "HEIGHT": 88.8, "WEIGHT": 888, "NACCBMI": 888.8, "BPSYS": 88, "NACCGDS": 88, "NACCAMD": 9,
     "CVHATT": 9, "NACCSTYR": 2015, "NACCTIYR": 9999, "SEX": 1, "NACCAGE": 88, "ALCOHOL": -4, "NACCNIHR": 99}),
    ("NACC000018", 2020, 8, 8, 1, 2, dict.fromkeys(CLINICAL, -4)),
]  # fmt: skip

SCANS = [
    # participant, date, other cells
    ("NACC000014", "2022-02-01", {}),
    ("NACC000001", "2021-03-09", {"LHIPPO": 2.1}),
    ("NACC000002", "2019-06-15", {"LHIPPO": -4, "RHIPPO": ""}),
    ("NACC000002", "2019-06-15", {"LHIPPO": 3.3, "RHIPPO": ""}),
    ("NACC000002", "2019-06-15", {"LHIPPO": 9.9, "RHIPPO": ""}),
    ("NACC000003", "2018-02-02", {}),
    ("NACC000004", "2020-06-25", {}),
    ("NACC000005", "2020-06-25", {}),
    ("NACC000006", "2020-06-25", {}),
    ("NACC000008", "2020-02-01", {}),
    ("NACC000009", "2020-02-01", {}),
    ("NACC000010", "2020-05-20", {}),
    ("NACC000011", "2020-03-01", {}),
    ("NACC000012", "2020-03-05", {}),
    ("NACC000013", "", {}),
    ("NACC000013", "", {}),
    ("NACC000014", "2017-12-31", {}),
    ("NACC000014", "2021-03-01", {}),
    ("NACC000015", "2020-08-01", {}),
    ("NACC000016", "2020-08-01", {}),
    ("NACC000017", "2020-09-01", {}),
    ("NACC000018", "2020-09-01", dict.fromkeys(MORPHOMETRY, "")),
]

SAMPLES = {
    # what must come out, made by hand: the visit's date, days to the scan, the diagnosis
    "NACC000001_2021-03-09": ("2020-10-01", 159, "dementia"),
    "NACC000002_2019-06-15": ("2019-06-15", 0, "mci"),
    "NACC000004_2020-06-25": ("2019-01-02", 540, "normal"),
    "NACC000008_2020-02-01": ("2020-01-20", 12, "mci"),
    "NACC000009_2020-02-01": ("2020-01-20", 12, "dementia"),
    "NACC000010_2020-05-20": ("2019-11-03", 199, "impaired_not_mci"),
    "NACC000011_2020-03-01": ("2020-02-29", 1, "normal"),
    "NACC000014_2021-03-01": ("2021-01-10", 50, "mci"),
    "NACC000014_2022-02-01": ("2021-01-10", 387, "mci"),
    "NACC000015_2020-08-01": ("2020-07-07", 25, "dementia"),
    "NACC000017_2020-09-01": ("2020-08-08", 24, "impaired_not_mci"),
    "NACC000018_2020-09-01": ("2020-08-08", 24, "impaired_not_mci"),
}
OUT = [
    # and what falls out, in order; rows count from the header, row 1
    ("NACC000013_undated_row16", "NACC000013", "", "no date of the scan"),
    ("NACC000013_undated_row17", "NACC000013", "", "no date of the scan"),
    ("NACC000002_2019-06-15_row4", "NACC000002", "", "duplicate scan"),
    ("NACC000002_2019-06-15_row6", "NACC000002", "", "duplicate scan"),
    ("NACC000006_2020-06-25", "NACC000006", "", "participant not in the table of visits"),
    ("NACC000003_2018-02-02", "NACC000003", "", "no visit on or before the scan within the window"),
    ("NACC000005_2020-06-25", "NACC000005", "", "no visit on or before the scan within the window"),
    ("NACC000014_2017-12-31", "NACC000014", "", "no visit on or before the scan within the window"),
    ("NACC000016_2020-08-01", "NACC000016", "", "no visit on or before the scan within the window"),
    ("NACC000012_2020-03-05", "NACC000012", "", "no diagnosis at the visit"),
    ("NACC000018_2020-09-01", "NACC000018", "clinical_evaluation", "no value in the modality"),
    ("NACC000018_2020-09-01", "NACC000018", "mri", "no value in the modality"),
]


def visits(rows: list = VISITS) -> pd.DataFrame:
    """Return visits as NACC has them: the columns of all forms, in an order that means nothing."""
    table = []
    for participant, year, month, day, number, diagnosis, cells in rows:
        keys = {"NACCID": participant, "NACCADC": 186, "VISITMO": month, "VISITDAY": day, "VISITYR": year}
        keys |= {"NACCVNUM": number, "NACCUDSD": diagnosis}
        usual = dict.fromkeys([*PROFILE, *BEHAVIOUR, *CLINICAL], 1) | USUAL | OTHERS
        table.append(keys | usual | cells)
    frame = pd.DataFrame(table)
    # Sorted by name, as no reader may count on an order.
    return frame[sorted(frame)]


def scans(rows: list = SCANS) -> pd.DataFrame:
    """Return the table of MRI morphometry, with its columns of text and identifiers."""
    table = []
    for number, (participant, day, cells) in enumerate(rows):
        keys = {"NACCADC": 186, "NACCID": participant, "SCANDT": day, "LONIUID_T1": f"I{number}"}
        keys |= {"LONIUID_FLAIR": f"I9{number}", "SERIESDESCRIPTION_T1": "MPRAGE, GRAPPA2"}
        keys |= {"SERIESDESCRIPTION_FLAIR": "Sagittal 3D FLAIR", "FREESURFER_VERSION": 7.2}
        table.append(keys | dict(zip(MORPHOMETRY, VOLUMES, strict=True)) | cells)
    return pd.DataFrame(table)


def write(folder: Path, visit_table: pd.DataFrame | None = None, scan_table: pd.DataFrame | None = None) -> dict:
    """Write both tables, and return the settings of a source."""
    paths = {"visits": folder / "investigator_nacc72.csv", "mri": folder / "investigator_scan_mrisbm_nacc71.csv"}
    (visits() if visit_table is None else visit_table).to_csv(paths["visits"], index=False, encoding="utf-8-sig")
    (scans() if scan_table is None else scan_table).to_csv(paths["mri"], index=False)
    return {"kind": "nacc", **paths}


def crowd(people: int, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return visits and scans of made-up people of all diagnoses, to train on: sicker people score lower."""
    draw = random.Random(seed)
    visit_rows, scan_rows = [], []
    for number in range(people):
        name, diagnosis = f"NACC{100000 + number}", 1 + number % 4
        seen = date(2018, 1, 1) + timedelta(days=draw.randrange(1000))
        cells = {column: draw.randrange(3) for column in [*PROFILE, *BEHAVIOUR]}
        cells |= {
            "NACCMMSE": 30 - 4 * diagnosis + draw.randrange(6),
            "TRAILB": 50 + 40 * diagnosis + draw.randrange(60),
        }
        cells |= {"NACCAGE": 60 + draw.randrange(30), "EDUC": 8 + draw.randrange(12), "SEX": 1 + draw.randrange(2)}
        cells |= {"HISPANIC": draw.choice([0, 1, 9]), "NACCADC": draw.choice([186, 289, 4967])}
        cells |= {column: draw.choice([20, 25, 30, -4]) for column in ("ANIMALS", "VEG", "BOSTON")}
        visit_rows.append((name, seen.year, seen.month, seen.day, 1, diagnosis, cells))
        volumes = {column: draw.gauss(usual, usual / 20) for column, usual in zip(MORPHOMETRY, VOLUMES, strict=True)}
        volumes["LHIPPO"] -= 0.3 * diagnosis
        scan_rows.append((name, (seen + timedelta(days=draw.randrange(400))).isoformat(), volumes))
    return visits(visit_rows), scans(scan_rows)

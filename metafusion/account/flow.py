"""From the samples found to the samples used, reason by reason; and who has which modality."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

COLUMNS = ["modality", "step", "reason", "samples_lost", "subjects_lost", "samples_left", "subjects_left"]
FOUND = "found"
UNKNOWN = "not given"


def flow_table(samples: pd.DataFrame, exclusions: pd.DataFrame, having: Mapping[str, Collection[str]]) -> pd.DataFrame:
    """Count who falls out, step after step.

    Parameters
    ----------
    samples : DataFrame
        ``sample`` and ``subject`` of those that are used.
    exclusions : DataFrame
        ``sample``, ``subject``, ``modality``, ``reason``; an empty (or missing) modality says that the sample is out.
        Steps are its reasons in the order of their first appearance.
    having : dict of str to collection of str
        The samples that have each modality used.

    Returns
    -------
    DataFrame
        :data:`COLUMNS`. Rows with an empty ``modality`` lead from all samples found to those used. Those of a modality
        begin with the samples used, and lead to those that have it. Step 0 loses nobody. A subject is lost with the
        last of its samples. Samples found are those used and the rows of exclusions with an empty modality.
    """
    exclusions = exclusions.fillna({"modality": ""})
    # Whoever could not be told apart from others counts as a subject of its own.
    exclusions["subject"] = exclusions["subject"].fillna(exclusions["sample"])
    used = samples[["sample", "subject"]].astype("object")
    out = exclusions.loc[exclusions["modality"] == "", ["sample", "subject", "reason"]]
    parts = [_steps("", FOUND, pd.concat([out, used.assign(reason=None)], ignore_index=True))]
    for modality, those in having.items():
        why = exclusions[exclusions["modality"] == modality].drop_duplicates("sample").set_index("sample")["reason"]
        given = used["sample"].map(why.astype("object")).astype("object")
        reasons = given.where(given.notna(), UNKNOWN).where(~used["sample"].isin(set(those)), None)
        # The order of the exclusions, not of the samples; what nobody gave a reason for comes last.
        order = [*why.unique(), UNKNOWN]
        parts.append(_steps(modality, "used", used.assign(reason=reasons), order))
    return pd.concat(parts, ignore_index=True)


def _steps(modality: str, first: str, found: pd.DataFrame, order: Collection[str] = ()) -> pd.DataFrame:
    """Count the steps of rows whose ``reason`` is None where they stay."""
    fallen = found["reason"].dropna()
    reasons = [reason for reason in dict.fromkeys([*order, *fallen]) if (fallen == reason).any()]
    step = found["reason"].map({reason: number for number, reason in enumerate(reasons, start=1)})
    last = len(reasons) + 1
    step = step.fillna(last).astype(int)
    steps = range(1, last)
    samples = np.array([0, *((step == number).sum() for number in steps)])
    leave = step.groupby(found["subject"]).max()
    subjects = np.array([0, *((leave == number).sum() for number in steps)])
    return pd.DataFrame(
        {
            "modality": modality,
            "step": range(last),
            "reason": [first, *reasons],
            "samples_lost": samples,
            "subjects_lost": subjects,
            "samples_left": len(found) - samples.cumsum(),
            "subjects_left": len(leave) - subjects.cumsum(),
        },
        columns=COLUMNS,
    )

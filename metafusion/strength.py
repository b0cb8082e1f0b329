"""The generated parts of ``docs/strength.md``: tables of the comparisons, and whether what was promised holds.

``python -m metafusion.strength [results] [docs/strength.md] [part ...]``, in the folder of the Snakefile, after
``config/strength_study.yaml`` has run, writes them anew between their marks; all, or those that are named, where
the study has not run as a whole.
"""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from metafusion.benchmark import ALONE, COMPARATORS, ONE_MODALITY, standing
from metafusion.comparisons import META, markdown
from metafusion.errors import UserError
from metafusion.files import read_table
from metafusion.pages import from_command_line, rewrite, tables_of

SETS = "strength"
"""The comparison of kind ``sets`` that the promises are about."""
PROMISES = "promises"
"""The part that is made of them; every other part is called as a comparison is."""
MEASURE = "accuracy"
SIMULATED, PURE_NOISE, ONE_NOISE = "(simulated)", "pure_noise (simulated)", "one_noise (simulated)"
"""How the study calls its simulated sets."""
ALZHEIMERS = {"accuracy": 0.865, "roc_auc": 0.885}
"""What is promised of ``alzheimers_csf``."""
MOST_MISCALIBRATED, MOST_LOST = 0.05, 0.01
FEWEST_SEEDS = 10


def promises(table: pd.DataFrame) -> pd.DataFrame:
    """Hold the results on the benchmark sets against what is promised of the protocol.

    Parameters
    ----------
    table : DataFrame
        See :func:`metafusion.benchmark.sets_table`.

    Returns
    -------
    DataFrame
        ``promise``, ``found``, ``holds`` (yes or no).
    """
    main = table[table["metric"] == MEASURE]
    rivals = main[main["rival"] == "best"]
    stands = {row.experiment: standing(row.lead, row.lead_se) for row in rivals.itertuples()}
    below = [name for name, one in stands.items() if one == "below"]
    several = [name for name in stands if name not in (PURE_NOISE, ONE_NOISE)]
    above = [name for name in several if stands[name] == "above"]
    fewest = int(main["seeds"].min())
    rows = [
        ("ten splits or more of every set", f"{fewest} of the method with fewest", fewest >= FEWEST_SEEDS),
        (
            "on no set more than one standard error of the paired difference below the best comparator",
            f"below on {_named(below)}",
            not below,
        ),
        (
            "more than two above it on a third of the sets with several informative modalities",
            f"above on {len(above)} of {len(several)} ({_named(above)})",
            3 * len(above) >= len(several),
        ),
    ]
    for metric, least in ALZHEIMERS.items():
        for row in _rows(table, "alzheimers_csf", metric, META):
            rows.append((f"alzheimers_csf: {metric} at least {least}", f"{row.mean:.4f}", row.mean >= least))
    for row in _rows(table, PURE_NOISE, MEASURE, "prior"):
        near = abs(row.lead) <= 2 * row.lead_se
        rows.append(
            ("pure noise: chance", f"{row.lead:+.4f} against the prior (standard error {row.lead_se:.4f})", near)
        )
    real = table[(table["metric"] == "ece") & (table["method"] == META)]
    real = real[~real["experiment"].str.contains(SIMULATED, regex=False)]
    for row in real.itertuples():
        promise = f"{row.experiment}: expected calibration error below {MOST_MISCALIBRATED}"
        rows.append((promise, f"{row.mean:.4f}", row.mean < MOST_MISCALIBRATED))
    noise = main[(main["experiment"] == ONE_NOISE) & main["family"].isin(COMPARATORS)]
    # Best first, as the table is.
    for row in noise[noise["method"].str.match(ONE_MODALITY)].head(1).itertuples():
        promise = f"one modality is noise: not more than {MOST_LOST} below the best of the other one alone"
        rows.append((promise, f"{row.lead:+.4f} against `{row.method}`", row.lead >= -MOST_LOST))
    found = pd.DataFrame(rows, columns=["promise", "found", "holds"])
    return found.assign(holds=["yes" if holds else "**no**" for holds in found["holds"]])


def _named(sets: list[str]) -> str:
    return ", ".join(sets) or "none"


def _rows(table: pd.DataFrame, experiment: str, metric: str, method: str) -> list:
    wanted = (table["experiment"] == experiment) & (table["metric"] == metric) & (table["method"] == method)
    return list(table[wanted].itertuples())


def taught(table: pd.DataFrame) -> str:
    """Say in one sentence on how many sets mutual learning made a difference."""
    alone = table[(table["metric"] == MEASURE) & (table["method"] == ALONE)]
    stands = [standing(row.lead, row.lead_se) for row in alone.itertuples()]
    return (
        f"Mutual learning changed the {MEASURE} of Meta Fusion by {alone['lead'].mean():+.4f} on average over "
        f"{len(alone)} sets; by more than two standard errors for the better on {stands.count('above')}, by more than "
        f"one for the worse on {stands.count('below')}."
    )


def main(results: Path, document: Path, names: Collection[str] = ()) -> None:
    """Fill the document, or the parts that are named, from the results."""
    parts = tables_of(results)
    if not names or PROMISES in names:
        place = results / "comparisons" / SETS / "table.tsv"
        if not place.is_file():
            raise UserError(
                f"{place}: no such file; run snakemake --cores 2 --configfile config/strength_study.yaml first"
            )
        table = read_table(place)
        parts[PROMISES] = f"{markdown(promises(table))}\n\n{taught(table)}"
    rewrite(document, parts, names)


if __name__ == "__main__":
    from_command_line(main, "docs/strength.md")

"""The generated parts of ``docs/reproduction.md``: tables of the comparisons, and the authors' errors beside ours.

``python -m metafusion.reproduction [results] [docs/reproduction.md] [part ...]``, in the folder of the Snakefile,
writes them anew between their marks, ``<!-- begin: name -->`` and ``<!-- end: name -->``; all, or those that are named.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from metafusion.errors import UserError
from metafusion.files import read_table
from metafusion.pages import from_command_line, parts_of, rewrite, tables_of

AUTHORS = "authors"
"""The part that is made of the authors' errors; every other part is called as a comparison is."""
REPEATED = ("simulation_1_1", "simulation_1_2")
"""The experiments that ``config/authors_check.yaml`` trains several times."""


def against_authors(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Compare the errors of the authors' code with those of our trainings on the same data.

    Their mean over the seeds is one training; ours are several, with other initial weights and mini-batches. If both
    programs do the same, theirs lies within the prediction interval for one more training in 95 of 100 cases.

    Parameters
    ----------
    ours : DataFrame
        ``experiment``, ``repetition``, ``method``, ``seed``, ``value``; two repetitions or more.
    theirs : DataFrame
        ``experiment``, ``seed``, ``method``, ``mse``.

    Returns
    -------
    DataFrame
        ``experiment``, ``method``, ``seeds``, ``authors``, ``mean``, ``sd`` (over trainings, of the mean over seeds),
        ``low``, ``high`` (prediction interval of Student's t), ``trainings``, ``within``. Only methods and seeds in
        common, and methods trained twice or more, by experiment and in the order of ``theirs``.
    """
    keys = ["experiment", "method"]
    joined = ours.merge(theirs, on=[*keys, "seed"])
    trained = joined.groupby([*keys, "repetition"])[["value", "mse"]].mean()
    table = trained["value"].groupby(keys).agg(["mean", "std", "count"]).rename(columns={"std": "sd"})
    table["authors"] = trained["mse"].groupby(keys).first()
    table["seeds"] = joined.groupby(keys)["seed"].nunique()
    table = table[table["count"] > 1]
    count = table.pop("count")
    reach = stats.t.ppf(0.975, count - 1) * table["sd"] * np.sqrt(1 + 1 / count)
    table = table.assign(low=table["mean"] - reach, high=table["mean"] + reach, trainings=count)
    table["within"] = table["authors"].between(table["low"], table["high"])
    order = theirs[keys].drop_duplicates().sort_values("experiment", kind="stable").merge(table.reset_index(), on=keys)
    return order[[*keys, "seeds", "authors", "mean", "sd", "low", "high", "trainings", "within"]]


def read_trainings(results: Path, experiment: str) -> pd.DataFrame:
    """Read the test errors of the repetitions of ``experiment@as_published``.

    Returns
    -------
    DataFrame
        ``experiment``, ``repetition``, ``method``, ``seed``, ``value``.

    Raises
    ------
    UserError
        Fewer than two were run.
    """
    found = results.glob(f"{experiment}@as_published+repetition_*")
    folders = {int(folder.name.rpartition("_")[2]): folder for folder in found}
    if len(folders) < 2:
        raise UserError(
            f"{results}: fewer than two repetitions of {experiment}@as_published; run "
            "snakemake --cores 2 --configfile config/authors_check.yaml"
        )
    tables = []
    for repetition, folder in sorted(folders.items()):
        scores = read_table(folder / "tables" / "scores.tsv")
        wanted = scores[(scores["part"] == "test") & (scores["metric"] == "mse")]
        tables.append(wanted.assign(experiment=experiment, repetition=repetition))
    joined = pd.concat(tables, ignore_index=True)
    return joined[["experiment", "repetition", "method", "seed", "value"]]


def as_markdown(table: pd.DataFrame) -> str:
    """Return the comparison with the authors as a GitHub table."""
    rows = [
        "| setting | method | seeds | authors' code | ours | interval for one more training | within |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table.itertuples():
        setting = row.experiment.removeprefix("simulation_").replace("_", ".")
        cells = [setting, f"`{row.method}`", str(row.seeds), f"{row.authors:.4g}", f"{row.mean:.4g} ({row.sd:.2g})"]
        cells += [f"{row.low:.4g} to {row.high:.4g}", "yes" if row.within else "**no**"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def main(results: Path, document: Path, names: Collection[str] = ()) -> None:
    """Fill the document, or the parts that are named, from the results."""
    parts = tables_of(results)
    if AUTHORS in (names or parts_of(document)):
        theirs = read_table(document.with_name("authors.tsv"))
        ours = [read_trainings(results, experiment) for experiment in REPEATED]
        parts[AUTHORS] = as_markdown(against_authors(pd.concat(ours, ignore_index=True), theirs))
    rewrite(document, parts, names)


if __name__ == "__main__":
    from_command_line(main, "docs/reproduction.md")

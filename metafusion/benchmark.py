"""The same methods on several sets, against Meta Fusion; and by the number of samples that they learn from."""

import re

import pandas as pd

from metafusion.comparisons import META, TABLES, in_order, markdown, markdown_heading, with_error, with_interval
from metafusion.errors import UserError
from metafusion.figures import Words, over_seeds
from metafusion.methods import HIGHER_IS_BETTER, INDEPENDENT
from metafusion.statistics import paired_differences, ranking, values_by_seed
from metafusion.summary import summarise

ALONE = f"{INDEPENDENT}{META}"
"""The same ensemble of students that learnt from nobody."""
COMPARATORS = ("network", "linear", "trees", "cooperative", "tuned")
"""Families that Meta Fusion has to beat."""
ONE_MODALITY = re.compile(r"modality_|(tuned_)?(logistic|ridge)_regression_")
"""How methods that see one modality only are called."""
BEST, BEST_OF_ONE = "best comparator", "best of one modality"
RIVALS = (BEST, "super_learner", "early_fusion", ALONE)
"""Methods over which a figure shows Meta Fusion's lead."""


def sets_table(scores: dict[str, pd.DataFrame], metrics: list[str], shared: dict[str, float | None]) -> pd.DataFrame:
    """Methods by set, each against Meta Fusion, paired by seed; and their ranks over the sets.

    Parameters
    ----------
    scores : dict of str to DataFrame
        Of each set: ``method``, ``family``, ``seed``, ``part``, ``metric``, ``value``.
    metrics : list of str
        A set may lack some of them.
    shared : dict of str to float or None
        Of each set, see :func:`metafusion.statistics.paired_differences`.

    Returns
    -------
    DataFrame
        ``experiment`` (the set), ``metric``, ``method`` (no ensemble but Meta Fusion), ``family``, ``mean``, ``se``,
        ``seeds``, ``mark`` (see :func:`metafusion.summary.summarise`), ``rival`` (``best`` for the comparator with the
        best mean of the set, else empty).

        Of Meta Fusion's lead over the method, positive where Meta Fusion is better: ``lead``, ``lead_se`` (standard
        error of the paired differences, which takes seeds for independent), ``low``, ``high``, ``p``, ``p_corrected``
        (over the methods of this set), see :func:`metafusion.statistics.paired_differences`; missing for Meta Fusion.

        ``mean_rank`` over the sets, by their means, among the methods that all sets have, and ``friedman_p``: missing
        for others, and for references.
    """
    tables = []
    for metric in metrics:
        of_metric = {}
        for name, table in scores.items():
            here = _compared(table[table["metric"] == metric])
            if len(here):
                of_metric[name] = _against_meta_fusion(here, metric, shared[name])
        joined = pd.concat([table.assign(experiment=name) for name, table in of_metric.items()], ignore_index=True)
        ranks, p, _ = ranking(means_by_set(joined, metric), HIGHER_IS_BETTER[metric])
        joined["mean_rank"] = joined["method"].map(ranks)
        tables.append(joined.assign(friedman_p=joined["mean_rank"].where(joined["mean_rank"].isna(), p)))
    merged = pd.concat(tables, ignore_index=True)
    first = ["experiment", "metric", "method", "family", "mean", "se", "seeds", "mark", "rival"]
    return merged[[*first, "lead", "lead_se", "low", "high", "p", "p_corrected", "mean_rank", "friedman_p"]]


def _compared(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the methods that a set is told of: of the ensembles Meta Fusion and the same without teachers."""
    ensembles = scores["family"].isin(TABLES["ensembles"])
    return scores[(scores["family"].isin(TABLES["methods"]) & ~ensembles) | scores["method"].isin([META, ALONE])]


def _against_meta_fusion(scores: pd.DataFrame, metric: str, shared: float | None) -> pd.DataFrame:
    table = summarise(scores, [metric], shared).drop(columns=["low", "high"])
    values, higher = values_by_seed(scores, metric), HIGHER_IS_BETTER[metric]
    found = paired_differences(values, META, higher, shared)
    sign = 1 if higher else -1
    gaps = values.drop(columns=META).sub(values[META], axis=0)
    # Meta Fusion - method, in place of method - Meta Fusion: the ends of an interval change places.
    low, high = ("high", "low") if higher else ("low", "high")
    leads = pd.DataFrame(
        {
            "method": found["method"],
            "lead": 0.0 - sign * found["difference"],
            "lead_se": found["method"].map(gaps.sem()),
            "low": 0.0 - sign * found[low],
            "high": 0.0 - sign * found[high],
            "p": found["p"],
            "p_corrected": found["p_corrected"],
        }
    )
    table = table.merge(leads, on="method", how="left")
    # As with marks, a method without a value in some seeds has its mean over the others, which may be the easy ones.
    fair = table["family"].isin(COMPARATORS) & (table["seeds"] == table["seeds"].max())
    best = table[fair].head(1).index
    return table.assign(rival=["best" if place in best else "" for place in table.index])


def means_by_set(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the means of the methods that all sets have, references aside, shape (sets, methods)."""
    here = table[(table["metric"] == metric) & (table["family"] != "reference")]
    return here.pivot(index="experiment", columns="method", values="mean").dropna(axis=1)


def leads_table(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return Meta Fusion's lead by set over :data:`RIVALS`, as :func:`metafusion.comparison_figures.ablation` has it.

    Parameters
    ----------
    table : DataFrame
        See :func:`sets_table`.
    metric : str
    """
    here = table[table["metric"] == metric]
    best = here[here["rival"] == "best"].assign(method=BEST)
    both = pd.concat([best, here[here["method"].isin(RIVALS)]])
    parts = [both[both["method"] == rival] for rival in RIVALS]
    return pd.concat(parts, ignore_index=True).rename(
        columns={"rival": "which", "method": "rival", "experiment": "variant"}
    )


def standing(lead: float, error: float) -> str:
    """Say where a lead stands: more than one standard error below 0, more than two above, or between.

    Examples
    --------
    >>> standing(-0.011, 0.01), standing(-0.01, 0.01), standing(0.021, 0.01)
    ('below', 'level', 'above')
    """
    return "below" if lead < -error else "above" if lead > 2 * error else "level"


def sets_markdown(table: pd.DataFrame, words: Words) -> str:
    """Write :func:`sets_table` for GitHub, for the main measure: methods by set, and what Meta Fusion is ahead by."""
    here = table[table["metric"] == words.metric]
    sets = list(dict.fromkeys(here["experiment"]))
    common = list(means_by_set(table, words.metric).columns)
    common += [name for name in ("prior",) if (here["method"] == name).sum() == len(sets)]
    text = (
        f"Mean over {over_seeds(here['seeds'])} seeds (standard error) by set; bold: within one standard error of the "
        f"best of the set. '{BEST_OF_ONE}' is the best method that sees a single modality, '{BEST}' the best of all "
        "but the ensembles of students, by their means; both are chosen by these same test parts, which flatters them."
    )
    rows = []
    for name in sets:
        one = here[here["experiment"] == name].set_index("method")
        single = [method for method in one.index if ONE_MODALITY.match(method)]
        cells = {"set": name}
        for method in in_order(pd.Series(common)):
            cells[f"`{method}`"] = _cell(one.loc[method])
        # Best first, as the table is.
        cells[BEST_OF_ONE] = f"{_cell(one.loc[single[0]])} `{single[0]}`" if single else "–"
        rows.append(cells)
    parts = [markdown_heading(words, text), markdown(pd.DataFrame(rows))]
    parts += ["Meta Fusion against the best comparator:", markdown(_against(here[here["rival"] == "best"], sets))]
    alone = here[here["method"] == ALONE]
    if len(alone):
        parts += [
            "What mutual learning added: the same ensemble of students at the chosen penalty less that at penalty 0:",
            markdown(_against(alone, sets).drop(columns=["comparator", "Meta Fusion is"])),
        ]
    return "\n\n".join(parts) + "\n"


def _cell(row: pd.Series) -> str:
    return with_error(row["mean"], row["se"], bold=row["mark"] in ("best", "within_se"))


def _against(rows: pd.DataFrame, sets: list[str]) -> pd.DataFrame:
    rows = rows.set_index("experiment").reindex([name for name in sets if name in set(rows["experiment"])])
    return pd.DataFrame(
        {
            "set": rows.index,
            "comparator": [f"`{method}`" for method in rows["method"]],
            "lead (95 % interval)": [
                with_interval(row.lead, row.low, row.high, row.p_corrected < 0.05) for row in rows.itertuples()
            ],
            "standard error of the lead": [f"{error:.2g}" for error in rows["lead_se"]],
            "p (corrected)": ["–" if pd.isna(p) else f"{p:.2g}" for p in rows["p_corrected"]],
            "seeds": rows["seeds"].to_numpy(),
            "Meta Fusion is": [standing(row.lead, row.lead_se) for row in rows.itertuples()],
        }
    )


def switches_table(
    scores: dict[str, pd.DataFrame], metrics: list[str], test_to_train: float | None = None
) -> pd.DataFrame:
    """Meta Fusion in an experiment and its variants, and what each variant changes, paired by seed.

    Parameters
    ----------
    scores : dict of str to DataFrame
        As in :func:`sets_table`; the first is the reference. Only seeds that all have are used.
    metrics : list of str
    test_to_train : float, optional
        See :func:`metafusion.statistics.paired_differences`.

    Returns
    -------
    DataFrame
        ``metric``, ``experiment``, ``mean``, ``se``, ``seeds``; ``gain`` over the first experiment (positive: better),
        ``low``, ``high``, ``p``, ``p_corrected`` (over the variants), missing in the first.

    Raises
    ------
    UserError
        The experiments have no seed in common.
    """
    first, tables = next(iter(scores)), []
    for metric in metrics:
        values = pd.DataFrame({name: values_by_seed(table, metric)[META] for name, table in scores.items()}).dropna()
        if values.empty:
            raise UserError(f"{', '.join(scores)}: no seed in common; give these experiments the same seeds")
        sign = 1 if HIGHER_IS_BETTER[metric] else -1
        found = paired_differences(sign * values, first, True, test_to_train).drop(columns=["reference", "seeds"])
        found = found.rename(columns={"method": "experiment", "difference": "gain"})
        told = pd.DataFrame({"experiment": values.columns, "mean": values.mean().to_numpy()})
        told = told.assign(metric=metric, se=values.sem().to_numpy(), seeds=len(values))
        tables.append(told.merge(found, on="experiment", how="left"))
    columns = ["metric", "experiment", "mean", "se", "seeds", "gain", "low", "high", "p", "p_corrected"]
    return pd.concat(tables, ignore_index=True)[columns]


def switches_markdown(table: pd.DataFrame, words: Words) -> str:
    """Write :func:`switches_table` for GitHub: the main measure and the cross-entropy, rows are variants."""
    here = table[table["metric"] == words.metric]
    text = (
        f"Meta Fusion: mean over {over_seeds(here['seeds'])} seeds (standard error), and the gain of each variant over "
        "the first row, paired by seed, with its 95 % interval, positive where the variant is better; bold where p, "
        "corrected by Holm's method over the rows, is below 0.05."
    )
    parts = [markdown_heading(words, text), _switches(here, words.measure)]
    # Of a small test part, it tells apart what gives the same classes.
    finer = table[table["metric"] == "log_loss"]
    if len(finer) and words.metric != "log_loss":
        parts += ["By cross-entropy, where less is better (a gain is positive, as above):", _switches(finer, "nats")]
    return "\n\n".join(parts) + "\n"


def _switches(rows: pd.DataFrame, measure: str) -> str:
    told = [
        {
            "variant": row.experiment,
            measure: with_error(row.mean, row.se),
            "gain": with_interval(row.gain, row.low, row.high, row.p_corrected < 0.05),
            "p (corrected)": "–" if pd.isna(row.p_corrected) else f"{row.p_corrected:.2g}",
        }
        for row in rows[["experiment", "mean", "se", "gain", "low", "high", "p_corrected"]].itertuples()
    ]
    return markdown(pd.DataFrame(told))


def sizes_table(
    scores: dict[str, pd.DataFrame], splits: dict[str, pd.DataFrame], curves: dict[str, str], metrics: list[str]
) -> pd.DataFrame:
    """Methods by the number of samples that they learn from.

    Parameters
    ----------
    scores, splits : dict of str to DataFrame
        Of each experiment; splits as :func:`metafusion.splits.manifest` has them.
    curves : dict of str to str
        Which curve each experiment is a point of.
    metrics : list of str

    Returns
    -------
    DataFrame
        ``curve``, ``experiment``, ``samples`` (not tested, mean over seeds), ``method``, ``family``, ``metric``,
        ``mean``, ``se``, ``seeds``, ``mark``; methods as in :func:`sets_table`, in order of curve and samples.
    """
    tables = []
    for name, table in scores.items():
        here = _compared(table)
        found = summarise(here, [metric for metric in metrics if (here["metric"] == metric).any()])
        learnt = splits[name][splits[name]["part"] != "test"].groupby("seed")["samples"].sum().mean()
        tables.append(found.drop(columns=["low", "high"]).assign(curve=curves[name], experiment=name, samples=learnt))
    merged = pd.concat(tables, ignore_index=True)
    order = list(dict.fromkeys(curves.values()))
    merged = merged.sort_values(
        ["curve", "samples"], key=lambda keys: keys.map(order.index) if keys.name == "curve" else keys, kind="stable"
    )
    first = ["curve", "experiment", "samples"]
    return merged[[*first, *(name for name in merged if name not in first)]].reset_index(drop=True)


def shown_by_size(table: pd.DataFrame) -> list[str]:
    """Return the methods that curves show: Meta Fusion, without teachers, and few others."""
    found = set(table["method"])
    wanted = (META, ALONE, "super_learner", "tuned_logistic_regression", "tuned_ridge_regression", "tuned_boosting")
    return [name for name in (*wanted, "early_fusion", "logistic_regression", "ridge_regression") if name in found][:6]


def sizes_markdown(table: pd.DataFrame, words: Words) -> str:
    """Write :func:`sizes_table` for GitHub: a table for each curve, rows are sizes, columns some methods."""
    here = table[table["metric"] == words.metric]
    shown = shown_by_size(here)
    text = (
        f"Mean over {over_seeds(here['seeds'])} seeds (standard error), by the number of samples that are not tested; "
        "the test parts stay the same. Bold: within one standard error of the best."
    )
    parts = [markdown_heading(words, text)]
    for curve, one in here.groupby("curve", sort=False):
        rows = [
            {"samples": f"{samples:g}"}
            | {f"`{row['method']}`": _cell(row) for _, row in at.set_index("method", drop=False).loc[shown].iterrows()}
            for samples, at in one.groupby("samples", sort=True)
        ]
        parts += [f"{curve}:", markdown(pd.DataFrame(rows))]
    return "\n\n".join(parts) + "\n"

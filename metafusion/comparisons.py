"""Tables across experiments: by setting, an ablation paired by seed, who teaches by penalty, decoding over time.

Permutation tests: :mod:`metafusion.permutation`.
"""

import math
from collections.abc import Mapping

import pandas as pd
from scipy.stats import binom

from metafusion.errors import UserError
from metafusion.figures import Words, over_seeds
from metafusion.methods import HIGHER_IS_BETTER, INDEPENDENT, STUDENT, family_of
from metafusion.permutation import statistics_of, too_few
from metafusion.statistics import LEVEL, paired_differences, seedwise_differences, values_by_seed
from metafusion.summary import summarise

META, REUSED = "meta_fusion", f"{INDEPENDENT}meta_fusion_reused"
READ_OFF = "independent_list"
"""The switch whose two sides stand in the same run."""
RIVALS = ("early_fusion", f"{INDEPENDENT}meta_fusion", "early_fusion_double_budget")
"""Methods whose distance from Meta Fusion an ablation explains."""

TABLES = {
    "methods": ("network", "linear", "trees", "cooperative", "tuned", "independent", "cohort", "reference"),
    "ensembles": ("cohort", "independent"),
}
"""Families in each of the two tables of a comparison of settings; of the cohorts, the first has only Meta Fusion."""

TAUGHT = (META, "best_single", "simple_average", "weighted_average")
BINOMIAL, PERMUTED = "binomial", "permutations"
"""Where the range of chance comes from."""
INDEPENDENT_TEACHING = "independent"
FIRST_TEACHING = "adaptive"


def variant_of(experiment: str, reference: str) -> str:
    """Return what an experiment is called beside the one that it is a variant of.

    Examples
    --------
    >>> variant_of("simulation_1_1@warm_start", "simulation_1_1"), variant_of("other", "simulation_1_1")
    ('warm_start', 'other')
    """
    stem, _, variant = experiment.partition("@")
    return variant if variant and stem == reference.partition("@")[0] and experiment != reference else experiment


def settings_table(scores: dict[str, pd.DataFrame], metrics: list[str]) -> pd.DataFrame:
    """Methods, and ensembles, by experiment.

    Parameters
    ----------
    scores : dict of str to DataFrame
        Of each experiment: ``method``, ``family``, ``seed``, ``part``, ``metric``, ``value``.
    metrics : list of str

    Returns
    -------
    DataFrame
        ``table`` (``methods``: all but the ensembles other than Meta Fusion; ``ensembles``), ``experiment``, then the
        columns of :func:`metafusion.summary.summarise` without the interval, which each experiment has in its own
        summary. Methods are marked among those of their table and experiment.
    """
    parts = []
    for name, table in scores.items():
        for kind, families in TABLES.items():
            here = table[table["family"].isin(families)]
            if kind == "methods":
                ensembles = here["family"].isin(TABLES["ensembles"])
                here = here[~ensembles | here["method"].isin([META, f"{INDEPENDENT}{META}"])]
            found = [metric for metric in metrics if (here["metric"] == metric).any()]
            summary = summarise(here, found).drop(columns=["low", "high"])
            parts.append(summary.assign(table=kind, experiment=name))
    merged = pd.concat(parts, ignore_index=True)
    return merged[["table", "experiment", *(name for name in merged if name not in ("table", "experiment"))]]


def in_order(methods: pd.Series) -> list[str]:
    """Return methods once each: single modalities, other networks, other families, cohorts, references."""
    order = list(TABLES["methods"])
    return sorted(
        dict.fromkeys(methods),
        key=lambda name: (
            order.index(family_of(name)),
            not name.startswith("modality_"),
            "double_budget" in name,
            name != META and name != f"{INDEPENDENT}{META}",
            name,
        ),
    )


def ablation_table(scores: dict[str, pd.DataFrame], metric: str, test_to_train: float | None = None) -> pd.DataFrame:
    """Meta Fusion's lead over its rivals in an experiment and its variants, and how each variant changes it.

    Parameters
    ----------
    scores : dict of str to DataFrame
        As in :func:`settings_table`; the first is the reference. Only seeds that all have are used.
    metric : str
    test_to_train : float, optional
        As :func:`metafusion.statistics.paired_differences` has it: given where all seeds split the same samples.

    Returns
    -------
    DataFrame
        ``rival``, ``variant``, ``experiment``, ``seeds``; ``lead`` (positive: Meta Fusion is better), ``low``,
        ``high``; ``change`` of the lead against the reference's, ``change_low``, ``change_high``, ``p``,
        ``p_corrected`` (over the variants of one rival); ``meta_fusion`` and ``rival_value``, the means themselves.
        Intervals and tests: :func:`metafusion.statistics.paired_differences`. The variant ``independent_list`` is the
        reference, with the list of the independent cohort's greedy ensemble reused from the chosen penalty's.

    Raises
    ------
    UserError
        The experiments have no seed in common.

    Notes
    -----
    A switch that changes the data or the split (``random_streams``, ``interaction_coefficients``, ``split``) pairs
    different data under the same seed: the change is right, its interval wider than it could be.
    """
    values = {name: values_by_seed(table, metric) for name, table in scores.items()}
    reference = next(iter(values))
    seeds = sorted(set.intersection(*(set(table.index) for table in values.values())))
    if not seeds:
        raise UserError(f"{', '.join(values)}: no seed in common; give these experiments the same seeds")
    values = {name: table.loc[seeds] for name, table in values.items()}
    return pd.concat(
        [_ablation_of(values, rival, reference, metric, test_to_train) for rival in RIVALS], ignore_index=True
    )


def _ablation_of(
    values: dict[str, pd.DataFrame], rival: str, reference: str, metric: str, test_to_train: float | None
) -> pd.DataFrame:
    pairs = {name: (table, rival) for name, table in values.items()}
    if rival == f"{INDEPENDENT}{META}" and READ_OFF not in (variant_of(name, reference) for name in values):
        pairs[READ_OFF] = (values[reference], REUSED)
    pairs = {name: (table, other) for name, (table, other) in pairs.items() if other in table}
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    both = {name: table[[META, other]].dropna() for name, (table, other) in pairs.items()}
    leads = pd.DataFrame(
        {name: pd.Series(sign * seedwise_differences(two.to_numpy()), two.index) for name, two in both.items()}
    )
    rows = []
    for name, (_, other) in pairs.items():
        # The interval of one lead is that of its difference from none.
        none = pd.DataFrame({"lead": leads[name], "none": 0.0})
        (alone,) = paired_differences(none, "none", True, test_to_train).itertuples()
        rows.append(
            {
                "rival": rival,
                "variant": variant_of(name, reference),
                "experiment": name if name in values else reference,
                "seeds": len(both[name]),
                "lead": alone.difference,
                "low": alone.low,
                "high": alone.high,
                META: both[name][META].mean(),
                "rival_value": both[name][other].mean(),
            }
        )
    if reference not in pairs:
        return pd.DataFrame(rows)
    changes = paired_differences(leads, reference, True, test_to_train).rename(
        columns={"method": "name", "difference": "change", "low": "change_low", "high": "change_high"}
    )
    columns = ["name", "change", "change_low", "change_high", "p", "p_corrected"]
    found = pd.DataFrame(rows).assign(name=list(pairs))
    return found.merge(changes[columns], on="name", how="left").drop(columns="name")


def penalties_table(by_penalty: dict[str, pd.DataFrame], metric: str) -> pd.DataFrame:
    """Errors of ensembles and students by who teaches and by penalty.

    Parameters
    ----------
    by_penalty : dict of str to DataFrame
        Of each experiment, whose names tell who teaches: ``penalty``, ``method``, ``metric``, ``mean``, ``se``,
        ``seeds``. The first experiment is the method itself.
    metric : str

    Returns
    -------
    DataFrame
        ``teaching``, ``penalty``, ``method``, ``mean``, ``se``, ``seeds``. Teaching is ``adaptive`` (the first
        experiment), ``independent`` (the same at penalty 0, where nobody learns from others) and the name of each
        variant, all but the second at the penalties above 0 only.

    Raises
    ------
    UserError
        A variant is called as one of the two, or as another variant.
    """
    first = next(iter(by_penalty))
    named = {FIRST_TEACHING: by_penalty[first]}
    for name in list(by_penalty)[1:]:
        teaching = variant_of(name, first)
        if teaching in (*named, INDEPENDENT_TEACHING):
            raise UserError(f"{name}: {teaching!r} stands for another teaching in these tables; give it another label")
        named[teaching] = by_penalty[name]
    parts = [_of_teaching(by_penalty[first], INDEPENDENT_TEACHING, metric).query("penalty == 0")]
    parts += [_of_teaching(table, name, metric).query("penalty > 0") for name, table in named.items()]
    order = [FIRST_TEACHING, INDEPENDENT_TEACHING, *list(named)[1:]]
    merged = pd.concat(parts).sort_values("teaching", key=lambda names: names.map(order.index), kind="stable")
    return merged.reset_index(drop=True)


def _of_teaching(table: pd.DataFrame, teaching: str, metric: str) -> pd.DataFrame:
    here = table[table["metric"] == metric].assign(teaching=teaching)
    return here[["teaching", "penalty", "method", "mean", "se", "seeds"]]


def students_by_teaching(table: pd.DataFrame, students: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Each student by who teaches, at the largest penalty.

    Parameters
    ----------
    table : DataFrame
        See :func:`penalties_table`.
    students : DataFrame
        ``student`` (number), and its representations; a row for each or more.

    Returns
    -------
    DataFrame
        ``panel`` (who teaches), the columns of ``students``, ``mean``, ``se``, ``seeds``.
    float
        The largest penalty; the independent students stand at 0.
    """
    largest = table["penalty"].max()
    here = table[table["method"].str.fullmatch(rf"{STUDENT}\d+")]
    here = here[(here["penalty"] == largest) | (here["teaching"] == INDEPENDENT_TEACHING)]
    here = here.assign(student=here["method"].str.removeprefix(STUDENT).astype(int), panel=here["teaching"])
    names = students.drop(columns=["cohort", "metric", "mean", "se", "seeds"], errors="ignore").drop_duplicates()
    # In the cohort's order, wide representations first, within each panel.
    found = here[["panel", "student", "mean", "se", "seeds"]].merge(names, on="student", how="left")
    return found.sort_values("student", kind="stable", ignore_index=True), largest


def over_time_table(
    scores: dict[str, pd.DataFrame],
    windows: Mapping[str, tuple[float, float]],
    permuted: Mapping[str, int],
    tested: Mapping[str, pd.Series],
    metrics: list[str],
    test_to_train: float | None = None,
) -> pd.DataFrame:
    """Methods by the window of time that they decode, and what chance does there.

    Parameters
    ----------
    scores : dict of str to DataFrame
        Of each experiment, see :func:`settings_table`.
    windows : mapping of str to (float, float)
        Where each begins and ends, in s.
    permuted : mapping of str to int
        For experiments with shuffled labels, the seeds that share a permutation; 0 for the others.
    tested : mapping of str to Series
        How many different samples of each class were tested in any seed; empty in regression.
    metrics : list of str
    test_to_train : float, optional
        See :func:`metafusion.summary.summarise`.

    Returns
    -------
    DataFrame
        ``experiment``, ``start``, ``stop``, ``time`` (the middle of the window, s), ``method``, ``family``, ``metric``,
        ``mean``, ``se``, ``low``, ``high``, ``seeds``; ``chance``, ``chance_low``, ``chance_high`` and ``chance_from``,
        missing where nothing says what chance does. In order of time.

        ``permutations``: mean and middle 95 % of the same method with shuffled labels in the same window, where such an
        experiment is among those compared. Else ``binomial``, for accuracy only: who always answers with the most
        frequent class, and the middle 95 % of the binomial distribution of as many samples as were tested. A sample
        counts once, however many seeds tested it. Windows are many: one in forty lies above the range by chance.
    """
    null = {
        (windows[name], metric): statistics_of(scores[name], metric, splits)
        for name, splits in permuted.items()
        if splits
        for metric in metrics
    }
    tables = []
    for name, table in scores.items():
        if permuted[name]:
            continue
        found = summarise(table, [metric for metric in metrics if (table["metric"] == metric).any()], test_to_train)
        start, stop = windows[name]
        chances = []
        for row in found.itertuples():
            values = null.get((windows[name], row.metric), {}).get(row.method)
            chances.append(_chance(row.metric, values, tested[name]))
        columns = ["chance", "chance_low", "chance_high", "chance_from"]
        chance = pd.DataFrame(chances, columns=columns, index=found.index)
        placed = found.drop(columns="mark").assign(experiment=name, start=start, stop=stop, time=(start + stop) / 2)
        tables.append(pd.concat([placed, chance], axis=1))
    merged = pd.concat(tables, ignore_index=True).sort_values("time", kind="stable", ignore_index=True)
    first = ["experiment", "start", "stop", "time"]
    return merged[[*first, *(name for name in merged if name not in first)]]


def _chance(metric: str, values: pd.Series | None, tested: pd.Series) -> tuple[float, float, float, str | None]:
    """Return what chance does, the ends of the middle 95 %, and where this comes from."""
    ends = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    if values is not None and values.notna().any():
        low, high = values.quantile(list(ends))
        return values.mean(), low, high, PERMUTED
    if metric != "accuracy" or not tested.sum():
        return math.nan, math.nan, math.nan, None
    number, share = tested.sum(), tested.max() / tested.sum()
    low, high = (binom.ppf(end, number, share) / number for end in ends)
    return share, low, high, BINOMIAL


def shown_over_time(methods: pd.Series) -> list[str]:
    """Return the methods that a figure over time shows: Meta Fusion, early fusion, single modalities."""
    found = list(dict.fromkeys(methods))
    return [
        *(name for name in (META, "early_fusion") if name in found),
        *sorted(name for name in found if name.startswith("modality_")),
    ]


def with_error(mean: float, error: float, bold: bool = False) -> str:
    """Write a mean with its standard error in brackets: two digits of the error, and as many decimals of the mean.

    Examples
    --------
    >>> with_error(4.2519, 0.0518), with_error(53.32, 1.27, bold=True), with_error(228.04, float("nan"))
    ('4.252 (0.052)', '**53.3 (1.3)**', '228')
    """
    if math.isnan(mean):
        return "–"
    if math.isnan(error) or error == 0:
        text = f"{mean:.3g}"
    else:
        decimals = _decimals(error)
        text = f"{mean:.{decimals}f} ({error:.{decimals}f})"
    return f"**{text}**" if bold else text


def _decimals(error: float) -> int:
    return min(6, max(0, 1 - math.floor(math.log10(error))))


def with_interval(mean: float, low: float, high: float, bold: bool = False) -> str:
    """Write a mean with its interval, in as many decimals as :func:`with_error` would."""
    if math.isnan(mean):
        return "–"
    width = high - low
    if math.isnan(width) or width == 0:
        text = f"{mean:.3g}"
    else:
        decimals = _decimals(width / 4)
        text = f"{mean:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"
    return f"**{text}**" if bold else text


def markdown(table: pd.DataFrame) -> str:
    """Write a table of text for GitHub."""
    return table.to_markdown(index=False, disable_numparse=True)


def markdown_heading(words: Words, what: str) -> str:
    """Write what stands above the tables of a comparison."""
    return f"**{words.heading}.** T{words.test_measure.removeprefix('t')}. {what}"


def settings_markdown(table: pd.DataFrame, words: Words) -> str:
    """Write :func:`settings_table` for GitHub: rows are methods, columns experiments."""
    text = "Mean over seeds (standard error); bold: within one standard error of the best of the column."
    parts = [markdown_heading(words, text)]
    for kind in TABLES:
        here = table[(table["table"] == kind) & (table["metric"] == words.metric)]
        most = here.groupby("experiment")["seeds"].max()
        cells = here.assign(
            cell=[
                with_error(row.mean, row.se, bold=row.mark in ("best", "within_se"))
                + (f" [{row.seeds} seeds]" if row.seeds < most[row.experiment] else "")
                for row in here[["experiment", "mean", "se", "mark", "seeds"]].itertuples(index=False)
            ]
        )
        wide = cells.pivot(index="method", columns="experiment", values="cell")
        wide = wide.reindex(index=in_order(here["method"]), columns=list(dict.fromkeys(here["experiment"])))
        wide.columns = [f"{name} ({most[name]} seeds)" for name in wide.columns]
        parts.append(markdown(wide.fillna("").rename_axis(kind).reset_index()))
    return "\n\n".join(parts) + "\n"


def ablation_markdown(table: pd.DataFrame, words: Words) -> str:
    """Write :func:`ablation_table` for GitHub: a table for each rival, rows are variants."""
    text = (
        "Lead: how much better Meta Fusion is than the rival on the same seeds, with its 95 % interval over seeds. "
        "Change: the variant's lead minus that of the first row, paired by seed; bold where p, corrected by "
        "Holm's method over the rows, is below 0.05."
    )
    parts = [markdown_heading(words, text)]
    for rival, here in table.groupby("rival", sort=False):
        rows = [
            {
                "variant": row.variant,
                "seeds": row.seeds,
                META: f"{row.meta_fusion:.4g}",
                rival: f"{row.rival_value:.4g}",
                "lead": with_interval(row.lead, row.low, row.high),
                "change": with_interval(row.change, row.change_low, row.change_high, row.p_corrected < 0.05),
                "p (corrected)": "–" if math.isnan(row.p_corrected) else f"{row.p_corrected:.2g}",
            }
            for row in here.itertuples(index=False)
        ]
        parts += [f"Lead over `{rival}`:", markdown(pd.DataFrame(rows))]
    return "\n\n".join(parts) + "\n"


def penalties_markdown(table: pd.DataFrame, words: Words) -> str:
    """Write :func:`penalties_table` for GitHub: a table for each ensemble, rows tell who teaches."""
    ensembles = table[table["method"].isin(TAUGHT)]
    text = (
        f"Mean over {over_seeds(ensembles['seeds'])} seeds (standard error), by who teaches and by penalty; bold: "
        "within one standard error of the best of the table."
    )
    parts = [markdown_heading(words, text)]
    for method in (name for name in TAUGHT if (ensembles["method"] == name).any()):
        here = ensembles[ensembles["method"] == method]
        best = here.loc[here["mean"].idxmax() if HIGHER_IS_BETTER[words.metric] else here["mean"].idxmin()]
        near = (here["mean"] - best["mean"]).abs() <= (0 if math.isnan(best["se"]) else best["se"]) * (1 + 1e-9)
        cells = here.assign(
            cell=[with_error(*row) for row in zip(here["mean"], here["se"], near, strict=True)],
            column="penalty " + here["penalty"].map("{:g}".format),
        )
        wide = cells.pivot(index="teaching", columns="column", values="cell")
        columns = ["penalty " + f"{penalty:g}" for penalty in sorted(here["penalty"].unique())]
        wide = wide.reindex(index=list(dict.fromkeys(here["teaching"])), columns=columns).fillna("")
        parts += [f"`{method}`:", markdown(wide.rename_axis("who teaches").reset_index())]
    return "\n\n".join(parts) + "\n"


def permutation_markdown(table: pd.DataFrame, words: Words) -> str:
    """Write :func:`metafusion.permutation.permutation_table` for GitHub: the main measure, rows are methods."""
    here = table[table["metric"] == words.metric].set_index("method")
    splits = here["splits"].iloc[0]
    text = (
        f"Observed: mean over {splits} {'splits' if splits > 1 else 'split'}. Under permutation: mean and middle 95 % "
        f"of the same with shuffled labels, over {over_seeds(here['permutations'])} permutations. "
        "p = (1 + permutations at least as good) / (1 + permutations), one-sided; corrected: after Holm, over the "
        "methods (not the references), bold below 0.05. "
        f"{too_few(here['permutations'].max())}"
    )
    rows = []
    for name in in_order(pd.Series(here.index)):
        row = here.loc[name]
        p, corrected = ("–" if math.isnan(row[key]) else f"{row[key]:.2g}" for key in ("p", "p_corrected"))
        null = with_interval(row["mean"], row["low"], row["high"])
        shown = {"observed": f"{row['observed']:.4g}", "under permutation": null}
        corrected = f"**{corrected}**" if row["p_corrected"] < 0.05 else corrected
        rows.append({"method": name} | shown | {"p": p, "p (corrected)": corrected})
    return "\n\n".join([markdown_heading(words, text.strip()), markdown(pd.DataFrame(rows))]) + "\n"


def over_time_markdown(table: pd.DataFrame, words: Words) -> str:
    """Write :func:`over_time_table` for GitHub: the main measure, rows are windows, columns some methods."""
    here = table[table["metric"] == words.metric]
    methods = shown_over_time(here["method"])
    text = (
        f"Mean over {over_seeds(here['seeds'])} seeds and its 95 % interval, by window of time; bold: above (for "
        "errors, below) the middle 95 % of chance."
    )
    rows = []
    for (start, stop), one in here.groupby(["start", "stop"], sort=True):
        by_method = one.set_index("method")
        cells = {"window (s)": f"{start:g} to {stop:g}"}
        for name in methods:
            row = by_method.loc[name]
            sure = (
                row["mean"] > row["chance_high"] if HIGHER_IS_BETTER[words.metric] else row["mean"] < row["chance_low"]
            )
            cells[name] = with_interval(row["mean"], row["low"], row["high"], bool(sure))
        first = by_method.loc[methods[0]]
        chance = with_interval(first["chance"], first["chance_low"], first["chance_high"])
        rows.append(cells | {f"chance ({methods[0]})": chance})
    return "\n\n".join([markdown_heading(words, text), markdown(pd.DataFrame(rows))]) + "\n"

"""Figures across experiments, of the tables of :mod:`metafusion.comparisons`."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from metafusion.benchmark import shown_by_size
from metafusion.comparisons import (
    BINOMIAL,
    FIRST_TEACHING,
    INDEPENDENT_TEACHING,
    META,
    PERMUTED,
    TAUGHT,
    in_order,
    shown_over_time,
    students_by_teaching,
)
from metafusion.figures import COLOURS, STYLE, Words, dots, errors_on, head, heat_maps, over_seeds, panels
from metafusion.methods import HIGHER_IS_BETTER, INDEPENDENT
from metafusion.permutation import too_few

MOST_COLUMNS = 3
GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, without their whole part, spread points evenly, the same in every run."""
LINES = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


def by_setting(table: pd.DataFrame, kind: str, words: Words) -> Figure:
    """Methods, or ensembles, one panel an experiment: mean over seeds with its standard error.

    Parameters
    ----------
    table : DataFrame
        See :func:`metafusion.comparisons.settings_table`.
    kind : str
        ``methods`` or ``ensembles``.
    words : Words
    """
    with mpl.rc_context(STYLE):
        here = table[(table["table"] == kind) & (table["metric"] == words.metric)]
        experiments, methods = list(dict.fromkeys(here["experiment"])), in_order(here["method"])[::-1]
        columns = min(MOST_COLUMNS, len(experiments))
        rows = -(-len(experiments) // columns)
        height = 1.3 + rows * (0.7 + 0.19 * len(methods))
        figure, grid = panels(2.6 + 2.6 * columns, height, columns, rows, sharey=True)
        for axes, name in zip(grid, experiments, strict=False):
            one = here[here["experiment"] == name].reset_index(drop=True)
            dots(axes, one, one["method"].map(methods.index))
            axes.set_title(f"{name}\n({over_seeds(one['seeds'])} seeds)", fontsize=8)
            axes.grid(alpha=0.3)
            errors_on(axes.xaxis, one["mean"], words.metric)
            axes.tick_params(axis="x", labelsize=7)
        for axes in grid[len(experiments) :]:
            axes.set_visible(False)
        grid[0].set_yticks(range(len(methods)), methods)
        grid[0].set_ylim(-0.7, len(methods) - 0.3)
        for axes in grid[::columns]:
            axes.tick_params(axis="y", labelsize=7.5)
        for axes in grid[-columns:] if len(experiments) % columns == 0 else grid:
            axes.set_xlabel(words.test_measure, fontsize=7.5)
        found = {text: line for axes in grid for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(found.values(), found, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        head(figure, words, "mean and standard error over seeds")
    return figure


def ablation(table: pd.DataFrame, value: str, words: Words) -> Figure:
    """Meta Fusion's lead over its rivals by variant, or how each variant changes it.

    Parameters
    ----------
    table : DataFrame
        See :func:`metafusion.comparisons.ablation_table`.
    value : str
        ``lead`` or ``change``.
    words : Words
    """
    low, high = ("low", "high") if value == "lead" else ("change_low", "change_high")
    with mpl.rc_context(STYLE):
        here = table.dropna(subset=[value])
        variants = list(dict.fromkeys(here["variant"]))[::-1]
        # Only Meta Fusion's rivals with a row have a panel.
        rivals = list(dict.fromkeys(here["rival"]))
        figure, grid = panels(2.4 + 2.6 * len(rivals), 1.7 + 0.28 * len(variants), len(rivals), sharey=True)
        for axes, rival in zip(grid, rivals, strict=True):
            one = here[here["rival"] == rival]
            heights = one["variant"].map(variants.index)
            sure = (one["p_corrected"] < 0.05) & (value == "change")
            errors = np.abs(one[[low, high]].to_numpy().T - one[value].to_numpy())
            axes.errorbar(one[value], heights, xerr=np.nan_to_num(errors), fmt="none", capsize=2.5, ecolor="k", lw=1)
            filled = sure if value == "change" else pd.Series(True, index=one.index)
            for mask, face in ((filled, COLOURS["cohort"]), (~filled, "w")):
                axes.plot(one[value][mask], heights[mask], "o", ms=5, mfc=face, mec=COLOURS["cohort"])
            axes.axvline(0, color="k", lw=0.8)
            axes.set_title(f"over {rival}", fontsize=8)
            axes.grid(axis="x", alpha=0.3)
            axes.tick_params(axis="x", labelsize=7.5)
        if rivals:
            grid[0].set_yticks(range(len(variants)), variants)
            grid[0].set_ylim(-0.6, len(variants) - 0.4)
        what, right = ("lead", "Meta Fusion is better") if value == "lead" else ("change of the lead", "the lead grows")
        figure.supxlabel(f"{what}: difference in test {words.measure} (right of 0: {right})", fontsize=9)
        marks = "" if value == "lead" else "; filled: p < 0.05, corrected"
        head(figure, words, f"mean over {over_seeds(here['seeds'])} seeds, 95 % interval{marks}")
    return figure


def by_penalty(table: pd.DataFrame, words: Words) -> Figure:
    """Ensembles by penalty, one panel each and one line for each way of teaching.

    Parameters
    ----------
    table : DataFrame
        See :func:`metafusion.comparisons.penalties_table`.
    words : Words
    """
    with mpl.rc_context(STYLE):
        methods = [name for name in TAUGHT[:2] if (table["method"] == name).any()]
        here = table[table["method"].isin(methods)]
        figure, grid = panels(1 + 3.3 * len(methods), 3.6, len(methods), sharey=True)
        teachings = [name for name in dict.fromkeys(here["teaching"]) if name != INDEPENDENT_TEACHING]
        alone = here[here["teaching"] == INDEPENDENT_TEACHING]
        ends = [0, here["penalty"].max()]
        for axes, method in zip(grid, methods, strict=True):
            (level,) = alone[alone["method"] == method].itertuples()
            error = np.nan_to_num(level.se)
            axes.plot(ends, [level.mean] * 2, "--", color=COLOURS["reference"], label="independent (penalty 0)")
            axes.fill_between(ends, level.mean - error, level.mean + error, color=COLOURS["reference"], alpha=0.2, lw=0)
            for number, teaching in enumerate(teachings):
                one = here[(here["teaching"] == teaching) & (here["method"] == method)].sort_values("penalty")
                axes.errorbar(
                    one["penalty"],
                    one["mean"],
                    yerr=one["se"].fillna(0),
                    fmt="o-",
                    ms=4,
                    capsize=2.5,
                    color=LINES[number % len(LINES)],
                    label=f"{teaching} (the experiment's own teaching)" if teaching == FIRST_TEACHING else teaching,
                )
            axes.set_title(method)
            axes.set_xlabel("penalty (weight of the divergence from the teachers)", fontsize=8)
            axes.grid(alpha=0.3)
        grid[0].set_ylabel(words.test_measure)
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
        head(figure, words, f"mean and standard error over {over_seeds(here['seeds'])} seeds")
    return figure


def students(table: pd.DataFrame, students: pd.DataFrame, modalities: list[str], words: Words) -> Figure:
    """Each student at the largest penalty, one heat map for each way of teaching, see :func:`heat_maps`.

    Parameters
    ----------
    table, students : DataFrame
        See :func:`metafusion.comparisons.students_by_teaching`.
    modalities : list of str
    words : Words
    """
    here, largest = students_by_teaching(table, students)
    headings = {
        name: f"{name} (penalty {0 if name == INDEPENDENT_TEACHING else largest:g})"
        for name in dict.fromkeys(here["panel"])
    }
    return heat_maps(here, modalities, headings, words)


def permutation(table: pd.DataFrame, null: pd.DataFrame, words: Words) -> Figure:
    """What methods reach, the best on top, and what they reach with shuffled labels: a dot a permutation.

    Parameters
    ----------
    table, null : DataFrame
        See :func:`metafusion.permutation.permutation_table`.
    words : Words
    """
    with mpl.rc_context(STYLE):
        table = table[table["metric"] == words.metric]
        ensembles = table["family"].isin(["cohort", "independent"])
        chosen = table[~ensembles | table["method"].isin([META, f"{INDEPENDENT}{META}"])]
        here = chosen[chosen["family"] != "reference"].sort_values(
            ["observed", "method"], ascending=HIGHER_IS_BETTER[words.metric], ignore_index=True
        )
        figure, (axes,) = panels(7.5, 1.7 + 0.34 * len(here))
        for height, row in here.iterrows():
            one = null[(null["metric"] == words.metric) & (null["method"] == row["method"])]
            spread = (one["permutation"] * GOLDEN % 1 - 0.5) * 0.55
            axes.plot(one["value"], height + spread, ".", ms=4, color=COLOURS["reference"], alpha=0.6, mew=0)
            axes.hlines(height, row["low"], row["high"], color="k", lw=1.2)
            axes.plot(row["observed"], height, "D", ms=5, color=COLOURS[row["family"]])
            said = "–" if np.isnan(row["p"]) else f"p = {row['p']:.2g}"
            axes.text(1.01, height, said, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        prior = table.loc[table["method"] == "prior", "observed"]
        if len(prior):
            axes.axvline(prior.iloc[0], color="k", lw=0.8, ls=":")
        axes.set_yticks(here.index, here["method"])
        axes.set_ylim(-0.6, len(here) - 0.4)
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel(words.test_measure)
        splits, counts = table["splits"].iloc[0], table["permutations"]
        each = f"each the mean over {splits} splits" if splits > 1 else "each of one split"
        dotted = "; dotted: the prior, which knows no feature" if len(prior) else ""
        warning = too_few(counts.max())
        text = (
            f"diamond: observed; grey: {over_seeds(counts)} permutations of the labels, {each}, with their middle 95 % "
            f"(bar){dotted}{'. ' if warning else ''}{warning}"
        )
        head(figure, words, text)
    return figure


def switches(table: pd.DataFrame, words: Words) -> Figure:
    """What each variant changes of Meta Fusion: mean of the differences paired by seed, with its interval.

    Parameters
    ----------
    table : DataFrame
        See :func:`metafusion.benchmark.switches_table`.
    words : Words
    """
    with mpl.rc_context(STYLE):
        here = table[(table["metric"] == words.metric) & table["gain"].notna()].iloc[::-1].reset_index(drop=True)
        figure, (axes,) = panels(6.5, 1.5 + 0.3 * len(here))
        errors = np.abs(here[["low", "high"]].to_numpy().T - here["gain"].to_numpy())
        axes.errorbar(here["gain"], here.index, xerr=np.nan_to_num(errors), fmt="none", capsize=2.5, ecolor="k", lw=1)
        sure = here["p_corrected"] < 0.05
        for mask, face in ((sure, COLOURS["cohort"]), (~sure, "w")):
            axes.plot(here["gain"][mask], here.index[mask], "o", ms=5, mfc=face, mec=COLOURS["cohort"])
        axes.axvline(0, color="k", lw=0.8)
        axes.set_yticks(here.index, here["experiment"])
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel(f"gain of Meta Fusion in test {words.measure} (right of 0: better)")
        seeds = over_seeds(table["seeds"])
        head(figure, words, f"mean over {seeds} seeds, 95 % interval; filled: p < 0.05, corrected")
    return figure


def by_size(table: pd.DataFrame, words: Words) -> Figure:
    """Methods by the number of samples that they learn from, one panel a curve: mean over seeds, standard error.

    Parameters
    ----------
    table : DataFrame
        See :func:`metafusion.benchmark.sizes_table`.
    words : Words
    """
    with mpl.rc_context(STYLE):
        here = table[table["metric"] == words.metric]
        methods, curves = shown_by_size(here), list(dict.fromkeys(here["curve"]))
        columns = min(MOST_COLUMNS, len(curves))
        rows = -(-len(curves) // columns)
        figure, grid = panels(1.2 + 2.9 * columns, 1.5 + 2.5 * rows, columns, rows)
        for axes, curve in zip(grid, curves, strict=False):
            for number, method in enumerate(methods):
                one = here[(here["curve"] == curve) & (here["method"] == method)]
                colour = LINES[number % len(LINES)]
                axes.errorbar(
                    one["samples"],
                    one["mean"],
                    one["se"].fillna(0),
                    fmt="o-",
                    ms=3.5,
                    capsize=2,
                    color=colour,
                    label=method,
                )
            sizes = sorted(set(here.loc[here["curve"] == curve, "samples"]))
            axes.set_xscale("log")
            axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_title(curve, fontsize=8)
            # Not one for all: that would lie on the legend.
            axes.set_xlabel("samples that are not tested", fontsize=8)
            axes.tick_params(labelsize=7.5)
            axes.grid(alpha=0.3)
        for axes in grid[len(curves) :]:
            axes.set_visible(False)
        figure.supylabel(words.test_measure, fontsize=9)
        figure.legend(
            *grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8
        )
        head(figure, words, f"mean and standard error over {over_seeds(here['seeds'])} seeds, with the same test parts")
    return figure


def over_time(table: pd.DataFrame, words: Words) -> Figure:
    """Methods by window of time: mean over seeds with its interval, and the range of chance.

    Parameters
    ----------
    table : DataFrame
        See :func:`metafusion.comparisons.over_time_table`.
    words : Words
    """
    with mpl.rc_context(STYLE):
        here = table[table["metric"] == words.metric]
        methods = shown_over_time(here["method"])
        figure, (axes,) = panels(7.5, 4)
        band = here[here["method"] == methods[0]]
        grey, found = COLOURS["reference"], set(band["chance_from"].dropna())
        if found:
            axes.fill_between(
                band["time"],
                band["chance_low"],
                band["chance_high"],
                color=grey,
                alpha=0.25,
                lw=0,
                label="chance, 95 %",
            )
            axes.plot(band["time"], band["chance"], ":", color=grey)
        for number, method in enumerate(methods):
            one, colour = here[here["method"] == method], LINES[number % len(LINES)]
            axes.plot(one["time"], one["mean"], "o-", ms=3.5, color=colour, label=method)
            axes.fill_between(one["time"], one["low"], one["high"], color=colour, alpha=0.13, lw=0)
        if here["start"].min() < 0 < here["stop"].max():
            axes.axvline(0, color="k", lw=0.8)
        widths = sorted(set((here["stop"] - here["start"]).round(9)))
        width = " to ".join(f"{end:g}" for end in dict.fromkeys([widths[0], widths[-1]]))
        axes.set_xlabel(f"time in the trial (s): middle of windows of {width} s")
        axes.set_ylabel(f"test {words.measure}\n({'higher' if HIGHER_IS_BETTER[words.metric] else 'lower'} is better)")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        origin = {
            PERMUTED: f"chance: {methods[0]} with shuffled labels",
            BINOMIAL: "chance: the most frequent class, binomial, every sample tested counted once",
        }
        chance = "; ".join(text for name, text in origin.items() if name in found) or "no range of chance is known"
        head(figure, words, f"mean and 95 % interval over {over_seeds(here['seeds'])} seeds; {chance}")
    return figure

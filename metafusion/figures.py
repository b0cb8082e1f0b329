"""Figures of the results. Each returns a matplotlib figure; :func:`save` writes it the same way every time."""

from dataclasses import dataclass
from textwrap import wrap

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter
from scikit_posthocs import critical_difference_diagram
from scipy.special import softmax
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from metafusion.methods import HIGHER_IS_BETTER, LABELS, family_of
from metafusion.metrics import BINS, calibration_error_by_chance, measure
from metafusion.predictions import classes_answered
from metafusion.statistics import ranking, values_by_seed
from metafusion.summary import FEWEST_TESTED
from metafusion.svg import save as save
from metafusion.targets import numbers_of, positive_number

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}
# Okabe and Ito's colours, which people with colour-blindness can tell apart.
COLOURS = {
    "cohort": "#D55E00",
    "independent": "#E69F00",
    "network": "#0072B2",
    "linear": "#009E73",
    "trees": "#56B4E9",
    "cooperative": "#CC79A7",
    "tuned": "#000000",
    "reference": "#7F7F7F",
}
FAMILIES = {
    "cohort": "cohort at the chosen penalty",
    "independent": "independent cohort (penalty 0)",
    "network": "network trained alone",
    "linear": "linear model",
    "trees": "gradient-boosted trees",
    "cooperative": "cooperative learning",
    "tuned": "plain model tuned by cross-validation",
    "reference": "reference: prior (no features), oracle (true latents)",
}
SHOWN = ("meta_fusion", "early_fusion", "logistic_regression", "ridge_regression")
"""Methods that figures with room for few show, and the best of the others beside them."""
LINEAR_ALONE = ("logistic_regression_", "ridge_regression_")
MOST_PANELS = 4
"""In a row."""
SHORT = 6
"""Letters of a class's name that fit under its column."""
FEW_ENSEMBLES = {"meta_fusion": "#D55E00", "best_single": "#0072B2", "simple_average": "#009E73"}


@dataclass(frozen=True)
class Words:
    """What every figure says of its experiment.

    Attributes
    ----------
    title : str
    metric : str
        The main measure.
    simulated : bool
        Whether the data are simulated, which every title then says.
    protocol : str
        Said where it is not the corrected one.
    mixed : bool
        Whether some of the data are real, where several experiments stand side by side.
    """

    title: str
    metric: str
    simulated: bool
    protocol: str = "corrected"
    mixed: bool = False

    @property
    def heading(self) -> str:
        share = "partly simulated" if self.mixed else "simulated"
        simulated = f" ({share} data)" if self.simulated and "simulated" not in self.title.lower() else ""
        return f"{self.title}{simulated}{'' if self.protocol == 'corrected' else f', protocol {self.protocol}'}"

    @property
    def measure(self) -> str:
        return LABELS[self.metric]

    @property
    def test_measure(self) -> str:
        return f"test {self.measure} ({'higher' if HIGHER_IS_BETTER[self.metric] else 'lower'} is better)"


def panels(
    width: float, height: float, columns: int = 1, rows: int = 1, **options: object
) -> tuple[Figure, np.ndarray]:
    """Return an empty figure (inches) and its axes, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options).ravel()


def errors_on(axis: Axis, values: pd.Series, metric: str) -> None:
    """Give an axis of a measure a logarithmic scale where errors differ so much that the small ones would be alike."""
    if HIGHER_IS_BETTER[metric] or not 0 < values.min() < values.max() / 8:
        return
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    decades = np.log10(values.max() / values.min())
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def over_seeds(counts: pd.Series) -> str:
    """Return on how many seeds means stand, of which some may have fewer."""
    fewest, most = counts.min(), counts.max()
    return f"{most}" if fewest == most else f"{fewest} to {most}"


def methods(summary: pd.DataFrame, words: Words) -> Figure:
    """Methods side by side: mean over seeds with its standard error and interval, best on top."""
    with mpl.rc_context(STYLE):
        table = summary[summary["metric"] == words.metric].iloc[::-1].reset_index(drop=True)
        figure, (axes,) = panels(7, 1.4 + 0.24 * len(table))
        axes.hlines(table.index, table["low"], table["high"], lw=0.7, color=[COLOURS[name] for name in table["family"]])
        dots(axes, table, table.index)
        axes.set_yticks(table.index, table["method"])
        axes.margins(y=0.03)
        axes.grid(axis="x", alpha=0.3)
        errors_on(axes.xaxis, table["mean"], words.metric)
        axes.set_xlabel(words.test_measure)
        seeds = over_seeds(table["seeds"])
        head(figure, words, f"mean, standard error (bar) and 95 % interval (thin line) over {seeds} seeds")
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def dots(axes: Axes, table: pd.DataFrame, heights: pd.Series) -> None:
    """Draw means with their standard errors at some heights, in the colours of the families."""
    for family, colour in COLOURS.items():
        rows = table["family"] == family
        if rows.any():
            axes.errorbar(
                table["mean"][rows],
                heights[rows],
                xerr=table["se"][rows].fillna(0),
                fmt="o",
                ms=5,
                capsize=2.5,
                color=colour,
                label=FAMILIES[family],
            )


def critical_difference(scores: pd.DataFrame, words: Words, over: str = "seeds") -> Figure:
    """Mean ranks of methods over seeds, the best to the left; bars join those whose ranks cannot be told apart.

    References (prior, oracle) are left out, as in the table of ranks. ``over`` says what the column ``seed`` holds.
    """
    with mpl.rc_context(STYLE):
        values = values_by_seed(scores, words.metric, without=("reference",))
        ranks, friedman, differ = ranking(values, HIGHER_IS_BETTER[words.metric])
        figure, (axes,) = panels(9, 2 + 0.13 * len(ranks))
        seeds = len(values.dropna(how="all"))
        if seeds < 2 or len(ranks) < 2:
            axes.axis("off")
            axes.text(0.5, 0.5, f"ranks cannot be compared: they need two {over} and two methods", ha="center")
        else:
            colours = {name: COLOURS[family_of(name)] for name in ranks.index}
            drawn = critical_difference_diagram(
                ranks,
                differ,
                ax=axes,
                label_fmt_left="{label} ({rank:.1f})  ",
                label_fmt_right="  ({rank:.1f}) {label}",
                label_props={"fontsize": 8},
                color_palette=colours,
            )
            # The points of a bar come from a set, whose order differs between runs.
            for (bar,) in drawn["crossbars"]:
                bar.set_xdata(sorted(bar.get_xdata()))
            families = [family for family in COLOURS if COLOURS[family] in colours.values()]
            lines = [Line2D([], [], color=COLOURS[family], marker="o", label=FAMILIES[family]) for family in families]
            lines.append(Line2D([], [], color="k", lw=2, label="not told apart (Nemenyi's test, p ≥ 0.05)"))
            figure.legend(handles=lines, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        said = "" if np.isnan(friedman) else f"; Friedman's test that all rank alike: p = {friedman:.2g}"
        head(figure, words, f"mean rank by test {words.measure} (1 is best) over {seeds} {over}{said}")
    return figure


def chosen_penalties(penalties: pd.DataFrame, words: Words) -> Figure:
    """The share of seeds that chose each penalty, with Wilson's interval of it."""
    with mpl.rc_context(STYLE):
        figure, (axes,) = panels(1.8 + 0.8 * len(penalties), 3)
        shares = penalties["chosen"] / penalties["seeds"]
        ends = np.array(
            [
                binomtest(int(row.chosen), int(row.seeds)).proportion_ci(method="wilson")
                for row in penalties.itertuples()
            ]
        )
        errors = np.abs(ends.T - shares.to_numpy())
        axes.bar(range(len(shares)), shares, yerr=errors, capsize=3, color=COLOURS["cohort"], ecolor="k", width=0.6)
        axes.set_xticks(range(len(shares)), penalties["penalty"].map("{:g}".format))
        axes.set_xlabel("penalty (0: the independent cohort)")
        axes.set_ylabel("share of seeds that chose it")
        axes.set_ylim(0, 1)
        head(figure, words, f"{penalties['seeds'].max()} seeds, 95 % interval (Wilson)")
    return figure


def number_of_students(by_students: pd.DataFrame, words: Words) -> Figure:
    """The measure against the number of students, of which each seed has several random choices.

    Parameters
    ----------
    by_students : DataFrame
        ``students``, ``method``, ``metric``, ``mean``, ``se``, ``seeds``.
    words : Words
    """
    with mpl.rc_context(STYLE):
        table = by_students[by_students["metric"] == words.metric].sort_values("students")
        figure, (axes,) = panels(5.5, 3.6)
        for method, colour in FEW_ENSEMBLES.items():
            one = table[table["method"] == method]
            axes.errorbar(
                one["students"],
                one["mean"],
                yerr=one["se"].fillna(0),
                fmt="o-",
                ms=4,
                capsize=2.5,
                color=colour,
                label=method,
            )
        numbers = sorted(table["students"].unique())
        axes.set_xscale("log", base=2)
        # Where students diverged, seeds have all of theirs at numbers that are near each other.
        named = [number for number in numbers if number == numbers[-1] or number < numbers[-1] / 1.25]
        axes.set_xticks(named, named)
        axes.set_xlabel("students in the cohort that the ensemble is chosen from")
        axes.set_ylabel(words.test_measure)
        axes.grid(alpha=0.3)
        errors_on(axes.yaxis, table["mean"], words.metric)
        axes.legend(frameon=False, fontsize=8)
        each = "each seed's mean over random choices of students at the chosen penalty"
        head(figure, words, f"{each}; mean and standard error over {over_seeds(table['seeds'])} seeds")
    return figure


def cohort(students: pd.DataFrame, modalities: list[str], words: Words) -> Figure:
    """The cohort as heat maps, trained alone and at the chosen penalty, see :func:`heat_maps`."""
    headings = {"independent": "trained alone (penalty 0)", "chosen_penalty": "at the chosen penalty"}
    table = students[students["metric"] == words.metric]
    return heat_maps(table.rename(columns={"cohort": "panel"}), modalities, headings, words)


def heat_maps(students: pd.DataFrame, modalities: list[str], headings: dict[str, str], words: Words) -> Figure:
    """Students by representation of the first modality (rows) and of the others (columns), in the same colours.

    Where there are several heads, they are among the columns. A cross is a student without any score: it diverged in
    every seed.

    Parameters
    ----------
    students : DataFrame
        ``panel``, the representation of each modality, ``head`` (may be missing), ``mean`` and ``seeds``.
    modalities : list of str
    headings : dict of str to str
        What stands over each panel, in their order.
    words : Words
    """
    with mpl.rc_context(STYLE):
        table = students.copy()
        first, others = modalities[0], modalities[1:]
        if "head" in table and len(set(table["head"])) > 1:
            others = [*others, "head"]
            table["head"] = table["head"].astype(str).str.replace(r"_(?=decay|dropout)", "\n", regex=True)
        # Names of heads may look like numbers, and are long: decay and dropout have lines of their own.
        columns = table[others].astype(str).agg("\n".join, axis=1) if others else words.measure
        table["column"] = columns
        rows, names = list(dict.fromkeys(table[first])), list(dict.fromkeys(table["column"]))
        low, high = table["mean"].min(), table["mean"].max()
        lines = [name.split("\n") for name in names]
        cell = max(0.62, 0.06 * max(len(line) for name in lines for line in name))
        width = max(3.2, cell * len(names) + 1.5)
        height = 1.6 + 0.42 * len(rows) + 0.12 * max(map(len, lines))
        figure, grid = panels(len(headings) * width + 0.6, height, len(headings))
        for axes, (which, heading) in zip(grid, headings.items(), strict=True):
            here = table[table["panel"] == which].pivot(index=first, columns="column", values=["mean", "seeds"])
            values, counts = (here[of].reindex(index=rows, columns=names).to_numpy() for of in ("mean", "seeds"))
            cmap = "viridis" if HIGHER_IS_BETTER[words.metric] else "viridis_r"
            image = axes.imshow(values, cmap=cmap, vmin=low, vmax=high, aspect="auto")
            for (row, column), value in np.ndenumerate(values):
                if not np.isnan(value):
                    bright = (value - low) / max(high - low, 1e-12) > 0.55
                    dark_text = bright if HIGHER_IS_BETTER[words.metric] else not bright
                    text = f"{value:.3g}" if abs(value) >= 1 else f"{value:.3f}".lstrip("0")
                    axes.text(column, row, text, ha="center", va="center", fontsize=7, color="k" if dark_text else "w")
                elif counts[row, column] == 0:
                    axes.text(column, row, "×", ha="center", va="center", fontsize=7)
            axes.set_xticks(range(len(names)), names, fontsize=7)
            axes.set_yticks(range(len(rows)), rows, fontsize=7)
            axes.set_ylabel(first)
            axes.set_xlabel(" / ".join(others) or "")
            axes.set_title(heading)
            axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=grid[-1], label=f"test {words.measure}")
        head(figure, words, f"each student, mean over {over_seeds(table['seeds'])} seeds")
    return figure


def learning_curves(history: pd.DataFrame, selection: pd.DataFrame, words: Words) -> Figure:
    """Training and validation loss of the top cluster and of the other students, by penalty.

    Students that diverged at a penalty are left out of its panel, and counted above the figure.
    """
    with mpl.rc_context(STYLE):
        runs = ["seed", "penalty", "student"]
        fates = selection[[*runs, "top_cluster", "diverged"]]
        joined = history.merge(fates, on=runs, validate="many_to_one")
        joined = joined[joined["diverged"] == 0]
        joined["group"] = np.where(joined["top_cluster"] == 1, "top", "rest")
        by_seed = joined.groupby(["penalty", "group", "seed", "epoch"])[["task_loss", "validation_loss"]].mean()
        penalties = sorted(history["penalty"].unique())
        lengths = history.groupby(["penalty", "seed"])["epoch"].max().groupby("penalty").nunique()
        # With patience, one seed may have more epochs than another.
        seeds = f"{'up to ' if lengths.max() > 1 else ''}{history['seed'].nunique()}"
        figure, grid = panels(3 * len(penalties) + 1.2, 3.1, len(penalties), sharey=True)
        kinds = [("validation_loss", "validation", "-"), ("task_loss", "training", ":")]
        groups = [("top", "top cluster", COLOURS["cohort"]), ("rest", "other students", COLOURS["network"])]
        for axes, penalty in zip(grid, penalties, strict=True):
            for group, name, colour in groups:
                if (penalty, group) not in by_seed.index:
                    continue
                for column, kind, line in kinds:
                    curves = by_seed.loc[penalty, group][column].unstack("seed")
                    mean, error = curves.mean(axis=1), curves.std(axis=1).fillna(0) / np.sqrt(curves.count(axis=1))
                    axes.plot(mean.index, mean, line, color=colour, label=f"{name}, {kind}")
                    axes.fill_between(mean.index, mean - error, mean + error, color=colour, alpha=0.15, lw=0)
            axes.set_title(f"penalty {penalty:g}")
            axes.set_xlabel("epoch")
        loss = "mean squared error" if words.metric in ("mse", "mae", "r2") else "cross-entropy (nats)"
        grid[0].set_ylabel(f"task loss: {loss}")
        lines = {line.get_label(): line for axes in grid for line in axes.get_lines()}
        figure.legend(lines.values(), lines, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
        diverged = int(selection["diverged"].sum())
        missing = f"; {diverged} of {len(selection)} trainings diverged and are left out" if diverged else ""
        head(figure, words, f"mean and standard error over {seeds} seeds{missing}")
    return figure


def answers(answered: pd.DataFrame, confused: pd.DataFrame, words: Words) -> Figure:
    """What Meta Fusion answers for the test samples: a confusion matrix, or predicted against true.

    Parameters
    ----------
    answered : DataFrame
        See :func:`metafusion.predictions.against_truth`.
    confused : DataFrame
        See :func:`metafusion.confusion.confusion_table`.
    words : Words
    """
    test = answered[answered["method"] == "meta_fusion"]
    with mpl.rc_context(STYLE):
        classes = classes_answered(test)
        if classes:
            return _confusion(confused[confused["method"] == "meta_fusion"], test, classes, words)
        return _predicted_against_true(test, words)


def _confusion(confused: pd.DataFrame, test: pd.DataFrame, classes: list[str], words: Words) -> Figure:
    # A class that was never tested has no rate.
    rates = confused.pivot(index="true", columns="given", values="rate")
    shares = rates.reindex(index=classes, columns=classes).fillna(0).to_numpy()
    figure, (axes,) = panels(2.6 + 0.65 * len(classes), 2.2 + 0.55 * len(classes))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(shares):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="w" if value > 0.5 else "k")
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("class given by Meta Fusion")
    axes.set_ylabel("true class")
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="share of the true class")
    _count_in_title(figure, test, words)
    return figure


def _predicted_against_true(test: pd.DataFrame, words: Words) -> Figure:
    true, predicted = test["true"].to_numpy(float), test["prediction"].to_numpy()
    figure, (axes,) = panels(4.6, 4.4)
    axes.plot(true, predicted, ".", ms=4, alpha=0.5, color=COLOURS["cohort"], rasterized=False)
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, color="k", lw=0.8, label="predicted = true")
    axes.set_xlabel("true target")
    axes.set_ylabel("prediction of Meta Fusion")
    axes.legend(frameon=False)
    _count_in_title(figure, test, words)
    return figure


def shown_methods(summary: pd.DataFrame, metric: str) -> list[str]:
    """Return those of :data:`SHOWN` that there are, and the best of the others: no ensemble of a cohort, no reference.

    A method without a value is left out, unless none has any: what they predict can still be shown.

    Parameters
    ----------
    summary : DataFrame
        See :func:`metafusion.summary.summarise`; best first.
    metric : str
    """
    table = summary[summary["metric"] == metric]
    if table["mean"].notna().any():
        table = table[table["mean"].notna()]
    found = [name for name in SHOWN if name in set(table["method"])]
    others = table[~table["family"].isin(["cohort", "independent", "reference"]) & ~table["method"].isin(found)]
    return [*found, *others["method"].head(1)]


def reliability(answered: pd.DataFrame, shown: list[str], words: Words, positive: str | None = None) -> Figure:
    """What happened against what was predicted, in bins of the predictions, pooled over seeds; and their histogram.

    Two classes, or a positive one: its share against its predicted probability, in ten bins of equal width. More: the
    share of right answers against the probability of the most probable class. Regression: mean target against mean
    prediction, in ten bins of as many predictions each. Bars are 95 % intervals (Wilson's for shares, the normal
    one for means) that count a sample of a bin once, however many seeds tested it.

    Parameters
    ----------
    answered : DataFrame
        See :func:`metafusion.predictions.against_truth`.
    shown : list of str
        Methods, one panel each.
    words : Words
    positive : str, optional
        As configured.
    """
    with mpl.rc_context(STYLE):
        if not shown:
            return _empty(words)
        classes = classes_answered(answered)
        number = 1 if positive is None and len(classes) == 2 else positive_number(classes, positive)
        if not classes:
            names = "prediction", "mean target"
        elif number is None:
            names = "probability of the most probable class", "share of right answers"
        else:
            names = f"predicted probability of {classes[number]}", f"share of {classes[number]}"
        test = answered[answered[answered.columns[4:]].notna().all(axis=1)]
        several = {name: test[test["method"] == name] for name in shown}
        figure, grid = panels(1 + 2.3 * len(shown), 4.3, len(shown), 2, height_ratios=[3, 1], sharex=True, sharey="row")
        for (name, table), axes, below in zip(several.items(), grid, grid[len(shown) :], strict=False):
            if table.empty:
                axes.set_title(f"{name}\nno prediction", fontsize=8)
                continue
            said, happened, label = _said_and_happened(table, classes, number)
            colour = COLOURS[family_of(name)]
            bins = _binned(said, happened, table["sample"].to_numpy(), bool(classes))
            ends = [0, 1] if classes else [bins[["x", "y"]].min().min(), bins[["x", "y"]].max().max()]
            axes.plot(ends, ends, color="k", lw=0.8, ls=":")
            errors = np.abs(bins[["low", "high"]].to_numpy() - bins[["y"]].to_numpy()).T
            axes.errorbar(bins["x"], bins["y"], yerr=errors, fmt="o-", ms=4, capsize=2, color=colour)
            axes.set_title(f"{name}\n{label}", fontsize=8)
            below.hist(said, bins=2 * BINS, range=(0, 1) if classes else None, color=colour)
        grid[0].set_ylabel(names[1])
        grid[len(shown)].set_ylabel("predictions")
        figure.supxlabel(names[0], fontsize=9)
        _count_in_title(figure, several[shown[0]], words)
    return figure


def _said_and_happened(
    table: pd.DataFrame, classes: list[str], positive: int | None
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return what one method predicts, what is true, and its calibration error over seeds in words."""
    outputs = table[table.columns[4:]].to_numpy(np.float64)
    targets = numbers_of(table.rename(columns={"true": "target"}), classes)
    metric = "ece" if classes else "r2"
    rows_of_seeds = list(table.groupby("seed").indices.values())
    by_seed = pd.Series([measure(metric, outputs[rows], targets[rows]) for rows in rows_of_seeds], dtype=float)
    error = "" if len(by_seed) < 2 else f" ± {by_seed.sem():.3f}"
    label = f"{metric.upper() if classes else 'R²'} {by_seed.mean():.3f}{error}"
    if not classes:
        return outputs[:, 0], targets, label
    probabilities = softmax(outputs, axis=1)
    chance = np.mean([calibration_error_by_chance(probabilities[rows]) for rows in rows_of_seeds])
    label = f"{label} (by chance {chance:.3f})"
    if positive is None:
        return probabilities.max(axis=1), probabilities.argmax(axis=1) == targets, label
    return probabilities[:, positive], targets == positive, label


def _binned(said: np.ndarray, happened: np.ndarray, samples: np.ndarray, shares: bool) -> pd.DataFrame:
    """Return means ``x`` and ``y`` of predictions and of what happened, and an interval of ``y``, for bins of ``said``.

    Of as many independent ones as there are different samples: predictions for one sample share its target.
    """
    edges = np.linspace(0, 1, BINS + 1) if shares else np.unique(np.quantile(said, np.linspace(0, 1, BINS + 1)))
    table = pd.DataFrame({"x": said, "y": happened.astype(float), "sample": samples})
    grouped = table.groupby(np.digitize(said, edges[1:-1], right=True))
    bins = grouped.agg(x=("x", "mean"), y=("y", "mean"), spread=("y", "std"), count=("sample", "nunique"))
    if shares:
        low, high = proportion_confint(bins["y"] * bins["count"], bins["count"], method="wilson")
        return bins.assign(low=low, high=high)
    half = 1.96 * bins["spread"] / np.sqrt(bins["count"])
    return bins.assign(low=bins["y"] - half, high=bins["y"] + half)


def subgroups(table: pd.DataFrame, column: str, summary: pd.DataFrame, shown: list[str], words: Words) -> Figure:
    """The main measure in groups of people: mean over seeds with its interval, everybody on top.

    Parameters
    ----------
    table : DataFrame
        See :func:`metafusion.summary.subgroups_table`.
    column : str
        The column that makes the groups.
    summary : DataFrame
        See :func:`metafusion.summary.summarise`.
    shown : list of str
        Methods.
    words : Words
    """
    with mpl.rc_context(STYLE):
        if not shown:
            return _empty(words)
        here = table[(table["column"] == column) & (table["metric"] == words.metric) & table["method"].isin(shown)]
        levels = list(dict.fromkeys(here["level"]))
        figure, (axes,) = panels(6.5, 1.5 + 0.5 * (1 + len(levels)))
        for place, method in enumerate(shown):
            overall = summary[(summary["metric"] == words.metric) & (summary["method"] == method)]
            rows = pd.concat([overall, here[here["method"] == method].set_index("level").reindex(levels)])
            heights = np.arange(len(rows)) + 0.7 * ((place + 0.5) / len(shown) - 0.5)
            colour, marker = list(COLOURS.values())[place], "osD^"[place]
            axes.hlines(heights, rows["low"], rows["high"], color=colour, lw=1)
            axes.plot(rows["mean"], heights, marker, ms=4, color=colour, label=method)
        of = here.groupby("level").agg(samples=("samples", "mean"), fewest=("seeds", "min"), most=("seeds", "max"))
        names = [
            f"{name}\n({of['samples'][name]:.3g} tested, {over_seeds(of.loc[name, ['fewest', 'most']])} seeds)"
            for name in levels
        ]
        axes.set_yticks(range(1 + len(levels)), [f"everybody\n({over_seeds(overall['seeds'])} seeds)", *names])
        axes.set_ylim(len(levels) + 0.5, -0.5)
        axes.axhline(0.5, color="k", lw=0.5)
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel(words.test_measure)
        axes.set_ylabel(column)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        few = f"of those that test {FEWEST_TESTED} samples of a group or more"
        head(figure, words, f"mean and 95 % interval over seeds, {few}")
    return figure


def confusions(table: pd.DataFrame, seeds: int, words: Words) -> Figure:
    """Confusion matrices of several methods, pooled over seeds, one panel each.

    Parameters
    ----------
    table : DataFrame
        See :func:`metafusion.confusion.confusion_table`; linear models of single modalities are left out.
    seeds : int
        How many are pooled.
    words : Words
    """
    with mpl.rc_context(STYLE):
        if table.empty:
            return _empty(words, "no confusion matrix: no method has answered with a class")
        methods = [name for name in dict.fromkeys(table["method"]) if not name.startswith(LINEAR_ALONE)]
        classes = list(dict.fromkeys(table["true"]))
        longest = max(map(len, classes))
        size, columns = 0.9 + 0.42 * len(classes), min(MOST_PANELS, len(methods))
        rows, upright = -(-len(methods) // columns), longest > SHORT
        # Room for a title of two lines, and for the names of classes where they stand upright.
        words_high = 0.4 + (0.055 * longest if upright else 0)
        height = 1 + rows * (size + words_high)
        figure, grid = panels(1.6 + columns * size, height, columns, rows, sharex=True, sharey=True)
        for axes, method in zip(grid, methods, strict=False):
            here = table[table["method"] == method]
            rates = here.pivot(index="true", columns="given", values="rate").loc[classes, classes].to_numpy()
            image = axes.imshow(rates, cmap="Blues", vmin=0, vmax=1)
            for (row, column), value in np.ndenumerate(rates):
                text = "–" if np.isnan(value) else f"{value:.2f}"
                axes.text(column, row, text, ha="center", va="center", color="w" if value > 0.5 else "k", fontsize=7)
            axes.set_title(f"{method}\n{here['information_bits'].iloc[0]:.2f} bits", fontsize=7.5)
            axes.set_xticks(range(len(classes)), classes, fontsize=7, rotation=90 if upright else 0)
            axes.set_yticks(range(len(classes)), classes, fontsize=7)
            axes.tick_params(labelbottom=True, length=0)
            axes.spines[:].set_visible(False)
        for axes in grid[len(methods) :]:
            axes.set_visible(False)
        figure.supxlabel("class given", fontsize=9)
        figure.supylabel("true class", fontsize=9)
        figure.colorbar(image, ax=list(grid), label="share of the true class", shrink=0.8)
        first = table[(table["method"] == methods[0]) & (table["given"] == classes[0])]
        counted = table.loc[table["method"] == methods[0], "count"].sum()
        what = f"{counted} test answers for {first['samples'].sum()} samples, {seeds} seeds; mutual information in bits"
        head(figure, words, what)
    return figure


def usage(table: pd.DataFrame, words: Words) -> Figure:
    """The weight of each representation of each modality in the greedy ensembles, one panel a modality.

    Parameters
    ----------
    table : DataFrame
        See :func:`metafusion.summary.usage_table`.
    words : Words
    """
    with mpl.rc_context(STYLE):
        modalities = list(dict.fromkeys(table["modality"]))
        most = table.groupby("modality")["representation"].nunique().max()
        figure, grid = panels(1.2 + 2.6 * len(modalities), 1.7 + 0.42 * most, len(modalities), sharex=True)
        for axes, modality in zip(grid, modalities, strict=True):
            here = table[table["modality"] == modality]
            names = list(dict.fromkeys(here["representation"]))
            for place, (method, one) in enumerate(here.groupby("method", sort=False)):
                heights = one["representation"].map(names.index) + 0.18 * (2 * place - 1)
                colour = COLOURS[family_of(method)]
                axes.barh(heights, one["weight"], 0.32, xerr=one["se"].fillna(0), color=colour, capsize=2, label=method)
            blind = one["representation"].map(names.index)
            axes.plot(one["students"], blind, "|", ms=18, mew=1.5, color="k", label="share of all students")
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.set_title(modality, fontsize=8)
            axes.set_xlabel("weight of the members\nthat use it (all members: 1)", fontsize=8)
            axes.grid(axis="x", alpha=0.3)
        widest = (table["weight"] + table["se"].fillna(0)).clip(lower=table["students"]).max()
        grid[0].set_xlim(0, min(1, 1.05 * widest))
        found = grid[0].get_legend_handles_labels()
        figure.legend(*found, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        head(figure, words, f"the greedy ensemble: mean and standard error over {over_seeds(table['seeds'])} seeds")
    return figure


def _empty(words: Words, why: str = "nothing to show: no method has an answer") -> Figure:
    figure, (axes,) = panels(6.5, 2)
    axes.axis("off")
    axes.text(0.5, 0.5, why, ha="center")
    figure.suptitle(words.heading, fontsize=9)
    return figure


def _count_in_title(figure: Figure, test: pd.DataFrame, words: Words) -> None:
    counts = f"{len(test)} test predictions of {test['sample'].nunique()} samples, {test['seed'].nunique()} seeds"
    head(figure, words, counts)


def head(figure: Figure, words: Words, what: str) -> None:
    """Write the experiment's title and what stands behind the figure above it, in lines that fit its width."""
    characters = int(figure.get_figwidth() * 13)
    figure.suptitle("\n".join([*wrap(words.heading, characters), *wrap(what, characters)]), fontsize=9)

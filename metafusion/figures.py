"""Figures of the results. Each returns a matplotlib figure; :func:`save` writes it the same way every time."""

from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from metafusion.files import whole
from metafusion.methods import HIGHER_IS_BETTER, LABELS
from metafusion.summary import confusion

STYLE = {
    "svg.hashsalt": "metafusion",
    "svg.fonttype": "path",
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
    "reference": "#7F7F7F",
}
FAMILIES = {
    "cohort": "cohort at the chosen penalty",
    "independent": "independent cohort (penalty 0)",
    "network": "network trained alone",
    "linear": "linear model",
    "reference": "prior (no features)",
}


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
    """

    title: str
    metric: str
    simulated: bool
    protocol: str = "corrected"

    @property
    def heading(self) -> str:
        simulated = " (simulated data)" if self.simulated and "simulated" not in self.title.lower() else ""
        return f"{self.title}{simulated}{'' if self.protocol == 'corrected' else f', protocol {self.protocol}'}"

    @property
    def measure(self) -> str:
        return LABELS[self.metric]


def save(figure: Figure, path: str | Path) -> None:
    """Write an SVG whose bytes depend on its content only."""
    with whole(path) as unfinished, mpl.rc_context(STYLE):
        figure.savefig(unfinished, format="svg", metadata={"Date": None})


def _figure(width: float, height: float, columns: int = 1, **options: object) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False, **options)[0]


def methods(summary: pd.DataFrame, words: Words) -> Figure:
    """Methods side by side: mean over seeds with its standard error, best on top."""
    with mpl.rc_context(STYLE):
        table = summary[summary["metric"] == words.metric].iloc[::-1].reset_index(drop=True)
        figure, (axes,) = _figure(7, 1.4 + 0.24 * len(table))
        for family, colour in COLOURS.items():
            rows = table.index[table["family"] == family]
            if not len(rows):
                continue
            axes.errorbar(
                table["mean"][rows],
                rows,
                xerr=table["se"][rows].fillna(0),
                fmt="o",
                ms=5,
                capsize=2.5,
                color=colour,
                label=FAMILIES[family],
            )
        axes.set_yticks(table.index, table["method"])
        axes.margins(y=0.03)
        axes.grid(axis="x", alpha=0.3)
        seeds = table["seeds"].max()
        better = "higher" if HIGHER_IS_BETTER[words.metric] else "lower"
        axes.set_xlabel(f"test {words.measure} ({better} is better)")
        _head(figure, words, f"mean and standard error over {seeds} seeds")
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def cohort(students: pd.DataFrame, modalities: list[str], words: Words) -> Figure:
    """The cohort as a heat map: the measure by representation of the first modality (rows) and the others (columns).

    Where there are several heads, they are among the columns. A cross is a student without any score: it diverged in
    every seed.
    """
    with mpl.rc_context(STYLE):
        table = students[students["metric"] == words.metric].copy()
        first, others = modalities[0], modalities[1:]
        if "head" in table and len(set(table["head"])) > 1:
            others = [*others, "head"]
            table["head"] = table["head"].astype(str).str.replace(r"_(?=decay|dropout)", "\n", regex=True)
        # Names of heads may look like numbers, and are long: decay and dropout have lines of their own.
        columns = table[others].astype(str).agg("\n".join, axis=1) if others else words.measure
        table["column"] = columns
        rows, names = list(dict.fromkeys(table[first])), list(dict.fromkeys(table["column"]))
        low, high = table["mean"].min(), table["mean"].max()
        panels = [("independent", "trained alone (penalty 0)"), ("chosen_penalty", "at the chosen penalty")]
        lines = [name.split("\n") for name in names]
        cell = max(0.62, 0.06 * max(len(line) for name in lines for line in name))
        width = max(3.2, cell * len(names) + 1.5)
        height = 1.6 + 0.42 * len(rows) + 0.12 * max(map(len, lines))
        figure, grid = _figure(2 * width + 0.6, height, 2)
        for axes, (which, heading) in zip(grid, panels, strict=True):
            here = table[table["cohort"] == which].pivot(index=first, columns="column", values=["mean", "seeds"])
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
        fewest, most = table["seeds"].min(), table["seeds"].max()
        seeds = f"{most}" if fewest == most else f"{fewest} to {most}"
        _head(figure, words, f"each student, mean over {seeds} seeds")
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
        figure, grid = _figure(3 * len(penalties) + 1.2, 3.1, len(penalties), sharey=True)
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
        _head(figure, words, f"mean and standard error over {seeds} seeds{missing}")
    return figure


def answers(predictions: pd.DataFrame, samples: pd.DataFrame, task: str, words: Words) -> Figure:
    """What Meta Fusion answers for the test samples: a confusion matrix, or predicted against true."""
    test = predictions[(predictions["method"] == "meta_fusion") & (predictions["part"] == "test")]
    with mpl.rc_context(STYLE):
        if task == "classification":
            return _confusion(predictions, samples, test, words)
        return _predicted_against_true(test, samples, words)


def _confusion(predictions: pd.DataFrame, samples: pd.DataFrame, test: pd.DataFrame, words: Words) -> Figure:
    classes = sorted(samples["target"].unique())
    shares = confusion(predictions, samples, classes, "meta_fusion").to_numpy()
    figure, (axes,) = _figure(2.6 + 0.65 * len(classes), 2.2 + 0.55 * len(classes))
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


def _predicted_against_true(test: pd.DataFrame, samples: pd.DataFrame, words: Words) -> Figure:
    true = test.merge(samples[["sample", "target"]], on="sample", how="left")["target"].to_numpy(float)
    predicted = test["prediction"].to_numpy()
    figure, (axes,) = _figure(4.6, 4.4)
    axes.plot(true, predicted, ".", ms=4, alpha=0.5, color=COLOURS["cohort"], rasterized=False)
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, color="k", lw=0.8, label="predicted = true")
    axes.set_xlabel("true target")
    axes.set_ylabel("prediction of Meta Fusion")
    axes.legend(frameon=False)
    _count_in_title(figure, test, words)
    return figure


def _count_in_title(figure: Figure, test: pd.DataFrame, words: Words) -> None:
    counts = f"{len(test)} test predictions of {test['sample'].nunique()} samples, {test['seed'].nunique()} seeds"
    _head(figure, words, counts)


def _head(figure: Figure, words: Words, what: str) -> None:
    """Write the experiment's title and what stands behind the figure above it, in lines that fit its width."""
    characters = int(figure.get_figwidth() * 13)
    figure.suptitle("\n".join([*wrap(words.heading, characters), *wrap(what, characters)]), fontsize=9)

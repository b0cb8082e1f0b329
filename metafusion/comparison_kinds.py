"""What each kind of comparison makes of the experiments that it names: a table, the same to be read, and figures."""

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from metafusion import benchmark, comparisons, figures, permutation, summary
from metafusion import comparison_figures as draw
from metafusion.figures import Words


@dataclass(frozen=True)
class Material:
    """The experiments compared, each by its label, in their order.

    Attributes
    ----------
    scores, by_penalty, students, splits, samples, confusion : dict of str to DataFrame
        Tables of each experiment.
    windows : dict of str to (float, float) or None
        The stretch of a trial (s) that each decodes.
    permuted : dict of str to int
        Seeds that share a permutation of the labels; 0 without shuffling.
    curves : dict of str to str
        Of each experiment, what it is called without the number of units that it is cut to.
    metrics : list of str
        The main one first.
    modalities : list of str
        Of the first experiment.
    words : Words
    """

    scores: dict[str, pd.DataFrame]
    by_penalty: dict[str, pd.DataFrame]
    students: dict[str, pd.DataFrame]
    splits: dict[str, pd.DataFrame]
    samples: dict[str, pd.DataFrame]
    confusion: dict[str, pd.DataFrame]
    windows: dict[str, tuple[float, float] | None]
    permuted: dict[str, int]
    curves: dict[str, str]
    metrics: list[str]
    modalities: list[str]
    words: Words

    @property
    def first(self) -> str:
        """The label of the first experiment with labels as they are."""
        return next(label for label, splits in self.permuted.items() if not splits)

    @property
    def shared(self) -> float | None:
        """See :func:`metafusion.summary.shared_by_seeds`; of the first experiment."""
        return self.shared_in(self.first)

    def shared_in(self, label: str) -> float | None:
        """The same of any experiment."""
        return summary.shared_by_seeds(self.samples[label], self.splits[label])


Made = tuple[pd.DataFrame, str, dict[str, Figure]]


def make(kind: str, given: Material) -> Made:
    """Return the table of a comparison, its text in Markdown, and its figures by name."""
    return {
        "settings": _settings,
        "ablation": _ablation,
        "penalties": _penalties,
        "permutation": _permutation,
        "over_time": _over_time,
        "sets": _sets,
        "sizes": _sizes,
        "switches": _switches,
    }[kind](given)


def _settings(given: Material) -> Made:
    table = comparisons.settings_table(given.scores, given.metrics)
    figures = {which: draw.by_setting(table, which, given.words) for which in comparisons.TABLES}
    return table, comparisons.settings_markdown(table, given.words), figures


def _ablation(given: Material) -> Made:
    table = comparisons.ablation_table(given.scores, given.words.metric, given.shared)
    figures = {f"{value}s": draw.ablation(table, value, given.words) for value in ("lead", "change")}
    return table, comparisons.ablation_markdown(table, given.words), figures


def _penalties(given: Material) -> Made:
    table = comparisons.penalties_table(given.by_penalty, given.words.metric)
    students = draw.students(table, given.students[given.first], given.modalities, given.words)
    figures = {"penalties": draw.by_penalty(table, given.words), "students": students}
    return table, comparisons.penalties_markdown(table, given.words), figures


def _permutation(given: Material) -> Made:
    observed, shuffled = given.scores.values()
    splits = list(given.permuted.values())[1]
    table, null = permutation.permutation_table(observed, shuffled, given.metrics, splits)
    figures = {"permutation": draw.permutation(table, null, given.words)}
    return table.assign(experiment=given.first), comparisons.permutation_markdown(table, given.words), figures


def _over_time(given: Material) -> Made:
    tested = {label: _tested(table) for label, table in given.confusion.items()}
    table = comparisons.over_time_table(
        given.scores, given.windows, given.permuted, tested, given.metrics, given.shared
    )
    figures = {"over_time": draw.over_time(table, given.words)}
    return table, comparisons.over_time_markdown(table, given.words), figures


def _sets(given: Material) -> Made:
    shared = {label: given.shared_in(label) for label in given.scores}
    table = benchmark.sets_table(given.scores, given.metrics, shared)
    # A set takes the place of a seed.
    means = benchmark.means_by_set(table, given.words.metric).rename_axis("seed").melt(ignore_index=False)
    ranked = means.reset_index().assign(part="test", metric=given.words.metric, family="")
    leads = benchmark.leads_table(table, given.words.metric)
    made = {
        "ranks": figures.critical_difference(ranked, given.words, "sets"),
        "leads": draw.ablation(leads, "lead", given.words),
    }
    return table, benchmark.sets_markdown(table, given.words), made


def _sizes(given: Material) -> Made:
    table = benchmark.sizes_table(given.scores, given.splits, given.curves, given.metrics)
    return table, benchmark.sizes_markdown(table, given.words), {"sizes": draw.by_size(table, given.words)}


def _switches(given: Material) -> Made:
    table = benchmark.switches_table(given.scores, given.metrics, given.shared)
    return table, benchmark.switches_markdown(table, given.words), {"gains": draw.switches(table, given.words)}


def _tested(confusion: pd.DataFrame) -> pd.Series:
    """Return how many different samples of each class any seed tested; empty in regression."""
    return confusion.groupby("true")["samples"].max()

"""What a run can say to the items of TRIPOD+AI, and what is left to the authors."""

from dataclasses import dataclass

import pandas as pd

from metafusion import __version__
from metafusion.account.data import Data
from metafusion.account.leakage import OK

COLUMNS = ["item", "topic", "by", "text"]
RUN, BOTH, AUTHORS = "run", "run and authors", "authors"
LEFT = "to be written by the authors"


@dataclass(frozen=True)
class Setting:
    """What the configuration says, as far as the items need it.

    Attributes
    ----------
    name, title : str
        Of the experiment.
    source : str
        The kind of source.
    simulated : bool
    split : dict
        The experiment's key of that name.
    """

    name: str
    title: str
    source: str
    simulated: bool
    split: dict

    @property
    def heading(self) -> str:
        """The title; it says when the data are simulated."""
        simulated = self.simulated and "simulated" not in self.title.lower()
        return f"{self.title}{' (simulated data)' if simulated else ''}"


def tripod_table(
    data: Data, flow: pd.DataFrame, columns: pd.DataFrame, leakage: pd.DataFrame, words: Setting
) -> pd.DataFrame:
    """Fill in what the data and the configuration say.

    Returns
    -------
    DataFrame
        ``item`` (number in the checklist of 2024), ``topic``, ``by`` ('run', 'run and authors', 'authors'), ``text``.

    References
    ----------
    Collins et al. 2024, BMJ 385:e078378 (TRIPOD+AI). The wording of topics is ours.
    """
    said = {
        "1": _title(data, words),
        "5a": f"{'Simulated data' if words.simulated else 'Data'} of the source kind {words.source!r}",
        "6b": _exclusions(flow),
        "7": "each sample by itself; statistics over samples (imputation, scaling, components) are fitted after the "
        "split. Columns: tables/columns.tsv; volumes: tables/quality.tsv",
        "8a": _outcome(data),
        "9a": _predictors(data, columns),
        "10": _sizes(data),
        "11": _missing(data, flow),
        "12a": _partition(data, words),
        "12b": "as numbers, missing ones imputed and all scaled by the training part unless the configuration says "
        "otherwise; students see them as they are or as latent variables (key 'representations')",
        "12c": f"the configuration of {words.name} holds every setting; docs/method.md says what they mean",
        "12e": "the measures of tables/summary.tsv on the test part, over seeds; figures/",
        "12g": "docs/method.md; predictions/ holds the answer of every method for every sample",
        "13": _balance(data),
        "14": f"people are described by {_described(data)}; scores by subgroup are among the tables, if there are any",
        "16": "development and evaluation data are parts of one data set" + _sites(data),
        "18f": f"metafusion {__version__}; requirements.txt pins all packages; configuration as above",
        "20a": "figures/flow.svg, tables/flow.tsv, tables/exclusions.tsv",
        "20b": "tables/participants.tsv",
        "20c": "tables/splits.tsv has the numbers by part and class",
        "21": _parts(data),
        "22": "weights, transforms and members of the ensembles are stored (docs/architecture.md)",
        "23a": "tables/summary.tsv, tables/differences.tsv, figures/methods.svg",
        "27a": "a modality or value that is absent is dealt with as under item 11; sources refuse or leave out files "
        "that they cannot read (item 20a)",
        "26": _suspects(leakage),
    }
    rows = [(item, topic, by, said.get(item, LEFT)) for item, topic, by in ITEMS]
    return pd.DataFrame(rows, columns=COLUMNS, dtype="str")


ITEMS = [
    ("1", "title", BOTH),
    ("2", "abstract", AUTHORS),
    ("3a", "background: the medical context, and earlier models", AUTHORS),
    ("3b", "background: for whom and for which decision the model is meant", AUTHORS),
    ("3c", "background: known inequalities between groups", AUTHORS),
    ("4", "objectives", AUTHORS),
    ("5a", "where the data come from", BOTH),
    ("5b", "when they were collected", AUTHORS),
    ("6a", "participants: setting and centres", AUTHORS),
    ("6b", "participants: who could be in", BOTH),
    ("6c", "participants: treatments", AUTHORS),
    ("7", "preparation of the data and checks of their quality", RUN),
    ("8a", "outcome", BOTH),
    ("8b", "outcome: who judged it", AUTHORS),
    ("8c", "outcome: blinding", AUTHORS),
    ("9a", "predictors: which, and why", BOTH),
    ("9b", "predictors: how and when they were measured", AUTHORS),
    ("9c", "predictors: who judged them", AUTHORS),
    ("10", "sample size", BOTH),
    ("11", "missing data", RUN),
    ("12a", "analysis: parts of the data", RUN),
    ("12b", "analysis: how predictors enter", RUN),
    ("12c", "analysis: the model, its settings, internal validation", RUN),
    ("12d", "analysis: differences of performance between centres or groups", AUTHORS),
    ("12e", "analysis: measures of performance", RUN),
    ("12f", "analysis: updating", AUTHORS),
    ("12g", "analysis: how predictions are made from the model", RUN),
    ("13", "class imbalance", BOTH),
    ("14", "fairness", BOTH),
    ("15", "output of the model", AUTHORS),
    ("16", "differences between development and evaluation data", BOTH),
    ("17", "ethical approval", AUTHORS),
    ("18a", "funding", AUTHORS),
    ("18b", "conflicts of interest", AUTHORS),
    ("18c", "protocol", AUTHORS),
    ("18d", "registration", AUTHORS),
    ("18e", "availability of the data", AUTHORS),
    ("18f", "availability of the code", BOTH),
    ("19", "involvement of patients and the public", AUTHORS),
    ("20a", "flow of participants", RUN),
    ("20b", "characteristics of participants", RUN),
    ("20c", "participants of the evaluation against those of the development", BOTH),
    ("21", "numbers of participants and of outcomes in each analysis", RUN),
    ("22", "the full model", RUN),
    ("23a", "performance", RUN),
    ("23b", "performance: differences between centres or groups", AUTHORS),
    ("24", "updating of the model", AUTHORS),
    ("25", "interpretation", AUTHORS),
    ("26", "limitations", BOTH),
    ("27a", "use: inputs that are poor or absent", BOTH),
    ("27b", "use: what users must do and know", AUTHORS),
    ("27c", "use: what comes next", AUTHORS),
]
"""Number in the checklist, topic in words of ours, and who can fill it in."""


def _title(data: Data, words: Setting) -> str:
    return f"{words.heading}: {'classification' if data.classes else 'regression'}, ensemble of neural networks"


def _exclusions(flow: pd.DataFrame) -> str:
    main = flow[flow["modality"] == ""]
    reasons = [f"{row.reason} ({row.samples_lost})" for row in main.iloc[1:].itertuples()]
    return f"left out, with numbers of samples: {'; '.join(reasons) or 'nobody'}"


def _outcome(data: Data) -> str:
    target = data.samples["target"]
    if data.classes:
        return f"classes: {', '.join(sorted(target.unique()))}"
    return f"a number, from {target.min():.4g} to {target.max():.4g}, mean {target.mean():.4g}"


def _predictors(data: Data, columns: pd.DataFrame) -> str:
    if "features" not in columns:
        return f"modalities: {', '.join(data.modalities)}"
    counts = columns.groupby("modality", sort=False)["features"].sum()
    return "modalities, with numbers of features: " + ", ".join(
        f"{name} ({int(counts[name])})" for name in counts.index
    )


def _sizes(data: Data) -> str:
    return f"{len(data.samples)} samples of {data.samples['subject'].nunique()} subjects"


def _missing(data: Data, flow: pd.DataFrame) -> str:
    lacking = {name: int(flow.loc[flow["modality"] == name, "samples_lost"].sum()) for name in data.modalities}
    words = ", ".join(f"{name} ({count})" for name, count in lacking.items() if count)
    return (
        f"samples without a modality: {words or 'none'}; students that use others beside it get the training mean "
        "in its place, those that use no other have no part in the sample. Values missing inside a modality become the "
        "median of the training part. Whether gaps tell the label: tables/leakage.tsv"
    )


def _partition(data: Data, words: Setting) -> str:
    split, seeds = words.split, len(data.seeds)
    given = "; official parts are kept" if "given_part" in data.samples else ""
    tested = {
        "folds": f"one of {split.get('folds')} folds a seed",
        "sessions": "one session a seed",
    }.get(split.get("scheme"), f"{split['test_fraction']:g} of all")
    return (
        f"{seeds} split{'' if seeds == 1 else 's'} (seeds) by {data.unit} into training, validation and test; test "
        f"{tested}, validation {split['validation_fraction']:g} of the rest{given}. "
        "Training fits, validation chooses, test only scores"
    )


def _balance(data: Data) -> str:
    if not data.classes:
        return "no classes"
    shares = data.samples["target"].value_counts(normalize=True).sort_index()
    return "shares of the classes: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items())


def _described(data: Data) -> str:
    names = [name for name in data.people.columns if name != "sample"]
    return ", ".join(names) or "nothing that the source knows"


def _sites(data: Data) -> str:
    table = data.people if "site" in data.people else data.samples
    return f" from {table['site'].nunique()} sites" if "site" in table else ""


def _parts(data: Data) -> str:
    joined = data.parts.merge(data.samples, on="sample")
    words = []
    for part in ("train", "validation", "test"):
        here = joined[joined["part"] == part]
        by_class = here["target"].value_counts().sort_index().items() if data.classes else ()
        classes = ", ".join(f"{name} {count}" for name, count in by_class)
        words.append(f"{part} {len(here)}{f' ({classes})' if classes else ''}")
    return f"samples in seed {data.seeds[0]}: {'; '.join(words)}. All seeds: tables/splits.tsv"


def _suspects(leakage: pd.DataFrame) -> str:
    count = (leakage["level"] != OK).sum()
    return f"{count} of {len(leakage)} rows of tables/leakage.tsv are suspect" + ("; see there" if count else "")

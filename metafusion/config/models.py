"""The models of ``config/config.yaml`` and of one experiment."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from metafusion.config.base import Settings
from metafusion.config.sources import AnySource, Name
from metafusion.errors import did_you_mean

Task = Literal["classification", "regression"]
Size = Annotated[int, Field(ge=1)]
Penalty = Annotated[float, Field(ge=0, allow_inf_nan=False)]

CLASSIFICATION_METRICS = ("accuracy", "balanced_accuracy", "roc_auc", "log_loss")
REGRESSION_METRICS = ("mse", "mae", "r2")

RESERVED = ("student", "name", "cohort", "metric", "mean", "se", "seeds", "column", "sample")
"""Columns that stand beside the modalities' in tables of students and features."""


def _representation(given: Any) -> Any:
    known = given in ("raw", "absent") or (isinstance(given, int) and not isinstance(given, bool) and given >= 1)
    if not known:
        raise ValueError(
            f"{given!r} is no representation; allowed: 'raw', a positive number of latent variables, 'absent'"
        )
    return given


class Representations(Settings):
    """The representations of one modality, of which each student uses one."""

    sizes: list[Annotated[Literal["raw", "absent"] | int, BeforeValidator(_representation)]] = Field(
        min_length=1,
        description="'raw' (all features), numbers (so many latent variables), 'absent' (a student without it); each "
        "once, and not 'absent' alone.",
    )
    extractor: Literal["pca"] = Field(default="pca", description="What makes the latent variables of a given number.")
    scaling: Literal["standard", "none"] = Field(
        default="standard", description="'standard': z-scores with the training part's mean and deviation; or 'none'."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, given: Any) -> Any:
        return {"sizes": given} if isinstance(given, list) else given

    @field_validator("sizes")
    @classmethod
    def _once_each(cls, sizes: list) -> list:
        if len(set(sizes)) < len(sizes):
            raise ValueError(f"each representation may stand once, found {sizes}")
        if sizes == ["absent"]:
            raise ValueError("a modality that is always absent is no modality; add 'raw' or a number, or remove it")
        return sizes


class Split(Settings):
    """Who trains, who validates, who tests. Drawn anew for every seed."""

    test_fraction: float = Field(
        default=0.2, gt=0, lt=1, description="Fraction of the units in the test part, where no official one is given."
    )
    validation_fraction: float = Field(
        default=0.25, gt=0, lt=1, description="Fraction of the remaining units in the validation part."
    )
    unit: Literal["subject", "sample"] = Field(
        default="subject",
        description="'subject': no subject on two sides. 'sample': within-subject decoding, e.g. trials of one animal.",
    )
    stratify: bool = Field(default=True, description="Keep the class proportions in every part (classification).")


class Ensemble(Settings):
    """The greedy ensemble (the method called Meta Fusion)."""

    keep: float = Field(default=0.8, gt=0, le=1, description="Share of the students, best first, that may be members.")
    start: int = Field(
        default=3, ge=1, description="Number of the best students to start with; never more than 'most'."
    )
    most: int = Field(default=30, ge=1, description="Members at most.")


class Cohort(Settings):
    """How the students are built and trained; the networks among the comparators have the same budget."""

    hidden: list[Size] = Field(default=[64, 32], description="Widths of the hidden layers of every student's head.")
    epochs: Size = Field(default=30, description="Epochs, the same for every penalty and every network.")
    batch_size: Size = Field(default=64, description="Samples in a mini-batch.")
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False, description="Step size of Adam.")
    target_scaling: Literal["standard", "none"] = Field(
        default="standard",
        description="Regression: 'standard' trains on z-scores of the target (mean and deviation of the training "
        "part) and predicts in its unit; 'none' trains on the numbers as they are, as the authors do.",
    )
    penalties: list[Penalty] = Field(
        default=[0.0, 0.99, 3.0],
        min_length=1,
        description="Strengths of mutual learning to choose from. 0, the independent cohort, must be among them.",
    )
    most_clusters: int = Field(
        default=10, ge=2, description="Most clusters of validation losses among which the silhouette chooses."
    )

    @field_validator("penalties")
    @classmethod
    def _zero_first(cls, penalties: list[float]) -> list[float]:
        if 0 not in penalties:
            raise ValueError("penalties must contain 0: the independent cohort decides who teaches")
        if len(set(penalties)) < len(penalties):
            raise ValueError(f"each penalty may stand once, found {penalties}")
        return sorted(penalties)


class Experiment(Settings):
    """One experiment: ``config/experiments/{name}.yaml``."""

    title: str = Field(description="One line for tables, figures and the report.")
    description: str = Field(default="", description="What the experiment is, for the report.")
    task: Task = Field(description="What is predicted: classes or numbers.")
    source: AnySource = Field(description="Where the samples come from: one of the kinds of source.")
    representations: dict[Name, Representations] = Field(
        description="For each modality used, by the name that the source gives it, a list such as [raw, 40, 20, absent]"
        ", or a mapping with 'sizes'."
    )
    cohort: Cohort = Field(default=Cohort(), description="How the students are built and trained.")
    ensemble: Ensemble = Field(default=Ensemble(), description="How the greedy ensemble is chosen.")
    protocol: Literal["corrected"] = Field(
        default="corrected", description="The corrected protocol: nothing fitted outside train, equal budgets."
    )
    split: Split = Field(default=Split(), description="Who trains, who validates, who tests.")
    seeds: list[int] = Field(
        default=[1, 2, 3, 4, 5],
        min_length=1,
        description="A list of different numbers, none negative, or a number n for 1..n. Each has its own split, "
        "initial weights and batches, and with 'kind: simulation' its own data.",
    )
    seeds_per_block: Size = Field(default=5, description="Seeds that one job takes.")
    comparators: list[Literal["networks", "linear"]] = Field(
        default=["networks", "linear"],
        description="'networks': single modalities, early and late fusion by the students' network. 'linear': logistic "
        "or ridge regression on all features and on each modality, and the prior (majority class or mean).",
    )
    metrics: list[Literal[CLASSIFICATION_METRICS + REGRESSION_METRICS]] = Field(
        default=[],
        description="Measures in the tables, the main one first; empty: all of the task's. Classification: accuracy, "
        "balanced_accuracy, roc_auc, log_loss. Regression: mse, mae, r2.",
    )

    @field_validator("seeds", mode="before")
    @classmethod
    def _count(cls, seeds: Any) -> Any:
        return list(range(1, seeds + 1)) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds

    @field_validator("seeds")
    @classmethod
    def _seeds_are_distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
            raise ValueError(f"seeds must be distinct, not negative and below 2^32, found {seeds}")
        return seeds

    @model_validator(mode="after")
    def _modalities_agree(self) -> "Experiment":
        known = self.source.modality_names
        for name in self.representations:
            if name in RESERVED:
                raise ValueError(f"representations: a modality cannot be called {name!r}, as tables have such a column")
            if name not in known:
                raise ValueError(f"representations: unknown modality {name!r}; {did_you_mean(name, known)}")
        if not self.representations:
            raise ValueError(f"representations: at least one modality is needed; known: {', '.join(known)}")
        return self

    @field_validator("metrics", "comparators")
    @classmethod
    def _once_each(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError(f"each may stand once, found {names}")
        return names

    @model_validator(mode="after")
    def _metrics_fit_the_task(self) -> "Experiment":
        fitting = CLASSIFICATION_METRICS if self.task == "classification" else REGRESSION_METRICS
        for metric in self.metrics:
            if metric not in fitting:
                raise ValueError(f"metrics: {metric!r} does not fit {self.task}; allowed: {', '.join(fitting)}")
        if not self.metrics:
            object.__setattr__(self, "metrics", list(fitting))
        return self

    @property
    def blocks(self) -> dict[str, list[int]]:
        """Seeds of each block, ascending, by the block's name: its first and last seed (``1-5``), or its only one."""
        size, seeds = self.seeds_per_block, sorted(self.seeds)
        parts = [seeds[start : start + size] for start in range(0, len(seeds), size)]
        return {f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]): part for part in parts}


class Study(Settings):
    """``config/config.yaml``: which experiments, and how jobs run."""

    experiments: list[str] = Field(
        min_length=1,
        description="Names of files in config/experiments/ (without .yaml), or paths of .yaml files. An experiment is "
        "called as its file is.",
    )
    threads: Size = Field(
        default=1,
        description="Threads of a job that computes. Part of the result's last bits, so it never follows free cores.",
    )
    pathvars: dict[Literal["results", "resources", "logs", "benchmarks"], str] = Field(
        default={}, description="Other places for <results>, <resources> and <logs> (Snakemake's path variables)."
    )

"""The models of ``config/config.yaml`` and of one experiment."""

import re
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from metafusion.config.base import Settings
from metafusion.config.checks import Checks
from metafusion.config.fronts import AnyFront, FitOn, Front, with_kind
from metafusion.config.source import TRUTH, Name
from metafusion.config.sources import AnySource
from metafusion.errors import did_you_mean

Task = Literal["classification", "regression"]
Size = Annotated[int, Field(ge=1)]
Penalty = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _ascending(points: list[float]) -> list[float]:
    if any(second <= first for first, second in pairwise(points)):
        raise ValueError(f"cut points must ascend, found {points}")
    return points


CutPoints = Annotated[
    list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1), AfterValidator(_ascending)
]

VariantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
Comparator = Literal["networks", "double_budget", "linear", "boosting", "cooperative", "oracle", "tuned", "tabm"]
TUNED = ("tuned", "tabm")
"""Families that are tuned by cross-validation over all that is not tested."""

CLASSIFICATION_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "roc_auc",
    "log_loss",
    "sensitivity",
    "specificity",
    "brier",
    "ece",
)
REGRESSION_METRICS = ("mse", "mae", "r2")
ON_REQUEST = ("itr_bits",)
"""Measures of classification that are no part of the default."""

TRAINED = ("hidden", "epochs", "learning_rate", "batch_size", "fine_tune")
EXTRACTOR_KEYS = {
    "pca": (),
    "pls": (),
    "separate": ("hidden",),
    "encoder": TRAINED,
    "autoencoder": TRAINED,
    "conv1d": (*TRAINED, "shape", "channels", "kernel"),
    "conv3d": (*TRAINED, "shape", "channels", "kernel"),
}
"""Keys of a modality's representations that have a meaning with each extractor."""

RESERVED = (TRUTH, "student", "name", "head", "cohort", "metric", "mean", "se", "seeds", "column", "sample")
"""Columns that stand beside the modalities' in tables of students and features."""


def _representation(given: Any) -> Any:
    known = given in ("raw", "absent") or (isinstance(given, int) and not isinstance(given, bool) and given >= 1)
    if not known:
        raise ValueError(
            f"{given!r} is no representation; allowed: 'raw', a positive number of latent variables, 'absent'"
        )
    return given


def _as_class(given: Any) -> Any:
    """Classes are text everywhere, and YAML reads 1 as a number."""
    if isinstance(given, bool):
        raise ValueError(f"found {given}, as YAML reads words such as yes and no; put the class in quotes: 'yes'")
    return str(given) if isinstance(given, int) else given


class Representations(Settings):
    """The representations of one modality, of which each student uses one."""

    sizes: list[Annotated[Literal["raw", "absent"] | int, BeforeValidator(_representation)]] = Field(
        min_length=1,
        description="'raw' (all features), numbers (so many latent variables), 'absent' (a student without it); each "
        "once, and not 'absent' alone.",
    )
    extractor: Literal["pca", "pls", "encoder", "separate", "autoencoder", "conv1d", "conv3d"] = Field(
        default="pca",
        description="What makes the latent variables of a given number. 'pca'. 'pls': partial least squares, the "
        "directions that vary most together with the other modalities. 'encoder': one network a modality, "
        "trained on the target, whose layers are the sizes from large to small. 'separate': a network a student, "
        "trained with it. 'autoencoder': a network a size, trained to restore the features. 'conv1d', 'conv3d': an "
        "encoder that begins with convolutions over the features as an array.",
    )
    scaling: Literal["standard", "none"] = Field(
        default="standard", description="'standard': z-scores with the training part's mean and deviation; or 'none'."
    )
    fit_on: FitOn = Field(
        default="train",
        description="The samples of a seed that imputation, 'before', scaling and PCA are fitted on. Networks learn on "
        "train in any case. 'everything' leaks the test part: scores are then too good to be expected of new samples.",
    )
    before: AnyFront = Field(
        default=Front(),
        description="What is made of the columns before they are scaled; 'raw' and all else is made of what comes out. "
        "A kind, or a mapping with 'kind' and its keys.",
    )
    hidden: list[Size] = Field(
        default=[],
        description="Widths of the extractor's layers before its first latent one ('autoencoder': and, mirrored, after "
        "it). Not with 'pca' and 'pls'.",
    )
    epochs: Size = Field(default=20, description="Epochs of an extractor that is trained before the students.")
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False, description="Its step size of Adam.")
    batch_size: Size = Field(default=64, description="Samples in its mini-batches.")
    fine_tune: bool = Field(
        default=False,
        description="Whether each student trains a copy of the extractor further, or all share it as it is.",
    )
    shape: list[Size] = Field(
        default=[],
        description="'conv1d': channels and times, or [] to take them from columns that are called as 'C3_t0.10' is; "
        "'conv3d': the three lengths of a volume, or channels before them. Their product is the number of features, of "
        "which the last index runs fastest.",
    )
    channels: list[Size] = Field(
        default=[8, 16],
        min_length=1,
        description="'conv1d', 'conv3d': channels of each convolution; each takes every second place along every axis, "
        "and ReLU follows.",
    )
    kernel: Size = Field(default=3, description="'conv1d', 'conv3d': length of the kernels along every axis; odd.")

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

    @model_validator(mode="after")
    def _keys_fit_the_extractor(self) -> "Representations":
        allowed = {"sizes", "extractor", "scaling", "fit_on", "before", *EXTRACTOR_KEYS[self.extractor]}
        for key in sorted(self.model_fields_set - allowed):
            # Defaults written out are no mistake: a dumped configuration can be read again.
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key!r} has no meaning with 'extractor: {self.extractor}'; remove it")
        lengths = {"conv1d": (0, 2), "conv3d": (3, 4)}.get(self.extractor)
        if lengths and len(self.shape) not in lengths:
            what = "[channels, times]" if self.extractor == "conv1d" else "[x, y, z] or [channels, x, y, z]"
            raise ValueError(f"'extractor: {self.extractor}' needs 'shape: {what}', found {self.shape}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, so that a result belongs to a place, found {self.kernel}")
        return self

    @model_validator(mode="after")
    def _convolutions_get_an_array(self) -> "Representations":
        kind, components = self.before.kind, self.before.components
        if self.extractor not in ("conv1d", "conv3d") or kind == "none":
            return self
        if self.extractor == "conv3d" or kind != "channel_pca":
            raise ValueError(
                f"before: {kind!r} leaves no array for 'extractor: {self.extractor}'; remove it, or take 'encoder'"
            )
        if self.shape and self.shape[0] != components:
            raise ValueError(
                f"shape: after 'channel_pca' it is [components, channels], so [{components}, ...], found {self.shape}"
            )
        return self

    @property
    def numbers(self) -> list[int]:
        """The numbers of latent variables, from large to small."""
        return sorted((size for size in self.sizes if isinstance(size, int)), reverse=True)

    @property
    def names(self) -> list[str]:
        """The representations by name, such as ``raw``, ``encoder40`` and ``absent``, wide ones first."""
        latent = [f"{self.extractor}{number}" for number in self.numbers]
        first, last = (["raw"] if "raw" in self.sizes else []), (["absent"] if "absent" in self.sizes else [])
        return first + latent + last

    @property
    def leaks(self) -> bool:
        """Whether something of it is fitted on the test part, too."""
        return "everything" in (self.fit_on, self.before.fit_on)

    @property
    def learnt(self) -> bool:
        """Whether the extractor is a network that is trained before the students."""
        return bool(self.numbers) and not self.linear and self.extractor != "separate"

    @property
    def linear(self) -> bool:
        """Whether latent variables are projections of the features on components that are fitted without training."""
        return self.extractor in ("pca", "pls")

    @property
    def components(self) -> list[int]:
        """The numbers of such components, from large to small; none with another extractor."""
        return self.numbers if self.linear else []


class Split(Settings):
    """Who trains, who validates, who tests. Drawn anew for every seed."""

    scheme: Literal["repeated", "folds", "sessions"] = Field(
        default="repeated",
        description="Who tests. 'repeated': a random part, drawn anew for every seed. 'folds': cross-validation, a "
        "fold a seed: each K seeds in a row (1 to K, K + 1 to 2K, ...) test every unit once. 'sessions': each seed "
        "tests one session, the first in order of their names by seed 1. The validation part is drawn from the rest in "
        "any case.",
    )
    folds: Annotated[int, Field(ge=2)] = Field(
        default=5,
        description="With 'scheme: folds', how many (K). Seeds must be whole repetitions: 1 to a multiple of it.",
    )
    test_fraction: float = Field(
        default=0.2, gt=0, lt=1, description="Fraction of the units in the test part, where no official one is given."
    )
    validation_fraction: float = Field(
        default=0.25, gt=0, lt=1, description="Fraction of the remaining units in the validation part."
    )
    units: Size | None = Field(
        default=None,
        description="With 'scheme: repeated', how many subjects (or samples, see 'unit') each seed uses, drawn anew "
        "with the class proportions of all where 'stratify'; for learning curves. null: all.",
    )
    untested_units: Size | None = Field(
        default=None,
        description="For learning curves: how many subjects (or samples, see 'unit') each seed keeps of those that it "
        "does not test, with the class proportions of all where 'stratify'. The test part stays whole, and 50 are "
        "among the 100 of the same seed. 'experiment@100' is the experiment with this. null: all.",
    )
    cross_fitting: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="0: no. K: the samples that are not tested are dealt to K folds, and K cohorts (and comparators) "
        "are trained, each without one fold and stopped on another. All is chosen on the predictions of samples that a "
        "cohort has not seen, and the K answers for the test part are averaged.",
    )
    unit: Literal["subject", "sample"] = Field(
        default="subject",
        description="'subject': no subject on two sides. 'sample': within-subject decoding, e.g. trials of one animal.",
    )
    stratify: bool = Field(
        default=True,
        description="Keep the class proportions in every part (classification): those of subjects by their most "
        "frequent class, unless most subjects have samples of several.",
    )
    random_state: Literal["independent", "seed"] = Field(
        default="independent",
        description="'independent': the test and the validation part of each seed are drawn from streams of their own. "
        "'seed': both from scikit-learn's train_test_split with the seed itself, as the authors do.",
    )

    @model_validator(mode="after")
    def _keys_fit_the_scheme(self) -> "Split":
        # Defaults written out are no mistake: a dumped configuration can be read again.
        for key, fitting in (("folds", "folds"), ("test_fraction", "repeated"), ("units", "repeated")):
            if self.scheme != fitting and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key!r} has no meaning with 'scheme: {self.scheme}'; remove it")
        if self.cross_fitting and self.validation_fraction != type(self).model_fields["validation_fraction"].default:
            raise ValueError(
                "'validation_fraction' has no meaning with 'cross_fitting', whose folds validate; remove it"
            )
        if self.cross_fitting in (1, 2):
            raise ValueError(
                f"cross_fitting: a cohort learns, stops and is judged on different folds, which takes 3 or more, found "
                f"{self.cross_fitting}; 0 is none"
            )
        return self

    @property
    def tuning_folds(self) -> int:
        """Folds of the comparators that are tuned by cross-validation: those of cross-fitting, or five."""
        return self.cross_fitting or 5


class Shuffle(Settings):
    """A permutation test: labels that say nothing, and the same pipeline."""

    within: Literal["session", "subject", "everything"] = Field(
        default="session",
        description="Labels are exchanged among the samples of one session of one subject, of one subject, or of all; "
        "always within the parts of an official split. A source that knows no sessions has one. Where a subject's "
        "samples all have one label and 'unit: subject' splits, whole subjects are exchanged.",
    )
    splits: Size | None = Field(
        default=None,
        description="Seeds that share a permutation: 1 to k have the first one, and so on. Its statistic is their "
        "mean. null: 1; with 'scheme: folds' as many as folds; with 'scheme: sessions' it must be given, at best as "
        "many as sessions.",
    )


class Windows(Settings):
    """Decoding over time: the experiment in windows that slide along the trial."""

    width: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(description="Width of a window in s.")
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(description="From one window to the next, in s.")
    start: Annotated[float, Field(allow_inf_nan=False)] = Field(description="Where the first window begins, in s.")
    stop: Annotated[float, Field(allow_inf_nan=False)] = Field(
        description="Where the last one ends at the latest, in s."
    )

    @model_validator(mode="after")
    def _holds_one(self) -> "Windows":
        if not self.each:
            raise ValueError(
                f"no window of {self.width:g} s lies between {self.start:g} and {self.stop:g} s; give them more room"
            )
        return self

    @property
    def each(self) -> dict[str, tuple[float, float]]:
        """The windows (s) by the name of their variant, ``t1`` the first."""
        # Their number from the lengths, not step by step, so that round-off cannot lose the last.
        number = int((self.stop - self.start - self.width) / self.step + 1 + 1e-9)
        starts = [round(self.start + place * self.step, 9) for place in range(max(0, number))]
        return {f"t{place}": (start, round(start + self.width, 9)) for place, start in enumerate(starts, start=1)}


class Ensemble(Settings):
    """The greedy ensemble (the method called Meta Fusion)."""

    keep: float = Field(default=0.8, gt=0, le=1, description="Share of the students, best first, that may be members.")
    start: int = Field(
        default=3, ge=1, description="Number of the best students to start with; never more than 'most'."
    )
    most: int = Field(default=30, ge=1, description="Members at most.")
    selection: Literal["greedy", "bagged"] = Field(
        default="greedy",
        description="'greedy': each student once, weighted by its loss, until nobody helps. 'bagged': students may be "
        "taken again and again, which weights them, and that from many random shares of the students, which are then "
        "averaged.",
    )
    bags: Size = Field(default=20, description="'bagged': number of random shares.")
    bag_share: float = Field(default=0.5, gt=0, le=1, description="'bagged': share of the students in each.")
    shrinkage: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        default=[0.0],
        min_length=1,
        description="'bagged': how far the weights go towards those of equal ones of the students kept. Several are "
        "tried, by parts of the samples that choose (with cross-fitting its folds) left out of the selection in turn.",
    )
    average: Literal["outputs", "probabilities"] = Field(
        default="outputs",
        description="Classification: what is averaged, the students' logits or their probabilities. 'bagged' needs the "
        "latter.",
    )
    calibration: Literal["none", "temperature"] = Field(
        default="none",
        description="Classification: 'temperature' divides each student's logits by a number that suits the samples "
        "that choose, before anything is averaged.",
    )
    thresholds: Literal["none", "balanced_accuracy"] = Field(
        default="none",
        description="Classification: 'balanced_accuracy' adds the method meta_fusion_thresholds, whose classes are "
        "raised by what is best for the balanced accuracy of the samples that choose; for rare classes.",
    )
    stacked_average: bool = Field(
        default=False,
        description="Whether there is an ensemble with weights by non-negative least squares, too.",
    )
    independent_list: Literal["selected", "reused"] = Field(
        default="selected",
        description="Members of the independent cohort's greedy ensemble: selected on that cohort, or those of the "
        "chosen penalty's ensemble with weights of their own.",
    )
    stacking_epochs: int = Field(
        default=10,
        ge=0,
        description="Epochs of the network that stacks the students' outputs, trained on the training part; 0: no "
        "stacking.",
    )
    stacking_learning_rate: float = Field(
        default=0.1, gt=0, allow_inf_nan=False, description="Its step size of Adam; the authors'."
    )

    @model_validator(mode="after")
    def _keys_fit_the_selection(self) -> "Ensemble":
        if self.selection == "bagged" and self.independent_list == "reused":
            raise ValueError("independent_list: 'reused' is of 'selection: greedy', as published; set 'selected'")
        for key in ("bags", "bag_share", "shrinkage"):
            # Defaults written out are no mistake: a dumped configuration can be read again.
            if self.selection == "greedy" and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key!r} has no meaning with 'selection: greedy'; remove it")
        return self


class Cooperative(Settings):
    """Cooperative learning, a comparator (Ding et al. 2022)."""

    agreements: list[Penalty] = Field(
        default=[0.0, 0.5, 2.0],
        min_length=1,
        description="Weights of the agreement penalty to choose from by the validation loss; the method with a joint "
        "network takes those below 1.",
    )
    joint_residual: Literal["included", "left_out"] = Field(
        default="included",
        description="Whether the joint network's prediction counts when the single ones are trained; in the authors' "
        "code it is left out.",
    )


class Head(Settings):
    """The network on top of a student's representations."""

    hidden: list[Size] = Field(
        default=[64, 32], description="Widths of the hidden layers; [] for a linear student (no hidden layer)."
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Decoupled weight decay (AdamW) of the student's weights; biases have none.",
    )
    sparsity: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="How far each step moves the student's weights towards 0, where they stay (lasso), in shares of "
        "the learning rate; biases are not moved. With weight_decay, an elastic net.",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of a hidden layer's units that is left out.")

    @property
    def name(self) -> str:
        """A name made of what the head is: ``linear``, ``64_32``, ``64_32_decay0.1_dropout0.5``."""
        widths = "_".join(map(str, self.hidden)) or "linear"
        decay = f"_decay{self.weight_decay:g}" if self.weight_decay else ""
        sparse = f"_sparse{self.sparsity:g}" if self.sparsity else ""
        return widths + decay + sparse + (f"_dropout{self.dropout:g}" if self.dropout else "")


class Cohort(Head):
    """How the students are built and trained; the networks among the comparators have the same budget."""

    more_heads: list[Head] = Field(
        default=[],
        description="Further heads, each a mapping with 'hidden', 'weight_decay', 'sparsity', 'dropout'. Every "
        "combination of representations has a student with each head; the comparators use the one above.",
    )
    modalities_per_student: list[Size] = Field(
        default=[],
        description="How many modalities a student may see, such as [1, 2] or, of six, [1, 5, 6]; empty: any number. "
        "The number of combinations doubles with each modality: ten that may be absent make 1023 students a head.",
    )
    epochs: Size = Field(default=30, description="Epochs, the same for every penalty and every network.")
    batch_size: Size = Field(default=64, description="Samples in a mini-batch.")
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False, description="Step size of Adam.")
    patience: int = Field(
        default=0,
        ge=0,
        description="A student's best epoch is looked for until so many epochs in a row were no better; a cohort ends "
        "when all its students have come to that. 0: all epochs.",
    )
    kept_epoch: Literal["best", "last"] = Field(
        default="best",
        description="What is kept of a student: its best epoch by the validation loss, or the last one. With 'last' "
        "and 'teaching: none' nothing is decided in training, and cross-fitting spares no fold for decisions.",
    )
    balanced: bool = Field(
        default=False,
        description="Classification: whether every class counts alike in the task loss of students and of the networks "
        "among the comparators, however rare it is in the training part. Their probabilities are then those of equal "
        "classes.",
    )
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
    teaching: Literal["clustering", "worst_cluster", "fixed", "adaptive", "none"] = Field(
        default="clustering",
        description="Who teaches. 'clustering': the best cluster of the independent cohort's validation losses. "
        "'worst_cluster': the worst one (the study of negative learning). 'fixed': everybody, weighted by those losses "
        "to the power -exponent. 'adaptive': the same with the losses of the last epoch. 'none': everybody alike.",
    )
    clusters: Literal["silhouette", "elbow"] = Field(
        default="silhouette", description="What chooses the number of clusters."
    )
    most_clusters: int = Field(default=10, ge=2, description="Most clusters of validation losses to choose among.")
    exponent: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="Of 'fixed' and 'adaptive' teaching.")
    normaliser: Literal["others", "all"] = Field(
        default="others",
        description="The weights that the divergence from the teachers is divided by: those of the other students, or "
        "of all, the student itself among them.",
    )
    warm_start: bool = Field(
        default=False,
        description="Whether the first penalty above 0 goes on from the best states of the independent cohort.",
    )
    equal_budget: bool = Field(
        default=True,
        description="Whether every method gets the same number of epochs: 'epochs', or twice as many with "
        "'warm_start'. If not, the first penalty above 0 alone gets twice as many.",
    )
    frozen_extractors: Literal["frozen", "first_user_trains"] = Field(
        default="frozen",
        description="What frozen means: nobody trains an extractor further; or, as in the authors' code, the first "
        "student that uses it does, on a copy.",
    )
    refit: bool = Field(
        default=False,
        description="With 'split.cross_fitting', where nothing is decided in training: whether a further cohort, which "
        "learns from all that is not tested, answers for the test part, and not the mean of the folds' cohorts.",
    )
    repetition: int = Field(
        default=0,
        ge=0,
        description="Number of the initial weights and mini-batches: another one trains the same seeds, data and "
        "splits again.",
    )

    @field_validator("penalties")
    @classmethod
    def _zero_first(cls, penalties: list[float]) -> list[float]:
        if 0 not in penalties:
            raise ValueError("penalties must contain 0: the independent cohort decides who teaches")
        if len(set(penalties)) < len(penalties):
            raise ValueError(f"each penalty may stand once, found {penalties}")
        return sorted(penalties)

    @model_validator(mode="after")
    def _the_last_epoch_is_known(self) -> "Cohort":
        if self.kept_epoch == "last" and self.patience:
            raise ValueError("patience: has no meaning with 'kept_epoch: last'; remove it")
        return self

    @property
    def decides(self) -> bool:
        """Whether training looks at the validation part: for the best epoch, or for who teaches."""
        return self.kept_epoch == "best" or self.teaching != "none"

    @model_validator(mode="after")
    def _heads_differ(self) -> "Cohort":
        names = [head.name for head in self.heads]
        if len(set(names)) < len(names):
            raise ValueError(f"more_heads: each head may stand once, found {', '.join(names)}")
        return self

    @property
    def heads(self) -> list[Head]:
        """All heads, the main one first."""
        main = Head(**{name: getattr(self, name) for name in Head.model_fields})
        return [main, *self.more_heads]

    def stream_of(self, seed: int) -> str:
        """Return what names a seed's random streams of weights, mini-batches and dropout."""
        return f"{seed}/{self.repetition}" if self.repetition else str(seed)

    @property
    def budget(self) -> int:
        """Epochs of every method that is not the first penalty above 0."""
        return 2 * self.epochs if self.warm_start and self.equal_budget else self.epochs


AS_PUBLISHED = {
    "cohort": {
        "warm_start": True,
        "equal_budget": False,
        "normaliser": "all",
        "frozen_extractors": "first_user_trains",
        "target_scaling": "none",
    },
    "cooperative": {"agreements": [0.0, 0.99], "joint_residual": "left_out"},
    "ensemble": {"independent_list": "reused"},
    "split": {"unit": "sample", "stratify": False, "random_state": "seed"},
    "late_fusion": "outputs",
}
STRONG = {
    "cohort": {
        "hidden": [],
        "weight_decay": 0.3,
        "dropout": 0.0,
        "more_heads": [
            {"hidden": [], "weight_decay": 3.0},
            {"hidden": [], "weight_decay": 0.3, "sparsity": 0.2},
            {"hidden": [32], "weight_decay": 0.3, "sparsity": 0.1, "dropout": 0.5},
            {"hidden": [128], "weight_decay": 0.3, "dropout": 0.5},
        ],
        "epochs": 40,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "kept_epoch": "last",
        "teaching": "none",
        "penalties": [0.0, 0.3, 1.0],
    },
    "ensemble": {
        "selection": "bagged",
        "average": "probabilities",
        "calibration": "temperature",
        "keep": 0.25,
        "stacked_average": True,
        "stacking_epochs": 0,
    },
    "split": {"cross_fitting": 5},
    "comparators": ["networks", "linear", "tuned"],
}
"""What suits a few hundred samples: students that are held back, and nothing chosen on one small part."""
AS_PUBLISHED_SIMULATION = {"interaction_coefficients": "integers", "random_streams": "reseeded"}


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
    protocol: Literal["corrected", "as_published", "strong"] = Field(
        default="corrected",
        description="'corrected': nothing fitted outside train, equal budgets. 'as_published': as the authors' code "
        "does it. 'strong': corrected, for small data: regularised students, cross-fitting, calibrated and bagged "
        "ensembles. Each is a set of defaults for keys that can also be set one by one: see docs/method.md.",
    )
    cooperative: Cooperative = Field(default=Cooperative(), description="How that comparator is trained.")
    late_fusion: Literal["probabilities", "outputs"] = Field(
        default="probabilities",
        description="Classification: late fusion is the mean of the modalities' probabilities, or of their logits.",
    )
    split: Split = Field(default=Split(), description="Who trains, who validates, who tests.")
    shuffle: Shuffle | None = Field(
        default=None,
        description="Labels are shuffled, as a permutation test needs it: 'experiment@shuffled' is the experiment with "
        "this and 100 permutations, with folds or sessions 20 or more. null: no.",
    )
    windows: Windows | None = Field(
        default=None,
        description="Decoding over time: 'experiment@windows' in config.yaml stands for this experiment in each of "
        "these windows, 'experiment@t1' for that in the first. The source must know time. null: none.",
    )
    checks: Checks = Field(default=Checks(), description="When a check of the data calls something suspect.")
    seeds: list[int] = Field(
        default=[1, 2, 3, 4, 5],
        min_length=1,
        description="A list of different numbers, none negative, or a number n for 1..n. Each has its own split, "
        "initial weights and batches, and with 'kind: simulation' its own data.",
    )
    seeds_per_block: Size = Field(default=5, description="Seeds that one job takes.")
    comparators: list[Comparator] = Field(
        default=["networks", "linear"],
        description="'networks': single modalities, early and late fusion by the students' network. 'double_budget': "
        "the same with twice the epochs. 'linear': logistic or ridge regression on all features and on each modality, "
        "and the prior (majority class or mean). 'boosting': gradient boosting on all features. 'cooperative': "
        "cooperative learning (regression). 'oracle': the students' network on the true latent variables (simulation). "
        "'tuned': linear models, elastic net, gradient boosting and a super learner, all tuned alike by cross-"
        "validation over all that is not tested. 'tabm': TabM, networks that share most of their weights, tuned in "
        "the same way; needs the package tabm.",
    )
    variants: dict[VariantName, dict[str, Any]] = Field(
        default={},
        description="Changes of this file's keys by name, each a mapping of the same form. config.yaml asks for one as "
        "'experiment@name'.",
    )
    metrics: list[Literal[CLASSIFICATION_METRICS + ON_REQUEST + REGRESSION_METRICS]] = Field(
        default=[],
        description="Measures in the tables, the main one first; empty: all of the task's but itr_bits. "
        "Classification: accuracy, balanced_accuracy, roc_auc, log_loss, sensitivity, specificity, brier (Brier "
        "score), ece (expected calibration error), itr_bits (information transfer in bits a trial). Regression: mse, "
        "mae, r2.",
    )
    positive: Annotated[str, BeforeValidator(_as_class, json_schema_input_type=str | int)] | None = Field(
        default=None,
        description="Classification: the class, such as the illness, of which sensitivity and specificity tell. null: "
        "the last of two classes; of more, the mean of each class against the rest.",
    )
    subgroups: dict[str, CutPoints | None] = Field(
        default={},
        description="Groups of people that scores are told of, too: a column that the source knows of them, such as "
        "age, sex or site, and null for its values or ascending cut points for bands, such as {sex: null, age: [65, "
        "75]}. A seed counts where it tests ten of the group or more.",
    )

    @model_validator(mode="before")
    @classmethod
    def _by_protocol(cls, given: Any) -> Any:
        """Under ``as_published`` and ``strong``, keys that are not given have other values."""
        if not isinstance(given, dict) or given.get("protocol") not in ("as_published", "strong"):
            return given
        if given["protocol"] == "strong":
            return _filled(given, _without_probabilities(STRONG) if given.get("task") == "regression" else STRONG)
        filled = _filled(given, AS_PUBLISHED)
        source, representations = given.get("source"), given.get("representations")
        if isinstance(source, dict) and source.get("kind") == "simulation":
            filled["source"] = AS_PUBLISHED_SIMULATION | source
        if isinstance(representations, dict):
            filled["representations"] = {
                name: _merged(_published(source, name, one), _long(one)) for name, one in representations.items()
            }
        return filled

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

    @model_validator(mode="after")
    def _directions_are_shared_with_somebody(self) -> "Experiment":
        name, choice = next(iter(self.representations.items()))
        if len(self.representations) == 1 and choice.extractor == "pls":
            raise ValueError(
                f"representations.{name}: 'extractor: pls' looks for what is shared with other modalities, and there "
                "is none; take 'pca'"
            )
        return self

    @model_validator(mode="after")
    def _some_student_sees_so_many(self) -> "Experiment":
        least = max(1, sum("absent" not in choice.names for choice in self.representations.values()))
        possible = range(least, len(self.representations) + 1)
        if wrong := set(self.cohort.modalities_per_student) - set(possible):
            raise ValueError(
                f"cohort.modalities_per_student: no student can see {min(wrong)}; with these representations they see "
                f"{least} to {len(self.representations)} modalities"
            )
        return self

    @field_validator("variants")
    @classmethod
    def _no_switch(cls, variants: dict) -> dict:
        known = {*SWITCHES, *STRONG_SWITCHES, SHUFFLED, WINDOWS}
        taken = sorted(name for name in variants if name in known or IS_SIZE.match(name))
        if taken:
            raise ValueError(
                f"{', '.join(taken)}: taken by a switch between the protocols, or another variant that all experiments "
                "have; choose another name"
            )
        return variants

    @model_validator(mode="after")
    def _seeds_fit_the_split(self) -> "Experiment":
        split, k = self.split, self.splits_per_permutation
        if split.scheme == "repeated" and not self.shuffle:
            return self
        if min(self.seeds) < 1:
            raise ValueError("seeds: with 'split.scheme', 'shuffle' or both they count from 1; leave 0 out")
        length = k if self.shuffle else split.folds if split.scheme == "folds" else 1
        if split.scheme == "folds" and length % split.folds:
            raise ValueError(
                f"shuffle.splits: {length} is no multiple of the {split.folds} folds, so that a permutation would not "
                f"test every unit equally often; give {split.folds}, or remove the key"
            )
        rounds = {(seed - 1) // length for seed in self.seeds}
        if len(rounds) * length != len(self.seeds):
            what = "permutation" if self.shuffle else "repetition of the folds"
            raise ValueError(
                f"seeds: each {what} takes {length} seeds in a row, from 1 on, and {len(self.seeds)} seeds are not "
                f"whole ones; set 'seeds: {length * len(rounds)}', or another multiple of {length}"
            )
        return self

    @model_validator(mode="after")
    def _ensembles_fit_the_task(self) -> "Experiment":
        chosen = self.ensemble
        if self.task == "classification" and chosen.selection == "bagged" and chosen.average == "outputs":
            raise ValueError("ensemble: 'selection: bagged' averages probabilities; set 'average: probabilities', too")
        if self.task == "regression" and chosen.thresholds != "none":
            raise ValueError("ensemble.thresholds: only 'task: classification' has decisions; remove it")
        if self.task == "regression" and self.cohort.balanced:
            raise ValueError("cohort.balanced: only 'task: classification' has classes; remove it")
        if self.task == "regression" and chosen.calibration != "none":
            raise ValueError("ensemble.calibration: only 'task: classification' has probabilities; remove it")
        return self

    @model_validator(mode="after")
    def _folds_stack_nothing(self) -> "Experiment":
        if self.split.cross_fitting and self.ensemble.stacking_epochs:
            raise ValueError(
                "ensemble.stacking_epochs: the stacking network learns from students' answers on their own training "
                "part, which 'split.cross_fitting' has not; set it to 0"
            )
        # A run each fold, and one more.
        runs = self.split.cross_fitting + 1
        if self.split.cross_fitting and (max(self.seeds) + 1) * runs > 2**32:
            raise ValueError(f"seeds: with 'split.cross_fitting' they must be below {2**32 // runs}")
        if self.cohort.refit and (self.decides or not self.split.cross_fitting):
            raise ValueError(
                "cohort.refit: who learns from all that is not tested has nothing left to decide by; it takes "
                "'split.cross_fitting', 'cohort.kept_epoch: last', 'cohort.teaching: none', and no extractor that is "
                "trained before the students (such as in 'protocol: strong')"
            )
        return self

    @model_validator(mode="after")
    def _labels_can_be_shuffled(self) -> "Experiment":
        if not self.shuffle:
            return self
        if self.source.kind == "simulation":
            raise ValueError("shuffle: 'kind: simulation' draws new data for every seed already; remove it")
        if self.split.scheme == "sessions" and not self.shuffle.splits:
            raise ValueError(
                "shuffle.splits: with 'split.scheme: sessions' say how many sessions a permutation tests, such as all "
                "four: 'shuffle: {splits: 4}'"
            )
        return self

    @model_validator(mode="after")
    def _windows_fit(self) -> "Experiment":
        if self.windows:
            try:
                for window in self.windows.each.values():
                    self.source.with_window(window)
            except ValueError as error:
                raise ValueError(f"windows: {error}") from None
            taken = sorted(set(self.variants) & set(self.windows.each))
            if taken:
                raise ValueError(f"variants: {', '.join(taken)}: taken by a window of 'windows'; choose another name")
        return self

    @property
    def decides(self) -> bool:
        """Whether any network's training looks at the validation part, see :attr:`Cohort.decides`."""
        return self.cohort.decides or any(choice.learnt for choice in self.representations.values())

    @property
    def splits_per_permutation(self) -> int:
        """Seeds that share a permutation of the labels; without ``shuffle`` of no meaning."""
        given = self.shuffle.splits if self.shuffle else None
        return given or (self.split.folds if self.split.scheme == "folds" else 1)

    @property
    def window_changes(self) -> dict[str, dict[str, Any]]:
        """What each variant of ``windows`` changes, by its name."""
        each = self.windows.each if self.windows else {}
        return {name: {"source": self.source.with_window(window), "windows": None} for name, window in each.items()}

    @model_validator(mode="after")
    def _comparators_fit(self) -> "Experiment":
        if "double_budget" in self.comparators and len(self.representations) < 2:
            raise ValueError(
                "comparators: 'double_budget' is of early and late fusion, which need two modalities; remove it"
            )
        if "cooperative" in self.comparators:
            if self.task != "regression":
                raise ValueError("comparators: 'cooperative' is for 'task: regression'; remove it")
            if len(self.representations) < 2:
                raise ValueError("comparators: 'cooperative' needs two modalities or more; remove it")
        if "oracle" in self.comparators and not self.source.has_truth:
            raise ValueError("comparators: 'oracle' needs 'kind: simulation', whose latent variables are known")
        return self

    @model_validator(mode="after")
    def _simulated_target_fits(self) -> "Experiment":
        if self.source.kind != "simulation":
            return self
        if self.task == "classification" and not self.source.classes:
            raise ValueError("source.classes: 'task: classification' needs the share of each class, such as [0.5, 0.5]")
        if self.task == "regression" and self.source.classes:
            raise ValueError("source.classes: 'task: regression' has no classes; remove the key, or change the task")
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
        allowed = (*fitting, *(ON_REQUEST if self.task == "classification" else ()))
        for metric in self.metrics:
            if metric not in allowed:
                raise ValueError(f"metrics: {metric!r} does not fit {self.task}; allowed: {', '.join(allowed)}")
        if not self.metrics:
            object.__setattr__(self, "metrics", list(fitting))
        return self

    @model_validator(mode="after")
    def _positive_is_a_class(self) -> "Experiment":
        if self.positive is not None and self.task == "regression":
            raise ValueError("positive: only 'task: classification' has classes; remove it")
        return self

    @property
    def blocks(self) -> dict[str, list[int]]:
        """Seeds of each block, ascending, by the block's name: its first and last seed (``1-5``), or its only one."""
        size, seeds = self.seeds_per_block, sorted(self.seeds)
        parts = [seeds[start : start + size] for start in range(0, len(seeds), size)]
        return {f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]): part for part in parts}


def _filled(given: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return a mapping with the defaults that it lacks, one level deep."""
    filled = defaults | given
    for key, values in defaults.items():
        if isinstance(values, dict) and isinstance(filled[key], dict):
            filled[key] = values | filled[key]
    return filled


def _without_probabilities(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes that make sense in regression."""
    ensemble = {key: value for key, value in changes.get("ensemble", {}).items() if key not in OF_PROBABILITIES}
    return changes | {"ensemble": ensemble}


def _published(source: Any, modality: str, choice: Any) -> dict[str, Any]:
    """Return the keys of a modality's representations that the authors' code has other values for."""
    kinds = {get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in get_args(get_args(AnySource)[0])}
    named = source.get("kind") if isinstance(source, dict) else getattr(source, "kind", None)
    known = isinstance(named, str) and named in kinds
    published = kinds[named].published_representations.get(modality, {}) if known else {}
    choice = _long(choice)
    front = choice.get("before") if isinstance(choice, dict) else None
    if not isinstance(front, dict) or front.get("kind", "none") == "none":
        # Nothing comes before, so nothing can be said of what it is fitted on.
        published = {key: value for key, value in published.items() if key != "before"}
    return {"fit_on": "train_and_validation"} | published


SWITCHES = {
    **{key: {"cohort": {key: value}} for key, value in AS_PUBLISHED["cohort"].items()},
    **{key: {"ensemble": {key: value}} for key, value in AS_PUBLISHED["ensemble"].items()},
    **{key: {"source": {key: value}} for key, value in AS_PUBLISHED_SIMULATION.items()},
    "cooperative": {"cooperative": AS_PUBLISHED["cooperative"]},
    "split": {"split": AS_PUBLISHED["split"]},
    "late_fusion": {"late_fusion": AS_PUBLISHED["late_fusion"]},
    "fit_on": {"representations": {}},
    "as_published": {"protocol": "as_published"},
}
"""Variants that every experiment has: each switch between these two protocols by itself, and all together."""
UNDECIDED = ("kept_epoch", "teaching", "penalties")
"""Keys of a cohort in whose training nothing is decided."""
STRONG_SWITCHES = {
    "cross_fitting": {
        "split": {**STRONG["split"], "validation_fraction": Split().validation_fraction},
        "ensemble": {"stacking_epochs": 0},
    },
    "regularised": {"cohort": {key: value for key, value in STRONG["cohort"].items() if key not in UNDECIDED}},
    "undecided": {"cohort": {key: STRONG["cohort"][key] for key in UNDECIDED}},
    "probabilities": {"ensemble": {"average": "probabilities"}},
    "calibration": {"ensemble": {"average": "probabilities", "calibration": "temperature"}},
    "bagged": {"ensemble": {key: STRONG["ensemble"][key] for key in ("selection", "average", "keep")}},
    "refit": {"cohort": {"refit": True}},
    "strong": {
        "protocol": "strong",
        **STRONG,
        "split": {**STRONG["split"], "validation_fraction": Split().validation_fraction},
    },
}
"""The same of the protocol ``strong``. They change what a file gives, too."""
OF_PROBABILITIES = ("average", "calibration")
"""Keys of the ensemble that have a meaning in classification only."""
SHUFFLED = "shuffled"
"""The variant with shuffled labels, which every experiment has, too."""
IS_SIZE = re.compile(r"[0-9]+$")
"""A variant that is a number: so many units besides those that are tested."""
WINDOWS = "windows"
"""Stands for every variant that slides the window along the trial."""


def without_size(experiment: str) -> str:
    """Return what an experiment is called without the number of units that it is cut to.

    Examples
    --------
    >>> without_size("eeg_scp@50+strong"), without_size("eeg_scp@50"), without_size("eeg_scp")
    ('eeg_scp@strong', 'eeg_scp', 'eeg_scp')
    """
    stem, _, variant = experiment.partition("@")
    others = "+".join(name for name in variant.split("+") if name and not IS_SIZE.match(name))
    return f"{stem}@{others}" if others else stem


def with_variant(
    content: dict[str, Any], variant: str, more: dict[str, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return an experiment's content with the keys of a variant changed.

    Parameters
    ----------
    content : dict
        As read from the file, its own ``variants`` included.
    variant : str
        A name of :data:`SWITCHES`, of the experiment's ``variants`` or of ``more``, :data:`SHUFFLED`, a number, or
        several joined by ``+``.
    more : dict of str to dict, optional
        Further variants, see :attr:`Experiment.window_changes`.

    Raises
    ------
    ValueError
        No such variant.
    """
    known = SWITCHES | STRONG_SWITCHES | {SHUFFLED: {}} | (content.get("variants") or {}) | (more or {})
    changed = {key: value for key, value in content.items() if key != "variants"}
    for name in variant.split("+"):
        if IS_SIZE.match(name):
            changed = _merged(changed, {"split": {"untested_units": int(name)}})
            continue
        if name not in known:
            raise ValueError(f"no variant {name!r}; {did_you_mean(name, known)}")
        changes = known[name]
        if name == "fit_on":
            # The switch is of every modality, whatever they are called.
            source, chosen = changed.get("source"), changed.get("representations") or {}
            chosen = chosen if isinstance(chosen, dict) else {}
            published = {name: _published(source, name, one) for name, one in chosen.items()}
            changes = {
                "representations": {
                    name: {key: keys[key] for key in ("fit_on", "before") if key in keys}
                    for name, keys in published.items()
                }
            }
        if name == SHUFFLED:
            changes = _shuffled(changed)
        if changed.get("task") == "regression" and name in STRONG_SWITCHES:
            changes = _without_probabilities(changes)
        changed = _merged(changed, changes)
    changed["title"] = f"{changed.get('title', '')} [{variant}]"
    return changed


def _shuffled(content: dict[str, Any]) -> dict[str, Any]:
    """Return the changes of the variant ``shuffled``: every permutation is tested as the experiment itself is."""
    split, seeds = content.get("split") or {}, content.get("seeds", Experiment.model_fields["seeds"].default)
    folds, sessions = split.get("folds", Split().folds), seeds if isinstance(seeds, int) else len(seeds)
    splits = {"folds": folds, "sessions": sessions}.get(split.get("scheme"), 1)
    # Enough permutations for a p below 0.05, and whole ones.
    permutations = max(20, -(-100 // splits))
    return {"shuffle": {"splits": splits}, "seeds": splits * permutations, "seeds_per_block": 25}


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(new, dict):
        return new
    old = _long(old)
    old = old if isinstance(old, dict) else {}
    return old | {key: _merged(old.get(key), value) for key, value in new.items()}


def _long(given: Any) -> Any:
    """Return the mappings that a list of representations, and the name of what comes before them, are short for."""
    given = {"sizes": given} if isinstance(given, list) else given
    if isinstance(given, dict) and "before" in given:
        return given | {"before": with_kind(given["before"])}
    return given


def _labelled(given: Any) -> Any:
    if not isinstance(given, list):
        return given
    if not all(isinstance(name, str) for name in given) or len(set(given)) < len(given):
        raise ValueError(f"each experiment may stand once, by its name, found {given}")
    return {name: name for name in given}


class Comparison(Settings):
    """What is compared across experiments."""

    kind: Literal["settings", "ablation", "penalties", "permutation", "over_time", "sets", "sizes", "switches"] = Field(
        description="'settings': methods and ensembles by experiment. 'ablation': the first experiment against its "
        "variants, paired by seed. 'penalties': who teaches (the first experiment's teaching, nobody, a variant's), by "
        "penalty. 'permutation': the first experiment against the second, the same with shuffled labels, with p "
        "values. 'over_time': the same experiment in sliding windows, and if wanted the same with shuffled labels. "
        "'sets': methods by experiment, each paired with Meta Fusion by seed, and ranked over experiments. 'sizes': "
        "methods by the number of samples, of experiments beside themselves cut to a number ('experiment@100'). "
        "'switches': what each variant changes of Meta Fusion itself, paired by seed."
    )
    title: str = Field(description="One line for tables and figures.")
    experiments: Annotated[
        dict[str, str],
        BeforeValidator(_labelled, json_schema_input_type=Annotated[list[str], Field(min_length=1)] | dict[str, str]),
    ] = Field(
        min_length=1,
        description="Some of the study's experiments, as they are called there, in the order wanted: a list, or a "
        "mapping of labels for tables and figures to experiments. An ablation needs two, a permutation test the "
        "experiment and 'experiment@shuffled', decoding over time 'experiment@windows'.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> "Comparison":
        names = list(self.experiments.values())
        if len(set(names)) < len(names):
            raise ValueError(f"experiments: each may stand once, found {', '.join(names)}")
        if self.kind in ("ablation", "switches") and len(names) < 2:
            raise ValueError("experiments: an ablation needs a variant beside the first experiment")
        if self.kind == "permutation" and len(names) != 2:
            raise ValueError(
                "experiments: a permutation test needs two, the experiment and 'experiment@shuffled', found "
                f"{len(names)}"
            )
        return self


class Study(Settings):
    """``config/config.yaml``: which experiments, and how jobs run."""

    experiments: list[str] = Field(
        min_length=1,
        description="Names of files in config/experiments/ (without .yaml), or paths of .yaml files; one name will do, "
        "or names with commas between them. An experiment is called as its file is. 'name@variant' is the experiment "
        "with the changes of a variant of its own, of a switch between the protocols, or 'shuffled' labels; 'a+b' are "
        "several changes. 'name@windows' is the experiment in each of its windows.",
    )
    seeds: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Number of seeds of every experiment, instead of what its file says."
    )
    comparisons: dict[Name, Comparison] = Field(
        default={}, description="Tables and figures across experiments, by a name of their own."
    )
    seeds_per_block: Size | None = Field(
        default=None,
        description="Seeds that one job takes, instead of what the experiments' files say: many for a GPU.",
    )
    threads: Size = Field(
        default=1,
        description="Threads of a job that computes. Part of the result's last bits, so it never follows free cores.",
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")] = Field(
        default="auto",
        description="Where cohorts and extractors are trained: 'cpu', 'cuda' or 'cuda:1'; 'auto' takes a GPU where "
        "there is one and the job was given it (--resources gpu=N, or its resource gpu in a profile).",
    )
    tf32: bool = Field(
        default=False,
        description="Whether a GPU may round the factors of products to TensorFloat-32: faster, about three digits.",
    )
    memory_mb: Annotated[int, Field(ge=1000)] = Field(
        default=4000,
        description="Memory of a training job in MB (its resource mem_mb, unless a profile says otherwise). A block "
        "that needs more is worked on in parts.",
    )
    gpu_memory_share: float = Field(
        default=0.8, gt=0, le=1, description="Share of a GPU's memory that one training job may fill."
    )
    cuda_graphs: bool = Field(
        default=True, description="Whether a GPU records a training step once and plays it again (CUDA graphs)."
    )
    checkpoint_minutes: float = Field(
        default=10.0,
        gt=0,
        description="A training job saves its state after so many minutes, and goes on from there if it is killed.",
    )
    ids_in_report: bool = Field(
        default=False,
        description="Whether the report may hold tables that name samples and subjects: exclusions, and the quality of "
        "volumes. They are among the results in any case.",
    )
    container: str | None = Field(
        default=None,
        description="Image that holds the requirements, for --sdm apptainer: a .sif file, or docker://registry/name. "
        "None is published; Containerfile makes it.",
    )
    pathvars: dict[Literal["results", "resources", "logs", "benchmarks"], str] = Field(
        default={}, description="Other places for <results>, <resources> and <logs> (Snakemake's path variables)."
    )

    @field_validator("experiments", mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return [name.strip() for name in given.split(",")] if isinstance(given, str) else given

    @model_validator(mode="after")
    def _comparisons_name_experiments(self) -> "Study":
        called = [name.rpartition("/")[2].replace(".yaml", "").replace(".yml", "") for name in self.experiments]
        for name, comparison in self.comparisons.items():
            for one in comparison.experiments.values():
                if one not in called:
                    raise ValueError(
                        f"comparisons.{name}: {one!r} is none of the study's experiments; {did_you_mean(one, called)}"
                    )
        return self

    def gpus_of(self, there: object) -> int:
        """Return how many GPUs a training job asks for: with 'auto' one where there are some."""
        return int(self.device.startswith("cuda") or (self.device == "auto" and bool(there)))

"""The students' network without a cohort: each modality alone, early fusion and late fusion."""

import numpy as np
from scipy.special import log_softmax
from sklearn.linear_model import LinearRegression

from metafusion import ensembles
from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.students import Student, only
from metafusion.cohort.train import train as train_cohort
from metafusion.comparators.options import Options
from metafusion.comparators.prior import prior
from metafusion.config.models import Cohort, Task
from metafusion.errors import DivergedError


def train(data: dict[int, SeedData], modalities: list[str], options: Options) -> dict[int, dict[str, np.ndarray]]:
    """Train the students' network alone on raw features: each modality, and all of them (early fusion); fuse late.

    Budget, initial weights and mini-batches are those of an independent student, so that early fusion *is* the student
    that sees everything raw, trained alone. The networks of all seeds are trained together.

    Parameters
    ----------
    data : dict of int to SeedData
        By seed.
    modalities : list of str
    options : Options
        With ``cohort`` and ``late_fusion``.

    Returns
    -------
    dict of int to dict of str to ndarray, shape (samples, outputs)
        By seed: ``modality_<name>``, ``early_fusion``, ``late_fusion`` (the mean, of probabilities returned as their
        logarithm) and, in regression, ``late_fusion_stacked`` (least squares on the validation part). A sample without
        the modality gets the prior of the training part. NaN where a network diverged, and where late fusion needs it.
    """
    return train_for(options.cohort.budget, data, modalities, options)


def train_for(
    epochs: int, data: dict[int, SeedData], modalities: list[str], options: Options
) -> dict[int, dict[str, np.ndarray]]:
    """Do what :func:`train` does for another number of epochs."""
    names = {f"modality_{name}": only([name], modalities) for name in modalities}
    if len(modalities) > 1:
        names["early_fusion"] = only(modalities, modalities)
    outputs = train_alone(data, list(names.values()), options.cohort, epochs, options.task)
    return {
        seed: _answers(one, *outputs[seed], modalities, options.task, options.late_fusion) for seed, one in data.items()
    }


def train_alone(
    data: dict[int, SeedData], students: list[Student], settings: Cohort, epochs: int, task: Task
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Train networks with the main head without a cohort.

    Returns
    -------
    dict of int to (ndarray, ndarray)
        By seed: outputs, shape (networks, samples, outputs), NaN where a network diverged; and the samples that a
        network sees, shape (networks, samples).
    """
    changed = {"penalties": [0.0], "epochs": epochs, "more_heads": [], "warm_start": False}
    settings = settings.model_copy(update=changed)
    try:
        trained = train_cohort(data, students, {}, settings, task)
    except DivergedError:
        if len(data) > 1:
            # Seeds do not depend on each other: the others' networks still count.
            several = [train_alone({seed: one}, students, settings, epochs, task) for seed, one in data.items()]
            return {seed: outputs for one in several for seed, outputs in one.items()}
        ((seed, one),) = data.items()
        seen = np.stack([one.seen_by(student) for student in students])
        return {seed: (np.full((*seen.shape, one.outputs), np.nan), seen)}
    return {seed: (run.predictions[0], run.seen) for seed, run in trained.items()}


def _answers(
    data: SeedData, outputs: np.ndarray, seen: np.ndarray, modalities: list[str], task: Task, late_fusion: str
) -> dict[str, np.ndarray]:
    """Name what the networks of a seed said; outputs of shape (networks, samples, outputs), the last one seeing all."""
    fallback = prior(data.targets[data.training], task, data.outputs)
    # A network that diverged answers NaN for every sample, those that it would not see included.
    diverged = np.isnan(outputs).all(axis=(1, 2), keepdims=True)
    heard = seen[:, :, None] | diverged
    answers = {f"modality_{name}": np.where(heard[i], outputs[i], fallback) for i, name in enumerate(modalities)}
    if len(modalities) == 1:
        return answers
    answers["early_fusion"] = outputs[-1]
    single, single_seen = outputs[:-1], seen[:-1]
    if diverged[:-1].any():
        fused = ["late_fusion"] + (["late_fusion_stacked"] if task == "regression" else [])
        return answers | dict.fromkeys(fused, np.full_like(outputs[-1], np.nan))
    equal = np.full(len(modalities), 1 / len(modalities))
    if task == "classification" and late_fusion == "probabilities":
        probabilities = np.exp(log_softmax(single.astype(np.float64), axis=-1))
        mean = ensembles.combine(probabilities, equal, single_seen)
        # Extreme features can drive every probability of a class to 0; its logarithm must stay a number.
        answers["late_fusion"] = np.log(np.maximum(mean, np.finfo(mean.dtype).tiny))
    else:
        answers["late_fusion"] = ensembles.combine(single, equal, single_seen)
    if task == "regression":
        columns = np.stack([answers[f"modality_{name}"][:, 0] for name in modalities], axis=1)
        rows = data.validation
        stack = LinearRegression().fit(columns[rows], data.targets[rows])
        answers["late_fusion_stacked"] = stack.predict(columns)[:, None]
    return answers

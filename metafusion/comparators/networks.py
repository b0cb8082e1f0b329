"""The students' network without a cohort: each modality alone, early fusion and late fusion."""

import numpy as np
from scipy.special import log_softmax
from sklearn.linear_model import LinearRegression

from metafusion import ensembles
from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.students import only
from metafusion.cohort.train import train as train_cohort
from metafusion.comparators.prior import prior
from metafusion.config.models import Cohort, Task


def train(data: SeedData, modalities: list[str], settings: Cohort, task: Task, seed: int) -> dict[str, np.ndarray]:
    """Train the students' network alone on raw features: each modality, and all of them (early fusion); fuse late.

    Budget, initial weights and mini-batches are those of an independent student, so that early fusion *is* the student
    that sees everything raw, trained alone.

    Returns
    -------
    dict of str to ndarray, shape (samples, outputs)
        ``modality_<name>``, ``early_fusion``, ``late_fusion`` (mean of probabilities, returned as their logarithm; mean
        of predictions in regression) and, in regression, ``late_fusion_stacked`` (least squares on the validation
        part). A sample without the modality gets the prior of the training part.
    """
    students = [only([name], modalities) for name in modalities]
    if len(modalities) > 1:
        students.append(only(modalities, modalities))
    alone = settings.model_copy(update={"penalties": [0.0]})
    trained = train_cohort({seed: data}, students, alone, task)[seed]
    outputs, seen = trained.predictions[0], trained.seen
    fallback = prior(data.targets[data.training], task, data.outputs)
    answers = {
        f"modality_{name}": np.where(seen[i][:, None], outputs[i], fallback) for i, name in enumerate(modalities)
    }
    if len(modalities) == 1:
        return answers
    answers["early_fusion"] = outputs[-1]
    single, single_seen = outputs[:-1], seen[:-1]
    equal = np.full(len(modalities), 1 / len(modalities))
    if task == "classification":
        probabilities = np.exp(log_softmax(single.astype(np.float64), axis=-1))
        mean = ensembles.combine(probabilities, equal, single_seen)
        # Extreme features can drive every probability of a class to 0; its logarithm must stay a number.
        answers["late_fusion"] = np.log(np.maximum(mean, np.finfo(mean.dtype).tiny))
    else:
        answers["late_fusion"] = ensembles.combine(single, equal, single_seen)
        columns = np.stack([answers[f"modality_{name}"][:, 0] for name in modalities], axis=1)
        rows = data.validation
        stack = LinearRegression().fit(columns[rows], data.targets[rows])
        answers["late_fusion_stacked"] = stack.predict(columns)[:, None]
    return answers

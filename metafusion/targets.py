"""Targets as numbers, and the promise that the test part's are not looked at before `evaluate`."""

import numpy as np
import pandas as pd

from metafusion.config.models import Task
from metafusion.errors import UserError, did_you_mean


def classes_of(samples: pd.DataFrame, task: Task) -> list[str]:
    """Return the classes in order; empty for regression."""
    return sorted(samples["target"].unique()) if task == "classification" else []


def positive_number(classes: list[str], positive: str | None) -> int | None:
    """Return the number of the class that sensitivity and specificity tell of; None where none is named.

    Raises
    ------
    UserError
        The data have no such class.
    """
    if positive is None:
        return None
    if positive not in classes:
        raise UserError(f"positive: the target has no class {positive!r}; {did_you_mean(positive, classes)}")
    return classes.index(positive)


def numbers_of(samples: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """Return class numbers (int64), or the target itself (float64) where there are no classes; shape (samples,)."""
    if not classes:
        return samples["target"].to_numpy(np.float64)
    numbers = {name: number for number, name in enumerate(classes)}
    unknown = set(samples["target"]) - set(classes)
    if unknown:
        raise ValueError(f"targets {sorted(unknown)} are none of the classes {classes}")
    return samples["target"].map(numbers).to_numpy(np.int64)


def without_test(targets: np.ndarray, parts: pd.Series) -> np.ndarray:
    """Return the targets with those of the test part replaced by 0."""
    return np.where((parts == "test").to_numpy(), 0, targets).astype(targets.dtype)


def balancing_weights(targets: np.ndarray, classes: int) -> np.ndarray:
    """Return the weight of a sample of each class with which all classes count alike, shape (classes,).

    Parameters
    ----------
    targets : ndarray of int, shape (samples,)
        Class numbers of the samples that something learns from.
    classes : int
        Their number. One without a sample has the weight 1.

    Returns
    -------
    ndarray, shape (classes,)
        scikit-learn's: inverse to the frequency; the mean over the samples is 1.
    """
    known, weights = np.unique(targets), np.ones(classes)
    # Every job imports this module; few need scikit-learn, which takes a second.
    from sklearn.utils.class_weight import compute_class_weight

    weights[known] = compute_class_weight("balanced", classes=known, y=targets)
    return weights

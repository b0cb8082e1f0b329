"""Probabilities of classifiers that may not know every class."""

import numpy as np

TINY = float(np.finfo(np.float32).tiny)
"""Stands for probability 0, so that its logarithm is finite."""


def log_probabilities(probabilities: np.ndarray, known: np.ndarray, classes: int) -> np.ndarray:
    """Return the logarithms for all classes; those that a classifier does not know are as good as impossible.

    A modality that few samples have may miss a class in training.

    Parameters
    ----------
    probabilities : ndarray, shape (samples, known classes)
    known : ndarray of int, shape (known classes,)
        Numbers of the classes in the training part.
    classes : int
        Number of all classes.

    Returns
    -------
    ndarray, shape (samples, classes)
    """
    logs = np.full((len(probabilities), classes), np.log(TINY))
    logs[:, known] = np.log(np.maximum(probabilities, TINY))
    return logs

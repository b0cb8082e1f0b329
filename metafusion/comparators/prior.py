"""What can be said of a sample of which nothing is seen."""

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from metafusion.config.models import Task


def prior(targets: np.ndarray, task: Task, outputs: int) -> np.ndarray:
    """Return the log class frequencies, or the mean, of the training part's targets.

    Parameters
    ----------
    targets : ndarray, shape (training samples,)
        Class numbers or numbers.
    outputs : int
        Number of classes, or 1.

    Returns
    -------
    ndarray, shape (1, outputs)
        A class that is not in the training part gets the smallest normal probability, so that logarithms stay finite.
    """
    nothing = np.zeros((len(targets), 1))
    if task == "regression":
        return DummyRegressor().fit(nothing, targets).predict(nothing[:1]).reshape(1, 1)
    model = DummyClassifier(strategy="prior").fit(nothing, targets)
    frequencies = np.full((1, outputs), np.finfo(np.float32).tiny)
    frequencies[:, model.classes_] = model.predict_proba(nothing[:1])
    return np.log(frequencies)

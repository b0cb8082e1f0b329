"""Measures of predictions, all from scikit-learn."""

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn import metrics as scores


def measure(metric: str, outputs: np.ndarray, targets: np.ndarray) -> float:
    """Measure predictions.

    Parameters
    ----------
    metric : str
        A key of :data:`metafusion.methods.HIGHER_IS_BETTER`.
    outputs : ndarray, shape (samples, outputs)
        Logits (one a class) or predictions (one).
    targets : ndarray, shape (samples,)
        Class numbers or numbers.

    Returns
    -------
    float
        NaN for ``roc_auc`` where a class is missing from the samples. With more than two classes it is the mean of one
        class against the rest.
    """
    if metric in ("mse", "mae", "r2"):
        function = {"mse": scores.mean_squared_error, "mae": scores.mean_absolute_error, "r2": scores.r2_score}[metric]
        return float(function(targets, outputs[:, 0]))
    classes = np.arange(outputs.shape[1])
    if metric == "log_loss":
        # Not scikit-learn's, which clips probabilities and so flatters those who are confidently wrong.
        return float(-log_softmax(outputs.astype(np.float64), axis=1)[np.arange(len(targets)), targets].mean())
    if metric == "roc_auc":
        if len(np.unique(targets)) < len(classes):
            return float("nan")
        probabilities = softmax(outputs.astype(np.float64), axis=1)
        if len(classes) == 2:
            return float(scores.roc_auc_score(targets, probabilities[:, 1]))
        return float(scores.roc_auc_score(targets, probabilities, multi_class="ovr", labels=classes))
    guesses = outputs.argmax(axis=1)
    if metric == "accuracy":
        return float(scores.accuracy_score(targets, guesses))
    # The mean recall over the classes that occur, which is scikit-learn's definition without its warning.
    return float(scores.recall_score(targets, guesses, labels=np.unique(targets), average="macro"))

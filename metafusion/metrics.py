"""Measures of predictions: those of scikit-learn, and some that it has not."""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax, softmax, xlogy
from sklearn import config_context
from sklearn import metrics as scores

BINS = 10
"""Of equal width, of the calibration error."""
DRAWS = 1000
"""Of answers, for the calibration error by chance."""
REGRESSION = {"mse": scores.mean_squared_error, "mae": scores.mean_absolute_error, "r2": scores.r2_score}


def measure(metric: str, outputs: np.ndarray, targets: np.ndarray, positive: int | None = None) -> float:
    """Measure predictions, see :func:`measure_all`."""
    return measure_all([metric], outputs, targets, positive)[metric]


def measure_all(
    metrics: Sequence[str], outputs: np.ndarray, targets: np.ndarray, positive: int | None = None
) -> dict[str, float]:
    """Measure predictions in several ways.

    Parameters
    ----------
    metrics : sequence of str
        Keys of :data:`metafusion.methods.HIGHER_IS_BETTER`, all of the same task.
    outputs : ndarray, shape (samples, outputs)
        Logits (one a class) or predictions (one).
    targets : ndarray, shape (samples,)
        Class numbers or numbers.
    positive : int, optional
        The class whose ``sensitivity`` and ``specificity`` are wanted. Else they are those of the last of two classes,
        and the mean of one class against the rest over more.

    Returns
    -------
    dict of str to float
        By metric; NaN for no samples. Also NaN: ``roc_auc`` where a class is missing from the samples (with more than
        two classes it is the mean of one class against the rest), ``sensitivity`` where the positive class is, and
        ``specificity`` where all others are; ``r2`` of one sample.

        ``brier`` is scikit-learn's: the squared error of one class's probability for two classes (0 to 1), the sum of
        those of all classes for more (0 to 2). ``ece`` is :func:`calibration_error`, ``itr_bits`` is
        :func:`information_transfer`.
    """
    if not len(targets):
        return dict.fromkeys(metrics, float("nan"))
    if set(metrics) <= set(REGRESSION):
        few = len(targets) < 2
        return {
            name: float("nan") if name == "r2" and few else float(REGRESSION[name](targets, outputs[:, 0]))
            for name in metrics
        }
    outputs = outputs.astype(np.float64)
    probabilities = softmax(outputs, axis=1)
    number = outputs.shape[1]
    classes = np.arange(number)
    counts = np.bincount(targets * number + outputs.argmax(axis=1), minlength=number**2).reshape(number, number)
    if positive is None and len(classes) == 2:
        positive = 1
    found = {}
    for name in metrics:
        if name == "log_loss":
            # Not scikit-learn's, which clips probabilities and so flatters those who are confidently wrong.
            found[name] = -log_softmax(outputs, axis=1)[np.arange(len(targets)), targets].mean()
        elif name == "roc_auc":
            found[name] = _area(targets, probabilities, classes)
        elif name == "brier":
            found[name] = _brier(targets, probabilities, classes)
        elif name == "ece":
            found[name] = calibration_error(probabilities, targets)
        elif name == "itr_bits":
            found[name] = information_transfer(counts.trace() / counts.sum(), number)
        else:
            found[name] = _of_counts(name, counts, positive)
    return {name: float(value) for name, value in found.items()}


def _area(targets: np.ndarray, probabilities: np.ndarray, classes: np.ndarray) -> float:
    if len(np.unique(targets)) < len(classes):
        return float("nan")
    # A permutation test comes here a hundred thousand times; the arguments are checked above.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        if len(classes) == 2:
            return scores.roc_auc_score(targets, probabilities[:, 1])
        return scores.roc_auc_score(targets, probabilities, multi_class="ovr", labels=classes)


def _brier(targets: np.ndarray, probabilities: np.ndarray, classes: np.ndarray) -> float:
    with config_context(assume_finite=True, skip_parameter_validation=True):
        if len(classes) == 2:
            return scores.brier_score_loss(targets, probabilities[:, 1], pos_label=1)
        return scores.brier_score_loss(targets, probabilities, labels=classes)


def _of_counts(metric: str, counts: np.ndarray, positive: int | None) -> float:
    """Return a measure of a table of counts, true classes by guessed ones."""
    right, true, guessed, samples = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    if metric == "accuracy":
        return right.sum() / samples
    if metric == "specificity":
        hits, of = samples - true - guessed + right, samples - true
    else:
        hits, of = right, true
    # Of a class that does not occur nothing can be said.
    known = of > 0
    if metric != "balanced_accuracy" and positive is not None:
        known &= np.arange(len(of)) == positive
    return (hits[known] / of[known]).mean() if known.any() else float("nan")


def information_transfer(accuracy: float, classes: int) -> float:
    """Return the information that an answer brings, in bits per trial.

    It is log2 N + P log2 P + (1 - P) log2 (1 - P)/(N - 1), which takes all N classes to be equally likely, and all
    wrong answers, too. Where it is not so, the mutual information of :mod:`metafusion.confusion` is right. The formula
    is 0 at P = 1/N and rises again below it, where answers would have to be turned round; here it is 0 from there on,
    as by convention a decoder below chance transfers nothing.

    Parameters
    ----------
    accuracy : float
        P, the share of right answers.
    classes : int
        N, at least 2.

    References
    ----------
    Wolpaw, Birbaumer, McFarland, Pfurtscheller, Vaughan 2002, Clinical Neurophysiology 113, 767-791.

    Examples
    --------
    >>> information_transfer(1.0, 4), information_transfer(0.5, 2), information_transfer(0.1, 2)
    (2.0, 0.0, 0.0)
    """
    if accuracy <= 1 / classes:
        return 0.0
    wrong = xlogy(1 - accuracy, (1 - accuracy) / (classes - 1))
    return float(np.log2(classes) + (xlogy(accuracy, accuracy) + wrong) / np.log(2))


def calibration_error(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Return the expected calibration error: how far the confidence in the most probable class is from its accuracy.

    Samples are put into ten bins of equal width by their confidence, the largest probability (an edge belongs to the
    bin below it). The error is the mean over bins, weighted by their samples, of the absolute difference between mean
    confidence and accuracy. It is 0 for a perfect forecast of many samples only: of few, chance keeps it above, and
    more so the fewer they are.

    Parameters
    ----------
    probabilities : ndarray, shape (samples, classes)
    targets : ndarray of int, shape (samples,)

    References
    ----------
    Guo, Pleiss, Sun, Weinberger 2017, ICML, after Naeini, Cooper, Hauskrecht 2015, AAAI.
    """
    confidence = probabilities.max(axis=1)
    excess = confidence - (probabilities.argmax(axis=1) == targets)
    return float(np.abs(np.bincount(_bins(confidence), weights=excess, minlength=BINS)).sum() / len(targets))


def _bins(confidence: np.ndarray) -> np.ndarray:
    return np.digitize(confidence, np.linspace(0, 1, BINS + 1)[1:-1], right=True)


def calibration_error_by_chance(probabilities: np.ndarray) -> float:
    """Return the calibration error to expect of these probabilities if they are right.

    Answers are drawn many times: each is right with the probability that it is said to be. What is left is chance, as
    samples are few; a measured :func:`calibration_error` that is not larger says nothing against the probabilities.

    Parameters
    ----------
    probabilities : ndarray, shape (samples, classes)

    Returns
    -------
    float
        Mean over the draws, the same whenever it is computed.

    References
    ----------
    Bröcker, Smith 2007, Weather and Forecasting 22, 651-661 (consistency resampling).
    """
    confidence = probabilities.max(axis=1)
    bins = np.eye(BINS)[_bins(confidence)]
    right = np.random.default_rng(0).random((DRAWS, len(confidence))) < confidence
    return float(np.abs((confidence - right) @ bins).sum(axis=1).mean() / len(confidence))

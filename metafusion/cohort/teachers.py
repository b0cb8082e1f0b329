"""Who teaches: the students whose validation losses, when trained alone, form the best cluster."""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score


def teaching_weights(losses: np.ndarray, most_clusters: int, random_state: int) -> np.ndarray:
    """Weights of the students as teachers, from clustering their losses.

    Parameters
    ----------
    losses : ndarray, shape (students,)
        Best validation task losses of the independent cohort (penalty 0).
    most_clusters : int
        The number of clusters is the one from 2 to this (and below the number of students) with the best silhouette.
    random_state : int
        Of the k-means start.

    Returns
    -------
    ndarray, shape (students,)
        1 / c for the c members of the cluster with the smallest mean loss, 0 for the others. With too few distinct
        losses to cluster, everybody teaches alike.

    References
    ----------
    Liang, Qu, Shahbaba 2025, arXiv 2507.20089, adaptive mutual learning.
    """
    count = len(losses)
    points = losses.reshape(-1, 1)
    most = min(most_clusters, count - 1, len(np.unique(losses)))
    best_labels, best_score = None, -np.inf
    for clusters in range(2, most + 1):
        labels = KMeans(clusters, random_state=random_state).fit_predict(points)
        # k-means may leave a cluster empty where losses nearly coincide; a single label has no silhouette.
        if not 2 <= len(np.unique(labels)) < count:
            continue
        score = silhouette_score(points, labels)
        if score > best_score:
            best_labels, best_score = labels, score
    if best_labels is None:
        return np.full(count, 1 / count)
    means = {label: losses[best_labels == label].mean() for label in np.unique(best_labels)}
    top = best_labels == min(means, key=means.get)
    return top / top.sum()


TIE = 1e-6
"""Relative difference below which two losses count as equal: rounding must not choose."""


def choose_penalty(losses: np.ndarray, teaching: np.ndarray) -> int:
    """Return the index of the penalty whose top cluster has the smallest mean validation loss; ties to the smaller one.

    Parameters
    ----------
    losses : ndarray, shape (penalties, students)
        Best validation task losses; penalties ascend.
    teaching : ndarray, shape (students,)
        Teaching weights; the top cluster are those above 0.

    Notes
    -----
    Real ties occur: a lone teacher is pulled by nobody, and is the same at every penalty.
    """
    means = losses[:, teaching > 0].mean(axis=1)
    return int(np.flatnonzero(means <= means.min() * (1 + TIE))[0])

"""Who teaches: weights of the students as teachers, from their validation losses when trained alone."""

import numpy as np

from metafusion.config.models import Cohort


def teaching_weights(losses: np.ndarray, settings: Cohort, random_state: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the students as teachers, and the students over whom the penalty is chosen.

    Parameters
    ----------
    losses : ndarray, shape (students,)
        Best validation task losses of the independent cohort (penalty 0); infinite for students that diverged, which
        never teach. At least one is finite.
    settings : Cohort
        ``teaching`` (the scheme), ``clusters``, ``most_clusters``, ``exponent``.
    random_state : int
        Of the k-means start.

    Returns
    -------
    weights : ndarray, shape (students,)
        They sum to 1. With 'clustering' 1 / c for the c members of the cluster with the smallest mean loss, with
        'worst_cluster' of the one with the largest, 0 for the others; everybody alike where there are too few distinct
        losses to cluster. With 'fixed' proportional to ``losses ** -exponent``. With 'adaptive' and 'none' alike: the
        former's weights follow the losses of each epoch, see :func:`inverse_weights`.
    top : ndarray of bool, shape (students,)
        The best cluster (whoever teaches), or everybody with schemes that do not cluster.

    References
    ----------
    Liang, Qu, Shahbaba 2025, arXiv 2507.20089, adaptive mutual learning; Zhang et al. 2018 ('none').
    """
    known = np.isfinite(losses)
    weights, top = np.zeros(len(losses)), np.zeros(len(losses), dtype=bool)
    if settings.teaching in ("clustering", "worst_cluster"):
        best, worst = _best_and_worst_cluster(losses[known], settings, random_state)
        top[known] = best
        teachers = best if settings.teaching == "clustering" else worst
        weights[known] = teachers / teachers.sum()
        return weights, top
    top[known] = True
    exponent = settings.exponent if settings.teaching == "fixed" else 0.0
    weights[known] = inverse_weights(losses[known], exponent)
    return weights, top


def inverse_weights(losses: np.ndarray, exponent: float) -> np.ndarray:
    """Weights proportional to ``losses ** -exponent``, shape (students,); a loss of 0 counts as a very small one."""
    # Relative to the smallest, so that high powers of small losses stay finite.
    floored = np.maximum(losses, np.finfo(np.float32).tiny)
    weights = (floored / floored.min()) ** -exponent
    return weights / weights.sum()


def _best_and_worst_cluster(losses: np.ndarray, settings: Cohort, random_state: int) -> tuple[np.ndarray, np.ndarray]:
    choose = _by_silhouette if settings.clusters == "silhouette" else _by_elbow
    labels = choose(losses.reshape(-1, 1), settings.most_clusters, random_state)
    means = {label: losses[labels == label].mean() for label in np.unique(labels)}
    return labels == min(means, key=means.get), labels == max(means, key=means.get)


def _by_silhouette(points: np.ndarray, most_clusters: int, random_state: int) -> np.ndarray:
    """Labels of the k-means with the best mean silhouette, the smaller number of clusters if even."""
    # Imported here: whoever trains without teachers need not wait for scikit-learn.
    from sklearn.metrics import silhouette_score

    count = len(points)
    best_labels, best_score = np.zeros(count, dtype=int), -np.inf
    for clusters in range(2, min(most_clusters, count - 1, len(np.unique(points))) + 1):
        labels, _ = _k_means(points, clusters, random_state)
        # k-means may leave a cluster empty where losses nearly coincide; a single label has no silhouette.
        if not 2 <= len(np.unique(labels)) < count:
            continue
        score = silhouette_score(points, labels)
        if score > best_score:
            best_labels, best_score = labels, score
    return best_labels


def _by_elbow(points: np.ndarray, most_clusters: int, random_state: int) -> np.ndarray:
    """Labels of the k-means where the curve of within-cluster sums of squares bends most.

    That is the number of clusters whose point is farthest below the line from one cluster to the most (Satopaa et al.
    2011, "Finding a kneedle in a haystack"), each axis taken from 0 to 1.
    """
    most = min(most_clusters, len(points) - 1, len(np.unique(points)))
    if most < 2:
        return np.zeros(len(points), dtype=int)
    found = [_k_means(points, clusters, random_state) for clusters in range(1, most + 1)]
    curve = np.array([inertia for _, inertia in found])
    line = np.linspace(1, 0, most)
    bend = line - (curve - curve[-1]) / (curve[0] - curve[-1])
    # With two candidates there is no bend: the curve is the line.
    return found[max(1, int(np.argmax(bend)))][0]


def _k_means(points: np.ndarray, clusters: int, random_state: int) -> tuple[np.ndarray, float]:
    """Return the labels, and the sum of squares within clusters."""
    from sklearn.cluster import KMeans

    fitted = KMeans(clusters, random_state=random_state).fit(points)
    return fitted.labels_, fitted.inertia_


TIE = 1e-6
"""Relative difference below which two losses count as equal: rounding must not choose."""


def choose_penalty(losses: np.ndarray, top: np.ndarray) -> int:
    """Return the index of the penalty whose top cluster has the smallest mean validation loss; ties to the smaller one.

    Parameters
    ----------
    losses : ndarray, shape (penalties, students)
        Best validation task losses; penalties ascend. Infinite where a student diverged: then the penalty is out,
        unless it is 0, at which the top cluster never did.
    top : ndarray of bool, shape (students,)
        The top cluster.

    Notes
    -----
    Real ties occur: a lone teacher is pulled by nobody, and is the same at every penalty.
    """
    means = losses[:, top].mean(axis=1)
    return int(np.flatnonzero(means <= means.min() * (1 + TIE))[0])

"""Temperature scaling: against scikit-learn's, and who has a say in whose temperature."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from metafusion.calibration import TEMPERATURES, calibrate, cross_entropies


def overconfident(seed: int, samples: int, classes: int = 3, sharpness: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too large by a factor: classes are drawn from the probabilities of the true ones."""
    random = np.random.default_rng(seed)
    logits = random.standard_normal((samples, classes))
    targets = np.array([random.choice(classes, p=row) for row in softmax(logits, axis=1)])
    return sharpness * logits, targets


class Known(ClassifierMixin, BaseEstimator):
    """A classifier whose features are its logits."""

    def __init__(self, classes: int = 3) -> None:
        self.classes = classes

    def fit(self, logits, targets):
        self.classes_ = np.arange(self.classes)
        return self

    def decision_function(self, logits):
        return logits

    def predict(self, logits):
        return logits.argmax(axis=1)


def test_the_temperature_is_scikit_learns_within_a_step_of_the_grid():
    logits, targets = overconfident(1, 3000)
    model = CalibratedClassifierCV(FrozenEstimator(Known().fit(logits, targets)), method="temperature")
    found = calibrate(logits[None], np.ones((1, 3000), bool), targets, np.ones(3000, bool))[0]
    theirs = np.log(model.fit(logits, targets).predict_proba(logits))
    ratio = np.ptp(theirs, axis=1) / np.ptp(found, axis=1)
    assert np.abs(np.log2(ratio)).max() < 1 / 16 + 1e-3
    assert 1 / np.median(np.ptp(found, axis=1) / np.ptp(logits, axis=1)) == pytest.approx(4, rel=0.2)


def test_a_sample_has_no_say_in_its_own_temperature():
    logits, targets = overconfident(2, 60)
    seen, known, fold = np.ones((1, 60), bool), np.ones(60, bool), np.arange(60) % 3
    before = calibrate(logits[None], seen, targets, known, fold)
    other = targets.copy()
    other[fold == 1] = (other[fold == 1] + 1) % 3
    after = calibrate(logits[None], seen, other, known, fold)
    assert (before[:, fold == 1] == after[:, fold == 1]).all()
    assert (before[:, fold != 1] != after[:, fold != 1]).any()


def test_samples_that_are_not_known_get_the_temperature_of_all_that_are():
    logits, targets = overconfident(3, 50)
    known = np.arange(50) < 40
    hidden = np.where(known, targets, 0)
    found = calibrate(logits[None], np.ones((1, 50), bool), hidden, known, np.where(known, np.arange(50) % 4, -1))
    sums = [-log_softmax(logits[:40] / one, axis=1)[np.arange(40), targets[:40]].sum() for one in TEMPERATURES]
    assert found[0, 40:] == pytest.approx(logits[40:] / TEMPERATURES[int(np.argmin(sums))])


def test_a_student_is_calibrated_on_what_it_sees_and_one_that_diverged_stays_as_it_is():
    logits, targets = overconfident(4, 80)
    seen = np.ones((2, 80), bool)
    seen[0, 40:] = False
    outputs = np.stack([logits, np.full_like(logits, np.nan)])
    found = calibrate(outputs, seen, targets, np.ones(80, bool))
    alone = calibrate(logits[None, :40], np.ones((1, 40), bool), targets[:40], np.ones(40, bool))
    assert found[0, :40] == pytest.approx(alone[0])
    assert np.isnan(found[1]).all()


def test_cross_entropy_is_the_mean_over_what_is_seen():
    logits = np.log(np.array([[[0.5, 0.5], [0.1, 0.9]]]))
    both = cross_entropies(logits, np.array([[True, True]]), np.array([0, 1]))
    first = cross_entropies(logits, np.array([[True, False]]), np.array([0, 1]))
    assert both[0] == pytest.approx(-(np.log(0.5) + np.log(0.9)) / 2)
    assert first[0] == pytest.approx(-np.log(0.5))

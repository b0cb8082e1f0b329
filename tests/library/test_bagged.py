"""Bagged selection with replacement, and weights by non-negative least squares, against slow oracles."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax

from metafusion.config.models import Ensemble
from metafusion.ensembles import bagged, choose, combine, non_negative, reweighted, task_loss
from tests.library.test_ensembles import some_cohort

ONE = {"selection": "bagged", "average": "probabilities", "bags": 1, "bag_share": 1.0, "keep": 1.0}


def by_hand(outputs, losses, seen, targets, task, settings):
    """Selection with replacement of one share that holds everybody, ensemble by ensemble."""
    average = "probabilities" if task == "classification" else "outputs"

    def loss(taken):
        return task_loss(combine(outputs, np.bincount(taken, minlength=len(losses)), seen, average), targets, task)

    taken = list(np.argsort(losses, kind="stable")[: settings.start])
    tried = [(loss(taken), list(taken))]
    while len(taken) < settings.most:
        # The better student first, as ties go to it.
        trials = {one: loss([*taken, one]) for one in np.argsort(losses, kind="stable")}
        taken.append(min(trials, key=trials.get))
        tried.append((loss(taken), list(taken)))
    best = min(tried, key=lambda one: one[0])[1]
    return np.bincount(best, minlength=len(losses)) / len(best)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("unseen", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_one_share_of_everybody_is_plain_selection_with_replacement(outputs, unseen, seed):
    task = "regression" if outputs == 1 else "classification"
    answers, losses, seen, targets = some_cohort(seed, 6, samples=15, unseen=unseen, outputs=outputs)
    settings = Ensemble(**ONE, start=2, most=9)
    found = bagged(answers, losses, seen, targets, task, settings, random_state=0)
    assert found == pytest.approx(by_hand(answers, losses, seen, targets, task, settings))


def test_shares_are_averaged_and_leave_the_worst_students_out():
    answers, losses, seen, targets = some_cohort(4, 10, samples=30)
    settings = Ensemble(selection="bagged", bags=8, keep=0.5)
    found = bagged(answers, losses, seen, targets, "regression", settings, random_state=1)
    assert found.sum() == pytest.approx(1)
    assert not found[np.argsort(losses)[5:]].any()
    # More members than the one share of 3 students (half of the 5 kept, rounded) could have.
    assert (found > 0).sum() > 3 - 1
    again = bagged(answers, losses, seen, targets, "regression", settings, random_state=1)
    other = bagged(answers, losses, seen, targets, "regression", settings, random_state=2)
    assert (found == again).all()
    assert (found != other).any()


def test_shrinkage_goes_towards_equal_weights_of_those_kept():
    answers, losses, seen, targets = some_cohort(5, 6, samples=20)
    plain, half = (
        bagged(answers, losses, seen, targets, "regression", Ensemble(**ONE, shrinkage=[one]), random_state=0)
        for one in (0.0, 0.5)
    )
    assert half == pytest.approx(plain / 2 + 1 / 12)


def test_shrinkage_is_chosen_on_samples_left_out():
    # 40 alike students that guess: what selection finds among them is chance, and equal weights are better.
    random = np.random.default_rng(0)
    targets = random.standard_normal(30)
    answers = (targets + random.standard_normal((40, 30)))[:, :, None]
    losses, seen = ((answers[:, :, 0] - targets) ** 2).mean(axis=1), np.ones((40, 30), bool)
    settings = Ensemble(**ONE, shrinkage=[0.0, 1.0], most=5)
    found = bagged(answers, losses, seen, targets, "regression", settings, random_state=0, fold=np.arange(30) % 5)
    assert found == pytest.approx(np.full(40, 1 / 40))
    # One that knows: equal weights would drown it.
    answers[7, :, 0] = targets + 0.01
    losses = ((answers[:, :, 0] - targets) ** 2).mean(axis=1)
    settings = settings.model_copy(update={"start": 1})
    found = bagged(answers, losses, seen, targets, "regression", settings, random_state=0, fold=np.arange(30) % 5)
    assert found[7] > 0.5


@pytest.mark.parametrize("outputs", [1, 3])
def test_non_negative_weights_are_those_of_a_general_solver(outputs):
    task = "regression" if outputs == 1 else "classification"
    answers, _, seen, targets = some_cohort(6, 4, samples=25, outputs=outputs)
    said = answers if outputs == 1 else softmax(answers, axis=2)
    wanted = targets[:, None] if outputs == 1 else np.eye(outputs)[targets]

    def error(weights):
        return np.square(np.einsum("s,sno->no", weights, said) - wanted).sum()

    best = minimize(error, np.full(4, 0.25), bounds=[(0, None)] * 4, tol=1e-12).x
    assert non_negative(answers, seen, targets, task) == pytest.approx(best / best.sum(), abs=1e-3)


def test_all_students_wrong_are_weighted_alike():
    answers = np.full((3, 5, 1), -1.0)
    assert non_negative(answers, np.ones((3, 5), bool), np.ones(5), "regression") == pytest.approx([1 / 3] * 3)


def test_probabilities_are_averaged_where_that_is_asked_for():
    answers = np.log(np.array([[[0.9, 0.1]], [[0.5, 0.5]]]))
    seen = np.ones((2, 1), bool)
    mixed = combine(answers, np.array([0.5, 0.5]), seen, "probabilities")
    assert np.exp(mixed)[0] == pytest.approx([0.7, 0.3])
    assert softmax(combine(answers, np.array([0.5, 0.5]), seen), axis=1)[0] == pytest.approx([0.75, 0.25])


def test_counts_stay_as_they_are_where_members_are_reused():
    assert reweighted(np.array([0.75, 0.25, 0]), np.array([1.0, 9.0, 1.0]), "bagged") == pytest.approx([0.75, 0.25, 0])
    assert reweighted(np.array([0.5, 0.25, 0.25]), np.array([1, np.inf, 1]), "bagged") == pytest.approx(
        [2 / 3, 0, 1 / 3]
    )


def test_the_stacked_average_stands_among_the_ensembles_where_wanted():
    answers, losses, seen, targets = some_cohort(8, 4)
    plain = choose(answers, losses, seen, targets, "regression", Ensemble())
    more = choose(answers, losses, seen, targets, "regression", Ensemble(stacked_average=True))
    assert set(more) - set(plain) == {"stacked_average"}

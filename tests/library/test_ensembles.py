"""Ensembles: weights, who has a say in which sample, and the greedy choice against a brute-force one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metafusion.config.models import Ensemble
from metafusion.ensembles import answer, answering, choose, combine, greedy, inverse, reweighted, task_loss, vote
from metafusion.errors import UserError

KINDS = ["meta_fusion", "best_single", "simple_average", "weighted_average"]
VOTES = ["majority_vote", "weighted_vote"]


def mse(targets):
    return lambda mixed: float(np.mean((mixed[:, 0] - targets) ** 2))


def some_cohort(seed, students, samples=12, unseen=0.0, outputs=1):
    """Students of growing error around the targets; losses are their own errors where they see."""
    random = np.random.default_rng(seed)
    seen = random.random((students, samples)) >= unseen
    seen[0] = True
    if outputs == 1:
        targets = random.standard_normal(samples)
        errors = random.standard_normal((students, samples)) * random.uniform(0.2, 2, (students, 1))
        answers = (targets + errors)[:, :, None]
        wrong = (answers[:, :, 0] - targets) ** 2
    else:
        targets = random.integers(0, outputs, samples)
        answers = random.standard_normal((students, samples, outputs)) * 2 + np.eye(outputs)[targets]
        wrong = np.log(np.exp(answers).sum(axis=2)) - answers[:, np.arange(samples), targets]
    losses = np.array([wrong[i][seen[i]].mean() if seen[i].any() else 99.0 + i for i in range(students)])
    return answers, losses, seen, targets


def mix_by_hand(answers, weights, seen):
    """The weighted mean, sample by sample and student by student."""
    students, samples, outputs = answers.shape
    mixed = np.zeros((samples, outputs))
    for n in range(samples):
        voters = [i for i in range(students) if seen[i, n] and weights[i] > 0]
        shares = {i: weights[i] for i in voters} or {i: 1.0 for i in range(students) if seen[i, n]}
        for i, share in shares.items():
            mixed[n] += share / sum(shares.values()) * answers[i, n]
    return mixed


def loss_by_hand(mixed, targets, task):
    if task == "regression":
        return sum((row[0] - target) ** 2 for row, target in zip(mixed, targets, strict=True)) / len(targets)
    total = 0.0
    for row, target in zip(mixed, targets, strict=True):
        total += math.log(sum(math.exp(value) for value in row)) - row[target]
    return total / len(targets)


def greedy_by_hand(answers, losses, seen, targets, task, settings):
    """Forward selection over sets of students, each set scored from scratch."""

    def score(members):
        weights = [1 / losses[i] if i in members else 0.0 for i in range(len(losses))]
        return loss_by_hand(mix_by_hand(answers, weights, seen), targets, task)

    allowed = sorted(range(len(losses)), key=lambda i: losses[i])
    allowed = allowed[: max(1, math.floor(settings.keep * len(losses)))]
    members = frozenset(allowed[: settings.start])
    while len(members) < min(len(allowed), settings.most):
        larger = min((members | {i} for i in allowed if i not in members), key=score)
        if score(larger) >= score(members):
            break
        members = larger
    return members


@settings(max_examples=40)
@given(
    st.integers(0, 2**31),
    st.integers(1, 9),
    st.sampled_from(["classification", "regression"]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([Ensemble(), Ensemble(keep=1, start=1), Ensemble(keep=1, start=2, most=4), Ensemble(keep=0.5)]),
)
def test_the_greedy_ensemble_is_that_of_a_brute_force_search(seed, students, task, unseen, chosen):
    outputs = 3 if task == "classification" else 1
    answers, losses, seen, targets = some_cohort(seed, students, unseen=unseen, outputs=outputs)
    found = choose(answers, losses, seen, targets, task, chosen)["meta_fusion"]
    members = greedy_by_hand(answers, losses, seen, targets, task, chosen)
    assert set(np.flatnonzero(found)) == members
    total = sum(1 / losses[i] for i in members)
    np.testing.assert_allclose(found[list(members)], [1 / losses[i] / total for i in members])


def test_the_brute_force_search_does_add_members():
    sizes = []
    for seed in range(10):
        cohort = some_cohort(seed, 9)
        sizes.append(len(greedy_by_hand(*cohort, "regression", Ensemble(keep=1, start=1))))
    assert len(set(sizes)) > 2


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 12), st.sampled_from([0.0, 0.4]))
def test_weights_of_every_ensemble_are_not_negative_and_sum_to_one(seed, students, unseen):
    answers, losses, seen, targets = some_cohort(seed, students, unseen=unseen)
    weights = choose(answers, losses, seen, targets, "regression", Ensemble())
    assert list(weights) == KINDS
    assert all((weight >= 0).all() for weight in weights.values())
    np.testing.assert_allclose([weight.sum() for weight in weights.values()], 1, rtol=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(2, 10), st.sampled_from([0.0, 0.3]))
def test_permuting_the_students_permutes_the_weights(seed, students, unseen):
    answers, losses, seen, targets = some_cohort(seed, students, unseen=unseen)
    order = np.random.default_rng(seed).permutation(students)
    straight = choose(answers, losses, seen, targets, "regression", Ensemble(start=1))
    permuted = choose(answers[order], losses[order], seen[order], targets, "regression", Ensemble(start=1))
    for kind in KINDS:
        np.testing.assert_allclose(permuted[kind], straight[kind][order], rtol=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 4))
def test_the_greedy_ensemble_is_never_worse_on_validation_than_its_start(seed, students, start):
    answers, losses, seen, targets = some_cohort(seed, students)
    chosen = Ensemble(keep=1, start=start, most=30)
    weights = greedy(answers, losses, seen, mse(targets), chosen)
    best = np.argsort(losses)[:start]
    initial = np.zeros(students)
    initial[best] = 1 / losses[best]
    final = loss_by_hand(mix_by_hand(answers, weights, seen), targets, "regression")
    assert final <= loss_by_hand(mix_by_hand(answers, initial, seen), targets, "regression") + 1e-12
    assert (weights[best] > 0).all()


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 12), st.floats(0.1, 1))
def test_the_greedy_ensemble_stays_within_its_limits(seed, students, most, keep):
    answers, losses, seen, targets = some_cohort(seed, students)
    weights = greedy(answers, losses, seen, mse(targets), Ensemble(keep=keep, start=1, most=most))
    kept = np.argsort(losses)[: max(1, math.floor(keep * students))]
    assert set(np.flatnonzero(weights)) <= set(kept)
    assert np.count_nonzero(weights) <= most


def test_a_start_larger_than_the_most_members_is_refused_or_cut():
    answers, losses, seen, targets = some_cohort(1, 8)
    try:
        chosen = Ensemble(start=3, most=2)
    except ValueError:
        return
    assert np.count_nonzero(greedy(answers, losses, seen, mse(targets), chosen)) <= 2


def test_students_outside_the_kept_share_are_never_members():
    # The two worst students are exact opposites and would make the ensemble perfect, but only 3 of 5 are kept.
    answers = np.array([1.0, 1.1, 1.2, 40.0, -40.0])[:, None, None].repeat(4, axis=1)
    losses = np.array([1.0, 1.21, 1.44, 1600.0, 1600.0])
    weights = greedy(answers, losses, np.ones((5, 4), bool), mse(np.zeros(4)), Ensemble(keep=0.6, start=1))
    assert weights[3] == weights[4] == 0


def test_a_student_that_mends_the_others_error_joins():
    # Answers +1, +1.5 and -1 around a target of 0: the first and the last cancel.
    answers = np.array([1.0, 1.5, -1.0])[:, None, None].repeat(4, axis=1)
    losses = np.array([1.0, 2.25, 1.0001])
    weights = greedy(answers, losses, np.ones((3, 4), bool), mse(np.zeros(4)), Ensemble(keep=1, start=1))
    np.testing.assert_allclose(weights, [0.5, 0, 0.5], atol=1e-4)


def test_a_student_that_changes_nothing_does_not_join():
    answers = np.ones((4, 5, 1))
    weights = greedy(answers, np.ones(4), np.ones((4, 5), bool), mse(np.zeros(5)), Ensemble(keep=1, start=1))
    assert weights.tolist() == [1, 0, 0, 0]


def test_the_best_single_student_has_all_the_weight():
    answers, _, seen, targets = some_cohort(0, 4)
    weights = choose(answers, np.array([2.0, 0.5, 0.5, 1.0]), seen, targets, "regression", Ensemble())
    assert weights["best_single"].tolist() == [0, 1, 0, 0]


def test_the_weighted_average_weighs_by_the_inverse_loss():
    answers, _, seen, targets = some_cohort(0, 3)
    weights = choose(answers, np.array([1.0, 2.0, 4.0]), seen, targets, "regression", Ensemble())
    np.testing.assert_allclose(weights["weighted_average"], [4 / 7, 2 / 7, 1 / 7])
    np.testing.assert_allclose(weights["simple_average"], [1 / 3, 1 / 3, 1 / 3])


def test_a_perfect_student_has_finite_weight():
    assert np.isfinite(inverse(np.array([0.0, 1.0]))).all()
    answers, _, seen, targets = some_cohort(0, 2)
    weights = choose(answers, np.array([0.0, 1.0]), seen, targets, "regression", Ensemble())
    np.testing.assert_allclose(weights["weighted_average"], [1, 0], atol=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 3))
def test_combined_answers_are_the_weighted_mean_of_those_who_see(seed, students, outputs):
    random = np.random.default_rng(seed)
    answers = random.standard_normal((students, 7, outputs))
    seen = random.random((students, 7)) < 0.6
    seen[random.integers(0, students, 7), np.arange(7)] = True
    weights = random.random(students) * (random.random(students) < 0.7)
    weights[random.integers(students)] = 1
    np.testing.assert_allclose(combine(answers, weights, seen), mix_by_hand(answers, weights, seen), rtol=1e-10)


def test_what_a_student_says_of_unseen_samples_does_not_matter():
    answers = np.array([[[1.0], [1e30]], [[3.0], [5.0]]])
    seen = np.array([[True, False], [True, True]])
    assert combine(answers, np.array([0.75, 0.25]), seen).tolist() == [[1.5], [5.0]]


@pytest.mark.parametrize("nothing", [np.nan, np.inf])
def test_who_has_no_vote_may_say_what_is_no_number(nothing):
    answers = np.array([[[1.0], [nothing]], [[nothing], [nothing]], [[3.0], [5.0]]])
    seen = np.array([[True, False], [True, True], [True, True]])
    assert combine(answers, np.array([0.75, 0, 0.25]), seen).tolist() == [[1.5], [5.0]]


def test_what_a_voter_says_counts_even_if_it_is_no_number():
    answers = np.array([[[1.0], [np.nan]], [[3.0], [5.0]]])
    found = combine(answers, np.array([0.75, 0.25]), np.ones((2, 2), bool))
    assert np.isnan(found).tolist() == [[False], [True]]


def test_members_are_weighed_anew_by_the_inverse_of_other_losses():
    found = reweighted(np.array([0.9, 0, 0.1, 0.5]), np.array([1.0, 0.1, 4.0, np.inf]))
    np.testing.assert_allclose(found, [0.8, 0, 0.2, 0])


def test_where_no_member_sees_the_sample_all_who_do_answer_alike():
    answers = np.array([[[9.0]], [[2.0]], [[4.0]], [[7.0]]])
    seen = np.array([[False], [True], [True], [False]])
    assert combine(answers, np.array([1.0, 0.0, 0.0, 0.0]), seen).tolist() == [[3.0]]


def test_if_all_say_the_same_so_does_the_ensemble():
    answers = np.full((3, 4, 2), 1.25, dtype=np.float32)
    seen = np.array([[True] * 4, [False, True] * 2, [True, False] * 2])
    np.testing.assert_allclose(combine(answers, np.array([0.2, 0.5, 0.3]), seen), np.full((4, 2), 1.25))


def test_logits_are_averaged_not_probabilities():
    answers = np.array([[[2.0, 0.0]], [[0.0, 6.0]]])
    assert combine(answers, np.array([0.5, 0.5]), np.ones((2, 1), bool)).tolist() == [[1.0, 3.0]]


def logits_for(labels, classes=3, sure=1.0):
    """Logits (students, samples, classes) whose largest are those of the labels (students, samples)."""
    return sure * np.eye(classes)[np.array(labels)]


def count_by_hand(labels, weights, seen, classes):
    """Sums of the weights of those who see the sample and say the class."""
    students, samples = np.array(labels).shape
    votes = np.zeros((samples, classes))
    for n in range(samples):
        for i in range(students):
            if seen[i][n]:
                votes[n, labels[i][n]] += weights[i]
    return votes


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 7), st.integers(2, 4), st.sampled_from([0.0, 0.4]))
def test_the_class_with_most_votes_of_those_who_see_wins(seed, students, classes, unseen):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, (students, 9))
    seen = random.random((students, 9)) >= unseen
    seen[0] = True
    weights = random.uniform(0.1, 1, students)
    logits = logits_for(labels, classes) + random.uniform(0, 0.9, (students, 9, classes))
    for given_weights in (weights, np.ones(students)):
        votes = count_by_hand(logits.argmax(axis=2), given_weights, seen, classes)
        found = vote(logits, given_weights, seen)
        assert found.argmax(axis=1).tolist() == votes.argmax(axis=1).tolist()
        np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)
        # Between two classes of a sample, more votes are a larger share, and equal votes an equal one.
        order = np.sign(votes[:, :, None] - votes[:, None, :])
        np.testing.assert_array_equal(np.sign(np.round(found[:, :, None] - found[:, None, :], 12)), order)


def test_shares_of_votes_have_one_more_vote_divided_among_the_classes():
    found = vote(logits_for([[0], [0], [1]]), np.full(3, 1 / 3), np.ones((3, 1), bool))
    np.testing.assert_allclose(np.exp(found), [[7 / 12, 4 / 12, 1 / 12]])
    found = vote(logits_for([[0], [1]]), np.array([0.2, 0.6]), np.ones((2, 1), bool))
    np.testing.assert_allclose(np.exp(found), [[2 / 7, 4 / 7, 1 / 7]])


@pytest.mark.parametrize("students", [2, 6, 14, 22, 46])
def test_of_classes_with_equal_votes_the_first_wins(students):
    labels = np.array([2, 1] * (students // 2))[:, None]
    found = vote(logits_for(labels), np.full(students, 1 / students), np.ones((students, 1), bool))
    assert found[0, 1] == found[0, 2] > found[0, 0]
    assert found.astype(np.float32).argmax(axis=1).tolist() == [1]


def test_how_sure_a_student_is_does_not_change_its_vote():
    labels = [[0, 1, 2], [1, 1, 0], [2, 0, 0]]
    seen = np.ones((3, 3), bool)
    quiet, loud = (vote(logits_for(labels, sure=sure), np.ones(3), seen) for sure in (0.1, 1e4))
    np.testing.assert_array_equal(quiet, loud)
    means = [combine(logits_for(labels, sure=sure), np.ones(3), seen) for sure in (0.1, 1e4)]
    assert not np.allclose(*means)


def test_votes_are_counted_and_outputs_averaged():
    # Two students lean to class 0, one is sure of class 1.
    outputs = np.array([[[0.1, 0.0]], [[0.1, 0.0]], [[0.0, 9.0]]])
    equal, seen = np.full(3, 1 / 3), np.ones((3, 1), bool)
    assert answer("majority_vote", outputs, equal, seen).argmax() == 0
    assert answer("simple_average", outputs, equal, seen).argmax() == 1


def test_votes_have_the_weights_of_the_averages_and_only_classes_are_voted_for():
    answers, losses, seen, targets = some_cohort(0, 5, outputs=3)
    weights = choose(answers, losses, seen, targets, "classification", Ensemble())
    assert list(weights) == KINDS + VOTES
    np.testing.assert_allclose(weights["majority_vote"], 1 / 5)
    np.testing.assert_allclose(weights["weighted_vote"], 1 / losses / (1 / losses).sum())


def test_students_with_a_loss_can_answer():
    losses, seen = np.array([1.0, np.inf, 0.5]), np.array([[True, False], [True, True], [False, True]])
    assert answering(losses, seen, 3).tolist() == [True, False, True]
    with pytest.raises(UserError, match=r"^seed 3: all students that see anything of 1 samples diverged"):
        answering(np.array([1.0, np.inf, np.inf]), seen, 3)


def test_task_loss_of_classes_is_mean_cross_entropy_in_nats():
    logits = np.log([[1 / 2, 1 / 2], [1 / 8, 7 / 8]]) + 3
    assert task_loss(logits, np.array([0, 0]), "classification") == pytest.approx((math.log(2) + math.log(8)) / 2)


def test_task_loss_of_numbers_is_the_mean_squared_error():
    assert task_loss(np.array([[1.0], [5.0]]), np.array([0.0, 2.0]), "regression") == pytest.approx((1 + 9) / 2)

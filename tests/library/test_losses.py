"""Task losses and the divergence: closed forms, torch's own functions, and loops over every pair."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from metafusion.cohort.losses import divergence_of, mean_where, mixed_divergence, pair_divergences, task_losses
from metafusion.targets import balancing_weights


def logits_of(*probabilities):
    """Logits of class probabilities, shifted, because logits mean the same wherever they lie."""
    return torch.tensor([probabilities], dtype=torch.float64).log() + 1.7


def random_outputs(seed, *shape):
    return torch.from_numpy(3 * np.random.default_rng(seed).standard_normal(shape))


# KL((3/4, 1/4) || (1/2, 1/2)) = 3/4 log(3/2) + 1/4 log(1/2); the other way round 1/2 log(2/3) + 1/2 log 2.
@pytest.mark.parametrize(
    ("peer", "student", "expected"),
    [
        ((3 / 4, 1 / 4), (1 / 2, 1 / 2), 0.75 * math.log(3 / 2) + 0.25 * math.log(1 / 2)),
        ((1 / 2, 1 / 2), (3 / 4, 1 / 4), 0.5 * math.log(2 / 3) + 0.5 * math.log(2)),
        ((1 / 2, 1 / 4, 1 / 4), (1 / 4, 1 / 2, 1 / 4), 0.25 * math.log(2)),
        ((0.2, 0.3, 0.5), (0.2, 0.3, 0.5), 0.0),
    ],
)
def test_divergence_of_classes_is_kl_of_peer_from_student_in_nats(peer, student, expected):
    found = pair_divergences(logits_of(*student), logits_of(*peer), "classification")
    assert found.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_divergence_of_classes_equals_the_batch_mean_of_torch(seed):
    student, peer = random_outputs(seed, 2, 9, 4)
    expected = functional.kl_div(
        functional.log_softmax(student, dim=1), functional.softmax(peer, dim=1), reduction="batchmean"
    )
    assert pair_divergences(student, peer, "classification").mean().item() == pytest.approx(expected.item(), rel=1e-12)


def test_divergence_of_classes_stays_finite_for_extreme_logits():
    student, peer = torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])
    assert pair_divergences(student, peer, "classification").item() == pytest.approx(2e4)


def test_divergence_of_numbers_is_the_squared_difference():
    student, peer = torch.tensor([[1.0], [2.0], [-3.0]]), torch.tensor([[4.0], [2.0], [-1.0]])
    assert pair_divergences(student, peer, "regression").tolist() == [9, 0, 4]


def test_divergence_of_several_numbers_is_their_mean_squared_difference():
    found = pair_divergences(torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0, 1.0]]), "regression")
    assert found.tolist() == [(4 + 16) / 2]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_no_gradient_flows_into_peers(task):
    student, peer = random_outputs(1, 2, 5, 3)
    student.requires_grad_()
    peer.requires_grad_()
    pair_divergences(student, peer, task).sum().backward()
    assert peer.grad is None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_no_gradient_flows_into_teachers(task):
    outputs = random_outputs(2, 3, 5, 2).requires_grad_()
    student = random_outputs(3, 5, 2).requires_grad_()
    seen = torch.ones(3, 5, dtype=torch.bool)
    divergence_of(0, student, outputs, torch.tensor([0.5, 0.5, 0.0]).double(), seen, task).backward()
    assert outputs.grad is None
    assert student.grad.abs().sum() > 0


# The derivative of KL(p || softmax(z)) by z is softmax(z) - p.
def test_gradient_of_the_divergence_is_the_difference_of_probabilities():
    student = logits_of(1 / 4, 3 / 4).requires_grad_()
    pair_divergences(student, logits_of(1 / 2, 1 / 2), "classification").sum().backward()
    np.testing.assert_allclose(student.grad.numpy(), [[1 / 4 - 1 / 2, 3 / 4 - 1 / 2]], atol=1e-12)


def test_task_loss_of_classes_is_cross_entropy_in_nats():
    found = task_losses(logits_of(1 / 2, 1 / 8, 3 / 8).expand(2, 3), torch.tensor([0, 1]), "classification")
    np.testing.assert_allclose(found, [math.log(2), math.log(8)], rtol=1e-12)


def test_task_loss_of_classes_equals_torch_for_every_student():
    outputs, targets = random_outputs(4, 3, 6, 4), torch.tensor([0, 3, 1, 1, 2, 0])
    expected = [functional.cross_entropy(logits, targets, reduction="none").numpy() for logits in outputs]
    np.testing.assert_allclose(task_losses(outputs, targets, "classification"), expected, rtol=1e-12)


def test_task_losses_of_weighted_classes_are_those_of_torch():
    random = torch.Generator().manual_seed(1)
    outputs, targets = torch.randn(7, 3, generator=random), torch.tensor([0, 2, 1, 1, 0, 2, 2])
    weights = torch.tensor([0.5, 2.0, 1.0])
    expected = functional.cross_entropy(outputs, targets, weights, reduction="none")
    torch.testing.assert_close(task_losses(outputs, targets, "classification", weights), expected)
    # Two seeds with weights of their own.
    both = torch.stack([weights, 3 * weights])[:, None]
    found = task_losses(outputs.expand(2, 4, 7, 3), targets.expand(2, 1, 7), "classification", both)
    torch.testing.assert_close(found, torch.stack([expected, 3 * expected])[:, None].expand(2, 4, 7))


def test_rare_classes_weigh_as_much_as_frequent_ones():
    # Of eight samples six are of class 0, two of class 2, none of class 1: 8 / (2 * 6) and 8 / (2 * 2).
    weights = balancing_weights(np.array([0, 0, 2, 0, 0, 2, 0, 0]), 3)
    np.testing.assert_allclose(weights, [2 / 3, 1, 2])


def test_task_loss_of_numbers_is_the_squared_error():
    outputs = torch.tensor([[[1.0], [2.0]], [[0.0], [5.0]]])
    found = task_losses(outputs, torch.tensor([[1.0], [4.0]]), "regression")
    assert found.tolist() == [[0, 4], [1, 1]]


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.booleans()), min_size=1, max_size=8))
def test_a_masked_mean_is_the_mean_of_what_is_left(pairs):
    values, mask = (torch.tensor(column) for column in zip(*pairs, strict=True))
    left = [value for value, kept in pairs if kept]
    expected = sum(left) / len(left) if left else 0
    assert mean_where(values.double(), mask).item() == pytest.approx(expected, abs=1e-3)


def test_a_masked_mean_works_along_the_last_axis():
    values = torch.tensor([[1.0, 2.0, 30.0], [4.0, 50.0, 60.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert mean_where(values, mask).tolist() == [1.5, 4.0]


def softmax(logits):
    top = max(logits)
    powers = [math.exp(value - top) for value in logits]
    return [power / sum(powers) for power in powers]


def pair_by_hand(student, peer, task):
    if task == "regression":
        return sum((a - b) ** 2 for a, b in zip(student, peer, strict=True)) / len(student)
    return sum(p * math.log(p / q) for p, q in zip(softmax(peer), softmax(student), strict=True))


def divergence_by_hand(student, outputs, peers, teaching, seen, task, normaliser):
    """Two loops over samples and other students, as the definition reads."""
    total, count = 0.0, 0
    for sample in range(len(outputs)):
        if not seen[student][sample]:
            continue
        pull, weight = 0.0, 0.0
        for other in range(len(peers)):
            if other != student and seen[other][sample]:
                pull += teaching[other] * pair_by_hand(outputs[sample], peers[other][sample], task)
            if seen[other][sample] and (other != student or normaliser == "all"):
                weight += teaching[other]
        total += pull / weight if weight > 0 else 0.0
        count += 1
    return total / count if count else 0.0


@st.composite
def batches(draw):
    students, batch = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    teaching = draw(st.lists(st.sampled_from([0.0, 0.2, 0.5, 1.0]), min_size=students, max_size=students))
    seen = draw(st.lists(st.lists(st.booleans(), min_size=batch, max_size=batch), min_size=students, max_size=students))
    return draw(st.integers(0, students - 1)), teaching, seen, draw(st.integers(0, 2**31)), students, batch


@settings(max_examples=60)
@given(batches(), st.sampled_from(["classification", "regression"]), st.sampled_from(["others", "all"]))
def test_divergence_equals_loops_over_samples_and_peers(drawn, task, normaliser):
    student, teaching, seen, seed, students, batch = drawn
    outputs, peers = random_outputs(seed, batch, 3), random_outputs(seed + 1, students, batch, 3)
    found = divergence_of(
        student, outputs, peers, torch.tensor(teaching, dtype=torch.float64), torch.tensor(seen), task, normaliser
    )
    expected = divergence_by_hand(student, outputs.tolist(), peers.tolist(), teaching, seen, task, normaliser)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


EVERYONE = torch.ones(3, 1, dtype=torch.bool)
PEERS = torch.tensor([[[0.0]], [[2.0]], [[4.0]]])


def test_the_normaliser_is_over_the_other_students():
    # Student 0 at 0, teachers 0 and 1 with a half each: only teacher 1 counts, fully (over all it would be 4 / 2).
    found = divergence_of(0, PEERS[0], PEERS, torch.tensor([0.5, 0.5, 0.0]), EVERYONE, "regression")
    assert found.item() == 4


def test_the_normaliser_can_be_over_all_students():
    # The same: 4 by a weight of a half, over the student's own half and the other's. An outsider's is no different.
    teaching = torch.tensor([0.5, 0.5, 0.0])
    assert divergence_of(0, PEERS[0], PEERS, teaching, EVERYONE, "regression", "all").item() == 4 / 2
    assert divergence_of(2, PEERS[2], PEERS, teaching, EVERYONE, "regression", "all").item() == (16 + 4) / 2


def test_an_outsider_is_pulled_by_the_mean_of_the_teachers():
    found = divergence_of(2, PEERS[2], PEERS, torch.tensor([0.5, 0.5, 0.0]), EVERYONE, "regression")
    assert found.item() == (16 + 4) / 2


def test_unequal_weights_weigh_the_teachers():
    found = divergence_of(0, PEERS[0], PEERS, torch.tensor([0.0, 0.75, 0.25]), EVERYONE, "regression")
    assert found.item() == 0.75 * 4 + 0.25 * 16


def test_a_lone_teacher_has_no_divergence():
    found = divergence_of(1, PEERS[1], PEERS, torch.tensor([0.0, 1.0, 0.0]), EVERYONE, "regression")
    assert found.item() == 0


def test_a_teacher_that_sees_nothing_of_a_sample_is_silent_there():
    seen = torch.tensor([[True], [False], [True]])
    found = divergence_of(0, PEERS[0], PEERS, torch.tensor([0.0, 0.5, 0.5]), seen, "regression")
    assert found.item() == 16


def test_samples_that_a_student_does_not_see_do_not_count():
    peers = PEERS.expand(3, 2, 1)
    seen = torch.tensor([[True, False], [True, True], [True, True]])
    found = divergence_of(0, torch.tensor([[0.0], [100.0]]), peers, torch.tensor([0.0, 1.0, 0.0]), seen, "regression")
    assert found.item() == 4


def test_the_teaching_weights_given_are_not_changed():
    teaching = torch.tensor([0.5, 0.5, 0.0])
    divergence_of(0, PEERS[0], PEERS, teaching, EVERYONE, "regression")
    assert teaching.tolist() == [0.5, 0.5, 0.0]


# All students at once


@settings(max_examples=60)
@given(batches(), st.sampled_from(["classification", "regression"]), st.sampled_from(["others", "all"]))
def test_closed_form_of_the_divergence_equals_the_sum_over_pairs(drawn, task, normaliser):
    _, teaching, seen, seed, students, batch = drawn
    teaching, seen = torch.tensor(teaching, dtype=torch.float64), torch.tensor(seen)
    outputs = random_outputs(seed, students, batch, 3)
    one, other = outputs.clone().requires_grad_(), outputs.clone().requires_grad_()
    closed = mean_where(mixed_divergence(one, teaching[:, None] * seen, task, normaliser), seen)
    pairs = torch.stack(
        [divergence_of(i, other[i], other.detach(), teaching, seen, task, normaliser) for i in range(students)]
    )
    torch.testing.assert_close(closed, pairs)
    # Alone, a student has nothing to be pulled by, and torch no gradient to give.
    closed.sum().backward()
    (pairs.sum() + 0 * other.sum()).backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_closed_form_works_for_seeds_and_penalties_side_by_side():
    outputs, teaching = random_outputs(1, 2, 3, 4, 5, 2), torch.rand(2, 3, 4, 5, dtype=torch.float64)
    found = mixed_divergence(outputs, teaching, "classification")
    for s in range(2):
        for p in range(3):
            alone = mixed_divergence(outputs[s, p], teaching[s, p], "classification")
            torch.testing.assert_close(found[s, p], alone)


def test_closed_form_loses_no_digits_far_from_zero():
    # The expanded square, f^2 - 2 f m + mean of squares, would lose all of them.
    outputs = 1e8 + torch.tensor([[[0.0]], [[2.0]], [[4.0]]], dtype=torch.float64)
    teaching = torch.tensor([[0.5], [0.5], [0.0]], dtype=torch.float64)
    found = mixed_divergence(outputs, teaching, "regression")
    np.testing.assert_allclose(found.squeeze(), [4, 4, (16 + 4) / 2], rtol=1e-12)


@pytest.mark.parametrize("normaliser", ["others", "all"])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_in_closed_form_a_lone_teacher_is_not_pulled(task, normaliser):
    outputs = random_outputs(5, 3, 5, 2)
    teaching = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)[:, None].expand(3, 5)
    found = mixed_divergence(outputs, teaching, task, normaliser)
    assert found[1].abs().max() == 0
    assert found[[0, 2]].abs().min() > 0


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("spoilt", [math.nan, math.inf, 1e200], ids=["not a number", "infinite", "huge"])
def test_who_does_not_teach_may_say_anything(task, spoilt):
    outputs = random_outputs(6, 4, 5, 2)
    teaching = torch.tensor([0.5, 0.5, 0.0, 0.0], dtype=torch.float64)[:, None].expand(4, 5)
    expected, expected_gradient = pulls_and_gradient(outputs, teaching, task)
    outputs[3] = spoilt
    found, gradient = pulls_and_gradient(outputs, teaching, task)
    torch.testing.assert_close(found[:3], expected[:3], rtol=0, atol=0)
    torch.testing.assert_close(gradient[:3], expected_gradient[:3], rtol=0, atol=0)


def pulls_and_gradient(outputs, teaching, task):
    outputs = outputs.clone().requires_grad_()
    found = mixed_divergence(outputs, teaching, task)
    found[:3].sum().backward()
    return found.detach(), outputs.grad


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_peer_by_peer_who_does_not_teach_may_be_infinitely_far_away(task):
    outputs = random_outputs(6, 3, 5, 2)
    teaching, seen = torch.tensor([0.5, 0.5, 0.0]).double(), torch.ones(3, 5, dtype=torch.bool)
    expected = divergence_of(0, outputs[0], outputs, teaching, seen, task)
    outputs[2] = 1e200
    assert divergence_of(0, outputs[0], outputs, teaching, seen, task) == expected

"""Task losses and the divergence: closed forms, torch's own functions, and loops over every pair."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from metafusion.cohort.losses import divergence_of, mean_where, pair_divergences, task_losses


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


def divergence_by_hand(student, outputs, peers, teaching, seen, task):
    """Two loops over samples and other students, as the definition reads."""
    total, count = 0.0, 0
    for sample in range(len(outputs)):
        if not seen[student][sample]:
            continue
        pull, weight = 0.0, 0.0
        for other in range(len(peers)):
            if other != student and seen[other][sample]:
                pull += teaching[other] * pair_by_hand(outputs[sample], peers[other][sample], task)
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
@given(batches(), st.sampled_from(["classification", "regression"]))
def test_divergence_equals_loops_over_samples_and_peers(drawn, task):
    student, teaching, seen, seed, students, batch = drawn
    outputs, peers = random_outputs(seed, batch, 3), random_outputs(seed + 1, students, batch, 3)
    found = divergence_of(
        student, outputs, peers, torch.tensor(teaching, dtype=torch.float64), torch.tensor(seen), task
    )
    expected = divergence_by_hand(student, outputs.tolist(), peers.tolist(), teaching, seen, task)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


EVERYONE = torch.ones(3, 1, dtype=torch.bool)
PEERS = torch.tensor([[[0.0]], [[2.0]], [[4.0]]])


def test_the_normaliser_is_over_the_other_students():
    # Student 0 at 0, teachers 0 and 1 with a half each: only teacher 1 counts, fully (over all it would be 4 / 2).
    found = divergence_of(0, PEERS[0], PEERS, torch.tensor([0.5, 0.5, 0.0]), EVERYONE, "regression")
    assert found.item() == 4


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

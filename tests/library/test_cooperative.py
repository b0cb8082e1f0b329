"""Cooperative learning: normal equations written out, slow literal versions, and what the agreement must do."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn

from metafusion.cohort.networks import initial_state, networks_of, stream
from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.students import only
from metafusion.comparators import cooperative, linear
from metafusion.comparators.options import Options
from metafusion.config.models import Cohort, Cooperative
from metafusion.errors import UserError

MODALITIES = ["blood", "scan"]
THREE = ["blood", "scan", "smell"]
WIDTHS = {"blood": 4, "scan": 2, "smell": 3}
SETTINGS = Cohort(hidden=[6, 4], epochs=4, batch_size=8, learning_rate=0.02, target_scaling="none")
TRAINING, VALIDATION = np.arange(36), np.arange(36, 50)
SCHEMES = ["direct", "backfitting", "joint"]


def some_data(modalities=MODALITIES, missing=0.0, seed=0, samples=60):
    """Each modality adds something to the target; the last ten samples are the test part."""
    random = np.random.default_rng(seed)
    raw = {name: random.standard_normal((samples, WIDTHS[name])) for name in modalities}
    present = {name: random.random(samples) >= missing for name in modalities}
    present[modalities[-1]] |= ~np.any([present[name] for name in modalities], axis=0)
    targets = 2 + sum(raw[name][:, 0] * present[name] for name in raw) + 0.3 * random.standard_normal(samples)
    views = {(name, "raw"): np.where(present[name][:, None], raw[name], 0) for name in raw}
    return SeedData(views, present, targets, TRAINING, VALIDATION, 1)


def answers_of(data, modalities=MODALITIES, settings=SETTINGS, **given):
    options = Options(task="regression", cohort=settings, cooperative=Cooperative(**given))
    return cooperative.train({1: data}, modalities, options)[1]


def networks(data, scheme, agreement, modalities=MODALITIES, settings=SETTINGS, joint_residual="included"):
    return cooperative.fit_networks(data, modalities, settings, 1, scheme, agreement, joint_residual)


class Slow:
    """Plain networks and the objectives as they are written on paper, sample by sample."""

    def __init__(self, data, modalities, settings, with_joint):
        self.data, self.settings = data, settings
        seen_by = [modalities] * with_joint + [[name] for name in modalities]
        self.inputs = [
            torch.from_numpy(np.concatenate([data.views[name, "raw"] for name in names], axis=1)) for names in seen_by
        ]
        self.seen = [np.any([data.present[name] for name in names], axis=0) for names in seen_by]
        self.networks, self.optimisers = [], []
        widths = {view: array.shape[1] for view, array in data.views.items()}
        for names in seen_by:
            [network] = networks_of([only(names, modalities)], {}, settings)
            state = initial_state(network, widths, 1, "1", {}, torch.float64)
            sizes = [sum(WIDTHS[name] for name in names), *settings.hidden, 1]
            layers = []
            for inputs, units in pairwise(sizes):
                layers += [nn.Linear(inputs, units), nn.ReLU()]
            module = nn.Sequential(*layers[:-1]).double()
            module.load_state_dict({name.removeprefix("head."): tensor for name, tensor in state.items()})
            self.networks.append(module)
            self.optimisers.append(torch.optim.AdamW(module.parameters(), settings.learning_rate, weight_decay=0))

    def say(self, number, row):
        """What a network says of a sample; nothing where it lacks the modality."""
        return self.networks[number](self.inputs[number][row])[0] if self.seen[number][row] else torch.tensor(0.0)

    def sums(self):
        with torch.no_grad():
            return np.array(
                [float(sum(self.say(k, row) for k in range(len(self.networks)))) for row in range(len(self.seen[0]))]
            )

    def train(self, batch_step):
        order, best, answer = stream("1", "batches"), np.inf, None
        targets = self.data.targets
        for _ in range(self.settings.epochs):
            rows = TRAINING[torch.randperm(len(TRAINING), generator=order).numpy()]
            for start in range(0, len(rows), self.settings.batch_size):
                batch_step(rows[start : start + self.settings.batch_size])
            said = self.sums()
            error = np.mean((said[VALIDATION] - targets[VALIDATION]) ** 2)
            if error < best:
                best, answer = error, said
        return answer

    def distance(self, one, other, row, said):
        """The squared difference of two networks; none where either lacks the sample."""
        both = self.seen[one][row] and self.seen[other][row]
        return (said[one] - said[other]) ** 2 if both else 0.0


def slow_direct(data, modalities, settings, agreement):
    slow = Slow(data, modalities, settings, with_joint=False)
    count = len(slow.networks)

    def step(rows):
        terms = []
        for row in rows:
            said = [slow.say(k, row) for k in range(count)]
            term = (float(data.targets[row]) - sum(said)) ** 2
            for one, other in combinations(range(count), 2):
                term = term + agreement * slow.distance(one, other, row, said)
            terms.append(term)
        for optimiser in slow.optimisers:
            optimiser.zero_grad()
        (sum(terms) / len(terms)).backward()
        for optimiser in slow.optimisers:
            optimiser.step()

    return slow.train(step)


def slow_in_turn(data, modalities, settings, agreement, with_joint, joint_residual):
    slow = Slow(data, modalities, settings, with_joint)
    count = len(slow.networks)

    def step(rows):
        for turn in range(count):
            terms = []
            for row in rows:
                said = [slow.say(k, row) if k == turn else slow.say(k, row).detach() for k in range(count)]
                residual = float(data.targets[row]) - sum(said)
                if with_joint and turn == 0:
                    term = residual**2 + agreement / (1 - agreement) * said[0] ** 2
                else:
                    if with_joint and joint_residual == "left_out":
                        residual = residual + said[0]
                    term = residual**2
                    for other in range(int(with_joint), count):
                        if other != turn:
                            term = term + agreement * slow.distance(turn, other, row, said)
                terms.append(term)
            slow.optimisers[turn].zero_grad()
            (sum(terms) / len(terms)).backward()
            slow.optimisers[turn].step()

    return slow.train(step)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("modalities", [MODALITIES, THREE], ids=len)
def test_networks_trained_together_follow_the_objective_written_out(modalities, missing):
    data = some_data(modalities, missing)
    expected = slow_direct(data, modalities, SETTINGS, 0.7)
    np.testing.assert_allclose(networks(data, "direct", 0.7, modalities)[:, 0], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("modalities", [MODALITIES, THREE], ids=len)
def test_networks_trained_in_turn_follow_their_objectives_written_out(modalities, missing):
    data = some_data(modalities, missing)
    expected = slow_in_turn(data, modalities, SETTINGS, 0.7, False, "included")
    np.testing.assert_allclose(networks(data, "backfitting", 0.7, modalities)[:, 0], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("joint_residual", ["included", "left_out"])
@pytest.mark.parametrize("modalities", [MODALITIES, THREE], ids=len)
def test_a_joint_network_and_the_others_follow_their_objectives_written_out(modalities, joint_residual):
    data = some_data(modalities, missing=0.2)
    expected = slow_in_turn(data, modalities, SETTINGS, 0.7, True, joint_residual)
    found = networks(data, "joint", 0.7, modalities, joint_residual=joint_residual)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-8, atol=1e-10)


def test_without_agreement_it_is_the_fit_of_the_sum():
    """The sum of two networks is one network with two blocks; its error alone is minimised."""
    data = some_data()
    slow = Slow(data, MODALITIES, SETTINGS, with_joint=False)
    together = torch.optim.AdamW(
        [one for network in slow.networks for one in network.parameters()], SETTINGS.learning_rate, weight_decay=0
    )
    targets = torch.from_numpy(data.targets)

    def step(rows):
        said = sum(network(inputs[rows]) for network, inputs in zip(slow.networks, slow.inputs, strict=True))
        together.zero_grad()
        nn.functional.mse_loss(said[:, 0], targets[rows]).backward()
        together.step()

    expected = slow.train(step)
    np.testing.assert_allclose(networks(data, "direct", 0.0)[:, 0], expected, rtol=1e-8, atol=1e-10)


class Watched:
    """Keeps the networks that were made, to ask each what it says."""

    def __init__(self, monkeypatch):
        self.members, made = [], cooperative._Member

        def watch(*given):
            self.members.append(made(*given))
            return self.members[-1]

        monkeypatch.setattr(cooperative, "_Member", watch)

    def say(self):
        with torch.no_grad():
            return [member(torch.arange(60)).numpy() for member in self.members]


@pytest.mark.parametrize("scheme", ["direct", "backfitting"])
def test_a_strong_agreement_makes_the_predictions_agree(scheme, monkeypatch):
    longer = SETTINGS.model_copy(update={"epochs": 25})
    spreads = {}
    for agreement in (0.0, 300.0):
        watched = Watched(monkeypatch)
        networks(some_data(), scheme, agreement, settings=longer)
        first, second = watched.say()
        spreads[agreement] = np.mean((first - second)[:36] ** 2)
    assert spreads[300.0] < 0.02 * spreads[0.0]


def test_the_joint_network_dies_out_as_the_agreement_nears_1(monkeypatch):
    longer = SETTINGS.model_copy(update={"epochs": 25})
    sizes = {}
    for agreement in (0.0, 0.999):
        watched = Watched(monkeypatch)
        networks(some_data(), "joint", agreement, settings=longer)
        sizes[agreement] = np.mean(watched.say()[0][:36] ** 2)
    assert sizes[0.999] < 0.02 * sizes[0.0]


def test_whether_the_joint_network_counts_changes_the_answer_of_nothing_else():
    included, left_out = (
        answers_of(some_data(), agreements=[0.0, 0.5], joint_residual=word) for word in ("included", "left_out")
    )
    assert not np.allclose(included["cooperative_joint"], left_out["cooperative_joint"], atol=1e-3)
    for method in included.keys() - {"cooperative_joint"}:
        np.testing.assert_array_equal(included[method], left_out[method])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_agreement_with_the_least_validation_error_of_the_sum_is_chosen(scheme):
    data, agreements = some_data(seed=2), [0.9, 0.0, 0.3]
    candidates = [networks(data, scheme, agreement) for agreement in agreements]
    errors = [np.mean((one[36:50, 0] - data.targets[36:50]) ** 2) for one in candidates]
    assert len(set(errors)) == 3
    found = answers_of(data, agreements=agreements)[f"cooperative_{scheme}"]
    np.testing.assert_array_equal(found, candidates[int(np.argmin(errors))])


def test_a_joint_network_takes_agreements_below_1_only():
    data = some_data()
    found = answers_of(data, agreements=[0.5, 1.0, 3.0])["cooperative_joint"]
    np.testing.assert_array_equal(found, networks(data, "joint", 0.5))
    assert set(answers_of(data, agreements=[1.0, 3.0])) == {
        "cooperative_direct",
        "cooperative_backfitting",
        "cooperative_linear",
    }


def centred_pair(columns=(5, 3), samples=40, seed=0):
    random = np.random.default_rng(seed)
    features = [random.standard_normal((samples, width)) for width in columns]
    targets = features[0][:, 0] - 2 * features[1][:, 1] + random.standard_normal(samples)
    return [one - one.mean(axis=0) for one in features], targets - targets.mean()


@pytest.mark.parametrize("agreement", [0.0, 0.5, 1.0, 8.0])
@pytest.mark.parametrize("strength", [0.01, 3.0])
def test_the_linear_version_solves_the_normal_equations(agreement, strength):
    (x, z), y = centred_pair()
    left = np.block(
        [
            [(1 + agreement) * x.T @ x + strength * np.eye(5), (1 - agreement) * x.T @ z],
            [(1 - agreement) * z.T @ x, (1 + agreement) * z.T @ z + strength * np.eye(3)],
        ]
    )
    expected = np.linalg.solve(left, np.concatenate([x.T @ y, z.T @ y]))
    np.testing.assert_allclose(cooperative.fit_linear([x, z], y, agreement, strength), expected, rtol=0, atol=1e-10)


def test_three_linear_predictors_agree_in_pairs():
    """The gradient of the objective, written out sample by sample, is 0 at the solution, and nowhere near it."""
    views, y = centred_pair((4, 3, 2))
    agreement, strength = 0.6, 0.5
    found = cooperative.fit_linear(views, y, agreement, strength)

    def objective(coefficients):
        parts = torch.split(coefficients, [4, 3, 2])
        said = [torch.from_numpy(view) @ part for view, part in zip(views, parts, strict=True)]
        pulls = sum((said[m] - said[k]).square().sum() for m in range(3) for k in range(m))
        return (
            (torch.from_numpy(y) - sum(said)).square().sum()
            + agreement * pulls
            + strength * coefficients @ coefficients
        )

    gradient = torch.autograd.functional.jacobian(objective, torch.from_numpy(found))
    assert gradient.abs().max() < 1e-10
    elsewhere = torch.autograd.functional.jacobian(objective, torch.from_numpy(found + 1e-3))
    assert elsewhere.abs().max() > 1e-3


def test_back_fitting_of_the_linear_version_comes_to_the_direct_solution():
    """One modality after another by ridge regression on partial residuals, as in the paper's algorithm."""
    (x, z), y = centred_pair()
    agreement, strength = 0.5, 2.0
    views, found = [x, z], [np.zeros(5), np.zeros(3)]
    for _ in range(200):
        for turn in (0, 1):
            partial = (y - (1 - agreement) * views[1 - turn] @ found[1 - turn]) / (1 + agreement)
            model = Ridge(alpha=strength / (1 + agreement), fit_intercept=False).fit(views[turn], partial)
            found[turn] = model.coef_
    expected = cooperative.fit_linear(views, y, agreement, strength)
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=0, atol=1e-10)


def test_several_strengths_are_solved_as_one_by_one():
    views, y = centred_pair()
    several = cooperative.fit_linear(views, y, 0.5, [0.1, 1.0, 10.0])
    for row, strength in zip(several, (0.1, 1.0, 10.0), strict=True):
        np.testing.assert_allclose(row, cooperative.fit_linear(views, y, 0.5, strength), rtol=1e-12)


def test_linear_predictors_agree_on_samples_that_both_have():
    (x, z), y = centred_pair()
    present = [np.arange(40) < 30, np.arange(40) >= 10]
    x, z = x * present[0][:, None], z * present[1][:, None]
    both = present[0] & present[1]
    xb, zb = x[both], z[both]
    left = np.block(
        [
            [x.T @ x + 2 * xb.T @ xb + np.eye(5), x.T @ z - 2 * xb.T @ zb],
            [z.T @ x - 2 * zb.T @ xb, z.T @ z + 2 * zb.T @ zb + np.eye(3)],
        ]
    )
    expected = np.linalg.solve(left, np.concatenate([x.T @ y, z.T @ y]))
    np.testing.assert_allclose(cooperative.fit_linear([x, z], y, 2.0, 1.0, present), expected, rtol=0, atol=1e-10)


def test_a_strong_agreement_makes_linear_predictions_agree():
    random = np.random.default_rng(3)
    shared = random.standard_normal(40)
    views = [shared[:, None] + 0.5 * random.standard_normal((40, 2)) for _ in range(2)]
    views = [view - view.mean(axis=0) for view in views]
    y = shared - shared.mean()

    def spread(agreement):
        coefficients = cooperative.fit_linear(views, y, agreement, 1e-3)
        return np.mean((views[0] @ coefficients[:2] - views[1] @ coefficients[2:]) ** 2)

    assert spread(1e4) < 1e-3 * spread(0.0)


def test_without_agreement_the_linear_version_is_ridge_regression_on_all_features():
    data = some_data()
    expected = linear.train({1: data}, MODALITIES, Options(task="regression"))[1]["ridge_regression"]
    found = answers_of(data, agreements=[0.0])["cooperative_linear"]
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_strength_and_agreement_of_the_linear_version_are_chosen_by_validation():
    data = some_data(seed=4)
    x, z = (data.views[name, "raw"] - data.views[name, "raw"][:36].mean(axis=0) for name in MODALITIES)
    mean, best, expected = data.targets[:36].mean(), np.inf, None
    for agreement in (0.0, 0.5, 2.0):
        for strength in 1 / linear.STRENGTHS:
            found = cooperative.fit_linear([x[:36], z[:36]], data.targets[:36] - mean, agreement, strength)
            said = np.hstack([x, z]) @ found + mean
            error = np.mean((said[36:50] - data.targets[36:50]) ** 2)
            if error < best:
                best, expected = error, said
    answer = answers_of(data, agreements=[0.0, 0.5, 2.0])["cooperative_linear"]
    np.testing.assert_allclose(answer[:, 0], expected, rtol=1e-8)


def test_what_stands_for_an_absent_modality_is_never_looked_at():
    data = some_data(missing=0.3)
    before = answers_of(data, agreements=[0.5])
    for name in MODALITIES:
        data.views[name, "raw"][~data.present[name]] = 50
    after = answers_of(data, agreements=[0.5])
    for method in before.keys() - {"cooperative_joint"}:
        np.testing.assert_allclose(after[method], before[method], rtol=1e-9)


def test_targets_of_the_test_part_change_nothing():
    data = some_data()
    before = answers_of(data, agreements=[0.5])
    data.targets[50:] = 0
    after = answers_of(data, agreements=[0.5])
    assert {name: one.tobytes() for name, one in before.items()} == {name: one.tobytes() for name, one in after.items()}


def test_a_seed_gets_the_same_answers_again_and_in_any_company():
    data = {seed: some_data(seed=seed) for seed in (3, 1)}
    options = Options(task="regression", cohort=SETTINGS, cooperative=Cooperative(agreements=[0.0, 0.5]))
    together = cooperative.train(data, MODALITIES, options)
    assert list(together) == [3, 1]
    for seed, one in data.items():
        alone = cooperative.train({seed: one}, MODALITIES, options)[seed]
        for method, outputs in alone.items():
            assert outputs.shape == (60, 1)
            np.testing.assert_array_equal(together[seed][method], outputs)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_unit_of_a_scaled_target_does_not_matter(scheme):
    data, other = some_data(), some_data()
    other.targets[:] = 1000 * other.targets - 5
    scaled = SETTINGS.model_copy(update={"target_scaling": "standard"})
    expected = 1000 * networks(data, scheme, 0.5, settings=scaled) - 5
    np.testing.assert_allclose(networks(other, scheme, 0.5, settings=scaled), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "changed",
    [
        {"repetition": 1},
        {"hidden": [5]},
        {"epochs": 2, "warm_start": True},
        {"dropout": 0.5},
        {"weight_decay": 5.0},
        {"sparsity": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_networks_follow_the_settings_of_the_main_head(scheme, changed):
    found = networks(some_data(), scheme, 0.5, settings=SETTINGS.model_copy(update=changed))
    usual = networks(some_data(), scheme, 0.5)
    # A warm start has twice the epochs, here as many as usual.
    assert np.array_equal(found, usual) == ("warm_start" in changed)
    assert np.isfinite(found).all()


def test_patience_ends_a_training_at_the_first_epoch_that_is_no_better(monkeypatch):
    losses, measure = [], cooperative._Cooperation._validation_loss

    def noted(training):
        losses.append(measure(training))
        return losses[-1]

    monkeypatch.setattr(cooperative._Cooperation, "_validation_loss", noted)
    networks(some_data(), "direct", 0.0, settings=SETTINGS.model_copy(update={"epochs": 200, "patience": 1}))
    assert 2 < len(losses) < 200
    assert all(later < earlier for earlier, later in pairwise(losses[:-1]))
    assert losses[-1] >= losses[-2]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_networks_that_diverged_have_no_answer(scheme):
    data = some_data()
    # Squares of such numbers are none.
    data.views["scan", "raw"][:] *= 1e200
    assert np.isnan(networks(data, scheme, 0.5)).all()


def test_an_agreement_at_which_networks_diverged_is_not_chosen(monkeypatch):
    data, fit = some_data(), cooperative.fit_networks

    def broken(data, modalities, settings, seed, scheme, agreement, *more, **options):
        found = fit(data, modalities, settings, seed, scheme, agreement, *more, **options)
        return found if (scheme, agreement) == ("direct", 0.5) else np.full_like(found, np.nan)

    monkeypatch.setattr(cooperative, "fit_networks", broken)
    found = answers_of(data, agreements=[0.0, 0.5])
    assert np.isfinite(found["cooperative_direct"]).all()
    np.testing.assert_array_equal(found["cooperative_direct"], networks(data, "direct", 0.5))
    assert np.isnan(found["cooperative_backfitting"]).all()
    assert np.isfinite(found["cooperative_linear"]).all()


def test_a_modality_in_no_training_sample_is_refused():
    data = some_data()
    data.present["scan"][:36] = False
    with pytest.raises(UserError, match="no training sample has a modality of student"):
        answers_of(data)

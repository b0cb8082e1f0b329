"""Extractors that are networks: equal to plain torch modules and to the loop, and blind to the test part."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch import nn

from metafusion import extractors, latents
from metafusion.cohort import loop
from metafusion.cohort.loop import Data
from metafusion.cohort.networks import Branch, Convolution, Network, layers_of
from metafusion.cohort.runtime import Runtime
from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.students import Student
from metafusion.cohort.train import train
from metafusion.config.models import Cohort, Representations
from metafusion.errors import UserError

SHORT = {"epochs": 5, "learning_rate": 0.01, "batch_size": 16}
CHOICES = {
    "encoder": Representations(sizes=["raw", 2, 5, "absent"], extractor="encoder", hidden=[7], **SHORT),
    "encoder without hidden layers": Representations(sizes=[3], extractor="encoder", **SHORT),
    "autoencoder": Representations(sizes=["raw", 2, 4, "absent"], extractor="autoencoder", hidden=[8, 6], **SHORT),
    "autoencoder without hidden layers": Representations(sizes=[3], extractor="autoencoder", **SHORT),
    "conv1d": Representations(
        sizes=[4, 2], extractor="conv1d", shape=[2, 6], channels=[3, 5], kernel=3, hidden=[6], **SHORT
    ),
    "conv3d": Representations(sizes=[4, 2], extractor="conv3d", shape=[3, 2, 2], channels=[3], kernel=3, **SHORT),
    "conv3d with channels": Representations(
        sizes=[2], extractor="conv3d", shape=[2, 3, 2, 1], channels=[4, 3], kernel=5, **SHORT
    ),
}
CLASSES = 3


@cache
def some_data(task="classification", seed=0, width=12, samples=90, missing=0.2, signal=2.0):
    """One modality of a few latent variables, the first of which makes the target; some samples lack it.

    Targets of the test part are what no loss could digest.
    """
    random = np.random.default_rng(seed)
    hidden = random.standard_normal((samples, 3))
    raw = hidden @ random.standard_normal((3, width)) + 0.3 * random.standard_normal((samples, width))
    present = random.random(samples) >= missing
    raw[~present] = 0
    rows = random.permutation(samples)
    training, validation, test = rows[: samples // 2], rows[samples // 2 : 2 * samples // 3], rows[2 * samples // 3 :]
    scores = signal * hidden[:, 0] + 0.3 * random.standard_normal(samples)
    targets = np.digitize(scores, [-0.8, 0.8]) if task == "classification" else 50 + 10 * scores
    targets[test] = 10**6 if task == "classification" else np.nan
    return SeedData(
        views={("scan", "raw"): raw.astype(np.float32)},
        present={"scan": present},
        targets=targets,
        training=training,
        validation=validation,
        outputs=CLASSES if task == "classification" else 1,
    )


def test_rows(data):
    return np.setdiff1d(np.arange(len(data.targets)), np.concatenate([data.training, data.validation]))


test_rows.__test__ = False


def extract(data, choice, task="classification", scaling="standard"):
    return extractors.extract(data, "scan", choice, scaling, task)


def chains(choice):
    """Each stored chain of layers, with the representations that come out of it and after which dense layer."""
    if choice.extractor == "autoencoder":
        return {f"autoencoder{number}": {number: len(choice.hidden) + 1} for number in choice.numbers}
    return {choice.extractor: {n: len(choice.hidden) + i for i, n in enumerate(choice.numbers, start=1)}}


def modules_of(stored, prefix, choice):
    """Rebuild a stored chain by torch's own modules: lists of a layer and its ReLU."""
    count = sum(name.startswith(f"{prefix}/") and name.endswith(".weight") for name in stored)
    blocks, flat = [], choice.extractor not in ("conv1d", "conv3d")
    for depth in range(count):
        weight = torch.from_numpy(stored[f"{prefix}/{depth}.weight"])
        bias = torch.from_numpy(stored[f"{prefix}/{depth}.bias"])
        if weight.ndim > 2:
            kind = {3: nn.Conv1d, 5: nn.Conv3d}[weight.ndim]
            places = {"stride": 2, "padding": choice.kernel // 2}
            layer = kind(weight.shape[1], weight.shape[0], choice.kernel, **places)
        else:
            layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        between = [] if flat or weight.ndim > 2 else [nn.Flatten()]
        flat = flat or weight.ndim == 2
        blocks.append([*between, layer, nn.ReLU()])
    return blocks


def arrays_of(raw, choice):
    """Features as the modules read them."""
    if choice.extractor not in ("conv1d", "conv3d"):
        return torch.from_numpy(raw)
    shape = choice.shape if len(choice.shape) != 3 else [1, *choice.shape]
    return torch.from_numpy(raw).reshape(len(raw), *shape)


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_latents_are_what_comes_out_of_the_stored_layers(name, task):
    choice, data = CHOICES[name], {seed: some_data(task, seed) for seed in (1, 2)}
    mapped, stored = extract(data, choice, task)
    found = 0
    for seed, one in data.items():
        for chain, ends in chains(choice).items():
            blocks = modules_of(stored, f"seed_{seed}/{chain}", choice)
            for number, depth in ends.items():
                kept = blocks[: len(choice.channels) * (choice.extractor[:4] == "conv") + depth]
                flat = [module for block in kept for module in block]
                network = nn.Sequential(*(flat[:-1] if choice.extractor == "autoencoder" else flat))
                with torch.no_grad():
                    expected = network(arrays_of(one.views["scan", "raw"], choice)).numpy()
                latent = mapped[f"seed_{seed}/{choice.extractor}{number}"]
                assert latent.shape == (len(one.targets), number)
                assert latent.dtype == np.float32
                np.testing.assert_allclose(latent, expected, rtol=1e-5, atol=1e-5)
                found += 1
    assert found == len(mapped) == 2 * len(choice.numbers)
    assert {array.dtype for array in stored.values()} == {np.dtype("float32")}


def oracle(one, choice, chain, task, seed):
    """Train the same chain by the loop, with the decoder or the output layer on top; return its layers."""
    convolution = None
    if choice.extractor in ("conv1d", "conv3d"):
        shape = (1, *choice.shape) if choice.extractor == "conv3d" and len(choice.shape) == 3 else tuple(choice.shape)
        convolution = Convolution(shape, tuple(choice.channels), choice.kernel)
    if choice.extractor == "autoencoder":
        number = int(chain.removeprefix("autoencoder"))
        branch = Branch("scan", "raw", (*choice.hidden, number), chain)
        network = Network(f"scan|{chain}", (branch,), tuple(reversed(choice.hidden)))
        raw = one.views["scan", "raw"]
        one, task = replace(one, targets=raw, outputs=raw.shape[1]), "regression"
    else:
        name = f"{choice.extractor}{min(choice.numbers)}"
        branch = Branch("scan", "raw", (*choice.hidden, *choice.numbers), name, True, convolution)
        network = Network(f"scan|{choice.extractor}", (branch,), ())
        if task == "regression":
            trained = one.targets[one.training]
            one = replace(one, targets=(one.targets - trained.mean()) / trained.std())
    settings = Cohort(**SHORT, penalties=[0])
    trained = loop.train(Data.of(one), [network], settings, task, seed)
    return layers_of(trained.weights[0], "extractors.scan")


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_layers_are_those_of_a_loop_over_the_same_network(name, task):
    choice, data = CHOICES[name], {seed: some_data(task, seed) for seed in (1, 2)}
    _, stored = extract(data, choice, task)
    compared = 0
    for seed, one in data.items():
        for chain in chains(choice):
            for depth, (weight, bias) in enumerate(oracle(one, choice, chain, task, seed)):
                prefix = f"seed_{seed}/{chain}/{depth}"
                np.testing.assert_allclose(stored[f"{prefix}.weight"], weight, rtol=1e-5, atol=1e-5)
                np.testing.assert_allclose(stored[f"{prefix}.bias"], bias, rtol=1e-5, atol=1e-5)
                compared += 2
    assert compared == len(stored)


def test_targets_as_they_are_train_another_encoder():
    data = {1: some_data("regression")}
    scaled, plain = (extract(data, CHOICES["encoder"], "regression", scaling)[1] for scaling in ("standard", "none"))
    assert any(scaled[name].tobytes() != plain[name].tobytes() for name in scaled)


def test_the_unit_of_a_target_does_not_matter_when_it_is_scaled():
    one = some_data("regression")
    other = replace(one, targets=1000 * one.targets + 7)
    here, there = (extract({1: data}, CHOICES["encoder"], "regression")[1] for data in (one, other))
    for name in here:
        np.testing.assert_allclose(here[name], there[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["encoder", "autoencoder", "conv1d", "conv3d"])
def test_the_test_part_changes_no_layer_and_no_latent_of_others(name):
    one = some_data()
    rows = test_rows(one)
    raw, present, targets = one.views["scan", "raw"].copy(), one.present["scan"].copy(), one.targets.copy()
    raw[rows] = -1000 * raw[rows] + 7
    present[rows] = ~present[rows]
    targets[rows] = 0
    other = replace(one, views={("scan", "raw"): raw}, present={"scan": present}, targets=targets)
    (mapped, stored), (mapped_too, stored_too) = (extract({3: data}, CHOICES[name]) for data in (one, other))
    assert {key: array.tobytes() for key, array in stored.items()} == {
        key: array.tobytes() for key, array in stored_too.items()
    }
    others = np.concatenate([one.training, one.validation])
    for key, latent in mapped.items():
        np.testing.assert_array_equal(latent[others], mapped_too[key][others])
        assert (latent[rows] != mapped_too[key][rows]).any(), "the change did not reach the test rows"


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_targets_of_the_test_part_are_never_read(task):
    """They are no class and no number here, and would spoil every loss."""
    one = some_data(task)
    assert not np.isin(one.targets[test_rows(one)], range(CLASSES)).any()
    _, stored = extract({3: one}, CHOICES["encoder"], task)
    assert all(np.isfinite(array).all() for array in stored.values())


@pytest.mark.parametrize("name", ["encoder", "autoencoder", "conv1d", "conv3d"])
def test_samples_without_the_modality_teach_nothing(name):
    one = some_data()
    absent = np.intersect1d(np.flatnonzero(~one.present["scan"]), np.concatenate([one.training, one.validation]))
    assert len(absent) > 5
    raw, targets = one.views["scan", "raw"].copy(), one.targets.copy()
    raw[absent], targets[absent] = 40, (targets[absent] + 1) % CLASSES
    other = replace(one, views={("scan", "raw"): raw}, targets=targets)
    stored, stored_too = (extract({3: data}, CHOICES[name])[1] for data in (one, other))
    for key, array in stored.items():
        np.testing.assert_array_equal(array, stored_too[key])


@pytest.mark.parametrize("name", ["encoder", "autoencoder"])
def test_a_target_of_the_training_part_does_matter_to_encoders_alone(name):
    one = some_data()
    targets = one.targets.copy()
    targets[one.training] = (targets[one.training] + 1) % CLASSES
    stored, stored_too = (extract({3: data}, CHOICES[name])[1] for data in (one, replace(one, targets=targets)))
    same = all(stored[key].tobytes() == stored_too[key].tobytes() for key in stored)
    assert same == (name == "autoencoder")


@pytest.mark.parametrize("name", ["encoder", "autoencoder"])
def test_seeds_of_different_widths_and_sizes_are_those_trained_alone(name):
    choice = CHOICES[name]
    data = {4: some_data(seed=4, width=12), 2: some_data(seed=2, width=9, samples=75), 7: some_data(seed=7, width=12)}
    mapped, stored = extract(data, choice)
    for seed, one in data.items():
        mapped_alone, stored_alone = extract({seed: one}, choice)
        for key, array in (mapped_alone | stored_alone).items():
            np.testing.assert_allclose((mapped | stored)[key], array, rtol=1e-4, atol=1e-5)
        first = stored[f"seed_{seed}/{next(iter(chains(choice)))}/0.weight"]
        assert first.shape[1] == one.views["scan", "raw"].shape[1]
    assert {key.split("/")[0] for key in mapped} == {"seed_4", "seed_2", "seed_7"}


LONG = {"epochs": 60, "learning_rate": 0.01, "batch_size": 32}


@pytest.mark.parametrize(
    "choice",
    [
        Representations(sizes=[4, 2], extractor="encoder", hidden=[16], **LONG),
        Representations(sizes=[4], extractor="conv1d", shape=[3, 4], channels=[8], **LONG),
        Representations(sizes=[4], extractor="conv3d", shape=[3, 2, 2], channels=[8], **LONG),
    ],
    ids=lambda choice: choice.extractor,
)
def test_few_latent_variables_of_an_encoder_tell_the_target_of_new_samples(choice):
    one = some_data(samples=600, missing=0.0, seed=5)
    # The same data, with what the test part's targets would have been.
    random = np.random.default_rng(5)
    hidden = random.standard_normal((600, 3))
    rows = test_rows(one)
    truth = np.digitize(2 * hidden[:, 0], [-0.8, 0.8])
    mapped, _ = extract({1: one}, choice)
    latent = mapped[f"seed_1/{choice.extractor}{choice.numbers[-1]}"]
    probe = LogisticRegression(max_iter=1000).fit(latent[one.training], one.targets[one.training])
    chance = np.bincount(truth[rows]).max() / len(rows)
    assert (probe.predict(latent[rows]) == truth[rows]).mean() > chance + 0.25


def test_an_autoencoder_restores_new_samples_better_than_their_mean_does():
    one = some_data(samples=600, missing=0.0, width=10)
    choice = Representations(sizes=[3, 1], extractor="autoencoder", hidden=[16], **LONG | {"epochs": 120})
    mapped, _ = extract({1: one}, choice)
    raw, rows = one.views["scan", "raw"], test_rows(one)
    mean = np.square(raw[rows] - raw[one.training].mean(axis=0)).mean()
    errors = {}
    for number in (3, 1):
        latent = mapped[f"seed_1/autoencoder{number}"]
        restored = LinearRegression().fit(latent[one.training], raw[one.training]).predict(latent[rows])
        errors[number] = np.square(raw[rows] - restored).mean()
    assert errors[3] < 0.2 * mean
    assert errors[3] < errors[1] < mean


@pytest.mark.parametrize("name", ["encoder", "autoencoder", "conv1d"])
def test_an_extractor_that_diverges_is_refused_with_modality_and_seed(name):
    one = some_data()
    extreme = replace(one, views={("scan", "raw"): np.float32(3e38) * np.sign(one.views["scan", "raw"])})
    with pytest.raises(UserError, match=r"^extractor of modality 'scan': seed 2: .*lower"):
        extract({1: one, 2: extreme}, CHOICES[name])


def test_an_autoencoder_of_one_size_that_diverges_is_named(monkeypatch):
    def one_fails(*arguments):
        trained = real(*arguments)
        trained[2].weights[1] = None
        return trained

    real = extractors.train_networks
    monkeypatch.setattr(extractors, "train_networks", one_fails)
    with pytest.raises(UserError, match=r"^extractor of modality 'scan': seed 2: the loss of autoencoder2 is not a"):
        extract({1: some_data(), 2: some_data(seed=2)}, CHOICES["autoencoder"])


@pytest.mark.parametrize("part", ["training", "validation"])
@pytest.mark.parametrize("name", ["encoder", "autoencoder"])
def test_a_part_without_the_modality_is_refused(part, name):
    one = some_data()
    present = one.present["scan"].copy()
    present[getattr(one, part)] = False
    with pytest.raises(UserError, match=rf"^extractor of modality 'scan': seed 2: no {part} sample"):
        extract({1: one, 2: replace(one, present={"scan": present})}, CHOICES[name])


@pytest.mark.parametrize("name", CHOICES)
def test_extractors_read_back_are_the_layers_down_to_each_representation(name, tmp_path):
    choice, data = CHOICES[name], {seed: some_data(seed=seed) for seed in (1, 2)}
    mapped, stored = extract(data, choice)
    latents.write_extractors(tmp_path, "scan", stored)
    chosen = {"scan": choice, "blood": Representations(sizes=["raw", 2]), "csf": Representations(sizes=["raw"])}
    found = latents.read_extractors(tmp_path, chosen, 2)
    assert set(found) == {("scan", f"{choice.extractor}{number}") for number in choice.numbers}
    for (_, representation), layers in found.items():
        wanted = {f"{i}.{kind}": array for i, pair in enumerate(layers) for kind, array in zip("wb", pair, strict=True)}
        assert layers[-1][0].shape[0] == mapped[f"seed_2/{representation}"].shape[1]
        chain = representation if choice.extractor == "autoencoder" else choice.extractor
        for key, array in wanted.items():
            depth, kind = key.split(".")
            ending = {"w": "weight", "b": "bias"}[kind]
            np.testing.assert_array_equal(array, stored[f"seed_2/{chain}/{depth}.{ending}"])


STILL = Cohort(hidden=[5], epochs=1, penalties=[0], learning_rate=1e-12)


def fused(name, tmp_path, seed=0, **keys):
    """Data, extractors and representations of two modalities, as train_cohort gets them."""
    choice = CHOICES[name].model_copy(update=keys)
    one, blood = some_data(seed=seed), some_data(seed=seed, width=4)
    mapped, stored = extract({seed: one}, choice)
    assert all(latent.any() for latent in mapped.values()), "dead units, of which nothing can be learnt"
    latents.write_extractors(tmp_path, "scan", stored)
    views = dict(one.views) | {("blood", "raw"): blood.views["scan", "raw"]}
    views |= {("scan", key.removeprefix(f"seed_{seed}/")): latent for key, latent in mapped.items()}
    chosen = {"scan": choice, "blood": Representations(sizes=["raw"])}
    layers = latents.read_extractors(tmp_path, chosen, seed)
    present = {"scan": one.present["scan"], "blood": np.ones(len(one.targets), dtype=bool)}
    targets = np.where(np.isin(one.targets, range(CLASSES)), one.targets, 0)
    data = replace(one, views=views, present=present, targets=targets, layers=layers)
    students = [
        Student((("scan", f"{choice.extractor}{number}"), ("blood", blood)))
        for number in choice.numbers
        for blood in ("raw", "absent")
    ]
    return {seed: data}, students, chosen


@pytest.mark.parametrize("name", CHOICES)
def test_students_that_fine_tune_start_from_the_extractor(name, tmp_path):
    """Trained with no step to speak of, they say what students of the frozen extractor say."""
    data, students, chosen = fused(name, tmp_path)
    frozen = train(data, students, chosen, STILL, "classification")[0]
    tuned = {"scan": chosen["scan"].model_copy(update={"fine_tune": True}), "blood": chosen["blood"]}
    trained = train(data, students, tuned, STILL, "classification")[0]
    np.testing.assert_allclose(trained.predictions, frozen.predictions, rtol=1e-4, atol=1e-5)
    for student, state, other in zip(students, trained.weights, frozen.weights, strict=True):
        assert not any(key.startswith("extractors.") for key in other)
        given = data[0].layers[student.choices[0]]
        own = layers_of(state, "extractors.scan")
        assert len(own) == len(given)
        for (weight, bias), (weight_given, bias_given) in zip(own, given, strict=True):
            np.testing.assert_allclose(weight, weight_given, atol=1e-6)
            np.testing.assert_allclose(bias, bias_given, atol=1e-6)


@pytest.mark.parametrize("name", ["encoder", "autoencoder", "conv1d"])
def test_each_student_tunes_a_copy_of_its_own(name, tmp_path):
    data, students, chosen = fused(name, tmp_path, fine_tune=True)
    settings = Cohort(hidden=[5], epochs=3, penalties=[0, 1], learning_rate=0.01)
    trained = train(data, students, chosen, settings, "classification")[0]
    first = [layers_of(state, "extractors.scan")[0][0].numpy() for state in trained.weights]
    given = [data[0].layers[student.choices[0]][0][0] for student in students]
    assert all((own != start).any() for own, start in zip(first, given, strict=True))
    assert (first[0] != first[1]).any()


def test_as_published_the_first_user_alone_trains_an_extractor(tmp_path):
    data, students, chosen = fused("encoder", tmp_path)
    settings = STILL.model_copy(update={"frozen_extractors": "first_user_trains"})
    trained = train(data, students, chosen, settings, "classification")[0]
    own = [any(key.startswith("extractors.") for key in state) for state in trained.weights]
    assert own == [True, False, True, False]
    frozen = train(data, students, chosen, STILL, "classification")[0]
    np.testing.assert_allclose(trained.predictions, frozen.predictions, rtol=1e-4, atol=1e-5)


def test_a_latent_that_says_nothing_is_named(monkeypatch):
    def dead(branch, layers, raw):
        return [torch.full((len(raw), units), float(units != 2)) for units in branch.widths]

    monkeypatch.setattr(extractors, "after_each_layer", dead)
    said = []
    extractors.extract({4: some_data()}, "scan", CHOICES["encoder"], "none", "classification", Runtime(say=said.append))
    assert len(said) == 1
    assert "modality 'scan': seed_4/encoder2 is 0 for every sample" in said[0]

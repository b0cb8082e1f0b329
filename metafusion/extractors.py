"""Extractors that are networks, trained before the students: encoders on the target, autoencoders on the features."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from metafusion.cohort.networks import Branch, Layers, Network, encoder_branch, layers_of
from metafusion.cohort.runtime import Runtime
from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.train import train_networks
from metafusion.config.models import Cohort, Representations, Task
from metafusion.errors import UserError


def extract(
    data: dict[int, SeedData],
    modality: str,
    choice: Representations,
    target_scaling: str,
    task: Task,
    runtime: Runtime | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Train a modality's extractors on the training part, for every seed, and map all samples.

    Parameters
    ----------
    data : dict of int to SeedData
        By seed; raw features of the modality, and the targets of all parts but the test part.
    modality : str
    choice : Representations
        ``encoder``, ``conv1d``, ``conv3d``: layers from raw features down to the smallest size, ReLU after each, and a
        linear layer to the outputs, trained on the task loss. A representation is what comes out of the layer of its
        size, after ReLU. ``autoencoder``: for each size, hidden layers with ReLU, a linear layer of that size, the same
        hidden layers backwards and a linear layer to the features, trained on the mean squared error of restoring them;
        the representation is what comes out of the middle layer. Best epoch by the validation part.
    target_scaling : 'standard' or 'none'
        See Cohort.
    task : 'classification' or 'regression'
    runtime : Runtime

    Returns
    -------
    latents : dict of str to ndarray of float32, shape (samples, number)
        ``seed_{seed}/{extractor}{number}``.
    layers : dict of str to ndarray
        ``seed_{seed}/{extractor}/{layer}.weight`` and ``.bias``; of autoencoders ``{extractor}{number}``.

    Raises
    ------
    UserError
        An extractor diverges, or no training or validation sample has the modality.

    References
    ----------
    Liang, Qu, Shahbaba 2025, arXiv 2507.20089 (encoder).
    """
    train = _train_autoencoders if choice.extractor == "autoencoder" else _train_encoder
    try:
        trained = train(data, modality, choice, target_scaling, task, runtime)
    except UserError as error:
        raise UserError(f"extractor of modality {modality!r}: {error}") from None
    mapped, stored = {}, {}
    for seed, chains in trained.items():
        raw = torch.from_numpy(data[seed].views[modality, "raw"])
        for name, (branch, layers) in chains.items():
            stored |= {f"seed_{seed}/{name}/{d}.weight": weight.numpy() for d, (weight, _) in enumerate(layers)}
            stored |= {f"seed_{seed}/{name}/{d}.bias": bias.numpy() for d, (_, bias) in enumerate(layers)}
            values = after_each_layer(branch, layers, raw)
            if choice.extractor == "autoencoder":
                mapped[f"seed_{seed}/{name}"] = values[-1].numpy()
                continue
            latent = zip(reversed(choice.numbers), reversed(values), strict=False)
            mapped |= {f"seed_{seed}/{choice.extractor}{number}": value.numpy() for number, value in latent}
    for name in _dead(mapped):
        if runtime:
            runtime.say(
                f"modality {modality!r}: {name} is 0 for every sample, because all its ReLU units died; students that "
                "see nothing else learn nothing (more epochs, a lower learning_rate or larger sizes may help)"
            )
    return mapped, stored


def _dead(mapped: dict[str, np.ndarray]) -> list[str]:
    """Name the latents that do not depend on the sample: narrow layers with ReLU can end so."""
    return [name for name, values in mapped.items() if not values.any()]


Chains = dict[int, dict[str, tuple[Branch, Layers]]]
"""By seed and name: an extractor's shape and its trained layers."""


def _settings(choice: Representations, target_scaling: str) -> Cohort:
    return Cohort(
        epochs=choice.epochs,
        batch_size=choice.batch_size,
        learning_rate=choice.learning_rate,
        target_scaling=target_scaling,
        penalties=[0.0],
    )


def _train_encoder(
    data: dict[int, SeedData],
    modality: str,
    choice: Representations,
    target_scaling: str,
    task: Task,
    runtime: Runtime | None,
) -> Chains:
    branch = encoder_branch(modality, choice, choice.numbers[-1])
    network = Network(f"{modality}|{choice.extractor}", (branch,), ())
    trained = train_networks(data, [network], _settings(choice, target_scaling), task, runtime)
    prefix = f"extractors.{modality}"
    return {seed: {choice.extractor: (branch, layers_of(one.weights[0], prefix))} for seed, one in trained.items()}


def _train_autoencoders(
    data: dict[int, SeedData],
    modality: str,
    choice: Representations,
    target_scaling: str,
    task: Task,
    runtime: Runtime | None,
) -> Chains:
    del target_scaling, task  # the features are the target, in their own scale
    branches = {
        f"autoencoder{number}": Branch(modality, "raw", (*choice.hidden, number), f"autoencoder{number}")
        for number in choice.numbers
    }
    networks = [
        Network(f"{modality}|{name}", (branch,), tuple(reversed(choice.hidden))) for name, branch in branches.items()
    ]
    chains: Chains = {}
    # What is restored has the width of the features, which may differ between seeds.
    for width in sorted({one.views[modality, "raw"].shape[1] for one in data.values()}):
        alike = {
            seed: replace(one, targets=one.views[modality, "raw"].astype(np.float64), outputs=width)
            for seed, one in data.items()
            if one.views[modality, "raw"].shape[1] == width
        }
        trained = train_networks(alike, networks, _settings(choice, "none"), "regression", runtime)
        for seed, one in trained.items():
            for (name, branch), state in zip(branches.items(), one.weights, strict=True):
                if state is None:
                    raise UserError(f"seed {seed}: the loss of {name} is not a number; lower its learning_rate")
                chains.setdefault(seed, {})[name] = branch, layers_of(state, f"extractors.{modality}")
    return chains


def after_each_layer(branch: Branch, layers: Layers, raw: Tensor) -> list[Tensor]:
    """Return what comes out of each dense layer of an extractor, after its ReLU; shape (samples, units) each."""
    hidden = raw
    if branch.convolution:
        plan = branch.convolution
        hidden = plan.apply(raw.reshape(-1, *plan.shape), layers[: len(plan.channels)]).flatten(1)
        layers = layers[len(plan.channels) :]
    values = []
    for depth, (weight, bias) in enumerate(layers):
        hidden = functional.linear(hidden, weight, bias)
        if branch.ends_in_relu or depth < len(layers) - 1:
            hidden = functional.relu(hidden)
        values.append(hidden)
    return values

"""Training a cohort on a target of any unit: standardised on the way in, given back in its own unit."""

from dataclasses import replace

import numpy as np
from torch import Tensor

from metafusion.cohort import packed
from metafusion.cohort.loop import Data, Trained
from metafusion.cohort.networks import Network, layers_of, named, networks_of
from metafusion.cohort.runtime import Runtime
from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.students import Student
from metafusion.config.models import Cohort, Representations, Task


def train(
    data: dict[int, SeedData],
    students: list[Student],
    representations: dict[str, Representations],
    settings: Cohort,
    task: Task,
    runtime: Runtime | None = None,
    *,
    every_penalty: bool = False,
) -> dict[int, Trained]:
    """Train the cohorts of several seeds.

    Parameters
    ----------
    data : dict of int to SeedData
        By seed.
    students : list of Student
    representations : dict of str to Representations
        By modality; may lack those of which students see raw features or principal components only.
    settings, task, runtime, every_penalty
        See :func:`metafusion.cohort.packed.train`.

    Returns
    -------
    dict of int to Trained
        By seed.
    """
    networks = networks_of(students, representations, settings)
    return train_networks(data, networks, settings, task, runtime, every_penalty=every_penalty)


def train_networks(
    data: dict[int, SeedData],
    networks: list[Network],
    settings: Cohort,
    task: Task,
    runtime: Runtime | None = None,
    *,
    every_penalty: bool = False,
) -> dict[int, Trained]:
    """Train networks, students or others; see :func:`metafusion.cohort.packed.train`.

    In regression with ``target_scaling: standard`` the networks learn z-scores of the target, by the mean and standard
    deviation of the training part: their initial weights and step size suit numbers near 1, whatever the unit.
    Predictions, losses and weights come back in the target's unit.

    Returns
    -------
    dict of int to Trained
        By seed.
    """
    scaled = settings.target_scaling == "standard" and task == "regression"
    units = {seed: unit_of(one) if scaled else (0.0, 1.0) for seed, one in data.items()}
    tensors = {}
    for seed, one in data.items():
        centre, scale = units[seed]
        # Classes are no numbers, and stay as they are.
        targets = (one.targets - centre) / scale if scaled else one.targets
        tensors[seed] = Data.of(replace(one, targets=targets))
    trained = packed.train(tensors, networks, settings, task, runtime, every_penalty=every_penalty)
    return {seed: in_unit(one, *units[seed]) if scaled else one for seed, one in trained.items()}


def unit_of(data: SeedData) -> tuple[float, float]:
    """Return mean and standard deviation of the training part's target; 1 where it does not vary."""
    targets = data.targets[data.training]
    return float(targets.mean()), float(targets.std()) or 1.0


def in_unit(trained: Trained, centre: float, scale: float) -> Trained:
    """Return what was learnt of ``(target - centre) / scale`` as if it had been learnt of the target.

    Squared errors and divergences grow by ``scale ** 2``; the last layers take up both numbers.
    """
    curves = ["task_loss", "divergence", "validation_loss"]
    history = trained.history.assign(**{name: trained.history[name] * scale**2 for name in curves})
    return replace(
        trained,
        predictions=(trained.predictions.astype(np.float64) * scale + centre).astype(trained.predictions.dtype),
        losses=trained.losses * scale**2,
        history=history,
        weights=_in_unit(trained.weights, centre, scale),
        weights_at={p: _in_unit(states, centre, scale) for p, states in trained.weights_at.items()},
    )


def _in_unit(states: list[dict[str, Tensor] | None], centre: float, scale: float) -> list[dict[str, Tensor] | None]:
    return [state and _last_layer_in_unit(state, centre, scale) for state in states]


def _last_layer_in_unit(state: dict[str, Tensor], centre: float, scale: float) -> dict[str, Tensor]:
    *_, (weight, bias) = layers = layers_of(state, "head")
    layers[-1] = weight * scale, bias * scale + centre
    return state | named("head", layers)

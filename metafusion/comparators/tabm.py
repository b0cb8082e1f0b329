"""TabM, networks that share most of their weights, on all features; tuned as the family ``tuned`` is."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import cross_entropy, mse_loss

from metafusion.comparators.tuned import Raw, joined, tune, views_by_fold
from metafusion.config.fronts import Front
from metafusion.config.models import Task
from metafusion.errors import UserError

CANDIDATES = [(width, epochs) for width in (64, 256) for epochs in (5, 10, 20, 40, 80, 160)]
"""Width of the layers, and epochs: those of one width are stages of one training, as trees are of a boosting."""

NETWORKS = 32
"""That share weights, as the authors have it."""

LEARNING_RATE, WEIGHT_DECAY, BATCH = 2e-3, 3e-4, 256
"""Of AdamW."""


def train(raw: Raw, before: Mapping[str, Front], task: Task, seed: int) -> dict[str, np.ndarray]:
    """Tune TabM for one seed: three layers, dropout 0.1, no embeddings of numbers.

    Parameters
    ----------
    raw : Raw
    before : dict of str to Front
        See :func:`metafusion.comparators.tuned.train`, which prepares features and chooses candidates the same way.
    task : 'classification' or 'regression'
    seed : int
        Of initial weights, mini-batches and dropout.

    Returns
    -------
    dict of str to ndarray, shape (samples, outputs)
        ``tabm``: log probabilities (of the mean probability of the networks) or predictions; out of fold, or in the
        test part those of the model that learnt from all folds. A sample that lacks a modality has its mean.

    Raises
    ------
    UserError
        The package ``tabm`` is missing; or as :func:`metafusion.comparators.tuned.train`.

    References
    ----------
    Gorishniy, Kotelnikov, Babenko 2025: TabM (the package is the authors' own).
    """
    everything = np.ones(len(raw.fold), dtype=bool)
    fit = partial(_fit, task=task, classes=raw.outputs, seed=seed)
    features = joined(views_by_fold(raw, before, seed), raw, list(raw.columns))
    return {"tabm": tune(fit, features, raw, everything, task)}


def _fit(
    features: np.ndarray,
    targets: np.ndarray,
    asked: np.ndarray,
    wanted: list[int],
    *,
    task: Task,
    classes: int,
    seed: int,
) -> np.ndarray:
    unit = StandardScaler() if task == "regression" else None
    known = torch.as_tensor(targets) if unit is None else _floats(unit.fit_transform(targets[:, None]))
    chosen, answers = [CANDIDATES[one] for one in wanted], {}
    for width in dict.fromkeys(width for width, _ in chosen):
        epochs = [number for own, number in chosen if own == width]
        stages = _stages(_floats(features), known, _floats(asked), width, epochs, classes, seed)
        answers |= {(width, number): stage for number, stage in stages.items()}
    found = [answers[one] for one in chosen]
    return np.stack(found if unit is None else [unit.inverse_transform(one) for one in found])


def _stages(
    features: torch.Tensor,
    targets: torch.Tensor,
    asked: torch.Tensor,
    width: int,
    epochs: list[int],
    classes: int,
    seed: int,
) -> dict[int, np.ndarray]:
    """Train one TabM; return its answers after each of these epochs, of shape (asked, outputs)."""
    loss, found = (cross_entropy if targets.dtype == torch.int64 else mse_loss), {}
    # What else is drawn in this process stays as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _network(features.shape[1], classes, width)
        optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        for epoch in range(1, max(epochs) + 1):
            model.train()
            for batch in torch.randperm(len(features)).split(BATCH):
                optimiser.zero_grad()
                outputs = model(features[batch]).flatten(0, 1)
                loss(outputs, targets[batch].repeat_interleave(NETWORKS, dim=0)).backward()
                optimiser.step()
            if epoch in epochs:
                model.eval()
                with torch.no_grad():
                    found[epoch] = _mean(model(asked), classes)
    return found


def _network(columns: int, classes: int, width: int) -> torch.nn.Module:
    try:
        from tabm import TabM
    except ImportError:
        raise UserError(
            "comparators: 'tabm' needs the package tabm: .venv/bin/python -m pip install '.[tabm]'"
        ) from None
    return TabM.make(n_num_features=columns, d_out=classes, d_block=width, k=NETWORKS)


def _mean(outputs: torch.Tensor, classes: int) -> np.ndarray:
    """Average the networks, shape (samples, networks, outputs), by their probabilities where there are classes."""
    if classes == 1:
        return outputs.double().mean(dim=1).numpy()
    return outputs.double().log_softmax(dim=-1).logsumexp(dim=1).sub(np.log(NETWORKS)).numpy()


def _floats(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32)

"""The cohorts of a seed's folds as one cohort."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from metafusion.cohort.loop import Trained, refuse_all_diverged
from metafusion.cohort.losses import mean_where, task_losses
from metafusion.cohort.teachers import choose_penalty, teaching_weights
from metafusion.config.models import Cohort, Task
from metafusion.cross_fitting import fold_numbers, pool_outputs, refit_of, runs_of, seeds_of
from metafusion.parts import parts_of
from metafusion.targets import balancing_weights, classes_of, numbers_of, without_test


def pool_cohorts(
    runs: list[Trained],
    targets: np.ndarray,
    fold: np.ndarray,
    settings: Cohort,
    task: Task,
    seed: int,
    refit: Trained | None = None,
) -> Trained:
    """Put the cohorts of a seed's runs together to one: students are judged by all samples, out of fold.

    Parameters
    ----------
    runs : list of Trained
        In the order of the folds, with the networks at every penalty.
    targets : ndarray, shape (samples,)
        Class numbers or numbers. Those of the test part are not looked at.
    fold : ndarray of int, shape (samples,)
        -1 in the test part.
    settings : Cohort
        How the top cluster is found.
    task : 'classification' or 'regression'
    seed : int
        Of the clusters' random start.
    refit : Trained, optional
        The cohort that learned from all folds. It decides nothing.

    Returns
    -------
    Trained
        ``predictions`` are pooled (see :func:`pool_outputs`); those of the test part are ``refit``'s, if there is one.
        ``losses`` are those out of fold (with ``balanced`` classes by all samples that are not tested); infinite for a
        student that diverged in any run, and so has no such loss. ``top`` and ``chosen`` follow from them. Epochs,
        weights as teachers and curves are means over the folds' runs. ``weights`` are those of all runs, named
        ``fold_{number}/{layer}`` and ``refit/{layer}``, and None for who diverged in one.

    Raises
    ------
    UserError
        Every student diverged in some run without a penalty.
    """
    predictions = pool_outputs(np.stack([run.predictions for run in runs]), fold, task)
    learnt, seen = fold >= 0, runs[0].seen
    every = {f"fold_{place}": run for place, run in enumerate(runs)} | ({} if refit is None else {"refit": refit})
    if refit is not None:
        predictions[..., ~learnt, :] = refit.predictions[..., ~learnt, :]
    known = torch.from_numpy(targets[learnt] if task == "classification" else targets[learnt, None])
    weights = None
    if settings.balanced and task == "classification":
        weights = torch.from_numpy(balancing_weights(targets[learnt], predictions.shape[-1]))
    errors = task_losses(torch.from_numpy(predictions[..., learnt, :].astype(np.float64)), known, task, weights)
    losses = mean_where(errors, torch.from_numpy(seen[:, learnt])).numpy()
    diverged = np.any([np.isinf(run.losses) for run in every.values()], axis=0) | ~np.isfinite(losses)
    losses = np.where(diverged, np.inf, losses)
    predictions = np.where(diverged[..., None, None], np.nan, predictions).astype(runs[0].predictions.dtype)
    refuse_all_diverged(losses[0], seed)
    _, top = teaching_weights(losses[0], settings, random_state=seed)
    chosen = choose_penalty(losses, top)
    epochs = np.mean([run.best_epochs for run in runs], axis=0).round().astype(np.int64)
    history = pd.concat([run.history for run in runs], ignore_index=True)
    history = history.groupby(["penalty", "epoch", "student"], sort=False, as_index=False).mean()
    return replace(
        runs[0],
        predictions=predictions,
        losses=losses,
        best_epochs=np.where(diverged, 0, epochs),
        teaching=np.mean([run.teaching for run in runs], axis=0),
        top=top,
        chosen=chosen,
        history=history[runs[0].history.columns],
        weights=_named_by_run({name: run.weights_at[chosen] for name, run in every.items()}),
        weights_at={},
    )


def pool_block(
    trained: dict[int, Trained],
    samples: pd.DataFrame,
    splits: pd.DataFrame,
    folds: pd.DataFrame | None,
    number: int,
    settings: Cohort,
    task: Task,
) -> dict[int, Trained]:
    """Pool the cohorts of all runs of a block; without folds, nothing changes.

    Parameters
    ----------
    trained : dict of int to Trained
        By run.
    samples : DataFrame
        ``sample``, ``target``. Targets of the test part are not looked at.
    splits, folds, number
        See :func:`metafusion.cross_fitting.pool_answers`.
    settings, task
        See :func:`pool_cohorts`.

    Returns
    -------
    dict of int to Trained
        By seed.
    """
    if folds is None:
        return trained
    classes, pooled = classes_of(samples, task), {}
    for seed in seeds_of(folds):
        parts, fold = parts_of(splits, seed), fold_numbers(splits, folds, seed)
        targets = numbers_of(samples.set_index("sample").loc[parts["sample"]], classes)
        runs = [trained[run] for run in runs_of(seed, number)]
        refit = trained[refit_of(seed)] if settings.refit else None
        pooled[seed] = pool_cohorts(runs, without_test(targets, parts["part"]), fold, settings, task, seed, refit)
    return pooled


def _named_by_run(states: dict[str, list[dict[str, Tensor] | None]]) -> list[dict[str, Tensor] | None]:
    """Join the networks of each student, given by run and student."""
    return [
        None
        if any(state is None for state in own)
        else {f"{run}/{name}": tensor for run, state in zip(states, own, strict=True) for name, tensor in state.items()}
        for own in zip(*states.values(), strict=True)
    ]

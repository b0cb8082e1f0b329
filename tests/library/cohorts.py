"""Small cohorts, their data, and both engines: shared by the tests of the cohort."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import metafusion
from metafusion.cohort import loop, packed
from metafusion.cohort.loop import Data, Trained
from metafusion.cohort.networks import Network, networks_of
from metafusion.cohort.students import all_students
from metafusion.config.models import Cohort, Representations

FAST = {"hidden": [5, 4], "epochs": 2, "batch_size": 12, "penalties": [0, 0.99], "learning_rate": 0.01}
PLAIN = {"a": Representations(sizes=["raw", 2, "absent"]), "b": Representations(sizes=["raw", "absent"])}
"""Five students: raw|raw, raw|absent, pca2|raw, pca2|absent, absent|raw."""


def cohort(representations=PLAIN, **changes) -> tuple[list[Network], Cohort]:
    """Networks and settings of a quick cohort."""
    settings = Cohort(**FAST | changes)
    students = all_students({name: choice.names for name, choice in representations.items()}, settings.more_heads)
    return networks_of(students, representations, settings), settings


def some_data(
    seed,
    task,
    representations=PLAIN,
    *,
    samples=37,
    training=21,
    validation=9,
    widths=(6, 4),
    missing=0.2,
    dtype=torch.float64,
) -> Data:
    """Random views of two modalities, whose first columns together predict the target; latent views are prefixes."""
    random = np.random.default_rng(seed)
    raw = {name: random.standard_normal((samples, width)) for name, width in zip("ab", widths, strict=True)}
    present = {name: random.random(samples) >= missing for name in "ab"}
    # Nobody may lack everything: the contract of samples.
    present["a"] |= ~present["b"]
    signal = sum(raw[name][:, 0] * present[name] for name in "ab")
    views = {}
    for name, choice in representations.items():
        table = np.where(present[name][:, None], raw[name], 0)
        for view in ["raw", *choice.names]:
            if view != "absent":
                number = int(view[3 if view.startswith("pca") else len(choice.extractor) :]) if view != "raw" else None
                views[name, view] = torch.from_numpy(table[:, :number].copy()).to(dtype)
    rows = torch.from_numpy(random.permutation(samples))
    if task == "classification":
        targets, outputs = torch.from_numpy(np.digitize(signal, [-0.5, 0.5])).long(), 3
    else:
        targets, outputs = torch.from_numpy(signal[:, None]).to(dtype), 1
    parts = rows[:training], rows[training : training + validation]
    here = {name: torch.from_numpy(rows) for name, rows in present.items() if name in representations}
    return Data(views, here, targets, *parts, outputs)


def with_trained_extractors(data: Data, networks: list[Network], seed: int) -> Data:
    """The same with random numbers in the place of extractors that were trained before."""
    random = torch.Generator().manual_seed(seed)
    for network in networks:
        for branch in network.branches:
            shapes, inputs = [], data.widths[branch.key]
            if branch.convolution:
                plan, channels, inputs = branch.convolution, branch.convolution.shape[0], branch.convolution.width
                for units in plan.channels:
                    shapes.append((units, channels, *[plan.kernel] * plan.axes))
                    channels = units
            for units in branch.widths:
                shapes.append((units, inputs))
                inputs = units
            data.layers[branch.modality, branch.extractor] = [
                (torch.randn(shape, generator=random) / 3, torch.randn(shape[0], generator=random) / 3)
                for shape in shapes
            ]
    return data


def by_loop(data, networks, settings, task) -> dict[int, Trained]:
    return {seed: loop.train(one, networks, settings, task, seed) for seed, one in data.items()}


ENGINES = {"loop": by_loop, "packed": packed.train}


def assert_same(one: Trained, other: Trained, tolerance: float) -> None:
    """Compare everything that a training returns; a tolerance of 0 asks for the same bits."""
    close = {"rtol": tolerance, "atol": tolerance}
    for name in ("losses", "teaching", "predictions"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), err_msg=name, **close)
    for name in ("best_epochs", "seen", "top", "chosen"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    keys = ["penalty", "epoch", "student"]
    histories = [run.history.sort_values(keys).reset_index(drop=True) for run in (one, other)]
    pd.testing.assert_frame_equal(*histories, check_exact=tolerance == 0, **{} if tolerance == 0 else close)
    for first, second in zip(one.weights, other.weights, strict=True):
        assert (first is None) == (second is None)
        assert (first or {}).keys() == (second or {}).keys()
        for name in first or {}:
            np.testing.assert_allclose(first[name], second[name], err_msg=name, **close)


def of_students(trained: Trained, kept: list[int]) -> Trained:
    """Return what was learnt by some of the students, numbered anew."""
    history = trained.history[trained.history["student"].isin(kept)]
    history = history.assign(student=history["student"].map({k: place for place, k in enumerate(kept)}))
    return Trained(
        predictions=trained.predictions[:, kept],
        seen=trained.seen[kept],
        losses=trained.losses[:, kept],
        best_epochs=trained.best_epochs[:, kept],
        teaching=trained.teaching[:, kept],
        top=trained.top[kept],
        chosen=trained.chosen,
        history=history.reset_index(drop=True),
        weights=[trained.weights[k] for k in kept],
    )


def run_python(*arguments, **variables) -> str:
    """Run another Python, which finds what this one does; return what it printed."""
    places = os.pathsep.join(map(str, [Path(metafusion.__file__).parents[1], Path(__file__).parent]))
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

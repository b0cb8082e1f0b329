"""Stacking: a small network learns, on the training part, how to put the students' outputs together."""

import numpy as np
import pandas as pd

from metafusion import ensembles
from metafusion.cohort.networks import Branch, Network
from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.stored import StoredSeed
from metafusion.cohort.train import train_networks, unit_of
from metafusion.config.models import Cohort, Task
from metafusion.errors import DivergedError
from metafusion.methods import INDEPENDENT
from metafusion.targets import classes_of, numbers_of, without_test

STACKING = "stacking"


def stack(
    cohort: StoredSeed, samples: pd.DataFrame, settings: Cohort, task: Task, epochs: int, learning_rate: float
) -> dict[str, np.ndarray]:
    """Train the stacking networks of one seed: one at the chosen penalty, one on the independent cohort.

    A network has one hidden layer as wide as its input: the outputs (logits in classification) of all students that did
    not diverge, side by side. Where a student sees nothing of a sample, the mean of those that do stands in for it.
    Adam learns on the training part; the best validation epoch is kept. The students have learnt on the training part
    too, so that a network trusts those most that fit it too well: a weakness of the method as published, kept here.

    Parameters
    ----------
    cohort : StoredSeed
        The trained cohort of a seed.
    samples : DataFrame
        ``sample``, ``target``; targets of the test part are not looked at.
    settings : Cohort
        Of which the size of mini-batches, the scaling of targets and the random streams count. With ``target_scaling:
        standard`` the inputs are scaled as the target is, so that the target's unit does not matter.
    task : 'classification' or 'regression'
    epochs : int
    learning_rate : float
        Of Adam.

    Returns
    -------
    dict of str to ndarray, shape (samples, outputs)
        ``stacking`` and ``independent_stacking``; NaN where training diverged.

    Raises
    ------
    UserError
        All students that see some sample diverged.

    References
    ----------
    Wolpert 1992 (stacked generalisation); Liang, Qu, Shahbaba 2025, arXiv 2507.20089.
    """
    data = _data_of(cohort, samples, task)
    if task == "regression" and settings.target_scaling == "standard":
        centre, scale = unit_of(data)
        data.views.update({name: (view - centre) / scale for name, view in data.views.items()})
    # The two have one name, and so start from the same weights where they are equally wide.
    networks = [Network(STACKING, (Branch(*key),), (view.shape[1],)) for key, view in data.views.items()]
    small = settings.model_copy(
        update={
            "penalties": [0.0],
            "epochs": epochs,
            "learning_rate": learning_rate,
            "patience": 0,
            "more_heads": [],
            "warm_start": False,
        }
    )
    outputs = cohort.predictions.shape[2:]
    try:
        predictions = train_networks({cohort.seed: data}, networks, small, task)[cohort.seed].predictions[0]
    except DivergedError:
        # Both diverged. The other methods still count, as where a comparator diverges.
        predictions = np.full((2, *outputs), np.nan, dtype=np.float32)
    return dict(zip((STACKING, INDEPENDENT + STACKING), predictions, strict=True))


def _data_of(cohort: StoredSeed, samples: pd.DataFrame, task: Task) -> SeedData:
    """Return the students' outputs as two views of one modality: at the chosen penalty, and at penalty 0."""
    classes = classes_of(samples, task)
    parts = cohort.parts
    targets = numbers_of(samples.set_index("sample").loc[parts["sample"]], classes)
    views = {
        ("students", name): _filled(cohort, index) for name, index in (("chosen", cohort.chosen), ("independent", 0))
    }
    return SeedData(
        views=views,
        present={"students": np.ones(len(parts), dtype=bool)},
        targets=without_test(targets, parts["part"]),
        training=np.flatnonzero(parts["part"] == "train"),
        validation=np.flatnonzero(parts["part"] == "validation"),
        outputs=cohort.predictions.shape[3],
    )


def _filled(cohort: StoredSeed, index: int) -> np.ndarray:
    """Return the outputs of all students that can answer, shape (samples, students * outputs)."""
    trained = ensembles.answering(cohort.losses[index], cohort.seen, cohort.seed)
    outputs, seen = cohort.predictions[index, trained], cohort.seen[trained]
    mean = ensembles.combine(outputs, np.ones(len(outputs)), seen)
    filled = np.where(seen[:, :, None], outputs, mean).astype(np.float32)
    return filled.transpose(1, 0, 2).reshape(filled.shape[1], -1)

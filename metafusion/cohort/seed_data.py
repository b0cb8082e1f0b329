"""What one seed learns from, as arrays: collected from samples, splits and latents, without the need of torch."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from metafusion.cohort.students import Student
from metafusion.config.models import Task
from metafusion.parts import parts_of
from metafusion.targets import classes_of, numbers_of, without_test


@dataclass(frozen=True)
class SeedData:
    """What one seed learns from.

    Attributes
    ----------
    views : dict of (modality, representation) to ndarray of float32, shape (samples, width)
    present : dict of modality to ndarray of bool, shape (samples,)
    targets : ndarray, shape (samples,) or (samples, outputs)
        Class numbers (int64) or numbers (float64); 0 in the test part.
    training, validation : ndarray of int
        Rows of the parts.
    outputs : int
        Number of classes, or of numbers to predict.
    layers : dict of (modality, extractor) to list of (weight, bias)
        Extractors that were trained before the students, shapes (units, inputs) and (units,) a layer.
    """

    views: dict[tuple[str, str], np.ndarray]
    present: dict[str, np.ndarray]
    targets: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    outputs: int
    layers: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)

    def input_of(self, student: Student) -> np.ndarray:
        """Return what a student sees, shape (samples, width)."""
        return np.concatenate([self.views[view] for view in student.views], axis=1)

    def seen_by(self, student: Student) -> np.ndarray:
        """Return which samples have at least one of the student's modalities, shape (samples,)."""
        return np.any([self.present[modality] for modality, _ in student.views], axis=0)


def collect(
    samples: pd.DataFrame,
    splits: pd.DataFrame,
    latents: dict[str, dict[str, np.ndarray]],
    seed: int,
    task: Task,
    layers: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]] | None = None,
    refit: bool = False,
) -> SeedData:
    """Collect what one seed learns from; the test part's targets are not in it.

    Parameters
    ----------
    samples : DataFrame
        ``sample``, ``target``.
    splits : DataFrame
        See metafusion.splits.
    latents : dict
        By modality, see :func:`metafusion.latents.read`.
    layers : dict
        Trained extractors of this seed, see :func:`metafusion.latents.read_extractors`.
    refit : bool
        Whether the seed is a run that learns from all that is not tested (:func:`metafusion.cross_fitting.is_refit`).
        It has nobody to be judged by, so its training part stands for the validation part, and nothing may follow from
        its losses.

    Raises
    ------
    ValueError
        No validation part, and no refit; or a refit with one.
    """
    parts = parts_of(splits, seed)
    training, validation = (np.flatnonzero(parts["part"] == part) for part in ("train", "validation"))
    if refit == bool(len(validation)):
        raise ValueError(
            f"seed {seed}: {len(validation)} validation samples, in a run that is {'a' if refit else 'no'} refit"
        )
    classes = classes_of(samples, task)
    targets = numbers_of(samples.set_index("sample").loc[parts["sample"]], classes)
    prefix = f"seed_{seed}/"
    views, present = {}, {}
    for modality, arrays in latents.items():
        for key, array in arrays.items():
            if key == f"{prefix}present":
                present[modality] = array
            elif key.startswith(prefix):
                views[modality, key.removeprefix(prefix)] = array
    return SeedData(
        views=views,
        present=present,
        targets=without_test(targets, parts["part"]),
        training=training,
        validation=training if refit else validation,
        outputs=len(classes) or 1,
        layers=layers or {},
    )

"""A block of seeds: its data from the latents, and the trained cohort stored (metafusion.cohort.stored reads it)."""

from logging import Logger
from pathlib import Path

import numpy as np
import pandas as pd

from metafusion.cohort import students as cohort_students
from metafusion.cohort.loop import Trained
from metafusion.cohort.students import Student
from metafusion.config.models import Cohort
from metafusion.files import write_arrays, write_table

SELECTION = [
    "seed",
    "penalty",
    "student",
    "teaching",
    "top_cluster",
    "validation_loss",
    "best_epoch",
    "diverged",
    "chosen",
]


def write(folder: str | Path, students: list[Student], settings: Cohort, trained: dict[int, Trained]) -> None:
    """Store a trained block.

    ``students.tsv``
        One row a student: its number, name and the representation it uses of each modality.
    ``history.parquet``
        ``seed``, ``penalty``, ``student``, ``epoch``, ``task_loss``, ``divergence``, ``validation_loss``.
    ``predictions.safetensors``
        ``predictions``, float32, shape (seeds, penalties, students, samples, outputs), and ``seen``, bool, shape
        (seeds, students, samples). Samples are those of the seed, in the order of the splits; seeds with fewer are
        padded with NaN.
    ``selection.tsv``
        ``seed``, ``penalty``, ``student``, ``teaching`` (weight as a teacher), ``top_cluster`` (1 for its members),
        ``validation_loss`` (infinite where the student diverged), ``best_epoch``, ``diverged``, ``chosen`` (1 at the
        chosen penalty).
    ``weights.safetensors``
        ``seed_{seed}/student_{number}/{layer}.{weight or bias}`` at the chosen penalty; none for who diverged. Layers
        are named ``head.0``, ``head.2``, ..., and ``extractors.{modality}.0``, ... where a student has its own.
    """
    folder = Path(folder)
    most = max(run.predictions.shape[2] for run in trained.values())
    predictions, seen, history, selection, weights = [], [], [], [], {}
    for seed, run in trained.items():
        missing = most - run.predictions.shape[2]
        predictions.append(np.pad(run.predictions, [(0, 0), (0, 0), (0, missing), (0, 0)], constant_values=np.nan))
        seen.append(np.pad(run.seen, [(0, 0), (0, missing)]))
        history.append(run.history.assign(seed=seed))
        selection += [
            (
                seed,
                penalty,
                student,
                run.teaching[p, student],
                int(run.top[student]),
                run.losses[p, student],
                run.best_epochs[p, student],
                int(np.isinf(run.losses[p, student])),
                int(p == run.chosen),
            )
            for p, penalty in enumerate(settings.penalties)
            for student in range(len(students))
        ]
        for number, state in enumerate(run.weights):
            named = (state or {}).items()
            weights |= {f"seed_{seed}/student_{number}/{name}": tensor.numpy() for name, tensor in named}
    table = pd.concat(history, ignore_index=True)
    write_table(table[["seed", *table.columns.drop("seed")]], folder / "history.parquet")
    write_table(pd.DataFrame(selection, columns=SELECTION), folder / "selection.tsv")
    write_table(cohort_students.table(students, settings), folder / "students.tsv")
    write_arrays({"predictions": np.stack(predictions), "seen": np.stack(seen)}, folder / "predictions.safetensors")
    write_arrays(weights, folder / "weights.safetensors")


def log(students: list[Student], settings: Cohort, trained: dict[int, Trained], logger: Logger) -> None:
    """Say for each seed which penalty was chosen, and who diverged, by name."""
    for seed, run in trained.items():
        penalty = settings.penalties[run.chosen]
        logger.info("seed %d: %d students, penalty %g chosen", seed, len(students), penalty)
        for p, k in zip(*np.nonzero(np.isinf(run.losses)), strict=True):
            logger.warning(
                "seed %d, penalty %g: student %s diverged; it neither teaches nor votes there (a lower learning_rate "
                "or 'scaling: standard' may help)",
                seed,
                settings.penalties[p],
                students[k].name,
            )

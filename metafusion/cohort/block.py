"""A block of seeds: its data from the latents, and the trained cohort stored (metafusion.cohort.stored reads it)."""

from pathlib import Path

import numpy as np
import pandas as pd

from metafusion.cohort import students as cohort_students
from metafusion.cohort.loop import Trained
from metafusion.cohort.students import Student
from metafusion.files import write_arrays, write_table


def write(folder: str | Path, students: list[Student], penalties: list[float], trained: dict[int, Trained]) -> None:
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
        ``seed``, ``penalty``, ``student``, ``teaching`` (weight as a teacher), ``validation_loss``, ``best_epoch``,
        ``chosen`` (1 at the chosen penalty).
    ``weights.safetensors``
        ``seed_{seed}/student_{number}/{layer}.{weight or bias}`` at the chosen penalty.
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
                run.teaching[student],
                run.losses[p, student],
                run.best_epochs[p, student],
                int(p == run.chosen),
            )
            for p, penalty in enumerate(penalties)
            for student in range(len(students))
        ]
        for number, state in enumerate(run.weights):
            weights |= {f"seed_{seed}/student_{number}/{name}": tensor.numpy() for name, tensor in state.items()}
    columns = ["seed", "penalty", "student", "teaching", "validation_loss", "best_epoch", "chosen"]
    table = pd.concat(history, ignore_index=True)
    write_table(table[["seed", *table.columns.drop("seed")]], folder / "history.parquet")
    write_table(pd.DataFrame(selection, columns=columns), folder / "selection.tsv")
    write_table(cohort_students.table(students), folder / "students.tsv")
    write_arrays({"predictions": np.stack(predictions), "seen": np.stack(seen)}, folder / "predictions.safetensors")
    write_arrays(weights, folder / "weights.safetensors")

"""Time the training of one seed's cohort: the packed engine, and the loop over students that is its oracle.

    python benchmarks/cohort.py simulation_1_2 --epochs 3

Prints one JSON object an engine. The data are random numbers in the sizes of a packaged experiment; `seconds_per_epoch`
is CPU time for all penalties, without what the first and last epoch cost. Compare ratios within one run: machines are
noisy.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch

from metafusion.cohort import loop, packed
from metafusion.cohort.students import all_students
from metafusion.config.load import load_experiment
from metafusion.representations import name_of

FOLDER = Path(__file__).parents[1] / "config" / "experiments"


def random_data(sizes: dict, raw_width: int, samples: int, classes: int) -> loop.Data:
    """Return views of random numbers, 60 % of the samples training and 20 % validation."""
    random = torch.Generator().manual_seed(0)
    views = {
        (modality, name_of(size)): torch.randn(samples, raw_width if size == "raw" else size, generator=random)
        for modality, choices in sizes.items()
        for size in choices
        if size != "absent"
    }
    present = {modality: torch.ones(samples, dtype=torch.bool) for modality in sizes}
    if classes:
        targets = torch.randint(classes, (samples,), generator=random)
    else:
        targets = torch.randn(samples, 1, generator=random)
    rows = torch.randperm(samples, generator=random)
    train, validation = int(0.6 * samples), int(0.8 * samples)
    return loop.Data(views, present, targets, rows[:train], rows[train:validation], classes or 1)


def cpu_seconds(engine: str, data: loop.Data, students: list, settings, task: str) -> float:
    """CPU time of one training."""
    start = time.process_time()
    if engine == "packed":
        packed.train({1: data}, students, settings, task)
    else:
        loop.train(data, students, settings, task, 1)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", help="name of a file in config/experiments")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--raw-width", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    experiment = load_experiment(FOLDER / f"{chosen.experiment}.yaml")
    sizes = {name: choice.sizes for name, choice in experiment.representations.items()}
    students = all_students(sizes)
    data = random_data(sizes, chosen.raw_width, chosen.samples, 2 if experiment.task == "classification" else 0)
    for engine in ("packed", "loop"):
        # Once for nothing: the first training also pays for what torch and scikit-learn load late.
        cpu_seconds(engine, data, students, experiment.cohort.model_copy(update={"epochs": 1}), experiment.task)
        short, long = (
            cpu_seconds(
                engine, data, students, experiment.cohort.model_copy(update={"epochs": epochs}), experiment.task
            )
            for epochs in (1, 1 + chosen.epochs)
        )
        result = {
            "experiment": chosen.experiment,
            "engine": engine,
            "students": len(students),
            "penalties": len(experiment.cohort.penalties),
            "samples": chosen.samples,
            "threads": chosen.threads,
            "seconds_per_epoch": round((long - short) / chosen.epochs, 4),
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        }
        print(json.dumps(result))


if __name__ == "__main__":
    main()

"""Time the decoding of one animal, and print how well simulated ones are decoded.

    python benchmarks/decoding.py preprocess --json
    python benchmarks/decoding.py decode odor_simulated@lfp_noise --seeds 20 --json
    python benchmarks/decoding.py decode odor_mitt --simulated --seeds 100 --json

`preprocess` makes 200 trials of 400 bins and 100 units, with 21 channels of LFP at 1 kHz, and times what becomes of
their files: `wall_s`, `cpu_s`, and `peak_mb` of the whole process.

`decode` runs every stage of an experiment of `config/experiments/` in this process, without Snakemake, block by block,
and tells the CPU time of each. With `--simulated` the recorded animal is replaced by a simulated one of its size. The
accuracies are those of the test part: mean over seeds, standard error, and the difference from the better single
modality, paired by seed. `--part validation` tells those of the validation part instead, where settings are compared.
"""

import argparse
import json
import logging
import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

# Before numpy and torch are imported: one thread, as a job has by default.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
SIZES = {
    "Barat": {"trials": {"A": 42, "B": 37, "C": 30, "D": 24, "E": 15}, "units": 92, "silent_units": 22, "channels": 22},
    "Mitt": {},
}
"""Simulated rats of the size of recorded ones; Mitt's is the default. How Barat's trials fall to odours is made up."""
SHOWN = (
    "modality_lfp",
    "modality_spikes",
    "early_fusion",
    "late_fusion",
    "logistic_regression",
    "best_single",
    "meta_fusion",
)


def peak_mb() -> int:
    """Return the largest memory of this process so far."""
    # Linux counts in KiB, macOS in bytes.
    return round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if platform.system() == "Darwin" else 1 << 10)
    )


def preprocess() -> dict[str, Any]:
    """Time the preprocessing of a large session."""
    import numpy as np

    from metafusion.config.sources import OdorRats
    from metafusion.sources import odor_rats

    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        layout = {"lfp_rate": 1000}
        source = OdorRats(kind="odor_rats", folder=root, rat="Large", layout=layout, lfp=LFP_AT_1_KHZ)
        files = source.files(root)
        files["lfp"].parent.mkdir()
        # Channel by channel, so that making the files takes less memory than reading them.
        lfp = np.lib.format.open_memmap(files["lfp"], "w+", np.float32, (200, 4000, 21))
        for channel in range(21):
            lfp[:, :, channel] = draw.normal(size=(200, 4000))
        lfp.flush()
        del lfp
        np.save(files["spikes"], draw.poisson(0.05, (200, 100, 400)).astype(np.uint8))
        odors = np.arange(200) % 4 + 1
        np.save(files["trials"], np.column_stack([np.ones_like(odors), np.ones_like(odors), odors, odors]))
        before = peak_mb()
        start, cpu = time.perf_counter(), time.process_time()
        (root / "out").mkdir()
        odor_rats.preprocess(source, "session", "Large", None, root / "out")
        assembled = odor_rats.assemble(source, None, {"session": [root / "out"]})
        found = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}
    shapes = {name: [len(table), table.shape[1] - 1] for name, table in assembled.features.items()}
    return {name: round(value, 2) for name, value in found.items()} | {
        "peak_mb": peak_mb(),
        "peak_before_mb": before,
        "features": shapes,
    }


LFP_AT_1_KHZ = {"bins": 50, "bands": {"theta": (4, 12), "gamma": (20, 40)}, "power": "multitaper"}


def experiment_for(name: str, seeds: int, per_block: int | None, simulated: bool, changes: dict[str, Any]):
    """Return an experiment of ``config/experiments``, with some changes of its keys."""
    from metafusion.config.load import read_yaml, validate
    from metafusion.config.models import Experiment, with_variant

    stem, _, variant = name.partition("@")
    content = read_yaml(ROOT / "config" / "experiments" / f"{stem}.yaml")
    if simulated:
        content["source"] = {"kind": "odor_simulated", **SIZES[content["source"]["rat"]]}
    if variant:
        content = with_variant(content, variant)
    for key, value in changes.items():
        *path, last = key.split(".")
        place = content
        for step in path:
            place = place[step]
        place[last] = value
    content |= {"seeds": seeds} | ({"seeds_per_block": per_block} if per_block else {})
    return validate(Experiment, content, name)


class Clock:
    """CPU and wall time by stage."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}
        self.wall: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[name] = self.wall.get(name, 0.0) + time.perf_counter() - start
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - cpu


def decode(experiment, folder: Path, part: str) -> dict[str, Any]:
    """Run every stage of an experiment whose source is simulated or the user's, and score it."""
    import pandas as pd
    import torch

    from metafusion import samples as contract
    from metafusion.samples import feature_matrix
    from metafusion.sources import science_of

    torch.set_num_threads(1)
    clock, source = Clock(), experiment.source
    science = science_of(source.kind)
    with clock.stage("preprocess"):
        acquired = None
        if not source.user_files:
            acquired = folder / "acquired"
            acquired.mkdir()
            science.acquire(source, acquired, {}, [])
        done = {}
        for unit, chunks in source.chunks.items():
            done[unit] = [folder / unit / chunk for chunk in chunks]
            for chunk, place in zip(chunks, done[unit], strict=True):
                place.mkdir(parents=True)
                science.preprocess(source, unit, chunk, acquired, place)
        modalities = list(experiment.representations)
        assembled = contract.check(
            science.assemble(source, acquired, done), "classification", modalities, experiment.split.unit
        )
        contract.write(assembled, *(folder / name for name in ("s.parquet", "features", "p.parquet", "e.tsv")))
    features = partial(feature_matrix, folder / "features")
    scores = [
        _block(experiment, assembled.samples, seeds, features, folder / name, clock)
        for name, seeds in experiment.blocks.items()
    ]
    return {
        "seeds": len(experiment.seeds),
        "students": _students(experiment),
        "part": part,
        **_accuracies(pd.concat(scores), part),
        "cpu_s": {name: round(value, 1) for name, value in clock.cpu.items()},
        "cpu_total_s": round(sum(clock.cpu.values()), 1),
        "wall_total_s": round(sum(clock.wall.values()), 1),
        "peak_mb": peak_mb(),
    }


def _students(experiment) -> int:
    from metafusion.cohort.students import all_students

    names = {name: choice.names for name, choice in experiment.representations.items()}
    return len(all_students(names, experiment.cohort.more_heads, experiment.cohort.modalities_per_student))


def _block(experiment, samples, seeds: list[int], features, folder: Path, clock: Clock):
    """Return the scores of a block of seeds: everything that its jobs do, but for the exchange by files."""
    from metafusion import evaluation, extractors, latents
    from metafusion.cohort import block, stored
    from metafusion.cohort.runtime import Runtime
    from metafusion.cohort.seed_data import collect
    from metafusion.cohort.students import all_students
    from metafusion.cohort.train import train
    from metafusion.comparators import linear, networks
    from metafusion.comparators.options import Options
    from metafusion.parts import parts_of
    from metafusion.predictions import long_predictions
    from metafusion.splits import split_samples
    from metafusion.stacking import stack
    from metafusion.targets import classes_of

    task, chosen, settings = experiment.task, dict(experiment.representations), experiment.cohort
    with clock.stage("split"):
        options = experiment.split.model_dump()
        splits = split_samples(samples, seeds, **options, classes=True)
    views, layers = {}, {seed: {} for seed in seeds}
    with clock.stage("latents"):
        for modality, configured in experiment.representations.items():
            others = {name: other for name, other in experiment.representations.items() if name != modality}
            mapped, transforms = latents.extract(splits, seeds, modality, features, configured, others)
            chosen[modality] = choice = latents.with_shape(configured, transforms)
            if choice.learnt:
                data = {seed: collect(samples, splits, {modality: mapped}, seed, task) for seed in seeds}
                more, fitted = extractors.extract(data, modality, choice, settings.target_scaling, task, Runtime())
                mapped |= more
                latents.write_extractors(folder / "latents", modality, fitted)
            views[modality] = mapped
    with clock.stage("train"):
        for seed in seeds:
            if any(choice.learnt for choice in chosen.values()):
                layers[seed] = latents.read_extractors(folder / "latents", chosen, seed)
        data = {seed: collect(samples, splits, views, seed, task, layers[seed]) for seed in seeds}
        names = {name: choice.names for name, choice in chosen.items()}
        students = all_students(names, settings.more_heads, settings.modalities_per_student)
        trained = train(data, students, chosen, settings, task)
        block.write(folder, students, settings, trained)
    classes, tables = classes_of(samples, task), []
    with clock.stage("compare"):
        answers = [
            networks.train(data, list(chosen), Options(task, settings, experiment.late_fusion)),
            linear.train(data, list(chosen), Options(task)),
        ]
        for family in answers:
            for seed, by_method in family.items():
                tables.append(long_predictions(by_method, parts_of(splits, seed), classes, seed))
    ensemble, metrics = experiment.ensemble, experiment.metrics
    cohorts = list(stored.read(folder / "predictions.safetensors", folder / "selection.tsv", splits, seeds))
    with clock.stage("stack"):
        for cohort in cohorts if ensemble.stacking_epochs else ():
            stacked = stack(cohort, samples, settings, task, ensemble.stacking_epochs, ensemble.stacking_learning_rate)
            tables.append(long_predictions(stacked, cohort.parts, classes, cohort.seed))
    with clock.stage("evaluate"):
        _, _, scores = evaluation.evaluate(samples, cohorts, tables, task, metrics, ensemble)
        evaluation.by_penalty(samples, cohorts, task, metrics, ensemble)
        evaluation.by_students(samples, cohorts, task, metrics[0], ensemble)
    return scores


def _accuracies(scores, part: str) -> dict[str, Any]:
    rows = scores[(scores["part"] == part) & (scores["metric"] == "accuracy")]
    wide = rows.pivot_table(index="seed", columns="method", values="value")
    error = wide.std(ddof=1) / len(wide) ** 0.5
    shown = [name for name in SHOWN if name in wide]
    single = wide[[name for name in shown if name.startswith("modality_")]].mean().idxmax()
    found = {"accuracy": {name: [round(wide[name].mean(), 4), round(error[name], 4)] for name in shown}}
    against = {}
    for name in ("early_fusion", "late_fusion", "meta_fusion"):
        if name in wide:
            difference = wide[name] - wide[single]
            against[name] = [round(difference.mean(), 4), round(difference.std(ddof=1) / len(wide) ** 0.5, 4)]
    return found | {f"minus_{single}": against}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["preprocess", "decode"])
    parser.add_argument("experiment", nargs="?", default="odor_simulated", help="name, or name@variant")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seeds-per-block", type=int)
    parser.add_argument("--simulated", action="store_true", help="a simulated rat of the size of the recorded one")
    parser.add_argument("--part", choices=["validation", "test"], default="test")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="other values of keys, such as cohort.epochs=30"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.what == "preprocess":
        found = preprocess()
    else:
        import yaml

        changes = {key: yaml.safe_load(value) for key, _, value in (one.partition("=") for one in options.set)}
        experiment = experiment_for(
            options.experiment, options.seeds, options.seeds_per_block, options.simulated, changes
        )
        with tempfile.TemporaryDirectory() as name:
            found = {"experiment": options.experiment} | decode(experiment, Path(name), options.part)
    print(json.dumps(found) if options.json else "\n".join(f"{key:24} {value}" for key, value in found.items()))


if __name__ == "__main__":
    logging.getLogger("metafusion").setLevel(logging.ERROR)
    main()

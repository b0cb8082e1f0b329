"""Time the training of a cohort: the packed engine, or the loop over students that is its oracle.

    python benchmarks/cohort.py --setting 1.2 --engine packed --threads 2 --json
    python benchmarks/cohort.py --setting nacc_like --engine loop --epochs 3 --json
    python benchmarks/cohort.py --setting rat_like --scaling

The data are random numbers in the sizes of a published experiment. `gflop` counts what cannot be avoided: forward and
backward of every student, penalty, epoch and training sample, forward for validation and for the predictions.
`ratio_to_limit` is the wall time over what this work takes at the speed of a 512 x 512 product on the same threads,
measured in the same run; `ratio_to_limit_64` the same for 64 rows, as mini-batches have them. `peak_mb` is the memory
of the whole process (on a GPU: what PyTorch took of the device). Compare ratios within one run: machines are noisy.
"""

import argparse
import json
import platform
import resource
import time
from dataclasses import dataclass, replace

import torch

from metafusion.cohort import loop, packed
from metafusion.cohort.loop import Data
from metafusion.cohort.memory import weights_of
from metafusion.cohort.networks import Network, networks_of
from metafusion.cohort.runtime import Progress, Runtime, device_of, prepare
from metafusion.cohort.students import all_students
from metafusion.config.models import Cohort, Representations, Task


@dataclass(frozen=True)
class Setting:
    """Sizes of a published experiment: raw width and representations by modality, samples by part, and the training."""

    widths: dict[str, int]
    sizes: dict[str, list]
    parts: tuple[int, int, int]
    task: Task
    outputs: int
    cohort: dict
    extractor: dict


SYNTHETIC = {"parts": (1280, 320, 400), "task": "regression", "outputs": 1}
SETTINGS = {
    "1.1": Setting(
        {"first": 500, "second": 400},
        {"first": ["raw", 400, 300, 200, "absent"], "second": ["raw", 300, 200, 100, "absent"]},
        cohort={"hidden": [128, 64], "epochs": 10},
        extractor={"extractor": "separate", "hidden": [256]},
        **SYNTHETIC,
    ),
    "1.2": Setting(
        {"first": 2000, "second": 100},
        {"first": [80, 70, 60, 50, "absent"], "second": [90, 80, 70, 60, "absent"]},
        cohort={"hidden": [300, 200, 100], "epochs": 30},
        extractor={},
        **SYNTHETIC,
    ),
    "2.2": Setting(
        {"first": 2000, "second": 400},
        {"first": [120, 100, 80, 60, "absent"], "second": [120, 100, 80, 60, "absent"]},
        cohort={"hidden": [300, 200, 100], "epochs": 30},
        extractor={},
        **SYNTHETIC,
    ),
    "nacc_like": Setting(
        {"profile": 104, "behaviour": 39, "clinical": 28, "mri": 192},
        {
            "profile": ["raw", 70, 50, 30, "absent"],
            "behaviour": ["raw", 30],
            "clinical": ["raw", 20],
            "mri": ["raw", 90, 60, 30, "absent"],
        },
        (801, 268, 357),
        "classification",
        4,
        {"hidden": [64, 32], "epochs": 15},
        {},
    ),
    "rat_like": Setting(
        {"lfp": 330, "spikes": 60},
        {"lfp": ["raw", 300, 250, 200, "absent"], "spikes": ["raw", 40, 30, 20, 15, "absent"]},
        (110, 42, 18),
        "classification",
        4,
        {"hidden": [64, 32], "epochs": 200},
        {},
    ),
}


def prepared(setting: Setting, epochs: int | None) -> tuple[list[Network], Cohort]:
    """Return the students' networks and how they are trained."""
    cohort = Cohort(**setting.cohort | ({"epochs": epochs} if epochs else {}))
    chosen = {name: Representations(sizes=sizes, **setting.extractor) for name, sizes in setting.sizes.items()}
    students = all_students({name: choice.names for name, choice in chosen.items()})
    return networks_of(students, chosen, cohort), cohort


def random_data(setting: Setting, seed: int) -> Data:
    """Return views of random numbers in the setting's sizes."""
    random = torch.Generator().manual_seed(seed)
    train, validation, test = setting.parts
    samples = train + validation + test
    views = {(name, "raw"): torch.randn(samples, width, generator=random) for name, width in setting.widths.items()}
    for name, sizes in setting.sizes.items():
        for size in sizes:
            if isinstance(size, int):
                views[name, f"pca{size}"] = torch.randn(samples, size, generator=random)
    present = {name: torch.ones(samples, dtype=torch.bool) for name in setting.sizes}
    if setting.task == "classification":
        targets = torch.randint(setting.outputs, (samples,), generator=random)
    else:
        targets = torch.randn(samples, 1, generator=random)
    rows = torch.randperm(samples, generator=random)
    return Data(views, present, targets, rows[:train], rows[train : train + validation], setting.outputs)


def gflop(setting: Setting, networks: list[Network], cohort: Cohort, data: Data) -> float:
    """Floating-point operations of one seed, in 10^9."""
    train, validation, _ = setting.parts
    total = 0
    for network in networks:
        weights = weights_of(network, data.widths, data.outputs)
        # What a view is multiplied by needs no gradient towards the view.
        views = 0
        for branch in network.branches:
            units = branch.widths[0] if branch.widths else [*network.hidden, data.outputs][0]
            views += data.widths[branch.key] * units
        epoch = 2 * (train * (3 * weights - views) + validation * weights)
        total += len(cohort.penalties) * (cohort.epochs * epoch + 2 * len(data.targets) * weights)
    return total / 1e9


def matmul_gflops(rows: int, size: int, device: torch.device) -> float:
    """Best speed of a product (rows x size) @ (size x size), in GFLOP/s."""
    left, right = torch.randn(rows, size, device=device), torch.randn(size, size, device=device)
    repeats = max(1, 2**28 // (rows * size * size))

    def run() -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            left @ right
        _wait(device)
        return time.perf_counter() - start

    run()
    return 2 * rows * size * size * repeats / min(run() for _ in range(20)) / 1e9


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(
    name: str, setting: Setting, seeds: int, epochs: int | None, engine: str, runtime: Runtime
) -> dict[str, object]:
    """Train once and return what it took."""
    networks, cohort = prepared(setting, epochs)
    data = {seed: random_data(setting, seed) for seed in range(1, seeds + 1)}

    def train(some: dict[int, Data], how: Cohort) -> None:
        if engine == "packed":
            packed.train(some, networks, how, setting.task, runtime)
        else:
            for seed, one in some.items():
                loop.train(one, networks, how, setting.task, seed)
        _wait(runtime.device)

    # Once for nothing: the first training also pays for what torch and scikit-learn load late.
    train({1: data[1]}, cohort.model_copy(update={"epochs": 1, "penalties": [0.0]}))
    wall, cpu = time.perf_counter(), time.process_time()
    train(data, cohort)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if runtime.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(runtime.device) / 1e6
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    work = seeds * gflop(setting, networks, cohort, data[1])
    limit, narrow = matmul_gflops(512, 512, runtime.device), matmul_gflops(64, 256, runtime.device)
    return {
        "setting": name,
        "engine": engine,
        "device": str(runtime.device),
        "seeds": seeds,
        "wall_s": round(wall, 3),
        "cpu_s": round(cpu, 3),
        "peak_mb": round(peak),
        "gflop": round(work, 1),
        "matmul_gflops_64": round(narrow, 1),
        "matmul_gflops_512": round(limit, 1),
        "ratio_to_limit": round(wall / (work / limit), 2),
        "ratio_to_limit_64": round(wall / (work / narrow), 2),
        "students_per_s": round(seeds * len(networks) * len(cohort.penalties) / wall, 2),
        "students": len(networks),
        "epochs": cohort.epochs,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, torch {torch.__version__}",
    }


def scaled(setting: Setting, students: int, width: int) -> Setting:
    """Return the setting with that many times more representations of the first modality, and wider views."""
    first = next(iter(setting.sizes))
    numbers = [size for size in setting.sizes[first] if isinstance(size, int)]
    # Other sizes near the given ones, so that students differ and cost alike.
    more = [size + step for step in range(students) for size in numbers]
    sizes = setting.sizes | {first: [size for size in setting.sizes[first] if not isinstance(size, int)] + more}
    wider = {
        name: list(dict.fromkeys(size * width if isinstance(size, int) else size for size in one))
        for name, one in sizes.items()
    }
    return replace(setting, sizes=wider, widths={name: one * width for name, one in setting.widths.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", choices=SETTINGS, default="1.2")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 or auto")
    parser.add_argument("--engine", choices=["packed", "loop"], default="packed")
    parser.add_argument("--epochs", type=int, help="instead of the setting's, for a quicker run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tf32", action="store_true", help="let a GPU round factors to TensorFloat-32")
    parser.add_argument("--no-graphs", action="store_true", help="do not record steps on a GPU")
    parser.add_argument("--scaling", action="store_true", help="how cost grows with students, seeds and width")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    device = device_of(chosen.device)
    if chosen.engine == "loop" and device.type != "cpu":
        parser.error("the loop runs on the CPU only")
    prepare(device, chosen.tf32)
    runtime = Runtime(device=device, progress=Progress("benchmark"), graphs=not chosen.no_graphs)
    setting = SETTINGS[chosen.setting]

    def run(setting: Setting, seeds: int) -> dict[str, object]:
        return measure(chosen.setting, setting, seeds, chosen.epochs, chosen.engine, runtime)

    if chosen.scaling:
        print("students\tseeds\twidth\tgflop\twall_s\tcpu_s\tratio_to_limit")
        for students, seeds, width in [(1, 1, 1), (2, 1, 1), (4, 1, 1), (1, 2, 1), (1, 4, 1), (1, 1, 2), (1, 1, 4)]:
            found = run(scaled(setting, students, width), seeds * chosen.seeds)
            row = (found[key] for key in ("students", "seeds", "gflop", "wall_s", "cpu_s", "ratio_to_limit"))
            count, many, *rest = row
            print(count, many, width, *rest, sep="\t", flush=True)
        return
    found = run(setting, chosen.seeds)
    if chosen.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{key}\t{value}" for key, value in found.items()))


if __name__ == "__main__":
    main()

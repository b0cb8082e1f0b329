"""The benchmark of the cohort: what it prints, and how it counts."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from cohorts import run_python

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "cohort.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_of_the_cohort", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_benchmark_prints_one_json_object():
    found = json.loads(run_python(SCRIPT, "--setting", "rat_like", "--epochs", "1", "--threads", "1", "--json"))
    expected = (
        "setting engine device seeds wall_s cpu_s peak_mb gflop matmul_gflops_64 matmul_gflops_512 ratio_to_limit "
        "ratio_to_limit_64 students_per_s"
    )
    assert set(expected.split()) <= found.keys()
    assert (found["setting"], found["engine"], found["device"], found["seeds"]) == ("rat_like", "packed", "cpu", 1)
    assert all(found[key] > 0 for key in expected.split() if key not in ("setting", "engine", "device"))
    # What the figures say of each other: 29 students at three penalties; the limit is the work at a product's speed.
    assert found["students_per_s"] == pytest.approx(3 * 29 / found["wall_s"], rel=0.1)
    limit = found["gflop"] / found["matmul_gflops_512"]
    assert found["ratio_to_limit"] == pytest.approx(found["wall_s"] / limit, rel=0.1)


# One student of 500 numbers, a hidden layer of 200 and 3 outputs: products of 500 x 200 and 200 x 3 a sample, each
# forward, for the weights' gradient and, but for the first layer, for the inputs'. Two penalties of 4 epochs each.
# Biases are not counted here; they are 0.2 % of the weights.
def test_operations_are_counted_as_by_hand(benchmark):
    setting = benchmark.Setting(
        widths={"a": 500},
        sizes={"a": ["raw"]},
        parts=(100, 30, 20),
        task="classification",
        outputs=3,
        cohort={"hidden": [200], "epochs": 4, "penalties": [0, 1]},
        extractor={},
    )
    networks, cohort = benchmark.prepared(setting, None)
    first, second = 500 * 200, 200 * 3
    training = 2 * 100 * (2 * first + 3 * second)
    validating = 2 * 30 * (first + second)
    answering = 2 * 150 * (first + second)
    expected = 2 * (4 * (training + validating) + answering) / 1e9
    found = benchmark.gflop(setting, networks, cohort, benchmark.random_data(setting, 1))
    assert found == pytest.approx(expected, rel=0.005)


def test_operations_of_extractors_are_counted_as_by_hand(benchmark):
    setting = benchmark.Setting(
        widths={"a": 400, "b": 300},
        sizes={"a": ["raw", 100], "b": ["raw"]},
        parts=(100, 30, 20),
        task="regression",
        outputs=1,
        cohort={"hidden": [50], "epochs": 1, "penalties": [0]},
        extractor={"extractor": "separate", "hidden": [200]},
    )
    networks, cohort = benchmark.prepared(setting, None)
    # a=raw|b=raw: nothing before the head. a=separate100|b=raw: 400 -> 200 -> 100, and the head reads 100 + 300.
    plain, own = 700 * 50 + 50, 400 * 200 + 200 * 100 + 400 * 50 + 50
    no_gradient = 700 * 50, 400 * 200 + 300 * 50
    training = sum(2 * 100 * (3 * weights - views) for weights, views in zip((plain, own), no_gradient, strict=True))
    forward = 2 * (30 + 150) * (plain + own)
    found = benchmark.gflop(setting, networks, cohort, benchmark.random_data(setting, 1))
    assert found == pytest.approx((training + forward) / 1e9, rel=0.01)


@pytest.mark.parametrize(
    ("name", "students"), [("1.1", 24), ("1.2", 24), ("2.2", 24), ("nacc_like", 100), ("rat_like", 29)]
)
def test_settings_have_as_many_students_as_published(benchmark, name, students):
    networks, _ = benchmark.prepared(benchmark.SETTINGS[name], None)
    assert len(networks) == students


@pytest.mark.parametrize("students", [1, 2, 4])
def test_scaling_multiplies_the_students(benchmark, students):
    setting = benchmark.SETTINGS["1.2"]
    networks, _ = benchmark.prepared(benchmark.scaled(setting, students, 1), None)
    # Four sizes and absence of each modality, but nobody without both.
    assert len(networks) == (4 * students + 1) * 5 - 1
    assert len({network.name for network in networks}) == len(networks)

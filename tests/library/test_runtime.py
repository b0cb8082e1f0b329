"""Where a training runs, what it says on the way, and how it goes on after it was killed."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cohorts import assert_same, cohort, some_data
from safetensors import safe_open

from metafusion.cohort import packed
from metafusion.cohort.memory import bytes_of_seed
from metafusion.cohort.runtime import RESERVE, Checkpoint, Progress, Runtime, device_of, memory_of
from metafusion.config.models import Representations
from metafusion.errors import UserError


class Clock:
    """Time that passes by one second whenever somebody looks."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1
        return self.now


class Terminal(io.StringIO):
    """A terminal, at which somebody presses Ctrl-C after some lines."""

    def __init__(self, lines=None):
        super().__init__()
        self.left = lines

    def isatty(self):
        return True

    def flush(self):
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


# Stopping and going on

MIXED = {
    "a": Representations(sizes=["raw", 3, "absent"], extractor="encoder", fine_tune=True),
    "b": Representations(sizes=["raw", "absent"]),
}
RUNS = {
    "plain": {},
    "several penalties together": {"penalties": [0, 0.5, 1, 3]},
    "dropout, decay and sparsity": {"dropout": 0.4, "weight_decay": 0.1, "sparsity": 0.5},
    "adaptive": {"teaching": "adaptive", "exponent": 2},
    "patience": {"patience": 1, "learning_rate": 0.1, "epochs": 6},
    "warm start": {"warm_start": True, "penalties": [0, 1, 3]},
    "warm start, unequal budget": {"warm_start": True, "equal_budget": False, "teaching": "adaptive"},
}


def two_seeds(task="classification"):
    """Seeds with other numbers of mini-batches: two groups, one after the other."""
    return {3: some_data(3, task, MIXED), 4: some_data(4, task, MIXED, training=29, samples=44)}


def train(data, changes, runtime=None):
    networks, chosen = cohort(MIXED, **{"epochs": 3} | changes)
    return packed.train(data, networks, chosen, "classification", runtime)


def watched(folder, lines=None, *, key="this training", said=None, memory=None):
    """Return a runtime that saves a state after every epoch, and is killed after some."""
    return Runtime(
        memory=memory,
        checkpoint=Checkpoint(folder, key, seconds=0),
        progress=Progress("study", Terminal(lines), seconds=0),
        say=(said if said is not None else []).append,
    )


def epochs_of(runtime):
    return len(runtime.progress.stream.getvalue().splitlines())


@pytest.mark.parametrize("changes", RUNS.values(), ids=RUNS)
def test_a_killed_training_goes_on_and_ends_with_the_same_bits(tmp_path, changes):
    data = two_seeds()
    expected = train(data, changes)
    whole = watched(tmp_path / "whole")
    train(data, changes, whole)
    total = epochs_of(whole)
    for killed in (2, total - 1):
        folder = tmp_path / str(killed)
        with pytest.raises(KeyboardInterrupt):
            train(data, changes, watched(folder, killed))
        said = []
        again = watched(folder, said=said)
        for seed, one in train(data, changes, again).items():
            assert_same(one, expected[seed], 0)
        # The epoch in which it was killed is not saved; all before it are not trained again.
        assert epochs_of(again) == total - killed + 1
        assert any("going on after epoch" in words for words in said)


def test_a_training_killed_again_and_again_ends_with_the_same_bits(tmp_path):
    data, changes = two_seeds(), {"dropout": 0.3, "teaching": "adaptive"}
    expected = train(data, changes)
    kills = 0
    while True:
        try:
            found = train(data, changes, watched(tmp_path, 3))
            break
        except KeyboardInterrupt:
            kills += 1
    assert kills > 3
    for seed, one in found.items():
        assert_same(one, expected[seed], 0)


def test_a_training_that_was_watched_gives_the_same_bits(tmp_path):
    data = two_seeds()
    expected = train(data, {})
    for seed, one in train(data, {}, watched(tmp_path)).items():
        assert_same(one, expected[seed], 0)


def killed_halfway(folder, data):
    with pytest.raises(KeyboardInterrupt):
        train(data, {}, watched(folder, 5))
    assert list(folder.glob("*.safetensors"))


def test_the_state_of_another_training_is_not_used(tmp_path):
    data = two_seeds()
    killed_halfway(tmp_path, data)
    other = watched(tmp_path, key="another training")
    found = train(data, {}, other)
    assert epochs_of(other) == 2 * 2 * 3
    assert_same(found[3], train(data, {})[3], 0)


def test_the_state_of_other_data_or_settings_is_not_used(tmp_path):
    # Whatever the key says: it tells the code of one project from another's, and may be the same for both.
    data = two_seeds()
    other = {seed: some_data(seed, "classification", MIXED, training=len(one.training)) for seed, one in data.items()}
    other[3].views["a", "raw"][0] += 1
    for place, (those, changes) in enumerate(
        [(other, {}), (data, {"learning_rate": 0.02}), (data, {"hidden": [4, 5]})]
    ):
        killed_halfway(tmp_path / str(place), data)
        again = watched(tmp_path / str(place))
        found = train(those, changes, again)
        assert epochs_of(again) == 2 * 2 * 3
        assert_same(found[3], train(those, changes)[3], 0)


@pytest.mark.parametrize("left", [0, 5, 100, -1])
def test_a_truncated_state_is_not_used(tmp_path, left):
    data = two_seeds()
    killed_halfway(tmp_path, data)
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:left])
    again = watched(tmp_path)
    found = train(data, {}, again)
    assert epochs_of(again) == 2 * 2 * 3
    assert_same(found[3], train(data, {})[3], 0)


def test_a_state_that_was_being_written_is_not_taken_for_one(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path, "key", seconds=0)
    checkpoint.save("run", {"x": torch.ones(3)})

    def interrupted(tensors, path, metadata):
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save("run", {"x": torch.zeros(3)})
    assert checkpoint.load("run")["x"].tolist() == [1, 1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]


def test_a_block_divided_otherwise_after_it_was_killed_gives_the_same_results(tmp_path):
    # The memory of a job is no part of what is trained, and may be changed before it goes on.
    data = {seed: some_data(seed, "classification", MIXED) for seed in (3, 4, 5)}
    networks, chosen = cohort(MIXED, epochs=3)
    most = max(bytes_of_seed(one, networks, chosen, together=1) for one in data.values())
    expected = train(data, {})
    with pytest.raises(KeyboardInterrupt):
        train(data, {}, watched(tmp_path, 8, memory=most))
    for seed, one in train(data, {}, watched(tmp_path)).items():
        assert_same(one, expected[seed], 1e-9)


def test_states_of_penalties_that_look_alike_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "CACHE", 1)
    changes = {"penalties": [0, 1, 1.00000001]}
    data = {3: some_data(3, "classification", MIXED)}
    expected, found = train(data, changes), train(data, changes, watched(tmp_path))
    assert_same(found[3], expected[3], 0)


def test_states_are_saved_no_more_often_than_asked_for(tmp_path):
    clock = Clock()
    checkpoint = Checkpoint(tmp_path, "key", seconds=100, clock=clock)
    assert not checkpoint.due
    clock.now += 100
    assert checkpoint.due
    checkpoint.save("run", {"x": torch.ones(1)})
    assert not checkpoint.due
    quick = Runtime(checkpoint=Checkpoint(tmp_path / "quick", "key", seconds=1000))
    train(two_seeds(), {}, quick)
    assert not (tmp_path / "quick").exists()


def test_a_state_comes_back_as_it_was_saved(tmp_path):
    checkpoint = Checkpoint(tmp_path / "new", "key", seconds=0)
    state = {"x": torch.arange(3.0, requires_grad=True), "turned": torch.rand(2, 3).T, "alive": torch.tensor([True])}
    assert checkpoint.load("run") is None
    assert not checkpoint.has("run")
    checkpoint.save("run", state)
    assert checkpoint.has("run")
    assert not checkpoint.has("other")
    found = checkpoint.load("run")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    with safe_open(tmp_path / "new" / "run.safetensors", framework="pt") as file:
        assert file.metadata() == {"key": "key"}


def test_a_training_told_apart_by_words_has_its_own_states(tmp_path):
    checkpoint = Checkpoint(tmp_path, "key", seconds=0)
    checkpoint.keyed("modality a").save("run", {"x": torch.ones(1)})
    assert checkpoint.keyed("modality a").load("run") is not None
    assert checkpoint.keyed("modality b").load("run") is None
    assert checkpoint.load("run") is None
    assert Checkpoint(tmp_path, "other", seconds=0).keyed("modality a").load("run") is None


def test_states_are_deleted_when_the_training_is_stored(tmp_path):
    folder = tmp_path / ".unfinished"
    checkpoint = Checkpoint(folder, "key", seconds=0)
    checkpoint.clear()
    for label in ("one", "two"):
        checkpoint.save(label, {"x": torch.ones(1)})
    checkpoint.clear()
    assert not folder.exists()


def test_states_that_were_being_written_are_deleted_with_the_others(tmp_path):
    folder = tmp_path / ".unfinished"
    checkpoint = Checkpoint(folder, "key", seconds=0)
    checkpoint.save("one", {"x": torch.ones(1)})
    # What a job leaves that is killed without a chance to tidy up.
    (folder / ".one.safetensors.unfinished").write_bytes(b"half of it")
    checkpoint.clear()
    assert not folder.exists()


# Progress


def lines_of(changes, data=None, **options):
    terminal = Terminal()
    progress = Progress("first, block 1-2", terminal, **{"seconds": 0, "clock": Clock()} | options)
    train(data or {3: some_data(3, "classification", MIXED)}, changes, Runtime(progress=progress))
    return terminal.getvalue().splitlines()


def test_nothing_is_written_where_nobody_watches():
    stream = io.StringIO()
    train(two_seeds(), {}, Runtime(progress=Progress("study", stream, seconds=0)))
    assert stream.getvalue() == ""


def test_a_line_says_where_the_training_is():
    pattern = re.compile(
        r"first, block 1-2: penalty (?P<penalty>[\d.]+( and [\d.]+)*), epoch (?P<epoch>\d) of 3, (?P<alive>\d+) of "
        r"(?P<all>\d+) students alive, (students'|top cluster's) mean validation loss (?P<loss>[\d.e+-]+), (\d+) s left"
    )
    found = [pattern.fullmatch(line).groupdict() for line in lines_of({"penalties": [0, 0.5, 3]})]
    # Five students; the two penalties above 0 are trained together.
    assert [(line["penalty"], line["epoch"], line["alive"], line["all"]) for line in found] == [
        ("0", "1", "5", "5"),
        ("0", "2", "5", "5"),
        ("0", "3", "5", "5"),
        ("0.5 and 3", "1", "10", "10"),
        ("0.5 and 3", "2", "10", "10"),
        ("0.5 and 3", "3", "10", "10"),
    ]


def test_a_line_shows_the_mean_loss_of_the_top_cluster():
    data, changes = {3: some_data(3, "classification", MIXED)}, {"teaching": "worst_cluster"}
    *_, line = lines_of(changes, data)
    trained = train(data, changes)[3]
    members = np.flatnonzero(trained.top)
    assert 0 < len(members) < 5
    history = trained.history.query("penalty > 0 and epoch == 3 and student in @members")
    shown = float(re.search(r"top cluster's mean validation loss ([\d.]+),", line).group(1))
    assert shown == pytest.approx(history["validation_loss"].mean(), rel=1e-3)


def test_a_line_counts_the_students_that_diverged():
    data = some_data(3, "classification", MIXED)
    data.views["b", "raw"][:] = torch.inf
    lines = lines_of({"penalties": [0, 1]}, {3: data})
    assert all("2 of 5 students alive" in line for line in lines)
    assert not any("nan" in line for line in lines)


def test_lines_are_written_no_more_often_than_asked_for():
    # Every epoch looks at the clock at least once.
    assert len(lines_of({"epochs": 30}, seconds=20)) <= len(lines_of({"epochs": 30})) // 10


@pytest.mark.parametrize(
    ("done", "shown"), [(1.0, "0 s left"), (0.5, "60 s left"), (0.4, "2 min left"), (0.01, "99 min left")]
)
def test_the_time_left_is_what_the_rest_takes_at_the_same_pace(done, shown):
    terminal, clock = Terminal(), SimpleNamespace(now=1000.0)
    progress = Progress("study", terminal, clock=lambda: clock.now)
    clock.now += 60
    progress.say("penalty 0", done)
    assert terminal.getvalue() == f"study: penalty 0, {shown}\n"


def seconds_left(line):
    number, unit = re.search(r"([\d.]+) (s|min) left$", line).groups()
    return float(number) * (60 if unit == "min" else 1)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"penalties": [0, 1, 3]},
        {"equal_budget": False},
        {"warm_start": True},
        {"warm_start": True, "equal_budget": False},
    ],
)
def test_no_time_is_left_at_the_end(changes):
    left = [seconds_left(line) for line in lines_of(changes, two_seeds())]
    assert left[0] > 0
    assert left[-1] == 0
    assert max(left) < 4 * left[0]


def test_no_time_is_left_for_runs_whose_students_ran_out_of_patience():
    clock = Clock()
    lines = lines_of({"patience": 1, "learning_rate": 0.5, "epochs": 40}, two_seeds(), clock=clock)
    assert len(lines) < 4 * 40
    # Four runs: two seeds at two penalties each. Three are over, and only what is left of the last may take time.
    rest = 40 - int(re.search(r"epoch (\d+) of 40", lines[-1]).group(1))
    assert seconds_left(lines[-1]) <= 1.1 * rest * clock.now / len(lines)


def test_the_time_left_of_a_training_that_went_on_is_told_by_its_own_pace(tmp_path):
    data = two_seeds()
    with pytest.raises(KeyboardInterrupt):
        train(data, {}, watched(tmp_path, 8))
    terminal = Terminal()
    progress = Progress("study", terminal, seconds=0, clock=Clock())
    train(data, {}, Runtime(checkpoint=Checkpoint(tmp_path, "this training", seconds=0), progress=progress))
    left = [seconds_left(line) for line in terminal.getvalue().splitlines()]
    # The clock is looked at twice an epoch, so that one takes two seconds.
    expected = [2 * (len(left) - 1 - number) for number in range(len(left))]
    assert left == pytest.approx(expected, abs=3)
    assert left[-1] == 0


# Devices


@pytest.fixture
def gpus(monkeypatch):
    def shown(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return shown


def test_auto_takes_a_gpu_where_there_is_one(gpus):
    gpus(0)
    assert device_of("auto") == torch.device("cpu")
    gpus(1)
    assert device_of("auto") == torch.device("cuda")


def test_a_device_is_taken_as_it_is_named(gpus):
    gpus(2)
    assert device_of("cpu") == torch.device("cpu")
    assert device_of("cuda") == torch.device("cuda")
    assert device_of("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:7", 2)])
def test_a_gpu_that_is_not_there_is_a_mistake_of_the_user(gpus, name, count):
    gpus(count)
    with pytest.raises(UserError, match=rf"device: '{name}' was asked for, .* shows {count} GPUs.*'device: auto'"):
        device_of(name)


def test_a_training_may_take_what_the_job_has_and_the_program_leaves():
    assert memory_of(torch.device("cpu"), 4000, 0.5) == 4_000_000_000 - RESERVE


def test_a_training_may_take_a_share_of_the_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=8 * 10**9))
    assert memory_of(torch.device("cuda"), 1000, 0.5) == 4 * 10**9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch shows no GPU on this machine")
@pytest.mark.parametrize("changes", [*RUNS.values(), {"teaching": "none", "normaliser": "all", "hidden": []}])
@pytest.mark.parametrize("graphs", [True, False], ids=["graphs", "no graphs"])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_gpu_gives_the_losses_of_the_cpu(task, graphs, changes):
    data = {
        seed: some_data(
            seed, task, MIXED, samples=120, training=64 + seed, validation=30, missing=0.1, dtype=torch.float32
        )
        for seed in (3, 4)
    }
    networks, chosen = cohort(MIXED, **{"epochs": 3} | changes)
    here = packed.train(data, networks, chosen, task)
    there = packed.train(data, networks, chosen, task, Runtime(device=torch.device("cuda"), graphs=graphs))
    for seed, one in here.items():
        np.testing.assert_allclose(there[seed].losses, one.losses, rtol=1e-3)

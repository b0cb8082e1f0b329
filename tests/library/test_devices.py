"""One GPU for one job: locks held by real processes, on devices that are only names here."""

import multiprocessing
import os
import time
from types import SimpleNamespace

import pytest
import torch

from metafusion.errors import UserError
from metafusion.workflow import devices
from metafusion.workflow.devices import device_for, lock_folder, take

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def started(tmp_path):
    """A function that starts a process that takes one of some devices and keeps it; the process, and what it says."""
    running = []

    def start(*names, wanted=None):
        here, there = FORK.Pipe()

        def work():
            place = take(list(names), wanted, tmp_path, lambda words: there.send(words), seconds=0.02)
            there.send(names[place])
            time.sleep(60)

        process = FORK.Process(target=work, daemon=True)
        process.start()
        running.append(process)
        return process, here

    yield start
    for process in running:
        process.kill()
        process.join()


def heard(pipe):
    assert pipe.poll(10), "the process said nothing"
    return pipe.recv()


def test_no_two_processes_hold_the_same_gpu_and_a_third_one_waits_until_one_is_killed(started):
    first, of_first = started("one", "two")
    taken = heard(of_first)
    _, of_second = started("one", "two")
    assert {taken, heard(of_second)} == {"one", "two"}
    _, of_third = started("one", "two")
    assert "waiting for a GPU: other jobs have taken all 2" in heard(of_third)
    assert not of_third.poll(0.3)
    first.kill()
    assert heard(of_third) == taken


def test_processes_that_number_the_gpus_otherwise_agree_on_who_has_which(started):
    """As with another CUDA_VISIBLE_DEVICES."""
    _, of_first = started("one", "two")
    taken = heard(of_first)
    _, of_second = started(taken, "three")
    assert heard(of_second) == "three"


def test_a_gpu_that_is_named_is_waited_for_though_another_is_free(started):
    first, of_first = started("one", "two", wanted=1)
    assert heard(of_first) == "two"
    _, of_second = started("one", "two", wanted=1)
    assert "waiting" in heard(of_second)
    assert not of_second.poll(0.3)
    first.kill()
    assert heard(of_second) == "two"


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """A function that makes PyTorch show so many GPUs."""
    monkeypatch.setattr(devices, "lock_folder", lambda: tmp_path)
    monkeypatch.setattr(devices, "_held", [])
    chosen = []

    def show(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"id{index}"))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "A card")
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        return chosen

    return show


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_job_takes_a_gpu_that_is_free_and_says_which(gpus, started, name):
    chosen, words = gpus(2), []
    heard(started("id0", "id1")[1])
    assert device_for(name, given=True, say=words.append) == torch.device("cuda", 1)
    assert chosen == [1]
    assert words == ["training on cuda:1 (A card, id1)"]


@pytest.mark.parametrize(
    ("name", "given", "count", "said"),
    [
        ("auto", False, 2, "training on cpu"),
        ("auto", True, 0, "training on cpu: device is 'auto', but PyTorch finds no GPU here"),
        ("cpu", True, 2, "training on cpu"),
    ],
)
def test_a_job_trains_on_the_cpu_only_where_that_is_allowed_and_says_why(gpus, name, given, count, said):
    gpus(count)
    words = []
    assert device_for(name, given, words.append) == torch.device("cpu")
    assert words == [said]


def test_a_job_that_must_have_a_gpu_does_not_fall_back(gpus):
    gpus(0)
    with pytest.raises(UserError, match="'cuda' was asked for"):
        device_for("cuda", given=True, say=print)


def test_locks_belong_to_one_person_and_to_one_allocation(monkeypatch, tmp_path):
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    outside = lock_folder()
    assert outside.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert lock_folder() != outside
    folder = lock_folder()
    folder.rmdir()
    folder.symlink_to(outside)
    with pytest.raises(UserError, match="belongs to somebody else"):
        lock_folder()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (tmp_path / "metafusion-gpus-12345-17").mkdir()
    with pytest.raises(UserError, match="belongs to somebody else"):
        lock_folder()

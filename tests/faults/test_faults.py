"""
Runs that are disturbed, and then allowed to finish: the same files, byte by byte, as a run that nobody disturbed.

    make faults

What a person does in between is what Snakemake documents (``--unlock``; unfinished jobs run again by the profile, which
sets ``rerun-incomplete``) or what a message says (delete a file, make room).
"""

import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]


def _workflow_tests():
    """The helpers of the tests of the workflow; pytest calls every conftest by the same name."""
    spec = importlib.util.spec_from_file_location("workflow_studies", ROOT / "tests/workflow/conftest.py")
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


studies = _workflow_tests()
pytestmark = [pytest.mark.faults, pytest.mark.skipif(sys.platform != "linux", reason="limits and mounts of Linux")]
TINY = studies.TABLES | {
    "source": studies.TABLES["source"] | {"modalities": {"blood": {"file": "data/blood.csv"}}},
    "representations": {"blood": ["raw", 2]},
    "ensemble": {"stacking_epochs": 0},
    "comparators": ["linear"],
    "seeds": 1,
    "seeds_per_block": 1,
}
"""The fewest jobs that bring every kind of table."""
TABLES = ("results/tiny/tables/summary.tsv", "results/tiny/tables/flow.tsv")


@dataclass
class Disturbed(studies.Study):
    """A study that can be started, disturbed and looked through."""

    def begin(self) -> psutil.Popen:
        """Start Snakemake, with all its words in a file ``told``."""
        command = [studies.SNAKEMAKE, "-s", self.repository / "Snakefile", "--cores", "2", *TABLES]
        with (self.folder / "told").open("w") as told:
            return psutil.Popen(command, cwd=self.folder, stdout=told, stderr=subprocess.STDOUT)

    def end(self, run: psutil.Popen) -> str:
        """Wait for a Snakemake; return what it said."""
        run.wait(300)
        return (self.folder / "told").read_text()

    @property
    def locks(self) -> list[Path]:
        return list((self.folder / ".snakemake").glob("locks/*"))

    def finish(self) -> None:
        """Let the run finish, as a person would."""
        if self.locks:
            self.succeed("--unlock")
        self.succeed(*TABLES)

    def files(self) -> set[str]:
        """Names of all files that a run makes, hidden ones too; but for Snakemake's marks in folders."""
        top = [self.folder / name for name in ("results", "resources", "logs")]
        found = {str(path.relative_to(self.folder)) for folder in top for path in folder.rglob("*")}
        return {name for name in found if not name.endswith(".snakemake_timestamp")}

    def assert_same_as(self, other: "Disturbed") -> None:
        """The same files, of the same bytes; no temporary file, and no lock."""
        assert self.files() == other.files()
        ours, theirs = self.bytes_of("**/*"), other.bytes_of("**/*")
        assert len(ours) > 40
        assert [name for name in ours if ours[name] != theirs[name] and not name.endswith("_timestamp")] == []
        assert self.locks == []
        assert list((self.folder / ".snakemake").glob("incomplete/*")) == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run that nobody disturbs, and how long it took (s)."""
    study = Disturbed(tmp_path_factory.mktemp("undisturbed"))
    studies.write_tables(study.folder)
    study.write({"tiny": TINY})
    start = time.monotonic()
    study.succeed(*TABLES)
    study.seconds = time.monotonic() - start
    return study


@pytest.fixture
def fresh(tmp_path):
    """The same study, not yet run."""
    study = Disturbed(tmp_path)
    studies.write_tables(study.folder)
    study.write({"tiny": TINY})
    return study


@pytest.fixture
def done(undisturbed, tmp_path):
    """The same study, finished."""
    return Disturbed(shutil.copytree(undisturbed.folder, tmp_path / "copy"))


def jobs_of(run: psutil.Popen) -> list[psutil.Process]:
    """The processes of jobs below a running Snakemake."""
    found = []
    for process in run.children(recursive=True):
        try:
            if any("/.snakemake/scripts/" in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            # It ended while being asked.
            continue
    return found


VICTIMS = ("Snakemake", "a job")
SIGNALS = (signal.SIGKILL, signal.SIGTERM)


@pytest.mark.parametrize("seed", range(2))
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(seed, fresh, undisturbed, count):
    draw = random.Random(seed)
    for _ in range(7):
        victim, kill = draw.choice(VICTIMS), draw.choice(SIGNALS)
        run = fresh.begin()
        time.sleep(draw.uniform(0.08, 0.3) * undisturbed.seconds)
        jobs = jobs_of(run)
        while victim == "a job" and run.poll() is None and not jobs:
            time.sleep(0.02)
            jobs = jobs_of(run)
        with suppress(psutil.NoSuchProcess):
            (run if victim == "Snakemake" else draw.choice(jobs or [run])).send_signal(kill)
        fresh.end(run)
        if run.returncode == 0:
            # It was faster.
            break
        count(f"{kill.name} of {victim}")
        # Nobody is left who could write into what the next run writes; a job looks when it has read its libraries.
        assert psutil.wait_procs(jobs, timeout=90)[1] == []
        assert not fresh.locks or (victim, kill) == ("Snakemake", signal.SIGKILL)
        if fresh.locks:
            assert "--unlock" in fresh.fail(*TABLES)
            fresh.succeed("--unlock")
    fresh.finish()
    fresh.assert_same_as(undisturbed)
    assert "Nothing to be done" in fresh.succeed(*TABLES)


def test_two_runs_at_once_do_not_mix(fresh, undisturbed, count):
    run = fresh.begin()
    while not fresh.files():
        time.sleep(0.02)
    said = fresh.fail(*TABLES)
    count("a second run in the same folder")
    assert "Directory cannot be locked" in said
    assert "Traceback" not in said
    fresh.end(run)
    assert run.returncode == 0
    fresh.assert_same_as(undisturbed)


@pytest.fixture
def spoil(monkeypatch):
    """A function that says what happens to the job of a rule from now on; without arguments, nothing."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("inject")))

    def say(**fault: object) -> None:
        monkeypatch.setenv("METAFUSION_FAULT", json.dumps(fault or None))

    return say


# In the order in which they wait for one another, two files or more each: one fails, and with it all that follows.
RULES = [
    "preprocess_chunk",
    "assemble_samples",
    "split_samples",
    "extract_latents",
    "train_cohort",
    "evaluate_block",
    "aggregate_tables",
]


def test_jobs_that_are_killed_while_they_write_leave_nothing_half_written(fresh, undisturbed, spoil, count):
    draw = random.Random(0)
    for rule in RULES:
        if draw.random() < 0.5:
            # Between writing a file and giving it its name.
            spoil(rule=rule, event="os.rename", part=".unfinished", number=draw.choice([1, 2]), action="kill")
        else:
            # In the middle of a file.
            beyond = draw.randrange(20, 300)
            spoil(rule=rule, event="open", part=".log", number=1, action="cut", bytes=beyond)
        run = fresh.begin()
        said = fresh.end(run)
        assert run.returncode != 0, said
        assert f"Error in rule {rule}" in said
        count("job killed while it writes")
        whole = undisturbed.bytes_of("**/*")
        made = fresh.bytes_of("**/*")
        wrong = [name for name in made if name in whole and made[name] != whole[name] and "_timestamp" not in name]
        assert wrong == []
    spoil()
    fresh.finish()
    fresh.assert_same_as(undisturbed)


def test_jobs_without_memory_say_so_and_can_be_run_again(done, undisturbed, spoil, count):
    for rule in ("evaluate_block", "train_cohort", "extract_latents"):
        spoil(rule=rule, event="open", part=".log", number=1, action="starve", bytes=4_000_000)
        said = done.fail(*TABLES, "--forcerun", rule, "--until", rule)
        count("job out of memory")
        assert f"ERROR in {rule} (experiment tiny, block 1):\nout of memory" in said, said
        spoil()
        done.succeed(*TABLES, "--forcerun", rule, "--until", rule)
    done.finish()
    done.assert_same_as(undisturbed)


@pytest.mark.parametrize("place", ["a path with spaces", "a read-only checkout", "one core"])
def test_another_place_gives_the_same_files(place, undisturbed, tmp_path):
    study = Disturbed(tmp_path / "it's my study")
    study.folder.mkdir()
    studies.write_tables(study.folder)
    study.write({"tiny": TINY})
    if place == "one core":
        study.succeed(*TABLES, cores=1)
    elif place == "a path with spaces":
        study.repository = copy_of_the_code(tmp_path / "a copy of the code")
        study.succeed(*TABLES)
    else:
        with small_disk(tmp_path / "checkout", 100_000) as mount_again:
            study.repository = copy_of_the_code(tmp_path / "checkout")
            mount_again("ro")
            # Not started in the folder that it works in.
            elsewhere = Disturbed(tmp_path, study.repository)
            elsewhere.succeed(*TABLES, "--directory", str(study.folder))
    study.assert_same_as(undisturbed)


def copy_of_the_code(folder: Path) -> Path:
    """Copy what a checkout has that a run needs."""
    folder.mkdir(exist_ok=True)
    for name in ("Snakefile", "environment.yaml"):
        shutil.copy(ROOT / name, folder)
    for name in ("metafusion", "scripts", "rules", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Callable[[str], None]:
    """Mount a small disk of its own at a folder; yield a function that mounts it anew with other options."""
    folder.mkdir(exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"no disk can be mounted here: {made.stderr.strip()}")

    def again(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)

    try:
        yield again
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_said_and_survived(fresh, undisturbed, count):
    draw = random.Random(0)
    taken = sum(map(len, undisturbed.bytes_of("**/*").values())) // 1024
    steps = sorted(draw.uniform(0.1, 1) for _ in range(3))
    with small_disk(fresh.folder / "results", int(steps[0] * taken)) as mount_again:
        for step in steps:
            mount_again(f"size={int(step * taken)}k")
            said = fresh.fail(*TABLES)
            count("full disk")
            assert "is full; make room, then run again" in said or "No space left on device" in said, said
            assert "Traceback" not in said, said
            assert list((fresh.folder / "results").rglob("*.unfinished")) == []
        mount_again("size=100m")
        fresh.finish()
        fresh.assert_same_as(undisturbed)


def test_results_that_become_read_only_are_said_and_survived(fresh, undisturbed, count):
    draw = random.Random(0)
    with small_disk(fresh.folder / "results", 100_000) as mount_again:
        for _ in range(2):
            run = fresh.begin()
            time.sleep(draw.uniform(0.05, 0.4) * undisturbed.seconds)
            mount_again("ro")
            said = fresh.end(run)
            assert run.returncode != 0, said
            count("read-only results")
            assert "read-only" in said or "Read-only file system" in said, said
            mount_again("rw")
        fresh.finish()
        fresh.assert_same_as(undisturbed)


YEAR = 365 * 24 * 3600


@pytest.mark.parametrize("jump", [-YEAR, YEAR])
def test_files_whose_times_are_wrong_change_no_result(jump, done, undisturbed, count):
    """As after a clock that was set, or a copy that kept no times."""
    draw = random.Random(0)
    files = sorted(path for path in (done.folder / "results").rglob("*") if path.is_file())
    for path in draw.sample(files, 5):
        os.utime(path, times=(time.time() + jump,) * 2)
    count(f"clock that jumped {'ahead' if jump > 0 else 'back'}")
    done.finish()
    done.assert_same_as(undisturbed)


# A file, and a rule that reads it; the last ones first, so that nothing makes a file again before it is read.
DAMAGED = {
    "scores/1.parquet": "aggregate_tables",
    "comparators/linear/1.parquet": "evaluate_block",
    "cohort/1/predictions.safetensors": "evaluate_block",
    "latents/1/blood.safetensors": "train_cohort",
    "splits/1.parquet": "extract_latents",
    "features/blood.parquet": "split_samples",
    "preprocessed/blood/all/columns.tsv": "describe_data",
}


def test_a_damaged_file_is_named_with_what_to_delete_and_made_again(done, undisturbed, count):
    draw = random.Random(0)
    results = done.folder / "results/tiny"
    for name, rule in DAMAGED.items():
        path = results / name
        content = path.read_bytes()
        left = draw.randrange(len(content))
        # Cut, or with zeros for what had not reached the disk. In the numbers of a safetensors nobody sees zeros.
        rest = b"" if name.endswith(".safetensors") else draw.choice([b"", bytes(len(content) - left)])
        path.write_bytes(content[:left].rstrip(b"\n") + rest)
        said = done.fail(*TABLES, "--forcerun", rule, "--until", rule)
        count("damaged file")
        assert f"results/tiny/{name}: corrupt or truncated" in said, said
        assert "delete it and run again" in said
        assert "Traceback" not in said, said
        folder = name.split("/")[0]
        if folder in ("latents", "features", "preprocessed"):
            made = path.relative_to(done.folder).parent
            assert f"{made}/ is made as a whole: delete that folder" in said
            shutil.rmtree(path.parent)
        else:
            path.unlink()
    done.finish()
    done.assert_same_as(undisturbed)


def test_damaged_notes_of_snakemake_cost_no_result(done, undisturbed, count):
    notes = sorted((done.folder / ".snakemake/metadata").iterdir())
    for path in random.Random(0).sample(notes, 3):
        path.write_bytes(path.read_bytes()[:20])
        count("damaged record of Snakemake")
    done.finish()
    done.assert_same_as(undisturbed)


def test_a_damaged_file_of_the_user_is_named_and_its_copy_is_all_it_takes(done, undisturbed, count):
    path = done.folder / "data/blood.csv"
    content = path.read_text()
    for spoilt in (content[:700], "\0" * len(content)):
        path.write_text(spoilt)
        said = done.fail(*TABLES)
        count("damaged file of the user")
        assert "data/blood.csv" in said.partition("ERROR in ")[2], said
        assert "Traceback" not in said
    path.write_text(content)
    done.finish()
    done.assert_same_as(undisturbed)

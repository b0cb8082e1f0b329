"""Jobs in a container: each in the image that the configuration names. A stand-in for apptainer notes what it runs."""

import os
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.workflow

STAND_IN = """#!/bin/bash
# Notes what it is asked for, and runs the command outside of any container.
echo "$@" >> "{notes}"
if [ "$1" = --version ]; then echo "apptainer version 1.4.0"; exit; fi
while [ "$1" != "{image}" ]; do shift; done
shift
exec "$@"
"""


def test_every_job_runs_in_the_image_that_is_named(tables_study, tmp_path, monkeypatch):
    image, notes = tmp_path / "metafusion.sif", tmp_path / "notes"
    image.write_text("not really an image")
    for name in ("apptainer", "singularity"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(STAND_IN.format(notes=notes, image=image))
        program.chmod(0o755)
    # What a container would have of its own: a Python with all requirements.
    own = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{own}:{os.environ['PATH']}")
    options = ("--sdm", "apptainer", "--config", f"container={image}")
    tables_study.succeed("--until", "preprocess_chunk", *options)
    ran = [line for line in notes.read_text().splitlines() if line.startswith("exec")]
    assert len(ran) == 2
    assert all(f"{image} bash -c" in line and "preprocess_chunk" in line for line in ran)


def test_containers_are_refused_where_no_image_is_named(tables_study):
    printed = tables_study.fail("--sdm", "apptainer")
    assert "--sdm apptainer: no image is named" in printed
    assert "Containerfile" in printed
    assert "Traceback" not in printed

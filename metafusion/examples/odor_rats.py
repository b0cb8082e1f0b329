"""A simulated rat in the files of one of the recorded rats; see :mod:`metafusion.sources.odor_simulated`.

Numbers of trials, units and tetrodes are the recorded rat's, and nothing else is.
"""

from pathlib import Path

from metafusion.config.odor import OdorSimulated
from metafusion.sources.odor_simulated import acquire

RATS = {
    "Barat": ({"A": 43, "B": 36, "C": 30, "D": 24}, 92, 22),
    "Buchanan": ({"A": 55, "B": 48, "C": 40, "D": 31}, 79, 20),
    "Mitt": ({"A": 66, "B": 57, "C": 47, "D": 37}, 104, 21),
    "Stella": ({"A": 48, "B": 42, "C": 35, "D": 27}, 49, 21),
    "SuperChris": ({"A": 52, "B": 45, "C": 38, "D": 29}, 46, 21),
}
"""By rat: trials of each odour that are used, units, tetrodes. How the recorded trials fall on the odours is not known
to us; only their sum is theirs."""

ODOR_E, INCORRECT, OUT_OF_SEQUENCE = 12, 15, 15
"""Further trials, which are left out."""


def place(rat: str = "Barat") -> Path:
    """Return the folder of a rat."""
    return Path("data/odor") / rat


def experiment(rat: str = "Barat") -> str:
    """Return the experiment of a rat."""
    return f"odor_{rat.lower()}"


def fill(folder: Path, seed: int, rat: str = "Barat") -> None:
    """Write the three arrays of a rat into an empty folder."""
    trials, units, tetrodes = RATS[rat]
    settings = OdorSimulated(
        kind="odor_simulated",
        rat=rat,
        trials=trials | {"E": ODOR_E},
        incorrect=INCORRECT,
        out_of_sequence=OUT_OF_SEQUENCE,
        units=units,
        silent_units=units // 5,
        channels=tetrodes,
        random_state=seed,
    )
    acquire(settings, folder, {})
    for file in sorted((folder / rat).iterdir()):
        file.rename(folder / file.name)
    (folder / rat).rmdir()

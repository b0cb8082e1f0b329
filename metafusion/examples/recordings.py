"""Simulated EEG of people who move their left or right hand, as BrainVision files in a folder of BIDS.

Before and during the movement the rhythms of the motor cortex (mu, 8 to 13 Hz; beta, 15 to 28 Hz) fall on both sides,
more so opposite to the hand (Pfurtscheller and Lopes da Silva 1999, Clin. Neurophysiol. 110:1842), and a slow negative
potential rises there. People differ in both, and each trial does. No number stems from a person.
"""

import json
from functools import cache
from pathlib import Path

import mne
import numpy as np
import pandas as pd

from metafusion.examples.draws import pink, place_in, rhythm

RATE = 160  # Hz
EEG = ["FC3", "FCz", "FC4", "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "CP3", "CPz", "CP4", "Pz", "O1", "O2"]
CHANNELS = [*EEG, "EOG"]
STEP = 0.1
"""Of the values in the files, in microvolt."""

BACKGROUND, SHARED = 9.0, 0.5
"""Standard deviation of the 1/f background in microvolt, and the share of its variance that all electrodes have in
common."""
RHYTHMS = {"alpha": ((8, 12), 9.0), "mu": ((8, 13), 5.0), "beta": ((15, 28), 2.5)}
"""Band in Hz, and standard deviation in microvolt at the source, on average over people."""
FALL = {"opposite": 0.5, "same": 0.2}
"""What share of a rhythm's amplitude is lost on the side opposite to the hand, and on the same one, on average."""
COURSE = ([0.1, 0.6, 2.0, 2.6], [0.0, 1.0, 1.0, 0.0])
"""Of the fall of the rhythms, in s from the cue."""
SLOW = 3.0
"""Slow potential in microvolt, on average."""
SLOW_COURSE = ([0.2, 0.8, 1.6, 2.2], [0.0, -1.0, -1.0, 0.0])
REACH = 0.045
"""How far a source of the cortex is seen (standard deviation of a Gaussian), in m on the scalp."""

SIDES = {"left_hand": "C4", "right_hand": "C3"}
"""The electrode over the cortex of a hand: the opposite side."""
REST = 1 / 6
"""Cues to do nothing, for each cue of a hand."""

BROKEN, NOISY = "Pz", ("03", "FC4")
"""The electrode that is bad in everybody, and one of one person."""


def place(**_: int) -> Path:
    """Return where the experiment looks."""
    return Path("data/eeg_bids")


def experiment(**_: int) -> str:
    """Return the experiment that reads it."""
    return "recordings_bids"


def fill(folder: Path, seed: int, people: int = 10, trials: int = 24) -> None:
    """Write the folder of a study.

    Parameters
    ----------
    folder : path
        Empty. ``sub-01`` gets two runs, ``sub-02`` two sessions, the others a recording each.
    seed : int
    people : int
    trials : int
        Of each person, half of them of each hand; a sixth as many are cues to rest.
    """
    description = {
        "Name": "Simulated movements of the left and right hand",
        "BIDSVersion": "1.9.0",
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "metafusion.examples", "Description": f"simulated, seed {seed}"}],
    }
    _write_json(description, folder / "dataset_description.json")
    (folder / "README").write_text("Simulated EEG: see SIMULATED.txt.\n", encoding="utf-8")
    (folder / ".bidsignore").write_text("SIMULATED.txt\n", encoding="utf-8")
    settings = {
        "TaskName": "motor",
        "SamplingFrequency": RATE,
        "EEGReference": "simulated, none",
        "PowerLineFrequency": 50,
        "SoftwareFilters": "n/a",
    }
    _write_json(settings, folder / "task-motor_eeg.json")
    _write_table(channels_table([BROKEN]), folder / "task-motor_channels.tsv")
    names = [f"{number:02d}" for number in range(1, people + 1)]
    _write_table(pd.DataFrame({"participant_id": [f"sub-{name}" for name in names]}), folder / "participants.tsv")
    for number, name in enumerate(names):
        parts = {"01": ["_task-motor_run-1", "_task-motor_run-2"], "02": ["_ses-1_task-motor", "_ses-2_task-motor"]}
        bad = [BROKEN, *([NOISY[1]] if name == NOISY[0] else [])]
        person = Person(np.random.default_rng([seed, number]))
        stems = parts.get(name, ["_task-motor"])
        for part, stem in enumerate(stems):
            sessions = [stem.split("_")[1]] if stem.startswith("_ses") else []
            stem = folder.joinpath(f"sub-{name}", *sessions, "eeg", f"sub-{name}{stem}")
            stem.parent.mkdir(parents=True, exist_ok=True)
            values, events, marks = person.record(
                trials // len(stems), bad, np.random.default_rng([seed, number, part])
            )
            write_brainvision(stem.with_name(f"{stem.name}_eeg.vhdr"), values, marks)
            _write_table(events, stem.with_name(f"{stem.name}_events.tsv"))
            if len(bad) > 1:
                _write_table(channels_table(bad), stem.with_name(f"{stem.name}_channels.tsv"))


class Person:
    """Somebody whose rhythms and slow potentials are like those of others, and not the same.

    Parameters
    ----------
    draw : Generator
        Who it is.
    """

    def __init__(self, draw: np.random.Generator) -> None:
        self.amplitudes = {name: size * np.exp(0.25 * draw.normal()) for name, (_, size) in RHYTHMS.items()}
        self.strength = draw.uniform(0.5, 1.2)
        self.slow = SLOW * draw.uniform(0.3, 1.5)

    def record(
        self, trials: int, bad: list[str], draw: np.random.Generator
    ) -> tuple[np.ndarray, pd.DataFrame, list[tuple[str, str, float, float]]]:
        """Draw a recording.

        The last cue comes too late for a whole trial; one trial has a jump of an electrode, and over another the
        recording is marked as bad.

        Parameters
        ----------
        trials : int
            Half of them of each hand.
        bad : list of str
            Electrodes that have nothing but noise.
        draw : Generator

        Returns
        -------
        ndarray, shape (channels, times)
            In microvolt.
        DataFrame
            ``onset``, ``duration``, ``trial_type``.
        list of (type, description, onset, duration)
            Markers in the file; times in s.
        """
        cues = draw.permutation([*SIDES] * (trials // 2) + ["rest"] * round(REST * trials))
        onsets = np.round(2.5 + np.cumsum(draw.uniform(3.2, 4.0, len(cues))), 3)
        count = int((onsets[-1] + 1.0) * RATE)
        values = self._draw(cues, onsets, count, draw)
        of_hands = [onset for cue, onset in zip(cues[:-1], onsets[:-1], strict=True) if cue in SIDES]
        jump, muscle = draw.choice(of_hands, 2, replace=False)
        place_in(values[EEG.index("C1")], RATE, jump, ([0.5, 0.52, 1.5], [0.0, 600.0, 0.0]))
        for name in bad:
            values[EEG.index(name)] = 400 * draw.normal(size=count)
        events = pd.DataFrame({"onset": onsets, "duration": 2.0, "trial_type": cues})
        marks = [("Stimulus", cue, onset, 0.0) for cue, onset in zip(cues, onsets, strict=True)]
        marks.append(("Bad Interval", "muscle", muscle + 0.3, 0.5))
        return values, events, sorted(marks, key=lambda mark: mark[2])

    def _draw(self, cues: np.ndarray, onsets: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
        fields = fields_of_sources()
        common, own = pink(draw, (1, count)), pink(draw, (len(EEG), count))
        eeg = BACKGROUND * (np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own)
        alpha = self.amplitudes["alpha"] * rhythm(draw, (count,), RATE, RHYTHMS["alpha"][0])
        eeg += np.outer(fields["O1"] + fields["O2"], alpha)
        for electrode in SIDES.values():
            rest, slow = np.zeros(count), np.zeros(count)
            for cue, onset in zip(cues, onsets, strict=True):
                # Each trial has its own share, so that some of them tell little or the wrong thing.
                fall, rise = draw.normal(1, 0.5), draw.normal(1, 1)
                if cue in SIDES:
                    opposite = SIDES[cue] == electrode
                    depth = self.strength * FALL["opposite" if opposite else "same"] * max(fall, 0)
                    place_in(rest, RATE, onset, (COURSE[0], [min(depth, 0.9) * one for one in COURSE[1]]))
                    size = self.slow * rise * (1 if opposite else 0.3)
                    place_in(slow, RATE, onset, (SLOW_COURSE[0], [size * one for one in SLOW_COURSE[1]]))
            for name in ("mu", "beta"):
                wave = self.amplitudes[name] * rhythm(draw, (count,), RATE, RHYTHMS[name][0])
                eeg += np.outer(fields[electrode], (1 - rest) * wave)
            eeg += np.outer(fields[electrode], slow)
        times = np.arange(count) / RATE
        eeg += 1.5 * np.sin(2 * np.pi * 50 * times)
        blinks = np.zeros(count)
        for blink in np.arange(1, times[-1], 5) + draw.uniform(-1, 1, len(np.arange(1, times[-1], 5))):
            place_in(blinks, RATE, blink, ([-0.1, 0.0, 0.2], [0.0, 1.0, 0.0]))
        # The eyes are seen by the electrodes in front.
        eeg += np.outer([0.08 if name.startswith("FC") else 0.02 for name in EEG], 120 * blinks)
        return np.vstack([eeg, 120 * blinks + 5 * draw.normal(size=count)])


@cache
def fields_of_sources() -> dict[str, np.ndarray]:
    """Return for each electrode how much the others see of a source under it, shape (electrodes,)."""
    places = mne.channels.make_standard_montage("biosemi64").get_positions()["ch_pos"]
    positions = np.array([places[name] for name in EEG])
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    return dict(zip(EEG, np.exp(-0.5 * (distances / REACH) ** 2), strict=True))


def channels_table(bad: list[str]) -> pd.DataFrame:
    """Return the table of channels: ``name``, ``type``, ``units``, ``status``."""
    return pd.DataFrame(
        {
            "name": CHANNELS,
            "type": [*["EEG"] * len(EEG), "EOG"],
            "units": "uV",
            "status": ["bad" if name in bad else "good" for name in CHANNELS],
        }
    )


def write_brainvision(path: Path, values: np.ndarray, marks: list[tuple[str, str, float, float]]) -> None:
    """Write header, markers and data; MNE reads these files, and writes them only with a further package.

    Parameters
    ----------
    path : path
        ``.vhdr``; ``.vmrk`` and ``.eeg`` are written beside it.
    values : ndarray, shape (channels, times)
        In microvolt.
    marks : list of (type, description, onset, duration)
        Times in s.
    """
    data, markers = path.with_suffix(".eeg"), path.with_suffix(".vmrk")
    common = ["[Common Infos]", "Codepage=UTF-8", f"DataFile={data.name}"]
    head = ["Brain Vision Data Exchange Header File Version 1.0", "; Simulated data", *common]
    head += [f"MarkerFile={markers.name}", "DataFormat=BINARY", "DataOrientation=MULTIPLEXED"]
    head += [f"NumberOfChannels={len(values)}", f"SamplingInterval={1e6 / RATE:g}", f"DataPoints={values.shape[1]}"]
    head += ["[Binary Infos]", "BinaryFormat=INT_16", "[Channel Infos]"]
    head += [f"Ch{number}={name},,{STEP},µV" for number, name in enumerate(CHANNELS, start=1)]
    lines = ["Brain Vision Data Exchange Marker File, Version 1.0", *common, "[Marker Infos]"]
    lines.append("Mk1=New Segment,,1,1,0,20200101000000000000")
    for number, (type_, words, onset, duration) in enumerate(marks, start=2):
        length = max(1, round(duration * RATE))
        lines.append(f"Mk{number}={type_},{words},{round(onset * RATE) + 1},{length},0")
    path.write_text("\n".join(head) + "\n", encoding="utf-8")
    markers.write_text("\n".join(lines) + "\n", encoding="utf-8")
    limits = np.iinfo(np.int16)
    data.write_bytes(np.clip(np.rint(values / STEP), limits.min, limits.max).astype("<i2").T.tobytes())


def _write_table(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, sep="\t", index=False, lineterminator="\n")


def _write_json(content: dict[str, object], path: Path) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

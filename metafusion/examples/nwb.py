"""A simulated session of a mouse that chooses left or right: a file of Neurodata Without Borders.

Units of the visual cortex (VISp) fire after the stimulus, more so where it is on their side, and those of the motor
cortex (MOs) before the response, more so for the choice that they prefer; the choice mostly follows the stimulus. The
LFP of the motor cortex loses beta and moves slowly before the response, by the choice. No number stems from an animal.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from metafusion.errors import UserError
from metafusion.examples.draws import pink, rhythm, spike_times

RATE = 625.0  # Hz
STEP = 0.005
"""Bins in which rates change, in s."""
BEGIN = 1.0
"""When the LFP begins, in s."""
VOLT = 0.195e-6
"""Of a step of the stored integers."""
REGIONS = {"VISp": 20, "MOs": 20, "CA1": 6}
"""Units by region; the last region knows nothing."""
ELECTRODES = 3
"""Of each region."""
SILENT = 1
"""Units of each region that never fire."""
FOLLOWS = 0.8
"""How often the choice is that of the stimulus."""
TUNING = {"VISp": 0.35, "MOs": 0.17, "CA1": 0.0}
"""Standard deviation over units of the log rate by side."""
DATE = datetime(2020, 1, 1, tzinfo=UTC)


def place(**_: int) -> Path:
    """Return where the experiment looks."""
    return Path("data/nwb")


def experiment(**_: int) -> str:
    """Return the experiment that reads it."""
    return "nwb_session"


def fill(folder: Path, seed: int, trials: int = 160) -> None:
    """Write ``session.nwb`` into an empty folder.

    Identifiers of the objects in the file are drawn by pynwb, so that the bytes differ from one time to the next, and
    the data do not.

    Parameters
    ----------
    folder : path
    seed : int
    trials : int
        Some have the choice ``none`` and no response. The LFP ends before the last one.

    Raises
    ------
    UserError
        There is no ``pynwb``.
    """
    try:
        from pynwb import NWBHDF5IO, NWBFile
        from pynwb.ecephys import LFP, ElectricalSeries
        from pynwb.file import Subject
    except ImportError:
        raise UserError(
            "writing a file of NWB needs pynwb, which is not installed; run '.venv/bin/pip install pynwb'"
        ) from None
    draw = np.random.default_rng([seed, 0])
    starts, sides, choices, responses = draw_trials(draw, trials)
    length = float(np.ceil(starts[-1] + 3))
    file = NWBFile(
        session_description="Simulated data: a mouse that chooses left or right. Nothing here was measured.",
        identifier=f"metafusion.examples nwb, seed {seed}",
        session_start_time=DATE,
        file_create_date=[DATE],
    )
    file.subject = Subject(
        subject_id="simulated_mouse", species="Mus musculus", sex="U", age="P90D", description="simulated"
    )
    device = file.create_device(name="probe", description="simulated")
    file.add_unit_column(name="quality", description="good or poor; simulated")
    for number, (region, count) in enumerate(REGIONS.items()):
        group = file.create_electrode_group(name=f"shank_{region}", description="x", location=region, device=device)
        for _ in range(ELECTRODES):
            file.add_electrode(location=region, group=group)
        rates = draw_rates(np.random.default_rng([seed, 1, number]), region, starts, sides, choices, responses, length)
        trains = spike_times(np.random.default_rng([seed, 2, number]), rates, STEP)
        for unit, train in enumerate(trains):
            electrode = ELECTRODES * number + unit % ELECTRODES
            file.add_unit(spike_times=train, electrodes=[electrode], quality="poor" if unit == count - 1 else "good")
    file.add_trial_column(name="side", description="of the stimulus, 0.3 s after the start")
    file.add_trial_column(name="choice", description="left, right, or none")
    file.add_trial_column(name="response_time", description="of the choice, in s; not a number without one")
    for start, side, choice, response in zip(starts, sides, choices, responses, strict=True):
        file.add_trial(start_time=start, stop_time=start + 2, side=side, choice=choice, response_time=response)
    values = draw_lfp(np.random.default_rng([seed, 3]), choices, responses, length)
    # It is switched on late, and off before the last response.
    values = values[:, round(BEGIN * RATE) : round((np.nanmax(responses) - 0.2) * RATE)]
    series = ElectricalSeries(
        name="LFP",
        description="simulated",
        data=np.rint(values * 1e-3 / VOLT).astype(np.int16).T,
        electrodes=file.create_electrode_table_region(region=list(range(len(values))), description="all"),
        conversion=VOLT,
        rate=RATE,
        starting_time=BEGIN,
    )
    container = LFP()
    file.create_processing_module(name="ecephys", description="simulated").add(container)
    container.add_electrical_series(series)
    with NWBHDF5IO(str(folder / "session.nwb"), "w") as io:
        io.write(file)


def draw_trials(draw: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw the trials: when they start (s), the side of the stimulus, the choice, and when it is made (s)."""
    starts = np.round(3 + np.cumsum(draw.uniform(2.1, 2.6, count)), 3)
    sides = np.resize(["left", "right"], count)[draw.permutation(count)]
    other = np.where(sides == "left", "right", "left")
    choices = np.where(draw.uniform(size=count) < FOLLOWS, sides, other)
    # The last trial is one that would be used.
    choices[:-1][draw.uniform(size=count - 1) < 0.08] = "none"
    responses = np.round(starts + 0.3 + draw.uniform(0.35, 0.8, count), 4)
    responses[choices == "none"] = np.nan
    return starts, sides, choices, responses


def draw_rates(
    draw: np.random.Generator,
    region: str,
    starts: np.ndarray,
    sides: np.ndarray,
    choices: np.ndarray,
    responses: np.ndarray,
    length: float,
) -> np.ndarray:
    """Draw how often each unit of a region fires.

    Returns
    -------
    ndarray, shape (units, bins of :data:`STEP`)
        In spikes per second.
    """
    count = REGIONS[region]
    times = (np.arange(round(length / STEP)) + 0.5) * STEP
    rates = np.exp(draw.normal(np.log(5.0), 0.5, count))[:, None] * np.ones((1, len(times)))
    prefers = TUNING[region] * draw.normal(size=count)
    for start, side, choice, response in zip(starts, sides, choices, responses, strict=True):
        near = slice(round(start / STEP), round((start + 2) / STEP))
        if region == "VISp":
            course = np.exp(-0.5 * ((times[near] - start - 0.45) / 0.1) ** 2)
            way = 1 if side == "right" else -1
        elif region == "MOs" and choice != "none":
            course = np.interp(times[near] - response, [-0.5, -0.05, 0.2], [0.0, 1.0, 0.0], left=0, right=0)
            way = 1 if choice == "right" else -1
        else:
            continue
        rates[:, near] *= np.exp(np.outer(1 + way * prefers, course))
    rates[count - SILENT :] = 0
    return rates


def draw_lfp(draw: np.random.Generator, choices: np.ndarray, responses: np.ndarray, length: float) -> np.ndarray:
    """Draw the local field potential.

    Returns
    -------
    ndarray, shape (electrodes, times)
        In mV, region by region.
    """
    count = round(length * RATE)
    shape = (ELECTRODES * len(REGIONS), count)
    values = 0.1 * (np.sqrt(0.5) * pink(draw, (1, count)) + np.sqrt(0.5) * pink(draw, shape))
    motor = slice(ELECTRODES * list(REGIONS).index("MOs"), ELECTRODES * (list(REGIONS).index("MOs") + 1))
    fall, slow = np.zeros(count), np.zeros(count)
    times = np.arange(count) / RATE
    for choice, response in zip(choices, responses, strict=True):
        if choice != "none":
            near = slice(round((response - 0.6) * RATE), round((response + 0.3) * RATE))
            course = np.interp(times[near] - response, [-0.5, -0.05, 0.25], [0.0, 1.0, 0.0], left=0, right=0)
            right = choice == "right"
            fall[near] += course * np.clip((0.65 if right else 0.35) + 0.2 * draw.normal(), 0, 0.95)
            slow[near] += course * (0.05 * (1 if right else -1) + 0.06 * draw.normal())
    values[motor] += 0.06 * (1 - fall) * rhythm(draw, (count,), RATE, (15, 30)) + slow
    return values

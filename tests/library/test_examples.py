"""Simulated examples: what was put in comes out, nothing is overwritten, and the committed experiments read them."""

import json
import sys
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest
from pynwb import NWBHDF5IO
from scipy.signal import welch

from metafusion import examples
from metafusion.config.load import load_experiment
from metafusion.config.source import SIMULATED, called_simulated
from metafusion.errors import UserError
from metafusion.examples import generate, nwb, odor_rats, spike_times
from metafusion.examples.__main__ import main
from metafusion.samples import check
from metafusion.sources import nwb as nwb_source
from metafusion.sources import odor_rats as odor_source
from metafusion.sources import recordings as recordings_source
from metafusion.sources import spike_times as spike_source

ROOT = Path(__file__).parents[2]
SMALL = {
    "recordings": {"people": 3, "trials": 12},
    "nwb": {"trials": 40},
    "spike_times": {"trials": 60},
    "odor_rats": {"rat": "Stella"},
}
PLACES = {
    "recordings": "data/eeg_bids",
    "nwb": "data/nwb",
    "spike_times": "data/spikes_and_lfp",
    "odor_rats": "data/odor/Stella",
}
SOURCES = {
    "recordings": recordings_source,
    "nwb": nwb_source,
    "spike_times": spike_source,
    "odor_rats": odor_source,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a small example of each kind, which tests only read."""
    folder = tmp_path_factory.mktemp("made")
    for kind, settings in SMALL.items():
        path, _ = generate(kind, folder, **settings)
        assert path == folder / PLACES[kind]
    return folder


def brainvision(folder, stem):
    path = folder / "data/eeg_bids" / f"{stem}_eeg.vhdr"
    return mne.io.read_raw_brainvision(path, preload=True, verbose="ERROR"), pd.read_csv(
        path.with_name(path.name.replace("eeg.vhdr", "events.tsv")), sep="\t"
    )


# What was put in


def test_a_recording_has_its_cues_in_the_table_and_as_markers(made):
    raw, events = brainvision(made, "sub-03/eeg/sub-03_task-motor")
    assert events["trial_type"].value_counts().to_dict() == {"left_hand": 6, "right_hand": 6, "rest": 2}
    marks = [mark for mark in raw.annotations if mark["description"].startswith("Stimulus/")]
    assert [mark["description"] for mark in marks] == [f"Stimulus/{word}" for word in events["trial_type"]]
    np.testing.assert_allclose([mark["onset"] for mark in marks], events["onset"], atol=0.5 / raw.info["sfreq"])
    assert sum(mark["description"].startswith("Bad") for mark in raw.annotations) == 1
    # The window of the last cue, 2 s long, is not there.
    assert 0 < raw.times[-1] - events["onset"].iloc[-1] < 2
    assert np.diff(events["onset"]).min() > 2.5


def test_people_have_runs_sessions_and_bad_channels_of_their_own(made):
    folder = made / "data/eeg_bids"
    stems = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.vhdr"))
    assert stems == [
        "sub-01/eeg/sub-01_task-motor_run-1_eeg.vhdr",
        "sub-01/eeg/sub-01_task-motor_run-2_eeg.vhdr",
        "sub-02/ses-1/eeg/sub-02_ses-1_task-motor_eeg.vhdr",
        "sub-02/ses-2/eeg/sub-02_ses-2_task-motor_eeg.vhdr",
        "sub-03/eeg/sub-03_task-motor_eeg.vhdr",
    ]
    bad = {
        path.relative_to(folder).parts[0]: set(pd.read_csv(path, sep="\t").query("status == 'bad'")["name"])
        for path in folder.rglob("*channels.tsv")
    }
    assert bad == {"task-motor_channels.tsv": {"Pz"}, "sub-03": {"Pz", "FC4"}}
    description = json.loads((folder / "dataset_description.json").read_text())
    assert "simulated" in description["Name"].lower()


def test_rhythms_fall_more_opposite_to_the_hand(made):
    lost = {"left_hand": [], "right_hand": []}
    for stem in ("sub-01/eeg/sub-01_task-motor_run-1", "sub-02/ses-1/eeg/sub-02_ses-1_task-motor"):
        raw, events = brainvision(made, stem)
        for row in events[events["trial_type"].isin(lost)].iloc[:-1].itertuples():
            start = round((row.onset + 0.6) * raw.info["sfreq"])
            piece = raw.get_data(["C3", "C4"])[:, start : start + round(1.4 * raw.info["sfreq"])]
            frequencies, power = welch(piece, raw.info["sfreq"], nperseg=128)
            left, right = np.log(power[:, (frequencies > 8) & (frequencies < 28)].mean(axis=1))
            lost[row.trial_type].append(right - left)
    assert np.mean(lost["left_hand"]) < np.mean(lost["right_hand"]) - 0.1


def counts_before(trains, times):
    """Spikes of each unit in the half second before each time, times x units."""
    return np.array([[((train >= time - 0.5) & (train < time)).sum() for train in trains] for time in times])


def strength(values, labels):
    """Mean over columns of the squared correlation with a label of two kinds."""
    return np.mean([np.corrcoef(column, labels)[0, 1] ** 2 for column in values.T if column.std() > 0])


def test_a_file_of_nwb_has_trials_units_and_a_signal_in_volt(made):
    with NWBHDF5IO(str(made / "data/nwb/session.nwb"), "r") as io:
        file = io.read()
        assert "Simulated" in file.session_description
        trials, units = file.trials.to_dataframe(), file.units.to_dataframe()
        series = file.processing["ecephys"]["LFP"]["LFP"]
        volt = series.data[:] * series.conversion
        begin, rate = series.starting_time, series.rate
        regions = [file.electrodes["location"][int(row.index[0])] for row in units["electrodes"]]
    assert set(trials["choice"]) == {"left", "right", "none"}
    assert (trials["response_time"].isna() == (trials["choice"] == "none")).all()
    assert pd.Series(regions).value_counts().to_dict() == {"VISp": 20, "MOs": 20, "CA1": 6}
    assert sum(len(train) == 0 for train in units["spike_times"]) == 3
    # The signal of brains is some tenths of a millivolt, and the last response is after its end.
    assert 0.5e-4 < volt.std() < 5e-4
    assert trials["response_time"].iloc[-2] < begin + len(volt) / rate < trials["response_time"].iloc[-1]
    chosen = trials[trials["choice"] != "none"]
    counts = counts_before(units["spike_times"], chosen["response_time"])
    right = (chosen["choice"] == "right").to_numpy(float)
    # Of units that know nothing it is 1 / (trials - 1) on average.
    assert strength(counts[:, np.array(regions) == "MOs"], right) > 2 / (len(right) - 1)


def test_units_fire_by_the_choice_by_the_side_or_by_neither():
    starts, responses = np.array([3.0, 6.0]), np.array([3.8, 6.8])
    for region, sides, choices, alike in (
        ("MOs", ["left", "left"], ["left", "right"], False),
        ("MOs", ["left", "right"], ["left", "left"], True),
        ("VISp", ["left", "left"], ["left", "right"], True),
        ("VISp", ["left", "right"], ["left", "left"], False),
        ("CA1", ["left", "right"], ["left", "right"], True),
    ):
        rates = nwb.draw_rates(np.random.default_rng(1), region, starts, sides, choices, responses, 10.0)
        assert np.allclose(rates[:, 660:760], rates[:, 1260:1360]) == alike, (region, sides, choices)


def test_tables_of_spikes_fit_each_other_and_the_recording(made):
    folder = made / "data/spikes_and_lfp"
    spikes, units, trials = (
        pd.read_csv(folder / f"rat1_day1_{name}.tsv", sep="\t") for name in ("spikes", "units", "trials")
    )
    raw = mne.io.read_raw_fif(folder / "rat1_day1_raw.fif", verbose="ERROR")
    assert raw.ch_names == ["CA1_1", "CA1_2", "CA1_3", "PFC_1", "PFC_2", "PFC_3"]
    assert units["region"].value_counts().to_dict() == {"CA1": 18, "PFC": 14}
    assert len(set(units["unit"]) - set(spikes["unit"])) == 4
    assert set(trials["odour"]) == set("ABCDE")
    assert set(trials["correct"]) == {0, 1}
    assert spikes["time"].is_monotonic_increasing
    assert spikes["time"].max() < raw.times[-1] + 1 / raw.info["sfreq"]
    assert trials["poke"].max() + 0.5 < raw.times[-1]
    assert (np.diff(trials["poke"]) < 0.5).sum() == 1


def test_units_fire_at_their_rates():
    rates = np.array([[0.0, 200.0, 40.0], [0.0, 0.0, 0.0]]).repeat(1000, axis=1)
    dense, silent = examples.draws.spike_times(np.random.default_rng(1), rates, 0.01)
    assert len(silent) == 0
    assert (np.diff(dense) >= 0).all()
    assert dense.min() >= 10
    # Poisson: 2000 and 400 are expected, with standard deviations of 45 and 20.
    assert abs(((dense >= 10) & (dense < 20)).sum() - 2000) < 180
    assert abs(((dense >= 20) & (dense < 30)).sum() - 400) < 80


def test_units_respond_alike_to_odours_that_they_do_not_tell_apart():
    pokes, odours = np.array([2.0, 4.0, 6.0, 8.0]), np.array(["A", "B", "C", "D"])
    for region, same, other in (("CA1", ("C", "D"), ("A", "B")), ("PFC", ("A", "B"), ("C", "D"))):
        rates = spike_times.draw_rates(np.random.default_rng(1), region, pokes, odours, 10.0)
        near = {odour: rates[:, round(poke / 0.005) :][:, :100] for poke, odour in zip(pokes, odours, strict=True)}
        np.testing.assert_allclose(near[same[0]], near[same[1]])
        assert not np.allclose(near[other[0]], near[other[1]])


# The same seed, and nothing half-written


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", ["recordings", "spike_times"])
def test_the_same_seed_gives_the_same_bytes(made, tmp_path, kind):
    again, _ = generate(kind, tmp_path, **SMALL[kind])
    assert contents(again) == contents(made / PLACES[kind])


def test_another_seed_gives_other_data(made, tmp_path):
    other, _ = generate("spike_times", tmp_path, seed=2, **SMALL["spike_times"])
    same = made / PLACES["spike_times"]
    names = ["spikes.tsv", "trials.tsv", "raw.fif"]
    assert all((other / f"rat1_day1_{one}").read_bytes() != (same / f"rat1_day1_{one}").read_bytes() for one in names)


def test_the_same_seed_gives_the_same_data_in_a_file_of_nwb(made, tmp_path):
    generate("nwb", tmp_path, **SMALL["nwb"])
    found = []
    for folder in (made, tmp_path):
        with NWBHDF5IO(str(folder / "data/nwb/session.nwb"), "r") as io:
            file = io.read()
            found.append(
                (
                    file.units["spike_times"].target.data[:],
                    file.trials["response_time"].data[:],
                    file.processing["ecephys"]["LFP"]["LFP"].data[:],
                    file.file_create_date[0],
                )
            )
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def test_what_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "data/nwb").mkdir(parents=True)
    (tmp_path / "data/nwb/mine.nwb").write_text("mine")
    with pytest.raises(UserError, match=r"data/nwb: is there already, .*; move it away"):
        generate("nwb", tmp_path)
    assert contents(tmp_path) == {Path("data/nwb/mine.nwb"): b"mine"}


def test_a_fault_on_the_way_leaves_nothing(tmp_path, monkeypatch):
    def half(folder, seed):
        (folder / "half").write_text("x")
        raise RuntimeError("stopped")

    monkeypatch.setattr(nwb, "fill", half)
    with pytest.raises(RuntimeError, match="stopped"):
        generate("nwb", tmp_path)
    assert list((tmp_path / "data").iterdir()) == []


def test_without_pynwb_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(UserError, match="needs pynwb, which is not installed; run"):
        generate("nwb", tmp_path)
    assert contents(tmp_path) == {}


def test_the_command_says_what_it_wrote_and_how_to_run_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(odor_rats, "acquire", lambda source, folder, wheels: (folder / source.rat).mkdir())
    assert main(["odor_rats", "--folder", str(tmp_path), "--rat", "Mitt"]) == 0
    printed = capsys.readouterr().out
    assert str(tmp_path / "data/odor/Mitt") in printed
    assert "simulated data, 1 files" in printed
    assert "snakemake --cores all --config experiments=odor_mitt" in printed
    assert main(["odor_rats", "--folder", str(tmp_path), "--rat", "Mitt"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["nwb", "--folder", str(tmp_path / "nowhere")]) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["nwb", "--rat", "Mitt"], ["nwb", "--seed", "-1"], ["eeg"]])
def test_arguments_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SystemExit, match="2"):
        main(wrong)


# The committed experiments


@pytest.mark.parametrize("rat", odor_rats.RATS)
def test_rats_have_the_sizes_of_the_recorded_ones(rat):
    trials, units, tetrodes = odor_rats.RATS[rat]
    rows = [line.split("|")[1:5] for line in (ROOT / "docs/data/odor_rats.md").read_text().splitlines()]
    (listed,) = [row[1:] for row in rows if row and row[0].strip() == rat]
    assert [sum(trials.values()), units, tetrodes] == [int(cell) for cell in listed]
    source = load_experiment(ROOT / f"config/experiments/{odor_rats.experiment(rat)}.yaml").source
    assert source.folder / source.rat == odor_rats.place(rat)


EXCLUDED = {
    "recordings": {
        "marked in the recording as bad interval/muscle",
        "range of a channel of type eeg over 0.0002",
        "reaches out of the recording",
    },
    "nwb": {"choice is none of left, right", "reaches out of the recording"},
    "spike_times": {
        "odour is none of A, B, C, D",
        "correct is none of 1",
        "overlaps an earlier trial",
        "range of a channel of type seeg over 0.003",
    },
    "odor_rats": {"incorrect response", "out of sequence", "no class asked for"},
}


@pytest.mark.parametrize("kind", SMALL)
def test_the_committed_experiment_reads_the_example_as_it_is(made, tmp_path, monkeypatch, kind):
    name = "odor_stella" if kind == "odor_rats" else examples.import_module(f"metafusion.examples.{kind}").experiment()
    monkeypatch.chdir(made)
    experiment = load_experiment(ROOT / f"config/experiments/{name}.yaml")
    source, module = experiment.source, SOURCES[kind]
    assert source.simulated
    folders = {}
    for unit, chunks in source.chunks.items():
        folders[unit] = [tmp_path / chunk for chunk in chunks]
        for chunk, folder in zip(chunks, folders[unit], strict=True):
            folder.mkdir()
            root = source.folder if kind == "odor_rats" else None
            module.preprocess(source, unit, chunk, root, folder)
    assembled = module.assemble(source, source.folder if kind == "odor_rats" else None, folders)
    check(assembled, experiment.task, list(experiment.representations), experiment.split.unit)
    assert set(assembled.exclusions["reason"]) == EXCLUDED[kind]
    if kind == "recordings":
        assert set(assembled.samples["session"]) == {"sub-01", "sub-02_ses-1", "sub-02_ses-2", "sub-03"}
        # Bad in one person, and so out in all.
        assert not any(column.startswith(("Pz", "FC4", "EOG")) for column in assembled.features["slow"])
        assert "FC3_mu" in assembled.features["rhythms"]


def test_data_are_called_simulated_as_long_as_the_file_lies_there_that_says_so(tmp_path, monkeypatch):
    place = tmp_path / "data/spikes_and_lfp"
    place.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    source = load_experiment(ROOT / "config/experiments/spikes_and_lfp.yaml").source
    assert not source.simulated
    (place / SIMULATED).write_text("")
    assert source.simulated
    # Four folders above a recording, as in BIDS with sessions, and no further.
    assert called_simulated([place / "sub-1/ses-1/eeg/part/a.edf"])
    assert not called_simulated([place / "sub-1/ses-1/eeg/part/of/a.edf"])

"""Tables of spike times beside a recording: what is read, counted, cut, left out and refused."""

import logging
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from metafusion.config.spikes import SpikeTimes
from metafusion.errors import UserError
from metafusion.files import read_table
from metafusion.samples import Assembled, check
from metafusion.sources.spike_times import assemble, preprocess
from metafusion.sources.trials import read_session

RATE = 200.0
ONSETS = np.arange(1.0, 9.0)
"""Trials of 0.5 s, each a second after the other, of the classes A and B in turn."""
SPIKES = {"ca1_1": [1.0, 1.1, 2.3, 2.5, 8.49], "ca1_2": [3.2], "pfc_1": [0.2, 1.7], "pfc_2": [1.25, 8.0]}
"""Of these, 2.5 lies on the stop of a trial, and those of ``pfc_1`` between trials."""
TOTAL = {"ca1_1": [2, 1, 0, 0, 0, 0, 0, 1], "ca1_2": [0, 0, 1, 0, 0, 0, 0, 0], "pfc_2": [1, 0, 0, 0, 0, 0, 0, 1]}


def spikes_table(spikes=SPIKES) -> pd.DataFrame:
    rows = [(unit, time) for unit, times in spikes.items() for time in times]
    return pd.DataFrame(rows, columns=["unit", "time"])


def trials_table(onsets=ONSETS) -> pd.DataFrame:
    return pd.DataFrame({"onset": onsets, "odour": np.resize(["A", "B"], len(onsets))})


def units_table() -> pd.DataFrame:
    return pd.DataFrame({"unit": list(SPIKES), "region": ["CA1", "CA1", "PFC", "PFC"], "quality": [1, 0, 1, 1]})


def write(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False)
    return path


def write_recording(path: Path, names=("a1", "a2", "b1"), duration=10.0) -> np.ndarray:
    """Write noise with a burst of 40 Hz in channel a1 around 3 s; return the samples in volt."""
    times = np.arange(round(duration * RATE)) / RATE
    data = np.random.default_rng(1).normal(0, 1e-6, (len(names), len(times)))
    burst = (times >= 3) & (times < 3.5)
    data[0, burst] += 50e-6 * np.sin(2 * np.pi * 40 * times[burst])
    raw = mne.io.RawArray(data, mne.create_info(list(names), RATE, "seeg"), verbose="ERROR")
    raw.save(path, fmt="double", overwrite=True, verbose="ERROR")
    return data


class Lab:
    """Files of a session, and the source that reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session = {
            "spikes": write(spikes_table(), folder / "spikes.tsv"),
            "trials": write(trials_table(), folder / "trials.csv"),
            "subject": "rat1",
        }
        self.settings = {"trials": {"label": "odour"}, "window": (0, 0.5), "bin_width": 0.1}

    def source(self, **settings) -> SpikeTimes:
        content = {"kind": "spike_times", "sessions": {"day1": self.session}} | self.settings | settings
        return SpikeTimes.model_validate(content)

    def run(self, name: str = "out", chunk: str = "day1", **settings):
        folder = self.folder / name
        folder.mkdir()
        preprocess(self.source(**settings), "session", chunk, None, folder)
        return read_session(folder)

    def spikes(self, table: pd.DataFrame) -> None:
        write(table, self.session["spikes"])

    def trials(self, table: pd.DataFrame) -> None:
        write(table, self.session["trials"])

    def record(self, **options) -> np.ndarray:
        self.session["recording"] = self.folder / "lfp_raw.fif"
        return write_recording(self.session["recording"], **options)


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


# Spikes


def test_spikes_are_counted_by_trial_and_unit(lab):
    session = lab.run()
    assert list(session.trials["target"]) == ["A", "B"] * 4
    assert list(session.trials["sample"]) == [f"rat1_day1_{number:04d}" for number in range(1, 9)]
    table = session.features["spikes"].set_index("sample")
    assert list(table) == ["ca1_1", "ca1_2", "pfc_1", "pfc_2"]
    for unit, counts in TOTAL.items():
        assert table[unit].tolist() == counts
    assert session.spikes.counts.sum(axis=(0, 2)).tolist() == [4, 1, 0, 2]
    np.testing.assert_allclose(session.spikes.edges, [0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_silent_units_are_named(lab, caplog):
    with caplog.at_level(logging.WARNING, "metafusion"):
        session = lab.run()
    assert "session day1: 1 of 4 units have no spike in any trial: pfc_1" in caplog.text
    table = read_table(session.folder / "silent_units.tsv")
    assert table.to_dict("records") == [{"session": "day1", "name": "pfc_1", "spikes": 2}]


def test_units_are_grouped_by_the_columns_of_their_table_and_by_name(lab):
    lab.session["units"] = write(units_table(), lab.folder / "units.tsv")
    groups = {
        "hippocampus": {"where": {"region": ["CA1"]}},
        "good": {"where": {"quality": [1]}, "units": ["ca*", "pfc_2"]},
        "early": {"units": ["ca1_1"], "count": "bins", "bins": 5},
    }
    features = lab.run(spikes=groups).features
    assert list(features["hippocampus"]) == ["sample", "ca1_1", "ca1_2"]
    assert list(features["good"]) == ["sample", "ca1_1", "pfc_2"]
    assert features["early"].iloc[0, 1:].tolist() == [1, 1, 0, 0, 0]


def test_a_unit_of_the_table_without_any_spike_is_a_silent_unit(lab):
    table = pd.concat([units_table(), pd.DataFrame({"unit": ["mute"], "region": ["CA1"], "quality": [1]})])
    lab.session["units"] = write(table, lab.folder / "units.csv")
    assert lab.run().features["spikes"]["mute"].tolist() == [0] * 8


def test_units_that_are_not_in_the_table_are_not_used(lab):
    lab.session["units"] = write(units_table().iloc[:2], lab.folder / "units.csv")
    assert list(lab.run().features["spikes"]) == ["sample", "ca1_1", "ca1_2"]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_the_order_and_the_format_of_spikes_do_not_matter(lab, ending):
    expected = lab.run().features["spikes"]
    shuffled = spikes_table().sample(frac=1, random_state=3)
    lab.session["spikes"] = write(shuffled, lab.folder / f"spikes{ending}")
    pd.testing.assert_frame_equal(lab.run("again").features["spikes"], expected)


def test_units_that_are_numbers_stand_in_their_natural_order(lab):
    lab.spikes(pd.DataFrame({"unit": [10, 9, 2], "time": [1.0, 1.1, 1.2]}))
    assert list(lab.run().features["spikes"]) == ["sample", "2", "9", "10"]


def test_a_unit_is_one_whether_a_table_writes_it_as_a_whole_number_or_with_a_decimal(lab):
    lab.spikes(pd.DataFrame({"unit": ["0.0", "7.0", "7", "07"], "time": [1.0, 1.1, 1.2, 2.1]}))
    lab.session["units"] = write(pd.DataFrame({"unit": ["0", "7.0", "07", "1.5"]}), lab.folder / "units.csv")
    table = lab.run().features["spikes"]
    assert list(table) == ["sample", "0", "7", "07", "1.5"]
    assert table[["0", "7", "07"]].sum().tolist() == [1, 2, 1]


def test_times_may_be_in_milliseconds_and_by_a_clock_of_their_own(lab):
    expected = lab.run().features["spikes"]
    table = spikes_table()
    lab.spikes(table.assign(time=(table["time"] - 100.25) * 1000))
    lab.session["spikes_offset"] = 100.25
    pd.testing.assert_frame_equal(lab.run("again", ticks_per_second=1000).features["spikes"], expected)


def test_milliseconds_where_seconds_were_expected_are_told(lab):
    table = spikes_table()
    lab.spikes(table.assign(time=table["time"] * 1000))
    with pytest.raises(
        UserError,
        # The last spike is at 8.49 s, and the last trial ends at 8.5 s.
        match=r"spikes\.tsv: no unit has a spike in any trial: .* like milliseconds, .* is 1; .* about 999\)",
    ):
        lab.run()


def test_samples_where_seconds_were_expected_are_told_with_the_key(lab):
    table = spikes_table()
    lab.spikes(table.assign(time=table["time"] * 30000))
    with pytest.raises(
        UserError, match=r"look like samples, and 'ticks_per_second' is 1; set it to .* 2[89][0-9]{3}\)"
    ):
        lab.run()


def test_seconds_that_were_divided_by_ticks_are_told_as_such(lab):
    with pytest.raises(
        UserError, match=r"divided by 'ticks_per_second' \(30000\).* had been seconds before; set .*: 1'"
    ):
        lab.run(ticks_per_second=30000)


def test_spikes_by_another_clock_are_told_with_the_key_of_the_offset(lab):
    table = spikes_table()
    lab.spikes(table.assign(time=table["time"] + 20))
    with pytest.raises(
        UserError, match=r"no unit has a spike in any trial: .*set 'spikes_offset' of the session to what"
    ):
        lab.run("a")
    lab.spikes(table.assign(time=(table["time"] + 20) * 1000))
    with pytest.raises(UserError, match=r"set 'spikes_offset' .*, or correct 'ticks_per_second' \(1000\)"):
        lab.run("b", ticks_per_second=1000)


def test_milliseconds_are_told_also_where_some_spikes_fall_into_trials_by_chance(lab):
    lab.spikes(pd.DataFrame({"unit": "a", "time": [1.1, 2.2, *range(10, 9000, 50)]}))
    with pytest.raises(UserError, match="no unit has a spike in 6 of 8 trials"):
        lab.run()


def test_onsets_in_milliseconds_are_told(lab):
    lab.trials(trials_table(ONSETS * 1000))
    with pytest.raises(UserError, match=r"onsets look like milliseconds .* turn the column 'onset' \(trials\.onset\)"):
        lab.run("a")
    lab.trials(trials_table(ONSETS * 30000))
    with pytest.raises(UserError, match=r"onsets look like samples .*\(trials\.onset\) into seconds"):
        lab.run("b")


def test_negative_times_are_told_and_count_where_a_trial_reaches_them(lab, caplog):
    lab.spikes(pd.DataFrame({"unit": "a", "time": [-0.05, 1.0]}))
    lab.trials(trials_table(np.array([-0.1, 1.0])))
    with caplog.at_level(logging.WARNING, "metafusion"):
        session = lab.run()
    assert session.features["spikes"]["a"].tolist() == [1, 1]
    assert "1 spikes have negative times" in caplog.text


def test_trials_outside_of_what_was_recorded_lack_the_spikes(lab):
    lab.session["spikes_recorded"] = (1.5, 7.5)
    session = lab.run()
    assert len(session.trials) == 8
    assert len(session.features["spikes"]) == len(session.spikes.counts) == 6
    assert session.excluded[["sample", "modality", "reason"]].to_numpy().tolist() == [
        ["rat1_day1_0001", "spikes", "reaches out of the recording of spikes"],
        ["rat1_day1_0008", "spikes", "reaches out of the recording of spikes"],
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (spikes_table().assign(time=[np.nan, *range(9)]), r"'time' has no finite number in 1 of 10 rows, .* row 2;"),
        (
            spikes_table().assign(time=[0.5, np.inf, *range(8)]),
            r"'time' has no finite number in 1 of 10 rows, .* row 3",
        ),
        (spikes_table().assign(unit=["a", None] * 5), r"'unit' has no name in 5 of 10 rows, the first is row 3"),
        (spikes_table().assign(time="soon"), r"column 'time' holds 'soon'; expected times"),
        (spikes_table().rename(columns={"time": "seconds"}), r"no column 'time' \(time_column\)"),
        (spikes_table().rename(columns={"unit": "cell"}), r"no column 'unit' \(unit_column\)"),
        (spikes_table().iloc[:0], "no rows"),
    ],
)
def test_tables_of_spikes_that_cannot_be_used_are_refused(lab, table, message):
    lab.spikes(table)
    with pytest.raises(UserError, match=message) as raised:
        lab.run()
    assert "spikes.tsv" in str(raised.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.concat([units_table(), units_table()]), r"ca1_1, ca1_2, pfc_1 and 1 more stands more than once"),
        (units_table().assign(unit=["w", "x", "y", "z"]), r"has none of the units of .*: found w, x, y and 1 more"),
        (units_table().drop(columns="region"), r"no column 'region' \(spikes\.where\)"),
        (units_table().assign(region="CA3"), r"where\.region: 'CA1' is in no row; did you mean 'CA3'"),
        (units_table().assign(unit=["a", None, "b", "c"]), r"has no name in row 3"),
    ],
)
def test_tables_of_units_that_cannot_be_used_are_refused(lab, table, message):
    lab.session["units"] = write(table, lab.folder / "units.csv")
    with pytest.raises(UserError, match=message):
        lab.run(spikes={"ca1": {"where": {"region": ["CA1"]}}})


def test_units_that_do_not_exist_are_refused_with_those_that_do(lab):
    with pytest.raises(UserError, match=r"spikes\.x: no unit is called 'ca2\*'; .*Known: ca1_1, ca1_2, pfc_1, pfc_2"):
        lab.run(spikes={"x": {"units": ["ca2*"]}})


def test_regions_of_units_need_a_table_of_units(lab):
    with pytest.raises(UserError, match="the session has no table of units"):
        lab.run(spikes={"x": {"where": {"region": ["CA1"]}}})


def test_bins_of_the_counts_must_divide_the_window(lab):
    with pytest.raises(UserError, match=r"bin_width: 0\.3 s does not divide the window"):
        lab.run(bin_width=0.3)


def test_a_unit_must_not_be_called_as_the_column_of_samples(lab):
    lab.spikes(pd.DataFrame({"unit": "sample", "time": ONSETS}))
    with pytest.raises(UserError, match="must not be called 'sample'"):
        lab.run()


# Trials


def test_trials_are_left_out_with_their_reason(lab):
    table = trials_table().assign(
        correct=[1, 0, 1, 1, 1, 1, 1, None],
        artefact=[0, 0, 1, 0, 0, 0, 0, 0],
        part=["", "", "", "", "", "test", "", ""],
    )
    table.loc[3, "onset"] = np.nan
    table.loc[4, "odour"] = ""
    table.loc[6, "onset"] = 6.2
    lab.trials(table)
    columns = {"label": "odour", "keep": {"correct": [1]}, "drop": ["artefact"], "part": "part"}
    session = lab.run(trials=columns)
    assert list(session.trials["sample"]) == ["rat1_day1_0001", "rat1_day1_0006"]
    assert session.trials["given_part"].tolist()[1] == "test"
    assert pd.isna(session.trials["given_part"][0])
    reasons = session.excluded.set_index("sample")["reason"].to_dict()
    assert reasons == {
        "rat1_day1_0002": "correct is none of 1",
        "rat1_day1_0003": "marked in artefact",
        "rat1_day1_0004": "no onset",
        "rat1_day1_0005": "no label",
        "rat1_day1_0007": "overlaps an earlier trial",
        "rat1_day1_0008": "correct is none of 1",
    }
    assert session.excluded["modality"].isna().all()


def test_a_trial_that_begins_where_the_last_one_ended_does_not_overlap_it(lab):
    lab.trials(trials_table(np.array([1.0, 1.5, 2.0, 2.4, 2.5])))
    session = lab.run()
    assert list(session.trials["sample"].str[-4:]) == ["0001", "0002", "0003", "0005"]
    assert list(lab.run("all", cleaning={"overlap": "allow"}).trials["sample"].str[-4:])[3] == "0004"


def test_the_baseline_of_signals_belongs_to_a_trial(lab):
    lab.trials(trials_table(np.array([1.0, 1.6, 2.2, 2.8])))
    lab.record()
    cleaning = {"baseline": (-0.2, 0)}
    session = lab.run(signals={"lfp": {"types": ["seeg"], "bins": 2}}, cleaning=cleaning)
    assert list(session.trials["sample"].str[-4:]) == ["0001", "0003"]
    # Spikes have none.
    assert len(lab.run("spikes", cleaning=cleaning).trials) == 4


def test_values_to_keep_may_be_truth_values_or_words(lab):
    lab.trials(trials_table().assign(correct=[True, False] * 4, dose=["low", "high", "none", "none"] * 2))
    columns = {"label": "odour", "keep": {"correct": [True], "dose": ["low", "high"]}}
    assert list(lab.run(trials=columns).trials["sample"].str[-1]) == ["1", "5"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": "odor"}, r"trials\.csv: no column 'odor' \(trials\.label\); did you mean 'odour'"),
        ({"label": "odour", "onset": "start"}, r"no column 'start' \(trials\.onset\)"),
        ({"label": "odour", "keep": {"odour": ["a"]}}, r"keep\.odour: 'a' is in no row; .*Known: A, B"),
        ({"label": "odour", "drop": ["odour"]}, r"drop: column 'odour' holds 'A'; expected true and false"),
        ({"label": "odour", "onset": "odour"}, r"column 'odour' holds 'A'; expected an onset in seconds"),
    ],
)
def test_trials_that_cannot_be_used_are_refused(lab, columns, message):
    with pytest.raises(UserError, match=message):
        lab.run(trials=columns)


def test_no_trial_left_is_told_with_counts(lab):
    lab.trials(trials_table().assign(artefact=1))
    with pytest.raises(UserError, match=r"none of 8 trials is left: marked in artefact \(8 trials\); mend"):
        lab.run(trials={"label": "odour", "drop": ["artefact"]})


def test_a_class_with_fewer_than_three_trials_is_refused_when_samples_are_checked(lab):
    lab.trials(trials_table().assign(odour=["A", "B", "A", "B", "A", "A", "A", "A"]))
    lab.run()
    assembled = assemble(lab.source(), None, {"session": [lab.folder / "out"]})
    with pytest.raises(UserError, match=r"classes with fewer than 3 samples \('B': 2\)"):
        check(assembled, "classification", ["spikes"], "sample")


# The signal beside the spikes


def test_trials_of_the_signal_are_its_samples_around_the_onsets(lab):
    data = lab.record()
    lab.session["recording_start"] = -0.5
    session = lab.run(signals={"lfp": {"channels": ["a*"], "samples": True}})
    epochs = session.epochs
    assert epochs.ch_names == ["a1", "a2"]
    assert epochs.metadata["sample"].tolist() == list(session.trials["sample"])
    expected = np.stack([data[:2, round((o + 0.5) * RATE) :][:, : round(0.5 * RATE)] for o in ONSETS])
    np.testing.assert_allclose(epochs.get_data(copy=True), expected, atol=1e-11)
    table = session.features["lfp"]
    assert table.shape == (8, 1 + 2 * 100)
    np.testing.assert_allclose(table.iloc[:, 1:], expected.reshape(8, -1) * 1e6, rtol=1e-4, atol=1e-4)


def test_a_burst_shows_in_its_band_channel_and_trial(lab):
    lab.record()
    bands = {"theta": [4, 12], "gamma": [35, 45]}
    signals = {"lfp": {"types": ["seeg"], "bands": bands}}
    table = lab.run(signals=signals).features["lfp"].set_index("sample")
    assert table["a1_gamma"].argmax() == 2
    assert (table["a1_gamma"] - table["a2_gamma"]).iloc[2] > 2
    assert abs(table["a1_gamma"] - table["a2_gamma"]).drop(table.index[2]).max() < 1
    assert abs(table["a1_theta"] - table["a2_theta"]).max() < 1.5


def test_trials_outside_of_the_recording_lack_the_signal_only(lab):
    lab.record(duration=5.2)
    session = lab.run(signals={"lfp": {"types": ["seeg"], "bins": 5}})
    assert len(session.trials) == len(session.features["spikes"]) == 8
    assert len(session.features["lfp"]) == 4
    lacking = session.excluded
    assert list(lacking["sample"].str[-1]) == ["5", "6", "7", "8"]
    assert set(lacking["modality"]) == {"lfp"}
    assert set(lacking["reason"]) == {"reaches out of the recording"}


def test_trials_without_a_required_modality_are_out(lab):
    lab.record(duration=5.2)
    settings = {"signals": {"lfp": {"types": ["seeg"], "bins": 5}}, "require": ["lfp"]}
    lab.run(**settings)
    assembled = assemble(lab.source(**settings), None, {"session": [lab.folder / "out"]})
    assert len(assembled.samples) == 4
    out = assembled.exclusions[assembled.exclusions["modality"] == ""]
    assert out["reason"].tolist() == ["without lfp"] * 4


def test_bad_channels_are_left_out(lab):
    lab.record()
    settings = {"signals": {"lfp": {"types": ["seeg"], "bins": 1}}, "cleaning": {"bad_channels": {"day1": ["a2"]}}}
    assert list(lab.run(**settings).features["lfp"]) == ["sample", "a1_t0.25", "b1_t0.25"]
    settings["signals"]["lfp"] = {"channels": ["a2"], "bins": 1}
    with pytest.raises(UserError, match=r"signals\.lfp: all of its channels are bad, or the reference \(a2\)"):
        lab.run("again", **settings)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"channels": ["c*"]}, r"signals\.lfp\.channels: no channel is called 'c\*'; Known: a1, a2, b1"),
        ({"types": ["eeg"]}, r"signals\.lfp\.types: no channel has 'eeg'; .*Known: seeg"),
    ],
)
def test_channels_that_do_not_exist_are_refused_with_those_that_do(lab, group, message):
    lab.record()
    with pytest.raises(UserError, match=message):
        lab.run(signals={"lfp": {"bins": 1} | group})


def test_channels_may_be_given_their_types(lab):
    lab.record()
    settings = {"channel_types": {"b*": "eeg"}, "signals": {"eeg": {"types": ["eeg"], "bins": 1}}}
    assert list(lab.run(**settings).features["eeg"]) == ["sample", "b1_t0.25"]


def test_a_recording_that_is_cut_short_is_refused(lab):
    lab.record()
    whole = lab.session["recording"].read_bytes()
    lab.session["recording"].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"lfp_raw\.fif: .*truncated"):
        lab.run(signals={"lfp": {"types": ["seeg"], "bins": 1}})


def test_the_same_files_give_the_same_bytes(lab):
    lab.record()
    signals = {"lfp": {"types": ["seeg"], "bands": {"gamma": [35, 45]}}}
    one, two = (lab.run(name, signals=signals).folder for name in ("one", "two"))
    names = sorted(path.name for path in one.iterdir())
    assert "trials-epo.fif" in names
    assert "spikes.safetensors" in names
    assert [name for name in names if (one / name).read_bytes() != (two / name).read_bytes()] == []


# Sessions


def assembled_of_two(lab: Lab, **settings) -> Assembled:
    other = Lab(lab.folder)
    other.session = lab.session | {"subject": "rat2"}
    sessions = {"day1": lab.session, "day2": other.session}
    for chunk in sessions:
        lab.run(chunk, chunk, sessions=sessions, same_units=True, **settings)
    source = lab.source(sessions=sessions, same_units=True, **settings)
    return assemble(source, None, {"session": [lab.folder / chunk for chunk in source.chunks["session"]]})


def test_sessions_are_joined(lab):
    assembled = assembled_of_two(lab)
    assert assembled.samples["session"].tolist() == ["day1"] * 8 + ["day2"] * 8
    assert assembled.samples["subject"].tolist() == ["rat1"] * 8 + ["rat2"] * 8
    assert assembled.samples["sample"].is_unique
    assert assembled.features["spikes"]["ca1_1"].tolist() == TOTAL["ca1_1"] * 2
    check(assembled, "classification", ["spikes"], "sample")


def test_units_of_several_sessions_are_one_only_if_that_is_said(lab):
    sessions = {"day1": lab.session, "day2": lab.session}
    with pytest.raises(ValidationError, match="units of different sessions are different neurons"):
        lab.source(sessions=sessions)


def test_a_session_without_recording_lacks_the_signal(lab):
    lab.record()
    sessions = {"day1": lab.session, "day2": {key: one for key, one in lab.session.items() if key != "recording"}}
    settings = {
        "sessions": sessions,
        "same_units": True,
        "signals": {"lfp": {"types": ["seeg"], "bins": 1}},
    }
    for chunk in sessions:
        lab.run(chunk, chunk, **settings)
    assembled = assemble(lab.source(**settings), None, {"session": [lab.folder / chunk for chunk in sessions]})
    assert len(assembled.features["spikes"]) == 16
    assert set(assembled.features["lfp"]["sample"]) == set(assembled.samples.loc[:7, "sample"])


def test_a_new_session_leaves_the_others_as_they_are(lab):
    one = lab.source()
    two = lab.source(sessions={"day1": lab.session, "day2": lab.session}, same_units=True)
    assert one.settings_of("session", "day1")["session"]["subject"] == "rat1"
    assert one.inputs_of("session", "day1") == two.inputs_of("session", "day1")
    plain = {key: path for key, path in lab.session.items() if key != "subject"}
    few = lab.source(sessions={"day1": plain}).settings_of("session", "day1")
    many = lab.source(sessions={"day1": plain, "day2": lab.session}, same_units=True)
    assert few == many.settings_of("session", "day1") != many.settings_of("session", "day2")


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"signals": {"spikes": {"types": ["eeg"], "bins": 1}}}, "stands in 'spikes' and in 'signals'"),
        ({"signals": {"lfp": {"types": ["eeg"], "bins": 1}}}, "no session has a 'recording'"),
        ({"require": ["lfp"]}, "require: no modality 'lfp'"),
        ({"spikes": {}}, "there is no modality"),
        ({"spikes": {"trials": {}}}, "a modality cannot be called 'trials'"),
        ({"spikes": {"x": {"rate": True, "transform": "anscombe"}}}, "transform: 'anscombe' is for counts"),
        ({"window": (0.5, 0)}, "the lower number must come first"),
        ({"cleaning": {"bad_channels": {"day2": ["a1"]}}}, "no session 'day2'"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(lab, settings, message):
    with pytest.raises(ValidationError, match=message):
        lab.source(**settings)

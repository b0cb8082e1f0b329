"""Files of Neurodata Without Borders: what is read, counted, cut and refused."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import h5py
import mne
import numpy as np
import pandas as pd
import pytest
from pynwb import NWBHDF5IO, NWBFile
from pynwb.ecephys import LFP, ElectricalSeries
from pynwb.file import Subject
from scipy.signal import resample_poly

from metafusion.config.spikes import Nwb
from metafusion.errors import UserError
from metafusion.sources import nwb
from metafusion.sources.nwb import assemble, preprocess
from metafusion.sources.trials import read_session

RATE = 250.0
ONSETS = np.arange(20.0, 28.0)
"""Trials of 0.5 s."""
BEGIN = 5.0
"""Second at which the signal begins."""
UNITS = {"VISp": [[20.0, 20.1, 23.5], [21.2]], "MOs": [[22.05, 27.3]]}
"""Times of the units' spikes, by region; 23.5 lies on the stop of a trial."""


def write(path: Path, **but) -> np.ndarray:
    """Write a file of a session, and return its signal in volt (samples x 4 channels).

    ``but`` changes it: ``subject``, ``trials``, ``units``, ``onsets``, ``labels``, ``spikes``, ``timestamps``,
    ``series`` (names), ``conversion``, ``regions_of_units``, ``names``.
    """
    file = NWBFile(session_description="x", identifier="x", session_start_time=datetime(2020, 1, 1, tzinfo=UTC))
    if but.get("subject", "mouse 1"):
        file.subject = Subject(subject_id=but.get("subject", "mouse 1"), species="Mus musculus", sex="U", age="P90D")
    device = file.create_device(name="probe")
    regions = ["VISp", "VISp", "MOs", "MOs"]
    groups = {
        name: file.create_electrode_group(name=f"shank_{name}", description="x", location=name, device=device)
        for name in dict.fromkeys(regions)
    }
    if "names" in but:
        file.add_electrode_column(name="channel_name", description="x")
    for number, region in enumerate(regions):
        named = {"channel_name": but["names"][number]} if "names" in but else {}
        file.add_electrode(location=region, group=groups[region], **named)
    count = 8500
    stored = np.random.default_rng(1).integers(-300, 300, (count, 4)).astype(np.int16)
    conversion = but.get("conversion", 1e-6)
    for name in but.get("series", ["LFP"]):
        times = but.get("timestamps")
        timing = {"rate": RATE, "starting_time": BEGIN} if times is None else {"timestamps": times}
        series = ElectricalSeries(
            name=name,
            data=stored,
            electrodes=file.create_electrode_table_region(region=[0, 1, 2, 3], description="x"),
            conversion=conversion,
            channel_conversion=[1.0, 1.0, 2.0, 1.0],
            **timing,
        )
        if name == "LFP":
            file.create_processing_module(name="ecephys", description="x").add(LFP(electrical_series=series))
        else:
            file.add_acquisition(series)
    if but.get("trials", True):
        onsets = but.get("onsets", ONSETS)
        labels = but.get("labels", np.resize(["left", "right"], len(onsets)))
        file.add_trial_column(name="choice", description="x")
        file.add_trial_column(name="correct", description="x")
        for number, (onset, label) in enumerate(zip(onsets, labels, strict=True)):
            file.add_trial(start_time=onset, stop_time=onset + 0.5, choice=label, correct=number != 3)
    if but.get("units", True):
        file.add_unit_column(name="quality", description="x")
        for region, trains in but.get("spikes", UNITS).items():
            for train in trains:
                known = {"electrodes": [regions.index(region)]} if but.get("regions_of_units", True) else {}
                file.add_unit(spike_times=train, quality="good" if len(train) > 1 else "poor", **known)
    with NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    return stored * conversion * np.array([1.0, 1.0, 2.0, 1.0])


def source_of(*paths: Path, **settings) -> Nwb:
    content = {"kind": "nwb", "files": [str(path) for path in paths], "trials": {"label": "choice"}}
    return Nwb.model_validate(content | {"window": (0, 0.5), "bin_width": 0.1} | settings)


def run(path: Path, **settings):
    source = source_of(path, **settings)
    folder = path.parent / f"out_{len(list(path.parent.glob('out_*')))}"
    folder.mkdir()
    (chunk,) = source.chunks["session"]
    preprocess(source, "session", chunk, None, folder)
    return read_session(folder)


def test_a_series_whose_conversion_to_volt_is_missing_is_told(tmp_path, caplog):
    write(tmp_path / "s.nwb", conversion=1.0)
    run(tmp_path / "s.nwb", signals=SIGNALS)
    assert "session 's': channels of type seeg have a range of" in caplog.text
    assert "expected 1e-07 to 0.1 V, and they may be numbers of uV" in caplog.text


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a file that tests only read, and its signal."""
    path = tmp_path_factory.mktemp("nwb") / "ses-1_behavior+ecephys.nwb"
    return path, write(path)


SIGNALS = {"lfp": {"samples": True}}


# Trials and spikes


def test_spikes_are_counted_by_trial_and_unit(plain):
    session = run(plain[0])
    assert list(session.trials["sample"]) == [f"mouse_1_ses-1_behavior_ecephys_{n:04d}" for n in range(1, 9)]
    assert set(session.trials["subject"]) == {"mouse_1"}
    assert list(session.trials["target"]) == ["left", "right"] * 4
    table = session.features["spikes"]
    assert list(table) == ["sample", "0", "1", "2"]
    assert table["0"].tolist() == [2, 0, 0, 0, 0, 0, 0, 0]
    assert table["1"].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert table["2"].tolist() == [0, 0, 1, 0, 0, 0, 0, 1]


def test_units_are_grouped_by_the_region_of_their_electrodes_and_by_their_columns(plain):
    groups = {"visual": {"where": {"location": ["VISp"]}}, "good": {"where": {"quality": ["good"]}}}
    features = run(plain[0], spikes=groups).features
    assert list(features["visual"]) == ["sample", "0", "1"]
    assert list(features["good"]) == ["sample", "0", "2"]


def test_regions_that_do_not_exist_are_refused_with_those_that_do(plain):
    with pytest.raises(UserError, match=r"where\.location: 'CA1' is in no row; Known: MOs, VISp"):
        run(plain[0], spikes={"x": {"where": {"location": ["CA1"]}}})


def test_columns_of_units_that_do_not_exist_are_refused_with_those_that_do(plain):
    with pytest.raises(UserError, match=r"no column 'region' \(spikes\.where\); .*Known: .*location.*quality"):
        run(plain[0], spikes={"x": {"where": {"region": ["CA1"]}}})


def test_units_without_electrodes_have_no_region(tmp_path):
    write(tmp_path / "a.nwb", regions_of_units=False)
    with pytest.raises(UserError, match="does not say which electrodes they are of"):
        run(tmp_path / "a.nwb", spikes={"x": {"where": {"location": ["VISp"]}}})


def test_trials_to_keep_may_be_truth_values(plain):
    session = run(plain[0], trials={"label": "choice", "keep": {"correct": [True]}})
    assert len(session.trials) == 7
    assert session.excluded["reason"].tolist() == ["correct is none of true"]


def test_trials_without_onset_or_label_are_left_out(tmp_path):
    onsets = ONSETS.copy()
    onsets[1] = np.nan
    write(tmp_path / "a.nwb", onsets=onsets, labels=["left", "right", "", "left", "right", "left", "n/a", "left"])
    session = run(tmp_path / "a.nwb")
    assert session.excluded["reason"].tolist() == ["no onset", "no label", "no label"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": "side"}, r"no column 'side' \(trials\.label, table 'trials'\); .*Known: choice, correct"),
        ({"label": "choice", "table": "epochs"}, r"no table of intervals 'epochs' \(trials\.table\); Known: trials"),
        ({"label": "choice", "onset": "choice"}, r"column 'choice' holds 'left'; expected an onset in seconds"),
    ],
)
def test_trials_that_cannot_be_used_are_refused(plain, settings, message):
    with pytest.raises(UserError, match=message):
        run(plain[0], trials=settings)


# Signals


def test_trials_of_the_signal_are_its_samples_in_volt(plain):
    path, data = plain
    session = run(path, signals={"lfp": {"samples": True, "regions": ["MOs"]}})
    starts = np.round((ONSETS - BEGIN) * RATE).astype(int)
    expected = np.stack([data[start : start + 125, 2:].T for start in starts])
    assert session.epochs.ch_names == ["2", "3"]
    np.testing.assert_allclose(session.epochs.get_data(copy=True), expected, rtol=1e-6)
    np.testing.assert_allclose(session.features["lfp"].iloc[:, 1:], expected.reshape(8, -1) * 1e6, rtol=1e-5)


def test_electrodes_are_called_as_their_column_says(tmp_path):
    write(tmp_path / "a.nwb", names=["A1", "A2", "B1", "B2"])
    session = run(tmp_path / "a.nwb", signals={"lfp": {"bins": 1, "channels": ["A*", "B2"]}})
    assert list(session.features["lfp"]) == ["sample", "A1_t0.25", "A2_t0.25", "B2_t0.25"]


def test_what_is_read_around_trials_is_filtered_as_the_whole_signal_would_be(tmp_path):
    # The first and the last trial lie at the ends of the signal, nearer than the filter is long.
    onsets = np.array([5.1, 20.0, 21.0, 38.0])
    data = write(tmp_path / "a.nwb", onsets=onsets)
    cleaning = {"highpass": 2, "lowpass": 60, "notch": [50], "resample": 125}
    session = run(tmp_path / "a.nwb", window=(0.1, 0.5), spikes={}, signals=SIGNALS, cleaning=cleaning)
    whole = mne.filter.notch_filter(data.T, RATE, [50], verbose="ERROR")
    whole = mne.filter.filter_data(whole, RATE, 2, 60, verbose="ERROR")
    # Every onset is on a sample; resampled, one of them is on the event again.
    starts = np.round((onsets - BEGIN) * RATE).astype(int)
    resampled = [resample_poly(whole[:, start % 2 :], 1, 2, axis=-1) for start in starts]
    expected = np.stack([one[:, start // 2 + 13 :][:, :50] for one, start in zip(resampled, starts, strict=True)])
    found = session.epochs.get_data(copy=True)
    assert found.shape == (4, 4, 50)
    np.testing.assert_allclose(found[1:3], expected[1:3], atol=1e-9)
    # Nearer to the ends, only what lies beyond them differs between the two.
    np.testing.assert_allclose(found[::3, :, 10:40], expected[::3, :, 10:40], atol=1e-6)


def test_only_the_stretches_around_trials_are_read(tmp_path, monkeypatch):
    write(tmp_path / "a.nwb", onsets=[20.0, 30.0, 38.0])
    read = []
    true = nwb._in_volt
    monkeypatch.setattr(
        nwb, "_in_volt", lambda s, start, stop, c: read.append((start, stop)) or true(s, start, stop, c)
    )
    run(tmp_path / "a.nwb", spikes={}, signals=SIGNALS)
    assert len(read) == 3
    assert sum(stop - start for start, stop in read) < 3 * 140


def test_a_long_stretch_is_read_piece_by_piece(plain, monkeypatch):
    path, data = plain
    read, true = [], nwb._in_volt
    monkeypatch.setattr(nwb, "AT_ONCE", 64)
    monkeypatch.setattr(nwb, "_in_volt", lambda s, start, stop, c: read.append(stop - start) or true(s, start, stop, c))
    found = run(path, spikes={}, signals=SIGNALS).epochs.get_data(copy=True)
    starts = np.round((ONSETS - BEGIN) * RATE).astype(int)
    expected = np.stack([data[start : start + found.shape[-1]].T for start in starts])
    assert max(read) == 64
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_a_window_that_does_not_hold_the_onset_is_cut_where_it_is(plain):
    path, data = plain
    session = run(path, spikes={}, window=(2, 2.5), signals=SIGNALS, cleaning={"overlap": "allow"})
    starts = np.round((ONSETS + 2 - BEGIN) * RATE).astype(int)
    expected = np.stack([data[start : start + 125].T for start in starts])
    np.testing.assert_allclose(session.epochs.get_data(copy=True), expected, rtol=1e-6)


def test_trials_outside_of_the_signal_lack_it(tmp_path):
    # The signal lasts from 5 to 39 s.
    write(tmp_path / "a.nwb", onsets=[4.9, 5.0, 20.0, 38.5, 38.8, 60.0], spikes={"MOs": [[20.1]]})
    session = run(tmp_path / "a.nwb", signals=SIGNALS, cleaning={"overlap": "allow"})
    assert [name[-1] for name in session.features["lfp"]["sample"]] == ["2", "3", "4"]
    assert [name[-1] for name in session.excluded["sample"]] == ["1", "5", "6"]
    assert set(session.excluded["reason"]) == {"reaches out of the recording"}
    assert len(session.features["spikes"]) == 6


def test_timestamps_say_where_trials_are_and_trials_over_a_gap_are_left_out(tmp_path):
    times = BEGIN + np.arange(8500) / RATE
    times[4000:] += 2.0  # Sample 4000 comes 2 s late: the gap runs from 21 to 23 s.
    data = write(tmp_path / "a.nwb", timestamps=times, onsets=[20.0, 20.8, 23.2, 26.0])
    session = run(tmp_path / "a.nwb", spikes={}, signals=SIGNALS)
    assert session.excluded[["sample", "reason"]].to_numpy().tolist() == [
        ["mouse_1_a_0002", "over an interruption of the recording"]
    ]
    starts = [np.abs(times - onset).argmin() for onset in (20.0, 23.2, 26.0)]
    expected = np.stack([data[start : start + 125].T for start in starts])
    np.testing.assert_allclose(session.epochs.get_data(copy=True), expected, rtol=1e-6)


def test_timestamps_that_do_not_ascend_are_refused(tmp_path):
    write(tmp_path / "a.nwb", timestamps=np.zeros(8500))
    with pytest.raises(UserError, match="its timestamps do not ascend"):
        run(tmp_path / "a.nwb", signals=SIGNALS)


def test_one_of_several_series_must_be_named(tmp_path):
    write(tmp_path / "a.nwb", series=["LFP", "raw_voltage"])
    with pytest.raises(
        UserError, match=r"2 ElectricalSeries; name one .*: acquisition/raw_voltage, processing/ecephys/LFP/LFP"
    ):
        run(tmp_path / "a.nwb", signals=SIGNALS)
    for name in ("LFP", "acquisition/raw_voltage"):
        assert len(run(tmp_path / "a.nwb", series=name, signals=SIGNALS).features["lfp"]) == 8
    with pytest.raises(UserError, match=r"no ElectricalSeries 'lfp'; name one"):
        run(tmp_path / "a.nwb", series="lfp", signals=SIGNALS)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"regions": ["CA1"]}, r"signals\.lfp\.regions: no channel has 'CA1'; Known: MOs, VISp"),
        ({"channels": ["9"]}, r"signals\.lfp\.channels: no channel is called '9'; Known: 0, 1, 2, 3"),
        ({"channels": ["0"], "regions": ["MOs"]}, "none of 4 channels meets all conditions"),
    ],
)
def test_channels_that_do_not_exist_are_refused_with_those_that_do(plain, group, message):
    with pytest.raises(UserError, match=message):
        run(plain[0], signals={"lfp": {"bins": 1} | group})


# Files that cannot be used


@pytest.mark.parametrize(
    ("but", "message"),
    [
        ({"subject": None}, r"does not say whose it is .*'subjects: \{a: name\}'"),
        ({"trials": False}, r"no table of intervals 'trials' \(trials\.table\); Known: none"),
        ({"units": False}, r"has no table of units; expected spikes; set 'spikes: \{\}'"),
        ({"series": []}, r"has no ElectricalSeries; expected signals; set 'signals: \{\}'"),
        ({"spikes": {"MOs": [[1.0, np.nan]]}}, r"unit '0' has 1 times of spikes that are no numbers"),
        ({"spikes": {"MOs": [np.array([20e3, 21e3, 40e3])]}}, "look like milliseconds"),
    ],
)
def test_files_without_what_is_asked_for_are_refused(tmp_path, but, message):
    write(tmp_path / "a.nwb", **but)
    with pytest.raises(UserError, match=message) as raised:
        run(tmp_path / "a.nwb", signals=SIGNALS)
    assert "a.nwb" in str(raised.value)


def test_a_subject_may_be_named_where_the_file_names_none(tmp_path):
    write(tmp_path / "a.nwb", subject=None)
    assert set(run(tmp_path / "a.nwb", subjects={"a": "m7"}).trials["subject"]) == {"m7"}


@pytest.mark.parametrize("damage", ["truncated", "text", "other"])
def test_files_that_are_none_are_refused(plain, tmp_path, damage):
    path = tmp_path / "a.nwb"
    if damage == "other":
        with h5py.File(path, "w") as file:
            file["a"] = 1
    else:
        whole = plain[0].read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"nothing")
    with pytest.raises(UserError, match=r"a\.nwb: cannot be read: corrupt, truncated, or no file of NWB"):
        run(path)


def test_without_pynwb_it_is_said_how_to_get_it(plain, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(UserError, match=r"needs pynwb, .*pip install pynwb"):
        run(plain[0])


def test_patterns_find_files_and_one_that_finds_none_is_refused(plain, tmp_path):
    folder = plain[0].parent
    assert list(source_of(folder / "*.nwb").sessions) == ["ses-1_behavior_ecephys"]
    with pytest.raises(UserError, match=r"files: .*x\*\.nwb: no such file"):
        _ = source_of(tmp_path / "x*.nwb").chunks


def test_sessions_are_joined_if_their_units_are_said_to_be_the_same(tmp_path):
    paths = [tmp_path / "a.nwb", tmp_path / "b.nwb"]
    for path in paths:
        write(path)
    with pytest.raises(UserError, match="units of different sessions are different neurons"):
        _ = source_of(*paths).chunks
    source = source_of(*paths, same_units=True)
    folders = []
    for chunk in source.chunks["session"]:
        folders.append(tmp_path / chunk)
        folders[-1].mkdir()
        preprocess(source, "session", chunk, None, folders[-1])
    assembled = assemble(source, None, {"session": folders})
    assert assembled.samples["session"].tolist() == ["a"] * 8 + ["b"] * 8
    assert pd.Series(assembled.features["spikes"]["sample"]).is_unique

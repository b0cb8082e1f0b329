"""The folder of a preprocessed session, and joining sessions to samples."""

import logging

import mne
import numpy as np
import pandas as pd
import pytest

from metafusion import samples
from metafusion.errors import UserError
from metafusion.sources.trials import (
    Spikes,
    assemble_sessions,
    read_session,
    sample_names,
    with_samples,
    write_session,
)


def trials_of(session, numbers, subject="s1", target=("a", "b")):
    names = sample_names(subject, session, numbers)
    classes = [target[number % 2] for number in numbers]
    return pd.DataFrame({"sample": names, "subject": subject, "session": session, "target": classes})


def table_of(trials, **columns):
    return pd.DataFrame({"sample": trials["sample"]} | columns)


def left_out(sample, reason, modality="", subject="s1"):
    return pd.DataFrame({"sample": [sample], "subject": [subject], "modality": [modality], "reason": [reason]})


def two_sessions(folder, first, second, **facts):
    folders = []
    for name, columns in (("one", first), ("two", second)):
        trials = trials_of(name, [1, 2])
        values = {column: [float(place), 1.0] for place, column in enumerate(columns)}
        write_session(folder / name, trials, {"lfp": table_of(trials, **values)}, facts={"rate": facts.get(name, 100)})
        folders.append(folder / name)
    return folders


def test_a_session_comes_back_as_it_was_written(tmp_path):
    trials = trials_of("one", [1, 2, 4])
    info = mne.create_info(["C3", "C4"], 50.0, "eeg")
    data = np.arange(2 * 2 * 10.0).reshape(2, 2, 10) * 1e-6
    epochs = with_samples(mne.EpochsArray(data, info, tmin=-0.1, verbose="ERROR"), trials["sample"][:2])
    counts = np.array([[[3, 0], [255, 1]], [[0, 0], [7, 2]]], np.uint8)
    spikes = Spikes(list(trials["sample"][[2, 0]]), counts, np.array([0.0, 0.5, 1.0]), ["NA", "unit 2"])
    out = left_out("s1_one_0003", "overlaps an earlier trial")
    write_session(tmp_path / "one", trials, {"lfp": table_of(trials, x=[0.1, 2, 3])}, out, epochs, spikes, {"rate": 50})
    found = read_session(tmp_path / "one")
    assert found.name == "one"
    assert found.trials.equals(trials)
    assert found.features["lfp"]["x"].tolist() == [np.float32(0.1), 2, 3]
    assert found.features["lfp"]["x"].dtype == np.float32
    assert found.excluded[["sample", "reason"]].to_numpy().tolist() == [["s1_one_0003", "overlaps an earlier trial"]]
    assert found.epochs.metadata["sample"].tolist() == ["s1_one_0001", "s1_one_0002"]
    assert np.allclose(found.epochs.get_data(), data)
    assert found.spikes.counts.dtype == np.uint8
    assert found.spikes.counts.tolist() == counts.tolist()
    assert list(found.spikes.samples) == ["s1_one_0004", "s1_one_0001"]
    assert list(found.spikes.units) == ["NA", "unit 2"]
    assert found.spikes.edges.tolist() == [0, 0.5, 1]
    assert found.facts == {"rate": 50}


def test_a_session_without_signals_or_spikes_has_none(tmp_path):
    write_session(tmp_path / "one", trials_of("one", [1]), {})
    found = read_session(tmp_path / "one")
    assert found.epochs is None
    assert found.spikes is None
    assert found.excluded.empty


def test_the_same_session_gives_the_same_bytes(tmp_path):
    trials = trials_of("one", [1, 2])
    epochs = mne.EpochsArray(np.ones((2, 1, 8)), mne.create_info(["C3"], 50.0, "eeg"), verbose="ERROR")
    for place in ("a", "b"):
        known = with_samples(epochs, trials["sample"])
        spikes = Spikes(trials["sample"], np.ones((2, 1, 1), int), [0, 1], ["u"])
        write_session(tmp_path / place, trials, {"lfp": table_of(trials, x=[1, 2])}, None, known, spikes)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == 7
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_spikes_of_a_trial_that_is_not_in_the_table_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not in the table of trials"):
        write_session(tmp_path, trials_of("one", [1]), {}, spikes=Spikes(["x"], np.ones((1, 1, 1)), [0, 1], ["u"]))


def test_a_name_of_a_session_that_begins_with_the_subject_is_not_doubled():
    assert sample_names("sub-01", "sub-01_ses-2", [3]) == ["sub-01_ses-2_0003"]
    assert sample_names("sub-01", "sub-01", [12]) == ["sub-01_0012"]
    assert sample_names("rat1", "rat10", [1]) == ["rat1_rat10_0001"]


def test_sessions_are_joined_in_their_order_and_stay_known(tmp_path):
    found = assemble_sessions(two_sessions(tmp_path, ["x", "y"], ["x", "y"]), ["lfp"])
    assert found.samples["sample"].tolist() == ["s1_one_0001", "s1_one_0002", "s1_two_0001", "s1_two_0002"]
    assert found.samples["session"].tolist() == ["one", "one", "two", "two"]
    assert found.samples["target"].tolist() == ["b", "a", "b", "a"]
    assert found.features["lfp"].columns.tolist() == ["sample", "x", "y"]
    assert found.exclusions.empty


def test_columns_in_another_order_are_put_right(tmp_path):
    found = assemble_sessions(two_sessions(tmp_path, ["x", "y"], ["y", "x"]), ["lfp"]).features["lfp"]
    assert found.columns.tolist() == ["sample", "x", "y"]
    assert found.loc[::2, ["x", "y"]].to_numpy().tolist() == [[0, 1], [1, 0]]


def test_a_channel_that_a_session_lacks_stops_the_run_or_is_left_out_everywhere(tmp_path, caplog):
    folders = two_sessions(tmp_path, ["x", "y", "z"], ["x", "z"])
    with pytest.raises(UserError, match=r"modality 'lfp'.* two lacks y; 2 of 3 are in all.*missing_channels: exclude"):
        assemble_sessions(folders, ["lfp"])
    with caplog.at_level(logging.WARNING, "metafusion"):
        found = assemble_sessions(folders, ["lfp"], "exclude")
    assert found.features["lfp"].columns.tolist() == ["sample", "x", "z"]
    assert "left out: y" in caplog.text


def test_sessions_without_a_common_channel_are_refused(tmp_path):
    with pytest.raises(UserError, match="no column is in all of its 2 sessions"):
        assemble_sessions(two_sessions(tmp_path, ["x"], ["y"]), ["lfp"], "exclude")


def test_sessions_of_different_rates_are_refused_by_name(tmp_path):
    folders = two_sessions(tmp_path, ["x"], ["x"], one=100, two=250)
    with pytest.raises(UserError, match=r"100 Hz in one; 250 Hz in two.*resample"):
        assemble_sessions(folders, ["lfp"])


def test_trials_that_differ_in_length_are_refused_by_name(tmp_path):
    for name, length in (("one", 10), ("two", 12)):
        trials = trials_of(name, [1])
        write_session(tmp_path / name, trials, {"lfp": table_of(trials, x=[1])}, facts={"samples of a trial": length})
    with pytest.raises(UserError, match="samples of a trial differs between sessions: 10 in one; 12 in two"):
        assemble_sessions([tmp_path / "one", tmp_path / "two"], ["lfp"])


def test_trials_of_a_session_without_a_modality_are_samples_without_it(tmp_path):
    one, two = trials_of("one", [1, 2]), trials_of("two", [1])
    write_session(tmp_path / "one", one, {"lfp": table_of(one, x=[1, 2]), "spikes": table_of(one[:1], u=[5])})
    write_session(tmp_path / "two", two, {"lfp": table_of(two, x=[3])})
    found = assemble_sessions([tmp_path / "one", tmp_path / "two"], ["lfp", "spikes"])
    assert len(found.samples) == 3
    assert found.features["spikes"]["sample"].tolist() == ["s1_one_0001"]
    assert found.exclusions.to_numpy().tolist() == [["s1_two_0001", "s1", "spikes", "the session lacks the modality"]]


def test_the_reason_that_a_session_gives_goes_before_the_general_one(tmp_path):
    trials = trials_of("one", [1, 2])
    out = left_out("s1_one_0002", "no spikes recorded", "spikes")
    write_session(tmp_path / "one", trials, {"lfp": table_of(trials, x=[1, 2])}, out)
    found = assemble_sessions([tmp_path / "one"], ["lfp", "spikes"]).exclusions
    assert found.set_index("sample")["reason"].to_dict() == {
        "s1_one_0001": "the session lacks the modality",
        "s1_one_0002": "no spikes recorded",
    }
    assert len(found) == 2


def test_a_session_without_a_trial_left_has_its_reason_and_no_say_in_columns(tmp_path):
    one, none = trials_of("one", [1, 2]), trials_of("two", [])
    write_session(tmp_path / "one", one, {"lfp": table_of(one, x=[1, 2])}, left_out("s1_one_0003", "amplitude"))
    write_session(tmp_path / "two", none, {}, left_out("two", "file cannot be read", subject="s2"))
    found = assemble_sessions([tmp_path / "one", tmp_path / "two"], ["lfp"])
    assert found.samples["sample"].tolist() == ["s1_one_0001", "s1_one_0002"]
    assert found.exclusions["reason"].value_counts().to_dict() == {"amplitude": 1, "file cannot be read": 1}
    assert found.exclusions["modality"].tolist() == ["", ""]


def test_a_modality_that_no_session_has_is_told_with_its_reason(tmp_path):
    folders = two_sessions(tmp_path, ["x"], ["x"])
    found = assemble_sessions(folders, ["lfp", "spikes"])
    with pytest.raises(UserError, match=r"'spikes' has no sample.*the session lacks the modality \(4 times\)"):
        samples.check(found, "classification", ["lfp", "spikes"], "sample")

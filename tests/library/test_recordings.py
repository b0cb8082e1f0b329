"""Recordings of the user's own: found, read, cut into the trials that were put there, or refused with a reason."""

import logging
from pathlib import Path

import mne
import numpy as np
import pytest
from scipy.io import savemat

from metafusion import samples
from metafusion.config.load import validate
from metafusion.config.sources import Recordings
from metafusion.errors import UserError
from metafusion.files import read_table
from metafusion.sources import recordings
from metafusion.sources.trials import read_session

RATE = 100
CHANNELS = ("C3", "C4", "EOG1")
ONSETS = [1.0 + 2 * number for number in range(12)]
"""Seconds of the events; the recordings last 26 s."""
NAMES = ["left", "right"] * 6
CODES = {"left": 1, "right": 2, "pause": 7}
FOUND = {"left": 6, "right": 6}
CLASSES = {"left": "left", "right": "right"}
TRIGGERS = {"left": 1, "right": 2}
BINS = {"types": ["eeg"], "bins": 4}


def values_of(seed=0, seconds=26):
    """Noise in microvolt with one decimal; after 'left' C3 is 20 higher for half a second, after 'right' C4 is."""
    random = np.random.default_rng(seed)
    values = np.rint(random.normal(size=(3, seconds * RATE)) * 30) / 10
    for onset, name in zip(ONSETS, NAMES, strict=True):
        start = round(onset * RATE)
        values[NAMES.index(name), start : start + RATE // 2] += 20
    return values


def raw_of(values=None, rate=RATE, types=("eeg", "eeg", "eog"), stim=True, names=CHANNELS):
    values = values_of() if values is None else values
    triggers = np.zeros((1, values.shape[1]))
    for onset, name in zip(ONSETS, NAMES, strict=True):
        triggers[0, round(onset * rate) : round(onset * rate) + 3] = CODES[name]
    info = mne.create_info([*names, *["STI"] * stim], rate, [*types, *["stim"] * stim])
    return mne.io.RawArray(np.vstack([values * 1e-6, *[triggers] * stim]), info, verbose="ERROR")


def write_fif(path, raw=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    (raw or raw_of()).save(path, overwrite=True, verbose="ERROR")
    return path


def write_edf(path, values=None, rate=RATE, bytes_=2):
    """Write EDF or, with three bytes a value, BDF, by hand: records of a second, a tenth of a microvolt a step."""
    values = values_of() if values is None else values
    count, seconds = len(values), values.shape[1] // rate
    top = 2**15

    def words(items, width):
        return "".join(str(item).ljust(width)[:width] for item in items).encode()

    version = b"0".ljust(8) if bytes_ == 2 else b"\xffBIOSEMI"
    head = version + words(["X X X X", "Startdate 01-JAN-2020 X X X", "01.01.2000.00.00"], 80)[:160]
    head += b"01.01.2000.00.00" + words([256 * (count + 1)], 8) + b" " * 44 + words([seconds, 1], 8) + words([count], 4)
    head += words(CHANNELS[:count], 16) + words([""] * count, 80) + words(["uV"] * count, 8)
    for limit in (-top / 10, (top - 1) / 10, -top, top - 1):
        head += words([f"{limit:.7g}"] * count, 8)
    head += words([""] * count, 80) + words([rate] * count, 8) + words([""] * count, 32)
    steps = np.rint(values * 10).astype("<i4").reshape(count, seconds, rate).transpose(1, 0, 2)
    content = steps.astype("<i2").tobytes() if bytes_ == 2 else steps[..., None].view("u1")[..., :3].tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + content)
    return path


def write_brainvision(path, values=None):
    """Write header, markers and data of BrainVision by hand."""
    values = values_of() if values is None else values
    lines = [f"Ch{place}={name},,0.1,µV" for place, name in enumerate(CHANNELS, start=1)]
    head = ["Brain Vision Data Exchange Header File Version 1.0", "[Common Infos]", "Codepage=UTF-8"]
    head += ["DataFile=data.eeg", "MarkerFile=a.vmrk", "DataFormat=BINARY", "DataOrientation=MULTIPLEXED"]
    head += ["NumberOfChannels=3", f"SamplingInterval={1_000_000 // RATE}", "[Binary Infos]", "BinaryFormat=INT_16"]
    marks = ["Brain Vision Data Exchange Marker File, Version 1.0", "[Common Infos]", "Codepage=UTF-8"]
    marks += ["DataFile=data.eeg", "[Marker Infos]", "Mk1=New Segment,,1,1,0,20200101000000000000"]
    for place, (onset, name) in enumerate(zip(ONSETS, NAMES, strict=True), start=2):
        marks.append(f"Mk{place}=Stimulus,S  {CODES[name]},{round(onset * RATE) + 1},1,0")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*head, "[Channel Infos]", *lines]) + "\n", encoding="utf-8")
    path.with_suffix(".vmrk").write_text("\n".join(marks) + "\n", encoding="utf-8")
    (path.parent / "data.eeg").write_bytes(np.rint(values * 10).astype("<i2").T.tobytes())
    return path


def write_events(path, onsets=ONSETS, names=NAMES, column="trial_type"):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{onset}\t0\t{name}" for onset, name in zip(onsets, names, strict=True)]
    path.write_text("\n".join([f"onset\tduration\t{column}", *lines]) + "\n")
    return path


def write_lines(path, *lines):
    path.write_text("".join(line.replace(" ", "\t") + "\n" for line in lines))
    return path


def source_of(**options):
    usual = {"kind": "recordings", "events": {"classes": CLASSES}, "window": [-0.2, 0.8], "modalities": {"eeg": BINS}}
    return validate(Recordings, usual | options, "mine.yaml")


def listed(folder, names=("s1",), where="stim", tables=(), write=write_fif, **options):
    """A source of sessions that are named one by one, each a recording of a subject of its own."""
    sessions = {}
    for number, name in enumerate(names):
        path = folder / f"{name}_raw.fif"
        if not path.exists():
            write(path, raw_of(values_of(number)))
        sessions[name] = {"file": str(path), "subject": f"p{number}"} | dict(tables)
    events = {"where": where, "classes": TRIGGERS if where == "stim" else CLASSES} | options.pop("events", {})
    return source_of(sessions=sessions, events=events, **options)


def prepared(source, folder):
    folders = []
    for chunk in source.chunks["session"]:
        place = folder / "session" / chunk
        place.mkdir(parents=True)
        recordings.preprocess(source, "session", chunk, None, place)
        folders.append(place)
    return folders


def made(source, folder):
    """Preprocess all sessions and return the first."""
    return read_session(prepared(source, folder)[0])


def assembled(source, folder):
    return recordings.assemble(source, None, {"session": prepared(source, folder)})


def by_hand(values, onsets=ONSETS, window=(-0.2, 0.8), rate=RATE):
    first, last = round(window[0] * rate), round(window[1] * rate)
    return np.stack([values[:, round(onset * rate) + first : round(onset * rate) + last] for onset in onsets])


# The trials that were put there


def check_trials(session, microvolt):
    assert session.trials["target"].tolist() == NAMES
    assert session.trials["sample"].tolist() == [f"p0_s1_{number:04d}" for number in range(1, 13)]
    found = session.epochs.get_data(picks=["C3", "C4"]) * 1e6
    # The cleaned trials are kept in single precision.
    assert np.allclose(found, by_hand(microvolt)[:, :2], atol=1e-4)
    means = by_hand(microvolt)[:, :2].reshape(12, 2, 4, 25).mean(axis=-1)
    assert np.allclose(session.features["eeg"].iloc[:, 1:], means.reshape(12, 8), atol=1e-4)


@pytest.mark.parametrize("where", ["stim", "annotations", "table"])
def test_a_channel_annotations_and_a_table_of_events_give_the_trials_that_were_put_there(tmp_path, where):
    raw = raw_of()
    raw.set_annotations(mne.Annotations(ONSETS, 0, NAMES))
    write_fif(tmp_path / "s1_raw.fif", raw)
    tables = {"events": str(write_events(tmp_path / "events.tsv"))} if where == "table" else {}
    check_trials(made(listed(tmp_path, where=where, tables=tables), tmp_path), values_of())


def test_a_recording_that_begins_late_on_its_own_clock_gives_the_same_trials(tmp_path):
    padded = np.hstack([np.zeros((3, 500)), values_of()])
    info = mne.create_info(list(CHANNELS), RATE, ["eeg", "eeg", "eog"])
    raw = mne.io.RawArray(padded * 1e-6, info, verbose="ERROR").crop(tmin=5)
    raw.set_annotations(mne.Annotations(ONSETS, 0, NAMES))
    write_fif(tmp_path / "s1_raw.fif", raw)
    tables = {"events": str(write_events(tmp_path / "events.tsv"))}
    check_trials(made(listed(tmp_path, where="table", tables=tables), tmp_path / "table"), values_of())
    check_trials(made(listed(tmp_path, where="annotations"), tmp_path / "annotations"), values_of())


@pytest.mark.parametrize("bytes_", [2, 3])
def test_edf_and_bdf_give_the_trials_that_were_put_there(tmp_path, bytes_):
    path = write_edf(tmp_path / ("a.edf" if bytes_ == 2 else "a.bdf"), bytes_=bytes_)
    one = {"file": str(path), "subject": "p0", "events": str(write_events(tmp_path / "events.tsv"))}
    # EDF calls every channel EEG.
    source = source_of(sessions={"s1": one}, channel_types={"EOG*": "eog"})
    check_trials(made(source, tmp_path), values_of())


def test_brainvision_gives_the_trials_that_were_put_there(tmp_path):
    path = write_brainvision(tmp_path / "a.vhdr")
    events = {"where": "annotations", "classes": {"left": "Stimulus/S  1", "right": "Stimulus/S  2"}}
    one = {"file": str(path), "subject": "p0"}
    source = source_of(sessions={"s1": one}, events=events, channel_types={"EOG1": "eog"})
    assert {file.name for file in source.inputs_of("session", "s1")} == {"a.vhdr", "a.vmrk", "data.eeg"}
    check_trials(made(source, tmp_path), values_of())


def write_set(path, data, apart=False):
    """Write EEGLAB's .set: data of shape (channels, samples), or (channels, samples, trials) with an event each."""
    if apart:
        path.with_suffix(".fdt").write_bytes(data.astype("<f4").T.tobytes())
    locations = np.array([(name,) for name in CHANNELS], dtype=[("labels", object)])
    content = path.with_suffix(".fdt").name if apart else data.astype("f4")
    eeg = {"data": content, "nbchan": len(data), "pnts": data.shape[1], "srate": float(RATE), "ref": "common"}
    eeg |= {"xmin": -0.2 if data.ndim == 3 else 0.0, "xmax": 0.79, "chanlocs": locations}
    trials = data.shape[2] if data.ndim == 3 else 1
    if trials > 1:
        latencies = [trial * data.shape[1] + 21.0 for trial in range(trials)]
        fields = [("type", object), ("latency", float), ("epoch", float)]
        rows = list(zip(NAMES, latencies, np.arange(1.0, trials + 1), strict=True))
        eeg |= {"event": np.array(rows, dtype=fields)}
        eeg |= {
            "epoch": np.array(
                list(zip(NAMES, [0.0] * trials, strict=True)), [("eventtype", object), ("eventlatency", float)]
            )
        }
    else:
        rows = [(name, onset * RATE + 1) for onset, name in zip(ONSETS, NAMES, strict=True)]
        eeg |= {"event": np.array(rows, dtype=[("type", object), ("latency", float)])}
    savemat(path, {"EEG": eeg | {"trials": trials}}, appendmat=False)
    return path


@pytest.mark.parametrize("cut", [False, True])
def test_eeglab_gives_the_trials_that_were_put_there(tmp_path, cut):
    data = by_hand(values_of()).transpose(1, 2, 0) if cut else values_of()
    path = write_set(tmp_path / "a.set", data)
    source = source_of(
        sessions={"s1": {"file": str(path), "subject": "p0"}},
        events={"where": "annotations", "classes": CLASSES},
        channel_types={"EOG*": "eog"},
    )
    check_trials(made(source, tmp_path), values_of())


def epochs_of(values, onsets=ONSETS, names=NAMES, window=(-0.5, 1.0)):
    codes = [CODES[name] for name in names]
    events = np.column_stack([np.rint(np.array(onsets) * RATE), np.zeros(len(codes)), codes]).astype(int)
    info = mne.create_info(list(CHANNELS), RATE, ["eeg", "eeg", "eog"])
    data = by_hand(values, onsets, window) * 1e-6
    return mne.EpochsArray(data, info, events, window[0], {name: CODES[name] for name in set(names)}, verbose="ERROR")


def of_epochs(folder, epochs, **options):
    epochs.save(folder / "a-epo.fif", overwrite=True, verbose="ERROR")
    return source_of(sessions={"s1": {"file": str(folder / "a-epo.fif"), "subject": "p0"}}, **options)


def test_epochs_give_the_trials_that_were_put_there(tmp_path):
    check_trials(made(of_epochs(tmp_path, epochs_of(values_of())), tmp_path), values_of())


def test_epochs_are_left_out_for_what_recordings_are(tmp_path):
    values = values_of()
    values[0, 310] = np.nan  # in the trial of 3 s
    values[1, 510:520] += 500  # in that of 5 s
    epochs = epochs_of(values, [*ONSETS, 9.5], [*NAMES, "right"])
    session = made(of_epochs(tmp_path, epochs, cleaning={"reject": {"eeg": 200e-6}}), tmp_path)
    assert session.excluded.set_index("sample")["reason"].to_dict() == {
        "p0_s1_0002": "samples that are not numbers",
        "p0_s1_0003": "range of a channel of type eeg over 0.0002",
        "p0_s1_0013": "overlaps an earlier trial",
    }
    assert len(session.trials) == 10


def test_epochs_are_filtered_resampled_and_flat_ones_left_out(tmp_path):
    values = np.tile(np.sin(2 * np.pi * 4 * np.arange(2600) / RATE), (3, 1)) * 20
    values[0, 250:400] = 0
    cleaning = {"resample": 50, "flat": {"eeg": 1e-6}, "baseline": [-0.5, 0.5]}
    session = made(of_epochs(tmp_path, epochs_of(values), cleaning=cleaning), tmp_path)
    assert session.excluded["reason"].tolist() == ["range of a channel of type eeg under 1e-06"]
    assert session.facts == {"rate": 50, "samples of a trial": 50}
    expected = np.delete(by_hand(values[:2, ::2], rate=50), 1, axis=0)
    # The ends of the epochs are 0.2 s and more away.
    assert np.abs(session.epochs.get_data(picks=["C3", "C4"]) * 1e6 - expected).max() < 1


@pytest.mark.parametrize("others", [[], [3, 7]])
def test_epochs_without_true_times_are_not_taken_for_overlapping(tmp_path, caplog, others):
    epochs = epochs_of(values_of(), names=["pause" if place in others else name for place, name in enumerate(NAMES)])
    epochs.events[:, 0] = np.arange(12)
    assert len(made(of_epochs(tmp_path, epochs), tmp_path).trials) == 12 - len(others)
    assert "whether they overlap is not known" in caplog.text


def test_epochs_of_eeglab_do_not_say_whether_they_overlap(tmp_path, caplog):
    path = write_set(tmp_path / "a.set", by_hand(values_of()).transpose(1, 2, 0))
    source = source_of(sessions={"s1": {"file": str(path), "subject": "p0"}}, channel_types={"EOG*": "eog"})
    assert len(made(source, tmp_path).trials) == 12
    assert "whether they overlap is not known" in caplog.text


def test_epochs_that_were_thinned_out_overlap_by_the_samples_of_the_recording(tmp_path):
    onsets = [1.0 + 0.6 * number for number in range(12)]
    info = mne.create_info(["C3"], RATE, "eeg")
    raw = mne.io.RawArray(np.random.default_rng(0).normal(size=(1, 1000)) * 1e-6, info, verbose="ERROR")
    events = np.column_stack([np.rint(np.array(onsets) * RATE), np.zeros(12), [CODES[name] for name in NAMES]])
    epochs = mne.Epochs(raw, events.astype(int), TRIGGERS, -0.2, 0.8, None, preload=True, decim=4, verbose="ERROR")
    session = made(of_epochs(tmp_path, epochs), tmp_path)
    assert session.excluded["reason"].tolist() == ["overlaps an earlier trial"] * 6
    assert session.trials["sample"].str[-2:].tolist() == ["01", "03", "05", "07", "09", "11"]


def test_samples_of_the_baseline_count_as_the_trials_of_epochs_too(tmp_path):
    onsets = [1.0 + 1.2 * number for number in range(12)]
    source = of_epochs(tmp_path, epochs_of(values_of(), onsets), window=[0, 0.8], cleaning={"baseline": [-0.5, 0]})
    assert made(source, tmp_path).excluded["reason"].tolist() == ["overlaps an earlier trial"] * 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": [-0.2, 1.5]}, "window: -0.2 to 1.5 s is more than its epochs have"),
        ({"cleaning": {"baseline": [-0.7, 0]}}, "baseline: -0.7 to 0 s is more than its epochs have"),
        ({"window": [0.301, 0.302]}, "window: its epochs have no sample between 0.301 and 0.302 s"),
        ({"cleaning": {"notch": [50]}}, "notch: is for continuous recordings"),
        ({"cleaning": {"reference": "average"}}, "reference: is for continuous recordings"),
        ({"cleaning": {"resample": 200}}, "resample: 200 Hz is more than the recording has"),
        ({"cleaning": {"reject": {"grad": 1e-10}}}, "reject: no channel of type 'grad'; Known: eeg"),
        (
            {"cleaning": {"reject": {"eeg": 1e-7}}},
            r"no trial is left of 12: range of a channel of type eeg over 1e-07 \(12 trials\)",
        ),
    ],
)
def test_what_epochs_cannot_give_is_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=rf"a-epo.fif: {message}"):
        prepared(of_epochs(tmp_path, epochs_of(values_of()), on_broken="stop", **options), tmp_path)


def test_several_events_are_one_class_and_others_are_not_used(tmp_path):
    names = ["left", "lefty", "1.0", "right", "pause", "n/a"] * 2
    tables = {"events": str(write_events(tmp_path / "events.tsv", names=names))}
    classes = {"left": ["left", "lefty", 1], "right": "right"}
    source = listed(tmp_path, where="table", tables=tables, events={"classes": classes})
    place = prepared(source, tmp_path)[0]
    assert read_session(place).trials["target"].value_counts().to_dict() == {"left": 6, "right": 2}
    told = read_table(place / "events.tsv").set_index("event")
    assert told["count"].to_dict() == {"1": 2, "left": 2, "lefty": 2, "pause": 2, "right": 2}
    assert told["class"].fillna("").to_dict() == {
        "1": "left",
        "left": "left",
        "lefty": "left",
        "pause": "",
        "right": "right",
    }


def test_only_masked_bits_of_a_trigger_count(tmp_path):
    raw = raw_of()
    raw.load_data()._data[3] += 256 * (raw._data[3] > 0)
    write_fif(tmp_path / "s1_raw.fif", raw)
    found = made(listed(tmp_path, events={"mask": 255}), tmp_path)
    assert found.trials["target"].value_counts().to_dict() == FOUND


def test_features_are_in_the_unit_of_the_type(tmp_path):
    raw = raw_of(types=("mag", "grad", "eeg"), names=("M1", "G1", "E1"))
    write_fif(tmp_path / "s1_raw.fif", raw)
    modalities = {name: {"types": [name], "bins": 1} for name in ("mag", "grad", "eeg")}
    found = made(listed(tmp_path, modalities=modalities, cleaning={"baseline": None}), tmp_path).features
    means = by_hand(values_of()).mean(axis=-1)
    # The numbers are in units of 1e-6: tesla in fT, tesla per metre in fT/cm, volt in microvolt.
    for place, (name, factor) in enumerate({"mag": 1e9, "grad": 1e7, "eeg": 1}.items()):
        assert np.allclose(found[name].iloc[:, 1], means[:, place] * factor, rtol=1e-5)


def test_filters_and_resampling_are_applied_before_the_cut(tmp_path):
    values = np.zeros((3, 2600))
    seconds = np.arange(2600) / RATE
    values[0] = 50 * np.sin(2 * np.pi * 10 * seconds) + 50 * np.sin(2 * np.pi * 40 * seconds)
    write_fif(tmp_path / "s1_raw.fif", raw_of(values))
    cleaning = {"lowpass": 20, "resample": 50}
    session = made(listed(tmp_path, modalities={"eeg": BINS | {"channels": ["C3"]}}, cleaning=cleaning), tmp_path)
    # The last trial begins after 22.8 s; one is near the end, where the filter would show.
    expected = by_hand(50 * np.sin(2 * np.pi * 10 * seconds)[None, ::2], rate=50)
    found = session.epochs.get_data(picks=["C3"]) * 1e6
    assert session.epochs.info["sfreq"] == 50
    assert np.abs(found - expected)[:-1].max() < 1


def test_a_band_that_the_trials_do_not_have_is_told_with_session_modality_and_key(tmp_path):
    modalities = {"slow": BINS, "rhythms": {"types": ["eeg"], "bands": {"gamma": [30, 80]}}}
    with pytest.raises(
        UserError, match=r"^session s1: modalities\.rhythms: bands\.gamma: 30 to 80 Hz .* half the sampling .* is 50 Hz"
    ):
        prepared(listed(tmp_path, modalities=modalities), tmp_path)


def test_a_baseline_outside_the_window_is_subtracted(tmp_path):
    values = values_of() + 100
    write_fif(tmp_path / "s1_raw.fif", raw_of(values))
    session = made(listed(tmp_path, window=[0, 0.5], cleaning={"baseline": [-0.4, -0.1]}), tmp_path)
    expected = by_hand(values, window=(0, 0.5)) - by_hand(values, window=(-0.4, -0.1)).mean(axis=-1, keepdims=True)
    assert np.allclose(session.epochs.get_data(picks=["C3", "C4"]) * 1e6, expected[:, :2], atol=1e-4)


# What is left out, and counted


def test_flat_trials_are_left_out(tmp_path):
    values = values_of()
    values[1, 250:400] = 0
    write_fif(tmp_path / "s1_raw.fif", raw_of(values))
    excluded = made(listed(tmp_path, cleaning={"flat": {"eeg": 1e-6}}), tmp_path).excluded
    assert excluded[["sample", "reason"]].to_numpy().tolist() == [
        ["p0_s1_0002", "range of a channel of type eeg under 1e-06"]
    ]


def test_events_at_the_ends_and_overlapping_ones_are_left_out_and_counted(tmp_path, caplog):
    onsets = [0.1, *ONSETS, 5.4, 5.9, 7, 25.5, "n/a", 9]
    names = ["left", *NAMES, "left", "right", "left", "left", "right", "left"]
    tables = {"events": str(write_events(tmp_path / "events.tsv", onsets, names))}
    with caplog.at_level(logging.INFO, "metafusion"):
        session = made(listed(tmp_path, where="table", tables=tables), tmp_path)
    # The trial of 5 s ends at 5.8, that of 5.9 begins at 5.7.
    assert session.excluded.set_index("sample")["reason"].to_dict() == {
        "p0_s1_0001": "reaches out of the recording",
        "p0_s1_0014": "overlaps an earlier trial",
        "p0_s1_0015": "overlaps an earlier trial",
        "p0_s1_0005": "two classes at the same sample",
        "p0_s1_0016": "two classes at the same sample",
        "p0_s1_0019": "another event at the same sample",
        "p0_s1_0017": "reaches out of the recording",
        "p0_s1_0018": "event without an onset",
    }
    assert session.trials["sample"].tolist() == [f"p0_s1_{number:04d}" for number in range(2, 14) if number != 5]
    assert "session s1: left out: " in caplog.text
    assert "reaches out of the recording (2 trials); " in caplog.text
    assert "event without an onset (1 trial)" in caplog.text


def test_trials_may_overlap_where_the_settings_allow_it(tmp_path):
    tables = {"events": str(write_events(tmp_path / "events.tsv", [*ONSETS, 5.4], [*NAMES, "left"]))}
    session = made(listed(tmp_path, where="table", tables=tables, cleaning={"overlap": "allow"}), tmp_path)
    assert len(session.trials) == 13


def test_samples_that_are_no_numbers_cost_their_trials_only(tmp_path):
    values = values_of()
    values[0, 330] = np.nan
    values[2, 730] = np.nan  # of a channel that nobody uses
    write_fif(tmp_path / "s1_raw.fif", raw_of(values))
    session = made(listed(tmp_path, cleaning={"lowpass": 40}), tmp_path)
    assert session.excluded[["sample", "reason"]].to_numpy().tolist() == [
        ["p0_s1_0002", "samples that are not numbers"]
    ]
    assert np.isfinite(session.features["eeg"].iloc[:, 1:].to_numpy()).all()


def test_a_class_with_two_trials_is_refused(tmp_path):
    names = ["left"] * 10 + ["right"] * 2
    tables = {"events": str(write_events(tmp_path / "events.tsv", names=names))}
    found = assembled(listed(tmp_path, where="table", tables=tables), tmp_path)
    with pytest.raises(UserError, match=r"class of a trial: classes with fewer than 3 samples \('right': 2\)"):
        samples.check(found, "classification", ["eeg"], "sample")


# Units


def in_units_of(volt, folder, **options):
    """A session whose numbers are so many volts, although they are microvolts."""
    write_fif(folder / "s1_raw.fif", raw_of(values_of() * 1e6 * volt))
    return listed(folder, **options)


def test_microvolts_read_as_volts_are_told_with_file_range_and_remedy(tmp_path, caplog):
    made(in_units_of(1, tmp_path), tmp_path / "a")
    assert len([line for line in caplog.messages if "of type eeg" in line]) == 1
    (line,) = [line for line in caplog.messages if "of type eeg" in line]
    assert line.startswith(f"{tmp_path}/s1_raw.fif: channels of type eeg have a range of ")
    # The range of a hundred normal numbers is about 5 deviations of 3; half a second of 20 is added to every other.
    assert 10 < float(line.split("range of ")[1].split(" V")[0]) < 40
    assert "expected 1e-07 to 0.01 V, and they may be numbers of uV" in line
    assert "write it again in V" in line
    assert "of type eog" not in caplog.text  # which nobody uses


def test_limits_in_another_unit_than_the_data_end_in_the_unit(tmp_path):
    source = in_units_of(1, tmp_path, cleaning={"reject": {"eeg": 200e-6}}, on_broken="stop")
    with pytest.raises(UserError, match=r"over 0.0002 \(12 trials\); channels of type eeg .* may be numbers of uV"):
        prepared(source, tmp_path / "a")
    source = in_units_of(1e-12, tmp_path, cleaning={"flat": {"eeg": 1e-6}}, on_broken="stop")
    with pytest.raises(UserError, match=r"under 1e-06 \(12 trials\); channels of type eeg have a range of .*e-11 V"):
        prepared(source, tmp_path / "b")


def test_usual_amplitudes_are_not_spoken_of(tmp_path, caplog):
    for factor in (0.1e-6, 1e-6, 300e-6):
        folder = tmp_path / f"{factor:g}"
        folder.mkdir()
        made(in_units_of(factor, folder), folder / "out")
    assert "have a range of" not in caplog.text


def test_epochs_in_microvolt_are_told_too(tmp_path, caplog):
    made(of_epochs(tmp_path, epochs_of(values_of() * 1e6)), tmp_path)
    assert "a-epo.fif: channels of type eeg have a range of" in caplog.text


def test_units_of_meg_are_tesla_and_tesla_per_metre(tmp_path, caplog):
    # Magnetometers of 1 pT, gradiometers of 10 fT/cm, in fT and fT/cm.
    raw = raw_of(values_of() * 1e6 * np.array([[100], [1], [1]]), types=("mag", "grad", "eog"), names=("M", "G", "E"))
    write_fif(tmp_path / "s1_raw.fif", raw)
    made(listed(tmp_path, modalities={"meg": {"types": ["mag", "grad"], "bins": 1}}), tmp_path)
    assert "channels of type mag have a range" in caplog.text
    assert "1e-14 to 1e-06 T, and they may be numbers of fT" in caplog.text
    assert "1e-13 to 0.0001 T/m, and they may be numbers of fT/cm" in caplog.text


@pytest.mark.parametrize(
    ("cleaning", "message"),
    [
        ({"reject": {"eeg": 200}}, "cleaning.reject: eeg: no trial has a range of 200 V; .*200 uV are 200e-6"),
        ({"reject": {"eeg": 2e-10}}, "cleaning.reject: eeg: no trial has a range of 2e-10 V"),
        ({"reject": {"eeg": 100e-6, "mag": 4000}}, "reject: mag: no trial has a range of 4000 T; .* 4000 fT are 4000e"),
        ({"flat": {"grad": 1}}, "cleaning.flat: grad: no trial has a range of 1 T/m; .* 4000 fT/cm are 4000e-13"),
    ],
)
def test_limits_that_no_signal_of_the_type_has_are_refused(cleaning, message):
    with pytest.raises(UserError, match=message):
        source_of(folder="x", cleaning=cleaning)


def test_limits_that_a_signal_may_have_are_taken():
    reject = {"eeg": 1e-3, "emg": 5e-2, "mag": 4e-12, "grad": 4e-10, "misc": 7}
    assert source_of(folder="x", cleaning={"reject": reject, "flat": {"eeg": 1e-12}}).cleaning.reject == reject


# Events that are not there


def test_events_that_are_not_there_are_told_with_those_that_are(tmp_path):
    tables = {"events": str(write_events(tmp_path / "events.tsv"))}
    options = {"where": "table", "tables": tables, "on_broken": "stop"}
    source = listed(tmp_path, events={"classes": {"a": "links", "b": ["rechts", 9]}}, **options)
    with pytest.raises(UserError, match=r"s1_raw.fif: none of the events asked for \(links, rechts, 9\).*events.tsv, "):
        prepared(source, tmp_path / "a")
    with pytest.raises(UserError, match=r"found 'left' \(6 times\), 'right' \(6 times\); correct 'classes'"):
        prepared(source, tmp_path / "b")


def test_an_event_that_no_session_has_is_told_with_those_there_are(tmp_path):
    source = listed(tmp_path, names=("s1", "s2"), events={"classes": {"left": [1, 3], "right": 2}})
    with pytest.raises(UserError, match=r"classes: 3 is in none of the 2 sessions; found '1' \(12 times\), '2' \(12"):
        assembled(source, tmp_path)


def test_a_class_may_be_missing_in_one_session(tmp_path):
    raw = raw_of(values_of(1))
    raw.load_data()._data[3][raw._data[3] == 2] = 0
    write_fif(tmp_path / "s2_raw.fif", raw)
    found = assembled(listed(tmp_path, names=("s1", "s2")), tmp_path).samples
    assert found.groupby("session")["target"].value_counts().to_dict() == {
        ("s1", "left"): 6,
        ("s1", "right"): 6,
        ("s2", "left"): 6,
    }


def test_a_table_of_events_without_its_column_or_onset_is_refused(tmp_path):
    path = write_events(tmp_path / "events.tsv", column="value")
    source = listed(tmp_path, where="table", tables={"events": str(path)}, on_broken="stop")
    with pytest.raises(UserError, match=r"events.tsv: no column 'trial_type'.*value"):
        prepared(source, tmp_path / "a")
    write_events(path, onsets=["soon"] * 12)
    with pytest.raises(UserError, match="'onset' holds words, expected seconds"):
        prepared(source, tmp_path / "b")
    write_events(path, onsets=[str(onset).replace(".", ",") for onset in ONSETS])
    with pytest.raises(
        UserError, match=r"events.tsv: column 'onset', row 2: '1,0' has a comma; expected numbers with a point"
    ):
        prepared(source, tmp_path / "c")


def test_a_recording_without_a_table_of_events_says_what_it_has(tmp_path):
    source = listed(tmp_path, where="table", on_broken="stop")
    with pytest.raises(UserError, match=r"s1_raw.fif: no table of events.*0 annotations and STI of type stim"):
        prepared(source, tmp_path)


def test_a_missing_channel_of_triggers_is_told(tmp_path):
    with pytest.raises(UserError, match=r"expected channel 'STI 014'.*found STI of type stim.*did you mean 'STI'"):
        prepared(listed(tmp_path, events={"channel": "STI 014"}, on_broken="stop"), tmp_path / "a")
    write_fif(tmp_path / "s2_raw.fif", raw_of(stim=False))
    with pytest.raises(UserError, match="expected one channel of type stim for the events, found none"):
        prepared(listed(tmp_path, names=("s2",), on_broken="stop"), tmp_path / "b")


# Sessions that cannot be used


def truncated(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("share", [0, 0.002, 0.05, 0.5, 0.999])
@pytest.mark.parametrize("ending", [".fif", ".edf", ".bdf"])
def test_a_truncated_file_is_named(tmp_path, ending, share):
    path = tmp_path / f"a_raw{ending}"
    path = truncated(write_fif(path) if ending == ".fif" else write_edf(path, bytes_=2 + (ending == ".bdf")), share)
    one = {"file": str(path), "subject": "p0", "events": str(write_events(tmp_path / "events.tsv"))}
    with pytest.raises(UserError, match=rf"a_raw\{ending}: (truncated|cannot be read: corrupt or truncated)"):
        prepared(source_of(sessions={"s1": one}, on_broken="stop"), tmp_path)


def of_brainvision(folder, change=None, header="", **options):
    """A session in BrainVision, whose files are changed after they are written."""
    path = write_brainvision(folder / "a.vhdr")
    path.write_text(path.read_text(encoding="utf-8").replace("[Binary Infos]", f"{header}[Binary Infos]"), "utf-8")
    if change:
        change(folder)
    one = {"file": str(path), "subject": "p0"}
    events = {"where": "annotations", "classes": {"left": "Stimulus/S  1", "right": "Stimulus/S  2"}}
    return source_of(sessions={"s1": one}, events=events, channel_types={"EOG1": "eog"}, **options)


def half(folder):
    truncated(folder / "data.eeg", 0.5)


def a_byte_less(folder):
    content = (folder / "data.eeg").read_bytes()
    (folder / "data.eeg").write_bytes(content[:-1])


@pytest.mark.parametrize(
    ("change", "header", "message"),
    [
        (half, "DataPoints=2600\n", r"data.eeg: truncated: it has 7800 bytes, expected 15600 for 2600 samples of 3 "),
        (half, "DataPoints = 2600 \n", r"data.eeg: truncated: it has 7800 bytes, expected 15600"),
        (a_byte_less, "", r"data.eeg: truncated: it has 15599 bytes, expected whole samples of 3 channels of 2 bytes"),
        (lambda folder: (folder / "data.eeg").unlink(), "", r"a.vhdr: names a file .* not there \(.*/data.eeg\)"),
    ],
)
def test_data_of_brainvision_that_end_early_or_are_not_there_are_named(tmp_path, change, header, message):
    with pytest.raises(UserError, match=message):
        prepared(of_brainvision(tmp_path, change, header, on_broken="stop"), tmp_path)


def test_whole_data_of_brainvision_are_read_where_the_header_says_how_long_they_are(tmp_path):
    check_trials(made(of_brainvision(tmp_path, None, "DataPoints=2600\n"), tmp_path), values_of())


def test_markers_after_the_end_of_the_data_are_counted_and_named(tmp_path, caplog):
    made(of_brainvision(tmp_path, half), tmp_path)
    # Half of 26 s: the events of 13, 15, ..., 23 s are lost, of which the first is of class 1.
    told = "a.vmrk: 6 of 12 markers lie after the end of the data (13 s): 'Stimulus/S  1' (3 times), 'Stimulus/S  2' (3"
    assert told in caplog.text


def test_a_missing_file_of_markers_is_told(tmp_path, caplog):
    with pytest.raises(UserError, match="found no event at all"):
        prepared(of_brainvision(tmp_path, lambda folder: (folder / "a.vmrk").unlink(), on_broken="stop"), tmp_path)
    assert "MarkerFile 'a.vmrk' not found; no annotations. Copy that file, too" in caplog.text


@pytest.mark.parametrize(("times", "unit"), [(1000, "milliseconds"), (RATE, r"samples \(at 100 Hz\)")])
def test_onsets_in_another_unit_are_told_with_the_unit(tmp_path, times, unit):
    path = write_events(tmp_path / "events.tsv", [onset * times for onset in ONSETS])
    source = listed(tmp_path, where="table", tables={"events": str(path)}, on_broken="stop")
    message = (
        rf"^{path}: 12 of 12 events lie after the end .* from {times} to {23 * times}, and it lasts 26 s; .* {unit}"
    )
    with pytest.raises(UserError, match=message):
        prepared(source, tmp_path)


def test_of_two_units_that_would_do_the_one_that_fills_the_recording_is_named(tmp_path):
    # At 500 Hz, samples up to 11500 end after 23 s, and as many milliseconds after 11.5 s.
    raw = mne.io.RawArray(np.zeros((1, 26 * 500)), mne.create_info(["C3"], 500, "eeg"), verbose="ERROR")
    write_fif(tmp_path / "s1_raw.fif", raw)
    path = write_events(tmp_path / "events.tsv", [onset * 500 for onset in ONSETS])
    source = listed(tmp_path, where="table", tables={"events": str(path)}, on_broken="stop")
    with pytest.raises(UserError, match=r"they look like samples \(at 500 Hz\), expected seconds"):
        prepared(source, tmp_path)


# After 4 s, the last onset is more than five times as late, but as samples all events would lie in the first 6 %.
@pytest.mark.parametrize("seconds", [24, 9, 4])
def test_events_after_the_end_are_told_and_left_out_also_where_they_are_most(tmp_path, caplog, seconds):
    write_fif(tmp_path / "s1_raw.fif", raw_of().crop(tmax=seconds, include_tmax=False))
    tables = {"events": str(write_events(tmp_path / "events.tsv", [*ONSETS[:-1], 25.0]))}
    session = made(listed(tmp_path, where="table", tables=tables), tmp_path)
    late = sum(onset >= seconds for onset in [*ONSETS[:-1], 25.0])
    assert f"events.tsv: {late} of 12 events lie after the end of the recording" in caplog.text
    assert (session.excluded["reason"] == "reaches out of the recording").sum() == late


@pytest.mark.parametrize("share", [0, 0.9])
def test_data_of_eeglab_that_end_early_are_named(tmp_path, share):
    path = write_set(tmp_path / "a.set", values_of(), apart=True)
    truncated(tmp_path / "a.fdt", share)
    source = source_of(sessions={"s1": {"file": str(path), "subject": "p0"}}, on_broken="stop")
    with pytest.raises(
        UserError, match=rf"a.fdt: truncated: it has {int(31200 * share)} bytes, expected 31200 for 2600 "
    ):
        prepared(source, tmp_path / "a")
    (tmp_path / "a.fdt").unlink()
    with pytest.raises(UserError, match=r"a.set: names a file with its data that is not there \(.*a.fdt"):
        prepared(source, tmp_path / "b")


@pytest.mark.parametrize("length", [0, 128])
def test_files_of_eeglab_that_end_before_their_content_are_named(tmp_path, length):
    path = write_set(tmp_path / "a.set", values_of())
    path.write_bytes(path.read_bytes()[:length])
    source = source_of(sessions={"s1": {"file": str(path), "subject": "p0"}}, on_broken="stop")
    with pytest.raises(UserError, match=r"a.set: cannot be read: corrupt or truncated"):
        prepared(source, tmp_path)


@pytest.mark.parametrize("name", ["a-epo.fif", "a.set", "a.vhdr", "a.gdf", "a.bdf", "a_raw.fif.gz", "a.xyz"])
def test_a_file_of_another_kind_than_its_name_says_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x93no recording\n" * 50)
    source = source_of(sessions={"s1": {"file": str(tmp_path / name), "subject": "p0"}}, on_broken="stop")
    with pytest.raises(UserError, match=rf"{name}: (truncated|cannot be read|reading this format)"):
        prepared(source, tmp_path)


def test_a_broken_session_is_left_out_with_its_reason_and_the_others_stay(tmp_path, caplog):
    truncated(write_fif(tmp_path / "s2_raw.fif"), 0.5)
    found = assembled(listed(tmp_path, names=("s1", "s2", "s3")), tmp_path)
    assert found.samples["session"].value_counts().to_dict() == {"s1": 12, "s3": 12}
    assert found.exclusions.to_numpy().tolist() == [["s2", "p1", "", "file cannot be read"]]
    assert "session s2 is left out" in caplog.text


def test_a_link_to_nothing_is_told_as_such(tmp_path):
    (tmp_path / "a.edf").symlink_to(tmp_path / "annex")
    source = source_of(folder=str(tmp_path), layout={"file": "{subject}.edf"}, on_broken="stop")
    with pytest.raises(UserError, match=r"a.edf: a link to nothing; .*datalad get"):
        prepared(source, tmp_path)


def test_endings_in_capital_letters_are_read(tmp_path):
    one = {"file": str(write_edf(tmp_path / "A.EDF")), "subject": "p0"}
    one["events"] = str(write_events(tmp_path / "events.tsv"))
    check_trials(made(source_of(sessions={"s1": one}, channel_types={"EOG1": "eog"}), tmp_path), values_of())


def test_when_no_session_can_be_used_the_first_fault_is_told(tmp_path):
    source = listed(tmp_path, names=("s1", "s2"), cleaning={"lowpass": 60})
    with pytest.raises(UserError, match=r"none of the 2 sessions can be used; the first: .*s1_raw.fif: lowpass: 60 Hz"):
        assembled(source, tmp_path)


def test_a_session_without_a_sound_trial_is_left_out_with_the_counts_in_the_log(tmp_path, caplog):
    source = listed(tmp_path, cleaning={"reject": {"eeg": 1e-6}}, on_broken="stop")
    with pytest.raises(
        UserError, match=r"no trial is left of 12 events: range of a channel of type eeg over 1e-06 \(12 trials\); mend"
    ):
        prepared(source, tmp_path)


def test_sessions_of_other_rates_are_refused_unless_they_are_resampled(tmp_path):
    slow = raw_of(values_of()[:, ::2], rate=50)
    write_fif(tmp_path / "s2_raw.fif", slow)
    with pytest.raises(UserError, match=r"50 Hz in s2; 100 Hz in s1; set 'resample'"):
        assembled(listed(tmp_path, names=("s1", "s2")), tmp_path / "a")
    found = assembled(listed(tmp_path, names=("s1", "s2"), cleaning={"resample": 50}), tmp_path / "b")
    assert len(found.features["eeg"]) == 24


# Channels


def with_channels(folder, *lines, electrodes=(), **options):
    path = write_lines(folder / "channels.tsv", *lines)
    tables = {"channels": str(path)}
    if electrodes:
        tables["electrodes"] = str(write_lines(folder / "electrodes.tsv", *electrodes))
    return listed(folder, tables=tables, **options)


def channels_in(session):
    return {
        name: list(dict.fromkeys(c.rpartition("_t")[0] for c in table.columns[1:]))
        for name, table in session.features.items()
    }


def test_channels_are_chosen_by_type_pattern_and_region(tmp_path):
    modalities = {
        "central": {"channels": ["C?"], "bins": 1},
        "eye": {"types": ["eog"], "bins": 1},
        "left": {"regions": ["motor_left"], "bins": 1},
        "one": {"types": ["eeg", "eog"], "channels": ["*4", "EOG*"], "regions": ["motor_right"], "bins": 1},
    }
    source = with_channels(
        tmp_path,
        *("name type", "C3 EEG", "C4 EEG", "EOG1 HEOG", "STI TRIG"),
        electrodes=("name region", "C3 motor_left", "C4 motor_right", "EOG1 n/a"),
        modalities=modalities,
    )
    assert channels_in(made(source, tmp_path)) == {
        "central": ["C3", "C4"],
        "eye": ["EOG1"],
        "left": ["C3"],
        "one": ["C4"],
    }


def test_the_table_of_channels_sets_types_and_the_settings_go_before_it(tmp_path):
    lines = ("name type", "C3 SEEG", "C4 ECOG", "EOG1 EOG", "STI TRIG")
    modalities = {"deep": {"types": ["seeg"], "bins": 1}, "grid": {"types": ["ecog"], "bins": 1}}
    assert channels_in(made(with_channels(tmp_path, *lines, modalities=modalities), tmp_path / "a")) == {
        "deep": ["C3"],
        "grid": ["C4"],
    }
    source = with_channels(tmp_path, *lines, modalities=modalities, channel_types={"EOG*": "ecog"})
    assert channels_in(made(source, tmp_path / "b"))["grid"] == ["C4", "EOG1"]


def test_a_bad_channel_is_dropped_and_stops_the_run_where_it_was_asked_for_by_name(tmp_path):
    lines = ("name type status", "C3 EEG good", "C4 EEG bad", "EOG1 EOG good")
    source = with_channels(tmp_path, *lines)
    assert channels_in(made(source, tmp_path / "a")) == {"eeg": ["C3"]}
    named = {"eeg": {"channels": ["C3", "C4"], "bins": 1}}
    with pytest.raises(UserError, match=r"session s1: modality 'eeg': channel C4 is bad in this session.*interpolated"):
        prepared(with_channels(tmp_path, *lines, modalities=named), tmp_path / "b")
    source = with_channels(tmp_path, *lines, modalities=named, missing_channels="exclude")
    assert channels_in(made(source, tmp_path / "c")) == {"eeg": ["C3"]}


def test_bad_channels_of_the_settings_are_those_of_a_session_or_of_all(tmp_path):
    source = listed(
        tmp_path,
        names=("s1", "s2"),
        cleaning={"bad_channels": {"s2": ["C4"]}},
        missing_channels="exclude",
    )
    assert assembled(source, tmp_path / "a").features["eeg"].shape[1] == 5
    source = listed(tmp_path, names=("s1", "s2"), cleaning={"bad_channels": {"s2": ["C4"]}})
    with pytest.raises(UserError, match=r"modality 'eeg'.*s2 lacks C4_t"):
        assembled(source, tmp_path / "b")
    with pytest.raises(UserError, match=r"cleaning.bad_channels.all: no channel 'C5'; Known: C3, C4"):
        prepared(listed(tmp_path, cleaning={"bad_channels": {"all": ["C5"]}}), tmp_path / "c")
    with pytest.raises(UserError, match="bad_channels: no session 's3'"):
        prepared(listed(tmp_path, cleaning={"bad_channels": {"s3": ["C4"]}}), tmp_path / "d")


def test_a_session_that_lacks_a_channel_stops_the_run_or_the_channel_is_left_out(tmp_path):
    write_fif(tmp_path / "s2_raw.fif", raw_of(names=("C3", "Pz", "EOG1")))
    named = {"eeg": {"channels": ["C3", "C4"], "bins": 1}}
    with pytest.raises(UserError, match="session s2: modality 'eeg': channels: no channel fits 'C4'; Known: C3, Pz"):
        assembled(listed(tmp_path, names=("s1", "s2"), modalities=named), tmp_path / "a")
    source = listed(tmp_path, names=("s1", "s2"), modalities=named, missing_channels="exclude")
    found = assembled(source, tmp_path / "b").features["eeg"]
    assert [column.partition("_")[0] for column in found.columns[1:]] == ["C3"]
    assert len(found) == 24


def test_a_session_without_any_channel_of_a_modality_lacks_it_or_stops_the_run(tmp_path):
    write_fif(tmp_path / "s2_raw.fif", raw_of(types=("eeg", "eeg", "eeg"), names=("C3", "C4", "Pz")))
    modalities = {"eeg": BINS | {"channels": ["C3"]}, "eye": {"types": ["eog"], "bins": 1}}
    names = ("s1", "s2")
    with pytest.raises(
        UserError, match=r"session s2: modality 'eye': types: no channel fits 'eog'; the session has types: eeg \(3\)"
    ):
        assembled(listed(tmp_path, names=names, modalities=modalities), tmp_path / "a")
    found = assembled(listed(tmp_path, names=names, modalities=modalities, missing_channels="exclude"), tmp_path / "b")
    assert set(found.features["eye"]["sample"].str[:2]) == {"p0"}
    assert found.exclusions["reason"].value_counts().to_dict() == {"the session lacks the modality": 12}


def test_an_unknown_region_is_told_with_those_there_are(tmp_path):
    source = with_channels(
        tmp_path, "name region", "C3 left", "C4 right", modalities={"x": {"regions": ["middle"], "bins": 1}}
    )
    with pytest.raises(UserError, match="regions: left, right"):
        prepared(source, tmp_path / "a")
    with pytest.raises(UserError, match="regions: none, as no table has 'region'"):
        prepared(listed(tmp_path, modalities={"x": {"regions": ["middle"], "bins": 1}}), tmp_path / "b")


def test_conditions_that_no_channel_meets_together_are_refused(tmp_path):
    modalities = {"x": {"types": ["eog"], "channels": ["C*"], "bins": 1}}
    with pytest.raises(UserError, match=r"no channel meets all its conditions; the session has types: eeg \(2\), eog"):
        prepared(listed(tmp_path, modalities=modalities), tmp_path)


def test_what_no_session_has_is_refused_also_where_channels_may_be_missing(tmp_path):
    for key, known, wrong in (("channels", "C3", "C33"), ("types", "eeg", "seeg")):
        source = listed(tmp_path, modalities={"x": {key: [known, wrong], "bins": 1}}, missing_channels="exclude")
        with pytest.raises(UserError, match=f"modality 'x': {key}: '{wrong}' is in none of the 1 sessions"):
            assembled(source, tmp_path / key)


def test_a_table_of_channels_that_does_not_fit_is_refused(tmp_path):
    cases = {
        "type of no kind": (
            ("name type", "C3 EGG", "C4 EEG"),
            "channel 'C3' is of no known type: 'EGG'; .*EEG, ",
        ),
        "other names": (("name type", "Fz EEG", "Pz EEG"), "none of its 2 names, such as 'Fz', is a channel"),
        "twice": (("name type", "C3 EEG", "C3 EOG"), "more than one row of channel C3"),
        "no names": (("channel type", "C3 EEG"), "no column 'name'"),
    }
    for name, (lines, message) in cases.items():
        with pytest.raises(UserError, match=rf"^{tmp_path}/channels.tsv: {message}"):
            prepared(with_channels(tmp_path, *lines, on_broken="stop"), tmp_path / name)


# Folders


def bids(folder, subjects=("01", "02"), write=write_edf):
    for number, subject in enumerate(subjects):
        stem = folder / f"sub-{subject}/eeg/sub-{subject}_task-odd"
        write(Path(f"{stem}_eeg.edf"), values_of(number))
        write_events(Path(f"{stem}_events.tsv"))
    return folder


def names_in(source):
    return {name: [one.file.name for one in session.recordings] for name, session in source.found.items()}


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return str(folder)


def test_a_folder_of_bids_becomes_samples_of_all_subjects(tmp_path):
    write_lines(bids(tmp_path / "data") / "task-odd_channels.tsv", "name type", "C3 EEG", "C4 EEG", "EOG1 EOG")
    source = source_of(folder=str(tmp_path / "data"))
    assert source.chunks == {"session": ["sub-01", "sub-02"]}
    found = assembled(source, tmp_path)
    assert found.samples.groupby("subject")["target"].value_counts().to_dict() == {
        (subject, name): 6 for subject in ("sub-01", "sub-02") for name in FOUND
    }
    assert found.samples["sample"].iloc[0] == "sub-01_0001"
    expected = by_hand(values_of(1))[:, :2].reshape(12, 8, 25).mean(axis=-1)
    assert np.allclose(found.features["eeg"].iloc[12:, 1:], expected, atol=1e-4)
    checked = samples.check(found, "classification", ["eeg"], "sample")
    assert len(checked.samples) == 24


def test_runs_of_a_session_are_joined_and_a_file_in_parts_is_one(tmp_path):
    folder = touched(
        tmp_path,
        *(
            f"sub-1/ses-a/meg/sub-1_ses-a_run-{run}_split-{part}_meg.fif"
            for run in ("2", "10")
            for part in ("01", "02")
        ),
        "sub-1/ses-a/meg/sub-1_ses-a_coordsystem.json",
        "sub-10/ses-a/meg/sub-10_ses-a_run-2_meg.fif",
        "sub-2/ses-a/meg/sub-2_ses-a_run-2_meg.fif",
        "derivatives/sub-2/ses-a/meg/sub-2_ses-a_run-2_meg.fif",
    )
    assert names_in(source_of(folder=folder)) == {
        "sub-1_ses-a": [f"sub-1_ses-a_run-{run}_split-01_meg.fif" for run in ("2", "10")],
        "sub-2_ses-a": ["sub-2_ses-a_run-2_meg.fif"],
        "sub-10_ses-a": ["sub-10_ses-a_run-2_meg.fif"],
    }
    source = source_of(folder=folder, runs=[2], exclude=["sub-2_ses-a"])
    assert list(names_in(source)) == ["sub-1_ses-a", "sub-10_ses-a"]
    inputs = [path.name for path in source.inputs_of("session", "sub-1_ses-a")]
    assert inputs == [f"sub-1_ses-a_run-2_split-{part}_meg.fif" for part in ("01", "02")]


def test_the_subjects_asked_for_are_used_and_no_others(tmp_path):
    names = [f"sub-{subject}/eeg/sub-{subject}_eeg.edf" for subject in ("01", "02", "10", "anna")]
    folder = touched(tmp_path / "data", *names)
    for asked, found in (
        (["sub-02"], ["sub-02"]),
        (["02", "anna"], ["sub-02", "sub-anna"]),
        ([1, 10], ["sub-01", "sub-10"]),
    ):
        assert list(names_in(source_of(folder=folder, subjects=asked))) == found
    with pytest.raises(UserError, match=r"data: subjects: no recording of 'sub-03'; .*Known: sub-01, sub-02, sub-10"):
        names_in(source_of(folder=folder, subjects=["sub-03"]))
    with pytest.raises(UserError, match="exclude: it leaves none of the 1 sessions"):
        names_in(source_of(folder=folder, subjects=["01"], exclude=["sub-01"]))
    with pytest.raises(UserError, match="subjects: expected at least 1, found 0"):
        source_of(folder=folder, subjects=[])
    one, all_ = source_of(folder=folder, subjects=["02"]), source_of(folder=folder)
    assert one.settings_of("session", "sub-02") == all_.settings_of("session", "sub-02")
    several = listed(tmp_path, names=("s1", "s2"), subjects=["p1"])
    assert list(names_in(several)) == ["s2"]


def test_trials_of_runs_are_numbered_on_and_have_the_channels_of_all(tmp_path):
    for run in (1, 2):
        stem = tmp_path / f"data/sub-01/eeg/sub-01_run-{run}"
        write_edf(Path(f"{stem}_eeg.edf"), values_of(run)[: 4 - run])
        write_events(Path(f"{stem}_events.tsv"), [0.1, *ONSETS], ["left", *NAMES])
    source = source_of(folder=str(tmp_path / "data"))
    with pytest.raises(UserError, match=r"session sub-01: channels that not all of its 2 runs have.*: EOG1"):
        prepared(source, tmp_path / "a")
    session = made(source_of(folder=str(tmp_path / "data"), missing_channels="exclude"), tmp_path / "b")
    numbers = [*range(2, 14), *range(15, 27)]
    assert session.trials["sample"].tolist() == [f"sub-01_{number:04d}" for number in numbers]
    assert session.excluded["sample"].tolist() == ["sub-01_0001", "sub-01_0014"]
    assert session.trials["target"].tolist() == NAMES * 2
    expected = np.concatenate([by_hand(values_of(run)[:2]) for run in (1, 2)]).reshape(24, 8, 25).mean(axis=-1)
    assert np.allclose(session.features["eeg"].iloc[:, 1:], expected, atol=1e-4)


def test_a_run_without_any_event_asked_for_takes_nothing_from_the_others(tmp_path, caplog):
    for run, names in ((1, ["rest"] * 12), (2, NAMES)):
        stem = tmp_path / f"data/sub-01/eeg/sub-01_run-{run}"
        write_edf(Path(f"{stem}_eeg.edf"))
        write_events(Path(f"{stem}_events.tsv"), names=names)
    session = made(source_of(folder=str(tmp_path / "data")), tmp_path / "a")
    assert session.trials["target"].tolist() == NAMES
    assert "run-1_eeg.edf: none of the events asked for" in caplog.text
    with pytest.raises(UserError, match=r"run-1_eeg.edf: none of the events asked for"):
        made(source_of(folder=str(tmp_path / "data"), on_broken="stop"), tmp_path / "b")


def test_the_nearest_table_with_the_most_labels_belongs_to_a_recording(tmp_path):
    names = ["sub-1/eeg/sub-1_task-a_run-1_eeg.edf", "sub-1/eeg/sub-1_task-a_run-2_eeg.edf", "task-a_events.tsv"]
    names += ["sub-1/eeg/sub-1_events.tsv", "sub-1/eeg/sub-1_task-a_run-2_events.tsv", "task-b_channels.tsv"]
    names += ["sub-1/eeg/sub-1_space-MNI_electrodes.tsv", "channels.tsv"]
    runs = source_of(folder=touched(tmp_path, *names)).found["sub-1"].recordings
    assert [run.events.relative_to(tmp_path).as_posix() for run in runs] == [names[3], names[4]]
    assert runs[0].electrodes.name == "sub-1_space-MNI_electrodes.tsv"
    assert runs[0].channels.name == "channels.tsv"


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["sub-1/eeg/sub-1_eeg.edf", "sub-1/eeg/sub-1_eeg.bdf"], {}, "two files of session sub-1: .*bdf and .*edf"),
        (["sub-1/eeg/sub-1_eeg.edf", "sub-1/meg/sub-1_meg.fif"], {}, "two files of session sub-1: .*narrow datatypes"),
        (["sub-1/eeg/sub-1_task-a_eeg.edf", "sub-1/eeg/sub-1_task-b_eeg.edf"], {}, "recordings of 2 tasks .a, b."),
        (
            ["sub-1/eeg/sub-1_task-rest_eeg.edf"],
            {"tasks": ["rset"]},
            "no recording of task 'rset'; did you mean 'rest'",
        ),
        (["sub-1/eeg/sub-1_run-1_eeg.edf"], {"runs": [3]}, "no run '3'"),
        (["sub-1/eeg/sub-2_eeg.edf"], {}, "its name says .*sub-?2|'2'.* and its folders"),
        (["sub-1/anat/sub-1_T1w.nii"], {}, r"no recording found; looked for .*eeg/\*_eeg.*the folder holds sub-1/"),
        (["sub-1/eeg/sub-1_eeg.edf"], {"exclude": ["sub-2"]}, "exclude: no session 'sub-2' was found"),
        (["sub-1/eeg/sub-1_eeg.edf"], {"exclude": ["sub-1"]}, "exclude: it leaves none of the 1 sessions"),
    ],
)
def test_what_cannot_be_used_of_a_folder_is_refused(tmp_path, names, options, message):
    with pytest.raises(UserError, match=message):
        names_in(source_of(folder=touched(tmp_path, *names), **options))


def test_a_layout_finds_subjects_and_sessions_in_paths(tmp_path):
    names = ["mouse1/day2.edf", "mouse1/day2_ev.tsv", "mouse1/day10.edf", "mouse2/day2.edf", "mouse2/notes.txt"]
    layout = {"file": "{subject}/{session}.edf", "events": "{subject}/{session}_ev.tsv"}
    source = source_of(folder=touched(tmp_path, *names), layout=layout)
    assert names_in(source) == {"mouse1_day2": ["day2.edf"], "mouse1_day10": ["day10.edf"], "mouse2_day2": ["day2.edf"]}
    assert source.found["mouse2_day2"].subject == "mouse2"
    assert source.found["mouse1_day2"].recordings[0].events == tmp_path / "mouse1/day2_ev.tsv"
    assert source.found["mouse1_day10"].recordings[0].events is None


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"file": "{subject}_*.edf"}, "two files of session m1: .*m1_a.edf and .*m1_b.edf"),
        ({"file": "{subject}.fif"}, "no file fits layout.file"),
        ({"file": "{rat}.edf"}, "{rat} stands for nothing"),
        ({"file": "{session}.edf"}, "write {subject} into 'file', or say in 'subject'"),
        ({"file": "*.edf", "subject": "m1"}, "write {session} into it"),
        ({"file": "../{subject}.edf"}, "leads out of the folder"),
    ],
)
def test_a_layout_that_cannot_be_used_is_refused(tmp_path, layout, message):
    with pytest.raises(UserError, match=message):
        names_in(source_of(folder=touched(tmp_path, "m1_a.edf", "m1_b.edf"), layout=layout))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "name 'folder' or 'sessions'"),
        ({"folder": "x", "sessions": {"a": {"file": "a.edf", "subject": "s"}}}, "name 'folder' or 'sessions'"),
        (
            {"folder": "x", "layout": {"file": "{subject}.edf"}, "tasks": ["rest"]},
            "'tasks' is for folders in the layout",
        ),
        (
            {"folder": "x", "modalities": {"eeg": {"types": ["EGG"], "bins": 1}}},
            "no type of channel 'EGG'; did you mean",
        ),
        ({"folder": "x", "modalities": {"eeg": {"bins": 1}}}, "name types, channels or regions"),
        ({"folder": "x", "modalities": {"eeg": {"types": ["eeg"]}}}, "needs samples, bins, bands or phase"),
        ({"folder": "x", "events": {"classes": {"a": 1, "b": [2, 1]}}}, "event '1' stands under 'a' and 'b'"),
        (
            {"folder": "x", "events": {"classes": {"left": 1}}},
            r"^mine.yaml: events.classes: decoding needs two classes or more, found only 'left'; name",
        ),
        ({"folder": "x", "events": {"classes": {}}}, "events.classes: decoding needs two classes or more, found none"),
        ({"folder": "x", "modalities": {}}, r"^mine.yaml: modalities: expected at least 1, found 0: \{\}"),
        ({"folder": "x", "window": [0.8, -0.2]}, "the lower number must come first"),
        ({"folder": "x", "modalities": {"trials": BINS}}, "a modality cannot be called 'trials'"),
        ({"sessions": {"a b": {"file": "a.edf", "subject": "s"}}}, "the name 'a b' may hold letters"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        source_of(**options)


def test_a_folder_or_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        names_in(source_of(folder=str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match=r"sessions.a.file: .*a.edf: no such file"):
        names_in(source_of(sessions={"a": {"file": str(tmp_path / "a.edf"), "subject": "s"}}))


def test_a_new_session_leaves_the_settings_of_others_as_they_are(tmp_path):
    one, two = listed(tmp_path), listed(tmp_path, names=("s1", "s2"))
    assert one.settings_of("session", "s1") == two.settings_of("session", "s1")
    assert one.inputs_of("session", "s1") == two.inputs_of("session", "s1")
    assert one.settings_of("session", "s1") != listed(tmp_path, window=[0, 0.5]).settings_of("session", "s1")


def test_a_session_whose_subject_was_corrected_has_other_settings(tmp_path):
    """Names of samples begin with the subject, so the session is worked on again."""
    source = listed(tmp_path, names=("s1", "s2"))
    sessions = {name: one.model_dump(mode="json") for name, one in source.sessions.items()}
    sessions["s2"]["subject"] = "another"
    corrected = source_of(sessions=sessions, events={"where": "stim", "classes": TRIGGERS})
    assert corrected.settings_of("session", "s1") == source.settings_of("session", "s1")
    assert corrected.settings_of("session", "s2") != source.settings_of("session", "s2")

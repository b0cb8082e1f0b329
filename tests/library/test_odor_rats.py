"""Rats in the odour sequence task: which trials, which bins, which numbers, and what is refused."""

import logging
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd
import pytest
import yaml

from metafusion.cohort.students import all_students
from metafusion.config.load import load_experiment, validate
from metafusion.config.odor import OdorRats
from metafusion.errors import UserError
from metafusion.files import read_arrays, read_table
from metafusion.samples import check
from metafusion.sources import odor_rats
from metafusion.sources.trials import read_session
from metafusion.splits import split_samples

ROOT = Path(__file__).parents[2]

#         correct, in sequence, position, odour
TRIALS = [
    (1, 1, 1, 1),
    (1, 1, 2, 2),
    (0, 1, 3, 3),
    (1, 0, 4, 1),
    (1, 1, 5, 5),
    (1, 1, 1, 1),
    (1, 1, 1, 1),
    (0, 0, 3, 2),
    (1, 1, 2, 2),
    (1, 1, 2, 2),
]
USED = {1: "A", 2: "B", 6: "A", 7: "A", 9: "B", 10: "B"}
"""Class by number of the trial, by hand: correct, in sequence, odour A or B."""
OUT = {3: "incorrect response", 4: "out of sequence", 5: "no class asked for", 8: "incorrect response"}
CHANNELS, UNITS, BINS = 2, 3, 12
SMALL = {
    "classes": {1: "A", 2: "B"},
    "layout": {"start": -0.4, "bin_width": 0.1},
    "window": (0.0, 0.6),
}
"""Twelve bins of 0.1 s; the window is bins 4 to 10."""


def write_rat(root, rat="Nibbles", trials=TRIALS, lfp=None, spikes=None, prefix=None):
    """Write the three files of a rat; every number in them is another."""
    folder = root / rat
    folder.mkdir(parents=True, exist_ok=True)
    count = len(trials)
    if lfp is None:
        lfp = np.arange(count * BINS * CHANNELS, dtype=float).reshape(count, BINS, CHANNELS)
    if spikes is None:
        spikes = (np.arange(count * UNITS * BINS) % 7).reshape(count, UNITS, BINS).astype(np.uint8)
    start = prefix or rat.lower()
    np.save(folder / f"{start}_lfp_data_sampled.npy", lfp)
    np.save(folder / f"{start}_spike_data_binned.npy", spikes)
    np.save(folder / f"{start}_trial_info.npy", np.array(trials))
    return lfp, spikes


def source_of(root, **changes):
    content = {"kind": "odor_rats", "folder": root, "rat": "Nibbles", **SMALL, **changes}
    return validate(OdorRats, content, "test")


def preprocessed(source, folder):
    place = Path(mkdtemp(dir=folder)) / source.rat
    place.mkdir()
    odor_rats.preprocess(source, "session", source.rat, None, place)
    return place


def decoded(root, **changes):
    source = source_of(root, **changes)
    return odor_rats.assemble(source, None, {"session": [preprocessed(source, root)]})


def name(number, rat="Nibbles"):
    return f"{rat}_{number:04d}"


# Which trials


def test_trials_are_those_chosen_by_hand(tmp_path):
    write_rat(tmp_path)
    found = decoded(tmp_path)
    assert dict(zip(found.samples["sample"], found.samples["target"], strict=True)) == {
        name(number): label for number, label in USED.items()
    }
    assert set(found.samples["subject"]) == set(found.samples["session"]) == {"Nibbles"}
    reasons = dict(zip(found.exclusions["sample"], found.exclusions["reason"], strict=True))
    assert reasons == {name(number): reason for number, reason in OUT.items()}
    assert set(found.exclusions["modality"]) == {""}
    for table in found.features.values():
        assert list(table["sample"]) == list(found.samples["sample"])
    check(found, "classification", ["lfp", "spikes"], "sample")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"correct_only": False, "classes": {1: "A", 2: "B"}}, {1: "A", 2: "B", 6: "A", 7: "A", 9: "B", 10: "B"}),
        (
            {"in_sequence_only": False, "correct_only": False},
            {1: "A", 2: "B", 4: "A", 6: "A", 7: "A", 8: "B", 9: "B", 10: "B"},
        ),
        (
            {"classes": {1: "low", 2: "high", 5: "high"}},
            {1: "low", 6: "low", 7: "low", 2: "high", 5: "high"} | {9: "high", 10: "high"},
        ),
        ({"positions": [1, 2, 5]}, USED),
    ],
)
def test_options_change_which_trials_are_used(tmp_path, changes, expected):
    write_rat(tmp_path)
    found = decoded(tmp_path, **changes)
    assert dict(zip(found.samples["sample"], found.samples["target"], strict=True)) == {
        name(number): label for number, label in expected.items()
    }


def test_sequence_can_be_decoded_instead_of_the_odour(tmp_path):
    write_rat(tmp_path, trials=[(1, place % 2, 3, 1 + place % 5) for place in range(8)] + [(0, 1, 2, 2)])
    found = decoded(tmp_path, label="sequence", classes=None)
    assert list(found.samples["target"]) == ["out_of_sequence", "in_sequence"] * 4
    assert list(found.exclusions["reason"]) == ["incorrect response"]


def test_a_table_of_labels_alone_will_do(tmp_path):
    labels = np.tile([0, 1, 1], 3)
    write_rat(tmp_path, trials=labels)
    columns = {"correct": None, "in_sequence": None, "position": None, "odor": 0}
    found = decoded(
        tmp_path,
        classes={0: "no", 1: "yes"},
        correct_only=False,
        in_sequence_only=False,
        layout={**SMALL["layout"], "columns": columns},
    )
    assert list(found.samples["target"]) == ["no", "yes", "yes"] * 3


def test_a_setting_that_needs_an_absent_column_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"'correct_only' needs layout\.columns\.correct"):
        source_of(tmp_path, layout={**SMALL["layout"], "columns": {"correct": None}})


def test_files_may_be_called_otherwise(tmp_path):
    write_rat(tmp_path, rat="Rat-07", prefix="day3")
    found = decoded(tmp_path, rat="Rat-07", prefix="day3")
    assert found.samples["sample"][0] == "Rat-07_0001"


# Which numbers


def test_the_default_window_is_bins_200_to_250():
    source = OdorRats(kind="odor_rats", folder="data", rat="Mitt")
    assert (source.window, source.bins) == ((0.0, 0.5), (200, 250))
    assert odor_rats.places(source.window, source.layout.start, 100) == slice(200, 250)
    # None of these edges is exact in binary.
    for first in range(0, 390, 7):
        one = OdorRats(kind="odor_rats", folder="data", rat="Mitt", bins=(first, first + 10))
        assert OdorRats(kind="odor_rats", folder="data", rat="Mitt", window=one.window).bins == (first, first + 10)


def test_features_are_the_numbers_of_the_window(tmp_path):
    lfp, spikes = write_rat(tmp_path)
    found = decoded(tmp_path)
    rows = [number - 1 for number in USED]
    # Channel by channel, time within: what a PCA of each channel takes.
    expected = lfp[rows, 4:10].transpose(0, 2, 1).reshape(len(rows), -1)
    assert np.array_equal(found.features["lfp"].drop(columns="sample"), expected.astype(np.float32))
    assert list(found.features["lfp"].columns[1:4]) == ["tetrode_01_t0.00", "tetrode_01_t0.10", "tetrode_01_t0.20"]
    mean = spikes[rows, :, 4:10].astype(float).mean(axis=2)
    assert np.allclose(found.features["spikes"].drop(columns="sample"), mean, rtol=1e-6)
    assert list(found.features["spikes"].columns[1:]) == ["unit_001", "unit_002", "unit_003"]


def test_counts_of_one_byte_do_not_overflow(tmp_path):
    write_rat(tmp_path, spikes=np.full((len(TRIALS), UNITS, BINS), 200, np.uint8))
    found = decoded(tmp_path, spikes={"count": "total"})
    assert (found.features["spikes"].drop(columns="sample") == 6 * 200).all(axis=None)


def test_spikes_in_bins_are_those_of_the_file(tmp_path):
    _, spikes = write_rat(tmp_path)
    found = decoded(tmp_path, spikes={"count": "bins", "bin_width": 0.2})
    rows = [number - 1 for number in USED]
    expected = spikes[rows, :, 4:10].astype(int).reshape(len(rows), UNITS, 3, 2).sum(axis=3).reshape(len(rows), -1)
    assert np.array_equal(found.features["spikes"].drop(columns="sample"), expected)


@pytest.mark.parametrize(("lfp_order", "spike_order"), [((0, 2, 1), (0, 1, 2)), ((2, 1, 0), (2, 0, 1))])
def test_axes_in_another_order_are_suggested_and_then_read(tmp_path, lfp_order, spike_order):
    write_rat(tmp_path / "straight")
    expected = decoded(tmp_path / "straight")
    lfp, spikes = write_rat(tmp_path)
    write_rat(tmp_path, lfp=lfp.transpose(lfp_order), spikes=spikes.transpose(spike_order))
    axes = {
        "lfp_axes": [("trial", "time", "channel")[place] for place in lfp_order],
        "spike_axes": [("trial", "unit", "time")[place] for place in spike_order],
    }
    with pytest.raises(UserError, match="the axes may be in another order") as caught:
        decoded(tmp_path)
    changed = [key for key, order in zip(axes, (lfp_order, spike_order), strict=True) if order != (0, 1, 2)]
    for key in changed:
        assert f"'{key}: [{', '.join(axes[key])}]'" in str(caught.value)
    found = decoded(tmp_path, layout={**SMALL["layout"], **axes})
    for modality, table in expected.features.items():
        pd.testing.assert_frame_equal(found.features[modality], table)


def test_an_lfp_of_another_rate_is_cut_by_its_own_samples(tmp_path):
    fine = np.arange(len(TRIALS) * 120 * CHANNELS, dtype=float).reshape(len(TRIALS), 120, CHANNELS)
    write_rat(tmp_path, lfp=fine)
    with pytest.raises(UserError, match=r"\(10, 120, 2\), read as trial, time, channel: 10 trials of 12 s") as caught:
        decoded(tmp_path)
    assert "lfp_rate" in str(caught.value)
    found = decoded(tmp_path, layout={**SMALL["layout"], "lfp_rate": 100}, lfp={"bins": 6})
    rows = [number - 1 for number in USED]
    expected = fine[rows, 40:100].reshape(len(rows), 6, 10, CHANNELS).mean(axis=2).transpose(0, 2, 1)
    assert np.allclose(found.features["lfp"].drop(columns="sample"), expected.reshape(len(rows), -1), rtol=1e-6)


def test_one_modality_needs_one_file(tmp_path):
    write_rat(tmp_path)
    (tmp_path / "Nibbles/nibbles_lfp_data_sampled.npy").unlink()
    source = source_of(tmp_path, lfp=None)
    assert [path.name for path in source.user_files] == ["nibbles_spike_data_binned.npy", "nibbles_trial_info.npy"]
    assert set(decoded(tmp_path, lfp=None).features) == {"spikes"}


def test_named_channels_and_units_are_left_out(tmp_path):
    write_rat(tmp_path)
    found = decoded(tmp_path, drop=["tetrode_01", "unit_002"])
    assert {column.split("_t")[0] for column in found.features["lfp"].columns[1:]} == {"tetrode_02"}
    assert list(found.features["spikes"].columns[1:]) == ["unit_001", "unit_003"]
    with pytest.raises(UserError, match="drop: 'tetrode_9' is no channel or unit"):
        decoded(tmp_path, drop=["tetrode_9"])


def test_figures_get_the_margin_around_the_window(tmp_path):
    lfp, spikes = write_rat(tmp_path)
    place = preprocessed(source_of(tmp_path, margin=0.2), tmp_path)
    session, rows = read_session(place), [number - 1 for number in USED]
    counts = read_arrays(place / "spikes.safetensors")
    assert np.array_equal(counts["counts"], spikes[rows, :, 2:12])
    assert np.allclose(counts["edges"], np.linspace(-0.2, 0.8, 11))
    # Millivolt in the file.
    assert np.allclose(session.epochs.get_data(), 1e-3 * lfp[rows, 2:12].transpose(0, 2, 1), rtol=1e-5)
    assert session.epochs.times[0] == pytest.approx(-0.2)


def test_only_the_trials_window_is_read(tmp_path, monkeypatch):
    write_rat(tmp_path)
    opened = []
    load = np.load
    monkeypatch.setattr(
        np, "load", lambda *given, **named: opened.append(named.get("mmap_mode")) or load(*given, **named)
    )
    decoded(tmp_path)
    assert opened == ["r"] * 3


# Traps


def test_trials_with_samples_that_are_no_numbers_lack_the_lfp(tmp_path):
    lfp, _ = write_rat(tmp_path)
    lfp[1, 5, 0], lfp[5, 9, 1], lfp[6, 3, 0] = np.nan, np.inf, np.nan
    write_rat(tmp_path, lfp=lfp)
    found = decoded(tmp_path)
    lacking = found.exclusions[found.exclusions["modality"] == "lfp"]
    # The seventh trial has its gap outside the window.
    assert list(lacking["sample"]) == [name(2), name(6)]
    assert set(lacking["reason"]) == {"NaN or infinite samples in the window"}
    assert list(found.features["lfp"]["sample"]) == [name(number) for number in (1, 7, 9, 10)]
    assert len(found.features["spikes"]) == 6
    session = read_session(preprocessed(source_of(tmp_path), tmp_path))
    assert list(session.epochs.metadata["sample"]) == [name(number) for number in (1, 9, 10)]
    with pytest.raises(UserError, match="window of 2 trials, first in trial 2, tetrode_01"):
        decoded(tmp_path, not_finite="stop")


def test_a_channel_without_any_number_is_named(tmp_path):
    lfp, _ = write_rat(tmp_path)
    lfp[:, :, 1] = np.nan
    write_rat(tmp_path, lfp=lfp)
    with pytest.raises(UserError, match="of any trial: tetrode_02; name them in 'drop'"):
        decoded(tmp_path)
    assert decoded(tmp_path, drop=["tetrode_02"]).features["lfp"].shape == (6, 7)
    lfp[:, :, 1] = 0
    lfp[np.arange(len(lfp)), 4, np.arange(len(lfp)) % 2] = np.nan
    write_rat(tmp_path, lfp=lfp)
    with pytest.raises(
        UserError, match="every trial has NaN or infinite samples in the window, the first in tetrode_01"
    ):
        decoded(tmp_path)


@pytest.mark.parametrize("which", ["lfp_data_sampled", "spike_data_binned"])
def test_numbers_of_trials_that_differ_are_told_with_all_shapes(tmp_path, which):
    write_rat(tmp_path)
    path = tmp_path / f"Nibbles/nibbles_{which}.npy"
    np.save(path, np.load(path)[:-1])
    with pytest.raises(UserError) as caught:
        decoded(tmp_path)
    for word in (str(path), "9 trials", "has 10 trials", "shape (10, ", "shape (9, ", "different recordings"):
        assert word in str(caught.value)


def test_a_window_outside_the_trials_is_refused(tmp_path):
    write_rat(tmp_path)
    # Twelve bins of 0.1 s from -0.4 s on end at 0.8 s.
    inside = r"lfp_data_sampled.npy: window: 0 to 0\.9 s \(bins 4 to 13\) is not inside the trials, .* -0\.4 to 0\.8 s"
    with pytest.raises(UserError, match=inside) as caught:
        decoded(tmp_path, window=(0.0, 0.9))
    assert "shape" not in str(caught.value)
    assert len(decoded(tmp_path, window=(0.0, 0.8)).samples) == 6
    with pytest.raises(UserError, match=r"window: -0\.5 to 0 s begins before the trials, which begin at -0\.4 s; move"):
        source_of(tmp_path, window=(-0.5, 0.0))


def test_settings_that_do_not_fit_the_trials_name_the_file_and_the_modality(tmp_path):
    write_rat(tmp_path)
    with pytest.raises(UserError, match=r"sampled.npy: lfp: bands\.gamma: 4 to 8 Hz .* half the sampling rate .* is 5"):
        decoded(tmp_path, lfp={"bands": {"gamma": [4, 8]}}, window=(-0.4, 0.8))
    with pytest.raises(UserError, match=r"sampled.npy: lfp: bands: trials of 6 samples are too short .* needs 7"):
        decoded(tmp_path, lfp={"bands": {"gamma": [2, 4]}})
    with pytest.raises(UserError, match=r"binned.npy: spikes: bins: 5 cannot be made of the 6 bins"):
        decoded(tmp_path, spikes={"count": "bins", "bins": 5})


def test_a_window_between_the_edges_of_bins_is_refused(tmp_path):
    with pytest.raises(UserError, match="no edges of bins"):
        source_of(tmp_path, window=(0.0, 0.55))
    with pytest.raises(UserError, match="give 'window' or 'bins', not both"):
        source_of(tmp_path, bins=(3, 9))


def test_a_class_with_fewer_than_three_trials_is_refused(tmp_path):
    write_rat(tmp_path, trials=TRIALS[:-1])
    with pytest.raises(UserError, match=r"fewer than 3 trials \('A': 3, 'B': 2; 2 out: incorrect response;"):
        decoded(tmp_path)


def test_a_class_that_no_trial_has_is_refused(tmp_path):
    write_rat(tmp_path)
    with pytest.raises(UserError, match=r"no trial has the code 4 of class 'D'; found 1, 2, 3, 5"):
        decoded(tmp_path, classes={1: "A", 4: "D"})


def test_pickled_arrays_are_refused_unless_trusted(tmp_path, caplog):
    lfp, _ = write_rat(tmp_path)
    path = tmp_path / "Nibbles/nibbles_lfp_data_sampled.npy"
    pickled = np.empty(len(lfp), dtype=object)
    pickled[:] = list(lfp)
    np.save(path, pickled, allow_pickle=True)
    with pytest.raises(UserError, match=rf"{path.name}: holds Python objects .*'trusted_pickles: true'"):
        decoded(tmp_path)
    with caplog.at_level(logging.WARNING, "metafusion"):
        found = decoded(tmp_path, layout={**SMALL["layout"], "trusted_pickles": True})
    assert f"{path}: holds Python objects and is read" in caplog.text
    assert found.features["lfp"].shape == (6, 13)


def test_ragged_trials_are_refused_by_their_number(tmp_path):
    lfp, _ = write_rat(tmp_path)
    pickled = np.empty(len(lfp), dtype=object)
    pickled[:] = list(lfp)
    pickled[3] = lfp[3, :-2]
    np.save(tmp_path / "Nibbles/nibbles_lfp_data_sampled.npy", pickled, allow_pickle=True)
    with pytest.raises(UserError, match=r"ragged: trial 4 has shape \(10, 2\), trial 1 \(12, 2\)"):
        decoded(tmp_path, layout={**SMALL["layout"], "trusted_pickles": True})


@pytest.mark.parametrize("kept", [0, 5, 60, 200])
def test_a_truncated_file_is_named(tmp_path, kept):
    write_rat(tmp_path)
    path = tmp_path / "Nibbles/nibbles_spike_data_binned.npy"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=rf"{path.name}: {kept} bytes that are no whole \.npy file"):
        decoded(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    write_rat(tmp_path)
    (tmp_path / "Nibbles/nibbles_trial_info.npy").unlink()
    with pytest.raises(UserError, match=r"nibbles_trial_info\.npy: no such file"):
        decoded(tmp_path)


def test_text_instead_of_numbers_is_refused(tmp_path):
    write_rat(tmp_path, lfp=np.full((len(TRIALS), BINS, CHANNELS), "a"))
    with pytest.raises(UserError, match="holds <U1, expected real numbers"):
        decoded(tmp_path)


@pytest.mark.parametrize(("wrong", "shown"), [(-1.0, "-1"), (0.5, "0.5"), (np.nan, "nan")])
def test_what_is_no_count_of_spikes_is_refused(tmp_path, wrong, shown):
    _, spikes = write_rat(tmp_path)
    spikes = spikes.astype(float)
    spikes[5, 2, 6] = wrong
    write_rat(tmp_path, spikes=spikes)
    with pytest.raises(UserError, match=rf"trial 6, unit_003, bin 6: found {shown}, expected the number of spikes"):
        decoded(tmp_path)


def test_a_flag_that_is_neither_yes_nor_no_is_refused(tmp_path):
    write_rat(tmp_path, trials=[*TRIALS, (2, 1, 1, 1)])
    with pytest.raises(UserError, match=r"column 0 \(correct\), trial 11: found 2, expected 0 or 1"):
        decoded(tmp_path)


def test_a_table_of_trials_with_too_few_columns_is_refused(tmp_path):
    write_rat(tmp_path, trials=[row[:3] for row in TRIALS])
    with pytest.raises(UserError, match=r"shape \(10, 3\); expected a row a trial and the columns .*odor: 3"):
        decoded(tmp_path)


def test_silent_units_are_named_and_kept_for_the_filter_on_the_training_part(tmp_path, caplog):
    _, spikes = write_rat(tmp_path)
    spikes[:, 1, 4:10] = 0
    write_rat(tmp_path, spikes=spikes)
    with caplog.at_level(logging.WARNING, "metafusion"):
        found = decoded(tmp_path)
    assert "1 of 3 units have no spike in any trial: unit_002" in caplog.text
    assert "unit_002" in found.features["spikes"]


# The packaged experiments, against the published table


RATS = {
    # trials, (train, validation, test), LFP width, extractor, LFP sizes, spike sizes, students
    "barat": (133, (86, 33, 14), 330, "encoder", [300, 250, 200], [40, 30, 20, 15], 29),
    "buchanan": (174, (113, 43, 18), 300, "encoder", [250, 200, 150], [38, 35, 30, 25], 29),
    "mitt": (207, (134, 52, 21), 315, "pca", [100], [70, 65, 60, 55, 50, 45], 23),
    "stella": (152, (98, 38, 16), 315, "encoder", [300, 250, 200], [20, 15, 10, 5], 29),
    "superchris": (164, (106, 41, 17), 315, "pca", [100], [39, 36, 33, 30, 27, 24], 23),
}


def loaded(rat, variant=""):
    return load_experiment(ROOT / f"config/experiments/odor_{rat}.yaml", variant)


@pytest.mark.parametrize("rat", RATS)
def test_experiments_have_the_published_sizes(rat):
    _, _, width, extractor, lfp, spikes, students = RATS[rat]
    for variant in ("", "as_published"):
        one = loaded(rat, variant)
        chosen = one.representations
        assert chosen["lfp"].sizes == ["raw", *lfp, "absent"]
        assert chosen["spikes"].sizes == ["raw", *spikes, "absent"]
        assert len(all_students({name: choice.names for name, choice in chosen.items()}, [])) == students
        assert {choice.extractor for choice in chosen.values()} == {extractor}
        assert (chosen["lfp"].before.kind, chosen["lfp"].before.components) == ("channel_pca", 15)
        assert width % 15 == 0
        assert (chosen["spikes"].before.kind, chosen["spikes"].before.minimum_variance) == ("active", 1e-10)
        assert one.source.bins == (200, 250)
        assert (one.cohort.hidden, one.cohort.epochs, one.cohort.learning_rate, one.cohort.batch_size) == (
            [64, 32],
            200,
            1e-3,
            64,
        )
        assert one.cohort.penalties == [0, 0.99, 3]
        assert one.ensemble.stacking_epochs == 15
        assert one.seeds == list(range(1, 101))
        if extractor == "encoder":
            assert [(one.hidden, one.epochs, one.learning_rate) for one in chosen.values()] == [
                ([], 200, 1e-4),
                ([], 200, 1e-3),
            ]


@pytest.mark.parametrize("rat", RATS)
@pytest.mark.parametrize("variant", ["", "as_published"])
def test_parts_have_the_published_numbers_of_trials(rat, variant):
    trials, parts, *_ = RATS[rat]
    # How trials fall to odours is known of Mitt only.
    labels = np.repeat(list("ABCD"), [66, 57, 47, 37])[:: 1 if rat == "mitt" else -1][:trials]
    samples = pd.DataFrame({"sample": [name(number) for number in range(trials)], "subject": rat, "target": labels})
    splits = split_samples(samples, [1, 2], **loaded(rat, variant).split.model_dump())
    for seed in (1, 2):
        counts = splits[f"seed_{seed}"].value_counts()
        assert (counts["train"], counts["validation"], counts["test"]) == parts


def test_only_the_published_protocol_fits_on_all_trials_and_does_not_scale():
    def fitting(variant):
        return [
            (one.fit_on, one.before.fit_on, one.scaling) for one in loaded("mitt", variant).representations.values()
        ]

    assert fitting("") == [("train", None, "standard")] * 2
    assert fitting("as_published") == [
        ("train_and_validation", "everything", "none"),
        ("train_and_validation", None, "none"),
    ]


def test_the_published_protocol_keeps_the_proportions_of_the_odours():
    assert loaded("stella", "as_published").split.stratify is True


def test_windows_of_time_replace_bins():
    content = yaml.safe_load((ROOT / "config/experiments/odor_mitt.yaml").read_text())
    source = validate(OdorRats, {**content["source"], "bins": [200, 250]}, "test")
    moved = validate(OdorRats, source.model_dump() | source.with_window((0.25, 0.5)), "test")
    assert moved.bins == (225, 250)


def test_what_is_written_is_the_same_every_time(tmp_path):
    write_rat(tmp_path)
    source = source_of(tmp_path)
    first, second = preprocessed(source, tmp_path), preprocessed(source, tmp_path)
    names = sorted(path.name for path in first.iterdir())
    assert {"trials.parquet", "lfp.parquet", "spikes.parquet", "trials-epo.fif", "spikes.safetensors"} <= set(names)
    for one in names:
        assert (first / one).read_bytes() == (second / one).read_bytes(), one
    assert list(read_table(first / "excluded.tsv").columns) == ["sample", "subject", "modality", "reason"]

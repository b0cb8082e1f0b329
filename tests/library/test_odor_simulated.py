"""The simulated rat: the layout of the recorded ones, and what is planted in it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import signal, stats

from metafusion.config.load import load_experiment, validate
from metafusion.config.odor import OdorRats, OdorSimulated
from metafusion.errors import UserError
from metafusion.preprocess.spikes import silent_units
from metafusion.samples import check
from metafusion.sources import odor_rats, odor_simulated

ROOT = Path(__file__).parents[2]
RATE = 100.0


def source_of(**changes):
    content = {"kind": "odor_simulated", "units": 12, "silent_units": 3, "channels": 4, **changes}
    return validate(OdorSimulated, content, "test")


def acquired(source, folder):
    folder.mkdir(parents=True)
    odor_simulated.acquire(source, folder, {}, [])
    return folder


@pytest.fixture(scope="module")
def rat(tmp_path_factory):
    """A simulated rat of few units; not to be changed."""
    source = source_of()
    return source, acquired(source, tmp_path_factory.mktemp("rat") / "acquired")


def arrays_of(rat):
    source, folder = rat
    return {name: np.load(path) for name, path in source.files(folder).items()}


def test_the_layout_is_that_of_the_recorded_rats(rat):
    source, folder = rat
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.npy")) == [
        "Simulated/simulated_lfp_data_sampled.npy",
        "Simulated/simulated_spike_data_binned.npy",
        "Simulated/simulated_trial_info.npy",
    ]
    arrays = arrays_of(rat)
    trials = 66 + 57 + 47 + 37 + 23 + 20 + 25
    assert arrays["lfp"].shape == (trials, 400, 4)
    assert arrays["spikes"].shape == (trials, 12, 400)
    assert arrays["trials"].shape == (trials, 4)
    assert (arrays["lfp"].dtype, arrays["spikes"].dtype) == (np.float32, np.uint8)
    assert np.isfinite(arrays["lfp"]).all()
    # Millivolt, and a few spikes in 10 ms at most.
    assert 0.1 < arrays["lfp"].std() < 0.3
    assert arrays["spikes"].max() <= 5
    layout = source.layout
    assert (layout.start, layout.bin_width, source.bins) == (-2.0, 0.01, (200, 250))


def test_trials_are_as_many_as_asked_for_and_keep_the_rules_of_the_task(rat):
    correct, in_sequence, position, odor = arrays_of(rat)["trials"].T
    assert set(correct) == set(in_sequence) == {0, 1}
    assert set(position) == set(odor) == {1, 2, 3, 4, 5}
    used = (correct == 1) & (in_sequence == 1)
    assert np.bincount(odor[used], minlength=6)[1:].tolist() == [66, 57, 47, 37, 23]
    assert ((correct == 0) & (in_sequence == 1)).sum() == 20
    assert (in_sequence == 0).sum() == 25
    assert (position[in_sequence == 1] == odor[in_sequence == 1]).all()
    assert (position[in_sequence == 0] != odor[in_sequence == 0]).all()
    # In the order of a session, not class by class.
    assert (np.diff(odor) != 0).sum() > 150


def test_the_rat_is_decoded_as_a_recorded_one(rat, tmp_path):
    source, folder = rat
    place = tmp_path / "Simulated"
    place.mkdir()
    odor_simulated.preprocess(source, "session", "Simulated", folder, place)
    found = odor_simulated.assemble(source, folder, {"session": [place]})
    assert found.samples["target"].value_counts().to_dict() == {"A": 66, "B": 57, "C": 47, "D": 37}
    assert found.exclusions["reason"].value_counts().to_dict() == {
        "no class asked for": 23,
        "incorrect response": 20,
        "out of sequence": 25,
    }
    assert found.features["lfp"].shape == (207, 1 + 4 * 50)
    assert found.features["spikes"].shape == (207, 1 + 12)
    check(found, "classification", ["lfp", "spikes"], "sample")
    recorded = OdorRats(kind="odor_rats", folder=folder, rat="Simulated")
    other = tmp_path / "recorded"
    other.mkdir()
    odor_rats.preprocess(recorded, "session", "Simulated", None, other)
    for name in ("trials.parquet", "lfp.parquet", "spikes.parquet", "excluded.tsv"):
        assert (other / name).read_bytes() == (place / name).read_bytes()
    odor_simulated.look(source, found.samples, {"session": [place]}, tmp_path / "figures")
    drawn = {path.name: path.read_text() for path in (tmp_path / "figures").glob("*.svg")}
    assert {"spikes.svg", "responses.svg"} <= set(drawn)


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(rat, tmp_path):
    source, folder = rat
    again = acquired(source, tmp_path / "again")
    other = acquired(source_of(random_state=2), tmp_path / "other")
    for path in source.files(Path()).values():
        content = (folder / path).read_bytes()
        assert (again / path).read_bytes() == content
        assert (other / path).read_bytes() != content


def test_a_modality_does_not_depend_on_the_other(rat, tmp_path):
    changed = source_of(channels=2, lfp_strength=0.0)
    other = acquired(changed, tmp_path / "other")
    for name in ("spikes", "trials"):
        path = changed.files(other)[name]
        assert np.array_equal(np.load(path), arrays_of(rat)[name])


def power(values, low, high):
    frequencies, density = signal.welch(values, RATE, nperseg=50, axis=-1)
    return density[..., (frequencies >= low) & (frequencies <= high)].mean(axis=-1)


@pytest.mark.parametrize(("low", "high", "gain"), [(6, 10, 4.0), (28, 36, 3.0)])
def test_theta_and_gamma_are_in_the_window_and_nowhere_else(low, high, gain):
    source = source_of(lfp_strength=4.0)
    odors = np.repeat(np.arange(5), 30)
    # The same background without bursts.
    lfp, quiet = (odor_simulated.lfp(one, odors).transpose(0, 2, 1) for one in (source, source_of(lfp_strength=0.0)))
    inside, before = slice(200, 250), slice(100, 150)
    assert power(lfp[..., inside], low, high).mean() > gain * power(quiet[..., inside], low, high).mean()
    assert power(lfp[..., before], low, high).mean() == pytest.approx(power(quiet[..., before], low, high).mean(), 0.01)
    # Not between the bands.
    assert power(lfp[..., inside], 18, 22).mean() < 1.5 * power(quiet[..., inside], 18, 22).mean()


def test_bursts_are_later_the_later_the_odour():
    source = source_of(lfp_strength=5.0)
    odors = np.repeat(np.arange(5), 40)
    lfp = odor_simulated.lfp(source, odors).transpose(0, 2, 1)
    band = signal.butter(3, [28, 36], "bandpass", fs=RATE, output="sos")
    envelope = np.abs(signal.hilbert(signal.sosfiltfilt(band, lfp))).mean(axis=1)
    peaks = np.array([odor_simulated.centres()[envelope[odors == odor].mean(axis=0).argmax()] for odor in range(5)])
    assert np.allclose(peaks, 0.10 + 0.09 * np.arange(5), atol=0.02)


def test_the_background_falls_with_the_frequency():
    lfp = odor_simulated.lfp(source_of(lfp_strength=0.0, channels=8), np.zeros(60, int)).transpose(0, 2, 1)
    assert lfp.std() == pytest.approx(0.15, rel=0.02)
    frequencies, density = signal.periodogram(lfp, RATE, axis=-1)
    some = (frequencies >= 1) & (frequencies <= 45)
    slope = stats.linregress(np.log(frequencies[some]), np.log(density.mean(axis=(0, 1))[some])).slope
    assert slope == pytest.approx(-1, abs=0.05)
    correlation = np.mean([np.corrcoef(trial)[np.triu_indices(8, 1)].mean() for trial in lfp])
    assert correlation == pytest.approx(0.6, abs=0.05)


def test_counts_are_poisson_with_the_rates_of_units_odours_and_times():
    source = source_of()
    rates, odors = odor_simulated.rates(source), np.repeat([0, 1], 400)
    counts = odor_simulated.spikes(source, odors)
    active = slice(0, 9)
    # Bins of 0.5 s hold enough spikes for the normal approximation.
    wide = counts.reshape(800, 12, 8, 50).sum(axis=3)
    for odor in (0, 1):
        expected = rates[odor].reshape(12, 8, 50).sum(axis=2) * 0.01
        found = wide[odors == odor]
        z = (found.mean(axis=0) - expected)[active] / np.sqrt(expected[active] / 400)
        assert np.abs(z).max() < 4.5
        assert stats.norm.sf(np.abs(z).max()) > 1e-6
        # A Poisson number has its mean as variance; 3600 trials of units pooled.
        assert found.var(axis=0)[active].sum() == pytest.approx(expected[active].sum(), rel=0.06)


def test_no_unit_knows_the_odour_before_the_poke():
    rates = odor_simulated.rates(source_of(spike_strength=1.0))
    before = odor_simulated.centres() < 0
    assert (rates[..., before] == rates[:1, :, before]).all()
    assert not np.allclose(rates[0][:, ~before], rates[1][:, ~before])


def test_silent_units_never_fire_and_others_do(rat):
    counts = arrays_of(rat)["spikes"]
    names = [str(number) for number in range(12)]
    assert silent_units(counts, names) == ["9", "10", "11"]


def test_without_strength_the_odour_changes_nothing():
    source = source_of(spike_strength=0.0, lfp_strength=0.0)
    rates = odor_simulated.rates(source)
    assert (rates == rates[0]).all()
    # There are fields of time all the same.
    assert rates[0, 0].max() > 2 * rates[0, 0].min()
    both = [odor_simulated.lfp(source, np.full(3, odor)) for odor in (0, 3)]
    assert np.array_equal(*both)


def test_odours_that_are_alike_have_one_response():
    source = source_of(spikes_alike=[["C", "D"]], lfp_alike=[["A", "B"], ["C", "E"]], lfp_strength=2.0)
    rates = odor_simulated.rates(source)
    assert np.array_equal(rates[2], rates[3])
    assert not np.allclose(rates[0], rates[1])
    of = [odor_simulated.lfp(source, np.full(2, odor)) for odor in range(5)]
    assert np.array_equal(of[0], of[1])
    assert np.array_equal(of[2], of[4])
    assert not np.allclose(of[2], of[3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"silent_units": 12}, "at least one must fire"),
        ({"spikes_alike": [["A", "B"], ["B", "C"]]}, "each odour may stand in one group"),
        ({"trials": {"A": 5, "F": 5}}, "trials"),
        ({"lfp": None, "spikes": None}, "leave no modality"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        source_of(**changes)


def test_the_packaged_experiment_has_the_variants_that_the_docs_tell_of():
    path = ROOT / "config/experiments/odor_simulated.yaml"
    sources = {name: load_experiment(path, name).source for name in ("lfp_noise", "complementary", "noise")}
    assert sources["lfp_noise"].lfp_strength == sources["noise"].lfp_strength == sources["noise"].spike_strength == 0
    assert sources["lfp_noise"].spike_strength > 0
    told = [
        odor_simulated.responses(getattr(sources["complementary"], which)) for which in ("spikes_alike", "lfp_alike")
    ]
    # What one modality confuses, the other tells apart.
    confused = [{(i, j) for i in range(4) for j in range(i) if same[i] == same[j]} for same in told]
    assert all(confused)
    assert not set.intersection(*confused)


@pytest.fixture
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_of_decoding", ROOT / "benchmarks/decoding.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_decodes_a_variant(benchmark, tmp_path):
    changes = {
        "source.units": 6,
        "source.silent_units": 2,
        "source.channels": 2,
        "source.spike_strength": 4.0,
        "representations.lfp.sizes": ["raw", "absent"],
        "representations.spikes.sizes": ["raw", "absent"],
        "cohort.epochs": 30,
        "ensemble.stacking_epochs": 1,
    }
    experiment = benchmark.experiment_for("odor_simulated@lfp_noise", 2, None, False, changes)
    found = benchmark.decode(experiment, tmp_path, "test")
    assert (found["seeds"], found["students"]) == (2, 3)
    accuracy = {method: mean for method, (mean, _) in found["accuracy"].items()}
    assert accuracy["modality_spikes"] > accuracy["modality_lfp"] + 0.2
    difference, _ = found["minus_modality_spikes"]["meta_fusion"]
    assert difference == pytest.approx(accuracy["meta_fusion"] - accuracy["modality_spikes"], abs=2e-4)
    assert set(found["cpu_s"]) == {"preprocess", "split", "latents", "train", "compare", "stack", "evaluate"}


@pytest.mark.parametrize(("rat", "trials", "units", "channels"), [("mitt", 207, 104, 21), ("barat", 133, 92, 22)])
def test_simulated_rats_of_the_benchmark_have_the_size_of_recorded_ones(benchmark, rat, trials, units, channels):
    source = benchmark.experiment_for(f"odor_{rat}", 2, None, True, {}).source
    assert sum(number for odor, number in source.trials.items() if odor != "E") == trials
    assert (source.units, source.channels) == (units, channels)

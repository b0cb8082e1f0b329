"""What comes before scaling: equal to plain numpy and scipy, closed forms and tables made by hand."""

import ast
import inspect
import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import inv, logm, sqrtm
from sklearn.covariance import ledoit_wolf, oas

from metafusion import fronts
from metafusion import latents as stored_latents
from metafusion.config.fronts import Front
from metafusion.config.load import validate
from metafusion.config.models import Experiment, Representations, with_variant
from metafusion.config.sources import Simulation
from metafusion.errors import UserError
from metafusion.files import read_arrays
from metafusion.preprocess.trials import array_names
from metafusion.representations import fit, latents

WHERE = "modality 'lfp', seed 3"
CHANNELS, TIMES = ("Fz", "Cz", "Pz"), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
NAMES = array_names(CHANNELS, TIMES)
KINDS = ["channel_pca", "tangent_space", "active"]


def choice(before, *sizes, **keys):
    return Representations(sizes=list(sizes or ["raw"]), before=before, **{"scaling": "none"} | keys)


def courses(seed=0, samples=20, channels=3, times=6, unit=1.0):
    """Correlated channels whose mean courses differ; shape (samples, channels, times)."""
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((channels, channels)) @ random.standard_normal((samples, channels, times))
    return (mixed + random.standard_normal((channels, times))) * unit


def flat(values):
    return values.reshape(len(values), -1)


def split(samples=20, training=13, seed=0):
    mask = np.zeros(samples, dtype=bool)
    mask[np.random.default_rng(seed + 1000).permutation(samples)[:training]] = True
    return mask


def raw(values, training, before, present=None, names=NAMES, **keys):
    present = np.ones(len(values), dtype=bool) if present is None else present
    found, _ = latents(values, present, training, choice(before, **keys), WHERE, names)
    return found["raw"]


# --- channel_pca ---


def components_by_hand(values, training, channel, number):
    """Scores of one channel by numpy's SVD; the largest weight of each axis is positive, as scikit-learn turns it."""
    course = values[:, channel]
    centred = course - course[training].mean(axis=0)
    axes = np.linalg.svd(centred[training], full_matrices=False)[2][:number]
    axes *= np.sign(axes[np.arange(number), np.abs(axes).argmax(axis=1)])[:, None]
    return centred @ axes.T


@pytest.mark.parametrize("unit", [1.0, 1e-5])
@pytest.mark.parametrize("seed", range(3))
def test_channel_pca_equals_a_singular_value_decomposition_of_each_channel(seed, unit):
    values, training = courses(seed, unit=unit), split(seed=seed)
    found = raw(flat(values), training, {"kind": "channel_pca", "components": 4})
    assert found.shape == (20, 12)
    for channel in range(3):
        # Component by component, all channels each: those of a channel stand three columns apart.
        expected = components_by_hand(values, training, channel, 4)
        np.testing.assert_allclose(found[:, channel::3], expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_channel_pca_is_scaled_and_reduced_further_like_columns():
    values, training = courses(), split()
    pca = {"kind": "channel_pca", "components": 2}
    scores = np.stack([components_by_hand(values, training, channel, 2) for channel in range(3)], axis=2)
    z = flat(scores) / flat(scores)[training].std(axis=0)
    everyone = np.ones(20, dtype=bool)
    found, _ = latents(flat(values), everyone, training, choice(pca, "raw", 3, scaling="standard"), WHERE, NAMES)
    np.testing.assert_allclose(found["raw"], z, rtol=1e-4, atol=1e-5)
    axes = np.linalg.svd(z[training], full_matrices=False)[2][:3]
    np.testing.assert_allclose(np.abs(found["pca3"]), np.abs(z @ axes.T), rtol=1e-4, atol=1e-5)


def test_directions_in_which_no_training_sample_differs_do_not_count():
    """A flat channel, and one that only ever goes up and down as a whole: of six components, none and one remain."""
    random, training = np.random.default_rng(0), split()
    values = courses()
    values[:, 0] = np.where(training[:, None], 0.1, random.standard_normal((20, 6)))
    values[:, 1] = 0.1 + random.standard_normal((20, 1)) * [1, 2, 3, 4, 5, 6]
    values[~training, 1] += random.standard_normal(((~training).sum(), 6))
    found = raw(flat(values), training, {"kind": "channel_pca", "components": 6}, scaling="standard")
    # What is left of three channels x six components: six of the third and one of the second.
    assert found.shape == (20, 7)
    assert np.abs(found).max() < 100


@pytest.mark.parametrize(
    ("components", "samples", "words"),
    [
        (7, 20, "7 components a channel, but 20 samples to fit on with 6 times allow at most 6; lower 'components'"),
        (5, 5, "5 components a channel, but 5 samples to fit on with 6 times allow at most 4; lower 'components'"),
    ],
)
def test_more_components_than_samples_or_times_are_refused(components, samples, words):
    values = flat(courses(samples=samples))
    with pytest.raises(UserError, match=f"modality 'lfp', seed 3: .*channel_pca.*{words}"):
        fit(values, choice({"kind": "channel_pca", "components": components}), WHERE, NAMES)


# --- tangent_space ---


def samples_with_covariances(covariances, times=12):
    """Time courses whose sample covariance is exactly so: harmonics of mean 0 that are orthogonal, mixed."""
    angles = 2 * np.pi * np.arange(times) / times
    harmonics = np.array([np.cos(angles), np.sin(angles), np.cos(2 * angles)]) * np.sqrt(2)
    return np.array([sqrtm(one).real @ harmonics for one in covariances])


def upper_by_hand(matrix):
    """The upper triangle, row by row; beside the diagonal times the square root of 2."""
    size = len(matrix)
    return [matrix[i, j] * (1 if i == j else np.sqrt(2)) for i in range(size) for j in range(i, size)]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("unit", [1.0, 1e-10])
def test_where_covariances_commute_the_reference_is_the_geometric_mean(turned, unit):
    random = np.random.default_rng(2)
    strengths, fitting = np.exp(random.standard_normal((9, 3))) * unit, np.arange(9) < 6
    turn = np.linalg.qr(random.standard_normal((3, 3)))[0] if turned else np.eye(3)
    values = flat(samples_with_covariances([turn @ np.diag(one) @ turn.T for one in strengths]))
    names = array_names(CHANNELS, np.arange(12) / 10)
    fitted = fronts.fit(values[fitting], names, Front(kind="tangent_space", estimator="scm"), WHERE)
    mean = np.exp(np.log(strengths[fitting]).mean(axis=0))
    np.testing.assert_allclose(fitted.reference, turn @ np.diag(mean) @ turn.T, rtol=1e-7, atol=1e-7 * unit)
    expected = [upper_by_hand(turn @ np.diag(np.log(one / mean)) @ turn.T) for one in strengths]
    np.testing.assert_allclose(fitted.apply(values), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("estimator", ["scm", "oas", "lwf"])
def test_tangent_space_is_the_logarithm_at_the_riemannian_mean_of_the_fitted_covariances(estimator):
    values, training = courses(1, channels=3, times=6), split(seed=1)
    fitted = fronts.fit(flat(values)[training], NAMES, Front(kind="tangent_space", estimator=estimator), WHERE)
    by_hand = {
        "scm": lambda course: np.cov(course, bias=True),
        "oas": lambda course: oas(course.T)[0],
        "lwf": lambda course: ledoit_wolf(course.T)[0],
    }[estimator]
    whiten = inv(sqrtm(fitted.reference).real)
    logarithms = np.array([logm(whiten @ by_hand(course) @ whiten).real for course in values])
    np.testing.assert_allclose(
        fitted.apply(flat(values)), [upper_by_hand(one) for one in logarithms], rtol=1e-6, atol=1e-7
    )
    # What makes it the Riemannian mean of those fitted on, and of no others: they balance there.
    np.testing.assert_allclose(logarithms[training].mean(axis=0), 0, atol=1e-7)
    assert np.abs(logarithms.mean(axis=0)).max() > 1e-3


def test_a_covariance_without_an_inverse_is_refused_and_shrinking_helps():
    values = courses(channels=4, times=6)
    names = array_names(["a", "b", "c", "d"], TIMES)
    referenced = flat(values - values.mean(axis=1, keepdims=True))
    words = (
        r"modality 'lfp', seed 3: .*tangent_space.* in 20 of 20 samples \(4 channels, 6 times, 'estimator: scm'\).* "
        "set 'estimator: oas' in 'before', or use fewer channels"
    )
    with pytest.raises(UserError, match=words):
        fronts.fit(referenced, names, Front(kind="tangent_space", estimator="scm"), WHERE)
    for estimator in ("oas", "lwf"):
        fitted = fronts.fit(referenced, names, Front(kind="tangent_space", estimator=estimator), WHERE)
        assert np.isfinite(fitted.apply(referenced)).all()


def test_fewer_times_than_channels_are_refused_without_shrinking():
    values = courses(channels=6, times=4)
    with pytest.raises(UserError, match="6 channels, 4 times"):
        fronts.fit(
            flat(values), array_names(list("abcdef"), TIMES[:4]), Front(kind="tangent_space", estimator="scm"), WHERE
        )


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_sample_that_is_flat_in_every_channel_is_refused_with_its_remedy():
    values, training = courses(), split()
    values[np.flatnonzero(~training)[0]] = 2.5
    with pytest.raises(UserError, match=r"in 1 of 20 samples .*leave out samples in which every channel is flat"):
        raw(flat(values), training, "tangent_space")


# --- active ---


def counts(**units):
    return pd.DataFrame(units, dtype=float)


def active(table, fitting=slice(None), **keys):
    fitted = fronts.fit(table.to_numpy()[fitting], list(table), Front(kind="active", **keys), WHERE)
    return [name for name, kept in zip(table, fitted.active, strict=True) if kept]


TABLE = counts(busy=[4, 6, 5, 9], steady=[3, 3, 3, 3], rare=[0, 1, 0, 0], silent=[0, 0, 0, 0], late=[2, 2, 2, 8])


def test_columns_that_vary_and_are_not_silent_are_kept():
    # Variances: 3.5, 0, 0.1875, 0, 6.75. Means: 6, 3, 0.25, 0, 3.5.
    assert active(TABLE) == ["busy", "rare", "late"]
    assert active(TABLE, minimum_rate=0.25) == ["busy", "rare", "late"]
    assert active(TABLE, minimum_rate=0.26) == ["busy", "late"]
    assert active(TABLE, minimum_variance=0.1875) == ["busy", "late"]
    assert active(TABLE, minimum_variance=3.5) == ["late"]
    assert active(TABLE, slice(0, 3)) == ["busy", "rare"]


def test_without_a_minimum_rate_the_sign_of_a_mean_does_not_matter():
    assert active(-TABLE) == ["busy", "rare", "late"]


def test_units_of_an_array_stay_or_go_as_a_whole():
    # Unit b varies in one bin only and is kept in all; c does not vary; d is rare: a mean of 0.125.
    cells = [[4, 6, 0, 1, 3, 3, 0, 0], [5, 1, 0, 7, 3, 3, 0, 0], [2, 2, 0, 1, 3, 3, 0, 0], [1, 8, 0, 2, 3, 3, 1, 0]]
    table = pd.DataFrame(cells, columns=array_names(["a", "b", "c", "d"], [0.0, 0.05]), dtype=float)
    names = ["a_t0.00", "a_t0.05", "b_t0.00", "b_t0.05", "d_t0.00", "d_t0.05"]
    assert active(table) == names
    assert active(table, minimum_rate=0.125) == names
    assert active(table, minimum_rate=0.13) == names[:4]
    # The most varying bins: 8.1875 of a, 6.1875 of b, 0.1875 of d.
    assert active(table, minimum_variance=6.18) == names[:4]
    assert active(table, minimum_variance=6.1875) == names[:2]
    with pytest.raises(
        UserError, match=r"of 4 columns or units \(the largest variance is 8\.19, and more than 8\.2 is"
    ):
        active(table, minimum_variance=8.2)


def test_units_whose_names_only_look_like_times_are_judged_by_themselves():
    table = TABLE.set_axis([f"hc_t{number}" for number in range(5)], axis=1)
    assert active(table) == ["hc_t0", "hc_t2", "hc_t4"]


def test_columns_that_are_left_out_are_gone_from_all_representations():
    found = raw(TABLE.to_numpy(), np.array([True, True, True, False]), "active", names=list(TABLE))
    np.testing.assert_array_equal(found, TABLE[["busy", "rare"]])


def test_nothing_active_is_refused_with_the_numbers_found():
    words = (
        "modality 'lfp', seed 3: .*active.* nothing of 5 .*largest variance is 6.75, and more than 9 is needed; .*"
        "largest mean is 6, and at least 2 is needed.*lower 'minimum_variance' or 'minimum_rate'"
    )
    with pytest.raises(UserError, match=words):
        active(TABLE, minimum_variance=9, minimum_rate=2)


# --- all of them ---


@pytest.mark.parametrize("kind", ["channel_pca", "tangent_space"])
def test_columns_that_are_no_array_are_refused(kind):
    with pytest.raises(UserError, match=f"modality 'lfp', seed 3: 'before: {kind}' needs an array.* 'busy' is no cell"):
        raw(TABLE.to_numpy(), np.ones(4, dtype=bool), {"kind": kind}, names=list(TABLE))


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_than_two_samples_to_fit_on_are_refused(kind):
    with pytest.raises(UserError, match="modality 'lfp', seed 3: 1 samples to fit 'before' on"):
        fronts.fit(flat(courses())[:1], NAMES, Front(kind=kind), WHERE)


def kind_of(kind):
    return {"kind": kind} | ({"components": 3} if kind == "channel_pca" else {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_value_is_the_training_median_before_anything_is_made_of_it(kind):
    values, training = flat(courses()).astype(np.float32), split()
    gaps = values.copy()
    gaps[np.random.default_rng(3).random(values.shape) < 0.1] = np.nan
    medians = np.nanmedian(gaps[training].astype(np.float64), axis=0)
    filled = np.where(np.isnan(gaps), medians, gaps)
    np.testing.assert_allclose(
        raw(gaps, training, kind_of(kind)), raw(filled, training, kind_of(kind)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_absent_samples_become_the_training_mean_of_what_comes_out(kind, scaling):
    values, training = flat(courses()), split()
    present = np.ones(20, dtype=bool)
    lacking = [np.flatnonzero(training)[0], np.flatnonzero(~training)[0]]
    present[lacking] = False
    values[~present] = np.nan
    found = raw(values, training, kind_of(kind), present, scaling=scaling)
    mean = found[training & present].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found[lacking], np.tile(mean, (2, 1)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), data=st.data())
def test_what_becomes_of_a_sample_does_not_depend_on_other_samples_to_be_mapped(kind, seed, data):
    values, training = flat(courses(seed)), split(seed=seed)
    transform = fit(values[training], choice(kind_of(kind)), WHERE, NAMES)
    some = data.draw(st.lists(st.integers(0, 19), min_size=1, unique=True))
    among_all = transform.apply(values, np.ones(20, dtype=bool))[some]
    found = transform.apply(values[some], np.ones(len(some), dtype=bool))
    np.testing.assert_allclose(found, among_all, rtol=1e-4, atol=1e-4 * np.abs(among_all).max())


def block(values, names=NAMES, seeds=2):
    """Seeds that split the same samples, and a function that hands out their features."""
    ids = [f"s{number}" for number in range(len(values))]
    splits = pd.DataFrame({"sample": ids})
    for seed in range(1, seeds + 1):
        parts = np.where(split(len(values), len(values) * 6 // 10, seed), "train", "validation").astype(object)
        parts[np.flatnonzero(parts == "validation")[::2]] = "test"
        splits[f"seed_{seed}"] = parts
    table = pd.DataFrame(values, index=ids)

    def features(modality, samples):
        return table.loc[samples].to_numpy(), np.ones(len(samples), dtype=bool), list(names)

    return splits, features


def test_what_is_stored_is_enough_to_map_a_new_sample(tmp_path):
    values, new = courses(samples=30).astype(np.float32), courses(9, samples=1)
    splits, features = block(flat(values))
    chosen = choice({"kind": "channel_pca", "components": 3}, "raw", scaling="standard")
    mapped, fitted = stored_latents.extract(splits, [1, 2], "lfp", features, chosen)
    stored_latents.write(tmp_path, "lfp", mapped, fitted)
    stored = read_arrays(tmp_path / "lfp.transform.safetensors")
    centre, axes = stored["seed_2/before.centre"], stored["seed_2/before.axes"]
    by_hand = np.einsum("ct,ckt->kc", new[0] - centre, axes).ravel()
    by_hand = (by_hand - stored["seed_2/centre"]) / stored["seed_2/scale"]
    training = (splits["seed_2"] == "train").to_numpy()
    transform = fit(flat(values)[training], chosen, WHERE, NAMES)
    np.testing.assert_allclose(transform.apply(flat(new), np.array([True]))[0], by_hand, rtol=1e-5)


@pytest.mark.parametrize(("kind", "stored"), [("tangent_space", "reference"), ("active", "active")])
def test_other_fitted_numbers_are_stored_too(kind, stored):
    splits, features = block(flat(courses(samples=30)))
    _, fitted = stored_latents.extract(splits, [1], "lfp", features, choice(kind))
    assert f"seed_1/before.{stored}" in fitted


def test_without_a_front_nothing_else_is_stored():
    splits, features = block(flat(courses(samples=30)))
    _, fitted = stored_latents.extract(splits, [1], "lfp", features, choice("none"))
    names = ["medians", "kept", "centre", "scale", "absent", "components"]
    assert sorted(fitted) == sorted(f"seed_1/{name}" for name in names)


def test_columns_that_are_left_out_are_named_in_the_log_with_their_number_of_seeds(caplog):
    values = np.random.default_rng(0).poisson(5, (20, 3)).astype(float)
    values[:, 1] = 0
    splits, features = block(values, ["u1", "u2", "u3"])
    values[(splits["seed_2"] == "train").to_numpy(), 2] = 4
    splits, features = block(values, ["u1", "u2", "u3"])
    with caplog.at_level(logging.INFO, logger="metafusion"):
        stored_latents.extract(splits, [1, 2], "spikes", features, choice("active"))
    assert caplog.messages == ["spikes: 'before: active' leaves out, in so many of 2 seeds: u2 (2), u3 (1)"]


def test_fitting_on_everything_is_said_in_the_log(caplog):
    splits, features = block(flat(courses(samples=30)))
    leaking = {"kind": "active", "fit_on": "everything"}
    for keys in ({"before": "active", "fit_on": "everything"}, {"before": leaking}):
        caplog.clear()
        stored_latents.extract(splits, [1], "lfp", features, choice(**keys))
        assert caplog.messages == ["lfp: representations are fitted on everything, the test part included"]
    caplog.clear()
    stored_latents.extract(splits, [1], "lfp", features, choice("active", fit_on="train_and_validation"))
    assert not caplog.messages


def test_features_are_read_once_for_seeds_of_the_same_samples_and_again_for_others():
    splits, features = block(flat(courses(samples=30)), seeds=4)
    # Seed 3 permutes the same samples, seed 4 does without one.
    permuted = splits.assign(sample=splits["sample"] + "~permutation3")[["sample", "seed_3"]]
    splits = pd.concat([splits.drop(columns="seed_3"), permuted], ignore_index=True)
    splits.loc[0, "seed_4"] = np.nan
    read = []

    def counted(modality, samples):
        read.append(len(samples))
        return features(modality, samples.str.partition("~")[0])

    together, _ = stored_latents.extract(splits, [1, 2, 3, 4], "lfp", counted, choice("active"))
    assert read == [30, 29]
    for seed in (1, 2, 3, 4):
        alone, _ = stored_latents.extract(splits, [seed], "lfp", counted, choice("active"))
        assert all(np.array_equal(alone[name], together[name]) for name in alone)


def test_pyriemann_is_loaded_only_where_it_is_used():
    """It brings torch with it: seconds for every job that has no tangent space."""
    outside = [one for one in ast.parse(inspect.getsource(fronts)).body if isinstance(one, ast.Import | ast.ImportFrom)]
    names = {getattr(one, "module", "") or one.names[0].name for one in outside}
    assert not any(name.startswith("pyriemann") for name in names)


# --- convolutions ---


def test_a_convolution_reads_channel_pca_as_an_array_of_components_and_channels():
    values, training = courses(), split()
    values[training, 1] = 0.5
    pca = {"kind": "channel_pca", "components": 2}
    chosen = choice(pca, "raw", 2, extractor="conv1d", shape=[2, 3])
    found, _ = latents(flat(values), np.ones(20, dtype=bool), training, chosen, WHERE, NAMES)
    array = found["raw"].reshape(20, 2, 3)
    for channel in (0, 2):
        expected = components_by_hand(values, training, channel, 2)
        np.testing.assert_allclose(array[:, :, channel], expected, rtol=1e-4, atol=1e-5)
    # A flat channel keeps its place.
    assert (array[:, :, 1] == 0).all()


@pytest.mark.parametrize(("before", "shape"), [("none", [3, 6]), ({"kind": "channel_pca", "components": 2}, [2, 3])])
def test_a_shape_that_is_not_given_is_that_of_the_columns(tmp_path, before, shape):
    samples = pd.Series([f"t{place}" for place in range(20)])
    splits = pd.DataFrame({"sample": samples, "seed_1": np.where(split(), "train", "test")})
    values = courses()
    values[:, 1] = 0.5

    def features(modality, wanted):
        return flat(values), np.ones(20, dtype=bool), NAMES

    silent, told = (choice(before, "raw", 2, extractor="conv1d", shape=given) for given in ([], shape))
    (mapped, fitted), (expected, _) = (
        stored_latents.extract(splits, [1], "lfp", features, one) for one in (silent, told)
    )
    # A flat channel keeps its place, as with the shape in the configuration.
    np.testing.assert_array_equal(mapped["seed_1/raw"], expected["seed_1/raw"])
    stored_latents.write(tmp_path, "lfp", mapped, fitted)
    assert stored_latents.with_shapes(tmp_path, {"lfp": silent})["lfp"] == told


def test_columns_that_are_no_array_do_not_say_a_shape():
    splits = pd.DataFrame({"sample": list("abcd"), "seed_1": ["train"] * 3 + ["test"]})
    with pytest.raises(UserError, match=r"modality 'lfp': its columns .* 'age' is no cell .* give 'shape: \[channels"):
        stored_latents.extract(
            splits,
            [1],
            "lfp",
            lambda modality, wanted: (np.eye(4), np.ones(4, dtype=bool), ["age", "b", "c", "d"]),
            choice("none", "raw", 2, extractor="conv1d"),
        )


def test_a_shape_that_channel_pca_does_not_fill_is_refused():
    words = (
        r"'shape: \[2, 6\]' has 12 places, but there are 6 features after 'before: channel_pca'; correct it in "
        "'representations'"
    )
    with pytest.raises(UserError, match=words):
        fit(
            flat(courses()),
            choice({"kind": "channel_pca", "components": 2}, 2, extractor="conv1d", shape=[2, 6]),
            WHERE,
            NAMES,
        )


@pytest.mark.parametrize(
    ("before", "extractor", "shape", "words"),
    [
        ("tangent_space", "conv1d", [3, 6], "'tangent_space' leaves no array for 'extractor: conv1d'"),
        ("active", "conv1d", [3, 6], "'active' leaves no array for 'extractor: conv1d'"),
        ("channel_pca", "conv3d", [3, 6, 2], "'channel_pca' leaves no array for 'extractor: conv3d'"),
        ("channel_pca", "conv1d", [3, 15], r"it is \[components, channels\], so \[15, ...\], found \[3, 15\]"),
    ],
)
def test_what_leaves_no_array_is_refused_before_a_convolution(before, extractor, shape, words):
    given = {"sizes": ["raw", 2], "extractor": extractor, "shape": shape, "before": before}
    with pytest.raises(UserError, match=words):
        validate(Representations, given, "f.yaml")


# --- configuration ---


def test_a_name_is_short_for_a_mapping_with_defaults():
    assert choice("channel_pca") == choice({"kind": "channel_pca", "components": 15})
    assert choice("none") == Representations(sizes=["raw"], scaling="none")


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ({"kind": "active", "components": 3}, "'components' has no meaning with 'kind: active'"),
        ({"kind": "channel_pca", "estimator": "scm"}, "'estimator' has no meaning with 'kind: channel_pca'"),
        ({"kind": "tangent_space", "minimum_rate": 1}, "'minimum_rate' has no meaning with 'kind: tangent_space'"),
        ({"fit_on": "everything"}, "'fit_on' has no meaning with 'kind: none'"),
        ({"components": 3}, "'components' has no meaning with 'kind: none'"),
        ("chanel_pca", "before.kind"),
        ({"kind": "active", "minimum_rat": 1}, "did you mean 'minimum_rate'"),
        ({"kind": "channel_pca", "components": 0}, "before.components"),
    ],
)
def test_what_has_no_meaning_before_scaling_is_refused(before, words):
    with pytest.raises(UserError, match=words):
        validate(Representations, {"sizes": ["raw"], "before": before}, "f.yaml")


def test_a_dumped_front_can_be_read_again():
    chosen = choice({"kind": "tangent_space", "estimator": "lwf", "fit_on": "everything"})
    assert Representations(**chosen.model_dump(mode="json")) == chosen


RAT = {
    "title": "t",
    "task": "regression",
    "source": {"kind": "simulation"},
    "representations": {"first": {"sizes": ["raw", 8], "before": "channel_pca"}, "second": ["raw"]},
}
PUBLISHED = {"first": {"scaling": "none", "before": {"fit_on": "everything"}}}


@pytest.fixture
def published(monkeypatch):
    """A kind of source whose authors fit what comes before scaling on everything."""
    monkeypatch.setattr(Simulation, "published_representations", PUBLISHED)

    def fitted_on(variant=None, first=RAT["representations"]["first"], **keys):
        content = RAT | {"representations": RAT["representations"] | {"first": first}} | keys
        content = with_variant(content, variant) if variant else content
        chosen = validate(Experiment, content, "f.yaml").representations
        assert chosen["second"].before == Front()
        return chosen["first"].fit_on, chosen["first"].before.fit_on, chosen["second"].fit_on

    return fitted_on


AS_PUBLISHED = ("train_and_validation", "everything", "train_and_validation")


def test_a_kind_of_source_says_what_its_authors_fit_on_everything(published):
    assert published() == ("train", None, "train")
    assert published(protocol="as_published") == AS_PUBLISHED
    assert published("as_published") == AS_PUBLISHED
    assert published("fit_on") == AS_PUBLISHED
    mapping = {"sizes": ["raw"], "before": {"kind": "channel_pca", "components": 3}}
    assert published("as_published", mapping) == published("fit_on", mapping) == AS_PUBLISHED


@pytest.mark.parametrize(("variant", "scaling"), [("as_published", "none"), ("fit_on", "standard")])
def test_the_switch_of_what_is_fitted_on_changes_nothing_else(published, variant, scaling):
    found = validate(Experiment, with_variant(RAT, variant), "f.yaml").representations
    assert [found[name].scaling for name in ("first", "second")] == [scaling, "standard"]


def test_what_the_experiment_says_wins_over_the_kinds_authors(published):
    corrected = {"sizes": ["raw"], "before": {"kind": "channel_pca", "fit_on": "train"}}
    assert published(first=corrected, protocol="as_published")[1] == "train"


@pytest.mark.parametrize("first", [["raw"], {"sizes": ["raw"]}, {"sizes": ["raw"], "before": "none"}])
def test_where_nothing_comes_before_nothing_is_said_of_it(published, first):
    assert published("as_published", first) == published("fit_on", first)
    assert published("fit_on", first) == ("train_and_validation", None, "train_and_validation")


def test_other_kinds_fit_nothing_on_everything():
    chosen = validate(Experiment, RAT | {"protocol": "as_published"}, "f.yaml").representations["first"]
    assert (chosen.fit_on, chosen.before.fit_on) == ("train_and_validation", None)


@pytest.mark.parametrize("wrong", [{"source": {"kind": ["simulation"]}}, {"representations": ["raw"]}])
@pytest.mark.parametrize("variant", ["as_published", "fit_on"])
def test_what_is_of_the_wrong_kind_is_still_told_as_a_mistake(wrong, variant):
    with pytest.raises(UserError, match=rf"f\.yaml: {next(iter(wrong))}"):
        validate(Experiment, with_variant(RAT | wrong, variant), "f.yaml")


def test_a_variant_changes_a_key_of_what_comes_before_and_leaves_the_kind():
    content = RAT | {"variants": {"few": {"representations": {"first": {"before": {"components": 3}}}}}}
    found = validate(Experiment, with_variant(content, "few"), "f.yaml").representations["first"]
    assert (found.before.kind, found.before.components, found.sizes) == ("channel_pca", 3, ["raw", 8])


def test_a_variant_that_names_another_kind_has_its_defaults():
    content = RAT | {"variants": {"other": {"representations": {"first": {"before": "active"}}}}}
    found = validate(Experiment, with_variant(content, "other"), "f.yaml").representations["first"]
    assert found.before == Front(kind="active")

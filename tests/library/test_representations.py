"""Representations: equal to scikit-learn's own pipeline, and fitted on the training part alone."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metafusion import latents as stored_latents
from metafusion.config.models import Representations
from metafusion.errors import UserError
from metafusion.representations import fit, latents

WHERE = "modality 'blood', seed 3"


def choice(*sizes, **keys):
    return Representations(sizes=list(sizes), **keys)


def some_values(seed=0, rows=40, columns=7, missing=0.1):
    """Correlated features of very different scale; some values missing, the third column constant."""
    random = np.random.default_rng(seed)
    values = random.standard_normal((rows, columns)) @ random.standard_normal((columns, columns))
    values = values * 10.0 ** random.integers(-2, 3, columns) + random.standard_normal(columns) * 5
    values[:, 2] = 4.5
    values[random.random(values.shape) < missing] = np.nan
    return values.astype(np.float32)


def some_rows(seed=0, rows=40, training=25):
    mask = np.zeros(rows, dtype=bool)
    mask[np.random.default_rng(seed + 1000).permutation(rows)[:training]] = True
    return mask


def pipeline(scaling, size=None):
    steps = [SimpleImputer(strategy="median"), VarianceThreshold()]
    steps += [StandardScaler()] if scaling == "standard" else []
    steps += [PCA(size, svd_solver="full")] if size else []
    return make_pipeline(*steps)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scaling", ["standard", "none"])
@pytest.mark.parametrize("size", [None, 1, 3, 6])
def test_a_representation_equals_a_pipeline_fitted_on_the_training_part(seed, scaling, size):
    values, training = some_values(seed), some_rows(seed)
    present = np.ones(len(values), dtype=bool)
    found, _ = latents(values, present, training, choice(size or "raw", scaling=scaling), WHERE)
    columns = values.astype(np.float64)
    expected = pipeline(scaling, size).fit(columns[training]).transform(columns)
    largest = np.abs(expected).max()
    np.testing.assert_allclose(found[f"pca{size}" if size else "raw"], expected, rtol=1e-5, atol=1e-6 * largest)


def test_smaller_sizes_are_the_first_components_of_larger_ones():
    values, training = some_values(), some_rows()
    found, _ = latents(values, np.ones(40, dtype=bool), training, choice(2, 5), WHERE)
    np.testing.assert_array_equal(found["pca2"], found["pca5"][:, :2])


def test_z_scores_have_mean_zero_and_deviation_one_in_the_training_part():
    values, training = some_values(missing=0), some_rows()
    found, _ = latents(values, np.ones(40, dtype=bool), training, choice("raw"), WHERE)
    np.testing.assert_allclose(found["raw"][training].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(found["raw"][training].std(axis=0), 1, rtol=1e-5)


def test_without_scaling_raw_features_stay_as_they_are():
    values = some_values(missing=0)
    found, _ = latents(values, np.ones(40, dtype=bool), some_rows(), choice("raw", scaling="none"), WHERE)
    np.testing.assert_array_equal(found["raw"], np.delete(values, 2, axis=1))


def test_a_missing_value_becomes_the_median_of_the_training_part():
    values = np.float32([[1], [2], [9], [np.nan], [1000]])
    training = np.array([True, True, True, False, False])
    found, _ = latents(values, np.ones(5, dtype=bool), training, choice("raw", scaling="none"), WHERE)
    np.testing.assert_array_equal(found["raw"][:, 0], [1, 2, 9, 2, 1000])


def test_a_column_that_only_other_parts_know_is_dropped():
    values = np.float32([[1, 5, np.nan], [2, 5, np.nan], [3, 5, np.nan], [4, 6, 1], [5, 7, 2]])
    training = np.array([True, True, True, False, False])
    found, _ = latents(values, np.ones(5, dtype=bool), training, choice("raw", scaling="none"), WHERE)
    np.testing.assert_array_equal(found["raw"], [[1], [2], [3], [4], [5]])


def fitted_arrays(values, present, training):
    _, transform = latents(values, present, training, choice("raw", 3, "absent"), WHERE)
    return transform.arrays()


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 1.0, 1e6, -1e30, np.nan]), st.booleans())
def test_nothing_outside_the_training_part_changes_what_is_fitted(seed, value, shuffle):
    random = np.random.default_rng(seed)
    values, training = some_values(seed), some_rows(seed)
    present = random.random(40) < 0.9
    changed, changed_present = values.copy(), present.copy()
    changed[~training] = random.permutation(values[~training]) if shuffle else value
    changed_present[~training] = random.random((~training).sum()) < 0.5
    before, after = fitted_arrays(values, present, training), fitted_arrays(changed, changed_present, training)
    assert {name: array.tobytes() for name, array in before.items()} == {
        name: array.tobytes() for name, array in after.items()
    }


def test_training_samples_without_the_modality_change_nothing_that_is_fitted():
    values, training = some_values(), some_rows()
    present = np.ones(40, dtype=bool)
    present[np.flatnonzero(training)[:4]] = False
    filled = values.copy()
    filled[~present] = 1e6
    before, after = fitted_arrays(values, present, training), fitted_arrays(filled, present, training)
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def test_a_change_in_the_training_part_does_change_what_is_fitted():
    values, training = some_values(), some_rows()
    changed = values.copy()
    changed[np.flatnonzero(training)[0]] += 1
    everyone = np.ones(40, dtype=bool)
    before, after = fitted_arrays(values, everyone, training), fitted_arrays(changed, everyone, training)
    assert before["centre"].tobytes() != after["centre"].tobytes()


@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_absent_samples_become_the_training_mean_of_the_features(scaling):
    values, training = some_values(missing=0), some_rows()
    present = np.ones(40, dtype=bool)
    present[[3, 17]] = False
    training[3] = True
    values[~present] = np.nan
    found, _ = latents(values, present, training, choice("raw", scaling=scaling), WHERE)
    mean = found["raw"][training & present].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found["raw"][[3, 17]], np.tile(mean, (2, 1)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_absent_samples_are_at_the_origin_of_the_components(scaling):
    values, training = some_values(), some_rows()
    present = np.arange(40) % 5 > 0
    found, _ = latents(values, present, training, choice(4, scaling=scaling), WHERE)
    assert (found["pca4"][~present] == 0).all()
    assert (found["pca4"][present] != 0).all()


def test_the_raw_representation_is_always_there():
    found, _ = latents(some_values(), np.ones(40, dtype=bool), some_rows(), choice(2, "absent"), WHERE)
    assert sorted(found) == ["pca2", "raw"]


def test_representations_are_single_precision():
    found, _ = latents(some_values(), np.ones(40, dtype=bool), some_rows(), choice(2, "raw"), WHERE)
    assert {view.dtype for view in found.values()} == {np.dtype("float32")}


def test_more_components_than_training_samples_are_refused():
    random = np.random.default_rng(0)
    with pytest.raises(UserError, match=r"modality 'blood', seed 3: 6 PCA .* 5 training samples .* at most 5"):
        fit(random.standard_normal((5, 9)), choice(2, 6), WHERE)


def test_more_components_than_varying_columns_are_refused():
    values = np.random.default_rng(0).standard_normal((20, 4))
    values[:, 0] = 1
    with pytest.raises(UserError, match=r"4 PCA components .* 20 training samples with 3 varying .* at most 3"):
        fit(values, choice(4), WHERE)


def test_as_many_components_as_columns_are_allowed():
    values = np.random.default_rng(0).standard_normal((20, 4))
    assert fit(values, choice(4), WHERE).components.shape == (4, 4)


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_training_samples_are_refused(rows):
    with pytest.raises(UserError, match=rf"modality 'blood', seed 3: {rows} training samples"):
        fit(np.ones((rows, 3)), choice("raw"), WHERE)


@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_a_modality_that_does_not_vary_is_refused(scaling):
    with pytest.raises(UserError, match="modality 'blood', seed 3: no feature varies"):
        fit(np.full((6, 3), 2.5), choice("raw", scaling=scaling), WHERE)


def test_a_modality_without_any_value_in_the_training_part_is_refused():
    with pytest.raises(UserError, match="modality 'blood', seed 3: no feature varies"):
        fit(np.full((6, 3), np.nan), choice("raw"), WHERE)


VOLUME = {"extractor": "conv3d", "shape": [2, 3, 2]}


def some_volumes(seed=0, rows=40):
    """Twelve places, of which the second is constant and the last without any value in the training part."""
    random = np.random.default_rng(seed)
    values, training = random.standard_normal((rows, 12)) * 10 + 3, some_rows(seed, rows)
    values[training, 1] = 4.5
    values[training, 11] = np.nan
    return values.astype(np.float32), training


@pytest.mark.parametrize("scaling", ["standard", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_places_of_an_array_stay_where_they_are_and_are_scaled_like_columns(seed, scaling):
    values, training = some_volumes(seed)
    everyone = np.ones(40, dtype=bool)
    found, _ = latents(values, everyone, training, choice("raw", 2, scaling=scaling, **VOLUME), WHERE)
    columns, _ = latents(values, everyone, training, choice("raw", scaling=scaling), WHERE)
    varying = [place for place in range(12) if place not in (1, 11)]
    assert found["raw"].shape == (40, 12)
    np.testing.assert_array_equal(found["raw"][:, varying], columns["raw"])


@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_places_that_do_not_vary_in_the_training_part_become_0_whatever_other_parts_hold(scaling):
    values, training = some_volumes()
    values[~training, 1] = 1e30
    present = np.ones(40, dtype=bool)
    present[[2, 31]] = False
    found, _ = latents(values, present, training, choice("raw", 2, scaling=scaling, **VOLUME), WHERE)
    assert (found["raw"][:, [1, 11]] == 0).all()


def test_a_conv1d_keeps_its_places_too():
    values, training = some_volumes()
    found, _ = latents(
        values, np.ones(40, dtype=bool), training, choice("raw", 2, extractor="conv1d", shape=[3, 4]), WHERE
    )
    assert found["raw"].shape == (40, 12)
    assert (found["raw"][:, [1, 11]] == 0).all()


def test_nothing_outside_the_training_part_changes_what_is_fitted_to_an_array():
    values, training = some_volumes()
    changed = values.copy()
    changed[~training] = 1e6
    volume = choice("raw", 2, **VOLUME)
    before, after = (fit(table[training], volume, WHERE).arrays() for table in (values, changed))
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


@pytest.mark.parametrize(
    ("keys", "product"),
    [
        ({"extractor": "conv3d", "shape": [2, 3, 3]}, 18),
        ({"extractor": "conv3d", "shape": [2, 2, 3, 2]}, 24),
        ({"extractor": "conv1d", "shape": [2, 5]}, 10),
    ],
)
def test_a_shape_of_another_number_of_places_is_refused(keys, product):
    values, training = some_volumes()
    words = rf"modality 'blood', seed 3: .*shape.* has {product} places, but there are 12 features"
    with pytest.raises(UserError, match=words):
        fit(values[training], choice("raw", 2, **keys), WHERE)


@pytest.mark.parametrize("extractor", ["encoder", "separate", "autoencoder"])
def test_extractors_that_are_networks_get_raw_features_and_no_components(extractor):
    values, training = some_values(), some_rows()
    wide = choice("raw", 30, 2, extractor=extractor)
    found, transform = latents(values, np.ones(40, dtype=bool), training, wide, WHERE)
    plain, _ = latents(values, np.ones(40, dtype=bool), training, choice("raw"), WHERE)
    assert list(found) == ["raw"]
    np.testing.assert_array_equal(found["raw"], plain["raw"])
    assert len(transform.components) == 0


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_numbers_that_leave_single_precision_are_refused():
    values, training = some_values().astype(np.float64), some_rows()
    values[np.flatnonzero(~training)[0], 0] = 1e39
    with pytest.raises(UserError, match="modality 'blood', seed 3: raw leaves the numbers after scaling"):
        latents(values, np.ones(40, dtype=bool), training, choice("raw"), WHERE)


@pytest.fixture
def block():
    """Two seeds that use different samples of one modality, which sample s4 lacks."""
    values = pd.DataFrame(some_values(rows=12, missing=0), index=[f"s{number}" for number in range(12)])
    splits = pd.DataFrame({"sample": values.index})
    splits["seed_1"] = ["train"] * 6 + ["validation"] * 3 + ["test"] * 3
    splits["seed_2"] = [None, None] + ["test"] * 3 + ["train"] * 7

    def features(modality, samples):
        assert modality == "blood"
        return values.loc[samples].to_numpy(), (samples != "s4").to_numpy(), [str(name) for name in values]

    return values, splits, features


def test_a_block_holds_the_latents_of_every_seed_in_the_order_of_its_samples(block):
    values, splits, features = block
    mapped, _ = stored_latents.extract(splits, [1, 2], "blood", features, choice("raw", 2, scaling="none"))
    raw = values.drop(columns=2).to_numpy()
    others = [row for row in range(2, 12) if row != 4]
    np.testing.assert_array_equal(mapped["seed_2/raw"][mapped["seed_2/present"]], raw[others])
    assert mapped["seed_1/pca2"].shape == (12, 2)
    assert mapped["seed_2/pca2"].shape == (10, 2)


def test_every_seed_of_a_block_is_fitted_on_its_own_training_part(block):
    values, splits, features = block
    _, fitted = stored_latents.extract(splits, [1, 2], "blood", features, choice("raw"))
    columns = values.drop(columns=2).to_numpy(np.float64)
    np.testing.assert_allclose(fitted["seed_1/centre"], columns[[0, 1, 2, 3, 5]].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(fitted["seed_2/centre"], columns[5:].mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize(("part", "rows"), [("train", range(5, 12)), ("train_and_validation", range(2, 12))])
def test_what_is_fitted_depends_on_the_parts_to_fit_on(block, part, rows):
    values, splits, features = block
    splits["seed_2"] = [None, None] + ["validation"] * 3 + ["train"] * 7
    _, fitted = stored_latents.extract(splits, [2], "blood", features, choice("raw", 2, fit_on=part))
    present = [row for row in rows if row != 4]
    columns = values.drop(columns=2).to_numpy(np.float64)[present]
    np.testing.assert_allclose(fitted["seed_2/centre"], columns.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(fitted["seed_2/scale"], columns.std(axis=0), rtol=1e-6)
    expected = PCA(2, svd_solver="full").fit(StandardScaler().fit_transform(columns)).components_
    np.testing.assert_allclose(fitted["seed_2/components"], expected, atol=1e-6)


def test_the_test_part_is_never_fitted_on(block):
    values, splits, features = block
    both = choice("raw", 2, fit_on="train_and_validation")
    _, before = stored_latents.extract(splits, [1], "blood", features, both)
    values.iloc[9:] = 1e6
    _, after = stored_latents.extract(splits, [1], "blood", features, both)
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    values.iloc[8] = 7
    _, after = stored_latents.extract(splits, [1], "blood", features, both)
    assert before["seed_1/centre"].tobytes() != after["seed_1/centre"].tobytes()


def test_a_refusal_within_a_block_names_modality_and_seed(block):
    _, splits, features = block
    with pytest.raises(UserError, match="modality 'blood', seed 2: "):
        stored_latents.extract(splits, [2], "blood", features, choice(8))


def test_latents_survive_their_files(block, tmp_path):
    _, splits, features = block
    mapped, fitted = stored_latents.extract(splits, [1, 2], "blood", features, choice("raw", 2))
    stored_latents.write(tmp_path, "blood", mapped, fitted)
    found = stored_latents.read(tmp_path, ["blood"])["blood"]
    assert {name: (array.dtype, array.tobytes()) for name, array in found.items()} == {
        name: (array.dtype, array.tobytes()) for name, array in mapped.items()
    }


def shared_course(seed=0, rows=60, own=9, other=7):
    """Two modalities: one latent course in both, weak, and a strong one in each alone; who trains."""
    random = np.random.default_rng(seed)
    common, noise = random.standard_normal(rows), random.standard_normal((rows, 2))
    first = np.outer(noise[:, 0], random.standard_normal(own)) * 3 + np.outer(common, random.standard_normal(own))
    second = np.outer(noise[:, 1], random.standard_normal(other)) * 3 + np.outer(common, random.standard_normal(other))
    first, second = (each + random.standard_normal(each.shape) / 2 for each in (first, second))
    return common, first.astype(np.float32), second.astype(np.float32), some_rows(seed, rows, rows // 2)


def extracted(first, second, training, sizes, seed=3, scaling="none", present=None):
    """What the workflow makes of the first modality of two; the second is there for some samples."""
    ids = pd.Series([f"s{row}" for row in range(len(first))])
    splits = pd.DataFrame({"sample": ids, f"seed_{seed}": np.where(training, "train", "test")})
    everybody = np.ones(len(first), dtype=bool)
    columns = {"own": (first, everybody), "other": (second, everybody if present is None else present)}

    def features(modality, samples):
        assert samples.tolist() == ids.tolist()
        return (*columns[modality], [f"x{place}" for place in range(columns[modality][0].shape[1])])

    chosen = choice(*sizes, extractor="pls", scaling=scaling)
    others = {"other": choice("raw", scaling=scaling)}
    return stored_latents.extract(splits, [seed], "own", features, chosen, others)


@pytest.mark.parametrize(("own", "other"), [(9, 7), (200, 7), (9, 200), (150, 200)])
def test_shared_directions_are_singular_vectors_of_the_cross_covariance(own, other):
    _, first, second, training = shared_course(1, own=own, other=other)
    found, fitted = extracted(first, second, training, [4])
    centred = [(each[training] - each[training].mean(axis=0)).astype(np.float64) for each in (first, second)]
    expected = np.linalg.svd(centred[0].T @ centred[1])[0][:, :4].T
    components = fitted["seed_3/components"]
    signs = np.sign((components * expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(components, signs * expected, atol=1e-5)
    mapped = (first - first[training].mean(axis=0)) @ components.T
    np.testing.assert_allclose(found["seed_3/pls4"], mapped, rtol=1e-4, atol=1e-4 * np.abs(mapped).max())


def test_what_is_shared_comes_before_what_is_strong():
    common, first, second, training = shared_course(rows=400)
    shared, _ = extracted(first, second, training, [1], scaling="standard")
    alone, _ = latents(first, np.ones(400, dtype=bool), training, choice(1), WHERE)
    correlation = [
        abs(np.corrcoef(each[~training, 0], common[~training])[0, 1]) for each in (shared["seed_3/pls1"], alone["pca1"])
    ]
    assert correlation[0] > 0.8 > 0.5 > correlation[1]


def test_shared_directions_nest_and_ignore_who_is_tested():
    _, first, second, training = shared_course(2)
    large, _ = extracted(first, second, training, [5, 2])
    small, _ = extracted(first, second, training, [2])
    np.testing.assert_array_equal(large["seed_3/pls2"], small["seed_3/pls2"])
    noisy = [np.where(training[:, None], each, 100 * each[::-1]).astype(np.float32) for each in (first, second)]
    _, fitted = extracted(first, second, training, [5])
    _, again = extracted(*noisy, training, [5])
    np.testing.assert_array_equal(fitted["seed_3/components"], again["seed_3/components"])


def test_who_lacks_the_other_modality_has_no_say_in_what_is_shared():
    _, first, second, training = shared_course(4)
    present = np.random.default_rng(5).random(len(first)) < 0.7
    gaps = np.where(present[:, None], second, np.nan).astype(np.float32)
    found, _ = extracted(first, gaps, training, [3], present=present)
    assert np.isfinite(found["seed_3/pls3"]).all()
    changed = np.where(present[:, None], second, 50).astype(np.float32)
    again, _ = extracted(first, changed, training, [3], present=present)
    np.testing.assert_array_equal(found["seed_3/pls3"], again["seed_3/pls3"])


def test_no_more_is_shared_than_the_other_modality_has():
    _, first, second, training = shared_course(3, other=2)
    message = "3 PLS components were asked for, but 30 training samples with 9 varying features, and 2 of the other"
    with pytest.raises(UserError, match=message):
        extracted(first, second, training, [3])

"""Nothing outside the training part changes what is fitted or what training samples become; planted leaks are caught.

The test of all other fitted things is ``test_test_rows_influence_nothing_that_is_fitted_or_chosen`` in
tests/workflow/test_runs.py.
"""

import numpy as np
import pandas as pd
import pytest

from metafusion import latents as stored_latents
from metafusion.config.models import Representations
from metafusion.preprocess.trials import array_names

SEEDS = (1, 2)
SAMPLES, CHANNELS, TIMES = 40, ("Fz", "Cz", "Pz"), 6
NAMES = array_names(CHANNELS, np.arange(TIMES) / 10)

FRONTS = {
    "none": {"kind": "none"},
    "channel_pca": {"kind": "channel_pca", "components": 3},
    "tangent_space_scm": {"kind": "tangent_space", "estimator": "scm"},
    "tangent_space_oas": {"kind": "tangent_space", "estimator": "oas"},
    "tangent_space_lwf": {"kind": "tangent_space", "estimator": "lwf"},
    "active": {"kind": "active", "minimum_rate": 0.3},
}
REAL = [name for name in FRONTS if name != "none"]
FITTED = {"channel_pca": "before.axes", "tangent": "before.reference", "active": "before.active"}


def chosen(front, fit_on="train", before=None, **keys):
    mapping = FRONTS[front] | ({"fit_on": before} if before else {})
    return Representations(sizes=["raw", 4, 2, "absent"], before=mapping, fit_on=fit_on, **keys)


def data(missing=0.01):
    """Correlated time courses, a few values missing, and two samples that lack the modality."""
    random = np.random.default_rng(5)
    mixed = random.standard_normal((3, 3)) @ random.standard_normal((SAMPLES, 3, TIMES))
    values = (mixed + np.array([0.4, 0.5, 0.05])[:, None]).reshape(SAMPLES, -1)
    # Exactly what they say: the first two channels are active, the third is not.
    means = np.repeat([0.4, 0.5, 0.05], TIMES)
    values += means - values.reshape(SAMPLES, 3, TIMES).mean(axis=2).repeat(TIMES, axis=1)
    values[random.random(values.shape) < missing] = np.nan
    present = np.ones(SAMPLES, dtype=bool)
    present[[4, 23]] = False
    return values.astype(np.float32), present


def splits():
    table = pd.DataFrame({"sample": [f"s{number:02d}" for number in range(SAMPLES)]})
    for seed in SEEDS:
        parts = np.array(["train"] * 26 + ["validation"] * 10 + ["test"] * 4)
        table[f"seed_{seed}"] = np.random.default_rng(seed).permutation(parts)
    return table


def what_noise_changes(choice, seed, spoilt=("validation", "test"), missing=0.01):
    """Replace the features of some parts by noise, and name what else changes by a single bit.

    Returns
    -------
    set of str
        Fitted arrays by name, and representations of which a row outside the spoilt parts changed.
    """
    table, (values, present) = splits(), data(missing)
    rows = table[f"seed_{seed}"].isin(spoilt).to_numpy()
    random = np.random.default_rng(99)
    noisy, noisy_present = values.copy(), present.copy()
    # Of another size, mean and covariance, and lacking in other samples.
    noisy[rows] = random.standard_normal((rows.sum(), values.shape[1])) * random.uniform(1, 50, values.shape[1]) + 20
    noisy_present[rows] = random.random(rows.sum()) < 0.8

    def extracted(values, present):
        lookup = table["sample"].reset_index().set_index("sample")["index"]

        def features(modality, samples):
            found = lookup[samples].to_numpy()
            return np.where(present[found, None], values[found], np.nan), present[found], NAMES

        return stored_latents.extract(table, [seed], "lfp", features, choice)

    (mapped, fitted), (mapped_too, fitted_too) = extracted(values, present), extracted(noisy, noisy_present)
    prefix = f"seed_{seed}/"
    assert fitted.keys() == fitted_too.keys()
    changed = {name for name in fitted if fitted[name].tobytes() != fitted_too[name].tobytes()}
    for name in mapped:
        kept = [one[name][~rows].tobytes() for one in (mapped, mapped_too)]
        if kept[0] != kept[1]:
            changed.add(name)
    raw = [one[f"{prefix}raw"] for one in (mapped, mapped_too)]
    reached = raw[0].shape != raw[1].shape or (raw[0][rows] != raw[1][rows]).any()
    assert reached, "the noise did not reach the spoilt rows, so nothing was shown"
    return {name.removeprefix(prefix) for name in changed}


def fitted_by(front):
    return next(name for kind, name in FITTED.items() if front.startswith(kind))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scaling", ["standard", "none"])
@pytest.mark.parametrize("front", FRONTS)
def test_noise_outside_the_training_part_changes_nothing_in_it(front, scaling, seed):
    assert what_noise_changes(chosen(front, scaling=scaling), seed) == set()


@pytest.mark.parametrize("front", FRONTS)
def test_with_the_validation_part_fitted_on_noise_in_the_test_part_changes_nothing(front):
    assert what_noise_changes(chosen(front, "train_and_validation"), 1, ("test",)) == set()


@pytest.mark.parametrize("front", REAL)
@pytest.mark.parametrize("fit_on", ["train_and_validation", "everything"])
def test_what_is_fitted_on_the_validation_part_is_caught(front, fit_on):
    changed = what_noise_changes(chosen(front, fit_on), 1, ("validation",))
    assert {fitted_by(front), "medians", "centre", "raw", "pca4"} <= changed


@pytest.mark.parametrize("front", REAL)
def test_a_planted_leak_is_caught(front):
    """As if all trials were fitted on before they are split."""
    changed = what_noise_changes(chosen(front, "everything"), 1, ("test",))
    assert {fitted_by(front), "medians", "centre", "raw", "pca4", "pca2"} <= changed


@pytest.mark.parametrize("front", REAL)
@pytest.mark.parametrize("fit_on", ["train", "train_and_validation"])
def test_a_leak_planted_in_the_front_alone_is_caught_and_named(front, fit_on):
    """As in the authors' code: principal components of the rats' LFP are those of all trials."""
    changed = what_noise_changes(chosen(front, fit_on, before="everything"), 1, ("test",))
    assert {fitted_by(front), "raw", "pca4"} <= changed
    assert "medians" not in changed


@pytest.mark.parametrize("front", REAL)
def test_a_front_can_be_fitted_on_the_training_part_alone_where_the_rest_is_not(front):
    changed = what_noise_changes(chosen(front, "everything", before="train"), 1, ("test",), missing=0)
    assert {"medians", "centre"} <= changed
    assert fitted_by(front) not in changed


@pytest.mark.parametrize("front", REAL)
def test_code_that_fits_on_the_wrong_rows_is_caught(front, monkeypatch):
    monkeypatch.setitem(stored_latents.PARTS_TO_FIT_ON, "train", ("train", "validation", "test"))
    assert fitted_by(front) in what_noise_changes(chosen(front), 1)

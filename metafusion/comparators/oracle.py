"""The students' network on the true latent variables of a simulation: what could be reached."""

from dataclasses import replace

import numpy as np

from metafusion.cohort.seed_data import SeedData
from metafusion.cohort.students import only
from metafusion.comparators.networks import train_alone
from metafusion.comparators.options import Options
from metafusion.config.source import TRUTH


def train(data: dict[int, SeedData], modalities: list[str], options: Options) -> dict[int, dict[str, np.ndarray]]:
    """Train the students' network on all latent variables, as an independent student is trained.

    Parameters
    ----------
    data : dict of int to SeedData
        By seed; its views are not looked at.
    modalities : list of str
        Not looked at; every family is called alike.
    options : Options
        With ``cohort`` and ``truth``, whose rows are those of the data.

    Returns
    -------
    dict of int to dict of str to ndarray, shape (samples, outputs)
        By seed: ``oracle``; NaN where it diverged.
    """
    del modalities
    knowing = {seed: _knowing(one, options.truth[seed]) for seed, one in data.items()}
    trained = train_alone(knowing, [only([TRUTH], [TRUTH])], options.cohort, options.cohort.budget, options.task)
    return {seed: {"oracle": outputs[0]} for seed, (outputs, _) in trained.items()}


def _knowing(data: SeedData, truth: np.ndarray) -> SeedData:
    return replace(data, views={(TRUTH, "raw"): truth}, present={TRUTH: np.ones(len(truth), dtype=bool)})

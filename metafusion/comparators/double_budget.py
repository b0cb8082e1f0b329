"""Early and late fusion with twice the epochs: what part of a lead is more training."""

import numpy as np

from metafusion.cohort.seed_data import SeedData
from metafusion.comparators import networks
from metafusion.comparators.options import Options
from metafusion.errors import UserError


def train(data: dict[int, SeedData], modalities: list[str], options: Options) -> dict[int, dict[str, np.ndarray]]:
    """Train early and late fusion as :mod:`metafusion.comparators.networks` does, for twice the budget of epochs.

    Parameters
    ----------
    data : dict of int to SeedData
        By seed.
    modalities : list of str
        Two or more.
    options : Options
        With ``cohort`` and ``late_fusion``.

    Returns
    -------
    dict of int to dict of str to ndarray, shape (samples, outputs)
        By seed: ``early_fusion_double_budget``, ``late_fusion_double_budget`` and, in regression,
        ``late_fusion_stacked_double_budget``.

    Raises
    ------
    UserError
        There is one modality only, and nothing to fuse.
    """
    if len(modalities) < 2:
        raise UserError("comparators: 'double_budget' needs two modalities or more; remove it")
    answers = networks.train_for(2 * options.cohort.budget, data, modalities, options)
    return {
        seed: {
            f"{method}_double_budget": outputs
            for method, outputs in by_method.items()
            if method.startswith(("early_fusion", "late_fusion"))
        }
        for seed, by_method in answers.items()
    }

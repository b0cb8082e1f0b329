"""What every family of comparators is told, beside the data."""

from typing import Literal

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from metafusion.config.models import Cohort, Cooperative, Task


@dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True))
class Options:
    """The settings of a family of comparators; None for those that the family does not read.

    Plain mappings, as a rule's parameters are, serve for the models.

    Attributes
    ----------
    task : 'classification' or 'regression'
    cohort : Cohort or None
        Of networks: the main head and the budget of epochs count, not the penalties nor further heads.
    late_fusion : 'probabilities', 'outputs' or None
        Classification: late fusion is the mean of the modalities' probabilities, or of their logits.
    cooperative : Cooperative or None
        Of cooperative learning.
    truth : dict of int to ndarray, shape (samples, latent variables), or None
        By seed, the true latent variables of simulated samples, for the oracle alone.
    """

    task: Task
    cohort: Cohort | None = None
    late_fusion: Literal["probabilities", "outputs"] | None = None
    cooperative: Cooperative | None = None
    truth: dict[int, np.ndarray] | None = None

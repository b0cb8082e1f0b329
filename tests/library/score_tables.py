"""Tables of scores, as evaluation writes them, from a list of values a method, one a seed."""

from collections.abc import Mapping, Sequence

import pandas as pd

from metafusion.methods import family_of

COLUMNS = ["method", "family", "seed", "part", "metric", "value"]


def scores_of(
    values: Mapping[str, Sequence[float]],
    metric: str,
    parts: Mapping[str, float] | None = None,
    family: str | None = None,
) -> pd.DataFrame:
    """Return the scores of methods in seeds 1, 2, ...; ``parts``: what values of a part are multiplied by."""
    rows = [
        (method, family or family_of(method), seed, part, metric, value * factor)
        for method, several in values.items()
        for seed, value in enumerate(several, start=1)
        for part, factor in (parts or {"test": 1.0}).items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)

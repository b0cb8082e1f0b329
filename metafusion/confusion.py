"""Which classes are taken for which, pooled over the test parts of all seeds."""

import numpy as np
import pandas as pd
from sklearn.metrics import mutual_info_score

from metafusion.methods import family_of
from metafusion.predictions import classes_answered

OF_INTEREST = ("meta_fusion", "best_single", "early_fusion", "late_fusion")
COLUMNS = ["method", "true", "given", "count", "samples", "rate", "information_bits"]


def of_interest(methods: list[str]) -> list[str]:
    """Return the methods that confusion is told of: the main ensemble, the best student, fusion, single modalities.

    Examples
    --------
    >>> of_interest(["prior", "modality_lfp", "logistic_regression", "meta_fusion", "independent_meta_fusion"])
    ['meta_fusion', 'modality_lfp', 'logistic_regression']
    """
    found = [name for name in OF_INTEREST if name in methods]
    single = [name for name in methods if name.startswith("modality_")]
    return found + single + [name for name in methods if family_of(name) == "linear"]


def confusion_table(answers: pd.DataFrame) -> pd.DataFrame:
    """Count answers by true class, over the test parts of all seeds.

    Parameters
    ----------
    answers : DataFrame
        See :func:`metafusion.predictions.against_truth`.

    Returns
    -------
    DataFrame
        ``method`` (see :func:`of_interest`), ``true`` and ``given`` class, ``count`` (answers, of all seeds),
        ``samples`` (different ones of the true class that were tested), ``rate`` (share of the answers for the true
        class; missing where it was never tested), ``information_bits`` (of the method: the mutual information of true
        and given class). No rows in regression.

    Notes
    -----
    The mutual information is that of the table of counts, without a correction: chance makes it larger than 0, by about
    (classes - 1)^2 / (2 ln 2 samples) bits (Panzeri, Senatore, Montemurro, Petersen 2007), where samples are all that
    were tested, however often.
    """
    classes = classes_answered(answers)
    logits = [f"logit_{name}" for name in classes]
    answers = answers[answers[logits].notna().all(axis=1)] if classes else answers.iloc[:0]
    rows = []
    for method in of_interest(list(dict.fromkeys(answers["method"]))):
        here = answers[answers["method"] == method]
        given = pd.Categorical.from_codes(here[logits].to_numpy().argmax(axis=1), classes)
        counts = pd.crosstab(pd.Categorical(here["true"], classes), given, dropna=False).to_numpy()
        different = here.groupby("true")["sample"].nunique()
        bits = mutual_info_score(None, None, contingency=counts) / np.log(2)
        for (row, column), count in np.ndenumerate(counts):
            rate = count / counts[row].sum() if counts[row].sum() else np.nan
            tested = int(different.get(classes[row], 0))
            rows.append((method, classes[row], classes[column], int(count), tested, rate, max(0.0, bits)))
    kinds = {"method": "str", "true": "str", "given": "str", "count": "int64", "samples": "int64"}
    return pd.DataFrame(rows, columns=COLUMNS).astype(kinds | {"rate": "float64", "information_bits": "float64"})

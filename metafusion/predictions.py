"""Predictions as a long table, and back."""

import numpy as np
import pandas as pd


def long_predictions(
    answers: dict[str, np.ndarray], parts: pd.DataFrame, classes: list[str], seed: int
) -> pd.DataFrame:
    """Return predictions as a long table: ``method``, ``seed``, ``sample``, ``part``, then one column an output.

    Columns are ``logit_<class>``, or ``prediction`` in regression.
    """
    names = [f"logit_{name}" for name in classes] or ["prediction"]
    tables = []
    for method, outputs in answers.items():
        table = pd.DataFrame(outputs.astype(np.float32), columns=names)
        table.insert(0, "method", method)
        table.insert(1, "seed", seed)
        table.insert(2, "sample", parts["sample"])
        table.insert(3, "part", parts["part"])
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def against_truth(predictions: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Return what was answered for the test parts, and what is true.

    Parameters
    ----------
    predictions : DataFrame
        See :func:`long_predictions`.
    samples : DataFrame
        ``sample``, ``target``.

    Returns
    -------
    DataFrame
        ``method``, ``seed``, ``sample``, ``true`` (the target), then the outputs, in the order of ``predictions``.
    """
    test = predictions[predictions["part"] == "test"].reset_index(drop=True).drop(columns="part")
    test.insert(3, "true", samples.set_index("sample")["target"].loc[test["sample"]].to_numpy())
    return test


def classes_answered(answers: pd.DataFrame) -> list[str]:
    """Return the classes that have a column of logits, in order; none in regression."""
    return [name.removeprefix("logit_") for name in answers.columns if name.startswith("logit_")]


def answers_of(predictions: pd.DataFrame, seed: int, samples: pd.Series) -> dict[str, np.ndarray]:
    """Undo :func:`long_predictions` for one seed: outputs by method, rows in the order of the samples."""
    here = predictions[predictions["seed"] == seed]
    names = predictions.columns[4:]
    return {
        method: table.set_index("sample").loc[samples, names].to_numpy()
        for method, table in here.groupby("method", sort=False)
    }

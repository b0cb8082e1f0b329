"""Who trains, who validates, who tests, for every seed."""

from typing import Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from metafusion.errors import UserError
from metafusion.samples import PARTS, refuse_overlap


def split_samples(
    samples: pd.DataFrame,
    seeds: list[int],
    *,
    test_fraction: float,
    validation_fraction: float,
    unit: str = "subject",
    stratify: bool = True,
    classes: bool = True,
    random_state: Literal["independent", "seed"] = "independent",
) -> pd.DataFrame:
    """Assign every sample to a part, for every seed.

    An official part (column ``given_part``) is kept as it is: where it names test samples, the others are split into
    train and validation only; where it also names validation samples, the others train. Where it leaves no sample free
    and names none for validation, these are drawn from its training samples.

    Parameters
    ----------
    samples : DataFrame
        Columns ``sample``, ``subject``, ``target``; optional ``given_part`` and ``draw`` (see metafusion.samples).
    seeds : list of int
        One split is drawn for each, independent of the other seeds.
    test_fraction, validation_fraction : float in (0, 1)
        Of the units in the test part, and of the remaining ones in the validation part.
    unit : 'subject' or 'sample'
        What is drawn. With 'subject', all samples of one go to the same part.
    stratify : bool
        Keep class proportions (of subjects by their most frequent class), when ``classes``.
    classes : bool
        Whether the target is a class.
    random_state : 'independent' or 'seed'
        'independent': each part of each seed has a stream of its own. 'seed': both draws have the seed as their
        ``random_state``, and the second takes the units in the order that the first left them in, as the authors do.

    Returns
    -------
    DataFrame
        ``sample`` and one column ``seed_{seed}`` of train / validation / test; missing where the seed does not use the
        sample (another seed's draw).

    Raises
    ------
    UserError
        Too few units for the parts, or a class that a part would miss.
    """
    table = pd.DataFrame({"sample": samples["sample"]})
    for seed in seeds:
        used = samples if "draw" not in samples else samples[samples["draw"] == seed]
        if used.empty:
            raise UserError(f"seed {seed}: no sample belongs to this seed's draw")
        parts = _split_once(used, seed, test_fraction, validation_fraction, unit, stratify and classes, random_state)
        _check_parts(used, parts, seed, unit, classes)
        table[f"seed_{seed}"] = parts.reindex(samples.index)
    used = table.drop(columns="sample").notna().any(axis=1)
    return table[used].reset_index(drop=True)


def _split_once(
    samples: pd.DataFrame,
    seed: int,
    test_fraction: float,
    validation_fraction: float,
    unit: str,
    stratify: bool,
    random_state: str,
) -> pd.Series:
    column = samples[unit]
    labels = _labels_of(column, samples["target"])
    given = pd.Series(np.nan, index=labels.index, dtype="object")
    if "given_part" in samples:
        known = samples[samples["given_part"].notna()]
        if unit == "subject":
            refuse_overlap(known["subject"], known["given_part"], "the given split")
        given = samples.groupby(column, sort=True)["given_part"].first().astype("object")
    parts = given.copy()
    # One stream a seed and purpose, so that the validation part does not depend on how the test part was drawn.
    left = None
    for part, fraction, stream in (("test", test_fraction, 0), ("validation", validation_fraction, 1)):
        # numpy, because scikit-learn cannot index the text index of pandas 3.
        free = parts.index[parts.isna()].to_numpy(object) if left is None else left
        if part == "validation" and not len(free):
            free = parts.index[parts == "train"].to_numpy(object)
        if (given == part).any() or not len(free):
            continue
        own = int(np.random.SeedSequence([seed, stream]).generate_state(1)[0])
        try:
            rest, drawn = train_test_split(
                free,
                test_size=fraction,
                random_state=own if random_state == "independent" else seed,
                stratify=labels[free] if stratify else None,
            )
        except ValueError as error:
            raise UserError(
                f"split: {len(free)} {unit}s are too few to draw {fraction:g} of them for the {part} part ({error}); "
                f"change split.{part}_fraction, merge rare classes, or set 'stratify: false'"
            ) from None
        parts[drawn] = part
        left = rest if random_state == "seed" else None
    parts = parts.fillna("train")
    return column.map(parts).astype("str")


def _labels_of(units: pd.Series, targets: pd.Series) -> pd.Series:
    """Return the most frequent target of each unit, the first in order if even; units ascend."""
    counts = pd.DataFrame({"unit": units, "target": targets}).value_counts(sort=False).sort_index()
    ordered = counts.rename("samples").reset_index().sort_values("samples", ascending=False, kind="stable")
    return ordered.drop_duplicates("unit").set_index("unit")["target"].sort_index()


def _check_parts(samples: pd.DataFrame, parts: pd.Series, seed: int, unit: str, classes: bool) -> None:
    if unit == "subject":
        refuse_overlap(samples["subject"], parts, f"seed {seed}")
    for part in PARTS:
        if not (parts == part).any():
            raise UserError(
                f"seed {seed}: the {part} part is empty; change the fractions of 'split' or the given parts"
            )
    if classes:
        trained = set(samples.loc[parts == "train", "target"])
        for part in PARTS[1:]:
            unknown = set(samples.loc[parts == part, "target"]) - trained
            if unknown:
                raise UserError(
                    f"seed {seed}: classes {sorted(unknown)} of the {part} part are not in the training part; "
                    "merge rare classes or set 'stratify: true'"
                )


def manifest(samples: pd.DataFrame, splits: pd.DataFrame, classes: bool) -> pd.DataFrame:
    """Count samples and subjects by seed, part and class.

    Returns
    -------
    DataFrame
        Columns ``seed``, ``part``, ``class`` ('all' for regression), ``samples``, ``subjects``, and
        ``subjects_in_other_parts`` (0 unless the unit is the sample).
    """
    joined = splits.merge(samples, on="sample", validate="one_to_one")
    rows = []
    for column in splits.columns.drop("sample"):
        used = joined[joined[column].notna()]
        for part in PARTS:
            here = used[used[column] == part]
            elsewhere = set(used.loc[used[column] != part, "subject"])
            groups = here.groupby("target", sort=True) if classes else [("all", here)]
            for name, group in groups:
                subjects = set(group["subject"])
                rows.append(
                    {
                        "seed": int(column.removeprefix("seed_")),
                        "part": part,
                        "class": name,
                        "samples": len(group),
                        "subjects": len(subjects),
                        "subjects_in_other_parts": len(subjects & elsewhere),
                    }
                )
    return pd.DataFrame(rows)


def parts_of(splits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return ``sample`` and ``part`` of the samples that a seed uses, in the order of the table."""
    column = splits[f"seed_{seed}"]
    used = column.notna()
    return pd.DataFrame({"sample": splits.loc[used, "sample"], "part": column[used]}).reset_index(drop=True)

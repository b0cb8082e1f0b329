"""Who trains, who validates, who tests, for every seed."""

from typing import Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from metafusion.errors import UserError
from metafusion.samples import PARTS, refuse_overlap


def split_samples(
    samples: pd.DataFrame,
    seeds: list[int],
    *,
    test_fraction: float = 0.2,
    validation_fraction: float,
    unit: str = "subject",
    stratify: bool = True,
    classes: bool = True,
    random_state: Literal["independent", "seed"] = "independent",
    scheme: Literal["repeated", "folds", "sessions"] = "repeated",
    folds: int = 5,
    units: int | None = None,
    untested_units: int | None = None,
    cross_fitting: int = 0,
    seeds_per_draw: int = 1,
) -> pd.DataFrame:
    """Assign every sample to a part, for every seed.

    With ``scheme: folds`` and ``sessions``, the test parts of some seeds are disjoint, and the validation part is drawn
    from the rest. Penalties, clusters and members are chosen there, so this is nested cross-validation.

    With ``scheme: repeated``, an official part (column ``given_part``) is kept as it is: where it names test samples,
    the others are split into train and validation only; where it also names validation samples, the others train. Where
    it leaves no sample free and names none for validation, these are drawn from its training samples.

    Parameters
    ----------
    samples : DataFrame
        Columns ``sample``, ``subject``, ``target``; optional ``given_part``, ``session`` and ``draw`` (see
        metafusion.samples).
    seeds : list of int
        One split is drawn for each, independent of the other seeds, but for folds: seeds (r - 1) K + 1 to r K test the
        K folds of repetition r.
    test_fraction, validation_fraction : float in (0, 1)
        Of the units in the test part (``scheme: repeated``), and of the remaining ones in the validation part.
    unit : 'subject' or 'sample'
        What is drawn. With 'subject', all samples of one go to the same part.
    stratify : bool
        Keep class proportions (of subjects by their most frequent class, unless most of them have samples of several
        classes), when ``classes``.
    classes : bool
        Whether the target is a class.
    random_state : 'independent' or 'seed'
        'independent': each part of each seed has a stream of its own. 'seed': both draws have the seed as their
        ``random_state``, and the second takes the units in the order that the first left them in, as the authors do.
    scheme : 'repeated', 'folds' or 'sessions'
        'folds': seed s tests fold (s - 1) mod K of repetition (s - 1) // K, folds of units with the class proportions
        of all. 'sessions': seed s tests the s-th session, in order of their names; all sessions of one name are one.
    folds : int
        K.
    units : int or None
        So many units are drawn for each seed, and split; None for all. The others are missing in the seed's column.
    untested_units : int or None
        So many of the units that a seed does not test are kept; None for all. The others are missing in its column. The
        test part is the same whatever the number, and the units of a number are among those of every larger one.
    cross_fitting : int
        Above 0 there is no validation part: what is not tested trains, see :mod:`metafusion.cross_fitting`.
    seeds_per_draw : int
        Seeds that share a draw, where samples have the column: 1 to that many have draw 1, and so on. Their numbers
        within it take the place of s above.

    Returns
    -------
    DataFrame
        ``sample`` and one column ``seed_{seed}`` of train / validation / test; missing where the seed does not use the
        sample (another seed's draw).

    Raises
    ------
    UserError
        Fewer units than wanted, too few for the parts or folds, a class that a part would miss, no such session, a
        subject in sessions on both sides, or an official part with a scheme of its own.
    """
    stratify = stratify and classes and not _mixed_subjects(samples, unit)
    table = pd.DataFrame({"sample": samples["sample"]})
    if scheme != "repeated":
        _refuse_given(samples, scheme)
    for seed in seeds:
        used, place = samples, seed
        if "draw" in samples:
            number, place = (seed - 1) // seeds_per_draw + 1, (seed - 1) % seeds_per_draw + 1
            used = samples[samples["draw"] == number]
        if used.empty:
            raise UserError(f"seed {seed}: no sample belongs to this seed's draw")
        if units is not None:
            used = _drawn(used, units, seed, unit, stratify)
        tested = None
        if scheme == "folds":
            tested = _fold(used, place, seed, folds, unit, stratify, random_state)
        elif scheme == "sessions":
            tested = _session(used, place, seed, unit)
        fraction = test_fraction if tested is None else None
        parts = _split_once(
            used, seed, fraction, validation_fraction, unit, stratify, random_state, tested, untested_units
        ).dropna()
        if cross_fitting:
            parts = parts.replace("validation", "train")
        _check_parts(used.loc[parts.index], parts, seed, unit, classes, ("train", "test") if cross_fitting else PARTS)
        table[f"seed_{seed}"] = parts.reindex(samples.index)
    used = table.drop(columns="sample").notna().any(axis=1)
    return table[used].reset_index(drop=True)


def _drawn(samples: pd.DataFrame, units: int, seed: int, unit: str, stratify: bool) -> pd.DataFrame:
    """Return the samples of so many units, drawn at random with the class proportions of all."""
    labels = _labels_of(samples[unit], samples["target"])
    if units > len(labels):
        raise UserError(f"seed {seed}: there are {len(labels)} {unit}s, fewer than 'split.units: {units}'; lower it")
    if units == len(labels):
        return samples
    try:
        drawn, _ = train_test_split(
            # numpy, because scikit-learn cannot index the text index of pandas 3.
            labels.index.to_numpy(object),
            train_size=units,
            random_state=_own_stream(seed, 3),
            stratify=labels.to_numpy() if stratify else None,
        )
    except ValueError as error:
        raise UserError(
            f"split: {units} of {len(labels)} {unit}s cannot be drawn with the class proportions of all ({error}); "
            "change split.units, merge rare classes, or set 'stratify: false'"
        ) from None
    return samples[samples[unit].isin(drawn)]


def _refuse_given(samples: pd.DataFrame, scheme: str) -> None:
    given = samples["given_part"].dropna() if "given_part" in samples else []
    if len(given):
        raise UserError(
            f"split.scheme: {scheme}, but {len(given)} samples have an official part (given_part); set 'scheme: "
            "repeated', which keeps it, or take the official part out of the data"
        )


def _fold(
    samples: pd.DataFrame, place: int, seed: int, folds: int, unit: str, stratify: bool, random_state: str
) -> pd.Series:
    """Return which samples a fold tests; ``place`` counts the folds of all repetitions from 1."""
    # All folds of a repetition come from the stream of its first seed.
    first, fold = seed - (place - 1) % folds, (place - 1) % folds
    own = first if random_state == "seed" else _own_stream(first, 0)
    return _deal(samples, folds, unit, stratify, own, "folds") == fold


def folds_of(samples: pd.DataFrame, folds: int, unit: str, stratify: bool, seed: int) -> pd.Series:
    """Deal samples to folds, counted from 0.

    Parameters
    ----------
    samples : DataFrame
        ``sample``, ``subject``, ``target``: all that a seed does not test.
    folds : int
    unit : 'subject' or 'sample'
        With 'subject', all samples of one go to the same fold.
    stratify : bool
        Keep class proportions, as in :func:`split_samples`.
    seed : int

    Returns
    -------
    Series of int, length samples

    Raises
    ------
    UserError
        Fewer units, or units of a class, than folds.
    """
    stratify = stratify and not _mixed_subjects(samples, unit)
    return _deal(samples, folds, unit, stratify, _own_stream(seed, 2), "cross_fitting")


def _deal(samples: pd.DataFrame, folds: int, unit: str, stratify: bool, random_state: int, key: str) -> pd.Series:
    column = samples[unit]
    labels = _labels_of(column, samples["target"])
    counts = labels.value_counts() if stratify else pd.Series({"all": len(labels)})
    if counts.min() < folds:
        rarest = (
            f"class {counts.idxmin()!r} has {counts.min()} {unit}s" if stratify else f"there are {len(labels)} {unit}s"
        )
        raise UserError(
            f"split: {rarest}, too few for {folds} folds; set '{key}: {max(2, counts.min())}'"
            + (", merge rare classes, or set 'stratify: false'" if stratify else "")
        )
    kind = StratifiedKFold if stratify else KFold
    fold = pd.Series(0, index=labels.index)
    splits = kind(folds, shuffle=True, random_state=random_state).split(np.zeros(len(labels)), labels.to_numpy())
    for number, (_, held) in enumerate(splits):
        fold.iloc[held] = number
    return column.map(fold)


def _session(samples: pd.DataFrame, place: int, seed: int, unit: str) -> pd.Series:
    """Return which samples are of the session in this place, from 1."""
    sessions = samples["session"] if "session" in samples else pd.Series(np.nan, index=samples.index)
    if sessions.isna().any():
        raise UserError(
            f"split.scheme: sessions, but {sessions.isna().sum()} of {len(samples)} samples have no session; set "
            "'scheme: repeated' or 'folds', or use a source that knows the session of every sample"
        )
    names = sorted(sessions.unique())
    if len(names) < 2:
        raise UserError(f"split.scheme: sessions, but all samples are of one ({names[0]}); set 'scheme: folds'")
    if place > len(names):
        raise UserError(
            f"seed {seed}: there are {len(names)} sessions ({', '.join(names[:5])}{', ...' * (len(names) > 5)}), one a "
            f"seed; set 'seeds: {len(names)}' (with 'shuffle', its 'splits' to that)"
        )
    tested = sessions == names[place - 1]
    if unit == "subject":
        subjects = set(samples.loc[tested, "subject"]) & set(samples.loc[~tested, "subject"])
        if subjects:
            raise UserError(
                f"seed {seed}: {len(subjects)} subjects of session {names[place - 1]!r} are in other sessions, too "
                f"({', '.join(sorted(subjects)[:5])}), so that they would stand on both sides; set 'split: {{unit: "
                "sample}' to decode across sessions of the same subjects, or 'scheme: folds' to test other subjects"
            )
    return tested


def _own_stream(seed: int, purpose: int) -> int:
    return int(np.random.SeedSequence([seed, purpose]).generate_state(1)[0])


def _split_once(
    samples: pd.DataFrame,
    seed: int,
    test_fraction: float | None,
    validation_fraction: float,
    unit: str,
    stratify: bool,
    random_state: str,
    tested: pd.Series | None = None,
    untested_units: int | None = None,
) -> pd.Series:
    """Return the part of each sample; missing where it is left out."""
    column = samples[unit]
    labels = _labels_of(column, samples["target"])
    given = pd.Series(np.nan, index=labels.index, dtype="object")
    if tested is not None:
        given[column[tested].unique()] = "test"
    elif "given_part" in samples:
        known = samples[samples["given_part"].notna()]
        if unit == "subject":
            refuse_overlap(known["subject"], known["given_part"], "the given split")
        given = samples.groupby(column, sort=True)["given_part"].first().astype("object")
    parts = given.copy()
    # One stream a seed and purpose, so that the validation part does not depend on how the test part was drawn.
    left = None
    for part, fraction, stream in (("test", test_fraction, 0), ("validation", validation_fraction, 1)):
        if part == "validation" and untested_units is not None:
            kept = _first_of_nested(labels[parts != "test"], untested_units, seed, unit, stratify)
            parts = parts[(parts == "test") | parts.index.isin(kept)]
            left = None if left is None else left[np.isin(left, kept)]
        # numpy, because scikit-learn cannot index the text index of pandas 3.
        free = parts.index[parts.isna()].to_numpy(object) if left is None else left
        if part == "validation" and not len(free):
            free = parts.index[parts == "train"].to_numpy(object)
        if (given == part).any() or not len(free):
            continue
        try:
            rest, drawn = train_test_split(
                free,
                test_size=fraction,
                random_state=_own_stream(seed, stream) if random_state == "independent" else seed,
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


def _first_of_nested(labels: pd.Series, count: int, seed: int, unit: str, stratify: bool) -> pd.Index:
    """Return so many units, those of a smaller number among them, with the class proportions of all.

    Each class has a random order; the one in place k (from 1) of a class of n has the number (k - 1/2) / n, and the
    smallest numbers are taken. These are Webster's quotients, whose apportionment never takes a seat away when there
    are more of them.
    """
    if count > len(labels):
        raise UserError(
            f"seed {seed}: {len(labels)} {unit}s are not tested, fewer than 'split.untested_units: {count}'; lower it"
        )
    order = labels.iloc[np.random.default_rng(_own_stream(seed, 4)).permutation(len(labels))]
    groups = order if stratify else pd.Series("all", index=order.index)
    quotients = (groups.groupby(groups).cumcount() + 0.5) / groups.map(groups.value_counts())
    return quotients.sort_values(kind="stable").index[:count]


def _mixed_subjects(samples: pd.DataFrame, unit: str) -> bool:
    """Tell whether subjects are split of whom most have samples of several classes, as in trials.

    Their most frequent class is then by chance ahead.
    """
    if unit != "subject":
        return False
    classes = samples.groupby("subject")["target"].nunique()
    return bool((classes >= 2).mean() > 0.5)


def _labels_of(units: pd.Series, targets: pd.Series) -> pd.Series:
    """Return the most frequent target of each unit, the first in order if even; units ascend."""
    counts = pd.DataFrame({"unit": units, "target": targets}).value_counts(sort=False).sort_index()
    ordered = counts.rename("samples").reset_index().sort_values("samples", ascending=False, kind="stable")
    return ordered.drop_duplicates("unit").set_index("unit")["target"].sort_index()


def _check_parts(
    samples: pd.DataFrame, parts: pd.Series, seed: int, unit: str, classes: bool, wanted: tuple[str, ...]
) -> None:
    if unit == "subject":
        refuse_overlap(samples["subject"], parts, f"seed {seed}")
    for part in wanted:
        if not (parts == part).any():
            raise UserError(
                f"seed {seed}: the {part} part is empty; change the fractions of 'split' or the given parts"
            )
    if classes:
        trained = set(samples.loc[parts == "train", "target"])
        for part in wanted[1:]:
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

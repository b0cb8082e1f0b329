"""The contract between sources and everything after them: samples, features by modality, and exclusions."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from metafusion.config.models import Task
from metafusion.errors import UserError, did_you_mean
from metafusion.files import read_table, write_table

PARTS = ("train", "validation", "test")
REPEATED = "~permutation"
"""In the ids of samples that stand in an experiment once for each permutation: the id, this, and its number."""
FEWEST_SUBJECTS = 3
"""Subjects that a class must have, so that each part can have one."""


def no_exclusions() -> pd.DataFrame:
    """Return an empty table of exclusions."""
    return pd.DataFrame({name: pd.Series(dtype="str") for name in ("sample", "subject", "modality", "reason")})


@dataclass
class Assembled:
    """Samples and features of one experiment.

    Attributes
    ----------
    samples : DataFrame
        Columns ``sample`` (text, unique), ``subject`` (text) and ``target`` (text classes or numbers; missing where
        unknown). Optional: ``session``, ``site``, ``given_part`` (train, validation, test or missing: an official
        split) and ``draw`` (integer: the only seed that uses the sample, for simulations; or the only permutation).
    features : dict of str to DataFrame
        For each modality a column ``sample`` and then named float32 columns. A sample without the modality has no row;
        NaN is a missing value inside the modality.
    exclusions : DataFrame
        Columns ``sample``, ``subject``, ``modality``, ``reason``: who is not in, and which modality is absent. An empty
        ``modality`` says that the whole sample is out.
    target_origin : str
        What to call the target in messages: its file and column, where it has them.
    people : DataFrame or None
        Who the samples are, for tables of participants, subgroups and checks, never for training: ``sample``, then
        columns of numbers or text such as ``age``, ``sex``, ``site``. None where the source knows nothing.
    """

    samples: pd.DataFrame
    features: dict[str, pd.DataFrame]
    exclusions: pd.DataFrame = field(default_factory=no_exclusions)
    target_origin: str = "target"
    people: pd.DataFrame | None = None


def check(assembled: Assembled, task: Task, modalities: list[str], unit: str = "subject") -> Assembled:
    """Check the contract and what the task needs; keep the modalities that are asked for.

    Samples that have none of these modalities are moved to the exclusions.

    Raises
    ------
    UserError
        Duplicate samples, a modality with no sample, a target that is missing, constant, not finite or not of the
        task's kind, a class with too few subjects, a subject in two given parts.
    """
    samples = assembled.samples.copy()
    if samples.empty:
        reasons = assembled.exclusions["reason"].value_counts()
        listed = "; ".join(f"{reason} ({count} times)" for reason, count in reasons.items())
        raise UserError(f"no sample is left: {listed or 'the source has none'}; check the target column and the ids")
    _refuse_duplicates(samples["sample"], "samples")
    repeated = samples.loc[samples["sample"].str.contains(REPEATED, regex=False), "sample"]
    if len(repeated):
        raise UserError(
            f"samples: {len(repeated)} sample ids contain {REPEATED!r} ({', '.join(repeated[:5])}), which tells "
            "permutations apart; rename them"
        )
    if samples["subject"].isna().any():
        without = samples.loc[samples["subject"].isna(), "sample"]
        raise UserError(
            f"samples: no subject is known for {len(without)} ({', '.join(without[:5])}); they might stand on two "
            "sides of a split; name the subject of each, or remove them"
        )
    features = {
        name: _check_features(assembled.features, name, samples["sample"], assembled.exclusions) for name in modalities
    }
    seen = pd.concat([table["sample"] for table in features.values()]).unique()
    blind = samples[~samples["sample"].isin(seen)]
    exclusions = assembled.exclusions
    if len(blind):
        rows = blind[["sample", "subject"]].assign(modality="", reason="in none of the modalities used")
        exclusions = pd.concat([exclusions, rows], ignore_index=True)
        samples = samples[samples["sample"].isin(seen)]
    samples["target"] = _check_target(samples, task, unit, assembled.target_origin, _left_out(exclusions))
    if "given_part" in samples:
        _check_given_parts(samples, unit)
    samples = samples.sort_values("sample", kind="stable") if "draw" not in samples else samples
    people = _check_people(assembled.people, samples["sample"])
    return Assembled(samples.reset_index(drop=True), features, exclusions, assembled.target_origin, people)


def _check_people(people: pd.DataFrame | None, samples: pd.Series) -> pd.DataFrame:
    """Return one row a sample, in the order of the samples; missing where nothing is known."""
    if people is None:
        return pd.DataFrame({"sample": samples.to_numpy()})
    _refuse_duplicates(people["sample"], "people")
    return people.set_index("sample").reindex(samples).reset_index()


def _refuse_duplicates(ids: pd.Series, what: str) -> None:
    twice = ids[ids.duplicated()].unique()
    if len(twice):
        shown = ", ".join(map(str, twice[:5]))
        raise UserError(f"{what}: {len(twice)} sample ids stand more than once ({shown}); give each sample its own id")


def _check_features(
    features: dict[str, pd.DataFrame], name: str, samples: pd.Series, exclusions: pd.DataFrame
) -> pd.DataFrame:
    if name not in features:
        raise UserError(f"modality {name!r} was not assembled; {did_you_mean(name, features)}")
    table = features[name]
    _refuse_duplicates(table["sample"], f"modality {name!r}")
    table = table[table["sample"].isin(samples)].reset_index(drop=True)
    if table.empty:
        reasons = exclusions.loc[exclusions["modality"] == name, "reason"].value_counts()
        listed = "; ".join(f"{reason} ({count} times)" for reason, count in reasons.items())
        why = f" ({listed})" if listed else ""
        raise UserError(
            f"modality {name!r} has no sample in common with the samples{why}; check its files and ids, or remove it"
        )
    if table.shape[1] < 2:
        raise UserError(f"modality {name!r} has no feature")
    values = table.drop(columns="sample")
    infinite = np.isinf(values.to_numpy(np.float32)).any(axis=0)
    if infinite.any():
        raise UserError(
            f"modality {name!r}: infinite values in {', '.join(values.columns[infinite][:5])}; mark them missing (NaN)"
        )
    return table.astype(dict.fromkeys(values.columns, np.float32))


def _left_out(exclusions: pd.DataFrame) -> str:
    """Say why samples are out: where classes are too small, that is often the cause."""
    reasons = exclusions.loc[exclusions["modality"].fillna("") == "", "reason"].value_counts()
    listed = "; ".join(f"{reason} ({count} times)" for reason, count in reasons.head(5).items())
    return f". Left out before: {listed}; the logs of preprocess_chunk say more" if listed else ""


def _check_target(samples: pd.DataFrame, task: Task, unit: str, origin: str, left_out: str) -> pd.Series:
    target = samples["target"]
    if target.isna().any():
        without = samples.loc[target.isna(), "sample"]
        raise UserError(
            f"{origin}: missing for {len(without)} samples ({', '.join(without[:5])}); exclude them or fill it in"
        )
    if task == "regression":
        numbers = pd.to_numeric(target, errors="coerce")
        bad = ~np.isfinite(numbers.to_numpy(float))
        if bad.any():
            row = samples[bad].iloc[0]
            raise UserError(
                f"{origin} of sample {row['sample']!r} is {_as_written(row['target'])}: regression needs finite "
                "numbers; clean the column, or set 'task: classification'"
            )
        if numbers.nunique() < 2:
            raise UserError(f"{origin}: constant ({numbers.iloc[0]:g} for every sample); nothing can be learnt from it")
        return numbers.astype(float)
    if pd.api.types.is_numeric_dtype(target) and not np.isfinite(target.to_numpy(float)).all():
        raise UserError(f"{origin}: infinite values among the classes; clean the column")
    labels = _as_labels(target)
    if labels.nunique() < 2:
        raise UserError(
            f"{origin}: constant (every sample is {labels.iloc[0]!r}); classification needs two classes{left_out}"
        )
    _refuse_twins(labels, origin)
    counts = samples["subject"].groupby(labels).nunique() if unit == "subject" else labels.value_counts()
    rare = counts[counts < FEWEST_SUBJECTS]
    if len(rare):
        shown = ", ".join(f"{name!r}: {count}" for name, count in rare.items())
        numeric = pd.api.types.is_numeric_dtype(target)
        hint = "; or, as the target holds numbers, set 'task: regression'" if numeric and len(counts) > 5 else ""
        many = labels.value_counts()[rare.index].min() >= FEWEST_SUBJECTS
        within = "; or, to decode within subjects, set 'split: {unit: sample}'" if many else ""
        raise UserError(
            f"{origin}: classes with fewer than {FEWEST_SUBJECTS} {unit}s ({shown}); merge them or leave them out{hint}"
            f"{within if unit == 'subject' else ''}{left_out}"
        )
    return labels


def _refuse_twins(labels: pd.Series, origin: str) -> None:
    """Raise UserError if two classes are one word but for case and white space."""
    counts = labels.value_counts().sort_index()
    for _, twins in counts.groupby(counts.index.str.split().str.join(" ").str.casefold()):
        if len(twins) > 1:
            shown = ", ".join(f"{name!r}: {count} samples" for name, count in twins.items())
            raise UserError(
                f"{origin}: classes that differ in case or white space only ({shown}); write each class in one way"
            )


def _as_written(value: object) -> str:
    """Return text in quotes and numbers without their numpy name."""
    return repr(value) if isinstance(value, str) else str(value)


def _as_labels(target: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(target) and (target == target.round()).all():
        target = target.astype("int64")
    return target.astype("str")


def _check_given_parts(samples: pd.DataFrame, unit: str) -> None:
    given = samples["given_part"].dropna()
    for word in given.unique():
        if word not in PARTS:
            raise UserError(f"given_part: {word!r} is no part; allowed: {', '.join(PARTS)}, or empty")
    if unit == "subject":
        refuse_overlap(samples.loc[given.index, "subject"], given, "the given split")


def refuse_overlap(subjects: pd.Series, parts: pd.Series, where: str) -> None:
    """Raise UserError if a subject stands in more than one part."""
    crossing = parts.groupby(subjects).nunique()
    crossing = crossing[crossing > 1].index
    if len(crossing):
        first = crossing[0]
        both = ", ".join(sorted(parts[subjects == first].unique()))
        raise UserError(
            f"{where}: {len(crossing)} subjects stand in more than one part (subject {first!r} in {both}); move each "
            "subject to one part, or set 'split: {unit: sample}' if one subject is meant to be on both sides"
        )


def write(
    assembled: Assembled, samples: str | Path, features: str | Path, people: str | Path, exclusions: str | Path
) -> None:
    """Write parquets of samples and of people, a folder with one parquet a modality, and a TSV of exclusions."""
    folder = Path(features)
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in assembled.features.items():
        write_table(table, folder / f"{name}.parquet")
    write_table(assembled.people, people)
    write_table(assembled.exclusions[["sample", "subject", "modality", "reason"]], exclusions)
    write_table(assembled.samples, samples)


def original_ids(samples: pd.Series) -> pd.Series:
    """Return the ids under which features are stored: those of the samples themselves, without their permutation.

    Examples
    --------
    >>> original_ids(pd.Series(["a", "b~permutation12"])).tolist()
    ['a', 'b']
    """
    return samples.str.partition(REPEATED)[0]


def first_permutation(
    samples: pd.DataFrame, people: pd.DataFrame, exclusions: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the rows of the first permutation, where labels are shuffled: the others are the same samples again.

    Parameters
    ----------
    samples, people, exclusions : DataFrame
        As :func:`write` stores them.

    Returns
    -------
    samples, people, exclusions : DataFrame
        As they are where nothing is shuffled. The exclusions have the ids of the permutation.
    """
    if not samples["sample"].str.contains(REPEATED, regex=False).any():
        return samples, people, exclusions
    ending = f"{REPEATED}1"
    samples, people = (
        table[table["sample"].str.endswith(ending)].reset_index(drop=True) for table in (samples, people)
    )
    return samples, people, exclusions.assign(sample=exclusions["sample"] + ending)


def feature_matrix(features: str | Path, modality: str, samples: pd.Series) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read the features of some samples.

    Parameters
    ----------
    features : path
        Folder with one parquet a modality.
    modality : str
        Which one.
    samples : Series of str, length n
        The samples wanted, in this order. Those of a permutation have the features of the sample itself.

    Returns
    -------
    values : ndarray of float32, shape (n, columns)
        Rows of samples without the modality are NaN.
    present : ndarray of bool, shape (n,)
        Which samples have the modality.
    names : list of str
        Names of the columns.
    """
    # The ids go down to the row groups, so that a block of a simulation reads its own draws only.
    ids = original_ids(samples)
    table = read_table(Path(features) / f"{modality}.parquet", rows=("sample", ids)).set_index("sample")
    present = ids.isin(table.index).to_numpy()
    return table.reindex(ids).to_numpy(np.float32), present, list(table.columns)

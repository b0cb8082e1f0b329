"""Table one: who the participants are, by class."""

import warnings
from collections.abc import Collection, Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from tableone import TableOne

ABOUT = ["variable", "level", "missing", "overall"]
_CLASS, _ALWAYS = "class of the subject", "number of the row"


def participants_table(
    samples: pd.DataFrame,
    people: pd.DataFrame,
    having: Mapping[str, Collection[str]],
    classes: bool,
    unit: str = "subject",
) -> pd.DataFrame:
    """Describe the participants: one row a subject, its first sample, and in each class its first sample there.

    Parameters
    ----------
    samples : DataFrame
        ``sample``, ``subject``, ``target``.
    people : DataFrame
        ``sample``, then columns of numbers or text; no column but ``sample`` where nothing is known.
    having : dict of str to collection of str
        The samples that have each modality used.
    classes : bool
        Whether the target is a class, which then has a column; otherwise the target is one of the variables.
    unit : {'subject', 'sample'}
        With 'sample' (decoding within subjects) every sample is described. With 'subject', one with samples of several
        classes, as in trials, stands in the column of each, and once under ``overall``.

    Returns
    -------
    DataFrame
        Text: ``variable``, ``level`` (of a category), ``missing`` (how many lack the value), ``overall``, a column a
        class and, for two or more classes, the standardised mean difference of each pair (``SMD (a,b)``). Numbers are
        mean (standard deviation), categories n (per cent of those known); so are sites, and numbers that take two
        values only. First stand the numbers of subjects and of samples, last how many have each modality; a subject has
        what any of its samples has.

    References
    ----------
    Pollard et al. 2018, JAMIA Open 1(1), 26-31 (tableone); Yang, Dalton 2012 (differences of categories).
    """
    key = [unit, "target"] if classes else [unit]
    described = samples.drop_duplicates(key)
    table = people.set_index("sample").reindex(described["sample"]).set_axis(described[unit]).dropna(axis=1, how="all")
    shown = {_column(place): name for place, name in enumerate(table)}
    table.columns = list(shown)
    numbers = [name for name in table if shown[name] != "site" and _is_measured(table[name])]
    texts = [name for name in table if name not in numbers]
    for name in texts:
        # A code 1 is not to be called 1.0 because it is missing elsewhere.
        words = table[name].convert_dtypes().astype("str").astype("object")
        table[name] = words.where(table[name].notna(), None)
    if not classes:
        # A column of people may have the same name.
        shown = {column: f"{name} (people)" if name == "target" else name for column, name in shown.items()}
        shown[_column(len(shown))] = "target"
        numbers.append(list(shown)[-1])
        table[numbers[-1]] = described["target"].to_numpy()
    has = []
    for name, those in having.items():
        owners = set(samples.loc[samples["sample"].isin(set(those)), key].itertuples(index=False, name=None))
        has.append(_column(len(shown)))
        shown[has[-1]] = f"has {name}"
        those_described = described[key].itertuples(index=False, name=None)
        table[has[-1]] = ["yes" if one in owners else "no" for one in those_described]
    if classes:
        table[_CLASS] = described["target"].map(_heading).to_numpy()
    columns = [*numbers, *texts, *has]
    rows = _tableone(table, columns, numbers, has, classes)
    once = table[~table.index.duplicated()]
    if len(once) < len(table):
        # Those of several classes count once among all. A subject has what any of its samples has.
        once = once.assign(**{name: table[name].groupby(level=0).max().reindex(once.index) for name in has})
        overall = _tableone(once, columns, numbers, has, classes=False).set_index(["variable", "level"])
        found = overall.reindex(pd.MultiIndex.from_frame(rows[["variable", "level"]]))
        rows["overall"] = found["overall"].fillna("0 (0.0)").to_numpy()
        missing = overall["missing"].groupby(level=0).first()
        rows["missing"] = rows["variable"].map(missing).fillna("").to_numpy()
    rows["variable"] = rows["variable"].replace(shown)
    return pd.concat([_counts(samples, classes, list(rows)), rows.iloc[1:]], ignore_index=True).astype("str")


def _column(place: int) -> str:
    """Name a column for the time of the making, as the library has names of its own, such as n."""
    return f"column {place}"


def _is_measured(values: pd.Series) -> bool:
    """Tell numbers from words and from codes of two, such as 0 and 1."""
    kind = pd.api.types
    return kind.is_numeric_dtype(values) and not kind.is_bool_dtype(values) and values.nunique() > 2


def _heading(name: str) -> str:
    """Return the heading of a class, which must not be that of another column."""
    return f"class {name}" if name.lower() in ABOUT else name


def _tableone(
    table: pd.DataFrame, columns: list[str], numbers: list[str], present: list[str], classes: bool
) -> pd.DataFrame:
    groups = sorted(table[_CLASS].unique()) if classes else []
    compared = len(groups) > 1 and table[_CLASS].value_counts().min() > 1
    # A class without any number would be lost on the way, so one number is always there.
    table = table.reset_index(drop=True).assign(**{_ALWAYS: range(len(table))})
    with warnings.catch_warnings():
        # The library writes rows in a way that a later pandas will refuse.
        warnings.simplefilter("ignore", pd.errors.Pandas4Warning)
        # The deviation of one value.
        warnings.simplefilter("ignore", RuntimeWarning)
        made = TableOne(
            table,
            columns=[_ALWAYS, *columns],
            categorical=[name for name in columns if name not in numbers],
            continuous=[_ALWAYS, *numbers],
            groupby=_CLASS if classes else None,
            smd=compared,
            include_null=False,
            label_suffix=False,
            # A category that is not there is warned of.
            order={name: ["yes", "no"] for name in present if len(set(table[name])) > 1},
            decimals={name: _decimals(table[name]) for name in numbers} | dict.fromkeys(set(columns) - set(numbers), 1),
        ).tableone
    if isinstance(made.columns, pd.MultiIndex):
        made = made.droplevel(0, axis=1)
    rows = made.reset_index(names=["variable", "level"]).rename(columns={"Missing": "missing", "Overall": "overall"})
    # The library says it once a variable.
    rows["missing"] = rows["missing"].replace("", None).ffill()
    # Who lacks a modality is said by the number that has it.
    rows = rows[~(rows["variable"].isin(present) & (rows["level"] == "no")) & (rows["variable"] != _ALWAYS)]
    # The library takes the pairs from a set, whose order differs between runs.
    differences = [f"SMD ({one},{other})" for one, other in combinations(groups, 2)] if compared else []
    rows[differences] = rows[differences].replace("nan", "")
    return rows[[*ABOUT, *groups, *differences]].astype("object").fillna("")


def _decimals(values: pd.Series) -> int:
    """Return the decimals that show two digits of the standard deviation."""
    deviation = values.std()
    return int(np.clip(1 - np.floor(np.log10(deviation)), 0, 6)) if deviation > 0 else 1


def _counts(samples: pd.DataFrame, classes: bool, columns: list[str]) -> pd.DataFrame:
    """Return the rows with the numbers of subjects and of samples."""
    rows = []
    for variable in ("subject", "sample"):
        counts = dict.fromkeys(columns, "") | {"variable": f"{variable}s", "missing": 0}
        counts["overall"] = samples[variable].nunique()
        if classes:
            by_class = samples.groupby("target")[variable].nunique()
            counts |= {_heading(name): count for name, count in by_class.items()}
        rows.append(counts)
    return pd.DataFrame(rows, columns=columns, dtype="object")

"""What could carry the answer over to the test part, or stands for it among the features.

Whatever looks at targets looks at those of the first seed's training part only.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from logging import Logger

import numpy as np
import pandas as pd
from scipy import stats
from scipy.stats.contingency import association
from statsmodels.stats.multitest import multipletests

from metafusion.account.data import Data, View
from metafusion.config.checks import Checks

COLUMNS = ["check", "what", "where", "value", "level", "meaning"]
DOUBLES = ["check", "where", "group", "sample"]
OK, SUSPECT, ERROR = "ok", "suspect", "error"

FEWEST = 5
"""Samples with and without a class (in regression: of either half) that a feature must have to be judged."""
NOT_SHARED = 2
"""Columns in which equal rows must have a value that nobody else has, so that coarse values do not explain them."""
AT_ONCE = 2**22
"""Numbers that are ranked at a time, to bound the memory."""
SAID = 10
"""Warnings of one check in one place."""
CODES = (-4, -8, -9, -88, -99, -777, -888, -999, -9999, 88, 99, 777, 888, 995, 996, 997, 998, 999, 8888, 9999)
"""Numbers that tables often hold where there is no value."""
FEWEST_CODES = 2
"""Samples that must have one of these for it to be taken for a code."""
RESAMPLES = 1999
"""Of permutations, of sites and of categories, whose tables may be too sparse for the chi-squared distribution."""
TWO_LEVELS = 2
"""Levels of a category that are one column twice, which is judged by itself."""


@dataclass(frozen=True)
class Target:
    """The targets of some training samples.

    Attributes
    ----------
    where : str
        Which samples they are, in words.
    numbers : ndarray of float64, shape (samples,)
        Regression: the targets; otherwise of no meaning.
    members : ndarray of bool, shape (samples, contrasts)
        Classification: who is in a class, for each class that is held against the rest; regression: no column.
    names : list of str
        Of those classes.
    """

    where: str
    numbers: np.ndarray
    members: np.ndarray
    names: list[str]

    @classmethod
    def of(cls, samples: pd.DataFrame, data: Data) -> "Target":
        """Take the targets of some of the training samples."""
        what = "subjects" if samples["subject"].is_unique else "samples"
        where = f"training part of seed {data.seeds[0]}, {len(samples)} {what}"
        if not data.classes:
            numbers = samples["target"].to_numpy(float)
            return cls(where, numbers, np.zeros((len(samples), 0), bool), [])
        classes = sorted(samples["target"].unique())
        # One against the other says the same as the other against the one.
        names = classes[1:] if len(classes) == 2 else classes
        members = samples["target"].to_numpy(object)[:, None] == np.array(names, object)
        return cls(where, np.zeros(len(samples)), members, names)

    @property
    def classes(self) -> bool:
        """Whether the target is a class."""
        return bool(self.names)

    def against(self, number: int) -> str:
        """Say what is told apart by the contrast of a number."""
        return f"class {self.names[number]!r} from the rest" if self.classes else "large targets from small ones"


def leakage_tables(
    data: Data,
    quality: pd.DataFrame,
    checks: Checks,
    proxies: Mapping[str, Sequence[str]] | None = None,
    leaking: Sequence[str] = (),
    scheme: str = "repeated",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Check the data of an experiment.

    Parameters
    ----------
    data : Data
    quality : DataFrame
        ``sample`` and ``content_hash`` of volumes, where there are any; other columns are not looked at.
    checks : Checks
    proxies : mapping of str to sequence of str, optional
        Columns by modality that the source knows to say nearly the label.
    leaking : sequence of str
        Modalities with representations that are configured to be fitted on everything.
    scheme : str, optional
        Who tests, see :func:`metafusion.splits.split_samples`.

    Returns
    -------
    leakage : DataFrame
        :data:`COLUMNS`. Each check that can be made has at least one row; ``level`` is 'ok', 'suspect' or 'error' (what
        the split should have made impossible). ``meaning`` says what ``value`` is, and names nobody. Where every seed
        draws its own samples, those of the first seed are checked, but for the subjects, which are looked at in every
        seed.
    doubles : DataFrame
        :data:`DOUBLES`: the samples that are the same as another; those of one ``group`` are the same.
    """
    samples, training = data.checked, data.training
    alone = data.one_a_subject(training)
    target, target_alone = Target.of(training, data), Target.of(alone, data)
    seen = data.parts_of_every_seed(samples["sample"])
    twice, single, missing, codes = [], [], [], []
    for name in data.modalities:
        view = data.view(name, samples["sample"])
        twice.append(identical_rows(view, samples, seen))
        codes += missing_codes(view)
        view_alone = _rows_of(view, samples, alone)
        single += single_features(_rows_of(view, samples, training), target, checks)
        single += single_categories(view_alone, target_alone, checks)
        missing += missing_values(view_alone, target_alone, checks)
    if "content_hash" in quality:
        twice.append(identical_volumes(quality, samples, seen))
    having = {name: alone["sample"].isin(those).to_numpy() for name, those in data.having().items()}
    missing += missing_modalities(having, target_alone, checks)
    known = label_proxies(proxies or {}, data.modalities)
    sites = site_by_label(data, alone, target_alone, checks)
    tested = [sessions_tested(data)] if scheme == "sessions" else []
    fitted = fitted_on_everything(leaking)
    rows = [*subjects_apart(data), *tested, *fitted, *twice, *known, *single, *missing, *codes, *sites]
    doubles = [double for row in twice for double in row["doubles"]]
    return pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(doubles, columns=DOUBLES)


def fitted_on_everything(leaking: Sequence[str]) -> list[dict]:
    """Return a row for each modality whose representations are fitted on the test part, too."""
    said = (
        "representations are fitted on the test part, too, as 'fit_on: everything' asks: scores are no longer what new "
        "samples would have; set 'fit_on: train', unless this is to run again what others did"
    )
    return [_row("fitted on everything", "representations", name, np.nan, SUSPECT, said) for name in leaking]


def label_proxies(proxies: Mapping[str, Sequence[str]], modalities: Sequence[str]) -> list[dict]:
    """Return a row for each column that is known to say nearly the label, of the modalities that are used."""
    said = "is among the features and says nearly what the label says, as the source knows: say so, or leave it out"
    return [
        _row("label proxy", column, name, np.nan, SUSPECT, said)
        for name in modalities
        for column in proxies.get(name, ())
    ]


def say(table: pd.DataFrame, log: Logger) -> None:
    """Warn of every suspect row; of many of one check in one place only the first, and how many there are."""
    suspects = table[table["level"] != OK]
    for (check, where), rows in suspects.groupby(["check", "where"], sort=False):
        for row in rows.head(SAID).itertuples():
            log.warning("%s: %s, %s, %s: %s", row.level, check, where, row.what, row.meaning)
        if len(rows) > SAID:
            log.warning("suspect: %s, %s: %d more, see leakage.tsv", check, where, len(rows) - SAID)
    log.info("%d of %d rows of checks are suspect", len(suspects), len(table))


def _row(check: str, what: str, where: str, value: float, level: str, meaning: str) -> dict:
    return dict(zip(COLUMNS, (check, what, where, round(float(value), 6), level, meaning), strict=True))


def _rows_of(view: View, samples: pd.DataFrame, wanted: pd.DataFrame) -> View:
    rows = pd.Index(samples["sample"]).get_indexer(wanted["sample"])
    return View(view.name, view.matrix[rows], view.present[rows], view.columns)


def subjects_apart(data: Data) -> list[dict]:
    """Count the subjects in more than one part of a seed, and those with several samples."""
    long = data.splits.melt("sample", var_name="seed", value_name="part").dropna()
    long = long.merge(data.samples[["sample", "subject"]], on="sample", validate="many_to_one")
    crossing = long.groupby(["seed", "subject"])["part"].nunique().gt(1).groupby("seed").sum()
    most = int(crossing.max())
    where = f"all {len(data.seeds)} seeds" if len(data.seeds) > 1 else f"seed {data.seeds[0]}"
    if not most:
        level, said = OK, "no subject has samples in more than one part"
    elif data.unit == "subject":
        level, said = ERROR, "subjects are in more than one part, though subjects are split: a fault, report it"
    elif len(set(data.samples["subject"])) == 1:
        level, said = OK, "one subject on all sides, as 'split: {unit: sample}' asks: nothing is said of new subjects"
    else:
        level = SUSPECT
        said = "subjects are on several sides, as 'split: {unit: sample}' asks: scores may say who it is, not what"
    most_words = f"most in a seed: {most} of {data.samples['subject'].nunique()} subjects; "
    first = _row("subject overlap", "subjects in more than one part", where, most, level, most_words + said)
    several = data.samples["subject"].value_counts()
    several = several[several > 1]
    said = f"{len(several)} subjects have {several.sum()} samples; "
    said += "all of one are always in one part" if not most else "those of one may be in several parts"
    if several.empty:
        said = "every subject has one sample"
        if (data.samples["subject"] == data.samples["sample"]).all():
            said += ", and its name: if the source was not told whose samples are, nobody checked that"
    elif len(data.samples["subject"].unique()) == 1:
        said = f"one subject has all {len(data.samples)} samples"
    return [first, _row("repeat samples", "subjects with several samples", where, len(several), OK, said)]


def sessions_tested(data: Data) -> dict:
    """Count the sessions that no seed tests, where each seed is to leave one out; with permutations, of the first."""
    samples = data.checked
    parts = data.parts_of_every_seed(samples["sample"])
    testing = (parts == "test").any(axis=1).to_numpy()
    untested = sorted(set(samples["session"]) - set(samples.loc[testing, "session"]))
    count = samples["session"].nunique()
    where = f"all {parts.shape[1]} seeds" if parts.shape[1] > 1 else "one seed"
    said = f"each of {count} sessions is tested"
    if untested:
        key = "shuffle.splits" if data.drawn else "seeds"
        said = (
            f"{len(untested)} of {count} sessions are never tested: scores are of the others only; set "
            f"'{key}: {count}' to leave each out once"
        )
    return _row("sessions tested", "sessions that no seed tests", where, len(untested), _level(bool(untested)), said)


def identical_rows(view: View, samples: pd.DataFrame, seen: pd.DataFrame) -> dict:
    """Look for samples whose features are the same, number for number; a row, and under ``doubles`` who they are.

    Coarse values (age, sex, answers) agree by chance. So equal rows are suspect only if they share, in two columns or
    more, a value that no other sample has.

    Parameters
    ----------
    view : View
        Of all samples.
    samples : DataFrame
    seen : DataFrame, shape (samples, seeds)
        The part of each sample in each seed.
    """
    known = view.present & ~np.isnan(view.matrix).all(axis=1)
    # -0 and 0 are one number, and so is every NaN.
    values = np.where(np.isnan(view.matrix), np.float32(np.nan), view.matrix + np.float32(0))
    hashes = [
        hashlib.sha256(row.tobytes()).hexdigest() if one else None for row, one in zip(values, known, strict=True)
    ]
    group = pd.Series(hashes, dtype="object")
    alike = group.duplicated(keep=False) & group.notna()
    own = _shared_with_nobody(values, group.where(alike))
    suspect = alike & group.isin(own.index[own >= NOT_SHARED])
    coarse = int((alike & ~suspect).sum())
    also = f"; {coarse} more rows are alike in values that others share, too" if coarse else ""
    return _twice("identical rows", view.name, group.where(suspect), samples, seen, int(known.sum()), also)


def _shared_with_nobody(values: np.ndarray, group: pd.Series) -> pd.Series:
    """Count, for every group of equal rows, the columns whose value the group shares with nobody."""
    first = group.dropna().drop_duplicates()
    sizes = group.value_counts().reindex(first.to_numpy())
    count = np.zeros(len(first), int)
    for column in values.T if len(first) else ():
        ordered = np.sort(column)
        mine = column[first.index]
        same = np.searchsorted(ordered, mine, "right") - np.searchsorted(ordered, mine, "left")
        count += (same == sizes.to_numpy()) & ~np.isnan(mine)
        if (count >= NOT_SHARED).all():
            break
    return pd.Series(count, index=first.to_numpy())


def identical_volumes(quality: pd.DataFrame, samples: pd.DataFrame, seen: pd.DataFrame) -> dict:
    """Look for samples whose volumes have the same voxels, by the hash of their content; as :func:`identical_rows`."""
    hashes = quality.drop_duplicates("sample").set_index("sample")["content_hash"]
    group = samples["sample"].map(hashes).astype("object")
    twice = group.where(group.duplicated(keep=False))
    return _twice("identical volumes", "volumes", twice, samples, seen, int(group.notna().sum()))


def _twice(
    check: str, where: str, group: pd.Series, samples: pd.DataFrame, seen: pd.DataFrame, known: int, also: str = ""
) -> dict:
    """Count the samples of groups that are in several parts; ``group`` is missing for samples without a double."""
    group = group.reset_index(drop=True)
    parts = seen[group.notna()].groupby(group.dropna()).transform("nunique") > 1
    crossing = int(parts.sum().max()) if len(parts) else 0
    people = samples["subject"].reset_index(drop=True).groupby(group).nunique()
    said = f"{int(group.notna().sum())} of {known} samples are the same as another"
    if len(people):
        said += f" (named in doubles.tsv), {int((people > 1).sum())} groups of them under several subjects"
    said += f"; {crossing} of them are also in another part of a seed (most of {seen.shape[1]}){also}"
    if crossing:
        said += "; remove the doubles, or give them one subject"
    row = _row(check, "samples also in another part", where, crossing, SUSPECT if crossing else OK, said)
    named = pd.DataFrame({"group": group, "sample": samples["sample"].reset_index(drop=True)}).dropna(subset="group")
    # Numbered in the order of their first sample.
    named["group"] = named["group"].factorize()[0] + 1
    doubles = named.sort_values("group", kind="stable").assign(check=check, where=where)
    return row | {"doubles": doubles.to_dict("records")}


def single_features(view: View, target: Target, checks: Checks) -> list[dict]:
    """Name the columns that tell the label alone, by ranks; where there are none, the strongest one.

    Parameters
    ----------
    view : View
        Of training samples.
    target : Target
    checks : Checks
        ``auc``; regression: ``correlation``.
    """
    if target.classes:
        strength, contrast, p = _areas_of(view.matrix, target)
    else:
        strength, p = _correlations(view.matrix, target.numbers)
        contrast = np.zeros(len(strength), int)
    suspect = strength >= _limit(target, checks)[0]
    by_chance = suspect & (np.minimum(1, p * len(p)) > checks.significance)
    table = pd.DataFrame({"name": view.columns, "strength": strength, "contrast": contrast, "by_chance": by_chance})
    return _strongest("single feature", "column", view.name, table, target, checks)


def single_categories(view: View, target: Target, checks: Checks) -> list[dict]:
    """Name the categories that tell the label by all their levels together; where there are none, the strongest one.

    A code of several levels may determine the label though no single level does. What is judged is how well the others
    of the same level foretell a sample: its prediction is their share of the class (regression: their mean rank), and
    that of all samples where nobody shares the level. The sample itself does not count, so levels that are rare tell
    nothing by chance, as they would if it did.

    Parameters
    ----------
    view : View
        Of training samples, one a subject: visits of one share their levels and their label.
    target : Target
    checks : Checks
        ``auc``; regression: ``correlation``.

    Returns
    -------
    list of dict
        None where no source column has three levels or more.
    """
    rows = [(name, codes, *_of_category(codes, target)) for name, codes in _categories(view)]
    table = pd.DataFrame(rows, columns=["name", "codes", "strength", "contrast"])
    limit, _ = _limit(target, checks)
    table["by_chance"] = [
        row.strength >= limit
        and _share_by_chance(row.codes, row.contrast, row.strength, target) * len(table) > checks.significance
        for row in table.itertuples()
    ]
    return _strongest("single category", "category", view.name, table, target, checks) if len(table) else []


def _limit(target: Target, checks: Checks) -> tuple[float, str]:
    return (checks.auc, "auc") if target.classes else (checks.correlation, "correlation")


def _strongest(check: str, noun: str, where: str, table: pd.DataFrame, target: Target, checks: Checks) -> list[dict]:
    """Return a row for each suspect, strongest first, or else for the strongest.

    Parameters
    ----------
    check, noun, where : str
    table : DataFrame
        ``name``, ``strength``, ``contrast``, and ``by_chance``: whether a suspect may be one by chance.
    target : Target
    checks : Checks
    """
    (limit, key), count = _limit(target, checks), len(table)
    table = table.sort_values("strength", ascending=False, kind="stable")
    suspects = table["strength"] >= limit
    rows = []
    for row in (table[suspects] if suspects.any() else table.head(1)).itertuples():
        measure = "AUC" if target.classes else "|Spearman|" if noun == "column" else "correlation of ranks"
        of = f" of {target.against(row.contrast)}" if target.classes else ""
        said = f"{measure} {row.strength:.3f}{of} by this {noun} alone ({target.where})"
        if suspects.any():
            said += (
                f", checks.{key} is {limit:g}. Fine, and nothing to be done, if it was measured without the label, as "
                "when a neuron or channel answers to the class; drop it if it is the label in other words, or followed "
                "from it"
            )
            if row.by_chance:
                said += f"; with so few samples chance may do this in one of {count} {_plural(noun)}"
        elif np.isnan(row.strength):
            said = f"no {noun} could be judged: each needs {FEWEST} values of either side ({target.where})"
        else:
            said = f"the strongest of {count} {_plural(noun)}: {said}"
        rows.append(_row(check, row.name, where, row.strength, _level(bool(suspects.any())), said))
    return rows


def _plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def _categories(view: View) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every source column of three levels or more, and the level of each sample (-1 where it is missing).

    Levels are columns ``name=level`` of 0 and 1, of which each sample has one 1, or gaps in all of them.
    """
    levels: dict[str, list[int]] = {}
    for number, column in enumerate(view.columns):
        name, mark, _ = column.partition("=")
        if mark:
            levels.setdefault(name, []).append(number)
    for name, numbers in levels.items():
        values = view.matrix[:, numbers]
        known = ~np.isnan(values).any(axis=1)
        one_hot = np.isin(values[known], (0, 1)).all() and (values[known].sum(axis=1) == 1).all()
        if len(numbers) > TWO_LEVELS and one_hot:
            yield name, np.where(known, values.argmax(axis=1), -1)


def _of_category(codes: np.ndarray, target: Target) -> tuple[float, int]:
    """Return how well a category foretells the target, see :func:`single_categories`, and the contrast it does best."""
    known = codes >= 0
    numbers = target.members[known].T if target.classes else [stats.rankdata(target.numbers[known])]
    found = [_foretold(codes[known, None], one)[0] for one in numbers]
    return (np.nan, 0) if np.isnan(found).all() else (float(np.nanmax(found)), int(np.nanargmax(found)))


def _share_by_chance(codes: np.ndarray, contrast: int, strength: float, target: Target) -> float:
    """Return the share of permutations in which a category foretells as well, times the contrasts to choose from."""
    known = codes >= 0
    numbers = target.members[known, contrast] if target.classes else stats.rankdata(target.numbers[known])
    same = np.broadcast_to(codes[known, None], (len(numbers), RESAMPLES))
    random = np.random.default_rng(0)
    drawn = (_foretold(random.permuted(same[:, part], axis=0), numbers) for part in _slices(same))
    return float(np.mean(np.concatenate(list(drawn)) >= strength - 1e-12)) * max(1, len(target.names))


def _foretold(codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return how well numbers follow from those of the others with the same code.

    Parameters
    ----------
    codes : ndarray of int, shape (samples, categories)
    numbers : ndarray, shape (samples,)
        Bool: who is in a class. Otherwise ranks.

    Returns
    -------
    ndarray, shape (categories,)
        Area under the curve, at least 0.5; correlation, at least 0. NaN with too few samples, see :data:`FEWEST`.
    """
    others = np.empty(codes.shape)
    for place, code in enumerate(codes.T):
        sizes, sums = np.bincount(code)[code], np.bincount(code, numbers)[code]
        others[:, place] = np.where(sizes > 1, (sums - numbers) / np.maximum(sizes - 1, 1), numbers.mean())
    if numbers.dtype == bool:
        return np.maximum(areas(others, numbers[:, None])[0][0], 0.5)
    if len(numbers) < 2 * FEWEST:
        return np.full(codes.shape[1], np.nan)
    spread = others.std(axis=0) * numbers.std()
    product = (numbers - numbers.mean()) @ (others - others.mean(axis=0)) / len(numbers)
    return np.maximum(np.nan_to_num(product / np.where(spread > 0, spread, np.nan)), 0)


def _level(suspect: bool) -> str:
    return SUSPECT if suspect else OK


def _slices(values: np.ndarray) -> Iterator[slice]:
    size = max(1, AT_ONCE // max(1, len(values)))
    return (slice(start, start + size) for start in range(0, values.shape[1], size))


def _areas_of(values: np.ndarray, target: Target) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each column's largest area under the curve (0.5 to 1), its contrast, and the area's p by chance."""
    parts = []
    for columns in _slices(values):
        area, inside, rest = areas(values[:, columns], target.members)
        folded = np.maximum(area, 1 - area)
        best = np.nan_to_num(folded).argmax(axis=0)
        chosen = best, np.arange(len(best))
        # The variance without ties is the larger one, so that p is too large rather than too small.
        deviation = np.sqrt((inside + rest + 1) / (12 * np.maximum(inside * rest, 1)))
        p = 2 * stats.norm.sf((folded - 0.5) / deviation)
        parts.append((folded[chosen], best, p[chosen] * len(target.names)))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def areas(values: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute areas under ROC curves from ranks.

    Parameters
    ----------
    values : ndarray, shape (samples, columns)
        NaN where missing; such samples do not count for the column.
    members : ndarray of bool, shape (samples, contrasts)

    Returns
    -------
    area, inside, rest : ndarray, shape (contrasts, columns)
        The chance that a member has a larger value than another sample, ties counting half (NaN with fewer than
        :data:`FEWEST` on a side); and the numbers of members and of others that have a value.
    """
    present = ~np.isnan(values)
    # Missing values rank above all others, whose ranks they so leave alone.
    ranks = np.where(present, stats.rankdata(np.where(present, values, np.inf), axis=0), 0)
    weights = members.T.astype(float)
    inside = weights @ present
    rest = present.sum(axis=0) - inside
    judged = (inside >= FEWEST) & (rest >= FEWEST)
    area = (weights @ ranks - inside * (inside + 1) / 2) / np.where(judged, inside * rest, np.nan)
    return area, inside, rest


def _correlations(values: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return |Spearman| of each column with the target where it has a value (NaN where too few do), and its p."""
    strength, p = np.full((2, values.shape[1]), np.nan)
    missing = np.isnan(values)
    for columns in _patterns(missing):
        rows = ~missing[:, columns[0]]
        if rows.sum() < 2 * FEWEST:
            continue
        ranks = stats.zscore(stats.rankdata(numbers[rows]))
        for part in _slices(values[:, columns]):
            some = columns[part]
            others = stats.rankdata(values[np.ix_(rows, some)], axis=0)
            spread = others.std(axis=0)
            product = ranks @ (others - others.mean(axis=0)) / rows.sum()
            strength[some] = np.abs(np.nan_to_num(product / np.where(spread > 0, spread, np.nan)))
        bounded = np.minimum(strength[columns], 1 - 1e-12)
        t = bounded * np.sqrt((rows.sum() - 2) / (1 - bounded**2))
        p[columns] = 2 * stats.t.sf(t, rows.sum() - 2)
    return strength, p


def _patterns(flags: np.ndarray) -> list[np.ndarray]:
    """Return the numbers of the columns that are the same, group by group, in the order of each group's first."""
    packed = pd.Series([column.tobytes() for column in np.packbits(flags, axis=0).T], dtype="object")
    return [np.array(numbers) for numbers in packed.groupby(packed, sort=False).groups.values()]


def missing_codes(view: View) -> list[dict]:
    """Name the columns in which a usual code for a missing value lies apart from all other values.

    A negative code counts where no other value is negative, a positive one where it is twice the largest or more. No
    target is looked at.
    """
    codes = np.float32(CODES)
    counts = np.stack([(view.matrix == code).sum(axis=0) for code in codes])
    rows = []
    for column in np.flatnonzero((counts >= FEWEST_CODES).any(axis=0)):
        values = view.matrix[:, column]
        others = values[~np.isnan(values) & ~np.isin(values, codes)]
        if not len(others):
            continue
        for number in np.flatnonzero(counts[:, column] >= FEWEST_CODES):
            code = CODES[number]
            apart = others.min() >= 0 if code < 0 else code >= 2 * others.max() > 0
            if apart:
                said = (
                    f"{counts[number, column]} samples have {code}, and the values of the others lie from "
                    f"{others.min():g} to {others.max():g}: if it stands for a missing value, name it in 'missing'"
                )
                rows.append(_row("missing code", view.columns[column], view.name, code, SUSPECT, said))
    if not rows:
        said = "no column holds a number that looks like a code for a missing value"
        rows.append(_row("missing code", "any column", view.name, 0, OK, said))
    return rows


def missing_values(view: View, target: Target, checks: Checks) -> list[dict]:
    """Name the columns whose gaps tell the label, among samples that have the modality.

    Parameters
    ----------
    view : View
        Of training samples, one a subject.
    target : Target
    checks : Checks
    """
    rows = np.flatnonzero(view.present)
    missing = np.isnan(view.matrix[rows])
    some = np.flatnonzero(missing.any(axis=0) & ~missing.all(axis=0))
    if not len(some):
        said = f"no column has gaps ({target.where})"
        return [_row("missing values", "any column", view.name, 0.5, OK, said)]
    patterns = [some[numbers] for numbers in _patterns(missing[:, some])]
    names = [
        view.columns[columns[0]] + (f" and {len(columns) - 1} columns missing with it" if len(columns) > 1 else "")
        for columns in patterns
    ]
    flags = missing[:, [columns[0] for columns in patterns]]
    few = Target(target.where, target.numbers[rows], target.members[rows], target.names)
    return _gaps("missing values", names, [view.name] * len(names), flags, few, checks, only_strongest=True)


def missing_modalities(having: dict[str, np.ndarray], target: Target, checks: Checks) -> list[dict]:
    """Say for each modality whether its absence tells the label; ``having``: bool, one a training sample."""
    flags = ~np.stack(list(having.values()), axis=1)
    return _gaps("missing modality", ["the modality"] * len(having), list(having), flags, target, checks)


def _gaps(
    check: str,
    names: Sequence[str],
    where: Sequence[str],
    flags: np.ndarray,
    target: Target,
    checks: Checks,
    only_strongest: bool = False,
) -> list[dict]:
    """Return a row a pattern of gaps; with ``only_strongest`` of those that are not suspect only the strongest."""
    area, contrast = _areas_of_gaps(flags, target)
    p = np.ones(len(area))
    # Holm's correction counts all patterns; those that are too weak to be suspect need no test.
    for number in np.flatnonzero(area >= checks.missing_auc):
        p[number] = _p_of_gap(flags[:, number], target, contrast[number])
    corrected = multipletests(p, method="holm")[1]
    suspect = (area >= checks.missing_auc) & (corrected < checks.significance)
    order = np.argsort(-area, kind="stable")
    if only_strongest:
        order = order[suspect[order]] if suspect.any() else order[:1]
    rows = []
    for number in order if only_strongest else range(len(area)):
        gap, side = flags[:, number], target.members[:, contrast[number]] if target.classes else None
        said = f"missing in {gap.sum()} of {len(gap)}"
        if target.classes:
            said = (
                f"missing in {gap[side].mean():.0%} of class {target.names[contrast[number]]!r} and in "
                f"{gap[~side].mean():.0%} of the rest"
            )
        said += f"; AUC {area[number]:.3f} of {target.against(contrast[number])} by the gaps alone ({target.where})"
        if suspect[number]:
            said += f", p = {corrected[number]:.2g} after Holm: a model can read the label off the gaps"
        elif not gap.any():
            said = f"nobody lacks it ({target.where})"
        elif only_strongest:
            said = f"the strongest of {len(area)} patterns of gaps: {said}"
        rows.append(_row(check, names[number], where[number], area[number], _level(suspect[number]), said))
    return rows


def _areas_of_gaps(flags: np.ndarray, target: Target) -> tuple[np.ndarray, np.ndarray]:
    """Return the area under the curve (0.5 to 1) of each pattern of gaps as the only predictor, and its contrast."""
    flags = flags.astype(float)
    if target.classes:
        inside = target.members.T.astype(float)
        counts = np.stack([inside.sum(axis=1), (1 - inside).sum(axis=1)])[:, :, None]
        shares = np.stack([inside @ flags, (1 - inside) @ flags]) / np.where(counts > 0, counts, np.nan)
        area = 0.5 + np.abs(np.nan_to_num(shares[0] - shares[1])) / 2
        return area.max(axis=0), area.argmax(axis=0)
    sums, with_gap = stats.rankdata(target.numbers) @ flags, flags.sum(axis=0)
    pairs = with_gap * (len(flags) - with_gap)
    area = (sums - with_gap * (with_gap + 1) / 2) / np.where(pairs > 0, pairs, np.nan)
    return np.nan_to_num(np.maximum(area, 1 - area), nan=0.5), np.zeros(flags.shape[1], int)


def _p_of_gap(gap: np.ndarray, target: Target, contrast: int) -> float:
    """Return Fisher's p, times the number of classes to choose from; regression: that of Mann and Whitney."""
    if not target.classes:
        return float(stats.mannwhitneyu(target.numbers[gap], target.numbers[~gap]).pvalue)
    side = target.members[:, contrast]
    counts = [[(gap & side).sum(), (~gap & side).sum()], [(gap & ~side).sum(), (~gap & ~side).sum()]]
    return min(1.0, float(stats.fisher_exact(counts).pvalue) * len(target.names))


def site_by_label(data: Data, samples: pd.DataFrame, target: Target, checks: Checks) -> list[dict]:
    """Say whether the site tells the label; nothing where sites are not known.

    The value is Cramér's V, in regression the correlation ratio of the target's ranks (the root of the share of their
    variance that lies between sites). Both are 0 to 1; the p is from permutations, as many sites have few subjects.
    """
    table = data.people if "site" in data.people else data.samples
    if "site" not in table:
        return []
    site = samples["sample"].map(table.set_index("sample")["site"])
    known = site.notna().to_numpy()
    site = site[known].astype("str").to_numpy()
    count = len(set(site))
    where = f"{target.where}, {count} sites"
    targets = samples["target"].to_numpy()[known]
    if count < 2 or len(set(targets)) < 2:
        return [_row("site by label", "site", "people", 0, OK, f"nothing to compare ({where})")]
    random = np.random.default_rng(0)
    if data.classes:
        counts = pd.crosstab(site, targets).to_numpy()
        method = stats.PermutationMethod(n_resamples=RESAMPLES, rng=random)
        value = association(counts, method="cramer")
        p = stats.chi2_contingency(counts, correction=False, method=method).pvalue
        name = "Cramér's V"
    else:
        ranks, codes = stats.rankdata(targets), pd.factorize(site)[0]
        value = _correlation_ratio(ranks, codes)
        drawn = [_correlation_ratio(random.permutation(ranks), codes) for _ in range(RESAMPLES)]
        p = (1 + np.sum(np.array(drawn) >= value - 1e-12)) / (1 + RESAMPLES)
        name = "correlation ratio of ranks"
    suspect = bool(value >= checks.site and p < checks.significance)
    said = f"{name} {value:.3f}, p = {p:.2g} ({where})"
    if suspect:
        said += ": features that betray the site betray the label; look at the scores by site, or test on other sites"
    return [_row("site by label", "site", "people", value, _level(suspect), said)]


def _correlation_ratio(ranks: np.ndarray, codes: np.ndarray) -> float:
    counts = np.bincount(codes)
    between = np.bincount(codes, ranks) / counts - ranks.mean()
    return float(np.sqrt((counts * between**2).sum() / ((ranks - ranks.mean()) ** 2).sum()))

"""What could carry the answer over to the test part, or stands for it among the features.

Whatever looks at targets looks at those of the first seed's training part only.
"""

from collections.abc import Mapping, Sequence
from logging import Logger

import numpy as np
import pandas as pd
from scipy import stats
from scipy.stats.contingency import association

from metafusion.account.data import Data, View
from metafusion.account.doubles import DOUBLES, identical_rows, identical_volumes
from metafusion.account.gaps import missing_codes, missing_modalities, missing_values
from metafusion.account.single import RESAMPLES, single_categories, single_features
from metafusion.account.verdicts import COLUMNS, ERROR, OK, SUSPECT, Target, level_of, verdict
from metafusion.config.checks import Checks

SAID = 10
"""Warnings of one check in one place."""


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
    return [verdict("fitted on everything", "representations", name, np.nan, SUSPECT, said) for name in leaking]


def label_proxies(proxies: Mapping[str, Sequence[str]], modalities: Sequence[str]) -> list[dict]:
    """Return a row for each column that is known to say nearly the label, of the modalities that are used."""
    said = "is among the features and says nearly what the label says, as the source knows: say so, or leave it out"
    return [
        verdict("label proxy", column, name, np.nan, SUSPECT, said)
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
    first = verdict("subject overlap", "subjects in more than one part", where, most, level, most_words + said)
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
    return [first, verdict("repeat samples", "subjects with several samples", where, len(several), OK, said)]


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
    return verdict(
        "sessions tested", "sessions that no seed tests", where, len(untested), level_of(bool(untested)), said
    )


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
        return [verdict("site by label", "site", "people", 0, OK, f"nothing to compare ({where})")]
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
    return [verdict("site by label", "site", "people", value, level_of(suspect), said)]


def _correlation_ratio(ranks: np.ndarray, codes: np.ndarray) -> float:
    counts = np.bincount(codes)
    between = np.bincount(codes, ranks) / counts - ranks.mean()
    return float(np.sqrt((counts * between**2).sum() / ((ranks - ranks.mean()) ** 2).sum()))

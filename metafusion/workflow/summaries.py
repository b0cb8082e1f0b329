"""What a person reads on the terminal when a run has ended."""

from pathlib import Path

from metafusion.config.models import Experiment
from metafusion.files import read_table


def summaries(results: Path, experiments: dict[str, Experiment]) -> str:
    """Return the main measure of every method of every experiment whose summary exists."""
    blocks = []
    for name, experiment in experiments.items():
        path = results / name / "tables" / "summary.tsv"
        if path.exists():
            found = (
                _gain(path.with_name("mutual_learning.tsv"))
                + _suspects(path.with_name("leakage.tsv"))
                + _volumes(path.with_name("quality.tsv"))
            )
            blocks.append(_summary(path, experiment) + found)
    return "\n\n".join(blocks)


def _summary(path: Path, experiment: Experiment) -> str:
    metric = experiment.metrics[0]
    table = read_table(path)
    table = table[table["metric"] == metric]
    origin = "SIMULATED data" if experiment.source.simulated else "data read from files"
    lines = [
        f"{experiment.title} ({origin}; protocol {experiment.protocol})",
        f"  test {metric}, mean (standard error) over seeds; results in {path.parent.parent}/",
    ]
    for row in table.fillna({"mark": ""}).itertuples():
        error = "    -  " if row.se != row.se else f"{row.se:.4f}"
        lines.append(f"    {row.method:<36}{row.mean:>10.4f} ({error})  {row.seeds:>3} seeds  {row.mark}")
    return "\n".join(lines)


def _gain(path: Path) -> str:
    """Say in one line what mutual learning added to Meta Fusion."""
    if not path.exists():
        return ""
    (row,) = read_table(path).query("method == 'meta_fusion'").head(1).itertuples()
    interval = "" if row.low != row.low else f", 95 % interval {row.low:.4f} to {row.high:.4f}"
    return (
        f"\n  mutual learning added {row.gain:.4f} to meta_fusion (better if positive{interval}); {row.taught} of "
        f"{row.seeds} seeds chose it"
    )


def _suspects(path: Path) -> str:
    """Say in one line what the checks of the data found."""
    if not path.exists():
        return ""
    checks = read_table(path)
    found = checks.loc[checks["level"] != "ok", "check"].value_counts(sort=False)
    named = ", ".join(f"{check} {count}" for check, count in found.items())
    return f"\n  checks of the data: {found.sum()} suspect" + (f" ({named}): see {path}" if named else "")


def _volumes(path: Path) -> str:
    """Say in one line what is to be looked at among the volumes; nothing where there are none."""
    if not path.exists() or "space_warning" not in (volumes := read_table(path)):
        return ""
    # An empty column is read as one of missing numbers.
    warned, apart = (volumes[name].fillna("").astype("str").ne("") for name in ("space_warning", "outlier"))
    said = f"\n  volumes: {len(volumes)} used, {warned.sum()} with a warning, {apart.sum()} unlike the others"
    return said + (f": see {path}" if (warned | apart).any() else "")


def mistakes(logs: Path, since: float) -> str:
    """Return the messages of the jobs that failed since a time (seconds since 1970), from the rules' logs."""
    found = []
    for path in sorted(logs.rglob("*.log")):
        if path.stat().st_mtime >= since:
            _, _, message = path.read_text(encoding="utf-8").partition(" ERROR ")
            if message:
                found.append(f"ERROR in {message.strip()}\n(log: {path})")
    return "\n\n".join(found)

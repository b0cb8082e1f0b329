"""What experiments must share to be compared; small, as every job reads it with the rules."""

from metafusion.errors import UserError


def shared_metrics(metrics: dict[str, list[str]], comparison: str) -> list[str]:
    """Return the measures of the first of some experiments.

    Parameters
    ----------
    metrics : dict of str to list of str
        Of each experiment, the main one first.
    comparison : str
        Its name, for the message.

    Raises
    ------
    UserError
        Their main measures differ.
    """
    if len({several[0] for several in metrics.values()}) > 1:
        found = ", ".join(f"{name}: {several[0]}" for name, several in metrics.items())
        raise UserError(
            f"comparisons.{comparison}: the experiments' main measures differ ({found}); give them the same first "
            "entry of 'metrics', or compare others"
        )
    return next(iter(metrics.values()))

"""Trials in words: how an array of channels and time is named in a table and found there again, and who is left out."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from metafusion.errors import UserError

_CELL = re.compile(r"(.+)_t(-?\d+(?:\.\d+)?)", re.DOTALL)


def counted(reasons: Iterable[str]) -> str:
    """Say how many trials are left out for each reason, the most frequent first.

    Examples
    --------
    >>> counted(["no label", "no onset", "no label"])
    'no label (2 trials); no onset (1 trial)'
    """
    counts = Counter(reasons).most_common()
    return "; ".join(f"{reason} ({count} trial{'s' * (count > 1)})" for reason, count in counts)


def seconds_in_names(times: Sequence[float] | np.ndarray) -> list[str]:
    """Write times in seconds with two decimals, or with as many more as keep them apart.

    Raises
    ------
    UserError
        Two times agree to the nanosecond.

    Examples
    --------
    >>> seconds_in_names([-0.5, 0.0, 0.5])
    ['-0.50', '0.00', '0.50']
    >>> seconds_in_names([0.001, 0.002])
    ['0.001', '0.002']
    """
    # To the nanosecond first: two sessions must not differ in a name by the last bit of a time that ends in 5.
    rounded = [round(float(time), 9) for time in times]
    for decimals in range(2, 10):
        # Adding 0.0 makes 0.0 of -0.0.
        names = [f"{round(time, decimals) + 0.0:.{decimals}f}" for time in rounded]
        if len(set(names)) == len(names):
            return names
    raise UserError(f"the {len(rounded)} times of a trial, from {rounded[0]:g} s on, are not all different")


def array_names(channels: Sequence[str], times: Sequence[float] | np.ndarray) -> list[str]:
    """Name the cells of an array of channels and time, channel by channel.

    Examples
    --------
    >>> array_names(["C3", "C4"], [0.1, 0.2])
    ['C3_t0.10', 'C3_t0.20', 'C4_t0.10', 'C4_t0.20']
    """
    seconds = seconds_in_names(times)
    return [f"{channel}_t{second}" for channel in channels for second in seconds]


def array_axes(columns: Sequence[str]) -> tuple[list[str], list[float]]:
    """Return the channels and the times in seconds of columns that are an array, as :func:`array_names` names it.

    Raises
    ------
    UserError
        A column that is no cell, or channels that have not the same ascending times in the same order.

    Examples
    --------
    >>> array_axes(["C3_t0.10", "C3_t0.20", "C4_t0.10", "C4_t0.20"])
    (['C3', 'C4'], [0.1, 0.2])
    """
    seconds: dict[str, list[str]] = {}
    previous = None
    for column in columns:
        cell = _CELL.fullmatch(column)
        if cell is None:
            raise UserError(
                f"column {column!r} is no cell of an array of channels and time, as 'C3_t0.10' is; the modality must "
                "consist of 'samples' or 'bins' only"
            )
        channel, second = cell.groups()
        if channel != previous and channel in seconds:
            raise UserError(f"the columns of channel {channel!r} do not stand together; expected channel by channel")
        seconds.setdefault(channel, []).append(second)
        previous = channel
    if not seconds:
        raise UserError("no columns, where an array of channels and time was expected")
    first, *others = seconds
    for channel in others:
        if seconds[channel] != seconds[first]:
            raise UserError(
                f"channel {channel!r} has {len(seconds[channel])} times from {seconds[channel][0]} s on, and "
                f"{first!r} has {len(seconds[first])} from {seconds[first][0]} s on; expected the same times"
            )
    times = [float(second) for second in seconds[first]]
    if any(later <= earlier for earlier, later in pairwise(times)):
        raise UserError(f"the times of channel {first!r} do not ascend: {', '.join(seconds[first][:10])}")
    return list(seconds), times


def array_shape(columns: Sequence[str]) -> tuple[int, int]:
    """Return the number of channels and of times of columns that are an array (C order of channel and time).

    Raises
    ------
    UserError
        The columns are no such array, see :func:`array_axes`.

    Examples
    --------
    >>> array_shape(["C3_t0.10", "C3_t0.20", "C4_t0.10", "C4_t0.20"])
    (2, 2)
    """
    channels, times = array_axes(columns)
    return len(channels), len(times)

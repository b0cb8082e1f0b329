"""Counts of what runs were put through, shown at the end."""

from collections import Counter

import pytest

COUNTS = Counter()


@pytest.fixture
def count():
    """A function that counts a disturbance."""

    def one(what: str) -> None:
        COUNTS[what] += 1

    return one


def pytest_terminal_summary(terminalreporter):
    if COUNTS:
        terminalreporter.section(f"{COUNTS.total()} disturbances")
        for what, times in sorted(COUNTS.items()):
            terminalreporter.write_line(f"{times:4d}  {what}")

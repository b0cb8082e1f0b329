"""A source's settings back from the plain values that a job receives."""

from typing import Any

from pydantic import TypeAdapter

from metafusion.config.source import Source
from metafusion.config.sources import AnySource

_ADAPTER = TypeAdapter(AnySource)


def source_from(values: dict[str, Any]) -> Source:
    """Return the settings of a source from plain values."""
    return _ADAPTER.validate_python(values)

"""Settings of the user's columns that several kinds of source have in common."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, field_validator, model_validator

from metafusion.config.base import Settings

ColumnType = Literal["numeric", "ordinal", "categorical"]


def _by_own_name(given: Any) -> Any:
    """Return a list of columns as a mapping of each to itself."""
    return {name: name for name in given} if isinstance(given, list) else given


def _are_not_samples(people: dict[str, str]) -> dict[str, str]:
    if "sample" in people:
        raise ValueError("no column may be called 'sample'; write {other_name: sample}")
    return people


People = Annotated[
    dict[str, str],
    BeforeValidator(_by_own_name, json_schema_input_type=list[str] | dict[str, str]),
    AfterValidator(_are_not_samples),
]
"""Columns that say who the samples are, by their names in the results."""


class TypedColumns(Settings):
    """Columns that become features; a kind has the fields ``types`` and ``levels`` among its own."""

    @field_validator("levels", check_fields=False)
    @classmethod
    def _levels_differ(cls, levels: dict[str, list[str]]) -> dict[str, list[str]]:
        for column, words in levels.items():
            if len(set(words)) < max(len(words), 2):
                raise ValueError(f"{column}: expected two levels or more, each once, found {words}")
        return levels

    @model_validator(mode="after")
    def _levels_fit_the_types(self) -> "TypedColumns":
        for column in self.levels:
            if self.types.get(column) == "numeric":
                raise ValueError(f"levels: {column!r} is numeric; remove its levels, or make it ordinal or categorical")
        return self

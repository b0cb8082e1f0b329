"""The base of every configuration model: unknown keys are refused with a suggestion."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from metafusion.errors import did_you_mean


class Settings(BaseModel):
    """A part of the configuration. Immutable; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", defer_build=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for key in given:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key {key!r}; {did_you_mean(str(key), cls.model_fields)}")
        return given

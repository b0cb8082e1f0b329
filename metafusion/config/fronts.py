"""What is made of a modality's columns before they are scaled, fitted on some of a seed's samples."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from metafusion.config.base import Settings

FitOn = Literal["train", "train_and_validation", "everything"]
FrontKind = Literal["none", "channel_pca", "tangent_space", "active"]

FRONT_KEYS = {
    "none": (),
    "channel_pca": ("components", "fit_on"),
    "tangent_space": ("estimator", "fit_on"),
    "active": ("minimum_variance", "minimum_rate", "fit_on"),
}
"""Keys that have a meaning with each kind."""


class Front(Settings):
    """What is made of a modality's columns, once missing values are filled in, before anything else."""

    kind: FrontKind = Field(
        default="none",
        description="'channel_pca': principal components of each channel's time course. 'tangent_space': the "
        "covariance of the channels over time, as a point of the tangent space. 'active': columns (or units) that vary "
        "and are not silent. 'none': the columns as they are.",
    )
    components: int = Field(
        default=15,
        ge=1,
        description="'channel_pca': components of each channel. The first one of every channel comes first, then the "
        "second one of every channel, and so on.",
    )
    estimator: Literal["scm", "oas", "lwf"] = Field(
        default="oas",
        description="'tangent_space': how a sample's covariance is estimated. 'scm': as it is. 'oas' (oracle "
        "approximating shrinkage), 'lwf' (Ledoit and Wolf): shrunk, so that it has an inverse even with few times.",
    )
    minimum_variance: float = Field(
        default=1e-10,
        ge=0,
        allow_inf_nan=False,
        description="'active': columns whose variance is no larger are left out, in the square of their unit. Of an "
        "array of units and times, units of which every column is such.",
    )
    minimum_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None,
        description="'active': columns, or units of an array, whose mean is smaller are left out, in their unit; null "
        "for no such limit.",
    )
    fit_on: FitOn | None = Field(
        default=None,
        description="The samples that this is fitted on; null for those of the modality's own 'fit_on'. 'everything' "
        "leaks the test part.",
    )

    @model_validator(mode="after")
    def _keys_fit_the_kind(self) -> "Front":
        for key in sorted(self.model_fields_set - {"kind", *FRONT_KEYS[self.kind]}):
            # Defaults written out are no mistake: a dumped configuration can be read again.
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key!r} has no meaning with 'kind: {self.kind}'; remove it, or set another 'kind'")
        return self


def with_kind(given: Any) -> Any:
    """Return the mapping that a kind's bare name is short for; anything else as it is."""
    return {"kind": given} if isinstance(given, str) else given


AnyFront = Annotated[Front, BeforeValidator(with_kind, json_schema_input_type=FrontKind | Front)]

"""When a check of the data calls something suspect."""

from typing import Annotated

from pydantic import Field

from metafusion.config.base import Settings

Area = Annotated[float, Field(gt=0.5, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Checks(Settings):
    """From where on something in the data is called suspect, see docs/checks.md. The run goes on in any case."""

    auc: Area = Field(
        default=0.95,
        description="Classification: area under the ROC curve from which on a single feature is suspected to be the "
        "label in other words.",
    )
    correlation: Share = Field(
        default=0.95, description="The same for regression: Spearman's correlation with the target, either sign."
    )
    missing_auc: Area = Field(
        default=0.65,
        description="Area under the ROC curve from which on it is suspect that a value or a modality is missing.",
    )
    site: Share = Field(
        default=0.3,
        description="Association of site and label from which on it is suspect: Cramér's V, or in regression the "
        "correlation ratio of the target's ranks.",
    )
    significance: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.01,
        description="Level of the tests that keep chance from being called suspect, after Holm: of missing values and "
        "sites.",
    )

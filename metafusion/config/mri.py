"""How T1-weighted volumes are preprocessed, whatever the source."""

from pydantic import Field

from metafusion.config.base import Settings
from metafusion.config.source import Positive


class MriPreprocessing(Settings):
    """How T1-weighted volumes become features."""

    resolution: Positive = Field(default=4.0, description="Voxel size of the common grid, in mm.")
    parcels: int = Field(default=12, ge=1, description="Grey-matter regions per hemisphere.")

"""How T1-weighted volumes are preprocessed, whatever the source."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from metafusion.config.base import Settings
from metafusion.config.source import Positive


class MriPreprocessing(Settings):
    """How T1-weighted volumes become features."""

    resolution: Positive = Field(default=4.0, description="Voxel size of the common grid, in mm.")
    parcels: int = Field(
        default=12, ge=1, description="Grey-matter regions per hemisphere of the packaged parcellation; see 'atlas'."
    )
    align: Literal["none", "affine"] = Field(
        default="none",
        description="How each volume is brought onto the MNI152 template. 'none': it is there already, as after SPM, "
        "FSL or fMRIPrep; only volumes without an origin are shifted. 'affine': turned, shifted, scaled and sheared, "
        "which corrects for head size.",
    )
    bias: Literal["polynomial", "n4", "none"] = Field(
        default="polynomial",
        description="How smooth differences of brightness are removed: a quadratic polynomial fitted in the white "
        "matter, N4 (Tustison et al. 2010), or not at all.",
    )
    atlas: Path | None = Field(
        default=None,
        description="NIfTI file of whole numbers in MNI space whose labels are the regions; null for the packaged "
        "parcels.",
    )
    atlas_labels: Path | None = Field(
        default=None,
        description="TSV file with columns 'index' and 'name' for the labels of 'atlas'; null to name them by number.",
    )
    volume: Positive | None = Field(
        default=None,
        description="Voxel size in mm of the small volume that becomes the modality 'volume', for 'conv3d' and PCA; "
        "null for none.",
    )
    on_broken: Literal["exclude", "stop"] = Field(
        default="exclude",
        description="What a volume that cannot be used does: it is excluded with its reason, or it stops the run.",
    )

    @model_validator(mode="after")
    def _names_belong_to_an_atlas(self) -> "MriPreprocessing":
        if self.atlas_labels and not self.atlas:
            raise ValueError("atlas_labels: names without an atlas; give 'atlas', the NIfTI file of the labels, too")
        return self

    @model_validator(mode="after")
    def _is_no_finer_than_the_grid(self) -> "MriPreprocessing":
        if self.volume and self.volume < self.resolution:
            raise ValueError(
                f"volume: {self.volume:g} mm is finer than the common grid it is made from; give at least the "
                f"resolution ({self.resolution:g} mm), or lower 'resolution'"
            )
        return self

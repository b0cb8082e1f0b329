"""The base of all kinds of source: what the workflow must know of them before it reads data."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from metafusion.config.base import Settings

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def _as_text(given: Any) -> Any:
    """YAML reads -4 as a number, and tables are compared as text."""
    return str(given) if isinstance(given, int | float) and not isinstance(given, bool) else given


Code = Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | int | float)]
"""A code for missing values in a table."""


TRUTH = "truth"
"""Name of the table of true latent variables beside the modalities' features; for an oracle only."""


SIMULATED = "SIMULATED.txt"
"""File beside a user's files, or in a folder above them, that says that they are simulated. What is made of them then
says so, too. :mod:`metafusion.examples` writes it."""


def called_simulated(files: Iterable[Path]) -> bool:
    """Return whether :data:`SIMULATED` lies beside some of these files, or up to four folders above."""
    return any((folder / SIMULATED).exists() for folder in {up for file in files for up in file.parents[:5]})


class Source(Settings):
    """What the workflow must know of any kind of source before it reads data."""

    simulated: ClassVar[bool] = False
    can_be_drawn: ClassVar[bool] = False
    """Whether the source's module has ``look``, which draws the data themselves."""
    has_truth: ClassVar[bool] = False
    """Whether the source knows the latent variables behind its data, and assembles them as :data:`TRUTH`."""
    published_representations: ClassVar[dict[str, dict[str, Any]]] = {}
    """Keys of a modality's representations that ``protocol: as_published`` sets for this kind, where the experiment
    does not, beside those that it sets for all. What it says of ``before`` counts where the experiment has one."""
    wheels: ClassVar[tuple[str, ...]] = ()
    """Packages of ``metafusion.sources.wheels`` that hold the source's files."""

    @property
    def modality_names(self) -> list[str]:
        raise TypeError(f"{type(self).__name__} names no modalities")

    @property
    def chunks(self) -> dict[str, list[str]]:
        """Units of preprocessing by name: sessions, chunks of subjects, or everything, mostly of a modality each.

        A source of the user's own folders lists them here, and raises UserError where they cannot be used.
        """
        return {name: ["all"] for name in self.modality_names}

    @property
    def user_files(self) -> list[Path]:
        """The user's own tables, that samples are assembled from; empty where ``acquire`` makes or downloads files."""
        return []

    @property
    def label_proxies(self) -> dict[str, list[str]]:
        """Columns among the features, by modality, that nearly say the label: the account of the data names them."""
        return {}

    @property
    def time_window(self) -> tuple[float, float] | None:
        """The stretch of a trial (s) that the features come from; None where the source knows no time."""
        return getattr(self, "window", None)

    def with_window(self, window: tuple[float, float]) -> dict[str, Any]:
        """What to change in these settings so that features come from another window of the trials (s).

        Raises
        ------
        ValueError
            The source knows no time.
        """
        if "window" not in type(self).model_fields:
            raise ValueError(f"'kind: {self.kind}' has no window in time; remove 'windows'")
        return {"window": list(window)}

    def settings_of(self, modality: str, chunk: str) -> dict[str, Any]:
        """What of these settings a chunk of a modality depends on: a change of others does not touch it."""
        return self.model_dump(mode="json")

    def inputs_of(self, modality: str, chunk: str) -> list[Path]:
        """The user's own files that a chunk is made from: a change of another file does not touch the chunk."""
        return self.user_files

    @property
    def input_files(self) -> list[Path]:
        """All of the user's own files that anything is made from."""
        places = [(unit, chunk) for unit, chunks in self.chunks.items() for chunk in chunks]
        return list(dict.fromkeys([*self.user_files, *(file for place in places for file in self.inputs_of(*place))]))

"""The folders of preprocessed chunks, grouped by modality."""

from collections.abc import Iterable
from pathlib import Path


def by_modality(folders: Iterable[str]) -> dict[str, list[Path]]:
    """Group ``.../preprocessed/{modality}/{chunk}`` folders by modality, keeping their order."""
    grouped: dict[str, list[Path]] = {}
    for folder in map(Path, folders):
        grouped.setdefault(folder.parent.name, []).append(folder)
    return grouped

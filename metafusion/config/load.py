"""Reading configuration files, with errors that name file, key, what was found and what is allowed."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from metafusion.config.base import Settings
from metafusion.config.models import WINDOWS, Comparison, Experiment, Study, with_variant, without_size
from metafusion.errors import UserError, did_you_mean

Model = TypeVar("Model", bound=Settings)


NAME = re.compile(r"\w[\w.\-]*")
"""Names of experiments: they become folders, and words on command lines that Snakemake makes of them."""
FILLED_IN = frozenset("{}<>\n\r\0")
"""Characters that no path of a user's file may have: Snakemake fills in {names} and <names>."""
MOST_VALUES = 100_000
"""Values in a file, those behind aliases counted wherever they are named."""


class _Loader(yaml.SafeLoader):
    """YAML in which a key may stand once only, and aliases make neither circles nor millions of values."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            # A merge (<<) may stand beside the keys it brings in; unhashable keys are refused below, by YAML itself.
            if key_node.tag == "tag:yaml.org,2002:merge" or not isinstance(key_node, yaml.ScalarNode):
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _count(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Count the values of a node, each node once, however often it is named."""
    if id(node) in known:
        if (found := known[id(node)]) is None:
            raise yaml.composer.ComposerError(None, None, "an alias names what it is part of", node.start_mark)
        return found
    known[id(node)] = None
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    inner = [one for pair in pairs for one in pair] or (node.value if isinstance(node, yaml.SequenceNode) else [])
    known[id(node)] = number = 1 + sum(_count(one, known) for one in inner)
    if number > MOST_VALUES:
        raise yaml.composer.ComposerError(None, None, f"more than {MOST_VALUES} values", node.start_mark)
    return number


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, or raise UserError."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), _Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a file with YAML") from None
    except RecursionError:
        raise UserError(f"{path}: not readable as YAML: brackets within brackets, too many of them") from None
    # Words that are not what their form or tag says, such as the date 2020-99-99 or !!int x, PyYAML does not catch.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected 'key: value' lines, found {type(content).__name__}")
    return content


def validate(model: type[Model], content: dict[str, Any], origin: str) -> Model:
    """Check a mapping against a model.

    Raises
    ------
    UserError
        One line for each mistake: file, key, what is wrong, what was found.
    """
    if (wrong := _no_character(content)) is not None:
        raise UserError(
            f"{origin}: {wrong!r}: found bytes, a null byte or half a character, expected text; write it anew"
        )
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [_describe(origin, mistake) for mistake in error.errors()]
        raise UserError("\n".join(lines)) from None


def _no_character(content: Any) -> str | bytes | None:
    """Return bytes, or a text with what is no character: a lone surrogate can be neither written nor printed."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content if "\0" in content or any("\ud800" <= mark <= "\udfff" for mark in content) else None
    inner = [*content, *content.values()] if isinstance(content, dict) else content
    found = map(_no_character, inner) if isinstance(inner, list) else ()
    return next((one for one in found if one is not None), None)


def _describe(origin: str, mistake: dict) -> str:
    key = ".".join(str(part) for part in mistake["loc"])
    message = mistake["msg"].removeprefix("Value error, ")
    found = mistake.get("input")
    if mistake["type"] == "union_tag_invalid":
        known = [tag.strip(" '") for tag in mistake["ctx"]["expected_tags"].split(",")]
        wrong = mistake["ctx"]["tag"]
        return f"{origin}: {key}.kind: no kind {wrong!r}; {did_you_mean(wrong.lower(), known)}"
    if mistake["type"] in ("too_short", "too_long"):
        bounds = mistake["ctx"]
        least, most = bounds.get("min_length"), bounds.get("max_length")
        # A mapping or list that is too long may have been given up on before its end.
        many = len(found) if hasattr(found, "__len__") else bounds["actual_length"]
        return (
            f"{origin}: {key}: expected {f'at least {least}' if least else f'at most {most}'}, found {many}: {found!r}"
        )
    if isinstance(found, dict | list) or mistake["type"] == "value_error":
        return f"{origin}: {key + ': ' if key else ''}{message}"
    return f"{origin}: {key}: {message}; found {found!r}"


def load_experiment(path: Path, variant: str = "", **instead: Any) -> Experiment:
    """Read and check one experiment's file.

    Parameters
    ----------
    path : Path
    variant : str
        See :func:`metafusion.config.models.with_variant`.
    **instead
        Keys with other values than the file's, whatever the variant says; None for the file's.
    """
    content, origin = read_yaml(path), f"{path}@{variant}" if variant else str(path)
    if variant:
        # The file must be right by itself, so that a mistake in it is not told of the variant.
        plain = validate(Experiment, content, str(path))
        try:
            content = with_variant(content, variant, plain.window_changes)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        _refuse_unchanged(plain, validate(Experiment, content, origin), origin)
    given = {key: value for key, value in instead.items() if value is not None}
    return validate(Experiment, content | given, origin)


def _refuse_unchanged(plain: Experiment, changed: Experiment, origin: str) -> None:
    names = {"title": "", "variants": {}}
    if plain.model_copy(update=names) == changed.model_copy(update=names):
        raise UserError(f"{origin}: this variant changes nothing in the experiment; leave it out")


def load_study(config: dict[str, Any], folder: Path = Path("config"), origin: str | None = None) -> "LoadedStudy":
    """Check the study's configuration and read every experiment it names.

    Parameters
    ----------
    config : dict
        Content of ``config/config.yaml``, with what the command line added.
    folder : Path
        Folder with ``experiments/``.
    origin : str, optional
        What to call the configuration in messages; by default ``config.yaml`` in the folder.
    """
    origin = origin or str(folder / "config.yaml")
    study = _with_windows(validate(Study, config, origin), folder)
    experiments: dict[str, Experiment] = {}
    for entry in study.experiments:
        path, variant = _place_of(entry, folder)
        name = f"{path.stem}@{variant}" if variant else path.stem
        if name == "comparisons":
            raise UserError(
                "experiments: the name 'comparisons' is taken by the folder of comparisons; rename the file"
            )
        if name in experiments:
            raise UserError(f"experiments: the name {name!r} stands twice; name it once, or rename one of the files")
        experiments[name] = load_experiment(path, variant, seeds=study.seeds, seeds_per_block=study.seeds_per_block)
        _refuse_missing_files(path, experiments[name])
    for name, comparison in study.comparisons.items():
        try:
            _check_comparison(comparison, experiments)
        except UserError as error:
            raise UserError(f"{origin}: comparisons.{name}: {error}") from None
    return LoadedStudy(study, experiments)


def _place_of(entry: str, folder: Path) -> tuple[Path, str]:
    """Return the file of an experiment that a study names, and the variant."""
    # A folder may be called with an @, too.
    folders, slash, last = entry.rpartition("/")
    last, _, variant = last.partition("@")
    place = folders + slash + last
    path = Path(place) if place.endswith((".yaml", ".yml")) else folder / "experiments" / f"{place}.yaml"
    try:
        there = path.exists()
    except OSError as error:
        raise UserError(f"experiments: {path}: {error.strerror}; expected the name of a file") from None
    if not there:
        known = [file.stem for file in (folder / "experiments").glob("*.yaml")]
        raise UserError(f"experiments: {path}: no such file; {did_you_mean(path.stem, known)}")
    if not NAME.fullmatch(path.stem):
        raise UserError(
            f"experiments: {str(path)!r}: results are named after the file; expected letters, digits, - and _ before "
            ".yaml; rename it"
        )
    return path, variant


def _with_windows(study: Study, folder: Path) -> Study:
    """Put the experiments in single windows in the place of every ``experiment@windows``."""
    entries, called = [], {}
    for entry in study.experiments:
        path, variant = _place_of(entry, folder)
        names = variant.split("+")
        if WINDOWS not in names:
            entries.append(entry)
            continue
        windows = load_experiment(path).windows
        if windows is None:
            raise UserError(f"experiments: {entry}: {path} has no key 'windows', whose windows this would stand for")
        stem = entry.removesuffix(f"@{variant}")
        changes = ["+".join(each if name == WINDOWS else name for name in names) for each in windows.each]
        entries += [f"{stem}@{change}" for change in changes]
        called[f"{path.stem}@{variant}"] = [f"{path.stem}@{change}" for change in changes]
    comparisons = {name: _slid(comparison, called) for name, comparison in study.comparisons.items()}
    return study.model_copy(update={"experiments": entries, "comparisons": comparisons})


def _slid(comparison: Comparison, called: dict[str, list[str]]) -> Comparison:
    found = {}
    for label, name in comparison.experiments.items():
        for one in called.get(name, [name]):
            # The window alone tells them apart.
            window = one.partition("@")[2]
            found[one if label == name else label if one == name else f"{label} {window}"] = one
    return comparison.model_copy(update={"experiments": found})


def _check_comparison(comparison: Comparison, experiments: dict[str, Experiment]) -> None:
    """Say before hours of compute what a comparison cannot be made of."""
    named = {name: experiments[name] for name in comparison.experiments.values()}
    if comparison.kind == "permutation":
        (first, observed), (second, shuffled) = named.items()
        if observed.shuffle or not shuffled.shuffle:
            raise UserError(
                f"experiments: a permutation test needs the experiment itself and then the same with shuffled labels, "
                f"found {first} and {second}; name 'experiment' and 'experiment@shuffled'"
            )
        if _pipeline(observed) != _pipeline(shuffled):
            raise UserError(
                f"experiments: {first} and {second} differ in more than shuffled labels, so that no p can be told; "
                f"name {first} and the same with shuffled labels"
            )
        wanted = set(range(1, shuffled.splits_per_permutation + 1))
        if not wanted <= set(observed.seeds):
            raise UserError(
                f"experiments: {second} takes {len(wanted)} seeds a permutation, which are compared with seeds 1 to "
                f"{len(wanted)} of {first}; give it these seeds, or the other fewer 'shuffle.splits'"
            )
    if comparison.kind == "sizes":
        _refuse_lone_sizes(list(named))
    if comparison.kind == "over_time":
        timeless = [name for name, one in named.items() if one.source.time_window is None]
        if timeless:
            raise UserError(f"experiments: {timeless[0]}: its source has no window in time; leave it out")
        if all(one.shuffle for one in named.values()):
            raise UserError("experiments: all have shuffled labels; name the experiment itself, too")
        places = [(bool(one.shuffle), one.source.time_window) for one in named.values()]
        twice = [name for name, place in zip(named, places, strict=True) if places.count(place) > 1]
        if twice:
            raise UserError(
                f"experiments: {', '.join(twice)} have the same window; name one experiment in windows that differ, "
                "and others in a comparison of their own"
            )
        pipelines = [_pipeline(one, windows=True) for one in named.values()]
        other = [name for name, one in zip(named, pipelines, strict=True) if one != pipelines[0]]
        if other:
            raise UserError(
                f"experiments: {other[0]} differs from {next(iter(named))} in more than its window; name one "
                "experiment in several windows, and others in a comparison of their own"
            )


def _refuse_lone_sizes(names: list[str]) -> None:
    """Refuse points of a learning curve that are all it has."""
    curves = [without_size(name) for name in names]
    for name, curve in zip(names, curves, strict=True):
        if curves.count(curve) < 2:
            raise UserError(
                f"experiments: {name} stands there with one number of samples, which is no learning curve; name it "
                "twice or more, such as 'experiment@100' and 'experiment'"
            )


def _pipeline(experiment: Experiment, windows: bool = False) -> dict[str, Any]:
    """Return what an experiment does, without what its labels are; with ``windows`` also without when it looks."""
    told = {"title", "description", "variants", "windows", "shuffle", "seeds", "seeds_per_block"}
    done = experiment.model_dump(exclude=told)
    for key in experiment.source.with_window((0.0, 1.0)) if windows else ():
        done["source"].pop(key)
    return done


def _refuse_missing_files(path: Path, experiment: Experiment) -> None:
    source = experiment.source
    try:
        # Sources that list a folder say here what they do not find.
        files, everything, chunks = source.user_files, source.input_files, source.chunks
        missing = [file for file in files if not file.is_file()]
    except UserError as error:
        raise UserError(f"{path}: source: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: source: {error.filename}: {error.strerror}; expected a path to read from") from None
    if missing:
        lines = "\n".join(f"{path}: source: {file}: no such file" for file in missing)
        within = "; those of tables of a folder, to that folder" if source.kind == "bids" else ""
        raise UserError(
            f"{lines}\npaths are relative to the folder where snakemake runs ({Path.cwd()}), or absolute{within}"
        )
    for chunk in (chunk for several in chunks.values() for chunk in several):
        if chunk.startswith(".") or set(chunk) & {"/", *FILLED_IN}:
            raise UserError(
                f"{path}: source: {chunk!r}: a session or chunk of this name cannot have a folder of its own; expected "
                "letters, digits, - and _; rename its files"
            )
    for file in everything:
        if set(str(file)) & FILLED_IN:
            raise UserError(
                f"{path}: source: {str(file)!r}: found a brace, an angle bracket or a line break, expected none in the "
                "path of a file, because Snakemake takes {...} and <...> for places to be filled in; rename it"
            )


@dataclass(frozen=True)
class LoadedStudy:
    """The configuration as checked: how jobs run, and the experiments by name."""

    settings: Study
    experiments: dict[str, Experiment]

"""``python -m metafusion.examples KIND``: simulated data where the committed experiment of a kind looks for them."""

import argparse
import sys
from pathlib import Path

from metafusion.errors import UserError
from metafusion.examples import KINDS, generate
from metafusion.examples.odor_rats import RATS


def main(arguments: list[str] | None = None) -> int:
    """Write an example, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m metafusion.examples", description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS, help="the kind of source")
    parser.add_argument("--folder", type=Path, default=Path(), help="where Snakemake runs; by default this folder")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same data; by default 1")
    parser.add_argument("--rat", choices=RATS, help="the animal, for odor_rats; by default Barat")
    given = parser.parse_args(arguments)
    if given.seed < 0:
        parser.error(f"--seed: expected 0 or more, found {given.seed}")
    if given.rat and given.kind != "odor_rats":
        parser.error(f"--rat: {given.kind!r} has no rats; it is for odor_rats")
    try:
        path, experiment = generate(given.kind, given.folder, given.seed, **({"rat": given.rat} if given.rat else {}))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    files = [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 1e6
    print(f"{path}: simulated data, {len(files)} files, {size:.1f} MB. Run it, in {given.folder.resolve()}:")
    print(f"    .venv/bin/snakemake --cores all --config experiments={experiment}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m metafusion.workflow.verify results/...``: what of finished results is no longer as it was recorded.

One line a finding; exit code 0 if there is none, and 1 otherwise.
"""

import argparse
import sys
from pathlib import Path

from metafusion.errors import UserError
from metafusion.workflow import provenance
from metafusion.workflow.layout import RECORD


def main(arguments: list[str] | None = None) -> int:
    """Verify folders of results, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m metafusion.workflow.verify", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="results/{experiment}, or results for all in it")
    found = 0
    for folder in parser.parse_args(arguments).folders:
        # Whoever names the folder above means all that have a record.
        below = sorted(path.parent for path in folder.glob(f"*/{RECORD}"))
        for one in [folder] if (folder / RECORD).exists() or not below else below:
            try:
                lines = provenance.findings(one, provenance.ROOT)
            except UserError as error:
                lines = [str(error)]
            for line in lines:
                print(f"{one}: {line}")
            found += len(lines)
            if not lines:
                print(f"{one}: as recorded")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())

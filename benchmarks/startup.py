"""How long the command line takes to answer, against a bare Python that does nothing and one that imports torch."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable

from _timing import interleaved, print_table


def process(*arguments: str) -> Callable[[], object]:
    """A candidate that runs a whole process."""
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    commands = {
        "python -c pass": process("-c", "pass"),
        "python -c 'import trimkit'": process("-c", "import trimkit"),
        "trimkit --help": process("-m", "trimkit", "--help"),
        "trimkit list": process("-m", "trimkit", "list"),
        "trimkit plugins": process("-m", "trimkit", "plugins"),
        "python -c 'import torch'": process("-c", "import torch"),
    }
    seconds = interleaved(commands, parser.parse_args().rounds, warmup=1)
    print_table("start-up, whole processes", seconds, "python -c pass")


if __name__ == "__main__":
    main()

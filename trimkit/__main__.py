"""``python -m trimkit``, where the ``trimkit`` command is not on the path."""

import sys

from trimkit.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""What docs/spaces.md shows is what comes out."""

import doctest
from pathlib import Path


def test_its_examples_run():
    path = Path(__file__).parents[1] / "docs" / "spaces.md"
    result = doctest.testfile(str(path), module_relative=False, encoding="utf-8")
    assert result.attempted >= 6
    assert result.failed == 0

"""Which names come with which of trimkit's other distributions, for those that are not installed.

``catalogue.json`` is made from the plugins' own records:

    python -m trimkit.registry.catalogue plugins/* > trimkit/registry/catalogue.json
"""

from __future__ import annotations

import functools
import json
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint
from importlib.resources import files
from pathlib import Path

from trimkit.hooks import GROUP
from trimkit.registry import loader as _loader

Catalogue = Mapping[str, list[str]]
"""Distribution → its parts, as ``"kind:name"``."""


@functools.cache
def catalogue() -> Catalogue:
    """The names of `catalogue.json`."""
    return json.loads((files("trimkit.registry") / "catalogue.json").read_text(encoding="utf-8"))


def derive(projects: Iterable[Path]) -> Catalogue:
    """Distribution → names that projects register, sorted, from their entry points; packages must be importable.

    Args:
        projects: folders with a pyproject.toml.
    Raises:
        ValueError: a plugin that cannot be loaded.
    """
    registered: dict[str, list[str]] = {}
    for project in projects:
        metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for name, value in metadata.get("entry-points", {}).get(GROUP, {}).items():
            record, _ = _loader.load(EntryPoint(name, value, GROUP))
            if record.state != "loaded":
                raise ValueError(f"{project}: {record.reason}")
            registered.setdefault(metadata["name"], []).extend(record.adds)
    return {name: sorted(names) for name, names in sorted(registered.items())}


def distribution_of(kind: str, name: str) -> str | None:
    """The distribution of ours that has a part of this kind, in the singular, and name; None where none has.

    >>> distribution_of("method", "beta-vae"), distribution_of("method", "no-such")
    ('trimkit-vae', None)
    """
    return next((ours for ours, names in catalogue().items() if f"{kind}:{name}" in names), None)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(derive(map(Path, sorted(sys.argv[1:]))), indent=2, ensure_ascii=False) + "\n")

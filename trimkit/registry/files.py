"""Plugins that are files, not distributions: those of ``--plugin FILE.py`` and of the folder ``TRIMKIT_PLUGINS_DIR``.

They come through the door of every plugin. A file in a package (beside an ``__init__.py``) is imported as a module of
it; any other by its own name, and its parts are named ``f"{__name__}:Class"`` in its records.
"""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from trimkit.errors import OptionError, TrimkitWarning
from trimkit.hooks import GROUP

FILES = "TRIMKIT_PLUGIN_FILES"
"""The environment variable that hands the files of ``--plugin`` to worker processes."""

FOLDER = "TRIMKIT_PLUGINS_DIR"
"""The environment variable that names a folder of plugins, each a file that does not begin with ``_``."""


class PluginFile(EntryPoint):
    """A file that is loaded as if it were an entry point; its name and hash stand for distribution and version.

    Args:
        path: of the file.
        asked: named by the user, so that no selection leaves it out.
    """

    def __init__(self, path: Path, asked: bool) -> None:
        path = path.resolve()
        root, module = _place(path)
        super().__init__(path.stem, module, GROUP)  # type: ignore[call-arg]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "missing"
        metadata = {"Name": path.name, "Version": f"sha256:{digest}"}
        vars(self).update(path=path, root=root, asked=asked, dist=SimpleNamespace(metadata=metadata))

    def load(self) -> Any:
        """Import the file; its folder, or that of its package, can be imported from afterwards.

        Raises:
            ImportError: its name is that of another module.
        """
        path, root = vars(self)["path"], str(vars(self)["root"])
        if root not in sys.path:
            sys.path.append(root)
        module = import_module(self.value)
        if Path(getattr(module, "__file__", None) or "").resolve() != path:
            raise ImportError(f"another module is called {self.value!r}; rename {path.name}")
        return module


def plugin_files(environment: Mapping[str, str]) -> list[PluginFile]:
    """The files that the environment names: those of ``--plugin``, then those of the folder, by name."""
    asked = [Path(name) for name in environment.get(FILES, "").split(os.pathsep) if name]
    folder = environment.get(FOLDER)
    lying = sorted(Path(folder).glob("[!_]*.py")) if folder else []
    if folder and not Path(folder).is_dir():
        warnings.warn(f"{FOLDER}: there is no folder {folder}", TrimkitWarning, stacklevel=2)
    unique = {path.resolve(): path for path in [*lying, *asked]}
    named = {path.resolve() for path in asked}
    return [PluginFile(path, path in named) for path in unique]


def take_plugin_files(arguments: Sequence[str]) -> list[str]:
    """Take ``--plugin FILE`` out of a command line, wherever it stands, and have the files loaded.

    Returns:
        The rest of the arguments.
    Raises:
        OptionError: no file after it, or one that does not exist.
    """
    rest: list[str] = []
    paths: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--plugin" or word.startswith("--plugin="):
            paths.append(next(words, "") if word == "--plugin" else word.partition("=")[2])
        else:
            rest.append(word)
    for path in paths:
        if not (path.endswith(".py") and Path(path).is_file()):
            raise OptionError(f"--plugin: expected a file such as mine.py, got {path!r}")
    if paths:
        os.environ[FILES] = os.pathsep.join(filter(None, [os.environ.get(FILES, ""), *map(os.path.abspath, paths)]))
    return rest


def _place(path: Path) -> tuple[Path, str]:
    """The folder to import from, and the dotted name of the module."""
    root, names = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        root, names = root.parent, [root.name, *names]
    return root, ".".join(names)

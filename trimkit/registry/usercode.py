"""The user's own code, named as ``package.module:name`` or ``file.py:name``: models, networks and data."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from trimkit.errors import ModelError, TrimkitError, nearest


def find_factory(spec: str, kind: str = "model", error: type[TrimkitError] = ModelError) -> Any:
    """What a name stands for: its module is imported, which runs it; the working folder is importable.

    Args:
        spec: ``package.module:name`` or ``file.py:name``; the name may have dots.
        kind: what messages call it: "model", "data".
        error: class of what is raised.
    Raises:
        TrimkitError: as ``error``: no such module, file or name, or a module that cannot be imported.

    Example:
        >>> find_factory("math:gcd")(12, 18)
        6
    """
    where, colon, name = spec.rpartition(":")
    if not colon or not where or not name:
        raise error(f"expected a {kind} as 'package.module:factory' or 'file.py:factory', got {spec!r}")
    value: Any = _from_file(Path(where), kind, error) if where.endswith(".py") else _from_name(where, error)
    for part in name.split("."):
        if not hasattr(value, part):
            names = [key for key, entry in vars(value).items() if callable(entry) and not key.startswith("_")]
            raise error(f"{where} has no {part!r}. {nearest(part, names)}")
        value = getattr(value, part)
    return value


def run_user_code(label: str, error: type[TrimkitError], run: Callable[[], Any]) -> Any:
    """Call a function of the user's: whatever it raises, ``sys.exit`` included, is an error of its own.

    Args:
        label: what the message calls it, such as ``"data 'mine:faces'"``.
        error: class of what is raised.
        run: what is called, such as ``partial(function, split)``.
    Raises:
        TrimkitError: its own as it is; anything else as ``error``, with its type and message.
    """
    try:
        return run()
    except (TrimkitError, KeyboardInterrupt):
        raise
    except BaseException as raised:
        raise error(f"{label} cannot be made: {first_line(raised)}") from raised


def first_line(error: BaseException) -> str:
    """Type of an exception and the first line of its message.

    >>> first_line(ValueError("no" + chr(10) + "more"))
    'ValueError: no'
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _from_name(name: str, error: type[TrimkitError]) -> ModuleType:
    added = "" not in sys.path
    if added:
        sys.path.insert(0, "")  # the working folder, as `python -m` has it
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as raised:
        missing = raised.name or name
        if name == missing or name.startswith(f"{missing}."):
            raise error(f"there is no module {missing!r}, neither installed nor in the working folder") from raised
        raise error(f"module {name!r} needs {missing!r}, which is not installed") from raised
    except KeyboardInterrupt:
        raise
    except BaseException as raised:
        raise error(f"module {name!r} cannot be imported: {first_line(raised)}") from raised
    finally:
        if added and "" in sys.path:
            sys.path.remove("")


def _from_file(path: Path, kind: str, error: type[TrimkitError]) -> ModuleType:
    if not path.is_file():
        raise error(f"{kind} file {path} does not exist")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules.setdefault(path.stem, module)
    try:
        specification.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as raised:
        raise error(f"{kind} file {path} cannot be run: {first_line(raised)}") from raised
    return module

"""Importing trimkit is cheap: public names come when they are asked for."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

import trimkit
from trimkit.registry.lazy import import_target, lazy_names, make_callable

HEAVY = ("torch", "numpy", "captum", "kornia", "jsonargparse", "rich", "matplotlib", "sklearn")


def imported_by(statements: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after some statements."""
    program = f"import sys\n{statements}\nimport json; sys.stderr.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stderr)}


@pytest.mark.parametrize(
    "statements",
    [
        "import trimkit",
        "import trimkit.audit",
        "import trimkit; trimkit.available('transforms'); trimkit.__version__; dir(trimkit)",
        "from trimkit.cli import main; assert main(['--help']) == 0",
        "from trimkit.cli import main; assert main(['--version']) == 0",
        "from trimkit.cli import main; assert main(['list']) == 0",
        "from trimkit.cli import main; assert main(['plugins', '--json']) == 0",
        "from trimkit.cli import main; assert main(['plugins']) == 0",
    ],
)
def test_nothing_heavy_is_imported_by(statements):
    assert not imported_by(statements) & set(HEAVY)


def test_the_version_is_the_distributions():
    from importlib.metadata import version

    assert trimkit.__version__ == version("trimkit")


def test_every_public_name_is_told_to_type_checkers_and_listed():
    module = ast.parse(Path(trimkit.__file__).read_text())
    (checking,) = [node for node in module.body if isinstance(node, ast.If)]
    told = {alias.name for node in checking.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told == set(trimkit._NAMES)
    assert {*told, "TrimkitError", "TrimkitWarning", "__version__"} == set(trimkit.__all__)
    assert set(trimkit.__all__) <= set(dir(trimkit))


@pytest.mark.parametrize("name", sorted(trimkit._NAMES))
def test_every_public_name_can_be_imported(name):
    assert getattr(trimkit, name) is import_target(trimkit._NAMES[name])


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'trimkit' has no attribute 'Trm'"):
        _ = trimkit.Trm
    assert not hasattr(trimkit, "no_such_name")


@pytest.fixture
def package(monkeypatch):
    module = types.ModuleType("lazy_package")
    monkeypatch.setitem(sys.modules, "lazy_package", module)
    return module


def test_a_name_is_resolved_once(package):
    get, listing = lazy_names("lazy_package", {"root": "math:sqrt", "os_path": "os.path", "join": "os:path.join"})
    package.__getattr__, package.__dir__ = get, listing
    assert "root" not in vars(package)
    assert package.root(4) == 2
    assert "root" in vars(package)
    assert package.os_path is importlib.import_module("os.path")
    assert package.join is package.os_path.join
    assert {"root", "os_path", "join"} <= set(dir(package))


def test_a_package_that_is_called_answers_with_its_function(package):
    make_callable("lazy_package", "math:gcd")
    assert package(12, 18) == 6
    assert isinstance(package, types.ModuleType)


def test_audit_is_a_package_and_can_be_called():
    import trimkit.audit

    assert isinstance(trimkit.audit, types.ModuleType)
    assert callable(trimkit.audit)

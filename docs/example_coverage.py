"""Which public names have an executed example: ``python docs/example_coverage.py`` prints the share and the others.

A public name is a function or class that a page of the reference lists (`api_pages.MODULES`), that a plugin's package
exports, or that answers to a registered name. It has an example where the suite runs one: its own docstring holds one,
or a test, an example or a document with executed code uses it, imported from where it stands or from a package that
hands it on; a part may be used by the name under which it is registered. All is read, nothing of trimkit is imported.
"""

from __future__ import annotations

import ast
import doctest
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from api_pages import MODULES

ROOT = Path(__file__).parents[1]
ROOTS = ("trimkit", "trimkit_vae", "trimkit_gan", "trimkit_ica", "trimkit_sae")
CODE = ("trimkit/**/*.py", "plugins/*/trimkit_*/**/*.py")
TESTS = ("tests/**/*.py", "plugins/*/tests/**/*.py", "examples/*.py", "examples/plugins/*/tests/*.py")
PAGES = ("README.md", "docs/**/*.md")


class Name(NamedTuple):
    """A function or class, by the module that it stands in."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class House:
    """The source of trimkit and its plugins, as trees of syntax.

    Args:
        root: the checkout.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        paths = [path for pattern in CODE for path in sorted(root.glob(pattern))]
        self.trees = {_module_of(path, root): ast.parse(path.read_text(encoding="utf-8")) for path in paths}

    @cached_property
    def definitions(self) -> dict[Name, ast.FunctionDef | ast.ClassDef]:
        """Every function and class at the top of a module, without those that begin with an underscore."""
        return {
            Name(module, node.name): node
            for module, tree in self.trees.items()
            if not any(part.startswith("_") for part in module.split("."))
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        }

    @cached_property
    def public(self) -> set[Name]:
        """Those that the reference lists, that a plugin's package exports, or that are parts."""
        modules = [module for module in (*MODULES, *ROOTS[1:]) if module in self.trees]
        exported = {self.resolve(module, name) for module in modules for name in self._exports(module)}
        return (exported | set().union(*self._registered.values())) & self.definitions.keys()

    @cached_property
    def undocumented(self) -> set[Name]:
        """Those without a docstring, public or not."""
        return {name for name, node in self.definitions.items() if not ast.get_docstring(node)}

    @cached_property
    def exemplified(self) -> set[Name]:
        """Those that have an executed example."""
        used = {name for module, tree in self.trees.items() for name in self._used_in_docstrings(module, tree)}
        for pattern in TESTS:
            for path in self.root.glob(pattern):
                used |= set(self._used(ast.parse(path.read_text(encoding="utf-8"))))
        for path in (path for pattern in PAGES for path in self.root.glob(pattern)):
            used |= set(self._used(_examples(path.read_text(encoding="utf-8"))))
        return used & self.definitions.keys()

    @cached_property
    def _registered(self) -> dict[str, set[Name]]:
        """Registered name → the classes and functions that answer to it, from records and marks of promises."""
        registered: dict[str, set[Name]] = {}
        for call in (node for tree in self.trees.values() for node in ast.walk(tree) if isinstance(node, ast.Call)):
            texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if len(texts) >= 2 and texts[1].partition(":")[0] in self.trees:
                registered.setdefault(texts[0], set()).add(self.resolve(*texts[1].split(":", 1)))
        for name, node in self.definitions.items():
            if any(ast.unparse(mark).startswith("promise(") for mark in node.decorator_list):
                registered.setdefault(name.name, set()).add(name)
        return registered

    def _exports(self, module: str) -> list[str]:
        """The names of ``__all__``; where there is none, what the module defines."""
        for node in self.trees[module].body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return ast.literal_eval(node.value)
        return [name.name for name in self.definitions if name.module == module]

    @cached_property
    def _imports(self) -> dict[str, dict[str, Name]]:
        return {module: dict(_imported(tree)) for module, tree in self.trees.items()}

    def resolve(self, module: str, name: str) -> Name:
        """Where a name that a module has stands: there, or in the module that it comes from."""
        origin = self._imports.get(module, {}).get(name)
        return Name(module, name) if origin is None or origin == (module, name) else self.resolve(*origin)

    def _used(self, tree: ast.AST, module: str = "") -> Iterator[Name]:
        local = dict(_imported(tree)) if not module else {**self._imports[module], **dict(_imported(tree))}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                yield self.resolve(*local.get(node.id, Name(module, node.id)))
            elif isinstance(node, ast.Attribute):
                path = self._path(node.value, local)
                if path:
                    yield self.resolve(path, node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from self._registered.get(node.value.partition(":")[0], ())

    def _path(self, node: ast.expr, local: dict[str, Name]) -> str:
        """The module that an expression such as ``trimkit.metrics`` names, or ""."""
        if isinstance(node, ast.Name):
            return _dotted(local[node.id]) if node.id in local else node.id if node.id in ROOTS else ""
        if isinstance(node, ast.Attribute):
            above = self._path(node.value, local)
            return f"{above}.{node.attr}" if above else ""
        return ""

    def _used_in_docstrings(self, module: str, tree: ast.Module) -> Iterator[Name]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                if ">>>" not in text:
                    continue
                yield from self._used(_examples(text), module)
                if node in tree.body:
                    yield Name(module, node.name)  # type: ignore[union-attr]


def _module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[2 if parts[0] == "plugins" else 0 :]).removesuffix(".__init__")


def _dotted(name: Name) -> str:
    return str(name) if name.module else name.name


def _imported(tree: ast.AST) -> Iterator[tuple[str, Name]]:
    """The names that a tree imports from trimkit or its plugins, and where from; lazy names by their targets."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ROOTS:
            yield from ((each.asname or each.name, Name(node.module or "", each.name)) for each in node.names)
        elif isinstance(node, ast.Import):
            for each in node.names:
                if each.asname and each.name.partition(".")[0] in ROOTS:
                    yield each.asname, Name("", each.name)


def _examples(text: str) -> ast.Module:
    """The executed lines of a text as one program; without those that are no Python, which test errors of syntax."""
    body: list[ast.stmt] = []
    for example in doctest.DocTestParser().get_examples(text):
        try:
            body += ast.parse(example.source).body
        except SyntaxError:
            continue
    return ast.Module(body, [])


def report(house: House) -> str:
    """The shares, and the public names that have no example and those without a docstring, a line each."""
    lines = [
        f"{len(names & house.exemplified) / len(names):.1%} of {len(names)} {which} have an executed example"
        for names, which in ((house.public, "public names"), (set(house.definitions), "names that modules share"))
    ]
    lines += [f"without: {name}" for name in sorted(map(str, house.public - house.exemplified))]
    return "\n".join([*lines, *(f"no docstring: {name}" for name in sorted(map(str, house.undocumented)))])


if __name__ == "__main__":
    sys.stdout.write(report(House()) + "\n")

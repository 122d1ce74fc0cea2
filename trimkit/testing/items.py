"""The promises of a plugin's parts as things that can be called: one a promise, a part and an example."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import NamedTuple

import torch

from trimkit.errors import OptionError, PluginError, TrimkitError, UnknownNameError, nearest
from trimkit.hooks import GROUP, KINDS
from trimkit.registry import Part, Registry
from trimkit.registry import loader as _loader
from trimkit.registry.lazy import import_target
from trimkit.testing.promises import BrokenPromise, Example, Inapplicable, NeedsExample, Promise, Trial, promises

Examples = Mapping[str, Example | Sequence[Example]]
"""Name of a part → how it is tried, once or several times."""


@dataclass(frozen=True)
class Item:
    """One promise of one part, to be called.

    Attributes:
        promise: what is tried.
        trial: on what.
        number: of the example, where a part has several.

    >>> item = next(item for item in items_of("trimkit", kinds=("penalty",)) if item.id == "penalty-l1-rows")
    >>> item()          # returns where the promise is kept
    """

    promise: Promise
    trial: Trial
    number: int | None = None

    @property
    def id(self) -> str:
        """Name of the test, such as ``"transform-fft-round_trip"``."""
        spec = self.trial.part.spec
        example = [] if self.number is None else [str(self.number)]
        return "-".join([spec.kind, spec.name, *example, self.promise.name])

    def __call__(self) -> None:
        """Try to break the promise; the global random state and the warning filters are as before.

        Raises:
            BrokenPromise: the part does not keep it.
            Inapplicable: it does not make it.
        """
        label = f"{self.trial.part.label} breaks its promise. {self.promise.statement}"
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            try:
                self.promise.run(self.trial)
            except NeedsExample as unknown:
                raise NeedsExample(f"{self.trial.part.label} cannot be tried: {unknown}") from unknown.__cause__
            except BrokenPromise as broken:
                raise BrokenPromise(f"{label} Here: {broken}") from broken.__cause__
            except (Inapplicable, KeyboardInterrupt):
                raise
            except TrimkitError as error:
                raise BrokenPromise(f"{label} Here it refuses what it must take: {error}") from error
            except BaseException as error:
                raise BrokenPromise(
                    f"{label} Here it raised {_loader.summary(error)}. Mend the line that raised it; for a bad input, "
                    "raise an error of trimkit.errors that says what was expected, what was got and what to do"
                ) from error


def items_of(
    plugin: str | ModuleType, examples: Examples | None = None, *, kinds: Collection[str] = (), light: bool = False
) -> list[Item]:
    """Every promise of every part of a plugin.

    Args:
        plugin: name of an installed plugin or distribution; or its module, or the module's name.
        examples: by name of the part, see `Example`.
        kinds: of parts, such as ("transform",); all by default.
        light: only the promises that take milliseconds.
    Raises:
        PluginError: the plugin cannot be loaded, with the reason.
        UnknownNameError: there is no such plugin, or an example names no part of it.
    """
    registry, record = _registry_with(plugin)
    parts = [part for kind in KINDS for part in registry.parts(kind) if part.plugin.name == record.name]
    _check_examples(examples or {}, parts)
    return [
        item
        for part in parts
        if not kinds or part.spec.kind in kinds
        for item in _items_of_part(part, registry, (examples or {}).get(part.spec.name, Example()))
        if item.promise.light or not light
    ]


class PartResult(NamedTuple):
    """What the light promises say of one part.

    Attributes:
        part: that was tried.
        kept: how many promises it keeps.
        broken: the messages of the others.
        untried: why the rest was not tried: options or data that cannot be guessed; or "".
    """

    part: Part
    kept: int
    broken: list[str]
    untried: str = ""


def try_parts(registry: Registry, plugins: Collection[str] = ()) -> Iterator[PartResult]:
    """Try the light promises of the parts of a registry, each with its default options.

    Args:
        registry: of the parts.
        plugins: names of those whose parts are tried; all by default.
    """
    for part in (part for kind in KINDS for part in registry.parts(kind)):
        if plugins and part.plugin.name not in plugins:
            continue
        kept, broken, untried = 0, [], ""
        for item in _items_of_part(part, registry, Example()):
            try:
                if item.promise.light:
                    item()
                    kept += 1
            except NeedsExample as error:
                untried = str(error.__cause__ or error)
            except BrokenPromise as error:
                broken.append(str(error))
            except Inapplicable:
                continue
        yield PartResult(part, kept, broken, untried)


def _items_of_part(part: Part, registry: Registry, examples: Example | Sequence[Example]) -> Iterator[Item]:
    several = [examples] if isinstance(examples, Example) else list(examples)
    try:
        target = part.load()
    except PluginError:
        target = None  # the first promise of all parts says why
    for number, example in enumerate(several):
        for each in promises(part.spec.kind):
            if (target is None and each.name == "is_imported") or (target is not None and each.when(target)):
                yield Item(each, Trial(part, registry, example), number if len(several) > 1 else None)


def _registry_with(plugin: str | ModuleType) -> tuple[Registry, _loader.PluginRecord]:
    name = plugin.__name__ if isinstance(plugin, ModuleType) else plugin
    installed = _loader.discover()
    matching = [e for e in installed if _loader.canonical(name) in _loader.own_names(e) or e.value == name]
    if not matching and not _is_module(name):
        names = {own for entry in installed for own in _loader.own_names(entry)}
        raise UnknownNameError(
            f"There is no plugin {name!r}, installed or as a module. {nearest(name, names)} Install it, or name the "
            'module that has TRIMKIT_API: conformance("package.plugin")'
        )
    chosen = matching[0] if matching else EntryPoint(name, name, GROUP)
    registry = Registry([*installed, *([] if matching else [chosen])])
    record = next(r for r in registry.plugins() if r.name == chosen.name)
    if record.state != "loaded":
        raise PluginError(f"the plugin {record.name!r} is not loaded: {record.reason}")
    return registry, record


def _is_module(name: str) -> bool:
    try:
        return isinstance(import_target(name), ModuleType)
    except ImportError as error:
        if error.name is not None and name.startswith(error.name):
            return False
        raise PluginError(f"the module {name!r} cannot be imported: {_loader.summary(error)}") from error


def _check_examples(examples: Examples, parts: Sequence[Part]) -> None:
    names = {part.spec.name for part in parts}
    for name in examples:
        if name not in names:
            raise OptionError(f"examples name {name!r}, which is no part of this plugin. {nearest(name, names)}")

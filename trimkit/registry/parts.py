"""Every part that is installed, by name: trimkit's own and those of plugins, which come through the same door.

    available("transforms")                          # names → specs; nothing is imported
    create("transform", "fft", dims=2)               # imported now, its options checked
    resolve("penalty", ("hoyer", {}))                # a name, (name, options) or an object, as users pass them

A name of trimkit's own stays trimkit's. Two other distributions that claim one name both lose the short one;
``distribution:name`` always works.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import EntryPoint
from types import MappingProxyType
from typing import Any

from trimkit.deprecation import deprecation
from trimkit.errors import NameConflictError, OptionError, PluginError, UnknownNameError, nearest
from trimkit.hooks import KINDS, Spec
from trimkit.registry import loader as _loader
from trimkit.registry.calling import bind, call
from trimkit.registry.capabilities import facts_of
from trimkit.registry.captum import captum_refusal
from trimkit.registry.catalogue import distribution_of
from trimkit.registry.files import plugin_files
from trimkit.registry.lazy import import_target
from trimkit.registry.loader import PluginRecord, canonical


@dataclass(frozen=True, slots=True)
class Part:
    """One registered part and where it comes from.

    Attributes:
        name: the shortest name that reaches it: its own, or ``distribution:name`` if others claim that.
        spec: what it says of itself.
        plugin: the record of the plugin that registered it.
    """

    name: str
    spec: Spec
    plugin: PluginRecord

    @property
    def label(self) -> str:
        """What error messages call it, such as ``"transform 'fft'"``."""
        return f"{self.spec.kind} {self.name!r}"

    def load(self) -> Any:
        """Import the class or function behind it.

        Raises:
            PluginError: that failed; names the distribution and the cause.
        """
        return load_target(self.spec, f"{self.label} of {self.plugin.distribution} {self.plugin.version}")

    @property
    def facts(self) -> dict[str, Any]:
        """What its class or function says of itself, see `trimkit.registry.capabilities`; imports it."""
        return facts_of(self.spec.kind, self.load())


class Registry:
    """The parts of a set of plugins, by kind and name.

    A kind is ``"transform"`` or ``"transforms"``, and so on: either form is taken everywhere.

    Args:
        entry_points: of the plugins, trimkit's own among them.
        selection: names of plugins or distributions to load besides trimkit's own; None loads all.

    Attributes:
        calls: into the plugins, as they were loaded, with their times.
    """

    def __init__(self, entry_points: Iterable[EntryPoint], selection: Collection[str] | None = None) -> None:
        self._records: list[PluginRecord] = []
        self._specs: list[tuple[Spec, PluginRecord]] = []
        self.calls: list[_loader.Call] = []
        known = list(entry_points)
        for entry_point in known:
            self._take(entry_point, selection)
        self._records += _absent(known, selection or ())
        self._parts = {
            kind: _named([(spec, plugin) for spec, plugin in self._specs if spec.kind == record.kind])
            for kind, record in KINDS.items()
        }
        self._records = [replace(each, reason=each.reason or _shared(self._parts, each)) for each in self._records]

    def available(self, kind: str) -> Mapping[str, Spec]:
        """The names of one kind and what each part says of itself; none is imported.

        Raises:
            UnknownNameError: there is no such kind.
        """
        return MappingProxyType({part.name: part.spec for part in self.parts(kind)})

    def parts(self, kind: str) -> list[Part]:
        """The parts of one kind, trimkit's own first.

        Raises:
            UnknownNameError: there is no such kind.
        """
        return self._parts[plural(kind)]

    def find(self, kind: str, name: str) -> Part:
        """The part that a name means: a short name, or ``distribution:name``.

        Raises:
            UnknownNameError: there is no such kind, or nothing of that name in it.
            NameConflictError: several distributions claim the name.
        """
        if not isinstance(name, str):
            raise UnknownNameError(f"expected the name of a {_singular(kind)}, got a {type(name).__name__}")
        candidates = [part for part in self.parts(kind) if name == part.name or _meant(part, name)]
        candidates = candidates or [part for part in self.parts(kind) if name == part.spec.name]
        if not candidates:
            unknown = f"There is no {_singular(kind)} {name!r}. {self._way_out(plural(kind), name)}"
            raise UnknownNameError(captum_refusal(name) or unknown)
        if len(candidates) > 1:
            raise NameConflictError(_conflict(name, candidates))
        return candidates[0]

    def specification(self, kind: str, name: str) -> Spec:
        """What a part says of itself; see `find` for the errors."""
        return self.find(kind, name).spec

    def create(self, kind: str, name: str, /, *args: Any, **options: Any) -> Any:
        """Import a part and make it: call its class or factory, or fill in a penalty function's options.

        Options are checked against its signature.

        Raises:
            UnknownNameError, NameConflictError: see `find`.
            PluginError: it cannot be imported or made; names the distribution and the cause.
            OptionError: an option is unknown, missing or refused; names the accepted ones.
        """
        part = self.find(kind, name)
        target = part.load()
        if part.spec.deprecated:
            instead, since = part.spec.deprecated
            warnings.warn(deprecation(part.label, repr(instead), since, part.plugin.distribution), stacklevel=3)
        if part.spec.kind == "penalty" and not isinstance(target, type):
            if args:
                raise OptionError(f"{part.label} takes its options by name, got {len(args)} without")
            return bind(part.label, target, options)
        return call(part.label, target, args, options)

    def resolve(self, kind: str, value: Any) -> Any:
        """The part that a name, or a pair (name, options), stands for; a part that is made already as it is.

        Raises:
            OptionError: a pair whose second half is not a mapping of options, a class, a part of Captum's own; else as
                `create`.
        """
        if isinstance(value, str):
            return self.create(kind, value)
        if isinstance(value, tuple | list) and value and isinstance(value[0], str):
            options = value[1] if len(value) == 2 else None
            if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
                raise OptionError(f"expected a name, (name, options by name) or a {_singular(kind)}, got {value!r}")
            return self.create(kind, value[0], **options)
        if isinstance(value, type) or type(value).__module__.startswith("captum."):
            raise OptionError(self._unmade(kind, value if isinstance(value, type) else type(value)))
        return value

    def _unmade(self, kind: str, given: type) -> str:
        named = [name for name in self.available(kind) if name == f"captum:{given.__name__}"]
        way = f"its name is {named[0]!r}" if named else f"make one: {given.__name__}(...)"
        return (
            f"expected a name, (name, options) or a {_singular(kind)}, got {given.__module__}.{given.__name__}; {way}"
        )

    def plugins(self) -> list[PluginRecord]:
        """What became of every plugin, trimkit's own first."""
        return list(self._records)

    def provenance(self) -> list[dict[str, Any]]:
        """The records of all plugins as plain JSON values, for run folders and reports."""
        return [{**asdict(record), "adds": list(record.adds)} for record in self._records]

    def _take(self, entry_point: EntryPoint, selection: Collection[str] | None) -> None:
        if not _loader.selected(entry_point, selection):
            reason = f"{_loader.SELECTION} does not select it"
            self._records.append(_loader.record(entry_point, "blocked", reason))
            return
        own = canonical(_loader.identity(entry_point).distribution)
        taken = [(spec.kind, spec.name) for spec, record in self._specs if canonical(record.distribution) == own]
        record, specs = _loader.load(entry_point, taken, self.calls)
        self._records.append(record)
        self._specs += [(spec, record) for spec in specs]

    def _way_out(self, kind: str, name: str) -> str:
        distribution = distribution_of(_singular(kind), name)
        known = {canonical(record.distribution) for record in self._records}
        if distribution and distribution not in known:
            return f"It comes with {distribution}: pip install {distribution}."
        if _loader.CORE not in known:
            return "trimkit itself is not installed, so not even its own parts are known: pip install trimkit."
        elsewhere = [_singular(other) for other in KINDS if name in self.available(other)]
        hint = f"It is a name of another kind: {elsewhere[0]}." if elsewhere else nearest(name, self.available(kind))
        idle = [f"{record.name} ({record.state})" for record in self._records if record.state != "loaded"]
        return f"{hint} Not loaded: {', '.join(idle)}; see `trimkit plugins`." if idle else hint


def _named(owned: list[tuple[Spec, PluginRecord]]) -> list[Part]:
    """Give each part its shortest unambiguous name; trimkit's own parts keep theirs whoever else claims it."""
    claims = [spec.name for spec, _ in owned]
    core = {spec.name for spec, record in owned if _is_core(record)}
    return [
        Part(spec.name if _owns(spec, record, claims, core) else f"{record.distribution}:{spec.name}", spec, record)
        for spec, record in owned
    ]


def _is_core(record: PluginRecord) -> bool:
    return canonical(record.distribution) == _loader.CORE


def _owns(spec: Spec, record: PluginRecord, claims: list[str], core: Collection[str]) -> bool:
    return _is_core(record) if spec.name in core else claims.count(spec.name) == 1


def _shared(parts: Mapping[str, list[Part]], record: PluginRecord) -> str:
    """What to tell of the names that a plugin shares with trimkit's own parts, or ""."""
    core = {(p.spec.kind, p.spec.name) for some in parts.values() for p in some if _is_core(p.plugin)}
    mine = [p for some in parts.values() for p in some if p.plugin is record and not _is_core(record)]
    return "; ".join(
        f"the {p.spec.kind} {p.spec.name!r} is trimkit's own: use {p.name!r} for this one"
        for p in mine
        if (p.spec.kind, p.spec.name) in core
    )


def _meant(part: Part, name: str) -> bool:
    distribution, _, rest = name.partition(":")
    return rest == part.spec.name and canonical(distribution) == canonical(part.plugin.distribution)


def _conflict(name: str, candidates: list[Part]) -> str:
    owners = " and ".join(f"{part.plugin.distribution} {part.plugin.version}" for part in candidates)
    ways = " or ".join(repr(f"{part.plugin.distribution}:{part.spec.name}") for part in candidates)
    kind = candidates[0].spec.kind
    return f"The {kind} {name!r} is claimed by {owners}, so none of them has the short name: use {ways}."


def _absent(entry_points: Iterable[EntryPoint], selection: Collection[str]) -> list[PluginRecord]:
    known = {name for entry_point in entry_points for name in _loader.own_names(entry_point)}
    reason = f"{_loader.SELECTION} selects it, but no plugin or distribution of that name is installed"
    return [
        PluginRecord(name, "", "", "failed", f"{reason}. {nearest(name, known)}")
        for name in sorted(selection)
        if canonical(name) not in known
    ]


def plural(kind: str) -> str:
    """The plural of a kind, given either form: ``"transform"`` → ``"transforms"``.

    Raises:
        UnknownNameError: there is no such kind.

    >>> plural("transform"), plural("transforms")
    ('transforms', 'transforms')
    """
    for name, record in KINDS.items():
        if kind in (name, record.kind):
            return name
    raise UnknownNameError(f"There is no kind of part {kind!r}. {nearest(str(kind), KINDS)}")


def _singular(kind: str) -> str:
    return KINDS[plural(kind)].kind


def load_target(spec: Spec, label: str = "") -> Any:
    """Import the class or function that a spec names.

    Raises:
        PluginError: that failed; names the target and the cause. It is called by the label, or by kind and name.
    """
    try:
        return import_target(spec.target)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        label = label or f"{spec.kind} {spec.name!r}"
        raise PluginError(f"{label} cannot be imported from {spec.target!r}: {_loader.summary(error)}") from error


@functools.cache
def default() -> Registry:
    """The registry of everything installed, or of what ``TRIMKIT_PLUGINS`` selects; built once a process.

    Files come after what is installed, see `trimkit.registry.files`.
    """
    return Registry([*_loader.discover(), *plugin_files(os.environ)], _loader.selection(os.environ))


def available(kind: str) -> Mapping[str, Spec]:
    """`Registry.available` of everything installed."""
    return default().available(kind)


def create(kind: str, name: str, /, *args: Any, **options: Any) -> Any:
    """`Registry.create` from everything installed."""
    return default().create(kind, name, *args, **options)


def resolve(kind: str, value: Any) -> Any:
    """`Registry.resolve` from everything installed."""
    return default().resolve(kind, value)


def facts(kind: str, name: str) -> dict[str, Any]:
    """`Part.facts` of something installed."""
    return default().find(kind, name).facts


def specification(kind: str, name: str) -> Spec:
    """`Registry.specification` of something installed."""
    return default().specification(kind, name)


def plugins() -> list[PluginRecord]:
    """`Registry.plugins`: what became of every plugin that is installed."""
    return default().plugins()


def provenance() -> list[dict[str, Any]]:
    """`Registry.provenance`: the same as plain JSON values."""
    return default().provenance()

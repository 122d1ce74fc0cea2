"""Finding plugins and loading them one entry point at a time, so that a broken one hurts nothing but itself.

pluggy's own ``load_setuptools_entrypoints`` stops at the first plugin that fails, and every plugin after it is lost.
Here each is imported, checked and asked for its records alone, in a plugin manager of its own. Isolation is for faults,
not for malice: a plugin that hangs, crashes the interpreter or patches other modules is not held back.
"""

from __future__ import annotations

import re
import time
import unicodedata
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, Literal, NamedTuple, TypeAlias

import pluggy

from trimkit.errors import TrimkitWarning, nearest
from trimkit.hooks import ARGUMENTS, CHANGES, GROUP, KINDS, TRIMKIT_API, Deprecated, Hooks, Spec

State: TypeAlias = Literal["loaded", "blocked", "failed"]

SELECTION = "TRIMKIT_PLUGINS"
"""The environment variable that selects plugins: names separated by commas; empty selects none, unset all."""

CORE = "trimkit"
"""The distribution whose parts are always there, whatever is selected."""

SLOW = 2.0
"""Seconds of the processor that a plugin may take to import before a warning names it."""

UNKNOWN = "unknown"
"""The name or version of a distribution whose metadata cannot be read."""

_NAME = re.compile(r"[A-Za-z0-9][\w.+:-]*", re.ASCII)
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """What became of one plugin, as `trimkit plugins`, run folders and reports show it.

    Attributes:
        name: of its entry point.
        distribution: what ``pip`` calls it; "unknown" where its metadata cannot be read, "" where it is not installed.
        version: of the distribution.
        state: "loaded", "blocked" (installed but not selected) or "failed".
        reason: why it is not loaded, and the way out; when it is, "" or which of its names are trimkit's own already.
        adds: its parts, as ``"kind:name"``.
    """

    name: str
    distribution: str
    version: str
    state: State
    reason: str = ""
    adds: tuple[str, ...] = ()


class Identity(NamedTuple):
    """Which distribution an entry point belongs to."""

    distribution: str
    version: str


class Call(NamedTuple):
    """One call into a plugin while it was loaded.

    Attributes:
        plugin: name of its entry point.
        what: "import", or the hook.
        seconds: that it took.
        records: how many it returned.
    """

    plugin: str
    what: str
    seconds: float
    records: int = 0


class _Refused(Exception):
    """Why a plugin is not loaded."""


def discover(paths: Iterable[str] | None = None) -> list[EntryPoint]:
    """The plugins that are installed, without importing any.

    A distribution that is found twice (an editable install beside its egg-info) counts once, the first on the path.

    Args:
        paths: folders to search; ``sys.path`` by default.
    Returns:
        Entry points of the group ``trimkit``, trimkit's own first, then by distribution and name.
    """
    entries: dict[str, list[EntryPoint]] = {}
    for distribution in distributions() if paths is None else distributions(path=list(paths)):
        if own := _entry_points(distribution):
            name = canonical(identity(own[0]).distribution)
            entries.setdefault(name if name != UNKNOWN else f"{UNKNOWN} {len(entries)}", own)
    return sorted((entry for own in entries.values() for entry in own), key=_order)


def selection(environment: Mapping[str, str]) -> frozenset[str] | None:
    """The plugins that ``TRIMKIT_PLUGINS`` selects, by entry point or distribution; None for all."""
    text = environment.get(SELECTION)
    return None if text is None else frozenset(name.strip() for name in text.split(",") if name.strip())


def selected(entry_point: EntryPoint, names: Collection[str] | None) -> bool:
    """Whether a selection takes in an entry point; trimkit's own always is.

    >>> entry = EntryPoint("acme", "acme_trim.plugin", GROUP)
    >>> selected(entry, None), selected(entry, ["Acme"]), selected(entry, ["other"])
    (True, True, False)
    """
    own = own_names(entry_point)
    return (
        names is None
        or getattr(entry_point, "asked", False)
        or own[1] == CORE
        or any(canonical(name) in own for name in names)
    )


def load(
    entry_point: EntryPoint, taken: Collection[tuple[str, str]] = (), trace: list[Call] | None = None
) -> tuple[PluginRecord, list[Spec]]:
    """Import one plugin, check it and ask it for its records; whatever goes wrong becomes its record's reason.

    Args:
        entry_point: of the group ``trimkit``.
        taken: (kind, name) pairs that other plugins of the same distribution claim already.
        trace: each call into the plugin is added to it.
    Returns:
        Its record, and the specs of its parts: none unless it is loaded.
    Raises:
        KeyboardInterrupt: the user's own cannot be told from one that a plugin raises, so it passes.
    """
    try:
        calls = [] if trace is None else trace
        specs = _ask(_import(entry_point, calls), entry_point, calls)
        _refuse_doubles(specs, taken)
    except _Refused as refusal:
        return record(entry_point, "failed", " ".join(str(refusal).split())), []
    return record(entry_point, "loaded", adds=tuple(f"{spec.kind}:{spec.name}" for spec in specs)), specs


def record(entry_point: EntryPoint, state: State, reason: str = "", adds: tuple[str, ...] = ()) -> PluginRecord:
    """The record of an entry point in some state."""
    return PluginRecord(entry_point.name, *identity(entry_point), state, reason, adds)


def identity(entry_point: EntryPoint) -> Identity:
    """The name and version of an entry point's distribution; "unknown" where its metadata cannot be read."""
    try:
        metadata = entry_point.dist.metadata  # type: ignore[union-attr]
        return Identity(metadata["Name"] or UNKNOWN, metadata["Version"] or UNKNOWN)
    except Exception:  # metadata is a file of a stranger: missing, empty, of any encoding
        return Identity(UNKNOWN, UNKNOWN)


def own_names(entry_point: EntryPoint) -> tuple[str, str]:
    """The two names that select a plugin, of its entry point and of its distribution, in canonical form."""
    return canonical(entry_point.name), canonical(identity(entry_point).distribution)


def canonical(name: str) -> str:
    """A distribution's name as package indexes compare it: lower case, one dash for any run of ``-_.``.

    >>> canonical("Trimkit_Haar.x")
    'trimkit-haar-x'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def summary(error: BaseException) -> str:
    """An exception in one line of printable characters: its type and its message, if it can say one.

    >>> summary(ValueError("two" + chr(10) + "  lines"))
    'ValueError: two lines'
    """
    try:
        message = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a stranger's __str__
        message = "(its message cannot be shown)"
    return printable(f"{type(error).__name__}: {message}").removesuffix(":")


def printable(text: str) -> str:
    """One line without control characters, so that a stranger's words cannot move the cursor or clear the screen.

    Bytes of a file's name that are no UTF-8 become question marks.

    >>> printable("caf" + chr(0xDCE9) + chr(27) + " au lait")
    'caf? au lait'
    """
    line = " ".join(text.split()).encode("utf-8", "replace").decode()
    return "".join(letter for letter in line if unicodedata.category(letter) not in ("Cc", "Cf"))


def _order(entry_point: EntryPoint) -> tuple[bool, str, str]:
    name, distribution = own_names(entry_point)
    return distribution != CORE, distribution, name


def _entry_points(distribution: Distribution) -> list[EntryPoint]:
    try:
        return list(distribution.entry_points.select(group=GROUP))
    except Exception as error:  # one damaged entry_points.txt makes importlib.metadata.entry_points() raise for all
        warnings.warn(
            f"the entry points of an installed distribution cannot be read and are skipped ({summary(error)}); "
            "`pip check` helps to find it",
            TrimkitWarning,
            stacklevel=2,
        )
        return []


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    try:
        yield
    except (_Refused, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise _Refused(f"{what} {summary(error)}") from error


def _import(entry_point: EntryPoint, trace: list[Call]) -> Any:
    began, worked = time.perf_counter(), time.thread_time()
    with _refusing(f"importing {entry_point.value!r} raised"):
        plugin = entry_point.load()
        _check_api(getattr(plugin, "TRIMKIT_API", None), entry_point)
    trace.append(Call(entry_point.name, "import", time.perf_counter() - began))
    _warn_if_slow(entry_point, time.thread_time() - worked)  # by the clock, every plugin is slow on a busy machine
    return plugin


def _warn_if_slow(entry_point: EntryPoint, seconds: float) -> None:
    if seconds > SLOW:
        message = (
            f"the plugin {printable(entry_point.name)!r} of {printable(identity(entry_point).distribution)} took "
            f"{seconds:.1f} s to import (of the processor), which every command waits for; a plugin's module needs "
            "nothing heavy"
        )
        warnings.warn(message, TrimkitWarning, stacklevel=2)


def _check_api(api: Any, entry_point: EntryPoint) -> None:
    if api is None:
        raise _Refused(
            f"{entry_point.value!r} does not say which API it is written for: add TRIMKIT_API = {TRIMKIT_API}"
        )
    if type(api) is not int:
        raise _Refused(f"its TRIMKIT_API is a {type(api).__name__}; expected the number {TRIMKIT_API}")
    distribution, _ = identity(entry_point)
    if api == TRIMKIT_API - 1 > 0:
        change = CHANGES.get(TRIMKIT_API, "")
        warnings.warn(
            f"the plugin {printable(entry_point.name)!r} of {printable(distribution)} is written for TRIMKIT_API "
            f"{api}, which the next version refuses. {change} Then set TRIMKIT_API = {TRIMKIT_API}",
            TrimkitWarning,
            stacklevel=2,
        )
    elif api != TRIMKIT_API:
        raise _Refused(
            f"it is written for TRIMKIT_API {api}, this trimkit speaks {TRIMKIT_API}: install a version of "
            f"{distribution} and one of trimkit that agree, e.g. pip install --upgrade {CORE} {distribution}"
        )


def _ask(plugin: Any, entry_point: EntryPoint, trace: list[Call]) -> list[Spec]:
    with _refusing("registering its hooks raised"):
        manager = _register(plugin, entry_point.name)
    return [spec for plural in KINDS for spec in _answers(manager, plural, entry_point.name, trace)]


def _register(plugin: Any, name: str) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    known = [f"{GROUP}_{plural}" for plural in KINDS]
    manager.register(plugin, name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        unknown = next(hook for hook in vars(manager.hook) if hook not in known and not hook.startswith("_"))
        raise _Refused(f"there is no hook {unknown!r}. {nearest(unknown, known)}") from error
    for hook in known:
        if callable(getattr(plugin, hook, None)) and not getattr(manager.hook, hook).get_hookimpls():
            raise _Refused(f"{hook} is not marked as a hook: put @trimkit.hooks.hookimpl above it")
    return manager


def _answers(manager: pluggy.PluginManager, plural: str, name: str, trace: list[Call]) -> list[Spec]:
    hook = f"{GROUP}_{plural}"
    specs: list[Spec] = []
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        arguments = [ARGUMENTS[hook][name] for name in implementation.argnames]
        began = time.perf_counter()
        with _refusing(f"{hook}() raised"):
            answer = list(_checked(implementation.function(*arguments), hook, KINDS[plural]))
        trace.append(Call(name, f"{hook}()", time.perf_counter() - began, len(answer)))
        specs += answer
    return specs


def _checked(answer: Any, hook: str, expected: type[Spec]) -> Iterator[Spec]:
    wanted = f"{hook}() must return an iterable of {expected.__name__}"
    if isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
        raise _Refused(f"{wanted}, got {type(answer).__name__}")
    for spec in answer:
        if not isinstance(spec, expected):
            raise _Refused(f"{wanted}, got {type(spec).__name__} in it")
        _check_spec(spec, hook)
        yield spec


def _check_spec(spec: Spec, hook: str) -> None:
    texts = (spec.name, spec.target, spec.summary, spec.reference)
    if not all(isinstance(text, str) for text in texts):
        raise _Refused(f"{hook}(): name, target, summary and reference must be strings, got {texts!r}")
    if spec.deprecated is not None and not (isinstance(spec.deprecated, Deprecated) and _versioned(spec.deprecated)):
        raise _Refused(f"{hook}(): expected deprecated=Deprecated('new name', '0.2'), got {spec.deprecated!r}")
    if not _NAME.fullmatch(spec.name):
        raise _Refused(f"{hook}(): a name is letters, digits and any of _ - . + :, got {spec.name!r}")
    if not _TARGET.fullmatch(spec.target):
        raise _Refused(f"{hook}(): the target of {spec.name!r} must be 'package.module:attribute', got {spec.target!r}")


def _versioned(deprecated: Deprecated) -> bool:
    return all(isinstance(text, str) for text in deprecated) and bool(re.match(r"\d+\.\d+", deprecated.since))


def _refuse_doubles(specs: Iterable[Spec], taken: Collection[tuple[str, str]]) -> None:
    seen = set(taken)
    for spec in specs:
        if (spec.kind, spec.name) in seen:
            raise _Refused(f"its distribution registers the {spec.kind} {spec.name!r} twice: rename one of them")
        seen.add((spec.kind, spec.name))

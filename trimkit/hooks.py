"""The door: the hooks a plugin answers and the records it answers with.

A plugin is an installed distribution with an entry point in the group ``trimkit``; the entry point names a module (or
any object) that sets ``TRIMKIT_API`` and implements some of the hooks below. A hook returns records, and a record's
``target`` is a string that is imported at first use, so a registration module needs nothing heavy:

    # acme_trim/plugin.py; in pyproject.toml: [project.entry-points.trimkit]  acme = "acme_trim.plugin"
    from trimkit.hooks import PenaltySpec, hookimpl

    TRIMKIT_API = 1

    @hookimpl
    def trimkit_penalties():
        yield PenaltySpec("acme_l2", "acme_trim.penalties:l2", "Sum of squared scores.")

No module here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pluggy

from trimkit.deprecation import Deprecated, deprecation

__all__ = [
    "CHANGES",
    "GROUP",
    "KINDS",
    "AttributionSpec",
    "CheckSpec",
    "CommandSpec",
    "DatasetSpec",
    "Deprecated",
    "Hooks",
    "MethodSpec",
    "PenaltySpec",
    "Spec",
    "TransformSpec",
    "deprecation",
    "hookimpl",
    "hookspec",
]
"""Without TRIMKIT_API: a plugin that imports ``*`` must still say for itself which version it was written for."""

TRIMKIT_API = 1
"""The version of this contract. A plugin declares the one it was written for.

The one before is taken too, with a warning that names what to change; any other is refused at load. Within a version,
hooks and records gain optional fields only, and what is to go is warned of for two minor versions of trimkit.
"""

CHANGES: dict[int, str] = {}
"""Version of the contract → what a plugin that was written for the one before must change, in one sentence."""

GROUP = "trimkit"
"""The entry-point group in which plugins register, and pluggy's project name."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@dataclass(frozen=True, slots=True)
class Spec:
    """What every part says of itself before it is imported.

    Attributes:
        name: what users type; unique in its kind, or reachable as ``distribution:name``.
        target: ``"package.module:attribute"``, imported at first use.
        summary: one sentence for ``trimkit list``.
        reference: paper and equation, or "".
        deprecated: what to use instead, where the name is going; using it warns. By its name only.

    >>> spec = TransformSpec("haar", "acme_trim.haar:Haar", "Sums and differences of neighbours.", "Haar 1910")
    >>> isinstance(spec, Spec), spec.kind, spec.target
    (True, 'transform', 'acme_trim.haar:Haar')
    """

    kind: ClassVar[str] = ""

    name: str
    target: str
    summary: str
    reference: str = ""
    deprecated: Deprecated | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class TransformSpec(Spec):
    """A `trimkit.Transform` class, which says itself whether it is exact, complex, learnable or must be fitted."""

    kind: ClassVar[str] = "transform"


@dataclass(frozen=True, slots=True)
class AttributionSpec(Spec):
    """A `trimkit.Attribution` class, which says itself what it can: be trained through, sum up, take trees, …"""

    kind: ClassVar[str] = "attribution"


@dataclass(frozen=True, slots=True)
class PenaltySpec(Spec):
    """A pure function ``scores, **options → (N,)``, or a class whose instances are called so.

    `trimkit.penalties.measure`, `scale_invariant` and `signed` mark what else there is to say.
    """

    kind: ClassVar[str] = "penalty"


@dataclass(frozen=True, slots=True)
class MethodSpec(Spec):
    """A `trimkit.methods.Method` class: a generative method, which is a transform that is learned.

    Attributes:
        family: the chapter it belongs to: "vae", "gan", "ica" or the plugin's own word.
    """

    kind: ClassVar[str] = "method"

    family: str = ""


@dataclass(frozen=True, slots=True)
class DatasetSpec(Spec):
    """A function ``(**options) → trimkit.data.Dataset`` that needs no download.

    Attributes:
        shape: of one sample, such as (1, 16, 16).
        classes: number of classes, 0 where there are no labels.
    """

    kind: ClassVar[str] = "dataset"

    shape: tuple[int, ...] = ()
    classes: int = 0


@dataclass(frozen=True, slots=True)
class CheckSpec(Spec):
    """A `trimkit.audit.Check` class: one question an audit answers with a verdict.

    Attributes:
        mandatory: counts in the overall verdict of every audit.
    """

    kind: ClassVar[str] = "check"

    mandatory: bool = False


@dataclass(frozen=True, slots=True)
class CommandSpec(Spec):
    """A sub-command of ``trimkit``: a function ``run(argv: list[str]) → exit code``.

    ``argv`` is what follows the command's name. The code is 0 for done or passed, 1 where a check failed, 3 where it
    could not decide; an exception of `trimkit.errors` is printed as one line and exits with 2. The target's module is
    imported when the command runs, not for ``trimkit --help``; import torch inside ``run``, so that its own ``--help``
    is fast. `trimkit.cli.commands` has what core's own commands are written with.

    Attributes:
        example: a command line, with which the help of a parser of `trimkit.cli.commands` ends.

    >>> CommandSpec("count", "acme_trim.count:run", "How many samples there are.").kind
    'command'
    """

    kind: ClassVar[str] = "command"

    example: str = field(default="", kw_only=True)


class Hooks:
    """The hook specifications. Each returns an iterable of records, and is called once, when its plugin is loaded.

    >>> [hook for hook in vars(Hooks) if hook.startswith("trimkit_")] == [f"trimkit_{kind}" for kind in KINDS]
    True
    """

    @staticmethod
    @hookspec
    def trimkit_transforms() -> Iterable[TransformSpec]:  # type: ignore[empty-body]
        """Transforms x ⇄ s."""

    @staticmethod
    @hookspec
    def trimkit_attributions() -> Iterable[AttributionSpec]:  # type: ignore[empty-body]
        """Attributions (output, s) → scores."""

    @staticmethod
    @hookspec
    def trimkit_penalties() -> Iterable[PenaltySpec]:  # type: ignore[empty-body]
        """Penalties scores → (N,)."""

    @staticmethod
    @hookspec
    def trimkit_methods() -> Iterable[MethodSpec]:  # type: ignore[empty-body]
        """Generative methods."""

    @staticmethod
    @hookspec
    def trimkit_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
        """Datasets that need no download."""

    @staticmethod
    @hookspec
    def trimkit_checks() -> Iterable[CheckSpec]:  # type: ignore[empty-body]
        """Audit checks."""

    @staticmethod
    @hookspec
    def trimkit_commands() -> Iterable[CommandSpec]:  # type: ignore[empty-body]
        """Sub-commands of the command line."""


KINDS: dict[str, type[Spec]] = {
    "transforms": TransformSpec,
    "attributions": AttributionSpec,
    "penalties": PenaltySpec,
    "methods": MethodSpec,
    "datasets": DatasetSpec,
    "checks": CheckSpec,
    "commands": CommandSpec,
}
"""Plural noun, as in the hook's name and ``trimkit list``, to the record of that kind."""

ARGUMENTS: dict[str, Mapping[str, Any]] = {}
"""Hook → the arguments that it is called with. None has any yet; a plugin names those that it wants, in any order."""

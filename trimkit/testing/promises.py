"""What a promise is: one statement of a part's contract, and the code that tries to break it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, TrimkitError
from trimkit.registry import Part, Registry
from trimkit.registry.lazy import make_callable

Size: TypeAlias = tuple[int, ...]


class BrokenPromise(TrimkitError, AssertionError):
    """A part does not do what its contract says; the message says what to change."""


class NeedsExample(BrokenPromise):
    """The suite cannot guess the options or data that a part needs."""


class Inapplicable(Exception):
    """A promise that this part does not make, which shows only when it is made."""


@dataclass(frozen=True)
class Example:
    """How a part is tried, where the suite's defaults do not fit it.

    Attributes:
        options: of the part's constructor or function; or a function that gives them, called at each use.
        sizes: shapes of one sample that it takes; by default the suite tries a few and keeps those that it takes.
        data: standard normal draws (N, *size), float64 → data that the part takes, such as ``torch.sigmoid``.
        model: size → the model that is explained, for attributions that need certain layers.
    """

    options: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(default_factory=dict)
    sizes: Sequence[Size] = ()
    data: Callable[[Tensor], Tensor] | None = None
    model: Callable[[Size], nn.Module] | None = None


@dataclass(frozen=True)
class Trial:
    """One part, and how it is tried.

    Attributes:
        part: of the registry.
        registry: that makes it.
        example: its options and data.

    >>> from trimkit.registry import default
    >>> trial = Trial(default().find("penalty", "l1"), default())
    >>> trial.make()(torch.ones(2, 3)).shape, trial.draw(4, (1, 8)).shape
    (torch.Size([2]), torch.Size([4, 1, 8]))
    """

    part: Part
    registry: Registry
    example: Example = Example()

    @property
    def options(self) -> Mapping[str, Any]:
        """The example's options."""
        return self.example.options() if callable(self.example.options) else self.example.options

    def make(self, **more: Any) -> Any:
        """A new instance of the part; of a penalty that is a function, the function with its options.

        Raises:
            NeedsExample: it cannot be made with these options.
        """
        try:
            return self.registry.create(self.part.spec.kind, self.part.name, **{**self.options, **more})
        except OptionError as error:
            raise NeedsExample(
                f"it cannot be made: {error} Give what it needs: examples={{{self.part.spec.name!r}: "
                "Example(options={...}, sizes=[...])}"
            ) from error

    def draw(self, n: int, size: Size, seed: int = 0) -> Tensor:
        """n samples of data that the part takes: (n, *size) float64."""
        noise = torch.randn(n, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        return self.example.data(noise) if self.example.data else noise

    def accepted(self, candidates: Sequence[Size], attempt: Callable[[Size], Any]) -> Iterator[tuple[Size, Any]]:
        """Sizes that the part takes, with what the attempt gives.

        Args:
            candidates: tried where the example names none; those that the part refuses by an error of trimkit's are
                left out.
            attempt: size → anything; raises where the size is refused.
        Raises:
            NeedsExample: a size of the example is refused, or all candidates are.
        """
        refusals = []
        for size in self.example.sizes or candidates:
            try:
                made = attempt(size)
            except BrokenPromise:
                raise
            except TrimkitError as refusal:
                refusals.append(f"{size}: {refusal}")
            else:
                yield size, made
        if len(refusals) == len(self.example.sizes or candidates) or (refusals and self.example.sizes):
            raise NeedsExample(
                f"it refuses samples of these sizes ({'; '.join(refusals)}). Name sizes that it takes: "
                f"examples={{{self.part.spec.name!r}: Example(sizes=[...], data=...)}}"
            )


@dataclass(frozen=True)
class Promise:
    """One statement of the contract of a kind of part.

    Attributes:
        kind: of the parts that make it; "part" for all.
        name: of the test, such as "round_trip".
        statement: what is promised, in one sentence.
        run: tries to break it; raises where that succeeds.
        light: takes milliseconds, and belongs to ``trimkit plugins --check``.
        when: class or function of the part → whether it makes this promise.

    >>> [each.name for each in promises("part")] == [each.name for each in promises("transform") if each.kind == "part"]
    True
    """

    kind: str
    name: str
    statement: str
    run: Callable[[Trial], None]
    light: bool = False
    when: Callable[[Any], bool] = lambda target: True


_PROMISES: list[Promise] = []

_WRITTEN_IN = (
    *("attributions", "devices", "evaluations", "methods", "methods_in_use", "parts", "penalties", "transforms"),
)
"""The modules that register promises, imported at the first question for them."""


def promise(
    kind: str,
    *,
    light: bool = False,
    when: Callable[[Any], bool] = lambda target: True,
    each: Callable[[Trial], Iterable[Any]] = lambda trial: (trial,),
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Register a function as a promise: its name is the promise's, the first line of its docstring the statement.

    It is called with the trial, or with each of the cases that ``each`` makes of it.
    """

    def register(tries: Callable[[Any], None]) -> Callable[[Any], None]:
        def run(trial: Trial) -> None:
            for case in each(trial):
                tries(case)

        statement = (inspect.getdoc(tries) or "").partition("\n")[0]
        _PROMISES.append(Promise(kind, tries.__name__, statement, run, light, when))
        return tries

    return register


def promises(kind: str) -> list[Promise]:
    """What parts of a kind promise, those of all kinds first."""
    for module in _WRITTEN_IN:
        import_module(f"trimkit.testing.{module}")
    return [each for each in _PROMISES if each.kind in ("part", kind)]


make_callable(__name__, f"{__name__}:promises")  # once imported, it hides the function of its package


@contextmanager
def seeded() -> Iterator[None]:
    """Let modules be made with the same weights each time; the caller's random state is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def network(size: Size, outputs: int = 3) -> nn.Module:
    """A small classifier with smooth activations, the same each time: (N, *size) → (N, outputs), in eval mode."""
    with seeded():
        inner = nn.Linear(math.prod(size), 8)
        return nn.Sequential(nn.Flatten(), inner, nn.Tanh(), nn.Linear(8, outputs)).eval()


def require(condition: bool, message: str) -> None:
    """Break the promise, with what to change, where the condition does not hold."""
    if not condition:
        raise BrokenPromise(message)


def gap(one: Tree, other: Tree) -> float:
    """Largest difference of two trees' entries; infinite where their structures, shapes or number types differ."""
    try:
        pairs = list(zip(tree.leaves(one), tree.matched_leaves(one, other), strict=True))
    except TrimkitError:
        return math.inf
    if any(a.shape != b.shape or a.is_complex() != b.is_complex() for a, b in pairs):
        return math.inf
    return max((_distance(a, b) for a, b in pairs), default=0.0)


def _distance(a: Tensor, b: Tensor) -> float:
    if not a.numel():
        return 0.0
    difference = (a.detach() - b.detach()).abs().max()
    return math.inf if bool(torch.isnan(difference)) else float(difference)


def shapes(coefficients: Tree) -> list[Size]:
    """Shapes of one sample's leaves: without the batch."""
    return [tuple(leaf.shape[1:]) for leaf in tree.leaves(coefficients)]


@contextmanager
def own_draws(message: str) -> Iterator[None]:
    """Break the promise where torch's global random state is another one at the end."""
    before = torch.get_rng_state()
    yield
    require(torch.equal(before, torch.get_rng_state()), message)

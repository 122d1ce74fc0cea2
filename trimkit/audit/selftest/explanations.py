"""Explanations in closed form: the right one of a planted model, and wrong ones of every kind."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from trimkit.attributions.base import Attribution, Probe
from trimkit.audit.selftest.models import Case, Planted
from trimkit.coefficients.tree import Tree
from trimkit.errors import ModelError
from trimkit.transforms.base import single_leaf


class Right(Attribution):
    """The exact contributions of whatever planted model it is given, also of one with other weights.

    Subclasses falsify them. Attributes:
        kind: in tables.
        seen_by: the checks whose question this error is; none of the right explanation.
    """

    differentiable: ClassVar[bool] = False
    complete: ClassVar[bool] = True
    order: ClassVar[Literal["gradient", "perturbation"]] = "perturbation"
    kind: ClassVar[str] = "right"
    seen_by: ClassVar[frozenset[str]] = frozenset()

    @property
    def truth(self) -> Literal["right", "wrong"]:
        """Whether some check must see an error."""
        return "wrong" if self.seen_by else "right"

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """Contributions from the baseline, falsified."""
        x = single_leaf(s, self.kind).detach()
        exact = planted(probe.model).contributions(x, single_leaf(baseline, self.kind))
        return self.falsified(exact, x, generator)

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Scores (N, 32) from the exact contributions: here the same."""
        return exact


class RightFromElsewhere(Right):
    """The exact contributions from another baseline than the audit's, so that they sum up to another change.

    Args:
        value: of the baseline.
    """

    complete = False

    def __init__(self, value: float) -> None:
        self.value = value

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """Contributions from the other baseline."""
        x = single_leaf(s, self.kind).detach()
        return planted(probe.model).contributions(x, torch.full_like(x, self.value))


class AbsenceIgnored(Right):
    """Exact from the baseline 0, at which what is absent gets no score, however much its absence matters."""

    kind = "absence ignored"
    seen_by = frozenset({"controls"})


class Permuted(Right):
    """Each feature has the contribution of another."""

    kind = "permuted"
    seen_by = frozenset({"controls"})

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Shifted by three features."""
        return exact.roll(3, dims=1)


class Flipped(Right):
    """What speaks for the output is said to speak against it."""

    kind = "sign flipped"
    seen_by = frozenset({"controls", "completeness"})

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """With the other sign."""
        return -exact


class Smeared(Right):
    """Every contribution is spread over its neighbours, as a blurred map."""

    kind = "smeared"
    seen_by = frozenset({"controls"})

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Means of five neighbours."""
        return torch.stack([exact.roll(shift, dims=1) for shift in range(-2, 3)]).mean(0)


class Doubled(Right):
    """In the right order, but twice as large as what there is to explain."""

    kind = "doubled"
    seen_by = frozenset({"completeness"})

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Times two."""
        return 2 * exact


class InputOnly(Right):
    """The input's own amplitude, into which no model enters."""

    complete = False
    kind = "input only"
    seen_by = frozenset({"controls", "randomisation"})

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """|x|."""
        return x.abs()


class OtherModel(Right):
    """The exact contributions of a model with other weights, whatever model is asked about.

    Args:
        model: the other one.
    """

    complete = False
    kind = "another model's"
    seen_by = frozenset({"controls", "randomisation"})

    def __init__(self, model: Planted) -> None:
        self.model = model

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """Contributions to the other model."""
        x = single_leaf(s, self.kind).detach()
        return self.model.contributions(x, single_leaf(baseline, self.kind))


class RandomScores(Right):
    """Uniform noise, drawn again for each seed."""

    complete = False
    stochastic = True
    kind = "random"
    seen_by = frozenset({"reproducibility", "controls"})

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Noise in [0, 1)."""
        return torch.rand(exact.shape, generator=generator).to(exact)


class Unrepeatable(Right):
    """The right contributions with 10 % of noise that no seed controls.

    Args:
        seed: of the noise, which goes on from call to call.
    """

    complete = False
    kind = "unrepeatable"
    seen_by = frozenset({"reproducibility"})

    def __init__(self, seed: int) -> None:
        self._source = torch.Generator().manual_seed(seed)

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """With noise in proportion."""
        return exact * (1 + 0.1 * torch.randn(exact.shape, generator=self._source).to(exact))


class Zero(Right):
    """Nothing is said to matter."""

    complete = False
    kind = "zero"
    seen_by = frozenset({"controls"})

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Zeros."""
        return torch.zeros_like(exact)


class Constant(Right):
    """Everything is said to matter alike."""

    complete = False
    kind = "constant"
    seen_by = frozenset({"controls", "randomisation"})

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Ones."""
        return torch.ones_like(exact)


class LargestInput(Right):
    """The largest input value alone is said to matter."""

    complete = False
    kind = "largest input"
    seen_by = frozenset({"controls", "randomisation"})

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """1 there, 0 elsewhere."""
        return torch.zeros_like(exact).scatter(1, x.abs().argmax(1, keepdim=True), 1.0)


class OtherSample(Right):
    """Every sample gets the exact contributions of one and the same sample.

    Args:
        x: (1, 32) that sample.
    """

    complete = False
    kind = "another sample's"
    seen_by = frozenset({"controls"})

    def __init__(self, x: Tensor) -> None:
        self._x = x

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """Contributions of the other sample."""
        x = single_leaf(s, self.kind).detach()
        return planted(probe.model).contributions(self._x.to(x).expand_as(x), single_leaf(baseline, self.kind))


class Rescaled(Right):
    """In the right order, but of another size in each sample, from one to ten times as large."""

    kind = "rescaled"
    seen_by = frozenset({"completeness"})

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Times a number that the sample decides."""
        return exact * (1 + 9 * _keyed(x).sin().abs())


class Noisy(Right):
    """The exact contributions with noise three times as large, the same at each call."""

    complete = False
    kind = "drowned in noise"
    seen_by = frozenset({"controls"})
    size: ClassVar[float] = 3.0

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Plus numbers that only the sample decides, with a standard deviation of `size` times theirs."""
        places = torch.arange(1, x.shape[1] + 1, device=x.device).to(x)
        noise = torch.sin(1e4 * _keyed(x) + 1e3 * places.square()) * 2**0.5
        return exact + self.size * exact.std(1, keepdim=True) * noise


class SlightlyNoisy(Noisy):
    """The exact contributions with a tenth of noise: as good as right."""

    kind = "right, a tenth of noise"
    seen_by = frozenset()
    size = 0.1


class Quantised(Right):
    """The exact contributions in sixteen steps: as good as right."""

    complete = False
    kind = "right, in 16 steps"

    def falsified(self, exact: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Rounded to eighths of the largest magnitude."""
        step = exact.abs().amax(1, keepdim=True).clamp_min(torch.finfo(exact.dtype).tiny) / 8
        return (exact / step).round() * step


def _keyed(x: Tensor) -> Tensor:
    """(N, 1) a number that differs between samples."""
    return (x * torch.arange(1, x.shape[1] + 1, device=x.device)).sum(1, keepdim=True)


def closed_forms(case: Case, seed: int) -> list[Right]:
    """The right explanation of a case, and every wrong one that it allows."""
    right = [Right()] if case.truth is None else [RightFromElsewhere(case.truth), AbsenceIgnored()]
    other = OtherModel(case.model(seed + 1_000_000))
    wrong = [Permuted(), Flipped(), Smeared(), Doubled(), InputOnly(), other, RandomScores(), Unrepeatable(seed)]
    wrong += [Zero(), Constant(), LargestInput(), OtherSample(case.data(seed + 1_000_000, 1)), Rescaled(), Noisy()]
    near = [SlightlyNoisy(), Quantised()]
    return [*right, *(wrong + near if case.truth is None else [])]


def planted(model: Any) -> Planted:
    """The planted model inside of what the audit wraps it in.

    Raises:
        ModelError: there is none.
    """
    while not isinstance(model, Planted):
        if not hasattr(model, "model"):
            raise ModelError(f"expected a planted model of the self-test, got {type(model).__name__}")
        model = model.model
    return model

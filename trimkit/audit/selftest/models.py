"""Models of 32 features whose exact contributions are known: Shapley values in closed form."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trimkit.audit.statistics import generator

FEATURES = 32
"""Even; enough for two unrelated rankings to look unrelated."""

SHATTERED = (0.05, 200.0)
"""ε and k of ε sin(kx): too small to matter to the output, and ten times the weights in its gradient."""


class Planted(nn.Module):
    """A model (N, 32) → (N, 1) that knows what each feature contributes."""

    @abstractmethod
    def contributions(self, x: Tensor, baseline: Tensor) -> Tensor:
        """Shapley values of the features, (N, 32), of the game that sets absent features to the baseline.

        Args:
            x: (N, 32).
            baseline: like x, or one that broadcasts to it.
        Returns:
            Values whose sum is f(x) − f(baseline).
        """


class Terms(Planted):
    """f(x) = Σ g(wᵢ, xᵢ), whose Shapley values are g(wᵢ, xᵢ) − g(wᵢ, bᵢ). Its weights are a bare parameter.

    Args:
        weights: (32,).
        term: (weights, x) → (N, 32).
    """

    def __init__(self, weights: Tensor, term: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)
        self.term = term

    def forward(self, x: Tensor) -> Tensor:
        """(N, 32) → (N, 1)."""
        return self.term(self.weights, x).sum(1, keepdim=True)

    @torch.no_grad()
    def contributions(self, x: Tensor, baseline: Tensor) -> Tensor:
        """Differences of the terms."""
        return self.term(self.weights, x) - self.term(self.weights, baseline)


class OneLayer(nn.Linear, Planted):
    """f(x) = w·x + c as a single `torch.nn.Linear`, whose Shapley values are wᵢ(xᵢ − bᵢ).

    Args:
        weights: (32,).
    """

    def __init__(self, weights: Tensor) -> None:
        super().__init__(len(weights), 1)
        with torch.no_grad():
            self.weight.copy_(weights[None])

    @torch.no_grad()
    def contributions(self, x: Tensor, baseline: Tensor) -> Tensor:
        """Weight times difference."""
        return self.weight * (x - baseline)


class Pairs(Planted):
    """f(x) = w·x + Σ cₖ x₂ₖ x₂ₖ₊₁; a pair's product is shared as c (x − b)(x' + b') / 2.

    Args:
        weights: (32,).
        products: (16,).
    """

    def __init__(self, weights: Tensor, products: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)
        self.products = nn.Parameter(products)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 32) → (N, 1)."""
        pairs = self.products * x[:, ::2] * x[:, 1::2]
        return (self.weights * x).sum(1, keepdim=True) + pairs.sum(1, keepdim=True)

    @torch.no_grad()
    def contributions(self, x: Tensor, baseline: Tensor) -> Tensor:
        """The linear part, and half of what the pair does with the partner absent and present."""
        partner = (x + baseline).unflatten(1, (-1, 2)).flip(2).flatten(1) / 2
        return (self.weights + self.products.repeat_interleave(2) * partner) * (x - baseline)


@dataclass(frozen=True)
class Case:
    """A planted model, its data, and from where it is explained.

    Attributes:
        name: in tables.
        formula: in words.
        build: generator → model.
        draw: (generator, n) → x (n, 32).
        baseline: of the audit, the same number for each feature.
        truth: the baseline from which the right contributions are taken, where it is another.
    """

    name: str
    formula: str
    build: Callable[[torch.Generator], Planted]
    draw: Callable[[torch.Generator, int], Tensor]
    baseline: float = 0.0
    truth: float | None = None

    def model(self, seed: int) -> Planted:
        """The model whose weights belong to a seed, in evaluation mode."""
        with torch.random.fork_rng(devices=[]):  # modules of torch draw weights before they get theirs
            return self.build(generator(seed, "selftest weights", self.name)).eval()

    def data(self, seed: int, n: int) -> Tensor:
        """Samples (n, 32) of a seed."""
        return self.draw(generator(seed, "selftest data", self.name), n)

    def right(self, model: Planted, x: Tensor) -> Tensor:
        """The contributions that are true of the model, (N, 32)."""
        base = self.baseline if self.truth is None else self.truth
        return model.contributions(x, torch.full_like(x, base))


def cases() -> tuple[Case, ...]:
    """Every planted model, in the order of tables."""
    return (
        Case("one layer", "w·x + c", lambda g: OneLayer(_weights(g)), _normal),
        Case("bare parameter", "w·x", lambda g: Terms(_weights(g), _linear), _normal),
        Case("additive", "Σ w tanh(2x) and Σ w x²", lambda g: Terms(_weights(g), _additive), _normal),
        Case("interaction", "w·x + Σ c x x'", lambda g: Pairs(_weights(g), _weights(g)[: FEATURES // 2]), _normal),
        Case("xor", "Σ c x x', x = ±1", lambda g: Pairs(torch.zeros(FEATURES), _weights(g)[: FEATURES // 2]), _signs),
        Case("saturated", "Σ w min(1, max(−1, x)), x three times as wide", _saturated_model, _wide),
        Case("shattered", "w·x + ε Σ sin kx", lambda g: Terms(_weights(g), _shattered), _normal),
        Case("uninformative", "w·x, half of w is 0", lambda g: Terms(_half(_weights(g)), _linear), _normal),
        Case(
            "pertinent negatives",
            "Σ w (1 − x), w > 0, x = 0 or 1",
            lambda g: Terms(_weights(g).abs(), _absence),
            _bits,
            truth=0.5,
        ),
    )


def _saturated_model(source: torch.Generator) -> Planted:
    return Terms(_weights(source), _clamped)


def _weights(source: torch.Generator) -> Tensor:
    """Magnitudes from 0.5 to 2, signs at random: (32,)."""
    size = 0.5 + 1.5 * torch.rand(FEATURES, generator=source)
    return size * (2 * torch.randint(2, (FEATURES,), generator=source) - 1)


def _half(weights: Tensor) -> Tensor:
    return weights * (torch.arange(FEATURES) % 2 == 0)


def _linear(weights: Tensor, x: Tensor) -> Tensor:
    return weights * x


def _additive(weights: Tensor, x: Tensor) -> Tensor:
    even = torch.arange(FEATURES, device=x.device) % 2 == 0
    return weights * torch.where(even, torch.tanh(2 * x), x.square())


def _clamped(weights: Tensor, x: Tensor) -> Tensor:
    return weights * x.clamp(-1, 1)


def _shattered(weights: Tensor, x: Tensor) -> Tensor:
    size, frequency = SHATTERED
    return weights * x + size * torch.sin(frequency * x)


def _absence(weights: Tensor, x: Tensor) -> Tensor:
    return weights * (1 - x)


def _normal(source: torch.Generator, n: int) -> Tensor:
    return torch.randn(n, FEATURES, generator=source)


def _wide(source: torch.Generator, n: int) -> Tensor:
    return 3 * _normal(source, n)


def _bits(source: torch.Generator, n: int) -> Tensor:
    return torch.randint(2, (n, FEATURES), generator=source).float()


def _signs(source: torch.Generator, n: int) -> Tensor:
    return 2 * _bits(source, n) - 1

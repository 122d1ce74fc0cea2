"""Attributions that average gradients over random points: expected gradients, SmoothGrad, GradientShap."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor

from trimkit.attributions.base import Attribution, Probe
from trimkit.attributions.tracking import track
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import Baseline, difference, number_of, product
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError, ShapeError
from trimkit.processes import draw, gather
from trimkit.registry.options import real_number, whole_number


class _FromReferences(Attribution):
    """Scores against reference samples, drawn for each sample anew.

    Args:
        samples: draws a sample and call, at least 1; one is enough in training, where steps average.
        noise: standard deviation of Gaussian noise on s, in units of each sample's own standard deviation.
    """

    stochastic: ClassVar[bool] = True
    from_references: ClassVar[bool] = True

    def __init__(self, samples: int, noise: float) -> None:
        _check(type(self).__name__, samples, noise)
        self.samples = samples
        self.noise = noise

    def references(self, baseline: Baseline, s: Tree) -> Tree:
        """Reference coefficients, any number of rows: as given, or the batch itself.

        Raises:
            AttributionError: a batch of one sample and no references.
        """
        if baseline is None:
            batch = tree.map_leaves(lambda leaf: gather(leaf.detach()), s)
            if tree.batch_size(batch) == 1:
                raise AttributionError(
                    f"{type(self).__name__} compares with reference samples, and a batch of one holds none; pass "
                    "baseline=transform(x_reference), or a number"
                )
            return batch
        number = number_of(baseline)
        if number is not None:
            return tree.map_leaves(lambda leaf: torch.full_like(leaf[:1].detach(), number), s)
        return tree.map_leaves(_as_reference, s, cast(Tree, baseline))

    def resolve_baseline(self, baseline: Baseline, s: Tree) -> Tree:
        """The references; they need not have as many rows as s."""
        return self.references(baseline, s)

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """Mean over draws of (s − b) · ∂f/∂s at a random point between b and s."""
        assert generator is not None
        rows = self.samples * probe.samples
        count, on = tree.batch_size(baseline), generator.device
        drawn = draw(lambda n: torch.randint(count, n, generator=generator, device=on), (rows,), self.samples)
        share = draw(lambda n: torch.rand(n, generator=generator, device=on), (rows,), self.samples)
        references = tree.map_leaves(lambda leaf: leaf[drawn.to(leaf.device)], baseline)
        ends = tree.map_leaves(lambda leaf: leaf.repeat(self.samples, *[1] * (leaf.ndim - 1)), s)
        noisy = _noisy(ends, self.noise, generator, self.samples)

        def between(start: Tensor, end: Tensor) -> Tensor:
            return start + share.to(start.device, start.real.dtype).reshape(-1, *[1] * (start.ndim - 1)) * (end - start)

        points = track(tree.map_leaves(between, references, noisy), keep_graph=probe.create_graph)
        scores = product(probe.gradients(points, self.samples), difference(ends, references))
        return _mean_of_copies(scores, self.samples)


class ExpectedGradients(_FromReferences):
    """E_{b, α} (s − b) · ∂f/∂s(b + α(s − b)), Erion et al. 2021: integrated gradients over a set of references b.

    Complete in expectation: Σ scores → f(s) − E_b f(b). The cheapest attribution with a path to train through.

    Args:
        samples: draws a sample and call, at least 1; one is enough in training, where steps average.
    """

    def __init__(self, samples: int = 1) -> None:
        super().__init__(samples, noise=0.0)


class GradientShap(_FromReferences):
    """Expected gradients with noise on the explained sample, Lundberg & Lee 2017: smoother, and complete no more.

    Args:
        samples: draws a sample and call, at least 1.
        noise: standard deviation, in units of each sample's own standard deviation, ≥ 0.
    """

    def __init__(self, samples: int = 8, noise: float = 0.1) -> None:
        super().__init__(samples, noise)


class SmoothGrad(Attribution):
    """|E_ε ∂f/∂s(s + ε)|, Smilkov et al. 2017: saliency averaged over Gaussian noise.

    Args:
        samples: draws a sample, at least 1.
        noise: standard deviation of ε, in units of each sample's own standard deviation, ≥ 0.
        absolute: False keeps the sign of real gradients.
    """

    stochastic: ClassVar[bool] = True
    gradient_like: ClassVar[bool] = True

    def __init__(self, samples: int = 16, noise: float = 0.15, absolute: bool = True) -> None:
        _check("SmoothGrad", samples, noise)
        self.samples = samples
        self.noise = noise
        self.absolute = absolute

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """One forward with all noisy copies."""
        assert generator is not None
        copies = tree.map_leaves(lambda leaf: leaf.repeat(self.samples, *[1] * (leaf.ndim - 1)), s)
        points = track(_noisy(copies, self.noise, generator, self.samples), keep_graph=probe.create_graph)
        mean = _mean_of_copies(probe.gradients(points, self.samples), self.samples)
        return tree.map_leaves(lambda g: g.abs() if self.absolute or g.is_complex() else g, mean)


def _noisy(s: Tree, noise: float, generator: torch.Generator, copies: int) -> Tree:
    """Copies of s plus Gaussian noise in units of each row's standard deviation; complex leaves get complex noise."""
    if noise == 0:
        return s

    def leaf(value: Tensor) -> Tensor:
        """Copies (copies · N, ...) and their noise."""
        kind = torch.complex64 if value.is_complex() else torch.float32
        drawn = draw(
            lambda n: torch.randn(n, generator=generator, device=generator.device, dtype=kind), value.shape, copies
        )
        return value + noise * _deviation(value) * drawn.to(value)

    return tree.map_leaves(leaf, s)


def _deviation(value: Tensor) -> Tensor:
    """Standard deviation of each row, (rows, 1, …); constant rows have 0, and no gradient instead of NaN."""
    flat = value.flatten(1)
    variance = (flat - flat.mean(1, keepdim=True)).abs().square().mean(1)
    alive = variance > 0
    deviation = torch.where(alive, torch.where(alive, variance, 1.0).sqrt(), 0.0)
    return deviation.reshape(-1, *[1] * (value.ndim - 1))


def _mean_of_copies(scores: Tree, copies: int) -> Tree:
    return tree.map_leaves(lambda leaf: leaf.unflatten(0, (copies, -1)).mean(0), scores)


def _as_reference(like: Tensor, reference: Tensor) -> Tensor:
    if reference.shape[1:] != like.shape[1:] or not len(reference):
        raise ShapeError(
            f"expected references (R, {', '.join(map(str, like.shape[1:]))}), R ≥ 1, got {tuple(reference.shape)}"
        )
    return reference.detach().to(like)


def _check(name: str, samples: int, noise: float) -> None:
    whole_number(name, samples=samples)
    real_number(name, noise=noise)

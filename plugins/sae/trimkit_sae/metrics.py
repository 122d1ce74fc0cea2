"""What a dictionary is judged by: sparsity, fidelity, what the model loses by it, dead features, agreement of seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, normalize

from trimkit.errors import ShapeError
from trimkit.metrics import MetricResult
from trimkit.metrics.bootstrap import generator, interval, row_weights
from trimkit.predictor.activations import Source
from trimkit_sae.transform import as_data, as_vectors, width_axis

DRAWS = 200
"""Resamples of the intervals."""

CHUNK = 1024
"""Vectors read at once."""

ALIKE = 0.7
"""Cosine from which two features count as the same (Paulo & Belrose 2025, arXiv:2501.16615)."""

Code: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Vectors (n, d) → reconstructions (n, d), and features (n, M), 0 (or False) where they are not active."""


def describe(code: Code, vectors: Tensor, seed: int = 0, draws: int = DRAWS) -> dict[str, MetricResult]:
    """Sparsity, fidelity and use of a dictionary.

    Args:
        code: that is judged.
        vectors: (n, d) activations, n ≥ 2.
        seed: of the intervals.
        draws: resamples of the intervals; 0 for none.
    Returns:
        "l0": mean number of active features. "explained_variance": 1 − Σ‖x − x̂‖² / Σ‖x − x̄‖². "dead_share": of features
        that are active in no vector. "feature_density": median share of vectors in which a live feature is active, with
        quantiles in its parts.
    """
    count, error, hits = [], [], 0
    for part in vectors.split(CHUNK):
        x_hat, z = code(part)
        active = z != 0
        count.append(active.sum(1).double().cpu())
        error.append((part - x_hat).square().sum(1).double().cpu())
        hits = hits + active.sum(0).double().cpu()
    spread = (vectors - vectors.mean(0)).square().sum(1).double().cpu().numpy()
    counts, errors = torch.cat(count).numpy(), torch.cat(error).numpy()
    weights = row_weights(len(vectors), draws, generator(seed, "sae"))
    protocol = {"samples": len(vectors), "seed": seed, "draws": draws}
    return {
        "l0": _ratio("l0", counts, np.ones_like(counts), weights, protocol),
        "explained_variance": _ratio("explained_variance", spread - errors, spread, weights, protocol),
        **_use(torch.as_tensor(hits) / len(vectors), protocol),
    }


def _use(density: Tensor, protocol: dict[str, Any]) -> dict[str, MetricResult]:
    """Dead share, and density of live features."""
    live = density[density > 0]
    dead = MetricResult("dead_share", float((density == 0).double().mean()), None, protocol)
    if not len(live):
        return {"dead_share": dead}
    at = (0.05, 0.25, 0.5, 0.75, 0.95)
    parts = {f"{100 * q:g} %": float(live.quantile(q)) for q in at}
    return {
        "dead_share": dead,
        "feature_density": MetricResult("feature_density", parts["50 %"], None, protocol, parts),
    }


def _ratio(name: str, above: Any, below: Any, weights: Any, protocol: dict[str, Any]) -> MetricResult:
    """Σ above / Σ below over rows, with its interval."""
    value = float(above.sum() / below.sum())
    resampled = (weights.astype(np.float64) @ above) / (weights.astype(np.float64) @ below)
    return MetricResult(name, value, interval(value, resampled), protocol)


def loss_recovered(
    code: Code, source: Source, width: int, seed: int = 0, draws: int = DRAWS, axis: int | None = None
) -> MetricResult:
    """How much of the model's loss stays when a layer's output is replaced by its reconstruction.

    1 − (L(x̂) − L(x)) / (L(0) − L(x)), where L(0) is the loss with zeros in the layer's place (Bricken et al. 2023).
    L is the cross-entropy with the labels of the samples; without labels, the KL of the plain output and what comes
    out, or their squared error where there are no two logits.

    Args:
        code: that is judged.
        source: model, layer and inputs.
        width: d of its vectors.
        seed: of the interval.
        draws: resamples of the interval, over inputs; 0 for none.
        axis: of the features in the layer's output; by default where they fit.
    """

    def spliced(h: Tensor) -> Tensor:
        """What the layer gives, each vector reconstructed."""
        place = width_axis(h.shape[1:], width, axis)
        vectors = as_vectors(h, place)
        x_hat = torch.cat([code(part)[0] for part in vectors.reshape(-1, width).split(CHUNK)])
        return as_data(x_hat.view_as(vectors), h.shape[1:], place).to(h)

    runs = [_outputs(source, replace) for replace in (lambda h: None, spliced, torch.zeros_like)]
    plain, rebuilt, zeros = (_losses(runs[0], run).numpy() for run in runs)
    weights = row_weights(len(plain), draws, generator(seed, "loss recovered"))
    protocol = {"samples": len(plain), "seed": seed, "draws": draws, "loss": _loss_name(runs[0])}
    found = _ratio("loss_recovered", zeros - rebuilt, zeros - plain, weights, protocol)
    parts = {"plain": float(plain.mean()), "spliced": float(rebuilt.mean()), "zeros": float(zeros.mean())}
    return MetricResult(found.name, found.value, found.interval, protocol, parts)


Outputs: TypeAlias = Sequence[tuple[Tensor, Tensor | None]]
"""Output and labels of each batch."""


def _outputs(source: Source, replace: Callable[[Tensor], Tensor | None]) -> Outputs:
    return [(getattr(out, "logits", out).detach().double().cpu(), batch.y) for out, batch in source.run(replace)]


def _loss_name(outputs: Outputs) -> str:
    output, y = outputs[0]
    if output.ndim < 2 or output.shape[-1] < 2:
        return "squared error"
    return "cross-entropy" if y is not None and output.ndim == 2 else "KL"


def _losses(plain: Outputs, outputs: Outputs) -> Tensor:
    """The loss of each input, (n,)."""
    name = _loss_name(plain)
    losses = []
    for (before, y), (after, _) in zip(plain, outputs, strict=True):
        if name == "cross-entropy":
            assert y is not None
            losses.append(cross_entropy(after, y, reduction="none"))
        elif name == "KL":
            kl = kl_div(log_softmax(after, -1), log_softmax(before, -1), reduction="none", log_target=True).sum(-1)
            losses.append(kl if kl.ndim == 1 else kl.flatten(1).mean(1))
        else:
            losses.append((after - before).square().reshape(len(after), -1).mean(1))
    return torch.cat(losses)


def agreement(first: Tensor, second: Tensor) -> MetricResult:
    """How far the features of two dictionaries, such as of two seeds, are the same.

    Each feature of the smaller one is matched with another of the larger, so that the sum of cosines is largest.

    Args:
        first: (M, d) directions.
        second: (M', d).
    Returns:
        The mean cosine of matched features; in its parts, the share above `ALIKE`, and the mean cosine of as many
        random directions matched the same way.
    Raises:
        ShapeError: directions of another width.
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ShapeError(f"expected directions (M, d) of one width, got {tuple(first.shape)} and {tuple(second.shape)}")
    rng = torch.Generator().manual_seed(0)
    random = [torch.randn(part.shape, generator=rng) for part in (first, second)]
    cosines, chance = _matched(first, second), _matched(*random)
    parts = {"alike": float((cosines > ALIKE).mean()), "random": float(chance.mean())}
    return MetricResult(
        "agreement", float(cosines.mean()), None, {"matched": len(cosines), "alike above": ALIKE}, parts
    )


def _matched(first: Tensor, second: Tensor) -> Any:
    rows, columns = (normalize(part.detach().cpu().double(), dim=1) for part in (first, second))
    cosines = (rows @ columns.T).numpy()
    return cosines[linear_sum_assignment(cosines, maximize=True)]

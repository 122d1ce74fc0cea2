"""What a trained run generates, seen by a frozen predictor: what ``trimkit evaluate --predictor`` computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from trimkit.data import Dataset
from trimkit.errors import DataError, ModelError, TrainingError
from trimkit.evaluation.notes import Metrics
from trimkit.evaluation.representation import BATCH, Evaluation, Settings
from trimkit.methods import Method
from trimkit.methods.stored import record
from trimkit.metrics import generation
from trimkit.predictor import FrozenPredictor

PAIRS = 1000
"""Pairs of codes between which path lengths are taken, at most."""


@dataclass(frozen=True)
class Features:
    """What a predictor makes of samples, as rows of numbers; of maps of features (N, F, H, W), their means over pixels.

    Attributes:
        predictor: frozen, on its device.
        name: as it is reported.
        layer: whose output is taken; None for the predictor's own.

    >>> features = make_features(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), "net")
    >>> features(torch.rand(5, 1, 4, 4)).shape
    torch.Size([5, 3])
    """

    predictor: FrozenPredictor
    name: str
    layer: str | None = None

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """(N, *shape) → (N, F)."""
        try:
            features = self.predictor(x) if self.layer is None else self.predictor.features(x, [self.layer])[0]
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise ModelError(
                f"{self.name} gives no features of samples {tuple(x.shape[1:])}: {' '.join(str(error).split())}"
            ) from error
        if not isinstance(features, Tensor) or features.ndim < 1 or len(features) != len(x):
            got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ModelError(f"{self.name}: expected features ({len(x)}, ...), one row a sample, got {got}")
        if not bool(features.isfinite().all()):
            raise ModelError(f"{self.name}: expected finite features, got NaN or infinity; look at the samples first")
        return features.mean((2, 3)) if features.ndim == 4 else features.reshape(len(x), -1)


def make_features(model: nn.Module, name: str, layer: str | None = None) -> Features:
    """Features of a model.

    Raises:
        ModelError: one that cannot be frozen.
    """
    return Features(FrozenPredictor(model), name if layer is None else f"{name}, layer {layer}", layer)


def evaluate_samples(
    folder: Path | None,
    method: Method,
    data: Dataset,
    settings: Settings,
    features: Features,
    *,
    space: str | None = None,
    device: str | torch.device = "cpu",
) -> Evaluation:
    """Draw as many samples as there are data, and compare their features.

    All in float64, since the steps of path lengths are small; on the CPU where the device has none.

    Args:
        folder: of the run.
        method: that was trained; it is converted to float64.
        data: that the samples should be like; of a conditional method they get the auxiliary variables.
        settings: samples and seed.
        features: see `make_features`.
        space: of the path lengths; by default the first one that the method draws codes of and decodes.
        device: of the networks.
    Raises:
        ModelError: a method that draws nothing, or a predictor that does not take its samples.
        DataError: data of another shape, or fewer than 20.
    """
    if data.shape != method.shape:
        raise DataError(f"the run was trained on samples {method.shape}, got {data.shape} of {data.name!r}")
    device = torch.device("cpu" if torch.device(device).type == "mps" else device)
    method = method.to(device).double()
    features.predictor.to(device).double()
    rows = np.random.default_rng([settings.seed, *b"evaluate_samples"]).permutation(len(data))[: settings.samples]
    rng = torch.Generator(device).manual_seed(settings.seed)
    real = _rows(features, (data.x[part].to(device).double() for part in torch.as_tensor(rows).split(BATCH)))
    aux = None if method.condition is None or data.aux is None else data.aux[torch.as_tensor(rows)].to(device)
    made = _rows(features, _draws(method, len(rows), rng, aux))
    metrics = _compared(real, made, settings.seed) | _path_length(method, features, min(len(rows), PAIRS), rng, space)
    name = record(method)["method"]
    protocol = {"run": str(folder)} if folder else {}
    protocol |= {"data": data.name, "split": data.split, "samples": len(rows), "seed": settings.seed}
    title = f"{name} on {data.name} ({data.split}): {len(rows)} samples of each, seed {settings.seed}"
    return Evaluation(
        name,
        title,
        protocol | {"features": features.name, "predictor": features.predictor.sha256},
        metrics,
        notes=tuple(_notes(data, features, metrics)),
    )


def _rows(features: Features, batches: Iterator[Tensor]) -> Tensor:
    return torch.cat([features(batch).cpu() for batch in batches])


@torch.no_grad()
def _draws(method: Method, n: int, rng: torch.Generator, aux: Tensor | None) -> Iterator[Tensor]:
    """As many samples as there are data, of a conditional method with their classes."""
    for start in range(0, n, BATCH):
        try:
            yield method.sample(min(BATCH, n - start), rng, None if aux is None else aux[start : start + BATCH])
        except TrainingError as error:
            raise ModelError(f"there are no samples to evaluate: {error}") from error


def _compared(real: Tensor, made: Tensor, seed: int) -> Metrics:
    distances = (generation.frechet_distance, generation.kernel_distance)
    results = [distance(real, made, seed=seed) for distance in distances]
    return {result.name: result for result in (*results, *generation.precision_recall(real, made, seed=seed))}


def _path_length(method: Method, features: Features, pairs: int, rng: torch.Generator, space: str | None) -> Metrics:
    """Along straight lines of the space asked for, or of the first in which there are any; nothing without.

    Raises:
        ModelError: a space that was asked for and cannot be decoded, or has no prior.
    """
    if space is not None and not method.space(space).can_decode:
        raise ModelError(f"--space {space}: its codes cannot be decoded: {method.space(space).reason}")
    for latent in [method.space(space)] if space is not None else method.latent_spaces():
        try:
            start, end = (method.sample_codes(pairs, rng, latent.name).detach() for _ in range(2))
        except TrainingError as error:
            if space is not None:
                raise ModelError(f"--space: {error}") from error
            continue
        if latent.can_decode and not latent.decoding_needs_aux:
            images = partial(method.decode, space=latent.name)
            result = generation.perceptual_path_length(start, end, images, features, seed=rng.initial_seed())
            return {result.name: replace(result, protocol={"space": latent.name, **result.protocol})}
    return {}


def _notes(data: Dataset, features: Features, metrics: Metrics) -> Iterator[str]:
    yield f"features: {features.name}; numbers on them compare with those on the same predictor only, and are no FID"
    if data.split == "train":
        yield "the data are those that the run was trained on"
    if "perceptual_path_length" not in metrics:
        yield "the method draws codes of no space that can be decoded, so there is no path length"

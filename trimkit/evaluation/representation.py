"""The codes of a trained run and of linear baselines, and their metrics: what ``trimkit evaluate`` computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trimkit.data import Dataset, FactorSampler, load
from trimkit.errors import DataError, ModelError
from trimkit.evaluation.notes import Metrics, notes_on
from trimkit.methods import Delta, DiagonalGaussian, LatentSpace, Method
from trimkit.methods.decomposition import summarise_kl
from trimkit.methods.stored import record
from trimkit.metrics import disentanglement
from trimkit.metrics.bootstrap import DRAWS
from trimkit.registry import available
from trimkit.training.outcome import ACTIVE
from trimkit.training.run_folder import environment

BATCH = 512
"""Samples that are encoded at a time."""

POOL = 4
"""Samples encoded for each one that is asked for: votes of the quick protocol are drawn from them."""

FITTED = 2000
"""Samples that the linear baselines are fitted to."""

POSTERIORS = 4096
"""Posteriors from which the parts of the KL are estimated; the cost grows with their square."""

Numbers: TypeAlias = NDArray[np.int64]
Encode: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True)
class Evaluation:
    """What is known of a run's codes.

    Attributes:
        method: its registered name.
        title: of the table: what was evaluated on what.
        settings: run, data, split, space, samples, protocol, seed.
        metrics: of the run's codes.
        baselines: the same of other codes of the same samples.
        sources: name of codes → comparison → mean correlation with the true sources, the run's first; empty without.
        kl: "total", "per_dimension", "active", and "parts" by two estimators; empty for posteriors without a density.
        notes: what a reader has to know.

    >>> import trimkit
    >>> evaluation = trimkit.evaluate(lambda x: x[:, :3], "toy-factors", samples=200)
    >>> evaluation.settings["samples"], "factor_vae_score" in evaluation.metrics
    (200, True)
    """

    method: str
    title: str
    settings: dict[str, Any]
    metrics: Metrics
    baselines: dict[str, Metrics] = field(default_factory=dict)
    sources: dict[str, Metrics] = field(default_factory=dict)
    kl: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "method": self.method,
            **self.settings,
            "metrics": _plain(self.metrics),
            "baselines": {name: _plain(metrics) for name, metrics in self.baselines.items()},
            "sources": {name: _plain(metrics) for name, metrics in self.sources.items()},
            "kl": dict(self.kl),
            "notes": list(self.notes),
            "environment": environment(),
        }


@dataclass(frozen=True)
class Settings:
    """What is asked for.

    Attributes:
        samples: at most so many.
        protocol: "quick" or "dlib".
        seed: of every draw.
        baselines: with random projection, PCA and ICA.
    """

    samples: int = 10_000
    protocol: str = "quick"
    seed: int = 0
    baselines: bool = False


def evaluate_run(
    folder: Path | None,
    method: Method,
    data: Dataset,
    settings: Settings,
    *,
    space: str | None = None,
    device: str | torch.device = "cpu",
) -> Evaluation:
    """Encode samples and compute every metric that the data allow.

    Args:
        folder: of the run, to be named in the result; None where there is none.
        method: that was trained.
        data: see `load_for_evaluation`.
        settings: see `Settings`.
        space: latent space; the method's first by default.
        device: of the encoder.
    Raises:
        ModelError: a space that cannot be encoded to.
        DataError: data that do not fit the method.
    """
    encoder = Encoder(method, method.space(space), data, torch.device(device))
    order = row_order(len(data), settings)
    metrics = compute_metrics(encoder.means, data, order, settings)
    used = min(settings.samples, len(data))
    posterior = encoder.posterior(order[: max(used, POSTERIORS)])
    kl = _kl(posterior, len(data), settings.seed)
    name = record(method)["method"]
    protocol = {"run": str(folder)} if folder else {}
    protocol |= {"data": data.name, "split": data.split, "space": encoder.space.name, "samples": used}
    return Evaluation(
        name,
        f"{name} on {data.name} ({data.split}): {used} of {len(data)} samples, protocol {settings.protocol}, seed "
        f"{settings.seed}",
        protocol | {"protocol": settings.protocol, "seed": settings.seed},
        metrics | _sampled_gap(posterior, data, order[:used], settings.seed),
        linear_codes(math.prod(encoder.space.shape), data, order, settings) if settings.baselines else {},
        kl=kl,
        notes=tuple(notes_on(data, metrics, kl)),
    )


def row_order(n: int, settings: Settings) -> Numbers:
    """Numbers of n samples in a random order, whose first ``settings.samples`` are evaluated: (n,)."""
    return np.random.default_rng([settings.seed, *b"evaluate_run"]).permutation(n)


def load_for_evaluation(spec: str, split: str | None = None) -> Dataset:
    """Data in the split that suits metrics best.

    Args:
        spec: see `trimkit.data.load`.
        split: its name; None for "all" where a dataset with factors has it, as published protocols take it, else
            "test" where that is other samples than "train", else "train".
    Returns:
        The data; those of training are called so, whatever split was asked for.
    Raises:
        DataError: nothing of that name, or no such split.
    """
    if split is None and spec.partition(":")[0] in available("datasets"):
        with suppress(DataError):
            data = load(spec, "all")
            if data.factors is not None:
                return data
    if split == "train":
        return load(spec, split)
    data = _split(spec, "test") if split is None else load(spec, split)
    train = _split(spec, "train")
    if data is None or train is None:
        return data or train or load(spec, "train")  # which says what is missing
    if data.sha256 != train.sha256:
        return data
    if split not in (None, "all"):
        raise DataError(
            f"{train.name!r} has no split {split!r} of its own, only the samples of training; give no --split"
        )
    return replace(train, split="train")


def _split(spec: str, split: str) -> Dataset | None:
    with suppress(DataError):
        return load(spec, split)
    return None


class Encoder:
    """A method as a function of numbers of samples.

    Args:
        method: trained.
        space: of the codes.
        data: whose samples are encoded.
        device: of the method, which is moved there.
    Raises:
        ModelError: the space cannot be encoded to.
        DataError: samples of another shape, or without the auxiliary variables that the space needs.
    """

    def __init__(self, method: Method, space: LatentSpace, data: Dataset, device: torch.device) -> None:
        if not space.can_encode:
            raise ModelError(
                f"space {space.name!r} has no codes to evaluate: {space.reason or 'it has no encoder'}. For what the "
                "run generates, give a predictor: --predictor pkg.mod:fn"
            )
        if data.shape != method.shape:
            raise DataError(f"the run was trained on samples {method.shape}, got {data.shape} of {data.name!r}")
        if space.needs_aux and data.aux is None:
            raise DataError(f"space {space.name!r} needs auxiliary variables, which {data.name!r} does not have")
        if space.needs_aux:
            method.check_aux(data.aux)
        self.space = space
        self._method, self._data, self._device = method.to(device), data, device

    def means(self, numbers: Tensor | Numbers) -> Tensor:
        """Codes of numbered samples: (n,) → (n, D) on the CPU."""
        return self.posterior(numbers).mean

    @torch.inference_mode()
    def posterior(self, numbers: Tensor | Numbers) -> DiagonalGaussian | Delta:
        """Posteriors of numbered samples, over (n, D), on the CPU; a `Delta` where they are no Gaussians."""
        parts = [self._encode(batch) for batch in torch.as_tensor(numbers).split(BATCH)]
        mean = torch.cat([_flat(part.mean) for part in parts])
        if not all(isinstance(part, DiagonalGaussian) for part in parts):
            return Delta(mean)
        return DiagonalGaussian(mean, torch.cat([_flat(part.log_variance) for part in parts]))

    def _encode(self, numbers: Tensor) -> Any:
        x, aux = self._data.x[numbers], self._data.aux
        given = None if aux is None or not self.space.needs_aux else aux[numbers].to(self._device)
        return self._method.encode(self._method.place_input(x), given, self.space.name)


def compute_metrics(encode: Encode, data: Dataset, order: Numbers, settings: Settings, draws: int = DRAWS) -> Metrics:
    """Every metric that the data allow.

    Args:
        encode: codes of numbered samples.
        data: with several factors, for metrics that hold one fixed; else their labels are the one factor.
        order: of the samples; the first are taken.
        settings: see `Settings`. With "quick", votes are drawn from four times as many samples as are asked for, each
            encoded once; with "dlib" from all.
        draws: resamples of the intervals.
    """
    named = {"protocol": settings.protocol, "seed": settings.seed, "draws": draws}
    rows = order[: settings.samples]
    factors, names = _factors(data, rows)
    if factors is None or _varying(factors[rows]) < 2:
        one = None if factors is None else factors[rows]
        return disentanglement.report(encode(rows), one, names=names, **named)
    named |= {"names": names, "samples": settings.samples}
    if settings.protocol == "dlib":
        return disentanglement.evaluate(encode, FactorSampler(factors), **named)
    pool = order[: POOL * settings.samples]
    return disentanglement.evaluate(encode(pool), FactorSampler(factors[pool]), **named)


def _factors(data: Dataset, rows: Numbers) -> tuple[Tensor | None, tuple[str, ...]]:
    """Factors of all samples, or their labels as the one factor; None where none has two values in the rows."""
    labels = None if data.class_labels is None else data.class_labels[:, None]
    factors, names = (labels, ("label",)) if data.factors is None else (data.factors, data.factor_names)
    if factors is None or bool((factors[rows] == factors[rows[0]]).all()):
        return None, ()
    return factors, names


def _varying(factors: Tensor) -> int:
    """How many factors of (N, K) have more than one value."""
    return int((factors != factors[0]).any(0).sum())


def linear_codes(components: int, data: Dataset, order: Numbers, settings: Settings) -> dict[str, Metrics]:
    """The metrics of linear codes of the data, without intervals.

    Args:
        components: of the codes.
        data: that they are fitted to.
        order: of the samples.
        settings: see `Settings`.
    """
    fitted = disentanglement.linear_baselines(data.x[torch.as_tensor(order[:FITTED])], components, seed=settings.seed)
    return {
        name: compute_metrics(partial(_projected, projection, data), data, order, settings, draws=0)
        for name, projection in fitted.items()
    }


def _projected(projection: disentanglement.Projection, data: Dataset, numbers: Tensor | Numbers) -> Any:
    return np.concatenate([projection(data.x[batch]) for batch in torch.as_tensor(numbers).split(BATCH)])


def _sampled_gap(posterior: DiagonalGaussian | Delta, data: Dataset, rows: Numbers, seed: int) -> Metrics:
    """The gap as Chen et al. define it, where there are posteriors and factors."""
    factors, names = _factors(data, rows)
    if not isinstance(posterior, DiagonalGaussian) or factors is None:
        return {}
    mean, log_variance = posterior.mean[: len(rows)], posterior.log_variance[: len(rows)]
    gap = disentanglement.sampled_mutual_information_gap(mean, log_variance, factors[rows], names=names, seed=seed)
    return {gap.name: gap}


def _kl(posterior: DiagonalGaussian | Delta, dataset_size: int, seed: int) -> dict[str, Any]:
    """The KL, and its parts by the two estimators between which the truth lies."""
    if not isinstance(posterior, DiagonalGaussian):
        return {}
    posterior = DiagonalGaussian(posterior.mean[:POSTERIORS], posterior.log_variance[:POSTERIORS])
    each = posterior.kl().double().mean(0)
    parts = [  # of one draw: they differ by the estimator alone
        summarise_kl([posterior], torch.Generator().manual_seed(seed), estimator=estimator, dataset_size=dataset_size)
        for estimator in ("symmetric", "batch")
    ]
    return {
        "total": float(each.sum()),
        "per_dimension": each.tolist(),
        "active": int((each > ACTIVE).sum()),
        "parts": parts,
    }


def _plain(metrics: Metrics) -> dict[str, Any]:
    return {name: result.as_dict() for name, result in metrics.items()}


def _flat(codes: Tensor) -> Tensor:
    return (codes if codes.dtype == torch.float64 else codes.float()).flatten(1).cpu()

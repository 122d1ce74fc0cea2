"""What all sparse autoencoders share: x ⇄ features, a dictionary of unit directions, and which features are dead."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from trimkit.coefficients.groups import Groups
from trimkit.data import Dataset, in_memory
from trimkit.errors import DataError, OptionError
from trimkit.methods import (
    RECONSTRUCTION,
    Batch,
    Delta,
    LatentSpace,
    Method,
    Phase,
    Schedule,
    StepResult,
    Term,
    Weight,
    as_schedule,
    at_least_float32,
    gather,
)
from trimkit.metrics import MetricResult
from trimkit.predictor.activations import Activations
from trimkit.registry.options import one_of, real_number, whole_number
from trimkit_sae.baselines import FITTED, baseline_dictionaries, best_of
from trimkit_sae.concepts import Concept, Flags, describe_concepts, halves, make_concepts
from trimkit_sae.dictionary import Dictionary, UnitNormAdam, geometric_median
from trimkit_sae.metrics import CHUNK, Code, describe, loss_recovered
from trimkit_sae.transform import ERROR, FEATURES, FeatureTransform, as_data, as_vectors, positions

Normalise = Literal["unit", "dimension", "none"]
"""What the mean squared norm of activations is scaled to: 1, their width d, or left alone."""

EXPANSION = 8
"""Features for each dimension where nobody says how many."""


class SparseAutoencoder(Method):
    """h = x / scale; z = activate(E (h − b) + c) ≥ 0; ĥ = z D + b with rows of D of norm 1; x̂ = scale · ĥ.

    A subclass writes `activate` and, where it has more terms than the squared error ‖h − ĥ‖², `regularise` and
    `weights`. E starts as D; D's gradient is taken orthogonal to its rows (see `UnitNormAdam`). With ``axis``, the
    samples are a layer's whole output, each position (token, pixel) is read by itself, and terms are means over them.

    Args:
        shape: of one sample, (d,); what has more axes is one long vector, unless ``axis`` is given.
        features: M; 8 a dimension by default.
        normalise: mean squared norm that activations are scaled to: "unit" for 1 (Rajamanoharan et al. 2024),
            "dimension" for d (Conerly et al. 2024), "none" to leave them.
        pre_bias: subtract b before encoding, with b started at the geometric median; else b is of the decoder alone.
        learning_rate: of Adam.
        axis: of the features among positions, where ``shape`` has both: 0 for (C, H, W), −1 for (T, d).

    Raises:
        OptionError: an option out of range.

    Attributes:
        scale: of the data, from `prepare`.
        silent: (M,) samples since each feature was last active, in training.
    """

    biased: ClassVar[bool] = True
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    scale: Tensor
    silent: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        features: int | None = None,
        *,
        normalise: Normalise = "unit",
        pre_bias: bool = True,
        learning_rate: float = 1e-3,
        axis: int | None = None,
    ) -> None:
        super().__init__(shape)
        self.axis = axis
        if axis is not None and not -len(self.shape) <= axis < len(self.shape):
            raise OptionError(f"expected axis as one of the {len(self.shape)} of {self.shape}, got {axis}")
        self.width = math.prod(self.shape) if axis is None else self.shape[axis]
        self.features = EXPANSION * self.width if features is None else features
        self.normalise = normalise
        self.pre_bias = pre_bias
        self.learning_rate = learning_rate
        whole_number("", features=self.features)
        one_of("", ("unit", "dimension", "none"), normalise=normalise)
        real_number("", above=True, learning_rate=learning_rate)
        self.dictionary = Dictionary(self.features, self.width)
        self.encoder = nn.Linear(self.width, self.features, bias=self.biased)
        with torch.no_grad():
            self.encoder.weight.copy_(self.dictionary.directions)
            if self.biased:
                self.encoder.bias.zero_()
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("silent", torch.zeros(self.features, dtype=torch.long))

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """The features, and the features beside the error x − x̂, which together are x."""
        return [self._space(FEATURES), self._space(ERROR)]

    def _space(self, name: str) -> LatentSpace:
        layout = self.layout(name, positions(self.shape, self.axis))
        assert isinstance(layout.labels, Tensor)
        return LatentSpace(name, tuple(layout.labels.shape), layout, exact_inverse=name == ERROR)

    def layout(self, name: str, places: Sequence[int]) -> Groups:
        """The groups ``feature 0``, ``feature 1``, …, and ``error``, of the codes of some positions."""
        names = [f"feature {j}" for j in range(self.features)]
        labels = torch.arange(self.features)
        if name == ERROR:
            names.append("error")
            labels = torch.cat([labels, labels.new_full((self.width,), self.features)])
        return Groups(tuple(names), labels.expand(*places, len(labels)), "feature of the dictionary")

    def as_transform(self, space: str | None = None, axis: int | None = None) -> FeatureTransform:
        """The features as a transform of a layer's output, whatever its positions: (N, d), (N, T, d), (N, C, H, W).

        Args:
            space: "features", whose residual is the dictionary's error, or "features+error", which is exact: the error
                is one more group, so that attributions that are complete add up to the whole change of the output
                (Marks et al. 2024, arXiv:2403.19647).
            axis: of the features in one sample; by default where they were in training, or the only one that fits.
        """
        return FeatureTransform(self, self.space(space), axis)

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Delta:
        """The features of data: (N, *shape) → codes (N, *positions, M), or M + d with the error."""
        return Delta(self.read(as_vectors(x, self.axis), space or FEATURES))

    def decode(self, z: Tensor, space: str | None = None) -> Tensor:
        """The data of codes: (N, *positions, M) → (N, *shape)."""
        return as_data(self.write(z, space or FEATURES), self.shape, self.axis)

    def read(self, x: Tensor, space: str) -> Tensor:
        """The codes of activations: (..., d) → (..., M), or M + d with the error."""
        z = self.infer(self.preactivate(x / self.scale))
        return z if space == FEATURES else torch.cat([z, x - self.write(z, FEATURES)], -1)

    def write(self, s: Tensor, space: str) -> Tensor:
        """The activations of codes: (..., M), or M + d with the error → (..., d)."""
        z = s[..., : self.features]
        x_hat = self.dictionary(z) * self.scale
        return x_hat if space == FEATURES else x_hat + s[..., self.features :]

    def preactivate(self, h: Tensor) -> Tensor:
        """E (h − b) + c of scaled activations: (..., d) → (..., M)."""
        return self.encoder(h - self.dictionary.bias if self.pre_bias else h)

    def _preactivate_in_training(self, h: Tensor) -> Tensor:
        """As `preactivate`, with b's first derivative by a product of a matrix with one row, not with one a sample."""
        if not self.pre_bias:
            return self.encoder(h)
        b = self.dictionary.bias
        return self.encoder(h - b.detach()) - self.encoder.weight.detach() @ (b - b.detach())

    @abstractmethod
    def activate(self, pre: Tensor) -> Tensor:
        """z ≥ 0 of a training batch: (N, ..., M) → the same shape."""

    def infer(self, pre: Tensor) -> Tensor:
        """z ≥ 0 of each sample alone; as in training where that needs no other sample."""
        return self.activate(pre)

    def reconstruct(self, z: Tensor) -> Sequence[Tensor]:
        """ĥ of the dictionaries whose squared errors are minimised, the whole one last: (..., M) → (..., d)."""
        return [self.dictionary(z)]

    def regularise(self, pre: Tensor, z: Tensor, error: Tensor) -> dict[str, Term]:
        """What the objective adds to the squared error.

        Args:
            pre: (N, ..., M) before the activation.
            z: (N, ..., M) features.
            error: (N, ..., d) h − ĥ.
        Returns:
            The terms of `weights`, one value a sample, unweighted.
        """
        return {}

    def weights(self) -> Mapping[str, Schedule]:
        """The weight of each term of `regularise`."""
        return {}

    def phases(self) -> Sequence[Phase]:
        """One phase for all."""
        directions, betas, rate = self.dictionary.directions, self.betas, self.learning_rate
        return [
            Phase(
                "sae",
                list(self.parameters()),
                self.loss,
                {RECONSTRUCTION: 1.0, **self.weights()},
                optimiser=lambda parameters: UnitNormAdam(parameters, directions, lr=rate, betas=betas),
                trains_decoder=True,
            )
        ]

    def loss(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """‖h − ĥ‖² and the terms of `regularise`.

        Args:
            batch: of N samples.
            generator: unused: nothing is drawn.
            step: unused.
        Returns:
            Terms of (N,) values; x̂; diagnostics "l0", the mean number of active features, and "dead", the share of
            features that were in no sample of the batch.
        """
        h = as_vectors(batch.x, self.axis) / self.scale
        pre = at_least_float32(self._preactivate_in_training(h))
        z = self.activate(pre)
        parts = self.reconstruct(z)
        rows = z.detach().reshape(-1, self.features)
        active = (rows > 0).sum(0, dtype=torch.float32)
        return self._result(h, parts, self.regularise(pre, z, h - parts[-1]), active)

    def _result(self, h: Tensor, parts: Sequence[Tensor], terms: dict[str, Term], active: Tensor) -> StepResult:
        """The step's result, from ĥ of the dictionaries and (M,) in how many vectors each feature is active."""
        squared = [(h - part).square().sum(-1) for part in parts]
        error = Term(per_sample(torch.stack(squared).sum(0) if len(parts) > 1 else squared[0]))
        return StepResult(
            {RECONSTRUCTION: error, **terms},
            reconstruction=lambda _: as_data(parts[-1] * self.scale, self.shape, self.axis),
            diagnostics=self._note(active, h.numel() // self.width),
        )

    @torch.no_grad()
    def _note(self, active: Tensor, rows: int) -> dict[str, Tensor]:
        """Count for how many vectors each feature was not active."""
        seen = gather(active[None])
        if self.training:
            waiting = self.silent + rows * len(seen)
            self.silent.copy_(torch.where(seen.sum(0) > 0, torch.zeros_like(waiting), waiting))
        return {"l0": active.sum() / rows, "dead": (active == 0).float().mean()}

    def code(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """x̂ of vectors (n, d), and their features (n, M)."""
        z = self.read(vectors, FEATURES)
        return self.write(z, FEATURES), z

    def measure(
        self, data: Dataset, train: Dataset, *, seed: int = 0, baselines: bool = False
    ) -> Mapping[str, Mapping[str, MetricResult]]:
        """L0, explained variance, dead share and density; of activations with a source, also the loss recovered.

        Where factors or labels are known, also over how many features each of their values is split, and how often
        another feature has absorbed it, see `trimkit_sae.concepts`.

        Baselines are random directions, as many as features, and principal and independent components, with as many
        active ones a vector as the features, see `trimkit_sae.baselines.best_of`.
        """
        device = self.dictionary.bias.device

        def vectors(part: Dataset) -> Tensor:
            return as_vectors(in_memory(part.x).to(device), self.axis).reshape(-1, self.width)

        x = vectors(data)
        judged = Judged(x, data, *_concepts_of(x, data, seed), seed)
        codes: dict[str, tuple[Code, Tensor]] = {"features": (self.code, self.dictionary.directions * self.scale)}
        if baselines:
            fitted, k = vectors(train.some(FITTED)), max(1, round(describe(self.code, x)["l0"].value))
            found = baseline_dictionaries(fitted, self.features, seed)
            codes |= {name: (best_of(rows, fitted.mean(0), k), rows) for name, rows in found.items()}
        return {name: self._measured(code, directions, judged) for name, (code, directions) in codes.items()}

    def _measured(self, code: Code, directions: Tensor, judged: Judged) -> dict[str, MetricResult]:
        x, data, concepts, train, seed = judged
        found = describe(code, x, seed)
        if isinstance(data, Activations) and data.source is not None:
            found["loss_recovered"] = loss_recovered(code, data.source, self.width, seed, axis=self.axis)
        if concepts:
            z = torch.cat([code(part)[1] for part in x.split(CHUNK)])
            found |= describe_concepts(z, directions, concepts, train, seed)
        return found

    @torch.no_grad()
    def prepare(self, x: Tensor, aux: Tensor | None, generator: torch.Generator) -> None:
        """Take the scale of the data, and b from their geometric median.

        Raises:
            DataError: all activations are zero.
        """
        h = as_vectors(x, self.axis).reshape(-1, self.width)
        norm = float(h.double().square().sum(1).mean().sqrt())
        if norm == 0:
            raise DataError("expected activations, got zeros alone; take another layer")
        wanted = {"unit": norm, "dimension": norm / math.sqrt(self.width), "none": 1.0}
        self.scale.fill_(wanted[self.normalise])
        if self.pre_bias:
            self.dictionary.bias.copy_(geometric_median(h / self.scale))


class Judged(NamedTuple):
    """What dictionaries are judged on.

    Attributes:
        x: (n, d) vectors.
        data: that they are of.
        concepts: that are known of them.
        train: (n,) the half that probes of concepts are fitted to.
        seed: of every draw.
    """

    x: Tensor
    data: Dataset
    concepts: Sequence[Concept]
    train: Flags
    seed: int


def _concepts_of(x: Tensor, data: Dataset, seed: int) -> tuple[Sequence[Concept], Flags]:
    """The concepts that the data's factors, or labels, are about; those of a sample hold at all of its positions."""
    train = halves(len(x), seed)
    y = data.y
    labels = None if y is None or y.ndim > 1 or y.is_floating_point() else y[:, None]
    factors, names = (labels, ("label",)) if data.factors is None else (data.factors, data.factor_names)
    if factors is None:
        return [], train
    return make_concepts(x, factors.repeat_interleave(len(x) // len(data), 0), names, train), train


def per_sample(values: Tensor) -> Tensor:
    """Means over positions: (N, ...) → (N,)."""
    return values if values.ndim == 1 else values.flatten(1).mean(1)


def require_weight(**weights: Weight) -> None:
    """Refuse text that is no weight, and numbers below 0; a schedule is taken as it is.

    Raises:
        OptionError: the option and its value.
    """
    for name, weight in weights.items():
        schedule = as_schedule(weight)
        if not callable(schedule) and not schedule >= 0:
            raise OptionError(f"expected {name} ≥ 0, got {weight}")

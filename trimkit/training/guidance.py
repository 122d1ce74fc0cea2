"""What a frozen predictor asks of a method in training: reconstructions it reads alike, latents it reads simply."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.errors import DataError, ModelError, OptionError, TrainingError, TrimkitWarning, nearest
from trimkit.methods import (
    RECONSTRUCTION,
    Batch,
    CodeTransform,
    GeneratedTransform,
    Method,
    Phase,
    Reconstruct,
    Schedule,
    StepResult,
    Term,
    Weight,
    as_schedule,
)
from trimkit.methods.condition import Given
from trimkit.predictor import FrozenPredictor, Match, PredictionLoss
from trimkit.targets import Target, resolve_target
from trimkit.training.terms import TrimTarget, TrimTerm, described
from trimkit.transforms.base import Transform
from trimkit.trim import TrimPenalty

PREDICTION = "prediction"
"""The name of the prediction loss among the terms."""


class Guidance:
    """The prediction loss and the TRIM terms that join the phase that trains a method's decoder.

    Args:
        predictor: f, any module; a frozen copy is used.
        prediction: "kl", "mse", "label", "features", or a `PredictionLoss` of the same predictor.
        trims: terms; strings are parsed.
        method: whose latent spaces the terms are in.
        phase: the one they join.
    Raises:
        OptionError: a term given twice, or a malformed one.
        UnknownNameError, TransformError, AttributionError: a term that cannot be built.

    Attributes:
        predictor: the frozen f.
        weights: name of each term → its weight or schedule.
    """

    def __init__(
        self,
        predictor: nn.Module,
        prediction: Match | PredictionLoss,
        trims: Sequence[TrimTerm],
        method: Method,
        phase: Phase,
    ) -> None:
        self.predictor = FrozenPredictor(predictor)
        self.prediction = _own_loss(self.predictor, prediction)
        self.trims = {trim.name: trim for trim in trims}
        if len(self.trims) < len(trims):
            raise OptionError(f"a TRIM term is given twice among {[trim.name for trim in trims]}; give one weight each")
        self.generates = phase.generates
        self.compares = not phase.generates or self.prediction.match == "label"
        self._method = method
        self.penalties = {
            name: TrimPenalty(
                trim.penalty,
                transform=self._transform(trim),
                attribution=trim.attribution,
                parameters=phase.parameters,
            )
            for name, trim in self.trims.items()
        }
        self.weights: dict[str, Schedule] = {name: as_schedule(trim.weight) for name, trim in self.trims.items()}
        if self.compares:
            self.weights = {PREDICTION: 1.0, **self.weights}

    def _transform(self, trim: TrimTerm) -> Transform:
        if not self.generates:
            aux = self._any_aux(trim.space)
            return self._method.as_transform(trim.space, **({} if aux is None else {"aux": aux}))
        if trim.target == "label":
            raise OptionError(
                f"the TRIM term {trim.name!r} explains samples that the method draws, which have no label; use target "
                "predicted or the number of a class"
            )
        return GeneratedTransform(self._method, self._method.space(trim.space))

    def _any_aux(self, space: str | None) -> Given | None:
        """Auxiliary variables that a transform can be made with, where it needs some: each batch's take their place."""
        latent, condition = self._method.space(space), self._method.condition
        if condition is None or not (latent.needs_aux or latent.decoding_needs_aux):
            return None
        return 0 if condition.segments else [0.0] * condition.dim

    def describe(self) -> dict[str, Any]:
        """What is joined to the loss, for run folders and checkpoints."""
        trims = {
            name: {
                "penalty": described(trim.penalty),
                "weight": trim.weight,
                "attribution": described(trim.attribution),
                "target": described(trim.target),
            }
            for name, trim in self.trims.items()
        }
        layers = {"layers": list(self.prediction.layers)} if self.prediction.layers else {}
        prediction = {"prediction": self.prediction.match, **layers} if self.compares else {}
        return {"predictor": self.predictor.sha256, **prediction, "trim": trims}

    def terms(
        self,
        batch: Batch,
        reconstruction: Tensor | Reconstruct | None,
        generator: torch.Generator,
        codes: Mapping[str, Tensor] | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Term]:
        """The prediction loss on x̂ without residual, and each penalty on the scores of f ∘ decode with it.

        Args:
            batch: of N samples.
            reconstruction: x̂ in data units, with its graph, or a function of f that gives it; None where the phase
                generates.
            generator: for stochastic attributions.
            codes: space → codes of samples that the phase drew; where it generates, penalties are taken at them.
            labels: (N,) classes that those samples were drawn to be.
        Returns:
            Terms of (N,) values.
        """
        terms: dict[str, Term] = {}
        if self.compares:
            terms[PREDICTION] = Term(self._prediction(batch, reconstruction, labels))
        for name, penalty in self.penalties.items():
            if isinstance(penalty.transform, CodeTransform):
                penalty.transform.aux = batch.aux
            seen = self._samples(penalty, codes or {}) if self.generates else batch
            target = self._target(seen, self.trims[name].target)
            penalty.baseline = self._method.baseline(self.trims[name].space)
            terms[name] = Term(penalty.per_sample(self.predictor, seen.x, target, generator=generator))
        return terms

    def _prediction(self, batch: Batch, reconstruction: Tensor | Reconstruct | None, labels: Tensor | None) -> Tensor:
        if self.generates and labels is None:
            raise OptionError(
                f"{type(self._method).__name__} draws samples that are meant to be of no class: prediction='label' "
                "has nothing to compare with; give TRIM terms alone"
            )
        assert reconstruction is not None
        x_hat = reconstruction if isinstance(reconstruction, Tensor) else reconstruction(self.predictor)
        wanted = labels if labels is not None else batch.x if self.prediction.match != "label" else self._labels(batch)
        return self.prediction.per_sample(x_hat, wanted)

    def check_reach(self, batch: Batch, result: StepResult) -> None:
        """Refuse a predictor whose output does not tell in which direction a reconstruction is to be changed.

        Asked a little beside the samples, where a loss that can be trained is at no minimum.

        Raises:
            PenaltyError: there is no gradient.
            TrainingError: it is 0 for every sample, as behind a rounding.
        """
        if not self.compares or result.reconstruction is None:
            return
        x_hat = (result.reconstruction if isinstance(result.reconstruction, Tensor) else batch.x).detach()
        noise = torch.randn(x_hat.shape, generator=torch.Generator().manual_seed(0)).to(x_hat)
        probe = (x_hat + 0.1 * (x_hat.std() + 0.1) * noise).requires_grad_()
        value = self._prediction(batch, probe, result.labels).sum()
        (gradient,) = torch.autograd.grad(value, probe)
        if not bool(gradient.any()):
            raise TrainingError(
                f"term {PREDICTION!r} would train nothing: the gradient of the predictor's output to its input is 0 "
                "everywhere; let the output depend on the input without rounding, or leave the predictor out"
            )

    def _samples(self, penalty: TrimPenalty, codes: Mapping[str, Tensor]) -> Batch:
        """The samples of generated codes as a batch, and the codes handed to the penalty's transform."""
        transform = penalty.transform
        assert isinstance(transform, GeneratedTransform)
        name = transform.space.name
        if name not in codes:
            raise OptionError(f"the phase generates no codes of the space {name!r}. {nearest(name, codes)}")
        transform.codes = codes[name]
        with torch.no_grad():
            return Batch(transform.inverse(codes[name]))

    def check(self, batch: Batch, classes: int, named: str = "the data") -> None:
        """Refuse data that the predictor does not take, before any work.

        Args:
            batch: a few samples.
            classes: number of classes among all labels.
            named: what messages call the data.
        Raises:
            ModelError: the predictor fails on the batch, gives no output a sample, or has too few classes.
            DataError: labels are needed and absent.
        """
        output = _output(self.predictor, batch)
        if self.generates:
            drawn = self._method.drawn_classes if self.compares else 0
            if output.ndim == 2 and 1 < output.shape[1] < drawn:
                raise ModelError(
                    f"the predictor has {output.shape[1]} classes, and {type(self._method).__name__} draws samples of "
                    f"{drawn}; make it with as many categories"
                )
            return
        if self.prediction.match == "label" or any(trim.target == "label" for trim in self.trims.values()):
            self._labels(batch, named)
            if output.ndim == 2 and 1 < output.shape[1] < classes:
                raise ModelError(f"the predictor has {output.shape[1]} classes, and {named} {classes}")

    def _labels(self, batch: Batch, named: str = "the data") -> Tensor:
        if batch.y is None:
            raise DataError(
                f"prediction or TRIM by 'label' needs labelled data, and {named} have no labels; use prediction kl and "
                "target predicted"
            )
        return batch.y

    def _target(self, batch: Batch, target: TrimTarget) -> Target:
        if not isinstance(target, str):
            return target
        if target == "label":
            return self._labels(batch)
        with torch.no_grad():
            return resolve_target(target, self.predictor(batch.x))


@torch.no_grad()
def _output(predictor: FrozenPredictor, batch: Batch) -> Tensor:
    """The predictor's output for a batch, or what it does not take."""
    try:
        output = predictor(batch.x)
    except Exception as error:
        raise ModelError(
            f"the predictor does not take data of shape {tuple(batch.x.shape[1:])} a sample: "
            f"{' '.join(str(error).split())}"
        ) from error
    if not isinstance(output, Tensor) or output.ndim < 1 or len(output) != len(batch):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(f"expected one output a sample, ({len(batch)}, ...), from the predictor, got {got}")
    return output


def _own_loss(predictor: FrozenPredictor, prediction: Match | PredictionLoss) -> PredictionLoss:
    if isinstance(prediction, PredictionLoss):
        return PredictionLoss(predictor, prediction.match, prediction.layers)
    return PredictionLoss(predictor, prediction)


def make_guidance(
    method: Method,
    phases: Sequence[Phase],
    predictor: nn.Module | None,
    prediction: Match | PredictionLoss,
    trims: Sequence[TrimTerm],
) -> Guidance | None:
    """What joins a method's phases; None without a predictor.

    Args:
        method: whose latent spaces the terms are in.
        phases: of the method.
        predictor: f; that of ``prediction`` where it is a `PredictionLoss`.
        prediction: how f's outputs are compared.
        trims: TRIM terms.
    Raises:
        OptionError: TRIM terms without predictor, or no single phase that trains the decoder.
    """
    if predictor is None and isinstance(prediction, PredictionLoss):
        predictor = prediction.predictor
    if predictor is None:
        if trims:
            raise OptionError(
                f"the TRIM term {trims[0].name!r} explains a predictor; give one (--predictor pkg.mod:fn)"
            )
        return None
    decoding = [phase for phase in phases if phase.trains_decoder]
    if len(decoding) != 1:
        raise OptionError(
            f"{type(method).__name__} has {len(decoding)} phases that train its decoder, so a predictor cannot join; "
            "exactly one must say trains_decoder=True"
        )
    match = prediction.match if isinstance(prediction, PredictionLoss) else prediction
    if decoding[0].generates and not trims and match != "label":
        raise OptionError(
            f"{type(method).__name__} draws its own samples, which have no original to compare predictions with: give "
            "TRIM terms too (--trim l1@SPACE), compare with the label that each was drawn to be, where the method has "
            "one (--prediction label), or leave the predictor out"
        )
    return Guidance(predictor, prediction, trims, method, decoding[0])


def check_weights(phases: Sequence[Phase], guidance: Guidance | None, given: Mapping[str, Weight]) -> None:
    """Refuse weights of terms that do not exist, and a reconstruction weight of 0 that leaves the decoder untrained.

    Raises:
        OptionError: the name, and those that exist; or what is missing.
    """
    names = {name for phase in phases for name in phase.weights} | set(guidance.weights if guidance else ())
    for name in given:
        if name not in names:
            lack = "There is no predictor. " if guidance is None and name == PREDICTION else ""
            raise OptionError(f"no term is named {name!r}. {lack}{nearest(name, names)}")
    if as_schedule(given.get(RECONSTRUCTION, 1.0)) != 0:
        return
    if guidance is None or as_schedule(given.get(PREDICTION, 1.0)) == 0:
        raise OptionError(
            "with a reconstruction weight of 0, only a prediction loss trains the decoder: give a predictor"
        )
    warnings.warn(
        "the reconstruction weighs 0: the decoder learns what the predictor reads, not what the data look like",
        TrimkitWarning,
        stacklevel=5,
    )

"""The loss that asks a reconstruction to be predicted as its original is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from trimkit.errors import OptionError, PenaltyError, ShapeError, nearest
from trimkit.predictor.frozen import FrozenPredictor
from trimkit.predictor.graph import leads_to
from trimkit.predictor.inputs import At, Site
from trimkit.predictor.raised import told_plainly
from trimkit.predictor.rows import warn_of_unsteady, why_unsteady, without_graph
from trimkit.targets import logits_in

Match = Literal["kl", "bernoulli", "mse", "features", "label"]

Run: TypeAlias = Callable[[Tensor], Tensor]
"""x → the predictor's output, with everything else that it is called with."""

NO_LABEL = -100
"""Marks a pixel or token without a label, as in torch."""


class PredictionLoss(nn.Module):
    """Reconstructions should be predicted as their originals are: D(f(x), f(x̂)) or ℓ(f(x̂), y).

    The reconstruction goes in WITHOUT the residual x − x̂: with it the input would be x again and the loss constant.

    Args:
        predictor: the frozen f; a plain module is frozen first.
        match: "kl": KL(softmax f(x) ‖ softmax f(x̂)) over at least two classes, the mean over pixels or tokens.
            "bernoulli": the same of σ(f), summed over outputs: one logit, or several labels. "mse": mean squared error
            of the outputs. "features": mean squared error of the outputs of ``layers``, averaged over layers. "label":
            cross-entropy of f(x̂) with integer labels, (N,) or one a pixel or token, of which −100 marks none; or mean
            squared error with floating targets of the output's shape.
        layers: for "features": names as in ``model.named_modules()``.
        class_axis: where the classes of an output with more than two axes are: 1 for maps (N, K, H, W), by default, and
            −1 for tokens (N, T, K). With three axes it must be said, unless labels tell.
        at: where x̂ goes, of a predictor with several inputs, or with a layer whose output is reconstructed: as in
            `trimkit.Trim`. The rest of what it is called with is given as ``held``.
    Raises:
        OptionError: an unknown match, layers missing or unwanted, or "features" with ``at``.

    Example:
        >>> import torch
        >>> loss = PredictionLoss(torch.nn.Linear(3, 2), match="kl")
        >>> x = torch.ones(4, 3)
        >>> float(loss(x, x))
        0.0
    """

    def __init__(
        self,
        predictor: nn.Module,
        match: Match = "kl",
        layers: Sequence[str] = (),
        at: At = None,
        class_axis: int | None = None,
    ) -> None:
        super().__init__()
        self._losses = {
            "kl": self._kl,
            "bernoulli": self._bernoulli,
            "mse": self._mse,
            "features": self._features,
            "label": self._label,
        }
        if match not in self._losses:
            raise OptionError(f"PredictionLoss: unknown match {match!r}. {nearest(match, self._losses)}")
        if (match == "features") != bool(layers):
            raise OptionError(f"PredictionLoss: match='features' and layers go together, got {match!r}, {list(layers)}")
        if at is not None and (match == "features" or isinstance(at, nn.Module)):
            raise OptionError(
                f"PredictionLoss: at= is a name, a position or a path, and none with 'features', got {at!r}"
            )
        self.at = at
        self.predictor = predictor if isinstance(predictor, FrozenPredictor) else FrozenPredictor(predictor)
        self.match: Match = match
        self.class_axis = class_axis
        self._reaches = self._steady = False
        self.layers = tuple(layers)

    def forward(self, x_hat: Tensor, reference: Tensor, held: Any = None) -> Tensor:
        """Mean of `per_sample`: a scalar."""
        return self.per_sample(x_hat, reference, held).mean()

    def per_sample(self, x_hat: Tensor, reference: Tensor, held: Any = None) -> Tensor:
        """The loss of each sample, in nats for "kl" and labels, squared units of the output otherwise.

        Args:
            x_hat: (N, ...) reconstructions, without residual.
            reference: the originals x, of the same shape; for "label" the targets y.
            held: with ``at``: what the predictor is called with; what stands in the place of x̂ does not count, and
                among keywords may be missing.
        Returns:
            (N,) values ≥ 0.
        Raises:
            OptionError: a layer that the model does not call.
            PenaltyError: the predictor cuts the gradient, so that the loss would train nothing.
            ModelError: data in another number type than the predictor, or a predictor without values.
            ShapeError: shapes that do not fit, an output that is no tensor or not batch first, one logit with "kl", or
                labels that are no class (checked on the CPU only, where it does not wait for a device).
        """
        if not isinstance(x_hat, Tensor) or not isinstance(reference, Tensor):
            raise ShapeError(
                f"PredictionLoss: expected tensors x̂ and x, got {type(x_hat).__name__} and {type(reference).__name__}; "
                "what a predictor takes besides goes into held=, with at= naming where x̂ goes"
            )
        if len(x_hat) != len(reference) or (self.match != "label" and x_hat.shape != reference.shape):
            raise ShapeError(
                f"PredictionLoss: expected {'targets' if self.match == 'label' else 'originals'} for "
                f"{tuple(x_hat.shape)}, got {tuple(reference.shape)}"
            )
        if (held is None) is not (self.at is None):
            raise OptionError("PredictionLoss: at= and held= go together: where x̂ goes, and all other inputs")
        with told_plainly(self.predictor.inner, x_hat):
            values = self._losses[self.match](partial(self._output, held), x_hat, reference)
        self._require_reach(x_hat, values)
        if values.shape != (len(x_hat),):
            raise ShapeError(
                f"PredictionLoss: expected one row a sample, ({len(x_hat)}, ...), from the predictor and its layers, "
                f"got {tuple(values.shape)} values; the model or a layer is not batch first, so wrap it in one that is"
            )
        return values

    def _require_reach(self, x_hat: Tensor, values: Tensor) -> None:
        """Refuse a loss from which no gradient comes back to the reconstruction; walked once for each loss."""
        if self._reaches or not (torch.is_grad_enabled() and x_hat.requires_grad):
            return
        if not leads_to(values, x_hat):
            raise PenaltyError(
                "PredictionLoss would train nothing: no gradient comes back from the predictor's output to its input "
                "(a detach, no_grad, rounding or numpy call inside its forward?); remove the break from its forward"
            )
        self._reaches = True

    def _output(self, held: Any, x: Tensor) -> Tensor:
        """The predictor's output for a copy of x, which it may write to."""
        output = self._run(held, x)
        if not self._steady:
            self._steady = True
            reason = why_unsteady(lambda: without_graph(partial(self._run, held), x.detach()), output)
            if reason:
                warn_of_unsteady(reason)
        return output

    def _run(self, held: Any, x: Tensor) -> Tensor:
        x = x.clone()
        output = logits_in(self.predictor(x) if self.at is None else self._with_held(held, x))
        if not isinstance(output, Tensor):
            raise ShapeError(
                f"PredictionLoss: {self.match!r} expected a tensor from the predictor, got {type(output).__name__}; "
                "wrap it in a module that returns the logits, e.g. one whose forward is return self.model(x)['logits']"
            )
        return output

    def _with_held(self, held: Any, x: Tensor) -> Any:
        if (
            isinstance(self.at, str)
            and isinstance(held, Mapping)
            and self.at not in dict(self.predictor.inner.named_modules())
        ):
            held = {**held, self.at: x}
        site = Site(self.predictor, held, self.at)
        return site.run(self.predictor, x)

    def _kl(self, run: Run, x_hat: Tensor, x: Tensor) -> Tensor:
        expected = without_graph(run, x)
        axis = self._axis_of_classes(expected)
        if expected.ndim < 2 or expected.shape[axis] < 2:
            raise ShapeError(
                f"PredictionLoss: 'kl' needs at least two classes, got an output {tuple(expected.shape)}, of constant "
                "softmax; use match='mse' for a number, match='bernoulli' for the logit of a yes or no"
            )
        log_p, log_q = (functional.log_softmax(output, axis) for output in (expected, run(x_hat)))
        return _mean(functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(axis))

    def _bernoulli(self, run: Run, x_hat: Tensor, x: Tensor) -> Tensor:
        expected = without_graph(run, x)
        output = run(x_hat)
        share = expected.sigmoid()
        gap = functional.softplus(output) - functional.softplus(expected) + share * (expected - output)
        return gap.reshape(len(gap), -1).sum(1)

    def _axis_of_classes(self, output: Tensor) -> int:
        if self.class_axis is None and output.ndim == 3:
            raise ShapeError(
                f"PredictionLoss: which axis of the output {tuple(output.shape)} holds the classes? Say class_axis=-1 "
                "(tokens) or class_axis=1 (a map)"
            )
        return min(1, output.ndim - 1) if self.class_axis is None else self.class_axis % output.ndim

    def _mse(self, run: Run, x_hat: Tensor, x: Tensor) -> Tensor:
        expected = without_graph(run, x)
        return _squared_error(run(x_hat), expected)

    def _features(self, run: Run, x_hat: Tensor, x: Tensor) -> Tensor:
        expected = without_graph(lambda x: self.predictor.features(x, self.layers), x)
        errors = map(_squared_error, self.predictor.features(x_hat, self.layers), expected)
        return torch.stack(list(errors)).mean(0)

    def _label(self, run: Run, x_hat: Tensor, y: Tensor) -> Tensor:
        output = run(x_hat)
        if y.is_floating_point() and y.shape == output.shape:
            return _squared_error(output, y)
        axis = None if y.is_floating_point() else self._axis_by_labels(output, y)
        if axis is None:
            raise ShapeError(
                "PredictionLoss: 'label' takes integer labels (N,) for an output (N, K ≥ 2), one label for each pixel "
                f"or token, or floating targets of the output's shape {tuple(output.shape)}; got {y.dtype} "
                f"{tuple(y.shape)}"
            )
        places = y.ndim > 1
        _check_labels(y, output.shape[axis], places)
        unlabelled = y == NO_LABEL if places else torch.zeros_like(y, dtype=torch.bool)
        losses = -functional.log_softmax(output, axis).movedim(axis, -1)
        chosen = losses.gather(-1, y.long().masked_fill(unlabelled, 0)[..., None])[..., 0].masked_fill(unlabelled, 0)
        return chosen.reshape(len(y), -1).sum(1) / (~unlabelled).reshape(len(y), -1).sum(1).clamp_min(1)

    def _axis_by_labels(self, output: Tensor, y: Tensor) -> int | None:
        """The axis of classes with which integer labels fit; None where none does, or where two do."""
        axes = range(1, output.ndim) if self.class_axis is None else [self.class_axis % output.ndim]
        fit = [axis for axis in axes if y.shape == output.shape[:axis] + output.shape[axis + 1 :]]
        return fit[0] if len(fit) == 1 and output.shape[fit[0]] > 1 else None


def _mean(values: Tensor) -> Tensor:
    """(N, ...) → (N,)."""
    return values.reshape(len(values), -1).mean(1)


def _check_labels(y: Tensor, classes: int, places: bool) -> None:
    """On the CPU, where looking waits for no device."""
    if y.device.type != "cpu" or not y.numel():
        return
    y = y[y != NO_LABEL] if places else y
    low, high = (int(y.min()), int(y.max())) if y.numel() else (0, 0)
    if low < 0 or high >= classes:
        way = "mark what has no label by −100" if places else "leave out samples without label"
        raise ShapeError(f"PredictionLoss: expected labels in 0 … {classes - 1}, got {low} … {high}; {way}")


def _squared_error(output: Tensor, expected: Tensor) -> Tensor:
    return (output - expected).square().flatten(1).mean(1) if output.ndim > 1 else (output - expected).square()

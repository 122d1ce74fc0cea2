"""A predictor that never changes, and the loss that asks a reconstruction to be predicted as its original is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trimkit.errors import FrozenError, ModelError, OptionError, PenaltyError, ShapeError, nearest
from trimkit.predictor.graph import leads_to
from trimkit.predictor.inputs import At, Site
from trimkit.predictor.state import all_tensors, copy_of, extra_states, hash_of, held_tensors, state_hash
from trimkit.predictor.turns import in_this_thread

Match = Literal["kl", "mse", "features", "label"]

_NO_LABEL = torch.iinfo(torch.int64).min
"""What cross-entropy may ignore: torch's own −100 would make a label that is no class cost nothing, silently."""


class FrozenPredictor(nn.Module):
    """A private copy of a model that stays as it is, whatever is trained around it.

    It is always in eval mode, has no parameters and no state of its own in the eyes of a parent module (so no
    optimiser, weight decay or checkpoint touches it), and lets gradients through to its input. `verify` proves that it
    did not change.

    Args:
        model: any module; it is copied, and the caller's stays untouched.
    Raises:
        ModelError: not a module, one that cannot be copied, or one whose lazy parameters have no shape yet.

    Example:
        >>> import torch
        >>> f = FrozenPredictor(torch.nn.Linear(3, 2))
        >>> list(f.parameters()), f.train().training
        ([], False)
    """

    inner: nn.Module

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise ModelError(f"FrozenPredictor: expected a torch.nn.Module, got {type(model).__name__}")
        inner = copy_of(model.inner if isinstance(model, FrozenPredictor) else model)
        for parameter in inner.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
        object.__setattr__(self, "inner", inner.eval())  # outside _modules: a parent sees no parameter and no state
        super().train(False)
        self._versions = _versions(inner)
        self._held = [name for name, _ in held_tensors(inner)]  # what a forward caches later is no state
        self._sha256 = state_hash(inner, self._held)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's output; gradients flow to the input. Parts of ``inner`` in train mode are put into eval mode.

        Raises:
            FrozenError: a weight was changed in place since the last call.
        """
        if _versions(self.inner) != self._versions:
            self.verify()
        if any(module.training for module in self.inner.modules()):
            self.inner.eval()
        return self.inner(*args, **kwargs)

    @property
    def sha256(self) -> str:
        """Hash over all state, as `state_hash` gives it, as of construction or conversion."""
        return self._sha256

    def verify(self) -> None:
        """Hash the weights again; this also sees changes that autograd's version counters miss (``.data``, numpy).

        Raises:
            FrozenError: the weights are not what they were.
        """
        self._require(state_hash(self.inner, self._held))
        self._versions = _versions(self.inner)

    def train(self, mode: bool = True) -> FrozenPredictor:
        """Stays in eval mode, whatever is asked."""
        self.inner.eval()
        return super().train(False)

    def features(self, x: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """Outputs of named layers for an input, with gradient.

        Args:
            x: (N, ...) input.
            layers: names as in ``model.named_modules()``.
        Returns:
            One tensor a layer, in the order of ``layers``; of a layer that is called several times, the last.
        Raises:
            OptionError: a name that is no layer, or a layer that the model does not call.
            ShapeError: a layer whose output is no tensor.
        """
        modules = dict(self.inner.named_modules())
        for name in layers:
            if name not in modules:
                raise OptionError(f"the predictor has no layer {name!r}. {nearest(name, [n for n in modules if n])}")
        outputs: dict[str, Any] = {}

        def keep(name: str) -> Callable[..., None]:
            return lambda module, args, output: outputs.__setitem__(name, output)

        hooks = [modules[name].register_forward_hook(in_this_thread(keep(name))) for name in layers]
        try:
            self(x)
        finally:
            for hook in hooks:
                hook.remove()
        return [_layer_output(name, outputs) for name in layers]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FrozenPredictor:
        """Follow ``.to()``, ``.double()`` of a parent by hand, since the model is hidden from it; then hash anew.

        Raises:
            FrozenError: the weights were not what they were before they were converted.
        """
        before = [(name, tensor.detach()) for name, tensor in all_tensors(self.inner, self._held)]
        extra = list(extra_states(self.inner))
        places = _places(self.inner)
        self.inner._apply(fn, recurse)
        if _places(self.inner) != places:  # else nothing moved, and the hash stands
            self._require(hash_of(before, extra))
            self._require_converted(before)
            self._sha256 = state_hash(self.inner, self._held)
            self._versions = _versions(self.inner)
        return super()._apply(fn, recurse)

    def _require(self, sha256: str) -> None:
        if sha256 != self._sha256:
            raise FrozenError(
                f"the frozen predictor changed: sha256 was {self._sha256[:12]}…, is {sha256[:12]}…; "
                "something writes to its weights or buffers in place, or its forward changes its own state"
            )

    def _require_converted(self, before: Sequence[tuple[str, Tensor]]) -> None:
        """Refuse a conversion that put other values in the place of the weights, as to_empty() does."""
        for (name, old), (_, new) in zip(before, all_tensors(self.inner, self._held), strict=True):
            moved = old.to(new.device, new.dtype)
            if not torch.equal(moved.nan_to_num(), new.detach().nan_to_num()):
                raise FrozenError(
                    f"the frozen predictor changed: {name} has other values after the conversion; to_empty() of a "
                    "parent drops weights, so use to(device), or build the FrozenPredictor after it"
                )


class PredictionLoss(nn.Module):
    """Reconstructions should be predicted as their originals are: D(f(x), f(x̂)) or ℓ(f(x̂), y).

    The reconstruction goes in WITHOUT the residual x − x̂: with it the input would be x again and the loss constant.

    Args:
        predictor: the frozen f; a plain module is frozen first.
        match: "kl": KL(softmax f(x) ‖ softmax f(x̂)) over at least two logits. "mse": mean squared error of the outputs.
            "features": mean squared error of the outputs of ``layers``, averaged over layers. "label": cross-entropy of
            f(x̂) with integer labels, or mean squared error with floating targets of the output's shape.
        layers: for "features": names as in ``model.named_modules()``.
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

    def __init__(self, predictor: nn.Module, match: Match = "kl", layers: Sequence[str] = (), at: At = None) -> None:
        super().__init__()
        self._losses = {"kl": self._kl, "mse": self._mse, "features": self._features, "label": self._label}
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
        self._reaches = False
        self._inputs: Any = None
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
            ShapeError: shapes that do not fit, an output that is no tensor or not batch first, one logit with "kl", or
                labels that are no class (checked on the CPU only, where it does not wait for a device).
        """
        if len(x_hat) != len(reference) or (self.match != "label" and x_hat.shape != reference.shape):
            raise ShapeError(
                f"PredictionLoss: expected {'targets' if self.match == 'label' else 'originals'} for "
                f"{tuple(x_hat.shape)}, got {tuple(reference.shape)}"
            )
        if (held is None) is not (self.at is None):
            raise OptionError("PredictionLoss: at= and held= go together: where x̂ goes, and all other inputs")
        self._inputs = held
        values = self._losses[self.match](x_hat, reference)
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

    def _output(self, x: Tensor) -> Tensor:
        output = self.predictor(x) if self.at is None else self._with_held(x)
        if not isinstance(output, Tensor):
            raise ShapeError(
                f"PredictionLoss: {self.match!r} expected a tensor from the predictor, got {type(output).__name__}; "
                "wrap it in a module that returns the logits, e.g. one whose forward is return self.model(x)['logits']"
            )
        return output

    def _with_held(self, x: Tensor) -> Any:
        held: Any = self._inputs
        if (
            isinstance(self.at, str)
            and isinstance(held, Mapping)
            and self.at not in dict(self.predictor.inner.named_modules())
        ):
            held = {**held, self.at: x}
        site = Site(self.predictor, held, self.at)
        return site.run(self.predictor, x)

    def _kl(self, x_hat: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            expected = self._output(x)
        if expected.ndim != 2 or expected.shape[1] < 2:
            raise ShapeError(
                f"PredictionLoss: 'kl' needs at least two logits a sample, got an output {tuple(expected.shape)}, "
                "whose softmax would be constant; use match='mse'"
            )
        log_p, log_q = functional.log_softmax(expected, 1), functional.log_softmax(self._output(x_hat), 1)
        return functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)

    def _mse(self, x_hat: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            expected = self._output(x)
        return _squared_error(self._output(x_hat), expected)

    def _features(self, x_hat: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            expected = self.predictor.features(x, self.layers)
        errors = map(_squared_error, self.predictor.features(x_hat, self.layers), expected)
        return torch.stack(list(errors)).mean(0)

    def _label(self, x_hat: Tensor, y: Tensor) -> Tensor:
        output = self._output(x_hat)
        if not y.is_floating_point() and y.ndim == 1 and output.ndim == 2 and output.shape[1] > 1:
            _check_labels(y, output.shape[1])
            return functional.cross_entropy(output, y.long(), reduction="none", ignore_index=_NO_LABEL)
        if y.is_floating_point() and y.shape == output.shape:
            return _squared_error(output, y)
        raise ShapeError(
            f"PredictionLoss: 'label' takes integer labels (N,) for an output (N, K ≥ 2), or floating targets of the "
            f"output's shape {tuple(output.shape)}; got {y.dtype} {tuple(y.shape)}"
        )


def _places(module: nn.Module) -> list[tuple[int, torch.dtype, torch.device]]:
    return [(tensor.data_ptr(), tensor.dtype, tensor.device) for tensor in (*module.parameters(), *module.buffers())]


def _versions(module: nn.Module) -> list[int]:
    return [tensor._version for tensor in (*module.parameters(), *module.buffers())]


def _layer_output(name: str, outputs: dict[str, Any]) -> Tensor:
    if name not in outputs:
        raise OptionError(
            f"the predictor does not call its layer {name!r} in its forward, so it has no output; name a layer that "
            "runs, such as a child of a container"
        )
    output = outputs[name]
    if not isinstance(output, Tensor):
        raise ShapeError(
            f"expected a tensor from the predictor's layer {name!r}, got {type(output).__name__}; name a layer that "
            "returns one, or wrap this one"
        )
    return output


def _check_labels(y: Tensor, classes: int) -> None:
    if y.device.type != "cpu" or not len(y):
        return
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        raise ShapeError(
            f"PredictionLoss: expected labels in 0 … {classes - 1}, got {low} … {high}; leave out samples without label"
        )


def _squared_error(output: Tensor, expected: Tensor) -> Tensor:
    return (output - expected).square().flatten(1).mean(1) if output.ndim > 1 else (output - expected).square()

"""What is refused, warned of, or put back in order around a model that is explained."""

from __future__ import annotations

import cmath
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor, nn

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import ModelError, ShapeError, TrimkitWarning
from trimkit.predictor.graph import custom_functions
from trimkit.predictor.turns import alone, process_wide


def require_callable(model: object) -> None:
    """Refuse what cannot be called.

    Raises:
        ModelError: with what to wrap, where it predicts as scikit-learn's estimators do.
    """
    if not callable(model):
        method = next((name for name in ("decision_function", "predict_proba", "predict") if hasattr(model, name)), "")
        way = "pass a torch module or a function of tensors"
        if method:
            way = (
                f"give lambda x: torch.as_tensor(model.{method}(x.detach().numpy())), and an attribution that takes no "
                "gradients, such as feature_ablation"
            )
        raise ModelError(f"expected a callable model, got {type(model).__name__}; {way}")


def check_input(x: Any) -> None:
    """Refuse what cannot be explained, before any work.

    Raises:
        ShapeError: not a tensor, not floating, complex, without samples or without axes.
    """
    if not isinstance(x, Tensor):
        way = "convert it with torch.as_tensor"
        if isinstance(x, list | tuple) and any(isinstance(part, Tensor) for part in x):
            way = "pass several inputs as a tuple or mapping of tensors, with at= naming what is explained"
        raise ShapeError(f"expected a tensor x (N, ...), got {type(x).__name__}; {way}")
    if x.is_complex():
        raise ShapeError(
            f"expected floating real x, got {x.dtype}; pass torch.view_as_real(x), with a model that takes it, or "
            "explain the spectrum of real data: transform='fft'"
        )
    if not x.is_floating_point():
        raise ShapeError(
            f"expected floating x, got {x.dtype}; convert it as in training, e.g. x.float() / 255, or "
            "explain token ids at their embedding: at='embedding', the path of that module"
        )
    if x.ndim < 2 or 0 in x.shape:
        raise ShapeError(f"expected x (N, ...) with at least one sample and one feature, got {tuple(x.shape)}")
    if x.device.type == "meta":
        raise ShapeError("x is on the device 'meta', which holds no numbers; move data and model to a real device")


def is_finite(x: Tensor) -> bool:
    """Whether a tensor holds no NaN or infinity; by its sum, unless that overflows."""
    return cmath.isfinite(x.detach().sum().item()) or bool(torch.isfinite(x).all())


def warn_of_non_finite(values: Tensor, scores: Tree) -> None:
    """Warn of samples whose scores mean nothing, with the first of them.

    Args:
        values: (N,) the explained number of each sample.
        scores: real leaves (N, ...).
    """
    if is_finite(values) and all(map(is_finite, tree.leaves(scores))):
        return
    bad = ~torch.isfinite(values.detach())
    what, why = "explained output", "a weight or a layer's output overflows or is NaN: call the model on this sample"
    if not bool(bad.any()):
        bad = ~torch.isfinite(tree.rows(scores)).all(1)
        what, why = "score", "a derivative of the model is none there, as of √x or a norm at 0: add a small number to x"
    first = int(bad.nonzero()[0])
    warnings.warn(
        f"expected finite numbers, got NaN or infinity as {what} of sample {first} of the batch ({int(bad.sum())} of "
        f"{len(bad)} samples); their scores mean nothing. Perhaps {why}",
        TrimkitWarning,
        stacklevel=4,
    )


def normal_mode() -> AbstractContextManager[Any]:
    """Within it tensors are made that autograd can use, also under `torch.inference_mode`."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()


_still: WeakSet[nn.Module] = WeakSet()
"""Models that, in eval mode, were seen to write to no buffer and to draw no random number."""


@contextmanager
def unchanged(model: Any, *, watch: bool = True) -> Iterator[None]:
    """Leave a model's buffers, and the global random state where the model could draw from it, as they were.

    In eval mode a model is watched for the first time only, if it changes neither. Within, no other thread explains it.
    Where draws are keyed nothing can be seen of them: such calls do not ``watch``.
    """
    with alone(model):
        modules = list(modules_of(model))
        training = any(module.training for module in modules)
        if not modules or (not training and is_still(model)):
            yield
            return
        with process_wide(), _put_back(model, modules, watched=not training) as changes:
            yield
        if watch and not training and not changes:
            _still.add(model)


@contextmanager
def _put_back(model: nn.Module, modules: Iterable[nn.Module], *, watched: bool) -> Iterator[list[str]]:
    """Put buffers and random states back at the end; the list then says which were touched, if that is watched."""
    buffers = Buffers(modules)
    on_cuda = torch.cuda.is_initialized()
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"} if on_cuda else ()
    host, accelerators = torch.get_rng_state(), [(device, torch.cuda.get_rng_state(device)) for device in devices]
    changes: list[str] = []
    try:
        with buffers.spared() as touched:
            yield changes
        changes += touched
    finally:
        if watched and not torch.equal(host, torch.get_rng_state()):
            changes.append("random state")
        torch.set_rng_state(host)
        for device, state in accelerators:
            torch.cuda.set_rng_state(state, device)


def is_still(model: Any) -> bool:
    """Whether a model was seen, in eval mode, to write to no buffer and to draw no number; a function has neither."""
    return not isinstance(model, nn.Module) or model in _still


class Buffers:
    """The buffers of modules as they are now, for forwards that shall find them so and leave no trace.

    A forward within `spared` reads and writes copies, so that no graph which holds a buffer is spoilt.

    Args:
        modules: each once.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._places = [(m, name) for m in modules for name, b in m._buffers.items() if b is not None]
        now = [module._buffers[name] for module, name in self._places]
        copies = {id(buffer): buffer.detach().clone() for buffer in now if buffer is not None}
        self._values = [copies[id(buffer)] for buffer in now]  # what two modules share stays shared

    @contextmanager
    def spared(self) -> Iterator[list[str]]:
        """Within it, buffers have the values that they had; at its end the list says which were written to."""
        own = [module._buffers[name] for module, name in self._places]
        fresh = {id(value): value.clone() for value in self._values}
        given = [fresh[id(value)] for value in self._values]
        touched: list[str] = []
        self._put(given)
        try:
            yield touched
        finally:
            now = [_buffer(module, name) for module, name in self._places]
            self._put(own)
            for (_, name), after, start, value in zip(self._places, now, given, self._values, strict=True):
                if after is not start or not torch.equal(start, value):
                    touched.append(name)

    def _put(self, buffers: Sequence[Tensor | None]) -> None:
        for (module, name), buffer in zip(self._places, buffers, strict=True):
            module._buffers[name] = buffer


def _buffer(module: nn.Module, name: str) -> Tensor | None:
    """A module's buffer, or None where a forward took it away; TorchScript's buffers have no ``get``."""
    return module._buffers[name] if name in module._buffers else None  # noqa: SIM401


class Survey(NamedTuple):
    """What one walk over a model's modules shows, in the mode that they are in now.

    Attributes:
        training: one of them is in train mode.
        buffers: one in train mode has a buffer.
        mixes: batch normalisation in train mode: a sample's output depends on the rest of its batch.
        drops: dropout in train mode.
        compiled: a part was compiled; compiled code has no second derivative.
        parallel: `DistributedDataParallel`.
        refusal: why second derivatives would be silently wrong; None where they are not.
    """

    training: bool = False
    buffers: bool = False
    mixes: bool = False
    drops: bool = False
    compiled: bool = False
    parallel: bool = False
    refusal: str | None = None


def survey(model: Any) -> Survey:
    """Look at every module of a model once; of a bare function there is nothing to see."""
    training = buffers = mixes = drops = compiled = parallel = False
    refusal: str | None = None
    for module in modules_of(model):
        kind = _kind(type(module))
        compiled |= "_orig_mod" in module._modules or module._compiled_call_impl is not None
        if module.training:
            training = True
            buffers |= bool(module._buffers)
            mixes |= kind == "batch norm"
            drops |= kind == "dropout"
        if kind == "parallel":
            parallel = True
            refusal = _STATIC if getattr(module, "static_graph", False) else refusal
        elif kind == "sharded":
            refusal = _SHARDED
    return Survey(training, buffers, mixes, drops, compiled, parallel, refusal)


def modules_of(model: Any) -> Iterator[nn.Module]:
    """Every module of a model once, in no order that counts; none of a bare function."""
    seen: set[nn.Module] = set()
    waiting: list[nn.Module | None] = [model] if isinstance(model, nn.Module) else []
    while waiting:
        module = waiting.pop()
        if module is not None and module not in seen:
            seen.add(module)
            waiting.extend(module._modules.values())
            yield module


@lru_cache(maxsize=1024)
def _kind(cls: type) -> str:
    names = {base.__name__ for base in cls.__mro__}
    if names & {"FullyShardedDataParallel", "FSDPModule"}:
        return "sharded"
    if "DistributedDataParallel" in names:
        return "parallel"
    if issubclass(cls, nn.modules.batchnorm._BatchNorm):
        return "batch norm"
    return "dropout" if issubclass(cls, nn.modules.dropout._DropoutNd) else ""


_SHARDED = (
    "a penalty under FSDP is refused: its second derivatives fail or are silently wrong; use "
    "DistributedDataParallel, or the training loop of trimkit"
)
_STATIC = (
    "a penalty under DistributedDataParallel(static_graph=True) is refused: its gradients are silently not "
    "reduced across processes; build the wrapper with static_graph=False"
)


def refuse_wrappers(model: Any) -> None:
    """Refuse wrappers whose second derivatives are silently wrong.

    Args:
        model: any, or its `Survey`.
    Raises:
        ModelError: FSDP, or DDP with static_graph=True.
    """
    refusal = (model if isinstance(model, Survey) else survey(model)).refusal
    if refusal:
        raise ModelError(refusal)


def why_not_again(model: Any) -> str | None:
    """Why a model must not be called during backward; None where it may."""
    seen = survey(model)
    if seen.parallel:
        return "DistributedDataParallel cannot be called during the backward pass"
    return "batch normalisation in train mode would count the batch again" if seen.mixes else None


def warn_of_custom_functions(output: Any) -> None:
    """Warn of custom autograd Functions behind an output: only the numeric check can tell whether they are right."""
    try:
        leaves = tree.leaves(output)
    except ShapeError:  # a model's own output class
        return
    names = sorted({name for leaf in leaves for name in custom_functions(leaf)})
    if names:
        warnings.warn(
            f"the model uses custom autograd Functions ({', '.join(names)}), whose second derivative may be silently "
            "wrong; compare with finite differences: trimkit.check_attribution(attribution, model, x, target=…)",
            TrimkitWarning,
            stacklevel=6,
        )


_warned: WeakSet[nn.Module] = WeakSet()  # ids would be given to later models


def warn_of_train_mode(model: Any, *, dropout: bool) -> None:
    """Warn, once for each model, that its mode makes scores that are not those of a sample and a network.

    Args:
        model: in any mode.
        dropout: warn of dropout too; in a training step it is what the user wants.
    """
    if not isinstance(model, nn.Module) or not model.training or model in _warned:
        return
    _warned.add(model)
    seen = survey(model)
    if seen.mixes:
        warnings.warn(
            "the model has batch normalisation in train mode: the gradient of a sample's output also flows to the "
            "other samples of the batch, so scores are not per sample; put these layers in eval mode, or use group or "
            "layer normalisation",
            TrimkitWarning,
            stacklevel=4,
        )
    elif dropout and seen.drops:
        warnings.warn(
            "the model has dropout in train mode: what is explained is one random network; call model.eval() first",
            TrimkitWarning,
            stacklevel=4,
        )

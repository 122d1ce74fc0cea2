"""A penalty for a LightningModule that knows nothing of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from torch import Tensor, nn

from trimkit.errors import DataError, ModelError
from trimkit.objective import Weight, as_schedule
from trimkit.predictor.inputs import Inputs as Explainable
from trimkit.targets import Target
from trimkit.trim import TrimPenalty

try:
    from lightning.pytorch.callbacks import Callback  # type: ignore[import-not-found]
except ImportError as error:
    raise ImportError("trimkit.integrations.lightning needs Lightning: pip install 'trimkit[lightning]'") from error

_ROOT = "_trimkit_root"

Inputs: TypeAlias = Callable[[Any], tuple[Explainable, Target]]
"""A batch → what the explained module is called with, x (N, ...), a tuple or a mapping, of which the penalty's ``at``
names what is explained; and which output is explained."""


def first_two(batch: Any) -> tuple[Explainable, Target]:
    """x and y of a batch (x, y, …); the target is y where it names outputs, and None otherwise.

    It does as whole numbers: classes (N,), of positions (N, T) or (N, H, W), or 0 and 1 (N, K), these also floating.

    Raises:
        DataError: a batch of another form.
    """
    if not isinstance(batch, tuple | list) or len(batch) < 2 or not isinstance(batch[0], Tensor):
        raise DataError(
            f"TrimCallback expected batches (x, y), got {type(batch).__name__}; "
            "say what is explained: inputs=lambda batch: (batch['image'], batch['label'])"
        )
    x, y = batch[:2]
    return x, y if isinstance(y, Tensor) and _names_outputs(y) else None


def _names_outputs(y: Tensor) -> bool:
    if y.ndim == 0 or y.is_complex():
        return False
    if not y.is_floating_point():
        return True
    return y.ndim == 2 and y.shape[1] > 1 and bool(((y == 0) | (y == 1)).all())


class TrimCallback(Callback):
    """Adds ``weight · penalty`` to the loss that an unmodified LightningModule returns from its `training_step`.

        trainer = Trainer(callbacks=[TrimCallback(TrimPenalty("hoyer", transform="fft"), weight=0.1)])

    Where the step calls the explained module on the batch's own x, as in ``self(x)``, that call and the penalty share
    one forward; otherwise the penalty takes a second one. Either way it happens inside the step, so that DDP sees it.
    Several callbacks add several penalties; the first in the list shares the forward.

    Args:
        penalty: what is added.
        weight: a number, a function of the trainer's global step, or its text, see `trimkit.objective.as_schedule`.
        inputs: batch → (x, target).
        module: dotted name of the explained submodule, such as "net"; "" for the LightningModule itself.
        name: under which the unweighted value is logged.
    """

    def __init__(
        self,
        penalty: TrimPenalty,
        weight: Weight = 1.0,
        *,
        inputs: Inputs = first_two,
        module: str = "",
        name: str = "trim",
    ) -> None:
        super().__init__()
        self.penalty = penalty
        self.schedule = as_schedule(weight)
        self.inputs = inputs
        self.module = module
        self.name = name

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Wrap `training_step` for a fit.

        Raises:
            ModelError: manual optimisation, whose loss a callback cannot reach; or no submodule of that name.
        """
        if stage != "fit":
            return
        if not pl_module.automatic_optimization:
            raise ModelError(
                f"TrimCallback cannot add to a loss that {type(pl_module).__name__} optimises manually; call the "
                "penalty in training_step: output, value = penalty(self, x, target=y)"
            )
        explained = _Explained(_submodule(pl_module, self.module))
        original = pl_module.training_step

        @functools.wraps(original)
        def training_step(batch: Any, *args: Any, **kwargs: Any) -> Any:
            x, target = self.inputs(batch)
            with _shared_forward(explained, self.penalty, x, target) as found:
                output = original(batch, *args, **kwargs)
            if output is None:  # the step skips this batch
                return None
            value = found[0] if found else self.penalty.penalise(explained, x, target)
            pl_module.log(self.name, value.detach(), batch_size=_samples(x))
            return _added(output, self._weight(trainer.global_step) * value)

        replaced = pl_module.__dict__.get("training_step")
        setattr(training_step, _ROOT, getattr(replaced, _ROOT, replaced))  # several callbacks wrap one another
        pl_module.training_step = training_step

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Give `training_step` back as it was."""
        wrapped = pl_module.__dict__.get("training_step")
        if stage == "fit" and hasattr(wrapped, _ROOT):
            _restore(pl_module, "training_step", getattr(wrapped, _ROOT))

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Give `training_step` back also where the fit fails, since Lightning then tears nothing down."""
        self.teardown(trainer, pl_module, "fit")

    def _weight(self, step: int) -> float:
        return float(self.schedule(step) if callable(self.schedule) else self.schedule)


class _Explained(nn.Module):
    """A module with the forward that it has besides `_shared_forward`; the penalty calls this one."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.call: Callable[..., Any] = module.forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.training = self.module.training
        return self.call(*args, **kwargs)


@contextmanager
def _shared_forward(
    explained: _Explained, penalty: TrimPenalty, x: Explainable, target: Target
) -> Iterator[list[Tensor]]:
    """Let the module's first call on x return the output of the penalty's own forward, and keep the penalty."""
    module, found = explained.module, []
    replaced = module.__dict__.get("forward")
    explained.call = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if found or not _is_call_of(x, args, kwargs):
            return explained.call(*args, **kwargs)
        output, value = penalty(explained, x, target)
        found.append(value)
        return output

    module.forward = forward
    try:
        yield found
    finally:
        _restore(module, "forward", replaced)


def _is_call_of(x: Explainable, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a module is called on these very inputs: a tensor, positional arguments or keywords."""
    if isinstance(x, Mapping):
        return not args and kwargs.keys() == x.keys() and all(kwargs[name] is x[name] for name in x)
    expected = x if isinstance(x, tuple) else (x,)
    return not kwargs and len(args) == len(expected) and all(a is b for a, b in zip(args, expected, strict=True))


def _samples(x: Explainable) -> int:
    values = x.values() if isinstance(x, Mapping) else x if isinstance(x, tuple) else (x,)
    return next(len(value) for value in values if isinstance(value, Tensor) and value.ndim)


def _restore(owner: Any, name: str, replaced: Any) -> None:
    """Undo the replacement of a method on an instance: back to what the instance had, or to its class's own."""
    if replaced is not None:
        setattr(owner, name, replaced)
    else:
        owner.__dict__.pop(name, None)


def _submodule(pl_module: Any, name: str) -> nn.Module:
    try:
        return pl_module.get_submodule(name)
    except AttributeError as error:
        raise ModelError(f"TrimCallback: {type(pl_module).__name__} has no submodule {name!r}: {error}") from error


def _added(output: Any, value: Tensor) -> Any:
    """What a step returned, its loss increased: a tensor, or a mapping with "loss"."""
    if isinstance(output, Tensor):
        return output + value
    return {**output, "loss": output["loss"] + value}

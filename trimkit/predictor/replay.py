"""The part of a model below an explained layer runs once: what its modules gave is given again, not computed again.

A forward for k · N rows whose layer is replaced needs nothing from below but what goes around the layer (masks, skip
connections). Modules that ended before the layer did cannot depend on it, so each gives the rows that it gave at the
explained point; code between modules still runs. Recorded are the outermost of them, and only where a second forward
with twice the rows shows that their outputs have a row a sample.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from trimkit.predictor.layers import Layer
from trimkit.predictor.rows import map_tensors
from trimkit.predictor.turns import in_this_thread, unwrapped

Key: TypeAlias = tuple[str, int]
"""A module's path, and which of its calls in one forward."""


@dataclass
class Recording:
    """One forward's outputs below a layer.

    Attributes:
        outputs: of the outermost modules that ended before the layer, and of the layer itself.
        changed: one of them was written to afterwards, so giving it again would be another function.
        above: paths of the modules that ended after the layer.
    """

    outputs: dict[Key, Any] = field(default_factory=dict)
    changed: bool = False
    above: set[str] = field(default_factory=set)

    def with_rows(self, rows: int) -> set[Key]:
        """Those whose tensors all have so many rows."""
        return {key for key, output in self.outputs.items() if _has_rows(output, rows)} if not self.changed else set()


@contextmanager
def recording(model: Any, layer: Layer) -> Iterator[Recording]:
    """Record one forward of a model."""
    made, modules = Recording(), dict(unwrapped(model).named_modules())
    running: list[str] = []
    ended: list[tuple[Key, str, Any, list[tuple[Tensor, int]]]] = []
    calls: Counter[str] = Counter()
    open_ = True

    def enter(path: str) -> Callable[..., None]:
        return lambda module, args: running.append(path)

    def leave(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            nonlocal open_
            running.pop()
            if not open_:
                made.above.add(path)
                return
            versions: list[tuple[Tensor, int]] = []
            map_tensors(lambda leaf: versions.append((leaf, _version(leaf))), output)
            copied = map_tensors(lambda leaf: leaf.detach().clone(), output)
            ended.append(((path, calls[path]), running[-1] if running else "", copied, versions))
            calls[path] += 1
            if path == layer.path:
                open_ = False
                above = set(running)
                made.outputs = {key: kept for key, parent, kept, _ in ended if parent in above or key[0] == path}
                made.changed = any(_version(leaf) != version for *_, seen in ended for leaf, version in seen)

        return hook

    with ExitStack() as stack:
        for path, module in modules.items():
            stack.callback(module.register_forward_pre_hook(in_this_thread(enter(path))).remove)
            stack.callback(module.register_forward_hook(in_this_thread(leave(path)), prepend=True).remove)
        yield made


@contextmanager
def replaying(model: nn.Module, outputs: Mapping[Key, Any], keys: Collection[Key], samples: Tensor) -> Iterator[None]:
    """Within it, one forward of the model takes recorded outputs, with the rows of some samples."""
    modules = dict(unwrapped(model).named_modules())
    paths = {path for path, _ in keys}
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(_replaced_forward(modules[path], path, outputs, keys, samples))
        yield


@contextmanager
def _replaced_forward(
    module: nn.Module, path: str, outputs: Mapping[Key, Any], keys: Collection[Key], samples: Tensor
) -> Iterator[None]:
    own, original, call, mine = module.__dict__.get("forward"), module.forward, 0, threading.get_ident()

    def forward(*args: Any, **kwargs: Any) -> Any:
        nonlocal call
        if threading.get_ident() != mine:
            return original(*args, **kwargs)
        key, call = (path, call), call + 1
        if key not in keys:
            return original(*args, **kwargs)
        return map_tensors(lambda leaf: leaf[samples.to(leaf.device)], outputs[key])

    module.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own  # type: ignore[method-assign]


def can_replay(model: Any) -> bool:
    """Whether modules of a model can be given another forward."""
    return isinstance(model, nn.Module) and not any(isinstance(m, torch.jit.ScriptModule) for m in model.modules())


def _version(leaf: Tensor) -> int:
    """How often it was written to; tensors of inference mode are not, outside of it."""
    return 0 if leaf.is_inference() else leaf._version


def _has_rows(output: Any, rows: int) -> bool:
    heads: list[bool] = []
    map_tensors(lambda leaf: heads.append(leaf.ndim > 0 and len(leaf) == rows), output)
    return bool(heads) and all(heads)

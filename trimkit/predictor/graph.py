"""Questions to an autograd graph: what it leads to, and whether it can be differentiated once more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from trimkit.errors import PenaltyError

REMEDIES = {
    "ScaledDotProduct": (
        "attention is not twice differentiable; run the forward under "
        "torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)"
    ),
    "CdistBackwardBackward": (
        "torch.cdist is not twice differentiable; write it out: (a[:, None] - b[None]).square().sum(-1).sqrt()"
    ),
    "CudnnRnn": (
        "cuDNN's RNN is not twice differentiable; run the forward under torch.backends.cudnn.flags(enabled=False)"
    ),
}
"""What to do about operations without a second derivative, by a part of their autograd node's name."""


def missing_second_derivative(value: Tensor) -> str | None:
    """The remedy for the first operation in a graph that autograd cannot differentiate; None where there is none.

    Custom autograd Functions cannot be seen here; only the numeric check finds them.
    """
    names = {node.name() for node in graph_nodes(value)}
    not_implemented = any("NotImplemented" in name for name in names)
    for part, remedy in REMEDIES.items():
        if any(part in name for name in names) and (not_implemented or part.endswith("BackwardBackward")):
            return remedy
    return "an operation of the model has no second derivative in torch" if not_implemented else None


def custom_functions(value: Tensor) -> list[str]:
    """Names of the custom autograd Functions in a graph, sorted; their second derivative can be silently wrong."""
    nodes = (node for node in graph_nodes(value) if isinstance(node, BackwardCFunction))
    functions = {type(node)._forward_cls for node in nodes}  # type: ignore[attr-defined]
    return sorted(f.__name__ for f in functions if not f.__module__.startswith("trimkit.") and f.__name__ not in _RIGHT)


_RIGHT = frozenset({"_DDPSink"})
"""Functions of torch that are the identity: what DistributedDataParallel puts before its outputs."""


def leads_to(value: Tensor, origin: Tensor) -> bool:
    """Whether a value's graph leads to a tensor, a leaf or itself computed."""
    if value is origin or not (value.requires_grad and origin.requires_grad):
        return value is origin
    if origin.grad_fn is None:
        return any(leaf is origin for leaf in graph_leaves(value))
    return any(node == origin.grad_fn for node in graph_nodes(value))


def graph_leaves(value: Tensor) -> Iterator[Tensor]:
    """The leaf tensors (parameters, inputs) that a value's graph leads to."""
    return (node.variable for node in graph_nodes(value) if hasattr(node, "variable"))


def graph_nodes(value: Tensor) -> Iterator[Any]:
    """Every node of the autograd graph behind a value, each once."""
    seen: set[Any] = set()
    waiting = [value.grad_fn] if value.grad_fn is not None else []
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(parent for parent, _ in node.next_functions if parent is not None)


def require_reach(value: Tensor, parameters: Iterable[nn.Parameter], name: str) -> int:
    """Refuse a term that cannot train what it is meant to train.

    Args:
        value: a term with its graph.
        parameters: those that it is meant for; frozen ones do not count.
        name: of the term, for the message.
    Returns:
        How many of the parameters the term's graph leads to; a gradient that is zero all the same (biases of ReLU
        networks) counts as reached.
    Raises:
        PenaltyError: none is reached, with the likely cause.
    """
    meant = [p for p in parameters if p.requires_grad]
    if not meant:
        raise PenaltyError(
            f"{name}: there is nothing to train: every parameter it is meant for is frozen; call requires_grad_(True) "
            "on those that shall learn, or leave the penalty out"
        )
    if not value.requires_grad:
        raise PenaltyError(
            f"{name} has no graph and would train nothing; was it computed under no_grad, or from scores that were "
            "explained without create_graph=True?"
        )
    leaves = {id(leaf) for leaf in graph_leaves(value)}
    count = sum(id(p) in leaves for p in meant)
    if not count:
        raise PenaltyError(
            f"{name} reaches none of the {len(meant)} parameters it is meant for: its gradient would be zero. "
            "Either the model computes the explained output without them (a detach, another module's weights), or the "
            "scores do not depend on them"
        )
    return count

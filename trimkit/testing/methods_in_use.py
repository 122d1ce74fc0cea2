"""What a method promises to those who train it on several processes, average its weights, and audit in its spaces."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from trimkit import processes as _processes
from trimkit.audit import audit
from trimkit.methods import Method
from trimkit.processes import Share, sharing
from trimkit.report.verdicts import Status
from trimkit.testing.methods import (
    ROWS,
    SAMPLES,
    batch_of,
    codes_and_data,
    made,
    prepared,
    samples,
    transforms,
    turns,
)
from trimkit.testing.promises import BrokenPromise, Inapplicable, Trial, gap, network, promise, require

MOST_ROUNDS = 8
"""Gathered rows may depend on rows that were gathered before, in a chain that is no longer."""


@promise("method")
def processes(trial: Trial) -> None:
    """Two processes with half a batch each get the terms that one gets with the whole: draws and statistics by row."""
    method = prepared(trial).train()
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in method.modules()):
        raise Inapplicable("batch normalisation takes the statistics of the rows that a process has")
    halves = _rehearsed(trial, method)
    for phase, terms in _terms(trial, method, Share(0, 1, ROWS)).items():
        for name, expected in terms.items():
            mean = sum(half[phase][name] for half in halves) / len(halves)
            require(
                abs(mean - expected) <= 1e-4 * max(1.0, abs(expected)),
                f"phase {phase!r}: term {name!r} is {expected:.4g} of a batch and {mean:.4g} of its halves; draw with "
                "trimkit.methods.standard_normal, and take statistics of the batch of gather(rows)",
            )


class _Exchange:
    """What `gather` gives to several shares that take their turns in one process: rows that the others sent before.

    Attributes:
        index: of the share whose turn it is.
        before: what each share sent in the round before.
        sent: what each has sent in this round.
    """

    def __init__(self, shares: int) -> None:
        self.index = 0
        self.before: list[list[Tensor]] = [[] for _ in range(shares)]
        self.sent: list[list[Tensor]] = [[] for _ in range(shares)]

    def apply(self, rows: Tensor) -> Tensor:
        """The rows of all shares, this one's own with their graph; −1 for those that another has not sent yet."""
        number = len(self.sent[self.index])
        self.sent[self.index].append(rows.detach())
        parts = [earlier[number] if number < len(earlier) else torch.full_like(rows, -1) for earlier in self.before]
        parts[self.index] = rows
        return torch.cat(parts)

    def settled(self) -> bool:
        """Whether this round has sent what the one before had, so that every share saw the others' rows."""
        return [gap(*pair) for pair in zip(self.sent, self.before, strict=True)] == [0.0] * len(self.sent)

    def next_round(self) -> None:
        """Begin a round in which the others' rows are those of this one."""
        self.before, self.sent = self.sent, [[] for _ in self.sent]


def _rehearsed(trial: Trial, method: Method) -> list[dict[str, dict[str, float]]]:
    """The terms that each of two processes gets, without starting any."""
    exchange, honest = _Exchange(2), _processes._Gather
    _processes._Gather = exchange  # type: ignore[misc, assignment]
    try:
        for _ in range(MOST_ROUNDS):
            found = []
            for exchange.index in range(2):
                found.append(_terms(trial, method, Share(exchange.index, 2, ROWS // 2, processes=2)))
            if exchange.settled():
                return found
            exchange.next_round()
    finally:
        _processes._Gather = honest  # type: ignore[misc]
    raise BrokenPromise("what it gathers differs each time; draw from the generator that the loss is given")


def _terms(trial: Trial, method: Method, share: Share) -> dict[str, dict[str, float]]:
    """Phase → term → its mean over a share of a batch."""
    with sharing(share):
        taken = list(turns(trial, copy.deepcopy(method), share.index * share.rows, share.rows))
    return {
        phase.name: {name: float(term.values.detach().mean()) for name, term in result.terms.items()}
        for phase, _, result in taken
    }


@promise("method")
def averages(trial: Trial) -> None:
    """Codes, data and samples come from the weights as they are now: an average that is put in their place counts."""
    method, twin = prepared(trial).eval(), made(trial)
    twin.load_state_dict(method.state_dict())
    batch = batch_of(trial, method, slice(3))
    before = codes_and_data(method, batch)  # whoever keeps weights aside does so now, at the latest
    for each in (method, twin):
        with torch.no_grad():
            for parameter in each.parameters():
                parameter.mul_(0.7)
    if not any(True for _ in method.parameters()):
        raise Inapplicable("it has no parameters")
    changed = codes_and_data(method, batch)
    for (does, space), value in codes_and_data(twin, batch).items():
        name = f"{does} {'to' if does == 'encode' else 'from'} {space!r}"
        require(
            gap(changed[does, space], value) <= 1e-5,
            f"{name} of changed weights is that of other weights; keep nothing that is computed from parameters "
            "between calls, and no second reference to their values",
        )
        require(before[does, space].shape == value.shape, f"{name} changes its shape with the weights")


@promise("method")
def audited(trial: Trial) -> None:
    """A model is audited in each space that encodes and decodes: its explanation repeats, and the data come back."""
    method = prepared(trial).eval()
    data = samples(trial, method)
    model = network(method.shape, outputs=2)
    for transform in transforms(method):
        where = f"space {transform.space.name!r}"
        report = audit(model, data, transform=transform, samples=SAMPLES // 2, checks=["reproducibility"])
        (verdict,) = report.verdicts
        wrong = verdict.status in (Status.FAIL, Status.NOT_APPLICABLE)
        require(not wrong, f"{where}: {verdict.sentence} Draw nothing in encode and decode of a space in eval mode")

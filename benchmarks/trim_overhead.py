"""What `Trim` and `TrimPenalty` cost beside the same lines written by hand, on models so small that nothing hides it.

All candidates of a table run in one process, interleaved, and each ratio is the median over rounds of the ratio within
a round, of processor time. The models are warm: what is examined once a model is counted apart, in its forwards.
"""

from __future__ import annotations

import argparse
import functools
import time
import warnings
from collections.abc import Callable

import torch
from _timing import interleaved, print_table, ratio
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trimkit

CALLS = 10
"""Calls in one measurement: one alone is near the resolution of a shared machine."""

AIM = 1.3


class Named(nn.Module):
    """A model of keywords, of which one is explained."""

    def __init__(self) -> None:
        super().__init__()
        self.body = perceptron()

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """(N, 16), (N, 16) → (N, 3)."""
        return self.body(values * mask)


def perceptron() -> nn.Sequential:
    """16 → 32 → 3, the model of a first try."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 3))


def explained_by_hand(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Input × gradient."""
    s = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model(s).gather(1, y[:, None]).sum(), s)
    return (gradient * s).detach()


def explanation(batch: int) -> dict[str, Callable[[], object]]:
    """Linear(8, 3): one multiplication, so that all else shows."""
    torch.manual_seed(0)
    model, x, y = nn.Linear(8, 3), torch.randn(batch, 8), torch.randint(3, (batch,))
    trim = trimkit.Trim(model, attribution="input_x_gradient")
    return {"by hand": lambda: explained_by_hand(model, x, y), "Trim": lambda: trim(x, y)}


def step(model: nn.Module, penalised: Callable[[], tuple[Tensor, Tensor]], y: Tensor) -> Callable[[], None]:
    """Loss and backward of one training step."""

    def run() -> None:
        model.zero_grad()
        logits, value = penalised()
        (cross_entropy(logits, y) + 0.1 * value).backward()

    return run


def penalised_by_hand(model: Callable[[Tensor], Tensor], s: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The L1 norm of input × gradient, with what the model makes of s."""
    s = s.detach().requires_grad_()
    logits = model(s)
    (gradient,) = torch.autograd.grad(logits.gather(1, y[:, None]).sum(), s, create_graph=True)
    scores = (gradient.conj() * s).real if s.is_complex() else gradient * s
    return logits, scores.abs().flatten(1).sum(1).mean()


def at_the_input(batch: int, transform: str) -> dict[str, Callable[[], object]]:
    """A penalised step of the perceptron in a space."""
    model, x, y = perceptron(), torch.randn(batch, 16), torch.randint(3, (batch,))
    penalty = trimkit.TrimPenalty("l1", transform=transform)

    def by_hand() -> tuple[Tensor, Tensor]:
        if transform == "identity":
            return penalised_by_hand(model, x, y)
        spectrum = torch.fft.rfft(x, norm="ortho")
        return penalised_by_hand(lambda s: model(torch.fft.irfft(s, n=16, norm="ortho")), spectrum, y)

    return {"by hand": step(model, by_hand, y), "TrimPenalty": step(model, lambda: penalty(model, x, y), y)}


def with_a_mapping(batch: int) -> dict[str, Callable[[], object]]:
    """A penalised step of a model of keywords."""
    model, y = Named(), torch.randint(3, (batch,))
    given = {"values": torch.randn(batch, 16), "mask": torch.ones(batch, 16)}
    penalty = trimkit.TrimPenalty("l1", at="values")

    def by_hand() -> tuple[Tensor, Tensor]:
        return penalised_by_hand(lambda s: model(values=s, mask=given["mask"]), given["values"], y)

    return {"by hand": step(model, by_hand, y), "TrimPenalty": step(model, lambda: penalty(model, given, y), y)}


def at_a_layer(batch: int) -> dict[str, Callable[[], object]]:
    """A penalised step at what the first layer and its activation give."""
    model, x, y = perceptron(), torch.randn(batch, 16), torch.randint(3, (batch,))
    penalty = trimkit.TrimPenalty("l1", at="1")

    def by_hand() -> tuple[Tensor, Tensor]:
        h = model[:2](x)
        logits = model[2](h)
        (gradient,) = torch.autograd.grad(logits.gather(1, y[:, None]).sum(), h, create_graph=True)
        return logits, (gradient * h).abs().sum(1).mean()

    return {"by hand": step(model, by_hand, y), "TrimPenalty": step(model, lambda: penalty(model, x, y), y)}


class Counted(nn.Module):
    """A model that counts the rows it is called with."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.rows = model, 0

    def forward(self, x: Tensor) -> Tensor:
        """As the model."""
        self.rows += len(x)
        return self.model(x)


def forwards_of(attribution: str, batch: int = 32) -> tuple[float, float]:
    """Forwards (rows / N) of the first and of the second explanation of a model."""
    model, x = Counted(perceptron()), torch.randn(batch, 16)
    trim = trimkit.Trim(model, attribution=attribution)
    counts = []
    for _ in range(2):
        model.rows = 0
        trim(x, 0)
        counts.append(model.rows / batch)
    return counts[0], counts[1]


def seconds_of_first_calls(rounds: int, batch: int = 32) -> dict[str, list[float]]:
    """Seconds of the first penalised call of a model, of the second, and of a plain forward."""
    x, y = torch.randn(batch, 16), torch.randint(3, (batch,))
    seconds: dict[str, list[float]] = {"a forward": [], "first call": [], "second call": []}
    for _ in range(rounds):
        model, penalty = perceptron(), trimkit.TrimPenalty("l1")
        call = functools.partial(penalty, model, x, y)
        for name, run in zip(seconds, (functools.partial(model, x), call, call), strict=True):
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def compare(title: str, candidates: dict[str, Callable[[], object]], rounds: int) -> None:
    """Time candidates and print their ratios to the first."""

    def repeated(run: Callable[[], object]) -> Callable[[], object]:
        return lambda: [run() for _ in range(CALLS)]

    seconds = interleaved({name: repeated(run) for name, run in candidates.items()}, rounds, clock=time.process_time)
    print_table(f"{title}, {CALLS} calls", seconds, "by hand", dict.fromkeys(list(candidates)[1:], f"aim ≤ {AIM}"))


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for batch in (4096, 32):
        compare(f"input × gradient of Linear(8, 3), batch {batch}", explanation(batch), rounds)
    for transform in ("identity", "fft"):
        compare(f"penalised step of a perceptron, {transform}, batch 32", at_the_input(32, transform), rounds)
    compare("penalised step, inputs by keyword, batch 32", with_a_mapping(32), rounds)
    compare("penalised step, at a layer, batch 32", at_a_layer(32), rounds)
    seconds = seconds_of_first_calls(rounds)
    extra = (ratio(seconds, "first call", "a forward")) - ratio(seconds, "second call", "a forward")
    print(f"\nonce a model, TrimPenalty examines it: {extra:.1f} forwards of this perceptron in time, 0 in calls of it")
    print("forwards of the first and of every later explanation (once a model: whether rows are samples)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", trimkit.TrimkitWarning)
        for attribution in ("input_x_gradient", "integrated_gradients", "feature_ablation"):
            first, later = forwards_of(attribution)
            print(f"{attribution:36}{first:9.2f}{later:9.2f}  once a model: {first - later:.2f}, aim ≤ 2")


if __name__ == "__main__":
    main()

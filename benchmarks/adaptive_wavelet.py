"""A step of adaptive wavelet distillation: trimkit's frozen-predictor path, the same by autograd, and `awave` 0.1.

db5, four levels, batches of 100 signals of 64 entries, saliency with residual, all constraint terms. `awave` is the
code of Ha et al. 2021; it is never a dependency. To compare with it, make it importable for this run only:

    pip install --no-deps --target AWAVE awave==0.1 && PYTHONPATH=AWAVE python benchmarks/adaptive_wavelet.py
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
from collections.abc import Callable

import torch
from _timing import interleaved, print_table, ratio
from torch import Tensor, nn

from trimkit.transforms import AdaptiveWavelet
from trimkit.trim.distill import AwdWeights, awd_terms, input_gradients

ENTRIES, BATCH, SAMPLES = 64, 100, 2000
WEIGHTS = AwdWeights(coefficients=1e-5, scores=0.1)


def predictors() -> dict[str, nn.Module]:
    """The published one, and one of realistic size for signals."""
    torch.manual_seed(0)
    published = nn.Sequential(
        nn.Flatten(), nn.Linear(ENTRIES, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
    )
    convolutional = nn.Sequential(
        nn.Conv1d(1, 32, 7, padding=3), nn.ReLU(), nn.Conv1d(32, 64, 5, padding=2, stride=2), nn.ReLU(),
        nn.Conv1d(64, 64, 5, padding=2, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(64 * 16, 64), nn.ReLU(), nn.Linear(64, 1),
    )  # fmt: skip
    return {"64-32-32-1, ReLU": published.eval(), "three convolutions": convolutional.eval()}


def ours(model: nn.Module, x: Tensor, *, cached: bool) -> Callable[[], None]:
    """One step; ∇f from the cache, or computed anew."""
    transform = AdaptiveWavelet("db5", 4, unit_norm=False)
    optimiser = torch.optim.Adam(transform.parameters(), 1e-3, fused=True)
    gradients = input_gradients(model, x)

    def step() -> None:
        rows = torch.randint(len(x), (BATCH,))
        g = gradients[rows] if cached else input_gradients(model, x[rows])
        optimiser.zero_grad()
        WEIGHTS.total(awd_terms(transform, x[rows], g)).backward()
        optimiser.step()

    return step


def theirs(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """One step of `awave`'s own trainer. With today's torch its loss is complex; a step needs the real part."""
    from awave.losses import Loss  # type: ignore[import-not-found]
    from awave.transform1d import DWT1d  # type: ignore[import-not-found]
    from awave.utils.train import Trainer  # type: ignore[import-not-found]

    class RealLoss(Loss):
        def __call__(self, *args: object, **options: object) -> Tensor:
            return super().__call__(*args, **options).real

    transform = DWT1d(wave="db5", mode="zero", J=4)
    optimiser = torch.optim.Adam(transform.parameters(), 1e-3)
    loss = RealLoss(lamL1wave=WEIGHTS.coefficients, lamL1attr=WEIGHTS.scores)
    trainer = Trainer(model, transform, optimiser, loss, target=0, device="cpu", attr_methods="Saliency")

    def step() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            trainer._train_iteration(x[torch.randint(len(x), (BATCH,))])

    return step


def candidates(model: nn.Module, x: Tensor) -> dict[str, Callable[[], None]]:
    """The steps that are compared; without `awave` where it cannot be imported."""
    steps = {"trimkit, ∇f cached": ours(model, x, cached=True), "trimkit, ∇f anew": ours(model, x, cached=False)}
    with contextlib.suppress(ImportError):
        steps["awave"] = theirs(model, x)
    return steps


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for name, model in predictors().items():
        x = torch.randn(SAMPLES, 1, ENTRIES)
        seconds = interleaved(candidates(model, x), rounds)
        print_table(f"one step, predictor {name}, batch {BATCH}", seconds, "trimkit, ∇f cached")
        once = interleaved({"once": lambda model=model, x=x: input_gradients(model, x)}, 5)["once"]
        print(f"∇f of {SAMPLES} samples, once: {1000 * statistics.median(once):.1f} ms")
        if "awave" in seconds:
            print(f"awave / trimkit: {ratio(seconds, 'awave', 'trimkit, ∇f cached'):.2f} (aim ≥ 2)")
        else:
            print("awave cannot be imported, see --help: not compared")


if __name__ == "__main__":
    main()

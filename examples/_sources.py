"""Data with known sources, and what codes are compared with there: scores, ceilings, baselines."""

from __future__ import annotations

from typing import Any

import torch
from _seeds import spread
from torch import Tensor

import trimkit
from trimkit.data import Dataset, load
from trimkit.metrics.independence import mcc_baselines, mean_correlation

DATA: dict[str, dict[str, Any]] = {
    "nonstationary": {"segments": 40, "observations": 1000, "layers": 3, "repeat": True},
    "imca": {"segments": 20, "observations": 2000, "layers": 4},
}

SMALL = {"segments": 4, "observations": 50}
"""What --small makes of either."""

KINDS = ("pearson", "spearman")


def fit_truth(network: torch.nn.Module, train: Dataset, test: Dataset, steps: int, size: int) -> dict[str, float]:
    """Least squares on the true sources with the same steps and rate: the correlations that the network can reach."""
    assert train.sources is not None
    assert test.sources is not None
    draws, optimiser = torch.Generator().manual_seed(0), torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(train), (size,), generator=draws)
        loss = (network(train.x[rows]) - train.sources[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.inference_mode():
        return correlations(network(test.x[:]), test.sources)


def splits(name: str, seed: int, *, small: bool) -> tuple[Dataset, Dataset]:
    """Training and held-out rows."""
    options = {**DATA[name], "seed": seed, **(SMALL if small else {})}
    return load(name, "train", **options), load(name, "test", **options)


@torch.inference_mode()
def scores(method: trimkit.methods.Method, data: Dataset, space: str, magnitudes: bool) -> dict[str, float]:
    """MCC of the posterior means."""
    assert data.sources is not None
    codes = method.eval().encode(data.x[:], data.aux, space).mean
    return correlations(codes, data.sources.abs() if magnitudes else data.sources)


def correlations(codes: Tensor, truth: Tensor) -> dict[str, float]:
    """MCC by Pearson's and Spearman's correlation."""
    return {kind: mean_correlation(codes, truth, kind=kind, draws=0).value for kind in KINDS}


def baselines(name: str, seeds: list[int], *, small: bool) -> None:
    """Print what needs no training, on the same rows."""
    for magnitudes in (False, True) if name == "nonstationary" else (False,):
        values: dict[str, list[list[float]]] = {}
        for train, test in (splits(name, seed, small=small) for seed in seeds):
            for column, kind in enumerate(KINDS):
                given: dict[str, Any] = {"fitted_to": train.x, "magnitudes": magnitudes, "kind": kind, "draws": 0}
                for label, result in mcc_baselines(test.x, test.sources, **given).items():
                    draws = (result.parts or {}).get("draws", [result.value])
                    values.setdefault(label, [[], []])[column] += draws
        for label, columns in values.items():
            print(line(label + (", with |s|" if magnitudes else ""), columns))


def line(label: str, columns: list[list[float]], note: str = "") -> str:
    """A line of the table: median [smallest, largest] of each column."""
    return f"  {label:34}" + "".join(f"{spread(values):>24}" for values in columns) + note

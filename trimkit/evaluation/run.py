"""``trimkit.evaluate``: what a run, a method or any encoder is worth on data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from trimkit.data import Dataset, as_dataset
from trimkit.data.collect import Source
from trimkit.errors import OptionError
from trimkit.evaluation.encoder import evaluate_encoder
from trimkit.evaluation.generation import Features, evaluate_samples
from trimkit.evaluation.independence import add_independence, training_data
from trimkit.evaluation.own import evaluate_own
from trimkit.evaluation.representation import Evaluation, Settings, evaluate_run, load_for_evaluation
from trimkit.methods import Method, load_method
from trimkit.metrics.arrays import FEWEST

Evaluated: TypeAlias = str | os.PathLike[str] | Method | Callable[[Any], Any]
"""Folder of a run, a trained method, or an encoder: samples (n, ...) → codes (n, D)."""


def evaluate(
    run_or_encoder: Evaluated,
    data: Source,
    *,
    split: str | None = None,
    space: str | None = None,
    samples: int = 10_000,
    protocol: str = "quick",
    seed: int = 0,
    baselines: bool = False,
    features: Features | None = None,
    device: str | torch.device = "cpu",
    allow_code: bool = False,
) -> Evaluation:
    """How disentangled codes are, how they correlate with true sources, or how near generated samples are to data.

    Args:
        run_or_encoder: folder of a run, a trained method, or any function (n, ...) → (n, D) of a batch of samples, such
            as a module, which is put on the device and into evaluation mode.
        data: a `Dataset`, samples, (x, y), a name, file or folder, a PyTorch dataset or loader, a list, an iterable of
            batches: what `trimkit.data.as_dataset` takes.
        split: of data given by name; by default all, where a dataset has that, else test, else train. What other data
            are called: "train" for those of training, else "given".
        space: latent space of a method; its first by default.
        samples: at most so many, ≥ 20.
        protocol: "quick", or "dlib" as disentanglement_lib, which takes many minutes.
        seed: of every draw, ≥ 0.
        baselines: also the metrics of a random projection, PCA and ICA of the data.
        features: of a frozen predictor, see `make_features`: what a method generates is compared with the data instead.
        device: of the encoder.
        allow_code: import the functions that a run was made with, such as networks.
    Returns:
        Metrics with 95 % intervals, and notes on what the data did not allow.
    Raises:
        OptionError: an option out of range, or that an encoder does not have.
        ModelError, DataError: a run or encoder without codes or samples, or data that do not fit it.

    Example:
        >>> import trimkit
        >>> evaluation = trimkit.evaluate(lambda x: x[:, :4], "toy-factors", samples=300)
        >>> evaluation.settings["samples"], "dci_disentanglement" in evaluation.metrics
        (300, True)
    """
    if samples < FEWEST:
        raise OptionError(f"samples: expected at least {FEWEST}, got {samples}")
    if seed < 0:
        raise OptionError(f"seed: expected a number ≥ 0, got {seed}")
    settings = Settings(samples, protocol, seed, baselines)
    if isinstance(run_or_encoder, str | os.PathLike):
        folder = Path(run_or_encoder)
        method = load_method(folder, allow_code=allow_code)
    elif isinstance(run_or_encoder, Method):
        folder, method = None, run_or_encoder
    elif space is not None or features is not None:
        raise OptionError("space and features are for a run or a method; an encoder has one space, and no samples")
    else:
        rows = _take(data, split)
        if isinstance(run_or_encoder, nn.Module):
            run_or_encoder = run_or_encoder.to(device).eval()
        return evaluate_encoder(run_or_encoder, rows, settings, device=device)
    rows = _take(data, split, method.shape)
    if features is not None:
        return evaluate_samples(folder, method, rows, settings, features, space=space, device=device)
    train = training_data(str(data), rows) if isinstance(data, str | os.PathLike) else rows
    if (own := evaluate_own(folder, method, rows, settings, train, device=device)) is not None:
        return own
    evaluation = evaluate_run(folder, method, rows, settings, space=space, device=device)
    return add_independence(evaluation, method, rows, settings, train, space=space, device=device)


def _take(data: Source, split: str | None, shape: tuple[int, ...] = ()) -> Dataset:
    """Data in any form; those of a name in the split that suits metrics best."""
    if isinstance(data, str | os.PathLike):
        return load_for_evaluation(str(data), split)
    return as_dataset(data, split or "given", shape=shape)

"""The files of a finished run: results, weights, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from PIL.Image import open as open_image
from torch import Tensor

from trimkit.data import Dataset
from trimkit.methods import Method, stored
from trimkit.storage import write_atomically
from trimkit.training.evaluate import Evaluation
from trimkit.training.pictures import (
    draw_cells,
    draw_kl,
    reconstruction_grid,
    sample_grid,
    save_film,
    save_traversal_film,
    traversal_grid,
)
from trimkit.training.run_folder import RunFolder
from trimkit.training.runner import in_eval_mode

SHOWN = 10
"""Samples in the picture of reconstructions, and in each row of generated ones."""

DRAWN = 4
"""Rows of generated samples."""

COLUMNS = 8
"""Samples in each row of what a method exhibits."""

PICTURES = "pictures"
"""The folder of pictures in training."""

SPREAD = 512
"""Samples from which a latent's spread is taken for traversals."""


def write_outcome(folder: RunFolder, evaluation: Evaluation, results: Mapping[str, Any], data: Dataset) -> None:
    """Write results.json, method.json, model.safetensors and the pictures that the method's first space allows.

    Args:
        folder: of the run.
        evaluation: of the trained method.
        results: plain values.
        data: for the pictures.
    """
    method = evaluation.method
    folder.write_json("results.json", results)
    folder.write(stored.RECORD, json.dumps(stored.record(method), indent=2))
    write_atomically(folder.working / stored.WEIGHTS, stored.weights(method))
    kl = results["train"].get("kl_per_dimension")
    if kl:
        draw_kl(kl, method.space().groups.names, folder.working / "kl_per_dimension.png")
    x = evaluation.engine.place(data.some(SPREAD).x[:])
    with in_eval_mode(method):
        for name, picture in _pictures(evaluation, x, kl).items():
            picture.save(folder.working / f"{name}.png")
        for name, samples in method.exhibits().items():
            draw_cells(list(samples.values()), list(samples), COLUMNS).save(folder.working / f"{name}.png")
        if _can_traverse(evaluation, x):
            save_traversal_film(method, x, folder.working / "traversals.gif", kl)
    _film_training(folder.working)


def draw_progress(folder: RunFolder, evaluation: Evaluation, data: Dataset, step: int) -> None:
    """Write the pictures of a method in training, ``pictures/step-00000500-traversals.png`` and so on.

    The latents are in their own order, so that each keeps its row over the training.

    Args:
        folder: of the run.
        evaluation: of the method as it is.
        data: for the pictures.
        step: that is done.
    """
    (folder.working / PICTURES).mkdir(exist_ok=True)
    x = evaluation.engine.place(data.some(SPREAD).x[:])
    with in_eval_mode(evaluation.method):
        for name, picture in _pictures(evaluation, x).items():
            picture.save(folder.working / PICTURES / f"step-{step:08d}-{name}.png")


def _pictures(evaluation: Evaluation, x: Tensor, kl: Sequence[float] | None = None) -> dict[str, Image]:
    """What can be shown of a method, by name."""
    if not evaluation.can_reconstruct:
        return _drawn(evaluation, x)
    found = {"reconstructions": reconstruction_grid(x[:SHOWN], evaluation.reconstruct(x[:SHOWN]))}
    if _can_traverse(evaluation, x):
        found["traversals"] = traversal_grid(evaluation.method, x, kl)
    return found


@torch.no_grad()
def _drawn(evaluation: Evaluation, x: Tensor) -> dict[str, Image]:
    """Samples of a method that cannot reconstruct: of the same numbers each time, so that a film shows them change."""
    method = evaluation.method
    if type(method).sample is Method.sample or method.space().needs_aux:
        return {}
    drawn = method.sample(DRAWN * len(x[:SHOWN]), evaluation.engine.generator("pictures"))
    return {"samples": sample_grid(x[:SHOWN], drawn)}


def _can_traverse(evaluation: Evaluation, x: Tensor) -> bool:
    return evaluation.can_reconstruct and len(evaluation.method.space().shape) == 1 and len(x) > 1


def _film_training(folder: Path) -> None:
    """The pictures over the training as one film: of the first kind that there is."""
    kinds = (sorted((folder / PICTURES).glob(f"*-{kind}.png")) for kind in ("traversals", "reconstructions", "samples"))
    if paths := next(filter(None, kinds), None):
        frames = [open_image(path).convert("RGB") for path in paths]
        save_film(frames, folder / "training.gif", milliseconds=max(80, 8000 // len(frames)))

"""The files of a finished run: results, weights, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trimkit.data import Dataset
from trimkit.methods import stored
from trimkit.training.checkpoint import write_atomically
from trimkit.training.evaluate import Evaluation
from trimkit.training.loop import in_eval_mode
from trimkit.training.pictures import draw_kl, reconstruction_grid, traversal_grid
from trimkit.training.run_folder import RunFolder

SHOWN = 10
"""Samples in the picture of reconstructions."""

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
    folder.write("results.json", json.dumps(results, indent=2))
    folder.write(stored.RECORD, json.dumps(stored.record(method), indent=2))
    write_atomically(folder.working / stored.WEIGHTS, stored.weights(method))
    kl = results["train"].get("kl_per_dimension")
    if kl:
        draw_kl(kl, method.space().groups.names, folder.working / "kl_per_dimension.png")
    if not evaluation.can_reconstruct:
        return
    x = evaluation.engine.place(data.x[:SPREAD])
    with in_eval_mode(method):
        grid = reconstruction_grid(x[:SHOWN], evaluation.reconstruct(x[:SHOWN]))
        grid.save(folder.working / "reconstructions.png")
        if len(method.space().shape) == 1 and len(x) > 1:
            traversal_grid(method, x, kl).save(folder.working / "traversals.png")

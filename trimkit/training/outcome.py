"""What a trained method achieves on data, and the files of a finished run: results, weights, pictures."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from PIL.Image import open as open_image
from torch import Tensor

from trimkit.data import Dataset
from trimkit.errors import TrimkitError, TrimkitWarning
from trimkit.methods import Batch, Method, decode_codes, stored, summarise_kl
from trimkit.predictor import FrozenPredictor
from trimkit.storage import write_atomically
from trimkit.training.engine import Engine
from trimkit.training.feeding import epoch_order, make_batch
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
from trimkit.training.runner import PhaseRunner, Position, in_eval_mode

DECOMPOSED = 2048
"""Posteriors among which the parts of the KL are estimated: each is compared with each."""

ACTIVE = 0.1
"""KL in nats from which a latent counts as used."""

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


def batches(data: Dataset, engine: Engine, size: int, draws: int = 1) -> Iterator[Batch]:
    """Samples on the device, in batches of about equal size: none is left with one sample.

    Args:
        data: of N samples.
        engine: whose device it is.
        size: of a batch, at most; 2 may be 3.
        draws: 2 for a second draw of each batch: the same samples in a fixed random order.
    """
    number = -(-len(data) // size) if size != 2 else max(len(data) // 2, 1)
    seconds = epoch_order(len(data), 0, 0, "second order").tensor_split(number)
    for index, second in zip(torch.arange(len(data)).tensor_split(number), seconds, strict=True):
        batch = make_batch(data, index, engine.place)
        yield batch if draws == 1 else replace(batch, other=make_batch(data, second, engine.place))


@dataclass(frozen=True)
class Evaluation:
    """Numbers of a method on data.

    Attributes:
        method: trained.
        engine: where it runs.
        batch_size: of the evaluation: that of a turn in training, so that terms see as many samples as there.
        runner: of the phase whose terms are shown: the one that trains the decoder, or the first; None without phases.
        predictor: the frozen f, or None.
        step: the run's last, from 0, for schedules inside a term.
        most: samples that it looks at.
        warned: warnings that were given, and are not given again.
    """

    method: Method
    engine: Engine
    batch_size: int
    runner: PhaseRunner | None = None
    predictor: FrozenPredictor | None = None
    step: int = 0
    most: int = 4096
    warned: set[str] = field(default_factory=set)

    def numbers(self, data: Dataset) -> dict[str, Any]:
        """Samples seen, `terms`, `readings` and `kl_parts` where they exist, and the error of reconstructions.

        Warns:
            TrimkitWarning: terms that cannot be computed on the data, such as a comparison of samples on a single one;
                they are left out, and no training is lost for them.
        """
        size, data = len(data), data.some(self.most)
        results: dict[str, Any] = {"samples": len(data)}
        with in_eval_mode(self.method), self.engine.global_randomness("evaluation"):
            if self.runner is not None:
                results |= self._possible_terms(data, self.runner)
            if self.can_reconstruct:
                results["squared_error"] = self.squared_error(data)
                results |= {} if self.predictor is None else {"predictor": self.readings(data, self.predictor)}
                results |= {"kl_decomposition": parts} if (parts := self.kl_parts(data, size)) else {}
        return results

    @property
    def can_reconstruct(self) -> bool:
        """True where the first latent space can be encoded to and decoded from data, with aux in both ways or none."""
        space = self.method.space()
        return space.can_encode and space.can_decode and space.needs_aux == space.decoding_needs_aux

    @torch.no_grad()
    def reconstruct(self, x: Tensor, aux: Tensor | None = None) -> Tensor:
        """decode(encode(x).mean): (N, *shape) → (N, *shape)."""
        return decode_codes(self.method, self.method.encode(x, aux).mean, self.method.space(), aux)

    def _possible_terms(self, data: Dataset, runner: PhaseRunner) -> dict[str, Any]:
        try:
            return self.terms(data, runner)
        except TrimkitError as error:
            message = (
                f"the terms of phase {runner.phase.name!r} are left out of the results on {data.name!r} "
                f"({data.split}), where they cannot be computed: {error}"
            )
            if message not in self.warned:
                self.warned.add(message)
                warnings.warn(message, TrimkitWarning, stacklevel=3)
            return {}

    def terms(self, data: Dataset, runner: PhaseRunner) -> dict[str, Any]:
        """Means of a phase's terms and diagnostics.

        Returns:
            Name → mean, or a list for diagnostics with several entries; "active_latents" where the KL of each is known.
        """
        sums: dict[str, Tensor] = {}
        for number, batch in enumerate(batches(data, self.engine, self.batch_size, runner.phase.draws)):
            result = runner.terms(batch, self.engine, Position(self.step, -1, number))
            values = {**{name: term.mean for name, term in result.terms.items()}, **result.diagnostics}
            for name, value in values.items():
                sums[name] = sums.get(name, 0) + len(batch) * value.detach().double().cpu()
        means: dict[str, Any] = {name: (value / len(data)).tolist() for name, value in sums.items()}
        if "kl_per_dimension" in means:
            means["active_latents"] = sum(kl > ACTIVE for kl in means["kl_per_dimension"])
        return means

    def loss(self, numbers: Mapping[str, Any], step: int) -> float:
        """Σ weight · mean of the terms among `numbers`, with the weights of a step; NaN where a term is missing."""
        assert self.runner is not None
        objective = self.runner.objective
        return sum(objective.weight(name, step) * numbers.get(name, math.nan) for name in objective.weights)

    def squared_error(self, data: Dataset) -> float:
        """Mean squared error a value of reconstructions at the posterior mean."""
        errors = [
            (self.reconstruct(batch.x, batch.aux) - batch.x).square().flatten(1).mean(1)
            for batch in batches(data, self.engine, self.batch_size)
        ]
        return float(torch.cat(errors).double().mean())

    @torch.no_grad()
    def kl_parts(self, data: Dataset, size: int) -> dict[str, Any]:
        """The KL in mutual information, total correlation and dimension-wise KL, see `trimkit.methods.summarise_kl`.

        Args:
            data: of which 2048 samples at most are compared.
            size: number of samples of the whole data.
        Returns:
            The parts in nats, with estimator and sizes; empty where posteriors are no Gaussians over vectors.
        """
        few = batches(data.some(DECOMPOSED), self.engine, self.batch_size)
        posteriors = (self.method.encode(batch.x, batch.aux) for batch in few)
        return summarise_kl(posteriors, self.engine.generator("decomposition"), dataset_size=size)

    @torch.no_grad()
    def readings(self, data: Dataset, predictor: FrozenPredictor) -> dict[str, float]:
        """What the predictor makes of reconstructions at the posterior mean, without residual.

        Returns:
            For at least two logits: "agreement" (same class as for the original) and, with labels, "accuracy_originals"
            and "accuracy_reconstructions", each in [0, 1]. Otherwise "squared_error" between the outputs.
        """
        pairs = [
            (predictor(batch.x), predictor(self.reconstruct(batch.x, batch.aux)))
            for batch in batches(data, self.engine, self.batch_size)
        ]
        original, rebuilt = (torch.cat(outputs).cpu() for outputs in zip(*pairs, strict=True))
        if original.ndim != 2 or original.shape[1] < 2:
            return {"squared_error": float((original - rebuilt).square().mean())}
        shares = {"agreement": _share(original.argmax(1) == rebuilt.argmax(1))}
        if data.class_labels is not None:
            shares["accuracy_originals"] = _share(original.argmax(1) == data.class_labels)
            shares["accuracy_reconstructions"] = _share(rebuilt.argmax(1) == data.class_labels)
        return shares


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())


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
    x, aux = _shown(evaluation, data)
    with in_eval_mode(method):
        for name, picture in _pictures(evaluation, x, kl, aux).items():
            picture.save(folder.working / f"{name}.png")
        for name, samples in method.exhibits().items():
            draw_cells(list(samples.values()), list(samples), COLUMNS).save(folder.working / f"{name}.png")
        if _can_traverse(evaluation, x):
            save_traversal_film(method, x, folder.working / "traversals.gif", kl, aux)
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
    x, aux = _shown(evaluation, data)
    with in_eval_mode(evaluation.method):
        for name, picture in _pictures(evaluation, x, aux=aux).items():
            picture.save(folder.working / PICTURES / f"step-{step:08d}-{name}.png")


def _shown(evaluation: Evaluation, data: Dataset) -> tuple[Tensor, Tensor | None]:
    """x and aux of some samples, on the device."""
    some = data.some(SPREAD)
    return evaluation.engine.place(some.x[:]), None if some.aux is None else evaluation.engine.place(some.aux)


def _pictures(
    evaluation: Evaluation, x: Tensor, kl: Sequence[float] | None = None, aux: Tensor | None = None
) -> dict[str, Image]:
    """What can be shown of a method, by name."""
    if not evaluation.can_reconstruct:
        return _drawn(evaluation, x, aux)
    pictures = {
        "reconstructions": reconstruction_grid(
            x[:SHOWN], evaluation.reconstruct(x[:SHOWN], None if aux is None else aux[:SHOWN])
        )
    }
    if _can_traverse(evaluation, x):
        pictures["traversals"] = traversal_grid(evaluation.method, x, kl, aux=aux)
    return pictures


@torch.no_grad()
def _drawn(evaluation: Evaluation, x: Tensor, aux: Tensor | None) -> dict[str, Image]:
    """Samples of a method that cannot reconstruct: of the same numbers each time, so that a film shows them change.

    Of a conditional one, those below each of the data are asked to be what it is.
    """
    method = evaluation.method
    if type(method).sample is Method.sample or method.space().needs_aux:
        return {}
    asked = None if aux is None or method.condition is None else torch.cat([aux[:SHOWN]] * DRAWN)
    drawn = method.sample(DRAWN * len(x[:SHOWN]), evaluation.engine.generator("pictures"), asked)
    return {"samples": sample_grid(x[:SHOWN], drawn)}


def _can_traverse(evaluation: Evaluation, x: Tensor) -> bool:
    return evaluation.can_reconstruct and len(evaluation.method.space().shape) == 1 and len(x) > 1


def _film_training(folder: Path) -> None:
    """The pictures over the training as one film: of the first kind that there is."""
    kinds = (sorted((folder / PICTURES).glob(f"*-{kind}.png")) for kind in ("traversals", "reconstructions", "samples"))
    if paths := next(filter(None, kinds), None):
        frames = [open_image(path).convert("RGB") for path in paths]
        save_film(frames, folder / "training.gif", milliseconds=max(80, 8000 // len(frames)))

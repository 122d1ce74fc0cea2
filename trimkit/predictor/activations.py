"""What a layer makes of data, as data: one sample for each vector, token or pixel.

data = activations(model="pkg.mod:net", at="layer3", data="digits")     # --data activations:model=pkg.mod:net,…
data = collect(model, "encoder.layer.3", loader)                        # any model, any batches
trimkit.train(sae, data)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from trimkit.data import Dataset, Samples, load
from trimkit.data.mapped import MappedSamples, write_samples
from trimkit.errors import DataError, ModelError, OptionError, ShapeError
from trimkit.predictor.inputs import Inputs, Site
from trimkit.predictor.loading import load_model
from trimkit.predictor.state import state_hash
from trimkit.registry.options import one_of

BATCH = 256
"""Inputs in a forward."""

Padding: TypeAlias = Callable[[Inputs], Tensor | None]
"""A batch of inputs → (n, T), true where there is a token; None where all are."""

_VALUES, _KNOWN, _RECORD = "activations.f32", "known.pt", "activations.json"


@dataclass(frozen=True)
class Source:
    """Where activations come from: what runs the model again with a layer's output replaced.

    Attributes:
        model: in which the layer is.
        at: its path.
        data: a dataset, or batches.
        padding: see `Padding`.
        batch_size: inputs in a forward, of a dataset.
    """

    model: nn.Module
    at: str
    data: Dataset | Iterable[Any]
    padding: Padding
    batch_size: int = BATCH

    @torch.no_grad()
    def run(self, replace: Callable[[Tensor], Tensor | None]) -> Iterator[tuple[Any, Batch]]:
        """The model's output for each batch, in evaluation mode, with the layer's output h as ``replace(h)``.

        Raises:
            OptionError: there is no such layer.
            ModelError, ShapeError: it runs several times in a forward, or its output has no row a sample.
        """
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        with _evaluating(self.model):
            for batch in _batches(self.data, self.batch_size):
                inputs = _moved(batch.inputs, device)
                site = Site(self.model, inputs, self.at)
                if site.layer is None:
                    raise OptionError(f"at={self.at!r} is an input of the model; name a layer")
                yield site.intercept(self.model, replace), batch


@dataclass(frozen=True)
class Batch:
    """What a model is called with, and the labels of its samples where they are known."""

    inputs: Any
    y: Tensor | None = None


@dataclass(frozen=True)
class Activations(Dataset):
    """A layer's output as a dataset; labels and factors are those of the input that a row belongs to.

    Attributes:
        source: model, layer and inputs.
    """

    source: Source | None = field(default=None, compare=False, repr=False)


def activations(
    split: str = "train",
    *,
    model: str,
    at: str | int,
    data: str = "digits",
    weights: str | None = None,
    rows: Literal["positions", "whole"] = "positions",
    axis: int | None = None,
    cache: str | None = None,
) -> Activations:
    """The output of a layer for the samples of a dataset.

    Args:
        split: of the data.
        model: ``package.module:function`` or ``file.py:function``, which makes it; what it draws is drawn by seed 0.
        at: path of the layer, such as ``encoder.layer.3``.
        data: name or file, as `trimkit.data.load` takes it.
        weights: file of the model's weights.
        rows: see `collect`.
        axis: see `collect`.
        cache: folder, where they are to be kept on disk instead of in memory.
    Raises:
        ModelError: no such model, or weights that do not fit.
        DataError, OptionError: no such data, split or layer.
    """
    folder = None if cache is None else Path(cache) / split
    return collect(_model(model, weights), str(at), load(data, split), rows=rows, axis=axis, folder=folder)


def collect(
    model: nn.Module,
    at: str | nn.Module,
    data: Dataset | Tensor | Iterable[Any],
    *,
    rows: Literal["positions", "whole"] = "positions",
    axis: int | None = None,
    padding: Padding | None = None,
    folder: str | Path | None = None,
    batch_size: int = BATCH,
) -> Activations:
    """Run a model on data, batch by batch, and keep what a layer puts out.

    Args:
        model: it is run in evaluation mode, without gradients, on its own device.
        at: path of the layer, or the module.
        data: a dataset, inputs (N, ...), or batches, such as a DataLoader: tensors, tuples (inputs, integer labels), or
            mappings of keyword arguments, whose "labels" are taken off.
        rows: "positions": of (n, T, d) each token is a sample (d,), of (n, C, H, W) each pixel a sample (C,); "whole":
            the output of one input is one sample.
        axis: of the features in one output; the first of three axes and the last of two by default.
        padding: says which tokens are none, and are left out; by default those that the input "attention_mask" names.
        folder: write to disk as they come, and read from there when asked for; what is there already is taken where
            model, layer and data are the same. None to keep all in memory.
        batch_size: inputs in a forward, of a dataset.
    Returns:
        The rows in the order of the inputs, float32.
    Raises:
        OptionError: no such layer, or an option out of range.
        ModelError, ShapeError: a layer that runs several times, whose output has no row a sample, or a mask of another
            shape.
        DataError: no data, or activations that are not finite.
    """
    one_of("activations", ("positions", "whole"), rows=rows)
    if isinstance(data, Tensor):
        data = Dataset("inputs", data.float())
    path = at if isinstance(at, str) else _path_of(model, at)
    source = Source(model, path, data, padding or attention_mask, batch_size)
    reader = _Reader(source, rows, axis)
    x, known = _held(reader) if folder is None else _stored(reader, Path(folder))
    return _labelled(source, x, known)


def attention_mask(inputs: Inputs) -> Tensor | None:
    """The input of that name, (n, T); None where there is none."""
    return inputs.get("attention_mask") if isinstance(inputs, Mapping) else None


@lru_cache(maxsize=1)
def _model(spec: str, weights: str | None) -> nn.Module:
    """One model for all splits: a function that draws weights would give each split another."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return load_model(spec, weights)


class _Reader:
    """Iterates over (rows, numbers of their inputs, labels of the inputs) of a source's batches."""

    def __init__(self, source: Source, rows: str, axis: int | None) -> None:
        self.source = source
        self.rows = rows
        self.axis = axis

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        kept: list[Tensor] = []
        start = 0
        for _, batch in self.source.run(kept.append):  # type: ignore[arg-type]  # append gives None: h stays
            h = kept.pop()
            number = torch.arange(start, start + len(h))
            start += len(h)
            mask = None if self.rows == "whole" else self.source.padding(batch.inputs)
            values, number = (h, number) if self.rows == "whole" else split_positions(h, number, mask, self.axis)
            yield values.detach().float().cpu(), number, batch.y

    @property
    def key(self) -> str:
        """What the rows depend on; text that is never the same for batches, whose content is not known."""
        data = self.source.data
        content = data.sha256 if isinstance(data, Dataset) else f"batches {id(data)}"
        return f"{state_hash(self.source.model)} {self.source.at} {content} {self.rows} {self.axis}"


def split_positions(
    h: Tensor, number: Tensor, mask: Tensor | None = None, axis: int | None = None
) -> tuple[Tensor, Tensor]:
    """Each position as a row.

    Args:
        h: (n, d), (n, T, d), (n, C, H, W).
        number: (n,) of the inputs.
        mask: (n, T), true where a position counts; None for all.
        axis: of the features in one output; the first of three axes and the last of two by default.
    Returns:
        (m, d), and the number of the input that each row belongs to, (m,).
    Raises:
        ShapeError: a mask of another shape than the positions.
    """
    if h.ndim == 2:
        return h, number
    usual = 0 if h.ndim == 4 else -1
    vectors = h.movedim((usual if axis is None else axis) % (h.ndim - 1) + 1, -1)
    places = vectors.shape[:-1]
    numbers = number.view(-1, *[1] * (len(places) - 1)).expand(places)
    if mask is None:
        return vectors.flatten(0, -2), numbers.flatten()
    if mask.shape != places:
        raise ShapeError(f"expected a mask of the positions {tuple(places)}, got {tuple(mask.shape)}; give padding=")
    kept = mask.bool().cpu()
    return vectors[kept.to(vectors.device)], numbers[kept]


def _held(reader: _Reader) -> tuple[Tensor, dict[str, Tensor]]:
    parts = list(reader)
    if not parts:
        raise DataError("expected data to run the model on, got none")
    return torch.cat([values for values, _, _ in parts]), _known(parts)


def _stored(reader: _Reader, folder: Path) -> tuple[Samples, dict[str, Tensor]]:
    """The rows on disk, made where they are not there yet."""
    record = folder / _RECORD
    if record.is_file() and (found := json.loads(record.read_text("utf-8")))["key"] == reader.key:
        x = MappedSamples(folder / _VALUES, tuple(found["shape"]), found["sha256"])
        return x, torch.load(folder / _KNOWN, weights_only=True)
    record.unlink(missing_ok=True)
    parts: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def values() -> Iterator[Tensor]:
        for rows, number, y in reader:
            parts.append((rows[:0], number, y))
            yield rows

    x, known = write_samples(folder / _VALUES, values()), _known(parts)
    torch.save(known, folder / _KNOWN)
    described = {"key": reader.key, "shape": list(x.shape[1:]), "sha256": x.fingerprint}
    record.write_text(json.dumps(described, indent=2), "utf-8")
    return x, known


def _known(parts: Iterable[tuple[Tensor, Tensor, Tensor | None]]) -> dict[str, Tensor]:
    """The number of each row's input, and the labels of the inputs where all have some."""
    numbers, labels = zip(*((number, y) for _, number, y in parts), strict=True)
    known = {"number": torch.cat(numbers)}
    return known | ({"y": torch.cat(labels)} if all(y is not None for y in labels) else {})


def _labelled(source: Source, x: Tensor | Samples, known: Mapping[str, Tensor]) -> Activations:
    """The rows with what is known of their inputs."""
    number = known["number"]
    if isinstance(source.data, Dataset):
        inputs = source.data.select(slice(None))
        about = {name: getattr(inputs, name) for name in ("y", "factors", "sources")}
        rows = {name: None if value is None else value[number] for name, value in about.items()}
        named = {"classes": inputs.classes, "factor_names": inputs.factor_names, "split": inputs.split}
        return Activations(f"{inputs.name}@{source.at}", x, **rows, **named, source=source)
    y = known["y"][number].long() if "y" in known else None
    classes = () if y is None else tuple(map(str, range(int(y.max()) + 1)))
    return Activations(f"activations@{source.at}", x, y, classes=classes, source=source)


def _batches(data: Dataset | Iterable[Any], size: int) -> Iterator[Batch]:
    if isinstance(data, Dataset):
        for rows in torch.arange(len(data)).split(size):
            yield Batch(data.x[rows], None if data.y is None else data.y[rows])
        return
    for batch in data:
        yield _batch_of(batch)


def _batch_of(batch: Any) -> Batch:
    """A batch as loaders give it: inputs, (inputs, labels), or named inputs with "labels" among them."""
    if isinstance(batch, Mapping):
        y = batch.get("labels")
        return Batch({name: value for name, value in batch.items() if name != "labels"}, _labels(y))
    if isinstance(batch, tuple | list):
        *inputs, last = batch
        if inputs and (y := _labels(last)) is not None:
            return Batch(inputs[0] if len(inputs) == 1 else tuple(inputs), y)
        return Batch(batch[0] if len(batch) == 1 else tuple(batch))
    return Batch(batch)


def _labels(y: Any) -> Tensor | None:
    """Integer labels, one a sample; None for what is none."""
    integral = isinstance(y, Tensor) and y.ndim == 1 and not y.is_floating_point()
    return y.cpu() if integral else None


def _moved(inputs: Any, device: torch.device) -> Any:
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    if isinstance(inputs, Mapping):
        return {name: _moved(value, device) for name, value in inputs.items()}
    return tuple(_moved(value, device) for value in inputs) if isinstance(inputs, tuple | list) else inputs


def _path_of(model: nn.Module, module: nn.Module) -> str:
    paths = [path for path, part in model.named_modules() if part is module and path]
    if not paths:
        raise ModelError(f"the {type(module).__name__} given as at= is no part of the model; pass one of its modules")
    return paths[0]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and every part in its own mode again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

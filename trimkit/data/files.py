"""Data from files, folders and the user's own code."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trimkit.data.base import Dataset, SplitError
from trimkit.data.dsprites import CLASSES, IMAGES, dsprites
from trimkit.data.factors import MOST_VALUES
from trimkit.data.idx import holds_mnist, read_mnist
from trimkit.data.layout import arrange
from trimkit.data.npy import NpySamples
from trimkit.data.readers import SUFFIXES, read_arrays
from trimkit.data.samples import Bytes, Samples
from trimkit.data.tables import OPTIONS as TABLE_OPTIONS
from trimkit.data.tables import SUFFIXES as TABLES
from trimkit.data.tables import is_table, read_table
from trimkit.errors import DataError, OptionError, TrimkitWarning
from trimkit.registry import available, create
from trimkit.registry.spelling import parse_spec
from trimkit.registry.usercode import find_factory, run_user_code

MOST_FLOATS = 1024**3
"""Bytes that uint8 samples may take as float32; beyond, they stay bytes and are converted when asked for."""


def load(spec: str, split: str = "train", *, aux: str | None = None, double: bool = False, **options: Any) -> Dataset:
    """A dataset by its name, its file or folder, or a function of the user's.

    Args:
        spec: a registered name ("digits"); a file with arrays (.npz, .safetensors, .pt), or with x alone (.npy; .csv
            without a heading); a table (.csv with a heading, .tsv, .parquet), whose target is named,
            ``table.csv:target=price``, see `trimkit.data.tables`; a folder of pictures, see
            `trimkit.data.folders.folder`, or of MNIST's files, see `trimkit.data.idx`; or ``package.module:function``
            or ``file.py:function``, called with the split where it takes one, which returns a `Dataset`, x, or (x, y).
            Options may follow: ``photos:size=64``, ``sprites:split=all``, ``digits:aux=labels``.
        split: "train" or "test", or another that the data know.
        aux: "labels" to take the labels y as auxiliary variables u, in place of the data's own.
        double: keep float64 samples of files and functions as they are, for methods that work in float64.
        **options: of a dataset, folder or function, beside those in the spec.
    Returns:
        The dataset. A file has arrays ``x`` and optionally ``y``, auxiliary variables ``u`` (or ``aux``), ``factors``,
        ``factor_names`` and true ``sources``, the same for every split; or ``x_train``, ``y_train``, …, ``x_test``, ….
        Pictures whose axes are not (N, C, H, W) say so: ``photos.npz:layout=nhwc``, nhw for grey ones, or ncl for rows
        of channels that look like grey pictures. Samples of type uint8 are divided by 255. A file of dSprites is known
        by its arrays, see `trimkit.data.dsprites.dsprites`. A .npy file of more than `MOST_FLOATS` bytes is read when
        asked for, see `trimkit.data.npy.NpySamples`.
    Raises:
        DataError: nothing of that name, a file that cannot be read, arrays that do not fit; no labels to take.
        OptionError: an option that does not exist.
    """
    name, typed = parse_spec(spec)
    options = {**typed, **options}
    split, aux = options.pop("split", split), options.pop("aux", aux)
    if aux not in (None, "labels"):
        raise OptionError(f"data {spec!r}: expected aux=labels, to take the labels as auxiliary variables, got {aux!r}")
    data = _load(spec, name, split, options, double)
    return data if aux is None else _with_labels_as_aux(data)


def _load(spec: str, name: str, split: str, options: dict[str, Any], double: bool) -> Dataset:
    path, registered = Path(name), name in available("datasets")
    if not name:
        raise DataError("expected the data: a dataset's name, a file, a folder or package.module:function; got nothing")
    if path.is_dir() and not registered and holds_mnist(path):
        if options:
            raise OptionError(f"data folder {path} of MNIST's files takes no options, got {', '.join(options)}")
        return dataset_of(path.name, *read_mnist(path, split), split)
    if path.is_dir() and not registered:
        if "path" in options:
            raise OptionError(f"data folder {path}: its path is given already, got path={options['path']}")
        return create("dataset", "folder", split=split, path=name, **options)
    if is_table(path, options):
        return _from_table(path, split, options, double)
    if path.suffix in SUFFIXES:
        layout = options.pop("layout", None)
        if options:
            raise OptionError(f"data file {path} takes no options, got {', '.join(options)}; it takes layout alone")
        if path.suffix == ".npy" and layout is None and path.is_file() and path.stat().st_size > MOST_FLOATS:
            return Dataset(path.stem, NpySamples(path), split=split)
        return _from_arrays(path.stem, read_arrays(path), split, layout, double)
    if path.is_file() and not registered:
        hint = f"; a function in it is {path}:NAME" if path.suffix == ".py" else ""
        raise DataError(
            f"data file {path}: expected arrays ({', '.join(SUFFIXES)}) or a table ({', '.join(TABLES)}), got "
            f"{path.suffix or 'a name without a suffix'}{hint}"
        )
    if registered or not names_code(spec):
        return create("dataset", name, split=split, **options)
    return _from_code(name, split, options, double)


def _with_labels_as_aux(data: Dataset) -> Dataset:
    if data.y is None:
        raise DataError(f"dataset {data.name!r} has no labels to take as auxiliary variables; leave out aux=labels")
    return replace(data, aux=data.y)


def names_code(spec: str) -> bool:
    """True where `load` would import and run the user's code: ``package.module:function``, ``file.py:function``.

    Also as the value of an option, such as the model of activations.
    """
    name, options = parse_spec(spec)
    path = Path(name)
    if name in available("datasets"):
        return any(isinstance(value, str) and names_code(value) for value in options.values())
    if path.is_dir() or path.suffix in (*SUFFIXES, *TABLES):
        return False
    module, _, function = name.rpartition(":")
    named = module.endswith(".py") or all(part.isidentifier() for part in module.split("."))
    return named and all(part.isidentifier() for part in function.split("."))


def _from_arrays(name: str, arrays: Mapping[str, Any], split: str, layout: str | None, double: bool) -> Dataset:
    def pick(*keys: str) -> Any:
        return next((arrays[k] for key in keys for k in (f"{key}_{split}", key) if k in arrays), None)

    if IMAGES in arrays and CLASSES in arrays:
        return dsprites(name, arrays[IMAGES], arrays[CLASSES], split)
    x = pick("x")
    if x is None:
        error = SplitError if any(name.startswith("x_") for name in arrays) else DataError
        raise error(f"data {name!r}: expected an array 'x' or 'x_{split}', got {sorted(arrays) or 'nothing'}")
    x = arrange(name, x, layout)
    if x.is_floating_point() and x.ndim == 4 and x.numel() and float(x.min()) >= 0 and 100 < float(x.max()) <= 255:
        warnings.warn(
            f"data {name!r}: x holds floating values up to {float(x.max()):g}, as pixels in 0 … 255 do; methods expect "
            "about 0 … 1, so divide by 255, or store x as uint8, which is divided when read",
            TrimkitWarning,
            stacklevel=4,
        )
    names = pick("factor_names")
    return dataset_of(
        name,
        x,
        _finite_labels(name, pick("y")),
        split,
        aux=pick("u", "aux"),
        sources=pick("sources"),
        factors=pick("factors"),
        factor_names=() if names is None else tuple(str(text) for text in names),
        double=double,
    )


def _from_table(path: Path, split: str, options: Mapping[str, Any], double: bool) -> Dataset:
    """The samples of a table: its columns but the target, which are named; all rows, whatever the split."""
    if unknown := set(options) - set(TABLE_OPTIONS):
        raise OptionError(f"data table {path}: expected {' and '.join(TABLE_OPTIONS)} at most, got {min(unknown)!r}")
    table = read_table(path, **options)
    y = table.y if table.classes else _finite_labels(path.stem, table.y)
    data = dataset_of(path.stem, table.x, y, split, double=double)
    data = replace(data, feature_names=table.names, classes=table.classes or data.classes, ids=table.ids)
    return replace(data, y=y.float(), classes=()) if y is not None and y.is_floating_point() else data


def _finite_labels(name: str, y: Tensor | None) -> Tensor | None:
    """y, left out with a warning where it holds NaN or infinity."""
    if y is None or not y.is_floating_point() or bool(torch.isfinite(y).all()):
        return y
    warnings.warn(f"data {name!r}: y holds NaN or infinity, so it is left out", TrimkitWarning, stacklevel=4)
    return None


def dataset_of(
    name: str,
    x: Any,
    y: Any = None,
    split: str = "train",
    *,
    aux: Any = None,
    sources: Any = None,
    factors: Any = None,
    factor_names: Sequence[str] = (),
    double: bool = False,
) -> Dataset:
    """A dataset of arrays.

    Args:
        name: for reports.
        x: (N, ...), to float32, uint8 divided by 255: when asked for, where that would take more than `MOST_FLOATS`
            bytes; or `Samples`.
        y: (N,) integral class labels, to int64; the classes are named by their index. Or labels of another task, see
            `Dataset`: whole numbers with further axes to int64, floating ones to float32.
        split: what the dataset is to be called.
        aux: (N, ...) auxiliary variables; floating ones to float32, others to int64.
        sources: (N, k) true continuous latents, to float32.
        factors: (N, K) integral values from 0.
        factor_names: of the K factors.
        double: keep float64 samples as they are.
    Raises:
        DataError: complex samples, labels or factors that are no integers, or arrays that do not fit.
    """
    beside = {
        "aux": None if aux is None else _numbers(name, aux, "aux"),
        "sources": None if sources is None else _numbers(name, sources, "sources").float(),
        "factors": _integers(name, factors, "factors"),
        "factor_names": tuple(factor_names),
    }
    x = x if isinstance(x, Samples) else _samples(name, torch.as_tensor(x), double)
    if y is None:
        return Dataset(name, x, None, split, **beside)
    y = _labels(name, torch.as_tensor(y))
    classed = y.numel() and y.ndim == 1 and not y.is_floating_point()
    classes = tuple(str(index) for index in range(int(y.max()) + 1)) if classed else ()
    return Dataset(name, x, y, split, classes, **beside)


def _labels(name: str, y: Tensor) -> Tensor:
    """Class labels (N,) and labels of positions as int64; numbers of a regression as float32."""
    if y.is_complex() or not bool(torch.isfinite(y).all()):
        raise DataError(
            f"data {name!r}: expected class labels 0, 1, …, got {y.dtype} with {_no_integers(y)}; for a regression "
            "model without known values leave y out"
        )
    if y.is_floating_point() and not _could_be_classes(y):
        return y.float()
    if y.ndim == 1 and y.numel() and int(y.max()) >= MOST_VALUES:
        raise DataError(
            f"data {name!r}: expected class labels 0, 1, … below {MOST_VALUES}, got {int(y.max())}; number the "
            "classes, or give values of a regression as floating numbers"
        )
    return y.long()


def _could_be_classes(y: Tensor) -> bool:
    whole = y.ndim == 1 and not _no_integers(y)
    return whole and (not y.numel() or (float(y.min()) >= 0 and float(y.max()) < MOST_VALUES))


def _no_integers(values: Tensor) -> str:
    """What keeps values from being integers, or ""."""
    if values.is_complex():
        return "imaginary parts"
    if not values.is_floating_point():
        return ""
    if not bool(torch.isfinite(values).all()):
        return "NaN or infinity"
    return "fractions" if bool((values != values.round()).any()) else ""


def _samples(name: str, x: Tensor, double: bool) -> Tensor | Samples:
    if x.is_complex():
        raise DataError(
            f"data {name!r}: expected real x, got {x.dtype}; give its parts as channels: torch.view_as_real, or "
            "magnitude and phase"
        )
    if x.dtype != torch.uint8:
        return x.detach() if double and x.dtype == torch.float64 else x.detach().float()
    return Bytes(x) if 4 * x.numel() > MOST_FLOATS else x.float() / 255


def _numbers(name: str, values: Any, what: str) -> Tensor:
    """Floating values as float32, others as int64."""
    values = torch.as_tensor(values)
    if values.is_complex():
        raise DataError(f"data {name!r}: expected real {what}, got {values.dtype}; give its parts: torch.view_as_real")
    return values.float() if values.is_floating_point() else values.long()


def _integers(name: str, values: Any, what: str) -> Tensor | None:
    if values is None:
        return None
    values = torch.as_tensor(values)
    if fault := _no_integers(values):
        raise DataError(f"data {name!r}: expected {what} as integers from 0, got {values.dtype} with {fault}")
    return values.long() if values.is_floating_point() else values


def _from_code(spec: str, split: str, options: Mapping[str, Any], double: bool) -> Dataset:
    made = _called(spec, find_factory(spec, "data", DataError), split, options)
    if isinstance(made, Dataset):
        return made
    parts = made if isinstance(made, tuple) else (made, None)
    if len(parts) != 2 or not _is_array(parts[0]) or not (parts[1] is None or _is_array(parts[1])):
        got = f"({', '.join(type(part).__name__ for part in made)})" if isinstance(made, tuple) else type(made).__name__
        raise DataError(f"data {spec!r}: expected a Dataset, x, or (x, y) from the function, got {got}")
    return dataset_of(spec, *parts, split, double=double)


def _is_array(value: Any) -> bool:
    """Whether torch can make a tensor of it, or it makes its own."""
    if isinstance(value, Samples):
        return True
    try:
        torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def _called(spec: str, function: Callable[..., Any], split: str, options: Mapping[str, Any]) -> Any:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:  # nothing to call, or a builtin that does not say how
        raise DataError(f"data {spec!r}: expected a function of yours that returns a Dataset, x or (x, y)") from error
    given = {"split": split, **options} if "split" in signature.parameters else dict(options)
    try:
        signature.bind(**given)
    except TypeError as error:
        raise OptionError(f"data {spec!r} is called as {function.__name__}{signature}: {error}") from error
    return run_user_code(f"data {spec!r}", DataError, partial(function, **given))

"""Data from files, folders and the user's own code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trimkit.data import arrays
from trimkit.data.arrays import dataset_of
from trimkit.data.base import Dataset
from trimkit.data.gathering import gather, is_gathered
from trimkit.data.idx import holds_mnist, read_mnist
from trimkit.data.named import dataset_of_named, finite_labels
from trimkit.data.npy import NpySamples
from trimkit.data.readers import SUFFIXES, read_arrays
from trimkit.data.samples import Samples
from trimkit.data.tables import OPTIONS as TABLE_OPTIONS
from trimkit.data.tables import SUFFIXES as TABLES
from trimkit.data.tables import is_table, read_table
from trimkit.errors import DataError, OptionError
from trimkit.registry import available, create
from trimkit.registry.spelling import parse_spec
from trimkit.registry.usercode import find_factory, run_user_code


def load(spec: str, split: str = "train", *, aux: str | None = None, double: bool = False, **options: Any) -> Dataset:
    """A dataset by its name, its file or folder, or a function of the user's.

    Args:
        spec: a registered name ("digits"); a file with arrays (.npz, .safetensors, .pt), or with x alone (.npy; .csv
            without a heading); a table (.csv with a heading, .tsv, .parquet), whose target is named,
            ``table.csv:target=price``, see `trimkit.data.tables`; a folder of pictures, see
            `trimkit.data.folders.folder`, or of MNIST's files, see `trimkit.data.idx`; or ``package.module:function``
            or ``file.py:function``, called with the split where it takes one, which returns a `Dataset`, x, (x, y) or
            a dataset or loader of PyTorch. Options may follow: ``photos:size=64``, ``sprites:split=all``,
            ``digits:aux=labels``.
        split: "train" or "test", or another that the data know.
        aux: "labels" to take the labels y as auxiliary variables u, in place of the data's own.
        double: keep float64 samples of files and functions as they are, for methods that work in float64.
        **options: of a dataset, folder or function, beside those in the spec.
    Returns:
        The dataset. A file has arrays ``x`` and optionally ``y``, auxiliary variables ``u`` (or ``aux``), ``factors``,
        ``factor_names`` and true ``sources``, the same for every split; or ``x_train``, ``y_train``, …, ``x_test``, ….
        Pictures whose axes are not (N, C, H, W) say so: ``photos.npz:layout=nhwc``, nhw for grey ones, or ncl for rows
        of channels that look like grey pictures. Samples of type uint8 are divided by 255, and
        of uint16 by 65535. A file of dSprites is known by its arrays, see `trimkit.data.dsprites.dsprites`. A .npy file
        of more than `trimkit.data.arrays.MOST_FLOATS` bytes is read when asked for, see `trimkit.data.npy.NpySamples`.
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
    if path.suffix.lower() in SUFFIXES:
        layout = options.pop("layout", None)
        if options:
            raise OptionError(f"data file {path} takes no options, got {', '.join(options)}; it takes layout alone")
        if (
            path.suffix.lower() == ".npy"
            and layout is None
            and path.is_file()
            and path.stat().st_size > arrays.MOST_FLOATS
        ):
            return Dataset(path.stem, NpySamples(path), split=split)
        return dataset_of_named(path.stem, read_arrays(path), split, layout=layout, double=double)
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
    if path.is_dir() or path.suffix.lower() in (*SUFFIXES, *TABLES):
        return False
    module, _, function = name.rpartition(":")
    named = module.endswith(".py") or all(part.isidentifier() for part in module.split("."))
    return named and all(part.isidentifier() for part in function.split("."))


def _from_table(path: Path, split: str, options: Mapping[str, Any], double: bool) -> Dataset:
    """The samples of a table: its columns but the target, which are named; all rows, whatever the split."""
    if unknown := set(options) - set(TABLE_OPTIONS):
        raise OptionError(f"data table {path}: expected {' and '.join(TABLE_OPTIONS)} at most, got {min(unknown)!r}")
    table = read_table(path, **options)
    y = table.y if table.classes else finite_labels(path.stem, table.y)
    data = dataset_of(path.stem, table.x, y, split, double=double)
    data = replace(data, feature_names=table.names, classes=table.classes or data.classes, ids=table.ids)
    return replace(data, y=y.float(), classes=()) if y is not None and y.is_floating_point() else data


def _from_code(spec: str, split: str, options: Mapping[str, Any], double: bool) -> Dataset:
    made = _called(spec, find_factory(spec, "data", DataError), split, options)
    if isinstance(made, Dataset):
        return made
    if is_gathered(made):
        return gather(made, split, double=double)
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

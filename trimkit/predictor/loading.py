"""Models from outside: a factory that the user names, and weights that cannot run code."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.errors import ModelError, PluginError
from trimkit.registry.calling import call
from trimkit.registry.usercode import find_factory, first_line, run_user_code
from trimkit.storage import named_in_utf8

_SHOWN = 3
"""Names of weights that an error lists."""


def load_model(
    spec: str,
    weights: str | Path | None = None,
    *,
    arguments: Mapping[str, Any] | None = None,
    allow_pickle: bool = False,
) -> nn.Module:
    """Build a model and load its weights.

    Args:
        spec: ``package.module:factory`` (the working folder is importable) or ``file.py:factory``: a function or class
            that returns a module. It is the user's own code and is run.
        weights: a ``.safetensors`` file or a state dict in ``.pt`` / ``.pth``; both are read without running code, and
            must have exactly the keys of the model.
        arguments: of the factory.
        allow_pickle: let ``spec`` be a ``.pt`` or ``.pth`` file that holds a whole pickled module. Loading one runs
            whatever code it holds: only for files that you made yourself.
    Returns:
        The module, in evaluation mode.
    Raises:
        ModelError: no such module, attribute or file; something that is no module; weights that do not fit; a pickled
            module without ``allow_pickle``.
        OptionError: arguments that the factory does not take.
    """
    if Path(spec).suffix in (".pt", ".pth"):
        return _unpickle(Path(spec), allow_pickle).eval()
    factory = find_factory(spec)
    model = factory if isinstance(factory, nn.Module) else _build(spec, factory, arguments or {})
    if weights is not None:
        _load_weights(model, Path(weights))
    return model.eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file, by name; no code of the file is run.

    Raises:
        ModelError: no such file, another format, a damaged file, or a pickled module.
    """
    if path.is_dir():
        raise ModelError(f"weights {path} is a folder; expected a file in it, such as {path / 'model.safetensors'}")
    if not path.is_file():
        raise ModelError(f"weights file {path} does not exist")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pt", ".pth", ".bin"):
        return _read_state_dict(path)
    raise ModelError(f"weights {path.name}: expected .safetensors, .pt or .pth, got {path.suffix or 'no suffix'!r}")


def _build(spec: str, factory: Any, arguments: Mapping[str, Any]) -> nn.Module:
    label = f"model {spec!r}"
    try:
        model = run_user_code(label, ModelError, partial(call, label, factory, (), arguments))
    except PluginError as error:
        raise ModelError(str(error)) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{label} returned {type(model).__name__}; expected a torch.nn.Module")
    return model


def _load_weights(model: nn.Module, path: Path) -> None:
    loaded, wanted = read_weights(path), model.state_dict()
    missing = [name for name in wanted if name not in loaded]
    unknown = [name for name in loaded if name not in wanted]
    if missing or unknown:
        sides = [_listed("lacks", missing), _listed("has, but the model does not,", unknown)]
        raise ModelError(f"weights {path.name} do not fit the model: the file {' and '.join(s for s in sides if s)}")
    for name, tensor in wanted.items():
        if loaded[name].shape != tensor.shape:
            raise ModelError(
                f"weights {path.name} do not fit the model: {name!r} has shape {tuple(loaded[name].shape)}, the "
                f"model's is {tuple(tensor.shape)}; build the model with the arguments it was trained with"
            )
    model.load_state_dict(loaded)


def _listed(verb: str, names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{verb} {', '.join(names[:_SHOWN])}{more}" if names else ""


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        with named_in_utf8(path) as file:
            return load_file(file)
    except Exception as error:
        raise ModelError(f"weights {path.name} cannot be read: {first_line(error)}") from error


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # torch's remark on foreign pickle protocols, before it refuses
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(_refusal(path)) from error
    loaded = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ModelError(f"weights {path.name}: expected a state dict of tensors, got {type(loaded).__name__}")
    return dict(loaded)


def _refusal(path: Path) -> str:
    """Why torch does not read a file: objects other than tensors, or no such file at all."""
    with path.open("rb") as file:
        pickled = file.read(1) == b"\x80"
    if not pickled and not zipfile.is_zipfile(path):
        return f"weights {path.name} cannot be read: it was not written by torch.save, or is damaged"
    return (
        f"{path.name} is refused: it holds pickled objects, and loading those runs code from the file. Save the "
        "weights alone: torch.save(model.state_dict(), path), or safetensors.torch.save_file(model.state_dict(), path)"
    )


def _unpickle(path: Path, allowed: bool) -> nn.Module:
    if not path.is_file():
        raise ModelError(f"model file {path} does not exist")
    if not allowed:
        raise ModelError(
            f"{path.name} is refused as a model: a pickled module runs code from the file when it is loaded. Name a "
            "factory, 'package.module:factory', and give the file's state dict as weights"
        )
    loaded = torch.load(path, map_location="cpu", weights_only=False)
    if not isinstance(loaded, nn.Module):
        raise ModelError(f"{path.name} holds {type(loaded).__name__}; expected a torch.nn.Module")
    return loaded

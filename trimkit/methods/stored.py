"""A trained method on disk: what it is in method.json, its weights in model.safetensors. Neither can run code."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from trimkit.errors import ModelError
from trimkit.methods.base import Method
from trimkit.methods.latent import LatentTransform
from trimkit.registry import create, default
from trimkit.storage import find_damage, named_in_utf8, warn_if_unchecked, warn_of_damage

RECORD, WEIGHTS = "method.json", "model.safetensors"

MARKER = "COMPLETE"
"""What a run folder holds last: without it, its files may be those of a run that goes on."""


def record(method: Method) -> dict[str, Any]:
    """What a method is, as plain values: the name it is registered under (None where it is not), class, options.

    >>> from trimkit import create
    >>> record(create("method", "fastica", shape=(4,)))["method"]
    'fastica'
    """
    kind = f"{type(method).__module__}:{type(method).__qualname__}"
    names = [part.name for part in default().parts("methods") if part.spec.target == kind]
    return {"method": names[0] if names else None, "class": kind, "options": plain(method.options)}


def weights(method: Method) -> bytes:
    """Parameters and saved buffers as safetensors; tensors that share memory are written once a name."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in method.state_dict().items()}
    return save(state, {"format": "pt"})


def load_method(folder: str | Path, *, allow_code: bool = False) -> Method:
    """The trained method of a run.

    Args:
        folder: of a complete run, as ``trimkit train`` and `trimkit.train` write it.
        allow_code: import the functions (``pkg.mod:function``) that its options name, such as networks of your own.
    Returns:
        The method, in eval mode. It is made by its registered name, so its plugin must be installed; nothing that the
        folder names is imported without ``allow_code``.
    Raises:
        ModelError: no complete run, files that are not as they were written, a method without a registered name,
            options that name code, or weights that do not fit.
        UnknownNameError: its plugin is not installed.
    """
    folder = Path(folder)
    name, options, state = _read(folder)
    code = [text for text in options.values() if isinstance(text, str) and ":" in text]
    if code and not allow_code:
        raise ModelError(
            f"the method of {folder} was made with {code[0]!r}, which would be imported and run; if you trust it: "
            "load_method(folder, allow_code=True), or --allow-code"
        )
    method: Method = create("method", name, **options)
    try:
        method.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{folder / WEIGHTS} does not fit the method: {' '.join(str(error).split())}") from error
    return method.eval()


def load_weights(method: Method, folder: str | Path) -> None:
    """Give a method the weights of another run's, to train on from there.

    Args:
        method: made with the same networks.
        folder: of a complete run.
    Raises:
        ModelError: no complete run, weights that are not as they were written, or those of other networks.
    """
    folder = Path(folder)
    try:
        (folder / MARKER).stat()
        state = _read_weights(folder)
    except Exception as error:
        raise ModelError(f"{folder} is not the folder of a complete run: {' '.join(str(error).split())}") from error
    if fault := find_damage(folder, [WEIGHTS]):
        raise ModelError(f"{fault}; put it back from a copy")
    warn_if_unchecked(folder)
    try:
        method.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"the weights of {folder} do not fit {type(method).__name__}: {' '.join(str(error).split())}; make it with "
            f"the options in {folder / RECORD}"
        ) from error


def _read_weights(folder: Path) -> dict[str, Tensor]:
    with named_in_utf8(folder / WEIGHTS) as file:
        return load_file(file)


def _read(folder: Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Registered name, options and weights of the method in a complete run's folder."""
    try:
        found = json.loads((folder / RECORD).read_text("utf-8"))
        state = _read_weights(folder)
        (folder / MARKER).stat()
    except Exception as error:
        fault = find_damage(folder, [RECORD, WEIGHTS])
        why = fault or " ".join(str(error).split())
        raise ModelError(f"{folder} is not the folder of a complete run: {why}") from error
    if fault := find_damage(folder, [RECORD, WEIGHTS]):
        resumable = any(folder.glob("checkpoints/step-*.json"))
        other = "go on with the run from its checkpoints (--resume)" if resumable else "make the run again"
        raise ModelError(f"{fault}; put it back from a copy, or {other}")
    warn_of_damage(folder, "the method itself is whole")
    name, kind, options = (
        found.get(key) if isinstance(found, dict) else None for key in ("method", "class", "options")
    )
    if not isinstance(name, str | None) or not isinstance(kind, str) or not isinstance(options, dict):
        raise ModelError(
            f"{folder / RECORD} is not as trimkit writes it: expected a mapping with method, class and options, a "
            "mapping; train anew, or put the file back"
        )
    if name is None:
        raise ModelError(
            f"the method of {folder}, {kind}, has no registered name: make it yourself and load {WEIGHTS} with "
            "safetensors.torch.load_file"
        )
    return name, options, state


def latent(
    run: str, space: str | None = None, allow_code: bool = False, aux: int | float | None = None
) -> LatentTransform:
    """The latent space of a trained run as a transform.

    Args:
        run: folder of the run.
        space: name of the space; the method's first by default.
        allow_code: see `load_method`.
        aux: of a conditional run: the class, or the one number, of all samples, which is held beside their codes.
    Raises:
        ModelError: see `load_method`.
        TransformError: a space that cannot be encoded to or decoded, or that needs aux.
    """
    method = load_method(run, allow_code=allow_code)
    return method.as_transform(space) if aux is None else method.as_transform(space, aux=aux)


def plain(value: Any) -> Any:
    """A value as JSON and YAML can hold it: what is no number, text, list or mapping becomes text."""
    if isinstance(value, Mapping):
        return {str(key): plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [plain(child) for child in value]
    return value if value is None or isinstance(value, bool | int | float | str) else _described(value)


def finite(value: Any) -> Any:
    """Plain values as strict JSON can hold them: it has no NaN and no infinity, which become null."""
    if isinstance(value, Mapping):
        return {str(key): finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _described(value: Any) -> str:
    """What a function or object is called; never its address, which differs in every process."""
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return f"{getattr(value, '__module__', type(value).__module__)}:{name}"

"""Parts of an audit that ran elsewhere: written to files, checked against each other, merged to one report."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor, nn

from trimkit.audit.evidence import Example
from trimkit.audit.provenance import provenance
from trimkit.audit.report import Report
from trimkit.audit.run import Part, Run
from trimkit.audit.state import as_json, from_json
from trimkit.audit.tally import Tally
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import number_of
from trimkit.coefficients.tree import Tree
from trimkit.errors import DataError, OptionError
from trimkit.predictor import state_hash
from trimkit.storage import write_atomically

FORMAT = 1
"""Of the files of shards."""

SUFFIX = ".trimkit-shard"

_KEY = "trimkit"
_TENSORS = ("x", "pixels", "kept")


@dataclass
class Shard:
    """What one of several runs measured, as `trimkit.audit` returns it with ``shard=(i, n)``.

    Attributes:
        number: i of n, from 1.
        count: n.
        run: the audit under way.
        part: what was measured.
        arguments: of the command line, for `trimkit merge`; None where there was none.
    """

    number: int
    count: int
    run: Run
    part: Part
    arguments: Mapping[str, Any] | None = None

    @cached_property
    def header(self) -> dict[str, Any]:
        """What tells shards of one audit from those of another, as plain JSON values."""
        settings = settings_of(self.run)
        return {
            "format": FORMAT,
            "fingerprint": fingerprint(settings),
            "settings": settings,
            "shard": [self.number, self.count],
            "arguments": self.arguments,
        }

    def save(self, path: str | Path) -> Path:
        """Write the shard to a file, whole or not at all.

        Args:
            path: of the file.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        content, arrays = _flattened(self.part)
        text = json.dumps({**self.header, "part": content})
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        write_atomically(target, save(contiguous, metadata={_KEY: text}))
        return target


def read_header(path: str | Path) -> dict[str, Any]:
    """The header of a shard's file, with what is needed to read the rest.

    Raises:
        DataError: no shard, or one of another format.
    """
    try:
        with safe_open(path, "np") as file:
            header = json.loads((file.metadata() or {})[_KEY])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{path} is no shard of an audit ({type(error).__name__}); run that shard again") from error
    if header.get("format") != FORMAT:
        raise DataError(f"{path} has format {header.get('format')}, this trimkit reads {FORMAT}; merge with the other")
    return header


def merge_shards(run: Run, shards: Sequence[Shard | str | Path]) -> Report:
    """The report of an audit whose shards ran apart: the same bits as in one run, in any order.

    Args:
        run: the same audit, prepared.
        shards: all of them, as objects or files.
    Raises:
        DataError: shards that are missing, there twice, or of another audit.
    """
    headers = {str(s) if not isinstance(s, Shard) else f"shard {s.number}": _header(s) for s in shards}
    if len(headers) < len(shards):
        raise DataError("the same shard is named twice; merge each once")
    settings = settings_of(run)
    for name, header in headers.items():
        _require_same(name, header, settings)
    require_all(headers)
    run.part = Part()
    for shard in shards:
        run.part.merge(shard.part if isinstance(shard, Shard) else read_part(shard, run))
    return run.conclude()


def require_all(headers: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse shards that are not exactly 1 … n of n.

    Args:
        headers: name in messages → header.
    Raises:
        DataError: see above.
    """
    counts = sorted({header["shard"][1] for header in headers.values()})
    if len(counts) != 1:
        raise DataError(f"expected the shards of one audit, got some of {' and some of '.join(map(str, counts))}")
    numbers = Counter(header["shard"][0] for header in headers.values())
    twice = [number for number, times in numbers.items() if times > 1]
    if twice:
        names = [name for name, header in headers.items() if header["shard"][0] == twice[0]]
        raise DataError(f"shard {twice[0]} of {counts[0]} is there twice: {' and '.join(names)}; merge each once")
    missing = [number for number in range(1, counts[0] + 1) if number not in numbers]
    if missing:
        listed = ", ".join(map(str, missing[:8])) + (", …" if missing[8:] else "")
        raise DataError(
            f"{len(missing)} of {counts[0]} shards are missing: {listed}; run them again with --shard "
            f"{missing[0]}/{counts[0]}, and merge all"
        )


def settings_of(run: Run) -> dict[str, Any]:
    """Everything that the numbers of an audit depend on, as plain JSON values: versions, hashes, options."""
    record = provenance(run.subject, run.checks)
    left_out = ("date", "command", "hardware")
    parts = {name: value for name, value in record.items() if name not in left_out}
    subject = run.subject
    given = subject.baseline is not None and number_of(subject.baseline) is None
    trees = [*([cast(Tree, subject.baseline)] if given else []), *(one.mask for one in subject.forbidden)]
    space = state_hash(subject.transform) if isinstance(subject.transform, nn.Module) else ""
    return {**parts, "coefficients": [space, _hash(leaf for one in trees for leaf in tree.leaves(one))]}


def fingerprint(settings: Mapping[str, Any]) -> str:
    """The sha256 of settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def read_part(path: str | Path, run: Run) -> Part:
    """What a shard's file holds.

    Args:
        path: of the file.
        run: the audit that it belongs to.
    """
    content = read_header(path)["part"]
    with safe_open(path, "np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    part = Part(forwards=Counter(content["forwards"]), tally=Tally(**content["tally"]))
    for number, one in enumerate(content["states"]):
        own = _under(arrays, f"{number}/")
        state = run.new_state(tuple(one["totals"]))
        part.states[one["check"], one["label"]] = from_json(state, one["state"], own)
    for label, several in content["examples"].items():
        part.examples[label] = [_example(one, _under(arrays, f"{label} {one['id']}/"), run) for one in several]
    return part


def _flattened(part: Part) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A part as plain JSON values and arrays."""
    arrays: dict[str, np.ndarray] = {}
    states = []
    for number, ((check, label), state) in enumerate(part.states.items()):
        plain, own = as_json(state)
        states.append({"check": check, "label": label, "totals": sorted(state.totals), "state": plain})
        arrays |= {f"{number}/{name}": array for name, array in own.items()}
    shown = {}
    for label, several in part.examples.items():
        shown[label] = [{"id": e.id, "label": e.label, "predicted": e.predicted} for e in several]
        for e in several:
            values = {name: getattr(e, name) for name in _TENSORS}
            values |= {f"scores {k}": leaf for k, leaf in enumerate(tree.leaves(e.scores))}
            arrays |= {f"{label} {e.id}/{name}": value.detach().cpu().numpy() for name, value in values.items()}
    content = {"states": states, "examples": shown, "forwards": dict(part.forwards), "tally": asdict(part.tally)}
    return content, arrays


def _example(plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray], run: Run) -> Example:
    like = run.subject.groups.labels
    leaves = [torch.from_numpy(arrays[f"scores {k}"]) for k in range(len(tree.leaves(like)))]
    x, pixels, kept = (torch.from_numpy(arrays[name]) for name in _TENSORS)
    scores, name = tree.rebuild(like, leaves), run.subject.name_of(plain["id"])
    return Example(plain["id"], plain["label"], plain["predicted"], x, pixels, scores, kept, name)


def _under(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _header(shard: Shard | str | Path) -> dict[str, Any]:
    return shard.header if isinstance(shard, Shard) else read_header(shard)


def _require_same(name: str, header: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    if header["fingerprint"] == fingerprint(settings):
        return
    plain = json.loads(json.dumps(settings, default=str))
    differ = [key for key in plain if header["settings"].get(key) != plain[key]]
    raise DataError(
        f"{name} belongs to another audit: its {' and '.join(differ) or 'settings'} differ; merge shards of one model, "
        "one data set and the same options, made by the same versions"
    )


def _hash(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def parse_shard(text: str) -> tuple[int, int]:
    """``"3/8"`` → (3, 8).

    Raises:
        OptionError: no such pair with 1 ≤ i ≤ n.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise OptionError(f"expected a shard as i/n, such as 3/8, got {text!r}")
    return require_shard((int(number), int(count)))


def require_shard(shard: tuple[int, int]) -> tuple[int, int]:
    """The pair (i, n), refused unless 1 ≤ i ≤ n."""
    number, count = shard
    if not 1 <= number <= count:
        raise OptionError(f"expected a shard (i, n) with 1 ≤ i ≤ n, got ({number}, {count}); count from 1")
    return number, count

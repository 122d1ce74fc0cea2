"""Tables: a heading, a row a sample, one column named as the target; every other column is a numeric feature."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trimkit.errors import DataError, OptionError, nearest

SUFFIXES = (".csv", ".tsv", ".parquet")

OPTIONS = ("target", "drop", "regression", "id")
"""What `--data table.csv:target=price,drop=[town],regression=true,id=number` may say."""

_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
"""A number with a decimal comma, or with one between thousands."""

Columns = Mapping[str, Sequence[Any]]
"""Name → cells; None or "" where a cell is empty."""


@dataclass(frozen=True)
class Table:
    """A table as arrays.

    Attributes:
        x: (N, F) float64.
        names: of the F features.
        y: (N,) the target: class numbers as int64, measured values as float64; None where no target is named.
        classes: names of the classes, where the target holds text; sorted, in the order of their numbers.
        ids: what the rows are called; () where no column is named that says so.
    """

    x: Tensor
    names: tuple[str, ...]
    y: Tensor | None = None
    classes: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()


def is_table(path: Path, options: Mapping[str, Any] | None = None) -> bool:
    """Whether a file is read as a table: .tsv and .parquet always, .csv with a heading or with a table's options."""
    if path.suffix.lower() != ".csv":
        return path.suffix.lower() in SUFFIXES
    if any(name in (options or {}) for name in OPTIONS):
        return True
    return path.is_file() and _has_heading(path)


def read_table(
    path: Path,
    target: str | None = None,
    drop: str | Collection[str] = (),
    regression: bool = False,
    id: str | None = None,
) -> Table:
    """A .csv, .tsv or .parquet file as features and target.

    Args:
        path: of the file. Text files separate cells by commas, semicolons or tabs, and begin with the names.
        target: the column to predict; None for a table of features alone.
        drop: columns to leave out, such as an identifier.
        regression: whole numbers in the target, such as prices, are measured values too, and no classes.
        id: the column that says what each row is called, such as a patient's number; it is no feature.
    Raises:
        DataError: no such file, no heading, empty cells (named by row and column), text in a feature (named), rows of
            unequal length, text in the target of a regression, or a Parquet file without the library that reads it.
        OptionError: a column that does not exist.
    """
    if not path.is_file():
        raise DataError(f"data file {path} does not exist")
    columns = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path)
    dropped = [drop] if isinstance(drop, str) else [str(name) for name in drop]
    for name in [*dropped, *(str(name) for name in (target, id) if name is not None)]:
        if name not in columns:
            raise OptionError(f"data file {path} has no column {name!r}. {nearest(name, columns)}")
    kept = {name: cells for name, cells in columns.items() if name not in dropped}
    given = None if target is None else kept.pop(str(target), None)
    ids = () if id is None else _ids(path, str(id), columns[str(id)])
    kept.pop(str(id), None)
    if not kept or not next(iter(kept.values())):
        raise DataError(f"data file {path}: expected at least one feature and one row beside the target, got none")
    x = np.stack([_numbers(path, name, cells) for name, cells in kept.items()], axis=1)
    y, classes = (None, ()) if given is None else _target(path, str(target), given, regression)
    return Table(torch.from_numpy(x), tuple(kept), y, classes, ids)


def _ids(path: Path, name: str, cells: Sequence[Any]) -> tuple[str, ...]:
    """What the rows are called.

    Raises:
        DataError: a row without a name.
    """
    for row, cell in enumerate(cells, 1):
        if _is_missing(cell):
            raise DataError(f"data file {path}: row {row} has no value in {name!r}, which is to name it; fill it in")
    return tuple(str(cell).strip() for cell in cells)


def read_numbers(path: Path) -> Tensor:
    """A .csv file of numbers alone, without a heading: (N, F) float64.

    Raises:
        DataError: no rows, rows of unequal length, or a cell that is no number, named by row and column.
    """
    rows = _rows(path)
    if not rows:
        raise DataError(f"data file {path} is empty: expected a row of numbers a sample")
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise DataError(f"data file {path}: expected {len(rows[0])} cells in row {number}, got {len(row)}")
    columns = (_numbers(path, str(n), cells) for n, cells in enumerate(zip(*rows, strict=True), 1))
    return torch.from_numpy(np.stack(list(columns), axis=1))


def _has_heading(path: Path) -> bool:
    """Whether the first line holds something that is no number."""
    rows = _rows(path, most=1)
    return bool(rows) and any(_number(cell) is None and cell.strip() and not _COMMA.fullmatch(cell) for cell in rows[0])


def _rows(path: Path, most: int | None = None) -> list[list[str]]:
    """The lines of a text file that are not blank, as cells."""
    rows: list[list[str]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            separator = _separator(path, file.readline())
            file.seek(0)
            for row in csv.reader(file, delimiter=separator, strict=True):
                if row:
                    rows.append(row)
                if most and len(rows) >= most:
                    break
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(
            f"cannot read a table from {path}: expected text in UTF-8 with quoted cells ({error})"
        ) from error
    return rows


def _separator(path: Path, first: str) -> str:
    """A tab in .tsv; else of comma, semicolon and tab the one that the first line holds most often.

    Semicolons come first where the commas may be those of decimals, one a cell.
    """
    if path.suffix.lower() == ".tsv":
        return "\t"
    decimal = 0 < first.count(";") >= first.count(",") - 1
    return ";" if decimal else max(",;\t", key=first.count)


def _read_text(path: Path) -> Columns:
    rows = _rows(path)
    if len(rows) < 2:
        raise DataError(f"data file {path}: expected a line of names and at least one row, got {len(rows)} lines")
    names = [name.strip() for name in rows[0]]
    if any(_number(name) is not None for name in names):
        raise DataError(
            f"data file {path}: expected a heading with the columns' names in the first line, got numbers "
            f"({', '.join(names[:4])}, …); write one, or give x alone without target"
        )
    if len(set(names)) < len(names) or "" in names:
        twice = next((name for name in names if names.count(name) > 1), "")
        raise DataError(f"data file {path}: expected a different name for each column, got {twice!r} twice or empty")
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(names):
            raise DataError(f"data file {path}: expected {len(names)} cells in row {number}, got {len(row)}")
    return dict(zip(names, zip(*rows[1:], strict=True), strict=True))


def _read_parquet(path: Path) -> Columns:
    try:
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise DataError(f"reading {path} needs pyarrow, which is not installed: pip install pyarrow") from error
    try:
        with path.open("rb") as file:  # the library takes no names but those in UTF-8
            table = parquet.ParquetFile(file).read()
    except Exception as error:
        raise DataError(f"cannot read {path}: expected a Parquet file, got another format or a damaged one") from error
    names = [str(name) for name in table.column_names]
    if len(set(names)) < len(names):
        raise DataError(f"data file {path}: expected a different name for each column, got one twice")
    return {name: column.to_pylist() for name, column in zip(names, table.columns, strict=True)}


def _numbers(path: Path, name: str, cells: Sequence[Any]) -> NDArray[np.float64]:
    """A feature's values.

    Raises:
        DataError: text, or an empty cell.
    """
    values = [_number(cell) for cell in cells]
    for row, (cell, value) in enumerate(zip(cells, values, strict=True), 1):
        if _is_missing(cell) or (value is not None and not math.isfinite(value)):
            raise DataError(
                f"data file {path}: row {row} has no value in column {name!r} ({cell!r}); fill it in, or leave out the "
                f"row, or the column: {path.name}:drop=[{name}]"
            )
        if value is None and _COMMA.fullmatch(str(cell)):
            raise DataError(
                f"data file {path}: column {name!r} holds {str(cell).strip()!r} in row {row}: write decimals with a "
                "point, and thousands without a mark"
            )
        if value is None:
            raise DataError(
                f"data file {path}: column {name!r} holds text, such as {str(cell)!r} in row {row}, and features are "
                "numbers; write one column of 0 and 1 for each of its values (pandas.get_dummies does), name it as "
                f"target=…, or leave it out: {path.name}:drop=[{name}]"
            )
    return np.array(values, dtype=np.float64)


def _target(path: Path, name: str, cells: Sequence[Any], regression: bool) -> tuple[Tensor, tuple[str, ...]]:
    """Class numbers with names where it holds text or truth values; else the numbers, whole ones as int64."""
    for row, cell in enumerate(cells, 1):
        if _is_missing(cell):
            raise DataError(f"data file {path}: row {row} has no value in the target {name!r}; leave out the row")
    values = [_number(cell) for cell in cells]
    if regression:
        return torch.from_numpy(_numbers(path, name, cells)), ()
    if any(value is None for value in values):
        texts = [str(cell).strip() for cell in cells]
        classes = tuple(sorted(set(texts)))
        number = {text: i for i, text in enumerate(classes)}
        return torch.tensor([number[text] for text in texts]), classes
    y = torch.tensor(values, dtype=torch.float64)
    return (y.long() if bool((y == y.round()).all() & (y >= 0).all()) else y), ()


def _is_missing(cell: Any) -> bool:
    """None, NaN, or an empty cell or one of the usual marks of it."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell)) or str(cell).strip().lower() in _MISSING


_MISSING = ("", "na", "n/a", "nan", "null", "none")


def _number(cell: Any) -> float | None:
    """The number that a cell holds; None for text. Truth values of a Parquet file are 0 and 1."""
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None

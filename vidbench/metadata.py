"""Reading metadata tables and action files: text from outside in, checked values out.

A metadata table follows the Hugging Face VideoFolder convention: `metadata.csv`, `metadata.jsonl` or
`metadata.parquet` with a column `file_name`. This module only reads tables and checks values; which file on disk a
name means, and whether it may be used at all, is decided by `vidbench.clips`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import ClipError, MetadataError, MissingExtraError

METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
ACTION_SUFFIXES = (".json", ".csv", ".npy")

_MAX_CELL = 1 << 26
"""Characters in one CSV cell; the csv module's own limit of 131072 is too small for a list of actions."""


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """One row of a metadata table, its values checked."""

    where: str
    """`metadata.csv line 7`; Parquet has rows instead of lines."""
    file_name: str | None
    """As written. None where the row names no file; `problem` then says why."""
    problem: str | None = None
    """Why the row cannot be used."""
    model: str | None = None
    prompt: str | None = None
    seed: int | None = None
    reference: str | None = None
    actions: str | tuple[Any, ...] | None = None
    fps: float | None = None
    pixels_per_meter: float | None = None
    gravity: tuple[float, float] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class _Record(NamedTuple):
    """A row as its reader found it."""

    where: str
    values: Mapping[str, Any] = {}
    problem: str | None = None


def read_metadata(path: Path, name: str) -> list[MetadataRow]:
    """Read a metadata table.

    Args:
        path: the file; its suffix says which format it has.
        name: what messages call it, e.g. its path relative to the clip folder.

    Returns:
        One row per data row, in the file's order. Rows that cannot be used are among them, with their `problem`;
        blank rows are not.

    Raises:
        MetadataError: the file cannot be used as a whole: unreadable, not UTF-8, no column `file_name`.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
    """
    try:
        if path.suffix == ".parquet":
            records = list(_parquet_records(path, name))
        else:
            text = _decode(path.read_bytes(), name)
            records = list((_csv_records if path.suffix == ".csv" else _jsonl_records)(text, name))
    except OSError as error:
        raise MetadataError(f"{name} cannot be read: {error.strerror or error}") from error
    return [_row(record) for record in records]


def read_actions(path: Path) -> NDArray[np.float64] | tuple[Any, ...]:
    """Read an action file.

    * `.json`: a list with one item per action: numbers, lists of numbers, or anything else.
    * `.csv`: one line per action. A first line is taken for a header where it is no action: text above lines of
      numbers, or a cell `action` or `actions`.
    * `.npy`: (n,) or (n, A) numbers, or (n,) text; never unpickled.

    Returns:
        (n, A) float64 where every item is a number (A = 1) or a list of A numbers; else the items as they are.

    Raises:
        ClipError: unreadable, of another form, not finite, or of uneven length; the reason names the file.
    """
    readers: dict[str, Callable[[Path], NDArray[np.float64] | tuple[Any, ...]]] = {
        ".json": _json_actions,
        ".csv": _csv_actions,
        ".npy": _npy_actions,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ClipError(f"actions {path.name!r} cannot be used: they are read from {', '.join(ACTION_SUFFIXES)}")
    try:
        return reader(path)
    except OSError as error:
        raise ClipError(f"actions {path.name!r} cannot be read: {error.strerror or error}") from error
    except (TypeError, ValueError, RecursionError, csv.Error) as error:
        raise ClipError(f"actions {path.name!r} cannot be used: {' '.join(str(error).split())}") from error


def actions_array(items: Sequence[Any]) -> NDArray[np.float64] | tuple[Any, ...]:
    """(n, A) float64 from n numbers or n lists of A numbers, (0, 0) from none; other items come back as a tuple.

    Raises:
        ValueError: numbers that are not finite, or lists of numbers of uneven length.
    """
    if not items:
        return np.zeros((0, 0))
    rows = [item if isinstance(item, list | tuple) else [item] for item in items]
    if not all(isinstance(value, int | float) for row in rows for value in row):
        return tuple(items)
    widths = sorted({len(row) for row in rows})
    if len(widths) > 1:
        raise ValueError(f"actions have between {widths[0]} and {widths[-1]} numbers; all must have as many")
    try:
        return _finite(np.array(rows, dtype=np.float64))
    except OverflowError as error:
        raise ValueError("a number is too large") from error


def _finite(array: NDArray[np.float64]) -> NDArray[np.float64]:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"action {int(bad[0, 0])} is not a finite number")
    return array


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MetadataError(f"{name} is not UTF-8 (line {line}): save it as UTF-8") from error


def _csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and the cells, of each row; strict, so that an unclosed quote swallows nothing."""
    limit = csv.field_size_limit(_MAX_CELL)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        line = 1
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    finally:
        csv.field_size_limit(limit)


def _csv_records(text: str, name: str) -> Iterator[_Record]:
    try:
        rows = [(line, cells) for line, cells in _csv_rows(text) if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise MetadataError(f"{name} is not valid CSV: {error}; close and double the quotes") from error
    if not rows:
        raise MetadataError(f"{name} is empty: its first line must name the columns, 'file_name' among them")
    header = [cell.strip() for cell in rows[0][1]]
    while header and not header[-1]:
        header.pop()
    _check_columns(header, name, " (separated by commas)")
    for line, cells in rows[1:]:
        where = f"{name} line {line}"
        if any(cell.strip() for cell in cells[len(header) :]):
            yield _Record(
                where,
                {"file_name": cells[header.index("file_name")]},
                f"{where} has {len(cells)} cells and the header {len(header)}: put text with commas in quotes",
            )
        else:
            yield _Record(where, dict(zip(header, cells, strict=False)))


def _jsonl_records(text: str, name: str) -> Iterator[_Record]:
    records: list[_Record] = []
    columns: dict[str, None] = {}
    # Not splitlines: JSON text may hold line separators that are no line feeds.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{name} line {number}"
        try:
            record = _json(line)
        except (ValueError, RecursionError) as error:
            records.append(_Record(where, problem=f"{where} is not valid JSON: {' '.join(str(error).split())}"))
            continue
        if isinstance(record, dict):
            columns.update(dict.fromkeys(record))
            records.append(_Record(where, record))
        else:
            records.append(_Record(where, problem=f"{where} is not a JSON object"))
    if records and not columns:
        raise MetadataError(f'{name} has no usable line: each line must be one JSON object, {{"file_name": …}}')
    if records:
        _check_columns(list(columns), name)
    yield from records


def _parquet_records(path: Path, name: str) -> Iterator[_Record]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError(name, "parquet") from error
    try:
        with path.open("rb") as file:
            table = pq.read_table(file)
    except pa.ArrowException as error:
        raise MetadataError(f"{name} is not a readable Parquet file: {' '.join(str(error).split())}") from error
    _check_columns(table.column_names, name)
    for number, record in enumerate(table.to_pylist(), start=1):
        yield _Record(f"{name} row {number}", record)


def _check_columns(columns: list[str], name: str, hint: str = "") -> None:
    if "file_name" not in columns:
        found = ", ".join(repr(column) for column in columns) or "none"
        raise MetadataError(
            f"{name} has no column 'file_name'; its columns{hint} are {found}: "
            "name the column with each clip's path 'file_name'"
        )
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise MetadataError(f"{name} has two columns {twice!r}: rename one")


def _json(text: str) -> Any:
    """Parse JSON. NaN, which pandas writes for a missing value, is None; text that UTF-8 cannot hold is refused."""
    value = json.loads(text, parse_constant=lambda word: None if word == "NaN" else float(word.lower()))
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _row(record: _Record) -> MetadataRow:
    where, problem = record.where, record.problem
    values = dict(record.values)
    file_name = values.pop("file_name", None)
    if not isinstance(file_name, str) or _missing(file_name):
        wrong = "has no file_name" if _missing(file_name) else f"has a file_name that is no text: {_shown(file_name)}"
        return MetadataRow(where, None, problem=problem or f"{where} {wrong}")
    checked: dict[str, Any] = {}
    for column, (parse, expected) in _COLUMNS.items():
        value = values.pop(column, None)
        if _missing(value):
            continue
        try:
            checked[column] = parse(value)
        except (TypeError, ValueError, OverflowError, RecursionError):
            problem = problem or f"{where}: {column} must be {expected}, got {_shown(value)}"
    return MetadataRow(where, file_name, problem, **checked, extra=values)


def _missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, str) and not value.strip()) or value != value  # noqa: PLR0124


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    return str(value)


def _name(value: Any) -> str:
    return _text(value).strip()


def _path(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]+\s*", value):
        return int(value)
    # A column of integers with holes is written as 3.0 by pandas.
    if isinstance(value, int) or float(value).is_integer():
        return int(float(value)) if isinstance(value, str) else int(value)
    raise ValueError


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _positive(value: Any) -> float:
    number = _number(value)
    if number <= 0:
        raise ValueError
    return number


def _direction(value: Any) -> tuple[float, float]:
    parts = re.split(r"[\s,]+", value.strip(" ()[]")) if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or len(parts) != 2:
        raise ValueError
    x, y = _number(parts[0]), _number(parts[1])
    if x == y == 0:
        raise ValueError
    return x, y


def _actions(value: Any) -> str | tuple[Any, ...]:
    if isinstance(value, str):
        if not value.lstrip().startswith("["):
            return value
        value = _json(value)
    if not isinstance(value, list):
        raise TypeError
    actions_array(value)
    return tuple(value)


_COLUMNS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "model": (_name, "text"),
    "prompt": (_text, "text"),
    "seed": (_integer, "a whole number"),
    "reference": (_path, "the path of a clip"),
    "actions": (_actions, "the path of an action file, or a list of text or of equally long lists of finite numbers"),
    "fps": (_positive, "a number above 0"),
    "pixels_per_meter": (_positive, "a number above 0"),
    "gravity": (_direction, "a direction in the image, x and y with y down, such as [0, 1]"),
}
"""Per column: its parser, which raises TypeError or ValueError, and what it expects."""


def _json_actions(path: Path) -> NDArray[np.float64] | tuple[Any, ...]:
    items = json.loads(path.read_bytes().decode("utf-8-sig"))
    if not isinstance(items, list):
        raise TypeError("it must hold a list with one item per action")
    return actions_array(items)


def _csv_actions(path: Path) -> NDArray[np.float64] | tuple[Any, ...]:
    rows = [cells for _, cells in _csv_rows(path.read_bytes().decode("utf-8-sig"))]
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    # Leaving a blank line out would shift every later action by one frame.
    blank = next((n for n, cells in enumerate(rows, start=1) if not any(cell.strip() for cell in cells)), None)
    if blank is not None:
        raise ValueError(f"row {blank} is blank; every row must be an action")
    numbers = [_floats(cells) for cells in rows]
    if rows and numbers[0] is None:
        named = any(cell.strip().lower() in {"action", "actions"} for cell in rows[0])
        if named or (len(rows) > 1 and None not in numbers[1:]):
            rows, numbers = rows[1:], numbers[1:]
    if None not in numbers:
        return actions_array(numbers)
    return tuple(cells[0] if len(cells) == 1 else tuple(cells) for cells in rows)


def _floats(cells: list[str]) -> list[float] | None:
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        return None


def _npy_actions(path: Path) -> NDArray[np.float64] | tuple[Any, ...]:
    array = _load_npy(path)
    if array.dtype.kind in "biuf" and array.ndim in {1, 2}:
        numbers = array.astype(np.float64)
        return _finite(numbers[:, None] if array.ndim == 1 else numbers)
    if array.dtype.kind == "U" and array.ndim == 1:
        return tuple(array.tolist())
    raise ValueError(f"it must hold (n,) or (n, A) numbers or (n,) text, not {array.shape} {array.dtype}")


def _load_npy(path: Path) -> NDArray[Any]:
    """As `np.load`, but the promised shape is held against the file's size before anything is allocated."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        try:
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, is_fortran, dtype = read_header[version](file)
        except (KeyError, SyntaxError, tokenize.TokenError) as error:
            raise ValueError("its NumPy header is broken or too new") from error
        if dtype.hasobject:
            raise ValueError("it holds pickled objects, which are never loaded")
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > path.stat().st_size - file.tell():
            raise ValueError(f"its header promises {shape} {dtype}, more than the file holds")
        return np.fromfile(file, dtype, math.prod(shape)).reshape(shape, order="F" if is_fortran else "C")

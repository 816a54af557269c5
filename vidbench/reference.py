"""Reference statistics: what set metrics keep of a reference set, in one file that replaces the folder of its clips.

A file holds the state of each metric as float64 moments and, where a metric needs them, all feature rows; and a stamp
with everything that a number computed with it depends on. It is a safetensors file: numbers and JSON, never code. Files
come from afar, so nothing in one is believed before it was looked at. The same clips and settings give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.files import write_atomic

SUFFIX = ".safetensors"
FORMAT = 1
KEY = "vidbench-reference"
HASHES = "clips/sha256"
MOST_HEADER = 100 << 20
"""Bytes; safetensors has the same limit."""


@dataclass(frozen=True, slots=True)
class ExtractorStamp:
    """Which extractor saw the clips."""

    name: str
    version: str
    parameters: Mapping[str, Any]
    weights: str | None
    """Checksum; None where there are no weights."""


@dataclass(frozen=True, slots=True)
class KeptMetric:
    """One metric's state and what it depends on."""

    name: str
    version: str
    parameters: Mapping[str, Any]
    extractors: tuple[ExtractorStamp, ...]
    clips: int
    """How many clips are in the state."""
    values: Mapping[str, Any]
    """The state's JSON values."""
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict, compare=False)
    """The state's arrays."""


@dataclass(frozen=True, slots=True)
class ReferenceFile:
    """The whole file."""

    vidbench: str
    """Version that wrote it."""
    decoder: str
    """What turned files into frames."""
    features: bool
    """Whether rows of single clips may be in it."""
    clips: int
    spans: Mapping[str, Sequence[float | None]]
    """Smallest and largest number of frames, frame rate, width and height."""
    metrics: Mapping[str, KeptMetric]
    hashes: NDArray[np.uint8] = field(compare=False)
    """(N, 32) sha256 of each clip's content, so that a model that is the reference set is known for it."""

    def hexdigests(self) -> set[str]:
        """The clips' hashes as rows of runs have them."""
        return {bytes(row).hex() for row in self.hashes}


def write_reference(path: Path, reference: ReferenceFile) -> None:
    """Write a file; whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    from safetensors.numpy import save

    tensors = {HASHES: np.ascontiguousarray(reference.hashes)}
    for name, kept in reference.metrics.items():
        tensors |= {f"{name}/{key}": np.array(array, order="C") for key, array in kept.arrays.items()}
    header = {
        "format": FORMAT,
        "vidbench": reference.vidbench,
        "decoder": reference.decoder,
        "features": reference.features,
        "clips": reference.clips,
        "spans": dict(reference.spans),
        "sha256": _digest(tensors),
        "metrics": {
            name: {
                "version": kept.version,
                "parameters": dict(kept.parameters),
                "extractors": [asdict(stamp) for stamp in kept.extractors],
                "clips": kept.clips,
                "values": dict(kept.values),
            }
            for name, kept in reference.metrics.items()
        },
    }
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    try:
        write_atomic(path, save(dict(sorted(tensors.items())), metadata={KEY: text}))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}); choose another with -o") from None


def read_reference(path: Path) -> ReferenceFile:
    """Read a file, believing nothing of it; what metrics make of their states they check themselves.

    Raises:
        InputError: it is no reference file, damaged or of a later version; one line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from None
    try:
        return _parsed(data)
    except _LaterFormatError as error:
        raise InputError(f"{path} {error}") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(
            f"{path} is no whole reference file ({reason}); make one with: vidbench reference build FOLDER -o "
            f"{path.name}"
        ) from None


class _LaterFormatError(Exception):
    """Written by a later vidbench."""


def _parsed(data: bytes) -> ReferenceFile:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 0 < length <= min(MOST_HEADER, len(data) - 8):
        raise ValueError("not in the safetensors format")
    outer = json.loads(data[8 : 8 + length])
    notes = outer.get("__metadata__") if isinstance(outer, dict) else None
    if not isinstance(notes, dict) or not isinstance(notes.get(KEY), str):
        raise TypeError("a safetensors file, but not one of `vidbench reference build`")
    header = json.loads(notes[KEY], parse_constant=_refuse_constant)
    if not isinstance(header, dict):
        raise TypeError("its header is no dictionary")
    if header.get("format") != FORMAT:
        raise _LaterFormatError(f"has the format {header.get('format')}, this vidbench reads {FORMAT}; update vidbench")
    try:
        tensors: dict[str, NDArray[Any]] = load(data)
    except (SafetensorError, OverflowError) as error:
        raise ValueError(str(error)) from None
    if header.get("sha256") != _digest(tensors):
        raise ValueError("its numbers do not have the checksum that it names")
    return _built(header, tensors)


def _built(header: Mapping[str, Any], tensors: dict[str, NDArray[Any]]) -> ReferenceFile:
    hashes = tensors.pop(HASHES, None)
    clips = _count(header.get("clips"), "the number of clips")
    if hashes is None or hashes.dtype != np.uint8 or hashes.shape != (clips, 32):
        raise ValueError(f"it should hold {clips} hashes of clips")
    spans = header.get("spans")
    if not isinstance(spans, dict) or not all(_is_span(span) for span in spans.values()):
        raise ValueError("the spans of the clips are none")
    features = header.get("features")
    if not isinstance(features, bool):
        raise TypeError("it does not say whether features are in it")
    metrics = {}
    for name, value in _mapping(header.get("metrics"), "metrics").items():
        mine = {key: tensors.pop(key) for key in [key for key in tensors if key.startswith(f"{name}/")]}
        row = _mapping(value, name)
        stamps = row.get("extractors")
        if not isinstance(stamps, list):
            raise TypeError(f"the extractors of {name} are none")
        metrics[name] = KeptMetric(
            name=name,
            version=_text(row.get("version"), f"the version of {name}"),
            parameters=_mapping(row.get("parameters"), f"the parameters of {name}"),
            extractors=tuple(_stamp(stamp, name) for stamp in stamps),
            clips=_count(row.get("clips"), f"the number of clips of {name}"),
            values=_mapping(row.get("values"), f"the values of {name}"),
            arrays={key.partition("/")[2]: array for key, array in mine.items()},
        )
        if metrics[name].clips > clips:
            raise ValueError(f"{name} has more clips than the file")
    if tensors:
        raise ValueError(f"it holds {next(iter(tensors))}, which belongs to no metric")
    return ReferenceFile(
        _text(header.get("vidbench"), "the version"),
        _text(header.get("decoder"), "the decoder"),
        features,
        clips,
        spans,
        metrics,
        hashes,
    )


def _stamp(value: object, metric: str) -> ExtractorStamp:
    row = _mapping(value, f"an extractor of {metric}")
    weights = row.get("weights")
    return ExtractorStamp(
        _text(row.get("name"), f"an extractor of {metric}"),
        _text(row.get("version"), f"the version of an extractor of {metric}"),
        _mapping(row.get("parameters"), f"the parameters of an extractor of {metric}"),
        None if weights is None else _text(weights, f"the weights of {metric}"),
    )


def _mapping(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{what}: no dictionary")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is no text")
    return value


def _count(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise ValueError(f"{what} is none")
    return value


def _is_span(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(end is None or (isinstance(end, int | float) and math.isfinite(end)) for end in value)
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"its header holds {name}")


def _digest(tensors: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for key, array in sorted(tensors.items()):
        digest.update(f"{key} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

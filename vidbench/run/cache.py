"""Observations on disk: content-addressed, verified on read, bounded in size, never pickled.

A key says everything an observation depends on (content of the clip, how it is decoded, the extractor's identity), so
an entry never needs to be invalidated, only forgotten when room is short.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import TypeVar

import numpy as np

from vidbench.errors import InputError
from vidbench.extractor import Observation
from vidbench.files import write_atomic

O = TypeVar("O", bound=Observation)  # noqa: E741

_MAGIC = b"vidbench-observation-1\n"
_SUFFIX = ".observation"
DEFAULT_LIMIT_GB = 10.0


def serialise(observation: Observation) -> bytes:
    """An observation as bytes: a sha256 of what follows, then safetensors with the scalars as JSON in its header."""
    from safetensors.numpy import save

    arrays, scalars = observation.to_parts()
    # A strided view would be stored by its buffer: contiguous copies make equal bytes of equal values.
    plain = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    # One entry: safetensors writes several in no fixed order, and equal observations must give equal bytes.
    facts = json.dumps({"type": type(observation).__name__, "scalars": scalars}, sort_keys=True)
    payload = save(plain, metadata={"observation": facts})
    return _MAGIC + hashlib.sha256(payload).digest() + payload


def deserialise(data: bytes, kind: type[O]) -> O:
    """An observation from bytes.

    Raises:
        ValueError: the bytes are damaged or hold another kind of observation.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    start = len(_MAGIC) + 32
    payload = data[start:]
    if not data.startswith(_MAGIC) or hashlib.sha256(payload).digest() != data[len(_MAGIC) : start]:
        raise ValueError("checksum does not match")
    try:
        length = int.from_bytes(payload[:8], "little")
        header = json.loads(json.loads(payload[8 : 8 + length])["__metadata__"]["observation"])
        if header["type"] != kind.__name__:
            raise ValueError(f"holds a {header['type']}, not a {kind.__name__}")
        return kind.from_parts(load(payload), header["scalars"])
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"cannot be read: {error}") from error


def default_limit() -> int:
    """Bytes the cache may hold: `$VIDBENCH_CACHE_GB` gigabytes, 10 unless told.

    Raises:
        InputError: the variable is not a finite number.
    """
    told = os.environ.get("VIDBENCH_CACHE_GB", str(DEFAULT_LIMIT_GB))
    try:
        return int(float(told) * 1e9)
    except (ValueError, OverflowError):
        raise InputError(f"VIDBENCH_CACHE_GB must be a number of gigabytes, not '{told}'") from None


class ObservationCache:
    """A folder of observations.

    Reading and writing never fail a run: what is damaged is removed and counts as absent; where nothing can be written
    `put` returns the reason and later calls are quiet.

    Args:
        folder: made when first written to.
        limit: bytes it may hold; the longest unused entries go first.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder / "observations"
        self.limit = limit
        self._refused = False

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{_SUFFIX}"

    def get(self, key: str, kind: type[O]) -> O | None:
        """The observation under `key`, or None where there is none that is whole."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        try:
            observation = deserialise(data, kind)
        except ValueError:
            _remove(path)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # marks it as used, for `prune`
        return observation

    def put(self, key: str, observation: Observation) -> str | None:
        """Store; None, or the first time that it cannot be stored, why."""
        if self._refused:
            return None
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, serialise(observation))
        except OSError as error:
            self._refused = True
            return f"observations are not cached: {error.strerror or error} ({self.folder})"
        return None

    def prune(self) -> int:
        """Remove the longest unused entries until the cache is within its limit; returns the bytes it then holds."""
        entries: list[tuple[float, int, Path]] = []
        now = time.time()
        for path in self.folder.glob("*/*"):
            try:
                stat = path.stat()
            except OSError:
                continue
            if path.suffix == _SUFFIX:
                entries.append((stat.st_mtime, stat.st_size, path))
            elif path.suffix == ".tmp" and now - stat.st_mtime > 3600:
                _remove(path)  # left by a killed writer
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries, key=lambda entry: entry[0]):
            if total <= self.limit:
                break
            if _remove(path):
                total -= size
        return total


def _remove(path: Path) -> bool:
    """Whether the file is gone; in a cache that may only be read it stays."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        return True
    return False

"""Arrays on disk: `.npy` and `.npz`, read in pieces and never unpickled."""

from __future__ import annotations

import ast
import math
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from vidbench.decode.probe import open_regular
from vidbench.decode.source import Picture, Source
from vidbench.errors import ClipError
from vidbench.video import Limits

_WANTED = "wanted is (T, H, W, 3) uint8"
_NO_ARRAY = "not a NumPy array file, or its header is damaged"
_KEYS = ("frames", "arr_0")
_MAX_HEADER = 10_000


class ArraySource(Source):
    """One `.npy` file, or the array `frames`, `arr_0` or the only one of a `.npz` file."""

    timed = False

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(limits)
        self._path = path

    def pictures(self) -> Iterator[Picture]:
        """See `Source.pictures`."""
        with open_regular(self._path) as file:
            magic = file.read(4)
            file.seek(0)
            if magic != b"PK\x03\x04":
                yield from self._read(file, os.fstat(file.fileno()).st_size)
                return
            try:
                with zipfile.ZipFile(file) as archive:
                    member = _choose(archive)
                    with archive.open(member) as stream:
                        yield from self._read(stream, member.file_size)
            # RuntimeError: encrypted; NotImplementedError: a compression that Python lacks.
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
                raise ClipError(f"a damaged or unsupported .npz file: {error}") from error

    def _read(self, file: IO[bytes], size: int) -> Iterator[Picture]:
        shape, fortran, dtype = _header(file)
        _check(shape, fortran, dtype)
        frames, height, width, _ = shape
        self.check_size(width, height)
        self.check_count(frames)
        length = math.prod(shape[1:])
        for number in range(frames):
            data = _read_exactly(file, length)
            if len(data) < length:
                raise ClipError(f"cut off: has {number} of {frames} frames ({size} bytes)")
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3), None


def _choose(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist() if not info.is_dir()}
    for key in _KEYS:
        if key in members:
            return members[key]
    if len(members) == 1:
        return next(iter(members.values()))
    held = ", ".join(sorted(members)[:5]) or "nothing"
    raise ClipError(f"a .npz file that holds {held}; wanted is one array, or one named 'frames'")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, str]:
    """Shape, Fortran order and the type's name.

    NumPy's own reader would run a tokenizer and a dtype parser on whatever stands there.
    """
    start = _read_exactly(file, 12)
    if len(start) < 12 or start[:6] != b"\x93NUMPY" or start[6] not in (1, 2, 3):
        raise ClipError(_NO_ARRAY)
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(start[8 : 8 + width], "little")
    if length > _MAX_HEADER:
        raise ClipError(_NO_ARRAY)
    text = (start + _read_exactly(file, 8 + width + length - 12))[8 + width :]
    try:
        header = ast.literal_eval(text.decode("latin-1").strip())
        shape, fortran, descr = header["shape"], header["fortran_order"], header["descr"]
    except (ValueError, SyntaxError, TypeError, LookupError, RecursionError, MemoryError):
        raise ClipError(_NO_ARRAY) from None
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ClipError(_NO_ARRAY)
    return shape, bool(fortran), _type_name(descr)


def _type_name(descr: object) -> str:
    if descr == "|O":
        return "of Python objects"
    if isinstance(descr, str) and re.fullmatch(r"[<>|=]?[biufc](1|2|4|8|16)", descr):
        try:
            return str(np.dtype(descr).newbyteorder("="))
        except TypeError:
            pass
    return f"of type {str(descr)[:40]!r}"


def _check(shape: tuple[int, ...], fortran: bool, dtype: str) -> None:
    is_array = f"an array {shape} {dtype}"
    if len(shape) == 4 and shape[1] == 3 and shape[3] != 3:
        raise ClipError(f"{is_array}, channels first; {_WANTED}: transpose(0, 2, 3, 1)")
    if len(shape) == 4 and shape[3] == 4:
        raise ClipError(f"{is_array}, with an alpha channel; {_WANTED}")
    if len(shape) == 5:
        raise ClipError(f"{is_array}; {_WANTED}: one clip a file")
    if dtype.startswith("float"):
        raise ClipError(f"{is_array}; {_WANTED}: values in [0, 1] times 255, rounded")
    if len(shape) != 4 or shape[3] != 3 or dtype != "uint8":
        raise ClipError(f"{is_array}; {_WANTED}")
    if math.prod(shape) == 0:
        raise ClipError(f"no frames: {is_array}")
    if fortran:
        raise ClipError(f"{is_array} in Fortran order; save numpy.ascontiguousarray of it")


def _read_exactly(file: IO[bytes], length: int) -> bytes:
    """`length` bytes or, at the end of the file, less: unbuffered files may give less at a time."""
    data = file.read(length)
    while len(data) < length:
        more = file.read(length - len(data))
        if not more:
            break
        data += more
    return data

"""What a file is, judged by its bytes and never by its name; whether it ends before it says it does."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vidbench.errors import ClipError

HEAD_BYTES = 4096

# Files that are not clips but stand where clips should, mostly failed downloads and wrong extensions.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "a still image (PNG)"),
    (b"\xff\xd8\xff", "a still image (JPEG)"),
    (b"BM", "a still image (BMP)"),
    (b"II*\x00", "a still image (TIFF)"),
    (b"MM\x00*", "a still image (TIFF)"),
    (b"version https://git-lfs", "a Git LFS pointer (run git lfs pull)"),
    (b"#EXTM3U", "a playlist (HLS)"),
    (b"ffconcat", "a playlist (ffconcat)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"%PDF", "a PDF document"),
    (b"\x80\x04\x95", "a Python pickle"),
)
_STILL_BRANDS = (b"avif", b"heic", b"heix", b"mif1")
_BOX_TYPES = (b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"pnot")
# A file made of more parts than this is no honest container; its end is then left unjudged.
_MAX_PARTS = 200_000


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular, non-empty file for reading, unbuffered.

    Raises:
        ClipError: missing, a folder, a pipe or device, unreadable, or empty.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise ClipError("the file is missing") from None
    except (OSError, ValueError) as error:
        raise ClipError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    facts = os.fstat(descriptor)
    fault = "not a regular file" if not stat.S_ISREG(facts.st_mode) else "" if facts.st_size else "empty file (0 bytes)"
    if fault:
        os.close(descriptor)
        raise ClipError(fault)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        yield file


def is_webp(path: Path) -> bool:
    """Whether a file is WebP, still or animated. Raises as `open_regular` does."""
    with open_regular(path) as file:
        head = file.read(12)
    return head.startswith(b"RIFF") and head[8:] == b"WEBP"


def what_it_is(head: bytes) -> str | None:
    """Name a file that is no video by its first bytes; None if it may be one."""
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            return what
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        return f"a still image ({head[8:12].decode().upper()})"
    return _kind_of_text(head)


def _kind_of_text(head: bytes) -> str | None:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The head may end inside a character.
        if error.start < len(head) - 3:
            return None
        text = head[: error.start].decode("utf-8")
    if not text or any(ord(c) < 32 and c not in "\t\n\r\f" for c in text):
        return None
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith(("<!doctype html", "<html")):
        return "a web page (HTML), perhaps from a download that failed"
    return "text"


def image_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) from the header of a PNG, GIF, BMP or JPEG file, before anything is decoded; None if unknown."""
    if data.startswith(b"\x89PNG") and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data.startswith(b"GIF8") and len(data) >= 10:
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if data.startswith(b"BM") and len(data) >= 26:
        width, height = (int.from_bytes(data[i : i + 4], "little", signed=True) for i in (18, 22))
        return abs(width), abs(height)
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    offset = 2
    while offset + 9 < len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF:  # fill byte
            offset += 1
            continue
        # Start of frame, but not the tables that share its range (DHT, JPG, DAC).
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[offset + i : offset + i + 2], "big") for i in (5, 7))
            return width, height
        offset += 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
    return None


def is_cut_off(file: BinaryIO) -> bool:
    """Whether the container's own structure reaches beyond the end of the file.

    Knows ISO base media (mp4, mov), RIFF (avi, webp), Matroska (mkv, webm), GIF and PNG; others count as complete.
    Leaves the position at the start.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(16)
    try:
        if head[4:8] in _BOX_TYPES:
            return _boxes_end(file) > size
        if head.startswith(b"RIFF"):
            return _riff_ends(file, size) > size
        if head.startswith(b"\x1a\x45\xdf\xa3"):
            return _segment_ends(file) > size
        if head.startswith(b"GIF8"):
            return not _gif_has_trailer(file)
        if head.startswith(b"\x89PNG"):
            return not _png_has_end(file)
    finally:
        file.seek(0)
    return False


def box_types(file: BinaryIO) -> list[bytes]:
    """Types of the top-level boxes of an ISO base media file. Leaves the position at the start."""
    types = [kind for kind, _ in _boxes(file)]
    file.seek(0)
    return types


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(type, end) of each top-level box; the end may lie beyond the file."""
    offset = 0
    for _ in range(_MAX_PARTS):
        file.seek(offset)
        header = file.read(16)
        if len(header) < 8:
            return
        length = int.from_bytes(header[:4], "big")
        if length == 1 and len(header) == 16:
            length = int.from_bytes(header[8:16], "big")
        if length < 8 or length >= 1 << 62:  # 0 means "to the end of the file"; others are no boxes
            yield header[4:8], offset
            return
        offset += length
        yield header[4:8], offset


def _boxes_end(file: BinaryIO) -> int:
    return max((end for _, end in _boxes(file)), default=0)


def _riff_ends(file: BinaryIO, size: int) -> int:
    end = 0
    # AVI files over 1 GiB are several RIFF chunks in a row.
    for _ in range(_MAX_PARTS):
        file.seek(end)
        header = file.read(8)
        length = int.from_bytes(header[4:8], "little")
        # 0 and all ones stand in files whose writer was a stream.
        if header[:4] != b"RIFF" or length in (0, 0xFFFFFFFF):
            break
        end += 8 + length
        if end >= size:
            break
        end += length % 2
    return end


def _segment_ends(file: BinaryIO) -> int:
    file.seek(4)
    start, length = _vint(file, 4)
    if length is None:
        return 0
    file.seek(start + length)
    if file.read(4) != b"\x18\x53\x80\x67":
        return 0
    start, length = _vint(file, start + length + 4)
    return 0 if length is None else start + length


def _vint(file: BinaryIO, offset: int) -> tuple[int, int | None]:
    """EBML length at `offset`: where it ends and its value, None for 'unknown'."""
    raw = file.read(8)
    if not raw or raw[0] == 0:
        return offset, None
    width = 9 - raw[0].bit_length()
    value = int.from_bytes(raw[:width], "big") & ((1 << (7 * width)) - 1)
    return offset + width, None if value == (1 << (7 * width)) - 1 else value


def _gif_has_trailer(raw: BinaryIO) -> bool:
    raw.seek(0)
    data = raw.read(13)
    if len(data) < 13:
        return False
    offset = 13 + _color_table(data[10])
    # GIF has no lengths to jump by but 256-byte blocks, so the file is read through in large pieces.
    raw.seek(0)
    window, start = b"", 0

    def take(at: int, count: int) -> bytes:
        nonlocal window, start
        if not start <= at <= at + count <= start + len(window):
            raw.seek(at)
            window, start = raw.read(1 << 20), at
        return window[at - start : at - start + count]

    while True:
        introducer = take(offset, 1)
        if introducer == b";":
            return True
        if introducer == b"!":
            offset += 2
        elif introducer == b",":
            descriptor = take(offset, 10)
            if len(descriptor) < 10:
                return False
            offset += 11 + _color_table(descriptor[9])
        else:
            return False
        while True:
            length = take(offset, 1)
            if not length:
                return False
            offset += 1 + length[0]
            if length[0] == 0:
                break


def _color_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _png_has_end(file: BinaryIO) -> bool:
    offset = 8
    for _ in range(_MAX_PARTS):
        file.seek(offset)
        header = file.read(8)
        if len(header) < 8:
            return False
        offset += 12 + int.from_bytes(header[:4], "big")
        if header[4:] == b"IEND":
            return True
    return True

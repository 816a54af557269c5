"""Animated WebP. FFmpeg does not decode it, so the frames are taken out here and decoded one by one as still images.

Source: the WebP container specification, https://developers.google.com/speed/webp/docs/riff_container
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.decode.probe import is_cut_off, open_regular
from vidbench.decode.source import Picture, Source
from vidbench.errors import ClipError
from vidbench.video import Limits

_ANIMATION = 0x02
_ALPHA = 0x10
_DISPOSE_TO_BACKGROUND = 0x01
_DO_NOT_BLEND = 0x02


class WebpSource(Source):
    """One WebP file; plays once, over black (its background colour is a hint that browsers ignore)."""

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(limits)
        self._path = path
        self.tick = 1e-3

    def pictures(self) -> Iterator[Picture]:
        """See `Source.pictures`."""
        with open_regular(self._path) as file:
            size = os.fstat(file.fileno()).st_size
            cut_off = is_cut_off(file)
            head = file.read(30)
            if head[12:16] != b"VP8X" or len(head) < 30 or not head[20] & _ANIMATION:
                raise ClipError("a still image (WebP), not a video")
            width, height = 1 + _u24(head, 24), 1 + _u24(head, 27)
            self.check_size(width, height)
            canvas = np.zeros((height, width, 3), np.uint8)
            clock, shown = 0, 0
            for frame in _frames(file, size):
                if frame is None:
                    break
                box = frame.draw(canvas)
                if self.rate is None:
                    self.rate = 1000 / frame.duration
                yield canvas, clock / 1000
                shown += 1
                clock += frame.duration
                if frame.flags & _DISPOSE_TO_BACKGROUND:
                    canvas[box] = 0
            if cut_off:
                raise ClipError(f"cut off: decodes {shown} frames")
            if shown == 0:
                raise ClipError("no frames")


class _Frame:
    """One ANMF chunk."""

    def __init__(self, number: int, payload: bytes) -> None:
        self.number = number
        self.left, self.top = 2 * _u24(payload, 0), 2 * _u24(payload, 3)
        self.width, self.height = 1 + _u24(payload, 6), 1 + _u24(payload, 9)
        milliseconds = _u24(payload, 12)
        # Browsers show frames of 10 ms and less for 100 ms, and so do the makers of such files expect.
        self.duration = milliseconds if milliseconds > 10 else 100
        self.flags = payload[15]
        self._data = payload[16:]

    def draw(self, canvas: NDArray[np.uint8]) -> tuple[slice, slice]:
        """Put the frame on the canvas; the canvas is opaque, since all is shown over black in the end."""
        box = slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)
        if self.top + self.height > canvas.shape[0] or self.left + self.width > canvas.shape[1]:
            raise ClipError(f"damaged: frame {self.number} lies outside the picture")
        pixels = self._decode()
        if pixels.shape[2] == 3:
            canvas[box] = pixels[..., ::-1]
            return box
        alpha = pixels[..., 3:].astype(np.uint16)
        product = pixels[..., 2::-1] * alpha
        if not self.flags & _DO_NOT_BLEND:
            product += canvas[box] * (255 - alpha)
        canvas[box] = (product + 127) // 255
        return box

    def _decode(self) -> NDArray[np.uint8]:
        """BGR or BGRA (height, width, channels)."""
        data = self._data
        if data[:4] == b"ALPH":
            # A still image with a separate alpha chunk needs the extended header.
            size = (self.width - 1).to_bytes(3, "little") + (self.height - 1).to_bytes(3, "little")
            data = b"VP8X" + (10).to_bytes(4, "little") + bytes((_ALPHA, 0, 0, 0)) + size + data
        still = b"RIFF" + (4 + len(data)).to_bytes(4, "little") + b"WEBP" + data
        try:
            pixels = cv2.imdecode(np.frombuffer(still, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            pixels = None
        if pixels is None or pixels.shape[:2] != (self.height, self.width):
            raise ClipError(f"damaged: frame {self.number} does not decode")
        return np.asarray(pixels, np.uint8)


def _frames(file: BinaryIO, size: int) -> Iterator[_Frame | None]:
    """Frames in order; None where the file ends inside one."""
    offset, number = 12, 0
    while offset + 8 <= size:
        file.seek(offset)
        header = file.read(8)
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"ANMF":
            if length < 24:
                raise ClipError(f"damaged: frame {number} is too short")
            if offset + 8 + length > size:
                yield None
                return
            yield _Frame(number, file.read(length))
            number += 1
        offset += 8 + length + length % 2


def _u24(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 3], "little")

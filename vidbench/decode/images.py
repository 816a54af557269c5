"""Frame folders: one image file a frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import frame_files
from vidbench.decode.probe import image_size, open_regular
from vidbench.decode.source import Picture, Source, over_black
from vidbench.errors import ClipError
from vidbench.video import Limits


class FolderSource(Source):
    """A folder of numbered frames, all of one size."""

    timed = False

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(limits)
        self._path = path

    def pictures(self) -> Iterator[Picture]:
        """See `Source.pictures`."""
        files = frame_files(self._path)
        self.check_count(len(files))
        for file in files:
            try:
                yield self._picture(file), None
            except ClipError as error:
                raise ClipError(f"frame {file.name!r}: {error.reason}") from error

    def _picture(self, path: Path) -> NDArray[np.uint8]:
        with open_regular(path) as file:
            data = file.read()
        if size := image_size(data):
            self.check_size(*size)
        return decode_image(data)


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """One image file as RGB (H, W, 3): 16 bits rounded to 8, alpha over black, JPEG turned as its EXIF says.

    Raises:
        ClipError: it does not decode, or has neither 8 nor 16 bits.
    """
    # OpenCV drops alpha and depth unless it is told to leave all as it is, and turns images only if it is not.
    flags = cv2.IMREAD_COLOR if data.startswith(b"\xff\xd8") else cv2.IMREAD_UNCHANGED
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ClipError(f"does not decode ({error.err})") from error
    if decoded is None:
        raise ClipError("does not decode")
    if decoded.dtype == np.uint16:
        image = ((decoded.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif decoded.dtype == np.uint8:
        image = np.asarray(decoded, np.uint8)
    else:
        raise ClipError(f"has {decoded.dtype} pixels; 8 or 16 bits are wanted")
    if image.ndim == 2:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
    if image.shape[2] == 4:
        return over_black(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA), np.uint8))
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)

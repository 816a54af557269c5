"""How published video metrics bring a frame to the size that a network wants; each to the pixel as its source does.

All take one frame (3, H, W) float32 in [0, 255] and give (3, side, side). Nothing is antialiased unless it says so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


STRIP = 8
"""Frames longer than this many times their width are cropped without enlarging all of them first."""


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 with the same values."""
    import torch

    # A float copy, because torch warns of arrays that it may not write, and the frames are everybody's.
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32))


def squash(frame: Tensor, side: int) -> Tensor:
    """Bilinear to side x side whatever the aspect ratio, pixel centres at halves (align_corners=False).

    The metric of songweige/content-debiased-fvd a1e037ab and StyleGAN-V's `resize=True`.
    """
    from torch.nn import functional

    if tuple(frame.shape[1:]) == (side, side):
        return frame
    return functional.interpolate(frame[None], (side, side), mode="bilinear", align_corners=False)[0]


def squash_tf1(frame: Tensor, side: int) -> Tensor:
    """`tf.image.resize_bilinear` of TensorFlow 1: align_corners=False and no half-pixel centres.

    Output pixel i looks at i * size / side, so that the picture moves up and left by up to half a pixel against every
    other bilinear resize; they agree only where nothing is resized.
    """
    import torch

    for axis in (1, 2):
        size = frame.shape[axis]
        at = torch.arange(side, dtype=torch.float32) * (size / side)
        low = at.floor().long().clamp(max=size - 1)
        high = (low + 1).clamp(max=size - 1)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        below, above = frame.index_select(axis, low), frame.index_select(axis, high)
        frame = below + (above - below) * share
    return frame


def crop(frame: Tensor, side: int, *, antialias: bool = False) -> Tensor:
    """Shorter side to `side`, the other rounded up; bilinear; then the centre.

    `preprocess` of wilson1yan/VideoGPT 733d2b15 (videogpt/data.py), and with antialiasing of the loader of
    songweige/content-debiased-fvd a1e037ab (cdfvd/utils/data_utils.py).
    """
    from torch.nn import functional

    height, width = frame.shape[1:]
    scale = side / min(height, width)
    size = (side, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), side)
    if scale > 1 and max(height, width) > STRIP * min(height, width):
        return _centre_of_strip(frame, side, size)
    if size != (height, width):
        frame = functional.interpolate(frame[None], size, mode="bilinear", align_corners=False, antialias=antialias)[0]
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return frame[:, top : top + side, left : left + side]


def _centre_of_strip(frame: Tensor, side: int, size: tuple[int, int]) -> Tensor:
    """As `crop` for an enlarged strip, whose whole picture may not fit into memory; antialiasing leaves it alone."""
    import torch

    for axis in sorted((1, 2), key=lambda axis: -size[axis - 1]):  # the long one first, while the other is small
        length, whole = frame.shape[axis], size[axis - 1]
        at = torch.arange(side, dtype=torch.float64) + (whole - side) // 2
        at = ((at + 0.5) * (length / whole) - 0.5).clamp(min=0)
        low = at.floor().long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        share = (at - low).float().reshape([-1 if a == axis else 1 for a in range(3)])
        below, above = frame.index_select(axis, low), frame.index_select(axis, high)
        frame = below + (above - below) * share
    return frame


def through_loader(frame: Tensor, resolution: int) -> Tensor:
    """What cd-fvd's loader makes of a frame: antialiased, cropped to a square, cut off to whole numbers."""
    unit = crop(frame / 255, resolution, antialias=True)
    return (unit * 255).byte().float()

"""A clip as a row of tokens, and back: the first and last thing a video transformer does.

A patch is a box of `pt` frames x `ph` x `pw` pixels. Boxes do not overlap, so nothing is lost and nothing is computed;
it is a rearrangement. Patchify and then a `Linear` is the same sum as a 3-D convolution whose stride is its kernel, in
the order of that convolution's weights. Channels are whatever comes: 3 of pixels, 4 or 16 of a VAE's latents, or frames
stacked as channels.

Axes: b clips, c channels, t frames, h and w pixels; (gt, gh, gw) is the grid of patches.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vidbench.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Triple = tuple[int, int, int]
"""Frames, rows, columns."""


def text(size: Triple) -> str:
    """`(120, 360, 640)` as 120x360x640."""
    return "x".join(map(str, size))


def padded_size(size: Triple, patch: Triple) -> Triple:
    """The least size, frames x height x width, that holds `size` and divides into patches."""
    gt, gh, gw = (-(-length // step) for length, step in zip(size, patch, strict=True))
    return gt * patch[0], gh * patch[1], gw * patch[2]


def patch_grid(size: Triple, patch: Triple) -> Triple:
    """How many patches along frames, rows and columns.

    Args:
        size: frames x height x width.
        patch: size of a patch in the same units.

    Raises:
        InputError: the size does not divide, or something is below 1; says what to pad to.
    """
    if min(patch) < 1 or min(size) < 1:
        raise InputError(f"sizes must be at least 1; got {text(size)} in patches of {text(patch)}")
    if padded_size(size, patch) != tuple(size):
        raise InputError(
            f"{text(size)} (frames x height x width) does not divide into patches of {text(patch)}; pad it to "
            f"{text(padded_size(size, patch))}"
        )
    return size[0] // patch[0], size[1] // patch[1], size[2] // patch[2]


def patchify(clips: Tensor, patch: Triple) -> Tensor:
    """Cut clips into tokens.

    Args:
        clips: (b, c, t, h, w), any dtype.
        patch: frames, rows and columns of a patch.

    Returns:
        (b, gt * gh * gw, c * pt * ph * pw); tokens in the order of reading, frame after frame; inside a token the
        channel comes first, then frame, row, column.

    Raises:
        InputError: not five axes, or a size that does not divide.
    """
    if clips.ndim != 5:
        raise InputError(f"clips have five axes, (batch, channels, frames, height, width); got {tuple(clips.shape)}")
    b, c, t, h, w = clips.shape
    (gt, gh, gw), (pt, ph, pw) = patch_grid((t, h, w), patch), patch
    boxes = clips.reshape(b, c, gt, pt, gh, ph, gw, pw)
    boxes = boxes.permute(0, 2, 4, 6, 1, 3, 5, 7)  # (b, gt, gh, gw, c, pt, ph, pw)
    return boxes.reshape(b, gt * gh * gw, c * pt * ph * pw)


def unpatchify(tokens: Tensor, grid: Triple, patch: Triple) -> Tensor:
    """Put tokens back together; the exact inverse of `patchify`.

    Args:
        tokens: (b, gt * gh * gw, c * pt * ph * pw).
        grid: patches along frames, rows and columns; need not be square.
        patch: frames, rows and columns of a patch.

    Returns:
        (b, c, gt * pt, gh * ph, gw * pw).

    Raises:
        InputError: the tokens are not that many, or not of that size.
    """
    (gt, gh, gw), (pt, ph, pw) = grid, patch
    if tokens.ndim != 3 or tokens.shape[1] != math.prod(grid) or tokens.shape[2] % math.prod(patch):
        raise InputError(
            f"tokens of shape {tuple(tokens.shape)} are no grid of {text(grid)} patches of {text(patch)}; expected "
            f"(batch, {math.prod(grid)}, a multiple of {math.prod(patch)})"
        )
    b, c = tokens.shape[0], tokens.shape[2] // math.prod(patch)
    boxes = tokens.reshape(b, gt, gh, gw, c, pt, ph, pw)
    boxes = boxes.permute(0, 4, 1, 5, 2, 6, 3, 7)  # (b, c, gt, pt, gh, ph, gw, pw)
    return boxes.reshape(b, c, gt * pt, gh * ph, gw * pw)

"""Rotary position embedding for video: where a token stands, told by turning its queries and keys.

Su et al., RoFormer (arXiv 2104.09864). The channels of a head are taken in pairs, each pair is a point in a plane, and
a token at position p turns the point of pair i by the angle p * f_i. A dot product sees only the difference of two
angles, so attention knows *how far apart* two tokens are and nothing else: any length works, nothing is learned.

For video the pairs are shared out over frames, rows and columns: some turn with t, some with h, some with w. The one
rule that must not be broken is that a pair belongs to one axis. (Splitting a table by other sizes than it was built by
gives a code that runs, trains, and means nothing for some head sizes; the test is the property itself: q(p) · k(p')
depends on p - p' alone, along each axis.)
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from vidbench.errors import InputError
from vidbench.worldmodel.patchify import Triple

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines, each (n, head_size / 2) float32: how far each token turns each pair."""


def axis_pairs(head_size: int) -> Triple:
    """How many pairs of channels turn with frames, rows and columns.

    Rows and columns get a third each, rounded down, and frames the rest: (22, 21, 21) for a head of 128.

    Raises:
        InputError: the size is odd, or below 6, where an axis would have no pair.
    """
    pairs, odd = divmod(head_size, 2)
    if odd or pairs < 3:
        raise InputError(
            f"a head of size {head_size} has no pair of channels for each of 3 axes; take an even size from 6 upwards"
        )
    return pairs - 2 * (pairs // 3), pairs // 3, pairs // 3


def frequencies(pairs: int, theta: float) -> Tensor:
    """Radians a step for each pair of an axis: theta^(-i / pairs), from 1 downwards, (pairs,) float32."""
    return theta ** (-torch.arange(pairs, dtype=torch.float32) / pairs)


def rotation(positions: Tensor, head_size: int, theta: float = 10_000.0) -> Rotation:
    """The turn of each pair of a head at these positions.

    Args:
        positions: (n, 3) frame, row and column of each token; need not be whole.
        head_size: channels of a head, even, at least 6.
        theta: the slowest pairs turn once in about 2 pi theta steps; smaller suits small grids.
    """
    angles = [
        positions[:, axis, None].float() * frequencies(pairs, theta).to(positions.device)  # (n, pairs of this axis)
        for axis, pairs in enumerate(axis_pairs(head_size))
    ]
    turned = torch.cat(angles, dim=1)  # (n, head_size / 2)
    return turned.cos(), turned.sin()


def rotate(x: Tensor, turn: Rotation) -> Tensor:
    """Turn the channel pairs (0, 1), (2, 3), … of x.

    Args:
        x: (..., n, head_size) queries or keys.
        turn: from `rotation`.

    Returns:
        Same shape and dtype; lengths are kept.
    """
    cos, sin = turn
    wide = x.to(torch.promote_types(x.dtype, cos.dtype))  # half precision would blur large angles
    first, second = wide[..., 0::2], wide[..., 1::2]
    turned = torch.stack((first * cos - second * sin, first * sin + second * cos), dim=-1)
    return turned.flatten(-2).to(x.dtype)


def grid_positions(grid: Triple) -> Tensor:
    """(gt * gh * gw, 3) frame, row and column of each token, in the order of `patchify`."""
    return torch.cartesian_prod(*(torch.arange(length) for length in grid))


@lru_cache(maxsize=64)
def grid_rotation(grid: Triple, head_size: int, theta: float, device: torch.device) -> Rotation:
    """`rotation` of a whole grid, kept: it is the same in every block and step."""
    with torch.inference_mode(False):  # what is kept may be needed for training later
        cos, sin = rotation(grid_positions(grid), head_size, theta)
        return cos.to(device), sin.to(device)

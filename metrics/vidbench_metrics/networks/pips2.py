"""PIPs++: follows points through a window of frames, all frames at once, by refining whole tracks.

Zheng et al., "PointOdyssey", ICCV 2023 (arXiv 2307.15055). Numbers must match `Pips(stride=8)` with `iters=16` and
`beautify=True` of ljh0v0/FMD-frechet-motion-distance 3c435ddd (PyPI fvmd 1.0.0, fvmd/nets/pips2.py), which FVMD rests
on; its checkpoint is loaded by its own keys.

Axes: s frames, n points, c channels, h and w cells of 8 x 8 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from vidbench_metrics.networks.checkpoint import checked, read_state

if TYPE_CHECKING:
    from torch import Tensor, nn

NETWORK = "PIPs++ (as FVMD uses it)"
COMMAND = "vidbench weights fetch pips2"
KEY = "model_state_dict"
STRIDE = 8
"""Pixels along a cell of the feature map."""
LEVELS = 4
"""Of the correlation pyramid, each half as fine as the one before."""
RADIUS = 3
"""Cells around a point, along each axis and on each level, that are compared with it."""
LAGS = (2, 4)
"""Beside the first frame's, features of so many frames before are looked for, so that a changing look is followed."""
WAVELENGTH = 10_000.0


@dataclass(frozen=True)
class Pips2Size:
    """Widths of the layers."""

    encoder: tuple[int, int, int, int] = (64, 96, 128, 128)
    features: int = 128
    """Channels of the feature map."""
    filters: int = 128
    """Of the first of the blocks along time; doubled every other block."""
    blocks: int = 8


PUBLISHED = Pips2Size()


def tensor_shapes(size: Pips2Size | None = None) -> dict[str, tuple[int, ...]]:
    """Key to shape of all tensors."""
    return {key: tuple(value.shape) for key, value in _skeleton(size or PUBLISHED).state_dict().items()}


def _skeleton(size: Pips2Size) -> Any:
    """The layers without memory for their weights, which are put in later."""
    import torch

    with torch.device("meta"):
        return _layers(size).eval()


def _layers(size: Pips2Size) -> nn.Module:
    """Layers under the checkpoint's names; no norm has weights but `norm`, which plays no part."""
    from torch import nn

    def pair(taken: int, given: int, stride: int) -> nn.ModuleDict:
        block = nn.ModuleDict(
            {"conv1": nn.Conv2d(taken, given, 3, stride, 1), "conv2": nn.Conv2d(given, given, 3, 1, 1)}
        )
        if stride > 1:
            block["downsample"] = nn.Sequential(nn.Conv2d(taken, given, 1, stride))
        return block

    first, *others = size.encoder
    encoder = nn.ModuleDict({"conv1": nn.Conv2d(3, first, 7, 2, 3)})
    encoder["layer1"] = nn.Sequential(pair(first, first, 1), pair(first, first, 1))
    for number, (taken, given) in enumerate(zip(size.encoder, others, strict=False), 2):
        encoder[f"layer{number}"] = nn.Sequential(pair(taken, given, 2), pair(given, given, 1))
    encoder["conv2"] = nn.Conv2d(sum(size.encoder), 2 * size.features, 3, 1, 1)
    encoder["conv3"] = nn.Conv2d(2 * size.features, size.features, 1)

    def along_time(taken: int, given: int) -> nn.ModuleDict:
        return nn.ModuleDict({"conv": nn.Conv1d(taken, given, 3)})

    seen = LEVELS * (2 * RADIUS + 1) ** 2 * (1 + len(LAGS)) + size.features + 2
    widths = [size.filters, *(size.filters * 2 ** (block // 2) for block in range(size.blocks))]
    blocks = (nn.ModuleDict({"conv1": along_time(a, b), "conv2": along_time(b, b)}) for a, b in pairwise(widths))
    delta = nn.ModuleDict(
        {
            "first_block_conv": along_time(seen, size.filters),
            "basicblock_list": nn.ModuleList(blocks),
            "dense": nn.Linear(widths[-1], 2),
        }
    )
    return nn.ModuleDict({"fnet": encoder, "delta_block": delta, "norm": nn.GroupNorm(1, size.features)})


class Pips2:
    """The network.

    Args:
        state: tensors by the checkpoint's keys.
        file: where they come from, for messages.
        size: widths; the published ones by default.

    Raises:
        PluginError: a tensor is missing, unknown, of another shape or not finite; says which.
    """

    def __init__(self, state: Mapping[str, Any], file: str = "the checkpoint", size: Pips2Size | None = None) -> None:
        size = size or PUBLISHED
        tensors = checked(state, tensor_shapes(size), file, NETWORK, COMMAND)
        self._layers = _skeleton(size)
        self._layers.load_state_dict(tensors, assign=True)
        self._width = size.features

    def features(self, picture: Tensor) -> Tensor:
        """Feature map of one picture, which does not depend on the others.

        Args:
            picture: (3, H, W) float32 RGB in [0, 255], sides multiples of 64.

        Returns:
            (c, H / 8, W / 8).
        """
        import torch
        from torch.nn import functional

        encoder = self._layers["fnet"]
        size = [side // STRIDE for side in picture.shape[1:]]
        with torch.inference_mode():
            x = _normed(encoder["conv1"](2 * (picture[None] / 255.0) - 1.0))
            levels = []
            for number in range(1, 5):
                for block in encoder[f"layer{number}"]:
                    y = _normed(block["conv2"](_normed(block["conv1"](x))))
                    if "downsample" in block:
                        x = functional.instance_norm(block["downsample"](x))
                    x = functional.relu(x + y)
                levels.append(functional.interpolate(x, size, mode="bilinear", align_corners=True))
            found: Tensor = encoder["conv3"](_normed(encoder["conv2"](torch.cat(levels, dim=1))))
            return found[0]

    def __call__(self, maps: Tensor, points: Tensor, iterations: int) -> Tensor:
        """Tracks of points that are given in the first frame.

        Args:
            maps: (s, c, h, w) from `features`.
            points: (n, 2) x, y in pixels.
            iterations: how often tracks are refined; the last quarter takes half steps.

        Returns:
            (s, n, 2) x, y in pixels; the first frame's are `points`.
        """
        import torch

        with torch.inference_mode():
            pyramid = _pyramid(maps)
            frames = len(maps)
            places = (points / float(STRIDE)).repeat(frames, 1, 1)
            start = places[0].clone()
            first = _look(maps[:1], places[:1]).expand(frames, -1, -1)
            compared = [_correlations(pyramid, first)] * (1 + len(LAGS))
            for turn in range(iterations):
                if turn:
                    for which, lag in enumerate(LAGS, 1):
                        before = (torch.arange(frames) - lag).clip(min=0)
                        compared[which] = _correlations(pyramid, _look(maps[before], places[before]))
                around = torch.cat([_around(levels, places) for levels in compared], dim=-1)
                steps = places[1:] - places[:-1]
                steps = torch.cat([steps, steps[-1:]]).permute(1, 0, 2)
                change = self._delta(around.permute(1, 0, 2), steps).permute(1, 0, 2)
                places = places + (change * 0.5 if turn > 3 * iterations // 4 else change)
                places[0] = start
            return places * STRIDE

    def _delta(self, around: Tensor, steps: Tensor) -> Tensor:
        """(n, s, 2) correction of tracks in cells, from (n, s, …) correlations and (n, s, 2) steps between frames."""
        import torch
        from torch.nn import functional

        delta = self._layers["delta_block"]
        x = torch.cat([around, _waves(steps, self._width), steps], dim=2).permute(0, 2, 1)
        x = functional.relu(_along_time(delta["first_block_conv"], x))
        for number, block in enumerate(delta["basicblock_list"]):
            y = _along_time(block["conv1"], _normed(x) if number else x)
            y = _along_time(block["conv2"], _normed(y))
            more = y.shape[1] - x.shape[1]
            x = y + functional.pad(x, (0, 0, more // 2, more - more // 2))
        found: Tensor = delta["dense"](functional.relu(x).permute(0, 2, 1))
        return found


def _normed(x: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.relu(functional.instance_norm(x))


def _along_time(layer: Any, x: Tensor) -> Tensor:
    from torch.nn import functional

    found: Tensor = layer["conv"](functional.pad(x, (1, 1)))
    return found


def _waves(steps: Tensor, width: int) -> Tensor:
    """(n, s, width) sines and cosines of x, then of y, at width / 4 wavelengths."""
    import torch

    quarter = width // 4
    rate = 1.0 / WAVELENGTH ** (torch.arange(quarter) / (quarter - 1))
    x, y = steps[..., :1] * rate, steps[..., 1:] * rate
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=-1)


def _pyramid(maps: Tensor) -> list[Tensor]:
    from torch.nn import functional

    levels = [maps]
    while len(levels) < LEVELS:
        levels.append(functional.avg_pool2d(levels[-1], 2, stride=2))
    return levels


def _correlations(pyramid: list[Tensor], wanted: Tensor) -> list[Tensor]:
    """(s, n, h, w) on each level: products of (s, n, c) features with every cell's."""
    return [
        ((wanted @ level.flatten(2)) / math.sqrt(level.shape[1])).unflatten(2, level.shape[2:]) for level in pyramid
    ]


def _around(levels: list[Tensor], places: Tensor) -> Tensor:
    """(s, n, levels * side^2) correlations around (s, n, 2) places, between cells bilinearly, outside 0."""
    import torch
    from torch.nn import functional

    frames, points = places.shape[:2]
    reach = torch.linspace(-RADIUS, RADIUS, 2 * RADIUS + 1)
    # The first index moves x and the second y, as in RAFT.
    window = torch.stack(torch.meshgrid(reach, reach, indexing="ij"), dim=-1)
    found = []
    for number, level in enumerate(levels):
        at = places.reshape(frames * points, 1, 1, 2) / 2**number + window
        height, width = level.shape[2:]
        at = 2 * at / torch.tensor([width - 1, height - 1]) - 1
        seen = functional.grid_sample(level.reshape(frames * points, 1, height, width), at, align_corners=True)
        found.append(seen.reshape(frames, points, -1))
    return torch.cat(found, dim=-1)


def _look(maps: Tensor, places: Tensor) -> Tensor:
    """(s, n, c) features at (s, n, 2) places, bilinearly; beyond the border those of the border."""
    import torch

    frames, _, height, width = maps.shape
    left, top = places.floor().long().unbind(-1)
    right_share, bottom_share = (places - places.floor()).unbind(-1)
    frame = torch.arange(frames)[:, None]
    cells = maps.permute(0, 2, 3, 1)
    total = torch.zeros(*places.shape[:2], maps.shape[1])
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        vertical = bottom_share if down else 1 - bottom_share
        horizontal = right_share if across else 1 - right_share
        row, column = (top + down).clamp(0, height - 1), (left + across).clamp(0, width - 1)
        total = total + (vertical * horizontal)[..., None] * cells[frame, row, column]
    return total


def load(data: bytes, file: str) -> Pips2:
    """The network from FVMD's `pips2_weights.pth`.

    Raises:
        PluginError: it is no such file.
    """
    return Pips2(read_state(data, file, NETWORK, COMMAND, KEY), file)

"""Inception-v3 of 2015-12-05 up to its 2048 pooled features: what FID is computed on.

Architecture: Szegedy et al., arXiv 1512.00567, as in TensorFlow's graph `inception-2015-12-05`, which departs from the
paper and from torchvision: average pools leave out the zeros of the padding, and the last block pools by maximum.
Numbers must match toshas/torch-fidelity 0.4.0 (feature_extractor_inceptionv3.py, feature `2048`) and
mseitzer/pytorch-fid, which read the same checkpoint `pt_inception-2015-12-05-6726825d.pth` by the keys used here.

The network only looks, so it is a function of tensors: batch norms (epsilon 1e-3) are folded into convolutions.

Axes: n frames, c channels, h and w pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidbench_metrics.checkpoints import check_tensors, load_tensors

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "inception-2015-12-05"
WHAT = "the Inception checkpoint of FID"
SIDE = 299
DIMENSIONS = 2048
CLASSES = 1008
EPSILON = 1e-3


@dataclass(frozen=True, slots=True)
class Unit:
    """A convolution, a batch norm and a ReLU."""

    channels: int
    out: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: tuple[int, int] = (0, 0)


def _square(channels: int, out: int, side: int = 1, stride: int = 1, padding: int = 0) -> Unit:
    return Unit(channels, out, (side, side), stride, (padding, padding))


def _wide(channels: int, out: int, side: int) -> Unit:
    """1 x side, of unchanged size."""
    return Unit(channels, out, (1, side), padding=(0, side // 2))


def _tall(channels: int, out: int, side: int) -> Unit:
    """Side x 1, of unchanged size."""
    return Unit(channels, out, (side, 1), padding=(side // 2, 0))


def units() -> dict[str, Unit]:
    """The 94 units by the prefix of their keys."""
    found = {
        "Conv2d_1a_3x3": _square(3, 32, 3, 2),
        "Conv2d_2a_3x3": _square(32, 32, 3),
        "Conv2d_2b_3x3": _square(32, 64, 3, padding=1),
        "Conv2d_3b_1x1": _square(64, 80),
        "Conv2d_4a_3x3": _square(80, 192, 3),
    }
    for name, channels, pooled in (("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64)):
        found |= {
            f"{name}.branch1x1": _square(channels, 64),
            f"{name}.branch5x5_1": _square(channels, 48),
            f"{name}.branch5x5_2": _square(48, 64, 5, padding=2),
            f"{name}.branch3x3dbl_1": _square(channels, 64),
            f"{name}.branch3x3dbl_2": _square(64, 96, 3, padding=1),
            f"{name}.branch3x3dbl_3": _square(96, 96, 3, padding=1),
            f"{name}.branch_pool": _square(channels, pooled),
        }
    found |= {
        "Mixed_6a.branch3x3": _square(288, 384, 3, 2),
        "Mixed_6a.branch3x3dbl_1": _square(288, 64),
        "Mixed_6a.branch3x3dbl_2": _square(64, 96, 3, padding=1),
        "Mixed_6a.branch3x3dbl_3": _square(96, 96, 3, 2),
    }
    for name, c in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        found |= {
            f"{name}.branch1x1": _square(768, 192),
            f"{name}.branch7x7_1": _square(768, c),
            f"{name}.branch7x7_2": _wide(c, c, 7),
            f"{name}.branch7x7_3": _tall(c, 192, 7),
            f"{name}.branch7x7dbl_1": _square(768, c),
            f"{name}.branch7x7dbl_2": _tall(c, c, 7),
            f"{name}.branch7x7dbl_3": _wide(c, c, 7),
            f"{name}.branch7x7dbl_4": _tall(c, c, 7),
            f"{name}.branch7x7dbl_5": _wide(c, 192, 7),
            f"{name}.branch_pool": _square(768, 192),
        }
    found |= {
        "Mixed_7a.branch3x3_1": _square(768, 192),
        "Mixed_7a.branch3x3_2": _square(192, 320, 3, 2),
        "Mixed_7a.branch7x7x3_1": _square(768, 192),
        "Mixed_7a.branch7x7x3_2": _wide(192, 192, 7),
        "Mixed_7a.branch7x7x3_3": _tall(192, 192, 7),
        "Mixed_7a.branch7x7x3_4": _square(192, 192, 3, 2),
    }
    for name, channels in (("Mixed_7b", 1280), ("Mixed_7c", 2048)):
        found |= {
            f"{name}.branch1x1": _square(channels, 320),
            f"{name}.branch3x3_1": _square(channels, 384),
            f"{name}.branch3x3_2a": _wide(384, 384, 3),
            f"{name}.branch3x3_2b": _tall(384, 384, 3),
            f"{name}.branch3x3dbl_1": _square(channels, 448),
            f"{name}.branch3x3dbl_2": _square(448, 384, 3, padding=1),
            f"{name}.branch3x3dbl_3a": _wide(384, 384, 3),
            f"{name}.branch3x3dbl_3b": _tall(384, 384, 3),
            f"{name}.branch_pool": _square(channels, 192),
        }
    return found


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Key to shape of the checkpoint's 472 tensors, without its counters."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, unit in units().items():
        shapes[f"{name}.conv.weight"] = (unit.out, unit.channels, *unit.kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{part}"] = (unit.out,)
    return shapes | {"fc.weight": (CLASSES, DIMENSIONS), "fc.bias": (CLASSES,)}


class Inception:
    """The network.

    Args:
        state: the tensors by key.
        file: where they come from, for messages.

    Raises:
        PluginError: a tensor is missing, unknown, of another shape or not finite; says which.
    """

    def __init__(self, state: Mapping[str, Any], file: str = "the checkpoint") -> None:
        import torch

        checked = check_tensors(state, tensor_shapes(), file, WHAT, WEIGHTS, unused=("num_batches_tracked",))
        self._units = units()
        self._weights, self._biases = {}, {}
        for name in self._units:
            gamma, beta, mean, variance = (
                checked[f"{name}.bn.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
            )
            scale = gamma / torch.sqrt(variance + EPSILON)
            weight = checked[f"{name}.conv.weight"].double() * scale[:, None, None, None]
            self._weights[name] = weight.float().contiguous(memory_format=torch.channels_last)
            self._biases[name] = (beta - mean * scale).float()

    def __call__(self, x: Tensor) -> Tensor:
        """Features after the last pool.

        Args:
            x: (n, 3, 299, 299) float32, (value - 128) / 128.

        Returns:
            (n, 2048), not negative.

        Raises:
            ValueError: another size.
        """
        import torch
        from torch.nn import functional

        if tuple(x.shape[1:]) != (3, SIDE, SIDE):
            raise ValueError(f"Inception wants (n, 3, {SIDE}, {SIDE}), got {tuple(x.shape)}")
        with torch.inference_mode():
            x = x.contiguous(memory_format=torch.channels_last)
            x = self._chain(x, "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3")
            x = functional.max_pool2d(x, 3, 2)
            x = self._chain(x, "Conv2d_3b_1x1", "Conv2d_4a_3x3")
            x = functional.max_pool2d(x, 3, 2)
            for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
                x = self._branches(x, name, ("branch1x1",), ("branch5x5_1", "branch5x5_2"), _triple("branch3x3dbl"))
            x = self._halve(x, "Mixed_6a", ("branch3x3",), _triple("branch3x3dbl"))
            for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
                double = tuple(f"branch7x7dbl_{i}" for i in range(1, 6))
                x = self._branches(x, name, ("branch1x1",), _triple("branch7x7"), double)
            seven = tuple(f"branch7x7x3_{i}" for i in range(1, 5))
            x = self._halve(x, "Mixed_7a", ("branch3x3_1", "branch3x3_2"), seven)
            x = self._last(x, "Mixed_7b", largest=False)
            x = self._last(x, "Mixed_7c", largest=True)
            return x.mean(dim=(2, 3))

    def _unit(self, x: Tensor, name: str) -> Tensor:
        from torch.nn import functional

        unit = self._units[name]
        return functional.relu_(
            functional.conv2d(x, self._weights[name], self._biases[name], unit.stride, unit.padding)
        )

    def _chain(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = self._unit(x, name)
        return x

    def _pooled(self, x: Tensor, name: str, *, largest: bool = False) -> Tensor:
        from torch.nn import functional

        pooled = (
            functional.max_pool2d(x, 3, 1, padding=1)
            if largest
            else functional.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)
        )
        return self._unit(pooled, f"{name}.branch_pool")

    def _branches(self, x: Tensor, name: str, *branches: tuple[str, ...]) -> Tensor:
        import torch

        parts = [self._chain(x, *(f"{name}.{unit}" for unit in branch)) for branch in branches]
        return torch.cat([*parts, self._pooled(x, name)], dim=1)

    def _halve(self, x: Tensor, name: str, *branches: tuple[str, ...]) -> Tensor:
        import torch
        from torch.nn import functional

        parts = [self._chain(x, *(f"{name}.{unit}" for unit in branch)) for branch in branches]
        return torch.cat([*parts, functional.max_pool2d(x, 3, 2)], dim=1)

    def _last(self, x: Tensor, name: str, *, largest: bool) -> Tensor:
        import torch

        three = self._unit(x, f"{name}.branch3x3_1")
        double = self._chain(x, f"{name}.branch3x3dbl_1", f"{name}.branch3x3dbl_2")
        parts = [
            self._unit(x, f"{name}.branch1x1"),
            self._unit(three, f"{name}.branch3x3_2a"),
            self._unit(three, f"{name}.branch3x3_2b"),
            self._unit(double, f"{name}.branch3x3dbl_3a"),
            self._unit(double, f"{name}.branch3x3dbl_3b"),
            self._pooled(x, name, largest=largest),
        ]
        return torch.cat(parts, dim=1)


def _triple(prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}_{i}" for i in range(1, 4))


def load_checkpoint(data: bytes, file: str) -> Inception:
    """The network from the bytes of `pt_inception-2015-12-05-6726825d.pth`.

    Raises:
        PluginError: it is no such checkpoint.
    """
    return Inception(load_tensors(data, file, WHAT, WEIGHTS), file)

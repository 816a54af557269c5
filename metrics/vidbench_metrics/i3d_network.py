"""Inception-I3D of 400 Kinetics classes, up to its logits; loads the public PyTorch checkpoint by its own keys.

Architecture: Carreira & Zisserman, arXiv 1705.07750, as in the TF-Hub module deepmind/i3d-kinetics-400/1. Numbers must
match that module (batch-norm epsilon 1e-3, which is also hassony2/kinetics_i3d_pytorch 786fbae0's) and, with epsilon
1e-5, the copies in wilson1yan/VideoGPT 733d2b15 and songweige/content-debiased-fvd a1e037ab, all of which read the
checkpoint `i3d_pretrained_400.pt`: 287 tensors, keys such as `Mixed_3b.b1a.conv3d.weight`.

The network only looks, so it is a function of tensors: batch norms are folded into convolutions when it is made, memory
holds channels last, 1x1x1 convolutions are matrix products and pools go over pixels first.

Axes: n clips, c channels, t frames, h and w pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidbench_metrics.checkpoints import check_tensors, load_tensors

if TYPE_CHECKING:
    from torch import Tensor

WHAT = "the I3D checkpoint"
CLASSES = 400
SIDE = 224
MIN_FRAMES = 9
"""Eight frames leave one time step before the last pool, which takes two."""

Triple = tuple[int, int, int]
ONE: Triple = (1, 1, 1)
TWO: Triple = (2, 2, 2)
THREE: Triple = (3, 3, 3)
PIXELS: tuple[Triple, Triple] = ((1, 3, 3), (1, 2, 2))
"""Window and stride of a max-pool over pixels alone."""

MIXED: dict[str, tuple[int, tuple[int, int, int, int, int, int]]] = {
    # inception modules in order: channels in; channels out of b0, b1a, b1b, b2a, b2b, b3b
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
POOL_BEFORE: dict[str, tuple[Triple, Triple]] = {
    "Mixed_3b": PIXELS,
    "Mixed_4b": (THREE, TWO),
    "Mixed_5b": (TWO, TWO),
}


@dataclass(frozen=True, slots=True)
class Unit:
    """A convolution with SAME padding, a batch norm and a ReLU."""

    channels: int
    out: int
    kernel: Triple
    stride: Triple = ONE


def units() -> dict[str, Unit]:
    """The 57 units by the prefix of their keys."""
    found = {
        "Conv3d_1a_7x7": Unit(3, 64, (7, 7, 7), TWO),
        "Conv3d_2b_1x1": Unit(64, 64, ONE),
        "Conv3d_2c_3x3": Unit(64, 192, THREE),
    }
    for name, (channels, (b0, b1a, b1b, b2a, b2b, b3b)) in MIXED.items():
        found[f"{name}.b0"] = Unit(channels, b0, ONE)
        found[f"{name}.b1a"] = Unit(channels, b1a, ONE)
        found[f"{name}.b1b"] = Unit(b1a, b1b, THREE)
        found[f"{name}.b2a"] = Unit(channels, b2a, ONE)
        found[f"{name}.b2b"] = Unit(b2a, b2b, THREE)
        found[f"{name}.b3b"] = Unit(channels, b3b, ONE)
    return found


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Key to shape of the 287 tensors of the checkpoint, without its counters."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, unit in units().items():
        shapes[f"{name}.conv3d.weight"] = (unit.out, unit.channels, *unit.kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{part}"] = (unit.out,)
    return shapes | {"logits.conv3d.weight": (CLASSES, 1024, 1, 1, 1), "logits.conv3d.bias": (CLASSES,)}


class I3D:
    """The network.

    Args:
        state: the 287 tensors by key.
        epsilon: of all 57 batch norms; 1e-3 in TF-Hub's graph, 1e-5 in VideoGPT and its descendants.
        file: where the tensors come from, for messages.
        double: in float64, to tell what of a difference is float32's rounding; four times as slow.

    Raises:
        PluginError: a tensor is missing, unknown, of another shape or not finite; says which.
    """

    def __init__(
        self, state: Mapping[str, Any], epsilon: float, file: str = "the checkpoint", *, double: bool = False
    ) -> None:
        import torch

        check_state(state, file)
        dtype = torch.float64 if double else torch.float32
        self._units = units()
        self._weights: dict[str, Tensor] = {}
        self._biases: dict[str, Tensor] = {}
        for name, unit in self._units.items():
            weight, bias = (part.to(dtype) for part in _folded(state, name, epsilon))
            if unit.kernel == ONE:
                self._weights[name] = weight[:, :, 0, 0, 0].contiguous()
            else:
                self._weights[name] = weight.contiguous(memory_format=torch.channels_last_3d)
            self._biases[name] = bias
        self._logits = state["logits.conv3d.weight"].to(dtype)[:, :, 0, 0, 0].contiguous()
        self._logits_bias = state["logits.conv3d.bias"].to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Logits, averaged over time.

        Args:
            x: (n, 3, t, 224, 224) float32 RGB in [-1, 1], t >= 9.

        Returns:
            (n, 400), not softmaxed.

        Raises:
            ValueError: fewer than 9 frames or another size.
        """
        import torch
        from torch.nn import functional

        if x.shape[2] < MIN_FRAMES or tuple(x.shape[3:]) != (SIDE, SIDE):
            raise ValueError(f"I3D wants (n, 3, t >= {MIN_FRAMES}, {SIDE}, {SIDE}), got {tuple(x.shape)}")
        with torch.inference_mode():
            x = x.contiguous(memory_format=torch.channels_last_3d)
            x = max_pool_same(self._unit("Conv3d_1a_7x7", x), *PIXELS)
            x = self._unit("Conv3d_2c_3x3", self._unit("Conv3d_2b_1x1", x))
            for name in MIXED:
                if name in POOL_BEFORE:
                    x = max_pool_same(x, *POOL_BEFORE[name])
                x = self._mixed(name, x)
            # (n, 1024, t', 7, 7). Averages and the last layer are linear: one time average, not t' - 1 logits.
            x = functional.avg_pool3d(x, (2, SIDE // 32, SIDE // 32), stride=1).mean(dim=(2, 3, 4))
            return functional.linear(x, self._logits, self._logits_bias)

    def _unit(self, name: str, x: Tensor) -> Tensor:
        from torch.nn import functional

        unit, weight, bias = self._units[name], self._weights[name], self._biases[name]
        if unit.kernel == ONE:  # a matrix product over channels, which lie last in memory
            rows = functional.linear(x.permute(0, 2, 3, 4, 1), weight, bias)
            return functional.relu_(rows).permute(0, 4, 1, 2, 3)
        pads = same_padding(x.shape[2:], unit.kernel, unit.stride)
        if all(before == after for before, after in pads):
            padding: Any = tuple(before for before, _ in pads)
        else:
            x, padding = _padded(x, pads), 0
        return functional.relu_(functional.conv3d(x, weight, bias, unit.stride, padding))

    def _mixed(self, name: str, x: Tensor) -> Tensor:
        import torch

        pooled = max_pool_same(x, THREE, ONE)
        branches = [
            self._unit(f"{name}.b0", x),
            self._unit(f"{name}.b1b", self._unit(f"{name}.b1a", x)),
            self._unit(f"{name}.b2b", self._unit(f"{name}.b2a", x)),
            self._unit(f"{name}.b3b", pooled),
        ]
        return torch.cat(branches, dim=1)


def same_padding(sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> list[tuple[int, int]]:
    """TensorFlow's SAME: zeros before and after each axis, so that the output has ceil(size / stride) steps."""
    pads = []
    for size, k, s in zip(sizes, kernel, stride, strict=True):
        total = max(k - (s if size % s == 0 else size % s), 0)
        pads.append((total // 2, total - total // 2))
    return pads


def max_pool_same(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Max-pool with SAME padding; `x` is not negative, so that zeros and minus infinity pad alike.

    First over pixels, then over time: a maximum is a maximum in any order, and PyTorch's pool of pictures is several
    times as fast on a processor as its pool of volumes.
    """
    from torch.nn import functional

    n, c, t = x.shape[:3]
    _, *pads = same_padding(x.shape[2:], kernel, stride)
    pictures = x.permute(0, 2, 1, 3, 4).reshape(n * t, c, *x.shape[3:])
    if all(before == after for before, after in pads):
        pictures = functional.max_pool2d(pictures, kernel[1:], stride[1:], padding=[before for before, _ in pads])
    elif min(stride[1:]) > 1 and all(
        before == 0 for before, _ in pads
    ):  # a window that hangs over the end: no padded copy is needed
        pictures = functional.max_pool2d(pictures, kernel[1:], stride[1:], ceil_mode=True)
    else:
        pictures = functional.max_pool2d(_padded(pictures, pads), kernel[1:], stride[1:])
    pooled = pictures.reshape(n, t, c, *pictures.shape[2:]).permute(0, 2, 1, 3, 4)
    return pooled if kernel[0] == stride[0] == 1 else _max_over_time(pooled, kernel[0], stride[0])


def _max_over_time(x: Tensor, kernel: int, stride: int) -> Tensor:
    import torch

    ((before, after),) = same_padding(x.shape[2:3], (kernel,), (stride,))
    steps = []
    for start in range(-before, x.shape[2] + after - kernel + 1, stride):
        window = x[:, :, max(start, 0) : start + kernel]
        steps.append(window.amax(dim=2) if window.shape[2] > 1 else window[:, :, 0])
    return torch.stack(steps, dim=2).contiguous(memory_format=torch.channels_last_3d)


def _padded(x: Tensor, pads: Sequence[tuple[int, int]]) -> Tensor:
    from torch.nn import functional

    # functional.pad takes the last axis first.
    return functional.pad(x, [n for pad in reversed(pads) for n in pad])


def _folded(state: Mapping[str, Any], name: str, epsilon: float) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does what convolution and batch norm do; worked out in float64."""
    import torch

    gamma, beta, mean, variance = (
        state[f"{name}.bn.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / torch.sqrt(variance + epsilon)
    weight = state[f"{name}.conv3d.weight"].double() * scale[:, None, None, None, None]
    return weight, beta - mean * scale


def check_state(state: Mapping[str, Any], file: str) -> None:
    """Refuse tensors that are not exactly the network's; counters `num_batches_tracked` play no part.

    Raises:
        PluginError: says which tensor, and the command that brings the right file.
    """
    check_tensors(state, tensor_shapes(), file, WHAT, "i3d", unused=("num_batches_tracked",))


def load_checkpoint(data: bytes, epsilon: float, file: str) -> I3D:
    """The network from the bytes of `i3d_pretrained_400.pt`.

    Args:
        data: a PyTorch file; nothing but tensors is read from it.
        epsilon: of the batch norms.
        file: its name, for messages.

    Raises:
        PluginError: it is no such checkpoint.
    """
    return I3D(load_tensors(data, file, WHAT, "i3d"), epsilon, file)

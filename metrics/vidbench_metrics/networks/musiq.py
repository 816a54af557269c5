"""MUSIQ, a transformer that rates pictures of any size; loads IQA-PyTorch's `musiq_spaq_ckpt-358bb6af.pth` by its keys.

Ke et al., "MUSIQ: Multi-scale Image Quality Transformer", ICCV 2021 (arXiv 2108.05997). Numbers must match the class
`MUSIQ` of chaofengc/IQA-PyTorch (pyiqa 0.1.16, archs/musiq_arch.py and data/multiscale_trans_util.py), which VBench
uses; their code is not copied. Where that one fills up short sequences with empty tokens and masks them, none are made.

A picture is looked at in three sizes: longer side 224, longer side 384 (both bicubic without antialiasing) and its own.
Each is cut into patches of 32 x 32, zeros around where that does not divide it. A patch goes through a few convolutions
and becomes a token, to which a place on a 10 x 10 grid and the number of the size are added.

Axes: p patches, c channels, h and w pixels, t tokens, d width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidbench_metrics.networks.checkpoint import checked, read_state

if TYPE_CHECKING:
    from torch import Tensor

NETWORK = "MUSIQ (trained on SPAQ)"
COMMAND = "vidbench weights fetch musiq-spaq"
PATCH = 32
GRID = 10
LONGER_SIDES = (224, 384)
STEM = 64
"""Channels after the first convolution; four times as many after the bottleneck."""
GROUPS = 32


@dataclass(frozen=True, slots=True)
class MusiqSize:
    """How large the transformer is."""

    width: int
    depth: int
    heads: int
    hidden: int


PUBLISHED = MusiqSize(width=384, depth=14, heads=6, hidden=1152)


def tensor_shapes(size: MusiqSize = PUBLISHED) -> dict[str, tuple[int, ...]]:
    """Key to shape of the checkpoint's tensors."""
    d, out = size.width, 4 * STEM
    shapes: dict[str, tuple[int, ...]] = {
        "conv_root.weight": (STEM, 3, 7, 7),
        "block1.conv1.weight": (STEM, STEM, 1, 1),
        "block1.conv2.weight": (STEM, STEM, 3, 3),
        "block1.conv3.weight": (out, STEM, 1, 1),
        "block1.conv_proj.weight": (out, STEM, 1, 1),
        "embedding.weight": (d, out * (PATCH // 4) ** 2),
        "embedding.bias": (d,),
        "transformer_encoder.posembed_input.position_emb": (1, GRID * GRID, d),
        "transformer_encoder.scaleembed_input.scale_emb": (len(LONGER_SIDES) + 1, d),
        "transformer_encoder.cls": (1, 1, d),
        "head.weight": (1, d),
        "head.bias": (1,),
    }
    norms = {"gn_root": STEM, "block1.gn1": STEM, "block1.gn2": STEM, "block1.gn3": out, "block1.gn_proj": out}
    norms["transformer_encoder.encoder_norm"] = d
    for block in range(size.depth):
        prefix = _block(block)
        norms |= {f"{prefix}.norm1": d, f"{prefix}.norm2": d}
        for layer in ("query", "key", "value", "out"):
            shapes |= {f"{prefix}.attention.{layer}.weight": (d, d), f"{prefix}.attention.{layer}.bias": (d,)}
        shapes |= {f"{prefix}.mlp.fc1.weight": (size.hidden, d), f"{prefix}.mlp.fc1.bias": (size.hidden,)}
        shapes |= {f"{prefix}.mlp.fc2.weight": (d, size.hidden), f"{prefix}.mlp.fc2.bias": (d,)}
    for norm, channels in norms.items():
        shapes |= {f"{norm}.weight": (channels,), f"{norm}.bias": (channels,)}
    return shapes


def _block(number: int) -> str:
    return f"transformer_encoder.transformer.encoderblock_{number}"


class Musiq:
    """The network.

    Args:
        state: the checkpoint's tensors by key.
        size: of the transformer.
        file: where the tensors come from, for messages.

    Raises:
        PluginError: a tensor is missing, unknown, of another shape or not finite; says which.
    """

    def __init__(self, state: Mapping[str, Any], size: MusiqSize = PUBLISHED, file: str = "the checkpoint") -> None:
        self.size = size
        self._state = checked(state, tensor_shapes(size), file, NETWORK, COMMAND)
        for key, weight in self._state.items():
            if key.startswith(("conv_root", "block1.conv")):
                self._state[key] = standardised(weight)

    def __call__(self, picture: Tensor) -> float:
        """The rating of a picture.

        Args:
            picture: (3, H, W) float32 RGB in [0, 1]; see `fits` for the sizes that can be looked at.

        Returns:
            A mean opinion score, about 0 to 100.
        """
        import torch
        from torch.nn import functional

        with torch.inference_mode():
            tokens = [self._tokens(scale, one) for scale, one in enumerate(scales((picture - 0.5) * 2))]
            x = torch.cat([self._state["transformer_encoder.cls"][0], *tokens])  # (t, d)
            for block in range(self.size.depth):
                prefix = _block(block)
                x = x + self._attend(f"{prefix}.attention", self._norm(f"{prefix}.norm1", x))
                hidden = functional.gelu(self._linear(f"{prefix}.mlp.fc1", self._norm(f"{prefix}.norm2", x)))
                x = x + self._linear(f"{prefix}.mlp.fc2", hidden)
            return float(self._linear("head", self._norm("transformer_encoder.encoder_norm", x[:1])))

    def _tokens(self, scale: int, picture: Tensor) -> Tensor:
        """One token for each patch of a (3, h, w) picture, (t, d)."""
        patches = cut(picture)
        places = hashed_places(*(math.ceil(side / PATCH) for side in picture.shape[1:]))
        x = self._linear(
            "embedding", self._stem(patches).permute(0, 2, 3, 1).flatten(1)
        )  # channels last, as TensorFlow
        x = x + self._state["transformer_encoder.posembed_input.position_emb"][0, places]
        return x + self._state["transformer_encoder.scaleembed_input.scale_emb"][scale]

    def _stem(self, patches: Tensor) -> Tensor:
        """(p, 3, 32, 32) to (p, 256, 8, 8)."""
        from torch.nn import functional

        x = functional.relu(self._group_norm("gn_root", self._convolve("conv_root", patches, stride=2), 1e-6))
        x = functional.max_pool2d(padded(x, 3, 2), 3, 2)
        shortcut = self._group_norm("block1.gn_proj", self._convolve("block1.conv_proj", x), 1e-4)
        x = functional.relu(self._group_norm("block1.gn1", self._convolve("block1.conv1", x), 1e-4))
        x = functional.relu(self._group_norm("block1.gn2", self._convolve("block1.conv2", x), 1e-4))
        return functional.relu(self._group_norm("block1.gn3", self._convolve("block1.conv3", x), 1e-4) + shortcut)

    def _convolve(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        from torch.nn import functional

        weight = self._state[f"{name}.weight"]
        return functional.conv2d(padded(x, weight.shape[-1], stride), weight, stride=stride)

    def _group_norm(self, name: str, x: Tensor, epsilon: float) -> Tensor:
        from torch.nn import functional

        return functional.group_norm(x, GROUPS, self._state[f"{name}.weight"], self._state[f"{name}.bias"], epsilon)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        from torch.nn import functional

        return functional.linear(x, self._state[f"{name}.weight"], self._state[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        from torch.nn import functional

        weight, bias = self._state[f"{name}.weight"], self._state[f"{name}.bias"]
        return functional.layer_norm(x, (self.size.width,), weight, bias, eps=1e-6)

    def _attend(self, name: str, x: Tensor) -> Tensor:
        from torch.nn import functional

        t, d = x.shape
        q, k, v = (
            self._linear(f"{name}.{part}", x).reshape(t, self.size.heads, -1).transpose(0, 1)
            for part in ("query", "key", "value")
        )
        mixed = functional.scaled_dot_product_attention(q[None], k[None], v[None])[0]
        return self._linear(f"{name}.out", mixed.transpose(0, 1).reshape(t, d))


def standardised(weight: Tensor) -> Tensor:
    """A convolution's weights with mean 0 and deviation 1 over each output channel."""
    weight = weight - weight.mean((1, 2, 3), keepdim=True)
    return weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5)


def padded(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Zeros around the last two axes, as TensorFlow's SAME adds them: ceil(side / stride) steps fit."""
    from torch.nn import functional

    sides: list[int] = []
    for side in x.shape[-2:]:
        total = (math.ceil(side / stride) - 1) * stride + kernel - side
        sides = [total // 2, total - total // 2, *sides]  # functional.pad takes the last axis first
    return functional.pad(x, sides)


def scales(picture: Tensor) -> list[Tensor]:
    """The three sizes in which a (3, H, W) picture is looked at."""
    from torch.nn import functional

    resized = [
        functional.interpolate(picture[None], size, mode="bicubic", align_corners=False)[0]
        for size in _sizes(*picture.shape[1:])
    ]
    return [*resized, picture]


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    ratios = [side / max(height, width) for side in LONGER_SIDES]
    return [(round(height * ratio), round(width * ratio)) for ratio in ratios]


def fits(height: int, width: int) -> bool:
    """Whether a picture keeps a pixel of its shorter side in every size."""
    return min(height, width) > 0 and all(min(size) > 0 for size in _sizes(height, width))


def cut(picture: Tensor) -> Tensor:
    """(3, H, W) to (p, 3, 32, 32) patches, row by row."""
    from torch.nn import functional

    columns = functional.unfold(padded(picture[None], PATCH, PATCH), PATCH, stride=PATCH)  # (1, 3 · 32 · 32, p)
    return columns[0].T.reshape(-1, 3, PATCH, PATCH)


def hashed_places(rows: int, columns: int) -> Tensor:
    """Where on the 10 x 10 grid each of rows x columns patches lies, (p,)."""
    import torch
    from torch.nn import functional

    grid = torch.arange(GRID, dtype=torch.float32)[None, None]
    row, column = (functional.interpolate(grid, count, mode="nearest")[0, 0] for count in (rows, columns))
    return (row[:, None] * GRID + column[None]).flatten().long()


def load_checkpoint(data: bytes, file: str, size: MusiqSize = PUBLISHED) -> Musiq:
    """The network from the bytes of `musiq_spaq_ckpt-358bb6af.pth`.

    Raises:
        PluginError: it is no such checkpoint.
    """
    return Musiq(read_state(data, file, NETWORK, COMMAND), size, file)

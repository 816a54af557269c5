"""DINO's vision transformer up to its class token; loads `dino_vitbase16_pretrain.pth` by its own keys.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", arXiv 2104.14294. Numbers must match
`VisionTransformer.forward` of facebookresearch/dino vision_transformer.py (Apache-2.0; main, as torch.hub serves it to
VBench): layer norms with epsilon 1e-6, exact GELU, and position embeddings that are resized bicubically to the
picture's grid with a scale of (patches + 0.1) / 14, which shifts them a little against a plain resize to that size.

Axes: n pictures, c channels, h and w pixels, t tokens, d width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidbench_metrics.networks.checkpoint import checked, read_state

if TYPE_CHECKING:
    from torch import Tensor

NETWORK = "DINO ViT-B/16"
COMMAND = "vidbench weights fetch dino-vit-b-16"
PATCH = 16
GRID = 14
"""Patches a side of the picture that the position embeddings were learned on."""
EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class DinoSize:
    """How large a vision transformer is."""

    width: int
    depth: int
    heads: int


VIT_B_16 = DinoSize(width=768, depth=12, heads=12)


def tensor_shapes(size: DinoSize = VIT_B_16) -> dict[str, tuple[int, ...]]:
    """Key to shape of the checkpoint's tensors: 150 for ViT-B/16."""
    d = size.width
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, d),
        "pos_embed": (1, GRID * GRID + 1, d),
        "patch_embed.proj.weight": (d, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (d,),
        "norm.weight": (d,),
        "norm.bias": (d,),
    }
    layers = {"attn.qkv": (3 * d, d), "attn.proj": (d, d), "mlp.fc1": (4 * d, d), "mlp.fc2": (d, 4 * d)}
    for block in range(size.depth):
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{block}.{norm}.weight": (d,), f"blocks.{block}.{norm}.bias": (d,)}
        for layer, (out, into) in layers.items():
            shapes |= {f"blocks.{block}.{layer}.weight": (out, into), f"blocks.{block}.{layer}.bias": (out,)}
    return shapes


class Dino:
    """The network.

    Args:
        state: the checkpoint's tensors by key.
        size: of the network.
        file: where the tensors come from, for messages.

    Raises:
        PluginError: a tensor is missing, unknown, of another shape or not finite; says which.
    """

    def __init__(self, state: Mapping[str, Any], size: DinoSize = VIT_B_16, file: str = "the checkpoint") -> None:
        self.size = size
        self._state = checked(state, tensor_shapes(size), file, NETWORK, COMMAND)

    def __call__(self, x: Tensor) -> Tensor:
        """The class token after the last layer norm.

        Args:
            x: (n, 3, h, w) float32, normalised as ImageNet's pictures are; pixels beyond whole patches are left aside.

        Returns:
            (n, d).
        """
        import torch
        from torch.nn import functional

        with torch.inference_mode():
            height, width = x.shape[2:]
            patches = functional.conv2d(x, *self._layer("patch_embed.proj"), stride=PATCH)
            tokens = patches.flatten(2).transpose(1, 2)  # (n, t, d)
            first = self._state["cls_token"].expand(len(x), -1, -1)
            positions = position_embedding(self._state["pos_embed"], height, width)
            tokens = torch.cat([first, tokens], dim=1) + positions
            for block in range(self.size.depth):
                tokens = tokens + self._attend(f"blocks.{block}.attn", self._norm(f"blocks.{block}.norm1", tokens))
                hidden = self._norm(f"blocks.{block}.norm2", tokens)
                hidden = functional.gelu(functional.linear(hidden, *self._layer(f"blocks.{block}.mlp.fc1")))
                tokens = tokens + functional.linear(hidden, *self._layer(f"blocks.{block}.mlp.fc2"))
            return self._norm("norm", tokens[:, 0])

    def _layer(self, name: str) -> tuple[Tensor, Tensor]:
        return self._state[f"{name}.weight"], self._state[f"{name}.bias"]

    def _norm(self, name: str, x: Tensor) -> Tensor:
        from torch.nn import functional

        return functional.layer_norm(x, (self.size.width,), *self._layer(name), eps=EPSILON)

    def _attend(self, name: str, x: Tensor) -> Tensor:
        from torch.nn import functional

        n, t, d = x.shape
        qkv = functional.linear(x, *self._layer(f"{name}.qkv"))
        q, k, v = qkv.reshape(n, t, 3, self.size.heads, d // self.size.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d)
        return functional.linear(mixed, *self._layer(f"{name}.proj"))


def position_embedding(learned: Tensor, height: int, width: int) -> Tensor:
    """Position embeddings for a picture of another size than they were learned on, as DINO makes them.

    Args:
        learned: (1, 1 + 14 · 14, d), the class token's first.
        height: of the picture, in pixels.
        width: of the picture, in pixels.

    Returns:
        (1, 1 + rows · columns, d). Where the picture has 14 · 14 patches and is square, `learned` itself.
    """
    import torch
    from torch.nn import functional

    rows, columns = height // PATCH, width // PATCH
    if rows * columns == GRID * GRID and height == width:
        return learned
    grid = learned[:, 1:].reshape(1, GRID, GRID, -1).permute(0, 3, 1, 2)
    side = math.sqrt(GRID * GRID)
    scale = ((rows + 0.1) / side, (columns + 0.1) / side)
    grid = functional.interpolate(grid, scale_factor=scale, mode="bicubic")
    return torch.cat([learned[:, :1], grid.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)], dim=1)


def load_checkpoint(data: bytes, file: str, size: DinoSize = VIT_B_16) -> Dino:
    """The network from the bytes of `dino_vitbase16_pretrain.pth`.

    Raises:
        PluginError: it is no such checkpoint.
    """
    return Dino(read_state(data, file, NETWORK, COMMAND), size, file)

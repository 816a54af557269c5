"""ViCLIP: one embedding of eight frames and one of a text, whose cosine is VBench's overall consistency.

Wang et al., "InternVid", ICLR 2024 (arXiv 2307.06942). Numbers must match `ViCLIP` of vbench 0.1.5 (Apache-2.0),
vbench/third_party/ViCLIP; its checkpoint `ViClip-InternVid-10M-FLT.pth` is loaded by its own keys. Both towers are
CLIP's ViT-L/14 with quick GELU; in the vision tower every patch of every frame sees every other, and time is told by
one learned embedding a frame.

Axes: t frames, n tokens, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vidbench_metrics.networks.checkpoint import checked, read_state

if TYPE_CHECKING:
    from torch import Tensor

NETWORK = "ViCLIP-L/14"
ROW = "viclip-l-14"
COMMAND = f"vidbench weights fetch {ROW}"
KEY = "model"
VISION = "vision_encoder."
TEXT = "text_encoder."
FRAMES = 8
CONTEXT = 32
"""Tokens of a text, its start and end included."""
VOCABULARY = 49408


@dataclass(frozen=True, slots=True)
class ViClipSize:
    """How large both towers are."""

    side: int = 224
    patch: int = 14
    width: int = 1024
    depth: int = 24
    heads: int = 16
    text_width: int = 768
    text_depth: int = 12
    text_heads: int = 12
    embedding: int = 768


PUBLISHED = ViClipSize()


def _blocks(prefix: str, width: int, depth: int) -> dict[str, tuple[int, ...]]:
    d = width
    layers = {"attn.out_proj": (d, d), "mlp.c_fc": (4 * d, d), "mlp.c_proj": (d, 4 * d)}
    shapes: dict[str, tuple[int, ...]] = {}
    for number in range(depth):
        block = f"{prefix}transformer.resblocks.{number}."
        shapes |= {f"{block}attn.in_proj_weight": (3 * d, d), f"{block}attn.in_proj_bias": (3 * d,)}
        for layer, (out, into) in layers.items():
            shapes |= {f"{block}{layer}.weight": (out, into), f"{block}{layer}.bias": (out,)}
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{block}{norm}.weight": (d,), f"{block}{norm}.bias": (d,)}
    return shapes


def tensor_shapes(size: ViClipSize | None = None) -> dict[str, tuple[int, ...]]:
    """Key to shape of all tensors of the checkpoint."""
    size = size or PUBLISHED
    d, t = size.width, size.text_width
    shapes: dict[str, tuple[int, ...]] = {
        "temp": (),
        f"{VISION}conv1.weight": (d, 3, 1, size.patch, size.patch),
        f"{VISION}class_embedding": (d,),
        f"{VISION}positional_embedding": ((size.side // size.patch) ** 2 + 1, d),
        f"{VISION}temporal_positional_embedding": (1, FRAMES, d),
        f"{VISION}proj": (d, size.embedding),
        f"{TEXT}token_embedding.weight": (VOCABULARY, t),
        f"{TEXT}positional_embedding": (CONTEXT, t),
        f"{TEXT}text_projection": (t, size.embedding),
    }
    for norm, width in ((f"{VISION}ln_pre", d), (f"{VISION}ln_post", d), (f"{TEXT}ln_final", t)):
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    return shapes | _blocks(VISION, d, size.depth) | _blocks(TEXT, t, size.text_depth)


class _Tower:
    """What both have: tensors by key, and blocks of attention and quick GELU."""

    def __init__(self, state: Mapping[str, Tensor], prefix: str, heads: int, depth: int) -> None:
        self._state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        self._heads = heads
        self._depth = depth

    def _norm(self, name: str, x: Tensor) -> Tensor:
        from torch.nn import functional

        return functional.layer_norm(x, x.shape[-1:], self._state[f"{name}.weight"], self._state[f"{name}.bias"])

    def _linear(self, name: str, x: Tensor) -> Tensor:
        from torch.nn import functional

        return functional.linear(x, self._state[f"{name}.weight"], self._state[f"{name}.bias"])

    def _transform(self, x: Tensor, *, causal: bool) -> Tensor:
        """All blocks, of (1, n, d) tokens."""
        import torch
        from torch.nn import functional

        batch, n, d = x.shape
        for number in range(self._depth):
            block = f"transformer.resblocks.{number}."
            into = self._state[f"{block}attn.in_proj_weight"], self._state[f"{block}attn.in_proj_bias"]
            qkv = functional.linear(self._norm(f"{block}ln_1", x), *into)
            q, k, v = qkv.reshape(batch, n, 3, self._heads, d // self._heads).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
            x = x + self._linear(f"{block}attn.out_proj", mixed.transpose(1, 2).reshape(batch, n, d))
            hidden = self._linear(f"{block}mlp.c_fc", self._norm(f"{block}ln_2", x))
            x = x + self._linear(f"{block}mlp.c_proj", hidden * torch.sigmoid(1.702 * hidden))
        return x


class VisionTower(_Tower):
    """Eight frames to one embedding."""

    def __init__(self, state: Mapping[str, Tensor], size: ViClipSize | None = None) -> None:
        size = size or PUBLISHED
        super().__init__(state, VISION, size.heads, size.depth)
        self.side = size.side

    def __call__(self, frames: Tensor) -> Tensor:
        """The embedding, not normalised.

        Args:
            frames: (8, 3, side, side) float32, normalised as CLIP's pictures are.

        Returns:
            (embedding,).
        """
        import torch
        from torch.nn import functional

        with torch.inference_mode():
            filters = self._state["conv1.weight"][:, :, 0]
            patches = functional.conv2d(frames, filters, stride=filters.shape[-1]).flatten(2).transpose(1, 2)
            places = self._state["positional_embedding"]
            # The class token belongs to the clip, not to a frame: it has a place and no time.
            first = self._state["class_embedding"] + places[0]
            tokens = patches + places[1:] + self._state["temporal_positional_embedding"][0][:, None]
            # Patches stand by place first and time second, as in the original; attention does not care.
            tokens = torch.cat([first[None], tokens.transpose(0, 1).flatten(0, 1)])[None]
            tokens = self._transform(self._norm("ln_pre", tokens), causal=False)
            return self._norm("ln_post", tokens[0, 0]) @ self._state["proj"]


class TextTower(_Tower):
    """A text's tokens to one embedding."""

    def __init__(self, state: Mapping[str, Tensor], size: ViClipSize | None = None) -> None:
        size = size or PUBLISHED
        super().__init__(state, TEXT, size.text_heads, size.text_depth)

    def __call__(self, tokens: Tensor) -> Tensor:
        """The embedding, not normalised, read off the end token, whose number is the largest.

        Args:
            tokens: (32,) int64, 0 after the end.

        Returns:
            (embedding,).
        """
        import torch

        with torch.inference_mode():
            x = self._state["token_embedding.weight"][tokens] + self._state["positional_embedding"]
            x = self._norm("ln_final", self._transform(x[None], causal=True))
            return x[0, int(tokens.argmax())] @ self._state["text_projection"]


def load(data: bytes, file: str, size: ViClipSize | None = None) -> dict[str, Tensor]:
    """The tensors of both towers, from the bytes of `ViClip-InternVid-10M-FLT.pth`.

    Raises:
        PluginError: it is no such file.
    """
    return checked(read_state(data, file, NETWORK, COMMAND, KEY), tensor_shapes(size), file, NETWORK, COMMAND)

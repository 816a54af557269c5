"""Vision transformers over windows of frames: VideoMAE-v2 (content-debiased FVD) and V-JEPA with its probe (JEDi).

Architectures: Wang et al., arXiv 2303.16727, and Bardes et al., arXiv 2404.08471. Numbers must match
songweige/content-debiased-fvd a1e037ab (PyPI cd-fvd 0.1.1, third_party/VideoMAEv2/videomaev2_finetune.py,
`forward_features`) and oooolga/JEDi c03d1785 (PyPI videojedi 1.1.0 on PyPI vjepa 0.1.2: vision_transformer.py and
attentive_pooler.py). Tensors are read by the keys of the published checkpoints. Sizes are configurable, so that tests
can do with small ones; what a run loads is `VIDEOMAE_GIANT` and `VJEPA_HUGE`, nothing else.

The networks only look, so they are functions of tensors.

Axes: n windows, t frames, h and w pixels, p tokens, d width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vidbench_metrics.checkpoints import check_tensors, load_tensors, part

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """Sizes of a network."""

    width: int
    depth: int
    heads: int
    hidden: int
    """Width inside the two-layer networks."""
    patch: int
    """Side of a token, in pixels."""
    side: int = 224
    """Of the frames it was trained on."""
    frames: int = 16
    tubelet: int = 2
    """Frames of a token."""
    classes: int = 174

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens over time, height and width."""
        return self.frames // self.tubelet, self.side // self.patch, self.side // self.patch


VIDEOMAE_GIANT = TransformerConfig(1408, 40, 16, 6144, 14)
VJEPA_HUGE = TransformerConfig(1280, 32, 16, 5120, 16)
EPSILON = 1e-6
"""Of the layer norms, except in V-JEPA's probe."""
PROBE_EPSILON = 1e-5
VIDEOMAE = "videomae-v2-ssv2"
VJEPA = "vjepa-vith16"
PROBE = "vjepa-ssv2-probe"
WHAT_VIDEOMAE = "the VideoMAE-v2 checkpoint"
WHAT_VJEPA = "the V-JEPA checkpoint"
WHAT_PROBE = "V-JEPA's attentive probe"


def _pair(key: str, out: int, *into: int) -> dict[str, tuple[int, ...]]:
    """Weight and bias of a layer."""
    return {f"{key}.weight": (out, *into), f"{key}.bias": (out,)}


def _block_shapes(prefix: str, config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    d = config.width
    return {
        **_pair(f"{prefix}.norm1", d),
        **_pair(f"{prefix}.norm2", d),
        **_pair(f"{prefix}.attn.proj", d, d),
        **_pair(f"{prefix}.mlp.fc1", config.hidden, d),
        **_pair(f"{prefix}.mlp.fc2", d, config.hidden),
        f"{prefix}.attn.qkv.weight": (3 * d, d),
    }


def _embedding_shapes(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    return _pair("patch_embed.proj", config.width, 3, config.tubelet, config.patch, config.patch)


def videomae_shapes(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Key to shape of VideoMAE's tensors; 526 of the giant."""
    d = config.width
    shapes = _embedding_shapes(config)
    for i in range(config.depth):
        shapes |= _block_shapes(f"blocks.{i}", config)
        shapes |= {f"blocks.{i}.attn.{name}": (d,) for name in ("q_bias", "v_bias")}
    return shapes | _pair("fc_norm", d) | _pair("head", config.classes, d)


def vjepa_shapes(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Key to shape of V-JEPA's encoder, without the prefixes `module.` and `backbone.`."""
    shapes = _embedding_shapes(config)
    shapes["pos_embed"] = (1, math.prod(config.grid), config.width)
    for i in range(config.depth):
        shapes |= _block_shapes(f"blocks.{i}", config)
        shapes[f"blocks.{i}.attn.qkv.bias"] = (3 * config.width,)
    return shapes | _pair("norm", config.width)


def probe_shapes(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Key to shape of V-JEPA's attentive classifier, without the prefix `module.`."""
    d, block = config.width, "pooler.cross_attention_block"
    return {
        "pooler.query_tokens": (1, 1, d),
        **_pair(f"{block}.norm1", d),
        **_pair(f"{block}.norm2", d),
        **_pair(f"{block}.xattn.q", d, d),
        **_pair(f"{block}.xattn.kv", 2 * d, d),
        **_pair(f"{block}.xattn.proj", d, d),
        **_pair(f"{block}.mlp.fc1", config.hidden, d),
        **_pair(f"{block}.mlp.fc2", d, config.hidden),
        **_pair("linear", config.classes, d),
    }


class _Transformer(ABC):
    """What both networks share.

    Args:
        tensors: by key, checked.
        config: sizes.
    """

    def __init__(self, tensors: Mapping[str, Any], config: TransformerConfig) -> None:
        self.config = config
        self._tensors = {key: value.float() for key, value in tensors.items()}

    def _linear(self, x: Tensor, key: str) -> Tensor:
        from torch.nn import functional

        return functional.linear(x, self._tensors[f"{key}.weight"], self._tensors[f"{key}.bias"])

    def _norm(self, x: Tensor, key: str, epsilon: float = EPSILON) -> Tensor:
        from torch.nn import functional

        weight, bias = self._tensors[f"{key}.weight"], self._tensors[f"{key}.bias"]
        return functional.layer_norm(x, (x.shape[-1],), weight, bias, epsilon)

    def _mlp(self, x: Tensor, key: str) -> Tensor:
        from torch.nn import functional

        return self._linear(functional.gelu(self._linear(x, f"{key}.fc1")), f"{key}.fc2")

    def _heads(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(n, p, parts · d) to `parts` of (n, heads, p, d / heads)."""
        n, p, _ = x.shape
        return tuple(x.reshape(n, p, parts, self.config.heads, -1).permute(2, 0, 3, 1, 4).unbind(0))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of (n, heads, p, d / heads), put together to (n, p, d)."""
        from torch.nn import functional

        return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def _tokens(self, x: Tensor) -> Tensor:
        """(n, 3, t, h, w) to (n, p, d)."""
        from torch.nn import functional

        weight, bias = self._tensors["patch_embed.proj.weight"], self._tensors["patch_embed.proj.bias"]
        return functional.conv3d(x, weight, bias, stride=tuple(weight.shape[2:])).flatten(2).transpose(1, 2)

    @abstractmethod
    def _bias(self, key: str) -> Tensor:
        """Of queries, keys and values."""

    def _blocks(self, x: Tensor) -> Tensor:
        from torch.nn import functional

        for i in range(self.config.depth):
            key = f"blocks.{i}"
            weight = self._tensors[f"{key}.attn.qkv.weight"]
            qkv = functional.linear(self._norm(x, f"{key}.norm1"), weight, self._bias(key))
            x = x + self._linear(self._attend(*self._heads(qkv, 3)), f"{key}.attn.proj")
            x = x + self._mlp(self._norm(x, f"{key}.norm2"), f"{key}.mlp")
        return x


class VideoMae(_Transformer):
    """VideoMAE-v2 up to its normalised mean token."""

    def __init__(self, tensors: Mapping[str, Any], config: TransformerConfig = VIDEOMAE_GIANT) -> None:
        import torch

        super().__init__(tensors, config)
        table = sinusoids(math.prod(config.grid), config.width)
        self._positions = torch.from_numpy(table.astype(np.float32))[None]

    def _bias(self, key: str) -> Tensor:
        import torch

        q, v = (self._tensors[f"{key}.attn.{name}"] for name in ("q_bias", "v_bias"))
        return torch.cat([q, torch.zeros_like(q), v])

    def _places(self, frames: int) -> Tensor:
        """Position of each token; for other lengths than the trained one as the reference stretches time."""
        from torch.nn import functional

        steps, height, width = self.config.grid
        wanted = frames // self.config.tubelet
        if wanted == steps:
            return self._positions
        grid = self._positions.transpose(1, 2).reshape(1, -1, steps, height, width)
        # A tenth more, as the reference has it against rounding; it moves the places a little.
        grid = functional.interpolate(grid, scale_factor=((wanted + 0.1) / steps, 1.0, 1.0), mode="trilinear")
        return grid.flatten(2).transpose(1, 2)

    def __call__(self, x: Tensor) -> Tensor:
        """Features.

        Args:
            x: (n, 3, t, 224, 224) float32 in [0, 1], t even.

        Returns:
            (n, d).

        Raises:
            ValueError: another size.
        """
        import torch

        side = self.config.side
        if tuple(x.shape[3:]) != (side, side) or x.shape[2] % self.config.tubelet:
            raise ValueError(f"VideoMAE wants (n, 3, even t, {side}, {side}), got {tuple(x.shape)}")
        with torch.inference_mode():
            tokens = self._blocks(self._tokens(x) + self._places(x.shape[2]))
            return self._norm(tokens.mean(dim=1), "fc_norm")


class VJepa(_Transformer):
    """V-JEPA's encoder and the pooler of its attentive probe."""

    def _bias(self, key: str) -> Tensor:
        return self._tensors[f"{key}.attn.qkv.bias"]

    def _places(self, frames: int, height: int, width: int) -> Tensor:
        from torch.nn import functional

        config, table = self.config, self._tensors["pos_embed"]
        if (frames, height, width) == (config.frames, config.side, config.side):
            return table
        grid = config.grid
        wanted = frames // config.tubelet, height // config.patch, width // config.patch
        scale = tuple(ours / theirs for ours, theirs in zip(wanted, grid, strict=True))
        volume = table.reshape(1, *grid, -1).permute(0, 4, 1, 2, 3)
        return functional.interpolate(volume, scale_factor=scale, mode="trilinear").flatten(2).transpose(1, 2)

    def __call__(self, x: Tensor) -> Tensor:
        """Features.

        Args:
            x: (n, 3, t, h, w) float32, normalised by ImageNet's mean and deviation; t even, h and w at least a patch.

        Returns:
            (n, d).

        Raises:
            ValueError: too small, or an odd number of frames.
        """
        import torch

        patch = self.config.patch
        if min(x.shape[3:]) < patch or x.shape[2] % self.config.tubelet:
            raise ValueError(f"V-JEPA wants (n, 3, even t, h and w >= {patch}), got {tuple(x.shape)}")
        with torch.inference_mode():
            tokens = self._norm(self._blocks(self._tokens(x) + self._places(*x.shape[2:])), "norm")
            return self._pooled(tokens)

    def _pooled(self, tokens: Tensor) -> Tensor:
        block = "pooler.cross_attention_block"
        query = self._tensors["pooler.query_tokens"].expand(len(tokens), -1, -1)
        (q,) = self._heads(self._linear(query, f"{block}.xattn.q"), 1)
        k, v = self._heads(self._linear(self._norm(tokens, f"{block}.norm1", PROBE_EPSILON), f"{block}.xattn.kv"), 2)
        query = query + self._linear(self._attend(q, k, v), f"{block}.xattn.proj")
        query = query + self._mlp(self._norm(query, f"{block}.norm2", PROBE_EPSILON), f"{block}.mlp")
        return query[:, 0]


def sinusoids(positions: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(positions, width) sines at even and cosines at odd places, wavelengths from 2 pi to 20000 pi."""
    angles = np.arange(positions)[:, None] / np.power(10000, 2 * (np.arange(width) // 2) / width)
    angles[:, 0::2] = np.sin(angles[:, 0::2])
    angles[:, 1::2] = np.cos(angles[:, 1::2])
    return angles


def load_videomae(data: bytes, file: str, config: TransformerConfig) -> VideoMae:
    """The network from the bytes of `vit_g_hybrid_pt_1200e_ssv2_ft.pth`.

    Raises:
        PluginError: it is no such checkpoint.
    """
    state = part(load_tensors(data, file, WHAT_VIDEOMAE, VIDEOMAE), ("model", "module"), file, WHAT_VIDEOMAE, VIDEOMAE)
    return VideoMae(check_tensors(state, videomae_shapes(config), file, WHAT_VIDEOMAE, VIDEOMAE), config)


def load_vjepa(encoder: bytes, probe: bytes, files: tuple[str, str], config: TransformerConfig) -> VJepa:
    """The network from the bytes of `vith16.pth.tar` and `ssv2-probe.pth.tar`.

    Raises:
        PluginError: they are no such checkpoints.
    """
    state = part(
        load_tensors(encoder, files[0], WHAT_VJEPA, VJEPA), ("target_encoder", "encoder"), files[0], WHAT_VJEPA, VJEPA
    )
    plain = {str(key).removeprefix("module.").removeprefix("backbone."): value for key, value in state.items()}
    tensors = check_tensors(plain, vjepa_shapes(config), files[0], WHAT_VJEPA, VJEPA)
    state = part(load_tensors(probe, files[1], WHAT_PROBE, PROBE), ("classifier",), files[1], WHAT_PROBE, PROBE)
    plain = {str(key).removeprefix("module."): value for key, value in state.items()}
    return VJepa(tensors | check_tensors(plain, probe_shapes(config), files[1], WHAT_PROBE, PROBE), config)

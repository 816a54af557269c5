"""A video diffusion transformer, top to bottom: what it is made of, how it is put together, how it is kept.

The network is a function of a noisy clip, of how noisy each frame is, and of conditions; it says what the clip looks
like without the noise (or with which velocity it should move; `vidbench.worldmodel.flow` knows what that means, the
network does not care). Peebles & Xie, DiT (arXiv 2212.09748), with what video and control need:

    noisy clip, K clean past frames as channels ── patchify ── Linear ── blocks ── Linear ── unpatchify ── + last frame
    time of each frame, action, class, prompt ── embed, add up ────────── modulate
    action, prompt as tokens ──────────────────────────────────────────── looked at (prefix)

Rotary positions say how far tokens are from each other. If all tokens are alike, as noise is, every one of them sees
the same, and the network cannot know left from right; so each token is also told its row and column, by the waves that
turn the queries. It is not told its frame: what holds at one time holds at another.

What is meant for small networks on pixels: the network predicts the clip, not the velocity; past frames come in as
channels, which shows motion without attention, and the output is added to the last of them, so that a fresh network
already repeats the last frame; attention across time may be left to few blocks. docs/worldmodel-network.md explains.

Time t runs from 0, pure noise, to 1, the clip.

Axes: b clips, c channels, t frames, h and w pixels; (gt, gh, gw) the grid of tokens, s = gh * gw, d width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from vidbench.errors import InputError
from vidbench.worldmodel.attention import Attention, Grouping, Prefix
from vidbench.worldmodel.conditions import ConditionEmbedder, Conditions
from vidbench.worldmodel.config import DiTConfig
from vidbench.worldmodel.patchify import Triple, patch_grid, patchify, unpatchify
from vidbench.worldmodel.rope import Rotation, grid_rotation


class Prediction(NamedTuple):
    """What the network says."""

    frames: Tensor
    """(b, c, t, h, w), the clip or its velocity, as the config's `prediction` says."""
    reward: Tensor | None
    """(b, gt), where the config asks for it."""


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Adaptive layer norm's second half: x (b, gt, s, d) by the (b, gt, d) of its frame."""
    return x * (1 + scale[:, :, None]) + shift[:, :, None]


def norm(x: Tensor) -> Tensor:
    """Layer norm without gain and bias, which modulation brings."""
    return F.layer_norm(x, (x.shape[-1],))


def stack_past(clips: Tensor, past_frames: int) -> Tensor:
    """For each frame but the first K, the K before it as channels.

    Args:
        clips: (b, c, K + t, h, w) clean frames.
        past_frames: K, at least 1.

    Returns:
        (b, K * c, t, h, w), the oldest first: the last c channels are the frame before.

    Raises:
        InputError: there are no more than K frames.
    """
    frames = clips.shape[2] - past_frames
    if past_frames < 1 or frames < 1:
        raise InputError(f"{clips.shape[2]} frames hold no frame with {past_frames} before it")
    return torch.cat([clips[:, :, k : k + frames] for k in range(past_frames)], dim=1)


@dataclass(frozen=True)
class Where:
    """Where tokens are, and what they may look at besides each other."""

    grid: Triple
    turn: Rotation
    prefix: Prefix | None = None


class Block(nn.Module):
    """Attention, once or twice, and an MLP, each normed, modulated and let in through a gate (AdaLN-zero).

    Shift, scale and gate of each part are what all blocks share for a frame's conditions, plus a table of the block's
    own (PixArt-alpha's AdaLN-single, arXiv 2310.00426). All begin at zero: a fresh block changes nothing.
    """

    def __init__(self, config: DiTConfig, groupings: tuple[Grouping, ...]) -> None:
        super().__init__()
        width, hidden = config.width, config.mlp_ratio * config.width
        self.attentions = nn.ModuleList(Attention(width, config.heads, grouping) for grouping in groupings)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))
        self.modulation = nn.Parameter(torch.zeros(len(groupings) + 1, 3, width))

    def forward(self, x: Tensor, shared: Tensor, where: Where) -> Tensor:
        """One step of the network.

        Args:
            x: (b, gt, s, d) tokens.
            shared: (b, gt, parts, 3, d): shift, scale and gate of each part; the MLP's are the last.
            where: the tokens' places, and the prefix.

        Returns:
            (b, gt, s, d).
        """
        for part, attention in enumerate(self.attentions):
            shift, scale, gate = (shared[:, :, part] + self.modulation[part]).unbind(2)  # each (b, gt, d)
            tokens = modulate(norm(x), shift, scale).flatten(1, 2)
            seen = attention(tokens, where.turn, where.grid, where.prefix)  # (b, n, d)
            x = x + gate[:, :, None] * seen.view_as(x)
        shift, scale, gate = (shared[:, :, -1] + self.modulation[-1]).unbind(2)
        return x + gate[:, :, None] * self.mlp(modulate(norm(x), shift, scale))


class DiT(nn.Module):
    """See the module. `config` is all it takes to make one."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        width, volume = config.width, math.prod(config.patch)
        self.patch_in = nn.Linear((1 + config.past_frames) * config.channels * volume, width)
        self.place = nn.Linear(width // config.heads, width, bias=False) if config.absolute else None
        self.conditions = ConditionEmbedder(config)
        groupings = [config.groupings(block) for block in range(config.depth)]
        self.parts = 1 + max(map(len, groupings))
        self.modulation = nn.Linear(width, self.parts * 3 * width)
        self.blocks = nn.ModuleList(Block(config, each) for each in groupings)
        self.modulation_out = nn.Linear(width, 2 * width)
        self.patch_out = nn.Linear(width, config.channels * volume)
        self.reward = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)) if config.reward else None
        self.initialize_weights()

    def initialize_weights(self) -> None:
        """As DiT: Xavier for layers, small normals for embeddings, zero for modulation and what comes out."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for layer in (self.conditions.time.layers[0], self.conditions.time.layers[2]):
            nn.init.normal_(layer.weight, std=0.02)
        last = [self.modulation, self.modulation_out, self.patch_out]
        for layer in last if self.reward is None else [*last, self.reward[-1]]:
            nn.init.zeros_(layer.weight)

    def forward(
        self, x: Tensor, t: Tensor, conditions: Conditions | None = None, *, past: Tensor | None = None
    ) -> Prediction:
        """Look at a noisy clip.

        Args:
            x: (b, c, t, h, w) float, noisy.
            t: (b,), or (b, gt) where frames have times of their own; 0 is noise, 1 is the clip.
            conditions: what the clip shall show; kinds that the config has and that are left out count as not said.
            past: (b, K * c, t, h, w) clean, from `stack_past`; wanted if and only if K is above 0.

        Raises:
            InputError: shapes do not fit the config; says which.
        """
        config = self.config
        grid = self._check(x, t, past)
        stacked = x if past is None else torch.cat((x, past), dim=1)
        tokens = self.patch_in(patchify(stacked, config.patch)).unflatten(1, (grid[0], -1))  # (b, gt, s, d)
        head_size = config.width // config.heads
        if self.place is not None:
            one_frame = grid_rotation((1, *grid[1:]), head_size, config.rope_theta, x.device)
            tokens = tokens + self.place(torch.cat(one_frame, dim=1))  # (s, d), the same in every frame

        condition, prefix = self.conditions(conditions or Conditions(), t, grid)  # (b, gt, d)
        shared = self.modulation(F.silu(condition)).unflatten(2, (self.parts, 3, -1))
        turn = grid_rotation(grid, head_size, config.rope_theta, x.device)
        where = Where(grid, turn, prefix)
        for block in self.blocks:
            tokens = block(tokens, shared, where)

        tokens = norm(tokens)
        reward = None if self.reward is None else self.reward(tokens.mean(2)).squeeze(2)  # (b, gt)
        shift, scale = self.modulation_out(F.silu(condition)).chunk(2, dim=2)
        patches = self.patch_out(modulate(tokens, shift, scale).flatten(1, 2))
        frames = unpatchify(patches, grid, config.patch)
        if past is not None and config.residual:
            frames = frames + past[:, -config.channels :]
        return Prediction(frames, reward)

    def _check(self, x: Tensor, t: Tensor, past: Tensor | None) -> Triple:
        config = self.config
        if x.ndim != 5 or x.shape[1] != config.channels:
            wanted = f"(batch, {config.channels}, frames, height, width)"
            raise InputError(f"the network takes clips of shape {wanted}; got {tuple(x.shape)}")
        b, _, frames, height, width = x.shape
        grid = patch_grid((frames, height, width), config.patch)
        if tuple(t.shape) not in ((b,), (b, grid[0])):
            raise InputError(f"times must have shape ({b},) or ({b}, {grid[0]}); got {tuple(t.shape)}")
        past_wanted = (b, config.past_frames * config.channels, frames, height, width) if config.past_frames else None
        if (None if past is None else tuple(past.shape)) != past_wanted:
            got = "none" if past is None else f"shape {tuple(past.shape)}"
            raise InputError(f"past frames: the network takes {past_wanted or 'none'}, got {got}")
        return grid

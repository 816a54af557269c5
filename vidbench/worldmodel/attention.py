"""Who looks at whom: joint, divided and window attention, one mechanism with three ways to group tokens.

Every token asks (query), every token answers (key, value): softmax(q · k / sqrt(e)) v. What differs is the group within
which tokens meet, and with it the price, for T frames of S tokens each:

    Joint    all tokens in one group                        (T S)^2 pairs
    Time     a group for each place: its T moments          S T^2          } one after the other, each with
    Space    a group for each frame: its S places           T S^2          } projections of its own: *divided*
    Window   boxes of w tokens; every other block shifts    T S w
             them by half, so that news crosses borders

So there is one `Attention`, which is told its `Grouping`: split tokens into groups, attend within each group, merge.
`causal` groupings let a token see its own frame and earlier ones. Divided attention is Bertasius et al., TimeSformer
(arXiv 2102.05095); shifted windows are Liu et al., Video Swin (arXiv 2106.13230).

Conditions may be looked at too, as further keys in front of a group's own (*prefix*): a prompt, which all tokens see,
and tokens of a frame (its action), which are seen where that frame is seen. Time attention leaves them to space
attention.

Axes: b clips, a heads, m = b * a, n tokens, g groups of l tokens, d width, e = d / a channels of a head; (gt, gh, gw)
is the grid of tokens, p prompt tokens, f tokens a frame in the prefix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from vidbench.errors import InputError
from vidbench.worldmodel.patchify import Triple, padded_size
from vidbench.worldmodel.rope import Rotation, rotate

MASKED_TOKENS = 1024
"""Joint causal attention up to here uses one mask; above, a mask would take more memory than everything else."""


class Grouping(Protocol):
    """A way to group the tokens of a grid."""

    def split(self, x: Tensor, grid: Triple) -> Tensor:
        """(m, n, e) to (g, m, l, e)."""

    def merge(self, x: Tensor, grid: Triple) -> Tensor:
        """(g, m, l, e) back to (m, n, e)."""

    def split_frames(self, x: Tensor, grid: Triple) -> Tensor | None:
        """Prefix tokens of frames, (m, gt, f, e), to those that each group sees, (g, m, frames * f, e); None: none."""

    def mask(self, grid: Triple, prompt: int, per_frame: int, device: torch.device) -> Tensor | None:
        """Who sees whom: True in (g or 1, 1, l, prompt + frames * f + l); None where everyone sees everyone.

        Args:
            grid: of tokens.
            prompt: p, tokens of the prompt.
            per_frame: f, prefix tokens of each frame.
            device: where the mask is wanted.
        """


@dataclass(frozen=True)
class Joint:
    """All tokens in one group."""

    causal: bool = False

    def split(self, x: Tensor, grid: Triple) -> Tensor:
        """See `Grouping.split`."""
        return x[None]

    def merge(self, x: Tensor, grid: Triple) -> Tensor:
        """See `Grouping.merge`."""
        return x[0]

    def split_frames(self, x: Tensor, grid: Triple) -> Tensor:
        """See `Grouping.split_frames`."""
        return x.flatten(1, 2)[None]

    def mask(self, grid: Triple, prompt: int, per_frame: int, device: torch.device) -> Tensor | None:
        """See `Grouping.mask`."""
        return _frames_mask(grid, prompt, per_frame, device) if self.causal else None


@dataclass(frozen=True)
class Time:
    """A group for each place, of its moments."""

    causal: bool = False

    def split(self, x: Tensor, grid: Triple) -> Tensor:
        """See `Grouping.split`."""
        return x.unflatten(1, (grid[0], -1)).permute(2, 0, 1, 3)  # (s, m, t, e)

    def merge(self, x: Tensor, grid: Triple) -> Tensor:
        """See `Grouping.merge`."""
        return x.permute(1, 2, 0, 3).flatten(1, 2)

    def split_frames(self, x: Tensor, grid: Triple) -> None:
        """See `Grouping.split_frames`: they are left to space attention."""

    def mask(self, grid: Triple, prompt: int, per_frame: int, device: torch.device) -> Tensor | None:
        """See `Grouping.mask`."""
        return _frames_mask((grid[0], 1, 1), 0, 0, device) if self.causal else None


@dataclass(frozen=True)
class Space:
    """A group for each frame, of its places."""

    def split(self, x: Tensor, grid: Triple) -> Tensor:
        """See `Grouping.split`."""
        return x.unflatten(1, (grid[0], -1)).transpose(0, 1)  # (t, m, s, e)

    def merge(self, x: Tensor, grid: Triple) -> Tensor:
        """See `Grouping.merge`."""
        return x.transpose(0, 1).flatten(1, 2)

    def split_frames(self, x: Tensor, grid: Triple) -> Tensor:
        """See `Grouping.split_frames`."""
        return x.transpose(0, 1)

    def mask(self, grid: Triple, prompt: int, per_frame: int, device: torch.device) -> None:
        """See `Grouping.mask`."""


@dataclass(frozen=True)
class Window:
    """Boxes of tokens; with `shifted`, the borders lie half a box further.

    A grid that is no multiple of the box is padded, and the padding is masked. Shifting rolls the grid, so that the
    number of boxes stays; what thereby comes to lie in one box from opposite ends is masked too. An axis that is no
    longer than the box is one box and does not shift.
    """

    size: Triple
    shifted: bool = False
    causal: bool = False

    def box(self, grid: Triple) -> Triple:
        """Size of a box on this grid."""
        return _least(self.size, grid)

    def shift(self, grid: Triple) -> Triple:
        """How far the borders are shifted on this grid."""
        a, b, c = (
            box // 2 if self.shifted and box < length else 0 for box, length in zip(self.box(grid), grid, strict=True)
        )
        return a, b, c

    def split(self, x: Tensor, grid: Triple) -> Tensor:
        """See `Grouping.split`."""
        (wt, wh, ww), (pt, ph, pw) = self.box(grid), padded_size(grid, self.box(grid))
        x = x.unflatten(1, grid)  # (m, gt, gh, gw, e)
        x = F.pad(x, (0, 0, 0, pw - grid[2], 0, ph - grid[1], 0, pt - grid[0]))
        x = x.roll([-by for by in self.shift(grid)], (1, 2, 3))
        x = x.reshape(-1, pt // wt, wt, ph // wh, wh, pw // ww, ww, x.shape[-1])
        return x.permute(1, 3, 5, 0, 2, 4, 6, 7).flatten(4, 6).flatten(0, 2)  # (g, m, wt * wh * ww, e)

    def merge(self, x: Tensor, grid: Triple) -> Tensor:
        """See `Grouping.merge`."""
        (wt, wh, ww), (pt, ph, pw) = self.box(grid), padded_size(grid, self.box(grid))
        x = x.reshape(pt // wt, ph // wh, pw // ww, -1, wt, wh, ww, x.shape[-1])
        x = x.permute(3, 0, 4, 1, 5, 2, 6, 7).reshape(-1, pt, ph, pw, x.shape[-1])
        x = x.roll(self.shift(grid), (1, 2, 3))
        return x[:, : grid[0], : grid[1], : grid[2]].flatten(1, 3)

    def split_frames(self, x: Tensor, grid: Triple) -> Tensor:
        """See `Grouping.split_frames`."""
        (wt, wh, ww), (pt, ph, pw) = self.box(grid), padded_size(grid, self.box(grid))
        x = F.pad(x, (0, 0, 0, 0, 0, pt - grid[0])).roll(-self.shift(grid)[0], 1)
        x = x.unflatten(1, (pt // wt, wt)).flatten(2, 3).transpose(0, 1)  # (boxes in time, m, wt * f, e)
        return x.repeat_interleave((ph // wh) * (pw // ww), dim=0)

    def mask(self, grid: Triple, prompt: int, per_frame: int, device: torch.device) -> Tensor | None:
        """See `Grouping.mask`."""
        box = self.box(grid)
        if padded_size(grid, box) == tuple(grid) and not any(self.shift(grid)) and not (self.causal and box[0] > 1):
            return None
        return _window_mask(grid, box, self.shift(grid), self.causal, prompt, per_frame, device)


def _least(a: Triple, b: Triple) -> Triple:
    return min(a[0], b[0]), min(a[1], b[1]), min(a[2], b[2])


@lru_cache(maxsize=16)
def _frames_mask(grid: Triple, prompt: int, per_frame: int, device: torch.device) -> Tensor:
    """(1, 1, n, prompt + gt * per_frame + n): a token sees the prompt, its own frame and earlier ones."""
    frames = torch.arange(grid[0]).repeat_interleave(grid[1] * grid[2])
    given = torch.arange(grid[0]).repeat_interleave(per_frame)
    always = torch.full((prompt,), -1)
    return (frames[:, None] >= torch.cat((always, given, frames))[None])[None, None].to(device)


@lru_cache(maxsize=16)
def _window_mask(
    grid: Triple, box: Triple, shift: Triple, causal: bool, prompt: int, per_frame: int, device: torch.device
) -> Tensor:
    """(g, 1, l, prompt + wt * per_frame + l) for padded, rolled boxes."""
    # On each axis, where the cells of each box came from, and which of them belong together: 0 as they were, 1 those
    # rolled in from the other end, 2 padding.
    origins, regions = [], []
    for length, width, by in zip(grid, box, shift, strict=True):
        padded = -(-length // width) * width
        origin = (torch.arange(padded) + by) % padded
        region = (origin < by).long()
        region[origin >= length] = 2
        origins.append(origin.reshape(-1, width))
        regions.append(region.reshape(-1, width))
    (nt, wt), (nh, wh), (nw, ww) = (region.shape for region in regions)
    row, column = regions[1][None, :, None, None, :, None], regions[2][None, None, :, None, None, :]
    time = regions[0][:, None, None, :, None, None].expand(nt, nh, nw, wt, wh, ww).flatten(3).flatten(0, 2)  # (g, l)
    place = (3 * row + column).expand(nt, nh, nw, wt, wh, ww).flatten(3).flatten(0, 2)
    frame = origins[0][:, None, None, :, None, None].expand(nt, nh, nw, wt, wh, ww).flatten(3).flatten(0, 2)
    # The prefix of a box: its frames, with their time alone.
    each = per_frame * torch.ones(wt, dtype=torch.long)
    their_time = regions[0].repeat_interleave(each, dim=1).repeat_interleave(nh * nw, dim=0)  # (g, wt * f)
    their_frame = origins[0].repeat_interleave(each, dim=1).repeat_interleave(nh * nw, dim=0)

    own = (time[:, :, None] == time[:, None]) & (place[:, :, None] == place[:, None])
    given = time[:, :, None] == their_time[:, None]
    if causal:
        own &= frame[:, :, None] >= frame[:, None]
        given &= frame[:, :, None] >= their_frame[:, None]
    always = torch.ones(nt * nh * nw, own.shape[1], prompt, dtype=torch.bool)
    return torch.cat((always, given, own), dim=2)[:, None].to(device)


@dataclass(frozen=True)
class Prefix:
    """Conditions that tokens may look at."""

    prompt: Tensor | None = None
    """(b, p, d), seen by all."""
    frames: Tensor | None = None
    """(b, gt, f, d), seen where their frame is seen."""
    turn: Rotation | None = None
    """Of the tokens of frames, (gt * f, e / 2): they stand at their frame, row 0, column 0."""


class Attention(nn.Module):
    """Multi-head self-attention within groups, with rotary positions and normed queries and keys.

    Queries and keys are brought to root mean square 1, times a learned gain per channel (QK norm, Dehghani et al.,
    arXiv 2302.05442): their product stays bounded, which keeps training at high learning rates from blowing up.
    """

    def __init__(self, width: int, heads: int, grouping: Grouping) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"a width of {width} does not divide into {heads} heads")
        self.heads = heads
        self.grouping = grouping
        self.qkv = nn.Linear(width, 3 * width)
        self.query_gain = nn.Parameter(torch.ones(width // heads))
        self.key_gain = nn.Parameter(torch.ones(width // heads))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, turn: Rotation, grid: Triple, prefix: Prefix | None = None) -> Tensor:
        """Attend.

        Args:
            x: (b, n, d) tokens of the grid, in reading order.
            turn: of each token, from `vidbench.worldmodel.rope`.
            grid: tokens along frames, rows and columns.
            prefix: what may be looked at besides.

        Returns:
            (b, n, d).
        """
        q, k, v = self._heads(self.qkv(x), 3)  # each (m, n, e)
        q = self.grouping.split(rotate(_normed(q, self.query_gain), turn), grid)
        k = self.grouping.split(rotate(_normed(k, self.key_gain), turn), grid)
        v = self.grouping.split(v, grid)  # (g, m, l, e)
        ahead, prompt, per_frame = self._prefix(prefix, grid, k.shape[0]) if prefix is not None else ([], 0, 0)
        if isinstance(self.grouping, Joint) and self.grouping.causal and x.shape[1] > MASKED_TOKENS:
            y = _frame_by_frame(q, k, v, ahead, prompt, per_frame, grid)
        else:
            mask = self.grouping.mask(grid, prompt, per_frame, x.device)
            for keys, values in ahead[::-1]:
                k, v = torch.cat((keys, k), dim=2), torch.cat((values, v), dim=2)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = self.grouping.merge(y, grid)  # (m, n, e)
        return self.out(y.unflatten(0, (-1, self.heads)).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(b, n, parts * d) to parts of (m, n, e)."""
        x = x.unflatten(2, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (parts, b, a, n, e)
        return tuple(x.flatten(1, 2))

    def _prefix(self, prefix: Prefix, grid: Triple, groups: int) -> tuple[list[tuple[Tensor, Tensor]], int, int]:
        """Keys and values of the prefix, each (g, m, tokens, e), and how many tokens: of the prompt, of a frame."""
        pairs, prompt, per_frame = [], 0, 0
        width = self.out.in_features
        weight, bias = self.qkv.weight[width:], self.qkv.bias[width:]  # a prefix answers and does not ask
        if prefix.prompt is not None and not isinstance(self.grouping, Time):
            prompt = prefix.prompt.shape[1]
            k, v = self._heads(F.linear(prefix.prompt, weight, bias), 2)
            k = _normed(k, self.key_gain)
            pairs.append((k.expand(groups, -1, -1, -1), v.expand(groups, -1, -1, -1)))
        if prefix.frames is not None and prefix.turn is not None:
            k, v = self._heads(F.linear(prefix.frames.flatten(1, 2), weight, bias), 2)
            k = rotate(_normed(k, self.key_gain), prefix.turn)
            k, v = (self.grouping.split_frames(part.unflatten(1, (grid[0], -1)), grid) for part in (k, v))
            if k is not None:
                per_frame = prefix.frames.shape[2]
                pairs.append((k, v))
        return pairs, prompt, per_frame


def _normed(x: Tensor, gain: Tensor) -> Tensor:
    """Root mean square 1 over the last axis, times the gain."""
    return F.rms_norm(x, (x.shape[-1],)) * gain.to(x.dtype)


def _frame_by_frame(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    ahead: list[tuple[Tensor, Tensor]],
    prompt: int,
    per_frame: int,
    grid: Triple,
) -> Tensor:
    """Joint causal attention without a mask: each frame asks all that it may see, and nothing else is computed."""
    size = math.prod(grid[1:])
    rows = []
    for frame in range(grid[0]):
        # The prompt comes first where there is one; of what belongs to frames, frames up to this one.
        seen = [prompt] * bool(prompt) + [(frame + 1) * per_frame] * bool(per_frame)
        keys = [pair[0][:, :, :count] for pair, count in zip(ahead, seen, strict=True)]
        values = [pair[1][:, :, :count] for pair, count in zip(ahead, seen, strict=True)]
        end = (frame + 1) * size
        rows.append(
            F.scaled_dot_product_attention(
                q[:, :, frame * size : end],
                torch.cat([*keys, k[:, :, :end]], dim=2),
                torch.cat([*values, v[:, :, :end]], dim=2),
            )
        )
    return torch.cat(rows, dim=2)

"""What a clip costs a video transformer, before there is one: tokens, pairs, operations and memory.

Only arithmetic, no network and no torch. A clip of T x H x W pixels (or latents of a VAE) is cut into patches; each of
the n tokens then meets all others (joint), those of its time and of its place (divided), or those of its window. The
number of pairs is what differs, by a factor of hundreds, and everything else follows.

Operations count a multiplication and an addition as two, of one clip once through the network:

    projections  8 n d^2 an attention (queries, keys, values, output)      MLP  4 r n d^2
    attention    4 d a pair (q · k, and weights times v)                   patches  2 n d (numbers in + numbers out)

and a step of training three times that. Operations of one token a frame (modulation) are left out.

Memory is an estimate for a network that wastes nothing, one clip at a time: weights, or in training 16 bytes a weight
(value, gradient, a float32 copy and Adam's two moments); activations at the widest point, (2 + 2 r) n d numbers, or in
training what must be kept for the way back, 12 n d an attention and 4 + 4 r an MLP, in bytes of 16-bit numbers
(Korthikanti et al., arXiv 2205.05198, equation 2, without dropout); naive attention further keeps a weight for each
head and pair: twice (logits and weights) for the layer at work, and once for every layer in training. Flash attention
keeps none of them. Recomputing (gradient checkpointing) keeps the input of each block and all of one block, and costs a
third more operations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vidbench.errors import InputError
from vidbench.worldmodel.patchify import Triple, padded_size

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Of a number, by its type."""

DEVICES: dict[str, float] = {
    "laptop 16 GB": 0.6 * 16,
    "24 GB": 0.9 * 24,
    "40 GB": 0.9 * 40,
    "80 GB": 0.9 * 80,
    "141 GB": 0.9 * 141,
}
"""Device to GB of 10^9 bytes that a network can have: nine tenths, on a laptop, which others use too, six."""


MODES = {
    "sample_flash": "sample, flash",
    "sample_naive": "sample, naive",
    "train_flash_recomputing": "train, flash, recompute",
    "train_flash": "train, flash",
    "train_naive": "train, naive",
}
"""Ways to run a network, whose memory is estimated, and what tables call them."""


@dataclass(frozen=True)
class NetworkSize:
    """Size of a transformer; the default is DiT-XL's (Peebles & Xie, arXiv 2212.09748)."""

    width: int = 1152
    """d, channels of a token."""
    depth: int = 28
    """Blocks."""
    heads: int = 16
    """Of attention."""
    mlp_ratio: int = 4
    """r, hidden channels of an MLP in widths."""
    dtype: str = "bfloat16"
    """Type of weights and activations."""

    def __post_init__(self) -> None:
        if self.dtype not in BYTES:
            raise InputError(f"the dtype must be one of {', '.join(BYTES)}, got '{self.dtype}'")
        if min(self.width, self.depth, self.heads, self.mlp_ratio) < 1 or self.width % self.heads:
            raise InputError(f"a width of {self.width} does not divide into {self.heads} heads")


@dataclass(frozen=True)
class Grid:
    """A clip as tokens."""

    clip: Triple
    """Frames, height and width that were asked for."""
    cells: Triple
    """What patches are cut from: the pixels, or a VAE's latents."""
    grid: Triple
    """Tokens along frames, rows and columns."""
    numbers: int
    """In a token."""
    notes: tuple[str, ...]
    """What does not divide, and what is done about it."""

    @property
    def tokens(self) -> int:
        """How many in all."""
        return math.prod(self.grid)


@dataclass(frozen=True)
class Cost:
    """What one kind of attention costs, for one clip."""

    attention: str
    """`joint`, `divided` or `window`."""
    pairs: int
    """Of tokens that meet, in one block, over all its attentions."""
    parameters: int
    """Of the network."""
    attention_operations: int
    """For pairs alone, once through the network."""
    operations: int
    """Once through the network, all in all."""
    memory: dict[str, float]
    """GB by the names of `MODES`."""
    fits: dict[str, str | None]
    """By the same names, the smallest device of `DEVICES` that has as much; None: none of them."""


def frames_of(seconds: float, fps: float) -> int:
    """How many frames a clip of that length has, rounded.

    Raises:
        InputError: less than half a frame, or no finite number.
    """
    frames = seconds * fps
    if not 0.5 <= frames < 1e9 or seconds <= 0:
        raise InputError(f"{seconds:g} s at {fps:g} frames a second is no clip; both must be above 0")
    return math.floor(frames + 0.5)


def tokens_of(clip: Triple, patch: Triple, *, channels: int = 3, vae: Triple | None = None) -> Grid:
    """Cut a clip into tokens, padding where it does not divide.

    Args:
        clip: frames, height and width in pixels.
        patch: frames, rows and columns of a patch, in pixels, or in latents where there is a VAE.
        channels: of a pixel, or of a latent.
        vae: frames, rows and columns that a causal VAE makes one latent of. It keeps the first frame by itself: 1 + 4 k
            frames become 1 + k latents.

    Raises:
        InputError: a size below 1.
    """
    if min(*clip, *patch, channels, *(vae or (1, 1, 1))) < 1:
        raise InputError("sizes of clips, patches and a VAE, and channels, must be at least 1")
    notes: list[str] = []
    cells, by = clip, ""
    if vae is not None:
        cells = (1 + -(-(clip[0] - 1) // vae[0]), -(-clip[1] // vae[1]), -(-clip[2] // vae[2]))
        decoded = (1 + (cells[0] - 1) * vae[0], cells[1] * vae[1], cells[2] * vae[2])
        first = f"a causal VAE takes 1 + {vae[0]} k, the first by itself"
        notes += padding(clip, decoded, (first, f"the VAE takes {vae[1]} k", f"the VAE takes {vae[2]} k"))
        by = " of latents"
    padded = padded_size(cells, patch)
    t, h, w = (f"patches take {step} k" for step in patch)
    notes += padding(cells, padded, (t, h, w), by)
    grid = (padded[0] // patch[0], padded[1] // patch[1], padded[2] // patch[2])
    return Grid(clip, cells, grid, channels * math.prod(patch), tuple(notes))


def padding(size: Triple, padded: Triple, because: tuple[str, str, str], of: str = "") -> list[str]:
    """What is said of each axis that does not divide."""
    return [
        f"{length} {axis}{of} are padded to {full}: {why}"
        for length, full, axis, why in zip(size, padded, ("frames", "rows", "columns"), because, strict=True)
        if length != full
    ]


def pairs(grid: Triple, attention: str, window: Triple) -> tuple[int, ...]:
    """Pairs of tokens in each attention of a block: one for joint and window, time and space for divided.

    Windows count with their padding, which is computed as well; borders that are shifted change nothing.
    """
    t, space = grid[0], grid[1] * grid[2]
    if attention == "joint":
        return ((t * space) ** 2,)
    if attention == "divided":
        return (space * t**2, t * space**2)
    box = _least(window, grid)
    return (math.prod(padded_size(grid, box)) * math.prod(box),)


def window_notes(grid: Triple, window: Triple) -> list[str]:
    """Which axes of a grid windows do not divide."""
    box = _least(window, grid)
    t, h, w = (f"windows take {by} k" for by in box)
    return padding(grid, padded_size(grid, box), (t, h, w), " of tokens")


def _least(window: Triple, grid: Triple) -> Triple:
    return min(window[0], grid[0]), min(window[1], grid[1]), min(window[2], grid[2])


def parameters(network: NetworkSize, attention: str, numbers: int) -> int:
    """Weights of `vidbench.worldmodel.dit.DiT` of this size, without conditions but time."""
    d, r = network.width, network.mlp_ratio
    attentions = 2 if attention == "divided" else 1
    block = attentions * (4 * d * d + 4 * d + 2 * (d // network.heads)) + 2 * r * d * d + (r + 1) * d
    modulation = 3 * (attentions + 1) * d
    shared = (d + 1) * modulation + (d + 1) * 2 * d  # of the blocks, of the output
    time = (256 + 1) * d + (d + 1) * d
    ends = (numbers + 1) * d + (d + 1) * numbers + (d // network.heads) * d  # patches in and out, places
    return network.depth * (block + modulation) + shared + time + ends


def cost(grid: Grid, network: NetworkSize, attention: str, window: Triple) -> Cost:
    """Work out one kind of attention; see the module for how."""
    n, d, r, size = grid.tokens, network.width, network.mlp_ratio, BYTES[network.dtype]
    each = pairs(grid.grid, attention, window)
    weights = parameters(network, attention, grid.numbers)
    for_pairs = network.depth * 4 * d * sum(each)
    others = network.depth * (len(each) * 8 + 4 * r) * n * d * d + 4 * n * d * grid.numbers
    block = (12 * len(each) + 4 + 4 * r) * n * d * size / 2
    sampling = weights * size + (2 + 2 * r) * n * d * size
    training = weights * 16 + network.depth * block
    heads = network.heads * size
    needed = {
        "sample_flash": sampling,
        "sample_naive": sampling + 2 * heads * max(each),
        "train_flash_recomputing": weights * 16 + block + network.depth * n * d * size,
        "train_flash": training,
        "train_naive": training + heads * (network.depth * sum(each) + max(each)),
    }
    memory = {name: count / 1e9 for name, count in needed.items()}
    fits = {name: next((d for d, has in DEVICES.items() if has >= gb), None) for name, gb in memory.items()}
    return Cost(attention, sum(each), weights, for_pairs, for_pairs + others, memory, fits)

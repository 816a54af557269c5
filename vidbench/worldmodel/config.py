"""What a network is made of: sizes and choices, without weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vidbench.errors import InputError
from vidbench.worldmodel.attention import Grouping, Joint, Space, Time, Window
from vidbench.worldmodel.patchify import Triple, text
from vidbench.worldmodel.rope import axis_pairs

ATTENTIONS = ("joint", "divided", "window")
WAYS = ("modulation", "token", "both")
PREDICTIONS = ("x", "v")


@dataclass(frozen=True)
class DiTConfig:
    """All that makes a network, besides its weights. Fields are numbers, words and tuples of them: it is JSON."""

    channels: int = 3
    """Of a frame: 3 of pixels, more of latents."""
    patch: Triple = (1, 8, 8)
    """Frames, rows and columns of a patch; of one frame where there are past frames or actions."""
    width: int = 128
    """d, channels of a token."""
    depth: int = 4
    """Blocks."""
    heads: int = 4
    """Of attention; width / heads is even and at least 6, for 3-D rotary positions."""
    mlp_ratio: int = 4
    """Hidden channels of a block's MLP, in widths."""
    attention: str = "joint"
    """`joint`, `divided` or `window`: how blocks that look across time do it."""
    temporal_blocks: tuple[int, ...] | None = None
    """Which blocks look across time, from 0; the others see one frame at a time. None: all; (): none."""
    window: Triple = (4, 4, 4)
    """Box of window attention, in tokens; every other block that looks across time shifts it by half."""
    causal: bool = True
    """No frame sees a later one."""
    rope_theta: float = 10_000.0
    """Slowest rotary frequency; see `vidbench.worldmodel.rope`."""
    absolute: bool = True
    """Also tell each token its row and column, which rotary positions alone cannot where all is noise."""
    past_frames: int = 0
    """K, clean frames before each frame that come in as channels; 0: none."""
    residual: bool = True
    """Add the output to the last past frame, where there are past frames."""
    actions: int = 0
    """How many actions there are; 0: none."""
    action_conditioning: str = "modulation"
    """`modulation`, `token` (looked at by the tokens of its frame) or `both`."""
    classes: int = 0
    """How many classes (or instructions by number) there are; 0: none."""
    prompt_width: int = 0
    """Channels of the embedding of a text prompt's tokens; 0: no prompts."""
    reward: bool = False
    """Also foretell a number for each frame."""
    prediction: str = "x"
    """What the output means: `x`, the clip, or `v`, the velocity towards it."""

    def __post_init__(self) -> None:
        self._check_fields()
        if self.width % self.heads:
            raise InputError(f"a width of {self.width} does not divide into {self.heads} heads")
        axis_pairs(self.width // self.heads)
        if self.temporal_blocks is not None and not set(self.temporal_blocks) <= set(range(self.depth)):
            raise InputError(f"temporal_blocks must be from 0 to {self.depth - 1}, got {self.temporal_blocks}")
        if self.patch[0] != 1 and (self.past_frames or self.actions):
            # A patch of two frames would hold, as the past of the second, the first without its noise.
            raise InputError(f"past frames and actions need patches of one frame; got {text(self.patch)}")
        if self.past_frames and self.residual and self.prediction == "v":
            raise InputError("a velocity is not near the last frame: with prediction='v' set residual=False")

    def _check_fields(self) -> None:
        """Each field by itself; a config may come from a file."""
        for name, known in (
            ("attention", ATTENTIONS),
            ("action_conditioning", WAYS),
            ("prediction", PREDICTIONS),
        ):
            if getattr(self, name) not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}, got '{getattr(self, name)}'")
        for name, least, most in (
            ("channels", 1, 4096),
            ("width", 1, 1 << 14),
            ("depth", 1, 256),
            ("heads", 1, 256),
            ("mlp_ratio", 1, 64),
            ("past_frames", 0, 64),
            ("actions", 0, 1 << 16),
            ("classes", 0, 1 << 20),
            ("prompt_width", 0, 1 << 14),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise InputError(f"{name} must be a whole number from {least} to {most}, got {value!r}")
        for name in ("patch", "window"):
            value = getattr(self, name)
            if (
                not isinstance(value, tuple)
                or [type(n) for n in value] != [int] * 3
                or not 1 <= min(value) <= max(value) <= 1024
            ):
                raise InputError(f"{name} must be three whole numbers from 1 to 1024, got {value!r}")
        blocks: object = self.temporal_blocks
        if blocks is not None and not (isinstance(blocks, tuple) and all(type(n) is int for n in blocks)):
            raise InputError(f"temporal_blocks must be a tuple of numbers of blocks, got {self.temporal_blocks!r}")
        for name in ("causal", "absolute", "residual", "reward"):
            if type(getattr(self, name)) is not bool:
                raise InputError(f"{name} must be true or false, got {getattr(self, name)!r}")
        theta: object = self.rope_theta
        if not isinstance(theta, (int, float)) or not 1 < theta < math.inf:
            raise InputError(f"rope_theta must be a number above 1, got {self.rope_theta!r}")

    def groupings(self, block: int) -> tuple[Grouping, ...]:
        """The attentions of a block, in order."""
        temporal = tuple(range(self.depth)) if self.temporal_blocks is None else self.temporal_blocks
        if block not in temporal:
            return (Space(),)
        if self.attention == "joint":
            return (Joint(self.causal),)
        if self.attention == "divided":
            return (Time(self.causal), Space())
        shifted = sorted(temporal).index(block) % 2 == 1
        return (Window(self.window, shifted, self.causal),)

"""Known damage for clips: what a metric must notice, made on purpose, for calibration, self-tests and demos.

Every function takes a clip (T, H, W, 3) uint8, a strength in [0, 1] and a seed, and returns a new clip of the same
shape and type. Strength 0 changes nothing, the fault grows with strength, and equal arguments give equal pixels.
`damage` checks its arguments; the functions behind it trust theirs.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError

ClipArray = NDArray[np.uint8]
Damage = Callable[[ClipArray, float, int], ClipArray]


def flicker(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Each frame's brightness times a gain of its own, uniform in 1 ± strength / 2."""
    gains = 1 + strength / 2 * np.random.default_rng(seed).uniform(-1, 1, len(clip))
    return np.stack([_to_uint8(frame * np.float32(gain)) for frame, gain in zip(clip, gains, strict=True)])


def blur(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Gaussian blur; at full strength its deviation is 1/32 of the frame's short side."""
    import cv2

    sigma = strength * min(clip.shape[1:3]) / 32
    if sigma == 0:
        return clip.copy()
    return np.stack([np.asarray(cv2.GaussianBlur(frame, (0, 0), sigma), np.uint8) for frame in clip])


def noise(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Gaussian noise, new in every frame; at full strength its deviation is 64 of 255."""
    rng = np.random.default_rng(seed)
    deviation = np.float32(64 * strength)
    return np.stack(
        [_to_uint8(frame + deviation * rng.standard_normal(frame.shape, dtype=np.float32)) for frame in clip]
    )


def freeze(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """A share of the frames repeats the frame before; at full strength the clip stands still."""
    chosen = 1 + np.random.default_rng(seed).permutation(len(clip) - 1)
    source = np.arange(len(clip))
    source[chosen[: round(strength * len(chosen))]] = 0
    # What is 0 takes the last frame that is not.
    return clip[np.maximum.accumulate(source)]


def black(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """A share of the frames is black."""
    damaged = clip.copy()
    damaged[np.random.default_rng(seed).permutation(len(clip))[: round(strength * len(clip))]] = 0
    return damaged


def shuffle(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Frames out of order: each is delayed by up to strength * T frames, so order is lost from near to far."""
    delays = strength * len(clip) * np.random.default_rng(seed).uniform(0, 1, len(clip))
    return clip[np.argsort(np.arange(len(clip)) + delays, kind="stable")]


def reverse(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Time runs backwards in a share of the clip, at its start."""
    turned = round(strength * len(clip))
    return np.concatenate([clip[:turned][::-1], clip[turned:]])


def jump(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Frames are missing in the middle, up to half of the clip; the rest is slowed to fill its place.

    Frames between two others are their mixture, so that the jump is the only sudden thing.
    """
    last = len(clip) - 1
    missing = strength * last / 2
    times = np.arange(len(clip)) * (last - missing) / max(1, last)
    return _at(clip, times + missing * (np.arange(len(clip)) > last / 2))


def cut(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Another scene takes over: the clip mirrored, its colours exchanged; at full strength from the middle on."""
    start = len(clip) - round(strength * (len(clip) // 2))
    damaged = clip.copy()
    damaged[start:] = clip[start:, :, ::-1, (2, 0, 1)]
    return damaged


def overexpose(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Up to four times as bright, with what is too bright cut off at white."""
    return _to_uint8(clip * np.float32(4**strength))


def underexpose(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Down to an eighth of the brightness."""
    return _to_uint8(clip * np.float32(0.125**strength))


def jitter(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Each frame is shifted by its own whole pixels, up to a tenth of the short side; edges are repeated."""
    _, height, width, _ = clip.shape
    reach = strength * min(height, width) / 10
    shifts = np.rint(reach * np.random.default_rng(seed).uniform(-1, 1, (len(clip), 2))).astype(int)
    rows, columns = np.arange(height), np.arange(width)
    return np.stack(
        [
            frame.take(np.clip(rows - down, 0, height - 1), 0).take(np.clip(columns - right, 0, width - 1), 1)
            for frame, (down, right) in zip(clip, shifts, strict=True)
        ]
    )


def slow(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Slow motion, down to a quarter of the speed; frames between two others are their mixture."""
    return _at(clip, np.arange(len(clip)) * (1 - 0.75 * strength))


def speed(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Fast motion, up to four times the speed; the clip runs back and forth to keep its length."""
    last = max(1, len(clip) - 1)
    times = np.arange(len(clip)) * (1 + 3 * strength)
    return _at(clip, last - np.abs(times % (2 * last) - last))


def block(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Every frame through JPEG, at quality 95 down to 1."""
    import cv2

    if strength == 0:
        return clip.copy()
    quality = [cv2.IMWRITE_JPEG_QUALITY, round(95 - 94 * strength)]
    damaged = np.empty_like(clip)
    for frame, out in zip(clip, damaged, strict=True):
        _, data = cv2.imencode(".jpg", frame[..., ::-1], quality)
        out[:] = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1]
    return damaged


def smear(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """What was there lingers: each frame is mixed with the one shown before, up to 95 of 100 parts."""
    kept = np.float32(0.95 * strength)
    shown = clip[0].astype(np.float32)
    damaged = np.empty_like(clip)
    for frame, out in zip(clip, damaged, strict=True):
        shown = (1 - kept) * frame + kept * shown
        out[:] = _to_uint8(shown)
    return damaged


DAMAGES: Mapping[str, Damage] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            flicker,
            blur,
            noise,
            freeze,
            black,
            shuffle,
            reverse,
            jump,
            cut,
            overexpose,
            underexpose,
            jitter,
            slow,
            speed,
            block,
            smear,
        )
    }
)
"""Every damage by name: (clip, strength, seed) to clip."""


def damage(name: str, clip: ClipArray, strength: float, seed: int = 0) -> ClipArray:
    """Damage a clip in a known way.

    Args:
        name: one of `DAMAGES`.
        clip: (T, H, W, 3) uint8, T at least 1; is left as it is.
        strength: 0 (nothing happens) to 1.
        seed: of everything random.

    Returns:
        A new clip, same shape and type.

    Raises:
        InputError: an unknown name, a strength outside [0, 1], or an array that is no clip.

    Example:
        >>> import numpy as np
        >>> clip = np.full((4, 8, 8, 3), 100, np.uint8)
        >>> damage("black", clip, 0.5).mean()
        np.float64(50.0)
    """
    function = DAMAGES.get(name)
    if function is None:
        close = difflib.get_close_matches(name, DAMAGES, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(DAMAGES)}"
        raise InputError(f"unknown damage '{name}'; {hint}")
    if not 0 <= strength <= 1:
        raise InputError(f"the strength of a damage is between 0 and 1, not {strength}")
    if clip.ndim != 4 or clip.shape[3] != 3 or clip.dtype != np.uint8 or clip.size == 0:
        raise InputError(f"a clip is (T, H, W, 3) uint8 with at least one frame, not {clip.shape} {clip.dtype}")
    return function(clip, float(strength), seed)


def _at(clip: ClipArray, times: NDArray[Any]) -> ClipArray:
    """The clip at moments between its frames, by linear mixture."""
    before = np.clip(np.floor(times).astype(int), 0, len(clip) - 1)
    after = np.minimum(before + 1, len(clip) - 1)
    shares = (times - before).astype(np.float32)
    return np.stack(
        [
            clip[a] if share == 0 else _to_uint8((1 - share) * clip[a] + share * clip[b])
            for a, b, share in zip(before, after, shares, strict=True)
        ]
    )


def _to_uint8(values: NDArray[np.float32]) -> ClipArray:
    clipped: NDArray[np.float32] = np.clip(np.rint(values), 0, 255)
    return clipped.astype(np.uint8)

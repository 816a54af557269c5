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


def drop(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Frames are missing here and there, up to half of them; the clip then runs backwards to keep its length."""
    last = len(clip) - 1
    chosen = 1 + np.random.default_rng(seed).permutation(max(0, last - 1))
    left = np.delete(np.arange(len(clip)), chosen[: round(strength / 2 * len(chosen))])
    end = max(1, len(left) - 1)
    places = end - np.abs(np.arange(len(clip)) % (2 * end) - end)
    return np.asarray(clip[left[np.minimum(places, len(left) - 1)]], np.uint8)


def warp(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Each frame wobbles on its own: a smooth random shift of deviation up to 1/32 of the short side."""
    rng = np.random.default_rng(seed)
    size = strength * min(clip.shape[1:3]) / 32
    return np.stack([_shifted(frame, size * _smooth_field(rng, *frame.shape[:2])) for frame in clip])


def morph(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Shapes melt slowly and come back: one smooth random shift, up to 1/8 of the short side amid the clip."""
    field = _smooth_field(np.random.default_rng(seed), *clip.shape[1:3])
    amounts = strength * min(clip.shape[1:3]) / 8 * np.sin(np.pi * np.arange(len(clip)) / max(1, len(clip) - 1))
    # A clip of one or two frames has no middle; its last frame takes the whole shift.
    if len(clip) < 3:
        amounts[-1] = strength * min(clip.shape[1:3]) / 8
    return np.stack([_shifted(frame, float(a) * field) for frame, a in zip(clip, amounts, strict=True)])


def displace(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """A share of square blocks, an eighth of the short side wide and others in every frame, change places."""
    rng = np.random.default_rng(seed)
    side = max(1, min(clip.shape[1:3]) // 8)
    damaged = clip.copy()
    for frame, out in zip(clip, damaged, strict=True):
        rows, columns = frame.shape[0] // side, frame.shape[1] // side
        places = rng.permutation(rows * columns)
        # The blocks of a weaker damage are among those of a stronger one; each takes what the one before it showed.
        chosen = places[: round(strength * len(places))]
        for place, source in zip(chosen, np.roll(chosen, 1), strict=True):
            (y, x), (y_from, x_from) = ((n // columns * side, n % columns * side) for n in (place, source))
            out[y : y + side, x : x + side] = frame[y_from : y_from + side, x_from : x_from + side]
    return damaged


def drift(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Colours drift evenly through the clip: at its end red is up to 1.6 times, blue 0.4 times as bright."""
    gains = 0.6 * strength * np.arange(1, len(clip) + 1, dtype=np.float32)[:, None] / len(clip) * np.array([1, 0, -1])
    return np.stack([_to_uint8(frame * np.float32(1 + gain)) for frame, gain in zip(clip, gains, strict=True)])


def blend(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Moments run into each other: a Gaussian over time, of deviation up to 2 frames."""
    from scipy.ndimage import gaussian_filter1d

    if strength == 0:
        return clip.copy()
    return _to_uint8(gaussian_filter1d(clip.astype(np.float32), 2 * strength, axis=0, mode="nearest"))


def fade(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """Few frames are shown and cross-fades lead from one to the next: from each to, at most, every eighth."""
    step = 1 + round(7 * strength)
    last = len(clip) - 1
    shown = np.arange(len(clip)) // step * step
    after = np.minimum(shown + step, last)
    shares = ((np.arange(len(clip)) - shown) / np.maximum(1, after - shown)).astype(np.float32)
    return np.stack(
        [
            clip[a] if share == 0 else _to_uint8((1 - share) * clip[a] + share * clip[b])
            for a, b, share in zip(shown, after, shares, strict=True)
        ]
    )


def pan(clip: ClipArray, strength: float, seed: int) -> ClipArray:
    """A share of the clip, at its end, is a camera that pans over its middle frame, enlarged one and a half times."""
    import cv2

    count, height, width, _ = clip.shape
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    still, damaged = clip[count // 2], clip.copy()
    for t in range(count - round(strength * count), count):
        way = (t / max(1, count - 1) - 0.5) * min(height, width) / 4
        x, y = way * np.cos(angle) - width / 4, way * np.sin(angle) - height / 4
        matrix = np.array([[1.5, 0, x], [0, 1.5, y]], np.float32)
        damaged[t] = cv2.warpAffine(still, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
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
            drop,
            warp,
            morph,
            displace,
            drift,
            blend,
            fade,
            pan,
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


def _smooth_field(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """(H, W, 2) random shifts of deviation 1 that change over a sixteenth of the short side."""
    import cv2

    noise = rng.standard_normal((height, width, 2), dtype=np.float32)
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), max(0.5, min(height, width) / 16)), np.float32)
    return np.asarray(smooth / max(float(smooth.std()), 1e-6), np.float32)


def _shifted(frame: NDArray[np.uint8], field: NDArray[np.floating]) -> NDArray[np.uint8]:
    """What (H, W, 3) shows at each place plus its (H, W, 2) shift in pixels, mirrored beyond the edges."""
    import cv2

    y, x = np.mgrid[0 : frame.shape[0], 0 : frame.shape[1]].astype(np.float32)
    at = (x + field[..., 0]).astype(np.float32), (y + field[..., 1]).astype(np.float32)
    return np.asarray(cv2.remap(frame, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.uint8)


def _to_uint8(values: NDArray[np.float32]) -> ClipArray:
    clipped: NDArray[np.float32] = np.clip(np.rint(values), 0, 255)
    return clipped.astype(np.uint8)

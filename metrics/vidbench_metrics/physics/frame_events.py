"""Events of the picture as a whole: frozen runs, cuts, flicker."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vidbench_metrics.extractors.motion import REPEATED, MotionObservation
from vidbench_metrics.physics.event import Event
from vidbench_metrics.physics.tracks import Track
from vidbench_metrics.spans import runs

Floats = NDArray[np.float64]
CUTS = 3
"""Candidates for a cut in a clip, the most striking ones."""
NEAR = 4
"""Frames on either side that a step is compared with."""


def ratio(a: float, b: float, floor: float) -> float:
    """Logarithm of a / b, both raised by a floor so that nothing divided by nothing is 0."""
    return float(np.log((a + floor) / (b + floor)))


def around(values: Floats, frame: int, reach: int = NEAR) -> float:
    """Median of the neighbours of a step, without the step itself; NaN without any."""
    near = np.concatenate([values[max(1, frame - reach) : frame], values[frame + 1 : frame + reach + 1]])
    near = near[np.isfinite(near)]
    return float(np.median(near)) if near.size else float("nan")


def whole_frame_events(observation: MotionObservation, tracks: list[Track], fps: float) -> Iterator[Event]:
    """All events of the whole picture.

    Args:
        observation: of a clip of T frames.
        tracks: its tracks.
        fps: frames a second.
    """
    yield from frozen_runs(observation, tracks, fps)
    yield from cuts(observation, tracks, fps)
    yield from flicker(observation, fps)


def frozen_runs(observation: MotionObservation, tracks: list[Track], fps: float) -> Iterator[Event]:
    """Runs of frames that repeat the one before, or nearly do where the others do not."""
    grey, change = observation.frame("grey_change"), observation.frame("thumbnail_change")
    if len(grey) < 4:
        return
    usual = float(np.nanmedian(grey[1:]))
    lively = float(np.nanpercentile(grey[1:], 80))
    # A small thing on a still ground changes little in any frame; a held frame changes far less even so.
    limit = max(0.02, 0.2 * usual, min(REPEATED, 0.35 * usual))
    frozen = np.concatenate([[False], grey[1:] < limit])
    found = [run for run in runs(frozen) if run[1] - run[0] >= 1]
    held = float(frozen[1:].mean())
    for first, last in sorted(found, key=lambda run: run[0] - run[1])[:4]:
        inside = grey[first : last + 1]
        rest = np.concatenate([grey[max(1, first - 12) : first], grey[last + 1 : last + 13]])
        moving_before = _mean_speed(tracks, first - 6, first - 1)
        moving_after = _mean_speed(tracks, last + 1, last + 7)
        after = float(grey[last + 1]) if last + 1 < len(grey) else float("nan")
        yield Event(
            "frozen_run",
            first - 1,
            last,
            (),
            {
                "frames": float(last - first + 1),
                "seconds": (last - first + 1) / fps,
                "level": float(inside.mean()),
                "exact": float(np.mean(inside < 0.02)),
                "level_to_rest": ratio(float(inside.mean()), float(np.median(rest)) if rest.size else usual, 0.1),
                "rest": float(np.median(rest)) if rest.size else float("nan"),
                "lively": lively,
                "held_elsewhere": held - (last - first + 1) / (len(grey) - 1),
                "runs": float(len(found)),
                "after_to_rest": ratio(after, float(np.median(rest)) if rest.size else usual, 0.1),
                "thumbnail_after": float(change[last + 1]) if last + 1 < len(change) else float("nan"),
                "at_end": float(last >= len(grey) - 2),
                "at_start": float(first <= 2),
                "speed_before": moving_before,
                "speed_after": moving_after,
                "noise": float(np.nanmedian(observation.frame("noise"))),
            },
            "freeze",
        )


def _mean_speed(tracks: list[Track], first: int, last: int) -> float:
    paces = [t.speed[(t.frames >= first) & (t.frames <= last)] for t in tracks]
    flat = np.concatenate(paces) if paces else np.array([])
    return float(np.nanmax(flat)) if flat.size and np.isfinite(flat).any() else float("nan")


def cuts(observation: MotionObservation, tracks: list[Track], fps: float) -> Iterator[Event]:
    """The steps at which the picture changes most against their neighbours."""
    change, thumb = observation.frame("change"), observation.frame("thumbnail_change")
    thumb_2, rest = observation.frame("thumbnail_change_2"), observation.frame("unexplained")
    grey, flow = observation.frame("grey_change"), observation.frame("flow")
    support, noise = observation.frame("support"), observation.frame("noise")
    shift = np.hypot(observation.frame("shift_x"), observation.frame("shift_y"))
    zoom, turn = np.abs(observation.frame("zoom")), np.abs(observation.frame("turn"))
    frames = len(change)
    if frames < 4:
        return
    strength = np.full(frames, -np.inf)
    for t in range(1, frames):
        strength[t] = max(
            ratio(thumb[t], around(thumb, t), 0.3),
            ratio(_known(rest[t], change[t]), around(rest, t), 1.0),
            ratio(shift[t], around(shift, t), 0.5),
        )
    places = [(t.frames, t) for t in tracks if len(t) >= 4]
    chosen: list[int] = []
    for t in sorted(range(1, frames), key=lambda i: (-strength[i], i)):
        if len(chosen) < CUTS and all(abs(t - other) > 2 for other in chosen):
            chosen.append(t)
    for t in chosen:
        alive = [track for numbers, track in places if numbers[0] < t <= numbers[-1]]
        jumps = [_jump(track, t) for track in alive]
        ended = sum(1 for numbers, _ in places if t - 2 <= numbers[-1] < t)
        begun = sum(1 for numbers, _ in places if t <= numbers[0] <= t + 1)
        yield Event(
            "cut",
            t - 1,
            t,
            (),
            {
                "thumbnail": thumb[t],
                "thumbnail_ratio": ratio(thumb[t], around(thumb, t), 0.3),
                "change": change[t],
                "change_ratio": ratio(change[t], around(change, t), 0.5),
                "unexplained": rest[t],
                "unexplained_ratio": ratio(_known(rest[t], change[t]), around(rest, t), 0.5),
                "grey_ratio": ratio(grey[t], around(grey, t), 0.5),
                "undone": ratio(thumb_2[t + 1], thumb[t], 0.3) if t + 1 < frames else float("nan"),
                "support": support[t],
                "support_drop": support[t] - around(support, t),
                "flow": flow[t],
                "flow_ratio": ratio(flow[t], around(flow, t), 0.3),
                "shift": shift[t] / observation.width,
                "shift_ratio": ratio(shift[t], around(shift, t), 0.5),
                "zoom": zoom[t],
                "zoom_ratio": ratio(zoom[t], around(zoom, t), 0.003),
                "turn": turn[t],
                "noise_step": ratio(noise[t], noise[t - 1], 0.5),
                "alive": float(len(alive)),
                "jumped": float(np.mean([j > 3 for j in jumps])) if jumps else float("nan"),
                "jump": float(np.median(jumps)) if jumps else float("nan"),
                "ended": ended / max(1, len(alive) + ended),
                "begun": begun / max(1, len(alive) + begun),
                "held_before": float(grey[t - 1] < REPEATED) if t > 1 else 0.0,
                "from_edge": min(t, frames - t) / fps,
            },
            "jump_cut",
        )


def _known(value: float, otherwise: float) -> float:
    return value if np.isfinite(value) else otherwise


def _jump(track: Track, frame: int) -> float:
    """By how many noise deviations a track leaves its path at a frame."""
    near = [joint for joint in track.joints if abs(joint.frame - frame) <= 1]
    return max((float(np.hypot(*joint.jump)) / (3 * track.noise) for joint in near), default=0.0)


def flicker(observation: MotionObservation, fps: float) -> Iterator[Event]:
    """How restless the light of the whole picture is, once a clip."""
    level = np.log(observation.frame("level") + 1)
    gains = np.log(np.clip(np.stack([observation.frame(f"{c}_gain") for c in ("red", "green", "blue")], 1), 0.05, 20))
    if len(level) < 6:
        return
    second_level = np.abs(np.diff(level, 2))
    second_gain = np.abs(np.diff(gains, 2, axis=0)).max(1)
    tint = np.abs(np.diff(gains - gains.mean(1, keepdims=True), 2, axis=0)).max(1)
    worst = int(np.argmax(second_gain)) + 1
    loud = np.flatnonzero(second_gain > max(0.01, 0.3 * second_gain.max())) + 1
    signs = np.sign(np.diff(gains.mean(1)))
    big = np.abs(np.diff(gains.mean(1))) > 0.01
    turns = (signs[1:] != signs[:-1]) & big[1:] & big[:-1]
    yield Event(
        "flicker",
        int(loud.min()) - 1 if loud.size else worst - 1,
        int(loud.max()) + 1 if loud.size else worst + 1,
        (),
        {
            "gain_largest": float(second_gain.max()),
            "gain_mean": float(second_gain.mean()),
            "gain_median": float(np.median(second_gain)),
            "gain_spread": float(np.std(gains.mean(1))),
            "level_largest": float(second_level.max()),
            "level_mean": float(second_level.mean()),
            "tint_largest": float(tint.max()),
            "tint_mean": float(tint.mean()),
            "turns": float(turns.mean()),
            "share_loud": float(loud.size / len(level)),
            "loud_span": (float(loud.max() - loud.min()) if loud.size else 0.0) / fps,
            "noise": float(np.nanmedian(observation.frame("noise"))),
            "share": float(np.nanmedian(observation.frame("share"))),
            "moved": observation.moved,
        },
        "flicker",
    )

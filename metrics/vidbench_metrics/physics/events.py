"""From a clip's `motion` observation to its events and its context numbers; what the learned layer reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidbench.clips import Clip, find_clip
from vidbench.video import ClipFacts, ClipReader, Limits
from vidbench_metrics.extractors.motion import Motion, MotionObservation
from vidbench_metrics.physics.event import Event
from vidbench_metrics.physics.frame_events import whole_frame_events
from vidbench_metrics.physics.track_events import Scene, object_events
from vidbench_metrics.physics.tracks import Floats, tracks_of

EARTH = 9.81
"""Metres a second squared."""
ASSUMED_FPS = 24.0
"""Where the frame rate is not known; only durations in seconds depend on it."""

GATE_NUMBERS = {
    "object": (
        "noise", "noise_high", "unexplained", "unexplained_high", "travelled", "zoomed", "shift_high", "share",
        "share_high", "blobs", "blobs_high", "blobs_spread", "sharpness", "tracks", "length", "short_tracks", "largest",
        "inner_ends", "area_unsteady", "outline", "track_noise", "merged", "ghosts",
    ),
    "whole_frame": ("change", "unexplained", "sharpness", "fps", "frames"),
}  # fmt: skip
"""By check group, the context numbers that tell whether a clip is of a kind that it was trained on."""
CLIP_NUMBERS = ("level_spread", "area_unsteady", "inner_ends", "held", "merged", "noise", "blobs_spread", "share")
"""Context numbers that say something about a violation, and not only about the picture."""


@dataclass(frozen=True)
class Seen:
    """All that the checks know of a clip."""

    events: tuple[Event, ...]
    context: Mapping[str, float]
    """Numbers about the whole clip: picture quality, camera, tracks; NaN where not known."""


def events_of(observation: MotionObservation, facts: ClipFacts, *, pixels_per_meter: float | None = None) -> Seen:
    """Events and context of a clip.

    Args:
        observation: the clip's, of extractor `motion`.
        facts: of the same clip.
        pixels_per_meter: scale in the clip's pixels, where it is known and the motion is parallel to the image.
    """
    fps = facts.fps or ASSUMED_FPS
    gravity = None
    if pixels_per_meter is not None and facts.fps is not None:
        gravity = EARTH * pixels_per_meter / observation.scale / fps**2
    tracks = tracks_of(observation)
    scene = Scene(observation, tracks, fps, gravity)
    events = (*whole_frame_events(observation, tracks, fps), *object_events(scene))
    return Seen(events, context_of(scene))


def context_of(scene: Scene) -> dict[str, float]:
    """Numbers about the whole clip, for the gate that says whether it can be judged at all."""
    seen = scene.observation
    tracks = [t for t in scene.tracks if len(t) >= 3]
    lengths = np.array([len(t) for t in tracks], dtype=np.float64)
    sizes = np.array([t.size for t in tracks], dtype=np.float64)
    noise, blobs, share = seen.frame("noise"), seen.frame("blobs"), seen.frame("share")
    shift = np.hypot(seen.frame("shift_x"), seen.frame("shift_y"))
    # The camera's own motion counts only where it was believed.
    travelled = float(np.nansum(shift)) / seen.width if seen.moved else 0.0
    frames = scene.frames

    def of(values: Floats, share_of: float) -> float:
        finite = values[np.isfinite(values)]
        return float(np.percentile(finite, share_of)) if finite.size else float("nan")

    inner_ends = sum(1 for t in tracks if t.frames[-1] < frames - 1 and t["border"][-1] > 2)
    return {
        "noise": of(noise, 50),
        "noise_high": of(noise, 90),
        "noise_spread": of(noise, 90) - of(noise, 10),
        "unexplained": of(seen.frame("unexplained"), 50),
        "unexplained_high": of(seen.frame("unexplained"), 90),
        "change": of(seen.frame("change"), 50),
        "support": of(seen.frame("support"), 20),
        "flow": of(seen.frame("flow"), 80),
        "moved": seen.moved,
        "travelled": travelled,
        "zoomed": float(np.nansum(np.abs(seen.frame("zoom")))) if seen.moved else 0.0,
        "shift_high": of(shift, 90) if seen.moved else 0.0,
        "share": of(share, 50),
        "share_high": of(share, 95),
        "blobs": float(np.mean(blobs)),
        "blobs_high": of(blobs, 95),
        "blobs_spread": float(np.std(blobs)),
        "sharpness": of(seen.frame("sharpness"), 50),
        "level": of(seen.frame("level"), 50),
        "level_spread": float(np.std(seen.frame("level"))),
        "tracks": float(len(tracks)),
        "length": float(np.median(lengths)) / frames if tracks else float("nan"),
        "longest": float(lengths.max()) / frames if tracks else float("nan"),
        "short_tracks": float(np.mean(lengths < 0.25 * frames)) if tracks else float("nan"),
        "size": float(np.median(sizes)) / seen.width if tracks else float("nan"),
        "largest": float(sizes.max()) / seen.width if tracks else float("nan"),
        "inner_ends": inner_ends / max(1.0, frames / scene.fps),
        "contrast": float(np.median([np.median(t["contrast"]) for t in tracks])) if tracks else float("nan"),
        "outline": float(np.median([np.median(t["outline"]) for t in tracks])) if tracks else float("nan"),
        "area_unsteady": float(np.median([np.median(np.abs(np.diff(np.log(t["area"])))) for t in tracks]))
        if tracks
        else float("nan"),
        "track_noise": float(np.median([t.noise for t in tracks])) if tracks else float("nan"),
        "merged": float(np.mean([t.merged_frames.size / len(t) for t in tracks])) if tracks else float("nan"),
        "ghosts": float(np.mean([np.median(t["ghost"]) > 0.3 for t in tracks])) if tracks else float("nan"),
        "held": float(np.mean(seen.frame("grey_change")[1:] < 0.35)) if frames > 1 else float("nan"),
        "frames": float(frames),
        "fps": scene.fps,
        "working_width": float(seen.width),
    }


def observe_clip(path: Path) -> tuple[tuple[Event, ...], Mapping[str, float]]:
    """Events and context of a clip on disk, for training and scoring; scale unknown.

    Raises:
        ClipError: it cannot be decoded.
    """
    clip = find_clip(path)
    seen = observe(clip)
    return seen.events, seen.context


def observe(clip: Clip) -> Seen:
    """Decode a clip and find its events, with its scale where the clip knows it.

    Raises:
        ClipError: it cannot be decoded.
    """
    session = Motion().open(clip)
    with ClipReader(clip, Limits()) as reader:
        for frames in reader:
            session.push(frames)
        facts = reader.facts
    observation = session.close()
    if not isinstance(observation, MotionObservation):
        raise TypeError("the motion extractor gives a MotionObservation")
    return events_of(observation, facts, pixels_per_meter=clip.pixels_per_meter)

"""What a score must beat: three numbers that know nothing of physics."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip, content_hash
from vidbench.errors import ClipError
from vidbench.files import default_folder, write_atomic
from vidbench.video import ClipReader

BASELINES = ("frame_difference", "flow_jump", "file_size")
_VERSION = "1"


def spike(values: NDArray[np.float64]) -> float:
    """How many times the median the largest of (T,) grey-level differences is; NaN without values.

    One grey level is added to the median, or a clip that hardly moves would have the largest of all spikes.
    """
    known = values[np.isfinite(values)]
    return float(known.max() / (np.median(known) + 1.0)) if known.size else math.nan


def baselines(clip: Clip, keep: Path | None = None) -> dict[str, float]:
    """The baselines of one clip, from one decode; remembered like the events.

    * `frame_difference`: the largest spike of the mean absolute difference of neighbouring frames (luma, 0 to 255);
    * `flow_jump`: the largest change of the mean length of the flow (DIS, pixels) from one step to the next;
    * `file_size`: bytes.

    Raises:
        ClipError: the clip cannot be read.
    """
    folder = keep if keep is not None else default_folder() / "physics-events"
    sha256 = content_hash(clip)
    path = folder / sha256[:2] / f"{sha256}.baselines-{_VERSION}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: math.nan if found[name] is None else float(found[name]) for name in BASELINES}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    values = _measure(clip)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({name: None if math.isnan(v) else v for name, v in values.items()}))
    return values


def _measure(clip: Clip) -> dict[str, float]:
    import cv2

    from vidbench_metrics.extractors.flow_statistics import FlowStatistics, FlowStatisticsObservation

    flow = FlowStatistics().open(clip)
    last: NDArray[np.uint8] | None = None
    differences: list[float] = []

    with ClipReader(clip) as reader:
        for frames in reader:
            flow.push(frames)
            for pixels in frames.pixels:
                grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
                if last is not None:
                    differences.append(float(cv2.norm(grey, last, cv2.NORM_L1)) / grey.size)
                last = grey
    seen = flow.close()
    if not isinstance(seen, FlowStatisticsObservation):
        raise TypeError(f"flow_statistics gives {type(seen).__name__}")
    changes = np.abs(np.diff(seen.magnitude))
    known = changes[np.isfinite(changes)]
    return {
        "frame_difference": spike(np.array(differences, np.float64)),
        "flow_jump": float(known.max()) if known.size else math.nan,
        "file_size": float(_size(clip)),
    }


def _size(clip: Clip) -> int:
    try:
        files = [clip.path] if clip.path.is_file() else [p for p in clip.path.iterdir() if p.is_file()]
        return sum(p.stat().st_size for p in files)
    except OSError as error:
        raise ClipError(f"cannot be read: {error.strerror or error}", clip.path) from error


def all_baselines(clips: Mapping[str, Clip], keep: Path | None = None) -> dict[str, dict[str, float]]:
    """Baselines by the clips' names; NaN throughout for a clip that cannot be read."""
    found: dict[str, dict[str, float]] = {}
    for name, clip in clips.items():
        try:
            found[name] = baselines(clip, keep)
        except ClipError:
            found[name] = dict.fromkeys(BASELINES, math.nan)
    return found

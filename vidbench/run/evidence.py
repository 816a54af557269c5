"""A picture of every finding: the frames before it, in it and after it, side by side, with what it is about marked.

The clip is decoded once more for it, as far as the last frame that is shown. Only frames that are shown are kept, and
those reduced, so that memory does not grow with the clip.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vidbench.clips import Clip
from vidbench.results import FindingRow
from vidbench.run.draw import (
    FAINT,
    GROUND,
    INK,
    LINE_HEIGHT,
    MARKS,
    Box,
    Picture,
    draw_box,
    draw_path,
    draw_words,
    fitted,
    path_of,
    uncover,
    words_width,
)
from vidbench.run.feed import told
from vidbench.video import ClipFacts, ClipReader, Limits

MOST = 12
"""Findings of one clip that get a picture."""
HEIGHT = 180
WIDTH = 288
"""Largest size of one frame in a picture, in pixels."""
SECONDS = 60.0
"""After so long the second decode is given up: pictures must not use up the time that a clip may take."""
QUALITY = 80
_GAP = 6
_BAR = 4


@dataclass(frozen=True, slots=True)
class Evidence:
    """The pictures of one clip's findings, by the finding's place among them."""

    pictures: Mapping[int, bytes] = field(default_factory=dict)
    """JPEG files."""
    frames: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Which frames each picture shows, from left to right."""
    missing: Mapping[int, str] = field(default_factory=dict)
    """Why the others have none."""
    troubles: tuple[str, ...] = ()
    """What went wrong, for the clip's warnings."""


def chosen(findings: Sequence[FindingRow], most: int = MOST) -> list[int]:
    """The places of the findings that get a picture: the most confident first, then the earliest.

    A finding without a confidence comes after all that have one.
    """

    def key(place: int) -> tuple[float, int, int]:
        finding = findings[place]
        return (-finding.confidence if finding.confidence is not None else 1.0, finding.start, place)

    return sorted(sorted(range(len(findings)), key=key)[:most])


def moments(start: int, end: int, frames: int) -> list[tuple[str, int]]:
    """Which frames show a finding, and what each is called.

    Args:
        start: its first frame; brought into the clip if it lies outside.
        end: its last frame, inclusive.
        frames: of the clip, at least 1.

    Returns:
        Up to five names and frame numbers, in order of time. The frames before and after are a quarter of the finding's
        length away: the neighbour of a long freeze looks just like it.
    """
    first, last = sorted(min(max(frame, 0), frames - 1) for frame in (start, end))
    away = max(1, (last - first + 1) // 4)
    named = [("here", first)] if first == last else [("start", first), ("middle", (first + last) // 2), ("end", last)]
    named = [("before", max(0, first - away)), *named, ("after", min(frames - 1, last + away))]
    shown: list[tuple[str, int]] = []
    inside = {frame for name, frame in named if name not in ("before", "after")}
    for name, frame in named:
        if (name in ("before", "after") and frame in inside) or frame in (number for _, number in shown):
            continue
        shown.append((name, frame))
    return shown


def draw_evidence(clip: Clip, findings: Sequence[FindingRow], facts: ClipFacts, limits: Limits) -> Evidence:
    """Draw the findings of one clip.

    Equal input gives equal bytes, unless the decode takes longer than `SECONDS`.

    Raises:
        ClipError: the clip cannot be decoded a second time.
    """
    places = chosen(findings)
    shown = {place: moments(findings[place].start, findings[place].end, facts.frames) for place in places}
    stills = _stills(clip, {frame for named in shown.values() for _, frame in named}, limits)
    pictures: dict[int, bytes] = {}
    missing = {
        place: f"only {MOST} findings of a clip get a picture, the most confident first and then the earliest"
        for place in range(len(findings))
        if place not in shown
    }
    troubles: list[str] = []
    for place, named in shown.items():
        absent = next((frame for _, frame in named if frame not in stills), None)
        if absent is not None:
            missing[place] = f"frame {absent} could not be decoded again within {SECONDS:g} s"
        else:
            try:
                pictures[place] = _jpeg(picture_of(findings[place], named, stills, facts))
            except Exception as error:  # a stranger's boxes may hold anything
                missing[place] = told("drawing", error)
        if place in missing:
            finding = findings[place]
            troubles.append(f"no picture of the {finding.kind} at frame {finding.start}: {missing[place]}")
    return Evidence(
        pictures=pictures,
        frames={place: tuple(frame for _, frame in shown[place]) for place in pictures},
        missing=missing,
        troubles=tuple(troubles),
    )


def _stills(clip: Clip, wanted: set[int], limits: Limits) -> dict[int, Picture]:
    """The wanted frames, reduced; fewer where the clip or the time ended before."""
    stills: dict[int, Picture] = {}
    last = max(wanted, default=-1)
    began = time.monotonic()
    with ClipReader(clip, limits) as reader:
        for frames in reader:
            for offset, pixels in enumerate(frames.pixels):
                if frames.start + offset in wanted:
                    stills[frames.start + offset] = fitted(pixels, height=HEIGHT, width=WIDTH)
            if frames.start + len(frames) > last or time.monotonic() - began > SECONDS:
                break
    return stills


def picture_of(
    finding: FindingRow, named: Sequence[tuple[str, int]], stills: Mapping[int, Picture], facts: ClipFacts
) -> Picture:
    """The strip of one finding.

    Args:
        finding: what is shown; its boxes are in pixels of the clip.
        named: names and numbers of the frames, from left to right.
        stills: those frames as `fitted` makes them, all of one size.
        facts: of the clip.

    Returns:
        (H, W, 3) uint8 RGB. Below each frame stands a bar, bright where the finding is, and its name, number and time.
    """
    height, width = stills[named[0][1]].shape[:2]
    across, down = width / facts.width, height / facts.height
    boxes = [(int(entry["frame"]), _scaled(entry["box"], across, down)) for entry in finding.boxes]
    path = path_of(boxes)
    captions = [_caption(frame, facts) for _, frame in named]
    column = max(width, max(words_width(caption) for caption in captions) + 8)
    strip = np.full(
        (height + _BAR + 2 * LINE_HEIGHT + 6, len(named) * (column + _GAP) + _GAP, 3), GROUND, dtype=np.uint8
    )
    for place, ((name, frame), caption) in enumerate(zip(named, captions, strict=True)):
        still = stills[frame].copy()
        inside = name not in ("before", "after")
        if inside:
            draw_path(still, path, INK)
        for box in (box for at, box in boxes if at == frame):
            uncover(still, stills[frame], box)  # the path must not hide what the box is about
            draw_box(still, box, MARKS[0])
        left = _GAP + place * (column + _GAP)
        middle = left + (column - width) // 2
        strip[:height, middle : middle + width] = still
        strip[height : height + _BAR - 1, left : left + column] = MARKS[0] if inside else FAINT
        for line, text in enumerate((name, caption)):
            draw_words(strip, text, left + 2, height + _BAR + 2 + line * LINE_HEIGHT, MARKS[0] if inside else INK)
    return strip


def _scaled(box: Sequence[float], across: float, down: float) -> Box:
    x0, y0, x1, y1 = (float(edge) for edge in box)
    return x0 * across, y0 * down, x1 * across, y1 * down


def _caption(frame: int, facts: ClipFacts) -> str:
    return f"frame {frame}" if facts.fps is None else f"frame {frame}  {facts.times[frame]:.2f} s"


def _jpeg(picture: Picture) -> bytes:
    import cv2

    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ValueError("the picture could not be encoded")
    return data.tobytes()

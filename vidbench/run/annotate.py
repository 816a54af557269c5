"""The clip again, with what was found drawn into it, and a time line below.

The clip is decoded once more and encoded as it comes, so that memory does not grow with its length.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from vidbench.clips import Clip
from vidbench.extractor import Track
from vidbench.results import FindingRow
from vidbench.run.draw import (
    GROUND,
    INK,
    LINE_HEIGHT,
    MARKS,
    SOFT,
    Box,
    Colour,
    Picture,
    ascii_words,
    draw_box,
    draw_label,
    draw_path,
    draw_thin_box,
    draw_words,
    fitted,
    words_width,
)
from vidbench.video import ClipFacts, ClipReader, Limits, encode_h264

LARGEST = (720, 1280)
"""Height and width to which larger frames are reduced."""
ENLARGED = (540, 960)
"""Height and width up to which smaller frames are enlarged, so that words on them can be read."""
NARROWEST = 480
"""Pixels that the time line needs."""
TRAIL = 48
"""Frames over which an object's path is drawn."""
PACE = 8.0
"""Frames a second of clips without a known rate."""
MOST_LANES = 6
THICK = 4
"""Pixels of a finding's line: H.264 keeps colour at half the size, and thinner lines lose theirs."""
_LABELS = 140
_LANE = 20


def write_annotated(
    path: Path,
    clip: Clip,
    facts: ClipFacts,
    findings: Sequence[FindingRow],
    tracks: Sequence[Track],
    limits: Limits,
) -> None:
    """Write the annotated clip as MP4 (H.264) that browsers play.

    Frames follow each other evenly at the clip's mean rate. Each shows the boxes of the findings that are active there,
    labelled with their kind; a finding without boxes is a border around the whole frame. Tracks are thin boxes with the
    object's number, and a trail.

    Raises:
        ClipError: the clip cannot be decoded again.
        OSError: the file cannot be written.
    """
    rate = facts.fps if facts.fps is not None else PACE
    with closing(annotated(clip, facts, findings, tracks, limits)) as frames:
        encode_h264(path, frames, min(max(rate, 0.5), 240.0))


def annotated(
    clip: Clip, facts: ClipFacts, findings: Sequence[FindingRow], tracks: Sequence[Track], limits: Limits
) -> Generator[Picture, None, None]:
    """The frames of the annotated clip, (H, W, 3) uint8 RGB, one by one."""
    line = _TimeLine(findings, facts)
    waiting = sorted(findings, key=lambda finding: min(finding.start, finding.end), reverse=True)
    active: list[FindingRow] = []
    with ClipReader(clip, limits) as reader:
        for frames in reader:
            for number, pixels in enumerate(frames.pixels, start=frames.start):
                while waiting and min(waiting[-1].start, waiting[-1].end) <= number:
                    active.append(waiting.pop())
                active = [finding for finding in active if max(finding.start, finding.end) >= number]
                picture = _shown(pixels)
                _draw_tracks(picture, tracks, number, facts)
                _draw_findings(picture, active, number, line.colours, facts)
                yield line.below(picture, min(number, facts.frames - 1))


def _shown(pixels: Picture) -> Picture:
    height, width = pixels.shape[:2]
    largest = LARGEST if height > ENLARGED[0] or width > ENLARGED[1] else ENLARGED
    return fitted(pixels, height=largest[0], width=largest[1])


def _scaled(box: Sequence[float], picture: Picture, facts: ClipFacts) -> Box:
    across, down = picture.shape[1] / facts.width, picture.shape[0] / facts.height
    x0, y0, x1, y1 = (float(edge) for edge in box)
    return x0 * across, y0 * down, x1 * across, y1 * down


def _draw_tracks(picture: Picture, tracks: Sequence[Track], number: int, facts: ClipFacts) -> None:
    for track in tracks:
        place = int(np.searchsorted(track.frames, number))
        if place == len(track.frames) or track.frames[place] != number:
            continue
        since = int(np.searchsorted(track.frames, number - TRAIL))
        boxes = [_scaled(box, picture, facts) for box in track.boxes[since : place + 1]]
        colour = MARKS[(int(track.object) + 3) % len(MARKS)]  # findings take the first colours
        draw_path(picture, [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes], colour)
        draw_thin_box(picture, boxes[-1], colour)
        draw_label(picture, f"#{track.object}", boxes[-1][0], boxes[-1][3] + 2, colour)


def _draw_findings(
    picture: Picture, active: Sequence[FindingRow], number: int, colours: dict[str, Colour], facts: ClipFacts
) -> None:
    height, width = picture.shape[:2]
    listed = 0
    for finding in active:
        colour = colours[finding.kind]
        label = ascii_words(finding.kind)
        here = [entry["box"] for entry in finding.boxes if entry["frame"] == number]
        for box in here:
            scaled = _scaled(box, picture, facts)
            draw_box(picture, scaled, colour, THICK)
            draw_label(picture, label, scaled[0] - THICK + 1, scaled[1] - LINE_HEIGHT - THICK + 1, colour)
        if not finding.boxes:
            draw_box(picture, (THICK, THICK, width - THICK, height - THICK), colour, THICK)
        if not here:
            draw_label(picture, label, 6, 6 + listed * (LINE_HEIGHT + 2), colour)
            listed += 1


class _TimeLine:
    """What stands below every frame: a lane per kind of finding, ticks, and a cursor."""

    def __init__(self, findings: Sequence[FindingRow], facts: ClipFacts) -> None:
        self._facts = facts
        kinds = list(dict.fromkeys(f.kind for f in sorted(findings, key=lambda f: f.start)))
        self.colours = {kind: MARKS[place % len(MARKS)] for place, kind in enumerate(kinds)}
        own = kinds if len(kinds) <= MOST_LANES else kinds[: MOST_LANES - 1]
        self._labels = [ascii_words(kind, 15) for kind in own]
        if len(kinds) > len(own):
            self._labels.append(f"{len(kinds) - len(own)} other kinds")
        lanes = {kind: min(place, len(own)) for place, kind in enumerate(kinds)}
        self._spans = [(lanes[f.kind], f.start, f.end, self.colours[f.kind]) for f in findings]
        self._still: Picture | None = None

    def below(self, picture: Picture, frame: int) -> Picture:
        """The picture with the time line below it and the cursor at `frame`."""
        height, width = picture.shape[:2]
        if self._still is None:
            self._still = self._draw(max(width, NARROWEST))
        still = self._still
        canvas = np.empty((height + len(still), still.shape[1], 3), np.uint8)
        canvas[:height] = GROUND
        left = (canvas.shape[1] - width) // 2
        canvas[:height, left : left + width] = picture
        canvas[height:] = still
        x = round(self._x(frame + 0.5, canvas.shape[1]))
        bottom = height + 4 + max(1, len(self._labels)) * _LANE
        canvas[height + 2 : bottom, max(0, x - 2) : x + 3] = 0
        canvas[height + 2 : bottom, max(0, x - 1) : x + 2] = INK
        told = f"{frame}" if self._facts.fps is None else f"{frame}  {self._facts.times[frame]:.2f} s"
        worded = f"frame {told}"
        draw_words(canvas, worded if words_width(worded) <= _LABELS - 10 else told, 8, bottom + 3)
        return canvas

    def _x(self, frame: float, width: int) -> float:
        return _LABELS + (width - _LABELS - 10) * frame / self._facts.frames

    def _draw(self, width: int) -> Picture:
        lanes = max(1, len(self._labels))
        still = np.full((4 + lanes * _LANE + LINE_HEIGHT + 8, width, 3), GROUND, np.uint8)
        for lane in range(lanes):
            top = 4 + lane * _LANE
            still[top + 2 : top + _LANE - 2, _LABELS : width - 10] = (48, 54, 62)
            draw_words(still, self._labels[lane] if self._labels else "no findings", 8, top + 2)
        for lane, start, end, colour in self._spans:
            first, last = sorted(min(max(frame, 0), self._facts.frames - 1) for frame in (start, end))
            left = round(self._x(first, width))
            right = max(left + 2, round(self._x(last + 1, width)))
            still[4 + lane * _LANE + 2 : 4 + (lane + 1) * _LANE - 2, left:right] = colour
        step = next(n for n in (f * 10**p for p in range(12) for f in (1, 2, 5)) if self._facts.frames / n <= 8)
        for frame in range(0, self._facts.frames, step):
            x = round(self._x(frame + 0.5, width))
            if x + words_width(str(frame)) // 2 < width:
                draw_words(still, str(frame), x - words_width(str(frame)) // 2, 4 + lanes * _LANE + 3, SOFT)
        return still

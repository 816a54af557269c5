"""Boxes, paths and words on pictures, told apart without telling colours and seen on any ground.

Everything draws into the (H, W, 3) uint8 RGB array that it is given, in that array's pixels. Marks are bright with a
dark rim: on a dark ground one sees the mark, on a bright ground its rim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels, x1 and y1 exclusive."""

MARKS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
)
"""Okabe and Ito's palette (jfly.uni-koeln.de/color) without black, and without blue, which a dark rim would drown."""
RIM: Colour = (0, 0, 0)
GROUND: Colour = (22, 25, 29)
"""Behind pictures and captions; dark as film, whichever theme the page around it has."""
INK: Colour = (233, 236, 239)
FAINT: Colour = (96, 104, 114)
SOFT: Colour = (163, 172, 182)
LINE_HEIGHT = 16
"""Pixels that a line of words takes, at the size in which words are drawn."""
_SIZE = 0.45


def fitted(frame: Picture, *, height: int, width: int) -> Picture:
    """A frame made as large as fits into `height` times `width` pixels.

    A larger one is reduced by area; a smaller one is enlarged by a whole factor, each pixel to a square of its colour,
    so that nothing is invented.
    """
    import cv2

    own_height, own_width = frame.shape[:2]
    if own_height > height or own_width > width:
        scale = min(height / own_height, width / own_width)
        size = max(1, round(own_width * scale)), max(1, round(own_height * scale))
        return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    factor = max(1, min(height // own_height, width // own_width))
    return np.ascontiguousarray(frame.repeat(factor, axis=0).repeat(factor, axis=1))


def draw_box(picture: Picture, box: Box, colour: Colour, thickness: int = 2) -> None:
    """A rectangle around `box`, its innermost line on the box's outermost pixels, with a rim on either side.

    What lies outside the picture is drawn at its edge, so that a box is seen wherever it is.
    """
    left, top = round(box[0]), round(box[1])
    right, bottom = max(left, round(box[2]) - 1), max(top, round(box[3]) - 1)
    room = min(right - left, bottom - top) > 3  # a tiny box has none for a rim inside
    for outward, ink in ((thickness, RIM), (-1, RIM), *((line, colour) for line in range(thickness))):
        if outward >= 0 or room:
            _ring(picture, left - outward, top - outward, right + outward, bottom + outward, ink)


def draw_thin_box(picture: Picture, box: Box, colour: Colour) -> None:
    """A rectangle one pixel thick with a rim around it."""
    left, top = round(box[0]), round(box[1])
    right, bottom = max(left, round(box[2]) - 1), max(top, round(box[3]) - 1)
    for outward, ink in ((1, RIM), (0, colour)):
        _ring(picture, left - outward, top - outward, right + outward, bottom + outward, ink)


def _ring(picture: Picture, left: int, top: int, right: int, bottom: int, colour: Colour) -> None:
    height, width = picture.shape[:2]
    left, right = (min(max(x, 0), width - 1) for x in (left, right))
    top, bottom = (min(max(y, 0), height - 1) for y in (top, bottom))
    picture[top, left : right + 1] = picture[bottom, left : right + 1] = colour
    picture[top : bottom + 1, left] = picture[top : bottom + 1, right] = colour


def draw_path(picture: Picture, points: Sequence[tuple[float, float]], colour: Colour) -> None:
    """A thin line through `points` (x, y), with a rim."""
    import cv2

    if len(points) < 2:
        return
    height, width = picture.shape[:2]
    # OpenCV counts in 32-bit integers; a point far outside would come back on the other side.
    bounded = np.clip(np.asarray(points, np.float64), (-2 * width, -2 * height), (3 * width, 3 * height))
    line = [np.round(bounded * 16).astype(np.int32).reshape(-1, 1, 2)]
    for thickness, ink in ((3, RIM), (1, colour)):
        cv2.polylines(picture, line, False, ink, thickness, cv2.LINE_AA, 4)


def uncover(picture: Picture, original: Picture, box: Box) -> None:
    """Give the inside of `box` back its pixels of before anything was drawn."""
    left, top, right, bottom = (max(0, round(min(edge, 1e6))) for edge in box)
    picture[top:bottom, left:right] = original[top:bottom, left:right]


def path_of(boxes: Sequence[tuple[int, Box]]) -> list[tuple[float, float]]:
    """The centres of `boxes` (frame, box) in order of time; none where a frame has several, for whose is whose then?"""
    frames = [frame for frame, _ in boxes]
    if len(set(frames)) != len(frames):
        return []
    return [((x0 + x1) / 2, (y0 + y1) / 2) for _, (x0, y0, x1, y1) in sorted(boxes)]


def ascii_words(text: str, most: int = 32) -> str:
    """`text` in the characters that OpenCV can draw, shortened to `most` of them."""
    drawn = "".join(c if " " <= c <= "~" else "?" for c in text)
    return drawn if len(drawn) <= most else drawn[: most - 2] + ".."


def words_width(text: str) -> int:
    """Pixels that `text` takes."""
    import cv2

    return math.ceil(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, _SIZE, 1)[0][0])


def draw_words(picture: Picture, text: str, left: int, top: int, colour: Colour = INK) -> None:
    """One line of ASCII, `LINE_HEIGHT` pixels high, its upper left corner at (left, top)."""
    import cv2

    cv2.putText(picture, text, (left, top + 12), cv2.FONT_HERSHEY_SIMPLEX, _SIZE, colour, 1, cv2.LINE_AA)


def draw_label(picture: Picture, text: str, left: float, top: float, colour: Colour) -> None:
    """Words on a ground of `colour`, moved so that they lie within the picture."""
    height, width = picture.shape[:2]
    room = words_width(text) + 8
    x = min(max(0, round(left)), max(0, width - room))
    y = min(max(0, round(top)), max(0, height - LINE_HEIGHT))
    picture[y : y + LINE_HEIGHT, x : x + room] = colour
    draw_words(picture, text, x + 4, y, RIM)

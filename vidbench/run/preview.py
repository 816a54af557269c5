"""What a person sees of a clip in a report: a filmstrip and a small video that browsers play.

Made from the same decode as everything else, and kept like an observation, so that a report never opens a clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import Extractor, NoParameters, Observation, Session
from vidbench.video import Frames

STRIP_FRAMES = 8
STRIP_HEIGHT = 96
VIDEO_SHORT_SIDE = 240
VIDEO_FRAMES = 480
PACE = 8.0
"""Frames per second at which a clip without a known rate is shown: the eye can follow it."""


@dataclass(frozen=True)
class Preview(Observation):
    """Pictures of one clip."""

    strip: NDArray[np.uint8]
    """JPEG file as bytes: up to `STRIP_FRAMES` frames side by side, `STRIP_HEIGHT` pixels high."""
    strip_frames: NDArray[np.int64]
    """Numbers of the frames on the strip."""
    video: NDArray[np.uint8]
    """MP4 (H.264) file as bytes: at most the first `VIDEO_FRAMES` frames, short side at most `VIDEO_SHORT_SIDE`."""
    video_frames: int
    """How many frames the video shows; the clip may have more."""


class PreviewExtractor(Extractor[NoParameters]):
    """The engine's own extractor for pictures; not a plug-in, since no metric may read it."""

    name = "preview"
    version = "1"
    summary = "filmstrip and small video for reports"
    observation_type = Preview

    def open(self, clip: Clip) -> Session:
        """Begin a clip."""
        # Arrays and frame folders without a rate have frame numbers for times.
        return _PreviewSession(timed=clip.kind == "video" or clip.fps is not None)


class _PreviewSession(Session):
    def __init__(self, *, timed: bool) -> None:
        self._timed = timed
        self._small: list[NDArray[np.uint8]] = []
        self._stride = 1
        self._strip: list[tuple[int, NDArray[np.uint8]]] = []
        self._times: list[float] = []

    def push(self, frames: Frames) -> None:
        import cv2

        height, width = frames.pixels.shape[1:3]
        scale = min(1.0, VIDEO_SHORT_SIDE / min(height, width))
        size = (max(2, round(width * scale)), max(2, round(height * scale)))
        strip_size = (max(1, min(4 * STRIP_HEIGHT, round(width * STRIP_HEIGHT / height))), STRIP_HEIGHT)
        for offset, pixels in enumerate(frames.pixels):
            number = frames.start + offset
            if number < VIDEO_FRAMES:
                self._small.append(np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))
                self._times.append(float(frames.times[offset]))
            if number % self._stride == 0:
                picture = cv2.resize(pixels, strip_size, interpolation=cv2.INTER_AREA)
                self._strip.append((number, np.asarray(picture, dtype=np.uint8)))
                # The length is not known ahead: keep every stride-th frame, and double the stride at too many.
                if len(self._strip) >= 4 * STRIP_FRAMES:
                    self._stride *= 2
                    self._strip = self._strip[::2]

    def close(self) -> Preview:
        import cv2

        from vidbench.video import encode_h264_bytes

        chosen = np.unique(
            np.linspace(0, len(self._strip) - 1, min(STRIP_FRAMES, len(self._strip))).round().astype(int)
        )
        strip = np.concatenate([self._strip[i][1] for i in chosen], axis=1)
        done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
        if not done:
            raise ValueError("the filmstrip could not be encoded")
        span = self._times[-1] - self._times[0]
        rate = (len(self._times) - 1) / span if span > 0 and self._timed else PACE
        video = encode_h264_bytes(self._small, min(max(rate, 1.0), 120.0), crf=27)
        return Preview(
            strip=np.asarray(jpeg, dtype=np.uint8).ravel(),
            strip_frames=np.array([self._strip[i][0] for i in chosen], dtype=np.int64),
            video=np.frombuffer(video, dtype=np.uint8),
            video_frames=len(self._small),
        )

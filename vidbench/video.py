"""Decode and encode: streaming, bounded in memory, never trusting the file."""

from __future__ import annotations

import io
import itertools
import math
import tempfile
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import ClipError, InputError

if TYPE_CHECKING:
    from vidbench.decode.source import Source

CHUNK_BYTES = 24 * 2**20
CHUNK_FRAMES = 32
_NO_RATE = "gives no frame rate; add an fps column to metadata.csv"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a clip may cost. A clip over a limit fails with the option that raises it."""

    max_pixels: int = 7680 * 4320
    """Pixels of one frame (`--max-pixels`)."""
    max_frames: int = 100_000
    """Frames of one clip (`--max-frames`)."""


@dataclass(frozen=True, slots=True)
class Frames:
    """A run of consecutive frames."""

    pixels: NDArray[np.uint8]
    """(T, H, W, 3) RGB, rotation applied, C-contiguous. Read-only by convention: extractors share the array."""
    times: NDArray[np.float64]
    """(T,) presentation times in seconds, the clip's first frame at 0; frame numbers where the rate is unknown."""
    start: int
    """Number of the first of these frames within the clip."""

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """What decoding a clip to its end told."""

    frames: int
    fps: float | None
    """Mean frames per second, or None where neither file nor metadata tells (arrays, frame folders)."""
    width: int
    height: int
    times: NDArray[np.float64]
    """(frames,) presentation times in seconds, from 0; frame numbers where fps is None."""
    warnings: tuple[str, ...] = ()
    """Things a person should know, e.g. that the container promised more frames than it has."""

    @property
    def duration(self) -> float | None:
        """Seconds from the first frame to the end of the last; None where fps is None.

        The last frame counts for one mean frame time.
        """
        return None if self.fps is None else float(self.times[-1]) + 1 / self.fps


class ClipReader:
    """Streams a clip's frames; a context manager.

        with ClipReader(clip) as reader:
            for frames in reader:
                ...
            facts = reader.facts

    Chunks hold `chunk_frames(height, width)` frames, the last one fewer, so a clip gives the same chunks everywhere.
    Every iteration decodes anew. Whatever is wrong with the clip comes out of the iteration as a `ClipError`.

    Args:
        clip: what to read; `clip.fps` overrides the file's clock.
        limits: what it may cost.
    """

    def __init__(self, clip: Clip, limits: Limits = Limits()) -> None:
        self._clip = clip
        self._limits = limits
        self._running: Generator[Frames, None, None] | None = None
        self._facts: ClipFacts | None = None

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.close()

    def __iter__(self) -> Iterator[Frames]:
        if self._running is not None:
            self._running.close()
        self._facts = None
        self._running = self._chunks()
        return self._running

    @property
    def facts(self) -> ClipFacts:
        """What the clip turned out to be.

        Raises:
            RuntimeError: the clip has not been iterated to its end.
        """
        if self._facts is None:
            raise RuntimeError("a clip's facts are known once it has been read to its end")
        return self._facts

    def _chunks(self) -> Generator[Frames, None, None]:
        source = _source(self._clip, self._limits)
        clock = _Clock(self._clip.fps, source)
        pixels: NDArray[np.uint8] | None = None
        shape: tuple[int, ...] = ()
        filled = 0
        for picture, time in source.pictures():
            number = len(clock.times)
            source.check_count(number + 1)
            if not shape:
                shape = picture.shape
            elif picture.shape != shape:
                raise ClipError(
                    f"the frame size changes from {shape[1]}x{shape[0]} to {picture.shape[1]}x{picture.shape[0]} "
                    f"at frame {number}; every frame of a clip must have one size"
                )
            if pixels is None:
                # New memory for every chunk: an extractor may keep frames of the one before.
                pixels = np.empty((chunk_frames(*shape[:2]), *shape), np.uint8)
            pixels[filled] = picture
            filled += 1
            clock.tick(time)
            if filled == len(pixels):
                yield Frames(pixels, clock.latest(filled), number + 1 - filled)
                pixels, filled = None, 0
        if pixels is not None:
            yield Frames(pixels[:filled], clock.latest(filled), len(clock.times) - filled)
        times = np.array(clock.times, np.float64)
        self._facts = ClipFacts(
            frames=len(times),
            fps=clock.fps(times),
            width=shape[1],
            height=shape[0],
            times=times,
            warnings=(*source.warnings, *clock.warnings()),
        )


def chunk_frames(height: int, width: int) -> int:
    """Frames of one chunk: a function of the frame size alone, so that results repeat bit for bit."""
    return max(1, min(CHUNK_FRAMES, CHUNK_BYTES // (height * width * 3)))


def _source(clip: Clip, limits: Limits) -> Source:
    # Imported here: they load PyAV or OpenCV, and this module is imported by the command line.
    if clip.kind == "array":
        from vidbench.decode.arrays import ArraySource

        return ArraySource(clip.path, limits)
    if clip.kind == "frames":
        from vidbench.decode.images import FolderSource

        return FolderSource(clip.path, limits)
    from vidbench.decode.probe import is_webp

    if is_webp(clip.path):
        from vidbench.decode.webp import WebpSource

        return WebpSource(clip.path, limits)
    from vidbench.decode.container import ContainerSource

    return ContainerSource(clip.path, limits)


class _Clock:
    """Turns what a file says about time into times that start at 0 and rise strictly."""

    def __init__(self, fps: float | None, source: Source) -> None:
        if fps is not None and not (math.isfinite(fps) and fps > 0):
            raise ClipError(f"fps {fps} in the metadata is not a positive number")
        self.times: list[float] = []
        self._fps = fps
        self._source = source
        self._repaired = 0
        self._stamped = 0
        self._offset: float | None = None

    def tick(self, time: float | None) -> None:
        """Take the next frame, shown at `time` by its file."""
        number = len(self.times)
        if self._fps is not None:
            self.times.append(number / self._fps)
        elif not self._source.timed:
            self.times.append(float(number))
        else:
            self.times.append(self._mend(time))

    def _mend(self, time: float | None) -> float:
        if time is not None:
            self._stamped += 1
            if self._offset is None:
                self._offset = time - (self.times[-1] + self._step() if self.times else 0.0)
            time -= self._offset
        if time is not None and (not self.times or time > self.times[-1]):
            return time
        self._repaired += 1
        return self.times[-1] + self._step() if self.times else 0.0

    def _step(self) -> float:
        if self._source.rate is not None:
            return 1 / self._source.rate
        if len(self.times) > 1:
            return self.times[-1] - self.times[-2]
        raise ClipError(_NO_RATE)

    def latest(self, count: int) -> NDArray[np.float64]:
        """The last `count` times."""
        return np.array(self.times[-count:], np.float64)

    def fps(self, times: NDArray[np.float64]) -> float | None:
        """Mean rate; the file's own where it explains every time up to the file's rounding."""
        if self._fps is not None or not self._source.timed:
            return self._fps
        if self._stamped > 1 and self._repaired == len(times) - 1:
            # Every frame stands at one moment; what the file gives as its rate is then FFmpeg's guess.
            raise ClipError(_NO_RATE)
        rate = self._source.rate
        if rate is not None and np.abs(times - np.arange(len(times)) / rate).max() <= self._source.tick:
            return rate
        return (len(times) - 1) / float(times[-1]) if len(times) > 1 else None

    def warnings(self) -> list[str]:
        """What had to be mended."""
        if not self._repaired:
            return []
        return [f"{self._repaired} of {len(self.times)} frames have no usable time stamp; set from the frame rate"]


def encode_h264(
    path: Path, frames: Iterable[NDArray[np.uint8]], fps: float, *, crf: int = 20, preset: str = "veryfast"
) -> None:
    """Write an MP4 (H.264, 4:2:0, BT.709) that browsers play from its first bytes; whole or not at all.

    Equal input gives equal bytes. Odd sizes grow by one row or column that repeats the edge, since 4:2:0 has none.

    Args:
        path: file to write or replace.
        frames: (H, W, 3) uint8 RGB, all of one size; a clip (T, H, W, 3) is such an iterable.
        fps: frames per second.
        crf: x264's quality, 0 (lossless) to 51.
        preset: x264's speed, `ultrafast` to `veryslow`.

    Raises:
        InputError: no frames, frames that are no uint8 RGB or differ in size, or an impossible fps.
        OSError: the folder is not writable or the disk is full; `path` is then as it was.
    """
    with tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=".vidbench-") as beside:
        aside = Path(beside, "clip.mp4")
        _encode(str(aside), frames, fps, crf, preset)
        aside.replace(path)


def encode_h264_bytes(
    frames: Iterable[NDArray[np.uint8]], fps: float, *, crf: int = 20, preset: str = "veryfast"
) -> bytes:
    """`encode_h264` into memory; the index stands at the end, which does not matter to a player that has all bytes."""
    buffer = io.BytesIO()
    _encode(buffer, frames, fps, crf, preset)
    return buffer.getvalue()


def _encode(target: str | BinaryIO, frames: Iterable[NDArray[np.uint8]], fps: float, crf: int, preset: str) -> None:
    import av

    if not (math.isfinite(fps) and 0 < fps <= 1000):
        raise InputError(f"a video cannot have {fps} frames per second")
    supply = iter(frames)
    first = next(supply, None)
    if first is None:
        raise InputError("a video needs at least one frame")
    height, width = first.shape[:2]
    rate = Fraction(fps).limit_denominator(10_000)
    movflags = {"movflags": "+faststart"} if isinstance(target, str) else {}
    # bitexact: no library versions and no date, so that equal input gives equal bytes.
    with av.open(target, "w", format="mp4", options={"fflags": "+bitexact", **movflags}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        stream.thread_count = 1
        stream.options = {
            "crf": str(crf),
            "preset": preset,
            # x264's macroblock tree reads past its rows where the width is no multiple of 128 pixels, so that equal
            # input gives other bytes now and then (measured: 1 of 20 at 240x240); without it files grow by 10 to 20 %.
            "x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709:range=tv:mbtree=0",
        }
        for number, pixels in enumerate(_one_after_another(first, supply)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", threads=1)
            frame.pts = number
            frame.time_base = 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _one_after_another(first: NDArray[np.uint8], rest: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Every frame, checked and grown to even sizes."""
    for frame in itertools.chain((first,), rest):
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise InputError(f"a frame must be (H, W, 3) uint8, not {frame.shape} {frame.dtype}")
        if frame.shape != first.shape:
            raise InputError(f"frames must have one size, not {first.shape} and {frame.shape}")
        odd_height, odd_width = frame.shape[0] % 2, frame.shape[1] % 2
        yield (
            np.pad(frame, ((0, odd_height), (0, odd_width), (0, 0)), mode="edge") if odd_height or odd_width else frame
        )

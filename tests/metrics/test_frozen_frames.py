"""Frozen frames: held frames are found, also after compression; stillness of other kinds is not mistaken for them."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.metric import Score
from vidbench.testing import score, synthetic_clips
from vidbench_metrics.frozen_frames import FrozenFrames

Pixels = NDArray[np.uint8]


def decoded(source: Path | io.BytesIO) -> Pixels:
    with av.open(source, "r") as container:
        return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], np.uint8)


def compressed(pixels: Pixels, fps: int = 30) -> Pixels:
    """What H.264 at crf 23 leaves of a clip."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "23", "preset": "veryfast"}
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    buffer.seek(0)
    return decoded(buffer)


def held(pixels: Pixels, start: int, count: int) -> Pixels:
    """The clip with frame `start` shown `count` times more, over what follows it."""
    clip = pixels.copy()
    clip[start + 1 : start + 1 + count] = clip[start]
    return clip


def spans(result: Score) -> list[tuple[int, int]]:
    return [(finding.start, finding.end) for finding in result.findings]


def test_held_frames_are_counted_and_located() -> None:
    clip = held(held(synthetic_clips()[0], 2, 4), 10, 3)
    result = score(FrozenFrames, clip, fps=8.0)
    assert result.value == pytest.approx(7 / 15)
    assert spans(result) == [(2, 6), (10, 13)]
    assert {finding.kind for finding in result.findings} == {"freeze"}
    assert result.findings[0].message == "The picture stands still in frames 2 to 6 (0.25 s to 0.75 s)."
    assert result.details == {"repeats": 7, "longest_run": 4}


def test_without_a_frame_rate_the_message_gives_frames_only() -> None:
    result = score(FrozenFrames, held(synthetic_clips()[0], 2, 4), fps=None)
    assert result.findings[0].message == "The picture stands still in frames 2 to 6."


def test_short_repeats_count_but_are_no_finding() -> None:
    clip = held(held(synthetic_clips()[0], 2, 2), 8, 1)  # as in animation "on threes" and "on twos"
    result = score(FrozenFrames, clip)
    assert result.value == pytest.approx(3 / 15)
    assert result.findings == ()
    eager = FrozenFrames.from_mapping({"min_repeats": "1"})
    assert spans(score(eager, clip)) == [(2, 4), (8, 9)]


def test_a_still_scene_is_one_finding_with_its_limitation() -> None:
    result = score(FrozenFrames, np.repeat(synthetic_clips()[0][:1], 9, axis=0))
    assert result.value == 1.0
    assert spans(result) == [(0, 8)]
    assert "fixed camera" in result.findings[0].limitation


@pytest.mark.parametrize("name", ["ground-truth/2", "cogvideo/204", "zeroscope/149", "zeroscope/390"])
def test_held_frames_survive_compression(fetv: Path, name: str) -> None:
    clip = decoded(fetv / f"{name}.mp4")
    result = score(FrozenFrames, compressed(held(clip, 5, 8), fps=8), fps=8.0)
    assert spans(result) == [(5, 13)]
    assert result.value == pytest.approx(8 / (len(clip) - 1))


def test_generated_clips_have_no_frozen_frames(fetv: Path) -> None:
    for path in sorted(fetv.glob("*/*.mp4"))[::6]:
        assert score(FrozenFrames, decoded(path)).value == 0.0, path


def test_a_fixed_camera_is_not_frozen(real_clips: Path) -> None:
    # One person moves a little before a still wall: the mean alone would call half of the frames repeats.
    result = score(FrozenFrames, decoded(real_clips / "mm_skel_0.mp4"), fps=28.0)
    assert result.value is not None
    assert result.value < 0.05
    assert result.findings == ()


def test_a_small_object_before_a_still_background_is_not_frozen(moving_square: Callable[..., Pixels]) -> None:
    clip = np.full((12, 180, 320, 3), 90, np.uint8)
    for t, frame in enumerate(clip):
        frame[80:90, 40 + t : 50 + t] = 200  # a step changes 20 of 57,600 pixels
    assert score(FrozenFrames, clip).value == 0.0
    assert score(FrozenFrames, compressed(clip)).value == 0.0


def test_a_slow_fade_is_not_frozen() -> None:
    still = np.repeat(synthetic_clips()[0][:1], 12, axis=0)
    fade = np.clip(still.astype(np.int16) - np.arange(12)[:, None, None, None], 0, 255).astype(np.uint8)
    assert score(FrozenFrames, fade).value == 0.0


def test_sensor_noise_on_a_still_scene_is_not_frozen() -> None:
    still = np.repeat(synthetic_clips()[0][:1], 12, axis=0)
    noise = np.random.default_rng(0).normal(0, 1.5, still.shape)
    assert score(FrozenFrames, np.clip(still + noise, 0, 255).round().astype(np.uint8)).value == 0.0

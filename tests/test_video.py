"""Decoding against independent truths: lossless frames, colours from the standards' formulas, bytes patched by hand."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.decode.probe import is_cut_off
from vidbench.errors import ClipError, InputError
from vidbench.video import ClipFacts, ClipReader, Frames, Limits, chunk_frames, encode_h264, encode_h264_bytes

Pixels = NDArray[np.uint8]
ROOT = Path(__file__).resolve().parent.parent


def clip_at(path: Path, kind: Any = "video", fps: float | None = None) -> Clip:
    return Clip(id=path.name, path=path, model="m", kind=kind, fps=fps)


def chunks(path: Path, kind: Any = "video", fps: float | None = None, **limits: int) -> tuple[list[Frames], ClipFacts]:
    with ClipReader(clip_at(path, kind, fps), Limits(**limits)) as reader:
        return list(reader), reader.facts


def read(path: Path, kind: Any = "video", fps: float | None = None, **limits: int) -> tuple[Pixels, ClipFacts]:
    pieces, facts = chunks(path, kind, fps, **limits)
    return np.concatenate([piece.pixels for piece in pieces]), facts


def reason(path: Path, kind: Any = "video", fps: float | None = None, **limits: int) -> str:
    with pytest.raises(ClipError) as caught:
        read(path, kind, fps, **limits)
    assert "\n" not in caught.value.reason
    return caught.value.reason


def texture(frames: int = 12, height: int = 48, width: int = 64, *, colors: int | None = None) -> Pixels:
    """Coarse random tiles that move right; every frame differs from every other."""
    rng = np.random.default_rng(7)
    tiles = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    if colors is not None:
        palette = rng.integers(0, 256, (colors, 3)).astype(np.uint8)
        tiles = palette[rng.integers(0, colors, tiles.shape[:2])]
    base = tiles.repeat(8, 0).repeat(8, 1)[:height, :width]
    return np.stack([np.roll(base, t, axis=1) for t in range(frames)])


def write(
    path: Path,
    frames: Iterable[Pixels],
    codec: str = "libx264",
    layout: str = "yuv420p",
    *,
    pts: Sequence[int] | None = None,
    rate: int = 24,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    container: str | None = None,
) -> bytes:
    """Encode with PyAV; `pts` counts in frames of `rate`."""
    with av.open(str(path), "w", format=container, options=muxer or {}) as output:
        stream: Any = None
        for number, pixels in enumerate(frames):
            if stream is None:
                stream = output.add_stream(codec, rate=rate, options=options or {})
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = layout
            frame = av.VideoFrame.from_ndarray(pixels, "rgba" if pixels.shape[2] == 4 else "rgb24")
            frame.pts = number if pts is None else pts[number]
            frame.time_base = Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path.read_bytes()


LOSSLESS = {
    "mkv-ffv1": ("clip.mkv", "ffv1", "bgr0", {}),
    "mp4-h264-b-frames": ("clip.mp4", "libx264rgb", "rgb24", {"crf": "0", "bf": "3", "preset": "medium"}),
    "mov-qtrle": ("clip.mov", "qtrle", "rgb24", {}),
    "mov-png": ("clip.mov", "png", "rgb24", {}),
    "avi-raw": ("clip.avi", "rawvideo", "bgr24", {}),
    "nut-ffv1-16-bit": ("clip.nut", "ffv1", "gbrp16le", {"strict": "-2"}),
    "png": ("clip.png", "apng", "rgb24", {}),
    "webp": ("clip.webp", "libwebp_anim", "bgra", {"lossless": "1"}),
}


@pytest.mark.parametrize("size", [(48, 64), (47, 65)], ids=["even", "odd"])
@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_frames_come_back_exactly_and_in_order(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    file, codec, layout, options = LOSSLESS[name]
    frames = texture(12, *size)
    write(tmp_path / file, frames, codec, layout, options=options, container="apng" if codec == "apng" else None)
    pixels, facts = read(tmp_path / file)
    np.testing.assert_array_equal(pixels, frames)
    assert (facts.frames, facts.height, facts.width, facts.warnings) == (12, *size, ())
    if codec != "libwebp_anim":  # whole milliseconds, tested below
        assert facts.fps == pytest.approx(24, rel=1e-3)


def test_gif_colors_and_delays(tmp_path: Path) -> None:
    frames = texture(6, colors=8)
    data = gif(frames, delays=[10, 10, 30, 5, 20, 10])
    (tmp_path / "clip.gif").write_bytes(data)
    pixels, facts = read(tmp_path / "clip.gif")
    np.testing.assert_array_equal(pixels, frames)
    np.testing.assert_allclose(facts.times, [0, 0.1, 0.2, 0.5, 0.55, 0.75])
    assert facts.fps == pytest.approx(5 / 0.75)


def gif(frames: Pixels, delays: Sequence[int], *, loops: int | None = None) -> bytes:
    """A GIF by hand: uncompressed LZW codes (a clear code every 126 pixels), delays in hundredths of a second."""
    _, height, width, _ = frames.shape
    palette, indices = np.unique(frames.reshape(-1, 3), axis=0, return_inverse=True)
    assert len(palette) <= 128
    table = np.zeros((128, 3), np.uint8)
    table[: len(palette)] = palette
    parts = [b"GIF89a", struct.pack("<HHBBB", width, height, 0xF6, 0, 0), table.tobytes()]
    if loops is not None:
        parts.append(b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", loops) + b"\0")
    for picture, delay in zip(indices.reshape(len(frames), -1), delays, strict=True):
        parts.append(b"!\xf9\x04\x00" + struct.pack("<H", delay) + b"\0\0")
        parts.append(b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x07")
        codes = b"".join(b"\x80" + picture[i : i + 126].astype(np.uint8).tobytes() for i in range(0, len(picture), 126))
        codes += b"\x81"
        parts += [bytes([len(codes[i : i + 255])]) + codes[i : i + 255] for i in range(0, len(codes), 255)]
        parts.append(b"\0")
    return b"".join([*parts, b";"])


def test_gif_that_loops_is_played_once(tmp_path: Path) -> None:
    (tmp_path / "clip.gif").write_bytes(gif(texture(3, colors=4), [10, 10, 10], loops=0))
    assert read(tmp_path / "clip.gif")[1].frames == 3


def test_webp_durations(tmp_path: Path) -> None:
    write(tmp_path / "clip.webp", texture(5), "libwebp_anim", "bgra", rate=100, pts=[0, 4, 10, 50, 60])
    _, facts = read(tmp_path / "clip.webp")
    np.testing.assert_allclose(facts.times, [0, 0.04, 0.1, 0.5, 0.6])


def animated_webp(size: tuple[int, int], frames: Sequence[tuple[int, int, Pixels, int, int]]) -> bytes:
    """A file by hand from (left, top, RGB(A) pixels, milliseconds, flags); parts are losslessly coded still images."""

    def u24(value: int) -> bytes:
        return value.to_bytes(3, "little")

    parts = [b"VP8X" + struct.pack("<II", 10, 0x12) + u24(size[1] - 1) + u24(size[0] - 1)]
    parts.append(b"ANIM" + struct.pack("<IIH", 6, 0xFFFFFFFF, 0))
    for left, top, pixels, duration, flags in frames:
        order = [2, 1, 0, 3][: pixels.shape[2]]
        still = cv2.imencode(".webp", pixels[..., order], [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
        body = still[still.index(b"VP8L") :]
        height, width = pixels.shape[:2]
        payload = b"".join(map(u24, (left // 2, top // 2, width - 1, height - 1, duration))) + bytes([flags]) + body
        parts.append(b"ANMF" + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2))
    payload = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(payload)) + payload


def test_webp_blends_and_disposes(tmp_path: Path) -> None:
    keep, dispose, replace = 0, 1, 2
    full = np.full((16, 20, 4), 200, np.uint8)
    full[..., 3] = 255
    half = full[:6, :8].copy()
    half[..., 3] = 128
    (tmp_path / "clip.webp").write_bytes(
        animated_webp(
            (16, 20),
            [
                (0, 0, full, 50, keep),
                (4, 2, half // np.array([4, 4, 4, 1], np.uint8), 0, keep),  # blended: 50 over 200
                (4, 2, half, 100, replace | dispose),  # over black, then cleared
                (10, 8, full[:2, :4], 100, dispose),
                (0, 0, half, 100, keep),
            ],
        )
    )
    pixels, facts = read(tmp_path / "clip.webp")
    expected = np.full((5, 16, 20, 3), 200)
    expected[1, 2:8, 4:12] = round(50 * 128 / 255 + 200 * 127 / 255)
    expected[2, 2:8, 4:12] = round(200 * 128 / 255)
    expected[3:, 2:8, 4:12] = 0
    expected[4, 8:10, 10:14] = 0
    expected[4, :6, :8] = np.rint(200 * 128 / 255 + expected[4, :6, :8] * (127 / 255))
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_allclose(facts.times, [0, 0.05, 0.15, 0.25, 0.35])  # a frame of 0 ms is shown for 100


def test_webp_matches_opencv_animation(tmp_path: Path) -> None:
    """Lossy, with alpha: parts of frames are blended and disposed of, as the encoder likes."""
    if not hasattr(cv2, "imreadanimation"):
        pytest.skip("this OpenCV cannot read animations")
    frames = np.concatenate([texture(8), np.full((8, 48, 64, 1), 255, np.uint8)], axis=3)
    frames[:, 10:30, 10:40, 3] = np.linspace(0, 255, 8).astype(np.uint8)[:, None, None]
    write(tmp_path / "clip.webp", frames, "libwebp_anim", "yuva420p", options={"quality": "80"})
    pixels, _ = read(tmp_path / "clip.webp")
    _, animation = cv2.imreadanimation(str(tmp_path / "clip.webp"))
    reference = np.stack([frame[..., 2::-1] * (frame[..., 3:] / 255.0) for frame in animation.frames])
    assert np.abs(pixels - reference).max() <= 1.5  # rounding of the blend


def test_chunks_depend_on_frame_size_alone(tmp_path: Path) -> None:
    assert chunk_frames(48, 64) == 32
    assert chunk_frames(1080, 1920) == 4
    assert chunk_frames(4320, 7680) == 1
    frames = texture(70)
    write(tmp_path / "clip.mkv", frames, "ffv1", "bgr0")
    pieces, facts = chunks(tmp_path / "clip.mkv")
    assert [(len(p), p.start) for p in pieces] == [(32, 0), (32, 32), (6, 64)]
    assert all(p.pixels.flags.c_contiguous and p.pixels.dtype == np.uint8 for p in pieces)
    assert not any(np.shares_memory(a.pixels, b.pixels) for a in pieces for b in pieces if a is not b)
    np.testing.assert_array_equal(np.concatenate([p.pixels for p in pieces]), frames)
    np.testing.assert_array_equal(np.concatenate([p.times for p in pieces]), facts.times)


def test_facts_need_the_end_and_iteration_can_be_repeated(tmp_path: Path) -> None:
    write(tmp_path / "clip.mkv", texture(40), "ffv1", "bgr0")
    with ClipReader(clip_at(tmp_path / "clip.mkv")) as reader:
        next(iter(reader))
        with pytest.raises(RuntimeError, match="read to its end"):
            _ = reader.facts
        assert sum(len(chunk) for chunk in reader) == 40
        assert reader.facts.frames == 40


def test_variable_frame_rate(tmp_path: Path) -> None:
    pts = [0, 1, 2, 7, 8, 20]
    write(tmp_path / "clip.mp4", texture(6), pts=pts, rate=10)
    _, facts = read(tmp_path / "clip.mp4")
    np.testing.assert_allclose(facts.times, np.array(pts) / 10, atol=1e-9)
    assert facts.fps == pytest.approx(5 / 2.0)
    assert facts.duration == pytest.approx(2.0 + 2.0 / 5)


def test_rate_of_the_metadata_overrides_the_file(tmp_path: Path) -> None:
    write(tmp_path / "clip.mp4", texture(6), pts=[0, 1, 2, 7, 8, 20], rate=10)
    _, facts = read(tmp_path / "clip.mp4", fps=8.0)
    np.testing.assert_array_equal(facts.times, np.arange(6) / 8)
    assert facts.fps == 8.0
    assert "positive" in reason(tmp_path / "clip.mp4", fps=0.0)
    assert "positive" in reason(tmp_path / "clip.mp4", fps=float("nan"))


def test_rounded_times_do_not_bend_a_constant_rate(tmp_path: Path) -> None:
    """Matroska counts in milliseconds, and 1/30 s is no number of them."""
    write(tmp_path / "clip.mkv", texture(30), rate=30)
    _, facts = read(tmp_path / "clip.mkv")
    assert facts.times[1] == 0.033
    assert facts.fps == 30.0


def test_times_start_at_zero(tmp_path: Path) -> None:
    write(tmp_path / "clip.mkv", texture(6), "ffv1", "bgr0", pts=range(100, 106), rate=10)
    np.testing.assert_allclose(read(tmp_path / "clip.mkv")[1].times, np.arange(6) / 10)


def test_edit_list_hides_the_frames_before_zero(tmp_path: Path) -> None:
    frames = texture(12)
    write(tmp_path / "clip.mp4", frames, "libx264rgb", "rgb24", pts=range(-3, 9), rate=10, options={"crf": "0"})
    pixels, facts = read(tmp_path / "clip.mp4")
    np.testing.assert_array_equal(pixels, frames[3:])
    np.testing.assert_allclose(facts.times, np.arange(9) / 10)
    assert facts.warnings == ()


def test_repeated_time_stamps_are_mended_with_a_warning(tmp_path: Path) -> None:
    """The time-to-sample table of an MP4, patched: the deltas 1, 0, 1, 1, … make frames 1 and 2 coincide."""
    path = tmp_path / "clip.mp4"
    data = bytearray(write(path, texture(6), pts=[0, 1, 3, 4, 5, 6], rate=10, options={"bf": "0"}))
    table = data.index(b"stts") + 8
    entries = [
        list(struct.unpack_from(">II", data, table + 4 + 8 * i))
        for i in range(struct.unpack_from(">I", data, table)[0])
    ]
    double = next(i for i, (_, delta) in enumerate(entries) if delta == 2 * entries[0][1])
    struct.pack_into(">I", data, table + 4 + 8 * double + 4, 0)
    path.write_bytes(data)
    _, facts = read(path)
    assert (np.diff(facts.times) > 0).all()
    assert facts.warnings == ("1 of 6 frames have no usable time stamp; set from the frame rate",)


def test_b_frames_in_avi(tmp_path: Path) -> None:
    """AVI stores frames in coding order without presentation times."""
    frames = texture(24)
    options = {"crf": "1", "bf": "3", "x264-params": "b-adapt=0"}
    write(tmp_path / "clip.avi", frames, "libx264", "yuv444p", options=options)
    with av.open(str(tmp_path / "clip.avi")) as container:
        stamps = [frame.pts or 0 for frame in container.decode(video=0)]
    assert stamps != sorted(stamps)  # what FFmpeg makes of it
    pixels, facts = read(tmp_path / "clip.avi")
    errors = np.abs(pixels[:, None].astype(int) - frames[None]).mean(axis=(2, 3, 4))
    np.testing.assert_array_equal(errors.argmin(axis=1), np.arange(24))
    np.testing.assert_allclose(facts.times, np.arange(24) / 24)
    assert facts.warnings == ()


def test_one_frame_is_a_clip(tmp_path: Path) -> None:
    write(tmp_path / "clip.mp4", texture(1), rate=12)
    pixels, facts = read(tmp_path / "clip.mp4")
    assert len(pixels) == facts.frames == 1
    assert facts.fps == 12.0
    assert facts.times.tolist() == [0.0]
    assert facts.duration == pytest.approx(1 / 12)


MATRICES: dict[
    str, tuple[tuple[int, int, int, int], Callable[[Pixels], Pixels]]
] = {  # a, b, c, d of x' = a x + c y, y' = b x + d y, y down
    "rotated-90": ((0, 1, -1, 0), lambda f: np.rot90(f, -1)),
    "rotated-180": ((-1, 0, 0, -1), lambda f: np.rot90(f, 2)),
    "rotated-270": ((0, -1, 1, 0), lambda f: np.rot90(f, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda f: f[:, ::-1]),
    "upside-down": ((1, 0, 0, -1), lambda f: f[::-1]),
    "transposed": ((0, 1, 1, 0), lambda f: f.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_display_matrix_is_applied(name: str, tmp_path: Path) -> None:
    (a, b, c, d), expected = MATRICES[name]
    frames = texture(3)
    path = tmp_path / "clip.mp4"
    data = bytearray(write(path, frames, "libx264rgb", "rgb24", options={"crf": "0"}))
    matrix = data.index(b"tkhd") + 4 + 40
    assert struct.unpack_from(">9i", data, matrix) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, matrix, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    pixels, facts = read(path)
    np.testing.assert_array_equal(pixels, np.stack([expected(frame) for frame in frames]))
    assert (facts.height, facts.width) == pixels.shape[1:3]


MATRIX_COEFFICIENTS = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114), "bt2020nc": (0.2627, 0.0593)}


def ycbcr(rgb: tuple[int, int, int], kr: float, kb: float, full: bool, bits: int) -> list[int]:
    """ITU-R BT.709, equations of section 3, for any pair of luma coefficients."""
    r, g, b = (value / 255 for value in rgb)
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    scale = 1 << (bits - 8)
    if full:
        return [round(255 * y * scale), round((128 + 255 * cb) * scale), round((128 + 255 * cr) * scale)]
    return [round((16 + 219 * y) * scale), round((128 + 224 * cb) * scale), round((128 + 224 * cr) * scale)]


@pytest.mark.parametrize("layout", ["yuv420p", "yuv444p", "yuv420p10le", "yuv422p10le"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("tag", [*MATRIX_COEFFICIENTS, None])
def test_known_colors_are_read_as_tagged(tag: str | None, full: bool, layout: str, tmp_path: Path) -> None:
    kr, kb = MATRIX_COEFFICIENTS[tag or "smpte170m"]  # untagged means BT.601
    bits = 10 if "10" in layout else 8
    wanted, path = (30, 180, 90), tmp_path / "clip.mkv"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("libx264", rate=10, options={"crf": "0"})
        if tag:
            stream.options = {"crf": "0", "x264-params": f"colormatrix={tag}"}
        stream.height, stream.width, stream.pix_fmt = 48, 64, layout
        stream.codec_context.color_range = 2 if full else 1
        frame = av.VideoFrame(64, 48, layout)
        for plane, value in zip(frame.planes, ycbcr(wanted, kr, kb, full, bits), strict=True):
            samples = np.full(plane.buffer_size // (2 if bits > 8 else 1), value, np.uint16 if bits == 10 else np.uint8)
            plane.update(samples.tobytes())
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    pixels, _ = read(path)
    # swscale's fast paths are off by up to 3 of 255; a wrong matrix by 14 to 35, a wrong range by 12.
    assert np.abs(pixels[0].astype(int) - wanted).max() <= 3


def test_gray_is_read_as_it_is(tmp_path: Path) -> None:
    gray = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, None, :, None], 48, axis=1).repeat(3, axis=3)
    write(tmp_path / "clip.mkv", gray, "ffv1", "gray")
    assert np.abs(read(tmp_path / "clip.mkv")[0].astype(int) - gray).max() <= 1


def test_hdr_and_stretched_pixels_are_named(tmp_path: Path) -> None:
    options = {"x264-params": "transfer=smpte2084"}
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("libx264", rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p10le"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(texture(1)[0], "rgb24")))
        output.mux(stream.encode())
    facts = read(path)[1]
    assert facts.warnings == (
        "HDR (PQ) is read as stored, without tone mapping",
        "pixels of 4:3 are read as square",
    )


@pytest.mark.parametrize(
    ("file", "codec", "layout", "options", "tolerance"),
    [
        ("clip.png", "apng", "rgba", {}, 0),
        ("clip.webp", "libwebp_anim", "bgra", {"lossless": "1"}, 0),
        ("clip.mov", "qtrle", "argb", {}, 0),
        ("clip.webm", "libvpx-vp9", "yuva420p", {"lossless": "1"}, 2),
        ("clip.webm", "libvpx", "yuva420p", {"crf": "4", "b": "4M", "auto-alt-ref": "0"}, 3),
    ],
)
def test_alpha_lies_over_black(
    file: str, codec: str, layout: str, options: dict[str, str], tolerance: int, tmp_path: Path
) -> None:
    alphas = (0, 64, 128, 255)
    frames = np.full((4, 64, 64, 4), 200, np.uint8)
    frames[..., 3] = np.array(alphas)[:, None, None]
    write(tmp_path / file, frames, codec, layout, options=options, container="apng" if codec == "apng" else None)
    pixels, _ = read(tmp_path / file)
    expected = np.array([round(200 * alpha / 255) for alpha in alphas])
    assert np.abs(pixels.astype(int) - expected[:, None, None, None]).max() <= tolerance


def test_transparent_gif_lies_over_black(tmp_path: Path) -> None:
    frames = texture(2, colors=3)
    data = bytearray(gif(frames, [10, 10]))
    palette = np.unique(frames.reshape(-1, 3), axis=0)
    control = data.index(b"!\xf9\x04")
    data[control + 3], data[control + 6] = 1, 1  # colour 1 of the first frame is transparent
    (tmp_path / "clip.gif").write_bytes(data)
    expected = np.where((frames[0] == palette[1]).all(-1, keepdims=True), 0, frames[0])
    np.testing.assert_array_equal(read(tmp_path / "clip.gif")[0][0], expected)


def test_real_clips_equal_plain_pyav(fetv: Path, real_clips: Path) -> None:
    for path in [*sorted(fetv.rglob("*.mp4"))[::12], *sorted(real_clips.rglob("*.mp4"))[::15]]:
        with av.open(str(path)) as container:
            expected = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        pixels, facts = read(path)
        np.testing.assert_array_equal(pixels, expected)
        assert facts.warnings == ()


# Files that are no clips


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty file (0 bytes)"),
        (b"just some words\n" * 9, "text, not a video"),
        (b"<!DOCTYPE html>\n<title>404</title>", "a web page (HTML), perhaps from a download that failed, not a video"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer (run git lfs pull), not a video"),
        (b"PK\x03\x04" + bytes(99), "a ZIP archive, not a video"),
        (bytes(5000), "not a video in a format that vidbench reads, or its header is damaged"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(20), "cut off: the index that stands at its end (moov) is missing"),
        *[
            (cv2.imencode(f".{kind}", texture(1)[0])[1].tobytes(), f"a still image ({name}), not a video")
            for kind, name in {"png": "PNG", "jpg": "JPEG", "webp": "WebP", "bmp": "BMP", "tif": "TIFF"}.items()
        ],
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_video_says_what_it_is(data: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(data)
    assert reason(tmp_path / "clip.mp4") == expected


def test_missing_and_special_files(tmp_path: Path) -> None:
    assert reason(tmp_path / "none.mp4") == "the file is missing"
    assert reason(tmp_path) in ("not a regular file", "cannot be opened: Permission denied")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert reason(tmp_path / "pipe.mp4") == "not a regular file"


def sound(path: Path, codec: str, *, cover: bool = False) -> None:
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=44100)
        if cover:
            picture: Any = output.add_stream("png", rate=25)
            picture.height, picture.width, picture.pix_fmt = 48, 64, "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic.value
            output.mux(picture.encode(av.VideoFrame.from_ndarray(texture(1)[0], "rgb24")))
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), "fltp", "stereo")
        frame.sample_rate = 44100
        output.mux(stream.encode(frame))
        output.mux(stream.encode())


def test_audio_only(tmp_path: Path) -> None:
    sound(tmp_path / "clip.mp4", "aac")
    assert reason(tmp_path / "clip.mp4") == "no video stream (audio only)"
    sound(tmp_path / "song.mp3", "libmp3lame", cover=True)
    (tmp_path / "song.mp3").rename(tmp_path / "song.mp4")
    assert reason(tmp_path / "song.mp4") == "no video stream (audio only)"


def test_file_without_a_clock_needs_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    data = bytearray(write(path, texture(6), options={"bf": "0"}, muxer={"use_editlist": "0"}))
    table = data.index(b"stts") + 8
    assert struct.unpack_from(">II", data, table) == (1, 6)
    struct.pack_into(">I", data, table + 8, 0)
    path.write_bytes(data)
    assert reason(path) == "gives no frame rate; add an fps column to metadata.csv"
    assert read(path, fps=8.0)[1].times.tolist() == [t / 8 for t in range(6)]


def test_encrypted(tmp_path: Path) -> None:
    keys = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "00" * 16, "encryption_kid": "11" * 16}
    write(tmp_path / "clip.mp4", texture(12), muxer=keys)
    assert reason(tmp_path / "clip.mp4") == "encrypted"


def test_size_may_not_change(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        for number, frame in enumerate([texture(1)[0]] * 3 + [texture(1, 80, 96)[0]]):
            packet = av.Packet(cv2.imencode(".jpg", frame)[1].tobytes())
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 10), number, number
            packet.is_keyframe = True
            output.mux(packet)
    assert (
        reason(path)
        == "the frame size changes from 64x48 to 96x80 at frame 3; every frame of a clip must have one size"
    )


# Files that end too early or promise too much


CUT = {
    "mp4-index-first": ("clip.mp4", "libx264", "yuv420p", {"movflags": "faststart"}),
    "mp4-fragments": ("clip.mp4", "libx264", "yuv420p", {"movflags": "frag_keyframe+empty_moov"}),
    "mkv": ("clip.mkv", "libx264", "yuv420p", {}),
    "webm": ("clip.webm", "libvpx-vp9", "yuv420p", {}),
    "avi": ("clip.avi", "mjpeg", "yuvj420p", {}),
    "flv": ("clip.flv", "flv", "yuv420p", {}),
    "png": ("clip.png", "apng", "rgb24", {}),
    "webp": ("clip.webp", "libwebp_anim", "bgra", {}),
    "gif": ("clip.gif", "gif", "rgb8", {}),
}


@pytest.mark.parametrize("name", CUT)
def test_a_cut_file_fails_and_says_how_much_is_there(name: str, tmp_path: Path) -> None:
    file, codec, layout, muxer = CUT[name]
    path = tmp_path / file
    options = {"deadline": "realtime", "cpu-used": "8"} if codec == "libvpx-vp9" else {}
    noise = np.random.default_rng(0).integers(0, 256, (24, 48, 64, 3), dtype=np.uint8)
    container = "apng" if codec == "apng" else None
    data = write(path, noise, codec, layout, options=options | {"g": "4"}, muxer=muxer, container=container)
    assert read(path)[1].frames == 24
    path.write_bytes(data[: len(data) * 2 // 3])
    said = reason(path)
    assert said.startswith(("cut off: decodes ", "damaged: ")), said
    counted = [int(word) for word in said.replace(";", "").split() if word.isdigit()]
    # About two thirds of the frames lie in two thirds of the bytes; some decoders hold the last few back.
    assert 9 <= counted[0] <= 17, said
    if name in ("mp4-index-first", "avi"):
        assert "of 24 frames" in said


def test_a_file_cut_before_its_index(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    data = write(path, texture(12))
    path.write_bytes(data[: len(data) // 2])
    assert reason(path) == "cut off: the index that stands at its end (moov) is missing"
    path.write_bytes(data[: data.index(b"stsz")])
    assert reason(path) == "cut off: its header or index is incomplete"


def test_a_file_cut_after_its_last_frame_is_read_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    data = write(path, texture(12), "mjpeg", "yuvj420p")
    path.write_bytes(data[: data.rindex(b"idx1") + 20])
    pixels, facts = read(path)
    assert len(pixels) == 12
    assert facts.warnings == ("the file is cut off after its last frame",)


def test_a_header_that_promises_too_much_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    data = bytearray(write(path, texture(12), "mjpeg", "yuvj420p"))
    length = data.index(b"strh") + 8 + 32  # dwLength of the stream header
    assert struct.unpack_from("<I", data, length) == (12,)
    struct.pack_into("<I", data, length, 48)
    path.write_bytes(data)
    pixels, facts = read(path)
    assert len(pixels) == facts.frames == 12
    assert facts.warnings == ("the container promises 48 frames and has 12",)


def test_a_duration_that_promises_too_much_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    data = bytearray(write(path, texture(12), rate=12))
    duration = data.index(b"\x44\x89\x88") + 3
    assert struct.unpack_from(">d", data, duration) == (1000.0,)
    struct.pack_into(">d", data, duration, 4000.0)
    path.write_bytes(data)
    assert read(path)[1].warnings == ("the container promises 4.00 s and has 1.00 s",)


def test_frames_that_the_decoder_conceals_fail(tmp_path: Path) -> None:
    """One changed byte: the decoder raises nothing and paints over the hole; only the frame's flag tells."""
    path = tmp_path / "clip.avi"
    data = bytearray(write(path, texture(12, 96, 128), "mpeg4", options={"g": "6"}))
    middle = len(data) // 2
    concealed = 0
    for offset in range(middle, middle + 300, 3):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 0x5A]) + data[offset + 1 :])
        try:
            with av.open(str(path)) as container:
                flags = [frame.is_corrupt for frame in container.decode(video=0)]
        except av.FFmpegError:
            continue
        if any(flags):
            assert reason(path).startswith("damaged: near frame ")
            concealed += 1
            if concealed == 5:
                return
    pytest.fail("no byte was found whose change is concealed")


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_damage_inside_fails(codec: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "clip.mp4"
    data = bytearray(write(path, texture(24, 96, 128), codec, options={"g": "6"}))
    start, end = data.index(b"mdat"), data.index(b"moov")
    for offset in range(start + (end - start) // 3, start + (end - start) // 2, 7):
        data[offset] ^= 0x5A
    path.write_bytes(data)
    assert reason(path).startswith("damaged: near frame ")
    assert capfd.readouterr() == ("", "")


def test_whole_files_of_every_kind_count_as_whole(tmp_path: Path) -> None:
    for name, (file, codec, layout, muxer) in CUT.items():
        path = tmp_path / f"{name}-{file}"
        write(path, texture(4), codec, layout, muxer=muxer, container="apng" if codec == "apng" else None)
        with path.open("rb") as stream:
            assert not is_cut_off(stream), name
            assert stream.tell() == 0


# Limits and safety


def test_limits_name_their_option(tmp_path: Path) -> None:
    write(tmp_path / "clip.mkv", texture(12), "ffv1", "bgr0")
    assert read(tmp_path / "clip.mkv", max_pixels=48 * 64, max_frames=12)[1].frames == 12
    assert "--max-pixels" in reason(tmp_path / "clip.mkv", max_pixels=48 * 64 - 1)
    assert "--max-frames" in reason(tmp_path / "clip.mkv", max_frames=11)
    write(tmp_path / "clip.webp", texture(3), "libwebp_anim", "bgra")
    assert "--max-pixels" in reason(tmp_path / "clip.webp", max_pixels=100)
    assert "--max-frames" in reason(tmp_path / "clip.webp", max_frames=2)


def test_a_lying_png_size_takes_no_memory(tmp_path: Path) -> None:
    """20000 x 20000 in the header, checksum mended: nothing of that size may be allocated."""
    path = tmp_path / "clip.png"
    data = bytearray(write(path, texture(3), "apng", "rgb24", container="apng"))
    struct.pack_into(">II", data, 16, 20_000, 20_000)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    path.write_bytes(data)
    assert reason(path) == "frames of 20000x20000 exceed the limit of 33177600 pixels; raise it with --max-pixels"


@pytest.mark.parametrize(
    "name",
    [
        "http:x.mp4",
        "concat:a.mp4|b.mp4",
        "-x.mp4",
        "f%03d.mp4",
        "a b'\"\n\N{GRINNING FACE}.mp4",
        "x\udcff.mp4",
        "no-suffix",
    ],
)
def test_a_name_is_only_a_name(name: str, tmp_path: Path) -> None:
    data = write(tmp_path / "made.mp4", texture(3))
    (tmp_path / name).write_bytes(data)
    assert read(tmp_path / name)[1].frames == 3


@pytest.mark.parametrize("guard", ["by-name", "by-format"])
@pytest.mark.parametrize("list_name", ["list.m3u8", "list.mp4"])
def test_playlists_open_nothing(list_name: str, guard: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "part.ts", texture(24))
    (tmp_path / "hls").mkdir()
    hls = tmp_path / "hls" / list_name
    hls.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{tmp_path}/part.ts\n#EXT-X-ENDLIST\n")
    concat = tmp_path / list_name
    concat.write_text("ffconcat version 1.0\nfile part.ts\n")
    for path in (hls, concat):
        if path == concat or list_name.endswith("m3u8"):
            with av.open(str(path), options={"extension_picky": "0", "safe": "0"}) as unguarded:  # the danger is real
                assert sum(1 for _ in unguarded.decode(video=0)) == 24
        if guard == "by-format":
            monkeypatch.setattr("vidbench.decode.container.what_it_is", lambda _: None)
            assert reason(path).startswith("not a video in a format that vidbench reads")
        else:
            assert reason(path).startswith("a playlist (")


def _memory(seconds: float) -> dict[str, float]:
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "memory_decode.py"),
        "--seconds",
        str(seconds),
        "--size",
        "1920x1080",
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    measured: dict[str, float] = json.loads(output)
    return measured


def test_memory_does_not_grow_with_length() -> None:
    short, long = _memory(0.5), _memory(2.0)
    assert (short["frames"], long["frames"]) == (15, 60)
    # All frames of the long clip are 373 MB, the decoder and two chunks about 65.
    assert long["peak_mb"] < 300
    assert long["above_imports_mb"] < short["above_imports_mb"] + 15


# Frame folders


def test_frame_folder(tmp_path: Path) -> None:
    frames = texture(12)
    for number, frame in enumerate(frames, start=1):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), frame[..., ::-1])
    (tmp_path / "notes.txt").write_text("not a frame")
    pixels, facts = read(tmp_path, "frames")
    np.testing.assert_array_equal(pixels, frames)  # frame10 comes after frame9
    assert facts.fps is None and facts.duration is None and facts.warnings == ()
    np.testing.assert_array_equal(facts.times, np.arange(12))
    assert read(tmp_path, "frames", fps=6.0)[1].duration == pytest.approx(2.0)
    (tmp_path / "frame5.png").unlink()
    assert reason(tmp_path, "frames").startswith("frames are missing between 1 and 12: 5")


def test_frame_folder_depths_and_channels(tmp_path: Path) -> None:
    color = texture(1)[0]
    deep = color.astype(np.uint16) * 257
    deep[0, 0] = 257 * 7 + 129  # 7.502 of 255
    cv2.imwrite(str(tmp_path / "0.png"), deep[..., ::-1])
    cv2.imwrite(str(tmp_path / "1.png"), color[..., 0])
    half = np.dstack([color[..., ::-1], np.full(color.shape[:2], 128, np.uint8)])
    cv2.imwrite(str(tmp_path / "2.png"), half)
    pixels, _ = read(tmp_path, "frames")
    assert pixels[0, 0, 0].tolist() == [8, 8, 8]
    np.testing.assert_array_equal(pixels[0].reshape(-1, 3)[1:], color.reshape(-1, 3)[1:])
    np.testing.assert_array_equal(pixels[1], np.repeat(color[..., :1], 3, axis=2))
    np.testing.assert_array_equal(pixels[2], np.rint(color * (128 / 255)))


def test_jpeg_frames_are_turned_as_exif_says(tmp_path: Path) -> None:
    data = cv2.imencode(".jpg", np.full((48, 64, 3), 99, np.uint8))[1].tobytes()
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHII", 0x0112, 3, 1, 6) + bytes(4)
    exif = b"Exif\x00\x00" + tiff
    (tmp_path / "0.jpg").write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    assert read(tmp_path, "frames")[0].shape == (1, 64, 48, 3)


def test_frame_folder_faults(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert reason(tmp_path, "frames") == "a folder without numbered frames, not a clip"
    assert reason(tmp_path / "none", "frames").startswith("cannot be read")
    cv2.imwrite(str(tmp_path / "0.png"), texture(1)[0])
    cv2.imwrite(str(tmp_path / "1.png"), texture(1, 40, 40)[0])
    assert reason(tmp_path, "frames").startswith("the frame size changes from 64x48 to 40x40 at frame 1")
    (tmp_path / "1.png").write_bytes(b"")
    assert reason(tmp_path, "frames") == "frame '1.png': empty file (0 bytes)"
    (tmp_path / "1.png").write_bytes(b"no image")
    assert reason(tmp_path, "frames") == "frame '1.png': does not decode"
    assert "--max-frames" in reason(tmp_path, "frames", max_frames=1)
    (tmp_path / "1.png").unlink()
    assert "--max-pixels" in reason(tmp_path, "frames", max_pixels=100)
    cv2.imwrite(str(tmp_path / "0.jpg"), texture(1)[0])
    (tmp_path / "0.png").unlink()
    assert "64x48" in reason(tmp_path, "frames", max_pixels=100)
    assert capfd.readouterr() == ("", "")


# Arrays


@pytest.mark.parametrize("save", [np.save, np.savez, lambda p, a: np.savez_compressed(p, frames=a, x=1)])
def test_arrays(save: Callable[[Any, Pixels], None], tmp_path: Path) -> None:
    frames = texture(40)
    with (tmp_path / "clip.npy").open("wb") as file:
        save(file, frames)
    pixels, facts = read(tmp_path / "clip.npy", "array")
    np.testing.assert_array_equal(pixels, frames)
    assert facts.fps is None
    np.testing.assert_array_equal(facts.times, np.arange(40))
    assert "--max-pixels" in reason(tmp_path / "clip.npy", "array", max_pixels=10)
    assert "--max-frames" in reason(tmp_path / "clip.npy", "array", max_frames=10)


U8 = "; wanted is (T, H, W, 3) uint8"


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((4, 8, 8, 3), np.float32), "(4, 8, 8, 3) float32" + U8 + ": values in [0, 1] times 255, rounded"),
        (np.zeros((4, 8, 8, 3), ">f8"), "(4, 8, 8, 3) float64" + U8 + ": values in [0, 1] times 255, rounded"),
        (np.zeros((4, 3, 8, 8), np.uint8), "(4, 3, 8, 8) uint8, channels first" + U8 + ": transpose(0, 2, 3, 1)"),
        (np.zeros((4, 8, 8, 4), np.uint8), "(4, 8, 8, 4) uint8, with an alpha channel" + U8),
        (np.zeros((2, 4, 8, 8, 3), np.uint8), "(2, 4, 8, 8, 3) uint8" + U8 + ": one clip a file"),
        (np.zeros((8, 8, 3), np.uint8), "(8, 8, 3) uint8" + U8),
        (np.zeros((4, 8, 8, 3), np.int64), "(4, 8, 8, 3) int64" + U8),
        (np.zeros((4, 8), [("a", "u1")]), "(4, 8) of type \"[('a', '|u1')]\"" + U8),
        (np.asfortranarray(texture(4)), "(4, 48, 64, 3) uint8 in Fortran order; save numpy.ascontiguousarray of it"),
    ],
)
def test_arrays_of_another_kind_are_refused(array: NDArray[Any], expected: str, tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", array)
    assert reason(tmp_path / "clip.npy", "array") == f"an array {expected}"


def test_arrays_without_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", np.zeros((0, 8, 8, 3), np.uint8))
    assert reason(tmp_path / "clip.npy", "array") == "no frames: an array (0, 8, 8, 3) uint8"


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.save(tmp_path / "clip.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert "Python objects" in reason(tmp_path / "clip.npy", "array")
    assert not (tmp_path / "sprung").exists()


def test_cut_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", texture(10))
    data = (tmp_path / "clip.npy").read_bytes()
    (tmp_path / "clip.npy").write_bytes(data[: len(data) // 2])
    assert reason(tmp_path / "clip.npy", "array").startswith("cut off: has 4 of 10 frames")
    (tmp_path / "clip.npy").write_bytes(data[:40])
    assert reason(tmp_path / "clip.npy", "array") == "not a NumPy array file, or its header is damaged"


def test_npz_faults(tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"
    np.savez(path, a=texture(2), b=texture(2))
    assert reason(path, "array") == "a .npz file that holds a, b; wanted is one array, or one named 'frames'"
    np.savez(path, texture(2))
    path.write_bytes(path.read_bytes()[:500])
    assert reason(path, "array").startswith("a damaged or unsupported .npz file")
    # A bomb: the header asks for more than the limit, the zeros behind it are never inflated.
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (9, 90_000, 90_000, 3)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("frames.npy", header.getvalue() + bytes(10_000_000))
    assert "--max-pixels" in reason(path, "array")


# Whatever comes


STARTS = [
    b"",
    b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2\x00\x00\x00\x10moov\x00\x00\x00\x08mvhd",
    b"RIFF\x40\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x07\x00\x00\x07\x00\x00ANMF\x18\x00\x00\x00",
    b"RIFF\x00\x10\x00\x00AVI LIST",
    b"GIF89a\x08\x00\x08\x00\x80\x00\x00",
    b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x80",
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR",
    b"\x93NUMPY\x01\x00\x46\x00{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 2, 3)}   \n",
    b"\x93NUMPY\x01\x00",
    b"PK\x03\x04",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from(STARTS),
    rest=st.binary(max_size=300),
    name=st.sampled_from(["c.mp4", "c.gif", "c.npy", "c.webp"]),
)
def test_random_bytes_raise_nothing_but_clip_error(start: bytes, rest: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(start + rest)
    try:
        read(path, "array" if name == "c.npy" else "video")
    except ClipError as error:
        assert error.reason and "\n" not in error.reason


SMALL: dict[str, bytes] = {}


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["mp4-index-first", "mkv", "avi", "png", "webp", "gif"]),
    spots=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=8),
    kept=st.floats(0.05, 1),
)
def test_damaged_files_raise_nothing_but_clip_error(
    name: str, spots: list[tuple[float, int]], kept: float, tmp_path: Path
) -> None:
    file, codec, layout, muxer = CUT[name]
    path = tmp_path / file
    if name not in SMALL:
        SMALL[name] = write(
            path, texture(4, 16, 16), codec, layout, muxer=muxer, container="apng" if codec == "apng" else None
        )
    data = bytearray(SMALL[name])
    for where, value in spots:
        data[int(where * len(data))] = value
    path.write_bytes(data[: max(1, int(kept * len(data)))])
    try:
        pixels, facts = read(path, max_pixels=4_000_000, max_frames=1000)
    except ClipError as error:
        assert error.reason and "\n" not in error.reason
    else:
        assert len(pixels) == facts.frames == len(facts.times) > 0
        assert (np.diff(facts.times) > 0).all()


# Encoding


def test_encoded_clip_is_what_browsers_play(tmp_path: Path) -> None:
    frames = texture(12)
    encode_h264(tmp_path / "clip.mp4", frames, 12.5, crf=1)
    data = (tmp_path / "clip.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == Fraction(25, 2)
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (1, 1)
    pixels, facts = read(tmp_path / "clip.mp4")
    assert facts.fps == 12.5
    assert list(tmp_path.iterdir()) == [tmp_path / "clip.mp4"]
    # Chroma is halved, so edges between tiles differ; inside them the colours must return.
    assert np.median(np.abs(pixels.astype(int) - frames)) <= 2


def test_encoded_colors_return(tmp_path: Path) -> None:
    wanted = np.array([[30, 180, 90], [250, 20, 10], [20, 40, 230]], np.uint8)
    frames = np.broadcast_to(wanted[:, None, None], (3, 32, 32, 3))
    encode_h264(tmp_path / "clip.mp4", frames, 3, crf=1)
    pixels, _ = read(tmp_path / "clip.mp4")
    assert np.abs(pixels.astype(int) - frames).max() <= 4


def test_encoding_repeats_byte_for_byte(tmp_path: Path) -> None:
    frames = texture(12)
    rng = np.random.default_rng(0)
    files, made = set(), set()
    for _ in range(30):
        encode_h264(tmp_path / "clip.mp4", frames, 24)
        files.add((tmp_path / "clip.mp4").read_bytes())
        for size in rng.integers(1000, 200_000, 30):  # so that memory is not found as it was left
            rng.bytes(int(size))
        made.add(encode_h264_bytes(list(frames), 24))
    assert len(files) == len(made) == 1


@pytest.mark.parametrize("fps", [29.97, 30000 / 1001, 8.0, 0.5, 7.3, 240.0])
def test_encoded_rate(fps: float, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(encode_h264_bytes(texture(5), fps))
    _, facts = read(tmp_path / "clip.mp4")
    assert facts.fps == pytest.approx(fps, rel=1e-6)
    np.testing.assert_allclose(facts.times, np.arange(5) / fps, atol=1e-4)


def test_odd_sizes_repeat_their_edge(tmp_path: Path) -> None:
    frames = np.full((2, 47, 65, 3), 40, np.uint8)
    frames[:, -1], frames[:, :, -1] = 200, 200
    encode_h264(tmp_path / "clip.mp4", frames, 10, crf=1)
    pixels, _ = read(tmp_path / "clip.mp4")
    assert pixels.shape == (2, 48, 66, 3)
    assert np.abs(pixels[:, -1].astype(int) - 200).max() <= 6
    assert np.abs(pixels[:, :, -1].astype(int) - 200).max() <= 6
    assert np.abs(pixels[:, :40, :60].astype(int) - 40).max() <= 6


def test_a_failed_encoding_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")

    def breaking() -> Iterable[Pixels]:
        yield texture(1)[0]
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        encode_h264(path, breaking(), 10)
    for bad, match in [
        ([], "at least one frame"),
        ([texture(1)[0].astype(np.float32)], "uint8"),
        ([texture(1)[0], texture(1, 40, 40)[0]], "one size"),
    ]:
        with pytest.raises(InputError, match=match):
            encode_h264(path, bad, 10)
    for fps in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="frames per second"):
            encode_h264(path, texture(2), fps)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_importing_the_module_loads_no_decoder() -> None:
    heavy = "{'av', 'cv2', 'pandas', 'torch'}"
    code = f"import sys, vidbench.video, vidbench.damage; print({heavy} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output == "set()\n"

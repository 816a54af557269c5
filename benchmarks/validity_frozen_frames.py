"""How well `frozen_frames` finds held frames after compression, and how often it is wrong.

Held: in every clip one frame is shown 6 times more over what followed it, and the clip is encoded again with H.264.
Steps of the run must be found (recall, and the share of runs found whole); steps outside it must not be (false alarms).
Clips of `REPEATING` hold repeats of their own, as the gap in their differences shows, and don't count for false alarms.
Each line is one setting of the limits: mean, sure local, local, in grey levels; `*` marks the default.

    python benchmarks/validity_frozen_frames.py [--quick] [--clips ../shared/clips]
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vidbench.testing import observe
from vidbench_metrics.extractors.frame_statistics import FrameStatistics, FrameStatisticsObservation
from vidbench_metrics.frozen_frames import FrozenFramesParameters, repeats

HELD = 6
FOLDERS = ("fetv", "real", "videophy")
ENCODINGS = (("18", "medium"), ("23", "medium"), ("23", "veryfast"), ("30", "medium"))
REPEATING = ("decord_pancake", "mm_demo", "ta4", "25.mp4")
"""Starts of the names of clips converted from a lower frame rate, and one that pauses (ground-truth/25)."""
NO_LIMIT = 256.0
SETTINGS = tuple(
    FrozenFramesParameters(sure_local_difference=sure, max_local_difference=limit)
    for sure, limit in ((NO_LIMIT, NO_LIMIT), (2.0, 2.0), (4.0, 4.0), (6.0, 6.0), (1.5, 6.0), (2.0, 6.0))
)

Pixels = NDArray[np.uint8]
Steps = tuple[NDArray[np.float64], NDArray[np.float64]]


def decode(source: Path | io.BytesIO) -> Pixels:
    with av.open(source, "r") as container:
        return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], np.uint8)


def encode(pixels: Pixels, crf: str, preset: str) -> io.BytesIO:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(30))
        stream.height, stream.width = (side - side % 2 for side in pixels.shape[1:3])
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": crf, "preset": preset}
        for frame in pixels:
            even = np.ascontiguousarray(frame[: stream.height, : stream.width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())
    buffer.seek(0)
    return buffer


def steps_of(pixels: Pixels) -> Steps:
    seen = observe(FrameStatistics, pixels)
    if not isinstance(seen, FrameStatisticsObservation):
        raise TypeError("frame_statistics gave another observation")
    return seen.luma_difference, seen.local_difference


def show(what: str, limits: FrozenFramesParameters, held: list[Steps], rest: list[Steps]) -> None:
    found = [repeats(*steps, limits) for steps in held]
    false = [repeats(*steps, limits) for steps in rest]
    recall = f"{np.mean(np.concatenate(found)):.1%}" if found else ""
    whole = f"{np.mean([run.all() for run in found]):.1%}" if found else ""
    overall = np.mean(np.concatenate(false))
    worst = max(part.mean() for part in false if len(part))
    print(
        f"{what:<16}{limits.max_difference:>6.2f}{limits.sure_local_difference:>7.1f}{limits.max_local_difference:>7.1f}"
        f"{recall:>9}{whole:>8}{overall:>14.3%}{worst:>12.1%}{' *' if limits == FrozenFramesParameters() else ''}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parents[2] / "shared" / "clips"
    parser.add_argument("--clips", type=Path, default=Path(os.environ.get("VIDBENCH_TEST_CLIPS", root)))
    parser.add_argument("--quick", action="store_true", help="every fourth clip, one encoding")
    arguments = parser.parse_args()
    if not arguments.clips.is_dir():
        print(f"no clips at {arguments.clips}: nothing measured")
        return 2

    paths = [path for folder in FOLDERS for path in sorted((arguments.clips / folder).rglob("*.mp4"))]
    paths = paths[:: 4 if arguments.quick else 1]
    rng = np.random.default_rng(0)
    encodings = ENCODINGS[1:2] if arguments.quick else ENCODINGS
    own: list[Steps] = []
    held: dict[tuple[str, str], list[Steps]] = {encoding: [] for encoding in encodings}
    rest: dict[tuple[str, str], list[Steps]] = {encoding: [] for encoding in encodings}
    for path in paths:
        clip = decode(path)
        innocent = not path.name.startswith(REPEATING)
        if innocent:
            own.append(steps_of(clip))
        start = int(rng.integers(1, len(clip) - HELD - 1))
        clip[start + 1 : start + 1 + HELD] = clip[start]
        for encoding in encodings:
            means, local = steps_of(decode(encode(clip, *encoding)))
            inside = slice(start, start + HELD)
            held[encoding].append((means[inside], local[inside]))
            if innocent:
                # Two parts, so that what happens in the run can't vouch for what happens beside it.
                rest[encoding] += [(means[:start], local[:start]), (means[inside.stop :], local[inside.stop :])]

    heads = f"{'recall':>9}{'whole':>8}{'false alarms':>14}{'worst part':>12}"
    print(f"{'encoding':<16}{'mean':>6}{'sure':>7}{'local':>7}{heads}")
    for limits in SETTINGS:
        show("as it is", limits, [], own)
    for encoding in encodings:
        for limits in SETTINGS:
            show(f"crf {' '.join(encoding)}", limits, held[encoding], rest[encoding])
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What the frame statistics cost, in multiples of decoding alone.

CPU seconds of this process, all of its threads, of three things done in turn to every clip:

    decode    PyAV to RGB arrays, nothing else
    frames    vidbench's reader, `frame_statistics`, and the five metrics that read it
    flow      the same with `flow_statistics` and `motion_magnitude`

Each clip counts with the fastest of its repeats. Limits: frames 2.0 times decode, flow 6.0 times; exit code 1 beyond.

    python benchmarks/frame_statistics_cost.py [--quick] [--clips ../shared/clips]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from vidbench.clips import Clip
from vidbench.extractor import Extractor
from vidbench.metric import ClipMetric, Observations
from vidbench.video import ClipReader
from vidbench_metrics.black_frames import BlackFrames
from vidbench_metrics.exposure import Exposure
from vidbench_metrics.extractors.flow_statistics import FlowStatistics
from vidbench_metrics.extractors.frame_statistics import FrameStatistics
from vidbench_metrics.frozen_frames import FrozenFrames
from vidbench_metrics.motion_magnitude import MotionMagnitude
from vidbench_metrics.sharpness import Sharpness
from vidbench_metrics.temporal_flickering import TemporalFlickering

FOLDERS = ("fetv", "real", "videophy")
LIMITS = {"frames": 2.0, "flow": 6.0}
FRAME_METRICS: tuple[ClipMetric[Any], ...] = (
    TemporalFlickering(),
    FrozenFrames(),
    BlackFrames(),
    Sharpness(),
    Exposure(),
)


def decode(path: Path) -> None:
    with av.open(path) as container:
        for frame in container.decode(video=0):
            frame.to_ndarray(format="rgb24")


def evaluate(path: Path, extractors: Sequence[Extractor[Any]], metrics: Sequence[ClipMetric[Any]]) -> None:
    clip = Clip(id=path.name, path=path, model=path.parent.name)
    sessions = {extractor.name: extractor.open(clip) for extractor in extractors}
    with ClipReader(clip) as reader:
        for frames in reader:
            for session in sessions.values():
                session.push(frames)
        facts = reader.facts
    seen = Observations({name: session.close() for name, session in sessions.items()}, facts)
    for metric in metrics:
        if metric.score(seen, clip).value is None:
            raise RuntimeError(f"{metric.name} left {path} unscored")


VARIANTS: dict[str, Callable[[Path], None]] = {
    "decode": decode,
    "frames": lambda path: evaluate(path, (FrameStatistics(),), FRAME_METRICS),
    "flow": lambda path: evaluate(path, (FrameStatistics(), FlowStatistics()), (*FRAME_METRICS, MotionMagnitude())),
}


def measure(path: Path, repeats: int) -> dict[str, float]:
    """Fastest CPU seconds of each variant, taken in turn."""
    fastest = dict.fromkeys(VARIANTS, np.inf)
    for _ in range(repeats):
        for name, work in VARIANTS.items():
            start = time.process_time()
            work(path)
            fastest[name] = min(fastest[name], time.process_time() - start)
    return fastest


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parents[2] / "shared" / "clips"
    parser.add_argument("--clips", type=Path, default=Path(os.environ.get("VIDBENCH_TEST_CLIPS", root)))
    parser.add_argument("--quick", action="store_true", help="every fifth clip, two repeats")
    arguments = parser.parse_args()
    if not arguments.clips.is_dir():
        print(f"no clips at {arguments.clips}: nothing measured")
        return 2

    cv2.setNumThreads(1)
    repeats = 2 if arguments.quick else 3
    total = dict.fromkeys(VARIANTS, 0.0)
    print(
        f"{'folder':<10}{'clips':>6}"
        + "".join(f"{name + ' s':>10}" for name in VARIANTS)
        + f"{'frames':>10}{'flow':>8}"
    )
    count = 0
    for folder in FOLDERS:
        paths = sorted((arguments.clips / folder).rglob("*.mp4"))[:: 5 if arguments.quick else 1]
        rows = [measure(path, repeats) for path in paths]
        seconds = {name: sum(row[name] for row in rows) for name in VARIANTS}
        show(folder, len(paths), seconds)
        total = {name: total[name] + seconds[name] for name in VARIANTS}
        count += len(paths)
    ratios = show("all", count, total)
    print(
        f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, PyAV {av.__version__}, "
        f"OpenCV {cv2.__version__} on one thread; fastest of {repeats} repeats"
    )
    over = [name for name, limit in LIMITS.items() if ratios[name] > limit]
    print(f"over the limit: {', '.join(over)}" if over else "within the limits (frames 2.0, flow 6.0)")
    return 1 if over else 0


def show(what: str, clips: int, seconds: dict[str, float]) -> dict[str, float]:
    ratios = {name: seconds[name] / seconds["decode"] for name in LIMITS}
    print(
        f"{what:<10}{clips:>6}"
        + "".join(f"{seconds[name]:>10.2f}" for name in VARIANTS)
        + f"{ratios['frames']:>9.2f}x{ratios['flow']:>7.2f}x"
    )
    return ratios


if __name__ == "__main__":
    sys.exit(main())

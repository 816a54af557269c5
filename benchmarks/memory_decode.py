"""Peak memory of streaming a clip: must not grow with its length.

    python benchmarks/memory_decode.py                  2 minutes and 20 seconds of 1080p
    python benchmarks/memory_decode.py --seconds 4      one short clip, as the tests run it

Each clip is made here (H.264, ultrafast), decoded in a process of its own, and deleted. Prints one JSON object a clip:
seconds, frames, peak resident megabytes of the decoding process, and how far above the same process with all imports
done but nothing decoded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FPS = 30


def make_clip(path: Path, seconds: float, width: int, height: int) -> None:
    """A moving texture, so that the decoder has motion and residuals to work on."""
    from vidbench.video import encode_h264

    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    texture = tiles.repeat(8, 0).repeat(8, 1)[:height, :width]

    def frames() -> Iterator[NDArray[np.uint8]]:
        for number in range(round(seconds * FPS)):
            yield np.roll(texture, 3 * number, axis=1)

    encode_h264(path, frames(), FPS, crf=30, preset="ultrafast")


def measure(path: Path) -> dict[str, float]:
    """Decode in this process; report its peak."""
    import vidbench.decode.container  # noqa: F401 - the imports are the baseline
    from vidbench.clips import Clip
    from vidbench.video import ClipReader

    baseline = peak_megabytes()
    frames = 0
    with ClipReader(Clip(id="clip", path=path, model="model")) as reader:
        for chunk in reader:
            frames += len(chunk)
            del chunk
    peak = peak_megabytes()
    return {"frames": frames, "peak_mb": round(peak, 1), "above_imports_mb": round(peak - baseline, 1)}


def peak_megabytes() -> float:
    """The most this process has ever had resident."""
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss of a child starts at what its parent had; VmHWM does not.
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[120.0, 20.0])
    parser.add_argument("--size", default="1920x1080", help="WIDTHxHEIGHT")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure)))
        return
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        for seconds in arguments.seconds:
            path = Path(folder, "clip.mp4")
            make_clip(path, seconds, width, height)
            command = [sys.executable, __file__, "--measure", str(path)]
            measured = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            print(json.dumps({"seconds": seconds, "size": arguments.size, **json.loads(measured)}), flush=True)


if __name__ == "__main__":
    main()

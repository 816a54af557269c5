"""Peak memory of a run of 1,000 clips against one of 100: the main process, its workers, and all together.

    python benchmarks/memory_run.py

Clips are small and made here; memory is the sum of proportional set sizes (USS where the system has no PSS), sampled
twenty times a second.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from vidbench.video import encode_h264


def make_clips(folder: Path, n: int) -> None:
    """Write n clips of 8 frames of 64x64, each different."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(n):
        base = rng.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
        shifted = [np.roll(base[0], t, axis=1) for t in range(8)]
        encode_h264(folder / f"{number:04d}.mp4", np.stack(shifted), 8.0)


def peak(clips: Path, out: Path, more: list[str]) -> tuple[float, float]:
    """Peak MB of the main process and of the whole tree."""
    command = [sys.executable, "-m", "vidbench", "run", str(clips), "--out", str(out), "--no-cache", "-q", *more]
    process = psutil.Popen(command)
    main_peak = tree_peak = 0.0
    while process.poll() is None:
        try:
            sizes = [_megabytes(p) for p in [process, *process.children(recursive=True)]]
        except psutil.NoSuchProcess:
            continue
        main_peak, tree_peak = max(main_peak, sizes[0]), max(tree_peak, sum(sizes))
        time.sleep(0.05)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return main_peak, tree_peak


def _megabytes(process: psutil.Process) -> float:
    info = process.memory_full_info()
    return float(getattr(info, "pss", info.uss)) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 and 100 clips; not for publishing")
    parser.add_argument("--reference", action="store_true", help="with a reference set, so that set metrics run too")
    args = parser.parse_args()
    small, large = (20, 100) if args.quick else (100, 1000)
    with tempfile.TemporaryDirectory() as scratch:
        peaks = {}
        make_clips(Path(scratch) / "reference", 100)
        more = ["--reference", str(Path(scratch) / "reference")] if args.reference else []
        for n in (small, large):
            make_clips(Path(scratch) / f"clips{n}", n)
            peaks[n] = peak(Path(scratch) / f"clips{n}", Path(scratch) / f"out{n}", more)
            print(f"{n:5d} clips: main {peaks[n][0]:6.0f} MB, all processes {peaks[n][1]:6.0f} MB")
        print(f"ratio: main {peaks[large][0] / peaks[small][0]:.3f}, all {peaks[large][1] / peaks[small][1]:.3f}")


if __name__ == "__main__":
    main()

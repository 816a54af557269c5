"""Runs killed (SIGKILL) at random moments and resumed by the same command, against an uninterrupted run.

    python benchmarks/kill_resume.py

Each attempt is killed up to three times at moments spread over the uninterrupted run's whole duration. It counts as
equal when the sorted lines of scores.jsonl and the bytes of summary.json are those of the uninterrupted run, and no
clip that was finished before a kill was evaluated again.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vidbench.video import encode_h264


def make_clips(folder: Path, n: int) -> None:
    """Two models, n clips in all, with prompts."""
    rng = np.random.default_rng(0)
    lines = ["file_name,prompt"]
    for number in range(n):
        name = f"{'ab'[number % 2]}/{number:03d}.mp4"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        base = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        encode_h264(folder / name, np.stack([np.roll(base, 2 * t, axis=1) for t in range(16)]), 8.0)
        lines.append(f"{name},prompt {number // 2}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def result(out: Path) -> tuple[list[bytes], bytes]:
    """What must be equal."""
    return sorted((out / "scores.jsonl").read_bytes().splitlines()), (out / "summary.json").read_bytes()


def rows(out: Path) -> dict[str, str]:
    """Finished rows of clips.jsonl: clip to its line."""
    path = out / "clips.jsonl"
    whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return {json.loads(line)["clip"]: line.decode() for line in whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=20)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        clips = Path(scratch) / "clips"
        make_clips(clips, args.clips)
        make_clips(Path(scratch) / "real", 6)

        def command(out: Path) -> list[str]:
            return [
                *(sys.executable, "-m", "vidbench", "run", str(clips), "--out", str(out), "--reference"),
                *(str(Path(scratch) / "real"), "--no-cache", "-q"),
            ]

        began = time.monotonic()
        subprocess.run(command(Path(scratch) / "whole"), check=True)
        duration = time.monotonic() - began
        expected = result(Path(scratch) / "whole")
        equal = 0
        for attempt in range(args.attempts):
            out = Path(scratch) / f"out{attempt}"
            finished: list[int] = []
            repeated = 0
            for _ in range(chance.randint(1, 3)):
                before = rows(out)
                process = subprocess.Popen(command(out))
                try:
                    process.wait(chance.uniform(0.0, duration))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                after = rows(out)
                repeated += sum(before[clip] != after[clip] for clip in before.keys() & after.keys())
                finished.append(len(after))
            before = rows(out)
            subprocess.run(command(out), check=True)
            after = rows(out)
            repeated += sum(before[clip] != after[clip] for clip in before)
            same = result(out) == expected and repeated == 0
            equal += same
            print(
                f"attempt {attempt + 1:2d}: killed with {finished} clips finished: {'equal' if same else 'DIFFERENT'}"
            )
        print(f"{equal} of {args.attempts} equal an uninterrupted run ({duration:.1f} s each when uninterrupted)")
    sys.exit(equal != args.attempts)


if __name__ == "__main__":
    main()

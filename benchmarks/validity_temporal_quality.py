"""What `temporal_quality` is worth: agreement with people on FETV, and known damage on real footage.

Confound-controlled setting: first 16 frames, 8 a second, reduced to a short side of 120 pixels, the centre 120 x 120,
enlarged to 256, so that no source is told by its size or length. `native` takes the clips as they are.

Ratings: Spearman's rho over all rated clips, without ground truth, mean within prompts and within sources, each source
left out; 95 % percentile intervals over prompts (they do not cover the choice of the 5 sources). AUROC: real clips
against generated ones of all prompts, which needs no ratings.

Damage: for three strengths, the mean rank correlation of strength and loss, and the share of clips that score lower at
the strongest. Held, frozen and panned clips must never win.

No metric reads ratings; this does, to say what the numbers are worth.

    python benchmarks/validity_temporal_quality.py [--quick] [--clips ../shared/clips]
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from vidbench.clips import Clip
from vidbench.damage import damage
from vidbench.testing import score
from vidbench.video import ClipReader
from vidbench_metrics.extractors.motion_consistency import stride_for
from vidbench_metrics.temporal_quality import TemporalQuality

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]
LADDERS: dict[str, tuple[float, ...]] = {
    "jitter": (0.05, 0.1, 0.25),
    "drop": (0.2, 0.4, 0.8),
    "freeze": (0.15, 0.3, 0.5),  # held frames
    "shuffle": (0.1, 0.2, 0.4),
    "flicker": (0.1, 0.2, 0.4),
    "warp": (0.1, 0.2, 0.4),
    "morph": (0.2, 0.4, 0.75),
    "noise": (0.08, 0.16, 0.31),
    "blend": (0.2, 0.4, 0.6),
    "fade": (0.15, 0.3, 0.6),
}
TRICKS = {"frozen": ("freeze", 1.0), "still pan": ("pan", 1.0)}


def read(path: Path) -> tuple[Pixels, float]:
    """All frames at a stride nearest to 8 a second, and their rate."""
    with ClipReader(Clip(id=path.name, path=path, model=path.parent.name)) as reader:
        pixels = np.concatenate([frames.pixels.copy() for frames in reader])
        times = reader.facts.times
    interval = float(times[1] - times[0])
    stride = stride_for(interval, 8.0)
    return pixels[::stride], 1 / (stride * interval)


def controlled(pixels: Pixels) -> Pixels:
    out = []
    for frame in pixels[:16]:
        height, width = frame.shape[:2]
        scale = 120 / min(height, width)
        size = max(120, round(width * scale)), max(120, round(height * scale))
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        y, x = (size[1] - 120) // 2, (size[0] - 120) // 2
        out.append(cv2.resize(small[y : y + 120, x : x + 120], (256, 256), interpolation=cv2.INTER_CUBIC))
    return np.asarray(out, np.uint8)


def value_of(pixels: Pixels, fps: float = 8.0) -> float:
    result = score(TemporalQuality, pixels, fps=fps)
    if result.value is None:
        raise RuntimeError(f"unscored: {result.reason}")
    return result.value


def rho(a: Values, b: Values) -> float:
    """Spearman's rho; NaN where a side is constant."""
    return float(spearmanr(a, b).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else float("nan")


def within(a: Values, b: Values, groups: NDArray[np.str_]) -> float:
    return float(np.nanmean([rho(a[groups == group], b[groups == group]) for group in sorted(set(groups))]))


def agreement(values: dict[str, float], ratings: dict[str, float], draws: int) -> None:
    names = sorted(ratings)
    a, b = np.array([values[name] for name in names]), np.array([ratings[name] for name in names])
    sources, prompts = (np.array([name.split("/")[part] for name in names]) for part in (0, 1))
    generated = sources != "ground-truth"
    rng = np.random.default_rng(0)
    kinds = sorted(set(prompts))
    drawn = [
        np.concatenate([np.flatnonzero(prompts == kinds[i]) for i in rng.integers(0, len(kinds), len(kinds))])
        for _ in range(draws)
    ]

    def told(what: str, keep: NDArray[np.bool_], prompt_mean: bool = False) -> None:
        def measure(rows: NDArray[np.int64]) -> float:
            if not prompt_mean:
                return rho(a[rows], b[rows])
            per = {kind: rho(a[prompts == kind], b[prompts == kind]) for kind in kinds}
            return float(np.nanmean([per[kind] for kind in prompts[rows]]))

        rows = np.flatnonzero(keep)
        spread = [measure(pick[keep[pick]]) for pick in drawn]
        low, high = np.nanpercentile(spread, [2.5, 97.5])
        print(f"| {what} | {measure(rows):+.2f} [{low:+.2f}, {high:+.2f}] |")

    print(f"| {len(names)} rated clips, {len(kinds)} prompts | rho |\n|---|---|")
    told("all", np.ones(len(names), bool))
    told("generated only", generated)
    told("mean within prompts", np.ones(len(names), bool), prompt_mean=True)
    for source in sorted(set(sources)):
        told(f"without {source}", sources != source)
    print(f"| mean within sources | {within(a, b, sources):+.2f} |")
    order = sorted(set(sources), key=lambda source: -float(a[sources == source].mean()))
    theirs = sorted(set(sources), key=lambda source: -float(b[sources == source].mean()))
    means = [[float(side[sources == source].mean()) for source in order] for side in (a, b)]
    print(f"\norder of sources: {' > '.join(order)}\npeople's order:   {' > '.join(theirs)}")
    print(f"Kendall's tau of the means {kendalltau(*means).statistic:+.2f}; ours {np.round(means[0], 2).tolist()}")


def damages(clips: Sequence[Pixels], scores: Sequence[float], what: str) -> None:
    print(f"\n| damage, {len(clips)} {what} clips | monotonicity | lower at the strongest |\n|---|---|---|")
    for name, strengths in LADDERS.items():
        rows = np.array(
            [
                [was, *(value_of(damage(name, clip, s)) for s in strengths)]
                for clip, was in zip(clips, scores, strict=True)
            ]
        )
        steady = np.nanmean([-rho(np.arange(rows.shape[1], dtype=float), row) for row in rows])
        print(f"| {name} | {steady:.2f} | {np.mean(rows[:, -1] < rows[:, 0]):.0%} |")
    for trick, (name, strength) in TRICKS.items():
        wins = [value_of(damage(name, clip, strength)) >= was for clip, was in zip(clips, scores, strict=True)]
        print(f"| {trick} |  | {1 - np.mean(wins):.0%} (wins {sum(wins)}) |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parents[2] / "shared" / "clips"
    parser.add_argument("--clips", type=Path, default=Path(os.environ.get("VIDBENCH_TEST_CLIPS", root)))
    parser.add_argument("--quick", action="store_true", help="200 draws, every third clip damaged")
    arguments = parser.parse_args()
    fetv = arguments.clips / "fetv"
    if not fetv.is_dir():
        print(f"no clips at {fetv}: nothing measured")
        return 2
    cv2.setNumThreads(1)
    draws = 200 if arguments.quick else 2000

    with (fetv / "ratings.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["temporal_quality"]]
    ratings = {row["file_name"].removesuffix(".mp4"): float(row["temporal_quality"]) for row in rows}
    paths = {f"{path.parent.name}/{path.stem}": path for path in sorted(fetv.glob("*/*.mp4"))}
    paths |= {f"real/{path.stem}": path for path in sorted((arguments.clips / "real").glob("*.mp4"))}
    began = time.process_time()
    native = {name: read(path) for name, path in paths.items()}
    decoding = time.process_time() - began
    clips = {name: controlled(pixels) for name, (pixels, _) in native.items()}
    began = time.process_time()
    values = {name: value_of(pixels, fps) for name, (pixels, fps) in native.items()}
    scoring = time.process_time() - began
    print(f"cost: {scoring:.1f} CPU-seconds for {len(paths)} clips, {scoring / decoding:.2f} times their decoding\n")
    print("native\n")
    agreement(values, ratings, draws)
    print("\nconfound-controlled\n")
    values = {name: value_of(pixels) for name, pixels in clips.items()}
    agreement(values, ratings, draws)

    made = np.array([v for name, v in values.items() if not name.startswith(("ground-truth/", "real/"))])
    for group in ("ground-truth", "real"):
        real = np.array([v for name, v in values.items() if name.startswith(f"{group}/")])
        area = np.mean(real[:, None] > made[None]) + 0.5 * np.mean(real[:, None] == made[None])
        print(f"AUROC of {len(real)} {group} clips against {len(made)} generated: {area:.2f}")
    for group in ("ground-truth", "real"):
        names = [name for name in values if name.startswith(f"{group}/")][:: 3 if arguments.quick else 1]
        damages([clips[name] for name in names], [values[name] for name in names], group)
    return 0


if __name__ == "__main__":
    sys.exit(main())

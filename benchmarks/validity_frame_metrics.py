"""How far the frame metrics agree with people, on the 35 rated clips of FETV.

Spearman's rho between each metric and the mean human rating of temporal and of static quality, with a 95 % bootstrap
interval over prompts (clips of one prompt are drawn together; the choice of the 5 sources is not covered). A metric
whose lower values are better is turned round first, so a positive rho always means agreement. Two ratios of the flow
are shown beside the metrics because they are what a temporal quality would be built on.

No metric reads ratings; this does, to say what the numbers are worth.

    python benchmarks/validity_frame_metrics.py [--quick] [--clips ../shared/clips]
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, Observations
from vidbench.video import ClipReader
from vidbench_metrics.black_frames import BlackFrames
from vidbench_metrics.exposure import Exposure
from vidbench_metrics.extractors.flow_statistics import FlowStatistics, FlowStatisticsObservation
from vidbench_metrics.extractors.frame_statistics import FrameStatistics
from vidbench_metrics.frozen_frames import FrozenFrames
from vidbench_metrics.motion_magnitude import MotionMagnitude
from vidbench_metrics.sharpness import Sharpness
from vidbench_metrics.temporal_flickering import TemporalFlickering

METRICS: tuple[ClipMetric[Any], ...] = (
    TemporalFlickering(),
    FrozenFrames(),
    BlackFrames(),
    Sharpness(),
    Exposure(),
    MotionMagnitude(),
)
RATINGS = ("temporal_quality", "static_quality")
Values = NDArray[np.float64]


def evaluate(path: Path) -> dict[str, float]:
    clip = Clip(id=path.name, path=path, model=path.parent.name)
    sessions = {extractor.name: extractor.open(clip) for extractor in (FrameStatistics(), FlowStatistics())}
    with ClipReader(clip) as reader:
        for frames in reader:
            for session in sessions.values():
                session.push(frames)
        facts = reader.facts
    seen = Observations({name: session.close() for name, session in sessions.items()}, facts)
    values: dict[str, float] = {}
    for metric in METRICS:
        value = metric.score(seen, clip).value
        if value is None:
            raise RuntimeError(f"{metric.name} left {path} unscored")
        values[metric.name] = value if metric.higher_is_better else -value
    flow = seen.of("flow_statistics", FlowStatisticsObservation)
    values["- acceleration / magnitude"] = -float(flow.acceleration.mean() / flow.magnitude.mean())
    values["direction cosine of the flow"] = float((flow.agreement / flow.agreement_bound).mean())
    return values


def rank_correlation(a: Values, b: Values) -> float | None:
    """Spearman's rho; None where a side is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)


def bootstrap(values: Values, ratings: Values, prompts: Sequence[str], draws: int) -> tuple[float, float] | None:
    """95 % percentile interval of rho over draws of whole prompts."""
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(np.array(prompts) == prompt) for prompt in sorted(set(prompts))]
    found = []
    for _ in range(draws):
        chosen = np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
        rho = rank_correlation(values[chosen], ratings[chosen])
        if rho is not None:
            found.append(rho)
    if len(found) < draws / 2:
        return None
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def told(values: Values, ratings: Values, prompts: Sequence[str], draws: int) -> str:
    rho = rank_correlation(values, ratings)
    if rho is None:
        return "constant"
    interval = bootstrap(values, ratings, prompts, draws)
    return f"{rho:+.2f}" + (f" [{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else " [no interval]")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parents[2] / "shared" / "clips"
    parser.add_argument("--clips", type=Path, default=Path(os.environ.get("VIDBENCH_TEST_CLIPS", root)))
    parser.add_argument("--quick", action="store_true", help="200 bootstrap draws in place of 2,000")
    arguments = parser.parse_args()
    fetv = arguments.clips / "fetv"
    if not fetv.is_dir():
        print(f"no clips at {fetv}: nothing measured")
        return 2
    cv2.setNumThreads(1)
    draws = 200 if arguments.quick else 2000

    paths = sorted(fetv.glob("*/*.mp4"))
    table = {path.relative_to(fetv).as_posix(): evaluate(path) for path in paths}
    names = list(next(iter(table.values())))
    signs = {metric.name: 1.0 if metric.higher_is_better else -1.0 for metric in METRICS}

    models = sorted({path.parent.name for path in paths})
    print(f"Means over the {len(paths)} clips, by source\n")
    print("| metric | " + " | ".join(models) + " |")
    print("|---" * (len(models) + 1) + "|")
    for name in names:
        means = [
            np.mean([row[name] for clip, row in table.items() if clip.startswith(f"{model}/")]) for model in models
        ]
        print(f"| {name} | " + " | ".join(f"{signs.get(name, 1.0) * mean + 0.0:.4g}" for mean in means) + " |")

    with (fetv / "ratings.csv").open(newline="", encoding="utf-8") as file:
        rated = [row for row in csv.DictReader(file) if row["temporal_quality"] and row["file_name"] in table]
    prompts = [Path(row["file_name"]).stem for row in rated]
    generated = np.array([not row["file_name"].startswith("ground-truth/") for row in rated])
    print(
        f"\nSpearman's rho with people: {len(rated)} clips of {len(set(prompts))} prompts, {draws} draws of prompts\n"
    )
    print("| metric | temporal quality | temporal, generated only | static quality |")
    print("|---|---|---|---|")
    for name in names:
        values = np.array([table[row["file_name"]][name] for row in rated])
        temporal, static = (np.array([float(row[rating]) for row in rated]) for rating in RATINGS)
        kept = [prompt for prompt, keep in zip(prompts, generated, strict=True) if keep]
        cells = (
            told(values, temporal, prompts, draws),
            told(values[generated], temporal[generated], kept, draws),
            told(values, static, prompts, draws),
        )
        print(f"| {name} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

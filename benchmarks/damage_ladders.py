"""Whether distances of sets grow with known damage: ladders of five strengths on real shots.

Every clip of a set of real shots is damaged a little, then more, and the set is compared with what it was. Printed are
the distances and Spearman's rho of strength and distance. `reverse` plays a growing share of the clips backwards; all
other damage is done to every clip. For `fvd` the network has the portable random weights of `shared/oracles`: its
ladders say what the architecture and the formula see, not what the published weights would.

Shuffled and reversed sets are told from the original by permutation. Shuffle: labels *original* and *damaged* are
exchanged within pairs of a clip and its damaged self, and the distance of the two heaps that result is compared with
the true one. Reverse: the same; since what a video shows in all its shots is one piece of evidence, labels are also
exchanged by video. A set is told apart by chance in one of twenty. `unpaired`: the set is halved by video, and one half
is compared with the other before and after damage; the share of halvings in which damage is farther.

    python benchmarks/damage_ladders.py [--quick] [--fvd N] [--clips ../shared/clips]
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.util
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from vidbench.clips import Clip
from vidbench.damage import damage
from vidbench.frechet import GaussianState, add_rows, frechet_distance
from vidbench.video import ClipReader
from vidbench_metrics.extractors.efficientnet_lite0 import _thumbnail, features, load_network, weights_file
from vidbench_metrics.extractors.i3d import I3DParameters, prepare
from vidbench_metrics.extractors.motion_consistency import stride_for
from vidbench_metrics.frechet_video_distance_lite import stretches

Pixels = NDArray[np.uint8]
Rows = NDArray[np.floating]
Describe = Callable[[Pixels], Rows]
DAMAGES = ("blur", "noise", "block", "displace", "drop", "shuffle", "reverse", "freeze", "jitter", "drift", "warp")
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
FRAMES = 16
SIDE = 160


def read(path: Path) -> Pixels:
    """The first 16 frames at a stride nearest to 8 a second, short side 160."""
    with ClipReader(Clip(id=path.name, path=path, model="real")) as reader:
        pixels = np.concatenate([frames.pixels.copy() for frames in reader])
        times = reader.facts.times
    pixels = pixels[:: stride_for(float(times[1] - times[0]), 8.0)][:FRAMES]
    height, width = pixels.shape[1:3]
    scale = SIDE / min(height, width)
    size = round(width * scale), round(height * scale)
    return np.stack([np.asarray(cv2.resize(f, size, interpolation=cv2.INTER_AREA), np.uint8) for f in pixels])


class Lite:
    """Rows of `frechet_video_distance_lite`; a frame that was seen before is not looked at again."""

    def __init__(self) -> None:
        self.network = load_network(weights_file())
        self.seen: dict[bytes, Rows] = {}

    def __call__(self, clip: Pixels) -> Rows:
        """(14, 48)."""
        found = []
        for frame in clip:
            key = hashlib.sha256(np.ascontiguousarray(frame).tobytes()).digest()
            if key not in self.seen:
                self.seen[key] = features(self.network, [_thumbnail(frame)])[0]
            found.append(self.seen[key])
        return stretches(np.stack(found))


class RandomFvd:
    """One row of 400 logits a clip, Inception-I3D with the oracle's random weights, StyleGAN-V's squash."""

    def __init__(self, oracle: Path) -> None:
        import torch

        from vidbench_metrics.i3d_network import load_checkpoint

        spec = importlib.util.spec_from_file_location("i3d_random_weights", oracle)
        if spec is None or spec.loader is None:
            raise RuntimeError(f"cannot read {oracle}")
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        file = io.BytesIO()
        torch.save({key: torch.from_numpy(value) for key, value in module.random_state(0).items()}, file)
        self.network = load_checkpoint(file.getvalue(), 1e-3, "random weights")

    def __call__(self, clip: Pixels) -> Rows:
        """(1, 400)."""
        import torch

        window = torch.stack([prepare(frame, I3DParameters()) for frame in clip], dim=1)[None]
        with torch.inference_mode():
            return np.asarray(self.network(window).numpy())


def gaussian(parts: Sequence[Rows]) -> GaussianState:
    return functools.reduce(add_rows, parts, GaussianState())


def distance(a: Sequence[Rows], b: Sequence[Rows]) -> float:
    return frechet_distance(gaussian(a), gaussian(b))


def damaged(name: str, clips: Sequence[Pixels], strength: float) -> list[Pixels]:
    if name != "reverse":
        return [damage(name, clip, strength, seed) for seed, clip in enumerate(clips)]
    turned = np.random.default_rng(0).permutation(len(clips))[: round(strength * len(clips))]
    return [clip[::-1] if seed in turned else clip for seed, clip in enumerate(clips)]


def ladders(what: str, describe: Describe, clips: Sequence[Pixels]) -> dict[str, list[Rows]]:
    """Print all ladders; returns the rows at full strength by damage, and the undamaged ones by ''."""
    original = [describe(clip) for clip in clips]
    ends = {"": original}
    print(f"\n{what}, {len(clips)} clips\n")
    print("| damage | " + " | ".join(f"{s:.1f}" for s in STRENGTHS) + " | rho |")
    print("|---" * (len(STRENGTHS) + 2) + "|")
    for name in DAMAGES:
        values = []
        for strength in STRENGTHS:
            rows = [describe(clip) for clip in damaged(name, clips, strength)]
            values.append(distance(rows, original))
        ends[name] = rows
        steady = float(spearmanr(STRENGTHS, values).statistic)
        print(f"| {name} | " + " | ".join(f"{v:.4g}" for v in values) + f" | {steady:+.2f} |", flush=True)
    return ends


def exchanged(a: Sequence[Rows], b: Sequence[Rows], groups: Sequence[str], draws: int) -> tuple[float, float]:
    """The true distance, and the share of exchanges within pairs, by group, that give as large a one (with itself)."""
    rng = np.random.default_rng(0)
    true, kinds, as_large = distance(a, b), sorted(set(groups)), 1
    for _ in range(draws):
        swap = dict(zip(kinds, rng.random(len(kinds)) < 0.5, strict=True))
        pairs = [(y, x) if swap[g] else (x, y) for x, y, g in zip(a, b, groups, strict=True)]
        as_large += distance([x for x, _ in pairs], [y for _, y in pairs]) >= true * (1 - 1e-12)
    return true, as_large / (draws + 1)


def unpaired(a: Sequence[Rows], b: Sequence[Rows], groups: Sequence[str], draws: int) -> float:
    rng = np.random.default_rng(0)
    kinds, farther = sorted(set(groups)), 0
    for _ in range(draws):
        first = set(rng.permutation(kinds)[: len(kinds) // 2])
        ours = [i for i, group in enumerate(groups) if group in first]
        rest = [a[i] for i, group in enumerate(groups) if group not in first]
        farther += distance([b[i] for i in ours], rest) > distance([a[i] for i in ours], rest)
    return farther / draws


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parents[2] / "shared"
    parser.add_argument("--clips", type=Path, default=Path(os.environ.get("VIDBENCH_TEST_CLIPS", root / "clips")))
    parser.add_argument("--oracle", type=Path, default=root / "oracles" / "i3d_random_weights.py")
    parser.add_argument("--fvd", type=int, default=12, metavar="N", help="clips for fvd's ladders; 0 leaves them out")
    parser.add_argument("--quick", action="store_true", help="every fifth clip, 50 draws, no fvd")
    arguments = parser.parse_args()
    paths = sorted((arguments.clips / "real").glob("*.mp4"))[:: 5 if arguments.quick else 2]
    if not paths:
        print(f"no clips at {arguments.clips / 'real'}: nothing measured")
        return 2
    cv2.setNumThreads(1)
    draws = 50 if arguments.quick else 500
    # I3D's window is 16 frames, so shorter shots are left out.
    read_clips = [(path.stem, read(path)) for path in paths]
    kept = [(name, clip) for name, clip in read_clips if len(clip) == FRAMES]
    names, clips = [name for name, _ in kept], [clip for _, clip in kept]
    videos = [name.rsplit("_", 1)[0] for name in names]

    ends = ladders("frechet_video_distance_lite", Lite(), clips)
    print(f"\nfrechet_video_distance_lite: told from the original, {draws} exchanges\n")
    print("| damage at full strength | distance | p by clip | p by video | unpaired: farther |\n|---|---|---|---|---|")
    for name in ("shuffle", "reverse"):
        rows = ends[name]
        true, by_clip = exchanged(ends[""], rows, names, draws)
        _, by_video = exchanged(ends[""], rows, videos, draws)
        print(f"| {name} | {true:.3g} | {by_clip:.3f} | {by_video:.3f} | {unpaired(ends[''], rows, videos, 50):.0%} |")
    if arguments.fvd and not arguments.quick:
        if not arguments.oracle.is_file():
            print(f"no random weights at {arguments.oracle}: fvd is left out")
            return 0
        step = max(1, len(clips) // arguments.fvd)
        ladders("fvd, random weights (not the published ones)", RandomFvd(arguments.oracle), clips[::step])
    return 0


if __name__ == "__main__":
    sys.exit(main())

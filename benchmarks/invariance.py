"""Whether the plausibility checks say the same of a clip mirrored, resized, encoded again or given fewer frames.

None of these changes what happens in a clip. The clips are a sample of a folder that `vidbench physics make` wrote,
half of them with a violation; without `--from` a small set is rendered first. Each version is a file that is decoded
again, with the frame rate and the scale that belong to it. Dropping every third frame makes an uneven motion, as a
careless conversion does.

    python -m benchmarks.invariance [--from FOLDER] [--count 24] [--out FOLDER] [--model FILE]
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip, discover
from vidbench.errors import InputError
from vidbench.files import default_folder
from vidbench.stats import wilson_interval
from vidbench.video import ClipReader, encode_h264
from vidbench_metrics.physics.model import PhysicsModel, shipped
from vidbench_suites.physics import make as suite
from vidbench_suites.physics.scoring import Row, score_tables
from vidbench_suites.physics.tables import TRUTH, default_observer, gather

Pixels = NDArray[np.uint8]
SEED = 20261124
SMALL: dict[str, Any] = {
    "looks": ("flat2d", "lit3d"),
    "kinds": ("vanish", "appear", "swap", "teleport", "energy_gain", "time_reversed", "freeze", "jump_cut"),
    "control_names": ("occlusion", "shake", "rest", "bounce"),
}
"""What is rendered where no folder is named."""
FINE = 12
"""CRF of versions whose encoding is not what is tested."""
LEAST_FPS = 24.0
"""Half the frames are taken only of clips with at least this rate."""


@dataclass(frozen=True)
class Version:
    """A change that leaves alone what happens."""

    name: str
    change: Callable[[Pixels], Pixels]
    crf: int = FINE
    time: float = 1.0
    """New frame rate by the old one."""
    scale: float = 1.0
    """New pixels by old ones."""
    least_fps: float = 0.0


def resized(factor: float) -> Callable[[Pixels], Pixels]:
    """Resizes every frame; sides stay even."""

    def change(pixels: Pixels) -> Pixels:
        height, width = (max(2, round(side * factor / 2) * 2) for side in pixels.shape[1:3])
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        return np.stack([np.asarray(cv2.resize(f, (width, height), interpolation=how), np.uint8) for f in pixels])

    return change


VERSIONS = (
    Version("encoded again, CRF 12", lambda pixels: pixels),
    Version("mirrored", lambda pixels: pixels[:, :, ::-1]),
    Version("resized, 0.75", resized(0.75), scale=0.75),
    Version("resized, 1.5", resized(1.5), scale=1.5),
    Version("encoded again, CRF 28", lambda pixels: pixels, crf=28),
    Version("every second frame", lambda pixels: pixels[::2], time=1 / 2, least_fps=LEAST_FPS),
    Version("every third frame dropped", lambda pixels: pixels[np.arange(len(pixels)) % 3 != 2], time=2 / 3),
)


def sample(folder: Path, count: int) -> list[Clip]:
    """So many clips of a folder, as many with a violation as without where it has as many.

    Raises:
        InputError: the folder has no truth.
    """
    if not (folder / TRUTH).is_file():
        raise InputError(f"{folder} has no {TRUTH}; make it with `vidbench physics make -o {folder}`")
    lines = (folder / TRUTH).read_text(encoding="utf-8").splitlines()
    possible = {row["clip"]: bool(row["possible"]) for row in map(json.loads, lines)}
    clips = {clip.id: clip for clip in discover(folder).clips}
    rng = np.random.default_rng(SEED)
    chosen: list[Clip] = []
    for wanted, share in ((False, count // 2), (True, count - count // 2)):
        names = sorted(name for name, is_possible in possible.items() if is_possible is wanted and name in clips)
        chosen += [clips[names[i]] for i in sorted(rng.permutation(len(names))[:share])]
    return chosen


def write(clips: Sequence[Clip], out: Path) -> None:
    """Every version of every clip, a clip folder with metadata.csv for each, and `as it was`."""
    tables: dict[str, list[tuple[str, float, float | None]]] = {version.name: [] for version in VERSIONS}
    tables["as it was"] = []
    for number, clip in enumerate(clips):
        with ClipReader(clip) as reader:
            pixels = np.concatenate([chunk.pixels for chunk in reader])
            fps = reader.facts.fps or LEAST_FPS
        name = f"{number:03d}-{Path(clip.id).name}"
        (out / "as it was").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clip.path, out / "as it was" / name)
        tables["as it was"].append((name, fps, clip.pixels_per_meter))
        for version in VERSIONS:
            if fps < version.least_fps:
                continue
            (out / version.name).mkdir(parents=True, exist_ok=True)
            encode_h264(out / version.name / name, version.change(pixels), fps * version.time, crf=version.crf)
            scale = None if clip.pixels_per_meter is None else clip.pixels_per_meter * version.scale
            tables[version.name].append((name, fps * version.time, scale))
    for folder, rows in tables.items():
        if rows:
            with (out / folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(["file_name", "fps", "pixels_per_meter", "gravity"])
                for name, fps, scale in rows:
                    table.writerow([name, f"{fps:.6g}", *(("", "") if scale is None else (f"{scale:.6g}", "[0, 1]"))])


def rows_of(folder: Path, model: PhysicsModel, cache: Path) -> dict[str, Row]:
    """The clips of a folder by name, judged."""
    if not folder.is_dir():
        return {}
    gathered = gather([], default_observer(), innocent=[folder], cache=cache)
    for reason in gathered.failed:
        print(f"left aside: {reason}")
    return {Path(row.clip).name: row for row in score_tables([(table, model) for table in gathered.tables])}


def share(hits: Sequence[bool]) -> str:
    """A share with its 95 % interval and count."""
    if not hits:
        return "n/a"
    between = wilson_interval(sum(hits), len(hits))
    return f"{sum(hits)}/{len(hits)} {sum(hits) / len(hits):.2f} [{between.low:.2f}, {between.high:.2f}]"


def compare(name: str, before: dict[str, Row], after: dict[str, Row]) -> str:
    """One line of the table."""
    pairs = [(before[clip], after[clip]) for clip in before if clip in after]
    moved = [abs(a.suspicion - b.suspicion) for a, b in pairs if a.suspicion is not None and b.suspicion is not None]
    cells = [
        name,
        str(len(pairs)),
        share([a.alarm == b.alarm for a, b in pairs]),
        share([b.alarm for a, b in pairs if a.alarm]),
        share([not b.alarm for a, b in pairs if not a.alarm]),
        *(
            share([(group in a.not_judged) == (group in b.not_judged) for a, b in pairs])
            for group in ("object", "whole_frame")
        ),
        f"{np.median(moved):.2f}" if moved else "n/a",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, default=None, help="made by `vidbench physics make`")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--out", type=Path, default=default_folder() / "invariance")
    parser.add_argument("--model", type=Path, default=None, help="instead of the shipped one")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    source = args.source
    if source is None:
        source = args.out / "set"
        suite.make(source, suite.Options(seed=SEED, pairs=1, controls=1, **SMALL))
    clips = sample(source, args.count)
    versions = args.out / "versions"
    if versions.exists():
        shutil.rmtree(versions)
    write(clips, versions)
    model = shipped() if args.model is None else PhysicsModel.load(args.model)
    before = rows_of(versions / "as it was", model, args.out / "events")
    print(
        f"model {model.checksum[:19]}, made for {model.false_alarms:g} false alarms; {len(before)} clips, seed {SEED}"
    )
    trained = sum(row.trained_on for row in before.values())
    if trained:
        print(f"{trained} of these clips, as they were, were in the model's training")
    print(
        "| version | n | same verdict | finding kept | no finding kept | object checks judge as before "
        "| whole-frame checks judge as before | median change of log-odds |"
    )
    print("|" + "---|" * 8)
    for version in VERSIONS:
        print(compare(version.name, before, rows_of(versions / version.name, model, args.out / "events")))


if __name__ == "__main__":
    main()

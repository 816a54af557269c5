"""Whether the plausibility checks find damage that was planted by hand in real footage.

Outlines of moving things in real shots, drawn by hand, stand in `planted_masks.json` with the damage that is done
there. Each damaged clip stands beside its shot, cut to the same length and encoded in the same way, untouched: what is
told apart is the damage alone. Several damages of one shot share that twin. The set is written as `vidbench physics
make` writes its own, so `vidbench physics score FOLDER` reads it too.

    python -m benchmarks.planted_damage [--clips ../shared/clips] [--out FOLDER] [--model FILE] [--only TEXT] [--write]

--write makes the clips and stops; --only takes the damages whose name holds TEXT, which is for looking, not for
publication.

What the data says of an object: `shape` and `keys` (frame: box x0 y0 x1 y1, ellipse cx cy rx ry, or polygon of points;
linear between keys, gone outside of them, a single key stands for all frames), `matte` (which pixels inside are the
thing: those that differ from the background, those of a hue, or all) and `background` (what is behind: the nearest
frames of the shot in which the pixel is uncovered, laid over each other by the camera's motion where `register` says
so; the median of frames of another shot by the same fixed camera; or the picture beside, shifted).
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import content_hash, find_clip
from vidbench.errors import InputError
from vidbench.files import default_folder, json_line, write_atomic
from vidbench.stats import wilson_interval
from vidbench.video import ClipReader, encode_h264
from vidbench_metrics.physics.event import group_of
from vidbench_metrics.physics.model import PhysicsModel, shipped
from vidbench_suites.physics.labels import located
from vidbench_suites.physics.learn import HASH_DIGITS
from vidbench_suites.physics.scoring import Row, figures, score_tables
from vidbench_suites.physics.tables import ClipTable, default_observer, gather

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Box = tuple[float, float, float, float]

DATA = Path(__file__).with_name("planted_masks.json")
CRF = 20
MARGIN = 24
"""Pixels around an outline that are worked on."""
STANDS_OUT = 16.0
"""Grey levels by which the thing's pixels differ from the background."""
SHOWN = 0.12
"""Seconds after its beginning in which a sudden change counts as seen, as in the rendered sets."""
LOOK = "planted"


@dataclass(frozen=True)
class Thing:
    """One object of a shot, as drawn."""

    shape: str
    keys: Mapping[int, Floats]
    """Numbers of the shape, by frame."""
    matte: Any
    background: Mapping[str, Any] | None

    def at(self, frame: int) -> Floats | None:
        """The shape in a frame; None where the thing is not in the picture."""
        frames = sorted(self.keys)
        if len(frames) == 1:
            return self.keys[frames[0]]
        if not frames[0] <= frame <= frames[-1]:
            return None
        after = next(key for key in frames if key >= frame)
        before = max(key for key in frames if key <= frame)
        share = 0.0 if after == before else (frame - before) / (after - before)
        return np.asarray((1 - share) * self.keys[before] + share * self.keys[after], np.float64)

    def outline(self, frame: int, size: tuple[int, int]) -> Bools:
        """(H, W) pixels inside of the drawn shape."""
        picture = np.zeros(size, np.uint8)
        shape = self.at(frame)
        if shape is not None:
            cv2.fillPoly(picture, [np.rint(_corners(self.shape, shape)).astype(np.int32)], 1)
        return picture > 0


def _corners(kind: str, shape: Floats) -> Floats:
    """(P, 2) points around a shape."""
    if kind == "box":
        x0, y0, x1, y1 = shape
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    if kind == "ellipse":
        turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        return np.stack([shape[0] + shape[2] * np.cos(turn), shape[1] + shape[3] * np.sin(turn)], axis=1)
    if kind == "polygon":
        return shape
    raise InputError(f"{DATA.name}: unknown shape '{kind}'; there are: box, ellipse, polygon")


@dataclass(frozen=True)
class Damage:
    """One thing done to one shot."""

    name: str
    shot: str
    kind: str
    at: int
    """First damaged frame."""
    thing: str | None
    numbers: Mapping[str, Any]
    """What else the kind takes: `move`, `tint`, `scale`, `frames`, `then`, `gain`."""

    @property
    def whole(self) -> bool:
        """Whether the whole frame is meant."""
        return self.thing is None

    def length(self, frames: int) -> int:
        """Frames of the damaged clip, of a shot of so many."""
        return frames - int(self.numbers["frames"]) if self.kind == "jump_cut" else frames


def read_data(path: Path = DATA) -> tuple[dict[tuple[str, str], Thing], list[Damage]]:
    """What was drawn, by shot and name, and what is to be done.

    Raises:
        InputError: the file cannot be used.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        things = {
            (shot, name): Thing(
                told["shape"],
                {int(frame): np.array(numbers, np.float64) for frame, numbers in told["keys"].items()},
                told["matte"],
                told["background"],
            )
            for shot, named in data["objects"].items()
            for name, told in named.items()
        }
        damages = []
        for told in data["damages"]:
            what = {k: v for k, v in told.items() if k not in ("shot", "kind", "at", "object")}
            how = "scale" if "scale" in what else "tint" if "tint" in what else ""
            name = "-".join(filter(None, [told["shot"], told["kind"], how, str(told["at"])]))
            thing = told.get("object")
            if thing is not None and (told["shot"], thing) not in things:
                raise InputError(f"{path}: {name}: no object '{thing}' is drawn in {told['shot']}")
            damages.append(Damage(name, told["shot"], told["kind"], int(told["at"]), thing, what))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: cannot be used ({type(error).__name__}: {error})") from error
    return things, damages


class Footage:
    """The shots, decoded when they are needed; the last few are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: dict[str, tuple[Pixels, float]] = {}

    def path(self, shot: str) -> Path:
        """Where a shot lies."""
        return self.folder / f"{shot}.mp4"

    def read(self, shot: str) -> tuple[Pixels, float]:
        """(T, H, W, 3) frames and frames a second."""
        if shot not in self._kept:
            with ClipReader(find_clip(self.path(shot))) as reader:
                pixels = np.concatenate([chunk.pixels for chunk in reader])
                fps = reader.facts.fps or 24.0
            while len(self._kept) > 1:
                self._kept.pop(next(iter(self._kept)))
            self._kept[shot] = pixels, fps
        return self._kept[shot]


class Plate:
    """What is behind a thing."""

    def __init__(self, pixels: Pixels, thing: Thing, footage: Footage) -> None:
        self.pixels, self.thing = pixels, thing
        self.size = pixels.shape[1], pixels.shape[2]
        told = thing.background or {}
        self.outlines = [thing.outline(frame, self.size) for frame in range(len(pixels))]
        self.still: Pixels | None = None
        self.shift: tuple[int, int] | None = tuple(told["shift"]) if "shift" in told else None
        self.near = int(told.get("near", 0))
        self.registered = bool(told.get("register", False))
        self._moved: dict[tuple[int, int], Floats] = {}
        if "shot" in told:
            first, last = told["frames"]
            other, _ = footage.read(told["shot"])
            self.still = np.median(other[first : last + 1], axis=0).astype(np.uint8)

    def behind(self, frame: int, part: tuple[slice, slice]) -> Pixels:
        """The background of a frame within a part of the picture."""
        if self.still is not None:
            return np.asarray(self.still[part], np.uint8)
        if self.shift is not None:
            dx, dy = self.shift
            rows = np.clip(np.arange(part[0].start, part[0].stop) + dy, 0, self.size[0] - 1)
            columns = np.clip(np.arange(part[1].start, part[1].stop) + dx, 0, self.size[1] - 1)
            return np.asarray(self.pixels[frame][np.ix_(rows, columns)], np.uint8)
        return self._uncovered(frame, part)

    def _uncovered(self, frame: int, part: tuple[slice, slice]) -> Pixels:
        """Per pixel the median of the nearest frames in which nothing was drawn there."""
        here = self.pixels[frame][part].astype(np.float32)
        values = np.full((self.near, *here.shape), np.nan, np.float32)
        count = np.zeros(here.shape[:2], np.int64)
        wide = np.ones((9, 9), np.uint8)
        for other in sorted(range(len(self.pixels)), key=lambda one: abs(one - frame)):
            covered = cv2.dilate(self.outlines[other].astype(np.uint8), wide)
            picture = self.pixels[other]
            if self.registered and other != frame:
                matrix = self._camera(other, frame)
                turned = (self.size[1], self.size[0])
                picture = np.asarray(cv2.warpAffine(picture, matrix, turned, flags=cv2.INTER_LINEAR), np.uint8)
                covered = cv2.warpAffine(covered, matrix, turned, flags=cv2.INTER_NEAREST, borderValue=1)
            free = (covered[part] == 0) & (count < self.near)
            rows, columns = np.nonzero(free)
            values[count[rows, columns], rows, columns] = picture[part][rows, columns]
            count += free
            if (count >= self.near).all():
                break
        never = count == 0
        values[0][never] = here[never]
        return np.asarray(np.clip(np.nanmedian(values, axis=0), 0, 255), np.uint8)

    def _camera(self, source: int, target: int) -> Floats:
        """(2, 3) similarity that lays one frame over another, from corners outside of the outlines."""
        if (source, target) not in self._moved:
            grey = [cv2.cvtColor(self.pixels[frame], cv2.COLOR_RGB2GRAY) for frame in (source, target)]
            free = (~self.outlines[source]).astype(np.uint8)
            corners = cv2.goodFeaturesToTrack(grey[0], 400, 0.01, 6, mask=free)
            found, status, _ = cv2.calcOpticalFlowPyrLK(
                grey[0],
                grey[1],
                corners,
                np.empty_like(corners),
                winSize=(31, 31),
                maxLevel=4,
            )
            known = status[:, 0] == 1
            matrix, _ = cv2.estimateAffinePartial2D(corners[known], found[known], ransacReprojThreshold=1.5)
            self._moved[source, target] = np.asarray(np.eye(2, 3) if matrix is None else matrix, np.float64)
        return self._moved[source, target]


def part_of(outline: Bools) -> tuple[slice, slice]:
    """The rows and columns around an outline."""
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    height, width = outline.shape
    return (
        slice(max(0, int(rows[0]) - MARGIN), min(height, int(rows[-1]) + 1 + MARGIN)),
        slice(max(0, int(columns[0]) - MARGIN), min(width, int(columns[-1]) + 1 + MARGIN)),
    )


def matte_of(thing: Thing, picture: Pixels, behind: Pixels, outline: Bools) -> NDArray[np.float32]:
    """(h, w) 0 to 1, how much of a pixel is the thing's."""
    if thing.matte == "all":
        mine = outline
    elif thing.matte == "difference":
        change = np.abs(
            cv2.GaussianBlur(picture, (0, 0), 1.2).astype(np.float32) - cv2.GaussianBlur(behind, (0, 0), 1.2)
        )
        mine = outline & (change.max(axis=2) > STANDS_OUT)
    else:
        hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
        low, high = thing.matte["hue"]
        mine = outline & (hsv[..., 0] >= low) & (hsv[..., 0] <= high) & (hsv[..., 1] >= thing.matte["saturation"])
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    whole = cv2.morphologyEx(mine.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    whole = cv2.morphologyEx(whole, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.GaussianBlur(whole.astype(np.float32), (0, 0), 1.0), np.float32)


@dataclass(frozen=True)
class Look:
    """A thing in one frame."""

    part: tuple[slice, slice]
    matte: NDArray[np.float32]
    picture: Pixels
    behind: Pixels

    @property
    def box(self) -> Box | None:
        """Around what is the thing's, in pixels of the shot."""
        rows, columns = np.nonzero(self.matte > 0.5)
        if len(rows) == 0:
            return None
        x, y = self.part[1].start, self.part[0].start
        return float(columns.min() + x), float(rows.min() + y), float(columns.max() + x + 1), float(rows.max() + y + 1)


def look_at(plate: Plate, frame: int) -> Look | None:
    """The thing in a frame, None where it is not there."""
    outline = plate.outlines[frame]
    if not outline.any():
        return None
    part = part_of(outline)
    picture = plate.pixels[frame][part]
    if plate.thing.background is None:
        return Look(part, matte_of(plate.thing, picture, picture, outline[part]), picture, picture)
    behind = plate.behind(frame, part)
    return Look(part, matte_of(plate.thing, picture, behind, outline[part]), picture, behind)


def removed(frame: Pixels, look: Look) -> Pixels:
    """The frame without the thing: its pixels and a seam around them are replaced by the background."""
    wide = cv2.dilate(look.matte, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15)))
    share = np.clip(cv2.GaussianBlur(wide, (0, 0), 2.0) * 1.3, 0, 1)[..., None]
    done = frame.copy()
    done[look.part] = np.rint(share * look.behind + (1 - share) * look.picture).astype(np.uint8)
    return done


def pasted(frame: Pixels, look: Look, move: tuple[int, int], scale: float = 1.0) -> tuple[Pixels, Box | None]:
    """The frame with the thing drawn elsewhere or in another size; and its box."""
    height, width = frame.shape[:2]
    layer = np.zeros((height, width, 4), np.float32)
    layer[look.part] = np.dstack([look.picture.astype(np.float32), look.matte])
    box = look.box
    if box is None:
        return frame, None
    # Made smaller about the middle of its foot, so that what stands keeps standing.
    x, y = (box[0] + box[2]) / 2, box[3] if scale != 1.0 else (box[1] + box[3]) / 2
    matrix = np.array([[scale, 0, x - scale * x + move[0]], [0, scale, y - scale * y + move[1]]])
    layer = np.asarray(cv2.warpAffine(layer, matrix, (width, height), flags=cv2.INTER_LINEAR), np.float32)
    share = layer[..., 3:]
    drawn = np.rint(share * layer[..., :3] + (1 - share) * frame).clip(0, 255).astype(np.uint8)
    rows, columns = np.nonzero(layer[..., 3] > 0.5)
    if len(rows) == 0:
        return drawn, None
    return drawn, (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))


def tinted(frame: Pixels, look: Look, colour: Sequence[int]) -> Pixels:
    """The frame with the thing in another colour, light and shade kept."""
    grey = cv2.cvtColor(look.picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    inside = look.matte > 0.5
    level = float(np.percentile(grey[inside], 80)) if inside.any() else 255.0
    colours = np.clip(grey[..., None] / max(level, 1.0) * np.array(colour, np.float32), 0, 255)
    share = look.matte[..., None]
    done = frame.copy()
    done[look.part] = np.rint(share * colours + (1 - share) * look.picture).astype(np.uint8)
    return done


def damage_object(
    pixels: Pixels, fps: float, damage: Damage, thing: Thing, footage: Footage
) -> tuple[Pixels, int, int, list[tuple[int, Box]]]:
    """The damaged frames, first and last frame that show it, and where."""
    plate = Plate(pixels, thing, footage)
    done = pixels.copy()
    boxes: list[tuple[int, Box]] = []
    end = min(len(pixels) - 1, damage.at + round(SHOWN * fps))
    for number in range(len(pixels)):
        acts = number < damage.at if damage.kind == "appear" else number >= damage.at
        look = look_at(plate, number) if acts or number <= end else None
        if look is None:
            continue
        where = [look.box]
        if acts:
            if damage.kind in ("vanish", "appear"):
                done[number] = removed(pixels[number], look)
            elif damage.kind == "teleport":
                done[number], there = pasted(removed(pixels[number], look), look, tuple(damage.numbers["move"]))
                where.append(there)
            elif "scale" in damage.numbers:
                small, there = pasted(removed(pixels[number], look), look, (0, 0), float(damage.numbers["scale"]))
                done[number] = small
                where.append(there)
            else:
                done[number] = tinted(pixels[number], look, damage.numbers["tint"])
        if damage.at <= number <= end:
            boxes += [(number, box) for box in where if box is not None]
    if not boxes:
        raise InputError(f"{DATA.name}: {damage.name}: nothing is outlined in frame {damage.at}")
    return done, damage.at, end, boxes


def damage_picture(pixels: Pixels, damage: Damage) -> tuple[Pixels, int, int]:
    """The damaged frames of a whole-frame damage, first and last frame that show it."""
    at, count = damage.at, int(damage.numbers["frames"])
    frames = np.arange(len(pixels))
    if damage.kind == "freeze":
        if damage.numbers["then"] == "resumed":
            frames = np.concatenate([frames[:at], np.full(count, at), frames[at:]])[: len(pixels)]
        else:
            frames[at : at + count] = at
        return pixels[frames], at + 1, at + count - 1
    if damage.kind == "jump_cut":
        return np.concatenate([pixels[:at], pixels[at + count :]]), at, at + 1
    if damage.kind == "flicker":
        done = pixels.astype(np.float32)
        # Brighter and darker by turns, of uneven strength, as a lamp with a loose contact.
        strength = np.resize([1.0, -0.8, 0.5, -1.0, 0.9, -0.4], count) * float(damage.numbers["gain"])
        done[at : at + count] *= (1 + strength)[:, None, None, None]
        return np.clip(np.rint(done), 0, 255).astype(np.uint8), at, at + count - 1
    raise InputError(f"{DATA.name}: {damage.name}: unknown kind '{damage.kind}'")


def video_of(shot: str) -> str:
    """The video that a shot was cut from: its clips are resampled together."""
    return shot.rpartition("_")[0]


def make(folder: Path, clips: Path, damages: Sequence[Damage], things: Mapping[tuple[str, str], Thing]) -> list[str]:
    """Write the damaged clips and their twins, truth.jsonl and metadata.csv.

    Returns:
        Shots that are not there.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "truth.jsonl").exists():
        raise InputError(f"{folder} is not empty and was not made by this; choose another --out")
    (folder / LOOK).mkdir(parents=True, exist_ok=True)
    for old in (folder / LOOK).glob("*.mp4"):
        old.unlink()
    footage = Footage(clips)
    missing = sorted({damage.shot for damage in damages if not footage.path(damage.shot).is_file()})
    rows: dict[str, dict[str, Any]] = {}
    for damage in sorted(damages, key=lambda one: one.shot):
        if damage.shot in missing:
            continue
        pixels, fps = footage.read(damage.shot)
        if damage.thing is None:
            done, start, end = damage_picture(pixels, damage)
            boxes: list[tuple[int, Box]] = []
        else:
            done, start, end, boxes = damage_object(pixels, fps, damage, things[damage.shot, damage.thing], footage)
        twin = f"{LOOK}/{damage.shot}-{len(done)}.mp4"
        if twin not in rows:
            encode_h264(folder / twin, pixels[: len(done)], fps, crf=CRF)
            rows[twin] = _row(twin, damage.shot, pixels[: len(done)], fps)
        name = f"{LOOK}/{damage.name}.mp4"
        encode_h264(folder / name, done, fps, crf=CRF)
        rows[name] = _row(name, damage.shot, done, fps) | {
            "possible": False,
            "kind": damage.kind,
            "variant": damage.name.rpartition("-")[0].removeprefix(f"{damage.shot}-"),
            "start": start,
            "end": end,
            "boxes": [{"frame": frame, "box": [round(v, 1) for v in box]} for frame, box in boxes],
            "twin": twin,
        }
    write_atomic(folder / "truth.jsonl", "".join(json_line(rows[name]) for name in sorted(rows)))
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file_name", "model"])
        table.writerows([name, LOOK] for name in sorted(rows))
    return missing


def _row(name: str, shot: str, pixels: Pixels, fps: float) -> dict[str, Any]:
    """A line of truth for an untouched clip."""
    return {
        "clip": name,
        "pair": video_of(shot),
        "look": LOOK,
        "possible": True,
        "kind": None,
        "variant": None,
        "control": None,
        "nuisance": "none",
        "frames": len(pixels),
        "fps": round(fps, 4),
        "width": pixels.shape[2],
        "height": pixels.shape[1],
        "start": None,
        "end": None,
        "boxes": [],
    }


def share(hits: Sequence[bool]) -> str:
    """A share with its 95 % interval."""
    if not hits:
        return "n/a"
    between = wilson_interval(sum(hits), len(hits))
    return f"{sum(hits) / len(hits):.2f} [{between.low:.2f}, {between.high:.2f}]"


def pointed_at(table: ClipTable, model: PhysicsModel) -> bool:
    """Whether one of the three most suspicious events is about the damage.

    Stricter than the score command's `top 3`: an event of the whole frame, which has no place, does not count as
    pointing at a damaged thing, nor the other way round.
    """
    verdict = model.judge(table.events, table.context)
    ranked = [i for i in np.argsort(-verdict.events, kind="stable") if group_of(table.events[i].type) in verdict.groups]
    group = "object" if table.truth.boxes else "whole_frame"
    top = [table.events[i] for i in ranked[:3]]
    return any(group_of(event.type) == group and located(event, table.truth) for event in top)


def report(rows: Sequence[Row], twins: Mapping[str, str], pointed: Mapping[str, bool]) -> None:
    """Print the tables.

    Args:
        rows: every clip, judged.
        twins: by clip, its untouched twin.
        pointed: by clip, `pointed_at`.
    """
    by_name = {row.clip.partition("/")[2]: row for row in rows}
    innocent = [row for row in rows if row.possible]
    wrong = [row for row in rows if not row.possible]
    found = {(f.section, f.name, f.measure): f for f in figures(rows) if f.scorer == "plausibility"}
    print(f"{len(wrong)} damaged clips, {len(innocent)} untouched twins, {len({row.group for row in rows})} videos")
    print(
        "| damage | n | AUROC v. all twins | more suspicious than its twin | found at the threshold | of those judged "
        "| located (top three) | found and located | not by object checks | not by whole-frame checks |"
    )
    print("|" + "---|" * 10)
    kinds = sorted({row.kind for row in wrong if row.kind})
    objects = {"vanish", "appear", "teleport", "swap"}
    groups = [
        *((kind, ("kind", kind), [row for row in wrong if row.kind == kind]) for kind in kinds),
        ("objects", None, [row for row in wrong if row.kind in objects]),
        ("whole frame", None, [row for row in wrong if row.kind not in objects]),
        ("all", ("overall", "all"), wrong),
    ]
    for name, key, members in groups:
        if not members:
            continue
        if key is None:
            # Figures are made for kinds and for all: these two are read as a kind of their own.
            alike = [replace(row, kind=name) for row in members]
            area = next(
                f for f in figures([*innocent, *alike]) if (f.section, f.name, f.measure) == ("kind", name, "auroc")
            )
        else:
            area = found[(*key, "auroc")]
        pairs = [
            (_suspicion(row), _suspicion(by_name[twins[row.clip.partition("/")[2]]]))
            for row in members
            if twins[row.clip.partition("/")[2]] in by_name
        ]
        between = f" [{area.low:.2f}, {area.high:.2f}]" if area.low is not None and area.high is not None else ""
        cells = [
            name,
            str(len(members)),
            "n/a" if area.value is None else f"{area.value:.2f}{between}",
            share([a > b for a, b in pairs]),
            share([row.alarm for row in members]),
            share([row.alarm for row in members if row.basis is not None]),
            share([pointed[row.clip] for row in members]),
            share([row.alarm and pointed[row.clip] for row in members]),
            share(["object" in row.not_judged for row in members]),
            share(["whole_frame" in row.not_judged for row in members]),
        ]
        print("| " + " | ".join(cells) + " |")
    print(
        f"\nuntouched twins: with a finding {share([row.alarm for row in innocent])}, not judged by object checks "
        f"{share(['object' in row.not_judged for row in innocent])}, by whole-frame checks "
        f"{share(['whole_frame' in row.not_judged for row in innocent])}, n {len(innocent)}"
    )
    for row in wrong:
        told = "not judged" if row.suspicion is None else f"{row.suspicion:+.2f}"
        print(f"  {row.clip}: {told}{', found' if row.alarm else ''}{', located' if pointed[row.clip] else ''}")


def _suspicion(row: Row) -> float:
    return -math.inf if row.suspicion is None else row.suspicion


def main() -> None:
    """The command."""
    here = Path(__file__).resolve().parents[2] / "shared" / "clips"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=here, help="folder that holds real/")
    parser.add_argument("--out", type=Path, default=default_folder() / "planted-damage", help="where clips are written")
    parser.add_argument("--model", type=Path, default=None, help="instead of the shipped one")
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    things, damages = read_data()
    chosen = [damage for damage in damages if args.only in damage.name]
    missing = make(args.out, args.clips / "real", chosen, things)
    for shot in missing:
        print(f"not had: {args.clips / 'real' / shot}.mp4")
    print(f"{args.out}: {len(chosen) - sum(damage.shot in missing for damage in chosen)} damages planted")
    if args.write:
        return
    model = shipped() if args.model is None else PhysicsModel.load(args.model)
    known = frozenset(model.training.get("clips", ()))
    shots = sorted({damage.shot for damage in chosen} - set(missing))
    fitted = sum(content_hash(find_clip(args.clips / "real" / f"{shot}.mp4"))[:HASH_DIGITS] in known for shot in shots)
    print(f"model {model.checksum[:19]}, made for {model.false_alarms:g} false alarms")
    if fitted:
        print(
            f"{fitted} of the {len(shots)} shots, undamaged, were in the model's training as clips with nothing wrong"
        )
    gathered = gather([args.out], default_observer(), cache=args.out.parent / "planted-events")
    for reason in gathered.failed:
        print(f"left aside: {reason}")
    rows = score_tables([(table, model) for table in gathered.tables])
    lines = (args.out / "truth.jsonl").read_text(encoding="utf-8").splitlines()
    twins = {row["clip"]: row["twin"] for row in map(json.loads, lines) if not row["possible"]}
    report(rows, twins, {table.id: pointed_at(table, model) for table in gathered.tables if not table.truth.possible})


if __name__ == "__main__":
    main()

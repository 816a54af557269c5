"""Broken baselines: copies of the user's own clips that are wrong in one known way, as models named `baseline:…`.

They show what failure looks like, and what a metric makes of it: one that puts a broken baseline above a model does not
see that failure. Each keeps its clip's prompt, actions and reference clip, unless those are what is broken.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np

from vidbench.clips import Clip, ClipFolder, content_hash, load_actions
from vidbench.damage import ClipArray, damage
from vidbench.errors import ClipError, InputError
from vidbench.files import write_json
from vidbench.results import BASELINE_PREFIX, is_baseline
from vidbench.video import ClipReader, Frames, Limits, encode_h264

CLIPS = 24
"""Clips of one baseline, unless asked otherwise."""
MOST_BYTES = 512 * 2**20
"""Pixels of a clip that are held at once; of a longer clip only the beginning is taken."""
QUALITY = 10
"""x264's quality of what is written: so fine that the damage, not the encoder, is what a metric sees."""
FORMAT = 1
"""Raised when a baseline comes out otherwise."""
MANIFEST = "made.json"


@dataclass(frozen=True, slots=True)
class Baseline:
    """One way of being wrong."""

    name: str
    summary: str
    damage: str | None = None
    """What is done to the pixels, at full strength; None where they are right."""
    wrong: str | None = None
    """`prompt` or `actions` where those are another clip's."""

    @property
    def model(self) -> str:
        """The model's name in results."""
        return f"{BASELINE_PREFIX}{self.name}"


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        made.name: made
        for made in (
            Baseline("frozen", "the first frame, again and again", "freeze"),
            Baseline("shuffled", "all frames, out of order", "shuffle"),
            Baseline("reversed", "time runs backwards", "reverse"),
            Baseline("noise", "heavy noise, new in every frame", "noise"),
            Baseline("teleport", "half of the frames are missing in the middle: what moves jumps", "jump"),
            Baseline("flicker", "every frame has a brightness of its own", "flicker"),
            Baseline("wrong-prompt", "right pixels, another clip's prompt", wrong="prompt"),
            Baseline("wrong-actions", "right pixels, other actions", wrong="actions"),
        )
    }
)


def named(text: str) -> tuple[str, ...]:
    """Names of baselines as a user writes them, comma-separated; `all` for all.

    Raises:
        InputError: an unknown name.
    """
    names = tuple(dict.fromkeys(name.strip().removeprefix(BASELINE_PREFIX) for name in text.split(",") if name.strip()))
    if names == ("all",):
        return tuple(BASELINES)
    unknown = [name for name in names if name not in BASELINES]
    if unknown or not names:
        raise InputError(
            f"no baseline is called '{', '.join(unknown) or text}'; there are: all, {', '.join(BASELINES)}"
        )
    return names


@dataclass(frozen=True, slots=True)
class Planned:
    """One clip of a baseline, before it is made."""

    clip: Clip
    source: Clip
    baseline: Baseline

    @property
    def copied(self) -> bool:
        """Whether its pixels are its source's own."""
        return self.baseline.damage is None


@dataclass(frozen=True, slots=True)
class Plan:
    """All clips of all baselines, and what cannot be made."""

    clips: tuple[Planned, ...]
    left_out: Mapping[str, str]
    """Baseline to the reason."""


def plan(
    folder: ClipFolder,
    root: Path,
    names: Iterable[str] = tuple(BASELINES),
    *,
    most: int = CLIPS,
    avoid: Collection[str] = (),
) -> Plan:
    """Decide what is made of which clips; nothing is written.

    Every scene (prompt, else name) enters once, from the models in turn, so that no model is the only one broken.

    Args:
        folder: the user's clips.
        root: where the baselines' files will lie.
        names: of `BASELINES`.
        most: clips of one baseline; they are spread over the scenes.
        avoid: ids of clips that are taken only if there are no others, as are the clips' true clips: the reference set.
    """
    own = [clip for clip in folder.clips if not is_baseline(clip.model)]
    true = {clip.reference for clip in own}
    sources = _sources([clip for clip in own if clip.id not in avoid and clip.path not in true] or own, most)
    planned: list[Planned] = []
    left_out: dict[str, str] = {}
    for name in names:
        baseline = BASELINES[name]
        try:
            clips = _planned(baseline, sources, own, root)
        except _NotMadeError as error:
            left_out[name] = str(error)
            continue
        planned += clips
    return Plan(tuple(planned), left_out)


class _NotMadeError(Exception):
    """A baseline that these clips do not allow; says why."""


def _sources(clips: Sequence[Clip], most: int) -> list[Clip]:
    """One clip a scene, from the models in turn, at most so many."""
    scenes: dict[str, dict[str, Clip]] = {}
    for clip in clips:
        scenes.setdefault(clip.prompt or _name(clip), {}).setdefault(clip.model, clip)
    models = sorted({clip.model for clip in clips})
    chosen = []
    for number, of_scene in enumerate(scenes.values()):
        turn = [models[(number + k) % len(models)] for k in range(len(models))]
        chosen.append(next(of_scene[model] for model in turn if model in of_scene))
    if len(chosen) <= most:
        return chosen
    return [chosen[i] for i in np.linspace(0, len(chosen) - 1, most).round().astype(int)]


def _name(clip: Clip) -> str:
    parts = PurePosixPath(clip.id).with_suffix("").parts
    return "/".join(parts[1:]) if len(parts) > 1 else parts[0]


def _planned(baseline: Baseline, sources: Sequence[Clip], clips: Sequence[Clip], root: Path) -> list[Planned]:
    change: Callable[[Clip], Mapping[str, Any] | None] = _unchanged
    if baseline.wrong == "prompt":
        change = _wrong_prompts(sources, clips)
    elif baseline.wrong == "actions":
        change = _wrong_actions(sources, clips)
    planned = []
    taken: set[str] = set()
    for source in sources:
        changed = change(source)
        if changed is None:
            continue
        suffix = ".mp4" if source.kind == "video" else ".npy"
        # The source's own name where it can be had, so that a comparison finds the pair.
        name = _readable(source)
        stem = next(n for n in chain((name,), (f"{name}-{k}" for k in count(2))) if n not in taken)
        taken.add(stem)
        file = f"{baseline.name}/{stem}{suffix}"
        clip = replace(
            source,
            id=f"{BASELINE_PREFIX}{file}",
            path=source.path if baseline.damage is None else root / file,
            model=baseline.model,
            kind=source.kind if baseline.damage is None else "video" if suffix == ".mp4" else "array",
            extra={**source.extra, "baseline_of": source.id},
            **changed,
        )
        planned.append(Planned(clip, source, baseline))
    return planned


def _readable(clip: Clip) -> str:
    """A part of the clip's name that may stand in any file name."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", _name(clip).rsplit("/", 1)[-1]).strip("-")[:40] or "clip"


def _unchanged(clip: Clip) -> Mapping[str, Any]:
    return {}


def _wrong_prompts(sources: Sequence[Clip], clips: Sequence[Clip]) -> Callable[[Clip], Mapping[str, Any] | None]:
    """Every clip gets the prompt of the next one that has another."""
    prompts = list(dict.fromkeys(clip.prompt for clip in [*sources, *clips] if clip.prompt))
    if len(prompts) < 2:
        raise _NotMadeError(
            "needs clips of two different prompts: add a metadata.csv with the columns file_name,prompt"
        )

    def change(clip: Clip) -> Mapping[str, Any] | None:
        if clip.prompt is None:
            return None
        return {"prompt": prompts[(prompts.index(clip.prompt) + 1) % len(prompts)]}

    return change


def _wrong_actions(sources: Sequence[Clip], clips: Sequence[Clip]) -> Callable[[Clip], Mapping[str, Any] | None]:
    """Every clip gets the actions of another one, else its own in reverse order; as many as it had."""
    known: dict[str, list[Any]] = {}
    for clip in [*sources, *clips]:
        try:
            actions = load_actions(clip)
        except ClipError:
            continue
        if actions is not None and len(actions):
            known[clip.id] = actions.tolist() if isinstance(actions, np.ndarray) else list(actions)
    if not known:
        raise _NotMadeError("needs actions: put <clip>.actions.json, .csv or .npy beside each clip")
    ids = list(known)
    wrong: dict[str, tuple[Any, ...]] = {}
    for place, clip_id in enumerate(ids):
        own = known[clip_id]
        others = (known[ids[(place + k) % len(ids)]][: len(own)] for k in range(1, len(ids)))
        other = next((a for a in (*others, own[::-1]) if len(a) == len(own) and a != own), None)
        if other is not None:
            wrong[clip_id] = tuple(other)
    if not any(clip.id in wrong for clip in sources):
        raise _NotMadeError("needs actions that differ: every clip has the same ones from beginning to end")
    return lambda clip: {"actions": wrong[clip.id]} if clip.id in wrong else None


def make(planned: Plan, root: Path, limits: Limits | None = None) -> dict[str, str]:
    """Write the files of a plan; those that are there already, made of the same clips, are kept.

    Args:
        planned: what to make.
        root: the folder that the plan was made for; it is made if it is not there.
        limits: of decoding.

    Returns:
        Ids of clips that could not be made, each with the reason.

    Raises:
        OSError: the folder is not writable or the disk is full.
    """
    root.mkdir(parents=True, exist_ok=True)
    made = _read_manifest(root)
    failed: dict[str, str] = {}
    by_source: dict[str, list[Planned]] = {}
    for item in planned.clips:
        if not item.copied:
            by_source.setdefault(item.source.id, []).append(item)
    for items in by_source.values():
        try:
            _make_all(items, root, made, limits or Limits())
        except ClipError as error:
            failed.update({item.clip.id: f"its source {items[0].source.id} {error.reason}" for item in items})
    write_json(root / MANIFEST, made)
    return failed


def _make_all(items: Sequence[Planned], root: Path, made: dict[str, str], limits: Limits) -> None:
    """All baselines of one clip, from one decode."""
    content = content_hash(items[0].source)
    pixels: ClipArray | None = None
    fps = None
    for item in items:
        file = item.clip.path.relative_to(root).as_posix()
        digest = hashlib.sha256(f"{content} {item.baseline.damage} {item.source.fps} {FORMAT}".encode()).hexdigest()
        if made.get(file) == digest and item.clip.path.is_file():
            continue
        if pixels is None:
            pixels, fps = _decoded(item.source, limits)
        assert item.baseline.damage is not None  # noqa: S101 - copies are not made
        damaged = damage(item.baseline.damage, pixels, 1.0, seed=int(content[:8], 16))
        item.clip.path.parent.mkdir(parents=True, exist_ok=True)
        made.pop(file, None)
        if item.clip.kind == "array":
            np.save(item.clip.path, damaged, allow_pickle=False)
        else:
            encode_h264(item.clip.path, damaged, fps or 8.0, crf=QUALITY)
        made[file] = digest


def _decoded(clip: Clip, limits: Limits) -> tuple[ClipArray, float | None]:
    """The clip's frames, as far as they fit, and its rate (of an array, whose frames have numbers for times, 1)."""
    chunks: list[Frames] = []
    size = 0
    with ClipReader(clip, limits) as reader:
        for frames in reader:
            chunks.append(Frames(np.array(frames.pixels, np.uint8), frames.times.copy(), frames.start))
            size += frames.pixels.nbytes
            if size >= MOST_BYTES:
                break
    pixels = np.concatenate([frames.pixels for frames in chunks])
    times = np.concatenate([frames.times for frames in chunks])
    rate = clip.fps
    if rate is None and len(times) > 1:
        rate = (len(times) - 1) / float(times[-1] - times[0])
    return pixels[: max(2, MOST_BYTES // pixels[0].nbytes)], rate


def _read_manifest(root: Path) -> dict[str, str]:
    try:
        values = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in values.items()} if isinstance(values, dict) else {}


@dataclass(frozen=True, slots=True)
class Written:
    """What `write_folder` made."""

    clips: Mapping[str, int]
    """Baseline to its number of clips."""
    left_out: Mapping[str, str]
    failed: Mapping[str, str]


def write_folder(
    folder: ClipFolder, out: Path, names: Iterable[str] = tuple(BASELINES), *, most: int = CLIPS
) -> Written:
    """Write baselines as a clip folder of its own, with a metadata.jsonl.

    Reference clips are copied into `reference/`, for paths in metadata never leave the clip folder.

    Args:
        folder: the user's clips.
        out: the folder to write; made if it is not there.
        names: of `BASELINES`.
        most: clips of one baseline.

    Raises:
        InputError: no baseline can be made.
        OSError: the folder is not writable or the disk is full.
    """
    planned = plan(folder, out, names, most=most)
    failed = make(planned, out)
    rows: list[dict[str, Any]] = []
    references: dict[Path, str] = {}
    clips: dict[str, int] = {}
    for item in planned.clips:
        if item.clip.id in failed:
            continue
        file = item.clip.id.removeprefix(BASELINE_PREFIX)
        if item.copied:
            file = str(PurePosixPath(file).with_suffix(item.source.path.suffix))
            _copy(item.source.path, out / file)
        rows.append(_row(item.clip, file, _reference(item.clip.reference, out, references)))
        clips[item.baseline.name] = clips.get(item.baseline.name, 0) + 1
    if not rows:
        reasons = "; ".join(f"{name}: {why}" for name, why in {**planned.left_out, **failed}.items())
        raise InputError(f"no baseline can be made of {folder.root} ({reasons or 'it holds no clips'})")
    rows += [{"file_name": file, "model": "reference"} for file in references.values()]
    text = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
    (out / "metadata.jsonl").write_text(text, encoding="utf-8")
    return Written(clips, planned.left_out, failed)


def _row(clip: Clip, file: str, reference: str | None) -> dict[str, Any]:
    actions = load_actions(clip)
    row = {
        "file_name": file,
        "model": clip.model,
        "prompt": clip.prompt,
        "seed": clip.seed,
        "reference": reference,
        "actions": actions.tolist() if isinstance(actions, np.ndarray) else actions,
        "fps": clip.fps,
        "pixels_per_meter": clip.pixels_per_meter,
        "gravity": clip.gravity,
        **clip.extra,
    }
    return {key: value for key, value in row.items() if value is not None}


def _reference(path: Path | None, out: Path, known: dict[Path, str]) -> str | None:
    if path is None:
        return None
    if path not in known:
        known[path] = f"reference/{len(known):03d}{path.suffix if not path.is_dir() else ''}"
        _copy(path, out / known[path])
    return known[path]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)

"""Writing played or imagined clips as a clip folder: lossless frames, actions beside them, metadata."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.files import json_line, write_atomic
from vidbench.worldmodel.rooms.episodes import Episodes
from vidbench.worldmodel.rooms.settings import NO_GOAL, PROMPTS, Action

FPS = 10.0
"""Frames per second at which rooms are shown."""
METADATA = "metadata.jsonl"


@dataclass(frozen=True, slots=True)
class RecordedClip:
    """One clip with what is known about it."""

    frames: NDArray[np.uint8]
    """(T, H, W, 3) RGB."""
    actions: NDArray[np.int64] | None = None
    """(T - 1,) action t lies between frames t and t + 1."""
    prompt: str | None = None
    seed: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of the metadata, of what JSON knows."""


def recorded(episodes: Episodes) -> list[RecordedClip]:
    """Episodes of rooms as clips; their truth becomes metadata columns.

    Columns: `effective` (T - 1 actions, noop where a wall stopped the agent), `rewards`, `agent` and `ball` (T places,
    (x, y); cells and pixels), `ball_hidden` (T), `coin` (cell), `coin_taken` (T), `goal` (its id, where there is one),
    `action_names` and `gravity`.
    """
    clips = []
    for n in range(len(episodes)):
        goal = int(episodes.goals[n])
        extra: dict[str, Any] = {
            "effective": episodes.effective[n].tolist(),
            "rewards": episodes.rewards[n].tolist(),
            "agent": episodes.agent[n].tolist(),
            "ball": episodes.ball[n].round(3).tolist(),
            "ball_hidden": episodes.ball_hidden[n].tolist(),
            "coin": episodes.coin[n].tolist(),
            "coin_taken": episodes.coin_taken[n].tolist(),
            "action_names": [action.name.lower() for action in Action],
            "gravity": [0, 1],
        }
        if goal != NO_GOAL:
            extra["goal"] = goal
        prompt = PROMPTS[goal] if goal != NO_GOAL else None
        clips.append(RecordedClip(episodes.frames[n], episodes.actions[n], prompt, extra=extra))
    return clips


def write_clips(
    clips: Episodes | Sequence[RecordedClip],
    folder: Path,
    *,
    model: str,
    fps: float = FPS,
    form: Literal["npz", "mp4"] = "npz",
    scale: int = 1,
    reference: str | None = None,
) -> list[Path]:
    """Write clips as `folder/<model>/0000.npz …` with `0000.actions.json` beside them and rows in `metadata.jsonl`.

    Called again for another model, its rows join those that are there; rows of the same model are replaced. Clips of
    the model that an earlier call left over are removed.

    Args:
        clips: episodes, or clips of any size.
        folder: the clip folder; made where it is missing.
        model: whose clips they are, also the name of their folder.
        fps: frames per second.
        form: npz keeps every pixel; mp4 (H.264, its best quality) is for players, but halves the colours' resolution:
            ask for a scale of 2 or more with it.
        scale: each pixel becomes this many a side.
        reference: model in the same folder whose clip of the same number is the true one.

    Returns:
        The clips' files.

    Raises:
        InputError: nothing to write, frames that are no clip, actions of another length, a name that is no folder's,
            or a reference that is not there.
        OSError: the folder cannot be written.
    """
    from vidbench.video import encode_h264

    every = recorded(clips) if isinstance(clips, Episodes) else list(clips)
    if not every:
        raise InputError(f"there is no clip to write for {model!r}")
    if not re.fullmatch(r"[^\W.][\w.+-]*", model):
        raise InputError(f"the model's name becomes a folder: letters, digits, '.', '+', '-' and '_', got {model!r}")
    if form not in {"npz", "mp4"} or scale < 1 or not fps > 0:
        raise InputError(f"clips are npz or mp4, of a scale from 1 and a rate above 0; got {form}, {scale}, {fps}")
    for clip in every:
        _check(clip)
    rows = [row for row in _rows(folder / METADATA) if row.get("model") != model]
    truths = {Path(str(row["file_name"])).stem: row["file_name"] for row in rows if row.get("model") == reference}
    names = [f"{number:04d}" for number in range(len(every))]
    missing = next((name for name in names if reference is not None and name not in truths), None)
    if missing is not None:
        raise InputError(f"{folder}: {reference!r} has no clip {missing} to be the reference of one of {model!r}")
    home = folder / model
    home.mkdir(parents=True, exist_ok=True)
    written = []
    for name, clip in zip(names, every, strict=True):
        frames = clip.frames.repeat(scale, 1).repeat(scale, 2)
        path = home / f"{name}.{form}"
        if form == "npz":
            buffer = io.BytesIO()
            np.savez_compressed(buffer, frames=frames)
            write_atomic(path, buffer.getvalue())
        else:
            encode_h264(path, frames, fps, crf=1, preset="medium")
        if clip.actions is not None:
            write_atomic(home / f"{name}.actions.json", json.dumps(np.asarray(clip.actions).tolist()) + "\n")
        row = {"file_name": f"{model}/{path.name}", "model": model, "fps": fps, **clip.extra}
        known = {"prompt": clip.prompt, "seed": clip.seed, "reference": truths.get(name)}
        rows.append(row | {key: value for key, value in known.items() if value is not None})
        written.append(path)
    keep = {path.name for path in written} | {f"{path.stem}.actions.json" for path in written}
    for old in home.iterdir():
        if re.fullmatch(r"\d{4,}(\.actions\.json|\.npz|\.mp4)", old.name) and old.name not in keep:
            old.unlink()
    write_atomic(folder / METADATA, "".join(json_line(row) for row in rows))
    return written


def _check(clip: RecordedClip) -> None:
    frames = clip.frames
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise InputError(f"a clip is (T, H, W, 3) uint8, got {frames.shape} {frames.dtype}")
    if clip.actions is not None and np.shape(clip.actions) != (len(frames) - 1,):
        raise InputError(f"{len(frames)} frames have one action fewer between them, got {np.shape(clip.actions)}")


def _rows(path: Path) -> list[dict[str, Any]]:
    """Rows of an earlier call."""
    if not path.exists():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be joined: {error}; write into a new folder") from error
    if not all(isinstance(row, dict) and "file_name" in row for row in rows):
        raise InputError(f"{path} cannot be joined: not every row names a clip; write into a new folder")
    return rows

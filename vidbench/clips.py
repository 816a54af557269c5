"""What a clip and a clip folder are: discovery, metadata, actions.

Discovery works in two steps. A survey walks the folder and sorts every file into clips, inputs and others; then
metadata is laid over it. Paths written in metadata are only looked up among the files that the survey met, never
opened as they stand, so no row can reach outside the folder.
"""

from __future__ import annotations

import hashlib
import math
import os
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import ClipError, InputError
from vidbench.metadata import ACTION_SUFFIXES, MetadataRow, actions_array, read_actions, read_metadata
from vidbench.survey import (
    RUN_FOLDER,
    ClipKind,
    Status,
    Survey,
    in_order,
    is_frame,
    is_one_clip,
    sidecar_stem,
    survey_one,
    utf8,
)


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip and what is known about it before it is decoded."""

    id: str
    """Path relative to the clip folder with forward slashes; the clip's name in every result."""
    path: Path
    """The video file, the folder of frames, or the array file."""
    model: str
    """Whose clip it is."""
    kind: ClipKind = "video"
    prompt: str | None = None
    seed: int | None = None
    reference: Path | None = None
    """The true clip, for pair metrics."""
    actions: Path | tuple[Any, ...] | None = None
    """Actions between frames: a file beside the clip, or the list itself; read with `load_actions`."""
    fps: float | None = None
    """Frame rate from the metadata or the user; overrides the container's."""
    pixels_per_meter: float | None = None
    gravity: tuple[float, float] | None = None
    """Direction of gravity in the image, (x, y), y down."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further metadata columns, as they are."""


@dataclass(frozen=True, slots=True)
class NotScored:
    """A file or metadata row that cannot become a clip."""

    id: str
    """Path relative to the clip folder, or `metadata.csv line 7` for a row without a usable path."""
    status: Status
    """skipped: not a clip at all; failed: it was meant to be one."""
    reason: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class ClipFolder:
    """Everything met in a clip folder."""

    root: Path
    clips: tuple[Clip, ...]
    """Sorted by id."""
    others: tuple[NotScored, ...] = ()
    """Sorted by id."""
    inputs: tuple[Path, ...] = ()
    """Metadata and action files that were read: they are neither clips nor skipped."""


def discover(folder: Path, *, model: str | None = None, fps: float | None = None) -> ClipFolder:
    """Find the clips of a folder, with their metadata, and account for everything else in it.

    * A clip is a video file, an animated PNG or WebP, a `.npy` or `.npz` file, or a folder that directly holds images
      whose names end in a number and neither videos nor arrays; one such image is enough.
    * A clip's model is its metadata's `model`, else the first folder of its path, else (where the clip lies directly
      in `folder`) `model` or the folder's name.
    * A metadata table may also lie in a sub-folder; its paths are then relative to that sub-folder. Where two rows
      name one file the first counts, tables nearer the root before deeper ones.
    * `<stem>.actions.{json,csv,npy}` beside a clip holds its actions; metadata's `actions` goes before it.
    * Symlinks within the folder are followed, though not further ones below a symlinked folder; one that leaves the
      folder is refused. Hidden files and run folders are skipped.

    Args:
        folder: the clip folder. A single clip (a file, or a folder of frames) is taken as a folder of one clip; its
            model is `model` or the name of the folder it lies in, and no metadata is read.
        model: whose clips lie directly in the folder.
        fps: frames per second of every clip whose metadata has no `fps`.

    Raises:
        InputError: no such folder, no clip in it, `folder` is a run folder, or an option that cannot apply.
        MetadataError: a metadata file that cannot be used as a whole, or several in one folder.
        MissingExtraError: `metadata.parquet` without pyarrow.
    """
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise InputError(f"the frame rate must be a number above 0, got {fps}")
    if model is not None and not model.strip():
        raise InputError("the model's name is empty")
    survey = _survey(folder)
    found = _Assembly(survey, utf8(model or Path(survey.root).name) or "clips", fps).clip_folder()
    if not found.clips:
        raise InputError(_nothing_found(folder, found))
    met = {clip.model for clip in found.clips} | {other.model for other in found.others}
    if model is not None and utf8(model) not in met:
        models = sorted({clip.model for clip in found.clips})
        raise InputError(
            f"the model name {model!r} is for clips that lie directly in {_shown(folder)} and have no model in the "
            f"metadata; there are none, the models are {', '.join(models[:5])}{', …' if len(models) > 5 else ''}"
        )
    return found


def find_clip(path: Path) -> Clip:
    """The clip at a path, without metadata; its model is the name of the folder it lies in.

    Raises:
        ClipError: there is no clip at the path; the reason says what is there instead.
    """
    try:
        survey, name = survey_one(path)
    except OSError as error:
        raise ClipError(f"cannot be read: {error.strerror or error}", path) from error
    except ValueError as error:
        raise ClipError(f"not a path: {error}", path) from error
    if name not in survey.clips:
        _, reason = survey.others.get(name, ("skipped", "a folder without numbered frames, not a clip"))
        raise ClipError(reason, path)
    where, kind = survey.clips[name]
    return Clip(id=name, path=where, model=utf8(where.parent.name) or "clips", kind=kind)


def frame_files(folder: Path) -> list[Path]:
    """The images of a folder of frames, in the order of their numbers.

    Raises:
        ClipError: the folder cannot be read, holds no numbered image, or its images are no single unbroken series.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if is_frame(entry.name)]
    except OSError as error:
        raise ClipError(f"cannot be read: {error.strerror or error}", folder) from error
    try:
        return [folder / name for name in in_order(names)]
    except ClipError as error:
        raise ClipError(error.reason, folder) from None


def pair_by_name(folder: ClipFolder, reference: ClipFolder) -> ClipFolder:
    """Give each clip without a `reference` the clip of the reference set with its name.

    Names are paths without extension. The reference clip is looked for by the clip's whole path, then by its path
    within the first folder (the model's), then by that path within the reference set's own first folders:
    `modelscope/2.mp4` finds `modelscope/2.gif`, else `2.mp4`, else `ground-truth/2.mp4`. A clip that is the reference
    clip itself is left without one.

    Raises:
        InputError: two reference clips have the name that a clip looks for.
    """
    whole: dict[str, list[Clip]] = defaultdict(list)
    within: dict[str, list[Clip]] = defaultdict(list)
    for clip in reference.clips:
        stem = _stem(clip)
        whole[stem].append(clip)
        within[_below_first_folder(stem)].append(clip)

    def partner(clip: Clip) -> Path | None:
        stem = _stem(clip)
        short = _below_first_folder(stem)
        matches = whole.get(stem) or whole.get(short) or within.get(short) or []
        own = os.path.realpath(clip.path)
        if any(own == os.path.realpath(match.path) for match in matches):
            return None
        if len(matches) > 1:
            names = " and ".join(repr(match.id) for match in matches[:2])
            raise InputError(f"{clip.id!r} has several reference clips of its name, {names}: keep one of them")
        return matches[0].path if matches else None

    clips = (clip if clip.reference is not None else replace(clip, reference=partner(clip)) for clip in folder.clips)
    return replace(folder, clips=tuple(clips))


def content_hash(clip: Clip) -> str:
    """SHA-256 of what the clip is made of, as 64 hex digits: equal content gives equal hashes, wherever it lies.

    For a folder of frames it covers the names and contents of the frames. Memory is constant.

    Raises:
        ClipError: the clip cannot be read.
    """
    try:
        if clip.kind != "frames":
            return _file_hash(clip.path).hex()
        total = hashlib.sha256()
        for frame in sorted(frame_files(clip.path)):
            total.update(os.fsencode(frame.name) + b"\0" + _file_hash(frame))
        return total.hexdigest()
    except OSError as error:
        raise ClipError(f"cannot be read: {error.strerror or error}", clip.path) from error


def load_actions(clip: Clip) -> NDArray[np.float64] | tuple[Any, ...] | None:
    """The actions between a clip's frames: action t is applied between frames t and t + 1.

    Returns:
        (T - 1, A) float64 where actions are numbers (A = 1) or lists of A numbers; other items, such as words, as a
        tuple; None where the clip has no actions. That there are T - 1 of them is for the caller to check.

    Raises:
        ClipError: the actions cannot be used; the reason names their file.
    """
    if clip.actions is None:
        return None
    if isinstance(clip.actions, Path):
        return read_actions(clip.actions)
    try:
        return actions_array(clip.actions)
    except ValueError as error:
        raise ClipError(f"the actions in the metadata cannot be used: {error}", clip.path) from error


class _Assembly:
    """Lays metadata and actions over a survey."""

    def __init__(self, survey: Survey, flat_model: str, fps: float | None) -> None:
        self._survey = survey
        self._flat_model = flat_model
        self._fps = fps
        self._known = {*survey.clips, *survey.others, *survey.sidecars, *survey.metadata}
        self._normalised = {unicodedata.normalize("NFC", name): name for name in self._known}
        self._rows: dict[str, tuple[str, MetadataRow]] = {}
        """By the id they name: the folder their table lies in, and the row."""
        self._row_failures: list[NotScored] = []
        self._named_actions: dict[str, Path] = {}
        """Action files that metadata names, by id."""
        self._sidecars: dict[str, list[str]] = defaultdict(list)
        """Action files beside a clip, by the clip's id."""

    def clip_folder(self) -> ClipFolder:
        """Everything met."""
        survey = self._survey
        self._read_metadata()
        self._match_sidecars()
        clips: list[Clip] = []
        others = self._row_failures + self._unmatched()
        for name in survey.clips.keys() - (self._named_actions.keys() - self._rows.keys()):
            try:
                clips.append(self._clip(name))
            except ClipError as error:
                others.append(NotScored(name, "failed", error.reason, self._model(name)))
        used = {sidecar for sidecars in self._sidecars.values() for sidecar in sidecars}
        inputs = [
            *survey.metadata.values(),
            *self._named_actions.values(),
            *(survey.sidecars[name] for name in used - self._named_actions.keys()),
        ]
        return ClipFolder(
            root=Path(survey.root),
            clips=tuple(sorted(clips, key=lambda clip: clip.id)),
            others=tuple(sorted(others, key=lambda other: other.id)),
            inputs=tuple(sorted(inputs)),
        )

    def _read_metadata(self) -> None:
        for name in sorted(self._survey.metadata, key=lambda name: (name.count("/"), name)):
            base = posixpath.dirname(name)
            for row in read_metadata(self._survey.metadata[name], name):
                self._claim(base, row)
        for name, (base, row) in self._rows.items():
            if name in self._survey.clips and isinstance(row.actions, str):
                with suppress(ClipError):  # raised again, and told, where the clip is made
                    target = self._find(base, row.actions)
                    path = self._action_file(target)
                    if path is not None:
                        self._named_actions[target] = path

    def _claim(self, base: str, row: MetadataRow) -> None:
        """Give a row to the file it names; a row that names none becomes a failure of its own."""
        if row.file_name is None:
            self._row_failures.append(NotScored(row.where, "failed", row.problem or "", None))
            return
        try:
            name = self._find(base, row.file_name)
        except ClipError as error:
            self._row_failures.append(NotScored(row.where, "failed", f"{row.where} names {error.reason}"))
            return
        if name in self._rows:
            first = self._rows[name][1].where
            reason = f"{row.where} names {name!r} again; {first} is used"
            self._row_failures.append(NotScored(row.where, "skipped", reason))
        else:
            self._rows[name] = (base, row)

    def _match_sidecars(self) -> None:
        beside: dict[tuple[str, str], list[str]] = defaultdict(list)
        for sidecar in self._survey.sidecars:
            folder, name = posixpath.split(sidecar)
            beside[folder, unicodedata.normalize("NFC", sidecar_stem(name))].append(sidecar)
        if not beside:
            return
        for name, (_, kind) in self._survey.clips.items():
            folder, base = posixpath.split(name)
            stem = base if kind == "frames" else posixpath.splitext(base)[0]
            row = self._rows.get(name)
            if row is None or row[1].actions is None:
                self._sidecars[name] = beside.get((folder, unicodedata.normalize("NFC", stem)), [])

    def _unmatched(self) -> list[NotScored]:
        """What is neither a clip nor an input, with rows that name such things or nothing at all."""
        survey = self._survey
        named = {name: row.where for name, (_, row) in self._rows.items() if name not in survey.clips}
        found = [
            NotScored(name, "failed", f"{where} names it, but {self._why_not(name)}", self._model(name))
            for name, where in named.items()
        ]
        for name in survey.others.keys() - self._named_actions.keys() - named.keys():
            status, reason = survey.others[name]
            found.append(NotScored(name, status, reason, self._model(name) if status == "failed" else None))
        used = {sidecar for sidecars in self._sidecars.values() for sidecar in sidecars}
        reason = "an action file, but no clip beside it has its name and no other actions"
        unused = survey.sidecars.keys() - self._named_actions.keys() - named.keys() - used
        return found + [NotScored(name, "skipped", reason) for name in unused]

    def _clip(self, name: str) -> Clip:
        """The clip of this id; ClipError where its metadata or actions cannot be used."""
        path, kind = self._survey.clips[name]
        sidecars = sorted(self._sidecars.get(name, []))
        if len(sidecars) > 1:
            raise ClipError(f"it has {len(sidecars)} action files, {' and '.join(map(repr, sidecars))}: keep one")
        actions = self._survey.sidecars[sidecars[0]] if sidecars else None
        if name not in self._rows:
            return Clip(name, path, self._model(name), kind, actions=actions, fps=self._fps)
        base, row = self._rows[name]
        if row.problem is not None:
            raise ClipError(row.problem)
        return Clip(
            id=name,
            path=path,
            model=self._model(name),
            kind=kind,
            prompt=row.prompt,
            seed=row.seed,
            reference=self._reference(name, base, row),
            actions=actions if row.actions is None else self._actions(base, row),
            fps=row.fps if row.fps is not None else self._fps,
            pixels_per_meter=row.pixels_per_meter,
            gravity=row.gravity,
            extra=row.extra,
        )

    def _model(self, name: str) -> str:
        row = self._rows.get(name)
        if row is not None and row[1].model is not None:
            return row[1].model
        return name.split("/", 1)[0] if "/" in name else self._flat_model

    def _reference(self, name: str, base: str, row: MetadataRow) -> Path | None:
        if row.reference is None:
            return None
        try:
            target = self._find(base, row.reference)
        except ClipError as error:
            raise ClipError(f"{row.where}: its reference is {error.reason}") from None
        if target == name:
            return None
        if target not in self._survey.clips:
            raise ClipError(f"{row.where}: its reference {row.reference!r} is no clip: {self._why_not(target)}")
        return self._survey.clips[target][0]

    def _actions(self, base: str, row: MetadataRow) -> Path | tuple[Any, ...] | None:
        if not isinstance(row.actions, str):
            return row.actions
        try:
            target = self._find(base, row.actions)
        except ClipError as error:
            raise ClipError(f"{row.where}: its actions are {error.reason}") from None
        path = self._action_file(target)
        if path is None:
            why = f"they are read from {', '.join(ACTION_SUFFIXES)}"
            if target not in self._survey.files and target not in self._survey.clips:
                why = self._why_not(target)
            raise ClipError(f"{row.where}: its actions {row.actions!r} cannot be used: {why}")
        return path

    def _action_file(self, name: str) -> Path | None:
        survey = self._survey
        path = survey.sidecars.get(name) or survey.files.get(name) or survey.clips.get(name, (None,))[0]
        return path if path is not None and path.suffix.lower() in ACTION_SUFFIXES else None

    def _find(self, base: str, written: str) -> str:
        """The id that a path written in metadata means, whether or not anything has it.

        Raises:
            ClipError: it can't mean a file in the clip folder.
        """
        for text in (written, written.strip()):
            name = posixpath.normpath(posixpath.join(base, text))
            if name in self._known:
                return name
            # Some systems store names decomposed, and what wrote the metadata may have composed them.
            twin = self._normalised.get(unicodedata.normalize("NFC", name))
            if twin is not None:
                return twin
        reason = _why_outside(written.strip(), name)
        if reason is not None:
            raise ClipError(reason)
        return name

    def _why_not(self, name: str) -> str:
        """Why there is no clip of this id."""
        survey = self._survey
        if name in survey.others:
            return f"it is unusable: {survey.others[name][1]}"
        if name in survey.metadata or name in survey.sidecars:
            return f"it is {'a metadata' if name in survey.metadata else 'an action'} file"
        if name in survey.folders:
            return "it is a folder without numbered frames"
        parent = posixpath.dirname(name)
        while parent:
            if parent in survey.clips and is_frame(name):
                return f"there is no such clip; {parent!r} is one clip, a folder of frames"
            if parent in survey.others:
                return f"{parent!r} is unusable: {survey.others[parent][1]}"
            parent = posixpath.dirname(parent)
        return "there is no such file"


def _why_outside(written: str, name: str) -> str | None:
    """Why a path of a metadata row, and the id made of it, can't be in the clip folder; None where it can."""
    if "\0" in written:
        return f"a path with a NUL character, {written!r}"
    if written.startswith("/") or re.match(r"[A-Za-z]:[\\/]|\\\\", written):
        return f"an absolute path, {written!r}: make it relative to the metadata file"
    if "\\" in written:
        return f"a path with backslashes, {written!r}: write it with forward slashes"
    if name == ".." or name.startswith("../"):
        return f"a path that leaves the clip folder, {written!r}"
    return None


def _survey(folder: Path) -> Survey:
    try:
        if not folder.exists():
            raise InputError(f"no such folder: {_shown(folder)}")
        if folder.is_dir():
            survey = Survey(str(folder.resolve()))
            if not is_one_clip(survey.root):
                survey.walk()
                _check_root(folder, survey)
                return survey
        survey, name = survey_one(folder)
    except OSError as error:
        raise InputError(f"{_shown(folder)} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"not a folder's path: {error}") from error
    if name in survey.others and name not in survey.folders:
        raise InputError(f"{_shown(folder)} is neither a folder nor a clip: {survey.others[name][1]}")
    return survey


def _check_root(folder: Path, survey: Survey) -> None:
    status, reason = survey.others.get(".", (None, ""))
    if reason == RUN_FOLDER:
        raise InputError(f"{_shown(folder)} is {RUN_FOLDER}: give the folder that holds the clips")
    if status == "failed":
        raise InputError(f"{_shown(folder)} {reason}")


def _nothing_found(folder: Path, found: ClipFolder) -> str:
    seen = Counter(path.name for path in found.inputs)
    failed = [other for other in found.others if other.status == "failed"]
    for other in found.others:
        if other.status == "skipped":
            suffix = posixpath.splitext(other.id)[1].lower()
            seen[suffix if other.reason.startswith("not a clip: a .") else other.reason] += 1
    listed = [f"{count} × {what}" for what, count in seen.most_common(8)]
    listed += [f"{len(seen) - 8} other kinds"] if len(seen) > 8 else []
    if failed:
        listed.append(f"{len(failed)} failed, such as {failed[0].id!r}: {failed[0].reason}")
    return (
        f"no clips in {_shown(folder)}: looked for videos (.mp4, .mov, .mkv, .webm, .avi, .gif and others), animated "
        f"PNG and WebP, folders of numbered frames, and .npy or .npz arrays; found {', '.join(listed) or 'nothing'}"
    )


def _shown(folder: Path) -> str:
    return repr(utf8(str(folder)))


def _stem(clip: Clip) -> str:
    name = clip.id if clip.kind == "frames" else posixpath.splitext(clip.id)[0]
    return unicodedata.normalize("NFC", name)


def _below_first_folder(name: str) -> str:
    return name.split("/", 1)[-1]


def _file_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()

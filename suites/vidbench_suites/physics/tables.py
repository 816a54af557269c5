"""What training and scoring read: the events of every clip beside the truth about it.

Looking at a clip costs far more than learning from it, so what was seen is kept on disk, one JSON-lines file a clip
under the hash of its content and of the code that looked.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib
import importlib.util
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from vidbench.clips import Clip, content_hash, discover
from vidbench.errors import ClipError, InputError
from vidbench.files import default_folder, json_line, write_atomic
from vidbench_metrics.physics.event import Event

EVENTS = "vidbench_metrics.physics.events"
"""The module that looks at a clip."""
TRUTH = "truth.jsonl"
REAL = "real"
"""The domain of clips without truth: real footage, in which nothing is wrong."""

Seen = tuple[Sequence[Event], Mapping[str, float]]
"""Events of a clip and its context numbers."""
Box = tuple[int, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known about a clip without looking at it."""

    look: str
    """Domain: the look of a rendered clip, `real` for real footage."""
    group: str
    """Clips of one group are never split between fitting and scoring: a pair, or the shots of one video."""
    possible: bool
    kind: str | None = None
    """What is wrong; None for possible clips."""
    variant: str | None = None
    control: str | None = None
    """Which possible control it is."""
    nuisance: str = "none"
    fps: float = 24.0
    start: int = 0
    """First frame in which a person can see what is wrong; 0 for possible clips."""
    end: int = 0
    boxes: tuple[Box, ...] = ()
    """Where, by frame; empty where the whole frame is meant."""


@dataclass(frozen=True, eq=False)
class ClipTable:
    """One clip: truth, and what was seen."""

    id: str
    """Folder's name and path within it."""
    path: Path
    sha256: str
    truth: Truth
    events: tuple[Event, ...]
    context: Mapping[str, float]
    clip: Clip | None = None


@dataclass(frozen=True)
class Observer:
    """Looks at a clip."""

    observe: Callable[[Clip], Seen]
    """Must be a function of a module where several processes are to look."""
    identity: str
    """Changes whenever the same clip can give other events."""
    gate_numbers: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """By check group, the context numbers that tell whether it can judge; a group that is not named takes all."""
    clip_numbers: tuple[str, ...] = ()
    """Context numbers that say something about the violation itself, for the clip score."""


@dataclass(frozen=True)
class Gathered:
    """The clips of some folders."""

    tables: tuple[ClipTable, ...]
    failed: tuple[str, ...]
    """Clips that could not be used, each with the reason."""


def default_observer() -> Observer:
    """The events of `vidbench_metrics.physics.events`.

    That module gives `observe(clip)`, whose result has `events` and `context`, and may give `GATE_NUMBERS` and
    `CLIP_NUMBERS`, the fields of `Observer`. Its identity is the hash of all source that it is made of.

    Raises:
        InputError: this vidbench has no such module.
    """
    try:
        module = importlib.import_module(EVENTS)
    except ModuleNotFoundError as error:
        raise InputError(f"the plausibility checks are not installed ({error}); install vidbench again") from error
    return Observer(
        _observe,
        source_hash(EVENTS),
        gate_numbers=getattr(module, "GATE_NUMBERS", {}),
        clip_numbers=tuple(getattr(module, "CLIP_NUMBERS", ())),
    )


def _observe(clip: Clip) -> Seen:
    seen = importlib.import_module(EVENTS).observe(clip)
    return seen.events, seen.context


def source_hash(module: str) -> str:
    """SHA-256 of a module's source and of what it imports, directly or not, from its own package."""
    package = module.split(".", maxsplit=1)[0]
    sources: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in sources:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        sources[name] = Path(spec.origin).read_bytes()
        imports = [node.module for node in ast.walk(ast.parse(sources[name])) if isinstance(node, ast.ImportFrom)]
        waiting += [found for found in imports if found and found.split(".")[0] == package]
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + hashlib.sha256(sources[name]).digest())
    return digest.hexdigest()


def gather(
    folders: Sequence[Path],
    observer: Observer,
    *,
    innocent: Sequence[Path] = (),
    cache: Path | None = None,
    jobs: int = 1,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Gathered:
    """Look at every clip of some folders, or remember what was seen.

    Args:
        folders: clip folders; `truth.jsonl` in one says what is wrong in its clips, else nothing is.
        observer: looks at a clip.
        innocent: folders whose clips are all possible, whatever lies beside them.
        cache: where what was seen is kept; `vidbench`'s own cache folder unless told.
        jobs: processes.
        tell: called with how many clips are done, of how many.

    Raises:
        InputError: a folder without clips, or a truth file that cannot be used.
    """
    places = [
        *((folder, read_truth(folder / TRUTH) if (folder / TRUTH).is_file() else None) for folder in folders),
        *((folder, None) for folder in innocent),
    ]
    wanted: list[tuple[str, Clip, Truth]] = []
    failed: list[str] = []
    for number, (folder, told) in enumerate(places):
        met = discover(folder)
        failed += [f"{folder / other.id}: {other.reason}" for other in met.others if other.status == "failed"]
        for clip in met.clips:
            truth = _innocent(clip) if told is None else told.get(clip.id)
            if truth is None:
                failed.append(f"{folder / clip.id}: {TRUTH} has no line for it")
                continue
            if told is not None:
                # Two folders may number their pairs alike.
                truth = dataclasses.replace(truth, group=f"{number}:{truth.group}")
            wanted.append((f"{folder.resolve().name}/{clip.id}", clip, truth))
        lost = sorted(set(told or ()) - {clip.id for clip in met.clips})
        failed += [f"{folder / name}: named in {TRUTH}, but not there" for name in lost]
    keep = cache if cache is not None else default_folder() / "physics-events"
    tables: list[ClipTable] = []
    known: dict[str, str] = {}
    for done, (name, clip, truth, found) in enumerate(_look_at_all(wanted, observer, keep, jobs), start=1):
        tell(done, len(wanted))
        if isinstance(found, ClipError):
            failed.append(f"{clip.path}: {found.reason}")
            continue
        sha256, (events, context) = found
        if sha256 in known:
            # Twice the same clip could stand on both sides of a split.
            failed.append(f"{clip.path}: the same clip as {known[sha256]}")
            continue
        known[sha256] = name
        tables.append(ClipTable(name, clip.path, sha256, truth, tuple(events), dict(context), clip))
    return Gathered(tuple(tables), tuple(failed))


Found = tuple[str, Seen] | ClipError
"""Content hash and what was seen, or why nothing was."""


def _look_at_all(
    wanted: Sequence[tuple[str, Clip, Truth]], observer: Observer, keep: Path, jobs: int
) -> Iterator[tuple[str, Clip, Truth, Found]]:
    if jobs == 1:
        for name, clip, truth in wanted:
            yield name, clip, truth, _look(clip, observer.observe, observer.identity, keep)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures: list[Future[Found]] = [
            pool.submit(_look, clip, observer.observe, observer.identity, keep) for _, clip, _ in wanted
        ]
        try:
            for (name, clip, truth), future in zip(wanted, futures, strict=True):
                yield name, clip, truth, future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _look(clip: Clip, observe: Callable[[Clip], Seen], identity: str, keep: Path) -> Found:
    try:
        sha256 = content_hash(clip)
        path = kept_at(keep, clip, sha256, identity)
        seen = read_seen(path)
        if seen is None:
            seen = observe(clip)
            write_seen(path, seen)
    except ClipError as error:
        return error
    return sha256, seen


def kept_at(keep: Path, clip: Clip, sha256: str, identity: str) -> Path:
    """The file that remembers a clip: it depends on all that events depend on."""
    facts = json.dumps([sha256, identity, clip.fps, clip.pixels_per_meter, clip.gravity])
    key = hashlib.sha256(facts.encode()).hexdigest()
    return keep / key[:2] / f"{key}.jsonl"


def write_seen(path: Path, seen: Seen) -> None:
    """Remember what was seen: the context on the first line, an event on each other; NaN as null."""
    events, context = seen
    rows = [
        {
            "type": event.type,
            "start": int(event.start),
            "end": int(event.end),
            "boxes": [[int(frame), *map(float, box)] for frame, *box in event.boxes],
            "features": _without_nan(event.features),
            "kind": event.kind,
        }
        for event in events
    ]
    head = {"events": len(rows), "context": _without_nan(context)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(json_line(row) for row in (head, *rows)))


def read_seen(path: Path) -> Seen | None:
    """What was seen, or None where it is not remembered or not whole."""
    try:
        first, *rows = path.read_text(encoding="utf-8").splitlines()
        head = json.loads(first)
        if head["events"] != len(rows):
            return None
        events = [_event(json.loads(row)) for row in rows]
        return events, {sys.intern(name): _number(value) for name, value in head["context"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _event(row: Mapping[str, Any]) -> Event:
    return Event(
        type=sys.intern(row["type"]),
        start=row["start"],
        end=row["end"],
        boxes=tuple((int(f), float(x0), float(y0), float(x1), float(y1)) for f, x0, y0, x1, y1 in row["boxes"]),
        features={sys.intern(name): _number(value) for name, value in row["features"].items()},
        kind=row["kind"],
    )


def _without_nan(numbers: Mapping[str, float]) -> dict[str, float | str | None]:
    """JSON knows neither NaN nor infinities: null, and the words Python reads back."""
    return {
        name: float(value) if math.isfinite(value) else None if math.isnan(value) else str(float(value))
        for name, value in numbers.items()
    }


def _number(value: float | str | None) -> float:
    return math.nan if value is None else float(value)


def _innocent(clip: Clip) -> Truth:
    """Shots of one video are named `<video>_0`, `<video>_1`, … and stand in one group."""
    return Truth(look=REAL, group=f"video:{re.sub(r'_[0-9]+$', '', Path(clip.id).stem)}", possible=True)


def read_truth(path: Path) -> dict[str, Truth]:
    """A suite's truth file, by clip.

    Raises:
        InputError: a line cannot be used; the message names it.
    """
    found: dict[str, Truth] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found[row["clip"]] = _truth(row)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{path} line {number}: not a line of truth ({type(error).__name__}: {error}); "
                "`vidbench physics make` writes them"
            ) from None
    return found


def _truth(row: Mapping[str, Any]) -> Truth:
    possible = row["possible"]
    if not isinstance(possible, bool) or not isinstance(row["clip"], str):
        raise TypeError("'possible' must be true or false, and 'clip' a path")
    kind = row.get("kind")
    if not possible and (not isinstance(kind, str) or row["start"] is None or row["end"] is None):
        raise ValueError("an impossible clip needs its kind, start and end")
    fps = float(row.get("fps") or 24.0)
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError("fps must be above 0")
    return Truth(
        look=str(row["look"]),
        group=str(row["pair"]),
        possible=possible,
        kind=None if possible else kind,
        variant=row.get("variant"),
        control=row.get("control"),
        nuisance=str(row.get("nuisance") or "none"),
        fps=fps,
        start=0 if possible else int(row["start"]),
        end=0 if possible else int(row["end"]),
        boxes=() if possible else tuple(_boxes(row.get("boxes") or [])),
    )


def _boxes(rows: Iterable[Mapping[str, Any]]) -> Iterator[Box]:
    for row in rows:
        x0, y0, x1, y1 = (float(v) for v in row["box"])
        yield int(row["frame"]), x0, y0, x1, y1

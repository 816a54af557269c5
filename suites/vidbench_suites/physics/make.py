"""Rendering a whole set: pairs of every kind and possible controls, with truth, as a clip folder.

`DIR/<look>/<pair>-<what>.mp4`, `DIR/metadata.csv`, `DIR/truth.jsonl`. A clip depends on the seed, its look, its kind or
control and its number among those (a composite's also on the background files), and on nothing else: neither on what
else is rendered nor on the number of jobs.
"""

from __future__ import annotations

import csv
import difflib
import importlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.files import json_line, write_atomic
from vidbench.video import encode_h264
from vidbench_suites.physics.scenarios import CONTROLS, control
from vidbench_suites.physics.truth import Box, Eye, Glance, Seen, see
from vidbench_suites.physics.violations import HERO, KINDS, Context
from vidbench_suites.physics.world import GRAVITY, Intervention, Scene, Take, Trajectory

LOOKS = ("lit3d", "flat2d", "composite")
MARK = "made-by-vidbench-physics.txt"
ATTEMPTS = 400
LEAST_CONTRAST = 28.0
"""Grey levels by which the hero must change its pixels on the average, or nobody could see what happens to it; half as
many again where noise or the codec take their share."""
LEAST_CHANGE = 18.0
"""Grey levels by which a swap or a flicker must change the hero's pixels in its strongest frame; half of it where the
whole picture flickers."""


class Stage(Protocol):
    """What a look does with a scene."""

    scene: Scene
    eye: Eye

    def simulate(self, interventions: tuple[Intervention, ...] = ()) -> Trajectory:
        """Run the physics."""
        ...

    def picture(self, take: Take, frame: int) -> NDArray[np.uint8]:
        """Draw one frame, repeats left out."""
        ...

    def render(self, take: Take) -> Iterator[NDArray[np.uint8]]:
        """Draw every frame."""
        ...

    def close(self) -> None:
        """Give back what the look holds."""
        ...


@dataclass(frozen=True)
class Options:
    """What to render."""

    seed: int = 0
    pairs: int = 4
    """Pairs of each kind and look."""
    controls: int = 4
    """Clips of each control and look."""
    looks: tuple[str, ...] = LOOKS
    kinds: tuple[str, ...] = tuple(KINDS)
    control_names: tuple[str, ...] = tuple(CONTROLS)
    jobs: int = 1
    backgrounds: Path | None = None
    """Folder of real videos for the composite look."""
    scene: dict[str, Any] = field(default_factory=dict)
    """Passed to `compose`: `sizes`, `rates`, `longest`."""


@dataclass(frozen=True)
class Job:
    """One pair, or one control."""

    look: str
    what: str
    """Kind, or control."""
    is_control: bool
    number: int
    """Among those of its look and what."""
    name: str
    """Number within the look, four digits; names the files."""


@dataclass
class Clip:
    """A rendered clip's truth and how to draw it."""

    take: Take
    seen: Seen
    row: dict[str, Any]


def jobs_of(options: Options) -> list[Job]:
    """Everything to be rendered, look by look."""
    found = []
    for look in options.looks:
        whats = [(kind, False, options.pairs) for kind in options.kinds]
        whats += [(name, True, options.controls) for name in options.control_names]
        number = 0
        for what, is_control, count in whats:
            for index in range(count):
                found.append(Job(look, what, is_control, index, f"{number:04d}"))
                number += 1
    return found


def generator(seed: int, job: Job) -> np.random.Generator:
    """The random numbers of a job."""
    names = [*KINDS, *CONTROLS]
    place = (
        LOOKS.index(job.look),
        names.index(job.what) if not job.is_control else len(KINDS) + list(CONTROLS).index(job.what),
    )
    return np.random.default_rng(np.random.SeedSequence([seed, *place, job.number]))


def _cast(rng: np.random.Generator, look: str, options: Options) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the look asks of `compose`, and what it adds to the scene."""
    if look != "composite":
        return options.scene, {}
    from vidbench_suites.physics import composite

    wanted, extra = composite.cast(rng, options.backgrounds)
    return wanted | options.scene, extra


def open_stage(scene: Scene) -> Stage:
    """The stage of the scene's look.

    Raises:
        MissingExtraError: the look's engine is not installed.
    """
    stage: Stage = importlib.import_module(f"vidbench_suites.physics.{scene.look}").Stage(scene)
    return stage


def draw_control(job: Job, options: Options) -> tuple[Stage, list[Clip]]:
    """A control's stage and its one clip."""
    rng = generator(options.seed, job)
    for _ in range(ATTEMPTS):
        wanted, extra = _cast(rng, job.look, options)
        scene = replace(control(rng, job.look, job.what, **wanted), extra=extra)
        stage = open_stage(scene)
        take = Take.plain(scene, stage.simulate())
        seen = see(stage.eye, scene, take)
        if _worth_seeing(scene, seen) and _shows_control(job.what, scene, seen, take) and stands_out(stage, take, seen):
            return stage, [Clip(take, seen, _row(job, scene, seen, "possible", control=job.what))]
        stage.close()
    raise RuntimeError(f"no scene shows the control {job.what} in {ATTEMPTS} attempts")


def _worth_seeing(scene: Scene, seen: Seen) -> bool:
    """Whether something is in the picture for a good part of the clip."""
    visible = seen.share.max(axis=1) > 0.5
    return float(visible.mean()) > 0.35


def stands_out(stage: Stage, take: Take, seen: Seen, near: int | None = None) -> bool:
    """Whether the hero differs enough from what is behind it, in the frame closest to `near` that shows it best."""
    near = stage.scene.frames // 2 if near is None else near
    shown = [frame for frame in range(stage.scene.frames) if seen.share[frame, HERO] > 0.7]
    if not shown:
        return False
    frame = min(shown, key=lambda one: abs(one - near))
    bare = replace(take, visible=take.visible.copy())
    bare.visible[:, HERO] = False
    with_it, without = (stage.picture(one, frame).astype(np.float64) for one in (take, bare))
    place = stage.eye.labels(take, frame, int(take.moments(stage.scene, frame)[0])) == HERO
    least = LEAST_CONTRAST * (1.5 if stage.scene.nuisance in {"noise", "compress"} else 1.0)
    return bool(place.any()) and float(np.abs(with_it - without)[place].mean()) >= least


def noticed(stage: Stage, possible: Take, impossible: Take, span: tuple[int, int], whole: bool) -> bool:
    """Whether a change of looks is strong enough: the pictures of the twins are compared within the span."""
    strongest = 0.0
    for frame in range(span[0], min(span[1], span[0] + 7) + 1):
        one, two = (stage.picture(take, frame).astype(np.float64) for take in (possible, impossible))
        change = np.abs(one - two).mean(axis=2)
        if not whole:
            moment = int(impossible.moments(stage.scene, frame)[0])
            place = stage.eye.labels(possible, frame, moment) == HERO
            place |= stage.eye.labels(impossible, frame, moment) == HERO
            change = change[place]
        strongest = max(strongest, float(change.mean()) if change.size else 0.0)
    return strongest >= (LEAST_CHANGE / 2 if whole else LEAST_CHANGE)


def _shows_control(name: str, scene: Scene, seen: Seen, take: Take) -> bool:
    shown = np.array([[box is not None for box in row] for row in seen.boxes])
    if name == "occlusion":
        for body in range(shown.shape[1]):
            column = np.flatnonzero(shown[:, body])
            share = seen.share[:, body]
            if len(column) and share[column[0] : column[-1] + 1].min() < 0.3 and share[: column[-1] + 1].max() > 0.8:
                low = int(np.argmin(share[column[0] : column[-1] + 1])) + column[0]
                if share[:low].max(initial=0) > 0.8 and share[low:].max(initial=0) > 0.8:
                    return True
        return False
    if name == "leave_enter":
        return bool((shown.any(axis=0) & ~shown.all(axis=0)).any())
    if name in {"bounce", "wall_stop", "collision"}:
        hits = [
            hit
            for hit in take.trajectory.hits
            if hit[0] < scene.frames * scene.steps and seen.boxes[hit[0] // scene.steps][HERO]
        ]
        low, high = {"bounce": (-1, 100), "wall_stop": (0, 100), "collision": (100, 200)}[name]
        return any(body == HERO and low <= other < high for _, body, other in hits)
    return bool(shown[:, HERO].mean() > 0.4)


def draw_pair(job: Job, options: Options) -> tuple[Stage, list[Clip]]:
    """A pair's stage and its two clips, the possible one first."""
    rng = generator(options.seed, job)
    kind = KINDS[job.what]
    # The variant is drawn once, so that those that are hard to stage are not rare.
    variant = list(kind.variants)[int(rng.integers(len(kind.variants)))]
    for _ in range(ATTEMPTS):
        wanted, extra = _cast(rng, job.look, options)
        scene = replace(kind.scene(rng, job.look, variant, **wanted), extra=extra)
        stage = open_stage(scene)
        found = _stage_pair(job, scene, stage, variant, rng)
        if found is not None:
            return stage, found
        stage.close()
    raise RuntimeError(f"no scene shows {job.what} ({variant}) in {ATTEMPTS} attempts")


def _stage_pair(job: Job, scene: Scene, stage: Stage, variant: str, rng: np.random.Generator) -> list[Clip] | None:
    trajectory = stage.simulate()
    possible = Take.plain(scene, trajectory)
    known: dict[bytes, Glance] = {}
    seen = see(stage.eye, scene, possible, known)
    if not _worth_seeing(scene, seen):
        return None
    plan = KINDS[job.what].plan(Context(scene, variant, trajectory, seen, rng))
    if plan is None:
        return None
    changed = stage.simulate(plan.interventions) if plan.interventions else trajectory
    impossible = Take.plain(scene, changed, plan.absent)
    plan.edit(impossible)
    after = see(stage.eye, scene, impossible, known)
    span = plan.span(seen, after)
    if span is None or not 0 <= span[0] <= span[1] < scene.frames:
        return None
    visible = stands_out(stage, possible, seen, span[0])
    if impossible.swapped.any():
        visible = visible and stands_out(stage, impossible, after, span[1])
    if job.what in {"flicker", "swap"}:
        visible = visible and noticed(stage, possible, impossible, span, plan.whole)
    if not visible:
        return None
    if plan.absent:
        possible = Take.plain(scene, trajectory, plan.absent)
        ought, seen = seen, see(stage.eye, scene, possible, known)
    else:
        ought = seen
    boxes = [] if plan.whole else _violating(after, ought, span, plan.also_twin)
    if not plan.whole and not boxes:
        return None
    # A cut to another camera changes the scale, so neither twin's row may promise one.
    steady = variant != "camera"
    rows = (
        _row(job, scene, seen, "possible", steady=steady),
        _row(
            job,
            scene,
            after,
            "impossible",
            kind=job.what,
            variant=variant,
            span=span,
            boxes=boxes,
            repeat=impossible.repeat,
            steady=steady,
        ),
    )
    return [Clip(possible, seen, rows[0]), Clip(impossible, after, rows[1])]


def _violating(after: Seen, ought: Seen, span: tuple[int, int], also_twin: bool) -> list[tuple[int, Box]]:
    """The hero's place in each frame of the span: where it is, else where it ought to be, else where it last was."""
    found: list[tuple[int, Box]] = []
    last: Box | None = None
    for frame in range(span[0], span[1] + 1):
        box = after.boxes[frame][HERO] or ought.boxes[frame][HERO] or last
        if box is None:
            continue
        twin = ought.boxes[frame][HERO]
        if also_twin and frame == span[0] and twin is not None:
            found.append((frame, twin))
        found.append((frame, box))
        last = box
    return found


def _row(
    job: Job,
    scene: Scene,
    seen: Seen,
    what: str,
    *,
    kind: str | None = None,
    variant: str | None = None,
    control: str | None = None,
    span: tuple[int, int] | None = None,
    boxes: Sequence[tuple[int, Box]] = (),
    repeat: NDArray[np.int64] | None = None,
    steady: bool = True,
) -> dict[str, Any]:
    """A clip's line in truth.jsonl.

    `gravity` and `pixels_per_meter` hold in the hero's plane; in three dimensions, bystanders further back are smaller.
    """
    parallel = steady and scene.parallel
    name = f"{job.look}/{job.name}-{job.what}" + ("" if control else f"-{what}") + ".mp4"
    order = range(scene.frames) if repeat is None else [int(frame) for frame in repeat]
    # H.264 has even sizes only: odd ones grow by a repeated row or column at the far edge, which moves no box.
    return {
        "clip": name,
        "pair": f"{job.look}/{job.name}",
        "look": job.look,
        "possible": what == "possible",
        "kind": kind,
        "variant": variant,
        "control": control,
        "nuisance": scene.nuisance,
        "frames": scene.frames,
        "fps": scene.fps,
        "width": scene.width + scene.width % 2,
        "height": scene.height + scene.height % 2,
        "start": span[0] if span else None,
        "end": span[1] if span else None,
        "boxes": [{"frame": frame, "box": [round(value, 1) for value in box]} for frame, box in boxes],
        "tracks": [
            {"object": body, "boxes": [_rounded(seen.boxes[frame][body]) for frame in order]}
            for body in range(len(scene.bodies))
        ],
        "gravity": round(GRAVITY * scene.scale, 3) if parallel else None,
        "pixels_per_meter": round(scene.scale, 3) if parallel and scene.scaled else None,
    }


def _rounded(box: Box | None) -> list[float] | None:
    return None if box is None else [round(value, 1) for value in box]


def perform(job: Job, options: Options, folder: Path) -> list[dict[str, Any]]:
    """Render a job's clips below `folder` and give their truth."""
    stage, clips = draw_control(job, options) if job.is_control else draw_pair(job, options)
    try:
        for clip in clips:
            path = folder / clip.row["clip"]
            path.parent.mkdir(parents=True, exist_ok=True)
            encode_h264(path, stage.render(clip.take), stage.scene.fps, crf=stage.scene.crf)
    finally:
        stage.close()
    return [clip.row for clip in clips]


def make(
    folder: Path, options: Options, report: Callable[[int, int, str], None] = lambda done, total, name: None
) -> int:
    """Render a set.

    Args:
        folder: new, empty, or made by this function; other looks' clips in it are kept.
        options: what to render.
        report: told the number of jobs done, of all jobs, and the look, after each job.

    Returns:
        Number of clips rendered.

    Raises:
        InputError: an unknown look, kind or control, a folder that is something else, or no backgrounds.
        MissingExtraError: an engine is not installed.
    """
    _check(options)
    prepare(folder, options)
    jobs = jobs_of(options)
    rows: list[dict[str, Any]] = []
    for done, found in enumerate(_perform_all(jobs, options, folder)):
        rows += found
        look = jobs[done].look
        report(done + 1, len(jobs), look)
        if done + 1 == len(jobs) or jobs[done + 1].look != look:
            write_truth(folder, rows, options)
    return len(rows)


def _perform_all(jobs: list[Job], options: Options, folder: Path) -> Iterator[list[dict[str, Any]]]:
    if options.jobs <= 1:
        for job in jobs:
            yield perform(job, options, folder)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # Spawned, not forked: OpenGL contexts do not survive a fork.
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(perform, jobs, [options] * len(jobs), [folder] * len(jobs))


def _check(options: Options) -> None:
    for what, names, known in (
        ("look", options.looks, LOOKS),
        ("kind", options.kinds, tuple(KINDS)),
        ("control", options.control_names, tuple(CONTROLS)),
    ):
        for name in names:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=2)
                hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(known)}"
                raise InputError(f"unknown {what} '{name}'; {hint}")
    if options.pairs < 0 or options.controls < 0 or options.jobs < 1 or options.seed < 0:
        raise InputError("--pairs, --controls and --seed are 0 or more, --jobs is 1 or more")
    for look in options.looks:
        importlib.import_module(f"vidbench_suites.physics.{look}").check(options.backgrounds)


def prepare(folder: Path, options: Options) -> None:
    """Make the folder and leave our mark.

    Raises:
        InputError: it holds something that this module did not make, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; choose another -o")
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise InputError(f"{folder} is not empty and was not made by `vidbench physics make`; choose another -o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = f"Made by `vidbench physics make --seed {options.seed}`, which may replace what is here.\n"
        (folder / MARK).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error.strerror or error}); choose another -o") from None


def write_truth(folder: Path, rows: list[dict[str, Any]], options: Options) -> None:
    """Write truth.jsonl and metadata.csv: `rows`, and the rows of looks rendered earlier and not now."""
    truth = folder / "truth.jsonl"
    now = set(options.looks)
    kept: list[dict[str, Any]] = []
    if truth.exists():
        kept = [
            row for row in map(json.loads, truth.read_text(encoding="utf-8").splitlines()) if row["look"] not in now
        ]
    everything = sorted([*kept, *rows], key=lambda row: str(row["clip"]))
    _drop_leftovers(folder, {row["clip"] for row in everything}, {row["look"] for row in rows})
    write_atomic(truth, "".join(json_line(row) for row in everything))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file_name", "model", "prompt", "fps", "pixels_per_meter", "gravity"])
    for row in everything:
        scale = row.get("pixels_per_meter")
        down = "[0, 1]" if scale is not None else ""
        table.writerow(
            [row["clip"], row["look"], _prompt(row), f"{row['fps']:g}", "" if scale is None else scale, down]
        )
    write_atomic(folder / "metadata.csv", text.getvalue())


def _drop_leftovers(folder: Path, named: set[str], looks: set[str]) -> None:
    """Clips of an earlier, larger set would be scored without truth."""
    for look in looks:
        for path in (folder / look).glob("*.mp4"):
            if f"{look}/{path.name}" not in named:
                path.unlink()


def _prompt(row: dict[str, Any]) -> str:
    count = len(row["tracks"])
    return f"{count} object{'s' if count > 1 else ''} moving in front of a background"

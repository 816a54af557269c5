"""Whether the installed metrics notice on this machine what they claim to notice.

Every metric states what it sees: the damages under which its value gets worse (`responds_to`) and the broken baselines
that it tells from good clips (`sees`). The test makes good clips and broken ones, scores them the way a run does, from
files and through decoder, cache-less extractors and aggregation, and compares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vidbench.baselines import BASELINES, write_folder
from vidbench.clips import ClipFolder, discover
from vidbench.damage import damage
from vidbench.errors import InputError, PluginError
from vidbench.metric import Metric
from vidbench.plugins import metrics
from vidbench.results import BASELINE_PREFIX, ClipRow, ModelScore, Run
from vidbench.run.engine import Request, Result, execute
from vidbench.run.plan import Selection
from vidbench.video import encode_h264

SCENES = 6
GOOD = "good"
FPS = 12.0

Outcome = Literal["seen", "missed", "unscored", "not tested"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that one metric says it sees, and what came of it."""

    metric: str
    broken: str
    """The damage or the baseline."""
    outcome: Outcome
    good: float | None = None
    """Value of good clips."""
    bad: float | None = None
    """Value of broken ones."""
    higher_is_better: bool = True
    reason: str | None = None
    """Why there is no value, or why it was not tested."""


@dataclass(frozen=True, slots=True)
class Report:
    """Every claim of every metric, and metrics that claim nothing."""

    claims: tuple[Claim, ...]
    silent: tuple[str, ...]
    """Metrics that do not state what they see: nothing to test."""

    @property
    def passed(self) -> bool:
        """Whether something was tested and all of that was seen."""
        tested = [claim for claim in self.claims if claim.outcome != "not tested"]
        return bool(tested) and all(claim.outcome == "seen" for claim in tested)


class Quiet:
    """A listener that says nothing but how far it is."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.left_out: dict[str, str] = {}

    def selected(self, folder: ClipFolder, selection: Selection) -> None:
        """Keep what was left out."""
        self.left_out = {item.metric: item.reason for item in selection.left_out}

    def begins(self, total: int, finished: int, jobs: int) -> None:
        """Say how much there is to do."""
        self._tell(f"scoring {total} clips")

    def clip_done(self, row: ClipRow) -> None:
        """Nothing."""

    def finalising(self, what: str) -> None:
        """Nothing."""


def selftest(
    folder: Path, names: Sequence[str] = (), *, jobs: int | None = None, tell: Callable[[str], None] = lambda _: None
) -> Report:
    """Make clips below `folder`, score them, compare.

    Args:
        folder: an empty folder for clips and runs.
        names: metrics to test; none: all installed ones that can run.
        jobs: worker processes; None takes one a core.
        tell: is told what happens, in single lines.

    Raises:
        PluginError: a named metric is unknown or does not load.
        OSError: the folder is not writable or the disk is full.
    """
    registry = metrics()
    chosen = {name: registry.load(name) for name in names} if names else registry.load_all()
    pixels = {name: tuple(kind.responds_to) for name, kind in chosen.items() if kind.responds_to}
    events = {name: tuple(kind.sees) for name, kind in chosen.items() if kind.sees}
    claims: list[Claim] = []
    if pixels:
        tell("making textured clips and damaging them")
        clips, truth = _damaged(folder / "damage", {d for wanted in pixels.values() for d in wanted})
        claims += _tested(chosen, pixels, clips, truth, folder / "damage" / "run", "", jobs, tell)
    if events:
        tell("making clips of balls in flight and breaking them")
        clips = _broken(folder / "events", {b for wanted in events.values() for b in wanted})
        claims += _tested(chosen, events, clips, None, folder / "events" / "run", BASELINE_PREFIX, jobs, tell)
    silent = tuple(sorted(name for name in chosen if name not in pixels and name not in events))
    return Report(tuple(sorted(claims, key=lambda c: (c.metric, c.broken))), silent)


def _damaged(folder: Path, damages: Iterable[str]) -> tuple[Path, Path]:
    """Clips of moving shapes, one model good and one a damage; and the true clips beside them."""
    from vidbench.testing import synthetic_clips

    clips, truth = folder / "clips", folder / "truth"
    truth.mkdir(parents=True)
    rows = []
    # Frames large enough for networks that look at squares of 128 pixels, few enough for a minute.
    for number, true in enumerate(synthetic_clips(SCENES, frames=20, height=128, width=160)):
        file = f"{number:02d}.mp4"
        encode_h264(truth / file, true, FPS)
        # A little noise of its own: no model returns the true clip itself.
        good = damage("noise", np.asarray(true), 0.02, seed=number)
        for model, pixels in ((GOOD, good), *((d, damage(d, good, 1.0, seed=number)) for d in sorted(damages))):
            (clips / model).mkdir(parents=True, exist_ok=True)
            encode_h264(clips / model / file, pixels, FPS)
            rows.append({"file_name": f"{model}/{file}", "prompt": f"shapes before wall {number}"})
    _write_rows(clips, rows)
    return clips, truth


def _broken(folder: Path, baselines: Iterable[str]) -> Path:
    """Clips of balls in flight, and the baselines made of them by `vidbench.baselines`."""
    from vidbench.demo import COLOURS, ball_clip

    good, clips = folder / "good", folder / "clips"
    (good / GOOD).mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for number in range(SCENES):
        colour = list(COLOURS)[number % len(COLOURS)]
        pixels = damage("noise", ball_clip(number, COLOURS[colour]), 0.02, seed=number)
        file = f"{GOOD}/{number:02d}.mp4"
        encode_h264(good / file, pixels, FPS)
        # Words and actions that differ from clip to clip, so that there are wrong ones.
        actions = [[float(number + 1), float(t % 3)] for t in range(len(pixels) - 1)]
        rows.append({"file_name": file, "prompt": f"a {colour} ball flies through scene {number}", "actions": actions})
    _write_rows(good, rows)
    clips.mkdir()
    write_folder(discover(good), clips, [name for name in BASELINES if name in set(baselines)])
    (good / GOOD).rename(clips / GOOD)
    with (clips / "metadata.jsonl").open("a", encoding="utf-8") as file_of_rows:
        file_of_rows.writelines(json.dumps(row) + "\n" for row in rows)
    return clips


def _write_rows(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _tested(
    chosen: dict[str, type[Metric[Any]]],
    claimed: dict[str, tuple[str, ...]],
    clips: Path,
    truth: Path | None,
    out: Path,
    prefix: str,
    jobs: int | None,
    tell: Callable[[str], None],
) -> Iterator[Claim]:
    """What came of all claims over one folder of clips; `prefix` stands before the names of broken models."""
    listener = Quiet(tell)
    request = Request(
        clips,
        out,
        reference=truth,
        metrics=tuple(claimed),
        pair_by_name=truth is not None,
        jobs=jobs,
        cache=False,
        media=False,
        command="vidbench selftest",
    )
    try:
        result: Result | None = execute(request, listener)
    except (InputError, PluginError) as error:
        result, failure = None, str(error)
    for name, wanted in claimed.items():
        for broken in wanted:
            if result is None:
                yield Claim(name, broken, "not tested", reason=failure)
            else:
                yield _judged(name, broken, chosen[name].higher_is_better, result, prefix)


def _judged(name: str, broken: str, higher: bool, result: Result, prefix: str) -> Claim:
    unavailable = next((m.unavailable for m in result.selection.plan.metrics if m.name == name), "left out of the run")
    if unavailable is not None:
        return Claim(name, broken, "not tested", reason=unavailable)
    good, bad = (_score(result.run, model, name) for model in (GOOD, prefix + broken))
    if good is None or bad is None or good.value is None or bad.value is None:
        reasons = [s.reason for s in (good, bad) if s is not None and s.reason is not None]
        return Claim(name, broken, "unscored", reason="; ".join(reasons) or "no such clips", higher_is_better=higher)
    seen = bad.value < good.value if higher else bad.value > good.value
    return Claim(name, broken, "seen" if seen else "missed", good.value, bad.value, higher)


def _score(run: Run, model: str, metric: str) -> ModelScore | None:
    return run.summary.score(model, metric) if run.summary is not None else None

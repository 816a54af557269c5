"""The page of a comparison: one file that opens offline, with the look of a run's page.

It needs no script: what changed most stands at the top of each list, with pictures of both clips side by side, and the
whole comparison is in `vidbench compare --json`.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from vidbench import wording
from vidbench.compare import ClipChange, ClipPair, Comparison, FindingChange, MetricChange, ModelComparison
from vidbench.compare.words import VERDICTS, after_point, headline, label, moved_most, p_value, signed, title, unpaired
from vidbench.files import write_atomic
from vidbench.results import ClipRow, Run
from vidbench_reports.clip_files import is_evidence, is_stem
from vidbench_reports.page import asset, csp_hash, environment, when

CLIPS = 12
"""Clips shown in each direction."""
FINDINGS = 60
"""Findings listed in each direction."""
PICTURES = 2 * 2**20
"""Bytes of pictures (as base64) that go into the page; the others are left out, which the page says."""
LISTED = 100
"""Clips without a partner, and lost scores, that are named."""


@dataclass(frozen=True, slots=True)
class Line:
    """One metric, ready to show."""

    change: MetricChange
    before: str
    after: str
    difference: str
    interval: str
    p: str
    verdict: str
    tone: str
    """`better`, `worse` or empty."""
    told: str | None
    """What must be known of it."""
    x: float | None
    """Where the difference lies on its axis, in per cent; 50 is no difference, to the right is better.

    None where it has no interval: a mark alone would look certain."""
    span: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Moved:
    """A clip whose score moved, ready to show."""

    change: ClipChange
    before: str
    after: str
    spreads: str
    strips: tuple[str | None, str | None]
    """Filmstrips of both clips as data addresses."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding that came or went, ready to show."""

    change: FindingChange
    span: str
    picture: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """Two models, ready to show."""

    model: ModelComparison
    title: str
    headline: str
    lines: tuple[Line, ...]
    worse: tuple[Moved, ...]
    better: tuple[Moved, ...]
    new: tuple[Found, ...]
    gone: tuple[Found, ...]
    n_new: int
    n_gone: int
    coverage: tuple[tuple[str, str, str, str], ...]
    """Metric, clip, what happened to its score, and why."""
    alone: tuple[tuple[ClipRow, str], ...]


class _Pictures:
    """Pictures of run folders as data addresses, as long as they fit."""

    def __init__(self, budget: int) -> None:
        self._left = budget
        self.missing = 0

    def strip(self, run: Run, row: ClipRow) -> str | None:
        # The stem comes from a file that may have been edited: it must not lead out of the folder.
        if row.media is None or not is_stem(row.media):
            return None
        return self._read(run.path / "media" / f"{row.media}.jpg")

    def evidence(self, run: Run, name: str | None) -> str | None:
        if name is None or not is_evidence(name):
            return None
        return self._read(run.path / name)

    def _read(self, path: Path) -> str | None:
        if not path.is_file():
            return None
        cost = 4 * math.ceil(path.stat().st_size / 3)
        if cost > self._left:
            self.missing += 1
            return None
        self._left -= cost
        return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def write_page(comparison: Comparison, path: Path) -> None:
    """Write the page of a comparison.

    Raises:
        OSError: the folder is not writable or the disk is full; `path` is then as it was.
    """
    write_atomic(path, render(comparison).encode("utf-8", "replace"))


def render(comparison: Comparison, pictures: int = PICTURES) -> str:
    """The page as text; `pictures` is the budget in bytes."""
    shelf = _Pictures(pictures)
    parts = [_part(comparison, model, shelf) for model in comparison.models]
    style = asset("report.css") + asset("comparison.css")
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(
            comparison=comparison,
            before=label(comparison.before),
            after=label(comparison.after),
            sides=[
                (what, side.run, when(side.run.info.created))
                for what, side in (("Before", comparison.before), ("After", comparison.after))
            ],
            parts=parts,
            tallies=_tallies(comparison),
            missing=shelf.missing,
            listed=LISTED,
            findings=FINDINGS,
            style=Markup(style),  # noqa: S704 - our own file
            style_hash=csp_hash(style),
        )
    )


def _tallies(comparison: Comparison) -> list[tuple[str, int, str]]:
    """Numbers at the top: name, count and tone."""
    better = sum(len(model.of("better")) for model in comparison.models)
    worse = sum(len(model.of("worse")) for model in comparison.models)
    return [
        ("metrics better", better, ""),
        ("metrics worse", worse, "bad" if worse else ""),
        ("may be chance", sum(len(model.of("unclear")) for model in comparison.models), ""),
        ("pairs of clips", sum(len(model.pairing.pairs) for model in comparison.models), ""),
        ("new findings", sum(c.new for model in comparison.models for c in model.findings), ""),
        ("findings gone", sum(not c.new for model in comparison.models for c in model.findings), ""),
    ]


def _part(comparison: Comparison, model: ModelComparison, shelf: _Pictures) -> Part:
    runs = comparison.before.run, comparison.after.run
    worse, better = moved_most(model, CLIPS)
    new = [c for c in model.findings if c.new]
    gone = [c for c in model.findings if not c.new]
    return Part(
        model=model,
        title=title(model),
        headline=headline(model),
        lines=tuple(_line(change) for change in _in_order(model.metrics)),
        worse=tuple(_moved(change, runs, shelf) for change in worse),
        better=tuple(_moved(change, runs, shelf) for change in better),
        new=tuple(_found(c, runs[1], shelf) for c in new[:FINDINGS]),
        gone=tuple(_found(c, runs[0], shelf) for c in gone[:FINDINGS]),
        n_new=len(new),
        n_gone=len(gone),
        coverage=tuple(
            (item.metric, clip, what, reason)
            for item in model.coverage
            for clips, what in ((item.lost, "lost"), (item.won, "won"))
            for clip, reason in clips
        ),
        alone=tuple(unpaired(model)),
    )


def _in_order(changes: Sequence[MetricChange]) -> list[MetricChange]:
    """What was decided first: worse, better, open, then what only describes."""
    order = ("worse", "better", "unclear", "same", "mixed", "none", "described")
    return sorted(changes, key=lambda c: (c.facts.diagnostic, order.index(c.verdict), c.facts.name))


def _line(change: MetricChange) -> Line:
    digits = after_point(change)

    def shown(value: float | None) -> str:
        return "unscored" if value is None else wording.number(value, digits)

    known = change.low is not None and change.high is not None
    told = [] if known or change.verdict == "same" else [change.method]
    told += [change.note] if change.note is not None else []
    x, span = _places(change)
    return Line(
        change,
        shown(change.before),
        shown(change.after),
        "" if change.difference is None else signed(change.difference, digits),
        f"{signed(change.low, digits)} to {signed(change.high, digits)}"
        if change.low is not None and change.high is not None
        else "",
        p_value(change.p_corrected),
        VERDICTS[change.verdict],
        change.verdict if change.verdict in ("better", "worse") else "",
        "; ".join(told) or None,
        x,
        span,
    )


def _places(change: MetricChange) -> tuple[float | None, tuple[float, float] | None]:
    """The difference and its interval around the middle, the far end of it at 46 per cent from there.

    Better lies to the right whatever the metric's direction; a metric that only describes keeps its sign.
    """
    if change.difference is None or change.low is None or change.high is None:
        return None, None
    size = max(abs(change.low), abs(change.high), abs(change.difference))
    sign = 1 if change.facts.higher_is_better or change.facts.diagnostic else -1
    x, low, high = (round(50 + 46 * sign * v / size, 2) for v in (change.difference, change.low, change.high))
    return x, (min(low, high), max(low, high))


def _moved(change: ClipChange, runs: tuple[Run, Run], shelf: _Pictures) -> Moved:
    digits = wording.decimals([change.before, change.after])
    return Moved(
        change,
        wording.number(change.before, digits),
        wording.number(change.after, digits),
        f"{change.spreads:+.1f}",
        _strips(change.pair, runs, shelf),
    )


def _strips(pair: ClipPair, runs: tuple[Run, Run], shelf: _Pictures) -> tuple[str | None, str | None]:
    return shelf.strip(runs[0], pair.before), shelf.strip(runs[1], pair.after)


def _found(change: FindingChange, run: Run, shelf: _Pictures) -> Found:
    return Found(change, wording.span(change.finding), shelf.evidence(run, change.finding.evidence))

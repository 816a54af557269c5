"""The page: one self-contained file that opens offline, from the ranking down to every clip.

Nothing is fetched: style, script and data stand in the page, and a content security policy forbids the rest. The ranked
table and the figures are plain HTML and SVG; the list of clips is drawn by the page's own script from embedded data.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from markupsafe import Markup

from vidbench import wording
from vidbench.files import write_atomic
from vidbench.report import Report
from vidbench.results import BaselineFlag, MetricFacts, ModelScore, OverallRank, Run, Summary
from vidbench_reports.clip_data import SHAPES, Mark, RunData, evidence_sources, media_sources
from vidbench_reports.page import asset, csp_hash, environment, safe_json, when

MEDIA_BUDGET = 24 * 2**20
"""Bytes of pictures and videos that go into the page; the others are linked."""
EVIDENCE_BUDGET = 2 * 2**20
"""Bytes of pictures of findings that go into the page beside those; the others are linked."""
PLOT_MARGIN = 4.0
"""Per cent of a plot's width that stay free at both ends, so that marks at the ends are whole."""
LISTED_FILES = 200
"""Failed and skipped files that stand in the page's plain part; the list of clips has them all."""


class HtmlReport(Report):
    """A page for people.

    Args:
        media_budget: bytes of filmstrips and previews (as base64) that are put into the page. Clips with most findings
            come first; those over the budget are linked to `media/` beside the page.
        evidence_budget: bytes of pictures of findings that are put into the page, the most confident ones first; those
            over the budget are linked to `evidence/` beside the page.
    """

    name: ClassVar[str] = "html"
    file_name: ClassVar[str] = "report.html"
    summary: ClassVar[str] = "page with ranked tables, figures and every clip; opens offline"

    def __init__(self, media_budget: int = MEDIA_BUDGET, evidence_budget: int = EVIDENCE_BUDGET) -> None:
        self._media_budget = media_budget
        self._evidence_budget = evidence_budget

    def write(self, run: Run, path: Path) -> None:
        """Write the page."""
        page = pieces(run, self._media_budget, self._evidence_budget)
        write_atomic(path, (piece.encode("utf-8", "replace") for piece in page))


@dataclass(frozen=True, slots=True)
class Axis:
    """The common axis of one metric's plots."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    """Position in per cent and label."""

    @property
    def ends(self) -> tuple[tuple[float, str], ...]:
        """The first and the last tick, for plots too small to show them all."""
        return (self.ticks[0], self.ticks[-1]) if len(self.ticks) > 1 else ()

    def at(self, value: float) -> float:
        """Position of `value` in per cent of the plot's width."""
        share = (value - self.low) / (self.high - self.low)
        return round(PLOT_MARGIN + (100 - 2 * PLOT_MARGIN) * min(max(share, 0.0), 1.0), 2)


@dataclass(frozen=True, slots=True)
class Cell:
    """One model's value of one metric, ready to show."""

    model: str
    mark: Mark
    score: ModelScore | None
    value: str
    interval: str
    """`0.91 to 0.95`, or why there is none."""
    rank: str
    best: bool
    certain: bool
    """Its rank is the only one that the intervals allow."""
    incomplete: bool
    note: int | None
    """Number of the footnote."""
    x: float | None = None
    span: tuple[float, float] | None = None

    @property
    def reason(self) -> str:
        """Why there is no value."""
        return (self.score.reason if self.score else None) or "no reason given"

    @property
    def coverage(self) -> str:
        """`11/12`."""
        return wording.coverage(self.score) if self.score else "0/0"

    @property
    def told(self) -> str:
        """All of it in one line, for a tooltip."""
        if self.score is None or self.score.value is None:
            return f"{wording.plain(self.model)}: unscored: {self.reason}"
        parts = [f"{wording.plain(self.model)}: {self.value}", self.interval, f"{self.coverage} clips scored"]
        if self.score.rank is not None:
            parts.append(f"rank {self.score.rank}" + ("" if self.certain else f", intervals allow {self.rank}"))
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Column:
    """One metric over all models, in order of overall rank."""

    facts: MetricFacts
    index: int
    axis: Axis | None
    cells: tuple[Cell, ...]
    flags: tuple[BaselineFlag, ...] = ()
    """Broken baselines that it puts above models."""

    @property
    def by_value(self) -> list[Cell]:
        """Best first; what has no value comes last."""
        sign = -1 if self.facts.higher_is_better else 1

        def key(cell: Cell) -> tuple[bool, float]:
            value = cell.score.value if cell.score else None
            return (value is None, 0.0 if value is None else sign * value)

        return sorted(self.cells, key=key)

    @property
    def intervals(self) -> list[str]:
        """How its intervals were made."""
        return list(dict.fromkeys(c.score.interval for c in self.cells if c.score and c.score.interval))


@dataclass(frozen=True, slots=True)
class Row:
    """One model of the ranked table."""

    place: OverallRank
    mark: Mark
    clips: int
    cells: tuple[Cell, ...]


def render(run: Run, media_budget: int = MEDIA_BUDGET, evidence_budget: int = EVIDENCE_BUDGET) -> str:
    """The page as text."""
    return "".join(pieces(run, media_budget, evidence_budget))


def pieces(run: Run, media_budget: int = MEDIA_BUDGET, evidence_budget: int = EVIDENCE_BUDGET) -> Iterator[str]:
    """The page as text, piece by piece from top to bottom."""
    data = RunData(run)
    models, marks = data.models, data.marks
    columns = _columns(run, run.summary, marks) if run.summary is not None else []
    script = asset("clip.js") + asset("list.js") + asset("report.js")
    style = asset("report.css")
    sources, media = media_sources(run, media_budget)
    evidence, shown = evidence_sources(run, evidence_budget)
    statuses = Counter(row.status for row in run.clips)
    pictured = [row for row in run.clips if row.media is not None]
    return (
        environment()
        .get_template("report.html.j2")
        .generate(
            run=run,
            info=run.info,
            summary=run.summary,
            name=wording.plain(run.path.resolve().name),
            when=when(run.info.created),
            verdict=wording.verdict(run),
            totals=wording.totals(run.summary) if run.summary is not None else [],
            statuses=statuses,
            models=models,
            marks=marks,
            shapes=SHAPES,
            judged=[c for c in columns if not c.facts.diagnostic],
            described=[c for c in columns if c.facts.diagnostic],
            rows=_rows(run, run.summary, columns, marks) if run.summary is not None else [],
            footnotes=wording.notes(run.summary) if run.summary is not None else [],
            problems=[row for row in run.clips if row.status != "scored"],
            clip_warnings=[(row.clip, warning) for row in run.clips for warning in row.warnings],
            listed_files=LISTED_FILES,
            data=safe_json(data.head() | {"clips": [data.clip(row, sources[row.clip], evidence) for row in run.clips]}),
            media=[*media, *shown],
            n_evidence=len(evidence),
            n_evidence_linked=len(evidence) - len(shown),
            evidence_budget=f"{evidence_budget / 2**20:.0f} MB",
            n_pictured=len(pictured),
            n_linked=sum(not sources[row.clip]["inside"] for row in pictured),
            budget=f"{media_budget / 2**20:.0f} MB",
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            style_hash=csp_hash(style),
            script_hash=csp_hash(script),
        )
    )


def _columns(run: Run, summary: Summary, marks: Mapping[str, Mark]) -> list[Column]:
    numbers = {note: i for i, (_, note) in enumerate(wording.notes(summary), 1)}
    columns = []
    for index, facts in enumerate([*wording.judging(run), *wording.describing(run)]):
        scores = {s.model: s for s in summary.scores if s.metric == facts.name}
        axis = axis_for(facts, scores.values())
        digits = wording.digits(facts, summary)
        cells = [_cell(m, marks[m], scores.get(m), facts, summary, axis, digits, numbers) for m in summary.models]
        flags = tuple(flag for flag in summary.flags if flag.metric == facts.name)
        columns.append(Column(facts, index, axis, tuple(cells), flags))
    return columns


def _cell(
    model: str,
    mark: Mark,
    score: ModelScore | None,
    facts: MetricFacts,
    summary: Summary,
    axis: Axis | None,
    digits: int,
    notes: Mapping[str, int],
) -> Cell:
    if score is None or score.value is None or axis is None:
        return Cell(model, mark, score, "", "", "", best=False, certain=False, incomplete=True, note=None)
    known = score.low is not None and score.high is not None
    return Cell(
        model,
        mark,
        score,
        value=wording.number(score.value, digits),
        interval=f"{wording.number(score.low, digits)} to {wording.number(score.high, digits)}"
        if score.low is not None and score.high is not None
        else score.interval,
        rank="" if facts.diagnostic else wording.rank(score),
        best=wording.best(score, facts, summary),
        certain=known and score.rank_low == score.rank_high,
        incomplete=score.n_unscored > 0,
        note=notes.get(score.footnote) if score.footnote is not None else None,
        x=axis.at(score.value),
        span=(axis.at(score.low), axis.at(score.high)) if score.low is not None and score.high is not None else None,
    )


def _rows(run: Run, summary: Summary, columns: Sequence[Column], marks: Mapping[str, Mark]) -> list[Row]:
    places = {place.model: place for place in summary.overall}
    clips = Counter(row.model for row in run.clips if row.status != "skipped")
    return [
        Row(
            places.get(model, OverallRank(model, None, None, 0)),
            marks[model],
            clips[model],
            tuple(column.cells[i] for column in columns),
        )
        for i, model in enumerate(summary.models)
    ]


def axis_for(facts: MetricFacts, scores: Iterable[ModelScore]) -> Axis | None:
    """An axis that holds all values and intervals and does not reach where the metric cannot be."""
    shown = [v for s in scores if s.value is not None for v in (s.value, s.low, s.high) if v is not None]
    if not shown:
        return None
    low, high = min(shown), max(shown)
    if low == high:
        room = abs(low) * 0.1 or 1.0
        low, high = low - room, high + room
        bottom, top = facts.value_range
        low = low if bottom is None else max(low, bottom)
        high = high if top is None else min(high, top)
        if low == high:
            low, high = low - room, high + room
    return nice_axis(low, high)


def nice_axis(low: float, high: float) -> Axis:
    """An axis from `low` to `high` with ticks at round numbers."""
    step = _nice_step(high - low)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    size = max(abs(low), abs(high))
    axis = Axis(low, high, ())
    labels = [(axis.at(i * step), _tick(i * step, step, size)) for i in range(first, last + 1)]
    return Axis(low, high, tuple(labels))


def _nice_step(width: float) -> float:
    """1, 2 or 5 times a power of ten, so that three to seven steps fill `width`."""
    power = 10.0 ** math.floor(math.log10(width / 3))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= width / 3 * (1 + 1e-9))


def _tick(value: float, step: float, size: float) -> str:
    """A label that tells neighbouring ticks apart, on an axis that reaches to `size`."""
    if abs(value) < step / 2:
        return "0"
    if 1e-3 <= size < 1e7:
        return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
    return f"{value:.{math.ceil(math.log10(size / step)) + 1}g}"

"""The page: one self-contained file that opens offline, from the ranking down to every clip.

Nothing is fetched: style, script and data stand in the page, and a content security policy forbids the rest. The ranked
table and the figures are plain HTML and SVG; the list of clips is drawn by the page's own script from embedded data.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from vidbench import wording
from vidbench.files import write_atomic
from vidbench.report import Report
from vidbench.results import ClipRow, FindingRow, MetricFacts, ModelScore, OverallRank, Run, ScoreRow, Summary

MEDIA_BUDGET = 24 * 2**20
"""Bytes of pictures and videos that go into the page; the others are linked."""
EVIDENCE_BUDGET = 3 * 2**20
"""Bytes of pictures of findings that go into the page beside those; the others are linked."""
PLOT_MARGIN = 4.0
"""Per cent of a plot's width that stay free at both ends, so that marks at the ends are whole."""
SHAPES = (
    "M-4.6 0a4.6 4.6 0 1 0 9.2 0a4.6 4.6 0 1 0-9.2 0Z",
    "M-4.1-4.1h8.2v8.2h-8.2Z",
    "M0-5.8L5.8 0L0 5.8L-5.8 0Z",
    "M0-5.4L5.4 4.2H-5.4Z",
    "M0 5.4L5.4-4.2H-5.4Z",
    "M-1.9-5.2h3.8v3.3h3.3v3.8h-3.3v3.3h-3.8v-3.3h-3.3v-3.8h3.3Z",
)
"""Marks of the models, as SVG paths around 0, 0: with as many colours, nobody has to tell colours apart."""
LISTED_FILES = 200
"""Failed and skipped files that stand in the page's plain part; the list of clips has them all."""

_STEM = re.compile(r"[A-Za-z0-9_-]+")
_EVIDENCE = re.compile(r"evidence/[A-Za-z0-9_-]+\.jpg")


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
class Mark:
    """How a model is drawn wherever it appears."""

    shape: int
    colour: int


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


@dataclass(frozen=True, slots=True)
class Media:
    """A file that stands in the page as base64."""

    id: str
    path: Path

    @property
    def data(self) -> str:
        """Read when the page comes to it, so that only one file is in memory at a time."""
        return base64.b64encode(self.path.read_bytes()).decode("ascii")


def render(run: Run, media_budget: int = MEDIA_BUDGET, evidence_budget: int = EVIDENCE_BUDGET) -> str:
    """The page as text."""
    return "".join(pieces(run, media_budget, evidence_budget))


def pieces(run: Run, media_budget: int = MEDIA_BUDGET, evidence_budget: int = EVIDENCE_BUDGET) -> Iterator[str]:
    """The page as text, piece by piece from top to bottom."""
    models = sorted({row.model for row in run.clips if row.model is not None} | {s.model for s in run.scores})
    marks = {m: Mark((i + i // len(SHAPES)) % len(SHAPES), i % len(SHAPES)) for i, m in enumerate(models)}
    columns = _columns(run, run.summary, marks) if run.summary is not None else []
    script, style = _asset("report.js"), _asset("report.css")
    sources, media = _media(run, media_budget)
    evidence, shown = _evidence(run, evidence_budget)
    statuses = Counter(row.status for row in run.clips)
    pictured = [row for row in run.clips if row.media is not None]
    return (
        _environment()
        .get_template("report.html.j2")
        .generate(
            run=run,
            info=run.info,
            summary=run.summary,
            name=wording.plain(run.path.resolve().name),
            when=_when(run.info.created),
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
            data=_safe_json(_data(run, models, marks, sources, evidence)),
            media=[*media, *shown],
            n_evidence=len(evidence),
            n_evidence_linked=len(evidence) - len(shown),
            evidence_budget=f"{evidence_budget / 2**20:.0f} MB",
            n_pictured=len(pictured),
            n_linked=sum(not sources[row.clip]["inside"] for row in pictured),
            budget=f"{media_budget / 2**20:.0f} MB",
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            style_hash=_hash(style),
            script_hash=_hash(script),
        )
    )


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vidbench_reports", "html_template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        breakable=_breakable,
        plain=wording.plain,
        arrow=wording.arrow,
        value_range=wording.value_range,
        compact_json=lambda value: json.dumps(value, ensure_ascii=False, sort_keys=True, default=str),
    )
    environment.globals["counted"] = wording.count
    return environment


@functools.cache
def _asset(name: str) -> str:
    return (Path(__file__).parent / "html_template" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A content security policy's name for an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _breakable(text: str) -> Markup:
    """A name that may be broken after its underscores."""
    return Markup("_<wbr>").join(escape(part) for part in wording.plain(text).split("_"))


def _when(created: str) -> str:
    try:
        return f"{datetime.fromisoformat(created):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return created


def _safe_json(value: Any) -> Markup:
    """JSON that can stand in a `<script>` whatever its strings hold: no `<`, no `&`, ASCII only."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - nothing in it can end the element


def _columns(run: Run, summary: Summary, marks: Mapping[str, Mark]) -> list[Column]:
    numbers = {note: i for i, (_, note) in enumerate(wording.notes(summary), 1)}
    columns = []
    for index, facts in enumerate([*wording.judging(run), *wording.describing(run)]):
        scores = {s.model: s for s in summary.scores if s.metric == facts.name}
        axis = axis_for(facts, scores.values())
        digits = wording.digits(facts, summary)
        cells = [_cell(m, marks[m], scores.get(m), facts, summary, axis, digits, numbers) for m in summary.models]
        columns.append(Column(facts, index, axis, tuple(cells)))
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


def _media(run: Run, budget: int) -> tuple[dict[str, dict[str, Any]], list[Media]]:
    """Where each clip's pictures are: inside the page, beside it, or nowhere.

    Returns:
        By clip the two sources, `strip` and `video` (an element's id or a relative address, or None), and whether they
        are `inside`; and what goes inside.
    """
    findings = Counter(row.clip for row in run.findings)
    sources: dict[str, dict[str, Any]] = {}
    embedded: list[Media] = []
    left = budget
    for number, row in sorted(enumerate(run.clips), key=lambda item: (-findings[item[1].clip], item[0])):
        # The stem comes from a file that may have been edited: it must not lead out of the folder.
        stem = row.media if row.media is not None and _STEM.fullmatch(row.media) else None
        files = {
            kind: run.path / "media" / f"{stem}{suffix}" for kind, suffix in (("strip", ".jpg"), ("video", ".mp4"))
        }
        present = {kind: path for kind, path in files.items() if stem is not None and path.is_file()}
        cost = sum(4 * math.ceil(path.stat().st_size / 3) for path in present.values())
        inside = cost <= left
        source: dict[str, Any] = {"inside": inside}
        for kind in ("strip", "video"):
            path = present.get(kind)
            if path is None:
                source[kind] = None
            elif inside:
                source[kind] = f"{kind}-{number}"
                embedded.append(Media(f"{kind}-{number}", path))
            else:
                source[kind] = f"media/{path.name}"
        left -= cost if inside else 0
        sources[row.clip] = source
    return sources, embedded


def _evidence(run: Run, budget: int) -> tuple[dict[str, str], list[Media]]:
    """Where the pictures of findings are.

    Returns:
        By the picture's name an element's id or a relative address, for pictures that exist; and what goes inside.
    """
    addresses: dict[str, str] = {}
    embedded: list[Media] = []
    left = budget
    for finding in wording.most_confident(run.findings):
        name = finding.evidence
        # The name comes from a file that may have been edited: it must not lead out of the folder.
        if name is None or not _EVIDENCE.fullmatch(name) or name in addresses or not (run.path / name).is_file():
            continue
        cost = 4 * math.ceil((run.path / name).stat().st_size / 3)
        if cost <= left:
            left -= cost
            addresses[name] = f"evidence-{len(embedded)}"
            embedded.append(Media(addresses[name], run.path / name))
        else:
            addresses[name] = name
    return addresses, embedded


def _data(
    run: Run,
    models: Sequence[str],
    marks: Mapping[str, Mark],
    sources: Mapping[str, Mapping[str, Any]],
    evidence: Mapping[str, str],
) -> dict[str, Any]:
    """What the page's script draws the clips from."""
    metrics = [f for f in [*wording.judging(run), *wording.describing(run)] if f.granularity != "set"]
    by_clip: dict[str, dict[str, ScoreRow]] = {}
    for score in run.scores:
        if score.clip is not None:
            by_clip.setdefault(score.clip, {})[score.metric] = score
    findings: dict[str, list[FindingRow]] = {}
    for finding in run.findings:
        findings.setdefault(finding.clip, []).append(finding)
    numbers = {model: i for i, model in enumerate(models)}
    return {
        "models": [{"name": wording.plain(m), "shape": marks[m].shape, "colour": marks[m].colour} for m in models],
        "metrics": [_metric_data(facts, run.scores) for facts in metrics],
        "clips": [
            {
                "id": wording.plain(row.clip),
                "model": numbers[row.model] if row.model is not None else None,
                "status": row.status,
                "reason": row.reason,
                "prompt": row.prompt,
                "frames": row.frames,
                "fps": row.fps,
                "facts": _facts(row),
                "size": [row.width, row.height],
                "strip": list(row.strip_frames),
                "previewed": row.media_frames if row.media_frames is not None else row.frames,
                "media": dict(sources[row.clip]),
                "warnings": list(row.warnings),
                "scores": [_score_data(by_clip.get(row.clip, {}).get(facts.name)) for facts in metrics],
                "findings": [_finding_data(finding, evidence) for finding in findings.get(row.clip, ())],
            }
            for row in run.clips
        ],
    }


def _metric_data(facts: MetricFacts, scores: Sequence[ScoreRow]) -> dict[str, Any]:
    values = [s.value for s in scores if s.metric == facts.name and s.clip is not None and s.value is not None]
    return {
        "name": facts.name,
        "arrow": wording.arrow(facts),
        "higher": facts.higher_is_better,
        "unit": facts.unit,
        "diagnostic": facts.diagnostic,
        "digits": wording.decimals(values),
        "low": min(values, default=0.0),
        "high": max(values, default=1.0),
    }


def _score_data(score: ScoreRow | None) -> list[Any]:
    """Value, reason and details; shortened, since the CSV has every digit."""
    if score is None:
        return [None, "not computed", ""]
    details = ", ".join(
        f"{key.replace('_', ' ')} {_short(value)}"
        for key, value in score.details.items()
        if isinstance(value, bool | int | float | str)
    )
    return [None if score.value is None else float(f"{score.value:.8g}"), score.reason or "", details]


def _short(value: bool | float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _finding_data(finding: FindingRow, evidence: Mapping[str, str]) -> dict[str, Any]:
    picture = evidence.get(finding.evidence or "")
    lost = "its picture is not in the run folder" if finding.evidence is not None else None
    return {
        "metric": finding.metric,
        "kind": finding.kind,
        "start": finding.start,
        "end": finding.end,
        "time": [finding.start_time, finding.end_time] if finding.start_time is not None else None,
        "message": finding.message,
        "confidence": finding.confidence,
        "limitation": finding.limitation,
        "boxes": [[int(b["frame"]), *(round(float(edge), 1) for edge in b["box"])] for b in finding.boxes],
        "picture": None if picture is None else [picture, "/" not in picture],
        "pictured": list(finding.evidence_frames),
        "unpictured": None if picture is not None else finding.no_evidence or lost,
    }


def _facts(row: ClipRow) -> list[str]:
    """What is known of a clip, in the order in which one reads it."""
    facts = [
        f"{row.frames} frames" if row.frames is not None else None,
        f"{row.fps:g} fps" if row.fps is not None else "unknown frame rate" if row.frames is not None else None,
        f"{row.width} × {row.height}" if row.width is not None else None,
        f"{row.duration:.2f} s" if row.duration is not None else None,
        f"sha256 {row.sha256[:12]}…" if row.sha256 is not None else None,
        f"took {spent:.2f} s" if (spent := sum(row.seconds.values())) >= 0.005 else None,
    ]
    return [fact for fact in facts if fact is not None]

"""The board as a page: one self-contained file that opens offline; clips are read from the run folders or copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from markupsafe import Markup

from vidbench import __version__, wording
from vidbench.files import write_atomic
from vidbench.leaderboard import Block, Board
from vidbench.report import LeaderboardView
from vidbench.results import MetricFacts, ModelScore, is_baseline
from vidbench_reports.clip_data import SHAPES
from vidbench_reports.html import Axis, axis_for, nice_axis
from vidbench_reports.leaderboard import words
from vidbench_reports.leaderboard.data import Mark, board_data
from vidbench_reports.page import asset, csp_hash, environment, safe_json, when

COLOURS = 6
AXIS_STEPS = (132, 220)
"""Least and most pixels between two axes of the parallel coordinates."""
AXIS_ROOM, FIGURE_WIDTH = 110, 1080
"""Pixels beside the outer axes, for their names; and how wide the figure is if it can."""
TOP, BOTTOM = 58.0, 272.0
"""Where their axes' best and worst values lie."""


class HtmlLeaderboard(LeaderboardView):
    """A page for people."""

    name: ClassVar[str] = "html"
    file_name: ClassVar[str] = "leaderboard.html"
    summary: ClassVar[str] = "page with sortable tables, figures and a player; opens offline"

    def write(self, board: Board, path: Path, *, copy_clips: bool = False) -> None:
        """Write the page, and the previews beside it where asked."""
        pieces = render(board, path.parent, copy_clips=copy_clips)
        write_atomic(path, (piece.encode("utf-8", "replace") for piece in pieces))


@dataclass(frozen=True, slots=True)
class Cell:
    """One model's value of one metric, ready to show."""

    model: str
    kind: str
    mark: Mark
    raw: str
    value: str
    interval: str
    rank: str
    coverage: str
    reason: str
    best: bool
    first: bool
    """It is certainly first."""
    incomplete: bool
    note: int | None
    note_id: str
    x: float | None
    span: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Column:
    """One metric over all models, in the order of the board."""

    facts: MetricFacts
    id: str
    weight: str | None
    ticks: tuple[tuple[float, str], ...]
    axis_note: str
    cells: tuple[Cell, ...]
    flags: tuple[str, ...]
    """Warnings of this metric."""
    missing: tuple[tuple[str, int, str], ...]
    methods: tuple[str, ...]
    """How its intervals were made."""

    @property
    def by_value(self) -> list[Cell]:
        """Best first; what has no value comes last."""
        sign = -1 if self.facts.higher_is_better else 1
        return sorted(self.cells, key=lambda c: (c.raw == "", 0.0 if c.raw == "" else sign * float(c.raw)))


def render(board: Board, folder: Path, *, copy_clips: bool = False) -> Iterator[str]:
    """The page as text, piece by piece.

    Args:
        board: what to show.
        folder: where the page will lie; addresses of clips are relative to it.
        copy_clips: copy previews into `clips/` there.
    """
    script = asset("leaderboard.js")
    style = asset("report.css") + asset("leaderboard.css")
    templates = environment()
    templates.filters["when"] = when
    return templates.get_template("leaderboard.html.j2").generate(
        title=board.title,
        version=__version__,
        labels=list(board.labels),
        settings=board.settings,
        notes=board.notes,
        blocks=[_block(board, number, folder, copy_clips=copy_clips) for number in range(len(board.blocks))],
        n_models=sum(len(block.summary.models) for block in board.blocks),
        legend=words.LEGEND,
        copied=copy_clips,
        shapes=SHAPES,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        style_hash=csp_hash(style),
        script_hash=csp_hash(script),
    )


def marks(block: Block) -> dict[str, Mark]:
    """Shapes and colours of models: as many of one as of the other, so that nobody has to tell colours apart."""
    given: dict[str, Mark] = {}
    for i, model in enumerate(sorted(block.competing)):
        given[model] = Mark((i + i // COLOURS) % len(SHAPES), f"s{i % COLOURS}")
    for model in block.summary.models:
        if model in block.yardsticks:
            given[model] = Mark(2, "s-truth")
        elif is_baseline(model):
            given[model] = Mark(5, "s-base")
    return given


def _block(board: Board, number: int, folder: Path, *, copy_clips: bool) -> dict[str, Any]:
    block = board.blocks[number]
    index = number + 1
    drawn = marks(block)
    footnotes = wording.notes(block.summary)
    numbers = {note: i for i, (_, note) in enumerate(footnotes, 1)}
    columns = [_column(block, index, i, facts, drawn, numbers) for i, facts in enumerate(block.facts)]
    judged = [c for c in columns if not c.facts.diagnostic]
    ranked = [model for model in block.competing if block.place(model).rank is not None]
    return {
        "index": index,
        "lead": f"Table {index}: " if len(board.blocks) > 1 else "",
        "labels": [source.label for source in block.sources],
        "sources": block.sources,
        "verdict": words.verdict(block),
        "rule": block.summary.rule,
        "warnings": block.summary.warnings,
        "footnotes": footnotes,
        "judged": judged,
        "described": [c for c in columns if c.facts.diagnostic],
        "rows": _rows(block, drawn),
        "n_ranking": len(block.ranking),
        "n_ranked": len(ranked),
        "n_clips": len(block.clips),
        "n_failed": sum(clip.row.status == "failed" for clip in block.clips),
        "n_prompts": len({clip.row.prompt for clip in block.clips if clip.row.prompt}),
        "n_flags": sum(bool(column.flags) for column in judged),
        "parallel": _parallel(block, judged, drawn),
        "ranked": [(model, drawn[model]) for model in ranked],
        "pairs": [[block.pair_counts(a, b) if a != b else (0, 0, 0) for b in ranked] for a in ranked],
        "pair_metrics": [f.name for f in block.judging if block.differences.get(f.name)],
        "without": _without(block, ranked),
        "data": safe_json(board_data(block, drawn, ranked, folder, copy_clips=copy_clips)),
    }


def _column(
    block: Block, index: int, place: int, facts: MetricFacts, drawn: Mapping[str, Mark], notes: Mapping[str, int]
) -> Column:
    scores = {s.model: s for s in block.summary.scores if s.metric == facts.name}
    axis = axis_for(facts, scores.values())
    better = "" if facts.diagnostic else ("better →" if facts.higher_is_better else "← better")
    weight = block.weights.get(facts.name)
    return Column(
        facts=facts,
        id=f"metric-{index}-{place}",
        weight=None if weight is None or facts.diagnostic else f"{weight:g}",
        ticks=axis.ticks if axis else (),
        axis_note=", ".join(filter(None, [facts.unit if facts.unit != "1" else "", better])),
        cells=tuple(_cell(block, index, facts, m, scores.get(m), axis, drawn[m], notes) for m in block.summary.models),
        flags=tuple(line for line in block.summary.warnings if line.startswith(f"{facts.name} puts ")),
        missing=tuple((m, n, reason) for m, metric, n, reason in words.unscored(block) if metric == facts.name),
        methods=tuple(dict.fromkeys(s.interval for s in scores.values() if s.interval and s.value is not None)),
    )


def _cell(
    block: Block,
    index: int,
    facts: MetricFacts,
    model: str,
    score: ModelScore | None,
    axis: Axis | None,
    mark: Mark,
    notes: Mapping[str, int],
) -> Cell:
    if score is None or score.value is None or axis is None:
        reason = (score.reason if score else None) or "no reason given"
        return Cell(model, words.kind(block, model), mark, "", "", "", "", "", reason, best=False, first=False,
                    incomplete=True, note=None, note_id="", x=None, span=None)  # fmt: skip
    note = notes.get(score.footnote) if score.footnote is not None else None
    return Cell(
        model=model,
        kind=words.kind(block, model),
        mark=mark,
        raw=repr(score.value),
        value=words.value(block, facts, score),
        interval=words.interval(block, facts, score),
        rank=words.rank(facts, score),
        coverage=wording.coverage(score),
        reason="",
        best=wording.best(score, facts, block.summary),
        first=not facts.diagnostic and (score.rank_low, score.rank_high) == (1, 1),
        incomplete=score.n_unscored > 0,
        note=note,
        note_id=f"note-{index}-{note}",
        x=axis.at(score.value),
        span=(axis.at(score.low), axis.at(score.high)) if score.low is not None and score.high is not None else None,
    )


def _rows(block: Block, drawn: Mapping[str, Mark]) -> list[dict[str, Any]]:
    places = {model: block.place(model) for model in block.summary.models}
    axis = nice_axis(1.0, float(max(2, len(block.competing))))
    clips: dict[str, int] = {}
    for clip in block.clips:
        clips[clip.model] = clips.get(clip.model, 0) + 1
    rows = []
    for i, (model, place) in enumerate(places.items()):
        known = place.low is not None and place.high is not None
        rows.append(
            {
                "index": i,
                "model": model,
                "kind": words.kind(block, model),
                "mark": drawn[model],
                "rank": words.place(block, model),
                "pareto": place.pareto,
                "clips": clips.get(model, 0),
                "raw": "" if place.mean_rank is None else repr(place.mean_rank),
                "mean_rank": "" if place.mean_rank is None else f"{place.mean_rank:.2f}",
                "interval": f"[{place.low:.2f}, {place.high:.2f}]" if known else "",
                "x": None if place.mean_rank is None else axis.at(place.mean_rank),
                "span": (axis.at(place.low), axis.at(place.high))
                if place.low is not None and place.high is not None
                else None,
                "note": place.note or "not ranked",
            }
        )
    return rows


def _parallel(block: Block, columns: Sequence[Column], drawn: Mapping[str, Mark]) -> dict[str, Any] | None:
    """Axes and lines of the parallel coordinates; the better end of every axis is up."""
    axes, ends = [], []
    usable = [c for c in columns if any(cell.raw for cell in c.cells)]
    if len(usable) < 2:
        return None
    step = min(AXIS_STEPS[1], max(AXIS_STEPS[0], (FIGURE_WIDTH - 2 * AXIS_ROOM) // (len(usable) - 1)))
    for i, column in enumerate(usable):
        values = [float(cell.raw) for cell in column.cells if cell.raw]
        low, high = min(values), max(values)
        best, worst = (high, low) if column.facts.higher_is_better else (low, high)
        digits = words.digits(block, column.facts)
        ends.append((best, worst))
        axes.append(
            {
                "x": AXIS_ROOM + i * step,
                "name": column.facts.name if len(column.facts.name) <= 34 else f"{column.facts.name[:33]}…",
                "top": wording.number(best, digits),
                "bottom": wording.number(worst, digits),
            }
        )
    lines = []
    for row, model in enumerate(block.summary.models):
        paths: list[list[tuple[float, float]]] = [[]]
        for i, (column, (best, worst)) in enumerate(zip(usable, ends, strict=True)):
            raw = column.cells[row].raw
            if not raw:
                paths.append([])
                continue
            share = 0.5 if best == worst else (best - float(raw)) / (best - worst)
            paths[-1].append((AXIS_ROOM + i * step, round(TOP + share * (BOTTOM - TOP), 1)))
        lines.append(
            {
                "index": row,
                "model": model,
                "kind": words.kind(block, model),
                "mark": drawn[model],
                "paths": [" ".join(f"{x:g},{y:g}" for x, y in path) for path in paths if len(path) > 1],
                "points": [point for path in paths for point in path],
            }
        )
    # What is not ranked lies under what is.
    lines.sort(key=lambda line: line["kind"] == "model")
    return {"width": 2 * AXIS_ROOM + step * (len(usable) - 1), "axes": axes, "lines": lines}


def _without(block: Block, ranked: Sequence[str]) -> list[tuple[str, list[tuple[str, bool]]]]:
    if len(block.overall.without) < 2:
        return []
    full = {model: block.place(model).rank for model in ranked}
    rows = [("nothing", [(str(full[model]), False) for model in ranked])]
    for metric, left in block.overall.without.items():
        rows.append((metric, [(str(left[m]) if m in left else "–", m in left and left[m] != full[m]) for m in ranked]))
    return rows

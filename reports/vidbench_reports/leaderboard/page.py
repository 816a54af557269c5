"""The board as a page: one self-contained file that opens offline; clips are read from the run folders or copied."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from markupsafe import Markup

from vidbench import __version__, wording
from vidbench.files import write_atomic
from vidbench.leaderboard import Block, Board, BoardClip
from vidbench.report import LeaderboardView
from vidbench.results import MetricFacts, ModelScore, is_baseline
from vidbench.stats import holm
from vidbench_reports.html import SHAPES, Axis, axis_for, nice_axis
from vidbench_reports.leaderboard import words
from vidbench_reports.page import asset, csp_hash, environment, safe_json, when

COLOURS = 6
AXIS_STEP = 132
"""Pixels between two axes of the parallel coordinates."""
TOP, BOTTOM = 58.0, 272.0
"""Where their axes' best and worst values lie."""

_STEM = re.compile(r"[A-Za-z0-9_-]+")


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
class Mark:
    """How a model is drawn wherever it appears."""

    shape: int
    tone: str


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
        "data": safe_json(_data(block, drawn, ranked, folder, copy_clips=copy_clips)),
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
    for i, column in enumerate(usable):
        values = [float(cell.raw) for cell in column.cells if cell.raw]
        low, high = min(values), max(values)
        best, worst = (high, low) if column.facts.higher_is_better else (low, high)
        digits = words.digits(block, column.facts)
        ends.append((best, worst))
        axes.append(
            {
                "x": AXIS_STEP // 2 + i * AXIS_STEP,
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
            paths[-1].append((AXIS_STEP / 2 + i * AXIS_STEP, round(TOP + share * (BOTTOM - TOP), 1)))
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
    return {"width": AXIS_STEP * len(usable), "axes": axes, "lines": lines}


def _without(block: Block, ranked: Sequence[str]) -> list[tuple[str, list[tuple[str, bool]]]]:
    if len(block.overall.without) < 2:
        return []
    full = {model: block.place(model).rank for model in ranked}
    rows = [("nothing", [(str(full[model]), False) for model in ranked])]
    for metric, left in block.overall.without.items():
        rows.append((metric, [(str(left[m]) if m in left else "–", m in left and left[m] != full[m]) for m in ranked]))
    return rows


def _data(
    block: Block, drawn: Mapping[str, Mark], ranked: Sequence[str], folder: Path, *, copy_clips: bool
) -> dict[str, Any]:
    """What the page's script works from."""
    metrics = [facts for facts in block.facts if facts.granularity != "set"]
    models = {model: i for i, model in enumerate(block.summary.models)}
    items, clips = _clips(block, metrics, models, folder, copy_clips=copy_clips)
    return {
        "models": [
            {
                "name": wording.plain(model),
                "shape": drawn[model].shape,
                "tone": drawn[model].tone,
                "kind": words.kind(block, model),
            }
            for model in models
        ],
        "metrics": [
            {
                "name": facts.name,
                "higher": facts.higher_is_better,
                "diagnostic": facts.diagnostic,
                "digits": wording.decimals(
                    [s.value for c in block.clips if (s := c.scores.get(facts.name)) and s.value is not None] or [0.0]
                ),
            }
            for facts in metrics
        ],
        "bases": _bases(block, folder, copy_clips=copy_clips),
        "items": items,
        "clips": clips,
        "pairs": {facts.name: _pairs(block, facts, ranked) for facts in block.judging if block.differences[facts.name]},
    }


def _clips(
    block: Block, metrics: Sequence[MetricFacts], models: Mapping[str, int], folder: Path, *, copy_clips: bool
) -> tuple[list[str], list[list[Any]]]:
    """Labels of what is watched side by side, and the clips: [model, item, source, stem, file, *values].

    Side by side stand clips of one prompt, the n-th take of each model; clips without a prompt stand beside those of
    the same file name.
    """
    items: dict[tuple[str, int], int] = {}
    takes: dict[tuple[str, str], int] = {}
    labels: list[str] = []
    rows: list[list[Any]] = []
    if copy_clips:
        (folder / "clips").mkdir(exist_ok=True)
    for clip in block.clips:
        file = Path(clip.row.clip).name
        label = clip.row.prompt or f"file {wording.plain(file)}"
        take = takes.get((clip.model, label), 0)
        takes[clip.model, label] = take + 1
        if (label, take) not in items:
            items[label, take] = len(labels)
            labels.append(label if take == 0 else f"{label} (take {take + 1})")
        values = [_shortened(clip, facts.name) for facts in metrics]
        stem = _stem(block, clip)
        if stem is not None and copy_clips:
            source = block.sources[clip.source].run.path / "media" / f"{stem}.mp4"
            shutil.copyfile(source, folder / "clips" / source.name)
        rows.append([models[clip.model], items[label, take], clip.source, stem, wording.plain(file), *values])
    return labels, rows


def _shortened(clip: BoardClip, metric: str) -> float | None:
    score = clip.scores.get(metric)
    return None if score is None or score.value is None else float(f"{score.value:.5g}")


def _stem(block: Block, clip: BoardClip) -> str | None:
    """The stem of its preview, where there is one; it may have been edited and must not lead out of the folder."""
    stem = clip.row.media
    if stem is None or not _STEM.fullmatch(stem):
        return None
    return stem if (block.sources[clip.source].run.path / "media" / f"{stem}.mp4").is_file() else None


def _bases(block: Block, folder: Path, *, copy_clips: bool) -> list[str]:
    """Where each source's previews lie, as seen from the page."""
    if copy_clips:
        return ["clips/"] * len(block.sources)
    bases = []
    for source in block.sources:
        media = (source.run.path / "media").resolve()
        try:
            relative = os.path.relpath(media, folder.resolve())
        except ValueError:  # another drive: there is no relative address
            bases.append(media.as_uri() + "/")
            continue
        bases.append("./" + "/".join(quote(part) for part in Path(relative).parts) + "/")
    return bases


def _pairs(block: Block, facts: MetricFacts, ranked: Sequence[str]) -> dict[str, Any]:
    """Differences by `row column`: value, interval, corrected p, and 1, -1 or 0 for who certainly wins."""
    found = block.differences[facts.name]
    corrected = holm([difference.p for difference in found.values()])
    at = {model: i for i, model in enumerate(ranked)}
    rows = {}
    for ((a, b), difference), p in zip(found.items(), corrected, strict=True):
        wins = block.wins[facts.name]
        winner = 1 if (a, b) in wins else -1 if (b, a) in wins else 0
        if a in at and b in at:
            numbers = [difference.value, difference.low, difference.high, p]
            rows[f"{at[a]} {at[b]}"] = [*(None if n is None else float(f"{n:.4g}") for n in numbers), winner]
    return {"digits": words.digits(block, facts), "rows": rows}

"""The board for a pull request, an issue or a README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from vidbench import wording
from vidbench.files import write_atomic
from vidbench.leaderboard import Block, Board
from vidbench.report import LeaderboardView
from vidbench.results import MetricFacts
from vidbench_reports.leaderboard import words

escape = wording.in_markdown
MANY = 40
"""Reasons of unscored clips that are listed; the CSV has them all."""


class MarkdownLeaderboard(LeaderboardView):
    """GitHub Flavored Markdown, with every name from outside escaped."""

    name: ClassVar[str] = "markdown"
    file_name: ClassVar[str] = "leaderboard.md"
    summary: ClassVar[str] = "tables in GitHub Markdown, for pull requests and README files"

    def write(self, board: Board, path: Path, *, copy_clips: bool = False) -> None:
        """Write verdict, ranking, comparisons, coverage and sources."""
        write_atomic(path, (render(board) + "\n").encode("utf-8", "replace"))


def render(board: Board) -> str:
    """The board as text, without a last newline."""
    parts = [f"# {escape(board.title)}"]
    if board.settings:
        parts.append("The runs were not made alike, so each setting has a table of its own.")
        parts.append(
            _table(
                ("what differs", *map(escape, board.labels)), [(s.what, *map(escape, s.values)) for s in board.settings]
            )
        )
    for number, block in enumerate(board.blocks, 1):
        if len(board.blocks) > 1:
            parts.append(f"## Table {number}: {escape(', '.join(source.label for source in block.sources))}")
        parts += _block(block)
    if board.notes:
        parts.append("\n".join(f"- {escape(note)}" for note in board.notes))
    return "\n\n".join(parts)


def _block(block: Block) -> list[str]:
    footnotes = wording.notes(block.summary)
    numbers = {note: i for i, (_, note) in enumerate(footnotes, 1)}
    parts = ["\n".join(escape(line) for line in words.verdict(block))]
    rows = [
        (
            words.place(block, model),
            _model(block, model),
            words.mean_rank(block, model),
            *(_cell(block, facts, model, numbers) for facts in block.judging),
        )
        for model in block.summary.models
    ]
    header = ("rank", "model", "mean rank ↓", *(_header(block, facts) for facts in block.judging))
    parts.append(_table(header, rows))
    parts.append(f"{words.LEGEND} ★ is on the Pareto front. {escape(block.summary.rule)}")
    if footnotes:
        parts.append("\n".join(f"{i}. {escape(of)}: {escape(note)}." for i, (of, note) in enumerate(footnotes, 1)))
    if block.summary.warnings:
        parts.append("\n".join(f"- **{escape(warning)}**" for warning in block.summary.warnings))
    parts += _comparisons(block)
    described = [facts for facts in block.facts if facts.diagnostic]
    if described:
        rows = [(_model(block, m), *(_cell(block, f, m, numbers) for f in described)) for m in block.summary.models]
        parts += ["### Described, not judged", _table(("model", *(_header(block, f) for f in described)), rows)]
    missing = words.unscored(block)
    if missing:
        told = [(escape(m), escape(f), str(n), escape(why)) for m, f, n, why in missing[:MANY]]
        parts += ["### Clips without a score", _table(("model", "metric", "clips", "why"), told)]
        if len(missing) > MANY:
            parts.append(f"and {len(missing) - MANY} more lines in leaderboard.csv")
    return [*parts, "### Runs", _sources(block)]


def _comparisons(block: Block) -> list[str]:
    ranked = [model for model in block.competing if block.place(model).rank is not None]
    if len(ranked) < 2:
        return []
    rows = [(escape(a), *("" if a == b else words.pair(block, a, b) for b in ranked)) for a in ranked]
    parts = [
        "### Pair by pair",
        "In how many metrics the row's model is certainly better : certainly worse than the column's.",
        _table(("", *map(escape, ranked)), rows),
    ]
    if len(block.overall.without) > 1:
        left = [
            (escape(metric), *(str(ranks.get(model, "–")) for model in ranked))
            for metric, ranks in block.overall.without.items()
        ]
        parts += [
            "### Leaving one metric out",
            "The rank by mean rank without the row's metric.",
            _table(("left out", *map(escape, ranked)), left),
        ]
    return parts


def _model(block: Block, model: str) -> str:
    name = escape(model)
    kind = words.kind(block, model)
    if kind != "model":
        return f"*{name}* ({'the reference set' if kind == 'yardstick' else 'broken baseline'}, not ranked)"
    return f"{name} ★" if block.place(model).pareto else name


def _header(block: Block, facts: MetricFacts) -> str:
    unit = "" if facts.unit == "1" else f"<br>{escape(facts.unit)}"
    weight = block.weights.get(facts.name)
    weighted = "" if facts.diagnostic or weight is None else f"<br>weight {weight:g}"
    return f"{escape(facts.name)} {wording.arrow(facts)}".rstrip() + unit + weighted


def _cell(block: Block, facts: MetricFacts, model: str, notes: dict[str, int]) -> str:
    score = block.summary.score(model, facts.name)
    if score is None or score.value is None:
        return f"unscored: {escape((score.reason if score else None) or 'no reason given')}"
    text = words.value(block, facts, score)
    if wording.best(score, facts, block.summary):
        text = f"**{text}**"
    if score.footnote is not None:
        text += f" ({notes[score.footnote]})"
    extra = [words.interval(block, facts, score)]
    if words.rank(facts, score):
        extra.append(f"rank {words.rank(facts, score)}")
    extra.append(wording.coverage(score))
    return f"{text}<br>{' · '.join(filter(None, extra))}"


def _sources(block: Block) -> str:
    rows = [
        (
            escape(source.label),
            escape(", ".join(source.models)),
            escape(source.run.info.folder),
            escape(source.run.info.created),
            escape(source.run.info.vidbench),
            f"{escape(source.run.info.suite or 'none')} {escape(source.run.info.suite_hash or '')}".strip(),
            escape(source.run.info.settings_hash),
        )
        for source in block.sources
    ]
    return _table(("run", "models", "clips", "made", "vidbench", "suite", "settings"), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))

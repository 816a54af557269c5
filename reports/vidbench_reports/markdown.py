"""The ranked table for a pull request, an issue or a README."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from vidbench import wording
from vidbench.files import write_atomic
from vidbench.report import Report
from vidbench.results import FindingRow, MetricFacts, Run, Summary

MANY_FINDINGS = 25
"""Findings that are listed, the most confident first; the rest is counted."""
MANY_FILES = 50
"""Failed and skipped files that are listed; the rest is counted."""

_EVIDENCE = re.compile(r"evidence/[A-Za-z0-9_-]+\.jpg")

escape = wording.in_markdown


class MarkdownReport(Report):
    """GitHub Flavored Markdown, with every name from outside escaped."""

    name: ClassVar[str] = "markdown"
    file_name: ClassVar[str] = "report.md"
    summary: ClassVar[str] = "ranked table in GitHub Markdown, for pull requests and README files"

    def write(self, run: Run, path: Path) -> None:
        """Write the verdict, the tables, and what is not in them."""
        write_atomic(path, (render(run) + "\n").encode("utf-8", "replace"))


def render(run: Run) -> str:
    """The report as text, without a last newline."""
    info = run.info
    told = [wording.count(n, what) for n, what in _counts(run) if n]
    blocks = [
        f"# {escape(run.path.name)}",
        f"{', '.join(told) or 'No clips'} from {escape(info.folder)}; vidbench {escape(info.vidbench)}, "
        f"{escape(info.created)}.",
        "\n".join(escape(line) for line in wording.verdict(run)),
    ]
    if run.summary is not None and run.summary.models:
        blocks += _ranking(run, run.summary)
    blocks += _findings(run)
    if info.left_out:
        rows = [(escape(left.metric), escape(left.reason)) for left in info.left_out]
        blocks += ["## Left out", _table(("metric", "why, and what adds it"), rows)]
    blocks += _problems(run)
    blocks += ["## Made by", _fenced(info.command or "vidbench (no command was recorded)"), _settings(run)]
    return "\n\n".join(blocks)


def _counts(run: Run) -> list[tuple[int, str]]:
    by_status = [
        (sum(row.status == status for row in run.clips), f"{status} {'clip' if status == 'scored' else 'file'}")
        for status in ("scored", "failed", "skipped")
    ]
    models = len({row.model for row in run.clips if row.model is not None})
    return [*by_status, (models, "model"), (len(run.info.metrics), "metric"), (len(run.findings), "finding")]


def _ranking(run: Run, summary: Summary) -> list[str]:
    footnotes = wording.notes(summary)
    numbers = {note: i for i, (_, note) in enumerate(footnotes, 1)}
    judged, described = wording.judging(run), wording.describing(run)
    places = {place.model: place for place in summary.overall}
    blocks = ["## Ranking"]
    if judged:
        rows = [
            (
                str(place.rank) if (place := places[model]).rank is not None else "–",
                escape(model),
                f"{place.mean_rank:.2f}" if place.mean_rank is not None else "–",
                *(_cell(facts, summary, model, numbers) for facts in judged),
            )
            for model in summary.models
        ]
        blocks.append(_table(("rank", "model", "mean rank", *map(_header, judged)), rows, left=(1,)))
    legend = ["↑ higher is better, ↓ lower is better; **bold** is the best value."]
    legend += ["In brackets the 95 % interval; `rank 1–2` are the ranks that the intervals allow;"]
    legend += ["`11/12` means that 11 of 12 clips have a score, all of them where nothing stands."]
    blocks += ["\n".join([*legend, escape(summary.rule)])]
    if summary.totals:
        blocks += ["### Total", "\n".join(f"- {escape(line)}" for line in wording.totals(summary))]
    if described:
        rows = [(escape(m), *(_cell(f, summary, m, numbers) for f in described)) for m in summary.models]
        blocks += ["### Described, not judged", _table(("model", *map(_header, described)), rows, left=(0,))]
    if footnotes:
        blocks.append("\n".join(f"{i}. {escape(of)}: {escape(note)}." for i, (of, note) in enumerate(footnotes, 1)))
    return blocks


def _header(facts: MetricFacts) -> str:
    unit = "" if facts.unit == "1" else f"<br>{escape(facts.unit)}"
    return f"{escape(facts.name)} {wording.arrow(facts)}".rstrip() + unit


def _cell(facts: MetricFacts, summary: Summary, model: str, notes: dict[str, int]) -> str:
    score = summary.score(model, facts.name)
    if score is None:
        return "unscored"
    if score.value is None:
        return f"unscored: {escape(score.reason or 'no reason given')}"
    digits = wording.digits(facts, summary)
    text = wording.number(score.value, digits)
    if wording.best(score, facts, summary):
        text = f"**{text}**"
    if score.footnote is not None:
        text += f" ({notes[score.footnote]})"
    extra = []
    if score.low is not None and score.high is not None:
        extra.append(f"[{wording.number(score.low, digits)}, {wording.number(score.high, digits)}]")
    if wording.rank(score) and not facts.diagnostic:
        extra.append(f"rank {wording.rank(score)}")
    if score.n_unscored:
        extra.append(wording.coverage(score))
    return text + (f"<br>{' · '.join(extra)}" if extra else "")


def _findings(run: Run) -> list[str]:
    if not run.findings:
        return []
    rows = [
        (
            escape(finding.clip),
            escape(finding.kind),
            wording.span(finding),
            escape(finding.message) + (f"<br>can't tell: {escape(finding.limitation)}" if finding.limitation else ""),
            "" if finding.confidence is None else f"{finding.confidence:.0%}",
            _picture(finding),
        )
        for finding in wording.most_confident(run.findings)[:MANY_FINDINGS]
    ]
    blocks = ["## Findings", _table(("clip", "what", "when", "in words", "confidence", "picture"), rows)]
    if len(run.findings) > MANY_FINDINGS:
        blocks.append(f"and {len(run.findings) - MANY_FINDINGS} more in findings.jsonl")
    return blocks


def _picture(finding: FindingRow) -> str:
    """A link to the picture, or why there is none; the name is checked, since the file may have been edited."""
    if finding.evidence is not None and _EVIDENCE.fullmatch(finding.evidence):
        return f"[frames {', '.join(map(str, finding.evidence_frames))}]({finding.evidence})"
    return escape(finding.no_evidence or "none")


def _problems(run: Run) -> list[str]:
    blocks = []
    for status, title in (("failed", "Failed"), ("skipped", "Skipped")):
        files = [row for row in run.clips if row.status == status]
        if files:
            rows = [(escape(row.clip), escape(row.reason or "no reason given")) for row in files[:MANY_FILES]]
            blocks += [f"## {title}", _table(("file", "why"), rows)]
        if len(files) > MANY_FILES:
            blocks.append(f"and {len(files) - MANY_FILES} more in clips.jsonl")
    warnings = [*run.info.plugin_failures, *(run.summary.warnings if run.summary else ())]
    warnings += [f"{row.clip}: {warning}" for row in run.clips for warning in row.warnings]
    if warnings:
        blocks += ["## Warnings", "\n".join(f"- {escape(line)}" for line in warnings[:MANY_FILES])]
    if len(warnings) > MANY_FILES:
        blocks.append(f"and {len(warnings) - MANY_FILES} more in run.json and clips.jsonl")
    return blocks


def _settings(run: Run) -> str:
    info = run.info
    suite = f"suite {escape(info.suite)} ({escape(info.suite_hash or 'no hash')}), " if info.suite else ""
    return f"{suite}settings {escape(info.settings_hash)}, seed {info.seed}."


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], left: tuple[int, ...] | None = None) -> str:
    """`left` names the columns that are aligned left; None aligns all so."""
    line = ["---" if left is None or i in left else "--:" for i in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, line, *rows))


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{wording.plain(text)}\n{fence}"

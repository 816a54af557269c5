"""The verdict for GitHub Actions: annotations at the policy's lines, and a step summary.

A line of a step's output that begins with `::`, or holds `##[`, is an order to the runner. What stands in an annotation
is escaped as GitHub's own toolkit does it (github.com/actions/toolkit, packages/core/src/command.ts); everything else
that a step prints is fenced off by `stop-commands`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from vidbench import wording
from vidbench.gate import words
from vidbench.gate.verdict import Check, Verdict

MOST_ANNOTATIONS = 10
"""GitHub shows so many errors, and so many warnings, of one step."""
MOST_CLIPS = 25
"""Clips that the summary lists; the rest is counted."""


def annotate(verdict: Verdict) -> list[str]:
    """One error a check that did not pass, one warning a clip that breaks a rule."""
    broken = verdict.of("failed", "incomplete")
    lines = [_error(check, verdict) for check in broken[:MOST_ANNOTATIONS]]
    clips = [clip for clip in verdict.flagged if clip.breaks]
    lines += [
        command("warning", [f"{clip.clip}: {words.told(clip.findings[0])}"], title=f"vidbench: {clip.findings[0].kind}")
        for clip in clips[:MOST_ANNOTATIONS]
    ]
    return lines


def _error(check: Check, verdict: Verdict) -> str:
    parts = [f"{words.title(check, verdict)}: {check.reason}", check.note]
    parts += [f"{clip.clip}: {clip.told}" for clip in check.clips[:3]]
    place = {"file": verdict.source, "line": str(check.line)} if check.line is not None else {}
    head = "failed" if check.outcome == "failed" else "could not be decided"
    return command("error", [part for part in parts if part], title=f"vidbench gate {head}", **place)


def command(name: str, lines: Sequence[str], **properties: str) -> str:
    """A workflow command with a message of some lines; line ends within one come from outside and are made visible."""
    told = ",".join(f"{key}={_property(wording.plain(value))}" for key, value in properties.items())
    message = "\n".join(map(wording.plain, lines))
    return f"::{name}{' ' if told else ''}{told}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


@contextmanager
def no_commands(say: Callable[[str], None]) -> Iterator[None]:
    """While this lasts the runner takes no orders from what is printed: names of clips stay names."""
    token = secrets.token_hex(16)
    say(f"::stop-commands::{token}")
    try:
        yield
    finally:
        say(f"::{token}::")


def summary(verdict: Verdict) -> str:
    """The step summary: GitHub Flavored Markdown, all text from outside escaped."""
    escape = wording.in_markdown
    blocks = [
        f"## vidbench gate: {verdict.outcome}",
        escape(words.headline(verdict)),
        _table(
            ("rule", "found", "wanted", "verdict"),
            [
                (escape(words.title(c, verdict)), escape(c.measured), escape(c.bound), words.SIGNS[c.outcome])
                for c in verdict.checks
            ],
        ),
    ]
    for check in verdict.of("failed", "incomplete"):
        said = [f"**{escape(words.title(check, verdict))}**: {escape(check.reason)}"]
        said += [escape(check.note)] if check.note else []
        blocks.append("\n".join(said))
        shown = check.clips[:MOST_CLIPS]
        if shown:
            rest = len(check.clips) - len(shown)
            lines = [f"- {escape(clip.clip)}: {escape(clip.told)}" for clip in shown]
            blocks.append("\n".join([*lines, *([f"- and {rest} more"] if rest else [])]))
    broken = [clip for clip in verdict.flagged if clip.breaks]
    if broken:
        rows = [(escape(c.clip), escape(words.told(finding))) for c in broken[:MOST_CLIPS] for finding in c.findings]
        blocks += ["### Findings", _table(("clip", "finding"), rows)]
        if len(broken) > MOST_CLIPS:
            blocks.append(f"and {wording.count(len(broken) - MOST_CLIPS, 'clip')} more")
    if verdict.accepted:
        blocks += ["### Accepted", "\n".join(f"- {escape(line)}" for line in verdict.accepted)]
    place = f"policy {escape(verdict.source)}, run {escape(verdict.run)}, settings {escape(verdict.settings_hash)}"
    blocks.append(place + (f", baseline {escape(verdict.baseline)}" if verdict.baseline else ""))
    return "\n\n".join(blocks) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))

"""What a verdict shows in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from vidbench import wording
from vidbench.cli.show import wide_table
from vidbench.gate import words
from vidbench.gate.verdict import Verdict, WorstClip
from vidbench.results import Run

MOST_CLIPS = 5
"""Clips that a check lists."""
MOST_FLAGGED = 20
"""Clips with findings that are listed."""
COLOURS = {"passed": "green", "FAILED": "bold red", "INCOMPLETE": "bold yellow"}


def show_verdict(verdict: Verdict, run: Run) -> None:
    """Print the table of rules, why some did not pass, the clips with findings, those not judged, and the verdict."""
    wide_table(
        ("rule", "found", "wanted", "verdict"),
        [(words.title(c, verdict), c.measured, c.bound, words.SIGNS[c.outcome]) for c in verdict.checks],
        COLOURS,
    )
    for line in [*_not_passed(verdict), *_with_findings(verdict, run), *_not_judged(verdict)]:
        click.echo(wording.plain(line))
    for line in verdict.accepted:
        click.echo(wording.plain(line))
    click.echo(f"\n{words.headline(verdict)}")
    page = run.path / "report.html"
    click.echo(wording.plain(f"policy: {verdict.source}; report: {page if page.exists() else run.path}"))


def _not_passed(verdict: Verdict) -> Iterator[str]:
    flagged = {clip.clip for clip in verdict.flagged}
    for check in verdict.of("failed", "incomplete"):
        yield ""
        yield f"{words.SIGNS[check.outcome]} {words.title(check, verdict)}: {check.reason}"
        if check.note:
            yield f"  {check.note}"
        yield from _few([clip for clip in check.clips if clip.clip not in flagged])


def _with_findings(verdict: Verdict, run: Run) -> Iterator[str]:
    if verdict.flagged:
        yield ""
        yield "Clips with findings; look at the picture before you believe one:"
    for clip in verdict.flagged[:MOST_FLAGGED]:
        yield f"  {clip.clip}: {words.consequence(clip)}"
        for finding in clip.findings:
            yield f"    {words.told(finding)}"
            if finding.evidence:
                yield f"    picture: {run.path / finding.evidence}"
    if len(verdict.flagged) > MOST_FLAGGED:
        yield f"  and {wording.count(len(verdict.flagged) - MOST_FLAGGED, 'clip')} more"


def _not_judged(verdict: Verdict) -> Iterator[str]:
    """Clips that a requirement leaves aside although it is met."""
    for check in verdict.of("passed"):
        if check.required and check.clips:
            yield ""
            yield f"{wording.count(len(check.clips), 'clip')} not judged in full, which is no pass; look yourself:"
            yield from _few(check.clips)
    if verdict.accepted:
        yield ""


def _few(clips: Sequence[WorstClip]) -> Iterator[str]:
    for clip in clips[:MOST_CLIPS]:
        yield f"  {clip.clip}: {clip.told}"
    if len(clips) > MOST_CLIPS:
        yield f"  and {len(clips) - MOST_CLIPS} more"

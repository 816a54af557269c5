"""The verdict in words that the terminal, JUnit, GitHub and the pytest fixture share."""

from __future__ import annotations

from vidbench import wording
from vidbench.gate.verdict import Check, FlaggedClip, Verdict
from vidbench.results import FindingRow

SIGNS = {"passed": "passed", "failed": "FAILED", "incomplete": "INCOMPLETE"}


def headline(verdict: Verdict) -> str:
    """The verdict in a sentence: `Gate failed: 1 of 3 rules broken`, say."""
    rules = [check for check in verdict.checks if not check.required]
    failed, incomplete = verdict.of("failed"), verdict.of("incomplete")
    if failed:
        also = f"; {wording.count(len(incomplete), 'other')} could not be decided" if incomplete else ""
        return f"Gate failed: {len(failed)} of {wording.count(len(rules), 'rule')} broken{also}."
    if incomplete:
        return (
            f"Gate incomplete: {len(incomplete)} of {wording.count(len(verdict.checks), 'check')} could not be "
            "decided, so nothing is passed."
        )
    return f"Gate passed: {wording.count(len(verdict.checks), 'check')} met."


def title(check: Check, verdict: Verdict) -> str:
    """The rule, with its model where several were judged."""
    many = len(verdict.models()) > 1 and check.model is not None
    return f"{check.rule} ({check.model})" if many else check.rule


def told(finding: FindingRow) -> str:
    """One finding as a sentence with its kind, frames, time, confidence and limitation."""
    sure = "" if finding.confidence is None else f", confidence {finding.confidence:.0%}"
    limit = f" Can't tell: {finding.limitation}" if finding.limitation else ""
    return f"{finding.kind} ({finding.metric}), {wording.span(finding)}{sure}: {finding.message}{limit}"


def consequence(clip: FlaggedClip) -> str:
    """What a clip's findings do to the verdict."""
    if not clip.breaks:
        return "within what the policy allows"
    return f"breaks {wording.listed([f'“{rule}”' for rule in clip.breaks])}"

"""The verdict as SARIF 2.1.0 (OASIS standard of 2020), which code-scanning pages and editors read.

A finding is a result at its clip; a rule that did not pass is a result at its line of the policy,
and at the run where it has none. SARIF knows lines, characters and bytes and no frames, so frames
and seconds stand in the message and in `properties`.
"""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from vidbench import __version__, wording
from vidbench.gate import words
from vidbench.gate.verdict import Check, FlaggedClip, Verdict
from vidbench.results import FindingRow

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render(verdict: Verdict, clips: str) -> str:
    """The document.

    Args:
        verdict: what is shown.
        clips: the clip folder, as the user gave it; the clips' addresses start from there.
    """
    results = [_check(check, verdict) for check in verdict.of("failed", "incomplete")]
    results += [_finding(clip, finding, clips) for clip in verdict.flagged for finding in clip.findings]
    rules = {f"{finding.metric}/{finding.kind}": finding for clip in verdict.flagged for finding in clip.findings}
    described: list[dict[str, Any]] = [
        {"id": "gate/failed", "shortDescription": {"text": "A rule of the policy is broken."}},
        {"id": "gate/incomplete", "shortDescription": {"text": "A question of the policy could not be decided."}},
    ]
    described += [
        {
            "id": wording.plain(name),
            "shortDescription": {
                "text": wording.plain(f"Finding of kind {finding.kind}, by the metric {finding.metric}")
            },
            **({"help": {"text": wording.plain(f"Can't tell: {finding.limitation}")}} if finding.limitation else {}),
        }
        for name, finding in sorted(rules.items())
    ]
    document = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "vidbench", "version": __version__, "rules": described}},
                "results": results,
                "properties": {"outcome": verdict.outcome, "settingsHash": verdict.settings_hash},
            }
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _check(check: Check, verdict: Verdict) -> dict[str, Any]:
    lines = [f"{words.title(check, verdict)}: {check.reason}", *([check.note] if check.note else [])]
    lines += [f"{clip.clip}: {clip.told}" for clip in check.clips]
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(str(PurePath(verdict.run) / "run.json"))}}
    if check.line is not None:
        place = {"artifactLocation": {"uri": _uri(verdict.source)}, "region": {"startLine": check.line}}
    return {
        "ruleId": f"gate/{check.outcome}",
        "level": "error",
        "message": {"text": "\n".join(wording.plain(line) for line in lines)},
        "locations": [{"physicalLocation": place}],
    }


def _finding(clip: FlaggedClip, finding: FindingRow, folder: str) -> dict[str, Any]:
    return {
        "ruleId": wording.plain(f"{finding.metric}/{finding.kind}"),
        "level": "error" if clip.breaks else "note",
        "message": {"text": wording.plain(words.told(finding))},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": _uri(str(PurePath(folder) / clip.clip))}},
                "message": {"text": wording.span(finding)},
            }
        ],
        "properties": {
            "model": clip.model,
            "startFrame": finding.start,
            "endFrame": finding.end,
            "startTime": finding.start_time,
            "endTime": finding.end_time,
            "confidence": finding.confidence,
            "boxes": [dict(box) for box in finding.boxes],
            "breaks": list(clip.breaks),
        },
    }


def _uri(path: str) -> str:
    """A path as a URI reference: relative where the path is, with everything unusual percent-encoded."""
    place = PurePath(path)
    if place.is_absolute():
        return "file://" + quote(place.as_posix(), errors="surrogateescape")
    return quote(place.as_posix(), safe="/", errors="surrogateescape")

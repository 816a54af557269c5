"""The verdict as JUnit XML, which most CI servers show: a test case a rule, and one a clip with findings.

Elements and attributes are those of the strictest schema in use (github.com/windyroad/JUnit-Schema, JUnit.xsd), which
asks for more than servers need.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from xml.sax.saxutils import escape, quoteattr

from vidbench import wording
from vidbench.gate import words
from vidbench.gate.verdict import Check, FlaggedClip, Verdict

_Case = tuple[str, str, str]
"""Name, the element's content, what it counts as: `failures`, `errors` or nothing."""


def render(verdict: Verdict, made: datetime | None = None) -> str:
    """The document.

    Args:
        verdict: what is shown.
        made: time stamp; now unless given.
    """
    stamp = (made or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S")
    suites = [
        _suite("vidbench.gate.rules", 0, stamp, [_check(check, verdict) for check in verdict.checks], verdict),
        _suite("vidbench.gate.clips", 1, stamp, [_clip(clip) for clip in verdict.flagged], verdict),
    ]
    return '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n' + "".join(suites) + "</testsuites>\n"


def _suite(name: str, number: int, stamp: str, cases: list[_Case], verdict: Verdict) -> str:
    facts = {
        "policy": verdict.source,
        "run": verdict.run,
        "settings": verdict.settings_hash,
        "outcome": verdict.outcome,
        **({"baseline": verdict.baseline} if verdict.baseline else {}),
    }
    properties = "".join(f"   <property name={_attribute(k)} value={_attribute(v)}/>\n" for k, v in facts.items())
    counts = {what: sum(kind == what for _, _, kind in cases) for what in ("failures", "errors")}
    body = "".join(
        f'  <testcase classname="{name}" name={_attribute(case)} time="0"'
        + (f">\n{inner}  </testcase>\n" if inner else "/>\n")
        for case, inner, _ in cases
    )
    said = [words.headline(verdict), *verdict.accepted] if number == 0 else _quiet(verdict.flagged)
    return (
        f' <testsuite package="vidbench" id="{number}" name="{name}" timestamp="{stamp}" hostname="localhost" '
        f'tests="{len(cases)}" failures="{counts["failures"]}" errors="{counts["errors"]}" time="0">\n'
        f"  <properties>\n{properties}  </properties>\n{body}"
        f"  <system-out>{_text(said)}</system-out>\n  <system-err></system-err>\n </testsuite>\n"
    )


def _check(check: Check, verdict: Verdict) -> _Case:
    name = words.title(check, verdict)
    if check.outcome == "passed":
        return name, "", ""
    lines = [check.reason, f"found: {check.measured}", f"wanted: {check.bound}"]
    lines += [f"note: {check.note}"] if check.note else []
    lines += [f"{clip.clip}: {clip.told}" for clip in check.clips]
    element, counted = ("failure", "failures") if check.outcome == "failed" else ("error", "errors")
    return name, _problem(element, check.outcome, check.reason, lines), counted


def _clip(clip: FlaggedClip) -> _Case:
    if not clip.breaks:
        return clip.clip, "", ""
    lines = [words.told(finding) for finding in clip.findings]
    message = f"{lines[0]} ({words.consequence(clip)})"
    return clip.clip, _problem("failure", clip.findings[0].kind, message, lines), "failures"


def _quiet(clips: Iterable[FlaggedClip]) -> list[str]:
    """What is found and allowed: a test case that passes has no place for it."""
    return [f"{clip.clip}: {words.told(f)} (allowed)" for clip in clips if not clip.breaks for f in clip.findings]


def _problem(element: str, kind: str, message: str, lines: list[str]) -> str:
    return f"   <{element} type={_attribute(kind)} message={_attribute(message)}>{_text(lines)}</{element}>\n"


def _attribute(value: str) -> str:
    return quoteattr(_allowed(wording.plain(value)))


def _text(lines: Iterable[str]) -> str:
    return escape("\n".join(_allowed(wording.plain(line)) for line in lines))


def _allowed(text: str) -> str:
    """XML has no way at all to write some characters; control characters are made visible before."""
    return "".join("\ufffd" if ord(c) & 0xFFFE == 0xFFFE or "\ud800" <= c <= "\udfff" else c for c in text)

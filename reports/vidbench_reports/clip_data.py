"""What a page's script draws clips from: scores, findings, and where their pictures are."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidbench import wording
from vidbench.results import ClipRow, FindingRow, MetricFacts, Run, ScoreRow
from vidbench_reports.clip_files import is_evidence, is_stem

SHAPES = (
    "M-4.6 0a4.6 4.6 0 1 0 9.2 0a4.6 4.6 0 1 0-9.2 0Z",
    "M-4.1-4.1h8.2v8.2h-8.2Z",
    "M0-5.8L5.8 0L0 5.8L-5.8 0Z",
    "M0-5.4L5.4 4.2H-5.4Z",
    "M0 5.4L5.4-4.2H-5.4Z",
    "M-1.9-5.2h3.8v3.3h3.3v3.8h-3.3v3.3h-3.8v-3.3h-3.3v-3.8h3.3Z",
)
"""Marks of the models, as SVG paths around 0, 0: with as many colours, nobody has to tell colours apart."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How a model is drawn wherever it appears."""

    shape: int
    colour: int


@dataclass(frozen=True, slots=True)
class Media:
    """A file that stands in the page as base64."""

    id: str
    path: Path

    @property
    def data(self) -> str:
        """Read when the page comes to it, so that only one file is in memory at a time."""
        return base64.b64encode(self.path.read_bytes()).decode("ascii")


class RunData:
    """A run's rows by clip, ready to be written as data of a page's script."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.models = sorted({row.model for row in run.clips if row.model is not None} | {s.model for s in run.scores})
        self.marks = model_marks(self.models)
        self.metrics = [f for f in [*wording.judging(run), *wording.describing(run)] if f.granularity != "set"]
        self._numbers = {model: i for i, model in enumerate(self.models)}
        self._scores: dict[str, dict[str, ScoreRow]] = {}
        for score in run.scores:
            if score.clip is not None:
                self._scores.setdefault(score.clip, {})[score.metric] = score
        self._findings: dict[str, list[FindingRow]] = {}
        for finding in run.findings:
            self._findings.setdefault(finding.clip, []).append(finding)

    def head(self) -> dict[str, Any]:
        """The models with their marks, and the metrics of single clips."""
        return {
            "models": [
                {"name": wording.plain(m), "shape": self.marks[m].shape, "colour": self.marks[m].colour}
                for m in self.models
            ],
            "metrics": [_metric_data(facts, self.run.scores) for facts in self.metrics],
        }

    def score(self, clip: str, metric: str) -> ScoreRow | None:
        """One score of a clip."""
        return self._scores.get(clip, {}).get(metric)

    def findings(self, clip: str) -> Sequence[FindingRow]:
        """What was found in a clip."""
        return self._findings.get(clip, ())

    def clip(self, row: ClipRow, source: Mapping[str, Any], evidence: Mapping[str, str]) -> dict[str, Any]:
        """All of one clip.

        Args:
            row: the clip.
            source: of its pictures, as of `media_sources`.
            evidence: where the pictures of findings are, as of `evidence_sources`.
        """
        return {
            "id": wording.plain(row.clip),
            "model": self._numbers[row.model] if row.model is not None else None,
            "status": row.status,
            "reason": row.reason,
            "prompt": row.prompt,
            "frames": row.frames,
            "fps": row.fps,
            "facts": _facts(row),
            "size": [row.width, row.height],
            "strip": list(row.strip_frames),
            "previewed": row.media_frames if row.media_frames is not None else row.frames,
            "media": dict(source),
            "warnings": list(row.warnings),
            "scores": [_score_data(self.score(row.clip, facts.name)) for facts in self.metrics],
            "findings": [_finding_data(finding, evidence) for finding in self.findings(row.clip)],
        }


def model_marks(models: Sequence[str]) -> dict[str, Mark]:
    """How each of the models is drawn."""
    return {m: Mark((i + i // len(SHAPES)) % len(SHAPES), i % len(SHAPES)) for i, m in enumerate(models)}


def media_sources(run: Run, budget: int) -> tuple[dict[str, dict[str, Any]], list[Media]]:
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
        stem = row.media if row.media is not None and is_stem(row.media) else None
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


def evidence_sources(run: Run, budget: int) -> tuple[dict[str, str], list[Media]]:
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
        if name is None or not is_evidence(name) or name in addresses or not (run.path / name).is_file():
            continue
        cost = 4 * math.ceil((run.path / name).stat().st_size / 3)
        if cost <= left:
            left -= cost
            addresses[name] = f"evidence-{len(embedded)}"
            embedded.append(Media(addresses[name], run.path / name))
        else:
            addresses[name] = name
    return addresses, embedded


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

"""A run's rows as rules ask for them: by model, metric and clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench import wording
from vidbench.gate.policy import Accepted, Selection
from vidbench.results import ClipRow, FindingRow, MetricFacts, ModelScore, Run, ScoreRow


class Rows:
    """All rows of a run, findings that the policy accepts taken out."""

    def __init__(self, run: Run, accepted: Sequence[Accepted] = ()) -> None:
        self.run = run
        self.clips = {row.clip: row for row in run.clips if row.status != "skipped" and row.model is not None}
        self.models = sorted({row.model for row in self.clips.values() if row.model is not None})
        self.scores: dict[tuple[str, str], list[ScoreRow]] = {}
        for score in run.scores:
            if score.clip is not None:
                self.scores.setdefault((score.model, score.metric), []).append(score)
        self.accepted: list[str] = []
        """What the policy's accepted clips came to, in words."""
        taken = self._taken(accepted)
        self.findings = [finding for finding in run.findings if finding.clip not in taken]

    def _taken(self, accepted: Sequence[Accepted]) -> set[str]:
        taken = set()
        with_findings = {finding.clip for finding in self.run.findings}
        for entry in accepted:
            row = self.clips.get(entry.clip)
            if row is None or entry.clip not in with_findings:
                why = "no clip of this run is called so" if row is None else "it has no findings any more"
                self.accepted.append(f"{entry.clip}: the policy accepts its findings, but {why}: remove the entry")
            elif row.sha256 is None or not row.sha256.startswith(entry.sha256):
                self.accepted.append(
                    f"{entry.clip}: its content has changed since its findings were accepted: look anew"
                )
            else:
                taken.add(entry.clip)
                self.accepted.append(f"{entry.clip}: findings accepted: {entry.reason}")
        return taken


@dataclass(frozen=True, slots=True)
class ClipScores:
    """One model's scores in one metric."""

    clips: tuple[str, ...]
    values: NDArray[np.float64]
    """(N,), in order of `clips`."""
    units: tuple[str, ...]
    """What is independent: the clip's prompt, or the clip itself."""

    def worst(self, *, higher_is_better: bool) -> list[tuple[str, float]]:
        """Clips and scores, worst first."""
        pairs = list(zip(self.clips, self.values.tolist(), strict=True))
        return sorted(pairs, key=lambda pair: (pair[1] if higher_is_better else -pair[1], pair[0]))


class ModelRows:
    """One model's part of them."""

    def __init__(self, rows: Rows, model: str) -> None:
        self.rows = rows
        self.model = model
        self.clips = {name: row for name, row in rows.clips.items() if row.model == model}
        self.readable = [name for name, row in self.clips.items() if row.status == "scored"]

    def facts(self, metric: str) -> MetricFacts | None:
        """Of a metric of the run."""
        return self.rows.run.info.metric(metric)

    def absent(self, metric: str) -> str | None:
        """Why the run has no such metric; None where it has."""
        if self.facts(metric) is not None:
            return None
        left_out = next((left for left in self.rows.run.info.left_out if left.metric == metric), None)
        return left_out.reason if left_out is not None else f"{metric} is not part of this run"

    def summary(self, metric: str) -> ModelScore | None:
        """The model's value, where the run is complete."""
        summary = self.rows.run.summary
        return summary.score(self.model, metric) if summary is not None else None

    def scores(self, metric: str) -> ClipScores:
        """The clips that have a score."""
        scored = [
            (row.clip, row.value)
            for row in self.rows.scores.get((self.model, metric), [])
            if row.value is not None and row.clip is not None
        ]
        return ClipScores(
            tuple(clip for clip, _ in scored),
            np.array([value for _, value in scored], dtype=np.float64),
            tuple(unit(clip, self.clips.get(clip)) for clip, _ in scored),
        )

    def coverage(self, metric: str) -> tuple[int, int, dict[str, str]]:
        """Clips that the metric scored, readable clips, and why each of the others is unscored."""
        total = len(self.readable)
        facts = self.facts(metric)
        if facts is not None and facts.granularity == "set":
            score = self.summary(metric)
            return (score.n_scored if score is not None and score.value is not None else 0), total, {}
        given = {row.clip: row for row in self.rows.scores.get((self.model, metric), [])}
        reasons = {}
        for clip in self.readable:
            row = given.get(clip)
            if row is None or row.value is None:
                why = (row.reason if row is not None else self.absent(metric)) or "no reason given"
                reasons[clip] = why
        return total - len(reasons), total, reasons

    def hits(self, counted: Selection) -> tuple[ClipScores, dict[str, list[FindingRow]]]:
        """1 for each clip with a finding, 0 for each that all metrics judged clean; and the findings by clip.

        A clip without a finding that one of the metrics did not judge is neither.
        """
        found: dict[str, list[FindingRow]] = {}
        for finding in self.rows.findings:
            if finding.model == self.model and finding.metric in counted.metrics and counts(finding, counted):
                found.setdefault(finding.clip, []).append(finding)
        judged = set(self.readable)
        for metric in counted.metrics:
            judged &= {row.clip for row in self.rows.scores.get((self.model, metric), []) if row.value is not None}
        names = sorted(judged | found.keys())
        return (
            ClipScores(
                tuple(names),
                np.array([float(name in found) for name in names]),
                tuple(unit(name, self.clips.get(name)) for name in names),
            ),
            {clip: wording.most_confident(found[clip]) for clip in found},
        )


def counts(finding: FindingRow, counted: Selection) -> bool:
    """Whether a rule counts a finding of its metrics."""
    if counted.kinds and finding.kind not in counted.kinds:
        return False
    return counted.min_confidence is None or finding.confidence is None or finding.confidence >= counted.min_confidence


def unit(clip: str, row: ClipRow | None) -> str:
    """What is independent of what: prompts; a clip without one stands alone."""
    return row.prompt if row is not None and row.prompt else f"clip {clip}"

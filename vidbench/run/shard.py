"""The one hot loop: a clip is decoded once, every extractor sees it, every clip metric scores it.

A worker (of whatever engine) makes one `Evaluator` from the plan and calls it clip by clip. What comes back is plain
rows, plus the observations that set metrics will need; the caller writes them. Nothing here knows how work is spread.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip, content_hash, find_clip
from vidbench.errors import ClipError
from vidbench.extractor import BaseExtractor, Extractor, Observation, PairExtractor, Session
from vidbench.files import json_line
from vidbench.metric import ClipMetric, Finding, Metric, Observations, Score, SetMetric
from vidbench.results import ClipRow, FindingRow, ScoreRow, to_json
from vidbench.run.cache import ObservationCache, serialise
from vidbench.run.evidence import draw_evidence
from vidbench.run.feed import feed, told
from vidbench.run.plan import Plan, make_extractor, make_metric
from vidbench.run.preview import Preview, PreviewExtractor
from vidbench.video import ClipFacts

DECODER = f"vidbench-decode-1 av-{metadata.version('av')} opencv-{metadata.version('opencv-python-headless')}"
"""What turned files into frames; part of every cache key. Raise the number when decoding changes."""


@dataclass(frozen=True)
class FactsObservation(Observation):
    """`ClipFacts` in a form that is stored beside the other observations."""

    times: NDArray[np.float64]
    fps: float | None
    width: int
    height: int
    warnings: str

    @classmethod
    def of(cls, facts: ClipFacts) -> FactsObservation:
        """The stored form of `facts`."""
        return cls(facts.times, facts.fps, facts.width, facts.height, json.dumps(list(facts.warnings)))

    def facts(self) -> ClipFacts:
        """Back to the type that metrics read."""
        return ClipFacts(
            len(self.times), self.fps, self.width, self.height, self.times, tuple(json.loads(self.warnings))
        )


class _FactsExtractor(Extractor[Any]):
    """Names the facts in cache keys; the decoder itself supplies them."""

    name = "clip_facts"
    version = "1"
    summary = "frame count, rate, size and times"
    observation_type = FactsObservation

    def open(self, clip: Clip) -> Session:
        raise TypeError("clip facts come from the decoder")


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that evaluating one clip gives."""

    row: ClipRow
    scores: tuple[ScoreRow, ...] = ()
    findings: tuple[FindingRow, ...] = ()
    kept: dict[str, bytes] = field(default_factory=dict)
    """Observations that set metrics need, serialised, by extractor identity."""
    unkept: dict[str, str] = field(default_factory=dict)
    """Why an extractor gave no observation of this clip, by extractor identity."""
    strip: bytes | None = None
    """Filmstrip, JPEG."""
    video: bytes | None = None
    """Preview, MP4."""
    evidence: Mapping[str, bytes] = field(default_factory=dict)
    """Pictures of findings, JPEG, by the name that the findings give them."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one clip, before anything was scored."""

    facts: ClipFacts
    observations: Mapping[str, Observation]
    """By the extractor's identity."""


def clip_key(clip: Clip, sha256: str) -> str:
    """Hash of everything about a clip that its scores depend on: content, metadata, reference clip, actions.

    Raises:
        ClipError: the actions file cannot be read.
    """
    actions = clip.actions
    content = {
        "sha256": sha256,
        "model": clip.model,
        "prompt": clip.prompt,
        "seed": clip.seed,
        "fps": clip.fps,
        "pixels_per_meter": clip.pixels_per_meter,
        "gravity": clip.gravity,
        "actions": _file_hash(actions) if isinstance(actions, Path) else repr(actions),
        "reference": _reference_hash(clip.reference) if clip.reference is not None else None,
        "extra": {key: str(value) for key, value in clip.extra.items()},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


def _stem(clip: Clip) -> str:
    """What the clip's pictures are called in the run folder: its id may hold what no file name may."""
    return hashlib.sha256(clip.id.encode()).hexdigest()[:20]


def _reference_hash(path: Path) -> str:
    """A reference clip that cannot be read costs pair metrics only, so it has a key too."""
    try:
        return content_hash(find_clip(path))
    except (ClipError, OSError) as error:
        return f"unreadable: {error}"


def _file_hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ClipError(f"its actions file {path.name} cannot be read ({error.strerror})") from None


class Evaluator:
    """Evaluates clips by a plan. One per worker; networks are loaded once, when the first clip needs them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.cache = ObservationCache(plan.cache_folder, plan.cache_limit) if plan.cache_folder else None
        self.metrics: list[Metric[Any]] = []
        self.unavailable: dict[str, str] = {}
        self.extractors: dict[str, BaseExtractor[Any]] = {}
        """By identity, so that two metrics share an extractor exactly when its parameters are the same."""
        self._identities: dict[str, dict[str, str]] = {}
        """Metric name to extractor name to identity."""
        self._kept: set[str] = set()
        self._loaded: dict[str, str | None] = {}
        for planned in plan.metrics:
            metric = make_metric(planned)
            self.metrics.append(metric)
            if planned.unavailable is not None:
                self.unavailable[metric.name] = planned.unavailable
                continue
            named: dict[str, str] = {}
            for spec in metric.extractor_specs():
                extractor = make_extractor(spec)
                identity = extractor.identity()
                self.extractors.setdefault(identity, extractor)
                named[spec.name] = identity
                if isinstance(metric, SetMetric):
                    self._kept.add(identity)
            self._identities[metric.name] = named
        self._facts = _FactsExtractor()
        preview = PreviewExtractor()
        self._preview_identity = preview.identity()
        if plan.media:
            self.extractors[self._preview_identity] = preview

    def __call__(self, clip: Clip) -> Outcome:
        """Evaluate one clip; whatever is wrong with it is in the outcome, never raised."""
        return self.evaluate(clip)[0]

    def evaluate(self, clip: Clip) -> tuple[Outcome, Look | None]:
        """The same, with what the extractors saw; None of a clip that failed."""
        started = time.perf_counter()
        seconds: dict[str, float] = {}
        sha256 = key = None
        try:
            sha256 = content_hash(clip)
            key = clip_key(clip, sha256)
            seconds["hash"] = time.perf_counter() - started
            seen = self._observe(clip, sha256, seconds)
        except ClipError as error:
            return self.failed(clip, error.reason, sha256=sha256, key=key), None
        except OSError as error:
            return self.failed(clip, f"cannot be read: {error.strerror or error}", sha256=sha256, key=key), None
        except MemoryError:
            return self.failed(clip, "not enough memory to decode it; see --max-pixels", sha256=sha256, key=key), None
        before = time.perf_counter()
        scores, findings = self._score(clip, seen)
        seconds["score"] = time.perf_counter() - before
        evidence: dict[str, bytes] = {}
        if self.plan.media and findings:
            before = time.perf_counter()
            findings, evidence = self._pictured(clip, findings, seen)
            seconds["evidence"] = time.perf_counter() - before
        facts = seen.facts
        preview = seen.preview()
        if preview is None:
            seen.warnings += [why for i, why in seen.troubles.items() if i == self._preview_identity]
        row = ClipRow(
            clip=clip.id,
            model=clip.model,
            status="scored",
            sha256=sha256,
            frames=facts.frames,
            fps=facts.fps,
            width=facts.width,
            height=facts.height,
            duration=facts.duration,
            prompt=clip.prompt,
            seconds={stage: round(spent, 4) for stage, spent in seconds.items()},
            warnings=(*facts.warnings, *seen.warnings),
            media=_stem(clip) if preview is not None else None,
            media_frames=preview.video_frames if preview is not None else None,
            strip_frames=tuple(int(n) for n in preview.strip_frames) if preview is not None else (),
            findings=len(findings),
            key=key,
        )
        outcome = Outcome(
            row=row,
            scores=tuple(scores),
            findings=tuple(findings),
            kept={i: serialise(o) for i, o in seen.observations.items() if i in self._kept},
            unkept={i: why for i, why in seen.troubles.items() if i in self._kept},
            strip=preview.strip.tobytes() if preview is not None else None,
            video=preview.video.tobytes() if preview is not None else None,
            evidence=evidence,
        )
        return outcome, Look(facts, seen.observations)

    def _pictured(
        self, clip: Clip, findings: Sequence[FindingRow], seen: _Seen
    ) -> tuple[list[FindingRow], dict[str, bytes]]:
        """The findings with the names of their pictures, and the pictures; what goes wrong costs the pictures only."""
        try:
            drawn = draw_evidence(clip, findings, seen.facts, self.plan.limits)
        except Exception as error:  # the clip was read once, yet it can be gone now
            why = error.reason if isinstance(error, ClipError) else told("drawing", error)
            seen.warnings.append(f"its findings have no pictures: {why}")
            return [replace(finding, no_evidence=why) for finding in findings], {}
        seen.warnings += drawn.troubles
        names = {place: f"evidence/{_stem(clip)}-{place}.jpg" for place in drawn.pictures}
        rows = [
            replace(
                finding,
                evidence=names.get(place),
                evidence_frames=drawn.frames.get(place, ()),
                no_evidence=drawn.missing.get(place),
            )
            for place, finding in enumerate(findings)
        ]
        return rows, {names[place]: picture for place, picture in drawn.pictures.items()}

    def failed(self, clip: Clip, reason: str, *, sha256: str | None = None, key: str | None = None) -> Outcome:
        """The outcome of a clip that cannot be evaluated."""
        return failed_outcome(clip.id, clip.model, reason, self.metrics, prompt=clip.prompt, sha256=sha256, key=key)

    def _observe(self, clip: Clip, sha256: str, seconds: dict[str, float]) -> _Seen:
        seen = _Seen()
        wanted = dict(self.extractors)
        reference, reference_sha256 = self._reference(clip, wanted, seen)

        def cache_key(extractor: BaseExtractor[Any]) -> str:
            parts = [sha256, clip.kind, str(clip.fps), DECODER, extractor.identity()]
            if isinstance(extractor, PairExtractor):
                parts.append(reference_sha256)
            return hashlib.sha256("|".join(parts).encode()).hexdigest()

        before = time.perf_counter()
        facts = self.cache.get(cache_key(self._facts), FactsObservation) if self.cache else None
        if facts is not None and self.cache is not None:
            self._within_limits(facts)
            for identity, extractor in list(wanted.items()):
                observation = self.cache.get(cache_key(extractor), extractor.observation_type)
                if observation is not None:
                    seen.observations[identity] = observation
                    del wanted[identity]
            seconds["cache"] = time.perf_counter() - before
        if facts is None or wanted:
            fed = feed(clip, wanted, load=self._load, reference=reference, limits=self.plan.limits, seconds=seconds)
            seen.observations.update(fed.observations)
            seen.troubles.update(fed.troubles)
            facts = FactsObservation.of(fed.facts)
            if self.cache is not None:
                made = [(self.extractors[i], observation) for i, observation in fed.observations.items()]
                for extractor, observation in [(self._facts, facts), *made]:
                    trouble = self.cache.put(cache_key(extractor), observation)
                    if trouble:
                        seen.warnings.append(trouble)
        seen.facts = facts.facts()
        return seen

    def _reference(self, clip: Clip, wanted: dict[str, BaseExtractor[Any]], seen: _Seen) -> tuple[Clip | None, str]:
        """The reference clip and its content hash; without one, pair extractors leave `wanted` with the reason."""
        pairs = [identity for identity, extractor in wanted.items() if isinstance(extractor, PairExtractor)]
        if not pairs:
            return None, ""
        why = "no reference clip is named for it"
        if clip.reference is not None:
            try:
                reference = find_clip(clip.reference)
                return reference, content_hash(reference)
            except (ClipError, OSError) as error:
                why = f"reference clip {clip.reference.name}: {getattr(error, 'reason', error)}"
        for identity in pairs:
            seen.troubles[identity] = why
            del wanted[identity]
        return None, ""

    def _within_limits(self, facts: FactsObservation) -> None:
        """A cached clip is held to today's limits too."""
        limits = self.plan.limits
        if facts.width * facts.height > limits.max_pixels:
            raise ClipError(f"frames of {facts.width}x{facts.height} are over the limit; raise it with --max-pixels")
        if len(facts.times) > limits.max_frames:
            raise ClipError(f"{len(facts.times)} frames are over the limit; raise it with --max-frames")

    def _load(self, extractor: BaseExtractor[Any]) -> None:
        identity = extractor.identity()
        if identity not in self._loaded:
            try:
                extractor.load()
                self._loaded[identity] = None
            except (
                Exception,
                SystemExit,
            ) as error:  # remembered, so that a broken network is tried once and not per clip
                self._loaded[identity] = f"{type(error).__name__}: {error}"
        trouble = self._loaded[identity]
        if trouble is not None:
            raise RuntimeError(trouble)

    def _score(self, clip: Clip, seen: _Seen) -> tuple[list[ScoreRow], list[FindingRow]]:
        scores: list[ScoreRow] = []
        findings: list[FindingRow] = []
        for metric in self.metrics:
            if not isinstance(metric, ClipMetric):
                continue
            score_row, finding_rows = self._rows(metric, clip, seen)
            scores.append(score_row)
            findings.extend(finding_rows)
        return scores, findings

    def _rows(self, metric: ClipMetric[Any], clip: Clip, seen: _Seen) -> tuple[ScoreRow, list[FindingRow]]:
        """The rows of one metric; what cannot be written as JSON makes the clip unscored, not the run fail."""
        score = self._one_score(metric, clip, seen)
        try:
            row = ScoreRow(clip.model, clip.id, metric.name, score.value, score.reason, dict(score.details))
            findings = [_finding_row(clip, metric.name, finding, seen.facts) for finding in score.findings]
            for written in (row, *findings):
                json_line(to_json(written))
        except Exception as error:  # a stranger's details and findings may hold anything
            return ScoreRow(clip.model, clip.id, metric.name, None, told(metric.name, error)), []
        return row, findings

    def _one_score(self, metric: ClipMetric[Any], clip: Clip, seen: _Seen) -> Score:
        if metric.name in self.unavailable:
            return Score.unscored(self.unavailable[metric.name])
        reason = _unmet(metric, clip, seen.facts)
        if reason is not None:
            return Score.unscored(reason)
        named: dict[str, Observation] = {}
        for name, identity in self._identities[metric.name].items():
            if identity not in seen.observations:
                return Score.unscored(seen.troubles.get(identity, f"extractor {name} gave nothing"))
            named[name] = seen.observations[identity]
        try:
            score: object = metric.score(Observations(named, seen.facts), clip)
        except (Exception, SystemExit) as error:
            return Score.unscored(told(metric.name, error))
        return checked_score(metric, score)


def checked_score(metric: Metric[Any], score: object) -> Score:
    """What a metric returned, or an unscored score that says what is wrong with it."""
    if not isinstance(score, Score):
        return Score.unscored(f"{metric.name} returned a {type(score).__name__}, not a Score")
    low, high = metric.value_range
    if score.value is not None and not low <= score.value <= high:
        return Score.unscored(f"{metric.name} gave {score.value:g}, outside its range of {low:g} to {high:g}")
    return score


def failed_outcome(
    clip_id: str,
    model: str | None,
    reason: str,
    metrics: Sequence[Metric[Any]],
    *,
    prompt: str | None = None,
    sha256: str | None = None,
    key: str | None = None,
) -> Outcome:
    """A failed row, and every clip metric unscored because of it (where it is known whose clip it was)."""
    one_line = " ".join(reason.split())
    row = ClipRow(clip_id, model, "failed", one_line, sha256=sha256, prompt=prompt, key=key)
    if model is None:
        return Outcome(row)
    scores = tuple(
        ScoreRow(model, clip_id, metric.name, None, f"clip failed: {one_line}")
        for metric in metrics
        if isinstance(metric, ClipMetric)
    )
    return Outcome(row, scores)


class _Seen:
    """What is known of one clip while it is evaluated."""

    def __init__(self) -> None:
        self.observations: dict[str, Observation] = {}
        self.troubles: dict[str, str] = {}
        self.warnings: list[str] = []
        self.facts: ClipFacts

    def preview(self) -> Preview | None:
        """The pictures, where they were asked for and could be made."""
        return next((o for o in self.observations.values() if isinstance(o, Preview)), None)


def _unmet(metric: ClipMetric[Any], clip: Clip, facts: ClipFacts) -> str | None:
    if metric.needs.prompt and not clip.prompt:
        return "it has no prompt"
    if metric.needs.actions and clip.actions is None:
        return "it has no actions"
    if metric.needs.fps and facts.fps is None:
        return "its frame rate is unknown: add an fps column to metadata.csv or use --fps"
    if facts.frames < metric.frames_needed():
        return f"has {facts.frames} frame{'s' if facts.frames != 1 else ''}, {metric.frames_needed()} are needed"
    return None


def _finding_row(clip: Clip, metric: str, finding: Finding, facts: ClipFacts) -> FindingRow:
    known = facts.fps is not None
    last = facts.frames - 1
    return FindingRow(
        model=clip.model,
        clip=clip.id,
        metric=metric,
        kind=finding.kind,
        start=finding.start,
        end=finding.end,
        start_time=round(float(facts.times[min(max(finding.start, 0), last)]), 4) if known else None,
        end_time=round(float(facts.times[min(max(finding.end, 0), last)]), 4) if known else None,
        message=finding.message,
        confidence=finding.confidence,
        limitation=finding.limitation,
        boxes=tuple({"frame": box.frame, "box": [round(float(v), 2) for v in box.box]} for box in finding.boxes),
    )

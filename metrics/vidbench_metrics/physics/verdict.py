"""What the physics metrics share: one judgement a clip, and which of its events are told as findings.

Findings are told only of clips that raise the alarm: the threshold on the whole clip's score is what keeps innocent
clips quiet. Which moments of such a clip are named follows their own probabilities.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from vidbench.clips import Clip
from vidbench.extractor import P
from vidbench.metric import ClipMetric, ExtractorSpec, Finding, FindingBox, Needs, Observations, Score
from vidbench.video import ClipFacts
from vidbench_metrics.extractors.motion import MotionObservation
from vidbench_metrics.physics.event import EVENT_TYPES, Event, can_express, group_of
from vidbench_metrics.physics.events import Seen, events_of
from vidbench_metrics.physics.model import Calibration, Judgement, shipped
from vidbench_metrics.spans import when

MOST_FINDINGS = 3
"""Findings of a clip, over all metrics; the most probable ones."""
LEAST_PROBABILITY = 0.25
BESIDE_BEST = 0.5
"""A finding's probability by that of the clip's most probable event, at least."""
LEAST_FRAMES = 8

SENTENCES = {
    "vanish": "Something that was there is gone within {when}: nothing hides it and it does not leave the frame.",
    "appear": "Something is there all at once within {when}: it comes neither from the frame's border nor from behind "
    "anything.",
    "swap": "Something changes its colour, size or shape within {when}.",
    "no_reappearance": "Something is hidden within {when} and does not come out again as it should.",
    "gravity_reversed": "Something falls upwards within {when}.",
    "hover": "Something stays in the air within {when} with nothing to hold it.",
    "slow_fall": "Something falls too slowly, or too fast, within {when}.",
    "energy_gain": "Something bounces back faster than it came within {when}.",
    "time_reversed": "The motion within {when} looks like one played backwards.",
    "teleport": "Something is suddenly elsewhere within {when}.",
    "velocity_jump": "Something changes its speed or direction within {when} with nothing touching it.",
    "pass_through": "Something moves through an obstacle within {when}.",
    "freeze": "The picture stands still within {when} while it moves before or after.",
    "jump_cut": "The picture jumps within {when}.",
    "flicker": "Brightness or colour flickers within {when}.",
}
LIMITS = {
    "vanish": "An occluder of the background's colour, or a thing that stops and then looks like the background, can "
    "look the same.",
    "appear": "A thing that was too faint or too small to be followed before can look the same.",
    "swap": "A thing that turns and shows another side, or two that are taken for one, can look the same.",
    "no_reappearance": "A thing that stops behind its occluder can look the same.",
    "gravity_reversed": "Balloons, jets and a camera held upside down are not known.",
    "hover": "A thread, a support outside the frame or a surface seen edge-on is not seen.",
    "slow_fall": "Without scale it is compared with other falls in the clip; motion towards the camera looks slow.",
    "energy_gain": "A surface that moves or springs is not known.",
    "time_reversed": "Something that is driven, thrown or blown can gain height too.",
    "teleport": "Two equal things, one of which hides while the other shows, can look the same.",
    "velocity_jump": "A thin or transparent obstacle, wind, or a push from outside the frame is not seen.",
    "pass_through": "A thing that passes in front of an obstacle or through a gap in it can look the same.",
    "freeze": "A still scene filmed by a fixed camera without noise looks the same.",
    "jump_cut": "A sudden large motion can look like a cut.",
    "flicker": "Lamps and reflections that really flicker look the same.",
}


@dataclass(frozen=True)
class Verdict:
    """Everything about one clip."""

    seen: Seen
    judgement: Judgement
    told: tuple[tuple[Event, float], ...]
    """Events told as findings and their probabilities, most probable first; empty without an alarm."""
    moving: bool
    """Whether anything moves that could be followed."""


class _Last:
    """The last verdict, since five metrics ask for the same one in a row."""

    def __init__(self) -> None:
        self._of: weakref.ref[MotionObservation] | None = None
        self._key: tuple[object, ...] = ()
        self._verdict: Verdict | None = None

    def get(self, observation: MotionObservation, key: tuple[object, ...]) -> Verdict | None:
        same = self._of is not None and self._of() is observation and self._key == key
        return self._verdict if same else None

    def keep(self, observation: MotionObservation, key: tuple[object, ...], verdict: Verdict) -> None:
        self._of, self._key, self._verdict = weakref.ref(observation), key, verdict


_last = _Last()


def verdict(observations: Observations, clip: Clip, calibration: Calibration | None = None) -> Verdict:
    """The judgement of one clip by the shipped model."""
    observation = observations.of("motion", MotionObservation)
    key = (clip.pixels_per_meter, observations.facts.fps, calibration)
    known = _last.get(observation, key)
    if known is not None:
        return known
    seen = events_of(observation, observations.facts, pixels_per_meter=clip.pixels_per_meter)
    judgement = shipped().judge(seen.events, seen.context, calibration)
    moving = bool(len(observation.tracks_table))
    made = Verdict(seen, judgement, _told(seen, judgement), moving)
    _last.keep(observation, key, made)
    return made


def _told(seen: Seen, judgement: Judgement) -> tuple[tuple[Event, float], ...]:
    if not judgement.alarm:
        return ()
    ranked = sorted(
        (
            (event, float(chance))
            for event, chance in zip(seen.events, judgement.events, strict=True)
            if group_of(event.type) not in judgement.not_judged
        ),
        key=lambda pair: (-pair[1], pair[0].start, pair[0].type),
    )
    told: list[tuple[Event, float]] = []
    for event, chance in ranked:
        enough = chance >= max(LEAST_PROBABILITY, BESIDE_BEST * ranked[0][1]) or not told
        if not enough or len(told) == MOST_FINDINGS:
            break
        if not any(_same_moment(event, other) for other, _ in told):
            told.append((event, chance))
    return tuple(told)


def _same_moment(a: Event, b: Event) -> bool:
    """Whether two events are about the same frames, or one is within the other."""
    shared = min(a.end, b.end) - max(a.start, b.start) + 1
    return shared >= 0.5 * (min(a.end - a.start, b.end - b.start) + 1)


def findings(found: Verdict, facts: ClipFacts, kinds: frozenset[str]) -> tuple[Finding, ...]:
    """The findings of some kinds."""
    return tuple(_finding(event, chance, facts) for event, chance in found.told if event.kind in kinds)


def _finding(event: Event, chance: float, facts: ClipFacts) -> Finding:
    end = min(event.end, facts.frames - 1)
    return Finding(
        kind=event.kind,
        start=event.start,
        end=end,
        message=SENTENCES[event.kind].format(when=when(facts, event.start, end)),
        confidence=round(chance, 4),
        limitation=LIMITS[event.kind],
        boxes=tuple(FindingBox(frame, (x0, y0, x1, y1)) for frame, x0, y0, x1, y1 in event.boxes),
    )


def worst(found: Verdict, kinds: frozenset[str]) -> float:
    """Probability of the most probable event that can be the sign of one of the kinds, by groups that can judge."""
    chances = [
        float(chance)
        for event, chance in zip(found.seen.events, found.judgement.events, strict=True)
        if group_of(event.type) not in found.judgement.not_judged and any(can_express(event, kind) for kind in kinds)
    ]
    return max(chances, default=0.0)


class PhysicsMetric(ClipMetric[P]):
    """A family of kinds of violation: 1 minus the probability of the clip's most suspicious event of the family."""

    kinds: frozenset[str] = frozenset()
    higher_is_better = True
    unit = "probability"
    value_range = (0.0, 1.0)
    aggregation = "mean"
    diagnostic = True
    needs = Needs((ExtractorSpec("motion"),))
    min_frames = LEAST_FRAMES
    reference = "own definition; events and learned layer as docs/physics.md says"

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip; unscored, with the reason, where the checks of the family cannot judge it."""
        found = verdict(observations, clip)
        groups = {kind_group for name in EVENT_TYPES if self._about(name) for kind_group in [group_of(name)]}
        able = groups - set(found.judgement.not_judged)
        if not able:
            return Score.unscored(f"not judged: {_reasons(found.judgement, groups)}")
        if able == {"object"} and not found.moving and groups == {"object"}:
            return Score.unscored("not judged: nothing that moves was found")
        details: dict[str, float | int | str | None] = {"events": len(found.seen.events)}
        if able != groups:
            details["partly"] = f"not judged: {_reasons(found.judgement, groups - able)}"
        return Score(
            1 - worst(found, self.kinds),
            findings=findings(found, observations.facts, self.kinds),
            details=details,
        )

    def _about(self, event_type: str) -> bool:
        return bool(EVENT_TYPES[event_type].kinds & self.kinds)


def _reasons(judgement: Judgement, groups: Sequence[str] | set[str]) -> str:
    return "; ".join(
        f"{group.replace('_', '-')} checks: {judgement.not_judged[group]}"
        for group in sorted(groups)
        if group in judgement.not_judged
    )

"""Findings are told of alarming clips only, once a moment, and never by a group that cannot judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidbench.testing import score
from vidbench.video import ClipFacts
from vidbench_metrics.continuity import Continuity
from vidbench_metrics.object_permanence import ObjectPermanence
from vidbench_metrics.physics import verdict as module
from vidbench_metrics.physics.event import EVENT_TYPES, Event
from vidbench_metrics.physics.events import Seen
from vidbench_metrics.physics.model import Judgement, shipped
from vidbench_metrics.physics.verdict import LIMITS, SENTENCES, Verdict, _told, findings, worst
from vidbench_metrics.plausibility import Plausibility, PlausibilityParameters

FACTS = ClipFacts(60, 24.0, 100, 80, np.arange(60) / 24.0)
BOX = ((10, 1.0, 2.0, 9.0, 9.0),)
KINDS = set().union(*(kind.kinds for kind in EVENT_TYPES.values()))


def event(type_: str, start: int, end: int, kind: str) -> Event:
    return Event(type_, start, end, BOX, {}, kind)


EVENTS = (
    event("track_end", 10, 12, "vanish"),
    event("break", 11, 12, "teleport"),
    event("frozen_run", 30, 40, "freeze"),
    event("cut", 50, 51, "jump_cut"),
    event("break", 20, 21, "velocity_jump"),
)


def judgement(alarm: bool, chances, not_judged=()) -> Judgement:
    return Judgement(
        basis="overall",
        log_odds=1.0,
        plausible=0.27,
        suspicion=0.5 if alarm else -0.5,
        alarm=alarm,
        p_value=0.01,
        not_judged=dict.fromkeys(not_judged, "too shaky"),
        groups={},
        events=np.array(chances, np.float64),
    )


def test_without_an_alarm_nothing_is_told():
    assert _told(Seen(EVENTS, {}), judgement(False, [0.9] * 5)) == ()


def test_the_most_probable_moments_are_told_once_each():
    told = _told(Seen(EVENTS, {}), judgement(True, [0.9, 0.8, 0.7, 0.6, 0.1]))
    assert [(e.kind, chance) for e, chance in told] == [("vanish", 0.9), ("freeze", 0.7), ("jump_cut", 0.6)]


def test_an_alarm_always_names_its_strongest_moment():
    told = _told(Seen(EVENTS, {}), judgement(True, [0.02, 0.01, 0.03, 0.02, 0.01]))
    assert [e.kind for e, _ in told] == ["freeze"]


def test_a_group_that_cannot_judge_tells_nothing():
    said = judgement(True, [0.9, 0.8, 0.7, 0.6, 0.5], not_judged=("object",))
    told = _told(Seen(EVENTS, {}), said)
    assert [e.kind for e, _ in told] == ["freeze", "jump_cut"]
    found = Verdict(Seen(EVENTS, {}), said, told, True)
    assert worst(found, frozenset({"vanish"})) == 0
    assert worst(found, frozenset({"freeze"})) == 0.7


def test_findings_go_to_the_metric_of_their_kind():
    said = judgement(True, [0.9, 0.8, 0.7, 0.6, 0.1])
    found = Verdict(Seen(EVENTS, {}), said, _told(Seen(EVENTS, {}), said), True)
    (finding,) = findings(found, FACTS, ObjectPermanence.kinds)
    assert (finding.kind, finding.start, finding.end, finding.confidence) == ("vanish", 10, 12, 0.9)
    assert finding.boxes[0].box == (1.0, 2.0, 9.0, 9.0)
    assert "frames 10 to 12" in finding.message
    assert [f.kind for f in findings(found, FACTS, Continuity.kinds)] == ["freeze", "jump_cut"]


def test_every_kind_has_its_sentence_its_limit_and_one_metric():
    assert set(SENTENCES) == set(LIMITS)
    assert set(SENTENCES) >= KINDS
    assert all("{when}" in sentence for sentence in SENTENCES.values())


def test_a_clip_unlike_all_others_is_not_judged_and_says_why(monkeypatch: pytest.MonkeyPatch):
    model = shipped()
    strange = replace(model, gates={name: replace(gate, high=gate.low - 1) for name, gate in model.gates.items()})
    monkeypatch.setattr(module, "shipped", lambda: strange)
    clip = np.random.default_rng(0).integers(0, 256, (16, 48, 64, 3), dtype=np.uint8)
    for metric in (Plausibility, ObjectPermanence, Continuity):
        said = score(metric, clip)
        assert said.value is None
        assert said.reason is not None
        assert said.reason.startswith("not judged: ")
        assert "trained on" in said.reason


def test_where_nothing_moves_object_checks_abstain():
    still = np.full((16, 48, 64, 3), 120, np.uint8)
    said = score(ObjectPermanence, still)
    assert said.value is None
    assert "not judged" in (said.reason or "")


def test_a_calibration_that_is_none_is_an_error_of_its_file(tmp_path: Path):
    path = tmp_path / "mine.json"
    path.write_text("{}")
    clip = np.full((16, 48, 64, 3), 120, np.uint8)
    with pytest.raises(Exception, match=r"mine\.json"):
        score(Plausibility(PlausibilityParameters(str(path))), clip)

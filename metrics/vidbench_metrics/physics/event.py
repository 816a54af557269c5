"""What the plausibility checks speak about: moments of a clip at which something may be wrong.

An event is a *candidate*, never a verdict: every gate that proposes events stands open, and the learned layer
(`vidbench_metrics.physics.model`) decides from the numbers that describe them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GROUPS = ("object", "whole_frame")
"""Check groups: what is tracked, and what the picture as a whole does. Each is judged, or not, by itself."""


@dataclass(frozen=True, slots=True)
class Event:
    """One moment of a clip at which something may be wrong."""

    type: str
    """What was seen; one of `EVENT_TYPES`, each with its own names of features."""
    start: int
    """First frame."""
    end: int
    """Last frame, inclusive."""
    boxes: tuple[tuple[int, float, float, float, float], ...]
    """(frame, x0, y0, x1, y1) in pixels of the clip; empty where the whole frame is meant."""
    features: Mapping[str, float]
    """Numbers that describe it: the same names for every event of one type; NaN = not known."""
    kind: str
    """The kind of finding it would be reported as (one event type can lead to several kinds)."""


@dataclass(frozen=True, slots=True)
class EventType:
    """What the events of one type can be about."""

    group: str
    """The check group, one of `GROUPS`."""
    kinds: frozenset[str]
    """Kinds of violation that such an event can be the sign of."""


EVENT_TYPES: Mapping[str, EventType] = {
    "track_end": EventType("object", frozenset({"vanish", "appear", "teleport", "no_reappearance"})),
    "track_start": EventType("object", frozenset({"vanish", "appear", "teleport", "no_reappearance"})),
    "hidden": EventType("object", frozenset({"no_reappearance"})),
    "break": EventType("object", frozenset({"velocity_jump", "teleport", "energy_gain"})),
    "flight": EventType("object", frozenset({"gravity_reversed", "hover", "slow_fall"})),
    "change": EventType("object", frozenset({"swap"})),
    "trend": EventType("object", frozenset({"time_reversed", "energy_gain"})),
    "object_flicker": EventType("object", frozenset({"flicker"})),
    "standstill": EventType("object", frozenset({"hover"})),
    "passage": EventType("object", frozenset({"swap", "teleport"})),
    "edge_crossing": EventType("object", frozenset({"pass_through"})),
    "frozen_run": EventType("whole_frame", frozenset({"freeze"})),
    "cut": EventType("whole_frame", frozenset({"jump_cut"})),
    "flicker": EventType("whole_frame", frozenset({"flicker"})),
}
"""Every known type of event. A type that is not listed belongs to the object checks and may be about any kind."""


def group_of(event_type: str) -> str:
    """The check group of a type of event; unknown types go to the object checks, whose gate is the stricter one."""
    known = EVENT_TYPES.get(event_type)
    return known.group if known is not None else "object"


def can_express(event: Event, kind: str) -> bool:
    """Whether an event can be the sign of a violation of a kind."""
    known = EVENT_TYPES.get(event.type)
    return known is None or kind in known.kinds or kind == event.kind

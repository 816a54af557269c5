"""What metrics share that hold clips of one start against each other: same first frames, different actions.

The folder's convention, in `metadata.csv`:

* `start`: any text; clips of a model with the same text begin in the same state.
* `reference`: the true clip from there, under the clip's own actions where that is known.
* `actions_kind`: `random` where the actions were drawn at random instead of taken from the true clip; anything else,
  or nothing, where they are the true clip's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from vidbench.clips import Clip

COLUMN = "start"
KIND = "actions_kind"
RANDOM = "random"


def start_of(clip: Clip | None) -> str | None:
    """The clip's start; None where its metadata names none."""
    value = None if clip is None else clip.extra.get(COLUMN)
    text = "" if value is None else str(value).strip()
    return text or None


def is_random(clip: Clip | None) -> bool:
    """Whether the clip's actions were drawn at random."""
    return clip is not None and str(clip.extra.get(KIND, "")).strip().lower() == RANDOM


@dataclass(frozen=True)
class OfStart:
    """Of one clip of a start."""

    start: str
    id: str
    """The clip's, for an order that does not depend on who came first."""


T = TypeVar("T", bound=OfStart)


def by_start(clips: Iterable[T]) -> dict[str, list[T]]:
    """Clips by their start, both in order."""
    found: dict[str, list[T]] = {}
    for clip in sorted(clips, key=lambda one: (one.start, one.id)):
        found.setdefault(clip.start, []).append(clip)
    return found

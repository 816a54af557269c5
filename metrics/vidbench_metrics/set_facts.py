"""What every distance between sets must know of the two sets besides their features, and what it must say of them.

A distance of few samples is mostly sampling error, and two sets that differ in number, length, rate or size of clips
differ before any model is at fault. Both are said beside the value (`caution`), and such a value is not ranked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vidbench.video import ClipFacts


@dataclass(frozen=True, slots=True)
class Span:
    """Smallest and largest of some numbers; None before the first."""

    low: float | None = None
    high: float | None = None

    def with_(self, value: float | None) -> Span:
        """The span with one more number; None is not counted."""
        return self if value is None else self.joined(Span(value, value))

    def joined(self, other: Span) -> Span:
        """Both together."""
        if self.low is None or self.high is None:
            return other
        if other.low is None or other.high is None:
            return self
        return Span(min(self.low, other.low), max(self.high, other.high))

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return "unknown"
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"


SPANS = ("frames", "fps", "width", "height")


@dataclass(frozen=True, slots=True)
class SetFacts:
    """What must be known of a set besides its features; a few numbers, however many clips."""

    clips: int = 0
    frames: Span = Span()
    fps: Span = Span()
    width: Span = Span()
    height: Span = Span()
    unpublished: str = ""
    """Checksum of the weights where they are not the published ones."""

    def with_(self, facts: ClipFacts, unpublished: str) -> SetFacts:
        """With one more clip."""
        return SetFacts(
            self.clips + 1,
            self.frames.with_(facts.frames),
            self.fps.with_(None if facts.fps is None else round(facts.fps, 3)),
            self.width.with_(facts.width),
            self.height.with_(facts.height),
            self.unpublished or unpublished,
        )

    def joined(self, other: SetFacts) -> SetFacts:
        """Both sets together."""
        return SetFacts(
            self.clips + other.clips,
            self.frames.joined(other.frames),
            self.fps.joined(other.fps),
            self.width.joined(other.width),
            self.height.joined(other.height),
            self.unpublished or other.unpublished,
        )

    @property
    def size(self) -> str:
        """Width x height in words."""
        return f"{self.width}x{self.height}"

    def packed(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def unpacked(cls, values: object) -> SetFacts:
        """Back from JSON values of an unknown hand.

        Raises:
            ValueError: they are no such facts.
        """
        names = {"clips", "unpublished", *SPANS}
        if not isinstance(values, Mapping) or set(values) != names:
            raise ValueError(f"the facts of a set are {', '.join(sorted(names))}")
        clips, unpublished = values["clips"], values["unpublished"]
        if not isinstance(clips, int) or isinstance(clips, bool) or clips < 0 or not isinstance(unpublished, str):
            raise ValueError("the number of clips or the weights' checksum is none")
        frames, fps, width, height = (_span(values[name], name) for name in SPANS)
        return cls(clips, frames, fps, width, height, unpublished[:200])


def _span(value: object, name: str) -> Span:
    if not isinstance(value, Mapping) or set(value) != {"low", "high"}:
        raise ValueError(f"the span of {name} is no pair of low and high")
    low, high = value["low"], value["high"]
    if low is None and high is None:
        return Span()
    for end in (low, high):
        if not isinstance(end, int | float) or isinstance(end, bool) or not math.isfinite(end):
            raise ValueError(f"the span of {name} holds no finite numbers")
    if low > high:
        raise ValueError(f"the span of {name} goes from {low} to {high}")
    return Span(low, high)


def caution(
    generated: SetFacts,
    reference: SetFacts,
    rows: tuple[int, int],
    dimensions: int,
    *,
    noun: str = "windows",
    consequence: str = "most of the value is sampling error",
    more: Iterable[str | None] = (),
) -> str | None:
    """Why a value can't be taken at its face: few samples, unlike sets, other weights; None where nothing is wrong.

    Args:
        generated: the model's clips.
        reference: the reference set's.
        rows: how many feature rows the two have.
        dimensions: of a row.
        noun: what a row stands for, in the plural.
        consequence: what too few rows do to the value.
        more: what else the metric has to say.
    """
    said = []
    unpublished = generated.unpublished or reference.unpublished
    if unpublished:
        said.append(
            f"not computed with the published weights (checksum {unpublished[:23]}… differs), so it compares with no "
            "published number"
        )
    if min(rows) < 2 * dimensions:
        least = f"{rows[0]} and {rows[1]} {noun}" if rows[0] != rows[1] else f"{rows[0]} {noun} a set"
        said.append(f"{least} for {dimensions} dimensions: below {2 * dimensions} {consequence}")
    pairs = [
        ("clips", str(generated.clips), str(reference.clips)),
        ("frames", str(generated.frames), str(reference.frames)),
        ("fps", str(generated.fps), str(reference.fps)),
        ("size", generated.size, reference.size),
    ]
    unlike = [f"{what} ({ours} against {theirs})" for what, ours, theirs in pairs if ours != theirs]
    if unlike:
        said.append(f"the sets differ in {', '.join(unlike)}")
    said += [extra for extra in more if extra]
    return "; ".join(said) or None

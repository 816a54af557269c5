"""One decode for everybody: streams a clip once and feeds every extractor that wants it.

An extractor that raises loses its observation and keeps its reason; the others go on. Only the clip's own faults end
the feeding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from vidbench.clips import Clip
from vidbench.errors import ClipError
from vidbench.extractor import BaseExtractor, Extractor, Observation, PairExtractor, PairSession, Session
from vidbench.video import ClipFacts, ClipReader, Frames, Limits


@dataclass(slots=True)
class Fed:
    """What one decode gave."""

    facts: ClipFacts
    observations: dict[str, Observation] = field(default_factory=dict)
    """By the key under which the extractor was given."""
    troubles: dict[str, str] = field(default_factory=dict)
    """Why an extractor gave nothing, by the same key."""


class Clock:
    """Adds up wall seconds by stage.

        with clock("decode"):
            ...

    Args:
        seconds: stage to seconds; changed in place.
    """

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._stage = ""
        self._since = 0.0

    def __call__(self, stage: str) -> Clock:
        """Name the stage that the next `with` measures."""
        self._stage = stage
        return self

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        spent = time.perf_counter() - self._since
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + spent


def feed(
    clip: Clip,
    extractors: Mapping[str, BaseExtractor[Any]],
    *,
    load: Callable[[BaseExtractor[Any]], None],
    reference: Clip | None,
    limits: Limits,
    seconds: dict[str, float],
) -> Fed:
    """Decode `clip` (and its reference clip in step, where a pair extractor wants it) and feed `extractors`.

    Args:
        clip: what to decode.
        extractors: by a key of the caller's.
        load: called before an extractor is opened; what it raises is that extractor's trouble.
        reference: the true clip; must be given if there is a pair extractor.
        limits: of decoding.
        seconds: wall seconds per stage are added here.

    Raises:
        ClipError: the clip cannot be decoded.
    """
    clock = Clock(seconds)
    seats = {key: _Seat(clip, extractor, load, clock) for key, extractor in extractors.items()}
    with ExitStack() as stack:
        reader = stack.enter_context(ClipReader(clip, limits))
        paired = any(seat.pair is not None for seat in seats.values())
        follower = Follower(reference, limits, stack) if paired and reference is not None else None
        frames_of = iter(reader)
        while True:
            with clock("decode"):
                frames = next(frames_of, None)
            if frames is None:
                break
            for seat in seats.values():
                seat.push(frames)
            if follower is not None:
                with clock("decode_reference"):
                    in_step = list(follower.take(frames))
                for mine, theirs in in_step:
                    for seat in seats.values():
                        seat.push_pair(mine, theirs)
        facts = reader.facts
        reference_frames = follower.count() if follower is not None else 0
    fed = Fed(facts)
    for key, seat in seats.items():
        if follower is not None and follower.trouble is not None and isinstance(seat.extractor, PairExtractor):
            fed.troubles[key] = follower.trouble
            continue
        observation = seat.close(facts.frames, reference_frames)
        if observation is not None:
            fed.observations[key] = observation
        else:
            fed.troubles[key] = seat.trouble or f"{seat.extractor.name} gave nothing"
    return fed


def told(name: str, error: BaseException) -> str:
    """What a stranger's code raised, as a reason of one line."""
    return " ".join(f"{name} raised {type(error).__name__}: {error}".split())[:500]


class _Seat:
    """One extractor at the table: open, fed and closed, until it raises."""

    def __init__(
        self, clip: Clip, extractor: BaseExtractor[Any], load: Callable[[BaseExtractor[Any]], None], clock: Clock
    ) -> None:
        self.extractor = extractor
        self.trouble: str | None = None
        self.single: Session | None = None
        self.pair: PairSession | None = None
        self._clock = clock
        self._attempt(lambda: self._open(clip, load))

    def _open(self, clip: Clip, load: Callable[[BaseExtractor[Any]], None]) -> None:
        load(self.extractor)
        if isinstance(self.extractor, PairExtractor):
            self.pair = self.extractor.open_pair(clip)
        elif isinstance(self.extractor, Extractor):
            self.single = self.extractor.open(clip)

    def _attempt(self, action: Callable[[], None]) -> None:
        if self.trouble is not None:
            return
        with self._clock(self.extractor.name):
            try:
                action()
            except (Exception, SystemExit) as error:  # a stranger's extractor may raise anything; its metrics say so
                self.trouble = told(self.extractor.name, error)

    def push(self, frames: Frames) -> None:
        session = self.single
        if session is not None:
            self._attempt(lambda: session.push(frames))

    def push_pair(self, frames: Frames, reference: Frames) -> None:
        session = self.pair
        if session is not None:
            self._attempt(lambda: session.push_pair(frames, reference))

    def close(self, frames: int, reference_frames: int) -> Observation | None:
        closed: list[Observation] = []

        def finish() -> None:
            if self.pair is not None:
                observation = self.pair.close_pair(frames, reference_frames)
            elif self.single is not None:
                observation = self.single.close()
            else:
                return
            if not isinstance(observation, self.extractor.observation_type):
                wanted = self.extractor.observation_type.__name__
                raise TypeError(f"it gave a {type(observation).__name__}, not a {wanted}")
            observation.to_parts()  # refuses what could not be stored
            closed.append(observation)

        self._attempt(finish)
        return closed[0] if closed else None


class Follower:
    """Reads a reference clip in step with another clip whose chunks have another length.

    Args:
        clip: the reference clip.
        limits: of decoding.
        stack: closes the reader.
    """

    def __init__(self, clip: Clip, limits: Limits, stack: ExitStack) -> None:
        self.trouble: str | None = None
        """Why the reference clip could not be read to its end."""
        self._name = clip.path.name
        self._chunks: Iterator[Frames] = iter(())
        self._waiting: Frames | None = None
        self._taken = 0
        try:
            self._chunks = iter(stack.enter_context(ClipReader(clip, limits)))
        except ClipError as error:
            self.trouble = f"reference clip {self._name}: {error.reason}"

    def _next(self) -> Frames | None:
        try:
            return next(self._chunks, None)
        except ClipError as error:
            self.trouble = f"reference clip {self._name}: {error.reason}"
            return None

    def take(self, frames: Frames) -> Iterator[tuple[Frames, Frames]]:
        """Pairs of equally long runs that together cover `frames`, or less where the reference ends before."""
        done = 0
        while done < len(frames):
            if self._waiting is None:
                self._waiting = self._next()
                if self._waiting is None:
                    return
            n = min(len(frames) - done, len(self._waiting))
            yield _part(frames, done, done + n), _part(self._waiting, 0, n)
            self._waiting = _part(self._waiting, n, len(self._waiting)) if n < len(self._waiting) else None
            done += n
            self._taken += n

    def count(self) -> int:
        """Frames of the reference clip in all; reads what is left of it."""
        while self.trouble is None:
            if self._waiting is None:
                self._waiting = self._next()
            if self._waiting is None:
                break
            self._taken += len(self._waiting)
            self._waiting = None
        return self._taken


def _part(frames: Frames, start: int, stop: int) -> Frames:
    return Frames(frames.pixels[start:stop], frames.times[start:stop], frames.start + start)

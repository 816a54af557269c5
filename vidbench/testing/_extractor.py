"""The promises of an extractor, one check each."""

from __future__ import annotations

import json
import math
from typing import Any, Protocol

import numpy as np

from vidbench.extractor import BaseExtractor, Extractor, Observation, PairExtractor, curve_fault, track_fault
from vidbench.testing._clips import Pixels, edge_clips
from vidbench.testing._contract import (
    CHUNKS,
    TOLERANCE,
    ContractError,
    Given,
    check_parameters_of,
    check_text_facts,
    difference,
    is_frozen_dataclass,
    require,
)
from vidbench.testing._run import chunks, clip_of, facts_of, is_network, loaded, observe, single
from vidbench.video import Frames

AnyExtractor = type[BaseExtractor[Any]]


class ExtractorCheck(Protocol):
    """Tries one promise of an extractor; raises `ContractError` where it is broken."""

    @property
    def __name__(self) -> str: ...

    def __call__(self, extractor: AnyExtractor, given: Given | None = None) -> None: ...


def check_extractor(extractor: AnyExtractor, given: Given | None = None) -> None:
    """Run every check of `extractor_checks`.

    Raises:
        ContractError: at the first broken promise.
    """
    for check in extractor_checks():
        check(extractor, given)


def extractor_checks() -> tuple[ExtractorCheck, ...]:
    """One check per promise."""
    return (
        extractor_facts,
        extractor_observation,
        extractor_repeats,
        extractor_ignores_chunking,
        extractor_keeps_clips_apart,
        extractor_leaves_frames_alone,
        extractor_takes_edge_clips,
        extractor_shows_itself,
    )


def extractor_facts(extractor: AnyExtractor, given: Given | None = None) -> None:
    """Class facts are there and of the right type, parameters are plain, the identity is stable."""
    own = extractor.__name__
    check_text_facts(extractor, ("name", "version", "summary"))
    kind = getattr(extractor, "observation_type", None)
    if not (isinstance(kind, type) and issubclass(kind, Observation)):
        raise ContractError(f"{own}.observation_type must be a subclass of Observation, it is {kind!r}")
    require(is_frozen_dataclass(kind), f"{own}.observation_type must be a frozen dataclass")
    require(
        issubclass(extractor, Extractor) != issubclass(extractor, PairExtractor),
        f"{own} must be either an Extractor or a PairExtractor",
    )
    check_parameters_of(extractor)
    one, two = _fresh(extractor), _fresh(extractor)
    require(one.identity() == two.identity(), f"{own}.identity() differs between instances")


def extractor_observation(extractor: AnyExtractor, given: Given | None = None) -> None:
    """The observation is of the announced type, holds finite numbers or NaN, and survives being stored."""
    clips = (given or Given()).clips
    seen = observe(extractor, clips[0], reference=clips[-1])
    _check_observation(extractor, seen)
    arrays, scalars = seen.to_parts()
    again = type(seen).from_parts({k: a.copy() for k, a in arrays.items()}, json.loads(json.dumps(scalars)))
    changed = difference(seen, again)
    require(changed is None, f"{extractor.name}: the field {changed} does not survive to_parts and from_parts")


def extractor_repeats(extractor: AnyExtractor, given: Given | None = None) -> None:
    """Two instances see the same in the same clip, bit for bit."""
    clips = (given or Given()).clips
    one, two = (observe(_fresh(extractor), clips[0], reference=clips[-1]) for _ in range(2))
    changed = difference(one, two)
    require(changed is None, f"{extractor.name}: two instances see different {changed} in the same clip")


def extractor_ignores_chunking(extractor: AnyExtractor, given: Given | None = None) -> None:
    """The observation does not depend on how many frames come at once: exactly, or to rounding for networks."""
    clips = (given or Given()).clips
    tool = loaded(extractor)
    tolerance = TOLERANCE if is_network(tool) else 0.0
    whole = observe(tool, clips[0], reference=clips[-1])
    for chunk in CHUNKS:
        changed = difference(whole, observe(tool, clips[0], reference=clips[-1], chunk=chunk), tolerance)
        require(
            changed is None,
            f"{extractor.name}: {changed} differs where frames come {chunk} at a time instead of at once",
        )


def extractor_keeps_clips_apart(extractor: AnyExtractor, given: Given | None = None) -> None:
    """Two clips that are open at the same time do not disturb each other."""
    clips = (given or Given()).clips
    tool = loaded(extractor)
    tolerance = TOLERANCE if is_network(tool) else 0.0
    for pixels, beside in zip(clips[:2], _interleaved(tool, clips[0], clips[1], clips[-1]), strict=True):
        changed = difference(observe(tool, pixels, reference=clips[-1], chunk=3), beside, tolerance)
        require(changed is None, f"{extractor.name}: {changed} of a clip depends on another that is open beside it")


def extractor_leaves_frames_alone(extractor: AnyExtractor, given: Given | None = None) -> None:
    """Frames are read only: every extractor of a run sees the same array."""
    clips = (given or Given()).clips
    tool = loaded(extractor)
    times = facts_of(clips[0], 8.0).times
    frames, theirs = Frames(clips[0].copy(), times, 0), Frames(clips[-1].copy(), times, 0)
    if isinstance(tool, PairExtractor):
        pair = tool.open_pair(clip_of(clips[0], 8.0, paired=True))
        pair.push_pair(frames, theirs)
        pair.close_pair(len(frames), len(theirs))
    else:
        session = single(tool).open(clip_of(clips[0], 8.0, paired=False))
        session.push(frames)
        session.close()
    untouched = np.array_equal(frames.pixels, clips[0]) and np.array_equal(theirs.pixels, clips[-1])
    require(untouched, f"{extractor.name} writes into the frames that it is given")


def extractor_takes_edge_clips(extractor: AnyExtractor, given: Given | None = None) -> None:
    """Short, small, odd and empty-looking clips give an observation; nothing is raised."""
    whole = (given or Given()).clips[0]
    cases: list[tuple[str, Pixels, Pixels, float | None]] = [
        (what, pixels, pixels[::-1], 8.0) for what, pixels in edge_clips().items()
    ]
    cases.append(("an unknown frame rate", whole, whole, None))
    if issubclass(extractor, PairExtractor):
        cases.append(("a shorter reference clip", whole, whole[:3], 8.0))
        cases.append(("a longer reference clip", whole[:3], whole, 8.0))
        cases.append(("a smaller reference clip", whole, whole[:, ::2, ::2], 8.0))
    for what, pixels, reference, fps in cases:
        try:
            seen = observe(extractor, pixels, reference=reference, fps=fps)
        except Exception as error:
            raise ContractError(
                f"{extractor.name} raises {type(error).__name__} on a clip with {what}: {error}"
            ) from error
        _check_observation(extractor, seen)


def extractor_shows_itself(extractor: AnyExtractor, given: Given | None = None) -> None:
    """What the observation offers to be plotted fits the clip: `curves` and `tracks`, where there are any."""
    whole = (given or Given()).clips[0]
    for what, pixels in {"clip": whole, **edge_clips()}.items():
        seen = observe(extractor, pixels, reference=pixels[::-1])
        for name, values in seen.curves().items():
            fault = curve_fault(values, len(pixels))
            require(fault is None, f"{extractor.name}: the curve '{name}' of {what} {fault}")
        for track in seen.tracks():
            fault = track_fault(track, len(pixels))
            require(fault is None, f"{extractor.name}: a track of {what} {fault}")


def _fresh(extractor: AnyExtractor) -> BaseExtractor[Any]:
    tool = extractor()
    tool.load()
    return tool


def _interleaved(tool: BaseExtractor[Any], a: Pixels, b: Pixels, reference: Pixels) -> tuple[Observation, Observation]:
    in_step = zip(*(chunks(pixels, 8.0, 3) for pixels in (a, b, reference)), strict=True)
    if isinstance(tool, PairExtractor):
        pairs = tool.open_pair(clip_of(a, 8.0, paired=True)), tool.open_pair(clip_of(b, 8.0, paired=True))
        for of_a, of_b, theirs in in_step:
            pairs[0].push_pair(of_a, theirs)
            pairs[1].push_pair(of_b, theirs)
        return pairs[0].close_pair(len(a), len(reference)), pairs[1].close_pair(len(b), len(reference))
    sessions = single(tool).open(clip_of(a, 8.0, paired=False)), single(tool).open(clip_of(b, 8.0, paired=False))
    for of_a, of_b, _ in in_step:
        sessions[0].push(of_a)
        sessions[1].push(of_b)
    return sessions[0].close(), sessions[1].close()


def _check_observation(extractor: AnyExtractor, seen: object) -> None:
    own, kind = extractor.name, extractor.observation_type
    if not isinstance(seen, kind):
        raise ContractError(f"{own} gives a {type(seen).__name__}, its observation_type is {kind.__name__}")
    try:
        arrays, scalars = seen.to_parts()
    except TypeError as error:
        raise ContractError(f"{own}: {error}") from error
    for name, array in arrays.items():
        require(array.dtype.kind in "biuf", f"{own}: {name} holds {array.dtype}, not numbers")
        require(
            array.dtype.kind != "f" or not bool(np.isinf(array).any()),
            f"{own}: {name} holds an infinite value; use NaN where there is none",
        )
    for name, value in scalars.items():
        require(
            not (isinstance(value, float) and math.isinf(value)), f"{own}: {name} is infinite; use NaN or None instead"
        )

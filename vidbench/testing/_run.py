"""Running extractors and metrics over arrays, the way a run does over files."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vidbench.clips import Clip
from vidbench.extractor import BaseExtractor, Extractor, Observation, PairExtractor
from vidbench.metric import ClipMetric, Metric, Observations, Score, SetMetric
from vidbench.testing._clips import Pixels
from vidbench.video import ClipFacts, Frames

Extractors = Mapping[str, type[BaseExtractor[Any]]]
"""Extractors by name that are used before the installed ones: for a metric whose extractor isn't installed."""

Describe = Callable[[Clip, int], Clip]
"""Gives the clip of a number the metadata that a metric asks for: `lambda clip, n: replace(clip, extra={"start": n})`."""
AnyMetric = Metric[Any]
_Frozen = tuple[tuple[int, ...], bytes]
AnyExtractor = BaseExtractor[Any]


def observe(
    extractor: type[AnyExtractor] | AnyExtractor,
    pixels: Pixels,
    *,
    fps: float | None = 8.0,
    reference: Pixels | None = None,
    chunk: int | None = None,
) -> Observation:
    """Run one extractor over one clip.

    Args:
        extractor: its class (loaded once, with default parameters), or an instance that has been loaded.
        pixels: (T, H, W, 3) uint8; the extractor sees it read-only.
        fps: frames per second; None for a clip whose rate is unknown.
        reference: the reference clip, for pair extractors.
        chunk: frames a push; None pushes all at once.

    Raises:
        ValueError: a pair extractor without `reference`.
    """
    tool = loaded(extractor) if isinstance(extractor, type) else extractor
    clip = clip_of(pixels, fps, paired=reference is not None)
    if isinstance(tool, PairExtractor):
        if reference is None:
            raise ValueError(f"{tool.name} is a pair extractor: give it a reference clip")
        common = min(len(pixels), len(reference))
        both = zip(chunks(pixels[:common], fps, chunk), chunks(reference[:common], fps, chunk), strict=True)
        pair = tool.open_pair(clip)
        for ours, theirs in both:
            pair.push_pair(ours, theirs)
        return pair.close_pair(len(pixels), len(reference))
    session = single(tool).open(clip)
    for frames in chunks(pixels, fps, chunk):
        session.push(frames)
    return session.close()


def observations(
    metric: type[AnyMetric] | AnyMetric,
    pixels: Pixels,
    *,
    fps: float | None = 8.0,
    reference: Pixels | None = None,
    chunk: int | None = None,
    extractors: Extractors | None = None,
    describe: Describe | None = None,
    number: int = 0,
) -> Observations:
    """What the extractors that `metric` asks for see of one clip; arguments as for `observe`.

    `describe` adds metadata to the clip; `number` is which clip of its set it is.
    """
    seen = {}
    for spec in instance(metric).extractor_specs():
        tool = loaded(extractor_class(spec.name, extractors), json.dumps(dict(spec.parameters), sort_keys=True))
        look = _remembered if is_network(tool) else observe
        seen[spec.name] = look(tool, pixels, fps=fps, reference=reference, chunk=chunk)
    clip = described(clip_of(pixels, fps, paired=reference is not None), number, describe)
    return Observations(seen, facts_of(pixels, fps), clip)


def described(clip: Clip, number: int, describe: Describe | None) -> Clip:
    """The clip with an id of its own, and with what `describe` adds."""
    own = replace(clip, id=f"testing/{number}.npy")
    return own if describe is None else describe(own, number)


def _remembered(
    tool: AnyExtractor, pixels: Pixels, *, fps: float | None, reference: Pixels | None, chunk: int | None
) -> Observation:
    """As `observe`, but asks a network once about the same clip: every check of a metric shows it the same few."""
    theirs = None if reference is None else (reference.shape, reference.tobytes())
    return copy.deepcopy(_asked(tool, (pixels.shape, pixels.tobytes()), fps, theirs, chunk))


@functools.lru_cache(maxsize=64)
def _asked(
    tool: AnyExtractor, clip: _Frozen, fps: float | None, reference: _Frozen | None, chunk: int | None
) -> Observation:
    theirs = None if reference is None else _thawed(reference)
    return observe(tool, _thawed(clip), fps=fps, reference=theirs, chunk=chunk)


def _thawed(frozen: _Frozen) -> Pixels:
    shape, pixels = frozen
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def score(
    metric: type[AnyMetric] | AnyMetric,
    pixels: Pixels,
    *,
    fps: float | None = 8.0,
    reference: Pixels | None = None,
    chunk: int | None = None,
    extractors: Extractors | None = None,
    describe: Describe | None = None,
    number: int = 0,
) -> Score:
    """Score one clip with a clip or pair metric; arguments as for `observe`.

    As in a run, a clip with fewer than `min_frames` frames, or without the frame rate that the metric needs, is
    unscored without asking the metric.

    Raises:
        TypeError: `metric` is a set metric.
    """
    scorer = instance(metric)
    if not isinstance(scorer, ClipMetric):
        raise TypeError(f"{scorer.name} is a set metric: use score_set")
    refusal = _refusal(scorer, pixels, fps)
    if refusal is not None:
        return Score.unscored(refusal)
    seen = observations(scorer, pixels, fps=fps, reference=reference, chunk=chunk, extractors=extractors)
    return scorer.score(seen, described(clip_of(pixels, fps, paired=reference is not None), number, describe))


def set_state(
    metric: type[AnyMetric] | AnyMetric,
    clips: Iterable[Pixels],
    *,
    fps: float | None = 8.0,
    chunk: int | None = None,
    extractors: Extractors | None = None,
    describe: Describe | None = None,
    truths: Iterable[Pixels] | None = None,
) -> Any:
    """The state of a set metric that has seen `clips`; those that a run would leave unscored are left out.

    `truths` are the clips' own reference clips, for metrics that hold each clip against its true one.

    Raises:
        TypeError: `metric` is not a set metric.
    """
    scorer = instance(metric)
    if not isinstance(scorer, SetMetric):
        raise TypeError(f"{scorer.name} is not a set metric: use score")
    state = scorer.new_state()
    pairs = ((pixels, None) for pixels in clips) if truths is None else zip(clips, truths, strict=False)
    for number, (pixels, truth) in enumerate(pairs):
        if _refusal(scorer, pixels, fps) is None:
            seen = observations(
                scorer,
                pixels,
                fps=fps,
                reference=truth,
                chunk=chunk,
                extractors=extractors,
                describe=describe,
                number=number,
            )
            state = scorer.observe(state, seen)
    return state


def score_set(
    metric: type[AnyMetric] | AnyMetric,
    *,
    generated: Iterable[Pixels],
    reference: Iterable[Pixels],
    fps: float | None = 8.0,
    chunk: int | None = None,
    extractors: Extractors | None = None,
    describe: Describe | None = None,
) -> Score:
    """Compare a set of generated clips with a reference set.

    Where the metric needs no reference set, `reference` are the clips' own true clips.

    Raises:
        TypeError: `metric` is not a set metric.
    """
    scorer = instance(metric)
    if not isinstance(scorer, SetMetric):
        raise TypeError(f"{scorer.name} is not a set metric: use score")
    own = not scorer.needs.reference_set
    truths = list(reference)
    ours = set_state(
        scorer,
        generated,
        fps=fps,
        chunk=chunk,
        extractors=extractors,
        describe=describe,
        truths=truths if own else None,
    )
    if own:
        return scorer.compare(ours, scorer.new_state())
    theirs = set_state(scorer, truths, fps=fps, chunk=chunk, extractors=extractors, describe=describe)
    return scorer.compare(ours, theirs)


def missing_requirement(plugin: type[AnyMetric] | type[AnyExtractor]) -> str | None:
    """One line that says what must be installed before `plugin` can run, or None: for `pytest.skip`."""
    if issubclass(plugin, BaseExtractor):
        return plugin.requires.missing()
    own = plugin().requirements().missing()
    if own is not None:
        return own
    needed = (extractor_class(spec.name) for spec in plugin().extractor_specs())
    return next((reason for reason in (extractor.requires.missing() for extractor in needed) if reason), None)


def chunks(pixels: Pixels, fps: float | None, chunk: int | None) -> Iterator[Frames]:
    """The clip as the decoder would hand it out: contiguous, read-only, with times."""
    fixed = np.array(pixels, order="C")
    fixed.setflags(write=False)
    times = facts_of(pixels, fps).times
    step = chunk or max(1, len(fixed))
    for start in range(0, len(fixed), step):
        yield Frames(fixed[start : start + step], times[start : start + step], start)


def facts_of(pixels: Pixels, fps: float | None) -> ClipFacts:
    """What decoding the clip would have told."""
    count, height, width = pixels.shape[:3]
    times = np.arange(count, dtype=np.float64) / (fps or 1.0)
    return ClipFacts(frames=count, fps=fps, width=width, height=height, times=times)


def clip_of(pixels: Pixels, fps: float | None, *, paired: bool) -> Clip:
    """A clip with every piece of metadata that a metric may ask for."""
    return Clip(
        id="testing/clip.npy",
        path=Path("testing/clip.npy"),
        model="testing",
        kind="array",
        prompt="a disc and a square move before a textured wall",
        seed=0,
        reference=Path("testing/reference.npy") if paired else None,
        actions=(0,) * (len(pixels) - 1),
        fps=fps,
    )


def instance(metric: type[AnyMetric] | AnyMetric) -> AnyMetric:
    """The metric with default parameters, or the instance that was given."""
    return metric() if isinstance(metric, type) else metric


def single(extractor: AnyExtractor) -> Extractor[Any]:
    """`extractor`, known to be one of single clips."""
    if not isinstance(extractor, Extractor):
        raise TypeError(f"{type(extractor).__name__} is neither an Extractor nor a PairExtractor")
    return extractor


def extractor_class(name: str, extractors: Extractors | None = None) -> type[AnyExtractor]:
    """The extractor of that name, the caller's own before the installed ones."""
    if extractors is not None and name in extractors:
        return extractors[name]
    from vidbench import plugins

    return plugins.extractors().load(name)


@functools.lru_cache(maxsize=32)
def loaded(extractor: type[AnyExtractor], parameters: str = "{}") -> AnyExtractor:
    """An instance that is shared by all checks, so that networks are read once; `parameters` as JSON."""
    tool = extractor.from_mapping(json.loads(parameters))
    tool.load()
    return tool


def is_network(extractor: AnyExtractor) -> bool:
    """Whether a network computes the observation, whose sums may be ordered otherwise in another batch."""
    return "torch" in extractor.requires.modules or extractor.weights_checksum() is not None


def _refusal(metric: AnyMetric, pixels: Pixels, fps: float | None) -> str | None:
    if len(pixels) < metric.frames_needed():
        return f"{metric.name} needs at least {metric.frames_needed()} frames, the clip has {len(pixels)}"
    if metric.needs.fps and fps is None:
        return f"{metric.name} needs a known frame rate"
    return None

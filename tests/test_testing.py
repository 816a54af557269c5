"""The contract checks: sound toys pass every one, and each deliberate fault is caught by the check that names it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import Extractor, NoParameters, Observation, PairExtractor, PairSession, Requires, Session
from vidbench.metric import (
    ClipMetric,
    ExtractorSpec,
    Finding,
    FindingBox,
    Needs,
    Observations,
    PairMetric,
    Score,
    SetMetric,
)
from vidbench.testing import (
    ContractError,
    Given,
    check_extractor,
    check_metric,
    edge_clips,
    extractor_checks,
    metric_checks,
    missing_requirement,
    observations,
    observe,
    score,
    score_set,
    set_state,
    synthetic_clips,
)
from vidbench.video import Frames


@dataclass(frozen=True)
class Means(Observation):
    means: NDArray[np.float64]
    """(T,) mean pixel of each frame."""
    last_time: float


class MeansSession(Session):
    def __init__(self) -> None:
        self.means: list[NDArray[np.float64]] = []
        self.last_time = math.nan

    def push(self, frames: Frames) -> None:
        self.means.append(np.array([frame.mean() for frame in frames.pixels]))
        self.last_time = float(frames.times[-1])

    def close(self) -> Observation:
        return Means(np.concatenate(self.means), self.last_time)


class ToyMeans(Extractor[NoParameters]):
    name = "toy_means"
    version = "1"
    summary = "mean of all pixels, per frame"
    observation_type = Means

    def open(self, clip: Clip) -> Session:
        return MeansSession()


@dataclass(frozen=True)
class Differences(Observation):
    differences: NDArray[np.float64]
    """(T,) mean absolute difference of each pair of frames."""


class DifferencesSession(PairSession):
    def __init__(self) -> None:
        self.values: list[float] = []

    def push_pair(self, frames: Frames, reference: Frames) -> None:
        for ours, theirs in zip(frames.pixels, reference.pixels, strict=True):
            if ours.shape == theirs.shape:
                self.values.append(float(np.abs(ours.astype(float) - theirs).mean()))

    def close_pair(self, frames: int, reference_frames: int) -> Observation:
        return Differences(np.array(self.values))


class ToyDifferences(PairExtractor[NoParameters]):
    name = "toy_differences"
    version = "1"
    summary = "mean absolute difference to the reference clip, per frame"
    observation_type = Differences

    def open_pair(self, clip: Clip) -> PairSession:
        return DifferencesSession()


@dataclass(frozen=True)
class Scale:
    factor: float = 1.0
    inverse: bool = False
    digits: int = 3


class Brightness(ClipMetric[Scale]):
    name = "toy_brightness"
    version = "1"
    summary = "mean brightness; says nothing about beauty"
    reference = "defined here: mean of all pixels over 255"
    protocol = "toy"
    higher_is_better = True
    unit = "1"
    value_range = (0.0, 1.0)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("toy_means"),))
    responds_to = ("darken",)
    parameters_type = Scale

    def score(self, observations: Observations, clip: Clip) -> Score:
        return Score(float(observations.of("toy_means", Means).means.mean()) / 255)


class Difference(PairMetric[NoParameters]):
    name = "toy_error"
    version = "1"
    summary = "mean absolute difference to the reference clip"
    reference = "defined here: mean |x - y|"
    protocol = "toy"
    higher_is_better = False
    unit = "grey levels"
    value_range = (0.0, 255.0)
    aggregation = "mean"
    needs = Needs((ExtractorSpec("toy_differences"),))
    responds_to = ("darken",)

    def score(self, observations: Observations, clip: Clip) -> Score:
        differences = observations.of("toy_differences", Differences).differences
        return Score(float(differences.mean())) if len(differences) else Score.unscored("the sizes differ")


@dataclass
class Sums:
    count: int
    total: NDArray[np.float64]


class BrightnessDistance(SetMetric[NoParameters, Sums]):
    name = "toy_distance"
    version = "1"
    summary = "difference of the mean brightness of two sets"
    reference = "defined here: |mean(generated) - mean(reference)|"
    protocol = "toy"
    higher_is_better = False
    unit = "grey levels"
    value_range = (0.0, 255.0)
    needs = Needs((ExtractorSpec("toy_means"),))
    responds_to = ("darken",)

    def new_state(self) -> Sums:
        return Sums(0, np.zeros(1))

    def observe(self, state: Sums, observations: Observations) -> Sums:
        means = observations.of("toy_means", Means).means
        state.count += len(means)
        state.total += means.sum()
        return state

    def merge(self, state: Sums, other: Sums) -> Sums:
        return Sums(state.count + other.count, state.total + other.total)

    def compare(self, generated: Sums, reference: Sums) -> Score:
        if not generated.count or not reference.count:
            return Score.unscored("a set has no frames")
        return Score(float(abs(generated.total / generated.count - reference.total / reference.count)[0]))


TOYS = {"toy_means": ToyMeans, "toy_differences": ToyDifferences}
GIVEN = Given(synthetic_clips(3, frames=10, height=40, width=56), TOYS)
METRICS = (Brightness, Difference, BrightnessDistance)


@pytest.fixture(autouse=True)
def _toy_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def darken(clip: NDArray[np.uint8], strength: float, seed: int) -> NDArray[np.uint8]:
        return (clip * (1 - 0.8 * strength)).astype(np.uint8)

    monkeypatch.setattr("vidbench.damage.DAMAGES", {"darken": darken})


@pytest.mark.parametrize(
    ("metric", "check"),
    [pytest.param(m, c, id=f"{m.name}-{c.__name__}") for m in METRICS for c in metric_checks(m)],
)
def test_sound_metric_passes(metric, check):
    check(metric, GIVEN)


@pytest.mark.parametrize("extractor", TOYS.values(), ids=TOYS)
@pytest.mark.parametrize("check", extractor_checks(), ids=lambda check: check.__name__)
def test_sound_extractor_passes(extractor, check):
    check(extractor, GIVEN)


def test_all_checks_at_once_stop_at_the_broken_promise():
    check_metric(Brightness, GIVEN)
    check_extractor(ToyMeans, GIVEN)
    with pytest.raises(ContractError, match="summary must be one line"):
        check_metric(_faulty(Brightness, summary="two\nlines"), GIVEN)
    with pytest.raises(ContractError, match="summary is empty"):
        check_extractor(_faulty(ToyMeans, summary=" "), GIVEN)


def _faulty(base: type, **changes: Any) -> type:
    return type(base.__name__, (base,), changes)


def _check(name: str, checks: tuple[Any, ...]) -> Any:
    return next(check for check in checks if check.__name__ == name)


@dataclass
class MutableScale:
    factor: float = 1.0


@dataclass(frozen=True)
class ArrayScale:
    factor: object = frozenset()


FACT_FAULTS = {
    "no summary": ({"summary": None}, "summary must be a class attribute of type str"),
    "empty reference": ({"reference": ""}, "reference is empty"),
    "name with capitals": ({"name": "toyBrightness"}, "must be lower_snake_case"),
    "two-line summary": ({"summary": "a\nb"}, "must be one line"),
    "range of words": ({"value_range": ("low", "high")}, "must be a pair of numbers"),
    "range with three ends": ({"value_range": (0.0, 1.0, 2.0)}, "must be a pair of numbers"),
    "range upside down": ({"value_range": (1.0, 0.0)}, "from small to large"),
    "direction in words": ({"higher_is_better": "yes"}, "higher_is_better must be .* bool"),
    "distance where higher is better": ({"name": "toy_distance"}, "higher is better"),
    "error where higher is better": ({"name": "toy_error"}, "higher is better"),
    "score where lower is better": ({"name": "toy_score", "higher_is_better": False}, "lower is better"),
    "index where lower is better": ({"name": "toy_index", "higher_is_better": False}, "lower is better"),
    "granularity of another base": ({"granularity": "set"}, "granularity is 'set', its base class says 'clip'"),
    "unknown aggregation": ({"aggregation": "max"}, "aggregation must be one of"),
    "set aggregation of a clip metric": ({"aggregation": "set"}, "must be 'set' for set metrics, and only there"),
    "needs nothing": ({"needs": Needs(())}, "names no extractor"),
    "needs a string": ({"needs": "toy_means"}, "needs must be .* Needs"),
    "min_frames of nought": ({"min_frames": 0}, "min_frames must be at least 1"),
}


@pytest.mark.parametrize(("changes", "message"), FACT_FAULTS.values(), ids=FACT_FAULTS)
def test_wrong_facts_are_caught(changes, message):
    faulty = _faulty(Brightness, **changes)
    with pytest.raises(ContractError, match=message):
        _check("metric_facts", metric_checks(faulty))(faulty, GIVEN)


def test_facts_are_read_without_an_instance():
    def refuse(self, parameters=None):
        raise RuntimeError("instantiated")

    _check("metric_facts", metric_checks(Brightness))(_faulty(Brightness, __init__=refuse), GIVEN)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (MutableScale, "must be a frozen dataclass"),
        (dict, "must be a frozen dataclass"),
        (ArrayScale, "not plain values"),
    ],
)
def test_wrong_parameters_are_caught(parameters, message):
    faulty = _faulty(Brightness, parameters_type=parameters)
    with pytest.raises(ContractError, match=message):
        _check("metric_parameters", metric_checks(faulty))(faulty, GIVEN)


def test_parameters_that_do_not_come_back_are_caught():
    forgetful = _faulty(Brightness, parameter_values=lambda self: {"factor": 2.0})
    with pytest.raises(ContractError, match=r"gives .*factor=2\.0.* not .*factor=1\.0"):
        _check("metric_parameters", metric_checks(forgetful))(forgetful, GIVEN)
    lenient = _faulty(Brightness, from_mapping=classmethod(lambda cls, values: cls()))
    with pytest.raises(ContractError, match="accepts a parameter that it does not have"):
        _check("metric_parameters", metric_checks(lenient))(lenient, GIVEN)


NEED_FAULTS = {
    "unknown extractor": (Brightness, {"needs": Needs((ExtractorSpec("no_such"),))}, "needs the extractor 'no_such'"),
    "unknown parameter": (Brightness, {"needs": Needs((ExtractorSpec("toy_means", {"x": 1}),))}, "no parameter 'x'"),
    "unknown baseline": (Brightness, {"sees": ("melted",)}, "unknown baseline melted; there are: frozen"),
    "unknown damage": (Brightness, {"responds_to": ("melt",)}, "unknown damage melt; there are: darken"),
    "pair extractor": (Brightness, {"needs": Needs((ExtractorSpec("toy_differences"),))}, "is no pair metric"),
    "no pair extractor": (Difference, {"needs": Needs((ExtractorSpec("toy_means"),))}, "needs at least one pair"),
}


@pytest.mark.parametrize(("base", "changes", "message"), NEED_FAULTS.values(), ids=NEED_FAULTS)
def test_wrong_needs_are_caught(base, changes, message):
    faulty = _faulty(base, **changes)
    with pytest.raises(ContractError, match=message):
        _check("metric_needs", metric_checks(faulty))(faulty, GIVEN)


class ReturnsNaN(Brightness):
    def score(self, observations: Observations, clip: Clip) -> Score:
        bare = object.__new__(Score)  # as a metric would that goes around Score's own guard
        for name, value in (("value", math.nan), ("reason", None), ("findings", ()), ("details", {})):
            object.__setattr__(bare, name, value)
        return bare


class ReturnsFloat(Brightness):
    def score(self, observations: Observations, clip: Clip) -> Score:
        return 0.5  # type: ignore[return-value]  # the fault under test


class OutOfRange(Brightness):
    value_range = (0.0, 0.1)


class NeverScores(Brightness):
    def score(self, observations: Observations, clip: Clip) -> Score:
        return Score.unscored("not today")


class BadDetails(Brightness):
    def score(self, observations: Observations, clip: Clip) -> Score:
        return replace(super().score(observations, clip), details={"spread": math.inf})


class BadFinding(Brightness):
    finding: ClassVar[Finding] = Finding("dark", 0, 0, "it is dark")

    def score(self, observations: Observations, clip: Clip) -> Score:
        return replace(super().score(observations, clip), findings=(self.finding,))


class Remembers(Brightness):
    scored = 0

    def score(self, observations: Observations, clip: Clip) -> Score:
        self.scored += 1
        return Score(self.scored / 1000)


class WritesObservations(Brightness):
    def score(self, observations: Observations, clip: Clip) -> Score:
        means = observations.of("toy_means", Means).means
        means /= 255
        return Score(float(means.mean()))


class KeepsObservations(BrightnessDistance):
    """Adds into the array of the first observation."""

    def observe(self, state: Sums, observations: Observations) -> Sums:
        means = observations.of("toy_means", Means).means
        if not state.count:
            return Sums(len(means), means)
        state.total += means
        return Sums(state.count + len(means), state.total)


class FailsOnShortClips(Brightness):
    def score(self, observations: Observations, clip: Clip) -> Score:
        means = observations.of("toy_means", Means).means
        return Score(float(min(1.0, np.abs(np.diff(means)).max())))  # empty where there is one frame


class ReasonlessOnShortClips(Brightness):
    def score(self, observations: Observations, clip: Clip) -> Score:
        return super().score(observations, clip) if observations.facts.frames > 2 else Score.unscored(" ")


class DividesByRate(Brightness):
    def score(self, observations: Observations, clip: Clip) -> Score:
        return Score(1 / (1 + observations.facts.fps))


class WrongDirection(Brightness):
    higher_is_better = False


class Indifferent(Brightness):
    def score(self, observations: Observations, clip: Clip) -> Score:
        return Score(0.5)


class TurnsBack(Brightness):
    """Worse overall, but best when half damaged."""

    def score(self, observations: Observations, clip: Clip) -> Score:
        brightness = float(observations.of("toy_means", Means).means.mean()) / 255
        return Score(0.9 if 0.2 < brightness < 0.35 else brightness)


class UnscoredUnderDamage(Brightness):
    def score(self, observations: Observations, clip: Clip) -> Score:
        brightness = float(observations.of("toy_means", Means).means.mean())
        return Score(brightness / 255) if brightness > 60 else Score.unscored("too dark")


class BiasedPair(Difference):
    def score(self, observations: Observations, clip: Clip) -> Score:
        return Score(min(255.0, 1 + float(observations.of("toy_differences", Differences).differences.mean())))


class NeedsOneSize(Difference):
    def score(self, observations: Observations, clip: Clip) -> Score:
        return Score(float(np.max(observations.of("toy_differences", Differences).differences)))


class BiasedSet(BrightnessDistance):
    def compare(self, generated: Sums, reference: Sums) -> Score:
        score = super().compare(generated, reference)
        return score if score.value is None else Score(score.value + 0.01)


class OrderedSet(BrightnessDistance):
    """Later clips weigh more."""

    def observe(self, state: Sums, observations: Observations) -> Sums:
        means = observations.of("toy_means", Means).means
        return Sums(state.count + len(means), state.total / 2 + means.sum())


class MergeLosesCount(BrightnessDistance):
    def merge(self, state: Sums, other: Sums) -> Sums:
        return Sums(max(state.count, other.count), state.total + other.total)


class MergeMutates(BrightnessDistance):
    def merge(self, state: Sums, other: Sums) -> Sums:
        state.count += other.count
        state.total = state.total + other.total
        return state


class MergeAliases(BrightnessDistance):
    """Sound at the moment of merging; the next `observe` writes into the argument."""

    def merge(self, state: Sums, other: Sums) -> Sums:
        return state if not other.count else super().merge(state, other)


class SharedState(BrightnessDistance):
    state: ClassVar[Sums] = Sums(0, np.zeros(1))

    def new_state(self) -> Sums:
        self.state.count += 1
        return Sums(self.state.count - 1, np.zeros(1))


class EmptyIsZero(BrightnessDistance):
    def compare(self, generated: Sums, reference: Sums) -> Score:
        return super().compare(generated, reference) if generated.count and reference.count else Score(0.0)


class EmptyRaises(BrightnessDistance):
    def compare(self, generated: Sums, reference: Sums) -> Score:
        return Score(float(generated.total[0]) / generated.count - float(reference.total[0]) / reference.count)


def _finding(**changes: Any) -> type:
    return _faulty(BadFinding, finding=replace(BadFinding.finding, **changes))


METRIC_FAULTS = {
    "NaN": (ReturnsNaN, "metric_values", "is nan, outside its value_range"),
    "no Score": (ReturnsFloat, "metric_values", "returns a float, not a Score"),
    "out of range": (OutOfRange, "metric_values", "outside its value_range"),
    "unscored": (NeverScores, "metric_values", "leaves an ordinary clip unscored: not today"),
    "infinite detail": (BadDetails, "metric_values", "details are not plain finite values"),
    "finding after the end": (_finding(end=99), "metric_values", "spans 0 to 99 of 10 frames"),
    "finding kind": (_finding(kind="Too Dark"), "metric_values", "isn't snake_case"),
    "finding without message": (_finding(message=""), "metric_values", "has no message"),
    "finding too sure": (_finding(confidence=2.0), "metric_values", "has the confidence 2.0"),
    "box in another frame": (_finding(boxes=(FindingBox(3, (0, 0, 5, 5)),)), "metric_values", "outside its frames"),
    "box in no picture": (_finding(boxes=(FindingBox(0, (0, 0, 99, 5)),)), "metric_values", "outside the picture"),
    "remembers clips": (Remembers, "metric_repeats", "an instance must keep nothing between clips"),
    "writes": (
        WritesObservations,
        "metric_leaves_observations_alone",
        "writes into means of the observation of toy_me",
    ),
    "keeps": (
        KeepsObservations,
        "metric_leaves_observations_alone",
        "writes into means of the observation of toy_means",
    ),
    "raises on one frame": (FailsOnShortClips, "metric_takes_edge_clips", "raises ValueError on a clip with one frame"),
    "no reason": (ReasonlessOnShortClips, "metric_takes_edge_clips", "unscored without a reason"),
    "no rate": (DividesByRate, "metric_takes_edge_clips", "raises TypeError on a clip with an unknown frame rate"),
    "other size": (NeedsOneSize, "metric_takes_edge_clips", "raises ValueError on a clip with a smaller reference"),
    "wrong direction": (WrongDirection, "metric_responds_to_damage", "does not get worse under darken .0: 0"),
    "indifferent": (Indifferent, "metric_responds_to_damage", "does not get worse under darken"),
    "turns back": (TurnsBack, "metric_responds_to_damage", "gets better where darken grows"),
    "unscored under damage": (
        UnscoredUnderDamage,
        "metric_responds_to_damage",
        "unscored under darken of strength 0.25: too dark",
    ),
    "biased pair": (BiasedPair, "metric_knows_identical_input", "of identical input is 1.0, its best value is 0.0"),
    "biased set": (BiasedSet, "metric_knows_identical_input", "of identical input is 0.01, its best value is 0.0"),
    "order of clips": (OrderedSet, "metric_ignores_order", "with the clips in reverse order"),
    "merge loses": (MergeLosesCount, "metric_merges", "in a single pass and .* when merged from the first and"),
    "merge mutates": (MergeMutates, "metric_merges", "merge changes its arguments"),
    "merge aliases": (MergeAliases, "metric_merges", "shares memory with its arguments"),
    "shared state": (SharedState, "metric_merges", "single pass|has seen something"),
    "empty set is 0": (EmptyIsZero, "metric_leaves_empty_sets_unscored", "is 0.0 where the generated set is empty"),
    "empty set raises": (
        EmptyRaises,
        "metric_leaves_empty_sets_unscored",
        "raises ZeroDivisionError where the generated set is empty",
    ),
}


@pytest.mark.parametrize(("faulty", "check", "message"), METRIC_FAULTS.values(), ids=METRIC_FAULTS)
def test_faulty_metric_is_caught(faulty, check, message):
    with pytest.raises(ContractError, match=message):
        _check(check, metric_checks(faulty))(faulty, GIVEN)


def test_infinite_best_value_may_be_unscored_or_must_beat_the_negative():
    def with_identical(score_of_identical: Score) -> type:
        def score(self, observations, clip):
            mean = float(observations.of("toy_differences", Differences).differences.mean())
            return score_of_identical if mean == 0 else Score(1 / mean)

        return _faulty(Difference, name="toy_ratio", higher_is_better=True, value_range=(0.0, math.inf), score=score)

    unscored, low = with_identical(Score.unscored("identical")), with_identical(Score(0.0))
    identical = _check("metric_knows_identical_input", metric_checks(unscored))
    identical(unscored, GIVEN)
    _check("metric_responds_to_damage", metric_checks(unscored))(unscored, GIVEN)
    with pytest.raises(ContractError, match="not worse"):
        identical(low, GIVEN)


class ChunkSession(MeansSession):
    """Sums in float32 over the chunk: the rounding shows where the chunk ends."""

    def close(self) -> Observation:
        return Means(np.concatenate([np.cumsum(chunk) for chunk in self.means]), self.last_time)


class DependsOnChunks(ToyMeans):
    def open(self, clip: Clip) -> Session:
        return ChunkSession()


class SharedSession(ToyMeans):
    """One session for all clips."""

    def __init__(self, parameters: NoParameters | None = None) -> None:
        super().__init__(parameters)
        self.session = MeansSession()

    def open(self, clip: Clip) -> Session:
        if not self.session.means:
            return self.session
        self.session.means.clear()
        return self.session


class WritingSession(MeansSession):
    def push(self, frames: Frames) -> None:
        if frames.pixels.flags.writeable:
            frames.pixels[0, 0, 0, 0] ^= 1
        super().push(frames)


class WritesFrames(ToyMeans):
    def open(self, clip: Clip) -> Session:
        return WritingSession()


class RandomSession(MeansSession):
    def close(self) -> Observation:
        return Means(np.concatenate(self.means) + id(self) % 1009, self.last_time)


class Unrepeatable(ToyMeans):
    kept: ClassVar[list[Session]] = []

    def open(self, clip: Clip) -> Session:
        self.kept.append(RandomSession())
        return self.kept[-1]


class InfiniteSession(MeansSession):
    def close(self) -> Observation:
        return Means(np.array([np.inf]), 0.0)


class GivesInfinity(ToyMeans):
    def open(self, clip: Clip) -> Session:
        return InfiniteSession()


class ObjectSession(MeansSession):
    def close(self) -> Observation:
        return Means(np.array([{}], dtype=object), 0.0)


class GivesObjects(ToyMeans):
    def open(self, clip: Clip) -> Session:
        return ObjectSession()


class ListSession(MeansSession):
    def close(self) -> Observation:
        return Means([1.0], 0.0)  # type: ignore[arg-type]  # the fault under test


class GivesList(ToyMeans):
    def open(self, clip: Clip) -> Session:
        return ListSession()


class OneFrameSession(MeansSession):
    def close(self) -> Observation:
        return Means(np.array([np.diff(np.concatenate(self.means)).max()]), 0.0)


class RaisesOnOneFrame(ToyMeans):
    def open(self, clip: Clip) -> Session:
        return OneFrameSession()


@dataclass(frozen=True)
class RoundedMeans(Means):
    """Loses precision on the way back."""

    @classmethod
    def from_parts(cls, arrays, scalars):
        return cls(arrays["means"].astype(np.float32), scalars["last_time"])


class RoundedSession(MeansSession):
    def close(self) -> Observation:
        return RoundedMeans(np.concatenate(self.means), self.last_time)


class LosesPrecision(ToyMeans):
    observation_type = RoundedMeans

    def open(self, clip: Clip) -> Session:
        return RoundedSession()


EXTRACTOR_FAULTS = {
    "name": (_faulty(ToyMeans, name="Toy"), "extractor_facts", "lower_snake_case"),
    "observation type": (_faulty(ToyMeans, observation_type=dict), "extractor_facts", "subclass of Observation"),
    "identity": (
        _faulty(ToyMeans, weights_checksum=lambda self: str(id(self))),
        "extractor_facts",
        r"identity\(\) differs",
    ),
    "other observation": (_faulty(ToyMeans, observation_type=Differences), "extractor_observation", "gives a Means"),
    "infinity": (GivesInfinity, "extractor_observation", "means holds an infinite value"),
    "objects": (GivesObjects, "extractor_observation", "holds object, not numbers"),
    "list": (GivesList, "extractor_observation", "Means.means is a list"),
    "storage": (LosesPrecision, "extractor_observation", "field means does not survive"),
    "chance": (Unrepeatable, "extractor_repeats", "see different means"),
    "chunks": (DependsOnChunks, "extractor_ignores_chunking", "means differs where frames come 1 at a time"),
    "shared session": (SharedSession, "extractor_keeps_clips_apart", "depends on another that is open beside it"),
    "writes": (WritesFrames, "extractor_leaves_frames_alone", "writes into the frames"),
    "one frame": (RaisesOnOneFrame, "extractor_takes_edge_clips", "raises ValueError on a clip with one frame"),
}


@pytest.mark.parametrize(("faulty", "check", "message"), EXTRACTOR_FAULTS.values(), ids=EXTRACTOR_FAULTS)
def test_faulty_extractor_is_caught(faulty, check, message):
    with pytest.raises(ContractError, match=message):
        _check(check, extractor_checks())(faulty, GIVEN)


def test_metric_over_a_chunk_dependent_extractor_is_caught():
    given = Given(GIVEN.clips, {"toy_means": DependsOnChunks})
    big = _faulty(Brightness, value_range=(0.0, math.inf))
    for metric in (big, BrightnessDistance):
        with pytest.raises(ContractError, match="where frames come 1 at a time"):
            _check("metric_ignores_chunking", metric_checks(metric))(metric, given)


class RoundingSession(MeansSession):
    noise: ClassVar[float]

    def push(self, frames: Frames) -> None:
        super().push(frames)
        self.means[-1] = self.means[-1] * (1 + self.noise * len(frames))


class Rounding(ToyMeans):
    """Rounds otherwise in another batch, as networks do."""

    requires = Requires(modules=("torch",))

    def open(self, clip: Clip) -> Session:
        return RoundingSession()


def test_networks_may_round_and_no_more(monkeypatch):
    check = _check("extractor_ignores_chunking", extractor_checks())
    monkeypatch.setattr(RoundingSession, "noise", 1e-8, raising=False)
    check(Rounding, GIVEN)
    with pytest.raises(ContractError, match="means differs"):
        check(_faulty(Rounding, requires=Requires()), GIVEN)
    monkeypatch.setattr(RoundingSession, "noise", 1e-5)
    with pytest.raises(ContractError, match="means differs"):
        check(Rounding, GIVEN)


def test_score_runs_a_metric_as_the_engine_does():
    white = np.full((4, 8, 8, 3), 255, np.uint8)
    assert score(Brightness, white, extractors=TOYS) == Score(1.0)
    assert score(Difference, white, reference=white - 5, extractors=TOYS) == Score(5.0)
    assert score_set(BrightnessDistance, generated=[white], reference=[white - 7], extractors=TOYS) == Score(7.0)
    assert set_state(BrightnessDistance, [white, white], extractors=TOYS).count == 8
    seen = observations(Brightness, white, fps=None, extractors=TOYS)
    assert (seen.facts.frames, seen.facts.fps, seen.facts.width) == (4, None, 8)
    assert seen.of("toy_means", Means).last_time == 3.0


def test_score_leaves_out_what_a_run_leaves_out():
    clip = GIVEN.clips[0]
    patient = _faulty(Brightness, min_frames=11)
    timed = _faulty(Brightness, needs=replace(Brightness.needs, fps=True))
    assert score(patient, clip, extractors=TOYS).reason == "toy_brightness needs at least 11 frames, the clip has 10"
    assert score(timed, clip, fps=None, extractors=TOYS).reason == "toy_brightness needs a known frame rate"
    assert score(timed, clip, fps=5.0, extractors=TOYS).value is not None
    patient_set = _faulty(BrightnessDistance, min_frames=11)
    assert score_set(patient_set, generated=[clip], reference=[clip], extractors=TOYS).reason == "a set has no frames"


def test_running_the_wrong_kind_is_refused():
    clip = GIVEN.clips[0]
    with pytest.raises(TypeError, match="use score_set"):
        score(BrightnessDistance, clip, extractors=TOYS)
    with pytest.raises(TypeError, match="use score"):
        score_set(Brightness, generated=[clip], reference=[clip], extractors=TOYS)
    with pytest.raises(ValueError, match="give it a reference clip"):
        observe(ToyDifferences, clip)


def test_frames_are_handed_out_like_a_decoder_would():
    seen: list[Frames] = []

    class Listening(MeansSession):
        def push(self, frames: Frames) -> None:
            seen.append(frames)
            super().push(frames)

    class Spy(ToyMeans):
        def open(self, clip: Clip) -> Session:
            return Listening()

    observe(Spy, GIVEN.clips[0][:, ::2], fps=4.0, chunk=3)
    assert [len(frames) for frames in seen] == [3, 3, 3, 1]
    assert [frames.start for frames in seen] == [0, 3, 6, 9]
    assert np.array_equal(np.concatenate([frames.times for frames in seen]), np.arange(10) / 4)
    assert all(frames.pixels.flags.c_contiguous and not frames.pixels.flags.writeable for frames in seen)


def test_missing_requirement_names_the_remedy():
    assert missing_requirement(ToyMeans) is None
    needy = _faulty(ToyMeans, requires=Requires(extra="models", modules=("no_such_module",)))
    assert missing_requirement(needy) == "no_such_module not installed: pip install 'vidbench[models]'"


def test_synthetic_clips_repeat_and_move():
    clips = synthetic_clips()
    assert len(clips) == 4
    again = synthetic_clips.__wrapped__()
    for ours, theirs in zip(clips, again, strict=True):
        assert ours.shape == (16, 72, 96, 3)
        assert ours.dtype == np.uint8
        assert np.array_equal(ours, theirs)
        assert not ours.flags.writeable
        assert 60 < ours.mean() < 200
        assert ours.std() > 15
        assert np.abs(np.diff(ours.astype(int), axis=0)).mean(axis=(1, 2, 3)).min() > 0.5
    assert not np.array_equal(clips[0], clips[1])
    assert not np.array_equal(clips[0], synthetic_clips(seed=1)[0])


def test_edge_clips_are_what_they_say():
    clips = edge_clips()
    assert len(clips["one frame"]) == 1
    assert len(clips["two frames"]) == 2
    assert clips["8x8 pixels"].shape[1:] == (8, 8, 3)
    assert clips["47x33 pixels"].shape[1:] == (33, 47, 3)
    assert np.ptp(clips["one colour"]) == np.ptp(clips["nothing but black"]) == np.ptp(clips["nothing but white"]) == 0

"""The metric contract: observations in, scores out.

A metric file begins with its mathematics as plain typed functions on arrays; the class below them only carries facts
and state. Metrics never see frames: they name the extractors they need and read those observations.

Three kinds, by `granularity`:

* `ClipMetric`: one clip, one score.
* `PairMetric`: one clip and its reference clip, one score.
* `SetMetric`: all clips of a model against a reference set, one score.
"""

from __future__ import annotations

import math
import operator
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.extractor import NoParameters, Observation, P, Parametrised, Requires
from vidbench.video import ClipFacts

__all__ = [
    "Aggregation",
    "ClipMetric",
    "ExtractorSpec",
    "Finding",
    "FindingBox",
    "Granularity",
    "Metric",
    "Needs",
    "NoParameters",
    "Observations",
    "Packed",
    "PairMetric",
    "Score",
    "SetMetric",
]

Granularity = Literal["clip", "pair", "set"]
Aggregation = Literal["mean", "median", "worst_decile", "rate", "set"]
"""How clip scores become a model's value: mean; median; mean of the worst tenth; share of clips whose score is not 0;
`set` for set metrics, whose value is already the model's."""

O = TypeVar("O", bound=Observation)  # noqa: E741
S = TypeVar("S")

Packed = tuple[dict[str, NDArray[Any]], dict[str, Any]]
"""The state of a set metric as arrays and JSON values."""


@dataclass(frozen=True, slots=True)
class FindingBox:
    """Where in one frame."""

    frame: int
    """Frame number, from 0."""
    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels of the clip, x1 and y1 exclusive."""

    def __post_init__(self) -> None:
        # Boxes are cut out of numpy's arrays, whose numbers are no JSON.
        object.__setattr__(self, "frame", operator.index(self.frame))
        x0, y0, x1, y1 = (float(edge) for edge in self.box)
        object.__setattr__(self, "box", (x0, y0, x1, y1))


@dataclass(frozen=True, slots=True)
class Finding:
    """One located violation."""

    kind: str
    """What happened, e.g. `freeze`, `jump_cut`, `teleport`."""
    start: int
    """First frame, from 0."""
    end: int
    """Last frame, inclusive."""
    message: str
    """One plain sentence for a person."""
    confidence: float | None = None
    """Calibrated probability that a person would agree, or None where there is no calibration."""
    limitation: str = ""
    """What this finding can't tell."""
    boxes: tuple[FindingBox, ...] = ()
    """Where; empty where the whole frame is meant."""

    def __post_init__(self) -> None:
        # Whatever counts frames in numpy gives numpy's integers, which are no JSON.
        object.__setattr__(self, "start", operator.index(self.start))
        object.__setattr__(self, "end", operator.index(self.end))
        if self.confidence is not None:
            object.__setattr__(self, "confidence", float(self.confidence))


@dataclass(frozen=True, slots=True)
class Score:
    """A value, or the reason why there is none. Never NaN, never infinite."""

    value: float | None
    reason: str | None = None
    findings: tuple[Finding, ...] = ()
    details: Mapping[str, float | int | str | list[float] | None] = field(default_factory=dict)
    """Further numbers worth keeping beside the value; stored in `scores.jsonl`, where lists (a number per frame) stay
    out of reports. Two keys of set metrics are shown with
    the value: `caution` (why it can't be taken at its face; it is not ranked) and `remark` (it is all the same)."""

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError("a score has either a value or a reason, not both and not neither")
        if self.value is not None:
            object.__setattr__(self, "value", float(self.value))  # numpy's numbers are no JSON
            if not math.isfinite(float(self.value)):
                raise ValueError(f"a score's value must be finite, got {self.value}; give a reason instead")

    @classmethod
    def unscored(cls, reason: str) -> Score:
        """A score that cannot be computed, with the reason in plain words."""
        return cls(None, reason)


@dataclass(frozen=True, slots=True)
class ExtractorSpec:
    """An extractor by name, with the parameters this metric wants."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a metric needs besides a readable clip."""

    extractors: tuple[ExtractorSpec, ...]
    prompt: bool = False
    actions: bool = False
    fps: bool = False
    """True where a known frame rate is needed; arrays and frame folders may have none."""
    reference_set: bool = True
    """Of set metrics. False where a model's clips are compared with each other or with their own true clips: such a
    metric runs without `--reference`, may use pair extractors, and gets an empty state as `reference`."""
    columns: tuple[str, ...] = ()
    """Further metadata columns without which the metric has nothing to go by; some clips must have each."""


class Observations(Mapping[str, Observation]):
    """What the extractors that a metric asked for saw of one clip, by extractor name."""

    def __init__(self, observations: Mapping[str, Observation], facts: ClipFacts, clip: Clip | None = None) -> None:
        self._observations = dict(observations)
        self.facts = facts
        """Frame count, rate, size and times of the decoded clip."""
        self.clip = clip
        """The clip itself, with its actions and metadata; None where only its pixels are known, as in a reference set
        that comes from a file."""

    def __getitem__(self, name: str) -> Observation:
        return self._observations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._observations)

    def __len__(self) -> int:
        return len(self._observations)

    def of(self, name: str, kind: type[O]) -> O:
        """The observation of extractor `name`, checked to be a `kind`.

        Raises:
            TypeError: that extractor makes another kind of observation.
        """
        observation = self._observations[name]
        if not isinstance(observation, kind):
            raise TypeError(f"extractor {name} gives {type(observation).__name__}, not {kind.__name__}")
        return observation


class Metric(Parametrised[P]):
    """What all metrics share. Facts are class attributes, readable without an instance."""

    name: ClassVar[str]
    """Unique, lower_snake_case; the entry point has the same name. Ends in `_score` or `_index` only where higher is
    better, in `_distance` or `_error` only where lower is better."""
    version: ClassVar[str]
    """Raise it whenever the value can differ for the same observations."""
    summary: ClassVar[str]
    """One line: what it tells a person, and what it does not."""
    reference: ClassVar[str]
    """Paper, or upstream file and commit, or the definition in words where the metric is our own."""
    protocol: ClassVar[str]
    """The named set of choices that makes the number comparable with someone else's."""
    higher_is_better: ClassVar[bool]
    unit: ClassVar[str]
    """Unit of the value in words, `1` where it has none."""
    value_range: ClassVar[tuple[float, float]]
    """Smallest and largest value there can be; `math.inf` where there is no bound."""
    granularity: ClassVar[Granularity]
    aggregation: ClassVar[Aggregation]
    needs: ClassVar[Needs]
    requires: ClassVar[Requires] = Requires()
    """What must be present besides what the extractors require: weights of its own, or an extractor that may not be
    installed."""
    min_frames: ClassVar[int] = 1
    """Clips with fewer frames are unscored by the engine, with that reason."""
    diagnostic: ClassVar[bool] = False
    """True where the number describes a clip and does not judge it: shown, but never counted in the overall ranking."""
    responds_to: ClassVar[tuple[str, ...]] = ()
    """Names of damages (`vidbench.damage`) under which the value must get steadily worse; the contract test tries
    each."""
    sees: ClassVar[tuple[str, ...]] = ()
    """Names of broken baselines (`vidbench.baselines`) that must get a worse value than the clips they are made of;
    `vidbench selftest` tries each, and each damage of `responds_to`."""

    def extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        """The extractors with the parameters that this instance's parameters imply."""
        return self.needs.extractors

    def requirements(self) -> Requires:
        """`requires`, unless a parameter changes it."""
        return self.requires

    def frames_needed(self) -> int:
        """`min_frames`, or what this instance's parameters imply instead."""
        return self.min_frames


class ClipMetric(Metric[P]):
    """One clip, one score."""

    granularity: ClassVar[Granularity] = "clip"

    @abstractmethod
    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip.

        The engine has checked `needs` and `min_frames` before. Whatever this raises makes the clip unscored with the
        exception as its reason.
        """


class PairMetric(ClipMetric[P]):
    """One clip against its reference clip, through pair extractors."""

    granularity: ClassVar[Granularity] = "pair"


class SetMetric(Metric[P], Generic[P, S]):
    """All clips of a model against a reference set.

    The state is a fixed amount of float64 sums (or bounded in some stated way). Merging in any order gives the same
    value up to rounding; the engine always merges in one order, so that runs repeat bit for bit.
    """

    granularity: ClassVar[Granularity] = "set"
    aggregation: ClassVar[Aggregation] = "set"
    identical_is_best: ClassVar[bool] = True
    """False where the reference set is no goal to come near but something to learn from, so that a set against itself
    need not have the best value there is."""

    def together(self, clip: Clip) -> str | None:
        """What a clip shares with the clips without which it says nothing; they are left out together.

        Intervals come from leaving groups of clips out in turn. None groups by prompt, as most metrics want it.
        """
        return None

    @abstractmethod
    def new_state(self) -> S:
        """A state that has seen nothing."""

    @abstractmethod
    def observe(self, state: S, observations: Observations) -> S:
        """The state after one more clip. May change and return the state it was given."""

    @abstractmethod
    def merge(self, state: S, other: S) -> S:
        """The state that has seen what both have seen. Must leave both arguments as they were."""

    @abstractmethod
    def compare(self, generated: S, reference: S) -> Score:
        """The value for one model; unscored with the reason where there was too little to see."""

    def pack(self, state: S, *, features: bool = True) -> Packed | None:
        """The state as arrays and JSON values, for `vidbench reference build`.

        Args:
            state: what to write down; left as it is.
            features: False asks for a form that holds no row of a single clip.

        Returns:
            The arrays by name and a dictionary of JSON values; None where the metric can't be kept in that form.
        """
        return None

    def unpack(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> S:
        """The state back from what `pack` gave; must refuse whatever that can't have given, for files come from afar.

        Raises:
            ValueError: names, shapes, types or numbers are wrong; says which.
        """
        raise ValueError(f"{self.name} keeps no reference statistics")

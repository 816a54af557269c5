"""The learned layer: events and context numbers of a clip in, calibrated probabilities out.

One boosted-tree model per type of event, a logistic clip score over the most suspicious event of each type,
and for each check group a gate that says *not judged* where a clip lies outside of what was trained on.
Everything is one safetensors file with one JSON entry in its header; it is evaluated with numpy and never unpickled.
`vidbench physics train` writes it (`vidbench_suites.physics.learn`).

Suspicion is counted in natural log-odds of "a person would find a violation": higher is worse. Thresholds and p-values
come from *innocent scores*: what the clips of the training set in which nothing is wrong got while their pair (or
source video) was left out of fitting.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench_metrics.physics.event import GROUPS, Event
from vidbench_metrics.physics.trees import Trees

FORMAT = "vidbench-physics-model"
SCHEMA_VERSION = 2
SHIPPED = Path(__file__).with_name("model.safetensors")
SCORES = ("overall", *GROUPS)
"""The clip scores: all events together, and each check group by itself."""
POOLED = "pooled"
"""The domain that holds every innocent clip."""
UNSEEN = "unseen"
"""The domain of clips scored by a model that was fitted without their look."""
LARGEST_LOG_ODDS = 12.0
STEEP = 1.5
"""Log-odds in which an event's weight in the clip score grows e-fold."""
CERTAIN = 3.0
"""Log-odds from which it grows no more."""
OUTSIDE = 2
"""So many context numbers outside their range are not judged."""
CALIBRATION_KIND = "vidbench-plausibility-calibration"

_ENTRY = "physics_model"
_TREE_ARRAYS = ("feature", "threshold", "missing_left", "left", "right", "value", "roots")
_CLIP_ARRAYS = ("mean", "scale", "weights")
_GATE_ARRAYS = ("low", "high", "missing")
_LARGEST_FILE = 256 * 2**20

Floats = NDArray[np.float64]


def probability(log_odds: float) -> float:
    """Logistic function, without overflow."""
    return 1 / (1 + math.exp(-log_odds)) if log_odds >= 0 else math.exp(log_odds) / (1 + math.exp(log_odds))


def least_clips(false_alarms: float) -> int:
    """How many innocent clips a threshold for a wanted rate of false alarms takes: the least n >= 1 / rate - 1."""
    return math.ceil(1 / false_alarms - 1 - 1e-9)


def conformal_threshold(innocent: Floats, false_alarms: float) -> float:
    """The score that an innocent clip exceeds with a probability of at most `false_alarms`.

    The ceil((n + 1)(1 - false_alarms))-th smallest of n scores (Vovk, Gammerman, Shafer, "Algorithmic Learning in a
    Random World", 2005): over the draw of n clips and the next one, exchangeable with them, the promise is exact.

    Args:
        innocent: (n,) scores of clips in which nothing is wrong; higher is more suspicious.
        false_alarms: wanted rate, above 0 and below 1.

    Raises:
        InputError: fewer clips than the rate takes, or an impossible rate.
    """
    if not 0 < false_alarms < 1:
        raise InputError(f"the rate of false alarms must lie between 0 and 1, got {false_alarms:g}")
    n = len(innocent)
    if n < least_clips(false_alarms):
        raise InputError(
            f"a threshold for {false_alarms:.3g} false alarms takes at least {least_clips(false_alarms)} innocent "
            f"clips that can be judged; there are {n}"
        )
    rank = math.ceil((n + 1) * (1 - false_alarms) - 1e-9)
    return float(np.sort(innocent)[min(rank, n) - 1])


@dataclass(frozen=True, eq=False)
class EventModel:
    """Judges the events of one type."""

    features: tuple[str, ...]
    """Names of the columns, in the trees' order."""
    trees: Trees
    slope: float
    """Platt's calibration: log-odds = slope * trees' log-odds + offset, fitted out of fold. Above 0: order is kept."""
    offset: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What it was trained on: numbers of events, reliability table."""

    def table(self, events: Sequence[Event]) -> Floats:
        """(N, F) features; what an event lacks is NaN, what the model does not know is ignored."""
        rows = [[event.features.get(name, math.nan) for name in self.features] for event in events]
        return np.array(rows, dtype=np.float64).reshape(len(events), len(self.features))

    def log_odds(self, events: Sequence[Event]) -> Floats:
        """(N,) calibrated log-odds that an event is a violation, within ±`LARGEST_LOG_ODDS`."""
        raw = self.slope * self.trees.log_odds(self.table(events)) + self.offset
        return np.clip(raw, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)


@dataclass(frozen=True, eq=False)
class ClipModel:
    """Logistic clip score; its features, for K types and C context numbers: the suspicion of each type, and C.

    The suspicion is that of the most suspicious event, exp(log-odds / `STEEP`): a single clear violation has to count
    for more than many faint ones. Measured out of fold on 1,260 clips, detection at 5 % false alarms .40, against .32
    with plain log-odds of the two most suspicious events and their number.
    """

    types: tuple[str, ...]
    numbers: tuple[str, ...]
    """Names of context numbers."""
    mean: Floats
    """(K + C,)"""
    scale: Floats
    """(K + C,) above 0."""
    weights: Floats
    """(K + C,) of the standardised features; a more suspicious event never lowers the score."""
    intercept: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    def features(self, log_odds: Mapping[str, Floats], context: Mapping[str, float]) -> Floats:
        """(K + C,) raw features of a clip; NaN for a context number that is not known.

        Args:
            log_odds: by type of event, calibrated, in any order.
            context: the clip's context numbers.
        """
        return clip_features(self.types, self.numbers, log_odds, context)

    def log_odds(self, features: Floats) -> Floats:
        """Log-odds of a violation.

        Args:
            features: (..., K + C) raw features.

        Returns:
            (...)
        """
        return np.asarray(self.standardised(features) @ self.weights + self.intercept, np.float64)

    def standardised(self, features: Floats) -> Floats:
        """Features by mean and scale; unknown ones are 0, context numbers are held within ±3.

        Held, because far outside of what it was fitted on a linear score follows a number without limit.
        """
        z = np.nan_to_num((features - self.mean) / self.scale, nan=0.0)
        held = np.clip(z, -3, 3)
        return np.where(np.arange(z.shape[-1]) < len(self.types), z, held)


def clip_features(
    types: Sequence[str],
    numbers: Sequence[str],
    log_odds: Mapping[str, Floats],
    context: Mapping[str, float],
) -> Floats:
    """See `ClipModel.features`."""
    tops = [float(np.max(log_odds.get(name, np.zeros(0)), initial=-math.inf)) for name in types]
    row = [math.exp(min(top, CERTAIN) / STEEP) for top in tops]
    return np.array([*row, *(context.get(name, math.nan) for name in numbers)], np.float64)


@dataclass(frozen=True, eq=False)
class Gate:
    """The range of context numbers that a check group was trained on."""

    names: tuple[str, ...]
    low: Floats
    """(C,) 0.5 % quantile over training clips."""
    high: Floats
    """(C,) 99.5 % quantile."""
    missing: Floats
    """(C,) share of training clips in which the number was not known."""
    outside: int = OUTSIDE
    """How many numbers must lie outside."""

    def reason(self, context: Mapping[str, float]) -> str | None:
        """Why a clip cannot be judged, or None where it can."""
        strange: list[tuple[float, str]] = []
        for name, low, high, missing in zip(self.names, self.low, self.high, self.missing, strict=True):
            value = context.get(name, math.nan)
            words = name.replace("_", " ").replace(".", " ")
            if math.isnan(value):
                if missing < 0.005:
                    strange.append((0.0, f"{words} is not known"))
            elif not low <= value <= high:
                width = float(high - low) or abs(float(high)) or 1.0
                far = (low - value if value < low else value - high) / width
                strange.append((-far, f"{words} is {value:.3g}, where training clips have {low:.3g} to {high:.3g}"))
        if len(strange) < self.outside:
            return None
        named = "; ".join(words for _, words in sorted(strange)[:3])
        more = f"; and {len(strange) - 3} more" if len(strange) > 3 else ""
        return f"unlike the clips it was trained on: {named}{more}"


@dataclass(frozen=True)
class Judgement:
    """What the learned layer says of one clip."""

    basis: str | None
    """Which score decides: `overall`, or the only check group that can judge the clip; None where none can."""
    log_odds: float | None
    """Of a violation, by the score that decides."""
    plausible: float | None
    """Probability that a person would find no violation, 0 to 1."""
    suspicion: float | None
    """Log-odds above the threshold: above 0 is an alarm. Comparable between clips whatever their basis."""
    alarm: bool | None
    p_value: float | None
    """Share of innocent clips at least as suspicious."""
    not_judged: Mapping[str, str]
    """Reason by check group, for those that cannot judge the clip."""
    groups: Mapping[str, float]
    """Log-odds of a violation by check group, for those that can."""
    events: Floats
    """(N,) calibrated probability of each event, in the order given."""


@dataclass(frozen=True)
class Calibration:
    """A user's own threshold, from their own good clips: what `vidbench calibrate` writes."""

    threshold: float
    """Suspicion (`Judgement.suspicion`) above which a clip is an alarm."""
    false_alarms: float
    clips: int
    """How many clips it rests on."""
    model: str
    """Checksum of the model that scored them."""

    def to_json(self) -> dict[str, Any]:
        """As written to disk."""
        return {
            "schema_version": 1,
            "kind": CALIBRATION_KIND,
            "false_alarms": self.false_alarms,
            "threshold": self.threshold,
            "clips": self.clips,
            "model": self.model,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        """Back from `to_json`.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        if data["kind"] != CALIBRATION_KIND or data["schema_version"] != 1:
            raise ValueError("another kind of file")
        found = cls(
            threshold=float(data["threshold"]),
            false_alarms=float(data["false_alarms"]),
            clips=int(data["clips"]),
            model=str(data["model"]),
        )
        if not (math.isfinite(found.threshold) and 0 < found.false_alarms < 1):
            raise ValueError("impossible numbers")
        return found


def read_calibration(path: Path, model: PhysicsModel) -> Calibration:
    """A calibration written by `vidbench calibrate`, checked to belong to `model`.

    Raises:
        InputError: it cannot be read, is something else, or was made with another model.
    """
    try:
        with path.open("rb") as file:
            text = file.read(2**20)
        found = Calibration.from_json(json.loads(text))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: not a calibration ({type(error).__name__}: {error}); `vidbench calibrate` makes one"
        ) from None
    if found.model != model.checksum:
        raise InputError(
            f"{path}: made with another plausibility model ({found.model[:19]}…, now {model.checksum[:19]}…); run "
            "`vidbench calibrate` again"
        )
    return found


@dataclass(frozen=True, eq=False)
class PhysicsModel:
    """The whole learned layer; see the module."""

    events: Mapping[str, EventModel]
    """By type of event."""
    clips: Mapping[str, ClipModel]
    """By score, the names in `SCORES`."""
    gates: Mapping[str, Gate]
    """By check group."""
    innocent: Mapping[str, Mapping[str, Floats]]
    """Innocent scores, ascending, by score and domain; `pooled` is always among the domains."""
    false_alarms: float
    """The rate that the thresholds are made for."""
    threshold_domain: str
    """The domain whose innocent scores give the threshold unless told otherwise."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Command, seed, data recipe and its hash, looks, versions."""
    checksum: str = ""
    """`sha256:` and 64 hex digits of the file; empty for a model that was never written."""

    def event_log_odds(self, events: Sequence[Event]) -> Floats:
        """(N,) calibrated log-odds that each event is a violation; events of unknown types get the lowest."""
        result = np.full(len(events), -LARGEST_LOG_ODDS)
        for name, model in self.events.items():
            chosen = [i for i, event in enumerate(events) if event.type == name]
            if chosen:
                result[chosen] = model.log_odds([events[i] for i in chosen])
        return result

    def event_probability(self, events: Sequence[Event]) -> Floats:
        """(N,) calibrated probability that each event is a violation that a person would see."""
        return np.array([probability(float(v)) for v in self.event_log_odds(events)], np.float64)

    def clip_log_odds(self, events: Sequence[Event], context: Mapping[str, float], score: str = "overall") -> float:
        """Log-odds of a violation in the clip, whether or not it can be judged.

        Args:
            events: of the clip.
            context: its context numbers.
            score: one of `SCORES`.
        """
        return self._clip_log_odds(events, self.event_log_odds(events), context, score)

    def _clip_log_odds(
        self, events: Sequence[Event], log_odds: Floats, context: Mapping[str, float], score: str
    ) -> float:
        model = self.clips[score]
        return float(model.log_odds(model.features(by_type(events, log_odds), context)))

    def clip_probability(self, events: Sequence[Event], context: Mapping[str, float], score: str = "overall") -> float:
        """Probability that a person would find no violation in the clip, whether or not it can be judged."""
        return probability(-self.clip_log_odds(events, context, score))

    def domains(self, score: str = "overall") -> tuple[str, ...]:
        """The domains whose innocent scores are kept: `pooled`, each look, perhaps `real` and `unseen`."""
        return tuple(self.innocent[score])

    def p_value(self, log_odds: float, score: str = "overall", domain: str = POOLED) -> float:
        """(1 + innocent clips at least as suspicious) / (1 + innocent clips), of a score's stored domain.

        Raises:
            InputError: no such domain.
        """
        kept = self._kept(score, domain)
        return float((1 + len(kept) - np.searchsorted(kept, log_odds, side="left")) / (1 + len(kept)))

    def threshold(self, score: str = "overall", domain: str | None = None, false_alarms: float | None = None) -> float:
        """Log-odds above which a clip is an alarm.

        Raises:
            InputError: no such domain, or too few innocent clips in it for the rate.
        """
        kept = self._kept(score, domain or self.threshold_domain)
        return conformal_threshold(kept, false_alarms or self.false_alarms)

    def _kept(self, score: str, domain: str) -> Floats:
        kept = self.innocent[score].get(domain)
        if kept is None:
            raise InputError(f"no domain is called '{domain}'; there are: {', '.join(self.domains(score))}")
        return kept

    def judged(self, group: str, context: Mapping[str, float]) -> str | None:
        """None where a check group can judge a clip with these context numbers, else the reason in words."""
        return self.gates[group].reason(context)

    def judge(
        self, events: Sequence[Event], context: Mapping[str, float], calibration: Calibration | None = None
    ) -> Judgement:
        """All that can be said of a clip. A check group that cannot judge it has no say in its score.

        Args:
            events: of the clip.
            context: its context numbers.
            calibration: the user's own threshold instead of the shipped one.
        """
        log_odds = self.event_log_odds(events)
        reasons = {group: self.judged(group, context) for group in GROUPS}
        able = [group for group, reason in reasons.items() if reason is None]
        groups = {group: self._clip_log_odds(events, log_odds, context, group) for group in able}
        basis = "overall" if len(able) == len(GROUPS) else able[0] if able else None
        value = None if basis is None else self._clip_log_odds(events, log_odds, context, basis)
        suspicion = None if basis is None or value is None else value - self.threshold(basis)
        alarm = None if suspicion is None else suspicion > (calibration.threshold if calibration else 0.0)
        return Judgement(
            basis=basis,
            log_odds=value,
            plausible=None if value is None else probability(-value),
            suspicion=suspicion,
            alarm=alarm,
            p_value=None if basis is None or value is None else self.p_value(value, basis),
            not_judged={group: reason for group, reason in reasons.items() if reason is not None},
            groups=groups,
            events=np.array([probability(float(v)) for v in log_odds], np.float64),
        )

    def to_bytes(self) -> bytes:
        """The file: equal models give equal bytes."""
        from safetensors.numpy import save

        arrays: dict[str, NDArray[Any]] = {}
        for name, event in self.events.items():
            arrays |= {f"event.{name}.{part}": getattr(event.trees, part) for part in _TREE_ARRAYS}
        for name, clip in self.clips.items():
            arrays |= {f"clip.{name}.{part}": getattr(clip, part) for part in _CLIP_ARRAYS}
        for name, gate in self.gates.items():
            arrays |= {f"gate.{name}.{part}": getattr(gate, part) for part in _GATE_ARRAYS}
        for score, domains in self.innocent.items():
            arrays |= {f"innocent.{score}.{n}": kept for n, kept in enumerate(domains.values())}
        plain = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
        header = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "events": {
                name: {
                    "features": event.features,
                    "baseline": event.trees.baseline,
                    "slope": event.slope,
                    "offset": event.offset,
                    "facts": event.facts,
                }
                for name, event in self.events.items()
            },
            "clips": {
                name: {
                    "types": clip.types,
                    "numbers": clip.numbers,
                    "intercept": clip.intercept,
                    "facts": clip.facts,
                }
                for name, clip in self.clips.items()
            },
            "gates": {name: {"names": gate.names, "outside": gate.outside} for name, gate in self.gates.items()},
            "domains": {score: list(domains) for score, domains in self.innocent.items()},
            "false_alarms": self.false_alarms,
            "threshold_domain": self.threshold_domain,
            "training": self.training,
        }
        header["sha256"] = _hash(header, plain)
        # One entry: safetensors writes several in no fixed order.
        return bytes(save(plain, metadata={_ENTRY: json.dumps(header, sort_keys=True, allow_nan=False)}))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "model") -> PhysicsModel:
        """A model from the bytes of its file.

        Args:
            data: the file.
            name: what to call it in an error.

        Raises:
            InputError: damaged, foreign, or of another schema version.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        remedy = "put back the file that came with vidbench, or make one with `vidbench physics train`"
        try:
            header = _header(data)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputError(f"{name}: not a plausibility model; {remedy}") from None
        if header.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"{name}: plausibility model of schema version {header.get('schema_version')}, this vidbench reads "
                f"{SCHEMA_VERSION}; {remedy}"
            )
        try:
            return cls._from_parts(header, load(data), f"sha256:{hashlib.sha256(data).hexdigest()}")
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError(f"{name}: damaged plausibility model ({error}); {remedy}") from None

    @classmethod
    def _from_parts(cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], checksum: str) -> PhysicsModel:
        if header["sha256"] != _hash(header, arrays):
            raise ValueError("checksum does not match")
        events = {}
        for name, told in header["events"].items():
            trees = Trees(
                **{part: arrays[f"event.{name}.{part}"] for part in _TREE_ARRAYS}, baseline=float(told["baseline"])
            )
            if trees.features_needed > len(told["features"]) or not told["slope"] > 0:
                raise ValueError(f"the trees of {name} do not fit their features")
            events[name] = EventModel(
                features=tuple(told["features"]),
                trees=trees,
                slope=float(told["slope"]),
                offset=float(told["offset"]),
                facts=told["facts"],
            )
        clips = {}
        for name, told in header["clips"].items():
            clip = ClipModel(
                types=tuple(told["types"]),
                numbers=tuple(told["numbers"]),
                **{part: arrays[f"clip.{name}.{part}"] for part in _CLIP_ARRAYS},
                intercept=float(told["intercept"]),
                facts=told["facts"],
            )
            size = len(clip.types) + len(clip.numbers)
            if {clip.mean.shape, clip.scale.shape, clip.weights.shape} != {(size,)}:
                raise ValueError(f"the clip score {name} does not fit its features")
            clips[name] = clip
        gates = {
            name: Gate(
                names=tuple(told["names"]),
                **{part: arrays[f"gate.{name}.{part}"] for part in _GATE_ARRAYS},
                outside=int(told["outside"]),
            )
            for name, told in header["gates"].items()
        }
        if set(clips) != set(SCORES) or set(gates) != set(GROUPS) or set(header["domains"]) != set(SCORES):
            raise ValueError("scores or check groups are missing")
        return cls(
            events=events,
            clips=clips,
            gates=gates,
            innocent={
                score: {domain: arrays[f"innocent.{score}.{n}"] for n, domain in enumerate(domains)}
                for score, domains in header["domains"].items()
            },
            false_alarms=float(header["false_alarms"]),
            threshold_domain=str(header["threshold_domain"]),
            training=header["training"],
            checksum=checksum,
        )

    @classmethod
    def load(cls, path: Path) -> PhysicsModel:
        """Read a model file.

        Raises:
            InputError: it cannot be read, is damaged, or is something else.
        """
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise InputError(f"{path}: {path.stat().st_size} bytes are too many for a plausibility model")
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: the plausibility model cannot be read: {error.strerror or error}") from error
        return cls.from_bytes(data, str(path))


@functools.cache
def shipped() -> PhysicsModel:
    """The model that comes with vidbench, read once a process.

    Raises:
        InputError: it is missing or damaged.
    """
    return PhysicsModel.load(SHIPPED)


def by_type(events: Sequence[Event], log_odds: Iterable[float]) -> dict[str, Floats]:
    """Log-odds of events, by type."""
    found: dict[str, list[float]] = {}
    for event, value in zip(events, log_odds, strict=True):
        found.setdefault(event.type, []).append(float(value))
    return {name: np.array(values, np.float64) for name, values in found.items()}


def _hash(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """Of all that a model is made of, whatever order it is written in."""
    told = {name: value for name, value in header.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _header(data: bytes) -> dict[str, Any]:
    """The JSON entry of a file's header; ValueError, KeyError or TypeError where there is none of ours."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_ENTRY])
    if not isinstance(header, dict) or header["format"] != FORMAT:
        raise ValueError("another format")
    return header

"""The extractor contract: frames in, one observation out, streaming.

An extractor is opened once per clip. The engine decodes the clip once and pushes every chunk of frames to each open
session, then closes them; what `close` returns is the clip's *observation*. Observations are frozen dataclasses of
arrays, small enough to keep; metrics read them and never see frames.

    class Brightness(Extractor[NoParameters]):
        name = "brightness"
        version = "1"
        summary = "mean of all pixels, per frame"
        observation_type = BrightnessObservation

        def open(self, clip: Clip) -> Session:
            return _BrightnessSession()
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.video import Frames


@dataclass(frozen=True)
class NoParameters:
    """For extractors and metrics that have no parameters."""


P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Requires:
    """What must be present before a plug-in can work."""

    extra: str | None = None
    """The pip extra of vidbench that brings the packages, or None for the base install."""
    modules: tuple[str, ...] = ()
    """Top-level modules whose presence (not import) proves that the extra is installed."""
    weights: tuple[str, ...] = ()
    """Names of weight files: rows of `vidbench weights list`, or others that the plug-in brings itself."""

    def missing(self) -> str | None:
        """One line that says what is missing and the commands that add it; None if everything is there."""
        return "; ".join(self.lacks()) or None

    def lacks(self) -> list[str]:
        """What is missing, each with the command that adds it; packages first, and weights only once those are here."""
        import importlib.util

        def present(module: str) -> bool:
            try:
                return importlib.util.find_spec(module) is not None
            except (ImportError, ValueError):  # a parent package is absent or broken
                return False

        absent = [module for module in self.modules if not present(module)]
        if not absent:
            from vidbench.weights import missing

            return [lack for name in self.weights if (lack := missing(name))]
        remedy = f"pip install 'vidbench[{self.extra}]'" if self.extra else f"pip install {' '.join(absent)}"
        return [f"{', '.join(absent)} not installed: {remedy}"]


@dataclass(frozen=True, slots=True)
class Track:
    """One object that an extractor followed, for people to look at: see `Observation.tracks`."""

    object: int
    """Tells the objects of a clip apart; the same object may have several tracks."""
    frames: NDArray[np.int64]
    """(n,) numbers of the frames in which it was seen, rising; a gap is where it was not."""
    boxes: NDArray[np.float64]
    """(n, 4) x0, y0, x1, y1 in pixels of the clip, x1 and y1 exclusive."""


@dataclass(frozen=True)
class Observation:
    """What one extractor keeps of one clip.

    Subclasses are frozen dataclasses whose fields are numpy arrays, or int, float, bool, str and None, so that they can
    be stored without pickle (see `vidbench.run.cache`). Values are finite or NaN, never objects.

    Two optional methods show an observation to people (`vidbench inspect`); no metric reads them, and they are computed
    from the fields alone, since what is stored is the fields.
    """

    def curves(self) -> Mapping[str, NDArray[Any]]:
        """Series over the frames of the clip that are worth plotting; none unless a subclass has some.

        Returns:
            By a name that ends in the unit, as in `mean brightness (grey levels)`, one number per frame: (T,) for a
            clip of T frames. NaN where there is none; what is measured from frame t to frame t+1 stands at t+1.
        """
        return {}

    def tracks(self) -> tuple[Track, ...]:
        """The objects that were followed, in pixels of the clip; none unless a subclass follows any."""
        return ()

    @classmethod
    def from_parts(cls, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> Self:
        """Build the observation back from its stored parts.

        Raises:
            ValueError: the parts are not exactly this class's fields.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        given = {**arrays, **scalars}
        if set(given) != names:
            raise ValueError(f"{cls.__name__} has fields {sorted(names)}, stored are {sorted(given)}")
        return cls(**given)

    def to_parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Split into arrays and JSON scalars.

        Raises:
            TypeError: a field is neither an array nor int, float, bool, str or None.
        """
        arrays: dict[str, NDArray[Any]] = {}
        scalars: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                arrays[field.name] = value
            elif value is None or isinstance(value, bool | int | float | str):
                scalars[field.name] = value
            else:
                raise TypeError(
                    f"{type(self).__name__}.{field.name} is a {type(value).__name__}; "
                    "observations hold arrays, numbers, strings and None"
                )
        return arrays, scalars


def curve_fault(values: object, frames: int) -> str | None:
    """Why `values` cannot be a curve of a clip of so many frames; None if they can."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        return "is no array of numbers"
    if values.shape != (frames,):
        return f"has the shape {values.shape}, not ({frames},)"
    return None


def track_fault(track: object, frames: int) -> str | None:
    """Why `track` cannot be one of a clip of so many frames; None if it can."""
    if not isinstance(track, Track):
        return f"is a {type(track).__name__}, not a Track"
    numbers, boxes = np.asarray(track.frames), np.asarray(track.boxes)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or boxes.shape != (len(numbers), 4):
        return f"has frames of shape {numbers.shape} {numbers.dtype} and boxes of shape {boxes.shape}"
    if len(numbers) and (
        numbers[0] < 0 or numbers[-1] >= frames or bool((np.diff(numbers.astype(np.int64)) <= 0).any())
    ):
        return f"has frames that do not rise within 0 to {frames - 1}"
    if boxes.dtype.kind not in "iuf" or not bool(np.isfinite(boxes).all()):
        return "has boxes that are not finite"
    return None


class Session(ABC):
    """One clip on its way through an extractor."""

    @abstractmethod
    def push(self, frames: Frames) -> None:
        """Take the next chunk. Chunks come in order, each with at least one frame, all of one size."""

    @abstractmethod
    def close(self) -> Observation:
        """Finish. Must work after any number of pushed frames; the engine never closes a session that saw none."""


class PairSession(ABC):
    """A clip and its reference clip on their way through a pair extractor, in step."""

    @abstractmethod
    def push_pair(self, frames: Frames, reference: Frames) -> None:
        """Take the next chunk of both, frame *t* beside frame *t*: equal counts, sizes may differ between the two."""

    @abstractmethod
    def close_pair(self, frames: int, reference_frames: int) -> Observation:
        """Finish. The arguments are how many frames each clip has in all; pairs were pushed for the shorter."""


class Parametrised(ABC, Generic[P]):
    """Parameters as a frozen dataclass, settable by name."""

    parameters_type: ClassVar[type[Any]] = NoParameters

    def __init__(self, parameters: P | None = None) -> None:
        self.parameters: P = parameters if parameters is not None else self.parameters_type()

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Make an instance from plain values, as they stand on the command line or in a suite.

        Raises:
            InputError: a name is unknown or a value has the wrong type; lists what there is.
        """
        fields = {field.name: field for field in dataclasses.fields(cls.parameters_type)}
        owner = getattr(cls, "name", cls.__name__)
        defaults = cls.parameters_type()
        checked: dict[str, Any] = {}
        for key, value in values.items():
            if key not in fields:
                known = ", ".join(fields) or "none"
                raise InputError(f"{owner} has no parameter '{key}'; it has: {known}")
            checked[key] = _coerce(value, getattr(defaults, key), f"{owner}.{key}")
        return cls(cls.parameters_type(**checked))

    def parameter_values(self) -> dict[str, Any]:
        """The parameters as plain JSON values."""
        return dataclasses.asdict(self.parameters)  # type: ignore[call-overload, no-any-return]


def _coerce(value: Any, default: Any, what: str) -> Any:
    """Read a command-line string as the type of the default; refuse what does not fit."""
    wanted = f"{what} must be a {type(default).__name__}, got '{value}'"
    try:
        if isinstance(default, bool):
            return value if isinstance(value, bool) else {"true": True, "false": False}[str(value).lower()]
        if isinstance(default, int):
            return int(value)
        number = float(value) if isinstance(default, float) else 0.0
    except (ValueError, KeyError, TypeError):
        raise InputError(wanted) from None
    if not math.isfinite(number):
        raise InputError(wanted)
    return number if isinstance(default, float) else value


class BaseExtractor(Parametrised[P]):
    """What extractors of single clips and of pairs share.

    Class facts are readable without an instance. Instances are made once a worker and serve many clips, so heavy
    things (networks) are loaded in `load`, not in `open`.
    """

    name: ClassVar[str]
    """Unique, lower_snake_case; the entry point has the same name."""
    version: ClassVar[str]
    """Raise it whenever the observation can differ for the same frames."""
    summary: ClassVar[str]
    """One line."""
    observation_type: ClassVar[type[Observation]]
    requires: ClassVar[Requires] = Requires()

    def requirements(self) -> Requires:
        """What must be present before these parameters can be used; `requires` unless a parameter changes it."""
        return self.requires

    def load(self) -> None:
        """Load networks. Called once a worker before the first `open`; must not download."""

    def weights_checksum(self) -> str | None:
        """`sha256:…` of the weights in use, or None for an extractor without weights."""
        return None

    def identity(self) -> str:
        """What the observation depends on besides the clip: name, version, parameters, weights' checksum.

        With the clip's content hash this is the cache key.
        """
        facts = {
            "name": self.name,
            "version": self.version,
            "parameters": self.parameter_values(),
            "weights": self.weights_checksum(),
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return f"{self.name}-{self.version}-{digest[:16]}"


class Extractor(BaseExtractor[P]):
    """Frames of one clip to one observation."""

    @abstractmethod
    def open(self, clip: Clip) -> Session:
        """Begin a clip.

        The observation must depend on frames, times and parameters alone: it is cached by the clip's content, so what
        was read from its prompt or other metadata would outlive a change of them.
        """


class PairExtractor(BaseExtractor[P]):
    """A clip and its reference clip to one observation."""

    @abstractmethod
    def open_pair(self, clip: Clip) -> PairSession:
        """Begin a clip whose reference clip is decoded in step."""

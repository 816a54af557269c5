"""What metrics and extractors promise alike, and how a broken promise is told."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.extractor import Observation, Parametrised
from vidbench.testing._clips import Pixels, synthetic_clips
from vidbench.testing._run import Describe, Extractors

TOLERANCE = 1e-6
"""Relative difference that rounding may make where the order of sums differs, and in networks."""
CHUNKS = (1, 3, 7)
"""Frames a push; each is compared with the whole clip in one push."""
SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class ContractError(AssertionError):
    """A metric or extractor does not keep its contract; the message says which promise and how it showed."""


@dataclass(frozen=True)
class Given:
    """What the checks try a plug-in on."""

    clips: Sequence[Pixels] = field(default_factory=synthetic_clips)
    """At least two clips of at least two frames, all of one shape (T, H, W, 3) uint8."""
    extractors: Extractors = field(default_factory=dict)
    describe: Describe | None = None
    """Adds metadata to the clip of each number, for metrics that ask for more than a prompt and actions."""


def require(condition: bool, message: str) -> None:
    """Raise `ContractError(message)` unless `condition` holds."""
    if not condition:
        raise ContractError(message)


def check_text_facts(plugin: type[Any], names: Sequence[str]) -> None:
    """The named facts are non-empty class attributes, `name` is lower_snake_case and `summary` one line."""
    for name in names:
        value = getattr(plugin, name, None)
        if not isinstance(value, str):
            raise ContractError(f"{plugin.__name__}.{name} must be a class attribute of type str, it is {value!r}")
        require(bool(value.strip()), f"{plugin.__name__}.{name} is empty")
    require(
        SNAKE_CASE.fullmatch(plugin.name) is not None,
        f"{plugin.__name__}.name must be lower_snake_case, it is '{plugin.name}'",
    )
    require("\n" not in plugin.summary, f"{plugin.__name__}.summary must be one line")


def check_parameters_of(plugin: type[Parametrised[Any]]) -> None:
    """Parameters are a frozen dataclass of plain values that survives the way through JSON names and typed text."""
    own, kind = plugin.__name__, plugin.parameters_type
    require(is_frozen_dataclass(kind), f"{own}.parameters_type must be a frozen dataclass: it is part of an identity")
    try:
        default = plugin()
        values = default.parameter_values()
        json.dumps(values, allow_nan=False)
        again = plugin.from_mapping(values)
        plain = {key: value for key, value in values.items() if isinstance(value, bool | int | float | str)}
        typed = plugin.from_mapping({key: str(value) for key, value in plain.items()})
    except (TypeError, ValueError, InputError) as error:
        raise ContractError(f"{own}: its default parameters are not plain values: {error}") from error
    for how, got in (("from_mapping(parameter_values())", again), ("the parameters typed as text", typed)):
        require(got.parameters == default.parameters, f"{own}: {how} gives {got.parameters}, not {default.parameters}")
    try:
        plugin.from_mapping({"no_such_parameter": 1})
    except InputError:
        return
    raise ContractError(f"{own}.from_mapping accepts a parameter that it does not have")


def is_frozen_dataclass(kind: object) -> bool:
    """Whether `kind` is a dataclass whose fields cannot be set."""
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return False
    return bool(kind.__dataclass_params__.frozen)  # type: ignore[attr-defined]  # typeshed leaves it out


def difference(a: Observation, b: Observation, tolerance: float = 0.0) -> str | None:
    """The first field in which two observations differ by more than `tolerance`, or None."""
    for entry in dataclasses.fields(a):
        ours, theirs = getattr(a, entry.name), getattr(b, entry.name)
        arrays = isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray)
        if not (_same_arrays(ours, theirs, tolerance) if arrays else _same_scalars(ours, theirs, tolerance)):
            return entry.name
    return None


def same_state(a: Any, b: Any) -> bool:
    """Whether two states of a set metric hold the same, arrays compared bit for bit."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return _same_arrays(a, b, 0.0)
    if type(a) is not type(b):
        return False
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same_state(a[key], b[key]) for key in a)
    inside = _inside(a)
    return _same_scalars(a, b, 0.0) if inside is None else same_state(inside, _inside(b))


def _inside(value: Any) -> dict[Any, Any] | None:
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if dataclasses.is_dataclass(value):  # which may have slots and no __dict__
        return {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
    return vars(value) if hasattr(value, "__dict__") else None


def _same_arrays(a: NDArray[Any], b: NDArray[Any], tolerance: float) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    inexact = bool(np.issubdtype(a.dtype, np.inexact))
    if np.array_equal(a, b, equal_nan=inexact):
        return True
    if not inexact or tolerance == 0 or not np.array_equal(np.isnan(a), np.isnan(b)):
        return False
    return bool(np.nanmax(np.abs(a - b)) <= tolerance * np.nanmax(np.abs(a)))


def _same_scalars(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=tolerance)
    return type(a) is type(b) and bool(a == b)

"""The two forms in which distances between sets keep features: a Gaussian, or all rows; and how they are written down.

A metric over features is a subclass of `GaussianMetric` or `RowsMetric` that says which extractor it reads and how two
states compare. Uncertainty is the same for all of them and is not made here: the engine leaves out a tenth of the
prompts at a time (`vidbench.run.sets`), which, unlike a bootstrap, never counts a clip twice.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vidbench.extractor import P
from vidbench.frechet import GaussianState, add_rows, folded, merge
from vidbench.metric import Observations, Packed, SetMetric
from vidbench_metrics.set_facts import SetFacts, caution

Rows = NDArray[np.float32]

MOST_FOLDED = 2**53
"""Counts above this are no whole numbers in float64."""
SYMMETRY = 1e-9
"""How far a scatter matrix may be from symmetric and from positive, as a share of its largest value."""


@dataclass(slots=True)
class GaussianSet:
    """What is kept of a set: a Gaussian of at most two d x d float64 arrays, and a few numbers."""

    gaussian: GaussianState = field(default_factory=GaussianState)
    facts: SetFacts = field(default_factory=SetFacts)


@dataclass(slots=True)
class RowSet:
    """All features of a set, where pairs of them are compared: 4 d bytes a row."""

    rows: list[Rows] = field(default_factory=list)
    facts: SetFacts = field(default_factory=SetFacts)

    def stacked(self) -> Rows:
        """(N, d); (0, 1) of an empty set."""
        return np.concatenate(self.rows) if self.rows else np.empty((0, 1), np.float32)


def shuffled(rows: Rows, seed: int = 0) -> Rows:
    """The rows in an order that depends on nothing but their content and the seed, and looks random."""
    salt = str(seed).encode() if seed else b""
    keys = [hashlib.sha256(np.ascontiguousarray(row).tobytes() + salt).digest() for row in rows]
    return rows[sorted(range(len(rows)), key=keys.__getitem__)]


class FeatureMetric(SetMetric[P, Any]):
    """What both kinds share."""

    noun: ClassVar[str] = "windows"
    """What a row stands for, in the plural."""
    dimensions: ClassVar[int | None] = None
    """Of a row; None where it depends on the parameters."""

    @abstractmethod
    def features(self, observations: Observations) -> tuple[Rows, str]:
        """A clip's rows (n, d), and the checksum of the weights where they are not the published ones, else ``""``."""

    def few(self, generated: SetFacts, reference: SetFacts, rows: tuple[int, int], least: int) -> str | None:
        """The reason for no value where a set has fewer than two clips, or fewer rows than `least`; else None."""
        for what, facts, count in (("generated", generated, rows[0]), ("reference", reference, rows[1])):
            if facts.clips < 2:
                return f"the {what} set has {facts.clips} clip{'s' * (facts.clips != 1)}; 2 are needed"
            if count < least:
                noun = self.noun.removesuffix("s") if count == 1 else self.noun
                return f"the {what} set has {count} {noun}; {least} are needed"
        return None

    def told(
        self,
        generated: GaussianSet | RowSet,
        reference: GaussianSet | RowSet,
        rows: tuple[int, int],
        width: int,
        *,
        consequence: str = "most of the value is sampling error",
        more: Iterable[str | None] = (),
    ) -> dict[str, float | int | str | None]:
        """The details of every distance: how many clips and rows it rests on, and its caution."""
        return {
            "clips": generated.facts.clips,
            "reference_clips": reference.facts.clips,
            self.noun: rows[0],
            f"reference_{self.noun}": rows[1],
            "caution": caution(
                generated.facts, reference.facts, rows, width, noun=self.noun, consequence=consequence, more=more
            ),
        }

    def _width(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any], names: set[str]) -> SetFacts:
        """The facts, after the names of arrays and values were compared."""
        if set(arrays) != names:
            raise ValueError(
                f"it holds the arrays {', '.join(sorted(arrays)) or 'none'}, not {', '.join(sorted(names))}"
            )
        for name, array in arrays.items():
            if array.dtype.kind != "f" or not bool(np.isfinite(array).all()):
                raise ValueError(f"{name} is no array of finite numbers")
        return SetFacts.unpacked(values.get("facts"))

    def _check_width(self, width: int) -> None:
        if self.dimensions is not None and width != self.dimensions:
            raise ValueError(f"its features have {width} dimensions, not {self.dimensions}")


class GaussianMetric(FeatureMetric[P]):
    """A distance of two Gaussians."""

    def new_state(self) -> GaussianSet:
        """No clips."""
        return GaussianSet()

    def observe(self, state: GaussianSet, observations: Observations) -> GaussianSet:
        """Add one clip's rows."""
        rows, unpublished = self.features(observations)
        return GaussianSet(add_rows(state.gaussian, rows), state.facts.with_(observations.facts, unpublished))

    def merge(self, state: GaussianSet, other: GaussianSet) -> GaussianSet:
        """Both sets together."""
        return GaussianSet(merge(state.gaussian, other.gaussian), state.facts.joined(other.facts))

    def pack(self, state: GaussianSet, *, features: bool = True) -> Packed | None:
        """Float64 count, mean and scatter; and with `features` the rows that are not folded yet."""
        kept = state.gaussian if features else folded(state.gaussian)
        width = kept.dimensions
        none = np.empty((0, width))
        arrays = {
            "rows": kept.rows,
            "mean": none if kept.folded_mean is None else kept.folded_mean[None],
            "scatter": none if kept.scatter is None else kept.scatter,
        }
        return arrays, {"folded": kept.folded, "facts": state.facts.packed()}

    def unpack(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> GaussianSet:
        """Back from `pack`; refuses what is no Gaussian."""
        facts = self._width(arrays, values, {"rows", "mean", "scatter"})
        rows, mean, scatter = (np.asarray(arrays[name], np.float64) for name in ("rows", "mean", "scatter"))
        count = values.get("folded")
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < MOST_FOLDED:
            raise ValueError("the number of folded rows is none")
        if rows.ndim != 2:
            raise ValueError(f"rows has the shape {rows.shape}")
        width = rows.shape[1]
        self._check_width(width)
        expected = ((1, width), (width, width)) if count else ((0, width), (0, width))
        if (mean.shape, scatter.shape) != expected or len(rows) > max(width, 1):
            raise ValueError(f"shapes of rows {rows.shape}, mean {mean.shape} and scatter {scatter.shape} do not fit")
        if not count:
            return GaussianSet(GaussianState(rows.copy()), facts)
        largest = float(np.abs(scatter).max())
        if float(np.abs(scatter - scatter.T).max()) > SYMMETRY * largest:
            raise ValueError("scatter is not symmetric")
        if largest > 0 and float(np.linalg.eigvalsh(scatter)[0]) < -SYMMETRY * largest * width:
            raise ValueError("scatter is no sum of squares: it has a negative eigenvalue")
        return GaussianSet(GaussianState(rows.copy(), count, mean[0].copy(), scatter.copy()), facts)


class RowsMetric(FeatureMetric[P]):
    """A distance that looks at pairs of rows."""

    def new_state(self) -> RowSet:
        """No clips."""
        return RowSet()

    def observe(self, state: RowSet, observations: Observations) -> RowSet:
        """Add one clip's rows."""
        rows, unpublished = self.features(observations)
        facts = state.facts.with_(observations.facts, unpublished)
        return RowSet([*state.rows, rows] if len(rows) else state.rows, facts)

    def merge(self, state: RowSet, other: RowSet) -> RowSet:
        """Both sets together."""
        return RowSet([*state.rows, *other.rows], state.facts.joined(other.facts))

    def pack(self, state: RowSet, *, features: bool = True) -> Packed | None:
        """All rows; there is no form without them."""
        return ({"rows": state.stacked()}, {"facts": state.facts.packed()}) if features else None

    def unpack(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> RowSet:
        """Back from `pack`."""
        facts = self._width(arrays, values, {"rows"})
        rows = np.asarray(arrays["rows"], np.float32)
        if rows.ndim != 2:
            raise ValueError(f"rows has the shape {rows.shape}")
        if len(rows):
            self._check_width(rows.shape[1])
        return RowSet([rows] if len(rows) else [], facts)

"""Boosted trees as plain arrays, evaluated with numpy alone.

Trained elsewhere by scikit-learn's `HistGradientBoostingClassifier` (BSD-3-Clause, 1.3 or newer); `from_sklearn` takes
the fitted trees over. The log-odds are those of its `decision_function` but for the order of the sum (1e-9).

Axes: N rows to judge, F features, T trees, M nodes of all trees one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS = 4096
"""Rows walked at a time, so that memory stays at a few tens of megabytes."""


@dataclass(frozen=True, eq=False)
class Trees:
    """A sum of binary decision trees.

    At an inner node a row goes left where its feature is at most the threshold; NaN goes the way it went in training.

    Raises:
        ValueError: the arrays do not form trees.
    """

    feature: NDArray[np.int32]
    """(M,) which feature an inner node looks at; -1 for a leaf."""
    threshold: NDArray[np.float64]
    """(M,) largest value that goes left; 0 for a leaf. Infinite where only NaN goes right."""
    missing_left: NDArray[np.uint8]
    """(M,) 1 where NaN goes left."""
    left: NDArray[np.int32]
    """(M,) number of the left child; a leaf names itself."""
    right: NDArray[np.int32]
    """(M,) number of the right child; a leaf names itself."""
    value: NDArray[np.float64]
    """(M,) log-odds that a leaf adds; 0 for an inner node."""
    roots: NDArray[np.int32]
    """(T,) numbers of the first nodes."""
    baseline: float
    """Log-odds before any tree."""

    def __post_init__(self) -> None:
        size = len(self.feature)
        nodes = np.arange(size)
        arrays = (self.threshold, self.missing_left, self.left, self.right, self.value)
        leaf = self.feature < 0
        children = np.stack([self.left, self.right]) if {len(a) for a in arrays} <= {size} else np.zeros((2, 0))
        # A child stands behind its parent: every walk ends.
        if (
            children.shape[1] != size
            or bool((children[:, leaf] != nodes[leaf]).any())
            or bool((children[:, ~leaf] <= nodes[~leaf]).any())
            or bool((children >= size).any())
            or bool(((self.roots < 0) | (self.roots >= max(size, 1))).any())
            or bool(np.isnan(self.threshold).any())
            or not bool(np.isfinite(self.value).all())
            or not np.isfinite(self.baseline)
            or (size == 0 and len(self.roots) > 0)
        ):
            raise ValueError("the arrays do not form trees")

    @classmethod
    def constant(cls, baseline: float) -> Trees:
        """No tree at all: the same log-odds for every row."""
        none = np.zeros(0, np.int32)
        return cls(none, np.zeros(0), np.zeros(0, np.uint8), none, none, np.zeros(0), none, baseline)

    @classmethod
    def from_sklearn(cls, classifier: Any) -> Trees:
        """The trees of a fitted binary `HistGradientBoostingClassifier` without categorical features.

        Reads `_predictors` and `_baseline_prediction`, which are private to scikit-learn: the one place that does.

        Raises:
            ValueError: more than two classes, or categorical features.
        """
        rounds = [[predictor.nodes for predictor in predictors] for predictors in classifier._predictors]
        if any(len(trees) != 1 for trees in rounds):
            raise ValueError("only a classifier of two classes can be taken over")
        tables = [trees[0] for trees in rounds]
        if any(table["is_categorical"].any() for table in tables):
            raise ValueError("categorical features cannot be taken over")
        baseline = float(np.asarray(classifier._baseline_prediction).ravel()[0])
        if not tables:
            return cls.constant(baseline)
        roots = np.cumsum([0, *(len(table) for table in tables[:-1])]).astype(np.int32)
        offset = np.repeat(roots, [len(table) for table in tables])
        nodes = np.concatenate(tables)
        leaf = nodes["is_leaf"].astype(bool)
        itself = np.arange(len(nodes))
        return cls(
            feature=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int32),
            threshold=np.where(leaf, 0.0, nodes["num_threshold"]).astype(np.float64),
            missing_left=np.where(leaf, 0, nodes["missing_go_to_left"]).astype(np.uint8),
            left=np.where(leaf, itself, nodes["left"].astype(np.int64) + offset).astype(np.int32),
            right=np.where(leaf, itself, nodes["right"].astype(np.int64) + offset).astype(np.int32),
            value=np.where(leaf, nodes["value"], 0.0).astype(np.float64),
            roots=roots,
            baseline=baseline,
        )

    @property
    def features_needed(self) -> int:
        """How many columns a matrix must have at least."""
        return int(self.feature.max()) + 1 if len(self.feature) else 0

    def log_odds(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds of the second class.

        Args:
            x: (N, F) float64; NaN = not known.

        Returns:
            (N,) natural log-odds.

        Raises:
            ValueError: not a matrix, or fewer columns than the trees look at.
        """
        if x.ndim != 2 or x.shape[1] < self.features_needed:
            raise ValueError(f"the trees look at {self.features_needed} features, got an array of shape {x.shape}")
        if not len(self.roots):
            return np.full(len(x), self.baseline)
        return np.concatenate([np.zeros(0)] + [self._walk(x[i : i + _ROWS]) for i in range(0, len(x), _ROWS)])

    def _walk(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = np.arange(len(x))[:, None]
        at = np.broadcast_to(self.roots, (len(x), len(self.roots)))  # (N, T)
        while True:
            feature = self.feature[at]
            if (feature < 0).all():
                return np.asarray(self.baseline + self.value[at].sum(axis=1), np.float64)
            seen = x[rows, np.maximum(feature, 0)]
            goes_left = np.where(np.isnan(seen), self.missing_left[at] == 1, seen <= self.threshold[at])
            at = np.where(goes_left, self.left[at], self.right[at])  # a leaf leads to itself

"""A random forest of numbers, in numpy: many trees, each grown on some groups of rows and silent about its own.

Extremely randomised trees (Geurts et al., Machine Learning 63, 2006): at each node some features are drawn, a threshold
for each, and the split that explains most of the variance of all targets is kept. Targets of 0 and 1 make it a
classifier. Thresholds are values of rows drawn from the node, so that long tails do not matter. Rows come in groups
(clips); a tree sees some groups, and what is held against a row is what the trees say that did not see its group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]

SEEN = 2 / 3
"""Share of the groups that a tree is grown on."""
LEAST_LEAF = 4
"""Rows in a leaf."""
DEEPEST = 24


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree as arrays over its M nodes; the first node is the root."""

    feature: Numbers
    """(M,); a leaf has -1."""
    threshold: NDArray[np.float32]
    """(M,) rows with at most this go left."""
    left: Numbers
    """(M,) number of the left child; the right one is the next."""
    value: Values
    """(M, K) weighted mean of the targets."""
    unseen: frozenset[int]
    """Groups that the tree was not grown on."""

    def __call__(self, features: NDArray[np.float32]) -> Values:
        """(n, K) from (n, F)."""
        at = np.zeros(len(features), np.int64)
        rows = np.arange(len(features))
        while len(rows):
            feature = self.feature[at[rows]]
            rows = rows[feature >= 0]
            here = at[rows]
            goes_right = features[rows, self.feature[here]] > self.threshold[here]
            at[rows] = self.left[here] + goes_right
        return self.value[at]


def grow(
    features: NDArray[np.float32],
    targets: Values,
    weights: Values,
    unseen: frozenset[int],
    rng: np.random.Generator,
) -> Tree:
    """Grow a tree level by level, all nodes of a level at once.

    Args:
        features: (n, F).
        targets: (n, K).
        weights: (n,) above 0.
        unseen: groups that are not among the rows; only written down.
        rng: where chance comes from.
    """
    count, width = features.shape
    tried = max(4, round(width**0.5))
    weighted = targets * weights[:, None]
    feature_of, threshold_of, left_of, value_of = [-1], [0.0], [0], [weighted.sum(axis=0) / weights.sum()]
    rows, sizes, names = np.arange(count), np.array([count]), np.array([0])
    for _ in range(DEEPEST):
        open_ = sizes >= 2 * LEAST_LEAF
        if not open_.any():
            break
        rows = rows[np.repeat(open_, sizes)]
        sizes, names = sizes[open_], names[open_]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        drawn = rng.integers(width, size=(len(sizes), tried))
        values = features[rows[:, None], np.repeat(drawn, sizes, axis=0)]  # (n, tried)
        picks = starts[:, None] + (rng.random((len(sizes), tried)) * sizes[:, None]).astype(np.int64)
        thresholds = values[picks, np.arange(tried)]
        goes_left = values <= np.repeat(thresholds, sizes, axis=0)
        mass, moment = weights[rows], weighted[rows]
        left_rows = np.add.reduceat(goes_left, starts, axis=0, dtype=np.int64)
        left_mass = np.add.reduceat(goes_left * mass[:, None], starts, axis=0)
        all_mass = np.add.reduceat(mass, starts)[:, None]
        all_moment = np.add.reduceat(moment, starts, axis=0)[:, None, :]
        left_moment = np.stack(
            [np.add.reduceat(goes_left * moment[:, [k]], starts, axis=0) for k in range(moment.shape[1])], axis=-1
        )
        valid = (left_rows >= LEAST_LEAF) & (sizes[:, None] - left_rows >= LEAST_LEAF)
        right_mass = np.where(valid, all_mass - left_mass, 1.0)
        explained = np.where(
            valid,
            (left_moment**2).sum(axis=-1) / np.where(valid, left_mass, 1.0)
            + ((all_moment - left_moment) ** 2).sum(axis=-1) / right_mass,
            -np.inf,
        )
        best = explained.argmax(axis=1)
        nodes = np.arange(len(sizes))
        gain = explained[nodes, best] - (all_moment[:, 0] ** 2).sum(axis=-1) / all_mass[:, 0]
        split = gain > 1e-12 * all_mass[:, 0]
        for node in nodes[split]:
            name, choice = names[node], best[node]
            feature_of[name], threshold_of[name] = int(drawn[node, choice]), float(thresholds[node, choice])
            left_of[name] = len(feature_of)
            side = left_moment[node, choice], all_moment[node, 0] - left_moment[node, choice]
            masses = left_mass[node, choice], right_mass[node, choice]
            for part in (0, 1):
                feature_of.append(-1)
                threshold_of.append(0.0)
                left_of.append(0)
                value_of.append(side[part] / masses[part])
        going = np.repeat(split, sizes)
        node_of = np.repeat(nodes, sizes)[going]
        rows, is_left = rows[going], goes_left[np.arange(len(going))[going], best[np.repeat(nodes, sizes)[going]]]
        # Rows of a node stay together, those that go left before the others.
        order = np.lexsort((~is_left, node_of))
        rows = rows[order]
        kept = nodes[split]
        lefts = left_rows[kept, best[kept]]
        sizes = np.stack([lefts, sizes[kept] - lefts], axis=1).ravel()
        first = np.array([left_of[names[node]] for node in kept], np.int64)
        names = np.stack([first, first + 1], axis=1).ravel()
    return Tree(
        np.array(feature_of, np.int64),
        np.array(threshold_of, np.float32),
        np.array(left_of, np.int64),
        np.array(value_of, np.float64),
        unseen,
    )


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees that were grown on different groups of the same rows."""

    trees: tuple[Tree, ...]

    def __call__(self, features: NDArray[Any], group: int | None = None) -> Values:
        """Mean of what the trees say.

        Args:
            features: (n, F).
            group: ask only the trees that were not grown on this group; None asks all.

        Returns:
            (n, K).
        """
        rows = np.ascontiguousarray(features, np.float32)
        asked = [tree for tree in self.trees if group is None or group in tree.unseen]
        total = np.zeros((len(rows), self.trees[0].value.shape[1]))
        for tree in asked:
            total += tree(rows)
        return total / len(asked)


def plant(features: NDArray[Any], targets: Values, weights: Values, lengths: Sequence[int], trees: int = 100) -> Forest:
    """Grow a forest; the same input gives the same forest.

    Args:
        features: (n, F).
        targets: (n, K).
        weights: (n,) above 0.
        lengths: rows of each group, of which there must be at least three, one after the other.
        trees: how many; every group is unseen by some as long as there are a few dozen.
    """
    groups = len(lengths)
    of_row = np.repeat(np.arange(groups), lengths)
    rows = np.ascontiguousarray(features, np.float32)
    rng = np.random.default_rng(0)
    grown: list[Tree] = []
    left_out: list[int] = []
    for _ in range(trees):
        # Dealt round by round, so that each group is left out equally often.
        out: list[int] = []
        while len(out) < max(1, round((1 - SEEN) * groups)):
            if not left_out:
                left_out = rng.permutation(groups).tolist()
            if (next_group := left_out.pop()) not in out:
                out.append(next_group)
        seen = ~np.isin(of_row, out)
        grown.append(grow(rows[seen], targets[seen], weights[seen], frozenset(out), rng))
    return Forest(tuple(grown))

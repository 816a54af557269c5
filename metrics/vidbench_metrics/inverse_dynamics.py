"""A reader of actions: an inverse-dynamics model that is grown on real clips and asked which action a clip shows.

A forest (`vidbench_metrics.forest`) over what `step_motion` sees of the steps that follow an action; never of those
before it, for where a player keeps pressing a button the past would tell the action without anything being shown. What
can be read at all is found out on the reference clips themselves, each read by the trees that have not seen it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench_metrics.forest import Forest, plant

Values = NDArray[np.float64]
Labels = NDArray[np.int64]
Steps = NDArray[np.float16]

SHUFFLES = 400
"""How many times the actions are dealt out anew to learn what chance gives."""
SIGNIFICANCE = 0.01
MOST_ROWS = 6000
"""Rows of the reference set that are used at most; beyond, clips are left out evenly."""
LEAST_CLIPS = 6
"""Reference clips below which nothing can be held out."""
LEAST_ROWS = 100
LEAST_OF_AN_ACTION = 5
"""Times that an action must occur to be judged."""
MOST_ACTIONS = 32
"""Distinct actions up to which numbers are taken for buttons rather than for amounts."""
SAME_EFFECT = 0.6
"""Two actions whose scores order less than this share of their pairs rightly (AUC) are taken to do the same."""


@dataclass(frozen=True, eq=False)
class ActionClip:
    """What is kept of a clip with S steps."""

    steps: Steps
    """(S, F) of `step_motion`."""
    actions: Values | tuple[str, ...]
    """(S, A) numbers, or S words."""

    def digest(self) -> str:
        """Equal for clips that look the same to the reader, whatever their actions."""
        return hashlib.sha256(self.steps.tobytes()).hexdigest()

    def key(self) -> tuple[str, str]:
        """An order that does not depend on who came first."""
        said = self.actions.tobytes() if isinstance(self.actions, np.ndarray) else json.dumps(self.actions).encode()
        return self.digest(), hashlib.sha256(said).hexdigest()


def windows(steps: NDArray[np.floating], count: int) -> Values:
    """What the reader sees for each action: `count` steps from its own on.

    Args:
        steps: (S, F).
        count: steps.

    Returns:
        (S - count + 1, count * F).
    """
    rows = max(0, len(steps) - count + 1)
    return np.concatenate([steps[s : s + rows] for s in range(count)], axis=1).astype(np.float64)


def words(actions: Values | tuple[str, ...]) -> tuple[str, ...]:
    """The names of actions: words as they are, numbers as `3` or `0 1`."""
    if isinstance(actions, tuple):
        return actions
    return tuple(" ".join(f"{value:g}" for value in row) for row in actions)


def balanced_accuracy(truth: Labels, read: Labels) -> float:
    """Mean over the actions in `truth` of the share that was read rightly: scikit-learn's balanced_accuracy_score."""
    return float(np.mean([np.mean(read[truth == action] == action) for action in np.unique(truth)]))


def above_chance(accuracy: float, actions: int) -> float:
    """0 for what guessing gets of so many actions, 1 for everything right; below 0 is worse than guessing.

    scikit-learn's balanced_accuracy_score with adjusted=True.
    """
    return (accuracy - 1 / actions) / (1 - 1 / actions)


def concordance(truth: Values, read: Values) -> float:
    """Lin's concordance correlation (Biometrics 45, 1989): 1 only where both are equal; 0 for what does not vary.

    Unlike the correlation it falls where what is read is too large, too small or off by a constant.

    Args:
        truth: (n,).
        read: (n,).
    """
    spread = float(truth.var() + read.var() + (truth.mean() - read.mean()) ** 2)
    return 2 * float(np.mean((truth - truth.mean()) * (read - read.mean()))) / spread if spread > 0 else 0.0


def mean_concordance(truth: Values, read: Values) -> float:
    """Mean over the K columns of two (n, K) arrays."""
    return float(np.mean([concordance(truth[:, k], read[:, k]) for k in range(truth.shape[1])]))


def ordered_pairs(scores: Values, first: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: share of pairs of one that is `first` and one that is not whose scores say so.

    Args:
        scores: (n,).
        first: (n,).
    """
    ones = int(first.sum())
    others = len(first) - ones
    if not ones or not others:
        return 0.5
    _, place, times = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[place]  # equal scores share their mean rank
    return float((ranks[first].sum() - ones * (ones + 1) / 2) / (ones * others))


def redealt(lengths: Sequence[int], rng: np.random.Generator) -> Labels:
    """An order of rows in which clips and times no longer fit their actions, but runs of one action stay runs.

    All rows are put in a ring, clip after clip in a new order, and turned by a random amount.

    Args:
        lengths: rows of each clip.
        rng: where chance comes from.
    """
    starts = np.concatenate([[0], np.cumsum(lengths)])
    order = rng.permutation(len(lengths))
    ring = np.concatenate([np.arange(starts[clip], starts[clip + 1]) for clip in order])
    return np.roll(ring, int(rng.integers(len(ring))))


def balancing(labels: Labels) -> Values:
    """(n,) weights that give every action the same say; their mean is 1."""
    counts = np.bincount(labels)
    return len(labels) / (np.count_nonzero(counts) * counts[labels].astype(np.float64))


def same_effect(scores: Values, labels: Labels, lengths: Sequence[int]) -> list[list[int]]:
    """Groups of actions that nobody can tell apart by what follows them.

    Two actions are apart where their held-out scores order their pairs rightly more often than `SAME_EFFECT` and than
    99 % of redealt actions do. Groups join from the most alike on, and only where all their members are alike.

    Args:
        scores: (n, K) held out.
        labels: (n,) 0 to K - 1.
        lengths: rows of each clip.
    """
    rng = np.random.default_rng(0)
    orders = [redealt(lengths, rng) for _ in range(100)]
    likeness: dict[tuple[int, int], float] = {}
    for a, b in itertools.combinations(range(scores.shape[1]), 2):
        margin = scores[:, a] - scores[:, b]

        def ordered(given: Labels, margin: Values = margin, a: int = a, b: int = b) -> float:
            either = (given == a) | (given == b)
            return ordered_pairs(margin[either], given[either] == a)

        limit = max(SAME_EFFECT, float(np.quantile([ordered(labels[order]) for order in orders], 1 - SIGNIFICANCE)))
        likeness[a, b] = ordered(labels) - limit
    groups = [[action] for action in range(scores.shape[1])]

    def apart(first: list[int], second: list[int]) -> float:
        return max(likeness[min(a, b), max(a, b)] for a in first for b in second)

    while len(groups) > 1:
        first, second = min(itertools.combinations(groups, 2), key=lambda pair: apart(*pair))
        if apart(first, second) > 0:
            break
        groups = sorted([*(g for g in groups if g not in (first, second)), sorted(first + second)])
    return groups


@dataclass(frozen=True, eq=False)
class Reader:
    """What can be read of a reference set, and how."""

    forest: Forest
    count: int
    """Steps that are looked at for each action."""
    groups: tuple[tuple[str, ...], ...]
    """Actions that can be told apart, each with those that do the same; empty where actions are amounts."""
    varying: tuple[int, ...]
    """Which of the A numbers of an amount vary in the reference set."""
    shift: Values
    """(K,) and `scale`: amounts are read as (amount - shift) / scale."""
    scale: Values
    known: Mapping[str, int]
    """Digest of each reference clip to its group of rows in the forest."""
    value: float
    """Above chance, on the reference clips held out: see `above_chance` and `mean_concordance`."""
    raw: float
    """The balanced accuracy, or the mean correlation of amounts."""
    p: float
    """How often redealt actions are read as well."""
    foreseen: float
    """As `value`, but read from the steps *before* each action: what a clip that ignores its actions could show."""
    rows: int

    def scores(self, clip: ActionClip) -> Values:
        """(n, K) for the first n actions of a clip; a clip of the reference set is read by trees that don't know it."""
        return self.forest(windows(clip.steps, self.count), self.known.get(clip.digest()))

    def truth(self, clip: ActionClip) -> tuple[Values, NDArray[np.bool_]]:
        """(n, K) what ought to be read (amounts, or 1 for the action's group), and (n,) whether it is known at all."""
        rows = max(0, len(clip.steps) - self.count + 1)
        if self.groups:
            group_of = {word: number for number, group in enumerate(self.groups) for word in group}
            numbers = np.array([group_of.get(word, -1) for word in words(clip.actions)[:rows]], np.int64)
            return np.eye(len(self.groups))[numbers], numbers >= 0
        if not isinstance(clip.actions, np.ndarray) or clip.actions.shape[1] <= max(self.varying):
            return np.zeros((rows, len(self.varying))), np.zeros(rows, bool)
        return (clip.actions[:rows, list(self.varying)] - self.shift) / self.scale, np.ones(rows, bool)


def _thinned(clips: Sequence[ActionClip], count: int) -> list[ActionClip]:
    """Each look once, at most `MOST_ROWS` rows, in an order of their own."""
    once = {clip.digest(): clip for clip in sorted(clips, key=ActionClip.key, reverse=True)}
    usable = [clip for _, clip in sorted(once.items()) if len(clip.steps) >= count]
    rows = sum(len(clip.steps) - count + 1 for clip in usable)
    return usable[:: max(1, -(-rows // MOST_ROWS))]


def learn(clips: Sequence[ActionClip], *, count: int, kind: str, merge: str, trees: int) -> Reader | str:
    """Grow a reader, or say why actions can't be read.

    Args:
        clips: the reference set.
        count: steps that are looked at for each action.
        kind: `discrete`, `continuous`, or `auto`: words, and numbers of few distinct values, are discrete.
        merge: `detect`, `none`, or the names of actions that do the same: `0=1,2=4,3=5`.
        trees: of the forest.
    """
    used = _thinned(clips, count)
    lengths = [len(clip.steps) - count + 1 for clip in used]
    if len(used) < LEAST_CLIPS or sum(lengths) < LEAST_ROWS:
        return (
            f"the reference set has {len(used)} different clips with {sum(lengths)} actions; "
            f"{LEAST_CLIPS} clips and {LEAST_ROWS} actions are needed to learn how actions look"
        )
    seen = np.concatenate([windows(clip.steps, count) for clip in used]).astype(np.float32)
    spoken = [word for clip, rows in zip(used, lengths, strict=True) for word in words(clip.actions)[:rows]]
    names = sorted(set(spoken))
    widths = {clip.actions.shape[1] for clip in used if isinstance(clip.actions, np.ndarray)}
    numbers = all(isinstance(clip.actions, np.ndarray) for clip in used) and len(widths) == 1
    if kind == "continuous" and not numbers:
        return "the reference set's actions are not equally many numbers, so they can't be read as amounts"
    if numbers and (kind == "continuous" or (kind == "auto" and len(names) > MOST_ACTIONS)):
        amounts = np.concatenate([np.asarray(c.actions)[:n] for c, n in zip(used, lengths, strict=True)])
        return _learn_amounts(used, seen, amounts, lengths, count, trees)
    return _learn_actions(used, seen, spoken, lengths, count, merge, trees)


def _learn_actions(
    used: list[ActionClip],
    seen: NDArray[np.float32],
    spoken: list[str],
    lengths: list[int],
    count: int,
    merge: str,
    trees: int,
) -> Reader | str:
    often = {name: spoken.count(name) for name in sorted(set(spoken))}
    names = [name for name, times in often.items() if times >= LEAST_OF_AN_ACTION]
    if len(names) < 2:
        return f"the reference set has {len(names)} actions that occur {LEAST_OF_AN_ACTION} times; 2 are needed"
    if len(names) > MOST_ACTIONS:
        return f"the reference set has {len(names)} different actions, more than {MOST_ACTIONS}: set kind=continuous"
    groups = [[name] for name in names]
    if merge not in ("detect", "none"):
        given = [sorted(part.split("=")) for part in merge.split(",")]
        groups = [*given, *([name] for name in names if all(name not in group for group in given))]
    elif merge == "detect" and len(names) > 2:
        labels = np.array([names.index(word) if word in often and word in names else -1 for word in spoken])
        kept, parts = labels >= 0, _parts(labels >= 0, lengths)
        forest = plant(seen[kept], np.eye(len(names))[labels[kept]], balancing(labels[kept]), parts, trees)
        scores = _held_out(forest, seen[kept], parts)
        groups = [[names[i] for i in group] for group in same_effect(scores, labels[kept], parts)]
    if len(groups) < 2:
        return (
            f"actions can't be read from the reference set: no two of {', '.join(names)} can be told apart by the "
            f"{count} steps after them"
        )
    labels = np.array([next((i for i, group in enumerate(groups) if word in group), -1) for word in spoken])
    kept = labels >= 0
    labels, seen, parts = labels[kept], seen[kept], _parts(kept, lengths)
    forest = plant(seen, np.eye(len(groups))[labels], balancing(labels), parts, trees)
    read = _held_out(forest, seen, parts).argmax(axis=1)
    accuracy = balanced_accuracy(labels, read)
    rng = np.random.default_rng(1)
    chance = [balanced_accuracy(labels[redealt(parts, rng)], read) for _ in range(SHUFFLES)]
    p = (1 + sum(value >= accuracy for value in chance)) / (SHUFFLES + 1)
    if p > SIGNIFICANCE:
        return (
            f"actions can't be read from the reference set: {accuracy:.3f} of them rightly (balanced, held out) "
            f"against {1 / len(groups):.3f} by chance, p = {p:.2f}"
        )
    before = plant(_before(seen, parts, count), np.eye(len(groups))[labels], balancing(labels), parts, max(20, trees // 3))
    foreseen = balanced_accuracy(labels, _held_out(before, _before(seen, parts, count), parts).argmax(axis=1))
    return Reader(
        forest=forest,
        count=count,
        groups=tuple(tuple(group) for group in groups),
        varying=(),
        shift=np.zeros(0),
        scale=np.ones(0),
        known={clip.digest(): number for number, clip in enumerate(used)},
        value=above_chance(accuracy, len(groups)),
        raw=accuracy,
        p=p,
        foreseen=above_chance(foreseen, len(groups)),
        rows=len(labels),
    )


def _learn_amounts(
    used: list[ActionClip],
    seen: NDArray[np.float32],
    amounts: Values,
    lengths: list[int],
    count: int,
    trees: int,
) -> Reader | str:
    varying = np.flatnonzero(amounts.std(axis=0) > 1e-9)
    if not len(varying):
        return "the reference set's actions never vary"
    shift, scale = amounts[:, varying].mean(axis=0), amounts[:, varying].std(axis=0)
    targets = (amounts[:, varying] - shift) / scale
    weights = np.ones(len(targets))
    forest = plant(seen, targets, weights, lengths, trees)
    read = _held_out(forest, seen, lengths)
    value = mean_concordance(targets, read)
    rng = np.random.default_rng(1)
    chance = [mean_concordance(targets[redealt(lengths, rng)], read) for _ in range(SHUFFLES)]
    p = (1 + sum(other >= value for other in chance)) / (SHUFFLES + 1)
    if p > SIGNIFICANCE or value <= 0:
        return (
            f"actions can't be read from the reference set: concordance {value:.3f} (held out) against 0 by chance, "
            f"p = {p:.2f}"
        )
    before = plant(_before(seen, lengths, count), targets, weights, lengths, max(20, trees // 3))
    return Reader(
        forest=forest,
        count=count,
        groups=(),
        varying=tuple(int(k) for k in varying),
        shift=shift,
        scale=scale,
        known={clip.digest(): number for number, clip in enumerate(used)},
        value=value,
        raw=float(np.mean([correlation(targets[:, k], read[:, k]) for k in range(targets.shape[1])])),
        p=p,
        foreseen=mean_concordance(targets, _held_out(before, _before(seen, lengths, count), lengths)),
        rows=len(targets),
    )


def correlation(truth: Values, read: Values) -> float:
    """Pearson's, 0 where one of the two does not vary."""
    spread = float(truth.std() * read.std())
    return float(np.mean((truth - truth.mean()) * (read - read.mean()))) / spread if spread > 0 else 0.0


def _parts(kept: NDArray[np.bool_], lengths: Sequence[int]) -> list[int]:
    """Rows of each clip that are kept."""
    return [int(part.sum()) for part in np.split(kept, np.cumsum(lengths)[:-1])]


def _held_out(forest: Forest, seen: NDArray[np.float32], lengths: Sequence[int]) -> Values:
    """(n, K) of all rows, each clip by the trees that have not seen it."""
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return np.concatenate([forest(seen[starts[i] : starts[i + 1]], i) for i in range(len(lengths))])


def _before(seen: NDArray[np.float32], lengths: Sequence[int], count: int) -> NDArray[np.float32]:
    """What the reader would see if it looked at the `count` steps before each action; nothing where there are fewer."""
    earlier = np.roll(seen, count, axis=0)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    for first, last in zip(starts[:-1], starts[1:], strict=True):
        earlier[first : min(first + count, last)] = 0
    return earlier

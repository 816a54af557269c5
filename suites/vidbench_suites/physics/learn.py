"""Training of the learned layer: see `vidbench_metrics.physics.model` for what comes out.

Everything that is fitted to scores (calibration of events, the clip score, thresholds) is fitted to scores of clips
that were left out: groups (a pair of twins, the shots of one video) are dealt into folds, and each fold is scored by
models that saw none of it. Equal tables, recipe and seed give equal bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import vidbench
from vidbench.errors import InputError, MissingExtraError
from vidbench_metrics.physics.event import EVENT_TYPES, GROUPS, group_of
from vidbench_metrics.physics.model import (
    LARGEST_LOG_ODDS,
    POOLED,
    SCORES,
    UNSEEN,
    ClipModel,
    EventModel,
    Floats,
    Gate,
    PhysicsModel,
    by_type,
    clip_features,
    least_clips,
    probability,
)
from vidbench_metrics.physics.trees import Trees
from vidbench_suites.physics.labels import LEFT_OUT, labels
from vidbench_suites.physics.tables import REAL, ClipTable

LEAST_SLOPE = 0.05
"""A calibration never turns the order of events round, nor makes them all alike."""
HASH_DIGITS = 12
"""Of a training clip's content hash, kept in the model so that scoring can tell whether it was trained on a clip."""

THRESHOLDS = (POOLED, "worst", UNSEEN)
TRACKER_WORDS = frozenset(
    {
        *(
            "track",
            "tracks",
            "tracker",
            "blob",
            "blobs",
            "object",
            "objects",
            "foreground",
            "share",
            "merged",
            "ghosts",
        ),
        *("length", "longest", "short", "size", "largest", "inner", "contrast", "outline", "area", "unexplained"),
        *("share", "ghosts"),
    }
)
"""Context numbers whose names begin with one of these words (up to a `_` or `.`) tell how well objects can be followed,
and nothing about the checks of the whole frame."""


@dataclass(frozen=True)
class Recipe:
    """How to train; part of the model file."""

    seed: int = 0
    folds: int = 5
    iterations: int = 200
    """Trees of each type of event."""
    leaves: int = 6
    learning_rate: float = 0.05
    least_leaf: int = 8
    """Events in a leaf."""
    l2: float = 5.0
    """Penalty of the trees' leaves."""
    columns: float = 0.3
    """Share of the features that each split chooses from: with few violations the best of all is often a chance."""
    penalty: float = 10.0
    """Penalty of the clip score's squared weights, where each clip counts 1."""
    least_positives: int = 10
    """A type of event with fewer matched violations gets no trees, only its rate."""
    false_alarms: float = 0.03
    threshold: str = POOLED
    """Innocent scores that the threshold comes from: `pooled` over all domains, `worst` domain, or `unseen`: each look
    scored by a model that was fitted without it."""
    innocent_weight: int = 1
    """How many times a real clip counts beside a rendered one."""
    clip_numbers: tuple[str, ...] = ()
    """Context numbers that the clip score looks at."""
    gate_numbers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """By check group, the context numbers of its gate; a group that is not named takes all that concern it."""

    def __post_init__(self) -> None:
        if self.folds < 2 or self.iterations < 1 or self.leaves < 2 or self.threshold not in THRESHOLDS:
            raise InputError(
                f"training takes at least 2 folds, 1 tree, 2 leaves and one of the thresholds {', '.join(THRESHOLDS)}"
            )


@dataclass(frozen=True, eq=False)
class _Fitted:
    """What is fitted to some clips, before innocent scores."""

    events: dict[str, EventModel]
    clips: dict[str, ClipModel]
    gates: dict[str, Gate]
    held_out: dict[str, Floats]
    """By score, (N,) log-odds of each clip, scored out of fold."""


@dataclass(frozen=True, eq=False)
class _Rows:
    """All events of one type."""

    features: tuple[str, ...]
    x: Floats
    label: NDArray[np.int64]
    clip: NDArray[np.int64]
    """Number of the table that each event is of."""
    place: NDArray[np.int64]
    """Its place among that table's events."""


def train(
    tables: Sequence[ClipTable], recipe: Recipe, *, command: str = "", observer: str = "", unseen: bool = True
) -> PhysicsModel:
    """Fit the learned layer.

    Args:
        tables: clips with truth; at least one impossible, and enough possible ones for the threshold.
        recipe: how.
        command: what to write into the model as the command that made it.
        observer: identity of the code that looked at the clips.
        unseen: also keep what possible clips get from models fitted without their look, at the cost of a fit a look;
            done in any case where the threshold comes from there.

    Raises:
        InputError: too few clips.
        MissingExtraError: scikit-learn is not installed.
    """
    tables = sorted(tables, key=lambda table: (table.truth.look, table.truth.group, table.id))
    _check(tables, recipe)
    fitted = _fit(tables, recipe)
    innocent = _innocent_scores(tables, fitted)
    if unseen or recipe.threshold == UNSEEN:
        for score, scores in _unseen_scores(tables, recipe).items():
            innocent[score][UNSEEN] = scores
    return PhysicsModel(
        events=fitted.events,
        clips=fitted.clips,
        gates=fitted.gates,
        innocent={
            score: {domain: np.sort(values) for domain, values in found.items()} for score, found in innocent.items()
        },
        false_alarms=recipe.false_alarms,
        threshold_domain=_threshold_domain(innocent["overall"], recipe),
        training=_facts(tables, recipe, command, observer),
    )


def _check(tables: Sequence[ClipTable], recipe: Recipe) -> None:
    possible = sum(table.truth.possible for table in tables)
    groups = {table.truth.group for table in tables}
    need = max(least_clips(recipe.false_alarms), recipe.folds)
    if possible < need or possible == len(tables) or len(groups) < recipe.folds:
        raise InputError(
            f"training takes at least {need} possible clips, some impossible ones and {recipe.folds} independent "
            f"pairs; there are {possible}, {len(tables) - possible} and {len(groups)}"
        )


def deal(tables: Sequence[ClipTable], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each clip: whole groups, each domain spread evenly over the folds.

    Args:
        tables: (N)
        folds: how many.
        seed: of the shuffle.

    Returns:
        (N,) 0 to folds - 1.
    """
    rng = np.random.default_rng(seed)
    of_group: dict[str, int] = {}
    for look in sorted({table.truth.look for table in tables}):
        groups = sorted({table.truth.group for table in tables if table.truth.look == look} - of_group.keys())
        for group in rng.permutation(np.array(groups, dtype=object)):
            of_group[str(group)] = len(of_group) % folds
    return np.array([of_group[table.truth.group] for table in tables], np.int64)


def _fit(tables: Sequence[ClipTable], recipe: Recipe) -> _Fitted:
    with _one_thread():
        return _fit_all(tables, recipe)


def _fit_all(tables: Sequence[ClipTable], recipe: Recipe) -> _Fitted:
    fold = deal(tables, recipe.folds, recipe.seed)
    weight = np.array([recipe.innocent_weight if table.truth.look == REAL else 1 for table in tables], np.float64)
    truth = [labels(table) for table in tables]
    log_odds = [np.full(len(table.events), -LARGEST_LOG_ODDS) for table in tables]
    events: dict[str, EventModel] = {}
    for name in sorted({event.type for table in tables for event in table.events}):
        rows = _rows(tables, truth, name)
        events[name], held_out = _fit_type(rows, fold, weight, recipe)
        for value, clip, place in zip(held_out, rows.clip, rows.place, strict=True):
            log_odds[clip][place] = value
    gates = {group: _gate(tables, _gate_numbers(tables, group, recipe)) for group in GROUPS}
    grouped = [by_type(table.events, values) for table, values in zip(tables, log_odds, strict=True)]
    clips: dict[str, ClipModel] = {}
    scores: dict[str, Floats] = {}
    for score in SCORES:
        types = tuple(name for name in events if score == "overall" or group_of(name) == score)
        numbers = tuple(
            name for name in recipe.clip_numbers if score == "overall" or name in _concerning(score, [name])
        )
        clips[score], scores[score] = _fit_clip(tables, grouped, types, numbers, score, fold, weight, recipe)
    return _Fitted(events, clips, gates, scores)


def _rows(tables: Sequence[ClipTable], truth: Sequence[Sequence[int]], name: str) -> _Rows:
    found = [
        (event, clip, place)
        for clip, table in enumerate(tables)
        for place, event in enumerate(table.events)
        if event.type == name
    ]
    names = tuple(sorted({feature for event, _, _ in found for feature in event.features}))
    x = np.array([[event.features.get(n, math.nan) for n in names] for event, _, _ in found], np.float64)
    x = x.reshape(len(found), len(names))
    label = np.array([truth[clip][place] for _, clip, place in found], np.int64)
    # What never varies among the labelled events can part nothing, and a column of NaN alone cannot be cut into bins.
    seen = x[label != LEFT_OUT]
    useful = [i for i in range(len(names)) if np.unique(seen[:, i]).size > 1 and np.isfinite(seen[:, i]).any()]
    return _Rows(
        features=tuple(names[i] for i in useful),
        x=x[:, useful],
        label=label,
        clip=np.array([clip for _, clip, _ in found], np.int64),
        place=np.array([place for _, _, place in found], np.int64),
    )


def _fit_type(rows: _Rows, fold: NDArray[np.int64], weight: Floats, recipe: Recipe) -> tuple[EventModel, Floats]:
    """The model of one type of event, and (N,) calibrated log-odds of its events, out of fold."""
    of_row = fold[rows.clip]
    known = rows.label != LEFT_OUT
    weights = weight[rows.clip]
    raw = np.zeros(len(rows.label))
    for k in range(recipe.folds):
        chosen = known & (of_row != k)
        trees = _fit_trees(rows.x[chosen], rows.label[chosen], weights[chosen], recipe)
        raw[of_row == k] = trees.log_odds(rows.x[of_row == k])
    trees = _fit_trees(rows.x[known], rows.label[known], weights[known], recipe)
    positives = int((rows.label == 1).sum())
    enough = len(trees.roots) > 0 and positives >= recipe.least_positives
    slope, offset = platt(raw[known], rows.label[known] == 1) if enough else (1.0, 0.0)
    held_out = np.clip(slope * raw + offset, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
    facts = {
        "violations": positives,
        "innocent": int((rows.label == 0).sum()),
        "left_out": int((~known).sum()),
        "reliability": reliability(_probabilities(held_out[known]), rows.label[known] == 1),
    }
    return EventModel(rows.features, trees, slope, offset, facts), held_out


def _fit_trees(x: Floats, y: NDArray[np.int64], weight: Floats, recipe: Recipe) -> Trees:
    """Boosted trees, or the bare rate where there is too little to learn from."""
    positives = int((y == 1).sum())
    if positives < max(1, recipe.least_positives * (recipe.folds - 1) // recipe.folds) or (y == 0).sum() < 1:
        return Trees.constant(math.log((positives + 0.5) / (len(y) - positives + 0.5)))
    if x.shape[1] == 0:
        return Trees.constant(math.log(positives / (len(y) - positives)))
    classifier = _classifier()(
        max_iter=recipe.iterations,
        max_leaf_nodes=recipe.leaves,
        learning_rate=recipe.learning_rate,
        min_samples_leaf=recipe.least_leaf,
        l2_regularization=recipe.l2,
        max_features=recipe.columns,
        early_stopping=False,
        random_state=recipe.seed,
    )
    # Rows that count twice are put in twice: with weights, scikit-learn's binning takes a hundred times as long.
    times = weight.astype(np.int64)
    return Trees.from_sklearn(classifier.fit(np.repeat(x, times, axis=0), np.repeat(y, times)))


def _classifier() -> Any:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError:
        raise MissingExtraError("training the plausibility checks", "physics") from None
    return HistGradientBoostingClassifier


def _one_thread() -> AbstractContextManager[object]:
    """Small trees gain nothing from threads; on a busy machine threads that wait for each other cost minutes."""
    _classifier()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def platt(raw: Floats, positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset that turn a score into log-odds; the slope is at least `LEAST_SLOPE`.

    Platt, "Probabilistic outputs for support vector machines" (1999), with his targets for few examples.

    Args:
        raw: (N,) scores of clips that were left out.
        positive: (N,)
    """
    n1 = int(positive.sum())
    n0 = len(positive) - n1
    target = np.where(positive, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))

    def loss(at: Floats) -> tuple[float, Floats]:
        z = at[0] * raw + at[1]
        error = _probabilities(z) - target
        return float(np.sum(np.logaddexp(0, z) - target * z)), np.array([error @ raw, error.sum()])

    slope, offset = _minimum(loss, np.array([1.0, 0.0]), [(LEAST_SLOPE, None), (None, None)])
    return float(slope), float(offset)


Bounds = list[tuple[float | None, float | None]]


def _minimum(loss: Callable[[Floats], tuple[float, Floats]], start: Floats, bounds: Bounds) -> Floats:
    """Where a convex function, given with its gradient, is least within bounds."""
    from scipy.optimize import fmin_l_bfgs_b

    at, _, _ = fmin_l_bfgs_b(loss, start, bounds=bounds, factr=10.0, pgtol=1e-8, maxiter=2000, maxfun=20000)
    return np.asarray(at, np.float64)


def _probabilities(log_odds: Floats) -> Floats:
    return np.array([probability(float(v)) for v in log_odds], np.float64)


def reliability(predicted: Floats, happened: NDArray[np.bool_], bins: int = 10) -> list[list[float]]:
    """Calibration table: [count, mean predicted probability, share that happened] of each bin of equal width."""
    where = np.minimum((predicted * bins).astype(int), bins - 1)
    return [
        [int(chosen.sum()), float(predicted[chosen].mean()), float(happened[chosen].mean())]
        for chosen in (where == b for b in range(bins))
        if chosen.any()
    ]


def _concerns(score: str, tables: Sequence[ClipTable]) -> NDArray[np.bool_]:
    """(N,) the clips that a score is fitted to: possible ones, and those whose violation its checks can express."""
    kinds = {kind for told in EVENT_TYPES.values() if score in ("overall", told.group) for kind in told.kinds}
    return np.array([table.truth.possible or score == "overall" or table.truth.kind in kinds for table in tables])


def _fit_clip(
    tables: Sequence[ClipTable],
    grouped: Sequence[Mapping[str, Floats]],
    types: tuple[str, ...],
    numbers: tuple[str, ...],
    score: str,
    fold: NDArray[np.int64],
    weight: Floats,
    recipe: Recipe,
) -> tuple[ClipModel, Floats]:
    """A clip score, and (N,) the log-odds of every clip, out of fold."""
    wrong = np.array([not table.truth.possible for table in tables])
    concerned = _concerns(score, tables)
    x = np.stack([clip_features(types, numbers, g, table.context) for g, table in zip(grouped, tables, strict=True)])
    empty = ClipModel(types, numbers, np.zeros(x.shape[1]), np.ones(x.shape[1]), np.zeros(x.shape[1]), 0.0)
    held_out = np.zeros(len(tables))
    for k in range(recipe.folds):
        chosen = concerned & (fold != k)
        held_out[fold == k] = _logistic(empty, x[chosen], wrong[chosen], weight[chosen], recipe).log_odds(x[fold == k])
    model = _logistic(empty, x[concerned], wrong[concerned], weight[concerned], recipe)
    facts = {
        "impossible": int((wrong & concerned).sum()),
        "possible": int((~wrong).sum()),
        "reliability": reliability(_probabilities(held_out[concerned]), wrong[concerned]),
    }
    return dataclasses.replace(model, facts=facts), held_out


def _logistic(empty: ClipModel, x: Floats, wrong: NDArray[np.bool_], weight: Floats, recipe: Recipe) -> ClipModel:
    """Penalised logistic regression; weights of suspicions are never below 0."""
    known = np.isfinite(x)
    count = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, x, 0.0)
    mean = filled.sum(axis=0) / count
    scale = np.sqrt((np.where(known, x - mean, 0.0) ** 2).sum(axis=0) / count)
    model = dataclasses.replace(empty, mean=mean, scale=np.where(scale > 1e-9, scale, 1.0))
    z = model.standardised(x)
    y = wrong.astype(np.float64)

    def loss(at: Floats) -> tuple[float, Floats]:
        w, b = at[:-1], at[-1]
        score = z @ w + b
        error = weight * (1 / (1 + np.exp(-np.clip(score, -500, 500))) - y)
        value = float(weight @ (np.logaddexp(0, score) - y * score)) + recipe.penalty / 2 * float(w @ w)
        return value, np.append(z.T @ error + recipe.penalty * w, error.sum())

    bounds: Bounds = [(0.0, None)] * len(model.types)
    bounds += [(None, None)] * (len(model.numbers) + 1)
    at = _minimum(loss, np.zeros(x.shape[1] + 1), bounds)
    return dataclasses.replace(model, weights=at[:-1].copy(), intercept=float(at[-1]))


def _concerning(group: str, names: Sequence[str]) -> list[str]:
    """Context numbers that say something about a check group."""
    if group == "whole_frame":
        return [name for name in names if name.replace(".", "_").split("_")[0] not in TRACKER_WORDS]
    return list(names)


def _gate_numbers(tables: Sequence[ClipTable], group: str, recipe: Recipe) -> list[str]:
    told = dict(recipe.gate_numbers)
    if group in told:
        return list(told[group])
    return _concerning(group, sorted({name for table in tables for name in table.context}))


def _gate(tables: Sequence[ClipTable], names: Sequence[str]) -> Gate:
    table = np.array([[t.context.get(name, math.nan) for name in names] for t in tables], np.float64)
    table = table.reshape(len(tables), len(names))
    known = np.isfinite(table)
    # A number that hardly any clip has says nothing about ranges.
    kept = [i for i in range(len(names)) if known[:, i].sum() >= 10]
    ends = [np.quantile(table[known[:, i], i], [0.005, 0.995]) for i in kept]
    return Gate(
        names=tuple(names[i] for i in kept),
        low=np.array([low for low, _ in ends], np.float64),
        high=np.array([high for _, high in ends], np.float64),
        missing=np.array([1 - known[:, i].mean() for i in kept], np.float64),
    )


def _able(gates: Mapping[str, Gate], score: str, table: ClipTable) -> bool:
    """Whether a score decides about a clip: what a clip that is not judged got says nothing about thresholds."""
    return all(gates[group].reason(table.context) is None for group in GROUPS if score in ("overall", group))


def _innocent_scores(tables: Sequence[ClipTable], fitted: _Fitted) -> dict[str, dict[str, Floats]]:
    """By score and domain, what possible clips got out of fold."""
    found: dict[str, dict[str, Floats]] = {}
    for score in SCORES:
        chosen = [
            (table.truth.look, value)
            for table, value in zip(tables, fitted.held_out[score], strict=True)
            if table.truth.possible and _able(fitted.gates, score, table)
        ]
        found[score] = {POOLED: np.array([value for _, value in chosen], np.float64)}
        for look in sorted({look for look, _ in chosen}):
            found[score][look] = np.array([value for where, value in chosen if where == look], np.float64)
    return found


def _unseen_scores(tables: Sequence[ClipTable], recipe: Recipe) -> dict[str, Floats]:
    """By score, what possible clips got from models fitted without their whole look; empty with a single look."""
    looks = sorted({table.truth.look for table in tables})
    found: dict[str, list[float]] = {score: [] for score in SCORES}
    for look in looks:
        rest = [table for table in tables if table.truth.look != look]
        groups = {table.truth.group for table in rest}
        if len(groups) < recipe.folds or all(table.truth.possible for table in rest):
            continue
        fitted = _fit(rest, recipe)
        model = PhysicsModel(fitted.events, fitted.clips, fitted.gates, {}, recipe.false_alarms, POOLED)
        for table in tables:
            if table.truth.look == look and table.truth.possible:
                for score in SCORES:
                    if _able(fitted.gates, score, table):
                        found[score].append(model.clip_log_odds(table.events, table.context, score))
    return {score: np.array(values, np.float64) for score, values in found.items() if values}


def _threshold_domain(innocent: Mapping[str, Floats], recipe: Recipe) -> str:
    """The domain of a recipe's threshold, among those with clips enough for it."""
    enough = {d: values for d, values in innocent.items() if len(values) >= least_clips(recipe.false_alarms)}
    if recipe.threshold == UNSEEN:
        if UNSEEN not in enough:
            raise InputError("a threshold from unseen looks takes clips of at least two looks")
        return UNSEEN
    if recipe.threshold == POOLED or len(enough) < 2:
        return POOLED
    seen = {domain: values for domain, values in enough.items() if domain != UNSEEN}
    return max(seen, key=lambda domain: float(np.quantile(seen[domain], 1 - recipe.false_alarms)))


def _facts(tables: Sequence[ClipTable], recipe: Recipe, command: str, observer: str) -> dict[str, Any]:
    import sklearn

    told = json.loads(json.dumps(dataclasses.asdict(recipe)))
    clips = sorted(
        (t.sha256, t.truth.look, t.truth.group.split(":", 1)[-1], str(t.truth.kind), t.truth.start, t.truth.end)
        for t in tables
    )
    data = json.dumps([told, observer, clips], sort_keys=True)
    return {
        "command": command,
        "seed": recipe.seed,
        "recipe": told,
        "recipe_sha256": hashlib.sha256(data.encode()).hexdigest(),
        "observer": observer,
        "looks": {
            look: {
                "possible": sum(t.truth.possible for t in tables if t.truth.look == look),
                "impossible": sum(not t.truth.possible for t in tables if t.truth.look == look),
            }
            for look in sorted({t.truth.look for t in tables})
        },
        "kinds": dict(sorted(Counter(t.truth.kind for t in tables if t.truth.kind).items())),
        "clips": sorted(t.sha256[:HASH_DIGITS] for t in tables),
        "versions": {"vidbench": vidbench.__version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__},
    }

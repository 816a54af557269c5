"""Return consistency: after going there and back, is the place the same as before?

Returns are read from the actions: a run of moves that is followed by its inverses in reverse order ends where it began,
whatever the moves are (turning and walking do not commute, so that a sum of zero would not do). Or the column
`return_pairs` names them, as a simulator can that knows of walls: `[[0, 6], [1, 5]]`, pairs of frames. For each, the
difference of the two frames is held against that of frames equally far apart in time which are no return:
1 - Σ d²(return) / Σ d²(same lag). 1 is the same picture again, 0 no more alike than any two moments. Where other things
move too, even true clips stay below 1: the value is the share of the picture's change that the return undid.

A clip whose view is never left is unscored, so that a frozen one can't win. After MIND's "go back" comparison
(CSU-JPG/MIND 8f9c59c6), which has no baseline and which a frozen clip wins.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip, load_actions
from vidbench.errors import InputError
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, Observations, Score
from vidbench_metrics.extractors.thumbnails import ThumbnailsObservation
from vidbench_metrics.inverse_dynamics import words

COLUMN = "return_pairs"
LEFT = 2.0
"""Grey levels of root-mean-square difference at 32 pixels by which a view must change to have been left."""
SMALL = 1e-3
"""Numbers whose sum is below this share of their size are inverse to each other."""

Pair = tuple[int, int, int]
"""Frame before, frame of turning round, frame after."""


@dataclass(frozen=True)
class ReturnConsistencyParameters:
    """Which actions undo which."""

    inverse: str = ""
    """Pairs of actions that undo each other by name, such as `1=2,3=4` or `up=down,left=right`. Without it, lists of
    numbers undo each other where they add up to zero, and single numbers and words do not."""
    still: str = "0"
    """Actions that do nothing, separated by commas."""

    def __post_init__(self) -> None:
        inverses(self.inverse)


def inverses(text: str) -> dict[str, str]:
    """Each action's inverse, from `1=2,3=4`.

    Raises:
        InputError: it is not of that form.
    """
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        names = [name.strip() for name in part.split("=")]
        if len(names) != 2 or not all(names) or any(name in found for name in names):
            raise InputError(
                f"return_consistency.inverse must be pairs of actions, each action once, as in 1=2,3=4; got '{text}'"
            )
        found[names[0]], found[names[1]] = names[1], names[0]
    return found


def returns(undoes: Sequence[Sequence[bool]] | NDArray[np.bool_], moves: Sequence[int]) -> list[Pair]:
    """All there-and-back runs.

    Args:
        undoes: (m, m) whether move j undoes move i.
        moves: the frame at which each of the m moves is made; it shows from the next frame on.
    """
    found: list[Pair] = []
    for turn in range(len(moves) - 1):
        step = 0
        while turn - step >= 0 and turn + 1 + step < len(moves) and undoes[turn - step][turn + 1 + step]:
            found.append((moves[turn - step], moves[turn] + 1, moves[turn + 1 + step] + 1))
            step += 1
    return found


def returns_of(clip: Clip, parameters: ReturnConsistencyParameters) -> list[Pair] | str:
    """Where the clip's metadata or actions say that it comes back; or why nobody can tell."""
    said = clip.extra.get(COLUMN)
    if said not in (None, ""):
        return _said(said)
    actions = load_actions(clip)
    if actions is None or not len(actions):
        return f"it has neither actions nor a column {COLUMN}"
    still = {name.strip() for name in parameters.still.split(",")}
    if parameters.inverse:
        inverse = inverses(parameters.inverse)
        named = words(actions if isinstance(actions, np.ndarray) else tuple(map(str, actions)))
        moves = [frame for frame, name in enumerate(named) if name not in still]
        return returns([[inverse.get(named[a]) == named[b] for b in moves] for a in moves], moves)
    if not isinstance(actions, np.ndarray) or actions.shape[1] < 2:
        return "nobody said which actions undo each other: --set return_consistency.inverse=1=2,3=4"
    size = np.abs(actions).max(axis=1)
    moves = [int(frame) for frame in np.flatnonzero(size > SMALL * max(float(size.max()), SMALL))]
    chosen = actions[moves]
    sums = np.abs(chosen[:, None] + chosen[None, :]).max(axis=-1)
    return returns(sums <= SMALL * size[moves][:, None], moves)


def _said(said: object) -> list[Pair] | str:
    wrong = f"its column {COLUMN} must hold pairs of frame numbers such as [[0, 6], [1, 5]], it holds {str(said)[:60]!r}"
    try:
        pairs = json.loads(said) if isinstance(said, str) else said
    except ValueError:
        return wrong
    if not isinstance(pairs, list | tuple):
        return wrong
    found: list[Pair] = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(type(n) is int and n >= 0 for n in pair):
            return wrong
        before, after = sorted(pair)
        if after - before < 2:
            return wrong
        found.append((before, (before + after) // 2, after))
    return found


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean squared difference of two thumbnails, in grey levels squared."""
    return float(np.mean((a.astype(np.float64) - b) ** 2))


def same_lag(frames: NDArray[np.uint8], lag: int, left_out: set[tuple[int, int]]) -> float | None:
    """Mean squared difference of frames that are `lag` apart and no return; of one frame more or less where all are returns.

    Args:
        frames: (T, h, w, 3).
        lag: in frames.
        left_out: pairs that are returns.

    Returns:
        Grey levels squared; None where there is no such pair.
    """
    for lags in ((lag,), (lag - 1, lag + 1)):
        values = [
            difference(frames[t], frames[t + step])
            for step in lags
            for t in range(len(frames) - step)
            if step > 0 and (t, t + step) not in left_out
        ]
        if values:
            return float(np.mean(values))
    return None


class ReturnConsistency(ClipMetric[ReturnConsistencyParameters]):
    """See the module."""

    name = "return_consistency"
    version = "1"
    summary = (
        "whether a place looks the same after going there and back, against moments equally far apart; only where the "
        "view was left; says nothing about whether the moves were the right ones"
    )
    reference = "our own definition; after MIND's go-back comparison (CSU-JPG/MIND 8f9c59c6), with a baseline"
    protocol = (
        "mean squared differences at 32 pixels; runs of moves followed by their inverses in reverse, or the column "
        "return_pairs; baseline: pairs of the same lag that are no return; left: 2 grey levels"
    )
    higher_is_better = True
    unit = "1"
    value_range = (-1.0, 1.0)
    aggregation = "mean"
    needs = Needs(extractors=(ExtractorSpec("thumbnails"),), actions=True)
    min_frames = 3
    parameters_type = ReturnConsistencyParameters

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip."""
        frames = observations.of("thumbnails", ThumbnailsObservation).frames
        found = returns_of(clip, self.parameters)
        if isinstance(found, str):
            return Score.unscored(found)
        if not found:
            return Score.unscored("its actions never go there and back")
        late = max(after for _, _, after in found)
        if late >= len(frames):
            return Score.unscored(f"it is said to be back at frame {late}, and it has {len(frames)} frames")
        known = {(before, after) for before, _, after in found}
        back, baseline, left = [], [], 0
        for before, turned, after in found:
            away = difference(frames[before], frames[turned])
            apart = same_lag(frames, after - before, known)
            if away < LEFT**2 or (apart is not None and apart < LEFT**2):
                continue
            left += 1
            back.append(difference(frames[before], frames[after]))
            baseline.append(away if apart is None else apart)
        if not left:
            return Score.unscored(
                f"its view was never left: over {len(found)} ways there and back the picture changes by less than "
                f"{LEFT:g} grey levels"
            )
        details: Mapping[str, float | int] = {
            "returns": len(found),
            "returns_left": left,
            "return_difference": math.sqrt(float(np.mean(back))),
            "same_lag_difference": math.sqrt(float(np.mean(baseline))),
        }
        return Score(max(-1.0, 1 - float(np.sum(back) / np.sum(baseline))), details=details)

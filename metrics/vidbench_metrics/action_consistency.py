"""Action consistency: does a clip show what its actions say?

A reader learns from real clips with actions which action was taken, from what is seen in the steps after it, and is
then asked the same of generated clips. The value is how often it agrees with the actions the clip was made with, every
action counting alike, between guessing (0) and always (1); for amounts, such as a steering angle, it is Lin's
concordance correlation. Our own definition; Matrix-Game's GameWorld Score and VPT ask a large network in the same way
(see `docs/control.md`).

What real clips allow stands beside the value: no reader is perfect, moves run into walls, some games now and then
repeat the last button instead. `of_reference` is the value over that of real clips, read by trees that have not seen
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import load_actions
from vidbench.errors import ClipError, InputError
from vidbench.metric import ExtractorSpec, Needs, Observations, Packed, Score, SetMetric
from vidbench_metrics.extractors.step_motion import FEATURES, StepMotionObservation
from vidbench_metrics.inverse_dynamics import (
    LEAST_OF_AN_ACTION,
    ActionClip,
    Reader,
    above_chance,
    balanced_accuracy,
    correlation,
    learn,
    mean_concordance,
)

KINDS = ("auto", "discrete", "continuous")


@dataclass(frozen=True)
class ActionConsistencyParameters:
    """How actions are read."""

    kind: str = "auto"
    """`discrete`: buttons; `continuous`: amounts; `auto`: words, and numbers of at most 32 different values, are
    buttons."""
    merge: str = "detect"
    """`detect`: actions that can't be told apart on real clips count as one; `none`; or those that do the same by
    name, such as `0=1,2=4,3=5`."""
    steps: int = 2
    """Steps after an action in which it may show."""
    trees: int = 100
    """Of the reader's forest."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"action_consistency.kind must be one of {', '.join(KINDS)}, got '{self.kind}'")
        if self.steps < 1:
            raise InputError(f"action_consistency.steps must be at least 1, got {self.steps}")
        if self.trees < 20:
            raise InputError(f"action_consistency.trees must be at least 20, got {self.trees}")
        if self.merge not in ("detect", "none"):
            named = [name for part in self.merge.split(",") for name in part.split("=")]
            if "" in named or len(set(named)) < len(named):
                raise InputError(
                    f"action_consistency.merge must be detect, none, or each action once as in 0=1,2=4, "
                    f"got '{self.merge}'"
                )


@dataclass(frozen=True, eq=False)
class ActionSet:
    """What is kept of a set: half a kilobyte a frame."""

    clips: tuple[ActionClip, ...] = ()
    unusable: Mapping[str, int] = field(default_factory=dict)
    """Why clips have no usable actions, and how many."""


class ActionConsistency(SetMetric[ActionConsistencyParameters, ActionSet]):
    """See the module."""

    name = "action_consistency"
    version = "1"
    summary = (
        "how well a reader that learnt actions from real clips reads them from generated ones; it sees what moves, not "
        "whether it looks right, and what it can't read on real clips it can't judge"
    )
    reference = "our own definition; after GameWorld Score's action accuracy (SkyworkAI/Matrix-Game f1bf6e6b) and VPT"
    protocol = (
        "extremely randomised trees on change and signed motion of 2 steps; balanced accuracy over actions, 0 at "
        "chance; amounts: mean concordance correlation; the reference clips held out give the ceiling"
    )
    higher_is_better = True
    unit = "1"
    value_range = (-1.0, 1.0)
    needs = Needs(extractors=(ExtractorSpec("step_motion"),), actions=True)
    min_frames = 3
    parameters_type = ActionConsistencyParameters
    identical_is_best = False

    def __init__(self, parameters: ActionConsistencyParameters | None = None) -> None:
        super().__init__(parameters)
        # The reader depends on the reference set alone, and a run asks once a model and once more a group left out.
        self._reader: tuple[tuple[tuple[str, str], ...], Reader | str] | None = None

    def frames_needed(self) -> int:
        """One action and the steps in which it may show."""
        return self.parameters.steps + 1

    def new_state(self) -> ActionSet:
        """No clips."""
        return ActionSet()

    def observe(self, state: ActionSet, observations: Observations) -> ActionSet:
        """Add one clip with its actions, or the reason why it has no usable ones."""
        steps = observations.of("step_motion", StepMotionObservation).steps
        try:
            actions = load_actions(observations.clip) if observations.clip is not None else None
        except ClipError as error:
            return _without(state, error.reason)
        if actions is None:
            return _without(state, "it has no actions")
        if len(actions) != len(steps):
            return _without(state, f"it has {len(actions)} actions for {len(steps)} steps between frames")
        named = actions if isinstance(actions, np.ndarray) else tuple(map(str, actions))
        return ActionSet((*state.clips, ActionClip(steps, named)), state.unusable)

    def merge(self, state: ActionSet, other: ActionSet) -> ActionSet:
        """Both sets together."""
        unusable = Counter(state.unusable) + Counter(other.unusable)
        return ActionSet((*state.clips, *other.clips), dict(unusable))

    def compare(self, generated: ActionSet, reference: ActionSet) -> Score:
        """Read the generated clips with what was learnt from the reference clips."""
        for name, side in (("generated", generated), ("reference", reference)):
            if not side.clips:
                why = "; ".join(f"{count} clips: {reason}" for reason, count in side.unusable.items())
                return Score.unscored(f"the {name} set has no clip with usable actions{f' ({why})' if why else ''}")
        reader = self._learnt(reference)
        if isinstance(reader, str):
            return Score.unscored(reader)
        clips = sorted(generated.clips, key=ActionClip.key)
        truths = [reader.truth(clip) for clip in clips]
        known = np.concatenate([mask for _, mask in truths])
        truth = np.concatenate([rows for rows, _ in truths])[known]
        read = np.concatenate([reader.scores(clip) for clip in clips])[known]
        if len(truth) < LEAST_OF_AN_ACTION:
            return Score.unscored(f"{len(truth)} of the clips' {len(known)} actions are of the reference set's kind")
        details: dict[str, Any] = {
            "actions": len(truth),
            "unknown_actions": int(len(known) - len(truth)),
            "reference_actions": reader.rows,
            "reference_value": round(reader.value, 6),
            "reference_p": round(reader.p, 4),
            "foreseen": round(reader.foreseen, 6),
        }
        if generated.unusable:
            details["clips_without_usable_actions"] = sum(generated.unusable.values())
        if not reader.groups:
            value = mean_concordance(truth, read)
            columns = range(truth.shape[1])
            details |= {
                "kind": "continuous",
                "correlation": float(np.mean([correlation(truth[:, k], read[:, k]) for k in columns])),
                "r_squared": float(1 - np.sum((truth - read) ** 2) / max(float(np.sum(truth**2)), 1e-12)),
                "reference_correlation": reader.raw,
            }
            return Score(value, details=details | {"of_reference": value / reader.value})
        labels = truth.argmax(axis=1)
        counts = np.bincount(labels, minlength=len(reader.groups))
        present = np.flatnonzero(counts >= LEAST_OF_AN_ACTION)
        if len(present) < 2:
            return Score.unscored(
                f"its clips have {len(present)} of the {len(reader.groups)} actions that can be told apart at least "
                f"{LEAST_OF_AN_ACTION} times; 2 are needed"
            )
        judged = np.isin(labels, present)
        choice = present[read[judged][:, present].argmax(axis=1)]
        accuracy = balanced_accuracy(labels[judged], choice)
        value = above_chance(accuracy, len(present))
        details |= {
            "kind": "discrete",
            "balanced_accuracy": accuracy,
            "chance": 1 / len(present),
            "reference_balanced_accuracy": reader.raw,
            "told_apart": " | ".join("=".join(group) for group in reader.groups),
            "recall": [round(float(np.mean(choice[labels[judged] == k] == k)), 4) for k in present],
            "of_reference": value / reader.value,
        }
        return Score(value, details=details)

    def _learnt(self, reference: ActionSet) -> Reader | str:
        key = tuple(sorted(clip.key() for clip in reference.clips))
        if self._reader is None or self._reader[0] != key:
            chosen = self.parameters
            reader = learn(
                reference.clips, count=chosen.steps, kind=chosen.kind, merge=chosen.merge, trees=chosen.trees
            )
            self._reader = key, reader
        return self._reader[1]

    def pack(self, state: ActionSet, *, features: bool = True) -> Packed | None:
        """All steps and actions; there is no form without them."""
        if not features:
            return None
        steps = [clip.steps for clip in state.clips]
        actions = [
            clip.actions.tolist() if isinstance(clip.actions, np.ndarray) else list(clip.actions)
            for clip in state.clips
        ]
        stacked = np.concatenate(steps) if steps else np.zeros((0, FEATURES), np.float16)
        lengths = np.array([len(part) for part in steps], np.int64)
        return {"steps": stacked, "lengths": lengths}, {"actions": actions, "unusable": dict(state.unusable)}

    def unpack(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> ActionSet:
        """Back from `pack`."""
        if set(arrays) != {"steps", "lengths"} or set(values) != {"actions", "unusable"}:
            raise ValueError("the state has steps, lengths, actions and unusable")
        steps, lengths = arrays["steps"], arrays["lengths"]
        if steps.ndim != 2 or steps.shape[1] != FEATURES or steps.dtype.kind != "f" or not np.isfinite(steps).all():
            raise ValueError(f"steps must be (n, {FEATURES}) finite numbers")
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or bool((lengths < 0).any()):
            raise ValueError("lengths must be whole numbers")
        if int(lengths.sum()) != len(steps) or len(values["actions"]) != len(lengths):
            raise ValueError("steps, lengths and actions do not fit each other")
        unusable = values["unusable"]
        if not isinstance(unusable, dict) or not all(isinstance(n, int) for n in unusable.values()):
            raise ValueError("unusable must say how many clips have no actions")
        parts = np.split(np.asarray(steps, np.float16), np.cumsum(lengths)[:-1]) if len(lengths) else []
        clips = [ActionClip(part, _actions(said)) for part, said in zip(parts, values["actions"], strict=True)]
        if any(len(clip.actions) != len(clip.steps) for clip in clips):
            raise ValueError("a clip has another number of actions than of steps")
        return ActionSet(tuple(clips), unusable)


def _without(state: ActionSet, reason: str) -> ActionSet:
    return ActionSet(state.clips, dict(Counter(state.unusable) + Counter({reason: 1})))


def _actions(said: object) -> NDArray[np.float64] | tuple[str, ...]:
    if not isinstance(said, list):
        raise TypeError("actions must be a list for each clip")
    if all(isinstance(item, str) for item in said):
        return tuple(said)
    numbers = np.array(said, np.float64)
    if numbers.ndim != 2 or not np.isfinite(numbers).all():
        raise ValueError("a clip's actions must be words or equally many finite numbers")
    return numbers

"""Do the metrics of control order models as the simulators do?

Imitated models of one game each: the simulator plays the actions that a clip is said to have, but each with a chance of
being replaced by another; pictures are blurred and noisy to a known degree. Beside them stand the true clips, clips whose
actions were dealt out anew (`shuffled`), the first frame held (`frozen`), and noise. What a perfect judge would say is
the share of actions that were obeyed. Cameras are drawn ray by ray in a textured room (`tests/control_worlds.py`).

    python benchmarks/validity_control.py rooms atari cameras
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tests import control_worlds
from vidbench.clips import Clip
from vidbench.metric import Score
from vidbench.testing import Describe, score, score_set, set_state
from vidbench_metrics.action_consistency import ActionConsistency
from vidbench_metrics.counterfactual_divergence import CounterfactualDivergence
from vidbench_metrics.delta_t_psnr import DeltaTPsnr
from vidbench_metrics.drift import Drift
from vidbench_metrics.psnr_drift import PsnrDrift
from vidbench_metrics.return_consistency import ReturnConsistency, ReturnConsistencyParameters
from vidbench_metrics.trajectory_error import TrajectoryError

Pixels = NDArray[np.uint8]
Actions = NDArray[np.int64]
LADDER = {"true": (1.0, 0), "good": (0.95, 1), "fair": (0.8, 1), "damaged": (0.5, 2), "bad": (0.35, 2)}
"""Share of actions that are obeyed, and how spoilt the picture is."""
BELOW = ("shuffled", "frozen", "noise")
"""Obey nothing."""


def spoilt(clips: Pixels, degree: int, seed: int = 0) -> Pixels:
    """Blurred by `degree` times 0.4 pixels and noisy by 3 grey levels each; (N, T, H, W, 3)."""
    if degree == 0:
        return clips
    rng = np.random.default_rng(seed)
    soft = np.stack([[cv2.GaussianBlur(frame, (0, 0), 0.4 * degree) for frame in clip] for clip in clips])
    return np.clip(soft + rng.normal(0, 3 * degree, clips.shape), 0, 255).astype(np.uint8)


def disobeyed(actions: Actions, share: float, kinds: int, seed: int) -> Actions:
    """Actions of which only `share` are as told; the others are another one."""
    rng = np.random.default_rng(seed)
    other = (actions + rng.integers(1, kinds, actions.shape)) % kinds
    return np.where(rng.random(actions.shape) < share, actions, other)


def shown(name: str, result: Score, *keys: str) -> float:
    value = float("nan") if result.value is None else result.value
    more = ", ".join(f"{key} {result.details[key]:.3f}" for key in keys if key in result.details)
    print(f"| {name} | {value:.3f} | {more or result.reason or ''} |", flush=True)
    return value


def tau(values: dict[str, float]) -> None:
    """Kendall's tau over the pairs of models that the simulator ranks; those that obey nothing are not ranked."""
    obeyed = {name: LADDER[name][0] if name in LADDER else 0.0 for name in values}
    ranked = [(a, b) for a in values for b in values if obeyed[a] > obeyed[b]]
    agreement = np.mean([np.sign(values[a] - values[b]) for a, b in ranked])
    print(f"\nKendall tau {agreement:.3f} over {len(ranked)} pairs; "
          f"every rung in order: {all(a > b for a, b in zip(list(values.values())[:5], list(values.values())[1:5]))}; "
          f"lowest rung over the best of {', '.join(BELOW)}: {values['bad']:.3f} > "
          f"{max(values[name] for name in BELOW):.3f}\n")  # fmt: skip


def as_told(actions: Actions, **columns: Callable[[int], Any]) -> Describe:
    """Each clip its own actions and columns."""

    def describe(clip: Clip, number: int) -> Clip:
        extra = {name: column(number) for name, column in columns.items()}
        return replace(clip, actions=tuple(actions[number].tolist()), extra=extra)

    return describe


def models(clips: dict[str, Pixels], true: Pixels) -> dict[str, Pixels]:
    """The ladder and what is below it; `shuffled` are true clips under other clips' actions."""
    noise = np.random.default_rng(5).integers(0, 256, true.shape, dtype=np.uint8)
    frozen = np.repeat(true[:, :1], true.shape[1], axis=1)
    return clips | {"shuffled": np.roll(true, 7, axis=0), "frozen": frozen, "noise": noise}


def consistency(name: str, reference: tuple[Pixels, Actions], made: dict[str, Pixels], actions: Actions) -> None:
    print(f"\n### action_consistency, {name}\n\n| model | value | beside it |\n|---|---|---|")
    metric = ActionConsistency()
    known = set_state(metric, reference[0], describe=as_told(reference[1]))
    values = {}
    for model, clips in made.items():
        result = metric.compare(set_state(metric, clips, describe=as_told(actions)), known)
        values[model] = shown(model, result, "balanced_accuracy", "chance", "of_reference", "reference_value")
        told = result.details.get("told_apart")
    print(f"\nactions told apart: {told}; foreseen {result.details['foreseen']:.3f}")
    tau(values)


def rooms() -> None:
    from vidbench.worldmodel.game import Rooms, heldout_seed, random_policy, record, training_seed

    seen = record(Rooms(96, seed=training_seed(0)), random_policy(1), 31)
    start = Rooms(48, seed=heldout_seed(0))
    state = start.save()

    def played(actions: Actions) -> Pixels:
        start.restore(state)
        return record(start, actions).frames

    actions = np.random.default_rng(3).integers(0, 5, (48, 31))
    true = played(actions)
    made = {
        name: spoilt(played(disobeyed(actions, share, 5, 10 + degree)), degree)
        for name, (share, degree) in LADDER.items()
    }
    consistency("rooms", (seen.frames, seen.actions), models(made, true), actions)
    counterfactuals(played, actions)
    returns(played, state, start)
    drifts(true)


def counterfactuals(played: Callable[[Actions], Pixels], actions: Actions) -> None:
    """Two clips a start: the true actions, and others drawn at random."""
    others = np.random.default_rng(4).integers(0, 5, actions.shape)
    true, true_other = played(actions), played(others)
    count = len(actions)
    both = {}
    for name, (share, degree) in LADDER.items():
        first = spoilt(played(disobeyed(actions, share, 5, 20)), degree, 1)
        second = spoilt(played(disobeyed(others, share, 5, 21)), degree, 2)
        both[name] = np.concatenate([first, second])
    rng = np.random.default_rng(6)
    third, fourth = (played(rng.integers(0, 5, actions.shape)) for _ in range(2))
    both["shuffled"] = np.concatenate([third, fourth])  # moves, but not as told
    both["frozen"] = np.repeat(np.concatenate([true[:, :1]] * 2), true.shape[1], axis=1)
    both["noise"] = rng.integers(0, 256, both["true"].shape, dtype=np.uint8)
    truth = np.concatenate([true, true_other])
    describe = as_told(
        np.concatenate([actions, others]),
        start=lambda n: f"start {n % count}",
        actions_kind=lambda n: "true" if n < count else "random",
    )
    for metric, keys in (
        (CounterfactualDivergence(), ("size_ratio", "cosine")),
        (DeltaTPsnr(), ("psnr_true_actions", "psnr_random_actions")),
    ):
        print(f"\n### {metric.name}, rooms\n\n| model | value | beside it |\n|---|---|---|")
        values = {
            name: shown(name, score_set(metric, generated=clips, reference=truth, describe=describe), *keys)
            for name, clips in both.items()
        }
        tau(values)


def returns(played: Callable[[Actions], Pixels], state: Any, start: Any) -> None:
    """Three out and three back, twice; true ways are those that no wall stops."""
    print("\n### return_consistency, rooms\n\n| model | value | clips scored |\n|---|---|---|")
    rng = np.random.default_rng(8)
    undo = np.array([0, 2, 1, 4, 3])
    out = np.repeat(rng.integers(1, 5, (len(start), 2)), 3, axis=1).reshape(-1, 2, 3)
    actions = np.concatenate([out[:, 0], undo[out[:, 0]], out[:, 1], undo[out[:, 1]], np.zeros((len(out), 8), int)], 1)
    start.restore(state)
    free = np.ones(len(start), bool)
    for step in actions.T:
        free &= (step == 0) | start.step(step).moved
    chosen = np.flatnonzero(free)
    metric = ReturnConsistency(ReturnConsistencyParameters(inverse="1=2,3=4"))
    true = played(actions)
    forgets = played(np.concatenate([actions[:, :9], rng.integers(0, 5, actions[:, 9:].shape)], 1))
    ways = {
        "true": true,
        "noise of 6 levels, blurred": spoilt(true, 2),
        "half of the moves obeyed": played(disobeyed(actions, 0.5, 5, 9)),
        "goes astray after 9 steps": forgets,
        "random moves": played(rng.integers(0, 5, actions.shape)),
        "frozen": np.repeat(true[:, :1], true.shape[1], axis=1),
        "noise": rng.integers(0, 256, true.shape, dtype=np.uint8),
    }
    for name, clips in ways.items():
        results = [score(metric, clips[n], describe=as_told(actions[n : n + 1])) for n in chosen]
        scored = [one.value for one in results if one.value is not None]
        reason = next((one.reason for one in results if one.reason), "")
        print(f"| {name} | {np.mean(scored) if scored else float('nan'):.3f} | {len(scored)} of {len(results)} {reason}|")


def drifts(true: Pixels) -> None:
    """Frames get worse and worse; strength is what the last frame suffers."""
    print("\n### drift and psnr_drift, rooms\n\n| model | drift | psnr_drift |\n|---|---|---|")

    def worse(kind: str, strength: float) -> Pixels:
        rng = np.random.default_rng(2)
        clips = true.astype(np.float64)
        for t in range(clips.shape[1]):
            share = strength * t / (clips.shape[1] - 1)
            if kind == "noise":
                clips[:, t] += rng.normal(0, 1, clips[:, t].shape) * 30 * share
            elif kind == "darker":
                clips[:, t] *= 1 - 0.5 * share
            elif share > 0:
                clips[:, t] = [cv2.GaussianBlur(frame, (0, 0), 2 * share) for frame in clips[:, t]]
        return np.clip(clips, 0, 255).astype(np.uint8)

    cases = {"true": true, "steady noise of 6, blurred": spoilt(true, 2)} | {
        f"{kind} {strength:g}": worse(kind, strength)
        for kind in ("noise", "darker", "blur")
        for strength in (0.25, 0.5, 1.0)
    }
    for name, clips in cases.items():
        alone = [score(Drift, clip).value for clip in clips]
        paired = [score(PsnrDrift, a, reference=b).value for a, b in zip(clips, true, strict=True)]
        print(f"| {name} | {np.mean(np.array(alone, float)):.3f} | {np.mean(np.array(paired, float)):.2f} |")


def atari() -> None:
    """Recorded play; the ladder deals part of the clips the actions of others."""
    from vidbench.worldmodel.atari import record

    for game in ("pong", "breakout"):
        seen = record(game, 80, 32, 0, play="random", size=84)
        held_out = record(game, 40, 32, 1, play="random", size=84)
        true = np.stack([clip.frames for clip in held_out])
        actions = np.stack([np.asarray(clip.actions) for clip in held_out])
        kinds = int(actions.max()) + 1
        made = models({"true": true, "blurred, noisy": spoilt(true, 2)}, true)
        print(f"\n### action_consistency, {game}\n\n| model | value | beside it |\n|---|---|---|")
        metric = ActionConsistency()
        known = set_state(
            metric,
            [clip.frames for clip in seen],
            describe=as_told(np.stack([np.asarray(clip.actions) for clip in seen])),
        )
        keys = ("balanced_accuracy", "chance", "of_reference", "reference_value")
        rows: Sequence[tuple[str, Pixels, Actions]] = [
            *((name, clips, actions) for name, clips in made.items()),
            *(
                (f"{share:.0%} of the labels true", true, disobeyed(actions, share, kinds, 3))
                for share in (0.95, 0.8, 0.5, 0.35)
            ),
        ]
        for name, clips, given in rows:
            result = metric.compare(set_state(metric, clips, describe=as_told(given)), known)
            shown(name, result, *keys)
        print(f"\nactions told apart: {result.details.get('told_apart')}; foreseen {result.details['foreseen']:.3f}")


def cameras() -> None:
    """Heading errors of clips whose true heading is known, in degrees; `commanded` is what the metric is told."""
    print("\n### trajectory_error, a textured room\n\n| camera | commanded | error | how |\n|---|---|---|---|")
    cases = {
        "turns 2° a frame": (2.0, 0.0, 0.0),
        "turns -3° a frame": (-3.0, 0.0, 0.0),
        "turns 1.5°, 5 cm aside": (1.5, 0.05, 0.0),
        "turns -1.5°, 5 cm aside": (-1.5, 0.05, 0.0),
        "turns 1.5°, 6 cm ahead": (1.5, 0.0, 0.06),
        "turns -1.5°, 8 cm ahead": (-1.5, 0.0, 0.08),
        "5 cm aside": (0.0, 0.05, 0.0),
        "8 cm ahead": (0.0, 0.0, 0.08),
    }
    rides = {name: control_worlds.ride(24, turn, aside=x, ahead=z) for name, (turn, x, z) in cases.items()}
    rides["frozen"] = np.repeat(rides["turns 2° a frame"][0][:1], 24, axis=0), np.zeros(24)
    rides["no texture"] = np.full_like(rides["frozen"][0], 90), np.zeros(24)
    rides["noise"] = np.random.default_rng(0).integers(0, 256, rides["frozen"][0].shape, np.uint8), np.zeros(24)
    for name, (pixels, yaw) in rides.items():
        commands = {"its own": yaw, "2° a frame": 2.0 * np.arange(24)}
        for what, told in commands.items():
            extra = {"camera_yaw": told.tolist()}
            result = score(TrajectoryError, pixels, describe=lambda clip, _, extra=extra: replace(clip, extra=extra))  # type: ignore[misc]
            value = "unscored" if result.value is None else f"{result.value:.2f}"
            how = result.reason or ", ".join(
                f"{key} {result.details[key]}" for key in ("by_turn_alone", "by_essential_matrix", "taken_on_trust")
            )
            print(f"| {name} | {what} | {value} | {how} |", flush=True)


if __name__ == "__main__":
    PARTS = {"rooms": rooms, "atari": atari, "cameras": cameras}
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()

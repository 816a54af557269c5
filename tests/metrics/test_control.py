"""Counterfactuals, returns, turns and drift against worlds whose truth is known; and a run as a user makes it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import theilslopes
from skimage.metrics import peak_signal_noise_ratio

from tests import control_worlds
from vidbench.errors import InputError
from vidbench.results import load_run
from vidbench.testing import score, score_set, synthetic_clips
from vidbench_metrics.camera_turns import facing, headings, intrinsics, turn_between
from vidbench_metrics.counterfactual_divergence import CounterfactualDivergence
from vidbench_metrics.delta_t_psnr import DeltaTPsnr, DeltaTPsnrParameters
from vidbench_metrics.drift import Drift, change_over_clip
from vidbench_metrics.psnr_drift import PsnrDrift
from vidbench_metrics.return_consistency import ReturnConsistency, ReturnConsistencyParameters, returns
from vidbench_metrics.trajectory_error import TrajectoryError, TrajectoryErrorParameters

ROWS = np.random.default_rng(0).integers(0, 5, (6, 12))
OTHER = np.random.default_rng(1).integers(0, 5, (6, 12))
TRUE = [control_worlds.walk(row, n) for n, row in enumerate(ROWS)]
TRUE_OTHER = [control_worlds.walk(row, n) for n, row in enumerate(OTHER)]
TRUTH = TRUE + TRUE_OTHER


def _started(clip, number):
    """Six starts with two clips each; the second half has random actions."""
    kind = "random" if number >= 6 else ""
    return replace(clip, extra={"start": number % 6, "actions_kind": kind})


def _extra(**columns):
    return lambda clip, _: replace(clip, extra=columns)


def _compared(metric, clips):
    return score_set(metric, generated=clips, reference=TRUTH, describe=_started)


def test_delta_t_psnr_is_the_difference_of_two_psnr():
    rng = np.random.default_rng(2)
    clips = [np.clip(clip + rng.normal(0, 5, clip.shape), 0, 255).astype(np.uint8) for clip in TRUTH]
    expected = np.mean(
        [
            peak_signal_noise_ratio(TRUE[n][4], clips[n][4], data_range=255)
            - peak_signal_noise_ratio(TRUE[n][4], clips[n + 6][4], data_range=255)
            for n in range(6)
        ]
    )
    result = _compared(DeltaTPsnr(), clips)
    assert result.value == pytest.approx(expected, abs=1e-9) and result.value > 3
    assert result.details["starts"] == 6
    late = _compared(DeltaTPsnr(DeltaTPsnrParameters(frame=9)), clips)
    assert late.value != result.value
    assert _compared(DeltaTPsnr(DeltaTPsnrParameters(frame=13)), clips).value is None


def test_delta_t_psnr_of_frozen_clips_is_zero():
    frozen = [np.repeat(clip[:1], 13, axis=0) for clip in TRUTH]
    assert _compared(DeltaTPsnr(), frozen).value == pytest.approx(0)


def test_counterfactual_divergence():
    metric = CounterfactualDivergence()
    assert _compared(metric, TRUTH).value == pytest.approx(1)
    frozen = [np.repeat(clip[:1], 13, axis=0) for clip in TRUTH]
    noise = list(np.random.default_rng(3).integers(0, 256, (12, *TRUE[0].shape), dtype=np.uint8))
    assert _compared(metric, frozen).value == 0
    assert abs(_compared(metric, noise).value) < 0.02
    assert _compared(metric, TRUE_OTHER + TRUE).value == pytest.approx(-1)  # each does what the other should
    # Half of the effect: differences are half as large, so 2 · ½ / (¼ + 1).
    halves = [
        np.round((a.astype(float) + b) / 2 + side * (a.astype(float) - b) / 4).astype(np.uint8)
        for side, pairs in ((1, zip(TRUE, TRUE_OTHER, strict=True)), (-1, zip(TRUE, TRUE_OTHER, strict=True)))
        for a, b in pairs
    ]
    assert _compared(metric, halves).value == pytest.approx(0.8, abs=0.01)


def test_counterfactuals_without_starts_or_other_truths_are_unscored():
    alone = score_set(CounterfactualDivergence(), generated=TRUE, reference=TRUE)
    assert alone.value is None and "start" in alone.reason
    same = score_set(CounterfactualDivergence(), generated=TRUTH, reference=TRUE + TRUE, describe=_started)
    assert same.value is None and "6 pairs have true clips that are alike" in same.reason
    assert score_set(DeltaTPsnr(), generated=TRUE, reference=TRUE, describe=_started).value is None


def test_returns_are_mirrored_runs():
    undo = {1: 2, 2: 1, 3: 4, 4: 3}
    row = [1, 3, 4, 2, 1]
    found = returns([[undo[a] == b for b in row] for a in row], range(5))
    # 3 4 in the middle, 1 3 4 2 around it, and 2 1 at the end.
    assert found == [(1, 2, 3), (0, 2, 4), (3, 4, 5)]
    assert returns([[undo[a] == b for b in (1, 3, 2, 4)] for a in (1, 3, 2, 4)], range(4)) == []  # a loop is none


def _there_and_back(row):
    actions = np.array(row)
    place = control_worlds.walk(actions, 1)
    return place, lambda clip, _: replace(clip, actions=tuple(row))


def test_return_consistency():
    metric = ReturnConsistency(ReturnConsistencyParameters(inverse="1=2,3=4"))
    row = [4, 4, 4, 3, 3, 3, 0, 2, 2, 1, 1]
    clip, describe = _there_and_back(row)
    quiet = clip.copy()
    quiet[..., 2] = quiet[..., 0]  # the blue ball is next to unseen in red
    true = score(metric, quiet, describe=describe)
    assert true.value > 0.6 and true.details["returns"] == 5
    elsewhere = control_worlds.walk(np.array([4, 4, 4, 0, 1, 1, 0, 1, 4, 1, 4]), 1)
    assert score(metric, elsewhere, describe=describe).value < 0.3
    frozen = score(metric, np.repeat(clip[:1], 12, axis=0), describe=describe)
    assert frozen.value is None and "never left" in frozen.reason
    noise = np.random.default_rng(0).integers(0, 256, clip.shape, dtype=np.uint8)
    assert score(metric, noise, describe=describe).value == pytest.approx(0, abs=0.05)


def test_where_returns_are_known_from():
    clip, describe = _there_and_back([4, 4, 3, 3])
    assert "which actions undo each other" in score(ReturnConsistency, clip, describe=describe).reason
    numbers = score(
        ReturnConsistency, clip, describe=lambda c, _: replace(c, actions=((0, 2), (0, 2), (0, -2), (0, -2)))
    )
    named = score(ReturnConsistency, clip, describe=lambda c, _: replace(c, extra={"return_pairs": "[[0,4],[1,3]]"}))
    assert numbers.value is not None and numbers.details["returns"] == named.details["returns"] == 2
    for said in ("[[0, 1]]", "[0, 4]", "{", "[[0, -2]]", '[[0, "4"]]'):
        broken = score(ReturnConsistency, clip, describe=_extra(return_pairs=said))
        assert broken.value is None and "return_pairs must hold" in broken.reason
    late = score(ReturnConsistency, clip, describe=lambda c, _: replace(c, extra={"return_pairs": [[0, 9]]}))
    assert "back at frame 9" in late.reason
    with pytest.raises(InputError, match="inverse must be pairs"):
        ReturnConsistencyParameters(inverse="1=2,2=3")


@pytest.mark.parametrize(
    ("turn", "aside", "ahead", "limit"),
    [(2.0, 0, 0, 0.1), (-3.0, 0, 0, 0.1), (1.5, 0.05, 0, 0.6), (-1.5, 0.05, 0, 0.6), (1.5, 0, 0.06, 0.6)],
)
def test_heading_of_a_drawn_camera(turn, aside, ahead, limit):
    pixels, yaw = control_worlds.ride(20, turn, aside=aside, ahead=ahead)
    told = score(TrajectoryError, pixels, describe=lambda c, _: replace(c, extra={"camera_yaw": yaw.tolist()}))
    assert told.value < limit
    assert told.details["seen_turn"] == pytest.approx(19 * turn, abs=2 * limit)
    other = score(TrajectoryError, pixels, describe=lambda c, _: replace(c, extra={"camera_yaw": (-yaw).tolist()}))
    assert other.value > 19 * abs(turn)


def test_camera_that_does_not_turn_misses_what_it_was_told():
    pixels, _ = control_worlds.ride(12, 0.0)
    actions = TrajectoryErrorParameters(turns="left=-4,right=4")
    describe = lambda c, _: replace(c, actions=("right",) * 11)  # noqa: E731
    result = score(TrajectoryError(actions), pixels, describe=describe)
    assert result.value == pytest.approx(44)  # one keyframe, at the end
    column = TrajectoryErrorParameters(yaw_column=1, degrees=2.0)
    describe = lambda c, _: replace(c, actions=((0.0, 2.0),) * 11)  # noqa: E731
    assert score(TrajectoryError(column), pixels, describe=describe).value == pytest.approx(44)


def test_camera_abstains():
    turning = lambda c, _: replace(c, extra={"camera_yaw": [3.0 * t for t in range(8)]})  # noqa: E731
    plain = np.full((8, 80, 120, 3), 90, np.uint8)
    assert "no texture" in score(TrajectoryError, plain, describe=turning).reason
    noise = np.random.default_rng(0).integers(0, 256, plain.shape, dtype=np.uint8)
    assert "can't be told" in score(TrajectoryError, noise, describe=turning).reason
    straight = lambda c, _: replace(c, extra={"camera_yaw": [0.0] * 8})  # noqa: E731
    assert "3 are needed" in score(TrajectoryError, plain, describe=straight).reason
    short = lambda c, _: replace(c, extra={"camera_yaw": "[1, 2]"})  # noqa: E731
    assert "8 of them" in score(TrajectoryError, plain, describe=short).reason
    assert "which actions turn the camera" in score(TrajectoryError, plain).reason
    with pytest.raises(InputError, match="turns must be as in"):
        TrajectoryErrorParameters(turns="left")


def test_turn_between_known_points():
    rng = np.random.default_rng(0)
    camera = intrinsics(320, 240, 70.0)
    points = rng.uniform((-3, -2, 3), (3, 2, 9), (120, 3))
    rotation = Rotation.from_euler("yx", [6.0, -2.0], degrees=True).as_matrix()
    for shift, how in ((np.zeros(3), "turn"), (np.array([0.6, 0.0, 0.1]), "essential")):
        first, second = points @ camera.T, (points @ rotation.T + shift) @ camera.T
        seen = np.concatenate([first[:, :2] / first[:, 2:], second[:, :2] / second[:, 2:]], axis=1)
        seen[:12, 2:] += rng.uniform(5, 20, (12, 2))  # what was followed wrongly
        found = turn_between(seen, camera)
        assert found.how == how
        error = Rotation.from_matrix(found.rotation @ rotation.T).magnitude()
        assert math.degrees(error) < 0.05
    wall = np.concatenate([rng.uniform(-3, 3, (120, 2)), np.full((120, 1), 5.0)], axis=1)
    first, second = wall @ camera.T, (wall @ rotation.T + np.array([0.6, 0.0, 0.1])) @ camera.T
    seen = np.concatenate([first[:, :2] / first[:, 2:], second[:, :2] / second[:, 2:]], axis=1)
    flat = turn_between(seen, camera)
    if flat.rotation is None:
        assert flat.how == "flat"
    else:  # where only one of the two explanations is possible
        assert math.degrees(Rotation.from_matrix(flat.rotation @ rotation.T).magnitude()) < 1.5


def test_headings_add_up_beyond_a_full_turn():
    steps = [facing(30.0 * (k + 1), 0.0).T @ facing(30.0 * k, 0.0) for k in range(15)]
    yaw, pitch = headings(steps)
    assert yaw == pytest.approx(30.0 * np.arange(16)) and pitch == pytest.approx(np.zeros(16), abs=1e-6)
    _, up = headings([facing(10.0, 8.0).T @ facing(0.0, 0.0)])
    assert up[-1] == pytest.approx(8.0)


def test_drift_line_matches_scipy():
    values = np.random.default_rng(0).normal(size=60).cumsum()
    assert change_over_clip(values) == pytest.approx(theilslopes(values).slope * 59)
    values[:10] = 1e6  # a cut, or a flash: a sixth of the frames changes little
    assert abs(change_over_clip(values)) < 60


@pytest.mark.parametrize("kind", ["noise", "dark", "blur", "red"])
def test_drift_grows_with_what_gets_worse(kind):
    import cv2

    clip = synthetic_clips(1, frames=24)[0].astype(np.float64)
    rng = np.random.default_rng(0)

    def worse(strength):
        frames = clip.copy()
        for t in range(24):
            share = strength * t / 23
            if kind == "noise":
                frames[t] += rng.normal(0, 30, frames[t].shape) * share
            elif kind == "dark":
                frames[t] *= 1 - 0.5 * share
            elif kind == "red":
                frames[t, ..., 0] += 50 * share
            elif share > 0:
                frames[t] = cv2.GaussianBlur(frames[t], (0, 0), 3 * share)
        return np.clip(frames, 0, 255).astype(np.uint8)

    values = [float(score(Drift, worse(strength)).value or 0) for strength in (0.0, 0.3, 0.6, 1.0)]
    assert values == sorted(values) and values[-1] > values[0] + 0.5


def test_psnr_drift_sees_growing_errors_and_not_steady_ones():
    clip = synthetic_clips(1, frames=24)[0]
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, clip.shape)
    growing = np.clip(clip + noise * np.linspace(0.5, 20, 24)[:, None, None, None], 0, 255).astype(np.uint8)
    steady = np.clip(clip + noise * 10, 0, 255).astype(np.uint8)
    assert score(PsnrDrift, growing, reference=clip).value > 8
    assert score(PsnrDrift, steady, reference=clip).value < 0.5
    shorter = score(PsnrDrift, growing, reference=clip[:20])
    assert shorter.value is None and "24 frames" in shorter.reason


def test_a_run_of_the_suite(tmp_path, vidbench):
    """Two models of one game beside real clips: the one that obeys wins, the frozen one does not."""
    actions = np.random.default_rng(5).integers(0, 5, (12, 20))
    for folder, name in (("real", "true"), ("clips", "obeys"), ("clips", "frozen")):
        (tmp_path / folder / name).mkdir(parents=True)
    rows = []
    for n, row in enumerate(np.random.default_rng(6).integers(0, 5, (20, 20))):
        np.save(tmp_path / "real" / "true" / f"{n}.npy", control_worlds.walk(row, n))
        (tmp_path / "real" / "true" / f"{n}.actions.json").write_text(json.dumps(row.tolist()))
    (tmp_path / "clips" / "truth").mkdir()
    for n, row in enumerate(actions):
        clip = control_worlds.walk(row, 100 + n // 2)
        np.save(tmp_path / "clips" / "truth" / f"{n}.npy", clip)
        rng = np.random.default_rng(n)
        made = {
            "obeys": np.clip(clip + rng.normal(0, 2, clip.shape), 0, 255).astype(np.uint8),
            "frozen": np.repeat(clip[:1], 21, axis=0),
        }
        for model, frames in made.items():
            np.save(tmp_path / "clips" / model / f"{n}.npy", frames)
            kind = "random" if n % 2 else "true"
            rows.append(
                {"file_name": f"{model}/{n}.npy", "reference": f"truth/{n}.npy", "start": f"s{n // 2}",
                 "actions_kind": kind, "actions": row.tolist(), "fps": 8}
            )  # fmt: skip
    (tmp_path / "clips" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "run"
    done = vidbench(
        "run", tmp_path / "clips", "--suite", "control", "--reference", tmp_path / "real", "--out", out, "--jobs", 1,
        "--set", "return_consistency.inverse=1=2,3=4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = load_run(out)
    values = {(row.model, row.metric): row.value for row in run.scores if row.clip is None}
    assert values["obeys", "action_consistency"] > 0.4
    assert values["frozen", "action_consistency"] == pytest.approx(0, abs=1e-9)
    assert values["obeys", "counterfactual_divergence"] > 0.8
    assert values["frozen", "counterfactual_divergence"] == pytest.approx(0)
    assert values["obeys", "delta_t_psnr"] > 3 > values["frozen", "delta_t_psnr"]

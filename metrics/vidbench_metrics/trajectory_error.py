"""Trajectory error: does the camera turn as it was told to?

Points are followed from keyframe to keyframe, the turn between two keyframes is reckoned from where they went
(`vidbench_metrics.camera_turns`), and the heading that results is held against the commanded one: root mean square of
the difference over keyframes, in degrees. Turns only: one camera can't tell how far it moved, nor its path's shape.

What was commanded is read, in this order, from the metadata columns `camera_yaw` and `camera_pitch` (lists of one angle
a frame in degrees; yaw to the right, pitch up), or from the actions: `turns` names the degrees of discrete actions,
`yaw_column` the number that is a turn in lists of numbers.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip, load_actions
from vidbench.errors import InputError
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, Observations, Score
from vidbench_metrics.camera_turns import Turn, facing, headings, intrinsics, turn_between
from vidbench_metrics.extractors.keyframe_tracks import KeyframeTracksObservation
from vidbench_metrics.inverse_dynamics import words

Values = NDArray[np.float64]

YAW, PITCH, FOV, FOCAL = "camera_yaw", "camera_pitch", "fov", "focal"
LASTING = 0.3
"""Share of the points that must last from one keyframe to the next: in noise, some meet others by chance."""
MOST_BLIND = 0.25
"""Share of the turns between keyframes that may be unknown; there the command is taken on trust."""
LEAST_TURN = 3.0
"""Degrees by which the commanded heading must vary: below, a frozen clip would be right."""
WHY_NOT = {
    "points": "too few points can be followed: there is no texture, or too much changes",
    "flat": "what is seen is flat, so that a turn and a step aside look alike",
    "unexplained": "no motion of a camera explains how points move",
}


@dataclass(frozen=True)
class TrajectoryErrorParameters:
    """Where the commands are, and what the camera is like."""

    turns: str = ""
    """Degrees to the right by action, such as `left=-5,right=5`; actions that are not named do not turn."""
    yaw_column: int = -1
    """Number of the column of the actions that is a turn to the right; -1 for none."""
    pitch_column: int = -1
    """The same for a turn up."""
    degrees: float = 1.0
    """Degrees for each unit of these columns."""
    fov: float = 60.0
    """Width of the picture in degrees where the metadata has no column `fov` (degrees) or `focal` (pixels)."""

    def __post_init__(self) -> None:
        turns_of(self.turns)
        if not 5 <= self.fov <= 160:
            raise InputError(f"trajectory_error.fov must be between 5 and 160 degrees, got {self.fov}")


def turns_of(text: str) -> dict[str, float]:
    """Degrees by action, from `left=-5,right=5`.

    Raises:
        InputError: it is not of that form.
    """
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.rpartition("=")
        try:
            degrees = float(number)
        except ValueError:
            degrees = math.nan
        if not name.strip() or not math.isfinite(degrees) or name.strip() in found:
            raise InputError(f"trajectory_error.turns must be as in left=-5,right=5; got '{text}'")
        found[name.strip()] = degrees
    return found


def commanded(clip: Clip, parameters: TrajectoryErrorParameters, frames: int) -> tuple[Values, Values | None] | str:
    """Yaw, and pitch where it was commanded, at each frame in degrees, 0 at the first; or why they aren't known."""
    if clip.extra.get(YAW) not in (None, ""):
        yaw = _angles(clip, YAW, frames)
        if isinstance(yaw, str) or clip.extra.get(PITCH) in (None, ""):
            return yaw if isinstance(yaw, str) else (yaw, None)
        pitch = _angles(clip, PITCH, frames)
        return pitch if isinstance(pitch, str) else (yaw, pitch)
    actions = load_actions(clip)
    if actions is None:
        return "it has no actions"
    if len(actions) != frames - 1:
        return f"it has {len(actions)} actions for {frames} frames"
    return _from_actions(actions, parameters)


def _from_actions(
    actions: Values | tuple[object, ...], parameters: TrajectoryErrorParameters
) -> tuple[Values, Values | None] | str:
    if parameters.turns:
        degrees = turns_of(parameters.turns)
        named = words(actions if isinstance(actions, np.ndarray) else tuple(map(str, actions)))
        return _summed(np.array([degrees.get(name, 0.0) for name in named])), None
    columns = [column for column in (parameters.yaw_column, parameters.pitch_column) if column >= 0]
    if parameters.yaw_column < 0:
        return (
            f"nobody said which actions turn the camera: add a column {YAW}, or --set trajectory_error.turns=left=-5,"
            "right=5 or trajectory_error.yaw_column=0"
        )
    if not isinstance(actions, np.ndarray) or actions.shape[1] <= max(columns):
        return f"its actions have no column {max(columns)}"
    yaw = _summed(actions[:, parameters.yaw_column] * parameters.degrees)
    if parameters.pitch_column < 0:
        return yaw, None
    return yaw, _summed(actions[:, parameters.pitch_column] * parameters.degrees)


def _summed(steps: Values) -> Values:
    return np.concatenate([[0.0], np.cumsum(steps)])


def _angles(clip: Clip, column: str, frames: int) -> Values | str:
    said = clip.extra[column]
    try:
        angles: Values = np.array(json.loads(said) if isinstance(said, str) else said, np.float64)
    except (ValueError, TypeError):
        return f"its column {column} must be a list of one angle in degrees a frame"
    if angles.shape != (frames,) or not np.isfinite(angles).all():
        return f"its column {column} must be a list of one finite angle a frame: {frames} of them"
    return np.asarray(angles - angles[0])


def field_of_view(clip: Clip, default: float, width: int) -> float:
    """Degrees across the picture; `width` is the clip's in pixels."""
    for column in (FOV, FOCAL):
        try:
            value = float(clip.extra.get(column, ""))
        except (TypeError, ValueError):
            continue
        if math.isfinite(value) and value > 0:
            angle = value if column == FOV else math.degrees(2 * math.atan(width / 2 / value))
            if 5 <= angle <= 160:
                return angle
    return default


class TrajectoryError(ClipMetric[TrajectoryErrorParameters]):
    """See the module."""

    name = "trajectory_error"
    version = "1"
    summary = (
        "by how many degrees the camera's heading misses the commanded one; turns only, one camera tells no distances; "
        "unscored without texture, before something flat, or where no turn was commanded"
    )
    reference = (
        "our own definition; essential matrix by Nistér's five points (PAMI 2004) in OpenCV; WorldScore's and MIND's "
        "camera errors ask SLAM networks for whole paths"
    )
    protocol = (
        "keyframes once points have moved by 12 % of the longer side; a turn alone where it explains 85 % of points to "
        "1 pixel, else the essential matrix; root mean square heading error over keyframes; 60 degrees of view unless "
        "told otherwise"
    )
    higher_is_better = False
    unit = "degrees"
    value_range = (0.0, math.inf)
    aggregation = "mean"
    needs = Needs(extractors=(ExtractorSpec("keyframe_tracks"),), columns=(YAW,))
    min_frames = 3
    parameters_type = TrajectoryErrorParameters

    def __init__(self, parameters: TrajectoryErrorParameters | None = None) -> None:
        super().__init__(parameters)
        if self.parameters.turns or self.parameters.yaw_column >= 0:
            # Somebody said what the actions do to the camera, so that they will do.
            self.needs = Needs(extractors=(ExtractorSpec("keyframe_tracks"),), actions=True)  # type: ignore[misc]

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip."""
        seen = observations.of("keyframe_tracks", KeyframeTracksObservation)
        told = commanded(clip, self.parameters, observations.facts.frames)
        if isinstance(told, str):
            return Score.unscored(told)
        yaw, pitch = told
        spread = float(np.ptp(yaw)) if pitch is None else max(float(np.ptp(yaw)), float(np.ptp(pitch)))
        if spread < LEAST_TURN:
            return Score.unscored(f"the camera was told to turn by {spread:.1f} degrees, {LEAST_TURN:g} are needed")
        view = field_of_view(clip, self.parameters.fov, observations.facts.width)
        camera = intrinsics(seen.width, seen.height, view)
        turns = []
        for number, begun in enumerate(seen.begun):
            points = seen.points[seen.segment == number]
            lasting = len(points) >= LASTING * begun
            turns.append(turn_between(points, camera) if lasting else Turn(None, "points"))
        blind = [turn.how for turn in turns if turn.rotation is None]
        if len(blind) > MOST_BLIND * len(turns):
            why = max(sorted(set(blind)), key=blind.count)
            return Score.unscored(f"{len(blind)} of {len(turns)} turns between keyframes can't be told: {WHY_NOT[why]}")
        up = np.zeros_like(yaw) if pitch is None else pitch
        rotations = [
            facing(yaw[b], up[b]).T @ facing(yaw[a], up[a]) if turn.rotation is None else turn.rotation
            for turn, a, b in zip(turns, seen.keyframes, seen.keyframes[1:], strict=False)
        ]
        found_yaw, found_pitch = headings(rotations)
        off = found_yaw - yaw[seen.keyframes]
        squares = off[1:] ** 2
        if pitch is not None:
            squares = squares + (found_pitch - pitch[seen.keyframes])[1:] ** 2
        return Score(
            math.sqrt(float(np.mean(squares))),
            details={
                "keyframes": len(seen.keyframes),
                "by_turn_alone": sum(turn.how in ("turn", "still") for turn in turns),
                "by_essential_matrix": sum(turn.how in ("essential", "plane") for turn in turns),
                "taken_on_trust": len(blind),
                "commanded_turn": float(yaw[-1]),
                "seen_turn": float(found_yaw[-1]),
                "last_error": float(off[-1]),
                "fov": view,
            },
        )

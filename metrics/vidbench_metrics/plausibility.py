"""The overall clip score: would a person find a physical violation in it?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidbench.clips import Clip
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, Observations, Score
from vidbench_metrics.physics.model import Calibration, read_calibration, shipped
from vidbench_metrics.physics.verdict import LEAST_FRAMES, verdict


@dataclass(frozen=True)
class PlausibilityParameters:
    """A threshold of one's own."""

    calibration: str = ""
    """File that `vidbench calibrate` wrote; empty takes the shipped threshold."""


class Plausibility(ClipMetric[PlausibilityParameters]):
    """Calibrated probability that a person would find no violation of the kinds that the physics checks know.

    A check group that cannot judge a clip has no say in it; where none can, the clip is unscored. `details` hold the
    suspicion (log-odds above the threshold; above 0 is an alarm), the p-value against innocent clips and which groups
    judged.
    """

    name = "plausibility"
    version = "1"
    summary = "probability that a person would find no physical violation; says nothing of what it could not judge"
    reference = "own definition; events and learned layer as docs/physics.md says"
    protocol = "learned over tracks and whole frames; shipped model, 3 % false alarms"
    higher_is_better = True
    unit = "probability"
    value_range = (0.0, 1.0)
    aggregation = "mean"
    diagnostic = True
    sees = ("shuffled", "teleport")
    needs = Needs((ExtractorSpec("motion"),))
    min_frames = LEAST_FRAMES
    parameters_type = PlausibilityParameters

    def _calibration(self) -> Calibration | None:
        if not self.parameters.calibration:
            return None
        return read_calibration(Path(self.parameters.calibration), shipped())

    def score(self, observations: Observations, clip: Clip) -> Score:
        """Score one clip."""
        found = verdict(observations, clip, self._calibration())
        said = found.judgement
        if said.plausible is None or said.suspicion is None:
            reasons = "; ".join(f"{group.replace('_', '-')} checks: {why}" for group, why in said.not_judged.items())
            return Score.unscored(f"not judged: {reasons}")
        details: dict[str, float | int | str | None] = {
            "suspicion": round(said.suspicion, 4),
            "alarm": int(bool(said.alarm)),
            "p_value": None if said.p_value is None else round(said.p_value, 5),
            "basis": said.basis,
        }
        if said.not_judged:
            details["partly"] = "; ".join(f"{g.replace('_', '-')} checks: {why}" for g, why in said.not_judged.items())
        if found.told:
            details["worst"] = found.told[0][0].kind
        return Score(said.plausible, details=details)

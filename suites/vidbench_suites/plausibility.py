"""Is what a clip shows physically possible? Checked from the clip alone, on a CPU; findings say where and when not."""

from vidbench.suite import Suite

PLAUSIBILITY = Suite(
    name="plausibility",
    version="1",
    summary="object permanence, gravity, continuity, solidity and their overall score; base install, no reference",
    metrics={
        "object_permanence": {},
        "gravity": {},
        "continuity": {},
        "solidity": {},
        "plausibility": {},
        "frozen_frames": {},
        "shot_cuts": {},
    },
)

"""Frame and motion quality from the clip alone: no network, no prompt, no reference."""

from vidbench.suite import Suite

FRAMES = Suite(
    name="frames",
    version="1",
    summary="flicker, frozen and black frames, exposure, sharpness, motion and cuts; base install, no reference",
    metrics={
        "temporal_flickering": {},
        "frozen_frames": {},
        "black_frames": {},
        "exposure": {},
        "sharpness": {},
        "motion_magnitude": {},
        "shot_cuts": {},
    },
    required=frozenset({"temporal_flickering", "frozen_frames", "black_frames", "shot_cuts"}),
)

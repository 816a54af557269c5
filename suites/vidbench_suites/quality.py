"""Quality of clips and of sets: picture, motion, agreement with the prompt, distance from real clips.

`WANTED` is the one list. A metric that is not installed here is left out, so that the suite is the same text everywhere
and its hash tells which of them took part.
"""

from vidbench import plugins
from vidbench.suite import Suite

WANTED: tuple[str, ...] = (
    # The clip alone.
    "temporal_quality",
    "temporal_flickering",
    "motion_smoothness",
    "dynamic_degree",
    "subject_consistency",
    "background_consistency",
    "clip_temporal_consistency",
    "aesthetic_quality",
    "imaging_quality",
    "frozen_frames",
    "black_frames",
    # The clip and its prompt.
    "clip_score",
    # The set against a reference set.
    "frechet_video_distance_lite",
    "frechet_frame_distance",
    "fvd",
    "kvd",
    "fvd_infinity",
    "fvd_videomae",
    "jedi",
    "cmmd",
    "fid",
    "prdc_precision",
    "prdc_recall",
    "prdc_density",
    "prdc_coverage",
    # Diagnostics: shown, not ranked.
    "blockiness",
    "noise",
    "colourfulness",
    "sharpness",
    "exposure",
    "motion_magnitude",
)

QUALITY = Suite(
    name="quality",
    version="1",
    summary="picture and motion quality, agreement with the prompt, distances from real clips; diagnostics beside them",
    metrics={name: {} for name in WANTED if name in set(plugins.metrics().names())},
    # What needs neither weights, prompts nor a reference set.
    required=frozenset({"temporal_quality", "temporal_flickering", "frozen_frames", "black_frames"}),
)

"""clip_temporal_consistency: the mean cosine by hand, and what it says of clips that stand still."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.metric import Observations, Score
from vidbench.video import ClipFacts
from vidbench_metrics.clip_temporal_consistency import ClipTemporalConsistency
from vidbench_metrics.extractors.clip_image import ClipImageObservation


def _scored(rows: list[list[float]]) -> Score:
    seen = ClipImageObservation(np.array(rows, np.float32), np.arange(len(rows)), len(rows), "")
    facts = ClipFacts(len(rows), 8.0, 4, 4, np.arange(len(rows)) / 8)
    return ClipTemporalConsistency().score(
        Observations({"clip_image": seen}, facts), Clip(id="c", path=Path("c"), model="m")
    )


def test_the_mean_cosine_of_neighbours_by_hand() -> None:
    result = _scored([[1, 0], [3, 4], [4, 3], [-8, -6]])
    assert result.value == pytest.approx((0.6 + 0.96 - 1) / 3)
    assert result.details["lowest"] == pytest.approx(-1)
    assert result.details["lowest_frame"] == 3
    assert result.details["still_share"] == 0
    assert result.details["note"] is None


def test_a_clip_that_stands_still_scores_best_and_says_so() -> None:
    frozen = _scored([[3, 4]] * 5)
    assert frozen.value == 1.0
    assert frozen.details["still_share"] == 1
    assert frozen.details["note"] == (
        "100% of the frames look exactly like the one before: standing still raises this value"
    )
    half = _scored([[3, 4], [3, 4], [4, 3], [4, 3], [3, 4]])
    assert half.details["still_share"] == 0.5
    assert str(half.details["note"]).startswith("50% of")
    assert _scored([[3, 4], [3, 4.001], [3, 4.002]]).details["still_share"] == 1
    assert _scored([[3, 4], [3, 4.1], [3, 4.2]]).details["still_share"] == 0


def test_it_ranks_nobody_and_is_unscored_without_embeddings() -> None:
    assert ClipTemporalConsistency.diagnostic
    assert _scored([[0, 0], [1, 0]]).reason == "CLIP gives a zero or infinite embedding for a frame"


def test_protocols() -> None:
    (plain,) = ClipTemporalConsistency().extractor_specs()
    assert plain.parameters["preprocess"] == "official"
    (theirs,) = ClipTemporalConsistency.from_mapping({"protocol": "evalcrafter"}).extractor_specs()
    assert theirs.parameters["preprocess"] == "evalcrafter-temporal"
    with pytest.raises(InputError, match="protocol must be one of plain, evalcrafter"):
        ClipTemporalConsistency.from_mapping({"protocol": "vbench"})

"""background_consistency: VBench's formula by hand and in VBench's own words, and what it asks for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from vidbench.clips import Clip
from vidbench.metric import Observations
from vidbench.video import ClipFacts
from vidbench_metrics.background_consistency import BackgroundConsistency, background_consistency
from vidbench_metrics.extractors.clip_image import ClipImageObservation


def test_the_formula_by_hand() -> None:
    rows = np.array([[1, 0], [3, 4], [4, 3], [-8, -6]], np.float32)
    parts = [(0.6 + 0.6) / 2, (0.96 + 0.8) / 2, (0 + 0) / 2]  # to the one before and to the first; never below 0
    assert background_consistency(rows).tolist() == pytest.approx(parts)
    seen = ClipImageObservation(rows, np.arange(4), 4, "sha256:" + "ab" * 32)
    facts = ClipFacts(4, 8.0, 4, 4, np.arange(4) / 8)
    result = BackgroundConsistency().score(
        Observations({"clip_image": seen}, facts), Clip(id="c", path=Path("c"), model="m")
    )
    assert result.value == pytest.approx(sum(parts) / 3)
    assert (result.details["lowest"], result.details["lowest_frame"]) == (0, 3)
    assert str(result.details["remark"]).startswith("not computed with OpenAI's published weights")


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: pip install 'vidbench[models]'"
)
def test_the_formula_as_vbench_computes_it() -> None:
    import torch
    from torch.nn import functional

    rows = np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32) + 0.5
    features = functional.normalize(torch.from_numpy(rows), dim=-1, p=2)
    total = 0.0
    for i in range(1, 9):
        current = features[i : i + 1]
        to_previous = max(0.0, functional.cosine_similarity(features[i - 1 : i], current).item())
        to_first = max(0.0, functional.cosine_similarity(features[:1], current).item())
        total += (to_previous + to_first) / 2
    assert background_consistency(rows).mean() == pytest.approx(total / 8, rel=1e-6)


def test_a_frozen_clip_scores_exactly_one_and_never_more() -> None:
    for seed in range(50):
        rows = np.repeat(np.random.default_rng(seed).standard_normal((1, 512)).astype(np.float32), 6, axis=0)
        assert 1 - 1e-12 < background_consistency(rows).mean() <= 1


def test_it_asks_for_vbenchs_preparation_and_two_frames() -> None:
    (spec,) = BackgroundConsistency().extractor_specs()
    assert dict(spec.parameters) == {"model": "ViT-B-32", "weights": "openai", "preprocess": "vbench"}
    assert BackgroundConsistency.min_frames == 2

"""aesthetic_quality: the predictor's formula, its file, and a run that lacks only that."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidbench import weights
from vidbench.clips import discover
from vidbench.errors import PluginError
from vidbench.run.plan import select
from vidbench.testing import score
from vidbench_metrics.aesthetic_quality import AestheticHead, AestheticQuality, aesthetic_ratings, read_head

torch: Any = pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[models]'")


@pytest.fixture
def tiny(clip_weights: Path, tiny_clip: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small random CLIPs and a random predictor."""
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(clip_weights))
    monkeypatch.setattr("vidbench_metrics.clip_model.model_config", tiny_clip)
    return clip_weights


def saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def test_the_formula_by_hand_and_as_torch_computes_it() -> None:
    weight = np.zeros(768)
    weight[:2] = 2, -1
    rows = np.zeros((2, 768), np.float32)
    rows[0, :2], rows[1, 1] = (3, 4), -7
    assert aesthetic_ratings(rows, AestheticHead(weight, 5.0)).tolist() == pytest.approx([5 + 2 * 0.6 - 0.8, 6])
    layer = torch.nn.Linear(768, 1)
    random = np.random.default_rng(0).standard_normal((7, 768)).astype(np.float32)
    with torch.no_grad():
        theirs = layer(torch.nn.functional.normalize(torch.from_numpy(random), dim=-1)).squeeze().numpy()
    head = read_head(saved(layer.state_dict()), "f.pth")
    assert aesthetic_ratings(random, head) == pytest.approx(theirs, abs=1e-6)


def test_a_clip_is_the_mean_over_frames_by_ten(tiny: Path, moving_square: Any) -> None:
    from vidbench.testing import observe
    from vidbench_metrics.extractors.clip_image import ClipImage, ClipImageObservation

    clip = moving_square(frames=5)
    made = ClipImage.from_mapping({"model": "ViT-L-14", "preprocess": "vbench"})
    made.load()
    seen = observe(made, clip)
    assert isinstance(seen, ClipImageObservation)
    unit = seen.embeddings / np.linalg.norm(seen.embeddings, axis=1, keepdims=True)
    ratings = unit @ np.linspace(-1, 1, 768) + 5
    result = score(AestheticQuality, clip)
    assert result.value == pytest.approx(ratings.mean() / 10, rel=1e-5)
    assert result.details["lowest"] == pytest.approx(ratings.min() / 10, rel=1e-5)
    assert result.details["lowest_frame"] == ratings.argmin()
    assert ratings.std() > 1e-4


def test_another_model_than_the_predictors_is_unscored(tiny: Path, moving_square: Any) -> None:
    result = score(AestheticQuality.from_mapping({"model": "ViT-B-32"}), moving_square(frames=2))
    assert result.reason == "the predictor reads 768 numbers, ViT-B-32 gives 64"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"text", "it cannot be read"),
        (saved([1]), "it holds list"),
        (saved({"weight": torch.zeros(1, 768)}), r"it holds \{'weight': \(1, 768\)\}, wanted is"),
        (saved({"weight": torch.zeros(1, 512), "bias": torch.zeros(1)}), r"it holds .*\(1, 512\)"),
        (saved({"weight": torch.full((1, 768), np.nan), "bias": torch.zeros(1)}), "it holds NaN or infinity"),
    ],
)
def test_files_that_are_not_the_predictor_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(PluginError, match=f"^f.pth is not LAION's linear predictor: {said}") as caught:
        read_head(data, "f.pth")
    assert str(caught.value).endswith("run: vidbench weights fetch laion-aesthetic")


def test_where_only_the_predictor_is_missing_it_is_named(
    tiny: Path, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = select(discover(small_folder), has_reference=False, names=("aesthetic_quality",))
    (facts,) = whole.facts
    assert set(facts.weights) == {"clip_image", "laion-aesthetic"}
    assert facts.weights["laion-aesthetic"] == weights.require("laion-aesthetic").checksum()
    without = tmp_path / "weights"
    shutil.copytree(tiny, without)
    (without / "sa_0_4_vit_l_14_linear.pth").unlink()
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(without))
    lacking = select(discover(small_folder), has_reference=False, names=("aesthetic_quality",)).plan.metrics[0]
    assert str(lacking.unavailable).endswith("are not here: vidbench weights fetch laion-aesthetic")


def test_the_command_line_names_both_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vidbench.cli.list import missing_piece
    from vidbench.cli.weights import users

    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path))
    assert users("laion-aesthetic") == ["aesthetic_quality"]
    assert "aesthetic_quality" in users("clip-vit-l-14")
    assert "aesthetic_quality" not in users("clip-vit-b-32")
    assert {"background_consistency", "clip_score", "clip_temporal_consistency"} <= set(users("clip-vit-b-32"))
    said = str(missing_piece(AestheticQuality, "metrics")).split("; ")
    assert [part.rsplit(": ", 1)[1] for part in said] == [
        "vidbench weights fetch laion-aesthetic",
        "vidbench weights fetch clip-vit-l-14",
    ]

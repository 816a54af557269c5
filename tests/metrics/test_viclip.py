"""ViCLIP against VBench's own, the frames it looks at, and the protocol that rests on it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import small_viclip
from vidbench.clips import Clip
from vidbench.errors import PluginError, WeightsError
from vidbench.metric import Observations
from vidbench.testing import observe, synthetic_clips
from vidbench.testing._run import facts_of
from vidbench_metrics import viclip_text
from vidbench_metrics.clip_preprocess import ModelInput, vbench_bytes
from vidbench_metrics.clip_score import ClipScore
from vidbench_metrics.extractors import viclip_video
from vidbench_metrics.extractors.threads import one_thread
from vidbench_metrics.extractors.viclip_video import ViClipVideo, ViClipVideoObservation, middles
from vidbench_metrics.networks import viclip

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("open_clip") is None, reason="open_clip is not installed: pip install 'vidbench[models]'"
)


@pytest.fixture(autouse=True)
def _weights(vbench_weights: Path, small_vbench_networks: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(vbench_weights))
    with one_thread():
        yield


def test_golden_embeddings_of_vbench() -> None:
    """From benchmarks/parity_viclip.py: the towers of vbench 0.1.5 with the same random weights."""
    from benchmarks.parity_viclip import PROMPTS, eight_frames, weights

    size = small_viclip()
    state = weights(viclip.tensor_shapes(size))
    found = viclip.VisionTower(state, size)(eight_frames(size.side))
    assert found[:3].tolist() == pytest.approx([-0.685883, 0.455095, -1.394099], abs=1e-5)
    expected = ([0.196937, 0.486054, -0.864778], [-0.343525, 0.802277, -0.639619], [0.027153, 1.229774, -0.14324])
    for prompt, golden in zip(PROMPTS, expected, strict=True):
        # The same numbers through the weights file and the tokenizer.
        assert viclip_text.embed_prompt(prompt).vector[:3].tolist() == pytest.approx(golden, abs=1e-5)
    assert viclip_text.embed_prompt(PROMPTS[2]).cut
    assert not viclip_text.embed_prompt(PROMPTS[1]).cut


def test_tensors_of_the_published_file() -> None:
    shapes = viclip.tensor_shapes(viclip.ViClipSize())
    assert len(shapes) == 447
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 427_590_145


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (16, [0, 2, 4, 6, 8, 10, 12, 14]),
        (20, [0, 3, 5, 8, 10, 13, 15, 18]),
        (3, [0, 1, 2, 2, 2, 2, 2, 2]),
        (1, [0] * 8),
    ],
)
def test_frames_are_the_middles_of_spans(frames: int, expected: list[int]) -> None:
    """`get_frame_indices(8, frames, sample="middle")` of vbench 0.1.5."""
    assert middles(frames).tolist() == expected


def test_a_long_clip_is_kept_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    (clip,) = synthetic_clips(1, frames=50, height=32, width=40)
    whole = observe(ViClipVideo(), clip)
    monkeypatch.setattr(viclip_video, "MOST", 12)
    thinned = observe(ViClipVideo(), clip)
    assert isinstance(whole, ViClipVideoObservation)
    assert isinstance(thinned, ViClipVideoObservation)
    assert whole.frames.tolist() == middles(50).tolist()
    assert np.all(thinned.frames % 8 == 0)
    assert np.all((whole.frames - thinned.frames >= 0) & (whole.frames - thinned.frames < 8))
    assert not np.array_equal(whole.embedding, thinned.embedding)


def test_frames_are_resized_as_bytes() -> None:
    """As torchvision resizes a tensor of bytes with antialias=False."""
    import torch
    from torchvision.transforms import functional

    pixels = np.random.default_rng(0).integers(0, 256, (60, 83, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    bicubic = functional.InterpolationMode.BICUBIC
    expected = functional.center_crop(functional.resize(tensor, [56], bicubic, antialias=False), [56, 56])
    found = vbench_bytes(pixels, ModelInput(side=56)).transpose(2, 0, 1)
    assert np.abs(found.astype(int) - expected.numpy().astype(int)).max() <= 1  # halves may round either way
    assert np.mean(found != expected.numpy()) < 1e-3


def test_order_of_frames_counts() -> None:
    (clip,) = synthetic_clips(1, frames=8, height=40, width=40)
    forward, backward = (observe(ViClipVideo(), frames) for frames in (clip, clip[::-1].copy()))
    assert isinstance(forward, ViClipVideoObservation)
    assert isinstance(backward, ViClipVideoObservation)
    assert not np.allclose(forward.embedding, backward.embedding)


def _scored(pixels: Any, prompt: str | None) -> Any:
    metric = ClipScore.from_mapping({"protocol": "vbench-overall"})
    (spec,) = metric.extractor_specs()
    assert spec.name == "viclip_video"
    seen = Observations({"viclip_video": observe(ViClipVideo(), pixels)}, facts_of(pixels, 8.0))
    return metric.score(seen, Clip(id="a.mp4", path=Path("a.mp4"), model="m", prompt=prompt))


def test_the_score_is_the_cosine_of_clip_and_prompt() -> None:
    (clip,) = synthetic_clips(1, frames=9, height=40, width=40)
    result = _scored(clip, "a ball")
    seen = observe(ViClipVideo(), clip)
    assert isinstance(seen, ViClipVideoObservation)
    a, b = seen.embedding.astype(float), viclip_text.embed_prompt("a ball").vector.astype(float)
    assert result.value == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-5)
    assert result.details["frame_numbers"] == middles(9).tolist()
    assert result.details["note"] is None
    long = _scored(clip, "word " * 40)
    assert long.details["note"] == "the prompt has 42 tokens and ViCLIP takes 32: the rest was cut off"
    assert _scored(clip, " ").reason == "it has no prompt"


def test_other_weights_are_refused(tmp_path: Path, vbench_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    data = torch.load(vbench_weights / "ViClip-InternVid-10M-FLT.pth", weights_only=True)
    del data["model"]["temp"]
    torch.save(data, tmp_path / "it.pth")
    with pytest.raises(PluginError, match=r"it\.pth .*the tensor temp is missing.*weights fetch viclip-l-14"):
        viclip.load((tmp_path / "it.pth").read_bytes(), "it.pth")
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path / "none"))
    with pytest.raises(WeightsError, match="vidbench weights fetch viclip-l-14"):
        viclip_text.embed_prompt("a ball")

"""The clip_image extractor: preparation to the pixel, which frames, batches, and open_clip end to end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.testing import observe
from vidbench.video import Frames
from vidbench_metrics.clip_preprocess import PREPROCESSING, ModelInput
from vidbench_metrics.extractors import clip_image
from vidbench_metrics.extractors.clip_image import ClipImage, ClipImageObservation, ClipImageParameters, cosines

torch: Any = pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[models]'")
open_clip: Any = pytest.importorskip("open_clip", reason="open_clip is not installed: pip install 'vidbench[models]'")

Pixels = NDArray[np.uint8]
SIZES = [(90, 160), (160, 90), (224, 224), (500, 300), (137, 223), (13, 20)]


@pytest.fixture
def extractor(clip_weights: Path, tiny_clip: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ClipImage]:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(clip_weights))
    monkeypatch.setattr("vidbench_metrics.clip_model.model_config", tiny_clip)

    def make(**values: Any) -> ClipImage:
        made = ClipImage.from_mapping(values)
        made.load()
        return made

    return make


def seen(extractor: ClipImage, pixels: Pixels, chunk: int | None = None) -> ClipImageObservation:
    observation = observe(extractor, pixels, chunk=chunk)
    assert isinstance(observation, ClipImageObservation)
    return observation


def picture(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def prepared(name: str, pixels: Pixels) -> NDArray[np.float32]:
    return np.asarray(PREPROCESSING[name](pixels, ModelInput()).numpy())


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_official_is_torchvision_on_pillows_images_and_open_clips_own(height: int, width: int) -> None:
    from PIL import Image
    from torchvision import transforms as t

    pixels = picture(height, width)
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    bicubic = t.InterpolationMode.BICUBIC
    theirs = t.Compose([t.Resize(224, bicubic), t.CenterCrop(224), t.ToTensor(), t.Normalize(mean, std)])
    got = prepared("official", pixels)
    np.testing.assert_allclose(got, theirs(Image.fromarray(pixels)).numpy(), atol=1e-6)
    of_open_clip = open_clip.image_transform(224, is_train=False)
    np.testing.assert_allclose(got, of_open_clip(Image.fromarray(pixels)).numpy(), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_vbench_is_torchvision_on_tensors_without_antialiasing(height: int, width: int) -> None:
    from torchvision import transforms as t

    pixels = picture(height, width)
    frame = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))
    resized = t.CenterCrop(224)(t.Resize(224, t.InterpolationMode.BICUBIC, antialias=False)(frame)) / 255
    theirs = t.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))(resized)
    got = prepared("vbench", pixels)
    np.testing.assert_allclose(got, theirs.numpy(), atol=1e-5)
    if (height, width) == (137, 223):  # overshoot stays: brighter than white and darker than black
        assert got[0].max() > (1 - 0.48145466) / 0.26862954 + 0.1
        assert got[0].min() < -0.48145466 / 0.26862954 - 0.1


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_cmmd_is_pillows_antialiased_bicubic_of_floats_to_a_square(height: int, width: int) -> None:
    from PIL import Image

    pixels = picture(height, width)
    channels = [
        np.asarray(Image.fromarray(pixels[..., c].astype(np.float32)).resize((224, 224), Image.Resampling.BICUBIC))
        for c in range(3)
    ]
    mean, std = np.array(ModelInput().mean)[:, None, None], np.array(ModelInput().std)[:, None, None]
    np.testing.assert_allclose(prepared("cmmd", pixels), (np.stack(channels) / 255 - mean) / std, atol=1e-4)


def test_evalcrafter_leaves_grey_levels_as_they_are() -> None:
    import cv2
    from torchvision.transforms import Resize

    pixels = picture(90, 160)
    got = prepared("evalcrafter", pixels)
    np.testing.assert_array_equal(got.transpose(1, 2, 0), cv2.resize(pixels, (224, 224)).astype(np.float32))
    frame = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))
    theirs = Resize([224, 224], antialias=False)(frame).numpy()
    np.testing.assert_allclose(prepared("evalcrafter-temporal", pixels), theirs, atol=1e-3)
    assert got.max() > 200


def test_huggingface_cuts_half_pixels_off_where_torchvision_rounds() -> None:
    """A frame of 223x137 becomes 364 wide, 70 too many on each side; one of 225x137 367, 71.5 too many."""
    wide = [picture(137, width) for width in (223, 225)]
    assert (prepared("huggingface", wide[0]) == prepared("official", wide[0])).all()
    np.testing.assert_array_equal(prepared("huggingface", wide[1])[:, :, 1:], prepared("official", wide[1])[:, :, :-1])


@pytest.mark.parametrize("name", ["official", "huggingface", "vbench"])
def test_strips_are_refused_and_not_enlarged(name: str) -> None:
    with pytest.raises(InputError, match="frames of 1000x2 are strips"):
        PREPROCESSING[name](np.zeros((2, 1000, 3), np.uint8), ModelInput())
    assert prepared(name, np.zeros((2, 128, 3), np.uint8)).shape == (3, 224, 224)


def test_a_clip_through_open_clip_gives_the_same_embeddings(
    extractor: Callable[..., ClipImage], clip_state: Any, tiny_clip: Any, moving_square: Callable[..., Pixels]
) -> None:
    from PIL import Image

    config = tiny_clip("ViT-B-32")
    theirs = open_clip.model.CLIP(64, config["vision_cfg"], config["text_cfg"], quick_gelu=True).eval()
    theirs.load_state_dict(clip_state(config))
    transform = open_clip.image_transform(64, is_train=False)
    clip = moving_square(frames=11, height=90, width=160)
    with torch.inference_mode():
        wanted = theirs.encode_image(torch.stack([transform(Image.fromarray(frame)) for frame in clip])).numpy()
    got = seen(extractor(), clip)
    assert np.abs(got.embeddings - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert got.frame_numbers.tolist() == list(range(11))
    assert np.abs(np.linalg.norm(got.embeddings, axis=1) - 1).min() > 0.1  # every consumer normalises for itself
    assert got.unpublished.startswith("sha256:")
    assert got.made_by == "ViT-B-32, official"


@pytest.mark.parametrize("chunk", [1, 3, 8, 20])
@pytest.mark.parametrize("values", [{}, {"sampling": "even", "frames": 3}, {"sampling": "first", "frames": 10}])
def test_chunks_make_no_difference_at_all(
    extractor: Callable[..., ClipImage], moving_square: Callable[..., Pixels], chunk: int, values: dict[str, Any]
) -> None:
    clip, made = moving_square(frames=20), extractor(**values)
    np.testing.assert_array_equal(seen(made, clip, chunk).embeddings, seen(made, clip).embeddings)


def test_frames_do_not_depend_on_their_batch(
    extractor: Callable[..., ClipImage], moving_square: Callable[..., Pixels]
) -> None:
    clip, made = moving_square(frames=9), extractor()
    alone = np.concatenate([seen(made, clip[t : t + 1]).embeddings for t in range(9)])
    together = seen(made, clip).embeddings
    assert np.abs(together - alone).max() <= 1e-5 * np.abs(alone).max()


def test_the_named_frames_are_looked_at_and_memory_is_bounded(
    extractor: Callable[..., ClipImage], moving_square: Callable[..., Pixels]
) -> None:
    clip = moving_square(frames=20)
    every = seen(extractor(), clip)
    even, first = (seen(extractor(sampling=how, frames=4), clip) for how in ("even", "first"))
    assert first.frame_numbers.tolist() == [0, 1, 2, 3]
    assert even.frame_numbers[0] == 0
    assert len(even.frame_numbers) == 4
    assert np.abs(np.diff(even.frame_numbers) - 19 / 3).max() <= 2
    assert first.frames == even.frames == every.frames == 20
    for some in (even, first):
        np.testing.assert_allclose(some.embeddings, every.embeddings[some.frame_numbers], rtol=0, atol=1e-5)
    assert seen(extractor(sampling="even", frames=50), clip).frame_numbers.tolist() == list(range(20))
    parameters = ClipImageParameters(sampling="even", frames=4)
    session, held = clip_image._Session(lambda x: x[:, :, 0, 0], parameters, ModelInput(8), ""), []
    for start in range(0, 300, 10):
        session.push(Frames(np.zeros((10, 8, 8, 3), np.uint8), np.arange(10) / 8, start))
        held.append(len(session._waiting))
    assert max(held) <= clip_image.RESERVE * 4
    numbers = session.close().frame_numbers
    assert len(numbers) == 4
    assert numbers[-1] >= 300 - 32


def test_the_curve_is_the_cosine_with_the_frame_before_and_has_gaps() -> None:
    rows = np.array([[1, 0], [1, 1], [0, 2], [0, 0]], np.float32)
    observation = ClipImageObservation(rows, np.array([0, 1, 3, 4]), 6, "")
    ((name, curve),) = observation.curves().items()
    assert name == "likeness to the frame before in the eyes of CLIP ViT-B-32, official (cosine)"
    np.testing.assert_allclose(curve, [np.nan, np.sqrt(0.5), np.nan, np.nan, np.nan, np.nan])
    assert cosines(rows[:3], np.array([0.0, -3.0])) == pytest.approx([0, -np.sqrt(0.5), -1])


def test_embeddings_of_other_choices_have_another_identity(extractor: Callable[..., ClipImage]) -> None:
    made = [
        ClipImage.from_mapping(values)
        for values in ({}, {"model": "ViT-L-14"}, {"preprocess": "vbench"}, {"sampling": "first", "frames": 2})
    ]
    extractor()  # sets the folder
    assert len({one.identity() for one in made}) == 4
    assert made[0].identity() == ClipImage.from_mapping({"model": "ViT-B-32"}).identity()


def test_the_network_stays_as_it_was_and_threads_are_given_back(
    extractor: Callable[..., ClipImage], moving_square: Callable[..., Pixels]
) -> None:
    before = torch.get_num_threads()
    made = extractor()
    try:
        torch.set_num_threads(before + 1)
        seen(made, moving_square(frames=2))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert not any(module.training for module in made._tower.modules())


def test_importing_the_modules_does_not_import_torch() -> None:
    code = (
        "import sys, vidbench_metrics.clip_score, vidbench_metrics.aesthetic_quality as a, vidbench.plugins as p;"
        "a.AestheticQuality().extractor_specs(); p.extractors().load('clip_image')();"
        "sys.exit(any(name in sys.modules for name in ('torch', 'open_clip', 'PIL', 'cv2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

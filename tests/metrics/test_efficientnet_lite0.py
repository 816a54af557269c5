"""The EfficientNet-Lite0 extractor: are these the pretrained weights, rightly fed, whatever the chunks?"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.errors import InputError, MissingExtraError, PluginError
from vidbench.testing import observe
from vidbench.video import Frames
from vidbench_metrics.extractors import efficientnet_lite0
from vidbench_metrics.extractors.efficientnet_lite0 import (
    EfficientNetLite0,
    EfficientNetLite0Observation,
    load_network,
    weights_file,
)
from vidbench_metrics.extractors.sampled_frames import evenly_spaced

Pixels = NDArray[np.uint8]
needs_models = pytest.mark.skipif(
    EfficientNetLite0.requires.missing() is not None, reason=str(EfficientNetLite0.requires.missing())
)


@pytest.fixture(scope="module")
def extractor() -> EfficientNetLite0:
    made = EfficientNetLite0()
    made.load()
    return made


def _seen(extractor: EfficientNetLite0, pixels: Pixels, chunk: int | None = None) -> EfficientNetLite0Observation:
    seen = observe(extractor, pixels, chunk=chunk)
    assert isinstance(seen, EfficientNetLite0Observation)
    return seen


@needs_models
@pytest.mark.parametrize(
    ("image", "classes"),
    [
        ("chelsea", {281, 282, 285}),  # ImageNet: tabby, tiger cat, Egyptian cat
        ("coffee", {967, 968, 504}),  # espresso, cup, coffee mug
        ("rocket", {657, 744, 812}),  # missile, projectile, space shuttle
    ],
)
def test_photographs_are_recognised(extractor: EfficientNetLite0, image: str, classes: set[int]) -> None:
    """Weights in the wrong places, or pixels in the wrong range or order, would end this."""
    import skimage.data
    import torch

    network: Any = extractor._network
    photograph = np.asarray(getattr(skimage.data, image)())
    features = _seen(extractor, photograph[None]).features
    with torch.inference_mode():
        probabilities = network.classifier(torch.from_numpy(features))[0].softmax(0)
    top = set(probabilities.argsort(descending=True)[:3].tolist())
    assert top & classes
    if image != "rocket":
        assert float(probabilities[list(classes)].sum()) > 0.9


@needs_models
def test_features_match_a_plain_forward_pass_of_timm(
    extractor: EfficientNetLite0, moving_square: Callable[..., Pixels]
) -> None:
    """The network as timm documents it, one frame at a time, without channels_last; preprocessing by Pillow."""
    import timm
    import torch
    from PIL import Image

    clip = moving_square(frames=3, height=90, width=300)
    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    stored = torch.load(weights_file(), weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
    network.reset_classifier(0)
    network.eval()
    expected = []
    for frame in clip:
        small = np.asarray(Image.fromarray(frame).resize((224, 224), Image.Resampling.BILINEAR), dtype=np.float32)
        with torch.inference_mode():
            expected.append(network(torch.from_numpy((small - 127) / 128).permute(2, 0, 1)[None])[0].numpy())
    got = _seen(extractor, clip).features
    # Pillow and torch may round a byte apart; a wrong filter, crop or channel order would differ by tens of per cent.
    error = np.linalg.norm(got - np.stack(expected)) / np.linalg.norm(expected)
    assert error < 0.01


@needs_models
@pytest.mark.parametrize("chunk", [1, 3, 16])
def test_chunks_make_no_difference(
    extractor: EfficientNetLite0, moving_square: Callable[..., Pixels], chunk: int
) -> None:
    clip = moving_square(frames=21)
    np.testing.assert_array_equal(_seen(extractor, clip, chunk).features, _seen(extractor, clip).features)


@needs_models
def test_frames_do_not_depend_on_their_batch(
    extractor: EfficientNetLite0, moving_square: Callable[..., Pixels]
) -> None:
    clip = moving_square(frames=7)
    alone = np.concatenate([_seen(extractor, clip[t : t + 1]).features for t in range(7)])
    together = _seen(extractor, clip).features
    assert np.abs(together - alone).max() <= 1e-5 * np.abs(alone).max()


@needs_models
def test_frames_are_evenly_spaced_and_memory_bounded(
    extractor: EfficientNetLite0, moving_square: Callable[..., Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    network = extractor._network
    monkeypatch.setattr(
        efficientnet_lite0, "features", lambda _, thumbnails: np.zeros((len(thumbnails), 1280), np.float32)
    )
    for frames in (1, 2, 15, 16, 17, 33, 128, 129, 300, 700):
        session = efficientnet_lite0._Session(network, 16)
        for start in range(0, frames, 50):
            pixels = np.zeros((min(50, frames - start), 8, 8, 3), np.uint8)
            session.push(Frames(pixels, np.arange(start, start + len(pixels)) / 8, start))
            held.append(len(session._frames._kept))
        numbers = session.close().frame_numbers
        assert len(numbers) == min(frames, 16)
        ideal = np.linspace(0, frames - 1, len(numbers))
        stride = 1 if frames <= 128 else 2 ** int(np.ceil(np.log2(frames / 128)))
        assert np.abs(numbers - ideal).max() <= (0.5 if stride == 1 else 1.5 * stride)
        assert numbers[-1] == (frames - 1) // stride * stride
        assert (np.diff(numbers) > 0).all()
    assert max(held) <= 128


def test_evenly_spaced_takes_both_ends() -> None:
    assert evenly_spaced(1, 16).tolist() == [0]
    assert evenly_spaced(5, 16).tolist() == [0, 1, 2, 3, 4]
    assert evenly_spaced(100, 3).tolist() == [0, 50, 99]


@needs_models
def test_the_checksum_is_that_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert EfficientNetLite0().weights_checksum() == f"sha256:{efficientnet_lite0.SHA256}"
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(weights_file().read_bytes()[:-1] + b"!")
    monkeypatch.setattr(efficientnet_lite0, "weights_file", lambda: damaged)
    changed = EfficientNetLite0()
    assert changed.weights_checksum() != f"sha256:{efficientnet_lite0.SHA256}"
    with pytest.raises(PluginError, match="not the published weight file"):
        changed.load()


@needs_models
def test_a_state_dict_of_another_network_is_refused(tmp_path: Path) -> None:
    import torch

    stored = torch.load(weights_file(), weights_only=True)
    names = list(stored)
    names[0], names[6] = names[6], names[0]
    for wrong in ({name: stored[name] for name in names}, {name: stored[name] for name in names[:-1]}):
        path = tmp_path / "wrong.pth"
        torch.save(wrong, path)
        with pytest.raises(PluginError, match="of 296 tensors fit"):
            load_network(path)


@needs_models
def test_the_network_stays_as_it_was_and_threads_are_given_back(
    extractor: EfficientNetLite0, moving_square: Callable[..., Pixels]
) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        _seen(extractor, moving_square(frames=2))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert not any(module.training for module in extractor._network.modules())


def test_missing_weights_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite0, "PACKAGE", "no_such_package")
    with pytest.raises(MissingExtraError, match=r"vidbench\[models\]"):
        EfficientNetLite0().weights_checksum()


def test_no_frames_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        EfficientNetLite0.from_mapping({"frames": 0})


def test_importing_the_module_does_not_import_torch() -> None:
    code = (
        "import sys, vidbench_metrics.extractors.efficientnet_lite0, vidbench_metrics.frechet_frame_distance;"
        "sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

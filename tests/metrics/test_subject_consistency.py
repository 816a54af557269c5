"""DINO and subject consistency: the network against timm and DINO's class, preprocessing, formula, refused files."""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench import weights
from vidbench.errors import PluginError, WeightsError
from vidbench.testing import observe, score
from vidbench_metrics.extractors.dino import DinoFeatures, DinoObservation, prepare
from vidbench_metrics.extractors.threads import one_thread
from vidbench_metrics.networks import dino
from vidbench_metrics.subject_consistency import SubjectConsistency, consistencies

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: pip install 'vidbench[models]'"
)
Pixels = NDArray[np.uint8]
SMALL = dino.DinoSize(width=64, depth=2, heads=2)


@pytest.fixture(autouse=True)
def _weights(vbench_weights: Path, small_vbench_networks: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(vbench_weights))
    with one_thread():
        yield


@pytest.fixture
def state(vbench_weights: Path) -> dict[str, Any]:
    import torch

    return dict(torch.load(vbench_weights / "dino_vitbase16_pretrain.pth", weights_only=True))


def _noise(height: int, width: int, seed: int = 2) -> Any:
    import torch

    return torch.from_numpy(np.random.default_rng(seed).normal(0, 1, (1, 3, height, width)).astype(np.float32))


def test_the_keys_and_shapes_are_those_of_timms_vit_b_16() -> None:
    """timm's vision transformer is what DINO's was copied from: the same names."""
    import timm
    import torch

    with torch.device("meta"):
        network = timm.create_model("vit_base_patch16_224", pretrained=False, num_classes=0)
    size = dino.DinoSize(width=768, depth=12, heads=12)
    assert dino.tensor_shapes(size) == {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert len(dino.tensor_shapes(size)) == 150
    assert sum(math.prod(shape) for shape in dino.tensor_shapes(size).values()) == 85_798_656


def test_the_network_matches_timms_at_224_pixels(state: dict[str, Any]) -> None:
    import torch
    from timm.models.vision_transformer import VisionTransformer

    network = VisionTransformer(embed_dim=64, depth=2, num_heads=2, num_classes=0, global_pool="token").eval()
    network.load_state_dict(state)
    x = _noise(224, 224)
    with torch.inference_mode():
        expected = network(x)
    assert expected.abs().max() > 1
    # float32 sums in another order
    assert (dino.Dino(state, SMALL)(x) - expected).abs().max() < 1e-5


GOLDEN = {
    # First three features, from facebookresearch/dino's VisionTransformer (vision_transformer.py, written down from the
    # repository: torch.hub cannot be reached) with the tensors of `vbench_weights`; torch 2.14.1.
    (224, 298): [0.760431, 0.541888, -0.093731],
    (398, 224): [0.758449, 0.526358, -0.174267],
    (224, 238): [0.73601, 0.475013, -0.199674],  # 14 x 14 patches, but not square: interpolated all the same
}


@pytest.mark.parametrize("size", GOLDEN)
def test_golden_features_of_dinos_own_class(state: dict[str, Any], size: tuple[int, int]) -> None:
    found = dino.Dino(state, SMALL)(_noise(*size))[0, :3].numpy()
    assert found == pytest.approx(GOLDEN[size], abs=2e-5)


def _reference_positions(learned: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Bicubic (Keys, a = -0.75) at (i + 0.5) / scale - 0.5, border repeated, scale (patches + 0.1) / 14; float64."""

    def weights_of(size: int) -> NDArray[np.float64]:
        patches = size // 16
        matrix = np.zeros((patches, 14))
        for i in range(patches):
            at = (i + 0.5) / ((patches + 0.1) / 14) - 0.5
            for tap in range(math.floor(at) - 1, math.floor(at) + 3):
                d = abs(at - tap)
                inner = 1.25 * d**3 - 2.25 * d**2 + 1
                outer = -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
                matrix[i, min(max(tap, 0), 13)] += inner if d <= 1 else outer if d < 2 else 0
        return matrix

    grid = learned[0, 1:].reshape(14, 14, -1)
    resized = np.einsum("ia,jb,abd->ijd", weights_of(height), weights_of(width), grid)
    return np.concatenate([learned[0, :1], resized.reshape(-1, learned.shape[2])])


@pytest.mark.parametrize(("height", "width"), [(224, 298), (398, 224), (224, 238), (224, 1792)])
def test_position_embeddings_match_an_independent_bicubic(state: dict[str, Any], height: int, width: int) -> None:
    learned = state["pos_embed"]
    expected = _reference_positions(learned.double().numpy(), height, width)
    found = dino.position_embedding(learned, height, width)[0].numpy()
    assert found.shape == (1 + (height // 16) * (width // 16), 64)
    assert np.abs(found - expected).max() < 2e-5
    # A resize to the exact number of patches, as timm does, is something else.
    import torch

    grid = learned[:, 1:].reshape(1, 14, 14, 64).permute(0, 3, 1, 2)
    plain = torch.nn.functional.interpolate(grid, (height // 16, width // 16), mode="bicubic")
    assert np.abs(plain[0].permute(1, 2, 0).reshape(-1, 64).numpy() - expected[1:]).max() > 1e-3


def test_a_square_of_224_pixels_keeps_the_learned_positions(state: dict[str, Any]) -> None:
    assert dino.position_embedding(state["pos_embed"], 224, 224) is state["pos_embed"]


@pytest.mark.parametrize(("height", "width"), [(72, 96), (224, 224), (320, 512), (481, 270), (30, 233)])
def test_frames_are_prepared_as_torchvision_does(height: int, width: int) -> None:
    import torch
    from torchvision import transforms

    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    transform = transforms.Compose(
        [
            transforms.Resize(size=224, antialias=False),
            transforms.Lambda(lambda x: x.float().div(255.0)),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    expected = transform(torch.from_numpy(pixels).permute(2, 0, 1)[None].float())[0]
    assert prepare(pixels).shape == expected.shape
    assert (prepare(pixels) - expected).abs().max() < 1e-6


def _reference_vbench(features: NDArray[np.float32]) -> float:
    """VBench's loop, in its precision."""
    import torch
    from torch.nn import functional

    total = 0.0
    first = former = functional.normalize(torch.from_numpy(features[:1]), dim=-1, p=2)
    for row in features[1:]:
        now = functional.normalize(torch.from_numpy(row[None]), dim=-1, p=2)
        both = (max(0.0, functional.cosine_similarity(x, now).item()) for x in (former, first))
        total += sum(both) / 2
        former = now
    return total / (len(features) - 1)


def test_the_formula_is_vbenchs(moving_square: Callable[..., Pixels]) -> None:
    clip = moving_square(frames=6, height=60, width=80, speed=7)
    seen = observe(DinoFeatures, clip)
    assert isinstance(seen, DinoObservation)
    assert seen.features.shape == (6, 64)
    result = score(SubjectConsistency, clip)
    assert result.value == pytest.approx(_reference_vbench(seen.features), abs=1e-6)
    assert 0.5 < result.value < 0.9999


def test_cosines_below_zero_count_nothing_and_the_worst_frame_is_named() -> None:
    features = np.array([[1, 0], [0.6, 0.8], [-1, 0], [-1, 0.0]], np.float32)
    # Frame 1: 0.6 and 0.6. Frame 2: -0.6 and -1. Frame 3: 1 and -1.
    assert consistencies(features) == pytest.approx([0.6, 0.0, 0.5])
    frozen = np.repeat(np.random.default_rng(0).normal(size=(1, 768)).astype(np.float32), 5, axis=0)
    assert consistencies(frozen) == pytest.approx([1.0] * 4, abs=1e-12)
    assert consistencies(frozen).max() <= 1


def test_a_strip_is_unscored_and_says_why() -> None:
    result = score(SubjectConsistency, np.zeros((3, 8, 200, 3), np.uint8))
    assert result.value is None
    assert result.reason == "the picture is 200x8 pixels; DINO takes sides of at most 8 to 1"


class _Danger:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.path,))


def test_files_of_other_kinds_are_refused_and_nothing_is_unpickled(state: dict[str, Any], tmp_path: Path) -> None:
    import torch

    trap = tmp_path / "was unpickled"
    qkv = "blocks.1.attn.qkv.weight"
    for content, said in (
        ({**state, "danger": _Danger(trap)}, "it cannot be read as a PyTorch file of tensors"),
        ([1, 2], "it holds a list, not tensors by key"),
        ({k: v for k, v in state.items() if k != qkv}, f"the tensor {qkv} is missing"),
        ({**state, qkv: state[qkv][:5]}, rf"{qkv} has the shape \(5, 64\), not \(192, 64\)"),
        ({**state, qkv: state[qkv] * math.nan}, f"{qkv} holds NaN or infinity"),
        ({**state, "head.weight": state[qkv]}, "it holds head.weight, which the network does not have"),
    ):
        file = io.BytesIO()
        torch.save(content, file)
        with pytest.raises(PluginError, match=said) as caught:
            dino.load_checkpoint(file.getvalue(), "f.pth", SMALL)
        assert str(caught.value).startswith("f.pth does not hold the weights of DINO ViT-B/16: ")
        assert str(caught.value).endswith("remove it and run: vidbench weights fetch dino-vit-b-16")
        assert "\n" not in str(caught.value)
        assert not trap.exists()


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path))
    assert (DinoFeatures().requirements().missing() or "").endswith("vidbench weights fetch dino-vit-b-16")
    with pytest.raises(WeightsError, match=r"vidbench weights fetch dino-vit-b-16$"):
        DinoFeatures().load()


def test_the_checksum_is_that_of_the_file(vbench_weights: Path) -> None:
    import hashlib

    digest = hashlib.sha256((vbench_weights / weights.find("dino-vit-b-16").file).read_bytes()).hexdigest()
    assert DinoFeatures().weights_checksum() == f"sha256:{digest}"

"""Inception, VideoMAE and V-JEPA: the same numbers as the packages they come from, with the same random weights."""

from __future__ import annotations

import functools
import importlib.util
import io
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.errors import PluginError, WeightsError
from vidbench.testing import observe
from vidbench_metrics import inception_network
from vidbench_metrics import video_transformer as vt
from vidbench_metrics.extractors import inception
from vidbench_metrics.extractors.inception import InceptionObservation, InceptionV3
from vidbench_metrics.extractors.videomae import VideoMaeObservation, VideoMaeV2
from vidbench_metrics.extractors.vjepa import VJepaH, VJepaObservation

State = dict[str, NDArray[np.float32]]

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed: pip install 'vidbench[models]'", allow_module_level=True)

SMALL = vt.TransformerConfig(width=32, depth=2, heads=4, hidden=64, patch=14)
SMALL_JEPA = vt.TransformerConfig(width=32, depth=2, heads=4, hidden=64, patch=16)


def _saved(content: Any) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _tensors(state: State) -> dict[str, Any]:
    import torch

    return {key: torch.from_numpy(value) for key, value in state.items()}


def _near(ours: Any, theirs: Any) -> None:
    """Within 1e-5 of the largest feature, which must not be alike for all windows."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    assert np.ptp(theirs) > 1e-3
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_the_published_sizes() -> None:
    shapes = vt.videomae_shapes(vt.VIDEOMAE_GIANT)
    assert (len(shapes), sum(map(math.prod, shapes.values()))) == (526, 1_011_855_918)
    assert vt.VJEPA_HUGE.grid == (8, 14, 14)
    assert vt.vjepa_shapes(vt.VJEPA_HUGE)["pos_embed"] == (1, 1568, 1280)
    assert len(inception_network.units()) == 94
    assert len(inception_network.tensor_shapes()) == 472


def test_inception_is_torch_fidelitys(random_state: Callable[..., State], tmp_path: Path) -> None:
    import torch

    if importlib.util.find_spec("torch_fidelity") is None:
        pytest.skip("torch-fidelity is not installed: pip install torch-fidelity")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    state = _tensors(random_state(inception_network.tensor_shapes()))
    counters = {f"{name}.bn.num_batches_tracked": torch.tensor(0) for name in inception_network.units()}
    path = tmp_path / "inception.pth"
    torch.save({**state, **counters}, path)
    theirs = FeatureExtractorInceptionV3("test", ["2048"], feature_extractor_weights_path=str(path))
    frames = np.random.default_rng(0).integers(0, 256, (2, 60, 90, 3), np.uint8)
    expected = theirs(torch.from_numpy(frames.transpose(0, 3, 1, 2)))[0]
    network = inception_network.load_checkpoint(path.read_bytes(), "inception.pth")
    _near(network(torch.stack([inception.prepare(frame) for frame in frames])), expected)


def test_frames_of_fid_are_evenly_spaced(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(random_weights))
    made = InceptionV3.from_mapping({"frames": 3})
    made.load()
    clip = np.arange(9, dtype=np.uint8)[:, None, None, None].repeat(20, 1).repeat(20, 2).repeat(3, 3) * 28
    clip[:, :10] //= 2
    seen = observe(made, clip, chunk=2)
    assert isinstance(seen, InceptionObservation)
    assert seen.frame_numbers.tolist() == [0, 4, 8]
    alone = observe(made, clip[4:5])
    assert isinstance(alone, InceptionObservation)
    np.testing.assert_array_equal(seen.features[1], alone.features[0])
    assert seen.unpublished.startswith("sha256:")
    # A frame that takes more memory than what the network wants of it is prepared at once, to the same end.
    large = np.random.default_rng(0).integers(0, 256, (1, 700, 600, 3), np.uint8)
    with monkeypatch.context() as patch:
        first = observe(made, large)
        patch.setattr(inception, "_smaller", lambda pixels: pixels.copy())
        np.testing.assert_array_equal(first.features, observe(made, large).features)  # type: ignore[attr-defined]


@pytest.mark.parametrize("frames", [16, 8, 24])
def test_videomae_is_cd_fvds(random_state: Callable[..., State], frames: int) -> None:
    import torch

    if importlib.util.find_spec("cdfvd") is None:
        pytest.skip("cd-fvd is not installed: pip install cd-fvd")
    from cdfvd.third_party.VideoMAEv2.videomaev2_finetune import VisionTransformer

    theirs = VisionTransformer(
        patch_size=SMALL.patch,
        embed_dim=SMALL.width,
        depth=SMALL.depth,
        num_heads=SMALL.heads,
        mlp_ratio=SMALL.hidden / SMALL.width,
        qkv_bias=True,
        norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
        num_classes=SMALL.classes,
        all_frames=16,
        tubelet_size=2,
        use_mean_pooling=True,
    ).eval()
    state = _tensors(random_state(vt.videomae_shapes(SMALL)))
    theirs.load_state_dict(state)
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 1, (2, 3, frames, 224, 224)).astype(np.float32))
    with torch.no_grad():
        expected = theirs.forward_features(x)
    for content in ({"module": state}, {"model": state}, state):
        network = vt.load_videomae(_saved(content), "file", SMALL)
    _near(network(x), expected)


@pytest.mark.parametrize("size", [(16, 224, 224), (8, 48, 70)])
def test_vjepa_is_jedis(random_state: Callable[..., State], size: tuple[int, int, int]) -> None:
    """On PyPI vjepa 0.1.2, which videojedi 1.1.0 is built on."""
    import torch

    if importlib.util.find_spec("vjepa") is None:
        pytest.skip("vjepa is not installed: pip install --no-deps vjepa==0.1.2")
    from vjepa.models.attentive_pooler import AttentiveClassifier
    from vjepa.models.vision_transformer import VisionTransformer

    encoder = VisionTransformer(
        img_size=224,
        patch_size=16,
        num_frames=16,
        tubelet_size=2,
        embed_dim=SMALL_JEPA.width,
        depth=SMALL_JEPA.depth,
        num_heads=SMALL_JEPA.heads,
        mlp_ratio=SMALL_JEPA.hidden / SMALL_JEPA.width,
        norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
    ).eval()
    probe = AttentiveClassifier(
        embed_dim=SMALL_JEPA.width,
        num_heads=SMALL_JEPA.heads,
        mlp_ratio=SMALL_JEPA.hidden / SMALL_JEPA.width,
        num_classes=SMALL_JEPA.classes,
    ).eval()
    states = [_tensors(random_state(shapes(SMALL_JEPA))) for shapes in (vt.vjepa_shapes, vt.probe_shapes)]
    encoder.load_state_dict(states[0])
    probe.load_state_dict(states[1])
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for an attention backend in a way that torch has retired
        expected = probe.pooler(encoder(x)).squeeze(1)
    network = vt.load_vjepa(
        _saved({"target_encoder": {f"module.backbone.{key}": value for key, value in states[0].items()}, "epoch": 300}),
        _saved({"classifier": {f"module.{key}": value for key, value in states[1].items()}, "epoch": 20}),
        ("vith16.pth.tar", "ssv2-probe.pth.tar"),
        SMALL_JEPA,
    )
    _near(network(x), expected)


def test_windows_of_the_transformers(small_transformers: None) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (35, 24, 30, 3), np.uint8)
    mae = VideoMaeV2.from_mapping({"start": "all"})
    mae.load()
    seen = observe(mae, clip, chunk=5)
    assert isinstance(seen, VideoMaeObservation)
    assert seen.starts.tolist() == [0, 16]
    second = observe(mae, clip[16:])
    assert isinstance(second, VideoMaeObservation)
    np.testing.assert_allclose(seen.features[1], second.features[0], atol=1e-6)
    assert mae.weights_checksum().startswith("sha256:")
    native, squashed = (VJepaH.from_mapping({"side": side, "start": "first"}) for side in (0, 224))
    native.load()
    squashed.load()
    one, other = observe(native, clip), observe(squashed, clip)
    assert isinstance(one, VJepaObservation)
    assert isinstance(other, VJepaObservation)
    assert one.features.shape == other.features.shape == (1, SMALL_JEPA.width)
    assert not np.allclose(one.features, other.features)
    with pytest.raises(Exception, match="takes frames of 16 to 512 pixels, not 30x8"):
        observe(native, clip[:, :8])


Damage = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "fc_norm.bias"}, "the tensor fc_norm.bias is missing"),
        (lambda s: {**s, "fc_norm.bias": s["fc_norm.bias"][:3]}, "fc_norm.bias has the shape (3,), not (32,)"),
        (lambda s: {**s, "more": s["fc_norm.bias"]}, "it holds more, which the network does not have"),
        (lambda s: {**s, "fc_norm.bias": s["fc_norm.bias"] * math.nan}, "fc_norm.bias holds NaN"),
        (lambda s: {"model": [1, 2]}, "its model is a list, not tensors by key"),
        (lambda s: [1, 2], "it holds a list, not tensors by key"),
    ],
)
def test_other_checkpoints_are_refused(random_state: Callable[..., State], damage: Damage, said: str) -> None:
    data = _saved(damage(_tensors(random_state(vt.videomae_shapes(SMALL)))))
    with pytest.raises(PluginError) as caught:
        vt.load_videomae(data, "vit_g.pth", SMALL)
    message = str(caught.value)
    assert message.startswith(f"vit_g.pth is not the VideoMAE-v2 checkpoint: {said}")
    assert message.endswith("remove it and run: vidbench weights fetch videomae-v2-ssv2")


class _Danger:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.path,))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trap = tmp_path / "was unpickled"
    for data in (_saved({"model": _Danger(trap)}), b"nothing of torch", b""):
        with pytest.raises(PluginError, match="is not the V-JEPA checkpoint: it cannot be read"):
            vt.load_vjepa(data, data, ("a", "b"), SMALL_JEPA)
        with pytest.raises(PluginError, match="is not the Inception checkpoint of FID: it cannot be read"):
            inception_network.load_checkpoint(data, "a")
        assert not trap.exists()


@pytest.mark.parametrize(
    ("extractor", "names"),
    [
        (InceptionV3, ("inception-2015-12-05",)),
        (VideoMaeV2, ("videomae-v2-ssv2",)),
        (VJepaH, ("vjepa-vith16", "vjepa-ssv2-probe")),
    ],
)
def test_missing_weights_name_the_commands(
    extractor: Any, names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path))
    said = (extractor().requirements().missing() or "").split("; ")
    assert [part.rsplit(": ", 1)[1] for part in said] == [f"vidbench weights fetch {name}" for name in names]
    with pytest.raises(WeightsError, match=f"vidbench weights fetch {names[0]}$"):
        extractor().load()


def test_a_small_network_is_refused_where_the_published_one_is_meant(
    random_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(random_weights))
    with pytest.raises(PluginError, match=r"has the shape \(32, .*, not \(1408, "):
        VideoMaeV2().load()
    assert "torch" in sys.modules

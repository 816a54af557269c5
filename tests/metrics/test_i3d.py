"""I3D: golden logits, the checkpoint's keys, refused files, frame choice and preprocessing."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench import weights
from vidbench.errors import InputError, PluginError, WeightsError
from vidbench.testing import observe
from vidbench.video import Frames
from vidbench_metrics.extractors import i3d, resize, windows
from vidbench_metrics.extractors.i3d import I3D, I3DObservation, I3DParameters
from vidbench_metrics.i3d_network import I3D as I3DNetwork  # the network, not the extractor
from vidbench_metrics.i3d_network import check_state, load_checkpoint, max_pool_same, same_padding, tensor_shapes

ORACLES = Path(__file__).resolve().parents[3] / "shared" / "oracles"
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: pip install 'vidbench[models]'"
)
needs_oracles = pytest.mark.skipif(
    not (ORACLES / "i3d_random_weights.py").is_file(), reason=f"the portable random weights are not at {ORACLES}"
)

GOLDEN = {
    # First five logits of the first of two clips, from the real TF-Hub graph (1e-3) and cd-fvd's class (1e-5), with the
    # portable random weights; tensorflow-cpu 2.21 and torch 2.14.1.
    1e-3: [7349.231, -7474.182, 48470.344, -2198.955, 1722.512],
    1e-5: [8025.456, -7931.455, 51500.078, -2628.699, 1787.422],
}


@pytest.fixture(scope="module")
def oracle() -> ModuleType:
    spec = importlib.util.spec_from_file_location("i3d_random_weights", ORACLES / "i3d_random_weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _saved(state: dict[str, Any]) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save({key: torch.from_numpy(value) for key, value in state.items()}, file)
    return file.getvalue()


@needs_torch
@needs_oracles
@pytest.mark.parametrize("epsilon", GOLDEN)
def test_golden_logits(oracle: ModuleType, epsilon: float) -> None:
    """Logit by logit within 1e-5 in float64; float32 rounds 57 layers, and is as near as float32 can be.

    The golden numbers are float32 results themselves. Measured, logit by logit: float64 against them 4.7e-6 (epsilon
    1e-3) and 8.6e-6 (1e-5); our float32 1.2e-5 and 2.6e-5, which is rounding: of all 400 logits the median differs
    from float64 by 4e-7 of itself, and the largest difference is 4e-7 of the largest logit, as with cd-fvd's class.
    """
    import torch

    state = {key: torch.from_numpy(value) for key, value in oracle.random_state().items()}
    clips = np.random.default_rng(1).uniform(-1, 1, (2, 3, 16, 224, 224)).astype(np.float32)
    clip = torch.from_numpy(clips[:1])
    golden = np.array(GOLDEN[epsilon])
    exact = I3DNetwork(state, epsilon, double=True)(clip.double()).numpy()[0]
    assert exact.shape == (400,)
    assert (np.abs(exact[:5] - golden) / np.abs(golden)).max() <= 1e-5
    # The other epsilon is a thousand times as far away: the test can tell them apart.
    other = np.array(GOLDEN[1e-3 if epsilon == 1e-5 else 1e-5])
    assert (np.abs(exact[:5] - other) / np.abs(golden)).max() > 1e-2
    logits = I3DNetwork(state, epsilon)(clip).double().numpy()[0]
    assert np.abs(logits - exact).max() <= 1e-6 * np.abs(exact).max()
    assert np.median(np.abs(logits - exact) / np.abs(exact)) <= 1e-6


@needs_oracles
def test_the_keys_and_shapes_are_the_public_checkpoints() -> None:
    listed = json.loads((ORACLES / "i3d_state.json").read_text())
    assert len(listed) == 287
    assert tensor_shapes() == {key: tuple(shape) for key, shape in listed.items()}
    assert sum(math.prod(shape) for shape in tensor_shapes().values()) == 12_711_824


@needs_torch
@pytest.mark.parametrize("frames", [9, 10])
def test_the_network_matches_a_plain_one_of_torch_modules(
    i3d_state: dict[str, NDArray[np.float32]], frames: int
) -> None:
    """Written from the architecture's table with torch's own batch norm and pools and explicit zero padding.

    Odd lengths pad otherwise than even ones, here and after the first halving.
    """
    import torch

    state = {key: torch.from_numpy(value) for key, value in i3d_state.items()}
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, frames, 224, 224)).astype(np.float32))
    epsilon = 1e-2  # large, so that an epsilon that is forgotten shows
    expected = _reference_logits(state, x, epsilon)
    got = load_checkpoint(_saved(i3d_state), epsilon, "random")(x)
    assert expected.abs().max() > 0.1
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def _reference_logits(state: dict[str, Any], x: Any, epsilon: float) -> Any:
    import torch
    from torch.nn import functional as f

    def pad(x: Any, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Any:
        sides: list[int] = []
        for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
            total = max((math.ceil(size / s) - 1) * s + k - size, 0)
            sides = [total // 2, total - total // 2, *sides]
        return f.pad(x, sides)

    def unit(name: str, x: Any, stride: int = 1) -> Any:
        weight = state[f"{name}.conv3d.weight"]
        x = f.conv3d(pad(x, tuple(weight.shape[2:]), (stride,) * 3), weight, stride=stride)
        mean, variance, gamma, beta = (
            state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return f.relu(f.batch_norm(x, mean, variance, gamma, beta, training=False, eps=epsilon))

    def pool(x: Any, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Any:
        return f.max_pool3d(pad(x, kernel, stride), kernel, stride)

    with torch.inference_mode():
        x = pool(unit("Conv3d_1a_7x7", x, 2), (1, 3, 3), (1, 2, 2))
        x = unit("Conv3d_2c_3x3", unit("Conv3d_2b_1x1", x))
        pools = {"3b": ((1, 3, 3), (1, 2, 2)), "4b": ((3, 3, 3), (2, 2, 2)), "5b": ((2, 2, 2), (2, 2, 2))}
        for block in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"):
            if block in pools:
                x = pool(x, *pools[block])
            m = f"Mixed_{block}"
            branches = [unit(f"{m}.b0", x), unit(f"{m}.b1b", unit(f"{m}.b1a", x))]
            branches += [unit(f"{m}.b2b", unit(f"{m}.b2a", x)), unit(f"{m}.b3b", pool(x, (3, 3, 3), (1, 1, 1)))]
            x = torch.cat(branches, dim=1)
        x = f.avg_pool3d(x, (2, 7, 7), stride=1)
        x = f.conv3d(x, state["logits.conv3d.weight"], state["logits.conv3d.bias"])
        return x.squeeze(4).squeeze(3).mean(dim=2)


@needs_torch
@pytest.mark.parametrize("kernel", [(1, 3, 3), (3, 3, 3), (2, 2, 2)])
@pytest.mark.parametrize("stride", [(1, 2, 2), (2, 2, 2), (1, 1, 1)])
def test_the_split_pool_is_the_whole_pool(kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
    import torch
    from torch.nn import functional

    for sizes in ((8, 9, 12), (5, 7, 7), (2, 4, 3)):
        x = torch.from_numpy(np.random.default_rng(0).uniform(0, 1, (2, 3, *sizes)).astype(np.float32))
        pads = same_padding(sizes, kernel, stride)
        flat = [n for pad in reversed(pads) for n in pad]
        expected = functional.max_pool3d(functional.pad(x, flat), kernel, stride)
        assert torch.equal(max_pool_same(x, kernel, stride), expected)


def _without(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != "Mixed_4c.b1b.bn.running_var"}


@needs_torch
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_without, "the tensor Mixed_4c.b1b.bn.running_var is missing"),
        (
            lambda s: {**s, "logits.conv3d.bias": s["logits.conv3d.bias"][:399]},
            "logits.conv3d.bias has the shape (399,), not (400,)",
        ),
        (lambda s: {**s, "head.weight": s["logits.conv3d.bias"]}, "it holds head.weight, which the network does not"),
        (lambda s: {**s, "logits.conv3d.bias": s["logits.conv3d.bias"] * np.nan}, "logits.conv3d.bias holds NaN"),
    ],
)
def test_a_mutated_checkpoint_is_refused(
    i3d_state: dict[str, Any], damage: Callable[[dict[str, Any]], dict[str, Any]], said: str
) -> None:
    import torch

    mutated = {key: torch.from_numpy(value) for key, value in damage(i3d_state).items()}
    with pytest.raises(PluginError) as caught:
        check_state(mutated, "i3d_pretrained_400.pt")
    message = str(caught.value)
    assert message.startswith(f"i3d_pretrained_400.pt is not the I3D checkpoint: {said}")
    assert message.endswith("run: vidbench weights fetch i3d")
    assert "\n" not in message


@needs_torch
def test_counters_of_batch_norms_play_no_part(i3d_state: dict[str, Any]) -> None:
    import torch

    state = {key: torch.from_numpy(value) for key, value in i3d_state.items()}
    check_state({**state, "Conv3d_1a_7x7.bn.num_batches_tracked": torch.tensor(5)}, "file")


class _Danger:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.path,))


@needs_torch
def test_files_of_other_kinds_are_refused_and_nothing_is_unpickled(tmp_path: Path) -> None:
    import torch

    trap = tmp_path / "was unpickled"
    files = [b"not a file of torch"]
    for content in ([1, 2], {"logits.conv3d.bias": _Danger(trap)}):
        file = io.BytesIO()
        torch.save(content, file)
        files.append(file.getvalue())
    for data in files:
        with pytest.raises(PluginError, match=r"f\.pt is not the I3D checkpoint: it (cannot be read|holds a list)"):
            load_checkpoint(data, 1e-3, "f.pt")
        assert not trap.exists()


@needs_torch
def test_a_wrong_checksum_is_refused_before_anything_is_loaded(
    random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file in place without --unpublished, as after a damaged copy."""
    (tmp_path / "i3d_pretrained_400.pt").write_bytes((random_weights / "i3d_pretrained_400.pt").read_bytes())
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"wrong checksum: git sha1 .*published is a867b87ac3a9097d…; remove it and"):
        I3D().load()
    assert "wrong checksum" in (I3D().requirements().missing() or "")


@needs_torch
def test_missing_weights_name_the_command_of_the_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path))
    for backend, name in (("checkpoint", "i3d"), ("torchscript", "i3d-torchscript")):
        made = I3D(I3DParameters(backend=backend))
        assert (made.requirements().missing() or "").endswith(f"vidbench weights fetch {name}")
        with pytest.raises(WeightsError, match=f"vidbench weights fetch {name}$"):
            made.load()


@needs_torch
def test_a_torchscript_program_runs_only_if_it_is_the_published_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small program with the signature of StyleGAN-V's stands in for it."""
    program = _program()
    row = weights.table()["i3d-torchscript"]
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path / "folder"))
    (tmp_path / "program.pt").write_bytes(program)
    weights.import_file(row, tmp_path / "program.pt", unpublished=True)
    made = I3D(I3DParameters(backend="torchscript", frames=9))
    with pytest.raises(PluginError, match=r"not the published program, and no other is run; .*fetch i3d-torchscript$"):
        made.load()
    digests = weights._hash(tmp_path / "program.pt")
    published = {**weights.table(), row.name: replace(row, git_sha1=digests.git_sha1)}
    monkeypatch.setattr(weights, "table", lambda: published)
    made.load()
    clip = np.full((9, 30, 40, 3), 255, np.uint8)
    seen = observe(made, clip)
    assert isinstance(seen, I3DObservation)
    assert seen.features == pytest.approx(np.full((1, 400), 9.0))  # rescale and resize off, features on
    assert made.weights_checksum() == f"sha256:{digests.sha256}"


def _program() -> bytes:
    import torch

    class Stand(torch.nn.Module):  # type: ignore[misc]
        def forward(
            self, x: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
        ) -> torch.Tensor:
            wrong = float(rescale) + float(resize) + float(not return_features) + float(x.shape[3] != 224)
            return x.sum(dim=2).mean(dim=(1, 2, 3)).unsqueeze(1).repeat(1, 400) + 1000 * wrong

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.save(torch.jit.script(Stand()), file)
    return file.getvalue()


def _session(parameters: I3DParameters, seen: list[Any]) -> i3d._Session:
    """A session whose network gives the mean of each window's first and last frame."""
    import torch

    def network(batch: Any) -> Any:
        seen.append(batch)
        ends = torch.stack([batch[:, :, 0].mean(dim=(1, 2, 3)), batch[:, :, -1].mean(dim=(1, 2, 3))], dim=1)
        return ends.repeat(1, 200)

    return i3d._Session(network, parameters, "")


def _numbered(frames: int, chunk: int, first: int = 0) -> list[Frames]:
    """Frame t is of the grey level t (first has its own, to seed the choice)."""
    pixels = np.repeat(np.arange(frames, dtype=np.uint8)[:, None, None, None], 3, axis=3)
    pixels = np.ascontiguousarray(np.broadcast_to(pixels, (frames, 6, 6, 3)))
    pixels[0, 0, 0, 0] = first
    return [
        Frames(pixels[at : at + chunk], np.arange(at, min(at + chunk, frames)) / 8, at)
        for at in range(0, frames, chunk)
    ]


def _closed(parameters: I3DParameters, frames: int, chunk: int = 5, first: int = 0) -> tuple[I3DObservation, list[Any]]:
    batches: list[Any] = []
    session = _session(parameters, batches)
    for part in _numbered(frames, chunk, first):
        session.push(part)
    return session.close(), batches


@needs_torch
@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_the_first_window_and_all_windows(chunk: int) -> None:
    first, _ = _closed(I3DParameters(frames=9, start="first"), 30, chunk)
    assert first.starts.tolist() == [0]
    # Grey level v is 2 v / 255 - 1.
    assert ((first.features[0, :2] + 1) * 255 / 2).tolist() == pytest.approx([0, 8], abs=0.05)
    every, batches = _closed(I3DParameters(frames=9, start="all"), 60, chunk)
    assert every.starts.tolist() == [0, 9, 18, 27, 36, 45]
    assert ((every.features[:, 1] + 1) * 255 / 2).tolist() == pytest.approx([8, 17, 26, 35, 44, 53], abs=0.05)
    assert [len(batch) for batch in batches] == [4, 2]


@needs_torch
def test_the_random_window_is_any_window_alike_and_always_the_same_for_a_clip() -> None:
    counts: Counter[int] = Counter()
    for first in range(120):
        seen, _ = _closed(I3DParameters(frames=9), 12, chunk=1 + first % 7, first=first)
        if first < 20:
            again, _ = _closed(I3DParameters(frames=9), 12, chunk=12, first=first)
            assert seen.starts.tolist() == again.starts.tolist()
        start = int(seen.starts[0])
        assert (seen.features[0, 1] + 1) * 255 / 2 == pytest.approx(start + 8, abs=0.05)
        counts[start] += 1
    assert set(counts) == {0, 1, 2, 3}
    assert min(counts.values()) > 15  # 30 expected, 4.7 the deviation
    seeds = {int(_closed(I3DParameters(frames=9, seed=seed), 40)[0].starts[0]) for seed in range(8)}
    assert len(seeds) > 3


@needs_torch
@pytest.mark.parametrize("start", ["first", "random", "all"])
def test_short_clips_have_no_window_and_exact_ones_have_one(start: str) -> None:
    short, _ = _closed(I3DParameters(frames=9, start=start), 8)
    assert short.features.shape == (0, 400)
    assert short.starts.tolist() == []
    exact, _ = _closed(I3DParameters(frames=9, start=start), 9)
    assert exact.starts.tolist() == [0]


@needs_torch
def test_memory_is_bounded_by_a_few_windows() -> None:
    for start in ("first", "random", "all"):
        session, held = _session(I3DParameters(frames=9, start=start), []), []
        for part in _numbered(250, 10):
            session.push(part)
            kept = {id(f) for window in [*session._growing, *session._whole] for f in window.frames}
            held.append(len(kept))
        session.close()
        assert max(held) <= 9 * windows.BATCH


@needs_torch
def test_batches_make_no_difference(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(random_weights))
    clip = np.random.default_rng(0).integers(0, 256, (18, 24, 24, 3), np.uint8)
    made = I3D(I3DParameters(frames=9, start="all"))
    made.load()
    both, second = observe(made, clip), observe(made, clip[9:])
    assert isinstance(both, I3DObservation)
    assert isinstance(second, I3DObservation)
    assert np.abs(both.features[1] - second.features[0]).max() <= 1e-6 * np.abs(second.features).max()
    assert both.unpublished.startswith("sha256:")
    assert made.weights_checksum().endswith("(not the published weights: the checksum differs)")


def _tf1_pixel(picture: NDArray[np.float64], side: int, i: int, j: int) -> NDArray[np.float64]:
    """The definition in tensorflow/core/kernels/image/resize_bilinear_op.cc with LegacyScaler, one pixel at a time."""
    height, width = picture.shape[:2]
    y, x = i * height / side, j * width / side
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = picture[top, left] + (picture[top, right] - picture[top, left]) * (x - left)
    lower = picture[bottom, left] + (picture[bottom, right] - picture[bottom, left]) * (x - left)
    return np.asarray(upper + (lower - upper) * (y - top))


def _half_pixel(picture: NDArray[np.float64], size: tuple[int, int], i: int, j: int) -> NDArray[np.float64]:
    """Bilinear with pixel centres at halves, one pixel at a time."""
    value = np.zeros(3)
    spans = []
    for at, out, length in zip((i, j), size, picture.shape[:2], strict=True):
        source = max((at + 0.5) * length / out - 0.5, 0)
        low = min(math.floor(source), length - 1)
        spans.append(((low, 1 - source + low), (min(low + 1, length - 1), source - low)))
    for row, a in spans[0]:
        for column, b in spans[1]:
            value += a * b * picture[row, column]
    return value


@needs_torch
@pytest.mark.parametrize(("height", "width"), [(30, 41), (224, 100), (500, 300), (7, 7)])
def test_resizes_match_their_definitions_pixel_by_pixel(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    picture = pixels.astype(np.float64)
    frame = resize.to_tensor(pixels)
    legacy, squashed = (made(frame, 224).numpy() for made in (resize.squash_tf1, resize.squash))
    cropped = resize.crop(frame, 224).numpy()
    scale = 224 / min(height, width)
    size = (224, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), 224)
    top, left = (size[0] - 224) // 2, (size[1] - 224) // 2
    # Positions are float32 in the originals: wrong by 3e-5 of a pixel at the far side of 500, times the contrast.
    for i, j in [(0, 0), (223, 223), (0, 223), *rng.integers(0, 224, (40, 2)).tolist()]:
        assert legacy[:, i, j] == pytest.approx(_tf1_pixel(picture, 224, i, j), abs=1e-2)
        assert squashed[:, i, j] == pytest.approx(_half_pixel(picture, (224, 224), i, j), abs=1e-2)
        assert cropped[:, i, j] == pytest.approx(_half_pixel(picture, size, i + top, j + left), abs=1e-2)


@needs_torch
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("shape", [(3, 40, 6), (3, 17, 130)])
def test_strips_are_cropped_as_other_frames_are(
    shape: tuple[int, int, int], antialias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way that enlarges only the centre gives what enlarging everything gives."""
    import torch

    frame = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32))
    whole = resize.crop(frame, 224, antialias=antialias).numpy()
    monkeypatch.setattr(resize, "STRIP", 2)
    np.testing.assert_allclose(resize.crop(frame, 224, antialias=antialias).numpy(), whole, atol=1e-2)
    monkeypatch.undo()
    assert resize.crop(torch.zeros(3, 1, 1_000_000), 224).shape == (3, 224, 224)  # 0.6 TB if enlarged whole


@needs_torch
def test_tf1_halving_takes_every_second_pixel_and_torch_the_mean_of_four() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (448, 448, 3), np.uint8)
    frame = resize.to_tensor(pixels)
    np.testing.assert_array_equal(resize.squash_tf1(frame, 224).numpy(), frame.numpy()[:, ::2, ::2])
    means = frame.numpy().reshape(3, 224, 2, 224, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(resize.squash(frame, 224).numpy(), means, atol=1e-3)


@needs_torch
@pytest.mark.parametrize("name", ["squash", "squash_tf1", "crop"])
def test_frames_of_224_pass_through_and_span_the_range(name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    pixels[0, 0], pixels[0, 1] = 0, 255
    made = i3d.prepare(pixels, I3DParameters(resize=name)).numpy()
    np.testing.assert_allclose(made, pixels.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    assert (made.min(), made.max()) == pytest.approx((-1, 1))


@needs_torch
def test_the_loader_of_cd_fvd_cuts_off_to_whole_numbers() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    made = resize.through_loader(resize.to_tensor(pixels), 32).numpy()
    assert made.shape == (3, 32, 32)
    assert (made == np.floor(made)).all()
    smooth = resize.crop(resize.to_tensor(pixels), 32, antialias=True).numpy()
    assert (smooth - made).min() > -1e-3
    assert (smooth - made).max() < 1 + 1e-3


@pytest.mark.parametrize(
    "values",
    [{"frames": 8}, {"resize": "stretch"}, {"start": "last"}, {"backend": "onnx"}, {"epsilon": 0}, {"resolution": -1}],
)
def test_parameters_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        I3D.from_mapping(values)


def test_importing_the_modules_does_not_import_torch() -> None:
    code = "import sys, vidbench_metrics.fvd, vidbench_metrics.kvd; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

"""RAFT and dynamic degree: names of tensors both ways, flow against the authors', frames taken, VBench's verdict."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.errors import InputError, PluginError, WeightsError
from vidbench.metric import Observations
from vidbench.testing import observe, score, synthetic_clips
from vidbench.testing._run import clip_of, facts_of
from vidbench.video import Frames
from vidbench_metrics.dynamic_degree import DynamicDegree, moves, pairs_needed, threshold
from vidbench_metrics.extractors import raft_flow
from vidbench_metrics.extractors.raft_flow import (
    RaftFlow,
    RaftFlowObservation,
    RaftFlowParameters,
    interval_of,
    rate_of,
    top_mean,
)
from vidbench_metrics.extractors.threads import one_thread
from vidbench_metrics.networks import raft

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None,
    reason="torchvision is not installed: pip install 'vidbench[models]'",
)


@pytest.fixture(autouse=True)
def _weights(vbench_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(vbench_weights))
    with one_thread():
        yield


@pytest.fixture
def original(vbench_weights: Path) -> dict[str, Any]:
    import torch

    return dict(torch.load(vbench_weights / "raft-things.pth", weights_only=True))


def test_every_tensor_has_one_name_on_either_side(original: dict[str, Any]) -> None:
    ours = raft.tensor_shapes()
    theirs = {raft.original_name(key) for key in ours}
    assert len(theirs) == len(ours) == 154
    assert raft.original_name("feature_encoder.layer2.0.downsample.0.bias") == "fnet.layer2.0.downsample.0.bias"
    assert (
        raft.original_name("context_encoder.layer3.1.convnormrelu2.1.running_var") == "cnet.layer3.1.norm2.running_var"
    )
    assert raft.original_name("update_block.recurrent_block.convgru2.convq.weight") == "update_block.gru.convq2.weight"
    # There and back with random tensors: each arrives at its own name, with its own content.
    import torch

    found = raft.from_original(original)
    assert set(found) == set(ours)
    back = {f"module.{raft.original_name(key)}": value for key, value in found.items()}
    assert all(torch.equal(back[key], original[key]) for key in back)
    assert set(original) - set(back) == {f"module.cnet.layer{n}.0.norm3.{p}" for n in (2, 3) for p in NORM}


NORM = ("weight", "bias", "running_mean", "running_var")


def _pictures() -> tuple[Any, Any]:
    """As in benchmarks/parity_vbench.py."""
    import torch

    noise = np.random.default_rng(1).uniform(40, 215, (12, 16, 3))
    rows, columns = np.linspace(0, 10, 170), np.linspace(0, 14, 220)
    low, left = rows.astype(int), columns.astype(int)
    y, x = (rows - low)[:, None, None], (columns - left)[None, :, None]
    above = (1 - x) * noise[low][:, left] + x * noise[low][:, left + 1]
    below = (1 - x) * noise[low + 1][:, left] + x * noise[low + 1][:, left + 1]
    whole = (1 - y) * above + y * below
    one, other = (torch.from_numpy(c.round().astype(np.float32)).permute(2, 0, 1) for c in _cuts(whole))
    return one, other


def _cuts(whole: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return whole[:150, :200], whole[5:155, 7:207]


def test_golden_flow_of_the_authors_class(original: dict[str, Any]) -> None:
    """From benchmarks/parity_vbench.py: princeton-vl's RAFT in vbench 0.1.5, iters=20, the same random weights."""
    network = raft.Raft(raft.from_original(original))
    one, other = _pictures()
    flow, cells = network(network.features(one), network.features(other), 20)
    assert tuple(flow.shape) == (2, 152, 200)
    assert tuple(cells.shape) == (2, 19, 25)
    found = [float(flow[c, y, x]) for c, y, x in ((0, 10, 10), (1, 75, 100), (0, 140, 190))]
    assert found == pytest.approx([11.207884, 2.273814, 7.042515], abs=1e-3)
    assert float(flow.mean()) == pytest.approx(7.634152, abs=1e-3)


def test_the_zip_the_bare_file_and_torchvisions_file_are_one_network(vbench_weights: Path) -> None:
    clip = synthetic_clips(1, frames=2, height=122, width=126)[0]
    seen = [observe(_loaded(RaftFlowParameters(weights=name, iterations=2)), clip) for name in raft_flow.WEIGHTS]
    assert isinstance(seen[0], RaftFlowObservation)
    assert isinstance(seen[1], RaftFlowObservation)
    np.testing.assert_array_equal(seen[0].top, seen[1].top)
    bare = raft.load_original((vbench_weights / "raft-things.pth").read_bytes(), "raft-things.pth")
    one, other = _pictures()
    zipped = raft.load_original((vbench_weights / "raft-models.zip").read_bytes(), "raft-models.zip")
    flows = [network(network.features(one), network.features(other), 1)[1] for network in (bare, zipped)]
    assert flows[0].equal(flows[1])


def _loaded(parameters: RaftFlowParameters) -> RaftFlow:
    made = RaftFlow(parameters)
    made.load()
    return made


def test_damaged_files_are_refused(original: dict[str, Any]) -> None:
    import torch

    def saved(state: dict[str, Any]) -> bytes:
        file = io.BytesIO()
        torch.save(state, file)
        return file.getvalue()

    def zipped(data: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(raft.MEMBER, data)
        return file.getvalue()

    conv = "module.update_block.mask.2.weight"
    twin = "module.cnet.layer2.0.norm3.bias"
    cases = [
        (
            saved({k: v for k, v in original.items() if k != conv}),
            r"the tensor update_block\.mask\.2\.weight is missing",
        ),
        (saved({**original, twin: original[twin] + 1}), r"it holds cnet\.layer2\.0\.norm3\.bias, which the network"),
        (
            saved({**original, conv: original[conv][:, :5]}),
            r"mask_predictor\.conv\.weight has the shape \(576, 5, 1, 1\)",
        ),
        (zipped(b"nothing of torch"), "it cannot be read as a PyTorch file of tensors"),
        (zipped(b"\0" * (raft.LARGEST_MEMBER + 1)), "models/raft-things.pth in it is too large"),
    ]
    for data, said in cases:
        with pytest.raises(PluginError, match=said) as caught:
            raft.load_original(data, "models.zip")
        assert str(caught.value).endswith("run: vidbench weights fetch raft")


def test_missing_weights_name_the_command_of_either_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path))
    for weights, name in raft_flow.WEIGHTS.items():
        made = RaftFlow(RaftFlowParameters(weights=weights))
        assert (made.requirements().missing() or "").endswith(f"vidbench weights fetch {name}")
        with pytest.raises(WeightsError, match=f"vidbench weights fetch {name}$"):
            made.load()


@pytest.mark.parametrize(
    ("fps", "interval"), [(5, 1), (8, 1), (12, 2), (20, 2), (23.976, 3), (24, 3), (25, 3), (28, 4), (29.97, 4), (60, 8)]
)
def test_every_nth_frame_is_taken_as_vbench_rounds(fps: float, interval: int) -> None:
    assert interval_of(fps, 8) == interval == max(1, round(fps / 8))
    # Told from the first nine times of a file whose clock has thousandths of a second, or is exact.
    for times in (np.arange(9) / fps, np.round(np.arange(9) / fps, 3)):
        assert interval_of(rate_of(times), 8) == interval


def test_an_unknown_rate_takes_every_frame_as_vbench_does_with_a_folder_of_pictures() -> None:
    assert interval_of(rate_of(np.arange(9.0)), 8) == 1
    assert rate_of(np.array([0.0])) == 1


class _Still:
    """Stands in for the network: the flow is what the second picture's grey says, in x."""

    def features(self, picture: Any) -> tuple[Any, Any]:
        return picture, picture

    def __call__(self, first: Any, second: Any, iterations: int) -> tuple[Any, Any]:
        flow = second[0][:2].clone()
        flow[1] = 0
        return flow, flow[:, ::8, ::8]


@pytest.mark.parametrize("chunk", [1, 4, 40])
@pytest.mark.parametrize(("fps", "frames"), [(None, 7), (24.0, 5), (24.0, 31), (60.0, 40), (8.0, 12)])
def test_the_right_frames_are_taken_whatever_the_chunks(fps: float | None, frames: int, chunk: int) -> None:
    times = np.arange(frames) / (fps or 1.0)
    pixels = np.zeros((frames, 128, 128, 3), np.uint8) + np.arange(frames, dtype=np.uint8)[:, None, None, None]
    session = raft_flow._Session(_Still(), RaftFlowParameters(keep_flow=True), None)  # type: ignore[arg-type]
    for at in range(0, frames, chunk):
        session.push(Frames(pixels[at : at + chunk].copy(), times[at : at + chunk], at))
    seen = session.close()
    expected = np.arange(0, frames, max(1, round(fps / 8)) if fps else 1)
    assert seen.frames.tolist() == expected.tolist()
    assert seen.top.tolist() == pytest.approx(expected[1:].tolist())
    assert seen.flow.shape == ((len(expected) - 1, 16, 16, 2) if len(expected) > 1 else (0, 0, 0, 2))
    curves = seen.curves()
    assert all(curve.shape == (frames,) for curve in curves.values())
    assert len(curves) == (2 if len(expected) > 1 else 0)


def _reference_top(flow: NDArray[np.float32]) -> float:
    """VBench's get_score, written out."""
    rad = np.sqrt(np.square(flow[0]) + np.square(flow[1]))
    h, w = rad.shape
    return float(np.mean(abs(np.sort(-rad.flatten()))[: int(h * w * 0.05)]))


@pytest.mark.parametrize("size", [(128, 128), (152, 200), (129, 131)])
def test_the_largest_five_per_cent_are_vbenchs(size: tuple[int, int]) -> None:
    flow = np.random.default_rng(0).normal(0, 20, (2, *size)).astype(np.float32)
    assert top_mean(raft_flow.magnitudes(flow)) == pytest.approx(_reference_top(flow), rel=1e-6)


def _reference_check(scores: list[float], frames: int, height: int, width: int) -> bool:
    """VBench's set_params and check_move, written out."""
    limit, enough = 6.0 * (min(height, width) / 256.0), round(4 * (frames / 16.0))
    count = 0
    for one in scores:
        if one > limit:
            count += 1
        if count >= enough:
            return True
    return False


def test_the_verdict_is_vbenchs() -> None:
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(500):
        frames, height, width = (int(n) for n in (rng.integers(1, 40), rng.integers(128, 800), rng.integers(128, 800)))
        limit = threshold(height, width)
        top = np.where(rng.random(frames - 1) < rng.random(), limit * 1.01, limit * (1 - (rng.random() < 0.5) * 0.5))
        expected = _reference_check(top.tolist(), frames, height, width)
        assert moves(top, frames, height, width) == expected
        verdicts.add(expected)
    assert verdicts == {True, False}
    assert [pairs_needed(n) for n in (2, 3, 6, 10, 16, 30)] == [0, 1, 2, 2, 4, 8]  # halves to even: 0.5, 1.5, 2.5, 7.5
    assert threshold(512, 320) == 7.5


def _scored(top: list[float], frames: int, *, fps: float | None = 8.0, interval: int = 1) -> Any:
    seen = RaftFlowObservation(
        frames=np.arange(0, frames * interval, interval),
        top=np.array(top),
        mean=np.array(top),
        flow=np.empty((0, 0, 0, 2), np.float32),
        interval=interval,
        tail=0,
        unfit="",
    )
    pixels = np.zeros((max(2, frames * interval), 256, 256, 3), np.uint8)
    return DynamicDegree().score(
        Observations({"raft_flow": seen}, facts_of(pixels, fps)), clip_of(pixels, fps, paired=False)
    )


def test_what_the_score_says_beside_the_value() -> None:
    result = _scored([5.9, 6.1, 9.0], 4)
    assert (result.value, result.details["pairs_moving"], result.details["pairs_needed"]) == (1.0, 2, 1)
    assert (result.details["threshold"], result.details["largest"], result.details["note"]) == (6.0, 9.0, None)
    assert _scored([5.9, 6.0, 1.0], 4).value == 0.0
    two = _scored([0.0], 2)
    assert two.value == 1.0
    assert two.details["note"] == "VBench counts a clip of two such frames as moving, whatever it shows"
    assert "VBench would take one in 3" in _scored([9.0, 9.0], 3, fps=24.0, interval=2).details["note"]


def test_too_short_too_small_and_too_large_clips_say_why() -> None:
    assert score(DynamicDegree, np.zeros((3, 128, 128, 3), np.uint8), fps=60.0).reason == (
        "of 3 frames one in 8 is looked at, which leaves no pair"
    )
    assert score(DynamicDegree, np.zeros((2, 72, 130, 3), np.uint8)).reason == (
        "the picture is 130x72 pixels; RAFT needs 121 a side"
    )
    assert raft.unfit(720, 1280) == ""
    assert raft.unfit(1080, 1920).endswith("beyond 1,024,000 pixels: scale the clip down")


def test_grey_and_frozen_frames_are_looked_at() -> None:
    made = _loaded(RaftFlowParameters(iterations=2))
    seen = observe(made, np.full((2, 121, 128, 3), 77, np.uint8))
    assert isinstance(seen, RaftFlowObservation)
    assert np.isfinite(seen.top).all()
    assert len(seen.top) == 1


def test_impossible_parameters_are_refused() -> None:
    for values, said in (
        ({"weights": "mine"}, "raft_flow.weights must be one of authors, torchvision, got 'mine'"),
        ({"rate": -1}, "raft_flow.rate must not be below 0"),
        ({"iterations": 0}, "raft_flow.iterations not below 1"),
    ):
        with pytest.raises(InputError, match=said):
            RaftFlow.from_mapping(values)
    with pytest.raises(InputError, match=r"dynamic_degree\.weights must be one of authors, torchvision, got 'mine'"):
        DynamicDegree.from_mapping({"weights": "mine"})


def test_the_metric_asks_for_the_weights_that_were_chosen() -> None:
    made = DynamicDegree.from_mapping({"weights": "torchvision"})
    (spec,) = made.extractor_specs()
    assert RaftFlow.from_mapping(spec.parameters).requirements().weights == ("raft-torchvision",)
    assert DynamicDegree().extractor_specs()[0].parameters == {"weights": "authors"}

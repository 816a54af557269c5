"""AMT-S and motion smoothness: drawn frames against the authors' class, frames compared, refused files."""

from __future__ import annotations

import importlib.util
import io
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.errors import PluginError, WeightsError
from vidbench.testing import score
from vidbench.video import Frames
from vidbench_metrics.extractors import amt_interpolation
from vidbench_metrics.extractors.amt_interpolation import AmtInterpolation, difference, interpolate
from vidbench_metrics.extractors.threads import one_thread
from vidbench_metrics.motion_smoothness import MotionSmoothness, motion_smoothness
from vidbench_metrics.networks import amt

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: pip install 'vidbench[models]'"
)
Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def _weights(vbench_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(vbench_weights))
    with one_thread():
        yield


@pytest.fixture
def state(vbench_weights: Path) -> dict[str, Any]:
    import torch

    return dict(torch.load(vbench_weights / "amt-s.pth", weights_only=True)["state_dict"])


def _pictures() -> tuple[Pixels, Pixels]:
    """As in benchmarks/parity_vbench.py."""
    noise = np.random.default_rng(1).uniform(40, 215, (12, 16, 3))
    rows, columns = np.linspace(0, 10, 170), np.linspace(0, 14, 220)
    low, left = rows.astype(int), columns.astype(int)
    y, x = (rows - low)[:, None, None], (columns - left)[None, :, None]
    above = (1 - x) * noise[low][:, left] + x * noise[low][:, left + 1]
    below = (1 - x) * noise[low + 1][:, left] + x * noise[low + 1][:, left + 1]
    whole = ((1 - y) * above + y * below).round().astype(np.uint8)
    return np.ascontiguousarray(whole[:150, :200]), np.ascontiguousarray(whole[5:155, 7:207])


def _tensor(pixels: Pixels) -> Any:
    import torch

    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / 255.0


def test_golden_pixels_of_the_authors_class(state: dict[str, Any]) -> None:
    """Printed by benchmarks/parity_vbench.py: AMT-S in vbench 0.1.5 with the same random weights, 150 x 200 pixels.

    The largest difference there is 5e-7. The picture is padded to 160 x 208.
    """
    one, other = _pictures()
    drawn = amt.Amt(state)(_tensor(one), _tensor(other))
    assert tuple(drawn.shape) == (3, 150, 200)
    found = [float(drawn[c, y, x]) for c, y, x in ((0, 10, 10), (1, 75, 100), (2, 140, 190))]
    assert found == pytest.approx([0.937301, 0.663223, 0.391344], abs=1e-5)
    assert float(drawn.mean()) == pytest.approx(0.427583, abs=1e-5)


def test_the_checkpoint_has_so_many_tensors() -> None:
    """AMT's README gives 3.0 M parameters; key by key in benchmarks/parity_vbench.py."""
    shapes = amt.tensor_shapes()
    assert len(shapes) == 213
    assert sum(math.prod(shape) for shape in shapes.values()) == 2_990_543


def test_a_network_that_only_averages_draws_the_average(state: dict[str, Any]) -> None:
    """With all weights 0, flows and rest are 0 and either frame has half a share: a closed form through all layers."""
    import torch

    one, other = _pictures()
    drawn = amt.Amt({key: torch.zeros_like(value) for key, value in state.items()})(_tensor(one), _tensor(other))
    assert (drawn - (_tensor(one) + _tensor(other)) / 2).abs().max() < 1e-6


def test_comparisons_are_looked_up_where_flows_point() -> None:
    """Features that are one-hot by place: a place compares with itself alone, so a look-up finds it where it is."""
    import torch

    rows, columns = 16, 17
    q = rows * columns
    one_hot = torch.eye(q).reshape(1, q, rows, columns)
    costs = amt.Comparisons(one_hot, one_hot)
    flow = torch.zeros(1, 2, rows, columns)
    flow[:, 0], flow[:, 1] = 2.0, -1.0  # the match is 2 to the left of and 1 below where this points
    found = costs.look_up(flow, torch.zeros_like(flow), rows, columns)
    fine = found[0, :49, 8, 8].reshape(7, 7)  # first step along x, then along y
    assert fine.nonzero().tolist() == [[3 - 2, 3 + 1]]
    assert float(fine.max()) == pytest.approx(q**-0.5)
    assert found[0, 196 : 196 + 49, 8, 8].reshape(7, 7).nonzero().tolist() == [[3, 3]]


def test_warping_reads_where_the_flow_points_and_goes_on_at_the_border() -> None:
    import torch

    x = torch.arange(20.0).reshape(1, 1, 4, 5)
    flow = torch.zeros(1, 2, 4, 5)
    flow[:, 0] = 1.0
    moved = amt.warped(x, flow)[0, 0]
    assert moved[:, :4] == pytest.approx(x[0, 0, :, 1:])
    assert moved[:, 4] == pytest.approx(x[0, 0, :, 4])


class _Average:
    """Stands in for the network."""

    def __call__(self, before: Any, after: Any) -> Any:
        return (before + after) / 2


def _reference_vbench(frames: Pixels) -> float:
    """VBench's motion_score on a processor, written out with the stand-in."""
    kept = [frame.astype(np.float32) / np.float32(255.0) for frame in frames[::2]]
    drawn = [((a + b) / 2 * np.float32(255.0)).clip(0, 255).astype(np.uint8) for a, b in itertools.pairwise(kept)]
    scores = [np.mean(cv2.absdiff(frames[1::2][i], drawn[i])) for i in range(len(drawn))]
    return float((255.0 - np.mean(np.array(scores))) / 255.0)


@pytest.mark.parametrize("chunk", [1, 2, 5, 16])
@pytest.mark.parametrize("frames", [3, 4, 7, 8])
def test_the_frames_compared_and_the_formula_are_vbenchs(frames: int, chunk: int) -> None:
    clip = np.random.default_rng(frames).integers(0, 256, (frames, 128, 130, 3), np.uint8)
    session = amt_interpolation._Session(_Average())  # type: ignore[arg-type]
    for at in range(0, frames, chunk):
        part = clip[at : at + chunk].copy()
        session.push(Frames(part, np.arange(at, at + len(part)) / 8.0, at))
        part[:] = 0  # the decoder fills its buffer again
    seen = session.close()
    assert len(seen.errors) == (frames - 1) // 2
    assert motion_smoothness(seen.errors) == pytest.approx(_reference_vbench(clip), abs=1e-9)
    (curve,) = seen.curves().values()
    assert curve.shape == (frames,)
    assert np.isfinite(curve).nonzero()[0].tolist() == list(range(1, 2 * len(seen.errors), 2))


def test_levels_are_cut_off_not_rounded() -> None:
    class Between:
        def __call__(self, before: Any, after: Any) -> Any:
            return before * 0 + 100.9 / 255

    drawn = interpolate(Between(), np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8))  # type: ignore[arg-type]
    assert drawn.tolist() == np.full((4, 4, 3), 100).tolist()
    assert difference(drawn, np.full((4, 4, 3), 103, np.uint8)) == 3.0


def test_the_score_of_a_clip_through_the_real_network(state: dict[str, Any]) -> None:
    one, other = _pictures()
    result = score(MotionSmoothness, np.stack([one, other, other, one]))
    drawn = interpolate(amt.Amt(state), one, other)
    assert result.value == pytest.approx((255 - np.abs(drawn.astype(int) - other).mean()) / 255)
    assert result.details["largest_error_frame"] == 1


@pytest.mark.parametrize("grey", [0, 77, 255])
def test_frames_of_one_colour_at_the_smallest_size_are_looked_at(grey: int) -> None:
    result = score(MotionSmoothness, np.full((3, 113, 120, 3), grey, np.uint8))
    assert result.value is not None
    assert 0 <= result.value <= 1


def test_too_few_frames_and_too_small_or_large_pictures_say_why() -> None:
    assert MotionSmoothness().frames_needed() == 3
    assert score(MotionSmoothness, np.zeros((3, 112, 200, 3), np.uint8)).reason == (
        "the picture is 200x112 pixels; AMT-S needs 113 a side"
    )
    assert amt.unfit(720, 1280) == ""
    assert amt.unfit(1080, 1920).endswith("beyond 1,024,000 pixels: scale the clip down")


def test_files_of_other_kinds_are_refused(state: dict[str, Any]) -> None:
    import torch

    for content, said in (
        (state, "it has no entry 'state_dict'"),
        (
            {"state_dict": {**state, "comb_block.3.weight": state["comb_block.2.weight"]}},
            "it holds comb_block.3.weight",
        ),
        (
            {"state_dict": {k: v for k, v in state.items() if k != "update3.gru.2.bias"}},
            "update3.gru.2.bias is missing",
        ),
    ):
        file = io.BytesIO()
        torch.save(content, file)
        with pytest.raises(PluginError, match=said) as caught:
            amt.load_checkpoint(file.getvalue(), "amt-s.pth")
        assert str(caught.value).endswith("remove it and run: vidbench weights fetch amt-s")


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"vidbench weights fetch amt-s$"):
        AmtInterpolation().load()

"""PIPs++ against FVMD's own network, and the windows that FVMD looks at."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import small_pips2
from vidbench.errors import InputError, PluginError, WeightsError
from vidbench.testing import observe, synthetic_clips
from vidbench_metrics.extractors.pips2_tracks import Pips2Tracks, Pips2TracksObservation, Pips2TracksParameters
from vidbench_metrics.extractors.threads import one_thread
from vidbench_metrics.fvmd import Fvmd
from vidbench_metrics.networks import pips2

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: pip install 'vidbench[models]'"
)


@pytest.fixture(autouse=True)
def _weights(vbench_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(vbench_weights))
    with one_thread():
        yield


@pytest.fixture
def small(vbench_weights: Path) -> dict[str, Any]:
    import torch

    return dict(torch.load(vbench_weights / "pips2_weights.pth", weights_only=True)[pips2.KEY])


def test_golden_tracks_of_the_fvmd_package() -> None:
    """From benchmarks/parity_pips2.py: PyPI fvmd 1.0.0's Pips, iters=4, beautify=True, the same random weights."""
    import torch

    from benchmarks.parity_pips2 import moving_picture, some_points, weights

    network = pips2.Pips2(weights(pips2.tensor_shapes()))
    maps = torch.stack([network.features(picture) for picture in moving_picture()])
    tracks = network(maps, some_points(), 4)
    assert tracks.shape == (16, 9, 2)
    assert torch.equal(tracks[0], some_points())
    expected = [6.45532, 8.45132, 61.75603, 58.36597, 118.21931, 111.87902]
    assert tracks[15, ::4].ravel().tolist() == pytest.approx(expected, abs=1e-3)


def test_features_are_looked_up_between_cells_and_go_on_beyond_the_border() -> None:
    import torch

    maps = torch.arange(12.0).reshape(1, 1, 3, 4)
    places = torch.tensor([[[1.5, 0.25], [3.0, 2.0], [-2.0, 0.0], [9.0, 1.0]]])
    assert pips2._look(maps, places)[0, :, 0].tolist() == [1.5 + 0.25 * 4, 11.0, 0.0, 7.0]


def test_windows_begin_at_every_frame_and_are_each_clips_own(small_vbench_networks: None) -> None:
    (clip,) = synthetic_clips(1, frames=19)
    every = observe(Pips2Tracks(), clip)
    assert isinstance(every, Pips2TracksObservation)
    assert every.starts.tolist() == [0, 1, 2, 3]
    assert every.features.shape == (4, 1024)
    third = observe(Pips2Tracks(Pips2TracksParameters(stride=3)), clip)
    assert isinstance(third, Pips2TracksObservation)
    assert third.starts.tolist() == [0, 3]
    np.testing.assert_array_equal(third.features, every.features[::3])
    # A window knows nothing of the frames around it.
    alone = observe(Pips2Tracks(), clip[2:18])
    assert isinstance(alone, Pips2TracksObservation)
    np.testing.assert_array_equal(alone.features, every.features[2:3])


def test_a_clip_that_stands_still_has_other_motion_than_one_that_does_not(small_vbench_networks: None) -> None:
    (clip,) = synthetic_clips(1, frames=16)
    still = np.repeat(clip[:1], 16, axis=0)
    seen = [observe(Pips2Tracks(), frames) for frames in (clip, still)]
    assert not np.array_equal(seen[0].features, seen[1].features)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("fnet.conv1.bias"), "the tensor fnet.conv1.bias is missing"),
        (lambda state: state.update(more=state["norm.bias"]), "it holds more, which the network does not have"),
        (lambda state: state["norm.bias"].fill_(float("nan")), "norm.bias holds NaN or infinity"),
        (lambda state: state.update({"norm.bias": state["norm.bias"][:3]}), r"norm.bias has the shape \(3,\), not"),
    ],
)
def test_other_weights_are_refused(small: dict[str, Any], change: Any, said: str) -> None:
    pips2.Pips2(small, size=small_pips2())
    change(small)
    with pytest.raises(PluginError, match=said + ".*vidbench weights fetch pips2"):
        pips2.Pips2(small, "it.pth", small_pips2())


def test_missing_weights_and_wrong_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="vidbench weights fetch pips2"):
        Pips2Tracks().load()
    with pytest.raises(InputError, match=r"fvmd\.stride must be at least 1, got 0"):
        Fvmd.from_mapping({"stride": 0})
    with pytest.raises(InputError, match=r"pips2_tracks\.stride must be at least 1, got 0"):
        Pips2TracksParameters(stride=0)
    assert Fvmd.from_mapping({"stride": 5}).extractor_specs()[0].parameters == {"stride": 5}

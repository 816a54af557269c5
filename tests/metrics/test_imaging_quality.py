"""MUSIQ and imaging quality: ratings against pyiqa's, preprocessing against torchvision, refused files."""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.errors import PluginError, WeightsError
from vidbench.testing import observe, score
from vidbench_metrics.extractors.musiq import MusiqObservation, MusiqRatings, prepare, prepared_size
from vidbench_metrics.extractors.threads import one_thread
from vidbench_metrics.imaging_quality import ImagingQuality, imaging_quality
from vidbench_metrics.networks import musiq

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: pip install 'vidbench[models]'"
)
SMALL = musiq.MusiqSize(width=48, depth=2, heads=6, hidden=96)


@pytest.fixture(autouse=True)
def _weights(vbench_weights: Path, small_vbench_networks: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(vbench_weights))
    with one_thread():
        yield


@pytest.fixture
def state(vbench_weights: Path) -> dict[str, Any]:
    import torch

    return dict(torch.load(vbench_weights / "musiq_spaq_ckpt-358bb6af.pth", weights_only=True))


def _picture(height: int, width: int) -> NDArray[np.uint8]:
    """The first of benchmarks/parity_vbench.py."""
    noise = np.random.default_rng(1).uniform(40, 215, (12, 16, 3))
    rows, columns = np.linspace(0, 10, height + 20), np.linspace(0, 14, width + 20)
    low, left = rows.astype(int), columns.astype(int)
    y, x = (rows - low)[:, None, None], (columns - left)[None, :, None]
    above = (1 - x) * noise[low][:, left] + x * noise[low][:, left + 1]
    below = (1 - x) * noise[low + 1][:, left] + x * noise[low + 1][:, left + 1]
    return np.asarray(((1 - y) * above + y * below)[:height, :width].round(), np.uint8)


GOLDEN = {
    # Printed by benchmarks/parity_vbench.py: pyiqa 0.1.16's MUSIQ of the small size with the tensors of
    # `vbench_weights`, torch 2.14.1. The published size agrees as well there (248 tensors, 1e-6 of the rating).
    (150, 200): -0.315091,
    (72, 96): -0.321163,
    (288, 512): -0.207773,
    (47, 333): -0.37879,
}


@pytest.mark.parametrize("size", GOLDEN)
def test_golden_ratings_of_pyiqa(state: dict[str, Any], size: tuple[int, int]) -> None:
    rating = musiq.Musiq(state, SMALL)(prepare(_picture(*size)))
    assert rating == pytest.approx(GOLDEN[size], abs=2e-6)


def test_the_checkpoint_has_so_many_tensors() -> None:
    """As pyiqa's class has: compared key by key in benchmarks/parity_vbench.py."""
    shapes = musiq.tensor_shapes(musiq.MusiqSize(width=384, depth=14, heads=6, hidden=1152))
    assert len(shapes) == 248
    assert sum(math.prod(shape) for shape in shapes.values()) == 27_125_825


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (512, 300, (512, 300)),
        (720, 1280, (288, 512)),
        (513, 511, (512, 510)),
        (1080, 607, (512, 287)),
        (4, 2000, (1, 512)),
    ],
)
def test_frames_are_prepared_as_vbenchs_longer_does(height: int, width: int, expected: tuple[int, int]) -> None:
    import torch
    from torchvision import transforms

    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    frame = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    if max(height, width) > 512:
        scale = 512.0 / max(height, width)
        frame = transforms.Resize(size=(int(scale * height), int(scale * width)), antialias=False)(frame)
    assert prepared_size(height, width) == tuple(frame.shape[2:]) == expected
    assert (prepare(pixels) - frame[0] / 255.0).abs().max() < 1e-6


def test_places_are_hashed_to_the_nearest_of_the_grid() -> None:
    places = musiq.hashed_places(3, 16).reshape(3, 16).tolist()
    columns = [i * 10 // 16 for i in range(16)]
    assert places == [[row * 10 + column for column in columns] for row in (0, 3, 6)]


def test_patches_are_cut_row_by_row_with_zeros_around() -> None:
    import torch

    picture = torch.arange(1, 1 + 3 * 40 * 70, dtype=torch.float32).reshape(3, 40, 70)
    patches = musiq.cut(picture)
    assert tuple(patches.shape) == (6, 3, 32, 32)
    whole = torch.zeros(3, 64, 96)
    whole[:, 12:52, 13:83] = picture
    expected = [whole[:, y : y + 32, x : x + 32] for y in (0, 32) for x in (0, 32, 64)]
    assert torch.equal(patches, torch.stack(expected))


def test_the_score_is_a_hundredth_of_the_mean_rating() -> None:
    assert imaging_quality(np.array([60.0, 70.0])) == 0.65
    clip = np.stack([_picture(72, 96), 255 - _picture(72, 96), _picture(72, 96)])
    seen = observe(MusiqRatings, clip)
    assert isinstance(seen, MusiqObservation)
    assert seen.ratings.shape == (3,)
    assert seen.ratings[0] == seen.ratings[2] != seen.ratings[1]
    result = score(ImagingQuality, clip)
    assert result.value == pytest.approx(seen.ratings.mean() / 100)
    assert result.details["least"] == seen.ratings.min()


def test_a_strip_of_which_nothing_is_left_is_unscored() -> None:
    assert musiq.fits(*prepared_size(4, 1000))
    result = score(ImagingQuality, np.zeros((2, 1, 900, 3), np.uint8))
    assert (result.value, result.reason) == (None, "the picture is 900x1 pixels, too thin a strip for MUSIQ")


def test_files_of_other_networks_are_refused(state: dict[str, Any]) -> None:
    import torch

    for content, said in (
        ({**state, "head.0.weight": state["head.weight"]}, "it holds head.0.weight, which the network does not have"),
        ({k: v for k, v in state.items() if k != "block1.gn_proj.bias"}, "the tensor block1.gn_proj.bias is missing"),
    ):
        file = io.BytesIO()
        torch.save(content, file)
        with pytest.raises(PluginError, match=said) as caught:
            musiq.load_checkpoint(file.getvalue(), "f.pth", SMALL)
        assert str(caught.value).endswith("remove it and run: vidbench weights fetch musiq-spaq")


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"vidbench weights fetch musiq-spaq$"):
        MusiqRatings().load()

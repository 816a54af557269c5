"""The arithmetic of tokens: published figures, what does not divide, and the network itself as the reference."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidbench.errors import InputError
from vidbench.worldmodel import tokens
from vidbench.worldmodel.tokens import NetworkSize

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: pip install 'vidbench[worldmodel]'"
)
KINDS = ("joint", "divided", "window")
WINDOW = (4, 9, 8)


@pytest.mark.parametrize(
    ("fps", "width", "count"), [(24, 640, 216_000), (16, 640, 144_000), (30, 640, 270_000), (24, 480, 162_000)]
)
def test_five_seconds_of_360p(fps, width, count) -> None:
    grid = tokens.tokens_of((tokens.frames_of(5, fps), 360, width), (2, 8, 8))
    assert grid.tokens == count
    assert grid.numbers == 384
    assert grid.notes == ()


def test_pairs_of_five_seconds_of_360p() -> None:
    grid = tokens.tokens_of((120, 360, 640), (2, 8, 8))
    assert grid.grid == (60, 45, 80)
    joint, divided, window = (sum(tokens.pairs(grid.grid, kind, WINDOW)) for kind in KINDS)
    assert joint == 46_656_000_000
    assert divided == 60 * 3600**2 + 3600 * 60**2 == 790_560_000
    assert window == 216_000 * 288 == 62_208_000


def test_an_odd_number_of_frames_is_padded_and_said() -> None:
    grid = tokens.tokens_of((tokens.frames_of(5, 25), 360, 640), (2, 8, 8))
    assert grid.tokens == 226_800
    assert grid.notes == ("125 frames are padded to 126: patches take 2 k",)


def test_windows_that_do_not_divide_are_padded_and_said() -> None:
    assert tokens.window_notes((60, 45, 80), (4, 8, 8)) == ["45 rows of tokens are padded to 48: windows take 8 k"]
    assert tokens.pairs((60, 45, 80), "window", (4, 8, 8)) == (60 * 48 * 80 * 256,)
    assert tokens.window_notes((60, 45, 80), WINDOW) == []
    assert tokens.window_notes((3, 45, 80), WINDOW) == []  # an axis shorter than the window is one window


@pytest.mark.parametrize(
    ("frames", "grid", "padded"),
    [(81, (21, 23, 40), False), (121, (31, 23, 40), False), (120, (31, 23, 40), True), (1, (1, 23, 40), False)],
)
def test_a_causal_vae_keeps_the_first_frame_alone(frames, grid, padded) -> None:
    found = tokens.tokens_of((frames, 360, 640), (1, 2, 2), channels=16, vae=(4, 8, 8))
    assert found.grid == grid
    assert found.numbers == 64
    rows = "45 rows of latents are padded to 46: patches take 2 k"
    first = "120 frames are padded to 121: a causal VAE takes 1 + 4 k, the first by itself"
    assert found.notes == ((first, rows) if padded else (rows,))
    if frames in (81, 121):
        assert found.tokens == {81: 19_320, 121: 28_520}[frames]


def test_sizes_that_the_vae_does_not_divide() -> None:
    found = tokens.tokens_of((5, 366, 640), (1, 1, 1), channels=4, vae=(4, 8, 8))
    assert found.cells == (2, 46, 80)
    assert found.notes == ("366 rows are padded to 368: the VAE takes 8 k",)


@pytest.mark.parametrize(("seconds", "fps", "frames"), [(5, 24, 120), (5, 23.976, 120), (0.1, 24, 2), (2.5, 25, 63)])
def test_frames_are_rounded(seconds, fps, frames) -> None:
    assert tokens.frames_of(seconds, fps) == frames


@pytest.mark.parametrize(("seconds", "fps"), [(0, 24), (-1, -24), (0.01, 24), (math.nan, 24), (math.inf, 24)])
def test_clips_without_frames_are_refused(seconds, fps) -> None:
    with pytest.raises(InputError, match="is no clip"):
        tokens.frames_of(seconds, fps)


def test_sizes_below_one_and_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        tokens.tokens_of((8, 8, 8), (0, 1, 1))
    with pytest.raises(InputError, match="width of 100 does not divide into 16 heads"):
        NetworkSize(width=100)
    with pytest.raises(InputError, match="dtype must be one of float32"):
        NetworkSize(dtype="int8")


small = st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7))


@needs_torch
@settings(deadline=None, max_examples=40)
@given(grid=small, window=small, kind=st.sampled_from(KINDS))
def test_pairs_are_those_that_the_network_computes(grid, window, kind) -> None:
    import torch

    from vidbench.worldmodel.config import DiTConfig

    x = torch.zeros(1, math.prod(grid), 1)
    config = DiTConfig(attention=kind, window=window, causal=False)
    groups = [grouping.split(x, grid) for grouping in config.groupings(1)]
    assert tuple(g.shape[0] * g.shape[2] ** 2 for g in groups) == tokens.pairs(grid, kind, window)


@needs_torch
@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_those_of_the_network(kind) -> None:
    import torch

    from vidbench.worldmodel.config import DiTConfig
    from vidbench.worldmodel.dit import DiT

    for size in (NetworkSize(), NetworkSize(width=24, depth=3, heads=2, mlp_ratio=3)):
        config = DiTConfig(
            channels=5,
            patch=(2, 4, 3),
            width=size.width,
            depth=size.depth,
            heads=size.heads,
            mlp_ratio=size.mlp_ratio,
            attention=kind,
        )
        with torch.device("meta"):
            network = DiT(config)
        assert tokens.parameters(size, kind, 120) == sum(p.numel() for p in network.parameters())


@needs_torch
@pytest.mark.parametrize("kind", KINDS)
def test_operations_are_those_that_torch_counts(kind) -> None:
    """All but a share for one token a frame and the places, which are left out on purpose."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from vidbench.worldmodel.config import DiTConfig
    from vidbench.worldmodel.dit import DiT

    config = DiTConfig(patch=(1, 4, 4), width=48, depth=3, heads=2, attention=kind, window=(2, 4, 4), causal=False)
    network = DiT(config)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, 3, 4, 48, 64), torch.zeros(1, 4))
    modulation = (
        2 * (network.modulation.weight.numel() + network.modulation_out.weight.numel() + 256 * 48 + 48 * 48) * 4
    )
    places = 2 * 12 * 16 * network.place.weight.numel()
    grid = tokens.tokens_of((4, 48, 64), (1, 4, 4))
    ours = tokens.cost(grid, NetworkSize(48, 3, 2), kind, (2, 4, 4))
    assert ours.operations == counter.get_total_flops() - modulation - places


def test_memory_by_hand() -> None:
    """A network of one block, of 1,000 tokens, in numbers that can be added up on paper."""
    grid = tokens.tokens_of((10, 10, 10), (1, 1, 1))
    size = NetworkSize(width=100, depth=1, heads=10, dtype="float16")
    found = tokens.cost(grid, size, "joint", WINDOW)
    weights = found.parameters
    expected = {
        "sample_flash": 2 * weights + 2 * 10 * 1000 * 100,  # x, its norm, and the MLP's 4 + 4
        "sample_naive": 2 * weights + 2 * 10 * 1000 * 100 + 2 * 2 * 10 * 1000**2,
        "train_flash": 16 * weights + 32 * 1000 * 100,  # Korthikanti et al. without dropout: 32 bytes
        "train_naive": 16 * weights + 32 * 1000 * 100 + 2 * 2 * 10 * 1000**2,
        "train_flash_recomputing": 16 * weights + 34 * 1000 * 100,
    }
    assert found.memory == pytest.approx({name: count / 1e9 for name, count in expected.items()})
    full = tokens.cost(grid, replace(size, dtype="float32"), "joint", WINDOW)
    assert full.memory["sample_flash"] == pytest.approx(2 * found.memory["sample_flash"])


def test_devices() -> None:
    grid = tokens.tokens_of((120, 360, 640), (2, 8, 8))
    joint = tokens.cost(grid, NetworkSize(), "joint", WINDOW)
    assert joint.fits["sample_flash"] == "laptop 16 GB"
    assert joint.memory["sample_naive"] > 2986  # 2 x 46.656 G pairs x 16 heads x 2 bytes
    assert joint.fits["sample_naive"] is None
    for name, gb in joint.memory.items():
        smaller = [device for device, has in tokens.DEVICES.items() if has < gb]
        assert joint.fits[name] not in smaller


def test_the_command_prints_the_published_figures(vidbench) -> None:
    done = vidbench("tokens", "--seconds", 5, "--fps", 24, "--height", 360, "--width", 640, "--patch", 2, 8, 8)
    assert done.returncode == 0, done.stderr
    assert "60x45x80 = 216,000" in done.stdout
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if "FLOP" in line}
    assert "46.7 G" in lines["joint"]
    assert "791 M" in lines["divided"]
    assert "1/59" in lines["divided"]
    assert "62.2 M" in lines["window"]
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_the_command_as_json(vidbench) -> None:
    done = vidbench("tokens", "--fps", 25, "--vae", 4, 8, 8, "--window", 4, 8, 8, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["grid"]["cells"] == [32, 45, 80]
    assert record["grid"]["tokens"] == 32 * 23 * 40
    assert record["grid"]["notes"] == ["45 rows of latents are padded to 46: patches take 2 k"]
    assert record["window_notes"] == ["23 rows of tokens are padded to 24: windows take 8 k"]
    assert [cost["attention"] for cost in record["costs"]] == list(KINDS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--heads", 7], "a width of 1152 does not divide into 7 heads"),
        (["--seconds", 0.001], "is no clip"),
        (["--patch", 0, 8, 8], "0 is not in the range"),
        (["--dtype", "int4"], "'int4' is not one of"),
    ],
)
def test_the_command_refuses_what_cannot_be(vidbench, options, message) -> None:
    done = vidbench("tokens", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_needs_no_torch() -> None:
    import subprocess

    source = (
        "import sys; from vidbench.cli.tokens import command; command(['--frames', '8'], standalone_mode=False); "
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", source], check=False, capture_output=True).returncode == 0

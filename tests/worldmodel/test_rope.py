"""Rotary positions: products of turned queries and keys depend on differences of positions alone, axis by axis."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidbench.errors import InputError

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")

from vidbench.worldmodel.rope import axis_pairs, grid_positions, grid_rotation, rotate, rotation  # noqa: E402

HEAD_SIZES = (6, 8, 10, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128)
places = st.tuples(st.integers(0, 60), st.integers(0, 44), st.integers(0, 79))


def _product(q, k, at_q, at_k, head_size: int, theta: float = 10_000.0):
    """q at one place, k at another: their product."""
    turned_q = rotate(q[None], rotation(torch.tensor([at_q]), head_size, theta))[0]
    turned_k = rotate(k[None], rotation(torch.tensor([at_k]), head_size, theta))[0]
    return float(turned_q @ turned_k)


def _vectors(head_size: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, head_size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("head_size", HEAD_SIZES)
@settings(deadline=None, max_examples=25)
@given(at_q=places, at_k=places, by=st.tuples(*[st.integers(-30, 30)] * 3), seed=st.integers(0, 99))
def test_products_depend_on_differences_alone(head_size, at_q, at_k, by, seed) -> None:
    q, k = _vectors(head_size, seed)
    moved_q = tuple(p + d for p, d in zip(at_q, by, strict=True))
    moved_k = tuple(p + d for p, d in zip(at_k, by, strict=True))
    here, there = _product(q, k, at_q, at_k, head_size), _product(q, k, moved_q, moved_k, head_size)
    assert there == pytest.approx(here, abs=3e-5 * float(q.norm() * k.norm()))  # float32 angles of up to 109 radians


@pytest.mark.parametrize("head_size", HEAD_SIZES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_pair_of_channels_belongs_to_one_axis(head_size, axis) -> None:
    """Moving along an axis turns the pairs of that axis, every one of them, and no other."""
    pairs = axis_pairs(head_size)
    place = torch.zeros(1, 3)
    place[0, axis] = 1
    _, sin = rotation(place, head_size)
    turned = sin[0] != 0
    first = sum(pairs[:axis])
    assert turned[first : first + pairs[axis]].all()
    assert turned.sum() == pairs[axis]
    assert sum(pairs) * 2 == head_size
    assert min(pairs) >= 1


@pytest.mark.parametrize("head_size", HEAD_SIZES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_distance_along_each_axis_matters(head_size, axis) -> None:
    q, k = _vectors(head_size)
    step = tuple(int(a == axis) for a in range(3))
    assert abs(_product(q, k, (0, 0, 0), step, head_size) - _product(q, k, (0, 0, 0), (0, 0, 0), head_size)) > 1e-3


def test_the_turn_is_a_product_of_complex_numbers() -> None:
    head_size, theta = 20, 100.0
    pairs = axis_pairs(head_size)  # (4, 3, 3)
    q = _vectors(head_size)[0]
    place = (3, 5, 7)
    angles = [p * theta ** (-i / n) for p, n in zip(place, pairs, strict=True) for i in range(n)]
    ours = rotate(q[None], rotation(torch.tensor([place]), head_size, theta))[0]
    for pair, angle in enumerate(angles):
        turned = complex(q[2 * pair], q[2 * pair + 1]) * complex(math.cos(angle), math.sin(angle))
        assert complex(ours[2 * pair], ours[2 * pair + 1]) == pytest.approx(turned, abs=1e-6)


def test_lengths_and_dtypes_are_kept() -> None:
    turn = grid_rotation((2, 3, 5), 16, 10_000.0, torch.device("cpu"))
    x = torch.randn(4, 30, 16)
    torch.testing.assert_close(rotate(x, turn).norm(dim=-1), x.norm(dim=-1))
    assert rotate(x.bfloat16(), turn).dtype == torch.bfloat16


def test_places_of_a_grid_that_is_not_square_are_in_reading_order() -> None:
    from vidbench.worldmodel.patchify import patchify

    frames, rows, columns = torch.meshgrid(torch.arange(2), torch.arange(3), torch.arange(5), indexing="ij")
    clip = torch.stack((frames, rows, columns))[None]  # (1, 3, 2, 3, 5): each cell holds its own place
    assert torch.equal(patchify(clip, (1, 1, 1))[0], grid_positions((2, 3, 5)))


def test_a_kept_table_may_be_trained_with_after_inference() -> None:
    grid_rotation.cache_clear()
    with torch.inference_mode():
        grid_rotation((2, 2, 2), 12, 10_000.0, torch.device("cpu"))
    x = torch.randn(8, 12, requires_grad=True)
    rotate(x, grid_rotation((2, 2, 2), 12, 10_000.0, torch.device("cpu"))).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("head_size", [2, 4, 7, 15])
def test_heads_without_a_pair_for_each_axis_are_refused(head_size) -> None:
    with pytest.raises(InputError, match=f"size {head_size} .*even size from 6"):
        axis_pairs(head_size)

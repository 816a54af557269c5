"""Patchify: an exact inverse, the order of a convolution's weights, sizes that do not divide."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidbench.errors import InputError
from vidbench.worldmodel.patchify import padded_size, patch_grid, patchify, unpatchify

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")

triples = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))


@settings(deadline=None, max_examples=60)
@given(b=st.integers(1, 2), c=st.integers(1, 5), grid=triples, patch=triples)
def test_unpatchify_is_the_exact_inverse(b, c, grid, patch) -> None:
    clips = torch.randn(b, c, *(n * p for n, p in zip(grid, patch, strict=True)))
    tokens = patchify(clips, patch)
    assert tokens.shape == (b, grid[0] * grid[1] * grid[2], c * patch[0] * patch[1] * patch[2])
    assert torch.equal(unpatchify(tokens, grid, patch), clips)


def test_latents_of_a_vae() -> None:
    latents = torch.randn(1, 4, 8, 16, 16)
    assert patch_grid((8, 16, 16), (2, 2, 2)) == (4, 8, 8)
    assert patchify(latents, (2, 2, 2)).shape == (1, 256, 32)


@pytest.mark.parametrize(("size", "patch"), [((6, 8, 12), (2, 4, 3)), ((1, 4, 6), (1, 2, 2)), ((4, 2, 2), (4, 1, 2))])
def test_patchify_and_linear_are_a_strided_convolution(size, patch) -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv3d(3, 7, patch, stride=patch).double()
    clips = torch.randn(2, 3, *size, dtype=torch.float64)
    tokens = torch.nn.functional.linear(patchify(clips, patch), convolution.weight.flatten(1), convolution.bias)
    torch.testing.assert_close(tokens, convolution(clips).flatten(2).transpose(1, 2), atol=1e-12, rtol=0)


def test_one_token_holds_one_box_of_the_clip() -> None:
    clips = torch.arange(2 * 4 * 6 * 8).reshape(1, 2, 4, 6, 8)
    token = patchify(clips, (2, 3, 4))[0, 1 * 4 + 0 * 2 + 1]  # second slab, first row, second column
    assert torch.equal(token, clips[0, :, 2:4, 0:3, 4:8].flatten())


def test_sizes_that_do_not_divide_say_what_to_pad_to() -> None:
    assert padded_size((125, 360, 642), (2, 8, 8)) == (126, 360, 648)
    with pytest.raises(InputError, match=r"125x360x642 .* patches of 2x8x8; pad it to 126x360x648"):
        patch_grid((125, 360, 642), (2, 8, 8))
    with pytest.raises(InputError, match="pad it to 4x8x8"):
        patchify(torch.zeros(1, 3, 3, 8, 8), (2, 4, 4))
    with pytest.raises(InputError, match="at least 1"):
        patch_grid((4, 8, 8), (0, 4, 4))


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(InputError, match=r"five axes.*\(3, 4, 8, 8\)"):
        patchify(torch.zeros(3, 4, 8, 8), (1, 4, 4))
    with pytest.raises(InputError, match=r"\(1, 7, 48\) are no grid of 2x2x2"):
        unpatchify(torch.zeros(1, 7, 48), (2, 2, 2), (1, 4, 4))
    with pytest.raises(InputError, match="a multiple of 16"):
        unpatchify(torch.zeros(1, 8, 47), (2, 2, 2), (1, 4, 4))

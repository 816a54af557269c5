"""Every grouping gives what one dense attention gives whose mask is written down from the definition."""

from __future__ import annotations

import itertools
import math

import pytest

from vidbench.errors import InputError

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")

from vidbench.worldmodel import attention as module  # noqa: E402
from vidbench.worldmodel.attention import Attention, Joint, Prefix, Space, Time, Window  # noqa: E402
from vidbench.worldmodel.rope import axis_pairs, grid_rotation, rotation  # noqa: E402

WIDTH, HEADS, THETA = 24, 2, 50.0
GRIDS = [(3, 4, 4), (4, 3, 5), (1, 5, 2), (5, 1, 1)]


def _box(place, size, grid, *, shifted):
    """The window that a place is in: borders at multiples of the box, or half a box before them."""
    box = [min(s, n) for s, n in zip(size, grid, strict=True)]
    back = [b // 2 if shifted and b < n else 0 for b, n in zip(box, grid, strict=True)]
    return tuple((p + b - s) // b if s else p // b for p, b, s in zip(place, box, back, strict=True))


def _sees(grouping, grid):
    """Whether a token at one place sees a token at another, and whether it sees the prefix of a frame."""
    causal = getattr(grouping, "causal", False)

    def token(a, b):
        if causal and b[0] > a[0]:
            return False
        if isinstance(grouping, Joint):
            return True
        if isinstance(grouping, Time):
            return a[1:] == b[1:]
        if isinstance(grouping, Space):
            return a[0] == b[0]
        return _box(a, grouping.size, grid, shifted=grouping.shifted) == _box(
            b, grouping.size, grid, shifted=grouping.shifted
        )

    def frame(a, t):
        if (causal and t > a[0]) or isinstance(grouping, Time):
            return False
        if isinstance(grouping, Space):
            return a[0] == t
        if isinstance(grouping, Joint):
            return True
        here, there = (_box((at, 0, 0), grouping.size, grid, shifted=grouping.shifted)[0] for at in (a[0], t))
        return here == there

    return token, frame


def _dense(layer, x, grid, prefix=None):
    """Full attention with a mask, in complex numbers where positions come in."""
    e = WIDTH // HEADS
    places = list(itertools.product(*map(range, grid)))
    w, bias = layer.qkv.weight, layer.qkv.bias

    def heads(tokens, part):
        y = tokens @ w[part * WIDTH : (part + 1) * WIDTH].T + bias[part * WIDTH : (part + 1) * WIDTH]
        return torch.stack([y[..., h * e : (h + 1) * e] for h in range(HEADS)], 1)  # (b, a, n, e)

    def turned(y, at, gain):
        y = y / (y.square().mean(-1, keepdim=True) + torch.finfo(y.dtype).eps).sqrt() * gain
        angles = torch.tensor(
            [[p[a] * THETA ** (-i / n) for a, n in enumerate(axis_pairs(e)) for i in range(n)] for p in at],
            dtype=torch.float64,
        )
        z = torch.view_as_complex(y.unflatten(-1, (-1, 2)).contiguous()) * torch.polar(torch.ones_like(angles), angles)
        return torch.view_as_real(z).flatten(-2)

    q = turned(heads(x, 0), places, layer.query_gain)
    keys, values, columns = [turned(heads(x, 1), places, layer.key_gain)], [heads(x, 2)], []
    token, frame = _sees(layer.grouping, grid)
    columns.append(torch.tensor([[token(a, b) for b in places] for a in places]))
    if prefix is not None and prefix.prompt is not None:
        count = prefix.prompt.shape[1]
        keys.append(turned(heads(prefix.prompt, 1), [(0, 0, 0)] * count, layer.key_gain))
        values.append(heads(prefix.prompt, 2))
        columns.append(torch.full((len(places), count), not isinstance(layer.grouping, Time)))
    if prefix is not None and prefix.frames is not None:
        given = prefix.frames.flatten(1, 2)
        frames = [t for t in range(grid[0]) for _ in range(prefix.frames.shape[2])]
        keys.append(turned(heads(given, 1), [(t, 0, 0) for t in frames], layer.key_gain))
        values.append(heads(given, 2))
        columns.append(torch.tensor([[frame(a, t) for t in frames] for a in places]))
    logits = q @ torch.cat(keys, 2).transpose(2, 3) / math.sqrt(e)
    weights = logits.masked_fill(~torch.cat(columns, 1), -math.inf).softmax(-1)
    y = weights @ torch.cat(values, 2)
    return layer.out(torch.cat([y[:, h] for h in range(HEADS)], -1))


def _groupings():
    for causal in (False, True):
        yield from (Joint(causal), Time(causal))
        for size in ((2, 2, 2), (2, 3, 2), (8, 8, 8), (1, 2, 3), (3, 4, 3)):
            for shifted in (False, True):
                yield Window(size, shifted, causal)
    yield Space()


def _layer(grouping):
    torch.manual_seed(0)
    layer = Attention(WIDTH, HEADS, grouping).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def _turn(positions):
    return rotation(positions, WIDTH // HEADS, THETA)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("grouping", list(_groupings()), ids=str)
def test_grouped_attention_is_dense_attention_with_a_mask(grouping, grid) -> None:
    layer = _layer(grouping)
    x = torch.randn(2, math.prod(grid), WIDTH, dtype=torch.float64)
    turn = grid_rotation(grid, WIDTH // HEADS, THETA, torch.device("cpu"))
    frames = torch.stack([torch.tensor([t, 0, 0]) for t in range(grid[0]) for _ in range(2)])
    prefix = Prefix(
        torch.randn(2, 3, WIDTH, dtype=torch.float64),
        torch.randn(2, grid[0], 2, WIDTH, dtype=torch.float64),
        _turn(frames),
    )
    for given in (None, prefix, Prefix(prompt=prefix.prompt), Prefix(frames=prefix.frames, turn=prefix.turn)):
        torch.testing.assert_close(
            layer(x, turn, grid, given), _dense(layer, x, grid, given), atol=2e-6, rtol=0
        )  # positions are float32


@pytest.mark.parametrize("prefixed", [False, True])
def test_long_causal_attention_needs_no_mask(monkeypatch, prefixed) -> None:
    grid = (4, 3, 2)
    layer = _layer(Joint(causal=True))
    x = torch.randn(2, 24, WIDTH, dtype=torch.float64)
    turn = grid_rotation(grid, WIDTH // HEADS, THETA, torch.device("cpu"))
    prefix = None
    if prefixed:
        frames = torch.randn(2, 4, 1, WIDTH, dtype=torch.float64)
        prefix = Prefix(
            torch.randn(2, 3, WIDTH, dtype=torch.float64), frames, _turn(torch.tensor([[t, 0, 0] for t in range(4)]))
        )
    masked = layer(x, turn, grid, prefix)
    monkeypatch.setattr(module, "MASKED_TOKENS", 0)
    monkeypatch.setattr(Joint, "mask", lambda *_: pytest.fail("a mask was made"))
    torch.testing.assert_close(layer(x, turn, grid, prefix), masked, atol=1e-12, rtol=0)


@pytest.mark.parametrize("grid", [(2, 4, 4), (3, 5, 7), (4, 1, 3)], ids=str)
@pytest.mark.parametrize("shifted", [False, True])
def test_merging_windows_undoes_splitting(grid, shifted) -> None:
    window = Window((2, 2, 3), shifted)
    x = torch.randn(3, math.prod(grid), 4)
    assert torch.equal(window.merge(window.split(x, grid), grid), x)


def test_shifted_windows_carry_news_across_every_border() -> None:
    """Two window layers, the second shifted: a token reaches its neighbours in all directions."""
    grid, size = (4, 4, 4), (2, 2, 2)
    plain, shifted = (_sees(Window(size, s), grid)[0] for s in (False, True))
    places = list(itertools.product(*map(range, grid)))
    for a in places:
        for b in places:
            if sum(abs(p - q) for p, q in zip(a, b, strict=True)) == 1:
                assert plain(a, b) or shifted(a, b)


def test_queries_and_keys_are_normed() -> None:
    """Ten times the queries' and keys' weights, the same output; without the norm logits would be 100 times."""
    layer = _layer(Joint())
    x = torch.randn(1, 8, WIDTH, dtype=torch.float64)
    turn = grid_rotation((2, 2, 2), WIDTH // HEADS, THETA, torch.device("cpu"))
    before = layer(x, turn, (2, 2, 2))
    with torch.no_grad():
        layer.qkv.weight[: 2 * WIDTH] *= 10
        layer.qkv.bias[: 2 * WIDTH] *= 10
    torch.testing.assert_close(layer(x, turn, (2, 2, 2)), before, atol=1e-9, rtol=0)


def test_width_must_divide_into_heads() -> None:
    with pytest.raises(InputError, match="width of 24 does not divide into 5 heads"):
        Attention(24, 5, Joint())

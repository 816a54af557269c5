"""Figures of docs/worldmodel-network.md, drawn from the code itself: rotary distances and attention masks.

    python -m benchmarks.worldmodel_figures docs/

Writes `rope-distance.svg` and `attention-masks.svg`. `cost_chart` draws what `attention_cost.py` has measured.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

INK, PALE, GRID = "#1b1f24", "#57606a", "#d8dee4"
COLOURS = {"joint": "#0969da", "naive": "#8c959f", "divided": "#bf3989", "window": "#1a7f37"}
LEVELS = 24


def svg(width: float, height: float, body: Iterable[str], title: str) -> str:
    """A whole picture on white."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif" font-size="12" role="img" aria-label="{title}">'
    )
    return "\n".join([head, f'<rect width="{width:g}" height="{height:g}" fill="white"/>', *body, "</svg>"]) + "\n"


def label(x: float, y: float, words: str, *, anchor: str = "middle", colour: str = INK, turn: bool = False) -> str:
    """Words at a place."""
    turned = f' transform="rotate(-90 {x:g} {y:g})"' if turn else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}"{turned}>{words}</text>'


def heat(values: NDArray[np.float64], x: float, y: float, cell: float) -> list[str]:
    """Cells from white, the least of all values, to blue, the most; one path a colour."""
    low, high = values.min(), values.max()
    levels = np.rint((values - low) / (high - low) * (LEVELS - 1)).astype(int)
    paths = []
    for level in np.unique(levels):
        red, green, blue = (255 + (np.array([5, 48, 97]) - 255) * level / (LEVELS - 1)).astype(int)
        paths.append(_cells(levels == level, x, y, cell, f"#{red:02x}{green:02x}{blue:02x}"))
    return paths


def _cells(where: NDArray[np.bool_], x: float, y: float, cell: float, colour: str) -> str:
    """True cells, runs in a row as one box."""
    boxes = []
    for row, line in enumerate(where):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], line.astype(int), [0]))))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            boxes.append(f"M{start} {row}h{end - start}v1h-{end - start}z")
    return f'<path transform="translate({x:g} {y:g}) scale({cell:g})" fill="{colour}" d="{"".join(boxes)}"/>'


def rope_figure() -> str:
    """How like a token another looks, by how far it is; and what a wrong split does to that."""
    import torch

    from vidbench.worldmodel.rope import axis_pairs, frequencies, rotate, rotation

    reach, head_size = 16, 48
    span = np.arange(-reach, reach + 1)

    def likeness(axis_down: int, axis_right: int) -> NDArray[np.float64]:
        places = torch.zeros(len(span), len(span), 3)
        places[:, :, axis_down] = torch.tensor(span)[:, None]
        places[:, :, axis_right] = torch.tensor(span)[None]
        key = torch.ones(len(span) ** 2, head_size)
        turned = rotate(key, rotation(places.flatten(0, 1), head_size, 100.0))
        return np.asarray((turned @ key[0] / head_size).reshape(len(span), len(span)), np.float64)

    def right_split(place: float, e: int) -> NDArray[np.float64]:
        at = torch.tensor([[0.0, place, 0.0]])
        return np.asarray(rotate(torch.ones(1, e), rotation(at, e, 100.0))[0], np.float64)

    def wrong_split(place: float, e: int) -> NDArray[np.float64]:
        """Frequencies of channels are laid out by one set of sizes and handed to axes by another."""
        table = torch.cat([frequencies(n, 100.0).repeat_interleave(2) for n in axis_pairs(e)])
        third = e // 3
        at = torch.tensor([0.0] * (e - 2 * third) + [place] * third + [0.0] * third)
        cos, sin = (table * at).cos(), (table * at).sin()
        first, second = (cos - sin)[0::2], (cos + sin)[1::2]
        return np.asarray(torch.stack((first, second), 1).flatten(), np.float64)

    body: list[str] = []
    cell, top = 6.0, 44.0
    panels = [
        ("rows", "columns", likeness(1, 2), "same frame"),
        ("frames", "columns", likeness(0, 2), "same row"),
    ]
    side = cell * len(span)
    for number, (down, right, values, title) in enumerate(panels):
        left = 44 + number * (side + 58)
        body += [*heat(values, left, top, cell), label(left + side / 2, top - 10, f"q · k, {title}")]
        body += [
            label(left + side / 2, top + side + 30, f"{right} apart"),
            label(left - 26, top + side / 2, f"{down} apart", turn=True),
        ]
        for at, words in ((0, f"-{reach}"), (reach, "0"), (2 * reach, f"{reach}")):
            body.append(label(left + cell * (at + 0.5), top + side + 14, words, colour=PALE))
            body.append(label(left - 6, top + cell * (at + 0.5) + 4, words, anchor="end", colour=PALE))
    rows, small = np.arange(24), 16
    for number, (split, title) in enumerate(((right_split, "one axis a pair"), (wrong_split, "split by other sizes"))):
        vectors = np.array([split(float(row), small) for row in rows])
        values = vectors @ vectors.T / small
        step = side / len(rows)
        left = 44 + (2 + number) * (side + 58)
        body += [*heat(values, left, top, step), label(left + side / 2, top - 10, title)]
        body += [
            label(left + side / 2, top + side + 30, "row of the key"),
            label(left - 26, top + side / 2, "row of the query", turn=True),
        ]
        for at in (0, 12, 23):
            body.append(label(left + step * (at + 0.5), top + side + 14, str(at), colour=PALE))
            body.append(label(left - 6, top + step * (at + 0.5) + 4, str(at), anchor="end", colour=PALE))
    return svg(44 + 4 * (side + 58) - 30, top + side + 44, body, "products of rotated queries and keys")


def mask_figure() -> str:
    """Who sees whom in a clip of 3 frames of 4 x 4 tokens, read off the attention layers themselves."""
    import torch

    from vidbench.worldmodel.attention import Grouping, Joint, Space, Time, Window

    grid = (3, 4, 4)
    n, cell, top = math.prod(grid), 4.0, 34.0
    kinds: list[tuple[str, Grouping]] = [
        ("joint, causal", Joint(causal=True)),
        ("divided: time", Time(causal=True)),
        ("divided: space", Space()),
        ("window 2x2x2", Window((2, 2, 2))),
        ("shifted", Window((2, 2, 2), shifted=True)),
    ]
    body = []
    for number, (title, grouping) in enumerate(kinds):
        # Tokens carry their number through the split; who is in a group, and not masked, sees each other.
        names = grouping.split(torch.arange(1.0, n + 1).reshape(1, n, 1), grid)[:, 0, :, 0].long()  # (g, l), 0: padding
        mask = grouping.mask(grid, 0, 0, torch.device("cpu"))
        sees = np.zeros((n + 1, n + 1), dtype=bool)
        for group, members in enumerate(names):
            allowed = torch.ones(len(members), len(members), dtype=torch.bool)
            if mask is not None:
                allowed = mask[group if len(mask) > 1 else 0, 0]
            sees[np.ix_(members.numpy(), members.numpy())] |= allowed.numpy()
        left = 34 + number * (n * cell + 22)
        body.append(f'<rect x="{left:g}" y="{top:g}" width="{n * cell:g}" height="{n * cell:g}" fill="#f6f8fa"/>')
        body.append(
            _cells(
                sees[1:, 1:],
                left,
                top,
                cell,
                COLOURS["joint" if number == 0 else "divided" if number < 3 else "window"],
            )
        )
        for frame in range(grid[0] + 1):
            at = frame * grid[1] * grid[2] * cell
            lines = f"M{left + at:g} {top:g}v{n * cell:g}M{left:g} {top + at:g}h{n * cell:g}"
            body.append(f'<path d="{lines}" stroke="{PALE}" stroke-width="0.7"/>')
        body.append(label(left + n * cell / 2, top - 10, f"{title}: {sees[1:, 1:].mean():.0%}"))
        body += [label(left + (f + 0.5) * 16 * cell, top + n * cell + 16, f"frame {f}", colour=PALE) for f in range(3)]
        if number == 0:
            body += [
                label(left - 8, top + (f + 0.5) * 16 * cell, f"frame {f}", colour=PALE, turn=True) for f in range(3)
            ]
    return svg(34 + len(kinds) * (n * cell + 22), top + n * cell + 28, body, "attention masks")


def cost_chart(rows: Sequence[dict[str, Any]]) -> str:
    """CPU-seconds and peak memory against tokens, both axes logarithmic."""
    body: list[str] = []
    for number, (key, title) in enumerate((("seconds", "CPU-seconds of one look"), ("megabytes", "MB at its peak"))):
        left, top, width, height = 60 + number * 420, 36, 330, 250
        values = [row[key] for row in rows if row[key] > 0]
        low_x, high_x = math.log10(min(r["tokens"] for r in rows)), math.log10(max(r["tokens"] for r in rows))
        low_y, high_y = math.floor(math.log10(max(min(values), 1e-3))), math.ceil(math.log10(max(values)))

        def place(
            tokens: float,
            value: float,
            at: tuple[float, ...] = (left, top, width, height, low_x, high_x, low_y, high_y),
        ) -> tuple[float, float]:
            x0, y0, w, h, lx, hx, ly, hy = at
            return x0 + w * (math.log10(tokens) - lx) / (hx - lx), y0 + h * (hy - math.log10(value)) / (hy - ly)

        for power in range(low_y, high_y + 1):
            _, y = place(10**low_x, 10.0**power)
            body.append(f'<path d="M{left} {y:.1f}h{width}" stroke="{GRID}"/>')
            body.append(label(left - 8, y + 4, f"{10.0**power:g}", anchor="end", colour=PALE))
        for tokens in sorted({row["tokens"] for row in rows}):
            x, _ = place(tokens, 10.0**low_y)
            body.append(f'<path d="M{x:.1f} {top + height}v5" stroke="{PALE}"/>')
            if tokens not in (8192, 16384):
                body.append(label(x, top + height + 18, f"{tokens:,}", colour=PALE))
        body += [
            label(left + width / 2, top - 14, title),
            label(left + width / 2, top + height + 36, "tokens", colour=PALE),
        ]
        ends = []
        for kind, colour in COLOURS.items():
            points = [
                place(row["tokens"], max(row[key], 10.0**low_y)) for row in rows if row["kind"] == kind and row[key] > 0
            ]
            if not points:
                continue
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            body.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
            body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points]
            ends.append((points[-1][1], points[-1][0], kind, colour))
        lowest = -math.inf
        for y, x, kind, colour in sorted(ends):
            lowest = max(y, lowest + 13)  # names do not lie on each other
            body.append(label(x + 7, lowest + 4, kind, anchor="start", colour=colour))
    return svg(880, 336, body, "cost of attention against tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the figures go")
    folder = parser.parse_args().folder
    for name, picture in (("rope-distance", rope_figure()), ("attention-masks", mask_figure())):
        (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
        print(f"{folder / name}.svg: {len(picture.encode()) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

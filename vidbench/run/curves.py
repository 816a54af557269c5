"""Curves over the frames of a clip as one SVG picture, written as text: panels over a common axis of time.

Lines are told apart by dashes and by their names at the right end as well as by colour; the spans of findings are
shaded in every panel, so that one sees what the numbers did there.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidbench.extractor import Track
from vidbench.results import FindingRow
from vidbench.video import ClipFacts
from vidbench.wording import count, plain, span

COLOURS = ("#0072b2", "#d55e00", "#008a64", "#b8588f", "#946200", "#3b8fc2")
"""After Okabe and Ito (jfly.uni-koeln.de/color), darkened to 3:1 against white."""
DASHES = ("none", "7 3", "2 3", "9 3 2 3", "4 2", "12 4")
MOST_OBJECTS = 12
"""Objects whose tracks are plotted, those seen longest."""
MOST_POINTS = 2000
"""Longer curves are drawn by the smallest and the largest value of each stretch: more would not be told apart."""
MOST_LANES = 8
"""Kinds of findings with a lane of their own."""
_WIDTH, _LEFT, _RIGHT, _TOP = 980, 118, 54, 66
_PANEL, _BETWEEN, _LANE = 84, 40, 18


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: lines with a common unit."""

    title: str
    """What is plotted, with its unit."""
    source: str
    """Which extractor gave it."""
    lines: Mapping[str, NDArray[np.float64]]
    """Name, empty where there is only one, to (T,) values; NaN where there is none."""
    downward: bool = False
    """Large values stand low, as in pictures."""


def track_panels(tracks: Sequence[Track], facts: ClipFacts, source: str) -> list[Panel]:
    """Position and speed of every object over time.

    Speed is that of the box's centre between neighbouring frames, in pixels a second, or a frame where the rate is
    unknown; there is none across a gap.
    """
    objects: dict[int, tuple[NDArray[np.float64], ...]] = {}
    longest = sorted(_by_object(tracks).items(), key=lambda item: (-sum(len(t.frames) for t in item[1]), item[0]))
    for number, own in sorted(longest[:MOST_OBJECTS]):
        centres = np.full((facts.frames, 2), np.nan)
        for track in own:
            centres[track.frames] = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2
        speed = np.full(facts.frames, np.nan)
        speed[1:] = np.hypot(*np.diff(centres, axis=0).T) / np.diff(facts.times)
        objects[number] = centres[:, 0], centres[:, 1], speed
    if not objects:
        return []
    if len(longest) > MOST_OBJECTS:
        source += f", {MOST_OBJECTS} of {len(longest)} objects: those seen longest"
    titles = (
        ("x of each object's centre (pixels)", False),
        ("y of each object's centre (pixels, downward)", True),
        (f"speed of each object (pixels a {'frame' if facts.fps is None else 'second'})", False),
    )
    return [
        Panel(title, source, {f"#{number}": values[i] for number, values in objects.items()}, downward)
        for i, (title, downward) in enumerate(titles)
    ]


def _by_object(tracks: Sequence[Track]) -> dict[int, list[Track]]:
    objects: dict[int, list[Track]] = {}
    for track in tracks:
        objects.setdefault(int(track.object), []).append(track)
    return objects


def render(title: str, panels: Sequence[Panel], findings: Sequence[FindingRow], facts: ClipFacts) -> str:
    """The picture as SVG text. Whatever comes from outside stands in it as text."""
    lanes = _lanes(findings)
    body: list[str] = []
    y = _TOP
    if lanes:
        body += _finding_lanes(lanes, y, facts)
        y += len(lanes) * _LANE + _BETWEEN
    for panel in panels:
        body += _panel(panel, y, findings, facts)
        y += _PANEL + _BETWEEN
    if not panels:
        body.append(_text(_LEFT, y + 10, "The extractors of these metrics offer no curves.", "soft"))
        y += 30
    body += _time_axis(y - _BETWEEN + 14, facts)
    height = y + 22
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{_escaped(title)}">'
    )
    style = (
        "text{font:12px system-ui,'Segoe UI',Roboto,'Noto Sans',sans-serif;fill:#16191d}"
        ".soft{fill:#565d66;font-size:11px}.title{font-size:16px;font-weight:600}.end{text-anchor:end}"
        ".middle{text-anchor:middle}.grid{stroke:#e2e2dd}.axis{stroke:#8a8f96}"
        ".span{fill:#e69f00;fill-opacity:.2}.lane{fill:#f0f0ec}.found{fill:#c46200;stroke:#c46200}"
        ".line{fill:none;stroke-width:1.5;stroke-linejoin:round}.thin{stroke-width:.6}"
    )
    return "\n".join(
        [
            head,
            f"<title>{_escaped(title)}</title>",
            f"<style>{style}</style>",
            f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
            _text(16, 24, title, "title"),
            *body,
            "</svg>\n",
        ]
    )


def _escaped(text: str) -> str:
    """Text for XML, which knows no control characters and no lone surrogates, not even escaped."""
    return html.escape("".join("?" if c in "\ufffe\uffff" else c for c in plain(text)), quote=True)


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{_escaped(text)}</text>'


def _x(frame: float, facts: ClipFacts) -> float:
    """Where a frame stands: each takes a slot of equal width, its point is in the slot's middle."""
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (frame + 0.5) / facts.frames


def _shade(finding: FindingRow, y: float, height: float, facts: ClipFacts, kind: str) -> str:
    first, last = sorted(min(max(frame, 0), facts.frames - 1) for frame in (finding.start, finding.end))
    left, right = _x(first - 0.5, facts), _x(last + 0.5, facts)
    told = f"{finding.kind}, {span(finding)}: {finding.message}"
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{y:.1f}" width="{max(1.0, right - left):.1f}" height="{height:.1f}">'
        f"<title>{_escaped(told)}</title></rect>"
    )


def _lanes(findings: Sequence[FindingRow]) -> dict[str, list[FindingRow]]:
    """Findings by kind in order of first appearance; kinds over the limit share the last lane."""
    lanes: dict[str, list[FindingRow]] = {}
    for finding in sorted(findings, key=lambda f: f.start):
        lanes.setdefault(finding.kind, []).append(finding)
    if len(lanes) <= MOST_LANES:
        return lanes
    kinds = list(lanes)
    rest = [finding for kind in kinds[MOST_LANES - 1 :] for finding in lanes[kind]]
    return {
        **{kind: lanes[kind] for kind in kinds[: MOST_LANES - 1]},
        f"{len(kinds) - MOST_LANES + 1} other kinds": rest,
    }


def _finding_lanes(lanes: Mapping[str, Sequence[FindingRow]], y: float, facts: ClipFacts) -> list[str]:
    total = sum(len(found) for found in lanes.values())
    drawn = [_text(_LEFT, y - 6, count(total, "finding"), "")]
    for place, (kind, found) in enumerate(lanes.items()):
        top = y + place * _LANE
        drawn.append(
            f'<rect class="lane" x="{_LEFT}" y="{top + 2}" width="{_WIDTH - _LEFT - _RIGHT}" height="{_LANE - 4}"/>'
        )
        label = kind if len(kind) <= 17 else f"{kind[:16]}…"
        drawn.append(_text(_LEFT - 8, top + 13, label, "soft end"))
        drawn += [_shade(finding, top + 2, _LANE - 4, facts, "found") for finding in found]
    return drawn


def _panel(panel: Panel, y: float, findings: Sequence[FindingRow], facts: ClipFacts) -> list[str]:
    drawn = [_text(_LEFT, y - 7, panel.title, ""), _text(_WIDTH - _RIGHT, y - 7, panel.source, "soft end")]
    drawn += [_shade(finding, y, _PANEL, facts, "span") for finding in findings]
    values = np.concatenate([np.asarray(v, np.float64) for v in panel.lines.values()])
    finite = values[np.isfinite(values)]
    if not len(finite):
        return [*drawn, _frame(y), _text(_LEFT + 10, y + _PANEL / 2, "no values", "soft")]
    low, high = _range(float(finite.min()), float(finite.max()))

    def at(value: float) -> float:
        share = (value - low) / (high - low)
        return y + _PANEL * (share if panel.downward else 1 - share)

    for tick, label in _ticks(low, high):
        drawn.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at(tick):.1f}" y2="{at(tick):.1f}"/>'
        )
        drawn.append(_text(_LEFT - 8, at(tick) + 4, label, "soft end"))
    drawn.append(_frame(y))
    ends: list[tuple[float, str, str]] = []
    for place, (name, line) in enumerate(panel.lines.items()):
        colour = COLOURS[place % len(COLOURS)]
        # With the seventh line the colours begin anew and the dashes do not.
        dash = DASHES[(place + place // len(COLOURS)) % len(DASHES)]
        drawn += _line(np.asarray(line, np.float64), colour, dash, at, facts)
        shown = np.flatnonzero(np.isfinite(line))
        if name and len(shown):
            ends.append((at(float(line[shown[-1]])), name, colour))
    bottom = -math.inf
    for height, name, colour in sorted(ends):
        bottom = max(height, bottom + 11)
        drawn.append(
            f'<text x="{_WIDTH - _RIGHT + 6}" y="{bottom + 4:.1f}" style="fill:{colour};font-size:11px">'
            f"{_escaped(name)}</text>"
        )
    return drawn


def _frame(y: float) -> str:
    return f'<path class="axis" fill="none" d="M{_LEFT} {y}V{y + _PANEL}H{_WIDTH - _RIGHT}"/>'


def _range(low: float, high: float) -> tuple[float, float]:
    if low == high == 0:
        return 0.0, 1.0
    room = (high - low) * 0.06 or abs(high) * 0.05
    # What cannot be negative is not given an axis that says it could.
    return max(0.0, low - room) if low >= 0 else low - room, high + room


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Two to five round numbers."""
    power = 10.0 ** math.floor(math.log10((high - low) / 2))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= (high - low) / 2 * (1 + 1e-9))
    after_point = max(0, -math.floor(math.log10(step) + 1e-9))
    numbers = [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    large = max(abs(low), abs(high)) >= 1e6 or after_point > 6
    return [(n, f"{n:.3g}" if large else f"{n:.{after_point}f}".replace("-", "\u2212")) for n in numbers]


def _line(
    values: NDArray[np.float64], colour: str, dash: str, at: Callable[[float], float], facts: ClipFacts
) -> list[str]:
    """Lines through neighbouring values, a dot where a value stands alone."""
    frames = _kept(values)
    known = np.isfinite(values)
    alone = known & ~np.concatenate([[False], known[:-1]]) & ~np.concatenate([known[1:], [False]])
    stroke = f'stroke="{colour}"' + ("" if dash == "none" else f' stroke-dasharray="{dash}"')
    drawn: list[str] = []
    points: list[str] = []
    before = -2
    holes = np.concatenate([[0], np.cumsum(~known)])
    for frame in frames:
        if points and holes[frame] != holes[before]:
            drawn.append(_polyline(points, stroke, "line"))
            points = []
        points.append(f"{_x(frame, facts):.1f},{at(float(values[frame])):.1f}")
        before = int(frame)
    drawn.append(_polyline(points, stroke, "line"))
    if np.count_nonzero(alone) * 2 > np.count_nonzero(
        known
    ):  # measured in some frames only: a thin line guides the eye
        through = [f"{_x(frame, facts):.1f},{at(float(values[frame])):.1f}" for frame in frames]
        drawn.append(_polyline(through, f'stroke="{colour}"', "line thin"))
    shown = set(frames.tolist())
    drawn += [
        f'<circle cx="{_x(frame, facts):.1f}" cy="{at(float(values[frame])):.1f}" r="1.9" fill="{colour}"/>'
        for frame in np.flatnonzero(alone).tolist()
        if frame in shown
    ]
    return [item for item in drawn if item]


def _polyline(points: Sequence[str], stroke: str, kind: str) -> str:
    return f'<polyline class="{kind}" {stroke} points="{" ".join(points)}"/>' if len(points) > 1 else ""


def _kept(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which frames are drawn: all with a value, or the lowest and the highest of each stretch of a long clip."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) <= MOST_POINTS:
        return known
    stretches = np.array_split(known, MOST_POINTS // 2)
    ends = [(part[np.argmin(values[part])], part[np.argmax(values[part])]) for part in stretches if len(part)]
    return np.unique(np.array(ends, np.int64))


def _time_axis(y: float, facts: ClipFacts) -> list[str]:
    step = next((n for n in (f * 10**p for p in range(7) for f in (1, 2, 5)) if facts.frames / n <= 10), 10**6)
    drawn = []
    for frame in range(0, facts.frames, step):
        x = _x(frame, facts)
        drawn.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 8}" y2="{y - 4}"/>')
        drawn.append(_text(x, y + 6, str(frame), "soft middle"))
        if facts.fps is not None:
            drawn.append(_text(x, y + 19, f"{facts.times[frame]:.2f} s", "soft middle"))
    return [*drawn, _text(_LEFT - 8, y + 6, "frame", "soft end")]

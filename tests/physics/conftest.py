"""Event tables of a made-up world, so that learning is tested without looking at a single clip."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vidbench_metrics.physics.event import Event
from vidbench_suites.physics.tables import ClipTable, Truth

Corners = tuple[float, float, float, float]
KINDS = {"track_end": "vanish", "break": "velocity_jump", "frozen_run": "freeze"}


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads that wait for each other on a busy machine turn milliseconds into seconds."""
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        yield
        return
    with threadpool_limits(1):
        yield


def _event(rng: np.random.Generator, kind: str, start: int, box: Corners | None, useful: float) -> Event:
    features = {"useful": useful, "noise": rng.normal(), "sometimes": rng.normal() if rng.random() < 0.5 else np.nan}
    boxes = () if box is None else tuple((t, *box) for t in range(start, start + 3))
    return Event(kind, start, start + 2, boxes, features, KINDS[kind])


def make_tables(seed: int, pairs: int = 60, *, signal: float = 8.0, looks: tuple[str, ...] = ("flat", "lit")):
    """Twins, one of them with a violation whose event stands out by `signal` in one feature; and a control each."""
    rng = np.random.default_rng(seed)
    tables = []
    for pair in range(pairs):
        look = looks[pair % len(looks)]
        kind = list(KINDS)[pair % 3]
        for role in ("possible", "impossible", "control"):
            context = {
                "picture_noise": rng.normal(3, 0.5),
                "camera_step": rng.exponential(),
                "track_count": rng.normal(5),
            }
            events = []
            for _ in range(rng.poisson(6)):
                name = list(KINDS)[rng.integers(3)]
                x, y = rng.uniform(0, 250, 2)
                box = None if name == "frozen_run" else (x, y, x + 20, y + 20)
                events.append(_event(rng, name, int(rng.integers(0, 55)), box, rng.normal()))
            truth = Truth(look, f"{seed}:{look}/{pair}", True, control="rest" if role == "control" else None)
            if role == "control":
                truth = Truth(look, f"{seed}:{look}/{pair}c", True, control=("rest", "bounce")[pair % 2])
            if role == "impossible":
                box = None if kind == "frozen_run" else (300.0, 200.0, 320.0, 220.0)
                start = int(rng.integers(10, 40))
                events.append(_event(rng, kind, start, box, rng.normal() + signal))
                where = () if box is None else tuple((t, *box) for t in range(start, start + 3))
                truth = Truth(look, truth.group, False, KINDS[kind], start=start, end=start + 2, boxes=where)
            name = f"world/{look}/{pair:04d}-{role}.mp4"
            sha256 = hashlib.sha256(f"{seed} {name}".encode()).hexdigest()
            tables.append(ClipTable(name, Path(name), sha256, truth, tuple(events), context))
    return tables


@pytest.fixture(scope="session")
def world() -> Callable[..., list[ClipTable]]:
    """Makes event tables; see `make_tables`."""
    return make_tables

"""Run folders written by hand, so that every number in them is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from vidbench.results import ClipRow, FindingRow, MetricFacts, RunInfo, ScoreRow, to_json
from vidbench.summary import summarise

QUALITY = MetricFacts(
    name="quality_score",
    version="1",
    summary="how good",
    reference="ours",
    protocol="plain",
    higher_is_better=True,
    unit="1",
    value_range=(0.0, 1.0),
    granularity="clip",
    aggregation="mean",
    diagnostic=False,
    parameters={"limit": 3},
    extractors=("eye-1-abc",),
    weights={"eye": "sha256:aa"},
)
ERROR = replace(QUALITY, name="some_error", higher_is_better=False, value_range=(0.0, None))
LOOK = replace(QUALITY, name="look", diagnostic=True)
DISTANCE = replace(
    QUALITY, name="set_distance", granularity="set", aggregation="set", higher_is_better=False, value_range=(0.0, None)
)

Values = Mapping[str, Sequence[float | str]]
"""By metric one value a clip; text is the reason for none."""


def write_run(
    folder: Path,
    models: Mapping[str, Values],
    metrics: Sequence[MetricFacts] = (QUALITY, ERROR, LOOK),
    *,
    prompts: Callable[[int], str | None] = lambda i: f"prompt {i}",
    names: Callable[[int], str] = lambda i: f"{i:02d}",
    findings: Sequence[FindingRow] = (),
    sets: Sequence[ScoreRow] = (),
    clip: Mapping[str, Any] | None = None,
    **info: Any,
) -> Path:
    """A complete run."""
    clips, scores = [], list(sets)
    for model, values in models.items():
        for i in range(max(len(v) for v in values.values())):
            row = ClipRow(f"{model}/{names(i)}.mp4", model, "scored", frames=16, fps=8.0, width=64, height=48)
            row = replace(row, prompt=prompts(i), sha256=f"{model}{i}", **(clip or {}))
            clips.append(row)
            for metric, of_clips in values.items():
                v = of_clips[i]
                value, reason = (None, v) if isinstance(v, str) else (v, None)
                scores.append(ScoreRow(model, row.clip, metric, value, reason))
    facts: dict[str, Any] = {
        "schema_version": 1,
        "vidbench": "0.1.0",
        "command": "vidbench run clips",
        "created": "2026-08-03T14:05:09+00:00",
        "complete": True,
        "folder": "clips",
        "reference": None,
        "suite": None,
        "suite_hash": None,
        "settings_hash": "abc",
        "metrics": tuple(metrics),
        "left_out": (),
        "plugin_failures": (),
        "seed": 0,
        "platform": {"python": "3.11"},
        "settings": {"fps": None, "reference_id": None, "max_frames": 1000},
    }
    run = RunInfo(**{**facts, **info})
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(to_json(run)), encoding="utf-8")
    summary = summarise(clips, scores, metrics)
    (folder / "summary.json").write_text(json.dumps(to_json(summary)), encoding="utf-8")
    for name, rows in (("clips", clips), ("scores", scores), ("findings", findings)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(to_json(r)) + "\n" for r in rows), encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Runs:
    """Writes run folders by name below one folder."""

    folder: Path
    quality = QUALITY
    error = ERROR
    look = LOOK
    distance = DISTANCE

    def __call__(self, name: str, *given: Any, **named: Any) -> Path:
        return write_run(self.folder / name, *given, **named)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)

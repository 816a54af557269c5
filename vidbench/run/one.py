"""One clip scored where it is asked for, in this process and without a run folder: for tests of generators."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vidbench import __version__
from vidbench.clips import Clip, ClipFolder
from vidbench.files import write_atomic
from vidbench.plugins import suites
from vidbench.results import SCHEMA_VERSION, Run, RunInfo
from vidbench.run.evidence import draw_evidence
from vidbench.run.plan import Plan, select
from vidbench.run.shard import Evaluator
from vidbench.summary import summarise
from vidbench.video import ClipFacts


@dataclass(frozen=True, slots=True)
class OneClip:
    """A clip and all that was said of it."""

    clip: Clip
    run: Run
    """As a run of this clip alone would say it; there is no such folder."""
    facts: ClipFacts | None
    """None where the clip cannot be read."""
    plan: Plan

    def write_evidence(self, folder: Path, stem: str) -> dict[int, Path]:
        """Draw the findings as `<folder>/<stem>-<n>.jpg`.

        Returns:
            The pictures that could be drawn, by the place of their finding in `run.findings`.

        Raises:
            OSError: the folder cannot be written.
        """
        if self.facts is None or not self.run.findings:
            return {}
        folder.mkdir(parents=True, exist_ok=True)
        drawn = draw_evidence(self.clip, self.run.findings, self.facts, self.plan.limits)
        paths = {place: folder / f"{stem}-{place}.jpg" for place in drawn.pictures}
        for place, path in paths.items():
            write_atomic(path, drawn.pictures[place])
        return paths


def score_one(
    clip: Clip,
    *,
    metrics: tuple[str, ...] = (),
    suite: str | None = None,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
) -> OneClip:
    """Score one clip. What is loaded for it, networks for example, is kept for the next one; no cache is filled.

    Args:
        clip: what to score.
        metrics: by name.
        suite: whose metrics too.
        parameters: metric to parameter values.

    Raises:
        InputError: no metric can run.
        PluginError: a metric or suite is unknown or does not load.
    """
    import cv2

    selection = select(
        ClipFolder(clip.path.parent, (clip,)),
        has_reference=False,
        names=metrics,
        suite=suites().load(suite) if suite is not None else None,
        parameters=parameters,
        media=False,
    )
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as in a run, whose scores these are
    try:
        outcome, look = _evaluator(_Key(selection.plan)).evaluate(clip)
    finally:
        cv2.setNumThreads(before)
    info = RunInfo(
        schema_version=SCHEMA_VERSION,
        vidbench=__version__,
        command="",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        complete=True,
        folder=str(clip.path.parent),
        reference=None,
        suite=selection.suite,
        suite_hash=selection.suite_hash,
        settings_hash=selection.settings_hash(0),
        metrics=selection.facts,
        left_out=selection.left_out,
        plugin_failures=(),
        seed=0,
        platform={},
    )
    findings = tuple(sorted(outcome.findings, key=lambda f: (f.start, f.end, f.metric)))
    summary = summarise([outcome.row], outcome.scores, selection.facts)
    run = Run(clip.path, info, (outcome.row,), outcome.scores, findings, summary)
    return OneClip(clip, run, look.facts if look is not None else None, selection.plan)


class _Key:
    """A plan that can be looked up: plans hold mappings, which have no hash."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        content = [[m.name, dict(m.parameters), m.unavailable] for m in plan.metrics]
        self._content = json.dumps(content, sort_keys=True, default=str)

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._content == other._content


@functools.lru_cache(maxsize=2)
def _evaluator(key: _Key) -> Evaluator:
    return Evaluator(key.plan)

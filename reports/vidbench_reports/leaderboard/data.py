"""What the leaderboard's script works from: models, clips with their scores and previews, and pairs."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vidbench import wording
from vidbench.leaderboard import Block, BoardClip
from vidbench.results import MetricFacts
from vidbench.stats import holm
from vidbench_reports.leaderboard import words

_STEM = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Mark:
    """How a model is drawn wherever it appears."""

    shape: int
    tone: str


def board_data(
    block: Block, drawn: Mapping[str, Mark], ranked: Sequence[str], folder: Path, *, copy_clips: bool
) -> dict[str, Any]:
    """What the page's script works from."""
    metrics = [facts for facts in block.facts if facts.granularity != "set"]
    models = {model: i for i, model in enumerate(block.summary.models)}
    items, clips = _clips(block, metrics, models, folder, copy_clips=copy_clips)
    return {
        "models": [
            {
                "name": wording.plain(model),
                "shape": drawn[model].shape,
                "tone": drawn[model].tone,
                "kind": words.kind(block, model),
            }
            for model in models
        ],
        "metrics": [
            {
                "name": facts.name,
                "higher": facts.higher_is_better,
                "diagnostic": facts.diagnostic,
                "digits": wording.decimals(
                    [s.value for c in block.clips if (s := c.scores.get(facts.name)) and s.value is not None] or [0.0]
                ),
            }
            for facts in metrics
        ],
        "bases": _bases(block, folder, copy_clips=copy_clips),
        "items": items,
        "clips": clips,
        "pairs": {facts.name: _pairs(block, facts, ranked) for facts in block.judging if block.differences[facts.name]},
    }


def _clips(
    block: Block, metrics: Sequence[MetricFacts], models: Mapping[str, int], folder: Path, *, copy_clips: bool
) -> tuple[list[str], list[list[Any]]]:
    """Labels of what is watched side by side, and the clips: [model, item, source, stem, file, *values].

    Side by side stand clips of one prompt, the n-th take of each model; clips without a prompt stand beside those of
    the same file name.
    """
    items: dict[tuple[str, int], int] = {}
    takes: dict[tuple[str, str], int] = {}
    labels: list[str] = []
    rows: list[list[Any]] = []
    if copy_clips:
        (folder / "clips").mkdir(exist_ok=True)
    for clip in block.clips:
        file = Path(clip.row.clip).name
        label = clip.row.prompt or f"file {wording.plain(file)}"
        take = takes.get((clip.model, label), 0)
        takes[clip.model, label] = take + 1
        if (label, take) not in items:
            items[label, take] = len(labels)
            labels.append(label if take == 0 else f"{label} (take {take + 1})")
        values = [_shortened(clip, facts.name) for facts in metrics]
        stem = _stem(block, clip)
        if stem is not None and copy_clips:
            source = block.sources[clip.source].run.path / "media" / f"{stem}.mp4"
            shutil.copyfile(source, folder / "clips" / source.name)
        rows.append([models[clip.model], items[label, take], clip.source, stem, wording.plain(file), *values])
    return labels, rows


def _shortened(clip: BoardClip, metric: str) -> float | None:
    score = clip.scores.get(metric)
    return None if score is None or score.value is None else float(f"{score.value:.5g}")


def _stem(block: Block, clip: BoardClip) -> str | None:
    """The stem of its preview, where there is one; it may have been edited and must not lead out of the folder."""
    stem = clip.row.media
    if stem is None or not _STEM.fullmatch(stem):
        return None
    return stem if (block.sources[clip.source].run.path / "media" / f"{stem}.mp4").is_file() else None


def _bases(block: Block, folder: Path, *, copy_clips: bool) -> list[str]:
    """Where each source's previews lie, as seen from the page."""
    if copy_clips:
        return ["clips/"] * len(block.sources)
    bases = []
    for source in block.sources:
        media = (source.run.path / "media").resolve()
        try:
            relative = os.path.relpath(media, folder.resolve())
        except ValueError:  # another drive: there is no relative address
            bases.append(media.as_uri() + "/")
            continue
        bases.append("./" + "/".join(quote(part) for part in Path(relative).parts) + "/")
    return bases


def _pairs(block: Block, facts: MetricFacts, ranked: Sequence[str]) -> dict[str, Any]:
    """Differences by `row column`: value, interval, corrected p, and 1, -1 or 0 for who certainly wins."""
    found = block.differences[facts.name]
    corrected = holm([difference.p for difference in found.values()])
    at = {model: i for i, model in enumerate(ranked)}
    rows = {}
    for ((a, b), difference), p in zip(found.items(), corrected, strict=True):
        wins = block.wins[facts.name]
        winner = 1 if (a, b) in wins else -1 if (b, a) in wins else 0
        if a in at and b in at:
            numbers = [difference.value, difference.low, difference.high, p]
            rows[f"{at[a]} {at[b]}"] = [*(None if n is None else float(f"{n:.4g}") for n in numbers), winner]
    return {"digits": words.digits(block, facts), "rows": rows}

"""The table for spreadsheets and scripts: one row a score."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import ClassVar

from vidbench.files import write_atomic
from vidbench.report import Report
from vidbench.results import ClipRow, Run

COLUMNS = (
    "model",
    "clip",
    "metric",
    "value",
    "reason",
    "unit",
    "higher_is_better",
    "diagnostic",
    "status",
    "prompt",
    "frames",
    "fps",
    "width",
    "height",
    "duration",
    "sha256",
)
"""`clip` and what follows `diagnostic` are empty for a set metric, `value` where the score has a `reason`."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class CsvReport(Report):
    """RFC 4180, UTF-8, one header line.

    A text cell that a spreadsheet would run as a formula is led by an apostrophe; numbers are never touched.
    """

    name: ClassVar[str] = "csv"
    file_name: ClassVar[str] = "scores.csv"
    summary: ClassVar[str] = "one row a score, for spreadsheets and scripts"

    def write(self, run: Run, path: Path) -> None:
        """Write every score, with its clip's facts beside it."""
        clips = {row.clip: row for row in run.clips}
        metrics = {facts.name: facts for facts in run.info.metrics}
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(COLUMNS)
        for score in run.scores:
            facts = metrics.get(score.metric)
            clip = clips.get(score.clip) if score.clip is not None else None
            writer.writerow(
                [
                    cell(score.model),
                    cell(score.clip),
                    cell(score.metric),
                    cell(score.value),
                    cell(score.reason),
                    cell(facts.unit if facts else None),
                    cell(facts.higher_is_better if facts else None),
                    cell(facts.diagnostic if facts else None),
                    *_clip_cells(clip),
                ]
            )
        write_atomic(path, text.getvalue().encode("utf-8", "replace"))


def _clip_cells(clip: ClipRow | None) -> list[str]:
    if clip is None:
        return [""] * 8
    facts = (clip.status, clip.prompt, clip.frames, clip.fps, clip.width, clip.height, clip.duration, clip.sha256)
    return [cell(fact) for fact in facts]


def cell(value: str | float | bool | None) -> str:
    """A value as text that a spreadsheet shows and never runs."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return repr(value)

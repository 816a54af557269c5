"""The board for spreadsheets and scripts: one row a model and metric, and one a model's place over all."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import ClassVar

from vidbench.files import write_atomic
from vidbench.leaderboard import Block, Board
from vidbench.report import LeaderboardView
from vidbench_reports.csv import cell
from vidbench_reports.leaderboard.words import kind

COLUMNS = (
    "table",
    "model",
    "kind",
    "metric",
    "higher_is_better",
    "diagnostic",
    "weight",
    "value",
    "low",
    "high",
    "interval",
    "rank",
    "rank_low",
    "rank_high",
    "pareto",
    "n_scored",
    "n_unscored",
    "reason",
    "note",
    "runs",
)
OVERALL = "mean_rank"
"""What stands for the metric in the rows of the overall ranking."""


class CsvLeaderboard(LeaderboardView):
    """RFC 4180, UTF-8, one header line; text that a spreadsheet would run as a formula is led by an apostrophe."""

    name: ClassVar[str] = "csv"
    file_name: ClassVar[str] = "leaderboard.csv"
    summary: ClassVar[str] = "one row a model and metric, for spreadsheets and scripts"

    def write(self, board: Board, path: Path, *, copy_clips: bool = False) -> None:
        """Write every value with its interval, ranks and coverage."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(COLUMNS)
        for number, block in enumerate(board.blocks, 1):
            for row in _rows(number, block):
                writer.writerow([cell(value) for value in row])
        write_atomic(path, text.getvalue().encode("utf-8", "replace"))


def _rows(number: int, block: Block) -> list[tuple[str | float | bool | None, ...]]:
    rows: list[tuple[str | float | bool | None, ...]] = []
    of_model = {
        model: "; ".join(source.label for source in block.sources if model in source.names.values())
        for model in block.summary.models
    }
    for model in block.summary.models:
        place = block.place(model)
        rows.append(
            (
                number,
                model,
                kind(block, model),
                OVERALL,
                False,
                False,
                None,
                place.mean_rank,
                place.low,
                place.high,
                "10,000 draws over prompts" if place.low is not None else None,
                place.rank,
                place.rank_low,
                place.rank_high,
                place.pareto,
                place.metrics,
                None,
                None,
                place.note,
                of_model[model],
            )
        )
        for facts in block.facts:
            score = block.summary.score(model, facts.name)
            if score is None:
                continue
            weight = None if facts.diagnostic else block.weights.get(facts.name, 1.0)
            rows.append(
                (
                    number,
                    model,
                    kind(block, model),
                    facts.name,
                    facts.higher_is_better,
                    facts.diagnostic,
                    weight,
                    score.value,
                    score.low,
                    score.high,
                    score.interval,
                    score.rank,
                    score.rank_low,
                    score.rank_high,
                    None,
                    score.n_scored,
                    score.n_unscored,
                    _why(score.reason, score.reasons),
                    score.footnote,
                    of_model[model],
                )
            )
    return rows


def _why(reason: str | None, reasons: object) -> str | None:
    counted = "; ".join(f"{n} × {why}" for why, n in reasons.items()) if isinstance(reasons, dict) else ""
    return counted or reason

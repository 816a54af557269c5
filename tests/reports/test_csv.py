from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from vidbench.results import Run, ScoreRow
from vidbench_reports.csv import COLUMNS, CsvReport


@pytest.fixture
def written(run: Run, tmp_path: Path) -> Path:
    path = tmp_path / "scores.csv"
    CsvReport().write(run, path)
    return path


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_every_score_is_a_row_with_its_exact_value(written: Path, run: Run) -> None:
    rows = _rows(written)
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(run.scores)
    for row, score in zip(rows, run.scores, strict=True):
        assert (row["model"], row["metric"]) == (score.model, score.metric)
        assert (float(row["value"]) if row["value"] else None) == score.value
        assert bool(row["reason"]) == (score.value is None)


def test_facts_of_metric_and_clip_stand_beside_the_score(written: Path, run: Run) -> None:
    rows = _rows(written)
    clip = next(row for row in rows if row["clip"] == "zeroscope/09.mp4" and row["metric"] == "temporal_flickering")
    assert clip["higher_is_better"] == "true"
    assert clip["diagnostic"] == "false"
    assert [clip[c] for c in ("status", "frames", "fps", "width", "height", "duration")] == [
        "scored",
        "16",
        "8.0",
        "256",
        "256",
        "2.0",
    ]
    of_set = next(row for row in rows if row["metric"] == "frechet_frame_distance")
    assert of_set["clip"] == of_set["frames"] == of_set["prompt"] == ""
    failed = next(row for row in rows if "alert(3)" in row["clip"])
    assert failed["status"] == "failed"
    assert failed["value"] == ""
    assert "moov atom not found" in failed["reason"]


def test_names_survive_the_way_there_and_back(written: Path, run: Run) -> None:
    clips = {row.clip: row for row in run.clips}
    for row in _rows(written):
        if row["clip"]:
            clip = clips[row["clip"]]
            assert row["prompt"].removeprefix("'") == (clip.prompt or "")


def test_no_cell_starts_a_formula(run: Run, tmp_path: Path) -> None:
    bad = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1")
    scores = tuple(ScoreRow(name, None, "psnr", None, name) for name in bad)
    path = tmp_path / "scores.csv"
    CsvReport().write(dataclasses.replace(run, scores=scores), path)
    for row, name in zip(_rows(path), bad, strict=True):
        assert row["model"] == row["reason"] == f"'{name}"


def test_numbers_are_not_spoilt_by_the_guard(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    values = (-3.25, 0.1 + 0.2, 1e-300, -0.0)
    CsvReport().write(
        dataclasses.replace(run, scores=tuple(ScoreRow("m", None, "psnr", value) for value in values)), path
    )
    assert [float(row["value"]) for row in _rows(path)] == list(values)
    assert pd.api.types.is_float_dtype(pd.read_csv(path)["value"])


def test_lines_end_as_rfc_4180_says(written: Path) -> None:
    data = written.read_bytes()
    assert data.startswith(b"model,clip,metric,value,")
    assert data.endswith(b"\r\n")


def test_an_undecodable_name_does_not_stop_the_report(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    CsvReport().write(dataclasses.replace(run, scores=(ScoreRow("m", "a\udcff.mp4", "psnr", 1.0),)), path)
    assert _rows(path)[0]["clip"] == "a?.mp4"
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []

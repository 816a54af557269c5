"""A run in a notebook: a small table of escaped text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from vidbench.results import ClipRow, MetricFacts, Run, RunInfo, ScoreRow
from vidbench.summary import summarise

NASTY = "<script>alert(1)</script>\"'&\u202e\n"


def facts(name: str, **given) -> MetricFacts:
    values = {
        "version": "1",
        "summary": "",
        "reference": "",
        "protocol": "",
        "higher_is_better": True,
        "unit": "1",
        "value_range": (0.0, 1.0),
        "granularity": "clip",
        "aggregation": "mean",
        "diagnostic": False,
        "parameters": {},
        "extractors": (),
        "weights": {},
    }
    return MetricFacts(name=name, **{**values, **given})


class Cells(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.titles: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.titles += [value for name, value in attrs if name == "title"]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture
def run(tmp_path: Path) -> Run:
    metrics = (facts("quality"), facts("error", higher_is_better=False), facts("look", diagnostic=True))
    clips, scores = [], []
    for model, values in (("good", (0.8, 0.9, 1.0)), (NASTY, (0.1, 0.2, 0.3))):
        for i, value in enumerate(values):
            clips.append(ClipRow(f"{model}/{i}.mp4", model, "scored", prompt=f"p{i}"))
            scores.append(ScoreRow(model, clips[-1].clip, "quality", value))
            scores.append(ScoreRow(model, clips[-1].clip, "error", None, NASTY))
            scores.append(ScoreRow(model, clips[-1].clip, "look", value))
    info = RunInfo(
        1, "0", "", "2026-01-01T00:00:00", True, "clips", None, None, None, "x", metrics, (), (), 0, {}
    )  # fmt: skip
    return Run(tmp_path / "a <b> run", info, tuple(clips), tuple(scores), (), summarise(clips, scores, metrics))


def test_models_stand_by_metrics_that_judge(run):
    cells = Cells(run._repr_html_())
    assert cells.rows[0] == ["rank", "model", "quality ↑", "error ↓"]
    assert cells.rows[1][:2] == ["1", "good"]
    assert cells.rows[1][2] == "0.900 ±0.174"  # t over 3 prompts: 0.652 to 1.148, cut to the range
    assert cells.rows[1][3] == "unscored"


def test_text_from_outside_stays_text(run):
    cells = Cells(run._repr_html_())
    assert "script" not in cells.tags
    assert cells.rows[2][1] == NASTY.replace("\u202e", "\\u202e").replace("\n", "\\n")
    assert all("<script>" in title for title in cells.titles)
    assert "a <b> run" in "".join(c for c in [run._repr_html_()]).replace("&lt;", "<").replace("&gt;", ">")
    assert "<b> run" not in run._repr_html_()


def test_an_unfinished_run_has_no_table(run):
    import dataclasses

    info = dataclasses.replace(run.info, complete=False)
    text = dataclasses.replace(run, info=info, summary=None)._repr_html_()
    assert "table" not in Cells(text).tags
    assert "not complete" in text


def test_many_models_are_cut(run, monkeypatch):
    from vidbench import notebook

    monkeypatch.setattr(notebook, "MOST_MODELS", 1)
    text = run._repr_html_()
    assert len(Cells(text).rows) == 2
    assert "and 1 more model" in text

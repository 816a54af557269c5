"""The board: runs put together or refused, ranks, baselines, and text from outside in every view."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt

from vidbench.cli.leaderboard import command
from vidbench.errors import InputError, RunFolderError
from vidbench.leaderboard import Board, MixedRunsError, find_runs, load_sources, make_board
from vidbench.results import load_run
from vidbench_reports.leaderboard import latex, markdown
from vidbench_reports.leaderboard.page import HtmlLeaderboard
from vidbench_reports.leaderboard.table import CsvLeaderboard

Write = Callable[..., Path]
HOSTILE = '=cmd|"<script>alert(1)</script>" $x_1$ \\input{/etc/passwd} `a` **b** [c](http://d) & 100% #1 ~^{}\n| e |'


def board_of(*paths: Path, **options: Any) -> Board:
    sources, notes = load_sources(find_runs(paths), options.pop("names", None))
    return make_board(sources, notes=notes, **options)


def invoke(*arguments: Any) -> Any:
    return CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False)


@pytest.fixture(scope="module")
def two(write_board_run: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs: three models in one, one and a broken baseline in the other."""
    folder = tmp_path_factory.mktemp("runs")
    write_board_run(folder / "ours", {"good": 0.8, "fair": 0.5, "twin": 0.5}, seed=1, unscored=("fair/3.mp4",))
    write_board_run(folder / "theirs", {"poor": 0.3, "baseline:frozen": 0.4}, seed=2)
    return folder


def test_models_of_several_runs_are_ranked_together(two: Path) -> None:
    (block,) = board_of(two).blocks
    places = {p.model: (p.rank_low, p.rank_high) for p in block.summary.overall}
    assert places == {"good": (1, 1), "fair": (2, 3), "twin": (2, 3), "poor": (4, 4), "baseline:frozen": (None, None)}
    assert block.pair_counts("good", "poor") == (3, 0, 0)
    assert block.pair_counts("fair", "twin")[2] == 3
    assert [source.label for source in block.sources] == ["ours", "theirs"]
    score = block.summary.score("fair", "quality_score")
    assert (score.n_scored, score.n_unscored, dict(score.reasons)) == (9, 1, {"too <b>short</b>": 1})


def test_one_board_of_two_runs_says_what_one_run_of_all_would(write_board_run: Write, tmp_path: Path) -> None:
    """Which run a model comes from plays no part: prompts pair across runs."""
    write_board_run(tmp_path / "a", {"a": 0.5}, seed=3)
    write_board_run(tmp_path / "b", {"b": 0.53}, seed=4)
    (apart,) = board_of(tmp_path / "a", tmp_path / "b").blocks
    both = tmp_path / "both"
    write_board_run(both, {"a": 0.5}, seed=3)
    for name in ("clips.jsonl", "scores.jsonl"):
        (both / name).write_bytes((tmp_path / "a" / name).read_bytes() + (tmp_path / "b" / name).read_bytes())
    (together,) = board_of(both).blocks
    assert apart.differences == together.differences
    assert apart.differences["quality_score"]["b", "a"].shared == 10
    assert apart.overall == together.overall


def test_a_metric_that_prefers_a_broken_baseline_is_flagged(two: Path) -> None:
    (block,) = board_of(two).blocks
    flagged = {flag.metric: flag for flag in block.summary.flags}
    assert flagged["quality_score"].above == ("poor",)
    assert flagged["quality_score"].certain == ("poor",)
    assert any(w.startswith("quality_score puts broken baselines above models: frozen above poor") for w in
               block.summary.warnings)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"suite": "other", "suite_hash": "abc"}, "suite"),
        ({"settings": {"fps": 12.0, "max_frames": 100000, "pair_by_name": False}}, "--fps"),
        ({"metrics": {"version": "2"}}, "quality_score: version"),
        ({"metrics": {"protocol": "other"}}, "quality_score: protocol"),
        ({"metrics": {"extractors": ("raft-1-00",)}}, "quality_score: extractor"),
        ({"metrics": {"weights": {"raft": "sha256:00"}}}, "quality_score: weights"),
        ({"metrics": {"parameters": {"k": 3}}}, "quality_score: parameters"),
        ({"reference": "elsewhere"}, "reference set"),
        ({"clip_fps": 24.0}, "frame rate of the clips"),
    ],
)
def test_runs_that_were_not_made_alike_are_refused_with_what_differs(
    write_board_run: Write, tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    one = write_board_run(tmp_path / "one", {"a": 0.5})
    change = dict(change)
    facts = load_run(one).info.metrics
    if "metrics" in change:
        change["metrics"] = (dataclasses.replace(facts[0], **change["metrics"]), *facts[1:])
    fps = change.pop("clip_fps", 8.0)
    other = write_board_run(tmp_path / "other", {"b": 0.6}, seed=1, fps=fps, **change)
    with pytest.raises(MixedRunsError) as caught:
        board_of(one, other)
    assert [setting.what for setting in caught.value.settings] == [what]
    assert len(set(caught.value.settings[0].values)) == 2
    result = invoke(one, other, "--out", tmp_path / "board")
    assert result.return_value == 2
    assert what in result.stderr
    assert "--allow-mixed" in result.stderr
    mixed = board_of(one, other, allow_mixed=True)
    assert [block.summary.models for block in mixed.blocks] == [("a",), ("b",)]


def test_a_metric_that_only_one_run_has_is_said_once_and_can_be_left_out(
    write_board_run: Write, tmp_path: Path
) -> None:
    one = write_board_run(tmp_path / "one", {"a": 0.5})
    facts = load_run(one).info.metrics
    other = write_board_run(tmp_path / "other", {"b": 0.6}, seed=1, metrics=facts[:2])
    with pytest.raises(MixedRunsError, match="differ in set_distance:"):
        board_of(one, other)
    (block,) = board_of(one, other, metrics=["quality_score", "some_error"]).blocks
    assert [f.name for f in block.facts] == ["quality_score", "some_error"]


def test_one_name_in_two_runs_is_refused_with_the_remedy_which_works(write_board_run: Write, tmp_path: Path) -> None:
    one = write_board_run(tmp_path / "one", {"a": 0.5})
    other = write_board_run(tmp_path / "other", {"a": 0.6}, seed=1)
    with pytest.raises(InputError, match="--name other::a=NEW_NAME"):
        board_of(one, other)
    for key in ("other", "other::a"):
        (block,) = board_of(one, other, names={key: "a2"}).blocks
        assert block.summary.models == ("a2", "a")
    assert invoke(one, other, "--name", "other=a2", "--out", tmp_path / "board").return_value == 0


def test_the_same_clips_in_two_runs_are_one_model(write_board_run: Write, tmp_path: Path) -> None:
    one = write_board_run(tmp_path / "one", {"truth": 0.9}, yardsticks=("truth",))
    other = write_board_run(tmp_path / "other", {"truth": 0.9, "b": 0.6}, yardsticks=("truth",))
    board = board_of(one, other)
    assert [len(s.models) for s in board.blocks[0].sources] == [1, 1]
    assert "taken from one" in board.notes[0]
    assert board.blocks[0].yardsticks == {"truth"}


@pytest.mark.parametrize(
    ("arguments", "error", "what"),
    [
        (["nowhere"], InputError, "is not a folder"),
        (["{empty}"], InputError, "holds no run folder"),
        (["{ours}", "--metrics", "qualty"], InputError, "no run here has the metric 'qualty'"),
        (["{ours}", "--weight", "quality_score"], InputError, "--weight wants METRIC=NUMBER"),
        (["{ours}", "--weight", "quality_score=-1"], InputError, "a number of 0 or more"),
        (["{ours}", "--name", "nix=a"], InputError, "'nix' is no run here; there are: ours"),
        (["{ours}", "--name", "ours=a"], InputError, "ours has 3 models"),
        (["{ours}", "--name", "ours::x=a"], InputError, "has no model 'x'"),
        (["{ours}", "--format", "pdf"], Exception, "no leaderboard is called 'pdf'"),
        (["{unfinished}"], RunFolderError, "is not complete"),
    ],
)
def test_bad_input_is_one_line_that_names_it(
    two: Path, tmp_path: Path, arguments: list[str], error: type[Exception], what: str
) -> None:
    (tmp_path / "empty").mkdir()
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    info = json.loads((two / "ours" / "run.json").read_text())
    (unfinished / "run.json").write_text(json.dumps({**info, "complete": False}))
    places = {"ours": two / "ours", "empty": tmp_path / "empty", "unfinished": unfinished}
    result = invoke(*(a.format(**places) for a in arguments), "--out", tmp_path / "board")
    assert isinstance(result.exception, error)
    assert what in str(result.exception)
    assert "\n" not in str(result.exception)


def test_weights_decide_and_are_stated(write_board_run: Write, tmp_path: Path) -> None:
    run = write_board_run(tmp_path / "run", {"a": 0.8, "b": 0.5})
    rows = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
    for row in rows:  # b is the better one in some_error
        if row["metric"] == "some_error":
            row["value"] = 2.0 - row["value"]
    (run / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"metrics": ["quality_score", "some_error"]}
    (even,) = board_of(run, **options).blocks
    assert [(p.model, p.rank, p.pareto) for p in even.summary.overall] == [("a", 1, True), ("b", 1, True)]
    (turned,) = board_of(run, **options, weights={"some_error": 2.0}).blocks
    assert turned.summary.models == ("b", "a")
    assert turned.place("b").mean_rank == pytest.approx(4 / 3)
    assert "Weights: some_error 2." in turned.summary.rule
    (alone,) = board_of(run, **options, weights={"some_error": 0.0}).blocks
    assert alone.summary.models == ("a", "b")
    assert [f.name for f in alone.ranking] == ["quality_score"]
    write_board_run(tmp_path / "suite", {"a": 0.8, "b": 0.5}, settings={"rank_weights": {"some_error": 3.0}})
    (of_suite,) = board_of(tmp_path / "suite").blocks
    assert of_suite.weights == {"some_error": 3.0}


def test_leaving_a_metric_out_is_what_a_board_without_it_says(two: Path) -> None:
    (block,) = board_of(two).blocks
    for metric in ("quality_score", "some_error", "set_distance"):
        rest = [f.name for f in block.facts if f.name != metric]
        (without,) = board_of(two, metrics=rest).blocks
        assert block.overall.without[metric] == {p.model: p.rank for p in without.summary.overall if p.rank is not None}


@pytest.fixture(scope="module")
def hostile(write_board_run: Write, tmp_path_factory: pytest.TempPathFactory) -> Board:
    folder = tmp_path_factory.mktemp("hostile")
    prompts = (HOSTILE, *(f"prompt {i}" for i in range(9)))
    run = write_board_run(folder / "run", {HOSTILE: 0.8, "plain": 0.5}, prompts=prompts, unscored=("plain/3.mp4",))
    return board_of(run, title=HOSTILE)


def test_hostile_text_stays_text_in_markdown(hostile: Board) -> None:
    html = MarkdownIt("gfm-like", {"linkify": False}).render(markdown.render(hostile))
    assert "<script" not in html
    assert "<a " not in html
    assert "too &lt;b&gt;short&lt;/b&gt;" in html
    # As many cells in every row of a table as in its head: no pipe of a name made one more.
    for table in re.findall(r"<table>.*?</table>", html, re.DOTALL):
        rows = re.findall(r"<tr>.*?</tr>", table, re.DOTALL)
        assert len({len(re.findall(r"<t[dh]", row)) for row in rows}) == 1


def test_hostile_text_stays_text_in_csv(hostile: Board, tmp_path: Path) -> None:
    CsvLeaderboard().write(hostile, tmp_path / "board.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "board.csv").read_text(encoding="utf-8"))))
    assert {row["model"] for row in rows} == {"'" + HOSTILE, "plain"}
    assert not [c for row in rows for c in row.values() if c.startswith(("=", "+", "@")) or re.match(r"-[^0-9]", c)]
    values = {(r["model"], r["metric"]): r for r in rows}
    score = hostile.blocks[0].summary.score("plain", "quality_score")
    assert float(values["plain", "quality_score"]["value"]) == score.value
    assert values["plain", "quality_score"]["reason"] == "1 × too <b>short</b>"
    assert values["plain", "mean_rank"]["rank_high"] == "2"


def test_hostile_text_stays_text_in_latex(hostile: Board) -> None:
    text = latex.render(hostile)
    assert "\\input" not in text
    assert text.count("\n%") == 0  # only the head is a comment: no name begins one
    ours = {"begin", "end", "centering", "toprule", "midrule", "bottomrule", "caption", "textbf", "textit", "downarrow",
            "uparrow", "star", "footnotesize", "textbackslash", "textasciicircum", "textasciitilde", "textless",
            "textgreater", "textbar", "textquotedbl", "textasciigrave", "textquotesingle"}  # fmt: skip
    body = text.split("\n", 1)[1]
    assert set(re.findall(r"\\([a-z]+)", body)) <= ours
    bare = re.sub(r"\\[a-z]+\{\}|\\[{}$&#%_]", "", body)
    assert bare.count("{") == bare.count("}")
    assert "#" not in bare
    assert "%" not in bare
    assert bare.count("$") % 2 == 0
    rows = [line for line in bare.splitlines() if line.endswith(r"\\")]
    assert {row.count("&") for row in rows} == {5}


def test_the_page_holds_hostile_text_only_escaped(hostile: Board, tmp_path: Path) -> None:
    HtmlLeaderboard().write(hostile, tmp_path / "board.html")
    page = (tmp_path / "board.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<b>short" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<script") == 2  # the block's data and the page's own
    assert not re.search(r'(?:src|href)="https?:', page)


def test_previews_are_addressed_from_the_page_or_copied_beside_it(write_board_run: Write, tmp_path: Path) -> None:
    run = write_board_run(tmp_path / "odd name #1" / "run", {"a": 0.5, "b": 0.6}, media=("a",), prompts=("p", "q"))
    stem = next(row.media for row in load_run(run).clips if row.media)
    board = board_of(run)
    (tmp_path / "out").mkdir()
    HtmlLeaderboard().write(board, tmp_path / "out" / "board.html")
    data = _data(tmp_path / "out" / "board.html")
    assert data["bases"] == ["./../odd%20name%20%231/run/media/"]
    assert [clip[3] for clip in data["clips"]].count(None) == 2
    HtmlLeaderboard().write(board, tmp_path / "out" / "board.html", copy_clips=True)
    assert _data(tmp_path / "out" / "board.html")["bases"] == ["clips/"]
    assert (tmp_path / "out" / "clips" / f"{stem}.mp4").read_bytes() == (run / "media" / f"{stem}.mp4").read_bytes()


def test_a_preview_outside_the_run_folder_is_not_followed(write_board_run: Write, tmp_path: Path) -> None:
    run = write_board_run(tmp_path / "run", {"a": 0.5, "b": 0.6}, prompts=("p", "q"))
    (tmp_path / "secret.mp4").write_bytes(b"x")
    rows = [json.loads(line) for line in (run / "clips.jsonl").read_text().splitlines()]
    for row in rows:
        row["media"] = "../../secret"
    (run / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    HtmlLeaderboard().write(board_of(run), tmp_path / "board.html", copy_clips=True)
    assert {clip[3] for clip in _data(tmp_path / "board.html")["clips"]} == {None}
    assert list((tmp_path / "clips").iterdir()) == []


def _data(page: Path) -> dict[str, Any]:
    found = re.search(r'class="board-data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_ties_are_told_as_ties_everywhere(two: Path, tmp_path: Path) -> None:
    board = board_of(two)
    text = markdown.render(board)
    assert re.search(r"^\| 2–3 \| fair", text, re.MULTILINE)
    assert re.search(r"^\| 2–3 \| twin", text, re.MULTILINE)
    assert "*baseline:frozen* (broken baseline, not ranked)" in text
    assert re.search(r"^2--3 & fair", latex.render(board), re.MULTILINE)
    result = invoke(two, "--out", tmp_path / "board")
    assert result.return_value == 0
    assert re.search(r"^ +2–3  fair: mean rank", result.stdout, re.MULTILINE)
    assert {p.name for p in (tmp_path / "board").iterdir()} == {
        f"leaderboard.{e}" for e in ("html", "md", "csv", "tex")
    }

"""`vidbench plan` as a user runs it."""

import json

import cv2
import pytest
from click.testing import CliRunner

from vidbench.cli import cli
from vidbench.errors import VidbenchError


def run(*arguments):
    return CliRunner().invoke(cli, ["plan", *map(str, arguments)])


def test_planners_and_baselines_in_one_table_and_file(inverse, tmp_path):
    inverse.save(tmp_path / "inverse.safetensors")
    done = run(
        *("--rooms", 10, "--planners", "random,greedy,oracle,search,words"),
        *("--inverse", tmp_path / "inverse.safetensors", "-o", tmp_path / "plan.json", "--film", tmp_path / "walk.png"),
    )
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "plan.json").read_text())
    rows = {row["planner"]: row for row in told["planners"]}
    assert list(rows) == ["random", "greedy", "oracle", "search", "words"]
    assert rows["oracle"]["success"] == rows["search"]["success"] == 1
    assert rows["greedy"]["success"] <= 0.5
    for row in rows.values():
        assert row["success"] == sum(row["succeeded"]) / 10
        assert row["low"] <= row["success"] <= row["high"]
        line = next(line for line in done.output.splitlines() if line.startswith(f"│{row['planner']} "))
        assert f"{row['success']:.2f}" in line
        assert f"{row['spl']:.2f}" in line
    picture = cv2.imread(str(tmp_path / "walk.png"))
    steps = rows["words"]["steps"][0]
    assert picture.shape[1] == min(steps, -(-steps // -(-steps // 16))) * 100


def test_a_sentence_is_followed_in_every_room(inverse, tmp_path):
    inverse.save(tmp_path / "inverse.safetensors")
    how = ("--inverse", tmp_path / "inverse.safetensors", "--rooms", 4, "--planners", "words")
    done = run(*how, "--say", "the coin, then bottom left")
    assert done.exit_code == 0, done.output
    assert "understood: coin, then bottom left" in done.output
    assert "all of it: 4 of 4 rooms" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--planners", "clever"), "random, greedy, oracle"),
        (("--model", "nothing-like-it", "--planners", "search"), "nothing-like-it"),
        (("--planners", "words", "--inverse", "/nowhere/inverse.safetensors"), "/nowhere/inverse.safetensors"),
        (("--planners", "random", "-o", "/nowhere/plan.json"), "no folder /nowhere"),
        (("--planners", "random", "--planner-url", "http://localhost:1"), "--planner-model"),
        (("--planners", "random", "--say", "the coin"), "--say is for the planner"),
    ],
)
def test_wrong_use_is_one_line(arguments, message):
    done = run("--rooms", 2, *arguments)
    assert isinstance(done.exception, VidbenchError)
    assert done.exception.exit_code == 2
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)

"""Every command as a user types it."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vidbench as package
from vidbench.cli import COMMANDS


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_every_help_ends_in_examples(vidbench, command):
    done = vidbench(*([command] if command else []), "--help")
    assert done.returncode == 0
    examples = done.stdout.split("Examples:")[1].strip().splitlines()
    assert examples
    assert all(line.strip().startswith("vidbench ") for line in examples)


def test_the_examples_of_list_describe_and_doctor_work(vidbench):
    for command in ("list", "describe", "doctor"):
        page = vidbench(command, "--help").stdout.split("Examples:")[1]
        for line in page.strip().splitlines():
            done = vidbench(*line.split()[1:])
            assert done.returncode == 0, (line, done.stderr)


def test_the_examples_of_run_work(vidbench, small_folder: Path, tmp_path: Path):
    page = vidbench("run", "--help").stdout.split("Examples:")[1]
    small_folder.rename(tmp_path / "CLIPS")
    shutil.copytree(tmp_path / "CLIPS" / "a", tmp_path / "REAL_CLIPS")
    for number, line in enumerate(page.strip().splitlines()):
        words = line.split()[1:]
        done = vidbench(*words, *([] if "--out" in words else ["--out", f"out{number}"]), cwd=tmp_path)
        assert done.returncode == 0, (line, done.stderr)


def test_version(vidbench):
    assert vidbench("--version").stdout.strip().endswith(package.__version__)


def test_list_names_everything_with_its_summary(vidbench):
    done = vidbench("list")
    for name in ("temporal_flickering", "frame_statistics", "frames", "html"):
        assert re.search(rf"^  {name} +\S", done.stdout, re.MULTILINE)


def test_list_shows_a_plugin_that_fails_with_its_cause(vidbench, install_plugin):
    install_plugin("strange-list", "import nothing_like_it", "[vidbench.metrics]\nodd = strange_list:Odd\n")
    done = vidbench("list", "metrics")
    assert done.returncode == 0
    assert "odd" in done.stdout
    assert "FAILED (strange-list 1.0): ModuleNotFoundError" in done.stdout
    assert "temporal_flickering" in done.stdout


def test_describe_says_how_the_number_is_made(vidbench):
    text = vidbench("describe", "temporal_flickering").stdout
    assert "higher is better" in text
    assert "VBench" in text
    assert "0 to 1" in text
    unknown = vidbench("describe", "temporal_flicker")
    assert unknown.returncode == 2
    assert "did you mean temporal_flickering" in unknown.stderr


def test_doctor_says_what_is_there_and_what_is_missing(vidbench):
    text = vidbench("doctor").stdout
    assert re.search(r"av +\d", text)
    assert "temporal_flickering" in text
    assert "plug-ins that fail to load: none" in text


def test_report_is_written_again_from_the_rows_alone(vidbench, small_folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    vidbench("run", small_folder, "--out", out, "--metrics", "exposure", "-j", 1, "-q")
    before = {name: (out / name).read_bytes() for name in ("report.html", "report.md", "scores.csv")}
    for name in before:
        (out / name).unlink()
    done = vidbench("report", out)
    assert done.returncode == 0, done.stderr
    assert {name: (out / name).read_bytes() for name in before} == before
    only = vidbench("report", out, "--format", "csv")
    assert only.stdout.strip().endswith("scores.csv")
    wrong = vidbench("report", out, "--format", "htm")
    assert wrong.returncode == 2
    assert "did you mean html" in wrong.stderr


def test_report_of_something_else_is_one_line(vidbench, tmp_path: Path):
    done = vidbench("report", tmp_path)
    assert done.returncode == 2
    assert "not a run folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_that_fails_costs_no_other(vidbench, small_folder: Path, tmp_path: Path, install_plugin):
    source = """
from vidbench.report import Report
class Bad(Report):
    name = "bad"; file_name = "bad.txt"; summary = "s"
    def write(self, run, path):
        raise RuntimeError("no ink")
"""
    install_plugin("strange-report", source, "[vidbench.reports]\nbad = strange_report:Bad\n")
    out = tmp_path / "out"
    done = vidbench("run", small_folder, "--out", out, "--metrics", "exposure", "-j", 1)
    assert done.returncode == 3
    assert "RuntimeError: no ink" in done.stderr
    assert (out / "report.html").exists()


def test_plain_lines_where_the_output_is_no_terminal(vidbench, small_folder: Path, tmp_path: Path):
    (small_folder / "a" / "bad.mp4").write_bytes(b"")
    done = vidbench("run", small_folder, "--out", tmp_path / "out", "--metrics", "exposure", "-j", 1)
    assert "\x1b" not in done.stderr + done.stdout
    assert "6 of 6 clips" in done.stderr
    assert "1 failed" in done.stderr
    assert "failed: a/bad.mp4: empty file" in done.stderr
    quiet = vidbench("run", small_folder, "--out", tmp_path / "quiet", "--metrics", "exposure", "-j", 1, "-q")
    assert quiet.stdout == quiet.stderr == ""


def test_a_live_bar_on_a_terminal(small_folder: Path, tmp_path: Path):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "vidbench", "run", str(small_folder), "--out", str(tmp_path / "out"), "-j", "1"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, stdout=follower, stderr=follower, stdin=follower, env=environment)
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the terminal is closed when the last writer is gone
            break
        if not part:
            break
        shown += part
    assert process.wait() == 0
    text = shown.decode()
    assert "scoring" in text
    assert "5/5" in text
    assert re.search(r"\d/s", text)
    assert "0 failed" in text
    os.close(leader)


def test_hostile_names_do_not_reach_the_terminal(vidbench, small_folder: Path, tmp_path: Path):
    (small_folder / "a\x1b]0;owned\x07").mkdir()
    (small_folder / "a" / "0.mp4").rename(small_folder / "a\x1b]0;owned\x07" / "0.mp4")
    (small_folder / "metadata.csv").unlink()
    (small_folder / "a" / "bad\x1b[2J.mp4").write_bytes(b"")
    done = vidbench("run", small_folder, "--out", tmp_path / "out", "--metrics", "exposure", "-j", 1)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "owned" in done.stdout


def test_demo_ends_in_a_table_and_a_report(vidbench, tmp_path: Path):
    done = vidbench("demo", "--folder", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    for model in ("steady", "flickering", "teleporting"):
        assert model in done.stdout
    assert (tmp_path / "demo" / "run" / "report.html").stat().st_size > 10_000
    summary = json.loads((tmp_path / "demo" / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["models"][0] == "steady"
    values = {(s["model"], s["metric"]): s["value"] for s in summary["scores"]}
    assert values["flickering", "temporal_flickering"] < values["steady", "temporal_flickering"] - 0.01
    assert values["teleporting", "psnr"] < values["steady", "psnr"] - 5
    again = vidbench("demo", "--folder", tmp_path / "demo")
    assert again.returncode == 0, again.stderr


def test_real_clips_of_four_models_and_the_true_ones(vidbench, fetv: Path, tmp_path: Path):
    names = "temporal_flickering,frozen_frames,black_frames,exposure,shot_cuts"
    out = tmp_path / "fetv"
    done = vidbench(
        "run", fetv, "--reference", fetv / "ground-truth", "--out", out, "--metrics", names, "--no-media", timeout=500
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert sorted(summary["models"]) == ["cogvideo", "ground-truth", "modelscope", "text2video-zero", "zeroscope"]
    assert {(s["n_scored"], s["n_unscored"]) for s in summary["scores"]} == {(12, 0)}
    assert [o["rank"] for o in summary["overall"] if o["model"] == "ground-truth"] == [None]
    assert any("real clips" in warning for warning in summary["warnings"])
    for model in summary["models"]:
        assert model in done.stdout

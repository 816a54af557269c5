"""`vidbench gate` as a user types it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from vidbench.demo import COLOURS, FPS, ball_clip
from vidbench.results import load_run
from vidbench.video import encode_h264

RED = COLOURS["red"]
RATE = 'policy = 1\n[[rule]]\nfindings = ["object_permanence", "gravity", "continuity", "solidity"]\nmax_rate = 0.01\n'
FLOOR = 'policy = 1\n[[rule]]\nmetric = "exposure"\nmin = {}\n'


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of a ball in free flight, and below `planted` the same with one in which it jumps aside."""
    folder = tmp_path_factory.mktemp("gate")
    for seed in range(3):
        for place in ("clean", "planted"):
            (folder / place).mkdir(exist_ok=True)
            encode_h264(folder / place / f"{seed}.mp4", ball_clip(seed, RED), FPS)
    encode_h264(folder / "planted" / "jump.mp4", ball_clip(0, RED, jump=40), FPS)
    return folder


@pytest.fixture(scope="module")
def planted_run(clips: Path) -> Path:
    """The run folder of the planted clips, made by the gate, with everything it wrote."""
    command = [sys.executable, "-m", "vidbench", "gate", "planted", "--out", "run", "-j", "1", "--no-github"]
    command += ["--junit", "j.xml", "--sarif", "s.json", "--json", "v.json"]
    environment = {**os.environ, "VIDBENCH_CACHE": str(clips / "cache")}
    done = subprocess.run(command, cwd=clips, capture_output=True, text=True, check=False, env=environment)
    (clips / "stdout").write_text(done.stdout)
    assert done.returncode == 1, done.stdout + done.stderr
    return clips / "run"


def test_a_clean_folder_passes(vidbench, clips: Path, tmp_path: Path):
    done = vidbench("gate", clips / "clean", "--out", tmp_path / "run", "-j", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Gate passed: 3 checks met." in done.stdout
    assert "0 of 3 clips with findings" in done.stdout
    assert "suite plausibility" in done.stdout
    assert {facts.name for facts in load_run(tmp_path / "run").info.metrics} == {
        "object_permanence",
        "gravity",
        "continuity",
        "solidity",
    }
    few = tmp_path / "rate.toml"
    few.write_text(RATE)
    again = vidbench("gate", tmp_path / "run", "--policy", few)
    assert again.returncode == 3
    assert "Not enough clips: 0 of 3 clips" in again.stdout
    assert "268 clips with none would do" in again.stdout


def test_one_planted_clip_fails_and_is_named_with_its_frames(planted_run: Path, clips: Path):
    text = (clips / "stdout").read_text()
    assert "FAILED" in text
    assert "1 of 4 clips (25 %) with findings" in text
    [finding] = [line for line in text.splitlines() if "frames 11 to 12" in line]
    assert finding.strip().startswith("teleport (continuity), frames 11 to 12, 0.92 s to 1.00 s, confidence 9")
    assert "  jump.mp4: breaks “no clip with a finding”" in text
    picture = next(line for line in text.splitlines() if "picture: " in line).split("picture: ")[1]
    assert (clips / picture).read_bytes()[:2] == b"\xff\xd8"
    assert "3 to 7 in 100 have a finding by mistake" in text


def test_the_files_say_the_same(planted_run: Path, clips: Path):
    verdict = json.loads((clips / "v.json").read_text())
    assert (verdict["outcome"], verdict["exit_code"]) == ("failed", 1)
    assert [clip["clip"] for clip in verdict["flagged"]] == ["jump.mp4"]
    cases = ElementTree.parse(clips / "j.xml").findall(".//testcase")
    assert [case.get("name") for case in cases if case.find("failure") is not None] == [
        "no clip with a finding",
        "jump.mp4",
    ]
    results = json.loads((clips / "s.json").read_text())["runs"][0]["results"]
    places = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results]
    assert places[0] == "run/run.json"
    assert set(places[1:]) == {"planted/jump.mp4"}


def test_a_run_folder_is_only_read(vidbench, planted_run: Path):
    before = {path: path.stat().st_mtime_ns for path in planted_run.rglob("*")}
    assert vidbench("gate", planted_run, "-q").returncode == 1
    assert {path: path.stat().st_mtime_ns for path in planted_run.rglob("*")} == before
    refused = vidbench("gate", planted_run, "--out", "x", "--fps", 3)
    assert refused.returncode == 2
    assert "is a run folder, which is only read: --out, --fps is for clips" in refused.stderr


def test_an_accepted_clip_passes(vidbench, planted_run: Path, tmp_path: Path):
    [row] = [row for row in load_run(planted_run).clips if row.clip == "jump.mp4"]
    mine = tmp_path / "mine.toml"
    entry = f'\n[[accept]]\nclip = "jump.mp4"\nsha256 = "{str(row.sha256)[:10]}"\nreason = "it is a magic ball"\n'
    mine.write_text(vidbench("gate", "policy").stdout + entry, "utf-8")
    done = vidbench("gate", planted_run, "--policy", mine)
    assert done.returncode == 0, done.stdout
    assert "jump.mp4: findings accepted: it is a magic ball" in done.stdout


def test_an_unreadable_clip_is_incomplete(vidbench, clips: Path, tmp_path: Path):
    folder = tmp_path / "clips"
    shutil.copytree(clips / "clean", folder)
    (folder / "cut.mp4").write_bytes((folder / "0.mp4").read_bytes()[:400])
    policy = tmp_path / "p.toml"
    policy.write_text(FLOOR.format(0))
    done = vidbench("gate", folder, "--policy", policy, "--out", tmp_path / "run", "-j", 1)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "INCOMPLETE readable clips: 1 unreadable file" in done.stdout
    assert "cut.mp4" in done.stdout


def test_a_drafted_policy_is_met_by_its_own_clips(vidbench, small_folder: Path, tmp_path: Path):
    shutil.rmtree(small_folder / "b")
    (small_folder / "metadata.csv").unlink()
    run, policy = tmp_path / "good", tmp_path / "policy.toml"
    command = ["run", small_folder, "--metrics", "exposure,frozen_frames", "--set", "frozen_frames.min_repeats=4"]
    assert vidbench(*command, "--out", run, "-j", 1, "-q").returncode == 0
    drafted = vidbench("gate", "init", run, "-o", policy)
    assert drafted.returncode == 0, drafted.stderr
    assert "min_repeats" in policy.read_text()
    again = vidbench("gate", small_folder, "--policy", policy, "--out", tmp_path / "again", "-j", 1)
    assert again.returncode == 0, again.stdout + again.stderr
    assert load_run(tmp_path / "again").info.settings_hash == load_run(run).info.settings_hash
    taken = vidbench("gate", "init", run, "-o", policy)
    assert taken.returncode == 2
    assert "policy.toml exists" in taken.stderr
    other = vidbench("gate", run, "--policy", shutil.copy(policy, tmp_path / "p2.toml"), "--baseline", tmp_path)
    assert other.returncode == 2
    assert "is not a run folder" in other.stderr


def test_another_protocol_than_the_baselines_is_wrong_use(vidbench, gate_run, tmp_path: Path):
    gate_run(tmp_path / "new", {"exposure": [0.9] * 3}, save=True)
    gate_run(tmp_path / "old", {"exposure": [0.9] * 3}, facts={"exposure": {"protocol": "other"}}, save=True)
    policy = tmp_path / "p.toml"
    policy.write_text('policy = 1\n[[rule]]\nmetric = "exposure"\nmax_loss = 0.1\n')
    done = vidbench("gate", tmp_path / "new", "--policy", policy, "--baseline", tmp_path / "old")
    assert done.returncode == 2
    assert "they differ in protocol: other before, p after" in done.stderr
    assert done.stderr.count("\n") == 1
    same = vidbench("gate", tmp_path / "new", "--policy", policy, "--baseline", tmp_path / "new")
    assert same.returncode == 0, same.stdout


def test_slips_of_the_pen(vidbench, gate_run, tmp_path: Path):
    gate_run(tmp_path / "run", {"exposure": [0.9] * 3}, save=True)
    policy = tmp_path / "p.toml"
    for text, said in (
        (FLOOR.format(0).replace("exposure", "exposur"), "no metric is called 'exposur'; did you mean exposure"),
        (FLOOR.format(0).replace("min", "mn"), "p.toml line 4: no key is called 'mn' in [rule]; did you mean min"),
    ):
        policy.write_text(text)
        done = vidbench("gate", tmp_path / "run", "--policy", policy)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    missing = vidbench("gate", tmp_path / "none", "--junit", tmp_path / "no" / "j.xml")
    assert missing.returncode == 2
    assert "there is no folder" in missing.stderr
    nothing = vidbench("gate", tmp_path / "none")
    assert nothing.returncode == 2
    assert "no such folder" in nothing.stderr


def test_on_github_names_give_no_orders(vidbench, gate_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = "x ##[error]y\n::error::z.mp4"
    gate_run(tmp_path / "run", {"exposure": [0.1]}, names=[name], findings=[(0, "exposure", "freeze", 0.9)], save=True)
    policy = tmp_path / "p.toml"
    policy.write_text('policy = 1\n[[rule]]\nfindings = ["exposure"]\nmax_clips = 0\n')
    summary = tmp_path / "summary.md"
    summary.write_text("what was there\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    done = vidbench("gate", tmp_path / "run", "--policy", policy)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    stop = next(i for i, line in enumerate(lines) if line.startswith("::stop-commands::"))
    resume = lines.index(f"::{lines[stop].removeprefix('::stop-commands::')}::")
    assert stop == 0
    assert any("##[error]" in line for line in lines[stop:resume])
    orders = lines[resume + 1 :]
    assert [order.split(" ")[0] for order in orders] == ["::error", "::warning"]
    assert summary.read_text().startswith("what was there\n## vidbench gate: failed")
    assert "\n::" not in summary.read_text()
    monkeypatch.setenv("GITHUB_ACTIONS", "")
    assert "::stop-commands" not in vidbench("gate", tmp_path / "run", "--policy", policy).stdout


def test_nothing_heavy_is_imported_for_help():
    code = "import sys, vidbench.cli.gate; sys.exit(bool({'numpy', 'torch', 'cv2', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

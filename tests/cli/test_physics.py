"""`vidbench physics train`, `physics score` and `calibrate`, on clips that a stand-in looks at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vidbench.cli import cli
from vidbench.cli.physics import COMMANDS
from vidbench.errors import InputError
from vidbench_metrics.physics.event import Event
from vidbench_metrics.physics.model import PhysicsModel, read_calibration
from vidbench_suites.physics import tables

SKLEARN = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("sklearn") is None,
    reason="scikit-learn is not installed: pip install 'vidbench[physics]'",
)


def _observe(clip):
    """One event a clip, which stands out where the clip is bright; brightness is the only thing to be seen."""
    level = float(np.load(clip.path)[0, 0, 0, 0])
    features = {"level": level + float(np.load(clip.path)[0, 0, 0, 1]) / 50}
    return [Event("frozen_run", 1, 2, (), features, "freeze")], {"picture_level": level}


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "default_observer", lambda: tables.Observer(_observe, "stand-in"))
    monkeypatch.chdir(tmp_path)


def _folder(path: Path, pairs: int, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    lines: list[str] = []
    for pair in range(pairs):
        for possible in (True, False):
            name = f"{('flat', 'lit')[pair % 2]}/{pair:04d}-freeze-{'possible' if possible else 'impossible'}.npy"
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 90, (4, 8, 8, 3), dtype=np.uint8) + np.uint8(0 if possible else 120)
            np.save(path / name, pixels)
            truth: dict[str, object] = {
                "clip": name,
                "pair": f"p/{pair}",
                "look": name[: name.index("/")],
                "possible": possible,
                "fps": 8,
            }
            truth |= {"kind": None if possible else "freeze", "start": None if possible else 1, "end": 2}
            lines.append(json.dumps({**truth, "boxes": [], "control": None}))
    (path / "truth.jsonl").write_text("\n".join(lines) + "\n")
    return path


def _run(*args: object) -> int:
    code = cli.main([str(arg) for arg in args], standalone_mode=False)
    assert isinstance(code, int)
    return code


@SKLEARN
def test_train_then_score_then_calibrate(tmp_path, capsys):
    world = _folder(tmp_path / "WORLD", 50)
    quick = ("--iterations", 10)
    assert _run("physics", "train", world, "--seed", 1, *quick, "-o", "m.safetensors") == 0
    told = capsys.readouterr()
    assert "frozen_run" in told.out
    assert "100 clips, " in told.out
    model = PhysicsModel.load(Path("m.safetensors"))
    assert model.training["command"] == ("vidbench physics train WORLD --seed 1 --iterations 10 -o model.safetensors")
    assert _run("physics", "train", world, "--seed", 1, *quick, "-o", "again.safetensors") == 0
    assert Path("again.safetensors").read_bytes() == Path("m.safetensors").read_bytes()
    capsys.readouterr()

    fresh = _folder(tmp_path / "fresh", 20, seed=1)
    assert _run("physics", "score", fresh, "--model", "m.safetensors", "-o", "s.json", "-o", "s.csv") == 0
    told = capsys.readouterr()
    assert "40 clips: 20 possible, 20 impossible" in told.out
    report = json.loads(Path("s.json").read_text())
    assert report["model"] == model.checksum
    by = {(f["section"], f["name"], f["measure"], f["scorer"]): f["value"] for f in report["figures"]}
    assert by["overall", "all", "auroc", "plausibility"] > 0.95
    assert {"frame_difference", "flow_jump", "file_size"} <= {scorer for *_, scorer in by}
    assert Path("s.csv").read_text().startswith("section,name,measure,scorer,value,low,high,n\n")

    good = tmp_path / "good"
    good.mkdir()
    for number in range(40):
        np.save(good / f"{number}.npy", np.random.default_rng(number).integers(0, 80, (4, 8, 8, 3), dtype=np.uint8))
    assert _run("calibrate", good, "--model", "m.safetensors", "-o", "calibration.json") == 0
    assert "at least 33 for a rate of 0.03" in capsys.readouterr().out
    found = read_calibration(Path("calibration.json"), model)
    assert found.false_alarms == 0.03
    assert 33 <= found.clips <= 40
    with pytest.raises(InputError, match="at least 99 innocent clips"):
        _run("calibrate", good, "--false-alarms", 0.01, "--model", "m.safetensors", "-o", "calibration.json")


@SKLEARN
def test_left_out_look_and_out_of_fold(tmp_path, capsys):
    world = _folder(tmp_path / "WORLD", 90)
    quick = ("--iterations", 5, "--no-baselines")
    assert _run("physics", "score", world, "--leave-out", "lit", *quick, "-o", "s.json") == 0
    assert {clip["look"] for clip in json.loads(Path("s.json").read_text())["clips"]} == {"lit"}
    assert _run("physics", "score", world, "--out-of-fold", *quick, "-o", "s.json") == 0
    report = json.loads(Path("s.json").read_text())
    assert report["mode"] == "out of fold"
    assert not any(clip["trained_on"] for clip in report["clips"])
    assert "flatter" not in capsys.readouterr().out
    assert _run("physics", "train", world, "--leave-out", "lit", "--iterations", 5, "-o", "m.safetensors") == 0
    assert set(PhysicsModel.load(Path("m.safetensors")).training["looks"]) == {"flat"}
    with pytest.raises(InputError, match="no look is called moon; there are: flat, lit"):
        _run("physics", "train", world, "--leave-out", "moon", "-o", "m.safetensors")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["score"], "name a folder of clips"),
        (["score", "empty", "--out-of-fold"], "empty"),
        (["score", "none", "--out-of-fold"], "none"),
        (["score", "empty", "--model", "none"], "none: the plausibility model cannot be read"),
        (["score", "empty", "--model", "foreign"], "foreign: not a plausibility model"),
        (["score", "empty", "--model", "foreign", "--out-of-fold"], "leave --model and --leave-out away"),
        (["score", "empty", "--unseen-kinds"], "takes --leave-out LOOK or --out-of-fold"),
        (["score", "empty", "-o", "x.txt"], r"written as \.json or \.csv"),
        (["score", "empty", "-o", "none/x.csv"], "there is no folder none"),
        (["train", "empty", "-o", "x.pkl"], r"ends in \.safetensors"),
        (["train", "empty", "-o", "none/x.safetensors"], "there is no folder none"),
        (["train", "empty", "-o", "x.safetensors"], "empty"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, args, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=message) as error:
        _run("physics", *args)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_of_physics_ends_in_examples(vidbench, command):
    done = vidbench("physics", command, "--help")
    assert done.returncode == 0
    examples = done.stdout.split("Examples:")[1].strip().splitlines()
    assert examples
    assert all(line.strip().startswith("vidbench ") for line in examples)


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    import sys

    from vidbench.errors import MissingExtraError

    world = _folder(tmp_path / "WORLD", 40)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'vidbench\[physics\]'"):
        _run("physics", "train", world, "-o", "m.safetensors")

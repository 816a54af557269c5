"""Follows "Add a metric in five minutes" of CONTRIBUTING.md word for word."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vidbench.testing import install_plugin, synthetic_clips

GUIDE = Path(__file__).resolve().parent.parent / "CONTRIBUTING.md"
NAMED_BLOCK = re.compile(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def commands() -> list[list[str]]:
    [block] = SHELL_BLOCK.findall(GUIDE.read_text("utf-8"))
    return [shlex.split(line) for line in block.splitlines()]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package that the guide writes, with clips to run over."""
    folder = tmp_path_factory.mktemp("guide") / "vidbench-grain"
    folder.mkdir()
    for name, text in NAMED_BLOCK.findall(GUIDE.read_text("utf-8")):
        (folder / name).write_text(text, "utf-8")
    rng = np.random.default_rng(0)
    for model, deviation in (("clean", 0), ("noisy", 12)):
        (folder / "CLIPS" / model).mkdir(parents=True)
        for number, pixels in enumerate(synthetic_clips(2)):
            noisy = pixels + rng.normal(0, deviation, pixels.shape)
            np.save(folder / "CLIPS" / model / f"{number}.npy", noisy.clip(0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def site(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`pip install -e .` would change the environment that the tests run in: this installs beside it."""
    target = tmp_path_factory.mktemp("site")
    install_plugin(project, target)
    return target


def _follow(command: list[str], project: Path, site: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=project,
        env={**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": "-p no:cacheprovider", "COLUMNS": "200"},
    )


def test_the_guide_has_three_files_and_five_commands(project, commands):
    files = {path.name for path in project.iterdir() if path.is_file()}
    assert files == {"vidbench_grain.py", "pyproject.toml", "test_vidbench_grain.py"}
    assert [command[:2] for command in commands] == [
        ["pip", "install"],
        ["pytest"],
        ["vidbench", "list"],
        ["vidbench", "describe"],
        ["vidbench", "run"],
    ]


def test_its_tests_pass(project, site, commands):
    done = _follow(commands[1], project, site)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 15
    assert "skipped" not in done.stdout


def test_its_tests_would_notice_a_wrong_formula(project, site, commands, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for name in ("pyproject.toml", "test_vidbench_grain.py"):
        (wrong / name).write_text((project / name).read_text("utf-8"), "utf-8")
    text = (project / "vidbench_grain.py").read_text("utf-8")
    assert "math.pi / 2" in text
    (wrong / "vidbench_grain.py").write_text(text.replace("math.pi / 2", "math.pi"), "utf-8")
    done = _follow(["pytest", "-k", "known_noise"], wrong, site)
    assert done.returncode == 1
    assert "1 failed" in done.stdout


def test_it_is_listed(project, site, commands):
    done = _follow(commands[2], project, site)
    assert done.returncode == 0, done.stderr
    assert re.search(r"grain +pixel noise; fine texture counts as noise too", done.stdout)


def test_it_is_described(project, site, commands):
    done = _follow(commands[3], project, site)
    assert done.returncode == 0, done.stderr
    for fact in ("vidbench-grain 0.1.0", "lower is better", "grey levels", "frame_noise"):
        assert fact in done.stdout


def test_it_ranks_clips(project, site, commands):
    done = _follow(commands[4], project, site)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((project / "runs" / "grain" / "summary.json").read_text("utf-8"))
    scores = {score["model"]: score for score in summary["scores"] if score["metric"] == "grain"}
    assert scores["clean"]["rank"] == 1
    assert scores["noisy"]["rank"] == 2
    assert scores["noisy"]["value"] > scores["clean"]["value"] + 2
